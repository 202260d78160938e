"""Subjects and listeners: nobody waits for a listener, and a listener gets everything one at a time, in order."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import pydoc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import bknb
from bknb.domain.signal import Idle
from bknb.errors import UsageError
from bknb.events import drain as draining
from bknb.events import listen as events
from bknb.events import subject as listeners
from bknb.events import subjects, subscription
from bknb.events.listen import (
    Done,
    ErrorEvent,
    ListenerFailure,
    ListenerOverflow,
    Performance,
    Progress,
    Subject,
    Subscription,
)
from bknb.log import log, set_logger

PATIENCE = 20.0  # seconds after which something that must happen did not


class Channel:
    """A subject with an error subject of its own, and what was reported there."""

    def __init__(self) -> None:
        self.errors: Subject[Any] = Subject("error")
        self.subject: Subject[Any] = Subject("news", errors=self.errors)
        self.reports: list[Any] = []
        self.errors.listen(self.reports.append)

    def drain(self, timeout: float | None = PATIENCE) -> bool:
        return listeners.drain([self.subject, self.errors], timeout=timeout)


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    for each in (*channel.subject.subscriptions, *channel.errors.subscriptions):
        each()


def wait(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "it never happened"


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"bknb news: {name}"]


# -- one at a time, in order -----------------------------------------------------------------------------------------


class Turns:
    """Notes what it gets, and whether it was ever called while a call was running."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.running = 0
        self.overlapped = False

    def enter(self) -> None:
        self.running += 1
        self.overlapped |= self.running > 1

    def leave(self, event: int) -> None:
        self.seen.append(event)
        self.running -= 1

    def plain(self, event: int) -> None:
        self.enter()
        self.leave(event)

    async def awaiting(self, event: int) -> None:
        self.enter()
        await asyncio.sleep((0.002, 0, 0.001)[event % 3])
        self.leave(event)

    def mixed(self, event: int) -> Any:
        return self.awaiting(event) if event % 2 else self.plain(event)


@pytest.mark.parametrize("kind", ["plain", "awaiting", "mixed"])
def test_events_come_one_at_a_time_and_in_order(channel: Channel, kind: str) -> None:
    turns = Turns()
    stop = channel.subject.listen(getattr(turns, kind))
    for n in range(60):
        channel.subject.emit(n)
    assert channel.drain()
    assert turns.seen == list(range(60))
    assert not turns.overlapped
    assert (stop.delivered, stop.pending, stop.dropped) == (60, 0, 0)
    assert channel.reports == []


def test_partials_and_callable_objects_may_be_asynchronous(channel: Channel) -> None:
    seen: list[tuple[str, int]] = []

    async def note(word: str, event: int) -> None:
        await asyncio.sleep(0)
        seen.append((word, event))

    class Noting:
        async def __call__(self, event: int) -> None:
            await note("object", event)

    stops = [channel.subject.listen(fn) for fn in (partial(note, "partial"), Noting(), lambda e: note("lambda", e))]
    channel.subject.emit(1)
    assert channel.drain()
    assert sorted(seen) == [("lambda", 1), ("object", 1), ("partial", 1)]
    assert [stop.name for stop in stops] == ["note", "Noting", "<lambda>"]


def test_every_emitting_thread_keeps_its_order(channel: Channel) -> None:
    seen: list[tuple[int, int]] = []
    channel.subject.listen(seen.append)
    together = threading.Barrier(6)

    def emit(who: int) -> None:
        together.wait(PATIENCE)
        for n in range(300):
            channel.subject.emit((who, n))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(emit, range(6)))
    assert channel.drain()
    assert len(seen) == 1800
    assert all([n for who, n in seen if who == each] == list(range(300)) for each in range(6))


def test_a_slow_listener_delays_neither_the_emitter_nor_another_listener(channel: Channel) -> None:
    begun, go_on, others_done = threading.Event(), threading.Event(), threading.Event()
    slow_seen: list[int] = []
    fast_seen: list[int] = []

    def slow(event: int) -> None:
        begun.set()
        wait(go_on)
        slow_seen.append(event)

    def fast(event: int) -> None:
        fast_seen.append(event)
        if event == 99:
            others_done.set()

    stop = channel.subject.listen(slow)
    channel.subject.listen(fast)
    for n in range(100):
        channel.subject.emit(n)  # returns although nobody let the slow one go on
    wait(begun)
    wait(others_done)
    assert (stop.delivered, stop.pending, slow_seen) == (1, 100, [])
    go_on.set()
    assert channel.drain()
    assert slow_seen == fast_seen == list(range(100))


