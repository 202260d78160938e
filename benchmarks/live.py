"""Measure live runs: 200 pairs here, beside a busy thread and in a process of their own; a week; stores; recording.

``python benchmarks/live.py [--minutes 5] [--speed 10]`` takes about four minutes. Latency is counted from the full
minute to the moment at which a listener receives its result, in milliseconds of the wall clock; ``--speed 10`` lets a
minute last six seconds, so the processor's share is that of a real day times ten.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import bknb
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.clocks import AcceleratedClock, SimulatedClock

MONDAY = 1_704_672_000_000
MINUTE = 60_000
SYMBOLS, STRATEGIES = 20, 10
CASES = ("quiet", "busy", "own", "process", "week", "stores", "recording")


def register(told: Any = None) -> list[str]:
    """Ten strategies that look at 30 quarter hours and trade now and then; ``told`` is called with each result."""

    def make(number: int) -> Any:
        def get_signal(ctx: Any) -> Any:
            closes = ctx.candles("15m", 30).close
            side = 1 if closes[-5:].mean() > closes.mean() else -1
            if (ctx.when_ms // MINUTE + number) % 3:
                return None
            price = ctx.price
            return bknb.Signal(
                position="long" if side > 0 else "short",
                price_take_profit=price * (1 + side * 0.02),
                price_stop_loss=price * (1 - side * 0.02),
                minute_estimated_time=240,
            )

        return get_signal

    more = {} if told is None else {"callbacks": {"on_tick": told}}
    return [
        bknb.add_strategy(f"s{number}", interval="15m", get_signal=make(number), **more).name
        for number in range(STRATEGIES)
    ]


def start(clock: Any, until: int, store: Any, told: Any = None, **more: Any) -> list[Any]:
    """Two hundred runs: every strategy on every symbol."""
    more |= {"exchange": bknb.exchanges.demo(), "clock": clock, "until": until, "store": store}
    return [
        bknb.Live.background(f"C{symbol:02d}USDT", strategy=name, **more)
        for symbol in range(SYMBOLS)
        for name in register(told)
    ]


def latency(minutes: int, speed: float, *, busy: bool) -> dict[str, float]:
    """How long after the full minute results are received, and what that costs."""
    with tempfile.TemporaryDirectory() as folder:
        clock = AcceleratedClock(MONDAY - MINUTE // 2, speed=speed)
        late: list[float] = []
        stop = bknb.listen_signal_live(lambda event: late.append((clock.now() - event.when - MINUTE) / speed))
        wall, cpu = perf_counter(), process_time()
        tasks = start(clock, MONDAY + minutes * MINUTE, FileStore(folder))
        if busy:
            while not all(task.done for task in tasks):  # a cell that computes without end, looking up now and then
                for _ in range(200_000):
                    pass
        for task in tasks:
            task.result()
        wall, cpu = perf_counter() - wall, process_time() - cpu
        stop()
        settled = sorted(late[len(tasks) * 2 :])  # the first minutes fetch the history
        return {
            "results": len(settled),
            "median ms": median(settled),
            "p99 ms": settled[int(len(settled) * 0.99)],
            "most ms": settled[-1],
            "cpu share % of one core, as on the wall clock": 100 * cpu / wall / speed,
        }


def own_process(minutes: int, speed: float) -> dict[str, float]:
    """The same latency in a process of its own, while this one computes without end."""
    code = f"import live, json; print(json.dumps(live.latency({minutes}, {speed}, busy=False)))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    while child.poll() is None:
        for _ in range(200_000):
            pass
    told, _ = child.communicate()
    found: dict[str, float] = json.loads(told)
    return found


def in_process(minutes: int, speed: float) -> dict[str, float]:
    """The latency of ``process=True``, there and for listeners here, while this process computes without end."""
    with tempfile.TemporaryDirectory() as folder:
        clock = AcceleratedClock(MONDAY - 4 * MINUTE, speed=speed)
        told = Path(folder) / "told"

        def tell(event: Any) -> None:
            with told.open("a") as lines:
                lines.write(f"{(clock.now() - event.when - MINUTE) / speed}\n")

        late: list[float] = []
        stop = bknb.listen_signal_live(lambda event: late.append((clock.now() - event.when - MINUTE) / speed))
        began = perf_counter()
        tasks = start(clock, MONDAY + minutes * MINUTE, FileStore(Path(folder) / "state"), tell, process=True)
        began = perf_counter() - began
        while not all(task.done for task in tasks):
            for _ in range(200_000):
                pass
        for task in tasks:
            task.result()
        stop()
        there = sorted(map(float, told.read_text().split()[len(tasks) * 2 :]))
        here = sorted(late[len(tasks) * 2 :])
        return {
            "seconds to start all": began,
            "results": len(there),
            "median ms, there": median(there),
            "p99 ms, there": there[int(len(there) * 0.99)],
            "median ms, listeners here": median(here),
            "p99 ms, listeners here": here[int(len(here) * 0.99)],
        }


def week(days: int) -> dict[str, float]:
    """Memory after days of two hundred runs."""

    class Hours(SimulatedClock):
        async def sleep_until(self, when: int) -> None:
            await super().sleep_until(when + 59 * MINUTE)

    began = perf_counter()
    marks = []
    store = bknb.stores.memory()
    for day in range(1, days + 1):
        tasks = start(Hours(MONDAY + (day - 1) * 1440 * MINUTE), MONDAY + day * 1440 * MINUTE, store)
        for task in tasks:
            task.result()
        marks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    trades = sum(len(task.trades_so_far) for task in tasks)
    return {"seconds": perf_counter() - began, "trades": trades, **{f"MB, day {n}": m for n, m in enumerate(marks, 1)}}


def stores(count: int = 2_000) -> dict[str, float]:
    """State writes per second, one after the other, each on the disk when it returns."""
    found = {}
    payload = b"x" * 700
    with tempfile.TemporaryDirectory() as folder:
        made = {"files": FileStore(Path(folder) / "files"), "SQLite": SqliteStore(Path(folder) / "state.db")}
        for name, store in made.items():
            with store:
                began = perf_counter()
                for number in range(count):
                    store.write(
                        "signal", (f"s{number % 10}", f"C{number % 200:03d}USDT"), json.dumps(payload.decode()).encode()
                    )
                found[f"{name}, writes/s"] = count / (perf_counter() - began)
    return found


class WithoutRecording(FileStore):
    """Files, but those of the minutes a run has worked on and of its notes."""

    def write(self, kind: str, key: tuple[str, ...], value: bytes) -> None:
        """Write a value, unless it is recorded."""
        if kind not in ("candle", "note"):
            super().write(kind, key, value)


def recording(days: int) -> dict[str, float]:
    """What it costs that runs keep the minutes they have worked on: ten runs over some days, with and without."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, store in (("warm", FileStore), ("without", WithoutRecording), ("with", FileStore)):
            held, clock = store(Path(folder) / name), SimulatedClock(MONDAY)
            wall, cpu = perf_counter(), process_time()
            more = {"exchange": bknb.exchanges.demo(), "clock": clock, "until": MONDAY + days * 1440 * MINUTE}
            tasks = [bknb.Live.background("BTCUSDT", strategy=each, store=held, **more) for each in register()]
            for task in tasks:
                task.result()
            runs = len(tasks) * days
            found[f"{name}: ms of processor a run and day"] = 1000 * (process_time() - cpu) / runs
            found[f"{name}: ms a run and day"] = 1000 * (perf_counter() - wall) / runs
        sizes = [path.stat().st_size for path in (Path(folder) / "with" / "candle").rglob("*") if path.is_file()]
        found["kB recorded a run and day"] = sum(sizes) / 1000 / runs
    return found


def main() -> None:
    """All cases, each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=12)
    parser.add_argument("--speed", type=float, default=10)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--only", choices=CASES)
    given = parser.parse_args()
    if given.only is None:
        for name in CASES:
            options = [f"--minutes={given.minutes}", f"--speed={given.speed}", f"--days={given.days}"]
            subprocess.run([sys.executable, __file__, "--only", name, *options], check=True)
        return
    figures = {
        "quiet": lambda: latency(given.minutes, given.speed, busy=False),
        "busy": lambda: latency(given.minutes, given.speed, busy=True),
        "own": lambda: own_process(given.minutes, given.speed),
        "process": lambda: in_process(given.minutes, given.speed),
        "week": lambda: week(given.days),
        "stores": stores,
        "recording": lambda: recording(min(given.days, 2)),
    }[given.only]()
    print(f"| {given.only} | |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:,.1f} |")
    print()


if __name__ == "__main__":
    main()
