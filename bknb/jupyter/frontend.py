"""What a notebook shows in place of the terminal's text; :func:`bknb.frontend.frontend` looks it up here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from .. import frontend
from . import display, proposal_card, wait
from .kernel import in_kernel
from .progress import HtmlLine

R = TypeVar("R")


class Notebook(frontend.Terminal):
    """Widgets and pictures; where IPython runs in a terminal, its text."""

    def progress_line(self, label: str) -> frontend.ProgressLine:
        """A line of HTML with a bar, and a sentence in its place at the end."""
        return HtmlLine(label) if in_kernel() else super().progress_line(label)

    def wait(self, task: frontend.Work[R]) -> R:
        """The result of a task, with buttons while a front end looks."""
        result: R = wait.wait_shown(task) if in_kernel() else super().wait(task)
        return result

    def awaited(self, task: Any) -> AbstractContextManager[Callable[[], None]]:
        """Buttons while a coroutine awaits a task."""
        return wait.shown(task)

    def show_task(self, task: Any) -> None:
        """A running task with its buttons."""
        wait.show_task(task)

    def show_result(self, result: Any) -> None:
        """Picture, numbers and trades; once where a magic shows its result and returns it too."""
        display.show(result)

    def show_proposals(self, proposed: Any) -> None:
        """A card whose buttons insert cells."""
        proposal_card.show(proposed)
