"""Markets with wild hours and strategies without skill: for tests/test_luck.py and benchmarks/luck.py."""

from __future__ import annotations

from collections.abc import Callable, Container

import numpy as np

import bknb

START = 1_704_067_200_000
DAYS = 6
DAY = 86_400_000
WILD = range(14, 17)  # hours (UTC) in which prices move more


def wild_hours(seed: int, *, wild: float) -> bknb.Candles:
    """One-minute candles of seven days without drift: steps of 0.03 %, in wild hours of ``wild`` (a fraction)."""
    rng = np.random.default_rng(seed)
    times = START + np.arange((DAYS + 1) * 1440) * 60_000
    steps = np.where(np.isin(times // 3_600_000 % 24, list(WILD)), wild, 0.0003)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1, len(times)) * steps))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = (edge(opened, close) for edge in (np.maximum, np.minimum))
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": np.ones(len(times))}
    return bknb.Candles.from_columns(timestamp=times, **columns)


def at_hours(seed: int, hours: Container[int], minutes: int) -> Callable[[bknb.Context], bknb.Signal | None]:
    """A strategy that enters at the beginning of some hours of the day, on a side drawn by lot."""

    def get_signal(ctx: bknb.Context) -> bknb.Signal | None:
        if ctx.when.hour not in hours:
            return None
        side = 1 if np.random.default_rng([seed, ctx.when_ms]).random() < 0.5 else -1
        return bknb.Signal(
            position="long" if side > 0 else "short",
            price_take_profit=ctx.price * (1 + side * 0.05),
            price_stop_loss=ctx.price * (1 - side * 0.05),
            minute_estimated_time=minutes,
        )

    return get_signal
