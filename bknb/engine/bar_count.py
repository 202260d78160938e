"""How many candles of a strategy's interval have closed since a moment, on a market that is not always open."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..domain.interval import DAY_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.bar_slots import BarTimes
    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid


def bar_counter(
    interval: int,
    base: BarTimes | None,
    sessions: Sessions | None,
    *,
    by_day: bool = False,
    grid: BarGrid | None = None,
) -> Callable[[int, int], int] | None:
    """What ``Rules.bars_between`` is: ``None`` where every candle is there by the clock.

    Parameters
    ----------
    interval
        The strategy's, ms.
    base
        When all candles that fill orders open, where they are longer than a minute.
    sessions
        When the market is open; ``None``: always, or as the candles say.
    by_day
        Whether the candles are the days of these sessions.
    grid
        Where the candles that fill orders begin that count from the opens of sessions, where ``base`` is ``None``.
    """
    if by_day and sessions is not None:
        return _SessionDays(sessions)
    if base is not None:
        if base.grid is not None:
            closes = np.unique(base.grid.ends(base.opened, interval))

            def closed_on_grid(after: int, until: int) -> int:
                first, end = np.searchsorted(closes, (after, until), side="right")
                return int(end - first)

            return closed_on_grid
        slots = np.unique(base.opened // interval)

        def closed(after: int, until: int) -> int:
            first, end = np.searchsorted(slots, (after // interval, until // interval))
            return int(end - first)

        return closed
    if grid is not None:
        return lambda after, until: len(grid.closes_between(after, until, interval))
    return None if sessions is None else _InSessions(sessions, interval)


class _SessionDays:
    """Sessions that close between two moments; those of some years are listed at once."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._since, self._until = 0, -1
        self._closes: list[int] = []

    def __call__(self, after: int, until: int) -> int:
        since, end, closes = self._since, self._until, self._closes
        if after < since or until > end:
            since, end = after - DAY_MS, until + 366 * DAY_MS
            closes = [day.close for day in self._sessions.session_days(since, end)]
            self._since, self._until, self._closes = since, end, closes
        return bisect_right(closes, until) - bisect_right(closes, after)


class _Counted(NamedTuple):
    """Days counted in a row."""

    first: int  # the day that counting began with
    before: tuple[NDArray[np.int64], ...] = ()  # for each day since then how many there were before each slot of it


class _InSessions:
    """Candles with an open minute, counted a day at a time, as a question of ``manage`` may come every minute.

    Several threads may ask: what was counted is replaced as a whole, and each question is answered from one of them.
    """

    def __init__(self, sessions: Sessions, interval: int) -> None:
        self._sessions, self._interval = sessions, interval
        self._slots = max(DAY_MS // interval, 1)  # of a day, or of one candle where that is longer
        self._counted: _Counted | None = None

    def __call__(self, after: int, until: int) -> int:
        first_day, first_slot = divmod(after // self._interval, self._slots)
        last_day, last_slot = divmod(until // self._interval, self._slots)
        counted = self._counted
        if counted is None or first_day < counted.first:
            counted = _Counted(first_day)
        if len(counted.before) <= last_day - counted.first:
            counted = self._counted = self._through(last_day, counted)
        first, before = counted
        return int(before[last_day - first][last_slot] - before[first_day - first][first_slot])

    def _through(self, day: int, counted: _Counted) -> _Counted:
        """What was counted, and the days behind it up to one."""
        before = list(counted.before)
        for each in range(counted.first + len(before), day + 1):
            starts = np.arange(each * self._slots, (each + 1) * self._slots, dtype=np.int64) * self._interval
            known = int(before[-1][-1]) if before else 0
            is_open = self._sessions.open_minutes(starts, self._interval) > 0
            before.append(known + np.concatenate([[0], np.cumsum(is_open)]))
        return _Counted(counted.first, tuple(before))
