"""Live runs through the public functions: starting, stopping, failing, resuming."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import waiting
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, source
from worlds import SEEDS, SETTINGS, signals, walk

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.lifecycle import Reserve
from bknb.domain.signal import OpenSignal
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.engine.registration_checks import as_validation
from bknb.engine.registry import Risk
from bknb.engine.risk_profile_places import RiskPlaces
from bknb.market.candles import Candles
from bknb.runs import live_task as live_runs
from bknb.stores.file_names import encode_name
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import AcceleratedClock, SimulatedClock
from bknb.testing.faults import FaultyDisk

UNTIL = ORIGIN + 120 * MINUTE


class HeldClock(SimulatedClock):
    """A clock that stands still at a moment until it is let go."""

    def __init__(self, start: int, *, hold_at: int) -> None:
        super().__init__(start)
        self.hold_at = hold_at
        self.held = threading.Event()
        self.freed = threading.Event()

    async def sleep_until(self, when: int) -> None:
        if when > self.hold_at and not self.freed.is_set():
            self.held.set()
            while not self.freed.is_set():  # noqa: ASYNC110 -- set by the test's thread
                await asyncio.sleep(0.001)
        await super().sleep_until(when)


def start(strategy: Any, *, seed: int = 36, exchange: Any = None, **options: Any) -> live_runs.LiveTask:
    given: dict[str, Any] = {
        "clock": SimulatedClock(ORIGIN),
        "until": UNTIL,
        "store": bknb.stores.memory(),
        "settings": SETTINGS,
    }
    return bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange or source(walk(seed)), **given | options
    )  # fmt: skip


def story(result: bknb.Result | Records) -> list[tuple[str, int, str]]:
    return [(type(event).__name__, event.when, event.signal.id) for event in result.events]


def always(*, away: float = 0.0) -> Any:
    """A long signal at every question; ``away`` per cent below the market it waits."""

    def get_signal(price: float) -> dict[str, Any]:
        entry = price * (1 - away / 100)
        levels = {"price_take_profit": entry * 1.15, "price_stop_loss": entry * 0.85, "minute_estimated_time": 60}
        return {"position": "long", **levels} | ({"price_open": entry} if away else {})

    return get_signal


# --- starting, looking ------------------------------------------------------------------------------------------


def test_it_can_be_followed_result_by_result() -> None:
    async def watch() -> list[str]:
        options: dict[str, Any] = {"clock": SimulatedClock(ORIGIN), "until": UNTIL, "store": bknb.stores.memory()}
        results = bknb.Live.run("BTCUSDT", strategy=signals(41), exchange=source(walk(41)), settings=SETTINGS,
                                **options)  # fmt: skip
        return [result.action async for result in results]

    actions = asyncio.run(watch())
    assert {"idle", "active", "scheduled", "opened", "closed", "cancelled"} == set(actions)


def test_status_list_and_data_while_it_runs() -> None:
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 60 * MINUTE)
    task = start(bknb.add_strategy("w", interval="1m", get_signal=signals(36)), clock=clock)
    assert clock.held.wait(20)
    assert (task.status, task.done) == ("pending", False)
    assert task in bknb.Live.list()
    so_far = bknb.Live.get_data("BTCUSDT", "w")
    assert so_far.mode == "live"
    assert so_far.end <= ORIGIN + 60 * MINUTE
    assert "BTCUSDT" in bknb.Live.get_report("BTCUSDT", "w")
    clock.freed.set()
    whole = task.result(20)
    assert task.status == "fulfilled"
    assert len(whole.trades) > len(so_far.trades) > 0
    assert story(whole)[: len(so_far.events)] == story(so_far)


def test_a_second_run_of_the_same_strategy_and_symbol_is_refused() -> None:
    clock = HeldClock(ORIGIN, hold_at=ORIGIN)
    start(bknb.add_strategy("w", interval="1m", get_signal=always()), clock=clock)
    with pytest.raises(bknb.UsageError, match=r"going on already\nend it first: bknb\.Live\.stop\('BTCUSDT', 'w'"):
        start("w")
    clock.freed.set()


def test_wrong_use_is_reported() -> None:
    for options, text in [
        ({"store": 3}, "a store must be bknb.stores.files"),
        ({"clock": "noon"}, "a clock must have"),
        ({"late_minutes": -1}, "late_minutes must be"),
        ({"until": "soon"}, "until must be a text such as"),
    ]:
        with pytest.raises(bknb.UsageError, match=text):
            start(always(), **options)
    with pytest.raises(bknb.UnknownName, match="no live run is called"):
        bknb.Live.get_data("BTCUSDT", "nobody")


def test_a_run_begins_at_the_next_full_minute() -> None:
    result = start(lambda: None, clock=SimulatedClock(ORIGIN + 20_000), until=ORIGIN + 5 * MINUTE).result(20)
    assert result.start == ORIGIN + MINUTE


def test_prints_of_a_strategy_go_where_it_was_started(capsys: pytest.CaptureFixture[str]) -> None:
    start(lambda: print("asked"), until=ORIGIN + MINUTE).result(20)  # noqa: T201 -- what is tested
    assert capsys.readouterr().out == "asked\nasked\n"


# --- stopping ---------------------------------------------------------------------------------------------------


def test_stop_watches_an_open_position_to_its_end() -> None:
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 10 * MINUTE)
    task = start(always(), clock=clock, until=None)
    assert clock.held.wait(20)
    task.stop()
    clock.freed.set()
    result = task.result(20)
    assert [event.action for event in result.events] == ["opened", "closed"]
    assert result.events[-1].when == ORIGIN + 60 * MINUTE
    assert result.stopped


def test_stop_cancels_what_is_scheduled_and_does_not_wait_for_the_minute() -> None:
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 10 * MINUTE)
    task = start(always(away=15), clock=clock, until=None)
    assert clock.held.wait(20)
    task.stop()
    result = task.result(20)  # the clock stands still
    assert [event.action for event in result.events] == ["scheduled", "cancelled"]
    assert result.cancelled["reason"].tolist() == ["stopped"]
    clock.freed.set()


@pytest.mark.slow
def test_stop_now_leaves_and_the_next_run_goes_on(tmp_path: Path) -> None:
    store, whole = FileStore(tmp_path), start(signals(36)).result(20)
    received: list[Any] = []
    quiet = bknb.listen_resumed(received.append)
    for minutes in (13, 14, 40, 77):
        clock = HeldClock(ORIGIN, hold_at=ORIGIN + minutes * MINUTE)
        task = start(signals(36), clock=clock, store=store)
        assert clock.held.wait(20)
        task.stop(now=True)
        task.result(20)
        clock.freed.set()
    last = start(signals(36), store=store).result(20)
    quiet()
    assert last.trades.equals(whole.trades)
    assert last.cancelled.equals(whole.cancelled)
    assert len(received) == 4
    assert {(event.symbol, event.strategy) for event in received} == {("BTCUSDT", "get_signal")}


def test_stop_now_keeps_what_waits_also_when_a_minute_passes_in_the_meantime(tmp_path: Path) -> None:
    class PassesInStop(HeldClock):
        """While stop() asks what time it is, the run comes to its next minute."""

        def now(self) -> int:
            if threading.current_thread() is threading.main_thread() and self.held.is_set():
                self.held.clear()
                self.hold_at += MINUTE
                self.freed.set()
                assert waiting.until(lambda: self.held.is_set() or task.done)
            return super().now()

    clock = PassesInStop(ORIGIN, hold_at=ORIGIN + 10 * MINUTE)
    task = start(always(away=15), clock=clock, until=None, store=FileStore(tmp_path))
    assert clock.held.wait(20)
    task.stop(now=True)
    result = task.result(20)
    clock.freed.set()
    assert [event.action for event in result.events] == ["scheduled"]


def test_pausing_asks_for_nothing_new() -> None:
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 5 * MINUTE)
    asked: list[int] = []
    task = start(lambda ctx: asked.append(ctx.when_ms), clock=clock)
    assert clock.held.wait(20)
    task.pause()
    clock.hold_at, held = ORIGIN + 50 * MINUTE, clock.held
    held.clear()
    clock.freed.set()
    task.result(20)
    assert asked == [ORIGIN + minute * MINUTE for minute in range(6)]


def once(when_minute: int, **more: Any) -> Any:
    """A long signal at one minute of the hour; it ends after five."""

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        if when.minute != when_minute:
            return None
        levels = {"price_take_profit": price * 1.15, "price_stop_loss": price * 0.85, "minute_estimated_time": 5}
        return {"position": "long", **levels} | more

    return get_signal


class Unreachable(PaperBroker):
    """A broker that does not take an order until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.freed = threading.Event(), threading.Event()

    async def place(self, order: Any) -> Any:
        self.reached.set()
        while not self.freed.is_set():  # noqa: ASYNC110 -- set by the test's thread
            await asyncio.sleep(0.001)
        return await super().place(order)


