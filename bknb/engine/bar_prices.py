"""Prices of a leg for its account: the last close at a moment, the open of a bar, and when a bar closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.series import Series


class BarPrices:
    """Prices of the base bars of a leg, in quote currency.

    Parameters
    ----------
    bars
        Its base bars.

    Attributes
    ----------
    can_fill
        Which of them can fill orders, shape (n,).
    step
        Their length, ms.
    """

    def __init__(self, bars: Series) -> None:
        self._bars, self.step = bars, bars.step
        self.can_fill: NDArray[np.bool_] = np.ones(len(bars.candles), dtype=np.bool_)

    def at(self, when: int) -> float:
        """The last close at a moment (UTC ms); before the first candle, its open."""
        known, candles = self._bars.available(when), self._bars.candles
        return float(candles.close[known - 1]) if known > 0 else float(candles.open[0])

    def last_close(self, when: int) -> float | None:
        """The last close at a moment (UTC ms); ``None``: no bar has closed."""
        return self.at(when) if self._bars.available(when) > 0 else None

    def _index(self, opened: int) -> int:
        return int(self._bars.candles.timestamp.searchsorted(opened))

    def bar_of(self, when: int) -> tuple[int, float] | None:
        """Open time (UTC ms) and open of the bar that a moment lies in; ``None``: none, or it can fill no orders."""
        index, candles = self._index(when + 1) - 1, self._bars.candles
        if index < 0 or self._bars.close_at(index) <= when or not self.can_fill[index]:
            return None
        return int(candles.timestamp[index]), float(candles.open[index])

    def open_at(self, opened: int) -> float | None:
        """The open of the bar that opens at a moment (UTC ms) and can fill orders; ``None``: there is none."""
        index, candles = self._index(opened), self._bars.candles
        if index >= len(candles) or candles.timestamp[index] != opened or not self.can_fill[index]:
            return None
        return float(candles.open[index])

    def known_until(self, when: int) -> int:
        """Up to when everything in its bars is known at a moment (UTC ms): then, or the open of one that has begun."""
        known, times = self._bars.available(when), self._bars.candles.timestamp
        begun = 0 <= known < len(times) and times[known] < when
        return int(times[known]) if begun else when

    def closes_between(self, after: int, until: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Moments (UTC ms) behind one and up to another at which bars closed, and their closes; both of shape (n,)."""
        closes = self._bars.closes
        first, last = np.searchsorted(closes, (after, until), side="right")
        return closes[first:last], self._bars.candles.close[first:last]

    def told(self, when: int) -> int:
        """When what happened up to a moment is known (UTC ms): then, or at the close of the bar that it lies in."""
        known = self.known_until(when)
        return when if known == when else self.closes(known)

    def closes(self, opened: int) -> int:
        """When the bar that opens at a moment (UTC ms), or the next one, closes; without one, a length later."""
        index = self._index(opened)
        return self._bars.close_at(index) if index < len(self._bars.candles) else opened + self.step
