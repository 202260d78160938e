"""A source over candles that are in memory already, for runs that share them and see different parts."""

from __future__ import annotations

import numpy as np

from ..domain.interval import INTERVAL_MS
from .candles import Candles
from .window import Window


class Remembered:
    """The candles of a window as a source: what is asked twice is fetched once.

    Parameters
    ----------
    window
        Where candles come from and stay; it loads what it does not have yet.
    """

    def __init__(self, window: Window) -> None:
        self.name = window.source.name
        self.intervals: tuple[str, ...] | None = tuple(INTERVAL_MS)
        self.page_limit: int | None = None
        self.window = window
        self.format_price = window.source.format_price
        self.format_quantity = window.source.format_quantity

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """Up to ``limit`` candles from ``since`` on (UTC ms)."""
        series = await self.window.load(symbol, interval, since)
        return self.part(series.candles, since, limit)

    def part(self, candles: Candles, since: int, limit: int, *, before: int | None = None) -> Candles:
        """Up to ``limit`` candles that open at or after ``since``, and before ``before`` (UTC ms)."""
        times = candles.timestamp
        at = int(np.searchsorted(times, since))
        end = len(candles) if before is None else int(np.searchsorted(times, before))
        return candles[at : max(at, min(end, at + limit))].copy()
