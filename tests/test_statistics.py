"""Statistics of closed trades: small tables worked out by hand."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from math import nan, sqrt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from trade_rows import ANNUAL, DAY, RATIOS, START, grid, mixed, near, sample_rows

import bknb
from bknb.errors import UnknownName
from bknb.metrics.heat_of_symbols import heat_statistics
from bknb.metrics.statistics import DEFINITIONS, HEAT_DEFINITIONS, statistics
from bknb.metrics.why_figure_is_missing import why_missing

# -- small tables -----------------------------------------------------------------------------------------------------


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


# -- gates ------------------------------------------------------------------------------------------------------------


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


# -- equity -----------------------------------------------------------------------------------------------------------


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


# -- streaks and break-evens ------------------------------------------------------------------------------------------


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


# -- definitions and display ------------------------------------------------------------------------------------------


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
    assert "n/a: fewer than 10 trades" in shown["sharpe_ratio"]
    assert "n/a: fewer than 10 trades" in shown["trades_per_year"]
    assert not re.search(r"n/a(?!: \w)", repr(stats) + re.sub(r'title="[^"]*"', "", str(stats._repr_html_())))
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


def test_times_in_seconds_are_refused() -> None:
    trades = [
        {"pending_at": 1_704_067_200 + at * 86_400, "closed_at": 1_704_067_260 + at * 86_400, "pnl_percentage": 1.0}
        for at in range(5)
    ]
    for given in (trades, pd.DataFrame(trades)):
        with pytest.raises(bknb.UsageError, match="these times look like seconds: multiply them by 1000"):
            bknb.statistics(given)
    in_ms = [row | {name: row[name] * 1000 for name in ("pending_at", "closed_at")} for row in trades]
    assert bknb.statistics(in_ms)["n"] == 5


@pytest.mark.parametrize(
    ("key", "figures", "reason"),
    [
        ("profit_factor", {"n": 20, "win_count": 19, "loss_count": 1}, "losses sum to at most 1e-9"),
        ("profit_factor", {"n": 20, "win_count": 0, "loss_count": 0}, "no win"),
        ("sortino_ratio", {"n": 20, "loss_count": 0}, "no loss"),
        ("sortino_ratio", {"n": 20, "loss_count": 3}, "a denominator of at most 1e-9"),
        ("recovery_factor", {"n": 20, "blown": True, "max_drawdown": 100.0}, "a blown account"),
        ("recovery_factor", {"n": 20, "blown": False, "max_drawdown": 0.0}, "no drawdown"),
        ("trades_per_year", {"n": 20, "span_days": 3.0}, "span under 14 days"),
        ("trades_per_year", {"n": 200, "span_days": 20.0}, "more than 365 trades a year"),
        ("annualized_sharpe_ratio", {"n": 20, "span_days": 3.0, "sharpe_ratio": 0.2}, "span under 14 days"),
        ("annualized_sharpe_ratio", {"n": 20, "span_days": 30.0, "sharpe_ratio": None},
         "no sharpe_ratio: std_dev at most 1e-9"),
        ("expected_yearly_returns", {"n": 20, "span_days": 30.0, "max_drawdown": 3.0}, "further than 100 % from zero"),
        ("expected_yearly_returns", {"n": 20, "span_days": 30.0, "max_drawdown": None},
         "adds and places need a capital"),
        ("calmar_ratio", {"n": 20, "span_days": 30.0, "expected_yearly_returns": None, "max_drawdown": 3.0},
         "no expected_yearly_returns: further than 100 % from zero"),
        ("calmar_ratio", {"n": 3, "expected_yearly_returns": None}, "no expected_yearly_returns: fewer than 10 trades"),
        ("buyer_pressure", {"n": 20, "median_step_size": 0.0}, "no price differs from the one before"),
        ("trend", {"n": 5, "median_step_size": None}, "fewer than 10 closing prices"),
        ("calmar_ratio", {"n": 20}, "adds and places need a capital, or no expected_yearly_returns, or no drawdown"),
    ],
)  # fmt: skip
def test_of_several_reasons_the_one_that_holds_is_given(key: str, figures: dict[str, Any], reason: str) -> None:
    assert why_missing(key, figures) == reason


def test_an_unknown_figure_names_those_that_are_known() -> None:
    with pytest.raises(KeyError, match=r"no figure is called 'sharp_ratio'.*; known: n, total_trades, "):
        bknb.statistics([])["sharp_ratio"]


@pytest.mark.parametrize("given", [None, 1.5, "a", 0])
def test_drawdowns_need_a_whole_number(given: Any) -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02", interval="4h"
    )
    with pytest.raises(bknb.UsageError, match=r"n of drawdowns\(\) must be a whole number of at least 1, got"):
        result.drawdowns(n=given)


@pytest.mark.parametrize("given", [None, 3])
def test_what_is_left_out_is_a_close_reason_or_several(given: Any) -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02", interval="4h"
    )
    with pytest.raises(bknb.UsageError, match="leave_out must be a close reason or a list of them, got"):
        result.statistics(leave_out=given)
