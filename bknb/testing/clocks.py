"""Simulated clocks: for live runs over recorded minutes, and for weeks in seconds.

Examples
--------
>>> import asyncio
>>> clock = SimulatedClock(0)
>>> asyncio.run(clock.sleep_until(60_000))
>>> clock.now()
60000
"""

from __future__ import annotations

import asyncio
import threading

from ..market.system_clock import stopwatch


class SimulatedClock:
    """A clock that jumps to the moment that is waited for.

    Several runs may share one: it never goes back, and a run that finds that more than a minute has passed catches up.

    Parameters
    ----------
    start : int
        The moment it begins at, UTC ms.

    Examples
    --------
    >>> SimulatedClock(1_641_038_400_000).now()
    1641038400000
    """

    def __init__(self, start: int) -> None:
        self._now = start
        self._mutex = threading.Lock()

    def now(self) -> int:
        """The present, UTC ms."""
        return self._now

    def advance(self, when: int) -> None:
        """Advance to ``when`` (UTC ms), unless it is later already."""
        with self._mutex:
            self._now = max(self._now, when)

    async def sleep_until(self, when: int) -> None:
        """Advance to ``when`` (UTC ms) after the other tasks of the loop had a turn."""
        await asyncio.sleep(0)
        self.advance(when)


class AcceleratedClock:
    """A clock that runs many times as fast as real time.

    Parameters
    ----------
    start : int
        The moment it begins at, UTC ms.
    speed : float
        How many of its seconds pass in a second.

    Examples
    --------
    >>> clock = AcceleratedClock(0, speed=3_600)
    >>> clock.now() >= 0
    True
    """

    def __init__(self, start: int, *, speed: float) -> None:
        self.speed = speed
        self._start = start
        self._began = stopwatch()

    def now(self) -> int:
        """The present, UTC ms."""
        return self._start + int((stopwatch() - self._began) * 1000 * self.speed)

    async def sleep_until(self, when: int) -> None:
        """Return at ``when`` (UTC ms) or a little later."""
        while (left := when - self.now()) > 0:  # noqa: ASYNC110 -- an event loop may wake a little early
            await asyncio.sleep(left / 1000 / self.speed)
