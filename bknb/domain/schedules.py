"""Schedules: moments by the clock of a market, such as half an hour after each open. All times are UTC milliseconds.

A schedule is a value: equal ones are interchangeable, and ``str`` writes it as text that
:func:`~bknb.domain.schedule_text.read_schedule` reads. Its moments depend on the calendar alone. Only moments at which
the market trades count: those in a session, its open and its close included.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import UsageError
from .calendar_protocol import ALWAYS_OPEN, LOOKED_THROUGH_MS, WEEKDAYS, SessionDay, TradingCalendar
from .interval import DAY_MS, MINUTE_MS
from .time_of_day import local_moment, time_of_day_text, zone_of

if TYPE_CHECKING:
    from .ranges import Range

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MARGIN: Final = 3 * DAY_MS  # a session, and the night of a zone, reach no further out of their date


class Schedule(msgspec.Struct, frozen=True):
    """Moments by the clock of a market.

    Examples
    --------
    >>> opens = SessionOpen(30)
    >>> str(opens), opens.moments(0, 2 * 86_400_000)
    ('session_open+30m', [1800000, 88200000])
    >>> opens.next_after(1_800_000)
    88200000
    """

    @property
    def by_day(self) -> bool:
        """Whether its moments are opens and closes of sessions, for which bars of a day are fine enough."""
        return False

    @property
    def clock_zone(self) -> str | None:
        """The time zone of its times of the day; ``None`` where it has none, or several."""
        return None

    def moments(self, since: int, until: int, calendar: TradingCalendar | None = None) -> list[int]:
        """Its moments in ``[since, until)``, UTC ms, ascending, each once.

        Parameters
        ----------
        since, until
            UTC ms.
        calendar
            The days of the market; ``None``: it never closes, and its days are those of UTC.
        """
        if since >= until:
            return []
        found = sorted(set(self._around(since, until, ALWAYS_OPEN if calendar is None else calendar)))
        return found[bisect_left(found, since) : bisect_left(found, until)]

    def next_after(self, moment: int, calendar: TradingCalendar | None = None) -> int | None:
        """The first of its moments later than ``moment`` (UTC ms); ``None`` where none is known in two years."""
        for reach in LOOKED_THROUGH_MS:
            found = self.moments(moment + 1, moment + 1 + reach, calendar)
            if found:
                return found[0]
        return None

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterable[int]:
        """At least its moments in ``[since, until)``, in any order."""
        raise NotImplementedError


class SessionOpen(Schedule, frozen=True):
    """So many minutes after each session's open; a session that is shorter has no such moment."""

    minutes: int = 0

    def __post_init__(self) -> None:
        _check_minutes("session_open", self.minutes, sign=1, example="session_open(minutes=30)")

    @property
    def by_day(self) -> bool:
        """Whether bars of a day are fine enough for it."""
        return self.minutes == 0

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        for day in calendar.session_days(since - _MARGIN, until + _MARGIN):
            moment = day.open + self.minutes * MINUTE_MS
            if moment <= day.close:
                yield moment

    def __str__(self) -> str:
        return f"session_open+{self.minutes}m" if self.minutes else "session_open"


class SessionClose(Schedule, frozen=True):
    """So many minutes (as a negative number) before each session's close; a shorter session has no such moment."""

    minutes: int = 0

    def __post_init__(self) -> None:
        _check_minutes("session_close", self.minutes, sign=-1, example="session_close(minutes=-5)")

    @property
    def by_day(self) -> bool:
        """Whether bars of a day are fine enough for it."""
        return self.minutes == 0

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        for day in calendar.session_days(since - _MARGIN, until + _MARGIN):
            moment = day.close + self.minutes * MINUTE_MS
            if moment >= day.open:
                yield moment

    def __str__(self) -> str:
        return f"session_close{self.minutes}m" if self.minutes else "session_close"


