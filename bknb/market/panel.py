"""Candles of several symbols on one calendar, as arrays with a row for each time and a column for each symbol."""

from __future__ import annotations

from functools import reduce
from operator import is_
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from ..domain.formatting import minute_text
from ..domain.interval import DAY_MS, interval_ms
from ..domain.whole_number import whole_number
from ..errors import NotEnoughData, UsageError
from .candles import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .calendar_panel import CalendarMatrix
    from .series import Series
    from .window import Window

Calendar: TypeAlias = Literal["union", "common"]

_HOW: Final = ("union", "common")
_HEADROOM: Final = 64  # rows that are loaded beyond what was asked, so that a slightly longer look back finds them
_FARTHEST_MS: Final = 366 * DAY_MS  # rows are looked for behind holes and closed hours of this length in all


class Panel:
    """Candles of several symbols at the same times, oldest first; prices and volumes are NaN where nothing was.

    Attributes
    ----------
    symbols : tuple of str
        One for each column.
    interval : str
    timestamp : ndarray of int64, shape (n,)
        Open times, UTC milliseconds; of session days, weeks and months when the first of the markets opens.
    open, high, low, close : ndarray of float64, shape (n, symbols)
        Prices in quote currency, read-only.
    volume : ndarray of float64, shape (n, symbols)
        Traded volumes in base currency, read-only.
    """

    __slots__ = ("_columns", "_first", "_last", "_matrix", "_when", "interval", "symbols", "timestamp")

    def __init__(self, matrix: PanelMatrix | CalendarMatrix, first: int, last: int, when: int) -> None:
        self.symbols, self.interval = matrix.symbols, matrix.interval
        self._matrix, self._first, self._last, self._when = matrix, first, last, when
        self._columns: dict[str, NDArray[np.float64]] = {}
        self.timestamp: NDArray[np.int64] = matrix.times[first:last].copy()
        self.timestamp.setflags(write=False)

    def _column(self, name: str) -> NDArray[np.float64]:
        """A copy: an array cannot lead back to later rows."""
        found = self._columns.get(name)
        if found is None:
            found = self._matrix.rows(name, self._first, self._last, self._when)
            found.setflags(write=False)
            self._columns[name] = found
        return found

    @property
    def open(self) -> NDArray[np.float64]:
        """First traded prices."""
        return self._column("open")

    @property
    def high(self) -> NDArray[np.float64]:
        """Highest traded prices."""
        return self._column("high")

    @property
    def low(self) -> NDArray[np.float64]:
        """Lowest traded prices."""
        return self._column("low")

    @property
    def close(self) -> NDArray[np.float64]:
        """Last traded prices."""
        return self._column("close")

    @property
    def volume(self) -> NDArray[np.float64]:
        """Traded volumes."""
        return self._column("volume")

    def __len__(self) -> int:
        return len(self.timestamp)

    def __repr__(self) -> str:
        times = f"{minute_text(int(self.timestamp[0]))} .. {minute_text(int(self.timestamp[-1]))} UTC"
        return f"Panel({len(self)} x {self.interval} of {', '.join(self.symbols)}, {times})"


class PanelMatrix:
    """All candles of some symbols in memory on one calendar, for the panels of a run.

    Parameters
    ----------
    symbols, interval
        Whose candles, and of which length.
    series
        Their candles in memory.
    how
        ``"union"`` or ``"common"``.
    """

    def __init__(self, symbols: tuple[str, ...], interval: str, series: tuple[Series, ...], how: str) -> None:
        self.symbols, self.interval, self.series = symbols, interval, series
        times = [each.candles.timestamp for each in series]
        self.times: NDArray[np.int64] = reduce(np.union1d if how == "union" else np.intersect1d, times).astype(np.int64)
        self.since = max(each.since for each in series)  # from there on all of them are known
        self._step = interval_ms(interval)
        self._columns: dict[str, NDArray[np.float64]] = {}

    def closed(self, when: int) -> int:
        """How many of the rows have closed at ``when`` (UTC ms)."""
        return int(self.times.searchsorted(when - self._step, "right"))

    def begin(self, when: int, limit: int) -> int | None:
        """The open time (UTC ms) of the first of ``limit`` rows closed at ``when``; ``None``: not all are here."""
        first = self.closed(when) - limit
        if first < 0:
            return None
        found = int(self.times[first])
        return found if found >= self.since else None

    def begins(self, when: int) -> dict[str, int]:
        """Where the data of each symbol begins of which a candle has closed at ``when``; UTC ms."""
        return {
            symbol: int(series.candles.timestamp[0])
            for symbol, series in zip(self.symbols, self.series, strict=True)
            if series.available(when) > 0
        }

    def rows(self, name: str, first: int, last: int, when: int) -> NDArray[np.float64]:  # noqa: ARG002 -- all have closed
        """Some rows of a column that have closed at ``when`` (UTC ms), in memory of their own."""
        return self.column(name)[first:last].copy()

    def column(self, name: str) -> NDArray[np.float64]:
        """One column of all candles, shape (times, symbols)."""
        found = self._columns.get(name)
        if found is None:
            found = np.full((len(self.times), len(self.symbols)), np.nan)
            row = COLUMNS.index(name)
            for place, series in enumerate(self.series):
                candles = series.candles
                at = np.searchsorted(self.times, candles.timestamp)
                here = at < len(self.times)
                here[here] = self.times[at[here]] == candles.timestamp[here]
                found[at[here], place] = candles.block[row, here]
            self._columns[name] = found
        return found


