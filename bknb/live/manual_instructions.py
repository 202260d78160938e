"""What somebody wants of a live run, by hand."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ..domain.manage_answers import Cancel, Close, Move, Reduce
from ..domain.signal import Signal


class Flatten(NamedTuple):
    """Close what is open, or take back what waits."""

    note: str = ""


class ActivateEntry(NamedTuple):
    """Open an entry that waits, at the market: the only one, or that of an id."""

    id: str | None = None


Action: TypeAlias = Close | Reduce | Move | Cancel | ActivateEntry
"""A decision about what is open or waits."""
Instruction: TypeAlias = Action | Signal | Flatten
"""What somebody wants; a ``Signal`` is to be opened."""


def name_of(instruction: Action) -> str:
    """What a decision about a position or an entry is called.

    Examples
    --------
    >>> name_of(ActivateEntry()), name_of(Cancel())
    ('activate', 'cancel')
    """
    return "activate" if isinstance(instruction, ActivateEntry) else type(instruction).__name__.lower()