class Clock(Schedule, frozen=True):
    """A time of day in a zone, on each day of the week or on one of them, while the market trades.

    Where the clocks go forward over it, it is the time so much later as they go forward; where it comes twice, it is
    the first of the two (as RFC 5545, section 3.3.5, has it).

    Attributes
    ----------
    minute : int
        Minutes after midnight.
    zone : str
        An IANA time zone.
    weekday : int or None
        Monday is 0; by the calendar of the zone.
    """

    minute: int
    zone: str
    weekday: int | None = None

    def __post_init__(self) -> None:
        zone_of(self.zone)

    @property
    def clock_zone(self) -> str | None:
        """The time zone of its time of the day."""
        return self.zone

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        zone = zone_of(self.zone)
        days = calendar.session_days(since - _MARGIN, until + _MARGIN)
        spans = [span for day in days for span in day.spans]
        starts = [start for start, _ in spans]
        if not spans:
            return
        day, last = _date_of(max(since, starts[0]) - DAY_MS), _date_of(min(until, spans[-1][1]) + DAY_MS)
        if self.weekday is not None:
            day += timedelta(days=(self.weekday - day.weekday()) % 7)
        step = timedelta(days=1 if self.weekday is None else 7)
        while day <= last:
            moment = local_moment(day, self.minute, zone)
            if _is_traded(moment, spans, starts):
                yield moment
            day += step

    def __str__(self) -> str:
        day = "" if self.weekday is None else f"{WEEKDAYS[self.weekday]} "
        return f"{day}{time_of_day_text(self.minute)} {self.zone}"


class WeekdayOpen(Schedule, frozen=True):
    """The open of the session that bears the date of a day of the week; Monday is 0."""

    weekday: int

    @property
    def by_day(self) -> bool:
        """``True``: bars of a day are fine enough for it."""
        return True

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        for day in calendar.session_days(since - _MARGIN, until + _MARGIN):
            if day.day.weekday() == self.weekday:
                yield day.open

    def __str__(self) -> str:
        return WEEKDAYS[self.weekday]


class MonthDay(Schedule, frozen=True):
    """The open of each month's first session on or after a day of the month; a month may have none."""

    day: int = 1

    @property
    def by_day(self) -> bool:
        """``True``: bars of a day are fine enough for it."""
        return True

    def __post_init__(self) -> None:
        if type(self.day) is not int or not 1 <= self.day <= 31:
            raise UsageError(f"month(day=) takes a day of the month, 1 to 31, got {self.day!r:.40}")

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        for days in _months(since, until, calendar):
            found = next((day for day in days if day.day.day >= self.day), None)
            if found is not None:
                yield found.open

    def __str__(self) -> str:
        return "month" if self.day == 1 else f"month {self.day}"


class MonthEnd(Schedule, frozen=True):
    """The open of each month's last session."""

    @property
    def by_day(self) -> bool:
        """``True``: bars of a day are fine enough for it."""
        return True

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        for days in _months(since, until, calendar):
            yield days[-1].open

    def __str__(self) -> str:
        return "month_end"


class NthOf(Schedule, frozen=True):
    """A schedule of which the moment after another is the ``count``-th: ``until`` the fourth Monday from now.

    Its moments are all those of ``of``.
    """

    of: Schedule
    count: int

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= 1_000:
            raise UsageError(f"after= counts moments, a whole number from 1 to 1000, got {self.count!r:.40}")

    @property
    def by_day(self) -> bool:
        """Whether bars of a day are fine enough for it."""
        return self.of.by_day

    @property
    def clock_zone(self) -> str | None:
        """The time zone of its times of the day, if they have one."""
        return self.of.clock_zone

    def next_after(self, moment: int, calendar: TradingCalendar | None = None) -> int | None:
        """The ``count``-th of its moments later than ``moment`` (UTC ms); ``None`` where they end before."""
        found: int | None = moment
        for _ in range(self.count):
            if found is None:
                return None
            found = self.of.next_after(found, calendar)
        return found

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterable[int]:
        return self.of.moments(since, until, calendar)

    def __str__(self) -> str:
        return f"{self.of} after {self.count}"


class SeriesRows(Schedule, frozen=True):
    """The moments at which rows of a point-in-time series become known.

    Only a run knows them: it puts :class:`Listed` moments in its place.
    """

    name: str

    def __post_init__(self) -> None:
        if type(self.name) is not str or not self.name:
            raise UsageError(f"at.series takes the name of a series, got {self.name!r:.60}")

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterable[int]:  # noqa: ARG002
        raise UsageError(f"the moments of series({self.name!r}) are known in a run alone, which reads the series")

    def __str__(self) -> str:
        return f"series {self.name}"


