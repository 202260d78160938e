"""Weekly bars: the week each belongs to, by the day its row bears, and the weeks in which their market is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, EPOCH_DAY, MINUTE_MS, WEEK_MS
from ..errors import DataError, UsageError
from .sessions import Sessions
from .trading_days_of_bars import day_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES: Final = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_TUESDAY, _THURSDAY, _SATURDAY = 1, 3, 5  # Monday being 0; 1970-01-01 was a Thursday
_QUARTER_MS: Final = 15 * MINUTE_MS
_LAST_CLOSE_MS: Final = 22 * 60 * MINUTE_MS  # of forex and futures, in winter
_SHOWN: Final = 3  # rows in a message
_FEW: Final = 3  # rows that show at which time of day weeks are stamped before one more is called a last trade
_MOVED: Final = 0.25  # of rows bear another day of the week than the others, as it was a holiday
_ALL_DAY: Final = ((0, 24 * 60),)


class Weeks(NamedTuple):
    """When weekly bars open, row by row, and which rows are of a week that is not over.

    Attributes
    ----------
    opens : ndarray of int64
        UTC ms; all a whole number of weeks apart.
    running : ndarray of bool
        The last row, which bears the day of the last trade, and that of the week it lies in.
    notes : list of str
        What was decided.
    """

    opens: NDArray[np.int64]
    running: NDArray[np.bool_]
    notes: list[str]


def weeks_of(times: NDArray[np.int64], stamp: str | None, where: str, clocks: NDArray[np.int64] | None = None) -> Weeks:
    """When weekly bars open of which each row bears a moment.

    A row bears the day on which its week begins (``"open"``) or ends (``"close"``), which is then a part of it; with
    neither, a Monday is taken for the first day. Where that day was a holiday it may bear the one beside it. What is
    no midnight may be the moment at which a week opens or closes: no week is known before that.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        What rows bear, UTC ms, in any order.
    stamp
        ``"open"``, ``"close"``, or ``None``: not said.
    where
        The name of the series, for messages.
    clocks : ndarray of int64, shape (n,), optional
        What the clocks of their zone showed then, ms since 1970; ``None``: not known. Midnights are dates.

    Raises
    ------
    DataError
        The rows bear days that are of no weeks, or two lie in one.
    UsageError
        They bear another day than Monday, and it is not said whether weeks begin or end with it.

    Examples
    --------
    >>> mondays = np.array([4, 11, 18, 25]) * 86_400_000
    >>> (weeks_of(mondays + 5 * 3_600_000, None, "mine").opens // 86_400_000).tolist()  # midnights of New York
    [4, 11, 18, 25]
    >>> (weeks_of(mondays + 4 * 86_400_000, "close", "mine").opens // 86_400_000).tolist()  # each ends with a Friday
    [2, 9, 16, 23]
    """
    labels, is_dated, last_trade = _dates(times, clocks, where)
    shown, usual, counts = _shown(labels)
    if stamp != "close" and usual == _TUESDAY and not is_dated and (labels > times).any():
        labels = times - times % DAY_MS  # the open of a session, as of New York: no weeks begin on Tuesdays
        shown, usual, counts = _shown(labels)
    moved = shown != usual
    if int(moved.sum()) > _MOVED * len(labels):
        raise DataError(
            f"{where}: weekly bars bear the days of their weeks that are alike, and of these "
            + ", ".join(f"{counts[day]:,} are {_NAMES[day]}" for day in np.flatnonzero(counts).tolist())
            + "\ngive the day with which each week begins"
        )
    if stamp is None and usual:
        raise UsageError(
            f"{where}: these weekly bars bear {_NAMES[usual]}, the first {utc_text(int(labels.min()))[:10]}\n"
            f'where a week ends with that day, as pandas\' resample("W") says it: stamp="close"; where it begins with '
            'it, as MetaTrader writes it: stamp="open"; else give the Monday of each week'
        )
    notes: list[str] = []
    if stamp != "close" and (later := labels > times).any():
        first = utc_text(int(times[later].min()))
        notes.append(f"{where}: weekly bars stamped {first[11:16]} UTC are taken for those from the next UTC date on")
    if stamp == "close":
        # A midnight or an early hour is the date of the last day; what else is late may be the moment of its close.
        at_end = not is_dated and bool((labels > times).any()) and _are_closes(np.delete(times, times.argmax()), usual)
        if not usual and not at_end:
            raise UsageError(
                f'{where}: with stamp="close" weekly bars that bear Mondays may end with that day or when it begins\n'
                "give the Monday with which each week begins and leave stamp= out, or the moment of its close, as 23:59"
            )
        ends = labels if at_end else labels + DAY_MS
        end = (usual + (not at_end)) % 7
        opens = ends + (end - _weekday(ends)) % 7 * DAY_MS - WEEK_MS
        last = _NAMES[(end - 1) % 7][:-1]
        notes.append(f"{where}: weekly bars are taken for those of the seven days up to the end of each {last}")
    else:
        opens = labels - (shown - usual) % 7 * DAY_MS
    twice, running = _twice(opens, times)
    running |= np.isin(opens, opens[last_trade])
    if twice is not None:
        raise DataError(
            f"{where}: two weekly bars lie in the week of {utc_text(int(opens[twice[0]]))[:10]}: the rows of "
            f"{' and '.join(utc_text(int(times[each])) for each in twice)}\n"
            "leave out the rows that belong to no week"
        )
    if running.any():
        last = utc_text(int(times.max()))
        notes.append(f"{where}: left out: the row of {last}, which is no week, and the week that was not over by then")
    if (told := moved & ~running).any():
        first = utc_text(int(labels[told].min()))[:10]
        count = int(told.sum())
        what = "1 weekly bar bears" if count == 1 else f"{count:,} weekly bars bear"
        notes.append(
            f"{where}: {what} another day than {_NAMES[usual]} (first {first}), taken for the week that day lies in"
        )
    return Weeks(opens, running, notes)


def _dates(
    times: NDArray[np.int64], clocks: NDArray[np.int64] | None, where: str
) -> tuple[NDArray[np.int64], bool, list[int]]:
    """The date each row bears, whether all are midnights on their own clocks, and which row is that of a last trade."""
    if clocks is not None and not (clocks % DAY_MS).any():
        return clocks, True, []
    if (labels := day_labels(times)) is not None:
        return labels, False, []
    newest = int(times.argmax())
    rest = np.delete(times, newest)
    is_dated = clocks is not None and not (np.delete(clocks, newest) % DAY_MS).any()
    labels = np.delete(clocks, newest) if clocks is not None and is_dated else day_labels(rest)
    if labels is None or len(rest) < _FEW:
        raise DataError(
            f"{where}: the times of day of weekly bars must be alike, the first are "
            f"{', '.join(utc_text(int(each)) for each in np.sort(times)[:_SHOWN])}\n"
            "give the day with which each week begins, or the zone of its midnight: tz="
        )
    return np.insert(labels, newest, times[newest] // DAY_MS * DAY_MS), is_dated, [newest]


def _weekday(days: NDArray[np.int64]) -> NDArray[np.int64]:
    return (days // DAY_MS + _THURSDAY) % 7


def _shown(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
    """The day of the week of each date, Monday being 0, the one of most, and of how many each is."""
    shown = _weekday(labels)
    counts = np.bincount(shown, minlength=7)
    return shown, int(counts.argmax()), counts


def _are_closes(times: NDArray[np.int64], usual: int) -> bool:
    """Whether late moments are those at which weeks close; ``usual`` is the day of the week that follows most.

    Else they are midnights of the last day in a zone east of Greenwich, on whose clocks that day is still to come.
    Midnights are at whole quarters of an hour; weeks close on Fridays, until 22:00 UTC, or with Sundays.
    """
    past = times % DAY_MS
    if (past % _QUARTER_MS).any():
        return True
    return usual in (_SATURDAY, 0) and int(past.max()) <= _LAST_CLOSE_MS


def _twice(opens: NDArray[np.int64], times: NDArray[np.int64]) -> tuple[tuple[int, int] | None, NDArray[np.bool_]]:
    """The first two rows of one week at different moments, where they are not the last ones; and those that are."""
    order = np.lexsort((times, opens))
    same = (np.diff(opens[order]) == 0) & (np.diff(times[order]) != 0)
    running = np.zeros(len(opens), dtype=np.bool_)
    found = np.flatnonzero(same)
    if not len(found):
        return None, running
    if opens[order[found[0]]] == opens.max():
        return None, opens == opens.max()
    return (int(order[found[0]]), int(order[found[0] + 1])), running


def closed_weeks(times: NDArray[np.int64], sessions: Sessions) -> Sessions | None:
    """The weeks without a session, as hours in which every other day is open; ``None`` where there is none.

    A week is closed where its market has no session in it and no bar: as that of the Chinese New Year.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        When bars open, ascending, UTC ms, a whole number of weeks apart.
    sessions
        The declared trading hours.
    """
    if not len(times):
        return None
    weeks = np.arange(int(times[0]), int(times[-1]) + 1, WEEK_MS, dtype=np.int64)
    closed = weeks[(sessions.open_minutes(weeks, WEEK_MS) == 0) & ~np.isin(weeks, times)]
    if not len(closed):
        return None
    days = (closed // DAY_MS)[:, None] + np.arange(7) + EPOCH_DAY
    return replace(
        Sessions(zone="UTC", hours=(_ALL_DAY,) * 7),
        closed=frozenset(date.fromordinal(day) for day in days.ravel().tolist()),
    )
