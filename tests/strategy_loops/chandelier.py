"""A chandelier exit: three ranges below the best price, moved each midnight, over hours.

A loop over hours, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Sequence

from .formulas import atr, sma
from .market import DAY, Account, Bar, Terms, Told, longer


def loop(bars: Sequence[Bar], terms: Terms) -> Told:
    """Fills and money; ``bars`` are hours, from two years before the start and beyond its end."""
    days = longer(bars, DAY)
    closes = [day.close for day in days]
    averages = dict(zip((day.t + DAY for day in days), sma(closes, 50), strict=True))
    ranges = atr([day.high for day in days], [day.low for day in days], closes, 22)
    range_at = {day.t + DAY: value for day, value in zip(days, ranges, strict=True)}
    account, asked, stop, best, before = Account(terms, terms.capital), -1, 0.0, 0.0, bars[0]
    for bar in bars:
        if bar.t < terms.start:
            before = bar
            continue
        if bar.t >= terms.end:
            if account.units:
                account.take(bar.t, -account.units, bar.open)
            break
        midnight = bar.t // DAY * DAY
        if account.units and bar.t == midnight:
            stop = max(stop, best - 3 * range_at[midnight])
            if stop >= before.close:
                account.take(bar.t, -account.units, bar.open)
        if not account.units and midnight > asked:
            asked, price = midnight, before.close
            if price > averages[midnight]:
                account.take(bar.t, account.cash / account.paid(bar.open, 1), bar.open)
                stop, best = price - 3 * range_at[midnight], bar.open
        if account.units and not account.leaves(bar, stop):
            best = max(best, bar.high)
        before = bar
    return Told(account.fills, account.cash)
