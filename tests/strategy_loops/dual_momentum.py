"""Dual momentum: each month the best three of ten, where they rose over a year: over days.

A loop over days, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from .market import Bar, Fill, Terms, Told

TOLERANCE, YEAR = 0.5, 252  # percent of the equity; days


def loop(funds: Mapping[str, Sequence[Bar]], terms: Terms) -> Told:  # noqa: C901 -- one loop, from top to bottom
    """Fills and money; ``funds`` are days of each, all of the same days, from a year before the start on."""
    names = list(funds)
    days = funds[names[0]]
    cash, held, fills = terms.capital, dict.fromkeys(names, 0.0), list[Fill]()

    def fill(i: int, name: str, units: float, reserved: float = 0.0) -> None:
        nonlocal cash
        price = funds[name][i].open
        paid = price * (1 + (1 if units > 0 else -1) * terms.slippage / 100)
        if units > 0:
            units = min(units, (cash - reserved) / (paid * (1 + terms.taker / 100)))
        cash -= units * paid + abs(units) * paid * terms.taker / 100
        held[name] += units
        fills.append(Fill(days[i].t, units, price))

    for i, day in enumerate(days):
        if day.t >= terms.end:
            for name in names:
                if held[name]:
                    fill(i, name, -held[name])
            break
        if day.t < terms.start or month(day.t) == month(days[i - 1].t):
            continue
        last = {name: funds[name][i - 1].close for name in names}
        worth = cash + sum(held[name] * last[name] for name in names)
        risen = {name: last[name] / funds[name][i - 1 - YEAR].close - 1 for name in names}
        best = [name for name in sorted(names, key=risen.__getitem__)[-3:] if risen[name] > 0]
        smaller, larger, free = {}, {}, cash
        for name in names:
            wanted = worth / 3 if name in best else 0.0
            change = wanted - held[name] * last[name]
            if not wanted and held[name]:
                smaller[name] = -held[name]
            elif wanted and abs(change) > worth * TOLERANCE / 100:
                (larger if change > 0 else smaller)[name] = change / last[name]
        for name, units in smaller.items():
            free -= units * last[name] * (1 - terms.slippage / 100) * (1 - terms.taker / 100)
        needs = {
            name: units * last[name] * (1 + terms.taker / 100) * (1 + terms.slippage / 100 if held[name] else 1)
            for name, units in larger.items()
        }
        factor = min(1.0, free / sum(needs.values())) if needs else 1.0
        for name, units in smaller.items():
            fill(i, name, units)
        reserved = sum(needs.values()) * factor
        for name, units in larger.items():
            reserved -= needs[name] * factor
            money, paid = units * last[name] * factor, funds[name][i].open * (1 + terms.slippage / 100)
            fill(i, name, units * factor if held[name] else money / paid, reserved)
    return Told(fills, cash)


def month(t: int) -> int:
    return datetime.fromtimestamp(t / 1000, UTC).month
