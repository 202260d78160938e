"""A listener that fails is reported with its line, and receives the next event."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from event_channel import Channel, raises, raises_later

import bknb
from bknb.events.listen import (
    ListenerFailure,
)


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
    for n in range(120):
        channel.subject.emit(n)
    assert channel.drain()
    assert other == list(range(120))
    assert stop.active
    assert stop.delivered == 120
    assert [report.count for report in channel.reports] == [1, 10, 100]  # told once, then with its count
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
    assert where["raises"].startswith(f"event_channel.py, line {line}")
    here = inspect.getsourcelines(test_a_failure_names_the_line_of_the_user)[1]
    assert where["<lambda>"] == f"test_listener_failures.py, line {here + 2}"


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


def test_a_failing_error_listener_is_logged_and_not_reported_to_itself(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    stop = channel.errors.listen(raises)
    channel.subject.listen(raises_later)
    with caplog.at_level(logging.WARNING, logger="bknb"):
        for n in range(2):
            channel.subject.emit(n)
        assert channel.drain()
    assert stop.delivered == 1
    assert [report.listener for report in channel.reports] == ["raises_later"]
    messages = [record.getMessage() for record in caplog.records]
    assert sum(text.startswith("listener raises of error raised ValueError") for text in messages) == 1
    assert sum(text.startswith("listener raises_later of news raised ValueError: no ") for text in messages) == 1


def test_another_failure_of_a_listener_is_told_at_once_and_each_one_again_in_the_next_run(channel: Channel) -> None:
    def fails(event: int) -> None:
        if event == 5:
            raise KeyError(event)
        raise ValueError(event)

    channel.subject.listen(fails)
    for n in range(8):
        channel.subject.emit(n)
    assert channel.drain()
    assert [report.message for report in channel.reports] == ["ValueError: 0", "KeyError: 5"]
    bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    channel.subject.emit(9)
    assert channel.drain()
    assert [report.message for report in channel.reports[2:]] == ["ValueError: 9"]


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
    assert {report.message.split(":")[0] for report in channel.reports} == {"CancelledError", "RuntimeError"}


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
