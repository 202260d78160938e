"""The public ``listen_...`` functions: one pair for each subject."""

from __future__ import annotations

import asyncio
import pydoc
from typing import Any

import pytest
from event_channel import PATIENCE, raises

import bknb
from bknb.domain.signal_events import Idle
from bknb.events import listen as events
from bknb.events import subjects
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

NAMES = [
    *("signal", "signal_backtest", "signal_live", "partial_profit", "partial_loss", "risk", "validation", "error"),
    *("exit", "done_backtest", "done_live", "done_walker", "progress_backtest", "progress_walker"),
    *("progress_optimizer", "performance", "walker", "walker_complete", "resumed", "position", "scaled"),
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
    assert not subject.subscribed
    for function in (listen, listen_once):
        text = pydoc.plain(pydoc.render_doc(function))
        assert f"{function.__name__}(" in text
        assert "Call a function " in text
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
    assert not subjects.done_live.subscribed
    assert not subjects.signal.subscribed


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


def test_the_engine_knows_whether_a_mode_has_quiet_listeners() -> None:
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
