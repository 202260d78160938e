"""The candles of a sweep, prepared once for all combinations and mapped by its workers."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..domain.execution_models import execution_model
from ..domain.interval import DAY_MS
from ..engine.minute_walk import look_back_begin, minutes_that_fill
from ..engine.plan import Plan, open_window
from ..engine.questions import ready_minutes
from ..engine.run_candles import coverage_notes, run_minutes
from ..engine.vectorised import rows_begin
from ..kernels import simulate as kernel
from ..market.answer_notes import ignored
from ..market.candles import Candles
from ..market.fetch_loop import submit
from ..market.series import Series
from .sweep_series import digests

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Prepared:
    """The candles of one symbol as arrays, for any number of combinations with one execution model.

    Attributes
    ----------
    market
        One-minute candles, or longer base bars, and their average prices, as the execution model fills them.
    candles
        The candles of the strategy's interval.
    data
        Hash of all of them, closing prices and volumes included.
    """

    symbol: str
    market: kernel.Market
    candles: Candles
    data: str

    def save(self, folder: Path) -> None:
        """Write the arrays to a folder, for other processes to map."""
        folder.mkdir(parents=True)
        market = self.market
        np.save(folder / "times.npy", market.times)
        np.save(folder / "prices.npy", np.stack([market.open, market.high, market.low, market.average]))
        np.save(folder / "candles.npy", self.candles.block)
        np.save(folder / "fills.npy", market.fills)
        np.save(folder / "ready.npy", market.ready)
        about = [self.symbol, market.regular, market.last_close, market.step, self.data]
        (folder / "about.json").write_bytes(msgspec.json.encode(about))

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Map the arrays that ``save`` wrote; processes share the memory."""
        symbol, regular, last_close, step, data = msgspec.json.decode((folder / "about.json").read_bytes())
        names = ("times", "prices", "candles", "fills", "ready")
        times, prices, block, fills, ready = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in names
        )
        market = kernel.Market(
            times, prices[0], prices[1], prices[2], prices[3], fills, regular, ready, float(last_close), step
        )
        return cls(symbol, market, Candles(block), data)


async def prepare(plan: Plan, warn: Any = None) -> Prepared:
    """Return the candles of one symbol for a sweep, fetched and checked as for a backtest."""
    window = open_window(plan, warn=warn or ignored)
    strategy = plan.strategy
    rows: Series | None = None
    if strategy.get_signals is not None:
        begin = rows_begin(strategy, plan.frame.start, window, plan.symbol)
        loading = window.load_closed(plan.symbol, strategy.interval, plan.frame.start, strategy.lookback, since=begin)
        rows = await asyncio.wrap_future(submit(loading))
    series = await run_minutes(window, plan)
    sessions, count = window.sessions_of(plan.symbol), window.price_count
    coverage_notes(plan, series, sessions)
    hours = None if window.base_ms >= DAY_MS else sessions  # a day ends where its market is closed
    ready = np.zeros(0, dtype=bool) if hours is None else ready_minutes(series.closes, hours, count)
    begin = look_back_begin(series.candles, plan.frame.start, count, series.step)
    fills = minutes_that_fill(series.candles, execution_model(plan.execution), begin=begin)
    return _prepared(plan, series, window.average_prices(plan.symbol), rows, fills, ready)


def _prepared(
    plan: Plan,
    series: Series,
    average: NDArray[np.float64],
    rows: Series | None,
    fills: NDArray[np.bool_],
    ready: NDArray[np.bool_],
) -> Prepared:
    minutes = series.candles
    times, high, low = minutes.timestamp.copy(), minutes.high, minutes.low
    candles = Candles.empty() if rows is None else rows.candles.copy()
    digest = hashlib.sha256()  # of the candles, whatever the execution model
    for array in (minutes.block, average, candles.block, ready):
        digest.update(np.ascontiguousarray(array).data)
    for text in digests(plan.frame.last):
        digest.update(text.encode())
    if not fills.all():
        high, low = np.where(fills, high, -np.inf), np.where(fills, low, np.inf)
    last_close = float(minutes.close[-1]) if len(minutes) else 0.0
    market = kernel.Market(
        times, minutes.open, high, low, average, fills, bool(series.regular), ready, last_close, series.step
    )
    return Prepared(plan.symbol, market, candles, digest.hexdigest())
