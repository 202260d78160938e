"""The process of a trial is gone, and its pipes are closed, whenever its coroutine is cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bknb.config import Settings
from bknb.sandbox import process
from bknb.sandbox.process import Job, run_job

JOB = Job(
    code="def get_signal(price):\n    while True:\n        pass\n",
    name="endless",
    symbol="BTCUSDT",
    interval="1h",
    execution="pessimistic",
    start=0,
    end=3_600_000,
    settings=Settings(),
    candles={},
)


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Process ids of what is started from now on."""
    seen: list[int] = []
    execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]

    def noted(self: subprocess.Popen[bytes], *args: Any) -> None:
        execute(self, *args)
        seen.append(self.pid)

    monkeypatch.setattr(subprocess.Popen, "_execute_child", noted)
    return seen


def gone(pid: int) -> bool:
    """Whether a process has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 8, 64])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_trial_that_is_cancelled_leaves_no_process(pids: list[int], turns: int, times: int) -> None:
    async def cancelled() -> None:
        trial = asyncio.create_task(run_job(JOB))
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(times):
            trial.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await trial

    asyncio.run(cancelled())
    assert len(pids) <= 1
    assert all(map(gone, pids))
    assert len(pids) == 1 or turns < 3
    gc.collect()  # a warning of an open pipe fails the test


def test_a_trial_that_is_cancelled_by_the_end_of_the_loop_leaves_no_process(pids: list[int]) -> None:
    async def left() -> None:
        left.trial = asyncio.create_task(run_job(JOB))  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)

    asyncio.run(left())
    assert len(pids) == 1
    assert gone(*pids)
    gc.collect()


@pytest.mark.parametrize("cancel", [asyncio.Task.cancel, lambda trial: None], ids=["cancelled", "left alone"])
def test_a_process_that_cannot_start_is_reported(
    cancel: Callable[[asyncio.Task[object]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    async def tried() -> None:
        trial = asyncio.create_task(run_job(JOB))
        await asyncio.sleep(0)
        cancel(trial)
        with pytest.raises((FileNotFoundError, asyncio.CancelledError)):
            await trial

    asyncio.run(tried())
    gc.collect()


def test_what_a_process_left_behind_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot keep a trial from starting processes: one that outlives it."""
    starts = "import os, time\nif os.fork() == 0:\n    time.sleep(2)\n    os.write(1, b'alive')"
    monkeypatch.setattr(process, "_START", starts)
    with process._Child(str(tmp_path)) as child:
        child.process.wait(20)
        assert child.process.stdout is not None
        ears = os.dup(child.process.stdout.fileno())
    assert os.read(ears, 5) == b""
    os.close(ears)
