"""Rules that look for money where a careless engine leaves some, and every way to order what they want.

A rule says 1 (long), -1 (short) or 0 for every candle, from that candle and those before it. An :class:`Orders` says
how it goes in and out. Levels are whole ticks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tick_paths import Path

Ints = NDArray[np.int64]


def _before(values: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    """The value ``count`` candles ago; the first where there is none."""
    return np.concatenate([np.repeat(values[:1], count), values[:-count]])


def _rolling(values: Ints, count: int, of: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    """A figure of the ``count`` candles before each."""
    padded = np.concatenate([np.repeat(values[:1], count), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, count)[: len(values)]
    return of(windows, axis=1)


def _place(path: Path) -> NDArray[np.float64]:
    """Where in its range a candle closed: 1 at the high, -1 at the low."""
    return (2 * path.close - path.high - path.low) / np.maximum(path.high - path.low, 1)


def _either(path: Path, salt: int) -> Ints:
    """Long or short, by a number that has nothing to do with prices."""
    minute = path.times // 60_000
    return np.where((minute * 2654435761 + salt * 40503) // 65536 % 2 == 0, 1, -1)


def _outbreak(path: Path) -> Ints:
    above = path.close > _rolling(path.high, 10, np.max)
    return above.astype(np.int64) - (path.close < _rolling(path.low, 10, np.min))


def _when(condition: NDArray[np.bool_], side: NDArray[np.generic]) -> Ints:
    return np.where(condition, np.sign(side), 0).astype(np.int64)


def _big(path: Path) -> NDArray[np.bool_]:
    spread = path.high - path.low
    return spread > 1.3 * _rolling(spread, 20, np.median)


def _off_average(path: Path) -> NDArray[np.float64]:
    return path.close - path.average


def _move(path: Path, count: int) -> Ints:
    return path.close - _before(path.close, count)


_GAPS = 2  # ticks; a smaller one is the next print

RULES: dict[str, Callable[[Path], Ints]] = {
    "with_last": lambda path: np.sign(path.close - path.open),
    "against_last": lambda path: -np.sign(path.close - path.open),
    "above_avg": lambda path: np.sign(_off_average(path)).astype(np.int64),
    "below_avg": lambda path: -np.sign(_off_average(path)).astype(np.int64),
    "far_above_avg": lambda path: _when(abs(_off_average(path)) > 20, _off_average(path)),
    "far_below_avg": lambda path: _when(abs(_off_average(path)) > 20, -_off_average(path)),
    "near_high": lambda path: _when(abs(_place(path)) > 0.8, _place(path)),
    "near_low": lambda path: _when(abs(_place(path)) > 0.8, -_place(path)),
    "with_gap": lambda path: _when(
        abs(path.open - _before(path.close, 1)) >= _GAPS, path.open - _before(path.close, 1)
    ),
    "against_gap": lambda path: _when(
        abs(path.open - _before(path.close, 1)) >= _GAPS, _before(path.close, 1) - path.open
    ),
    "with_big": lambda path: _when(_big(path), path.close - path.open),
    "against_big": lambda path: _when(_big(path), path.open - path.close),
    "momentum_5": lambda path: np.sign(_move(path, 5)),
    "momentum_15": lambda path: np.sign(_move(path, 15)),
    "reversion_5": lambda path: -np.sign(_move(path, 5)),
    "reversion_15": lambda path: -np.sign(_move(path, 15)),
    "outbreak": _outbreak,
    "on_volume": lambda path: _when(path.volume > _rolling(path.volume, 20, np.mean), _either(path, 1)),
    "on_time": lambda path: _when(path.times // 60_000 % 7 == 0, _either(path, 2)),
    "at_once_again": lambda path: _either(path, 3),
    "turn_round": lambda path: np.where(path.times // 60_000 % 2 == 0, 1, -1),
    "with_leader": lambda path: _when(abs(path.leader - path.close) > 5, path.leader - path.close),
}


@dataclass(frozen=True)
class Orders:
    """How a rule goes in and out; distances in ticks, ``None``: nowhere near.

    ``distance`` is that of a limit below the last close, or of a stop entry above it (long; a short the other way).
    """

    entry: Literal["market", "limit", "stop"] = "market"
    distance: float = 0
    target: float | None = None
    stop: float | None = None
    minutes: int = 100_000


ORDERS: dict[str, Orders] = {
    "market, deadline 1": Orders(minutes=1),
    "market, deadline 15": Orders(minutes=15),
    "market, stop": Orders(stop=8, minutes=30),
    "market, target": Orders(target=8, minutes=30),
    "market, stop and target near": Orders(stop=8, target=8, minutes=30),
    "market, stop and target far": Orders(stop=60, target=60, minutes=60),
    "market, target, frame end": Orders(target=20),
    "market, stop, frame end": Orders(stop=20),
    "market, frame end": Orders(),
    "limit at the close, deadline 3": Orders("limit", 0, minutes=3),
    "limit near, deadline 1": Orders("limit", 3, minutes=1),
    "limit near, stop and target near": Orders("limit", 3, stop=5, target=5, minutes=15),
    "limit far, stop and target": Orders("limit", 30, stop=12, target=12, minutes=5),
    "limit passed, deadline 3": Orders("limit", -20, minutes=3),
    "limit far, target, frame end": Orders("limit", 60, target=10),
    "stop entry near, deadline 3": Orders("stop", 4, minutes=3),
    "stop entry near, stop": Orders("stop", 4, stop=6, minutes=5),
    "stop entry far, stop and target": Orders("stop", 30, stop=24, target=40, minutes=15),
    "stop entry passed, stop": Orders("stop", -15, stop=12, minutes=5),
    "stop entry far, target, frame end": Orders("stop", 40, target=15),
}

OFF_GRID: dict[str, Orders] = {
    "market, stop between ticks": Orders(stop=7.5, minutes=30),
    "stop entry between ticks, deadline 3": Orders("stop", 3.5, minutes=3),
}

EVERY = ORDERS | OFF_GRID


@dataclass(frozen=True, eq=False)
class Wishes:
    """What a rule orders, one row per candle, acted on when the candle has closed; prices in ticks.

    ``level`` is NaN for market orders.
    """

    side: Ints
    level: NDArray[np.float64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    entry: Literal["market", "limit", "stop"]
    minutes: int

    def row(self, at: int) -> tuple[int, float, float, float]:
        """Side, level, target and stop of one row."""
        return int(self.side[at]), float(self.level[at]), float(self.target[at]), float(self.stop[at])

    def columns(self, rows: Ints) -> tuple[list[int], list[float], list[float], list[float]]:
        """Sides, levels, targets and stops of some rows."""
        return self.side[rows].tolist(), self.level[rows].tolist(), self.target[rows].tolist(), self.stop[rows].tolist()


@lru_cache(maxsize=20_000)
def wishes(path: Path, rule: str, orders: Orders) -> Wishes:
    """The orders of a rule on a path.

    The levels of a market order are put beyond the last close and the average price, since both are judged.
    """
    side = RULES[rule](path)
    side[:20] = 0  # figures of the candles before need some
    close = path.close.astype(np.float64)
    if orders.entry == "market":
        level = np.full(len(close), np.nan)
        upper, lower = np.maximum(close, np.ceil(path.average)), np.minimum(close, np.floor(path.average))
        ahead, behind = np.where(side > 0, upper, lower), np.where(side > 0, lower, upper)
    else:
        away = -1 if orders.entry == "limit" else 1
        level = ahead = behind = close + side * away * orders.distance
    target = ahead + side * (orders.target or 10_000)
    stop = behind - side * (orders.stop or 10_000)
    return Wishes(side, level, target, stop, orders.entry, orders.minutes)
