"""The process of a trial is gone, and its pipes are closed, whenever its coroutine is cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import bknb
from bknb.config import Settings
from bknb.sandbox import process
from bknb.sandbox.held_data import may_hold_data
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


START = 1_704_067_200_000
DAY = 86_400_000


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Process ids of what is started from now on: each trial in an interpreter of its own."""
    seen: list[int] = []
    monkeypatch.setattr(process, "CAN_FORK", False)

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            seen.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Noted)
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
        for _ in range(64):
            await asyncio.sleep(0)

    asyncio.run(left())
    assert len(pids) == 1
    assert gone(*pids)
    gc.collect()


@pytest.mark.parametrize(
    ("turns", "cancelled", "error"),
    [(0, True, asyncio.CancelledError), (1, True, FileNotFoundError), (1, False, FileNotFoundError)],
    ids=["cancelled before it starts", "cancelled behind its start", "left alone"],
)
def test_a_process_that_cannot_start_is_reported(
    turns: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    async def tried() -> None:
        trial = asyncio.create_task(run_job(JOB))
        for _ in range(turns):
            await asyncio.sleep(0)
        if cancelled:
            trial.cancel()
        with pytest.raises(error):
            await trial

    asyncio.run(tried())
    gc.collect()


LEAVES_ONE_BEHIND = """#!{python}
import os, time
mouth = os.open({fifo!r}, os.O_WRONLY)
if os.fork() == 0:
    os.closerange(0, 3)
    time.sleep(20)
    os.write(mouth, b"alive")
"""


def test_what_a_process_left_behind_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot keep a trial from starting processes: one that outlives it."""
    fifo, program = tmp_path / "ears", tmp_path / "program"
    os.mkfifo(fifo)
    program.write_text(LEAVES_ONE_BEHIND.format(python=sys.executable, fifo=str(fifo)))
    program.chmod(0o700)
    ears = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(ears, True)
    monkeypatch.setattr("sys.executable", str(program))
    assert asyncio.run(run_job(JOB)).problem
    assert os.read(ears, 5) == b""  # nobody has it open any more
    os.close(ears)


HOLDS_NOTHING = """import numpy as np
FAST = 10
SLOW: int = -20
def get_signal(ctx, length=3):
    rows = [1, 2]
    rows[0] = 2
"""
HELD = {
    "nothing": (HOLDS_NOTHING, False),
    "a list": (HOLDS_NOTHING + "ROWS = [1, 2]\n", True),
    "what a call returns": (HOLDS_NOTHING + "ROWS = np.arange(100)\n", True),
    "a long text": (HOLDS_NOTHING + f"ROWS = {'1,' * 60!r}\n", True),
    "a default": (HOLDS_NOTHING + "def f(kept=[]):\n    return kept\n", True),
    "a default by name": (HOLDS_NOTHING + "def f(*, kept={}):\n    return kept\n", True),
    "an attribute": (HOLDS_NOTHING + "def f():\n    f.kept = 1\n", True),
    "what a module keeps": (HOLDS_NOTHING + "def f():\n    np.__dict__['kept'] = 1\n", True),
    "a global": (HOLDS_NOTHING + "def f():\n    global FAST\n    FAST = [1]\n", True),
    "a class": (HOLDS_NOTHING + "def f():\n    class Kept:\n        pass\n", True),
    "a decorator": (HOLDS_NOTHING + "@np.vectorize\ndef f(x):\n    return x\n", True),
    "no code": ("def get_signal(", True),
}


@pytest.mark.parametrize(("code", "held"), HELD.values(), ids=HELD)
def test_code_that_may_hold_data_is_known(code: str, *, held: bool) -> None:
    assert may_hold_data(code) is held


@pytest.mark.slow
def test_rows_beside_moments_are_found_in_a_trial() -> None:
    """Their check needs pandas, which cannot be loaded once the trial has begun."""
    code = (
        "import bknb\n"
        f"TIMES = list(range({START}, {START} + 7 * {DAY}, 3_600_000))\n"
        "ROWS = [i * 37 % 11 - 5.0 for i in range(len(TIMES))]\n"
        "def get_signal(when, price):\n"
        "    now = int(when.timestamp() * 1000)\n"
        "    coming = [row for time, row in zip(TIMES, ROWS) if now < time <= now + 3_600_000 * 2]\n"
        "    if sum(coming) > 2:\n"
        "        return bknb.Signal(position='long', price_take_profit=price * 1.01, price_stop_loss=price * 0.99,\n"
        "                           minute_estimated_time=60)\n"
    )
    candles = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", START, 7 * 1440))
    held = {"BTCUSDT": candles.block.tobytes()}
    job = replace(JOB, code=code, start=START + DAY, end=START + 6 * DAY, candles=held, look_ahead=True)
    outcome = asyncio.run(run_job(job))
    assert outcome.problem == ""
    assert any("ROWS" in peek for peek in outcome.peeks), outcome
