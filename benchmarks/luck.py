"""Measure the test behind every chance of luck: false alarms on noise of many kinds, and power on a true edge.

The last three tables are those of ``bknb.luck``: entries at random moments, a part of the sides known beforehand, and
sides drawn by lot at fixed hours.

``python benchmarks/luck.py`` prints the tables of docs/statistics.md; seeds are fixed. It takes some minutes;
``--samples 500`` is quicker and coarser, ``--only mean``, ``moments``, ``known`` or ``hours`` prints a part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

import bknb
from bknb.research.deflated_sharpe import deflated_sharpe_ratio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from luck_worlds import DAY, DAYS, START, at_hours, wild_hours

Draw: TypeAlias = Callable[[np.random.Generator, int], np.ndarray]
COUNTS = (10, 20, 30, 50, 100, 200, 500)
EDGES = (0.1, 0.2, 0.3, 0.5)  # true Sharpe ratios per trade


def passed_on(steps: np.ndarray, part: float) -> np.ndarray:
    """Results of which each passes a part of itself on to the next; the first fifty are left out."""
    for at in range(1, len(steps)):
        steps[at] += part * steps[at - 1]
    return steps[50:]


def clustered(rng: np.random.Generator, count: int) -> np.ndarray:
    """Independent signs, calm and wild stretches: GARCH(1, 1) with 0.1, 0.2, 0.7."""
    found, variance = np.empty(count + 50), 1.0
    for at, step in enumerate(rng.normal(size=count + 50)):
        found[at] = step * np.sqrt(variance)
        variance = 0.1 + 0.2 * found[at] ** 2 + 0.7 * variance
    return found[50:]


def two_levels(win: float, loss: float) -> Draw:
    """A target and a stop reached with the odds that make their mean 0, and some noise."""
    share = loss / (win + loss)
    return lambda rng, count: np.where(rng.random(count) < share, win, -loss) + rng.normal(0, 0.2, count)


NOISE: dict[str, Draw] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "heavy tails (t, 3 degrees)": lambda rng, count: rng.standard_t(3, size=count),
    "target 3, stop 1": two_levels(3, 1),
    "target 1, stop 3": two_levels(1, 3),
    "target 1, stop 9": two_levels(1, 9),
    "rare large wins (lognormal)": lambda rng, count: np.exp(rng.normal(size=count)) - np.exp(0.5),
    "rare large losses (lognormal)": lambda rng, count: np.exp(0.5) - np.exp(rng.normal(size=count)),
    "autocorrelation 0.3": lambda rng, count: passed_on(rng.normal(size=count + 50), 0.3),
    "autocorrelation 0.5, t with 4": lambda rng, count: passed_on(rng.standard_t(4, size=count + 50), 0.5),
    "calm and wild stretches": clustered,
}


def alarms(draw: Draw, count: int, samples: int, shift: float = 0.0) -> tuple[float, float, float, float]:
    """Shares of samples: p below 0.05 and below 0.01, too few to tell, and what 1 - PSR below 0.05 would have been."""
    rng = np.random.default_rng([count, samples])
    below, far_below, silent, plain = 0, 0, 0, 0
    for _ in range(samples):
        values = draw(rng, count) + shift
        found = deflated_sharpe_ratio(values)
        chance = found.p_value
        silent += chance is None
        below += chance is not None and chance < 0.05
        far_below += chance is not None and chance < 0.01
        plain += (found.probabilistic or 0.0) > 0.95
    return below / samples, far_below / samples, silent / samples, plain / samples


def table(title: str, rows: dict[str, list[str]]) -> None:
    """Print rows as Markdown."""
    print(f"\n| {title} | {' | '.join(str(count) for count in COUNTS)} |")
    print(f"|---|{'---|' * len(COUNTS)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def walk(seed: int, count: int, drift: float) -> bknb.Candles:
    """One-minute candles of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, 0.0012, count)))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = (edge(opened, close) for edge in (np.maximum, np.minimum))
    times = START + np.arange(count) * 60_000
    return bknb.Candles.from_rows(list(zip(times.tolist(), opened, high, low, close, np.ones(count), strict=True)))


def by_chance(seed: int, share: float, *, shorts: bool) -> Callable[[float], bknb.Signal | None]:
    """A strategy that enters at a part of all moments, whatever the market does."""
    rng = np.random.default_rng(seed)

    def get_signal(price: float) -> bknb.Signal | None:
        if rng.random() >= share:
            return None
        side = -1 if shorts and rng.random() < 0.5 else 1
        return bknb.Signal(
            position="long" if side > 0 else "short",
            price_take_profit=price * (1 + side * 0.012),
            price_stop_loss=price * (1 - side * 0.01),
            minute_estimated_time=75,
        )

    return get_signal


def knowing(seed: int, closes: np.ndarray, part: float) -> Callable[[bknb.Context], bknb.Signal | None]:
    """A strategy that enters at random for an hour, and knows of a part of its entries what the hour will bring."""
    rng = np.random.default_rng(seed)

    def get_signal(ctx: bknb.Context) -> bknb.Signal | None:
        if rng.random() >= 0.05:
            return None
        at = (ctx.when_ms - START) // 60_000
        known = 1 if closes[min(at + 60, len(closes) - 1)] > closes[at] else -1
        side = known if rng.random() < part else rng.choice((-1, 1))
        return bknb.Signal(
            position="long" if side > 0 else "short",
            price_take_profit=ctx.price * (1 + side * 0.05),
            price_stop_loss=ctx.price * (1 - side * 0.05),
            minute_estimated_time=60,
        )

    return get_signal


