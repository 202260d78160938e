"""Sweeps over several symbols: one without the figure sinks no combination and is named; each combination is a try."""

from __future__ import annotations

import numpy as np
import pytest

import bknb
from bknb.kernels.sweep_figures import FIGURES
from bknb.reports.heatmap import heatmap_info
from bknb.sweeps.symbol_means import mean_of_known, missing_symbols

SWEEP = {"symbol": ["BTCUSDT", "ETHUSDT"], "exchange": "demo", "frame": ("2024-01-01", "2024-01-08"), "interval": "1h"}


def dear_only(candles, up=1.02):
    """Trades where a candle costs more than 10,000: on one of the two symbols."""
    return {
        "position": np.where(candles.close > 10_000, 1, 0),
        "price_take_profit": candles.close * up,
        "price_stop_loss": candles.close * 0.98,
        "minute_estimated_time": 240,
    }


def everywhere(candles, up=1.02):
    return dear_only(candles, up) | {"position": 1}


def test_a_symbol_with_few_trades_is_named_and_sinks_no_combination():
    found = bknb.sweep(dear_only, params={"up": [1.02, 1.03]}, **SWEEP)
    alone = bknb.sweep(dear_only, params={"up": [1.02, 1.03]}, **SWEEP | {"symbol": "BTCUSDT"})
    assert found.ranking["sharpe_ratio"].tolist() == alone.ranking["sharpe_ratio"].tolist()
    assert found.ranking["symbols"].tolist() == [1, 1]
    assert found.best["sharpe_ratio"] == alone.best["sharpe_ratio"]
    assert "symbols" not in alone.ranking
    said = [text for text in found.warnings if "ETHUSDT has no sharpe_ratio with 2 of 2 combinations" in text]
    assert len(said) == 1
    assert said[0] in repr(found)


def cheap_fails(candles, up=1.02):
    """Fails on the cheap symbol with a target of 3 %."""
    if up > 1.025 and candles.close[0] < 10_000:
        raise ZeroDivisionError("cheap")
    return everywhere(candles, up)


@pytest.mark.parametrize("metric", ["sharpe_ratio", "max_drawdown"])
def test_a_combination_that_failed_on_one_symbol_has_no_mean_and_is_ranked_last(metric):
    found = bknb.sweep(cheap_fails, params={"up": [1.03, 1.02]}, metric=metric, **SWEEP)
    assert found.ranking.index.tolist() == [1, 0]
    assert np.isnan(found.ranking.loc[0, [metric, "n", "total_pnl"]].astype(float)).all()
    assert found.ranking.loc[0, "symbols"] == 1
    assert found.best["combination"] == 1
    assert np.isnan(found.mean_equity[0])
    (said,) = [text for text in found.warnings if "failed on ETHUSDT" in text]
    assert said.startswith("1 of 2 combinations failed on ETHUSDT (first: combination 0, ")
    assert "ZeroDivisionError: cheap" in said
    assert found.returns.columns.tolist() == [1]
    assert found.returns[1].any()
    assert said in repr(found)
    assert said in found.report()
    assert "n/a: it failed (ETHUSDT)" in repr(found)
    grid = heatmap_info(found)
    assert np.isnan(grid.values[0, grid.x_values.index(1.03)])
    assert np.isfinite(grid.values[0, grid.x_values.index(1.02)])


def test_nothing_is_said_where_every_symbol_has_the_figure():
    found = bknb.sweep(everywhere, params={"up": [1.02, 1.03]}, **SWEEP)
    assert found.ranking["symbols"].tolist() == [2, 2]
    assert not any("has no sharpe_ratio" in text for text in found.warnings)


def test_a_mean_of_nothing_is_nothing():
    assert mean_of_known(np.array([[np.nan, 2.0, 4.0]])).tolist() == [3.0]
    assert np.isnan(mean_of_known(np.array([[np.nan, np.nan]]))).all()


