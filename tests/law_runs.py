"""Runs of rules over paths made of prints, as tables of ends, by the event engine and by the compiled loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from law_rules import EVERY, ORDERS, RULES, Wishes, wishes
from minute_clock import MinuteClock
from numpy.typing import NDArray
from scenarios import MINUTE
from tick_paths import Path, path
from tick_truth import AWAIT_MINUTES, Truth

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.broker_orders_and_ids import Order, Report
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import Plan, open_window, plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.events.heard import NOBODY
from bknb.kernels import simulate as kernel
from bknb.sweeps.evaluate_combination import Evaluator, ends_of
from bknb.sweeps.prepared_candles import prepare

SETTINGS = {"percent_fee": 0.0, "percent_slippage": 0.0}
LOOKBACK = 40
SEEN = 4.0  # of t: what breaks the law is beyond it
Table = NDArray[np.float64]


class Run(NamedTuple):
    """One rule with one kind of orders on one path: the table of its ends."""

    path: Path
    rule: str
    orders: str
    ends: Table
    await_minutes: int = AWAIT_MINUTES


def paths(kind: str, count: int, minutes: int) -> list[Path]:
    """Paths of one kind; the data of every fourth ends inside the frame."""
    return [path(kind, seed, minutes, data_ends=seed % 4 == 3) for seed in range(count)]


def signal(wanted: Wishes, row: int) -> bknb.Signal | None:
    """What a strategy answers when the candle of a row has closed."""
    side, level, target, stop = wanted.row(row)
    if side == 0:
        return None
    return bknb.Signal(
        position="long" if side > 0 else "short",
        price_open=None if np.isnan(level) else level,
        entry="stop" if wanted.entry == "stop" else "limit",
        price_take_profit=target,
        price_stop_loss=stop,
        minute_estimated_time=wanted.minutes,
    )


def asked(market: Path, wanted: Wishes) -> Callable[[Any], bknb.Signal | None]:
    """The strategy of a rule, as one that is asked minute by minute."""
    rows = {int(t) + MINUTE: row for row, t in enumerate(market.times)}

    def get_signal(ctx: Any) -> bknb.Signal | None:
        return signal(wanted, rows[ctx.when_ms])

    return get_signal


def _plan(market: Path, execution: str, settings: dict[str, Any] | None = None, **strategy: Any) -> Plan:
    return plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("law", interval="1m", **strategy),
        exchange=market.source,
        frame=market.frame,
        execution=execution,
        settings=SETTINGS | (settings or {}),
        allow_gaps=True,
    )


def ran(
    market: Path,
    get_signal: Callable[[Any], Any],
    *,
    walk: type[BacktestRun] = BacktestRun,
    settings: dict[str, Any] | None = None,
    **strategy: Any,
) -> BacktestRun:
    """The run of a strategy over a path by the event engine, in which nothing failed."""
    run = walk(_plan(market, "pessimistic", settings, get_signal=get_signal, **strategy), listeners=NOBODY)
    asyncio.run(run.through())
    assert not run.records.failures, run.records.failures
    return run


def over_gaps_and_clusters(earned: Callable[[Path], Sample], count: int, minutes: int = 300) -> Sample:
    """What is earned on so many paths of both kinds."""
    markets = [market for kind in ("gaps", "clusters") for market in paths(kind, count, minutes)]
    return total([earned(market) for market in markets])


def by_events(
    markets: Iterable[Path],
    rules: Iterable[str] = RULES,
    orders: Iterable[str] = ORDERS,
    *,
    execution: str = "pessimistic",
    settings: dict[str, Any] | None = None,
) -> Iterator[Run]:
    """Backtests by the event engine."""
    rules, orders = list(rules), list(orders)
    for market in markets:
        window = None
        for rule in rules:
            for name in orders:
                wanted = wishes(market, rule, EVERY[name])
                plan = _plan(market, execution, settings, get_signal=asked(market, wanted))
                window = window or open_window(plan, warn=lambda _: None)
                run = BacktestRun(plan, listeners=NOBODY, window=window)
                asyncio.run(run.through())
                assert not run.records.failures, run.records.failures
                yield Run(market, rule, name, ends_of(run.records))


def compiled(
    markets: Iterable[Path],
    rules: Iterable[str] = RULES,
    orders: Iterable[str] = ORDERS,
    *,
    execution: str = "pessimistic",
    settings: dict[str, Any] | None = None,
) -> Iterator[Run]:
    """Backtests by the compiled loop, as a sweep makes them."""
    rules, orders = list(rules), list(orders)
    for market in markets:

        def get_signals(candles: Any, rule: str = "", orders: str = "", market: Path = market) -> dict[str, Any]:
            wanted = wishes(market, rule, EVERY[orders])
            rows = np.searchsorted(market.times, candles.timestamp)
            return {
                "position": wanted.side[rows].astype(np.int8),
                "price_take_profit": wanted.target[rows],
                "price_stop_loss": wanted.stop[rows],
                "minute_estimated_time": float(wanted.minutes),
                "price_open": wanted.level[rows],
                "stop_entry": np.full(len(rows), wanted.entry == "stop"),
            }

        plan = _plan(market, execution, settings, get_signals=get_signals, lookback=LOOKBACK)
        evaluator = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True)
        for rule in rules:
            for name in orders:
                outcome = evaluator.evaluate({"rule": rule, "orders": name})
                assert not outcome.error, outcome.error
                assert outcome.ends is not None
                yield Run(market, rule, name, outcome.ends)


class Remembering(PaperBroker):
    """A paper broker that keeps what it was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: dict[str, Order] = {}

    async def place(self, order: Order) -> Report:
        self.sent[order.client_id] = order
        return await super().place(order)


