"""Random markets and random signals, for property tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN, source

from bknb.domain.weight_with_levels import Weight
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import Plan, plan_backtest
from bknb.engine.registration_checks import make_strategy

MODELS = ["pessimistic", "touch", "vwap"]
LENGTH = 400
SEEDS = st.integers(0, 2**32 - 1)
SETTINGS = {"schedule_await_minutes": 30}


def walk(seed: int, *, changed_from: int | None = None, length: int = LENGTH) -> list[list[float]]:
    """A random walk of minutes that starts an hour before the frame; from one minute on it can be another one."""
    random = np.random.default_rng(seed)
    size = length + 80
    moves, wicks = random.normal(0, 0.004, size), np.abs(random.normal(0, 0.003, (2, size)))
    jumps, volume = random.normal(0, 0.003, size), random.integers(0, 4, size) * 25.0
    if changed_from is not None:
        at = changed_from + 60
        moves[at:], volume[at:] = -moves[at:] * 2, volume[at:] + 1
    close = 100 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([[100.0], close[:-1]]) * (1 + jumps)
    high, low = np.maximum(open_, close) * (1 + wicks[0]), np.minimum(open_, close) * (1 - wicks[1])
    times = ORIGIN + (np.arange(size) - 60) * MINUTE
    return [list(row) for row in zip(times.tolist(), *(c.tolist() for c in (open_, high, low, close, volume)),
                                     strict=True)]  # fmt: skip


def signals(seed: int) -> Callable[..., dict[str, Any] | None]:
    """A strategy of random signals; what a signal is depends on its moment and price alone."""

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        wish = _wish(seed, round(when.timestamp()))
        if wish is None:
            return None
        sign, offset, up, down, minutes, waits = wish
        entry = price * (1 - sign * offset)
        return {
            "position": "long" if sign > 0 else "short",
            "price_take_profit": entry * (1 + sign * up),
            "price_stop_loss": entry * (1 - sign * down),
            "minute_estimated_time": minutes,
        } | ({"price_open": entry} if waits else {})

    return get_signal


@lru_cache(maxsize=16_384)  # runs that are compared ask for the same moments one after the other
def _wish(seed: int, second: int) -> tuple[int, float, float, float, int, bool] | None:
    """What a strategy of random signals draws at a moment."""
    random = np.random.default_rng([seed, second])
    if random.random() < 0.6:
        return None
    sign = 1 if random.random() < 0.5 else -1
    offset, up, down = random.uniform(-0.005, 0.02), random.uniform(0.008, 0.05), random.uniform(0.008, 0.05)
    return sign, offset, up, down, int(random.integers(1, 90)), bool(random.random() < 0.5)


def drawn_weights(seed: int, most: float = 1.0, *, levels: bool = True) -> Callable[..., dict[str, Any] | None]:
    """Random weights for some of its symbols, now and then the ``most`` together; some have a stop.

    Without ``levels`` no stop is a price, which symbols of several exchanges do not have.
    """

    def get_weights(ctx: Any) -> dict[str, Any] | None:
        random = np.random.default_rng([seed, ctx.when_ms // MINUTE])
        if random.random() < 0.2:
            return None
        parts = random.uniform(-1, 1, len(ctx.symbols))
        parts *= random.choice([0.4, most]) / np.abs(parts).sum()
        answer: dict[str, Any] = {}
        for symbol, part in zip(ctx.symbols, parts, strict=True):
            kind = random.integers(0, 6)
            if kind == 0:
                continue
            answer[symbol] = None if kind == 1 else part
            if kind == 2 and levels and symbol == ctx.symbols[0]:  # others may begin later, and have no price
                answer[symbol] = Weight(part, price_stop_loss=ctx.price_of(symbol) * (0.995 if part > 0 else 1.005))
            elif kind == 2:
                answer[symbol] = Weight(part, stop_percent=0.5)
        return answer

    return get_weights


def drawn_plan(
    random: np.random.Generator, exchange: Any, *, seed: int, rows: Callable[..., Any], model: str,
    intervals: Sequence[str], steps: Sequence[str], lookbacks: int, frame: Callable[[], tuple[int, int]],
    choices: Mapping[str, Sequence[float]], limits: Mapping[str, float], tick: float | None, gaps: bool,
    params: Mapping[str, Any],
) -> Plan:  # fmt: skip
    """A strategy whose get_signals are ``rows``, a frame and settings over an exchange, one drawn after the other.

    ``intervals`` are those of the strategy, ``steps`` those of the frame, ``choices`` those of each setting.
    """
    strategy = make_strategy(
        "dice",
        interval=str(random.choice(intervals)),
        get_signals=rows,
        params={"seed": seed, "busy": float(random.choice([0.05, 0.3, 0.9])), **params},
        lookback=int(random.integers(1, lookbacks)),
    )
    between = frame()
    drawn = {name: random.choice(some).item() for name, some in choices.items()}
    plan = plan_backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=exchange,
        frame=between,
        execution=model,
        settings=drawn | {"price_tick": tick} | (limits if random.random() < 0.4 else {}),
        allow_gaps=gaps,
    )
    return replace(plan, frame=replace(plan.frame, interval=str(random.choice(steps))))


def run(
    seed: int,
    model: str,
    *,
    every_minute: bool = False,
    changed_from: int | None = None,
    callbacks: Mapping[str, Callable[..., object]] | None = None,
) -> BacktestRun:
    """A run of random signals over a random walk."""
    plan = plan_backtest(
        "BTCUSDT",
        strategy=signals(seed),
        exchange=source(walk(seed, changed_from=changed_from)),
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        interval="1m",
        execution=model,
        settings=SETTINGS,
    )
    plan = replace(plan, strategy=replace(plan.strategy, callbacks=callbacks or {}))
    done = BacktestRun(plan, every_minute=every_minute)

    async def through() -> None:
        async for _ in done.results():
            pass

    asyncio.run(through())
    assert not done.records.failures
    return done
