"""Statistics of closed trades: small tables worked out by hand, a conformance file, and properties."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from math import exp, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bknb.errors import BknbError, UnknownName, UsageError
from bknb.metrics.heat import heat_statistics
from bknb.metrics.statistics import DEFINITIONS, HEAT_DEFINITIONS, statistics

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01T00:00Z
RATIOS = ("std_dev", "sharpe_ratio", "sortino_ratio", "certainty_ratio", "expectancy", "recovery_factor")
ANNUAL = ("annualized_sharpe_ratio", "expected_yearly_returns", "calmar_ratio")
CONFORMANCE = Path(__file__).parents[2] / "shared" / "conformance" / "statistics" / "expected.json"


def grid(
    pnl: list[float], *, days: float | None = None, symbol: str = "BTCUSDT", **columns: list[Any]
) -> list[dict[str, Any]]:
    """One trade after the other, evenly over `days` (default one a day), so that span_days is `days`."""
    step = (len(pnl) if days is None else days) * DAY / max(1, len(pnl))
    return [
        {
            "symbol": symbol,
            "pending_at": START + at * step,
            "close_timestamp": START + (at + 1) * step,
            "pnl_percentage": result,
            **{name: values[at] for name, values in columns.items()},
        }
        for at, result in enumerate(pnl)
    ]


def mixed(*groups: tuple[int, float]) -> list[float]:
    return [result for count, result in groups for _ in range(count)]


def near(value: float | None, **options: Any) -> Any:
    return value if value is None else pytest.approx(value, rel=1e-9, abs=1e-9, **options)


# ---------------------------------------------------------------- small tables


def test_every_simple_figure_of_four_trades() -> None:
    stats = statistics(
        grid([2.0, -1.0, 0.0, 3.0], peak_percentage=[2.5, 0.5, None, 4.0], trough_percentage=[-0.5, nan, None, -1.5])
    )
    assert (stats["n"], stats["total_trades"], stats["dropped"]) == (4, 4, 0)
    assert (stats["win_count"], stats["loss_count"]) == (2, 1)
    assert stats["win_rate"] == near(200 / 3)
    assert (stats["avg_pnl"], stats["median_pnl"], stats["total_pnl"]) == (1.0, 1.0, 4.0)
    assert (stats["avg_win"], stats["avg_loss"], stats["profit_factor"]) == (2.5, -1.0, 5.0)
    assert stats["equity_final"] == near(1.02 * 0.99 * 1.03)
    assert stats["span_days"] == 4.0
    assert (stats["avg_duration"], stats["avg_win_duration"], stats["avg_loss_duration"]) == (1440.0, 1440.0, 1440.0)
    assert stats["avg_peak_pnl"] == near(7 / 3)
    assert stats["avg_fall_pnl"] == -1.0
    assert (stats["peak_profit_pnl"], stats["max_drawdown_pnl"]) == (4.0, -1.5)
    assert [stats[key] for key in (*RATIOS, *ANNUAL)] == [None] * 9


def test_no_trade_has_counts_and_nothing_else() -> None:
    stats = statistics([])
    counts = {"n", "total_trades", "dropped", "win_count", "loss_count", "max_win_streak", "max_loss_streak"}
    assert {key for key, value in stats.items() if value is not None} == counts
    assert all(stats[key] == 0 for key in counts)
    assert statistics(pd.DataFrame()) == stats
    assert statistics(pd.DataFrame(columns=["pending_at", "closed_at", "pnl_percentage"])) == stats


@pytest.mark.parametrize(
    ("pnl", "expected"),
    [
        # std_dev, sharpe, annualised sharpe, sortino, certainty, yearly
        (mixed((20, 0.6), (10, -0.3)), (0.431516971336846, 0.695221787153807, 13.2821935939312, sqrt(3), 2.0, None)),
        (mixed((15, 0.5), (15, -0.5)), (0.508547627715608, 0.0, 0.0, 0.0, 1.0, -0.455216438058292)),
        (mixed((30, 0.4)), (0.0, None, None, None, None, None)),
        (mixed((30, -0.4)), (0.0, None, None, -1.0, 0.0, -76.8442674579046)),
        (mixed((15, 0.15), (15, -0.05)),
         (0.101709525543122, 0.491596040125087, 9.39192915930125, sqrt(2), 3.0, 19.9940620286216)),
        (mixed((12, 1.0), (12, 0.0), (6, -1.0)),
         (sqrt(16.8 / 29), 0.2 / sqrt(16.8 / 29), 0.2 / sqrt(16.8 / 29 / 365), 0.2 / sqrt(0.2), 1.0, None)),
    ],
)  # fmt: skip
def test_thirty_trades_in_thirty_days(pnl: list[float], expected: tuple[float | None, ...]) -> None:
    stats = statistics(grid(pnl))
    names = (
        "std_dev",
        "sharpe_ratio",
        "annualized_sharpe_ratio",
        "sortino_ratio",
        "certainty_ratio",
        "expected_yearly_returns",
    )
    for name, value in zip(names, expected, strict=True):
        tolerance = 1e-6 if name in ANNUAL else 1e-9
        assert stats[name] == (None if value is None else pytest.approx(value, rel=1e-9, abs=tolerance)), name
    assert stats["trades_per_year"] == 365.0
    assert stats["expectancy"] == near(stats["avg_pnl"])


def test_sample_deviation_divides_by_one_less_than_the_count() -> None:
    stats = statistics(grid(mixed((7, 0.6), (3, -0.4)), days=20))
    assert stats["std_dev"] == near(sqrt(2.1 / 9))
    assert stats["sharpe_ratio"] == near(0.3 / sqrt(2.1 / 9))
    assert stats["sortino_ratio"] == near(0.3 / sqrt(3 * 0.16 / 10))  # divisor: all ten trades
    assert stats["trades_per_year"] == near(182.5)
    assert stats["annualized_sharpe_ratio"] == near(0.3 / sqrt(2.1 / 9) * sqrt(182.5))
    assert stats["expected_yearly_returns"] == pytest.approx(((1.006**7 * 0.996**3) ** 18.25 - 1) * 100, abs=1e-6)


# ---------------------------------------------------------------- gates


@pytest.mark.parametrize(
    ("count", "days", "ratios", "annual"),
    [
        (9, 20.0, False, False),
        (10, 20.0, True, True),
        (10, 13.99, True, False),
        (10, 14.0, True, True),
        (30, 30.0, True, True),  # exactly 365 a year
        (30, 29.99, True, False),
        (9, 13.99, False, False),
    ],
)
def test_gates_of_count_span_and_frequency(count: int, days: float, *, ratios: bool, annual: bool) -> None:
    pnl = [0.3 if at % 3 else -0.5 for at in range(count)]
    stats = statistics(grid(pnl, days=days))
    assert [stats[key] is not None for key in RATIOS] == [ratios] * len(RATIOS)
    assert [stats[key] is not None for key in ANNUAL] == [annual] * len(ANNUAL)
    assert stats["span_days"] == near(days)
    assert stats["trades_per_year"] == (near(count / days * 365) if annual else 0.0)


def test_a_yearly_return_beyond_a_hundred_percent_is_no_figure() -> None:
    # Thirty equal trades over a year exactly: the yearly return is the compounded return itself.
    double = (2 ** (1 / 30) - 1) * 100
    below, above = (statistics(grid([double * factor] * 30, days=365)) for factor in (0.999, 1.001))
    assert 99 < below["expected_yearly_returns"] < 100
    assert above["expected_yearly_returns"] is None
    assert above["annualized_sharpe_ratio"] is None  # no spread, no Sharpe ratio
    assert above["calmar_ratio"] is None


@pytest.mark.parametrize(("spread", "available"), [(1e-8, True), (1e-12, False)])
def test_a_spread_of_rounding_dust_gives_no_sharpe_ratio(spread: float, *, available: bool) -> None:
    stats = statistics(grid([0.5 + spread * (at % 2) for at in range(30)]))
    assert stats["std_dev"] is not None
    assert (stats["sharpe_ratio"] is not None) == available


def test_losses_of_rounding_dust_give_no_ratio_of_losses() -> None:
    stats = statistics(grid(mixed((29, 0.4), (1, -1e-12))))
    assert (stats["loss_count"], stats["certainty_ratio"], stats["profit_factor"]) == (1, None, None)
    assert stats["sortino_ratio"] is None
    assert stats["expectancy"] == near(29 / 30 * 0.4)


def test_calmar_and_recovery_are_clamped() -> None:
    up = statistics(grid(mixed((59, 0.05), (1, -0.001)), days=60))
    assert (up["calmar_ratio"], up["recovery_factor"]) == (1000.0, 1000.0)
    assert up["max_drawdown"] == near(0.001)


# ---------------------------------------------------------------- equity


def test_drawdown_is_from_the_peak_of_compounded_equity() -> None:
    stats = statistics(grid([10.0, -10.0, -10.0, 50.0]))
    assert stats["max_drawdown"] == near(19.0)  # 0.9 * 0.9, whatever came before and after
    assert stats["equity_final"] == near(1.1 * 0.9 * 0.9 * 1.5)


def test_a_trough_deepens_the_drawdown_and_leaves_equity_alone() -> None:
    stats = statistics(grid([10.0, 5.0, -2.0], trough_percentage=[-3.0, -20.0, None]))
    assert stats["max_drawdown"] == near(20.0)
    assert stats["equity_final"] == near(1.1 * 1.05 * 0.98)
    positive = statistics(grid([10.0, 5.0, -2.0], trough_percentage=[3.0, 20.0, 1.0]))
    assert positive["max_drawdown"] == near(2.0)


def test_the_trough_counts_before_the_result_of_its_own_trade() -> None:
    assert statistics(grid([50.0], trough_percentage=[-10.0]))["max_drawdown"] == near(10.0)


@pytest.mark.parametrize("ruin", [-100.0, -150.0])
def test_a_blown_account(ruin: float) -> None:
    stats = statistics(grid([*mixed((8, 0.5)), ruin, *mixed((8, 0.5))], days=30))
    assert (stats["blown"], stats["equity_final"], stats["max_drawdown"]) == (True, 0.0, 100.0)
    assert (stats["expected_yearly_returns"], stats["calmar_ratio"], stats["recovery_factor"]) == (-100.0, -1.0, None)


def test_a_trough_alone_can_blow_the_account() -> None:
    stats = statistics(grid([1.0, 1.0], trough_percentage=[None, -100.0]))
    assert (stats["blown"], stats["equity_final"], stats["max_drawdown"]) == (True, 0.0, 100.0)


def test_equity_goes_by_exit_time_and_streaks_by_rows() -> None:
    forward = grid([5.0, 5.0, -4.0, -4.0, 5.0, -4.0])
    shuffled = [forward[at] for at in (0, 2, 1, 3, 4, 5)]
    one, two = statistics(forward), statistics(shuffled)
    assert one["max_drawdown"] == two["max_drawdown"] == near((1 - 0.96 * 0.96) * 100)
    assert (one["max_win_streak"], two["max_win_streak"]) == (2, 1)
    assert (one["avg_consecutive_win_pnl"], two["avg_consecutive_win_pnl"]) == (7.5, 5.0)


def test_trades_that_close_together_are_walked_in_order_of_rows() -> None:
    rows = grid([10.0, -10.0], trough_percentage=[-5.0, -12.0])
    tied = [row | {"close_timestamp": START + DAY} for row in rows]
    assert statistics(tied)["max_drawdown"] == near(12.0)  # from the peak of 1.1
    assert statistics(tied[::-1])["max_drawdown"] == near((1 - 0.9 * 0.95) * 100)  # from the start


# ---------------------------------------------------------------- streaks and break-evens


def test_break_evens_end_runs_and_are_no_loss() -> None:
    stats = statistics(grid([1.0, 1.0, 0.0, 1.0, -1.0, -2.0, 0.0, -3.0]))
    assert (stats["win_count"], stats["loss_count"], stats["win_rate"]) == (3, 3, 50.0)
    assert (stats["max_win_streak"], stats["max_loss_streak"]) == (2, 2)
    assert (stats["avg_consecutive_win_pnl"], stats["avg_consecutive_loss_pnl"]) == (1.5, -3.0)


def test_nothing_but_break_evens() -> None:
    rows = grid([0.0] * 12, days=20)
    stats = statistics(rows)
    assert (stats["win_rate"], stats["expectancy"], stats["expected_yearly_returns"]) == (0.0, 0.0, 0.0)
    assert (stats["max_win_streak"], stats["avg_consecutive_win_pnl"], stats["profit_factor"]) == (0, None, None)
    heat = heat_statistics(rows)
    row = heat["per_symbol"]["BTCUSDT"]
    assert (row["win_rate"], row["expectancy"]) == (None, None)
    assert (heat["portfolio_win_rate"], heat["portfolio_expectancy"]) == (None, 0.0)


def test_all_wins_have_no_figure_about_losses() -> None:
    stats = statistics(grid([0.1 + 0.01 * at for at in range(15)], days=20))
    for key in (
        "avg_loss",
        "avg_loss_duration",
        "avg_consecutive_loss_pnl",
        "sortino_ratio",
        "certainty_ratio",
        "profit_factor",
    ):
        assert stats[key] is None, key
    assert (stats["max_drawdown"], stats["calmar_ratio"], stats["recovery_factor"]) == (0.0, None, None)
    assert stats["sharpe_ratio"] > 0


def test_all_losses_have_a_certainty_ratio_of_zero() -> None:
    stats = statistics(grid([-0.1 - 0.01 * at for at in range(15)], days=20))
    assert (stats["certainty_ratio"], stats["win_rate"], stats["profit_factor"]) == (0.0, 0.0, None)
    assert stats["recovery_factor"] == near(-1.0)


def test_durations_are_fractional_minutes() -> None:
    rows = grid([1.0, -1.0, 0.0])
    for row, seconds in zip(rows, (90, 30, 0), strict=True):
        row["close_timestamp"] = row["pending_at"] + seconds * 1000
    stats = statistics(rows)
    assert stats["avg_duration"] == near(2 / 3)
    assert (stats["avg_win_duration"], stats["avg_loss_duration"]) == (1.5, 0.5)


# ---------------------------------------------------------------- price profile


def profile_of(prices: list[float]) -> dict[str, Any]:
    return statistics(grid([0.1] * len(prices), price_close=prices))


def test_a_straight_line_of_logarithms_is_a_certain_trend() -> None:
    up = profile_of([100 * exp(0.02 * day) for day in range(12)])
    assert (up["trend"], up["buyer_pressure"], up["seller_strength"], up["pressure_imbalance"]) == (
        "bullish",
        1.0,
        0.0,
        1.0,
    )
    assert up["trend_strength"] == near(2.0)
    assert up["trend_confidence"] == near(1.0)
    assert up["median_step_size"] == near((exp(0.02) - 1) * 100)
    down = profile_of([100 * exp(-0.02 * day) for day in range(12)])
    assert (down["trend"], down["seller_pressure"], down["pressure_imbalance"]) == ("bearish", 1.0, -1.0)


def test_a_slope_that_is_small_beside_the_steps_is_neutral() -> None:
    # Every step is about 1 % up or down; the line through them climbs 1 % in six days.
    prices = [100 * exp(0.01 * (at // 6) + 0.01 * (at % 2)) for at in range(36)]
    profile = profile_of(prices)
    assert profile["trend_confidence"] > 0.3
    assert profile["trend"] == "neutral"
    assert 0 < profile["trend_strength"] < 0.25 * profile["median_step_size"]


def test_a_zigzag_is_sideways_and_balanced() -> None:
    profile = profile_of([100.0, 110.0] * 5 + [100.0])
    assert (profile["trend"], profile["buyer_pressure"], profile["seller_pressure"]) == ("sideways", 0.5, 0.5)
    rise, fall = 0.1, 10 / 110
    assert profile["buyer_strength"] == near(rise / (rise + fall))
    assert profile["pressure_imbalance"] == near((rise - fall) / (rise + fall))
    assert profile["median_step_size"] == near((rise + fall) / 2 * 100)


def test_a_slope_that_explains_less_than_a_third_is_sideways() -> None:
    profile = profile_of([100 * exp(0.002 * day + 0.03 * (day % 2)) for day in range(12)])
    assert 0.25 < profile["trend_confidence"] < 0.3
    assert profile["trend"] == "sideways"


def test_flat_prices_have_no_pressure_and_no_confidence() -> None:
    # The rounded mean of twelve logarithms of this price is not its logarithm; uneven days would show it.
    rows = grid([0.1] * 12, price_close=[61234.56] * 12)
    profile = statistics([row | {"close_timestamp": START + at**3 * HOUR} for at, row in enumerate(rows, start=1)])
    assert (profile["median_step_size"], profile["buyer_pressure"], profile["seller_strength"]) == (0.0, None, None)
    assert (profile["trend"], profile["trend_strength"], profile["trend_confidence"]) == ("sideways", 0.0, 0.0)


def test_the_profile_needs_ten_prices_above_zero() -> None:
    prices: list[Any] = [100.0 + at for at in range(12)]
    assert profile_of([*prices[:10], None, 0.0])["trend"] == "bullish"
    assert profile_of([*prices[:9], None, 0.0, -5.0])["trend"] is None
    assert profile_of(prices[:9])["median_step_size"] is None


def test_prices_of_one_moment_have_steps_and_no_trend() -> None:
    rows = [
        row | {"close_timestamp": START + DAY} for row in grid([0.1] * 10, price_close=[100.0 + at for at in range(10)])
    ]
    stats = statistics(rows)
    assert stats["buyer_pressure"] == 1.0
    assert (stats["trend"], stats["trend_strength"], stats["trend_confidence"]) == (None, None, None)


# ---------------------------------------------------------------- tables and times


def sample_rows() -> list[dict[str, Any]]:
    pnl = [0.7, -0.4, 0.0, 1.1, -0.2, 0.3, 0.3, -0.9, 0.5, 0.2, 0.4, -0.1]
    return grid(
        pnl,
        days=21,
        price_close=[100.0 + at * 0.5 - (at % 3) for at in range(12)],
        peak_percentage=[max(0.0, result) + 0.1 for result in pnl],
        trough_percentage=[None if at == 4 else min(0.0, result) - 0.2 for at, result in enumerate(pnl)],
    )


def moment(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def with_times(change: Any) -> list[dict[str, Any]]:
    return [row | {key: change(row[key]) for key in ("pending_at", "close_timestamp")} for row in sample_rows()]


def test_a_frame_and_a_list_of_mappings_agree() -> None:
    rows = sample_rows()
    frame = pd.DataFrame(rows)
    expected = statistics(rows)
    assert expected["sharpe_ratio"] is not None
    assert expected["trend"] is not None
    assert statistics(frame) == expected
    assert statistics(frame.convert_dtypes()) == expected
    assert statistics(frame.astype(object)) == expected
    assert statistics(row for row in rows) == expected
    assert statistics(frame.set_index("symbol")) == expected
    assert heat_statistics(frame) == heat_statistics(rows)


def test_closed_at_is_another_name_of_the_exit_time() -> None:
    renamed = [
        {("closed_at" if key == "close_timestamp" else key): value for key, value in row.items()}
        for row in sample_rows()
    ]
    assert statistics(renamed) == statistics(sample_rows())
    assert statistics(pd.DataFrame(renamed)) == statistics(sample_rows())


@pytest.mark.parametrize(
    "change",
    [
        moment,
        lambda ms: moment(ms).replace(tzinfo=None),
        lambda ms: moment(ms).astimezone(timezone(timedelta(hours=5, minutes=30))),
        lambda ms: pd.Timestamp(ms, unit="ms"),
        lambda ms: pd.Timestamp(ms, unit="ms", tz="America/New_York"),
        lambda ms: np.datetime64(int(ms), "ms"),
        np.int64,
        float,
    ],
    ids=["aware", "naive", "offset", "timestamp", "zoned-timestamp", "datetime64", "int64", "float"],
)
def test_times_in_any_shape_agree(change: Any) -> None:
    rows = with_times(change)
    expected = statistics(sample_rows())
    assert statistics(rows) == expected
    assert statistics(pd.DataFrame(rows)) == expected
    assert statistics(pd.DataFrame(rows).astype({"pending_at": object})) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_datetime_columns_of_any_unit_agree(unit: str, zone: str | None) -> None:
    frame = pd.DataFrame(sample_rows())
    for name in ("pending_at", "close_timestamp"):
        column = pd.to_datetime(frame[name], unit="ms").dt.as_unit(unit)
        frame[name] = column if zone is None else column.dt.tz_localize("UTC").dt.tz_convert(zone)
    assert statistics(frame) == statistics(sample_rows())


@pytest.mark.parametrize("corrupt", [0, -1, None, nan, pd.NaT, pd.NA, "oops", True, 10**400])
@pytest.mark.parametrize("column", ["pending_at", "close_timestamp"])
def test_rows_with_a_corrupt_time_are_left_out(column: str, corrupt: Any) -> None:
    rows = sample_rows()
    good = statistics(rows)
    bad = {**rows[3], column: corrupt, "pnl_percentage": 50.0, "price_close": 1e6, "peak_percentage": 90.0}
    stats = statistics([*rows[:6], bad, *rows[6:]])
    assert stats["dropped"] == 1
    assert stats == {**good, "dropped": 1}
    assert heat_statistics([*rows, bad])["portfolio_total_trades"] == 13


def test_heat_keeps_rows_with_a_corrupt_time_without_annualising_from_them() -> None:
    rows = sample_rows()
    heat = heat_statistics([{**rows[0], "pending_at": 0, "pnl_percentage": -0.3}, *rows])
    row = heat["per_symbol"]["BTCUSDT"]
    assert row["n"] == 13
    assert row["span_days"] == near(21.0)
    assert row["avg_duration"] == near(21 / 12 * 1440)


def test_rows_without_a_result_are_left_out() -> None:
    rows = sample_rows()
    for corrupt in (None, nan, float("inf"), "n/a"):
        bad = {**rows[3], "pnl_percentage": corrupt}
        assert statistics([*rows, bad]) == {**statistics(rows), "dropped": 1}
        assert heat_statistics([*rows, bad])["per_symbol"]["BTCUSDT"]["dropped"] == 1


def test_optional_columns_may_be_absent() -> None:
    bare = [{key: row[key] for key in ("pending_at", "close_timestamp", "pnl_percentage")} for row in sample_rows()]
    stats = statistics(bare)
    absent = ("avg_peak_pnl", "avg_fall_pnl", "peak_profit_pnl", "max_drawdown_pnl", "trend", "median_step_size")
    assert [stats[key] for key in absent] == [None] * len(absent)
    assert stats["sharpe_ratio"] == statistics(sample_rows())["sharpe_ratio"]
    assert statistics(pd.DataFrame(bare)) == stats


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        "trades",
        b"trades",
        {"pnl_percentage": [1.0]},
        [1.0],
        [("BTCUSDT", 1)],
        np.zeros((2, 2)),
        pd.Series([1.0]),
    ],
)
def test_what_is_not_a_table_is_refused(bad: Any) -> None:
    for measure in (statistics, heat_statistics):
        with pytest.raises(UsageError, match="DataFrame or a list of mappings"):
            measure(bad)


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
def test_missing_columns_are_named_beside_the_present_ones(kind: Any) -> None:
    with pytest.raises(UsageError) as refused:
        statistics(kind([{"symbol": "BTCUSDT", "pending_at": 1, "note": "x"}]))
    text = str(refused.value)
    assert "lack pnl_percentage, close_timestamp (or closed_at)" in text
    assert "present: symbol, pending_at, note" in text
    assert isinstance(refused.value, BknbError)
    assert len(refused.value.lines()) <= 3


def test_a_key_missing_in_one_row_names_the_row() -> None:
    rows: list[dict[str, Any]] = sample_rows()
    del rows[7]["pnl_percentage"]
    with pytest.raises(UsageError, match="lack pnl_percentage in row 7"):
        statistics(rows)


def test_heat_needs_a_symbol_in_every_row() -> None:
    rows = sample_rows()
    with pytest.raises(UsageError, match="lack symbol"):
        heat_statistics(pd.DataFrame(rows).drop(columns="symbol"))
    with pytest.raises(UsageError, match="row 2 has None"):
        heat_statistics([*rows[:2], rows[2] | {"symbol": None}])


def test_a_column_of_text_is_refused_with_advice() -> None:
    rows = with_times(lambda ms: moment(ms).isoformat())
    for table in (rows, pd.DataFrame(rows)):
        with pytest.raises(UsageError, match=r"pending_at holds text.*\n.*to_datetime"):
            statistics(table)
    with pytest.raises(UsageError, match=r"pnl_percentage holds text.*\n.*to_numeric"):
        statistics([row | {"pnl_percentage": "1.5 %"} for row in sample_rows()])


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame(sample_rows())
    with pytest.raises(UsageError, match="2 columns called 'pnl_percentage'"):
        statistics(pd.concat([frame, frame[["pnl_percentage"]]], axis=1))


def test_the_table_is_left_alone_and_no_row_is_too_old() -> None:
    rows = grid([-50.0, *[0.1] * 599])
    before = [dict(row) for row in rows]
    stats = statistics(rows)
    assert rows == before
    assert (stats["n"], stats["max_drawdown"]) == (600, 50.0)


def test_results_beyond_any_account_are_none_and_not_infinite() -> None:
    rows = grid([1e300, -1.0] * 10, days=14.5 * 10, price_close=[1e-300, 1e300] * 10)
    stats = statistics(rows)
    assert json.dumps(stats, allow_nan=False)
    assert stats["equity_final"] is None
    assert stats["median_step_size"] is None


# ---------------------------------------------------------------- heat


def test_a_symbol_of_the_heat_table_equals_its_own_statistics() -> None:
    rows = sample_rows()
    other = [row | {"symbol": "ETHUSDT", "pnl_percentage": -row["pnl_percentage"]} for row in rows]
    heat = heat_statistics([row for pair in zip(rows, other, strict=True) for row in pair])
    assert heat["per_symbol"] == {"BTCUSDT": statistics(rows), "ETHUSDT": statistics(other)}
    assert list(heat["per_symbol"]) == ["BTCUSDT", "ETHUSDT"]
    assert heat["total_symbols"] == 2


def test_heat_sorts_by_sharpe_with_none_last() -> None:
    def rows(symbol: str, win: float, count: int = 12) -> list[dict[str, Any]]:
        return grid([win if at % 2 else -0.5 for at in range(count)], symbol=symbol)

    heat = heat_statistics(
        [*rows("FEW", 9.0, 5), *rows("LOW", 0.4), *rows("FEWER", 9.0, 4), *rows("TOP", 0.9), *rows("MID", 0.6)]
    )
    assert list(heat["per_symbol"]) == ["TOP", "MID", "LOW", "FEW", "FEWER"]


def test_the_portfolio_is_one_pooled_sample() -> None:
    one = grid([1.0, -0.5, 1.0, -0.5, 1.0], days=20, symbol="A")
    two = grid([-1.0, 1.0, -1.0, 1.0, 0.5, 0.5], days=20, symbol="B")
    heat, pooled = heat_statistics([*one, *two]), statistics([*one, *two])
    assert {row["sharpe_ratio"] for row in heat["per_symbol"].values()} == {None}
    others = ("trades_per_year", "median_pnl", "avg_duration", "max_drawdown", "total_trades", "total_pnl")
    for key in (*RATIOS, *ANNUAL, *others):
        assert heat[f"portfolio_{key}"] == pooled[key], key
        assert pooled[key] is not None, key


def test_portfolio_means_are_weighted_by_trades_over_symbols_that_have_the_figure() -> None:
    rows = [
        *grid([1.0, 1.0, -1.0], symbol="A", peak_percentage=[3.0, None, None], trough_percentage=[-1.0, -2.0, -6.0]),
        *grid([2.0], symbol="B", peak_percentage=[7.0], trough_percentage=[None]),
        *grid([-1.0] * 5, symbol="C"),
    ]
    heat = heat_statistics(rows)
    assert heat["portfolio_avg_peak_pnl"] == near((3 * 3.0 + 1 * 7.0) / 4)
    assert heat["portfolio_avg_fall_pnl"] == -3.0
    assert heat["portfolio_avg_consecutive_win_pnl"] == 2.0
    assert heat["portfolio_avg_consecutive_loss_pnl"] == near((3 * -1.0 + 5 * -5.0) / 8)
    assert (heat["portfolio_peak_profit_pnl"], heat["portfolio_max_drawdown_pnl"]) == (7.0, -6.0)


def test_the_heat_of_nothing() -> None:
    heat = heat_statistics([])
    assert (heat["total_symbols"], heat["portfolio_total_trades"], heat["per_symbol"]) == (0, 0, {})
    assert heat["portfolio_total_pnl"] is None
    assert heat["portfolio_avg_peak_pnl"] is None


# ---------------------------------------------------------------- definitions and display


def test_every_figure_has_a_definition() -> None:
    stats, heat = statistics(sample_rows()), heat_statistics(sample_rows())
    assert list(stats) == list(DEFINITIONS) == list(stats.definitions)
    assert list(heat) == list(HEAT_DEFINITIONS) == list(heat.definitions)
    assert list(statistics([])) == list(stats)
    assert list(heat_statistics([])) == list(heat)
    for key, own in {**DEFINITIONS, **HEAT_DEFINITIONS}.items():
        assert own.key == key
        assert own.label
        assert own.formula
        assert own.source
        assert own.better in ("higher", "lower", None)
        assert own.label in own.explain()


def test_figures_that_are_none_have_a_definition_that_says_when() -> None:
    samples = [[], sample_rows(), sample_rows()[:1], grid([0.0] * 12), grid([-100.0] * 12), grid([1.0] * 40)]
    for rows in samples:
        for key, value in statistics(rows).items():
            assert value is not None or DEFINITIONS[key].null_when, key
        for key, value in heat_statistics(rows).items():
            assert value is not None or HEAT_DEFINITIONS[key].null_when, key


def test_figures_explain_themselves() -> None:
    stats = statistics(sample_rows())
    text = stats.explain("sharpe_ratio")
    assert text.splitlines()[0] == "Sharpe ratio [sharpe_ratio]"
    assert f"{stats['sharpe_ratio']:.4f} (higher is better)" in text
    assert "avg_pnl / std_dev" in text
    assert "fewer than 10 trades" in text
    assert all(f"[{key}]" in stats.explain() for key in stats)
    heat = heat_statistics(sample_rows())
    assert all(f"[{key}]" in heat.explain() for key in heat)
    with pytest.raises(UnknownName, match="did you mean 'sharpe_ratio'"):
        stats.explain("sharpe_ration")


def test_the_table_shows_every_figure_aligned() -> None:
    stats = statistics(sample_rows()[:5])
    lines = repr(stats).splitlines()
    assert lines[0] == "Statistics of 5 closed trades"
    assert {line.split()[-1] for line in lines[1:]} == set(stats) - {"total_trades"}
    assert len({line.rindex(" ") for line in lines[1:]}) == 1
    shown = {line.split()[-1]: line for line in lines[1:]}
    assert "n/a" in shown["sharpe_ratio"]
    assert "n/a" in shown["trades_per_year"]
    assert re.search(r"Win rate +50\.0000 % ", shown["win_rate"])
    assert str(statistics(sample_rows()[:1])).startswith("Statistics of 1 closed trade\n")


def test_html_has_definitions_as_tooltips_and_escapes() -> None:
    rows = [row | {"symbol": "<b>&'\""} for row in sample_rows()]
    html = statistics(rows)._repr_html_()
    assert 'title="win_count: count of r &gt; 0' in html
    assert html.count("<tr") == len(DEFINITIONS) - 1
    heat = heat_statistics(rows)._repr_html_()
    assert "<b>" not in heat
    assert "&lt;b&gt;&amp;&#x27;&quot;" in heat
    assert "portfolio_sharpe_ratio:" in heat
    assert "BTCUSDT" in repr(heat_statistics(sample_rows()))


def test_the_mapping_is_plain_json_and_can_be_pickled() -> None:
    for figures in (statistics(sample_rows()), heat_statistics(sample_rows())):
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures
        copy = pickle.loads(pickle.dumps(figures))  # noqa: S301 -- our own bytes
        assert copy == figures
        assert type(copy) is type(figures)
    allowed = {int, float, str, bool, type(None)}
    assert set(map(type, statistics(pd.DataFrame(sample_rows())).values())) <= allowed


def test_importing_statistics_imports_neither_pandas_nor_plotly() -> None:
    code = (
        "import sys, bknb.metrics.statistics as s\n"
        "s.statistics([{'pending_at': 1, 'closed_at': 2, 'pnl_percentage': 1.0}])\n"
        "print(sorted({'pandas', 'plotly', 'matplotlib', 'IPython'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- the conformance file

RENAMED = {
    "sharpe": "sharpe_ratio",
    "annualizedSharpe": "annualized_sharpe_ratio",
    "equityMaxDrawdown": "max_drawdown",
    "portfolioSharpe": "portfolio_sharpe_ratio",
}
LOOSE = ("annualized_sharpe_ratio", "expected_yearly_returns", "calmar_ratio")


def fixtures() -> dict[str, Any]:
    if not CONFORMANCE.exists():
        return {}
    found: dict[str, Any] = json.loads(CONFORMANCE.read_text(encoding="utf-8"))["fixtures"]
    return found


def differences(expected: dict[str, Any], figures: Any, *, loose: tuple[str, ...]) -> list[str]:
    found = []
    for name, value in expected.items():
        key = RENAMED.get(name) or re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)
        own = figures[key]
        if isinstance(value, float | int) and not isinstance(value, bool) and own is not None:
            tolerance = 1e-6 if key in loose else 1e-9
            same = abs(own - value) <= max(tolerance, 1e-9 * abs(value))
        else:
            same = own is None if value is None else own == value
        if not same:
            found.append(f"{key}: expected {value!r}, got {own!r}")
    return found


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the conformance file is not part of the repository")
@pytest.mark.parametrize("name", sorted(fixtures(), key=int))
def test_conformance(name: str) -> None:
    fixture = fixtures()[name]
    trades, expected = fixture["trades"], fixture["expected"]
    assert differences(expected["head_full"], statistics(trades), loose=LOOSE) == []
    assert differences(expected["head_full"], statistics(pd.DataFrame(trades)), loose=LOOSE) == []
    heat = heat_statistics(trades)
    portfolio = {key: value for key, value in expected["head_heat"].items() if key != "perSymbol"}
    assert differences(portfolio, heat, loose=()) == []
    assert set(heat["per_symbol"]) == set(expected["head_heat"]["perSymbol"])
    for symbol, row in expected["head_heat"]["perSymbol"].items():
        assert differences(row, heat["per_symbol"][symbol], loose=("max_drawdown",)) == []


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the conformance file is not part of the repository")
def test_a_corrupt_exit_time_leaves_the_figures_of_the_others() -> None:
    trades = [dict(row) for row in fixtures()["16"]["trades"]]
    for row in trades:
        if row["pnl_percentage"] == 0:
            row["close_timestamp"] = 0
    stats = statistics(trades)
    assert (stats["n"], stats["dropped"], stats["win_count"], stats["loss_count"]) == (11, 1, 8, 3)
    expected = {
        "avg_pnl": 0.2181818,
        "std_dev": 0.3763461,
        "sharpe_ratio": 0.5797372,
        "annualized_sharpe_ratio": 9.4325448,
        "sortino_ratio": 1.3437420,
        "certainty_ratio": 1.375,
        "expected_yearly_returns": 77.758284,
        "max_drawdown": 0.4,
        "calmar_ratio": 194.39571,
        "recovery_factor": 6.0478104,
        "median_pnl": 0.3,
    }
    assert {key: stats[key] for key in expected} == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------- properties

results = st.lists(
    st.one_of(st.just(0.0), st.floats(min_value=-20, max_value=20, allow_subnormal=False)), min_size=1, max_size=40
)
BY_ROWS = {"max_win_streak", "max_loss_streak", "avg_consecutive_win_pnl", "avg_consecutive_loss_pnl"}


@settings(deadline=None)
@given(pnl=results, data=st.data())
def test_the_order_of_rows_decides_streaks_only(pnl: list[float], data: st.DataObject) -> None:
    count = len(pnl)
    rows = grid(
        pnl,
        price_close=[100.0 + at % 7 for at in range(count)],
        trough_percentage=[min(0.0, result) - at % 3 for at, result in enumerate(pnl)],
    )
    one, two = statistics(rows), statistics(data.draw(st.permutations(rows)))
    assert {key: one[key] for key in one if key not in BY_ROWS} == {key: two[key] for key in two if key not in BY_ROWS}


@settings(deadline=None)
@given(pnl=results, exponent=st.integers(min_value=-4, max_value=4))
def test_ratios_do_not_change_when_results_are_scaled(pnl: list[float], exponent: int) -> None:
    factor = 2.0**exponent  # exact in binary
    one, two = statistics(grid(pnl)), statistics(grid([result * factor for result in pnl]))
    for key in ("win_rate", "win_count", "loss_count", "max_win_streak", "max_loss_streak", "trades_per_year"):
        assert one[key] == two[key]
    for key in ("avg_pnl", "median_pnl", "total_pnl", "std_dev", "avg_win", "avg_loss", "expectancy"):
        assert (None if one[key] is None else pytest.approx(one[key] * factor, rel=1e-12, abs=1e-12)) == two[key]
    for key in ("sharpe_ratio", "sortino_ratio", "certainty_ratio", "profit_factor"):
        if one[key] is not None and two[key] is not None:  # scaled down, a denominator may become dust
            assert two[key] == pytest.approx(one[key], rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(
    pnl=results,
    troughs=st.lists(st.one_of(st.none(), st.floats(min_value=-120, max_value=5)), min_size=40, max_size=40),
)
def test_figures_stay_in_their_ranges(pnl: list[float], troughs: list[float | None]) -> None:
    stats = statistics(grid(pnl, trough_percentage=troughs[: len(pnl)], price_close=[50 + result for result in pnl]))
    without = statistics(grid(pnl))
    assert without["max_drawdown"] <= stats["max_drawdown"] <= 100
    assert 0 <= stats["win_rate"] <= 100
    assert stats["win_count"] + stats["loss_count"] <= stats["n"] == len(pnl)
    assert stats["blown"] or stats["equity_final"] == without["equity_final"] > 0
    assert stats["blown"] == (stats["equity_final"] == 0) == (stats["max_drawdown"] == 100)
    if stats["expectancy"] is not None:
        assert stats["expectancy"] == pytest.approx(stats["avg_pnl"], rel=1e-9, abs=1e-9)
    if stats["buyer_pressure"] is not None:
        assert stats["buyer_pressure"] + stats["seller_pressure"] == pytest.approx(1)
        assert stats["buyer_strength"] + stats["seller_strength"] == pytest.approx(1)
    if stats["trend_confidence"] is not None:
        assert 0 <= stats["trend_confidence"] <= 1
    if stats["expected_yearly_returns"] is not None:
        assert -100 <= stats["expected_yearly_returns"] <= 100
    for key in ("calmar_ratio", "recovery_factor"):
        assert stats[key] is None or abs(stats[key]) <= 1000
    assert json.dumps(stats, allow_nan=False)


@settings(deadline=None)
@given(pnl=results, shift=st.integers(min_value=0, max_value=10_000))
def test_nothing_changes_when_all_times_move(pnl: list[float], shift: int) -> None:
    rows = grid(pnl, price_close=[100.0 + at % 5 for at in range(len(pnl))])
    moved = [row | {key: row[key] + shift * DAY for key in ("pending_at", "close_timestamp")} for row in rows]
    assert statistics(moved) == statistics(rows)


@settings(deadline=None)
@given(pnl=results)
def test_a_portfolio_of_one_symbol_is_that_symbol(pnl: list[float]) -> None:
    rows = grid(pnl)
    heat = heat_statistics(rows)
    for key in ("sharpe_ratio", "total_pnl", "max_drawdown", "recovery_factor", "calmar_ratio", "avg_peak_pnl"):
        assert heat[f"portfolio_{key}"] == heat["per_symbol"]["BTCUSDT"][key]


@settings(deadline=None)
@given(seconds=st.integers(min_value=1, max_value=4_000_000_000), micros=st.integers(min_value=0, max_value=999_999))
def test_a_datetime_is_read_to_the_microsecond(seconds: int, micros: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)
    later = at + timedelta(milliseconds=1)
    trade = {"pending_at": at, "closed_at": later, "pnl_percentage": 1.0}
    assert statistics([trade])["avg_duration"] == pytest.approx(1 / 60_000, rel=1e-3)
