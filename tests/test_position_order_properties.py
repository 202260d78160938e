"""Random managed positions, random trouble at the broker and random restarts: each order once, nothing oversold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_events import added, candle, closed, holding, managed, opened, ordering, part, reduced, taken_back

from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.broker_orders_and_ids import Order
from bknb.domain.lifecycle import Flat
from bknb.live.orders_sent_to_broker import OrderDesk
from bknb.stores.memory_store import MemoryStore

RATES = {"lost_reply": 0.12, "lost_request": 0.08, "refuse": 0.08, "partly": 0.06, "partly_cancelled": 0.08}
Told = tuple[Any, Any]


class Story:
    """Events and states of one managed position; ``None`` for a decision that is an order."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self.chance, self.minute, self.size, self.number = chance, number * 100, 1.0, 1
        self.more = {"name": str(number), "at": number * 100, "position": chance.choice(["long", "short"])}
        self.rests: list[Any] = []

    def told(self) -> Iterator[Told]:
        """All of it."""
        yield None, ordering(**self.more)
        yield opened(**self.more), holding(**self.more)
        for _ in range(self.chance.randrange(5)):
            self.minute += 1
            yield from self.chance.choice([self.ordered, self.resting, self.level])()
        if self.chance.random() < 0.5:
            yield None, managed(ends=self.minute + 1, **self.more)
        yield closed(ended=self.minute + 1, **self.more), Flat()

    def ordered(self) -> Iterator[Told]:
        """A part, an add or both, and their fills."""
        kinds = self.chance.choice([["reduce"], ["add"], ["reduce", "add"]])
        new = [self.order(kind) for kind in kinds if kind == "add" or self.size > 0.5]
        yield None, managed(*new, *self.rests, **self.more)
        for order in new:
            self.size += order.share if order.kind == "add" else -order.share
            event = added if order.kind == "add" else reduced
            yield event(order.number, order.share, when=self.minute, **self.more), managed(*self.rests, **self.more)

    def resting(self) -> Iterator[Told]:
        """An add that rests; it fills, is taken back or goes on."""
        order = self.order("add", price_open=98.0)
        yield None, managed(*self.rests, order, **self.more)
        event = self.chance.choice([added, taken_back, None])
        if event is None:
            self.rests.append(order)
            return
        self.size += order.share if event is added else 0.0
        yield event(order.number, order.share, when=self.minute, **self.more), managed(*self.rests, **self.more)

    def level(self) -> Iterator[Told]:
        """A level of a ladder."""
        if self.size > 0.5:
            order = self.order("reduce")
            self.size -= order.share
            event = reduced(order.number, order.share, when=self.minute, reason="take_profit", **self.more)
            yield event, managed(*self.rests, **self.more)

    def order(self, kind: str, **more: Any) -> Any:
        self.number += 1
        return part(self.number, self.chance.choice([0.2, 0.5]), at=self.minute, kind=kind, **more)


class Life:
    """A desk with a broker that makes trouble, restarted now and then."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 -- a life that can be repeated
        self.broker = PaperBroker(rates=RATES, seed=seed, price_of=lambda _symbol: 101.0)
        self.store = MemoryStore()
        self.told: list[str] = []
        self.known: dict[str, Order] = {}
        self.desk = self.made()

    def made(self) -> OrderDesk:
        return OrderDesk(
            broker=self.broker, store=self.store, strategy="sma", symbol="BTCUSDT", quantity=2.0,
            on_problem=lambda _kind, text: self.told.append(text), sleep=self.sleep,
        )  # fmt: skip

    async def sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)
        for order in list(self.broker.orders.values()):
            if order.status == "partly_filled" and order.price is None:
                self.broker.fill(order.client_id)

    async def live(self) -> None:
        await self.desk.start(when=0)
        number = 0
        for position in range(1, 4):
            for event, state in Story(self.chance, position).told():
                number += 1
                if self.chance.random() < 0.5:
                    self.broker.saw("BTCUSDT", candle(number * 1000, 101.0, 97.0, 101.0))
                if event is not None:
                    self.desk.follow(event)
                self.desk.follow_state(state)
                await self.time_passes(event, state)
                self.look()
        assert await self.desk.settle(10.0)
        self.look()
        await self.desk.close(0.0)

    async def settled(self, turns: int) -> bool:
        """Whether nothing is due after so many turns of the loop: a life is the same however busy the machine is."""
        for _ in range(turns):
            if await self.desk.settle(0.0):
                return True
        return False

    async def time_passes(self, event: Any, state: Any) -> None:
        drawn = self.chance.random()
        if drawn < 0.3:
            for _ in range(self.chance.randrange(40)):
                await asyncio.sleep(0)
            await self.desk.close(0.0)
            self.desk = self.made()
            await self.desk.start(state, when=0, undelivered=[] if event is None else [event])
        elif drawn < 0.8:
            await self.settled(50)

    def look(self) -> dict[Any, float]:
        """What is held of each position at the broker; none is on the wrong side."""
        self.known.update((order.client_id, order) for order in self.desk.orders)
        held: dict[Any, float] = {}
        for order in self.known.values():
            there = self.broker.orders.get(order.client_id)
            quantity = 0.0 if there is None else there.filled_quantity
            held[order.key] = held.get(order.key, 0.0) + (-quantity if order.reduces_only else quantity)
        assert min(held.values(), default=0.0) > -1e-9, held
        return held


def check(order: Order, life: Life) -> None:
    """An order here is the order there, or there is none and that was told."""
    there = life.broker.orders.get(order.client_id)
    assert order.done
    if there is not None:
        assert (order.status, order.filled_quantity) == (there.status, there.filled_quantity)
        return
    assert order.filled_quantity == 0.0
    assert order.status in ("lost", "rejected", "cancelled")
    if order.purpose in ("open", "add") and order.opened_at is not None and order.quantity > 0.0:
        assert any(order.client_id in text for text in life.told)


@given(st.integers(0, 2**32))
def test_whatever_the_broker_does_each_order_is_sent_once_and_nobody_sells_what_is_not_held(seed: int) -> None:
    life = Life(seed)
    with life.store:
        asyncio.run(life.live())
    assert {order.received for order in life.broker.orders.values()} <= {1}
    held = life.look()
    left = {order.signal_id for order in life.known.values() if held[order.key] > 1e-9}
    assert life.broker.position("BTCUSDT") == pytest.approx(sum(held.values()), abs=1e-9)
    for signal_id in left:
        told = [text for text in life.told if repr(signal_id) in text]
        assert any("close them by hand" in text for text in told), (signal_id, life.told)
    for order in life.desk.orders:
        check(order, life)
