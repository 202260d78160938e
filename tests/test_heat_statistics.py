"""Heat: many symbols, each as its own statistics, and the pooled portfolio."""

from __future__ import annotations

from typing import Any

from trade_rows import ANNUAL, RATIOS, grid, near, sample_rows

from bknb.metrics.heat_of_symbols import heat_statistics
from bknb.metrics.statistics import statistics


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


def test_the_heat_table_without_trades() -> None:
    heat = heat_statistics([])
    assert (heat["total_symbols"], heat["portfolio_total_trades"], heat["per_symbol"]) == (0, 0, {})
    assert heat["portfolio_total_pnl"] is None
    assert heat["portfolio_avg_peak_pnl"] is None
