"""The system clock; every other module gets the time as an argument."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING

from ..ports import ClockWithSpeed

if TYPE_CHECKING:
    from ..ports import Clock


def speed_of(clock: Clock) -> float:
    """How many seconds of a clock pass in a real second: its ``speed``, where it is a :class:`ClockWithSpeed`; else 1.

    Examples
    --------
    >>> speed_of(SystemClock())
    1.0
    """
    return clock.speed if isinstance(clock, ClockWithSpeed) else 1.0


class SystemClock:
    """The computer's clock, in UTC milliseconds.

    Examples
    --------
    >>> SystemClock().now() > 1_700_000_000_000
    True
    """

    def now(self) -> int:
        """The present, UTC ms."""
        return time.time_ns() // 1_000_000

    async def sleep_until(self, when: int) -> None:
        """Return at ``when`` (UTC ms) or a little later; at once when it has passed."""
        while (left := when - self.now()) > 0:  # noqa: ASYNC110 -- a clock that is set back is followed
            await asyncio.sleep(left / 1000)


@asynccontextmanager
async def limited_to(seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """``asyncio.timeout`` with a timer that keeps nothing alive; ``None`` sets no limit.

    An event loop holds on to a cancelled timer until its moment, and with it the context variables of whoever set it:
    the strategy's context, and so the candles of a run that is over.

    Raises
    ------
    TimeoutError
        When what is done in it takes longer than so many seconds.

    Examples
    --------
    >>> async def waits() -> str:
    ...     async with limited_to(60.0) as limit:
    ...         await asyncio.sleep(0)
    ...     return f"expired: {limit.expired()}"
    >>> asyncio.run(waits())
    'expired: False'
    """
    async with asyncio.timeout(None) as limit:
        if seconds is not None:
            Context().run(limit.reschedule, asyncio.get_running_loop().time() + seconds)
        yield limit


def stopwatch() -> float:
    """Seconds of a monotonic clock, for progress and timings; never for decisions."""
    return time.perf_counter()
