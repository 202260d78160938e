"""Candles of other intervals and symbols beside the rows of a ``get_signals``: for each row what had closed by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import interval_ms
from ..errors import NotEnoughData, UsageError
from .bar_slots import bar_close
from .calendar_candles import LENGTHS_MS
from .candle_closes import candle_closes
from .candles import Candles
from .candles_of_one_symbol import Series, end_of
from .fetch_loop import fetch_now
from .reads_of_context import run_of
from .rows_asked import RowsAsked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .calendar_candles import MadeCandles
    from .strategy_context import Context
    from .window import Window

Used: TypeAlias = "str | tuple[str, str]"
"""What stands in ``uses=``: an interval of the strategy's own symbol, or a symbol and an interval."""

_NOT_STALE: Final = np.iinfo(np.int64).max


class AlignedCandles:
    """Candles of another interval or symbol, of which each row of ``get_signals`` has the newest closed one.

    Attributes
    ----------
    open, high, low, close, volume : ndarray of float64, shape (rows,)
        Of the newest candle that had closed when the candle of the row closed; NaN where there is none.
    timestamp : ndarray of int64, shape (rows,)
        When it opened, UTC ms; 0 where there is none.
    candles : Candles
        The candles themselves, up to that of the last row; at the first row ``lookback`` of them have closed.
    """

    def __init__(self, candles: Candles, places: NDArray[np.int64]) -> None:
        self.candles = candles
        self._places = places  # of each row's candle; -1: there is none

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._places)

    def __repr__(self) -> str:
        return f"AlignedCandles(rows={len(self)}, candles={len(self.candles)})"

    def rows(self, values: ArrayLike) -> NDArray[np.float64]:
        """Values of :attr:`candles`, one for each, as values of rows: NaN where a row has no candle.

        Examples
        --------
        >>> from bknb.market.candles import Candles
        >>> two = Candles.from_rows([(0, 1, 1, 1, 1, 1), (3_600_000, 2, 2, 2, 2, 1)])
        >>> AlignedCandles(two, np.array([-1, 0, 0, 1])).rows([10.0, 20.0]).tolist()
        [nan, 10.0, 10.0, 20.0]
        """
        given = np.asarray(values, dtype=np.float64)
        if given.shape != (len(self.candles),):
            raise UsageError(
                f"rows(values) takes a value for each of its {len(self.candles)} candles, got the shape {given.shape}\n"
                "make them of .candles, such as rows(pandas.Series(four.candles.close).rolling(20).mean())"
            )
        found = np.full(len(self), np.nan)
        there = self._places >= 0
        found[there] = given[self._places[there]]
        return found

    def _column(self, name: str) -> NDArray[np.float64]:
        found = self.rows(getattr(self.candles, name))
        found.flags.writeable = False
        return found

    @cached_property
    def open(self) -> NDArray[np.float64]:  # noqa: D102 -- an attribute
        return self._column("open")

    @cached_property
    def high(self) -> NDArray[np.float64]:  # noqa: D102
        return self._column("high")

    @cached_property
    def low(self) -> NDArray[np.float64]:  # noqa: D102
        return self._column("low")

    @cached_property
    def close(self) -> NDArray[np.float64]:  # noqa: D102
        return self._column("close")

    @cached_property
    def volume(self) -> NDArray[np.float64]:  # noqa: D102
        return self._column("volume")

    @cached_property
    def timestamp(self) -> NDArray[np.int64]:  # noqa: D102
        found = np.zeros(len(self), dtype=np.int64)
        there = self._places >= 0
        found[there] = self.candles.timestamp[self._places[there]]
        found.flags.writeable = False
        return found


class Others(dict[Any, AlignedCandles]):
    """What a ``get_signals`` is given as ``others``: by what stands in ``uses=``."""

    def __missing__(self, key: object) -> AlignedCandles:
        raise UsageError(
            f"others has {', '.join(map(repr, self)) or 'nothing'}, and not {key!r:.60}\n"
            f"name it when the strategy is registered: uses=[{key!r:.60}]"
        )