def test_a_slow_coroutine_delays_no_other_coroutine(channel: Channel) -> None:
    blocked, done = threading.Event(), threading.Event()

    async def stubborn(event: int) -> None:
        wait(blocked)  # blocks its whole loop

    async def quick(event: int) -> None:
        await asyncio.sleep(0)
        done.set()

    channel.subject.listen(stubborn)
    channel.subject.listen(quick)
    channel.subject.emit(1)
    wait(done)
    blocked.set()


# -- what goes wrong in a listener -----------------------------------------------------------------------------------


def raises(event: int) -> None:
    raise ValueError(f"no {event}")


async def raises_later(event: int) -> None:
    await asyncio.sleep(0)
    raise ValueError(f"no {event}")


def exits(event: int) -> None:
    sys.exit("no way")


async def exits_later(event: int) -> None:
    await asyncio.sleep(0)
    sys.exit("no way")


async def cancels_itself(event: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (raises, "ValueError: no 0"),
        (raises_later, "ValueError: no 0"),
        (exits, "SystemExit: no way"),
        (exits_later, "SystemExit: no way"),
        (cancels_itself, "CancelledError: "),
    ],
)
def test_a_failing_listener_is_reported_and_stays(channel: Channel, fn: Callable[[int], Any], message: str) -> None:
    stop = channel.subject.listen(fn)
    other: list[int] = []
    channel.subject.listen(other.append)
    for n in range(3):
        channel.subject.emit(n)
    assert channel.drain()
    assert other == [0, 1, 2]
    assert stop.active
    assert stop.delivered == 3
    assert len(channel.reports) == 3
    first = channel.reports[0]
    assert isinstance(first, ListenerFailure)
    assert (first.kind, first.subject, first.listener, first.message) == ("listener", "news", fn.__name__, message)


def test_a_failure_names_the_line_of_the_user(channel: Channel) -> None:
    channel.subject.listen(raises)
    channel.subject.listen(lambda: None)  # type: ignore[arg-type, misc]
    channel.subject.emit(0)
    assert channel.drain()
    where = {report.listener: report.where for report in channel.reports}
    line = inspect.getsourcelines(raises)[1] + 1
    assert where["raises"].startswith(f"test_events.py, line {line}")
    here = inspect.getsourcelines(test_a_failure_names_the_line_of_the_user)[1]
    assert where["<lambda>"] == f"test_events.py, line {here + 2}"


def test_an_exception_whose_text_raises_is_reported_too(channel: Channel) -> None:
    class DarkError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text either")

    def fails(event: int) -> None:
        raise DarkError

    channel.subject.listen(fails)
    channel.subject.emit(0)
    assert channel.drain()
    assert channel.reports[0].message == "DarkError: (its text cannot be read)"