def panel_of(window: Window, symbols: Sequence[str], interval: str, limit: int, how: str, when: int) -> Panel:
    """The ``limit`` newest rows whose candles have closed at ``when`` (UTC ms). See ``Context.panel``.

    Raises
    ------
    UsageError
        For symbols, an interval, a number or a calendar that are none.
    NotEnoughData
        When there are fewer rows, or a candle that has closed is not here yet.
    """
    limit = whole_number("limit", limit, least=1, hint="it says how many rows, such as 60")
    if how not in _HOW:
        raise UsageError(f"how must be 'union' or 'common', got {how!r:.40}")
    key = (_names(symbols), interval, how)
    by_calendar = any(window.is_by_calendar(symbol, interval) for symbol in key[0])
    matrix = _of_calendar(window, key, limit, when) if by_calendar else _of_clock(window, key, limit, when)
    window.matrices[key] = matrix
    last = matrix.closed(when)
    if last < limit:
        raise NotEnoughData(_too_few(matrix, how, limit, last, when), available=last)
    return Panel(matrix, last - limit, last, when)


def _of_calendar(window: Window, key: tuple[tuple[str, ...], str, str], limit: int, when: int) -> CalendarMatrix:
    from .calendar_panel import CalendarMatrix, calendar_matrix_of  # few look at them

    found = window.matrices.get(key)
    known = found if isinstance(found, CalendarMatrix) else None
    return calendar_matrix_of(window, key, limit, when, known=known, farthest=_FARTHEST_MS)


def _of_clock(window: Window, key: tuple[tuple[str, ...], str, str], limit: int, when: int) -> PanelMatrix:
    _, interval, how = key
    interval_ms(interval)  # which says what an interval is
    known = window.matrices.get(key)
    begin = known.begin(when, limit) if isinstance(known, PanelMatrix) else None
    if isinstance(known, PanelMatrix) and begin is not None:
        series = window.load_several(known.symbols, interval, begin, when)
        return known if all(map(is_, series, known.series)) else PanelMatrix(*key[:2], series, how)
    return _loaded(window, *key, limit, when)


def _names(symbols: object) -> tuple[str, ...]:
    names = tuple(symbols) if isinstance(symbols, (list, tuple)) else ()
    if not names or not all(isinstance(each, str) and each for each in names) or len(set(names)) < len(names):
        example = "['BTCUSDT', 'ETHUSDT']"
        raise UsageError(f"symbols must be a list of different symbols such as {example}, got {symbols!r:.80}")
    return names


def _loaded(window: Window, symbols: tuple[str, ...], interval: str, how: str, limit: int, when: int) -> PanelMatrix:
    """The candles of the symbols from so early on that ``limit`` rows have closed at ``when``, if there are as many."""
    step = interval_ms(interval)
    begin = min(window.reach_back(symbol, when, step, limit) for symbol in symbols)
    since = min(window.reach_back(symbol, begin, step, _HEADROOM) for symbol in symbols)
    may_be_farther = window.allow_gaps or (how == "common" and any(window.sessions_of(each) for each in symbols))
    earliest = max(0, when - max(_FARTHEST_MS, 4 * limit * step)) if may_be_farther else since
    while True:
        matrix = PanelMatrix(symbols, interval, window.load_several(symbols, interval, max(since, 0), when), how)
        if matrix.begin(when, limit) is not None or since <= earliest:
            return matrix
        since = max(earliest, when - max(2 * (when - since), DAY_MS))


def _too_few(matrix: PanelMatrix | CalendarMatrix, how: str, limit: int, last: int, when: int) -> str:
    """Why there are only ``last`` rows, and what to do."""
    begins = matrix.begins(when)
    wanted = f"{limit} rows of closed {matrix.interval} candles were asked for at {minute_text(when)} UTC"
    none = [symbol for symbol in matrix.symbols if symbol not in begins]
    if how == "common" and none:
        return f"{wanted}, and there is none of {', '.join(none)} before that moment\nleave it out, or take how='union'"
    if not begins:
        return f"{wanted}, and there is none of {', '.join(none)} before that moment"
    newest = max(begins, key=begins.__getitem__) if how == "common" else min(begins, key=begins.__getitem__)
    return (
        f"{wanted}, only {last} exist: the data of {newest} begins at {minute_text(begins[newest])} UTC\n"
        "start the frame later or ask for fewer rows" + (", or take how='union'" if how == "common" else "")
    )
