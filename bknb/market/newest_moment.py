"""The newest moment at which clocks showed a time of day, or of a schedule."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..domain.interval import DAY_MS
from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from ..domain.schedules import Schedule
    from .sessions import Sessions

_TIME: Final = re.compile(r"\s*([01]?[0-9]|2[0-3]):([0-5][0-9])(?:\s+(\S+))?\s*")
_LOOKED_BACK_MS: Final = (8 * DAY_MS, 70 * DAY_MS, 800 * DAY_MS)


def newest_moment(given: str | Schedule, when: int, sessions: Sessions | None) -> datetime:
    """The newest moment at or before ``when`` (UTC ms), in UTC.

    Parameters
    ----------
    given
        A time of day, of the zone of the market or with a zone; or a schedule or its text, as for ``at=``.
    when
        UTC ms.
    sessions
        When the market is open; ``None``: always, by the clock of UTC.

    Raises
    ------
    UsageError
        It is neither.
    DataError
        The schedule had no moment in the two years before.

    Examples
    --------
    >>> newest_moment("mon", 1_704_380_400_000, None).isoformat()  # a Thursday
    '2024-01-01T00:00:00+00:00'
    """
    if isinstance(given, str) and _TIME.fullmatch(given):
        return newest_time(given, when, "UTC" if sessions is None else sessions.zone)
    from ..domain.schedule_text import as_schedule

    schedule = as_schedule(given)
    for back in _LOOKED_BACK_MS:
        found = schedule.moments(when - back, when + 1, sessions)
        if found:
            return datetime.fromtimestamp(found[-1] / 1000, UTC)
    raise DataError(f"at={str(given)!r:.60}: the market had no such moment in the two years before")


def newest_time(text: str, when: int, zone: str) -> datetime:
    """The newest moment at or before ``when`` (UTC ms) at which clocks showed a time of day, in UTC.

    Where they went forward over it, it is so much later as they went forward; where it came twice, it is the first of
    the two (as RFC 5545, section 3.3.5, has it).

    Parameters
    ----------
    text
        ``"07:00"``, or with a zone ``"07:00 Europe/London"``.
    when
        UTC ms.
    zone
        The time zone where the text names none.

    Raises
    ------
    UsageError
        There is no such zone.

    Examples
    --------
    >>> newest_time("07:00", 1_704_092_400_000, "UTC").isoformat()  # at 07:00 itself
    '2024-01-01T07:00:00+00:00'
    >>> newest_time("07:00 Europe/London", 1_719_813_599_999, "UTC").isoformat()  # a millisecond before it in summer
    '2024-06-30T06:00:00+00:00'
    """
    hour, minute, where = _read(text, zone)
    today = datetime.fromtimestamp(when / 1000, UTC).astimezone(where).date()
    shown = (_moment(today - timedelta(days=back), hour, minute, where) for back in range(3))
    return next(moment for moment in shown if moment.timestamp() * 1000 <= when)


def _moment(day: date, hour: int, minute: int, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=64)
def _read(text: str, zone: str) -> tuple[int, int, ZoneInfo]:
    match = _TIME.fullmatch(text)
    assert match is not None  # the caller looked  # noqa: S101
    try:
        return int(match[1]), int(match[2]), ZoneInfo(match[3] or zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"unknown time zone {match[3]!r}; expected a name such as 'America/New_York'") from None
