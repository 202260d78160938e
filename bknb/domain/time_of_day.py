"""Times of the day by the clocks of a zone: read from text, written as text, and as moments."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import UsageError

_TIME: Final = re.compile(r"\s*([01]?[0-9]|2[0-3]):([0-5][0-9])(?:\s+(\S+))?\s*")
_DAY: Final = 24 * 60


def time_of_day(text: str) -> tuple[int, str | None] | None:
    """The minutes after midnight and the zone, if it names one, of a text; ``None`` where it is no time of the day.

    Examples
    --------
    >>> time_of_day("07:30"), time_of_day("16:00 Europe/London"), time_of_day("noon")
    ((450, None), (960, 'Europe/London'), None)
    """
    found = _TIME.fullmatch(text)
    return None if found is None else (int(found[1]) * 60 + int(found[2]), found[3])


def time_of_day_text(minute: int) -> str:
    """A minute after midnight as clocks show it; 1440 is ``24:00``, the end of the day.

    Examples
    --------
    >>> time_of_day_text(570)
    '09:30'
    """
    return f"{minute // 60:02d}:{minute % 60:02d}"


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises
    ------
    UsageError
        There is no such zone.

    Examples
    --------
    >>> zone_of("Europe/London").key
    'Europe/London'
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise UsageError(
            f"unknown time zone {name!r:.60}; expected a name such as 'America/New_York' or 'UTC'"
        ) from None


def local_moment(day: date, minute: int, zone: ZoneInfo) -> int:
    """The moment (UTC ms) at which clocks show ``minute`` minutes after midnight; 1440 is the end of the day.

    Where they went forward over it, it is so much later as they went forward; where it came twice, it is the first of
    the two (as RFC 5545, section 3.3.5, has it).

    Examples
    --------
    >>> local_moment(date(2024, 7, 1), 420, ZoneInfo("Europe/London")) // 60_000 % 1440  # 07:00 is 06:00 UTC
    360
    """
    days, minute = divmod(minute, _DAY)
    there = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    return round((there + timedelta(days=days)).timestamp()) * 1000
