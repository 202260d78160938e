"""The time limit of questions to a strategy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from .strategy_loop import StrategyLoop


@asynccontextmanager
async def time_limited(loops: Callable[[], Sequence[StrategyLoop]], limit_seconds: float) -> AsyncIterator[None]:
    """A context in which questions that exceed the time limit are cancelled; it costs nothing per question.

    ``loops`` returns those in which a question may be asked, one at a time. Only a strategy that awaits can be
    cancelled; one that computes without end blocks its thread.
    """
    guard = asyncio.create_task(_cancel_overdue(loops, limit_seconds))
    try:
        yield
    finally:
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard


async def _cancel_overdue(loops: Callable[[], Sequence[StrategyLoop]], limit_seconds: float) -> None:
    """Cancel a question that is still the same after the limit; looks eight times per limit."""
    seen, looks = None, 0
    while True:
        await asyncio.sleep(limit_seconds / 8)
        asking = next((loop for loop in loops() if loop.thinking % 2), None)  # odd: in the middle of a question
        now = None if asking is None else (asking, asking.thinking)
        if asking is None or now != seen:
            seen, looks = now, 0
            continue
        looks += 1
        if looks >= 8:
            asking.abandon()
            seen, looks = None, 0
