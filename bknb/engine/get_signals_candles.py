"""The candles that rows of ``get_signals`` belong to: those of its interval, or the days of a market with sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..domain.interval import interval_ms
from ..market.candle_closes import CandleCloses
from ..market.candles import Candles
from ..market.candles_beside_rows import CandlesBeside
from ..market.candles_of_one_symbol import Series
from ..market.fetch_loop import submit
from ..market.rows_asked import RowsAsked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..market.calendar_candles import MadeCandles
    from ..market.newest_series_rows import ReadSeries
    from ..market.window import Window
    from .registry import Strategy


class RowCandles(NamedTuple):
    """The candles of rows, and when each row is known.

    Attributes
    ----------
    candles : Candles
        Row ``i`` belongs to candle ``i``; in memory of their own.
    closes : ndarray of int64, shape (n,)
        When each candle has closed, UTC ms.
    closed
        How many have closed at a moment (UTC ms); may exceed their number where the data ends.
    by
        When such candles close.
    """

    candles: Candles
    closes: NDArray[np.int64]
    closed: Callable[[int], int]
    by: CandleCloses

    def known_at(self, start: int) -> int:
        """The row that is known at ``start`` (UTC ms), the first moment of a run."""
        return max(0, int(np.searchsorted(self.closes, start, side="right")) - 1)

    def asked(
        self,
        published: ReadSeries | None,
        symbol: str,
        window: Callable[[], Window],
        strategy: Strategy,
        indicators: set[str],
    ) -> RowsAsked:
        """What the ``get_signals`` of a strategy is asked about over them; ``indicators`` takes names of those read."""
        beside = CandlesBeside(window, symbol, strategy.interval, strategy.uses, strategy.lookback)
        return RowsAsked(published, symbol, self.by, beside, indicators)


async def row_candles(window: Window, strategy: Strategy, symbol: str, start: int) -> RowCandles:
    """The candles of the rows of a run that starts at ``start`` (UTC ms), up to the horizon of its window."""
    series = await loaded_rows(window, strategy, symbol, start)
    if isinstance(series, Series):
        by = CandleCloses(series.step, grid=series.grid)
    else:
        by = CandleCloses(interval_ms(strategy.interval), (series.candles.timestamp, series.closes))
    return RowCandles(series.candles.copy(), series.closes, series.closed, by)


async def loaded_rows(window: Window, strategy: Strategy, symbol: str, start: int) -> Series | MadeCandles:
    """The same candles as they are in memory from now on."""
    interval, lookback = strategy.interval, strategy.lookback
    if window.is_by_calendar(symbol, interval):
        days = window.calendar_candles()
        return await asyncio.wrap_future(submit(days.load(symbol, interval, lookback, start)))
    begin = window.reach_back(symbol, start, interval_ms(interval), lookback)
    loading = window.load_closed(symbol, interval, start, lookback, since=begin)
    return await asyncio.wrap_future(submit(loading))
