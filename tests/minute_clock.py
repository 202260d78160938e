"""A simulated clock for live runs beside which somebody works, such as the order desk of a broker."""

from __future__ import annotations

import asyncio

from scenarios import MINUTE

from bknb.testing.clocks import SimulatedClock

_TURNS = 12
_LATE_MS = 250  # a run wakes just after a full minute


class MinuteClock(SimulatedClock):
    """A clock that gives everybody else a few turns before it moves, and after it."""

    async def sleep_until(self, when: int) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self.advance(when + (0 if when % MINUTE else _LATE_MS))
        for _ in range(_TURNS):
            await asyncio.sleep(0)
