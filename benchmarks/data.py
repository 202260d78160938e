"""One year of one-minute candles that look like bitcoin's, the same on every machine with the same numpy.

The market is invented: a random walk whose volatility wanders, as bitcoin's does. The candles go to one ``.npy`` file
of shape ``(6, n)``, float64: open time (UTC ms), open, high, low, close, volume.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SEED = 20230101
START_MS = 1_672_531_200_000  # 2023-01-01 00:00 UTC
MINUTES = 525_600  # 365 days


def make(minutes: int = MINUTES, seed: int = SEED) -> np.ndarray:
    """The candles, oldest first, shape ``(6, minutes)``."""
    random = np.random.default_rng(seed)
    days = minutes // 1440 + 2
    daily = np.zeros(days)
    for day in range(1, days):
        daily[day] = 0.94 * daily[day - 1] + 0.25 * random.standard_normal()
    volatility = 0.0006 * np.exp(np.interp(np.arange(minutes) / 1440, np.arange(days), daily) - 0.25)
    moves = volatility * random.standard_t(4, minutes) / np.sqrt(2)
    close = 17_000 * np.exp(np.cumsum(moves + 1.5e-6))
    open_ = np.concatenate([[17_000.0], close[:-1]])
    reach = volatility * close
    high = np.maximum(open_, close) + reach * random.exponential(0.5, minutes)
    low = np.minimum(open_, close) - reach * random.exponential(0.5, minutes)
    volume = random.lognormal(3.0, 0.8, minutes)
    times = START_MS + np.arange(minutes) * 60_000.0
    return np.stack([times, *(np.round(column, 2) for column in (open_, high, low, close)), np.round(volume, 5)])


if __name__ == "__main__":
    np.save(Path(sys.argv[1]), make())
