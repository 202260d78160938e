"""The account of a run: equity marked at every bar, and the figures taken from it."""

from __future__ import annotations

import dataclasses
import math
import pickle
import re
import threading
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.domain.formatting import percent_text
from bknb.domain.pnl import trade_pnl
from bknb.domain.signal import OpenSignal
from bknb.domain.signal_events import Active
from bknb.metrics.account_definitions import ACCOUNT_DEFINITIONS
from bknb.metrics.account_sharpe_sortino_and_drawdown import Account, account_figures, daily_marks, under_water
from bknb.metrics.marked_equity import MarkedEquity, mark
from bknb.metrics.marked_positions import Positions, StillOpen, positions_from
from bknb.reports import dashboard_panels
from bknb.reports.dashboard_run import RunView
from bknb.runs.monthly_returns_and_drawdowns import calendar_of, drawdowns_of, returns_of

MINUTE = 60_000
DAY = 1440 * MINUTE
T0 = 1_704_067_200_000  # 2024-01-01


def positions(*trades: tuple[int, int, str, float, float], slippage: float = 0.0, fee: float = 0.0) -> Positions:
    """Trades as (bar of the entry, bar of the exit, side, price there, price there)."""
    parts = [trade_pnl(side, bought, sold, slippage=slippage, fee=fee) for _, _, side, bought, sold in trades]
    return positions_from(
        opened_ms=np.array([T0 + trade[0] * MINUTE for trade in trades], dtype=np.int64),
        closed_ms=np.array([T0 + trade[1] * MINUTE for trade in trades], dtype=np.int64),
        side=np.array([1.0 if trade[2] == "long" else -1.0 for trade in trades]),
        price_open=np.array([trade[3] for trade in trades], dtype=np.float64),
        price_close=np.array([trade[4] for trade in trades], dtype=np.float64),
        net=np.array([part.pnl_percentage for part in parts]),
        fee=np.array([part.fee_percentage for part in parts]),
        slippage=np.array([part.slippage_percentage for part in parts]),
    )


def marked(held: Positions, closes: list[float]) -> MarkedEquity:
    bars = T0 + np.arange(len(closes), dtype=np.int64) * MINUTE
    return mark(held, bars, np.array(closes, dtype=np.float64), start=T0, end=T0 + len(closes) * MINUTE)


# -- the ledger ----------------------------------------------------------------------------------------------------

# Ten minutes, 1 % slippage and 0.5 % fee per side. A: long, bought in bar 1 at 100 (101 with slippage),
# sold in bar 3 at 104 (102.96). B: short, sold in bar 4 at 100 (99), bought back in bar 6 at 95 (95.95). C: long,
# bought in bar 8 at 97 (97.97), cut off by the end of the frame at the open of the bar behind it, 95 (94.05).
LEDGER = (
    # close, equity at that close, how it comes about
    (100.0, 1.0),  # flat
    (101.0, 0.995),  # A: 101 / 101 - 0.005
    (105.0, 1.034603960396),  # A: 105 / 101 - 0.005
    (103.0, 1.009308910891),  # A sold: 1 + 1.96 / 101 - 0.005 * (1 + 102.96 / 101)
    (100.0, 0.994067326833),  # B: 1.009308910891 * (2 - 100 / 99 - 0.005)
    (98.0, 1.014457405841),  # B: 1.009308910891 * (2 - 98 / 99 - 0.005)
    (99.0, 1.030466166622),  # B bought back: 1.009308910891 * (1 + 3.05 / 99 - 0.005 * (1 + 95.95 / 99))
    (96.0, 1.030466166622),  # flat
    (97.0, 1.015111200475),  # C: 1.030466166622 * (97 / 97.97 - 0.005)
    (95.0, 0.979136392816),  # C cut off: 1.030466166622 * (1 - 3.92 / 97.97 - 0.005 * (1 + 94.05 / 97.97))
)
TRADES = ((1, 3, "long", 100.0, 104.0), (4, 6, "short", 100.0, 95.0), (8, 10, "long", 97.0, 95.0))


def test_the_ledger_written_by_hand() -> None:
    held = positions(*TRADES, slippage=1.0, fee=0.5)
    found = marked(held, [close for close, _ in LEDGER])
    assert found.time_ms.tolist() == [T0 + at * MINUTE for at in range(11)]
    assert found.equity.tolist() == pytest.approx([1.0, *(equity for _, equity in LEDGER)], abs=1e-11)
    assert found.put_in.tolist() == pytest.approx([1.0, 1.009308910891, 1.030466166622], abs=1e-11)
    account = account_figures(found, held, cut_off=1)
    assert account["end"] == pytest.approx(0.979136392816, abs=1e-11)
    # From the mark after bar 6 to the end: 0.979136392816 / 1.034603960396 from the highest mark of all, after bar 2.
    assert account["max_drawdown"] == pytest.approx((1 - 0.979136392816 / 1.034603960396) * 100, abs=1e-9)
    assert account["drawdown_days"] == pytest.approx(7 / 1440)  # from the close of bar 2 to the end
    assert account["exposure"] == pytest.approx(60.0)  # 2 + 2 + 2 of 10 minutes
    # 0.5 % of each side: 1 + 1.0194, 1.0093 * (1 + 0.9692), 1.0305 * (1 + 0.96)
    assert account["fees"] == pytest.approx(
        0.5 * (1 + 102.96 / 101 + 1.009308910891 * (1 + 95.95 / 99) + 1.030466166622 * (1 + 94.05 / 97.97)), abs=1e-9
    )
    assert account["positions"] == 3
    assert account["cut_off"] == 1


