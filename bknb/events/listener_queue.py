"""A subscription: one listener on one subject, with its own queue and thread."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..log import log
from .listener_failures import Failures, ListenerFailure, ListenerOverflow, Overflow, Part, name_of, overflow_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .drain import Wait

T = TypeVar("T")

IDLE_SECONDS = 30.0  # a listener's thread without events ends after this; the next event starts another


class Publisher(Protocol[T]):
    """The part of a subject that its subscriptions use."""

    name: str

    def remove(self, subscription: Subscription[T]) -> None:
        """Stop delivering events to a subscription; a call of its listener may still be running."""

    def left(self, subscription: Subscription[T]) -> None:
        """Exclude a subscription from drains."""

    def report(self, failure: ListenerFailure | ListenerOverflow) -> None:
        """Emit a failure of a listener."""


class _Execution:
    """Marks everything that happens inside one call of one listener, also in threads it starts."""

    __slots__ = ("active", "subscription")

    def __init__(self, subscription: Subscription[Any]) -> None:
        self.subscription = subscription
        self.active = True


_executing: contextvars.ContextVar[_Execution | None] = contextvars.ContextVar("bknb_listener", default=None)
_local = threading.local()


class Subscription(Generic[T]):
    """One listener on one subject. Calling it ends the listening; calling it again does nothing.

    Events wait in a queue of their own and are handed over one at a time, in order, by a thread of their own
    (started by the first event, gone when idle), in the context in which the listening began: what the
    listener prints appears in the notebook cell that subscribed. A coroutine function runs in that thread's
    own event loop; the next event waits until it is finished, whatever it awaits.

    Attributes
    ----------
    subject : str
        Name of the subject.
    name : str
        Name of the listener.
    listener : callable
        The function that was given.

    Examples
    --------
    >>> from bknb.events.subject import Subject, drain
    >>> subject = Subject("demo")
    >>> seen = []
    >>> stop = subject.listen(seen.append)
    >>> subject.emit(1)
    >>> drain([subject])
    True
    >>> seen, stop
    ([1], <'append' listens to 'demo': 1 delivered, 0 pending, 0 dropped>)
    >>> stop()
    >>> subject.subscribed
    False
    """

    def __init__(
        self,
        subject: Publisher[T],
        listener: Callable[[T], object],
        *,
        where: Callable[[T], object] | None,
        once: bool,
        limit: int,
        overflow: Overflow,
    ) -> None:
        self.subject = subject.name
        self.name = name_of(listener)
        self.listener = listener
        self._subject = subject
        self._where = where
        self._once = once
        self._limit = limit
        self._overflow = overflow
        self._context = contextvars.copy_context()
        self._delivered = 0
        self._dropped = 0
        self.failures = Failures(self.subject, self.name)
        self._lock = threading.Lock()
        # All of the following only under the lock.
        self._queue: deque[T] = deque()
        self.accepted = 0  # events that were queued so far
        self._position = 0  # events accepted before the one being handled
        self._execution: _Execution | None = None
        self._retired = False  # takes no more events
        self._released = False  # and nobody waits for the call that may still be running
        self._waits: list[tuple[int, Wait]] = []
        self._worker: threading.Thread | None = None
        self._wake: Callable[[], object] | None = None  # set while the worker sleeps

    # -- for everybody --------------------------------------------------------------------------------------

    @property
    def delivered(self) -> int:
        """Events the listener was called with so far."""
        return self._delivered

    @property
    def dropped(self) -> int:
        """Events lost because the queue was full."""
        return self._dropped

    @property
    def pending(self) -> int:
        """Events that wait, and the one being handled."""
        return len(self._queue) + (self._execution is not None)

    def has_handled(self, position: int) -> bool:
        """Whether the first ``position`` of the accepted events are handled or dropped."""
        with self._lock:
            return self._released or self._done() >= position

    @property
    def active(self) -> bool:
        """Whether it still listens."""
        return not self._retired

    def __call__(self) -> None:
        """Stop listening: what waits is discarded, a call that is running may finish."""
        self._retire()
        execution = _executing.get()
        from_inside = execution is not None and execution.active and execution.subscription is self
        if not from_inside:  # a call that ends its own listening will end; others may hang for ever
            with self._lock:
                self._released = True
                reached = self._reached()
            self._subject.left(self)
            self._settle(reached)

    def __repr__(self) -> str:
        verb = "listens" if self.active else "no longer listens"
        return (
            f"<{self.name!r} {verb} to {self.subject!r}: "
            f"{self.delivered} delivered, {self.pending} pending, {self.dropped} dropped>"
        )

    # -- the emitting side ----------------------------------------------------------------------------------

    def offer(self, event: T) -> None:
        """Queue an event; its subject calls this, from any thread."""
        lost = 0
        with self._lock:
            if self._retired:
                return
            if len(self._queue) < self._limit:
                self._queue.append(event)
                self.accepted += 1
            else:
                self._dropped += 1
                lost = self._dropped
                if self._overflow == "drop_oldest":
                    self._queue.popleft()
                    self._queue.append(event)
                    self.accepted += 1
            if self._worker is None:
                self._start()
            elif self._wake is not None:
                self._wake_worker()
        if lost == 1:
            self._report_overflow()

    def _start(self) -> None:
        name = f"bknb {self.subject}: {self.name}"
        self._worker = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            self._worker.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending; the next event tries again
            self._worker = None
            log.error("no thread for the listener %s of %s: %s", self.name, self.subject, error)

    def _wake_worker(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            try:
                wake()
            except RuntimeError:  # the listener stopped its own loop; _ended() takes care of the event
                log.debug("the loop of the listener %s is gone", self.name)

    def _retire(self) -> None:
        self._subject.remove(self)
        with self._lock:
            self._retired = True
            self._queue.clear()
            self._wake_worker()
            reached = self._reached()
        self._settle(reached)

    # -- waiting for it -------------------------------------------------------------------------------------

    def attach(self, wait: Wait) -> bool:
        """Call ``wait.settle`` once all accepted so far is done; False when it is already."""
        with self._lock:
            if self._released or self._done() >= self.accepted:
                return False
            self._waits.append((self.accepted, wait))
            return True

    def detach(self, wait: Wait) -> None:
        """Remove a wait that was given up."""
        with self._lock:
            self._waits = [entry for entry in self._waits if entry[1] is not wait]

    def _done(self) -> int:
        """How many of the accepted events, from the first on, are handled or dropped."""
        return self._position if self._execution is not None else self.accepted - len(self._queue)

    def _reached(self) -> list[Wait]:
        if not self._waits:
            return []
        done = self.accepted if self._released else self._done()
        reached = [wait for target, wait in self._waits if target <= done]
        self._waits = [entry for entry in self._waits if entry[0] > done]
        return reached

    def _settle(self, reached: list[Wait]) -> None:
        for wait in reached:  # never under the lock: the next stage of a drain may begin in here
            wait.settle(self)

    # -- the listening side: everything below runs in the worker ----------------------------------------------

    def _work(self) -> None:
        _local.subscription = self
        try:
            while self._sleep():
                answer = self._deliver_next()
                if answer is not None:  # it is asynchronous: from now on this thread is its event loop
                    with asyncio.Runner() as runner:
                        runner.run(self._work_async(answer))
                    return
        except Exception as error:  # noqa: BLE001 -- a listener may stop or exhaust its own loop
            self._report(error, "listener")
        finally:
            self._ended()

    async def _work_async(self, answer: Awaitable[object] | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if answer is not None:
                # A task of its own: a listener that cancels its task cancels that one call.
                task = loop.create_task(self._finish_async(answer), context=self._context)
                await asyncio.wait({task})
            if not await self._sleep_async(loop):
                return
            answer = self._deliver_next()

    def _sleep(self) -> bool:
        """Block until there is an event; False when this thread should end."""
        while True:
            with self._lock:
                if self._queue or self._retired:
                    return bool(self._queue)
                gate = threading.Lock()
                gate.acquire()
                self._wake = gate.release
            if not gate.acquire(timeout=IDLE_SECONDS):
                return False  # should an event come right now, _ended() sees it

    async def _sleep_async(self, loop: asyncio.AbstractEventLoop) -> bool:
        while True:
            with self._lock:
                if self._queue or self._retired:
                    return bool(self._queue)
                gate = asyncio.Event()
                self._wake = partial(loop.call_soon_threadsafe, gate.set)
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await gate.wait()
            except TimeoutError:
                # Tasks the listener left behind need the loop; it stays for them.
                if len(asyncio.all_tasks()) == 1:
                    return False

    def _deliver_next(self) -> Awaitable[object] | None:
        """Call the listener with the next event; returns the awaitable of an asynchronous listener, else ``None``."""
        execution = _Execution(self)
        with self._lock:
            if not self._queue:
                return None
            self._position = self.accepted - len(self._queue)
            event = self._queue.popleft()
            self._execution = execution
        answer = self._context.run(self._call, execution, event)
        if answer is not None and inspect.isawaitable(answer):
            return answer
        self._finish()
        return None

    def _call(self, execution: _Execution, event: T) -> object:
        _executing.set(execution)
        kind: Part = "predicate"
        try:
            if self._where is not None and not self._where(event):
                return None
            if self._once:
                self._retire()
            kind = "listener"
            self._delivered += 1
            return self.listener(event)
        except BaseException as error:  # noqa: BLE001 -- also sys.exit() in a listener ends only its call
            self._report(error, kind)
            return None

    async def _finish_async(self, answer: Awaitable[object]) -> None:
        try:
            await answer
        except BaseException as error:  # noqa: BLE001 -- also its own cancellation is only its own
            self._report(error, "listener")
        finally:
            self._finish()

    def _finish(self) -> None:
        with self._lock:
            reached = self._end_call()
        if self._retired:
            self._subject.left(self)
        self._settle(reached)

    def _end_call(self) -> list[Wait]:
        if self._execution is not None:
            self._execution.active = False
            self._execution = None
        return self._reached()

    def _ended(self) -> None:
        with self._lock:
            self._worker = self._wake = None
            reached = self._end_call()
            if self._queue:  # it came in the last moment, or the listener broke its loop
                self._start()
        if self._retired:
            self._subject.left(self)
        self._settle(reached)

    def _report(self, error: BaseException, kind: Part) -> None:
        failure = self.failures.told(error, kind=kind, function=self.listener if kind == "listener" else self._where)
        if failure is not None:
            log.warning("%s %s of %s raised %s (%s)", kind, self.name, self.subject, failure.message, failure.where)
            self._subject.report(failure)

    def _report_overflow(self) -> None:
        report = overflow_of(subject=self.subject, listener=self.name, limit=self._limit, overflow=self._overflow)
        log.warning("%s", report.message)
        self._subject.report(report)

    def restart_in_child(self) -> None:
        """After a fork: the thread stayed with the parent, and so did the events that were waiting."""
        self._lock = threading.Lock()
        self._waits = []
        if self._worker is not threading.current_thread():
            self._queue.clear()
            self._execution = self._worker = self._wake = None
            self._context = self._context.copy()  # the old one stays entered for ever by the parent's thread


def waiting_listener(*, in_thread: bool) -> Subscription[Any] | None:
    """The listener that is blocked while the caller waits; ``None`` outside of listeners.

    Parameters
    ----------
    in_thread
        Whether the caller blocks the thread it is in.
    """
    execution = _executing.get()
    if execution is not None and execution.active:
        return execution.subscription
    return getattr(_local, "subscription", None) if in_thread else None
