"""Daily bars: the day each belongs to, and the days on which their market trades."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from .sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_HOUR_MS: Final = 60 * MINUTE_MS
_EAST_MS: Final = 11 * _HOUR_MS  # midnight of New Zealand, on the UTC day before; west of Greenwich it is earlier
_EUROPE_MS: Final = 22 * _HOUR_MS  # midnight of Central Europe in summer
_LONGEST_HOLIDAY: Final = 5  # working days in a row that are taken for holidays where no calendar is known
_SHORTEST_SESSION: Final = 180  # minutes; a UTC day with no more open ones belongs to the session beside it
_OFTEN: Final = 3  # a day of the week that never has a bar is closed when it came so often
_ALL_DAY: Final = ((0, 24 * 60),)
_SPELLED_OUT: Final = 3


def day_labels(times: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """For daily bars the UTC midnight of the day each belongs to (UTC ms); ``None`` where that cannot be told.

    A day begins at midnight of some zone, or with its session, and the clocks may change between two: the time of day
    of all lies within an hour. What opens from 11:00 UTC on belongs to the next UTC day, which is the date of a
    midnight in Asia; a day is never taken to be over before it is.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC ms.

    Examples
    --------
    >>> new_york, tokyo = np.array([5, 28, 52]) * 3_600_000, np.array([15, 39]) * 3_600_000
    >>> (day_labels(new_york) // 86_400_000).tolist(), (day_labels(tokyo) // 86_400_000).tolist()
    ([0, 1, 2], [1, 2])
    """
    past = times % DAY_MS
    least, most = (int(past.min()), int(past.max())) if len(past) else (0, 0)
    if most - least <= _HOUR_MS:
        return times - past if most < _EAST_MS else times - past + np.where(past > 0, DAY_MS, 0)
    around = (past + DAY_MS // 2) % DAY_MS
    if int(around.max()) - int(around.min()) > _HOUR_MS:
        return None
    return times - past + np.where(past >= DAY_MS // 2, DAY_MS, 0)


def moved_note(times: NDArray[np.int64], where: str) -> list[str]:
    """What is told of daily bars (open times, UTC ms) that bear a time at which a session may as well open or close.

    Examples
    --------
    >>> moved_note(np.array([20, 44]) * 3_600_000, "mine")[0].splitlines()[0]
    'mine: daily bars stamped 20:00 UTC are taken for those of the next UTC date'
    >>> moved_note(np.array([5, 29]) * 3_600_000, "mine")
    []
    """
    past = times % DAY_MS
    if not len(past) or int(past.min()) < _EAST_MS or int(past.max()) >= _EUROPE_MS:
        return []
    stamp = utc_text(int(times[0]))[11:16]
    advice = "that is right for midnight in Asia; for a session's open or close give dates instead"
    return [f"{where}: daily bars stamped {stamp} UTC are taken for those of the next UTC date\n{advice}"]


def trading_days(
    times: Sequence[NDArray[np.int64]], sessions: Sessions | None, where: str
) -> tuple[Sessions | None, list[str]]:
    """The days on which a market with daily bars trades, as sessions of whole UTC days, and what was decided.

    ``None``: every day. Where sessions are declared, a day of theirs is one with more than three open hours. Otherwise
    days of the week that never have a bar are closed, and so are up to five working days in a row without one.

    Parameters
    ----------
    times
        Open times (UTC ms, ascending, each a UTC midnight) of every symbol.
    sessions
        The declared trading hours.
    where
        The name of the data, for the note.

    Examples
    --------
    >>> week = np.array([4, 5, 6, 7, 8, 11, 12, 13, 15]) * 86_400_000  # from a Monday on; a Wednesday is missing
    >>> days, notes = trading_days([week], None, "mine")
    >>> print(days)
    mon 00:00-24:00; tue 00:00-24:00; wed 00:00-24:00; thu 00:00-24:00; fri 00:00-24:00 (UTC)
    >>> notes
    ['mine: 1 working day without a bar is taken for a holiday (1970-01-15); with sessions= it would be a hole']
    """
    known = np.unique(np.concatenate(list(times))) if times else np.empty(0, np.int64)
    if not len(known):
        return sessions, []
    days = np.arange(int(known[0]), int(known[-1]) + DAY_MS, DAY_MS, dtype=np.int64)
    weekday = (days // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday
    has_bar = np.isin(days, known)
    if sessions is not None:
        expected = (sessions.open_minutes(days, DAY_MS) > _SHORTEST_SESSION) | has_bar
        traded = np.array([bool(expected[weekday == day].any()) for day in range(7)])
        return _sessions(traded, days[~expected & traded[weekday]]), []
    traded = np.array([_trades(has_bar, weekday, day) for day in range(7)])
    if traded.all():
        return None, []
    missing = np.flatnonzero(~has_bar[traded[weekday]])
    working = days[traded[weekday]]
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    holidays = [int(working[at]) for run in runs if len(run) <= _LONGEST_HOLIDAY for at in run]
    return _sessions(traded, np.array(holidays, dtype=np.int64)), _told(holidays, where)


def _trades(has_bar: NDArray[np.bool_], weekday: NDArray[np.int64], day: int) -> bool:
    """Whether a market trades on a day of the week; few weeks show it for Saturday and Sunday alone."""
    if has_bar[weekday == day].any():
        return True
    weekend = day in (5, 6) and not has_bar[(weekday == 5) | (weekday == 6)].any()
    return not weekend and int(np.count_nonzero(weekday == day)) < _OFTEN


def _sessions(traded: NDArray[np.bool_], closed: NDArray[np.int64]) -> Sessions | None:
    if traded.all() and not len(closed):
        return None
    week = Sessions(zone="UTC", hours=tuple(_ALL_DAY if each else () for each in traded))
    return replace(week, closed=frozenset(date.fromordinal(int(each) // DAY_MS + _EPOCH) for each in closed))


_EPOCH: Final = date(1970, 1, 1).toordinal()


def _told(holidays: list[int], where: str) -> list[str]:
    if not holidays:
        return []
    named = ", ".join(utc_text(day)[:10] for day in holidays[:_SPELLED_OUT])
    more = f" and {len(holidays) - _SPELLED_OUT} more" if len(holidays) > _SPELLED_OUT else ""
    if len(holidays) == 1:
        what = "1 working day without a bar is taken for a holiday"
        return [f"{where}: {what} ({named}); with sessions= it would be a hole"]
    what = f"{len(holidays):,} working days without a bar are taken for holidays"
    return [f"{where}: {what} ({named}{more}); with sessions= those that are none would be holes"]
