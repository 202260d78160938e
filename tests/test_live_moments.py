"""Live moments that go wrong or that the clock ends: none holds up the minutes behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import waiting
from hand_clock import HandClock
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.config import Settings
from bknb.domain.fills_at_stops_and_gaps import Minute, execution_model
from bknb.domain.lifecycle import Answer, Boundary, Flat, Managed, Rules, due, position_of, step
from bknb.domain.recovery import Owner
from bknb.live.values_saved_before_events import StateSaver
from bknb.runs.live_task import TASKS, LiveTask, plan_live
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

Rows = list[tuple[float, ...]]


def calm(until: int, *, since: int = -60, low: dict[int, float] | None = None) -> Rows:
    """Minutes at 100, some of which fall to a price."""
    lows = low or {}
    return [(ORIGIN + k * MINUTE, 100.0, 100.5, lows.get(k, 99.5), 100.0, 1.0) for k in range(since, until)]


def minute_of(when: Any) -> int:
    return (round(when.timestamp() * 1000) - ORIGIN) // MINUTE


def live(rows: Rows, *, at: int = 0, until: int = 20, store: Any = None, strategy: Any, **options: Any) -> bknb.Result:
    bknb.add_strategy("moments", interval="1m", **strategy)
    task = bknb.Live.background(
        "X",
        strategy="moments",
        exchange=source(rows),
        clock=SimulatedClock(ORIGIN + at * MINUTE),
        until=ORIGIN + until * MINUTE,
        store=bknb.stores.memory() if store is None else store,
        **options,
    )
    return task.result(timeout=60)


def long_at(minute: int, **levels: Any) -> Any:
    def get_signal(when: Any) -> Any:
        return bknb.Signal(side="long", **levels) if minute_of(when) == minute else None

    return get_signal


def told(result: bknb.Result) -> list[tuple[str, int, float]]:
    return [
        (closed.close_reason, (closed.when - ORIGIN) // MINUTE, closed.price_close)
        for closed in result.run_record.records.closed
    ]


class Undecided:
    """A value of the user's that raises when it is compared, or asked whether it is true."""

    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")

    def __eq__(self, other: object) -> bool:
        raise ValueError("neither equal nor different")

    __hash__ = None  # type: ignore[assignment]


def test_an_answer_that_cannot_be_carried_out_is_told_and_the_position_stays_watched() -> None:
    asked: list[int] = []

    def manage(when: Any) -> Any:
        asked.append(minute_of(when))
        return bknb.Reduce(0.5, of=Undecided()) if len(asked) == 2 else None  # type: ignore[arg-type]

    result = live(calm(20, low={9: 89.0}), strategy={"get_signal": long_at(1, price_stop_loss=90.0), "manage": manage})
    assert told(result) == [("stop_loss", 9, 90.0)]
    assert asked == list(range(2, 10))
    assert [(error.kind, error.count) for error in result.errors] == [("strategy", 1)]


def test_a_signal_that_cannot_be_carried_out_is_told_and_the_next_is_asked_for() -> None:
    def get_signal(when: Any) -> Any:
        entry: Any = Undecided() if minute_of(when) == 1 else "limit"
        return bknb.Signal(side="long", minute_estimated_time=5, entry=entry) if minute_of(when) in (1, 3) else None

    result = live(calm(20), strategy={"get_signal": get_signal})
    assert told(result) == [("time_expired", 8, 100.0)]
    assert [(error.kind, error.count) for error in result.errors] == [("strategy", 1)]


def test_where_there_is_no_average_price_manage_sees_the_last_close() -> None:
    """A restart whose source has lost the candles before it."""
    asked: list[tuple[int, float]] = []

    def manage(when: Any, position: bknb.HeldPosition) -> Any:
        asked.append((minute_of(when), position.price))
        return bknb.Close("gone") if minute_of(when) == 12 else None

    store = bknb.stores.memory()
    strategy = {"get_signal": long_at(1, price_stop_loss=90.0), "manage": manage}
    live(calm(20), until=5, store=store, strategy=strategy)
    asked.clear()
    rows = [(t, 98.0, 98.5, 97.5, 98.0, v) for t, *_, v in calm(20, since=9)]
    result = live(rows, at=10, store=store, strategy=strategy, allow_gaps=True, settings={"avg_price_candles_count": 5})
    assert asked == [(10, 98.0), (11, 98.0), (12, 98.0)]
    assert told(result) == [("strategy", 12, 98.0)]


