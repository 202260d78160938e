"""What Binance's spot exchange writes about markets, orders and fills."""

from __future__ import annotations

from typing import Any, Final

from .amounts import eight
from .markets import Market
from .orders import Fill, Order

ORDER_TYPES: Final = (
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
_STATUS: Final = {
    "waiting": "NEW",
    "working": "NEW",
    "triggered": "NEW",
    "filled": "FILLED",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}


def status_of(order: Order) -> str:
    """The word for the state of an order."""
    return "PARTIALLY_FILLED" if order.is_open and order.filled else _STATUS[order.status]


def symbol_info(market: Market) -> dict[str, Any]:
    """A market as ``exchangeInfo`` lists it.

    Examples
    --------
    >>> symbol_info(Market(base="BTC"))["symbol"]
    'BTCUSDT'
    """
    band = {"Up": market.band, "Down": f"{1 / float(market.band):.4f}"} if float(market.band) else {}
    return {
        "symbol": market.id,
        "status": "HALT" if market.halted else "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": market.tick, "maxPrice": "1000000.0", "tickSize": market.tick},
            {"filterType": "LOT_SIZE", "minQty": market.least, "maxQty": market.most, "stepSize": market.step},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": market.market_most,
                "stepSize": "0.00000000",
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": market.notional,
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            *(
                [
                    {
                        "filterType": "PERCENT_PRICE_BY_SIDE",
                        **{f"{side}Multiplier{way}": value for side in ("bid", "ask") for way, value in band.items()},
                        "avgPriceMins": 5,
                    }
                ]
                if band
                else []
            ),
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": market.stops},
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def order_answer(order: Order) -> dict[str, Any]:
    """An order as ``GET /api/v3/order`` and the lists tell it."""
    told = _amounts(order) | {"clientOrderId": order.client_id, "orderId": order.number}
    return told | {
        "stopPrice": eight(order.trigger),
        "icebergQty": "0.00000000",
        "time": order.created,
        "updateTime": order.updated,
        "isWorking": order.status != "waiting",
        "workingTime": order.created if order.status != "waiting" else -1,
        "origQuoteOrderQty": order.extra.get("cost", "0.00000000"),
    }


def placed_answer(order: Order, fills: list[Fill], form: str) -> dict[str, Any]:
    """The answer to a new order; ``form`` is ``"ACK"``, ``"RESULT"`` or ``"FULL"``."""
    ack = {
        "symbol": order.symbol,
        "orderId": order.number,
        "orderListId": order.pair if order.pair is not None else -1,
        "clientOrderId": order.client_id,
        "transactTime": order.updated,
    }
    if form == "ACK":
        return ack
    result = ack | _amounts(order) | {"origQuoteOrderQty": order.extra.get("cost", "0.00000000")}
    if form == "RESULT":
        return result
    return result | {
        "fills": [
            {
                "price": eight(fill.price),
                "qty": eight(fill.quantity),
                "commission": eight(fill.fee),
                "commissionAsset": fill.fee_currency,
                "tradeId": fill.number,
            }
            for fill in fills
        ]
    }


def cancelled_answer(order: Order, new_id: str) -> dict[str, Any]:
    """The answer to a cancel: its ``clientOrderId`` is that of the cancel, not that of the order."""
    told = _amounts(order) | {"origClientOrderId": order.client_id, "orderId": order.number}
    return told | {"clientOrderId": new_id, "transactTime": order.updated}


def fill_answer(fill: Fill, order: Order) -> dict[str, Any]:
    """A fill as ``GET /api/v3/myTrades`` tells it."""
    return {
        "symbol": fill.symbol,
        "id": fill.number,
        "orderId": fill.order,
        "orderListId": order.pair if order.pair is not None else -1,
        "price": eight(fill.price),
        "qty": eight(fill.quantity),
        "quoteQty": eight(fill.cost),
        "commission": eight(fill.fee),
        "commissionAsset": fill.fee_currency,
        "time": fill.at,
        "isBuyer": fill.side == "buy",
        "isMaker": fill.maker,
        "isBestMatch": True,
    }


def _amounts(order: Order) -> dict[str, Any]:
    told = {
        "symbol": order.symbol,
        "orderListId": order.pair if order.pair is not None else -1,
        "price": eight(order.price),
        "origQty": eight(order.quantity),
        "executedQty": eight(order.filled),
        "cummulativeQuoteQty": eight(order.cost),
        "status": status_of(order),
        "timeInForce": order.time_in_force,
        "type": order.word,
        "side": order.side.upper(),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }
    if order.trigger is not None:
        told["stopPrice"] = eight(order.trigger)
    if order.status != "waiting":
        told["workingTime"] = order.created
    return told
