"""The benchmark of a run: a symbol whose candles are loaded, or a series of prices, beside its account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from ..domain.interval import candles_text
from ..engine.plan import open_window
from ..errors import DataError, NotEnoughData, UsageError
from ..market.candle_fingerprint import CandleRange, SeriesRange, fingerprint, series_fingerprint
from ..market.fetch_loop import submit
from ..metrics.benchmark_figures import Benchmark, day_closes
from ..reports.fewer_points_of_lines import decimate
from .account_equity import closes_of
from .measured import terms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..engine.marked_account_equity import LegCloses
    from ..engine.plan import Plan
    from ..metrics.marked_positions import Floats, Times
    from .run_record import RunRecord

EQUAL_PARTS = "equal parts"
_EXPECTED = (
    "benchmark must be a symbol such as 'BTCUSDT', 'equal' for equal parts of all symbols, or a pandas Series of "
    "prices with their moments as index"
)


class PriceSeries(msgspec.Struct, frozen=True, eq=False):
    """Prices of a benchmark and from when on each is known (UTC ms, ascending); both of shape (n,)."""

    name: str
    time_ms: Times
    price: Floats


class BenchmarkPrices(NamedTuple):
    """Prices of a benchmark, and from when on each is known (UTC ms); of bars their opens, too; all of shape (n,).

    ``made_of`` is the fingerprint of what was loaded or given.
    """

    name: str
    known_ms: Times
    price: Floats
    open_ms: Times | None = None
    open: Floats | None = None
    made_of: CandleRange | SeriesRange | None = None

    def begin(self, start: int) -> tuple[int, float]:
        """Moment (UTC ms) and price with which it begins in a frame: the open of the first bar, or the price then."""
        if self.open_ms is not None and self.open is not None:
            at = min(int(self.open_ms.searchsorted(start)), len(self.open_ms) - 1)
            return int(self.open_ms[at]), float(self.open[at])
        at = max(int(self.known_ms.searchsorted(start, side="right")) - 1, 0)
        return max(int(self.known_ms[at]), start), float(self.price[at])


def checked_benchmark(given: object) -> str | PriceSeries | None:
    """What ``benchmark=`` says, once it is clear that it can be one.

    Raises
    ------
    UsageError
        It is neither a symbol nor a series of prices above 0 by moments.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if not given.strip():
            raise UsageError(f"{_EXPECTED}; got an empty text")
        return given
    import pandas as pd

    if not isinstance(given, pd.Series):
        raise UsageError(f"{_EXPECTED}; got {type(given).__name__}")
    if not isinstance(given.index, pd.DatetimeIndex):
        raise UsageError(
            f"{_EXPECTED}; its index is {type(given.index).__name__}\nuse pandas.to_datetime(..., utc=True)"
        )
    try:
        prices = given.astype("float64").dropna().sort_index()
    except (TypeError, ValueError):
        raise UsageError(f"{_EXPECTED}; its values are {given.dtype}, not numbers") from None
    values: Floats = np.asarray(prices, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        raise UsageError(f"{_EXPECTED}; a price is {values[~(np.isfinite(values) & (values > 0))][0]:g}, not above 0")
    if prices.index.has_duplicates:
        twice = prices.index[prices.index.duplicated()][0]
        raise UsageError(f"{_EXPECTED}; it has two prices at {twice}")
    moments = pd.DatetimeIndex(prices.index)
    name = "benchmark" if given.name is None else str(given.name)
    return PriceSeries(name, moments.as_unit("ms").asi8.astype(np.int64), values)


async def load_benchmark(given: object, plan: Plan, warn: Callable[[str], object]) -> BenchmarkPrices:
    """The prices of a benchmark over the frame of a run; those of a symbol come from the exchange of that.

    Raises
    ------
    DataError
        The candles of the symbol cannot be had, or there is no price in the frame.
    """
    if isinstance(given, PriceSeries):
        made_of = series_fingerprint(given.name, given.time_ms, given.price)
        prices = BenchmarkPrices(given.name, given.time_ms, given.price, made_of=made_of)
        inside = (given.time_ms >= plan.frame.start) & (given.time_ms <= plan.frame.last)
        if not inside.any():
            raise NotEnoughData(
                f"the benchmark {given.name} has no price in the frame {plan.frame}\n"
                "give a series that covers it, or another benchmark"
            )
        return prices
    symbol = str(given)
    where, why = f"the benchmark {symbol} on {plan.exchange.name}", f"\n{plan.why_base}" if plan.why_base else ""
    window = open_window(replace(plan, allow_gaps=True), warn=lambda text: warn(f"benchmark {symbol}: {text}"))
    try:
        series = await asyncio.wrap_future(submit(window.load(symbol, plan.base, plan.frame.start)))
    except (DataError, UsageError) as error:
        raise DataError(
            f"{where}: {error}\ngive a symbol that the exchange has, or a pandas Series of prices{why}"
        ) from error
    candles = series.candles
    first, behind = candles.timestamp.searchsorted((plan.frame.start, plan.frame.last))
    if first >= behind:
        raise NotEnoughData(
            f"{where} has no {candles_text(plan.base)} in the frame {plan.frame}\n"
            f"choose a frame inside its data, or another benchmark{why}"
        )
    used = fingerprint(candles[first:behind], exchange=plan.exchange.name, symbol=symbol, interval=plan.base)
    return BenchmarkPrices(symbol, series.closes, candles.close, candles.timestamp, candles.open, used)


def equal_parts(symbols: Sequence[BenchmarkPrices], start: int) -> BenchmarkPrices:
    """What a unit of money in equal parts of symbols is worth, each bought at its first price from ``start`` (UTC ms).

    Until then its part is cash. Where a price of one is not above 0, all of it is 0: nothing can be said in percent.
    """
    bought = [prices.begin(start) for prices in symbols]
    known = [prices.known_ms for prices in symbols]
    alike = all(np.array_equal(known[0], each) for each in known[1:])
    every = known[0] if alike else np.unique(np.concatenate(known))
    times = np.insert(every[every > start], 0, start)
    worth = np.zeros(len(times))
    for prices, (since, paid) in zip(symbols, bought, strict=True):
        at = np.searchsorted(prices.known_ms, times, side="right") - 1
        held = (at >= 0) & (times > since)
        if paid <= 0.0 or (prices.price <= 0.0).any():
            return BenchmarkPrices(EQUAL_PARTS, times, worth * 0.0)
        worth += np.where(held, prices.price[np.maximum(at, 0)] / paid, 1.0)
    return BenchmarkPrices(EQUAL_PARTS, times, worth / len(symbols))


def benchmark_beside(prices: BenchmarkPrices, start: int, end: int, *, slippage: float, fee: float) -> Benchmark:
    """What is kept of a benchmark beside an account from ``start`` to ``end`` (UTC ms); costs are percent a side."""
    begin, opened = prices.begin(start)
    inside = (prices.known_ms > start) & (prices.known_ms <= end)
    times, values = np.insert(prices.known_ms[inside], 0, begin), np.insert(prices.price[inside], 0, opened)
    line = decimate(times, values)
    return Benchmark(
        name=prices.name,
        first=opened,
        day_close=day_closes(times, values, start, end),
        time_ms=line[0],
        price=line[1],
        slippage=slippage,
        fee=fee,
        made_of=prices.made_of,
    )


def prices_of_run(record: RunRecord, closes: LegCloses | None = None) -> BenchmarkPrices:
    """The prices of the symbol that a run traded; ``closes`` are those of its bars, where they are known."""
    bars, (closed_ms, close) = record.minutes, closes or closes_of(record)
    return BenchmarkPrices(record.plan.symbol, closed_ms, close, bars.timestamp, bars.open)


def beside_run(prices: BenchmarkPrices | None, record: RunRecord) -> Benchmark:
    """What is kept of a benchmark beside the account of a run, over its time; without prices those of its symbol."""
    terms = terms_of(record)
    prices = prices_of_run(record) if prices is None else prices
    start, end = terms.span(record.minutes.timestamp)
    return benchmark_beside(prices, start, end, slippage=terms.slippage, fee=terms.fee)
