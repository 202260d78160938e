"""Whether a value holds the candles of the market themselves, bar by bar: the data a source was made of.

Everything else in a program can be computed again from it. Rows with moments hold, at these moments, the prices of the
market; numbers without moments are prices of candles that follow each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..market.candles import Candles
from .timed_data import beside, is_row_of_numbers, timed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_RUN: Final = 48  # prices in a row that are found in numbers without moments
_DIFFERENT: Final = 4  # different ones among them


def is_copy(value: Any, minutes: Candles) -> bool:
    """Whether a value holds a price of most of the candles.

    Parameters
    ----------
    value
        Anything.
    minutes
        One-minute candles of the market, or longer base bars, oldest first.
    """
    if len(minutes) < 2 * _RUN:
        return False
    if is_row_of_numbers(value) and np.ndim(value) == 1 and not hasattr(value, "iloc"):
        return bool((placed_at(np.asarray(value, dtype=np.float64), minutes) > 0).sum() * 2 > len(minutes))
    times, own = minutes.timestamp, minutes.block[1:5]
    data = timed(value, (int(times[0]), int(times[-1])))
    if data is None:
        return False
    place = np.minimum(np.searchsorted(times, data.opens_at), len(times) - 1)
    within = times[place] == data.opens_at
    if within.sum() * 2 <= len(times):
        return False
    beside_them = value.block[1:5] if isinstance(value, Candles) else beside(value).values()
    columns = [column.astype(np.float64) for column in beside_them if _are_numbers(column)]
    return any(
        len(np.unique(place[within & (prices[place] == column)])) * 2 > len(times)
        for column in columns
        for prices in own
    )


def placed_at(numbers: Floats, minutes: Candles, step: int = MINUTE_MS) -> NDArray[np.int64]:
    """When each number was known (UTC ms), where they are prices of candles that follow each other; 0 elsewhere.

    Unlike the price alone, the row tells this also where a market has few different prices. ``step`` is the length of a
    candle, ms.
    """
    known = np.zeros(numbers.shape, dtype=np.int64)
    if numbers.ndim != 1 or len(numbers) < _RUN:
        return known
    count = len(minutes)
    for first in (count // 2, count // 4, 3 * count // 4):
        runs = minutes.block[1:5, first : first + _RUN]
        starts = [_start(numbers, run) for run in runs] if max(map(_different, runs)) >= _DIFFERENT else []
        if any(start >= 0 for start in starts):
            # An open is the close of the candle before: it was known as soon as the earlier of the two.
            candle = np.arange(len(numbers)) + first - max(starts)
            inside = (candle >= 0) & (candle < count)
            known[inside] = minutes.timestamp[candle[inside]] + step
            return known
    return known


def _start(numbers: Floats, run: Floats) -> int:
    """The one place in ``numbers`` at which a run of prices stands; -1 where there is none, or more than one."""
    if len(run) < _RUN or _different(run) == 1:
        return -1
    found = np.flatnonzero(numbers[: len(numbers) - _RUN + 1] == run[0])
    for step in range(1, _RUN):
        found = found[numbers[found + step] == run[step]]
    return int(found[0]) if len(found) == 1 else -1


def _different(run: Floats) -> int:
    return len(np.unique(run))


def _are_numbers(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "iuf" or (column.dtype.kind == "O" and all(type(one) is float for one in column[:64]))
