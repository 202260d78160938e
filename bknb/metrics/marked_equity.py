"""The account of a run, marked to market: equity at the close of every bar, open positions included.

One account whose whole equity, or the part that its signal says, goes into each position in turn. What an entry costs
is booked at the entry, what an exit costs at the exit, as the results of the trades have it, so after the last exit
equity is the product of ``1 + net / 100`` of all trades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..domain.interval import MINUTE_MS
from ..errors import UsageError
from .compounding import drawdown, equity_path
from .marked_positions import Floats, Positions, Times

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkedEquity:
    """Equity of an account at the close of every bar, as a multiple of its start.

    Attributes
    ----------
    time_ms : ndarray of int64, shape (m,)
        The start, the close of every bar up to the end, and the end; UTC milliseconds.
    equity : ndarray of float64, shape (m,)
        1.0 at the start; 0 from the moment on at which nothing is left.
    bar_closed : ndarray of bool, shape (m,)
        Whether a bar closed at that moment.
    path_time_ms, path : ndarray, shape (m + n,)
        The same with the equity after each exit before the mark of its bar, from which drawdown is measured: two
        positions that ended in one bar are both in it.
    put_in : ndarray of float64, shape (n,)
        Equity that went into each position.
    after : ndarray of float64, shape (n,)
        Equity after each exit; a position that is still open leaves it as it was.
    blown : bool
        Whether equity reached zero.
    """

    time_ms: Times
    equity: Floats
    bar_closed: Flags
    path_time_ms: Times
    path: Floats
    put_in: Floats
    after: Floats
    blown: bool

    @property
    def drawdown(self) -> Floats:
        """Distance of ``path`` below its highest point so far, percent, never above zero; shape (m + n,)."""
        return drawdown(self.path)


def mark(
    positions: Positions, bar_ms: Times, close: Floats, *, start: int, end: int, step: int = MINUTE_MS
) -> MarkedEquity:
    """Equity of an account at the close of every bar from ``start`` to ``end``.

    A long is worth ``units * close``, a short ``2 * equity put in - units * close``, both less the fee of the entry.
    What leaves at the end, at the open of the bar behind it, is booked at the end.

    Parameters
    ----------
    positions : Positions
    bar_ms, close : ndarray, shape (n,)
        Open times (UTC milliseconds, ascending) and closing prices of the bars.
    start, end : int
        First and last moment of the run, UTC milliseconds.
    step : int
        Length of a bar, milliseconds.

    Raises
    ------
    UsageError
        When ``end`` is before ``start``.
    """
    if end < start:
        raise UsageError(f"the end of a run cannot be before its start; got start={start}, end={end}")
    booked = np.minimum(positions.closed_ms + step, end)
    times, prices, bar_closed = _moments(bar_ms, close, booked, start, end, step)
    count, is_open = len(times), np.isnan(positions.exit_ratio)
    last = np.where(is_open, count, np.searchsorted(times, booked))
    # What was opened at the end has no mark behind its entry: its exit is booked at the end all the same.
    first = np.minimum(np.searchsorted(times, positions.opened_ms, side="right"), last)
    bounds = np.stack((first, last), axis=1).ravel()
    parts = positions.parts
    at_part = 2 * parts.position + 1  # where each part stands among the bounds of all
    booked_parts = np.minimum(parts.closed_ms + step, end)
    bounds = np.insert(bounds, at_part, np.searchsorted(times, booked_parts))
    bounds = np.minimum(np.maximum.accumulate(bounds), count)
    at_exit = 2 * np.arange(len(positions)) + 1 + np.searchsorted(parts.position, np.arange(len(positions)), "right")
    level = np.concatenate(([1.0], equity_path(positions.net * positions.sizes)))
    put_in, after = level[:-1] * positions.sizes, level[1:]
    beside = level[:-1] - put_in
    slope = positions.side / positions.entry
    fixed = np.where(positions.side > 0, 0.0, 2.0) - positions.entry_fee
    lengths = np.diff(bounds, prepend=0, append=count)
    bases = np.empty(2 * len(positions) + 1)
    bases[::2], bases[1::2] = level, put_in * fixed + beside
    slopes = np.zeros(2 * len(positions) + 1)
    slopes[1::2] = put_in * slope
    if len(parts.position):
        bases, slopes = _with_segments(positions, bases, slopes, put_in, fixed, slope, beside)
    equity = np.repeat(bases, lengths) + np.repeat(slopes, lengths) * prices
    exits = np.minimum(bounds[at_exit], count - 1)
    blown = bool((equity <= 0).any() or (level <= 0).any())
    if blown:
        at = int(np.argmax(equity <= 0)) if (equity <= 0).any() else count
        equity[at:] = 0.0
        after = np.where(exits >= at, 0.0, after)
        put_in = np.concatenate(([1.0], after[:-1])) * positions.sizes if len(after) else after
    return MarkedEquity(
        time_ms=times,
        equity=equity,
        bar_closed=bar_closed,
        path_time_ms=np.insert(times, exits, times[exits]),
        path=np.insert(equity, exits, np.where(is_open, equity[exits], after)),
        put_in=put_in,
        after=after,
        blown=blown,
    )


def _with_segments(
    positions: Positions, bases: Floats, slopes: Floats, put_in: Floats, fixed: Floats, slope: Floats, beside: Floats
) -> tuple[Floats, Floats]:
    """Bases and slopes with a segment for each part, which begins when the part was filled."""
    parts = positions.parts
    which = parts.position
    starts = np.searchsorted(which, which)  # where the parts of the same position begin
    paid, share = (
        np.concatenate(([0.0], np.cumsum(column))) for column in (positions.side[which] * parts.paid, parts.share)
    )
    so_far = paid[1:] - paid[starts]
    left = 1 - (share[1:] - share[starts])
    places = 2 * which + 2  # behind the segment before it
    return (
        np.insert(bases, places, put_in[which] * (fixed[which] + so_far) + beside[which]),
        np.insert(slopes, places, put_in[which] * slope[which] * left),
    )


def _moments(
    bar_ms: Times, close: Floats, booked: Times, start: int, end: int, step: int
) -> tuple[Times, Floats, Flags]:
    """Moments of the marks, with the last price known at each, and whether it is the close of a bar."""
    lower, upper = (int(at) for at in np.searchsorted(bar_ms, (start, end - step + 1)))
    closes = bar_ms[lower:upper] + step
    extra = np.array([start, *([end] if not len(closes) or closes[-1] < end else [])], dtype=np.int64)
    at = np.searchsorted(closes, booked)
    known = np.zeros(len(booked), dtype=np.bool_)
    inside = at < len(closes)
    known[inside] = closes[at[inside]] == booked[inside]
    extra = np.unique(np.concatenate((extra, booked[~known & (booked > start)])))
    places = np.searchsorted(closes, extra)
    times = np.insert(closes, places, extra)
    prices = close[lower:upper]
    before = np.where(places > 0, prices[np.maximum(places - 1, 0)], prices[0]) if len(prices) else np.ones(len(extra))
    return times, np.insert(prices, places, before), np.insert(np.ones(len(closes), dtype=np.bool_), places, False)