def test_stop_takes_back_an_order_that_has_not_left() -> None:
    tasks: list[live_runs.LiveTask] = []
    broker = PaperBroker()

    def quantity(_: Any) -> float:
        tasks[0].stop()  # it was decided, and its order is being worked out
        return 1.0

    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 5 * MINUTE)
    tasks.append(start(once(10), clock=clock, until=None, broker=broker, quantity=quantity))
    clock.freed.set()
    result = tasks[0].result(20)
    assert [event.action for event in result.events] == ["cancelled"]
    assert result.cancelled["reason"].tolist() == ["stopped"]
    assert broker.orders == {}


@pytest.mark.parametrize(
    ("entry", "away"), [("market", 0.0), ("limit", -0.002), ("limit", -0.1), ("limit", 0.1), ("stop", 0.1)]
)
def test_without_a_broker_stop_meets_an_order_as_in_a_backtest(entry: str, away: float) -> None:
    """Nobody carries out orders, so one that was decided has left at its moment; what waits is cancelled."""
    stops: list[Any] = []
    bknb.add_risk("all", validations=[lambda request: True], callbacks={"on_allowed": lambda request: stops[0]()})

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        if when.minute != 10:
            return None
        levels = {"price_take_profit": price * 1.3, "price_stop_loss": price * 0.8, "minute_estimated_time": 5}
        return {"position": "long", **levels} | (
            {} if entry == "market" else {"entry": entry, "price_open": price * (1 + away)}
        )

    strategy = bknb.add_strategy("w", interval="1m", risk="all", get_signal=get_signal)
    run, result = in_both(strategy, stops)
    assert story(result) == story(run.records)
    assert run.records.rejected == []
    assert run.records.events


