"""Which ranges candles cover, and which ranges that were asked for are without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..domain.ranges import Range, Ranges, merged
from ..market.candles import Candles
from ..market.missing_candles import spaces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.shifted_bar_grid import BarGrid


def runs(times: NDArray[np.int64], step: int, grid: BarGrid | None = None) -> Ranges:
    """The ranges that runs of candles without a gap cover, UTC ms.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, ascending.
    step
        Length of a candle, ms.
    grid
        Where they open, where that is not at multiples of their length.

    Examples
    --------
    >>> runs(np.array([0, 60_000, 240_000]), 60_000)
    ((0, 120000), (240000, 300000))
    """
    if not len(times):
        return ()
    if grid is not None:
        return merged(zip(times.tolist(), grid.ends(times, step).tolist(), strict=True))
    breaks = np.flatnonzero(np.diff(times) != step)
    firsts = times[np.concatenate([[0], breaks + 1])]
    ends = times[np.append(breaks, len(times) - 1)] + step
    return merged(zip(firsts.tolist(), ends.tolist(), strict=True))


def absent_in(times: NDArray[np.int64], known: Ranges, step: int, grid: BarGrid | None = None) -> Ranges:
    """The parts of known ranges that no candle covers; parameters as of :func:`runs`.

    Examples
    --------
    >>> absent_in(np.array([60_000]), ((0, 180_000),), 60_000)
    ((0, 60000), (120000, 180000))
    """
    found: list[Range] = []
    for first, end in known:
        low, high = np.searchsorted(times, [first, end])
        found.extend(spaces(times[int(low) : int(high)], first, end, step, grid))
    return merged(found)


def united(old: Candles, new: Candles) -> Candles:
    """The union of two series, oldest first; where both have a candle, the new one."""
    both = Candles.concat([new, old])
    _, places = np.unique(both.timestamp, return_index=True)
    return both.take(places)
