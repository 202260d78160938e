"""Which bars a table holds: minutes, or longer ones of one measured length."""

from __future__ import annotations

from datetime import date
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, EPOCH_DAY, INTERVAL_MS, MINUTE, MINUTE_MS, WEEK, WEEK_MS
from ..errors import DataError, UsageError
from ..market.candle_rows import in_order
from ..market.candles import COLUMNS, Candles
from ..market.measured_bar_length import Spacing, are_weekly, length_name, measured
from ..market.trading_days_of_bars import day_labels, moved_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid
    from ..market.table_notes import TableNotes

_USUAL: Final = 0.25  # of distances are alike in bars whose sessions have breaks
_TRIED: Final = 4  # distances that may be the length of such bars
_MONTHS: Final = (
    "take daily bars: months are made of them, ctx.candles('1M', 12), and at='month' asks once in each; or weekly ones"
)
_ADVICE: Final = "bknb makes longer candles of shorter ones, and never shorter ones of longer ones"


class Bars(NamedTuple):
    """Series of one length, by symbol, and that length as an interval.

    ``grids`` says where the bars of a symbol open, where that is not at multiples of their length.
    """

    candles: dict[str | None, Candles]
    interval: str
    grids: dict[str | None, BarGrid]


_DAYS_OF_EXCEL: Final = 100_000  # until the year 2173


def bars_of(
    series: Mapping[str | None, Candles], name: str, notes: TableNotes, sessions: Sessions | None = None
) -> Bars:
    """The series in order of time, once it is clear how long their bars are; daily ones bear their UTC day.

    Parameters
    ----------
    series
        Candles by symbol.
    name
        The name of the table, for messages.
    notes
        What was sorted, and decided about days, is added to them.
    sessions
        The declared trading hours: they say to which day a daily bar belongs.

    Raises
    ------
    DataError
        Bars are of no interval bknb knows, of several lengths, or not on its grid; the message holds what was measured.
    UsageError
        The symbols have bars of different lengths, or days that begin at different times.
    """
    where = {symbol: name if symbol is None else f"{name}, {symbol}" for symbol in series}
    ordered = {symbol: _in_order(part, where[symbol], notes, symbol) for symbol, part in series.items()}
    spacings = {symbol: spacing_in(part.timestamp, sessions, where[symbol]) for symbol, part in ordered.items()}
    longer = {symbol: found for symbol, found in spacings.items() if found is not None and found.wider_than(MINUTE_MS)}
    if not longer:
        for symbol, part in ordered.items():
            _check_minutes(part, spacings[symbol], where[symbol])
            notes.add(_too_few(spacings[symbol], where[symbol]), symbol)
        return Bars(ordered, MINUTE, {})
    first = next(iter(longer))
    interval = longer[first].interval
    for symbol, found in spacings.items():
        is_other = found is not None and (
            found.interval != interval if symbol in longer else found.step % longer[first].step
        )
        if is_other and found is not None:
            raise UsageError(
                f"{where[first]} has {interval} bars, and {where[symbol]} has {found.interval} bars\n"
                "make a source of each"
            )
    for symbol in ordered:
        _check_length(longer.get(symbol, longer[first]), where[symbol])
    if interval == "1d":
        ordered = _of_days(ordered, name, where, longer[first], sessions, notes)
    if interval == WEEK:
        return _weekly(ordered, where, notes)
    grids: dict[str | None, BarGrid] = {}
    for symbol, part in ordered.items():
        found = longer.get(symbol, longer[first])
        if (grid := _grid_of(part.timestamp, found.step, found, where[symbol], sessions)) is not None:
            grids[symbol] = grid
    return Bars(ordered, interval, grids)


def spacing_in(times: NDArray[np.int64], sessions: Sessions | None, where: str) -> Spacing | None:
    """The length of bars; where sessions with a break open at times that are no whole number of bars apart, too.

    Half an hour divides all distances of hours from 09:30 to 12:00 and from 13:00 on, and no two are half an hour
    apart: taken for bars of half an hour they would be known half an hour too early. Where each part of a session has
    one bar, which ends with it, its length is the shortest interval that covers the longest part.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC milliseconds, ascending.
    sessions
        The declared trading hours.
    where
        What the bars are called in messages.

    Raises
    ------
    DataError
        Sessions seem to have breaks, and it is not known when.
    """
    spacing = measured(times)
    if spacing is None or spacing.equal or not spacing.wider_than(MINUTE_MS):
        return spacing
    lengths, counts = np.unique(np.diff(times), return_counts=True)
    by_count = np.argsort(-counts, kind="stable")
    lengths, counts = lengths[by_count], counts[by_count]
    if sessions is not None:
        from ..market.shifted_bar_grid import in_sessions_grid  # few bars need it

        for length in lengths[:_TRIED].tolist():
            if spacing.step < length < DAY_MS and (grid := in_sessions_grid(times, length, sessions)) is not None:
                step = _known_length(length, grid)
                equal, multiples = int(counts[lengths == step].sum()), int(counts[lengths % step == 0].sum())
                longer = int(counts[lengths > step].sum())
                return replace(spacing, step=step, equal=equal, longer=longer, multiples=multiples)
    usual = int(lengths[0])
    if counts[0] < _USUAL * len(times) or not spacing.step < usual < DAY_MS:
        return spacing
    raise DataError(
        f"{where}: bars of one length are needed; most are {length_name(usual)} apart, others no whole number of it\n"
        f"measured: {spacing}\nwhere the market has a break, say when it is open: sessions="
    )


