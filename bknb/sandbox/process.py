"""Running a proposed strategy in a child process that has the candles of one range and nothing else.

The process begins with an empty folder, a bare environment and an interpreter that ignores the user's settings; it
then gives up files, network and processes (:mod:`bknb.sandbox.seccomp`) before it reads a line of the strategy.
It sends back data only: the moments at which the strategy was asked, and its answers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast

import msgspec

from ..config import Settings
from ..domain.signal import Signal
from ..market.calls_in_threads import UserCalls
from ..market.sessions import Sessions

if TYPE_CHECKING:
    from io import BufferedReader

LENGTH: Final = struct.Struct("<Q")
_START_SECONDS: Final = 90.0
_MOST_BYTES: Final = 32 * 1024 * 1024
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


_START: Final = "import sys; sys.path[:0] = sys.argv[1:]; from bknb.sandbox.child import main; main()"


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


class _Child:
    """A child process that reads a job; on leaving the block it is killed, waited for, and its pipes are closed.

    Nothing of that awaits, so that no cancellation and no end of the loop can come between. Its methods block, apart
    from leaving the block: a process that was killed is gone at once.
    """

    def __init__(self, folder: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 -- this interpreter, with code of bknb
            [sys.executable, "-I", "-B", "-X", "utf8", "-c", _START, *_import_paths()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._kill()
        self.process.wait()
        for pipe in self._pipes():
            with suppress(OSError):  # what nobody will read was still to be sent
                pipe.close()  # after a thread that reads or writes: that sees the end of the process

    def _kill(self) -> None:
        """End the process, and what it has started, also where it has ended itself."""
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses it for what has ended
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        assert stdin is not None  # all three are pipes  # noqa: S101
        assert stdout is not None  # noqa: S101
        assert stderr is not None  # noqa: S101
        return stdin, stdout, stderr

    def begin(self, job: Job) -> None:
        """Send a job and wait until the process has prepared for it."""
        message = msgspec.msgpack.encode(job)
        stdin, _, _ = self._pipes()
        stdin.write(LENGTH.pack(len(message)) + message)
        stdin.flush()
        self.read()

    def read(self) -> bytes:
        """Return the next message; raises ``EOFError`` when the process ended before."""
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
        if length > _MOST_BYTES:
            raise ValueError(f"a result of {length} bytes")
        return self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        _, stdout, _ = self._pipes()
        found = stdout.read(size)
        if len(found) < size:
            raise EOFError
        return found

    def errors(self) -> str:
        """Return the last it writes to standard error until its end."""
        _, _, stderr = self._pipes()
        tail = b""
        while piece := cast("BufferedReader", stderr).read1(65_536):
            tail = (tail + piece)[-4_000:]
        return tail.decode("utf-8", "replace")


async def run_job(job: Job) -> Outcome:
    """Run a job in a child process and return its outcome, always within its limits.

    Cancelling the coroutine, at any moment and however often, ends the process before the coroutine is over.
    """
    with tempfile.TemporaryDirectory(prefix="bknb-trial-") as folder, _Child(folder) as child:
        return await _run_in(child, job)


async def _run_in(child: _Child, job: Job) -> Outcome:
    calls = UserCalls("trial")
    errors = asyncio.create_task(calls.in_thread(child.errors))
    seconds = job.limits.seconds
    try:
        try:
            async with asyncio.timeout(_START_SECONDS):
                await calls.in_thread(lambda: child.begin(job))
        except TimeoutError:
            return Outcome(problem=f"the process for the trial did not start within {_START_SECONDS:g} s")
        async with asyncio.timeout(seconds):
            return msgspec.msgpack.decode(await calls.in_thread(child.read), type=Outcome)
    except TimeoutError:
        return Outcome(problem=f"it did not come to an end within {seconds:g} s; a loop that never ends?")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        code = await calls.in_thread(child.process.wait)
        return Outcome(problem=_death(code, await errors, job))
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
