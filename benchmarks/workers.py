"""Measure how much faster two worker processes are than one process: a portfolio, and a walker.

``python benchmarks/workers.py [--times 5] [--case NAME ...] [--before FOLDER]``. Every case runs in fresh processes, in
one process and with ``executor=2`` in turn, and its result is compared to the last bit. Of each run it tells how long
it took, the processor time of the process that asked and that of its workers, and the load of the machine: on one that
is busy with other work the times say little, and processor times still hold. bknb needs its extra ``sweep``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve()
A_YEAR = ("2023-01-01", "2024-01-01")
SYMBOLS = tuple(f"{name}USDT" for name in ("BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "LTC", "BNB", "TRX", "UNI"))
WORKERS = 2


def averages(ctx: Any, *, fast: int) -> Any:
    """Long while the short average is above the long one, with a target and a stop."""
    import bknb

    closes = ctx.candles("15m", 30).close
    if closes[-fast:].mean() > closes.mean():
        price = ctx.price
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.98,
            minute_estimated_time=480,
        )
    return None


def portfolio(executor: object) -> Any:
    """Ten symbols over a year of minutes, each asked every 15 minutes; they share nothing."""
    import bknb

    strategy = bknb.add_strategy("averages", interval="15m", get_signal=partial(averages, fast=10))
    return bknb.portfolio(symbols=SYMBOLS, strategies=[strategy], exchange="demo", frame=A_YEAR, executor=executor)


def walker(executor: object) -> Any:
    """Eight strategies over a year of minutes of one symbol, each asked every 15 minutes."""
    import bknb

    strategies: list[Any] = [
        bknb.add_strategy(f"averages of {fast}", interval="15m", get_signal=partial(averages, fast=fast))
        for fast in range(4, 20, 2)
    ]
    return bknb.walker("BTCUSDT", exchange="demo", frame=A_YEAR, strategies=strategies, executor=executor)


CASES: dict[str, Callable[[object], Any]] = {"portfolio": portfolio, "walker": walker}


def digest(result: Any) -> str:
    """A hash of all that happened, and of the figures, to the last bit."""
    results = [*getattr(result, "legs", {}).values(), *getattr(result, "results", {}).values()]
    told = [
        [each.events, each.milestones, each.trades.to_csv(float_format="%.17g"), dict(each.stats), dict(each.account)]
        for each in results
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def measured(case: str, executor: object) -> dict[str, Any]:
    """Run one case here."""
    import bknb
    from bknb.sweeps import fork_server

    _ = bknb.portfolio, bknb.walker, bknb.Signal  # what both ways need of bknb is here before
    began, used = perf_counter(), process_time()
    result = CASES[case](executor)
    seconds, used = perf_counter() - began, process_time() - used
    if hasattr(fork_server, "end_kept"):  # earlier versions keep none
        fork_server.end_kept()
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)  # they have ended
    return {
        "seconds": seconds,
        "here": used,
        "workers": workers.ru_utime + workers.ru_stime,
        "load": os.getloadavg()[0],
        "digest": digest(result),
    }


def once(case: str, executor: object, tree: Path, bytecode: str) -> dict[str, Any]:
    """One fresh process, in a folder of its own: no ledger knows what it does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE), "--one", case, str(executor)],
            env={**kept, "PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": bytecode},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{case} failed in {tree}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(times: int, cases: list[str], trees: dict[str, Path]) -> None:
    """Measure and print the rows of every case and version."""
    print("| | one process s | two workers s | ratio | processor s: one process | asking + workers | load |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as bytecode:
        for case in cases:
            ratios: dict[str, list[float]] = {name: [] for name in trees}
            for tree in trees.values():
                once(case, WORKERS, tree, bytecode)  # writes the bytecode
            for _ in range(times):
                for name, tree in trees.items():
                    alone, beside = (once(case, executor, tree, bytecode) for executor in ("inline", WORKERS))
                    if alone["digest"] != beside["digest"]:
                        raise SystemExit(f"{case}: two workers had another result")
                    ratios[name].append(alone["seconds"] / beside["seconds"])
                    print(
                        f"| {case}, {name} | {alone['seconds']:.2f} | {beside['seconds']:.2f} | {ratios[name][-1]:.2f} "
                        f"| {alone['here']:.2f} | {beside['here']:.2f} + {beside['workers']:.2f} "
                        f"| {beside['load']:.1f} |",
                        flush=True,
                    )
            for name, each in ratios.items():
                print(f"| {case}, {name}, median | | | {statistics.median(each):.2f} | | | |", flush=True)


def main() -> None:
    """Measure and print, or run one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="pairs of fresh processes for each case (default 5)")
    parser.add_argument("--case", choices=CASES, action="append", help="only this one")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "EXECUTOR"), help="run this one here, and print its figures")
    given = parser.parse_args()
    if given.one is None:
        trees = {"here": HERE.parents[1]} | ({} if given.before is None else {"before": given.before.resolve()})
        measure(given.times, given.case or [*CASES], trees)
    else:
        case, executor = given.one
        print(json.dumps(measured(case, int(executor) if executor.isdigit() else executor)))


if __name__ == "__main__":
    main()
