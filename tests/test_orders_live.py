"""Lists, places, entries in parts, adds and a memo live: as over history, also behind a start or a kill at any time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from orders_worlds import draw
from quick import rest_long
from scenarios import MINUTE, ORIGIN
from test_managed_live import told
from test_orders_simulator import Run
from worlds import MODELS

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.testing.clocks import SimulatedClock

MINUTES = 60
SCRIPT = Path(__file__).with_name("orders_life.py")


def live(run: Run, model: str, *, since: int, until: int, store: Any) -> bknb.Result:
    """A life from one minute to another."""
    options = {name: value for name, value in run.options.items() if name != "frame"}
    result = bknb.Live.background(
        "BTCUSDT", **options, execution=model, store=store, clock=SimulatedClock(ORIGIN + since * MINUTE),
        until=ORIGIN + until * MINUTE, late_minutes=10_000,
    ).result(timeout=120)  # fmt: skip
    assert not result.errors, result.errors
    return result


def seen(run: Run, *, before: int) -> tuple[list[Any], list[Any]]:
    """When it was asked, and what manage was shown; they are forgotten."""
    found = [when for when in run.asked if when < before], [each for each in run.views if each[0] < before]
    run.asked.clear()
    run.views.clear()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("model", rest_long(["touch", "pessimistic", "vwap"], kept=1))
@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 150), marks=pytest.mark.long)], ids=["few", "many"])
def test_live_is_a_backtest_in_many_worlds(model: str, seeds: range) -> None:
    for seed in seeds:
        world = draw(seed, MINUTES)
        run, until = Run(world), ORIGIN + world.end * MINUTE
        records = live(run, model, since=world.start, until=world.end, store=bknb.stores.memory()).run_record.records
        shown = seen(run, before=world.end)
        over_history = BacktestRun(plan_backtest("BTCUSDT", **run.options, execution=model))
        asyncio.run(over_history.through())
        assert told(records, before=until) == told(over_history.records, before=until), seed
        assert shown == seen(run, before=world.end), seed


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 150), marks=pytest.mark.long)], ids=["few", "many"])
def test_a_run_that_is_started_again_at_a_minute_is_one_that_went_on(seeds: range) -> None:
    for seed in seeds:
        world, model = draw(seed, MINUTES), MODELS[seed % 3]
        run, at = Run(world), draw(seed).start + 5 + seed * 7 % (MINUTES - 10)
        whole = live(run, model, since=world.start, until=world.end, store=bknb.stores.memory())
        shown, store = seen(run, before=world.end), bknb.stores.memory()
        live(run, model, since=world.start, until=at, store=store)
        result = live(run, model, since=at, until=world.end, store=store)
        # what was asked at the last moment, and had no answer, is asked again
        assert tuple(list(dict.fromkeys(each)) for each in seen(run, before=world.end)) == shown, seed
        ends = [one.run_record.records.ends for one in (whole, result)]
        assert list(map(str, ends[0])) == list(map(str, ends[1])), seed


KILLED = [  # seed, minutes and capital; how often at least
    pytest.param("1 7", 19, marks=pytest.mark.slow),
    *(
        pytest.param(case, killed, marks=pytest.mark.long)
        for case, killed in (("1 20 1000000", 210), ("22 20 1000000", 250), ("16 20", 150), ("44 20", 125))
    ),
]


@pytest.mark.parametrize(("world", "killed"), KILLED)
def test_killed_at_every_write_it_ends_with_the_fills_the_notes_and_the_state_of_one_that_went_on(
    world: str, killed: int, folder_in_memory: Path
) -> None:
    call = [sys.executable, SCRIPT, folder_in_memory, *world.split()]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["killed"] >= killed
    assert {"entry", "add", "exit"} <= found["kinds"].keys()