@pytest.mark.slow
def test_every_combination_is_a_try_and_running_one_again_is_none():
    found = bknb.sweep(everywhere, params={"up": [1.02, 1.03, 1.04]}, **SWEEP)
    run = {"exchange": "demo", "frame": SWEEP["frame"]}
    assert found.run(1).tries.count == 3
    assert bknb.backtest("BTCUSDT", strategy=lambda: None, interval="1h", **run).tries.count == 4
    again = bknb.sweep(everywhere, params={"up": [1.04, 1.05]}, **SWEEP | {"symbol": "BTCUSDT"})
    assert again.trials == 5
    assert "5 trials on this data" in repr(again)
    off = bknb.sweep(everywhere, params={"up": [1.06]}, settings={"count_tries": False}, **SWEEP)
    assert off.trials == pytest.approx(2)  # one combination on two symbols, by its own ledger


def one_or_both(candles, only=0):
    """Trades on both symbols, or with ``only`` on the dear one alone."""
    return everywhere(candles) | {"position": np.where((candles.close > 10_000) | (only == 0), 1, 0)}


@pytest.mark.parametrize("metric", ["total_pnl", "equity_final", "max_drawdown"])
def test_a_symbol_without_trades_counts_with_what_is_known_of_it(metric):
    found = bknb.sweep(one_or_both, params={"only": [0, 1]}, metric=metric, **SWEEP)
    nothing = {"total_pnl": 0.0, "equity_final": 1.0, "max_drawdown": 0.0}[metric]
    traded = found.table.loc[(1, "BTCUSDT"), metric]
    assert found.table.loc[(1, "ETHUSDT"), "n"] == 0
    assert found.ranking.loc[1, metric] == pytest.approx((traded + nothing) / 2)
    assert found.ranking.loc[1, "symbols"] == 2
    best = found.best
    assert best[metric] == pytest.approx(found.ranking[metric].iloc[0])
    assert found.mean_equity[1] == pytest.approx((found.table.loc[(1, "BTCUSDT"), "equity_final"] + 1) / 2)
    assert not any(f"has no {metric}" in text for text in found.warnings)
    assert heatmap_info(found).values.tolist() == [found.means(metric).tolist()]
    assert found.means(metric)[found.ranking.index].tolist() == found.ranking[metric].tolist()
    assert found.means("rejected").tolist() == [0.0, 0.0]
    with pytest.raises(bknb.UnknownName, match="no figure is called 'sharp'"):
        found.means("sharp")


def test_a_combination_without_any_trade_is_not_ranked():
    found = bknb.sweep(one_or_both, params={"only": [0, 1]}, metric="max_drawdown", **SWEEP | {"symbol": "ETHUSDT"})
    assert np.isnan(found.ranking.loc[1, "max_drawdown"])
    assert found.best["combination"] == 0


def once(candles, up=1.02):
    """Trades once on the dear symbol, and never on the other."""
    moment = np.datetime64("2024-01-04", "ms").astype(np.int64)
    return everywhere(candles, up) | {"position": (candles.timestamp == moment) & (candles.close > 10_000)}


def test_a_figure_that_no_symbol_has_is_explained_by_the_trades_of_each():
    found = bknb.sweep(once, params={"up": [1.02]}, **SWEEP)
    assert found.table["n"].tolist() == [1, 0]
    said = "n/a: fewer than 10 trades (BTCUSDT), no trade (ETHUSDT)"
    for shown in (repr(found), found.report(), found._repr_html_()):
        assert said in shown
    alone = bknb.sweep(once, params={"up": [1.02]}, **SWEEP | {"symbol": "BTCUSDT"})
    assert "n/a: fewer than 10 trades" in repr(alone)
    assert "(BTCUSDT)" not in repr(alone)


