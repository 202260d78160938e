"""Random trouble at the broker and random restarts: no order is sent twice, every difference is reported."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from order_events import cancelled, candle, closed, holding, leaving, opened, ordering, resting, scheduled

from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.lifecycle import Flat
from bknb.live.orders_sent_to_broker import OrderDesk
from bknb.stores.memory_store import MemoryStore

RATES = {"lost_reply": 0.12, "lost_request": 0.08, "refuse": 0.08, "partly": 0.06, "partly_cancelled": 0.08}


def story(chance: random.Random):
    """Events, or ``None`` for a decision that is an order, with the state after each."""
    ending = None
    for number in range(1, 5):
        name, at, position = str(number), number * 100, chance.choice(["long", "short"])
        kind = chance.choice(["market", "limit", "cancelled"])
        more = {"at": at, "position": position, "entry": "market" if kind == "market" else "limit"}
        yield None, ordering(name, **more, ending=ending)
        if ending is not None:  # leaves at the open at which the next one enters, or comes to rest
            yield closed_of(ending.signal, ended=at), ordering(name, **more)
            ending = None
        if kind != "market":
            yield scheduled(name, **more), resting(name, **more)
            if kind == "cancelled":
                yield cancelled(name, **more, ended=at + 20), Flat()
                continue
            more["opened"] = at + 5
        yield opened(name, **more), holding(name, **more)
        leaves = leaving(name, **more, ends=at + 20)
        end = chance.choice(["level", "clock", "turned round"])
        if end != "level":
            yield None, leaves
        if end == "turned round" and number < 4:
            ending = leaves
            continue
        yield closed(name, **more, ended=at + 20), Flat()


def closed_of(signal, *, ended):
    return replace(closed(ended=ended), signal=signal)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, database=None)
@given(st.integers(0, 2**32))
def test_no_order_is_sent_twice_and_every_difference_is_reported(seed):
    chance = random.Random(seed)  # noqa: S311 -- a life that can be repeated
    broker = PaperBroker(rates=RATES, seed=seed, price_of=lambda symbol: 101.0)
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
    for number, (event, state) in enumerate(story(chance), start=1):
        if chance.random() < 0.5:
            broker.saw("BTCUSDT", candle(number * 1000, 101.0, 99.0, 101.0))
        if event is not None:
            now.follow(event)
        now.follow_state(state)
        if chance.random() < 0.3:
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            await now.close(0.0)
            now = desk()
            await now.start(state, when=0, undelivered=[] if event is None else [event])
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
