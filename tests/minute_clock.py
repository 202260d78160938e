"""A simulated clock for live runs beside which somebody pauses, such as the order desk of a broker."""

from __future__ import annotations

import asyncio

from scenarios import MINUTE

from bknb.testing.clocks import SimulatedClock

_TURNS = 12
_LATE_MS = 250  # a run wakes just after a full minute, so that no pause ends at one


class MinuteClock(SimulatedClock):
    """A clock that only the wait for a full minute moves, after everybody else had a few turns.

    Whoever pauses for seconds, as an order desk does, is woken once the clock has passed his moment: fetching candles
    takes no simulated time, however long the pauses beside it are.
    """

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self._pausing: list[tuple[int, asyncio.Future[None]]] = []

    async def sleep_until(self, when: int) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if when % MINUTE == 0:
            self.advance(when + _LATE_MS)
        elif when > self.now():
            self._pausing.append((when, asyncio.get_running_loop().create_future()))
            await self._pausing[-1][1]
        for moment, future in self._pausing:
            if moment <= self.now() and not future.done():
                future.set_result(None)
        self._pausing = [(moment, future) for moment, future in self._pausing if not future.done()]
        for _ in range(_TURNS):
            await asyncio.sleep(0)
