"""Declared exits and rows that leave: the compiled loop and the event engine come to the same, to the last bit."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from quick import rest_long
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import JumpingClock, backtest_with_late_decisions, live
from test_live_parity import told as told_live
from test_sweep_parity import MODELS, SEEDS, assert_same, by_events, by_kernel, chance, get_signals, plan_for
from worlds import LENGTH, SETTINGS, walk

import bknb
from bknb.kernels import simulate as kernel
from bknb.sweeps.batches import WorkDir, try_batch
from bknb.sweeps.evaluate_combination import Evaluator
from bknb.sweeps.prepared_candles import prepare

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

_NAMES = ("less", "trail", "percent", "after", "even", "even_after", "ladder", "near", "far", "farther", "share",
          "second", "third", "leave", "leave_short", "odd", "how")  # fmt: skip


def declared(candles: Any, seed: int = 0, busy: float = 0.3, kinds: int = 31) -> dict[str, Any]:
    """Random wishes with everything a row can declare, some impossible; ``kinds`` says which, a bit for each."""
    rows = get_signals(candles, seed, busy)
    minute = candles.timestamp // MINUTE
    dice = {name: chance(minute, seed, 20 + k) for k, name in enumerate(_NAMES)}
    side, nothing = rows["position"], np.full(len(minute), np.nan)
    entry = np.where(np.isnan(rows["price_open"]), candles.close, rows["price_open"])
    if kinds & 1:  # without a target, a stop, a deadline, or all of them
        rows["price_take_profit"][dice["less"] < 0.2] = np.nan
        rows["price_stop_loss"][(dice["less"] > 0.1) & (dice["less"] < 0.4)] = np.nan
        rows["minute_estimated_time"][(dice["less"] < 0.1) | (dice["less"] > 0.7)] = np.nan
    if kinds & 2:
        rows["trailing_percent"] = np.where(dice["trail"] < 0.6, 0.2 + 2 * dice["percent"], nothing)
        rows["trailing_after"] = np.where(dice["after"] < 0.5, dice["after"] * 2, nothing)
        rows["trailing_percent"][dice["odd"] < 0.01] = 100.0
        rows["trailing_after"][dice["odd"] > 0.99] = -1.0
    if kinds & 4:
        rows["breakeven_after"] = np.where(dice["even"] < 0.6, 0.3 + dice["even_after"], nothing)
        rows["breakeven_after"][(dice["odd"] > 0.5) & (dice["odd"] < 0.51)] = -0.5
    if kinds & 8:
        ladder = dice["ladder"] < 0.7
        rows["price_take_profit"] = np.where(ladder & (dice["odd"] < 0.98), np.nan, rows["price_take_profit"])
        for k, (name, share, part) in enumerate(
            [("farther", 0.1 + 0.3 * dice["share"], 0.6), ("near", 0.5 - 0.2 * dice["second"], 0.8),
             ("far", np.where(dice["third"] < 0.5, 0.3, 1 - 0.1 - 0.3 * dice["share"] - 0.5 + 0.2 * dice["second"]),
              0.5)]
        ):  # fmt: skip
            price = entry * (1 + side * (0.006 + 0.02 * dice[name]))
            rows[f"target_{k + 1}"] = np.where(ladder & (dice["how"] * (k + 1) % 1 < part), price, nothing)
            rows[f"share_{k + 1}"] = share
        rows["share_1"] = np.where((dice["odd"] > 0.6) & (dice["odd"] < 0.62), 1.5, rows["share_1"])
        rows["share_2"] = np.where((dice["odd"] > 0.7) & (dice["odd"] < 0.72), np.nan, rows["share_2"])
    if kinds & 16:
        rows["exit_long"] = dice["leave"] < 0.04
        rows["exit_short"] = dice["leave_short"] < 0.04
    return rows


def declared_plan(seed: int, model: str) -> Any:
    """A world in which rows declare everything, or, in half of them, some of it."""
    return plan_for(seed, model, declared, kinds=31 if seed % 2 else 1 + seed // 2 % 31)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_kernel_trades_are_the_engines(model: str, seed: int) -> None:
    plan = declared_plan(seed, model)
    assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.slow
def test_a_worker_has_the_exchange_where_floats_do_not_hold_the_tick(tmp_path: Any) -> None:
    """Declared exits on such a grid go through the event engine, which fetches its candles."""
    plan = declared_plan(1, "touch")
    plan = replace(plan, settings=msgspec.structs.replace(plan.settings, price_tick=1 / 3))
    prepared = asyncio.run(prepare(plan))
    work_dir = WorkDir(tmp_path)
    work_dir.add(0, prepared)
    work_dir.write(plan, keep_ends=True)
    (found,) = try_batch(str(tmp_path), 0, [{}])
    expected = Evaluator(plan, prepared, keep_ends=True).evaluate({})
    assert (found.error, expected.error) == ("", "")
    assert expected.ends is not None
    assert len(expected.ends)
    np.testing.assert_array_equal(found.ends, expected.ends)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seeds", [range(1000, 1030), pytest.param(range(1030, 1170), marks=pytest.mark.long)])
def test_many_worlds(model: str, seeds: range) -> None:
    for seed in seeds:
        plan = declared_plan(seed, model)
        assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=6)
@given(seed=SEEDS)
def test_the_kernel_equals_its_specification(model: str, seed: int) -> None:
    plan = declared_plan(seed, model)
    compiled, plain = by_kernel(plan), by_kernel(plan, kernel.simulate_plain)
    np.testing.assert_array_equal(compiled[0], plain[0])
    assert compiled[1] == plain[1]


@pytest.mark.slow
def test_the_worlds_hold_every_kind_of_end() -> None:
    seen: set[int] = set()
    refused: set[str] = set()
    parts = jumped = 0
    for seed in range(60):
        ends, refusals = by_kernel(declared_plan(seed, MODELS[seed % 3]))
        seen |= set(ends[:, kernel.REASON].astype(int).tolist())
        refused |= {code for codes, _, _ in refusals for code in codes.split(", ")}
        closed = ends[ends[:, kernel.REASON] < kernel.FIRST_CANCEL]
        side, entry, price = closed[:, kernel.SIDE], closed[:, kernel.OPEN], closed[:, kernel.CLOSE]
        gross = (price - entry) / entry * 100 * side
        parts += int(np.sum(~np.isclose(gross, closed[:, kernel.GROSS], rtol=0, atol=1e-9)))
        jumped += int(np.sum(closed[:, kernel.CLOSED_AT] - closed[:, kernel.PENDING_AT] > 64 * MINUTE))
    assert seen >= {kernel.TAKE_PROFIT, kernel.STOP_LOSS, kernel.TIME_EXPIRED, kernel.FRAME_END, kernel.DATA_END,
                    kernel.TRAILING_STOP, kernel.BREAKEVEN, kernel.STRATEGY}  # fmt: skip
    assert refused >= {"ladder", "trailing", "breakeven", "breakeven_costs", "take_profit_near", "position"}
    assert min(parts, jumped) > 20, (parts, jumped)


@pytest.mark.slow
@pytest.mark.parametrize("model", rest_long(["touch", "pessimistic", "vwap"], kept=1))
@settings(max_examples=5)
@given(seed=SEEDS, interval=st.sampled_from(["1m", "5m"]))
def test_live_trades_as_the_backtest(model: str, seed: int, interval: str) -> None:
    exchange, until = source(walk(seed)), ORIGIN + LENGTH * MINUTE
    strategy = bknb.add_strategy(
        "rows", interval=interval, get_signals=declared, params={"seed": seed}, lookback=30, execution=model
    )
    options: dict[str, Any] = {"settings": SETTINGS}
    result = live(strategy, exchange, start=ORIGIN, until=until, clock=JumpingClock(ORIGIN, seed), **options)
    backtest = backtest_with_late_decisions(
        result, start=ORIGIN, until=until, strategy=strategy, exchange=exchange, **options
    )
    assert told_live(result, before=until) == told_live(backtest, before=until) != []


@pytest.mark.slow
def test_a_row_that_leaves_by_what_comes_next_is_found() -> None:
    def get_signals(candles: bknb.Candles) -> dict[str, Any]:
        rows = get_signals_of(candles)
        return rows | {"exit_long": np.append(candles.close[1:] < candles.close[:-1], values=False)}

    def get_signals_of(candles: bknb.Candles) -> dict[str, Any]:
        nothing = {"price_take_profit": np.nan, "price_stop_loss": candles.close * 0.9, "minute_estimated_time": np.nan}
        return nothing | {"position": candles.timestamp // MINUTE % 240 == 0}

    options: dict[str, Any] = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-04"), "interval": "15m"}
    backtest = bknb.backtest("BTCUSDT", strategy=get_signals, **options)
    assert any("exit_long" in warning and "looks ahead" in warning for warning in backtest.warnings)
    assert not any(
        "looks ahead" in text for text in bknb.backtest("BTCUSDT", strategy=get_signals_of, **options).warnings
    )
    report = bknb.check_lookahead(get_signals, **options, moments=10)
    assert any(finding.kind == "future" and "exit_long" in finding.signal for finding in report.findings)
