"""Stops over time, reconstructed from events and candles, against what `manage` was told in every minute."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from msgspec.structs import replace
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, managing
from worlds import LENGTH, MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.engine.registration_checks import make_strategy
from bknb.events.heard import NOBODY
from bknb.reports.dashboard_run import RunView
from bknb.reports.equity_arrays import stairs_of
from bknb.reports.signal_story import history
from bknb.runs.fill_table import fill_rows
from bknb.runs.measured import positions_of_run
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
    run = BacktestRun(plan, listeners=NOBODY)
    asyncio.run(run.through())
    assert not run.records.failures
    return Result(record_of(run)), seen


@pytest.mark.slow
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


def repeated_id() -> BacktestRun:
    """A run whose first "a" moves its stop, closes a part and ends; the second has a stop of its own."""

    def get_signal(when: Any) -> Any:
        name = {1: "a", 11: "b", 21: "a"}.get(when.minute)
        stop = 95.0 if when.minute < 20 else 94.0
        return bknb.Signal(side="long", id=name, price_stop_loss=stop) if name else None

    def manage(when: Any) -> Any:
        return {
            2: bknb.Move(price_stop_loss=98.0),
            3: bknb.Reduce(0.5),
            4: bknb.Move(price_stop_loss=98.5),
            5: bknb.Close(),
            15: bknb.Close(),
            25: bknb.Move(price_stop_loss=96.0),
        }.get(when.minute)

    rows = [(ORIGIN + k * MINUTE, 100.0, 100.5, 99.5, 100.0, 1.0) for k in range(-60, 60)]
    plan = plan_backtest(
        "X", strategy=make_strategy("twice", get_signal, interval="1m", manage=manage, manage_interval="1m"),
        exchange=source(rows), frame=(ORIGIN, ORIGIN + 50 * MINUTE),
    )  # fmt: skip
    run = BacktestRun(plan, listeners=NOBODY)
    asyncio.run(run.through())
    return run


def test_a_position_with_the_id_of_an_earlier_one_has_its_own_stops_and_fills() -> None:
    run = repeated_id()
    records = run.records
    result = Result(record_of(run))
    assert list(result.stops["signal_id"]) == ["a", "a", "a", "b", "a", "a"]
    assert result.stops.attrs["left_out"] == 0
    assert [(until - at) / pd.Timedelta("1min") for at, until in zip(result.stops["at"], result.stops["until"],
            strict=True)] == [1, 2, 1, 4, 4, 25]  # fmt: skip
    assert [[price for _, price in stairs] for stairs in stairs_of(result)] == [
        [95.0, 98.0, 98.5, 98.5],
        [94.0, 96.0, 96.0],
    ]
    last = records.closed.pop()  # as it was before the end of the frame
    records.events.remove(last)
    assert [(row["signal_id"], row["kind"]) for row in fill_rows(records, bknb.Settings())] == [
        ("a", "entry"), ("a", "reduce"), ("a", "exit"), ("b", "entry"), ("b", "exit"), ("a", "entry")]  # fmt: skip
    assert positions_of_run(record_of(run)).opened_ms[-1] == ORIGIN + 21 * MINUTE


def test_a_moment_of_a_position_with_the_id_of_an_earlier_one_is_about_its_own() -> None:
    result = Result(record_of(repeated_id()))
    first, second = (result.at(ORIGIN + minute * MINUTE) for minute in (4, 30))
    assert "the stop lies at 98 now (stop_loss)" in repr(first)
    assert "the stop lies at 96 now (stop_loss)" in repr(second)
    assert "with 0.5 of its first size" in repr(first)
    assert "of its first size" not in repr(second)
    assert second.why.splitlines() == result.why("a").splitlines()[5:7]
    managed = second.manage(lambda position: bknb.Move(price_stop_loss=position.price_stop_loss + 1.0))
    assert managed.diverged == ""
    assert [event.price_stop_loss for event in managed.events if isinstance(event, bknb.Moved)] == [97.0]


def test_a_view_keeps_positions_with_one_id_apart() -> None:
    result = Result(record_of(repeated_id()))
    view = RunView(result.symbol, result.strategy)
    view.take_all(history(result.run_record.records))
    assert [[price for _, price in stairs] for stairs in view.stairs] == [[95.0, 98.0, 98.5, 98.5], [94.0, 96.0, 96.0]]
    assert view.why("a") == result.why("a")
    assert len(view.signals.positions_managed) == 2


def test_positions_whose_moves_a_live_run_does_not_hold_any_more_are_left_out() -> None:
    run = repeated_id()
    records, held = run.records, Records(_limit=1)
    events = [*records.events, *records.positions]
    for event in sorted(events, key=lambda event: event.when):
        held.add(event)
    result = Result(replace(record_of(run), records=held))
    assert list(result.stops["signal_id"]) == ["b", "a", "a"]
    assert result.stops["price_stop_loss"].tolist() == [95.0, 94.0, 96.0]
    assert result.stops.attrs["left_out"] == 1
