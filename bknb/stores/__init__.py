"""Where live runs keep their state; each can be passed as ``store=``, or chosen for all with ``bknb.set_store``.

A store of your own is any object with the methods of :class:`bknb.ports.StateStore` that passes
:class:`bknb.testing.stores.StateStoreContract`. It saves what ``seal`` makes of a value, returns what ``unseal``
finds in it, and refuses bad kinds and keys with ``check_kind`` and ``check_address``.

Examples
--------
>>> import bknb.stores
>>> bknb.stores.memory()
MemoryStore(0 values)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .choose import files, memory, set_store, sqlite
from .file_store import FileStore
from .memory_store import MemoryStore
from .record import Unreadable, check_address, check_kind, seal, unseal

if TYPE_CHECKING:
    from .sqlite_store import SqliteStore

__all__ = [
    "FileStore",
    "MemoryStore",
    "SqliteStore",
    "Unreadable",
    "check_address",
    "check_kind",
    "files",
    "memory",
    "seal",
    "set_store",
    "sqlite",
    "unseal",
]


if not TYPE_CHECKING:  # a type checker must see a wrong name as wrong

    def __getattr__(name: str) -> Any:
        if name == "SqliteStore":  # loads sqlite3, which most runs do not need
            from .sqlite_store import SqliteStore

            return SqliteStore
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
