"""Turtles, system 1: breakouts of twenty days, up to four units half an N apart, two N of risk, out at ten days.

A loop over hours, written from the words of docs/strategies.md and the pages it names. A short is a mirrored long: its
prices count with their sign turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .formulas import atr
from .market import DAY, Account, Bar, Terms, Told, longer

RISK = 0.02


@dataclass
class Position:
    sign: int
    n: float
    percent: float | None  # its stop, in percent of what was paid, until a price takes its place
    stop: float = 0.0
    entries: list[tuple[float, float]] = field(default_factory=list)  # price and units
    add: float | None = None  # the level of the unit that waits

    def tighten(self, stop: float) -> None:
        if self.sign * stop > self.sign * self.stop:
            self.stop, self.percent = stop, None

    def paid(self) -> None:
        """Put the stop in percent where it belongs now."""
        if self.percent is not None:
            average = sum(price * units for price, units in self.entries) / sum(units for _, units in self.entries)
            self.stop = average * (1 - self.sign * self.percent / 100)


def loop(bars: Sequence[Bar], terms: Terms) -> Told:  # noqa: C901 -- one loop, to be read from top to bottom
    """Fills and money; ``bars`` are hours, from two years before the start and beyond its end."""
    days = longer(bars, DAY)
    ranges = atr([day.high for day in days], [day.low for day in days], [day.close for day in days], 20)
    place = {day.t + DAY: i + 1 for i, day in enumerate(days)}  # how many days have closed at a midnight
    account, held, before = Account(terms, terms.capital), None, bars[0]
    orders: list[tuple[int, float, float, float]] = []  # side, level, N, money
    asked, first, won, skipped, earlier = -1, False, False, True, terms.capital
    for bar in bars:
        if bar.t < terms.start:
            before = bar
            continue
        if bar.t >= terms.end:
            if held:
                account.take(bar.t, -account.units, bar.open)
            break
        midnight = bar.t // DAY * DAY
        seen = days[: place[midnight]]
        leaves = False
        if bar.t == midnight:
            orders, first = [], True
            if held:
                held.add = None
                leaves = manage(held, seen, before.close)
        if not held and not orders and midnight > asked:
            asked, first = midnight, True
            if won and not skipped:
                skipped = broke_out(seen)
            else:
                n = ranges[place[midnight] - 1]
                high, low = max(day.high for day in seen[-20:]), min(day.low for day in seen[-20:])
                worth = account.worth(before.close)
                orders = [(1, high, n, worth * RISK / (2 * n / high)), (-1, low, n, worth * RISK / (2 * n / low))]
        entered = at_open = False
        for side, level, n, money in orders:
            best = bar.high if side > 0 else bar.low
            at_open = side * bar.open > side * level or (first and bar.open == level)
            if not held and (at_open or side * best >= side * level):
                price = bar.open if at_open else level
                units = side * money / account.paid(price, side)
                account.take(bar.t, units, price)
                held, entered = Position(side, n, 200 * n / level, entries=[(price, units)]), True
                held.paid()
                break
        if held:
            orders = []
            if leaves:
                account.take(bar.t, -account.units, bar.open)
            elif at_open or not entered:  # the candle of a breakout knows no stop
                follow(account, held, bar, first=first)
            if not account.units:
                held, won, skipped, earlier = None, account.cash > earlier, False, account.cash
        first, before = False, bar
    return Told(account.fills, account.cash)


def broke_out(days: Sequence[Bar]) -> bool:
    """Whether the last day went beyond the twenty before it."""
    twenty = days[-21:-1]
    return days[-1].high > max(day.high for day in twenty) or days[-1].low < min(day.low for day in twenty)


def manage(held: Position, days: Sequence[Bar], last: float) -> bool:
    """Move the stop and order the next unit; whether the new stop is reached already."""
    ten = days[-10:]
    held.tighten(min(day.low for day in ten) if held.sign > 0 else max(day.high for day in ten))
    if len(held.entries) < 4:
        held.add = held.entries[-1][0] + held.sign * held.n / 2
    return held.sign * held.stop >= held.sign * last


def follow(account: Account, held: Position, bar: Bar, *, first: bool) -> None:
    """What a bar does to the position; the unit that waits comes before the stop."""
    sign, level = held.sign, held.add
    best = bar.high if sign > 0 else bar.low
    own = None
    if level is not None and sign * bar.open > sign * held.stop and sign * best >= sign * level:
        at_open = sign * bar.open > sign * level or (first and bar.open == level)
        price, units = bar.open if at_open else level, held.entries[0][1]
        account.take(bar.t, units, price)
        held.entries.append((price, units))
        held.add, own = None, level - sign * 2 * held.n
        if at_open:
            held.paid()
            held.tighten(own)
    if not account.leaves(bar, held.stop) and own is not None:
        held.paid()
        held.tighten(own)
