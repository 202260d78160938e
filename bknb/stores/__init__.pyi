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
from .record import (
    Unreadable as Unreadable,
)
from .record import (
    check_address as check_address,
)
from .record import (
    check_kind as check_kind,
)
from .record import (
    seal as seal,
)
from .record import (
    unseal as unseal,
)
from .sqlite_store import (
    SqliteStore as SqliteStore,
)
