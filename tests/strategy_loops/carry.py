"""Carry: long spot and short the perpetual while its funding is high, both or none: over hours.

A loop over hours, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from .legs import Legs
from .market import HOUR, Bar, Terms, Told

TOLERANCE, ROWS, A_YEAR = 2.0, 21, 3 * 365


def loop(bars: Sequence[Bar], rates: Sequence[tuple[int, float]], terms: Terms) -> Told:
    """Fills and money; ``bars`` are hours of both markets, ``rates`` when a rate was published (UTC ms) and charged."""
    legs, before, due = Legs(2, terms, TOLERANCE), bars[0], dict(rates)
    for bar in bars:
        if bar.t < terms.start:
            before = bar
            continue
        if bar.t in due:  # a short receives what is above 0, of its value at the last close
            legs.cash -= due[bar.t] * legs.held[1] * before.close
        if bar.t >= terms.end:
            break
        if bar.t % (8 * HOUR) == 0:
            yearly = fmean([rate for t, rate in rates if t <= bar.t][-ROWS:]) * A_YEAR
            last, now = [before.close, before.close], [bar, bar]
            if yearly > 0.10:
                legs.hold([0.5, -0.5], last, now)
            elif yearly < 0.02:
                legs.hold([0.0, 0.0], last, now)
        before = bar
    for leg, units in enumerate(legs.held):
        if units:
            legs.fill(leg, -units, bar.t, bar.open)
    return Told(legs.fills, legs.cash)
