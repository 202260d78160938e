"""Measure what costs grow with: decisions, years, symbols, indicators, legs, workers.

``python benchmarks/growth.py [--times 3] [--only NAME ...]``. Each size is measured in fresh processes, the sizes in
turn, and the least of all counts: processor time of one process, and of workers the seconds that pass. What all sizes
have, such as imports and candles, is there before the clock starts. ``growth.svg`` gets a plot of each, both axes
logarithmic, and the table the exponent: cost is proportional to size to the power of it, by least squares over all
sizes, and between the two largest, where what a run begins with counts least.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve()
PLOTS = HERE.with_name("growth.svg")
MONTH = ("2023-01-01", "2023-02-01")
QUARTER = ("2023-01-01", "2023-04-01")
COLUMNS, WIDTH, HEIGHT, MARGIN = 3, 260, 200, 42


def _held(symbols: list[str], frame: tuple[str, str]) -> Any:
    """Minutes of the demo market in memory, a day before the frame included."""
    import bknb
    from bknb.exchanges.dataframe_source import FrameSource

    early = (f"{int(frame[0][:4]) - 1}-12-31", frame[1])
    runs = {
        symbol: bknb.backtest(symbol, strategy=lambda: None, interval="1d", exchange="demo", frame=early)
        for symbol in symbols
    }
    bknb.backtest(
        "ANY", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02")
    )  # lets go of theirs
    return FrameSource({symbol: run.candles[:-1] for symbol, run in runs.items()})


def _symbols(count: int) -> list[str]:
    return [f"COIN{number}USDT" for number in range(count)]


def _crossing(fast: int = 10, slow: int = 30) -> Callable[[Any], Any]:
    import bknb

    quick, calm = bknb.indicator("sma", "15m", fast), bknb.indicator("sma", "15m", slow)

    def get_signal(ctx: Any) -> Any:
        if quick.last(ctx) > calm.last(ctx) and quick(ctx, 2)[0] <= calm(ctx, 2)[0]:
            price = ctx.price
            return bknb.Signal(
                position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99, minute_estimated_time=480
            )
        return None

    return get_signal


def decisions(size: int) -> Callable[[], object]:
    """Questions of a quarter of minutes to a strategy that answers nothing: so many a day."""
    import bknb

    source, interval = _held(_symbols(1), QUARTER), {24: "1h", 96: "15m", 288: "5m", 1440: "1m"}[size]
    return lambda: bknb.backtest("COIN0USDT", strategy=lambda: None, interval=interval, exchange=source, frame=QUARTER)


def years(size: int) -> Callable[[], object]:
    """Years of minutes: two averages that cross, asked every 15 minutes, and the statistics."""
    import bknb

    frame = ("2017-01-01", f"{2017 + size}-01-01")
    source, get_signal = _held(_symbols(1), frame), _crossing()
    return lambda: bknb.backtest("COIN0USDT", strategy=get_signal, interval="15m", exchange=source, frame=frame).stats


def indicators(size: int) -> Callable[[], object]:
    """Averages of different lengths, each asked for its newest value every 15 minutes of a quarter."""
    import bknb

    source = _held(_symbols(1), QUARTER)
    known = [bknb.indicator("sma", "15m", 5 + number) for number in range(size)]

    def get_signal(ctx: Any) -> None:
        for each in known:
            each.last(ctx)

    return lambda: bknb.backtest("COIN0USDT", strategy=get_signal, interval="15m", exchange=source, frame=QUARTER)


def symbols(size: int) -> Callable[[], object]:
    """Symbols of a portfolio without a capital, over a month of minutes."""
    import bknb

    names = _symbols(size)
    source, strategy = _held(names, MONTH), bknb.add_strategy("averages", interval="15m", get_signal=_crossing())
    return lambda: bknb.portfolio(symbols=names, strategies=[strategy], exchange=source, frame=MONTH)


def legs(size: int) -> Callable[[], object]:
    """Strategies that share one capital on one symbol, over a month of minutes."""
    import bknb

    source = _held(_symbols(1), MONTH)
    strategies = [
        bknb.add_strategy(f"averages {number}", interval="15m", get_signal=_crossing(5 + number, 30 + number))
        for number in range(size)
    ]
    return lambda: bknb.portfolio(
        symbols=_symbols(1), strategies=strategies, exchange=source, frame=MONTH, capital=100_000, sizing="percent:5"
    )


def workers(size: int) -> Callable[[], object]:
    """Processes for a walker of eight strategies over a quarter of minutes; they are started before the clock."""
    import bknb

    known = [
        bknb.add_strategy(f"averages {number}", interval="5m", get_signal=_crossing(5 + number, 30 + number))
        for number in range(8)
    ]

    def run() -> object:
        return bknb.walker("COIN0USDT", strategies=known, exchange="demo", frame=QUARTER, executor=size)

    run()
    return run


class Axis(NamedTuple):
    """What grows, its sizes, and whether seconds that pass are counted in place of processor time."""

    make: Callable[[int], Callable[[], object]]
    sizes: tuple[int, ...]
    passing: bool = False


AXES = {
    "decisions a day": Axis(decisions, (24, 96, 288, 1440)),
    "years of minutes": Axis(years, (1, 2, 4, 6)),
    "indicators": Axis(indicators, (1, 4, 16, 64)),
    "symbols": Axis(symbols, (2, 4, 8, 16)),
    "legs of one account": Axis(legs, (2, 4, 8, 16)),
    "workers": Axis(workers, (1, 2, 3, 4), passing=True),
}


def once(name: str, size: int) -> dict[str, float]:
    """Processor time, or seconds that pass, and the peak of memory, in this process."""
    axis = AXES[name]
    run, clock = axis.make(size), perf_counter if axis.passing else process_time
    began = clock()
    run()
    seconds = clock() - began
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measured(name: str, size: int) -> dict[str, float]:
    """The same in a fresh process."""
    done = subprocess.run(
        [sys.executable, str(HERE), "--once", name, str(size)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}, {size}, failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def exponent(sizes: list[float], costs: list[float]) -> float:
    """The slope of a line through the logarithms, by least squares."""
    across, up = [math.log(each) for each in sizes], [math.log(each) for each in costs]
    middle, level = sum(across) / len(across), sum(up) / len(up)
    products = sum((x - middle) * (y - level) for x, y in zip(across, up, strict=True))
    return products / sum((x - middle) ** 2 for x in across)


def _panel(name: str, sizes: list[float], costs: list[float], left: int, top: int) -> list[str]:
    """One plot of seconds over sizes, with a dashed line in proportion to size through the first."""
    slope = -1 if AXES[name].passing else 1
    line = [costs[0] * (each / sizes[0]) ** slope for each in sizes]
    low, high = math.log(min(costs + line)), math.log(max(costs + line))
    first, last = math.log(sizes[0]), math.log(sizes[-1])

    def at(size: float, cost: float) -> str:
        x = left + MARGIN + (math.log(size) - first) / (last - first) * (WIDTH - 2 * MARGIN)
        y = top + HEIGHT - MARGIN - (math.log(cost) - low) / (high - low) * (HEIGHT - 2 * MARGIN)
        return f"{x:.1f},{y:.1f}"

    points = [at(*each) for each in zip(sizes, costs, strict=True)]
    ideal = " ".join(at(*each) for each in zip(sizes, line, strict=True))
    shown = [
        f'<text x="{left + WIDTH // 2}" y="{top + 20}" class="t">{name}</text>',
        f'<polyline points="{ideal}" class="i"/>',
        f'<polyline points="{" ".join(points)}" class="c"/>',
    ]
    for point, size, cost in zip(points, sizes, costs, strict=True):
        x, y = point.split(",")
        shown.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
        shown.append(f'<text x="{x}" y="{float(y) - 8:.1f}">{cost:.2g} s</text>')
        shown.append(f'<text x="{x}" y="{top + HEIGHT - 18}">{size:g}</text>')
    return shown


def plots(found: dict[str, list[tuple[float, float]]]) -> str:
    """The plots as one SVG."""
    rows = -(-len(found) // COLUMNS)
    style = (
        "text{font:10px sans-serif;text-anchor:middle;fill:#333}.t{font-weight:bold}circle{fill:#1f5fa8}"
        "polyline{fill:none}.c{stroke:#1f5fa8;stroke-width:1.5}.i{stroke:#999;stroke-dasharray:4 3}"
    )
    size = f'width="{COLUMNS * WIDTH}" height="{rows * HEIGHT}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{style}</style>"]
    lines.append('<rect width="100%" height="100%" fill="#fff"/>')
    for number, (name, points) in enumerate(found.items()):
        sizes, costs = [each[0] for each in points], [each[1] for each in points]
        lines += _panel(name, sizes, costs, number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT)
    return "\n".join([*lines, "</svg>", ""])


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    """Seconds by size, and the exponents."""
    lines = ["| what grows | sizes | seconds | exponent | between the two largest |", "|---|---|---|---|---|"]
    for name, points in found.items():
        sizes, costs = [each[0] for each in points], [each[1] for each in points]
        newest = exponent(sizes[-2:], costs[-2:])
        told = [", ".join(f"{each:g}" for each in sizes), ", ".join(f"{each:.3f}" for each in costs)]
        lines.append(f"| {name} | {' | '.join(told)} | {exponent(sizes, costs):.2f} | {newest:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="fresh processes for each size (default 3)")
    parser.add_argument("--only", nargs="*", default=list(AXES), help=f"some of {', '.join(AXES)}")
    parser.add_argument("--once", nargs=2, metavar=("NAME", "SIZE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(once(given.once[0], int(given.once[1]))))
        return
    costs: dict[tuple[str, int], list[float]] = {}
    for _ in range(given.times):
        for name in given.only:
            for size in AXES[name].sizes:
                costs.setdefault((name, size), []).append(measured(name, size)["seconds"])
    found = {name: [(float(size), min(costs[name, size])) for size in AXES[name].sizes] for name in given.only}
    print(table(found))
    PLOTS.write_text(plots(found), "utf-8")


if __name__ == "__main__":
    main()