def test_slippage_and_fee_are_read_off_what_was_booked() -> None:
    held = positions(*TRADES, slippage=1.0, fee=0.5)
    assert held.entry.tolist() == pytest.approx([101.0, 99.0, 97.97], abs=1e-11)
    assert held.entry_fee.tolist() == pytest.approx([0.005] * 3, abs=1e-14)


def test_two_positions_that_end_in_one_bar_are_both_in_the_drawdown() -> None:
    held = positions((0, 1, "long", 100.0, 80.0), (1, 1, "long", 80.0, 104.0))
    found = marked(held, [100.0, 104.0, 104.0])
    assert found.equity.tolist() == pytest.approx([1.0, 1.0, 1.04, 1.04])
    account, no_trades = account_figures(found, held), pd.DataFrame({"closed_at": pd.DatetimeIndex([])})
    assert account["max_drawdown"] == pytest.approx(20.0)
    table = drawdowns_of(found, 5)
    assert table["drawdown"].tolist() == pytest.approx([20.0])
    assert table["days"].max() == pytest.approx(account["drawdown_days"])
    assert table["recovered"].notna().all()
    assert calendar_of(found, no_trades, "day")["max_drawdown"].tolist() == pytest.approx([20.0])


def test_a_position_of_the_last_moment_is_booked() -> None:
    held = positions((2, 4, "long", 100.0, 110.0), (10, 11, "short", 100.0, 101.0), slippage=0.1, fee=1.0)
    found = marked(held, [100.0] * 10)
    left = float(np.prod(1 + held.net / 100))
    assert found.equity[-1] == found.path[-1] == found.after[-1] == pytest.approx(left)
    assert account_figures(found, held)["total_return"] == pytest.approx(100 * (left - 1))


def test_vwap_books_what_it_opens_at_the_last_moment() -> None:
    last = T0 + 60 * MINUTE

    def at_the_end(ctx: Any) -> bknb.Signal | None:
        if ctx.when_ms != last:
            return None
        return bknb.Signal(position="short", price_take_profit=90.0, price_stop_loss=110.0, minute_estimated_time=10)

    result = bknb.backtest(
        "X",
        strategy=at_the_end,
        interval="1m",
        exchange=source([100.0] * 100),
        frame=(T0 + 10 * MINUTE, last),
        execution="vwap",
        settings={"percent_fee": 1.0},
    )
    (net,) = result.trades["pnl_percentage"]
    assert result.account["total_return"] == pytest.approx(net)
    assert result.account["end"] == pytest.approx(result.stats["equity_final"])


def test_a_short_that_doubles_leaves_nothing() -> None:
    held = positions((0, 3, "short", 100.0, 150.0))
    found = marked(held, [100.0, 150.0, 201.0, 150.0])
    assert found.equity.tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])
    assert found.blown
    account = account_figures(found, held)
    assert (account["end"], account["total_return"], account["max_drawdown"]) == (0.0, -100.0, 100.0)
    assert np.isfinite(daily_marks(found)[1]).all()


