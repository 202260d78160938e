"""The buttons of a run in a real JupyterLab, pressed by a real browser while the kernel is busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, wait_for
from packages import need_packages
from page import Lab, Page, blank_notebook

from bknb.jupyter.run_buttons import source

if TYPE_CHECKING:
    from collections.abc import Iterator

need_packages("jupyterlab", "anywidget")


pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and CHROMEDRIVER.exists()), reason="Chromium is not installed"),
]

SECONDS = 20  # a guard against hanging, not a measurement
WIDGET = "application/vnd.jupyter.widget-view+json"
SETUP = """
import time, bknb, bknb.testing.clocks
%load_ext bknb
def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.01)
def slow(ctx):
    time.sleep(0.002)
    if ctx.when.hour == 0:
        return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02, price_stop_loss=ctx.price * 0.99,
                           minute_estimated_time=60)
_ = bknb.add_strategy("still", interval="1h", get_signal=lambda: None)
_ = bknb.add_strategy("slow", interval="1m", get_signal=slow)
def tuned(ctx, x=1):
    time.sleep(0.002)
_ = bknb.add_strategy("tuned", interval="1h", get_signal=tuned)
DAY = ("2024-01-01", "2024-01-03")
LONG = dict(strategy="slow", exchange="demo", frame="2024-01-01:2025-01-01")
"""
WAYS = {
    "running cell": "part = bknb.backtest('BTCUSDT', **LONG)\nprint('stopped', part.stopped)",
    "awaiting cell": "part = await bknb.Backtest.background('ETHUSDT', **LONG)\nprint('stopped', part.stopped)",
    "trade by trade": "async for trade in bknb.Backtest.run('XRPUSDT', **LONG):\n    pass\n"
    "print('stopped', bknb.Backtest.get_data('XRPUSDT', 'slow').stopped)",
    "background": "task = bknb.Backtest.background('BNBUSDT', **LONG)\ntask",
    "magic": "%backtest BTCUSDT --strategy slow --exchange demo --frame 2024-01-01:2025-01-01 --out part",
    "cell magic": "%%backtest BTCUSDT --exchange demo --frame 2024-01-01:2025-01-01 --interval 1m\n"
    "def get_signal(ctx):\n    return slow(ctx)",
    "live": "memory = bknb.stores.memory()\n"
    "task = bknb.Live.background('BTCUSDT', strategy='slow', exchange='demo', store=memory)\ntask",
    "background magic": "%backtest BTCUSDT --strategy slow --exchange demo --frame 2024-01-01:2025-01-01 --background",
}
OF_A_KIND = ("running cell", "magic", "live", "background magic")  # the others take the path of one of these
HAND = """
memory = bknb.stores.memory()
market = bknb.testing.clocks.AcceleratedClock(1_704_067_200_000, speed=60)
task = bknb.Live.background('BTCUSDT', strategy='still', exchange='demo', store=memory, clock=market)
until(lambda: task.now >= 1_704_067_320_000)
task.open(bknb.Signal(side='long'))
task
"""
HAND_BUTTONS = "return [...document.querySelectorAll('.bknb-by-hand button')].map(made => made.textContent)"
SUCCESSOR = """
const sent = [], hears = {}, state = { state: "running", by_hand: [["close", "Close position", "", arguments[0]]] };
const model = { get: () => state, send: (press) => sent.push([press.action, press.signal]), off: () => {},
                on: (name, heard) => { hears[name] = heard; } };
const el = document.createElement("div"), unmount = mountControls({ model, el });
const click = () => el.querySelector(".bknb-close").click();
click();
state.by_hand = [["close", "Close position", "", arguments[1]]];
hears["change:controls"]();
click();
const text = el.querySelector(".bknb-close").textContent, before = sent.length;
click();
unmount();
return [text, before, sent];
"""
STATE = "return document.querySelector('.bknb-controls')?.dataset.state ?? 'gone'"
FOCUS = "document.querySelector(arguments[0]).focus(); return document.activeElement.className"
LABELS = """
const bar = document.querySelector('.bknb-controls');
const track = bar.querySelector('[role=progressbar]');
return {
    group: [bar.getAttribute('role'), bar.getAttribute('aria-label')],
    status: bar.querySelector('[role=status]').textContent,
    progress: [track.getAttribute('aria-label'), Number(track.getAttribute('aria-valuenow'))],
    buttons: [...bar.querySelectorAll('button:not([hidden])')].map(
        button => [button.textContent, button.getAttribute('aria-label'), button.tabIndex]),
};
"""
SIZES = """
const bar = document.querySelector('.bknb-controls');
const boxes = [...bar.querySelectorAll('button')].map(button => button.getBoundingClientRect());
const inside = bar.closest('.jp-OutputArea-output').getBoundingClientRect();
return [bar.scrollWidth - bar.clientWidth, Math.max(...boxes.map(box => box.right)) - inside.right,
        new Set(boxes.map(box => Math.round(box.top))).size];
