"""Panels of session days, weeks and months: a row for each date that sessions bear, a column for each symbol.

Markets of other calendars close a day at other moments. A row is there once the first of its candles has closed, with
``how="common"`` once all of them have, and NaN stands where a candle has not closed yet, as where nothing was.
"""

from __future__ import annotations

from functools import reduce
from operator import is_
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.interval import DAY_MS, EPOCH_DAY, floor_to
from ..domain.market_clock import NEVER
from .calendar_candles import LENGTHS_MS
from .candles import COLUMNS
from .series import Series

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    from .calendar_candles import MadeCandles
    from .candles import Candles
    from .window import Window

    _Source: TypeAlias = MadeCandles | Series

_HEADROOM: Final = 8  # rows that are loaded beyond what was asked, so that a slightly longer look back finds them


class _Known(NamedTuple):
    """The candles of one symbol: which day each bears, when it closed, from when on all are known (UTC ms).

    ``begin`` is the open (UTC ms) of a day; ``None``: its market does not trade on it.
    """

    candles: Candles
    days: NDArray[np.int64]
    closes: NDArray[np.int64]
    begin: Callable[[int], int | None]
    since: int


class CalendarMatrix:
    """All candles of some symbols in memory by the days they bear, for the panels of a run.

    Parameters
    ----------
    symbols, interval
        Whose candles, and of which length.
    sources
        Their candles in memory.
    how
        ``"union"`` or ``"common"``.
    """

    def __init__(self, symbols: tuple[str, ...], interval: str, sources: tuple[_Source, ...], how: str) -> None:
        self.symbols, self.interval, self.sources = symbols, interval, sources
        self.known = known = tuple(_of_utc(each) if isinstance(each, Series) else _made(each) for each in sources)
        self.since = max(each.since for each in known)  # from there on all of them are known
        join = np.union1d if how == "union" else np.intersect1d
        days: NDArray[np.int64] = reduce(join, [each.days for each in known]).astype(np.int64)
        begins = ([each.begin(day) for each in known] for day in days.tolist())
        times = np.array([min(each for each in some if each is not None) for some in begins], dtype=np.int64)
        self._days = days[times >= self.since]
        self.times: NDArray[np.int64] = times[times >= self.since]
        self._closes = np.full((len(self._days), len(symbols)), NEVER)
        for place, each in enumerate(known):
            at, here = self._places(each)
            self._closes[at, place] = each.closes[here]
        closed = self._closes.min(axis=1) if how == "union" else self._closes.max(axis=1)
        self._closed = np.maximum.accumulate(closed)
        self._columns: dict[str, NDArray[np.float64]] = {}

    def _places(self, known: _Known) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The rows of the candles of a symbol, and which of these candles have one."""
        at = np.searchsorted(self._days, known.days)
        here = at < len(self._days)
        here[here] = self._days[at[here]] == known.days[here]
        return at[here].astype(np.int64), here

    def closed(self, when: int) -> int:
        """How many of the rows have closed at ``when`` (UTC ms)."""
        return int(self._closed.searchsorted(when, "right"))

    def begins(self, when: int) -> dict[str, int]:
        """Where the data of each symbol begins of which a candle has closed at ``when``; UTC ms."""
        return {
            symbol: int(each.candles.timestamp[0])
            for symbol, each in zip(self.symbols, self.known, strict=True)
            if len(each.closes) and int(each.closes[0]) <= when
        }

    def rows(self, name: str, first: int, last: int, when: int) -> NDArray[np.float64]:
        """Some rows of a column, in memory of their own: NaN where no candle has closed at ``when`` (UTC ms)."""
        found = self.column(name)[first:last].copy()
        found[self._closes[first:last] > when] = np.nan
        return found

    def column(self, name: str) -> NDArray[np.float64]:
        """One column of all candles, shape (times, symbols)."""
        found = self._columns.get(name)
        if found is None:
            found = np.full((len(self.times), len(self.symbols)), np.nan)
            for place, each in enumerate(self.known):
                at, here = self._places(each)
                found[at, place] = each.candles.block[COLUMNS.index(name), here]
            self._columns[name] = found
        return found


def calendar_matrix_of(
    window: Window,
    key: tuple[tuple[str, ...], str, str],
    limit: int,
    when: int,
    *,
    known: CalendarMatrix | None,
    farthest: int,
) -> CalendarMatrix:
    """The candles of symbols from so early on that ``limit`` rows have closed at ``when``, if there are as many.

    Parameters
    ----------
    key
        Symbols, interval and calendar.
    when
        UTC ms.
    known
        The one that was made before.
    farthest
        For how long (ms) rows are looked for behind holes and days on which not all markets trade.

    Raises
    ------
    NotEnoughData
        When a candle that has closed is not here yet.
    """
    if known is not None and known.closed(when) >= limit:
        known = _matrix(window, key, known.since, when, known)
        if known.closed(when) >= limit:
            return known
    (symbols, interval, how), calendar = key, window.calendar_candles()
    length = LENGTHS_MS.get(interval, DAY_MS)
    since = min(calendar.begin(symbol, interval, limit + _HEADROOM, when) for symbol in symbols)
    earliest = since
    if window.allow_gaps or how == "common":
        earliest = max(0, when - max(farthest, 4 * limit * length))
    while True:
        matrix = known = _matrix(window, key, max(since, 0), when, known)
        since = min(since, matrix.since)
        if matrix.closed(when) >= limit or since <= earliest:
            return matrix
        since = max(earliest, when - max(2 * (when - since), length))


def _matrix(
    window: Window, key: tuple[tuple[str, ...], str, str], since: int, when: int, before: CalendarMatrix | None
) -> CalendarMatrix:
    """The candles of the symbols, loaded from ``since`` (UTC ms) on; ``before`` where nothing has changed since."""
    symbols, interval, how = key
    by_calendar = [symbol for symbol in symbols if window.is_by_calendar(symbol, interval)]
    others = [symbol for symbol in symbols if symbol not in by_calendar]
    if others:
        window.load_several(others, interval, floor_to(since, DAY_MS), when)
    window.load_several(by_calendar, window.base, since, when)
    calendar, in_memory = window.calendar_candles(), window.series()
    sources = tuple(
        in_memory[symbol, interval] if symbol in others else calendar.made(symbol, interval, when) for symbol in symbols
    )
    if before is not None and all(map(is_, sources, before.sources)):
        return before
    return CalendarMatrix(symbols, interval, sources, how)


def _made(made: MadeCandles) -> _Known:
    return _Known(made.candles, made.days, made.closes, made.begins.get, made.of.since)


def _of_utc(series: Series) -> _Known:
    """The days of a symbol without sessions: those of UTC."""
    times = series.candles.timestamp
    days = times // DAY_MS + EPOCH_DAY
    return _Known(series.candles, days, times + series.step, lambda day: (day - EPOCH_DAY) * DAY_MS, series.since)
