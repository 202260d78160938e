"""What goes with live runs into a process of their own, such as notifiers: sent there as it was made."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ..domain.text import error_text
from ..log import log

F = TypeVar("F", bound=Callable[[], object])


class GoesWithRuns(Protocol):
    """What is sent there: pickled, then begun."""

    def begin_beside(self, is_followed: Callable[[], bool]) -> object:
        """Begin there; ``is_followed`` says whether a kernel hears what happens, and tells it itself."""
        ...

    def end(self) -> object:
        """End there."""
        ...


class _Offered:
    """Who says what goes with live runs, and how processes that are followed hear that it is another."""

    def __init__(self) -> None:
        self.sources: list[Callable[[], Sequence[GoesWithRuns]]] = []
        self.changed: list[Callable[[], object]] = []


_OFFERED = _Offered()


def offer(source: Callable[[], Sequence[GoesWithRuns]]) -> None:
    """Have what a function returns go with live runs; it is called when it is to be sent."""
    _OFFERED.sources.append(source)


def on_change(tell: F) -> F:
    """Have a function called when something else is to go with live runs; usable as a decorator."""
    _OFFERED.changed.append(tell)
    return tell


def offered_changed() -> None:
    """What goes with live runs is another from now on."""
    for tell in _OFFERED.changed:
        tell()


def packed() -> bytes:
    """What goes with live runs, as bytes.

    Examples
    --------
    >>> pickle.loads(packed())
    []
    """
    return pickle.dumps([each for source in _OFFERED.sources for each in source()])


class Companions:
    """What came with live runs into this process."""

    def __init__(self, is_followed: Callable[[], bool]) -> None:
        self._is_followed = is_followed
        self._content = packed()
        self._here: list[GoesWithRuns] = []

    def become(self, content: bytes) -> None:
        """Begin what was sent, in place of what was there."""
        if content == self._content:
            return
        made: list[GoesWithRuns] = pickle.loads(content)  # noqa: S301 -- of the kernel of the same user
        for each in self._here:
            each.end()
        self._here, self._content = made, content
        for each in self._here:
            each.begin_beside(self._is_followed)


def log_failure(error: BaseException) -> None:
    """Say that what goes with live runs is not there."""
    log.warning("notifiers do not tell from the process of the live runs: %s", error_text(error))
