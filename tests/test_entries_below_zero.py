"""Positions that are opened at or below zero: results are in points, as there is no percentage of such an entry."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bknb
from bknb.domain.pnl import breakeven_price, net_points
from bknb.domain.position_fills import Fill
from bknb.domain.profit_of_partial_closes import cost_percentage, largest_cost, net_results, result
from bknb.domain.tick_grid import on_grid
from bknb.exchanges import from_frame
from bknb.jupyter.dashboard import static_html
from bknb.metrics.reasons import BELOW_ZERO, PEAKS_IN_PERCENT, POOLED_POINTS
from bknb.metrics.why_figure_is_missing import explained_text
from bknb.reports import dashboard_panels
from bknb.reports.dashboard_panels import PANELS
from bknb.reports.equity_arrays import equity_info
from bknb.reports.equity_png import equity_png
from bknb.reports.heat_info import heat_info
from bknb.reports.plots import figure_json
from bknb.reports.portfolio_panels import panel_html
from bknb.research.bootstrap import bootstrap
from tests.test_negative_prices import BEGIN, FALL, FREE, managed, minutes, run

# West Texas Intermediate, May 2020, on 20 April 2020: 10.01 at noon in New York, 0.01 at 14:08, settled at -37.63 at
# 14:30 after -40.32, and -13.10 in the evening
WTI = [10.01] * 6 + [4.0, 0.01, -0.01, -8.0, -25.0, -40.32, -37.63, -37.63, -30.0, -20.0, -13.1, -13.1, -13.1, -13.1]
# day-ahead power of a sunny and windy Sunday, EUR per MWh, an hour a bar
POWER = [12.0, 3.2, 0.0, -0.1, -5.0, -20.0, -60.0, -83.9, -129.96, -80.0, -30.0, -0.05, 0.0, 4.0, 31.0, 55.0]


def opened(result: Any) -> list[tuple[str, float, float, float]]:
    """Why positions ended, where they were opened and closed, and what they brought in points."""
    return [
        (event.close_reason, event.signal.price_open, event.price_close, points)
        for event, points in zip(result.run_record.records.closed, result.trades["points"].tolist(), strict=True)
    ]


# --- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "signal", "expected"),
    [
        # asked when the minute before has closed; the market order fills at the open, which is that close
        (12, {"position": "long", "minute_estimated_time": 5}, ("time_expired", -40.32, -13.1, 27.22)),
        (8, {"position": "short", "minute_estimated_time": 5}, ("time_expired", 0.01, -37.63, 37.64)),
        (9, {"position": "short", "minute_estimated_time": 4}, ("time_expired", -0.01, -37.63, 37.62)),
        (9, {"position": "long", "price_stop_loss": -9.0, "price_take_profit": 5.0}, ("stop_loss", -0.01, -9.0, -8.99)),
        # a limit below the market at -8, which falls to -25 within the next minute
        (10, {"position": "long", "price_open": -20.0, "price_stop_loss": -45.0, "price_take_profit": -15.0},
         ("take_profit", -20.0, -15.0, 5.0)),
        # a stop entry of a short below the market, out where it lies 2 above the best, -40.32
        (10, {"position": "short", "price_open": -10.0, "entry": "stop", "trailing": bknb.Trailing(distance=2.0)},
         ("trailing_stop", -10.0, -38.32, 28.32)),
        # a tenth of the size of the best price
        (10, {"position": "short", "trailing": bknb.Trailing(percent=10.0)}, ("trailing_stop", -8.0, -36.288, 28.288)),
        # half at -30, half at -13.1
        (13, {"position": "long", "price_take_profit": [(-31.0, 0.5)], "minute_estimated_time": 4},
         ("time_expired", -37.63, -13.1, 0.5 * 6.63 + 0.5 * 24.53)),
        # it has moved by half of the size of its entry, 18.8, at -56.4; it never does
        (13, {"position": "short", "breakeven": bknb.Breakeven(after=50.0, plus=""), "minute_estimated_time": 4},
         ("time_expired", -37.63, -13.1, -24.53)),
        # by a tenth, 3.8, it has at -41.4; by 7 % at -40.27, of an entry at -37.63
        (15, {"position": "long", "breakeven": bknb.Breakeven(after=50.0, plus=""), "minute_estimated_time": 3},
         ("time_expired", -30.0, -13.1, 16.9)),
    ],
)  # fmt: skip
def test_oil_of_april_2020_by_hand(at: int, signal: dict[str, Any], expected: tuple[str, float, float, float]) -> None:
    result = run(WTI, lambda ctx: bknb.Signal(**signal) if ctx.when.minute == at else None, count=99)
    [(reason, entry, leaves, points)] = opened(result)
    assert (reason, entry, leaves, points) == (
        expected[0], expected[1], pytest.approx(expected[2], abs=1e-9), pytest.approx(expected[3], abs=1e-9)
    )  # fmt: skip
    assert math.isnan(result.trades["pnl_percentage"].iloc[0]) == (entry <= 0)


def test_hours_of_power_by_hand() -> None:
    close = np.array(POWER)
    opens = np.concatenate([close[:1], close[:-1]])
    table = pd.DataFrame(
        {"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close,
         "volume": 1.0},
        index=pd.date_range("2024-05-12", periods=len(close), freq="h", tz="UTC", name="time"),
    )  # fmt: skip
    result = bknb.backtest(
        "DE",
        # bought at or below zero, held for two hours
        strategy=lambda ctx: bknb.Signal(position="long", minute_estimated_time=120) if ctx.price <= 0 else None,
        interval="1h",
        exchange=from_frame(table, negative=True),
        frame=("2024-05-12 02:00", "2024-05-12 15:00"),
        settings=FREE,
    )
    assert opened(result) == [
        ("time_expired", 0.0, -5.0, pytest.approx(-5.0)),
        ("time_expired", -5.0, -60.0, pytest.approx(-55.0)),
        ("time_expired", -60.0, -129.96, pytest.approx(-69.96)),
        ("time_expired", -129.96, -30.0, pytest.approx(99.96)),
        ("time_expired", -30.0, 0.0, pytest.approx(30.0)),
        ("frame_end", 0.0, 31.0, pytest.approx(31.0)),
    ]
    assert result.trades["pnl_percentage"].isna().all()
    assert result.stats["total_pnl"] == pytest.approx(31.0)


# --- what an entry there is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("price", [0.0, -20.0])
def test_distances_in_percent_do_not_apply_and_costs_of_a_target_do(price: float) -> None:
    options = {"min_stop_loss_distance_percent": 5.0, "max_stop_loss_distance_percent": 10.0,
               "min_take_profit_distance_percent": 5.0}  # fmt: skip
    near = bknb.Signal(position="long", price_stop_loss=price - 0.01, price_take_profit=price + 0.01)
    assert len(run([price] * 15, near, **options).trades) == 1
    costly = run([-20.0] * 15, bknb.Signal(position="long", price_take_profit=-19.0), percent_slippage=10.0)
    [reason] = costly.run_record.records.rejected[0].reasons
    # 18 received to buy at -20, 20.9 paid to sell at -19
    assert (reason.code, "would make -2.9 points" in reason.text) == ("take_profit_costs", True)


def test_levels_lie_on_the_right_side_of_an_entry_there() -> None:
    for signal, code in (
        ({"position": "long", "price_open": -5.0, "price_stop_loss": -4.0}, "stop_loss_side"),
        ({"position": "long", "price_open": -5.0, "price_take_profit": -6.0}, "take_profit_side"),
        ({"position": "short", "price_open": -1.0, "price_take_profit": 0.0}, "take_profit_side"),
        ({"position": "short", "price_open": float("nan")}, "finite"),
    ):
        result = run([-3.0] * 15, bknb.Signal(**signal))
        codes = [one.code for one in result.run_record.records.rejected[0].reasons]
        assert code in codes


def test_an_entry_lies_on_the_grid_away_from_the_market() -> None:
    for side, price, level in (("long", -2.2, -2.5), ("short", -2.3, -2.0), ("long", -0.1, -0.5), ("short", -0.1, 0.0)):
        assert on_grid(bknb.Signal(position=side, price_open=price), 0.5, negative=True).price_open == level


def test_an_order_for_the_close_fills_there() -> None:
    found = bknb.backtest(
        "CL",
        strategy=lambda ctx: bknb.Signal(position="long", entry="close"),
        at="10:00 UTC",
        exchange=from_frame(minutes([5.0] * 1300 + [-2.0] * 400), negative=True),
        frame=(f"{BEGIN} 06:00", "2020-04-21 02:00"),
        settings=FREE,
    )
    assert found.trades["price_open"].tolist() == [-2.0]


def test_what_begins_at_once_at_an_entry_of_zero_begins_whoever_listens() -> None:
    """Percent of an entry at 0 are reached at once, also where the minutes between are jumped over."""
    table = minutes([0.0] * 5 + [-1.0, -1.0, -1.0, -0.5, 2.0, 4.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    signal = bknb.Signal(position="long", trailing=bknb.Trailing(percent=30.0, after=10.0), minute_estimated_time=9)

    def events(execution: str, *, quiet: bool) -> list[str]:
        stop = bknb.listen_signal(lambda event: None, quiet=quiet)
        found = bknb.backtest(
            "CL",
            strategy=lambda ctx: signal if ctx.when.minute == 5 else None,
            interval="1m",
            exchange=from_frame(table, negative=True),
            frame=(BEGIN, f"{BEGIN} 00:16"),
            settings=FREE,
            execution=execution,
        )
        stop()
        records = found.run_record.records
        return [repr(event) for event in (*records.events, *records.positions)]

    for execution in ("pessimistic", "touch", "vwap"):
        assert events(execution, quiet=False) == events(execution, quiet=True)


def test_without_the_switch_nothing_is_opened_there() -> None:
    found = bknb.backtest(
        "CL",
        strategy=lambda ctx: bknb.Signal(position="long", price_open=-2.0),
        interval="5m",
        exchange=from_frame(minutes([20.0] * 15)),
        frame=(f"{BEGIN} 00:05", f"{BEGIN} 00:09"),
        settings=FREE,
    )
    assert [reason.code for reason in found.run_record.records.rejected[0].reasons] == ["positive"]


def test_adds_and_parts_of_an_entry_there_are_in_points() -> None:
    below = minutes(np.array(FALL) - 40.0)
    result = managed({8: [bknb.Add(1.0)], 10: [bknb.Reduce(0.5)], 12: [bknb.Add(0.5, price_open=-75.0)]}, below)
    [closed] = result.run_record.records.closed
    # one at -20, one at -30, half of two at -40, half at -75, the rest at -39
    told = [(fill.kind, fill.share, fill.price) for fill in closed.fills]
    assert told == [("entry", 1, -20), ("add", 1, -30), ("reduce", 1, -40), ("add", 0.5, -75), ("exit", 1.5, -39.0)]
    assert closed.pnl.points == pytest.approx(20 + 30 - 40 + 37.5 - 1.5 * 39)
    assert all(map(math.isnan, (closed.pnl.pnl_percentage, closed.peak_percentage, closed.cost_percentage)))
    assert result.account.reasons["total_return"] == BELOW_ZERO  # before that adds and places need a capital
    assert result.fills["price"].tolist() == [-20.0, -30.0, -40.0, -75.0, -39.0]
    assert result.fills["fee_percentage"].isna().all()


def test_manage_sees_points() -> None:
    seen: list[tuple[float, float | None]] = []
    below = minutes(np.array(FALL) - 40.0)

    def manage(ctx: Any, position: Any) -> None:
        seen.append((position.percent, position.points))

    bknb.add_strategy(
        "seen",
        get_signal=lambda ctx: bknb.Signal(position="short", minute_estimated_time=3) if ctx.when.minute == 5 else None,
        manage=manage,
        interval="1m",
    )
    source, frame = from_frame(below, negative=True), (f"{BEGIN} 00:03", f"{BEGIN} 00:19")
    bknb.backtest("CL", strategy="seen", exchange=source, frame=frame, settings=FREE)
    assert [points for _, points in seen] == pytest.approx(
        [0.0, 10.0 / 3]
    )  # at the average of a minute from -20 to -25, (20 + 25 + 25) / 3
    assert all(math.isnan(percent) for percent, _ in seen)
    seen.clear()
    bknb.backtest("BTCUSDT", strategy="seen", exchange="demo", frame="2024-01-01:2024-01-02")
    assert {points for _, points in seen} == {None}


# --- money --------------------------------------------------------------------------------------------------------


prices = st.floats(-100.0, 100.0).map(lambda price: round(price, 3))
costs = st.floats(0.0, 5.0)


@settings(max_examples=100, deadline=None)
@given(sign=st.sampled_from([1, -1]), entry=prices, slippage=costs, fee=costs)
def test_a_break_even_brings_nothing_at_any_price(sign: int, entry: float, slippage: float, fee: float) -> None:
    level = breakeven_price("long" if sign > 0 else "short", entry, slippage, fee)
    assert net_points([(sign, entry), (-sign, level)], slippage=slippage, fee=fee) == pytest.approx(0.0, abs=1e-9)
    assert sign * (level - entry) >= -1e-12  # costs are never a gain


def test_an_entry_at_or_below_zero_has_points_and_no_percentage() -> None:
    for first in (0.0, -20.0):
        fills = [
            Fill(number=0, kind="entry", at=0, share=1.0, price=first),
            Fill(number=1, kind="exit", at=1, share=1.0, price=5.0),
        ]
        found = result("long", fills, slippage=0.0, fee=0.0)
        assert (found.points, math.isnan(found.pnl_percentage)) == (5.0 - first, True)
        assert math.isnan(net_results("long", fills[:1], slippage=0.0, fee=0.0, rest=1.0, prices=[5.0])[0])
        assert math.isnan(cost_percentage("long", fills, 1.0, slippage=0.0))
        assert math.isnan(largest_cost(fills))
    assert result("long", [Fill(number=0, kind="entry", at=0, share=1.0, price=1.0)], slippage=0, fee=0).points is None


@pytest.mark.slow
def test_no_rule_earns_in_a_market_around_zero() -> None:
    """A random walk that crosses zero: what market orders, limits, stops and targets bring is chance, in points."""
    rng = np.random.default_rng(17)
    closes = np.cumsum(rng.integers(-1, 2, size=24_000) * 1.0)
    closes -= closes.mean()
    choices = rng.random((len(closes), 4))
    begin = pd.Timestamp(BEGIN, tz="UTC").value // 10**6

    def get_signal(ctx: Any) -> Any:
        pick = choices[(ctx.when_ms - begin) // 60_000]
        side, sign = ("long", 1) if pick[0] < 0.5 else ("short", -1)
        stop, target = 1.5 + 3 * (pick[1] > 0.5), 1.5 + 3 * (pick[2] > 0.5)
        close = float(ctx.candles("1m", 1).close[-1])
        entry = {} if pick[3] < 0.6 else {"price_open": close - sign * 1.0}
        first = close if not entry else entry["price_open"]
        return bknb.Signal(
            position=side, price_stop_loss=first - sign * stop, price_take_profit=first + sign * target, **entry
        )

    found = bknb.backtest(
        "AB",
        strategy=get_signal,
        interval="1m",
        exchange=from_frame(minutes(closes), negative=True),
        frame=(f"{BEGIN} 00:10", str(pd.Timestamp(BEGIN) + pd.Timedelta(minutes=len(closes) - 1))),
        settings=FREE,
    )
    points = found.trades["points"].to_numpy()
    assert len(points) > 700
    assert 0.2 < (found.trades["price_open"] <= 0).mean() < 0.8
    assert points.mean() / points.std() * math.sqrt(len(points)) < 3.0


@pytest.mark.parametrize(
    ("side", "rule", "kept"),
    [
        ("long", None, [-20.0, -30.0, -50.0, -77.0, -39.0]),
        # that the first lost is known at 00:09, that the second did at 00:12; the third gains
        ("long", bknb.protections.cooldown(pause="3m"), [-20.0, -30.0, -60.0, -32.0]),
        (
            "short",
            bknb.protections.cooldown(pause="3m"),
            [-20.0, -30.0, -50.0, -77.0, -39.0],
        ),  # those that are known gain
        ("long", bknb.protections.stop_guard(stops=1), [-20.0, -30.0, -50.0, -77.0, -39.0]),
        ("long", bknb.protections.daily_loss(90), [-20.0, -30.0]),
        ("short", bknb.protections.max_drawdown(90), [-20.0, -30.0]),
    ],
)
def test_protections_in_percent_refuse_what_comes_behind_an_entry_there(
    side: Any, rule: Any, kept: list[float]
) -> None:
    def get_signal(ctx: Any) -> Any:
        return bknb.Signal(position=side, minute_estimated_time=3) if ctx.when.minute > 4 else None

    bknb.add_risk("guarded", validations=[] if rule is None else [rule])
    bknb.add_strategy("guarded", get_signal=get_signal, interval="1m", risk="guarded")
    found = bknb.backtest(
        "CL",
        strategy="guarded",
        exchange=from_frame(minutes(np.array(FALL) - 40.0), negative=True),
        frame=(BEGIN, f"{BEGIN} 00:19"),
        settings=FREE,
    )
    assert found.trades["price_open"].tolist() == kept
    notes = {event.note for event in found.refused}
    if type(rule).__name__ in ("DailyLoss", "MaxDrawdown"):
        assert all("was opened at or below zero, of which there is no percentage" in note for note in notes)


# --- figures ------------------------------------------------------------------------------------------------------


def both() -> Any:
    """A run of five positions, two of which are opened below zero: -10, -20, -27, 38 and 9 points."""
    return run(FALL, lambda ctx: bknb.Signal(position="long", minute_estimated_time=3), count=99)


def test_figures_of_trades_are_in_points_and_those_that_compound_are_missing() -> None:
    stats = both().stats
    assert (stats["total_pnl"], stats["avg_win"], stats["avg_loss"]) == (-10.0, 23.5, -19.0)
    assert (stats["win_rate"], stats["profit_factor"], stats["n"], stats["dropped"]) == (
        40.0, pytest.approx(47 / 57), 5, 0
    )  # fmt: skip
    assert (stats.definitions["total_pnl"].unit, stats.definitions["win_rate"].unit) == ("points", "%")
    assert stats["equity_final"] is stats["max_drawdown"] is None
    assert f"Maximum drawdown            n/a: {BELOW_ZERO}" in repr(stats)
    assert "value     -10.0000 points" in stats.explain("total_pnl")
    again = bknb.statistics(both().trades)
    assert (dict(again), again.in_points) == (dict(stats), True)
    assert bknb.statistics(both().trades.drop(columns="points"))["dropped"] == 2
    heat = bknb.heat_statistics(both().trades)
    assert (heat["portfolio_total_pnl"], heat.definitions["portfolio_total_pnl"].unit) == (-10.0, "points")


def test_a_selection_stays_in_points() -> None:
    result = both()
    above = result.statistics(leave_out=["time_expired"])  # the last one, opened at 1.0 and cut off at 10.0
    assert (above["total_pnl"], above.in_points) == (9.0, True)


def test_trades_with_points_and_trades_with_percentages_alone_are_not_counted_together() -> None:
    """The others would be left out, whatever they lost."""
    rows = [*both().trades.to_dict("records"), {"symbol": "X", "pending_at": 0, "closed_at": 60_000}]
    rows[-1] |= {"pnl_percentage": -50.0, "pending_at": rows[0]["pending_at"], "closed_at": rows[0]["closed_at"]}
    for count in (bknb.statistics, bknb.heat_statistics):
        with pytest.raises(bknb.UsageError, match=r"2 of 6 trades were opened at or below zero.* 1 of 6 have perc"):
            count(rows)
    rows[-1]["pnl_percentage"] = None
    assert bknb.statistics(rows)["dropped"] == 1


def test_there_is_no_account_and_it_is_said_why() -> None:
    result = both()
    assert result.account["total_return"] is None
    assert result.account.text("end") == f"N/A: {BELOW_ZERO}"
    assert f"account   N/A: {BELOW_ZERO}" in repr(result)
    shown = [result.report(), str(result.account), result.account._repr_html_(), result._repr_html_()]
    for text in shown:  # said once, and what needs no account is there
        assert "14 figures of the account" in text
        assert text.count(f"N/A: {BELOW_ZERO}") <= 2
    held = result.candles.close[-1] / result.candles.open[0] - 1
    assert result.account["buy_and_hold"] == pytest.approx(100 * held) == pytest.approx(-50.0)
    assert (result.account["days_a_year"], round(result.account["frame_days"] * 1440)) == (365, 19)
    with pytest.raises(bknb.BknbError, match="a position opened at or below zero, of which there is no percentage"):
        _ = result.equity
    with pytest.raises(bknb.UsageError, match="2 of 5 trades were opened at or below zero"):
        bknb.belief(result)
    with pytest.raises(bknb.UsageError, match="2 of 5 trades were opened at or below zero"):
        bootstrap(result.trades, seed=1)


@pytest.mark.slow
def test_everything_that_shows_a_run_shows_points() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = both()
        report = result.report()
        assert "| Points | -10.00 after costs, each trade of one unit |" in report
        assert "- **Average result:** -2.00 points" in report
        assert "| +38.00 |" in report
        assert "points -10.00 after costs, each trade of one unit" in result._repr_html_()
        sheet = result.tearsheet()._repr_html_()
        assert "Trades by result, points" in sheet
        assert "\u221210.00 points in all" in sheet
        assert "19.00 points" in sheet
        assert "net +38.00 points after costs" in result.why(result.trades["signal_id"][3])
        assert "is open, -24.67 points net at this price" in str(result.at(f"{BEGIN} 00:13"))
        drawn = equity_info(result)
        assert drawn.results.tolist() == [-10.0, -20.0, -27.0, 38.0, 9.0]
        assert drawn.result_text(3) == "+38.00 points"
        assert len(figure_json(result)["data"]) > 3
        assert equity_png(result)[1:4] == b"PNG"


@pytest.mark.slow
def test_the_card_and_a_portfolio_of_a_run_in_points() -> None:
    bknb.add_exchange("oil", get_candles=lambda symbol, interval, since, limit: minutes(FALL), negative=True)
    bknb.add_strategy("below", get_signal=_always_long, interval="1m")
    options: dict[str, Any] = {"exchange": "oil", "frame": (BEGIN, f"{BEGIN} 00:19"), "settings": FREE}
    alone = bknb.backtest("CL", strategy="below", **options)
    assert alone.card.verify().same
    several = bknb.portfolio(legs=[("CL", "below")], **options)
    assert several.trades["points"].tolist() == alone.trades["points"].tolist()
    assert f"account N/A: {BELOW_ZERO}" in repr(several)
    assert "19.00 points" in several.tearsheet()._repr_html_()
    legs = str(panel_html(several.snapshot(), "legs"))
    assert ("N/A" in legs, "nan" in legs) == (True, False)
    view = bknb.dashboard(alone)._views.view
    assert view is not None
    assert dashboard_panels.equity_panel(view)["missing"] == f"equity: not available, {BELOW_ZERO}"
    assert "▲ +38.00 points" in static_html.static_html(view, PANELS)
    drawn = dashboard_panels.trades_panel(view)
    assert (drawn["unit"], drawn["pnl"].tolist()) == ("points", alone.trades["points"].tolist())
    texts = {key: text for key, _, text, _ in dashboard_panels.statistics_panel(view)}
    assert (texts["avg_pnl"], texts[""]) == ("-2.00 points", f"N/A: {BELOW_ZERO}")
    assert "total_return" not in texts


def test_figures_of_several_symbols_in_points_have_the_trades_of_all_of_them() -> None:
    """Another exchange that has no prices at or below zero beside it: its trades are in points, too."""
    oil, other = both(), bknb.backtest(
        "X", strategy=_always_long, interval="1m", exchange=from_frame(minutes([5.0] * 20 + [6.0] * 20)),
        frame=(BEGIN, f"{BEGIN} 00:30"), settings=FREE,
    )  # fmt: skip
    heat = heat_info("both", [oil, other])
    per_symbol = heat.statistics["per_symbol"]
    assert per_symbol["X"]["n"] == len(other.trades) > 0
    assert heat.statistics["portfolio_total_trades"] == len(oil.trades) + len(other.trades)
    moved = (other.trades["price_close"] - other.trades["price_open"]).sum()
    assert per_symbol["X"]["total_pnl"] == pytest.approx(moved)
    assert heat.warnings[-1] == POOLED_POINTS
    assert POOLED_POINTS not in heat_info("both", [oil]).warnings


def _always_long(ctx: Any) -> Any:
    return bknb.Signal(position="long", minute_estimated_time=3) if ctx.when.minute > 4 else None


# --- several runs beside each other -------------------------------------------------------------------------------


WAVES = np.concatenate([np.linspace(5, -7, 500), np.linspace(-7, 12, 500)]).round(2)
OPTIONS: dict[str, Any] = {"interval": "15m", "frame": (f"{BEGIN} 01:00", f"{BEGIN} 16:00"), "settings": FREE}


def rows(candles: Any, back: int = 1) -> dict[str, Any]:
    wanted = np.arange(len(candles.close)) % (back + 1) == 0
    return {
        "position": -wanted.astype(int),
        "price_take_profit": candles.close - 1.5 * back,
        "price_stop_loss": candles.close + 2.0,
        "minute_estimated_time": np.full(len(wanted), 40.0),
    }


@pytest.mark.slow
def test_a_sweep_ranks_by_figures_without_a_unit_and_says_what_it_cannot_rank_by() -> None:
    source = from_frame(minutes(WAVES), negative=True)
    swept = bknb.sweep(rows, symbol="CL", params={"back": [1, 2]}, exchange=source, **OPTIONS)
    for number, back in enumerate((1, 2)):
        alone = bknb.backtest("CL", strategy=lambda candles, back=back: rows(candles, back), exchange=source, **OPTIONS)
        for figure in ("sharpe_ratio", "profit_factor", "win_rate", "certainty_ratio", "avg_duration", "n"):
            assert swept.table[figure][number] == pytest.approx(alone.stats[figure], rel=1e-9)
        assert swept.table[["total_pnl", "avg_win", "max_drawdown"]].loc[number].isna().all()
        trades = swept.trades(number)
        assert trades["points"].tolist() == alone.trades["points"].tolist()
        assert trades["pnl_percentage"].isna().tolist() == (alone.trades["price_open"] <= 0).tolist()
    assert f"n/a: {BELOW_ZERO}" in repr(swept)
    assert "adds and places need a capital" not in repr(swept)
    assert swept.returns.shape[1] == 0
    by_sum = bknb.sweep(rows, symbol="CL", params={"back": [1, 2]}, metric="total_pnl", exchange=source, **OPTIONS)
    assert by_sum.best is None
    assert [
        text for text in by_sum.warnings if "2 of 2 combinations have no total_pnl: a position opened at or" in text
    ]


@pytest.mark.slow
def test_strategies_are_compared_by_figures_without_a_unit() -> None:
    source = from_frame(minutes(WAVES), negative=True)

    def above(candles: Any) -> dict[str, Any]:
        return {**rows(candles), "position": np.where(candles.close > 0.5, rows(candles)["position"], 0)}

    bknb.add_strategy("all", get_signals=rows, interval="15m")
    bknb.add_strategy("above", get_signals=above, interval="15m")
    options = {name: value for name, value in OPTIONS.items() if name != "interval"}
    found = bknb.walker("CL", strategies=["all", "above"], exchange=source, metric="win_rate", **options)
    assert [entry.value is not None for entry in found.entries] == [True, True]
    assert "points |" in found.report()
    by_sum = bknb.walker("CL", strategies=["all", "above"], exchange=source, metric="total_pnl", **options)
    assert [(entry.strategy, entry.value is None) for entry in by_sum.entries] == [("above", False), ("all", True)]
    [told] = [text for text in by_sum.warnings if "total_pnl" in text]
    assert told.startswith(f"all has no total_pnl: {BELOW_ZERO}; rank by sharpe_ratio")
    walked = bknb.walk_forward(
        rows, {"back": [1, 2]}, symbol="CL", exchange=source, train="4h", test="2h", metric="win_rate", **OPTIONS
    )
    assert walked.account.reasons["total_return"] == BELOW_ZERO
    assert walked.stats["total_pnl"] == pytest.approx(walked.trades["points"].sum())


# a market that begins above zero and falls below it for a while
_STEPS = np.random.default_rng(11).normal(0, 0.5, 700)
CROSSES = np.abs(np.round(np.cumsum(_STEPS), 2)) + 0.02
CROSSES[300:320] = -1.0
CROSSING: dict[str, Any] = {"frame": (f"{BEGIN} 00:30", f"{BEGIN} 11:00"), "settings": FREE}


def _above(ctx: Any, above: bool = True) -> Any:  # noqa: FBT001, FBT002 -- a parameter of a strategy
    return None if above and ctx.price <= 0.3 else bknb.Signal(position="long", minute_estimated_time=7)


def _ratios(trades: Any) -> tuple[float, float]:
    """Sharpe ratio and profit factor of results in points."""
    points = trades["points"]
    return points.mean() / points.std(), points[points > 0].sum() / -points[points < 0].sum()


@pytest.mark.slow
def test_figures_that_rank_are_of_points_where_one_of_them_is() -> None:
    source = from_frame(minutes(CROSSES), negative=True)
    swept = bknb.sweep(_above, symbol="CL", params={"above": [True, False]}, interval="1m", exchange=source, **CROSSING)
    bknb.add_strategy("above", get_signal=_above, interval="1m")
    bknb.add_strategy("all", get_signal=lambda ctx: _above(ctx, above=False), interval="1m")
    found = bknb.walker("CL", strategies=["above", "all"], exchange=source, metric="profit_factor", **CROSSING)
    assert [found[name].stats.in_points for name in ("above", "all")] == [False, True]
    for number, name in enumerate(("above", "all")):
        sharpe, factor = _ratios(found[name].trades)
        assert swept.table["sharpe_ratio"][number] == pytest.approx(sharpe)
        assert swept.table["profit_factor"][number] == pytest.approx(factor)
        [entry] = [each for each in found.entries if each.strategy == name]
        assert (entry.value, entry.stats["sharpe_ratio"]) == (pytest.approx(factor), pytest.approx(sharpe))
    assert found["above"].stats["profit_factor"] != pytest.approx(_ratios(found["above"].trades)[1], rel=0.05)
    assert swept.table["total_pnl"].isna().tolist() == [False, True]
    assert found.deflated.sharpe_ratio == pytest.approx(_ratios(found[found.best.strategy].trades)[0])
    assert [text for text in found.warnings if text.startswith("all opened a position at or below zero: ")]
    assert [
        text
        for text in swept.warnings
        if text.startswith("CL has prices at or below zero: ") and "all combinations; 1 of 2 opened" in text
    ]


@pytest.mark.slow
def test_means_over_symbols_are_of_points_where_one_of_them_is(tmp_path: Path) -> None:
    """NG is always above zero: alone it is in percent, also with the same ledger."""
    tables = {"CL": minutes(CROSSES), "NG": minutes(np.abs(CROSSES) + 2.0)}
    source = from_frame(pd.concat(tables, axis=1), negative=True)
    options: dict[str, Any] = {"params": {"above": [True, False]}, "interval": "1m", "exchange": source, **CROSSING}
    alone, both, again = (
        bknb.sweep(_above, symbol=symbol, ledger=tmp_path / "tried.jsonl", **options)
        for symbol in ("NG", ["CL", "NG"], "NG")
    )
    assert again.table["sharpe_ratio"].tolist() == alone.table["sharpe_ratio"].tolist()
    for row in both.table.reset_index().to_dict("records"):
        above = lambda ctx, above=row["above"]: _above(ctx, above=above)  # noqa: E731
        result = bknb.backtest(row["symbol"], strategy=above, interval="1m", exchange=source, **CROSSING)
        assert (row["sharpe_ratio"], row["profit_factor"]) == pytest.approx(_ratios(result.trades))
        if row["symbol"] == "NG":
            assert alone.table["profit_factor"].tolist() == pytest.approx([result.stats["profit_factor"]] * 2)
            assert row["profit_factor"] < result.stats["profit_factor"] * 0.9
    assert [text for text in both.warnings if text.startswith("NG: sharpe_ratio, profit_factor and other figures")]
    assert not [text for text in alone.warnings if "points" in text]


@pytest.mark.slow
def test_a_walk_chooses_by_points_and_has_no_efficiency_of_two_units() -> None:
    source = from_frame(minutes(CROSSES), negative=True)
    walked = bknb.walk_forward(
        _above, {"above": [True, False]}, symbol="CL", exchange=source, interval="1m", train="5h", test="2h",
        metric="profit_factor", **CROSSING,
    )  # fmt: skip
    frame = (f"{BEGIN} 00:30", f"{BEGIN} 05:28")
    options = {**CROSSING, "frame": frame, "interval": "1m", "exchange": source}
    tried = [
        bknb.backtest("CL", strategy=lambda ctx, above=above: _above(ctx, above=above), **options)
        for above in (True, False)
    ]
    factors = [_ratios(each.trades)[1] for each in tried]
    assert [each.stats.in_points for each in tried] == [False, True]
    assert walked.folds[0].train_value == pytest.approx(max(factors))
    for fold in walked.folds:
        assert fold.test_value == pytest.approx(_ratios(fold.result.trades)[1])
    assert [text for text in walked.warnings if "positions at or below zero: sharpe_ratio, profit" in text]
    assert walked.efficiency is None
    assert f"N/A: {BELOW_ZERO}" in dict(walked._pairs())["Efficiency"]


def test_peaks_are_missing_in_points_for_their_own_reason() -> None:
    result = both()
    assert result.trades["peak_percentage"].notna().any()
    heat = heat_info("both", [result]).statistics
    for name in ("avg_peak_pnl", "avg_fall_pnl", "peak_profit_pnl", "max_drawdown_pnl"):
        assert result.stats[name] is None
        assert explained_text(name, result.stats) == f"N/A: {PEAKS_IN_PERCENT}"
        assert f"n/a when  {PEAKS_IN_PERCENT}" in result.stats.explain(name)
        assert explained_text(name, heat["per_symbol"]["CL"]) == f"N/A: {PEAKS_IN_PERCENT}"
    assert heat["portfolio_avg_peak_pnl"] is None
    assert f"n/a: {PEAKS_IN_PERCENT}" in repr(heat)
