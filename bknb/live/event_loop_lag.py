"""How late the loop of the live runs answers, measured from another thread: a blocked loop cannot report it itself.

And how long a run takes to look at what has come.
"""

from __future__ import annotations

import asyncio
import faulthandler
import tempfile
import threading
from collections.abc import Callable
from typing import Final

from ..events import messages, subjects
from ..market.system_clock import SystemClock
from .plan import LivePlan

_EVERY_SECONDS: Final = 1.0
_LONG_SECONDS: Final = 5.0


class LagWatch:
    """Asks a loop again and again for an answer, and reports when it does not come.

    Each time that the loop is blocked is reported once, with the line that blocks it.

    Parameters
    ----------
    loop
        The loop that is watched; it runs in another thread.
    every_seconds, long_seconds
        How often it is asked, and after how long without an answer that is reported.

    Attributes
    ----------
    listeners : list of callable
        Called in the thread of the watch with one sentence.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        every_seconds: float = _EVERY_SECONDS,
        long_seconds: float = _LONG_SECONDS,
    ) -> None:
        self.listeners: list[Callable[[str], object]] = []
        self._loop = loop
        self._every, self._long = every_seconds, long_seconds
        self._over = threading.Event()
        self._thread_id: int | None = None

    def start(self) -> None:
        """Begin to watch; called in the thread of the loop."""
        self._thread_id = threading.get_ident()
        threading.Thread(target=self._watch, name="bknb-live-lag", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            answered = threading.Event()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop has ended
                return
            notified = False
            while not answered.wait(self._long if not notified else self._every):
                if self._over.is_set():
                    return
                if not notified:
                    notified = True
                    self._notify(self._blocked_text())

    def _blocked_text(self) -> str:
        line = "" if self._thread_id is None else _line_of(self._thread_id)
        where = f"\nit is at {line}" if line else ""
        return (
            f"the loop of all live runs has not answered for {self._long:g} s: no position is watched meanwhile{where}"
        )

    def _notify(self, text: str) -> None:
        for listener in list(self.listeners):
            listener(text)


def _line_of(thread: int) -> str:
    """The line at which a thread is, as Python's fault handler writes it; empty when it is not found."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as written:
        faulthandler.dump_traceback(written, all_threads=True)
        written.seek(0)
        lines = written.read().splitlines()
    for number, line in enumerate(lines[:-1]):
        if "read 0x" in line and int(line.split("read 0x")[1].split()[0], 16) == thread:
            return lines[number + 1].strip()
    return ""


def tell_look_time(plan: LivePlan, seconds: float) -> None:
    """Tell how long a run took to look at what has come, where somebody listens."""
    if subjects.performance.subscribed:
        subjects.performance.emit(
            messages.Performance(
                metric="live_tick",
                **plan.labels(),
                mode="live",
                duration_ms=seconds * 1000,
                at=SystemClock().now(),
            )
        )
