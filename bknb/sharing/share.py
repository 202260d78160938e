"""``bknb.share``: a folder with which somebody else gets the same results."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ..domain.whole_number import whole_number
from ..errors import UsageError
from ..exchanges.candle_bundle import MANIFEST, Manifest
from ..stores.atomic import as_path, not_written, replace_folder, write_whole
from . import execute_notebook, secrets
from .binder_link_and_readme import checked_ref, repository_name
from .fresh_environment import NoFreshEnvironment, make_environment
from .recorder import INPUTS, NotebookInputs
from .secrets import Guard
from .shared_folder import Checked, SharedFolder
from .verify_notebook import OnSummary, execute_recorded


@dataclass(frozen=True, slots=True)
class Shared:
    """Result of sharing a notebook.

    Attributes
    ----------
    path : Path
        The folder or the zip file.
    manifest : Manifest
        What is in it.
    notes : tuple of str
        Notes for its reader.
    checked : {"fresh", "here", "no"}
        Where the copy was executed and gave the same: in a fresh environment made from its pins, or only in the
        environment of its author, because that was asked for or nothing could be installed.

    Examples
    --------
    >>> Shared(Path("first-share"), Manifest(notebook="first.ipynb"), ("executed again",))
    shared: first-share (first.ipynb with 0 candles, 0 run cards)
      executed again
    """

    path: Path
    manifest: Manifest
    notes: tuple[str, ...]
    checked: Checked = "no"

    def __repr__(self) -> str:
        count = sum(file.count for file in self.manifest.candles)
        parts = [f"{self.manifest.notebook} with {count:,} candles", f"{len(self.manifest.cards)} run cards"]
        if self.manifest.files:
            parts.append(f"{len(self.manifest.files)} files")
        return "\n".join([f"shared: {self.path} ({', '.join(parts)})", *(f"  {note}" for note in self.notes)])


def share(
    notebook: str | Path,
    to: str | Path | None = None,
    *,
    repository: str | None = None,
    ref: str = "HEAD",
    accept: Sequence[str] = (),
    check: bool | Literal["fresh", "here"] = True,
    timeout_seconds: int | None = None,
    on_summary: OnSummary | None = None,
) -> Shared:
    """Make a folder (or zip file) with which somebody else gets the same numbers, without a network.

    The notebook is executed in a fresh kernel; what its runs were given is written beside it, with the files and
    modules it read from its own folder, this very bknb as a wheel, pinned requirements, a ``binder`` folder and a
    README. A first cell, ``bknb.exchanges.bundled()``, serves the recorded candles in place of the exchanges. Then the
    copy is executed again in a new virtual environment made from its pins, with every connection refused, and its run
    cards are compared.

    Parameters
    ----------
    notebook
        The notebook; it is not changed.
    to
        The folder, or a path ending in ``.zip``; by default ``NAME-share`` here. An earlier share is replaced.
    repository, ref
        ``"owner/name"`` on GitHub, or its address there, and the branch, tag or commit it will be in, for the launch
        link.
    accept
        Fingerprints of findings that are no secrets after all, eight hexadecimal digits each.
    check
        Whether to execute the copy and compare. ``True``: in a new virtual environment made from the pins, which takes
        about a minute, or half of it where uv is installed; when no package registry can be reached it is executed in
        this environment only, and ``.notes`` and ``.checked`` say so. ``"fresh"``: in a new environment, or it is not
        shared. ``"here"``: in this environment. ``False``: not at all.
    timeout_seconds
        Longest time for one cell, a whole number of seconds above 0; ``None``: no limit.
    on_summary
        Called with ``(cell number, text)`` for every result, as soon as its cell is done.

    Raises
    ------
    UsageError
        An option is none of what it can be; a secret was found (with its place), also in the git history of the
        notebook's folder or of the target, or of the nearest folder above it when it is none yet; a file is too large
        to scan or of a format that cannot be read; a cell failed, a file outside the folder is read, the target holds
        something else, the pins cannot be installed, ``"fresh"`` was asked for and no environment can be made, or the
        copy does not give the same.

    Examples
    --------
    >>> import bknb
    >>> bknb.share("no-such.ipynb")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: no notebook at no-such.ipynb; expected the path of an .ipynb file
    """
    if check not in (True, False, "fresh", "here"):
        raise UsageError(f"check must be True, False, 'fresh' or 'here', got {check!r:.80}")
    name = None if repository is None else repository_name(repository)
    ref = checked_ref(ref)
    accepted = _checked_fingerprints(accept)
    _check_timeout(timeout_seconds)
    source = as_path(notebook, "first.ipynb")
    given = None if to is None else as_path(to, "first-share")
    report = on_summary or (lambda _cell, _text: None)
    node = execute_notebook.read_notebook(source)
    target = _target(source, given)
    guard = Guard(source.resolve().parent, accepted)
    guard.check(secrets.notebook_texts(node))
    for place in dict.fromkeys((source.resolve().parent, _nearest_folder(target.resolve()))):
        guard.check_history(place)
    with tempfile.TemporaryDirectory(prefix="bknb-share-") as scratch:
        folder, seen = Path(scratch, "share"), Path(scratch, "seen")
        folder.mkdir()
        seen.mkdir()
        before = execute_recorded(
            node, source.resolve().parent, seen, offline=False, timeout=timeout_seconds, on_summary=report
        )
        inputs = msgspec.json.decode((seen / INPUTS).read_bytes(), type=NotebookInputs)
        guard.check(secrets.notebook_texts(node))
        made = SharedFolder(folder, source, node, inputs, guard)
        made.write(repository=name, ref=ref, seen=seen)
        checked: Checked = "no"
        if check:
            wanted = _fresh_environment if check == "fresh" else make_environment
            environment = None if check == "here" else wanted
            checked = made.check(before, timeout=timeout_seconds, make_environment=environment)
        made.finish()
        _deliver(folder, target)
    return Shared(target, made.manifest, tuple(made.notes), checked)


def _checked_fingerprints(accept: object) -> frozenset[str]:
    given = None if isinstance(accept, str) or not isinstance(accept, Iterable) else [*accept]
    if given is None or not all(isinstance(mark, str) and re.fullmatch("[0-9a-f]{8}", mark) for mark in given):
        raise UsageError(
            f"accept must be a list of fingerprints of eight hexadecimal digits, got {accept!r:.80}\n"
            "give those in brackets behind the findings, such as accept=['0123abcd']"
        )
    return frozenset(given)


def _check_timeout(timeout_seconds: object) -> None:
    if timeout_seconds is not None:
        hint = "give seconds for one cell, such as 600, or leave it out for no limit"
        whole_number("timeout_seconds", timeout_seconds, least=1, hint=hint)


def _fresh_environment(folder: Path, place: Path) -> Path:
    try:
        return make_environment(folder, place)
    except NoFreshEnvironment as reason:
        raise UsageError(
            f"not shared: no fresh environment can be made, as {reason}\n"
            "try again with a package registry in reach, or share with check=True, which falls back to this environment"
        ) from None


def _target(source: Path, to: Path | None) -> Path:
    target = Path(f"{source.stem}-share") if to is None else to
    if target.suffix == ".zip":
        if target.is_dir():
            raise UsageError(f"{target} is a folder\nchoose another name for the zip file")
        return target
    if target.exists() and not (target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))):
        raise UsageError(f"{target} exists and is no earlier share\nchoose another folder: --to FOLDER")
    if source.resolve().is_relative_to(target.resolve()):
        raise UsageError(f"{target} holds the notebook itself\nchoose another folder: --to FOLDER")
    return target


def _nearest_folder(path: Path) -> Path:
    """The path itself when it is a folder, otherwise the nearest existing folder above it."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _deliver(folder: Path, target: Path) -> None:
    try:
        if target.suffix == ".zip":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                    archive.write(file, Path(target.stem) / file.relative_to(folder))
            write_whole(target, packed.getvalue())
            return
        replace_folder(folder, target)
    except OSError as error:
        raise not_written(target, error) from None
