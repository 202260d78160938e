"""The days of a market: when each session begins and ends. All times are UTC milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple, Protocol

from .interval import DAY_MS, MINUTE_MS
from .ranges import Ranges

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOKED_THROUGH_MS: Final = (8 * DAY_MS, 70 * DAY_MS, 800 * DAY_MS)
"""How far the next or the newest session or moment is looked for, ms: as far as each, until one is found.

The first holds every day of the week, and the second every day of a month, where some days are holidays, too. No
market was closed for as long as the last: what is not found in it does not come.
"""
_EPOCH: Final = date(1970, 1, 1).toordinal()


class SessionDay(NamedTuple):
    """One day of a market that trades on it.

    Attributes
    ----------
    day : date
        The date it bears: in forex, whose Monday begins on Sunday at 17:00 in New York, the Monday.
    spans : tuple of (int, int)
        When the market is open, ``[open, close)`` in UTC ms, oldest first; several where it has a break.

    Examples
    --------
    >>> morning, afternoon = (1_704_326_400_000, 1_704_335_400_000), (1_704_339_000_000, 1_704_348_000_000)
    >>> tokyo = SessionDay(date(2024, 1, 4), (morning, afternoon))
    >>> (tokyo.close - tokyo.open) // 60_000, tokyo.minutes
    (360, 300)
    """

    day: date
    spans: Ranges

    @property
    def open(self) -> int:
        """When it opens, UTC ms."""
        return self.spans[0][0]

    @property
    def close(self) -> int:
        """When it closes, UTC ms."""
        return self.spans[-1][1]

    @property
    def minutes(self) -> int:
        """How many minutes it is open; breaks do not count."""
        return sum(end - start for start, end in self.spans) // MINUTE_MS


class TradingCalendar(Protocol):
    """What knows the days of a market: ``bknb.Sessions``, or :data:`ALWAYS_OPEN`."""

    def session_days(self, since: int, until: int) -> Sequence[SessionDay]:
        """The days that have a part in ``[since, until)`` (UTC ms), oldest first, each of them whole."""
        ...


class _UtcDays:
    """The days of a market that never closes: those of UTC."""

    def session_days(self, since: int, until: int) -> Sequence[SessionDay]:
        first = since // DAY_MS
        last = -(-until // DAY_MS)
        return [
            SessionDay(date.fromordinal(day + _EPOCH), ((day * DAY_MS, (day + 1) * DAY_MS),))
            for day in range(first, last)
        ]

    def __repr__(self) -> str:
        return "ALWAYS_OPEN"


ALWAYS_OPEN: Final[TradingCalendar] = _UtcDays()
"""The calendar of a market without sessions: its days are those of UTC."""
