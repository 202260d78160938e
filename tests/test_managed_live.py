"""Managed positions live: the same events as a backtest, and after a crash at any change of the disk the same fills."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import JumpingClock
from test_managed_properties import drawn, managing
from worlds import MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.testing.clocks import SimulatedClock

LENGTH = 200
UNTIL = ORIGIN + LENGTH * MINUTE


def told(records: Records, *, before: int) -> list[bytes]:
    """Every event of a run before a moment, in order of kind, without what must differ: mode and frame."""
    everything = [*records.events, *records.positions, *records.milestones, *records.rejected, *records.refused]
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in everything if event.when < before]
    return [msgspec.json.encode(event) for event in plain]


def managed(seed: int, model: str, *, risk: str | None = None) -> Any:
    return bknb.add_strategy(
        "random",
        interval="1m",
        get_signal=drawn(seed),
        manage=managing(seed),
        manage_interval="1m" if seed % 2 else "5m",
        execution=model,
        risk=risk,
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", first_quick(MODELS))
@settings(max_examples=10)
@given(seed=SEEDS, jumping=st.booleans(), risk=st.booleans())
def test_live_equals_a_backtest(model: str, seed: int, *, jumping: bool, risk: bool) -> None:
    def picky(request: bknb.RiskRequest) -> bool:
        return (request.when // MINUTE) % 4 != 0

    bknb.add_risk("picky", validations=[picky])
    exchange, strategy = source(walk(seed)), managed(seed, model, risk="picky" if risk else None)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=exchange,
        clock=JumpingClock(ORIGIN, seed) if jumping else SimulatedClock(ORIGIN),
        until=UNTIL,
        store=bknb.stores.memory(),
        settings=SETTINGS,
    )
    result = task.result(timeout=120)
    assert {failure.kind for failure in result.errors} <= ({"late"} if jumping else set()), result.errors
    live = result.run_record.records
    assert jumping or not live.late
    plan = plan_backtest("BTCUSDT", frame=(ORIGIN, UNTIL), strategy=strategy, exchange=exchange, settings=SETTINGS)
    run = BacktestRun(plan, late=dict(live.late))
    asyncio.run(run.through())
    assert told(live, before=UNTIL) == told(run.records, before=UNTIL)


@pytest.mark.slow
def test_killed_at_any_change_of_the_disk_it_has_the_same_fills_each_once(tmp_path: Path) -> None:
    script = Path(__file__).with_name("managed_life.py")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["killed"] > 60
    assert found["fills"] > 8
