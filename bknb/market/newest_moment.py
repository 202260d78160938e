"""The newest moment at which clocks showed a time of day, or of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from ..domain.calendar_protocol import LOOKED_THROUGH_MS
from ..domain.time_of_day import local_moment, time_of_day, zone_of
from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from ..domain.schedules import Schedule
    from .sessions import Sessions


def newest_moment(given: str | Schedule, when: int, sessions: Sessions | None, *, zone: str | None = None) -> datetime:
    """The newest moment at or before ``when`` (UTC ms), in UTC.

    Parameters
    ----------
    given
        A time of day, with a zone or of ``zone``; or a schedule or its text, as for ``at=``.
    when
        UTC ms.
    sessions
        When the market is open; ``None``: always, by the clock of UTC.
    zone
        The time zone of a time of day that names none; ``None``: that of the market.

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
    if isinstance(given, str) and time_of_day(given):
        return newest_time(given, when, zone or ("UTC" if sessions is None else sessions.zone))
    from ..domain.schedule_text import as_schedule
    from ..domain.schedules import reads_series

    schedule = as_schedule(given)
    if reads_series(schedule):
        raise UsageError(
            f"ctx.at does not look into series, got {str(given)!r:.60}\n"
            "when the newest row of a series was published: ctx.series(NAME, 1)"
        )
    for back in LOOKED_THROUGH_MS:
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
    minute, where = _read(text, zone)
    today = datetime.fromtimestamp(when / 1000, UTC).astimezone(where).date()
    shown = (local_moment(today - timedelta(days=back), minute, where) for back in range(3))
    return datetime.fromtimestamp(next(moment for moment in shown if moment <= when) / 1000, UTC)


@lru_cache(maxsize=64)
def _read(text: str, zone: str) -> tuple[int, ZoneInfo]:
    found = time_of_day(text)
    assert found is not None  # the caller looked  # noqa: S101
    return found[0], zone_of(found[1] or zone)
