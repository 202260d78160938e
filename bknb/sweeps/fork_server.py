"""Workers that are forks of one fresh interpreter, which stays for those that are asked for next.

It imports once what all of them need, and has the compiled loops in memory, so a worker that is asked for later begins
within milliseconds. It runs no code of the user's and has no threads of its own: every worker is as good as new. It
ends its forks, and itself, with the process that started it, and after a while in which nobody needs it.

Only on Linux: elsewhere what a process has loaded may not stand a fork, and each worker is an interpreter of its own.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import Final

from .units import Call, called
from .worker_pool import Worker, answer_tasks, interpreter, receive, send

CAN_FORK: Final = sys.platform == "linux"
_IDLE_SECONDS: Final = 600.0
_FORK, _END, _PREPARE = "fork", "end", "prepare"
_LARGEST: Final = 2**16  # bytes of a message


def imports(*modules: str) -> tuple[Call, ...]:
    """Calls that import modules."""
    return tuple((import_module, (module,)) for module in modules)


def workers_of(number: int, *before: Call) -> list[Worker]:
    """Start workers that have made the calls ``before`` their first task: functions of modules, none of the user's."""
    if number and CAN_FORK:
        server = _server_here()
        return [server.worker(before) for _ in range(number)]
    return [Worker(*before) for _ in range(number)]


def get_ready(*calls: Call) -> None:
    """Begin with what workers will need that are asked for soon, where they are forks; returns at once."""
    if CAN_FORK:
        _server_here().prepare(calls)


