"""An order desk beside a run that is only told: what it saves, sends, tells and waits for."""

from __future__ import annotations

import asyncio

from order_events import MINUTE

from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.signal_events import Closed, Opened
from bknb.live.orders_sent_to_broker import OrderDesk
from bknb.stores.memory_store import MemoryStore

ENTRY = client_id("sma", "BTCUSDT", ("a", MINUTE), "open")


def closing(attempt=1):
    return client_id("sma", "BTCUSDT", ("a", MINUTE), "close", attempt)


class Exchange(PaperBroker):
    """Fills a market order as it comes, at the price of now, as an exchange does."""

    def __init__(self, **more):
        self.now = 101.0
        super().__init__(price_of=lambda symbol: self.now, **more)


class Life:
    """An order desk that can be restarted, with its reports and its waiting times."""

    def __init__(self, *, broker=None, store=None, quantity=2.0, **more):
        self.broker = broker or Exchange()
        self.store = store or MemoryStore()
        self.told: list[tuple[str, str]] = []
        self.slept: list[float] = []
        self.quantity = quantity
        self.more = more
        self.desk = self.made()

    def made(self):
        return OrderDesk(
            broker=self.broker,
            store=self.store,
            strategy="sma",
            symbol="BTCUSDT",
            quantity=self.quantity,
            on_problem=lambda kind, text: self.told.append((kind, text)),
            sleep=self.sleep,
            **self.more,
        )

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def receive(self, *events):
        for event in events:
            if isinstance(event, Opened | Closed):
                self.broker.now = event.signal.price_open if isinstance(event, Opened) else event.price_close
            for each in await self.desk.work_out(None, [event]):
                self.desk.follow(each)
            assert await self.desk.settle(5.0)

    async def become(self, *states):
        for state in states:
            await self.desk.work_out(state, [])
            self.desk.follow_state(state)
            assert await self.desk.settle(5.0)

    async def restart(self, state=None, undelivered=()):
        """End as a crash does, and start again."""
        await self.desk.close(0.0)
        self.desk = self.made()
        await self.desk.start(state, when=50 * MINUTE, undelivered=undelivered)
        assert await self.desk.settle(5.0)

    def live(self, play):
        async def whole():
            with self.store:
                await self.desk.start(when=0)
                await play()
                await self.desk.close(0.0)

        asyncio.run(whole())
        return self

    @property
    def statuses(self):
        return {order.client_id: order.status for order in self.desk.orders}

    @property
    def received(self):
        return {order.client_id: order.received for order in self.broker.orders.values()}


def lives(*events, **more):
    life = Life(**more)
    return life.live(lambda: life.receive(*events))


def script(**calls):
    return Exchange(script={call: [trouble and Trouble(kind=trouble) for trouble in calls[call]] for call in calls})
