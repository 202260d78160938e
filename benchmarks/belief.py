"""Measure belief on known truth: what is noise, what is skill, and whether intervals hold what they promise.

``python benchmarks/belief.py`` takes about a minute and prints shares with their standard errors; seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist

import numpy as np

from bknb.research.bootstrap import MAIN, bootstrap
from bknb.research.deflated_sharpe import deflated_sharpe_ratio
from bknb.research.overfitting_probability import overfitting

SEARCHES, DAYS = 2000, 250
TRUTH = {"avg_pnl": 0.2, "median_pnl": 0.2, "sharpe_ratio": 0.2, "win_rate": 100 * NormalDist().cdf(0.2)}


def share(hits: int, of: int) -> str:
    """A share with its standard error."""
    part = hits / of
    return f"{part:.3f} +- {sqrt(part * (1 - part) / of):.3f}"


def noise(trials: int, rng: np.random.Generator) -> None:
    """The best of some worthless strategies, many times over."""
    found = []
    for _ in range(SEARCHES):
        table = rng.normal(size=(trials, DAYS))
        ratios = table.mean(axis=1) / table.std(axis=1, ddof=1)
        found.append(deflated_sharpe_ratio(table[ratios.argmax()], trials=ratios if trials > 1 else 1))
    chances = np.sort([each.p_value or 0.0 for each in found])
    steps = np.arange(SEARCHES + 1) / SEARCHES
    distance = max((steps[1:] - chances).max(), (chances - steps[:-1]).max())
    below = share(int((chances < 0.05).sum()), SEARCHES)
    high = share(sum((each.deflated or 0.0) > 0.95 for each in found), SEARCHES)
    naive = share(sum((each.probabilistic or 0.0) > 0.95 for each in found), SEARCHES)
    print(
        f"best of {trials:>4}: p < 0.05 in {below}; Kolmogorov {distance * sqrt(SEARCHES):.2f} (5 % of uniform samples "
        f"exceed 1.36); deflated ratio > 0.95 in {high}; not deflated > 0.95 in {naive}"
    )


def choosing(rng: np.random.Generator) -> None:
    """Overfitting among useless strategies, and with one that is better."""
    useless = [overfitting(rng.normal(size=(480, 100)), blocks=10).probability for _ in range(200)]
    print(f"overfitting, 100 useless strategies: mean {np.mean(useless):.3f}, standard deviation {np.std(useless):.3f}")
    for edge in (0.1, 0.2, 0.3):
        tables = [rng.normal(size=(480, 100)) for _ in range(50)]
        for table in tables:
            table[:, 0] += edge
        found = np.mean([overfitting(table, blocks=10).probability for table in tables])
        print(f"overfitting, one with a daily Sharpe ratio of {edge}: mean {found:.3f}")


def covering(name: str, draw: Callable[[], np.ndarray], *, method: str) -> None:
    """How often 90 % intervals hold the truth."""
    times = 1000
    inside = dict.fromkeys(TRUTH, 0)
    for seed in range(times):
        found = bootstrap(draw(), seed=seed, resamples=400, figures={key: MAIN[key] for key in TRUTH}, method=method)
        for key, truth in TRUTH.items():
            interval = found[key]
            inside[key] += interval.low is not None and interval.low <= truth <= (interval.high or 0.0)
    print(
        f"90 % intervals, {name}, {method}: {', '.join(f'{key} {share(hits, times)}' for key, hits in inside.items())}"
    )


def memory(rng: np.random.Generator, count: int, keep: float) -> np.ndarray:
    """A first-order autoregression around 0.2 with variance 1."""
    steps = rng.normal(size=count + 50) * sqrt(1 - keep**2)
    for at in range(1, len(steps)):
        steps[at] += keep * steps[at - 1]
    return np.asarray(steps[50:] + 0.2)


if __name__ == "__main__":
    chance = np.random.default_rng(2024)
    for number in (1, 10, 100):
        noise(number, chance)
    choosing(chance)
    for count in (40, 150):
        covering(
            f"{count} independent trades", lambda count=count: chance.normal(0.2, 1.0, size=count), method="stationary"
        )
    covering("150 independent trades", lambda: chance.normal(0.2, 1.0, size=150), method="circular")
    for keep in (0.3, 0.5):
        covering(
            f"300 trades with a memory of {keep}", lambda keep=keep: memory(chance, 300, keep), method="stationary"
        )
