"""When a market is open: hours of the week in its own time zone, without its closed days.

With sessions declared, a missing candle outside of them is no gap, and a candle outside of them is no candle. Hours
follow the wall clock of the market, so they move with daylight saving time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.ranges import Ranges, merged, within
from ..domain.time_of_day import local_moment, time_of_day_text, zone_of
from ..errors import DataError, UnknownName, UsageError
from . import holidays_by_calendar_name
from .us_holidays import us_closed_days, us_short_days

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..domain.calendar_protocol import SessionDay

Hours = tuple[tuple[int, int], ...]  # minutes after midnight, [open, close)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The trading hours of a market.

    Attributes
    ----------
    zone : str
        The market's time zone, such as ``"America/New_York"``.
    hours : tuple
        For each day of the week, Monday first, the open spans in minutes after local midnight.
    closed : frozenset of date
        Local days on which it stays closed.
    short : tuple of (date, int)
        Local days that end early, and the minute after midnight at which they do.
    holidays : {"", "us"}
        A calendar of closed and short days that is worked out by rule; complete from 1990 on.
    calendar : str
        The calendar of an exchange, such as ``"XLON"``, from the package ``exchange_calendars``: it gives the hours
        of each day as they were or will be; ``hours`` are then those of a regular week now. Empty: none.

    Examples
    --------
    >>> tokyo = Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-11:30, 12:30-15:00"}, closed=["2024-01-01"])
    >>> tokyo.is_open(1_704_416_400_000), tokyo.is_open(1_704_423_600_000)  # at 10:00 and at 12:00 local time
    (True, False)
    """

    zone: str
    hours: tuple[Hours, ...]
    closed: frozenset[date] = frozenset()
    short: tuple[tuple[date, int], ...] = ()
    holidays: str = ""
    calendar: str = ""

    @classmethod
    def of_exchange(cls, name: str) -> Sessions:
        """The sessions of an exchange, with its holidays, short days, breaks and past changes of its hours.

        Parameters
        ----------
        name
            A calendar of the package ``exchange_calendars``: a market identifier code such as ``"XNYS"``,
            ``"XLON"``, ``"XETR"``, or a name it has besides, such as ``"NYSE"``.

        Raises
        ------
        MissingDependency
            The package is not installed.
        UnknownName
            It has no such calendar.

        Examples
        --------
        >>> london = Sessions.of_exchange("XLON")
        >>> london.is_open(1_735_043_340_000), london.is_open(1_735_043_400_000)  # Christmas Eve 2024, 12:29 and 12:30
        (True, False)
        """
        given: object = name
        if not isinstance(given, str):
            raise UsageError(f"the name of an exchange must be a text such as 'XNYS', got {given!r:.80}")
        if name in NAMED:
            hint = f"these are sessions of a kind: bknb.exchanges.in_sessions(source, {name!r})"
            raise UnknownName("exchange calendar", name, known=(), listing=hint)
        regular = holidays_by_calendar_name.week(name)
        return cls(zone=regular.zone, hours=regular.hours, calendar=name)

    @classmethod
    def weekly(
        cls,
        zone: str,
        hours: Mapping[str, str],
        *,
        closed: Iterable[str | date] = (),
        short: Mapping[str, str] | None = None,
    ) -> Sessions:
        """Sessions from weekly hours as text.

        Parameters
        ----------
        zone
            An IANA time zone.
        hours
            From days to spans: ``{"mon-fri": "09:30-16:00"}``; several spans with commas between them, midnight at
            the end of a day is ``24:00``.
        closed
            Local days on which the market stays closed.
        short
            From a local day to the time at which it ends early.

        Raises
        ------
        UsageError
            A part cannot be understood.
        """
        from .hours_text import day_of, minute_of, spans_of, weekdays

        zone_of(zone)
        table: list[list[tuple[int, int]]] = [[] for _ in range(7)]
        for days, text in hours.items():
            for day in weekdays(days):
                table[day].extend(spans_of(text))
        if not any(table):
            raise UsageError("sessions need hours, such as {'mon-fri': '09:30-16:00'}")
        return cls(
            zone=zone,
            hours=tuple(tuple(sorted(spans)) for spans in table),
            closed=frozenset(day_of(day) for day in closed),
            short=tuple((day_of(day), minute_of(text)) for day, text in sorted((short or {}).items())),
        )

    # --- questions ----------------------------------------------------------------------------------------------

    def is_open(self, when: int) -> bool:
        """Whether the market is open at a moment (UTC ms)."""
        return bool(self.mask(np.array([when]))[0])

    def open_ranges(self, since: int, until: int) -> Ranges:
        """The open spans in ``[since, until)``, UTC ms.

        Raises
        ------
        DataError
            A part of it is outside what the calendar of an exchange covers.
        """
        self._check_covered(since, until)
        return self.known_ranges(since, until)

    def session_days(self, since: int, until: int) -> list[SessionDay]:
        """The days of the market that have a part in ``[since, until)`` (UTC ms), oldest first, each of them whole.

        Examples
        --------
        >>> week = as_sessions("fx").session_days(1_704_571_200_000, 1_705_176_000_000)  # a Saturday to the next
        >>> [f"{day.day:%a} {day.minutes // 60} h" for day in week]
        ['Mon 24 h', 'Tue 24 h', 'Wed 24 h', 'Thu 24 h', 'Fri 24 h']
        """
        from .session_days import session_days

        return session_days(self, since, until)

    def next_open(self, when: int, until: int) -> int:
        """The first open moment in ``[when, until)``, UTC ms; ``until`` when there is none.

        Where the calendar of an exchange does not reach that far it is ``when``: nobody knows.

        Examples
        --------
        >>> week = Sessions.weekly("UTC", {"mon-fri": "09:00-17:00"})
        >>> (week.next_open(1_704_499_200_000, 1_705_000_000_000) - 1_704_499_200_000) / 3_600_000  # from a Saturday
        57.0
        """
        try:
            for end in (min(until, when + 8 * DAY_MS), until):
                spans = self.open_ranges(when, end)
                if spans:
                    return spans[0][0]
        except DataError:
            return when
        return until

    def _check_covered(self, since: int, until: int) -> None:
        if not self.calendar:
            return
        first, end = holidays_by_calendar_name.covered(self.calendar)
        if (first is not None and since < first) or (end is not None and until > end):
            known = f"{'' if first is None else utc_text(first)} .. {'' if end is None else utc_text(end)}"
            raise DataError(
                f"the calendar {self.calendar!r} covers {known}, not {utc_text(since)} .. {utc_text(until)}\n"
                "a newer release of exchange_calendars may: pip install --upgrade exchange_calendars"
            )

    def known_ranges(self, since: int, until: int) -> Ranges:
        """The open spans in ``[since, until)``, UTC ms; none where the calendar of an exchange does not reach."""
        first, last = _local_day(since, self.zone), _local_day(max(since, until - 1), self.zone)
        years = range((first - timedelta(days=1)).year, (last + timedelta(days=1)).year + 1)
        return within((span for year in years for span in _around(_year(self, year), since, until)), since, until)

    def mask(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each moment (UTC ms) whether the market is open then."""
        return self.open_minutes(times - times % MINUTE_MS, MINUTE_MS) > 0

    def open_minutes(self, starts: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """For each span ``[start, start + step)`` how many minutes of it are open."""
        if not len(starts):
            return np.zeros(0, dtype=np.int64)
        since, until = int(starts.min()), int(starts.max()) + step
        self._check_covered(since, until)
        ranges = self.known_ranges(since - DAY_MS, until + DAY_MS)
        edges = np.array(ranges, dtype=np.int64).reshape(-1, 2)
        before = np.concatenate([[0], np.cumsum(edges[:, 1] - edges[:, 0])])

        def open_until(moments: NDArray[np.int64]) -> NDArray[np.int64]:
            at = np.searchsorted(edges[:, 0], moments, side="right")
            inside = np.where(at > 0, np.minimum(moments, edges[at - 1, 1]) - edges[at - 1, 0], 0)
            return before[np.maximum(at - 1, 0)] * (at > 0) + inside

        if not len(edges):
            return np.zeros(len(starts), dtype=np.int64)
        minutes: NDArray[np.int64] = (open_until(starts + step) - open_until(starts)) // MINUTE_MS
        return minutes

    def open_part(self, missing: Iterable[tuple[int, int]], step: int) -> Ranges:
        """Of missing candles those in which the market is open for at least a minute."""
        slots = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(*span, step) for span in missing)])
        opens = slots[self.open_minutes(slots, step) > 0]
        return merged(zip(opens.tolist(), (opens + step).tolist(), strict=True))

    def may_ask(self, when: int, warm_minutes: int) -> bool:
        """Whether the market is open at a moment (UTC ms), and was for so many minutes before it."""
        span = warm_minutes * MINUTE_MS
        return self.is_open(when) and int(self.open_minutes(np.array([when - span]), span)[0]) == warm_minutes

    def reach_back(self, when: int, step: int, count: int) -> int:
        """The start of the ``count``-th newest candle (UTC ms) that closed at ``when`` or before."""
        last = when - when % step
        days = max(4, 2 * count * step // DAY_MS + 4)
        while True:
            slots = np.arange(last - days * DAY_MS // step * step, last, step, dtype=np.int64)
            wanted = slots[self.open_minutes(slots, step) > 0]
            if len(wanted) >= count:
                return int(wanted[-count])
            if days > 4000 + 40 * count * step // DAY_MS:
                return int(slots[0])
            days *= 4

    def __str__(self) -> str:
        from ..domain.calendar_protocol import WEEKDAYS

        spans = []
        for day, hours in zip(WEEKDAYS, self.hours, strict=True):
            if hours:
                spans.append(f"{day} " + ", ".join("-".join(map(time_of_day_text, each)) for each in hours))
        return f"{'; '.join(spans)} ({self.zone}{self.calendar and f', {self.calendar}'})"


@lru_cache(maxsize=256)
def _year(sessions: Sessions, year: int) -> Ranges:
    """The open spans of the local days of a year."""
    if sessions.calendar:
        return holidays_by_calendar_name.open_spans(sessions.calendar, year)
    zone = ZoneInfo(sessions.zone)
    closed, short = set(sessions.closed), dict(sessions.short)
    if sessions.holidays == "us":
        closed |= us_closed_days(year)
        short = {**us_short_days(year), **short}
    found = []
    for day in _days_of(year):
        if day in closed:
            continue
        until = short.get(day, 24 * 60)
        for first, end in sessions.hours[day.weekday()]:
            if first < min(end, until):
                found.append((local_moment(day, first, zone), local_moment(day, min(end, until), zone)))
    return merged(found)


def _around(spans: Ranges, since: int, until: int) -> Ranges:
    """Those of some spans, in order, that have a part in ``[since, until)``, UTC ms."""
    first = bisect_right(spans, since, key=itemgetter(1))
    return spans[first : bisect_left(spans, until, key=itemgetter(0))]


def _days_of(year: int) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        yield day
        day += timedelta(days=1)


def _local_day(when: int, zone: str) -> date:
    return datetime.fromtimestamp(when / 1000, UTC).astimezone(ZoneInfo(zone)).date()


def _fx() -> Sessions:
    return Sessions.weekly("America/New_York", {"sun": "17:00-24:00", "mon-thu": "00:00-24:00", "fri": "00:00-17:00"})


def _us_equities() -> Sessions:
    weekly = Sessions.weekly("America/New_York", {"mon-fri": "09:30-16:00"})
    return Sessions(zone=weekly.zone, hours=weekly.hours, holidays="us")


NAMED: Final = {"fx": _fx, "us-equities": _us_equities}


def as_sessions(given: Sessions | str | None) -> Sessions | None:
    """Sessions by name or as they are; ``None``: always open.

    Parameters
    ----------
    given
        ``"fx"``, ``"us-equities"``, the name of an exchange's calendar such as ``"XLON"``, or sessions.

    Raises
    ------
    UnknownName
        For a name that is not known.
    MissingDependency
        For an exchange's calendar, when ``exchange_calendars`` is not installed.

    Examples
    --------
    >>> print(as_sessions("fx"))
    mon 00:00-24:00; tue 00:00-24:00; wed 00:00-24:00; thu 00:00-24:00; fri 00:00-17:00; sun 17:00-24:00 \
(America/New_York)
    """
    if given is None or isinstance(given, Sessions):
        return given
    name = str(given)
    if name in NAMED:
        return NAMED[name]()
    if holidays_by_calendar_name.may_be_calendar(name):
        return Sessions.of_exchange(name)
    raise UnknownName(
        "kind of sessions",
        name,
        known=[*NAMED, *holidays_by_calendar_name.names()],
        listing=f"known: {', '.join(NAMED)}, and calendars of exchanges such as XLON (pip install 'bknb[calendars]')",
    )
