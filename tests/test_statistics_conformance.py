"""The figures of backtest-kit 18.7.0 for its recorded trades."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bknb.metrics.heat_of_symbols import heat_statistics
from bknb.metrics.statistics import statistics

CONFORMANCE = Path(__file__).parents[2] / "shared" / "conformance" / "statistics" / "expected.json"


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
