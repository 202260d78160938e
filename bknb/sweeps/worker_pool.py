"""Worker processes on this machine, for ``executor="processes"``.

Each is a fresh interpreter that reads tasks from one pipe and writes outcomes to another: it never imports the user's
main script, works from notebooks, scripts and ``python -c`` alike, and ends with the process that started it. When a
worker dies, its task is tried again in a new one.
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
from importlib import import_module
from typing import IO, Any, Final, Generic

from .units import Call, Depot, U

_LENGTH: Final = struct.Struct("<Q")
_LOOK_SECONDS: Final = 0.05


def _send(pipe: IO[bytes], content: bytes) -> None:
    pipe.write(_LENGTH.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """Return the next message, or None at the end of the pipe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = pipe.read(length)
    return content if len(content) == length else None


def serve() -> None:
    """Evaluate tasks from standard input until it ends; started by ``Worker`` only.

    The first message has the names of modules that are imported before there is a task.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that interrupts is for the process that started this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy prints must not end up among the answers
    for module in pickle.loads(_receive(sys.stdin.buffer) or pickle.dumps(())):  # noqa: S301 -- from the process that started this one
        import_module(module)
    while (content := _receive(sys.stdin.buffer)) is not None:
        function, given = pickle.loads(content)  # noqa: S301 -- from the process that started this one
        try:
            answer: object = function(*given)
        except Exception as error:  # noqa: BLE001 -- sent back to the pool, which decides
            answer = f"{type(error).__name__}: {error}"
        _send(answers, pickle.dumps(answer, protocol=5))


class Worker:
    """One worker process; ``modules`` are those that it imports before its first task."""

    def __init__(self, *modules: str) -> None:
        here = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from bknb.sweeps.worker_pool import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": here},
        )
        assert self._process.stdin is not None  # it is a pipe  # noqa: S101
        with suppress(OSError):  # it has ended: whoever asks it finds that
            _send(self._process.stdin, pickle.dumps(modules))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, call: Call) -> Any:
        """Return the answer, the text of an error, or None when the worker died."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None  # both are pipes  # noqa: S101, PT018
        try:
            _send(to, pickle.dumps(call, protocol=5))
            content = _receive(back)
        except (OSError, ValueError):  # a pipe that broke, or was closed by ``end``
            return None
        return None if content is None else pickle.loads(content)  # noqa: S301 -- from a process of ours

    def end(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # bytes that could no longer be sent
                    continue


class WorkerPool(Generic[U]):
    """Works in a number of worker processes, which live until ``close``; some may have been ``started`` before."""

    def __init__(self, depot: Depot[U], workers: int, started: Sequence[Worker] = ()) -> None:
        self._depot = depot
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
            worker = self.processes[slot]
            if worker is None:
                worker = self.processes[slot] = Worker()
            answer = worker.ask(self._depot.call(unit))
            if answer is not None:
                answers.put((unit, answer))
                continue
            if over.is_set():
                return
            worker.end()
            self.processes[slot] = None
            if unit.fail():
                todo.append(unit)
                idle.wait(_LOOK_SECONDS)
            else:
                answers.put((unit, None))

    def close(self) -> None:
        """End all workers."""
        for slot, worker in enumerate(self.processes):
            if worker is not None:
                worker.end()
                self.processes[slot] = None
