"""Managed positions, money, portfolios, weights, models' tables and look-ahead checks over weekly bars."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_bars_live import holding
from test_base_bars import FREE, answer, frame_of, signal_of
from test_base_bars import rows_of as outcomes_of
from test_optimizer import study
from test_weekly_bars import DAY, WEEK, source_of, weeks

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges import from_frame


def test_jumping_over_weeks_gives_what_looking_at_each_gives_with_managed_positions() -> None:
    bars = weeks(5, 250, holes=0.05, first=6)
    plan = plan_backtest("X", holding("1w"), source_of(bars), (bars[9].t, bars[-20].t), settings=FREE, allow_gaps=True)
    runs = [BacktestRun(plan, every_minute=each) for each in (False, True)]
    for each in runs:
        asyncio.run(each.through())
    assert runs[0].records.events == runs[1].records.events
    assert {"Added", "Reduced"} <= {type(event).__name__ for event in runs[0].records.positions}
    assert not runs[0].records.failures


def test_each_leg_of_a_portfolio_over_weeks_is_its_backtest() -> None:
    bars = {name: weeks(seed, 160) for name, seed in (("A", 1), ("B", 2))}
    source = from_frame(pd.concat([frame_of(each).assign(symbol=name) for name, each in bars.items()]))
    strategy = bknb.add_strategy(
        "drawn", interval="1w", get_signal=lambda ctx: signal_of(answer(3, ctx.when_ms, ctx.price, WEEK))
    )
    frame = (bars["A"][40].t, bars["A"][140].t)
    options: dict[str, Any] = {"exchange": source, "frame": frame, "settings": FREE}
    several = bknb.portfolio(strategies=[strategy], symbols=["A", "B"], **options)
    for leg in several.legs.values():
        alone = bknb.backtest(leg.symbol, strategy=strategy, **options)
        assert outcomes_of(leg) == outcomes_of(alone)
        assert len(leg.trades) > 10


def test_weights_of_several_symbols_over_weeks_are_asked_together() -> None:
    bars = weeks(1, 160)
    table = frame_of(bars)
    source = from_frame(pd.concat([table.assign(symbol="A"), table.assign(symbol="B")]))
    seen: list[int] = []

    @bknb.weights("halves", symbols=["A", "B"], at="month")
    def get_weights(ctx: Any) -> dict[str, float]:
        seen.append(ctx.when_ms)
        return {"A": 0.4, "B": 0.3}

    frame = (bars[40].t, bars[90].t)
    run = bknb.portfolio(strategies=["halves"], exchange=source, frame=frame, capital=10_000.0, settings=FREE)
    months = pd.date_range(*(pd.Timestamp(each, unit="ms", tz="UTC") for each in frame), freq="MS")
    first = [(month + pd.Timedelta(days=-month.weekday() % 7)).value // 10**6 for month in months]
    assert seen == [moment for moment in first if moment <= frame[1]]
    assert [leg.trades["quantity"].iloc[0] > 0 for leg in run.legs.values()] == [True, True]


FLAT = {"open": 100.0, "high": 100.5, "low": 99.5, "close": 100.0, "volume": 1.0}


@pytest.mark.parametrize(
    ("side", "account", "costs", "paid"),
    [
        ("long", bknb.Perpetual(leverage=2), "funding", 63 * 0.0001 * 5000),
        ("short", bknb.Margin(leverage=2), "borrow", 5000 * 0.10 * 21 / 365),
    ],
)
def test_holding_costs_of_weeks_are_those_of_their_days(side: Any, account: Any, costs: str, paid: float) -> None:
    moments = pd.date_range("2020-01-01", "2020-12-01", freq="8h", tz="UTC")
    given = {
        "funding": {"funding": [(moment.value // 10**6, 0.0001) for moment in moments]},
        "borrow": {"borrow_yearly": 10.0},
    }[costs]
    for length, count in ((7, 40), (1, 280)):
        index = pd.date_range("2020-01-06", periods=count, freq=f"{length}D")

        def get_signal(ctx: Any) -> bknb.Signal | None:
            levels = {"price_take_profit": 150.0, "price_stop_loss": 50.0}
            levels = levels if side == "long" else {"price_take_profit": 50.0, "price_stop_loss": 150.0}
            is_first = f"{ctx.when:%Y-%m-%d}" == "2020-03-02"
            return bknb.Signal(position=side, minute_estimated_time=21 * 1440, **levels) if is_first else None

        run = bknb.backtest(
            "X", strategy=get_signal, exchange=from_frame(pd.DataFrame(FLAT, index=index)),
            frame=("2020-02-03", "2020-06-01"), capital=10_000.0, sizing=bknb.size.Units(50), account=account,
            costs=bknb.Costs(taker=0.0, slippage=0.0, **given), settings=FREE,
        )  # fmt: skip
        assert run.trades[costs].tolist() == pytest.approx([paid], rel=0.01)


# --- look-ahead ----------------------------------------------------------------------------------------------------


def rising(candles: Any, ahead: int) -> Any:
    """Rows that follow the last close, or with ``ahead`` 1 the next one."""
    rise = np.diff(candles.close, prepend=candles.close[0])
    rise = np.r_[rise[ahead:], np.zeros(ahead)]
    return {
        "position": (rise > 0).astype(int), "price_take_profit": candles.close + 3,
        "price_stop_loss": candles.close - 3, "minute_estimated_time": 2 * WEEK // 60_000,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_rows_of_weeks_that_see_the_next_one_are_found(ahead: int) -> None:
    bars = weeks(4, 160, first=6)
    strategy = bknb.add_strategy("rows", interval="1w", get_signals=rising, params={"ahead": ahead}, lookback=9)
    frame = (bars[40].t, bars[140].t)
    report = bknb.check_lookahead(strategy, "X", exchange=source_of(bars), frame=frame, moments=20)
    assert report.ok == (ahead == 0), report


@pytest.mark.slow
@pytest.mark.parametrize("days", [0, 3])
def test_a_series_that_is_read_before_it_was_published_is_found_over_weeks(days: int) -> None:
    bars = weeks(4, 160)
    table = pd.Series([bar.close for bar in bars], index=[pd.Timestamp(bar.t + WEEK, unit="ms") for bar in bars])

    def get_signal(ctx: Any) -> Any:
        known = table[: pd.Timestamp(ctx.when_ms + days * WEEK // 3, unit="ms")]
        side: Any = "long" if known.iloc[-1] > ctx.price or not days else "short"
        return bknb.Signal(position=side, minute_estimated_time=WEEK // 60_000)

    frame = (bars[40].t, bars[140].t)
    report = bknb.check_lookahead(get_signal, "X", exchange=source_of(bars), frame=frame, moments=20, interval="1w")
    assert report.ok == (days == 0), report


def test_points_in_time_are_those_known_when_a_week_begins() -> None:
    bars, seen = weeks(4, 60), list[tuple[int, int]]()
    published = [bars[0].t + at * DAY + 1 for at in range(400)]
    bknb.add_series("news", pd.DataFrame({"published_at": published, "score": range(400)}), delay="12h")

    def get_signal(ctx: Any) -> None:
        seen.append((ctx.when_ms, int(ctx.series("news", 1).published_at[-1])))

    bknb.backtest("X", strategy=get_signal, exchange=source_of(bars), frame=(bars[9].t, bars[40].t))
    assert len(seen) > 20
    assert all(when - newest == 12 * 3_600_000 + 12 * 3_600_000 - 1 for when, newest in seen)


def test_a_model_is_shown_weeks_and_no_optimizer_writes_rules_for_them() -> None:
    wait = (
        '{"position": "wait", "note": "", "price_open": 0, "price_take_profit": 0, "price_stop_loss": 0, '
        '"minute_estimated_time": 0}'
    )
    model, bars = bknb.llm.recorded([wait] * 9), weeks(4, 60)

    async def get_signal(ctx: Any) -> Any:
        return await bknb.ask_model("Wait.", model=model, cache=None)

    result = bknb.backtest("X", strategy=get_signal, exchange=source_of(bars), frame=(bars[40].t, bars[43].t))
    assert result.errors == []
    with pytest.raises(bknb.UsageError, match="bars of up to a day, and these are 1w bars"):
        study([], exchange=source_of(bars), sources=["1w"])
