"""How a live run sleeps by a clock that raises."""

from __future__ import annotations

import asyncio

from bknb.live.failures import Failures
from bknb.live.reached import Reached
from bknb.live.sleeping import sleep_until
from bknb.market.clock import stopwatch
from bknb.testing.clocks import SimulatedClock


class Broken(SimulatedClock):
    async def sleep_until(self, when: int) -> None:
        raise OSError("no such timer")


def test_a_clock_that_raises_does_not_keep_its_run_busy() -> None:
    clock, began = Broken(0), stopwatch()
    asyncio.run(sleep_until(clock, 150, Failures(clock, 60_000, Reached(0))))
    assert stopwatch() - began >= 0.15
