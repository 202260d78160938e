"""Orders at an exchange through the real client of ccxt, whose connection is taken away: what leaves, what is read."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import pickle
import traceback
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

import bknb
from bknb.brokers import BrokerMarket, Fee, Order, Report
from bknb.brokers.binance_spot import BinanceSpot
from bknb.brokers.binance_usdm import BinanceUsdm
from bknb.brokers.exchange_client import client_of, sent_parameters
from bknb.brokers.exchange_profile import Answer, Request
from bknb.brokers.golden_requests import check_requests
from bknb.brokers.okx import OkxSpot
from bknb.brokers.okx_swap import OkxSwap
from bknb.domain.broker_orders_and_ids import client_id
from bknb.errors import BrokerError, Forgotten, UsageError
from bknb.ports import BrokerWithAccount

ccxt = pytest.importorskip("ccxt.async_support")

KEY, SECRET = "plantedkey1234567890", "plantedsecret1234567890"
NOW = 1_790_000_000_000
AHEAD = 700
ID = client_id("sma", "BTCUSDT", ("s", NOW), "open")
STEPS = {
    "symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING",
    "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "TAKE_PROFIT"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.0", "stepSize": "0.00001000"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "150.5", "stepSize": "0.00000000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "askMultiplierDown": "0.2"},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ],
}  # fmt: skip


class Exchange:
    """The connection of a client: records what leaves, and answers what was scripted, by method and path."""

    def __init__(self, broker):
        self.client = broker._client._client
        self.client.fetch = self.fetch
        self.sent = []
        self.slept = []
        self.answers = {}
        self.time = NOW + AHEAD
        broker._client._now = lambda: self.time
        broker._client._sleep = self.sleep

    async def sleep(self, seconds):
        self.slept.append(seconds)

    def answer(self, method, path, *answers):
        self.answers.setdefault((method, path), []).extend(answers)

    async def fetch(self, url, method="GET", headers=None, body=None):
        path = urlsplit(url).path.removeprefix("/api/v3/")
        params = {
            k: v for k, v in sent_parameters(url, body).items() if k not in ("timestamp", "signature", "recvWindow")
        }
        if path == "time" and ("GET", "time") not in self.answers:
            return {"serverTime": self.time - AHEAD}
        self.sent.append((method, path, params))
        if path == "exchangeInfo":
            return {"symbols": [STEPS]}
        found = self.answers[method, path].pop(0)
        if isinstance(found, BaseException):
            raise found
        status, answer, *more = found if isinstance(found, tuple) else (200, found)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        answer = None if isinstance(answer, str) else answer
        self.client.handle_errors(status, "", url, method, more[0] if more else {}, text, answer, headers, body)
        return answer

    def paths(self):
        return [f"{method} {path}" for method, path, _ in self.sent]


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setenv("BKNB_BINANCE_SANDBOX_KEY", KEY)
    monkeypatch.setenv("BKNB_BINANCE_SANDBOX_SECRET", SECRET)
    broker = bknb.brokers.ccxt("binance")
    return broker, Exchange(broker)


def order(**more):
    known = Order(
        client_id=ID, signal_id="s", decided_at=NOW, symbol="BTCUSDT", strategy="sma", exchange="binance",
        purpose="open", side="buy", kind="market", quantity=0.002, price=None, record_price=60_000.0, created_at=NOW,
    )  # fmt: skip
    return replace(known, **more)


def stop(**more):
    return order(**{"purpose": "protect", "side": "sell", "kind": "stop", "trigger": 58_000.01, **more})


def found(status="NEW", executed="0.00000000", quote="0.00000000", **more):
    return {
        "symbol": "BTCUSDT", "orderId": 28, "clientOrderId": ID, "origQty": "0.00200000", "executedQty": executed,
        "cummulativeQuoteQty": quote, "status": status, "type": "MARKET", "side": "BUY", "transactTime": NOW, **more,
    }  # fmt: skip


def trade(number=1, quantity="0.002", **more):
    return {
        "id": number, "orderId": 28, "price": "60000.00", "qty": quantity, "commission": "0.00000200",
        "commissionAsset": "BTC", "time": NOW + number, "isBuyer": True, **more,
    }  # fmt: skip


def error(code, text="", status=400, **headers):
    return status, {"code": code, "msg": text}, {name.replace("_", "-"): value for name, value in headers.items()}


FILLED = found(
    "FILLED", "0.00200000", "120.00000000",
    fills=[{"price": "60000.00", "qty": "0.002", "commission": "0.000002", "commissionAsset": "BTC", "tradeId": 1}],
)  # fmt: skip
NO_SUCH_ORDER = error(-2013, "Order does not exist.")


# --- what leaves


def test_an_order_leaves_as_it_has_to_and_its_answer_is_read(made):
    broker, exchange = made
    exchange.answer("POST", "order", FILLED)
    report = asyncio.run(broker.place(order()))
    assert report == Report(
        client_id=ID, symbol="BTCUSDT", status="filled", filled_quantity=0.002, average_price=60_000.0, broker_id="28",
        fees=(Fee(currency="BTC", amount=0.000002),),
    )  # fmt: skip
    assert exchange.sent[-1] == (
        "POST",
        "order",
        {
            "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002", "newClientOrderId": ID,
            "newOrderRespType": "FULL",
        },
    )  # fmt: skip
    assert isinstance(broker, BrokerWithAccount)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (order(kind="limit", price=59_000.5), {"type": "LIMIT", "price": "59000.5", "timeInForce": "GTC"}),
        (stop(), {"type": "STOP_LOSS", "stopPrice": "58000.01", "side": "SELL"}),
        (stop(kind="target", trigger=70_000.0), {"type": "TAKE_PROFIT", "stopPrice": "70000", "side": "SELL"}),
        (order(quantity=0.00009), {"quantity": "0.00009"}),
        (order(symbol="BTC/USDT"), {"symbol": "BTCUSDT"}),
    ],
)
def test_each_kind_of_order_has_its_parameters(made, given, wanted):
    broker, exchange = made
    exchange.answer("POST", "order", found())
    assert asyncio.run(broker.place(given)).status == "accepted"
    assert wanted.items() <= exchange.sent[-1][2].items()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (stop(trigger=None), "is a stop with the trigger None"),
        (order(kind="target"), "is a target with the trigger None"),
        (order(trigger=58_000.0), "is a market with the trigger 58000"),
        (order(quantity=0.002001), "no multiple of the step 0.00001"),
        (order(quantity=0.00008), "is worth 4.8, the market takes 5 at least"),
        (stop(quantity=0.00008), "is worth 4.64"),
        (stop(trigger=58_000.015), "no multiple of the tick 0.01"),
        (order(kind="limit", price=58_000.015), "no multiple of the tick 0.01"),
    ],
)
def test_what_the_market_would_not_take_or_take_as_something_else_never_leaves(made, given, why):
    broker, exchange = made
    with pytest.raises(BrokerError, match=why) as refused:
        asyncio.run(broker.place(given))
    assert refused.value.refused
    assert exchange.paths() == ["GET exchangeInfo"]


def test_a_stop_is_refused_where_none_can_sell_at_the_market(made, monkeypatch):
    broker, _ = made
    monkeypatch.setitem(STEPS, "orderTypes", ["LIMIT", "MARKET", "STOP_LOSS_LIMIT"])
    with pytest.raises(BrokerError, match="no stop that sells at the market can rest") as refused:
        asyncio.run(broker.place(stop()))
    assert refused.value.refused


def test_a_request_without_its_trigger_never_leaves(made):
    broker, exchange = made
    asyncio.run(broker.market("BTCUSDT"))
    sign = exchange.client.sign

    class Loses(type(exchange.client)):
        def sign(self, path, api="public", method="GET", params=None, *rest):
            return super().sign(path, api, method, {k: v for k, v in (params or {}).items() if k != "stopPrice"}, *rest)

    client = client_of(Loses, BinanceSpot(), {"apiKey": KEY, "secret": SECRET})
    broker._client._guard(client)
    client.fetch = exchange.fetch
    broker._client._client = client
    exchange.sent.clear()
    with pytest.raises(BrokerError, match="ccxt does not send stopPrice of POST order") as refused:
        asyncio.run(broker.place(stop()))
    assert refused.value.refused
    assert exchange.sent == []
    assert sign is not client.sign


# --- once


def test_an_order_that_may_have_left_is_asked_about_and_not_sent_again(made):
    broker, exchange = made
    exchange.answer("POST", "order", FILLED)
    exchange.answer("GET", "order", found("FILLED", "0.002", "120"), NO_SUCH_ORDER)

    async def play():
        first = await broker.place(order())
        assert await broker.place(order()) == first
        exchange.answer("POST", "order", found(clientOrderId="older"))
        await broker.place(order(client_id="older", created_at=NOW - 61_000))

    asyncio.run(play())
    assert exchange.paths() == ["GET exchangeInfo", "POST order", "GET order", "GET order", "POST order"]


@pytest.mark.parametrize("lost", [TimeoutError(), ConnectionResetError(), KeyError("orderId")])
def test_an_order_whose_answer_is_lost_is_unknown_and_found_by_its_id(made, lost):
    broker, exchange = made
    exchange.answer("POST", "order", lost)
    exchange.answer("GET", "order", found("FILLED", "0.002", "120"))
    exchange.answer("GET", "myTrades", [trade()])

    async def play():
        with pytest.raises(BrokerError) as unknown:
            await broker.place(order())
        assert not unknown.value.refused
        return await broker.place(order())

    assert asyncio.run(play()).status == "filled"
    assert exchange.paths().count("POST order") == 1


def test_a_duplicate_is_an_order_that_is_known(made):
    broker, exchange = made
    exchange.answer("POST", "order", error(-2010, "Duplicate order sent."))
    exchange.answer("GET", "order", found())
    assert asyncio.run(broker.place(order())).status == "accepted"


# --- what errors say

PLACE, CANCEL, ASK = (Request(f"private_{how}_order", {}) for how in ("post", "delete", "get"))


@pytest.mark.parametrize(
    ("request_", "status", "code", "text", "verdict"),
    [
        (PLACE, 400, "-2010", "Account has insufficient balance for requested action.", "refused"),
        (PLACE, 400, "-2010", "Stop price would trigger immediately.", "reached"),
        (PLACE, 400, "-2010", "Duplicate order sent.", "known"),
        (PLACE, 400, "-1013", "Filter failure: NOTIONAL", "refused"),
        (PLACE, 400, "-1104", "Not all sent parameters were read", "refused"),
        (PLACE, 400, "-1121", "Invalid symbol.", "refused"),
        (PLACE, 401, "-2015", "Invalid API-key, IP, or permissions for action.", "busy"),
        (PLACE, 400, "-1022", "Signature for this request is not valid.", "refused"),
        (PLACE, 503, "-1008", "Server is currently overloaded", "busy"),
        (PLACE, 503, "", "Unknown error, please check your request or try again later.", "unknown"),
        (PLACE, 500, "-1000", "An unknown error occurred", "unknown"),
        (PLACE, 400, "-1006", "An unexpected response was received", "unknown"),
        (PLACE, 408, "-1007", "Timeout waiting for response from backend server.", "unknown"),
        (PLACE, 502, "", "<html>", "unknown"),
        (PLACE, 200, "", "", "unknown"),
        (PLACE, 400, "-9999", "something new", "unknown"),
        (PLACE, 400, "-1021", "Timestamp for this request is outside of the recvWindow.", "clock"),
        (PLACE, 429, "-1003", "Too many requests", "wait"),
        (PLACE, 418, "-1003", "Way too many requests; IP banned until 1790000090000.", "wait"),
        (PLACE, 400, "-1015", "Too many new orders", "wait"),
        (CANCEL, 400, "-2011", "Unknown order sent.", "missing"),
        (ASK, 400, "-2013", "Order does not exist.", "missing"),
        (ASK, 400, "-2026", "Order was canceled or expired with no executed qty over 90 days ago", "forgotten"),
    ],
)
def test_what_an_error_says_of_its_request(request_, status, code, text, verdict):
    assert BinanceSpot().verdict(request_, Answer(status, code, text)) == verdict


FAPI_PLACE, FAPI_CANCEL = Request("fapiprivate_post_algoorder", {}), Request("fapiprivate_delete_algoorder", {})


@pytest.mark.parametrize(
    ("request_", "status", "code", "verdict"),
    [
        *((FAPI_PLACE, 400, f"-{code}", "refused") for code in (1111, 2019, 2022, 2027, 4003, 4045)),
        *((FAPI_PLACE, 400, f"-{code}", "refused") for code in (4118, 4120, 4131, 4164, 5022)),
        (FAPI_PLACE, 400, "-2021", "reached"),
        (FAPI_PLACE, 400, "-4116", "known"),
        (FAPI_PLACE, 400, "-1021", "clock"),
        (FAPI_PLACE, 503, "-1008", "busy"),
        (FAPI_PLACE, 400, "-4061", "busy"),
        (FAPI_PLACE, 400, "-1015", "wait"),
        (FAPI_PLACE, 429, "", "wait"),
        *((FAPI_PLACE, status, code, "unknown") for status, code in ((408, "-1007"), (500, "-1000"), (502, ""))),
        (FAPI_PLACE, 503, "-4003", "unknown"),
        (FAPI_PLACE, 400, "-9999", "unknown"),
        (FAPI_PLACE, 400, "-2011", "refused"),
        (FAPI_CANCEL, 400, "-2011", "missing"),
        (FAPI_CANCEL, 400, "-2013", "missing"),
    ],
)
def test_what_an_error_of_the_futures_exchange_says_of_its_request(request_, status, code, verdict):
    assert BinanceUsdm().verdict(request_, Answer(status, code, "")) == verdict


OKX_PLACE, OKX_CANCEL = Request("private_post_trade_order", {}), Request("private_post_trade_cancel_order", {})
OKX_STOP, OKX_ASK = Request("private_post_trade_order_algo", {}), Request("private_get_trade_order", {})


@pytest.mark.parametrize(
    ("request_", "status", "code", "verdict"),
    [
        *(
            (OKX_PLACE, 200, code, "refused")
            for code in ("51000", "51008", "51020", "51121", "51169", "51112", "51400")
        ),
        (OKX_PLACE, 401, "50113", "refused"),
        *((OKX_PLACE, 401, code, "busy") for code in ("50105", "50110", "50111", "50120")),
        *((OKX_PLACE, 400, code, "refused") for code in ("50014", "59000")),
        (OKX_PLACE, 200, "51016", "known"),
        (OKX_STOP, 200, "51280", "reached"),
        (OKX_PLACE, 401, "50102", "clock"),
        (OKX_PLACE, 429, "50011", "wait"),
        *((OKX_PLACE, 200, code, "unknown") for code in ("", "1", "50004", "51054", "51149", "70000")),
        *((OKX_PLACE, status, code, "unknown") for status, code in ((503, "50001"), (429, "50013"), (502, ""))),
        (OKX_PLACE, 503, "51000", "unknown"),
        (OKX_ASK, 200, "51603", "missing"),
        *((OKX_CANCEL, 200, code, "missing") for code in ("51400", "51401", "51402", "51603")),
    ],
)
def test_what_an_error_of_okx_says_of_its_request(request_, status, code, verdict):
    assert OkxSwap().verdict(request_, Answer(status, code, "")) == verdict
    assert OkxSwap().verdict(OKX_PLACE, Answer(200, "51000", "Parameter posSide error")) == "busy"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"code": "0", "data": []}, None),
        ({"code": "1", "msg": "All operations failed", "data": [{"sCode": "51008", "sMsg": "no"}]}, "51008"),
        ({"code": "50011", "msg": "Too Many Requests", "data": []}, "50011"),
        ({"code": "1", "msg": "", "data": []}, "1"),
        ([], ""),
        (None, ""),
    ],
)
def test_an_error_of_okx_stands_in_an_answer_with_status_200(answer, code):
    okx = OkxSwap()
    assert okx.is_error(200, answer) == (code is not None)
    if code is not None:
        assert okx.error_of(200, {}, "", answer).code == code


@pytest.mark.parametrize("profile", [BinanceSpot(), BinanceUsdm(), OkxSpot(), OkxSwap()], ids=str)
def test_the_requests_of_this_ccxt_are_those_of_each_profile(profile):
    check_requests(getattr(ccxt, profile.client), profile, version=ccxt.__version__)

    class Another(getattr(ccxt, profile.client)):
        def sign(self, path, api="public", method="GET", params=None, *rest):
            renamed = {"stopPrice": "triggerPrice", "triggerPrice": "stopPrice", "slTriggerPx": "triggerPx"}
            given = params[0] if isinstance(params, list) else params or {}
            given = {renamed.get(name, name): value for name, value in given.items()}
            return super().sign(path, api, method, [given] if isinstance(params, list) else given, *rest)

    with pytest.raises(UsageError, match=rf"sends other requests to {profile.exchange} {profile.market} than bknb"):
        check_requests(Another, profile, version="9.9")


def test_okx_leads_to_real_money_unless_each_request_says_that_it_is_simulated(monkeypatch):
    for name in ("OKX_SANDBOX", "OKX"):
        for kind in ("KEY", "SECRET", "PASSPHRASE"):
            monkeypatch.setenv(f"BKNB_{name}_{kind}", "planted")
    demo = bknb.brokers.ccxt("okx", config={"urls": {"api": {"rest": "https://my.okx.com"}}})
    assert demo._client._client.headers["x-simulated-trading"] == "1"
    real = bknb.brokers.ccxt("okx", market="swap", sandbox=False, real_money=True)
    assert "x-simulated-trading" not in real._client._client.headers
    assert OkxSwap().real_address(real._client._client) == "https://www.okx.com"


@pytest.mark.parametrize(
    ("level", "mode", "perm", "spot", "swap"),
    [
        ("2", "net_mode", "read_only,trade", "", ""),
        ("1", "net_mode", "trade", "", "it is in spot mode, which has no swaps"),
        ("3", "net_mode", "trade", "it is in multi-currency", "it is in multi-currency"),
        ("2", "long_short_mode", "trade", "", "it is in hedge mode"),
        ("2", "net_mode", "read_only", "it may not trade", "it may not trade"),
    ],
)
def test_an_account_of_okx_that_is_set_up_otherwise_is_refused_by_name(level, mode, perm, spot, swap):
    answer = {"data": [{"acctLv": level, "posMode": mode, "perm": perm}]}
    for profile, why in ((OkxSpot(), spot), (OkxSwap(), swap)):
        assert profile.unfit(answer).startswith(why)
        assert bool(profile.unfit(answer)) == bool(why)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (error(-2010, "Account has insufficient balance for requested action."), True),
        (error(-1007, "Timeout waiting for response from backend server.", 408), False),
        ((502, "<html>Bad Gateway</html>"), False),
        ((200, ""), False),
        ((200, "cut of"), False),
        (found("NO_SUCH_STATUS"), False),
        ({}, False),
        ([], False),
    ],
)
def test_only_a_clear_no_is_a_refusal(made, answer, refused):
    broker, exchange = made
    exchange.answer("POST", "order", answer)
    with pytest.raises(BrokerError) as told:
        asyncio.run(broker.place(order()))
    assert told.value.refused is refused


BUSY = error(-1008, "Server is currently overloaded with other requests.", 503)
CLOCK = error(-1021, "Timestamp for this request is outside of the recvWindow.")


@pytest.mark.parametrize(
    ("answers", "later"),
    [
        ([error(-1003, "Too many requests", 429)], True),
        ([error(-1015, "Too many new orders")], True),
        ([BUSY], True),
        ([CLOCK, CLOCK], True),
        ([error(-2010, "Account has insufficient balance for requested action.")], False),
    ],
)
def test_a_refusal_says_whether_the_same_may_be_sent_later(made, answers, later):
    broker, exchange = made
    exchange.answer("POST", "order", *answers)
    with pytest.raises(BrokerError) as told:
        asyncio.run(broker.place(stop()))
    assert (told.value.refused, told.value.later) == (True, later)


@pytest.mark.parametrize(
    "answer", [error(-1003, "Too many requests", 429), (502, "<html>"), {}, OSError("gone")], ids=str
)
def test_where_the_exchange_does_not_tell_its_time_nothing_was_sent(made, answer):
    broker, exchange = made
    exchange.answer("GET", "time", answer)
    with pytest.raises(BrokerError, match="the clock of binance is not known, so nothing else was sent") as told:
        asyncio.run(broker.place(order()))
    assert (told.value.refused, told.value.later) == (True, True)
    assert "POST order" not in exchange.paths()


@pytest.mark.parametrize("purpose", ["open", "add"])
def test_an_entry_that_sells_is_refused_at_a_spot_market(made, purpose):
    broker, exchange = made
    with pytest.raises(BrokerError, match="a spot market has no short positions") as told:
        asyncio.run(broker.place(order(purpose=purpose, side="sell")))
    assert (told.value.refused, told.value.later) == (True, False)
    assert "POST order" not in exchange.paths()


def test_a_swap_is_no_spot_market(made):
    broker, exchange = made
    with pytest.raises(BrokerError, match=r"BTC/USDT:USDT is a swap, and binance spot trades spot") as told:
        asyncio.run(broker.place(order(symbol="BTC/USDT:USDT")))
    assert told.value.refused
    assert exchange.sent == []


def test_an_order_that_gets_no_answer_is_sent_once(made):
    broker, exchange = made
    exchange.answer("POST", "order", *2 * [ccxt.RequestTimeout("no answer")])
    with pytest.raises(BrokerError) as told:
        asyncio.run(broker.place(order()))
    assert not told.value.refused
    assert exchange.paths().count("POST order") == 1


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"options": {"maxRetriesOnFailure": 3}}, r"config= holds options\['maxRetriesOnFailure'\]: orders leave once"),
        ({"options": {"order": {"maxRetriesOnFailure": 3}}}, r"config= holds options\['order'\]"),
        ({"options": {"broker": {"spot": "x"}}, "verbose": True}, r"config= holds verbose, options\['broker'\]"),
        ({"sign": None}, "config= holds sign"),
        (
            {"urls": {"api": {"private": "https://me/api/v4"}}},
            r"with this config= ccxt sends other requests to binance",
        ),
    ],
)
def test_a_config_changes_neither_what_leaves_nor_how_often(made, config, why):
    with pytest.raises(UsageError, match=why):
        bknb.brokers.ccxt("binance", config=config)


def test_how_long_an_order_may_be_on_its_way_is_not_the_users(made):
    broker = bknb.brokers.ccxt("binance", config={"options": {"recvWindow": 60_000}, "timeout": 5_000})
    client = broker._client._client
    assert (client.options["recvWindow"], client.timeout) == (5000, 5_000)


def test_a_clock_that_is_off_is_measured_anew_and_the_order_is_sent_once_more(made):
    broker, exchange = made
    exchange.answer("POST", "order", CLOCK, FILLED)
    assert asyncio.run(broker.place(order())).status == "filled"
    assert exchange.client.options["timeDifference"] == AHEAD
    exchange.answer("POST", "order", CLOCK, CLOCK)
    with pytest.raises(BrokerError) as told:
        asyncio.run(broker.place(order(client_id="again")))
    assert told.value.refused
    assert exchange.paths().count("POST order") == 4


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (error(-1003, "Too many requests", 429, Retry_After="7"), 7.0),
        (error(-1003, f"IP banned until {NOW + AHEAD + 9_000}.", 418), 9.0),
    ],
)
def test_nothing_leaves_before_the_time_it_is_told_to_wait_and_stops_leave_first(made, answer, seconds):
    broker, exchange = made
    exchange.answer("POST", "order", answer, found(), found())

    async def play():
        with pytest.raises(BrokerError, match="nothing is asked for") as told:
            await broker.place(order())
        assert told.value.refused
        await asyncio.gather(broker.place(order(client_id="entry")), broker.place(stop(client_id="stop")))

    asyncio.run(play())
    assert exchange.slept == [pytest.approx(seconds + 0.5), pytest.approx(seconds)]


def test_a_long_ban_is_a_refusal_at_once_and_not_even_the_time_is_asked_for(made):
    broker, exchange = made
    exchange.answer("GET", "time", error(-1003, "Too many requests", 418))
    for _ in range(2):
        with pytest.raises(BrokerError, match=r"60 s") as told:
            asyncio.run(broker.place(order()))
        assert (told.value.refused, told.value.later) == (True, True)
    assert exchange.paths() == ["GET time"]


def test_a_long_ban_is_a_refusal_at_once(made):
    broker, exchange = made
    exchange.answer("POST", "order", error(-1003, "Too many requests", 418))  # it does not say for how long
    for _ in range(2):
        with pytest.raises(BrokerError, match=r"60 s|asks to wait") as told:
            asyncio.run(broker.place(order()))
        assert told.value.refused
    assert exchange.paths().count("POST order") == 1


# --- reports


@pytest.mark.parametrize(
    ("status", "executed", "told"),
    [
        ("NEW", 0.0, "accepted"),
        ("PARTIALLY_FILLED", 0.001, "partly_filled"),
        ("FILLED", 0.002, "filled"),
        ("FILLED", 0.001, "cancelled"),  # what is filled counts
        ("EXPIRED", 0.001, "cancelled"),
        ("EXPIRED_IN_MATCH", 0.0, "cancelled"),
        ("CANCELED", 0.0, "cancelled"),
        ("REJECTED", 0.0, "rejected"),
    ],
)
def test_a_status_is_what_was_filled_and_not_its_word(made, status, executed, told):
    broker, exchange = made
    exchange.answer("GET", "order", found(status, str(executed), str(executed * 60_000)))
    exchange.answer("GET", "myTrades", [trade(quantity=str(executed))])
    report = asyncio.run(broker.report(ID, "BTCUSDT"))
    assert (report.status, report.filled_quantity) == (told, executed)
    assert report.average_price == (60_000.0 if executed else None)


def test_a_report_waits_for_all_trades_of_its_order(made):
    broker, exchange = made
    exchange.answer("GET", "order", *3 * [found("FILLED", "0.002", "120")])
    exchange.answer("GET", "myTrades", [trade(1, "0.0015")], [trade(1, "0.0015"), trade(2, "0.0005")])

    async def play():
        with pytest.raises(BrokerError, match="has not told all trades") as told:
            await broker.report(ID, "BTCUSDT")
        assert not told.value.refused
        return await broker.report(ID, "BTCUSDT"), await broker.report(ID, "BTCUSDT")

    first, second = asyncio.run(play())
    assert first == second
    assert first.fees == (Fee(currency="BTC", amount=0.000004),)
    assert exchange.paths().count("GET myTrades") == 2  # once they are all there


def test_an_order_nobody_placed_and_one_that_was_forgotten(made):
    broker, exchange = made
    exchange.answer("GET", "order", NO_SUCH_ORDER, error(-2026, "archived"), NO_SUCH_ORDER)
    exchange.answer("DELETE", "order", error(-2011, "Unknown order sent."))

    async def play():
        assert await broker.report(ID, "BTCUSDT") is None
        with pytest.raises(Forgotten):
            await broker.report(ID, "BTCUSDT")
        with pytest.raises(BrokerError) as told:
            await broker.cancel(ID, "BTCUSDT")
        assert told.value.refused
        with pytest.raises(BrokerError, match="does not move") as told:
            await broker.amend(stop())
        assert told.value.refused

    asyncio.run(play())


def test_what_is_cancelled_is_asked_about_and_what_is_done_says_how_it_ended(made):
    broker, exchange = made
    exchange.answer(
        "DELETE", "order", found("CANCELED", origClientOrderId=ID, clientOrderId="x"), error(-2011, "Unknown")
    )
    exchange.answer("GET", "order", found("CANCELED"), found("FILLED", "0.002", "120"))
    exchange.answer("GET", "myTrades", [trade()])
    assert asyncio.run(broker.cancel(ID, "BTCUSDT")).status == "cancelled"
    assert asyncio.run(broker.cancel(ID, "BTCUSDT")).status == "filled"


def test_open_orders_fills_balance_and_positions(made):
    broker, exchange = made
    exchange.answer("GET", "openOrders", [found(), found(clientOrderId="other", orderId=29)])
    page = [trade(number, "0.001") for number in range(1000)]
    exchange.answer("GET", "myTrades", page, [page[-1], trade(1000, "0.001", isBuyer=False, orderId=30)])
    exchange.answer("GET", "order", found(), found(clientOrderId="web_1", orderId=30))
    balances = {
        "balances": [{"asset": "BTC", "free": "0.5", "locked": "0.25"}, {"asset": "X", "free": "0", "locked": "0"}]
    }
    exchange.answer("GET", "account", *2 * [balances])

    async def play():
        assert [each.client_id for each in await broker.open_orders("BTCUSDT")] == [ID, "other"]
        fills = await broker.fills("BTCUSDT", NOW)
        assert [len(fills), fills[0].client_id, fills[-1].client_id, fills[-1].side] == [1001, ID, "web_1", "sell"]
        assert len({fill.trade_id for fill in fills}) == 1001
        assert list(await broker.balance()) == ["BTC"]
        market = await broker.market("BTCUSDT")
        assert market == BrokerMarket(
            symbol="BTCUSDT", base="BTC", quote="USDT", tick=0.01, step=0.00001, least_quantity=0.00001,
            most_quantity=9000.0, most_market_quantity=150.5, least_value=5.0, fee_in="base", lowest_trigger=0.2,
            highest_trigger=5.0, most_stops=5, id="BTCUSDT",
        )  # fmt: skip
        assert await broker.positions() == [bknb.brokers.AccountPosition(symbol="BTCUSDT", quantity=0.75)]
        assert broker.abilities().locks

    asyncio.run(play())


# --- money, keys, refusals


@pytest.mark.parametrize(
    ("exchange", "more", "why"),
    [
        ("mexc", {}, "through ccxt a stop becomes an order at the market there"),
        ("bitget", {}, "cannot be asked about there by its id"),
        ("coinbase", {}, "ccxt drops the id"),
        ("kraken", {}, "its orders were not tried out yet: .* may have 18 letters at most there"),
        ("bybit", {"market": "swap"}, "bknb places no orders at bybit swap: its orders were not tried out yet"),
        ("binance", {"leverage": 3}, "leverage=3 is for market='swap'"),
        ("binance", {"market": "swap", "leverage": 0.5}, "leverage"),
        ("nowhere", {}, "nobody has looked yet"),
        ("binance", {"sandbox": False}, "say so by real_money=True"),
        ("binance", {"real_money": True}, "give sandbox=False for real money"),
        ("binance", {"config": {"apiKey": "x", "secret": "y"}}, "config= holds apiKey, secret: keys stand in no cell"),
        (
            "okx",
            {},
            "BKNB_OKX_SANDBOX_SECRET and BKNB_OKX_SANDBOX_PASSPHRASE in the environment",
        ),
        ("binance", {}, "set BKNB_BINANCE_SANDBOX_KEY and BKNB_BINANCE_SANDBOX_SECRET in the environment"),
        ("binance", {"sandbox": False, "real_money": True}, "set BKNB_BINANCE_KEY and BKNB_BINANCE_SECRET"),
    ],
)
def test_what_is_refused_says_why(monkeypatch, exchange, more, why):
    for name in ("KEY", "SECRET", "SANDBOX_KEY", "SANDBOX_SECRET"):
        monkeypatch.delenv(f"BKNB_BINANCE_{name}", raising=False)
    with pytest.raises(UsageError, match=why):
        bknb.brokers.ccxt(exchange, **more)


def test_no_address_leads_to_real_money_unless_it_is_asked_for(made, monkeypatch):
    broker, _ = made
    assert broker._client._client.urls["api"]["private"] == "https://demo-api.binance.com/api/v3"
    urls = {"api": {"private": "https://api1.binance.com/api/v3"}}
    with pytest.raises(UsageError, match="config= leads to https://api1"):
        bknb.brokers.ccxt("binance", config={"urls": urls})
    monkeypatch.setenv("BKNB_BINANCE_KEY", KEY)
    monkeypatch.setenv("BKNB_BINANCE_SECRET", SECRET)
    real = bknb.brokers.ccxt("binance", sandbox=False, real_money=True, config={"urls": urls})
    assert (real.name, real.real_money) == ("binance spot", True)


@pytest.mark.parametrize("may", [True, False])
def test_a_key_that_may_withdraw_opens_nothing_with_real_money(monkeypatch, may):
    monkeypatch.setenv("BKNB_BINANCE_KEY", KEY)
    monkeypatch.setenv("BKNB_BINANCE_SECRET", SECRET)
    broker = bknb.brokers.ccxt("binance", sandbox=False, real_money=True)
    exchange = Exchange(broker)
    exchange.answer("GET", "/sapi/v1/account/apiRestrictions", *2 * [{"enableWithdrawals": may}])
    exchange.answer("POST", "order", FILLED)
    if not may:
        assert asyncio.run(broker.place(order())).status == "filled"
        return
    with pytest.raises(BrokerError, match="may withdraw; make one at the exchange that may trade only") as told:
        asyncio.run(broker.place(order()))
    assert told.value.refused
    assert "POST order" not in exchange.paths()
    asyncio.run(broker.place(stop()))  # what is held is protected all the same
    assert exchange.paths()[-1] == "POST order"


def test_a_planted_key_is_in_no_text_log_error_or_pickle(made, caplog):
    broker, exchange = made
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    caplog.set_level(logging.DEBUG)
    texts = [repr(broker), str(broker), broker.name, f"{vars(broker)}"]
    exchange.answer(
        "POST", "order", error(-2015, "Invalid API-key, IP, or permissions for action.", 401), OSError("gone")
    )
    for _ in range(2):
        try:
            asyncio.run(broker.place(order(client_id=f"a{len(texts)}")))
        except BrokerError as told:
            texts += [str(told), "".join(traceback.format_exception(told))]
    del exchange.client.fetch  # the real one: nobody listens there
    exchange.client.urls["api"] = {"private": "http://127.0.0.1:9", "public": "http://127.0.0.1:9"}
    with pytest.raises(BrokerError) as told:
        asyncio.run(broker.balance())
    texts += ["".join(traceback.format_exception(told.value)), caplog.text, log.getvalue()]
    logging.getLogger().removeHandler(handler)
    with pytest.raises(TypeError, match="not copied, saved or sent"):
        pickle.dumps(broker)
    for secret in (KEY, SECRET):
        assert not [text for text in texts if secret in text]
    gc.collect()
