"""Paths that a received folder names: none may lead outside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import StateError

_ENVIRONMENT: Final = "pyvenv.cfg"
_DRIVE: Final = re.compile(r"^[A-Za-z]:")
_DEVICE: Final = re.compile(r"(?i)^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


def inside(folder: Path, name: str) -> Path:
    """The path that a received folder names, when it lies inside that folder.

    Raises
    ------
    StateError
        The name is absolute, holds ``..``, a drive, a device, a backslash or a control character, or is a link that
        leads outside, or what it names is neither a file nor a folder, such as a pipe.

    Examples
    --------
    >>> inside(Path("first-share"), "candles/demo/BTCUSDT-1m.csv.gz").name
    'BTCUSDT-1m.csv.gz'
    >>> inside(Path("first-share"), "../notes.txt")
    Traceback (most recent call last):
        ...
    bknb.errors.StateError: the shared folder first-share names '../notes.txt', which is not a path inside it
    it was changed or made to do harm: do not run it, and ask its author for it again
    """
    parts = name.split("/")
    plain = name.isprintable() and not any(letter in name for letter in '\\:*?"<>|') and not _DRIVE.match(name)
    if not plain or not all(part and part not in (".", "..") and not _DEVICE.match(part) for part in parts):
        raise _refused(folder, f"names {name!r}, which is not a path inside it")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _refused(folder, f"names {name!r}, a link to {path.resolve()}, which is not inside it")
    if _is_special(path):
        raise _refused(folder, f"names {name!r}, which is no file: reading it might never end")
    return path


def check_links(folder: Path) -> None:
    """Refuse a received folder with a link that leads outside, or a pipe; an environment made in it is passed over.

    Raises
    ------
    StateError
        There is such a link, or something that is neither a file nor a folder.
    """
    home = folder.resolve()
    for path in _entries(home):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise _refused(
                folder,
                f"holds {path.relative_to(home).as_posix()!r}, a link to {path.resolve()}, which is not inside it",
            )
        if _is_special(path):
            raise _refused(folder, f"holds {path.relative_to(home).as_posix()!r}, which is no file")


def _is_special(path: Path) -> bool:
    """Whether there is a pipe, a socket or a device."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:  # a name that is too long: whoever reads it says so
        return False


def _entries(home: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(home):  # does not follow links
        yield from (Path(place, name) for name in [*folders, *names])
        folders[:] = [name for name in folders if not Path(place, name, _ENVIRONMENT).is_file()]


def _refused(folder: Path, why: str) -> StateError:
    return StateError(
        f"the shared folder {folder} {why}\n"
        "it was changed or made to do harm: do not run it, and ask its author for it again"
    )
