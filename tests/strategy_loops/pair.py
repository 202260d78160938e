"""A pair: the spread of two shares against its last sixty days, both legs or none: over days.

A loop over days, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

from .legs import Legs
from .market import DAY, Bar, Terms, Told

DAYS, TOLERANCE = 60, 5.0


def spread_of(one: Sequence[Bar], other: Sequence[Bar]) -> tuple[float, float]:
    """The slope of the logarithms of one on those of the other, and how far the last spread is from the mean."""
    a, b = ([math.log(bar.close) for bar in bars] for bars in (one, other))
    mean_a, mean_b = fmean(a), fmean(b)
    slope = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / sum((y - mean_b) ** 2 for y in b)
    spread = [x - slope * y for x, y in zip(a, b, strict=True)]
    return slope, (spread[-1] - fmean(spread)) / pstdev(spread)


def loop(one: Sequence[Bar], other: Sequence[Bar], terms: Terms) -> Told:
    """Fills and money; both shares have bars of the same days, from sixty before the start on."""
    legs = Legs(2, terms, TOLERANCE)
    for i, now in enumerate(zip(one, other, strict=True)):
        if now[0].t >= terms.end:
            break
        if i < DAYS or one[i - 1].t + DAY < terms.start:  # it is asked when a day has closed
            continue
        slope, z = spread_of(one[i - DAYS : i], other[i - DAYS : i])
        if abs(z) > 2:
            side = math.copysign(1, z)
            weights = [-0.5 * side, 0.5 * slope * side]
        elif abs(z) < 0.5:
            weights = [0.0, 0.0]
        else:
            continue
        legs.hold(weights, [one[i - 1].close, other[i - 1].close], now)
    for leg, last in enumerate((one[-1], other[-1])):
        if legs.held[leg]:  # the data end before the frame does: at the last close
            legs.fill(leg, -legs.held[leg], last.t, last.close)
    return Told(legs.fills, legs.cash)