def test_a_failing_error_listener_is_logged_and_not_told_to_itself(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    stop = channel.errors.listen(raises)
    channel.subject.listen(raises_later)
    with caplog.at_level(logging.WARNING, logger="bknb"):
        for n in range(2):
            channel.subject.emit(n)
        assert channel.drain()
    assert stop.delivered == 2
    assert [report.listener for report in channel.reports] == ["raises_later", "raises_later"]
    said = [record.getMessage() for record in caplog.records]
    assert sum(text.startswith("listener raises of error raised ValueError") for text in said) == 2
    assert sum(text.startswith("listener raises_later of news raised ValueError: no ") for text in said) == 2


def test_a_failing_predicate_is_reported_and_matches_nothing(channel: Channel) -> None:
    seen: list[int] = []

    def odd(event: int) -> bool:
        if event == 0:
            raise KeyError("odd")
        return event % 2 == 1

    stop = channel.subject.listen(seen.append, where=odd)
    for n in range(4):
        channel.subject.emit(n)
    assert channel.drain()
    assert seen == [1, 3]
    assert stop.delivered == 2
    (report,) = channel.reports
    assert (report.kind, report.listener, report.message) == ("predicate", "append", "KeyError: 'odd'")


def test_a_listener_that_stops_its_own_loop_gets_the_next_event_all_the_same(channel: Channel) -> None:
    seen: list[int] = []

    async def stops_the_loop(event: int) -> None:
        seen.append(event)
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    channel.subject.listen(stops_the_loop)
    for n in range(3):
        channel.subject.emit(n)
    assert channel.drain()
    assert seen == [0, 1, 2]
    assert len(channel.reports) >= 3


def test_without_a_thread_to_be_had_emit_raises_nothing_and_the_event_waits(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen: list[int] = []
    stop = channel.subject.listen(seen.append)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, logger="bknb"):
        patch.setattr(threading.Thread, "start", refuse)
        channel.subject.emit(1)
    assert "no thread for the listener append of news" in caplog.text
    assert stop.pending == 1
    channel.subject.emit(2)
    assert channel.drain()
    assert seen == [1, 2]


# -- the bounded queue -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [0, 7, 8, 9]), ("drop_newest", [0, 1, 2, 3])])
def test_a_full_queue_drops_by_its_policy_counts_and_tells_once(
    channel: Channel, overflow: Any, kept: list[int]
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def slow(event: int) -> None:
        begun.set()
        wait(go_on)
        seen.append(event)

    stop = channel.subject.listen(slow, limit=3, overflow=overflow)
    channel.subject.emit(0)
    wait(begun)
    for n in range(1, 10):
        channel.subject.emit(n)
    assert stop.dropped == 6
    go_on.set()
    assert channel.drain()
    assert seen == kept
    assert (stop.delivered, stop.dropped, stop.pending) == (4, 6, 0)
    (report,) = channel.reports
    assert isinstance(report, ListenerOverflow)
    assert (report.listener, report.subject, report.limit, report.overflow) == ("slow", "news", 3, overflow)


def test_dropped_events_count_as_handled_but_the_running_call_does_not(channel: Channel) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(event: int) -> None:
        begun.set()
        wait(go_on)

    stop = channel.subject.listen(slow, limit=2)
    channel.subject.emit(0)
    wait(begun)
    channel.subject.emit(1)
    drain = draining.Drain([lambda: [stop]], owner=None)  # asks for 0 and 1
    for n in range(2, 10):
        channel.subject.emit(n)
    assert stop.dropped == 7
    assert not drain._future.done()  # 1 is lost, but 0 is still being handled
    go_on.set()
    assert drain.wait(PATIENCE)


# -- once ------------------------------------------------------------------------------------------------------------


def test_once_fires_exactly_once_when_many_threads_emit(channel: Channel) -> None:
    for _ in range(20):
        seen: list[int] = []
        stop = channel.subject.listen(seen.append, once=True, where=lambda event: event >= 100)
        together = threading.Barrier(8)

        def emit(who: int, together: threading.Barrier = together) -> None:
            together.wait(PATIENCE)
            for n in (who, 100 + who, 200 + who):
                channel.subject.emit(n)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(emit, range(8)))
        assert channel.drain()
        assert len(seen) == 1
        assert seen[0] >= 100
        assert (stop.active, stop.delivered, channel.subject.heard) == (False, 1, False)


@pytest.mark.parametrize("fn", [raises, raises_later])
def test_once_is_over_also_when_the_listener_raises(channel: Channel, fn: Callable[[int], Any]) -> None:
    stop = channel.subject.listen(fn, once=True)
    for n in range(3):
        channel.subject.emit(n)
    assert channel.drain()
    assert (stop.active, stop.delivered) == (False, 1)
    assert [report.message for report in channel.reports] == ["ValueError: no 0"]


def test_a_drain_waits_for_the_call_of_a_once_listener(channel: Channel) -> None:
    begun, go_on = threading.Event(), threading.Event()
    finished: list[int] = []

    def slow(event: int) -> None:
        begun.set()
        wait(go_on)
        finished.append(event)

    channel.subject.listen(slow, once=True)
    channel.subject.emit(1)
    wait(begun)
    assert not channel.drain(timeout=0.01)
    go_on.set()
    assert channel.drain()
    assert finished == [1]


# -- unsubscribing ---------------------------------------------------------------------------------------------------


def test_unsubscribing_inside_the_listener_ends_it_after_this_call(channel: Channel) -> None:
    seen: list[int] = []
    ready = threading.Event()

    def only_two(event: int) -> None:
        wait(ready)
        seen.append(event)
        if len(seen) == 2:
            stop()
            stop()  # again: nothing happens

    stop = channel.subject.listen(only_two)
    for n in range(5):
        channel.subject.emit(n)
    ready.set()
    assert channel.drain()
    assert seen == [0, 1]
    channel.subject.emit(5)
    assert (stop.active, stop.pending, channel.subject.heard) == (False, 0, False)
    assert "no longer listens" in repr(stop)


def test_a_drain_waits_for_a_call_that_ended_its_own_listening(channel: Channel) -> None:
    begun, go_on = threading.Event(), threading.Event()
    finished: list[int] = []

    async def last_words(event: int) -> None:
        stop()
        begun.set()
        await asyncio.to_thread(wait, go_on)
        finished.append(event)

    stop = channel.subject.listen(last_words)
    channel.subject.emit(1)
    wait(begun)
    assert not channel.drain(timeout=0.01)
    go_on.set()
    assert listeners.drain([channel.subject], timeout=PATIENCE)
    ended(last_words.__name__)
    assert finished == [1]


def test_such_a_call_is_waited_for_also_when_events_behind_it_are_discarded(channel: Channel) -> None:
    begun, stop_now, stopped, go_on = (threading.Event() for _ in range(4))

    def last_words(event: int) -> None:
        begun.set()
        wait(stop_now)
        stop()
        stopped.set()
        wait(go_on)

    stop = channel.subject.listen(last_words)
    channel.subject.emit(0)
    wait(begun)
    drain = draining.Drain([lambda: [stop]], owner=None)  # asks for 0 alone
    channel.subject.emit(1)
    stop_now.set()
    wait(stopped)
    assert not drain._future.done()
    go_on.set()
    assert drain.wait(PATIENCE)


def ended(name: str) -> None:
    for thread in threads_of(name):
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_thread_starts_with_the_first_event_and_ends_with_the_subscription(
    channel: Channel, *, asynchronous: bool
) -> None:
    def plain(event: int) -> None: ...

    async def awaiting(event: int) -> None: ...

    fn = awaiting if asynchronous else plain
    stop = channel.subject.listen(fn)
    assert threads_of(fn.__name__) == []
    for n in range(3):
        channel.subject.emit(n)
        assert channel.drain()
    (thread,) = threads_of(fn.__name__)
    assert thread.daemon
    stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_idle_thread_ends_and_the_next_event_starts_another(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, *, asynchronous: bool
) -> None:
    monkeypatch.setattr(subscription, "IDLE_SECONDS", 0.001)
    served_by: list[threading.Thread] = []

    def plain(event: int) -> None:
        served_by.append(threading.current_thread())

    async def awaiting(event: int) -> None:
        served_by.append(threading.current_thread())

    channel.subject.listen(awaiting if asynchronous else plain)
    for n in range(3):
        channel.subject.emit(n)
        assert channel.drain()
        served_by[-1].join(PATIENCE)
        assert not served_by[-1].is_alive()
    assert len(set(served_by)) == 3


def test_no_event_is_lost_between_idleness_and_work(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "IDLE_SECONDS", 0.0)
    seen: list[int] = []
    later: list[int] = []

    async def note(event: int) -> None:
        later.append(event)

    channel.subject.listen(seen.append)
    channel.subject.listen(note)
    for n in range(300):
        channel.subject.emit(n)
        if n % 3 == 0:
            assert channel.drain()
    assert channel.drain()
    assert seen == later == list(range(300))


def test_tasks_that_a_listener_leaves_behind_go_on_without_further_events(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "IDLE_SECONDS", 0.001)
    finished = threading.Event()
    kept = []

    async def later() -> None:
        await asyncio.sleep(0.05)  # long enough for the loop to be idle many times
        finished.set()

    async def leaves_a_task(event: int) -> None:
        kept.append(asyncio.create_task(later()))

    channel.subject.listen(leaves_a_task)
    channel.subject.emit(1)
    assert channel.drain()  # the task is not part of the call
    wait(finished)


def test_many_subscriptions_leave_no_thread(channel: Channel) -> None:
    async def awaiting(event: int) -> None:
        await asyncio.sleep(0)

    def listening() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("bknb ")}

    before = listening()
    stops = [channel.subject.listen(fn) for fn in [awaiting, lambda event: None] * 10]
    channel.subject.emit(1)
    assert channel.drain()
    started = listening() - before
    assert len(started) == 20
    for stop in stops:
        stop()
    for thread in started:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in started)
    assert channel.subject.subscriptions == ()


