"""New spot orders as the parameters of Binance say them."""

from __future__ import annotations

from typing import Final

from .amounts import eight, number
from .binance_requests import need, need_not
from .calls import Params
from .ledger import Ledger, Wish
from .orders import RefusedError, Side


def wish_of(params: Params, ledger: Ledger) -> Wish:
    """A new order as its parameters say it.

    Raises
    ------
    RefusedError
        When one is missing, superfluous or no number.
    """
    need(params, "symbol", "side", "type")
    kind = params["type"]
    if params["side"] not in ("BUY", "SELL"):
        raise RefusedError("side")
    side: Side = "buy" if params["side"] == "BUY" else "sell"
    limit, conditional = "LIMIT" in kind, kind.startswith(("STOP_LOSS", "TAKE_PROFIT"))
    if kind not in ("LIMIT", "MARKET", "LIMIT_MAKER") and not conditional:
        raise RefusedError("type")
    need(params, *(["price"] if limit else []), *(["stopPrice"] if conditional else []))
    need_not(params, *([] if limit else ["price", "timeInForce"]), *([] if conditional else ["stopPrice"]))
    if limit and kind != "LIMIT_MAKER":
        need(params, "timeInForce")
    quantity = number(params, "quantity")
    cost = number(params, "quoteOrderQty")
    if kind == "MARKET" and cost is not None:
        market, last = ledger.book.market(params["symbol"]), ledger.book.last(params["symbol"])
        if not last:
            raise RefusedError("no_price")
        quantity = market.down_to_step(cost / last)
    if quantity is None:
        raise RefusedError("missing", name="quantity")
    stop = kind.startswith("STOP_LOSS")
    return Wish(
        symbol=params["symbol"],
        side=side,
        kind="limit" if limit else "market",
        quantity=quantity,
        client_id=params.get("newClientOrderId", ""),
        price=number(params, "price"),
        trigger=number(params, "stopPrice"),
        falls=(side == "sell") == stop if conditional else None,
        word=kind,
        time_in_force=params.get("timeInForce", "GTC"),
        maker_only=kind == "LIMIT_MAKER",
        extra=(("cost", eight(cost)),) if cost is not None else (),
    )


_OF_A_LEG: Final = (
    ("newClientOrderId", "ClientOrderId"),
    ("price", "Price"),
    ("stopPrice", "StopPrice"),
    ("timeInForce", "TimeInForce"),
)


def leg_of(params: Params, leg: str) -> dict[str, str]:
    """The parameters of one order of a pair, as of an order alone.

    Examples
    --------
    >>> pair = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "1", "belowType": "STOP_LOSS", "belowStopPrice": "9"}
    >>> leg_of(pair, "below")["stopPrice"]
    '9'
    """
    order = {name: params[name] for name in ("symbol", "side", "quantity")}
    given = {name: params[f"{leg}{of}"] for name, of in _OF_A_LEG if f"{leg}{of}" in params}
    return {**order, **given, "type": params[f"{leg}Type"]}
