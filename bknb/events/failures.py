"""Failures of listeners: an exception, or a full queue."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from ..user_code import where_it_failed

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest"]
Part: TypeAlias = Literal["listener", "predicate"]


class ListenerFailure(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="listener_failure"):
    """A listener, or the predicate it was given, raised; it stays subscribed and the run goes on.

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
    """

    kind: Part
    subject: str
    listener: str
    message: str
    where: str


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


def failure_of(error: BaseException, *, kind: Part, subject: str, listener: str, function: object) -> ListenerFailure:
    """The failure event for an exception that a listener or predicate raised."""
    return ListenerFailure(
        kind=kind,
        subject=subject,
        listener=listener,
        message=f"{type(error).__name__}: {text_of(error)}",
        where=where_it_failed(error) or _where_defined(function),
    )


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


def text_of(error: BaseException) -> str:
    """The text of an error, also of one whose text cannot be had."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- an exception of the user's whose own text raises
        return "(its text cannot be read)"


def _where_defined(function: object) -> str:
    """Its first line: called with the wrong arguments, a function never gets to a line of its own."""
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    if code is None:
        return ""
    name = code.co_filename
    return f"{name if name.startswith('<') else Path(name).name}, line {code.co_firstlineno}"
