"""Subjects and queued listeners: emitting never waits, each listener gets its events one at a time, in order."""

from __future__ import annotations

import inspect
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..domain.whole_number import whole_number
from ..errors import UsageError
from ..process import after_fork
from .drain import Drain, clear_waits
from .listener_failures import ListenerFailure, ListenerOverflow, Overflow, name_of
from .listener_queue import Subscription, waiting_listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..domain.signal_events import Mode
    from .forwarded import Forwarded

T = TypeVar("T")

QUEUE_LIMIT = 100_000


class Subject(Generic[T]):
    """A named stream of events, and its subscriptions.

    Parameters
    ----------
    name
        For messages.
    errors
        Where failures of listeners are emitted; ``None``: they are only logged.

    Examples
    --------
    >>> subject = Subject("demo")
    >>> subject.subscribed
    False
    >>> subject.emit("without a subscription it is dropped")
    """

    def __init__(self, name: str, *, errors: Subject[Any] | None = None) -> None:
        self.name = name
        self.errors = errors
        self._lock = threading.Lock()
        self._quiet: dict[Subscription[T], bool | None] = {}
        self._all: tuple[Subscription[T], ...] = ()  # replaced, never changed: emit() reads it without a lock
        self._in_backtest: tuple[Subscription[T], ...] = ()
        self._in_live: tuple[Subscription[T], ...] = ()
        self._leaving: tuple[Subscription[T], ...] = ()  # unsubscribed, but in their last call
        _subjects.add(self)

    def __repr__(self) -> str:
        return f"<subject {self.name!r}, {len(self._all)} listening>"

    @property
    def subscribed(self) -> bool:
        """Whether there is any subscription; without one an event need not be made."""
        return bool(self._all)

    @property
    def subscriptions(self) -> tuple[Subscription[T], ...]:
        """The subscriptions, oldest first."""
        return self._all

    def wants_quiet(self, mode: Mode) -> bool:
        """Whether any subscription takes the results of quiet minutes in ``mode``."""
        return bool(self._in_live if mode == "live" else self._in_backtest)

    def emit(self, event: T, *, quiet: bool = False, live: bool = False) -> None:
        """Queue ``event`` for every subscription; never waits for a listener and never raises.

        Parameters
        ----------
        event
            The event.
        quiet, live
            ``quiet`` marks the result of a minute in which nothing happened; it reaches only subscriptions to
            such results in a live run (``live``) or in a backtest.
        """
        for subscription in (self._in_live if live else self._in_backtest) if quiet else self._all:
            subscription.offer(event)

    def listen(
        self,
        fn: Callable[[T], object],
        *,
        where: Callable[[T], object] | None = None,
        once: bool = False,
        quiet: bool | None = None,
        limit: int = QUEUE_LIMIT,
        overflow: Overflow = "drop_oldest",
    ) -> Subscription[T]:
        """Call ``fn(event)`` for every event from now on.

        Parameters
        ----------
        fn
            A function or coroutine function of one event.
        where
            Only events for which ``where(event)`` is true; it runs in the listener's thread.
        once
            Only the first such event; then the listening is over, also when ``fn`` raised.
        quiet
            Results of quiet minutes too: always, never, or (``None``) only in live runs.
        limit, overflow
            At most ``limit`` events wait; then ``"drop_oldest"`` loses the oldest that waits and
            ``"drop_newest"`` the one that came. The first loss is emitted as an error, all are counted.

        Returns
        -------
        Subscription
            Call it to stop listening.

        Raises
        ------
        UsageError
            For something that cannot be called with an event.
        """
        _check(fn, where=where, limit=limit, overflow=overflow)
        subscription = Subscription(self, fn, where=where, once=once, limit=limit, overflow=overflow)
        self._add(subscription, quiet=quiet)
        return subscription

    def forward(self, send: Callable[[int, T], object], *, keeps: Callable[[T], bool]) -> Forwarded[T]:
        """Hand every event on to another process, results of quiet minutes of live runs too; see :class:`Forwarded`."""
        from .forwarded import Forwarded  # only a process that live runs have for themselves does

        subscription = Forwarded(self, send, keeps=keeps)
        self._add(subscription, quiet=None)
        return subscription

    def _add(self, subscription: Subscription[T], *, quiet: bool | None) -> None:
        with self._lock:
            self._quiet[subscription] = quiet
            self._publish()

    def remove(self, subscription: Subscription[T]) -> None:
        """Stop delivering events to a subscription; a call of its listener may still be running."""
        with self._lock:
            if self._quiet.pop(subscription, _ABSENT) is not _ABSENT:
                self._leaving = (*self._leaving, subscription)
                self._publish()

    def left(self, subscription: Subscription[T]) -> None:
        """Exclude a subscription from drains."""
        with self._lock:
            self._leaving = tuple(each for each in self._leaving if each is not subscription)

    def queues(self) -> tuple[Subscription[T], ...]:
        """The subscriptions a drain waits for."""
        with self._lock:
            return (*self._all, *self._leaving)

    def _publish(self) -> None:
        self._in_backtest = tuple(each for each, quiet in self._quiet.items() if quiet)
        self._in_live = tuple(each for each, quiet in self._quiet.items() if quiet is not False)
        self._all = tuple(self._quiet)

    def report(self, failure: ListenerFailure | ListenerOverflow) -> None:
        """Emit a failure of a listener on the subject for errors."""
        if self.errors is not None:
            self.errors.emit(failure)

    def _restart_in_child(self) -> None:
        self._lock = threading.Lock()
        for subscription in self._all:
            subscription.restart_in_child()