# -- draining --------------------------------------------------------------------------------------------------------


def test_a_drain_gives_up_after_its_timeout_and_leaves_nothing_behind(channel: Channel) -> None:
    go_on = threading.Event()

    def slow(event: int) -> None:
        wait(go_on)

    stop = channel.subject.listen(slow)
    channel.subject.emit(1)
    for _ in range(3):
        assert not channel.drain(timeout=0.001)
    assert draining._waits == set()
    assert stop._waits == []
    go_on.set()
    assert channel.drain()


def test_a_drain_does_not_wait_for_what_is_emitted_after_it_began(channel: Channel) -> None:
    def endless(event: int) -> None:
        if channel.subject.heard:
            channel.subject.emit(event + 1)

    stop = channel.subject.listen(endless)
    channel.subject.emit(0)
    for _ in range(10):
        assert channel.drain()
    stop()


def test_a_drain_waits_for_the_reports_of_failures_it_waited_for(channel: Channel) -> None:
    go_on = threading.Event()

    def slow_and_failing(event: int) -> None:
        wait(go_on)
        raise ValueError

    channel.subject.listen(slow_and_failing)
    for n in range(5):
        channel.subject.emit(n)
    with ThreadPoolExecutor(1) as pool:
        # Also in this order: the errors are looked at last.
        drained = pool.submit(listeners.drain, [channel.errors, channel.subject], timeout=PATIENCE)
        go_on.set()
        assert drained.result(PATIENCE)
    assert len(channel.reports) == 5


