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

from .. import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
