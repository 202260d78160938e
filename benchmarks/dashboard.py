"""Measure dashboards: what an open one costs a run, the first picture of a year, and a thousand events a second.

``python benchmarks/dashboard.py [--times 9] [--no-browser]``, with ``pip install -e '.[test]'`` and Chromium with its
driver. Takes about two minutes. The figures are told, not judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import bknb

TESTS = Path(__file__).parent.parent / "tests" / "jupyter"

YEAR = ("2023-01-01", "2024-01-01")

PREPARE = """
import time, bknb, threading
from bknb.events import subjects
def get_signal(price):
    return bknb.Signal(position="long", price_take_profit=price * 1.03, price_stop_loss=price * 0.97,
                       minute_estimated_time=200)
year = ("2023-01-01", "2024-01-01")
result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="15m", exchange="demo", frame=year)
bknb.dashboard(result)._bundle()  # imports are not what is measured
print(len(result.candles), len(result.trades))
"""
SHOW = """
began = time.perf_counter()
board = bknb.dashboard(result)
board._bundle(drawn=False)
kernel_ms = 1000 * (time.perf_counter() - began)
board.show()
"""
BYTES = """
import json
from ipywidgets.widgets.widget import _remove_buffers
state, _, buffers = _remove_buffers(board.widget.get_state())
program = len(state["_esm"]) + len(state["_css"])
data, metadata = board._bundle()
print(program, len(json.dumps(state)) - program, sum(len(b) for b in buffers), len(json.dumps(data)), round(kernel_ms))
"""
FLOOD = """
from bknb.domain.signal import OpenSignal
from bknb.domain.signal_events import Active
where = dict(symbol="BTCUSDT", strategy="flood", exchange="demo", frame=None, mode="live")
row = OpenSignal(id="one", symbol="BTCUSDT", strategy="flood", exchange="demo", position="long", price_open=100.0,
                 price_take_profit=110.0, price_stop_loss=95.0, minute_estimated_time=60, note="",
                 scheduled_at=0, pending_at=0)
def flood(seconds, per_second):
    began, at = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while at < passed * per_second:
            at += 1
            price = 100 + at % 97 / 10
            subjects.emit_result(Active(**where, when=1_704_067_200_000 + at * 60_000, price=price, signal=row,
                                        percent_tp=50.0, percent_sl=0.0))
        time.sleep(0.005)
    return at
def measure(seconds, per_second):
    used, began = time.process_time(), time.perf_counter()
    sent = flood(seconds, per_second)
    passed = time.perf_counter() - began
    return sent, round(100 * (time.process_time() - used) / passed, 1)
