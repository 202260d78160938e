"""A first order and five safety orders below it, each larger, out 1 % above the average: asked each hour over minutes.

A loop over minutes, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Sequence

from .market import HOUR, Account, Bar, Terms, Told, average_price

STEPS = [0.0] + [0.015 * k for k in range(1, 6)]
VOLUMES = [1.5**k for k in range(6)]


def loop(bars: Sequence[Bar], terms: Terms) -> Told:
    """Fills and money; ``bars`` are minutes, from before the start and beyond its end."""
    account = Account(terms, terms.capital)
    asked, target = -1, 0.0
    waiting: list[tuple[float, float]] = []  # limit and units
    held: list[tuple[float, float]] = []  # price and units of each entry
    for i, bar in enumerate(bars):
        if bar.t < terms.start:
            continue
        if bar.t >= terms.end:
            if account.units:
                account.take(bar.t, -account.units, bar.open)
            break
        entered = False
        if not account.units and bar.t // HOUR > asked:
            asked, entered = bar.t // HOUR, True
            price, money = average_price(bars[i - 5 : i]), account.cash
            shares = [volume / sum(VOLUMES) for volume in VOLUMES]
            levels = [bars[i - 1].close if not step else price * (1 - step) for step in STEPS]
            whole = money / sum(share * level for share, level in zip(shares, levels, strict=True))
            unit = whole * shares[0] * levels[0] / account.paid(bar.open, 1)
            first, *others = (unit * volume for volume in VOLUMES)
            account.take(bar.t, first, bar.open)
            held, waiting = [(bar.open, first)], list(zip(levels[1:], others, strict=True))
        moved = False
        while waiting and (bar.low < waiting[0][0] or bar.open < waiting[0][0]):
            level, units = waiting.pop(0)
            price = min(level, bar.open)
            account.make(bar.t, units, price)
            held.append((price, units))
            moved = True
        paid = sum(price * units for price, units in held) / sum(units for _, units in held)
        if not moved or entered:
            target = paid * 1.01
        if account.units and bar.high > target:
            account.make(bar.t, -account.units, max(bar.open, target))
            account.units = 0.0
        target = paid * 1.01
    return Told(account.fills, account.cash)
