"""The display of results, tasks and progress: text in a terminal, widgets and pictures in a notebook.

Modules that compute call :func:`frontend` and know no other way to show something. In a Jupyter kernel it gives the
notebook's front end, which is imported by its name and only there; everywhere else the terminal's.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final, Protocol, TypeVar

from .process import at_reset

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Work(Protocol[R_co]):
    """A task as a front end waits for it."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; returns whether it is."""

    def stop(self, *, now: bool = False) -> None:
        """End it early."""

    def result(self) -> R_co:
        """The result of the task; raises what it failed with."""


class ProgressLine(Protocol):
    """A line that follows work of known size."""

    def update(self, fraction: float, *, seconds: float, facts: list[str]) -> None:
        """Show the finished part (0 to 1), the seconds it took, and further facts."""

    def close(self, text: str) -> None:
        """Leave a sentence in place of the line."""


class Frontend(Protocol):
    """The display functions of a terminal or notebook, and waiting for a task."""

    def progress_line(self, label: str) -> ProgressLine:
        """A line that follows work of known size."""

    def wait(self, task: Work[R]) -> R:
        """The result of a task; an interrupt from the keyboard stops the task and gives what there is."""

    def awaited(self, task: Any) -> AbstractContextManager[Callable[[], None]]:
        """A context around awaiting a task; it gives a function to call now and then to update the display."""

    def show_task(self, task: Any) -> None:
        """Show a running task; ``NotImplementedError`` lets IPython show its text."""

    def show_result(self, result: Any) -> None:
        """Show the result of a run."""

    def show_portfolio(self, result: Any) -> None:
        """Show the result of a portfolio."""

    def show_proposals(self, proposed: Any) -> None:
        """Show what an optimizer proposes."""

    def show_sliders(self, found: Any) -> None:
        """Show sliders over the parameters of a strategy."""


class TerminalLine:
    """A progress line on the standard error; where that is a pipe or a file, only the last sentence is written.

    Parameters
    ----------
    label : str
        What is going on.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._bar: Any = None

    def update(self, fraction: float, *, seconds: float, facts: list[str]) -> None:  # noqa: ARG002 -- it has a clock
        """Show how far it is and how long it still takes."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            text = "{desc}: {percentage:.0f} % |{bar:20}|{postfix}, {remaining} left"
            self._bar = _bar_class()(
                total=1.0, desc=self.label, bar_format=text, file=sys.stderr, leave=False, dynamic_ncols=True
            )
        self._bar.n = min(fraction, 0.99)
        self._bar.set_postfix_str(", ".join(facts))

    def close(self, text: str) -> None:
        """Leave a sentence in place of the line."""
        if self._bar is not None:
            self._bar.close()
        sys.stderr.write(f"{self.label}: {text}\n")
        sys.stderr.flush()


@cache
def _bar_class() -> Any:
    """Tqdm's bar without its thread, and with a lock that does not settle how this process may start others."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        monitor_interval = 0

    Bar.set_lock(threading.RLock())
    return Bar


class Terminal:
    """Everything as text."""

    def progress_line(self, label: str) -> ProgressLine:
        """A line on the standard error."""
        return TerminalLine(label)

    def wait(self, task: Work[R]) -> R:
        """The result of a task; nothing is shown meanwhile."""
        try:
            task.wait()
        except KeyboardInterrupt:
            task.stop(now=True)
            task.wait()
        return task.result()

    def awaited(self, task: Any) -> AbstractContextManager[Callable[[], None]]:  # noqa: ARG002 -- for a notebook
        """Nothing is shown."""
        return nullcontext(lambda: None)

    def show_task(self, task: Any) -> None:
        """Nothing but its text, which IPython shows."""
        raise NotImplementedError

    def show_result(self, result: Any) -> None:
        """Its summary."""
        print(repr(result))  # noqa: T201 -- a terminal shows text

    def show_portfolio(self, result: Any) -> None:
        """Its summary."""
        self.show_result(result)

    def show_proposals(self, proposed: Any) -> None:
        """The ranking, and the path of the notebook."""
        print(repr(proposed))  # noqa: T201 -- a terminal shows text

    def show_sliders(self, found: Any) -> None:
        """The position they are at, with its figures."""
        print(repr(found))  # noqa: T201 -- a terminal shows text


_TERMINAL: Final = Terminal()
_registered: Frontend | None = None


def register(chosen: Frontend | None) -> None:
    """Show everything through ``chosen`` from now on; ``None`` goes back to what this process is."""
    global _registered  # noqa: PLW0603 -- one front end for the process
    _registered = chosen


@at_reset
def _reset() -> None:
    register(None)


def frontend() -> Frontend:
    """The front end of this process: the registered one, else the notebook's in a kernel, else the terminal's.

    Examples
    --------
    >>> frontend().progress_line("download BTCUSDT").close("done")
    """
    if _registered is not None:
        return _registered
    return notebook() if _in_kernel() else _TERMINAL


def notebook() -> Frontend:
    """The notebook's front end. Nowhere else does a module of bknb reach up to ``bknb.jupyter``."""
    made: Frontend = importlib.import_module("bknb.jupyter.frontend").notebook(_TERMINAL)
    return made


def _in_kernel() -> bool:
    """Whether this process is a Jupyter kernel; asked without importing anything."""
    if "ipykernel" in sys.modules:
        return True
    ipython = sys.modules.get("IPython.core.getipython")  # kernels that are not ipykernel have its shell
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
