"""Calls on a thread of their own, as the thread of a notebook has a running loop."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")


def aside(call: Callable[[], Answer]) -> Answer:
    """What a function returns on a thread of its own, which may run a loop; raises what it raises.

    Examples
    --------
    >>> import asyncio
    >>> aside(lambda: asyncio.run(asyncio.sleep(0, "done")))
    'done'
    """
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(contextvars.copy_context().run, call).result()
    finally:
        pool.shutdown(wait=False)  # an interrupt from the keyboard waits for nothing
