"""An event loop in a background thread, started when it is first needed and, after a fork, started anew."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable

from ..process import after_fork


class LoopThread:
    """One event loop that runs in a daemon thread of its own; made once for a process.

    Nothing that runs on it can end it: what a task raises besides ordinary errors, such as ``SystemExit``, reaches
    whoever waits for that task, and the others go on.

    Parameters
    ----------
    name
        Of the thread.
    failed
        Called with what a task raised besides ordinary errors, in the loop's thread.
    forked
        Called in a forked child, before anything else there: the loop and its thread stayed with the parent.
    stop_at_exit
        Whether the loop stops when the process begins to end, so that nothing begins while the process ends.

    Examples
    --------
    >>> thread = LoopThread("an-example")
    >>> asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "done"), thread.loop()).result()
    'done'
    """

    def __init__(
        self,
        name: str,
        *,
        failed: Callable[[BaseException], object] | None = None,
        forked: Callable[[], object] | None = None,
        stop_at_exit: bool = False,
    ) -> None:
        self.name = name
        self._failed = failed
        self._stop_at_exit = stop_at_exit
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        after_fork(self._reset)
        if forked is not None:
            after_fork(forked)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running. From any thread."""
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._run, args=(self._loop,), name=self.name, daemon=True).start()
                if self._stop_at_exit:
                    atexit.register(self._loop.call_soon_threadsafe, self._loop.stop)
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 -- the loop carries the work of others, too
                if self._failed is not None:
                    self._failed(error)
            else:
                return

    def _reset(self) -> None:
        """Drop the loop in a forked child, which has no such thread: the first use starts another."""
        self._lock, self._loop = threading.Lock(), None
