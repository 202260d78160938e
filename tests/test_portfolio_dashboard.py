"""The dashboard of a portfolio: snapshots of worlds written by hand, panels as HTML, and what follows one that runs."""

from __future__ import annotations

import base64
import re
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE, ORIGIN, long
from test_capital_portfolio import play
from test_exposure_and_contribution import two_legs
from test_portfolio import market, strategy_of
from test_portfolio import play as without_a_capital
from test_portfolio_view import words
from waiting import until

import bknb
from bknb.jupyter.dashboard import portfolio_dashboard
from bknb.jupyter.run_buttons import on_message
from bknb.reports.chart_html import Line, chart
from bknb.reports.leg_correlation import leg_correlation
from bknb.reports.portfolio_panels import PORTFOLIO_PANELS, panel_html, status_text

MINUTES = [ORIGIN + k * MINUTE for k in range(31)]


def test_a_snapshot_of_a_result_is_its_account_at_some_moments() -> None:
    """10 000 up to minute 3, then 10 400; A is 40 % long from minute 0, B 30 % short from minute 2 to 7."""
    result = two_legs(benchmark="A")
    found = result.snapshot()
    assert found.time_ms.tolist() == MINUTES
    assert found.equity.tolist() == result.equity.tolist()
    assert found.longs.tolist() == result.exposure["long"].tolist()
    assert found.shorts.tolist() == result.exposure["short"].tolist()
    assert (found.benchmark, found.held[[4, 5]].tolist()) == ("A", pytest.approx([10_000.0, 11_000.0]))
    a, b = found.legs
    assert (a.symbol, a.strategy, a.trades, a.refused, a.held) == ("A", "one", 1, 0, 0.0)
    assert (a.result, b.result) == (pytest.approx(400.0), pytest.approx(0.0))
    assert a.path.tolist() == pytest.approx([0.0] * 5 + [400.0] * 26)
    assert len(result.snapshot(10).time_ms) <= 10
    assert (found.start, found.end, found.reached) == (MINUTES[0], MINUTES[-1], MINUTES[-1])


def test_panels_of_contribution_correlation_and_allocation_are_those_of_the_account() -> None:
    """A added 400 and B nothing, and nothing is held at the end; days of three legs correlate as the cell says."""
    found = two_legs(benchmark="A").snapshot()
    assert words(str(panel_html(found, "contribution"))) == (
        "Contribution | one | A | +400.00 | one | B | 0.00 | all | +400.00"
    )
    assert words(str(panel_html(found, "allocation"))) == (
        "Allocation now, % of equity | one | A | 0.0 % | one | B | 0.0 % | long | 0.0 % | short | 0.0 %"
    )
    assert "1 day is too few" in words(str(panel_html(found, "correlation")))
    several = three_days()
    assert several.snapshot().days == pytest.approx(several.contribution_by("1D").to_numpy())
    assert str(panel_html(several.snapshot(), "correlation")) == str(leg_correlation(several))


def three_days() -> bknb.PortfolioResult:
    def get_signal(price: float) -> dict[str, Any]:
        return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}

    legs: dict[str, Any] = {"symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "strategies": [get_signal]}
    frame = ("2024-01-01 05:00", "2024-01-04")
    return bknb.portfolio(**legs, exchange="demo", frame=frame, capital=10_000, sizing="percent:30")


def test_a_snapshot_without_a_capital_has_the_legs_alone() -> None:
    result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
    found = result.snapshot()
    assert (found.capital, len(found.equity), found.legs[0].result) == (None, 0, 0.0)
    assert panel_html(found, "equity") is panel_html(found, "exposure") is None
    assert words(str(panel_html(found, "legs"))) == (
        "Legs | Leg | Result | Trades | Refused | <lambda> | BTCUSDT | 0.00 % | 0 | 0"
    )


def test_a_leg_without_a_capital_has_the_result_of_its_account_or_the_reason_why_it_has_none() -> None:
    """A went in with a half and gained 10 percent of it; B was added to, and adds and places need a capital."""
    half = strategy_of("half", {0: {"A": long(120, 90, 6) | {"size": 0.5}, "B": long(120, 90, 6)}}, risk=None)
    adds = strategy_of("adds", {0: long(120, 90, 6)}, manage={2: bknb.Add(0.5)}, risk=None)
    rise = market(dict.fromkeys(range(4, 41), (110.0, 110.0, 110.0, 110.0)))
    result = without_a_capital([("A", half), ("B", adds)], {"A": rise, "B": rise})
    first, second = result.snapshot().legs
    assert first.result == pytest.approx(5.0)
    assert first.result == pytest.approx(result.leg("A").account["total_return"])
    assert np.isnan(second.result)
    shown = words(str(panel_html(result.snapshot(), "legs")))
    assert "half | A | +5.00 % |" in shown
    assert "adds | B | N/A: adds and places need a capital |" in shown


def test_days_of_a_market_with_sessions_are_those_with_a_bar() -> None:
    """Days on which nothing was held count in the correlation, as in the cell, and weekends do not."""
    days = pd.bdate_range("2024-01-01", periods=40)
    close = 100 + np.sin(np.arange(40.0))
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0}, index=days)
    both = pd.concat([table.assign(symbol="A"), (table + 0.5).assign(symbol="B")])
    source = bknb.exchanges.from_frame(both, sessions="us-equities")

    def seldom(ctx: Any) -> Any:
        return bknb.Signal(position="long", bars=2) if ctx.when.day % 9 == 0 else None

    result = bknb.portfolio(
        symbols=["A", "B"], strategies=[seldom], exchange=source, frame=("2024-01-03", "2024-02-20"), capital=10_000
    )
    known = result.contribution_by("1D").to_numpy()
    assert ((known == 0.0).all(axis=1).sum(), len(result.trades)) > (5, 3)
    assert result.snapshot().days == pytest.approx(known)
    assert str(panel_html(result.snapshot(), "correlation")) == str(leg_correlation(result))


