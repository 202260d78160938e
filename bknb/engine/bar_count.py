"""How many candles of a strategy's interval have closed since a moment, on a market that is not always open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..domain.interval import MINUTE_MS

if TYPE_CHECKING:
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
    """Candles with an open minute. What was counted for one position is not counted again at its next question."""

    def __init__(self, sessions: Sessions, interval: int) -> None:
        self._sessions, self._interval = sessions, interval
        self._counted = (0, 0, 0)  # from which candle on, up to which, and how many of them

    def __call__(self, after: int, until: int) -> int:
        first, end = after // self._interval, until // self._interval
        begun, reached, count = self._counted
        if begun != first or reached > end:
            reached, count = first, 0
        starts = np.arange(reached, end, dtype=np.int64) * self._interval
        count += int(np.count_nonzero(self._sessions.open_minutes(starts, self._interval)))
        self._counted = (first, end, count)
        return count
