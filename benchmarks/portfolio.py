"""Measure a portfolio of ten symbols over a year of minutes, its tear sheet, and a first cell over years of days.

``python benchmarks/portfolio.py [--times 3]``. Each case has a process of its own, the cases in turn, and the least of
all counts. Processor time leaves out what waits for others; whether two workers are faster than one shows in seconds
alone, on a machine with two free cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve()
SYMBOLS = [f"COIN{number}USDT" for number in range(10)]
YEAR = "2023-01-01:2024-01-01"
DAYS = """
import numpy as np
import pandas as pd

index = pd.date_range("2004-01-01", "2024-01-01", freq="B", name="Date")
close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(index))))
opened = np.concatenate([[100.0], close[:-1]])
highs, lows = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
days = pd.DataFrame({"Open": opened, "High": highs, "Low": lows, "Close": close, "Volume": 1e6}, index=index)
"""


def _two_averages(ctx: Any) -> Any:
    import bknb

    closes = ctx.candles("15m", 30).close
    if closes[-10:].mean() > closes.mean():
        price = ctx.price
        return bknb.Signal(
            position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.98, minute_estimated_time=480
        )
    return None


def _run(**options: Any) -> dict[str, Any]:
    import bknb

    strategy: Any = bknb.add_strategy("two averages", interval="15m", get_signal=_two_averages)
    return {"exchange": "demo", "frame": YEAR, **options, "strategy": strategy}


def single() -> None:
    """Ten runs, one after the other, each with a tenth of the capital."""
    import bknb

    for symbol in SYMBOLS:
        bknb.backtest(symbol, **_run(capital=10_000))


def together(**options: Any) -> Any:
    """One portfolio of ten legs."""
    import bknb

    run = _run(**options)
    return bknb.portfolio(symbols=SYMBOLS, strategies=[run.pop("strategy")], **run)


def sheet() -> dict[str, float]:
    """The tear sheet of that portfolio: how long it takes, and its size."""
    portfolio = together(capital=100_000, sizing="percent:10", benchmark="equal")
    began, used = perf_counter(), process_time()
    size = len(portfolio.tearsheet().html.encode())
    return {"seconds": perf_counter() - began, "processor": process_time() - used, "kB": size / 1000}


def first_cell() -> dict[str, float]:
    """A backtest over a table of days and its picture, from the import of bknb on."""
    names: dict[str, Any] = {}
    exec(DAYS, names)  # noqa: S102 -- the table, which the cell before has made
    began, used = perf_counter(), process_time()
    import bknb

    def get_signal(ctx: Any) -> Any:
        closes = ctx.candles("1d", 50).close
        if closes[-1] > closes.mean():
            price = ctx.price
            return bknb.Signal(position="long", price_take_profit=price * 1.05, price_stop_loss=price * 0.97)
        return None

    source = bknb.exchanges.from_frame(names["days"])
    result = bknb.backtest("AAPL", strategy=get_signal, exchange=source, frame=("2004-06-01", "2023-12-01"))
    result._repr_html_()
    return {"seconds": perf_counter() - began, "processor": process_time() - used}


CASES: dict[str, Callable[[], Any]] = {
    "ten runs": single,
    "one portfolio": lambda: together(capital=100_000, sizing="percent:10"),
    "one worker": lambda: together(executor=1),
    "two workers": lambda: together(executor=2),
    "tear sheet": sheet,
    "twenty years of days, first picture": first_cell,
}


def measured(case: str) -> dict[str, float]:
    """What a case took in this process and its workers, and the most memory of this process."""
    began = perf_counter()
    found = CASES[case]()
    whole = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    used = sum(each.ru_utime + each.ru_stime for each in whole)
    known = {"seconds": perf_counter() - began, "processor": used, "peak MB": whole[0].ru_maxrss / 1024}
    return known | (found if isinstance(found, dict) else {})


def once(case: str) -> dict[str, float]:
    """One fresh process, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-W", "ignore", str(HERE), "--case", case]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure all cases in turn, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measured(asked.case)))
        return
    rounds = [{case: once(case) for case in CASES} for _ in range(asked.times)]
    least = {case: {name: min(each[case][name] for each in rounds) for name in rounds[0][case]} for case in CASES}
    print("| | seconds | processor time, s | peak MB | kB |\n|---|---|---|---|---|")
    for case, found in least.items():
        columns = [f"{found[name]:.2f}" for name in ("seconds", "processor")]
        columns += [f"{found['peak MB']:.0f}", f"{found['kB']:.0f}" if "kB" in found else ""]
        print(f"| {case} | {' | '.join(columns)} |")
    runs, one = (least[case]["processor"] for case in ("ten runs", "one portfolio"))
    alone, two = (least[case]["seconds"] for case in ("one worker", "two workers"))
    print(f"\n| ratio | |\n|---|---|\n| one portfolio / ten runs | {one / runs:.2f} |")
    print(f"| one worker / two workers, seconds | {alone / two:.2f} |")


if __name__ == "__main__":
    main()
