"""Rows with competing entries, entry ladders, levels in percent and sizes: sweeps have the engine's trades."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from scenarios import MINUTE, ORIGIN, source
from test_scheduled_questions import ZONE, ms
from test_sweep_declared import declared
from test_sweep_parity import MODELS, SEEDS, assert_same, by_events, by_kernel, chance, plan_for
from test_sweep_row_lifetimes import LENGTHS, UNTIL
from test_sweep_row_lifetimes import market as market_in_sessions
from worlds import walk

import bknb
from bknb.engine.get_signals_entry_columns import COLUMNS_OF_SIDES
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.kernels import row_orders_loop as loop
from bknb.kernels import simulate as kernel
from bknb.kernels.sweep_figures import FIGURES
from bknb.metrics.daily_returns import daily_returns
from bknb.metrics.statistics import statistics
from bknb.runs.result_tables import trade_row
from bknb.sweeps import evaluate_combination
from bknb.sweeps.prepared_candles import prepare

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

COMPETING, PARTS, PERCENTS = 32, 64, 128  # kinds beside those of rows that declare exits
PRICES = {*COLUMNS_OF_SIDES, "price_open", "price_take_profit", "price_stop_loss",
          *(f"{name}_{k}" for name in ("open", "target") for k in (1, 2, 3))}  # fmt: skip
_NAMES = ("side", "long", "short", "how", "stop", "target", "odd", "part", "share", "second", "third", "percent",
          "away", "size", "single", "stops", "kind")  # fmt: skip


def ordered(candles: Any, seed: int = 0, busy: float = 0.3, kinds: int = 255) -> dict[str, Any]:
    """Random wishes with everything a row can order, some impossible; ``kinds`` says which, a bit for each."""
    rows = declared(candles, seed, busy, kinds & 31)
    minute, close = candles.timestamp // MINUTE, candles.close
    dice = {name: chance(minute, seed, 40 + k) for k, name in enumerate(_NAMES)}
    nothing, side = np.full(len(minute), np.nan), rows["position"].copy()
    competes = (dice["side"] < 0.5) & (side != 0) & bool(kinds & COMPETING)
    ladder = (dice["side"] >= 0.4) & (side != 0) & ~competes & bool(kinds & PARTS)
    percents = (dice["kind"] < 0.6) & bool(kinds & PERCENTS)
    if kinds & (COMPETING | PARTS):
        rows["stop_entry"] = np.where(competes | ladder, dice["stops"] < 0.5, rows["stop_entry"])
        rows["price_open"] = np.where((competes | ladder) & (dice["odd"] < 0.98), np.nan, rows["price_open"])
    if kinds & COMPETING:
        free = competes & (dice["odd"] > 0.02)
        for name in ("position", "price_take_profit", "price_stop_loss", *(f"target_{k}" for k in (1, 2, 3))):
            if name in rows:
                rows[name] = np.where(free, 0 if name == "position" else np.nan, rows[name])
        for name, sign in (("long", 1), ("short", -1)):
            way = sign * np.where(rows["stop_entry"], 1, -1)
            entry = np.where(
                competes & (dice["single"] < 0.9), close * (1 + way * (0.012 * dice[name] - 0.002)), np.nan
            )
            rows[f"price_open_{name}"] = entry
            stop, target = (
                entry * (1 + by * sign * (0.006 + 0.01 * dice[what])) for by, what in ((-1, "stop"), (1, "target"))
            )
            rows[f"price_stop_loss_{name}"] = np.where(percents | (dice["how"] < 0.2), np.nan, stop)
            rows[f"price_take_profit_{name}"] = np.where(percents | (dice["how"] > 0.7), np.nan, target)
        rows["price_open_short"][(dice["single"] > 0.85) & (dice["how"] < 0.8)] = np.nan
    if kinds & PARTS:
        way = side * np.where(rows["stop_entry"], 1, -1)
        for k, name in enumerate(("part", "second", "third"), 1):
            price = close * (1 + way * (0.01 * k * dice[name] - 0.003))
            rows[f"open_{k}"] = np.where(ladder & (dice[name] < 0.8), price, np.nan)
            rows[f"open_share_{k}"] = np.where(dice["share"] < 0.8, (0.5, 0.2, 0.3)[k - 1], dice["share"] / k)
        rows["open_1"][dice["odd"] > 0.995] = np.inf
    if kinds & PERCENTS:
        other = percents & ~competes if kinds & COMPETING else percents
        for name in ("price_take_profit", "price_stop_loss", *(f"target_{k}" for k in (1, 2, 3))):
            if name in rows and not (name.startswith("target") and seed % 3):
                rows[name] = np.where(other & (dice["odd"] > 0.03), np.nan, rows[name])
        rows["stop_percent"] = np.where(percents & (dice["how"] > 0.1), 0.4 + 2 * dice["percent"], nothing)
        rows["target_percent"] = np.where(percents & (dice["how"] < 0.8), 0.4 + 2 * dice["away"], nothing)
        rows["stop_percent"][(dice["odd"] > 0.6) & (dice["odd"] < 0.61)] = 100.0
        rows["target_percent"][(dice["odd"] > 0.7) & (dice["odd"] < 0.71)] = -1.0
        rows["size"] = np.where(dice["size"] < 0.3, np.where(dice["size"] < 0.02, -1.0, 0.5), nothing)
    return rows


def ordered_plan(seed: int, model: str) -> Any:
    """A world in which rows order everything, or, in most of them, some of it."""
    own = (COMPETING, PARTS, PERCENTS, COMPETING | PERCENTS, PARTS | PERCENTS, 224)[seed % 6]
    return plan_for(seed, model, ordered, kinds=own | seed // 6 * 11 % 32)


def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sweeps go through the specifications, which need no compiler."""
    monkeypatch.setattr(evaluate_combination, "simulate_orders", loop.simulate_orders_plain)
    monkeypatch.setattr(evaluate_combination, "score", evaluate_combination.score_plain)
    monkeypatch.setattr(evaluate_combination, "daily", evaluate_combination.daily_plain)


