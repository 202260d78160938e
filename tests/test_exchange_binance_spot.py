"""The local Binance spot exchange: what it answers to which request."""

from __future__ import annotations

from typing import Any

import pytest
from exchange_requests import NOW, Desk

ORDER = "/api/v3/order"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.do("price", symbol="BTCUSDT", price="50000")
    desk.do("deposit", currency="BTC", amount="1")
    return desk


def limit(**changes: Any) -> dict[str, Any]:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    return {**order, "price": "40000", "newClientOrderId": "bk1", **changes}


def stop(**changes: Any) -> dict[str, Any]:
    order = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.1", "stopPrice": "45000"}
    return {**order, "newClientOrderId": "bks", **changes}


def market(**changes: Any) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1", **changes}


REFUSED = [
    (limit(surprise="1"), -1104, "read '7' parameter(s) but was sent '8'"),
    (limit(symbol="NOUSDT"), -1121, "Invalid symbol."),
    (limit(side="HOLD"), -1117, "Invalid side."),
    (limit(type="TRAILING"), -1116, "Invalid orderType."),
    (limit(newClientOrderId="with space"), -1100, "'newClientOrderId'"),
    (market(price="40000"), -1106, "Parameter 'price' sent when not required."),
    ({key: value for key, value in limit().items() if key != "timeInForce"}, -1102, "'timeInForce'"),
    (limit(price="40000.001"), -1013, "PRICE_FILTER"),
    (limit(quantity="0.100001"), -1013, "LOT_SIZE"),
    (limit(quantity="0.00001"), -1013, "NOTIONAL"),
    (limit(price="1000"), -1013, "PERCENT_PRICE_BY_SIDE"),
    (market(quantity="121"), -1013, "MARKET_LOT_SIZE"),
    (limit(quantity="2.6"), -2010, "insufficient balance"),
    (market(side="SELL", quantity="1.1"), -2010, "insufficient balance"),
    (limit(type="LIMIT_MAKER", price="50001") | {"timeInForce": "GTC"}, -2010, "immediately match and take"),
    (stop(stopPrice="50000"), -2010, "Stop price would trigger immediately."),
    (stop(side="BUY", stopPrice="50000"), -2010, "Stop price would trigger immediately."),
    (stop(quantity="0.0001", stopPrice="49000"), -1013, "NOTIONAL"),
]


@pytest.mark.parametrize(("order", "code", "text"), REFUSED)
def test_an_order_that_breaks_a_rule_is_refused_and_changes_nothing(
    desk: Desk, order: dict[str, Any], code: int, text: str
) -> None:
    before = desk.do("state")
    answer = desk.ask(f"POST {ORDER}", **order)
    assert (answer.status, answer.body["code"]) == (400, code), answer
    assert text in answer.body["msg"]
    assert desk.do("state") == before


def test_who_asks_must_have_the_key_and_the_time(desk: Desk) -> None:
    def code(**how: Any) -> int:
        return int(desk.ask("GET /api/v3/account", **how).body.get("code", 0))

    assert code() == 0
    assert code(key="other") == -2015
    assert code(signed_with="other") == -1022
    assert code(sent_at=NOW + 1001) == -1021
    assert code(sent_at=NOW - 5001) == -1021
    assert code(sent_at=NOW - 9000, recvWindow=10_000) == 0
    assert code(recvWindow=60_001) == -1131
    desk.do("clock", skew_ms=-2000)
    assert "1000ms ahead" in desk.ask("GET /api/v3/account").body["msg"]
    desk.do("key", revoked=True)
    assert desk.ask("GET /api/v3/account", sent_at=NOW - 2000).status == 401


