"""Sweeps over base bars longer than a minute: the compiled loop comes to the trades of the event engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import ORIGIN
from test_sweep_declared import declared
from test_sweep_parity import LIMITS, assert_same, by_events, by_kernel, get_signals, market
from test_sweep_row_orders import ordered
from worlds import drawn_plan

import bknb
from bknb.domain.interval import MINUTE_MS, interval_ms
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.exchanges import from_frame
from bknb.kernels import simulate as kernel

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

DAY = 86_400_000
INTERVALS = {"5m": ("5m", "15m", "1h"), "1h": ("1h", "2h", "4h"), "1d": ("1d", "3d")}
HOURS = "00:00-04:00, 05:00-09:00, 11:00-24:00"
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


def of_bars(rows: Any, step: int) -> Any:
    """``get_signals`` whose lives are longer, and no whole number of bars."""

    def signals(candles: Any, **params: Any) -> dict[str, Any]:
        answer = rows(candles, **params)
        minutes = np.asarray(answer["minute_estimated_time"], dtype=np.float64)
        usual = (minutes > 0) & (minutes < 1e6) & (minutes == np.floor(minutes))
        answer["minute_estimated_time"] = np.where(usual, np.ceil(minutes * (step / MINUTE_MS) / 3), minutes)
        return dict(answer)

    return signals


def plan_of_bars(seed: int, base: str, model: str, rows: Any = get_signals, **params: Any) -> Any:
    """A world over bars, a strategy and a frame, all drawn from the seed."""
    random, step = np.random.default_rng([11, seed]), interval_ms(base)
    length = int(random.integers(200, 500))
    tick = [None, 0.01, 0.25][int(random.integers(3))]
    table = pd.DataFrame(market(random, length, tick), columns=list(COLUMNS))
    table["timestamp"] = ORIGIN + (table["timestamp"] - ORIGIN) // MINUTE_MS * step
    gaps = bool(random.random() < 0.4)
    if base == "1d" and random.random() < 0.5:
        table = table[(table["timestamp"] // DAY + 3) % 7 < 5]  # no weekends
    if gaps:
        hole, width = int(random.integers(70, len(table) - 20)), int(random.integers(2, 12))
        kept = random.random(len(table)) > 0.08
        kept[:60], kept[hole : hole + width] = True, False
        table = table[kept]
    if random.random() < 0.3:
        table = table[: -int(random.integers(20, 80))]  # the data ends inside the frame
    exchange: Any = from_frame(table, symbol="BTCUSDT")
    if base != "1d" and random.random() < 0.3:
        exchange = bknb.exchanges.in_sessions(exchange, bknb.Sessions.weekly("UTC", {"mon-sun": HOURS}))

    def frame() -> tuple[int, int]:
        start = ORIGIN + int(random.integers(-20, 10)) * step + int(random.integers(0, step))
        return start, ORIGIN + length * step + int(random.integers(0, step))

    return drawn_plan(
        random, exchange, seed=seed, rows=of_bars(rows, step), model=model, frame=frame, tick=tick, gaps=gaps,
        params=params, intervals=INTERVALS[base], steps=INTERVALS[base], lookbacks=30,
        limits=LIMITS | {"max_signal_lifetime_minutes": 40 * step // MINUTE_MS},
        choices={"schedule_await_minutes": (3, 120, 30_000), "percent_fee": (0.0, 0.1)},
    )  # fmt: skip


CASES = [
    (base, model, rows) for base in INTERVALS for model in ("pessimistic", "touch") for rows in (get_signals, declared)
]
OF_ORDERS = [(base, model, ordered) for base in INTERVALS for model in ("pessimistic", "touch")]


@pytest.mark.parametrize(("base", "model", "rows"), [CASES[0], CASES[5], CASES[10]])
def test_the_kernel_over_bars_gives_the_trades_of_the_engine(base: str, model: str, rows: Any) -> None:
    plan = plan_of_bars(3, base, model, rows)
    assert plan.base == base
    ends, refusals = by_kernel(plan)
    assert len(ends) >= 10
    assert_same(by_events(plan), ends, refusals)


@pytest.mark.slow
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), case=st.sampled_from([*CASES, *OF_ORDERS]))
def test_the_kernel_over_bars_gives_the_trades_of_the_engine_in_many_worlds(
    seed: int, case: tuple[str, str, Any]
) -> None:
    plan = plan_of_bars(seed, *case)
    assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), case=st.sampled_from(CASES))
def test_the_kernel_over_bars_equals_its_specification(seed: int, case: tuple[str, str, Any]) -> None:
    plan = plan_of_bars(seed, *case)
    compiled, plain = by_kernel(plan), by_kernel(plan, kernel.simulate_plain)
    np.testing.assert_array_equal(compiled[0], plain[0])
    assert compiled[1] == plain[1]


HOUR = 3_600_000


@pytest.mark.parametrize("model", ["pessimistic", "touch"])
@pytest.mark.parametrize(
    ("level", "minutes", "await_minutes", "last", "expected"),
    [
        (np.nan, 420, 120, 60, (kernel.TIME_EXPIRED, 8)),  # opened at 1
        (np.nan, 421, 120, 60, (kernel.TIME_EXPIRED, 9)),  # known at the next bar
        (np.nan, 30 * 60 - 30, 120, 60, (kernel.FRAME_END, 30)),  # within the last bar of the frame
        (np.nan, 28 * 60, 120, 60, (kernel.TIME_EXPIRED, 29)),
        (99.0, 60, 120, 60, (kernel.TIMEOUT, 21)),  # twenty bars at least
        (99.0, 60, 25 * 60 + 30, 60, (kernel.TIMEOUT, 27)),
        (99.0, 60, 29 * 60 - 1, 60, (kernel.FRAME_END_CANCEL, 30)),
        (99.0, 60, 120, 20, (kernel.TIMEOUT, 21)),
        (99.0, 60, 120, 19, (kernel.DATA_END_CANCEL, 19)),
        (np.nan, 1200, 120, 20, (kernel.DATA_END, 20)),
    ],
)
def test_where_the_clock_ends_something_over_bars(
    model: str, level: float, minutes: int, await_minutes: int, last: int, expected: tuple[int, int]
) -> None:
    def once(candles: Any) -> dict[str, Any]:
        wanted = (candles.timestamp == ORIGIN).astype(np.int8)  # asked about at hour 1
        levels = {"price_take_profit": 110.0, "price_stop_loss": 90.0, "price_open": level}
        return {"position": wanted, "minute_estimated_time": minutes, **levels}

    table = pd.DataFrame([[ORIGIN + k * HOUR, *[100.0] * 4, 1.0] for k in range(-60, last + 1)], columns=list(COLUMNS))
    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("once", interval="1h", get_signals=once, lookback=5),
        exchange=from_frame(table, symbol="BTCUSDT"),
        frame=(ORIGIN, ORIGIN + 30 * HOUR),
        execution=model,
        settings={"schedule_await_minutes": await_minutes},
    )
    ends, refusals = by_kernel(plan)
    assert [(end[kernel.REASON], (end[kernel.CLOSED_AT] - ORIGIN) / HOUR) for end in ends] == [expected]
    assert_same(by_events(plan), ends, refusals)


def days(seed: int = 3) -> Any:
    """Two years of trading days of a share."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2022-01-03", periods=520, freq="B", name="Date")
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, size=len(index))))
    table = {"open": close * 0.999, "high": close * 1.012, "low": close * 0.988, "close": close, "volume": 1e6}
    return from_frame(pd.DataFrame(table, index=index), symbol="AAPL")


