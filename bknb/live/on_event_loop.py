"""Something short done on an event loop that runs in another thread, or in this one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> T:
    """What ``work`` returns, or what it raises, called on a loop; on that loop itself at once.

    Raises
    ------
    RuntimeError
        The loop is closed.
    """
    if asyncio._get_running_loop() is loop:
        return work()
    done: Future[T] = Future()

    def call() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 -- raised again by who waits for it
            done.set_exception(error)

    loop.call_soon_threadsafe(call)
    return done.result()