def test_what_is_held_of_an_equity_that_is_nothing_is_no_percentage() -> None:
    snapshot = two_legs().snapshot()
    first, *others = snapshot.legs
    nothing = snapshot._replace(legs=(first._replace(held=np.nan), *others))
    shown = words(str(panel_html(nothing, "allocation")) + str(panel_html(nothing, "legs")))
    assert "one | A | N/A |" in shown
    assert "nan" not in shown


@pytest.fixture
def waiting() -> Any:
    """A portfolio of the two legs that waits at minute 5, and the gate that lets it go on."""
    came, gate = threading.Event(), threading.Event()

    def at_five(ctx: Any) -> None:
        if int(ctx.when.timestamp() * 1000) == ORIGIN + 5 * MINUTE:
            came.set()
            assert gate.wait(20)

    one = strategy_of("one", {0: {"A": long(120, 90, 60)}}, risk=None)
    rise = dict.fromkeys(range(4, 41), (110.0, 110.0, 110.0, 110.0))
    task = bknb.Portfolio.background(
        legs=[("A", one), ("B", one), ("A", at_five)],
        exchange={"A": market(rise), "B": market()},
        frame=(ORIGIN, ORIGIN + 30 * MINUTE),
        settings={"percent_fee": 0.0, "percent_slippage": 0.0},
        capital=10_000,
        sizing={"one": "cash:4000", "at_five": "cash:1"},
        benchmark="equal",
        name="waits",
    )
    assert came.wait(20)
    yield task, gate
    gate.set()
    task.stop(now=True)
    task.result(20)


def test_a_snapshot_of_one_that_runs_is_what_is_known_then(waiting: Any) -> None:
    """At minute 5 A is at 110, ten percent above its entry, and the benchmark at 105 of 100."""
    task, gate = waiting
    found = task.snapshot()
    assert (found.reached, found.end) == (ORIGIN + 5 * MINUTE, ORIGIN + 30 * MINUTE)
    assert (found.time_ms[0], found.time_ms[-1]) == (ORIGIN, ORIGIN + 5 * MINUTE)
    assert (found.equity[0], found.equity[-1]) == (10_000.0, 10_400.0)
    assert found.longs[-1] == pytest.approx(4_400 / 10_400 * 100)
    assert [leg.held for leg in found.legs] == [pytest.approx(4_400 / 10_400 * 100), 0.0, 0.0]
    assert found.held[-1] == pytest.approx(10_500.0)
    assert status_text(found, "running").startswith(
        "running · up to 2024-01-01 00:05 UTC · 0 trades · 10,400.00 (+4.00 %)"
    )
    gate.set()
    over = task.result(20).snapshot()
    assert task.snapshot().equity.tolist() == over.equity.tolist()


