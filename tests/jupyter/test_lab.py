"""The first notebook in a real JupyterLab, looked at by a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("jupyterlab")
pytest.importorskip("plotly")

SHARING = Path(__file__).parent.parent.parent / "notebooks" / "07-sharing.ipynb"
NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "01-first-backtest.ipynb"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]


@pytest.fixture
def address(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A JupyterLab of its own, with a copy of the notebook (or of another one, as the fixture's parameter)."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(getattr(request, "param", NOTEBOOK), work / "first.ipynb")
    port = free_port()
    folders = {
        name: str(tmp_path / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    folders |= {name: str(tmp_path / name.lower()) for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    news = tmp_path / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (news / "notification.jupyterlab-settings").write_text(json.dumps(quiet), encoding="utf-8")
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={work}",
    ]
    with (tmp_path / "lab.log").open("w") as log:
        lab = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env={**os.environ, **folders},
            cwd=work,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            base = f"http://127.0.0.1:{port}"

            def answers() -> bool:
                try:
                    with urllib.request.urlopen(f"{base}/api", timeout=5):  # noqa: S310 -- our own server
                        return True
                except OSError:
                    return False

            wait_for(answers, 60, "JupyterLab")
            yield f"{base}/lab/tree/first.ipynb"
        finally:
            lab.terminate()
            lab.wait(timeout=30)


LOOK = """
const notebook = window.jupyterapp.shell.currentWidget.content;
const cells = [...notebook.model.cells].filter(cell => cell.type === 'code');
return JSON.stringify(cells.map(cell => [
    cell.executionState, cell.executionCount, [...Array(cell.outputs.length).keys()].map(i => cell.outputs.get(i).type)
]));
"""
SHOW = """
const notebook = window.jupyterapp.shell.currentWidget.content;
notebook.activeCellIndex = arguments[0];
notebook.scrollToItem(arguments[0], 'start');
"""
CLEAR = "window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
VISIBLE = """
const box = document.querySelector(arguments[0])?.getBoundingClientRect();
return box ? [box.width, box.height] : [0, 0];
"""


def test_run_all_shows_a_chart_and_a_table(address: str, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(address)
        wait_for(lambda: browser.count(".jp-Notebook .jp-Cell") > 3, 60, "the notebook")
        wait_for(
            lambda: browser.run("return !!window.jupyterapp?.shell.currentWidget?.content?.model"), 30, "its model"
        )
        ready = "return window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        wait_for(lambda: browser.run(ready), 60, "the kernel")
        browser.run(CLEAR)
        wait_for(lambda: browser.count(".bknb-result") == 0, 30, "an empty notebook")
        browser.run(RUN_ALL)

        def finished() -> bool:
            cells = json.loads(browser.run(LOOK))
            return all(count for _, count, _ in cells) and "display_data" in cells[1][2]

        wait_for(finished, 120, "the last cell")
        assert "error" not in [kind for _, _, kinds in json.loads(browser.run(LOOK)) for kind in kinds]
        browser.run(SHOW, 3)
        wait_for(lambda: browser.count(".js-plotly-plot .plot-container") > 0, 20, "the chart")
        width, height = browser.run(VISIBLE, ".js-plotly-plot")
        assert width > 400
        assert height > 300
        assert browser.count(".bknb-result table") >= 1


SAVE = "return window.jupyterapp.commands.execute('docmanager:save').then(() => true)"


@pytest.mark.parametrize("address", [SHARING], indirect=True)
def test_a_saved_notebook_keeps_its_run_cards(address: str, tmp_path: Path) -> None:
    """What JupyterLab writes (20.0 as 20, keys in another order) is still a card whose checksum matches."""
    import nbformat

    from bknb.sharing.rerun import cards_in

    before = cards_in(nbformat.read(SHARING, as_version=4))
    with Browser(tmp_path / "profile") as browser:
        browser.open(address)
        wait_for(lambda: browser.count(".jp-Notebook .jp-Cell") > 3, 60, "the notebook")
        ready = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        wait_for(lambda: browser.run(ready), 60, "the kernel")
        browser.run(CLEAR)
        wait_for(lambda: browser.count(".bknb-result") == 0, 30, "an empty notebook")
        browser.run(RUN_ALL)
        wait_for(lambda: all(count for _, count, _ in json.loads(browser.run(LOOK))), 120, "the last cell")
        assert "error" not in [kind for _, _, kinds in json.loads(browser.run(LOOK)) for kind in kinds]
        browser.run(SHOW, 3)
        if shots := os.environ.get("BKNB_SCREENSHOTS"):
            browser.screenshot(Path(shots) / "sharing.png")
        assert browser.run(SAVE)
    after = cards_in(nbformat.read(tmp_path / "work" / "first.ipynb", as_version=4))
    assert [card.outcome.digest for card in after] == [card.outcome.digest for card in before] != []
