"""Measure stored candles and downloads: ``python benchmarks/market_data.py [--times 5]``.

Needs ``pip install -e '.[ccxt]'``. Every reading happens in a fresh process; "cold" drops the files from the page cache
first (Linux). Downloads talk to a local server in a process of its own, plain ccxt and bknb in turn. The figures are
told, not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

START = 1_672_531_200_000  # 2023-01-01
MINUTE = 60_000
YEAR = 525_600
PAGES = 150
NOW = START + 3 * YEAR * MINUTE


def demo(count: int = YEAR) -> Any:
    """A year of the demo market."""
    from bknb.market.demo import DemoSource

    return asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", START, count))


def series() -> Any:
    """Under which name it is stored."""
    from bknb.history.partition import SeriesName

    return SeriesName("demo", "BTCUSDT", "1m")


# --- what is measured, each in a process of its own ----------------------------------------------------------------


def case_write(folder: Path) -> dict[str, float]:
    """Everything at once into an empty store."""
    from bknb.history.candle_store import CandleStore

    candles, store = demo(), CandleStore(folder)
    began = perf_counter()
    store.put(series(), candles, now=NOW)
    seconds = perf_counter() - began
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    return {"seconds": seconds, "bytes_per_candle": size / YEAR}


def case_append(folder: Path) -> dict[str, float]:
    """A day more, at the end of a month that is nearly full."""
    from bknb.history.candle_store import CandleStore

    days = 395
    candles, store = demo(days * 1440), CandleStore(folder)
    store.put(series(), candles[: (days - 1) * 1440], now=NOW)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    began = perf_counter()
    store.put(series(), candles[(days - 1) * 1440 :], now=NOW)
    seconds = perf_counter() - began
    written = sum(
        path.stat().st_size for path in folder.rglob("*.parquet") if path.stat().st_mtime_ns != before.get(path)
    )
    return {"seconds": seconds, "kilobytes_written": written / 1000}


def case_read(folder: Path) -> dict[str, float]:
    """A year, the first time and again."""
    from bknb.history.candle_store import CandleStore
    from bknb.history.partition import arrow

    store = CandleStore(folder)
    arrow()  # its import is told on its own
    before = peak_mb()
    began = perf_counter()
    candles = store.read(series(), START, START + YEAR * MINUTE)
    first = perf_counter() - began
    after = peak_mb()
    warm = []
    for _ in range(7):
        began = perf_counter()
        store.read(series(), START, START + YEAR * MINUTE)
        warm.append(perf_counter() - began)
    return {"first_s": first, "warm_s": median(warm), "peak_mb": after, "above_mb": after - before, "n": len(candles)}


def case_import(folder: Path) -> dict[str, float]:
    """What reading needs."""
    began = perf_counter()
    from bknb.history.candle_store import CandleStore
    from bknb.history.partition import arrow

    CandleStore(folder)
    arrow()
    return {"seconds": perf_counter() - began, "peak_mb": peak_mb()}


def case_pandas(folder: Path) -> dict[str, float]:
    """The same files, read by pandas."""
    import pandas as pd

    files = sorted(folder.rglob("*.parquet"))
    pd.read_parquet(files[0])
    began = perf_counter()
    pd.concat([pd.read_parquet(path) for path in files])
    return {"seconds": perf_counter() - began, "peak_mb": peak_mb()}


def case_serve(_: Path) -> None:
    """The exchange that downloads talk to."""
    from bknb.exchanges.dataframe_source import FrameSource
    from bknb.testing.fake_binance import LocalBinance

    with LocalBinance(FrameSource(demo(PAGES * 1000 * 2)), now=lambda: NOW) as server:
        print(json.dumps(server.ccxt_config), flush=True)
        sys.stdin.read()


def case_plain(folder: Path) -> dict[str, float]:
    """What one writes with ccxt alone: pages into a list."""
    import ccxt.async_support as ccxt

    async def run() -> dict[str, float]:
        client = ccxt.binance({**config(folder), "rateLimit": 0.001})
        await client.load_markets()
        await client.fetch_ohlcv("BTC/USDT", "1m", START, 1000)
        began, busy = perf_counter(), process_time()
        rows: list[Any] = []
        for page in range(PAGES):
            rows.extend(await client.fetch_ohlcv("BTC/USDT", "1m", START + page * 1000 * MINUTE, 1000))
        figures = per_page(began, busy)
        await client.close()
        if len(rows) != PAGES * 1000:
            raise SystemExit(f"{len(rows)} candles came")
        return figures

    return asyncio.run(run())


def case_download(folder: Path, *, at_once: int = 1) -> dict[str, float]:
    """The same pages, checked, stored, looked over."""
    import bknb

    with tempfile.TemporaryDirectory() as cache:
        market = bknb.exchanges.ccxt("binance", cache=cache, config={**config(folder), "rateLimit": 0.001})
        given: dict[str, Any] = {"exchange": market, "warmup_minutes": 0, "progress": False, "at_once": at_once}
        bknb.download("BTCUSDT", start=START, end=START + 900 * MINUTE, **given)
        began, busy = perf_counter(), process_time()
        end = START + (PAGES + 1) * 1000 * MINUTE
        done = bknb.download("BTCUSDT", start=START + 1000 * MINUTE, end=end, **given)
        figures = per_page(began, busy)
        if not done.complete:
            raise SystemExit(str(done))
        return figures


def per_page(began: float, busy: float) -> dict[str, float]:
    """Milliseconds a page: by the clock, and of work in this process alone."""
    return {
        "ms": 1000 * (perf_counter() - began) / PAGES,
        "busy_ms": 1000 * (process_time() - busy) / PAGES,
    }


def case_download4(folder: Path) -> dict[str, float]:
    """The same, four parts side by side."""
    return case_download(folder, at_once=4)


def config(folder: Path) -> dict[str, Any]:
    """How to reach the server."""
    read: dict[str, Any] = json.loads((folder / "server.json").read_text())
    return read


def peak_mb() -> float:
    """Most memory this process ever had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- the tables ----------------------------------------------------------------------------------------------------


