"""The time limit of questions to a strategy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from .strategy_loop import StrategyLoop


@asynccontextmanager
async def time_limited(loop: StrategyLoop, limit_seconds: float) -> AsyncIterator[None]:
    """A context in which questions that exceed the time limit are cancelled; it costs nothing per question.

    Only a strategy that awaits can be cancelled; one that computes without end blocks its thread.
    """
    guard = asyncio.create_task(_cancel_overdue(loop, limit_seconds))
    try:
        yield
    finally:
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard


async def _cancel_overdue(loop: StrategyLoop, limit_seconds: float) -> None:
    """Cancel a question that is still the same after the limit; looks eight times per limit."""
    seen, looks = -1, 0
    while True:
        await asyncio.sleep(limit_seconds / 8)
        if loop.thinking != seen:
            seen, looks = loop.thinking, 0
            continue
        looks += 1
        if looks >= 8 and seen % 2:  # odd: in the middle of a question
            loop.abandon()
            seen, looks = -1, 0