def test_unsubscribing_a_stuck_listener_frees_a_drain(channel: Channel) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stuck(event: int) -> None:
        begun.set()
        wait(go_on)

    stop = channel.subject.listen(stuck)
    channel.subject.emit(1)
    wait(begun)
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(channel.drain)
        stop()
        assert drained.result(PATIENCE)
    assert channel.drain()  # and it stays out of later ones
    go_on.set()
    ended("stuck")


@pytest.mark.parametrize("how", ["directly", "thread", "adrain", "thread of its own loop"])
def test_a_drain_from_inside_a_listener_leaves_that_listener_out(channel: Channel, how: str) -> None:
    all_emitted, all_drained = threading.Event(), threading.Event()
    others: list[int] = []
    found: list[bool] = []
    seen_then: list[int] = []

    def note(drained: object) -> None:
        found.append(drained is True)
        seen_then.append(len(others))
        if len(found) == 3:
            all_drained.set()

    def draining_inside() -> None:
        note(channel.drain())

    def directly(event: int) -> None:
        wait(all_emitted)
        draining_inside()

    def thread(event: int) -> None:
        wait(all_emitted)
        run = threading.Thread(target=contextvars.copy_context().run, args=(draining_inside,))
        run.start()
        run.join(PATIENCE)

    async def adrain(event: int) -> None:
        wait(all_emitted)
        note(await listeners.adrain([channel.subject, channel.errors], timeout=PATIENCE))

    async def thread_of_its_own_loop(event: int) -> None:
        wait(all_emitted)
        task = asyncio.create_task(sometime())
        task.add_done_callback(kept.append)
        kept.append(task)

    async def sometime() -> None:
        await asyncio.sleep(0)
        draining_inside()  # after its call is over, but it blocks the thread that would go on

    kept: list[Any] = []
    ways = {"directly": directly, "thread": thread, "adrain": adrain, "thread of its own loop": thread_of_its_own_loop}
    channel.subject.listen(ways[how])
    channel.subject.listen(others.append)
    for n in range(3):
        channel.subject.emit(n)
    all_emitted.set()
    wait(all_drained)
    assert found == [True] * 3
    assert seen_then == [3] * 3  # the other listener was waited for each time
    assert channel.drain()
    assert channel.reports == []


def test_a_drain_after_the_call_that_started_its_thread_waits_for_that_listener(channel: Channel) -> None:
    first_over, second_begun, go_on = threading.Event(), threading.Event(), threading.Event()
    results: list[bool] = []
    threads: list[threading.Thread] = []

    def background() -> None:
        wait(second_begun)
        results.append(channel.drain(timeout=0.001))  # the second call is running: not done
        go_on.set()
        results.append(channel.drain())

    def listener(event: int) -> None:
        if event == 1:
            threads.append(threading.Thread(target=contextvars.copy_context().run, args=(background,)))
            threads[0].start()
            first_over.set()
        else:
            wait(first_over)
            second_begun.set()
            wait(go_on)

    channel.subject.listen(listener)
    channel.subject.emit(1)
    channel.subject.emit(2)
    assert channel.drain()
    threads[0].join(PATIENCE)
    assert results == [False, True]


