"""The local Binance futures exchange: what it answers to which request."""

from __future__ import annotations

from typing import Any

import pytest
from exchange_requests import NOW, Desk

ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.do("price", symbol="BTCUSDT", price="50000")
    desk.do("position", symbol="BTCUSDT", market="usdm", leverage=5)
    return desk


def market(side: str = "BUY", quantity: str = "0.1", **changes: Any) -> dict[str, Any]:
    order = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity, "newClientOrderId": "bk1"}
    return {**order, "newOrderRespType": "RESULT", **changes}


def limit(side: str, price: str, quantity: str = "0.1", **changes: Any) -> dict[str, Any]:
    return {**market(side, quantity), "type": "LIMIT", "timeInForce": "GTC", "price": price, **changes}


def algo(price: str, quantity: str = "0.1", **changes: Any) -> dict[str, Any]:
    order = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET"}
    return {
        **order,
        "quantity": quantity,
        "triggerPrice": price,
        "reduceOnly": "true",
        "clientAlgoId": "bks",
        **changes,
    }


REFUSED = [
    (ORDER, market(type="STOP_MARKET", stopPrice="45000"), -4120),
    (ORDER, market(positionSide="LONG"), -4061),
    (ORDER, market("SELL", reduceOnly="true"), -2022),
    (ORDER, market(quantity="0.0015"), -1111),
    (ORDER, market(quantity="0.0001"), -1111),
    (ORDER, limit("BUY", "40000", "0.001"), -4164),
    (ORDER, limit("BUY", "40000.01"), -4014),
    (ORDER, market(quantity="100"), -2019),
    (ORDER, market(surprise=1), -1104),
    (ORDER, limit("BUY", "50001", timeInForce="GTX"), -5022),
    (ALGO, algo("50000"), -2021),
    (ALGO, algo("45000", type="STOP"), -1102),
    (ALGO, {**algo("45000"), "algoType": "VP"}, -1116),
    (ALGO, algo("45000", symbol="NOUSDT"), -1121),
]


@pytest.mark.parametrize(("path", "order", "code"), REFUSED)
def test_an_order_that_breaks_a_rule_is_refused_and_changes_nothing(
    desk: Desk, path: str, order: dict[str, Any], code: int
) -> None:
    before = desk.do("state")["usdm"]["orders"]
    answer = desk.ask(f"POST {path}", **order)
    assert (answer.status, answer.body["code"]) == (400, code), answer
    assert desk.do("state")["usdm"]["orders"] == before


def test_a_position_its_margin_and_its_profit(desk: Desk) -> None:
    assert desk.ask("POST /fapi/v1/leverage", symbol="BTCUSDT", leverage=5).body["leverage"] == 5
    assert desk.ask("POST /fapi/v1/leverage", symbol="BTCUSDT", leverage=200).body["code"] == -4028
    assert desk.ask("POST /fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED").body["code"] == 200
    assert desk.ask("POST /fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED").body["code"] == -4046
    told = desk.ask(f"POST {ORDER}", **market()).body
    assert (told["status"], told["avgPrice"], told["cumQuote"]) == ("FILLED", "50000", "5000")
    desk.do("price", symbol="BTCUSDT", price="51000")
    (held,) = desk.ask("GET /fapi/v3/positionRisk").body
    assert [held[name] for name in ("positionAmt", "entryPrice", "unRealizedProfit", "liquidationPrice")] == [
        *("0.1", "50000", "100", "40200")
    ]
    account = desk.ask("GET /fapi/v3/account").body
    assert (account["totalInitialMargin"], account["totalWalletBalance"]) == ("1000", "99997.5")
    assert desk.ask("POST /fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED").body["code"] == -4048
    (setting,) = desk.ask("GET /fapi/v1/symbolConfig", symbol="BTCUSDT").body
    assert (setting["leverage"], setting["marginType"]) == (5, "ISOLATED")
    desk.ask(f"POST {ORDER}", **market("SELL", "0.3", reduceOnly="true"))
    assert desk.ask("GET /fapi/v3/positionRisk").body == []
    income = {row["incomeType"]: row["income"] for row in desk.ask("GET /fapi/v1/income").body}
    assert income["REALIZED_PNL"] == "100.0"
    (opened, closed) = desk.ask("GET /fapi/v1/userTrades", symbol="BTCUSDT").body
    assert (opened["realizedPnl"], closed["realizedPnl"], closed["commissionAsset"]) == ("0", "100", "USDT")


