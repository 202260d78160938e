"""The system calls that saved state depends on, each in one place.

Everything that changes a disk goes through one :class:`Disk`, so that a test can let any single call fail, stop
half-way or end the process (:mod:`bknb.testing.faults`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StateError

if TYPE_CHECKING:
    import sqlite3

if sys.platform != "win32":
    import fcntl

_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)


class Disk:
    """The system calls; one method, one call."""

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        path.mkdir()

    def create(self, path: Path) -> int:
        """Open a file that must not exist yet, for writing."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        return os.open(path, flags, 0o666)

    def open_to_append(self, path: Path) -> int:
        """Open a file to write at its end, whoever else does; it is made when it is missing."""
        return os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)

    def last_byte(self, handle: int) -> bytes:
        """The last byte of a file that was opened to append; none of an empty one."""
        size = os.lseek(handle, 0, os.SEEK_END)
        if not size:
            return b""
        os.lseek(handle, size - 1, os.SEEK_SET)
        return os.read(handle, 1)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file off after so many bytes."""
        os.truncate(path, size)

    def write(self, handle: int, data: bytes) -> int:
        """Write some of the bytes; returns how many."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        """Return when the bytes of an open file would survive a power cut."""
        full = getattr(fcntl, "F_FULLFSYNC", None) if sys.platform != "win32" else None
        if full is not None:
            # On a Mac fsync() leaves the bytes in the cache of the drive.
            with contextlib.suppress(OSError):
                fcntl.fcntl(handle, full)
                return
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Close an open file."""
        os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """Give a file another name, in one step; what had that name is gone."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder would survive a power cut (as far as the system can promise it)."""
        if sys.platform == "win32":
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(handle)

    def read(self, path: Path) -> bytes:
        """All bytes of a file."""
        return path.read_bytes()

    def names(self, folder: Path) -> list[str]:
        """The names in a folder."""
        return [entry.name for entry in folder.iterdir()]

    def folds_case(self, existing: Path) -> bool:
        """Whether the file system takes ``a`` and ``A`` for one name, tried on a file that exists."""
        return existing.with_name(existing.name.swapcase()).exists()

    def statement(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one SQL statement; returns its rows."""
        return connection.execute(sql, tuple(values)).fetchall()


def make_folders(disk: Disk, path: Path) -> None:
    """Make a folder and those above it, each of them there to stay."""
    if path.is_dir():
        return
    make_folders(disk, path.parent)
    with contextlib.suppress(FileExistsError):
        disk.make_folder(path)
    disk.sync_folder(path.parent)


def write_all(disk: Disk, handle: int, data: bytes) -> None:
    """Write every byte, in as many pieces as the system wants."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(handle, bytes(rest)) :]


def refusal(doing: str, path: Path, error: OSError, *, outcome: str) -> StateError:
    """The error for a system call on the disk that failed.

    Parameters
    ----------
    doing : str
        Fits behind "cannot": "write", "read", "lock".
    outcome : str
        What is on the disk now, or what to do.
    """
    return StateError(f"cannot {doing} {path}: {error.strerror or error}\n{outcome}")
