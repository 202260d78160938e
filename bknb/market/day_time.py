"""The newest moment at which clocks showed a time of day."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import UsageError

_TIME: Final = re.compile(r"\s*([01]?[0-9]|2[0-3]):([0-5][0-9])(?:\s+(\S+))?\s*")


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
        It is no time of day, or there is no such zone.

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
def _read(text: object, zone: str) -> tuple[int, int, ZoneInfo]:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UsageError(f"a time of day is written '09:30' or '09:30 America/New_York', got {text!r:.80}")
    try:
        return int(match[1]), int(match[2]), ZoneInfo(match[3] or zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"unknown time zone {match[3]!r}; expected a name such as 'America/New_York'") from None
