"""Figures that compound are not available where a position was added to: what an add weighs depends on the capital."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bknb
from bknb.domain.least_samples import GATES
from bknb.domain.signal_events import Added
from bknb.engine.records import Records
from bknb.jupyter.dashboard.dashboard_of_result_or_task import view_of_comparison, view_of_result
from bknb.kernels import sweep_figures
from bknb.metrics.compounding import final_equity
from bknb.metrics.daily_returns import of_results
from bknb.metrics.reasons import ADDS, ADDS_INSTEAD
from bknb.metrics.statistics import statistics
from bknb.metrics.trade_definitions import DEFINITIONS, OF_ACCOUNT
from bknb.optimizer.drafts_verdicts_and_proposals import Draft, Verdict
from bknb.optimizer.drafts_verdicts_and_proposals import Proposal as Passed
from bknb.optimizer.prompt import Range
from bknb.optimizer.proposals import Proposal, ranked
from bknb.reports import dashboard_panels
from bknb.reports.dashboard_run import RunView
from bknb.reports.dashboard_runs import RunViews
from bknb.reports.progress_text import total_text
from bknb.reports.proposals_report import ranking_html
from bknb.research.bootstrap import bootstrap
from bknb.runs.result_tables import trade_row
from bknb.sweeps.evaluate_combination import ends_of
from bknb.sweeps.symbol_means import known_figures

FRAME = "2024-01-01:2024-01-22"


def get_signal(adds: int = 1) -> bknb.Signal:  # manage has the same parameter
    return bknb.Signal(side="long")


def manage(position: bknb.HeldPosition, adds: int = 1) -> Any:
    if position.minutes >= 1920:
        return bknb.Close()
    if not adds or position.entries > 1:
        return None
    return [bknb.Reduce(0.5), bknb.Add(0.4)]  # never costs more than its first fill


@dataclass(frozen=True)
class World:
    added: bknb.Result
    plain: bknb.Result
    sweep: Any
    both: Any  # two symbols
    walk: Any
    walker: Any


@pytest.fixture(scope="module")
def world() -> World:
    managed = bknb.add_strategy("adder", get_signal=get_signal, manage=manage, interval="8h")
    never = bknb.add_strategy("holder", get_signal=lambda: bknb.Signal(side="long", minute_estimated_time=1920),
                              interval="8h")  # fmt: skip
    added, plain = (bknb.backtest("BTCUSDT", strategy=each, exchange="demo", frame=FRAME) for each in (managed, never))
    asked: dict[str, Any] = {"params": {"adds": [1, 0]}, "exchange": "demo", "metric": "equity_final"}
    return World(
        added=added,
        plain=plain,
        sweep=bknb.sweep(managed, symbol="BTCUSDT", frame=FRAME, **asked),
        both=bknb.sweep(managed, symbol=["BTCUSDT", "ETHUSDT"], frame="2024-01-01:2024-01-04", **asked),
        walk=bknb.walk_forward(managed, frame="2024-01-01:2024-01-07", train="2d", test="2d", **asked),
        walker=bknb.walker("BTCUSDT", strategies=[managed, never], exchange="demo", frame=FRAME, metric="equity_final"),
    )


def proposed(result: bknb.Result, name: str = "one") -> Passed:
    draft = Draft(name=name, title="", rationale="", interval="8h", parameters=(), code="", imports=())
    verdict = Verdict(result=result)
    return Passed(draft=draft, range=Range(start=0, end=1), train=verdict, test=verdict)


def proposal(world: World) -> Proposal:
    (only,) = ranked([proposed(world.added)], earlier=0)
    return only


def view(world: World) -> RunView:
    return view_of_result(world.added)


def line_of(result: bknb.Result) -> str:
    records = result.run_record.records
    return total_text(records.closed, needs_capital=records.needs_capital)


def refused(ask: Callable[[], object]) -> str:
    with pytest.raises(bknb.DataError) as error:
        ask()
    return str(error.value)


DOORS: dict[str, Callable[[World], str]] = {
    "account": lambda world: repr(world.added.account),
    "account as html": lambda world: world.added.account._repr_html_(),
    "statistics": lambda world: repr(world.added.stats),
    "statistics as html": lambda world: world.added.stats._repr_html_(),
    "selected statistics": lambda world: repr(world.added.statistics(leave_out="frame_end")),
    "summary": lambda world: repr(world.added),
    "summary as html": lambda world: world.added._repr_html_(),
    "report": lambda world: world.added.report(),
    "heat statistics": lambda world: repr(bknb.heat_statistics(world.added.trades)),
    "heat statistics as html": lambda world: bknb.heat_statistics(world.added.trades)._repr_html_(),
    "heat": lambda world: repr(bknb.Heat.get_data("adder", results=[world.added])),
    "heat as html": lambda world: bknb.Heat.get_data("adder", results=[world.added])._repr_html_(),
    "heat report": lambda world: bknb.Heat.get_data("adder", results=[world.added, world.plain]).report(),
    "belief": lambda world: repr(bknb.belief(world.added)),
    "belief report": lambda world: bknb.belief(world.added.trades).report(),
    "belief in a sweep": lambda world: repr(bknb.belief(world.plain, trials=world.sweep)),
    "belief in a comparison": lambda world: bknb.belief(world.plain, trials=world.walker).report(),
    "sweep": lambda world: repr(world.sweep),
    "sweep as html": lambda world: world.sweep._repr_html_(),
    "sweep report": lambda world: world.sweep.report(),
    "sweep over symbols": lambda world: repr(world.both),
    "walk-forward": lambda world: repr(world.walk),
    "walk-forward as html": lambda world: world.walk._repr_html_(),
    "walk-forward report": lambda world: world.walk.report(),
    "comparison": lambda world: repr(world.walker),
    "comparison as html": lambda world: world.walker._repr_html_(),
    "comparison report": lambda world: world.walker.report(),
    "proposal": lambda world: proposal(world).numbers,
    "table of proposals": lambda world: ranking_html([proposal(world)]),
    "dashboard: statistics": lambda world: str(dashboard_panels.statistics_panel(view(world))),
    "dashboard: equity": lambda world: str(dashboard_panels.equity_panel(view(world))),
    "dashboard: comparison": lambda world: str(
        dashboard_panels.table_panel(view_of_comparison(world.walker), "walker")
    ),
    "lines of live runs": lambda world: line_of(world.added),
    "equity": lambda world: refused(lambda: world.added.equity),
    "returns": lambda world: refused(world.added.returns),
    "calendar": lambda world: refused(world.added.calendar),
    "drawdowns": lambda world: refused(world.added.drawdowns),
}


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_every_door_says_why_there_is_no_account(door: str, world: World) -> None:
    text = DOORS[door](world)
    assert ADDS in text
    closed = final_equity(world.added.trades["pnl_percentage"].to_numpy())
    assert not any(number in text for number in (f"{closed:.4f}", f"{(closed - 1) * 100:.2f}"))


@pytest.mark.parametrize("door", ["summary", "report", "sweep", "sweep report", "walk-forward", "comparison", "equity"])
def test_what_can_be_read_instead_is_said(door: str, world: World) -> None:
    assert ADDS_INSTEAD in DOORS[door](world)


def test_no_position_of_these_runs_cost_more_than_its_first_fill(world: World) -> None:
    both = world.added.trades, world.sweep.trades(0)
    for column, count in (("largest_cost", 1.0), ("adds", 1)):
        assert {value for trades in both for value in trades[column]} == {count}
    assert set(world.plain.trades["adds"]) == set(world.sweep.trades(1)["adds"]) == {0}


def test_a_run_without_adds_says_nothing_of_it(world: World) -> None:
    assert world.plain.stats["equity_final"] is not None
    assert ADDS not in repr(world.plain) + repr(world.plain.stats) + line_of(world.plain)


def test_of_the_statistics_only_what_compounds_is_missing(world: World) -> None:
    table = world.added.trades
    with_adds, compounding = statistics(table), statistics(table.drop(columns=["adds", "largest_cost"]))
    assert {name for name in DEFINITIONS if with_adds[name] != compounding[name]} == {*OF_ACCOUNT}
    assert dict(statistics(table.assign(adds=0))) == dict(compounding)
    assert {name for name in OF_ACCOUNT if with_adds[name] is not None} == set()
    assert with_adds["total_pnl"] == pytest.approx(table["pnl_percentage"].sum())


def test_where_the_adds_of_a_trade_are_unknown_its_largest_cost_decides(world: World) -> None:
    table = world.added.trades
    old = table.drop(columns="adds").assign(largest_cost=1.5)
    rows = [*table.assign(adds=0).to_dict("records"), {**table.iloc[0], "adds": None, "largest_cost": 1.5}]
    for added in (old, table.assign(adds=None, largest_cost=1.5), rows):
        assert statistics(added)["equity_final"] is None
    assert bknb.belief(old).total_return is None
    assert statistics(table.assign(adds=0, largest_cost=1.5))["equity_final"] is not None


@pytest.mark.slow
def test_the_kernel_has_the_figures_of_the_statistics(world: World) -> None:
    records = world.added.run_record.records
    expected, ends = statistics([trade_row(event) for event in records.closed]), ends_of(records)
    compiled, plain = sweep_figures.score(ends, GATES), sweep_figures.score_plain(ends, GATES)
    np.testing.assert_array_equal(np.isnan(compiled), np.isnan(plain))
    known = {name: value for name, value in zip(sweep_figures.FIGURES, plain.tolist(), strict=True) if name in expected}
    for name, value in known.items():
        assert value == pytest.approx(np.nan if expected[name] is None else expected[name], nan_ok=True), name


def test_an_add_of_a_position_that_is_still_open_counts() -> None:
    """Of a run that was interrupted while it was open; the trades before it were not added to."""

    def added_late(position: bknb.HeldPosition) -> Any:
        if position.opened_at.day < 3:
            return bknb.Close()
        return bknb.Add(1) if position.entries == 1 else None

    strategy = bknb.add_strategy("held", get_signal=get_signal, manage=added_late, interval="8h")
    record = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame="2024-01-01:2024-01-05").run_record
    assert record.records.closed.pop().largest_cost > 1
    result = bknb.Result(record)
    assert len(result.trades) > 0
    assert (result.trades["largest_cost"] == 1).all()
    assert result.account.reasons["total_return"] == ADDS
    assert {name for name in OF_ACCOUNT if result.stats[name] is not None} == set()
    heat = bknb.Heat.get_data("held", results=[result]).statistics
    assert heat["portfolio_max_drawdown"] is None
    assert heat["per_symbol"]["BTCUSDT"]["equity_final"] is None
    assert bknb.belief(result).total_return is None
    assert of_results([result]).size == 0
    assert ADDS in line_of(result)
    assert result.statistics(leave_out="stop_loss")["equity_final"] is None
    added = next(event for event in record.records.positions if isinstance(event, Added))
    started_again = Records(held=((added.fill, added.signal),))  # by a live run that was stopped while it was open
    assert started_again.needs_capital
    assert started_again.has_open_adds
    record.records.closed.clear()
    record.records.ends.clear()
    alone = bknb.Result(record)  # the first trade is the open one
    assert bknb.belief(alone).total_return is None
    assert of_results([alone]).size == 0


def test_selected_trades_have_the_figures_of_a_table_of_them() -> None:
    def added_once(position: bknb.HeldPosition) -> Any:
        if position.opened_at.day == 2:
            return bknb.Add(1) if position.entries == 1 else None
        return bknb.Close()

    strategy = bknb.add_strategy("once", get_signal=get_signal, manage=added_once, interval="8h")
    result = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame="2024-01-01:2024-01-05")
    kept = result.trades[result.trades["adds"] == 0]
    (reason,) = {*result.trades["close_reason"]} - {*kept["close_reason"]}
    assert len(kept) > 1
    assert result.stats["equity_final"] is None
    assert dict(result.statistics(leave_out=reason)) == dict(statistics(kept))


def test_a_column_of_text_is_refused_by_belief_as_by_statistics(world: World) -> None:
    table = world.plain.trades.assign(adds="none")
    for ask in (statistics, bknb.belief):
        with pytest.raises(bknb.UsageError, match="column adds holds text"):
            ask(table)


# -- what ranks, and what is computed of many ----------------------------------------------------------------------


def test_a_sweep_ranks_them_last_and_says_so(world: World) -> None:
    assert [*world.sweep.why_no_account] == [0]
    assert world.sweep.best["params"] == {"adds": 0}
    assert list(world.sweep.ranking.index) == [1, 0]
    assert [text.partition(".")[0] for text in world.sweep.warnings if ADDS in text] == [
        f"1 of 2 combinations added to a position or had places and has no equity_final: {ADDS}"
    ]
    assert list(world.sweep.returns.columns) == [1]
    assert statistics(world.sweep.trades(0))["equity_final"] is None
    assert np.isnan(world.sweep.mean_equity[0])
    assert np.isnan(world.sweep.heatmap().data[0]["y"][1])


def test_a_mean_over_symbols_is_not_that_of_the_symbols_without_adds(world: World) -> None:
    names = sweep_figures.FIGURES
    rows = np.full((3, len(names)), 2.0)
    rows[0, names.index("equity_final")] = np.nan  # trades, and no equity: it added there
    rows[1, names.index("n")] = 0.0
    known = known_figures(rows)
    assert np.isnan(known[:, [at for at, name in enumerate(names) if name in OF_ACCOUNT]]).all()
    assert known[:, names.index("total_pnl")].tolist() == [2.0, 0.0, 2.0]
    assert world.both.best["params"] == {"adds": 0}
    assert len([text for text in world.both.warnings if ADDS in text]) == 1


def test_a_walk_chooses_what_has_the_figure(world: World) -> None:
    assert [fold.params for fold in world.walk.folds] == [{"adds": 0}] * 2
    (warning,) = [text for text in world.walk.warnings if ADDS in text]
    assert warning.startswith("choosing: adds=1 has no equity_final")


def test_a_comparison_ranks_them_last(world: World) -> None:
    assert [entry.strategy for entry in world.walker.entries] == ["holder", "adder"]
    assert of_results(world.walker.results.values()).shape[1] == 1
    assert world.walker.overfitting is None


def test_proposals_without_a_total_return_come_behind_those_with_one(world: World) -> None:
    short, few = (
        bknb.backtest("BTCUSDT", strategy=each.run_record.plan.strategy, exchange="demo", frame="2024-01-01:2024-01-04")
        for each in (world.added, world.plain)
    )
    assert [each.name for each in ranked([proposed(short, "adds"), proposed(few, "plain")], earlier=0)] == [
        "plain",
        "adds",
    ]


def test_a_bootstrap_of_a_table_has_no_figure_that_compounds(world: World) -> None:
    with_adds, without = (bootstrap(world.added.trades.assign(**more), seed=0) for more in ({}, {"adds": 0}))
    assert {row.figure for row in without.rows} - {row.figure for row in with_adds.rows} == {
        "equity_final",
        "max_drawdown",
    }


def test_intervals_and_belief_go_with_the_sizes_of_trades_as_statistics_do(world: World) -> None:
    trades = world.added.trades
    table = trades.assign(size=[None if at % 3 == 0 else 0.1 * (at % 5 + 1) for at in range(len(trades))])
    table.loc[table["size"].isna(), "adds"] = 0
    table.loc[1, "pnl_percentage"] = None
    expected, found, believed = statistics(table), bootstrap(table, seed=0), bknb.belief(table)
    assert expected["equity_final"] != pytest.approx(statistics(table.assign(size=None, adds=0))["equity_final"])
    for name in ("equity_final", "avg_pnl", "sharpe_ratio"):
        assert found[name].value == pytest.approx(expected[name]), name
        assert believed.intervals[name] == found[name]
    assert believed.total_return == pytest.approx((expected["equity_final"] - 1) * 100)
    assert "what compounds goes with the size of each trade" in repr(believed)
    added = table.assign(adds=1)  # one of all of the equity was added to
    assert statistics(added)["equity_final"] is None
    assert bknb.belief(added).total_return is None
    found = bootstrap(added, seed=0)
    assert "equity_final" not in found
    assert (found.get("equity_final"), found.get("avg_pnl")) == (None, found["avg_pnl"])


def test_the_list_of_runs_and_the_head_have_no_total(world: World) -> None:
    views = RunViews()
    views.add(view(world))
    (row,) = views.runs()
    assert row["total"] == ""
    assert "%" not in dashboard_panels.status_panel(view(world), 0.0)["text"]