def forget_failures() -> None:
    """Have every listener's next failure told, also one that was told before; a run that begins calls this."""
    for subject in tuple(_subjects):
        for subscription in subject.subscriptions:
            subscription.failures.forget()


_ABSENT: Any = object()
_subjects: weakref.WeakSet[Subject[Any]] = weakref.WeakSet()


def drain(subjects: Iterable[Subject[Any]], *, timeout: float | None = None) -> bool:
    """Block until everything emitted so far has been handled by every listener of ``subjects``.

    Failures that listeners report meanwhile are waited for too, when the subject they are reported on is among
    ``subjects``. Never waits for the listener it is called from (also through a run or a thread which that
    listener started with its context), nor for one that in turn waits for that listener, nor for those who
    have unsubscribed.
    Returns False when ``timeout`` seconds were not enough; ``None`` waits without limit.
    """
    return Drain(_stages(subjects), owner=waiting_listener(in_thread=True)).wait(timeout)


async def adrain(subjects: Iterable[Subject[Any]], *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
    """Like :func:`drain`, for coroutines: the running loop goes on meanwhile."""
    return await Drain(_stages(subjects), owner=waiting_listener(in_thread=False)).wait_async(timeout)


def _stages(subjects: Iterable[Subject[Any]]) -> list[Callable[[], list[Subscription[Any]]]]:
    chosen = tuple(subjects)

    def queues(*, reporting: bool) -> list[Subscription[Any]]:
        return [each for subject in chosen if (subject.errors is not None) == reporting for each in subject.queues()]

    return [partial(queues, reporting=True), partial(queues, reporting=False)]


def _check(fn: object, *, where: object, limit: object, overflow: object) -> None:
    if not callable(fn):
        raise UsageError(f"a listener is a function of one event, got {fn!r}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise UsageError(
            f"a listener is a function of one event, got the generator {name_of(fn)!r}: it would never run"
        )
    if where is not None and (not callable(where) or inspect.iscoroutinefunction(where)):
        raise UsageError(f"where= expects a plain function event -> bool, got {where!r}")
    whole_number("limit", limit, least=1, hint="give how many events may wait for the listener, such as 10_000")
    if overflow not in ("drop_oldest", "drop_newest"):
        raise UsageError(f"overflow= expects 'drop_oldest' or 'drop_newest', got {overflow!r}")


@after_fork
def _restart_in_child() -> None:
    clear_waits()
    for subject in tuple(_subjects):
        subject._restart_in_child()
