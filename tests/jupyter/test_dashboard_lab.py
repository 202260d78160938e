"""Dashboards in a real JupyterLab, in a real browser."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import without_grammars
from browser import CHROMEDRIVER, CHROMIUM, Browser, wait_for
from packages import need_packages

if TYPE_CHECKING:
    pass


from open_lab import OpenNotebook, write
from page import Lab

need_packages("jupyterlab", "anywidget")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]

PREPARE = """
import threading, time, bknb
from bknb.events import subjects
days = {}
def gate(day):
    return days.setdefault(day, threading.Event())
def get_signal(price, when):
    while not gate(when.day).wait(0.05) and not task.stopping:
        pass
    return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
                       minute_estimated_time=300, note=f"hour {when.hour}")
bknb.add_strategy("gated", get_signal=get_signal, interval="15m")
def let(*some):
    for day in some:
        gate(day).set()
def listeners():
    return sum(len(subject.subscriptions) for subject in subjects.ALL)
"""
RUN = """
task = bknb.Backtest.background("BTCUSDT", strategy="gated", exchange="demo", frame="2024-01-01:2024-01-20")
board = bknb.dashboard(task)
board
"""
LIVE = """
import asyncio
class Hurried:
    # a minute every 20 ms
    def __init__(self):
        self.at = 1_704_067_200_000
    def now(self):
        return self.at
    async def sleep_until(self, when):
        await asyncio.sleep(0.02)
        self.at = max(self.at, when)
def enter(price):
    return bknb.Signal(side="long", price_stop_loss=price * 0.5)
