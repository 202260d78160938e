"""Proposals in a real JupyterLab: the card, its buttons, and the cells they insert; nothing runs by itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import CHROMEDRIVER, CHROMIUM, wait_for
from packages import need_packages
from page import Lab, Page, blank_notebook

if TYPE_CHECKING:
    pass

sys.path.insert(0, str(Path(__file__).parent.parent))
from hostile_replies import HONEST, reply

need_packages("jupyterlab", "anywidget")


pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]

WIDGET = "application/vnd.jupyter.widget-view+json"
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> [link](javascript:alert(1))'
CELLS = """
const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
return JSON.stringify(cells.map(cell => cell.toJSON()));
"""
BUTTONS = "return [...document.querySelectorAll('.bknb-card button')].map(b => [b.textContent, b.disabled])"
CLICK = "document.querySelectorAll('.bknb-card .bknb-insert')[arguments[0]].click()"
SAID = "return document.querySelector('.bknb-card [role=status]').textContent"


def replies() -> list[str]:
    other = HONEST.replace("FAST = 10", "FAST = 8")
    return [reply(title="one", rationale=EVIL), reply(other, title="two")]


@pytest.fixture(scope="module")
def page(lab: Lab) -> Page:
    setup = (
        "import json, bknb\n%load_ext bknb\n"
        f"replies = json.loads({json.dumps(replies())!r})\n"
        "bknb.add_optimizer('ideas', sources=['1h'], exchange='demo', range_train=['2024-01-08:2024-01-10', "
        "'2024-01-10:2024-01-12'], range_test='2024-01-12:2024-01-16', ledger=None, lead_days=5, "
        "model=bknb.llm.recorded(replies));"
    )
    cells = [setup, "%optimize BTCUSDT --optimizer ideas --out found", "last = 'a cell that stays last'"]
    blank_notebook(lab.folder / "card.ipynb", cells)
    made = Page(lab.browser, lab.address("card.ipynb"))
    made.run(0)
    made.run(1)
    wait_for(lambda: lab.browser.count(".bknb-card") == 1, 60, "the card")
    return made


def cells_of(page: Page) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads(page.browser.run(CELLS))
    return made


def test_the_buttons_insert_cells_and_run_nothing(page: Page) -> None:
    browser = page.browser
    assert browser.run(BUTTONS) == [
        ["Insert", False],
        ["Copy", False],
        ["Insert", False],
        ["Copy", False],
        ["Insert all", False],
    ]
    place = os.environ.get("BKNB_SCREENSHOTS")
    if place:
        browser.screenshot(Path(place) / "card-before.png")
    before = cells_of(page)
    browser.run(CLICK, 1)
    wait_for(lambda: len(cells_of(page)) == len(before) + 4, 20, "the cells of one proposal")
    assert "4 cells inserted below; none was run" in browser.run(SAID)
    browser.run(CLICK, 2)
    wait_for(lambda: len(cells_of(page)) == len(before) + 7, 20, "the cells of the other")
    assert browser.run(BUTTONS)[-1] == ["Inserted ✓", True]
    if place:
        browser.screenshot(Path(place) / "card-after.png")
    made = cells_of(page)
    new = made[2:9]
    assert made[-1]["source"] == before[-1]["source"]  # they stand below the card, above what was there
    assert [cell["cell_type"] for cell in new] == ["code", *["markdown", "code", "code"] * 2]
    assert all("bknb-generated" in cell["metadata"]["tags"] for cell in new)
    assert all(cell.get("execution_count") is None for cell in new)
    sources = ["".join(cell["source"]) for cell in new]
    assert sources[0].startswith("bknb.add_frame(")
    assert sum(source.startswith("%%strategy ideas-") for source in sources) == 2
    assert sum(source.startswith("%backtest BTCUSDT --strategy ideas-") for source in sources) == 2
    # and they run when somebody runs them
    for at in (2, 4, 5):
        page.run(at)
    assert "registered" in page.text(4)
    assert "backtest ideas-" in page.text(5)


def test_text_of_the_model_is_escaped(page: Page) -> None:
    assert page.browser.run("return window.hacked ?? 0") == 0
    assert page.browser.count(".bknb-card img, .bknb-card script, .bknb-card a") == 0
    rendered = ".jp-MarkdownCell .jp-RenderedMarkdown"
    assert page.browser.count(f"{rendered} img[src='x'], {rendered} a[href^=javascript]") == 0


def test_the_stored_output_is_readable_without_the_widget(page: Page) -> None:
    (shown,) = [output for output in page.outputs(1) if WIDGET in output.get("data", {})]
    assert "ideas-1" in "".join(shown["data"]["text/html"])
    assert "notebook: dump/optimizer/ideas@BTCUSDT.ipynb" in "".join(shown["data"]["text/plain"])
