"""The tasks of this process by symbol and name; one list for each kind of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from ..errors import UnknownName
from ..log import log
from ..process import at_reset
from .task import Task

T = TypeVar("T", bound=Task[Any, Any])

_END_SECONDS: Final = 10.0  # at most, for a stopped task to end


class TaskList(Generic[T]):
    """The tasks that run, and the latest one of every symbol and name, of one kind of work.

    Parameters
    ----------
    kind
        What a task is called in messages: ``"backtest"``, ``"live run"``, ``"comparison"``, ``"study"``.
    by_name
        Whether a name alone says which task it is; then it is looked up with an empty symbol.
    """

    def __init__(self, kind: str, *, by_name: bool = False) -> None:
        self.kind = kind
        self._by_name = by_name
        self._tasks: dict[tuple[str, str], list[T]] = {}  # oldest first
        at_reset(self.end_and_forget)

    def add(self, task: T) -> T:
        """Add a task, in place of those of that symbol and name that are not running; returns it."""
        known = self._tasks.setdefault(("" if self._by_name else task.symbol, task.strategy), [])
        known[:] = [*filter(_runs, known), task]
        return task

    def find(self, symbol: str, name: str) -> T | None:
        """Return the latest task of a symbol and a name, or None."""
        given: tuple[object, object] = (symbol, name)
        known = self._tasks.get((symbol, name)) if all(isinstance(part, str) for part in given) else None
        return known[-1] if known else None

    def get(self, symbol: str, name: str) -> T:
        """Return the latest task of a symbol and a name; raises ``UnknownName`` with those there are."""
        task = self.find(symbol, name)
        if task is None:
            known = [each if self._by_name else f"{each} on {traded}" for traded, each in self._tasks]
            raise UnknownName(self.kind, name if self._by_name else f"{name} on {symbol}", known=known)
        return task

    def all(self) -> list[T]:
        """Return all that run and the latest of every symbol and name, in order of the names' first time."""
        return [task for known in self._tasks.values() for task in (*filter(_runs, known[:-1]), known[-1])]

    def acted_on(self, symbol: str, name: str) -> list[T]:
        """Return all that run of a symbol and a name, or else the latest; raises ``UnknownName`` like :meth:`get`."""
        latest = self.get(symbol, name)
        return [*filter(_runs, self._tasks[symbol, name])] or [latest]

    def stop(self, symbol: str, name: str, *, now: bool = False) -> None:
        """Stop all that run of a symbol and a name; raises ``UnknownName`` like :meth:`get`."""
        for task in self.acted_on(symbol, name):
            task.stop(now=now)

    def running(self, symbol: str, name: str, same: Callable[[T], bool]) -> T | None:
        """Return the pending task of a symbol and a name for which ``same(task)`` holds, else None."""
        known = self._tasks.get((symbol, name), ())
        return next((task for task in reversed(known) if _runs(task) and same(task)), None)

    def start(self, task: T) -> T:
        """Add a task and start it; returns it."""
        self.add(task).start()
        return task

    def end_and_forget(self) -> None:
        """Stop all tasks, wait up to 10 s for each, and remove them."""
        running = [*filter(_runs, self.all())]
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


def _runs(task: Task[Any, Any]) -> bool:
    return task.status == "pending"
