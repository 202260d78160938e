"""The length of bars as their open times show it, whatever they are said to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, INTERVAL_MS, MINUTE_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HOUR_MS: Final = 60 * MINUTE_MS
_WEEK_MS: Final = 7 * DAY_MS
_MONTH_MS: Final = (28 * DAY_MS, 31 * DAY_MS)
_SURE: Final = 10_000.0  # how many times rarer than one chance must be what is taken for no chance


def length_name(step: int) -> str:
    """A length of bars as people write it.

    Parameters
    ----------
    step
        Milliseconds.

    Examples
    --------
    >>> [length_name(step) for step in (60_000, 3_600_000, 420_000, 1_000, 604_800_000, 250)]
    ['1m', '1h', '7m', '1s', '1w', '250 ms']
    """
    for name, length in (*INTERVAL_MS.items(), ("1w", _WEEK_MS)):
        if length == step:
            return name
    if _MONTH_MS[0] <= step <= _MONTH_MS[1] and step % DAY_MS == 0:
        return "1M"
    for unit, length in (("d", DAY_MS), ("h", _HOUR_MS), ("m", MINUTE_MS), ("s", 1000)):
        if step >= length and step % length == 0:
            return f"{step // length}{unit}"
    return f"{step} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spacing:
    """The measured length of bars, and how well their open times agree with it.

    Attributes
    ----------
    step : int
        Length of a bar in milliseconds: the commonest distance between neighbours. Days of 23 and 25 hours count as
        days; of months it is the commonest number of days.
    count : int
        Distances between neighbours.
    equal : int
        Those of one bar.
    longer : int
        Those of more than one bar: holes, nights, weekends.
    closer : int
        Those of less than one bar: bars that belong to no series of this length.
    first_closer : int or None
        Open time of the first bar that is closer than one bar to the one before it, UTC milliseconds.

    Examples
    --------
    >>> print(measured(np.array([0, 1, 2, 3, 5]) * 3_600_000))
    1h bars: 3 of 4 distances are 1h, 1 is longer
    """

    step: int
    count: int
    equal: int
    longer: int
    closer: int
    first_closer: int | None

    @property
    def interval(self) -> str:
        """The length as an interval: ``"1m"``, ``"1h"``, ``"1d"``, ``"1w"``, ``"1M"``, or for example ``"7m"``."""
        return length_name(self.step)

    def wider_than(self, step: int) -> bool:
        """Whether these cannot be bars of ``step`` milliseconds with holes, which by chance all lie on a wider grid."""
        return self.step > step and _sure(self.step / step, self.equal + self.longer)

    def __str__(self) -> str:
        text = f"{self.interval} bars: {self.equal:,} of {self.count:,} distances are {self.interval}"
        if self.longer:
            text += f", {self.longer:,} {'is' if self.longer == 1 else 'are'} longer"
        if self.first_closer is not None:
            text += f", {self.closer:,} {'is' if self.closer == 1 else 'are'} shorter"
            text += f" (first at {utc_text(self.first_closer)})"
        return text


def measured(times: NDArray[np.int64]) -> Spacing | None:
    """How far apart candles are; ``None`` for fewer than two different times.

    The commonest distance counts where more than half of all distances are as long and that can be no chance: one
    stray row among hours does not make minutes of them. Otherwise it is the shortest distance: minutes in which nobody
    trades are left out by many sources, and what is left is minutes all the same.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC milliseconds, in any order; what is there twice counts once.

    Examples
    --------
    >>> hours = np.arange(48) * 3_600_000
    >>> measured(hours).interval, measured(np.append(hours, 60_000)).interval
    ('1h', '1h')
    >>> measured(np.array([0, 3, 5, 6, 9]) * 60_000).interval  # minutes, some of them without a trade
    '1m'
    """
    moments = times if bool((times[1:] > times[:-1]).all()) else np.unique(times)
    steps = np.diff(moments)
    if not len(steps):
        return None
    lengths, counts = np.unique(_calendar(steps), return_counts=True)
    at = int(np.argmax(counts))
    commonest, share = int(lengths[at]), int(counts[at])
    sure = 2 * share > len(steps) and _sure(commonest / int(np.gcd.reduce(steps)), share)
    step = commonest if sure else int(lengths[0])
    least, most = _bounds(step)
    closer = steps < least
    return Spacing(
        step=step,
        count=len(steps),
        equal=int(np.count_nonzero((steps >= least) & (steps <= most))),
        longer=int(np.count_nonzero(steps > most)),
        closer=int(np.count_nonzero(closer)),
        first_closer=int(moments[1:][closer][0]) if closer.any() else None,
    )


def _calendar(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distances, with days and weeks around a change of the clocks, and months, made equal."""
    commonest = _commonest(steps)
    least, most = _bounds(commonest)
    return np.where((steps >= least) & (steps <= most), commonest, steps)


def _commonest(steps: NDArray[np.int64]) -> int:
    lengths, counts = np.unique(steps, return_counts=True)
    commonest = int(lengths[int(np.argmax(counts))])
    for length in (DAY_MS, _WEEK_MS):
        if abs(commonest - length) <= _HOUR_MS:
            return length
    return commonest


def _bounds(step: int) -> tuple[int, int]:
    """The shortest and the longest distance that counts as one bar of this length."""
    if step in (DAY_MS, _WEEK_MS):
        return step - _HOUR_MS, step + _HOUR_MS
    if _MONTH_MS[0] - _HOUR_MS <= step <= _MONTH_MS[1] + _HOUR_MS:
        return _MONTH_MS[0] - _HOUR_MS, _MONTH_MS[1] + _HOUR_MS
    return step, step


def _sure(ratio: float, count: int) -> bool:
    """Whether so many candles of a finer grid do not lie ``ratio`` apart by chance."""
    return ratio <= 1 or count * float(np.log(ratio)) >= float(np.log(_SURE))
