"""Several strategies that trade with one account, each told what its record does: orders, ledger, minutes, restarts."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace
from order_events import MINUTE, candle

from bknb.live.account_ledger import LedgerOfAccount
from bknb.live.orders_sent_to_broker import OrderDesk
from bknb.stores import MemoryStore


class AccountLife:
    """The runs of one process, with a store and a broker."""

    def __init__(self, broker, *, store=None, quantity=1.0, symbol="BTCUSDT"):
        self.symbol = symbol
        self.broker, self.store, self.quantity = broker, store or MemoryStore(), quantity
        self.told: list[tuple[str, str]] = []
        self.ledger = self._ledger()
        self.desks: dict[str, OrderDesk] = {}
        self.price, self.minute = 100.0, 1
        self._slept = asyncio.Event()

    def _ledger(self):
        abilities = self.broker.abilities()
        return LedgerOfAccount(self.store, abilities.account, nets=abilities.nets)

    async def start(self, *strategies, states=None, adopt=False, when=MINUTE, undelivered=()):
        for strategy in strategies or ("sma",):
            self.desks[strategy] = desk = OrderDesk(
                broker=self.broker, store=self.store, strategy=strategy, symbol=self.symbol, quantity=self.quantity,
                on_problem=lambda kind, text: self.told.append((kind, text)), sleep=self._sleep, ledger=self.ledger,
                adopt=adopt,
            )  # fmt: skip
            state = (states or {}).get(strategy)
            await desk.start(*([] if state is None else [state]), when=when, undelivered=undelivered)
        assert await self._settled()

    async def _sleep(self, _seconds):
        self._slept.set()
        await asyncio.sleep(0.0)

    async def _settled(self):
        return all([await desk.settle(20.0) for desk in self.desks.values()])

    async def kill(self):
        """End the process: nothing of it is left but the store and the broker."""
        for desk in self.desks.values():
            await desk.close(0.0)
        self.desks, self.ledger = {}, self._ledger()

    async def tell(self, *events, strategy="sma", settles=True):
        desk = self.desks[strategy]
        for event in events:
            signal = replace(event.signal, strategy=strategy, symbol=self.symbol)
            event = replace(event, strategy=strategy, symbol=self.symbol, signal=signal)  # noqa: PLW2901 -- of this life
            for each in await desk.work_out(None, [event]):
                desk.follow(each)
            assert not settles or await self._settled()

    async def until(self, is_so):
        """Go on until something is so, which an order that waits does not end."""
        self._slept = asyncio.Event()
        async with asyncio.timeout(10.0):
            while not is_so():
                await self._slept.wait()
                self._slept.clear()

    async def become(self, state, strategy="sma"):
        desk = self.desks[strategy]
        await desk.work_out(state, [])
        desk.follow_state(state)
        assert await self._settled()

    async def minutes(self, count=2):
        for _ in range(count):
            self.minute += 1
            for desk in self.desks.values():
                desk.saw(candle(self.minute, self.price))
            assert await self._settled()

    def live(self, play):
        async def whole():
            with self.store:
                try:
                    return await play()
                finally:
                    await self.kill()

        return asyncio.run(whole())

    def texts(self, kind="manual"):
        return [text for of, text in self.told if of == kind]

    def position(self, strategy="sma"):
        return self.desks[strategy].position()
