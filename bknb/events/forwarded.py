"""A subscription whose events are handled in another process, which says up to which one it has."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from .listener_queue import Publisher, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Forwarded(Subscription[T]):
    """A subscription that hands each event on at once, with its number, and waits to be told that it was handled.

    While nobody is connected, events are kept for whoever connects next where ``keeps`` says so; others count as
    handled.

    Parameters
    ----------
    subject
        What is subscribed to.
    send
        Called with the number of an event, from 1 on, and the event; it must not wait.
    keeps
        Whether an event is kept until it was handled.

    Examples
    --------
    >>> from bknb.events.subject import Subject
    >>> subject, sent = Subject("demo"), []
    >>> forwarded = subject.forward(lambda number, event: sent.append((number, event)), keeps=str.isupper)
    >>> for event in ("a", "B"):
    ...     subject.emit(event)
    >>> forwarded.connect()
    >>> forwarded.connect()  # it is already
    >>> subject.emit("c")
    >>> sent, forwarded.has_handled(1), forwarded.has_handled(3)
    ([(2, 'B'), (3, 'c')], True, False)
    >>> forwarded.heard(3)
    >>> forwarded.has_handled(3)
    True
    >>> forwarded()
    """

    def __init__(self, subject: Publisher[T], send: Callable[[int, T], object], *, keeps: Callable[[T], bool]) -> None:
        super().__init__(subject, print, where=None, once=False, limit=1, overflow="drop_oldest")
        self.name = "another process"
        self._send, self._keeps = send, keeps
        self._unheard: deque[tuple[int, T]] = deque()
        self._connected = False

    @property
    def pending(self) -> int:
        """Events that the other process has not handled."""
        return len(self._unheard)

    def offer(self, event: T) -> None:
        """Hand an event on; its subject calls this, from any thread."""
        with self._lock:
            if self._retired:
                return
            self.accepted += 1
            if self._connected or self._keeps(event):
                self._unheard.append((self.accepted, event))
            if self._connected:
                self._send(self.accepted, event)  # under the lock: in the order of the numbers

    def connect(self) -> None:
        """Somebody hears from now on: what is kept is handed on first."""
        with self._lock:
            if self._connected:
                return
            self._connected = True
            for number, event in self._unheard:
                self._send(number, event)

    def disconnect(self) -> None:
        """Nobody hears any more."""
        with self._lock:
            self._connected = False
            self._unheard = deque(entry for entry in self._unheard if self._keeps(entry[1]))
            reached = self._reached()
        self._settle(reached)

    def heard(self, number: int) -> None:
        """The other process has handled all events up to the one of this number."""
        with self._lock:
            while self._unheard and self._unheard[0][0] <= number:
                self._unheard.popleft()
            self._delivered = max(self._delivered, number)
            reached = self._reached()
        self._settle(reached)

    def _done(self) -> int:
        return self._unheard[0][0] - 1 if self._unheard else self.accepted
