"""``bknb doctor --broker`` at a local exchange: each step as expected, each failing once, and nothing left resting."""

from __future__ import annotations

import dataclasses
import signal
import threading

import pytest
from fault_world import OKX, USDM

import bknb
from bknb import cli
from bknb.diagnostics.account_check import check_account, least_quantity

pytest.importorskip("ccxt")
pytest_plugins = ["exchange_fixtures"]

STEPS = [
    *("broker", "clock", "key", "market", "price", "account", "orders of an earlier check", "balance"),
    *("place limit order", "ask about limit order", "list limit order", "cancel limit order"),
    *("place stop", "ask about stop", "list stop", "move stop", "cancel stop", "nothing is left"),
]


@pytest.fixture(autouse=True)
def _fresh(exchange, monkeypatch):
    exchange.reset()
    exchange.price("BTCUSDT", 50_000.0)
    config = exchange.ccxt_config()
    key, secret = config.pop("apiKey"), config.pop("secret")
    for kind in ("BKNB_BINANCE_SANDBOX", "BKNB_BINANCE"):
        monkeypatch.setenv(f"{kind}_KEY", key)
        monkeypatch.setenv(f"{kind}_SECRET", secret)


async def no_pause(_seconds):
    return None


def made(exchange, **more):
    config = {name: value for name, value in exchange.ccxt_config().items() if name not in ("apiKey", "secret")}
    return bknb.brokers.ccxt("binance", config={**config, "enableRateLimit": False, "timeout": 1_000}, **more)


def checked(broker, **more):
    given = {"market": "spot", "symbol": None, "real_money": False, "test_order": None, "price": None, **more}
    return check_account(broker, sleep=no_pause, **given)


def resting(exchange):
    orders = exchange.state()["spot"]["orders"]
    return [
        each for each in orders if each["status"] not in ("filled", "cancelled", "expired", "rejected", "triggered")
    ]


def bad(findings):
    return [each for each in findings if each.state == "bad"]


def test_each_step_is_as_expected_and_nothing_is_left(exchange):
    made_findings = bknb.doctor(broker=made(exchange)).findings
    assert list(dict.fromkeys(each.what for each in made_findings)) == STEPS
    assert not bad(made_findings)
    assert resting(exchange) == []


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [(USDM, "BTC/USDT:USDT"), (OKX, "BTC/USDT:USDT"), (dataclasses.replace(OKX, market="spot"), "BTC/USDT")],
    ids=str,
)
def test_other_markets_are_as_expected_and_a_swap_is_kept_as_it_has_to_be(exchange, monkeypatch, venue, symbol):
    config = exchange.ccxt_config(venue.client)
    for variable, name in venue.keys:
        monkeypatch.setenv(variable, config.pop(name))
    broker = bknb.brokers.ccxt(venue.name, market=venue.market, config={**config, "enableRateLimit": False})
    findings = checked(broker, symbol=symbol)
    assert not bad(findings)
    kept = "isolated margin, leverage 1" if venue.swap else "as it has to be"
    assert ("account", kept) in [(each.what, each.found) for each in findings]
    stops = 1 if broker.abilities().move == "amend" else 2  # where it is not moved in place, another one comes
    assert len([each for each in findings if each.what == "move stop"]) == stops
    orders = exchange.state()[venue.book]["orders"]
    assert {each["status"] for each in orders} == {"cancelled"}
    assert len([each for each in orders if each["trigger"] is not None]) == stops


def test_a_swap_account_in_hedge_mode_is_told(exchange, monkeypatch):
    config = exchange.ccxt_config(USDM.client)
    for variable, name in USDM.keys:
        monkeypatch.setenv(variable, config.pop(name))
    exchange.command("position", symbol="BTCUSDT", market="usdm", hedged=True)
    broker = bknb.brokers.ccxt("binance", market="swap", config={**config, "enableRateLimit": False})
    (wrong,) = bad(checked(broker, symbol="BTC/USDT:USDT"))
    assert (wrong.what, "hedge" in wrong.found) == ("account", True)


def test_where_a_coin_is_held_the_stop_is_one_that_sells_it(exchange):
    exchange.command("deposit", currency="BTC", amount="1")
    assert not bad(checked(made(exchange)))
    sides = [(each["word"], each["side"]) for each in exchange.state()["spot"]["orders"]]
    assert sides == [("LIMIT", "buy"), ("STOP_LOSS", "sell"), ("STOP_LOSS", "sell")]
    assert resting(exchange) == []


@pytest.mark.parametrize(
    ("operation", "fault", "what"),
    [
        ("time", "html_502", "clock"),
        ("rules", "cut_body", "market"),
        ("price", "html_502", "price"),
        ("balance", "html_502", "balance"),
        ("place", "reply_lost", "place limit order"),
        ("place", "request_lost", "place limit order"),
        ("place", "html_502", "place limit order"),
        ("report", "html_502", "ask about limit order"),
        ("open_orders", "html_502", "list limit order"),
        ("cancel", "html_502", "cancel limit order"),
        ("stop", "reply_lost", "place stop"),
        ("stop", "request_lost", "place stop"),
    ],
)
def test_each_step_fails_once_and_is_told_with_what_to_do_and_nothing_is_left(exchange, operation, fault, what):
    skip = {"open_orders": 1, "price": 0}.get(operation, 0)
    more = {"executed": True} if fault == "html_502" and operation == "place" else {}
    times = 3 if operation in ("time", "price") else 1
    exchange.fault(fault, on=operation, times=times, skip=skip, **more)
    findings = checked(made(exchange))
    wrong = bad(findings)
    assert [each.what for each in wrong] == [what]
    assert wrong[0].advice
    assert wrong[0].expected
    assert resting(exchange) == []
    if what not in ("clock", "market", "price"):
        assert (findings[-1].what, findings[-1].state) == ("nothing is left", "ok")


