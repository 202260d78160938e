"""The local OKX: what it answers to which request."""

from __future__ import annotations

from typing import Any

import pytest
from exchange_requests import NOW, Desk

SWAP, SPOT = "BTC-USDT-SWAP", "BTC-USDT"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.do("price", symbol="BTCUSDT", price="50000")
    desk.do("position", symbol=SWAP, market="okx", leverage=5)
    return desk


def order(side: str = "buy", size: str = "10", **changes: Any) -> dict[str, Any]:
    given = {"instId": SWAP, "tdMode": "isolated", "side": side, "ordType": "market", "sz": size, "clOrdId": "bk1"}
    return {**given, **changes}


def stop(price: str = "45000", **changes: Any) -> dict[str, Any]:
    given = {"instId": SWAP, "tdMode": "isolated", "side": "sell", "ordType": "conditional", "sz": "10"}
    return {**given, "slTriggerPx": price, "slOrdPx": "-1", "algoClOrdId": "bks", "reduceOnly": "true", **changes}


def spot(side: str = "buy", size: str = "0.1", **changes: Any) -> dict[str, Any]:
    return order(side, size, instId=SPOT, tdMode="cash", tgtCcy="base_ccy", **changes)


REFUSED = [
    ("trade/order", order(surprise="1"), "51000", "Parameter surprise error"),
    ("trade/order", order(clOrdId="with-dash"), "51000", "Parameter clOrdId error"),
    ("trade/order", order(instId="NO-USDT"), "51001", "doesn't exist"),
    ("trade/order", order(size="0.001"), "51121", "multiple of the lot size"),
    ("trade/order", order(size="100000000"), "51201", "maximum"),
    ("trade/order", order(size="20000"), "51008", "margin"),
    ("trade/order", spot(size="3"), "51008", "balance"),
    ("trade/order", order(ordType="limit", px="1000"), "51006", "price limit"),
    ("trade/order", order(ordType="limit"), "50014", "px cannot be empty"),
    ("trade/order", order("sell", reduceOnly="true"), "51169", "don't have any positions"),
    ("trade/order", order(posSide="long"), "51000", "posSide"),
    ("trade/order-algo", stop("50000"), "51280", "less than the last price"),
    ("trade/order-algo", stop(slTriggerPxType="mark"), "51000", "mark"),
    ("trade/order-algo", stop(slOrdPx=""), "50014", "slOrdPx"),
    ("trade/cancel-order", {"instId": SWAP, "clOrdId": "nobody"}, "51400", "does not exist"),
    ("trade/amend-algos", {"instId": SWAP, "algoClOrdId": "no", "newSlTriggerPx": "1"}, "51503", "modification"),
]


@pytest.mark.parametrize(("path", "body", "code", "text"), REFUSED)
def test_what_is_refused_stands_inside_an_answer_with_status_200(
    desk: Desk, path: str, body: dict[str, Any], code: str, text: str
) -> None:
    answer = desk.okx(f"POST {path}", body)
    assert (answer.status, answer.body["code"]) == (200, "1"), answer
    (row,) = answer.body["data"]
    assert row["sCode"] == code
    assert text in row["sMsg"]
    assert desk.do("state")["okx"]["orders"] == []


def test_who_asks_must_have_the_key_and_the_time(desk: Desk) -> None:
    def code(**how: Any) -> str:
        return str(desk.okx("GET account/balance", **how).body["code"])

    assert code() == "0"
    assert code(passphrase="other") == "50105"  # noqa: S106 -- a wrong one
    assert code(sent_at=NOW - 31_000) == "50102"
    desk.do("key", revoked=True)
    assert desk.okx("GET account/balance").status == 401
    desk.do("key", revoked=False, may_trade=False, may_withdraw=True)
    assert desk.okx("POST trade/order", order()).body["code"] == "50120"
    assert desk.okx("GET account/config").body["data"][0]["perm"] == "read_only,withdraw"


