"""Live runs and what comes in between: hanging exchanges, late candles, impatient users, shared candles, forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from order_events import WHERE, closed, held
from scenarios import MINUTE, ORIGIN, source
from test_live import HeldClock, always, start, story
from worlds import LENGTH, SETTINGS, signals, walk

import bknb
from bknb.domain.lifecycle import signals_of
from bknb.domain.recovery import SavedPlaces, SavedSchedule, SavedSignal, restore
from bknb.domain.signal_events import AddCancelled, Milestone, Moved, Rejected
from bknb.engine.records import Records
from bknb.live.runtime import RUNTIME
from bknb.market.candles import Candles
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import AcceleratedClock, SimulatedClock


class Source:
    """A source over recorded minutes that a test can block."""

    def __init__(self, rows: list[list[float]], *, intervals: tuple[str, ...] | None = ("1m",)) -> None:
        self._source = source(rows)
        self.name, self.intervals, self.page_limit = "guarded", intervals, self._source.page_limit
        self.format_price, self.format_quantity = self._source.format_price, self._source.format_quantity

    async def before(self, symbol: str, interval: str) -> None:
        """What blocks an answer."""

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        await self.before(symbol, interval)
        return await self._source.get_candles(symbol, interval, since, limit)


# --- leaving ----------------------------------------------------------------------------------------------------


def test_leaving_now_does_not_wait_for_a_dead_exchange() -> None:
    asked = threading.Event()

    class Dead(Source):
        async def before(self, symbol: str, interval: str) -> None:
            asked.set()
            await asyncio.Event().wait()

    task = start(lambda: None, exchange=Dead(walk(36)), until=None)
    assert asked.wait(20)
    task.stop(now=True)
    assert task.result(20).stopped


@pytest.mark.slow
def test_leaving_now_does_not_wait_for_a_strategy(tmp_path: Path) -> None:
    thinks, never = threading.Event(), threading.Event()

    def get_signal(ctx: Any) -> Any:
        if ctx.when_ms == ORIGIN and not never.is_set():
            thinks.set()
            never.wait(60)
        return signals(36)(ctx.when, ctx.price)

    store = bknb.stores.files(tmp_path)
    task = start(get_signal, store=store)
    assert thinks.wait(20)
    task.stop(now=True)
    task.result(20)
    never.set()
    whole = start(bknb.add_strategy("whole", interval="1m", get_signal=signals(36))).result(20)
    again = start(get_signal, store=store).result(20)
    assert [told[:2] for told in story(again)] == [told[:2] for told in story(whole)]


def test_a_listener_of_the_end_of_a_run_can_start_it_again() -> None:
    store = bknb.stores.memory()
    strategy = bknb.add_strategy("again", interval="1m", get_signal=always())
    found: list[Any] = []
    ready = threading.Event()

    def restart(_: Any) -> None:
        try:
            found.append(start("again", store=store, clock=SimulatedClock(ORIGIN + 5 * MINUTE)))
        except bknb.UsageError as error:
            found.append(error)
        ready.set()

    quiet = bknb.listen_done_live_once(lambda event: event.strategy == "again", restart)
    start(strategy, store=store, until=ORIGIN + 5 * MINUTE)
    assert ready.wait(20)
    quiet()
    assert found[0].result(20).trades.shape[0] == 1


@pytest.mark.slow
def test_a_process_ends_although_runs_and_listeners_go_on(tmp_path: Path) -> None:
    code = """
import threading, bknb, bknb.live.run
from bknb.testing.clocks import AcceleratedClock
bknb.live.run.LISTENER_SECONDS = bknb.live.ending.LISTENER_SECONDS = 0.1
never = threading.Event()
bknb.listen_signal_live(lambda event: never.wait(), quiet=True)
task = bknb.Live.background("BTCUSDT", strategy=lambda: print("asked", flush=True), exchange="demo",
                            clock=AcceleratedClock(1_704_067_200_000, speed=600), store=bknb.stores.memory())
over = bknb.Live.background("ETHUSDT", strategy=lambda: None, exchange="demo", until="2024-01-01 00:02",
                            clock=AcceleratedClock(1_704_067_200_000, speed=6000), store=bknb.stores.memory())
while not over.worked:
    over.wait(0.05)
