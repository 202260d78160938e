"""Measure in one run what one thing costs beside another: processor time, the least of many, and ratios.

``python benchmarks/ratios.py [--times 5] [--before FOLDER]``. The cases take turns in processes of their own, so that a
busy machine meets all of them; processor time leaves out what waits for others. With ``--before``, a checkout of an
earlier version, every case that it knows is measured there as well. bknb needs its extra ``sweep``.

Imports are those of an installed package: bytecode is written by a first process of each case, which does not count.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve()
HALF_A_YEAR = "2024-01-01:2024-07-01"
BOTH = ("import", "first day", "two averages", "sweep", "sweep, trailing and ladder")
RATIOS = (
    ("managed", "two averages"),
    ("sweep, trailing and ladder", "sweep"),
    ("sweep, percent levels and size", "sweep"),
    ("sweep, two that compete", "sweep"),
    ("sweep, entry ladder", "sweep"),
)
ROUNDS = 5  # backtests of a process; the fastest counts


def _two_averages(ctx: Any) -> Any:
    import bknb

    closes = ctx.candles("15m", 30).close
    if closes[-10:].mean() > closes.mean():
        price = ctx.price
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.98,
            minute_estimated_time=480,
        )
    return None


def _rests(position: Any) -> None:
    """Asked at every slot, and changes nothing."""


def _seconds(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def backtest(frame: str = HALF_A_YEAR, **options: Any) -> float:
    """Half a year, asked every 15 minutes; the fastest of some runs in this process."""
    import bknb

    strategy: Any = bknb.add_strategy("two averages", interval="15m", get_signal=_two_averages, **options)
    run = {"strategy": strategy, "exchange": "demo", "frame": frame}
    return min(_seconds(lambda: bknb.backtest("BTCUSDT", **run)) for _ in range(ROUNDS))


def crossing(candles: Any, fast: int = 10, slow: int = 30) -> dict[str, Any]:
    """Enters where the averages cross, with one target and one stop."""
    from sweep_cases import get_signals

    return get_signals(candles, fast, slow) | {"minute_estimated_time": 1440}


def crossing_with_exits(candles: Any, fast: int = 10, slow: int = 30) -> dict[str, Any]:
    """The same entries with a ladder of three targets and a trailing stop."""
    rows, close = crossing(candles, fast, slow), candles.close
    del rows["price_take_profit"]
    ladder = {"target_1": close * 1.01, "target_2": close * 1.015, "target_3": close * 1.02}
    return rows | ladder | {"share_1": 0.3, "share_2": 0.3, "share_3": 0.4, "trailing_percent": 1.0}


def crossing_in_percent(candles: Any, fast: int = 10, slow: int = 30) -> dict[str, Any]:
    """The same entries with a target and a stop in percent of what is paid, and half the size."""
    rows = crossing(candles, fast, slow)
    entries = {name: rows[name] for name in ("position", "minute_estimated_time")}
    return entries | {"target_percent": 2.0, "stop_percent": 1.0, "size": 0.5}


def crossing_either_way(candles: Any, fast: int = 10, slow: int = 30) -> dict[str, Any]:
    """Where the averages cross, breakouts on both sides that compete."""
    import numpy as np

    rows, close, nothing = crossing(candles, fast, slow), candles.close, float("nan")
    crosses = rows["position"] != 0
    found: dict[str, Any] = {"minute_estimated_time": 1440, "stop_entry": True}
    for side, sign in (("long", 1), ("short", -1)):
        found[f"price_open_{side}"] = np.where(crosses, close * (1 + sign * 0.002), nothing)
        found[f"price_take_profit_{side}"] = close * (1 + sign * 0.022)
        found[f"price_stop_loss_{side}"] = close * (1 - sign * 0.008)
    return found


def crossing_in_parts(candles: Any, fast: int = 10, slow: int = 30) -> dict[str, Any]:
    """The same entries in three parts, each a limit below the one before."""
    rows, close = crossing(candles, fast, slow), candles.close
    parts = {f"open_{k}": close * (1 - 0.001 * k) for k in (1, 2, 3)}
    return rows | parts | {"open_share_1": 0.3, "open_share_2": 0.3, "open_share_3": 0.4}


def sweep(get_signals: Any) -> float:
    """A thousand pairs over a year, once what is compiled is there."""
    import bknb

    options: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "demo", "frame": ("2023-01-01", "2024-01-01")}
    options |= {"interval": "15m", "metric": "total_pnl"}
    bknb.sweep(get_signals, params={"fast": [4], "slow": [29, 31]}, **options)
    pairs = {"fast": range(5, 25), "slow": range(30, 130, 2)}
    return _seconds(lambda: bknb.sweep(get_signals, params=pairs, **options).ranking)


def first_day() -> float:
    """All that a process takes for a first run: start, imports and a day."""
    import bknb

    bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02", interval="15m")
    return _whole()


def imported() -> float:
    """All that a process takes to import bknb with the names a run needs."""
    import bknb

    _ = (bknb.backtest, bknb.Signal, bknb.get_candles, bknb.exchanges)
    return _whole()


def _whole() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


CASES: dict[str, Callable[[], float]] = {
    "import": imported,
    "first day": first_day,
    "two averages": backtest,
    "managed": lambda: backtest(manage=_rests),
    "sweep": lambda: sweep(crossing),
    "sweep, trailing and ladder": lambda: sweep(crossing_with_exits),
    "sweep, percent levels and size": lambda: sweep(crossing_in_percent),
    "sweep, two that compete": lambda: sweep(crossing_either_way),
    "sweep, entry ladder": lambda: sweep(crossing_in_parts),
}


def once(case: str, tree: Path, bytecode: str) -> float:
    """One fresh process, in a folder of its own: no ledger knows what it does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE), "--case", case],
            env={**kept, "PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": bytecode},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{case} failed in {tree}:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def measure(times: int, before: Path | None) -> dict[tuple[str, str], float]:
    """The least of ``times`` processes of every case, by case and version."""
    trees = {"here": HERE.parents[1]} | ({} if before is None else {"before": before.resolve()})
    pairs = [(case, name) for case in CASES for name in trees if name == "here" or case in BOTH]
    found: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as bytecode:
        for case, name in pairs:
            once(case, trees[name], bytecode)
        for _ in range(times):
            for case, name in pairs:
                found[case, name] = min(once(case, trees[name], bytecode), found.get((case, name), float("inf")))
    return found


def report(found: dict[tuple[str, str], float]) -> str:
    """The table."""
    lines = ["| processor time, s | here | before | here / before |", "|---|---|---|---|"]
    for case in CASES:
        here, there = found[case, "here"], found.get((case, "before"))
        other = " | " if there is None else f"{there:.3f} | {here / there:.2f}"
        lines.append(f"| {case} | {here:.3f} | {other} |")
    lines += ["", "| ratio, here | |", "|---|---|"]
    lines += [f"| {one} / {other} | {found[one, 'here'] / found[other, 'here']:.2f} |" for one, other in RATIOS]
    return "\n".join(lines)


def main() -> None:
    """Measure and print, or run one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="fresh processes for each case (default 5)")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--case", choices=CASES, help="run this one here, and print its seconds")
    given = parser.parse_args()
    if given.case is None:
        print(report(measure(given.times, given.before)))
    else:
        print(CASES[given.case]())


if __name__ == "__main__":
    main()
