"""Ready-made exchanges; each can be passed wherever the name of an exchange can.

``demo()`` needs nothing; ``ccxt("binance")`` is any exchange ccxt knows, saved on disk; ``from_frame(df)``,
``from_csv(path)``, ``from_parquet(path)`` and ``from_query(database, sql)`` serve candles of your own;
``binance_archive(folder)`` serves the zip archives that Binance publishes;
``stored(source)`` saves what any source answers, and ``from_store(folder)`` serves what was saved, without a network.
``bundled()`` serves the candles that came with a shared notebook.

Examples
--------
>>> import bknb.exchanges
>>> bknb.exchanges.demo().name
'demo'
"""

from __future__ import annotations

import warnings
from typing import Any

from .. import lazy_names

_attached, __dir__, __all__ = lazy_names.attach(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A public name, on its first use; ``ShelfSource`` is the old name of ``CandleStoreSource``, for one release."""
    if name == "ShelfSource":
        warnings.warn("ShelfSource is an old name\nwrite: CandleStoreSource", DeprecationWarning, stacklevel=2)
        name = "CandleStoreSource"
    return _attached(name)