class CandlesBeside:
    """Reads candles of other intervals and symbols for rows.

    Parameters
    ----------
    window
        Returns the candles of the run; called when something is read.
    symbol, interval
        Of the rows.
    uses
        What the strategy was registered with.
    lookback
        How many candles of each have closed at the first row, where there are so many.

    Attributes
    ----------
    was_read : bool
        Whether anything was.
    """

    def __init__(
        self, window: Callable[[], Window], symbol: str, interval: str, uses: Sequence[Used], lookback: int
    ) -> None:
        self._open, self.symbol, self.interval, self._uses, self._lookback = window, symbol, interval, uses, lookback
        self._known: tuple[NDArray[np.int64], Others] | None = None
        self.was_read = False

    @property
    def window(self) -> Window:
        """The candles of the run."""
        return self._open()

    def others(self, closes: NDArray[np.int64]) -> Others:
        """For rows whose candles close at these moments (UTC ms, ascending), by what was named in ``uses=``."""
        if self._known is not None and np.array_equal(self._known[0], closes):
            return Others(self._known[1])  # a sweep asks for the same at each combination
        found = Others({used: self._aligned(*self._meant(used), closes) for used in self._uses})
        self._known = closes, found
        return Others(found)

    def check(self, symbol: str, interval: str, what: str) -> None:
        """Raise ``UsageError`` where ``what`` is of candles that are neither the strategy's own nor in ``uses=``."""
        own = (self.symbol, self.interval)
        if (symbol, interval) == own or (symbol, interval) in map(self._meant, self._uses):
            return
        missing: Used = interval if symbol == self.symbol else (symbol, interval)
        every = [*self._uses, missing]
        raise UsageError(
            f"{what} is of {interval} candles of {symbol}, and this get_signals reads {own[1]} candles of {own[0]}\n"
            f"name them when the strategy is registered: uses={every}"
        )

    def _meant(self, used: Used) -> tuple[str, str]:
        return (self.symbol, used) if isinstance(used, str) else used

    def home(self, symbol: str, interval: str, first: int, last: int, count: int) -> Series | MadeCandles:
        """All candles in memory: those closed at ``last``, and ``count`` closed at ``first`` (UTC ms), or all of them.

        Raises
        ------
        NotEnoughData
            In a live run, when one that has closed is not here yet.
        """
        self.was_read = True
        window = self.window
        by_calendar = window.is_by_calendar(symbol, interval)
        step = LENGTHS_MS[interval] if interval in LENGTHS_MS else interval_ms(interval)
        if step < window.base_ms:
            raise UsageError(
                f"{interval} candles of {symbol} cannot be made of the {window.base} bars of this run\n"
                "name longer ones, or give base= shorter ones"
            )
        if window.is_growing:
            self._grow(symbol, interval, last, count + (last - first) // step + 1)
        elif by_calendar:
            return fetch_now(window.calendar_candles().load(symbol, interval, count, first))
        else:
            begin = window.reach_back(symbol, first, step, count)
            return fetch_now(window.load_closed(symbol, interval, first, count, since=max(begin, 0)))
        if by_calendar:
            return window.calendar_candles().made(symbol, interval, last)
        series = window.known(symbol, interval)
        assert series is not None  # it has grown  # noqa: S101
        return series

    def _grow(self, symbol: str, interval: str, when: int, count: int) -> None:
        """Have the newest candles of a live run in memory."""
        window = self.window
        try:
            window.newest(symbol, interval, count, when)
        except NotEnoughData as error:
            if error.late or window.is_cut:
                raise
            if error.available:
                window.newest(symbol, interval, error.available, when)

    def _aligned(self, symbol: str, interval: str, closes: NDArray[np.int64]) -> AlignedCandles:
        window = self.window
        if not len(closes):
            return AlignedCandles(Candles.empty(), np.zeros(0, dtype=np.int64))
        first, last = int(closes[0]), int(closes[-1])
        home = self.home(symbol, interval, first, last, self._lookback)
        begin = max(min(home.closed(first), len(home.candles)) - self._lookback, 0)
        end = min(max(home.closed(last), begin), len(home.candles))
        places = np.searchsorted(home.closes[begin:end], closes, side="right") - 1
        stale = _stale_from(window, home, symbol)
        if last >= stale:
            window.warn_once(
                f"the {interval} candles of {symbol} end at {utc_text(stale)}: rows of get_signals after that have none"
            )
            places[closes >= stale] = -1
        return AlignedCandles(home.candles[begin:end].copy(), places)


def asked_by(context: Context, interval: str, uses: Sequence[Used], lookback: int) -> RowsAsked:
    """What a ``get_signals`` over candles of an interval is asked about at the moment of a context."""
    run, symbol = run_of(context), context.symbol
    beside = CandlesBeside(lambda: run.window, symbol, interval, uses, lookback)
    return RowsAsked(run.published, symbol, candle_closes(run.window, symbol, interval), beside, run.indicators_read)


def _stale_from(window: Window, home: Series | MadeCandles, symbol: str) -> int:
    """From which moment on (UTC ms) a candle is missing that should have closed: the data of a backtest end."""
    if window.is_growing or window.allow_gaps or not isinstance(home, Series) or not len(home.candles):
        return _NOT_STALE
    end, sessions = end_of(home.candles, home.step, grid=home.grid), window.sessions_of(symbol)
    if sessions is not None:
        end = sessions.next_open(end, window.horizon)
    closed = bar_close(end, home.step, home.grid)
    return closed if closed <= window.horizon else _NOT_STALE  # none that closes behind the horizon is loaded
