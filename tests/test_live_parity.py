"""The live loop over recorded minutes emits the same events as a backtest over them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import each_once, rest_long
from scenarios import MINUTE, ORIGIN, source
from sleeping_clock import SleepingClock
from worlds import LENGTH, MODELS, SEEDS, SETTINGS, signals, walk

import bknb
from bknb.domain.signal_events import Closed, Opened
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.testing.clocks import SimulatedClock


class JumpingClock(SimulatedClock):
    """A machine that sleeps through minutes: each wait ends late, by up to an hour."""

    def __init__(self, start: int, seed: int) -> None:
        super().__init__(start)
        self._random = np.random.default_rng(seed)

    async def sleep_until(self, when: int) -> None:
        late = int(self._random.integers(0, 60)) * MINUTE if self._random.random() < 0.3 else 0
        await super().sleep_until(when + late + int(self._random.integers(0, 900)))


def told(records: Records | bknb.Result, *, before: int) -> list[bytes]:
    """Every event of a run before a moment, in order of kind, without what must differ: mode and frame."""
    rejected = records.run_record.records.rejected if isinstance(records, bknb.Result) else records.rejected
    everything = [*records.events, *records.milestones, *rejected, *records.refused]
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in everything if event.when < before]
    return [msgspec.json.encode(event) for event in plain]


def live(strategy: Any, exchange: Any, *, start: int, until: int, clock: SimulatedClock | None = None, **options: Any
         ) -> bknb.Result:  # fmt: skip
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=exchange,
        clock=clock or SimulatedClock(start),
        until=until,
        store=bknb.stores.memory(),
        **options,
    )
    return task.result(timeout=120)


def backtest_with_late_decisions(live_result: bknb.Result, *, start: int, until: int, **options: Any) -> Records:
    """A backtest over the frame of a live run that decides as late as that run did."""
    plan = plan_backtest("BTCUSDT", frame=(start, until), **options)
    run = BacktestRun(plan, late=dict(live_result.run_record.records.late))
    asyncio.run(run.through())
    return run.records


@pytest.fixture
def calm() -> str:
    """A risk profile that refuses about every fourth candidate, for a reason that depends on the candidate alone."""

    def picky(request: bknb.RiskRequest) -> bool:
        "not on every fourth minute"
        return (request.when // MINUTE) % 4 != 0 and request.open_position_count == 0

    bknb.add_risk("calm", validations=[picky])
    return "calm"


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=4)
@given(seed=SEEDS, jumping=st.booleans())
def test_random_worlds(model: str, seed: int, calm: str, *, jumping: bool) -> None:
    exchange, until = source(walk(seed)), ORIGIN + LENGTH * MINUTE
    strategy = bknb.add_strategy("random", interval="1m", get_signal=signals(seed), risk=calm, execution=model)
    clock = JumpingClock(ORIGIN, seed) if jumping else SimulatedClock(ORIGIN)
    result = live(strategy, exchange, start=ORIGIN, until=until, clock=clock, settings=SETTINGS)
    assert {failure.kind for failure in result.errors} <= ({"late"} if jumping else set())
    assert jumping or not result.run_record.records.late
    backtest = backtest_with_late_decisions(
        result, start=ORIGIN, until=until, strategy=strategy, exchange=exchange, settings=SETTINGS
    )
    assert told(result, before=until) == told(backtest, before=until)


@pytest.mark.parametrize(("recorded", "model"), each_once(["btc-perp-1m-2022-01", "synth-0-1m", "synth-2-1m"], MODELS))
def test_recorded_minutes(shared: Path, recorded: str, model: str, calm: str) -> None:
    exchange = bknb.exchanges.from_csv(shared / "data" / f"{recorded}.csv.gz")
    times = asyncio.run(exchange.get_candles("BTCUSDT", "1m", 0, 10**8)).timestamp
    start = int(times[0]) + 1440 * MINUTE
    until = min(start + 3 * 1440 * MINUTE, int(times[-1]))

    def get_signal(ctx: Any) -> bknb.Signal | None:
        closes = ctx.candles("15m", 40).close
        fast, slow, price = closes[-8:].mean(), closes.mean(), ctx.price
        if abs(fast / slow - 1) < 0.0005:
            return None
        sign = 1 if fast > slow else -1
        waits = int(ctx.when_ms // MINUTE) % 2 == 0
        entry = price * (1 - sign * 0.002)
        return bknb.Signal(
            position="long" if sign > 0 else "short",
            price_open=entry if waits else None,
            price_take_profit=entry * (1 + sign * 0.012),
            price_stop_loss=entry * (1 - sign * 0.008),
            minute_estimated_time=300,
        )

    strategy = bknb.add_strategy("trend", interval="15m", get_signal=get_signal, risk=calm, execution=model)
    result = live(strategy, exchange, start=start, until=until, clock=JumpingClock(start, 7))
    backtest = backtest_with_late_decisions(result, start=start, until=until, strategy=strategy, exchange=exchange)
    expected = told(backtest, before=until)
    assert told(result, before=until) == expected
    kinds = {type(event) for event in backtest.events}
    assert {Opened, Closed} <= kinds
    assert backtest.milestones


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "days"),
    rest_long([("vwap", 1), ("touch", 1), *((model, 7) for model in MODELS)], kept=1),
)
def test_a_machine_that_slept_for_days_trades_at_the_market_it_woke_up_to(model: str, days: int) -> None:
    start, slept = 1_704_067_200_000, days * 1440 * MINUTE
    until = start + slept + 900 * MINUTE

    def get_signal(ctx: Any) -> bknb.Signal | None:
        price = ctx.price
        side = 1 if price > ctx.candles("1h", 24).close.mean() else -1
        levels = {"price_take_profit": price * (1 + side * 0.03), "price_stop_loss": price * (1 - side * 0.03)}
        return bknb.Signal(position="long" if side > 0 else "short", minute_estimated_time=100, **levels)

    strategy = bknb.add_strategy("sleeper", interval="15m", get_signal=get_signal, execution=model)
    demo = bknb.exchanges.demo()
    clock = SleepingClock(start, sleeps=start + 600 * MINUTE - 1, wakes=start + slept)
    result = live(strategy, demo, start=start, until=until, clock=clock)
    backtest = backtest_with_late_decisions(result, start=start, until=until, strategy=strategy, exchange=demo)
    assert told(result, before=until) == told(backtest, before=until)
    opened = [event for event in result.events if isinstance(event, Opened)]
    assert len(opened) > 10
    asleep = [event for event in opened if start + 601 * MINUTE < event.when < start + slept]
    assert (asleep == []) == (model != "vwap")


def test_holes_in_the_data_change_nothing() -> None:
    rows = walk(11)
    holed = [row for row in rows if not (200 < (row[0] - ORIGIN) / MINUTE < 230 or (row[0] - ORIGIN) / MINUTE == 77)]
    exchange, until = source(holed), ORIGIN + LENGTH * MINUTE
    strategy = bknb.add_strategy("random", interval="1m", get_signal=signals(11))
    options: dict[str, Any] = {"settings": SETTINGS, "allow_gaps": True}
    result = live(strategy, exchange, start=ORIGIN, until=until, clock=JumpingClock(ORIGIN, 3), **options)
    backtest = backtest_with_late_decisions(
        result, start=ORIGIN, until=until, strategy=strategy, exchange=exchange, **options
    )
    assert told(result, before=until) == told(backtest, before=until)
