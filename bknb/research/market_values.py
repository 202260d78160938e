"""The prices of a market by when they became known: numbers of a strategy's data are recognised by them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..market.candle_closes import closes_by_bars
from .candles_changed_after_moment import usual_size
from .found_by_numbers import FoundByNumbers
from .is_market_copy import placed_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles import Candles

    Floats = NDArray[np.float64]

_WINDOW: Final = 24  # numbers in a row that are looked at together
LEAST_PRICES: Final = 12  # different prices among them that make them a copy of the market
_FULL: Final = 0.3  # a larger share of all possible prices occurred: any number in the range would be one of them


class MarketValues:
    """All open, high, low and close prices of the base bars of a market, each with the moment it was first known.

    They are sorted when they are needed first: most strategies have no data to compare with them.

    Parameters
    ----------
    minutes
        One-minute candles of the market, or longer base bars of ``step`` ms, oldest first.
    closes
        When they close, UTC ms; by default ``step`` after their open.
    """

    def __init__(self, minutes: Candles, step: int = MINUTE_MS, closes: NDArray[np.int64] | None = None) -> None:
        self.minutes, self.step = minutes, step
        closed = self._closes = minutes.timestamp + step if closes is None else closes
        self.span = (int(closed[0]), int(closed[-1])) if len(closed) else (0, 0)
        """When the first and the last of them closed, UTC ms."""
        self._copied = FoundByNumbers()

    @cached_property
    def _sorted(self) -> tuple[Floats, NDArray[np.int64]]:
        """All prices in ascending order, and when each was known."""
        minutes = self.minutes
        values = np.concatenate([minutes.open, minutes.high, minutes.low, minutes.close])
        known = np.concatenate([self._closes] * 4)
        order = np.lexsort((known, values))
        return values[order], known[order]

    @cached_property
    def _first(self) -> tuple[Floats, NDArray[np.int64]]:
        """Each price once, and when it was known first."""
        values, known = self._sorted
        first = np.ones(len(values), dtype=bool)
        first[1:] = values[1:] != values[:-1]
        return values[first], known[first]

    @cached_property
    def fine(self) -> bool:
        """Whether a price tells from when it is: the market has many more possible prices than occurred."""
        values, _ = self._first
        steps = np.diff(values)
        possible = (values[-1] - values[0]) / steps.min() + 1 if len(steps) else 1.0
        return bool(len(values) / possible <= _FULL)

    @cached_property
    def size(self) -> float | None:
        """What moves are relative to, where the market has prices at or below zero; ``None``: to the price itself."""
        return usual_size(self._sorted[0])

    def closes_of(self, opens: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """When candles of ``step`` ms are known, UTC ms: the last one of a session when it closes."""
        return closes_by_bars(opens, step, self.minutes.timestamp, self._closes, self.step)

    def known_at(self, numbers: Floats) -> NDArray[np.int64]:
        """When each number was first a price of the market, UTC ms; 0 where it never was."""
        values, known = self._first
        if not self.fine or not len(values):
            return np.zeros(numbers.shape, dtype=np.int64)
        place = np.minimum(np.searchsorted(values, numbers), len(values) - 1)
        hit = np.isclose(values[place], numbers, rtol=1e-13, atol=0.0)
        return np.where(hit, known[place], 0)

    def copied_at(self, numbers: Floats) -> NDArray[np.int64]:
        """As ``known_at``, and 0 also where the numbers around are no prices: one alone may be so by chance."""
        return self._copied.of(numbers, self._copied_at)

    def _copied_at(self, numbers: Floats) -> NDArray[np.int64]:
        if not self.fine:
            return placed_at(numbers, self.minutes, self.step)
        known = self.known_at(numbers)
        hit = known > 0
        if hit.sum() < LEAST_PRICES:
            return np.zeros_like(known)
        place = np.flatnonzero(np.isfinite(numbers))
        found = np.zeros(len(numbers), dtype=bool)
        dense, values = hit[place], numbers[place]
        length = min(_WINDOW, len(dense))
        new = dense & np.concatenate([[True], values[1:] != values[:-1]])  # a price that stays is one price
        total = np.concatenate([[0], np.cumsum(dense)])
        different = np.concatenate([[0], np.cumsum(new)])
        starts = np.arange(len(dense) - length + 1)
        copies = (total[starts + length] - total[starts] >= length // 2) & (
            different[starts + length] - different[starts] >= min(LEAST_PRICES, length // 2)
        )
        if not copies.any():  # slow columns: a price that stays for long is one of few in any window
            copies[:] = dense.mean() > 0.8 and new.sum() >= LEAST_PRICES
        edges = np.zeros(len(dense) + 1, dtype=np.int64)
        np.add.at(edges, starts[copies], 1)
        np.add.at(edges, starts[copies] + length, -1)
        found[place] = np.cumsum(edges)[:-1] > 0
        return np.where(found, known, 0)
