"""Portfolios with one account: worlds of two legs written out to the cent, conservation, one leg as its backtest."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from portfolio_worlds import plan_of
from scenarios import MINUTE, ORIGIN, long, source
from test_capital import FREE, MODELS, conserved, money_of, money_run
from test_portfolio import FLAT, FRAME, market, minute_of, strategy_of

import bknb
from bknb.domain.funding_charged_and_fills_booked import Ledger
from bknb.engine.account_plan import plan_account
from bknb.engine.portfolio_run import PortfolioRun
from bknb.engine.shared_account import SharedAccount
from bknb.runs.account_equity import account_marks
from bknb.runs.account_result import account_result
from bknb.runs.candle_memory import MEMORY
from bknb.runs.result import Result
from bknb.runs.run_record import record_of

FIFTY = [kind(50, 0.5, "isolated") for kind in (bknb.Perpetual, bknb.Margin)]  # a move of 1.5 % liquidates
CROSS = bknb.Perpetual(50, 1.9)  # which three legs share
LENT = bknb.Margin(50, 1.9)  # of which shorts pay interest
FUNDING = [(ORIGIN + k * MINUTE, 0.0001 * (-1) ** k) for k in range(0, 600, 7)]
COUNTS = [pytest.param(1), pytest.param(3, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.long)]


def play(legs: Sequence[tuple[str, Any]], exchange: Any, **options: Any) -> bknb.PortfolioResult:
    options = {"frame": FRAME, "settings": FREE, "capital": 10_000, "account": "spot"} | options
    return bknb.portfolio(legs=legs, exchange=exchange, **options)


def cash(result: Any) -> list[str]:
    """Every movement of cash: minute, leg, kind, amount, and what was there after it, to the cent."""
    names = [key[0] for key in result.legs]
    return [
        f"m{(row.at - ORIGIN) // MINUTE} {names[int(row.leg)]} {row.kind} {row.amount:z.2f} {row.cash:z.2f}"
        for row in result.run_account.rows
    ]


def at_close(result: Any, minutes: Sequence[int]) -> list[float]:
    """Equity at the closes of minutes, to the cent."""
    return [round(float(result.equity.iloc[k + 1]), 2) for k in minutes]


# --- hand-written worlds ----------------------------------------------------------------------------------------------


def test_the_second_leg_gets_what_the_first_one_left() -> None:
    """60 % each of 10 000, fees 0.1 %: A takes 6 006 with its fee; B what is left, 3 994, fee included."""
    both = strategy_of("both", {0: long(102, 90, 20)}, risk=None)
    rise = {3: (100.0, 103.0, 100.0, 102.0), 4: (102.0, 102.0, 102.0, 102.0)}
    result = play(
        [("A", both), ("B", both)],
        {"A": market(rise), "B": market({5: (99.0, 103.0, 99.0, 102.0)})},
        sizing="percent:60",
        settings=FREE | {"percent_fee": 0.1},
    )
    assert cash(result) == [
        "m0 A buy -6000.00 4000.00", "m0 A fee -6.00 3994.00",
        "m0 B buy -3990.01 3.99", "m0 B fee -3.99 0.00",
        "m3 A sell 6120.00 6120.00", "m3 A fee -6.12 6113.88",
        "m5 B sell 4069.81 10183.69", "m5 B fee -4.07 10179.62",
    ]  # fmt: skip
    assert at_close(result, [0, 2, 3, 4, 5]) == [9990.01, 9990.01, 10103.89, 10103.89, 10179.62]
    assert result.trades["money"].round(2).tolist() == [107.88, 71.74]
    assert result.refused == []


def test_nothing_is_left_for_the_second_leg() -> None:
    both = strategy_of("both", {0: long(102, 90, 5)}, risk=None)
    result = play([("A", both), ("B", both)], market())
    assert [(event.symbol, event.note) for event in result.refused] == [
        ("B", "no free cash: 10000 wanted, 0 is free; close something, or size smaller")
    ]
    assert cash(result) == ["m0 A buy -10000.00 0.00", "m5 A sell 10000.00 10000.00"]


@pytest.mark.parametrize("legs", ["AB", "BA"])
def test_cash_of_an_exit_ordered_at_the_same_moment_pays_for_an_entry(legs: str) -> None:
    """A leaves at minute 5, B is asked then: 10 000 at the last close; the open is 98, so that 9 800 are there."""
    one = strategy_of("one", {0: {"A": long(110, 90, 5)}, 5: {"B": long(110, 90, 5)}}, risk=None)
    fall = {5: (98.0, 98.0, 98.0, 98.0)}
    result = play([(symbol, one) for symbol in legs], {"A": market(fall), "B": market()})
    assert sorted(cash(result)[1:3]) == sorted(
        ["m5 A sell 9800.00 9800.00", "m5 B buy -9800.00 0.00"]
        if legs == "AB"
        else ["m5 B buy -9800.00 -9800.00", "m5 A sell 9800.00 0.00"]
    )
    assert result.trades[["leg", "quantity", "cut"]].to_numpy().tolist() == [
        ["one on A", 100.0, False],
        ["one on B", 98.0, True],
    ]


@pytest.mark.parametrize("legs", ["AB", "BA"])
def test_an_entry_whose_cash_did_not_come_is_taken_back_when_it_fills(legs: str) -> None:
    """A is to leave at minute 5, and nobody trades it then: the 10 000 that B's order counted on are not there."""
    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 0.0 if k == 5 else 100.0) for k in range(-60, 41)]
    one = strategy_of("one", {0: {"A": long(110, 90, 5)}, 5: {"B": long(110, 90, 5)}}, risk=None)
    result = play([(symbol, one) for symbol in legs], {"A": source(rows), "B": market()})
    assert cash(result) == ["m0 A buy -10000.00 0.00", "m6 A sell 10000.00 10000.00"]
    assert [(event.symbol, event.risk, event.note) for event in result.refused] == [
        ("B", "", "too little free cash when the order filled: 0 was free at a price of 100; size smaller")
    ]
    assert result.cancelled["reason"].tolist() == ["risk"]


