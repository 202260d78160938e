"""Several markets in one account, held by weights: what has to be bought and sold, and its fills."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .market import Bar, Fill, Terms


class Legs:
    """Cash and what is held of each market; costs as the terms say, a tolerance in percent of the equity."""

    def __init__(self, count: int, terms: Terms, tolerance: float) -> None:
        self.cash, self.held, self.fills = terms.capital, [0.0] * count, list[Fill]()
        self._terms, self._tolerance = terms, tolerance

    def worth(self, prices: Sequence[float]) -> float:
        return self.cash + sum(units * price for units, price in zip(self.held, prices, strict=True))

    def fill(self, leg: int, units: float, t: int, price: float) -> None:
        paid = price * (1 + math.copysign(self._terms.slippage / 100, units))
        self.cash -= units * paid + abs(units) * paid * self._terms.taker / 100
        self.held[leg] += units
        self.fills.append(Fill(t, units, price))

    def hold(self, weights: Sequence[float], last: Sequence[float], now: Sequence[Bar]) -> None:
        """Order at the last closes, and fill at the opens of now, what is off by more than the tolerance."""
        worth, orders = self.worth(last), []
        for leg, weight in enumerate(weights):
            held = self.held[leg]
            share = held * last[leg] / worth
            if held and weight * held <= 0:
                orders.append((leg, -held))
            if weight and weight * held <= 0:
                paid = now[leg].open * (1 + math.copysign(self._terms.slippage / 100, weight))
                orders.append((leg, weight * worth / paid))
            elif weight and abs(weight - share) * 100 > self._tolerance:
                orders.append((leg, (weight - share) * worth / last[leg]))
        for leg, units in orders:
            self.fill(leg, units, now[leg].t, now[leg].open)
