"""Where the process of live runs that uses a store is found, and starting one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ..errors import StateError, UsageError
from ..stores.atomic import write_whole
from .live_process_messages import Connection
from .sent_live_plan import Place

_MAIN: Final = "from bknb.runs.live_process import main; main()"
_READY: Final = "ready"
_ENDS_SECONDS: Final = 5.0
CAN: Final = hasattr(socket, "AF_UNIX")


class Address(msgspec.Struct, frozen=True):
    """Where the process of live runs listens, and its number."""

    pid: int
    socket: str


def address_file(place: Place) -> Path:
    """The file beside the state in which the address stands.

    Examples
    --------
    >>> address_file(("files", "/data/state")).as_posix(), address_file(("sqlite", "/data/state.db")).as_posix()
    ('/data/state/live-process.json', '/data/state.db-live-process.json')
    """
    kind, path = place
    return Path(path) / "live-process.json" if kind == "files" else Path(f"{path}-live-process.json")


def log_file(place: Place) -> Path:
    """The file beside the state that has what the process and the strategies in it print.

    Examples
    --------
    >>> log_file(("files", "/data/state")).as_posix()
    '/data/state/live-process.log'
    """
    return address_file(place).with_suffix(".log")


def listening(place: Place) -> socket.socket:
    """A socket that listens, whose address stands beside the state from now on; only this user can reach it.

    Raises
    ------
    OSError
        When it cannot be made.
    """
    remove_left(place)
    folder = tempfile.mkdtemp(prefix="bknb-live-")  # that no other user may enter
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    address = str(Path(folder) / "socket")
    made.bind(address)
    made.listen()
    write_whole(address_file(place), msgspec.json.encode(Address(os.getpid(), address)))
    return made


def remove_left(place: Place) -> None:
    """Remove an address that nobody listens at any more; the lock of the store is held."""
    with suppress(OSError, msgspec.DecodeError):
        left = msgspec.json.decode(address_file(place).read_bytes(), type=Address)
        address_file(place).unlink()
        shutil.rmtree(Path(left.socket).parent, ignore_errors=True)


def connected(place: Place) -> Connection | None:
    """A connection to the process that uses a store; ``None`` when there is none."""
    try:
        address = msgspec.json.decode(address_file(place).read_bytes(), type=Address)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(address.socket)
        except OSError:
            made.close()
            return None
    except (OSError, msgspec.DecodeError):
        return None
    return Connection(made)


def started(place: Place) -> subprocess.Popen[str]:
    """Start the process for a store; it goes on when this one ends.

    Raises
    ------
    UsageError
        On a system without sockets of the kind that it needs.
    StateError
        When it cannot begin, such as when another process has the store.
    """
    if not CAN:
        raise UsageError("a process of its own for live runs needs Unix sockets, which this system has not")
    here = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(  # noqa: S603 -- our own code
        [sys.executable, "-c", _MAIN, *place],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
        start_new_session=True,  # a key that interrupts the kernel is not for it
    )
    assert process.stdout is not None and process.stderr is not None  # both are pipes  # noqa: S101, PT018
    with process.stdout, process.stderr:
        if process.stdout.readline().strip() == _READY:
            return process
        text = process.stderr.read().strip()
    process.wait()
    raise StateError(f"the process of live runs could not begin: {text}")


def tell_ready(place: Place) -> None:
    """Tell who started this process that it listens; what is printed from now on is added to a file."""
    print(_READY, flush=True)  # noqa: T201 -- to whoever started it
    log = os.open(log_file(place), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)


def how_it_ended(child: subprocess.Popen[str] | None) -> str:
    """How the process ended, in words; of one that another kernel started that is not known."""
    text, status = "the process of the live runs has ended", None
    if child is not None:
        with suppress(subprocess.TimeoutExpired):  # it goes on: the connection alone has ended
            status = child.wait(_ENDS_SECONDS)
    if status is None:
        return text
    if status < 0:
        return f"{text} (signal {-status}, {signal.Signals(-status).name})"
    return f"{text} (exit status {status})"


def is_alive(pid: int) -> bool:
    """Whether there is a process of a number.

    Examples
    --------
    >>> is_alive(os.getpid())
    True
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