def once(case: str, folder: Path) -> dict[str, float]:
    """One case in a fresh process."""
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of every figure."""
    return {key: median(run[key] for run in runs) for key in runs[0]}


def forget(folder: Path) -> None:
    """Drop the files from the page cache."""
    for path in folder.rglob("*.parquet"):
        with path.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def table(times: int) -> None:
    """Everything about stored candles, and downloads after it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writes = [once("write", folder / f"year-{number}") for number in range(times)]
        year = folder / "year-0"
        appends = [once("append", folder / f"append-{number}") for number in range(times)]
        cold, warm, pandas, imports = [], [], [], []
        for _ in range(times):
            imports.append(once("import", year))
            warm.append(once("read", year))
            pandas.append(once("pandas", year))
            forget(year)
            cold.append(once("read", year))
        write, append, first, again, frame, bare = map(middle, (writes, appends, cold, warm, pandas, imports))
        print("| one year of 1m candles (525 600) | |\n|---|---|")
        print(f"| on disk | {write['bytes_per_candle']:.1f} bytes a candle |")
        print(f"| writing it | {write['seconds']:.3f} s |")
        print(f"| reading it, files not in the page cache | {first['first_s'] * 1000:.0f} ms |")
        print(f"| reading it, first time in a process | {again['first_s'] * 1000:.0f} ms |")
        print(f"| reading it again | {again['warm_s'] * 1000:.0f} ms |")
        print(f"| memory it adds at the peak (the candles are 25.2 MB) | {again['above_mb']:.0f} MB |")
        print(f"| pandas.read_parquet on the same files, concatenated | {frame['seconds'] * 1000:.0f} ms |")
        print(f"| import of what reads | {bare['seconds'] * 1000:.0f} ms, {bare['peak_mb']:.0f} MB |")
        print(
            f"| appending a day | {append['seconds'] * 1000:.0f} ms, {append['kilobytes_written']:.0f} kB rewritten |"
        )
        downloads(folder, times)


def downloads(folder: Path, times: int) -> None:
    """Plain ccxt and bknb in turn."""
    command = [sys.executable, __file__, "--case", "serve", "--folder", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None or server.stdin is None:
            raise SystemExit("the server cannot be talked to")
        (folder / "server.json").write_text(server.stdout.readline())
        found: dict[str, list[dict[str, float]]] = {"plain": [], "download": [], "download4": []}
        for _ in range(times):
            for case, runs in found.items():
                runs.append(once(case, folder))
        server.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)
        server.kill()
    plain, one, four = (middle(found[case]) for case in found)
    print(f"\n| {PAGES} pages of 1000 candles from a local server | ms a page | ms of work | beside plain ccxt |")
    print("|---|---|---|---|")
    for what, figures in (
        ("plain ccxt, pages into a list", plain),
        ("bknb.download, checked and stored, one part at a time", one),
        ("bknb.download, four parts at a time", four),
    ):
        beside = f"{figures['ms'] / plain['ms']:.2f}, work {figures['busy_ms'] / plain['busy_ms']:.2f}"
        print(f"| {what} | {figures['ms']:.1f} | {figures['busy_ms']:.1f} | {beside} |")


def main() -> None:
    """Measure, or be one of the measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--case")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.case is None:
        table(given.times)
        return
    figures = globals()[f"case_{given.case}"](given.folder)
    if figures is not None:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
