"""Managed positions in worlds with trading hours over a change of the clocks, many holes, and frames of any step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np
import pytest
from managed_page import ManagedWorld
from managed_simulator import simulate
from numpy.typing import NDArray
from page_simulator import MINUTE, always
from page_worlds import bars_of, is_open, tick_of, times_of
from scenarios import ORIGIN
from test_live_parity import JumpingClock
from test_managed_live import told
from test_managed_simulator import FREE, MODELS, Now, Run, Wishes, differences, told_by

import bknb
import bknb.testing
from bknb.domain.interval import interval_ms
from bknb.engine.backtest import BacktestRun
from bknb.engine.bar_count import bar_counter
from bknb.engine.plan import plan_backtest
from bknb.market.sessions import as_sessions
from bknb.testing.clocks import SimulatedClock

FEW_WORLDS, WORLDS, LIVE_WORLDS = 4, 150, 30  # the first two of each model
HOLED = (16, 27)  # worlds of less than two hundred minutes with holes, the second with hours


def draw(seed: int, model: str) -> tuple[ManagedWorld, bool, bool]:
    """A world of a seed, whether it has holes, and whether it has hours; those begin right before the market closes."""
    random = np.random.default_rng([17, seed])
    sessions, gaps = bool(random.random() < 0.5), bool(random.random() < 0.6)
    first = int(random.integers(330, 400)) if sessions else int(random.integers(10, 80))
    times = times_of(random, sessions=sessions, size=first + int(random.integers(150, 500)))
    tick = tick_of(random) if random.random() < 0.35 else None
    rows = bars_of(random, times, tick)
    if gaps:
        gone = {*random.integers(first + 1, len(rows), int(random.integers(1, 12))).tolist()}
        for size in random.choice([2, 5, 12, 40], int(random.integers(1, 4))).tolist():
            hole = int(random.integers(first + 1, len(rows) - 20))
            gone |= {*range(hole, hole + size)}
        rows = [row for k, row in enumerate(rows) if k not in gone]
    if random.random() < 0.15:
        rows = rows[: -int(random.integers(20, 60))]
    settings = FREE | {
        "schedule_await_minutes": int(random.choice([3, 10, 120])),
        "avg_price_candles_count": int(random.choice([1, 5])),
        "percent_fee": float(random.choice([0.0, 0.05, 0.1])),
        "percent_slippage": float(random.choice([0.0, 0.1])),
        "max_adds": int(random.choice([0, 1, 3, 10, 10])),
    }
    wishes = Wishes(seed, tick, calm=float(random.choice([0.5, 0.85])), wrong=float(random.choice([0.0, 0.1])))
    world = ManagedWorld(
        rows,
        model,
        wishes.ask,
        times[first] + int(random.choice([0, 0, 1, 59_999])),
        times[-int(random.integers(2, 60))] + int(random.integers(0, MINUTE)),
        step=int(random.choice([1, 1, 1, 3, 15])) * MINUTE,
        interval=int(random.choice([1, 1, 5, 15])) * MINUTE,
        settings=settings,
        tick=tick if random.random() < 0.9 else None,
        allowed=Now(int(random.choice([1, 1, 5]))),
        is_open=is_open if sessions else always,
        manage=wishes.manage,
        manage_interval=int(random.choice([1, 1, 5, 15])) * MINUTE,
        may_add=Now(int(random.choice([1, 1, 3]))),
    )
    return world, gaps, sessions


def check(seeds: Iterable[int], model: str) -> None:
    for seed in seeds:
        world, gaps, sessions = draw(seed, model)
        found = differences(simulate(world), Run(world, gaps=gaps, sessions=sessions, whole=False))
        assert not found, "\n".join([f"seed {seed}, {model}", *found])


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_hours_and_holes_are_as_the_simulator_says(model: str) -> None:
    check(range(FEW_WORLDS), model)


@pytest.mark.parametrize("model", MODELS)
def test_of_what_ends_in_one_hole_the_earlier_is_told(model: str) -> None:
    """Adds that rest until minutes 5 and 12, a deadline at minute 6, and no candle from minute 4 until 15."""
    rows = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 40) if not 4 <= k < 15]

    def ask(when: int, _price: float) -> dict[str, str] | None:
        return {"position": "long"} if when == ORIGIN else None

    def manage(when: int, _price: float, _sign: int, *, waits: bool) -> list[object] | None:
        adds = [bknb.Add(0.5, price_open=90.0, valid=3), bknb.Add(0.25, price_open=90.0, valid=10)]
        return [*adds, bknb.Move(minute_estimated_time=6)] if when == ORIGIN + 2 * MINUTE else None

    settings = FREE | {"max_adds": 10}
    world = ManagedWorld(rows, model, ask, ORIGIN, ORIGIN + 30 * MINUTE, settings=settings, manage=manage)
    run = Run(world, gaps=True, whole=False)
    lines = [(one.kind, one.share, (one.when - ORIGIN) // MINUTE) for one in told_by(run.records)]
    taken_back = ("add_cancelled", 0.5, 15 if model == "vwap" else 5)
    assert lines == [("opened", 0.0, 0), ("closed", 0.0, 15), ("moved", 0.0, 2), taken_back]
    assert differences(simulate(world), run) == []


@pytest.mark.parametrize("interval", ["1m", "15m", "6h", "1d"])
def test_bars_are_those_with_an_open_minute(interval: str) -> None:
    random, step = np.random.default_rng(1), interval_ms(interval)
    counted = bar_counter(step, None, sessions := as_sessions("fx"))
    assert counted is not None
    for first, span in random.integers([-(10**5), 0], [10**5, 20_000], (20, 2)).tolist():
        opened, when = ORIGIN + first * MINUTE, ORIGIN + (first + span) * MINUTE
        starts = np.arange(opened // step, when // step) * step
        assert counted(opened, when) == np.count_nonzero(sessions.open_minutes(starts, step))


def test_bars_are_right_where_another_thread_asks_while_they_are_counted() -> None:
    """The other question begins earlier, so that counting begins anew."""
    day = 24 * 60 * MINUTE

    class Asked(bknb.Sessions):
        def open_minutes(self, starts: NDArray[np.int64], step: int) -> NDArray[np.int64]:
            if others:
                answers.append(counted(ORIGIN - others.pop() * day, ORIGIN + 3 * day))
            return super().open_minutes(starts, step)

    sessions = Asked.weekly("UTC", {"mon-fri": "09:00-17:00"})
    others: list[int] = [1, 2]
    answers: list[int] = []
    counted = bar_counter(15 * MINUTE, None, sessions)
    assert counted is not None
    assert counted(ORIGIN, ORIGIN + 2 * day) == 64  # of a Monday and a Tuesday
    assert answers == [96, 96]
    assert [counted(ORIGIN - back * day, ORIGIN + 5 * day) for back in (0, 1, 3)] == [160, 160, 192]


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_hours_and_holes_are_as_the_simulator_says_in_many_worlds(model: str) -> None:
    check(range(FEW_WORLDS, WORLDS), model)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(HOLED, marks=pytest.mark.slow),
        pytest.param(range(LIVE_WORLDS), marks=pytest.mark.long),
    ],
)
def test_a_live_run_with_hours_and_holes_is_a_backtest_that_is_told_what_was_late(seeds: Iterable[int]) -> None:
    for seed in seeds:
        world, gaps, sessions = draw(seed, MODELS[seed % 3])
        options = Run(world, gaps=gaps, sessions=sessions, whole=False).options
        start, until = world.start // MINUTE * MINUTE, min(world.end // MINUTE * MINUTE, int(world.rows[-1][0]))
        clock = JumpingClock(start, seed) if seed % 2 else SimulatedClock(start)
        store = bknb.stores.memory()
        task = bknb.Live.background("BTCUSDT", clock=clock, until=until, store=store, **options)
        live = task.result(timeout=300).run_record.records
        run = BacktestRun(plan_backtest("BTCUSDT", frame=(start, until), **options), late=dict(live.late))
        asyncio.run(run.through())
        assert told(live, before=until) == told(run.records, before=until), seed
        bknb.testing.reset()
