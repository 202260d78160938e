"""The moments at which the legs of the weights of several symbols can be asked: those of all of them.

A symbol that does not trade at a moment is asked there with the others, and its order waits for its next bar. Only
where a moment lies inside one of its bars, by the clock, or before its first bar has closed, it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles_of_one_symbol import Series
    from .questions import AskedAt


class WeightsMoments:
    """Moments of all legs (UTC ms), which each leg tells before the first of them is asked."""

    def __init__(self) -> None:
        self._told: list[NDArray[np.int64]] = []
        self._all: NDArray[np.int64] | None = None

    def tell(self, moments: NDArray[np.int64]) -> None:
        """Take the moments at which one leg could be asked alone, ascending."""
        self._told.append(moments)
        self._all = None

    def of_leg(self, series: Series, alone: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of all legs at which a leg can be asked, ascending.

        Where a bar of others closes inside a longer one of the leg it is not: whether that is there is known once it
        has closed.

        Parameters
        ----------
        series
            Its bars.
        alone
            The moments at which it could be asked alone (UTC ms), ascending.
        """
        if self._all is None:
            self._all = np.unique(np.concatenate(self._told))
        moments, times, step, grid = self._all, series.candles.timestamp, series.step, series.grid
        begins = moments % step == 0 if grid is None else grid.starts(moments, step) == moments
        if not begins.all():
            moments = np.union1d(moments[begins], alone)
        before = np.searchsorted(times, moments, side="left") - 1  # the last bar that opened before
        moments, before = moments[before >= 0], before[before >= 0]
        closed = series.closes[before] <= moments
        found: NDArray[np.int64] = moments[closed]
        return found[found <= (times[-1] if len(times) else -1)]  # nobody could fill a later order


class WeightsSlots:
    """The moments at which a leg is asked once in each slot.

    Parameters
    ----------
    moments
        Those at which it can be asked (UTC ms), ascending.
    slot_end
        The end of the slot that a moment lies in (UTC ms).
    """

    def __init__(self, moments: NDArray[np.int64], slot_end: Callable[[int], int]) -> None:
        self._moments, self._slot_end = moments, slot_end

    def first(self, earliest: int) -> int | None:
        """The first moment at or after ``earliest`` (UTC ms) at which it can be asked, if there is one."""
        at = int(self._moments.searchsorted(earliest))
        return int(self._moments[at]) if at < len(self._moments) else None

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after`` and in a later slot than ``asked``; all in UTC ms."""
        return self.first(max(self._slot_end(asked), after + 1))

    def missed(self, until: int) -> int:  # noqa: ARG002
        """None: a slot has no moment of its own, so it is asked in when it can be."""
        return 0


class WeightsQuestions:
    """The questions of a leg, made once all legs have told their moments: when it is first asked for one.

    Parameters
    ----------
    make
        Makes them.
    """

    def __init__(self, make: Callable[[], AskedAt]) -> None:
        self._make = make
        self._made: AskedAt | None = None

    @property
    def _questions(self) -> AskedAt:
        if self._made is None:
            self._made = self._make()
        return self._made

    def first(self, earliest: int) -> int | None:
        """The first moment at or after ``earliest`` (UTC ms) at which it can be asked, if there is one."""
        return self._questions.first(earliest)

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after``, to which the question at ``asked`` leads; all in UTC ms."""
        return self._questions.next(after=after, asked=asked)

    def missed(self, until: int) -> int:
        """How many moments up to one (UTC ms) were missed."""
        return self._questions.missed(until)
