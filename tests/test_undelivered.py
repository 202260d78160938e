"""What listeners have not heard is kept: beside the state, then in values of its own, and told again in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from order_events import WHERE, closed, held, opened, scheduled
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from test_live import HeldClock
from waiting import until

import bknb
from bknb.domain.lifecycle import Flat
from bknb.domain.recovery import Kept, Owner
from bknb.domain.signal_events import Milestone
from bknb.errors import StateError
from bknb.events import subjects
from bknb.events.listen import drain
from bknb.live.results_not_heard import BESIDE_STATE
from bknb.live.values_saved_before_events import Progress, StateSaver
from bknb.ports import StateStore
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.clocks import SimulatedClock

OWNER = Owner(strategy="sma", exchange="demo", symbol="BTCUSDT", execution="pessimistic")
KEY = ("sma", "BTCUSDT")
NAMED = "the results of sma on BTCUSDT"


class Slow:
    """A listener that handles as many events as it is allowed to."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._may = threading.Semaphore(0)
        self._called = threading.Semaphore(0)

    def __call__(self, event: Any) -> None:
        self._called.release()
        self._may.acquire()
        self.heard.append(event)

    def handle(self, count: int) -> None:
        """Let it handle so many more; returns when it is called with the one behind them, which must be there."""
        for _ in range(count):
            assert self._called.acquire(timeout=20)
            self._may.release()
        assert self._called.acquire(timeout=20)
        self._called.release()

    def end(self) -> None:
        """Let it handle everything."""
        self._may.release(10_000)


@pytest.fixture
def slow() -> Iterator[Slow]:
    listener = Slow()
    stop = bknb.listen_signal_live(listener)
    yield listener
    stop()
    listener.end()


def milestone(number: int) -> Milestone:
    return Milestone(**WHERE, when=number * MINUTE, price=101.0, side="profit", level=10, signal=held("a"))


def event(number: int) -> Kept:
    """A result of minute ``number``; each is another."""
    makers: list[Callable[[int], Kept]] = [
        lambda at: scheduled(f"s{at}", at=at),
        lambda at: opened(f"o{at}", at=at),
        lambda at: closed(f"c{at}", at=1, ended=at),
        milestone,
    ]
    return makers[number % len(makers)](number)


EVENTS = [event(number) for number in range(1, 3 * BESIDE_STATE + 20)]
RESULTS = [each for each in EVENTS if not isinstance(each, Milestone)]


def saver(store: StateStore) -> StateSaver:
    made = StateSaver(store, OWNER)
    made.restore()
    return made


def tell(mine: StateSaver, events: list[Kept], *, first: int = 1) -> None:
    """Save and emit results as a run does, one a minute."""
    for number, each in enumerate(events, start=first):
        mine.save(Flat(), (each,), Progress(last_minute=number, last_asked=number, volume_seen=True))
        emit(mine, each)


def emit(mine: StateSaver, each: Kept) -> None:
    subjects.emit_event(each)
    mine.undelivered.emitted(each)


def undelivered(store: StateStore) -> list[Kept]:
    return list(StateSaver(store, OWNER).restore().undelivered)


@pytest.mark.parametrize(
    "make", first_quick([MemoryStore, FileStore, SqliteStore], kept=2), ids=lambda make: make.__name__
)
def test_nothing_that_was_not_heard_is_dropped(make: Any, tmp_path: Path, slow: Slow) -> None:
    store = make(*([] if make is MemoryStore else [tmp_path / "state"]))
    with store:
        tell(saver(store), EVENTS)
        assert undelivered(store) == EVENTS
        saved = store.read("signal", KEY)
        assert saved is not None
        assert saved.count(b'"action"') <= BESIDE_STATE + 1  # the rest lies beside it, written once
        assert len(store.keys("undelivered", KEY)) == 3