def manage(position):
    return {2: bknb.Add(0.5), 4: bknb.Move(price_stop_loss=position.price * 0.999 // 1)}.get(position.minutes)
bknb.add_strategy("managed", interval="1m", get_signal=enter, manage=manage)
live = bknb.Live.background("ETHUSDT", strategy="managed", exchange="demo", clock=Hurried(),
                            store=bknb.stores.memory())
bknb.dashboard(live, panels=["status", "price"])
"""
BUSY = """
from pathlib import Path
began = time.monotonic()
while not Path("enough").exists() and time.monotonic() - began < 60: pass
live.stop(now=True)
live.wait(20)
"""

BOARD = """
const board = document.querySelector('.bknb-dashboard');
return board && JSON.stringify({...board.dataset, text: board.querySelector('.bknb-text')?.textContent,
    now: Number(board.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')),
    trades: board.querySelectorAll('.bknb-trades tbody tr').length,
    tab: board.querySelector('[role=tab]')?.textContent,
    money: board.querySelector('section[aria-label="Equity and drawdown"] p.bknb-hidden')?.textContent});
"""
PRICE = """return document.querySelector('section[aria-label="Price"] p.bknb-hidden')?.textContent"""


@pytest.fixture
def browser(lab: Lab) -> Browser:
    return lab.browser


def opened(lab: Lab, name: str, *cells: str) -> OpenNotebook:
    write(lab.folder / f"{name}.ipynb", *cells)
    return OpenNotebook(lab.browser, lab.address(f"{name}.ipynb"))


def board(browser: Browser) -> dict[str, Any]:
    found = browser.run(BOARD)
    return dict(json.loads(found)) if found else {}


def drawn(browser: Browser) -> int:
    """How many pixels of the equity chart are blue."""
    script = """
    const canvas = document.querySelector('section[aria-label="Equity and drawdown"] canvas');
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let blue = 0;
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] > 100 && data[i + 2] > data[i] + 80) blue += 1;
    }
    return blue;
    """
    return int(browser.run(script))


def test_a_dashboard_follows_a_run_selects_a_trade_and_is_stored(browser: Browser, lab: Lab) -> None:
    waiting = "let(*range(1, 5))\ntime.sleep(0)\nresult = task.result()"
    cells = (PREPARE, RUN, waiting, "let(*range(5, 12))", "let(*range(12, 32))", "print(listeners())")
    notebook = opened(lab, "run", *cells)
    notebook.run(0)
    notebook.run(1)
    notebook.scroll(1)
    wait_for(lambda: board(browser).get("status") == "pending", 30, "the dashboard")
    assert board(browser)["now"] == 0

    # a cell that waits for the result keeps the kernel busy: the panels move all the same
    notebook.start(2)
    wait_for(lambda: board(browser)["now"] >= 10, 30, "progress while a cell is running")
    seen = board(browser)
    assert seen["status"] == "pending"
    assert seen["trades"] > 0
    before = wait_for(lambda: drawn(browser), 20, "an equity curve")
    browser.run("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    wait_for(lambda: notebook.count(2) is not None, 30, "the interrupted cell")

    notebook.run(3)
    wait_for(lambda: board(browser)["now"] > seen["now"], 30, "more progress")
    wait_for(lambda: drawn(browser) > before, 20, "a longer equity curve")
    notebook.run(4)
    wait_for(lambda: board(browser)["status"] == "fulfilled", 60, "the end")
    assert board(browser)["now"] == 100
    kinds = wait_for(lambda: stored(notebook, 1), 30, "the final picture")
    assert {"text/html", "image/png", "text/plain"} <= set(kinds)
    notebook.run(5)
    assert notebook.printed(5) == "0\n"

    # a selected trade: the chart zooms to it in detail, and its events are listed
    whole = board(browser)
    identity = browser.run(
        "const row = document.querySelectorAll('.bknb-trades tbody tr')[3]; row.click();"
        "return row.lastChild.textContent"
    )
    wait_for(lambda: board(browser).get("detail"), 20, "the candles around the trade")
    chosen = board(browser)
    assert chosen["selected"] == identity
    assert int(chosen["to"]) - int(chosen["from"]) < (int(whole["to"]) - int(whole["from"])) / 10
    story = "return document.querySelector('.bknb-story').textContent"
    wait_for(lambda: "closed: " in browser.run(story), 20, "the story")
    assert "hour" in browser.run(story)
    browser.run("[...document.querySelectorAll('.bknb-bar button')].find(b => b.textContent === 'All').click()")
    wait_for(lambda: board(browser)["from"] == whole["from"], 20, "the whole run again")

    # the keyboard: sort by the first column, choose a row with Enter
    browser.run("document.querySelector('.bknb-trades th button').click()")
    sort = "return document.querySelector('.bknb-trades th').getAttribute('aria-sort')"
    wait_for(lambda: browser.run(sort) == "descending", 10, "the order")
    browser.run(
        "const row = document.querySelector('.bknb-trades tbody tr'); row.focus();"
        "row.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))"
    )
    wait_for(lambda: board(browser)["selected"] not in ("", identity), 10, "another trade")

    # what is saved is small and can be read without a kernel, in JupyterLab and in a page of its own
    notebook.save()
    saved = lab.folder / "run.ipynb"
    assert saved.stat().st_size < 600_000
    notebook.restart()
    with browser.tab():
        OpenNotebook(browser, lab.address("run.ipynb")).scroll(1)
        still = "const i = document.querySelector('.bknb-static img'); return i && i.offsetWidth && i.naturalWidth"
        assert wait_for(lambda: browser.run(still), 30, "the picture after a restart") > 500
        assert "hour" in browser.run("return document.querySelector('.bknb-static').textContent")
        command = without_grammars.command("nbconvert", "--to", "html", "--output", "page.html", str(saved))
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        browser.open((lab.folder / "page.html").as_uri())
        assert wait_for(lambda: browser.run(still), 30, "the picture on a page") > 500
        assert "done · " in browser.run("return document.querySelector('.bknb-static').innerText")


def stored(notebook: OpenNotebook, index: int) -> list[str]:
    """The kinds of the last output, once it is the final one."""
    last = notebook.outputs(index)[-1]["data"]
    return list(last) if ": done · " in "".join(last["text/plain"]) else []


def test_a_live_run_ticks_while_another_cell_is_busy(browser: Browser, lab: Lab) -> None:
    notebook = opened(lab, "live", PREPARE, LIVE, BUSY)
    notebook.run(0)
    notebook.run(1)
    notebook.scroll(1)
    tick = "return document.querySelector('.bknb-facts')?.textContent"
    wait_for(lambda: "2024-01-01" in (browser.run(tick) or ""), 60, "a first tick")
    # an add is drawn, and said to who cannot see them
    wait_for(lambda: "adds or parts closed" in (browser.run(PRICE) or ""), 20, "the add")
    assert "+ added" in browser.run("return document.querySelector('.bknb-legend').textContent")
    notebook.start(2)
    wait_for(lambda: notebook.count(2) is None, 20, "the busy cell")
    seen = []

    def another() -> bool:
        seen.append(browser.run(tick))
        return len(set(seen)) >= 6

    wait_for(another, 20, "six ticks")
    assert notebook.count(2) is None, "the busy cell was over before the ticks were seen"
    (lab.folder / "enough").touch()
    wait_for(lambda: notebook.count(2) is not None, 60, "the end")


def test_a_cell_that_is_run_again_shows_one_dashboard_with_one_listener(browser: Browser, lab: Lab) -> None:
    notebook = opened(lab, "again", PREPARE, RUN, "print(listeners())")
    notebook.run(0)
    notebook.run(1)
    notebook.run(2)
    once = notebook.printed(2)
    for _ in range(2):
        notebook.run(1)
    notebook.run(2)
    assert notebook.printed(2) == once != "0\n"
    notebook.scroll(1)
    wait_for(lambda: browser.count(".bknb-dashboard") == 1, 20, "one dashboard")
    browser.run("document.querySelector('.bknb-dashboard .bknb-stop_now').click()")  # its buttons
    wait_for(lambda: board(browser).get("status") == "stopped", 30, "the end")
    assert browser.count(".bknb-dashboard .bknb-controls") == 0
