"""Orders are saved before they are sent, and saved again where that fails; old ones are forgotten."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from desk_life import ENTRY, Exchange, Life, closing, lives
from order_events import closed, leaving, opened

from bknb.errors import StateError
from bknb.live.saved_orders import MAX_FINISHED_SIGNALS, read_orders
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.testing.faults import FaultyDisk


# Saving
def saved_in(store):
    return {order.client_id: order.status for order in read_orders(store, "sma", "BTCUSDT")}


def test_every_order_is_saved_before_it_is_sent():
    store = MemoryStore()
    seen = []

    class Watching(Exchange):
        async def place(self, order):
            saved = saved_in(store)
            seen.append((order.client_id, saved[order.client_id]))
            return await super().place(order)

    life = Life(store=store, broker=Watching())

    async def play():
        life.desk.follow(opened())
        assert saved_in(store) == {ENTRY: "intended"}  # when follow() is back, and before anything was sent
        assert seen == []
        await life.receive(closed())

    life.live(play)
    # the position was over before the worker had its turn, so nothing was sent at all
    assert seen == []
    life = lives(opened(), closed(), store=store, broker=Watching())
    assert seen == []  # received twice
    store.sealed.clear()
    lives(opened(), closed(), store=store, broker=Watching())
    assert seen == [(ENTRY, "sent"), (closing(), "sent")]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("bad", range(1, 8))
def test_what_cannot_be_saved_is_saved_again(tmp_path, bad):
    disk = FaultyDisk(at=bad, fault=FULL, only=("replace",))
    life = lives(opened(), closed(), store=FileStore(tmp_path, disk=disk))
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.received == {ENTRY: 1, closing(): 1}
    assert life.broker.position("BTCUSDT") == 0.0
    assert "state" in [kind for kind, _ in life.told]


@pytest.mark.parametrize("bad", range(1, 8))
def test_what_cannot_be_saved_is_not_sent_until_it_can(tmp_path, bad):
    disk = FaultyDisk(at=bad, fault=FULL, only=("replace",), lasting=True)
    life = Life(store=FileStore(tmp_path, disk=disk))

    async def play():
        for event in (opened(), closed()):
            life.desk.follow(event)
            await life.desk.settle(0.02)
        # the order that could not be saved was not sent
        assert len(life.broker.orders) == (bad > 2) + (bad > 6)
        saved = saved_in(life.store)
        assert len(saved) == (bad > 1) + (bad > 5)
        disk.at = None
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert all(number == 1 for number in life.received.values())
    assert sum(kind == "state" for kind, _ in life.told) <= 4  # of hundreds of tries


def test_a_saved_order_that_is_damaged_stops_the_start():
    store = MemoryStore()
    lives(opened(), store=store)

    async def start():
        with store:
            await Life(store=store).desk.start(when=0)

    store.sealed[("order", ("sma", "BTCUSDT"))] = b"{}"
    with pytest.raises(StateError, match="sma/BTCUSDT"):
        asyncio.run(start())
    store.aside.clear()
    with store:
        store.write("order", ("sma", "BTCUSDT"), b'[{"status":"burning"}]')
    with pytest.raises(StateError, match="look at your exchange, then delete order/sma/BTCUSDT"):
        asyncio.run(start())


class Counting(MemoryStore):
    """Counts what is written."""

    writes = 0

    def write(self, kind, key, payload):
        self.writes += 1
        super().write(kind, key, payload)


def test_all_orders_of_one_event_are_saved_by_one_write():
    """A process that ends in between would leave the closing order without the price of the record."""
    life = Life(store=Counting())

    async def play():
        await life.receive(opened())
        await life.become(leaving(ends=9))
        before = life.store.writes
        await life.receive(closed(price_close=111.0))
        assert life.store.writes == before + 1

    life.live(play)
    assert [(order.purpose, order.record_price) for order in life.desk.orders] == [("open", 100.0), ("close", 111.0)]
    assert life.desk.orders[0].exit_price == 111.0


def test_old_orders_are_forgotten_and_recent_ones_not_made_twice():
    life = Life()
    total = MAX_FINISHED_SIGNALS + 5

    async def play():
        for number in range(total):
            await life.receive(
                opened(str(number), at=number * 10), closed(str(number), at=number * 10, ended=number * 10 + 5)
            )
        recent = str(total - 1)
        before = dict(life.received)
        await life.receive(opened(recent, at=(total - 1) * 10), closed(recent, at=(total - 1) * 10))
        await life.restart()
        await life.receive(opened(recent, at=(total - 1) * 10))
        assert life.received == before

    life.live(play)
    with life.store:
        # the oldest goes with the next write
        assert len(saved_in(life.store)) <= 2 * (MAX_FINISHED_SIGNALS + 1)
    assert len(life.broker.orders) == 2 * total
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []
