"""Fault injection for disks: tests that saved state survives.

:class:`FaultyDisk` ends the process, or reports an error, at the n-th change of the disk; :class:`PowerCutDisk` tells
what would be left if the power had gone at any moment; :func:`killed_at_system_call` ends a real process at its n-th
system call, inside libraries too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UsageError
from ..stores.disk import Disk

if TYPE_CHECKING:
    import sqlite3

Fault = Literal["kill", "torn"] | OSError | None


class FaultyDisk(Disk):
    """A disk whose n-th change fails.

    Parameters
    ----------
    at : int, optional
        Which change, counted from 1 over ``make_folder``, ``create``, ``open_to_append``, ``truncate``, ``write``,
        ``sync``, ``close``, ``replace``, ``unlink``, ``sync_folder`` and ``statement``. ``None``: none; the disk only
        keeps count in ``calls``.
    fault : {"kill", "torn"} or OSError
        ``"kill"`` ends the process before the call is made, as SIGKILL does. ``"torn"`` does the same, but a write
        first reaches the disk by half. An error is raised in place of the call.
    lasting : bool
        Whether every later change fails too, as on a disk that stays full.
    only : tuple of str
        Count these calls only; all by default.
    most : int, optional
        Longest piece one ``write`` takes, in bytes.

    Attributes
    ----------
    calls : list of str
        What was counted, in order.
    at, only
        As given; they can be changed while the disk is in use.

    Examples
    --------
    >>> import errno, tempfile
    >>> from bknb.stores.file_store import FileStore
    >>> full = OSError(errno.ENOSPC, "No space left on device")
    >>> disk = FaultyDisk(at=2, fault=full, only=("write", "replace"))
    >>> with tempfile.TemporaryDirectory() as folder, FileStore(folder, disk=disk) as store:
    ...     try:
    ...         store.write("signal", ("sma", "BTCUSDT"), b"{}")
    ...     except Exception as error:
    ...         print(type(error).__name__, [call.split()[0] for call in disk.calls])
    StateError ['write', 'replace']
    """

    def __init__(
        self,
        *,
        at: int | None = None,
        fault: Fault = None,
        lasting: bool = False,
        only: tuple[str, ...] = (),
        most: int | None = None,
    ) -> None:
        if (at is None) != (fault is None):
            raise UsageError("a faulty disk needs both `at` (which change) and `fault` (what goes wrong), or neither")
        self.calls: list[str] = []
        self.at = at
        self._fault = fault
        self._lasting = lasting
        self.only = only
        self._most = most
        self._count = 0

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        self._before("make_folder", path)
        super().make_folder(path)

    def create(self, path: Path) -> int:
        """Open a new file."""
        self._before("create", path)
        return super().create(path)

    def open_to_append(self, path: Path) -> int:
        """Open a file for appending."""
        self._before("open_to_append", path)
        return super().open_to_append(path)

    def truncate(self, path: Path, size: int) -> None:
        """Truncate a file."""
        self._before("truncate", path)
        super().truncate(path, size)

    def write(self, handle: int, data: bytes) -> int:
        """Write some of the bytes; all of them unless ``most`` says less."""
        self._before("write", handle, half=lambda: super(FaultyDisk, self).write(handle, data[: len(data) // 2]))
        return super().write(handle, data[: self._most])

    def sync(self, handle: int) -> None:
        """Flush a file to disk."""
        self._before("sync", handle)
        super().sync(handle)

    def close(self, handle: int) -> None:
        """Close a file; it is closed even when the call reports an error."""
        try:
            self._before("close", handle)
        finally:
            super().close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file."""
        self._before("replace", target)
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        self._before("unlink", path)
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """Flush a folder to disk."""
        self._before("sync_folder", folder)
        super().sync_folder(folder)

    def statement(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one SQL statement."""
        self._before("statement", sql.split(maxsplit=1)[0])
        return super().statement(connection, sql, values)

    def _before(self, name: str, what: object, *, half: Callable[[], object] | None = None) -> None:
        if self.only and name not in self.only:
            return
        self.calls.append(f"{name} {what}")
        self._count += 1
        if self.at is None or self._count < self.at or (self._count > self.at and not self._lasting):
            return
        if isinstance(self._fault, OSError):
            raise self._fault
        if self._fault == "torn" and half is not None:
            half()
        end_process()


def end_process() -> None:
    """End this process at once, as a crash does: nothing is flushed, nothing is tidied up."""
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)


class PowerCutDisk(Disk):
    """A disk that records every call and computes what a power cut would leave.

    What was not forced to the disk may be lost: bytes without ``sync``, names without ``sync_folder``. Names may also
    get there early, before the bytes they stand for. Only what happens below ``root`` is followed.

    Parameters
    ----------
    root : Path
        A folder that exists and is empty.

    Examples
    --------
    >>> import tempfile
    >>> from bknb.stores.file_store import FileStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     disk = PowerCutDisk(Path(folder))
    ...     with FileStore(folder, disk=disk) as store:
    ...         store.write("signal", ("sma", "BTCUSDT"), b"{}")
    ...     late, early = disk.remains(len(disk.calls))
    >>> late == early, [path.as_posix() for path, data in late.items() if data is not None]
    (True, ['signal/sma/BTCUSDT.json'])
    """

    def __init__(self, root: Path) -> None:
        self.calls: list[tuple[str, Path, Path | int | bytes]] = []
        self._root = root.absolute()
        self._open: dict[int, Path] = {}

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        super().make_folder(path)
        self.calls.append(("make_folder", path, 0))

    def create(self, path: Path) -> int:
        """Open a new file."""
        handle = super().create(path)
        self._open[handle] = path
        self.calls.append(("create", path, 0))
        return handle

    def open_to_append(self, path: Path) -> int:
        """Open a file for appending."""
        handle = super().open_to_append(path)
        self._open[handle] = path
        self.calls.append(("open_to_append", path, 0))
        return handle

    def truncate(self, path: Path, size: int) -> None:
        """Truncate a file."""
        super().truncate(path, size)
        self.calls.append(("truncate", path, size))

    def write(self, handle: int, data: bytes) -> int:
        """Write the bytes."""
        count = super().write(handle, data)
        self.calls.append(("write", self._open[handle], data[:count]))
        return count

    def sync(self, handle: int) -> None:
        """Flush a file to disk."""
        super().sync(handle)
        self.calls.append(("sync", self._open[handle], 0))

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file."""
        super().replace(source, target)
        self.calls.append(("replace", source, target))

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        super().unlink(path)
        self.calls.append(("unlink", path, 0))

    def sync_folder(self, folder: Path) -> None:
        """Flush a folder to disk."""
        super().sync_folder(folder)
        self.calls.append(("sync_folder", folder, 0))

    def remains(self, calls: int) -> tuple[dict[Path, bytes | None], dict[Path, bytes | None]]:
        """What may be left when the power goes after so many calls.

        Returns
        -------
        tuple of two dicts
            Path below the root to bytes, ``None`` for a folder. In the first, names that were not forced to the disk
            are lost; in the second, they got there on their own.
        """
        files = _Files(self._root)
        for name, path, more in self.calls[:calls]:
            files.follow(name, path, more)
        return files.left(files.forced), files.left(files.visible)

    def every_moment(self) -> Iterator[tuple[int, dict[Path, bytes | None]]]:
        """Every number of calls with each of its two outcomes."""
        for calls in range(len(self.calls) + 1):
            for remains in self.remains(calls):
                yield calls, remains


class _Content:
    def __init__(self, *, folder: bool) -> None:
        self.folder = folder
        self.written = b""
        self.forced = b""

    def append(self, more: bytes) -> None:
        self.written += more

    def truncate(self, size: int) -> None:
        self.written = self.written[:size]

    def sync(self) -> None:
        self.forced = self.written


class _Files:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.visible: dict[Path, _Content] = {}
        self.forced: dict[Path, _Content] = {}

    def follow(self, name: str, path: Path, more: Path | int | bytes) -> None:
        if name in ("make_folder", "create"):
            self.visible[path] = _Content(folder=name == "make_folder")
        elif name == "open_to_append":
            self.visible.setdefault(path, _Content(folder=False))
        elif isinstance(more, bytes):
            self.visible[path].append(more)
        elif name == "truncate" and isinstance(more, int):
            self.visible[path].truncate(more)
        elif name == "sync":
            self.visible[path].sync()
        elif isinstance(more, Path):
            self.visible[more] = self.visible.pop(path)
        elif name == "unlink":
            del self.visible[path]
        else:
            others = {other: content for other, content in self.forced.items() if other.parent != path}
            self.forced = others | {other: content for other, content in self.visible.items() if other.parent == path}

    def left(self, names: dict[Path, _Content]) -> dict[Path, bytes | None]:
        left: dict[Path, bytes | None] = {}
        for path in sorted(names):
            above = [parent for parent in path.parents if self.root in parent.parents]
            if self.root in path.parents and all(parent in names for parent in above):
                left[path.relative_to(self.root)] = None if names[path].folder else names[path].forced
        return left


def killed_at_system_call(number: int, child: Callable[[], object]) -> bool:
    """Run ``child`` in a forked process and kill it at a system call (Linux only).

    Parameters
    ----------
    number : int
        Which stop, counted from 1: every call stops twice, before and after it is carried out.
    child : callable
        What the process does. It should be the only thread of this process that matters.

    Returns
    -------
    bool
        Whether it was killed; ``False``: it came to its end first.

    Raises
    ------
    UsageError
        When this system does not let a process trace its own children.
    RuntimeError
        When the child failed by itself.
    """
    if sys.platform != "linux":
        raise UsageError("killed_at_system_call() works on Linux only")
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long
    trace_me, go_on, refused = 0, 24, 77
    pid = os.fork()
    if pid == 0:
        try:
            if libc.ptrace(trace_me, 0, None, None) != 0:
                os._exit(refused)
            os.kill(os.getpid(), signal.SIGSTOP)
            child()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    for _ in range(number):
        if not os.WIFSTOPPED(status):
            break
        libc.ptrace(go_on, pid, None, None)
        _, status = os.waitpid(pid, 0)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return True
    if os.WEXITSTATUS(status) == refused:
        raise UsageError("this system does not let a process trace its children")
    if status != 0:
        raise RuntimeError(f"the child ended with status {os.waitstatus_to_exitcode(status)}")
    return False