"""


def get_signal(price: float) -> Any:
    """The strategy of the other benchmarks: two averages of closes of 15 minutes."""
    closes = bknb.get_candles("BTCUSDT", "15m", 31).close
    if closes[-10:].mean() > closes[-30:].mean():
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.99,
            minute_estimated_time=24 * 60,
        )
    return None


def year(*, watched: bool) -> tuple[float, float, int, int]:
    """Seconds of a year of minutes by the wall and by the processor, trades, and frames of the dashboard."""
    used = time.process_time()
    task = bknb.Backtest.background("BTCUSDT", strategy=get_signal, interval="15m", exchange=DEMO, frame=YEAR)
    board = bknb.dashboard(task) if watched else None
    if board is not None:
        board.widget  # noqa: B018 -- a front end looks
    task._over.wait()
    used = time.process_time() - used
    result = task.result()
    frames = 0
    if board is not None:
        board.wait(30)
        frames = board._pump.frames if board._pump is not None else 0
        board.leave()
    return result.seconds, used, len(result.trades), frames


DEMO = bknb.exchanges.demo()


def cost(times: int) -> None:
    """The same run with and without an open dashboard, one after the other, in turns."""
    year(watched=False), year(watched=True)
    alone, watched = [], []
    for at in range(times):
        pair = [year(watched=bool((at + turn) % 2)) for turn in (0, 1)]
        for each in pair:
            (watched if each[3] else alone).append(each)
    walls = [b[0] / a[0] for a, b in zip(alone, watched, strict=True)]
    works = [b[1] / a[1] for a, b in zip(alone, watched, strict=True)]
    trades, frames = watched[-1][2:]
    print(
        "| an open dashboard, one year of minutes, every 15m | without | with | ratio (median of pairs) | (min-max) |"
    )
    print("|---|---|---|---|---|")
    for name, at, ratios in (("run, wall s", 0, walls), ("whole process, CPU s", 1, works)):
        before, after = (median(each[at] for each in runs) for runs in (alone, watched))
        print(f"| {name} | {before:.3f} | {after:.3f} | {median(ratios):.2f} | {min(ratios):.2f}-{max(ratios):.2f} |")
    print(f"\n{times} pairs; {trades} trades, {frames} frames in the last one\n")


PAINT = """
window.painted = 0;
const began = performance.now();
const look = () => {
  const canvas = document.querySelector('.bknb-chart canvas');
  const board = document.querySelector('.bknb-dashboard');
  if (board?.dataset.frames && canvas?.width) {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    if (data.some((value) => value > 0)) { window.painted = performance.now() - began; return; }
  }
  requestAnimationFrame(look);
};
look();
"""


def browser() -> None:
    """First picture, bytes, and a flood of events, in a real JupyterLab."""
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    from browser import Browser, wait_for
    from open_lab import OpenNotebook, write
    from page import jupyterlab

    folder = Path(tempfile.mkdtemp())
    (folder / "work").mkdir()
    flood = [FLOOD, "bknb.dashboard()", "print(*measure(10, 1000))", "print(*measure(10, 0))"]
    write(folder / "work" / "year.ipynb", PREPARE, SHOW, BYTES)
    write(folder / "work" / "flood.ipynb", PREPARE, *flood, "bknb.dashboard()", "print(*measure(10, 1000))")
    with jupyterlab(folder) as base, Browser(folder / "profile") as chromium:
        notebook = OpenNotebook(chromium, f"{base}/lab/tree/year.ipynb?reset")
        notebook.run(0, 120)
        paints = []
        for _ in range(3):
            chromium.run("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
            wait_for(lambda: chromium.count(".bknb-dashboard") == 0, 30, "an empty page")
            notebook.scroll(1)
            chromium.run(PAINT)
            notebook.start(1)
            paints.append(float(wait_for(lambda: chromium.run("return window.painted"), 60, "a picture")))
        notebook.run(2)
        program, words, arrays, bundle, kernel = map(int, notebook.printed(2).split())
        wait_for(lambda: "image/png" in notebook.outputs(1)[-1]["data"], 30, "the stored picture")
        stored = len(json.dumps(notebook.outputs(1)))
        print("| first picture of 525 600 candles in JupyterLab | |\n|---|---|")
        told = ", ".join(f"{paint:.0f}" for paint in paints)
        print(f"| from running the cell to the painted chart (first, then again) | {told} ms |")
        print(f"| of which in the kernel | {kernel} ms |")
        print(f"| over the wire: program | {program / 1000:.0f} kB |")
        sizes = ", ".join(f"{size / 1000:.0f}" for size in (arrays, words, bundle))
        print(f"| over the wire: arrays, words, stored picture and tables | {sizes} kB |")
        print(f"| the cell as the notebook stores it | {stored / 1000:.0f} kB |\n")

        chromium.open("about:blank")  # a page of its own
        notebook = OpenNotebook(chromium, f"{base}/lab/tree/flood.ipynb?reset")
        notebook.run(0, 120)
        notebook.run(1)
        notebook.run(2)
        frames = "return Number(document.querySelector('.bknb-dashboard')?.dataset.frames ?? 0)"
        notebook.scroll(2)
        wait_for(lambda: chromium.run(frames), 30, "the dashboard")
        before = chromium.run(frames)
        notebook.run(3)
        drawn = chromium.run(frames) - before
        sent, used = notebook.printed(3).split()
        notebook.run(4)
        idle = notebook.printed(4).split()[1]
        print("| 1 000 events a second for 10 s | |\n|---|---|")
        print(f"| events | {sent} |\n| frames drawn a second | {drawn / 10:.1f} |")
        print(f"| CPU of the kernel | {used} % of a core; {idle} % while nothing happens |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9, help="pairs of runs (default 9)")
    parser.add_argument("--no-browser", action="store_true", help="only what needs no browser")
    given = parser.parse_args()
    cost(given.times)
    if not given.no_browser:
        browser()


if __name__ == "__main__":
    main()
