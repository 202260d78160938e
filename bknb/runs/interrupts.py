"""Distinguishing an interrupt from the keyboard from any other cancellation of a coroutine."""

from __future__ import annotations

import asyncio
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


class StopOnInterrupt:
    """Stops a task at the first interrupt of the coroutine that waits for it, and lets that coroutine go on.

    ``stop`` is the method of the task, ``interrupted`` what :func:`interrupts` gave.
    """

    def __init__(self, stop: Callable[..., object], interrupted: Callable[[], bool]) -> None:
        self._stop = stop
        self._interrupted = interrupted
        self._stopped = False

    def handles_cancellation(self) -> bool:
        """Stop the task and take back the cancellation; False where it was no interrupt, or not the first."""
        if self._stopped or not self._interrupted():
            return False
        self._stopped = True
        waiting = asyncio.current_task()
        assert waiting is not None  # only a task can be cancelled  # noqa: S101
        waiting.uncancel()
        self._stop(now=True)
        return True
