"""Saved state in files, the default.

::

    dump/data/
        bknb.lock                            whose state this is; the lock itself is the kernel's
        signal/{strategy}/{symbol}.json
        schedule/{strategy}/{symbol}.json
        risk/{risk}/positions.json
        partial/{strategy}/{symbol}.json
        order/{strategy}/{symbol}.json
        undelivered/{strategy}/{symbol}/000000000064.json
        ended/{strategy}/{symbol}/part-000001.json
        late/{strategy}/{symbol}/part-000001.json
        hole/{strategy}/{symbol}/part-000001.json
        candle/{strategy}/{symbol}/part-000001.json
        note/{strategy}/{symbol}/part-000001.json
        traded/{strategy}/{symbol}/part-000001.json
        signal/{strategy}/{symbol}.json.corrupt-1            could not be read and waits for a decision
        signal/{strategy}/{symbol}.json.corrupt-1.settled    the same, decided: a later delete() closed the matter

What a file looks like and how names become file names is in :mod:`bknb.stores.sealed_values`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import StateError
from .atomic import is_temporary, replace_file
from .disk import Disk, make_folders, refusal
from .file_names import decode_name, encode_name, is_shortened
from .lock import LockedStore, StateLock
from .sealed_values import Key, Unreadable, address_of, check_address, check_kind, describe, seal, unseal

_SAVED = re.compile(r"(?P<name>.+)\.json(?P<aside>\.corrupt-(?P<number>[0-9]+)(?P<settled>\.settled)?)?")
_INTACT = "what was saved before is untouched"


class FileStore(LockedStore):
    """Saved state as one small file per value; see :class:`bknb.ports.StateStore` for what it promises.

    A value is written to a temporary file beside its place, forced to the disk, renamed, and the folder forced to the
    disk. So a reader finds the old value or the new one, whenever the process ends. Leftovers of a crash are removed by
    the next ``acquire()``.

    On a file system that takes ``a`` and ``A`` for one name, a key that differs from a saved one only in that is
    refused.

    Parameters
    ----------
    root : str or Path
        The folder, made when it is missing. A relative one is relative to the working directory of now.
    disk : Disk, optional
        Who carries out the system calls.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, FileStore(folder) as store:
    ...     store.write("signal", ("sma", "BTCUSDT"), b'{"id":"7"}')
    ...     print(store.keys("signal"), store.read("signal", ("sma", "BTCUSDT")))
    [('sma', 'BTCUSDT')] b'{"id":"7"}'
    """

    _argument = "root"

    def __init__(self, root: str | Path = "./dump/data", *, disk: Disk | None = None) -> None:
        self._root = Path(root).absolute()
        super().__init__(StateLock(self._root / "bknb.lock", place=self._root), self._root, disk)
        self._folds_case = False

    def __repr__(self) -> str:
        return f"FileStore({str(self._root)!r})"

    def release(self) -> None:
        """Give the folder back; see :meth:`bknb.ports.StateStore.release`."""
        with self._mutex:
            self._lock.release()

    def read(self, kind: str, key: Key) -> bytes | None:
        """The saved value, or ``None``; see :meth:`bknb.ports.StateStore.read`."""
        with self._at(kind, key) as path:
            try:
                sealed = self._disk.read(path)
            except FileNotFoundError:
                self._refuse_undecided(kind, key, path)
                return None
            except OSError as error:
                raise refusal("read", path, error, outcome="nothing was changed; nothing is known") from None
            try:
                return unseal(sealed, kind, key)
            except Unreadable as problem:
                raise self._unreadable(problem, path, f"{kind} {describe(key)}") from None

    def write(self, kind: str, key: Key, payload: bytes) -> None:
        """Save a value; see :meth:`bknb.ports.StateStore.write`."""
        sealed = seal(kind, key, payload)
        with self._at(kind, key) as path:
            try:
                self._put(path, sealed)
            except OSError as error:
                raise refusal("write", path, error, outcome=f"{_INTACT}; {_advice(error)}") from None
            try:
                self._disk.sync_folder(path.parent)
            except OSError as error:
                outcome = "the new value is there, but a power cut may bring back the old one: write it again"
                raise refusal("make sure of", path, error, outcome=outcome) from None

    def delete(self, kind: str, key: Key) -> None:
        """Delete a value; see :meth:`bknb.ports.StateStore.delete`."""
        with self._at(kind, key) as path:
            try:
                for moved in self._undecided(path):
                    self._disk.replace(moved, moved.with_name(f"{moved.name}.settled"))
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(path)
                with contextlib.suppress(FileNotFoundError):
                    # Even when there was nothing to remove: the removal may be a crashed one's that never got this far.
                    self._disk.sync_folder(path.parent)
            except OSError as error:
                raise refusal("delete", path, error, outcome=f"it may come back; {_advice(error)}") from None

    def keys(self, kind: str, under: Key = ()) -> list[Key]:
        """What is saved under a kind, sorted; see :meth:`bknb.ports.StateStore.keys`."""
        check_kind(kind)
        with self._held():
            folder = self._root / encode_name(kind)
            below = folder.joinpath(*(encode_name(name) for name in under))
            try:
                paths = [path for path in self._files(below) if not path.name.endswith(".settled")]
            except OSError as error:
                raise refusal("list", below, error, outcome="nothing was changed; nothing is known") from None
            found = {key for path in paths if (key := self._key_of(kind, folder, path)) is not None}
            return sorted(key for key in found if key[: len(under)] == under)

    @contextlib.contextmanager
    def _at(self, kind: str, key: Key) -> Iterator[Path]:
        check_address(kind, key)
        *folders, name = (encode_name(part) for part in (kind, *key))
        path = self._root.joinpath(*folders, f"{name}.json")
        with self._held():
            if self._folds_case:
                self._refuse_case_collision(path)
            yield path

    def _open(self) -> None:
        try:
            self._prepare()
        except OSError as error:
            raise refusal("use the folder", self._root, error, outcome=_advice(error)) from None

    def _prepare(self) -> None:
        self._folds_case = self._disk.folds_case(self._root / "bknb.lock")
        # A crash may have left names that are visible and not yet on the disk: what is read now must stay true.
        for folder in self._root.parents[:2]:
            with contextlib.suppress(PermissionError):
                self._disk.sync_folder(folder)
        self._disk.sync_folder(self._root)
        for name in self._disk.names(self._root):
            kind = decode_name(name)
            if kind is not None and (self._root / name).is_dir():
                self._remove_leftovers(self._root / name)

    def _remove_leftovers(self, folder: Path) -> None:
        for path in self._entries(folder):
            if path.is_dir():
                self._remove_leftovers(path)
            elif is_temporary(path.name):
                self._disk.unlink(path)
        self._disk.sync_folder(folder)

    def _files(self, folder: Path) -> Iterator[Path]:
        for path in self._entries(folder):
            if path.is_dir():
                yield from self._files(path)
            elif _SAVED.fullmatch(path.name):
                yield path

    def _entries(self, folder: Path) -> list[Path]:
        try:
            names = self._disk.names(folder)
        except FileNotFoundError:
            return []
        # A link to a folder is left alone: it may lead in a circle.
        return [path for name in names if not ((path := folder / name).is_symlink() and path.is_dir())]

    def _put(self, path: Path, sealed: bytes) -> None:
        try:
            replace_file(self._disk, path, sealed)
        except FileNotFoundError:
            make_folders(self._disk, path.parent)
            replace_file(self._disk, path, sealed)

    def _aside(self, path: Path) -> list[tuple[int, Path]]:
        found = []
        for other in self._entries(path.parent):
            match = _SAVED.fullmatch(other.name)
            if match and match["aside"] and f"{match['name']}.json" == path.name:
                found.append((int(match["number"]), other))
        return sorted(found)

    def _undecided(self, path: Path) -> list[Path]:
        return [moved for _, moved in self._aside(path) if not moved.name.endswith(".settled")]

    def _refuse_undecided(self, kind: str, key: Key, path: Path) -> None:
        try:
            waiting = self._undecided(path)
        except OSError as error:
            raise refusal("list", path.parent, error, outcome="nothing was changed; nothing is known") from None
        if waiting:
            raise _waiting(f"{kind} {describe(key)}", waiting[-1], path)

    def _unreadable(self, problem: Unreadable, path: Path, what: str) -> StateError:
        if (newer := problem.refused(str(path))) is not None:
            return newer
        numbers = [number for number, _ in self._aside(path)]
        moved = path.with_name(f"{path.name}.corrupt-{max(numbers, default=0) + 1}")
        try:
            self._disk.replace(path, moved)
            self._disk.sync_folder(path.parent)
        except OSError as error:
            return refusal(f"trust or move aside (it {problem.reason})", path, error, outcome=_advice(error))
        return StateError(
            f"{path} {problem.reason}; it was moved to {moved.name}\n"
            f"nothing is known about {what}: look at your exchange,\n{_decision(moved, path)}"
        )

    def _key_of(self, kind: str, folder: Path, path: Path) -> Key | None:
        match = _SAVED.fullmatch(path.name)
        assert match is not None  # noqa: S101 - _files() yields no others
        names = [*path.parent.relative_to(folder).parts, match["name"]]
        if not any(is_shortened(name) for name in names):
            decoded = [decode_name(name) for name in names]
            # A name we would never give is somebody's own file; nothing will ever be read from it.
            return None if None in decoded else tuple(name for name in decoded if name is not None)
        if match["aside"]:
            raise _waiting(f"{kind} {'/'.join(names)}", path, path.with_name(f"{match['name']}.json"))
        try:
            sealed = self._disk.read(path)
        except OSError as error:
            raise refusal("read", path, error, outcome="nothing was changed; nothing is known") from None
        address = address_of(sealed)
        if address is not None and [encode_name(name) for name in address[1]] == names and address[0] == kind:
            return address[1]
        try:
            unseal(sealed, kind, tuple(names))
        except Unreadable as problem:
            raise self._unreadable(problem, path, f"{kind} {'/'.join(names)}") from None
        return None

    def _refuse_case_collision(self, path: Path) -> None:
        folder = self._root
        for part in path.relative_to(self._root).parts:
            for other in self._entries(folder):
                if other.name != part and other.name.casefold() == part.casefold():
                    raise StateError(
                        f"{part} and {other.name} in {folder} are one name to this file system\n"
                        "rename the strategy, risk or symbol so that more than upper and lower case differs"
                    )
            folder /= part


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError) or "ead-only" in (error.strerror or ""):
        return "make the folder writable, or choose another root"
    return "make room on the disk, or choose another root"


def _decision(moved: Path, path: Path) -> str:
    return f"then delete {moved.name} (nothing is open) or put a good copy at {path.name}"


def _waiting(what: str, moved: Path, path: Path) -> StateError:
    return StateError(
        f"{what} was damaged and waits in {moved}\n"
        f"nothing is known about it: look at your exchange,\n{_decision(moved, path)}"
    )
