"""What OKX writes about instruments, orders, fills, balances and positions: every number is text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from .amounts import plain
from .book import Book
from .markets import Market
from .orders import ZERO, Fill, Order

_STATES: Final = {"filled": "filled", "cancelled": "canceled", "expired": "canceled", "rejected": "canceled"}
_ALGO_STATES: Final = {
    "waiting": "live",
    "triggered": "effective",
    "rejected": "order_failed",
    "cancelled": "canceled",
    "expired": "canceled",
}


_CATEGORIES: Final = {
    "autoclose-": "full_liquidation",
    "adl_autoclose": "adl",
    "settlement_autoclose-": "delivery",
}


def _own_id(order: Order) -> str:
    """The id that a client has given an order; those that have none, and those of the exchange, have none here."""
    return "" if order.client_id.startswith(("auto", *_CATEGORIES)) else order.client_id


def _category(order: Order) -> str:
    return next((name for begins, name in _CATEGORIES.items() if order.client_id.startswith(begins)), "normal")


def kind_of(market: Market) -> str:
    """``"SWAP"`` or ``"SPOT"``."""
    return "SWAP" if market.swap else "SPOT"


def text_of(value: Decimal | None) -> str:
    """A number, or nothing where there is none.

    Examples
    --------
    >>> text_of(Decimal("1.50")), text_of(None)
    ('1.5', '')
    """
    return "" if value is None else plain(value)


def instrument(market: Market) -> dict[str, str]:
    """A market as ``public/instruments`` lists it."""
    swap = market.swap
    return {
        "instType": kind_of(market),
        "instId": market.id,
        "uly": f"{market.base}-{market.quote}" if swap else "",
        "instFamily": f"{market.base}-{market.quote}" if swap else "",
        "baseCcy": "" if swap else market.base,
        "quoteCcy": "" if swap else market.quote,
        "settleCcy": market.quote if swap else "",
        "ctVal": market.contract if swap else "",
        "ctMult": "1" if swap else "",
        "ctValCcy": market.base if swap else "",
        "ctType": "linear" if swap else "",
        "optType": "",
        "stk": "",
        "listTime": str(market.listed_at),
        "expTime": "",
        "lever": "100" if swap else "",
        "tickSz": plain(Decimal(market.tick)),
        "lotSz": plain(Decimal(market.step)),
        "minSz": plain(Decimal(market.least)),
        "maxLmtSz": market.most,
        "maxMktSz": market.market_most,
        "maxTriggerSz": market.most,
        "maxStopSz": market.most,
        "state": "suspend" if market.halted else "live",
        "ruleType": "normal",
    }


def state_of(order: Order) -> str:
    """The word for the state of a plain order."""
    if order.is_open:
        return "partially_filled" if order.filled else "live"
    return _STATES[order.status]


def order_row(order: Order, market: Market, fills: list[Fill], parent: Order | None) -> dict[str, Any]:
    """A plain order as ``trade/order`` and the lists tell it."""
    last = fills[-1] if fills else None
    return {
        "instType": kind_of(market),
        "instId": market.id,
        "ordId": str(order.number),
        "clOrdId": _own_id(order),
        "tag": "",
        "px": text_of(order.price),
        "sz": plain(order.quantity),
        "ordType": order.word,
        "side": order.side,
        "posSide": "net",
        "tdMode": order.extra.get("tdMode", "cash"),
        "tgtCcy": "base_ccy" if not market.swap else "",
        "accFillSz": plain(order.filled),
        "avgPx": text_of(order.average if order.filled else None),
        "fillPx": text_of(last.price if last else None),
        "fillSz": text_of(last.quantity if last else None),
        "fillTime": str(last.at) if last else "",
        "tradeId": str(last.number) if last else "",
        "state": state_of(order),
        "lever": "",
        "fee": plain(-sum((fill.fee for fill in fills), ZERO)),
        "feeCcy": last.fee_currency if last else "",
        "pnl": plain(sum((fill.profit for fill in fills), ZERO)),
        "reduceOnly": str(order.reduce_only).lower(),
        "category": next(
            (name for begins, name in _CATEGORIES.items() if order.client_id.startswith(begins)), "normal"
        ),
        "algoId": str(parent.number) if parent else "",
        "algoClOrdId": parent.client_id if parent else "",
        "attachAlgoOrds": [],
        "cancelSource": "",
        "source": "7" if parent else "",
        "cTime": str(order.created),
        "uTime": str(order.updated),
    }


def algo_row(order: Order, market: Market, legs: list[Order], child: Order | None) -> dict[str, Any]:
    """A conditional order, or a pair of them under one id, as ``trade/order-algo`` tells it."""
    told: dict[str, Any] = {
        "instType": kind_of(market),
        "instId": market.id,
        "algoId": str(order.number),
        "algoClOrdId": "" if order.client_id.startswith("auto") else order.client_id,
        "clOrdId": "",
        "ordId": str(child.number) if child else "",
        "ordIdList": [str(child.number)] if child else [],
        "ordType": order.extra["ordType"],
        "side": order.side,
        "posSide": "net",
        "tdMode": order.extra.get("tdMode", "cash"),
        "sz": plain(order.quantity),
        "state": _algo_state(legs),
        "actualSz": plain(child.quantity) if child else "0",
        "actualPx": text_of(child.average if child and child.filled else None),
        "actualSide": "",
        "reduceOnly": str(order.reduce_only).lower(),
        "triggerTime": str(child.created) if child else "",
        "failCode": "51008" if _algo_state(legs) == "order_failed" else "",
        "cTime": str(order.created),
        "uTime": str(max(leg.updated for leg in legs)),
        **dict.fromkeys(("slTriggerPx", "slOrdPx", "tpTriggerPx", "tpOrdPx", "triggerPx", "ordPx"), ""),
    }
    for leg in legs:
        what = leg.extra["leg"]
        price = "-1" if leg.price is None else plain(leg.price)
        names = ("triggerPx", "ordPx") if what == "trigger" else (f"{what}TriggerPx", f"{what}OrdPx")
        told |= {names[0]: text_of(leg.trigger), names[1]: price}
        if leg.status in ("triggered", "rejected"):
            told["actualSide"] = what if what != "trigger" else ""
    return told


def _algo_state(legs: list[Order]) -> str:
    states = [_ALGO_STATES[leg.status] for leg in legs]
    return next((state for state in ("order_failed", "effective", "live") if state in states), "canceled")


def fill_row(fill: Fill, order: Order, market: Market) -> dict[str, str]:
    """A fill as ``trade/fills`` tells it."""
    return {
        "instType": kind_of(market),
        "instId": market.id,
        "tradeId": str(fill.number),
        "ordId": str(fill.order),
        "clOrdId": _own_id(order),
        "billId": str(fill.number),
        "tag": "",
        "fillPx": plain(fill.price),
        "fillSz": plain(fill.quantity),
        "fillPnl": plain(fill.profit),
        "side": fill.side,
        "posSide": "net",
        "execType": "M" if fill.maker else "T",
        "feeCcy": fill.fee_currency,
        "fee": plain(-fill.fee),
        "ts": str(fill.at),
        "fillTime": str(fill.at),
    }


def balance_row(book: Book) -> dict[str, Any]:
    """The account as ``account/balance`` tells it."""
    details = []
    for name in book.funds.currencies():
        profit = sum(
            (
                held.profit(book.last(symbol))
                for symbol, held in book.positions.items()
                if held.quantity and book.markets[symbol].quote == name
            ),
            ZERO,
        )
        used = book.margin_in_use(name) + book.funds.locked[name]
        total = book.funds.total(name)
        details.append(
            {
                "ccy": name,
                "cashBal": plain(total),
                "eq": plain(total + profit),
                "availBal": plain(total - used),
                "availEq": plain(total - used),
                "frozenBal": plain(used),
                "ordFrozen": plain(book.funds.locked[name]),
                "upl": plain(profit),
                "uTime": str(book.now()),
            }
        )
    return {"uTime": str(book.now()), "totalEq": "", "details": details}


def position_row(book: Book, symbol: str) -> dict[str, str]:
    """A position as ``account/positions`` tells it, counted in contracts."""
    held, market, last = book.position(symbol), book.market(symbol), book.last(symbol)
    maintenance = Decimal(market.maintenance)
    isolated = held.margin_type == "isolated"
    worth = abs(held.quantity) * last
    return {
        "instType": "SWAP",
        "instId": symbol,
        "mgnMode": held.margin_type,
        "posId": symbol,
        "posSide": "net",
        "pos": plain(held.quantity / Decimal(market.contract)),
        "ccy": market.quote,
        "avgPx": text_of(held.entry),
        "upl": plain(held.profit(last)),
        "uplRatio": plain((held.profit(last) / held.margin).quantize(Decimal("0.000001")) if held.margin else ZERO),
        "lever": str(held.leverage),
        "liqPx": text_of(held.liquidation(maintenance) if held.quantity else None),
        "markPx": plain(last),
        "margin": plain(held.margin) if isolated else "",
        "imr": "" if isolated else plain(held.margin),
        "mmr": plain(worth * maintenance / 100),
        "mgnRatio": "",
        "notionalUsd": plain(worth),
        "adl": "1",
        "last": plain(last),
        "cTime": str(held.updated),
        "uTime": str(held.updated),
    }
