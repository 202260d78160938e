"""Killed at each write of the store and each call of the broker, the ledger of an account comes to the same end."""

from __future__ import annotations

import asyncio

import pytest
from account_life import AccountLife
from msgspec.structs import replace
from order_events import closed, managed, opened, part

from bknb.brokers import Abilities, BrokerMarket, Order, PaperBroker
from bknb.stores import MemoryStore

RULES = BrokerMarket(symbol="", step=0.001, taker=0.1, fee_in="base")
GAP = Abilities(stop="market", move="gap", locks=True, watch="both", unprotected="watch")


class Killed(BaseException):
    """The process ends here."""


class Moments:
    """Counts writes and calls, and ends the process at one of them; what is dead does nothing more."""

    def __init__(self, at):
        self.at, self.number, self.ended = at, 0, asyncio.Event()

    def __call__(self):
        self.number += 1
        if self.ended.is_set() or self.number == self.at:
            self.ended.set()
            raise Killed


class Store(MemoryStore):
    def __init__(self, moments):
        super().__init__()
        self.moments = moments

    def write(self, kind, key, payload):
        self.moments()
        super().write(kind, key, payload)
        self.moments()


class Broker(PaperBroker):
    def __init__(self, moments, **more):
        super().__init__(price_of=lambda _symbol: 100.0, **more)
        self.moments = moments

    async def _on_the_way(self, trouble, what):
        self.moments()

    async def _on_the_way_back(self, trouble, what, answer):
        self.moments()
        return answer


class KilledLife(AccountLife):
    async def _settled(self):
        """Wait until everything is done, or the process has ended."""
        done = asyncio.ensure_future(super()._settled())
        ended = asyncio.ensure_future(self.broker.moments.ended.wait())
        await asyncio.wait({done, ended}, return_when=asyncio.FIRST_COMPLETED)
        if self.broker.moments.ended.is_set():
            done.cancel()
            raise Killed
        ended.cancel()
        return done.result()


async def lived(at):
    """One life, ended at a moment and gone on with; its ledger, and what the broker holds at the end."""
    moments = Moments(at)
    broker = Broker(moments, market="spot", rules=RULES, abilities=GAP)
    life = KilledLife(broker, store=Store(moments))
    alive = Moments(None)
    broker.moments = alive
    await broker.place(web("buy", 3.0, "web1"))
    broker.moments = moments
    states = [None, managed(), managed(), managed(part()), managed(part()), None]
    event = {1: opened(), 5: closed(price_close=100.0)}
    with life.store:
        step, again = 0, False
        while step < 7:
            state = None if step in (0, 6) else states[step]
            try:
                if again:
                    again = False
                    undelivered = [event[step]] if step in event else []
                    await life.start(states={"sma": state}, undelivered=undelivered, when=life.minute * 60_000)
                elif step == 0:
                    await life.start()
                elif step in event:
                    await life.tell(event[step])
                elif step == 2:
                    broker.moments = alive
                    for known in broker.orders.values():
                        if known.working:
                            known.cancel()
                    await broker.place(web("sell", 0.4, "web2"))
                    broker.moments = moments
                elif step == 3:
                    await life.become(state)
                await life.minutes(3)
                step += 1
            except Killed:
                moments.ended.clear()
                moments.at = None
                again = True
                await life.kill()
        manual = life.ledger.manual
        baseline = life.ledger.baseline
        working = [known.client_id for known in broker.orders.values() if known.working]
        twice = [known.client_id for known in broker.orders.values() if known.received > 1]
        await life.kill()
    return moments.number, (
        round(broker.position("BTCUSDT"), 6), working, twice, round(manual.get("BTC", 0.0), 6), baseline.get("BTC"),
        [text for text in life.texts("broker") if "does not know" in text],
        any(known.side == "buy" and known.client_id.startswith("bk") for known in broker.orders.values()),
    )  # fmt: skip


def web(side, quantity, name):
    """An order of the user, placed elsewhere."""
    known = Order(
        client_id=name, signal_id="w", decided_at=0, symbol="BTCUSDT", strategy="", exchange="", purpose="open",
        side=side, kind="market", quantity=quantity, price=None, record_price=100.0, created_at=0,
    )  # fmt: skip
    return replace(known)


def check(moments, first, step):
    expected = asyncio.run(lived(None))[1]
    assert expected == (pytest.approx(2.997, abs=1e-6), [], [], -0.4, pytest.approx(2.997), [], True)
    wrong = {}
    for at in range(first, moments + 1, step):
        _, (position, *found, has_bought) = asyncio.run(lived(at))
        least = 2.997 if has_bought else 2.597  # else it was what lay there that was sold by hand
        if found != list(expected[1:-1]) or not least - 1e-9 <= position < least + 0.002:
            wrong[at] = (position, *found)
    assert wrong == {}


def test_killed_at_each_write_and_call_nothing_of_the_baseline_is_sold_and_the_sums_are_the_same():
    moments, _ = asyncio.run(lived(None))
    assert moments > 100
    check(moments, 3, 7)


@pytest.mark.long
def test_killed_at_each_write_and_call_without_exception():
    check(asyncio.run(lived(None))[0], 1, 1)
