"""The user's function that is called with candles once they are in memory (``on_candle_data``)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from ..errors import BknbError
from .calls_in_threads import user_calls_of
from .system_clock import limited_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from .candles import Candles

_MOST_WAITING: Final = 64


class CandleListener:
    """Calls a function with candles that came into memory, one call at a time, outside of the fetching loop.

    Parameters
    ----------
    function
        Called with symbol, interval, first moment (UTC ms), count and candles; ``None``: nobody listens.
    beside
        Whether nobody waits for it: a live run goes on meanwhile.
    failed
        Called with what the function raises; ``None``: that reaches whoever loads candles.
    timeout_seconds
        How long one call may take; ``None``: as long as it takes.
    """

    def __init__(
        self,
        function: Callable[[str, str, int, int, Candles], object] | None,
        *,
        beside: bool,
        failed: Callable[[Exception], object] | None,
        timeout_seconds: float | None,
    ) -> None:
        self._function = function
        self._beside = beside
        self._failed = failed
        self._timeout_seconds = timeout_seconds
        self.holds = False  # whether it is not clear yet that a run goes over what has come
        self._pending: list[Callable[[], object]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()

    def came(self, symbol: str, interval: str, since: int, candles: Candles, *, known: Candles | None = None) -> None:
        """Note candles from ``since`` (UTC ms) on; the function is called with them once they are in memory.

        Where they end with those it was called with before, ``known``, only the others are noted.
        """
        if self._function is not None:
            if known is not None and candles[-len(known) :] == known:
                candles = candles[: -len(known)]
                if not len(candles):
                    return
            self._pending.append(partial(self._function, symbol, interval, since, len(candles), candles))

    async def notify(self) -> None:
        """Call the function with what has come."""
        if self.holds:
            return
        pending, self._pending = self._pending, []
        for call in pending:
            if not self._beside:
                await self._call(call)
            elif len(self._running) < _MOST_WAITING:
                task = asyncio.create_task(self._call(call))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            elif self._failed is not None:
                self._failed(BknbError(f"on_candle_data is not called: {_MOST_WAITING} calls have not returned"))

    async def notified(self) -> None:
        """Return when the function has been called with everything that came."""
        while self._running:
            await asyncio.wait(self._running)

    async def _call(self, call: Callable[[], object]) -> None:
        expired = False
        try:
            async with self._one_at_a_time:
                try:
                    async with limited_to(self._timeout_seconds) as limit:
                        await user_calls_of(self._function, "on_candle_data").call(call)
                finally:
                    expired = limit.expired()
        except Exception as error:
            if self._failed is None:
                raise
            text = f"on_candle_data took longer than {self._timeout_seconds:g} s" if expired else ""
            self._failed(TimeoutError(text) if expired else error)
