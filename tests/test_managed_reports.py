"""What shows a managed run: report, figure, exports, the story of a position, dashboards; see `managed_run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from managed_run import run
from order_events import opened, waiting
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from test_managed_equity import result_of

import bknb
from bknb.domain.signal_events import Moved, Rejected, RiskRefused
from bknb.jupyter.dashboard.dashboard_of_result_or_task import view_of_result
from bknb.reports import dashboard_panels
from bknb.reports.backtest_report import summary_html, summary_text
from bknb.reports.dashboard_account import account_of_view, marked_of, total_return
from bknb.reports.dashboard_run import RunView
from bknb.reports.equity_arrays import equity_info, stairs_of
from bknb.reports.equity_png import equity_png
from bknb.reports.managed_marks import POINTS, marks_of
from bknb.reports.plots import figure_json
from bknb.reports.signal_story import history, with_rejected


@pytest.fixture(scope="module")
def parts() -> bknb.Result:
    return run()


@pytest.fixture(scope="module")
def added() -> bknb.Result:
    return run(adds=True)


FREE_OF = "- fees 0.0000 - slippage 0.0000"


def only(result: bknb.Result) -> str:
    (name,) = result.trades["signal_id"]
    return str(name)


# -- the story ---------------------------------------------------------------------------------------------------


def test_why_tells_the_story_of_a_managed_position(added: bknb.Result) -> None:
    told = [line.partition("  price ")[2].partition("  ")[2] for line in added.why(only(added)).splitlines()]
    assert [line for line in told if "of the way" not in line] == [
        "opened: long at 100 (target 104 x 0.5, stop 95, trailing 2 after 3 %, no deadline) [climbs]",
        "moved (strategy): stop 98, target 104 x 0.5",
        "added 0.5 at 101.5: 1.5 is held at 100.5 on average [stronger]",
        "closed 0.5 of the first size at 104: take_profit, 1 is left",
        "the trailing stop began: stop 102.5 (trailing_stop), no target",
        "closed 0.25 of the first size at 105.5: strategy, 0.75 is left [a little]",
        f"closed: trailing_stop at 105; net +6.3750 % = gross +6.3750 {FREE_OF}; 5 fills, entered at 100.5 on average",
    ]


def test_why_tells_what_manage_answered_and_was_rejected() -> None:
    result = run(manage=lambda position: bknb.Reduce(2.0) if position.minutes == 3 else None)
    (line,) = [line for line in result.why(only(result)).splitlines() if "rejected" in line]
    assert "00:03 UTC" in line
    assert "what manage answered was rejected: Reduce(2, of='now') is more than the 1" in line
    assert line in view_of_result(result).why(only(result))


@pytest.mark.parametrize("reason", ["strategy", "breakeven", "trailing_stop"])
def test_close_reasons_are_named_everywhere(reason: str) -> None:
    signals = {
        "strategy": bknb.Signal(side="long"),
        "breakeven": bknb.Signal(side="long", breakeven=bknb.Breakeven(after=1.0, plus="")),
        "trailing_stop": bknb.Signal(side="long", trailing=bknb.Trailing(distance=1.0, after=5.0)),
    }
    answer = bknb.Close(note="enough") if reason == "strategy" else None
    quiet = (100.0,) * 4
    result = run(
        signal=signals[reason],
        manage=lambda position: answer if position.minutes == 4 else None,
        candles={7: (100.0, 100.0, 99.0, 99.5), 8: quiet} if reason == "breakeven" else None,
    )
    assert result.trades["close_reason"].tolist() == [reason]
    assert f"closed: {reason}" in result.why(only(result))
    assert f"| {reason} |" in result.report()
    assert f"<td>{reason}</td>" in summary_html(result)
    hover = " ".join(str(trace.get("text", "")) for trace in figure_json(result)["data"])
    assert reason.replace("_", " ") in hover
    assert dashboard_panels.trades_panel(view_of_result(result))["reasons"] == [reason]
    assert bool(result.statistics(leave_out=reason).selected)
    assert ("[enough]" in result.why(only(result))) == (reason == "strategy")


# -- reports and exports -----------------------------------------------------------------------------------------


def test_the_report_has_every_fill_and_every_moved_stop(added: bknb.Result) -> None:
    text = added.report()
    table = text.partition("## Fills and moved levels\n\n")[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    assert [[row[0][-5:], *row[2:]] for row in cells] == [
        ["00:00", "entry", "1", "100.00", "", ""],
        ["00:02", "levels moved", "", "98", "strategy", ""],
        ["00:03", "add", "0.5", "101.50", "", "stronger"],
        ["00:03", "reduce", "0.5", "104.00", "take_profit", ""],
        ["00:03", "levels moved", "", "102.5", "trailing_stop", ""],
        ["00:05", "reduce", "0.25", "105.50", "strategy", "a little"],
        ["00:06", "exit", "0.75", "105.00", "trailing_stop", ""],
    ]
    assert "| Fills | Average entry |" in text
    assert "| 5 | 100.50 |" in text
    html = summary_html(added)
    assert "7 fills and moved levels, times in UTC" in html
    assert html.count("<td>levels moved</td>") == 2


def test_a_moved_target_is_no_moved_stop() -> None:
    result = run(manage=lambda position: bknb.Move(price_take_profit=130.0) if position.minutes == 1 else None)
    (moved,) = [event for event in result.position_events if isinstance(event, Moved) and event.reason == "strategy"]
    assert moved.price_stop_loss == 95.0  # as before
    assert "| levels moved |  | 95 | strategy |" in result.report()


def test_a_signal_that_the_risk_profile_refused_has_no_answer_of_manage() -> None:
    """What is rejected later is about another position."""
    run_of = {"symbol": "B", "strategy": "s", "exchange": "e", "frame": None, "mode": "live", "price": 1.0}
    refused = RiskRefused(**run_of, when=60_000, signal=waiting(), risk="few", note="full", open_positions=1)
    rejected = Rejected(**run_of, when=120_000, reasons=(), signal="")
    assert with_rejected([refused], [rejected]) == [refused]
    entry = opened()
    assert with_rejected([entry], [rejected]) == [entry, rejected]


def test_the_summary_counts_what_was_managed_and_says_why_there_is_no_account(added: bknb.Result) -> None:
    text = summary_text(added)
    assert "  managed   1 add, 2 parts closed, 2 moves of levels, 2 candles moved a trailing stop" in text
    assert "  account   N/A: adds and places need a capital\n" in text
    assert text.count("adds and places need a capital") == 1


def test_the_report_says_that_there_was_no_stop() -> None:
    said = "no stop: 1 of 1 positions was opened without one"
    later = bknb.Trailing(percent=1.0, after=2.0)
    assert said in summary_text(run(signal=bknb.Signal(side="long", minute_estimated_time=9, trailing=later)))
    assert said in run(signal=bknb.Signal(side="long", minute_estimated_time=9)).report()
    at_once = bknb.Trailing(percent=1.0)
    assert "no stop" not in summary_text(run(signal=bknb.Signal(side="long", trailing=at_once)))


def turning(*, rows: bool = False, **declared: Any) -> str:
    """The summary of a strategy whose signals change sides, and that has no ``manage``."""

    def get_signal(when: Any) -> bknb.Signal:
        return bknb.Signal(side="long" if when.minute < 15 else "short", price_stop_loss=50.0, **declared)

    def get_signals(candles: bknb.Candles) -> Any:
        nothing = np.full(len(candles), np.nan)
        levels = {"price_take_profit": nothing, "price_stop_loss": 50.0, "minute_estimated_time": nothing}
        return {"position": 1, **levels, **declared}

    made = bknb.add_strategy("turns", interval="1m", **{"get_signals" if rows else "get_signal":
                             get_signals if rows else get_signal})  # fmt: skip
    candles = [(ORIGIN + k * MINUTE, *(100.0,) * 4, 1.0) for k in range(-60, 40)]
    frame = (ORIGIN, ORIGIN + 30 * MINUTE)
    return summary_text(bknb.backtest("BTCUSDT", strategy=made, exchange=source(candles), frame=frame))


def test_a_strategy_that_turns_round_by_its_signals_alone_is_told_of_manage() -> None:
    told = "no way out of a gain: 1 of 1 positions had no target, no deadline and no trailing stop, and "
    how = "manage(ctx, position) can return bknb.Close(), or [bknb.Close(), bknb.Signal(...)] to turn round"
    asked = "get_signal is not asked meanwhile, so a signal of the other side changes nothing; "
    assert told + asked + how in turning()
    found = turning(rows=True)
    assert told + "rows of get_signals open positions and turn none round" in found
    assert "columns exit_long and exit_short close a position, and " + how in found
    ends: tuple[dict[str, Any], ...] = (
        {"minute_estimated_time": 5}, {"price_take_profit": 150.0}, {"trailing": bknb.Trailing(percent=1.0)},
        {"rows": True, "exit_long": False, "exit_short": False},
    )  # fmt: skip
    assert not [one for one in ends if "no way out" in turning(**one)]
    assert "no way out" not in summary_text(run(signal=bknb.Signal(side="long"), manage=lambda: None))


def test_a_plain_run_says_nothing_of_it() -> None:
    result = run(
        signal=bknb.Signal(side="long", price_stop_loss=95.0, price_take_profit=104.0, minute_estimated_time=9),
        manage=lambda: None,
    )
    assert not result.is_managed
    assert "managed" not in summary_text(result)
    assert "Fills" not in result.report() + summary_html(result)
    assert [trace["name"] for trace in figure_json(result)["data"] if trace.get("name") == "stop"] == []


def test_fills_are_exported_beside_trades(added: bknb.Result, tmp_path: Path) -> None:
    assert added.to_csv(tmp_path) == tmp_path / "trades.csv"
    fills = pd.read_csv(tmp_path / "fills.csv")
    assert fills["kind"].tolist() == ["entry", "add", "reduce", "reduce", "exit"]
    assert fills["share"].sum() == 3.0


# -- the picture -------------------------------------------------------------------------------------------------


def test_the_figure_marks_fills_and_draws_the_stop_as_stairs(added: bknb.Result) -> None:
    marks = equity_info(added).managed
    assert [text.partition("<br>")[0] for text in marks.texts] == [
        "added 0.5 at 101.5",
        "closed 0.5 at 104 (take profit)",
        "closed 0.25 at 105.5 (strategy)",
    ]
    minutes = ((marks.stop_ms - ORIGIN) / MINUTE).tolist()
    assert minutes == [0, 2, 4, 5, 6, 6, 6]
    assert marks.stop_price[:-1].tolist() == [95.0, 98.0, 102.5, 104.0, 105.0, 105.0]
    assert np.isnan(marks.stop_price[-1])
    traces = {trace.get("name"): trace for trace in figure_json(added)["data"]}
    assert traces["stop"]["line"]["shape"] == "hv"
    assert {"added", "part closed"} <= set(traces)


@pytest.mark.slow
def test_without_equity_the_picture_says_why_and_shows_the_price(added: bknb.Result, parts: bknb.Result) -> None:
    picture = figure_json(added)
    names = {trace.get("name") for trace in picture["data"]}
    assert not names & {"equity", "drawdown"}
    assert "adds and places need a capital" in picture["layout"]["annotations"][0]["text"]
    assert equity_png(added).startswith(b"\x89PNG")
    assert "annotations" not in figure_json(parts)["layout"]
    assert "equity" in {trace.get("name") for trace in figure_json(parts)["data"]}


def test_stairs_that_are_too_many_are_thinned_and_keep_their_ends() -> None:
    long = [(at * MINUTE, 100.0 + at) for at in range(3 * POINTS)]
    marks = marks_of([], [long, long[:5]])
    assert POINTS // 2 <= len(marks.stop_ms) <= POINTS
    hole = int(np.flatnonzero(np.isnan(marks.stop_price))[0])
    assert marks.stop_price[[0, hole - 1, hole + 1]].tolist() == [100.0, long[-1][1], 100.0]
    assert len(marks_of([], [long[:4]] * POINTS).stop_ms) <= POINTS


# -- dashboards --------------------------------------------------------------------------------------------------


def replayed(result: bknb.Result) -> RunView:
    """The view of a run that goes on: events alone, in the order in which they came."""
    view = RunView(result.symbol, result.strategy, start_ms=result.start, end_ms=result.end)
    view.take_all(history(result.run_record.records))
    view.set_candles(result.candles)
    view.set_terms(result.account_terms)
    return view


@pytest.mark.parametrize("seed", first_quick([0, 3, 7]))
def test_a_dashboard_weighs_parts_as_the_result_does(seed: int) -> None:
    result = result_of(seed)
    view = replayed(result)
    view.ended("fulfilled")
    assert view.signals.trades.parted
    marked = marked_of(view)
    assert marked is not None
    assert marked.equity.tolist() == result.marked.equity.tolist()
    assert dict(account_of_view(view)) == dict(result.account)


def test_the_head_of_a_dashboard_values_what_is_left_of_an_open_position(parts: bknb.Result) -> None:
    events = [*parts.events[:1], *parts.position_events]  # the exit is not known yet
    view = RunView(parts.symbol, parts.strategy, start_ms=parts.start, end_ms=parts.end)
    view.take_all(events)
    view.set_candles(parts.candles[:6])
    view.set_terms(parts.account_terms)
    # half at 104, a quarter at 105.5, a quarter at the last close 106.8
    assert total_return(view) == pytest.approx(0.5 * 4 + 0.25 * 5.5 + 0.25 * 6.8)
    marked = marked_of(view)
    assert marked is not None
    assert marked.equity[-1] == pytest.approx(1 + total_return(view) / 100)


def test_the_panel_of_open_signals_has_the_levels_of_now(parts: bknb.Result) -> None:
    view = RunView(parts.symbol, parts.strategy)
    view.take(parts.events[0])
    (row,) = dashboard_panels.signals_panel(view)["rows"]
    assert (row["stop"], row["target"], row["size"]) == (95.0, 104.0, 1.0)
    view.take_all(parts.position_events)
    (row,) = dashboard_panels.signals_panel(view)["rows"]
    assert (row["stop"], row["target"], row["size"]) == (102.5, None, 0.25)
    assert row["texts"][1:] == ["none", "102.50"]


@pytest.mark.parametrize("made", first_quick(["finished", "going on"]))
def test_a_dashboard_without_equity_says_why(made: str, added: bknb.Result) -> None:
    view = view_of_result(added) if made == "finished" else replayed(added)
    assert "adds and places need a capital" in dashboard_panels.equity_panel(view)["text"]
    assert total_return(view) is None
    assert "1 trade" in dashboard_panels.status_panel(view, 0.0)["text"]
    assert account_of_view(view).reasons["total_return"] == "adds and places need a capital"
    assert any(
        "adds and places need a capital" in text for row in dashboard_panels.statistics_panel(view) for text in row
    )
    assert equity_png(dashboard_panels.equity_info(view)).startswith(b"\x89PNG")


def test_the_stairs_of_a_dashboard_are_those_of_the_result_once_it_is_there(parts: bknb.Result) -> None:
    moves = [[((at - ORIGIN) // MINUTE, price) for at, price in one] for one in replayed(parts).stairs]
    assert moves == [[(0, 95.0), (2, 98.0), (3, 102.5), (6, 102.5)]]  # what trails has no event
    assert view_of_result(parts).stairs == stairs_of(parts)


# -- several runs ------------------------------------------------------------------------------------------------


def test_heat_and_walkers_hold_runs_without_equity(added: bknb.Result, parts: bknb.Result) -> None:
    heat = bknb.Heat.get_data("climber", results=[added])
    assert "adds and places need a capital" in heat.report()
    assert "adds and places need a capital" not in bknb.Heat.get_data("climber", results=[parts]).report()
    frame = (ORIGIN, ORIGIN + 30 * MINUTE)
    exchange, strategies = added.run_record.plan.exchange, [added.run_record.plan.strategy]
    ranked = bknb.walker("BTCUSDT", exchange=exchange, frame=frame, strategies=strategies, metric="calmar_ratio")
    assert ranked.entries[0].account["positions"] == 1
    assert "adds and places need a capital" in ranked.report()
