"""Statistics of windows that ``bknb.indicators`` offers: lines, places among earlier values; added value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .indicator_arithmetic import copied_windows, floats, length_of, ratio, weighted_sum
from .indicator_formulas import sma, stdev

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def linreg_slope(values: ArrayLike, length: int) -> Floats:
    """The slope of the line of least squares through ``length`` values, in their unit for each candle; 0 for one value.

    Each is made of its window alone, added up in one order: no digit depends on candles before or behind it.

    Examples
    --------
    >>> linreg_slope([1.0, 3.0, 5.0], 3).tolist()
    [nan, nan, 2.0]
    """
    length = length_of(length)
    x = [at - (length - 1) / 2 for at in range(length)]
    return weighted_sum(values, x) / (sum(each * each for each in x) or 1.0)


def linreg(values: ArrayLike, length: int) -> Floats:
    """The end of the line of least squares through ``length`` values: their average + slope * (length - 1) / 2.

    Examples
    --------
    >>> linreg([1.0, 3.0, 5.0, 3.0], 3).round(3).tolist()
    [nan, nan, 5.0, 3.667]
    """
    return sma(values, length) + linreg_slope(values, length) * ((length - 1) / 2)


def zscore(values: ArrayLike, length: int = 20) -> Floats:
    """How many standard deviations a value is from the average of ``length``, itself included.

    0 where all are the same. Of :func:`sma` and :func:`stdev`, which divides by ``length``.

    Examples
    --------
    >>> zscore([1.0, 3.0], 2).tolist()
    [nan, 1.0]
    """
    values = floats(values)
    return ratio(values - sma(values, length), stdev(values, length))


def percent_rank(values: ArrayLike, length: int = 100) -> Floats:
    """How many percent of the ``length`` values before are less than or equal to a value.

    Examples
    --------
    >>> percent_rank([1.0, 3.0, 2.0], 2).tolist()
    [nan, nan, 50.0]
    """

    def made(windows: Floats) -> Floats:
        found: Floats = 100.0 * (windows[:, :-1] <= windows[:, -1:]).sum(axis=1) / length
        return found

    return copied_windows(values, length_of(length) + 1, made)


def percentile(values: ArrayLike, length: int, percent: float) -> Floats:
    """The value below which ``percent`` of ``length`` values lie, between two of them in proportion.

    Examples
    --------
    >>> percentile([1.0, 2.0, 3.0], 3, 25).tolist()
    [nan, nan, 1.5]
    """
    if isinstance(percent, bool) or not 0 <= percent <= 100:
        raise UsageError(f"percent must be a number from 0 to 100, got {percent!r:.40}")
    return copied_windows(values, length, lambda windows: np.asarray(np.percentile(windows, percent, axis=1)))
