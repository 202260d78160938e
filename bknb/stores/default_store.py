"""Stores made from a place, and the one that live runs use when they name none."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import UsageError
from ..ports import StateStore
from ..process import at_reset
from .atomic import as_path
from .file_store import FileStore
from .memory_store import MemoryStore

if TYPE_CHECKING:
    from .sqlite_store import SqliteStore

DEFAULT_FOLDER: Final = "./dump/data"
DEFAULT_DATABASE: Final = "./dump/state.db"

S = TypeVar("S", FileStore, "SqliteStore")

_opened: dict[tuple[type, Path], FileStore | SqliteStore] = {}
_mutex = threading.Lock()
_chosen: list[StateStore] = []
at_reset(_chosen.clear)


def files(root: str | Path = DEFAULT_FOLDER) -> FileStore:
    """State as one small file per value; a place asked for again is the same store.

    Parameters
    ----------
    root
        The folder; made when it is missing.

    Examples
    --------
    >>> import bknb.stores
    >>> bknb.stores.files("./dump/data") is bknb.stores.files()
    True
    """
    return _once(FileStore, root)


def sqlite(path: str | Path = DEFAULT_DATABASE) -> SqliteStore:
    """State in one SQLite file; a place asked for again is the same store.

    Parameters
    ----------
    path
        The file; made when it is missing.

    Examples
    --------
    >>> import bknb.stores
    >>> bknb.stores.sqlite("./dump/state.db") is bknb.stores.sqlite()
    True
    """
    from .sqlite_store import SqliteStore  # sqlite3 is loaded by those who use it

    return _once(SqliteStore, path)


def _once(kind: type[S], path: str | Path) -> S:
    """The store of a place: always the same object, since a process may hold a place only once."""
    place = as_path(path, DEFAULT_FOLDER if kind is FileStore else DEFAULT_DATABASE).absolute()
    with _mutex:
        store = _opened.setdefault((kind, place), kind(place))
    assert isinstance(store, kind)  # by its key  # noqa: S101
    return store


def memory() -> MemoryStore:
    """State that ends with the process; for trying things out.

    Examples
    --------
    >>> import bknb.stores
    >>> bknb.stores.memory() is bknb.stores.memory()
    False
    """
    return MemoryStore()


def set_store(store: StateStore) -> None:
    """Choose where live runs keep their state from now on; runs that have begun stay where they are.

    Parameters
    ----------
    store
        ``bknb.stores.files(folder)`` (the default, in ``./dump/data``), ``bknb.stores.sqlite(path)``,
        ``bknb.stores.memory()``, or an object of your own that passes :class:`bknb.testing.stores.StateStoreContract`.

    Raises
    ------
    UsageError
        When it is no store.

    Examples
    --------
    >>> import bknb
    >>> bknb.set_store(bknb.stores.memory())
    """
    _chosen[:] = [checked(store)]


def chosen() -> StateStore:
    """The store of runs that name none."""
    return _chosen[0] if _chosen else files()


def checked(store: object) -> StateStore:
    """The store, when it is one."""
    if isinstance(store, StateStore):
        return store
    raise UsageError(
        f"a store must be bknb.stores.files(…), .sqlite(…), .memory() or an object like them, got {store!r:.80}"
    )
