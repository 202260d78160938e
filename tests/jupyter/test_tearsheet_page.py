"""A tear sheet in a browser: nothing is cut off or written over something else, at any width, light, dark, on paper."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser

import bknb
from bknb.jupyter.run_buttons import source
from bknb.reports.backtest_report import summary_html
from bknb.reports.portfolio_in_notebook import portfolio_account_html
from bknb.reports.portfolio_panels import PORTFOLIO_PANELS, panel_html, status_text

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="needs Chromium and chromedriver"),
]

PAPER = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True, "printBackground": True}
NOTE = "a dip of the morning that was seen at the open"
LONG = "mean reversion of the spread with a very long name"
MEASURE = """
const wide = document.documentElement.clientWidth, found = [];
const say = (what, element) => found.push(`${what}: ${element.className} "${element.textContent.slice(0, 40)}"`);
if (document.documentElement.scrollWidth > wide) found.push("the page scrolls sideways");
const texts = [...document.querySelectorAll("body *")].filter((element) =>
  [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) &&
  element.getClientRects().length && !["SCRIPT", "STYLE"].includes(element.tagName));
const boxes = new Map();
for (const element of texts) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const box = range.getBoundingClientRect();
  boxes.set(element, box);
  if (box.left < -0.5 || box.right > wide + 0.5) say("beyond the page", element);
  const cell = element.closest("td, th, .six > div, .figures > div, section");
  if (cell && cell !== document.body) {
    const around = cell.getBoundingClientRect();
    if (box.right > around.right + 1.5 || box.left < around.left - 1.5) say("beyond its cell", element);
  }
}
for (const element of texts) for (const node of element.childNodes) {
  if (node.nodeType !== 3) continue;
  for (const word of node.textContent.matchAll(/\\S+/g)) {
    if (word[0].length > 12 || !/^[\\p{L}\\d.,:%]+$/u.test(word[0])) continue;  // a path or a long name may be broken
    const range = document.createRange();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) say("broken word", element);
  }
}
for (const chart of document.querySelectorAll(".chart, .histogram")) {
  const words = texts.filter((element) => chart.contains(element) && !element.closest(".note > *"));
  for (const [at, one] of words.entries()) for (const other of words.slice(at + 1)) {
    const a = boxes.get(one), b = boxes.get(other);
    if (a.left < b.right && b.left < a.right && a.top < b.bottom - 2 && b.top < a.bottom - 2)
      say(`written over "${other.textContent}"`, one);
  }
}
for (const table of document.querySelectorAll("section table")) {
  const box = table.getBoundingClientRect(), around = table.closest("section").getBoundingClientRect();
  if (box.right > around.right + 1.5) say("beyond its section", table);
}
const edges = [...document.querySelectorAll(".plot")].map((each) => each.getBoundingClientRect());
if (edges.length !== 3 || edges.some((each) => each.width < 200)) found.push("a picture is too narrow or missing");
if (innerWidth > 699 && (edges[1].right > edges[2].left || edges[0].left !== edges[1].left))
  found.push("the small pictures do not stand beside each other");
const sections = [...document.querySelectorAll("section")].map((each) => each.getBoundingClientRect().height);
return {found, texts: texts.length, tallest: Math.max(...sections),
        paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color};
