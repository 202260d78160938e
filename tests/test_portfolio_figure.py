"""The figure of a portfolio with a capital, and what a notebook shows of a run with one."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from scenarios import ORIGIN
from test_exposure_and_contribution import two_legs

import bknb
from bknb.jupyter import display
from bknb.reports.portfolio_figure import portfolio_traces


def test_the_figure_has_equity_benchmark_drawdown_and_exposure() -> None:
    """Equity is 10 400 from the close of minute 4 on; A, which stands beside it, rises from 100 to 110 then."""
    result = two_legs(benchmark="A")
    traces = {trace["name"]: trace for trace in portfolio_traces(result)}
    assert {name: trace["yaxis"] for name, trace in traces.items()} == {
        "A held": "y", "equity": "y", "drawdown": "y2", "long": "y3", "short": "y3", "net": "y3"
    }  # fmt: skip
    for name, values in (("equity", [10_000.0, 10_400.0]), ("A held", [10_000.0, 11_000.0])):
        assert traces[name]["y"][[4, 5]].tolist() == pytest.approx(values)
        assert int(traces[name]["x"][0]) == ORIGIN
    assert traces["long"]["y"][1] == pytest.approx(40.0)
    assert traces["short"]["y"][3] == pytest.approx(-30.0)
    assert traces["net"]["y"][3] == pytest.approx(10.0)
    assert traces["drawdown"]["y"].min() == 0.0


@pytest.mark.slow
def test_the_figure_is_of_plotly() -> None:
    pytest.importorskip("plotly")
    figure = two_legs().figure()
    assert figure.layout.yaxis.title.text == "equity"
    assert "A held" not in [trace.name for trace in figure.data]
    without = bknb.portfolio(legs=[("A", "one")], exchange="demo", frame="2024-01-01:2024-01-02")
    with pytest.raises(bknb.UsageError, match="without a capital"):
        without.figure()


@pytest.mark.slow
def test_a_notebook_shows_the_figure_of_a_portfolio_then_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a front end: the account, plotly's JSON with a PNG beside it, in one sentence for readers, and the legs.

    Without a capital there is the table of the legs alone.
    """
    shown: list[tuple[dict[str, Any], dict[str, Any]]] = []

    class Shell:
        def get_ipython(self) -> None:
            return None

        def display(self, data: Any, *, metadata: Any, raw: bool) -> None:
            assert raw
            shown.append((data, metadata))

    monkeypatch.setattr(display, "in_kernel", lambda: True)
    monkeypatch.setattr(display, "front_end_draws", lambda: False)
    monkeypatch.setattr(display, "ipython", lambda name: Shell())
    result = two_legs(benchmark="A")
    display.show(result)
    (account, marked), (picture, _), (legs, nothing) = shown
    assert "Equity at the end" in account["text/html"]
    assert account["text/plain"] == repr(result)
    assert "Largest fall" in legs["text/html"]
    assert nothing == {}
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert [trace["name"] for trace in picture["application/vnd.plotly.v1+json"]["data"]][:2] == ["A held", "equity"]
    assert picture["text/plain"] == (
        "Equity curve of the portfolio: 2 trades, total return +4.00 %, maximum drawdown 0.00 %."
    )
    assert account["text/html"] + legs["text/html"] == result._repr_html_()
    assert {name: marked["bknb"][name] for name in ("kind", "name")} == {"kind": "portfolio", "name": "portfolio"}
    shown.clear()
    alone = bknb.portfolio(legs=[("A", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
    display.show(alone)
    assert [list(data) for data, _ in shown] == [["text/html", "text/plain"]]


def test_a_terminal_shows_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    two_legs(benchmark="A")._ipython_display_()
    text = capsys.readouterr().out
    assert text.startswith("portfolio, 2 legs")
    assert "its largest drawdown was 0.00 %, holding A made +10.00 %; percentages of a leg" in text
