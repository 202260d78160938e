"""Swaps at a local exchange: how the account is kept, stops that rest and what they become, what is refused and why."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

import pytest
from desk_life import Life
from fault_world import OKX, USDM, World
from msgspec.structs import replace
from order_events import MINUTE, candle, closed, managed, opened, part, reduced

import bknb
from bknb.brokers import Order
from bknb.domain.account_ledger import own_purpose
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.declared_exits import Target
from bknb.errors import BrokerError

pytest.importorskip("ccxt")
pytest_plugins = ["exchange_fixtures"]
PRICE = 50_000.0


class Account:
    """One swap account at the local exchange."""

    def __init__(self, exchange, name, client, symbol, id_, ledger):
        self.exchange, self.name, self.symbol, self.id, self.ledger = exchange, name, symbol, id_, ledger
        self.config = {
            k: v for k, v in exchange.ccxt_config(client).items() if k not in ("apiKey", "secret", "password")
        }

    def broker(self, **more):
        return bknb.brokers.ccxt(self.name, market="swap", config={**self.config, "enableRateLimit": False}, **more)

    def set(self, **fields):
        self.exchange.command("position", symbol=self.id, market=self.ledger, **fields)

    @property
    def state(self):
        return self.exchange.state()[self.ledger]

    @property
    def sent(self):
        """Orders that were placed, stops among them."""
        return len(self.state["orders"])


ACCOUNTS = {
    "binance": ("binance", "binanceusdm", "BTC/USDT:USDT", "BTCUSDT", "usdm"),
    "okx": ("okx", "okx", "BTC/USDT:USDT", "BTC-USDT-SWAP", "okx"),
}


@pytest.fixture(params=list(ACCOUNTS))
def account(exchange, monkeypatch, request):
    exchange.reset()
    exchange.price("BTCUSDT", PRICE)
    name, client, *more = ACCOUNTS[request.param]
    config = exchange.ccxt_config(client)
    for field, kind in (("apiKey", "KEY"), ("secret", "SECRET"), ("password", "PASSPHRASE")):
        monkeypatch.setenv(f"BKNB_{name.upper()}_SANDBOX_{kind}", config.get(field, ""))
    return Account(exchange, name, client, *more)


def order(account, name, **more):
    now = time.time_ns() // 1_000_000
    purpose, generation = more.get("purpose", "open"), more.get("generation", 0)
    known = Order(
        client_id=client_id("sma", account.symbol, (name, 0), purpose, generation=generation), signal_id=name,
        decided_at=0, symbol=account.symbol, strategy="sma", exchange="x", purpose="open", side="buy", kind="market",
        quantity=0.01, price=None, record_price=PRICE, created_at=now,
    )  # fmt: skip
    return replace(known, **more)


def stop(account, name, trigger, **more):
    given = {"purpose": "protect", "side": "sell", "kind": "stop", "trigger": trigger, **more}
    return order(account, name, **given)


def refused(account, broker, given):
    sent = account.sent
    with pytest.raises(BrokerError) as told:
        asyncio.run(broker.place(given))
    assert told.value.refused
    assert account.sent == sent
    return str(told.value)


# --- how the account is kept


def test_margin_and_leverage_are_set_before_something_is_opened_and_read_back(account):
    account.set(margin_type="cross", leverage=20)
    broker = account.broker(leverage=3)
    assert asyncio.run(broker.setup(account.symbol)) == ("isolated", 3.0)
    assert asyncio.run(broker.price(account.symbol)) == PRICE
    account.set(margin_type="cross", leverage=20)
    asyncio.run(broker.place(order(account, "a", stop=40_000.0)))
    (held,) = account.state["positions"].values()
    assert held["leverage"] == 3
    (position,) = asyncio.run(broker.positions())
    assert (position.symbol, position.quantity) == (account.symbol, 0.01)
    assert position.liquidation_price == pytest.approx(PRICE * (1 - 1 / 3), rel=0.01)


@pytest.mark.parametrize(
    ("field", "why"), [("hedged", "it is in hedge mode: set the position mode"), ("multi_assets", "multi-assets mode")]
)
def test_other_modes_are_refused_by_name(account, field, why):
    if account.name == "okx" and field == "multi_assets":
        pytest.skip("the account level says so there")
    account.set(**{field: True})
    assert why in refused(account, account.broker(), order(account, "a"))


def test_settings_that_cannot_be_had_are_refused(account):
    broker = account.broker(leverage=500)
    assert "leverage" in refused(account, broker, order(account, "a")).lower()


def test_settings_that_were_changed_outside_are_set_again_or_nothing_is_added(account):
    broker = account.broker(leverage=2)
    asyncio.run(broker.place(order(account, "a")))
    account.set(leverage=20)
    asyncio.run(broker.place(order(account, "a", purpose="add")))
    (held,) = account.state["positions"].values()
    assert (held["leverage"], float(held["quantity"])) == (2, 0.02)


def test_what_opens_the_other_side_of_a_position_is_refused_and_what_closes_is_not(account):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a")))
    text = refused(account, broker, order(account, "b", side="sell"))
    assert "the account is long 0.01 there, and a swap has one position for each symbol" in text
    asyncio.run(broker.place(order(account, "a", purpose="close", side="sell")))
    asyncio.run(broker.place(order(account, "c", side="sell")))
    assert [position.quantity for position in asyncio.run(broker.positions())] == [-0.01]


@pytest.mark.parametrize(("side", "beyond", "before"), [("buy", 47_600.0, 47_900.0), ("sell", 52_400.0, 52_100.0)])
def test_what_would_be_liquidated_before_its_stop_is_not_opened(account, side, beyond, before):
    broker = account.broker(leverage=20)
    text = refused(account, broker, order(account, "a", side=side, stop=beyond))
    assert "it would be liquidated near" in text
    assert text.endswith("(leverage 20); give a lower leverage=")
    assert asyncio.run(broker.place(order(account, "b", side=side, stop=before))).status == "filled"


def test_a_stop_beyond_the_price_of_liquidation_rests_and_says_so(account):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a", stop=45_000.0)))
    account.set(leverage=20)
    asyncio.run(broker.place(stop(account, "a", 45_000.0)))
    report = asyncio.run(broker.report(stop(account, "a", 45_000.0).client_id, account.symbol))
    assert (report.status, report.note.startswith("the position is liquidated at 47")) == ("accepted", True)


def test_looks_at_stops_of_several_symbols_ask_once_what_is_the_same_for_all(account):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a", stop=45_000.0)))
    asyncio.run(broker.place(stop(account, "a", 45_000.0)))
    name = stop(account, "a", 45_000.0).client_id

    async def look():  # at two names of one market, which are two symbols
        await asyncio.gather(*(broker.report(name, symbol) for symbol in (account.symbol, "BTCUSDT")))

    def asked():
        lines = [line for line in account.exchange.lines() if line["event"] == "request"]
        return sum(line["operation"] == "positions" for line in lines)

    before = asked()
    asyncio.run(look())
    assert asked() == before + 1
    asyncio.run(look())
    assert asked() == before + 2


def test_planted_keys_are_in_no_text_log_or_error(account, monkeypatch, caplog):
    planted = ["plantedkey1234567890", "plantedsecret1234567890", "plantedphrase1234567890"]
    for kind, value in zip(("KEY", "SECRET", "PASSPHRASE"), planted, strict=True):
        monkeypatch.setenv(f"BKNB_{account.name.upper()}_SANDBOX_{kind}", value)
    caplog.set_level(logging.DEBUG)
    broker = account.broker()
    texts = [repr(broker), f"{vars(broker)}"]
    for call in (broker.place(order(account, "a")), broker.balance(), broker.setup(account.symbol)):
        with pytest.raises(BrokerError) as told:
            asyncio.run(call)
        texts.append("".join(traceback.format_exception(told.value)))
    texts.append(caplog.text)
    assert not [text for text in texts for value in planted if value in text]


# --- stops


def test_what_closes_or_protects_only_reduces_and_two_stops_close_no_more_than_there_is(account):
    broker = account.broker()

    async def play():
        await broker.place(order(account, "a"))
        for generation in (0, 1):
            await broker.place(stop(account, "a", 45_000.0, generation=generation))
        assert len(await broker.open_orders(account.symbol)) == 2
        account.exchange.price("BTCUSDT", 44_000.0)
        reports = [
            await broker.report(stop(account, "a", 1.0, generation=each).client_id, account.symbol) for each in (0, 1)
        ]
        assert sorted(report.status for report in reports) == ["filled", "rejected"]
        assert await broker.positions() == []
        assert await broker.open_orders(account.symbol) == []

    asyncio.run(play())
    assert all(each["reduce_only"] for each in account.state["orders"][1:])


@pytest.mark.parametrize(
    ("fault", "more", "status", "filled"),
    [
        ("child_rejected", {}, "rejected", 0.0),
        ("child_cancelled", {}, "cancelled", 0.0),
        ("child_partial", {"share": "0.4"}, "cancelled", 0.004),
        ("child_missing", {"seconds": 10}, "triggered", 0.0),
        (None, {}, "filled", 0.01),
    ],
)
def test_a_triggered_stop_is_what_its_order_was_filled(account, fault, more, status, filled):
    broker, again = account.broker(), account.broker()

    async def play():
        await broker.place(order(account, "a"))
        resting = stop(account, "a", 45_000.0)
        await broker.place(resting)
        if fault is not None:
            account.exchange.fault(fault, on="trigger", **more)
        account.exchange.price("BTCUSDT", 44_000.0)
        for each in (broker, again):  # another process knows as much
            report = await each.report(resting.client_id, account.symbol)
            assert (report.status, report.filled_quantity) == (status, filled)
        fills = [each for each in await again.fills(account.symbol, 0) if each.client_id == resting.client_id]
        assert sum(each.quantity for each in fills) == pytest.approx(filled)
        if filled:
            assert (report.average_price, report.child, report.fees) == (44_000.0, fills[0].broker_id, fills[0].fees)

    asyncio.run(play())


def test_fills_of_a_stop_bear_its_id_where_nobody_has_asked_about_it(account):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a")))
    asyncio.run(broker.place(stop(account, "a", 45_000.0)))
    account.exchange.price("BTCUSDT", 44_000.0)
    fills = asyncio.run(account.broker().fills(account.symbol, 0))
    assert [each.client_id for each in fills] == [order(account, "a").client_id, stop(account, "a", 1.0).client_id]


def test_positions_are_in_base_currency_whoever_asks_first_and_by_the_name_that_was_asked_for(account):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a")))
    again = account.broker()
    (before,) = asyncio.run(again.positions())
    assert (before.symbol, before.quantity) == (account.id, 0.01)
    asyncio.run(again.market(account.symbol))
    account.exchange.fault("refuse", on="stop", reason="too_many_stops")
    with pytest.raises(BrokerError):  # what is refused has the rules asked for anew, and nothing is forgotten
        asyncio.run(again.place(stop(account, "a", 45_000.0)))
    (after,) = asyncio.run(again.positions())
    assert (after.symbol, after.quantity) == (account.symbol, 0.01)


def test_rules_that_are_not_told_anew_hold_up_nothing(account):
    broker = account.broker()

    async def play():
        await broker.place(order(account, "a"))
        account.exchange.fault("refuse", on="stop", reason="too_many_stops")
        with pytest.raises(BrokerError):
            await broker.place(stop(account, "a", 45_000.0))
        account.exchange.command("rules", symbol=account.id, market=account.ledger, tick="10")
        account.exchange.fault("html_502", on="rules", times=1)
        assert (await broker.place(stop(account, "a", 45_000.0, generation=1))).status == "accepted"
        assert (await broker.market(account.symbol)).tick == 10.0

    asyncio.run(play())


@pytest.mark.parametrize("prefix", ["autoclose-", "adl_autoclose", "settlement_autoclose-"])
def test_what_the_exchange_closes_by_itself_says_so_by_its_id(account, prefix):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a")))
    account.exchange.command("liquidate", symbol=account.id, market=account.ledger, price="48000", prefix=prefix)
    opened, ended = asyncio.run(broker.fills(account.symbol, 0))
    assert (opened.side, ended.side, ended.price, ended.quantity) == ("buy", "sell", 48_000.0, 0.01)
    assert ended.client_id.startswith(prefix)
    assert asyncio.run(broker.positions()) == []


def test_a_small_part_may_be_closed_whatever_it_is_worth(account):
    broker = account.broker()
    asyncio.run(broker.place(order(account, "a")))
    report = asyncio.run(
        broker.place(order(account, "a", purpose="reduce", side="sell", quantity=0.001, record_price=1.0))
    )
    assert report.status == "filled"


@pytest.mark.parametrize("fault", ["reply_lost", "request_lost", "html_502"])
def test_a_stop_whose_answer_is_lost_is_found_by_its_id_and_is_not_sent_twice(account, fault):
    broker = account.broker()

    async def play():
        await broker.place(order(account, "a"))
        account.exchange.fault(fault, on="stop", times=1, **({"executed": True} if fault == "html_502" else {}))
        resting = stop(account, "a", 45_000.0)
        with pytest.raises(BrokerError) as told:
            await broker.place(resting)
        assert not told.value.refused
        found = await broker.report(resting.client_id, account.symbol)
        assert (found is None) == (fault == "request_lost")
        assert (await broker.place(resting)).status == "accepted"
        assert [each.client_id for each in await broker.open_orders(account.symbol)] == [resting.client_id]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("symbol", "why"),
    [
        ("BTC/USDT", "BTC/USDT is a spot market, and {name} swap trades swaps, such as BTC/USDT:USDT"),
        ("NO/USDT:USDT", "{name} swap sandbox has no market NO/USDT:USDT"),
        ("BTC/USDT:BTC", "{name} swap sandbox has no market BTC/USDT:BTC"),
    ],
)
def test_other_markets_are_refused_by_name(account, symbol, why):
    assert refused(account, account.broker(), order(account, "a", symbol=symbol)).startswith(
        why.format(name=account.name)
    )


# --- a life of orders


@pytest.mark.parametrize("position", ["long", "short"])
def test_a_position_is_protected_there_moved_reduced_and_closed_once(account, position):
    account.exchange.price("BTCUSDT", 100.0)
    sign = 1 if position == "long" else -1
    life = Life(broker=account.broker(), quantity=2.0)

    def moved(level, *orders):
        state = managed(*orders, position=position)
        return replace(state, book=replace(state.book, stop=level))

    def stop(generation):
        return client_id("sma", "BTCUSDT", ("a", MINUTE), "protect", generation=generation)

    def held():
        return sum(float(each["quantity"]) for each in account.state["positions"].values())

    async def resting():
        names = [each.client_id for each in await life.broker.open_orders("BTCUSDT")]
        targets = sum(own_purpose(name) == "target" for name in names)
        assert targets == (life.desk.position() != 0.0 and bool(life.desk.orders[0].targets))
        return [name for name in names if own_purpose(name) == "protect"]

    async def play():
        await life.receive(opened(position=position))
        assert (held(), await resting()) == (2.0 * sign, [stop(0)])
        await life.become(moved(100.0 - 8.0 * sign))
        assert (held(), await resting()) == (2.0 * sign, [stop(1)])
        await life.become(moved(100.0 - 8.0 * sign, part()))
        assert (held(), await resting()) == (1.0 * sign, [stop(2)])
        await life.restart(moved(100.0 - 8.0 * sign))
        assert await resting() == [stop(2)]
        account.exchange.price("BTCUSDT", 100.0 - 9.0 * sign)
        life.desk.saw(candle(9, 100.0 - 9.0 * sign))
        assert await life.desk.settle(20.0)
        assert (life.statuses[stop(2)], held()) == ("filled", 0.0)
        await life.receive(closed(position=position, price_close=100.0 - 8.0 * sign))
        assert (held(), await resting()) == (0.0, [])

    life.live(play)
    assert life.told == []
    assert all(each["reduce_only"] for each in account.state["orders"][1:])


def laddered(*left, sign=1):
    state = managed(position="long" if sign > 0 else "short")
    return replace(state, book=replace(state.book, targets=left, stop=100.0 - 10.0 * sign))


@pytest.mark.parametrize("position", ["long", "short"])
def test_targets_that_rest_sell_their_parts_there_and_the_stop_is_for_what_is_left(account, position):
    account.exchange.price("BTCUSDT", 100.0)
    sign, key = (1 if position == "long" else -1), ("a", MINUTE)
    ladder = Target(100.0 + 5.0 * sign, 0.5), Target(100.0 + 10.0 * sign)
    life = Life(broker=account.broker(), quantity=2.0)

    def resting():
        found = [each for each in account.state["orders"] if each["status"] == "waiting"]
        size = 0.01 if account.name == "okx" else 1.0
        return sorted((float(each["trigger"]), float(each["quantity"]) * size) for each in found)

    async def comes(price, minute):
        account.exchange.price("BTCUSDT", price)
        life.desk.saw(candle(minute, price))
        assert await life.desk.settle(20.0)

    async def play():
        await life.receive(opened(position=position))
        await life.become(laddered(*ladder, sign=sign))
        all_of_it = sorted([(100.0 - 10.0 * sign, 2.0), (100.0 + 5.0 * sign, 1.0), (100.0 + 10.0 * sign, 1.0)])
        assert resting() == all_of_it
        await comes(100.0 + 5.5 * sign, 9)
        assert resting() == sorted([(100.0 - 10.0 * sign, 1.0), (100.0 + 10.0 * sign, 1.0)])
        (filled,) = life.desk.targets_filled(key, before=2**62)
        assert filled == (100.0 + 5.0 * sign, 100.0 + 5.5 * sign)
        await life.receive(reduced(1, 0.5, price=filled.price, reason="take_profit", position=position))
        await life.restart(laddered(ladder[1], sign=sign))
        assert len(resting()) == 2
        await comes(100.0 + 10.2 * sign, 12)
        gone = life.desk.closed_there(key, before=2**62)
        assert gone == (pytest.approx(100.0 + 10.2 * sign), "exchange", True)
        await life.receive(closed(position=position, price_close=gone.price))
        assert (resting(), account.state["positions"]) == ([], {})

    life.live(play)
    assert life.told == []
    assert all(each["reduce_only"] for each in account.state["orders"][1:])


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("child_rejected", {}),
        ("child_cancelled", {}),
        ("child_partial", {"share": "0.4"}),
        ("child_missing", {"seconds": 0.5}),
    ],
)
def test_what_a_triggered_target_has_not_sold_is_sold_at_the_market(account, fault, more):
    account.exchange.price("BTCUSDT", 100.0)
    life = Life(broker=account.broker(), quantity=2.0)

    async def play():
        await life.receive(opened())
        await life.become(laddered(Target(105.0, 0.5), Target(110.0)))
        account.exchange.fault(fault, on="trigger", **more)
        account.exchange.price("BTCUSDT", 105.5)
        life.desk.saw(candle(9, 105.5))
        assert await life.desk.settle(20.0)
        if account.name == "okx" and fault == "child_rejected":  # it looks like one that was refused: watched here
            assert life.desk.position() == 2.0
            return
        assert life.desk.position() == 1.0
        assert life.desk.targets_filled(("a", MINUTE), before=2**62) == ((105.0, 105.5),)
        waiting = [each for each in account.state["orders"] if each["status"] == "waiting"]
        assert sorted(float(each["trigger"]) for each in waiting) == [90.0, 110.0]

    life.live(play)
    assert [float(each["quantity"]) for each in account.state["positions"].values()] == [life.desk.position()]


@pytest.mark.parametrize("moves", [True, False])
def test_a_stop_that_comes_after_the_liquidation_is_told_once(account, moves):
    account.exchange.price("BTCUSDT", 100.0)
    life = Life(broker=account.broker(), quantity=2.0)

    async def play():
        await life.receive(opened())
        account.set(leverage=20)
        if moves:
            await life.become(replace(managed(), book=replace(managed().book, stop=92.0)))
        for minute in (9, 10):
            life.desk.saw(candle(minute, 100.0))
            assert await life.desk.settle(5.0)

    life.live(play)
    assert [text.partition(" rests, ")[2] for _, text in life.told] == [
        "but the position is liquidated at 95.4, before this stop"
    ]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"leverage": 2}, "kept with isolated margin and leverage 2 in place of isolated margin and leverage 1"),
        ({"margin_type": "cross"}, "kept with cross margin and leverage 1 in place of isolated margin and leverage 1"),
        ({"hedged": True}, "it is in hedge mode"),
    ],
)
def test_an_account_that_was_changed_outside_is_told_once(account, fields, why):
    if account.name == "okx" and "margin_type" in fields:
        pytest.skip("each order says there what its position is")
    account.exchange.price("BTCUSDT", 100.0)
    life = Life(broker=account.broker(), quantity=2.0)

    async def play():
        await life.receive(opened())
        account.set(**fields)
        for minute in (9, 10):
            life.desk.saw(candle(minute, 100.0))
            assert await life.desk.settle(5.0)

    life.live(play)
    assert [why in text for _, text in life.told] == [True]


# --- live runs


@pytest.mark.slow
@pytest.mark.parametrize("venue", [USDM, OKX], ids=str)
@pytest.mark.parametrize("position", ["long", "short"])
def test_a_live_run_has_its_stop_rest_only_reduce_move_before_the_old_one_goes_and_sell_there(
    exchange, monkeypatch, venue, position
):
    """A trailing stop follows three minutes, then the market comes back and meets it there and in the record."""
    config = exchange.ccxt_config(venue.client)
    for variable, name in venue.keys:
        monkeypatch.setenv(variable, config[name])
    sign = 1 if position == "long" else -1

    def candle(*moves):
        opened, high, low, closed = (50_000.0 + sign * move for move in moves)
        return opened, max(high, low), min(high, low), closed

    way = {
        3: candle(0, 520, -10, 500), 4: candle(500, 1_020, 490, 1_000), 5: candle(1_000, 1_520, 990, 1_500),
        6: candle(1_500, 1_510, 400, 500), 7: candle(500, 550, 450, 500),
    }  # fmt: skip
    signal = bknb.Signal(
        side=position, price_stop_loss=50_000.0 - sign * 1_000, price_take_profit=50_000.0 + sign * 9_000,
        trailing=bknb.Trailing(percent=1.5),
    )  # fmt: skip
    life = World(exchange=exchange, venue=venue, candles=way, signals={1: signal}, end=12).begin().live()
    targets = [each for each in life.orders if own_purpose(each["client_id"]) == "target"]
    entry, *stops = (each for each in life.orders if own_purpose(each["client_id"]) != "target")
    stops, child = stops[:-1], stops[-1]
    assert (entry["side"], child["side"]) == (("buy", "sell") if sign > 0 else ("sell", "buy"))
    assert (child["parent"], child["reduce_only"]) == (stops[-1]["number"], True)
    assert float(child["filled"]) * float(life.size) == pytest.approx(0.01)
    assert (life.held, life.working) == (0, []), life.story()
    sent = [line["operation"] for line in life.sent("stop", "amend_stop", "cancel_stop")]
    moves = ["stop", "cancel_stop"]  # each rests before the one before it goes
    assert sent[:8] == ["stop", *moves, "stop", *moves * 2], life.story()
    assert [each["status"] for each in targets] == ["cancelled"]
    assert all(each["kind"] == "market" and each["reduce_only"] for each in stops)
    assert [stop["status"] for stop in stops] == ["cancelled"] * (len(stops) - 1) + ["triggered"]
    levels = [sign * float(stop["trigger"]) for stop in stops]
    assert levels == sorted(levels)
    assert life.result.trades["close_reason"].tolist() == ["trailing_stop"]
