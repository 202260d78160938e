"""Process-wide state: functions that reset it, and functions that restore it after a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

F = TypeVar("F", bound=Callable[[], object])

_resets: Final[list[Callable[[], object]]] = []


def at_reset(undo: F) -> F:
    """Register a function that resets one piece of process-wide state; usable as a decorator.

    Parameters
    ----------
    undo
        Called without arguments, at most once for every reset, never concurrently with itself.

    Examples
    --------
    >>> chosen = ["a store"]
    >>> reset = at_reset(chosen.clear)
    >>> reset_all()
    >>> chosen
    []
    """
    _resets.append(undo)
    return undo


def after_fork(restart: F) -> F:
    """Register a function that a forked child calls before anything else; usable as a decorator.

    Threads stay with the parent and locks may be held for ever in the child: each module makes its own anew. Where a
    process cannot be forked nothing happens.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=restart)
    return restart


def reset_all() -> None:
    """Call every function of ``at_reset``, those registered last first: dependents before what they depend on."""
    for undo in reversed(_resets):
        undo()
