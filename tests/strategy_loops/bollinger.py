"""Limits at both Bollinger bands, out at the middle one: asked each hour over minutes.

A loop over minutes, written from the words of docs/strategies.md and the pages it names. A short is a mirrored long:
its prices count with their sign turned.
"""

from __future__ import annotations

from collections.abc import Sequence

from .formulas import sma, stdev
from .market import HOUR, Account, Bar, Terms, Told, longer


def loop(bars: Sequence[Bar], terms: Terms) -> Told:  # noqa: C901 -- one loop, to be read from top to bottom
    """Fills and money; ``bars`` are minutes, from a day before the start and beyond its end."""
    hours = longer(bars, HOUR)
    closes = [bar.close for bar in hours]
    middles, widths = sma(closes, 20), stdev(closes, 20)
    bands = {bar.t + HOUR: (middle, 2 * width) for bar, middle, width in zip(hours, middles, widths, strict=True)}
    account = Account(terms, terms.capital)
    orders: list[tuple[int, float, float, float]] = []  # side, limit, target, stop
    asked, sign, target, stop, first, before = -1, 0, 0.0, 0.0, False, bars[0]
    for bar in bars:
        if bar.t < terms.start:
            before = bar
            continue
        if bar.t >= terms.end:
            break
        hour = bar.t // HOUR * HOUR
        middle, width = bands[hour]
        if bar.t == hour:
            orders = []  # valid for the slot
            if sign and sign * middle > sign * before.close:  # a target behind the market is not taken
                target = middle
        if not sign and not orders and hour > asked:
            asked, first = hour, True
            orders = [(1, middle - width, middle, middle - 2 * width), (-1, middle + width, middle, middle + 2 * width)]
            money = account.worth(before.close)
        left = None
        if sign:
            left = account.leaves(bar, stop, target)
        for side, limit, its_target, its_stop in orders:
            opened, worst = side * bar.open, side * (bar.low if side > 0 else bar.high)
            at_open = opened < side * limit or (first and opened == side * limit)
            if sign or not (at_open or worst < side * limit):
                continue
            price = bar.open if at_open else limit
            fill(account, bar.t, side, price, money, rested=not (at_open and first))
            sign, target, stop = side, its_target, its_stop
            left = account.leaves(bar, stop, target, inside=not at_open)
        if sign:
            orders = []
        if left:
            sign = 0
        first, before = False, bar
    if sign:
        account.take(terms.end, -account.units, next(bar for bar in bars if bar.t == terms.end).open)
    return Told(account.fills, account.cash)


def fill(account: Account, at: int, side: int, price: float, money: float, *, rested: bool) -> None:
    """Open a position of so much money, or of all that there is; what rested is a maker."""
    money = min(money, account.cash)
    if rested:
        account.make(at, side * money / price, price)
    else:
        account.take(at, side * money / account.paid(price, side), price)
