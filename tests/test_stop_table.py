"""Stops over time, reconstructed from events and candles, against what `manage` was told in every minute."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, managing
from worlds import LENGTH, MODELS, SEEDS, SETTINGS, walk

from bknb.engine.backtest import BacktestRun
from bknb.engine.build import make_strategy
from bknb.engine.plan import plan_backtest
from bknb.runs.result import Result
from bknb.runs.run_record import record_of


def watched(seed: int, model: str, tick: float | None) -> tuple[Result, dict[tuple[str, int], float | None]]:
    """A managed run over a random world, and the stop that ``manage`` saw of each position at each moment."""
    seen: dict[tuple[str, int], float | None] = {}
    answer = managing(seed)

    def manage(when: Any, position: Any, price: float) -> Any:
        moment = round(when.timestamp() * 1000)
        if position.size:
            seen[position.id, moment] = position.price_stop_loss
        return answer(when, position, price) if moment // MINUTE % 3 == 0 else None

    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("watched", drawn(seed), interval="1m", manage=manage),
        exchange=source(walk(seed)),
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        execution=model,
        settings=SETTINGS | {"price_tick": tick},
    )
    run = BacktestRun(plan, silent=True)
    asyncio.run(run.through())
    assert not run.records.failures
    return Result(record_of(run)), seen


@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS)
def test_the_table_says_what_manage_saw(model: str, seed: int) -> None:
    result, seen = watched(seed, model, 0.05 if seed % 2 else None)
    rows = result.stops
    table: dict[str, list[tuple[int, int, float]]] = {}
    at, until = (rows[name].astype("datetime64[ms, UTC]").astype(np.int64).tolist() for name in ("at", "until"))
    for name, *row in zip(rows["signal_id"], at, until, rows["price_stop_loss"], strict=True):
        table.setdefault(name, []).append(tuple(row))
    for (name, moment), stop in seen.items():
        before = [price for begin, end, price in table.get(name, []) if begin < moment <= end] or [None]
        since = [price for begin, _, price in table.get(name, []) if begin == moment]
        moves = moment // MINUTE % 3 == 0  # what manage moves now is in force from now on: it saw the stop before
        assert stop in (before + since if moves else since or before), (name, moment, stop, before, since)


def test_a_position_without_a_stop_has_no_row() -> None:
    result, _ = watched(11, "pessimistic", None)
    assert set(result.stops["signal_id"]) <= set(result.trades["signal_id"])
    assert (result.stops["at"] <= result.stops["until"]).all()
