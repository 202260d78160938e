"""What was decided in reading the answers to a request, for the run that asked.

A source answers several runs, at the same time too; a note goes with the request, in whichever task or thread it is
answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

Notes: TypeAlias = dict[str, None]
"""Texts, each once, in the order in which they came."""

_asked: Final[ContextVar[Notes | None]] = ContextVar("bknb_answer_notes", default=None)


@contextmanager
def noting() -> Iterator[Notes]:
    """Collect the notes of the requests made inside.

    Examples
    --------
    >>> with noting() as notes:
    ...     note("the volume is that of the column 'Volume BTC'")
    ...     note("the volume is that of the column 'Volume BTC'")
    >>> list(notes)
    ["the volume is that of the column 'Volume BTC'"]
    """
    notes: Notes = {}
    token = _asked.set(notes)
    try:
        yield notes
    finally:
        _asked.reset(token)


def note(text: str) -> None:
    """Add a note to the request that is being answered; where nobody collects them it is dropped."""
    notes = _asked.get()
    if notes is not None:
        notes[text] = None


class Told:
    """The notes that a run was told, each once.

    Examples
    --------
    >>> told = Told(print)
    >>> told.tell("BTCUSDT", ["read as seconds"])
    read as seconds
    >>> told.tell("BTCUSDT", ["read as seconds"])
    >>> told.of("BTCUSDT"), told.of("ETHUSDT")
    (('read as seconds',), ())
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self._notes: dict[str | None, Notes] = {}
        self._seen: set[tuple[str, ...]] = set()

    def tell(self, symbol: str | None, notes: Iterable[str]) -> None:
        """Tell what is new of the answers for a symbol; ``None``: of the whole source."""
        known = self._notes.setdefault(symbol, {})
        for text in notes:
            if text not in known:
                known[text] = None
                self._warn(text)

    def is_first(self, *kind: str) -> bool:
        """Whether this kind of note comes for the first time, whatever its text."""
        before = len(self._seen)
        self._seen.add(kind)
        return len(self._seen) > before

    def of(self, symbol: str) -> tuple[str, ...]:
        """What was told of the whole source, and of the answers for a symbol."""
        return (*self._notes.get(None, ()), *self._notes.get(symbol, ()))


def ignored(_: str) -> None:
    """Drop a warning, such as one of another run over candles that were warned of before."""
