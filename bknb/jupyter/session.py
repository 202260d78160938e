"""The state of one notebook session: its magics and its runs."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import bknb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .magics.options_read_from_line import Call, Command

Action: TypeAlias = "Callable[[Session, Call], Any]"
"""The function of a magic; it returns the value of the cell."""

RUNS_HELD: Final = 20
"""The number of runs a session holds."""


@dataclass(slots=True)
class Run:
    """One run of this session.

    Attributes
    ----------
    number : int
        Counted from 1.
    label : str
        Strategy, symbol and frame.
    task : Task
        The task, running or over.
    """

    number: int
    label: str
    task: Any

    def finished(self) -> Any:
        """The result, or None while the run is not over; the task reloads candles it has released."""
        return self.task.result() if self.task.done else None


@dataclass(slots=True)
class Session:
    """The state behind the magics of one IPython shell."""

    shell: Any
    commands: dict[str, Command]
    runs: list[Run] = field(default_factory=list)
    shown: tuple[Any, int] | None = None
    quiet: bool = False
    listener: logging.Handler | None = None
    counted: int = 0

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's variables."""
        names: dict[str, Any] = self.shell.user_ns
        return names

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Suppress the registry's notices while a magic registers a name and reports it itself."""
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False

    def show_first(self, result: Any, execution: int) -> bool:
        """Note that a result is shown in an execution; False when the same one was shown in it before."""
        before, self.shown = self.shown, (result, execution)
        return before is None or before[0] is not result or before[1] != execution

    def forget_shown(self) -> None:
        """Let the next result be shown, whichever was shown before."""
        self.shown = None

    def listen(self, handler: logging.Handler) -> None:
        """Hold the log handler that prints notices."""
        self.listener = handler

    def add(self, label: str, *, task: Any) -> Run:
        """Add a run; the oldest is dropped beyond :data:`RUNS_HELD`."""
        self.counted += 1
        run = Run(number=self.counted, label=label, task=task)
        self.runs = [*self.runs, run][-RUNS_HELD:]
        return run

    def run(self, number: Any = None) -> Run:
        """The run of a number, or the newest.

        Raises
        ------
        UsageError
            When there is none.
        """
        if number is None:
            if not self.runs:
                raise bknb.UsageError("nothing has run in this session yet\nstart with %backtest --help")
            return self.runs[-1]
        for run in self.runs:
            if str(run.number) == str(number):
                return run
        known = ", ".join(str(run.number) for run in self.runs) or "none yet"
        raise bknb.UsageError(f"there is no run {number}\nruns of this session: {known}; %runs lists them")
