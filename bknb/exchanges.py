"""Ready-made exchanges; each can be passed wherever the name of an exchange can.

``demo()`` needs nothing, ``from_frame(df)``, ``from_csv(path)`` and ``from_parquet(path)`` serve one-minute candles
of your own.

Examples
--------
>>> import bknb.exchanges
>>> bknb.exchanges.demo().name
'demo'
"""

from __future__ import annotations

from .adapters.demo import DemoSource
from .adapters.files import FrameSource, from_csv, from_frame, from_parquet

__all__ = ["DemoSource", "FrameSource", "demo", "from_csv", "from_frame", "from_parquet"]


def demo() -> DemoSource:
    """A market that does not exist: endless one-minute candles, offline, the same on every machine.

    Any symbol has a market; ``BTCUSDT``, ``ETHUSDT``, ``SOLUSDT``, ``BNBUSDT`` and ``XRPUSDT`` have familiar prices.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(demo().get_candles("BTCUSDT", "1m", 1_641_038_400_000, 3))
    Candles(3, 2022-01-01T12:00 .. 2022-01-01T12:02 UTC)
    """
    return DemoSource()
