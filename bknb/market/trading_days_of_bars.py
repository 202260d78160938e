"""Daily bars: the day each belongs to, and the days on which their market trades."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from .sessions import Sessions
from .table_notes import TableNotes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_HOUR_MS: Final = 60 * MINUTE_MS
_EAST_MS: Final = 11 * _HOUR_MS  # midnight of New Zealand, on the UTC day before; west of Greenwich it is earlier
_EUROPE_MS: Final = 22 * _HOUR_MS  # midnight of Central Europe in summer
_LONGEST_HOLIDAY: Final = 8  # working days in a row that are taken for holidays where no calendar is known
_HOLIDAYS_A_YEAR: Final = 25  # working days without a bar in 365 days, with _MORE; with more of them they are holes
_MORE: Final = 4
_SHORTEST_SESSION: Final = 180  # minutes; a UTC day with no more open ones belongs to the session beside it
_OFTEN: Final = 3  # a day of the week that never has a bar is closed when it came so often
_SELDOM: Final = 0.1  # and one that has a bar in so few weeks is open in those alone
_ALL_DAY: Final = ((0, 24 * 60),)
_SPELLED_OUT: Final = 3
_YEAR_MS: Final = 365 * DAY_MS


def day_labels(times: NDArray[np.int64], sessions: Sessions | None = None) -> NDArray[np.int64] | None:
    """For daily bars the UTC midnight of the day each belongs to (UTC ms); ``None`` where that cannot be told.

    A day begins at midnight of some zone, or with its session, and the clocks may change between two: the time of day
    of all lies within an hour. What opens before 11:00 UTC belongs to that UTC day, and ends that much later than it:
    beside bars of another cut it would be known too early. What opens from 11:00 UTC on belongs to the next UTC day,
    which is the date of a midnight in Asia. Declared sessions say which of the two it is: the one in which the market
    is open; or, where the market is closed after each time and was open before it, the day whose session ended then.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC ms; of several symbols, whose bars may be seen beside each other, those of all.
    sessions
        The declared trading hours.

    Examples
    --------
    >>> new_york, tokyo = np.array([5, 28, 52]) * 3_600_000, np.array([15, 39]) * 3_600_000
    >>> (day_labels(new_york) // 86_400_000).tolist(), (day_labels(tokyo) // 86_400_000).tolist()
    ([0, 1, 2], [1, 2])
    >>> day_labels(np.concatenate([new_york, tokyo])) is None
    True
    """
    past = times % DAY_MS
    around = (past + DAY_MS // 2) % DAY_MS
    if not len(past):
        return times
    if int(past.max()) - int(past.min()) <= _HOUR_MS:
        is_late = int(past.max()) >= _EAST_MS
        return times - past + np.where((past > 0) & (is_late and _is_next(times, sessions)), DAY_MS, 0)
    if int(around.max()) - int(around.min()) > _HOUR_MS:
        return None
    return times - past + np.where(past >= DAY_MS // 2, DAY_MS, 0)


def _is_next(times: NDArray[np.int64], sessions: Sessions | None) -> bool:
    """Whether bars that open late in a UTC day belong to the next one."""
    if sessions is None:
        return True
    ahead = sessions.open_minutes(times, DAY_MS)
    if _closes(times, sessions, ahead):
        return False
    rest = np.zeros(len(times), dtype=np.int64)
    past = times % DAY_MS
    for each in np.unique(past).tolist():
        rest[past == each] = sessions.open_minutes(times[past == each], DAY_MS - each)
    return int(np.count_nonzero(2 * rest < ahead)) > int(np.count_nonzero(2 * rest > ahead))


def _closes(times: NDArray[np.int64], sessions: Sessions, ahead: NDArray[np.int64]) -> bool:
    """Whether these are the ends of sessions rather than their beginnings, or a midnight before."""
    before = sessions.open_minutes(times - DAY_MS, DAY_MS)
    return int(np.count_nonzero(before)) > int(np.count_nonzero(ahead))


def moved_note(times: NDArray[np.int64], where: str, sessions: Sessions | None = None) -> list[str]:
    """What is told of daily bars (open times, UTC ms) whose times leave a doubt about the day they belong to.

    Examples
    --------
    >>> moved_note(np.array([20, 44]) * 3_600_000, "mine")[0].splitlines()[0]
    'mine: daily bars stamped 20:00 UTC are taken for those of the next UTC date'
    >>> moved_note(np.array([5, 29]) * 3_600_000, "mine")
    []
    """
    past = times % DAY_MS
    if not len(past) or not past.any():
        return []
    stamp = f"daily bars stamped {utc_text(int(times[0]))[11:16]} UTC"
    if sessions is not None:
        if not _closes(times, sessions, sessions.open_minutes(times, DAY_MS)):
            return []
        return [f"{where}: {stamp} bear the close of their session, and are taken for those of its day"]
    if int(past.min()) < _EAST_MS or int(past.max()) >= _EUROPE_MS:
        return []
    advice = "that is right for midnight in Asia; for a session's open or close give dates instead, or sessions="
    return [f"{where}: {stamp} are taken for those of the next UTC date\n{advice}"]


def trading_days(
    series: Mapping[str | None, NDArray[np.int64]], sessions: Sessions | None, name: str
) -> tuple[dict[str | None, Sessions | None], TableNotes]:
    """For each symbol the days on which it trades, as sessions of whole UTC days, and what was decided.

    ``None``: every day. Where sessions are declared, a day of theirs is one with more than three open hours. Otherwise
    days of the week that never have a bar are closed, and so are up to eight working days in a row without one, unless
    there are more in a year than a market has holidays: then the data has holes. A day of the week that has a bar in
    less than one week of ten is open on those days alone.

    Parameters
    ----------
    series
        Open times (UTC ms, ascending, each a UTC midnight) by symbol.
    sessions
        The declared trading hours.
    name
        The name of the data, for the notes.

    Examples
    --------
    >>> week = np.array([4, 5, 6, 7, 8, 11, 12, 13, 15]) * 86_400_000  # from a Monday on; a Wednesday is missing
    >>> days, notes = trading_days({None: week}, None, "mine")
    >>> print(days[None])
    mon 00:00-24:00; tue 00:00-24:00; wed 00:00-24:00; thu 00:00-24:00; fri 00:00-24:00 (UTC)
    >>> list(notes)
    ['mine: 1 working day without a bar is taken for a holiday (1970-01-15); with sessions= it would be a hole']
    """
    found: dict[str | None, Sessions | None] = {}
    holidays: dict[tuple[int, ...], list[str | None]] = {}
    for symbol, times in series.items():
        found[symbol], closed = _days_of(times, sessions)
        holidays.setdefault(closed, []).append(symbol)
    notes = TableNotes()
    for closed, symbols in holidays.items():
        some = "" if len(holidays) == 1 else ", " + ", ".join(symbol or "" for symbol in symbols[:_SPELLED_OUT])
        more = f" and {len(symbols) - _SPELLED_OUT} more" if some and len(symbols) > _SPELLED_OUT else ""
        notes.add(told_holidays(closed, f"{name}{some}{more}"), *(symbols if some else ()))
    return found, notes


def _days_of(times: NDArray[np.int64], sessions: Sessions | None) -> tuple[Sessions | None, tuple[int, ...]]:
    """The days on which one symbol trades, and those taken for holidays (UTC ms)."""
    if not len(times):
        return sessions, ()
    days = np.arange(int(times[0]), int(times[-1]) + DAY_MS, DAY_MS, dtype=np.int64)
    weekday = (days // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday
    has_bar = np.isin(days, times)
    if sessions is not None:
        expected = (sessions.open_minutes(days, DAY_MS) > _SHORTEST_SESSION) | has_bar
        traded = np.array([bool(expected[weekday == day].any()) for day in range(7)])
        return _sessions(traded, days[~expected & traded[weekday]]), ()
    regular = np.array([_trades(has_bar, weekday, day) for day in range(7)])
    if regular.all():
        return None, ()
    working = days[regular[weekday]]
    holidays = holidays_among(working, has_bar[regular[weekday]])
    traded = regular | np.array([bool(has_bar[weekday == day].any()) for day in range(7)])
    absent = days[~has_bar & (traded & ~regular)[weekday]]
    return _sessions(traded, np.concatenate([holidays, absent])), tuple(holidays.tolist())


def holidays_among(working: NDArray[np.int64], has_bar: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of working days (UTC ms) those without a bar that are holidays by their number."""
    missing = np.flatnonzero(~has_bar)
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    closed = working[np.array([at for run in runs if len(run) <= _LONGEST_HOLIDAY for at in run], dtype=np.int64)]
    span = min(int(working[-1] - working[0]), _YEAR_MS)
    most = _MORE + _HOLIDAYS_A_YEAR * span / _YEAR_MS
    begins = np.searchsorted(closed, closed - _YEAR_MS, side="right")
    too_many = np.flatnonzero(np.arange(1, len(closed) + 1) - begins > most)
    is_hole = np.zeros(len(closed), dtype=np.bool_)
    for last in too_many.tolist():
        is_hole[begins[last] : last + 1] = True
    return closed[~is_hole]


def _trades(has_bar: NDArray[np.bool_], weekday: NDArray[np.int64], day: int) -> bool:
    """Whether a market trades on a day of the week; few weeks show it for Saturday and Sunday alone."""
    mine = has_bar[weekday == day]
    if mine.any():
        return float(mine.mean()) >= _SELDOM
    weekend = day in (5, 6) and not has_bar[(weekday == 5) | (weekday == 6)].any()
    return not weekend and len(mine) < _OFTEN


def _sessions(traded: NDArray[np.bool_], closed: NDArray[np.int64]) -> Sessions | None:
    if traded.all() and not len(closed):
        return None
    week = Sessions(zone="UTC", hours=tuple(_ALL_DAY if each else () for each in traded))
    return replace(week, closed=frozenset(date.fromordinal(int(each) // DAY_MS + _EPOCH) for each in closed))


_EPOCH: Final = date(1970, 1, 1).toordinal()


def told_holidays(holidays: Sequence[int], where: str) -> list[str]:
    """What is told of days without a bar (UTC ms) that are taken for holidays."""
    if not holidays:
        return []
    named = ", ".join(utc_text(day)[:10] for day in holidays[:_SPELLED_OUT])
    more = f" and {len(holidays) - _SPELLED_OUT} more" if len(holidays) > _SPELLED_OUT else ""
    if len(holidays) == 1:
        what = "1 working day without a bar is taken for a holiday"
        return [f"{where}: {what} ({named}); with sessions= it would be a hole"]
    what = f"{len(holidays):,} working days without a bar are taken for holidays"
    return [f"{where}: {what} ({named}{more}); with sessions= those that are none would be holes"]
