"""Portfolios with a shared limit against a plain loop over all legs, in random worlds; the limit is never exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from page_simulator import Bar
from portfolio_loop import MINUTE, Leg, Place, PortfolioLoop, Told
from portfolio_worlds import plan_of, together
from quick import first_quick
from scenarios import ORIGIN, source
from test_managed_simulator import MODELS

import bknb
from bknb.engine.plan import Plan, plan_backtest
from bknb.engine.portfolio_run import PortfolioRun
from bknb.engine.registration_checks import make_strategy

BEFORE = 60  # minutes of bars before the frame
FEW, MANY, LONG = 2, 60, 1500
INTERVALS = {1: "1m", 5: "5m", 15: "15m"}


def rows_of(random: np.random.Generator, size: int) -> list[list[float]]:
    """Minutes of a random walk with jumps between bars."""
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.003, size)))
    open_ = np.concatenate([[100.0], close[:-1]]) * (1 + random.normal(0, 0.001, size) * (random.random(size) < 0.2))
    high = np.maximum(open_, close) * (1 + np.abs(random.normal(0, 0.002, size)))
    low = np.minimum(open_, close) * (1 - np.abs(random.normal(0, 0.002, size)))
    times = ORIGIN + (np.arange(size) - BEFORE) * MINUTE
    volume = random.integers(1, 5, size).astype(float)
    return np.column_stack([times, open_, high, low, close, volume]).tolist()


def bars_of(rows: Sequence[Sequence[float]], step: int) -> list[Bar]:
    """Bars of ``step`` minutes made of minutes; a part of one is left out."""
    made = []
    for at in range(0, len(rows) - step + 1, step):
        part = rows[at : at + step]
        made.append(Bar(int(part[0][0]), part[0][1], max(row[2] for row in part), min(row[3] for row in part),
                        part[-1][4], sum(row[5] for row in part)))  # fmt: skip
    return made


class Wishes:
    """Random orders, which depend on the moment and the price alone."""

    def __init__(self, seed: int, leg: int, *, limits: float, closes: float) -> None:
        self.seed, self.leg, self.limits, self.closing = seed, leg, limits, closes

    def ask(self, when: int, price: float) -> dict[str, Any] | None:
        random = np.random.default_rng([self.seed, self.leg, when // MINUTE])
        if random.random() < 0.5:
            return None
        sign = 1 if random.random() < 0.5 else -1
        level = price * (1 - sign * random.uniform(0.0005, 0.006)) if random.random() < self.limits else None
        entry = price if level is None else level
        return {
            "sign": sign,
            "level": level,
            "stop": entry * (1 - sign * random.uniform(0.006, 0.015)),
            "target": entry * (1 + sign * random.uniform(0.006, 0.015)),
            "minutes": int(random.choice([3, 10, 45, 240])),
        }

    def closes(self, when: int) -> bool:
        random = np.random.default_rng([self.seed, self.leg, when // MINUTE, 1])
        return bool(random.random() < self.closing)


class World:
    """Legs on the same clock, as the plain loop has them and as bknb does."""

    def __init__(self, seed: int, *, all_count: bool = False) -> None:
        random = np.random.default_rng([23, seed])
        self.seed = seed
        count = int(random.integers(2, 6))
        self.limit = int(random.integers(1, count))
        self.await_minutes = int(random.choice([5, 30]))
        resting_free = bool(random.random() < 0.4) and not all_count  # what rests takes no place
        mixed = bool(random.random() < 0.5)
        size = BEFORE + int(random.integers(60, 240))
        self.last = ORIGIN + (size - BEFORE - int(random.integers(12, 30))) * MINUTE // (5 * MINUTE) * 5 * MINUTE
        self.legs: list[Leg] = []
        self.plans: list[Plan] = []
        self.asked: list[bknb.RiskRequest] = []

        def counts(scheduled: bool) -> bool:  # noqa: FBT001
            return not (resting_free and scheduled)

        def allows(others: Sequence[Place]) -> bool:
            return sum(counts(place.scheduled) for place in others) < self.limit

        def profile(request: bknb.RiskRequest) -> bool:
            self.asked.append(request)
            return sum(counts(place.scheduled) for place in request.open_positions) < self.limit

        bknb.add_risk("shared", validations=[profile])
        self.allows = allows
        for leg in range(count):
            step = int(random.choice([1, 5])) if mixed else 1
            rows = rows_of(random, size)
            if random.random() < 0.2:
                rows = rows[: -int(random.integers(30, 60))]
            interval = int(random.choice([one for one in INTERVALS if one >= step]))
            limits = 1.0 if resting_free else float(random.choice([0.3, 0.8]))
            self.add(
                leg, rows, step, interval, Wishes(seed, leg, limits=limits, closes=float(random.choice([0, 0.05])))
            )

    def add(self, leg: int, rows: list[list[float]], step: int, interval: int, wishes: Wishes) -> None:
        self.legs.append(Leg(bars_of(rows, step), step * MINUTE, interval * MINUTE, wishes.ask, wishes.closes))

        def get_signal(ctx: Any) -> Any:
            answer = wishes.ask(ctx.when_ms, ctx.price)
            if answer is None:
                return None
            signal = {
                "position": "long" if answer["sign"] > 0 else "short",
                "price_stop_loss": answer["stop"],
                "price_take_profit": answer["target"],
                "minute_estimated_time": answer["minutes"],
            }
            return signal if answer["level"] is None else signal | {"price_open": answer["level"]}

        def manage(ctx: Any, position: Any) -> Any:
            return bknb.Close() if position.opened_at is not None and wishes.closes(ctx.when_ms) else None

        strategy = make_strategy(
            "wishes", get_signal, interval=INTERVALS[interval], manage=manage, manage_interval=INTERVALS[step],
            risk="shared",
        )  # fmt: skip
        settings = {
            "schedule_await_minutes": self.await_minutes,
            "percent_fee": 0.0,
            "percent_slippage": 0.0,
            "min_take_profit_distance_percent": 0.1,
            "min_stop_loss_distance_percent": 0.1,
        }
        plan = plan_backtest(
            f"{leg}", strategy, source(rows), (ORIGIN, self.last), settings=settings, base=INTERVALS[step]
        )
        self.plans.append(plan)

    def expected(self) -> list[Told]:
        rules: Any = {"allows": self.allows, "await_minutes": self.await_minutes}
        return PortfolioLoop(self.legs, start=ORIGIN, last=self.last, **rules).play()

    def came(self) -> list[Told]:
        self.run = PortfolioRun(self.plans)
        asyncio.run(self.run.through(lambda _: None))
        for leg in self.run.legs:
            assert not leg.records.failures
            assert not leg.records.rejected
        return [told(event) for event in self.run.events if not isinstance(event, bknb.Milestone)]


def told(event: Any) -> Told:
    """An event in the words of the loop."""
    leg = int(event.symbol)
    match event:
        case bknb.Scheduled():
            return Told(leg, "scheduled", event.when, event.signal.price_open)
        case bknb.Opened():
            return Told(leg, "opened", event.when, event.signal.price_open)
        case bknb.Closed():
            return Told(leg, "closed", event.when, event.price_close, event.close_reason)
        case bknb.Cancelled():
            return Told(leg, "cancelled", event.when, None, event.reason)
        case bknb.RiskRefused():
            return Told(leg, "refused", event.when, taken=event.open_positions)
        case _:
            raise AssertionError(f"nobody expects {event!r}")


def check(seeds: Iterable[int]) -> list[Told]:
    everything: list[Told] = []
    for seed in seeds:
        world = World(seed)
        expected, came = world.expected(), world.came()
        for k, (mine, theirs) in enumerate(zip(expected, came, strict=False)):
            assert mine == theirs, (
                f"seed {seed}, event {k}: {expected[max(0, k - 6) : k + 2]} {came[max(0, k - 6) : k + 2]}"
            )
        assert len(expected) == len(came), (seed, expected[len(came) :][:3], came[len(expected) :][:3])
        everything += came
    return everything


@pytest.mark.parametrize(
    "worlds",
    [
        pytest.param(range(FEW)),
        pytest.param(range(FEW, MANY), marks=pytest.mark.slow),
        pytest.param(range(MANY, LONG), marks=pytest.mark.long),
    ],
    ids=["few", "many", "long"],
)
def test_legs_with_a_shared_limit_are_what_a_plain_loop_over_moments_says(worlds: range) -> None:
    """Who gets the last place, and when it is free again, with bars of one and five minutes."""
    came = check(worlds)
    assert {one.kind for one in came} == {"scheduled", "opened", "closed", "cancelled", "refused"}
    assert {one.reason for one in came} >= {"stop_loss", "take_profit", "time_expired", "frame_end", "strategy"}


def most_open(world: World) -> int:
    """How many positions were open in one minute; one that ended or began in it counts, beside its own leg's next."""
    held: dict[int, set[int]] = {}
    for leg, plan in zip(world.run.legs, world.plans, strict=True):
        step = world.legs[int(plan.symbol)].step
        for trade in leg.records.closed:
            for when in range(trade.signal.pending_at, trade.closed_at + step, MINUTE):
                held.setdefault(when, set()).add(int(plan.symbol))
    return max((len(legs) for legs in held.values()), default=0)


