"""The first minute, from a given one on, at which a price can change the state of a signal.

The answer may be early, never late: the driver feeds that minute to the lifecycle, which decides. Every function
here has a plain-Python version (``*_plain``) that is its specification.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_BATCH: Final = 256
_BATCH: Final = 512  # of positions that live for hours
_LAST_BATCH: Final = 8192

_most, _least = np.maximum.reduce, np.minimum.reduce


def first_outside(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    price: NDArray[np.float64],
    start: int,
    stop: int,
    above: float,
    below: float,
    price_above: float,
    price_below: float,
) -> int:
    """First ``i`` in ``[start, stop)`` with high >= above, low <= below, price >= price_above or price <= price_below.

    Returns ``stop`` when there is none. Infinite bounds switch a test off.

    Examples
    --------
    >>> high, low = np.array([1.0, 2.0, 5.0]), np.array([1.0, 1.0, 4.0])
    >>> inf = float("inf")
    >>> first_outside(high, low, high, 0, 3, above=4.5, below=0.0, price_above=inf, price_below=-inf)
    2
    """
    size, no_price = _FIRST_BATCH, price_above == math.inf and price_below == -math.inf
    while start < stop:
        end = min(start + size, stop)
        hit = high[start:end] >= above
        hit |= low[start:end] <= below
        if not no_price:
            part = price[start:end]
            hit |= part >= price_above
            hit |= part <= price_below
        at = int(hit.argmax())
        if hit[at]:
            return start + at
        start = end
        size = min(size * 4, _LAST_BATCH)
    return stop


def first_outside_plain(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    price: NDArray[np.float64],
    start: int,
    stop: int,
    above: float,
    below: float,
    price_above: float,
    price_below: float,
) -> int:
    """The specification of ``first_outside``."""
    for i in range(start, stop):
        if high[i] >= above or low[i] <= below or price[i] >= price_above or price[i] <= price_below:
            return i
    return stop


def first_beyond(
    high: NDArray[np.float64], low: NDArray[np.float64], start: int, stop: int, above: float, below: float
) -> tuple[int, float, float]:
    """First ``i`` in ``[start, stop)`` with high >= above or low <= below, and the highest and lowest price before it.

    It is ``stop`` when there is none; where nothing is before it they are -inf and inf.

    Examples
    --------
    >>> high, low = np.array([1.0, 2.0, 5.0]), np.array([1.0, 0.5, 4.0])
    >>> first_beyond(high, low, 0, 3, above=4.5, below=0.0)
    (2, 2.0, 0.5)
    """
    size, most, least = _BATCH, -math.inf, math.inf
    while start < stop:
        end = min(start + size, stop)
        highs, lows = high[start:end], low[start:end]
        hit = highs >= above
        hit |= lows <= below
        at = int(hit.argmax())
        found = hit.item(at)
        if found:
            highs, lows = highs[:at], lows[:at]
        if at or not found:
            most, least = max(most, float(_most(highs))), min(least, float(_least(lows)))
        if found:
            return start + at, most, least
        start = end
        size = min(size * 4, _LAST_BATCH)
    return stop, most, least


def first_beyond_plain(
    high: NDArray[np.float64], low: NDArray[np.float64], start: int, stop: int, above: float, below: float
) -> tuple[int, float, float]:
    """The specification of ``first_beyond``."""
    most, least = -math.inf, math.inf
    for i in range(start, stop):
        if high[i] >= above or low[i] <= below:
            return i, most, least
        most, least = max(most, high[i]), min(least, low[i])
    return stop, most, least


def first_trailed(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    start: int,
    stop: int,
    *,
    best: float,
    long: bool,
    percent: float,
    distance: float,
) -> int:
    """First ``i`` in ``[start, stop)`` whose adverse price is at or beyond the trailing stop its own extreme gives.

    The stop lies ``percent`` of the best price and ``distance`` behind it; the best price is ``best`` or the extreme
    of the minutes from ``start`` to ``i``. Returns ``stop`` when there is none. Where the best price is
    below zero, it may be one before that.

    Examples
    --------
    >>> high, low = np.array([101.0, 110.0, 110.0]), np.array([100.0, 106.0, 104.0])
    >>> first_trailed(high, low, 0, 3, best=100.0, long=True, percent=5.0, distance=0.0)
    2
    """
    size, part = _FIRST_BATCH, percent / 100
    while start < stop:
        end = min(start + size, stop)
        if long:
            reached = np.maximum(np.maximum.accumulate(high[start:end]), best)
            hit = low[start:end] <= reached * (1 - part) - distance
        else:
            reached = np.minimum(np.minimum.accumulate(low[start:end]), best)
            hit = high[start:end] >= reached * (1 + part) + distance
        at = int(hit.argmax())
        if hit[at]:
            return start + at
        best, start = float(reached[-1]), end
        size = min(size * 4, _LAST_BATCH)
    return stop


def first_trailed_plain(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    start: int,
    stop: int,
    *,
    best: float,
    long: bool,
    percent: float,
    distance: float,
) -> int:
    """The specification of ``first_trailed``."""
    for i in range(start, stop):
        best = max(best, high[i]) if long else min(best, low[i])
        if long and low[i] <= best * (1 - percent / 100) - distance:
            return i
        if not long and high[i] >= best * (1 + percent / 100) + distance:
            return i
    return stop
