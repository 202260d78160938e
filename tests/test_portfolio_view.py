"""What a notebook shows of the account of a portfolio and of its legs: figures of worlds written by hand, as HTML."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, long
from test_capital_portfolio import play
from test_exposure_and_contribution import two_legs
from test_portfolio import market, strategy_of

import bknb
from bknb.reports.chart_html import Line, chart, nice_levels
from bknb.reports.portfolio_in_notebook import account_html, legs_html, portfolio_account_html
from bknb.reports.portfolio_leg_table import leg_rows
from bknb.reports.portfolio_panels import panel_html, status_text


def words(html: str) -> str:
    """The text of HTML, its parts separated by a bar."""
    parts = (part.strip() for part in re.sub(r"<[^>]+>", "\n", html).split("\n"))
    return unescape(" | ".join(part for part in parts if part))


def test_the_account_is_said_in_six_figures() -> None:
    said = words(account_html(two_legs(benchmark="A")))
    assert said.startswith("portfolio | of 2 legs, 2 symbols | 2024-01-01 00:00 to")
    assert "Equity at the end | 10,400.00 | from 10,000.00 | Total return | +4.00 % | A held +10.00 %" in said
    assert "Largest drawdown | 0.00 %" in said
    assert said.endswith("Trades | 2 | 50.0 % won")
    assert "equal parts held +5.00 %" in words(account_html(two_legs()))


def test_what_is_not_available_is_short_in_big_letters_and_says_why_below() -> None:
    said = words(account_html(two_legs()))
    assert "Sharpe | N/A | the frame has 30 min, at least 14 days are needed" in said
    assert "Return a year (CAGR) | N/A | " in said
    assert "volatility N/A" not in said


def test_a_row_for_each_leg_what_made_most_first() -> None:
    """A makes 400, less fees of 0.1 % a side; B makes nothing and pays them."""
    result = two_legs(settings={"percent_fee": 0.1, "percent_slippage": 0.0})
    money = result.contribution["money"]
    first, second = leg_rows(result)
    assert (first.symbol, first.strategy, first.trades, first.won, first.profit_factor) == ("A", "one", 1, 100.0, None)
    assert (second.symbol, second.trades, second.won, second.profit_factor) == ("B", 1, 0.0, 0.0)
    assert [first.money, second.money] == pytest.approx(money.tolist())
    assert [first.costs, second.costs] == pytest.approx(result.contribution["fees"].tolist())
    assert second.fall == pytest.approx(money["B", "one"])
    assert first.path.tolist() == pytest.approx([0.0, money["A", "one"]])
    said = words(legs_html(result))
    assert f"one | A | {first.money:+,.2f} | 0.00 | 1 | 100 % | N/A |" in said
    assert f"| all | {money.sum():+,.2f} | 2 |" in said


def bars(html: str) -> list[str]:
    return re.findall(r"position:absolute;top:3px;bottom:3px;(left:[\d.]+%;width:[\d.]+%)", html)


def test_gains_are_bars_to_the_right_and_losses_hatched_bars_to_the_left() -> None:
    """A gains 400 and B loses 300, three quarters of it."""
    one = strategy_of("one", {0: {"A": long(120, 90, 6), "B": long(120, 80, 6)}}, risk=None)
    moves = {"A": 110.0, "B": 90.0}
    exchange = {name: market(dict.fromkeys(range(4, 41), (to,) * 4)) for name, to in moves.items()}
    result = play([("A", one), ("B", one)], exchange, sizing={"A": "cash:4000", "B": "cash:3000"})
    html = str(legs_html(result))
    assert bars(html) == ["left:50%;width:50.0%", "left:12.5%;width:37.5%"]
    assert html.count("repeating-linear-gradient") == 1
    assert html.count('alt="one on ') == 2


@pytest.mark.slow
def test_days_of_legs_are_correlated() -> None:
    """The same strategy on one symbol under two names goes together; a leg that rests has no correlation."""

    def signal(price: float) -> dict[str, Any]:
        return long(price * 1.02, price * 0.99, 240)

    for name in ("first", "second"):
        bknb.add_strategy(name, interval="1d", get_signal=signal)
    legs = [("BTCUSDT", "first"), ("BTCUSDT", "second"), ("ETHUSDT", "first"), ("ETHUSDT", lambda: None)]
    call: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-01-15", "capital": 1_000}
    result = bknb.portfolio(legs=legs, sizing="cash:100", **call)
    said = words(legs_html(result))
    expected = np.corrcoef(result.contribution_by("1D").to_numpy()[:, [0, 2]], rowvar=False)[0, 1]
    assert "second BTCUSDT | +1.00 | 1 |" in said
    assert f"first ETHUSDT | {expected:+.2f} | {expected:+.2f} | 1 |" in said
    assert "<lambda> ETHUSDT | N/A | N/A | N/A | 1" in said
    assert "Drawdowns" in said
    many = [(symbol, strategy) for symbol in ("BTCUSDT", "ETHUSDT") for strategy in map(named, range(7))]
    wide = words(legs_html(bknb.portfolio(legs=many, sizing="cash:10", **call)))
    assert re.search(r"of 91 pairs: [+-][\d.]+ to \+1.00, mean [+-][\d.]+; all are in", wide)


def named(number: int) -> str:
    name = f"n{number}"
    bknb.add_strategy(name, interval="1d", get_signal=lambda price: long(price * 1.02, price * 0.99, 240))
    return name


def test_refusals_and_warnings_are_told_and_texts_are_escaped() -> None:
    nasty = "<b>one"
    both = strategy_of(nasty, {0: long(120, 90, 6)}, risk=None)
    result = play([("A", both), ("B", both)], market())
    html = str(legs_html(result))
    assert nasty not in html
    assert "&lt;b&gt;one" in html
    said = words(html)
    assert "Refused | 1 signal | Times" in said
    assert "account: no free cash (newest: 10000 wanted" in said
    assert "Warnings | 1 | no sizing was given" in said


@pytest.mark.parametrize("kind", ["rests", "stopped", "one leg", "ruined"])
def test_whatever_came_of_it_is_shown(kind: str) -> None:
    moves = dict.fromkeys(range(4, 41), (1.0,) * 4) if kind == "ruined" else {}
    answers = {} if kind == "rests" else {0: long(200, 0.5, 20)}
    one = strategy_of("one", answers, risk=None)
    if kind == "stopped":

        def stops(ctx: Any) -> None:
            bknb.Portfolio.stop(now=True)

        one = stops
    legs = [("A", one)] if kind == "one leg" else [("A", one), ("B", one)]
    more = {"account": bknb.Margin(3, 0.5, "isolated"), "sizing": "percent:150"} if kind == "ruined" else {}
    result = play(legs, market(moves), frame=(ORIGIN, ORIGIN + 30 * MINUTE), **more)
    html = str(result._repr_html_())
    assert ("Correlation" in html) == (kind != "one leg")
    assert ("this is a partial result" in html) == (kind == "stopped")
    assert ("none was closed" in html) == (kind in ("rests", "stopped"))
    assert "nan" not in words(html).lower().replace("binance", "")


def test_a_small_capital_has_the_decimals_that_its_amounts_need() -> None:
    """Of a capital of 1 the leg A adds 0.04: four decimals in figures, legs, trades, panels and levels alike."""
    result = two_legs(capital=1, sizing={"A": "cash:0.4", "B": "cash:0.3"}, benchmark="A")
    shown = words(portfolio_account_html(result))
    assert "Equity at the end | 1.0400" in shown
    assert "from 1.0000" in shown
    assert "one | A | +0.0400 | " in shown
    assert "mean +0.0200" in shown
    assert "was worth 1.0400 at the end" in result.report()
    assert result.account.text("end").startswith("1.0400")
    snapshot = result.snapshot()
    assert "1.0400 (+4.00 %)" in status_text(snapshot, "")
    assert "| +0.0400 |" in words(str(panel_html(snapshot, "legs")))
    levels = nice_levels(0.999, 1.0012)
    flat = chart(snapshot.time_ms, [Line(0.99995 + snapshot.equity / 1e4, "#abc")], start=0, end=9, height=90, alt="")
    told = words(str(flat)).split(" | ")[-len(levels) :]
    assert len({*told}) == len(told)