print("last line", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "last line" in done.stdout


# --- looking too early ------------------------------------------------------------------------------------------


def test_a_run_can_be_looked_at_before_it_has_seen_anything(tmp_path: Path) -> None:
    asked = threading.Event()

    class Dead(Source):
        async def before(self, symbol: str, interval: str) -> None:
            asked.set()
            await asyncio.Event().wait()

    task = start(lambda: None, exchange=Dead(walk(36)), until=None)
    assert len(task.snapshot().candles) == 0
    assert asked.wait(20)
    early = task.snapshot()
    assert len(early.candles) == 0
    assert "BTCUSDT" in early.report()
    with bknb.stores.FileStore(tmp_path):
        refused = start(
            bknb.add_strategy("r", interval="1m", get_signal=always()), store=bknb.stores.FileStore(tmp_path)
        )
        refused.wait(20)
    assert len(refused.snapshot().candles) == 0


# --- candles that come late -------------------------------------------------------------------------------------


def test_a_candle_of_another_symbol_that_comes_late_costs_no_question() -> None:
    late: dict[tuple[str, str], int] = {}

    class Late(Source):
        def __init__(self, rows: list[list[float]], clock: SimulatedClock) -> None:
            super().__init__(rows, intervals=("1m", "15m"))
            self._clock = clock

        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            if symbol == "BTCUSDT":
                return await super().get_candles(symbol, interval, since, limit)
            now = self._clock.now()  # everything of the other one comes two seconds late
            rows = await super().get_candles(symbol, interval, since, limit)
            behind = now - 2_000
            late[symbol, interval] = late.get((symbol, interval), 0) + 1
            return rows[: int((rows.timestamp + MINUTE).searchsorted(behind, side="right"))]

    seen: list[tuple[int, int]] = []

    def get_signal(ctx: Any) -> None:
        candles = ctx.get_candles("ETHUSDT", "1m", 3)
        seen.append((ctx.when_ms, int(candles.timestamp[-1]) + MINUTE))

    clock = SimulatedClock(ORIGIN)
    result = start(get_signal, exchange=Late(walk(36), clock), clock=clock, until=ORIGIN + 20 * MINUTE).result(30)
    assert not result.errors
    assert seen == [(ORIGIN + minute * MINUTE,) * 2 for minute in range(21)]
    assert late["ETHUSDT", "1m"] > 40


def test_a_candle_that_never_comes_costs_one_question() -> None:
    class Ends(Source):
        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            rows = await super().get_candles(symbol, interval, since, limit)
            return rows if symbol == "BTCUSDT" else rows[: int(rows.timestamp.searchsorted(ORIGIN))]

    def get_signal(ctx: Any) -> None:
        ctx.get_candles("ETHUSDT", "1m", 3)

    result = start(get_signal, exchange=Ends(walk(36)), until=ORIGIN + 5 * MINUTE).result(30)
    assert [(error.kind, error.count) for error in result.errors] == [("warm-up", 5)]
    assert result.end == ORIGIN + 5 * MINUTE


def test_an_exchange_that_is_down_is_asked_less_and_less_often() -> None:
    class Down(Source):
        asked = 0

        async def before(self, symbol: str, interval: str) -> None:
            self.asked += 1
            if self.asked > 2:
                raise ConnectionError("maintenance")

    exchange, patient = Down(walk(36)), SETTINGS | {"get_candles_retry_count": 1}
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 60 * MINUTE)
    task = start(lambda: None, exchange=exchange, clock=clock, until=None, settings=patient)
    assert clock.held.wait(20)
    task.stop(now=True)
    task.result(20)
    clock.freed.set()
    assert 60 <= exchange.asked < 150


# --- pausing ----------------------------------------------------------------------------------------------------


def test_what_passed_while_it_was_paused_is_not_made_up_for_after_a_restart() -> None:
    store, asked = bknb.stores.memory(), []

    def get_signal(ctx: Any) -> None:
        asked.append((ctx.when_ms - ORIGIN) // MINUTE)

    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 5 * MINUTE)
    task = start(get_signal, clock=clock, store=store, until=ORIGIN + 30 * MINUTE)
    assert clock.held.wait(20)
    task.pause()
    clock.freed.set()
    task.result(20)
    start(get_signal, clock=SimulatedClock(ORIGIN + 32 * MINUTE), store=store, until=ORIGIN + 33 * MINUTE).result(20)
    assert asked == [0, 1, 2, 3, 4, 5, 31, 32, 33]


