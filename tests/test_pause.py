"""A paused run asks for nothing new, watches what is open, and comes to the same as one that was never paused."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bknb
from bknb.optimizer.optimizer import OptimizerTask
from bknb.runs.sweep import SweepTask
from bknb.testing.clocks import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from bknb.runs.backtest import BacktestTask

FRAME = ("2024-01-01", "2024-01-03")
CALL: dict[str, Any] = {"exchange": "demo", "frame": FRAME, "interval": "1h"}
WAIT = 20.0


def eager(price: float) -> bknb.Signal:
    return bknb.Signal(
        position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99, minute_estimated_time=50
    )


class Paused:
    """A run that pauses itself at its ``at``-th question and reports when it is paused."""

    def __init__(self, at: int = 3) -> None:
        self.at = at
        self.asked: list[int] = []
        self.holds = threading.Event()
        self.tasks: list[BacktestTask] = []
        self.began = threading.Event()

    def get_signal(self, ctx: Any, price: float) -> bknb.Signal:
        assert self.began.wait(WAIT)
        self.asked.append(ctx.when_ms)
        if len(self.asked) == self.at:
            self.tasks[0].pause()
        return eager(price)

    def start(self) -> BacktestTask:
        stop: list[Callable[[], None]] = []
        reached: list[int] = [-1]

        def progress(event: Any) -> None:  # a run that holds says once more how far it is
            if event.strategy == "get_signal":
                if self.tasks and self.tasks[0].paused and event.processed == reached[-1]:
                    self.holds.set()
                reached.append(event.processed)

        stop.append(bknb.listen_progress_backtest(progress))
        task = bknb.Backtest.background("BTCUSDT", strategy=self.get_signal, **CALL)
        self.tasks.append(task)
        self.began.set()
        assert self.holds.wait(WAIT)
        stop[0]()
        return task


def plain() -> bknb.Result:
    return bknb.backtest("BTCUSDT", strategy=eager, **CALL)


def told(result: bknb.Result) -> list[tuple[str, int]]:
    return [(event.action, event.when) for event in result.events]


def test_while_paused_nothing_is_asked_and_what_is_open_is_watched_to_its_end() -> None:
    run = Paused(at=3)
    task = run.start()
    assert task.paused
    assert len(run.asked) == 3
    assert len(task.trades_so_far) == 2  # the third leaves at the first candle after this moment
    assert not task.wait(0.3)
    assert len(run.asked) == 3
    task.resume()
    result = task.result(WAIT)
    assert not task.paused
    assert told(result) == told(plain())
    (warning,) = result.warnings
    assert "paused at 2024-01-01 03:00 UTC and resumed there: no question was left out" in warning
    assert not result.stopped


@pytest.mark.parametrize("now", [False, True])
def test_a_paused_run_can_be_stopped(now: bool) -> None:  # noqa: FBT001 -- a case
    task = Paused(at=2).start()
    task.stop(now=now)
    assert task.stopping == ("now" if now else "entries")
    result = task.result(WAIT)
    assert result.stopped
    assert len(result.trades) == (1 if now else 2)  # the second leaves at the next candle, which comes no more
    assert "new entries were paused at 2024-01-01 02:00 UTC and stopped there" in result.warnings


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True))
def test_a_run_paused_anywhere_comes_to_the_same(moments: list[int]) -> None:
    tasks: list[BacktestTask] = []
    began = threading.Event()
    count = 0

    def get_signal(price: float) -> bknb.Signal:
        nonlocal count
        assert began.wait(WAIT)
        count += 1
        if count in moments:
            tasks[0].pause()
            threading.Timer(0.01, tasks[0].resume).start()
        return eager(price)

    tasks.append(bknb.Backtest.background("BTCUSDT", strategy=get_signal, **CALL))
    began.set()
    result = tasks[0].result(WAIT)
    assert told(result) == told(plain())
    assert len(result.warnings) <= len(moments)
    assert list(result.trades["pnl_percentage"]) == list(plain().trades["pnl_percentage"])


def test_pausing_by_name() -> None:
    run = Paused(at=1)
    task = run.start()
    bknb.Backtest.resume("BTCUSDT", "get_signal")
    assert not task.paused
    bknb.Backtest.pause("BTCUSDT", "get_signal")
    assert task.paused
    bknb.Backtest.resume("BTCUSDT", "get_signal")
    assert len(task.result(WAIT).trades) == len(plain().trades)
    with pytest.raises(bknb.UnknownName):
        bknb.Backtest.pause("BTCUSDT", "nobody")


def test_the_report_of_a_paused_run_names_the_pause() -> None:
    task = Paused(at=1).start()
    task.resume()
    assert "new entries were paused at" in task.result(WAIT).report()


@pytest.mark.parametrize(("kind", "text"), [(SweepTask, "a sweep"), (OptimizerTask, "an optimizer")])
def test_work_that_cannot_be_paused_is_named_in_good_english(kind: Any, text: str) -> None:
    task = object.__new__(kind)
    for call in (task.pause, task.resume):
        with pytest.raises(bknb.UsageError, match=f"^{text} cannot be paused"):
            call()


def test_a_cancelled_wait_leaves_the_run_alone() -> None:
    task = Paused(at=1).start()

    async def give_up() -> None:
        async with asyncio.timeout(0.05):
            await task

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert not task.done
    assert task.stopping == ""
    task.resume()
    assert not task.result(WAIT).stopped


def test_a_live_run_is_paused_by_name_and_records_when() -> None:
    clock = SimulatedClock(1_704_067_200_000)
    gate = threading.Event()

    def get_signal() -> None:
        assert gate.wait(WAIT)

    task = bknb.Live.background(
        "BTCUSDT",
        strategy=get_signal,
        exchange="demo",
        clock=clock,
        until="2024-01-01 00:10",
        store=bknb.stores.memory(),
    )
    bknb.Live.pause("BTCUSDT", task.strategy)
    bknb.Live.pause("BTCUSDT", task.strategy)
    assert task.paused
    bknb.Live.resume("BTCUSDT", task.strategy)
    assert not task.paused
    assert task.stopping == ""
    gate.set()
    result = task.result(WAIT)
    first, second = [warning for warning in result.warnings if "new entries" in warning]
    assert first.startswith("new entries were paused at 2024-01-01 00:")
    assert second.startswith("new entries were asked for again from 2024-01-01 00:")
