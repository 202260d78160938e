"""Distinguishing an interrupt from the keyboard from any other cancellation of a coroutine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Watch for SIGINT while the block runs; the yielded function returns whether one has come since its last call.

    ``asyncio.run`` and a notebook kernel turn an interrupt into the cancellation of the coroutine that runs, which
    looks like any other cancellation. Their handler is called as before. Outside the main thread
    SIGINT is not seen.

    Examples
    --------
    >>> with interrupts() as interrupted:
    ...     interrupted()
    False
    """
    seen = threading.Event()

    def interrupted() -> bool:
        was = seen.is_set()
        seen.clear()
        return was

    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def notice(number: int, frame: FrameType | None) -> None:
        seen.set()
        before(number, frame)

    signal.signal(signal.SIGINT, notice)
    try:
        yield interrupted
    finally:
        if signal.getsignal(signal.SIGINT) is notice:  # not a handler that was set meanwhile
            signal.signal(signal.SIGINT, before)
