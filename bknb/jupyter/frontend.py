"""The notebook front end: widgets and pictures; :func:`bknb.frontend.notebook` looks it up here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from . import display, proposal_card, sliders, wait
from .kernel import in_kernel
from .progress import HtmlLine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ..frontend import Frontend, ProgressLine, Work

R = TypeVar("R")


class Notebook:
    """Widgets and pictures; what waits and moves is left to the terminal's front end where IPython runs in a terminal.

    Parameters
    ----------
    terminal : Frontend
    """

    def __init__(self, terminal: Frontend) -> None:
        self._terminal = terminal

    def progress_line(self, label: str) -> ProgressLine:
        """A line of HTML with a bar, replaced by a sentence at the end."""
        return HtmlLine(label) if in_kernel() else self._terminal.progress_line(label)

    def wait(self, task: Work[R]) -> R:
        """The result of a task, with buttons where a front end shows widgets."""
        if not in_kernel():
            return self._terminal.wait(task)
        result: R = wait.wait_shown(task)
        return result

    def awaited(self, task: Any) -> AbstractContextManager[Callable[[], None]]:
        """Buttons while a coroutine awaits a task."""
        return wait.shown(task)

    def show_task(self, task: Any) -> None:
        """Show a running task with its buttons."""
        wait.show_task(task)

    def show_result(self, result: Any) -> None:
        """Show picture, numbers and trades; once per cell where a magic shows its result and also returns it."""
        display.show(result)

    def show_portfolio(self, result: Any) -> None:
        """Show the figure of its account, where it has one, and its legs."""
        display.show(result)

    def show_proposals(self, proposed: Any) -> None:
        """Show a card whose buttons insert cells."""
        proposal_card.show(proposed)

    def show_sliders(self, found: Any) -> None:
        """Show sliders that move."""
        sliders.show(found)


def notebook(terminal: Frontend) -> Frontend:
    """The notebook's front end, on top of the terminal's."""
    return Notebook(terminal)