def test_listeners_that_drain_each_other_do_not_hang(channel: Channel) -> None:
    together = threading.Barrier(3)
    results: list[bool] = []

    def drains(event: int) -> None:
        if event == 0:
            together.wait(PATIENCE)  # all three are inside their calls
        results.append(channel.drain())

    for name in ("first", "second", "third"):
        each = partial(drains)
        each.__name__ = name  # type: ignore[attr-defined]
        channel.subject.listen(each)
    for n in range(20):
        channel.subject.emit(n)
    assert channel.drain()
    assert results == [True] * 60
    assert draining._waits == set()


def test_adrain_lets_the_loop_go_on(channel: Channel) -> None:
    go_on = threading.Event()

    def slow(event: int) -> None:
        wait(go_on)

    async def main() -> list[bool]:
        channel.subject.listen(slow)
        channel.subject.emit(1)
        gave_up = await listeners.adrain([channel.subject], timeout=0.001)
        drained = asyncio.create_task(listeners.adrain([channel.subject], timeout=PATIENCE))
        await asyncio.sleep(0)
        go_on.set()  # only reached because the loop is free
        abandoned = asyncio.create_task(listeners.adrain([channel.subject]))
        await asyncio.sleep(0)
        abandoned.cancel()
        return [gave_up, await drained]

    assert asyncio.run(main()) == [False, True]


def test_draining_with_nobody_listening_is_done_at_once() -> None:
    assert listeners.drain([], timeout=0)
    assert listeners.drain([Subject("silence")], timeout=0)


# -- the context -----------------------------------------------------------------------------------------------------

cell = contextvars.ContextVar("cell", default="no cell")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_listener_runs_in_the_context_that_subscribed_it(channel: Channel, *, asynchronous: bool) -> None:
    seen: list[str] = []

    def plain(event: int) -> None:
        seen.append(cell.get())

    async def awaiting(event: int) -> None:
        await asyncio.sleep(0)
        seen.append(cell.get())

    token = cell.set("cell 1")
    channel.subject.listen(awaiting if asynchronous else plain)
    cell.set("cell 2")
    channel.subject.emit(1)
    channel.subject.emit(2)
    assert channel.drain()
    cell.reset(token)
    assert seen == ["cell 1", "cell 1"]


# -- quiet minutes ---------------------------------------------------------------------------------------------------


def test_quiet_results_reach_those_who_want_them(channel: Channel) -> None:
    wishes: dict[str, bool | None] = {"always": True, "never": False, "live": None}
    heard: dict[str, list[str]] = {name: [] for name in wishes}
    stops = {name: channel.subject.listen(heard[name].append, quiet=quiet) for name, quiet in wishes.items()}
    channel.subject.emit("loud", live=True)
    channel.subject.emit("loud")
    channel.subject.emit("quiet in live", quiet=True, live=True)
    channel.subject.emit("quiet in backtest", quiet=True)
    assert channel.drain()
    assert heard == {
        "always": ["loud", "loud", "quiet in live", "quiet in backtest"],
        "never": ["loud", "loud"],
        "live": ["loud", "loud", "quiet in live"],
    }

    def wanted() -> tuple[bool, bool]:
        return channel.subject.wants_quiet("live"), channel.subject.wants_quiet("backtest")

    assert wanted() == (True, True)
    stops["always"]()
    assert wanted() == (True, False)
    stops["live"]()
    assert wanted() == (False, False)
    assert channel.subject.heard
    stops["never"]()
    assert not channel.subject.heard


def test_the_engine_is_told_whether_anybody_wants_quiet_minutes_in_a_mode() -> None:
    def wanted() -> tuple[bool, bool]:
        return events.wants_quiet("live"), events.wants_quiet("backtest")

    for listen, quiet, expected in [
        (bknb.listen_signal, None, (True, False)),
        (bknb.listen_signal, True, (True, True)),
        (bknb.listen_signal, False, (False, False)),
        (bknb.listen_signal_backtest, None, (False, False)),
        (bknb.listen_signal_backtest, True, (False, True)),
        (bknb.listen_signal_live, None, (True, False)),
        (bknb.listen_signal_live, False, (False, False)),
    ]:
        stop = listen(print, quiet=quiet)
        assert wanted() == expected
        stop()
    assert wanted() == (False, False)


