"""Old path of the stores in files and in memory; import ``FileStore`` and ``MemoryStore`` from :mod:`bknb.stores`."""

from __future__ import annotations

import warnings

from ..stores import FileStore, MemoryStore

__all__ = ["FileStore", "MemoryStore"]

warnings.warn(
    "bknb.adapters.state is an old path and goes with the next release\n"
    "write: from bknb.stores import FileStore, MemoryStore",
    DeprecationWarning,
    stacklevel=2,
)
