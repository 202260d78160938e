"""Where weekly bars open: at 00:00 UTC of one day of the week, Monday where nothing else shows in them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import DAY_MS, WEEK_MS
from .shifted_bar_grid import BarGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sessions import Sessions

MONDAY: Final = 4 * DAY_MS
"""How long after the weeks that are counted from 1 January 1970, a Thursday, a Monday begins, ms."""


class WeekGrid(BarGrid):
    """The slots of weekly bars, for any moment; all times are UTC ms.

    Parameters
    ----------
    begin
        When any of them opens.

    Examples
    --------
    >>> grid = WeekGrid(MONDAY)
    >>> wednesday = 1_704_240_000_000  # 2024-01-03
    >>> (wednesday - grid.floor(wednesday, WEEK_MS)) // DAY_MS, (grid.ceil(wednesday, WEEK_MS) - wednesday) // DAY_MS
    (2, 5)
    """

    goes_on = True

    def __init__(self, begin: int) -> None:
        super().__init__(np.array([begin % WEEK_MS], dtype=np.int64), WEEK_MS)

    @property
    def first(self) -> int:
        """When the first bar opens: it is not known that there is none before a moment."""
        return 0

    def reach_back(self, when: int, step: int, count: int, sessions: Sessions | None) -> int:
        """The begin of the ``count``-th newest slot that is over at ``when``; of those in which the market is open."""
        last = self.floor(when, step)
        if sessions is None:
            return last - count * step
        looked_at = 2 * count + 8
        while True:
            slots = np.arange(last - looked_at * step, last, step, dtype=np.int64)
            wanted = slots[sessions.open_minutes(slots, step) > 0]
            if len(wanted) >= count:
                return int(wanted[-count])
            if looked_at > 4000 + 40 * count:
                return int(slots[0])
            looked_at *= 4

    def closes_between(self, after: int, until: int, step: int) -> NDArray[np.int64]:
        """When slots of ``step`` ms end, later than ``after`` and up to ``until``."""
        return np.arange(self.after(after, step), until + 1, step, dtype=np.int64)

    def in_sessions_of(self, sessions: Sessions) -> BarGrid:  # noqa: ARG002 -- weeks do not count from a session
        """Return this grid, whatever the trading hours are."""
        return self


def week_grid(begin: int = MONDAY) -> WeekGrid:
    """The grid of weekly bars of which one opens at a moment (UTC ms); one and the same for each day of the week.

    Examples
    --------
    >>> week_grid() is week_grid(MONDAY + WEEK_MS)
    True
    """
    return _from(begin % WEEK_MS)


@lru_cache(maxsize=7)
def _from(begin: int) -> WeekGrid:
    return WeekGrid(begin)
