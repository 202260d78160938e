"""The candles of several symbols in rows of one calendar, of which the panels of a run are parts."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.interval import DAY_MS
from ..domain.market_clock_protocol import NEVER
from .candles import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from .candles import Candles
    from .candles_of_one_symbol import Series

_FARTHEST_MS: Final = 366 * DAY_MS  # rows are looked for behind holes and closed hours of this length in all


class SymbolCandles(NamedTuple):
    """The candles of one symbol, which row each of them is in, when it closes, and from when on all are known (UTC ms).

    ``rows`` ascend: the times at which they open (UTC ms), or the ordinals of the days they bear. ``made_of`` is what
    the candles were taken from: while it is the same object, they are the same.
    """

    made_of: object
    candles: Candles
    rows: NDArray[np.int64]
    closes: NDArray[np.int64]
    since: int


class PanelMatrix:
    """All candles of some symbols in memory on one calendar, for the panels of a run.

    A row has closed once the first of its candles has, with ``how="common"`` once all of them have.

    Parameters
    ----------
    symbols, interval
        Whose candles, and of which length.
    known
        Their candles in memory.
    how
        ``"union"`` or ``"common"``.
    opens
        Returns when some rows open, UTC ms; ``None``: they are their times themselves.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        interval: str,
        known: tuple[SymbolCandles, ...],
        how: str,
        opens: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None,
    ) -> None:
        self.symbols, self.interval, self.known = symbols, interval, known
        self.since = max(each.since for each in known)  # from there on all of them are known
        join = np.union1d if how == "union" else np.intersect1d
        rows: NDArray[np.int64] = reduce(join, [each.rows for each in known]).astype(np.int64)
        times = rows if opens is None else opens(rows)
        rows, self.times = rows[times >= self.since], times[times >= self.since]
        self._places = [_places(each.rows, rows) for each in known]
        first, last = np.full(len(rows), NEVER), np.zeros(len(rows), dtype=np.int64)
        for each, (at, here) in zip(known, self._places, strict=True):
            first[at] = np.minimum(first[at], each.closes[here])
            last[at] = np.maximum(last[at], each.closes[here])
        self._closed = np.maximum.accumulate(first if how == "union" else last)
        self._closes = None if np.array_equal(first, last) else self._table([each.closes for each in known], NEVER)
        self._columns: dict[str, NDArray[np.float64]] = {}

    def _table(self, values: Iterable[NDArray[Any]], fill: float) -> NDArray[Any]:
        """One value of each candle, shape (times, symbols); ``fill`` where there is no candle."""
        found = np.full((len(self.times), len(self.symbols)), fill)
        for place, ((at, here), each) in enumerate(zip(self._places, values, strict=True)):
            found[at, place] = each[here]
        return found

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
        if self._closes is not None:
            found[self._closes[first:last] > when] = np.nan
        return found

    def column(self, name: str) -> NDArray[np.float64]:
        """One column of all candles, shape (times, symbols)."""
        found = self._columns.get(name)
        if found is None:
            row = COLUMNS.index(name)
            found = self._columns[name] = self._table([each.candles.block[row] for each in self.known], np.nan)
        return found


def matrix_back_to(
    load: Callable[[int], PanelMatrix], since: int, limit: int, when: int, *, length: int, farther: bool
) -> PanelMatrix:
    """The candles from so early on that ``limit`` rows have closed at ``when`` (UTC ms), if there are as many.

    Parameters
    ----------
    load
        Gives those from a moment (UTC ms) on.
    since
        Where they are expected to begin, UTC ms.
    length
        How long (ms) a row is at the most.
    farther
        Whether more are looked for behind holes and hours in which a market is closed.
    """
    earliest = max(0, when - max(_FARTHEST_MS, 4 * limit * length)) if farther else since
    while True:
        matrix = load(max(since, 0))
        since = min(since, matrix.since)
        if matrix.closed(when) >= limit or since <= earliest:
            return matrix
        since = max(earliest, when - max(2 * (when - since), length, DAY_MS))


def of_series(series: Series) -> SymbolCandles:
    """Candles in rows by the times at which they open."""
    return SymbolCandles(series, series.candles, series.candles.timestamp, series.closes, series.since)


def _places(mine: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The places among ``rows`` of those of ``mine`` that are there, and which of them are."""
    at = np.searchsorted(rows, mine)
    here = at < len(rows)
    here[here] = rows[at[here]] == mine[here]
    return at[here], here
