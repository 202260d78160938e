"""The interpreter whose forks are the processes of trials, as the process that has them tried out sees it.

One is started with the first trial, for what that imports; where it ended, another takes its place. It ends with this
process, however that ends, and after a while in which nobody asked for a fork.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

_LAST_BYTES: Final = 4_000
_Key: TypeAlias = tuple[int, tuple[str, ...], tuple[tuple[str, str], ...]]


class ForkServer:
    """One such interpreter; raises ``OSError`` where it cannot be started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.last_words = ""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ending = threading.Lock()
        try:
            self.process = subprocess.Popen(  # noqa: S603 -- this interpreter, with code of bknb
                [*command],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env={**environment},
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()

    @property
    def has_ended(self) -> bool:
        """Whether it is no longer there: its end of the socket is closed first."""
        if self._control.fileno() < 0:
            return True
        look = select.poll()
        look.register(self._control, 0)
        return bool(look.poll(0))

    def wait(self) -> None:
        """Wait until it is ready; returns at once where it has ended."""
        with suppress(OSError):
            self._control.recv(1, socket.MSG_PEEK)  # stays for those who ask later

    def fork(self, folder: str, ends: Sequence[int]) -> None:
        """Have it fork a process for a trial, with four descriptors; raises ``OSError`` where it has ended."""
        socket.send_fds(self._control, [os.fsencode(folder)], ends)

    def end(self) -> int:
        """End it and its forks; returns its exit code."""
        with self._ending:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)  # what it has started, also where it has ended itself
            code = self.process.wait()
            self._control.close()
            assert self.process.stderr is not None  # it is a pipe  # noqa: S101
            if not self.process.stderr.closed:
                with self.process.stderr as errors:
                    self.last_words = errors.read()[-_LAST_BYTES:].decode("utf-8", "replace")
            return code

    def leave(self) -> None:
        """Close this process's end of the socket."""
        self._control.close()


_servers: Final[dict[_Key, ForkServer]] = {}
_starting = threading.Lock()


def fork_server(command: Sequence[str], environment: Mapping[str, str]) -> ForkServer:
    """Return the server that was started so in this process, or start it; raises ``OSError`` where it cannot be."""
    key = (os.getpid(), tuple(command), tuple(sorted(environment.items())))
    with _starting:
        server = _servers.get(key)
        if server is not None and server.has_ended:
            server.end()
            server = None
        if server is None:
            server = _servers[key] = ForkServer(command, environment)
        return server


@atexit.register
def _end_all() -> None:
    for (process, *_), server in _servers.items():
        if process == os.getpid():
            server.end()


def _leave_those_of_the_parent() -> None:
    """A fork of this process does not keep them alive; it starts its own."""
    global _starting  # noqa: PLW0603 -- another thread of the parent may have held it
    _starting = threading.Lock()
    for server in _servers.values():
        server.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_those_of_the_parent)
