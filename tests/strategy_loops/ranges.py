"""Two stop orders at the ends of a range, out by the clock: the opening range and the London breakout.

Loops over minutes, written from the words of docs/strategies.md and the pages it names. A short is a mirrored long:
its prices count with their sign turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from .market import Account, Bar, Terms, Told
from .new_york import moment, sessions

LONDON = ZoneInfo("Europe/London")


def opening_range(bars: Sequence[Bar], terms: Terms) -> Told:
    """The range of the first half hour of each session in New York, out at the close of its last minute."""
    account = Account(terms, terms.capital)
    for session in sessions(bars):
        if terms.start <= session.open < terms.end:
            breakout(account, session.bars[:30], session.bars[30:], [])
    return Told(account.fills, account.cash)


def london(bars: Sequence[Bar], terms: Terms) -> Told:
    """The range from midnight to seven in London, for orders until noon; out at four, at the open of that minute."""
    account, place = Account(terms, terms.capital), {bar.t: i for i, bar in enumerate(bars)}
    day = datetime.fromtimestamp(terms.start / 1000, UTC).date()
    while moment(day, 7, zone=LONDON) < terms.end:
        midnight, seven, noon, four = (place.get(moment(day, hour, zone=LONDON)) for hour in (0, 7, 12, 16))
        if midnight is not None and seven is not None and noon is not None and four is not None:
            before = bars[midnight:seven]
            high, low = max(bar.high for bar in before), min(bar.low for bar in before)
            if moment(day, 7, zone=LONDON) >= terms.start and (high - low) / low < 0.004:
                breakout(account, before, bars[seven:noon], bars[noon : four + 1])
        day += timedelta(days=1)
    return Told(account.fills, account.cash)


def breakout(account: Account, before: Sequence[Bar], orders: Sequence[Bar], rest: Sequence[Bar]) -> None:
    """What fills while the orders wait, and leaves at its stop, else at the open of the last bar, or at its close.

    ``rest`` are bars behind the orders, up to that at whose open a position leaves; without any it leaves at the close
    of the last bar.
    """
    high, low = max(bar.high for bar in before), min(bar.low for bar in before)
    sign, first, money = 0, True, account.cash
    for bar in orders:
        inside = False
        if not sign:
            sides = [side for side, best, level in ((1, bar.high, high), (-1, -bar.low, -low)) if best >= level]
            assert len(sides) < 2, "one minute reaches both ends: which comes first is another rule"
            for sign in sides:
                level = high if sign > 0 else low
                at_open = sign * bar.open > sign * level or (first and bar.open == level)
                price, inside = (bar.open, False) if at_open else (level, True)
                account.take(bar.t, sign * min(money, account.cash) / account.paid(price, sign), price)
        if sign and not inside and account.leaves(bar, low if sign > 0 else high):
            return
        first = False
    if not sign:
        return
    for bar in rest[:-1]:
        if account.leaves(bar, low if sign > 0 else high):
            return
    at, price = (rest[-1].t, rest[-1].open) if rest else (orders[-1].t, orders[-1].close)
    account.take(at, -account.units, price)