# -- the public functions --------------------------------------------------------------------------------------------

NAMES = [
    *("signal", "signal_backtest", "signal_live", "partial_profit", "partial_loss", "risk", "validation", "error"),
    *("exit", "done_backtest", "done_live", "done_walker", "progress_backtest", "progress_walker"),
    *("progress_optimizer", "performance", "walker", "walker_complete", "resumed"),
]


def test_the_subjects_are_the_announced_ones() -> None:
    assert sorted(subject.name for subject in subjects.ALL) == sorted(NAMES)
    assert all(getattr(subjects, subject.name) is subject for subject in subjects.ALL)
    assert [subject.name for subject in subjects.ALL if subject.errors is not subjects.error] == ["error"]


@pytest.mark.parametrize("name", NAMES)
def test_each_subject_has_its_two_functions(name: str) -> None:
    subject: Subject[Any] = getattr(subjects, name)
    listen, listen_once = getattr(bknb, f"listen_{name}"), getattr(bknb, f"listen_{name}_once")
    seen: list[Any] = []
    once: list[Any] = []
    stop = listen(seen.append)
    assert isinstance(stop, Subscription)
    listen_once(lambda event: event > 1, once.append)
    for n in range(4):
        subject.emit(n)
    assert events.drain(subject, timeout=PATIENCE)
    stop()
    assert (seen, once) == ([0, 1, 2, 3], [2])
    assert not subject.heard
    for function in (listen, listen_once):
        text = pydoc.plain(pydoc.render_doc(function))
        assert f"{function.__name__}(" in text
        assert "Hear " in text
        assert "Returns" in text


def test_the_functions_are_decorators_too() -> None:
    seen: list[str] = []

    @bknb.listen_done_live
    def plain(event: Done) -> None:
        seen.append(f"plain {event.symbol}")

    @bknb.listen_done_live(limit=5)
    async def limited(event: Done) -> None:
        seen.append(f"limited {event.symbol}")

    @bknb.listen_done_live_once(lambda event: event.symbol == "B")
    def once(event: Done) -> None:
        seen.append(f"once {event.symbol}")

    @bknb.listen_signal(quiet=True)
    def minute(event: object) -> None:
        seen.append(type(event).__name__)

    for symbol in "ABB":
        subjects.done_live.emit(Done(symbol=symbol, strategy="s", exchange="e", frame=None, mode="live"))
    quiet = Idle(symbol="A", strategy="s", exchange="e", frame="f", mode="backtest", when=0, price=1.0)
    subjects.signal.emit(quiet, quiet=True)
    assert events.drain(timeout=PATIENCE)
    assert sorted(seen) == ["Idle", "limited A", "limited B", "limited B", "once B", "plain A", "plain B", "plain B"]
    assert plain.listener.__name__ == plain.name == "plain"
    for stop in (plain, limited, minute):
        stop()
    assert not subjects.done_live.heard
    assert not subjects.signal.heard


def test_failures_arrive_at_listen_error() -> None:
    reports: list[Any] = []
    fails: Any = raises
    stops: list[Subscription[Any]] = [bknb.listen_error(reports.append), bknb.listen_performance(fails)]
    subjects.performance.emit(
        Performance(
            metric="backtest_total",
            symbol="BTCUSDT",
            strategy="sma",
            exchange="demo",
            frame=None,
            mode="backtest",
            duration_ms=1.5,
            at=0,
        )
    )
    assert events.drain(timeout=PATIENCE)
    for stop in stops:
        stop()
    assert [(type(report), report.subject) for report in reports] == [(ListenerFailure, "performance")]


def test_adrain_of_everything_waits_for_everything() -> None:
    seen: list[Any] = []
    stop = bknb.listen_progress_walker(seen.append)
    step = Progress(
        kind="walker", symbol="B", strategy="w", exchange=None, frame=None, total=4, processed=1, progress=0.25
    )
    subjects.progress_walker.emit(step)
    assert asyncio.run(events.adrain(timeout=PATIENCE))
    stop()
    assert seen == [step]


