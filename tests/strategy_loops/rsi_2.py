"""Connors' RSI-2 over several shares: in and out at the close, decided a quarter of an hour before it.

A loop over sessions of bars of 15 minutes, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from .formulas import rsi
from .market import Bar, Fill, Terms, Told
from .new_york import sessions

PLACES, PART = 3, 0.30


def loop(shares: Mapping[str, Sequence[Bar]], terms: Terms) -> Told:
    """Fills and money; ``shares`` are bars of 15 minutes of each, from 200 sessions before the start on."""
    days = {name: sessions(bars) for name, bars in shares.items()}
    closes = {name: [day.bars[-1].close for day in each] for name, each in days.items()}
    cash, held, fills = terms.capital, dict[str, float](), list[Fill]()
    calendar = next(iter(days.values()))
    for i, session in enumerate(calendar):
        if session.open < terms.start:
            continue
        if session.close > terms.end:
            break
        last = {name: each[i].bars[-2].close for name, each in days.items()}
        seen = {name: [*closes[name][:i], last[name]] for name in days}
        leaving = [name for name in held if last[name] > fmean(seen[name][-5:])]
        worth = cash + sum(units * last[name] for name, units in held.items())
        scores = {}
        for name, values in seen.items():
            if name not in held and last[name] > fmean(values[-200:]):
                strength = rsi(values[-60:], 2)[-1]
                if strength < 10:
                    scores[name] = 100 - strength
        at = session.bars[-1].t
        for name in leaving:
            units, price = held[name], closes[name][i]
            got = price * (1 - terms.slippage / 100)
            cash += units * got * (1 - terms.taker / 100)
            fills.append(Fill(at, -units, price))
        for name in sorted(scores, key=scores.__getitem__, reverse=True)[: PLACES - len(held)]:
            price = closes[name][i]
            paid = price * (1 + terms.slippage / 100)
            units = worth * PART / paid
            cash -= units * paid * (1 + terms.taker / 100)
            held[name] = units
            fills.append(Fill(at, units, price))
        for name in leaving:
            del held[name]
    for name, units in held.items():
        at, price = terms.end, 0.0
        at, price = next((bar.t, bar.open) for bar in shares[name] if bar.t >= terms.end)
        cash += units * price * (1 - terms.slippage / 100) * (1 - terms.taker / 100)
        fills.append(Fill(at, -units, price))
    return Told(fills, cash)
