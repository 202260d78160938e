"""Ready-made exchanges; each can be passed wherever the name of an exchange can.

``demo()`` needs nothing, ``from_frame(df)``, ``from_csv(path)`` and ``from_parquet(path)`` serve one-minute candles
of your own. ``bundled()`` serves the candles that came with a shared notebook.

Examples
--------
>>> import bknb.exchanges
>>> bknb.exchanges.demo().name
'demo'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .adapters.demo import DemoSource
from .adapters.files import FrameSource, from_csv, from_frame, from_parquet

if TYPE_CHECKING:
    from .adapters.bundle import Bundle

__all__ = ["DemoSource", "FrameSource", "bundled", "demo", "from_csv", "from_frame", "from_parquet"]


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


def bundled(folder: str | Path = ".") -> Bundle:
    """Serve the candles of a shared folder in place of the exchanges they came from, from now on.

    ``bknb share`` writes this call into the first cell of a shared notebook. Every exchange whose name is in the
    folder's ``bknb-share.json`` then gives the recorded candles, whatever is registered under that name; nothing is
    fetched for it. ``bundled(...).leave()`` ends it.

    Raises
    ------
    UsageError
        There is no shared folder.
    StateError
        A file is missing, or was changed after it was shared; the text names the candle.

    Examples
    --------
    >>> bundled("/nowhere")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: there is no bknb-share.json in /nowhere
    share a notebook with: bknb share NOTEBOOK
    """
    from .adapters.bundle import Bundle
    from .analysis.fingerprint import explain
    from .engine.registry import registry

    bundle = Bundle(Path(folder), explain=lambda file, candles: explain(file.fingerprint, candles))
    bundle.serve(registry.through)
    return bundle
