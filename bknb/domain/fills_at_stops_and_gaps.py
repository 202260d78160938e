"""The named execution models: which price fills an order, and in which order when a candle is ambiguous.

A one-minute candle does not say in which order it traded. Each model is one consistent answer; every run names the one
it used. ``pessimistic`` is the default: market orders fill at the open of the first candle that traded after the
decision, and doubt is resolved against the trader. ``touch`` fills at every level a candle reaches, in favour of the
trader. ``vwap`` trades at the five-minute average price and equals backtest-kit since mid-2026.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, TypeAlias

from ..errors import UnknownName
from .signal import OpenSignal, ScheduledSignal, sign_of
from .signal_events import CancelReason, CloseReason

ExecutionName: TypeAlias = Literal["pessimistic", "touch", "vwap"]


class Minute(NamedTuple):
    """One closed one-minute candle; ``price`` is the average price of the window that ends with it.

    Prices in quote currency, ``t`` is the open time in UTC ms. ``traded`` is false for a candle without volume from
    a source that reports volumes.
    """

    t: int
    open: float
    high: float
    low: float
    close: float
    price: float
    traded: bool = True


class Entry(NamedTuple):
    """The fill of an entry order.

    Attributes
    ----------
    price
        Quote currency.
    at_open
        Whether it filled at the open of the candle, so that the whole candle came after it.
    rested
        Whether the order rested before it filled, if only for a part of this candle.
    stopped
        Whether the same candle takes the position out at its stop.
    in_doubt
        Whether the candle reached the stop, too, and does not say what came first.
    """

    price: float
    at_open: bool
    rested: bool = True
    stopped: bool = False
    in_doubt: bool = False


class Exit(NamedTuple):
    """Why and at which price a position ends; ``ambiguous``: the candle allows another reading."""

    reason: CloseReason
    price: float
    ambiguous: bool


class ExecutionModel(NamedTuple):
    """A named set of fill assumptions.

    Attributes
    ----------
    fills_at_open
        A market order fills at the open of a later candle; otherwise at the average price it was decided at.
    watches
        ``"range"``: a level is hit when the candle's high or low reaches it. ``"average"``: when the average
        price crosses it.
    needs_volume
        A candle without volume fills nothing.
    trades_through
        A resting limit and a target fill only when a candle trades beyond them.
    stop_first
        Which exit wins when one candle reaches both.
    gap_fills
        A candle that opens beyond a level fills it at that open, not at the level.
    fills_on_the_way
        A candle that reaches a limit and the stop opens the position and stops it out, instead of rejecting it.
    frame_end_close, frame_end_cancel
        The reason of what the end of the frame cuts off.
    rules
        The version of the model's rules, written on run cards: it grows when the same orders fill otherwise. Rules 1
        are those of bknb 0.1.0.
    """

    name: ExecutionName
    fills_at_open: bool
    watches: Literal["range", "average"]
    needs_volume: bool
    trades_through: bool
    stop_first: bool
    gap_fills: bool
    fills_on_the_way: bool
    frame_end_close: CloseReason
    frame_end_cancel: CancelReason
    rules: int

    def can_fill(self, minute: Minute, not_before: int = 0) -> bool:
        """Whether an order that may fill from ``not_before`` (UTC ms) on can fill in a candle."""
        return minute.t >= not_before and (minute.traded or not self.needs_volume)

    def entry(self, signal: ScheduledSignal, minute: Minute, *, first: bool) -> Entry | Literal["reject"] | None:
        """The fill of an entry order in a candle; ``None``: it still waits, ``"reject"``: its stop was reached.

        ``first`` is the first candle that can fill the order.
        """
        if signal.entry == "market":
            return Entry(minute.open, at_open=True, rested=False)
        sign = sign_of(signal.position)
        # A short is a long in mirrored prices: favourable is up for both.
        level, stop, opened = sign * signal.price_open, _mirrored(signal.price_stop_loss, sign), sign * minute.open
        adverse, favourable = (minute.low, minute.high) if sign > 0 else (-minute.high, -minute.low)
        if signal.entry == "stop":
            return self._stop_entry(signal, minute, level, stop, opened, adverse, favourable, first=first)
        if self.fills_at_open and first and opened <= level:
            return Entry(minute.open, at_open=True, rested=False)
        if self.gap_fills and opened < level:
            return Entry(minute.open, at_open=True)
        if adverse <= stop:
            if self.fills_on_the_way:
                return Entry(signal.price_open, at_open=False, stopped=True, in_doubt=True)
            return "reject"
        if adverse < level or (adverse == level and not self.trades_through):
            return Entry(signal.price_open, at_open=False)
        return None

    def _stop_entry(
        self,
        signal: ScheduledSignal,
        minute: Minute,
        level: float,
        stop: float,
        opened: float,
        adverse: float,
        favourable: float,
        *,
        first: bool,
    ) -> Entry | Literal["reject"] | None:
        """The fill of a stop entry; prices but those of ``signal`` and ``minute`` are mirrored for a short."""
        if self.watches == "average":
            adverse = favourable = minute.price if signal.position == "long" else -minute.price
        at_once = first and opened >= level
        if self.gap_fills and (at_once or opened > level):
            return Entry(minute.open, at_open=True, rested=not first)
        if favourable >= level:
            return Entry(signal.price_open, at_open=False, rested=not at_once, in_doubt=adverse <= stop)
        return "reject" if adverse <= stop else None

    def exit(self, signal: OpenSignal, minute: Minute) -> Exit | None:
        """The exit of a position with one target and one stop in a candle; ``None`` when neither is hit."""
        if self.watches == "average":
            best = worst = minute.price
        elif signal.position == "long":
            best, worst = minute.high, minute.low
        else:
            best, worst = minute.low, minute.high
        target, stop = signal.price_take_profit, signal.price_stop_loss
        assert target is not None  # of a plain position  # noqa: S101
        assert stop is not None  # noqa: S101
        if signal.position == "long":
            won = best > target if self.trades_through else best >= target
            lost = worst <= stop
            opened_lost, opened_won = minute.open <= stop, minute.open > target
        else:
            won = best < target if self.trades_through else best <= target
            lost = worst >= stop
            opened_lost, opened_won = minute.open >= stop, minute.open < target
        if self.gap_fills and (opened_lost or opened_won):
            # A candle that opens beyond a level fills it there, before it can reach the other: nothing is in doubt.
            return Exit("stop_loss" if opened_lost else "take_profit", minute.open, ambiguous=False)
        if lost and (self.stop_first or not won):
            return Exit("stop_loss", stop, ambiguous=won)
        if won:
            return Exit("take_profit", target, ambiguous=lost)
        return None

    def extremes(self, minute: Minute) -> tuple[float, float]:
        """The highest and lowest price of a candle (quote currency) that this model goes by."""
        if self.watches == "average":
            return minute.price, minute.price
        return minute.high, minute.low


def _mirrored(stop: float | None, sign: int) -> float:
    """A stop in prices where favourable is up; far below where there is none."""
    return -math.inf if stop is None else sign * stop


def exit_at_entry(signal: OpenSignal) -> Exit | None:
    """The exit of a plain position that filled at or beyond one of its own levels: at that fill, before anything else.

    Without a level it has none.
    """
    sign, entry = sign_of(signal.position), signal.price_open
    if signal.price_stop_loss is not None and sign * (entry - signal.price_stop_loss) <= 0:
        return Exit("stop_loss", entry, ambiguous=False)
    if signal.price_take_profit is not None and sign * (signal.price_take_profit - entry) <= 0:
        return Exit("take_profit", entry, ambiguous=False)
    return None


EXECUTION_MODELS: Final[dict[str, ExecutionModel]] = {
    "pessimistic": ExecutionModel(
        name="pessimistic",
        fills_at_open=True,
        watches="range",
        needs_volume=True,
        trades_through=True,
        stop_first=True,
        gap_fills=True,
        fills_on_the_way=True,
        frame_end_close="frame_end",
        frame_end_cancel="frame_end",
        rules=2,
    ),
    "touch": ExecutionModel(
        name="touch",
        fills_at_open=True,
        watches="range",
        needs_volume=False,
        trades_through=False,
        stop_first=False,
        gap_fills=False,
        fills_on_the_way=False,
        frame_end_close="frame_end",
        frame_end_cancel="frame_end",
        rules=2,
    ),
    "vwap": ExecutionModel(
        name="vwap",
        fills_at_open=False,
        watches="average",
        needs_volume=False,
        trades_through=False,
        stop_first=False,
        gap_fills=False,
        fills_on_the_way=False,
        frame_end_close="time_expired",
        frame_end_cancel="timeout",
        rules=1,
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