def _in_order(candles: Candles, where: str, notes: TableNotes, symbol: str | None) -> Candles:
    told: list[str] = []
    candles = in_order(candles, where, told)
    notes.add(told, symbol)
    return candles


def _known_length(apart: int, grid: BarGrid) -> int:
    """The length of bars that lie so far apart (ms): one for each part of a session may be of any that covers it."""
    longest = grid.longest_session()
    if apart in INTERVAL_MS.values() or longest > apart:
        return apart
    return min((each for each in INTERVAL_MS.values() if longest <= each < DAY_MS), default=apart)


def _check_length(spacing: Spacing, where: str) -> None:
    measure = f"got candles spaced {spacing.interval}\nmeasured: {spacing}"
    apart = not spacing.equal and spacing.step >= DAY_MS  # quarters, years, weeks with holidays: no two are neighbours
    if spacing.interval not in INTERVAL_MS or apart:
        advice = _MONTHS if apart or spacing.step > DAY_MS else _ADVICE
        raise DataError(f"{where}: bars of {' '.join(INTERVAL_MS)} are needed, {measure}\n{advice}")
    if spacing.closer:
        raise DataError(f"{where}: bars of one length are needed, {measure}\nleave out the rows that belong to no bar")


def _too_few(spacing: Spacing | None, where: str) -> list[str]:
    """That a few candles, all as far apart, were taken for minutes, which they may not be."""
    if spacing is None or spacing.step <= MINUTE_MS or spacing.equal < spacing.count:
        return []
    told = f"{where}: {spacing.count + 1} candles that lie {spacing.interval} apart are too few to tell their length"
    return [f"{told}, and are taken for one-minute candles; give more of them where they are longer"]


def _of_days(
    series: dict[str | None, Candles],
    name: str,
    where: Mapping[str | None, str],
    spacing: Spacing,
    sessions: Sessions | None,
    notes: TableNotes,
) -> dict[str | None, Candles]:
    """Daily bars with the UTC midnight of their day: they may be seen beside each other, so all by one rule."""
    times = {symbol: part.timestamp for symbol, part in series.items()}
    if not any((each % DAY_MS).any() for each in times.values()):
        return series
    days = {symbol: day_labels(each, sessions) for symbol, each in times.items()}
    for symbol, found in days.items():
        if found is None or (np.diff(found) <= 0).any():
            raise DataError(
                f"{where[symbol]}: the times of day of daily bars must be alike, got candles spaced "
                f"{spacing.interval}\nmeasured: {spacing}\n"
                "give the day each belongs to, or the zone of its midnight: tz="
            )
    if sessions is None:
        every = day_labels(np.concatenate(list(times.values())))
        if every is None:
            raise _differing(times, where)
        days = dict(zip(times, np.split(every, np.cumsum([len(each) for each in times.values()])[:-1]), strict=True))
    for symbol, each in times.items():
        notes.add(moved_note(each, name, sessions), symbol)
    labels = {symbol: found for symbol, found in days.items() if found is not None}
    return {symbol: _relabelled(part, labels[symbol]) for symbol, part in series.items()}


