"""A portfolio of one leg is that backtest, and legs that share nothing are their single runs, in the order of time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from portfolio_worlds import alone, plan_of, together
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from test_managed_simulator import MODELS
from worlds import LENGTH, SETTINGS, signals, walk

import bknb
from bknb.domain.signal_events import Active, Idle
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import Plan, plan_backtest
from bknb.events.listen import drain

FEW, MANY, LONG, LEGS = 1, 5, 100, 5
SIZES = [
    pytest.param(FEW),
    pytest.param(MANY, marks=pytest.mark.slow),
    pytest.param(LONG, marks=pytest.mark.long),
]


def plain_plan(seed: int, model: str, symbol: str = "BTCUSDT") -> Plan:
    """Random signals on a random walk."""
    return plan_backtest(
        symbol,
        strategy=signals(seed),
        exchange=source(walk(seed)),
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        interval="1m",
        execution=model,
        settings=SETTINGS,
    )


def without_quiet(events: list[Any]) -> list[Any]:
    return [event for event in events if not isinstance(event, Idle | Active)]


@pytest.mark.parametrize("model", first_quick(MODELS))
@pytest.mark.parametrize("count", SIZES)
def test_a_portfolio_of_one_leg_has_the_records_of_the_backtest(model: str, count: int) -> None:
    for seed in range(count):
        plan = plan_of(seed, model)
        single = alone(plan)
        run, results = together([plan])
        assert run.legs[0].records == single.records, seed
        assert run.legs[0].reached == single.reached
        assert run.events == without_quiet(single.heard), seed
        assert results == single.records.ends
        assert run.warnings == []
        bknb.testing.reset()


@pytest.mark.parametrize("model", first_quick(MODELS))
@pytest.mark.parametrize("count", SIZES)
def test_legs_that_share_nothing_are_their_single_runs(model: str, count: int) -> None:
    for seed in range(0, count, LEGS):
        plans = [plan_of(each, model, risk=f"profile {each}") for each in range(seed, seed + LEGS)]
        plans += [plain_plan(each, model) for each in range(seed, seed + 2)]
        singles = [alone(plan) for plan in plans]
        run, results = together(plans)
        for at, (leg, single) in enumerate(zip(run.legs, singles, strict=True)):
            assert leg.records == single.records, (seed, at)
        assert len(results) == sum(len(single.records.ends) for single in singles)
        bknb.testing.reset()


def test_strategies_on_one_symbol_share_its_candles_and_are_their_single_runs() -> None:
    """Its source answers longer candles with minutes, which each run hears."""
    rows, asked = walk(5), []

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        asked.append((interval, since))
        return [row for row in rows if row[0] >= since][:limit]

    def looking(seed: int) -> Any:
        ask = signals(seed)

        def get_signal(ctx: Any) -> Any:
            ctx.candles("5m", 3)
            return ask(ctx.when, ctx.price)

        return bknb.add_strategy(f"s{seed}", interval="1m", get_signal=get_signal)

    exchange = bknb.add_exchange("rows", get_candles=get_candles)
    frame = (ORIGIN, ORIGIN + LENGTH * MINUTE)
    plans = [plan_backtest("BTCUSDT", looking(seed), exchange, frame, settings=SETTINGS) for seed in range(3)]
    singles = [alone(plan) for plan in plans]
    alone_asked = len(asked)
    run, _ = together(plans)
    for leg, single in zip(run.legs, singles, strict=True):
        assert leg.records == single.records
        assert any("answers 5m with 1m candles" in text for text in single.records.warnings)
    assert len(asked) - alone_asked == alone_asked / 3


def at_its_moment(event: Any, model: str) -> bool:
    """Whether an event is known at its own moment, and not when its bar has closed."""
    if isinstance(event, bknb.Cancelled):
        return model != "vwap" and event.reason in ("timeout", "frame_end")
    if isinstance(event, bknb.Opened):
        return model == "vwap" and event.signal.scheduled_at == event.when
    return isinstance(event, bknb.Rejected) or (model == "vwap" and isinstance(event, bknb.Scheduled))


@pytest.mark.parametrize("model", MODELS)
def test_what_is_told_of_all_legs_is_in_the_order_of_the_clock(model: str) -> None:
    """What a bar did is known at its close, what is decided at a moment then; within a moment legs go in order."""
    plans = [plain_plan(seed, model, f"{seed}") for seed in range(4)]
    run, _ = together(plans)
    known = [event.when + (0 if at_its_moment(event, model) else MINUTE) for event in run.events]
    assert known == sorted(known)
    assert len({event.symbol for event in run.events[:40]}) == 4


@pytest.mark.parametrize("model", MODELS)
def test_listeners_hear_what_they_hear_of_the_backtest(model: str) -> None:
    plan = plain_plan(1, model)
    heard: list[list[Any]] = []
    for portfolio in (False, True):
        heard.append([])
        undo = [bknb.listen_signal(heard[-1].append), bknb.listen_progress_backtest(heard[-1].append),
                bknb.listen_done_backtest(heard[-1].append), bknb.listen_validation(heard[-1].append)]  # fmt: skip
        options: Any = {"exchange": plan.exchange, "frame": plan.frame, "execution": model, "settings": SETTINGS}
        if portfolio:
            bknb.portfolio(legs=[("BTCUSDT", plan.strategy)], **options)
        else:
            bknb.backtest("BTCUSDT", strategy=plan.strategy, **options)
        drain(timeout=10.0)
        for each in undo:
            each()
    single, leg = (sorted(map(repr, each)) for each in heard)
    assert len(single) > 40
    assert single == leg
    assert [each for each in heard[0] if isinstance(each, bknb.Closed)] == [
        each for each in heard[1] if isinstance(each, bknb.Closed)
    ]


@pytest.mark.parametrize("model", first_quick(MODELS))
def test_the_result_of_a_leg_is_that_of_the_backtest_to_the_last_letter(model: str) -> None:
    plan = plain_plan(3, model)
    options: Any = {"exchange": plan.exchange, "frame": plan.frame, "execution": model, "settings": SETTINGS}
    single = bknb.backtest("BTCUSDT", strategy=plan.strategy, **options)
    leg = bknb.portfolio(legs=[("BTCUSDT", plan.strategy), ("ETHUSDT", plan.strategy)], **options).leg("BTCUSDT")
    assert len(single.trades) > 5
    assert leg.trades.equals(single.trades)
    assert leg.equity.equals(single.equity)
    assert dict(leg.account) == dict(single.account)
    assert repr(leg.card.outcome) == repr(single.card.outcome)
    assert leg.card.data == single.card.data
    assert leg.report().split("tried")[0] == single.report().split("tried")[0]


def test_every_minute_fed_gives_what_jumping_gives() -> None:
    plans = [plain_plan(seed, "pessimistic", f"{seed}") for seed in range(3)]
    run, _ = together(plans)
    for plan, leg in zip(plans, run.legs, strict=True):
        every = BacktestRun(plan, every_minute=True)
        asyncio.run(every.through())
        assert every.records == leg.records
