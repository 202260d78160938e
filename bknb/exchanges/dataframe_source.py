"""A source over candles in memory, of one measured length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..domain.formatting import plain_number
from ..domain.interval import DAY_MS, MINUTE, MINUTE_MS, WEEK, interval_ms
from ..errors import UnknownName, UsageError
from ..market.candles import Candles
from ..market.measured_bar_length import Spacing
from ..market.sessions import Sessions, as_sessions
from ..market.table_notes import TableNotes
from ..market.trading_days_of_bars import trading_days
from ..market.trading_hours_of_bars import trading_hours
from .table_bar_length import Bars, bars_of, spacing_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..market.shifted_bar_grid import BarGrid
    from .adjusted_for_splits_and_dividends import Adjustments


class FrameSource:
    """Candles held in memory, of one symbol or of many: minutes, or longer bars of one measured length.

    Parameters
    ----------
    candles
        ``Candles`` that are served under every symbol, or a mapping from symbol to ``Candles``.
    name, sessions
        As in :func:`from_frame`.

    Attributes
    ----------
    base_interval : str
        How long its bars are, as an interval, measured: runs on them fill orders at their opens and in their ranges.
    sessions : Sessions or None
        When the market is open, declared, or of longer bars than minutes as they show it; of daily bars the days on
        which it trades.
    symbol_sessions : mapping of str to (Sessions or None)
        The same for each symbol, whose holidays may be its own.
    notes : TableNotes
        What was repaired or decided on loading, and of which symbols.
    reopen : callable or None
        Reads its file again and returns another such source; ``None`` for candles that came from no file.
    adjustments : dict of (str or None) to Adjustments
        For each symbol, or ``None`` for every one, what candles were multiplied by because of splits and dividends.
    remark : str
        What else run cards are to say of the candles of every symbol.

    Raises
    ------
    DataError
        When the candles are of no interval, or of several lengths; the message holds what was measured.

    Examples
    --------
    >>> import asyncio
    >>> rows = [(minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(10)]
    >>> source = FrameSource(Candles.from_rows(rows), name="mine")
    >>> asyncio.run(source.get_candles("BTCUSDT", "1m", 120_000, 3)).timestamp.tolist()
    [120000, 180000, 240000]
    """

    intervals: tuple[str, ...] | None = (MINUTE,)
    page_limit: int | None = None
    is_local = True
    in_memory = True  # its candles live as long as the source
    negative = False  # whether prices at or below zero are traded

    def __init__(
        self, candles: Candles | Mapping[str, Candles], *, name: str = "frame", sessions: Sessions | str | None = None
    ) -> None:
        self.name = name
        self.sessions = as_sessions(sessions)
        self.reopen: Callable[[], FrameSource] | None = None
        self.adjustments: dict[str | None, Adjustments] = {}
        self.remark = ""
        self.symbol_sessions: Mapping[str, Sessions | None] = {}
        self.told_of_hours: tuple[str, ...] = ()
        self.notes = notes = TableNotes()
        if not isinstance(candles, Candles | Mapping):
            raise UsageError(f"a FrameSource needs bknb.Candles or a mapping from symbol to them, got {candles!r:.80}")
        given = [(None, candles)] if isinstance(candles, Candles) else candles.items()
        bars = bars_of(dict[str | None, Candles](given), name, notes, self.sessions)
        self._every: Candles | None = bars.candles.get(None)
        self._by_symbol = {symbol: part for symbol, part in bars.candles.items() if symbol is not None}
        self.base_interval = bars.interval
        self.intervals = (bars.interval,)
        self._grids = bars.grids
        if interval_ms(bars.interval) == DAY_MS:
            times = {symbol: part.timestamp for symbol, part in bars.candles.items()}
            days, told = trading_days(times, self.sessions, name)
            kinds = set(days.values())
            self.sessions = kinds.pop() if len(kinds) == 1 else self.sessions
            self.symbol_sessions = {symbol: each for symbol, each in days.items() if symbol is not None}
            self.notes = notes + told
        elif bars.interval == WEEK:
            self._learn_closed_weeks(bars)
        elif interval_ms(bars.interval) > MINUTE_MS and self.sessions is None:
            told = self._learn_hours(bars)
            self.told_of_hours = tuple(told)
            self.notes = notes + told

    def _learn_closed_weeks(self, bars: Bars) -> None:
        """Of the declared trading hours keep which weeks have none: a bar is a whole week whatever its hours are."""
        declared, self.sessions = self.sessions, None
        if declared is None:
            return
        from ..market.weeks_of_bars import closed_weeks  # few tables hold weeks

        found = {symbol: closed_weeks(part.timestamp, declared) for symbol, part in bars.candles.items()}
        self.sessions = found.get(None)
        self.symbol_sessions = {symbol: each for symbol, each in found.items() if symbol is not None}

    def _learn_hours(self, bars: Bars) -> TableNotes:
        """Take the trading hours of each symbol as its bars show them, where they do; what is told of it."""
        notes = TableNotes()
        found: dict[str | None, Sessions | None] = {}
        for symbol, part in bars.candles.items():
            found[symbol], told = trading_hours(part.timestamp, interval_ms(bars.interval), self.name)
            notes.add(told, symbol)
            hours, grid = found[symbol], self._grids.get(symbol)
            if hours is not None and grid is not None:
                self._grids[symbol] = grid.in_sessions_of(hours)
        self.sessions = found.get(None)
        self.symbol_sessions = {symbol: each for symbol, each in found.items() if symbol is not None}
        return notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was repaired or decided on loading; a feed reports it."""
        return tuple(self.notes)

    @property
    def symbols_of_warning(self) -> Mapping[str, frozenset[str]]:
        """Whose candles a warning is about, where it is not all of them; a feed reports it where they are read."""
        return self.notes.symbols

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The symbols it serves; ``None``: the same candles under any name."""
        return None if self._every is not None else tuple(self._by_symbol)

    def bar_grid(self, symbol: str) -> BarGrid | None:
        """Where the bars of a symbol open that do not open at multiples of their length; ``None``: they do."""
        return self._grids.get(None if self._every is not None else symbol)

    def spacing(self, symbol: str) -> Spacing | None:
        """The measured length of the bars of a symbol; ``None`` where there are fewer than two.

        Raises
        ------
        UnknownName
            For a symbol that is not in the data.
        """
        return spacing_in(self._of(symbol).timestamp, self.sessions, self.name)

    def describe(self, symbol: str) -> str:
        """How the candles of a symbol were adjusted, for run cards; empty where nothing is known of it."""
        made = self.adjustments.get(None if self._every is not None else symbol)
        return "".join(f", {each}" for each in (made, self.remark) if each)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The candles of the ``limit`` intervals from ``since`` on, as far as they are there (a view, not a copy).

        Raises
        ------
        UnknownName
            For a symbol that is not in the data.
        UsageError
            For another interval than that of its bars; a feed resamples.
        """
        step = interval_ms(interval)
        if interval != self.base_interval:
            base = self.base_interval
            makes = "makes no shorter ones of them" if step % interval_ms(base) else "resamples them"
            raise UsageError(f"{self.name!r} holds {base} candles, not {interval}; bknb.get_candles {makes}")
        candles = self._of(symbol)
        first, end = np.searchsorted(candles.timestamp, [since, since + limit * step])
        return candles[int(first) : int(end)]

    def _of(self, symbol: str) -> Candles:
        candles = self._every if self._every is not None else self._by_symbol.get(symbol)
        if candles is None:
            raise UnknownName("symbol", symbol, known=self._by_symbol)
        return candles

    def format_price(self, symbol: str, price: float) -> str:  # noqa: ARG002 -- the port's signature
        """A price in plain decimals."""
        return plain_number(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:  # noqa: ARG002 -- the port's signature
        """A quantity in plain decimals."""
        return plain_number(quantity)


def frame_in_sessions(
    candles: Mapping[str, Candles], sessions: Mapping[str, Sessions | None], *, name: str
) -> FrameSource:
    """A source over a part of the candles of another, with the hours that the other tells: none are read off the part.

    Parameters
    ----------
    candles
        By symbol, as a feed gave them.
    sessions
        When the market of each symbol is open, as :func:`bknb.market.source_hours.sessions_of`; ``None``: always.
    name
        As in :func:`from_frame`.

    Examples
    --------
    >>> day = Candles.from_rows([(hour * 3_600_000, 1.0, 1.0, 1.0, 1.0, 1.0) for hour in range(8)])
    >>> source = frame_in_sessions({"A": day}, {"A": as_sessions("fx")}, name="mine")
    >>> source.base_interval, source.symbol_sessions["A"] == as_sessions("fx")
    ('1h', True)
    """
    kinds = set(sessions.values())
    known = kinds.pop() if len(kinds) == 1 else None
    daily = all(bool((part.timestamp % DAY_MS == 0).all()) for part in candles.values())  # dates need no labels
    source = FrameSource(candles, name=name, sessions=None if daily else known)
    source.sessions, source.symbol_sessions, source.notes = known, {**sessions}, TableNotes()
    if known is None and source._grids:  # it may have counted from hours that this part alone shows
        grids = bars_of(dict[str | None, Candles](candles.items()), name, TableNotes()).grids
        hours = {symbol: sessions.get(symbol) for symbol in candles}
        source._grids = {
            symbol: grid if symbol is None or (own := hours[symbol]) is None else grid.in_sessions_of(own)
            for symbol, grid in grids.items()
        }
    return source
