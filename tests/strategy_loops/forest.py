"""A forest that is fitted each month to what trades of two days would have made: asked each hour, over hours.

A loop over hours, written from the words of docs/strategies.md and the pages it names; the forest itself is that of the
page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .market import HOUR, Account, Bar, Terms, Told

LEARN, HOLD, SEEN = 24 * 60, 48, (3, 12, 48)


def loop(bars: Sequence[Bar], make: Callable[[], Any], terms: Terms) -> Told:
    """Fills and money; ``bars`` are hours from three months before the start on, ``make`` gives a new forest."""
    account, place = Account(terms, terms.capital), {bar.t: i for i, bar in enumerate(bars)}
    models: dict[int, Any] = {}
    stop, target, left = 0.0, 0.0, 0
    for i, bar in enumerate(bars):
        if bar.t < terms.start:
            continue
        if bar.t >= terms.end:
            if account.units:
                account.take(bar.t, -account.units, bar.open)
            break
        if account.units and left == 0:
            account.take(bar.t, -account.units, bar.open)
        if not account.units:
            month = newest_month(bar.t)
            if month not in models:
                models[month] = fitted(make(), bars[place[month] - LEARN : place[month]], terms)
            [[_, chance]] = models[month].predict_proba(np.array([row(bars, i - 1)]))
            if chance > 0.4:
                account.take(bar.t, account.cash * chance / account.paid(bar.open, 1), bar.open)
                stop, target, left = bar.open * 0.99, bar.open * 1.02, HOLD
        if account.units and not account.leaves(bar, stop, target):
            left -= 1
    return Told(account.fills, account.cash)


def newest_month(t: int) -> int:
    """The newest begin of a month that is an hour ago or longer."""
    then = datetime.fromtimestamp((t - HOUR) / 1000, UTC)
    return int(datetime(then.year, then.month, 1, tzinfo=UTC).timestamp()) * 1000


def row(bars: Sequence[Bar], i: int) -> list[float]:
    """What is known of a candle once it has closed."""
    return [*(bars[i].close / bars[i - n].close - 1 for n in SEEN), bars[i].high / bars[i].low - 1]


def fitted(forest: Any, bars: Sequence[Bar], terms: Terms) -> Any:
    """The forest, fitted to candles whose trade is over."""
    known = [(row(bars, i), made) for i in range(SEEN[-1], len(bars)) if (made := won(bars, i, terms)) is not None]
    return forest.fit(np.array([seen for seen, _ in known]), np.array([made for _, made in known]))


def won(bars: Sequence[Bar], i: int, terms: Terms) -> bool | None:
    """Whether a trade that enters behind a candle wins after costs; ``None``: the candles end before."""
    if i + 1 >= len(bars):
        return None
    price = bars[i + 1].open
    for k, bar in enumerate(bars[i + 1 :]):
        if k == HOLD:
            sold = bar.open
        elif bar.low <= price * 0.99:
            sold = min(bar.open, price * 0.99)
        elif bar.high > price * 1.02:
            sold = max(bar.open, price * 1.02)
        else:
            continue
        cost = (1 + terms.slippage / 100) * (1 + terms.taker / 100)
        return sold * (1 - terms.slippage / 100) * (1 - terms.taker / 100) > price * cost
    return None
