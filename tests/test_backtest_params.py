"""``bknb.backtest(params=)``: parameters of one run, over those a strategy was registered with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, source
from worlds import walk

import bknb

RUN: dict[str, Any] = {"exchange": source(walk(3)), "frame": (ORIGIN, ORIGIN + 20 * MINUTE)}


def test_a_run_takes_its_own_parameters_and_leaves_the_strategy_as_it_was() -> None:
    seen: list[tuple[int, int]] = []

    def get_signal(ctx: Any, fast: int = 5, slow: int = 20) -> Any:
        seen.append((fast, slow))
        return bknb.Signal(position="long", minute_estimated_time=fast)

    def manage(position: Any, wait: int = 0) -> Any:
        return bknb.Close() if wait and position.minutes >= wait else None

    strategy = bknb.add_strategy("p", interval="1m", get_signal=get_signal, manage=manage, params={"slow": 30})
    default = bknb.backtest("BTCUSDT", strategy="p", **RUN)
    assert set(seen) == {(5, 30)}
    seen.clear()
    given = bknb.backtest("BTCUSDT", strategy="p", params={"fast": 3}, **RUN)
    assert set(seen) == {(3, 30)}
    assert len(given.trades) > len(default.trades)
    assert bknb.get_strategy("p") is strategy
    managed = bknb.backtest("BTCUSDT", strategy="p", params={"wait": 2}, **RUN)
    assert set(managed.trades["close_reason"][:-1]) == {"strategy"}
    weights = bknb.add_strategy("w", interval="1m", get_weight=lambda ctx, part=0.5: part, tolerance=50)
    assert bknb.backtest("BTCUSDT", strategy=weights, params={"part": 0.25}, **RUN).fills["kind"].tolist() == [
        "entry", "exit"
    ]  # fmt: skip


def test_wrong_parameters_are_refused_by_name() -> None:
    def get_signal(ctx: Any, fast: int = 5) -> None:
        return None

    with pytest.raises(bknb.UsageError, match="has no parameter 'fats'; did you mean 'fast'"):
        bknb.backtest("BTCUSDT", strategy=get_signal, params={"fats": 3}, **RUN)
    with pytest.raises(bknb.UsageError, match=r"params must be a mapping such as .*, got list"):
        bknb.backtest("BTCUSDT", strategy=get_signal, params=[3], **RUN)  # type: ignore[arg-type]


def get_signal(ctx: Any, fast: int = 5, slow: int = 20) -> Any:
    return bknb.Signal(position="long", minute_estimated_time=fast)


def manage(position: Any, wait: int = 0, fast: int = 7) -> Any:
    return bknb.Close() if wait and position.minutes >= wait else None


def test_parameters_are_what_was_given_over_the_defaults_of_all_functions() -> None:
    strategy = bknb.add_strategy("p", interval="1m", get_signal=get_signal, manage=manage, params={"slow": 30})
    assert strategy.parameters == {"fast": 5, "slow": 30, "wait": 0, "fast of manage": 7}
    assert [*strategy.parameters] == ["fast", "slow", "wait", "fast of manage"]
    result = bknb.backtest("BTCUSDT", strategy="p", params={"wait": 2}, **RUN)
    assert result.parameters == {"fast": 5, "slow": 30, "wait": 2, "fast of manage": 7}
    assert "| Parameters | fast=5, slow=30, wait=2, fast of manage=7 |" in result.report()
    assert "Parameters" not in bknb.backtest("BTCUSDT", strategy=lambda ctx: None, **RUN).report()
    same_name = {"get_signal": lambda ctx, fast=5: None, "manage": lambda position, fast=8: None}
    given: list[tuple[Any, dict[str, Any]]] = [
        ({"get_signals": lambda candles, length=9, *more: None}, {"length": 9}),
        ({"get_weight": lambda ctx, part=0.5: part}, {"part": 0.5}),
        ({"get_signal": lambda ctx, one=1, **others: None, "params": {"two": 2}}, {"one": 1, "two": 2}),
        ({"get_signal": lambda symbol, when, price: None}, {}),
        (same_name | {"params": {"fast": 7}}, {"fast": 7}),
    ]
    for options, parameters in given:
        assert bknb.add_strategy("q", interval="1m", **options).parameters == parameters
    weights = bknb.weights("w", symbols=["A"], interval="1m", get_weights=lambda ctx, top=0.5: {"A": top})
    assert weights.parameters == {"top": 0.5}


@pytest.mark.slow
def test_parameters_of_every_function_are_swept_and_walked_forward() -> None:
    strategy = bknb.add_strategy("p", interval="1m", get_signal=get_signal, manage=manage)
    swept = bknb.sweep(strategy, params={"wait": [2, 4], "fast": [3]}, symbol="BTCUSDT", **RUN)
    assert swept.params == ("wait", "fast")
    for number, wait in enumerate((2, 4)):
        alone = bknb.backtest("BTCUSDT", strategy=strategy, params={"wait": wait, "fast": 3}, **RUN)
        assert swept.run(number).parameters == alone.parameters == {"fast": 3, "slow": 20, "wait": wait}
        assert swept.trades(number)["pnl_percentage"].tolist() == alone.trades["pnl_percentage"].tolist()

    def get_weight(ctx: Any, part: float = 0.5) -> float:
        return part if ctx.when.minute % 4 else 0.0

    weights = bknb.sweep(get_weight, params={"part": [0.25, 1.0]}, symbol="BTCUSDT", interval="1m", **RUN)
    for number, part in enumerate((0.25, 1.0)):
        alone = bknb.backtest("BTCUSDT", strategy=get_weight, interval="1m", params={"part": part}, **RUN)
        assert weights.run(number).fills.equals(alone.fills)
        assert weights.trades(number)["pnl_percentage"].tolist() == alone.trades["pnl_percentage"].tolist()
        assert len(alone.fills) > 4
    with pytest.raises(bknb.UsageError, match="has no parameter 'parts'; did you mean 'part'"):
        bknb.sweep(get_weight, params={"parts": [1.0]}, symbol="BTCUSDT", interval="1m", **RUN)
    options: dict[str, Any] = {
        "exchange": RUN["exchange"],
        "frame": (ORIGIN, ORIGIN + 90 * MINUTE),
        "symbol": "BTCUSDT",
    }
    options |= {"train": timedelta(minutes=30), "test": timedelta(minutes=20), "metric": "total_pnl"}
    walked = bknb.walk_forward(strategy, {"wait": [1, 3]}, **options)
    assert {fold.params["wait"] for fold in walked.folds} <= {1, 3}
    assert len(walked.folds) == 3