class Listed(Schedule, frozen=True):
    """Moments one by one, UTC ms, ascending: those of a run, for which its bars are fine enough."""

    times: tuple[int, ...]

    @property
    def by_day(self) -> bool:
        """``True``: whoever listed them has looked at the bars."""
        return True

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        days = calendar.session_days(since - _MARGIN, until + _MARGIN)
        spans = [span for day in days for span in day.spans]
        starts = [start for start, _ in spans]
        inside = self.times[bisect_left(self.times, since) : bisect_left(self.times, until)]
        return (moment for moment in inside if _is_traded(moment, spans, starts))

    def __str__(self) -> str:
        return f"{len(self.times):,} moments"


class AnyOf(Schedule, frozen=True):
    """The moments of several schedules; one that two of them have counts once."""

    of: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        if not self.of:
            raise UsageError("at.any takes schedules, such as any('session_open+30m', 'session_close-5m'), got none")

    @property
    def by_day(self) -> bool:
        """Whether bars of a day are fine enough for it."""
        return all(each.by_day for each in self.of)

    @property
    def clock_zone(self) -> str | None:
        """The time zone of its times of the day, where all of them have the same."""
        zones = {each.clock_zone for each in self.of} - {None}
        return zones.pop() if len(zones) == 1 else None

    def next_after(self, moment: int, calendar: TradingCalendar | None = None) -> int | None:
        """The first of its moments later than ``moment`` (UTC ms); ``None`` where none of them has one."""
        found = [each.next_after(moment, calendar) for each in self.of]
        return min((each for each in found if each is not None), default=None)

    def _around(self, since: int, until: int, calendar: TradingCalendar) -> Iterator[int]:
        for each in self.of:
            yield from each.moments(since, until, calendar)

    def __str__(self) -> str:
        return ", ".join(map(str, self.of))


def reads_series(schedule: Schedule) -> bool:
    """Whether moments of a schedule are those of rows of a series.

    Examples
    --------
    >>> reads_series(AnyOf((SeriesRows("news"), MonthEnd()))), reads_series(MonthEnd())
    (True, False)
    """
    if isinstance(schedule, NthOf):
        return reads_series(schedule.of)
    return isinstance(schedule, SeriesRows) or (isinstance(schedule, AnyOf) and any(map(reads_series, schedule.of)))


def _months(since: int, until: int, calendar: TradingCalendar) -> Iterator[list[SessionDay]]:
    """The sessions of each month, by the date they bear, that has one in ``[since, until)``."""
    first, last = _date_of(since - _MARGIN).replace(day=1), _date_of(until + _MARGIN)
    end = (last.replace(day=28) + timedelta(days=4)).replace(day=1)
    days = calendar.session_days(_utc_ms(first) - _MARGIN, _utc_ms(end) + _MARGIN)
    whole = [day for day in days if first <= day.day < end]
    for _, month in groupby(whole, key=lambda each: (each.day.year, each.day.month)):
        yield list(month)


def _is_traded(moment: int, spans: Sequence[Range], starts: Sequence[int]) -> bool:
    """Whether a moment lies in one of the open spans, whose close counts."""
    at = bisect_right(starts, moment) - 1
    return at >= 0 and moment <= spans[at][1]


def _check_minutes(name: str, minutes: object, *, sign: int, example: str) -> None:
    limit = 24 * 60
    if type(minutes) is not int or not 0 <= minutes * sign <= limit:
        allowed = f"0 to {limit}" if sign > 0 else f"-{limit} to 0"
        raise UsageError(
            f"{name}(minutes=) takes a whole number from {allowed}, got {minutes!r:.40}\n"
            f"a strategy is asked while the market is open: {example}"
        )


def _date_of(moment: int) -> date:
    return date.fromordinal(moment // DAY_MS + _EPOCH)


def _utc_ms(day: date) -> int:
    return (day.toordinal() - _EPOCH) * DAY_MS
