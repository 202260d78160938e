"""Orders as the parameters of OKX say them."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from .calls import Params, words
from .ledger import Ledger, Wish
from .orders import Kind, RefusedError, Side

_ORDER: Final = words("instId tdMode ccy clOrdId tag side posSide ordType sz px reduceOnly tgtCcy banAmend stpMode")
_ALGO: Final = words(
    "instId tdMode ccy side posSide ordType sz tag tgtCcy algoClOrdId clOrdId closeFraction reduceOnly cxlOnClosePos "
    "tpTriggerPx tpTriggerPxType tpOrdPx tpOrdKind slTriggerPx slTriggerPxType slOrdPx triggerPx orderPx triggerPxType"
)
_PLAIN_TYPES: Final = ("market", "limit", "post_only", "fok", "ioc", "optimal_limit_ioc")
_ID: Final = r"[A-Za-z0-9]{1,32}"


def checked(params: Params, allowed: frozenset[str], *required: str) -> None:
    """Refuse unknown parameters, missing ones, and ids with letters they must not have."""
    for name in params:
        if name not in allowed:
            raise RefusedError("unread", name=name)
    for name in required:
        if not params.get(name):
            raise RefusedError("missing", name=name)
    for name in ("clOrdId", "algoClOrdId"):
        if params.get(name) and not re.fullmatch(_ID, str(params[name])):
            raise RefusedError("parameter", name=name)


def amount(params: Params, name: str) -> Decimal | None:
    """A number, given as text; ``None`` where it is not there, or ``-1``: at the market."""
    if params.get(name) in (None, "", "-1", -1):
        return None
    try:
        value = Decimal(str(params[name]))
    except InvalidOperation:
        raise RefusedError("parameter", name=name) from None
    if not value.is_finite() or value <= 0:
        raise RefusedError("parameter", name=name)
    return value


def plain_wish(params: Params, ledger: Ledger) -> Wish:
    """An order of ``trade/order``.

    Raises
    ------
    RefusedError
        When a parameter is missing, superfluous or wrong.
    """
    checked(params, _ORDER, "instId", "tdMode", "side", "ordType", "sz")
    kind = params["ordType"]
    if kind not in _PLAIN_TYPES:
        raise RefusedError("parameter", name="ordType")
    at_market = kind in ("market", "optimal_limit_ioc")
    if not at_market and amount(params, "px") is None:
        raise RefusedError("missing", name="px")
    quantity = amount(params, "sz") or Decimal(0)
    common = _common(params, ledger)
    market, last = ledger.book.market(params["instId"]), ledger.book.last(params["instId"])
    in_quote = params.get("tgtCcy", "quote_ccy") == "quote_ccy"
    if at_market and not market.swap and params["side"] == "buy" and in_quote and last:
        quantity = market.down_to_step(quantity / last)
    return Wish(
        **common,
        kind="market" if at_market else "limit",
        quantity=quantity,
        client_id=params.get("clOrdId", ""),
        price=None if at_market else amount(params, "px"),
        word=kind,
        time_in_force={"fok": "FOK", "ioc": "IOC"}.get(kind, "GTC"),
        maker_only=kind == "post_only",
        extra=(("tdMode", params["tdMode"]),),
    )


def algo_id_of(params: Params) -> str:
    """The client's id of a conditional order, under either of the names it may have.

    Examples
    --------
    >>> algo_id_of({"clOrdId": "a"}), algo_id_of({"clOrdId": "a", "algoClOrdId": "b"})
    ('a', 'b')
    """
    return str(params.get("algoClOrdId") or params.get("clOrdId") or "")


def _common(params: Params, ledger: Ledger) -> dict[str, Any]:
    if params["side"] not in ("buy", "sell"):
        raise RefusedError("parameter", name="side")
    if ledger.book.hedged or params.get("posSide", "net") != "net":
        raise RefusedError("position_side")
    market = ledger.book.market(params["instId"])
    modes = ("cross", "isolated") if market.swap else ("cash", "cross", "isolated")
    if params["tdMode"] not in modes:
        raise RefusedError("parameter", name="tdMode")
    side: Side = params["side"]
    reduces = str(params.get("reduceOnly", "")).lower() == "true"
    return {"symbol": params["instId"], "side": side, "reduce_only": reduces and market.swap}


def algo_wishes(params: Params, ledger: Ledger) -> list[Wish]:
    """The conditional orders of ``trade/order-algo``: one, or of an ``oco`` the target and the stop.

    Raises
    ------
    RefusedError
        When a parameter is missing, superfluous or wrong.
    """
    checked(params, _ALGO, "instId", "tdMode", "side", "ordType", "sz")
    kind = params["ordType"]
    legs = {"conditional": [leg for leg in ("tp", "sl") if f"{leg}TriggerPx" in params][-1:]}
    legs |= {"oco": ["tp", "sl"], "trigger": ["trigger"]}
    if kind not in legs or not legs[kind]:
        raise RefusedError("parameter", name="ordType")
    for name in ("slTriggerPxType", "tpTriggerPxType", "triggerPxType"):
        if params.get(name, "last") != "last":
            raise RefusedError("not_here", what="triggers by mark or index price")
    common = _common(params, ledger)
    last = ledger.book.last(params["instId"])
    found = []
    for leg in legs[kind]:
        trigger_name, price_name = ("triggerPx", "orderPx") if leg == "trigger" else (f"{leg}TriggerPx", f"{leg}OrdPx")
        for name in (trigger_name, price_name):
            if not params.get(name):
                raise RefusedError("missing", name=name)
        trigger, price = amount(params, trigger_name) or Decimal(0), amount(params, price_name)
        falls = trigger < last if leg == "trigger" else (params["side"] == "sell") == (leg == "sl")
        of: Kind = "market" if price is None else "limit"
        found.append(
            Wish(
                **common,
                kind=of,
                quantity=amount(params, "sz") or Decimal(0),
                client_id=algo_id_of(params) if leg == legs[kind][0] else "",
                price=price,
                trigger=trigger,
                falls=falls,
                word=of,
                extra=(("tdMode", params["tdMode"]), ("ordType", kind), ("leg", leg)),
            )
        )
    return found
