"""One background thread with one event loop for everything that fetches.

Sources may be asynchronous, strategies ask synchronously: a strategy that needs candles which are not in memory yet
waits here while the loop fetches them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop  # noqa: PLW0603 -- one loop for the process, started on first use
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="bknb-io", daemon=True).start()
        return _loop


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine on the fetching loop; the caller decides how to wait."""
    return asyncio.run_coroutine_threadsafe(work, _running_loop())


def fetch_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fetching loop and wait for it, from any other thread."""
    return submit(work).result()


def _restart_in_child() -> None:
    """After a fork: the thread stayed with the parent; the first use in the child starts another."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_in_child)