def test_a_request_that_may_come_late_is_waited_for(exchange):
    exchange.fault("request_lost", on="place", times=1)
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    given = {"market": "spot", "symbol": None, "real_money": False, "test_order": None, "price": None}
    assert bad(check_account(made(exchange), sleep=sleep, **given))
    assert sum(slept) > 5.0  # the receive window


def test_an_order_that_is_denied_for_a_while_is_not_left(exchange):
    exchange.fault("reply_lost", on="place", times=1)
    exchange.fault("not_found", on="report", times=3, seconds=600)
    findings = checked(made(exchange))
    assert bad(findings)[0].what == "place limit order"
    assert resting(exchange) == []


def test_an_exchange_that_never_cancels_is_told_with_the_ids(exchange):
    exchange.fault("html_502", on="cancel", times=1000)
    findings = checked(made(exchange))
    assert [each.what for each in bad(findings)] == ["cancel limit order", "nothing is left"]
    (left,) = resting(exchange)
    assert left["client_id"] in findings[-1].found
    assert "cancel those whose id begins with bkdoctor" in findings[-1].advice


def test_what_an_earlier_check_left_is_cancelled_first(exchange):
    exchange.fault("html_502", on="cancel", times=7)
    assert bad(checked(made(exchange)))[-1].what == "nothing is left"
    assert len(resting(exchange)) == 1
    assert not bad(checked(made(exchange)))
    assert resting(exchange) == []


def test_an_order_that_fills_all_the_same_is_told(exchange):
    exchange.fault("fill_during_cancel", times=1, share="0.5")
    findings = checked(made(exchange))
    assert [each.what for each in bad(findings)] == ["cancel limit order", "nothing is left"]
    assert "it is yours now" in findings[-1].advice
    assert resting(exchange) == []


def test_a_key_that_may_withdraw_or_not_trade_is_refused(exchange):
    exchange.command("key", may_withdraw=True)
    findings = checked(made(exchange))
    assert (findings[-1].what, findings[-1].found) == ("key", "it may withdraw")
    exchange.command("key", may_withdraw=False, may_trade=False)
    (wrong,) = bad(checked(made(exchange)))
    assert wrong.what == "place limit order"
    assert "-2015" in wrong.found


def test_an_empty_account_and_a_clock_that_is_wrong_are_told(exchange):
    exchange.command("clock", skew_ms=3_000)
    exchange.command("deposit", currency="USDT", amount="-100000")
    findings = checked(made(exchange))
    by_name = {each.what: each for each in findings}
    assert (by_name["clock"].state, bad(findings)[0].what) == ("note", "balance")
    assert "NTP" in by_name["clock"].advice


def test_with_real_money_nothing_is_placed_unless_that_is_asked_for(exchange):
    broker = made(exchange, sandbox=False, real_money=True)
    with pytest.raises(bknb.UsageError, match="worth real money: say so by real_money=True"):
        bknb.doctor(broker=broker)
    exchange.fault("html_502", on="permissions", times=1)
    assert [each.what for each in bad(checked(broker, real_money=True))] == ["key"]
    findings = checked(broker, real_money=True)
    assert (findings[-1].what, findings[-1].state) == ("orders", "note")
    assert exchange.state()["spot"]["orders"] == []
    findings = checked(broker, real_money=True, test_order=True)
    assert not bad(findings)
    assert [each["word"] for each in exchange.state()["spot"]["orders"]] == ["LIMIT"]
    assert resting(exchange) == []


def test_interrupted_it_cancels_what_it_has_placed(exchange):
    exchange.fault("reply_late", on="place", times=1, seconds=0.5)
    threading.Timer(0.25, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        checked(made(exchange))
    assert resting(exchange) == []
    assert [each["word"] for each in exchange.state()["spot"]["orders"]] == ["LIMIT"]


def test_a_broker_on_paper_is_checked_and_a_wrong_option_is_named():
    assert bknb.doctor(broker=bknb.brokers.paper(market="swap"), price=50_000.0)
    for given, why in [
        ({"broker": bknb.brokers.paper()}, "give price="),
        ({"broker": 5}, "broker= is the name of an exchange"),
        ({"symbol": "ETH/USDT"}, "symbol is about an account: give broker="),
        ({"broker": "binance", "market": "margin"}, "market= is 'spot' or 'swap'"),
    ]:
        with pytest.raises(bknb.UsageError, match=why):
            bknb.doctor(**given)


def test_an_exchange_without_a_profile_and_missing_keys_are_findings(monkeypatch, capsys):
    assert cli.main(["doctor", "--broker", "mexc"]) == 1
    assert "bknb places no orders at mexc spot" in capsys.readouterr().out
    monkeypatch.delenv("BKNB_BINANCE_SANDBOX_KEY")
    assert cli.main(["doctor", "--broker", "binance"]) == 1
    assert "set BKNB_BINANCE_SANDBOX_KEY and BKNB_BINANCE_SANDBOX_SECRET" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rules", "price", "quantity"),
    [
        ({"step": 0.001, "least_value": 5.0}, 100.0, 0.053),
        ({"step": 0.01, "least_quantity": 0.02}, 100.0, 0.02),
        ({"step": 1.0, "least_value": 5.0}, 0.5, 11.0),
        ({}, 100.0, 0.001),
    ],
)
def test_the_smallest_quantity_is_what_the_market_takes(rules, price, quantity):
    market = bknb.brokers.BrokerMarket(symbol="X", **rules)
    assert least_quantity(market, price, at_market=False) == quantity
