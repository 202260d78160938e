"""News of fifty shares: bought where three or more of a day are good, for three sessions.

A loop over bars of 15 minutes, written from the words of docs/strategies.md and the pages it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from .market import DAY, MINUTE, Bar, Fill, Terms, Told
from .new_york import sessions

PLACES, PART, DELAY, QUARTER = 9, 0.10, 5 * MINUTE, 15 * MINUTE


def loop(shares: Mapping[str, Sequence[Bar]], news: Sequence[tuple[int, str, float]], terms: Terms) -> Told:
    """Fills and money; ``news`` are the moment of publication (UTC ms), share and score of each."""
    days = {name: sessions(bars) for name, bars in shares.items()}
    calendar = next(iter(days.values()))
    rows: dict[str, list[tuple[int, float]]] = {name: [] for name in shares}
    asked: dict[int, set[str]] = {}  # who is asked about at the first bar behind a moment at which the market trades
    for published, name, score in news:
        rows[name].append((published, score))
        known = published + DELAY
        if any(session.open <= known <= session.close for session in calendar):
            asked.setdefault(-(-known // QUARTER) * QUARTER, set()).add(name)
    bars = {name: {bar.t: bar for day in each for bar in day.bars} for name, each in days.items()}
    cash, fills = terms.capital, list[Fill]()
    held: dict[str, Any] = {}  # units and the moment from which on it leaves
    last: dict[str, float] = {}
    for k, session in enumerate(calendar):
        for t in range(session.open, session.close, QUARTER):
            if t >= terms.end:
                break
            now = {name: each[t] for name, each in bars.items()}
            leaving = [name for name, (_, until) in held.items() if t >= until]
            worth = cash + sum(units * last[name] for name, (units, _) in held.items())
            bought = []
            for name in shares:
                if t < terms.start or name not in asked.get(t, ()) or (name in held and name not in leaving):
                    continue
                scores = [score for published, score in rows[name] if t - DAY < published <= t - DELAY]
                if len(scores) >= 3 and fmean(scores) > 0.4 and len(held) + len(bought) < PLACES:
                    bought.append(name)
            for name in leaving:
                cash += sell(fills, t, held.pop(name)[0], now[name].open, terms)
            for name in bought:
                price = now[name].open
                units = worth * PART / (price * (1 + terms.slippage / 100))
                cash -= units * price * (1 + terms.slippage / 100) * (1 + terms.taker / 100)
                fills.append(Fill(t, units, price))
                held[name] = units, calendar[k + 2].close if k + 2 < len(calendar) else terms.end
            last = {name: bar.close for name, bar in now.items()}
    for name, (units, _) in held.items():  # the data end before the frame does: at the last close
        cash += sell(fills, calendar[-1].bars[-1].t, units, last[name], terms)
    return Told(fills, cash)


def sell(fills: list[Fill], t: int, units: float, price: float, terms: Terms) -> float:
    """What comes of it, after costs."""
    fills.append(Fill(t, -units, price))
    return units * price * (1 - terms.slippage / 100) * (1 - terms.taker / 100)
