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
from datetime import UTC, datetime
from typing import Any

from ..domain.formatting import utc_text
from ..market.system_clock import stopwatch


def moment_ms(when: object) -> int:
    """A moment in UTC ms: a number, a text or a datetime; what has no time zone is UTC.

    Raises
    ------
    ValueError
        It is no moment.

    Examples
    --------
    >>> moment_ms("2024-01-01 00:01") - moment_ms(datetime(2024, 1, 1))
    60000
    """
    if isinstance(when, int) and not isinstance(when, bool):
        return when
    if isinstance(when, str):
        when = datetime.fromisoformat(when.strip())
    if not isinstance(when, datetime):
        raise ValueError(f"a moment is a text such as '2024-01-31 12:00', a datetime or UTC ms, got {when!r}")
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


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


class SteppedClock(SimulatedClock):
    """A clock that stands still until it is told how far to go: to look at what a live run has done, and to act.

    It goes from one awaited moment to the next, ends of pauses included: what is tried again after a second is tried
    after a second of it.

    Parameters
    ----------
    start : int, str or datetime
        The moment it begins at: UTC ms, or a text such as ``"2024-01-08 12:00"``; without a time zone it is UTC.

    Attributes
    ----------
    keeps_pauses : bool
        See :class:`bknb.ports.ClockWithPauses`.

    Examples
    --------
    >>> import bknb
    >>> clock = SteppedClock("2024-01-08")
    >>> task = bknb.Live.background("BTCUSDT", strategy=lambda: None, exchange="demo", interval="15m", clock=clock,
    ...     store=bknb.stores.memory())
    >>> clock.go_to("2024-01-08 00:05", task)
    >>> task.now == clock.now()
    True
    >>> task.stop()
    """

    keeps_pauses = True

    def __init__(self, start: object) -> None:
        self._until = moment_ms(start)
        super().__init__(self._until)
        self._moved = threading.Condition()
        self._waiting: dict[asyncio.Future[None], int] = {}  # until when, of each that waits

    def go_to(self, when: object, *tasks: Any, timeout: float = 600.0) -> None:
        """Go on to a moment, and return when these live runs are done with everything up to then, or over.

        Raises
        ------
        TimeoutError
            They were not within so many seconds.
        """
        until = moment_ms(when)
        with self._moved:
            self._until = max(self._until, until)
            for free, wanted in list(self._waiting.items()):
                if wanted <= self._until:
                    del self._waiting[free]
                    free.get_loop().call_soon_threadsafe(_let_go, free)
            ends = stopwatch() + timeout
            while len(self._waiting) < sum(task.status == "pending" for task in tasks):
                if stopwatch() > ends:
                    raise TimeoutError(f"after {timeout:g} s a run still works on what came before {utc_text(until)}")
                self._moved.wait(0.05)
        self.advance(until)

    async def sleep_until(self, when: int) -> None:
        """Return once it may go to ``when`` (UTC ms), which it then does."""
        await asyncio.sleep(0)
        free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._moved:
            if when > self._until:
                self._waiting[free] = when
                self._moved.notify_all()
            else:
                free.set_result(None)
        try:
            await free
        finally:
            with self._moved:
                self._waiting.pop(free, None)
        self.advance(when)


def _let_go(free: asyncio.Future[None]) -> None:
    if not free.done():
        free.set_result(None)


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