"""


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portfolio with long names, large amounts, losses, and moments with their years."""

    def get_signal(price: float) -> dict[str, Any]:
        return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}

    bknb.add_strategy(LONG, interval="12h", get_signal=get_signal)
    bknb.add_strategy("b", interval="1d", get_signal=lambda price: get_signal(price) | {"price_take_profit": price * 2})
    several = bknb.portfolio(
        symbols=["BTCUSDT", "ETHUSDT"],
        strategies=[LONG, "b"],
        exchange="demo",
        frame="2023-12-25:2024-02-26",
        capital=2_500_000_000,
        sizing=bknb.size.Percent(20),
        benchmark="ETHUSDT",
    )
    return several.tearsheet(tmp_path_factory.mktemp("sheet") / "sheet.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def show(browser: Browser, width: int, media: str = "screen", scheme: str = "light") -> None:
    """Show the page that is open at a width, as a medium, in a colour scheme."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    for command, values in (
        ("setDeviceMetricsOverride", {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}),
        ("setEmulatedMedia", {"media": media, "features": features}),
    ):
        browser.call("POST", "/goog/cdp/execute", {"cmd": f"Emulation.{command}", "params": values})


def test_nothing_is_cut_off_or_written_over_something_else(sheet: Path, browser: Browser) -> None:
    def look(width: int, media: str, scheme: str) -> dict[str, Any]:
        show(browser, width, media, scheme)
        found: dict[str, Any] = browser.run(MEASURE)
        return found

    browser.open(sheet.as_uri())
    for width in (360, 480, 500, 560, 700, 1400):
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(17, 17, 17)")):
            measured = look(width, "screen", scheme)
            assert measured["found"] == [], (width, scheme)
            assert measured["paper"] == paper
            assert measured["texts"] > 150
    printed = look(718, "print", "dark")  # the width of A4 between its margins
    assert printed["found"] == []
    assert (printed["paper"], printed["ink"]) == ("rgb(255, 255, 255)", "rgb(51, 51, 51)")
    assert printed["tallest"] < 500  # a section is never cut: less than half a page


def test_a_sheet_is_printed_on_one_page(browser: Browser, tmp_path: Path) -> None:
    """What a screen has beyond that, the trades, costs and refusals, is named on paper."""

    def get_signal(price: float) -> dict[str, Any]:
        return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}

    bknb.add_strategy("dips", interval="12h", get_signal=get_signal)
    bknb.add_strategy("days", interval="1d", get_signal=get_signal)
    several = bknb.portfolio(
        symbols=["BTCUSDT", "ETHUSDT"],
        strategies=["dips", "days"],
        exchange="demo",
        frame="2024-01-01:2024-03-05",
        capital=10_000,
        sizing="percent:30",
        benchmark="equal",
    )
    browser.open(several.tearsheet(tmp_path / "x.html").as_uri())
    browser.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"media": ""}})
    printed = browser.call("POST", "/goog/cdp/execute", {"cmd": "Page.printToPDF", "params": PAPER})
    assert re.findall(rb"/Type /Pages.*?/Count (\d+)", base64.b64decode(printed["data"]), re.DOTALL) == [b"1"]
    show(browser, 718, "print")
    seen = browser.run("return document.body.innerText")
    assert "On a screen this sheet has its best and worst trades" in seen
    assert "Best and worst trades\n" not in seen


LAB = (
    "<!doctype html><meta charset=utf-8><style>body{margin:0;width:1026px;font:13px/1.5 sans-serif}"
    "table{font-size:12px;border-collapse:collapse}td,th{padding:6px;line-height:normal}</style>"
)
"""What JupyterLab does to tables, and the width of an output in a window of 1200 px."""
WIDER = "return [...document.querySelectorAll('[role=region]')].map((box) => box.scrollWidth - box.clientWidth)"


def test_the_tables_of_cells_fit_an_output_of_1000_px(browser: Browser, tmp_path: Path) -> None:
    """That of trades with a note and a long identifier, and those of a portfolio."""

    def get_signal(price: float) -> dict[str, Any]:
        return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99, "note": NOTE}

    bknb.add_strategy("reversion", interval="1h", get_signal=get_signal)
    call: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-01-04", "capital": 10_000}
    run = bknb.backtest("BTCUSDT", strategy="reversion", **call)
    several = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["reversion"], **call)
    page = tmp_path / "cell.html"
    page.write_text(LAB + summary_html(run) + portfolio_account_html(several), encoding="utf-8")
    browser.open(page.as_uri())
    show(browser, 1026)
    wider = browser.run(WIDER)
    assert len(wider) > 3
    assert max(wider) <= 0


MOUNT = """
const [source, controls, html, done] = arguments;
const state = {controls, html: Object.fromEntries(html)};  // in order: chromedriver sorts the names of an object
const listeners = {}, sent = [];
const model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; (listeners[`change:${name}`] || []).forEach((each) => each()); },
  on: (name, listener) => (listeners[name] ||= []).push(listener),
  off: (name, listener) => { listeners[name] = (listeners[name] || []).filter((each) => each !== listener); },
  send: (message) => sent.push(message),
};
const el = document.createElement("div");
document.body.replaceChildren(el);
import("data:text/javascript;base64," + source).then((module) => {
  const unmount = module.default.render({ model, el });
  Object.assign(window, { model, sent, listeners, unmount });
  done(true);
}, (error) => done(String(error)));
"""
SEEN = """
const panels = [...document.querySelectorAll("[data-panel]")];
return {names: panels.map((panel) => panel.dataset.panel),
        high: panels.map((panel) => panel.getBoundingClientRect().height),
        images: [...document.images].map((image) => image.complete && image.naturalWidth > 0),
        wider: document.documentElement.scrollWidth - document.documentElement.clientWidth};
