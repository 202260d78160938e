"""Sleeping by the clock of a live run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from ..domain.interval import MINUTE_MS
from ..domain.market_clock_protocol import NEVER
from ..market.system_clock import limited_to, speed_of
from ..ports import Clock
from .failures_and_retries import Failures

if TYPE_CHECKING:
    from .portfolio_clock import LiveLegTurn

SleepUntil: TypeAlias = Callable[[int], Awaitable[None]]
"""Sleeps until a moment of a clock (UTC ms)."""
_LATE_MS: Final = 1_000  # a candle that has not arrived is asked for again after this time, then after twice as long, …
_PAUSE_MS: Final = 64_000  # and so long at most; one of a day, after a part of its length


async def sleep_until(clock: Clock, when: int, failures: Failures) -> None:
    """Sleep until ``when`` (UTC ms) by a clock; where that raises, it is told, and as many seconds pass instead."""
    seconds = (when - clock.now()) / 1000
    try:
        await clock.sleep_until(when)
    except Exception as error:  # noqa: BLE001 -- whatever a clock raises: asked again at once it would raise the same
        failures.tell("lag", error, None)
        await asyncio.sleep(max(seconds, 0.1))


class Rests:
    """Pauses beside the work of runs, such as that before an order is tried again.

    They pass with the clock and never move it: one that jumps to what is waited for would pass moments that a run still
    works on. With a clock that runs they are over on time, whatever a run does meanwhile.

    Parameters
    ----------
    clock
        The clock of the runs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[asyncio.Future[None], int] = {}

    async def rest(self, seconds: float) -> None:
        """Let so many seconds of the clock pass."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends[over] = self._clock.now() + round(seconds * 1000)
        try:
            with suppress(TimeoutError):
                async with limited_to(seconds / speed_of(self._clock)):
                    await over
        finally:
            del self._ends[over]

    @property
    def next_end(self) -> int:
        """When the first of them is over, UTC ms; far in the future where there is none."""
        return min(self._ends.values(), default=NEVER)

    def moved(self) -> None:
        """The clock has moved: those that are over by now end."""
        now = self._clock.now()
        for over, end in self._ends.items():
            if end <= now and not over.done():
                over.set_result(None)


class Sleep:
    """The sleep of a run between two looks at what has come.

    Parameters
    ----------
    clock, failures
        The clock of the run, and where what it raises is told.
    step
        The length of a base bar, ms.
    turn
        The turns of a leg of a portfolio, all of which sleep together.

    Attributes
    ----------
    rests
        The pauses beside the run, or beside all legs.
    """

    def __init__(
        self, clock: Clock, failures: Failures, *, step: int = MINUTE_MS, turn: LiveLegTurn | None = None
    ) -> None:
        self._clock, self._failures, self._step, self._turn = clock, failures, step, turn
        self.rests = Rests(clock) if turn is None else turn.rests
        self._woken = asyncio.Event()
        self._tries = 0  # looks in a row for a candle that is late

    def begin_look(self) -> None:
        """Look now: who wakes the run from now on means the next sleep."""
        self._woken.clear()

    def came(self) -> None:
        """A candle came."""
        self._tries = 0

    def wake(self) -> None:
        """End the sleep now, or the next one at its beginning."""
        self._woken.set()
        if self._turn is not None:
            self._turn.wake()

    async def until(self, wake: int, *, late: bool, next_moment: int) -> None:
        """Sleep until ``wake`` (UTC ms), where a candle is ``late`` until it is asked for again, sooner when woken.

        ``next_moment`` (UTC ms) is that of what is worked on next.
        """
        if late:
            pause = min(_LATE_MS * 2 ** min(self._tries, 20), max(_PAUSE_MS, self._step // 64))
            wake = min(wake, self._clock.now() + pause)
            self._tries += 1
        if self._turn is not None:
            if not self._woken.is_set():
                await self._turn.sleep(wake, next_moment, self._sleep_until)
            return
        sleeping = asyncio.ensure_future(self._sleep_until(wake))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            woken.cancel()
            self.rests.moved()

    async def _sleep_until(self, when: int) -> None:
        await sleep_until(self._clock, when, self._failures)
