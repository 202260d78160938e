"""Trials of a strategy in both kinds of process: a fork of a server, and an interpreter of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

from bknb.config import Settings
from bknb.sandbox import fork_client
from bknb.sandbox.process import Job, run_job

T = TypeVar("T")
START = 1_704_067_200_000
DAY = 86_400_000
HOUR = 3_600_000
ENDLESS = "def get_signal(price):\n    while True:\n        pass\n"
SYSTEM = (
    "m = [k for k in ().__class__.__base__.__subclasses__() if k.__name__ == '_wrap_close'][0].__init__.__globals__"
)
"""Leads past the allowlist: the names of the module ``os``."""


def asking(*lines: str, candles: bytes, **changed: object) -> Job:
    """A job whose strategy runs some lines at each question of two hours; the last is what it answers."""
    code = "\n    ".join(["import bknb\nimport numpy as np\ndef get_signal(price):", *lines])
    return Job(
        **{  # type: ignore[arg-type]
            "code": code,
            "name": "tried",
            "symbol": "BTCUSDT",
            "interval": "1h",
            "execution": "pessimistic",
            "start": START + DAY,
            "end": START + DAY + 2 * HOUR,
            "settings": Settings(),
            "candles": {"BTCUSDT": candles},
            **changed,
        }
    )


def told(job: Job) -> str:
    """What the strategy of a job says in an error."""
    outcome = asyncio.run(run_job(job))
    assert outcome.problem == "", outcome
    return outcome.troubles[0].message


def status(pid: int) -> dict[str, str]:
    """What the system says of a process; nothing where there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children(parent: int) -> list[int]:
    """Interpreters of trials that a process has started and that were not waited for."""
    pids = [int(pid) for thread in Path(f"/proc/{parent}/task").glob("*") for pid in read(thread / "children").split()]
    return [pid for pid in pids if b"bknb.sandbox.trial_forks" in read(Path(f"/proc/{pid}/cmdline"))]


def read(path: Path) -> bytes:
    """What a file of a thread or a process says; nothing where that has ended meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def servers() -> list[int]:
    """Those of this process that are there."""
    return [server.process.pid for server in fork_client._servers.values() if not server.has_ended]


def trials() -> list[int]:
    """Processes of trials that are there: children of this process, or of its servers."""
    started = servers()
    return [pid for each in (os.getpid(), *started) for pid in children(each) if pid not in started]


def soon(found: Callable[[], T], *, seconds: float = 60.0) -> T:
    """What a function returns as soon as that is something."""
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
    return value


@contextmanager
def running(job: Job) -> Iterator[int]:
    """The process of a trial that goes on until the end of the block, once nothing can be opened in it any more."""
    before = trials()
    loop = asyncio.new_event_loop()
    trial = loop.create_task(run_job(job))
    thread = Thread(target=lambda: loop.run_until_complete(asyncio.wait([trial])))
    thread.start()
    try:
        yield soon(lambda: next((pid for pid in trials() if pid not in before and is_locked(pid)), 0))
    finally:
        loop.call_soon_threadsafe(trial.cancel)
        thread.join()
        loop.close()


def is_locked(pid: int) -> bool:
    """Whether a process has given up files."""
    return status(pid).get("Seccomp") == "2"