# --- one strategy does not disturb the others ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_callback_that_waits_delays_only_its_own_run() -> None:
    waits, go = threading.Event(), threading.Event()

    def slow(_: Any) -> None:
        waits.set()
        go.wait(30)

    bknb.add_strategy("slow", interval="1m", get_signal=lambda: None, callbacks={"on_tick": slow})
    held = start("slow")
    assert waits.wait(20)
    other = start(bknb.add_strategy("quick", interval="1m", get_signal=signals(36)))
    assert other.result(20).trades.shape[0] > 0
    assert not held.done
    go.set()
    held.result(20)


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_a_strategy_that_calls_exit_does_not_end_the_run(how: str) -> None:
    error = {"exit": SystemExit(1), "interrupt": KeyboardInterrupt()}[how]

    def get_signal() -> None:
        raise error

    result = start(get_signal, until=ORIGIN + 3 * MINUTE).result(20)
    assert [(failure.kind, failure.count) for failure in result.errors] == [("strategy", 4)]


def test_a_task_of_a_strategy_that_calls_exit_does_not_end_other_runs() -> None:
    left: list[Any] = []

    async def quits() -> None:
        raise SystemExit(1)

    async def get_signal() -> None:
        left.append(asyncio.create_task(quits()))
        await asyncio.sleep(0)

    start(get_signal, until=ORIGIN + 3 * MINUTE).result(20)
    assert [type(task.exception()) for task in left] == [SystemExit] * 4
    assert start(bknb.add_strategy("w", interval="1m", get_signal=signals(36))).result(20).trades.shape[0] > 0


# --- what is shared, and for how long -----------------------------------------------------------------------------


def test_runs_on_the_computers_clock_share_their_candles() -> None:
    plans = [
        bknb.runs.live_task.plan_live("BTCUSDT", strategy=lambda: None, exchange="demo", store=bknb.stores.memory())
        for _ in range(2)
    ]
    assert plans[0].clock is plans[1].clock


def test_candles_and_warnings_are_those_of_the_runs_that_need_them() -> None:
    class Flaky(Source):
        wrong = False

        async def before(self, symbol: str, interval: str) -> None:
            if self.wrong:
                self.wrong = False
                raise ConnectionError("the line is dead")

    exchange, patient = Flaky(walk(36)), SETTINGS | {"get_candles_retry_delay_ms": 0}
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 5 * MINUTE)
    options: dict[str, Any] = {"exchange": exchange, "clock": clock, "settings": patient, "until": None}
    tasks = [start(bknb.add_strategy(n, interval="1m", get_signal=lambda: None), **options) for n in ("a", "b", "c")]
    assert clock.held.wait(20)
    (stream,) = (stream for _, stream in RUNTIME._streams if stream.clock is clock)
    tasks[0].stop(now=True)
    tasks[0].result(20)
    exchange.wrong = True
    clock.hold_at += 5 * MINUTE
    clock.held.clear()
    clock.freed.set()
    for task in tasks[1:]:
        while not task.snapshot().warnings:
            task.wait(0.01)
        task.stop(now=True)
        assert "the line is dead" in task.result(20).warnings[0]
    assert not tasks[0].snapshot().warnings
    assert stream not in [kept for _, kept in RUNTIME._streams]


def test_places_are_read_again_when_another_process_may_have_changed_them() -> None:
    bknb.add_risk("two", validations=[lambda request: request.open_position_count < 1])
    bknb.add_strategy("a", interval="1m", get_signal=always(), risk="two")
    bknb.add_strategy("b", interval="1m", get_signal=always(), risk="two")
    store = bknb.stores.memory()
    start("a", store=store, until=ORIGIN + 5 * MINUTE).result(20)
    with store:  # somebody else closes it, and its place is free
        store.delete("signal", ("a", "BTCUSDT"))
        store.delete("risk", ("two", "positions"))
    assert start("b", store=store, until=ORIGIN + 5 * MINUTE).result(20).events


class Watched(MemoryStore):
    """Notes every write that leaves a signal open on the disk whose place in the risk profile is free there."""

    def __init__(self) -> None:
        super().__init__()
        self.free: list[str] = []
        self.turned_round = 0

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        super().write(kind, key, payload)
        places = super().read("risk", ("one", "positions"))
        if places is not None:
            state = restore(self._saved("signal", SavedSignal), self._saved("schedule", SavedSchedule), None).state
            held = [signal.id for signal in signals_of(state)]
            taken = {place.signal_id for place in msgspec.json.decode(places, type=SavedPlaces).positions}
            self.turned_round += len(held) == 2
            self.free += [signal_id for signal_id in held if signal_id not in taken]

    def _saved(self, kind: str, form: Any) -> Any:
        found = super().read(kind, ("w", "BTCUSDT"))
        return None if found is None else msgspec.json.decode(found, type=form)


