"""Moving averages that ``bknb.indicators`` offers beside ``sma`` and ``ema``: plain functions, arrays in and out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from .indicator_arithmetic import copied_windows, floats, length_of, ratio, weighted_sum, wilder, window_sum
from .indicator_formulas import ema, sma

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_FAST: Final = 2.0 / 3.0  # of an average of 2 candles
_SLOW: Final = 2.0 / 31.0  # of one of 30


def wma(values: ArrayLike, length: int) -> Floats:
    """Weighted moving average: the newest of ``length`` values counts ``length`` times, the oldest once.

    Examples
    --------
    >>> wma([1.0, 2.0, 4.0], 2).round(3).tolist()
    [nan, 1.667, 3.333]
    """
    length = length_of(length)
    return weighted_sum(values, range(1, length + 1)) / (length * (length + 1) / 2)


def trima(values: ArrayLike, length: int) -> Floats:
    """Triangular moving average: the middle of ``length`` values counts most; an average of an average.

    Examples
    --------
    >>> trima([1.0, 2.0, 3.0, 9.0], 3).tolist()
    [nan, nan, 2.0, 4.25]
    """
    length = length_of(length)
    half = (length + 1) // 2
    weights = [min(at + 1, length - at) for at in range(length)]
    return weighted_sum(values, weights) / (half * (length - half + 1))


def hma(values: ArrayLike, length: int) -> Floats:
    """Hull moving average: :func:`wma` over the root of ``length`` of 2 · ``wma`` of half the length - ``wma``.

    Half and root are rounded down. A. Hull (2005).

    Examples
    --------
    >>> hma([1.0, 2.0, 3.0, 4.0, 5.0], 4).round(3).tolist()
    [nan, nan, nan, nan, 5.0]
    """
    length = length_of(length)
    half, root = max(length // 2, 1), math.isqrt(length)
    return wma(2 * wma(values, half) - wma(values, length), root)


def rma(values: ArrayLike, length: int) -> Floats:
    """Wilder's moving average: ``a + (value - a) / length``, begun with the average of ``length`` values.

    Examples
    --------
    >>> rma([1.0, 3.0, 4.0], 2).tolist()
    [nan, 2.0, 3.0]
    """
    return wilder(floats(values), length)


def dema(values: ArrayLike, length: int) -> Floats:
    """Double exponential moving average: ``2 * e - ema(e)`` of ``e = ema(values)``. P. Mulloy (1994).

    Examples
    --------
    >>> dema([1.0, 2.0, 3.0, 4.0], 2).round(3).tolist()
    [nan, nan, 3.0, 4.0]
    """
    once = ema(values, length)
    return 2 * once - ema(once, length)


def tema(values: ArrayLike, length: int) -> Floats:
    """Triple exponential moving average: ``3 * e - 3 * ema(e) + ema(ema(e))`` of ``e = ema(values)``. P. Mulloy (1994).

    Examples
    --------
    >>> tema([1.0, 2.0, 3.0, 4.0, 5.0], 2).round(3).tolist()
    [nan, nan, nan, 4.0, 5.0]
    """
    once = ema(values, length)
    twice = ema(once, length)
    return 3 * once - 3 * twice + ema(twice, length)


def kama(values: ArrayLike, length: int = 10) -> Floats:
    """Kaufman's adaptive moving average: as fast as one of 2 candles in a trend, as slow as one of 30 without.

    ``k + (r * (2/3 - 2/31) + 2/31) ** 2 * (value - k)``, ``r`` the move over ``length`` candles divided by the sum of
    all moves in them. P. Kaufman, *Smarter Trading* (1995).

    Examples
    --------
    >>> kama([1.0, 2.0, 3.0, 2.0], 2).round(3).tolist()
    [nan, nan, 2.444, 2.443]
    """
    values, length = floats(values), length_of(length)
    found = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) <= length:
        return found
    start = int(known[0])
    moved = np.abs(values[start + length :] - values[start:-length])
    way = window_sum(np.abs(np.diff(values[start:])), length)[length - 1 :]
    pace = (ratio(moved, way, 1.0) * (_FAST - _SLOW) + _SLOW) ** 2
    average, made = float(values[start + length - 1]), []
    for value, part in zip(values[start + length :].tolist(), pace.tolist(), strict=True):
        average += part * (value - average)
        made.append(average)
    found[start + length :] = made
    return found


def vwma(close: ArrayLike, volume: ArrayLike, length: int) -> Floats:
    """Volume-weighted moving average of closes: the sum of close * volume, divided by that of volumes.

    The plain average where nothing was traded.

    Examples
    --------
    >>> vwma([1.0, 2.0], [3.0, 1.0], 2).tolist()
    [nan, 1.25]
    """
    closes, volumes = floats(close), floats(volume)
    traded = window_sum(volumes, length)
    return np.where(traded == 0, sma(closes, length), ratio(window_sum(closes * volumes, length), traded))


def vwap(high: ArrayLike, low: ArrayLike, close: ArrayLike, volume: ArrayLike, length: int) -> Floats:
    """Volume-weighted average of the typical prices of ``length`` candles: :func:`vwma` of (high + low + close) / 3.

    Of a window: one that is anchored at a session or a moment is not an indicator of closed memory.

    Examples
    --------
    >>> vwap([3.0, 6.0], [1.0, 4.0], [2.0, 5.0], [1.0, 2.0], 2).tolist()
    [nan, 4.0]
    """
    return vwma((floats(high) + floats(low) + floats(close)) / 3, volume, length)


def median(values: ArrayLike, length: int) -> Floats:
    """The middle one of ``length`` values, or the mean of the two in the middle.

    Examples
    --------
    >>> median([1.0, 9.0, 2.0], 3).tolist()
    [nan, nan, 2.0]
    """
    return copied_windows(values, length, lambda windows: np.asarray(np.median(windows, axis=1)))
