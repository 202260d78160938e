"""What a test asks of a notebook that is open in JupyterLab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from browser import Browser, wait_for
from page import show

if TYPE_CHECKING:
    pass

_NOTEBOOK = "const panel = window.jupyterapp.shell.currentWidget; const notebook = panel.content;"
_KERNEL = "return window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


def write(path: Path, *cells: str) -> Path:
    """A notebook with these code cells."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


class OpenNotebook:
    """A notebook in the browser."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        self.name = address.split("/tree/", 1)[1].removesuffix("?reset")
        show(browser, address)
        self.ready()

    def ready(self) -> None:
        """Wait until its kernel is idle."""
        model = (
            "const panel = window.jupyterapp?.shell.currentWidget;"
            "return !!panel?.content?.model && panel.context?.path === arguments[0] && panel.context.isReady"
        )
        wait_for(lambda: self.browser.run(model, self.name), 60, "the notebook")
        wait_for(lambda: self.browser.run(_KERNEL), 60, "the kernel")

    def start(self, index: int) -> None:
        """Run a cell without waiting for it."""
        script = "notebook.activeCellIndex = arguments[0]; window.jupyterapp.commands.execute('notebook:run-cell');"
        self.browser.run(_NOTEBOOK + script, index)

    def count(self, index: int) -> int | None:
        """The execution count of a cell; none while it runs."""
        script = (
            "const c = notebook.model.cells.get(arguments[0]);"
            "return c.executionState === 'idle' ? c.executionCount : null"
        )
        found: int | None = self.browser.run(_NOTEBOOK + script, index)
        return found

    def run(self, index: int, seconds: float = 60) -> None:
        """Run a cell and wait until it is done."""
        before = self.count(index)
        self.start(index)
        wait_for(lambda: self.count(index) not in (None, before), seconds, f"cell {index}")

    def printed(self, index: int) -> str:
        """What a cell has printed."""
        script = (
            "const o = notebook.model.cells.get(arguments[0]).outputs.toJSON();"
            "return o.filter(x => x.output_type === 'stream').map(x => [x.text].flat().join('')).join('')"
        )
        return str(self.browser.run(_NOTEBOOK + script, index))

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """The outputs of a cell as they would be stored."""
        script = "return JSON.stringify(notebook.model.cells.get(arguments[0]).outputs.toJSON())"
        found: list[dict[str, Any]] = json.loads(self.browser.run(_NOTEBOOK + script, index))
        return found

    def scroll(self, index: int) -> None:
        """Bring a cell into view."""
        self.browser.run(_NOTEBOOK + "notebook.scrollToItem(arguments[0], 'start')", index)

    def do(self, command: str) -> None:
        """Run a command of JupyterLab and wait for it."""
        script = "window.did = 0; window.jupyterapp.commands.execute(arguments[0]).then(() => window.did = 1)"
        self.browser.run(script, command)
        wait_for(lambda: self.browser.run("return window.did"), 60, command)

    def restart(self) -> None:
        """Restart the kernel, as its button does."""
        script = "window.did = 0; panel.sessionContext.restartKernel().then(() => window.did = 1)"
        self.browser.run(_NOTEBOOK + script)
        wait_for(lambda: self.browser.run("return window.did"), 60, "the restart")
        self.ready()

    def save(self) -> None:
        """Save it, and wait until that has happened."""
        self.browser.run(
            "window.saved = 0; window.jupyterapp.commands.execute('docmanager:save').then(() => window.saved = 1)"
        )
