"""Sizes of positions: known values, the formulas of registered sizings, spellings, and answers that cannot be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.domain.costs import CostRequest, Costs
from bknb.domain.leg_options import check_names, of_leg
from bknb.domain.percent_risk_and_kelly_sizes import read_size, wanted_size
from bknb.domain.quantity_or_lack_of_cash import sized_order
from bknb.domain.quantity_step_and_least_amount import MarketLimits, reduced_by, rounded_down, too_small
from bknb.domain.signal_events import Reason
from bknb.domain.size_request import ClosedTrades, SizeRequest, WantedSize
from bknb.domain.sizing_formulas import make_sizing
from bknb.domain.spot_margin_and_perpetual import Margin, Perpetual, Spot, initial_margin, read_account

WON = ClosedTrades(wins=22, losses=18, won=66.0, lost=36.0)  # w = 0.55, wins of 3 %, losses of 2 %: R = 1.5


def request(**given):
    known = {"position": "long", "entry": 50_000.0, "price_stop_loss": 49_000.0, "equity": 10_000.0, "free": 10_000.0}
    return SizeRequest(symbol="BTCUSDT", strategy="trend", when=0, **known | given)


@pytest.mark.parametrize(
    ("size", "given", "money"),
    [
        (bknb.size.Percent(10), {}, 1000.0),
        (bknb.size.Percent(250), {}, 25_000.0),  # leverage may pay for it
        (bknb.size.Risk(2), {}, 10_000.0),  # 200 over 1000 is 0.2 units
        (bknb.size.Risk(2), {"position": "short", "price_stop_loss": 52_000.0}, 5000.0),
        (bknb.size.AtrRisk(2), {"atr": 500.0}, 10_000.0),
        (bknb.size.AtrRisk(2, multiple=4), {"atr": 500.0}, 5000.0),
        (bknb.size.Cash(500), {}, 500.0),
        (bknb.size.Kelly(0.25), {}, 100.0),  # no trade yet: 1 % of the equity
        (bknb.size.Kelly(0.25, start=3), {"closed": ClosedTrades(wins=29)}, 300.0),
        (bknb.size.Kelly(0.25), {"closed": ClosedTrades(wins=99)}, 100.0),  # no loss yet: no ratio
        (bknb.size.Kelly(0.5), {"closed": WON}, 62_500.0),  # half of 25 % lost at a stop 2 % away
        (bknb.size.Kelly(0.5), {"closed": WON, "costs_percent": 0.5}, 50_000.0),
        (bknb.size.Kelly(0.5), {"closed": WON, "price_stop_loss": None}, 62_500.0),  # the mean loss is 2 %, too
    ],
)
def test_known_values(size, given, money):
    found = wanted_size(size, request(**given))
    assert found.units is None
    assert found.money == pytest.approx(money)


def test_trades_are_believed_from_the_given_number_on():
    sums = ClosedTrades()
    for net in (3.0, -2.0, 3.0, 0.0, -4.0):
        sums = sums.after(net)
    assert sums == ClosedTrades(wins=2, losses=3, won=6.0, lost=6.0)  # one that ends at 0 has not won
    assert (sums.win_rate, sums.mean_loss, sums.win_loss_ratio) == pytest.approx((0.4, 2.0, 1.5))
    before, then = bknb.size.Kelly(1, after=41), bknb.size.Kelly(1, after=40, start=100)
    assert wanted_size(before, request(closed=WON)).money == pytest.approx(100.0)
    assert wanted_size(then, request(closed=WON)).money == pytest.approx(125_000.0)
    assert wanted_size(bknb.size.Risk(100), request()).money == pytest.approx(500_000.0)
    kelly = make_sizing("k", "kelly-criterion", {})
    assert wanted_size(kelly, request(closed=ClosedTrades(wins=20, losses=10, won=20.0, lost=10.0))) != WantedSize(
        money=100.0
    )
    assert wanted_size(kelly, request(closed=ClosedTrades(wins=99, won=99.0))) == WantedSize(money=100.0)


@pytest.mark.parametrize(
    "size",
    [
        bknb.size.Risk(1),
        bknb.size.Kelly(0.5),
        make_sizing("f", "fixed-percentage", {"risk_percentage": 1}),
        make_sizing("k", "kelly-criterion", {}),
    ],
)
@pytest.mark.parametrize(("side", "entry"), [("long", 89.9), ("long", 90.0), ("short", 90.1), ("short", 90.0)])
def test_an_entry_beyond_its_stop_is_not_sized(size, side, entry):
    """A price may fall through the stop of an answer before that is sized: its risk is unknown then, not small."""
    found = wanted_size(size, request(position=side, entry=entry, price_stop_loss=90.0, closed=WON))
    where = "below" if side == "long" else "above"
    assert (
        f"expected price_stop_loss {where} the entry, which is {entry:g}, got 90; wait for another price" in found.text
    )


def test_an_account_that_takes_no_values_says_so():
    with pytest.raises(TypeError, match="Spot takes no values; got 1"):
        bknb.Spot(1)


def test_units_are_units():
    assert wanted_size(bknb.size.Units(0.1), request()) == WantedSize(units=0.1)


@given(st.floats(0.01, 100.0), st.floats(1.0, 1e5), st.floats(1.0, 1e5), st.floats(1.0, 1e7), st.floats(0.01, 100.0))
def test_registered_sizings_and_sizes_are_one_formula(percent, entry, stop, equity, atr):
    side = "long" if stop < entry else "short"
    known = {"position": side, "price_stop_loss": stop, "atr": atr, "closed": WON, "costs_percent": 0.2}
    asked = request(entry=entry, equity=equity, **known)
    fixed = make_sizing("f", "fixed-percentage", {"risk_percentage": percent})
    wide = make_sizing("a", "atr-based", {"risk_percentage": percent, "atr_multiplier": 3.0})
    kelly = make_sizing("k", "kelly-criterion", {"kelly_multiplier": 0.3})
    pairs = [(bknb.size.AtrRisk(percent, 3.0), wide)]
    if stop != entry:
        pairs += [(bknb.size.Risk(percent), fixed), (bknb.size.Kelly(0.3), kelly)]
    for ours, registered in pairs:
        units = wanted_size(registered, asked).units
        assert units * entry == pytest.approx(wanted_size(ours, asked).money, rel=1e-12)


def test_a_registered_kelly_waits_for_trades_and_needs_no_stop():
    kelly = make_sizing("k", "kelly-criterion", {})
    assert wanted_size(kelly, request()) == WantedSize(money=100.0)
    units = wanted_size(kelly, request(price_stop_loss=None, closed=WON)).units
    assert units * 50_000 == pytest.approx(10_000 * 0.25 * 0.25)


@pytest.mark.parametrize(
    ("size", "given", "code", "text"),
    [
        (
            bknb.size.Risk(1),
            {"price_stop_loss": None},
            "no_stop",
            "expected price_stop_loss away from the entry, got none; declare a stop, or size with bknb.size.Percent",
        ),
        (bknb.size.Risk(1), {"price_stop_loss": 50_000.0}, "no_stop", "which is 50000, got 50000"),
        (
            make_sizing("careful", "fixed-percentage", {"risk_percentage": 1}),
            {"price_stop_loss": None},
            "no_stop",
            "sizing 'careful' sizes by the loss at the stop",
        ),
        (
            make_sizing("careful", "fixed-percentage", {"risk_percentage": 1}),
            {"price_stop_loss": 50_000.0},
            "no_stop",
            "which is 50000, got 50000",
        ),
        (bknb.size.AtrRisk(1), {}, "no_atr", "expected an average true range of 14 candles of 1d, got None"),
        (
            bknb.size.AtrRisk(1),
            {"atr": math.nan},
            "no_atr",
            "expected an average true range of 14 candles of 1d, got nan",
        ),
        (make_sizing("wide", "atr-based", {"risk_percentage": 1}), {}, "no_atr", "sizing 'wide'|AtrRisk"),
        (make_sizing("wide", "atr-based", {"risk_percentage": 1}), {"atr": math.nan}, "no_atr", "got nan"),
        (
            bknb.size.Kelly(0.5),
            {"closed": ClosedTrades(wins=10, losses=30, won=10.0, lost=30.0)},
            "no_advantage",
            "Kelly's stake is 0 after 40 closed trades (win rate 0.250, average win over average loss 1.000)",
        ),
        (lambda _: math.nan, {}, "size", "got nan; answer a finite number, 0 for none"),
        (lambda _: -5.0, {}, "size", "got -5.0"),
        (lambda _: math.inf, {}, "size", "got inf"),
        (lambda _: 10**400, {}, "size", "got 1000"),
        (lambda _: None, {}, "size", "got None"),
        (lambda _: "500", {}, "size", "got '500'"),
        (lambda _: True, {}, "size", "got True"),
    ],
)
def test_what_cannot_be_sized_says_what_was_expected_what_came_and_what_to_do(size, given, code, text):
    found = wanted_size(size, request(**given))
    assert isinstance(found, Reason)
    assert found.code == code
    assert any(part in found.text for part in text.split("|")), found.text


def test_a_function_answers_money_or_a_size():
    assert wanted_size(lambda asked: asked.equity / 4, request()) == WantedSize(money=2500.0)
    assert wanted_size(lambda asked: asked.equity * 1.5, request(leverage=2.0)) == WantedSize(money=15_000.0)
    assert wanted_size(lambda _: bknb.size.Risk(2), request()).money == pytest.approx(10_000.0)
    assert wanted_size(lambda asked: asked.equity, request()) == WantedSize(money=10_000.0)
    assert wanted_size(lambda _: 0, request()) == WantedSize(money=0.0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("percent:10", bknb.Percent(10)),
        ("risk:1", bknb.RiskPercent(1)),
        ("kelly:0.25", bknb.Kelly(0.25)),
        ("atr:1", bknb.Atr(1)),
        ("cash:500", bknb.Fixed(500)),
        ("units:0.1", bknb.Units(0.1)),
        ("Risk: 1", bknb.size.Risk(1)),
        ("careful", "careful"),
        (bknb.size.Cash(5), bknb.size.Cash(5)),
    ],
)
def test_spellings(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("value", ["risk:", "risk:one", "rsk:1", "", None, 10, bknb.size.Risk])
def test_a_sizing_that_is_none_is_told_the_spellings(value):
    with pytest.raises(
        bknb.UsageError, match=r"sizing must be such as .* got .*\nas a text it is one of percent:NUMBER"
    ):
        read_size(value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: bknb.size.Percent(0), "percent of Percent must be a percentage above 0, got 0"),
        (lambda: bknb.size.Risk(101), "percent of Risk must be a percentage above 0 and at most 100, got 101"),
        (lambda: bknb.size.Kelly(1.5), "part of Kelly must be a number above 0 and at most 1, got 1.5"),
        (lambda: bknb.size.Kelly(0.5, after=0), "after of Kelly must be a whole number of at least 1, got 0"),
        (lambda: bknb.size.Kelly(0.5, start=0), "start of Kelly"),
        (lambda: bknb.size.AtrRisk(1, multiple=0), "multiple of AtrRisk must be a number above 0, got 0"),
        (lambda: bknb.size.AtrRisk(1, interval=5), "interval of AtrRisk must be one of candles, such as '1d', got 5"),
        (lambda: bknb.size.AtrRisk(1, interval="7m"), "interval of AtrRisk must be one of 1m .* 3d 1w 1M, got '7m'"),
        (lambda: bknb.size.AtrRisk(1, length=0), "length of AtrRisk"),
        (lambda: bknb.size.Cash(math.nan), "money of Cash must be an amount above 0, got nan"),
        (lambda: bknb.size.Units("1"), "quantity of Units must be a quantity above 0, got '1'"),
        (lambda: read_size("risk:nan"), "percent of Risk .* got nan"),
        (lambda: Margin(0.5), "leverage of Margin must be a number of at least 1, got 0.5"),
        (lambda: Margin(leverage=math.inf), "leverage of Margin"),
        (lambda: Margin(leverage=10**400), "leverage of Margin must be a number of at least 1, got 1000"),
        (
            lambda: Perpetual(leverage=50, maintenance=2),
            "a percentage from 0 to below 2, the initial margin at a leverage of 50, got 2",
        ),
        (lambda: Margin(mode="both"), "mode of Margin must be 'cross' or 'isolated', got 'both'"),
        *(
            (lambda value=value: read_account(value), r"account must be bknb.Spot\(\), .* 'perpetual:3', got ")
            for value in ("margn:3", "spot:3", "margin:x", "margin:", None, 3, "")
        ),
        (lambda: read_account("margin:0"), "leverage of Margin must be a number of at least 1, got 0.0"),
        (lambda: MarketLimits(step=-1), "step of a market must be a number of at least 0, got -1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(made, message):
    with pytest.raises(bknb.UsageError, match=message):
        made()


def test_accounts_by_name():
    assert read_account(" Margin : 3") == Margin(leverage=3.0)
    assert read_account("margin") == read_account(Margin) == Margin()
    assert read_account("perpetual:5") == Perpetual(leverage=5.0) != Margin(leverage=5.0)
    assert read_account(Spot()) == Spot()


# --- steps and least amounts


@given(st.floats(0.0, 1e6), st.sampled_from([0.001, 0.01, 0.1, 1.0, 0.25, 5.0, 1e-8]))
def test_rounding_goes_down_to_a_multiple_and_stays_there(quantity, step):
    found = rounded_down(quantity, step)
    assert found <= quantity * (1 + 1e-9)
    assert quantity - found < step * (1 + 1e-6)
    assert rounded_down(found, step) == found


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([0.001, 0.01, 0.1]))
def test_a_multiple_that_arithmetic_made_is_not_rounded_away(first, second, step):
    assert rounded_down(first * step + second * step, step) == rounded_down((first + second) * step, step)


def test_a_least_amount_is_enough():
    market = MarketLimits(step=0.001, least_quantity=0.01, least_value=5.0)
    assert too_small(0.01, 500.0, market) is None
    assert too_small(0.009, 500.0, market).text.startswith("too small: 0.009, the market takes 0.01 at least")
    assert too_small(0.01, 499.0, market).text.startswith("too small: 0.01 is worth 4.99, the market takes 5 at least")
    assert too_small(0.0, 500.0, market).text.startswith("too small: less than one step of the market, which is 0.001")


@pytest.mark.parametrize(
    ("held", "part", "closed"),
    [
        (1.0, 0.5, 0.5),
        (1.0, 0.999, 1.0),  # 0.001 would be left, worth 0.1
        (1.0, 0.95, 0.95),  # 0.05 is worth 5
        (1.0, 0.951, 1.0),
        (1.0, 0.04, 0.0),  # worth 4: the market does not take it
        (0.04, 0.02, 0.04),  # what is held is too small for two
        (1.0, 5.0, 1.0),
        (1.0, 0.0, 0.0),
    ],
)
def test_a_reduction_closes_all_where_too_little_would_be_left(held, part, closed):
    assert reduced_by(held, part, 100.0, MarketLimits(step=0.001, least_value=5.0)) == closed


def test_leverage_times_what_is_free_can_be_bought():
    order = CostRequest(symbol="A", at=0, side="sell", kind="entry", filled_by="market", quantity=0.0, price=100.0)
    given = {"free": 100.0, "costs": Costs(taker=0.1, slippage=0.0), "limits": MarketLimits()}
    found = sized_order(WantedSize(money=1e6), order, account=Perpetual(leverage=5), **given)
    assert (found.quantity, found.scaled, found.reserved) == pytest.approx((5 / 1.005, True, 100.0))  # 5 of it for fees
    assert initial_margin(Perpetual(leverage=5), 500.0) == 100.0
    refused = sized_order(WantedSize(money=0.0), order, account=Margin(), **given)
    assert refused.text == "the size is 0: nothing is opened"
    refused = sized_order(WantedSize(money=math.nan), order, account=Margin(), **given)
    assert refused.text == "the size is nan: nothing is opened"
    refused = sized_order(WantedSize(units=3.0), order, account=Margin(), **given | {"free": -5.0})
    assert refused.text == "no free margin: 300 wanted, 0 is free; close something, or size smaller"
    units = sized_order(WantedSize(units=0.5), order, account=Margin(), **given)
    assert (units.quantity, units.money, units.reserved, units.units) == (0.5, 50.0, 50.0, True)


def test_costs_that_are_functions_of_the_order_are_asked_for_its_quantity():
    order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=0.0, price=100.0)
    impact = Costs(taker=0.0, slippage=lambda each: each.quantity)  # 1 % worse for each unit
    given = {"costs": impact, "limits": MarketLimits(), "account": Spot()}
    found = sized_order(WantedSize(money=1000.0), order, free=1e6, **given)
    assert found.quantity == pytest.approx(1000 / 110)  # ten units at the price before slippage: 10 %
    less = sized_order(WantedSize(money=1000.0), order, free=500.0, **given)
    assert less.scaled
    assert less.quantity * 100 * (1 + less.quantity / 100) <= 500.0 * (1 + 1e-9)
    assert less.quantity == pytest.approx(500 / 109.0909, rel=0.01)


# --- by symbol or strategy


@pytest.mark.parametrize(
    ("given", "symbol", "found"),
    [
        ("risk:1", "BTC", "risk:1"),
        ({"BTC": "risk:1"}, "BTC", "risk:1"),
        ({"BTC": "risk:1"}, "ETH", None),
        ({"trend": "risk:1"}, "ETH", "risk:1"),
        ({"ETH": "cash:5", "revert": "risk:1"}, "ETH", "cash:5"),
        ({"trend": "cash:5"}, "trend", "cash:5"),  # a symbol that is called like its strategy
        ({}, "BTC", None),
    ],
)
def test_what_a_leg_has(given, symbol, found):
    assert of_leg("sizing", given, symbol=symbol, strategy="trend") == found


def test_a_leg_cannot_have_two_and_unknown_names_are_told():
    with pytest.raises(bknb.UsageError, match="the symbol 'BTC' and one for the strategy 'trend'"):
        of_leg("costs", {"BTC": 1, "trend": 2}, symbol="BTC", strategy="trend")
    check_names("costs", {"BTC": 1, "trend": 2}, symbols=["BTC"], strategies=["trend"])
    check_names("costs", Spot(), symbols=["BTC"], strategies=["trend"])
    with pytest.raises(bknb.UnknownName, match="no symbol or strategy of costs is called 'trnd'"):
        check_names("costs", {"trnd": 1}, symbols=["BTC"], strategies=["trend"])
