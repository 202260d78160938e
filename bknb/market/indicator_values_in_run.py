"""The values of an indicator that a run has made so far, and what a strategy is given of them at a moment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import DAY_MS, candles_since_1970
from ..domain.whole_number import whole_number
from ..errors import NotEnoughData, UsageError
from .calendar_candles import MadeCandles
from .candles import Candles
from .candles_since_moment import forming_candle
from .indicator_blocks import Blocks, BlockValues
from .indicator_proof import Proof
from .kept_indicator_values import kept_values
from .reads_of_context import newest_of, run_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .candles_of_one_symbol import Series
    from .indicator_formula import Formula
    from .strategy_context import Context
    from .window import Window

    Floats = NDArray[np.float64]

_HINT: Final = "it says how many of the newest values, such as 5"
_STILL: Final = Candles.from_rows([(0, 1, 1, 1, 1, 1)])


class OfSeries(dict[object, BlockValues]):
    """Values that were made of the candles of a series, by interval and formula; other processes make them again."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        super().__init__()
        self._newest: tuple[Candles, slice, list[int], dict[int, int]] | None = None

    def closes_and_places(self, home: Series | MadeCandles, part: slice) -> tuple[list[int], dict[int, int]]:
        """When some of its candles close (UTC ms), and how many candles there are up to each of these moments.

        Every indicator asks for those of the newest block. Neither is to be changed.
        """
        newest = self._newest
        if newest is None or newest[0] is not home.candles or newest[1] != part:
            closes = (home.closes[part] if isinstance(home, MadeCandles) else home.closes_in(part)).tolist()
            places = dict(zip(closes, range(part.start + 1, part.stop + 1), strict=True))
            self._newest = newest = (home.candles, part, closes, places)
        return newest[2:]

    def __reduce__(self) -> tuple[type[OfSeries], tuple[()]]:
        return OfSeries, ()