class ForkServer:
    """The interpreter whose forks are workers.

    Attributes
    ----------
    environment
        What it has from the process that started it, as that was then.
    """

    def __init__(self) -> None:
        self.environment = _environment()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = interpreter("fork_server", stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        self._socket = ours
        self._changing = threading.Lock()
        self._numbers = count()
        self._left: set[int] = set()
        self._retired = False

    @property
    def is_there(self) -> bool:
        """Whether it can be asked for workers."""
        return not self._retired and self._process.poll() is None

    def prepare(self, calls: Sequence[Call]) -> None:
        """Have it make calls, each once, before the forks that are asked for later."""
        with self._changing, suppress(OSError):  # it has ended: whoever asks a worker finds that
            self._socket.send(pickle.dumps((_PREPARE, 0, calls)))

    def worker(self, before: Sequence[Call]) -> Worker:
        """Start a worker; ``before`` is as for ``prepare``."""
        (task, to), (back, answer) = os.pipe(), os.pipe()
        with self._changing:
            number = next(self._numbers)
            self._left.add(number)
            with suppress(OSError):  # it has ended: whoever asks the worker finds that
                socket.send_fds(self._socket, [pickle.dumps((_FORK, number, before))], [task, answer])
        for end in (task, answer):
            os.close(end)
        return ForkedWorker(self, number, to, back)

    def end(self, number: int, *, wait: bool) -> None:
        """End a worker now; ``wait`` until it has ended, for which nothing else may be waited for there."""
        with self._changing:
            if number not in self._left:
                return
            self._left.discard(number)
            with suppress(OSError):
                self._socket.send(pickle.dumps((_END, number, wait)))
                if wait:
                    self._socket.recv(1)
            self._end_unused()

    def retire(self) -> None:
        """Give no further workers, and end with the last of those there are."""
        with self._changing:
            self._retired = True
            self._end_unused()

    def forget(self) -> None:
        """Leave it to the process that this one is a fork of."""
        self._socket.close()
        self._process.returncode = 0  # nothing that this process could wait for

    def _end_unused(self) -> None:
        if self._retired and not self._left:
            with suppress(OSError):  # it is told to, as a fork of this process may hold its input open
                self._socket.send(pickle.dumps((_END, -1, False)))
            self._socket.close()
            self._process.wait()


class ForkedWorker(Worker):
    """A worker that is a fork; the first thing that it sends is its process id."""

    def __init__(self, server: ForkServer, number: int, to: int, back: int) -> None:
        self._server, self._number = server, number
        self._to, self._back = os.fdopen(to, "wb"), os.fdopen(back, "rb")
        self._reading = threading.Lock()
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """Its process id; raises ``ProcessLookupError`` where it could not begin."""
        with self._reading:
            if self._pid is None:
                content = receive(self._back)
                if content is None:
                    raise ProcessLookupError("the worker could not begin")
                self._pid = pickle.loads(content)  # noqa: S301 -- from a process of ours
            return self._pid

    def ask(self, call: Call) -> object:
        """Return the answer, the text of an error, or None when the worker died."""
        try:
            _ = self.pid
        except (OSError, ValueError):  # it could not begin, or was ended
            return None
        return super().ask(call)

    def end(self) -> None:
        """End it now; one that has not begun yet ends when it does."""
        self._server.end(self._number, wait=self._pid is not None)
        self._close_pipes()


# --- the one that is kept -------------------------------------------------------------------------------------------

_kept: list[ForkServer] = []
_keeping = threading.Lock()


def _server_here() -> ForkServer:
    """The server of this process, a new one where paths, folder or environment have changed since it began."""
    with _keeping:
        if _kept and not (_kept[0].is_there and _kept[0].environment == _environment()):
            _kept.pop().retire()
        if not _kept:
            _kept.append(ForkServer())
        return _kept[0]


def _environment() -> tuple[tuple[str, ...], str, dict[str, str]]:
    folder = ""
    with suppress(OSError):  # it was removed
        folder = os.getcwd()  # noqa: PTH109
    return tuple(sys.path), folder, dict(os.environ)


def end_kept() -> None:
    """End the interpreter that is kept for further workers, once those there are have ended."""
    with _keeping:
        while _kept:
            _kept.pop().retire()


def _leave_to_parent() -> None:
    global _keeping  # noqa: PLW0603 -- another thread of the parent may have held it
    _keeping = threading.Lock()
    while _kept:
        _kept.pop().forget()


atexit.register(end_kept)
if CAN_FORK:
    os.register_at_fork(after_in_child=_leave_to_parent)


# --- in the server --------------------------------------------------------------------------------------------------


def serve() -> None:
    """Import, fork and end forks as it is told, until the end of input; all forks end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that interrupts is for the process that started this one
    asked = socket.socket(fileno=0)
    forks: dict[int, int] = {}
    done: set[bytes] = set()
    while True:
        asked.settimeout(None if forks else _IDLE_SECONDS)
        try:
            content, ends, _, _ = socket.recv_fds(asked, _LARGEST, 2)
        except TimeoutError:
            break
        if not content:
            break
        what, number, given = pickle.loads(content)  # noqa: S301 -- from the process that started this one
        if what == _END and number < 0:
            break
        if what == _END:
            _ended(forks.pop(number, None))
            if given:
                with suppress(OSError):  # nobody is there any more
                    asked.send(b"\0")
            continue
        for call in given:
            if (key := pickle.dumps(call)) not in done:
                done.add(key)
                with suppress(Exception):  # a worker that needs it says what is wrong
                    called(call)
                gc.freeze()
        if what == _FORK:
            with suppress(OSError):  # no process can be made: whoever asks the worker finds that
                forks[number] = _forked(ends)
            for end in ends:
                os.close(end)
    for pid in forks.values():
        _ended(pid)


def _ended(pid: int | None) -> None:
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _forked(ends: Sequence[int]) -> int:
    return forked(_answer_tasks, *ends, 2)


def _answer_tasks() -> None:
    with os.fdopen(os.dup(1), "wb") as answers:
        send(answers, pickle.dumps(os.getpid()))
    answer_tasks(os.fdopen(0, "rb"))


def forked(run: Callable[[], object], *standard: int) -> int:
    """Return the process id of a new fork that calls ``run`` and ends; this process has one thread.

    The descriptors ``standard`` are its 0, 1 and 2, and it has no others of this process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: those of numpy stand a fork
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for number, own in enumerate(standard):
            os.dup2(own, number)
        os.closerange(len(standard), os.sysconf("SC_OPEN_MAX"))
        if "numpy.random" in sys.modules:  # its own generator would draw the same in all forks
            sys.modules["numpy.random"].seed()
        run()
        status = 0
    except BaseException:  # noqa: BLE001 -- it ends as an interpreter would
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
