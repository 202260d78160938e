"""Saved state in one SQLite file.

One table; each row holds the same sealed bytes as a file of :class:`bknb.stores.file_store.FileStore`. ``aside`` is 0
for the value in use, N for one that could not be read and waits for a decision, -N once that is decided.

The rollback journal is used rather than the write-ahead log: damage to a log silently ends the replay and brings older
values back, while here every committed value is in the checked file itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import StateError
from .disk import Disk, refusal
from .format_versions import written_by_newer
from .lock import LockedStore, StateLock
from .sealed_values import Key, Unreadable, address_of, check_address, check_kind, claims, describe, seal, unseal

_APPLICATION: Final = int.from_bytes(b"bknb", "big")
_TABLE: Final = (
    "CREATE TABLE state (kind TEXT NOT NULL, key TEXT NOT NULL, aside INTEGER NOT NULL DEFAULT 0, "
    "sealed BLOB NOT NULL, PRIMARY KEY (kind, key, aside)) WITHOUT ROWID"
)
_LAYOUTS: Final = {1: _TABLE}
"""Version (``user_version``) -> the table such a file holds."""
_VERSION: Final = max(_LAYOUTS)
_OTHER_TYPES: Final = (
    "SELECT 1 FROM state WHERE typeof(kind) <> 'text' OR typeof(key) <> 'text' OR typeof(aside) <> 'integer' "
    "OR typeof(sealed) <> 'blob' LIMIT 1"
)
_HEADER_BYTES: Final = 100
_VERSION_AT: Final = 60
_APPLICATION_AT: Final = 68
_JOURNALS: Final = ("-journal", "-wal", "-shm")
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteStore(LockedStore):
    """Saved state in one SQLite file; see :class:`bknb.ports.StateStore` for what it promises.

    Every write is a transaction of its own, on the disk when it returns (``synchronous=FULL``). The file is checked
    when it is acquired. One that cannot be trusted is moved aside whole (``*.corrupt-N``, with its journal), and
    nothing new is begun in its place until somebody decides; a single value that cannot be trusted is set aside in
    the table. The lock is a file beside the database (``*.lock``).

    Parameters
    ----------
    path : str or Path
        The database file, made when it is missing. A relative one is relative to the working directory of now.
    disk : Disk, optional
        Who carries out the system calls and the statements.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/state.db") as store:
    ...     store.write("signal", ("sma", "BTCUSDT"), b'{"id":"7"}')
    ...     print(store.keys("signal"), store.read("signal", ("sma", "BTCUSDT")))
    [('sma', 'BTCUSDT')] b'{"id":"7"}'
    """

    _argument = "path"

    def __init__(self, path: str | Path = "./dump/state.db", *, disk: Disk | None = None) -> None:
        self._path = Path(path).absolute()
        super().__init__(StateLock(self._beside(".lock"), place=self._path), self._path.parent, disk)
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r})"

    def release(self) -> None:
        """Give the file back; see :meth:`bknb.ports.StateStore.release`."""
        with self._mutex:
            if self._lock.release():
                self._close()

    def read(self, kind: str, key: Key) -> bytes | None:
        """The saved value, or ``None``; see :meth:`bknb.ports.StateStore.read`."""
        with self._at(kind, key, doing="read") as place:
            rows = self._run("SELECT aside, sealed FROM state WHERE kind = ? AND key = ? AND aside >= 0", place)
            values = dict(rows)
            name = f"{kind} {describe(key)}"
            if 0 in values:
                try:
                    return unseal(values[0], kind, key)
                except Unreadable as problem:
                    raise self._unreadable(problem, place, name) from None
            if values:
                raise StateError(f"{name} was damaged and waits as corrupt-{max(values)} in {self._path}\n{_DECISION}")
            return None

    def write(self, kind: str, key: Key, payload: bytes) -> None:
        """Save a value; see :meth:`bknb.ports.StateStore.write`."""
        sealed = seal(kind, key, payload)
        with self._at(kind, key, doing="write") as place:
            self._run("INSERT OR REPLACE INTO state VALUES (?, ?, 0, ?)", (*place, sealed))

    def delete(self, kind: str, key: Key) -> None:
        """Delete a value; see :meth:`bknb.ports.StateStore.delete`."""
        with self._at(kind, key, doing="delete") as place, self._transaction():
            self._run("UPDATE state SET aside = -aside WHERE kind = ? AND key = ? AND aside > 0", place)
            self._run("DELETE FROM state WHERE kind = ? AND key = ? AND aside = 0", place)

    def keys(self, kind: str, under: Key = ()) -> list[Key]:
        """What is saved under a kind, sorted; see :meth:`bknb.ports.StateStore.keys`."""
        check_kind(kind)
        # A key is a JSON list; longer ones go on behind the comma, and "-" is the letter after it.
        start = _text(under)[:-1] if under else ""
        place = (kind, f"{start},", f"{start}-") if under else (kind, "[", "\\")
        with self._explained("list"):
            sql = "SELECT DISTINCT key FROM state WHERE kind = ? AND key >= ? AND key < ? AND aside >= 0"
            rows = self._run(sql, place)
            return sorted(tuple(json.loads(key)) for (key,) in rows)

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        with self._held():
            try:
                yield
            except (sqlite3.Error, UnicodeError) as error:
                raise self._failed(doing, error) from None

    @contextlib.contextmanager
    def _at(self, kind: str, key: Key, *, doing: str) -> Iterator[tuple[str, str]]:
        check_address(kind, key)
        with self._explained(f"{doing} {kind} {describe(key)} in"):
            yield kind, _text(key)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.rollback()
            raise

    def _run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            raise self._undecided() or StateError(f"{self._path} is closed; release() and acquire() it again")
        return self._disk.statement(self._connection, sql, values)

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)

    def _open(self) -> None:
        try:
            self._connect()
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise refusal("open", self._path, error, outcome="nothing that was saved is lost") from None
            raise

    def _connect(self) -> None:
        for folder in (self._path.parent, *self._path.parent.parents[:2]):
            with contextlib.suppress(PermissionError):
                self._disk.sync_folder(folder)
        if not self._path.exists():
            if waiting := self._undecided():
                raise waiting
            self._begin()
        if self._path.stat().st_size == 0:
            # SQLite takes an empty file for a new database; ours gets its name only when it is complete.
            raise self._quarantined("is empty")
        self._refuse_newer()
        try:
            self._connection = self._connected(self._path)
            # A connection is part of a circle of references: dropped with its store, it would stay open for a while.
            weakref.finalize(self, self._connection.close)
            self._check()
        except (sqlite3.Error, UnicodeError) as error:
            raise self._failed("open", error) from None

    def _connected(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                "locking_mode = EXCLUSIVE",
                "journal_mode = TRUNCATE",
                "synchronous = FULL",
                "fullfsync = 1",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self) -> None:
        """Make an empty database under a name of its own, so that no half-made one is ever taken for ours."""
        leftover = re.compile(rf"\.{re.escape(self._path.name)}-[0-9]+\.tmp(-journal)?")
        for name in self._disk.names(self._path.parent):
            if leftover.fullmatch(name):
                self._disk.unlink(self._path.with_name(name))
        temporary = self._path.with_name(f".{self._path.name}-{os.getpid()}.tmp")
        try:
            # Made here, because SQLite itself gives less than the umask allows.
            self._disk.close(self._disk.create(temporary))
            connection = self._connected(temporary)
            try:
                for sql in (f"PRAGMA application_id = {_APPLICATION}", f"PRAGMA user_version = {_VERSION}", _TABLE):
                    self._disk.statement(connection, sql)
            finally:
                connection.close()
            # A journal without its database, old or new, must not be played back into the new one.
            for stray in (temporary.with_name(f"{temporary.name}-journal"), *map(self._beside, _JOURNALS)):
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(stray)
            self._disk.replace(temporary, self._path)
            self._disk.sync_folder(self._path.parent)
        except BaseException as error:
            for ending in ("", "-journal"):
                with contextlib.suppress(OSError):
                    self._disk.unlink(temporary.with_name(temporary.name + ending))
            if isinstance(error, sqlite3.Error):
                raise StateError(f"cannot begin {self._path}: {error}\nnothing was saved yet") from None
            raise

    def _refuse_newer(self) -> None:
        # Before SQLite opens the file: that alone may change it (a journal is played back, a mode is set).
        with self._path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        version, application = (int.from_bytes(header[at : at + 4], "big") for at in (_VERSION_AT, _APPLICATION_AT))
        if application == _APPLICATION and version > _VERSION and header.startswith(b"SQLite format 3\0"):
            raise written_by_newer(str(self._path), version, _VERSION)

    def _check(self) -> None:
        # The check first: the numbers in the header are only worth something in a file that is whole.
        faults = self._run("PRAGMA integrity_check(1)")
        if faults != [("ok",)]:
            raise self._quarantined(f"is damaged ({str(faults[0][0]).splitlines()[-1]})")
        ((application,),) = self._run("PRAGMA application_id")
        ((version,),) = self._run("PRAGMA user_version")
        ours = self._run("SELECT name, sql FROM sqlite_schema") == [("state", _LAYOUTS.get(version, _TABLE))]
        if application != _APPLICATION and not ours:
            raise StateError(
                f"{self._path} is a database, but not one of saved state\nnothing was changed; choose another path"
            )
        if application != _APPLICATION or version not in _LAYOUTS or not ours:
            raise self._quarantined("is damaged (its header or its table is not what bknb writes)")
        self._check_places()

    def _check_places(self) -> None:
        """Set aside what is filed in a wrong place, in both places: nobody would ever ask for it there."""
        if self._run(_OTHER_TYPES) or not all(_is_key(key) for (key,) in self._run("SELECT key FROM state")):
            raise self._quarantined("is damaged (a column holds something else)")
        rows = self._run("SELECT kind, key, sealed FROM state WHERE aside = 0")
        filed = {(kind, key) for kind, key, _ in rows}
        for kind, key, sealed in rows:
            address = address_of(sealed)
            if address is None:
                self._refuse_nameless(kind, key, sealed)
                continue
            place = (address[0], _text(address[1]))
            if place == (kind, key):
                continue
            with self._transaction():
                self._set_aside((kind, key))
                if place not in filed:
                    number = self._next_number(place)
                    self._run("INSERT INTO state VALUES (?, ?, ?, ?)", (*place, number, sealed))

    def _refuse_nameless(self, kind: str, key: str, sealed: bytes) -> None:
        """A damaged value under a name it does not bear itself may be anybody's: then no name here can be trusted."""
        if not claims(sealed, kind, tuple(json.loads(key))):
            raise self._quarantined("is damaged (a value and its name are both unreadable)")

    def _next_number(self, place: tuple[str, str]) -> int:
        ((highest,),) = self._run("SELECT max(abs(aside)) FROM state WHERE kind = ? AND key = ?", place)
        return int(highest or 0) + 1

    def _set_aside(self, place: tuple[str, str]) -> int:
        number = self._next_number(place)
        self._run("UPDATE state SET aside = ? WHERE kind = ? AND key = ? AND aside = 0", (number, *place))
        return number

    def _unreadable(self, problem: Unreadable, place: tuple[str, str], name: str) -> StateError:
        if (newer := problem.refused(f"{name} in {self._path}")) is not None:
            return newer
        number = self._set_aside(place)
        return StateError(f"{name} in {self._path} {problem.reason}; it was set aside as corrupt-{number}\n{_DECISION}")

    def _failed(self, doing: str, error: sqlite3.Error | UnicodeError) -> StateError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # Text that is not text was never ours; SQLite does not look at it.
        if code in _BROKEN or isinstance(error, UnicodeError):
            return self._quarantined(f"is damaged ({error})")
        return StateError(f"cannot {doing} {self._path}: {error}\n{_OUTCOME}")

    def _quarantined(self, reason: str) -> StateError:
        self._close()
        moved = self._beside(f".corrupt-{max((number for number, _ in self._moved()), default=0) + 1}")
        try:
            self._disk.replace(self._path, moved)
            self._move_journals(moved)
        except OSError as error:
            return refusal(f"trust or move aside (it {reason})", self._path, error, outcome=_OUTCOME)
        return StateError(f"{self._path} {reason}; it was moved to {moved.name}\n{self._how_to_decide(moved)}")

    def _moved(self) -> list[tuple[int, Path]]:
        pattern = re.compile(re.escape(self._path.name) + r"\.corrupt-([0-9]+)")
        matches = [match for name in self._disk.names(self._path.parent) if (match := pattern.fullmatch(name))]
        return sorted((int(match[1]), self._path.with_name(match[0])) for match in matches)

    def _move_journals(self, moved: Path) -> None:
        for ending in _JOURNALS:
            with contextlib.suppress(FileNotFoundError):
                self._disk.replace(self._beside(ending), moved.with_name(moved.name + ending))
        self._disk.sync_folder(self._path.parent)

    def _undecided(self) -> StateError | None:
        moved = self._moved()
        if not moved or self._path.exists():
            return None
        newest = moved[-1][1]
        # The process may have ended between moving the database and moving its journal.
        self._move_journals(newest)
        return StateError(f"{self._path} was damaged and waits in {newest.name}\n{self._how_to_decide(newest)}")

    def _how_to_decide(self, moved: Path) -> str:
        return (
            "nothing is known about its positions: look at your exchange,\n"
            f"then delete {moved.name} (nothing is open) or put a good copy at {self._path.name}"
        )

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_DECISION: Final = (
    "nothing is known about it: look at your exchange, then delete() it (nothing is open) or write() what is true"
)
_OUTCOME: Final = "what was saved before is untouched; make the disk usable, or choose another path"


def _is_key(text: str) -> bool:
    try:
        key = tuple(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return False
    return all(isinstance(name, str) for name in key) and _text(key) == text


def _text(key: Key) -> str:
    return json.dumps(key, ensure_ascii=False, separators=(",", ":"))
