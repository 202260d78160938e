"""A grid as one plain loop over minutes, written from the page: what fills, when, and what it is in money.

For execution ``pessimistic``, candles that all trade, longs alone, and more cash than the grid can take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .market import MINUTE, Bar, Fill, Terms, Told, average_price


class Trade(NamedTuple):
    place: str
    opened: int
    bought: float
    quantity: float
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
    quantity: float = 0.0
    paid: float = 0.0


def grid(  # noqa: C901 -- one loop, to be read from top to bottom
    bars: Sequence[Bar], *, start: int, last: int, slot: int, step: float, levels: int, places: int, cash: float,
    taker: float, maker: float, slippage: float = 0.0,
) -> list[Trade]:  # fmt: skip
    """What a grid trades: at each question a limit order at each of so many levels below the price.

    ``taker``, ``maker`` and ``slippage`` are in percent of what is bought or sold, ``cash`` what each position costs;
    what rested, and a target, is a maker, and has no slippage.
    """
    taken: list[Place] = []
    trades: list[Trade] = []
    asked = -1

    def buy(place: Place, t: int, price: float, *, rested: bool) -> None:
        price_paid, fee = (price, maker) if rested else (price * (1 + slippage / 100), taker)
        place.bought, place.since, place.quantity = price, t, cash / price_paid
        place.paid = cash * (1 + fee / 100)

    def close(place: Place, t: int, price: float, reason: str) -> None:
        assert place.bought is not None
        target = reason == "take_profit"
        got = place.quantity * price * (1 if target else 1 - slippage / 100)
        money = got * (1 - (maker if target else taker) / 100) - place.paid
        trades.append(Trade(place.name, place.since, place.bought, place.quantity, t, price, reason, money))
        taken.remove(place)

    for i, bar in enumerate(bars):
        if not start <= bar.t <= last:
            continue
        if bar.t < last and bar.t // slot > asked and len(taken) < places:
            asked = bar.t // slot
            first = math.floor(average_price(bars[i - 5 : i]) / step) * step
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
                    buy(place, bar.t, bar.open, rested=place.rests)
                elif bar.low < place.level:
                    buy(place, bar.t, place.level, rested=True)
                    entered_inside = True
                place.rests = True
            if place.bought is not None and not entered_inside:
                if bar.open > place.target:
                    close(place, bar.t, bar.open, "take_profit")
                elif bar.high > place.target:
                    close(place, bar.t, place.target, "take_profit")
    return trades


def loop(bars: Sequence[Bar], terms: Terms) -> Told:
    """That of the page, ten levels 500 apart for 500 each: fills in order of time, and money."""
    assert terms.maker is not None
    trades = grid(
        bars, start=terms.start, last=terms.end, slot=15 * MINUTE, step=500.0, levels=10, places=20, cash=500,
        taker=terms.taker, maker=terms.maker, slippage=terms.slippage,
    )  # fmt: skip
    fills = [Fill(trade.opened, trade.quantity, trade.bought) for trade in trades]
    fills += [Fill(trade.closed, -trade.quantity, trade.sold) for trade in trades]
    return Told(sorted(fills), terms.capital + sum(trade.money for trade in trades))