def test_an_order_at_the_market_pays_its_fee_in_what_it_receives(desk: Desk) -> None:
    told = desk.ask(f"POST {ORDER}", **market(newClientOrderId="a", quantity="0.002")).body
    assert (told["status"], told["executedQty"], told["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.00200000",
        "100.00000000",
    )
    (fill,) = told["fills"]
    assert (fill["commission"], fill["commissionAsset"]) == ("0.00000200", "BTC")
    assert desk.do("state")["spot"]["balances"]["BTC"]["free"] == "1.00199800"
    (row,) = desk.ask("GET /api/v3/myTrades", symbol="BTCUSDT", orderId=told["orderId"]).body
    assert (row["id"], row["isBuyer"], row["isMaker"]) == (fill["tradeId"], True, False)


@pytest.mark.parametrize(
    ("fee_currency", "bnb", "expected"),
    [("BNB", "1", "BNB"), ("BNB", "0.009", "BTC"), ("quote", "1", "USDT"), ("received", "1", "BTC")],
)
def test_fees_are_taken_from_the_currency_they_are_set_to_while_it_lasts(
    fee_currency: str, bnb: str, expected: str
) -> None:
    desk = Desk()
    desk.do("reset", fee_currency=fee_currency)
    desk.do("price", symbol="BTCUSDT", price="50000")
    desk.do("price", symbol="BNBUSDT", price="500")
    desk.do("deposit", currency="BNB", amount=bnb)
    (fill,) = desk.ask(f"POST {ORDER}", **market()).body["fills"]
    assert fill["commissionAsset"] == expected


def test_an_id_is_taken_as_long_as_its_order_works(desk: Desk) -> None:
    first = desk.ask(f"POST {ORDER}", **limit()).body
    again = desk.ask(f"POST {ORDER}", **limit()).body
    assert (again["code"], again["msg"]) == (-2010, "Duplicate order sent.")
    desk.do("price", symbol="BTCUSDT", price="39999")
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body["status"] == "FILLED"
    second = desk.ask(f"POST {ORDER}", **limit(price="30000")).body
    assert second["orderId"] > first["orderId"]
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body["orderId"] == second["orderId"]


def test_an_order_rests_is_filled_at_its_price_and_cannot_be_cancelled_any_more(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **limit())
    assert desk.do("state")["spot"]["balances"]["USDT"] == {"free": "96000.0", "locked": "4000.0"}
    assert [row["clientOrderId"] for row in desk.ask("GET /api/v3/openOrders", symbol="BTCUSDT").body] == ["bk1"]
    desk.do("price", symbol="BTCUSDT", price="39000")
    told = desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body
    assert (told["status"], told["cummulativeQuoteQty"]) == ("FILLED", "4000.00000000")
    refused = desk.ask(f"DELETE {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body
    assert (refused["code"], refused["msg"]) == (-2011, "Unknown order sent.")
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="nobody").body["code"] == -2013


def test_a_cancelled_order_gives_back_what_it_held(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **limit())
    told = desk.ask(f"DELETE {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body
    assert (told["status"], told["origClientOrderId"]) == ("CANCELED", "bk1")
    assert told["clientOrderId"] != "bk1"
    assert desk.do("state")["spot"]["balances"]["USDT"] == {"free": "100000.0", "locked": "0.0"}


def test_a_stop_locks_the_balance_and_sells_when_the_price_is_there(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **stop(quantity="1"))
    second = desk.ask(f"POST {ORDER}", **stop(newClientOrderId="bks2", stopPrice="44000")).body
    assert second["code"] == -2010
    desk.do("candle", symbol="BTCUSDT", opened=NOW, prices=[50000, 50000, 44000, 44000])
    told = desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bks").body
    assert (told["status"], told["cummulativeQuoteQty"]) == ("FILLED", "45000.00000000")


def test_no_more_stops_than_the_market_allows(desk: Desk) -> None:
    for k in range(5):
        assert "orderId" in desk.ask(f"POST {ORDER}", **stop(newClientOrderId=f"s{k}")).body
    assert "MAX_NUM_ALGO_ORDERS" in desk.ask(f"POST {ORDER}", **stop(newClientOrderId="s5")).body["msg"]


def replace(**changes: Any) -> dict[str, Any]:
    how = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "bks"}
    return {**stop(newClientOrderId="bks2", stopPrice="46000"), **how, **changes}


def test_a_stop_is_moved_in_one_request(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **stop(quantity="1"))
    told = desk.ask("POST /api/v3/order/cancelReplace", **replace(quantity="1")).body
    assert (told["cancelResult"], told["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert told["newOrderResponse"]["clientOrderId"] == "bks2"
    assert [row["stopPrice"] for row in desk.ask("GET /api/v3/openOrders").body] == ["46000.00000000"]


@pytest.mark.parametrize(
    ("fault", "changes", "status", "code", "results"),
    [
        (None, {"cancelOrigClientOrderId": "nobody"}, 400, -2022, ("FAILURE", "NOT_ATTEMPTED")),
        ("replace_half", {}, 409, -2021, ("SUCCESS", "FAILURE")),
        (None, {"stopPrice": "51000"}, 409, -2021, ("SUCCESS", "FAILURE")),
        ("fill_during_cancel", {"cancelRestrictions": "ONLY_NEW"}, 400, -2022, ("FAILURE", "NOT_ATTEMPTED")),
        ("fill_after_cancel", {"cancelRestrictions": "ONLY_NEW"}, 400, -2022, ("FAILURE", "NOT_ATTEMPTED")),
    ],
)
def test_a_stop_is_moved_half_or_not_at_all(
    desk: Desk, fault: str | None, changes: dict[str, Any], status: int, code: int, results: tuple[str, str]
) -> None:
    desk.ask(f"POST {ORDER}", **stop())
    if fault:
        desk.do("fault", name=fault)
    answer = desk.ask("POST /api/v3/order/cancelReplace", **replace(**changes))
    assert (answer.status, answer.body["code"]) == (status, code)
    assert (answer.body["data"]["cancelResult"], answer.body["data"]["newOrderResult"]) == results


def pair(**changes: Any) -> dict[str, Any]:
    order = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "1", "listClientOrderId": "bkp"}
    above = {"aboveType": "LIMIT_MAKER", "abovePrice": "55000", "aboveClientOrderId": "target"}
    return {**order, **above, "belowType": "STOP_LOSS", "belowStopPrice": "45000", "belowClientOrderId": "s", **changes}


@pytest.mark.parametrize(("price", "filled", "other"), [("55000", "target", "s"), ("44000", "s", "target")])
def test_of_a_pair_one_order_is_filled_and_the_other_one_expires(
    desk: Desk, price: str, filled: str, other: str
) -> None:
    told = desk.ask("POST /api/v3/orderList/oco", **pair()).body
    assert (told["contingencyType"], len(told["orderReports"])) == ("OCO", 2)
    assert desk.do("state")["spot"]["balances"]["BTC"] == {"free": "0", "locked": "1"}
    desk.do("price", symbol="BTCUSDT", price=price)
    states = {row["client_id"]: row["status"] for row in desk.do("state")["spot"]["orders"]}
    assert states == {filled: "filled", other: "expired"}
    assert desk.do("state")["spot"]["balances"]["BTC"] == {"free": "0", "locked": "0"}


@pytest.mark.parametrize(("first", "then", "left"), [("55000", "44000", "s"), ("44000", "55000", "target")])
def test_of_a_pair_that_is_not_linked_the_other_order_stays_and_finds_nothing_to_sell(
    desk: Desk, first: str, then: str, left: str
) -> None:
    desk.ask("POST /api/v3/orderList/oco", **pair())
    desk.do("fault", name="pair_not_linked")
    desk.do("price", symbol="BTCUSDT", price=first)
    assert [row["clientOrderId"] for row in desk.ask("GET /api/v3/openOrders").body] == [left]
    desk.do("price", symbol="BTCUSDT", price=then)
    told = desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId=left).body
    assert (told["status"], told["executedQty"]) == ("EXPIRED", "0.00000000")


def test_an_id_of_an_order_that_works_is_taken_again_on_command(desk: Desk) -> None:
    desk.do("fault", name="id_free_again")
    ids = [desk.ask(f"POST {ORDER}", **limit()).body.get("orderId") for _ in range(3)]
    assert [number is not None for number in ids] == [True, True, False]


def test_a_pair_is_cancelled_together_and_refused_where_its_prices_are_wrong(desk: Desk) -> None:
    wrong = desk.ask("POST /api/v3/orderList/oco", **pair(abovePrice="49000")).body
    assert wrong["code"] == -2010
    desk.ask("POST /api/v3/orderList/oco", **pair())
    told = desk.ask("DELETE /api/v3/orderList", symbol="BTCUSDT", listClientOrderId="bkp").body
    assert [row["status"] for row in told["orderReports"]] == ["CANCELED", "CANCELED"]
    assert desk.do("state")["spot"]["balances"]["BTC"] == {"free": "1", "locked": "0"}


def test_who_asks_too_much_waits_and_who_does_not_wait_is_banned(desk: Desk) -> None:
    desk.do("limits", face="binance", weight=50, patience=1)
    answers = [desk.ask("GET /api/v3/account") for _ in range(6)]
    assert [each.status for each in answers] == [200, 200, 429, 418, 418, 418]
    assert int(answers[2].headers["Retry-After"]) <= 60
    assert "IP banned until" in answers[3].body["msg"]
    desk.do("reset")
    desk.do("price", symbol="BTCUSDT", price="50000")
    desk.do("limits", face="binance", orders=[2, 100])
    codes = [desk.ask(f"POST {ORDER}", **market(quantity="0.001")).body.get("code") for _ in range(3)]
    assert codes == [None, None, -1015]


SPOKEN = [
    ("timeout", 408, -1007),
    ("overloaded", 503, -1008),
    ("unknown_error", 503, -1000),
    ("bus", 504, -1006),
    ("duplicate", 400, -2010),
    ("halted", 400, -1013),
]


@pytest.mark.parametrize(("reason", "status", "code"), SPOKEN)
@pytest.mark.parametrize("executed", [False, True])
def test_it_refuses_on_command_and_may_have_done_it_all_the_same(
    desk: Desk, reason: str, status: int, code: int, *, executed: bool
) -> None:
    desk.do("fault", name="refuse", on="place", reason=reason, executed=executed)
    answer = desk.ask(f"POST {ORDER}", **limit())
    assert (answer.status, answer.body["code"]) == (status, code)
    assert len(desk.do("state")["spot"]["orders"]) == executed


def test_a_ban_on_command_says_in_its_text_alone_when_it_ends(desk: Desk) -> None:
    desk.do("fault", name="banned", on="balance", seconds=30)
    answer = desk.ask("GET /api/v3/account")
    assert answer.status == 418
    assert "Retry-After" not in answer.headers
    assert str(NOW + 30_000) in answer.body["msg"]
    assert desk.public("/api/v3/time").status == 418


def test_an_order_is_not_found_for_a_while(desk: Desk) -> None:
    desk.do("clock", at=NOW)
    desk.do("fault", name="not_found", seconds=90)
    desk.ask(f"POST {ORDER}", **market(newClientOrderId="a"))
    ask = {"symbol": "BTCUSDT", "origClientOrderId": "a"}
    assert desk.ask(f"GET {ORDER}", **ask).body["code"] == -2013
    assert desk.ask("GET /api/v3/myTrades", symbol="BTCUSDT").body == []
    desk.do("clock", advance_ms=90_000)
    assert desk.ask(f"GET {ORDER}", **ask).body["status"] == "FILLED"
    assert len(desk.ask("GET /api/v3/myTrades", symbol="BTCUSDT").body) == 1


@pytest.mark.parametrize(
    ("works", "before", "after"), [(False, "EXPIRED", "EXPIRED"), (True, "PARTIALLY_FILLED", "FILLED")]
)
def test_of_an_order_at_the_market_only_a_part_is_filled(desk: Desk, *, works: bool, before: str, after: str) -> None:
    desk.do("fault", name="partial", share="0.4", works=works)
    told = desk.ask(f"POST {ORDER}", **market(newClientOrderId="a")).body
    assert (told["status"], told["executedQty"]) == (before, "0.04000000")
    desk.do("price", symbol="BTCUSDT", price="50000")
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="a").body["status"] == after


