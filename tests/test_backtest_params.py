"""``bknb.backtest(params=)``: parameters of one run, over those a strategy was registered with."""

from __future__ import annotations

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