@pytest.mark.parametrize("legs", ["AB", "BA"])
def test_cash_of_an_exit_at_the_open_pays_for_what_fills_in_the_range_of_that_bar(legs: str) -> None:
    one = strategy_of("one", {0: {"A": long(110, 90, 5)}, 5: {"B": long(110, 90, 5, at=99.0)}}, risk=None)
    dip = market({5: (100.0, 100.0, 98.0, 100.0)})
    result = play([(symbol, one) for symbol in legs], {"A": market(), "B": dip})
    assert result.refused == []
    assert result.leg("B").trades["quantity"].tolist() == pytest.approx([10_000 / 99])


@pytest.mark.parametrize("model", ["pessimistic", "touch", "vwap"])
def test_cash_of_an_exit_ordered_at_the_same_moment_pays_for_an_add(model: str) -> None:
    answers, manage = (
        {0: {"A": long(110, 90, 30), "B": long(110, 90, 30)}},
        {6: {"A": bknb.Close(), "B": bknb.Add(2.0)}},
    )
    one = strategy_of("one", answers, manage=manage, risk=None)
    result = play([("A", one), ("B", one)], market(), sizing={"A": "cash:9000", "B": "cash:1000"}, execution=model)
    assert result.leg("B").fills[["kind", "share", "quantity"]].to_numpy().tolist() == [
        ["entry", 1.0, 10.0], ["add", 2.0, 20.0], ["exit", 3.0, 30.0]
    ]  # fmt: skip


@pytest.mark.parametrize("legs", ["AB", "BA"])
@pytest.mark.parametrize("minute", [5, 7])
def test_cash_of_an_exit_at_the_open_of_a_longer_bar_pays_for_entries_within_it(legs: str, minute: int) -> None:
    """A leaves at minute 5, the open of its bar of five minutes, which is told at 10; B is asked before."""
    by_minute = strategy_of("by minute", {minute: {"B": long(110, 90, 5)}}, risk=None)
    bknb.add_strategy("by five", interval="5m",
                      get_signal=lambda ctx: long(110, 90, 5) if ctx.when_ms == ORIGIN else None)  # fmt: skip
    named = {"A": ("A", "by five"), "B": ("B", by_minute)}
    result = play([named[leg] for leg in legs], market(), base={"A": "5m", "B": "1m"})
    assert result.refused == []
    assert result.leg("B").trades["quantity"].tolist() == [100.0]