def in_both(strategy: Any, stops: list[Any], **options: Any) -> tuple[BacktestRun, bknb.Result]:
    """A strategy in a backtest and in a live run; ``stops`` has what stops the one that goes on."""
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=source(walk(36)), frame=(ORIGIN, UNTIL),
                         settings=SETTINGS)  # fmt: skip
    run = BacktestRun(plan)
    stops.append(run.stop)
    asyncio.run(run.through())
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 5 * MINUTE)
    task = start(strategy, clock=clock, until=None, **options)
    stops[0] = task.stop
    clock.freed.set()
    return run, task.result(20)


@pytest.mark.parametrize("execution", ["pessimistic", "vwap"])
@pytest.mark.parametrize("who", ["strategy", "risk profile", "manager"])
def test_what_is_answered_after_a_stop_opens_nothing(who: str, execution: str) -> None:
    """The stop comes while the answer is being thought about: nothing is sent to the broker for it."""
    stops: list[Any] = []

    def stopping(name: str) -> bool:
        if name == who:
            stops[0]()
        return True

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        signal = once(10, minute_estimated_time=20)(when, price)
        return signal if signal is not None and stopping("strategy") else None

    def manage(position: Any) -> Any:
        return bknb.Add(1.0) if position.minutes == 5 and stopping("manager") else None

    bknb.add_risk("all", validations=[lambda request: stopping("risk profile")])
    strategy = bknb.add_strategy("w", interval="1m", execution=execution, risk="all", manage=manage,
                                 get_signal=get_signal)  # fmt: skip
    broker = PaperBroker()
    run, result = in_both(strategy, stops, broker=broker, quantity=1.0)
    rejected = result.run_record.records.rejected
    assert [[reason.code for reason in event.reasons] for event in rejected] == [["stopped"]]
    assert [event.when for event in rejected] == [event.when for event in run.records.rejected]
    assert len(broker.orders) == (2 if who == "manager" else 0)  # the entry, and what closed it
    assert broker.position("BTCUSDT") == 0.0
    assert story(result) == story(run.records)
    assert result.warnings == []


