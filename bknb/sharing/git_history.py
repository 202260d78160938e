"""The git history of a folder: every version of every file in it, and the messages of its commits."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .searched_files import Unreadable

LARGEST_HISTORY: Final = 500_000_000
"""Most bytes of all versions together that are scanned."""
_PLACE: Final = "git history"


def history_of(folder: Path, *, limit: int = LARGEST_HISTORY) -> Iterator[tuple[str, bytes]]:
    """Every version of every file of a folder that any branch or tag holds, with its place, and the commit messages.

    Side branches that were merged and deleted are included, also when nothing is left of what they changed. Nothing
    when the folder is in no repository.

    Raises
    ------
    Unreadable
        git is not installed or fails, or the history is too large.
    """
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return
    if shutil.which("git") is None:
        raise Unreadable("its git history cannot be read: git is not installed")
    top = _git(folder, "rev-parse", "--show-toplevel").decode(errors="replace").strip()
    if (
        _git(folder, "ls-files", "--", ".") == b""
        and _git(folder, "log", "--all", "--full-history", "-1", "--format=%H", "--", ".") == b""
    ):
        return  # the repository is around the folder and holds nothing of it
    named = _objects(folder)
    sizes = _git(folder, "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", given="\n".join(named))
    blobs = []
    total = 0
    for row in sizes.decode(errors="replace").splitlines():
        name, kind, size = [*row.split(" "), "", ""][:3]
        if kind == "blob" and size.isdecimal():
            total += int(size)
            blobs.append(name)
    if total > limit:
        raise Unreadable(f"its git history is too large to scan: {total:,} bytes, the limit is {limit:,}")
    for name in blobs:
        yield f"{_PLACE} of {Path(top).name}, {named[name]} ({name[:7]})", _git(folder, "cat-file", "blob", name)
    yield f"{_PLACE}, commit messages", _git(folder, "log", "--all", "--full-history", "--format=%B", "--", ".")


def _objects(folder: Path) -> dict[str, str]:
    """Names of the objects of a folder, to their paths."""
    listed = _git(folder, "rev-list", "--all", "--reflog", "--full-history", "--objects", "--", ".")
    pairs = (row.partition(" ") for row in listed.decode(errors="replace").splitlines())
    return {name: path for name, _, path in pairs if path}


def _git(folder: Path, *words: str, given: str = "") -> bytes:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    safe = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*")
    done = subprocess.run(  # noqa: S603 -- git, to read only
        [str(shutil.which("git")), *safe, "-C", str(folder), *words],
        input=given.encode(),
        capture_output=True,
        env={**plain, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"},
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unreadable(f"its git history cannot be read: {said[-1] if said else 'git failed'}")
    return done.stdout