def test_events_can_be_stored_and_told_apart() -> None:
    import msgspec

    given: list[events.Problem] = [
        ErrorEvent(kind="strategy", message="ValueError: no", when=60_000),
        ListenerFailure(kind="listener", subject="signal", listener="f", message="KeyError: 'x'", where=""),
        ListenerOverflow(subject="signal", listener="f", message="slow", limit=3, overflow="drop_oldest"),
    ]
    assert msgspec.json.decode(msgspec.json.encode(given), type=list[events.Problem]) == given


# -- wrong use -------------------------------------------------------------------------------------------------------


def generator(event: int) -> Iterator[int]:
    yield event


async def coroutine(event: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("fn", "options", "text"),
    [
        ("not a function", {}, "a listener is a function of one event"),
        (generator, {}, "generator 'generator'"),
        (print, {"limit": 0}, "at least 1, got 0"),
        (print, {"limit": True}, "got True"),
        (print, {"overflow": "drop_all"}, "expects 'drop_oldest' or 'drop_newest', got 'drop_all'"),
        (print, {"where": coroutine}, "where= expects a plain function"),
        (print, {"where": 7}, "where= expects a plain function"),
    ],
)
def test_wrong_use_is_answered(channel: Channel, fn: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        channel.subject.listen(fn, **options)
    assert not channel.subject.heard


# -- processes -------------------------------------------------------------------------------------------------------

STUCK = """
import threading
from bknb.events.subject import Subject
begun = threading.Event()
def stuck(event):
    begun.set()
    threading.Event().wait()
async def stuck_too(event):
    stuck(event)
subject = Subject("news")
subject.listen(stuck)
subject.listen(stuck_too)
subject.emit(1)
assert begun.wait(20)
print("bye")
"""

FORKED = """
import os, threading, warnings
from bknb.events.subject import Subject, drain
warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
begun, go_on = threading.Event(), threading.Event()
seen = []
def listener(event):
    if event == "before":
        begun.set()
        go_on.wait()
    seen.append(event)
subject = Subject("news")
subject.listen(listener)
subject.emit("before")
assert begun.wait(20)
subject.emit("waits")
child = os.fork()
if not child:
    subject.emit("in the child")
    ok = drain([subject], timeout=20) and seen == ["in the child"]
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
go_on.set()
assert drain([subject], timeout=20) and seen == ["before", "waits"], seen
print("bye")
"""


@pytest.mark.parametrize(
    "script",
    [
        STUCK,
        pytest.param(FORKED, marks=pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")),
    ],
    ids=["stuck", "forked"],
)
def test_listeners_hold_up_neither_the_end_of_a_process_nor_a_forked_child(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "bye\n", "")


# -- the logger ------------------------------------------------------------------------------------------------------


class Paper:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, message: str, *values: object) -> None:
        self.lines.append("debug " + message % values)

    def info(self, message: str, *values: object) -> None:
        self.lines.append("info " + message % values)

    def warning(self, message: str, *values: object) -> None:
        self.lines.append("warning " + message % values)

    def error(self, message: str, *values: object) -> None:
        raise OSError("paper is full")


@pytest.fixture
def paper() -> Iterator[Paper]:
    paper = Paper()
    set_logger(paper)
    yield paper
    set_logger(None)


def test_a_logger_of_ones_own_gets_the_messages(paper: Paper, caplog: pytest.LogCaptureFixture) -> None:
    log.debug("a %s", 1)
    log.info("b")
    log.warning("c %s %s", 2, 3)
    assert paper.lines == ["debug a 1", "info b", "warning c 2 3"]
    assert caplog.records == []


def test_a_logger_that_raises_stops_nothing(paper: Paper, caplog: pytest.LogCaptureFixture) -> None:
    log.error("disk %s", "full")
    assert "raised while saying: disk %s" in caplog.text
    assert "paper is full" in caplog.text


def test_the_standard_logger_is_silent_until_somebody_listens(capfd: pytest.CaptureFixture[str]) -> None:
    script = "from bknb.log import log; log.error('nobody asked')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_logger_without_the_methods_is_refused(paper: Paper) -> None:
    with pytest.raises(UsageError, match="lacks: debug, info, warning, error"):
        set_logger(object())  # type: ignore[arg-type]
    log.info("still here")
    assert paper.lines == ["info still here"]