def _weekly(series: dict[str | None, Candles], where: Mapping[str | None, str], notes: TableNotes) -> Bars:
    """Weekly bars with the day on which each begins: they may be seen beside each other, so all with one day."""
    from ..market.weekly_bar_grid import week_grid  # few tables hold weeks
    from ..market.weeks_of_bars import weeks_of

    begins: dict[int, str] = {}
    for symbol, part in sorted(series.items(), key=lambda each: not are_weekly(each[1].timestamp)):
        if not len(part):
            continue
        opens, _, told = weeks_of(part.timestamp, "open", where[symbol])
        if begins and not are_weekly(part.timestamp):  # too few rows to show the day that its weeks begin with
            begin = next(iter(begins))
            if (off := (opens - begin) % WEEK_MS).any():
                day = utc_text(int(opens[off > 0][0]))[:10]
                told = [*told, f"{where[symbol]}: the weekly bar of {day} is taken for the week that day lies in"]
            opens = opens - off
        notes.add(told, symbol)
        series[symbol] = part if (opens == part.timestamp).all() else _relabelled(part, opens)
        begins.setdefault(int(opens[0]) % WEEK_MS, where[symbol])
    if len(begins) > 1:
        (first, one), (second, other), *_ = begins.items()
        days = [f"{date.fromordinal(each // DAY_MS + EPOCH_DAY):%A}" for each in (first, second)]
        raise UsageError(
            f"{one} has weeks that begin on {days[0]}, and {other} weeks that begin on {days[1]}\n"
            "one would be known before it is over: make a source of each"
        )
    grid = week_grid(next(iter(begins)))
    return Bars(series, WEEK, dict.fromkeys(series, grid))


def _differing(times: Mapping[str | None, NDArray[np.int64]], where: Mapping[str | None, str]) -> UsageError:
    """The days of two symbols begin at different times: one would be known before it is over beside the other."""
    pairs = combinations([symbol for symbol, each in times.items() if len(each)], 2)
    one, other = next(pair for pair in pairs if day_labels(np.concatenate([times[each] for each in pair])) is None)
    stamps = [utc_text(int(times[symbol][0]))[11:16] for symbol in (one, other)]
    return UsageError(
        f"{where[one]} has days that begin at {stamps[0]} UTC, and {where[other]} days that begin at {stamps[1]} UTC\n"
        "one would be known before it is over\n"
        "give the dates of trading days alone, make a source of each, or say when their market is open: sessions="
    )


def _relabelled(candles: Candles, times: NDArray[np.int64]) -> Candles:
    columns = {name: getattr(candles, name) for name in COLUMNS}
    return Candles.from_columns(**{**columns, "timestamp": times})


def _grid_of(
    times: NDArray[np.int64], step: int, spacing: Spacing, where: str, sessions: Sessions | None
) -> BarGrid | None:
    """Where bars open that do not open at multiples of their length; ``None``: all do."""
    off = times % step
    if not off.any():
        return None
    if step < DAY_MS:
        from ..market.shifted_bar_grid import bar_grid  # few bars do

        if (found := bar_grid(times, step, sessions)) is not None:
            return found
    usual = int(np.bincount(off // MINUTE_MS).argmax()) * MINUTE_MS
    at = int(np.argmax(off != usual))
    hours = "say when the market is open: sessions=, " if sessions is None else f"the market is open {sessions}\n"
    raise DataError(
        f"{where}: {spacing.interval} bars must count from the open of each session, or all open the same time after a "
        f"multiple of {spacing.interval} in UTC\n"
        f"the bar of {utc_text(int(times[0]))} opens {int(off[0]) // MINUTE_MS} minutes after one, that of "
        f"{utc_text(int(times[at]))} {int(off[at]) // MINUTE_MS} minutes\n"
        f"measured: {spacing}\n{hours}leave out bars that belong to no session, {_finer(times, step)}, or daily ones"
    )


def _finer(times: NDArray[np.int64], step: int) -> str:
    """What to take in place of bars that open off their grid: the longest ones on whose grid all of these open."""
    fitting = [name for name, length in INTERVAL_MS.items() if length < step and not (times % length).any()]
    if not fitting or fitting[-1] == MINUTE:
        return "take shorter bars"
    return f"take {fitting[-1]} bars, which may open then (longer candles are made of them), shorter ones"


def _check_minutes(candles: Candles, spacing: Spacing | None, where: str) -> None:
    if spacing is None or (spacing.equal == spacing.count and spacing.step % MINUTE_MS == 0):
        return
    times = candles.timestamp
    steps = np.diff(times)
    off = steps % MINUTE_MS != 0
    if not off.any():
        return
    at = int(np.argmin(np.where(off, steps, steps.max() + 1)))
    hint = "; times in seconds must be multiplied by 1000" if spacing.step * 1000 == MINUTE_MS else ""
    if int(times[-1]) < _DAYS_OF_EXCEL:
        hint = "; numbers of days, as of Excel: pandas.to_datetime(column, unit='D', origin='1899-12-30') makes times"
    raise DataError(
        f"{where}: two candles are only {int(steps[at])} ms apart (at {utc_text(int(times[at]))})\n"
        f"bknb needs one-minute candles with times in UTC milliseconds{hint}; measured: {spacing}"
    )
