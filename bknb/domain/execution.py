"""The named execution models: which price fills, and in which order when a candle is ambiguous.

A one-minute candle does not say in which order it traded. Each model is one consistent answer; every run names
the one it used. ``pessimistic`` is the default: it resolves doubt against the trader, ``touch`` in favour of the
trader; ``vwap`` watches only the five-minute average price and equals backtest-kit since mid-2026.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from ..errors import UnknownName
from .signal import CancelReason, CloseReason, OpenSignal, Position, ScheduledSignal

ExecutionName: TypeAlias = Literal["pessimistic", "touch", "vwap"]
Entry: TypeAlias = Literal["open", "open_and_stop", "reject"]


class Minute(NamedTuple):
    """One closed one-minute candle; ``price`` is the average price of the window that ends with it.

    Prices in quote currency, ``t`` is the open time in UTC ms.
    """

    t: int
    open: float
    high: float
    low: float
    close: float
    price: float


class Exit(NamedTuple):
    """Why and at which price a position ends; ``ambiguous``: the candle allows another reading."""

    reason: CloseReason
    price: float
    ambiguous: bool


class ExecutionModel(NamedTuple):
    """A named set of fill assumptions.

    Attributes
    ----------
    watches
        ``"range"``: a level is hit when the candle's high or low reaches it. ``"average"``: when the average
        price crosses it.
    stop_first
        Which exit wins when one candle reaches both.
    gap_fills
        A candle that opens beyond the stop fills it at that open, not at the level.
    fills_on_the_way
        A candle that reaches entry and stop opens the position and stops it out, instead of rejecting it.
    better_of_market_and_limit
        A limit the market has already passed fills at the market.
    frame_end_close, frame_end_cancel
        The reason of what the end of the frame cuts off.
    """

    name: ExecutionName
    watches: Literal["range", "average"]
    stop_first: bool
    gap_fills: bool
    fills_on_the_way: bool
    better_of_market_and_limit: bool
    frame_end_close: CloseReason
    frame_end_cancel: CancelReason

    def market_fill(self, position: Position, price: float, price_open: float | None) -> float | None:
        """Entry price of a signal that can open at once at the average ``price``; ``None``: it has to wait."""
        if price_open is None:
            return price
        reached = price <= price_open if position == "long" else price >= price_open
        if not reached:
            return None
        return price if self.better_of_market_and_limit else price_open

    def entry(self, signal: ScheduledSignal, minute: Minute) -> Entry | None:
        """The effect of a candle on a scheduled signal; the stop goes before the entry, ``None``: it still waits."""
        if signal.position == "long":
            entered = minute.low <= signal.price_open
            stopped = minute.low <= signal.price_stop_loss
            gapped = minute.open <= signal.price_stop_loss
        else:
            entered = minute.high >= signal.price_open
            stopped = minute.high >= signal.price_stop_loss
            gapped = minute.open >= signal.price_stop_loss
        if stopped:
            return "open_and_stop" if self.fills_on_the_way and not gapped else "reject"
        return "open" if entered else None

    def exit(self, signal: OpenSignal, minute: Minute) -> Exit | None:
        """The exit of an open position at target or stop in a candle; ``None`` when neither is hit."""
        if self.watches == "average":
            best = worst = minute.price
        elif signal.position == "long":
            best, worst = minute.high, minute.low
        else:
            best, worst = minute.low, minute.high
        if signal.position == "long":
            won = best >= signal.price_take_profit
            lost = worst <= signal.price_stop_loss
            gapped = minute.open <= signal.price_stop_loss
        else:
            won = best <= signal.price_take_profit
            lost = worst >= signal.price_stop_loss
            gapped = minute.open >= signal.price_stop_loss
        if lost and (self.stop_first or not won):
            gap = self.gap_fills and gapped
            # A candle that opens beyond the stop was stopped before it could reach the target: nothing is in doubt.
            return Exit("stop_loss", minute.open if gap else signal.price_stop_loss, ambiguous=won and not gap)
        if won:
            return Exit("take_profit", signal.price_take_profit, ambiguous=lost)
        return None

    def extremes(self, minute: Minute) -> tuple[float, float]:
        """The highest and lowest price of a candle (quote currency) that this model goes by."""
        if self.watches == "average":
            return minute.price, minute.price
        return minute.high, minute.low


EXECUTION_MODELS: Final[dict[str, ExecutionModel]] = {
    "pessimistic": ExecutionModel(
        name="pessimistic",
        watches="range",
        stop_first=True,
        gap_fills=True,
        fills_on_the_way=True,
        better_of_market_and_limit=True,
        frame_end_close="frame_end",
        frame_end_cancel="frame_end",
    ),
    "touch": ExecutionModel(
        name="touch",
        watches="range",
        stop_first=False,
        gap_fills=False,
        fills_on_the_way=False,
        better_of_market_and_limit=True,
        frame_end_close="frame_end",
        frame_end_cancel="frame_end",
    ),
    "vwap": ExecutionModel(
        name="vwap",
        watches="average",
        stop_first=False,
        gap_fills=False,
        fills_on_the_way=False,
        better_of_market_and_limit=False,
        frame_end_close="time_expired",
        frame_end_cancel="timeout",
    ),
}


def execution_model(name: str) -> ExecutionModel:
    """The execution model of that name.

    Examples
    --------
    >>> execution_model("pessimistic").stop_first
    True
    """
    try:
        return EXECUTION_MODELS[name]
    except (KeyError, TypeError):
        raise UnknownName("execution", str(name), known=EXECUTION_MODELS) from None
