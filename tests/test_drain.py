"""Draining: waits for every call of what was emitted before it began, and for nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from event_channel import PATIENCE, Channel, ended, wait

from bknb.events import drain as draining
from bknb.events import subject as listeners
from bknb.events.listen import (
    Subject,
)


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
        if channel.subject.subscribed:
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
    for n in range(10):
        channel.subject.emit(n)
    with ThreadPoolExecutor(1) as pool:
        # Also in this order: the errors are looked at last.
        drained = pool.submit(listeners.drain, [channel.errors, channel.subject], timeout=PATIENCE)
        go_on.set()
        assert drained.result(PATIENCE)
    assert [report.count for report in channel.reports] == [1, 10]


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


def test_draining_without_listeners_returns_at_once() -> None:
    assert listeners.drain([], timeout=0)
    assert listeners.drain([Subject("silence")], timeout=0)


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
