"""Schedules as text, such as ``"session_open+30m"`` and ``"mon 09:30 America/New_York"``."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from ..errors import UsageError
from .calendar_protocol import WEEKDAYS
from .schedules import AnyOf, Clock, MonthDay, MonthEnd, NthOf, Schedule, SeriesRows, WeekdayOpen
from .schedules import SessionClose as Close
from .schedules import SessionOpen as Open

SPELLINGS: Final = (
    "'session_open+30m', 'session_close-5m', '07:00 Europe/London', 'mon 09:30 America/New_York', 'mon', 'month', "
    "'month 15', 'month_end', several with commas between them, or bknb.at"
)
_SESSION: Final = re.compile(r"session_(open|close)(?:\s*([+-])\s*([0-9]+)(m|h))?")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_WORDS: Final = ("session_open", "session_close", "month", "month_end", *WEEKDAYS)


def as_schedule(given: object, what: str = "at") -> Schedule:
    """A schedule, from one or from its text.

    Parameters
    ----------
    given
        A schedule, or one or several as text, with commas between them.
    what
        The name of the argument, for messages.

    Raises
    ------
    UsageError
        It is neither; the message says what is expected.

    Examples
    --------
    >>> as_schedule("mon 09:30 America/New_York")
    Clock(minute=570, zone='America/New_York', weekday=0)
    >>> str(as_schedule("session_close - 5m, month"))
    'session_close-5m, month'
    >>> as_schedule("session_end")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: at='session_end' is no schedule: there is no 'session_end'; did you mean 'session_open'?
    expected 'session_open+30m', 'session_close-5m', '07:00 Europe/London', 'mon 09:30 America/New_York', 'mon', \
'month', 'month 15', 'month_end', several with commas between them, or bknb.at
    """
    if isinstance(given, Schedule):
        return given
    if not isinstance(given, str):
        raise UsageError(f"{what} must be a schedule or its text, got {given!r:.60}\nexpected {SPELLINGS}")
    parts = [part.strip() for part in given.split(",")]
    try:
        found = [_one(part) for part in parts]
    except UsageError as error:
        raise UsageError(f"{what}={given!r:.60} is no schedule: {error}\nexpected {SPELLINGS}") from None
    return found[0] if len(found) == 1 else AnyOf(tuple(found))


def minute_of_day(text: str) -> int:
    """Minutes after midnight of a time such as ``"07:00"``.

    Raises
    ------
    UsageError
        It is no time of a day.

    Examples
    --------
    >>> minute_of_day("07:30")
    450
    """
    match = _TIME.fullmatch(str(text))
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise UsageError(f"a time is written '07:00', from 00:00 to 23:59, got {text!r:.40}")
    return int(match[1]) * 60 + int(match[2])


def weekday_of(text: str) -> int:
    """The number of a day of the week, Monday 0.

    Raises
    ------
    UsageError
        It is no day of the week.

    Examples
    --------
    >>> weekday_of("Fri")
    4
    """
    name = str(text).strip().lower()
    if name not in WEEKDAYS:
        raise UsageError(f"a day of the week is one of {' '.join(WEEKDAYS)}, got {text!r:.40}")
    return WEEKDAYS.index(name)


def weekly(day: str, time: str | None, zone: str | None, after: int) -> Schedule:
    """A day of each week: the open of its session, or a time of day in a zone; ``after`` as in :class:`NthOf`.

    Raises
    ------
    UsageError
        There is a time without a zone, or a zone without a time; or one of them is none.

    Examples
    --------
    >>> weekly("mon", "09:30", "UTC", 1)
    Clock(minute=570, zone='UTC', weekday=0)
    """
    found: Schedule = WeekdayOpen(weekday_of(day))
    if time is not None and zone is not None:
        found = Clock(minute_of_day(time), zone, weekday_of(day))
    elif time is not None or zone is not None:
        raise UsageError("week takes a time and its zone, such as week('mon', '09:30', 'America/New_York'), or neither")
    return found if type(after) is int and after == 1 else NthOf(found, after)


def _one(text: str) -> Schedule:
    """A schedule from its text without commas; what it raises holds the fault alone."""
    session = _SESSION.fullmatch(text)
    if session is not None:
        minutes = int(f"{session[2] or '+'}{session[3] or 0}") * (60 if session[4] == "h" else 1)
        return Open(minutes) if session[1] == "open" else Close(minutes)
    match text.split():
        case ["month"]:
            return MonthDay()
        case ["month", day] if day.isdecimal():
            return MonthDay(int(day))
        case ["month_end"]:
            return MonthEnd()
        case ["series", _, *_]:
            return SeriesRows(text.removeprefix("series").strip())
        case [*words, "after", count] if words and count.isdecimal():
            return NthOf(_one(" ".join(words)), int(count))
        case [day] if day.lower() in WEEKDAYS:
            return WeekdayOpen(weekday_of(day))
        case [day, time, zone] if day.lower() in WEEKDAYS:
            return Clock(minute_of_day(time), zone, weekday_of(day))
        case [time, zone] if _TIME.fullmatch(time):
            return Clock(minute_of_day(time), zone)
        case [*_, time] if _TIME.fullmatch(time):
            minute_of_day(time)
            raise UsageError(f"{time} needs the name of a time zone behind it, such as '{time} UTC'")
        case [word, *_]:
            raise UsageError(f"there is no {word!r:.40}{_hint(word)}")
        case _:
            raise UsageError("it is empty")


def _hint(word: str) -> str:
    if word.startswith(("session_open", "session_close")):
        return "; a distance is written +30m, -5m or +1h"
    near = get_close_matches(word.lower(), _WORDS, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
