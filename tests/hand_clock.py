"""A simulated clock for live runs in which somebody decides by hand at given moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from minute_clock import MinuteClock
from scenarios import MINUTE

from bknb.testing.clocks import SimulatedClock


class _Deciding(SimulatedClock):
    """Decisions by moment (UTC ms): what is called with the task; what it returns or raises is kept in ``answers``."""

    def __init__(self, start: int, decisions: dict[int, Callable[[Any], object]]) -> None:
        super().__init__(start)
        self.task: Any = None
        self.answers: list[str] = []
        self._left = dict(sorted(decisions.items()))

    async def sleep_until(self, when: int) -> None:
        if when % MINUTE == 0:
            await asyncio.sleep(0)
            while self._left and (moment := next(iter(self._left))) < when:
                self.advance(moment)
                decide = self._left.pop(moment)
                try:
                    self.answers.append(str(await asyncio.to_thread(decide, self.task)))
                except Exception as error:  # noqa: BLE001 -- kept as an answer
                    self.answers.append(str(error))
        await super().sleep_until(when)


class HandClock(_Deciding):
    """For a run without a broker."""


class BrokerHandClock(_Deciding, MinuteClock):
    """For a run beside which an order desk pauses."""
