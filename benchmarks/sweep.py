"""Measure sweeps beside vectorbt: every case in a fresh process, the cases in turn, medians, ratios in one table.

``python benchmarks/sweep.py [--times 3] [--theirs PYTHON [--rust]]``. bknb needs its extra ``sweep``; vectorbt may live
in an environment of its own, whose python is given with ``--theirs``; with ``--rust`` its Rust engine is measured, too,
which ``pip install vectorbt-rust`` brings there. The figures are told, not judged.
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
from os import cpu_count, getloadavg
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
OURS = ("kernel_year", "bknb_100", "bknb_1000", "bknb_10000", "bknb_1000_x2", "bknb_1000_x2_warm", "bknb_10000_x2",
        "bknb_events", "symbols_50", "symbols_50_x2")  # fmt: skip
THEIRS = ("vectorbt_100", "vectorbt_1000")
RUST = ("vectorbt_100_rust", "vectorbt_1000_rust")


def once(python: str, case: str, candles: Path) -> dict[str, Any]:
    """One fresh process and its figures."""
    done = subprocess.run(
        [python, "-W", "ignore", str(HERE / "sweep_cases.py"), case, str(candles)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(times: int, theirs: str | None, *, rust: bool = False) -> dict[str, list[dict[str, Any]]]:
    """All cases, ``times`` rounds."""
    cases = [(sys.executable, case) for case in OURS] + [(theirs, case) for case in THEIRS if theirs]
    cases += [(theirs, case) for case in RUST if theirs and rust]
    found: dict[str, list[dict[str, Any]]] = {case: [] for _, case in cases}
    with tempfile.TemporaryDirectory() as folder:
        candles = Path(folder) / "year.npy"
        subprocess.run([sys.executable, str(HERE / "data.py"), str(candles)], check=True)
        once(sys.executable, "kernel_year", candles)  # compiles, if this is the first time
        for _ in range(times):
            for python, case in cases:
                found[case].append(once(str(python), case, candles))
    return found


def report(found: dict[str, list[dict[str, Any]]]) -> str:
    """The tables."""
    of = {case: {key: median(run[key] for run in runs) for key in runs[-1]} for case, runs in found.items()}
    head = ["sweep, one year of 1m candles", "combinations/s", "(min-max)", "whole call s", "processor s",
            "import and warming up s", "peak MB", "a worker MB", "trades", "mean result %"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for case in (*OURS, *THEIRS, *RUST):
        if case not in of or "rate" not in of[case]:
            continue
        row, rates = of[case], [run["rate"] for run in found[case]]
        worker = f"{row['worker_mb']:.0f}" if row.get("worker_mb") else ""
        trades = f"{row['trades']:,.0f}" if "trades" in row else ""
        warming = f"{row['warming_s']:.1f}" if "warming_s" in row else ""
        mean = f"{row['mean_pnl']:.4f}" if "mean_pnl" in row else ""
        lines.append(
            f"| {case} | {row['rate']:,.1f} | {min(rates):,.1f}-{max(rates):,.1f} | {row['run_s']:.2f} "
            f"| {row.get('processor_s', 0):.2f} | {warming} | {row['peak_mb']:,.0f} | {worker} | {trades} | {mean} |"
        )
    year = of["kernel_year"]
    lines += ["", "| one combination, once compiled | |", "|---|---|"]
    for name, key in (("its get_signals", "rows_ms"), ("a year of minutes simulated", "simulate_ms"),
                      ("its figures", "score_ms"), ("everything", "whole_ms")):  # fmt: skip
        lines.append(f"| {name} | {year[key]:.3f} ms |")
    lines += [f"| candles fetched, checked and prepared | {year['prepare_s']:.2f} s |",
              f"| first call in a process (compiled loop from the cache) | {year['first_s']:.2f} s |"]  # fmt: skip
    lines += ["", "| ratio | |", "|---|---|"]
    one, two = of["bknb_10000"], of["bknb_10000_x2"]
    lines.append(f"| 10 000 combinations, here / 2 workers | {one['run_s'] / two['run_s']:.2f} |")
    lines.append(f"| peak memory, 10 000 / 1 000 combinations | {one['peak_mb'] / of['bknb_1000']['peak_mb']:.2f} |")
    lines.append(f"| 50 symbols, here / 2 workers | {of['symbols_50']['run_s'] / of['symbols_50_x2']['run_s']:.2f} |")
    for name in (*THEIRS, *RUST):
        if name in of:
            ours, theirs, what = of[f"bknb_{name.split('_')[1]}"], of[name], name.replace("_", " ")
            lines.append(f"| rate, bknb / {what} | {ours['rate'] / theirs['rate']:.0f} |")
            used = theirs["processor_s"] / ours["processor_s"]
            lines.append(f"| processor time, {what} / bknb | {used:.0f} |")
            lines.append(f"| peak memory, {what} / bknb | {theirs['peak_mb'] / ours['peak_mb']:.1f} |")
    if "vectorbt_1000" in of:
        ratio = two["rate"] / of["vectorbt_1000"]["rate"]
        lines.append(f"| 10 000 pairs with 2 workers: rate, against vectorbt with 1 000 | {ratio:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="fresh processes for each case (default 3)")
    parser.add_argument("--theirs", help="the python of an environment with vectorbt")
    parser.add_argument("--rust", action="store_true", help="measure its Rust engine, too")
    given = parser.parse_args()
    found = measure(given.times, given.theirs, rust=given.rust)
    versions = ", ".join(f"{name} {version(name)}" for name in ("bknb", "numba", "numpy"))
    if given.theirs:
        asked = "from importlib.metadata import version as v; print('vectorbt', v('vectorbt'))"
        done = subprocess.run([given.theirs, "-c", asked], capture_output=True, text=True, check=True)
        versions += f", {done.stdout.strip()}"
    system = f"{platform.system()} {platform.machine()}, {cpu_count()} cores (load {getloadavg()[0]:.1f})"
    when = f"{datetime.now(UTC):%Y-%m-%d}, {system}, Python {platform.python_version()}, {versions}"
    print(f"{when}; medians of {given.times} fresh processes\n")
    print(report(found))


if __name__ == "__main__":
    main()