@pytest.mark.parametrize("legs", ["AB", "BA"])
@pytest.mark.parametrize(
    ("minute", "gone", "expected"),
    [
        (
            5,
            None,
            ["m5 B buy -10000.00 -10000.00", "m5 A sell 9800.00 -200.00"],
        ),  # the open, 98, is not known before 10
        (7, None, ["m7 B buy -10000.00 -10000.00", "m5 A sell 9800.00 -200.00"]),
        (7, 5, ["m7 B buy -10000.00 -10000.00", "m10 A sell 9800.00 -200.00"]),  # nor that there is no such bar
        (12, 5, ["m10 A sell 9800.00 9800.00"]),  # no bar has closed at 10: none is expected then
    ],
)
def test_cash_of_an_exit_in_a_longer_bar_under_way_counts_at_the_last_close(
    legs: str, minute: int, gone: int | None, expected: list[str]
) -> None:
    """A leaves at minute 5, at 98 in the open of its bar of five minutes; B is bought within that, at 100."""
    by_minute = strategy_of("by minute", {minute: {"B": long(110, 90, 30)}}, risk=None)
    bknb.add_strategy("by five", interval="5m",
                      get_signal=lambda ctx: long(110, 90, 5) if ctx.when_ms == ORIGIN else None)  # fmt: skip
    named = {"A": ("A", "by five"), "B": ("B", by_minute)}
    rows = [(ORIGIN + k * MINUTE, *([98.0 if k >= 5 else 100.0] * 4), 1.0) for k in range(-60, 60, 5) if k != gone]
    run = {"base": {"A": "5m", "B": "1m"}, "allow_gaps": True}
    result = play([named[leg] for leg in legs], {"A": source(rows), "B": market()}, **run)
    assert [row for row in cash(result)[1:] if "B sell" not in row] == expected
    assert [event.symbol for event in result.refused] == ([] if len(expected) > 1 else ["B"])


def test_cash_of_an_exit_in_a_market_that_is_closed_is_not_there_before_it_opens() -> None:
    """A leaves at minute 20, when its market has closed; B is asked within what would be A's next bar."""
    by_minute = strategy_of("by minute", {22: {"B": long(110, 90, 2)}}, risk=None)
    bknb.add_strategy("by five", interval="5m",
                      get_signal=lambda ctx: long(110, 90, 15) if minute_of(ctx) == 5 else None)  # fmt: skip
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-00:20"})
    rows = [(ORIGIN + (day + k) * MINUTE, *FLAT, 1.0) for day in (-1440, 0, 1440) for k in range(0, 20, 5)]
    exchange = {"A": bknb.exchanges.in_sessions(source(rows), hours), "B": market()}
    result = play([("A", "by five"), ("B", by_minute)], exchange, base={"A": "5m", "B": "1m"})
    assert [event.note[:12] for event in result.refused] == ["too little f"]


def test_cash_of_an_exit_at_the_end_of_a_longer_bar_is_not_there_within_it() -> None:
    """A leaves at minute 10, the close of its bar from 5; B is asked at 7."""
    by_minute = strategy_of("by minute", {7: {"B": long(110, 90, 5)}}, risk=None)
    bknb.add_strategy("by five", interval="5m",
                      get_signal=lambda ctx: long(110, 90, 10) if ctx.when_ms == ORIGIN else None)  # fmt: skip
    result = play([("A", "by five"), ("B", by_minute)], market(), base={"A": "5m", "B": "1m"})
    assert [event.note[:12] for event in result.refused] == ["no free cash"]