"""
DEAF = """
const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
kernel.requestCreateSubshell = () => { throw new Error('none'); };
"""
HEARING = "delete window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestCreateSubshell"
NARROW = "document.querySelector('.bknb-controls').closest('.jp-OutputArea-output').style.maxWidth = '210px'"
COLOURS = """
const button = getComputedStyle(document.querySelector('.bknb-controls button'));
return [button.color, button.backgroundColor];
"""


def press_key(browser: Browser, key: str) -> None:
    steps = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
    browser.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})


class Buttons:
    """The control bar that is on the page."""

    def __init__(self, page: Page) -> None:
        self.browser = page.browser

    @property
    def state(self) -> str:
        return str(self.browser.run(STATE))

    def becomes(self, state: str) -> None:
        wait_for(lambda: self.state == state, SECONDS, f"the state {state}, now {self.state}")

    def click(self, name: str) -> None:
        self.browser.run("document.querySelector('.bknb-controls .bknb-' + arguments[0]).click()", name)

    def with_the_keyboard(self, name: str, key: str) -> None:
        assert f"bknb-{name}" in self.browser.run(FOCUS, f".bknb-controls .bknb-{name}")
        press_key(self.browser, key)


@pytest.fixture(scope="module")
def page(lab: Lab) -> Page:
    blank_notebook(lab.folder / "controls.ipynb", [SETUP])
    made = Page(lab.browser, lab.address("controls.ipynb"))
    made.run(0)
    assert made.text(0) == ""
    return made


@pytest.fixture
def buttons(page: Page) -> Iterator[Buttons]:
    made = Buttons(page)
    assert made.state == "gone"
    yield made
    if made.state != "gone":
        made.click("stop_now")
        made.becomes("gone")


def start(page: Page, buttons: Buttons, code: str) -> int:
    cell = page.add(code)
    page.start(cell)
    buttons.becomes("running")
    return cell


@pytest.mark.parametrize(
    "way",
    [way if way in OF_A_KIND else pytest.param(way, marks=pytest.mark.long) for way in WAYS],
)
def test_a_run_is_paused_resumed_and_stopped(page: Page, buttons: Buttons, way: str) -> None:
    cell = start(page, buttons, WAYS[way])
    assert page.browser.count(".bknb-controls") == 1
    for name, state in (("pause", "paused"), ("pause", "running"), ("stop_now", "gone")):
        buttons.click(name)
        buttons.becomes(state)
    page.finish(cell, SECONDS)
    ended = "over after" if way == "live" else "stopped early, partial result"
    wait_for(lambda: ended in page.text(cell), SECONDS, "the sentence")
    outputs = page.outputs(cell)
    assert not [output for output in outputs if WIDGET in output.get("data", {})]
    assert "error" not in [output["output_type"] for output in outputs]
    if "stopped" in WAYS[way]:
        assert page.text(cell).endswith("stopped True\n")
    if "magic" in way and "background" not in way:
        assert "this is a partial result" in page.text(cell)


SWEEPS = {
    "plain": "found = bknb.sweep('tuned', params={'x': range(400)}, symbol='BTCUSDT', exchange='demo', frame=DAY)",
    "magic": '%sweep BTCUSDT --strategy tuned --params "x=range(400)" --exchange demo --frame {DAY} --out found',
}


@pytest.mark.parametrize("way", SWEEPS)
def test_sweeps_and_comparisons_can_be_stopped(page: Page, buttons: Buttons, way: str) -> None:
    cell = start(page, buttons, SWEEPS[way])
    seen: dict[str, Any] = page.browser.run(LABELS)
    assert [text for text, _, _ in seen["buttons"]] == ["Stop", "Stop now"]  # a sweep cannot be paused
    buttons.click("stop")
    buttons.becomes("gone")
    page.finish(cell, SECONDS)
    assert "stopped early" in page.text(cell)
    counted = page.add("print(found.stopped, 0 < len(found) < 400)")
    page.run(counted)
    assert page.text(counted) == "True True\n"


def test_the_background_run_can_be_stopped_while_another_cell_is_busy(page: Page, buttons: Buttons) -> None:
    first = start(page, buttons, WAYS["background"])
    page.finish(first)
    busy = page.add(
        "import time\nfor _ in range(600):\n    time.sleep(0.05)\n    if task.done: break\nprint('saw', task.done)"
    )
    page.start(busy)
    wait_for(lambda: page.browser.run("return document.querySelector('.jp-InputPrompt').textContent"), 5, "a prompt")
    buttons.click("stop")
    buttons.becomes("gone")
    page.finish(busy, SECONDS)
    assert page.text(busy) == "saw True\n"  # the cell itself was not interrupted


def test_without_comm_and_subshell_the_kernel_is_interrupted(page: Page, buttons: Buttons) -> None:
    page.browser.run(DEAF)
    cell = start(page, buttons, WAYS["running cell"])
    buttons.click("pause")
    wait_for(lambda: "cannot be reached" in page.browser.run(LABELS)["status"], SECONDS, "an explanation")
    assert buttons.state == "running"  # a pause must never cost the run
    buttons.click("stop_now")
    buttons.becomes("gone")
    page.finish(cell, SECONDS)
    assert page.text(cell).endswith("stopped True\n")
    page.browser.run(HEARING)


def test_the_buttons_work_with_keyboard_and_screen_reader(page: Page, buttons: Buttons) -> None:
    cell = start(page, buttons, WAYS["running cell"])
    seen: dict[str, Any] = page.browser.run(LABELS)
    assert seen["group"] == ["group", "Controls of backtest slow BTCUSDT"]
    assert seen["status"] == "Running"
    assert seen["progress"][0] == "backtest slow BTCUSDT"
    names = [label for _, label, _ in seen["buttons"]]
    assert [text for text, _, _ in seen["buttons"]] == ["Pause new entries", "Stop", "Stop now"]
    assert len(set(names)) == 3
    assert all("backtest slow BTCUSDT" in name for name in names)
    assert all(index == 0 for _, _, index in seen["buttons"])
    buttons.with_the_keyboard("pause", " ")
    buttons.becomes("paused")
    assert page.browser.run(LABELS)["status"].startswith("Paused: nothing new is opened")
    press_key(page.browser, "\ue007")  # Enter, on the button that still has the focus: JupyterLab must not take it
    buttons.becomes("running")
    buttons.with_the_keyboard("stop_now", "\ue007")
    buttons.becomes("gone")
    page.finish(cell, SECONDS)


def test_the_buttons_are_readable_in_light_dark_and_narrow_layouts(page: Page, buttons: Buttons) -> None:
    cell = start(page, buttons, WAYS["running cell"])
    light = page.browser.run(COLOURS)
    theme = "window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]})"
    page.browser.run(theme, "JupyterLab Dark")
    wait_for(lambda: page.browser.run(COLOURS) != light, SECONDS, "other colours")
    page.browser.run(theme, "JupyterLab Light")
    overflow, beyond, rows = page.browser.run(SIZES)
    assert (overflow <= 0, beyond <= 0, rows) == (True, True, 1)
    page.browser.run(NARROW)
    wait_for(lambda: page.browser.run(SIZES)[2] > 1, SECONDS, "buttons below each other")
    overflow, beyond, _ = page.browser.run(SIZES)
    assert (overflow <= 0, beyond <= 0) == (True, True)
    buttons.click("stop_now")
    buttons.becomes("gone")
    page.finish(cell, SECONDS)


def test_a_position_is_closed_by_hand_with_a_second_click(page: Page, buttons: Buttons) -> None:
    cell = start(page, buttons, HAND)
    wait_for(lambda: page.browser.run(HAND_BUTTONS) == ["Close position", "Close half"], SECONDS, "the buttons")
    buttons.click("close")
    wait_for(
        lambda: page.browser.run(HAND_BUTTONS) == ["Close position: click again to confirm", "Close half"],
        SECONDS,
        "the question",
    )
    seen = page.add("print(len(task.trades_so_far), task.decisions)")
    page.run(seen)
    assert page.text(seen) == "0 ('close', 'reduce', 'move')\n"  # one click does nothing
    wait_for(lambda: page.browser.run(HAND_BUTTONS)[0] == "Close position", SECONDS, "the question to be taken back")
    buttons.click("close")
    buttons.click("close")
    wait_for(lambda: "closes long BTCUSDT" in page.browser.run(LABELS)["status"], SECONDS, "the answer")
    wait_for(lambda: page.browser.run(HAND_BUTTONS) == [], SECONDS, "no buttons")
    closed = page.add("until(lambda: task.trades_so_far)\nprint(task.trades_so_far[0].close_reason)")
    page.run(closed)
    assert page.text(closed) == "manual\n"
    buttons.click("stop_now")
    buttons.becomes("gone")
    page.finish(cell, SECONDS)


def test_the_second_click_is_for_the_position_of_the_first(page: Page) -> None:
    """Another position came between two clicks, in one update: its own two clicks are needed."""
    script = source("controls.js").replace("export function", "function")
    text, before, sent = page.browser.run(script + SUCCESSOR, "first", "second")
    assert (text, before) == ("Close position: click again to confirm", 0)
    assert sent == [["close", "second"]]
