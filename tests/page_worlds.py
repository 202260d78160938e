"""Random worlds for the simulator of the contract's page: bars, ticks, sessions, and what a strategy wants in them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from page_simulator import MINUTE, World, always
from scenarios import ORIGIN, source

import bknb

NEW_YORK = ZoneInfo("America/New_York")
HOURS = {"mon-fri": "09:30-16:00"}
DAYS = ("2024-03-07", "2024-03-08", "2024-10-31", "2024-11-01", "2024-01-03")  # four lie right before the clocks change
INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "1d": 1440}
SAY_NOTHING, TAKE_WHAT_COMES = 0.55, 0.9


@cache
def is_open(when: int) -> bool:
    """The hours of ``HOURS`` by the definition."""
    there = datetime.fromtimestamp(when / 1000, UTC).astimezone(NEW_YORK)
    return there.weekday() < 5 and 570 <= there.hour * 60 + there.minute < 960


@dataclass(frozen=True)
class Drawn:
    """A random world with what bknb has to be told about it."""

    world: World
    interval: str
    step: str
    gaps: bool
    sessions: bool

    @property
    def exchange(self) -> Any:
        market = market_of(self.world)
        return (
            bknb.exchanges.in_sessions(market, bknb.Sessions.weekly(NEW_YORK.key, HOURS)) if self.sessions else market
        )


def times_of(random: np.random.Generator, *, sessions: bool, size: int) -> list[int]:
    """Open times of bars: of a market that never closes, or of three to five days of one that does."""
    if not sessions:
        return [ORIGIN + k * MINUTE for k in range(size)]
    first = int(datetime.fromisoformat(str(random.choice(DAYS))).replace(tzinfo=UTC).timestamp()) * 1000
    return [t for t in range(first, first + 6 * 1440 * MINUTE, MINUTE) if is_open(t)][:size]


def tick_of(random: np.random.Generator) -> float:
    """A tick such as markets have: 0.05, 0.0025, 1e-8, or a part of a dollar such as 1/32."""
    if random.random() < 0.2:
        return 2.0 ** int(random.integers(-12, 12))
    return float(f"{random.choice([1, 2, 5, 25])}e{random.integers(-10, 3)}")


def bars_of(random: np.random.Generator, times: list[int], tick: float | None) -> list[tuple[float, ...]]:
    """A nervous market: jumps at opens, wild bars, flat bars without volume, prices on a grid or not."""
    size = len(times)
    moves, wicks = random.normal(0, 0.003, size), np.abs(random.normal(0, 0.002, (2, size)))
    jumps = np.where(random.random(size) < 0.1, random.normal(0, 0.02, size), 0.0)
    wicks[:, random.random(size) < 0.03] += 0.03
    volume = random.integers(0, 4, size) * 25.0 if random.random() < 0.7 else np.full(size, 10.0)
    if random.random() < 0.1:
        volume[:] = 0.0
    unit = 2.0 ** int(random.integers(8, 16)) if tick is not None else 10.0 ** random.uniform(-8, 9)
    close = unit * np.exp(np.cumsum(moves + jumps))
    open_ = np.concatenate([[unit], close[:-1]]) * np.exp(jumps)
    high, low = np.maximum(open_, close) * (1 + wicks[0]), np.minimum(open_, close) * (1 - wicks[1])
    flat = (volume == 0) & (random.random(size) < 0.7)  # as exchanges fill silent minutes
    last = np.concatenate([[unit], close[:-1]])
    for column in (open_, high, low, close):
        column[flat] = last[flat]
    columns = [open_, high, low, close]
    if tick is not None:
        step = Decimal(repr(tick))
        on_it = cache(lambda count: float(count * step))
        prices = [[on_it(max(round(value), 2)) for value in column.tolist()] for column in columns]
    else:
        prices = [column.tolist() for column in columns]
    return list(zip(times, *prices, volume.tolist(), strict=True))


def wishes(seed: int, tick: float | None, *, far: float = 1) -> Any:
    """A strategy of random signals of all kinds; what a signal is depends on its moment and ``price`` alone.

    Levels are ``far`` times as far away.
    """

    def ask(when: int, price: float) -> dict[str, Any] | None:
        wish = _wish(seed, when // MINUTE, far, with_tick=tick is not None)
        if wish is None:
            return None
        sign, kind, offset, up, down, on_ticks, minutes, spoilt = wish
        entry = price if kind == "market" else price * (1 - sign * offset)
        target = entry * (1 + sign * up)
        stop = entry * (1 - sign * down)
        if tick is not None and on_ticks:
            entry, target, stop = (max(1, round(value / tick)) * tick for value in (entry, target, stop))
        signal = {
            "position": "long" if sign > 0 else "short",
            "price_take_profit": math.nan if spoilt == 1 else -1.0 if spoilt == 2 else target,
            "price_stop_loss": math.inf if spoilt == 3 else stop,
            "minute_estimated_time": 0 if spoilt == 4 else 5000 if spoilt == 5 else minutes,
        }
        signal |= {} if kind == "market" else {"price_open": math.inf if spoilt == 6 else entry}
        if spoilt in (10, 11, 12):
            del signal[("price_take_profit", "price_stop_loss", "minute_estimated_time")[spoilt - 10]]
        return signal | ({"entry": "stop"} if kind == "stop" else {})

    return ask


@lru_cache(maxsize=65_536)  # engine, simulator and compiled loop ask for the same moments one after the other
def _wish(seed: int, minute: int, far: float, *, with_tick: bool) -> tuple[Any, ...] | None:
    """What a strategy of random signals draws at a moment."""
    random = np.random.default_rng([seed, minute])
    if random.random() < SAY_NOTHING:
        return None
    sign = 1 if random.random() < 0.5 else -1
    kind = ("market", "limit", "stop")[random.integers(0, 3)]
    offset = far * random.uniform(-0.01, 0.02) * (-1 if kind == "stop" else 1)
    up, down = far * random.uniform(0.004, 0.04), far * random.uniform(0.004, 0.04)
    on_ticks = with_tick and random.random() < 0.6
    lasts = (1, 3, 10, 60, 400) if far == 1 else (10, 400, 1400, 1440)
    return sign, kind, offset, up, down, on_ticks, lasts[random.integers(0, len(lasts))], int(random.integers(0, 30))


def draw(seed: int, model: str, *, plain: bool = False, by_day: bool = False) -> Drawn:
    """A world of a seed.

    A plain one, for live runs and sweeps, asks every minute and has no hours; one by the day asks once a session.
    """
    drawn = _drawn(seed, plain=plain, by_day=by_day)
    return replace(drawn, world=replace(drawn.world, model=model))


@lru_cache(maxsize=160)  # the same in each model
def _drawn(seed: int, *, plain: bool, by_day: bool) -> Drawn:
    random = np.random.default_rng([3, seed])
    sessions = (bool(random.random() < 0.25) or by_day) and not plain
    interval = "1m" if plain else str(random.choice(list(INTERVALS), p=[0.4, 0.2, 0.2, 0.15, 0.05]))
    interval = "1d" if by_day else interval
    times = times_of(
        random,
        sessions=sessions,
        size=int(random.integers(300, 1500 if interval in ("1h", "1d") else 700)) + 1000 * by_day,
    )
    grid = tick_of(random) if random.random() < 0.5 else None
    rows = bars_of(random, times, grid)
    frame_at = int(random.integers(30, 80))
    start = times[frame_at] + int(random.choice([0, 0, 1, 30_000, 59_999])) * (not plain)
    end = times[-int(random.integers(2, 60))] + int(random.integers(0, MINUTE)) * (not plain)
    gaps = bool(random.random() < 0.4)
    if gaps:
        gone = set(random.integers(frame_at + 1, len(rows), 10).tolist())
        hole = int(random.integers(frame_at + 1, len(rows) - 20))
        if by_day:
            hole = next(k for k in range(frame_at + 300, len(rows)) if times[k] - times[k - 1] > MINUTE)  # at an open
        rows = [row for k, row in enumerate(rows) if k not in gone and not hole <= k < hole + 15]
    if random.random() < 0.2 and not plain:
        rows = rows[: -int(random.integers(20, 120))]  # the data ends inside the frame
    step = "1m" if plain else str(random.choice(["1m", "1m", "1m", "3m", "15m"]))
    settings = {
        "schedule_await_minutes": int(random.choice([3, 30, 120])),
        "avg_price_candles_count": int(random.choice([1, 5])),
        "percent_fee": float(random.choice([0.0, 0.05, 0.1])),
        "percent_slippage": float(random.choice([0.0, 0.1])),
    }
    refuses = int(random.choice([1, 4])) if not plain else 1

    def allowed(when: int) -> bool:
        return refuses == 1 or (when // MINUTE) % refuses != 0

    world = World(
        tuple(rows),
        "",
        wishes(seed, grid, far=5 if by_day else 1),
        start,
        end,
        step=int(step[:-1]) * MINUTE,
        interval=INTERVALS[interval] * MINUTE,
        settings=settings,
        tick=grid if random.random() < TAKE_WHAT_COMES else None,
        allowed=allowed,
        is_open=is_open if sessions else always,
    )
    return Drawn(world, interval, step, gaps, sessions)


def market_of(world: World) -> Any:
    """An exchange with the world's bars."""
    return _market(tuple(world.rows))


@lru_cache(maxsize=160)
def _market(rows: tuple[tuple[float, ...], ...]) -> Any:
    return source(rows)
