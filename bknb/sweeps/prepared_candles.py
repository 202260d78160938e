"""The candles of a sweep, prepared once for all combinations and mapped by its workers."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import DAY_MS
from ..engine.filling_minutes import look_back_begin, minutes_that_fill
from ..engine.get_signals_candles import RowCandles, row_candles
from ..engine.get_signals_vectorised import signal_rows
from ..engine.plan import Plan, open_window, over_longer
from ..engine.questions import has_session_days, ready_minutes
from ..engine.run_candles import coverage_notes, run_minutes
from ..engine.runs_in_workers import candles_of
from ..kernels import simulate as kernel
from ..market.answer_notes import ignored
from ..market.candle_closes import CandleCloses
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series
from .sweep_series import asked_of, digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from ..engine.registry import Strategy
    from ..engine.runs_in_workers import Candles as WindowCandles
    from ..market.sessions import Sessions
    from ..market.window import Window

_HELD: Final = "held.pickle"
_OF_POINTS: Final = "of_points"
_AROUND_MS: Final = 400 * DAY_MS  # how far around a frame sessions are listed
_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_DAYS: Final = kernel.Days(_NONE, _NONE, _NONE)


class OverLongerBars(Exception):  # noqa: N818 -- control flow of a sweep, never an error for a user
    """The base bars of a plan do not cover it, and longer ones do: those of ``plan``."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.base)
        self.plan = plan

    def of_all(self, plans: Iterable[Plan]) -> tuple[Plan, ...]:
        """The plans of all symbols over these bars, as combinations are compared over one length of bars."""
        own = self.plan
        return tuple(own if each.symbol == own.symbol else over_longer(each, own.base) for each in plans)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The candles of one symbol as arrays, for any number of combinations with one execution model.

    Attributes
    ----------
    market
        One-minute candles, or longer base bars, and their average prices, as the execution model fills them.
    candles
        The candles of the strategy's interval.
    closes : ndarray of int64
        When each of them closes, UTC ms.
    days
        The sessions, where those candles are days of a market with sessions; else empty.
    data
        Hash of all of them, closing prices and volumes included; empty where nobody asks for it.
    held
        What the event engine needs of them, where combinations go through it: it fetches them no second time.
    of_points
        Whether another symbol of the sweep has prices at or below zero: figures without a unit are of points, too.
    window
        That which loaded them, for what rows read beside their candles; ``None`` where they were mapped.
    """

    symbol: str
    market: kernel.Market
    candles: Candles
    closes: NDArray[np.int64]
    days: kernel.Days
    data: str
    held: WindowCandles | None = None
    of_points: bool = False
    window: Window | None = None

    @property
    def candle_closes(self) -> CandleCloses:
        """When the candles of the strategy's interval close, for point-in-time series."""
        times = self.candles.timestamp
        lengths = self.closes - times
        if len(self.days.opens) or (lengths != lengths[:1]).any():  # or bars of a market whose last one is shorter
            return CandleCloses(0, (times, self.closes))
        return CandleCloses(int(lengths[0]) if len(lengths) else 0)

    def opened(self) -> Window:
        """The window that loaded them."""
        assert self.window is not None  # they were prepared here  # noqa: S101
        return self.window

    def known_at(self, start: int) -> int:
        """The row that is known at ``start`` (UTC ms), the first moment of a run."""
        return max(0, int(np.searchsorted(self.closes, start, side="right")) - 1)

    def save(self, folder: Path) -> None:
        """Write the arrays to a folder, for other processes to map."""
        folder.mkdir(parents=True)
        market = self.market
        np.save(folder / "times.npy", market.times)
        np.save(folder / "prices.npy", np.stack([market.open, market.high, market.low, market.average, market.close]))
        np.save(folder / "candles.npy", self.candles.block)
        np.save(folder / "fills.npy", market.fills)
        np.save(folder / "ready.npy", market.ready)
        np.save(folder / "closes.npy", self.closes)
        for name, array in zip(kernel.Days._fields, self.days, strict=True):
            np.save(folder / f"days_{name}.npy", array)
        about = [self.symbol, market.regular, market.last_close, market.step, self.data]
        (folder / "about.json").write_bytes(msgspec.json.encode(about))
        if self.held is not None:
            (folder / _HELD).write_bytes(pickle.dumps(self.held, protocol=5))

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Map the arrays that ``save`` wrote; processes share the memory."""
        symbol, regular, last_close, step, data = msgspec.json.decode((folder / "about.json").read_bytes())
        of_days = (f"days_{name}" for name in kernel.Days._fields)
        names = ("times", "prices", "candles", "fills", "ready", "closes", *of_days)
        times, prices, block, fills, ready, closes, *days = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in names
        )
        market = kernel.Market(
            times, prices[0], prices[1], prices[2], prices[3], fills, regular, ready, float(last_close), step, prices[4]
        )
        held = pickle.loads((folder / _HELD).read_bytes()) if (folder / _HELD).is_file() else None  # noqa: S301 -- ours
        of_points = (folder / _OF_POINTS).is_file()
        return cls(symbol, market, Candles(block), closes, kernel.Days(*days), data, held, of_points)

    @staticmethod
    def note_of_points(folder: Path) -> None:
        """Note beside saved arrays that another symbol of the sweep has prices at or below zero."""
        (folder / _OF_POINTS).touch()


def goes_compiled(strategy: Strategy) -> bool:
    """Whether the compiled loop can run a strategy.

    One with a risk profile, a ``manage`` or several places needs the event engine.
    """
    alone = strategy.risk is None and strategy.manage is None and strategy.places == 1
    return strategy.get_signals is not None and alone


async def prepare(plan: Plan, warn: Any = None, *, hashed: bool = False) -> Prepared:
    """Return the candles of one symbol for a sweep, fetched and checked as for a backtest.

    ``hashed``: whether somebody asks for their hash.

    Raises
    ------
    OverLongerBars
        Longer bars than those of the plan cover it.
    """
    if plan.longer_bases:
        from ..engine.base_that_covers import loaded_over_bars_that_cover  # a table has bars of one length

        (chosen,), window = await loaded_over_bars_that_cover([plan], warn=warn or ignored)
        if chosen.base != plan.base:
            raise OverLongerBars(chosen)
    else:
        window = open_window(plan, warn=warn or ignored)
        window.gather_closed()
    strategy = plan.strategy
    rows: RowCandles | None = None
    if strategy.get_signals is not None:
        rows = await row_candles(window, strategy, plan.symbol, plan.frame.start)
    series = await run_minutes(window, plan)
    hashing = _hashing(series.candles.block) if hashed else None
    window.tell_closed()
    sessions, count = window.sessions_of(plan.symbol), window.price_count
    coverage_notes(plan, series, sessions)
    by_day = sessions is not None and has_session_days(strategy.interval, sessions, window.base_ms)
    hours = None if by_day or window.base_ms >= DAY_MS else sessions  # a day ends where its market is closed
    ready = np.zeros(0, dtype=bool) if hours is None else ready_minutes(series.closes, hours, count)
    begin = look_back_begin(series.candles, plan.frame.start, count, series.step)
    fills = minutes_that_fill(series.candles, execution_model(plan.execution), begin=begin)
    days = _days_of(sessions, series, plan.frame.start, plan.frame.last) if by_day and sessions else _NO_DAYS
    found = _prepared(plan, series, window.average_prices(plan.symbol), rows, fills, ready, days, hashing)
    found = replace(found, window=window)
    return found if goes_compiled(strategy) else replace(found, held=candles_of(window))


def with_candles_beside(plan: Plan, prepared: Prepared, params: Mapping[str, Any]) -> Prepared:
    """The candles of one symbol with those that its rows read beside them, for workers, and in the hash of all.

    ``params`` are those of some combination.
    """
    window = prepared.opened()
    asked = asked_of(plan, prepared.candle_closes, prepared.opened)
    digest = hashlib.sha256(prepared.data.encode())
    with suppress(Exception):  # each combination says what fails
        signal_rows(plan.strategy, prepared.candles, params, asked=asked)
        for used, one in asked.beside.others(prepared.closes).items():
            digest.update(repr(used).encode())
            digest.update(np.ascontiguousarray(one.candles.block).data)
    return replace(prepared, data=digest.hexdigest() if prepared.data else "", held=candles_of(window))


def _days_of(sessions: Sessions, series: Series, first: int, last: int) -> kernel.Days:
    """The days of sessions around a frame (UTC ms), and when a strategy by the day may be asked over base bars."""
    from ..engine.scheduled_questions import moments_of_bars  # few strategies go by such days

    known = sessions.session_days(first - _AROUND_MS, last + _AROUND_MS)
    if sessions.calendar and (not known or known[-1].open <= last):  # behind its end only the regular week is known
        since = known[-1].close if known else first
        known += replace(sessions, calendar="").session_days(since, last + _AROUND_MS)
    spans = [start for day in sessions.session_days(first, last) for start, _ in day.spans]
    return kernel.Days(
        np.array([day.open for day in known], dtype=np.int64),
        np.array([day.close for day in known], dtype=np.int64),
        moments_of_bars(series, spans, by_day_of=sessions),
    )


def _hashing(block: NDArray[np.float64]) -> Future[Any]:
    """The hash of a block of candles, which is made on another core meanwhile."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(lambda: hashlib.sha256(np.ascontiguousarray(block).data))
    finally:
        pool.shutdown(wait=False)


def _prepared(
    plan: Plan,
    series: Series,
    average: NDArray[np.float64],
    rows: RowCandles | None,
    fills: NDArray[np.bool_],
    ready: NDArray[np.bool_],
    days: kernel.Days,
    hashing: Future[Any] | None,
) -> Prepared:
    minutes = series.candles
    times, high, low = minutes.timestamp.copy(), minutes.high, minutes.low
    candles, closes = (Candles.empty(), _NONE) if rows is None else (rows.candles, rows.closes)
    if not fills.all():
        high, low = np.where(fills, high, -np.inf), np.where(fills, low, np.inf)
    data = ""
    if hashing is not None:
        digest = hashing.result()  # of the candles, whatever the execution model
        for array in (average, candles.block, ready, *days):
            digest.update(np.ascontiguousarray(array).data)
        for text in digests(plan.frame.last):
            digest.update(text.encode())
        data = digest.hexdigest()
    last_close = float(minutes.close[-1]) if len(minutes) else 0.0
    market = kernel.Market(
        times, minutes.open, high, low, average, fills, bool(series.regular), ready, last_close, series.step,
        minutes.close,
    )  # fmt: skip
    return Prepared(plan.symbol, market, candles, closes, days, data)
