"""The sessions of New York in 2023 and 2024, as its exchanges publish them: 09:30 to 16:00, to 13:00 on half days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from .market import Bar

ZONE = ZoneInfo("America/New_York")
HOLIDAYS = frozenset(
    [
        "2023-01-02",
        "2023-01-16",
        "2023-02-20",
        "2023-04-07",
        "2023-05-29",
        "2023-06-19",
        "2023-07-04",
        "2023-09-04",
        "2023-11-23",
        "2023-12-25",
        "2024-01-01",
        "2024-01-15",
        "2024-02-19",
        "2024-03-29",
        "2024-05-27",
        "2024-06-19",
        "2024-07-04",
    ]
)
HALF_DAYS = frozenset(["2023-07-03", "2023-11-24", "2024-07-03"])


class Session(NamedTuple):
    """A session by its open and close (UTC ms) and its bars."""

    open: int
    close: int
    bars: list[Bar]


def moment(day: date, hour: int, minute: int = 0, zone: ZoneInfo = ZONE) -> int:
    """A time of a local clock, UTC ms."""
    return int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()) * 1000


def sessions(bars: Sequence[Bar]) -> list[Session]:
    """The sessions that bars of up to a quarter of an hour lie in; bars outside of them are left out."""
    first, last = (datetime.fromtimestamp(bar.t / 1000, UTC).date() for bar in (bars[0], bars[-1]))
    by_time = {bar.t: bar for bar in bars}
    length = bars[1].t - bars[0].t
    found = []
    for day in (first + timedelta(days=k) for k in range((last - first).days + 1)):
        if day.weekday() > 4 or day.isoformat() in HOLIDAYS:
            continue
        span = moment(day, 9, 30), moment(day, 13 if day.isoformat() in HALF_DAYS else 16)
        within = [by_time[t] for t in range(*span, length) if t in by_time]
        if within:
            found.append(Session(*span, within))
    return found