@pytest.mark.parametrize("symbols", ["BTCUSDT", ["BTCUSDT", "ETHUSDT"]])
def test_a_parameter_may_have_the_name_of_a_figure(symbols):
    def named(candles, n=2, total_return=1.02, error=0, symbols=0, up=1.02):
        return everywhere(candles, total_return + n / 1000)

    params = {"n": [2, 5], "total_return": [1.02, 1.03], "error": [0], "symbols": [7], "up": [1.02]}
    found = bknb.sweep(named, params=params, metric="total_pnl", **SWEEP | {"symbol": symbols})
    assert list(found.param_columns) == list(params)
    assert list(found.param_columns.values()) == ["param_n", "param_total_return", "param_error", "param_symbols", "up"]
    ranking, table = found.ranking, found.table
    assert sorted(ranking["param_n"]) == [2, 2, 5, 5]
    assert set(table["param_n"]) == {2, 5}
    assert (table["n"] > 10).all()
    assert (ranking["n"] > 10).all()
    assert (table["error"] == "").all()
    assert len(found.errors) == 0
    assert ranking.loc[0, ["param_n", "param_total_return", "param_symbols"]].tolist() == [2, 1.02, 7]
    best = found.best
    assert (best["params"]["symbols"], best["n"]) == (7, ranking["n"].iloc[0])
    row = next(line for line in repr(found).splitlines() if line.split()[:1] == [str(ranking.index[0])])
    assert row.split()[1:3] == [str(ranking["param_n"].iloc[0]), f"{ranking['param_total_return'].iloc[0]:g}"]
    assert "combination there has" not in found.report()
    assert "| n \\ " not in found.report()
    drawn = found.heatmap("n", "total_return")
    assert list(drawn.data[0].x) == ["2", "5"]
    assert np.asarray(drawn.data[0].z).tolist() == [
        [table.loc[(table["param_n"] == n) & (table["param_total_return"] == up), "total_pnl"].mean() for n in (2, 5)]
        for up in (1.02, 1.03)
    ]


def test_an_empty_part_of_the_map_is_explained_in_good_english():
    def get_signals(candles, only=0, up=1.02):
        return one_or_both(candles, only) | {"price_take_profit": candles.close * up}

    params = {"only": [0, 1], "up": [1.02, 1.03]}
    found = bknb.sweep(get_signals, params=params, metric="avg_pnl", **SWEEP | {"symbol": "ETHUSDT"})
    assert "Empty: no combination there has an avg_pnl (no trade)." in found.report()
    found = bknb.sweep(get_signals, params=params, search="random", trials=3, **SWEEP | {"symbol": "BTCUSDT"})
    assert "Empty: no combination was tried there." in found.report()


def test_what_failed_leaves_an_empty_part_of_the_map_and_no_column_of_returns():
    def get_signals(candles, up=1.02, down=0.98):
        if up == 1.03:
            raise ZeroDivisionError("dear")
        return everywhere(candles, up) | {"price_stop_loss": candles.close * down}

    params = {"up": [1.02, 1.025, 1.03], "down": [0.98, 0.97]}
    found = bknb.sweep(get_signals, params=params, metric="total_pnl", **SWEEP | {"symbol": "BTCUSDT"})
    assert "Empty: every combination there failed; see result.errors." in found.report()
    assert found.returns.columns.tolist() == found.means("total_pnl").dropna().index.tolist() == [0, 1, 2, 3]
    found = bknb.sweep(get_signals, params=params, metric="calmar_ratio", **SWEEP | {"symbol": "BTCUSDT"})
    assert "no combination there has a calmar_ratio (" in found.report()
    assert "), or it failed; see result.errors." in found.report()


def figures_of(**known):
    return [known.get(name, np.nan) for name in FIGURES]


def test_the_reason_of_a_missing_symbol_is_that_of_its_figures_and_failures_are_not_counted():
    won = figures_of(n=30, win_count=30, loss_count=0)
    few = figures_of(n=3, win_count=2, loss_count=1)
    good = figures_of(n=30, win_count=20, loss_count=10, sharpe_ratio=1.0, profit_factor=1.5)
    figures = {0: [good, won], 1: [good, won], 2: [good, figures_of()]}
    errors = {(number, at): "" for number in figures for at in (0, 1)} | {(2, 1): "ValueError: no"}
    rows = {number: np.array(rows) for number, rows in figures.items()}
    assert missing_symbols(["A", "B"], "profit_factor", rows, errors)[1].startswith(
        "B has no profit_factor with 2 of 2 combinations (no loss): "
    )
    rows[1] = np.array([good, few])
    assert missing_symbols(["A", "B"], "sharpe_ratio", rows, errors)[1].startswith(
        "B has no sharpe_ratio with 2 of 2 combinations (std_dev at most 1e-9; fewer than 10 trades): "
    )


def test_a_figure_that_is_missing_for_another_reason_than_few_trades_says_that_one():
    found = bknb.sweep(everywhere, params={"up": [1.02]}, metric="calmar_ratio", **SWEEP)
    assert "n/a: no expected_yearly_returns: span under 14 days" in repr(found)
