"""Weights carried out by a plain loop over candles: what an account is worth, written without bknb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scenarios import MINUTE


def drawn_weight(seed: int) -> Callable[[Any], float | None]:
    """A random weight at each minute; at some of them 0, or none."""

    def get_weight(ctx: Any) -> float | None:
        random = np.random.default_rng([seed, ctx.when_ms // MINUTE])
        kind = random.integers(0, 8)
        return None if kind == 0 else 0.0 if kind == 1 else float(random.uniform(-1, 1))

    return get_weight


class Hand:
    """Cash and units of one account, as multiples of its start; costs of each side in percent."""

    def __init__(self, *, slippage: float, fee: float) -> None:
        self.cash, self.units, self.slippage, self.fee = 1.0, 0.0, slippage, fee

    def worth(self, price: float) -> float:
        return self.cash + self.units * price

    def trade(self, units: float, price: float) -> None:
        paid = price * (1 + self.slippage / 100 * (1 if units > 0 else -1))
        self.cash -= units * paid + abs(units) * paid * self.fee / 100
        self.units += units

    def enter(self, weight: float, price: float) -> None:
        paid = price * (1 + self.slippage / 100 * (1 if weight > 0 else -1))
        self.trade(weight * self.cash / paid, price)

    def wanted(self, weight: float, last: float, tolerance: float) -> tuple[str, float] | None:
        """What has to be ordered for a weight, where the last close is known."""
        if self.units == 0:
            return ("turn", weight) if weight else None
        if weight * self.units <= 0:
            return ("turn", weight)
        now = self.units * last / self.worth(last)
        if abs(weight - now) * 100 <= tolerance or abs(weight / now - 1) <= 1e-9:
            return None
        return ("change", self.units * (weight / now - 1))


def equity_by_hand(
    rows: Sequence[Sequence[float]],
    weight_at: Callable[[int], float | None],
    *,
    start: int,
    end: int,
    slot: int,
    tolerance: float = 0.0,
    slippage: float = 0.0,
    fee: float = 0.0,
) -> tuple[list[int], list[float]]:
    """Closes (UTC ms) of minutes that all trade, and the equity at each, as a multiple of the start.

    At each moment that begins a slot the weight is compared with what is held, both at the last close. What has to
    change fills at the open of the next minute, an entry with its part of the equity then.
    """
    hand, asked, order = Hand(slippage=slippage, fee=fee), -1, None
    known = {int(row[0]): row for row in rows}
    last = known[start - MINUTE][4]
    moments, worth = [], []
    for when in range(start, end + 1, MINUTE):
        order = ("turn", 0.0) if when == end else None
        if when // slot != asked and when < end:
            asked, weight = when // slot, weight_at(when)
            order = None if weight is None else hand.wanted(weight, last, tolerance)
        row = known[when]
        if order is not None and order[0] == "change":
            hand.trade(order[1], row[1])
        elif order is not None:
            hand.trade(-hand.units, row[1])
            hand.enter(order[1], row[1])
        if when < end:
            last = row[4]
            moments.append(when + MINUTE)
            worth.append(hand.worth(last))
    return moments, [*worth[:-1], hand.worth(last)]


class WeightsHand:
    """Cash and units of several symbols; what was ordered and not filled waits for the next bar that trades."""

    def __init__(self, symbols: Sequence[str], *, slippage: float, fee: float, tolerance: float) -> None:
        self.cash, self.units = 1.0, dict.fromkeys(symbols, 0.0)
        self.slippage, self.fee, self.tolerance = slippage / 100, fee / 100, tolerance / 100
        self.waits: dict[str, list[tuple[str, float, float]]] = {symbol: [] for symbol in symbols}
        self.fills: list[tuple[int, str, str, float]] = []

    def worth(self, prices: Mapping[str, float]) -> float:
        return self.cash + sum(units * prices[symbol] for symbol, units in self.units.items())

    def want(self, symbol: str, weight: float, equity: float, mark: float) -> None:
        """Order what leads to a weight, an entry in money, all else in units; what opens is replaced."""
        waits, units = self.waits[symbol], self.units[symbol]
        entry = next((order for order in waits if order[0] == "entry"), None)
        if entry is not None and weight * entry[2] > 0 and abs(weight - entry[2]) <= max(self.tolerance, 1e-9):
            return
        self.waits[symbol] = waits = [order for order in waits if order[0] in ("exit", "reduce")]
        leaves = any(order[0] == "exit" for order in waits)
        if entry is not None or leaves or units == 0.0 or weight * units <= 0:
            if units and not leaves:
                waits.append(("exit", 0.0, 0.0))
            if weight:
                waits.append(("entry", weight * equity, weight))
            return
        units += sum(order[1] for order in waits)
        now = units * mark / equity
        if abs(weight - now) > self.tolerance and abs(weight / now - 1) > 1e-9:
            more = weight * equity / mark - units
            waits.append(("add" if more * units > 0 else "reduce", more, 0.0))

    def open_at(self, minute: int, prices: Mapping[str, float]) -> None:
        """Fill what waits for these symbols at their opens: first what leaves, then what is bought."""
        for leaves in (True, False):
            for symbol, price in prices.items():
                for order in list(self.waits[symbol]):
                    if (order[0] in ("exit", "reduce")) is leaves:
                        self.waits[symbol].remove(order)
                        self._fill(minute, symbol, order, price)

    def _fill(self, minute: int, symbol: str, order: tuple[str, float, float], price: float) -> None:
        kind, amount, _ = order
        if kind == "entry":
            units = amount / (price * (1 + self.slippage * (1 if amount > 0 else -1)))
        else:
            units = -self.units[symbol] if kind == "exit" else amount
        paid = price * (1 + self.slippage * (1 if units > 0 else -1))
        self.cash -= units * paid + abs(units) * paid * self.fee
        self.units[symbol] = 0.0 if kind == "exit" else self.units[symbol] + units
        self.fills.append((minute, symbol, kind, abs(units)))