def test_a_chart_has_its_levels_and_lines_where_they_belong() -> None:
    times = np.array([0, 50, 100], dtype=np.int64)
    html = str(chart(times, [Line(np.array([1.0, 3.0, 2.0]), "#abc")], start=0, end=200, height=100, alt="a line"))
    source = re.search(r"base64,([A-Za-z0-9+/=]+)", html)
    assert source is not None
    drawn = base64.b64decode(source[1]).decode()
    low, high = 0.88, 3.12  # with a margin of 6 %
    y = [f"{(high - value) / (high - low) * 100:.1f}" for value in (1.0, 3.0, 2.0)]
    assert f'd="M0.0 {y[0]}H250.0V{y[1]}H500.0V{y[2]}"' in drawn
    assert 'alt="a line"' in html
    assert words(html).endswith("1.00 | 1.50 | 2.00 | 2.50 | 3.00")
    area = chart(
        times,
        [Line(np.array([0.0, np.nan, 50.0]), "#abc", filled=True)],
        start=0,
        end=100,
        height=50,
        alt="",
        unit=" %",
    )
    assert words(str(area)).endswith("| 0 % | 20 % | 40 %")
    flat = chart(times[:1], [Line(np.array([7.0]), "#abc")], start=0, end=0, height=50, alt="")
    assert "nan" not in str(flat)


class Shown:
    """A front end that notes what is displayed, and every update of it."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []

    def display(self, data: dict[str, Any], **_: Any) -> Shown:
        self.outputs.append(data)
        return self

    update = display


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Shown:
    pytest.importorskip("anywidget")
    shown = Shown()
    monkeypatch.setattr(portfolio_dashboard, "in_kernel", lambda: True)
    monkeypatch.setattr(portfolio_dashboard, "front_end_draws", lambda: True)
    monkeypatch.setattr(portfolio_dashboard, "ipython", lambda name: shown)
    return shown


def test_panels_follow_one_that_runs_and_stay_when_it_is_over(waiting: Any, page: Shown) -> None:
    task, gate = waiting
    board = bknb.dashboard(task)
    board.show()
    widget = board.widget
    assert list(widget.html) == board.panels == [*PORTFOLIO_PANELS]
    assert "10,400.00 (+4.00 %)" in words(widget.html["status"])
    assert widget.controls["label"] == "portfolio waits"
    assert board.live
    press = {"kind": "bknb-press", "id": widget.controls["id"], "action": "pause", "number": 1, "view": "v"}
    on_message(widget, press)
    until(lambda: widget.controls["state"] == "paused")
    task.resume()
    gate.set()
    assert board.wait(20)
    assert widget.comm is None  # it is closed
    assert not board.live
    assert list(page.outputs[-1]) == ["text/html", "text/plain"]
    assert "portfolio waits | done · up to 2024-01-01 00:30 UTC" in words(page.outputs[-1]["text/html"])


def test_one_that_is_closed_leaves_its_panels_and_the_portfolio_goes_on(waiting: Any, page: Shown) -> None:
    task, _ = waiting
    board = bknb.dashboard(task, panels="legs")
    board.show()
    assert (list(board.widget.html), board.widget.controls) == (["legs"], {})
    board.close()
    assert board.wait(20)
    assert not task.done
    assert "Held now" in page.outputs[-1]["text/html"]


def test_a_result_and_a_failure_are_shown_at_once(page: Shown) -> None:
    bknb.dashboard(two_legs(benchmark="A")).show()
    said = words(page.outputs[-1]["text/html"])
    assert said.startswith("portfolio | done · up to 2024-01-01 00:30 UTC · 2 trades · 10,400.00 (+4.00 %) · A held")
    assert "Exposure, % of equity" in said
    empty = bknb.exchanges.from_function(lambda *_: []) if hasattr(bknb.exchanges, "from_function") else (lambda *_: [])
    task = bknb.Portfolio.background(
        legs=[("A", lambda: None)], exchange=empty, frame=(ORIGIN, ORIGIN + MINUTE), capital=1
    )
    task.wait(20)
    bknb.dashboard(task).show()
    assert "portfolio | failed: " in words(page.outputs[-1]["text/html"])


def test_a_terminal_shows_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    board = bknb.dashboard(two_legs())
    board.show()
    assert capsys.readouterr().out == (
        "dashboard of portfolio: done · up to 2024-01-01 00:30 UTC · 2 trades · 10,400.00 (+4.00 %)\n"
    )
    assert bknb.panels.exposure(two_legs()).panels == ["exposure"]


def test_a_panel_that_a_portfolio_has_not_is_told() -> None:
    for panels in ("price", []):
        with pytest.raises(
            bknb.UsageError,
            match="its panels: status, equity, exposure, legs, contribution, correlation, allocation; all",
        ):
            bknb.dashboard(two_legs(), panels=panels)
    result = play([("A", strategy_of("one", {}, risk=None))], market())
    assert "one · A" in str(bknb.dashboard(result.leg("A")))
    for shown in (None, result.leg("A")):
        with pytest.raises(bknb.UsageError, match="the panel 'legs' is of a portfolio"):
            bknb.panels.legs(shown)
