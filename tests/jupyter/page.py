"""A JupyterLab of its own, and a page of it in a browser."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import without_grammars
from browser import Browser, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHOWN = "return !!window.jupyterapp && location.origin === arguments[0]"
SHOW = """
const app = window.jupyterapp, before = [...app.shell.widgets('main')];
return app.commands.execute('docmanager:open', {path: arguments[0]}).then(made => {
    for (const each of before) if (each !== made) each.dispose();
    app.shell.activateById(made.id);
});
"""
OUTPUTS = """
const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
return JSON.stringify(cells.map(cell => cell.toJSON().outputs));
"""
RUN = """
const notebook = window.jupyterapp.shell.currentWidget.content;
notebook.activeCellIndex = arguments[0];
notebook.deselectAll();
window.jupyterapp.commands.execute('notebook:run-cell');
"""
COUNT = """
const notebook = window.jupyterapp.shell.currentWidget.content;
const cell = notebook.model.cells.get(arguments[0]);
return cell.executionState === 'running' ? null : cell.executionCount;
"""
ADD = """
const panel = window.jupyterapp.shell.currentWidget;
const cells = panel.context.model.sharedModel;
cells.insertCells(cells.cells.length, [{cell_type: 'code', source: arguments[0], metadata: {}}]);
return cells.cells.length - 1;
"""


@contextmanager
def jupyterlab(folder: Path, *, kernels: Path | None = None) -> Iterator[str]:
    """The address of a JupyterLab that serves ``folder / "work"``, knows no settings of ours and writes there alone.

    ``kernels`` is a folder with further kernels, as in ``JUPYTER_PATH``.
    """
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    places += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = {**os.environ, **{name: str(folder / name.lower()) for name in places}}
    if kernels is not None:
        environment["JUPYTER_PATH"] = str(kernels)
    built = folder / "jupyter_config_dir" / "labconfig"
    built.mkdir(parents=True)  # each page would have the server ask yarn, a process of its own, whether to build anew
    (built / "page_config.json").write_text(
        json.dumps({"buildCheck": False, "buildAvailable": False}), encoding="utf-8"
    )
    news = folder / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (news / "notification.jupyterlab-settings").write_text(json.dumps(quiet), encoding="utf-8")
    port = free_port()
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={work}",
    ]
    base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{base}/api", timeout=5):  # noqa: S310 -- our own server
                return True
        except OSError:
            return False

    with (folder / "lab.log").open("w") as log:
        lab = subprocess.Popen(
            without_grammars.command("jupyterlab", *options),
            env=environment,
            cwd=work,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(answers, 60, "JupyterLab")
            yield base
        finally:
            lab.terminate()
            lab.wait(timeout=30)


class Lab(NamedTuple):
    """A folder in a JupyterLab, and a browser."""

    browser: Browser
    base: str
    folder: Path

    def address(self, name: str) -> str:
        """What opens a notebook of the folder, without the tabs of before."""
        return f"{self.base}/lab/tree/{self.folder.name}/{name}?reset"

    def end(self) -> None:
        """End all kernels."""
        self.browser.run("return window.jupyterapp.serviceManager.sessions.shutdownAll().then(() => true)")


def show(browser: Browser, address: str) -> None:
    """Have JupyterLab show a notebook and no other, in the page of it that is there, or in one that is loaded."""
    base, path = address.removesuffix("?reset").split("/lab/tree/")
    if browser.run(SHOWN, base):
        browser.run(SHOW, path)
    else:
        browser.open(address)


def blank_notebook(path: Path, cells: Sequence[str], *, kernel: str = "python3") -> Path:
    """A notebook file with these code cells."""
    sources = [
        {"cell_type": "code", "id": f"c{i}", "source": cell, "metadata": {}, "outputs": [], "execution_count": None}
        for i, cell in enumerate(cells)
    ]
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": sources}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


class Page:
    """A notebook in JupyterLab, in a browser; cells are counted from 0 and are all code."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        show(browser, address)
        wait_for(lambda: browser.run("return !!window.jupyterapp?.shell.currentWidget?.content?.model"), 60, "a model")
        wait_for(lambda: browser.count(".jp-Notebook .jp-Cell") > 0, 60, "the notebook")
        ready = "return window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        wait_for(lambda: browser.run(ready), 60, "the kernel")

    def start(self, cell: int) -> None:
        """Run a cell and return at once."""
        self.browser.run(RUN, cell)

    def add(self, code: str) -> int:
        """A new cell at the end; its number."""
        return int(self.browser.run(ADD, code))

    def finish(self, cell: int, seconds: float = 60) -> None:
        """Wait until a cell is done."""
        wait_for(lambda: self.browser.run(COUNT, cell), seconds, f"cell {cell}")

    def run(self, cell: int, seconds: float = 60) -> None:
        self.start(cell)
        self.finish(cell, seconds)

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        """What the notebook would save for a cell."""
        saved: list[list[dict[str, Any]]] = json.loads(self.browser.run(OUTPUTS))
        return saved[cell]

    def text(self, cell: int) -> str:
        """Everything that is printed or shown as text below a cell."""
        return "".join(_text(output) for output in self.outputs(cell))


def _text(output: dict[str, Any]) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain") or output.get("evalue") or ""
    return "".join(text) if isinstance(text, list) else str(text)