def test_stop_does_not_take_back_an_order_that_has_left() -> None:
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 10 * MINUTE)
    broker = Unreachable()
    task = start(once(10), clock=clock, until=None, broker=broker, quantity=1.0)
    assert clock.held.wait(20)
    assert broker.reached.wait(20)  # saved as sent: it may have left
    task.stop()
    broker.freed.set()
    clock.freed.set()
    result = task.result(20)
    assert [event.action for event in result.events] == ["opened", "closed"]
    assert broker.position("BTCUSDT") == 0.0


def test_a_run_that_starts_again_late_trades_what_never_left_at_the_market_of_then() -> None:
    store, clock = bknb.stores.memory(), HeldClock(ORIGIN, hold_at=ORIGIN + 10 * MINUTE)
    task = start(bknb.add_strategy("w", interval="1m", get_signal=once(10)), clock=clock, store=store)
    assert clock.held.wait(20)
    task.stop(now=True)
    task.result(20)
    clock.freed.set()
    broker = PaperBroker()
    options: dict[str, Any] = {"store": store, "broker": broker, "quantity": 1.0}
    result = start("w", clock=SimulatedClock(ORIGIN + 40 * MINUTE), until=ORIGIN + 59 * MINUTE, **options).result(20)
    assert {error.kind for error in result.errors} == {"late"}
    first = next(row for row in walk(36) if row[0] >= ORIGIN + 40 * MINUTE and row[5] > 0)
    opened = next(event for event in result.events if event.action == "opened")
    assert (opened.when, opened.signal.price_open) == (first[0], first[1])
    assert opened.signal.scheduled_at == ORIGIN + 10 * MINUTE
    bought = [order for order in broker.orders.values() if order.side == "buy"]
    assert [(order.average_price, order.received) for order in bought] == [(first[1], 1)]
    assert broker.position("BTCUSDT") == 0.0