def test_what_was_heard_is_not_kept_and_what_was_not_is_told_again_in_order(slow: Slow) -> None:
    with MemoryStore() as store:
        mine = saver(store)
        tell(mine, EVENTS)
        count = BESIDE_STATE + 10
        slow.handle(count)
        tell(mine, [event(900)], first=900)
        assert undelivered(store) == [*EVENTS[EVENTS.index(RESULTS[count]) :], event(900)]
        slow.end()
        assert drain(subjects.signal_live, timeout=20)
        mine.save_heard()
        assert undelivered(store) == []
        assert store.keys("undelivered", KEY) == []


def test_what_is_told_again_is_kept_until_it_is_heard(slow: Slow) -> None:
    with MemoryStore() as store:
        tell(saver(store), EVENTS)
        for _ in range(2):  # two processes that end before anybody has heard anything
            mine = StateSaver(store, OWNER)
            for each in mine.restore().undelivered[:7]:
                emit(mine, each)
            mine.save(Flat(), (), Progress(last_minute=500, last_asked=500, volume_seen=True))
            assert undelivered(store) == EVENTS


class Cut(MemoryStore):
    """A store that takes a number of changes, and then none."""

    left = 10**9

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StateError("cut")

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        self._count()
        super().write(kind, key, payload)

    def delete(self, kind: str, key: tuple[str, ...]) -> None:
        self._count()
        super().delete(kind, key)


@pytest.mark.slow
def test_a_process_that_ends_at_any_change_loses_nothing_and_invents_nothing() -> None:
    """Half of what is emitted is handled meanwhile; what a restart tells is a gapless end of what was saved."""
    changes = 0
    while True:
        slow = Slow()
        stop = bknb.listen_signal_live(slow)
        told: list[Kept] = []
        with Cut() as store:
            mine = saver(store)
            store.left = changes
            with suppress(StateError):
                for number, each in enumerate(EVENTS, start=1):
                    mine.save(Flat(), (each,), Progress(last_minute=number, last_asked=number, volume_seen=True))
                    told.append(each)
                    emit(mine, each)
                    if number > 100:
                        slow.handle(1)
            done = store.left >= 0
            store.left = 10**9
            found, again = undelivered(store), [each for each in EVENTS if each not in slow.heard]
        stop()
        slow.end()
        results = [each for each in again[: len(told)] if each in told and not isinstance(each, Milestone)]
        assert not found or found == EVENTS[EVENTS.index(found[0]) :][: len(found)], changes
        assert [each for each in results if each not in found] == [], changes
        if done:
            return
        changes += 7


def test_a_save_that_failed_and_is_repeated_numbers_nothing_twice(slow: Slow) -> None:
    with Cut() as store:
        mine = saver(store)
        for number, each in enumerate(EVENTS, start=1):
            store.left = 0
            with pytest.raises(StateError):
                mine.save(Flat(), (each,), Progress(last_minute=number, last_asked=number, volume_seen=True))
            store.left = 10**9
            tell(mine, [each], first=number)
        assert undelivered(store) == EVENTS


def test_moved_results_that_are_gone_or_damaged_are_reported_and_the_others_told(slow: Slow) -> None:
    with MemoryStore() as store:
        tell(saver(store), EVENTS)
        first, second, _ = store.keys("undelivered", KEY)
        store.delete("undelivered", first)
        store.write("undelivered", second, b'{"first":"what"}')
        mine = StateSaver(store, OWNER)
        assert list(mine.restore().undelivered) == EVENTS[2 * BESIDE_STATE :]
        assert [problem.split(":")[0] for problem in mine.problems] == [
            f"{NAMED} from number 64 on that listeners may not have heard cannot be read, so they are not told again",
            "128 results that listeners may not have heard are gone from the disk",
        ]
        for each in mine.undelivered.events:
            emit(mine, each)
        tell(mine, [event(900)], first=900)
        assert undelivered(store) == [*EVENTS[2 * BESIDE_STATE :], event(900)]