SPAN = ("2022-06-01", "2023-12-01")
EXITS = {"price_take_profit": 1.04, "price_stop_loss": 0.97}


def rows(candles: Any, back: int = 5) -> dict[str, Any]:
    moved = candles.close > np.roll(candles.close, back)
    moved[:back] = False
    levels = {name: candles.close * factor for name, factor in EXITS.items()}
    return {"position": moved, "minute_estimated_time": 1440 * 9 + 77, **levels}


def asked(ctx: Any, back: int = 5) -> Any:
    closes = ctx.candles("1d", back + 1).close
    if closes[-1] <= closes[0]:
        return None
    levels = {name: float(closes[-1]) * factor for name, factor in EXITS.items()}
    return bknb.Signal(position="long", minute_estimated_time=1440 * 9 + 77, **levels)


@pytest.mark.parametrize("function", [rows, asked])
def test_a_sweep_over_days_has_the_figures_of_its_backtests(function: Any) -> None:
    form: Any = {"get_signals": rows, "lookback": 30} if function is rows else {"get_signal": asked}
    strategy, exchange = bknb.add_strategy("moved", interval="1d", **form), days()
    options: Any = {"symbol": "AAPL", "exchange": exchange, "frame": SPAN}
    swept = bknb.sweep(strategy, params={"back": [3, 8]}, **options)
    for number, row in swept.table.iterrows():
        result = swept.run(int(number))
        assert result.card.base == "1d"
        assert row["n"] == len(result.trades) > 10
        assert row["total_pnl"] == pytest.approx(result.stats["total_pnl"])


@pytest.mark.slow
def test_workers_of_a_sweep_know_the_length_of_the_bars() -> None:
    strategy = bknb.add_strategy("moved", interval="1d", get_signals=rows, lookback=30)
    options: Any = {"params": {"back": [3, 8]}, "symbol": "AAPL", "exchange": days(), "frame": SPAN}
    alone, shared = (bknb.sweep(strategy, executor=executor, **options) for executor in ("inline", 2))
    pd.testing.assert_frame_equal(alone.table, shared.table)


def test_a_walker_over_days_compares_its_backtests() -> None:
    exchange = days()
    one = bknb.add_strategy("one", interval="1d", get_signal=asked)
    other = bknb.add_strategy("other", interval="3d", get_signals=rows, lookback=30)
    options: Any = {"exchange": exchange, "frame": SPAN}
    compared = bknb.walker("AAPL", strategies=[one, other], metric="total_pnl", **options)
    alone = {each.name: bknb.backtest("AAPL", strategy=each, **options).stats["total_pnl"] for each in (one, other)}
    assert compared.best.strategy == max(alone, key=alone.__getitem__)
    assert {name: compared[name].stats["total_pnl"] for name in alone} == alone