def test_of_several_orders_some_are_refused(desk: Desk) -> None:
    told = desk.okx("POST trade/batch-orders", [order(size="1"), order(size="1", instId="NO-USDT")]).body
    assert (told["code"], [row["sCode"] for row in told["data"]]) == ("2", ["0", "51001"])


def test_a_position_is_counted_in_contracts(desk: Desk) -> None:
    desk.okx("POST account/set-leverage", {"instId": SWAP, "lever": "5", "mgnMode": "isolated"})
    (placed,) = desk.okx("POST trade/order", order()).body["data"]
    assert (placed["sCode"], placed["clOrdId"]) == ("0", "bk1")
    (told,) = desk.okx("GET trade/order", instId=SWAP, clOrdId="bk1").body["data"]
    assert [told[name] for name in ("state", "accFillSz", "avgPx", "fee", "feeCcy")] == [
        *("filled", "10", "50000", "-2.5", "USDT")
    ]
    (held,) = desk.okx("GET account/positions").body["data"]
    assert [held[name] for name in ("pos", "avgPx", "lever", "mgnMode", "margin")] == [
        *("10", "50000", "5", "isolated", "1000")
    ]
    (balance,) = desk.okx("GET account/balance").body["data"]
    usdt = next(row for row in balance["details"] if row["ccy"] == "USDT")
    assert (usdt["cashBal"], usdt["availEq"]) == ("99997.5", "98997.5")
    (fill,) = desk.okx("GET trade/fills", instId=SWAP).body["data"]
    assert (fill["fillSz"], fill["execType"], fill["fee"]) == ("10", "T", "-2.5")


@pytest.mark.parametrize(
    ("fault", "state", "child_state", "left"),
    [
        (None, "effective", "filled", []),
        ("child_rejected", "order_failed", "canceled", ["10"]),
        ("child_partial", "effective", "canceled", ["5"]),
    ],
)
def test_a_triggered_stop_is_another_order(
    desk: Desk, fault: str | None, state: str, child_state: str, left: list[str]
) -> None:
    desk.okx("POST trade/order", order())
    desk.okx("POST trade/order-algo", stop())
    (live,) = desk.okx("GET trade/orders-algo-pending", ordType="conditional").body["data"]
    assert (live["algoClOrdId"], live["state"], live["slTriggerPx"], live["slOrdPx"]) == ("bks", "live", "45000", "-1")
    assert desk.okx("GET trade/orders-algo-pending", ordType="trigger").body["data"] == []
    if fault:
        desk.do("fault", name=fault, on="trigger")
    desk.do("price", symbol=SWAP, price="44000")
    (told,) = desk.okx("GET trade/order-algo", algoClOrdId="bks").body["data"]
    assert told["state"] == state
    (child,) = desk.okx("GET trade/order", instId=SWAP, ordId=told["ordId"]).body["data"]
    assert (child["state"], child["algoClOrdId"]) == (child_state, "bks")
    assert [row["pos"] for row in desk.okx("GET account/positions").body["data"]] == left
    assert desk.okx("POST trade/cancel-algos", [{"instId": SWAP, "algoClOrdId": "bks"}]).body["code"] == "1"


def test_a_stop_is_moved_where_it_waits(desk: Desk) -> None:
    desk.okx("POST trade/order", order())
    desk.okx("POST trade/order-algo", stop())
    move = {"instId": SWAP, "algoClOrdId": "bks", "newSlTriggerPx": "48000"}
    assert desk.okx("POST trade/amend-algos", move).body["data"][0]["sCode"] == "0"
    assert desk.okx("POST trade/amend-algos", {**move, "newSlTriggerPx": "51000"}).body["data"][0]["sCode"] == "51280"
    desk.do("price", symbol=SWAP, price="47900")
    assert desk.okx("GET trade/order-algo", algoClOrdId="bks").body["data"][0]["state"] == "effective"


