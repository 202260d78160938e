"""How long it takes from a click on "Stop now" until the run is over, in a real JupyterLab in headless Chromium.

python benchmarks/buttons.py [--times 10] [--kernels FOLDER --kernel NAME ...]

Measured inside the page: from the click to the moment at which the buttons are replaced by the final sentence, which
comes after the run has ended. ``--kernels`` is a folder as in ``JUPYTER_PATH``; each ``--kernel`` in it is measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "jupyter"))

from browser import Browser, wait_for
from page import Page, blank_notebook, jupyterlab

SETUP = """
import time, bknb, ipykernel
def slow(ctx):
    time.sleep(0.002)
_ = bknb.add_strategy("slow", interval="1m", get_signal=slow)
LONG = dict(strategy="slow", exchange="demo", frame="2024-01-01:2025-01-01")
print(ipykernel.__version__)
"""
WAYS = {
    "background": "task = bknb.Backtest.background('BTCUSDT', **LONG)\ntask",
    "running cell": "part = bknb.backtest('BTCUSDT', **LONG)",
    "awaiting cell": "part = await bknb.Backtest.background('BTCUSDT', **LONG)",
}
CLICK = """
const bar = document.querySelector('.bknb-controls');
window.bknbTook = null;
const since = performance.now();
const look = setInterval(() => {
    if (!bar.isConnected || bar.dataset.state === 'over') {
        window.bknbTook = performance.now() - since;
        clearInterval(look);
    }
}, 2);
bar.querySelector('.bknb-stop_now').click();
"""


def measure(page: Page, code: str, times: int) -> tuple[list[float], str]:
    """Milliseconds of each stop, and the way that the last press took."""
    took, way = [], ""
    for _ in range(times):
        cell = page.add(code)
        page.start(cell)
        wait_for(lambda: page.browser.count(".bknb-controls .bknb-fill"), 30, "the buttons")
        page.browser.run("window.bknbBar = document.querySelector('.bknb-controls')")
        page.browser.run(CLICK)
        took.append(float(wait_for(lambda: page.browser.run("return window.bknbTook"), 30, "the end")))
        page.finish(cell)
        way = wait_for(lambda: page.browser.run("return window.bknbBar.dataset.route ?? ''"), 5, "the way")
    return took, way


def main() -> None:
    """Print one line per kernel and way of waiting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--kernels", type=Path)
    parser.add_argument("--kernel", action="append")
    options = parser.parse_args()
    print(f"{'ipykernel':<10} {'a run in':<15} {'median':>9} {'worst':>9}   {options.times} stops each; the way taken")
    for kernel in options.kernel or ["python3"]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "work").mkdir()
            blank_notebook(folder / "work" / "stops.ipynb", [SETUP], kernel=kernel)
            with jupyterlab(folder, kernels=options.kernels) as base, Browser(folder / "profile") as browser:
                page = Page(browser, f"{base}/lab/tree/stops.ipynb")
                page.run(0)
                measure(page, WAYS["background"], 1)  # the first widget of a page loads anywidget; not counted
                version = page.text(0).strip()
                for way, code in WAYS.items():
                    took, taken = measure(page, code, options.times)
                    median, worst = statistics.median(took), max(took)
                    print(f"{version:<10} {way:<15} {median:6.0f} ms {worst:6.0f} ms   {taken}", flush=True)


if __name__ == "__main__":
    main()
