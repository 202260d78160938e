"""The days on which stock exchanges in the United States stay closed or close at 13:00, by rule.

Rules of NYSE Rule 7.2 and its published holiday calendars, 1998 and later; closures of one day that no rule foresees
(mourning, storms, attacks) are listed.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

_ONCE: Final = {
    2001: ("2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14"),
    2004: ("2004-06-11",),
    2007: ("2007-01-02",),
    2012: ("2012-10-29", "2012-10-30"),
    2018: ("2018-12-05",),
    2025: ("2025-01-09",),
}
_MONDAY, _THURSDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 3, 4, 5, 6
_ONE_O_CLOCK: Final = 13 * 60


def us_closed_days(year: int) -> set[date]:
    """Every weekday of a year on which they stay closed.

    Examples
    --------
    >>> sorted(day.isoformat() for day in us_closed_days(2024))[:4]
    ['2024-01-01', '2024-01-15', '2024-02-19', '2024-03-29']
    """
    days = {
        _nth(year, 1, _MONDAY, 3),  # Martin Luther King Jr.
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
    if year >= 2022:
        days.add(_observed(date(year, 6, 19)))
    return days | {date.fromisoformat(day) for day in _ONCE.get(year, ())}


def us_short_days(year: int) -> dict[date, int]:
    """Every day of a year that ends at 13:00 local time, with that minute of the day.

    Examples
    --------
    >>> [day.isoformat() for day in sorted(us_short_days(2024))]
    ['2024-07-03', '2024-11-29', '2024-12-24']
    """
    days = {_nth(year, 11, _THURSDAY, 4) + timedelta(days=1)}
    for day in (date(year, 7, 3), date(year, 12, 24)):
        if day.weekday() < _FRIDAY:
            days.add(day)
    return dict.fromkeys(days, _ONE_O_CLOCK)


def _nth(year: int, month: int, weekday: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=last.weekday())


def _observed(day: date) -> date:
    """On a weekend it moves to the nearest weekday."""
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
