"""The values of an indicator that a run has made so far, and what a strategy is given of them at a moment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.whole_number import whole_number
from ..errors import NotEnoughData, UsageError
from .calendar_candles import MadeCandles
from .candles import Candles
from .candles_since_moment import forming_candle
from .indicator_blocks import Blocks, BlockValues
from .indicator_proof import Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .candles_of_one_symbol import Series
    from .indicator_formula import Formula
    from .strategy_context import Context
    from .window import Window

    Floats = NDArray[np.float64]

_HINT: Final = "it says how many of the newest values, such as 5"


class OfSeries(dict[object, BlockValues]):
    """Values that were made of the candles of a series, by interval and formula; other processes make them again."""

    def __reduce__(self) -> tuple[type[OfSeries], tuple[()]]:
        return OfSeries, ()


class RunValues:
    """The values of one indicator for one symbol of a run.

    What has ``lo <= first < last <= hi`` is found without any of its methods: the values at the candles from ``first``
    to ``last``, counted from the one that opened at ``origin``, one each ``step`` ms.

    Parameters
    ----------
    window
        The candles of the run.
    key : object
        What is the same for the same formula.
    """

    __slots__ = (
        *("_blocks", "_covered", "_formula", "_home", "_interval", "_key", "_made", "_proof", "_symbol", "_window"),
        *("hi", "lo", "make", "origin", "step", "values"),
    )

    def __init__(self, window: Window, symbol: str, interval: str, formula: Formula, key: object) -> None:
        self._window, self._symbol, self._interval, self._formula = window, symbol, interval, formula
        self._blocks, self._key = Blocks(interval), (interval, key)
        self._proof = self._new_proof()
        self._made: BlockValues | None = None
        self._home: Series | MadeCandles | None = None  # whose candles they are of, in a backtest
        self._covered = (0, 0)  # from which candle to which values are there
        self.lo = self.hi = self.origin = 0
        self.step = self._blocks.step
        self.values: Any = None  # of one output of the shape (candles,), of several (outputs, candles)
        self.make: Callable[..., Any] | None = None

    def _new_proof(self) -> Proof:
        about = f"the indicator {self._formula.name} of {self._symbol} {self._interval} candles"
        return Proof(self._formula, self._blocks, about, self._window.warn)

    def newest(self, context: Context, n: int, *, forming: bool) -> Any:
        """The ``n`` newest values at the moment of a context, the oldest first; NaN where there is none.

        ``forming``: the last of them is that of the candle that has not closed yet, where there is one.
        """
        n = whole_number("n", n, least=1, hint=_HINT)
        if type(forming) is not bool:
            raise UsageError(f"forming must be True or False, got {forming!r:.60}")
        bar = forming_candle(self._window, self._symbol, self._interval, context.when_ms) if forming else None
        if bar is None or not len(bar):
            return self._handed_out(*self._closed(context, n))
        closed = self._asked(context, self._formula.lookback + self._blocks.candles)
        made = self._of_all(Candles.concat([closed, bar]))
        made.cover(len(closed), len(closed) + 1, partial(self._asked, context))
        values, make = _last(made, len(closed) + 1, 1), made.make
        if n > 1:
            values = np.concatenate([self._closed(context, n - 1)[0], values], axis=1)
        return self._handed_out(values, make)

    @staticmethod
    def _handed_out(values: Floats, make: Callable[..., Any] | None) -> Any:
        return values[0] if make is None else make(*values)

    def _closed(self, context: Context, n: int) -> tuple[Floats, Callable[..., Any] | None]:
        """The newest values of closed candles, shape (outputs, n), in memory of their own, and how they are handed out.

        Before the first candle of a symbol nobody knows how many outputs there are: those of a candle that stands still
        are looked at.
        """
        made, place = self._up_to(context, n)
        if not place:
            still = Candles.from_columns(timestamp=[0], open=[1], high=[1], low=[1], close=[1], volume=[1])
            made = self._of_all(still)
            made.cover(0, 1, partial(self._asked, context))
            assert made.values is not None  # of one block  # noqa: S101
            return np.full((len(made.values), n), np.nan), made.make
        return _last(made, place, n), made.make

    def _up_to(self, context: Context, n: int) -> tuple[BlockValues, int]:
        """Values of the ``n`` newest closed candles, or of all there are, and how many candles there are up to then."""
        if self._window.is_growing:
            return self._live(context, n)
        made, home = self._made, self._home
        if made is not None and home is not None and context.when_ms < home.until:
            place = min(home.closed(context.when_ms), len(made.candles))
            if self._covered[0] <= place - n < place <= self._covered[1]:
                return made, place
        newest = self._asked(context, n)
        if not len(newest):
            return self._of_all(newest), 0
        oldest, lookback = int(newest.timestamp[0]), self._formula.lookback
        in_block = (oldest - self._blocks.begin(oldest)) // self._blocks.step
        self._asked(context, len(newest) + in_block + lookback)  # which has them in memory
        home = self._in_memory(context.when_ms)
        made, place = self._values_of(home), min(home.closed(context.when_ms), len(home.candles))
        covered = made.cover(max(place - n, 0), place, partial(self._asked, context))
        self._found_from_now_on(made, home, *covered)
        return made, place

    def _in_memory(self, when: int) -> Series | MadeCandles:
        """All candles of a backtest in memory; some have been asked for at ``when`` (UTC ms)."""
        window, symbol, interval = self._window, self._symbol, self._interval
        if window.is_by_calendar(symbol, interval):
            return window.calendar_candles().made(symbol, interval, when)
        series = window.known(symbol, interval)
        assert series is not None  # its candles were asked for  # noqa: S101
        return series

    def _values_of(self, home: Series | MadeCandles) -> BlockValues:
        """Values of all candles in memory, as far as any run over the same ones has made them."""
        series = home.of if isinstance(home, MadeCandles) else home
        if series.indicators is None:
            series.indicators = OfSeries()
        made = series.indicators.get(self._key)
        if made is None or made.candles is not home.candles:
            irregular, proof = self._is_irregular(), self._new_proof()
            made = BlockValues(home.candles, self._formula, self._blocks, proof, irregular=irregular)
            series.indicators[self._key] = made
        return made

    def _found_from_now_on(self, made: BlockValues, home: Series | MadeCandles, lo: int, hi: int) -> None:
        """Have the values of the candles ``lo`` to ``hi`` be found without asking for candles."""
        known = self._covered if self._made is made else (lo, hi)
        if lo <= known[1] and known[0] <= hi:
            lo, hi = min(lo, known[0]), max(hi, known[1])
        self.lo = self.hi = 0  # while the others change nothing is found
        self._made, self._home, self._covered = made, home, (lo, hi)
        if isinstance(home, MadeCandles) or not home.regular:
            return
        assert made.values is not None  # some were made  # noqa: S101
        self.make, self.origin = made.make, home.start
        self.values = made.values[0] if made.make is None else made.values
        self.lo, self.hi = lo, hi

    def _live(self, context: Context, n: int) -> tuple[BlockValues, int]:
        """The same in a live run, whose candles come one by one: the block of the newest is made with each."""
        newest = self._asked(context, n)
        if not len(newest):
            return self._of_all(newest), 0
        made = self._made
        if made is None or not _ends_with(made.candles, newest):
            made = self._made = self._of_all(self._asked(context, n + self._formula.lookback + self._blocks.candles))
        made.cover(max(len(made.candles) - n, 0), len(made.candles), partial(self._asked, context))
        return made, len(made.candles)

    def _of_all(self, candles: Candles) -> BlockValues:
        irregular = self._is_irregular()
        return BlockValues(candles, self._formula, self._blocks, self._proof, irregular=irregular)

    def _is_irregular(self) -> bool:
        """Whether more candles may be in a block than are as long as the interval says."""
        window, symbol = self._window, self._symbol
        return window.grid_of(symbol) is not None or window.is_by_calendar(symbol, self._interval)

    def _asked(self, context: Context, limit: int) -> Candles:
        """The newest closed candles, or all there are since the data of the symbol begins.

        Raises
        ------
        NotEnoughData
            When one that has closed is not here.
        """
        ask, when = context._newest, context.when_ms
        try:
            return ask(self._symbol, self._interval, limit, when)
        except NotEnoughData as error:
            if error.late:
                raise
            if error.available:
                return ask(self._symbol, self._interval, error.available, when)
            known = self._window.known(self._symbol, self._interval)
            if known is not None and known.available(when) > 0:
                raise
            return Candles.empty()


def _last(made: BlockValues, place: int, n: int) -> Floats:
    """The ``n`` values before a place, in memory of their own; NaN in front where there are fewer."""
    assert made.values is not None  # some were made  # noqa: S101
    found = np.full((len(made.values), n), np.nan)
    first = max(place - n, 0)
    found[:, n - (place - first) :] = made.values[:, first:place]
    return found


def _ends_with(candles: Candles, newest: Candles) -> bool:
    """Whether candles are known up to others, and those too."""
    count = len(newest)
    return count <= len(candles) and bool(np.array_equal(candles.block[:, -count:], newest.block))
