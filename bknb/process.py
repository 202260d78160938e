"""What bknb keeps for a whole process: each module says how its part returns to the start, and survives a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

F = TypeVar("F", bound=Callable[[], object])

_undoing: Final[list[Callable[[], object]]] = []


def at_reset(undo: F) -> F:
    """Register a function that brings one process-wide thing back to its start; usable as a decorator.

    Parameters
    ----------
    undo
        Called without arguments, at most once for every reset, never concurrently with itself.

    Examples
    --------
    >>> chosen = ["a store"]
    >>> forget = at_reset(chosen.clear)
    >>> return_to_start()
    >>> chosen
    []
    """
    _undoing.append(undo)
    return undo


def after_fork(restart: F) -> F:
    """Register a function that a forked child calls before anything else; usable as a decorator.

    Threads stay with the parent and locks may be held for ever in the child: each module makes its own anew. Where a
    process cannot be forked nothing happens.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=restart)
    return restart


def return_to_start() -> None:
    """Call every function of ``at_reset``, those registered last first: what builds upon others goes before them."""
    for undo in reversed(_undoing):
        undo()
