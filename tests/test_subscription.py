"""A subscription: its thread starts with the first event, ends when idle, and ends with the subscription."""

from __future__ import annotations

import asyncio
import threading

import pytest
from event_channel import PATIENCE, Channel, threads_of, wait

from bknb.events import listener_queue as subscription


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
    assert (stop.active, stop.pending, channel.subject.subscribed) == (False, 0, False)
    assert "no longer listens" in repr(stop)


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