@pytest.mark.parametrize("worlds", [pytest.param(range(3)), pytest.param(range(3, 40), marks=pytest.mark.slow)])
def test_a_shared_limit_is_never_exceeded_in_any_minute(worlds: range) -> None:
    reached = 0
    for seed in worlds:
        world = World(seed, all_count=True)
        world.came()
        assert most_open(world) <= world.limit, seed
        reached += most_open(world) == world.limit
    assert reached > len(worlds) / 2


def sizes(told: Iterable[Any]) -> list[float]:
    """How much was open of all legs after each event, in units of each position's first size."""
    open_: dict[str, float] = {}
    found = []
    for event in told:
        match event:
            case bknb.Opened():
                open_[event.symbol] = 1.0
            case bknb.Added() | bknb.Reduced():
                open_[event.symbol] = event.size
            case bknb.Closed():
                del open_[event.symbol]
            case _:
                continue
        found.append(sum(open_.values()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("model", first_quick(MODELS))
def test_a_shared_limit_of_size_is_never_exceeded_with_adds(model: str) -> None:
    """Positions that are added to, reduced, reversed and moved at random, on a profile that counts their sizes."""
    limit, seen = 2.5, []

    def small(request: bknb.RiskRequest) -> bool:
        mine = request.size + request.add if request.add else 1.0
        return sum(taken.size for taken in request.open_positions) + mine <= limit

    bknb.add_risk("sizes", validations=[small])
    for seed in range(2):
        plans = [plan_of(10 * seed + leg, model, risk="own") for leg in range(4)]
        plans = [
            replace(plan, symbol=f"{leg}", strategy=replace(plan.strategy, risk="sizes"))
            for leg, plan in enumerate(plans)
        ]
        run, _ = together(plans)
        seen += sizes(run.events)
    assert max(seen) <= limit + 1e-9
    assert max(seen) > 2.0
