"""The clock of a market: where its sessions end, times of the day in its zone, schedules, and closes of candles."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeVar
from zoneinfo import ZoneInfo

import numpy as np

from ..domain.calendar_protocol import ALWAYS_OPEN, LOOKED_THROUGH_MS, SessionDay, TradingCalendar
from ..domain.interval import DAY_MS, MINUTE_MS, ceil_to, slot_after
from ..domain.market_clock_protocol import NEVER
from ..domain.ranges import Range, Ranges, merged, within, without
from ..domain.schedule_text import as_schedule
from ..domain.schedules import reads_series
from ..domain.time_of_day import local_moment, time_of_day, zone_of
from ..errors import DataError, UsageError
from .bar_slots import bar_close, slot_of
from .session_days import WholeDays
from .sessions import Sessions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..domain.schedules import Schedule
    from .shifted_bar_grid import BarGrid

_T = TypeVar("_T")
_NO_DAY: Final = SessionDay(date.max, ((NEVER, NEVER),))
_LIKE_TIME: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}")


class SessionClock:
    """The clock of one market, for a strategy of one interval (:mod:`bknb.domain.market_clock_protocol`).

    Parameters
    ----------
    sessions
        When the market is open; ``None``: always, and its sessions are the days of UTC.
    interval
        The strategy's, ms.
    times : ndarray of int64, optional
        Open times (UTC ms) of base bars longer than a minute, which say what candles there are; ``None``: those in
        which the market is open.
    step
        The length of base bars, ms; those of a day or longer bear the dates of sessions.
    zone
        The time zone of times of the day, where it is not the market's.
    by_day
        Whether its candles are the days of these sessions.
    at
        The schedule by which the strategy is asked; ``None``: in each slot of its interval.
    grid
        Where candles begin that do not begin at multiples of their length.
    warm
        For how many minutes the market must have been open before the strategy is asked.
    gone
        The ranges of base bars that never came (UTC ms, ascending), as far as that is known: it may grow. Candles in
        which no bar came are none, where ``times`` does not say it.

    Examples
    --------
    >>> clock = SessionClock(None, 3_600_000)
    >>> clock.session_end(1_704_067_200_000) - 1_704_067_200_000  # from a midnight to the next
    86400000
    >>> clock.next_moment("16:00", 1_704_067_200_000) - 1_704_067_200_000
    57600000
    """

    def __init__(
        self,
        sessions: Sessions | None,
        interval: int,
        *,
        times: NDArray[np.int64] | None = None,
        step: int = MINUTE_MS,
        zone: str | None = None,
        by_day: bool = False,
        at: Schedule | None = None,
        grid: BarGrid | None = None,
        warm: int = 1,
        gone: Sequence[Range] = (),
    ) -> None:
        self._step, self._warm = step, warm * MINUTE_MS
        self._by_day, self._at, self._has_whole_days = by_day, at, step >= DAY_MS
        self._sessions, self._interval = sessions, interval
        self._grid, self._gone = grid, gone
        self._slots = None if times is None or grid is not None else np.unique(times // interval)
        self._ends = None if times is None or grid is None else np.unique(grid.ends(times, interval))
        self.zone = zone or ("UTC" if sessions is None else sessions.zone)

    def session_end(self, when: int) -> int:
        """The first close of a session that is later than ``when`` (UTC ms)."""
        for calendar in self._calendars():
            for reach in LOOKED_THROUGH_MS:
                days = calendar.session_days(when, when + reach)
                if (close := next((day.close for day in days if day.close > when), None)) is not None:
                    return close
        return NEVER

    def _calendars(self) -> tuple[TradingCalendar, ...]:
        """The days of the market; behind the end of an exchange's calendar only its regular week is known."""
        sessions = self._sessions
        if sessions is None:
            return (ALWAYS_OPEN,)
        return (sessions, replace(sessions, calendar="")) if sessions.calendar else (sessions,)

    def next_moment(self, text: str, when: int) -> int:
        """The first moment of a time of the day, or of a schedule, that is later than ``when`` (UTC ms).

        A time of the day counts on every day on which the market trades, also after an early close.
        """
        found = time_of_day(text)
        if found is not None:
            return self._next_time(found[0], ZoneInfo(found[1] or self.zone), when)
        return self._next_of(as_schedule(text), when)

    def _next_of(self, schedule: Schedule, when: int) -> int:
        """The first moment of a schedule later than ``when`` (UTC ms); far in the future where none is known."""
        for calendar in self._calendars():
            days = WholeDays(calendar) if self._has_whole_days and isinstance(calendar, Sessions) else calendar
            if (moment := schedule.next_after(when, days)) is not None:
                return moment
        return NEVER

    def _next_time(self, minute: int, zone: ZoneInfo, when: int) -> int:
        day = datetime.fromtimestamp(when / 1000, UTC).astimezone(zone).date()
        for _ in range(LOOKED_THROUGH_MS[-1] // DAY_MS):
            moment = local_moment(day, minute, zone)
            if moment > when and self._trades(day, zone):
                return moment
            day += timedelta(days=1)
        return NEVER

    def _trades(self, day: date, zone: ZoneInfo) -> bool:
        sessions = self._sessions
        if sessions is None:
            return True
        since, until = local_moment(day, 0, zone), local_moment(day + timedelta(days=1), 0, zone)
        return bool(_beyond_calendar(sessions, lambda each: each.open_ranges(since, until)))

    def fault(self, text: str) -> str:
        """Why a text is neither a time of the day nor a schedule; empty when it is one."""
        found = time_of_day(text)
        if found is None and "," not in text and _LIKE_TIME.match(text):
            return "a time is written '07:00', from 00:00 to 23:59, and a zone such as 'UTC' may stand behind it"
        if re.search(r"[+-][0-9]|,", text) is None and get_close_matches(text.lower(), ["session_end"], cutoff=0.7):
            return f"there is no {text!r:.40}; did you mean 'session_end'?"
        try:
            if found is None:
                as_schedule(text).next_after(0)
            else:
                zone_of(found[1] or "UTC")
        except UsageError as error:
            return str(error).partition("\n")[0].removeprefix(f"at={text!r:.60} is no schedule: ")
        return ""

    def candles_closed(self, opened: int, count: int) -> int:
        """When ``count`` candles have closed (UTC ms), that in which ``opened`` lies included."""
        if self._by_day:
            return self._days_closed(opened, count)
        found = self._closed(opened, count)
        if not self._gone or self._gone[-1][1] <= opened or found >= NEVER:
            return found
        gone, at, candle = within(self._gone, opened, NEVER), opened, 0
        while count and at < NEVER:
            candle += 1
            since, at = at, self._closed(opened, candle)
            count -= bool(without(self._open_between(since, at), gone))
        return at

    def _open_between(self, since: int, until: int) -> Ranges:
        """When the market is open between two moments, UTC ms."""
        sessions = self._sessions
        if sessions is None:
            return ((since, until),)
        return _beyond_calendar(sessions, lambda each: each.open_ranges(since, until))

    def _closed(self, opened: int, count: int) -> int:
        if self._ends is not None:
            at = int(np.searchsorted(self._ends, opened, side="right")) + count - 1
            return NEVER if at >= len(self._ends) else int(self._ends[at])
        if self._grid is not None:
            return self._closed_on_grid(self._grid, opened, count)
        first, interval = opened // self._interval, self._interval
        if self._slots is not None:
            at = int(np.searchsorted(self._slots, first)) + count - 1
            return NEVER if at >= len(self._slots) else (int(self._slots[at]) + 1) * interval
        sessions = self._sessions
        if sessions is None:
            return (first + count) * interval
        ahead = 4 * count + max(8 * DAY_MS // interval, 1)
        while ahead * interval < (LOOKED_THROUGH_MS[-1] // DAY_MS + 40 * count) * max(DAY_MS, interval):
            starts = np.arange(first, first + ahead, dtype=np.int64) * interval
            minutes = _beyond_calendar(sessions, partial(Sessions.open_minutes, starts=starts, step=interval))
            is_open = np.flatnonzero(minutes > 0)
            if len(is_open) >= count:
                return int(starts[is_open[count - 1]]) + interval
            ahead *= 4
        return NEVER

    def _closed_on_grid(self, grid: BarGrid, opened: int, count: int) -> int:
        for reach in LOOKED_THROUGH_MS:
            closes = grid.closes_between(opened, opened + 2 * count * self._interval + reach, self._interval)
            if self._sessions is not None and not grid.in_sessions:  # weeks, some of which may be closed
                closes = closes[self._sessions.open_minutes(closes - self._interval, self._interval) > 0]
            if len(closes) >= count:
                return int(closes[count - 1])
        return NEVER

    def _days_closed(self, opened: int, count: int) -> int:
        for calendar in self._calendars():
            for reach in LOOKED_THROUGH_MS:
                days = calendar.session_days(opened, opened + 2 * count * DAY_MS + reach)
                closes = [day.close for day in days if day.close > opened]
                if len(closes) >= count:
                    return closes[count - 1]
        return NEVER

    def next_question(self, when: int) -> int | None:
        """When the strategy is asked after a question at ``when`` (UTC ms); ``None`` where nobody knows it before."""
        if self._at is not None:
            return None if reads_series(self._at) else self._next_of(self._at, when)
        if self._by_day:
            return self._two_days(when)[1].open
        begins = slot_after(when, self._interval) if self._grid is None else self._grid.after(when, self._interval)
        return begins if self._sessions is None else self._first_asked(begins)

    def _first_asked(self, begins: int) -> int:
        """The first moment from ``begins`` (UTC ms) on at which a bar closes and the strategy can be asked."""
        step, grid = self._step, self._grid
        for calendar in self._calendars():
            assert isinstance(calendar, Sessions)  # a market that never closes is not asked  # noqa: S101
            for reach in LOOKED_THROUGH_MS:
                if self._has_whole_days:  # a day ends where its market is closed
                    days = WholeDays(calendar).session_days(begins - self._step, begins + reach)
                    found: Iterator[int] = (bar_close(slot_of(day.open, step, grid), step, grid) for day in days)
                else:
                    found = self._open_closes(calendar, begins, reach)
                if (moment := next((each for each in found if each >= begins), None)) is not None:
                    return moment
        return NEVER

    def _open_closes(self, sessions: Sessions, begins: int, reach: int) -> Iterator[int]:
        """Of each open span behind ``begins`` the first close of a bar from then on, at which it is open and warm."""
        for opens, closes in merged(sessions.known_ranges(begins - 2 * DAY_MS, begins + reach)):
            earliest = max(begins, opens + self._warm)
            moment = ceil_to(earliest, self._step) if self._grid is None else self._grid.ceil(earliest, self._step)
            if moment < closes:
                yield moment

    def interval_later(self, when: int) -> int:
        """The moment an interval after ``when`` (UTC ms).

        By the day it is that of the next session that is as long after its open, at the latest its close.
        """
        if not self._by_day:
            return when + self._interval
        today, following = self._two_days(when)
        return min(following.open + max(when - today.open, 0), following.close)

    def _two_days(self, when: int) -> tuple[SessionDay, SessionDay]:
        """The session that ``when`` lies in, or the one before it where the market is closed, and the next."""
        for calendar in self._calendars():
            if isinstance(calendar, Sessions) and (found := _around(calendar, when)) is not None:
                return found
        return _NO_DAY, _NO_DAY


@lru_cache(maxsize=64)  # an order that waits asks every minute
def _around(sessions: Sessions, when: int) -> tuple[SessionDay, SessionDay] | None:
    for reach in LOOKED_THROUGH_MS:
        days = sessions.session_days(when - reach, when + reach)
        at = bisect_right(days, when, key=lambda day: day.open)
        if 0 < at < len(days):
            return days[at - 1], days[at]
    return None


def _beyond_calendar(sessions: Sessions, ask: Callable[[Sessions], _T]) -> _T:
    """What sessions answer; of days behind the calendar of an exchange only its regular week is known."""
    try:
        return ask(sessions)
    except DataError:
        return ask(replace(sessions, calendar=""))