@pytest.mark.parametrize(
    ("fault", "share", "answer", "filled"),
    [
        ("fill_during_cancel", "1", -2011, "0.10000000"),
        ("fill_during_cancel", "0.5", "CANCELED", "0.05000000"),
        ("fill_after_cancel", "0.5", "CANCELED", "0.05000000"),
    ],
)
def test_an_order_is_filled_while_it_is_cancelled(
    desk: Desk, fault: str, share: str, answer: str | int, filled: str
) -> None:
    desk.ask(f"POST {ORDER}", **limit())
    desk.do("fault", name=fault, share=share)
    told = desk.ask(f"DELETE {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body
    assert told.get("status", told.get("code")) == answer
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bk1").body["executedQty"] == filled


def test_slippage_is_against_the_order(desk: Desk) -> None:
    desk.do("fault", name="slippage", percent="3")
    assert desk.ask(f"POST {ORDER}", **market()).body["cummulativeQuoteQty"] == "5150.00000000"


def test_a_user_trades_by_hand_and_rules_change(desk: Desk) -> None:
    desk.do("trade", symbol="BTCUSDT", side="sell", quantity="0.5")
    assert desk.do("state")["spot"]["balances"]["BTC"]["free"] == "0.5"
    desk.do("rules", symbol="BTCUSDT", step="0.10000000", least="0.10000000")
    assert "LOT_SIZE" in desk.ask(f"POST {ORDER}", **market(quantity="0.01")).body["msg"]
    desk.do("rules", symbol="BTCUSDT", halted=True)
    assert desk.ask(f"POST {ORDER}", **market()).body["msg"] == "Market is closed."


def test_a_user_holds_the_balance_with_an_order_by_hand_and_moves_or_ends_our_stop(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **stop())
    desk.do("move", client_id="bks", trigger="46000")
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bks").body["stopPrice"] == "46000.00000000"
    desk.do("cancel", client_id="bks", expired=True)
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bks").body["status"] == "EXPIRED"
    desk.do("trade", symbol="BTCUSDT", side="sell", quantity="1", price="60000")
    assert desk.ask(f"POST {ORDER}", **stop()).body["code"] == -2010


def test_minutes_it_has_traded_are_candles(desk: Desk) -> None:
    for k in range(10):
        desk.do("candle", symbol="BTCUSDT", opened=k * 60_000, prices=[100 + k, 102 + k, 99 + k, 101 + k])
    rows = desk.public("/api/v3/klines", symbol="BTCUSDT", interval="5m", limit=2).body
    assert [row[:5] for row in rows] == [[0, "100", "106", "99", "105"], [300_000, "105", "111", "104", "110"]]
    assert desk.public("/api/v3/klines", symbol="BTCUSDT", interval="7m").body["code"] == -1120
