"""When candles close: so long after their open; the days of a market, and the last bar of a session, with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..domain.interval import interval_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .shifted_bar_grid import BarGrid
    from .window import Window


class CandleCloses(NamedTuple):
    """When the candles of an interval close.

    Attributes
    ----------
    step : int
        Their length, ms.
    days : tuple of ndarray of int64, shape (n,), or None
        When each opens and when it closes (UTC ms), of those that are days of a market with sessions; ``None``: each
        candle is ``step`` long.
    grid : BarGrid or None
        Where they open, where that is not at multiples of ``step``: the last one of a session may be shorter.

    Examples
    --------
    >>> CandleCloses(3_600_000).of(np.array([0, 3_600_000])).tolist()
    [3600000, 7200000]
    >>> sessions = np.array([50, 100, 150]), np.array([80, 130, 180])
    >>> CandleCloses(86_400_000, sessions).of(np.array([50, 150])).tolist()
    [80, 180]
    """

    step: int
    days: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    grid: BarGrid | None = None

    def of(self, times: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The closes (UTC ms) of candles by their open times (UTC ms, ascending); ``None``: these are no such candles.

        Those of an interval are at least as far apart as it is long, or lie on its grid; days open with their session.
        """
        if self.days is None:
            if self.grid is not None:
                is_there = (self.grid.starts(times, self.step) == times).all()
                return closes_of(times, self.step, self.grid) if is_there else None
            is_closer = len(times) > 1 and int(np.diff(times).min()) < self.step
            return None if is_closer else times + self.step
        opens, closes = self.days
        place = np.searchsorted(opens, times)
        if len(times) and (int(place.max()) == len(opens) or (opens[place] != times).any()):
            return None
        found: NDArray[np.int64] = closes[place]
        return found


def closes_of(times: NDArray[np.int64], step: int, grid: BarGrid | None) -> NDArray[np.int64]:
    """The closes (UTC ms) of candles of ``step`` ms by their open times; ``grid`` as of :class:`CandleCloses`."""
    return times + step if grid is None else grid.ends(times, step)


def candle_closes(window: Window, symbol: str, interval: str) -> CandleCloses:
    """When the candles of a symbol close that a window has handed out."""
    if not window.is_by_calendar(symbol, interval):
        return CandleCloses(interval_ms(interval), grid=window.grid_of(symbol))
    made = window.calendar_candles().known(symbol, interval)
    none = np.zeros(0, dtype=np.int64)
    return CandleCloses(0, (none, none) if made is None else (made.candles.timestamp, made.closes))


def closes_by_bars(
    opens: NDArray[np.int64], step: int, bars: NDArray[np.int64], closes: NDArray[np.int64], bar_step: int
) -> NDArray[np.int64]:
    """When candles of ``step`` ms close (UTC ms), by the bars of their market: one whose last bar is a short one, then.

    ``bars`` of ``bar_step`` ms open at these moments, ascending, and close at ``closes``.

    Examples
    --------
    >>> bars, closes = np.array([0, 100, 200]), np.array([100, 200, 250])
    >>> closes_by_bars(np.array([0, 200, 300]), 100, bars, closes, 100).tolist()
    [100, 250, 400]
    """
    ends = opens + step
    if not len(bars):
        return ends
    last = np.maximum(np.searchsorted(bars, ends) - 1, 0)
    is_short = (bars[last] >= opens) & (bars[last] < ends) & (closes[last] < bars[last] + bar_step)
    return np.where(is_short, closes[last], ends)
