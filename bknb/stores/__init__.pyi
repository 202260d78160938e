"""The public names of ``bknb.stores``, each with the module it lives in: the one list of them."""

from .default_store import (
    files as files,
)
from .default_store import (
    memory as memory,
)
from .default_store import (
    set_store as set_store,
)
from .default_store import (
    sqlite as sqlite,
)
from .file_store import (
    FileStore as FileStore,
)
from .memory_store import (
    MemoryStore as MemoryStore,
)
from .sealed_values import (
    Unreadable as Unreadable,
)
from .sealed_values import (
    check_address as check_address,
)
from .sealed_values import (
    check_kind as check_kind,
)
from .sealed_values import (
    seal as seal,
)
from .sealed_values import (
    unseal as unseal,
)
from .sqlite_store import (
    SqliteStore as SqliteStore,
)