def test_what_the_clock_ends_in_a_hole_is_all_ended_there() -> None:
    """The time of an add and the deadline of its position lie in one hole; the candle behind it reaches the stop."""

    def manage(when: Any) -> Any:
        return bknb.Add(0.5, price_open=95.0, valid=5) if minute_of(when) == 3 else None

    rows = [row for row in calm(40, low={30: 89.0}) if not 6 <= (row[0] - ORIGIN) // MINUTE < 30]
    strategy = {"get_signal": long_at(1, price_stop_loss=90.0, minute_estimated_time=15), "manage": manage}
    result = live(rows, until=36, strategy=strategy, allow_gaps=True)
    (taken_back,) = [event for event in result.run_record.records.positions if isinstance(event, bknb.AddCancelled)]
    assert (taken_back.reason, (taken_back.when - ORIGIN) // MINUTE) == ("timeout", 8)
    assert told(result) == [("time_expired", 31, 100.0)]  # decided when the candle behind the hole had come


RULES = Rules("X", "s", "demo", None, "live", execution_model("pessimistic"), Settings())
BEFORE: dict[str, tuple[dict[str, Any], int, float, tuple[str, int, float]]] = {
    "a stop": ({"price_stop_loss": 90.0}, 3, 80.0, ("stop_loss", 3, 90.0)),
    "a stop of a managed position": (
        {"price_stop_loss": 90.0, "trailing": bknb.Trailing(distance=9.0)}, 3, 80.0, ("trailing_stop", 3, 91.5)),
    "the last minute that closed before it": ({"price_stop_loss": 90.0}, 8, 80.0, ("stop_loss", 8, 90.0)),
    "the minute under way": ({"price_stop_loss": 90.0}, 9, 80.0, ("manual", 10, 100.0)),
    "a target": ({"price_take_profit": 101.0}, 5, 99.5, ("take_profit", 5, 101.0)),
    "a deadline": ({"minute_estimated_time": 5}, 20, 99.5, ("time_expired", 5, 100.0)),
    "a deadline in the minute under way": ({"minute_estimated_time": 9}, 20, 99.5, ("time_expired", 9, 100.0)),
    "a later deadline": ({"minute_estimated_time": 10}, 20, 99.5, ("manual", 10, 100.0)),
    "nothing": ({}, 20, 99.5, ("manual", 10, 100.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_what_closed_before_a_close_by_hand_is_judged_first(name: str) -> None:
    levels, minute, low, expected = BEFORE[name]
    high = {5: 102.0} if name == "a target" else {}
    state: Any = step(Flat(), Answer(0, 100.0, bknb.Signal(side="long", **levels)), RULES).state
    found: list[Any] = []
    for k in range(12):
        while (moment := due(state, RULES)) <= k * MINUTE:
            state = step(state, Boundary(moment, 100.0), RULES).state
        prices = (100.0, high.get(k, 100.5), low if k == minute else 99.5, 100.0, 100.0)
        state, events, _ = step(state, Minute(k * MINUTE, *prices), RULES)
        found += [event for event in events if isinstance(event, bknb.Closed)]
        if found:
            break
        if k == 0:
            state = step(state, Managed((bknb.Close(),), 100.0, 10 * MINUTE, 100.0, source="manual"), RULES).state
    (closed,) = found
    assert (closed.close_reason, closed.when // MINUTE, closed.price_close) == expected


BEHIND: dict[str, tuple[Callable[[Any], str], dict[int, float], tuple[str, int, float]]] = {
    "a close, and a stop before it": (lambda task: task.close(), {7: 89.0}, ("stop_loss", 7, 90.0)),
    "a move that closes, and a stop before it": (
        lambda task: task.move(price_stop_loss=101.0), {7: 89.0}, ("stop_loss", 7, 90.0)),
    "a move that closes": (lambda task: task.move(price_stop_loss=101.0), {}, ("stop_loss", 10, 100.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", BEHIND)
def test_a_restart_behind_a_decision_by_hand_judges_first_what_closed_before_it(name: str) -> None:
    """It was decided while minutes were missing; the run ended, and they came before the next start."""
    give, low, expected = BEHIND[name]
    store = bknb.stores.memory()

    answers: list[str] = []

    def decide(task: Any) -> None:
        answers.append(give(task))
        task.stop(now=True)

    bknb.add_strategy("moments", interval="1m", get_signal=long_at(1, price_stop_loss=90.0))
    clock = HandClock(ORIGIN, {ORIGIN + 9 * MINUTE + MINUTE // 2: decide})
    plan = plan_live(
        "X", strategy="moments", exchange=source(calm(5)), clock=clock, until=ORIGIN + 20 * MINUTE, store=store
    )
    clock.task = task = LiveTask(plan)
    TASKS.add(task)
    task.start()
    assert len(task.result(timeout=60).trades) == 0
    assert "00:10 UTC on" in answers[0]
    strategy = {"get_signal": lambda: None}
    result = live(calm(20, low=low), at=11, store=store, strategy=strategy)
    assert told(result) == [expected]


class Kept(MemoryStore):
    """A store that keeps what it held behind each write."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[dict[Any, bytes]] = []

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        super().write(kind, key, payload)
        self.held.append(dict(self.sealed))

    def late_of_fills_at(self, when: int, plan: Any) -> set[Any]:
        """The late orders as restarts find them where something was filled at a moment (UTC ms)."""
        found = set()
        owner = Owner(strategy="moments", exchange=plan.exchange.name, symbol="X", execution="vwap")
        for held in self.held:
            with MemoryStore() as store:
                store.sealed = dict(held)
                saver = StateSaver(store, owner)
                position = position_of(saver.restore().state)
                fills = [each.when for each in saver.ended()]
                if position is not None:
                    fills += [position.signal.pending_at]
                    fills += [] if position.book is None else [fill.at for fill in position.book.fills]
                if when in fills:
                    found.add(tuple(saver.late().items()))
        return found


OLD: dict[str, tuple[Callable[[Any], str], str, list[str], list[tuple[str, int, float]]]] = {
    "a close": (lambda task: task.close(), "exit", ["entry", "exit"], [("manual", 5, 100.0)]),
    "a part": (lambda task: task.reduce(0.5), "exit", ["entry", "reduce"], []),
    "a move": (lambda task: task.move(price_stop_loss=101.0), "", ["entry", "exit"], [("stop_loss", 10, 100.0)]),
    "an entry": (lambda task: task.open(bknb.Signal(side="long")), "entry", ["entry"], []),
    "an entry that rests": (lambda task: task.open(bknb.Signal(side="long", price_open=95.0)), "", [], []),
    "an entry that is refused": (lambda task: refused(task.open), "", [], []),
}


def refused(give: Callable[[Any], str]) -> str:
    with pytest.raises(bknb.UsageError, match="open was refused by the risk profile 'two'") as raised:
        give(bknb.Signal(side="long", note="no"))
    return str(raised.value)


@pytest.mark.parametrize("name", OLD)
def test_in_vwap_what_fills_at_an_old_price_by_hand_is_told_as_late(name: str) -> None:
    """Minutes are missing when it is decided: the average price is that of the last one that has come."""
    give, role, kinds, expected = OLD[name]
    answers: list[str] = []
    store, begins = Kept(), 99 if "entry" in name else 1
    bknb.add_risk("two", validations=[lambda request: request.signal.note != "no"])
    rules = {"execution": "vwap", "risk": "two"}
    bknb.add_strategy("moments", interval="1m", get_signal=long_at(begins, price_stop_loss=90.0), **rules)
    clock = HandClock(ORIGIN, {ORIGIN + 9 * MINUTE + MINUTE // 2: lambda task: answers.append(give(task))})
    plan = plan_live("X", strategy="moments", exchange=source(calm(5)), clock=clock, until=ORIGIN + 11 * MINUTE,
                     store=store)  # fmt: skip
    clock.task = task = LiveTask(plan)
    TASKS.add(task)
    task.start()
    result = task.result(timeout=60)
    late = {(ORIGIN + 5 * MINUTE, role): ORIGIN + 9 * MINUTE + MINUTE // 2} if role else {}
    assert result.run_record.records.late == late
    assert [error.kind for error in result.errors if error.kind == "late"] == ["late"] * len(late)
    assert ("2024-01-01 00:05 UTC, 4 minutes old: no minute has come since" in answers[0]) == bool(role)
    assert store.late_of_fills_at(ORIGIN + 5 * MINUTE, plan) <= {tuple(late.items())}  # killed wherever
    again = live(calm(20), at=11, store=store, strategy={"get_signal": lambda: None, **rules})
    assert told(again) == expected
    assert again.fills["kind"].tolist() == kinds
    assert again.run_record.records.late == late


def test_a_run_that_ends_waits_for_listeners_of_positions() -> None:
    heard: list[str] = []
    again: list[int] = []

    def slow(event: Any) -> None:
        time.sleep(0.2)
        heard.append(type(event).__name__)

    def manage(when: Any) -> Any:
        return bknb.Reduce(0.5) if minute_of(when) == 3 else None

    store = bknb.stores.memory()
    strategy = {"get_signal": long_at(1, price_stop_loss=90.0), "manage": manage}
    bknb.listen_position(slow)
    bknb.listen_resumed(lambda event: again.append(event.told_again))
    live(calm(10), until=5, store=store, strategy=strategy)
    live(calm(10), at=5, until=6, store=store, strategy=strategy)
    assert (heard, again) == (["Reduced"], [0])


@pytest.mark.parametrize("call", ["acquire", "release"])
def test_what_a_store_of_the_user_raises_at_the_start_and_the_end_is_a_trouble_of_the_state(call: str) -> None:
    class Remote(MemoryStore):
        def acquire(self) -> None:
            if call == "acquire":
                raise OSError("no route")
            super().acquire()

        def release(self) -> None:
            super().release()
            raise OSError("no route")

    with pytest.raises(bknb.StateError, match=f"Remote.{call} of the store raised OSError: no route"):
        live(calm(5), until=2, store=Remote(), strategy={"get_signal": lambda: None})


def test_close_all_gives_every_decision_before_it_waits_for_one() -> None:
    """The first run is busy with a candidate until the position of the second one is ordered to close."""
    free, asking = threading.Event(), threading.Event()

    def busy(_request: bknb.RiskRequest) -> bool:
        asking.set()
        return free.wait(20)

    def begin(name: str, decisions: dict[float, Any], **more: Any) -> LiveTask:
        bknb.add_strategy(name, interval="1m", get_signal=long_at(1), **more)
        script = {ORIGIN + round(minute * MINUTE): decide for minute, decide in decisions.items()}
        clock = HandClock(ORIGIN, script)
        until, store = ORIGIN + 8 * MINUTE, bknb.stores.memory()
        task = LiveTask(plan_live("X", strategy=name, exchange=source(calm(10)), clock=clock, until=until, store=store))
        clock.task = TASKS.add(task)
        task.start()
        return task

    def decide(_task: Any) -> dict[tuple[str, str], str]:
        assert asking.wait(20)
        closing = threading.Thread(target=lambda: answers.update(bknb.Live.close_all()))
        closing.start()
        early.append(waiting.until(lambda: not second.decisions, seconds=3))
        free.set()
        closing.join(20)
        return answers

    answers: dict[tuple[str, str], str] = {}
    early: list[bool] = []
    bknb.add_risk("busy", validations=[busy])
    first = begin("first", {}, risk="busy")
    second = begin("second", {4.5: decide})
    assert [len(task.result(timeout=60).errors) for task in (first, second)] == [0, 0]
    assert early == [True]
    assert set(answers) == {("X", "first"), ("X", "second")}
    assert told(second.result()) == [("manual", 5, 100.0)]
