"""The values of an indicator as arrays: one for each row of a ``get_signals``, as a question at its close sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import UsageError
from .calendar_candles import MadeCandles
from .candles import Candles
from .indicator_blocks import Blocks, BlockValues
from .indicator_proof import Proof
from .indicator_values_in_run import is_irregular, values_of_candles
from .kept_indicator_values import kept_values
from .rows_asked import rows_asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles_beside_rows import CandlesBeside
    from .candles_of_one_symbol import Series
    from .indicator_formula import Formula

_STILL: Final = Candles.from_rows([(0, 1, 1, 1, 1, 1)])


def values_of_rows(candles: Candles, symbol: str | None, interval: str, formula: Formula, key: object) -> Any:
    """An array of a value for each row, NaN where there is none; of several outputs a tuple of such.

    Parameters
    ----------
    candles
        Those that ``get_signals`` was called with, or some of them.
    symbol
        Of which symbol; ``None``: that of the rows.
    interval, formula, key
        Of the indicator; ``key`` is the same for indicators of the same values.

    Raises
    ------
    UsageError
        Outside of a ``get_signals``, for other candles, or for candles that it does not read.
    LookaheadError, LookbackTooShort
        Of the proof.
    """
    asked = rows_asked.get()
    if asked is None:
        raise UsageError(
            f"the indicator {formula.name} is called with candles, which it takes in get_signals alone\n"
            "in get_signal call it with ctx; outside of a run call the function: bknb.indicators.sma(close, 10)"
        )
    closes = asked.closes.of(candles.timestamp)
    if closes is None:
        raise UsageError(
            f"the indicator {formula.name}: these are not the candles of get_signals\n"
            "give those it was called with, or some of them; of other candles say bknb.indicator(..., symbol=)"
        )
    symbol = symbol or asked.symbol
    asked.beside.check(symbol, interval, f"the indicator {formula.name}")
    asked.indicators_read.add(formula.name)
    return _Reader(asked.beside, symbol, interval, formula, key).values(closes)


class _Reader:
    """Reads the values of one indicator of a symbol."""

    def __init__(self, beside: CandlesBeside, symbol: str, interval: str, formula: Formula, key: object) -> None:
        self._beside, self._symbol, self._interval, self._formula = beside, symbol, interval, formula
        self._key, self._blocks = (interval, key), Blocks(interval)

    def values(self, closes: NDArray[np.int64]) -> Any:
        if not len(closes):
            return self._handed_out(self._of_still(), np.zeros(0, dtype=np.int64))
        home = self._home(int(closes[0]), int(closes[-1]))
        places = np.searchsorted(home.closes, closes, side="right") - 1
        if places[-1] < 0:
            return self._handed_out(self._of_still(), np.full(len(closes), -1))
        made = values_of_candles(home, self._key, self._made)
        first, last = max(int(places[0]), 0), int(places[-1])
        made.cover(first, last + 1, lambda count: self._newest(int(closes[-1]), count))
        return self._handed_out(made, places)

    def _home(self, first: int, last: int) -> Series | MadeCandles:
        """The candles, with the whole block of the newest one at the first row and its look-back before it."""
        home = self._beside.home(self._symbol, self._interval, first, last, 1)
        place = min(home.closed(first), len(home.candles)) - 1
        if place < 0:
            return home
        newest = int(home.candles.timestamp[place])
        in_block = (newest - self._blocks.begin(newest)) // self._blocks.step
        count = in_block + self._formula.lookback + 1
        return self._beside.home(self._symbol, self._interval, first, last, count)

    def _newest(self, last: int, count: int) -> Candles:
        home = self._beside.home(self._symbol, self._interval, last, last, count)
        end = min(home.closed(last), len(home.candles))
        return home.candles[max(end - count, 0) : end]

    def _made(self, candles: Candles) -> BlockValues:
        about = f"the indicator {self._formula.name} of {self._symbol} {self._interval} candles"
        irregular = is_irregular(self._beside.window, self._symbol, self._interval)
        proof = Proof(self._formula, self._blocks, about, self._beside.window.warn)
        kept = kept_values(self._beside.window, self._formula, self._interval, irregular=irregular)
        return BlockValues(candles, self._formula, self._blocks, proof, irregular=irregular, kept=kept)

    def _of_still(self) -> BlockValues:
        """Values of a candle that stands still, which say how many outputs there are."""
        made = self._made(_STILL)
        made.cover(0, 1, lambda _count: Candles.empty())
        return made

    @staticmethod
    def _handed_out(made: BlockValues, places: NDArray[np.int64]) -> Any:
        assert made.values is not None  # some were made  # noqa: S101
        found = made.values[:, np.maximum(places, 0)]
        found[:, places < 0] = np.nan
        return found[0] if made.make is None else made.make(*found)
