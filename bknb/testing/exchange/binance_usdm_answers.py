"""What Binance's USD-M futures exchange writes about markets, orders, fills and positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from .amounts import plain
from .binance_answers import status_of
from .book import Book
from .markets import Market
from .orders import ZERO, Fill, Order

PLAIN_TYPES: Final = ("LIMIT", "MARKET")
ALGO_TYPES: Final = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET")
_FAR_FUTURE: Final = 4_133_404_800_000
_ALGO_STATUS: Final = {
    "waiting": "NEW",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}


def contract_info(market: Market) -> dict[str, Any]:
    """A perpetual as ``exchangeInfo`` lists it.

    Examples
    --------
    >>> contract_info(Market(base="BTC", swap=True))["contractType"]
    'PERPETUAL'
    """
    return {
        "symbol": market.id,
        "pair": market.id,
        "contractType": "PERPETUAL",
        "deliveryDate": _FAR_FUTURE,
        "onboardDate": market.listed_at,
        "status": "SETTLING" if market.halted else "TRADING",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "marginAsset": market.quote,
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "triggerProtect": "0.0500",
        "orderTypes": [*PLAIN_TYPES, *ALGO_TYPES, "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": market.tick, "maxPrice": "4529764", "tickSize": market.tick},
            {"filterType": "LOT_SIZE", "minQty": market.least, "maxQty": market.most, "stepSize": market.step},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": market.least,
                "maxQty": market.market_most,
                "stepSize": market.step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": market.stops},
            {"filterType": "MIN_NOTIONAL", "notional": market.notional},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": market.band,
                "multiplierDown": f"{1 / float(market.band):.4f}" if float(market.band) else "0",
                "multiplierDecimal": "4",
            },
        ],
    }


def order_answer(order: Order, parent: Order | None = None, *, form: str = "") -> dict[str, Any]:
    """A plain order.

    Parameters
    ----------
    parent
        The conditional order that it came from.
    form
        Of the answer to a new one: ``"RESULT"``, or ``"ACK"``, which tells nothing of its fills; empty where it is
        asked about.
    """
    done = form != "ACK"
    told = {
        "orderId": order.number,
        "symbol": order.symbol,
        "status": status_of(order) if done else "NEW",
        "clientOrderId": order.client_id,
        "price": plain(order.price),
        "avgPrice": plain(order.average) if done else "0.00",
        "origQty": plain(order.quantity),
        "executedQty": plain(order.filled) if done else "0",
        "cumQuote": plain(order.cost) if done else "0",
        "timeInForce": order.time_in_force,
        "type": order.word,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": order.side.upper(),
        "positionSide": "BOTH",
        "stopPrice": plain(None if parent is None else parent.trigger),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.word if parent is None else parent.word,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "updateTime": order.updated,
    }
    return told | ({"cumQty": told["executedQty"]} if form else {"time": order.created})


def algo_status(order: Order, child: Order | None, now: int) -> str:
    """The word for the state of a conditional order: finished is what its child was filled or cancelled in."""
    if order.status == "triggered":
        working = child is not None and (child.is_open or now < child.hidden_until)
        return "TRIGGERED" if working else "FINISHED"
    return _ALGO_STATUS[order.status]


def algo_answer(order: Order, child: Order | None, now: int) -> dict[str, Any]:
    """A conditional order, as ``algoOrder`` tells it."""
    return {
        "algoId": order.number,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": order.word,
        "symbol": order.symbol,
        "side": order.side.upper(),
        "positionSide": "BOTH",
        "timeInForce": order.time_in_force,
        "quantity": plain(order.quantity),
        "algoStatus": algo_status(order, child, now),
        "actualOrderId": "" if child is None else str(child.number),
        "actualPrice": plain(None if child is None else child.average),
        "actualQty": plain(None if child is None else child.filled),
        "triggerPrice": plain(order.trigger),
        "price": plain(order.price),
        "icebergQuantity": None,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": "CONTRACT_PRICE",
        "priceMatch": "NONE",
        "closePosition": False,
        "priceProtect": False,
        "reduceOnly": order.reduce_only,
        "createTime": order.created,
        "updateTime": order.updated,
        "triggerTime": 0 if child is None else child.created,
        "goodTillDate": 0,
    }


def fill_answer(fill: Fill) -> dict[str, Any]:
    """A fill as ``userTrades`` tells it."""
    return {
        "buyer": fill.side == "buy",
        "commission": plain(fill.fee),
        "commissionAsset": fill.fee_currency,
        "id": fill.number,
        "maker": fill.maker,
        "orderId": fill.order,
        "price": plain(fill.price),
        "qty": plain(fill.quantity),
        "quoteQty": plain(fill.cost),
        "realizedPnl": plain(fill.profit),
        "side": fill.side.upper(),
        "positionSide": "BOTH",
        "symbol": fill.symbol,
        "time": fill.at,
    }


def position_answer(book: Book, symbol: str) -> dict[str, Any]:
    """A position as ``positionRisk`` tells it."""
    held, market, last = book.position(symbol), book.market(symbol), book.last(symbol)
    maintenance = Decimal(market.maintenance) / 100
    isolated = held.margin_type == "isolated"
    profit = held.profit(last) if held.quantity else ZERO
    own = held.margin + profit if isolated else ZERO
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(held.quantity),
        "entryPrice": plain(held.entry),
        "breakEvenPrice": plain(held.entry),
        "markPrice": plain(last),
        "unRealizedProfit": plain(profit),
        "liquidationPrice": plain(held.liquidation(maintenance * 100)) if held.quantity else "0",
        "isolatedMargin": plain(own),
        "notional": plain(held.quantity * last),
        "marginAsset": market.quote,
        "isolatedWallet": plain(held.margin if isolated else ZERO),
        "initialMargin": plain(held.margin),
        "maintMargin": plain(abs(held.quantity) * last * maintenance),
        "positionInitialMargin": plain(held.margin),
        "openOrderInitialMargin": "0",
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": held.updated,
    }


def account_answer(book: Book) -> dict[str, Any]:
    """The account as ``/fapi/v3/account`` tells it."""
    assets = []
    for name in book.funds.currencies():
        open_profit = sum(
            (held.profit(book.last(symbol)) for symbol, held in book.positions.items() if held.quantity), ZERO
        )
        profit = open_profit if name == "USDT" else ZERO
        used, wallet = book.margin_in_use(name), book.funds.free[name]
        assets.append(
            {
                "asset": name,
                "walletBalance": plain(wallet),
                "unrealizedProfit": plain(profit),
                "marginBalance": plain(wallet + profit),
                "maintMargin": "0",
                "initialMargin": plain(used),
                "positionInitialMargin": plain(used),
                "openOrderInitialMargin": "0",
                "crossWalletBalance": plain(wallet),
                "crossUnPnl": plain(profit),
                "availableBalance": plain(wallet - used),
                "maxWithdrawAmount": plain(wallet - used),
                "updateTime": max(1, book.now()),
            }
        )
    usdt = next((row for row in assets if row["asset"] == "USDT"), assets[0])
    return {
        "totalInitialMargin": usdt["initialMargin"],
        "totalMaintMargin": "0",
        "totalWalletBalance": usdt["walletBalance"],
        "totalUnrealizedProfit": usdt["unrealizedProfit"],
        "totalMarginBalance": usdt["marginBalance"],
        "availableBalance": usdt["availableBalance"],
        "maxWithdrawAmount": usdt["maxWithdrawAmount"],
        "assets": assets,
        "positions": [position_answer(book, symbol) for symbol, held in book.positions.items() if held.quantity],
    }
