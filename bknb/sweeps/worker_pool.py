"""Worker processes on this machine, for ``executor="processes"``.

Each is a fork of a fresh interpreter (:mod:`bknb.sweeps.fork_server`), or one of its own, that reads tasks from one
pipe and writes outcomes to another: it never imports the user's main script, works from notebooks, scripts and
``python -c`` alike, and ends with the process that started it. When a worker dies, its task is tried again in a new
one.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any, Final, Generic

from .units import Call, U, WorkDir, called

_LENGTH: Final = struct.Struct("<Q")
_LOOK_SECONDS: Final = 0.05
_KEEP_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
# The C library of Linux keeps the memory of arrays that are over for the next ones; to get it anew takes longer.


def send(pipe: IO[bytes], content: bytes) -> None:
    """Write a message to a pipe."""
    pipe.write(_LENGTH.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Return the next message of a pipe, or None at its end."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = pipe.read(length)
    return content if len(content) == length else None


def serve() -> None:
    """Make the calls of the first message, then answer tasks; started by ``Worker`` only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that interrupts is for the process that started this one
    for call in pickle.loads(receive(sys.stdin.buffer) or pickle.dumps(())):  # noqa: S301 -- from the process that started this one
        called(call)
    answer_tasks(sys.stdin.buffer)


def answer_tasks(tasks: IO[bytes]) -> None:
    """Evaluate tasks from a pipe until it ends, and write the answers to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy prints must not end up among the answers
    while (content := receive(tasks)) is not None:
        function, given = pickle.loads(content)  # noqa: S301 -- from the process that started this one
        try:
            answer: object = function(*given)
        except Exception as error:  # noqa: BLE001 -- sent back to the pool, which decides
            answer = f"{type(error).__name__}: {error}"
        send(answers, pickle.dumps(answer, protocol=5))


def interpreter(serve: str, stdin: int = subprocess.PIPE, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start an interpreter that finds the modules this one finds, and calls ``serve`` of this package; with pipes."""
    here = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(  # noqa: S603 -- our own code
        [sys.executable, "-c", f"from bknb.sweeps.{serve} import serve; serve()"],
        stdin=stdin,
        stdout=stdout,
        env={**_KEEP_MEMORY, **os.environ, "PYTHONPATH": here},
    )


class Worker:
    """One worker process; the calls ``before`` are made before its first task."""

    def __init__(self, *before: Call) -> None:
        self._process = process = interpreter("worker_pool")
        assert process.stdin is not None and process.stdout is not None  # both are pipes  # noqa: S101, PT018
        self._to: IO[bytes] = process.stdin
        self._back: IO[bytes] = process.stdout
        with suppress(OSError):  # it has ended: whoever asks it finds that
            send(self._to, pickle.dumps(before))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, call: Call) -> Any:
        """Return the answer, the text of an error, or None when the worker died."""
        try:
            send(self._to, pickle.dumps(call, protocol=5))
            content = receive(self._back)
        except (OSError, ValueError):  # a pipe that broke, or was closed by ``end``
            return None
        return None if content is None else pickle.loads(content)  # noqa: S301 -- from a process of ours

    def end(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._to, self._back):
            with suppress(OSError):  # bytes that could no longer be sent
                pipe.close()


class WorkerPool(Generic[U]):
    """Works in a number of worker processes, which live until ``close``.

    Parameters
    ----------
    work_dir
        What they need beside units of work.
    workers
        Their number.
    start
        Starts one.
    started
        Those that have begun before.
    """

    def __init__(
        self, work_dir: WorkDir[U], workers: int, start: Callable[[], Worker], started: Sequence[Worker] = ()
    ) -> None:
        self._work_dir, self._start = work_dir, start
        self.workers = workers
        self.processes: list[Worker | None] = [*started, *[None] * (workers - len(started))]

    def run(self, units: Sequence[U], stopping: Callable[[], bool]) -> Iterator[tuple[U, Any]]:
        """Yield each unit with its answer, until ``stopping()`` is true."""
        todo, answers = deque(units), queue.SimpleQueue[tuple[U, Any]]()
        slots = range(min(self.workers, len(units)))
        over = threading.Event()
        threads = [threading.Thread(target=self._work, args=(slot, todo, answers, over), daemon=True) for slot in slots]
        for thread in threads:
            thread.start()
        left = len(units)
        try:
            while left and not stopping():
                try:
                    answer = answers.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    continue
                left -= 1
                yield answer
        finally:
            over.set()
            if left:
                self.close()  # nobody waits for what they are doing
            for thread in threads:
                thread.join()

    def _work(self, slot: int, todo: deque[U], answers: Any, over: threading.Event) -> None:
        """Work on units from ``todo`` in one worker until none is left."""
        idle = threading.Event()
        while not over.is_set():
            try:
                unit = todo.popleft()
            except IndexError:
                return
            answer, refusal = self._answer(slot, unit)
            if answer is not None:
                answers.put((unit, answer))
                continue
            if over.is_set():
                return
            if (worker := self.processes[slot]) is not None:
                worker.end()
                self.processes[slot] = None
            if unit.fail():
                todo.append(unit)
                idle.wait(_LOOK_SECONDS)
            else:
                answers.put((unit, refusal))

    def _answer(self, slot: int, unit: U) -> tuple[Any, str | None]:
        """What a worker answers, or else why none could be started; neither where it died."""
        try:
            worker = self.processes[slot]
            if worker is None:
                worker = self.processes[slot] = self._start()
            return worker.ask(self._work_dir.call(unit)), None
        except OSError as error:  # no more processes, files or memory
            return None, f"no worker could be started: {type(error).__name__}: {error}"

    def close(self) -> None:
        """End all workers."""
        for slot, worker in enumerate(self.processes):
            if worker is not None:
                worker.end()
                self.processes[slot] = None
