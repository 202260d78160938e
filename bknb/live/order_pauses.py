"""Pauses before something is tried again at a broker: the more in a row, the longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ..domain.signal import SignalKey

LONGEST_PAUSE_SECONDS: Final = 60.0


def pause_seconds(pauses: int) -> float:
    """How long a pause is that follows on so many in a row, in seconds.

    Examples
    --------
    >>> [pause_seconds(pauses) for pauses in (0, 1, 5, 6, 100)]
    [1.0, 2.0, 32.0, 60.0, 60.0]
    """
    return min(2.0 ** min(pauses, 10), LONGEST_PAUSE_SECONDS)


class Pauses:
    """The signals whose orders wait for a next try, each for a time of its own, and how often it has in a row.

    Parameters
    ----------
    sleep
        How to wait for so many seconds.

    Attributes
    ----------
    waiting
        The signals that wait.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        self.waiting: set[SignalKey] = set()
        self._sleep = sleep
        self._in_a_row: dict[SignalKey, int] = {}
        self._tasks: dict[SignalKey, asyncio.Task[None]] = {}

    def in_a_row(self, key: SignalKey) -> int:
        """How many pauses were made in a row for a signal."""
        return self._in_a_row.get(key, 0)

    def begin(self, key: SignalKey) -> int:
        """Have a signal wait; returns which of its pauses in a row this is."""
        self._stop(key)
        self._in_a_row[key] = pauses = self.in_a_row(key) + 1
        self.waiting.add(key)
        self._tasks[key] = asyncio.create_task(self._pause(pause_seconds(pauses - 1)))
        return pauses

    def forget(self, key: SignalKey) -> None:
        """Have the next pause of a signal be a first one."""
        self._in_a_row.pop(key, None)

    def end(self, key: SignalKey) -> None:
        """Have a signal wait no longer: something new is known of it."""
        self._stop(key)
        self.forget(key)

    async def over(self, wake: asyncio.Event) -> None:
        """Wait until a pause is over, or something has happened; the signals whose pause is over wait no longer."""
        woken = asyncio.create_task(_woken(wake))
        try:
            await asyncio.wait({*self._tasks.values(), woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        for key in [key for key, task in self._tasks.items() if task.done()]:
            self._stop(key)

    async def close(self) -> None:
        """End the pauses that go on."""
        tasks = set(self._tasks.values())
        for key in list(self._tasks):
            self._stop(key)
        if tasks:
            await asyncio.wait(tasks)

    def _stop(self, key: SignalKey) -> None:
        self.waiting.discard(key)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def _pause(self, seconds: float) -> None:
        await self._sleep(seconds)


async def _woken(wake: asyncio.Event) -> None:
    await wake.wait()
