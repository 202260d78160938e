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
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quick import rest_long
from scenarios import MINUTE, ORIGIN, source
from test_by_hand import play
from test_live_parity import JumpingClock
from test_managed_properties import drawn, managing, managing_orders
from worlds import SEEDS, SETTINGS, walk

import bknb
from bknb.domain.position_book import PositionBook, new_book
from bknb.domain.signal import OpenSignal
from bknb.domain.trailing_and_breakeven_stops import stop_in_force
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.live.saved_risk_places import saved_places
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock

LENGTH = 200
UNTIL = ORIGIN + LENGTH * MINUTE


def told(records: Records, *, before: int) -> list[bytes]:
    """Every event of a run before a moment, in order of kind, without what must differ: mode and frame."""
    everything = [*records.events, *records.positions, *records.milestones, *records.rejected, *records.refused]
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in everything if event.when < before]
    return [msgspec.json.encode(event) for event in plain]


def managed(seed: int, model: str, *, risk: str | None = None, lists: bool = False, orders: bool = False) -> Any:
    return bknb.add_strategy(
        "random",
        interval="1m",
        get_signal=drawn(seed, lists=lists, ladders=orders),
        manage=managing_orders(seed) if orders else managing(seed),
        manage_interval="1m" if seed % 2 else "5m",
        execution=model,
        risk=risk,
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", rest_long(["pessimistic", "vwap", "touch"], kept=1))
@settings(max_examples=6)
@example(
    seed=128, jumping=True, risk=False, lists=False, orders=False
)  # a part and the rest of the position leave late, in one answer
@given(seed=SEEDS, jumping=st.booleans(), risk=st.booleans(), lists=st.booleans(), orders=st.booleans())
def test_live_equals_a_backtest(model: str, seed: int, *, jumping: bool, risk: bool, lists: bool, orders: bool) -> None:
    def picky(request: bknb.RiskRequest) -> bool:
        return (request.when // MINUTE) % 4 != 0

    bknb.add_risk("picky", validations=[picky])
    exchange = source(walk(seed))
    strategy = managed(seed, model, risk="picky" if risk else None, lists=lists, orders=orders)
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


def test_a_part_decided_before_a_hole_fills_behind_it_although_what_leaves_in_it_is_late() -> None:
    rows = [(ORIGIN + k * MINUTE, *(4 * (100.0 + k,)), 1.0) for k in range(-60, 30) if not 2 <= k < 8]

    def get_signal(when: Any) -> Any:
        return bknb.Signal(side="long", minute_estimated_time=4) if when.minute == 1 else None

    def manage(when: Any) -> Any:
        return bknb.Reduce(0.5) if when.minute == 2 else None

    exchange = source(rows)
    strategy = bknb.add_strategy("parts", interval="1m", get_signal=get_signal, manage=manage)
    common: dict[str, Any] = {"strategy": strategy, "exchange": exchange, "allow_gaps": True}
    task = bknb.Live.background(
        "X", clock=SimulatedClock(ORIGIN), until=ORIGIN + 20 * MINUTE, store=bknb.stores.memory(), **common
    )
    live = task.result(timeout=60).run_record.records
    fills = [(fill.kind, (fill.at - ORIGIN) // MINUTE) for event in live.closed for fill in event.fills]
    assert fills == [("entry", 1), ("reduce", 8), ("exit", 9)]
    for every_minute in (False, True):
        plan = plan_backtest("X", frame=(ORIGIN, ORIGIN + 20 * MINUTE), **common)
        run = BacktestRun(plan, late=dict(live.late), every_minute=every_minute)
        asyncio.run(run.through())
        assert told(live, before=UNTIL) == told(run.records, before=UNTIL)


def test_the_bars_of_a_position_are_those_of_open_hours_over_a_change_of_the_clocks() -> None:
    """New York on the 10th of March 2024: closed from 06:30 until 07:15 UTC, as clocks are set from 02:00 to 03:00."""
    sessions = bknb.Sessions.weekly("America/New_York", {"mon-sun": "00:00-01:30, 03:15-24:00"})
    opens, closes, reopens = (1_710_050_400_000 + minutes * MINUTE for minutes in (0, 30, 75))
    until = reopens + 30 * MINUTE
    times = [*range(opens - 30 * MINUTE, closes, MINUTE), *range(reopens, until + 10 * MINUTE, MINUTE)]
    exchange = bknb.exchanges.in_sessions(source([(t, *(4 * (100.0,)), 1.0) for t in times]), sessions)
    seen: dict[str, list[tuple[str, int]]] = {"backtest": [], "live": []}

    def get_signal(when: Any) -> Any:
        return bknb.Signal(side="long") if round(when.timestamp() * 1000) == opens else None

    def manage(when: Any, position: Any, ctx: Any) -> None:
        seen[ctx.mode].append((f"{when:%H:%M}", position.bars))

    strategy = bknb.add_strategy("bars", interval="15m", get_signal=get_signal, manage=manage)
    common: dict[str, Any] = {"strategy": strategy, "exchange": exchange}
    bknb.backtest("X", frame=(opens, until), **common)
    task = bknb.Live.background("X", clock=SimulatedClock(opens), until=until, store=bknb.stores.memory(), **common)
    assert not task.result(timeout=60).errors
    assert seen["backtest"] == [("06:15", 1), ("07:20", 2), ("07:30", 3)]
    assert seen["live"][:3] == seen["backtest"]


PARTS = {
    *("breakeven", "breakeven_stop", "deadline", "fills", "leaving", "opening"),
    *("orders", "position", "stop", "targets", "trailing"),
}


EVERY = {  # what changes of the disk there are, at least
    "managed": 220, "managed 4": 230, "managed 5": 190,
    "lists": 210, "lists 4": 275, "lists 5": 240,
    "orders": 280, "orders 4": 285, "orders 5": 310,
    "places": 325, "places 4": 290, "places 5": 285,
}  # fmt: skip


@pytest.mark.parametrize(
    ("places", "killed", "kind"),
    [
        pytest.param("chosen", 12, "managed", marks=pytest.mark.slow),
        pytest.param("chosen", 9, "places 4", marks=pytest.mark.slow),
        pytest.param("chosen", 12, "orders", marks=pytest.mark.long),
        *(pytest.param("every", killed, kind, marks=pytest.mark.long) for kind, killed in EVERY.items()),
    ],
)
def test_killed_at_any_change_of_the_disk_it_has_the_same_fills_each_once(
    places: str, killed: int, kind: str, folder_in_memory: Path
) -> None:
    script = Path(__file__).with_name("managed_life.py")
    call = [sys.executable, script, folder_in_memory, places, *kind.split()]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert len(found["killed"]) >= killed
    if kind in ("managed", "lists", "orders"):  # of places, what is saved of one is compared with another one there
        assert set(found["parts"]) == PARTS - ({"deadline", "trailing"} if kind == "orders" else set())
    assert found["fills"] > (10 if " " not in kind else 6)


def test_a_place_that_was_lost_is_taken_again_with_what_is_open_and_the_adds_that_wait() -> None:
    answers = {3: bknb.Add(2.0), 5: bknb.Reduce(0.5), 6: [bknb.Add(0.25, price_open=90.0), bknb.Add(0.5)]}
    asked: list[float] = []

    def note(request: bknb.RiskRequest) -> bool:
        asked.extend([request.size] if request.add else [])
        return True

    bknb.add_risk("noted", validations=[note])
    store = bknb.stores.memory()
    options = {"store": store, "strategy": {"manage": lambda when: answers.get(when.minute), "risk": "noted"}}
    play({}, until=10, **options)
    with store:
        (kept,) = saved_places(store, "noted")
        store.delete("risk", ("noted", "positions"))
    play({}, begin=10, until=12, **options)
    with store:
        (taken,) = saved_places(store, "noted")
    assert asked == [1.0, 1.5, 1.75]
    assert (kept.size, taken.size) == (2.25, 2.25)


def test_a_book_without_the_levels_that_were_left_behind_is_read() -> None:
    fields = {"id": "a", "symbol": "X", "strategy": "s", "exchange": "e", "note": "", "scheduled_at": 0}
    signal = OpenSignal(
        **fields, position="long", price_open=100.0, price_take_profit=None, price_stop_loss=95.0,
        minute_estimated_time=None, pending_at=0,
    )  # fmt: skip
    book = msgspec.structs.replace(
        new_book(signal, highest=104.0, lowest=99.0), stop=102.0, stop_reason="trailing_stop"
    )
    older = json.loads(msgspec.json.encode(book))
    del older["trail_stop"], older["trail_first"]
    assert msgspec.json.decode(json.dumps(older), type=PositionBook) == book
    assert stop_in_force(book, 1, 104.0, None) == (102.0, "trailing_stop")


@pytest.mark.parametrize(
    ("opens", "moves", "version"),
    [
        ({"price_stop_loss": 90.0, "price_take_profit": 120.0}, None, 4),
        ({"stop_percent": 10.0, "price_take_profit": 120.0}, None, 5),
        ({"price_stop_loss": 90.0, "target_percent": [(20.0, 0.5), (30.0, 0.5)]}, None, 5),
        ({"price_stop_loss": 90.0, "price_take_profit": 120.0}, bknb.Move(target_percent=25.0), 5),
        ({"price_stop_loss": 90.0, "price_take_profit": 120.0}, bknb.Move(price_stop_loss=91.0), 4),
        ({"price_open": 95.0, "stop_percent": 10.0}, None, 5),
        ({"price_open": 95.0, "price_stop_loss": 90.0}, None, 4),
        ({"price_stop_loss": 90.0, "price_take_profit": 120.0}, "memo", 5),
        (None, "memo", 5),
    ],
)
def test_an_older_release_refuses_what_it_would_leave_out(opens: Any, moves: Any, version: int) -> None:
    """A release that reads up to version 4 knows no levels in percent and no memo: it would trade without them."""

    def get_signal(ctx: Any) -> Any:
        if moves == "memo":
            ctx.memo["n"] = 1
        return None if opens is None else bknb.Signal(side="long", minute_estimated_time=600, valid=None, **opens)

    def manage(position: Any) -> Any:
        return moves if isinstance(moves, bknb.Move) and position.size else None

    rows = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 40)]
    store, free = bknb.stores.memory(), {"percent_slippage": 0.0, "percent_fee": 0.0}
    strategy = bknb.add_strategy("new", interval="1h", get_signal=get_signal, manage=manage, manage_interval="1m")
    run: Any = {"strategy": strategy, "exchange": source(rows), "store": store, "settings": free}
    bknb.Live.background(
        "X", **run, clock=SimulatedClock(ORIGIN), until=ORIGIN + 9 * MINUTE
    ).result(timeout=60)  # fmt: skip
    store.acquire()
    found = {kind: store.read(kind, ("new", "X")) for kind in ("signal", "schedule")}
    store.release()
    versions = {json.loads(payload)["version"] for payload in found.values() if payload is not None}
    assert max(versions) == version
    result = bknb.Live.background(
        "X", **run, clock=SimulatedClock(ORIGIN + 9 * MINUTE), until=ORIGIN + 12 * MINUTE
    ).result(timeout=60)  # fmt: skip
    assert not result.errors, result.errors


@pytest.mark.parametrize("until", [9, 12])
def test_a_state_of_version_3_is_read(until: int, tmp_path: Path) -> None:
    """A position that version 3 saved, which knew none that are managed, is managed from the next slot on."""

    def get_signal(when: Any) -> Any:
        return bknb.Signal(side="long", price_stop_loss=90.0, price_take_profit=120.0, minute_estimated_time=600)

    def manage(when: Any, position: Any) -> Any:
        return bknb.Reduce(0.5) if when.minute == 15 else bknb.Close() if when.minute == 20 else None

    rows = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 40)]

    def life(start: int, end: int) -> bknb.Result:
        strategy = bknb.add_strategy("old", interval="1h", get_signal=get_signal, manage=manage, manage_interval="5m")
        return bknb.Live.background(
            "X", strategy=strategy, exchange=source(rows), clock=SimulatedClock(ORIGIN + start * MINUTE),
            until=ORIGIN + end * MINUTE, store=FileStore(tmp_path),
        ).result(timeout=60)  # fmt: skip

    life(0, until)
    with FileStore(tmp_path) as store:
        saved = json.loads(store.read("signal", ("old", "X")) or b"")
        assert saved.pop("version") == 4
        assert saved.pop("book") is None
        assert saved.pop("last_managed") == ORIGIN + until // 5 * 5 * MINUTE
        store.write("signal", ("old", "X"), json.dumps(saved | {"version": 3}).encode())
    result = life(until, 25)
    assert not result.errors, result.errors
    assert list(result.fills["kind"]) == ["entry", "reduce", "exit"]
    assert list(result.trades["close_reason"]) == ["strategy"]
