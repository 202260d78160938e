"""A pair: the spread of two shares against its last sixty days, both legs or none: over days.

A loop over days, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

from .market import DAY, Bar, Fill, Terms, Told

DAYS, TOLERANCE = 60, 5.0


def spread_of(one: Sequence[Bar], other: Sequence[Bar]) -> tuple[float, float]:
    """The slope of the logarithms of one on those of the other, and how far the last spread is from the mean."""
    a, b = ([math.log(bar.close) for bar in bars] for bars in (one, other))
    mean_a, mean_b = fmean(a), fmean(b)
    slope = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / sum((y - mean_b) ** 2 for y in b)
    spread = [x - slope * y for x, y in zip(a, b, strict=True)]
    return slope, (spread[-1] - fmean(spread)) / pstdev(spread)


def loop(one: Sequence[Bar], other: Sequence[Bar], terms: Terms) -> Told:  # noqa: C901 -- one loop, from top to bottom
    """Fills and money; both shares have bars of the same days, from sixty before the start on."""
    cash, held, fills = terms.capital, [0.0, 0.0], list[Fill]()

    def fill(leg: int, units: float, bar: Bar) -> None:
        nonlocal cash
        paid = bar.open * (1 + (1 if units > 0 else -1) * terms.slippage / 100)
        cash -= units * paid + abs(units) * paid * terms.taker / 100
        held[leg] += units
        fills.append(Fill(bar.t, units, bar.open))

    for i, now in enumerate(zip(one, other, strict=True)):
        if now[0].t >= terms.end:
            break
        if i < DAYS or one[i - 1].t + DAY < terms.start:  # it is asked when a day has closed
            continue
        slope, z = spread_of(one[i - DAYS : i], other[i - DAYS : i])
        last = one[i - 1].close, other[i - 1].close
        worth = cash + sum(units * price for units, price in zip(held, last, strict=True))
        if 0.5 <= abs(z) <= 2:
            continue
        side = math.copysign(1, z)
        weights = (-0.5 * side, 0.5 * slope * side) if abs(z) > 2 else (0.0, 0.0)
        orders = []
        for leg, weight in enumerate(weights):
            share = held[leg] * last[leg] / worth
            paid = now[leg].open * (1 + math.copysign(1, weight) * terms.slippage / 100)
            if weight * held[leg] < 0 or (held[leg] and not weight):
                orders.append((leg, -held[leg]))
            if weight and weight * held[leg] <= 0:
                orders.append((leg, weight * worth / paid))
            elif weight and abs(weight - share) * 100 > TOLERANCE:
                orders.append((leg, (weight - share) * worth / last[leg]))
        for leg, units in orders:
            fill(leg, units, now[leg])
    for leg, bars in enumerate((one, other)):
        if held[leg]:  # the data end before the frame does: at the last close
            fill(leg, -held[leg], bars[-1]._replace(open=bars[-1].close))
    return Told(fills, cash)
