"""A notebook that JupyterLab saved keeps its run cards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, wait_for
from page import jupyterlab

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupyterlab")

NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "07-sharing.ipynb"
CLEAR = "window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
LOOK = """
const notebook = window.jupyterapp.shell.currentWidget.content;
const cells = [...notebook.model.cells].filter(cell => cell.type === 'code');
return JSON.stringify(cells.map(cell => [cell.executionCount,
    [...Array(cell.outputs.length).keys()].map(i => cell.outputs.get(i).type)]));
"""
SAVE = "return window.jupyterapp.commands.execute('docmanager:save').then(() => true)"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]


def test_a_saved_notebook_keeps_its_run_cards(tmp_path: Path) -> None:
    """What JupyterLab writes (20.0 as 20, keys in another order) is still a card whose checksum matches."""
    from bknb.sharing.verify_notebook import cards_in

    before = cards_in(nbformat.read(NOTEBOOK, as_version=4))
    with jupyterlab(tmp_path, NOTEBOOK) as address, Browser(tmp_path / "profile") as browser:
        browser.open(address)
        wait_for(lambda: browser.count(".jp-Notebook .jp-Cell") > 3, 60, "the notebook")
        ready = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        wait_for(lambda: browser.run(ready), 60, "the kernel")
        browser.run(CLEAR)
        wait_for(lambda: browser.count(".bknb-result") == 0, 30, "an empty notebook")
        browser.run(RUN_ALL)
        wait_for(lambda: all(count for count, _ in json.loads(browser.run(LOOK))), 120, "the last cell")
        assert "error" not in [kind for _, kinds in json.loads(browser.run(LOOK)) for kind in kinds]
        assert browser.run(SAVE)
    (saved,) = (tmp_path / "work").glob("*.ipynb")
    after = cards_in(nbformat.read(saved, as_version=4))
    assert [card.outcome.digest for card in after] == [card.outcome.digest for card in before] != []