def forgotten(store: StateStore) -> None:
    for kind in ("signal", "schedule", "order"):
        store.delete(kind, KEY)


@pytest.mark.parametrize("count", [1, 3, BESIDE_STATE + 5, 3 * BESIDE_STATE + 5])
def test_what_a_state_that_is_gone_left_is_told_and_takes_no_number_of_the_next(count: int, slow: Slow) -> None:
    with MemoryStore() as store:
        tell(saver(store), EVENTS)
        forgotten(store)
        for _ in range(2):  # the first start writes nothing
            mine = StateSaver(store, OWNER)
            assert mine.restore().undelivered == ()
            assert len(mine.problems) == 3
            assert all(
                "are those of a state that is gone, so they are not told again" in each for each in mine.problems
            )
        new = [event(number) for number in range(900, 900 + count)]
        tell(mine, new, first=900)
        again = StateSaver(store, OWNER)
        assert list(again.restore().undelivered) == new
        assert again.problems == []
        assert len(store.keys("undelivered", KEY)) == (count - 1) // BESIDE_STATE


def test_a_move_that_a_crash_left_is_told_once_and_not_as_a_problem(slow: Slow) -> None:
    with Cut() as store:
        mine = saver(store)
        tell(mine, EVENTS[: BESIDE_STATE + 1])
        store.left = 1  # the results are moved, the state is not written
        with pytest.raises(StateError):
            tell(mine, [event(900)], first=900)
        store.left = 10**9
        again = StateSaver(store, OWNER)
        assert list(again.restore().undelivered) == EVENTS[: BESIDE_STATE + 1]
        assert again.problems == []
        assert len(store.keys("undelivered", KEY)) == 1


def test_a_moved_value_that_cannot_be_read_is_told_until_what_is_behind_it_was_heard(slow: Slow) -> None:
    with MemoryStore() as store:
        tell(saver(store), EVENTS)
        store.write("undelivered", store.keys("undelivered", KEY)[1], b'{"first":"what"}')
        mine = saver(store)
        assert len(mine.problems) == 2
        slow.end()
        for each in mine.undelivered.events:
            emit(mine, each)
        assert drain(subjects.signal_live, timeout=20)
        mine.save_heard()
        assert store.keys("undelivered", KEY) == []
        assert saver(store).problems == []


def test_a_moved_value_of_a_newer_version_stays(slow: Slow) -> None:
    with MemoryStore() as store:
        tell(saver(store), EVENTS)
        key = store.keys("undelivered", KEY)[1]
        store.write("undelivered", key, b'{"version":2}')
        slow.end()
        mine = saver(store)
        for each in mine.undelivered.events:
            emit(mine, each)
        assert drain(subjects.signal_live, timeout=20)
        mine.save_heard()
        assert store.keys("undelivered", KEY) == [key]


def test_a_moved_value_that_cannot_be_removed_is_tried_again_and_the_state_is_saved(slow: Slow) -> None:
    class Stuck(MemoryStore):
        stuck = True

        def delete(self, kind: str, key: tuple[str, ...]) -> None:
            if self.stuck:
                raise StateError("stuck")
            super().delete(kind, key)

    with Stuck() as store:
        mine = saver(store)
        tell(mine, EVENTS)
        slow.end()
        assert drain(subjects.signal_live, timeout=20)
        mine.save_heard()
        assert undelivered(store) == []
        assert len(store.keys("undelivered", KEY)) == 3
        store.stuck = False
        tell(mine, [event(900)], first=900)
        assert store.keys("undelivered", KEY) == []


# --- a live run -------------------------------------------------------------------------------------------------


ROWS = [[ORIGIN + n * MINUTE, *[100.0 + 0.1 * n] * 4, 5.0] for n in range(-60, 200)]


def rising(price: float) -> dict[str, Any]:
    return {
        "position": "long",
        "price_take_profit": price * 1.05,
        "price_stop_loss": price * 0.9,
        "minute_estimated_time": 600,
    }


