"""Deadlines by the clock that rows declare, in the compiled loop of a sweep: the trades of the event engine."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_scheduled_questions import MINUTE, ZONE, ms

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.kernels import simulate as kernel
from bknb.kernels.row_orders_loop import simulate_orders_plain
from bknb.market.sessions import Sessions
from bknb.sweeps import evaluate_combination
from bknb.sweeps.evaluate_combination import Evaluator, ends_of
from bknb.sweeps.prepared_candles import prepare
from bknb.sweeps.refused_answers import of_events

HOURS = Sessions.weekly(ZONE, {"mon-fri": "09:30-12:00"}, closed=["2024-11-06"], short={"2024-11-05": "10:30"})
UNTIL = (
    *("session_end", "session_end-1m", "session_end-5m", "session_end-40m", "11:15", "10:00 UTC", "mon"),
    *("session_open+20m", 45, 600, None),
)
LENGTHS = [(1, "1m"), (1, "15m"), (1, "1h"), (1, "1d"), (5, "5m"), (5, "30m"), (30, "1h")]
COLUMNS = ("price_open", "bars", "minute_estimated_time", "exit", "trailing_percent", "target_1")


def market(numbers: Any, step: int, *, open_hours: bool) -> Any:
    """Random bars with holes, a longer one now and then, and bars without volume."""
    times = np.arange(ms("2024-10-30"), ms("2024-11-14"), step * MINUTE)
    times = times[HOURS.mask(times)] if open_hours else times
    times = times[numbers.random(len(times)) > numbers.choice([0.0, 0.01, 0.2])]
    if numbers.random() < 0.3:
        at = int(numbers.integers(len(times)))
        times = np.delete(times, slice(at, at + int(numbers.choice([5, 40, 300]))))
    size = 0.0006 * np.sqrt(step)
    close = 100 * np.exp(np.cumsum(numbers.normal(0, size, len(times))))
    opened = close * np.exp(numbers.normal(0, size / 3, len(times)))
    volume = np.where(numbers.random(len(times)) < numbers.choice([0, 0.02, 0.4]), 0.0, 1.0)
    table = pd.DataFrame({
        "timestamp": times, "open": opened, "close": close, "high": np.maximum(opened, close) * (1 + size),
        "low": np.minimum(opened, close) * (1 - size), "volume": volume,
    })  # fmt: skip
    return bknb.exchanges.from_frame(table, symbol="X", sessions=HOURS if open_hours else None)


def rows_of(seed: int, columns: set[str], texts: list[Any]) -> Any:
    """Random rows with deadlines by the clock."""

    def get_signals(candles: Any) -> dict[str, Any]:
        count, close, numbers = len(candles), candles.close, np.random.default_rng(seed)
        side = numbers.choice([-1, 0, 1], count, p=[0.35, 0.3, 0.35])
        away = numbers.choice([0.001, 0.004, 0.02], count)

        def some(values: Any, share: float) -> Any:
            return np.where(numbers.random(count) < share, values, np.nan)

        found: dict[str, Any] = {
            "position": side,
            "price_take_profit": some(close * (1 + side * away), 0.7),
            "price_stop_loss": some(close * (1 - side * away), 0.7),
            "minute_estimated_time": some(numbers.integers(1, 200, count), 0.4 * ("minute_estimated_time" in columns)),
            "bars": some(numbers.choice([1, 2, 3, 7], count), 0.8 * ("bars" in columns)),
            "until": [texts[at] for at in numbers.integers(0, len(texts), count)] if len(texts) > 1 else texts[0],
        }
        if "price_open" in columns:
            found["price_open"] = some(close * (1 + numbers.choice([-1, 1], count) * away / 3), 0.4)
            found["stop_entry"] = (found["price_open"] > close) == (side > 0)
        if "exit" in columns:
            found["exit_long"], found["exit_short"] = numbers.random((2, count)) < 0.2
        if "trailing_percent" in columns:
            found["trailing_percent"] = some(0.5, 0.4)
        if "target_1" in columns:
            found["target_1"] = np.where(
                np.isnan(found["price_take_profit"]) & (side != 0), close * (1 + side * 0.01), np.nan
            )
            found["share_1"] = np.where(np.isnan(found["target_1"]), np.nan, 0.5)
        return found

    return get_signals


WORLDS = [*((seed, False) for seed in (*range(6), 8)), (0, True), (8, True)]
MORE = [pytest.param(seed, False, marks=pytest.mark.long) for seed in range(9, 90)]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "plain"), [*WORLDS, *MORE])
def test_deadlines_by_the_clock_are_those_of_the_engine_in_many_worlds(
    seed: int,
    plain: bool,  # noqa: FBT001 -- a table's column
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plain:
        monkeypatch.setattr(kernel, "simulate", kernel.simulate_plain)
    draw = np.random.default_rng(seed)
    step, interval = LENGTHS[seed % len(LENGTHS)]
    source = market(draw, step, open_hours=interval == "1d" or draw.random() < 0.7)
    texts = [UNTIL[at] for at in draw.permutation(len(UNTIL))[: draw.choice([1, 1, 3])]]
    columns = {name for name in COLUMNS if draw.random() < 0.4} | ({"bars"} if texts == [None] else set())
    end = f"2024-11-{draw.choice(['08 11:07', '12 12:00', '05 10:30', '04 18:00', '13 11:59', '13 09:30'])}"
    compared(
        source, (ms("2024-11-01 09:30", ZONE), ms(end, ZONE)), str(draw.choice(["pessimistic", "touch"])),
        interval=interval, get_signals=rows_of(seed, columns, texts),
    )  # fmt: skip


def without_last_minutes(count: int = 1) -> Any:
    """A market that has no bar in the last minutes of a session."""
    times = np.arange(ms("2024-11-04"), ms("2024-11-09"), MINUTE)
    times = times[HOURS.mask(times) & HOURS.mask(times + count * MINUTE)]
    close = 100 + np.sin(np.arange(len(times)))
    table = {"timestamp": times, "open": close, "close": close, "high": close + 1, "low": close - 1, "volume": 1.0}
    return bknb.exchanges.from_frame(pd.DataFrame(table), symbol="X", sessions=HOURS)


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_deadline_before_a_close_that_no_bar_fills_frees_its_moment(
    plain: bool,  # noqa: FBT001 -- a table's column
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plain:
        monkeypatch.setattr(kernel, "simulate", kernel.simulate_plain)
    source = without_last_minutes()

    def get_signals(candles: Any) -> dict[str, Any]:
        none = np.full(len(candles), np.nan)
        levels = {"price_take_profit": none, "price_stop_loss": none, "minute_estimated_time": none}
        return {"position": np.ones(len(candles)), "until": "session_end-1m", **levels}

    ends = compared(
        source, (ms("2024-11-04 10:00", ZONE), ms("2024-11-08 11:00", ZONE)), "pessimistic",
        interval="1m", get_signals=get_signals,
    )  # fmt: skip
    asked = pd.to_datetime(ends[:, kernel.SCHEDULED_AT], unit="ms", utc=True).tz_convert(ZONE)
    assert asked.strftime("%d %H:%M").tolist() == ["04 10:00", "04 11:59", "05 10:29", "07 11:59"]


@pytest.mark.parametrize("waits", [1, 2, 3])
@pytest.mark.parametrize("competes", [False, True])
@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_is_out_at_a_close_is_told_before_orders_that_the_clock_ends_behind_it(
    plain: bool,  # noqa: FBT001 -- a table's column
    competes: bool,  # noqa: FBT001 -- a table's column
    waits: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ordered two minutes before the close, they wait until before, at or behind it; no bar comes."""
    if plain:
        monkeypatch.setattr(kernel, "simulate", kernel.simulate_plain)
        monkeypatch.setattr(evaluate_combination, "simulate_orders", simulate_orders_plain)

    def get_signals(candles: Any) -> dict[str, Any]:
        none = np.full(len(candles), np.nan)
        last = ~np.isin(candles.timestamp + MINUTE, candles.timestamp)
        levels = {"price_take_profit": none, "price_stop_loss": none, "minute_estimated_time": none}
        far = {"price_open": np.where(last, 50.0, np.nan)}
        if competes:
            far = {"price_open_long": far["price_open"], "price_open_short": np.where(last, 150.0, np.nan)}
        side = np.where(last, 0.0, 1.0) if competes else np.ones(len(candles))
        return {"position": side, "until": "session_end-2m", **far, **levels}

    ends = compared(
        without_last_minutes(2), (ms("2024-11-04 10:00", ZONE), ms("2024-11-06 10:00", ZONE)), "pessimistic",
        interval="1m", get_signals=get_signals, settings={"schedule_await_minutes": waits},
    )  # fmt: skip
    order = ends[: 3 if competes else 2, kernel.REASON]
    assert (order == kernel.TIMEOUT).sum() == len(order) - 1
    assert order[-1 if waits == 1 else 0] == kernel.TIME_EXPIRED


def compared(source: Any, frame: Any, execution: str, **strategy: Any) -> Any:
    """The table of ends of the compiled loop, once it is that of the event engine."""
    settings = {"max_signal_lifetime_minutes": None, **strategy.pop("settings", {})}
    made = make_strategy("rows", lookback=1, **strategy)
    plan = plan_backtest("X", made, source, frame, execution=execution, settings=settings, allow_gaps=True)
    outcome = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True).evaluate({})
    assert not outcome.error
    assert outcome.ends is not None
    assert (outcome.ends[:, kernel.ROW] >= 0).all()  # of the compiled loop
    run = BacktestRun(plan)
    asyncio.run(run.through())
    np.testing.assert_array_equal(outcome.ends[:, 1:], ends_of(run.records)[:, 1:])
    assert outcome.refusals == of_events(run.records.rejected)
    return outcome.ends
