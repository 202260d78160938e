"""Where live runs keep their state; each can be passed as ``store=``, or chosen for all with ``bknb.set_store``.

Examples
--------
>>> import bknb.stores
>>> bknb.stores.memory()
MemoryStore(0 values)
"""

from __future__ import annotations

from .choose import FileStore, MemoryStore, SqliteStore, files, memory, set_store, sqlite

__all__ = ["FileStore", "MemoryStore", "SqliteStore", "files", "memory", "set_store", "sqlite"]
