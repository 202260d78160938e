"""Orders as their market takes them, and what a purchase leaves after its fee: sold down to the step, dust is told."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from desk_life import ENTRY, Exchange, Life, closing, lives
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from order_events import closed, holding, opened

from bknb.brokers import BrokerMarket, Order
from bknb.brokers.exchange_profile import in_base
from bknb.brokers.okx_swap import OkxSwap
from bknb.brokers.order_fits_market import must_fit
from bknb.domain.broker_account import Fee
from bknb.domain.broker_orders_and_ids import closed_beyond, left_by_rounding, left_open
from bknb.domain.rounded_orders import SPARE_AT_STOP, rounded_order
from bknb.errors import BrokerError

BINANCE = BrokerMarket(
    symbol="", base="BTC", quote="USDT", tick=0.01, step=0.001, least_value=5.0, taker=0.1, fee_in="base"
)


def order(**more):
    known = Order(
        client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo", purpose="open",
        side="buy", kind="market", quantity=2.0, price=None, record_price=100.0, created_at=0,
    )  # fmt: skip
    return replace(known, **more)


@st.composite
def markets(draw):
    """Rules of a market, and a quantity and a price that somebody may ask for there."""
    step = draw(st.sampled_from([10.0**-digits for digits in range(9)] + [0.5, 5.0, 0.25, 0.0]))
    tick = draw(st.sampled_from([10.0**-digits for digits in range(9)] + [0.5, 0.05, 0.0]))
    market = BrokerMarket(
        symbol="X", base="X", quote="USDT", tick=tick, step=step,
        market_step=round(step * draw(st.sampled_from([0, 1, 10])), 9),
        least_quantity=round(step * draw(st.integers(0, 20)), 9),
        least_value=draw(st.sampled_from([0.0, 1.0, 5.0, 10.0])),
        most_quantity=draw(st.sampled_from([math.inf, 1e5])),
        most_market_quantity=draw(st.sampled_from([math.inf, 1e3])),
        margin_modes=draw(st.sampled_from([(), ("isolated",)])),
    )  # fmt: skip
    price = draw(st.floats(1e-6, 1e6))
    return market, draw(st.floats(1e-9, 1e7)), price


def multiple(number, unit):
    return unit == 0.0 or Decimal(repr(number)) % Decimal(repr(unit)) == 0


@given(markets(), st.sampled_from(["market", "limit", "stop"]), st.floats(0.5, 1.0))
@settings(max_examples=200, deadline=None)
def test_what_is_sent_is_on_the_grid_no_more_than_was_asked_for_and_what_the_market_takes(given_, kind, stop_part):
    market, quantity, price = given_
    asked = order(
        quantity=quantity, kind=kind, record_price=price, purpose="protect" if kind == "stop" else "open",
        price=price if kind == "limit" else None, trigger=price if kind == "stop" else None,
    )  # fmt: skip
    stop = price * stop_part
    sent = rounded_order(asked, market, stop=stop)
    limits = market.limits(market=kind != "limit", reduces=kind == "stop")
    most = market.most_quantity if kind == "limit" else min(market.most_quantity, market.most_market_quantity)
    if sent.done:
        assert (sent.quantity, sent.status) == (0.0, "cancelled" if kind == "stop" else "rejected")
        if sent.note.startswith("too large"):
            assert (kind == "stop", quantity > most) == (False, True)
            return
        assert sent.note.startswith("too small")
        whole = math.floor(quantity / limits.step * (1 + 1e-9)) * limits.step if limits.step else quantity
        closing = market.limits(market=True, reduces=True)
        value = max(limits.least_value, closing.least_value * (1 + SPARE_AT_STOP))
        lowest = min(stop, price if market.tick <= price / 1000 else market.tick / 2)
        assert whole < max(limits.least_quantity, limits.step) * (1 + 1e-6) or whole * lowest < value * (1 + 1e-2)
        return
    assert sent.quantity <= quantity * (1 + 1e-8)
    assert sent.quantity <= most
    assert min(quantity, most) - sent.quantity <= limits.step * (1 + 1e-6)
    assert multiple(sent.quantity, limits.step)
    level = sent.price or sent.trigger or price
    assert sent.quantity * level >= limits.least_value * (1 - 1e-6)
    assert sent.quantity >= limits.least_quantity * (1 - 1e-6)
    for level in (sent.price, sent.trigger):
        if level is not None and market.tick <= price / 1000:
            assert multiple(level, market.tick)
            assert abs(level - price) <= market.tick
    assert rounded_order(sent, market, stop=stop) == sent


SIZES = st.sampled_from(["0.00001", "0.001", "0.01", "0.1", "1", "5", "10", "100", "1000"])


@given(
    SIZES, SIZES, st.integers(1, 20), st.integers(10, 10**6), SIZES, st.floats(1e-9, 1e7), st.floats(1e-3, 1e6),
    st.sampled_from(["market", "limit", "stop"]),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_what_is_sent_in_contracts_is_on_the_grid_of_the_exchange_and_within_its_bounds(
    contract, lot, least, most, tick, quantity, price, kind
):
    bounds = {"minSz": f"{least * Decimal(lot):f}", "maxMktSz": f"{most * Decimal(lot):f}", "maxLmtSz": "100000000"}
    instrument = {"instId": "X-USDT-SWAP", "ctType": "linear", "settleCcy": "USDT", "ctVal": contract, "tickSz": tick}
    market = OkxSwap().market_of("X/USDT:USDT", {"data": [{**instrument, "lotSz": lot, **bounds}]})
    closes = kind == "stop"
    asked = order(
        symbol="X/USDT:USDT", quantity=quantity, kind=kind, record_price=price, purpose="protect" if closes else "open",
        side="sell" if closes else "buy", price=price if kind == "limit" else None, trigger=price if closes else None,
    )  # fmt: skip
    sent = rounded_order(asked, market, stop=price * 0.9)
    contracts, top = (
        Decimal(repr(quantity)) / Decimal(contract),
        Decimal(bounds["maxLmtSz" if kind == "limit" else "maxMktSz"]),
    )
    if sent.done:
        assert contracts < Decimal(bounds["minSz"]) or (not closes and contracts > top)
        return
    if kind != "market" and not (sent.price or sent.trigger):
        return  # the price is below a tick
    must_fit(sent, market, ids=".+")
    request = OkxSwap().place(sent, market)
    size = Decimal(request.params["sz"])
    assert size % Decimal(lot) == 0
    assert Decimal(bounds["minSz"]) <= size <= top
    assert size <= contracts * (1 + Decimal("1e-8"))
    assert min(contracts, top) - size < Decimal(lot)
    assert in_base(request.params["sz"], market) == sent.quantity
    assert request.params.get("reduceOnly", False) == closes


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (None, "intended"),
        (95.0, "intended"),
        (87.6, "intended"),
        (87.4, "rejected"),
    ],  # 0.06 at 87.5 is worth 5.25, 5 % more than is taken
)
def test_what_could_not_be_sold_at_its_stop_is_not_bought(stop, status):
    assert rounded_order(order(quantity=0.0609), BINANCE, stop=stop).status == status


def test_a_purchase_whose_fee_is_taken_from_it_is_sold_down_to_the_step_and_the_rest_is_dust():
    life = lives(opened(), closed(), broker=Exchange(market="spot", rules=BINANCE))
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    bought, sold = life.desk.orders
    assert bought.fees == (Fee(currency="BTC", amount=0.002),)
    assert (bought.filled_quantity, bought.net_filled) == (2.0, 1.998)
    assert (sold.quantity, sold.filled_quantity) == (1.998, 1.998)
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []


def test_dust_is_told_once_and_nobody_tries_to_sell_it():
    life = Life(broker=Exchange(market="spot", rules=replace(BINANCE, taker=0.15)), quantity=0.1)

    async def play():
        await life.receive(opened(), closed())
        await life.restart()
        await life.receive(opened("b", at=9), closed("b", at=9, ended=19))

    life.live(play)
    assert life.received == {each.client_id: 1 for each in life.desk.orders}  # each order once, and two of each signal
    assert len(life.received) == 4
    assert life.desk.orders[1].quantity == 0.099
    assert life.broker.position("BTCUSDT") == pytest.approx(2 * 0.00085)
    dust = [text for _, text in life.told]
    assert len(dust) == 2
    assert "0.00085 BTCUSDT of 'a' are left in the account as dust: less than its market takes in an order" in dust[0]
    assert life.desk.disagreement == ""


def test_a_fee_in_another_coin_changes_nothing_that_is_held():
    life = lives(opened(), closed(), broker=Exchange(market="spot", rules=replace(BINANCE, fee_in="BNB")))
    bought, sold = life.desk.orders
    assert bought.fees[0].currency == "BNB"
    assert (bought.net_filled, sold.quantity) == (2.0, 2.0)


def test_an_entry_that_is_too_small_never_leaves_and_says_why():
    life = lives(opened(), closed(), broker=Exchange(rules=BINANCE), quantity=0.04)
    assert life.statuses == {ENTRY: "rejected"}
    assert life.received == {}
    why = "too small: 0.04 is worth 4, the market takes 5 at least; size it larger, or leave this symbol out"
    assert [text for _, text in life.told] == [f"the order to open 'a' (buy 0 BTCUSDT, {ENTRY}) is not sent: {why}"]
    assert life.desk.disagreement == ""


def test_rules_that_are_not_told_hold_up_what_opens_and_not_what_closes():
    class Silent(Exchange):
        fails = 2

        async def market(self, symbol):
            if self.fails:
                self.fails -= 1
                raise TimeoutError("no answer")
            return await super().market(symbol)

    life = Life(broker=Silent(rules=BINANCE, market="spot"))

    async def play():
        await life.receive(opened())
        assert life.statuses == {ENTRY: "filled"}
        life.broker.fails = 10**9
        await life.restart()
        await life.receive(closed())

    life.live(play)
    assert life.told[0][1].endswith("could not be carried out: TimeoutError: no answer")
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}


def test_more_than_the_market_takes_at_once_is_not_opened_and_is_closed_in_several_orders():
    rules = replace(BINANCE, most_market_quantity=0.9)
    life = lives(opened(), closed(), broker=Exchange(rules=rules))
    assert life.statuses == {ENTRY: "rejected"}
    assert "too large: 2, the market takes 0.9 in one order; size it smaller" in life.told[0][1]

    class Narrower(Exchange):
        async def market(self, symbol):
            return rules if self.orders else BINANCE

    life = Life(broker=Narrower(rules=replace(BINANCE, taker=0.0)))

    async def play():
        await life.receive(opened())
        await life.restart(holding())
        await life.receive(closed())

    life.live(play)
    assert [(each.quantity, each.status) for each in life.desk.orders] == [
        (2.0, "filled"), (0.9, "filled"), (0.9, "filled"), (0.2, "filled"),
    ]  # fmt: skip
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []


def test_a_market_that_there_is_not_is_told_once_and_the_entry_never_leaves():
    class Nowhere(Exchange):
        async def market(self, symbol):
            raise BrokerError("-1121 Invalid symbol.", refused=True)

    life = lives(opened(), closed(), broker=Nowhere(rules=BINANCE))
    assert life.statuses == {ENTRY: "rejected"}
    (told,) = life.told
    assert told[1].endswith("is not sent: BrokerError: -1121 Invalid symbol.")


def test_rules_are_asked_for_again_when_an_order_was_refused():
    class Changing(Exchange):
        step, asked = 0.001, 0

        async def market(self, symbol):
            self.asked += 1
            return replace(BINANCE, step=self.step)

        async def place(self, order):
            if order.purpose == "close" and order.quantity != 1.9:
                self.step = 0.1
                raise BrokerError("-1013 Filter failure: LOT_SIZE", refused=True)
            return await super().place(order)

    life = lives(opened(), closed(), broker=Changing(rules=replace(BINANCE, step=0.0)))
    assert life.statuses == {ENTRY: "filled", closing(): "rejected", closing(2): "filled"}
    assert life.broker.asked == 2
    assert left_open(life.desk.orders) == closed_beyond(life.desk.orders) == 0.0
    assert left_by_rounding(life.desk.orders) == pytest.approx(0.098)


def test_a_broker_without_an_account_gets_quantities_as_they_are():
    class Four:
        name = "four"

        def __init__(self):
            made = Exchange()
            self.place, self.cancel, self.report = made.place, made.cancel, made.report
            self.open_orders, self.orders, self.made = made.open_orders, made.orders, made

    broker = Four()
    life = Life(broker=broker, quantity=2.0000001)
    life.live(lambda: life.receive(opened(), closed()))
    assert [each.quantity for each in broker.orders.values()] == [2.0000001, 2.0000001]
