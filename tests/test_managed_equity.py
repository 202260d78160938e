"""Equity of runs whose positions are closed in parts, marked at every bar, against cash and size counted by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn
from worlds import LENGTH, SEEDS, SETTINGS, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.events.heard import NOBODY
from bknb.runs.fill_table import fills_of
from bknb.runs.result import Result
from bknb.runs.run_record import record_of

COST = 0.001  # of each side, slippage and fee alike


def reducing(seed: int) -> Any:
    def manage(when: Any, position: Any) -> Any:
        random = np.random.default_rng([seed, 3, round(when.timestamp())])
        return bknb.Reduce(random.uniform(0.1, 0.9)) if position.size and random.random() < 0.2 else None

    return manage


def result_of(seed: int, end: int = LENGTH) -> Result:
    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("parts", drawn(seed), interval="1m", manage=reducing(seed)),
        exchange=source(walk(seed)),
        frame=(ORIGIN, ORIGIN + end * MINUTE),
        settings=SETTINGS,
    )
    run = BacktestRun(plan, listeners=NOBODY)
    asyncio.run(run.through())
    return Result(record_of(run))


def by_hand(result: Result) -> np.ndarray[Any, Any]:
    """Equity at every mark: cash and size after each fill, which is booked when its bar has closed."""
    marked, minutes = result.marked, result.candles
    closes = dict(zip((minutes.timestamp + MINUTE).tolist(), minutes.close.tolist(), strict=True))
    level, equity = 1.0, np.ones(len(marked.time_ms))
    for event in result.run_record.records.closed:
        sign = 1 if event.signal.position == "long" else -1
        first = event.signal.price_open * (1 + sign * COST)
        fills = fills_of(event)
        for at, moment in enumerate(marked.time_ms.tolist()):
            booked = [fill for fill in fills if min(fill.at + MINUTE, result.end) <= moment]
            if not booked or fills[0].at + MINUTE > moment:
                continue
            cash, size = level, 0.0  # the entry pays with all there is; a short gets as much for what it sells
            for fill in booked:
                way = sign if fill.kind == "entry" else -sign
                value = fill.share * fill.price * (1 + way * COST) / first * level
                cash -= way * value + COST * value
                size += way * fill.share * level / first
            equity[at:] = cash + size * closes.get(moment, 0.0)
        level *= 1 + event.pnl.pnl_percentage / 100
        equity[np.searchsorted(marked.time_ms, min(event.closed_at + MINUTE, result.end)) :] = level
    return equity


@pytest.mark.slow
@given(seed=SEEDS)
def test_equity_is_cash_and_what_is_held(seed: int) -> None:
    result = result_of(seed)
    np.testing.assert_allclose(result.marked.equity, by_hand(result), rtol=1e-9)


def test_parts_are_in_this_world() -> None:
    events = result_of(3).run_record.records.closed
    assert sum(len(event.fills) > 3 for event in events) > 3
    assert {event.signal.position for event in events if len(event.fills) > 2} == {"long", "short"}


def test_a_part_taken_early_halves_what_follows() -> None:
    rows = [(ORIGIN + k * MINUTE, *(110.0 if 5 <= k < 8 else 100.0,) * 4, 1.0) for k in range(-60, 20)]
    answers = {3: bknb.Reduce(0.5)}

    def get_signal(when: Any) -> Any:
        return bknb.Signal(position="long") if when.minute == 0 else None

    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy(
            "half", get_signal, interval="1h", manage=lambda when: answers.get(when.minute), manage_interval="1m"
        ),
        exchange=source(rows),
        frame=(ORIGIN, ORIGIN + 10 * MINUTE),
        settings={"percent_fee": 0.0, "percent_slippage": 0.0},
    )
    run = BacktestRun(plan, listeners=NOBODY)
    asyncio.run(run.through())
    result = Result(record_of(run))
    assert result.equity.max() == pytest.approx(1.05)
    assert result.equity.iloc[-1] == pytest.approx(1.0)
    assert result.account["turnover"] == pytest.approx(2.0 / result.equity.mean())


def test_adds_need_a_capital() -> None:
    def manage(position: Any) -> Any:
        return bknb.Add(1) if position.entries == 1 else None

    strategy = make_strategy("adds", lambda: bknb.Signal(position="long"), interval="4h", manage=manage)
    result = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame="2024-01-01:2024-01-02")
    assert result.account["total_return"] is None
    assert result.account.reasons["total_return"] == "adds and places need a capital"
    assert result.account["positions"] == 1
    with pytest.raises(bknb.DataError, match="adds and places need a capital"):
        _ = result.equity
    trade = result.trades.iloc[0]
    assert trade["fills"] == 3
    assert trade["cost_percentage"] == pytest.approx(trade["pnl_percentage"] / 2, rel=0.05)
    assert list(result.fills["kind"]) == ["entry", "add", "exit"]
    assert "adds and places need a capital" in str(result)
    assert "adds and places need a capital" in result.report()
