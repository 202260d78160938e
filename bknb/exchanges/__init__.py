"""Ready-made exchanges; each can be passed wherever the name of an exchange can.

``demo()`` needs nothing; ``ccxt("binance")`` is any exchange ccxt knows, saved on disk; ``from_frame(df)``,
``from_csv(path)``, ``from_parquet(path)`` and ``from_query(database, sql)`` serve one-minute candles of your own;
``stored(source)`` saves what any source answers, and ``from_store(folder)`` serves what was saved, without a network.
``bundled()`` serves the candles that came with a shared notebook.

Examples
--------
>>> import bknb.exchanges
>>> bknb.exchanges.demo().name
'demo'
"""

from __future__ import annotations

from ..domain.retry import Patience
from ..history.cached_source import ShelfSource, StoredSource
from ..history.store import CandleStore
from ..market.demo import DemoSource
from ..market.sources import SessionSource
from .factories import bundled, ccxt, demo, from_store, in_sessions, stored
from .files import FrameSource, from_csv, from_frame, from_parquet
from .sql import from_query

__all__ = [
    "CandleStore",
    "DemoSource",
    "FrameSource",
    "Patience",
    "SessionSource",
    "ShelfSource",
    "StoredSource",
    "bundled",
    "ccxt",
    "demo",
    "from_csv",
    "from_frame",
    "from_parquet",
    "from_query",
    "from_store",
    "in_sessions",
    "stored",
]
