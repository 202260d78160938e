"""The event loop of all fetching, in one background thread.

Sources may be asynchronous, strategies ask synchronously: a strategy that needs candles which are not in memory yet
waits here while the loop fetches them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from .loop_thread import LoopThread

T = TypeVar("T")

_THREAD: Final = LoopThread("bknb-io")


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine on the fetching loop; returns its future."""
    return asyncio.run_coroutine_threadsafe(work, _THREAD.loop())


def fetch_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fetching loop and wait for it, from any other thread."""
    return submit(work).result()
