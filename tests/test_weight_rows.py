"""Rows of weights: a get_signals that returns the column weight is a get_weight that answers with it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, source
from test_managed_live import told
from worlds import SEEDS, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.testing.clocks import SimulatedClock

COSTS = {"percent_fee": 0.1, "percent_slippage": 0.05}
FRAME = (ORIGIN, ORIGIN + 300 * MINUTE)


def weights_of(candles: Any, seed: int, slot: int) -> Any:
    """A random weight of each candle, by when it closes; at some 0, at some none."""
    drawn = []
    for opened in candles.timestamp.tolist():
        random = np.random.default_rng([seed, (opened + slot * MINUTE) // MINUTE])
        kind = random.integers(0, 8)
        drawn.append(math.nan if kind == 0 else 0.0 if kind == 1 else float(random.uniform(-1.01, 1.01)))
    return np.array(drawn)


def both(seed: int, *, slot: int = 5, tolerance: float = 0.0, **options: Any) -> tuple[Any, Any]:
    """What rows of weights make, and a get_weight that answers with them."""

    def get_signals(candles: Any) -> Any:
        return {"weight": weights_of(candles, seed, slot)}

    def get_weight(ctx: Any) -> float | None:
        weight = float(get_signals(ctx.candles(f"{slot}m", 1))["weight"][0])
        return None if math.isnan(weight) else weight

    given_to = {"interval": f"{slot}m", "tolerance": tolerance}
    rows = bknb.add_strategy("w", get_signals=get_signals, **given_to)
    asked = bknb.add_strategy("w", get_weight=get_weight, **given_to)
    run = {"exchange": source(walk(seed)), "frame": FRAME, "settings": COSTS} | options
    first, second = (bknb.backtest("BTCUSDT", strategy=each, **run) for each in (rows, asked))
    return first, second


@pytest.mark.parametrize("capital", [None, 10_000])
@settings(max_examples=2)
@given(seed=SEEDS, tolerance=st.sampled_from([0.0, 5.0, math.inf]))
def test_a_column_is_what_a_get_weight_answers(capital: float | None, seed: int, tolerance: float) -> None:
    rows, asked = both(seed, tolerance=tolerance, capital=capital)
    assert rows.trades.equals(asked.trades)
    assert rows.fills.equals(asked.fills)
    assert rows.equity.equals(asked.equity)
    assert dict(rows.account) == dict(asked.account)
    assert len(rows.rejected) == len(asked.rejected)
    assert not rows.warnings
    assert len(rows.fills)


def table(weight: Any, **columns: Any) -> Any:
    """A get_signals that answers with a weight for all rows, and other columns."""
    return lambda candles: {"weight": np.full(len(candles), weight), **columns}


@pytest.mark.parametrize(
    ("columns", "options", "text"),
    [
        ({"position": 1}, {"tolerance": 0}, "returned weight and position: a weight says what is to be held"),
        ({"price_stop_loss": 1.0, "exit_long": True}, {"tolerance": 0}, "weight and price_stop_loss and exit_long"),
        ({"sma": 1.0}, {}, "returned weight, and the strategy has no tolerance\ngive tolerance=0"),
        ({"position": 1}, {}, "returned weight and position"),
    ],
)
def test_weights_and_signals_do_not_mix(columns: dict[str, Any], options: dict[str, Any], text: str) -> None:
    bknb.add_strategy("w", interval="5m", get_signals=table(0.5, **columns), **options)
    with pytest.raises(bknb.UsageError, match=text):
        bknb.backtest("BTCUSDT", strategy="w", exchange=source(walk(1)), frame=FRAME)


def test_a_tolerance_needs_the_column_weight() -> None:
    bknb.add_strategy("w", interval="5m", get_signals=lambda candles: {"wieght": candles.close}, tolerance=0)
    with pytest.raises(bknb.UsageError, match="must return the column weight"):
        bknb.backtest("BTCUSDT", strategy="w", exchange=source(walk(1)), frame=FRAME)
    with pytest.raises(bknb.UsageError, match="a tolerance for weights of get_signals and manage"):
        bknb.add_strategy("w", interval="5m", get_signals=table(1), manage=lambda position: None, tolerance=0)
    with pytest.raises(bknb.UsageError, match="a tolerance for weights of get_signals and execution='vwap'"):
        bknb.add_strategy("w", interval="5m", get_signals=table(1), execution="vwap", tolerance=0)


def test_a_function_of_candles_with_a_tolerance_answers_with_rows_of_weights() -> None:
    @bknb.strategy("decorated", interval="5m", tolerance=math.inf)
    def get_signals(candles: Any, weight: float = 0.5) -> Any:
        return {"weight": np.full(len(candles), weight), "sma": candles.close}

    run: dict[str, Any] = {"exchange": source(walk(1)), "frame": FRAME}
    assert bknb.backtest("BTCUSDT", strategy="decorated", **run).trades["size"].tolist() == [0.5]


def test_a_row_that_is_no_weight_is_told_and_changes_nothing() -> None:
    def get_signals(candles: Any) -> Any:
        weight = np.full(len(candles), math.nan)
        moments = (candles.timestamp - ORIGIN) // MINUTE
        weight[moments == 10] = 0.5
        weight[moments == 20] = math.inf
        weight[moments == 30] = 1.5
        return {"weight": weight}

    bknb.add_strategy("w", interval="5m", get_signals=get_signals, tolerance=0)
    result = bknb.backtest("BTCUSDT", strategy="w", exchange=source(walk(1)), frame=FRAME)
    assert result.fills.kind.tolist() == ["entry", "exit"]
    texts = [event.reasons[0].text for event in result.run_record.records.rejected]
    assert "must be a finite number such as 0.5, -1 or 0, or NaN" in texts[0]
    assert texts[1].startswith("weight 1.5: all of the equity is 1")


@pytest.mark.slow
def test_a_column_of_weights_that_sees_the_future_is_found() -> None:
    def sees(candles: Any) -> Any:
        later = np.roll(candles.close, -1)
        return {"weight": np.where(later > candles.close, 0.75, 0.25)}

    def back(candles: Any) -> Any:
        return {"weight": np.where(candles.open > candles.close, 0.75, 0.25)}

    run: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": source(walk(2)), "frame": FRAME}
    options: dict[str, Any] = {"interval": "5m", "tolerance": 1.0, "lookback": 5}
    found = bknb.check_lookahead(bknb.add_strategy("sees", get_signals=sees, **options), **run).findings
    assert {each.kind for each in found} >= {"future"}
    assert "weight 0.75 became weight 0.25" in str(found) or "weight 0.25 became weight 0.75" in str(found)
    assert not bknb.check_lookahead(bknb.add_strategy("back", get_signals=back, **options), **run).findings

    def long_memory(candles: Any) -> Any:
        return {"weight": np.arange(len(candles)) % 4 / 4}

    found = bknb.check_lookahead(bknb.add_strategy("memory", get_signals=long_memory, **options), **run).findings
    assert {each.kind for each in found} == {"history"}


def test_a_row_that_depends_on_more_candles_than_live_has_is_told() -> None:
    bknb.add_strategy(
        "w", interval="5m", get_signals=lambda candles: {"weight": 1 / len(candles)}, tolerance=0, lookback=4
    )
    result = bknb.backtest("BTCUSDT", strategy="w", exchange=source(walk(1)), frame=FRAME)
    assert "(weight 0." in result.warnings[0]


@pytest.mark.parametrize("capital", [None, 10_000])
def test_one_and_minus_one_are_signals_that_turn_round(capital: float | None) -> None:
    def side(when: int) -> int:
        return int(np.random.default_rng([7, when // (25 * MINUTE)]).integers(-1, 2))

    def get_signals(candles: Any) -> Any:
        return {"weight": [side(opened + 5 * MINUTE) for opened in candles.timestamp.tolist()]}

    def signal(wanted: int) -> bknb.Signal | None:
        return bknb.Signal(side="long" if wanted > 0 else "short") if wanted else None

    def manage(ctx: Any, position: Any) -> Any:
        wanted = side(ctx.when_ms)
        if wanted == position.sign:
            return None
        return [bknb.Close(), signal(wanted)] if wanted else bknb.Close()

    rows = bknb.add_strategy("s", interval="5m", get_signals=get_signals, tolerance=math.inf)
    turns = bknb.add_strategy("s", interval="5m", get_signal=lambda ctx: signal(side(ctx.when_ms)), manage=manage)
    run: dict[str, Any] = {"exchange": source(walk(3)), "frame": FRAME, "settings": COSTS, "capital": capital}
    one, other = (bknb.backtest("BTCUSDT", strategy=each, **run) for each in (rows, turns))
    assert len(one.trades) > 3
    assert one.trades.drop(columns="size", errors="ignore").equals(other.trades)
    assert one.fills.equals(other.fills)
    assert one.equity.equals(other.equity)
    assert dict(one.account) == dict(other.account)


@pytest.mark.parametrize("capital", [None, 10_000])
def test_a_column_of_ones_is_buying_and_holding(capital: float | None) -> None:
    bknb.add_strategy("one", interval="15m", get_signals=table(1), tolerance=math.inf)
    run: dict[str, Any] = {"exchange": source(walk(5)), "frame": FRAME, "settings": COSTS}
    result = bknb.backtest("BTCUSDT", strategy="one", capital=capital, **run)
    first = result.trades.iloc[0]
    held = (first.price_close * (1 - 0.0005) / (first.price_open * 1.0005) - 1) * 100
    fees = 0.1 * (1 + first.price_close * (1 - 0.0005) / (first.price_open * 1.0005))
    assert len(result.trades) == 1
    assert result.account["total_return"] == pytest.approx(held - fees, abs=1e-9)


def test_rows_of_weights_live_are_those_of_a_backtest() -> None:
    until = ORIGIN + 60 * MINUTE

    def get_signals(candles: Any) -> Any:
        return {"weight": weights_of(candles, 3, 5)}

    strategy = bknb.add_strategy("w", interval="5m", get_signals=get_signals, tolerance=1, lookback=3)
    exchange = source(walk(3))
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange, until=until, store=bknb.stores.memory(), settings=COSTS,
        clock=SimulatedClock(ORIGIN),
    )  # fmt: skip
    live = task.result(timeout=120).run_record.records
    plan = plan_backtest("BTCUSDT", frame=(ORIGIN, until), strategy=strategy, exchange=exchange, settings=COSTS)
    run = BacktestRun(plan)
    asyncio.run(run.through())
    assert len(run.records.positions) > 1
    assert told(live, before=until) == told(run.records, before=until)


@pytest.mark.slow
def test_a_card_of_rows_of_weights_gives_the_same_run_and_names_another_tolerance() -> None:
    def made(tolerance: float) -> Any:
        rows = bknb.add_strategy("rows", interval="6h", get_signals=momentum, tolerance=tolerance, params={"top": 0.5})
        return bknb.backtest("BTCUSDT", strategy=rows, exchange="demo", frame="2024-01-01:2024-01-08", capital=10_000)

    result = made(1.0)
    verification = bknb.verify(result.card)
    assert verification.same, verification
    assert verification.result.fills.equals(result.fills)
    made(2.0)
    assert "tolerance of weights: 1.0 -> 2.0" in str(bknb.verify(result.card))


def momentum(candles: Any, top: float = 1.0) -> Any:
    """Part of the equity by the sign of the last candle."""
    return {"weight": np.where(candles.close > candles.open, top, -top / 2)}


def scaled(candles: Any, top: float = 1.0, seed: int = 3) -> Any:
    """Weights of a seed, times a parameter."""
    return {"weight": top * weights_of(candles, seed, 5)}


def swept(params: dict[str, list[Any]], **options: Any) -> tuple[Any, list[Any]]:
    """A sweep that keeps its trades, and the backtest of each of its combinations, in the order of its table."""
    given_to: dict[str, Any] = {"interval": "5m", "tolerance": options.pop("tolerance", 1.0)}
    given_to["get_signals"] = options.pop("get_signals", scaled)
    run: dict[str, Any] = {"exchange": source(walk(3)), "frame": FRAME, "settings": COSTS} | options
    found = bknb.sweep(
        bknb.add_strategy("w", **given_to), params=params, symbol="BTCUSDT", keep_trades=True, executor="inline", **run
    )
    names = list(params)
    combinations = [dict(zip(names, row, strict=True)) for row in found.table[names].itertuples(index=False)]
    singles = [
        bknb.backtest("BTCUSDT", strategy=bknb.add_strategy("w", params=each, **given_to), **run)
        for each in combinations
    ]
    return found, singles


def test_a_sweep_of_rows_of_weights_has_the_figures_of_its_backtests() -> None:
    found, singles = swept({"top": [0.25, 1.0]})
    assert found.table["n"].tolist() == [len(each.trades) for each in singles]
    for name in ("avg_pnl", "sharpe_ratio", "profit_factor", "win_rate"):
        expected = [each.stats[name] for each in singles]
        assert found.table[name].tolist() == pytest.approx(expected, nan_ok=True), name
