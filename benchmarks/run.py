"""Measure: every case in fresh processes, medians of several, one table with ratios.

``python benchmarks/run.py [--times 7]``, with ``pip install -e . backtesting``. Takes about a minute. The figures are
told, not judged: nothing here fails because a machine is slow.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

HERE = Path(__file__).parent
CASES = (  # interleaved, so that a slow minute of the machine meets all of them
    "bare",
    "w1_bknb",
    "w1_backtesting",
    "w1_indicators",
    "w1_bknb_frame",
    "w1_strategy_alone",
    "empty_15m",
    "empty_1d",
    "import_alone",
    "import_and_reach",
    "one_day",
    "indicator_calls",
)
DECISIONS = 35_040
FEW_DECISIONS = 365


def once(case: str, candles: Path) -> dict[str, Any]:
    """One fresh process; its figures, and the wall time from start to end."""
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / "cases.py"), case, str(candles)],
        capture_output=True,
        text=True,
        check=False,
    )
    wall = perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "wall_s": wall}


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every number; what is no number is taken from the last run."""
    return {
        key: median(run[key] for run in runs) if isinstance(value, (int, float)) else value
        for key, value in runs[-1].items()
    }


def spread(runs: list[dict[str, Any]], key: str) -> str:
    """Fastest and slowest."""
    values = [run[key] for run in runs]
    return f"{min(values):.3f}-{max(values):.3f}"


def measure(times: int) -> dict[str, list[dict[str, Any]]]:
    """All cases, ``times`` rounds."""
    found: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        candles = Path(folder) / "year.npy"
        subprocess.run([sys.executable, str(HERE / "data.py"), str(candles)], check=True)
        for _ in range(times):
            for case in CASES:
                found[case].append(once(case, candles))
    return found


def imports(row: dict[str, Any]) -> str:
    """Time, number of modules and the heavy ones among them."""
    heavy = ", ".join(row["heavy"]) or "none"
    return f"{row['import_s'] * 1e3:.1f} ms, {row['modules']:.0f} new modules, heavy ones: {heavy}"


def report(found: dict[str, list[dict[str, Any]]]) -> str:
    """The tables."""
    of = {case: middle(runs) for case, runs in found.items()}
    ours, theirs, alone = of["w1_bknb"], of["w1_backtesting"], of["w1_strategy_alone"]
    lines = [
        "| W1, one year of 1m candles | import s | data s | run + stats s | (min-max) | process s | peak MB | trades |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, case in (
        ("bknb", "w1_bknb"),
        ("bknb, with indicators", "w1_indicators"),
        ("bknb, DataFrame in", "w1_bknb_frame"),
        ("backtesting.py", "w1_backtesting"),
    ):
        row = of[case]
        lines.append(
            f"| {name} | {row['import_s']:.3f} | {row['load_s']:.3f} | {row['run_and_stats_s']:.3f} "
            f"| {spread(found[case], 'run_and_stats_s')} | {row['wall_s']:.2f} | {row['peak_mb']:.0f} "
            f"| {row['trades']:.0f} |"
        )
    lines += ["", "| ratio backtesting.py / bknb | |", "|---|---|"]
    for name, key in (("run + statistics", "run_and_stats_s"), ("whole process", "wall_s"), ("peak memory", "peak_mb")):
        lines.append(f"| {name} | {theirs[key] / ours[key]:.1f} |")
    calls, indicators = of["indicator_calls"], of["w1_indicators"]
    lines.append(
        f"| with indicators, run + statistics | {theirs['run_and_stats_s'] / indicators['run_and_stats_s']:.1f} |"
    )
    empty, few = of["empty_15m"], of["empty_1d"]
    slope = (empty["run_s"] - few["run_s"]) / (DECISIONS - FEW_DECISIONS) * 1e6
    day, reach, light, bare = of["one_day"], of["import_and_reach"], of["import_alone"], of["bare"]
    lines += [
        "",
        "| other figures | |",
        "|---|---|",
        f"| the numpy work of W1's get_signal alone, 35 040 times, no engine | {alone['run_s']:.3f} s |",
        f"| empty strategy, 35 040 decisions, whole run | {empty['run_s']:.3f} s |",
        f"| the same run with 365 decisions (fetching, checking, averages) | {few['run_s']:.3f} s |",
        f"| engine share, whole run / decisions | {empty['run_s'] / DECISIONS * 1e6:.2f} µs |",
        f"| engine share, cost of one more decision | {slope:.2f} µs |",
        f"| one call of an indicator, `fast(ctx)` | {calls['newest_us']:.2f} µs |",
        f"| `fast.last(ctx)` | {calls['last_us']:.2f} µs |",
        f"| `fast(ctx, 5)` | {calls['five_us']:.2f} µs |",
        f'| `ctx.candles("15m", 31).close` in its place | {calls["candles_us"]:.2f} µs |',
        f"| empty strategy, peak | {empty['peak_mb']:.0f} MB |",
        f"| `import bknb` | {imports(light)} |",
        f"| `import bknb` and backtest, Signal, get_candles, exchanges | {imports(reach)} |",
        f"| one day in a fresh process: import + backtest | {day['run_s']:.3f} s |",
        f"| the same process, start to end (a bare interpreter: {bare['wall_s']:.3f} s) | {day['wall_s']:.3f} s |",
        f"| the same process, peak (a bare interpreter: {bare['peak_mb']:.0f} MB) | {day['peak_mb']:.0f} MB |",
    ]
    return "\n".join(lines)


def where() -> str:
    """When, on what, and with which versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("bknb", "backtesting", "numpy", "pandas", "msgspec"))
    system = f"{platform.system()} {platform.machine()}, {cpu_count()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, {system}, Python {platform.python_version()}, {versions}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="fresh processes for each case (default 7)")
    times = parser.parse_args().times
    print(f"{where()}; medians of {times} fresh processes\n")
    print(report(measure(times)))


if __name__ == "__main__":
    main()
