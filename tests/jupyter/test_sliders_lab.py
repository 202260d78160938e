"""Sliders in a real JupyterLab: keyboard and quick moves, two browsers, what is kept and stored, and a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, wait_for
from open_lab import OpenNotebook, write
from packages import need_packages
from page import Lab
from test_sliders_magic import BODY, RUN

need_packages("jupyterlab", "anywidget", "numba")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]

CELL = f"%%backtest {RUN} --interact hours=2:40 mode=both,short\n{BODY}"
DRAWN = "return document.querySelector('.bknb-sliders')?.dataset.drawn"
COUNTED = "return document.querySelector('.bknb-sliders .bknb-count').textContent"
FOCUSED = "return [document.activeElement.type, document.activeElement.getAttribute('aria-valuetext')]"
QUICKLY = """
const input = document.querySelector('.bknb-sliders input');
for (let at = 0; at <= 30; at += 1) {
    setTimeout(() => { input.value = String(at); input.dispatchEvent(new Event('input', {bubbles: true})); }, 3 * at);
}
"""
SOURCES = "return [...window.jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.toJSON().source)"
ARROW_RIGHT, END = "\ue014", "\ue010"


def press(browser: Browser, key: str) -> None:
    keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
    browser.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})


def drawn(browser: Browser, places: str) -> None:
    wait_for(lambda: browser.run(DRAWN) == places, 30, f"the position {places}")


def stored(notebook: OpenNotebook) -> dict[str, Any]:
    return dict(notebook.outputs(1)[-1]["data"])


def screenshot(browser: Browser, name: str) -> None:
    if place := os.environ.get("BKNB_SCREENSHOTS"):
        browser.screenshot(Path(place) / f"sliders-{name}.png")


def test_sliders_move_are_stored_kept_and_seen_in_another_browser(lab: Lab) -> None:
    browser = lab.browser
    write(lab.folder / "sliders.ipynb", "import bknb\n%load_ext bknb", CELL)
    address = lab.address("sliders.ipynb")
    notebook = OpenNotebook(browser, address)
    notebook.run(0)
    notebook.run(1)
    drawn(browser, "2 0")
    assert "\n" not in stored(notebook)["text/plain"].partition("hours=4")[0].partition("\n")[2].strip()
    assert browser.count(".bknb-static > *:not([style*='none'])") == 1  # the widget alone is seen
    screenshot(browser, "begin")

    browser.run("document.querySelector('.bknb-sliders input').focus()")
    press(browser, ARROW_RIGHT)
    drawn(browser, "3 0")
    press(browser, END)
    drawn(browser, "38 0")
    assert browser.run(COUNTED).startswith("3 combinations looked at · the 3rd strategy tried")
    wait_for(lambda: "hours=40" in stored(notebook)["text/html"], 30, "the stored position")
    wait_for(lambda: browser.run(FOCUSED) == ["range", "40"], 10, "the focus, after the output was rewritten")

    browser.run(QUICKLY)
    drawn(browser, "30 0")
    looked = int(browser.run(COUNTED).split()[0])
    assert 4 <= looked < 3 + 30  # most of the moves were passed over

    browser.run("document.querySelector('.bknb-keep').click()")
    sources = wait_for(lambda: (made := browser.run(SOURCES)) and len(made) == 3 and made, 20, "the cell that keeps it")
    assert sources[2].startswith(f"%%backtest {RUN} --params \"hours=32, mode='both'\"\n")

    wait_for(lambda: "hours=32" in stored(notebook)["text/html"], 30, "the stored position")
    notebook.save()
    with browser.tab():  # another browser, with the same kernel
        browser.open(address)
        drawn(browser, "30 0")
        browser.run(
            "const mode = document.querySelectorAll('.bknb-sliders input')[1]; mode.value = '1';"
            "mode.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        drawn(browser, "30 1")
    drawn(browser, "30 1")
    assert browser.run("return document.querySelectorAll('.bknb-sliders output')[1].textContent") == "short"

    notebook.restart()
    said = "return document.querySelector('.bknb-sliders .bknb-status')?.textContent"
    wait_for(lambda: "run the cell again" in (browser.run(said) or ""), 20, "what is said after a restart")
    assert browser.run("return [...document.querySelectorAll('.bknb-sliders input')].every(input => input.disabled)")
    screenshot(browser, "restarted")