"""


def test_the_panels_of_a_portfolio_are_drawn_updated_and_pressed(browser: Browser, tmp_path: Path) -> None:
    """In the module that a notebook gets: all panels at both widths, only what changed is replaced, buttons send."""

    def get_signal(price: float) -> dict[str, Any]:
        return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}

    bknb.add_strategy("reversion", interval="4h", get_signal=get_signal)
    several = bknb.portfolio(
        symbols=["BTCUSDT", "ETHUSDT"],
        strategies=["reversion"],
        exchange="demo",
        frame="2024-01-01:2024-01-05",
        capital=10_000,
        sizing="percent:40",
        benchmark="equal",
    )
    snapshot = several.snapshot()
    html = {name: str(panel_html(snapshot, name)) for name in PORTFOLIO_PANELS[1:]}
    html = {"status": f"<div role=status>{status_text(snapshot, 'running')}</div>", **html}
    controls = {
        "id": "x",
        "label": "portfolio x",
        "state": "running",
        "status_text": "Running",
        "text": "",
        "percent": 40,
        "foreground": False,
        "can_pause": True,
    }
    page = tmp_path / "panels.html"
    page.write_text(LAB.replace("width:1026px;", "color-scheme:light dark;"), encoding="utf-8")
    browser.open(page.as_uri())
    module = base64.b64encode(source("controls.js", "portfolio.js").encode()).decode()
    drawn = browser.call("POST", "/execute/async", {"script": MOUNT, "args": [module, controls, [*html.items()]]})
    assert drawn is True
    for width in (480, 1026):
        show(browser, width, scheme="dark" if width == 480 else "light")
        seen = browser.run(SEEN)
        assert seen["names"] == [*PORTFOLIO_PANELS]
        assert min(seen["high"]) > 10
        assert len(seen["images"]) == 4  # equity, exposure, and the line of each leg
        assert all(seen["images"])
        assert seen["wider"] <= 0
    assert max(browser.run(WIDER)) <= 0
    browser.run("for (const each of document.querySelectorAll('[data-panel]')) each.firstElementChild.dataset.old = 1")
    changed = {**html, "status": "<div role=status>later</div>"}
    browser.run("model.set('html', Object.fromEntries(arguments[0]))", [*changed.items()])
    old = "return [...document.querySelectorAll('[data-panel]')].filter((each) => !each.firstElementChild.dataset.old)"
    assert browser.run(f"{old}.map((each) => each.textContent)") == ["later"]
    browser.run("document.querySelector('.bknb-pause').click()")
    assert browser.run("return sent.map((each) => [each.kind, each.id, each.action])") == [["bknb-press", "x", "pause"]]
    browser.run("unmount()")
    assert browser.run("return listeners['change:html'].length") == 0
