"""The process of one trial, as the process that waits for its outcome sees it: an interpreter of its own, or a fork."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, Self, cast

from .fork_client import ForkServer
from .messages import END, LENGTH

if TYPE_CHECKING:
    from io import BufferedReader

_MOST_BYTES: Final = 32 * 1024 * 1024
_LAST_BYTES: Final = 4_000
_ANSWER_SECONDS: Final = 10.0


class TrialProcess(ABC):
    """A process that reads a job; on leaving the block it is killed, waited for, and its pipes are closed.

    Nothing of that awaits, so that no cancellation and no end of the loop can come between. Its methods block, apart
    from leaving the block: a process that was killed is gone at once.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    is_lost = False
    last_words = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()
        for pipe in (self.stdin, self.stdout, self.stderr):
            with suppress(OSError):  # what nobody will read was still to be sent
                pipe.close()  # after a thread that reads or writes: that sees the end of the process

    def begin(self, job: bytes) -> None:
        """Send a job and wait until the process has prepared for it; raises ``EOFError`` or ``OSError`` if it ended."""
        self.stdin.write(LENGTH.pack(len(job)) + job)
        self.stdin.flush()
        self.read()

    def read(self) -> bytes:
        """Return the next message; raises ``EOFError`` when the process ended before."""
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
        if length > _MOST_BYTES:
            raise ValueError(f"a result of {length} bytes")
        return self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        found = self.stdout.read(size)
        if len(found) < size:
            raise EOFError
        return found

    def errors(self) -> str:
        """Return the last it writes to standard error until its end."""
        tail = b""
        while piece := cast("BufferedReader", self.stderr).read1(65_536):
            tail = (tail + piece)[-_LAST_BYTES:]
        return tail.decode("utf-8", "replace")

    @abstractmethod
    def end(self) -> int:
        """End the process, unless it has ended itself, and what it has started; returns its exit code."""


class OwnInterpreter(TrialProcess):
    """An interpreter of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        pipe = subprocess.PIPE
        self._process = process = subprocess.Popen(  # noqa: S603 -- this interpreter, with code of bknb
            [*command],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=folder,
            env={**environment},
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: PT018, S101
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr

    def end(self) -> int:
        """End it; returns its exit code."""
        if self._process.returncode is None:  # else its process id may be another's
            with suppress(ProcessLookupError, PermissionError):  # macOS refuses it for what has ended
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        return self._process.wait()


class Fork(TrialProcess):
    """A fork of a server."""

    def __init__(self, server: ForkServer, folder: str) -> None:
        self._server, self._folder = server, folder
        self._changing = threading.Lock()
        self._asked = self._ready = self._over = False
        self._code: int | None = None
        self._told, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._told.settimeout(_ANSWER_SECONDS)
        (stdin, to), (back, stdout), (errors, stderr) = (os.pipe() for _ in range(3))
        self._theirs = [stdin, stdout, stderr, told.detach()]
        self.stdin, self.stdout, self.stderr = os.fdopen(to, "wb"), os.fdopen(back, "rb"), os.fdopen(errors, "rb")

    def begin(self, job: bytes) -> None:
        """Have it forked, send a job and wait until it has prepared for it."""
        self._server.wait()
        with self._changing:
            if self._over:
                raise EOFError
            self._asked = True
            try:
                self._server.fork(self._folder, self._theirs)
            except OSError as error:  # it has ended
                raise EOFError from error
            finally:
                self._close_theirs()
        super().begin(job)
        self._ready = True

    def end(self) -> int:
        """End it; returns its exit code, which is that of its server where that ended.

        ``is_lost`` says whether it ended so before it was ready, ``last_words`` what the server wrote. Raises
        ``OSError`` where no process can be made.
        """
        with self._changing:
            self._over = True
            self._close_theirs()
            if self._code is None:
                self._code = 0
                with self._told:
                    if self._asked:
                        self._code = self._end()
            return self._code

    def _end(self) -> int:
        with suppress(OSError):
            self._told.shutdown(socket.SHUT_WR)
        told = b""
        try:
            told = self._told.recv(END.size)
        except TimeoutError:
            self._server.end()
        except OSError:
            pass
        if told:
            error, code = END.unpack(told)
            if error:
                raise OSError(error, os.strerror(error))
            return int(code)
        if not self._server.has_ended:  # it was never asked
            return 0
        self.is_lost = not self._ready
        code = self._server.end()
        self.last_words = self._server.last_words
        return code

    def _close_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())
