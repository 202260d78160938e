"""Candles of several symbols on one calendar, as arrays with a row for each time and a column for each symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from ..domain.formatting import minute_text
from ..domain.interval import interval_ms
from ..domain.whole_number import whole_number
from ..errors import NotEnoughData, UsageError
from .panel_matrix import PanelMatrix, matrix_back_to, of_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .window import Window

Calendar: TypeAlias = Literal["union", "common"]

_HOW: Final = ("union", "common")
_HEADROOM: Final = 64  # rows that are loaded beyond what was asked, so that a slightly longer look back finds them


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

    def __init__(self, matrix: PanelMatrix, first: int, last: int, when: int) -> None:
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
    if by_calendar:
        from .calendar_panel import calendar_matrix as matrix_of  # few look at them
    else:
        matrix_of = _of_clock
    matrix = window.matrices[key] = matrix_of(window, key, limit, when)
    last = matrix.closed(when)
    if last < limit:
        raise NotEnoughData(_too_few(matrix, how, limit, last, when), available=last)
    return Panel(matrix, last - limit, last, when)


def _of_clock(window: Window, key: tuple[tuple[str, ...], str, str], limit: int, when: int) -> PanelMatrix:
    """The candles of the symbols from so early on that ``limit`` rows have closed at ``when``, if there are as many."""
    symbols, interval, how = key
    step = interval_ms(interval)  # which says what an interval is
    known = window.matrices.get(key)

    def load(since: int) -> PanelMatrix:
        series = window.load_several(symbols, interval, since, when)
        if known is not None and all(each is old.made_of for each, old in zip(series, known.known, strict=True)):
            return known
        return PanelMatrix(symbols, interval, tuple(map(of_series, series)), how)

    if known is not None and (first := known.closed(when) - limit) >= 0:
        return load(int(known.times[first]))
    begin = min(window.reach_back(symbol, when, step, limit) for symbol in symbols)
    since = min(window.reach_back(symbol, begin, step, _HEADROOM) for symbol in symbols)
    farther = window.allow_gaps or (how == "common" and any(window.sessions_of(each) for each in symbols))
    return matrix_back_to(load, since, limit, when, length=step, farther=farther)


def _names(symbols: object) -> tuple[str, ...]:
    names = tuple(symbols) if isinstance(symbols, (list, tuple)) else ()
    if not names or not all(isinstance(each, str) and each for each in names) or len(set(names)) < len(names):
        example = "['BTCUSDT', 'ETHUSDT']"
        raise UsageError(f"symbols must be a list of different symbols such as {example}, got {symbols!r:.80}")
    return names


def _too_few(matrix: PanelMatrix, how: str, limit: int, last: int, when: int) -> str:
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
