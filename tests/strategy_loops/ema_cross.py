"""EMA cross, always in the market: long above, short below, asked every four hours over bars of an hour.

A loop over bars, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .formulas import ema
from .market import HOUR, Account, Bar, Terms, Told, longer


def loop(bars: Sequence[Bar], terms: Terms) -> Told:
    """Fills and money; ``bars`` are hours, from long before the start and beyond its end."""
    quarters = longer(bars, 4 * HOUR)
    closes = [bar.close for bar in quarters]
    fast, slow = ema(closes, 20), ema(closes, 50)
    side_at = {
        bar.t + 4 * HOUR: 1 if up > down else -1
        for bar, up, down in zip(quarters, fast, slow, strict=True)
        if not math.isnan(down)
    }
    account, before = Account(terms, terms.capital), bars[0]
    for bar in bars:
        if bar.t == terms.end:
            account.take(bar.t, -account.units, bar.open)
            break
        if bar.t >= terms.start and bar.t in side_at:
            side = side_at[bar.t]
            if account.units * side <= 0:
                enter(account, side, before.close, bar)
        before = bar
    return Told(account.fills, account.cash)


def enter(account: Account, side: int, last: float, bar: Bar) -> None:
    """Turn round at an open: sized by what the account is worth at the last close, and no more than there is then."""
    money = account.worth(last)
    if account.units:
        leaving = account.paid(last, -1 if account.units > 0 else 1)
        money = account.cash + account.units * leaving - abs(account.units) * leaving * account.terms.taker / 100
        account.take(bar.t, -account.units, bar.open)
    money = min(money, account.cash)
    account.take(bar.t, side * money / account.paid(bar.open, side), bar.open)
