"""Workers that are forks of one fresh interpreter, which imports once what all of them need.

Only on Linux: elsewhere what a process has loaded may not stand a fork. That interpreter runs no code of the user's and
has no threads of its own; it ends its forks, and itself, with the process that started it.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from itertools import chain
from typing import Final, TypeAlias

from .worker_pool import Worker, answer_tasks, interpreter, receive, send

Pipes: TypeAlias = tuple[int, int]
"""The ends of a worker: it reads tasks from the first and writes answers to the second."""

_CAN_FORK: Final = sys.platform == "linux"


def workers_of(count: int, *modules: str) -> list[Worker]:
    """Start workers that import ``modules`` before their first task; they are forks where there are several."""
    if count > 1 and _CAN_FORK:
        return [*ForkServer(count, modules).workers]
    return [Worker(*modules) for _ in range(count)]


class ForkServer:
    """The interpreter whose forks are workers; it ends with the last of them."""

    def __init__(self, count: int, modules: tuple[str, ...]) -> None:
        tasks, answers = ([os.pipe() for _ in range(count)] for _ in range(2))
        theirs = [(task[0], answer[1]) for task, answer in zip(tasks, answers, strict=True)]
        self._process = interpreter("fork_server", pass_fds=[*chain.from_iterable(theirs)])
        for end in chain.from_iterable(theirs):
            os.close(end)
        self._changing = threading.Lock()
        self._pids: list[int] | None = None
        self.workers = [
            ForkedWorker(self, number, (task[1], answer[0]))
            for number, (task, answer) in enumerate(zip(tasks, answers, strict=True))
        ]
        self._left = {*range(count)}
        assert self._process.stdin is not None  # it is a pipe  # noqa: S101
        with suppress(OSError):  # it has ended: whoever asks a worker finds that
            send(self._process.stdin, pickle.dumps((modules, theirs)))

    def pid_of(self, number: int) -> int | None:
        """The process id of a worker, once there is one; ``None`` where there never will be."""
        with self._changing:
            return self._pid(number)

    def _pid(self, number: int) -> int | None:
        assert self._process.stdout is not None  # it is a pipe  # noqa: S101
        if self._pids is None:
            self._pids = pickle.loads(receive(self._process.stdout) or pickle.dumps([]))  # noqa: S301 -- from a process of ours
        return self._pids[number] if number < len(self._pids) else None

    def end(self, number: int) -> None:
        """End a worker now; its process id is no other's as long as that interpreter is there."""
        with self._changing:
            if number not in self._left:
                return
            pid = self._pid(number)
            if pid is not None and self._process.poll() is None:  # else they have ended with it
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._left.discard(number)
            if not self._left:
                self._end()

    def _end(self) -> None:
        """Have it end: it is told to, as a fork of this process may hold its standard input open."""
        assert self._process.stdin is not None  # it is a pipe  # noqa: S101
        with suppress(OSError):  # it has ended
            send(self._process.stdin, b"")
        self._process.communicate()


class ForkedWorker(Worker):
    """A worker that is a fork."""

    def __init__(self, server: ForkServer, number: int, ends: Pipes) -> None:
        self._server, self._number = server, number
        self._to, self._back = os.fdopen(ends[0], "wb"), os.fdopen(ends[1], "rb")

    @property
    def pid(self) -> int:
        """Its process id; raises ``ProcessLookupError`` where it could not begin."""
        pid = self._server.pid_of(self._number)
        if pid is None:
            raise ProcessLookupError("the worker could not begin")
        return pid

    def end(self) -> None:
        """End it now."""
        self._server.end(self._number)
        self._close_pipes()


# --- in the server --------------------------------------------------------------------------------------------------


def serve() -> None:
    """Import, fork, tell the process ids, and wait for a message or the end of input: all forks end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that interrupts is for the process that started this one
    content = receive(sys.stdin.buffer)
    if content is None:
        return
    modules, pipes = pickle.loads(content)  # noqa: S301 -- from the process that started this one
    for module in modules:
        import_module(module)
    gc.freeze()
    pids: list[int] = []
    with suppress(OSError):  # no process can be made: whoever asks the others finds that
        pids.extend(_forked(own, pipes) for own in pipes)
    for end in chain.from_iterable(pipes):
        os.close(end)
    with suppress(OSError):  # nobody is there any more
        send(sys.stdout.buffer, pickle.dumps(pids))
    receive(sys.stdin.buffer)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _forked(own: Pipes, pipes: list[Pipes]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: those of numpy stand a fork
        pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(own[0], 0)
        os.dup2(own[1], 1)
        for end in chain.from_iterable(pipes):
            os.close(end)
        if "numpy.random" in sys.modules:  # its own generator would draw the same in all forks
            sys.modules["numpy.random"].seed()
        answer_tasks(os.fdopen(0, "rb"))
    except BaseException:  # noqa: BLE001 -- it ends as an interpreter would
        traceback.print_exc()
    finally:
        os._exit(0)