def test_on_a_fast_clock_a_restart_is_late_after_a_minute_of_real_time() -> None:
    class Fast(SimulatedClock):
        speed = 60.0

    def restarted(minute: int) -> int:
        store, clock = bknb.stores.memory(), HeldClock(ORIGIN, hold_at=ORIGIN + 10 * MINUTE)
        task = start(bknb.add_strategy("w", interval="1m", get_signal=once(10)), clock=clock, store=store)
        assert clock.held.wait(20)
        task.stop(now=True)
        task.result(20)
        clock.freed.set()
        options: dict[str, Any] = {"store": store, "broker": PaperBroker(), "quantity": 1.0, "late_minutes": 10_000}
        until = ORIGIN + (minute + 20) * MINUTE
        result = start("w", clock=Fast(ORIGIN + minute * MINUTE), until=until, **options).result(20)
        return next((event.when - ORIGIN) // MINUTE for event in result.events if event.action == "opened")

    assert restarted(40) < 40 <= restarted(90)


# --- failing ----------------------------------------------------------------------------------------------------


class Flaky:
    """A source that fails at every third question."""

    def __init__(self, rows: list[list[float]]) -> None:
        self._source = source(rows)
        self.name, self.intervals, self.page_limit = "flaky", self._source.intervals, self._source.page_limit
        self.format_price, self.format_quantity = self._source.format_price, self._source.format_quantity
        self.questions = 0

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        self.questions += 1
        if self.questions % 3 == 0:
            raise ConnectionError("the line is dead")
        return await self._source.get_candles(symbol, interval, since, limit)


def test_a_failing_exchange_is_reported_and_tried_again() -> None:
    patient = SETTINGS | {"get_candles_retry_count": 1, "get_candles_retry_delay_ms": 0}
    whole = start(signals(36), settings=patient).result(20)
    received: list[Any] = []
    quiet = bknb.listen_error(received.append)
    result = start(signals(36), exchange=Flaky(walk(36)), settings=patient).result(20)
    quiet()
    assert story(result) == story(whole)
    assert {error.kind for error in result.errors} == {"exchange"}
    assert "the line is dead" in received[0].message
    assert received[0].mode == "live"


def test_a_strategy_that_raises_passes_its_slot() -> None:
    def get_signal() -> None:
        raise ZeroDivisionError("oh")

    result = start(get_signal, until=ORIGIN + 3 * MINUTE).result(20)
    assert [(error.kind, error.count) for error in result.errors] == [("strategy", 4)]


@pytest.mark.slow
def test_a_strategy_that_never_answers_is_abandoned_for_its_slot() -> None:
    never, calls = threading.Event(), []

    def get_signal(when: Any) -> None:
        calls.append(when)
        if len(calls) == 1:
            never.wait(60)

    result = start(get_signal, until=ORIGIN + 3 * MINUTE, settings={"max_signal_generation_seconds": 1}).result(30)
    never.set()
    assert [(error.kind, error.count) for error in result.errors] == [("timeout", 1)]
    assert len(calls) == 4


@pytest.mark.slow
def test_an_event_that_cannot_be_saved_is_not_emitted(tmp_path: Path) -> None:
    whole = start(signals(36)).result(20)
    full = OSError(errno.ENOSPC, "No space left on device")
    for change in (9, 14, 30, 61, 98):
        disk = FaultyDisk(at=change, fault=full, only=("write", "replace", "sync_folder"))
        result = start(signals(36), store=FileStore(tmp_path / str(change), disk=disk)).result(20)
        assert result.trades.equals(whole.trades)
        assert result.cancelled.equals(whole.cancelled)
        assert [error.kind for error in result.errors] == ["state"]
        assert "No space left" in result.errors[0].message


def test_a_question_that_is_too_old_passes() -> None:
    asked: list[int] = []
    store = bknb.stores.memory()
    start(lambda ctx: asked.append(ctx.when_ms), until=ORIGIN + 2 * MINUTE, store=store).result(20)
    late = start(
        lambda ctx: asked.append(ctx.when_ms),
        clock=SimulatedClock(ORIGIN + 60 * MINUTE),
        until=ORIGIN + 61 * MINUTE,
        store=store,
        late_minutes=5,
    ).result(20)
    assert [(when - ORIGIN) // MINUTE for when in asked] == [0, 1, 2, *range(55, 62)]
    assert [(error.kind, error.count) for error in late.errors] == [("late", 52)]


# --- whose state it is ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_process_is_refused_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bknb.stores.file_store import FileStore\nstore = FileStore(sys.argv[1])\nstore.acquire()\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    refused = start(always(), store=FileStore(tmp_path))
    with pytest.raises(bknb.StateError, match=str(other.pid)):
        refused.result(20)
    assert refused.status == "rejected"
    other.kill()
    other.communicate()
    assert start(always(), store=FileStore(tmp_path)).result(20).events


def test_state_of_another_exchange_is_refused() -> None:
    store = bknb.stores.memory()
    start(always(), store=store, until=ORIGIN + 5 * MINUTE).result(20)
    other = start(always(), store=store, exchange=bknb.exchanges.demo())
    with pytest.raises(bknb.StateError, match="exchange 'frame' is not 'demo'\nstart it as it was saved"):
        other.result(20)


@pytest.mark.parametrize("kind", ["signal", "schedule"])
@pytest.mark.parametrize("damage", ["torn", "flipped", "foreign", "future"])
def test_damaged_state_is_never_read_as_no_position(tmp_path: Path, kind: str, damage: str) -> None:
    strategy = always(away=15) if kind == "schedule" else always()
    start(strategy, store=FileStore(tmp_path), until=ORIGIN + 5 * MINUTE).result(20)
    path = tmp_path / kind / encode_name("get_signal") / f"{encode_name('BTCUSDT')}.json"
    sealed = path.read_bytes()
    middle = len(sealed) // 2
    flipped = sealed[:middle] + bytes([sealed[middle] ^ 4]) + sealed[middle + 1 :]
    foreign = path.with_name("foreign.json").write_bytes(b"") or b'{"hello": "world"}'
    path.write_bytes(
        {"torn": sealed[:middle], "flipped": flipped, "foreign": foreign, "future": _of_the_future(sealed)}[damage]
    )
    received: list[Any] = []
    quiet = bknb.listen_exit(received.append)
    again = start(strategy, store=FileStore(tmp_path))
    with pytest.raises(bknb.StateError):
        again.result(20)
    bknb.events.listen.drain()  # type: ignore[attr-defined]
    quiet()
    assert received
    assert received[0].mode == "live"
    third = start(strategy, store=FileStore(tmp_path))
    with pytest.raises(bknb.StateError):  # and not at the next start either
        third.result(20)


def _of_the_future(sealed: bytes) -> bytes:
    import re

    changed, count = re.subn(rb'"format":\s*\d+', b'"format":99', sealed)
    assert count == 1, sealed
    return changed


def test_lost_reservations_are_made_again() -> None:
    def alone(request: bknb.RiskRequest) -> bool:
        return request.open_position_count == 0

    bknb.add_risk("one", validations=[alone])
    store = bknb.stores.memory()
    bknb.add_strategy("a", interval="1m", get_signal=always(), risk="one")
    bknb.add_strategy("b", interval="1m", get_signal=always(), risk="one")
    start("a", store=store, until=ORIGIN + 5 * MINUTE).result(20)
    with store:
        store.delete("risk", ("one", "positions"))
    held = HeldClock(ORIGIN + 5 * MINUTE, hold_at=ORIGIN + 6 * MINUTE)
    first = start("a", store=store, clock=held)
    assert held.held.wait(20)
    refused = start("b", store=store, until=ORIGIN + 5 * MINUTE).result(20)
    held.freed.set()
    first.result(20)
    assert not refused.events
    assert len(refused.refused) == 6


# --- risk across strategies -------------------------------------------------------------------------------------


@given(
    limit=st.integers(1, 4), asks=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=40)
)  # fmt: skip
def test_the_limit_holds_under_any_interleaving(limit: int, asks: list[tuple[int, int]]) -> None:
    async def few(request: bknb.RiskRequest) -> bool:
        for _ in range(len(request.signal.id) % 4):
            await asyncio.sleep(0)  # others get in between the look and the answer
        return request.open_position_count < limit

    places = RiskPlaces(Risk("few", (as_validation(few),)))
    most = 0

    async def ask(number: int, who: int, pauses: int) -> None:
        nonlocal most
        for _ in range(pauses):
            await asyncio.sleep(0)
        verdict = await places.ask(Reserve(_candidate(str(who), f"{'x' * pauses}{number}"), ORIGIN, 100.0))
        most = max(most, len(places.places))
        if verdict.allowed and pauses % 2:
            await asyncio.sleep(0)
            places.release("BTCUSDT", str(who), f"{'x' * pauses}{number}")

    async def all_at_once() -> None:
        await asyncio.gather(*(ask(number, *one) for number, one in enumerate(asks)))

    asyncio.run(all_at_once())
    assert most <= limit


def test_a_rule_that_does_not_answer_holds_others_up_for_a_limited_time() -> None:
    async def hangs(request: bknb.RiskRequest) -> bool:
        return await asyncio.Event().wait()

    async def scene() -> None:
        places = RiskPlaces(Risk("few", (as_validation(hangs),)))
        places.use(places.risk, wait_seconds=0.01)
        held = asyncio.create_task(places.ask(Reserve(_candidate("a", "1"), ORIGIN, 100.0)))
        await asyncio.sleep(0)
        verdict = await asyncio.wait_for(places.ask(Reserve(_candidate("b", "2"), ORIGIN, 100.0)), 20)
        assert verdict[:3] == (False, "the rules of 'few' were busy with other candidates for 0.01 s", 0)
        held.cancel()

    asyncio.run(scene())


def _candidate(strategy: str, signal_id: str) -> OpenSignal:
    return OpenSignal(
        id=signal_id,
        symbol="BTCUSDT",
        strategy=strategy,
        exchange="demo",
        position="long",
        price_open=100.0,
        price_take_profit=110.0,
        price_stop_loss=90.0,
        minute_estimated_time=60,
        note="",
        scheduled_at=ORIGIN,
        pending_at=ORIGIN,
    )


def open_at(results: list[bknb.Result], moment: int) -> set[str]:
    """The positions that are open after the fills of the open at a moment."""
    found = set()
    for result in results:
        opened = {event.signal.id: event.when for event in result.events if event.action == "opened"}
        closed = {event.signal.id: event.when for event in result.events if event.action == "closed"}
        found |= {name for name, when in opened.items() if when <= moment < closed.get(name, moment + 1)}
    return found


class InStep(SimulatedClock):
    """A clock that goes on when all of a number of runs wait: none of them is ahead of another."""

    def __init__(self, start: int, runs: int) -> None:
        super().__init__(start)
        self._runs = runs
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def sleep_until(self, when: int) -> None:
        mine = when, asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        if len(self._waiting) == self._runs:
            self.advance(min(moment for moment, _ in self._waiting))
            for moment, future in self._waiting:
                if moment <= self.now() and not future.done():
                    future.set_result(None)
        try:
            await mine[1]
        finally:
            self._waiting.remove(mine)


@pytest.mark.slow
def test_many_strategies_and_symbols_share_one_limit() -> None:
    taken: list[int] = []

    def at_most_three(request: bknb.RiskRequest) -> bool:
        "at most three positions"
        taken.append(request.open_position_count)
        return request.open_position_count < 3

    bknb.add_risk("three", validations=[at_most_three])
    store, clock = bknb.stores.memory(), InStep(ORIGIN, 8)
    exchange = source(walk(36))
    tasks = []
    for number in range(8):
        strategy = bknb.add_strategy(f"s{number}", interval="1m", get_signal=signals(number), risk="three")
        tasks.append(start(strategy, exchange=exchange, store=store, clock=clock))
    results = [task.result(60) for task in tasks]
    assert all(not result.run_record.records.late for result in results)
    # A position that leaves has its place until it has left, and what is ordered after it has one already.
    assert 3 <= max(taken) <= 6
    for moment in {event.when for result in results for event in result.events}:
        assert len(open_at(results, moment)) <= 3
    assert sum(len(result.refused) for result in results) > 20
    assert {refusal.note for result in results for refusal in result.refused} == {"at most three positions"}
    assert len({result.strategy for result in results if len(result.trades)}) > 2


# --- listeners --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=3)
@given(seed=SEEDS, order=st.permutations(range(3)))
def test_listeners_change_nothing(seed: int, order: list[int]) -> None:
    alone = start(signals(seed), seed=seed).result(20)
    random = np.random.default_rng(seed)

    def raises(event: Any) -> None:
        raise RuntimeError("no")

    async def slow(event: Any) -> None:
        for _ in range(int(random.integers(0, 4))):
            await asyncio.sleep(0)

    listeners = [raises, slow, lambda event: None]
    quiet = [bknb.listen_signal_live(listeners[index]) for index in order]
    try:
        watched = start(signals(seed), seed=seed).result(20)
    finally:
        for stop in quiet:
            stop()
    assert story(watched) == story(alone)
    assert watched.trades.equals(alone.trades)


def test_a_clock_that_runs_a_thousand_times_as_fast() -> None:
    strategy = bknb.add_strategy("fast", interval="1m", get_signal=signals(36))
    result = start(strategy, clock=AcceleratedClock(ORIGIN, speed=20_000)).result(60)
    frame = (result.start, UNTIL)
    late = dict(result.run_record.records.late)  # a clock as fast as this is more than a minute late now and then
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=source(walk(36)), frame=frame, settings=SETTINGS)
    again = BacktestRun(plan, late=late)
    asyncio.run(again.through())
    assert story(result) == [told for told in story(again.records) if told[1] < UNTIL]
