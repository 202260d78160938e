"""Candles that are changed or cut off after a moment, or that begin later: the worlds a strategy is asked again in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..market.candles import Candles
from ..market.sources import WindowSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles_of_one_symbol import Series
    from ..market.window import Window

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A variant of the data in which a strategy is asked.

    Attributes
    ----------
    until : int or None
        No candle that closes after this moment exists (UTC ms).
    changed_after : int or None
        Candles that close after this moment have other prices (UTC ms).
    since : int or None
        No candle that opens before this moment exists (UTC ms).
    seed : int
        Of the other prices, and of the global random numbers.
    """

    until: int | None = None
    changed_after: int | None = None
    since: int | None = None
    seed: int = 0


AsIs: Final = World()


def perturbed(candles: Candles, start: int, *, seed: int) -> Candles:
    """The same candles, from place ``start`` on with other prices and volumes; each is still a possible candle."""
    rng = np.random.default_rng(seed)
    tail = len(candles) - start
    block = candles.block.copy()
    if tail > 0:
        step = min(0.01, 0.5 / np.sqrt(tail))  # wherever it ends, it is still a price of the same kind
        factors = np.exp(rng.normal(0.0, 0.05) + np.cumsum(rng.normal(0.0, step, size=tail)))
        block[1:5, start:] = moved(block[1:5, start:], factors, usual_size(block[1:5, start:]))
        block[5, start:] *= np.exp(rng.normal(0.0, 0.7, size=tail))
    block.setflags(write=False)
    return Candles(block)


def usual_size(prices: Floats) -> float | None:
    """The mean size of prices of which some are at or below zero: others are so much of it away. ``None``: none is.

    A factor brings no price from one side of zero to the other.
    """
    return float(np.abs(prices).mean()) if prices.size and prices.min() <= 0 else None


def moved(prices: Floats, factors: Floats, size: float | None) -> Floats:
    """Prices after moves by some factors; with a usual ``size`` of prices, by such parts of it.

    Examples
    --------
    >>> moved(np.array([4.0]), np.array([1.5]), None).tolist(), moved(np.array([-4.0]), np.array([1.5]), 10.0).tolist()
    ([6.0], [1.0])
    """
    return prices * factors if size is None else prices + size * (factors - 1)


class CandlesOfWorld(WindowSource):
    """Candles of a window, with another future or another beginning."""

    def __init__(self, window: Window, world: World) -> None:
        super().__init__(window)
        self._world = world

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """Return the candles of the window, altered."""
        series = await self.window.load(symbol, interval, since)
        candles = self.altered(series, since, limit)
        return candles[: int(np.searchsorted(candles.timestamp, since + limit * series.step))]

    def altered(self, series: Series, since: int, limit: int) -> Candles:
        """Return up to ``limit`` candles of a series from ``since`` on, as they are in this world."""
        world, candles, before = self._world, series.candles, None
        if world.changed_after is not None:
            place = int(np.searchsorted(series.closes, world.changed_after, side="right"))
            candles = perturbed(candles, place, seed=world.seed)
        if world.until is not None:
            closed = int(np.searchsorted(series.closes, world.until, side="right"))
            before = int(candles.timestamp[closed]) if closed < len(candles) else None
        return self.part(candles, max(since, world.since or since), limit, before=before)
