"""Bars of hours or minutes: the hours in which their market is open, as they show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from ..domain.interval import DAY_MINUTES, DAY_MS, EPOCH_DAY, MINUTE_MS
from .sessions import Sessions
from .trading_days_of_bars import holidays_among, told_holidays

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ZONES: Final = ("UTC", "America/New_York", "Europe/London", "Australia/Sydney")
"""One for each rule by which clocks change, as far as markets follow one."""

_FEWEST_DAYS: Final = 10  # with a bar: fewer do not show which hours are regular
_USUAL: Final = 0.5  # of the same days of the week have a bar that belongs to the hours of the market
_SHORT: Final = 0.1  # of days end early, at most
_ALWAYS: Final = 0.97  # of all bars there could be: the market does not close
_FRIDAY: Final = 4
_LACKING: Final = 0.05  # of the bars of its hours may be missing, so that they are regular

Hours: TypeAlias = tuple[tuple[int, int], ...]
"""The hours of a day: spans in minutes after midnight."""

Week: TypeAlias = tuple[Hours, ...]
"""The hours of each day of the week, Monday first."""


_AROUND_THE_CLOCK: Final[Week] = 7 * (((0, DAY_MINUTES),),)


class _Local(NamedTuple):
    """Bars by a local clock: the day each opens on, as an ordinal, and the minute of that day."""

    day: NDArray[np.int64]
    minute: NDArray[np.int64]


def trading_hours(times: NDArray[np.int64], step: int, name: str) -> tuple[Sessions | None, list[str]]:
    """The hours in which a market is open, as its bars show them, and what was decided.

    ``None`` where they show none: there are bars around the clock every day, at irregular times, or on fewer than ten
    days. A time of day belongs to the hours where half of the same days of the week have a bar then; a day of the week
    that came once has the hours of another where its bars lie within them. Every bar must lie in the hours, by a clock
    that changes with the seasons as one of the world does or not at all. Days without a bar are holidays and days that
    end early short ones, unless there are more of them than a market has.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, ascending, UTC ms.
    step
        The length of a bar, ms; below a day.
    name
        The name of the data, for the notes.

    Examples
    --------
    >>> days = 1_704_067_200_000 + np.arange(14) * 86_400_000  # from a Monday on
    >>> hours = np.concatenate([day + np.arange(9, 17) * 3_600_000 for day in days[np.arange(14) % 7 < 5].tolist()])
    >>> print(trading_hours(hours, 3_600_000, "mine")[0])
    mon 09:00-17:00; tue 09:00-17:00; wed 09:00-17:00; thu 09:00-17:00; fri 09:00-17:00 (UTC)
    """
    if step % MINUTE_MS or not len(times) or len(times) > _ALWAYS * (int(times[-1]) - int(times[0])) / step:
        return None, []
    length, best, fewest = step // MINUTE_MS, None, _LACKING
    for zone in _ZONES:
        local = _local(times, zone)
        if len(np.unique(local.day)) < _FEWEST_DAYS:
            return None, []
        week = _week(local, length)
        if week == _AROUND_THE_CLOCK:
            return None, []
        if week is not None and (lacking := _lacking(local, length, week)) < fewest:
            best, fewest = (local, length, zone, week), lacking
    return (None, []) if best is None else _sessions(*best, name)


def _local(times: NDArray[np.int64], zone: str) -> _Local:
    days, place = np.unique(times // DAY_MS, return_inverse=True)
    clock = ZoneInfo(zone)  # clocks change at night, when markets whose hours move with them are closed
    noons = (datetime.fromtimestamp(int(day) * DAY_MS // 1000 + DAY_MS // 2000, UTC).astimezone(clock) for day in days)
    offsets = np.array([round(noon.utcoffset().total_seconds() * 1000) for noon in noons], dtype=np.int64)  # type: ignore[union-attr]
    moved = times + offsets[place]
    return _Local(moved // DAY_MS + EPOCH_DAY, moved % DAY_MS // MINUTE_MS)


def _week(local: _Local, length: int) -> Week | None:
    """The hours of each day of the week, Monday first; ``None`` where a bar lies outside of them."""
    weekday = (local.day - 1) % 7
    found, counted = [], []
    for day in range(7):
        mine = weekday == day
        count = len(np.unique(local.day[mine]))
        minutes, counts = np.unique(local.minute[mine], return_counts=True)
        usual = minutes[counts >= max(_USUAL * count, 1)]
        if len(usual) < len(minutes):
            return None
        found.append(_spans(usual.tolist(), length))
        counted.append(count)
    found = [_seen_once(found, counted, day) if counted[day] == 1 else found[day] for day in range(7)]
    return tuple(found)


def _seen_once(week: Sequence[Hours], counted: Sequence[int], day: int) -> Hours:
    """The hours of a day of the week (Monday: 0) that came once, on which a bar may be missing.

    They are those of another day that came more often, where they lie within them; around a weekend, which may begin
    and end within a day, where it has a break that the other has not.
    """
    mine = week[day]
    for spans, count in zip(week, counted, strict=True):
        inside = all(any(first <= begin and end <= last for first, last in spans) for begin, end in mine)
        if count > 1 and inside and (day < _FRIDAY or len(mine) > len(spans)):
            return spans
    return mine


def _lacking(local: _Local, length: int, week: Week) -> float:
    """The share of bars that are missing on days with any, by the hours of a week."""
    days = np.unique(local.day)
    each = np.array([sum(-(-(end - first) // length) for first, end in spans) for spans in week])
    expected = int(each[(days - 1) % 7].sum())
    return 1 - len(local.day) / expected


def _spans(minutes: Sequence[int], length: int) -> Hours:
    """The spans that bars of one length make up which open at these minutes of a day; none goes over midnight."""
    spans: list[tuple[int, int]] = []
    for minute in minutes:
        end = min(minute + length, DAY_MINUTES)
        if spans and minute <= spans[-1][1]:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((minute, end))
    return tuple(spans)


def _sessions(local: _Local, length: int, zone: str, week: Week, name: str) -> tuple[Sessions, list[str]]:
    days, starts, counts = np.unique(local.day, return_index=True, return_counts=True)
    every = np.arange(int(days[0]), int(days[-1]) + 1)
    working = every[np.array([bool(week[(day - 1) % 7]) for day in every.tolist()])]
    closed = holidays_among((working - EPOCH_DAY) * DAY_MS, np.isin(working, days))
    short = []
    for day, start, count in zip(days.tolist(), starts.tolist(), counts.tolist(), strict=True):
        minutes = local.minute[start : start + count].tolist()
        usual = [minute for first, end in week[(day - 1) % 7] for minute in range(first, end, length)]
        if len(minutes) < len(usual) and minutes == usual[: len(minutes)]:
            short.append((date.fromordinal(day), minutes[-1] + length))
    if len(short) > _SHORT * len(days):
        short = []
    sessions = Sessions(zone=zone, hours=week)
    sessions = replace(
        sessions,
        closed=frozenset(date.fromordinal(day // DAY_MS + EPOCH_DAY) for day in closed.tolist()),
        short=tuple(short),
    )
    told = f"{name}: the market is taken to be open as the bars show it: {sessions}"
    notes = [f"{told}\nsay when it is open where that is not right: sessions="]
    if short:
        count = f"{len(short)} days end" if len(short) > 1 else "1 day ends"
        notes.append(f"{name}: {count} early, the first on {short[0][0]}; with sessions= there would be holes")
    return sessions, [*notes, *told_holidays(closed.tolist(), name)]
