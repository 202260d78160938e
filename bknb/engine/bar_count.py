"""How many candles of a strategy's interval have closed since a moment, on a market that is not always open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.series import Series
    from ..market.sessions import Sessions


def bar_counter(interval: int, base: Series | None, sessions: Sessions | None) -> Callable[[int, int], int] | None:
    """What ``Rules.bars_between`` is: ``None`` where every candle is there by the clock.

    Parameters
    ----------
    interval
        The strategy's, ms.
    base
        The candles that fill orders, all of them; those of a minute do not matter.
    sessions
        When the market is open; ``None``: always, or as the candles say.
    """
    if base is not None and base.step > MINUTE_MS:
        slots = np.unique(base.candles.timestamp // interval)

        def closed(after: int, until: int) -> int:
            first, end = np.searchsorted(slots, (after // interval, until // interval))
            return int(end - first)

        return closed
    return None if sessions is None else _InSessions(sessions, interval)


class _InSessions:
    """Candles with an open minute, counted a day at a time, as a question of ``manage`` may come every minute."""

    def __init__(self, sessions: Sessions, interval: int) -> None:
        self._sessions, self._interval = sessions, interval
        self._slots = max(DAY_MS // interval, 1)  # of a day, or of one candle where that is longer
        self._first: int | None = None  # the day that counting began with
        self._days: list[NDArray[np.int64]] = []  # for each since then how many there were before each slot of it

    def __call__(self, after: int, until: int) -> int:
        first, end = after // self._interval, until // self._interval
        if self._first is None or first // self._slots < self._first:
            self._first, self._days = first // self._slots, []
        return self._before(end) - self._before(first)

    def _before(self, slot: int) -> int:
        """How many candles there were before one, since counting began."""
        assert self._first is not None  # it was set before  # noqa: S101
        day, within = divmod(slot, self._slots)
        while len(self._days) <= day - self._first:
            begin = (self._first + len(self._days)) * self._slots
            starts = np.arange(begin, begin + self._slots, dtype=np.int64) * self._interval
            known = int(self._days[-1][-1]) if self._days else 0
            is_open = self._sessions.open_minutes(starts, self._interval) > 0
            self._days.append(known + np.concatenate([[0], np.cumsum(is_open)]))
        return int(self._days[day - self._first][within])
