"""The compiled loop of rows of weights and the event engine come to the same positions, to the last bit."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN, source
from test_sweep_parity import assert_same, by_events, by_kernel, chance, market
from test_weight_rows import FRAME, scaled, swept
from worlds import SEEDS, walk

import bknb
from bknb.domain import part_and_add_orders
from bknb.domain.risk_request_and_verdict import WeightLimits
from bknb.domain.signal_events import Reason
from bknb.domain.weight_answers import read_weight
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.kernels import simulate as kernel
from bknb.kernels import sweep_figures, weight_loop
from bknb.metrics.statistics import statistics
from bknb.runs.result_tables import trade_row
from bknb.sweeps.batches import packed, unpacked
from bknb.sweeps.evaluate_combination import Evaluator, needs_source
from bknb.sweeps.prepared_candles import prepare

pytest.importorskip("numba")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")]

AT_OPENS = ["pessimistic", "touch"]


def drawn(candles: Any, seed: int = 0, kind: str = "any") -> dict[str, Any]:
    """Random weights, some of them impossible; what a row is depends on its candle alone."""
    minute = candles.timestamp // MINUTE
    what, how = chance(minute, seed, 1), chance(minute, seed, 2)
    if kind == "sides":
        return {"weight": np.floor(how * 3) - 1}
    weight = np.where(chance(minute, seed, 3) < 0.5, how, how * 2 - 1)
    for at, value in enumerate((np.nan, np.nan, 0.0, 1.0, -1.0, 1.5, np.inf, 1e-8, 1.0)):
        weight[(at / 20 <= what) & (what < (at + 1) / 20)] = value
    return {"weight": weight}


def weights_plan(seed: int, model: str) -> Any:
    """A world, weights and a frame, all drawn from the seed."""
    random = np.random.default_rng([11, seed])
    length = int(random.integers(120, 500))
    minutes = market(random, length)
    if random.random() < 0.7:
        minutes = [[*row[:5], 10.0] for row in minutes]
    gaps = bool(random.random() < 0.3)
    if gaps:
        gone = set(random.integers(60, len(minutes), len(minutes) // 12).tolist())
        hole, width = int(random.integers(70, len(minutes) - 10)), int(random.integers(5, 40))
        minutes = [row for i, row in enumerate(minutes) if i not in gone and not hole <= i < hole + width]
    if random.random() < 0.3:
        minutes = minutes[: -int(random.integers(20, 100))]  # the data ends inside the frame
    exchange: Any = source(minutes)
    if random.random() < 0.2:  # a market that closes for lunch
        exchange = bknb.exchanges.in_sessions(
            exchange, bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-02:10, 03:00-24:00"})
        )
    strategy = make_strategy(
        "dice",
        interval=str(random.choice(["1m", "5m", "15m"])),
        get_signals=drawn,
        params={"seed": seed, "kind": str(random.choice(["any", "any", "sides"]))},
        tolerance=float(random.choice([0.0, 0.5, 10.0, math.inf])),
        lookback=int(random.integers(1, 40)),
    )
    start = ORIGIN + int(random.integers(-30, 10)) * MINUTE
    plan = plan_backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=exchange,
        frame=(start, ORIGIN + length * MINUTE + int(random.integers(0, 50_000))),
        execution=model,
        settings={
            "percent_fee": float(random.choice([0.0, 0.1])),
            "percent_slippage": float(random.choice([0.0, 0.05])),
            "avg_price_candles_count": int(random.choice([1, 5])),
        },
        allow_gaps=gaps,
    )
    return replace(plan, frame=replace(plan.frame, interval=str(random.choice(["1m", "1m", "3m", "15m"]))))


def goes_compiled(plan: Any) -> bool:
    return not needs_source(plan, asyncio.run(prepare(plan)))


@pytest.mark.parametrize("model", AT_OPENS)
@settings(max_examples=6)
@given(seed=SEEDS)
def test_the_compiled_loop_of_weights_has_the_positions_of_the_engine(model: str, seed: int) -> None:
    plan = weights_plan(seed, model)
    if goes_compiled(plan):
        assert_same(by_events(plan), *by_kernel(plan))


def test_the_worlds_of_weights_hold_everything() -> None:
    """Adds, parts, both sides, refusals, ends of frame and data, and most of them compiled."""
    compiled = adds = refused = parts = 0
    reasons, sides = set[int](), set[int]()
    for seed in range(24):
        plan = weights_plan(seed, AT_OPENS[seed % 2])
        if not goes_compiled(plan):
            continue
        run = by_events(plan)
        ends, refusals = by_kernel(plan)
        assert_same(run, ends, refusals)
        compiled += 1
        refused += sum(count for _, _, count in refusals)
        reasons |= set(ends[:, kernel.REASON].astype(int).tolist())
        sides |= set(ends[:, kernel.SIDE].astype(int).tolist())
        adds += sum(event.adds for event in run.records.closed)
        parts += sum(fill.kind == "reduce" for event in run.records.closed for fill in event.fills)
    assert compiled >= 12
    assert min(adds, parts, refused) > 20
    assert sides == {1, -1}
    assert reasons == {kernel.STRATEGY, kernel.FRAME_END, kernel.DATA_END}


def given_weights(weights: list[float], *, tolerance: float = 0.0, prices: Any = None, model: str = "touch") -> Any:
    """A plan of a weight for each minute, of minutes at given prices."""
    count = len(weights)

    def get_signals(candles: Any) -> dict[str, Any]:
        at = (candles.timestamp - ORIGIN) // MINUTE + 1  # asked about when it has closed
        return {"weight": np.where((at >= 0) & (at < count), np.array(weights)[np.clip(at, 0, count - 1)], np.nan)}

    shown = np.full(count + 70, 100.0) if prices is None else np.concatenate([np.full(60, prices[0]), prices])
    rows = [[ORIGIN + (k - 60) * MINUTE, price, price, price, price, 1.0] for k, price in enumerate(shown.tolist())]
    strategy = make_strategy("given", interval="1m", get_signals=get_signals, tolerance=tolerance, lookback=1)
    frame = (ORIGIN, ORIGIN + count * MINUTE)
    return plan_backtest("BTCUSDT", strategy=strategy, exchange=source(rows), frame=frame, execution=model)


def both_ends(plan: Any) -> Any:
    assert goes_compiled(plan)
    run = by_events(plan)
    ends, refusals = by_kernel(plan)
    assert_same(run, ends, refusals)
    return ends, refusals


def test_more_positions_than_the_table_has_rows_at_first() -> None:
    ends, _ = both_ends(given_weights([1.0, -1.0] * 140, tolerance=math.inf))
    assert len(ends) == 280


def test_an_add_that_is_too_large_is_refused_as_by_the_engine() -> None:
    ends, refusals = both_ends(given_weights([1e-10, 1.0, 2.0, 1.0, 0.0, 0.5]))
    assert len(ends) == 2
    assert [(code, count) for code, _, count in refusals] == [("add_share", 2), ("weight", 1)]


def test_once_all_is_lost_the_compiled_loop_opens_nothing_more() -> None:
    prices = np.array([100.0] * 5 + [250.0] * 5 + [100.0] * 20)
    ends, _ = both_ends(given_weights([-1.0] * 20, prices=prices))
    assert len(ends) == 1
    ends, _ = both_ends(given_weights([-1.0] * 4 + [-1.0, -1.0, 0.5, 0.0, 0.5] * 2, prices=prices, tolerance=1.0))
    assert ends[0, kernel.NET] < -100


def test_orders_that_wait_over_a_question_go_through_the_event_engine() -> None:
    rows = walk(3)
    strategy = make_strategy("w", interval="1m", get_signals=scaled, tolerance=0)
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=source(rows), frame=FRAME)
    assert not goes_compiled(plan)
    traded = source([[*row[:5], 1.0] for row in rows])
    assert goes_compiled(plan_backtest("BTCUSDT", strategy=strategy, exchange=traded, frame=FRAME))
    found = bknb.sweep(
        bknb.add_strategy("w", interval="1m", get_signals=scaled, tolerance=0),
        params={"top": [0.5]}, symbol="BTCUSDT", exchange=source(rows), frame=FRAME, executor="inline",
    )  # fmt: skip
    assert any("weights go through the event engine" in text for text in found.warnings)


@given(seed=SEEDS)
@settings(max_examples=4)
@example(seed=1)
def test_figures_of_a_sweep_of_weights_are_those_of_the_statistics(seed: int) -> None:
    plan = weights_plan(seed, "touch")
    expected = statistics([trade_row(event) for event in by_events(plan).records.closed])
    outcome = Evaluator(plan, asyncio.run(prepare(plan))).evaluate({})
    figures = dict(zip(sweep_figures.FIGURES, outcome.figures.tolist(), strict=True))
    for name in sweep_figures.FIGURES[:-2]:
        known = expected[name]
        if known is None:
            assert np.isnan(figures[name]), name
        else:
            assert figures[name] == pytest.approx(known, rel=1e-9, abs=1e-9), name


def test_a_worker_gets_a_plan_of_weights() -> None:
    plan = given_weights([0.5, 1.0, 0.0, -0.25, 0.75])
    prepared = asyncio.run(prepare(plan))
    content = packed(plan, keep_ends=True, with_source=False)
    there, keep_ends = unpacked(content)
    outcome = Evaluator(there, prepared, keep_ends=keep_ends).evaluate({})
    assert outcome.ends is not None, outcome.error
    np.testing.assert_array_equal(outcome.ends, by_kernel(plan)[0])


@pytest.mark.parametrize("tolerance", [0.0, math.inf])
def test_a_sweep_of_rows_of_weights_has_the_accounts_of_its_backtests(tolerance: float) -> None:
    exchange = source([[*row[:5], 1.0] for row in walk(3)])
    get_signals = whole if tolerance else drawn
    found, singles = swept({"seed": [1, 2]}, tolerance=tolerance, get_signals=get_signals, exchange=exchange)
    assert not any("event engine" in text for text in found.warnings)
    for name in ("equity_final", "max_drawdown", "n"):
        assert found.table[name].tolist() == pytest.approx([each.stats[name] for each in singles], rel=1e-12), name


def whole(candles: Any, seed: int = 0) -> dict[str, Any]:
    return drawn(candles, seed, "sides")


def test_what_the_loop_of_weights_repeats_of_the_domain_is_equal() -> None:
    assert weight_loop.MOST_SHARE == part_and_add_orders.MOST_SHARE
    assert not isinstance(read_weight(weight_loop.MOST, WeightLimits()), Reason)
    assert isinstance(read_weight(math.nextafter(weight_loop.MOST, 2), WeightLimits()), Reason)
