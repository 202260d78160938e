"""Costs of fills: the kind each pays, equal to the settings to the last bit, and numbers that cannot be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_with_costs import result_with_costs

import bknb
from bknb.config import Settings
from bknb.domain.costs import CostRequest, Costs, fill_costs, filled_by, with_settings
from bknb.domain.funding_and_borrow_amounts import borrow_interest, funding_of
from bknb.domain.pnl import trade_pnl
from bknb.domain.position_fills import Fill
from bknb.domain.profit_of_partial_closes import result

HOUR = 3_600_000


def order(side="buy", by="market", quantity=2.0, price=100.0, kind="entry", reason=""):
    return CostRequest(
        symbol="BTCUSDT", at=0, side=side, kind=kind, filled_by=by, quantity=quantity, price=price, reason=reason
    )


def fills_of(prices, changes):
    """An entry, parts (below 0) and adds, and an exit of what is left."""
    fills, held = [Fill(number=0, kind="entry", at=0, share=1.0, price=prices[0])], 1.0
    for number, (change, price) in enumerate(zip(changes, prices[1:-1], strict=True), 1):
        share = change if change > 0 else -change * held
        fills.append(Fill(number=number, kind="add" if change > 0 else "reduce", at=number, share=share, price=price))
        held += share if change > 0 else -share
    return [*fills, Fill(number=len(fills), kind="exit", at=99, share=held, price=prices[-1])]


def priced(fills, position, costs, by="market"):
    sides = {True: "buy", False: "sell"}
    return [
        fill_costs(order(sides[each.enters is (position == "long")], by, each.share, each.price, each.kind), costs)
        for each in fills
    ]


prices = st.floats(0.001, 1e6)


@given(
    st.sampled_from(["long", "short"]),
    st.lists(st.tuples(st.floats(-0.9, 3.0).filter(bool), prices), max_size=4),
    prices,
    prices,
    st.floats(0.0, 5.0),
    st.floats(0.0, 5.0),
    st.sampled_from(["market", "limit", "stop"]),
)
def test_the_simple_way_is_today_s_result_to_the_last_bit(position, between, first, last, fee, slippage, by):
    costs = with_settings(None, Settings(percent_fee=fee, percent_slippage=slippage))
    fills = fills_of([first, *(price for _, price in between), last], [change for change, _ in between])
    found = result_with_costs(position, fills, priced(fills, position, costs, by))
    assert found == result(position, fills, slippage=slippage, fee=fee)
    if not between:
        assert found == trade_pnl(position, first, last, slippage=slippage, fee=fee)


@given(st.sampled_from(["long", "short"]), st.lists(st.tuples(prices, st.floats(0.0, 2.0)), min_size=2, max_size=2))
def test_parts_of_a_result_add_up_whatever_each_fill_pays(position, fills):
    made = fills_of([price for price, _ in fills], [])
    costs = [
        priced([fill], position, Costs(taker=percent, slippage=percent / 2, spread=fill.price / 100, fixed=0.01))[0]
        for fill, (_, percent) in zip(made, fills, strict=True)
    ]
    found = result_with_costs(position, made, costs, quantity=3.0)
    rest = found.gross_percentage - found.fee_percentage - found.slippage_percentage
    assert rest == pytest.approx(found.pnl_percentage, rel=1e-9, abs=1e-9)
    sign = 1 if position == "long" else -1
    money = sign * (costs[1].price - costs[0].price)
    fees = sum(cost.fee - cost.fixed for cost in costs) + sum(cost.fixed for cost in costs) / 3.0
    assert found.pnl_percentage == pytest.approx((money - fees) / costs[0].price * 100, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "entry", "reason", "rested", "by"),
    [
        ("entry", "market", "", False, "market"),
        ("entry", "close", "", False, "market"),
        ("entry", "limit", "", True, "limit"),
        ("entry", "limit", "", False, "market"),  # the market had reached it: it takes what is there
        ("entry", "stop", "", True, "stop"),
        ("entry", "stop", "", False, "market"),  # a gap: at the open, nothing was jumped over
        ("add", "market", "", True, "limit"),
        ("add", "market", "", False, "market"),
        ("reduce", "market", "take_profit", True, "limit"),
        ("exit", "market", "take_profit", False, "limit"),  # it rested when the bar opened beyond it
        ("exit", "market", "stop_loss", True, "stop"),
        ("exit", "market", "trailing_stop", True, "stop"),
        ("exit", "market", "breakeven", True, "stop"),
        ("exit", "market", "stop_loss", False, "market"),
        *(("exit", "market", why, False, "market") for why in ("time_expired", "strategy", "frame_end", "liquidation")),
    ],
)
def test_how_each_fill_was_filled(kind, entry, reason, rested, by):
    assert filled_by(kind, rested=rested, entry=entry, reason=reason) == by


def test_what_each_kind_pays():
    costs = Costs(taker=0.05, maker=0.02, slippage=0.1, half_spread=0.01, overshoot=0.3)
    market, limit, stop = (fill_costs(order(by=by), costs) for by in ("market", "limit", "stop"))
    assert (market.price, limit.price, stop.price) == pytest.approx((100.11, 100.01, 100.41))
    assert (market.fee, limit.fee, stop.fee) == pytest.approx((0.10011, 0.040004, 0.10041))
    assert (market.maker, limit.maker, stop.maker) == (False, True, False)
    assert fill_costs(order("sell"), costs).price == pytest.approx(99.89)
    assert fill_costs(order("sell"), costs).slippage == pytest.approx(0.22)


def test_a_function_is_given_the_order():
    seen = []
    costs = Costs(taker=lambda each: seen.append(each) or 0.01 * each.quantity, slippage=0.0, maker=0.0)
    assert fill_costs(order(quantity=3.0), costs).fee == pytest.approx(3 * 100 * 0.03 / 100)
    assert seen == [order(quantity=3.0)]
    assert fill_costs(order(by="limit"), costs).fee == 0.0


def test_a_function_that_raises_is_told_with_its_order():
    costs = Costs(taker=lambda _: 1 / 0, slippage=0.0)
    with pytest.raises(bknb.UsageError, match=r"taker of Costs, for buy 2 at 100, raised ZeroDivisionError: division"):
        fill_costs(order(quantity=2.0), costs)


@pytest.mark.parametrize("answer", [math.nan, math.inf, -1.0, 100.0, None, "0.1", True])
def test_a_function_that_answers_what_cannot_be_is_told_so(answer):
    with pytest.raises(bknb.UsageError, match=r"taker of Costs, for buy 2 at 100, must be a percentage .*, got "):
        fill_costs(order(), Costs(taker=lambda _: answer, slippage=0.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"taker": -0.1},
            r"Costs must be a percentage of at least 0 and below 100, got -0.1\n0.1 means 0.1 %",
        ),
        ({"taker": "0.1"}, "got '0.1'"),
        ({"maker": 100}, "maker of Costs must be a percentage above -1 and below 100"),
        ({"maker": -1.0}, "maker of Costs must be a percentage above -1 and below 100"),
        ({"slippage": 100}, "slippage of Costs"),
        ({"fixed": -1}, "fixed of Costs must be an amount of at least 0, got -1"),
        ({"spread": math.nan}, "spread of Costs must be a difference of prices of at least 0, got nan"),
        ({"borrow_yearly": lambda _: 1.0}, "borrow_yearly of Costs"),
        ({"funding": 0.0001}, "funding must be the name of a series, or rows of a moment .* got 0.0001"),
        ({"funding": [(1, 0.0001)]}, "a moment of funding must be a full minute"),
        ({"spread": 0.1, "half_spread": 0.1}, r"give spread .* or half_spread .* not both\n"),
    ],
)
def test_costs_that_cannot_be_are_refused(given, message):
    with pytest.raises(bknb.UsageError, match=message):
        Costs(**given)


def test_wrong_arguments_say_what_costs_take():
    with pytest.raises(TypeError, match="Costs has no takr, did you mean taker; it takes taker, maker"):
        Costs(takr=0.1)
    with pytest.raises(bknb.UsageError, match="taker of Costs is not known"):
        fill_costs(order(), Costs())


def test_a_spread_larger_than_a_price_is_told():
    with pytest.raises(bknb.UsageError, match=r"a sale at 100 would bring -100 a unit.*\n.*half_spread is in percent"):
        fill_costs(order("sell"), Costs(taker=0.0, slippage=0.0, spread=400.0))


@pytest.mark.parametrize(("side", "price"), [("sell", -37.5 - 0.375), ("buy", -37.5 + 0.375), ("sell", -37.5 - 0.475)])
def test_costs_below_zero_are_worse_and_of_the_size_of_the_price(side, price):
    spread = 0.2 if price < -37.9 else 0.0
    found = fill_costs(order(side, price=-37.5, kind="exit"), Costs(taker=0.1, slippage=1.0, spread=spread))
    assert found.price == pytest.approx(price)
    assert found.slippage == pytest.approx(2.0 * abs(price + 37.5))
    assert found.fee == pytest.approx(2.0 * abs(price) * 0.001)


def test_a_sale_at_zero_costs_nothing_but_the_spread():
    free = fill_costs(order("sell", price=0.0, kind="exit"), Costs(taker=0.1, slippage=1.0))
    assert (free.price, free.fee, free.slippage) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("position", ["long", "short"])
@pytest.mark.parametrize("slippage", [0.0, 1.0])
def test_a_result_below_zero_is_that_of_the_simple_way(position, slippage):
    costs = with_settings(None, Settings(percent_fee=0.5, percent_slippage=slippage))
    for last in (-30.0, 0.0):
        whole = fills_of([20.0, last], [])
        expected = trade_pnl(position, 20.0, last, slippage=slippage, fee=0.5)
        assert result_with_costs(position, whole, priced(whole, position, costs)) == pytest.approx(expected)
        parts = fills_of([20.0, 10.0, last], [-0.5])  # of both signs
        found = result_with_costs(position, parts, priced(parts, position, costs))
        assert found == pytest.approx(result(position, parts, slippage=slippage, fee=0.5))


# --- funding and borrowing


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, "x")], r"funding must be rows of a moment .*got \(0, 'x'\)\na rate is a share"),
        ([(0,)], "rows of a moment"),
        ([(0, math.nan)], "rows of a moment"),
        ([0.0001], "rows of a moment"),
        ([(30_000, 0.1)], "must be a full minute in UTC ms, got 30,000"),
        ([(60_000, 0.1), (60_000, 0.1)], "two rows of the moment 60,000"),
    ],
)
def test_funding_that_cannot_be_is_refused(rows, message):
    with pytest.raises(bknb.UsageError, match=message):
        funding_of(rows)


def test_rows_of_funding_may_be_read_once():
    assert Costs(funding=zip([0, HOUR], [0.1, 0.2], strict=True)).funding == ((0, 0.1), (HOUR, 0.2))


def test_a_swap_has_a_rate_for_each_side_and_borrowing_costs_time():
    (night,) = funding_of([(0, 0.0002, -0.0001)])
    assert (night.rate("long"), night.rate("short")) == (0.0002, -0.0001)
    assert borrow_interest(-1000.0, 10.0, 0, 365 * 24 * HOUR) == pytest.approx(100.0)
    assert borrow_interest(1000.0, 10.0, HOUR, HOUR) == 0.0
