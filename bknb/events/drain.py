"""Waiting until queues are empty, without deadlock between listeners that wait for each other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Queue(Protocol):
    """A queue that can be waited for; it handles what it accepted in order."""

    def attach(self, wait: Wait) -> bool:
        """Call ``wait.settle`` once all accepted so far is done; False when it is already."""

    def detach(self, wait: Wait) -> None:
        """Remove a wait that was given up."""


# The waits that are under way form a graph: the queue that waits -> the queues it waits for.
# A wait that would close a circle in it leaves that queue out.
_lock = threading.Lock()
_waits: set[Wait] = set()


class Wait:
    """Calls ``done`` once every queue has worked off what it held when the wait began."""

    __slots__ = ("_begun", "_done", "_over", "outstanding", "owner")

    def __init__(self, queues: Iterable[Queue], *, owner: Queue | None, done: Callable[[], None]) -> None:
        self.owner = owner
        self._done = done
        self._begun = False
        self._over = False
        with _lock:
            self.outstanding = {queue for queue in queues if owner is None or not _leads_to(queue, owner)}
            _waits.add(self)

    def begin(self) -> None:
        """Take the position of every queue; may call ``done`` at once."""
        for queue in tuple(self.outstanding):
            if not queue.attach(self):
                self.settle(queue)
        with _lock:
            self._begun = True
        self.settle(None)

    def settle(self, queue: Queue | None) -> None:
        """Note that ``queue`` has handled everything up to the position of this wait."""
        with _lock:
            if queue is not None:
                self.outstanding.discard(queue)
            if self.outstanding or self._over or not self._begun:
                return
            self._over = True
            _waits.discard(self)
        self._done()

    def give_up(self) -> None:
        """End the wait without calling ``done``."""
        with _lock:
            self._over = True
            _waits.discard(self)
            left = tuple(self.outstanding)
        for queue in left:
            queue.detach(self)


def _leads_to(start: Queue, goal: Queue) -> bool:
    """Whether ``start`` is ``goal`` or waits for it, directly or through others."""
    seen: set[Queue] = set()
    ahead = [start]
    while ahead:
        queue = ahead.pop()
        if queue is goal:
            return True
        if queue not in seen:
            seen.add(queue)
            ahead.extend(other for wait in _waits if wait.owner is queue for other in wait.outstanding)
    return False


class Drain:
    """Waits for several stages of queues, one after the other.

    A stage is asked for its queues only when the one before it is done, so that what the first stage caused
    in the second is waited for too.
    """

    def __init__(self, stages: Iterable[Callable[[], Iterable[Queue]]], *, owner: Queue | None) -> None:
        self._future: Future[None] = Future()
        self._future.set_running_or_notify_cancel()  # from here on it cannot be cancelled from outside
        self._stages: Iterator[Callable[[], Iterable[Queue]]] = iter(stages)
        self._owner = owner
        self._wait: Wait | None = None
        self._given_up = False
        self._advance()

    def _advance(self) -> None:
        stage = next(self._stages, None)
        if stage is None:
            self._future.set_result(None)
        elif not self._given_up:
            self._wait = Wait(stage(), owner=self._owner, done=self._advance)
            self._wait.begin()

    def _give_up(self) -> None:
        self._given_up = True
        if self._wait is not None:
            self._wait.give_up()

    def wait(self, timeout: float | None) -> bool:
        """Block until done; False when ``timeout`` seconds were not enough."""
        try:
            self._future.result(timeout)
        except TimeoutError:
            return False
        finally:
            self._give_up()
        return True

    async def wait_async(self, timeout: float | None) -> bool:  # noqa: ASYNC109 -- as wait()
        """Like :meth:`wait`, without blocking the running loop."""
        try:
            finished, _ = await asyncio.wait({asyncio.wrap_future(self._future)}, timeout=timeout)
        finally:
            self._give_up()
        return bool(finished)


def clear_waits() -> None:
    """Remove every wait in a forked child, where the waiting threads do not exist."""
    global _lock  # noqa: PLW0603 -- the old one may be held by a thread that stayed with the parent
    _lock = threading.Lock()
    _waits.clear()
