"""The trading session of a market at a moment: its day, when it opened and closes, and how far it has come."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..domain.calendar_protocol import ALWAYS_OPEN, LOOKED_THROUGH_MS, SessionDay
from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.ranges import Ranges, within
from ..errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid


class TradingSession(msgspec.Struct, frozen=True):
    """A trading session, as a strategy sees it at a moment.

    Opening hours are known in advance, so that its ``close`` is no look into the future.

    Attributes
    ----------
    day : date
        The date it bears: in forex, whose Monday begins on Sunday at 17:00 in New York, the Monday.
    open, close : datetime
        When it opens and when it closes, aware, in UTC; of a session with a break its first and its last moment.
    minutes : int
        Minutes since it opened, without those of a break.
    bars : int
        Candles of the strategy's interval that have closed since, those that have an open minute of it. By the day it
        is 1 from the close on.

    Examples
    --------
    >>> from bknb.market.sessions import as_sessions
    >>> session = session_at(as_sessions("us-equities"), 1_704_207_600_000, 900_000)  # 2 January 2024, 15:00 UTC
    >>> session.day.isoformat(), session.open.isoformat(), session.minutes, session.bars
    ('2024-01-02', '2024-01-02T14:30:00+00:00', 30, 2)
    """

    day: date
    open: datetime
    close: datetime
    minutes: int
    bars: int


def session_at(sessions: Sessions | None, when: int, interval: int, *, grid: BarGrid | None = None) -> TradingSession:
    """The session at a moment (UTC ms), or the newest before it where the market is closed.

    Parameters
    ----------
    sessions
        When the market is open; ``None``: always, in sessions of a UTC day.
    when
        UTC ms. The close of a session belongs to it where the next one opens later.
    interval
        The length of the candles that are counted, ms.
    grid
        Where they begin, where that is not at multiples of their length.

    Raises
    ------
    DataError
        No session is known in the two years before.

    Examples
    --------
    >>> session_at(None, 1_704_207_600_000, 3_600_000).minutes // 60
    15
    """
    day = _newest(sessions, when)
    return TradingSession(
        day=day.day,
        open=_utc(day.open),
        close=_utc(day.close),
        minutes=sum(end - first for first, end in within(day.spans, day.open, when)) // MINUTE_MS,
        bars=_closed(day.spans, when, interval, grid)
        if sessions is None or interval != DAY_MS
        else int(when >= day.close),
    )


def _newest(sessions: Sessions | None, when: int) -> SessionDay:
    today = when - when % DAY_MS
    for back in LOOKED_THROUGH_MS:
        days = _days(sessions, today - back, today + DAY_MS)
        at = bisect_right(days, when, key=lambda day: day.open)
        if at:
            return days[at - 1]
    raise DataError(f"no session of the market is known in the two years before {utc_text(when)}")


@lru_cache(maxsize=256)  # asked for at each moment of a day
def _days(sessions: Sessions | None, since: int, until: int) -> Sequence[SessionDay]:
    return (ALWAYS_OPEN if sessions is None else sessions).session_days(since, until)


def _closed(spans: Ranges, when: int, interval: int, grid: BarGrid | None) -> int:
    """How many candles with a moment in some open spans have closed at ``when`` (UTC ms)."""
    if grid is not None:
        moments = np.concatenate([np.arange(first, end, MINUTE_MS, dtype=np.int64) for first, end in spans])
        return int(np.count_nonzero(np.unique(grid.ends(moments, interval)) <= when))
    count, behind = 0, 0  # slots before `behind` were counted
    for first, end in spans:
        last = min(-(-end // interval), when // interval)
        begin = max(first // interval, behind)
        count += max(last - begin, 0)
        behind = max(behind, last)
    return count


def _utc(when: int) -> datetime:
    return datetime.fromtimestamp(when / 1000, UTC)
