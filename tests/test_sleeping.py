"""How a live run sleeps by a clock that raises."""

from __future__ import annotations

import asyncio

import pytest

from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.broker_orders_and_ids import Report
from bknb.engine.records import Records
from bknb.live.broker_account import Account
from bknb.live.failures_and_retries import Failures
from bknb.live.run_progress import Reached
from bknb.live.runtime import RUNTIME
from bknb.live.sleeping import Rests, sleep_until
from bknb.runs.live_task import plan_live
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock


class Broken(SimulatedClock):
    async def sleep_until(self, when: int) -> None:
        raise OSError("no such timer")


@pytest.mark.parametrize(("when", "seconds"), [(60_000, 60.0), (0, 0.1)])
def test_a_clock_that_raises_does_not_keep_its_run_busy(
    when: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = Broken(0)
    asyncio.run(sleep_until(clock, when, Failures(clock, 60_000, Reached(0))))
    assert slept == [seconds]


def test_a_clock_that_raises_does_not_keep_the_orders_of_its_run_busy() -> None:
    class Away(PaperBroker):
        asked = 0

        async def open_orders(self, symbol: str) -> list[Report]:
            self.asked += 1
            raise TimeoutError

    async def scene() -> tuple[int, bool]:
        clock, broker, reached = Broken(0), Away(), Reached(0)
        plan = plan_live("BTCUSDT", strategy=lambda: None, exchange="demo", clock=clock, broker=broker, quantity=1.0)
        with MemoryStore() as store:
            failures = Failures(clock, 60_000, reached)
            desk = Account(plan, store, Records(), failures, reached, Rests(clock), RUNTIME).open()
            assert desk is not None
            await desk.start(when=0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for _ in range(100):
                await asyncio.sleep(0)
            found = broker.asked, any(task.done() for task in others)
            await desk.close()
        return found

    assert asyncio.run(scene()) == (1, False)
