"""Trading sessions of exchanges, day by day, from the package ``exchange_calendars``: holidays, short days, breaks.

Spans are UTC milliseconds, ``[open, close)``. The package gives the opening hours of each day as they were or will be,
changes of the hours and of the clocks included. It is an optional one; nothing here is needed without it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.interval import DAY_MS
from ..domain.ranges import Range, Ranges, merged, within
from ..errors import DataError, MissingDependency, UnknownName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..domain.calendar_protocol import SessionDay

_NAME: Final = re.compile(r"[A-Z]{3,6}|24/[57]|us_futures")  # what the package calls its calendars
_YEARS: Final = 10  # read at once: a calendar of one year costs as much as one of ten
_A_WEEK: Final = timedelta(days=7)
_DAY: Final = 24 * 60


class Week(NamedTuple):
    """The regular week of an exchange as it is now.

    Attributes
    ----------
    zone : str
        Its time zone.
    hours : tuple
        For each day of the week, Monday first, the open spans in minutes after local midnight.
    """

    zone: str
    hours: tuple[Ranges, ...]


def may_be_calendar(name: str) -> bool:
    """Whether a name is written as those of calendars are: a market identifier code, or an acronym.

    Examples
    --------
    >>> [may_be_calendar(name) for name in ("XLON", "NYSE", "24/5", "fx", "us-equities")]
    [True, True, True, False, False]
    """
    return _NAME.fullmatch(name) is not None


def names() -> list[str]:
    """The names of all calendars; none when ``exchange_calendars`` is not installed."""
    try:
        return list(_package().get_calendar_names())
    except MissingDependency:
        return []


def week(name: str) -> Week:
    """The regular week of an exchange, by the name of its calendar.

    Raises
    ------
    MissingDependency
        ``exchange_calendars`` is not installed.
    UnknownName
        It has no such calendar.
    DataError
        The package fails on this calendar.
    """
    return _known(name)[0]


def covered(name: str) -> tuple[int | None, int | None]:
    """The first moment and the end of the days a calendar covers, UTC ms; ``None``: no limit."""
    first, last = _known(name)[1]
    return (
        None if first is None else _utc_ms(first),
        None if last is None else _utc_ms(last) + DAY_MS,
    )


def open_spans(name: str, year: int) -> Ranges:
    """The open spans in a year (UTC), ``[open, close)`` in UTC ms; none outside what is covered."""
    decade = year - year % _YEARS
    return within(_decade(name, decade), _utc_ms(date(year, 1, 1)), _utc_ms(date(year + 1, 1, 1)))


def session_days(name: str, year: int) -> tuple[SessionDay, ...]:
    """The sessions that bear a date in a year, oldest first; none outside what is covered."""
    return tuple(day for day in _decade_of_days(name, year - year % _YEARS) if day.day.year == year)


@lru_cache(maxsize=64)
def _decade(name: str, first_year: int) -> Ranges:
    return merged(span for day in _decade_of_days(name, first_year) for span in day.spans)


@lru_cache(maxsize=64)
def _decade_of_days(name: str, first_year: int) -> tuple[SessionDay, ...]:
    """The sessions of ten years and of a week at either end."""
    from ..domain.calendar_protocol import SessionDay

    first, last = _known(name)[1]
    # A session may open in another year, as the world's clocks go, than the one it bears.
    since, until = date(first_year, 1, 1) - _A_WEEK, date(first_year + _YEARS, 1, 1) + _A_WEEK
    since, until = max(since, first or since), min(until, last or until)
    if since > until:
        return ()
    schedule = _calendar(name, since, until).schedule
    opens, closes = _moments(schedule["open"]), _moments(schedule["close"])
    starts, ends = _moments(schedule["break_start"]), _moments(schedule["break_end"])
    pauses = (~(np.isnat(starts) | np.isnat(ends))).tolist()
    moments = np.stack([opens, closes, starts, ends], axis=1).astype(np.int64).tolist()
    return tuple(
        SessionDay(label.date(), ((opened, begin), (end, closed)) if pause else ((opened, closed),))
        for label, pause, (opened, closed, begin, end) in zip(schedule.index, pauses, moments, strict=True)
    )


@lru_cache(maxsize=256)
def _known(name: str) -> tuple[Week, tuple[date | None, date | None]]:
    names = _package().get_calendar_names()
    if name not in names:
        raise UnknownName("exchange calendar", name, known=names)
    calendar = _calendar(name, date(2024, 1, 1), date(2024, 12, 31))  # a year that every calendar covers
    first, last = (None if bound is None else bound.date() for bound in (calendar.bound_min(), calendar.bound_max()))
    return Week(zone=str(calendar.tz), hours=_regular_hours(calendar)), (first, last)


def _regular_hours(calendar: Any) -> tuple[Ranges, ...]:
    opens, closes, pauses, resumes = (
        None if not times or times[-1][1] is None else times[-1][1].hour * 60 + times[-1][1].minute  # the newest, local
        for times in (calendar.open_times, calendar.close_times, calendar.break_start_times, calendar.break_end_times)
    )
    opens += calendar.open_offset * _DAY
    closes += calendar.close_offset * _DAY
    spans = [(opens, closes)] if pauses is None or resumes is None else [(opens, pauses), (resumes, closes)]
    found: list[Range] = []
    for day, opened in enumerate(calendar.weekmask):
        if opened == "1":
            found.extend((day * _DAY + start, day * _DAY + end) for start, end in spans)
    # What reaches out of one end of the week comes in again at the other.
    whole = merged((start + shift, end + shift) for start, end in found for shift in (-7 * _DAY, 0, 7 * _DAY))
    return tuple(
        tuple((start - at, end - at) for start, end in within(whole, at, at + _DAY)) for at in range(0, 7 * _DAY, _DAY)
    )


def _calendar(name: str, since: date, until: date) -> Any:
    package = _package()
    with _quietly():
        try:
            return package.get_calendar(name, start=since.isoformat(), end=until.isoformat())
        except Exception as error:  # whatever it raises, this calendar cannot be made
            failure = (str(error).splitlines() or [""])[0][:160]
            raise DataError(
                f"exchange_calendars {package.__version__} cannot make the calendar {name!r} of {since} .. {until}\n"
                f"{type(error).__name__}: {failure}\n"
                "update it, or write the hours down: bknb.Sessions.weekly(zone, hours, closed=[...])"
            ) from error


def _moments(column: Any) -> NDArray[np.datetime64]:
    return np.asarray(column.dt.tz_convert(None).to_numpy(), dtype="datetime64[ms]")


def _utc_ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS


def _package() -> Any:
    try:
        with _quietly():
            import exchange_calendars
    except ImportError:
        raise MissingDependency(
            "exchange_calendars", purpose="the calendar of an exchange", extra="calendars"
        ) from None
    return exchange_calendars


@contextmanager
def _quietly() -> Iterator[None]:
    """A context without deprecation warnings of pandas and numpy about code of exchange_calendars."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        yield
