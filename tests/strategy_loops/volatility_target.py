"""Volatility held at 20 % a year: a weight each midnight, over hours.

A loop over hours, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import pstdev

from .market import DAY, Account, Bar, Terms, Told, longer

TOLERANCE = 2.0  # percent of the equity


def loop(bars: Sequence[Bar], terms: Terms) -> Told:
    """Fills and money; ``bars`` are hours, from a month before the start and beyond its end."""
    days = longer(bars, DAY)
    weights = {}
    for i in range(31, len(days) + 1):
        moves = [math.log(now.close / then.close) for then, now in pairwise(days[i - 31 : i])]
        weights[days[i - 1].t + DAY] = min(2.0, 0.20 / (pstdev(moves) * 365**0.5))
    account, before = Account(terms, terms.capital), bars[0]
    for bar in bars:
        if bar.t >= terms.end:
            account.take(bar.t, -account.units, bar.open)
            break
        if bar.t >= terms.start and bar.t % DAY == 0:
            wanted, worth = weights[bar.t], account.worth(before.close)
            held = account.units * before.close / worth
            if not account.units:
                account.take(bar.t, wanted * worth / account.paid(bar.open, 1), bar.open)
            elif abs(wanted - held) * 100 > TOLERANCE:
                account.take(bar.t, (wanted - held) * worth / before.close, bar.open)
        before = bar
    return Told(account.fills, account.cash)
