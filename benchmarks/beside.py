"""Measure ``cases.py`` and ``sweep_cases.py`` beside an earlier release: processor time, peak memory, ratios.

``python benchmarks/beside.py --before FOLDER [--times 3] [--case NAME ...]``, the folder of an earlier checkout. Each
case runs in fresh processes, here and there in turn, as each release writes it; what the earlier one does not have is
left out. Processor time leaves out what waits for others, so ratios hold on a busy machine; cases with
workers are not among them. bknb needs its extra ``sweep``. The figures are told, not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
CASES = {  # by what the page calls them: the file, the case, what of it is told
    "W1: import": ("cases.py", "w1_bknb", "import_s"),
    "W1: data": ("cases.py", "w1_bknb", "load_s"),
    "W1: run + statistics": ("cases.py", "w1_bknb", "run_and_stats_s"),
    "W1, DataFrame in: data": ("cases.py", "w1_bknb_frame", "load_s"),
    "W1, DataFrame in: run + statistics": ("cases.py", "w1_bknb_frame", "run_and_stats_s"),
    "empty strategy, 35 040 decisions": ("cases.py", "empty_15m", "run_s"),
    "the same run with 365 decisions": ("cases.py", "empty_1d", "run_s"),
    "`import bknb`": ("cases.py", "import_alone", "import_s"),
    "`import bknb` and the names of a script": ("cases.py", "import_and_reach", "import_s"),
    "one day in a fresh process": ("cases.py", "one_day", "run_s"),
    "numpy of W1 alone, no engine": ("cases.py", "w1_strategy_alone", "run_s"),
    "sweep, 100 pairs": ("sweep_cases.py", "bknb_100", "run_s"),
    "sweep, 1 000 pairs": ("sweep_cases.py", "bknb_1000", "run_s"),
    "sweep, import and a first small one": ("sweep_cases.py", "bknb_100", "warming_s"),
    "rows through the event engine, three years": ("sweep_cases.py", "bknb_events", "run_s"),
    "sweep, 50 symbols by 20": ("sweep_cases.py", "symbols_50", "run_s"),
}
CLOCK = """
import runpy, sys, time
time.perf_counter = time.process_time
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def once(tree: Path, file: str, case: str, candles: Path, bytecode: str) -> dict[str, float] | None:
    """One fresh process in a folder of its own: its figures, processor time of all of it; ``None`` where it fails."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CLOCK, str(tree / "benchmarks" / file), case, str(candles)],
            env={**kept, "PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": bytecode},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(f"{case} failed in {tree}: {done.stderr.splitlines()[-1:]}", file=sys.stderr)
        return None
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**figures, "whole_s": whole}


def measure(trees: dict[str, Path], wanted: list[str], times: int) -> dict[tuple[str, str], list[dict[str, float]]]:
    """The figures of every case in each tree."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    needed = dict.fromkeys(CASES[name][:2] for name in wanted)
    with tempfile.TemporaryDirectory() as folder:
        candles = Path(folder) / "year.npy"
        subprocess.run([sys.executable, str(HERE / "data.py"), str(candles)], check=True)
        for number in range(times + 1):  # the first writes bytecode and compiles
            for file, case in needed:
                for name, tree in trees.items():
                    figures = once(tree, file, case, candles, str(Path(folder) / name))
                    if number and figures is not None:
                        found.setdefault((name, case), []).append(figures)
    return found


def report(found: dict[tuple[str, str], list[dict[str, float]]], wanted: list[str]) -> str:
    """The tables."""

    def of(tree: str, case: str, key: str) -> float | None:
        runs = [run[key] for run in found.get((tree, case), ()) if key in run]
        return median(runs) if runs else None

    lines = ["| processor time, s | here | before | here / before |", "|---|---|---|---|"]
    for name in wanted:
        _, case, key = CASES[name]
        lines.append(f"| {name} | {_ratio(of('here', case, key), of('before', case, key), 4)} |")
    lines += ["", "| the whole process | s, here | before | ratio | peak MB, here | before | ratio |", "|---" * 7 + "|"]
    for case in dict.fromkeys(CASES[name][1] for name in wanted):
        seconds, peak = ((of("here", case, key), of("before", case, key)) for key in ("whole_s", "peak_mb"))
        lines.append(f"| {case} | {_ratio(*seconds, 2)} | {_ratio(*peak, 0)} |")
    return "\n".join(lines)


def _ratio(here: float | None, before: float | None, digits: int) -> str:
    shown = " | ".join("" if value is None else f"{value:.{digits}f}" for value in (here, before))
    return f"{shown} | {'' if here is None or before is None else f'{here / before:.2f}'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of an earlier version")
    parser.add_argument("--times", type=int, default=3, help="fresh processes for each case (default 3)")
    parser.add_argument("--case", action="append", choices=list(CASES), help="this one alone; may be given again")
    given = parser.parse_args()
    wanted = given.case or list(CASES)
    trees = {"here": HERE.parent, "before": given.before.resolve()}
    print(report(measure(trees, wanted, given.times), wanted))


if __name__ == "__main__":
    main()
