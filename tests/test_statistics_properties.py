"""What must hold for the statistics of any trades."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trade_rows import DAY, grid

from bknb.metrics.heat_of_symbols import heat_statistics
from bknb.metrics.statistics import statistics

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
