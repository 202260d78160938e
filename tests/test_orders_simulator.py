"""The engine against the simulator of lists, places, entries in parts, adds and orders that are moved or cancelled."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from datetime import datetime
from random import Random
from typing import Any

import pytest
from orders_page import Trade, View, World
from orders_simulator import Simulator
from orders_worlds import at, draw, minute, of_bars, view_of
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.events.heard import NOBODY
from bknb.runs.fill_table import fill_rows

INTERVALS = {1: "1m", 5: "5m", 15: "15m", 60: "1h", 120: "2h", 240: "4h"}
FEW, MANY = range(20), range(20, 1000)


class Run:
    """What runs of a world are given, whose bars are of ``length`` minutes, and what one asked and showed."""

    def __init__(self, world: World, length: int = 1) -> None:
        self.length = length
        self.asked: list[int] = []
        self.views: list[tuple[int, View]] = []

        def get_signal(when: datetime, price: float) -> Any:
            self.asked.append(now := at(when, length))
            return of_bars(world.ask(now, price, world.bars[now - 1].close), length)

        def manage(when: datetime, price: float, position: bknb.HeldPosition) -> Any:
            now, seen = at(when, length), view_of(position, length)
            self.views.append((now, seen))
            return of_bars(world.manage(now, price, world.bars[now - 1].close, seen), length)

        strategy = bknb.add_strategy(
            "orders", interval=INTERVALS[world.interval * length], get_signal=get_signal, manage=manage,
            places=world.places, manage_interval=INTERVALS[world.manage_interval * length],
        )  # fmt: skip
        costs = {"percent_fee": world.percent_fee, "percent_slippage": world.percent_slippage}
        self.settings: dict[str, Any] = {
            "schedule_await_minutes": world.await_minutes * length,
            "max_adds": None,
            **costs,
        }
        rows = [(ORIGIN + k * length * MINUTE, *bar) for k, bar in enumerate(world.bars)]
        frame = (ORIGIN + world.start * length * MINUTE, ORIGIN + world.end * length * MINUTE)
        self.options: dict[str, Any] = {
            "strategy": strategy, "exchange": source(rows), "frame": frame, "settings": self.settings,
        }  # fmt: skip

    def records(self) -> Records:
        run = BacktestRun(plan_backtest("BTCUSDT", **self.options), listeners=NOBODY)
        asyncio.run(run.through())
        assert not run.records.failures, run.records.failures
        return run.records


def trades_of(records: Records, settings: dict[str, Any], length: int) -> list[Trade]:
    fills: dict[str, list[Any]] = {}
    for row in fill_rows(records, bknb.Settings(**settings)):
        fill = minute(row["at"], length), row["kind"], row["share"], row["price"], row["reason"]
        fills.setdefault(row["signal_id"], []).append(fill)
    return [
        Trade(one.signal.id, one.signal.place, minute(one.signal.pending_at, length), minute(one.closed_at, length),
              one.close_reason, one.ambiguous, one.pnl.pnl_percentage, tuple(fills[one.signal.id]))
        for one in records.closed
    ]  # fmt: skip


def cancelled(records: Records, length: int) -> list[tuple[int, str, str]]:
    adds = [one for one in records.positions if isinstance(one, bknb.AddCancelled)]
    found = [(one.when, f"{one.signal.id}#{one.number}", str(one.reason)) for one in adds]
    found += [(one.when, one.signal.id, one.reason) for one in records.cancelled]
    return [(minute(when, length), name, reason) for when, name, reason in found]


def differences(page: Simulator, run: Run, records: Records) -> list[str]:
    """What a backtest says otherwise than the simulator, of each kind the first."""
    pairs: dict[str, tuple[list[Any], list[Any]]] = {
        "asked": (page.asked, run.asked),
        "shown": (page.views, run.views),
        "trade": (sorted(page.trades), sorted(trades_of(records, run.settings, run.length))),
        "taken back": (sorted(page.cancelled), sorted(cancelled(records, run.length))),
    }
    found = []
    for name, (mine, theirs) in pairs.items():
        each = ((mine[k : k + 1], theirs[k : k + 1]) for k in range(max(len(mine), len(theirs))))
        wrong = next((pair for pair in each if not alike(*pair)), None)
        found += [] if wrong is None else [f"{name}: page {wrong[0]}, came {wrong[1]}"]
    return found


def alike(one: Any, other: Any) -> bool:
    """Equal, numbers to 1e-9."""
    if one == other:
        return True
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=pytest.mark.long)], ids=["few", "many"])
def test_lists_places_parts_adds_and_moves_are_the_simulators(seeds: range) -> None:
    told: Counter[str] = Counter()
    for seed in seeds:
        world = draw(seed)
        page, run = Simulator(world).run(), Run(world)
        found = differences(page, run, run.records())
        assert not found, "\n".join([f"seed {seed}", *found])
        told.update(reason for _, _, reason in page.cancelled)
        told.update(trade.reason for trade in page.trades)
        told.update(fill[1] for trade in page.trades for fill in trade.fills)
        told["ambiguous"] += sum(trade.ambiguous for trade in page.trades)
    reasons = {"stop_loss", "take_profit", "time_expired", "strategy", "frame_end"}
    assert told.keys() == reasons | {"timeout", "place_taken", "price_reject"} | {
        "entry",
        "add",
        "reduce",
        "exit",
        "ambiguous",
    }
    assert min(told.values()) > 3, told


class OverHours(World):
    """Its bars are hours: ``price`` is the last close, and one without volume among the first ones is none."""

    def price(self, when: int) -> float:
        return self.bars[when - 1].close


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 200), marks=pytest.mark.long)], ids=["few", "many"])
def test_over_hours_they_are_the_simulators(seeds: range) -> None:
    """They wait so long that there it makes no difference that one that is moved waits as a new one."""
    for seed in seeds:
        random = Random(seed)  # noqa: S311
        every = {"interval": random.choice([1, 2, 4]), "manage_interval": random.choice([1, 2])}
        world = draw(seed, 160, await_minutes=120, **every)
        bars = [bar._replace(volume=1.0) if not bar.volume and k < 60 else bar for k, bar in enumerate(world.bars)]
        hours = OverHours(**{**vars(world), "bars": bars})
        page, run = Simulator(hours).run(), Run(hours, 60)
        found = differences(page, run, run.records())
        assert not found, "\n".join([f"seed {seed}", *found])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [[1, 0], pytest.param(range(2, 100), marks=pytest.mark.long)], ids=["few", "many"])
def test_an_account_has_the_money_that_the_simulator_says(seeds: list[int]) -> None:
    """Two units of each signal, from cash that pays for all."""
    for seed in seeds:
        world = draw(seed)
        page, run = Simulator(world).run(), Run(world)
        account = {"capital": 1e6, "sizing": bknb.size.Units(2.0), "account": bknb.Margin()}
        result = bknb.backtest("BTCUSDT", **run.options, **account)
        assert not result.errors, result.errors
        found = differences(page, run, result.run_record.records)
        assert not found, "\n".join([f"seed {seed}", *found])
        assert result.equity.iloc[-1] == pytest.approx(1e6 + 2.0 * page.money, abs=1e-6), seed