@pytest.mark.parametrize("legs", ["AB", "BA"])
def test_cash_of_an_exit_inside_a_bar_pays_for_nothing_in_it(legs: str) -> None:
    """B's stop entry at 101 has 5 000; the bar opens at 103, and A's target is met in it: 5 000 are spent, no more."""
    stop_entry = long(130, 90, 20, at=101.0) | {"entry": "stop"}
    one = strategy_of("one", {0: {"A": long(102, 90, 20), "B": stop_entry}}, risk=None)
    rise = {3: (100.0, 103.0, 100.0, 102.0)}
    gap = dict.fromkeys(range(3, 41), (103.0, 103.0, 103.0, 103.0))
    result = play([(symbol, one) for symbol in legs], {"A": market(rise), "B": market(gap)}, sizing="percent:50")
    bought = result.leg("B").trades.iloc[0]
    assert (round(bought["quantity"], 6), bool(bought["cut"])) == (round(5000 / 103, 6), False)
    units = {"A": bknb.size.Units(50), "B": bknb.size.Units(49.5)}  # 4 999.50 at 101, 5 098.50 at 103
    result = play([(symbol, one) for symbol in legs], {"A": market(rise), "B": market(gap)}, sizing=units)
    bought = result.leg("B").trades.iloc[0]
    assert (round(bought["quantity"], 6), bool(bought["cut"])) == (round(5000 / 103, 6), True)


@pytest.mark.parametrize("legs", ["AB", "BA"])
@pytest.mark.parametrize("level", [{"price_stop_loss": 95.0}, {"price_take_profit": 104.0}], ids=["stop", "target"])
def test_a_level_met_behind_a_part_that_was_ordered_pays_for_nothing_in_its_bar(legs: str, level: Any) -> None:
    """A tenth of A's 100 is sold at the open of 5: 1 000 for B's order at 120; what is met in that bar comes later."""
    signal = {"position": "long", "minute_estimated_time": 25} | level
    answers = {0: {"A": signal}, 5: {"B": long(160, 80, 20)}}
    one = strategy_of("one", answers, manage={5: {"A": bknb.Reduce(0.1)}}, risk=None)
    rows = {"A": market({5: (100.0, 105.0, 94.0, 100.0)}), "B": market(dict.fromkeys(range(5, 41), (120.0,) * 4))}
    sizing = {"A": "percent:100", "B": bknb.size.Units(10)}
    result = play([(symbol, one) for symbol in legs], rows, sizing=sizing)
    bought = result.leg("B").trades.iloc[0]
    assert (round(bought["quantity"], 6), bool(bought["cut"])) == (round(1000 / 120, 6), True)


