"""Refused answers of a sweep: counted by rule as in a backtest, and said beside the headline."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick import some_quick

import bknb

SWEEP: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "exchange": "demo",
    "frame": ("2024-01-01", "2024-01-05"),
    "interval": "1h",
    "params": {"near": [0, 3, 12]},
    "metric": "total_pnl",
}


def rows(candles: Any, near: int = 0) -> dict[str, Any]:
    """Of twelve candles ``near`` have a target within the costs; with 12 all of them, so nothing is traded."""
    close = candles.close
    return {
        "position": 1,
        "price_take_profit": np.where(np.arange(len(close)) % 12 < near, close * 1.001, close * 1.02),
        "price_stop_loss": close * 0.98,
        "minute_estimated_time": 60,
    }


def asked(ctx: Any, near: int = 0) -> dict[str, Any]:
    up = 1.001 if ctx.when.hour % 12 < near else 1.02
    return {
        "position": "long",
        "price_take_profit": ctx.price * up,
        "price_stop_loss": ctx.price * 0.98,
        "minute_estimated_time": 60,
    }


@pytest.mark.slow
@pytest.mark.parametrize("function", some_quick([rows, asked], [asked]))
def test_refusals_are_those_of_the_backtest_by_rule(function: Any, tmp_path: Path) -> None:
    for _ in range(2):  # the second time they come from the ledger
        found = bknb.sweep(function, **SWEEP, ledger=tmp_path / "trials")
        for number in range(3):
            own = Counter(found.run(number).rejected["codes"])
            assert {codes: count for codes, _, count in found.refusals(number)} == own
            assert sum(own.values()) == found.table.loc[number, "rejected"]
    assert found.from_ledger == 3


def test_a_summary_names_them_for_the_best_and_where_they_are_most() -> None:
    found = bknb.sweep(rows, **SWEEP | {"params": {"near": [3, 12]}})
    most = found.table.loc[1, "rejected"]
    assert found.table.loc[1, "n"] == 0
    for text in (repr(found), found.report(), found._repr_html_()):
        assert "Rejected signals of combination 0 (the best)" in text
        assert f"Rejected signals of combination 1 (the most):{'**' if text.startswith('#') else ''} {most}: " in text
        assert "take_profit_costs (first: at price_take_profit the trade would make" in text
    assert "Rejected" not in repr(bknb.sweep(rows, **SWEEP | {"params": {"near": [0]}}))


def test_a_sum_of_results_that_ranks_stands_beside_what_an_account_comes_to() -> None:
    found = bknb.sweep(rows, **SWEEP)
    compounded = f"{(found.table.loc[0, 'equity_final'] - 1) * 100:z.4g}"
    for text in (repr(found), found.report(), found._repr_html_()):
        assert "total_return, %" in text
        assert compounded in text
        assert "the sum of the results of the trades, in percent; an account compounds them" in text
    assert list(found.ranking.columns) == ["near", "total_pnl", "n", "max_drawdown"]
