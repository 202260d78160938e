"""Pauses before something is tried again at a broker, or before its answer counts: the more in a row, the longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
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
        self._seconds: dict[SignalKey, float] = {}  # of the pauses that go on

    def in_a_row(self, key: SignalKey) -> int:
        """How many pauses were made in a row for a signal."""
        return self._in_a_row.get(key, 0)

    def begin(self, key: SignalKey) -> int:
        """Have a signal wait; returns which of its pauses in a row this is."""
        self._stop(key)
        self._in_a_row[key] = pauses = self.in_a_row(key) + 1
        self.waiting.add(key)
        self._seconds[key] = seconds = pause_seconds(pauses - 1)
        self._tasks[key] = asyncio.create_task(self._pause(seconds))
        return pauses

    def forget(self, key: SignalKey) -> None:
        """Have the next pause of a signal be a first one."""
        self._in_a_row.pop(key, None)

    def end(self, key: SignalKey) -> None:
        """Have a signal wait no longer: something new is known of it."""
        self._stop(key)
        self.forget(key)

    async def over(self, wake: asyncio.Event) -> dict[SignalKey, float]:
        """Wait until a pause is over, or something has happened; the signals whose pause is over wait no longer.

        Returns
        -------
        dict
            The pauses that are over, in seconds, by signal.
        """
        woken = asyncio.create_task(_woken(wake))
        try:
            await asyncio.wait({*self._tasks.values(), woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        over = {key: self._seconds[key] for key, task in self._tasks.items() if task.done()}
        for key in over:
            self._stop(key)
        return over

    async def close(self) -> None:
        """End the pauses that go on."""
        tasks = set(self._tasks.values())
        for key in list(self._tasks):
            self._stop(key)
        if tasks:
            await asyncio.wait(tasks)

    def _stop(self, key: SignalKey) -> None:
        self.waiting.discard(key)
        self._seconds.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def _pause(self, seconds: float) -> None:
        await self._sleep(seconds)


async def _woken(wake: asyncio.Event) -> None:
    await wake.wait()


class UnknownAnswers:
    """How often a broker has answered about each order that it has no such order, with growing pauses in between.

    A broker that lags behind its own orders says so several times within a second: what it answers before the next
    pause has been made is not counted.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[SignalKey, int, float]] = {}  # by client id: its signal, how often, seconds since

    def count(self, client_id: str, key: SignalKey) -> int:
        """How often it has answered so about an order of a signal, this answer included where it counts."""
        _, times, waited = self._known.get(client_id, (key, 0, 0.0))
        if times == 0 or waited >= pause_seconds(times - 1):
            times, waited = times + 1, 0.0
        self._known[client_id] = key, times, waited
        return times

    def waited(self, pauses: Mapping[SignalKey, float]) -> None:
        """Note pauses that are over, in seconds, by signal."""
        for client_id, (key, times, waited) in self._known.items():
            self._known[client_id] = key, times, waited + pauses.get(key, 0.0)

    def forget(self, client_id: str) -> None:
        """Count from the beginning: something else is known of that order."""
        self._known.pop(client_id, None)

    def forget_but(self, client_ids: Collection[str]) -> None:
        """Forget all other orders."""
        self._known = {each: known for each, known in self._known.items() if each in client_ids}
