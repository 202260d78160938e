"""Sweeps over several symbols: one without the figure sinks no combination and is named; each combination is a try."""

from __future__ import annotations

import numpy as np
import pytest

import bknb
from bknb.sweeps.symbol_means import mean_of_known

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


def test_nothing_is_said_where_every_symbol_has_the_figure():
    found = bknb.sweep(everywhere, params={"up": [1.02, 1.03]}, **SWEEP)
    assert found.ranking["symbols"].tolist() == [2, 2]
    assert not any("has no sharpe_ratio" in text for text in found.warnings)


def test_a_mean_of_nothing_is_nothing():
    assert mean_of_known(np.array([[np.nan, 2.0, 4.0]])).tolist() == [3.0]
    assert np.isnan(mean_of_known(np.array([[np.nan, np.nan]]))).all()


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


def test_a_combination_without_any_trade_is_not_ranked():
    found = bknb.sweep(one_or_both, params={"only": [0, 1]}, metric="max_drawdown", **SWEEP | {"symbol": "ETHUSDT"})
    assert np.isnan(found.ranking.loc[1, "max_drawdown"])
    assert found.best["combination"] == 0
