"""The days of a market with sessions. All times are UTC milliseconds.

The calendar of an exchange says which session bears which date. For hours of the week a day begins at one time of the
local clock all year round: where the longest stretch of time ends in which the market is closed on every day; and where
there is none, as in forex, at the open after the longest stretch of the week. A day bears the date on which a regular
one has most of its open minutes: that of forex from Sunday, 17:00 in New York, is the Monday.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from ..domain.calendar_protocol import SessionDay
from ..domain.interval import DAY_MS
from ..domain.ranges import Ranges, merged, within
from ..domain.time_of_day import local_moment
from . import holidays_by_calendar_name

if TYPE_CHECKING:
    from .sessions import Sessions

_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_EPOCH: Final = date(1970, 1, 1).toordinal()
_A_DAY: Final = timedelta(days=1)


def session_days(sessions: Sessions, since: int, until: int) -> list[SessionDay]:
    """The days of a market that have a part in ``[since, until)`` (UTC ms), oldest first, each of them whole.

    Those outside what the calendar of an exchange covers are left out.

    Examples
    --------
    >>> from bknb.market.sessions import as_sessions
    >>> week = session_days(as_sessions("fx"), 1_704_571_200_000, 1_705_176_000_000)  # a Saturday to the next
    >>> [f"{day.day:%a} {day.minutes // 60} h" for day in week]
    ['Mon 24 h', 'Tue 24 h', 'Wed 24 h', 'Thu 24 h', 'Fri 24 h']
    """
    if since >= until:
        return []
    years = range(_date_of(since - 3 * DAY_MS).year, _date_of(until + 3 * DAY_MS).year + 1)
    return [day for year in years for day in _between(_of_year(sessions, year), since, until)]


def _between(days: tuple[SessionDay, ...], since: int, until: int) -> tuple[SessionDay, ...]:
    """Those of some days, oldest first, that have a part in ``[since, until)`` (UTC ms)."""
    first = bisect_right(days, since, key=lambda day: day.close)
    return days[first : bisect_left(days, until, key=lambda day: day.open)]


class WholeDays:
    """The calendar of a market as bars of a day show it: each of its days is the UTC day of its date.

    Examples
    --------
    >>> from bknb.market.sessions import as_sessions
    >>> monday, *_ = WholeDays(as_sessions("fx")).session_days(1_704_571_200_000, 1_705_176_000_000)
    >>> monday.day.isoformat(), monday.spans
    ('2024-01-08', ((1704672000000, 1704758400000),))
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def session_days(self, since: int, until: int) -> list[SessionDay]:
        """The days that have a part in ``[since, until)`` (UTC ms), oldest first."""
        days = session_days(self._sessions, since - 2 * DAY_MS, until + 2 * DAY_MS)
        begins = ((day.day, (day.day.toordinal() - _EPOCH) * DAY_MS) for day in days)
        return [
            SessionDay(day, ((begin, begin + DAY_MS),))
            for day, begin in begins
            if begin + DAY_MS > since and begin < until
        ]


@lru_cache(maxsize=256)
def _of_year(sessions: Sessions, year: int) -> tuple[SessionDay, ...]:
    """The days that bear a date in a year."""
    if sessions.calendar:
        return holidays_by_calendar_name.session_days(sessions.calendar, year)
    zone = ZoneInfo(sessions.zone)
    begin, is_next = _regular_day(sessions)
    first, last = date(year, 1, 1), date(year, 12, 31)
    spans = sessions.known_ranges(local_moment(first - 2 * _A_DAY, 0, zone), local_moment(last + 2 * _A_DAY, 0, zone))
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    found, day = [], first
    while day <= last:
        opens = day - _A_DAY if is_next else day
        since, until = local_moment(opens, begin, zone), local_moment(opens + _A_DAY, begin, zone)
        mine = within(spans[bisect_right(ends, since) : bisect_left(starts, until)], since, until)
        if mine:
            found.append(SessionDay(day, mine))
        day += _A_DAY
    return tuple(found)


@lru_cache(maxsize=64)
def _regular_day(sessions: Sessions) -> tuple[int, bool]:
    """The minute after local midnight at which each day begins, and whether it bears the date of the next."""
    week = merged(
        (day * _DAY + start, day * _DAY + end) for day, spans in enumerate(sessions.hours) for start, end in spans
    )
    daily = merged(span for spans in sessions.hours for span in spans)
    begin = _longest_closed(daily, _DAY)
    if begin is None:
        begin = _longest_closed(week, _WEEK)
    if begin is None:
        return 0, False
    begin %= _DAY
    after = sum(end - start for spans in sessions.hours for start, end in within(spans, begin, _DAY))
    before = sum(end - start for spans in sessions.hours for start, end in within(spans, 0, begin))
    return begin, before > after


def _longest_closed(spans: Ranges, length: int) -> int | None:
    """The minute at which the longest closed stretch of a day or week, which come around, ends."""
    stretches = [
        (start - end, start)
        for (_, end), (start, _) in zip(spans, [*spans[1:], (spans[0][0] + length, 0)], strict=True)
        if start > end
    ]
    return max(stretches, key=lambda each: (each[0], -each[1]))[1] % length if stretches else None


def _date_of(when: int) -> date:
    return datetime.fromtimestamp(when / 1000, UTC).date()
