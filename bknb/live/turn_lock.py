"""Whose turn it is: the minutes of a live run and what is decided by hand change its state one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from ..domain.position_seen_by_manage import HeldPosition
from ..engine.registry import Strategy
from ..market.strategy_context import Context


class Turn:
    """A lock that the run holds while it works, and gives up while it waits for candles, answers or the next minute.

    Examples
    --------
    >>> async def run():
    ...     turn, seen = Turn(), []
    ...     async def by_hand():
    ...         async with turn:
    ...             seen.append("by hand")
    ...     async with turn:
    ...         task = asyncio.create_task(by_hand())
    ...         await asyncio.sleep(0)
    ...         seen.append("minute")
    ...         async with turn.given_up():
    ...             await task
    ...     return seen
    >>> asyncio.run(run())
    ['minute', 'by hand']
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()

    @asynccontextmanager
    async def given_up(self) -> AsyncIterator[None]:
        """Let others work meanwhile; at the end it is our turn again, also when we were cancelled."""
        self._lock.release()
        try:
            yield
        finally:
            cancelled: asyncio.CancelledError | None = None
            while True:
                try:
                    await self._lock.acquire()
                    break
                except asyncio.CancelledError as error:
                    cancelled = error
            if cancelled is not None:
                raise cancelled

    def while_asked(self, strategy: Strategy) -> Strategy:
        """The strategy, whose functions think while others may work."""
        ask, ask_manage = strategy.ask, strategy.ask_manage

        async def asked(context: Context) -> Any:
            async with self.given_up():
                return await ask(context)

        async def managed(context: Context, position: HeldPosition) -> Any:
            assert ask_manage is not None  # only then it is called  # noqa: S101
            async with self.given_up():
                return await ask_manage(context, position)

        return replace(strategy, ask=asked, ask_manage=None if ask_manage is None else managed)