class Fill(NamedTuple):
    """What a broker made of one order: 1 for a buy, when it was decided (UTC ms), its limit, and the price."""

    purpose: str
    side: int
    created_at: int
    limit: float | None
    price: float


LIVE_AWAIT, LIVE_LAST = 10, 30  # minutes: a waiting order, and how long before the end the last question comes


def live(market: Path, rule: str, name: str, broker: Remembering | None = None) -> tuple[Run, list[tuple[Fill, Fill]]]:
    """A live replay of a path, and the fills of a paper broker meanwhile: in and out, position by position.

    Nothing is asked for in the last minutes, so that everything has ended when the run does.
    """
    answer = asked(market, wishes(market, rule, EVERY[name]))
    broker = broker or Remembering()
    start, until = market.frame

    async def get_signal(ctx: Any) -> bknb.Signal | None:
        return answer(ctx) if ctx.when_ms < until - LIVE_LAST * MINUTE else None

    result = bknb.Live.background(
        "BTCUSDT",
        strategy=make_strategy("law", interval="1m", get_signal=get_signal),
        exchange=market.source,
        clock=MinuteClock(start),
        until=until,
        store=bknb.stores.memory(),
        settings=SETTINGS | {"schedule_await_minutes": LIVE_AWAIT},
        allow_gaps=True,
        broker=broker,
        quantity=2.0,
    ).result(timeout=120)
    # a stop entry is sent when its minute has closed, and no more when that minute ended it, too
    assert {error.kind for error in result.errors} <= {"broker", "double_fill"}, result.errors
    assert broker.position("BTCUSDT") == 0
    return Run(market, rule, name, ends_of(result.run_record.records), LIVE_AWAIT), _fills(broker)


def _fills(broker: Remembering) -> list[tuple[Fill, Fill]]:
    found: dict[tuple[str, int], list[Fill]] = {}
    for name, order in broker.sent.items():
        price = broker.orders[name].average_price
        if price is not None:
            side = 1 if order.side == "buy" else -1
            found.setdefault(order.key, []).append(Fill(order.purpose, side, order.created_at, order.price, price))
    assert all([fill.purpose for fill in pair] == ["open", "close"] for pair in found.values())
    return [(pair[0], pair[1]) for pair in found.values()]


def gains(fills: Iterable[tuple[Fill, Fill]]) -> dict[int, Sample]:
    """The money a broker's fills came to, by side: basis points of the cost of the entry."""
    by_side: dict[int, list[float]] = {1: [], -1: []}
    for entry, exit_ in fills:
        by_side[entry.side].append(entry.side * (exit_.price / entry.price - 1) * 1e4)
    return {side: Sample(values) for side, values in by_side.items()}


def positions(ends: Table) -> Table:
    """The rows that were opened."""
    return ends[ends[:, kernel.REASON] < kernel.FIRST_CANCEL]


class Sample:
    """The money of many positions: mean, standard error and t.

    ``moves`` is the sum of squared moves of the market while they were open. Of a martingale it is the variance of the
    sum, however rare the losses are that make it up: a small sample of positions without a stop may hold none of them,
    and its own deviation then says nothing.
    """

    def __init__(self, values: Iterable[float] | Table, moves: float = 0.0) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.moves = moves

    def __len__(self) -> int:
        return len(self.values)

    def __add__(self, other: Sample) -> Sample:
        return Sample(np.concatenate([self.values, other.values]), self.moves + other.moves)

    @property
    def mean(self) -> float:
        return float(self.values.mean()) if len(self) else 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        variance = max(float(self.values.var()) * len(self), self.moves)
        return variance**0.5 / len(self)

    @property
    def t(self) -> float:
        """How many standard errors the mean is above zero; 0 for too few to say."""
        if len(self) < (FEW if self.moves else MANY):
            return 0.0
        if self.error:
            return self.mean / self.error
        return float(np.copysign(np.inf, self.mean)) if self.mean else 0.0

    def __repr__(self) -> str:
        return f"{self.mean:+.2f} (t {self.t:+.1f}, n {len(self)})"


MANY, FEW = 30, 10  # positions that say something, by their deviation and by the moves of the market

By = dict[tuple[str, str, str], Sample]


