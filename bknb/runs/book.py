"""The tasks of this process by symbol and name; one book for each kind of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from ..errors import UnknownName
from ..log import log
from ..process import at_reset
from .task import Task

T = TypeVar("T", bound=Task[Any, Any])

_END_SECONDS: Final = 10.0  # at most, for a stopped task to end


class TaskBook(Generic[T]):
    """The latest task of every symbol and name, of one kind of work.

    Parameters
    ----------
    kind
        What a task is called in messages: ``"backtest"``, ``"live run"``, ``"comparison"``, ``"study"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._tasks: dict[tuple[str, str], T] = {}
        at_reset(self.end_and_forget)

    def add(self, task: T) -> T:
        """Add a task, in place of the earlier one of that symbol and name; returns it."""
        self._tasks[task.symbol, task.strategy] = task
        return task

    def find(self, symbol: str, name: str) -> T | None:
        """Return the latest task of a symbol and a name, or None."""
        given: tuple[object, object] = (symbol, name)
        return self._tasks.get((symbol, name)) if all(isinstance(part, str) for part in given) else None

    def get(self, symbol: str, name: str) -> T:
        """Return the latest task of a symbol and a name; raises ``UnknownName`` with those there are."""
        task = self.find(symbol, name)
        if task is None:
            known = [f"{each} on {traded}" for traded, each in self._tasks]
            raise UnknownName(self.kind, f"{name} on {symbol}", known=known)
        return task

    def all(self) -> list[T]:
        """Return the latest task of every symbol and name, in order of their first time."""
        return list(self._tasks.values())

    def running(self, symbol: str, name: str, same: Callable[[T], bool]) -> T | None:
        """Return the pending task of a symbol and a name for which ``same(task)`` holds, else None."""
        task = self.find(symbol, name)
        return task if task is not None and task.status == "pending" and same(task) else None

    def start(self, task: T) -> T:
        """Add a task and start it; returns it."""
        self.add(task).start()
        return task

    def end_and_forget(self) -> None:
        """Stop all tasks, wait up to 10 s for each, and remove them."""
        running = [task for task in self.all() if task.status == "pending"]
        for task in running:
            task.stop(now=True)
        for task in running:
            if not task.wait(_END_SECONDS):
                log.warning(
                    "the %s of %r on %s did not end within %g s; it was left",
                    task.kind,
                    task.strategy,
                    task.symbol,
                    _END_SECONDS,
                )
        self._tasks.clear()