def test_cash_that_rests_in_an_order_is_free_once_it_is_taken_back() -> None:
    resting = long(110, 80, 5, at=95.0)
    one = strategy_of("one", {0: {"A": resting}, 2: {"B": long(110, 90, 2)}, 6: {"B": long(110, 90, 2)}}, risk=None)
    result = play([("A", one), ("B", one)], market(), settings=FREE | {"schedule_await_minutes": 5})
    assert [(event.symbol, (event.when - ORIGIN) // MINUTE) for event in result.refused] == [("B", 2)]
    assert cash(result)[0] == "m6 B buy -10000.00 0.00"


@pytest.mark.parametrize("base", ["1m", "5m"])
def test_funding_of_legs_that_are_quiet_is_marked_at_its_moments(base: str) -> None:
    """3 000 each from minutes 0 and 5, funding of 1 % at 10, 15 and 22: 60 each; with bars of five it is told at 25."""
    costs = bknb.Costs(funding=[(ORIGIN + k * MINUTE, 0.01) for k in (10, 15, 22)])
    one = strategy_of("one", {0: long(110, 90, 25)}, risk=None)
    bknb.add_strategy("by five", interval="5m",
                      get_signal=lambda ctx: long(110, 90, 24) if minute_of(ctx) == 5 else None)  # fmt: skip
    result = play([("A", one), ("B", "by five")], market(), sizing="cash:3000", costs=costs, account="perpetual",
                  base={"A": "1m", "B": base})  # fmt: skip
    within = 9_850.0 if base == "5m" else 9_820.0
    known = {9: 10_000.0, 10: 9_940.0, 14: 9_940.0, 15: 9_880.0, 21: 9_880.0, 22: within, 24: within, 25: 9_820.0}
    assert {k: float(result.equity.loc[pd.Timestamp(ORIGIN + k * MINUTE, unit="ms", tz="UTC")]) for k in known} == known
    assert result.trades["funding"].tolist() == [90.0, 90.0]


def test_sizes_accounts_and_costs_by_symbol_and_strategy() -> None:
    both = strategy_of("both", {0: long(102, 90, 5)}, risk=None)
    result = play(
        [("A", both), ("B", both)],
        market(),
        sizing={"A": "cash:1000", "B": "units:2"},
        costs={"A": bknb.Costs(taker=0.1, fixed=1.0)},
    )
    assert cash(result) == [
        "m0 A buy -1000.00 9000.00", "m0 A fee -2.00 8998.00", "m0 B buy -200.00 8798.00",
        "m5 A sell 1000.00 9798.00", "m5 A fee -2.00 9796.00", "m5 B sell 200.00 9996.00",
    ]  # fmt: skip


def test_an_account_has_one_currency() -> None:
    rests = strategy_of("rests", {}, risk=None)
    exchange = {symbol: market() for symbol in ("BTCUSDT", "ETH/EUR", "SAP")}
    mixed = "BTCUSDT is quoted in USDT, and ETH/EUR in EUR\\nan account has one currency"
    with pytest.raises(bknb.UsageError, match=mixed):
        play([("BTCUSDT", rests), ("ETH/EUR", rests)], exchange)
    with pytest.raises(bknb.UsageError, match="currency is 'EUR', and BTCUSDT in USDT"):
        play([("BTCUSDT", rests)], exchange, currency="EUR")
    with pytest.raises(bknb.UsageError, match="currency must be a code such as 'USDT' or 'EUR', got 5"):
        play([("SAP", rests)], exchange, currency=5)
    assert play([("ETH/EUR", rests)], exchange).run_account.currency == "EUR"
    assert play([("SAP", rests)], exchange, currency="CHF").run_account.currency == "CHF"
    assert play([("SAP", rests)], exchange).run_account.currency == ""
    with pytest.raises(bknb.UsageError, match="BTCUSDT is quoted in USDT, and ETHBTC in BTC"):
        play([("BTCUSDT", rests), ("ETHBTC", rests)], exchange | {"ETHBTC": market()})
    doubtful = play([("BTCUSDT", rests), ("SAP", rests)], exchange, sizing="percent:50")
    assert doubtful.warnings == [
        "the account is in USDT, as BTCUSDT is; SAP: taken to be quoted in it, too (currency='USDT' says so)"
    ]


def test_what_legs_lost_beyond_the_account_is_forgiven_by_their_losses() -> None:
    """Two shorts of half each at 100 lose 15 000 and 10 000 of 10 000."""
    one = strategy_of("one", {0: long(20, 900, 20) | {"position": "short"}}, risk=None)
    rows = {symbol: market(dict.fromkeys(range(3, 41), (price,) * 4)) for symbol, price in (("A", 400.0), ("B", 300.0))}
    result = play([("A", one), ("B", one)], rows, sizing="percent:50", account="margin")
    assert result.trades[["money", "forgiven"]].round(6).to_numpy().tolist() == [[-6000, 9000], [-4000, 6000]]
    assert result.equity.iloc[-1] == 0.0


def test_a_leg_without_a_size_is_told() -> None:
    rests = strategy_of("rests", {}, risk=None)
    with pytest.raises(
        bknb.UsageError, match="sizing is a mapping and has nothing for 'B' or 'rests': it has 'A'\ngive"
    ):
        play([("A", rests), ("B", rests)], market(), sizing={"A": "percent:10"})
    every = play([("A", rests), ("B", rests)], market())
    assert [text[:45] for text in every.warnings] == ["no sizing was given: each leg asks for all of"]
    assert play([("A", rests)], market()).warnings == []


def test_a_leg_says_whose_its_account_is() -> None:
    adds = strategy_of("adds", {0: long(110, 90, 20)}, manage={2: bknb.Add(0.5)}, risk=None)
    result = play([("A", adds), ("B", adds)], market(), sizing="percent:20")
    with pytest.raises(bknb.DataError, match="this leg shares the account of its portfolio\nread equity and account"):
        _ = result.leg("A").equity
    assert result.account["buy_and_hold"] == 0.0


def test_the_text_of_a_portfolio_says_what_its_account_was_worth() -> None:
    both = strategy_of("both", {0: long(102, 90, 5)}, risk=None)
    result = play([("A", both), ("B", both)], market({3: (100.0, 103.0, 100.0, 102.0)}))
    assert "the account began with 10,000.00 and was worth 10,200.00 at the end (+2.00 %)" in repr(result)
    assert "1 x account: no free cash (newest: 10000 wanted, 0 is free; close something, or size smaller)" in repr(
        result
    )
    assert "10,200.00 at the end" in result.report()


def test_equity_is_the_same_once_candles_were_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, "limit", 0)
    bknb.add_strategy("hours", interval="1h", get_signal=lambda price: long(price * 1.02, price * 0.98, 50))
    call: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-01-02", "capital": 10_000}
    single = bknb.backtest("BTCUSDT", strategy="hours", **call)
    both = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["hours"], sizing="percent:50", **call)
    bknb.backtest("SOLUSDT", strategy="hours", **call)
    bknb.portfolio(symbols=["SOLUSDT"], strategies=["hours"], name="other", **call)
    again = bknb.Backtest.get_data("BTCUSDT", "hours")
    assert again.equity.equals(single.equity)
    assert again.account == single.account
    assert again.trades.equals(single.trades)
    assert bknb.Portfolio.get_data().equity.equals(both.equity)