def _moves(run: Run, opened: Table) -> Table:
    """The sum of squared moves of the market while each position was open, in ticks."""
    if EVERY[run.orders].stop is not None:
        return np.zeros(len(opened))
    to_first, to_last = run.path.moved
    begin, end = run.path.times.searchsorted(opened[:, [kernel.PENDING_AT, kernel.CLOSED_AT]].T)
    begin, end = np.minimum([begin, end], len(to_last) - 1)  # where nothing was opened
    reason = opened[:, kernel.REASON]
    at_open = (reason == kernel.TIME_EXPIRED) | (reason == kernel.FRAME_END)
    moves: Table = np.where(at_open, to_first[end], to_last[end]) - to_first[begin].astype(np.float64)
    return moves


def money(runs: Iterable[Run], *, kept: Callable[[Table], NDArray[np.bool_]] | None = None) -> By:
    """The money of all positions by orders, rule and side: basis points of the cost of their first fills.

    ``kept`` chooses among them; the law holds for all of them together.
    """
    found: dict[tuple[str, str, str], list[Sample]] = {}
    for run in runs:
        opened = positions(run.ends)
        if kept is not None:
            opened = opened[kept(opened)]
        moves = _moves(run, opened) * (1e4 / opened[:, kernel.OPEN]) ** 2
        for side, text in ((1, "long"), (-1, "short")):
            mine = opened[:, kernel.SIDE] == side
            sample = Sample(opened[mine, kernel.NET] * 100, float(moves[mine].sum()))
            found.setdefault((run.orders, run.rule, text), []).append(sample)
    return {key: total(parts) for key, parts in found.items()}


def total(samples: Iterable[Sample]) -> Sample:
    """All of them as one."""
    samples = list(samples)
    return Sample(np.concatenate([sample.values for sample in samples]), sum(sample.moves for sample in samples))


def pooled(by: By) -> dict[str, Sample]:
    """All rules together, by orders."""
    names = dict.fromkeys(orders for orders, _, _ in by)
    return {name: total(sample for (orders, _, _), sample in by.items() if orders == name) for name in names}


def winners(by: By, limit: float = 4.0) -> list[str]:
    """The rules that earn, by more standard errors than the limit."""
    rich = sorted(((sample.t, key) for key, sample in by.items() if sample.t > limit), reverse=True)
    return [f"{rule} {side}: {orders}: {by[orders, rule, side]!r}" for _, (orders, rule, side) in rich]


class Compared(NamedTuple):
    """Positions beside what the prints make of the same orders.

    ``different`` are those that differ though no candle leaves a doubt. ``doubtful`` are the others, by orders and
    rule: what they gained, less what the prints were worth, in ticks. ``ahead`` is the same of all that opened
    anything, by orders; ``told`` counts all.
    """

    different: list[str]
    doubtful: dict[tuple[str, str], Sample]
    ahead: dict[str, Sample]
    told: int


TOLD = [kernel.OPEN, kernel.CLOSE, kernel.PENDING_AT, kernel.CLOSED_AT, kernel.REASON]


def compare(runs: Iterable[Run]) -> Compared:
    """Each position of runs against the prints."""
    truths: dict[Path, Truth] = {}
    different: list[str] = []
    doubtful: dict[tuple[str, str], list[tuple[float, float]]] = {}
    ahead: dict[str, list[float]] = {}
    told = 0
    for run in runs:
        if not len(run.ends):
            continue
        truth, ends = truths.get(run.path) or truths.setdefault(run.path, Truth(run.path)), run.ends
        whens = ends[:, kernel.SCHEDULED_AT].astype(np.int64)
        facts = truth.positions(wishes(run.path, run.rule, EVERY[run.orders]), whens, run.await_minutes)
        told += len(facts)
        opened = ends[:, kernel.REASON] < kernel.FIRST_CANCEL
        gained = np.where(opened, ends[:, kernel.SIDE] * (ends[:, kernel.CLOSE] - ends[:, kernel.OPEN]), 0.0)
        gained -= [0.0 if fact is None else fact.worth for fact in facts]
        either = opened | [fact is not None for fact in facts]
        ahead.setdefault(run.orders, []).extend(gained[either].tolist())
        doubts = (ends[:, kernel.AMBIGUOUS] > 0) | [fact is not None and fact.within_a_minute for fact in facts]
        if doubts.any():
            pairs = zip(gained[doubts].tolist(), _moves(run, ends[doubts]).tolist(), strict=True)
            doubtful.setdefault((run.orders, run.rule), []).extend(pairs)
        sure = np.flatnonzero(either & ~doubts)
        for at, (*figures, reason) in zip(sure.tolist(), ends[sure][:, TOLD].tolist(), strict=True):
            got = (*figures, kernel.REASONS[int(reason)]) if opened[at] else None
            fact = facts[at]
            if got != (None if fact is None else fact[1:6]):
                minute = (int(whens[at]) - run.path.frame[0]) // MINUTE
                different.append(f"{run.orders}, {run.rule}, {run.path.kind}, m{minute}: {got} against {fact}")
    return Compared(
        different,
        {key: Sample([gain for gain, _ in all_], sum(moved for _, moved in all_)) for key, all_ in doubtful.items()},
        {name: Sample(values) for name, values in ahead.items()},
        told,
    )
