r"""Measure one strategy in bknb and in libraries beside it: processor time, ratios of one run, and whether fills agree.

::

    python benchmarks/field.py --times 3 --backtesting PYTHON --vectorbt PYTHON --vectorbt-rust PYTHON \
        --nautilus PYTHON --jesse PYTHON --freqtrade PYTHON

Each library has an environment of its own, whose python is given; what is left out is not measured.
``field_case.py`` says what the strategy is, ``field_*.py`` how each library is told it. Cases take turns in fresh
processes, each in a new folder, and run the strategy twice: the first time with all that is compiled or imported on
the way, and again. Figures are told, not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

HERE = Path(__file__).parent
OURS = {"indicators": "bknb, indicators", "candles": "bknb, `ctx.candles` and four means", "rows": "bknb, rows"}
CLOSE = 1e-6  # how far two prices may be apart, relative


class Case(NamedTuple):
    """A library, or a way to use one: what it is called, and what is run."""

    name: str
    command: list[str]


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """Those that were asked for."""
    for way, name in OURS.items():
        yield Case(name, [sys.executable, str(HERE / "field_bknb.py"), way])
    for name, python, script, *more in (
        ("backtesting.py", given.backtesting, "field_backtesting.py"),
        ("vectorbt, Numba", given.vectorbt, "field_vectorbt.py", "numba"),
        ("vectorbt, Rust", given.vectorbt_rust, "field_vectorbt.py", "rust"),
        ("nautilus_trader", given.nautilus, "field_nautilus.py"),
        ("jesse", given.jesse, "field_jesse.py"),
        ("freqtrade", given.freqtrade, "field_freqtrade.py"),
    ):
        if python:
            yield Case(name, [str(Path(python).absolute()), str(HERE / script), *more])


def once(case: Case, candles: Path, told: Path) -> dict[str, Any]:
    """One fresh process in a folder of its own: its figures; its trades are in ``told``."""
    command = [*case.command[:2], str(candles), str(told), *case.command[2:]]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def agreement(ours: list[list[float]], theirs: list[list[float]]) -> str:
    """How many trades have the same minutes and prices, and of the others how many the same entry."""
    known = {(int(trade[0]), int(trade[2])): trade for trade in ours}
    entries = {int(trade[0]) for trade in ours}
    same = entered = 0
    for trade in theirs:
        one = known.get((int(trade[0]), int(trade[2])))
        if one is not None and all(abs(one[at] / trade[at] - 1) <= CLOSE for at in (1, 3)):
            same += 1
        else:
            entered += int(trade[0]) in entries
    rest = f", {entered} more the same entry" if entered else ""
    return f"{same} of {len(theirs)}{rest}"


def report(order: list[Case], found: dict[str, list[dict[str, Any]]], trades: dict[str, list[list[float]]]) -> str:
    """The table."""
    of = {
        name: {key: median(run[key] for run in runs) for key, value in runs[-1].items() if not isinstance(value, str)}
        for name, runs in found.items()
    }
    ours = of[OURS["indicators"]]
    head = ["one year of 1m candles", "version", "import s", "data s", "first run s", "again s", "(min-max)",
            "again / bknb, indicators", "peak MB", "trades as in bknb"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for case in order:
        row, runs = of[case.name], found[case.name]
        again = [run["again_s"] for run in runs]
        lines.append(
            f"| {case.name} | {runs[-1]['version']} | {row['import_s']:.2f} | {row['load_s']:.2f} "
            f"| {row['first_s']:.2f} | {row['again_s']:.3f} | {min(again):.3f}-{max(again):.3f} "
            f"| {row['again_s'] / ours['again_s']:.1f} "
            f"| {row['peak_mb']:.0f} | {agreement(trades[OURS['indicators']], trades[case.name])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="fresh processes for each case (default 3)")
    for name in ("backtesting", "vectorbt", "vectorbt-rust", "nautilus", "jesse", "freqtrade"):
        parser.add_argument(f"--{name}", metavar="PYTHON", help="of an environment that has it")
    parser.add_argument("--keep", type=Path, help="a folder for the trades of each case, as JSON")
    given = parser.parse_args()
    order = list(cases(given))
    found: dict[str, list[dict[str, Any]]] = {case.name: [] for case in order}
    trades: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        candles = Path(folder) / "year.npy"
        subprocess.run([sys.executable, str(HERE / "data.py"), str(candles)], check=True)
        for _ in range(given.times):
            for number, case in enumerate(order):
                told = kept / f"{number}.json"
                found[case.name].append(once(case, candles, told.absolute()))
                trades[case.name] = json.loads(told.read_text(encoding="utf-8"))
                print(f"{case.name}: {found[case.name][-1]}", file=sys.stderr)
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f})"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {system}, Python {platform.python_version()}, numpy {version('numpy')}\n")
    print(report(order, found, trades))


if __name__ == "__main__":
    main()
