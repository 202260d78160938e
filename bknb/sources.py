"""What an optimizer shows its model: candles with indicators, trades of a result, or anything of your own.

Examples
--------
>>> import bknb.sources
>>> bknb.sources.candles("1h").name
'1h candles'
"""

from __future__ import annotations

from .optimizer.shown_data import Source, candles, function, trades

__all__ = ["Source", "candles", "function", "trades"]
