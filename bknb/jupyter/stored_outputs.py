"""Outputs of a cell that a widget replaces on the page while the kernel runs: see ``static/stored.js``."""

from __future__ import annotations

from typing import Final, Protocol

from .kernel import cell_id, execution_id

WIDGET_MIME: Final = "application/vnd.jupyter.widget-view+json"


class Shown(Protocol):
    """What moves in the output of a cell."""

    def leave(self) -> None:
        """End it and close its widget, as its cell is run again."""


_cells: dict[str, tuple[str, list[Shown]]] = {}
"""What moves in each notebook cell, with the execution that made it."""


def finds_places() -> bool:
    """Whether the front end runs widgets that no output refers to, as JupyterLab and Notebook 7 do."""
    return ":" not in cell_id()  # VS Code names its cells by addresses


def register(shown: Shown) -> None:
    """Register with its cell what is shown there; what an earlier execution showed is ended."""
    cell, execution = cell_id(), execution_id()
    if not cell:
        return
    before, made = _cells.get(cell, ("", []))
    if before != execution:
        _cells[cell] = (execution, [])
        for old in made:
            old.leave()
    _cells[cell][1].append(shown)


def forget(shown: Shown) -> None:
    """Take back ``register``."""
    for execution, made in [*_cells.values()]:
        if shown in made and execution:
            made.remove(shown)