def entered(candles: bknb.Candles, strategy: Callable[..., bknb.Signal | None]) -> bknb.Result:
    """A backtest over 3,880 minutes."""
    return bknb.backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=bknb.exchanges.from_frame(candles, name="walk"),
        frame=(START + 20 * 60_000, START + 3900 * 60_000),
        settings={"count_tries": False},
    )


def moments(runs: int) -> None:
    """How often entries at random moments pass for better than random ones."""
    print("\n| entries at random | trades, mean | p < 0.05, % | p < 0.01, % |\n|---|---|---|---|")
    for name, share, shorts, drift in (
        ("long and short, few", 0.002, True, 0.0),
        ("long and short, many", 0.05, True, 0.0),
        ("long, in a rising market", 0.05, False, 0.0001),
    ):
        chances, trades = [], []
        for seed in range(runs):
            result = entered(walk(seed + 10_000, 4000, drift), by_chance(seed, share, shorts=shorts))
            if len(result.trades):
                chances.append(bknb.luck(result, n=400, seed=seed).p_value)
                trades.append(len(result.trades))
        low, lower = (100 * np.mean(np.array(chances) < limit) for limit in (0.05, 0.01))
        print(f"| {name} | {np.mean(trades):.0f} | {low:.1f} | {lower:.1f} |", flush=True)


def known_sides(runs: int) -> None:
    """How often it is found that a part of the sides was known beforehand."""
    print("\n| sides known, % of entries | trades, mean | p < 0.05, % | p < 0.01, % |\n|---|---|---|---|")
    for part in (0.0, 0.1, 0.2, 0.4):
        chances, trades = [], []
        for seed in range(runs):
            candles = walk(seed + 20_000, 4000, 0.0)
            result = entered(candles, knowing(seed, candles.close, part))
            chances.append(bknb.luck(result, n=400, seed=seed).p_value)
            trades.append(len(result.trades))
        low, lower = (100 * np.mean(np.array(chances) < limit) for limit in (0.05, 0.01))
        print(f"| {100 * part:.0f} | {np.mean(trades):.0f} | {low:.1f} | {lower:.1f} |", flush=True)


def hours_of_the_day(runs: int) -> None:
    """How often a side drawn by lot passes for skill where some hours are wild."""
    print("\n| sides by lot | trades, mean | by hour, % of runs | overlapping, % | p < 0.05, % | p < 0.01, % |")
    print("|---|---|---|---|---|---|")
    for name, hours, minutes in (
        ("at two wild hours, for 50 minutes", range(14, 16), 50),
        ("at every hour, for 20 minutes", range(24), 20),
        ("at every hour, for 35 minutes", range(24), 35),
        ("at every hour, for 56 minutes", range(24), 56),
    ):
        found, trades = [], []
        for seed in range(runs):
            result = bknb.backtest(
                "BTCUSDT",
                strategy=at_hours(seed, hours, minutes),
                exchange=bknb.exchanges.from_frame(wild_hours(seed, wild=0.0012), name="wild"),
                frame=(START, START + DAYS * DAY),
                interval="1h",
                settings={"count_tries": False, "percent_fee": 0, "percent_slippage": 0},
            )
            found.append(bknb.luck(result, n=400, seed=seed))
            trades.append(len(result.trades))
        chances = np.array([each.p_value for each in found])
        by_hour = 100 * np.mean([each.by_hour for each in found])
        overlapping = 100 * np.mean([each.overlapping for each in found])
        low, lower = (100 * np.mean(chances < limit) for limit in (0.05, 0.01))
        cells = f"{np.mean(trades):.0f} | {by_hour:.0f} | {overlapping:.1f} | {low:.1f} | {lower:.1f}"
        print(f"| {name} | {cells} |", flush=True)


def means(samples: int) -> None:
    """How often the mean of noise passes for one above 0, and how often that of an edge is found."""
    found = {name: [alarms(draw, count, samples) for count in COUNTS] for name, draw in NOISE.items()}
    table(
        "noise: p < 0.05 / p < 0.01 (too few), % of samples",
        {
            name: [
                "too few" if silent > 0.995 else f"{100 * low:.1f} / {100 * lower:.1f} ({100 * silent:.0f})"
                for low, lower, silent, _ in row
            ]
            for name, row in found.items()
        },
    )
    table(
        "the same with 1 - PSR < 0.05, %",
        {name: [f"{100 * plain:.1f}" for *_, plain in row] for name, row in found.items()},
    )
    normal = NOISE["normal"]
    edges = {edge: [alarms(normal, count, samples, edge)[0] for count in COUNTS] for edge in EDGES}
    table(
        "a true Sharpe ratio per trade of: found (p < 0.05), %",
        {f"{edge:g}": [f"{100 * share:.0f}" for share in row] for edge, row in edges.items()},
    )


def main() -> None:
    """Print all tables, or those of one part."""
    parts = {
        "mean": means,
        "moments": lambda samples: moments(samples // 5),
        "known": lambda samples: known_sides(samples // 20),
        "hours": lambda samples: hours_of_the_day(samples // 10),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--only", choices=parts)
    given = parser.parse_args()
    for name, measure in parts.items():
        if given.only in (None, name):
            measure(given.samples)


if __name__ == "__main__":
    main()
