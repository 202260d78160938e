"""Sleeping by the clock of a live run."""

from __future__ import annotations

import asyncio

from ..ports import Clock
from .failures import Failures


async def sleep_until(clock: Clock, when: int, failures: Failures) -> None:
    """Sleep until ``when`` (UTC ms) by a clock; where that raises, it is told, and as many seconds pass instead."""
    seconds = (when - clock.now()) / 1000
    try:
        await clock.sleep_until(when)
    except Exception as error:  # noqa: BLE001 -- whatever a clock raises: asked again at once it would raise the same
        failures.tell("lag", error, None)
        await asyncio.sleep(max(seconds, 0.1))
