"""A turn of the RSI of 15 minutes in the trend of four hours, stop and target by the range: over minutes.

A loop over minutes, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Sequence

from .formulas import atr, ema, rsi
from .market import HOUR, MINUTE, Account, Bar, Terms, Told, average_price, longer

QUARTER = 15 * MINUTE


def loop(bars: Sequence[Bar], quarters: Sequence[Bar], terms: Terms) -> Told:
    """Fills and money; ``bars`` are minutes, ``quarters`` those of 15 minutes from a year before the start."""
    fours = longer(quarters, 4 * HOUR)
    trends = dict(zip((bar.t + 4 * HOUR for bar in fours), ema([bar.close for bar in fours], 200), strict=True))
    closes = [bar.close for bar in quarters]
    strengths = rsi(closes, 14)
    ranges = atr([bar.high for bar in quarters], [bar.low for bar in quarters], closes, 14)
    place = {bar.t + QUARTER: i for i, bar in enumerate(quarters)}
    account, asked, stop, target = Account(terms, terms.capital), -1, 0.0, 0.0
    for i, bar in enumerate(bars):
        if bar.t < terms.start:
            continue
        if bar.t >= terms.end:
            if account.units:
                account.take(bar.t, -account.units, bar.open)
            break
        slot = bar.t // QUARTER * QUARTER
        if not account.units and slot > asked:
            asked, price = slot, average_price(bars[i - 5 : i])
            newest = place[slot]
            if price > trends[slot // (4 * HOUR) * (4 * HOUR)] and strengths[newest - 1] < 30 <= strengths[newest]:
                stop, target = price - 2 * ranges[newest], price + 3 * ranges[newest]
                if pays(price, target, terms):
                    account.take(bar.t, account.cash / account.paid(bar.open, 1), bar.open)
        if account.units:
            account.leaves(bar, stop, target)
    return Told(account.fills, account.cash)


def pays(price: float, target: float, terms: Terms) -> bool:
    """Whether a target pays for two fees and two slippages."""
    return (target / price - 1) * 100 > 2 * (terms.taker + terms.slippage)
