"""The record of a run behind its result: plan, events, and candles that are in memory or can be read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from ..domain.lifecycle import Rules
from ..domain.signal_events import Mode
from ..engine.backtest import BacktestRun
from ..engine.plan import Plan
from ..engine.records import Records
from ..engine.registry import Exchange
from ..engine.resolve import RunSeries
from ..errors import DataError
from ..market.candle_fingerprint import CandleRange, digest, fingerprint
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series
from ..market.feed import Feed
from ..market.fetch_loop import fetch_now
from ..market.system_clock import SystemClock
from ..market.window import Window
from ..ports import CandleSource

if TYPE_CHECKING:
    from ..domain.implementation_shortfall import TradedOrder
    from ..domain.run_notes import RunNote
    from ..domain.signal import SignalKey
    from ..engine.position_in_money import PositionInMoney
    from ..live.plan import LivePlan
    from ..live.recording import Row
    from ..live.run import LiveRun
    from ..metrics.benchmark_figures import Benchmark
    from ..metrics.figure_table import Statistics
    from ..research.tries_ledger import Tries
    from .account_result import RunAccount
    from .measured import Measured

Key: TypeAlias = tuple[str, str]  # symbol, interval


class Loaded(NamedTuple):
    """Candles in memory: the window of a backtest, and the series at the end of the run."""

    window: Window | None
    series: Mapping[Key, Series]


class RunCandles:
    """The candles of a run, loaded at the first use.

    Where they are in files, whoever takes them lets go of the memory of what was read before.

    Parameters
    ----------
    symbol
        The symbol of the run.
    load
        Returns them; called once, at the first use.
    """

    def __init__(self, symbol: str, load: Callable[[], Loaded]) -> None:
        self.symbol = symbol
        self._load = load

    @cached_property
    def _known(self) -> Loaded:
        return self._load()

    @property
    def _loaded(self) -> Loaded:
        known = self._known
        for files in {each.files for each in known.series.values() if each.files is not None}:
            files.let_go()
        return known

    @property
    def window(self) -> Window | None:
        """The window of a backtest; ``None`` for a live run, and for a backtest without candles."""
        return self._known.window

    @property
    def series(self) -> Mapping[Key, Series]:
        """The series in memory at the end of the run, by symbol and interval."""
        return self._loaded.series

    @property
    def minutes(self) -> Candles:
        """The candles of the symbol that filled orders: one-minute candles, or longer base bars."""
        loaded = self._loaded
        if loaded.window is not None:
            return loaded.window.minutes(self.symbol).candles
        known = next((each for (symbol, _), each in loaded.series.items() if symbol == self.symbol), None)
        return Candles.empty() if known is None else known.candles


def _held(source: CandleSource) -> object:
    if not hasattr(source, "held") and not hasattr(source, "parts"):
        return source
    from .weak_source import held

    return held(source)


class _Part(NamedTuple):
    """One series that can be read again, with the digest of its candles."""

    symbol: str
    interval: str
    since: int
    until: int
    digest: str


class _Reload(msgspec.Struct, frozen=True):
    """Reads the candles of a run again."""

    plan: Plan | LivePlan
    horizon: int
    parts: tuple[_Part, ...]

    def __call__(self) -> Loaded:
        """Return the candles.

        Raises
        ------
        DataError
            When they cannot be read any more, or have changed.
        """
        plan = self.plan
        source = plan.exchange.source
        held = _held(source)  # a file is read once for all series
        feed = Feed(
            source,
            plan.settings,
            allow_gaps=plan.allow_gaps,
            now=SystemClock().now,
            whole_until=plan.frame.last if isinstance(plan, Plan) else None,
        )
        window = Window(feed, horizon=self.horizon, base=plan.base)
        for part in self.parts:
            found = fetch_now(window.load(part.symbol, part.interval, part.since))
            if part.interval == window.base and part.until > self.horizon:
                found = fetch_now(window.load_after(part.symbol, part.until))
            if digest(found.candles) != part.digest:
                raise DataError(
                    f"exchange {plan.exchange.name!r} has other {part.interval} candles of {part.symbol} now than the "
                    "run was made on, and those are no longer in memory\n"
                    "run it again; the candles of a result stay in memory as long as you hold the result"
                )
        del held
        series = window.series()
        if (plan.symbol, window.base) in series:
            window.average_prices(plan.symbol)
        return Loaded(window, series)


def with_weak_source(exchange: Exchange) -> Exchange:
    """Return the same exchange; a source that holds candles in memory is referenced weakly."""
    if not getattr(exchange.source, "in_memory", False) and not hasattr(exchange.source, "with_parts"):
        return exchange
    from .weak_source import weakened  # few sources are

    return replace(exchange, source=weakened(exchange.source))


class RunRecord(msgspec.Struct, frozen=True):
    """The record of a backtest or a live run.

    Attributes
    ----------
    plan
        The plan that was run.
    records
        Events, failures and warnings.
    mode, frame, start, last, stopped, seconds
        As the result has them; moments in UTC ms.
    candles
        The candles of the run.
    candles_from
        Kind and name of the source, as on a run card.
    code
        Source text of the user's functions, where it was read before the run.
    rules
        The rules of a backtest, without its account: a step into the run asks none. ``None`` for a live run.
    manages
        Whether the strategy was asked about what was open.
    reached
        The last moment a backtest came to, UTC ms; ``None`` for a live run, whose last moment that is.
    measured
        What was measured of its candles, where those were released, or where another process measured them.
    stats
        The statistics of all its trades, where another process made them.
    tries
        How many strategies were tried on its candles; ``None`` where that is not counted.
    published
        The point-in-time series it read.
    shares_risk
        Whether other legs of its portfolio had its risk profile, too: what they held decided what it opened.
    money
        Its account in money, where it had a capital of its own.
    money_positions
        Its positions in money by signal, also where it shared an account with other legs of its portfolio.
    benchmark
        The prices of its benchmark, where it has one.
    traded
        What became of the orders of a live run at its broker; called when it is looked at. ``None``: it had no broker.
    recorded
        The candles and the notes that a live run has recorded; called when they are looked at. ``None``: a backtest.
    """

    plan: Plan | LivePlan
    records: Records
    mode: Mode
    frame: str | None
    start: int
    last: int
    stopped: bool
    seconds: float
    candles: RunCandles
    candles_from: str
    code: Any = None
    manages: bool = True
    rules: Rules | None = None
    tries: Tries | None = None
    counted: int | None = None  # minutes of the run, where its candles were released
    released: tuple[CandleRange, ...] | None = None  # fingerprints of the candles, where they were released
    reached: int | None = None
    measured: Measured | None = None
    stats: Statistics | None = None
    published: RunSeries | None = None
    shares_risk: bool = False
    money: RunAccount | None = None
    money_positions: Mapping[SignalKey, PositionInMoney] | None = None
    benchmark: Benchmark | None = None
    traded: Callable[[], tuple[TradedOrder, ...]] | None = None
    recorded: Callable[[], tuple[list[Row], list[RunNote]]] | None = None

    @property
    def has_sizes(self) -> bool:
        """Whether it has an account of its own in which positions are of another size than all of the equity."""
        return self.money is not None or any(trade.signal.size is not None for trade in self.records.closed)

    @property
    def minute_count(self) -> int:
        """Number of base bars from the first to the last moment, without reading candles again."""
        return len(self.minutes) if self.counted is None else self.counted

    @property
    def minutes(self) -> Candles:
        """The base bars, mostly one-minute candles, from the first to the last moment."""
        held = self.minutes_held
        return held[int(held.timestamp.searchsorted(self.start)) :]

    @property
    def minutes_held(self) -> Candles:
        """The base bars up to the last moment, with those before the first that are in memory."""
        candles = self.candles.minutes
        return candles[: int(candles.timestamp.searchsorted(self.last + 1))]

    def fingerprints(self, known: dict[int, CandleRange] | None = None) -> tuple[CandleRange, ...]:
        """Return the fingerprints of its candles for a run card, without reading candles again.

        Parameters
        ----------
        known
            Fingerprints by ``id`` of the series, filled in; runs that share candles compute each once.
        """
        if self.released is not None:
            return self.released
        if self.mode == "live":
            return (self._fingerprint((self.plan.symbol, self.plan.base), self.minutes),)
        made = {} if known is None else known
        series = sorted(self.candles.series.items())
        for key, each in series:
            if id(each) not in made:
                made[id(each)] = self._fingerprint(key, each.candles)
        return tuple(made[id(each)] for _, each in series)

    def _fingerprint(self, key: Key, candles: Candles) -> CandleRange:
        return fingerprint(candles, exchange=self.plan.exchange.name, symbol=key[0], interval=key[1])

    def rebuilder(
        self, *, exchange: Exchange | None = None, known: dict[int, CandleRange] | None = None
    ) -> Callable[[], RunRecord]:
        """Return a function that makes this record again and holds no candles: they are read when needed.

        Parameters
        ----------
        exchange
            The exchange to read them from; by default that of the run.
        known
            Fingerprints by ``id`` of the series, filled in; runs that share candles compute each once.
        """
        made = {} if known is None else known
        _ = self.records.milestones  # what is made of its candles is made now
        window, series = self.candles.window, self.candles.series
        released = self.fingerprints(made)
        parts = tuple(
            _Part(*key, each.since, each.until, made[id(each)].digest if id(each) in made else digest(each.candles))
            for key, each in series.items()
        )
        ends = [int(each.candles.timestamp[-1]) + each.step for each in series.values() if len(each.candles)]
        horizon = window.horizon if window is not None else max(ends, default=0)
        plan = replace(self.plan, exchange=exchange or with_weak_source(self.plan.exchange))
        load = _Reload(plan, horizon, parts) if parts else _nothing
        candles = RunCandles(plan.symbol, load)
        from .measured import measure

        bare = replace(
            self, plan=plan, candles=candles, counted=self.minute_count, released=released, measured=measure(self)
        )
        return partial(_with_candles, bare)


def _nothing() -> Loaded:
    return Loaded(None, {})


def _with_candles(record: RunRecord) -> RunRecord:
    """Return the record with its own, not yet loaded candles."""
    return replace(record, candles=RunCandles(record.plan.symbol, record.candles._load))


def _described(source: CandleSource, symbol: str) -> str:
    """Return kind and name of a source, and what it says about the candles of a symbol."""
    describe: Callable[[str], str] | None = getattr(source, "describe", None)
    return f"{source.__class__.__name__} {source.name}" + ("" if describe is None else describe(symbol))


def _traded(run: LiveRun) -> Callable[[], tuple[TradedOrder, ...]] | None:
    desk = run.orders
    return None if desk is None else lambda: desk.traded


def _recorded(run: LiveRun) -> Callable[[], tuple[list[Row], list[RunNote]]]:
    there: Callable[[], tuple[list[Row], list[RunNote]]] | None = getattr(run, "recorded", None)
    if there is not None:  # in another process, which has the store
        return there
    store, recording = run.plan.store, run.saver.recording

    def load() -> tuple[list[Row], list[RunNote]]:
        store.acquire()
        try:
            return recording.load()
        finally:
            store.release()

    return load


def record_of(run: BacktestRun | LiveRun) -> RunRecord:
    """Return the record of a run up to now."""
    window = run.window if isinstance(run, BacktestRun) else None
    loaded = Loaded(window, run.series())
    source = run.plan.exchange.source
    return RunRecord(
        plan=run.plan,
        records=run.records.snapshot(),
        mode=run.mode,
        frame=run.frame_name,
        start=run.start,
        last=run.last,
        stopped=run.stopped,
        seconds=run.seconds,
        candles=RunCandles(run.plan.symbol, lambda: loaded),
        candles_from=_described(source, run.plan.symbol),
        code=run.code,
        manages=run.manages if isinstance(run, BacktestRun) else run.plan.strategy.manages,
        rules=run.rules._replace(sized=False) if isinstance(run, BacktestRun) else None,
        reached=run.reached if isinstance(run, BacktestRun) else None,
        published=run.published,
        traded=None if isinstance(run, BacktestRun) else _traded(run),
        recorded=None if isinstance(run, BacktestRun) else _recorded(run),
    )
