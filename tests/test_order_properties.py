"""Random trouble at the broker and random restarts: no order is sent twice, every difference is reported."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_events import MINUTE, cancelled, closed, held, opened, scheduled, waiting

from bknb.brokers.paper_broker import PaperBroker
from bknb.live.order_desk import OrderDesk
from bknb.stores.memory_store import MemoryStore

RATES = {"lost_reply": 0.12, "lost_request": 0.08, "refuse": 0.08, "partly": 0.06, "partly_cancelled": 0.08}


def story(chance: random.Random):
    """Events with what the record holds after each."""
    for number in range(1, 5):
        name, at, position = str(number), number * 100, chance.choice(["long", "short"])
        kind = chance.choice(["market", "limit", "cancelled"])
        if kind == "market":
            yield opened(name, at=at, position=position), held(name, at=at, position=position)
            yield closed(name, at=at, position=position, ended=at + 20), None
            continue
        yield scheduled(name, at=at, position=position), waiting(name, at=at, position=position)
        if kind == "cancelled":
            yield cancelled(name, at=at, position=position, ended=at + 20), None
            continue
        yield opened(name, at=at, opened=at + 5, position=position), held(name, at=at, opened=at + 5, position=position)
        yield closed(name, at=at, opened=at + 5, position=position, ended=at + 20), None


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None)
@given(st.integers(0, 2**32))
def test_no_order_is_sent_twice_and_every_difference_is_reported(seed):
    chance = random.Random(seed)  # noqa: S311 -- a life that can be repeated
    broker = PaperBroker(rates=RATES, seed=seed)
    store = MemoryStore()
    told: list[str] = []

    async def sleep(seconds):
        await asyncio.sleep(0)
        # time passes: what a broker has begun to fill it fills or gives up in the end
        for order in list(broker.orders.values()):
            if order.status == "partly_filled" and order.price is None:
                broker.fill(order.client_id)

    def desk():
        return OrderDesk(
            broker=broker,
            store=store,
            strategy="sma",
            symbol="BTCUSDT",
            quantity=2.0,
            on_problem=lambda kind, text: told.append(text),
            sleep=sleep,
        )

    with store:
        orders = asyncio.run(live(chance, broker, desk))
    assert {order.received for order in broker.orders.values()} <= {1}
    if broker.position("BTCUSDT") != 0.0:
        assert any("close them by hand" in text for text in told), told
    for order in orders:
        check(order, broker, told)


async def live(chance, broker, desk):
    """One life, with restarts somewhere on the way; returns the orders it ends with."""
    now = desk()
    await now.start(when=0)
    for event, holding in story(chance):
        if chance.random() < 0.5:
            broker.saw("BTCUSDT", low=99.0, high=101.0)
        now.follow(event)
        if chance.random() < 0.3:
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            await now.close(0.0)
            now = desk()
            await now.start(holding, when=event.when + MINUTE, undelivered=[event])
        elif chance.random() < 0.7:
            await now.settle(0.01)
    assert await now.settle(10.0)
    await now.close(0.0)
    return now.orders


def check(order, broker, told):
    """An order here is the order there, or there is none and that was reported."""
    there = broker.orders.get(order.client_id)
    if there is not None:
        assert (order.status, order.filled_quantity) == (there.status, there.filled_quantity)
        assert order.done
        return
    assert order.filled_quantity == 0.0
    assert order.status in ("lost", "rejected", "cancelled")
    if order.purpose == "open" and order.opened_at is not None:
        assert any(order.client_id in text for text in told)
