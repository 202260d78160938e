"""The first notebook in a real JupyterLab, in a real browser: what it shows, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, wait_for
from packages import need_packages
from page import Lab, show

nbformat = pytest.importorskip("nbformat")

need_packages("jupyterlab", "plotly")

NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "01-first-backtest.ipynb"
SHARING = NOTEBOOK.with_name("07-sharing.ipynb")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]


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
SAVE = "return window.jupyterapp.commands.execute('docmanager:save').then(() => true)"
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
VISIBLE = """
const box = document.querySelector(arguments[0])?.getBoundingClientRect();
return box ? [box.width, box.height] : [0, 0];
"""


def all_run(lab: Lab, notebook: Path) -> Browser:
    """A notebook in JupyterLab, all of its cells run."""
    (lab.folder / notebook.name).write_bytes(notebook.read_bytes())
    browser = lab.browser
    show(browser, lab.address(notebook.name))
    wait_for(lambda: browser.count(".jp-Notebook .jp-Cell") > 3, 60, "the notebook")
    wait_for(lambda: browser.run("return !!window.jupyterapp?.shell.currentWidget?.content?.model"), 30, "its model")
    ready = "return window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    wait_for(lambda: browser.run(ready), 60, "the kernel")
    browser.run(CLEAR)
    wait_for(lambda: browser.count(".bknb-result") == 0, 30, "an empty notebook")
    browser.run(RUN_ALL)

    def finished() -> bool:
        cells = json.loads(browser.run(LOOK))
        return all(count for _, count, _ in cells) and (notebook == SHARING or "display_data" in cells[1][2])

    wait_for(finished, 120, "the last cell")
    return browser


@pytest.fixture(scope="module")
def browser(lab: Lab) -> Browser:
    """The first notebook."""
    return all_run(lab, NOTEBOOK)


def test_run_all_shows_a_chart_and_a_table(browser: Browser) -> None:
    assert "error" not in [kind for _, _, kinds in json.loads(browser.run(LOOK)) for kind in kinds]
    browser.run(SHOW, 3)
    wait_for(lambda: browser.count(".js-plotly-plot .plot-container") > 0, 20, "the chart")
    assert browser.count(".js-plotly-plot .plot-container svg.main-svg") > 0
    width, height = browser.run(VISIBLE, ".js-plotly-plot")
    assert width > 400
    assert height > 300
    rows = browser.run("return document.querySelector('.bknb-result table')?.rows.length ?? 0")
    assert rows >= 3
    assert browser.count(".bknb-controls") == 0  # buttons are there only while something runs


def keeps_its_run_cards(browser: Browser, saved: Path, notebook: Path) -> None:
    """What JupyterLab writes (20.0 as 20, keys in another order) is still a card whose checksum matches."""
    from bknb.sharing.verify_notebook import cards_in

    before = cards_in(nbformat.read(notebook, as_version=4))
    stored = saved.read_bytes()
    assert browser.run(SAVE)
    assert saved.read_bytes() != stored
    after = cards_in(nbformat.read(saved, as_version=4))
    assert [card.outcome.digest for card in after] == [card.outcome.digest for card in before] != []


def test_a_saved_notebook_keeps_its_run_cards(browser: Browser, lab: Lab) -> None:
    keeps_its_run_cards(browser, lab.folder / NOTEBOOK.name, NOTEBOOK)


@pytest.mark.long
def test_a_saved_notebook_that_others_verify_keeps_its_run_cards(lab: Lab) -> None:
    browser = all_run(lab, SHARING)
    assert "error" not in [kind for _, _, kinds in json.loads(browser.run(LOOK)) for kind in kinds]
    keeps_its_run_cards(browser, lab.folder / SHARING.name, SHARING)
