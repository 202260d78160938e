"""Units of work that workers do, the work dirs that hold what these need, and the executors that have them done."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

TRIES: Final = 3  # how often a task is given to a worker before it fails


class Unit:
    """Work that a worker does in one go; it is given to one again where the worker dies."""

    __slots__ = ("tries",)

    def __init__(self) -> None:
        self.tries = 0

    def fail(self) -> bool:
        """Count one failed try; returns whether another is allowed."""
        self.tries += 1
        return self.tries < TRIES


Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments."""
Scatter: TypeAlias = Callable[[Hashable, Callable[[], Any]], Any]
"""Sends what the function returns to all workers of a cluster, once for each key; returns what stands for it there."""
U = TypeVar("U", bound=Unit)
U_contra = TypeVar("U_contra", bound=Unit, contravariant=True)


class WorkDir(Protocol[U_contra]):
    """What workers need for units of work beside them, in a folder or scattered to a cluster."""

    @property
    def folder(self) -> Path:
        """The folder that workers read."""
        ...

    def call(self, unit: U_contra) -> Call:
        """What a worker calls that can read the folder."""
        ...

    def scattered(self, unit: U_contra, scatter: Scatter) -> Call:
        """What a worker of a cluster calls."""
        ...

    def forget(self) -> None:
        """Release what this process cached of it, where it did units itself."""
        ...


class Executor(Protocol[U]):
    """Has units done; the answers come back in any order, ``None`` for a unit whose worker died every time."""

    workers: int

    def run(self, units: Sequence[U], stopping: Callable[[], bool]) -> Iterator[tuple[U, Any]]:
        """Yield each unit with its answer, until ``stopping()`` is true."""
        ...

    def close(self) -> None:
        """Release what was taken for it."""
        ...


def called(call: Call) -> Any:
    """Return what a call returns; runs in a worker."""
    function, given = call
    return function(*given)
