"""Writing whole files: a reader finds the old content or the new, whenever the process or the machine stops.

The content goes to a temporary file beside its place, is forced to the disk and renamed. Everything in bknb that writes
a file somebody else may read goes through here; lines that are only added go through :mod:`bknb.stores.journal`.

Modes are those the umask gives (``0666`` less the umask), as for any file a program writes. bknb keeps no file that
needs less: it writes no key and no password to the disk, and a file it replaces gets these modes anew.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path
from typing import Final

from ..errors import UsageError
from .disk import Disk, make_folders, write_all
from .file_names import join_names

_TEMPORARY: Final = re.compile(r"\.bknb-[0-9]+-[0-9]+\.tmp")
_NUMBERS = itertools.count(1)
_STALE_SECONDS: Final = 60.0
"""No write takes so long: a temporary file that is older was left by a crash."""


def write_whole(path: Path, content: bytes, *, disk: Disk | None = None) -> Path:
    """Write a file whole or not at all, and return its path; its folder is made when it is missing.

    It is on the disk when this returns. What a crash left in the folder a minute or more ago is removed. A link is
    followed; what is no regular file, such as ``/dev/stdout``, is written as it is.

    Raises
    ------
    OSError
        When the disk did not take it; the old content is there still.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "reports" / "sma.md", b"# Report").read_bytes()
    b'# Report'
    """
    disk = disk or Disk()
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():
        place.write_bytes(content)
        return path
    make_folders(disk, place.parent)
    replace_file(disk, place, content)
    disk.sync_folder(place.parent)
    with contextlib.suppress(OSError):
        _remove_stale(disk, place)
    return path


def write_named(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file whose path the user gave, whole or not at all, and return its path.

    Raises
    ------
    UsageError
        When the path is none, or the disk did not take the file; the old content is there still.

    Examples
    --------
    >>> write_named("/proc/report.md", b"# Report")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: cannot write /proc/report.md: ...
    choose another path, or make room and allow writing there; what was there before is unchanged
    """
    place = as_path(path)
    try:
        return write_whole(place, content)
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise not_written(place, error) from None


def as_path(path: object, example: str = "./dump/report.md") -> Path:
    """The path the user gave.

    Parameters
    ----------
    path
        What was given.
    example
        A path that would do, for the message.

    Raises
    ------
    UsageError
        When it is neither a text nor a path, is empty, or has a zero character, which no file system takes.

    Examples
    --------
    >>> as_path(None)
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: a path must be a non-empty text or a pathlib.Path, got None
    give a path such as './dump/report.md'
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        whole = ", without zero characters" if isinstance(text, str) and text else ""
        raise UsageError(
            f"a path must be a non-empty text or a pathlib.Path{whole}, got {path!r:.80}\n"
            f"give a path such as {example!r}"
        )
    return Path(text)


def not_written(path: Path, error: Exception) -> UsageError:
    """The error for a file or folder the user named and the disk did not take: path, reason, what to do."""
    return UsageError(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error}\n"
        "choose another path, or make room and allow writing there; what was there before is unchanged"
    )


def replace_file(disk: Disk, path: Path, content: bytes) -> None:
    """Put a file in its place, whole or not at all; its folder must exist, and is not forced to the disk yet."""
    handle, temporary = _created(disk, path)
    try:
        try:
            write_all(disk, handle, content)
            disk.sync(handle)
        finally:
            disk.close(handle)
        disk.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.unlink(temporary)
        raise


def is_temporary(name: str) -> bool:
    """Whether a file name is one of those that only a crash leaves behind.

    Examples
    --------
    >>> is_temporary(".bknb-4711-1.tmp"), is_temporary("BTCUSDT.json")
    (True, False)
    """
    return _TEMPORARY.fullmatch(name) is not None


def write_report(folder: str | Path, names: tuple[str, ...], text: str) -> Path:
    """Write ``text`` to ``folder/name@name.md`` and return the path; no name can leave the folder.

    Raises
    ------
    UsageError
        When the path is none, or the disk did not take the file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(Path(folder), ("sma/fast", "BTCUSDT"), "# Report").name
    'sma%2Ffast@BTCUSDT.md'
    """
    return write_named(as_path(folder) / f"{join_names(names)}.md", text.encode())


def replace_folder(source: Path, target: Path) -> None:
    """Put a copy of a folder in place of another one, or of none.

    The copy is made beside its place and renamed. A crash leaves the old folder, the new one, or (between two renames)
    neither under its name but both beside it; the next call puts the old one back first, and removes what else is left.

    Raises
    ------
    OSError
        When the disk did not take it.
    """
    import shutil  # with its archive formats; a run replaces no folder

    new, old = (target.with_name(f".{target.name}.bknb-{what}") for what in ("new", "old"))
    target.parent.mkdir(parents=True, exist_ok=True)
    if old.exists() and not target.exists():
        old.replace(target)
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    try:
        shutil.copytree(source, new)
        if target.exists():
            target.replace(old)
        new.replace(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.replace(target)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _created(disk: Disk, path: Path) -> tuple[int, Path]:
    while True:
        temporary = path.with_name(f".bknb-{os.getpid()}-{next(_NUMBERS)}.tmp")
        # An earlier process of this number may have left a file of that name.
        with contextlib.suppress(FileExistsError):
            return disk.create(temporary), temporary


def _remove_stale(disk: Disk, written: Path) -> None:
    # Compared with the file just written: the clock of the disk, not of this machine.
    now = written.stat().st_mtime
    for name in disk.names(written.parent):
        if is_temporary(name):
            leftover = written.with_name(name)
            with contextlib.suppress(FileNotFoundError):
                if now - leftover.stat().st_mtime > _STALE_SECONDS:
                    disk.unlink(leftover)
