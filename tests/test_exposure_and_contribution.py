"""What an account held at each minute, what each leg added to it, and the fills of all legs: worlds written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from portfolio_worlds import plan_of
from scenarios import MINUTE, ORIGIN, long
from test_capital import play as play_alone
from test_capital import short
from test_capital_portfolio import COUNTS, FIFTY, FUNDING, named, play, together
from test_portfolio import market, strategy_of

import bknb
from bknb.engine.marked_account_equity import LegCloses, prices_at
from bknb.runs.account_equity import exposure_marks, marked_moments, portfolio_marked
from bknb.runs.account_result import account_result
from bknb.runs.exposure_and_contribution import contribution_by_period, contribution_table
from bknb.runs.result import Result
from bknb.runs.run_record import record_of

RISE = dict.fromkeys(range(4, 41), (110.0, 110.0, 110.0, 110.0))


def two_legs(**options: Any) -> bknb.PortfolioResult:
    """A is bought for 4 000 at 100 in minute 0 and left in minute 6; B is sold short for 3 000 from minute 2 to 7.

    A is at 110 from minute 4 on; B stays at 100.
    """
    one = strategy_of("one", {0: {"A": long(120, 90, 6)}, 2: {"B": short(90, 120, 5)}}, risk=None)
    return play(
        [("A", one), ("B", one)],
        {"A": market(RISE), "B": market()},
        **{"account": "margin", "sizing": {"A": "cash:4000", "B": "cash:3000"}} | options,
    )


def test_exposure_is_what_is_held_at_each_close_by_the_equity() -> None:
    """Equity is 10 000 up to minute 3, then 10 400; A is worth 4 000, then 4 400, B is 3 000 short."""
    exposure = two_legs().exposure
    assert list(exposure) == ["long", "short", "net", "gross"]
    assert exposure.iloc[[0, 1, 2, 3, 4]].to_numpy().tolist() == [
        [0.0, 0.0, 0.0, 0.0],
        [40.0, 0.0, 40.0, 40.0],
        [40.0, 0.0, 40.0, 40.0],
        [40.0, -30.0, 10.0, 70.0],
        [40.0, -30.0, 10.0, 70.0],
    ]
    long_, short_ = 4_400 / 10_400 * 100, -3_000 / 10_400 * 100
    assert exposure.iloc[5].tolist() == pytest.approx([long_, short_, long_ + short_, long_ - short_])
    assert exposure.iloc[7].tolist() == pytest.approx([0.0, short_, short_, -short_])  # A has left at the open of 6
    assert exposure.iloc[8:].to_numpy().any() == np.False_
    assert exposure.index.equals(two_legs().equity.index)


def test_a_long_and_a_short_of_one_symbol_are_not_netted() -> None:
    up = strategy_of("up", {0: long(120, 90, 9)}, risk=None)
    down = strategy_of("down", {0: short(90, 120, 9)}, risk=None)
    result = play([("A", up), ("A", down)], market(), account="margin", sizing="cash:2000")
    assert result.exposure.iloc[1].tolist() == [20.0, -20.0, 0.0, 40.0]


def test_what_is_held_of_an_account_that_is_worth_nothing_is_no_share_of_it() -> None:
    fall = dict.fromkeys(range(4, 41), (1.0, 1.0, 1.0, 1.0))
    result = play_alone(
        {0: long(120, 0.5, 20)}, market(fall), account=bknb.Margin(3, 0.5, "cross"), sizing="percent:300"
    )
    assert result.exposure["gross"].iloc[1] == pytest.approx(300.0)
    assert result.exposure["gross"].iloc[-1] == 0.0


def test_contribution_of_each_minute_is_what_each_leg_added_in_it() -> None:
    """A gains 400 in minute 4, B nothing; a day is all of it, and both legs of a day without change are 0."""
    result = two_legs()
    minutes = result.contribution_by("1min")
    assert list(minutes.columns) == [("A", "one"), ("B", "one")]
    assert minutes.index[0] == result.equity.index[0]
    assert np.flatnonzero(minutes["A", "one"]).tolist() == [4]
    assert minutes["A", "one"].iloc[4] == pytest.approx(400.0)
    assert not minutes["B", "one"].any()
    assert result.contribution_by().sum().tolist() == pytest.approx(result.contribution["money"].tolist())
    fees = two_legs(settings={"percent_fee": 0.1, "percent_slippage": 0.0})
    assert fees.contribution_by("1min")["B", "one"].round(6).to_numpy().nonzero()[0].tolist() == [2, 7]
    with pytest.raises(bknb.UsageError, match="returns need a pandas frequency"):
        result.contribution_by("often")


def test_contribution_is_what_each_leg_made_and_paid() -> None:
    """Fees 0.1 % a side. A: 40 units from 100 to 110, fees 4 and 4.40; B: 30 units at 100, fees 3 and 3."""
    result = two_legs(settings={"percent_fee": 0.1, "percent_slippage": 0.0})
    quantity = result.trades.set_index("symbol")["quantity"]
    table = result.contribution
    assert list(table.index) == [("A", "one"), ("B", "one")]
    assert list(table) == ["money", "percent", "trades", "fees", "slippage", "funding", "borrow", "forgiven"]
    first, second = table.to_dict("records")
    fees = quantity["A"] * (100 + 110) * 0.001
    assert first["fees"] == pytest.approx(fees)
    assert first["money"] == pytest.approx(quantity["A"] * 10 - fees)
    assert first["percent"] == pytest.approx(first["money"] / 100)
    assert second["money"] == pytest.approx(-quantity["B"] * 200 * 0.001)
    assert table["trades"].tolist() == [1, 1]
    assert table["money"].sum() == pytest.approx(result.equity.iloc[-1] - 10_000)
    assert table["fees"].sum() == pytest.approx(result.account["fees"] * 100)


def test_one_run_has_them_too() -> None:
    result = play_alone({0: long(120, 90, 6)}, market(RISE), sizing="cash:4000")
    assert result.exposure["long"].iloc[[0, 1, 5]].tolist() == pytest.approx([0.0, 40.0, 4_400 / 104])
    assert result.contribution.reset_index()[["symbol", "money", "trades"]].to_numpy().tolist() == [
        ["BTCUSDT", 400.0, 1]
    ]


def test_fills_of_all_legs_are_in_order_of_time() -> None:
    fills = two_legs().fills
    shown = [
        [leg, round(at.timestamp() * 1000 - ORIGIN) // MINUTE, side, kind, quantity]
        for leg, at, side, kind, quantity in fills[["leg", "at", "side", "kind", "quantity"]].itertuples(index=False)
    ]
    assert shown == [
        ["one on A", 0, "buy", "entry", 40.0],
        ["one on B", 2, "sell", "entry", 30.0],
        ["one on A", 6, "sell", "exit", 40.0],
        ["one on B", 7, "buy", "exit", 30.0],
    ]
    assert list(fills) == ["leg", *two_legs().leg("A").fills]


def test_fills_without_a_capital_and_without_trades() -> None:
    rests = strategy_of("rests", {}, risk=None)
    result = bknb.portfolio(legs=[("A", rests), ("B", rests)], exchange=market(), frame=(ORIGIN, ORIGIN + 30 * MINUTE))
    assert len(result.fills) == 0
    assert list(result.fills) == ["leg", *result.leg("A").fills]


def test_without_a_capital_there_is_nothing_to_hold_a_share_of() -> None:
    alone = bknb.backtest("A", strategy=lambda: None, exchange=market(), frame=(ORIGIN, ORIGIN + 30 * MINUTE))
    rests = strategy_of("rests", {}, risk=None)
    many = bknb.portfolio(legs=[("A", rests)], exchange=market(), frame=(ORIGIN, ORIGIN + 30 * MINUTE))
    for result, says in ((alone, "without a capital there is no account"), (many, "without a capital the legs")):
        for name in ("exposure", "contribution"):
            with pytest.raises(bknb.UsageError, match=says):
                getattr(result, name)
    with pytest.raises(bknb.UsageError, match="this leg shares the account of its portfolio"):
        _ = two_legs().leg("A").exposure


@pytest.mark.parametrize("account", ["margin", "spot", *FIFTY])
@pytest.mark.parametrize("count", COUNTS)
def test_contributions_are_what_the_account_gained_in_any_world(account: Any, count: int) -> None:
    """Three random managers, leverage, funding, liquidation; exposure is that of the ledger at the last moment too."""
    for seed in range(count):
        plans = [named(plan_of(3 * seed + k, "pessimistic", risk=f"r{k}"), f"leg{k}") for k in range(3)]
        costs = None if account == "spot" else bknb.Costs(funding=FUNDING, maker=0.02, fixed=0.1)
        sizing = "percent:60" if isinstance(account, str) else "percent:900"
        run, desk = together(plans, account=account, sizing=sizing, costs=costs)
        results = [Result(record_of(leg)) for leg in run.legs]
        records, terms = [result.run_record for result in results], [result.account_terms for result in results]
        money = account_result(desk)
        moments, worth = marked_moments(records, terms, money)
        longs, shorts = exposure_marks(records, money, moments.time_ms, worth)
        legs = {("S", f"leg{k}"): record for k, record in enumerate(records)}
        table, marked = contribution_table(legs, terms, money), portfolio_marked(results, money, moments, worth)
        minutes = contribution_by_period(legs, terms, money, marked, "1min", sessions=True)
        at = marked.time_ms.searchsorted(minutes.index.as_unit("ms").asi8 + MINUTE, side="right") - 1
        lives = worth[at] > 0.0  # once it is worth nothing, it stays nothing
        assert minutes.sum(axis=1).cumsum()[lives].to_numpy() == pytest.approx(worth[at][lives] - money.capital)
        assert minutes.sum().tolist() == pytest.approx(table["money"].tolist(), abs=1e-6)
        assert table["money"].sum() == pytest.approx(worth[-1] - money.capital, abs=1e-6)
        for name in ("fees", "slippage", "funding", "borrow", "forgiven"):
            assert table[name].sum() == pytest.approx(getattr(money.end, name), abs=1e-6)
        assert not (longs < 0).any()
        assert not (shorts > 0).any()
        bknb.testing.reset()


def test_the_price_at_a_mark_is_the_last_close() -> None:
    """Marks at the start and at each close are looked up all at once, others one by one: the prices are the same."""
    closes = LegCloses(np.array([60, 120, 180, 240]), np.array([1.0, 2.0, 3.0, 4.0]))
    for times, prices in (
        ([0, 60, 120, 180, 240], [1.0, 1.0, 2.0, 3.0, 4.0]),
        ([0, 60, 120], [1.0, 1.0, 2.0]),
        ([0, 60, 90, 120, 180, 300], [1.0, 1.0, 1.0, 2.0, 3.0, 4.0]),
        ([60, 120], [1.0, 2.0]),
        ([0], [1.0]),
        ([240], [4.0]),
    ):
        assert prices_at(closes, np.array(times)).tolist() == prices, times
