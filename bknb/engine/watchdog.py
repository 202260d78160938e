"""One watchdog for a whole run: a strategy that waits too long for something is abandoned for that slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .strategy_loop import Desk


@asynccontextmanager
async def watched(desk: Desk, limit_seconds: float) -> AsyncIterator[None]:
    """Watch the questions of a desk while the block runs; costs nothing per question.

    Only a strategy that awaits can be abandoned; one that computes without end holds its thread.
    """
    guard = asyncio.create_task(_guard(desk, limit_seconds))
    try:
        yield
    finally:
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard


async def _guard(desk: Desk, limit_seconds: float) -> None:
    """Abandon a question that is still the same after the limit; looks eight times per limit."""
    seen, looks = -1, 0
    while True:
        await asyncio.sleep(limit_seconds / 8)
        if desk.thinking != seen:
            seen, looks = desk.thinking, 0
            continue
        looks += 1
        if looks >= 8 and seen % 2:  # odd: in the middle of a question
            desk.abandon()
            seen, looks = -1, 0
