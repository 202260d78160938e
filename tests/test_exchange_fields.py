"""The answers of the local exchanges have the fields that the real ones had, in answers that ccxt recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from exchange_requests import Desk

SPOT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "40000"}
STOP = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.1", "triggerPrice": "45000"}
OKX = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.1", "px": "40000"}
OKX_STOP = {"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "conditional", "sz": "0.1"}
SPOT_ID, USDM_ID = {**SPOT, "newClientOrderId": "a"}, {**SPOT, "newClientOrderId": "a", "newOrderRespType": "RESULT"}

SPOT_ORDER = (
    "symbol orderId orderListId clientOrderId price origQty executedQty cummulativeQuoteQty status timeInForce type "
    "side origQuoteOrderQty workingTime selfTradePreventionMode"
)
USDM_ORDER = (
    "orderId symbol status clientOrderId price avgPrice origQty executedQty cumQuote timeInForce type reduceOnly "
    "closePosition side positionSide stopPrice workingType priceProtect origType priceMatch selfTradePreventionMode "
    "goodTillDate updateTime"
)
ALGO = (
    "algoId clientAlgoId algoType orderType symbol side positionSide timeInForce quantity algoStatus triggerPrice "
    "price icebergQuantity selfTradePreventionMode workingType priceMatch closePosition priceProtect reduceOnly "
    "createTime updateTime triggerTime goodTillDate"
)

RECORDED: list[tuple[str, Callable[[Desk], Any], str]] = [
    ("a new spot order", lambda desk: desk.ask("POST /api/v3/order", **SPOT).body, f"{SPOT_ORDER} transactTime fills"),
    (
        "a spot order",
        lambda desk: (
            desk.ask("POST /api/v3/order", **SPOT_ID),
            desk.ask("GET /api/v3/order", symbol="BTCUSDT", origClientOrderId="a").body,
        )[1],
        f"{SPOT_ORDER} stopPrice icebergQty time updateTime isWorking",
    ),
    ("a new order in a swap", lambda desk: desk.ask("POST /fapi/v1/order", **USDM_ID).body, f"{USDM_ORDER} cumQty"),
    (
        "an order in a swap",
        lambda desk: (
            desk.ask("POST /fapi/v1/order", **USDM_ID),
            desk.ask("GET /fapi/v1/order", symbol="BTCUSDT", origClientOrderId="a").body,
        )[1],
        f"{USDM_ORDER} time",
    ),
    (
        "a conditional order in a swap",
        lambda desk: desk.ask("POST /fapi/v1/algoOrder", algoType="CONDITIONAL", **STOP).body,
        ALGO,
    ),
    (
        "a new order at OKX",
        lambda desk: desk.okx("POST trade/batch-orders", [OKX]).body["data"][0],
        "clOrdId ordId sCode sMsg tag ts",
    ),
    (
        "a new conditional order at OKX",
        lambda desk: desk.okx("POST trade/order-algo", {**OKX_STOP, "slTriggerPx": "45000", "slOrdPx": "-1"}).body[
            "data"
        ][0],
        "algoClOrdId algoId clOrdId sCode sMsg tag",
    ),
]
MORE = {"a conditional order in a swap"}
"""Recorded before later fields came."""


@pytest.mark.parametrize(("what", "ask", "fields"), RECORDED, ids=[row[0] for row in RECORDED])
def test_an_answer_has_the_fields_of_a_recorded_one(what: str, ask: Callable[[Desk], Any], fields: str) -> None:
    desk = Desk()
    desk.do("price", symbol="BTCUSDT", price="50000")
    expected, told = set(fields.split()), set(ask(desk))
    assert expected <= told, expected - told
    if what not in MORE:
        assert told == expected, told - expected
