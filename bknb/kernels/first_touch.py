"""The first minute, from a given one on, at which a price can change the state of a signal.

The answer may be early, never late: the driver feeds that minute to the lifecycle, which decides. Every function
here has a plain-Python version (``*_plain``) that is its specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_BATCH: Final = 64
_LAST_BATCH: Final = 8192


def first_outside(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    price: NDArray[np.float64],
    start: int,
    stop: int,
    *,
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
    size = _FIRST_BATCH
    while start < stop:
        end = min(start + size, stop)
        hit = high[start:end] >= above
        hit |= low[start:end] <= below
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
    *,
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
