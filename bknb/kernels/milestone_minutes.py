"""The minutes in which the average price passes a milestone on its way to the target or to the stop of a position.

The function has a plain-Python version (``*_plain``) that is its specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS: Final = np.arange(0.0, 101.0, 10.0)  # percent of the way

_most, _least = np.maximum.accumulate, np.minimum.accumulate


def milestone_minutes(
    price: NDArray[np.float64], start: int, stop: int, *, entry: float, upper: float, lower: float, up: int, down: int
) -> list[int]:
    """Each ``i`` in ``[start, stop)`` whose price is the first at or beyond another tenth of a way, in order.

    Parameters
    ----------
    price : ndarray of float64, shape (n,)
        NaN counts for nothing.
    entry, upper, lower
        The ways lead from ``entry`` to ``upper``, above it, and to ``lower``, below it. Where one does not lie there,
        nothing is passed on the way to it.
    up, down
        Which tenths were passed before: 0, 10, … 100 percent of each way.

    Examples
    --------
    >>> price = np.array([100.0, 101.2, 100.5, 103.0, 98.9, 102.9])
    >>> milestone_minutes(price, 0, 6, entry=100.0, upper=110.0, lower=90.0, up=0, down=0)
    [1, 3, 4]
    """
    if start >= stop:
        return []
    part = price[start:stop]
    found: list[int] = []
    for accumulate, level, passed in ((_most, upper, up), (_least, lower, down)):
        way = level - entry
        if passed >= 100 or not (way > 0 if accumulate is _most else way < 0):
            continue
        best = accumulate(part)
        if best[-1] != best[-1]:
            best = accumulate(np.where(np.isnan(part), entry, part))
        best -= entry
        best /= way
        best *= 100
        next_level = passed // 10 + 1
        if best[-1] >= _LEVELS[next_level]:
            places = best.searchsorted(_LEVELS[next_level:])
            found += places[: int(places.searchsorted(len(best)))].tolist()
    return [start + at for at in sorted(set(found))]


def milestone_minutes_plain(
    price: NDArray[np.float64], start: int, stop: int, *, entry: float, upper: float, lower: float, up: int, down: int
) -> list[int]:
    """The specification of ``milestone_minutes``."""
    found = []
    for i in range(start, stop):
        passed = False
        for level, reached, above in ((upper, up, True), (lower, down, False)):
            way = level - entry
            if (way > 0 if above else way < 0) and (price[i] - entry) / way * 100 >= reached + 10 and reached < 100:
                passed, tenths = True, int(min((price[i] - entry) / way * 100, 100) // 10) * 10
                up, down = (tenths, down) if above else (up, tenths)
        if passed:
            found.append(i)
    return found
