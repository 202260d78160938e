"""A grid as one plain loop over minutes, written from the page: what fills, when, and what it is in money.

For execution ``pessimistic``, candles that all trade, longs alone, one fee for all fills, no slippage, and more cash
than the grid can take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MINUTE = 60_000
AVERAGE_OF = 5


class Bar(NamedTuple):
    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Trade(NamedTuple):
    place: str
    opened: int
    bought: float
    closed: int
    sold: float
    reason: str
    money: float


@dataclass
class Place:
    """An order that waits, and the position it becomes; ``since`` is when it was ordered, and later when it filled."""

    name: str
    level: float
    target: float
    since: int
    rests: bool = False
    bought: float | None = None


def average(bars: Sequence[Bar]) -> float:
    """The average price of the last minutes, each at the mean of its high, low and close, weighted by volume."""
    weights = [bar.volume for bar in bars]
    typical = [(bar.high + bar.low + bar.close) / 3 for bar in bars]
    return math.fsum(map(lambda w, p: w * p, weights, typical)) / math.fsum(weights)


def grid(  # noqa: C901 -- one loop, to be read from top to bottom
    bars: Sequence[Bar], *, start: int, last: int, slot: int, step: float, levels: int, places: int, cash: float,
    fee: float,
) -> list[Trade]:  # fmt: skip
    """What a grid trades: at each question a limit order at each of so many levels below the price.

    ``fee`` is in percent of what is bought or sold, ``cash`` what each position costs.
    """
    taken: list[Place] = []
    trades: list[Trade] = []
    asked = -1

    def close(place: Place, t: int, price: float, reason: str) -> None:
        assert place.bought is not None
        quantity = cash / place.bought
        money = quantity * (price - place.bought) - quantity * (place.bought + price) * fee / 100
        trades.append(Trade(place.name, place.since, place.bought, t, price, reason, money))
        taken.remove(place)

    for i, bar in enumerate(bars):
        if not start <= bar.t <= last:
            continue
        if bar.t < last and bar.t // slot > asked and len(taken) < places:
            asked = bar.t // slot
            first = math.floor(average(bars[i - AVERAGE_OF : i]) / step) * step
            for k in range(levels):
                level = first - k * step
                name = f"{level:.10g}"
                if len(taken) < places and all(place.name != name for place in taken):
                    taken.append(Place(name, level, level + step, bar.t))
        for place in sorted(taken, key=lambda place: (place.since, place.name)):
            if bar.t >= last:
                if place.bought is not None:
                    close(place, bar.t, bar.open, "frame_end")
                continue
            entered_inside = False
            if place.bought is None:
                if bar.open < place.level or (bar.open == place.level and not place.rests):
                    place.bought, place.since = bar.open, bar.t
                elif bar.low < place.level:
                    place.bought, place.since, entered_inside = place.level, bar.t, True
                place.rests = True
            if place.bought is not None and not entered_inside:
                if bar.open > place.target:
                    close(place, bar.t, bar.open, "take_profit")
                elif bar.high > place.target:
                    close(place, bar.t, place.target, "take_profit")
    return trades
