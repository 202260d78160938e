"""Measure sliders: from a move to the new figures in the kernel, and to the picture in the browser.

``python benchmarks/sliders.py [--times 30] [--no-browser]``, with ``pip install -e '.[test]'`` and Chromium with its
driver. Takes about a minute. The figures are told, not judged.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import bknb
from bknb.reports.sliders_report import panel_html

TESTS = Path(__file__).parent.parent / "tests" / "jupyter"
FRAMES = {"a month": "2023-01-01:2023-02-01", "a year": "2023-01-01:2024-01-01"}
BODY = """
import numpy as np
def get_signals(candles, fast=10, slow=50):
    close = candles.close
    sums = np.cumsum(np.insert(close, 0, 0.0))
    def mean(length):
        found = np.full(len(close), np.nan)
        found[length - 1:] = (sums[length:] - sums[:-length]) / length
        return found
    above = mean(fast) > mean(slow)
    side = np.zeros(len(close), dtype=int)
    side[1:] = np.where(above[1:] == above[:-1], 0, np.where(above[1:], 1, -1))
    return {"position": side, "price_take_profit": close * (1 + 0.02 * side), "minute_estimated_time": 600,
            "price_stop_loss": close * (1 - 0.01 * side)}
"""
MOVE = """
const root = document.querySelector('.bknb-sliders'), input = root.querySelector('input'), to = String(arguments[0]);
const began = performance.now();
window.took = null;
let answered = null;
const observer = new MutationObserver(() => {
    if (root.dataset.waiting === undefined) answered ??= performance.now() - began;
    if (root.dataset.drawn.split(' ')[0] !== to) return;
    observer.disconnect();
    requestAnimationFrame(() => { window.took = [answered, performance.now() - began]; });
});
observer.observe(root, {attributes: true, subtree: true, childList: true});
input.value = to;
input.dispatchEvent(new Event('input', {bubbles: true}));
"""


def in_kernel(frame: str, times: int) -> None:
    """Print what a move takes in this process."""
    names: dict[str, Any] = {"np": np}
    exec(BODY, names)  # noqa: S102 -- ours
    given: dict[str, Any] = {"strategy": names["get_signals"], "exchange": "demo", "interval": "15m"}
    sliders = bknb.interact("BTCUSDT", values={"fast": "5:50", "slow": "60:200"}, frame=FRAMES[frame], **given)
    took, used = [], []
    for fast in range(5, 5 + times):
        began, process = time.perf_counter(), time.process_time()
        sliders.move(fast=5 + fast % 46, slow=60 + fast % 141)
        panel_html(sliders)
        took.append(1000 * (time.perf_counter() - began))
        used.append(1000 * (time.process_time() - process))
    trades = len(sliders.shown.results)
    told = (
        f"{median(took):.0f} ms ({min(took):.0f} to {max(took):.0f}), processor {median(used):.0f} ms ({min(used):.0f})"
    )
    print(f"{frame}, {trades} trades: from a move to figures and panel in the kernel {told}")


def in_browser(times: int) -> None:
    """Print what a move takes in JupyterLab."""
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    from browser import Browser, wait_for
    from open_lab import OpenNotebook, write
    from page import jupyterlab

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with jupyterlab(folder) as base, Browser(folder / "profile") as browser:
            for frame, span in FRAMES.items():
                line = f"%%backtest BTCUSDT --exchange demo --frame {span} --interval 15m"
                cell = f"{line} --interact fast=5:50 slow=60:200\n{BODY}"
                file = f"{frame.replace(' ', '-')}.ipynb"
                write(folder / "work" / file, "import bknb\n%load_ext bknb", cell)
                notebook = OpenNotebook(browser, f"{base}/lab/tree/{file}?reset")
                notebook.run(0)
                notebook.run(1)
                wait_for(lambda: browser.run("return document.querySelector('.bknb-sliders')?.dataset.drawn"), 60, "it")
                took = []
                for at in range(6, 6 + times):
                    browser.run(MOVE, at)
                    took.append(wait_for(lambda: browser.run("return window.took"), 60, "the picture"))
                answered, drawn = (sorted(each) for each in zip(*took, strict=True))
                print(
                    f"{frame}: from the event of the slider to the answer {median(answered):.0f} ms "
                    f"({answered[0]:.0f} to {answered[-1]:.0f}), to the picture {median(drawn):.0f} ms "
                    f"({drawn[0]:.0f} to {drawn[-1]:.0f})"
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--no-browser", action="store_true")
    given = parser.parse_args()
    for frame in FRAMES:
        in_kernel(frame, given.times)
    if not given.no_browser:
        in_browser(given.times)


if __name__ == "__main__":
    main()