def live(store: StateStore, *, start: int, until: int) -> bknb.Result:
    strategy = bknb.add_strategy("rising", interval="1h", get_signal=rising)
    clock = SimulatedClock(ORIGIN + start * MINUTE)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=source(ROWS), clock=clock, until=ORIGIN + until * MINUTE, store=store,
    )  # fmt: skip
    return task.result(timeout=60)


@pytest.mark.parametrize("end", first_quick(range(1, 46, 4), kept=3))
def test_a_run_that_ended_by_itself_tells_nothing_again(end: int) -> None:
    heard: list[tuple[str, int]] = []
    again: list[int] = []
    bknb.listen_signal_live(lambda each: heard.append((each.action, each.when)), quiet=False)
    bknb.listen_partial_profit(lambda each: heard.append((f"{each.level} %", each.when)))
    bknb.listen_resumed(lambda each: again.append(each.told_again))
    store = bknb.stores.memory()
    live(store, start=0, until=end)
    live(store, start=end, until=46)
    assert again == [0]
    assert sorted(what for what, _ in heard) == [*(f"{level} %" for level in range(10, 100, 10)), "opened"]


def test_results_that_a_listener_has_not_heard_when_the_run_is_left_are_told_again() -> None:
    store, slow, again, told = bknb.stores.memory(), Slow(), list[int](), list[int]()
    stop = bknb.listen_partial_profit(slow)
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + 30 * MINUTE - 1)
    task = bknb.Live.background("BTCUSDT", strategy=bknb.add_strategy("rising", interval="1h", get_signal=rising),
                                exchange=source(ROWS), clock=clock, store=store)  # fmt: skip
    slow.handle(2)
    assert clock.held.wait(20)
    task.stop(now=True)
    assert until(lambda: task.worked)
    assert not task.done  # its listener is not at the end
    stop()
    slow.end()
    task.result(timeout=60)
    bknb.listen_resumed(lambda each: again.append(each.told_again))
    bknb.listen_partial_profit(lambda each: told.append(each.level))
    live(store, start=30, until=31)
    assert again == [len(told)]
    assert told == [30, 40, 50]


@pytest.mark.slow
@pytest.mark.parametrize(("hold", "heard_again"), [(28, [50]), (29, [])])
def test_callbacks_hear_again_what_the_last_turn_told_and_nothing_before(hold: int, heard_again: list[int]) -> None:
    store, slow, called = bknb.stores.memory(), Slow(), list[int]()
    bknb.add_strategy("rising", interval="1h", get_signal=rising)
    stop = bknb.listen_partial_profit(slow)
    clock = HeldClock(ORIGIN, hold_at=ORIGIN + hold * MINUTE - 1)
    task = bknb.Live.background("BTCUSDT", strategy="rising", exchange=source(ROWS), clock=clock, store=store)
    assert clock.held.wait(20)
    task.stop(now=True)
    assert until(lambda: task.worked)
    stop()
    slow.end()
    task.result(timeout=60)
    never, told = threading.Event(), list[int]()

    def hangs(milestone: Any) -> None:
        called.append(milestone.level)
        never.wait(60)

    bknb.add_strategy("rising", interval="1h", get_signal=rising, callbacks={"on_partial_profit": hangs})
    clock = SimulatedClock(ORIGIN + hold * MINUTE)
    bknb.listen_partial_profit(lambda each: told.append(each.level))
    again = bknb.Live.background("BTCUSDT", strategy="rising", exchange=source(ROWS), clock=clock, store=store,
                                 until=ORIGIN + (hold + 1) * MINUTE)  # fmt: skip
    assert drain(subjects.partial_profit, timeout=20)
    never.set()
    again.result(timeout=60)
    assert called == heard_again
    assert told == [10, 20, 30, 40, 50]
