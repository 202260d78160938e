"""Moments by the clock of a market, for ``at=``: after each open, at a time of day, on a day of the week, each month.

Each function gives a schedule, a value with ``moments(since, until, calendar)`` and ``next_after(moment, calendar)`` in
UTC milliseconds; ``calendar`` is a ``bknb.Sessions``, or ``None`` for a market that never closes, whose days are those
of UTC. Only moments at which the market trades count, those of a session's open and close included. ``str`` writes a
schedule as the text that ``at=`` takes in its place.

Examples
--------
>>> import bknb
>>> str(bknb.at.any("session_open+30m", bknb.at.month()))
'session_open+30m, month'
"""

from __future__ import annotations

from .domain.schedule_text import as_schedule, minute_of_day, weekly
from .domain.schedules import AnyOf, Clock, MonthDay, MonthEnd, Schedule, SeriesRows
from .domain.schedules import SessionClose as _SessionClose
from .domain.schedules import SessionOpen as _SessionOpen

__all__ = ["Schedule", "any", "clock", "month", "month_end", "series", "session_close", "session_open", "week"]


def session_open(minutes: int = 0) -> Schedule:
    """The open of each session, or so many minutes after it.

    A session that is shorter than that has no such moment.

    Examples
    --------
    >>> import bknb
    >>> london = bknb.Sessions.weekly("Europe/London", {"mon-fri": "08:00-16:30"})
    >>> bknb.at.session_open(minutes=30).moments(1_704_153_600_000, 1_704_240_000_000, london)  # 2 January 2024, 08:30
    [1704184200000]
    """
    return _SessionOpen(minutes)


def session_close(minutes: int = 0) -> Schedule:
    """The close of each session, or with a negative number so many minutes before it.

    A session that is shorter than that has no such moment.

    Examples
    --------
    >>> import bknb
    >>> str(bknb.at.session_close(minutes=-5))
    'session_close-5m'
    """
    return _SessionClose(minutes)


def clock(time: str, zone: str) -> Schedule:
    """A time of day in a time zone, on each day on which the market trades then.

    Where the clocks go forward over it, it is later by as much as they go forward (02:30 becomes 03:30); where it comes
    twice, it is the first of the two.

    Parameters
    ----------
    time
        From ``"00:00"`` to ``"23:59"``.
    zone
        An IANA time zone, such as ``"Europe/London"``.

    Examples
    --------
    >>> import bknb
    >>> bknb.at.clock("07:00", "Europe/London").moments(1_704_067_200_000, 1_704_153_600_000)  # 1 January 2024
    [1704092400000]
    """
    return Clock(minute_of_day(time), zone)


def week(day: str, time: str | None = None, zone: str | None = None, *, after: int = 1) -> Schedule:
    """A day of each week: the open of its session, or a time of day in a time zone.

    A week in which the market does not trade then has no such moment.

    Parameters
    ----------
    day
        ``"mon"`` to ``"sun"``.
    time, zone
        As in :func:`clock`; both or none.
    after
        ``next_after`` gives so many moments later: ``until=bknb.at.week("mon", after=4)`` is the fourth Monday.

    Examples
    --------
    >>> import bknb
    >>> str(bknb.at.week("mon", "09:30", "America/New_York"))
    'mon 09:30 America/New_York'
    >>> bknb.at.week("mon", after=4).next_after(0) // 86_400_000  # day 0 was a Thursday
    25
    """
    return weekly(day, time, zone, after)


def month(day: int = 1) -> Schedule:
    """The open of each month's first session, or of its first on or after a day of the month.

    A month without a session from that day on has no such moment.

    Examples
    --------
    >>> import bknb
    >>> exchange = bknb.Sessions.weekly("America/New_York", {"mon-fri": "09:30-16:00"}, closed=["2024-01-01"])
    >>> bknb.at.month().moments(1_704_067_200_000, 1_706_745_600_000, exchange)  # 2 January 2024, 14:30 UTC
    [1704205800000]
    """
    return MonthDay(day)


def month_end() -> Schedule:
    """The open of each month's last session.

    Examples
    --------
    >>> import bknb
    >>> [moment // 86_400_000 for moment in bknb.at.month_end().moments(0, 60 * 86_400_000)]
    [30, 58]
    """
    return MonthEnd()


def series(name: str) -> Schedule:
    """The moments at which rows of a point-in-time series become known; see ``bknb.add_series``.

    They are known in a run alone, which reads the series.

    Examples
    --------
    >>> import bknb
    >>> str(bknb.at.series("news"))
    'series news'
    """
    return SeriesRows(name)


def any(*schedules: Schedule | str) -> Schedule:  # noqa: A001 -- read as bknb.at.any
    """The moments of several schedules, each given as one or as its text; a moment that two have counts once.

    Examples
    --------
    >>> import bknb
    >>> [moment // 3_600_000 for moment in bknb.at.any("session_open", "07:00 UTC").moments(0, 86_400_000)]
    [0, 7]
    """
    return AnyOf(tuple(as_schedule(each) for each in schedules))
