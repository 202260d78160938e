"""The interpreter of trials: it is the process of one, or imports what all need and forks a process for each.

A fork has of this process what had been imported before the first trial, and nothing else: no descriptor but its own
three, a session, a folder and limits of its own. This process reads no job: that goes to the fork alone. Its forks end
when it ends, and it ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Final

from ..sweeps.fork_server import forked
from . import child
from .messages import END
from .packages import load

_IDLE_SECONDS: Final = 300.0  # after which the memory of a process that nobody needs is free again
_FOLDER_BYTES: Final = 4096
_ENDS: Final = 4
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Do what the first argument says: ``trial``, or ``forks`` and the packages that all of them import."""
    task, *packages = sys.argv[1].split()
    if task == "trial":
        child.main()
    else:
        load(packages)
        gc.freeze()  # the forks share this memory
        _serve(socket.socket(fileno=0))


def _serve(control: socket.socket) -> None:
    """Fork a process for each message, until the other end of the socket is closed or nobody has asked for long."""
    alarm, rings = socket.socketpair()
    for end in (alarm, rings):
        end.setblocking(False)  # noqa: FBT003
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
    control.send(b"ready")
    trials: dict[int, socket.socket] = {}
    try:
        while ready := select.select([control, alarm, *trials.values()], [], [], None if trials else _IDLE_SECONDS)[0]:
            if alarm in ready:
                alarm.recv(4096)
            for pid in [pid for pid, asker in trials.items() if asker in ready or _is_over(pid)]:
                _end(pid, trials.pop(pid))
            if control in ready and not _begin(control, trials):
                return
    finally:
        for pid, asker in trials.items():
            _end(pid, asker)


def _begin(control: socket.socket, trials: dict[int, socket.socket]) -> bool:
    """Fork a process for the next message; False where there will be none any more."""
    try:
        folder, ends, *_ = socket.recv_fds(control, _FOLDER_BYTES, _ENDS)
    except ConnectionResetError:  # closed without having read that this process is ready
        return False
    if not folder:
        return False
    *pipes, told = ends
    asker = socket.socket(fileno=told)
    try:
        trials[forked(partial(_trial, os.fsdecode(folder), os.getpid()), *pipes)] = asker
    except OSError as error:
        with asker, suppress(OSError):
            asker.send(END.pack(error.errno or -1, 0))
    for end in pipes:
        os.close(end)
    return True


def _is_over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(pid: int, asker: socket.socket) -> None:
    """End a process and what it has started, and tell who asked for it.

    Its id is that of no other process before it was waited for.
    """
    for kill in (os.killpg, os.kill):  # it may not have its session yet
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with asker, suppress(OSError):  # who asked is not there any more
        asker.send(END.pack(0, code))


def _trial(folder: str, server: int) -> None:
    """Be the process of one trial, in a fork."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:  # it ended before that
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    child.main()
