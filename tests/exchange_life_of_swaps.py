"""A position with a stop and a ladder of targets at a local exchange for swaps, killed at its n-th moment."""

from __future__ import annotations

import asyncio
from typing import Any

from exchange_life import DUST, PRICE, ExchangeLife, Exposure
from msgspec.structs import replace
from order_events import candle, closed, managed, opened, part, reduced

from bknb.brokers import CcxtBroker
from bknb.domain.account_ledger import own_purpose
from bknb.domain.broker_orders_and_ids import closed_beyond
from bknb.domain.declared_exits import Target

LADDER = (Target(104.0, 0.25), Target(106.0, 0.25), Target(110.0))
MOVED = (Target(107.0, 0.25), Target(110.0))


def laddered(*left: Target, orders: Any = (), stop: float = 90.0) -> Any:
    state = managed(*orders)
    return replace(state, book=replace(state.book, targets=left, stop=stop))


STEPS: tuple[tuple[float, Any, Any], ...] = (
    (PRICE, opened(), laddered(*LADDER)),
    (104.5, reduced(1, 0.25, price=104.5, reason="take_profit"), laddered(*LADDER[1:])),
    (PRICE, None, laddered(*MOVED, stop=95.0)),
    (PRICE, None, laddered(*MOVED, orders=[part(2, 0.1)], stop=95.0)),
    (PRICE, reduced(2, 0.1, price=PRICE), laddered(*MOVED, stop=95.0)),
    (106.9, reduced(3, 0.25, price=107.0, reason="take_profit"), laddered(MOVED[1], stop=95.0)),
    (110.5, closed(price_close=110.5), None),
)
"""The price that comes, an event, and the state behind it.

A level that is filled there, a stop and a ladder that move, a part, a level that the record takes first, and the last
target, which closes the position there.
"""


class SwapLife(ExchangeLife):
    """Such a life; when it is killed, another process does the step anew."""

    async def step(self, event: Any, state: Any) -> None:
        self.desk.saw(candle(30, self.price))
        assert await self.desk.settle(20.0)
        await super().step(event, state)

    async def play(self) -> None:
        self.price = PRICE
        await self.through(self.desk.start(when=0))
        for price, event, state in STEPS:
            self.price = price
            self.exchange.price("BTCUSDT", price)
            await self.through(self.step(event, state), event, state)
            self.look(over=state is None)
        await self.desk.close(0.0)

    def look(self, *, over: bool) -> None:
        """The account holds what the record says, a stop rests for all of it, and targets for no more."""
        book = self.exchange.state()["usdm"]
        held = sum(float(each["quantity"]) for each in book["positions"].values())
        assert abs(held - self.desk.position()) < DUST, (held, self.desk.position())
        rest = {"protect": 0.0, "target": 0.0}
        for each in book["orders"]:
            if each["status"] == "waiting":
                rest[str(own_purpose(each["client_id"]))] += float(each["quantity"])
        assert abs(rest["protect"] - held) < DUST, (rest, held)
        assert over or abs(rest["target"] - held) < DUST, (rest, held)
        assert not over or (held, rest["target"]) == (0.0, 0.0)
        assert not any(closed_beyond(orders) for orders in self.desk._signals.values())


def exposures_of_swap(lines: list[dict[str, Any]], pauses: list[tuple[int, float]]) -> list[Exposure]:
    """When more was held than stops rest for, by the journal of the exchange, with the pauses made meanwhile."""
    orders: dict[int, dict[str, Any]] = {}
    found: list[Exposure] = []
    since, requests = None, 0
    for line in lines:
        requests += line["event"] == "request"
        if line["event"] not in ("order", "fill"):
            continue
        orders[line["number"]] = line
        held = sum(float(each["filled"]) * (1 if each["side"] == "buy" else -1) for each in orders.values())
        stops = (each for each in orders.values() if own_purpose(str(each["client_id"])) == "protect")
        rest = sum(float(each["quantity"]) for each in stops if each["status"] == "waiting" and each["trigger"])
        assert held > -DUST, f"the position was on the other side: {held}"
        if held - rest > DUST and since is None:
            since, requests = line["at"], 0
        elif held - rest <= DUST and since is not None:
            paused = sum(seconds for at, seconds in pauses if since <= at <= line["at"])
            found.append(Exposure((line["at"] - since) / 1000 + paused, requests))
            since = None
    assert since is None, "something is held without a stop at the end"
    return found


def live(exchange: Any, broker: CcxtBroker, *, at: int) -> tuple[list[str], list[Exposure]]:
    """A life that is killed at its n-th moment (0: never), and goes on: its moments, and when no stop rested."""
    exchange.reset()
    exchange.price("BTCUSDT", PRICE)
    began, life = len(exchange.lines()), SwapLife(exchange, broker, at=at)

    async def whole() -> None:
        with life.store:
            await life.play()

    asyncio.run(whole())
    orders = exchange.state()["usdm"]["orders"]
    assert [order for order in orders if order["status"] in ("waiting", "working")] == []
    names = [order["client_id"] for order in orders if order["client_id"].startswith("bk") and not order["parent"]]
    assert len(names) == len(set(names)), "an order was sent twice"
    parts = sum(own_purpose(name) == "reduce" for name in names)
    assert parts in (0, 2), "a part that its target has sold was sold again"  # none where the entry never left
    return life.moments.names, exposures_of_swap(exchange.lines()[began:], life.pauses)