@pytest.mark.slow
def test_no_place_is_free_on_the_disk_while_its_position_is_open_there() -> None:
    """A position leaves, and the next limit fills in the same candle, for which the risk profile is asked again."""

    def get_signal(price: float) -> dict[str, Any]:
        levels = {"price_take_profit": price * 1.5, "price_stop_loss": price * 0.5, "minute_estimated_time": 3}
        return {"position": "long", "price_open": price * 0.999, **levels}

    def alone(request: bknb.RiskRequest) -> bool:
        return request.open_position_count == 0

    bknb.add_risk("one", validations=[alone])
    strategy = bknb.add_strategy("w", interval="1m", get_signal=get_signal, risk="one")
    store = Watched()
    result = start(strategy, store=store, until=ORIGIN + LENGTH * MINUTE).result(20)
    assert len(result.trades) > 50
    assert store.turned_round > 20
    assert store.free == []


def test_milestones_warnings_and_rejections_of_a_live_run_are_bounded() -> None:
    records = Records(_limit=10)
    for minute in range(1_000):
        records.add(
            Rejected(symbol="B", strategy="s", exchange="e", frame=None, mode="live", when=minute, price=1.0,
                     reasons=(), signal="")
        )  # fmt: skip
        records.warn(f"warning {minute}")
        records.add(Milestone(**WHERE, when=minute, price=101.0, side="profit", level=10, signal=held("a")))
    assert 10 <= len(records.rejected) <= 20
    assert 10 <= len(records.warnings) <= 20
    assert 10 <= len(records.milestones) <= 20
    assert records.rejected[-1].when == records.milestones[-1].when == 999
    assert len(Records(_limit=10).snapshot().warnings) == 0


def test_moved_levels_of_closed_positions_of_a_live_run_are_bounded() -> None:
    records = Records(_limit=10)
    for number in range(100):
        signal, moves = held(f"s{number}"), 15 if number == 99 else 3
        for when in range(moves):
            records.add(
                Moved(**WHERE, when=when, price=1.0, signal=signal, reason="manual", price_stop_loss=1.0,
                      stop_reason="stop_loss", targets=(), deadline=None)
            )  # fmt: skip
        records.add(
            AddCancelled(
                **WHERE, when=0, price=1.0, signal=signal, number=1, share=1.0, price_open=1.0, reason="manual"
            )
        )
        records.add(closed(f"s{number}"))
    moved = [event.signal.id for event in records.positions if isinstance(event, Moved)]
    assert len(moved) <= 30
    assert moved.count("s99") == 15
    assert all(moved.count(name) in (3, 15) for name in moved)  # of a position all or none
    assert sum(isinstance(event, AddCancelled) for event in records.positions) == len(records.closed) == 100


def test_a_store_is_asked_only_for_the_trades_of_the_run() -> None:
    class Watched(bknb.stores.MemoryStore):
        listed: list[Any]

        def keys(self, kind: str, under: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
            self.listed.append((kind, under))
            return super().keys(kind, under)

    store = Watched()
    store.listed = []
    start(always(), store=store, until=ORIGIN + 5 * MINUTE).result(20)
    mine, all_of_a_kind = ("get_signal", "BTCUSDT"), ("signal", "schedule", "order")  # these have one value per run
    assert store.listed == [
        *((kind, mine) for kind in ("signal", "schedule", "partial")),  # of places, of which it has one
        *((kind, mine) for kind in ("undelivered", "ended", "hole", "late", "note")),
        *((kind, ()) for kind in all_of_a_kind),
        ("candle", mine),  # once: which part of what was recorded is the newest
    ]


# --- forks ------------------------------------------------------------------------------------------------------


def _in_the_child(pipe: Any) -> None:
    done = start(bknb.add_strategy("child", interval="1m", get_signal=signals(36))).result(20)
    frame = (ORIGIN, ORIGIN + 60 * MINUTE)
    again = bknb.backtest("BTCUSDT", strategy="child", exchange=source(walk(36)), frame=frame, settings=SETTINGS)
    pipe.send((len(done.trades), len(again.trades)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_its_own_runtime() -> None:
    start(lambda: None, until=ORIGIN + MINUTE).result(20)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_in_the_child, args=(there,))
    child.start()
    try:
        assert here.poll(30), "the forked process hangs"
        live, backtest = here.recv()
        assert live > 0
        assert backtest > 0
    finally:
        child.kill()
        child.join()


def test_an_accelerated_clock_can_be_left_in_the_middle() -> None:
    task = start(signals(36), clock=AcceleratedClock(ORIGIN, speed=600), until=None)
    task.stop(now=True)
    assert task.result(20).stopped
