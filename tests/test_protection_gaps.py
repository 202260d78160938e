"""Gaps without a stop at the broker: counted from the request that made them to the answer that ended them."""

from __future__ import annotations

import asyncio

import pytest
from desk_life import Exchange, Life
from order_events import MINUTE, closed, managed, opened
from test_protective_orders import AMENDS, LOCKS, REPLACES, SWAP, exchange, moved_to

from bknb.domain.protection_gaps import ProtectionGaps

TAKES_MS = 100  # each request


class Slow(Exchange):
    """Takes a while for each request."""

    life = None
    dies = False

    async def _takes(self):
        self.life.at += TAKES_MS

    async def place(self, order):
        await self._takes()
        if order.kind == "stop" and self.dies:
            self.died.set()
            await asyncio.Event().wait()
        return await super().place(order)

    async def cancel(self, name, symbol):
        await self._takes()
        return await super().cancel(name, symbol)

    async def amend(self, order):
        await self._takes()
        return await super().amend(order)

    async def report(self, name, symbol):
        await self._takes()
        return await super().report(name, symbol)


class Timed(Life):
    at = 2 * MINUTE

    def __init__(self, **more):
        super().__init__(now=lambda: self.at, **more)
        self.broker.life = self


@pytest.mark.parametrize(
    ("able", "moving"),
    [(LOCKS, 300), (REPLACES, 0), (AMENDS, 0), (SWAP, 0)],  # gap: cancel, read its last fill, place
    ids=["gap", "replace", "amend", "both"],
)
def test_a_gap_is_from_the_request_that_made_it_to_the_stop_that_rests(able, moving):
    life = Timed(broker=exchange(Slow, market="spot" if able.locks else "swap", abilities=able))

    async def play():
        await life.receive(opened())
        assert life.desk.gaps == ProtectionGaps(count=1, seconds=0.2, worst_seconds=0.2)  # entry and stop
        await life.become(managed(), moved_to(95.0))
        seconds = 0.2 + moving / 1000
        assert life.desk.gaps.seconds == pytest.approx(seconds)
        await life.restart(moved_to(95.0))
        assert life.desk.gaps.seconds == pytest.approx(seconds)
        await life.receive(closed())
        closing = 0.0 if able in (SWAP, REPLACES) else 0.3  # cancel, read its last fill, sell
        assert life.desk.gaps.seconds == pytest.approx(seconds + closing)
        assert life.desk.gaps.worst_seconds == pytest.approx(max(0.2, moving / 1000, closing))

    life.live(play)
    assert life.told == []


def test_what_filled_while_nothing_ran_was_without_a_stop_since_then():
    life = Timed(broker=exchange(Slow))

    async def play():
        life.broker.dies, life.broker.died = True, asyncio.Event()
        life.desk.follow(opened())
        await life.broker.died.wait()
        await life.desk.close()
        life.broker.dies = False
        life.at += 30_000
        await life.restart(managed(), undelivered=[opened()])
        assert life.desk.gaps.count == 1
        assert 30.0 < life.desk.gaps.worst_seconds < 31.0
        assert life.told == [
            ("unprotected", f"what is held of 'a' had no stop at the broker for {life.desk.gaps.worst_seconds:.1f} s")
        ]

    life.live(play)
