"""OKX's error codes and texts: about a request as a whole, and about one order in an answer with status 200."""

from __future__ import annotations

from typing import Any, Final

from .calls import Answer
from .orders import RefusedError

WHOLE: Final[dict[str, tuple[int, str, str]]] = {
    "no_path": (404, "404", "Not Found"),
    "unknown_error": (503, "50001", "Service temporarily unavailable. Please try again later"),
    "overloaded": (503, "50001", "Service temporarily unavailable. Please try again later"),
    "timeout": (400, "50004", "API endpoint request timeout (does not mean that the request was successful or failed)"),
    "too_many": (429, "50011", "Too Many Requests"),
    "too_many_new_orders": (429, "50011", "Too Many Requests"),
    "banned": (429, "50011", "Too Many Requests"),
    "bus": (429, "50013", "Systems are busy. Please try again later."),
    "missing": (400, "50014", "Parameter {name} cannot be empty."),
    "clock_behind": (401, "50102", "Timestamp request expired."),
    "clock_ahead": (401, "50102", "Timestamp request expired."),
    "key_format": (401, "50103", "Request header OK-ACCESS-KEY cannot be empty."),
    "passphrase": (401, "50105", "Request header OK-ACCESS-PASSPHRASE incorrect."),
    "key": (401, "50111", "Invalid OK-ACCESS-KEY."),
    "time_format": (401, "50112", "Invalid OK-ACCESS-TIMESTAMP."),
    "signature": (401, "50113", "Invalid Sign"),
    "permission": (401, "50120", "This API key doesn't have permission to use this function"),
    "unread": (400, "51000", "Parameter {name} error"),
    "parameter": (400, "51000", "Parameter {name} error"),
    "symbol": (200, "51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist."),
    "interval": (400, "51000", "Parameter bar error"),
    "no_order": (200, "51603", "Order does not exist"),
    "leverage": (200, "51008", "Order failed. Insufficient {currency} margin in account"),
    "margin": (200, "51008", "Order failed. Insufficient {currency} margin in account"),
    "leverage_range": (200, "59102", "Leverage exceeds the maximum limit. Please lower the leverage."),
    "mode_with_position": (
        200,
        "59000",
        "Setting failed. Cancel any open orders, close positions, and stop trading bots first.",
    ),
}

OF_AN_ORDER: Final[dict[str, tuple[str, str]]] = {
    "parameter": ("51000", "Parameter {name} error"),
    "missing": ("50014", "Parameter {name} cannot be empty."),
    "unread": ("51000", "Parameter {name} error"),
    "not_here": ("51000", "This local exchange has no {what}"),
    "symbol": ("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist."),
    "price_band": ("51006", "Order price is not within the price limit"),
    "balance": ("51008", "Order failed. Insufficient {currency} balance in account"),
    "margin": ("51008", "Order failed. Insufficient {currency} margin in account"),
    "position_side": ("51000", "Parameter posSide error"),
    "duplicate": ("51016", "Client order ID already exists."),
    "notional": ("51020", "Your order should meet or exceed the minimum order amount."),
    "halted": ("51027", "This contract is not currently available for trading."),
    "no_price": ("51028", "This contract is being delivered."),
    "price_tick": ("51000", "Parameter px error"),
    "quantity_step": ("51121", "Order quantity must be a multiple of the lot size."),
    "market_quantity": ("51201", "The value of a market order can't exceed the maximum."),
    "too_many_orders": ("51131", "You have exceeded the maximum number of orders."),
    "too_many_stops": ("51288", "The number of your stop orders has reached the limit."),
    "reduce_only": (
        "51169",
        "Order failed because you don't have any positions in this direction for this contract to reduce or close.",
    ),
    "reduce_only_blocked": (
        "51112",
        "Close order size exceeds your available size for this position.",
    ),
    "would_trigger": ("51280", "SL trigger price must be less than the last price."),
    "would_match": ("51000", "Parameter px error"),
    "pair_prices": ("51280", "SL trigger price must be less than the last price."),
    "not_open": ("51400", "Cancellation failed as the order has been filled, canceled or does not exist."),
    "no_order": ("51400", "Cancellation failed as the order has been filled, canceled or does not exist."),
    "no_order_to_amend": ("51503", "Order modification failed as the order does not exist."),
    "overloaded": ("50001", "Service temporarily unavailable. Please try again later"),
    "timeout": ("50004", "API endpoint request timeout (does not mean that the request was successful or failed)"),
    "bus": ("50013", "Systems are busy. Please try again later."),
}
_DETAIL: Final[dict[str, Any]] = {"name": "", "what": "", "currency": "USDT"}


def whole_answer(error: RefusedError) -> Answer:
    """A refusal of a request.

    Examples
    --------
    >>> whole_answer(RefusedError("signature")).body
    {'code': '50113', 'msg': 'Invalid Sign', 'data': []}
    """
    if error.reason not in WHOLE:
        code, text = OF_AN_ORDER.get(error.reason, OF_AN_ORDER["bus"])
        told = [{"sCode": code, "sMsg": text.format_map({**_DETAIL, **error.detail}), "ordId": "", "clOrdId": ""}]
        return Answer(body={"code": "1", "msg": "", "data": told})
    status, code, text = WHOLE[error.reason]
    return Answer(body={"code": code, "msg": text.format_map({**_DETAIL, **error.detail}), "data": []}, status=status)


def order_refused(error: RefusedError) -> dict[str, str]:
    """A refusal of one order of several.

    Raises
    ------
    RefusedError
        When it is about the request as a whole.
    """
    if error.reason not in OF_AN_ORDER:
        raise error
    code, text = OF_AN_ORDER[error.reason]
    return {"sCode": code, "sMsg": text.format_map({**_DETAIL, **error.detail})}