class RunValues:
    """The values of one indicator for one symbol of a run.

    Parameters
    ----------
    window
        The candles of the run.
    key : object
        What is the same for the same formula.

    Attributes
    ----------
    now : dict
        In a backtest the values of the newest block by the moments (UTC ms) at which their candles close, where there
        is one output and one value of it was asked for.
    places, values, first, make
        The same for several values or outputs, once they were asked for: how many candles there are up to such a
        moment, the values of all candles, shape (outputs, n), of one output (n,), from which candle on they have been
        made, and how several outputs are handed out.
    """

    __slots__ = (
        *("_blocks", "_covered", "_formula", "_home", "_interval", "_key", "_made", "_proof", "_reach", "_symbol"),
        *("_needs_now", "_needs_places", "_slot", "_still", "_window", "first", "make", "now", "places", "values"),
    )

    def __init__(self, window: Window, symbol: str, interval: str, formula: Formula, key: object) -> None:
        self._window, self._symbol, self._interval, self._formula = window, symbol, interval, formula
        self._blocks, self._key = Blocks(interval), (interval, key)
        self._proof = self._new_proof()
        # how long candles are that close with each slot of their length, ms; 0: others may close in between
        self._slot = 0 if self._is_irregular() or self._blocks.step > DAY_MS else self._blocks.step
        self._made: BlockValues | None = None
        self._home: Series | MadeCandles | None = None  # whose candles they are of, in a backtest
        self._reach = 0  # how many of the newest values a live run can be given of those candles
        self._covered = (0, 0)  # from which candle to which values are there
        self.now: dict[int, float] = {}
        self.places: dict[int, int] = {}
        self.values: Any = None
        self.first = 0
        self.make: Callable[..., Any] | None = None
        self._needs_now = self._needs_places = False
        self._still: BlockValues | None = None  # of a candle that stands still, for questions before the first one

    def _new_proof(self) -> Proof:
        about = f"the indicator {self._formula.name} of {self._symbol} {self._interval} candles"
        return Proof(self._formula, self._blocks, about, self._window.warn)

    def newest(self, context: Context, n: int, *, forming: bool) -> Any:
        """The ``n`` newest values at the moment of a context, the oldest first; NaN where there is none.

        ``forming``: the last of them is that of the candle that has not closed yet, where there is one.
        """
        if type(n) is int and n == 1 and not self._needs_now:
            self._needs_now = True
            self._find_by_moment()
        if type(n) is int and forming is False and self._slot:
            # between two closes: the candle that closed with the slot before is the newest
            before = context.when_ms - context.when_ms % self._slot
            if n == 1 and (value := self.now.get(before)) is not None:
                return np.array([value])
            place = self.places.get(before)
            if place is not None and self.first <= place - n < place:
                found = self.values[..., place - n : place].copy()
                return found if self.make is None else self.make(*found)
        n = whole_number("n", n, least=1, hint=_HINT)
        if type(forming) is not bool:
            raise UsageError(f"forming must be True or False, got {forming!r:.60}")
        bar = self._forming(context) if forming else None
        if not self._needs_places and (n > 1 or (self._made is not None and self._made.make is not None)):
            self._needs_places = True
            self._find_by_moment()
        if bar is None or not len(bar):
            return self._handed_out(*self._closed(context, n))
        closed = self._asked(context, self._formula.lookback + self._blocks.candles)
        made = self._of_all(Candles.concat([closed, bar]))
        made.cover(len(closed), len(closed) + 1, partial(self._asked, context))
        values, make = _last(made, len(closed) + 1, 1), made.make
        if n > 1:
            values = np.concatenate([self._closed(context, n - 1)[0], values], axis=1)
        return self._handed_out(values, make)

    def _forming(self, context: Context) -> Candles:
        bar = forming_candle(self._window, self._symbol, self._interval, context.when_ms)
        note = run_of(context).noted
        if note is not None:
            note(self._symbol, self._interval, bar)
        return bar

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
            if self._still is None:
                self._still = self._of_all(_STILL)
                self._still.cover(0, 1, partial(self._asked, context))
            assert self._still.values is not None  # of one block  # noqa: S101
            return np.full((len(self._still.values), n), np.nan), self._still.make
        return _last(made, place, n), made.make

    def _up_to(self, context: Context, n: int) -> tuple[BlockValues, int]:
        """Values of the ``n`` newest closed candles, or of all there are, and how many candles there are up to then."""
        if self._window.is_growing:
            return self._live(context, n)
        made, home = self._made, self._home
        if made is not None and home is not None and context.when_ms < home.until:
            place = min(home.closed(context.when_ms), made.candles.block.shape[1])
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

        def make(candles: Candles) -> BlockValues:
            irregular = self._is_irregular()
            kept = kept_values(self._window, self._formula, self._interval, irregular=irregular)
            return BlockValues(candles, self._formula, self._blocks, self._new_proof(), irregular=irregular, kept=kept)

        return values_of_candles(home, self._key, make)

    def _found_from_now_on(self, made: BlockValues, home: Series | MadeCandles, lo: int, hi: int) -> None:
        """Have the values of the candles ``lo`` to ``hi`` be found without asking for candles."""
        known = self._covered if self._made is made else (lo, hi)
        if lo <= known[1] and known[0] <= hi:
            lo, hi = min(lo, known[0]), max(hi, known[1])
        self._made, self._home, self._covered = made, home, (lo, hi)
        self._find_by_moment()

    def _find_by_moment(self) -> None:
        """Have the values of the newest block be found by the moments at which their candles close."""
        made, home, (first, end) = self._made, self._home, self._covered
        if made is None or home is None or made.values is None:
            return
        newest = slice(max(first, end - self._blocks.candles), end)
        closes, places = of_series(home).closes_and_places(home, newest)
        if self._needs_now and made.make is None:
            self.now = dict(zip(closes, made.values[0, newest].tolist(), strict=True))
        if self._needs_places:
            self.places = places
            self.values, self.first, self.make = made.values[0] if made.make is None else made.values, first, made.make

    def _live(self, context: Context, n: int) -> tuple[BlockValues, int]:
        """The same in a live run, whose candles come one by one: the block of the newest is made with each."""
        newest = self._asked(context, n)
        if not len(newest):
            return self._of_all(newest), 0
        made = self._made
        if made is None or n > self._reach or not _ends_with(made.candles, newest):
            self._reach = max(n, self._reach)  # with fewer candles the values before the newest block are others
            known = self._asked(context, self._reach + self._formula.lookback + self._blocks.candles)
            made = self._made = self._of_all(known)
        made.cover(max(len(made.candles) - n, 0), len(made.candles), partial(self._asked, context))
        return made, len(made.candles)

    def _of_all(self, candles: Candles) -> BlockValues:
        irregular = self._is_irregular()
        return BlockValues(candles, self._formula, self._blocks, self._proof, irregular=irregular)

    def _is_irregular(self) -> bool:
        return is_irregular(self._window, self._symbol, self._interval)

    def _asked(self, context: Context, limit: int) -> Candles:
        """The newest closed candles, or all there are since the data of the symbol begins.

        Raises
        ------
        NotEnoughData
            When one that has closed is not here, or was taken away.
        """
        ask, when = newest_of(context), context.when_ms
        limit = min(limit, candles_since_1970(self._interval, when))
        try:
            return ask(self._symbol, self._interval, limit, when)
        except NotEnoughData as error:
            if error.late or self._window.is_cut:
                raise
            if error.available:
                return ask(self._symbol, self._interval, error.available, when)
            known = self._window.known(self._symbol, self._interval)
            if known is not None and known.available(when) > 0:
                raise
            return Candles.empty()


def values_of_candles(home: Series | MadeCandles, key: object, make: Callable[[Candles], BlockValues]) -> BlockValues:
    """The values of candles in memory, as far as they have been made, kept with them under a key; else new ones."""
    known = of_series(home)
    made = known.get(key)
    if made is None or made.candles is not home.candles:
        made = known[key] = make(home.candles)
    return made


def of_series(home: Series | MadeCandles) -> OfSeries:
    """What was made of candles in memory, kept with them."""
    series = home.of if isinstance(home, MadeCandles) else home
    if series.indicators is None:
        series.indicators = OfSeries()
    return series.indicators


def is_irregular(window: Window, symbol: str, interval: str) -> bool:
    """Whether more candles may be in a block than are as long as the interval says."""
    return window.grid_of(symbol) is not None or window.is_by_calendar(symbol, interval)


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