@pytest.mark.parametrize(("price", "side"), [("56000", "tp"), ("44000", "sl")])
def test_a_pair_has_one_id_and_one_of_it_is_carried_out(desk: Desk, price: str, side: str) -> None:
    desk.okx("POST trade/order", order())
    desk.okx("POST trade/order-algo", stop(ordType="oco", tpTriggerPx="55000", tpOrdPx="-1"))
    (live,) = desk.okx("GET trade/orders-algo-pending", ordType="oco").body["data"]
    assert (live["tpTriggerPx"], live["slTriggerPx"]) == ("55000", "45000")
    desk.do("price", symbol=SWAP, price=price)
    (told,) = desk.okx("GET trade/order-algo", algoClOrdId="bks").body["data"]
    assert (told["state"], told["actualSide"], told["actualSz"]) == ("effective", side, "10")
    assert desk.okx("GET account/positions").body["data"] == []


def test_a_spot_stop_holds_nothing_and_fails_where_the_balance_is_gone(desk: Desk) -> None:
    desk.okx("POST trade/order", spot())
    (bought,) = desk.okx("GET trade/order", instId=SPOT, clOrdId="bk1").body["data"]
    assert (bought["accFillSz"], bought["fee"], bought["feeCcy"]) == ("0.1", "-0.0001", "BTC")
    given = {"instId": SPOT, "tdMode": "cash", "side": "sell", "ordType": "conditional", "sz": "0.0999"}
    told = desk.okx("POST trade/order-algo", {**given, "slTriggerPx": "45000", "slOrdPx": "-1", "algoClOrdId": "bks"})
    assert told.body["code"] == "0"
    assert desk.do("state")["okx"]["balances"]["BTC"] == {"free": "0.09990000", "locked": "0"}
    desk.do("trade", symbol=SPOT, side="sell", quantity="0.05", market="okx")
    desk.do("price", symbol=SPOT, price="44000")
    assert desk.okx("GET trade/order-algo", algoClOrdId="bks").body["data"][0]["state"] == "order_failed"


def test_a_cancelled_order_is_forgotten_after_two_hours(desk: Desk) -> None:
    desk.do("clock", at=NOW)
    desk.okx("POST trade/order", order(ordType="limit", px="40000"))
    assert desk.okx("POST trade/order", order(ordType="limit", px="40000")).body["data"][0]["sCode"] == "51016"
    desk.okx("POST trade/cancel-order", {"instId": SWAP, "clOrdId": "bk1"})
    asked = {"instId": SWAP, "clOrdId": "bk1"}
    assert desk.okx("GET trade/order", **asked).body["data"][0]["state"] == "canceled"
    desk.do("clock", advance_ms=2 * 3_600_000 + 1)
    answer = desk.okx("GET trade/order", **asked)
    assert (answer.status, answer.body["code"]) == (200, "51603")


def test_minutes_it_has_traded_are_candles_the_newest_first(desk: Desk) -> None:
    for k in range(4):
        desk.do("candle", symbol="BTCUSDT", opened=k * 60_000, prices=[100 + k, 102 + k, 99 + k, 101 + k], clock=k < 3)
    asked = {"instId": SPOT, "bar": "1m", "after": "180000", "before": "0"}
    rows = desk.public("/api/v5/market/candles", **asked).body["data"]
    assert [row[:5] for row in rows] == [["120000", "102", "104", "101", "103"], ["60000", "101", "103", "100", "102"]]


SPOKEN = [("timeout", 400, "50004"), ("too_many", 429, "50011"), ("overloaded", 503, "50001")]


@pytest.mark.parametrize(("reason", "status", "code"), SPOKEN)
def test_it_refuses_on_command(desk: Desk, reason: str, status: int, code: str) -> None:
    how = {"name": "too_many", "seconds": 1} if reason == "too_many" else {"name": "refuse", "reason": reason}
    desk.do("fault", on="place", **how)
    answer = desk.okx("POST trade/order", order())
    assert (answer.status, answer.body["code"]) == (status, code)