def test_time_under_water_ends_when_the_high_is_reached_again() -> None:
    held = positions((0, 6, "long", 100.0, 110.0))
    found = marked(held, [100.0, 90.0, 95.0, 100.0, 105.0, 104.0, 110.0, 110.0])
    assert [
        ((fall.peak_ms - T0) // MINUTE, (fall.trough_ms - T0) // MINUTE, (fall.end_ms - T0) // MINUTE, fall.recovered)
        for fall in under_water(found)
    ] == [(1, 2, 4, True), (5, 6, 7, True)]


bars = st.lists(st.floats(50.0, 150.0), min_size=12, max_size=40)


@given(
    closes=bars,
    spans=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=8),
    sides=st.lists(st.sampled_from(["long", "short"]), min_size=8, max_size=8),
    fills=st.lists(st.floats(90.0, 110.0), min_size=16, max_size=16),
    slippage=st.sampled_from([0.0, 0.1, 1.0]),
    fee=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_equity_ends_at_the_product_and_no_trade_falls_deeper_than_the_drawdown(
    closes: list[float],
    spans: list[tuple[int, int]],
    sides: list[str],
    fills: list[float],
    slippage: float,
    fee: float,
) -> None:
    trades, at = [], 0
    for number, (wait, length) in enumerate(spans):
        begin, at = at + wait, at + wait + length
        if at > len(closes):
            break
        trades.append((begin, at, sides[number], fills[2 * number], fills[2 * number + 1]))
    trades = [trade for trade in trades if trade[0] < len(closes)]
    held = positions(*trades, slippage=slippage, fee=fee)
    found = marked(held, closes)
    account = account_figures(found, held)
    assert all(math.copysign(1, value) > 0 for value in account.values() if value == 0)
    assert {key for key, value in account.items() if value is None} == set(account.reasons)
    if found.blown:
        assert account["end"] == 0
        return
    curve = np.concatenate(([1.0], np.cumprod(1 + held.net / 100)))
    assert account["end"] == pytest.approx(curve[-1], rel=1e-12)
    assert found.after.tolist() == pytest.approx(curve[1:].tolist(), rel=1e-12)
    deepest = float(((1 - curve / np.maximum.accumulate(curve)) * 100).max())
    assert account["max_drawdown"] >= deepest - 1e-9
    assert account["max_drawdown"] >= -held.net.min(initial=0.0) - 1e-9


# -- figures of other packages ---------------------------------------------------------------------------------------


def often(ctx: Any) -> bknb.Signal | None:
    if ctx.when.hour % 8 != 1:
        return None
    side = 1 if ctx.when.day % 2 else -1
    return bknb.Signal(
        position="long" if side > 0 else "short",
        price_take_profit=ctx.price * (1 + side * 0.02),
        price_stop_loss=ctx.price * (1 - side * 0.02),
        minute_estimated_time=400,
    )


@pytest.fixture(scope="module")
def quarter() -> bknb.Result:
    return bknb.backtest(
        "BTCUSDT", strategy=often, interval="1h", exchange=bknb.exchanges.demo(), frame="2024-01-01:2024-04-01"
    )


@pytest.mark.slow
def test_ratios_are_those_of_empyrical(quarter: bknb.Result) -> None:
    import empyrical  # takes a second

    account, daily = quarter.account, quarter.returns("1D")
    assert len(daily) == 91
    assert account["sharpe"] == pytest.approx(empyrical.sharpe_ratio(daily, annualization=365), rel=1e-9)
    assert account["sortino"] == pytest.approx(empyrical.sortino_ratio(daily, annualization=365), rel=1e-9)
    assert account["volatility"] == pytest.approx(100 * empyrical.annual_volatility(daily, annualization=365), rel=1e-9)
    assert account["total_return"] == pytest.approx(100 * empyrical.cum_returns_final(daily), rel=1e-9)
    assert account["cagr"] == pytest.approx(100 * empyrical.annual_return(daily, annualization=365), rel=1e-9)
    minutes = quarter.equity.pct_change().dropna()
    assert account["max_drawdown"] == pytest.approx(-100 * empyrical.max_drawdown(minutes), rel=1e-9)


def test_ratios_are_those_of_the_formulas_of_quantstats(quarter: bknb.Result) -> None:
    account, daily = quarter.account, quarter.returns("1D")
    downside = math.sqrt((daily[daily < 0] ** 2).sum() / len(daily))
    assert account["sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * math.sqrt(365))
    assert account["sortino"] == pytest.approx(daily.mean() / downside * math.sqrt(365))
    assert account["volatility"] == pytest.approx(daily.std(ddof=1) * math.sqrt(365) * 100)
    curve = (1 + quarter.equity.pct_change().fillna(0)).cumprod()
    assert account["max_drawdown"] == pytest.approx(-100 * (curve / curve.cummax() - 1).min())
    assert account["calmar"] == pytest.approx(account["cagr"] / account["max_drawdown"])


def test_equity_of_a_run_ends_at_the_product_of_its_trades(quarter: bknb.Result) -> None:
    assert len(quarter.trades) > 200
    product = float(np.prod(1 + quarter.trades["pnl_percentage"] / 100))
    assert quarter.equity.iloc[-1] == pytest.approx(product, rel=1e-12)
    assert quarter.account["end"] == pytest.approx(product, rel=1e-12)
    assert quarter.equity.index[0] == pd.Timestamp("2024-01-01", tz="UTC")
    assert quarter.equity.index[-1] == pd.Timestamp("2024-04-01", tz="UTC")
    assert len(quarter.equity) == 91 * 1440 + 1


# -- whole runs ------------------------------------------------------------------------------------------------------


def source(path: list[float], *, volume: float = 1.0) -> Any:
    rows = [(T0 + at * MINUTE, price, price, price, price, volume) for at, price in enumerate(path)]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        first = max((since - T0) // MINUTE, 0)
        return rows[first : max((since - T0) // MINUTE + limit, 0)]

    return get_candles


@pytest.mark.slow
def test_trades_in_a_corner_of_the_frame_are_annualised_over_the_frame() -> None:
    days = 360
    path = np.full((days + 2) * 1440, 100.0)
    path[::97] = 100.9
    rows = pd.DataFrame(
        {"open": 100.0, "high": path, "low": 100.0, "close": 100.0, "volume": 1.0},
        index=pd.to_datetime(T0 + np.arange(len(path)) * MINUTE, unit="ms", utc=True),
    )

    def early(ctx: Any) -> bknb.Signal | None:
        day = (ctx.when_ms - T0) // DAY
        if not (100 <= day < 116 and day % 4 != 3):
            return None
        target = 100.85 if day % 3 else 100.95
        return bknb.Signal(position="long", price_take_profit=target, price_stop_loss=95.0, minute_estimated_time=600)

    exchange = bknb.exchanges.from_frame(rows)
    result = bknb.backtest("X", strategy=early, interval="1d", exchange=exchange, frame=(T0 + DAY, T0 + days * DAY))
    assert len(result.trades) == 12
    account, span = result.account, (result.end - result.start) / DAY
    end = float(np.prod(1 + result.trades["pnl_percentage"] / 100))
    assert account["frame_days"] == span == days - 1
    assert account["cagr"] == pytest.approx((end ** (365 / span) - 1) * 100)
    daily = result.returns("1D")
    assert len(daily) == span
    assert account["sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * math.sqrt(365))
    assert account["sharpe"] < 3 < result.stats["annualized_sharpe_ratio"]  # the recorded figure knows 16 days


def test_a_gain_that_melts_inside_a_trade_is_a_drawdown() -> None:
    up = [100 + 19 * at / 300 for at in range(300)]
    path = [100.0] * 60 + up + [219 - price for price in up] + [100.0] * 300

    def once(ctx: Any) -> bknb.Signal | None:
        if ctx.when_ms != T0 + 50 * MINUTE:
            return None
        return bknb.Signal(position="long", price_take_profit=120.0, price_stop_loss=90.0, minute_estimated_time=700)

    result = bknb.backtest(
        "X", strategy=once, interval="1m", exchange=source(path), frame=(T0 + 10 * MINUTE, T0 + 840 * MINUTE)
    )
    entry = 100 * 1.001
    high = max(path[51:751]) / entry - 0.001
    assert result.account["max_drawdown"] == pytest.approx((1 - result.account["end"] / high) * 100, abs=0.2)
    assert result.account["max_drawdown"] > 15.5
    assert result.stats["max_drawdown"] < 1  # the recorded figure knows exits and troughs


def test_an_hour_is_no_zero_days() -> None:
    result = bknb.backtest(
        "X",
        strategy=lambda: None,
        interval="1m",
        exchange=source([100.0] * 90),
        frame=(T0 + 20 * MINUTE, T0 + 80 * MINUTE),
    )
    assert result.account.reasons["sharpe"] == "the frame has 60 min, at least 14 days are needed"


def test_an_unknown_figure_of_the_account_names_those_that_are_known() -> None:
    result = bknb.backtest(
        "X",
        strategy=lambda: None,
        interval="1m",
        exchange=source([100.0] * 90),
        frame=(T0 + 20 * MINUTE, T0 + 80 * MINUTE),
    )
    with pytest.raises(KeyError, match=r"no figure is called 'sharp'.*known: start, end, total_return, .*frame_days"):
        result.account["sharp"]


def test_a_deadline_in_closed_hours_is_no_cut_off_though_it_is_filled_behind_the_frame() -> None:
    """What ``cut_off`` counts is what ``leave_out`` leaves out."""
    hours = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-17:00"})
    times = np.array([T0 + day * DAY + minute * MINUTE for day in range(3) for minute in range(540, 1020)])
    candles = bknb.Candles.from_columns(
        timestamp=times, **{name: np.full(len(times), 100.0) for name in ("open", "high", "low", "close", "volume")}
    )

    def once(ctx: Any) -> bknb.Signal | None:
        if ctx.when_ms != T0 + DAY + 1000 * MINUTE:
            return None
        return bknb.Signal(position="long", price_take_profit=120.0, price_stop_loss=90.0, minute_estimated_time=60)

    result = bknb.backtest(
        "X", strategy=once, interval="1m", exchange=bknb.exchanges.from_frame(candles, name="x", sessions=hours),
        frame=(T0 + 600 * MINUTE, T0 + DAY + 1200 * MINUTE),
    )  # fmt: skip
    (trade,) = result.trades.to_dict("records")
    assert (trade["close_reason"], int(trade["closed_at"].timestamp() * 1000)) == (
        "time_expired",
        T0 + 2 * DAY + 540 * MINUTE,
    )
    assert result.account["cut_off"] == 0
    assert result.statistics(leave_out=["frame_end", "data_end"])["n"] == 1


def test_what_the_end_of_the_frame_cuts_off_is_in_every_headline() -> None:
    path = [100.0] * 30 + [100 - at / 100 for at in range(40)] + [99.0] * 100

    def holds(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(position="long", price_take_profit=120.0, price_stop_loss=90.0, minute_estimated_time=700)

    result = bknb.backtest(
        "X", strategy=holds, interval="1m", exchange=source(path), frame=(T0 + 20 * MINUTE, T0 + 90 * MINUTE)
    )
    (trade,) = result.trades.to_dict("records")
    assert trade["close_reason"] == "frame_end"
    assert result.account["total_return"] == pytest.approx(trade["pnl_percentage"])
    assert result.equity.index[-1] == pd.Timestamp(T0 + 90 * MINUTE, unit="ms", tz="UTC")
    assert result.account["cut_off"] == 1
    for text in (repr(result), result.report(), result._repr_html_()):
        assert re.search(r"(?i)cut off.*1.*in every figure", text)
    view = result.statistics(leave_out=["frame_end"])
    assert result.statistics(leave_out="frame_end") == view
    assert repr(result.statistics(leave_out="frame_end")) == repr(view)
    for wrong in ("frame", ["frame_end", "nope"], [None]):
        with pytest.raises(bknb.UnknownName, match="close reason"):
            result.statistics(leave_out=wrong)
    assert repr(view).startswith("Statistics of 0 selected trades, without frame_end")
    assert "selected" in view._repr_html_()
    assert "selected" not in repr(result.stats)


def test_a_position_that_is_open_when_the_run_stops_is_marked() -> None:
    path = [100.0] * 30 + [100 + at / 100 for at in range(3000)]
    known = threading.Event()

    def buys() -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=150.0, price_stop_loss=90.0, minute_estimated_time=1400)

    def stops(event: Any) -> None:
        known.wait(10)
        task.stop(now=True)

    bknb.add_strategy("stopped", interval="1m", get_signal=buys, callbacks={"on_open": stops})
    task = bknb.Backtest.background(
        "X", strategy="stopped", exchange=source(path), frame=(T0 + 20 * MINUTE, T0 + 3000 * MINUTE)
    )
    known.set()
    result = task.result()
    assert result.stopped
    assert not len(result.trades)
    assert [event.action for event in result.events] == ["opened"]
    assert result.account["positions"] == result.account["cut_off"] == 1
    assert result.account["frame_days"] < 1
    last = result.equity.index[-1] - pd.Timedelta("1min")
    close = result.candles.to_pandas()["close"].loc[last]
    (entry,) = [event.signal.price_open for event in result.events]
    assert result.equity.iloc[-1] == pytest.approx(close / (entry * 1.001) - 0.001)


def stopped_in_a_position(*, stop_minute: int = 20, wins_before: bool = False) -> bknb.Result:
    """A run that is stopped with an open position, bought at 100 and worth 125 at the end."""
    path = [100.0] * 30 + [100 + at / 100 for at in range(3000)]
    known = threading.Event()

    def buys(ctx: Any) -> bknb.Signal:
        first = wins_before and ctx.when_ms <= T0 + stop_minute * MINUTE
        target = ctx.price * 1.01 if first else 150.0
        return bknb.Signal(position="long", price_take_profit=target, price_stop_loss=90.0, minute_estimated_time=1400)

    def stops(event: Any) -> None:
        known.wait(10)
        if not wins_before or len(task.trades_so_far):
            task.stop(now=True)

    bknb.add_strategy("stopped", interval="1m", get_signal=buys, callbacks={"on_open": stops})
    task = bknb.Backtest.background(
        "X", strategy="stopped", exchange=source(path), frame=(T0 + stop_minute * MINUTE, T0 + 3000 * MINUTE)
    )
    known.set()
    return task.result()


def test_an_open_position_has_paid_the_costs_of_its_entry() -> None:
    account = stopped_in_a_position().account
    assert account["cut_off"] == account["positions"] == 1
    assert account["fees"] == pytest.approx(0.1)
    assert account["slippage"] == pytest.approx(0.1 / 1.001)
    assert "of an open position, that of its entry" in account.explain("fees")
    short = StillOpen(
        OpenSignal(
            id="a",
            symbol="X",
            strategy="s",
            exchange="e",
            note="",
            position="short",
            price_open=200.0,
            price_take_profit=100.0,
            price_stop_loss=300.0,
            minute_estimated_time=9,
            scheduled_at=T0,
            pending_at=T0,
        ),
        slippage=1.0,
        fee=0.5,
    )
    alone = trade_pnl("short", 200.0, 200.0, slippage=1.0, fee=0.0)
    assert short.entry_slippage == pytest.approx(100 / 99)
    assert short.entry_slippage == pytest.approx(alone.slippage_percentage / 2)
    assert short.worth(200.0) == pytest.approx(1 - short.entry_slippage / 100 - 0.005)
    assert short.worth(1000.0) == 0.0


@pytest.mark.parametrize("wins_before", [False, True])
def test_panels_of_a_running_run_say_what_the_account_says(*, wins_before: bool) -> None:
    result = stopped_in_a_position(wins_before=wins_before)
    assert len(result.trades) == wins_before
    assert result.account["cut_off"] == 1
    running = RunView("X", "stopped", start_ms=result.start, end_ms=result.end)
    running.take_all(result.events)
    running.set_terms(result.account_terms)
    running.set_candles(result.candles)
    over = bknb.dashboard(result)._views.view
    assert over is not None
    for view in (running, over):
        rows = {row[0]: row[2] for row in dashboard_panels.statistics_panel(view)}
        assert {key: rows[key] for key in result.account} == {key: result.account.text(key) for key in result.account}
        panel = dashboard_panels.equity_panel(view)
        assert panel["equity"][-1] == pytest.approx(result.account["total_return"])
        assert -panel["drawdown"].min() == pytest.approx(result.account["max_drawdown"])
        assert percent_text(result.account["total_return"]) in dashboard_panels.status_panel(view, 0.0)["text"]
        assert dashboard_panels.equity_info(view).equity[-1] == pytest.approx(result.account["end"])
    assert dashboard_panels.equity_info(running).time_ms.tolist() == result.marked.time_ms.tolist()


def test_a_tick_of_an_open_position_changes_its_panels() -> None:
    (opened,) = stopped_in_a_position().events
    view = RunView("X", "stopped", mode="live")
    about = {"symbol": "X", "strategy": "stopped", "exchange": "e", "frame": None, "mode": "live"}
    before = dict(view.version)
    view.take(opened)
    assert view.version["equity"] > before["equity"]
    before = dict(view.version)
    later = opened.signal.pending_at + 5 * MINUTE
    view.take(Active(**about, when=later, price=110.0, signal=opened.signal, percent_tp=1.0, percent_sl=0.0))
    assert view.version["equity"] > before["equity"]
    assert view.version["statistics"] > before["statistics"]
    assert "▲ +10.00 %" in dashboard_panels.status_panel(view, 0.0)["text"]
    assert dashboard_panels.equity_panel(view)["equity"][-1] == pytest.approx(10.0)


def test_a_mark_at_midnight_ends_the_day_before() -> None:
    at_night = 1440 - 1  # the bar that closes at midnight
    closes = [100.0] * 3000
    closes[at_night:] = [110.0] * (3000 - at_night)
    held = positions((1000, 2000, "long", 100.0, 110.0))
    found = marked(held, closes)
    assert daily_marks(found)[1].tolist() == pytest.approx([0.1, 0.0, 0.0])


def test_a_run_without_a_position_says_so_everywhere() -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, exchange=bknb.exchanges.demo(), frame="2024-01-01:2024-02-01"
    )
    account = result.account
    assert (account["total_return"], account["max_drawdown"], account["exposure"]) == (0.0, 0.0, 0.0)
    assert account["sharpe"] is account["calmar"] is None
    assert account.reasons["sharpe"] == account.reasons["calmar"] == "no position was held"
    assert "Sharpe ratio         N/A: no position was held" in repr(account)


@pytest.mark.parametrize("frame", ["2024-01-01:2024-01-05", "2024-01-01:2024-02-01"])
def test_nothing_is_missing_without_a_reason_and_no_zero_is_negative(frame: str) -> None:
    def rarely(ctx: Any) -> bknb.Signal | None:
        return often(ctx) if ctx.when.day in (2, 3) else None

    result = bknb.backtest("BTCUSDT", strategy=rarely, interval="1h", exchange=bknb.exchanges.demo(), frame=frame)
    assert {key for key, value in result.account.items() if value is None} == set(result.account.reasons)
    from bknb.reports.dashboard_panels import statistics_panel

    dashboard = bknb.dashboard(result)
    (view,) = dashboard._views.views.values()
    panel = "\n".join(" ".join(row) for row in statistics_panel(view))
    head = result.report().partition("## What the figures mean")[0]
    html = re.sub(r'title="[^"]*"', "", str(result._repr_html_()))
    for text in (repr(result), head, html, repr(result.account), panel):
        assert not re.search(r"-0(\.0+)?(?![\d.])", re.sub(r"\d{4}-\d\d-\d\d|-0\.\d*[1-9]", "", text))
        assert not re.search(r"(?i)n/a(?!: \w)", text)


def test_figures_name_formula_and_source(quarter: bknb.Result) -> None:
    assert list(quarter.account) == list(ACCOUNT_DEFINITIONS)
    text = quarter.account.explain("sharpe")
    assert "sample standard deviation of D" in text
    assert "empyrical" in text


def test_an_account_is_a_mapping_that_can_be_sent(quarter: bknb.Result) -> None:
    again = pickle.loads(pickle.dumps(quarter.account))  # noqa: S301 -- what was just written
    assert isinstance(again, Account)
    assert (dict(again), again.reasons) == (dict(quarter.account), quarter.account.reasons)


def test_released_candles_leave_the_account_known(quarter: bknb.Result) -> None:
    again = bknb.Result(quarter.run_record.rebuilder()())
    assert again.account == quarter.account
    assert "_loaded" not in vars(again.run_record.candles)  # nothing was read again
    assert again.equity.equals(quarter.equity)


def test_a_market_with_sessions_has_252_days_a_year() -> None:
    times = pd.date_range("2024-01-01", "2024-03-01", freq="1min", inclusive="left", tz="UTC")
    times = times[(times.day_of_week < 5) & (times.hour >= 9) & (times.hour < 17)]
    steps = np.random.default_rng(3).normal(0, 2e-4, len(times))
    price = 100 * np.exp(np.cumsum(steps))
    rows = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=times)
    hours = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-17:00"})

    def daily(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(
            position="long",
            price_take_profit=ctx.price * 1.2,
            price_stop_loss=ctx.price * 0.9,
            minute_estimated_time=200,
        )

    exchange = bknb.exchanges.from_frame(rows, sessions=hours)
    result = bknb.backtest("X", strategy=daily, interval="1h", exchange=exchange, frame="2024-01-02:2024-02-28")
    last = result.equity.groupby(result.equity.index.floor("D")).last()
    last = last[(last.index.day_of_week < 5) & (last.index < pd.Timestamp("2024-02-28", tz="UTC"))]
    last.iloc[-1] = result.equity.iloc[-1]  # what the end of the frame cut off is booked at the midnight that ends it
    returns = last / last.shift(1, fill_value=1.0) - 1
    assert len(returns) == 41
    assert result.account["days_a_year"] == 252
    assert result.account["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(252), rel=1e-6)


@pytest.mark.slow
def test_no_figure_differs_between_one_run_at_a_time_and_eight() -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT"]
    about: dict[str, Any] = {"strategy": often, "interval": "1h", "frame": "2024-01-01:2024-02-01"}
    alone = [bknb.backtest(symbol, exchange=bknb.exchanges.demo(), **about) for symbol in symbols]
    tasks = [bknb.Backtest.background(symbol, exchange=bknb.exchanges.demo(), **about) for symbol in symbols]
    for one, task in zip(alone, tasks, strict=True):
        other = task.result()
        assert dict(one.account) == dict(other.account)
        assert one.equity.equals(other.equity)


# -- what a report counts ----------------------------------------------------------------------------------------------


def test_an_entry_beyond_its_own_level_is_counted() -> None:
    path = [100.0] * 51 + [80.0] * 60  # the open after the decision lies beyond the stop

    def once(ctx: Any) -> bknb.Signal | None:
        if ctx.when_ms != T0 + 51 * MINUTE:
            return None
        return bknb.Signal(position="long", price_take_profit=120.0, price_stop_loss=90.0, minute_estimated_time=30)

    result = bknb.backtest(
        "X", strategy=once, interval="1m", exchange=source(path), frame=(T0 + 20 * MINUTE, T0 + 100 * MINUTE)
    )
    (trade,) = result.trades.to_dict("records")
    assert (trade["price_open"], trade["price_close"], trade["gross_percentage"]) == (80.0, 80.0, 0.0)
    for text in (repr(result), result._repr_html_()):
        assert "1 entry filled at or beyond a level of their own" in text
    assert "**Entries at or beyond a level of their own:** 1" in result.report()


@pytest.mark.parametrize(("execution", "said"), [("touch", True), ("vwap", True), ("pessimistic", False)])
def test_a_model_that_fails_the_law_says_so(execution: Any, said: bool) -> None:  # noqa: FBT001
    result = bknb.backtest(
        "BTCUSDT",
        strategy=lambda: None,
        exchange=bknb.exchanges.demo(),
        frame="2024-01-01:2024-01-02",
        execution=execution,
    )
    for text in (repr(result), result.report(), result._repr_html_()):
        assert ("can earn with it on a random walk by design" in text) == said


@pytest.mark.parametrize(("volume", "said"), [(0.0, True), (1.0, False)])
def test_candles_without_any_volume_are_told(volume: float, said: bool) -> None:  # noqa: FBT001
    result = bknb.backtest(
        "X",
        strategy=lambda: None,
        exchange=source([100.0] * 100, volume=volume),
        frame=(T0 + 20 * MINUTE, T0 + 90 * MINUTE),
    )
    for text in (repr(result), result.report(), result._repr_html_()):
        assert ("no volume at all" in text) == said


# -- periods -----------------------------------------------------------------------------------------------------------


def test_returns_of_all_periods_compound_to_the_same(quarter: bknb.Result) -> None:
    for freq, count in (("1D", 91), ("1h", 91 * 24), ("7D", 13)):
        returns = quarter.returns(freq)
        assert len(returns) == count
        assert returns.index[0] == pd.Timestamp("2024-01-01", tz="UTC")
        assert float((1 + returns).prod()) == pytest.approx(quarter.account["end"], rel=1e-9)
    days, values = daily_marks(quarter.marked)
    assert quarter.returns().tolist() == pytest.approx(values.tolist(), abs=1e-15)
    assert days[0] == T0
    with pytest.raises(bknb.UsageError, match="frequency"):
        quarter.returns("fortnightly")


def test_a_closed_market_has_no_row_in_the_calendar() -> None:
    saturday = np.array([int(pd.Timestamp("2024-03-02 10:00").value // 10**6)])
    none, one = np.empty(0), np.ones(1)
    marked = MarkedEquity(
        time_ms=saturday, equity=one, bar_closed=np.zeros(1, bool), path_time_ms=saturday, path=one, put_in=none,
        after=none, blown=False,
    )  # fmt: skip
    table = calendar_of(marked, pd.DataFrame({"closed_at": pd.DatetimeIndex([])}), "day", sessions=True)
    assert table.empty
    assert list(table.columns) == ["return", "max_drawdown", "positions"]


def test_the_calendar_has_a_row_for_each_month(quarter: bknb.Result) -> None:
    table = quarter.calendar("month")
    assert [str(month) for month in table.index] == ["2024-01", "2024-02", "2024-03"]
    assert float((1 + table["return"] / 100).prod()) == pytest.approx(quarter.account["end"])
    assert table["positions"].sum() == len(quarter.trades)
    assert table["max_drawdown"].max() <= quarter.account["max_drawdown"] + 1e-9
    assert len(quarter.calendar("week")) == 13
    with pytest.raises(bknb.UsageError, match="'quarter'"):
        quarter.calendar("decade")  # type: ignore[arg-type]


def test_the_deepest_drawdown_is_the_first(quarter: bknb.Result) -> None:
    table = quarter.drawdowns(3)
    assert table["drawdown"].is_monotonic_decreasing
    assert table["drawdown"].iloc[0] == pytest.approx(quarter.account["max_drawdown"])
    assert table["days"].max() == pytest.approx(quarter.account["drawdown_days"])
    with pytest.raises(bknb.UsageError, match="n of drawdowns\\(\\) must be a whole number of at least 1, got 0"):
        quarter.drawdowns(0)


def rises(bars: int, start: int) -> MarkedEquity:
    """A long that is held from the first bar of a frame to its end, 0.01 % higher after each bar."""
    held = positions((start, start + bars, "long", 100.0, 100.0 * 1.0001**bars))
    closes = 100.0 * 1.0001 ** np.maximum(np.arange(1 - start, bars + 1), 0)
    times = T0 + np.arange(len(closes), dtype=np.int64) * MINUTE
    return mark(held, times, closes, start=T0 + start * MINUTE, end=T0 + (start + bars) * MINUTE)


@pytest.mark.parametrize("freq", ["1D", "4D", "1h", "7min", "W", "W-MON", "2W", "ME", "MS", "QS", "YE", "B"])
@pytest.mark.parametrize("start", [0, 10, 1439])
@pytest.mark.parametrize("bars", [1, 5, 1430, 1440, 2000])
def test_returns_of_every_period_compound_to_the_end_of_the_account(freq: str, start: int, bars: int) -> None:
    found = rises(bars, start)
    returns = returns_of(found, freq)
    assert float((1 + returns).prod()) == pytest.approx(float(found.equity[-1] / found.equity[0]), rel=1e-9)
    assert (returns > 0).all()  # the frame touches every one of them
    assert returns.index[0] <= pd.Timestamp(found.time_ms[0], unit="ms", tz="UTC")
    assert returns.index[-1] < pd.Timestamp(found.time_ms[-1], unit="ms", tz="UTC")


@pytest.mark.parametrize(
    ("freq", "beginnings"),
    [
        ("W", ["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-22", "2024-01-29"]),
        ("W-MON", ["2023-12-26", "2024-01-02", "2024-01-09", "2024-01-16", "2024-01-23", "2024-01-30"]),
        ("ME", ["2024-01-01", "2024-02-01"]),
        ("MS", ["2024-01-01", "2024-02-01"]),
        ("QE", ["2024-01-01"]),
        ("2W", ["2024-01-01", "2024-01-15", "2024-01-29"]),
        (pd.offsets.BusinessMonthEnd(), ["2023-12-30", "2024-02-01"]),
        (pd.DateOffset(days=31), ["2024-01-01", "2024-02-01"]),
        (timedelta(days=31), ["2024-01-01", "2024-02-01"]),
        ("14D", ["2024-01-01", "2024-01-15", "2024-01-29"]),
    ],
)
def test_labels_are_beginnings_and_the_last_minute_is_of_its_own_period(freq: Any, beginnings: list[str]) -> None:
    found = rises(33 * 1440, 0)
    equity = found.equity.copy()
    equity[1:] = 1.0 + np.arange(len(equity) - 1) // 1440  # one more each day, from its first bar on
    returns = returns_of(dataclasses.replace(found, equity=equity), freq)
    assert [label.strftime("%Y-%m-%d") for label in returns.index] == beginnings
    edges = [max(int((label - returns.index[0]).days), 0) for label in returns.index[1:]]
    offset = (pd.Timestamp("2024-01-01", tz="UTC") - returns.index[0]).days
    last_days = [edge - offset for edge in edges] + [33]
    assert np.cumprod(1 + returns.to_numpy()).tolist() == pytest.approx(last_days)


@pytest.mark.parametrize("freq", [None, 5, "", "xx", "0D", "30s", "1us", "-1D", "-1W", ["1D"]])
def test_what_is_no_period_is_refused(freq: Any) -> None:
    with pytest.raises(bknb.UsageError, match="frequency"):
        returns_of(rises(5, 0), freq)


def test_days_of_a_market_with_sessions_are_those_with_a_bar() -> None:
    # Friday and Monday, an hour each; what is held at the end is sold on the Tuesday, and booked on the Sunday before.
    times = pd.date_range("2024-01-01", "2024-02-01", freq="1min", inclusive="left", tz="UTC")
    times = times[(times.day_of_week < 5) & (times.hour == 9)]
    price = 100 + np.arange(len(times)) / 10
    rows = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=times)
    exchange = bknb.exchanges.from_frame(rows, sessions=bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-10:00"}))

    def holds() -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=1000.0, price_stop_loss=1.0, minute_estimated_time=1_000_000
        )

    for end in ("2024-01-28", "2024-01-29", "2024-01-27 12:00", "2024-01-26 09:30"):
        result = bknb.backtest("X", strategy=holds, interval="1h", exchange=exchange, frame=("2024-01-02 09:10", end))
        returns = result.returns("1D")
        assert len(returns) == 19  # 2 to 26 January without Saturdays and Sundays
        assert (returns.index.day_of_week < 5).all()
        assert float((1 + returns).prod()) == pytest.approx(result.account["end"])
        expected = returns.mean() / returns.std(ddof=1) * math.sqrt(252)
        assert result.account["sharpe"] == pytest.approx(expected)
        for freq in ("1h", "W", "ME", "B"):
            assert float((1 + result.returns(freq)).prod()) == pytest.approx(result.account["end"])
        assert len(result.returns("1h")) == 19


@pytest.mark.slow
def test_time_in_which_a_market_is_closed_changes_no_figure() -> None:
    times = pd.date_range("2024-01-01", "2024-03-15", freq="1min", inclusive="left", tz="UTC")
    times = times[(times.day_of_week < 5) & (times.hour >= 9) & (times.hour < 11)]
    price = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 5e-4, len(times))))
    rows = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=times)
    hours = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-11:00"})
    exchange = bknb.exchanges.from_frame(rows, sessions=hours)

    def holds(ctx: Any) -> bknb.Signal:
        return bknb.Signal(
            position="long",
            price_take_profit=ctx.price * 1.012,
            price_stop_loss=ctx.price * 0.99,
            minute_estimated_time=1_000_000,
        )

    def run(start: str, end: str) -> bknb.Result:
        return bknb.backtest("X", strategy=holds, interval="1h", exchange=exchange, frame=(start, end))

    narrow = run("2024-01-08 09:00", "2024-03-08 11:00")  # Monday to Friday
    assert len(narrow.trades) > 5
    first, last = (pd.Timestamp(text, tz="UTC") for text in ("2024-01-08 09:00", "2024-03-08 11:00"))
    for start, end in (
        ("2024-01-08 09:00", "2024-03-09"),
        ("2024-01-08 09:00", "2024-03-11"),
        ("2024-01-06", "2024-03-10 17:00"),
        ("2024-01-05 12:00", "2024-03-11 08:59"),
    ):
        wide = run(start, end)
        assert wide.account == narrow.account
        assert wide.account["frame_days"] == (last - first) / pd.Timedelta("1D")
        assert (wide.equity.index[0], wide.equity.index[-1]) == (first, last)
        assert wide.returns("1D").equals(narrow.returns("1D"))
        for period in ("day", "week", "month"):
            assert wide.calendar(period).equals(narrow.calendar(period))
        assert wide.drawdowns(20).equals(narrow.drawdowns(20))
        assert [row[2] for row in dashboard_panels.statistics_panel(view_of(wide))] == [
            row[2] for row in dashboard_panels.statistics_panel(view_of(narrow))
        ]
    days = narrow.calendar("day")
    assert len(days) == len(narrow.returns("1D")) == 45
    assert (days.index.day_of_week < 5).all()
    assert (days["return"] / 100).to_numpy() == pytest.approx(narrow.returns("1D").to_numpy())
    assert days["positions"].sum() == len(narrow.trades)


def view_of(result: bknb.Result) -> RunView:
    view = bknb.dashboard(result)._views.view
    assert view is not None
    return view


# -- pooled trades -----------------------------------------------------------------------------------------------------


def test_pooled_trades_are_not_called_a_portfolio() -> None:
    results = np.random.default_rng(5).normal(0.5, 3, 50)
    trades = [
        {"symbol": symbol, "pending_at": T0 + at * 6 * DAY, "closed_at": T0 + at * 6 * DAY + 3_600_000}
        | {"pnl_percentage": float(result)}
        for at, result in enumerate(results)
        for symbol in ("A", "B")
    ]
    heat = bknb.heat_statistics(trades)
    for text in (repr(heat), heat._repr_html_()):
        assert "Pooled trades: maximum drawdown" in text
        assert "not a portfolio" in text
        assert "combine result.equity" in text
        assert "Portfolio " not in text


def test_equity_curves_of_equal_symbols_combine_to_the_same_account(quarter: bknb.Result) -> None:
    combined = pd.concat([quarter.equity] * 5, axis=1).mean(axis=1)
    falls = (1 - combined / combined.cummax()).max() * 100
    assert falls == pytest.approx(quarter.account["max_drawdown"])
