"""Lock files: exclusive use of saved state, and short locks; safe under fork."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

import msgspec

from ..errors import StateError, UsageError
from .disk import Disk, make_folders, refusal

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class Acquired(ABC):
    """A store that a ``with`` block acquires at its beginning and releases at its end."""

    @abstractmethod
    def acquire(self) -> None:
        """Become one of its users; see :meth:`bknb.ports.StateStore.acquire`."""

    @abstractmethod
    def release(self) -> None:
        """Be none any more; see :meth:`bknb.ports.StateStore.release`."""

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class LockedStore(Acquired):
    """A store on a disk that one process uses at a time, by any of its threads.

    Parameters
    ----------
    lock : StateLock
        The lock of its place.
    folder : Path
        The folder of its place, made when it is missing.
    disk : Disk, optional
        Who carries out the system calls.
    """

    _argument: ClassVar[str]
    """What the place is called where a store is made."""

    def __init__(self, lock: StateLock, folder: Path, disk: Disk | None) -> None:
        self._lock = lock
        self._folder = folder
        self._disk = disk or Disk()
        self._mutex = threading.RLock()

    @property
    def place(self) -> Path:
        """Where the state is kept: a folder, or a file."""
        return self._lock.place

    @abstractmethod
    def _open(self) -> None:
        """Make the place ready for use, now that the lock is held; when it raises, the lock is given back."""

    def acquire(self) -> None:
        """Become the one who uses this place; see :meth:`bknb.ports.StateStore.acquire`."""
        self._lock.refuse_fork()
        with self._mutex:
            try:
                make_folders(self._disk, self._folder)
            except OSError as error:
                outcome = f"choose another {self._argument}"
                raise refusal("make the folder", self._folder, error, outcome=outcome) from None
            if not self._lock.acquire():
                return
            try:
                self._open()
            except BaseException:
                self._lock.release()
                raise

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """A context in which this thread alone uses the store; it refuses one that is not acquired, or was forked."""
        # Before the mutex: in a forked process nobody may be left to release it.
        self._lock.refuse_fork()
        with self._mutex:
            self._lock.check()
            yield


class _Holder(msgspec.Struct, frozen=True):
    pid: int
    host: str


class StateLock:
    """One owner at a time for one place of saved state.

    The lock is the kernel's (``flock``; on Windows a locked byte), so it ends with the process however that ends, and
    no process number has to be checked for being alive. The lock file stays behind; its content only names the holder
    for messages. Not thread-safe by itself: the store that owns it is.

    Parameters
    ----------
    path : Path
        The lock file.
    place : Path
        What it protects, for messages.

    Attributes
    ----------
    place
        As given.
    """

    def __init__(self, path: Path, *, place: Path) -> None:
        self._path = path
        self.place = place
        self._handle: int | None = None
        self._close: weakref.finalize[[int], StateLock] | None = None
        self._users = 0
        self._forked = False

    def acquire(self) -> bool:
        """Take the lock, or count one more user of it.

        Returns
        -------
        bool
            Whether this was the first user.

        Raises
        ------
        StateError
            When another process, or another store object of this one, has it.
        """
        self.refuse_fork()
        if self._handle is None:
            self._handle = self._locked()
            self._close = weakref.finalize(self, os.close, self._handle)
            _HELD.add(self)
        self._users += 1
        return self._users == 1

    def release(self) -> bool:
        """Count one user less; the last one gives the lock back.

        Returns
        -------
        bool
            Whether this was the last user.
        """
        if self._users == 0:
            raise UsageError(f"release() without acquire(): nobody here uses the state in {self.place}")
        self._users -= 1
        if self._users == 0:
            self._give_back()
        return self._users == 0

    def check(self) -> None:
        """Refuse unless the lock is held, and still worth something.

        Raises
        ------
        UsageError
            When nobody called ``acquire()``.
        StateError
            When the lock file was removed or exchanged, so that another process could hold "the" lock too.
        """
        self.refuse_fork()
        if self._handle is None:
            raise UsageError(f"call acquire() before using the state in {self.place}, and release() after")
        if not self._is_ours(self._handle):
            raise StateError(
                f"the lock {self._path} was removed while in use; another process may be writing there\n"
                "stop this run and start it again"
            )

    def refuse_fork(self) -> None:
        """Refuse to work in a forked copy of the process that holds the lock."""
        if self._forked:
            raise StateError(
                f"the state in {self.place} belongs to the process this one was forked from\n"
                "make a store of its own for each process"
            )

    def _locked(self) -> int:
        while True:
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            except OSError as error:
                raise refusal("open the lock", self._path, error, outcome="bknb must be able to write there") from None
            try:
                free = _try_lock(handle)
                if not free:
                    raise self._in_use(handle)
                if self._is_ours(handle):
                    self._sign(handle)
                    return handle
            except OSError as error:
                os.close(handle)
                raise refusal(
                    "lock", self._path, error, outcome="choose a place that can be written and locked"
                ) from None
            except StateError:
                os.close(handle)
                raise
            # Somebody removed the file between our open and our lock: what we hold has no name any more.
            os.close(handle)

    def _is_ours(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def _sign(self, handle: int) -> None:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, msgspec.json.encode(_Holder(pid=os.getpid(), host=socket.gethostname())) + b"\n")

    def _in_use(self, handle: int) -> StateError:
        who, hint = "another process", "stop the run there first, or choose another place for this one"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            holder = msgspec.json.decode(os.read(handle, 4096), type=_Holder)
            # The holder wrote the file once, when it took the lock.
            since = datetime.fromtimestamp(int(os.fstat(handle).st_mtime), UTC)
            who = f"process {holder.pid} on {holder.host} since {since:%Y-%m-%d %H:%M:%S} UTC"
            if (holder.pid, holder.host) == (os.getpid(), socket.gethostname()):
                who = f"another store object of this process ({holder.pid}) since {since:%Y-%m-%d %H:%M:%S} UTC"
                hint = "let both runs share one store object, or choose another place for this one"
        return StateError(f"the state in {self.place} is in use by {who}\n{hint}")

    def _give_back(self) -> None:
        _HELD.discard(self)
        self._handle = None
        if self._close is not None:
            self._close()

    def _release_in_child(self) -> None:
        # Closing our copy does not unlock the parent's; keeping it would hold the lock beyond the parent's end.
        self._give_back()
        self._forked = True


@contextlib.contextmanager
def waiting_lock(path: Path, *, wait_seconds: float) -> Iterator[None]:
    """Hold a lock file for a short piece of work; wait while another thread or process has it.

    The lock is the kernel's and ends with the process. The file stays behind.

    Raises
    ------
    StateError
        When it is still taken after ``wait_seconds``, or cannot be taken at all.
    """
    waited, pause = 0.0, 0.001
    while (handle := _opened_lock(path)) is None:
        if waited >= wait_seconds:
            raise StateError(
                f"{path.parent} is being written by another process for more than {wait_seconds:g} s\n"
                "wait for it, or end it, and try again"
            )
        time.sleep(pause)
        waited, pause = waited + pause, min(pause * 1.5, 0.05)
    try:
        yield
    finally:
        # Closing alone would leave the lock to a child that was forked in between.
        _unlock(handle)
        os.close(handle)


def _opened_lock(path: Path) -> int | None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise refusal("open the lock", path, error, outcome="bknb must be able to write there") from None
    try:
        # A file that was removed in between has no name any more: its lock protects nothing.
        if _try_lock(handle) and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except FileNotFoundError:
        pass
    except OSError as error:
        os.close(handle)
        raise refusal("lock", path, error, outcome="choose a place that can be written and locked") from None
    os.close(handle)
    return None


_HELD: weakref.WeakSet[StateLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_HELD):
        lock._release_in_child()


if sys.platform == "win32":

    def _try_lock(handle: int) -> bool:
        # Far behind the text: on Windows nobody else can read a locked byte.
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            os.lseek(handle, 0, os.SEEK_SET)
            return False
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    os.register_at_fork(after_in_child=_after_fork)

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
