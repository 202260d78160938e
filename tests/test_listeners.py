"""Subjects and listeners: emitting never waits; a listener gets every event, one at a time, in order."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from event_channel import PATIENCE, Channel, raises, raises_later, wait

from bknb.errors import UsageError
from bknb.events.listen import (
    ListenerOverflow,
)

# -- one at a time, in order ------------------------------------------------------------------------------------------


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


# -- the bounded queue ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [0, 7, 8, 9]), ("drop_newest", [0, 1, 2, 3])])
def test_a_full_queue_drops_by_its_policy_counts_and_reports_once(
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


# -- once -------------------------------------------------------------------------------------------------------------


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
        assert (stop.active, stop.delivered, channel.subject.subscribed) == (False, 1, False)


@pytest.mark.parametrize("fn", [raises, raises_later])
def test_once_is_over_also_when_the_listener_raises(channel: Channel, fn: Callable[[int], Any]) -> None:
    stop = channel.subject.listen(fn, once=True)
    for n in range(3):
        channel.subject.emit(n)
    assert channel.drain()
    assert (stop.active, stop.delivered) == (False, 1)
    assert [report.message for report in channel.reports] == ["ValueError: no 0"]


# -- the context ------------------------------------------------------------------------------------------------------


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


# -- quiet minutes ----------------------------------------------------------------------------------------------------


def test_quiet_results_reach_those_who_want_them(channel: Channel) -> None:
    wishes: dict[str, bool | None] = {"always": True, "never": False, "live": None}
    received: dict[str, list[str]] = {name: [] for name in wishes}
    stops = {name: channel.subject.listen(received[name].append, quiet=quiet) for name, quiet in wishes.items()}
    channel.subject.emit("loud", live=True)
    channel.subject.emit("loud")
    channel.subject.emit("quiet in live", quiet=True, live=True)
    channel.subject.emit("quiet in backtest", quiet=True)
    assert channel.drain()
    assert received == {
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
    assert channel.subject.subscribed
    stops["never"]()
    assert not channel.subject.subscribed


# -- wrong use --------------------------------------------------------------------------------------------------------


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
    assert not channel.subject.subscribed


# -- processes --------------------------------------------------------------------------------------------------------


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
