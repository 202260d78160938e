"""Prices on the tick grid of a market: a level between two ticks cannot be traded.

A tick is the decimal number it is written as, and a level on the grid the float nearest to a whole multiple of it.
Levels are put on the grid away from the market, so that rounding never fills an order the market did not reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from .signal import Signal

NEARLY: Final = 1e-6  # of a tick: a level this near to the grid is on it
_LARGEST: Final = 1.7976931348623157e308  # of floats; a whole number above has none


def round_down(price: float, tick: float) -> float:
    """The highest price on the grid that is not above ``price`` by more than ``NEARLY``; both in quote currency.

    Examples
    --------
    >>> round_down(99.97, 0.05), round_down(0.3, 0.1)
    (99.95, 0.3)
    """
    return _rounded(price, tick, math.floor)


def round_up(price: float, tick: float) -> float:
    """The lowest price on the grid that is not below ``price`` by more than ``NEARLY``; both in quote currency.

    Examples
    --------
    >>> round_up(99.97, 0.05)
    100.0
    """
    return _rounded(price, tick, math.ceil)


def round_nearest(price: float, tick: float) -> float:
    """The price on the grid that is nearest, both in quote currency; of one below half a tick the price itself.

    Examples
    --------
    >>> round_nearest(99.97, 0.05), round_nearest(58000.01, 0.01), round_nearest(0.001, 0.01)
    (99.95, 58000.01, 0.001)
    """
    return _on(round(price / tick), tick) or price


def _rounded(price: float, tick: float, rounded: Callable[[float], int]) -> float:
    ticks = price / tick
    nearest = _on(round(ticks), tick)  # of many ticks the quotient is too coarse to say that a price is on the grid
    if nearest == price or abs(ticks - round(ticks)) <= NEARLY:
        return nearest
    return _on(rounded(ticks), tick)


def _on(ticks: int, tick: float) -> float:
    return float(ticks * Decimal(repr(float(tick))))


def tick_ratio(tick: float) -> tuple[int, int]:
    """A tick as a ratio of two whole numbers.

    Examples
    --------
    >>> tick_ratio(0.25), tick_ratio(0.01)
    ((1, 4), (1, 100))
    """
    return Decimal(repr(float(tick))).as_integer_ratio()


def tick_numbers(tick: float | None) -> tuple[float, float, float]:
    """A tick as compiled loops take it, NaN where it is unknown, and the whole numbers whose ratio it is.

    Examples
    --------
    >>> tick_numbers(0.25), tick_numbers(None)
    ((0.25, 1.0, 4.0), (nan, 1.0, 1.0))
    """
    unit, scale = (1, 1) if tick is None else tick_ratio(tick)
    return math.nan if tick is None else float(tick), float(unit), float(scale)


def _is_level(value: object, tick: float, *, negative: bool) -> bool:
    """Whether a level is a price that has a place on the grid: above 0, unless it may be ``negative``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (value > 0 or negative) and abs(value) <= _LARGEST and abs(value) / tick < math.inf


def on_grid(signal: Signal, tick: float | None, *, negative: bool = False) -> Signal:
    """A signal with its levels on the tick grid, away from the market.

    A long's limit and stop go down, its target and stop entry up; a short's the other way.

    Parameters
    ----------
    signal
        What a strategy answered, not validated yet: its levels are prices in quote currency. A level that is no finite
        number above 0 stays as it is, and so does a signal whose position is neither ``"long"`` nor ``"short"``.
    negative
        Whether levels at or below 0 are prices, too.
    tick
        The smallest step of prices on the market, in quote currency; ``None``: unknown, the signal stays as it is.

    Examples
    --------
    >>> signal = Signal(position="long", price_take_profit=110.3, price_stop_loss=94.9, minute_estimated_time=5)
    >>> (moved := on_grid(signal, 0.5)).price_take_profit, moved.price_stop_loss
    (110.5, 94.5)
    """
    if tick is None or signal.position not in ("long", "short"):
        return signal
    away, towards = (round_down, round_up) if signal.position == "long" else (round_up, round_down)
    rounding = {
        "price_take_profit": towards,
        "price_stop_loss": away,
        "price_open": towards if signal.entry == "stop" else away,
    }
    levels: dict[str, object] = {
        name: rounded(value, tick)
        for name, rounded in rounding.items()
        if _is_level(value := getattr(signal, name), tick, negative=negative)
    }
    if isinstance(signal.price_take_profit, tuple):  # a ladder
        levels["price_take_profit"] = tuple((towards(price, tick), share) for price, share in signal.price_take_profit)
    return msgspec.structs.replace(signal, **levels)