@pytest.mark.parametrize("model", MODELS)
def test_the_specification_trades_as_the_engine(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plainly(monkeypatch)
    for seed in range(6, 12):
        plan = ordered_plan(seed, model)
        assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=12)
@given(seed=SEEDS)
def test_kernel_trades_are_the_engines(model: str, seed: int) -> None:
    plan = ordered_plan(seed, model)
    ends, refusals = by_kernel(plan)
    assert (ends[:, kernel.ROW] >= 0).all()  # of the compiled loop
    assert_same(by_events(plan), ends, refusals)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seeds", [range(2000, 2030), pytest.param(range(2030, 2400), marks=pytest.mark.long)])
def test_many_worlds(model: str, seeds: range) -> None:
    for seed in seeds:
        plan = ordered_plan(seed, model)
        assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.parametrize("model", ["pessimistic", pytest.param("touch", marks=pytest.mark.slow)])
def test_figures_and_days_are_those_of_the_backtests(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each position counts with the part of the equity that it opened with; parts of its entry add nothing to that."""
    plainly(monkeypatch)
    seen = Counter[str]()
    for seed in (6, 8, 9, 11):
        plan = ordered_plan(seed, model)
        evaluator = evaluate_combination.Evaluator(plan, asyncio.run(prepare(plan)))
        outcome, closed = evaluator.evaluate({}), by_events(plan).records.closed
        expected = statistics([trade_row(event) for event in closed])
        for name, figure in zip(FIGURES[:-2], outcome.figures.tolist(), strict=False):
            known = math.nan if expected[name] is None else expected[name]
            assert figure == pytest.approx(known, rel=1e-9, abs=1e-9, nan_ok=True), name
        days = daily_returns(
            [event.closed_at for event in closed],
            [event.of_equity for event in closed],
            start=plan.frame.start,
            end=plan.frame.last,
        )
        np.testing.assert_allclose(outcome.daily, days, rtol=1e-9, atol=1e-12)
        seen["sizes"] += sum(event.signal.size == 0.5 for event in closed)
        seen["parts"] += sum(event.adds > 0 for event in closed)
        seen["accounts"] += expected["equity_final"] is not None
    assert seen["sizes"] > 3
    assert seen["parts"] > 3
    assert seen["accounts"] == 4


def sized(candles: Any, size: float = 0.5, parts: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
    close = candles.close
    none = {"price_take_profit": np.nan, "price_stop_loss": np.nan}
    rows = {"position": 1, **none, "stop_percent": 0.5, "minute_estimated_time": 50, "size": size}
    return rows | (
        {"open_1": close, "open_share_1": 0.5, "open_2": close * 0.999, "open_share_2": 0.5} if parts else {}
    )


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("keep_trades", [False, True])
def test_trades_of_a_sweep_have_the_sizes_and_adds_of_its_backtests(
    parts: bool,  # noqa: FBT001
    keep_trades: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plainly(monkeypatch)
    found = bknb.sweep(
        sized, params={"size": [0.5, np.nan], "parts": [parts]}, symbol="BTCUSDT", exchange="demo", interval="15m",
        frame=("2024-01-01", "2024-01-02"), metric="equity_final", keep_trades=keep_trades, executor="inline",
    )  # fmt: skip
    assert found.warnings == []
    assert found.why_no_account == {}
    for number in (0, 1):
        trades, alone = found.trades(number), found.run(number)
        assert ("size" in trades) == ("size" in alone.trades) == (parts or number == 0)
        names = [name for name in trades if name in alone.trades]
        pd.testing.assert_frame_equal(trades[names], alone.trades[names], check_dtype=False)
        assert (trades["adds"].sum() > 0) == parts
        assert bknb.statistics(trades)["equity_final"] == alone.stats["equity_final"]
        for name in ("equity_final", "max_drawdown"):
            assert found.table.loc[number, name] == pytest.approx(alone.stats[name], rel=1e-9), name
        assert found.mean_equity[number] - 1 == pytest.approx(alone.account["total_return"] / 100, rel=1e-9)
        assert np.prod(1 + found.returns[number]) == pytest.approx(alone.stats["equity_final"], rel=1e-9)
    assert "| 1 | nan |" in found.report()
    assert "n/a" not in found.report().lower()


@pytest.mark.parametrize(("share", "fault"), [(0.5, "price of a ladder"), (2.0, "share of a ladder")])
def test_a_target_that_the_tick_grid_puts_on_zero_breaks_the_rule_of_one_that_is_zero(
    share: float, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with it is told as it was answered."""
    plainly(monkeypatch)

    def get_signals(candles: Any) -> dict[str, Any]:
        none = dict.fromkeys(("price_take_profit", "price_stop_loss", "minute_estimated_time"), np.nan)
        small = np.where((np.arange(len(candles)) % 2 == 0) & (share == 0.5), 0.0, 1e-9)
        return {"position": -1, **none, "target_1": small, "share_1": share, "stop_percent": 0.0}

    made = make_strategy("rows", interval="5m", get_signals=get_signals, lookback=1)
    frame, fine = (ORIGIN, ORIGIN + 60 * MINUTE), {"price_tick": 0.25, "max_signal_lifetime_minutes": None}
    plan = plan_backtest("BTCUSDT", made, source(walk(1)), frame, settings=fine)
    ends, refusals = by_kernel(plan)
    assert_same(by_events(plan), ends, refusals)
    assert [(codes, count) for codes, _, count in refusals] == [("ladder", 12)]
    assert fault in refusals[0][1]


def timed_rows(kinds: int, texts: list[Any], near: float) -> Any:
    """Rows of orders with levels so many times as near, and deadlines by the clock."""

    def get_signals(candles: Any, seed: int = 0) -> dict[str, Any]:
        rows, close, numbers = ordered(candles, seed, 0.6, kinds), candles.close, np.random.default_rng(seed)
        for name in {*rows} & PRICES:
            rows[name] = close + (np.asarray(rows[name], dtype=np.float64) - close) * near
        for name in {*rows} & {"stop_percent", "target_percent", "trailing_percent", "trailing_after"}:
            rows[name] = np.asarray(rows[name], dtype=np.float64) * near
        rows["until"] = [texts[at] for at in numbers.integers(0, len(texts), len(close))]
        rows["bars"] = np.where(numbers.random(len(close)) < 0.3, numbers.choice([1, 2, 3, 7], len(close)), np.nan)
        return rows

    return get_signals


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 24))])
def test_deadlines_by_the_clock_end_what_rows_order(seed: int) -> None:
    draw = np.random.default_rng(seed)
    step, interval = [(step, interval) for step, interval in LENGTHS if interval != "1d"][seed % 6]
    market = market_in_sessions(draw, step, open_hours=draw.random() < 0.7)
    texts = [UNTIL[at] for at in draw.permutation(len(UNTIL))[: draw.choice([1, 3])]]
    made = make_strategy(
        "rows", lookback=1, interval=interval, params={"seed": seed},
        get_signals=timed_rows(224 | seed % 32, texts, (0.1, 0.2, 0.5)[seed % 3]),
    )  # fmt: skip
    frame = ms("2024-11-01 09:30", ZONE), ms("2024-11-08 11:07", ZONE)
    free = {"max_signal_lifetime_minutes": None, "min_take_profit_distance_percent": 0, "percent_fee": 0.01,
            "min_stop_loss_distance_percent": 0, "percent_slippage": 0.01}  # fmt: skip
    plan = plan_backtest("X", made, market, frame, execution=MODELS[seed % 2], settings=free, allow_gaps=True)
    ends, refusals = by_kernel(plan)
    assert len(ends) > 10 or seed > 2
    assert (ends[:, kernel.ROW] >= 0).all()  # of the compiled loop
    assert_same(by_events(plan), ends, refusals)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_kernel_equals_its_specification(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [ordered_plan(seed, model) for seed in range(20, 28)]
    compiled = [by_kernel(plan) for plan in plans]
    plainly(monkeypatch)
    for plan, (ends, refusals) in zip(plans, compiled, strict=True):
        found, refused = by_kernel(plan)
        np.testing.assert_array_equal(ends, found)
        assert refusals == refused


@pytest.mark.slow
def test_the_worlds_hold_every_kind_of_end() -> None:
    seen: Counter[str] = Counter()
    refused: set[str] = set()
    for seed in range(72):
        ends, refusals = by_kernel(ordered_plan(seed, MODELS[seed % 3]))
        seen += Counter(kernel.REASONS[int(reason)] for reason in ends[:, kernel.REASON])
        seen["doubt"] += int(ends[:, kernel.AMBIGUOUS].sum())
        seen["of parts"] += int((ends[:, kernel.ADDS] > 1).sum())
        refused |= {code for codes, _, _ in refusals for code in codes.split(", ")}
    wanted = {"take_profit", "stop_loss", "time_expired", "trailing_stop", "breakeven", "strategy", "place_taken",
              "timeout", "price_reject", "doubt", "of parts"}  # fmt: skip
    assert min(seen[each] for each in wanted) > 5, seen
    assert refused >= {"entry_ladder", "ladder", "stop_percent", "target_percent", "size", "position",
                       "take_profit_near", "stop_loss_near", "take_profit_costs", "minutes_whole"}  # fmt: skip
