"""The days on which stock exchanges in the United States stay closed or close early, by rule, from 1990 on.

The rules are those of NYSE Rule 7.2 and of the holidays and early closings that the exchange has published since; what
no rule foresees stands in tables. A test holds every day from 1990 on equal to the calendar ``XNYS`` of the package
``exchange_calendars``, which is not needed here. Before 1990 other rules held, which are not covered. Late openings and
interruptions of a running session (snow, circuit breakers) are not covered; the trades of such days are.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

# NYSE, "Special Closings": days that were announced, and why.
_CLOSED_ONCE: Final = frozenset(
    date.fromisoformat(day)
    for day in (
        "1994-04-27",  # mourning for Richard Nixon
        "2001-09-11",  # attacks on the World Trade Center, until the 14th
        "2001-09-12",
        "2001-09-13",
        "2001-09-14",
        "2004-06-11",  # mourning for Ronald Reagan
        "2007-01-02",  # mourning for Gerald Ford
        "2012-10-29",  # hurricane Sandy
        "2012-10-30",
        "2018-12-05",  # mourning for George H. W. Bush
        "2025-01-09",  # mourning for Jimmy Carter
    )
)
# NYSE, "Early closings": days that no rule foresees, all at 13:00.
_SHORT_ONCE: Final = frozenset(
    date.fromisoformat(day)
    for day in (
        "1996-07-05",  # a Friday after Independence Day, instead of the Wednesday before it
        "1997-12-26",  # a Friday after Christmas
        "1999-12-31",  # the end of the millennium
        "2002-07-05",  # as in 1996
        "2003-12-26",  # as in 1997
    )
)
_MONDAY, _WEDNESDAY, _THURSDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 2, 3, 4, 5, 6
_ONE_O_CLOCK: Final = 13 * 60
_TWO_O_CLOCK: Final = 14 * 60


def us_closed_days(year: int) -> set[date]:
    """Every weekday of a year on which they stay closed; complete from 1990 on.

    Examples
    --------
    >>> sorted(day.isoformat() for day in us_closed_days(2024))[:4]
    ['2024-01-01', '2024-01-15', '2024-02-19', '2024-03-29']
    """
    days = {
        _nth(year, 2, _MONDAY, 3),  # Washington
        _easter(year) - timedelta(days=2),  # Good Friday
        _last_monday_of_may(year),  # Memorial Day
        _observed(date(year, 7, 4)),
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _nth(year, 11, _THURSDAY, 4),  # Thanksgiving
        _observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != _SATURDAY:  # then it is not made up for
        days.add(_observed(new_year))
    if year >= 1998:
        days.add(_nth(year, 1, _MONDAY, 3))  # Martin Luther King Jr.
    if year >= 2022:
        days.add(_observed(date(year, 6, 19)))  # Juneteenth
    return days | {day for day in _CLOSED_ONCE if day.year == year}


def us_short_days(year: int) -> dict[date, int]:
    """Every day of a year that ends early, with the minute after local midnight at which it does; from 1990 on.

    Examples
    --------
    >>> [(day.isoformat(), minute // 60) for day, minute in sorted(us_short_days(2024).items())]
    [('2024-07-03', 13), ('2024-11-29', 13), ('2024-12-24', 13)]
    >>> [(day.isoformat(), minute // 60) for day, minute in sorted(us_short_days(1992).items())]
    [('1992-11-27', 14), ('1992-12-24', 14)]
    """
    early = _ONE_O_CLOCK if year >= 1993 else _TWO_O_CLOCK
    days = {day: _ONE_O_CLOCK for day in _SHORT_ONCE if day.year == year}
    if year >= 1992:
        days[_nth(year, 11, _THURSDAY, 4) + timedelta(days=1)] = early
    christmas_eve = date(year, 12, 24)
    if christmas_eve.weekday() < _FRIDAY:
        days[christmas_eve] = early
    before_independence = date(year, 7, 3)
    wednesday = before_independence.weekday() == _WEDNESDAY
    if before_independence.weekday() < _FRIDAY and year >= (2013 if wednesday else 1995):
        days[before_independence] = early
    return days


def _nth(year: int, month: int, weekday: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=last.weekday())


def _observed(day: date) -> date:
    """The day a holiday is observed: the nearest weekday when it falls on a weekend."""
    if day.weekday() == _SATURDAY:
        return day - timedelta(days=1)
    return day + timedelta(days=1) if day.weekday() == _SUNDAY else day


def _easter(year: int) -> date:
    """Western Easter Sunday (Meeus, Astronomical Algorithms, 2nd ed., chapter 8)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return date(year, month, day + 1)