@pytest.mark.parametrize("kind", ["backtest", "portfolio"])
def test_candles_of_a_run_with_a_capital_are_released(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(MEMORY, "limit", 0)
    bknb.add_strategy("hours", interval="1h", get_signal=lambda price: long(price * 1.02, price * 0.98, 50))
    call: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-01-02", "capital": 10_000}
    if kind == "backtest":
        task: Any = bknb.Backtest.background("BTCUSDT", strategy="hours", **call)
        block = weakref.ref(task.result().run_record.minutes.block.base)
    else:
        task = bknb.Portfolio.background(symbols=["BTCUSDT"], strategies=["hours"], **call)
        block = weakref.ref(task.result().leg("BTCUSDT", "hours").run_record.minutes.block.base)
    bknb.backtest("SOLUSDT", strategy="hours", **call)
    gc.collect()
    assert task.status == "fulfilled"
    assert block() is None


def test_the_figures_of_one_leg_are_those_of_its_backtest() -> None:
    bknb.add_strategy("hours", interval="6h", get_signal=lambda price: long(price * 1.02, price * 0.98, 230))
    call: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-02-01", "capital": 10_000}
    single = bknb.backtest("BTCUSDT", strategy="hours", **call)
    several = bknb.portfolio(symbols=["BTCUSDT"], strategies=["hours"], **call)
    assert list(several.account) == list(single.account)
    assert several.account == pytest.approx(single.account)
    assert several.account.reasons == single.account.reasons
    assert several.returns("1D").equals(single.returns("1D"))
    assert several.calendar("week").equals(single.calendar("week"))
    assert several.drawdowns().equals(single.drawdowns())


def test_time_in_the_market_is_that_in_which_anything_was_held() -> None:
    """A from minute 0 to 5, B from 3 to 10: ten of thirty minutes."""
    one = strategy_of("one", {0: {"A": long(110, 90, 5)}, 3: {"B": long(110, 90, 7)}}, risk=None)
    result = play([("A", one), ("B", one)], market(), sizing="percent:10")
    assert result.account["exposure"] == pytest.approx(100 / 3)
    assert (result.account["positions"], result.account["buy_and_hold"]) == (2, 0.0)


def test_without_a_capital_there_is_no_account_of_all() -> None:
    one = strategy_of("one", {}, risk=None)
    result = bknb.portfolio(legs=[("A", one)], exchange=market(), frame=FRAME)
    assert result.capital is None
    for ask in (lambda: result.equity, lambda: result.account, result.returns):
        with pytest.raises(bknb.UsageError, match="without a capital the legs have no account together"):
            ask()


# --- random worlds ----------------------------------------------------------------------------------------------------


def together(plans: Sequence[Any], **options: Any) -> tuple[PortfolioRun, SharedAccount]:
    account = plan_account(plans, **{"capital": 10_000, **options})
    assert account is not None
    desk = SharedAccount(account)
    run = PortfolioRun(plans, account=desk)
    asyncio.run(run.through(lambda _: None))
    return run, desk


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", COUNTS)
def test_one_leg_of_a_portfolio_has_the_money_of_its_backtest(model: str, count: int) -> None:
    for seed in range(count):
        single, desk = money_run(plan_of(seed, model), sizing="percent:70")
        bknb.testing.reset()
        run, shared = together([plan_of(seed, model)], sizing="percent:70")
        assert run.legs[0].records == single.records, seed
        assert shared.rows == desk.rows, seed
        assert shared.changes == desk.changes, seed
        bknb.testing.reset()


@pytest.mark.parametrize(
    "account", ["margin", "spot", bknb.Perpetual(50, 0.5, "isolated"), bknb.Margin(50, 0.5, "isolated"), CROSS, LENT]
)
@pytest.mark.parametrize("count", COUNTS)
def test_cash_is_never_overdrawn_and_nothing_is_lost_at_any_minute(account: Any, count: int) -> None:
    """Three random managers share an account; marks are those of the ledger of each minute."""
    for seed in range(count):
        plans = [plan_of(3 * seed + k, "pessimistic", risk=f"r{k}") for k in range(3)]
        plans = [named(plan, f"leg{k}") for k, plan in enumerate(plans)]
        paid = account in (*FIFTY, CROSS, "margin")
        costs = bknb.Costs(funding=FUNDING, maker=0.02, fixed=0.1) if paid else None
        costs = bknb.Costs(borrow_yearly=3_000) if account == LENT else costs
        shared = account in (CROSS, LENT)
        sizing = "percent:60" if isinstance(account, str) else "percent:1650" if shared else "percent:900"
        run, desk = together(plans, account=account, sizing=sizing, costs=costs)
        results = [Result(record_of(leg)) for leg in run.legs]
        records = [result.run_record for result in results]
        money = account_result(desk)
        times, worth = account_marks(records, [result.account_terms for result in results], money)
        follow(desk, times, worth, records, spot=account == "spot")
        bknb.testing.reset()


@pytest.mark.slow
@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("count", [pytest.param(1), pytest.param(30, marks=pytest.mark.long)])
def test_nothing_is_lost_at_any_minute_of_ten_legs_with_leverage_and_funding(count: int, *, lent: bool) -> None:
    """Cash and positions are the capital, profit and costs: with random managers, some of which are liquidated.

    ``lent``: all share their margin, and shorts pay interest.
    """
    rows: list[str] = []
    reasons: list[str] = []
    for seed in range(count):
        plans = [named(plan_of(100 + 10 * seed + k, "pessimistic", risk=f"r{k}"), f"leg{k}") for k in range(10)]
        accounts = {f"leg{k}": FIFTY[k % 2] if k % 3 else bknb.Perpetual(10, 0.5, "isolated") for k in range(10)}
        costs = {"borrow_yearly": 3_000} if lent else {"funding": FUNDING}
        given = {"account": LENT, "sizing": "percent:1000"} if lent else {"account": accounts, "sizing": "percent:150"}
        run, desk = together(plans, costs=bknb.Costs(maker=0.02, fixed=0.1, **costs), **given)
        results = [Result(record_of(leg)) for leg in run.legs]
        records = [result.run_record for result in results]
        times, worth = account_marks(records, [result.account_terms for result in results], account_result(desk))
        follow(desk, times, worth, records, spot=False)
        lost = np.abs(worth - from_fills(desk, times, records))[worth > 0.0].max()
        assert lost < 1e-9 * desk.plan.capital, lost
        rows += [row.kind for row in desk.rows]
        reasons += [event.close_reason for record in records for event in record.records.closed]
        orders = [fill.fill.order.kind for leg in desk.legs for each in leg.positions.values() for fill in each.fills]
        assert len({row.leg for row in desk.rows}) == 10
        assert {"entry", "add", "reduce", "exit"} <= {*orders}
        bknb.testing.reset()
    assert {"buy", "sell", "fee", *(["borrow"] if lent else ["profit", "funding"])} <= {*rows}
    assert "liquidation" in reasons


def from_fills(desk: SharedAccount, times: Any, records: Sequence[Any]) -> Any:
    """Equity at each mark of its own: capital, what fills paid and brought before costs, what is held, and costs."""
    worth = np.full(len(times), desk.plan.capital)
    for leg, record in zip(desk.legs, records, strict=True):
        closed, close = record.minutes.timestamp + MINUTE, record.minutes.close
        marks = close[np.maximum(np.searchsorted(closed, times, side="right") - 1, 0)]
        for fill in (each.fill for position in leg.positions.values() for each in position.fills):
            signed = fill.order.quantity if fill.order.side == "buy" else -fill.order.quantity
            is_in = (times > fill.order.at) | (times == times[-1])
            worth += is_in * (signed * (marks - fill.order.price) - fill.costs.fee - fill.costs.slippage)
    for row in desk.rows:
        if row.kind in ("funding", "borrow", "forgiven"):
            in_bar = row.kind == "borrow" and row.at % (60 * MINUTE) > 0  # that of a fill, not that of the full hour
            with_fill = in_bar or row.kind == "forgiven"  # of what was closed in the bar that opens then
            worth += ((times > row.at) | (times == times[-1]) if with_fill else times >= row.at) * row.amount
    return worth


def named(plan: Any, name: str) -> Any:
    from msgspec.structs import replace

    return replace(plan, strategy=replace(plan.strategy, name=name))


def follow(desk: SharedAccount, times: Any, worth: Any, records: Sequence[Any], *, spot: bool) -> None:
    closes = [(record.minutes.timestamp + MINUTE, record.minutes.close) for record in records]
    begin = Ledger.begin(desk.plan.capital, desk.ledger.account, desk.ledger.accounts)
    changes, now = list(desk.changes), begin
    since = [change.since for change in changes]
    assert since == sorted(since)
    for at, equity in zip(times.tolist(), worth.tolist(), strict=True):
        while changes and (changes[0].since <= at or at == times[-1]):
            now = changes.pop(0).ledger
        prices: Mapping[str, float] = {
            str(k): float(close[max(int(np.searchsorted(closed, at, side="right")) - 1, 0)])
            for k, (closed, close) in enumerate(closes)
        }
        assert abs(now.imbalance(prices)) < 1e-9 * desk.plan.capital
        assert equity == pytest.approx(now.mark(prices).equity, abs=1e-7)
        assert not spot or now.cash > -1e-6
    assert desk.ledger.cash == pytest.approx(desk.plan.capital + sum(row.amount for row in desk.rows), abs=1e-6)
    assert desk.ledger.cash == pytest.approx(desk.plan.capital + money_of(desk), abs=1e-6)
    assert not desk.ledger.reserved
    assert not desk.ledger.positions


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", COUNTS)
def test_cross_margin_of_one_leg_loses_no_more_than_there_is(model: str, count: int) -> None:
    ended = 0
    for seed in range(count):
        plan = plan_of(seed, model)
        run, desk = money_run(plan, account="perpetual:50", sizing="percent:4900")
        assert run.window is not None
        conserved(desk, run.window.minutes(plan.symbol).candles)
        assert all(change.ledger.positions or change.ledger.cash > -1e-6 for change in desk.changes)
        ended += sum(event.close_reason == "liquidation" for event in run.records.closed)
        bknb.testing.reset()
    assert ended or count < 5
