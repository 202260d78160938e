"""The compiled loop of a sweep and the event engine come to the same trades, to the last bit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from worlds import MODELS, SEEDS, drawn_plan

import bknb
from bknb.domain import entry_timeout, market_clock_protocol, position_fills, tick_grid
from bknb.domain.fills_at_stops_and_gaps import Entry, Minute, execution_model
from bknb.domain.least_samples import GATES
from bknb.domain.signal import ScheduledSignal
from bknb.domain.sweep_trial import Refusals
from bknb.engine.backtest import BacktestRun
from bknb.engine.get_signals_columns import read_rows
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.kernels import declared_exit_loop, sweep_figures
from bknb.kernels import simulate as kernel
from bknb.metrics.statistics import statistics
from bknb.runs.result_tables import trade_row
from bknb.sweeps.evaluate_combination import Evaluator, ends_of
from bknb.sweeps.kernel_inputs import rule_numbers
from bknb.sweeps.prepared_candles import Prepared, prepare
from bknb.sweeps.refused_answers import of_events, of_table

if sys.modules.get("numba", 0) is not None:  # a test takes it away
    pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

FILLS = {"open": kernel.AT_OPEN, "level": kernel.AT_LEVEL, "stopped": kernel.STOPPED_OUT}
HALF = settings(max_examples=settings.default.max_examples // 2)  # an example is a world in two engines
LIMITS = {
    "min_take_profit_distance_percent": 0.8,
    "min_stop_loss_distance_percent": 0.8,
    "max_stop_loss_distance_percent": 3.0,
    "max_signal_lifetime_minutes": 150,
}


def market(random: np.random.Generator, length: int, tick: float | None = None) -> list[list[float]]:
    """Minutes of a nervous market: jumps, gaps between close and open, minutes and stretches without volume.

    With a tick all prices are on its grid, so that levels on it are often reached and not passed.
    """
    size = length + 80
    moves, wicks = random.normal(0, 0.003, size), np.abs(random.normal(0, 0.002, (2, size)))
    wild = random.random(size) < 0.03  # a candle that may reach everything, every other one after a gap
    wicks[:, wild] += 0.03
    close = 100 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([[100.0], close[:-1]]) * (1 + random.normal(0, 0.002, size))
    gap = wild & (np.arange(size) % 2 == 0)
    open_[gap] *= 1 + 0.03 * np.sign(moves[gap])
    high, low = np.maximum(open_, close) * (1 + wicks[0]), np.minimum(open_, close) * (1 - wicks[1])
    if tick is not None:
        open_, high, low, close = (
            np.maximum(np.round(prices / tick), 1) * tick for prices in (open_, high, low, close)
        )
    times = ORIGIN + (np.arange(size) - 60) * MINUTE
    volume = random.integers(0, 3, size) * 10.0
    how = random.random()
    if how < 0.15:
        volume[:] = 0  # a source that reports no volume
    elif how < 0.3:
        volume[: random.integers(size)] = 0  # or begins to, late
    elif how < 0.7:
        for begin in random.integers(0, size, 8):  # nobody trades for a while
            volume[begin : begin + random.integers(2, 40)] = 0
    return [list(row) for row in zip(times.tolist(), *(c.tolist() for c in (open_, high, low, close, volume)),
                                     strict=True)]  # fmt: skip


def chance(minute: np.ndarray, seed: int, salt: int) -> np.ndarray:
    """Numbers in [0, 1) that depend on the minute, the seed and the salt alone (the finaliser of splitmix64)."""
    x = minute.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed * 64 + salt)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))).astype(np.float64) / 2.0**64


def get_signals(candles: Any, seed: int = 0, busy: float = 0.3) -> dict[str, Any]:
    """Random wishes, some of them impossible; what a row is depends on its candle alone."""
    names = ("position", "wait", "offset", "target", "stop", "minutes", "spoilt", "how", "kind", "near")
    minute = candles.timestamp // MINUTE
    dice = {name: chance(minute, seed, k) for k, name in enumerate(names)}
    side = np.where(dice["position"] < busy / 2, 1.0, np.where(dice["position"] < busy, -1.0, 0.0))
    market_price = candles.close
    stop_entry = dice["kind"] < 0.4
    way = np.where(stop_entry, -side, side)
    limit = np.where(dice["wait"] < 0.6, market_price * (1 - way * (dice["offset"] * 0.028 - 0.012)), np.nan)
    entry = np.where(np.isnan(limit), market_price, limit)
    target = entry * (1 + side * (0.006 + dice["target"] * 0.03))
    stop = entry * (1 - side * (0.006 + dice["stop"] * 0.03))
    minutes = np.floor(1 + np.where(dice["near"] < 0.5, 6, 200) * dice["minutes"])
    spoilt = dice["spoilt"] < 0.15
    for part, (array, value) in enumerate(
        [(target, np.inf), (stop, -1.0), (minutes, 1.5), (minutes, 0.0), (minutes, 1e300), (side, 3.0),
         (target, -5.0), (stop, np.inf), (limit, np.inf), (limit, -1.0), (side, np.nan), (minutes, -3.0),
         (minutes, np.inf)]
    ):  # fmt: skip
        array[spoilt & (np.floor(dice["how"] * 13) == part)] = value
    return {
        "position": side,
        "price_take_profit": target,
        "price_stop_loss": stop,
        "minute_estimated_time": minutes,
        "price_open": limit,
        "stop_entry": stop_entry & ~np.isnan(limit) | (dice["spoilt"] > 0.98),
    }


def plan_for(seed: int, model: str, rows: Callable[..., Any] = get_signals, **params: Any) -> Any:
    """A world, a strategy and a frame, all drawn from the seed; ``rows`` are its get_signals."""
    random = np.random.default_rng([7, seed])
    length = int(random.integers(200, 900))
    tick = [None, 0.01, 0.25, 0.3][int(random.integers(4))]
    minutes = market(random, length, tick)
    gaps = bool(random.random() < 0.3)
    if gaps:
        gone = set(random.integers(60, len(minutes), len(minutes) // 12).tolist())
        hole, width = int(random.integers(70, len(minutes) - 10)), int(random.integers(5, 40))
        minutes = [row for i, row in enumerate(minutes) if i not in gone and not hole <= i < hole + width]
    if random.random() < 0.3:
        minutes = minutes[: -int(random.integers(20, 150))]  # the data ends inside the frame
    exchange: Any = source(minutes)
    if random.random() < 0.2:  # a market that closes for lunch and at night
        hours = "00:00-04:10, 05:00-09:30, 11:00-24:00"
        exchange = bknb.exchanges.in_sessions(exchange, bknb.Sessions.weekly("UTC", {"mon-sun": hours}))

    def frame() -> tuple[int, int]:
        start = ORIGIN + int(random.integers(-30, 10)) * MINUTE
        return start, ORIGIN + length * MINUTE + int(random.integers(0, 50_000))

    return drawn_plan(
        random, exchange, seed=seed, rows=rows, model=model, frame=frame, tick=tick, gaps=gaps, params=params,
        intervals=("1m", "5m", "15m"), steps=("1m", "1m", "3m", "15m", "30m"), lookbacks=40, limits=LIMITS,
        choices={
            "schedule_await_minutes": (3, 30, 120),
            "percent_fee": (0.0, 0.05, 0.1),
            "avg_price_candles_count": (1, 5),
        },
    )  # fmt: skip


def by_events(plan: Any) -> BacktestRun:
    run = BacktestRun(plan)

    async def through() -> None:
        async for _ in run.results():
            pass

    asyncio.run(through())
    return run


def by_kernel(plan: Any, simulate: Any = None) -> tuple[np.ndarray, Refusals]:
    evaluator = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True)
    if simulate is not None:
        prepared = evaluator.prepared
        answer = plan.strategy.get_signals(prepared.candles, **plan.strategy.params)
        given = read_rows(answer, len(prepared.candles), "")
        rows = given.on_grid(plan.settings.price_tick)
        table = evaluator.table(rows)
        exits = evaluator.exits(rows)
        ends, refusals = simulate(prepared.market, evaluator._blocks, evaluator._grid, table, evaluator._rules, exits)
        return ends, of_table(refusals, rows, plan)
    outcome = evaluator.evaluate({})
    assert not outcome.error
    assert outcome.ends is not None
    return outcome.ends, outcome.refusals


def assert_same(events: BacktestRun, ends: np.ndarray, refusals: Refusals) -> None:
    expected = ends_of(events.records)
    assert len(ends) == len(expected)
    got = ends.copy()
    got[:, kernel.ROW] = -1
    np.testing.assert_array_equal(got, expected)
    assert refusals == of_events(events.records.rejected)


@pytest.mark.slow  # the same of rows that declare exits is quick: test_sweep_declared.py
@pytest.mark.parametrize("model", MODELS)
@HALF
@given(seed=SEEDS)
def test_kernel_trades_are_the_engines(model: str, seed: int) -> None:
    plan = plan_for(seed, model)
    assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@HALF
@given(seed=SEEDS)
def test_the_kernel_equals_its_specification(model: str, seed: int) -> None:
    plan = plan_for(seed, model)
    compiled, plain = by_kernel(plan), by_kernel(plan, kernel.simulate_plain)
    np.testing.assert_array_equal(compiled[0], plain[0])
    assert compiled[1] == plain[1]


def test_more_trades_than_the_table_has_rows_at_first() -> None:
    def often(candles: Any) -> dict[str, Any]:
        levels = {"price_take_profit": candles.close * 1.05, "price_stop_loss": candles.close * 0.95}
        return {"position": 1, "minute_estimated_time": 1, **levels}

    minutes = [[row[0], *row[1:5], 1.0] for row in market(np.random.default_rng(5), 800)]
    strategy = make_strategy("often", interval="1m", get_signals=often, lookback=1)
    frame = (ORIGIN, ORIGIN + 800 * MINUTE)
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=source(minutes), frame=frame, execution="pessimistic")
    ends, refusals = by_kernel(plan)
    assert len(ends) > 300
    assert_same(by_events(plan), ends, refusals)


@pytest.mark.parametrize("model", ["pessimistic", "touch"])
@pytest.mark.parametrize(
    ("level", "last", "expected"),
    [
        (np.nan, 9, (kernel.DATA_END, 9)),
        (np.nan, 10, (kernel.DATA_END, 10)),  # the deadline is the close of the last candle: no candle fills it
        (np.nan, 11, (kernel.TIME_EXPIRED, 11)),
        (99.0, 9, (kernel.DATA_END_CANCEL, 9)),
        (99.0, 10, (kernel.TIMEOUT, 11)),
        (99.0, 11, (kernel.TIMEOUT, 11)),
    ],
)
def test_the_data_end_where_the_clock_ends_something(
    model: str, level: float, last: int, expected: tuple[int, int]
) -> None:
    def once(candles: Any) -> dict[str, Any]:
        wanted = (candles.timestamp == ORIGIN).astype(np.int8)  # asked about at minute 1
        levels = {"price_take_profit": 110.0, "price_stop_loss": 90.0, "price_open": level}
        return {"position": wanted, "minute_estimated_time": 10, **levels}

    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("once", interval="1m", get_signals=once, lookback=5),
        exchange=source([[ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 1.0] for k in range(-60, last + 1)]),
        frame=(ORIGIN, ORIGIN + 60 * MINUTE),
        execution=model,
        settings={"schedule_await_minutes": 10},
    )
    ends, refusals = by_kernel(plan)
    assert [(end[kernel.REASON], (end[kernel.CLOSED_AT] - ORIGIN) / MINUTE) for end in ends] == [expected]
    assert_same(by_events(plan), ends, refusals)


@pytest.mark.slow
def test_the_worlds_hold_every_kind_of_end() -> None:
    seen: set[int] = set()
    of_declared = {kernel.TRAILING_STOP, kernel.BREAKEVEN, kernel.STRATEGY}  # test_sweep_declared.py
    wanted = {*kernel.REASONS} - kernel.EVENT_ENGINE_ONLY - of_declared
    ambiguous = rejected = freed = overtaken = at_entry = exact = 0
    for seed in (37, 40, 59, 76):  # chosen among many: together they hold every kind
        for model in MODELS:
            plan = plan_for(seed, model)
            ends, refused = by_kernel(plan)
            seen |= set(ends[:, kernel.REASON].astype(int).tolist())
            ambiguous += int(ends[:, kernel.AMBIGUOUS].sum())
            rejected += sum(count for _, _, count in refused)
            # A position that leaves, and the next that enters, at one open; an order cancelled while one still leaves;
            # a fill beyond a level of its own; an end in a hole, where no candle opens.
            closed = ends[:, kernel.REASON] < kernel.FIRST_CANCEL
            by_clock = ends[:, kernel.REASON] == kernel.TIME_EXPIRED
            freed += int(np.sum(by_clock[:-1] & (ends[:-1, kernel.CLOSED_AT] == ends[1:, kernel.PENDING_AT])))
            overtaken += int(np.sum(np.diff(ends[:, kernel.SCHEDULED_AT]) < 0))
            once = ends[:, kernel.PENDING_AT] == ends[:, kernel.CLOSED_AT]
            at_entry += int(np.sum(closed & once & (ends[:, kernel.OPEN] == ends[:, kernel.CLOSE])))
            timeouts = ends[ends[:, kernel.REASON] == kernel.TIMEOUT, kernel.CLOSED_AT]
            exact += int(np.sum(~np.isin(timeouts, asyncio.run(prepare(plan)).market.times)))
    assert seen == wanted
    assert ambiguous > 10
    assert rejected > 100
    assert min(freed, overtaken, at_entry, exact) > 0, (freed, overtaken, at_entry, exact)


@pytest.mark.slow
@pytest.mark.parametrize("model", first_quick(MODELS))
@HALF
@given(seed=SEEDS)
def test_figures_are_those_of_the_statistics(model: str, seed: int) -> None:
    plan = plan_for(seed, model)
    run = by_events(plan)
    expected = statistics([trade_row(event) for event in run.records.closed])
    outcome = Evaluator(plan, asyncio.run(prepare(plan))).evaluate({})
    plain = sweep_figures.score_plain(ends_of(run.records), GATES)
    for figures in (outcome.figures, plain):
        got = dict(zip(sweep_figures.FIGURES, figures.tolist(), strict=True))
        assert got.pop("cancelled") == len(run.records.cancelled)
        assert got.pop("ambiguous") == sum(event.ambiguous for event in run.records.closed)
        for name, value in got.items():
            known = expected[name]
            if known is None:
                assert np.isnan(value), name
            else:
                assert value == pytest.approx(known, rel=1e-9, abs=1e-9), name


@pytest.mark.slow
@HALF
@given(seed=SEEDS)
def test_daily_returns_compound_to_the_equity(seed: int) -> None:
    plan = plan_for(seed, "touch")
    outcome = Evaluator(plan, asyncio.run(prepare(plan))).evaluate({})
    final = outcome.figures[sweep_figures.FIGURES.index("equity_final")]
    assert np.prod(1 + outcome.daily) == pytest.approx(1.0 if np.isnan(final) else final, rel=1e-9)


@pytest.mark.slow
@given(seed=SEEDS)
def test_gates_come_from_outside(seed: int) -> None:
    """Compiled and plain take the gates they are given, none of them from their own module."""
    ends = ends_of(by_events(plan_for(seed, "touch")).records)
    open_gates = GATES._replace(min_trades=2, min_span_days=0.0, max_trades_per_year=1e9, max_ratio=0.5)
    for gates in (GATES, open_gates):
        compiled, plain = sweep_figures.score(ends, gates), sweep_figures.score_plain(ends, gates)
        np.testing.assert_allclose(compiled, plain, rtol=1e-9, equal_nan=True)
        ratios = compiled[[sweep_figures.CALMAR, sweep_figures.RECOVERY]]
        assert not np.any(np.abs(ratios) > gates.max_ratio)
    if compiled[sweep_figures.N] >= 2:
        assert compiled[sweep_figures.TRADES_A_YEAR] > 0
        assert not np.isnan(compiled[sweep_figures.SPREAD])


def test_prepared_candles_are_equal_after_a_file_round_trip(tmp_path: Any) -> None:
    plan = plan_for(3, "pessimistic")
    prepared = asyncio.run(prepare(plan))
    prepared.save(tmp_path / "it")
    loaded = Prepared.load(tmp_path / "it")
    assert loaded.data == prepared.data
    one, other = (Evaluator(plan, given, keep_ends=True).evaluate({}) for given in (prepared, loaded))
    np.testing.assert_array_equal(one.ends, other.ends)


def test_candles_that_end_or_fill_otherwise_have_another_hash() -> None:
    """A closing price or a volume can differ where no average price shows it, and still decides a fill."""
    size = 60

    def hashed(*, quiet: int, last_close: float) -> str:
        rows = [[ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 0.0 if k in (quiet, size - 1) else 1.0]
                for k in range(size)]  # fmt: skip
        rows[-1][4] = last_close
        frame = (ORIGIN + 10 * MINUTE, ORIGIN + size * MINUTE)
        plan = plan_backtest("BTCUSDT", strategy=lambda: None, exchange=source(rows), frame=frame, interval="1m")
        return asyncio.run(prepare(plan, hashed=True)).data

    hashes = [hashed(quiet=quiet, last_close=close) for quiet, close in ((30, 100.0), (31, 100.0), (30, 99.5))]
    assert len(set(hashes)) == 3
    assert hashed(quiet=30, last_close=100.0) == hashes[0]


def in_a_process(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    head = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parent.parent)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ONE = """
from test_sweep_parity import by_kernel, plan_for
from bknb.kernels.jit import _made
ends, _ = by_kernel(plan_for(3, "touch"))
stats = [kernel.stats for kernel in _made.values()]
print(len(ends), sum(len(one.cache_hits) for one in stats), sum(len(one.cache_misses) for one in stats))
"""


@pytest.mark.slow
def test_a_second_process_does_not_compile_again() -> None:
    ends, _ = by_kernel(plan_for(3, "touch"))  # the first process: what it compiled is on disk
    in_a_process(ONE)  # unless another test wrote its own at the same moment; then what this one compiled is
    count, hits, misses = map(int, in_a_process(ONE).split())
    assert count == len(ends)
    assert hits > 0 == misses


SMALL = """
from numba.core import caching
caching.CacheImpl._locator_classes = []
from bknb.kernels.jit import _made, compiled
from loops import loop
import loops
print(compiled(loop, vars(loops))(2.0), *(len(kernel.stats.cache_hits) for kernel in _made.values()))
"""


@pytest.mark.slow
def test_without_a_folder_for_the_cache_it_compiles_in_memory(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text("def loop(price):\n    return price * 1.5\n")
    code = f"sys.path.insert(0, {str(tmp_path)!r})\n{SMALL}"
    assert in_a_process(code).split() == ["3.0", "0"]
    assert sorted(tmp_path.rglob("*.nb?")) == []


@pytest.mark.slow
def test_without_numba_the_error_names_the_install_command() -> None:
    code = (
        "sys.modules['numba'] = None\nimport bknb\nfrom test_sweep_parity import by_kernel, plan_for\n"
        "try:\n    by_kernel(plan_for(3, 'touch'))\nexcept bknb.MissingDependency as error:\n    print(error)\n"
    )
    assert "pip install 'bknb[sweep]'" in in_a_process(code)


def test_what_the_kernels_repeat_of_the_domain_is_equal() -> None:
    """They may not import it."""
    assert kernel.NEVER == market_clock_protocol.NEVER
    assert kernel.RESTING_BARS == entry_timeout.RESTING_BARS
    assert declared_exit_loop.DUST == position_fills.DUST
    assert declared_exit_loop.NEARLY == tick_grid.NEARLY


def test_terms_name_the_reasons_of_each_model() -> None:
    assert [rule_numbers(plan_for(1, model)).frame_end for model in MODELS] == [
        kernel.FRAME_END, kernel.FRAME_END, kernel.TIME_EXPIRED]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("entry", ["limit", "stop"])
def test_the_kernel_fills_entries_as_the_model_does(model: str, entry: Any) -> None:
    """Every order of open, extremes, average price, level and stop, equal ones included, in first and later candles."""
    execution, rules = execution_model(model), rule_numbers(plan_for(1, model))
    places = (97.0, 98.0, 99.0, 100.0, 101.0)  # beyond the stop, at it, between, at the level, beyond
    for open_, high, low, average, sign, first in product(places, places, places, places, (1, -1), (True, False)):
        if not low <= open_ <= high or not low <= average <= high:
            continue
        opened, one, other, mean = (200 + sign * (each - 100) for each in (open_, high, low, average))
        level, stop, most, least = 200.0, 200.0 - 2 * sign, max(one, other), min(one, other)
        minute = Minute(0, opened, most, least, opened, mean)
        names = ("open", "high", "low", "average")
        prices = {name: np.array([each]) for name, each in zip(names, (opened, most, least, mean), strict=True)}
        flag = np.ones(1, dtype=bool)
        market = kernel.Market(
            times=np.zeros(1, dtype=np.int64), fills=flag, regular=True, ready=flag[:0], last_close=opened, **prices
        )
        signal = ScheduledSignal(
            id="a", symbol="X", strategy="s", exchange="e", position="long" if sign > 0 else "short", entry=entry,
            price_open=level, price_stop_loss=stop, price_take_profit=None, minute_estimated_time=5, note="",
            scheduled_at=0,
        )  # fmt: skip
        wanted = execution.entry(signal, minute, first=first)
        kind = kernel.LIMIT if entry == "limit" else kernel.STOP_ENTRY
        found = kernel.fill_entry(market, 0, sign, kind, level, stop, first, rules)
        assert found[0] == told_fill(wanted), (minute, sign, first)
        assert not isinstance(wanted, Entry) or bool(found[1]) == wanted.in_doubt


def told_fill(wanted: Entry | str | None) -> int:
    if isinstance(wanted, Entry):
        return FILLS["open" if wanted.at_open else "stopped" if wanted.stopped else "level"]
    return kernel.RESTS if wanted is None else kernel.REJECTED
