"""Failures of listeners: an exception, or a full queue."""

from __future__ import annotations

import inspect
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from ..domain.text import error_text
from ..user_code import where_it_failed

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest"]
Part: TypeAlias = Literal["listener", "predicate"]


class ListenerFailure(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="listener_failure"):
    """A listener, or the predicate it was given, raised; it stays subscribed and the run goes on.

    The same error of the same line is told when it comes for the first time since a run was started, then the 10th, the
    100th, the 1000th.

    Parameters
    ----------
    kind
        ``"listener"``, or ``"predicate"``; a predicate that raises counts as "no match".
    subject, listener
        Names of the subject and of the listener.
    message
        Class and text of the exception.
    where
        The innermost line of the user's own code; empty when unknown.
    count
        How often it has come.
    """

    kind: Part
    subject: str
    listener: str
    message: str
    where: str
    count: int = 1


class ListenerOverflow(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="listener_overflow"):
    """A listener's queue was full and lost its first event; emitted once per subscription.

    Parameters
    ----------
    kind
        ``"overflow"``.
    subject, listener
        Names of the subject and of the listener.
    message
        What happened, as a sentence.
    limit
        Events the queue can hold.
    overflow
        What is lost when it is full: ``"drop_oldest"`` or ``"drop_newest"``.
    """

    kind: Literal["overflow"] = "overflow"
    subject: str
    listener: str
    message: str
    limit: int
    overflow: Overflow


class Failures:
    """The failures of one listener: the same one is told the first time, the 10th, the 100th, and so on.

    It is the same when it is of the same class and comes from the same line.

    Examples
    --------
    >>> failures = Failures("signal", "notify")
    >>> told = [failures.told(ValueError("no"), kind="listener", function=None) for _ in range(150)]
    >>> [failure.count for failure in told if failure is not None]
    [1, 10, 100]
    """

    def __init__(self, subject: str, listener: str) -> None:
        self._subject = subject
        self._listener = listener
        self._counts: Counter[tuple[Part, str, str]] = Counter()

    def told(self, error: BaseException, *, kind: Part, function: object) -> ListenerFailure | None:
        """Count an exception of the listener or its predicate; the event for it when it is to be told."""
        where = where_it_failed(error) or _where_defined(function)
        which = kind, type(error).__name__, where
        self._counts[which] += 1
        count = self._counts[which]
        if str(count).strip("0") != "1":
            return None
        return ListenerFailure(
            kind=kind,
            subject=self._subject,
            listener=self._listener,
            message=f"{type(error).__name__}: {error_text(error)}",
            where=where,
            count=count,
        )

    def forget(self) -> None:
        """Count from the beginning: what comes next is told."""
        self._counts = Counter()


def overflow_of(*, subject: str, listener: str, limit: int, overflow: Overflow) -> ListenerOverflow:
    """The event for the first loss of an event by a full queue."""
    message = (
        f"{listener} is slower than the events of {subject}: its queue of {limit} is full and loses the "
        f"{overflow.removeprefix('drop_')}; .dropped of its subscription counts them"
    )
    return ListenerOverflow(subject=subject, listener=listener, message=message, limit=limit, overflow=overflow)


def name_of(function: object) -> str:
    """A short name for a listener.

    Examples
    --------
    >>> name_of(print), name_of(partial(print, "closed:"))
    ('print', 'print')
    """
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _where_defined(function: object) -> str:
    """Its first line: called with the wrong arguments, a function never gets to a line of its own."""
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    if code is None:
        return ""
    name = code.co_filename
    return f"{name if name.startswith('<') else Path(name).name}, line {code.co_firstlineno}"