@pytest.mark.parametrize(
    ("fault", "status", "filled", "left"),
    [
        (None, "FINISHED", "0.1", []),
        ("child_cancelled", "FINISHED", "0", ["0.1"]),
        ("child_rejected", "REJECTED", "0", ["0.1"]),
        ("child_partial", "FINISHED", "0.05", ["0.05"]),
    ],
)
def test_a_triggered_stop_is_another_order(
    desk: Desk, fault: str | None, status: str, filled: str, left: list[str]
) -> None:
    desk.ask(f"POST {ORDER}", **market())
    placed = desk.ask(f"POST {ALGO}", **algo("45000")).body
    assert (placed["algoStatus"], placed["clientAlgoId"], placed["actualOrderId"]) == ("NEW", "bks", "")
    assert desk.ask(f"GET {ORDER}", symbol="BTCUSDT", origClientOrderId="bks").body["code"] == -2013
    assert desk.ask("GET /fapi/v1/openOrders").body == []
    assert [row["algoId"] for row in desk.ask("GET /fapi/v1/openAlgoOrders").body] == [placed["algoId"]]
    if fault:
        desk.do("fault", name=fault, on="trigger")
    desk.do("candle", symbol="BTCUSDT", opened=NOW, prices=[50000, 50100, 44000, 44500])
    told = desk.ask(f"GET {ALGO}", clientAlgoId="bks").body
    assert told["algoStatus"] == status
    child = desk.ask(f"GET {ORDER}", symbol="BTCUSDT", orderId=told["actualOrderId"]).body
    assert (child["executedQty"], child["origType"]) == (filled, "STOP_MARKET")
    assert [row["positionAmt"] for row in desk.ask("GET /fapi/v3/positionRisk").body] == left
    assert desk.ask(f"DELETE {ALGO}", clientAlgoId="bks").body["code"] == -2011


def test_the_order_of_a_stop_is_missing_for_a_while(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **market())
    desk.ask(f"POST {ALGO}", **algo("45000"))
    desk.do("fault", name="child_missing", on="trigger", seconds=10)
    desk.do("clock", at=NOW)
    desk.do("price", symbol="BTCUSDT", price="44000")
    told = desk.ask(f"GET {ALGO}", clientAlgoId="bks").body
    ask = {"symbol": "BTCUSDT", "orderId": told["actualOrderId"]}
    assert (told["algoStatus"], desk.ask(f"GET {ORDER}", **ask).body["code"]) == ("TRIGGERED", -2013)
    desk.do("clock", advance_ms=10_000)
    assert desk.ask(f"GET {ALGO}", clientAlgoId="bks").body["algoStatus"] == "FINISHED"
    assert desk.ask(f"GET {ORDER}", **ask).body["status"] == "FILLED"


def test_a_stop_that_was_cancelled_is_forgotten_after_three_days(desk: Desk) -> None:
    desk.do("clock", at=NOW)
    desk.ask(f"POST {ALGO}", **algo("45000"))
    assert desk.ask(f"DELETE {ALGO}", clientAlgoId="bks").body["code"] == "200"
    assert desk.ask(f"GET {ALGO}", clientAlgoId="bks").body["algoStatus"] == "CANCELED"
    desk.do("clock", advance_ms=3 * 86_400_000 + 1)
    assert desk.ask(f"GET {ALGO}", clientAlgoId="bks").body["code"] == -2013


def test_a_target_at_a_limit_blocks_the_close(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **market())
    desk.ask(f"POST {ORDER}", **limit("SELL", "60000", reduceOnly="true", newClientOrderId="t"))
    close = market("SELL", reduceOnly="true", newClientOrderId="c")
    assert desk.ask(f"POST {ORDER}", **close).body["code"] == -4118
    assert desk.ask(f"DELETE {ORDER}", symbol="BTCUSDT", origClientOrderId="t").body["status"] == "CANCELED"
    assert desk.ask(f"POST {ORDER}", **close).body["status"] == "FILLED"


def test_a_stop_left_over_acts_on_the_next_position(desk: Desk) -> None:
    desk.ask(f"POST {ORDER}", **market())
    desk.ask(f"POST {ALGO}", **algo("45000"))
    desk.ask(f"POST {ORDER}", **market("SELL", reduceOnly="true"))
    desk.ask(f"POST {ORDER}", **market(quantity="0.2"))
    desk.do("price", symbol="BTCUSDT", price="44000")
    assert [row["positionAmt"] for row in desk.ask("GET /fapi/v3/positionRisk").body] == ["0.1"]


@pytest.mark.parametrize("prefix", ["autoclose-", "adl_autoclose", "settlement_autoclose-"])
def test_the_exchange_closes_a_position_under_an_id_of_its_own(desk: Desk, prefix: str) -> None:
    desk.ask(f"POST {ORDER}", **market())
    desk.do("liquidate", symbol="BTCUSDT", market="usdm", price="48000", prefix=prefix)
    (_, closed) = desk.ask("GET /fapi/v1/allOrders", symbol="BTCUSDT").body
    assert closed["clientOrderId"].startswith(prefix)
    assert (closed["status"], closed["avgPrice"], closed["side"]) == ("FILLED", "48000", "SELL")


def test_the_mode_is_changed_from_outside(desk: Desk) -> None:
    assert desk.ask("GET /fapi/v1/positionSide/dual").body == {"dualSidePosition": False}
    assert desk.ask("POST /fapi/v1/positionSide/dual", dualSidePosition="false").body["code"] == -4059
    desk.do("position", symbol="BTCUSDT", market="usdm", hedged=True, leverage=20, margin_type="cross")
    assert desk.ask("GET /fapi/v1/positionSide/dual").body == {"dualSidePosition": True}
    assert desk.ask(f"POST {ORDER}", **market()).body["code"] == -4061
    desk.do("position", symbol="BTCUSDT", market="usdm", hedged=False, multi_assets=True)
    assert desk.ask("GET /fapi/v1/multiAssetsMargin").body == {"multiAssetsMargin": True}
