"""Process-wide state: functions that reset it, and functions that restore it after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

F = TypeVar("F", bound=Callable[[], object])

_resets: Final[list[Callable[[], object]]] = []
_resetting = threading.RLock()


def at_reset(undo: F) -> F:
    """Register a function that resets one piece of process-wide state; usable as a decorator.

    Parameters
    ----------
    undo
        Called without arguments, once for every reset, never in two threads at a time.

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
    """Call every function of ``at_reset``, those registered last first: dependents before what they depend on.

    Another thread that resets meanwhile waits for its turn.

    Raises
    ------
    Exception
        What a function raised, after all were called; an ExceptionGroup when several did.
    """
    errors: list[Exception] = []
    with _resetting:
        for undo in reversed([*_resets]):
            try:
                undo()
            except Exception as error:  # noqa: BLE001 -- raised below, when the others were called
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("parts of bknb could not be reset", errors)


@after_fork
def _new_lock() -> None:
    global _resetting  # noqa: PLW0603 -- another thread of the parent may have held it
    _resetting = threading.RLock()
