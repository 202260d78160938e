"""Running a proposed strategy in a child process that has the candles of one range and nothing else.

The process begins with an empty folder, a bare environment and an interpreter that ignores the user's settings, which
it has for itself or is a fork of (:mod:`bknb.sandbox.trial_forks`); it then gives up files, network and processes
(:mod:`bknb.sandbox.seccomp`) before it reads a line of the strategy.
It sends back data only: the moments at which the strategy was asked, and its answers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from ..config import Settings
from ..domain.signal import Signal
from ..market.calls_in_threads import UserCalls
from ..market.sessions import Sessions
from ..sweeps.fork_server import CAN_FORK
from .fork_client import fork_server
from .packages import packages_of
from .trial_processes import Fork, OwnInterpreter, TrialProcess

_START_SECONDS: Final = 90.0
_INHERITED: Final = ("SYSTEMROOT", "LD_LIBRARY_PATH")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a trial.

    Parameters
    ----------
    seconds
        Time from the first line of the strategy to the last answer.
    memory_mb
        Memory on top of what Python and the packages need.
    """

    seconds: float = 20.0
    memory_mb: int = 1024


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy on one symbol over one range, with the candles it may use.

    Parameters
    ----------
    candles
        Symbol -> the block of :class:`~bknb.market.candles.Candles`, float64 of shape (6, n), as bytes.
    packages
        Packages to import before files can no longer be opened.
    base
        The interval of the candles, which fill its orders.
    sessions
        Symbol -> when its market is open, as the source of the candles tells it; ``None``: always.
    """

    code: str
    name: str
    symbol: str
    interval: str
    execution: str
    start: int
    end: int
    settings: Settings
    candles: dict[str, bytes]
    packages: tuple[str, ...] = ()
    limits: Limits = Limits()
    look_ahead: bool = False
    base: str = "1m"
    sessions: dict[str, Sessions | None] = {}


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """An error while the strategy was asked, with its count."""

    kind: str
    message: str
    where: str = ""
    count: int = 1


class ManageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of ``manage``: the name of its type, and the values that it has."""

    kind: str
    values: dict[str, Any]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the child process sent back.

    Parameters
    ----------
    problem
        Why the run did not end; empty when it did.
    asked
        How often the strategy was asked.
    answers
        Moments (UTC ms) and what it answered.
    managed
        Moments (UTC ms) and what ``manage`` answered.
    troubles
        Errors of the run.
    touched
        What the strategy attempted and is not allowed.
    peeks
        Evidence that an answer used candles of the future.
    enforced_limits
        Limits that were in force.
    """

    problem: str = ""
    asked: int = 0
    answers: tuple[tuple[int, Signal | tuple[Signal, ...]], ...] = ()
    managed: tuple[tuple[int, tuple[ManageAnswer, ...]], ...] = ()
    troubles: tuple[Trouble, ...] = ()
    touched: tuple[str, ...] = ()
    peeks: tuple[str, ...] = ()
    enforced_limits: tuple[str, ...] = ()


_START: Final = "import sys; sys.path[:0] = sys.argv[2:]; from bknb.sandbox.trial_forks import main; main()"
_FORKED: Final = ("pandas",)
"""Packages that take so long to import that the trials that need them are forks of a process that has them."""


def _import_paths() -> list[str]:
    """Return the folders of this interpreter's packages, without that of the notebook."""
    ours = str(Path(__file__).resolve().parent.parent.parent)
    known = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    packages = [place for place in sys.path if place in known or place.endswith(("site-packages", "dist-packages"))]
    return list(dict.fromkeys([ours, *packages]))


def _environment(folder: str) -> dict[str, str]:
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, **one, "HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8"}


def _command(task: str) -> list[str]:
    return [sys.executable, "-I", "-B", "-X", "utf8", "-c", _START, task, *_import_paths()]


def _trial_process(job: Job, folder: str) -> TrialProcess:
    """Start what runs a job in an empty folder; raises ``OSError`` where the interpreter cannot be started."""
    if not CAN_FORK:
        return OwnInterpreter(_command("trial"), _environment(folder), folder)
    packages = [name for name in packages_of(job) if name in _FORKED]
    return Fork(fork_server(_command(" ".join(["forks", *packages])), _environment(os.devnull)), folder)


async def run_job(job: Job) -> Outcome:
    """Run a job in a child process and return its outcome, always within its limits.

    Cancelling the coroutine, at any moment and however often, ends the process before the coroutine is over. Where the
    server that was to fork it ended before a line of the strategy ran, another is started, once.
    """
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="bknb-trial-") as folder, _trial_process(job, folder) as process:
            outcome = await _run_in(process, job)
        if not process.is_lost:
            break
    return outcome


async def _run_in(process: TrialProcess, job: Job) -> Outcome:
    calls = UserCalls("trial")
    errors = asyncio.create_task(calls.in_thread(process.errors))
    seconds = job.limits.seconds
    try:
        try:
            async with asyncio.timeout(_START_SECONDS):
                await calls.in_thread(lambda: process.begin(msgspec.msgpack.encode(job)))
        except TimeoutError:
            return Outcome(problem=f"the process for the trial did not start within {_START_SECONDS:g} s")
        async with asyncio.timeout(seconds):
            return msgspec.msgpack.decode(await calls.in_thread(process.read), type=Outcome)
    except TimeoutError:
        return Outcome(problem=f"it did not come to an end within {seconds:g} s; a loop that never ends?")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        code = await calls.in_thread(process.end)
        return Outcome(problem=_death(code, process.last_words or await errors, job))
    except (msgspec.MsgspecError, ValueError):
        return Outcome(problem="it sent something that is no result")
    finally:
        errors.cancel()


def _death(code: int | None, stderr: str, job: Job) -> str:
    """Return why a process ended without a result, from its exit code and standard error."""
    name = signal.Signals(-code).name if code is not None and code < 0 else ""
    if name in ("SIGXCPU", "SIGKILL"):
        return f"it used up its {job.limits.seconds:g} s of processor time, or the machine's memory, and was ended"
    if "MemoryError" in stderr:
        return f"it needed more than {job.limits.memory_mb} MB of memory"
    if name:
        return f"it crashed its process ({name})"
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    return f"its process ended by itself: {last[:200]}" if last else "its process ended by itself"
