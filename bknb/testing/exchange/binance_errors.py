"""Binance's error codes and texts."""

from __future__ import annotations

from typing import Any, Final

from .calls import Answer
from .orders import RefusedError

_BUSY: Final = "Server is currently overloaded with other requests. Please try again in a few minutes."
_TIMEOUT: Final = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_BUS: Final = "An unexpected response was received from the message bus. Execution status unknown."
_UNKNOWN: Final = "Unknown error, please check your request or try again later."
_WEIGHT: Final = (
    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BANNED: Final = (
    "Way too much request weight used; IP banned until {until}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)
_FILTER: Final = "Filter failure: "

COMMON: Final[dict[str, tuple[int, int, str]]] = {
    "no_path": (404, -1, "Not found."),
    "gone": (410, -1, "This endpoint is gone: subscribe to the user stream over the websocket API."),
    "not_here": (400, -1, "This local exchange has no {what}."),
    "unknown_error": (503, -1000, _UNKNOWN),
    "unavailable": (503, -1001, "Service Unavailable."),
    "banned": (418, -1003, _BANNED),
    "too_many": (429, -1003, _WEIGHT),
    "bus": (504, -1006, _BUS),
    "timeout": (408, -1007, _TIMEOUT),
    "overloaded": (503, -1008, _BUSY),
    "quantity_step": (400, -1013, f"{_FILTER}LOT_SIZE"),
    "market_quantity": (400, -1013, f"{_FILTER}MARKET_LOT_SIZE"),
    "price_tick": (400, -1013, f"{_FILTER}PRICE_FILTER"),
    "price_band": (400, -1013, f"{_FILTER}PERCENT_PRICE_BY_SIDE"),
    "notional": (400, -1013, f"{_FILTER}NOTIONAL"),
    "too_many_stops": (400, -1013, f"{_FILTER}MAX_NUM_ALGO_ORDERS"),
    "too_many_orders": (400, -1013, f"{_FILTER}MAX_NUM_ORDERS"),
    "halted": (400, -1013, "Market is closed."),
    "no_price": (400, -1013, "Market is closed."),
    "too_many_new_orders": (429, -1015, "Too many new orders; current limit is {limit} orders per {interval}."),
    "clock_behind": (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    "clock_ahead": (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time."),
    "signature": (400, -1022, "Signature for this request is not valid."),
    "characters": (400, -1100, "Illegal characters found in parameter '{name}'; legal range is '{range}'."),
    "missing": (400, -1102, "Mandatory parameter '{name}' was not sent, was empty/null, or malformed."),
    "unread": (
        400,
        -1104,
        "Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.",
    ),
    "not_required": (400, -1106, "Parameter '{name}' sent when not required."),
    "precision": (400, -1111, "Parameter '{name}' has too much precision."),
    "type": (400, -1116, "Invalid orderType."),
    "side": (400, -1117, "Invalid side."),
    "symbol": (400, -1121, "Invalid symbol."),
    "interval": (400, -1120, "Invalid interval."),
    "recv_window": (400, -1131, "recvWindow must be less than 60000"),
    "key_format": (401, -2014, "API-key format invalid."),
    "key": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "no_order": (400, -2013, "Order does not exist."),
    "not_open": (400, -2011, "Unknown order sent."),
    "not_new": (400, -2011, "Order was not canceled due to cancel restrictions."),
}

SPOT: Final[dict[str, tuple[int, int, str]]] = {
    **COMMON,
    "balance": (400, -2010, "Account has insufficient balance for requested action."),
    "duplicate": (400, -2010, "Duplicate order sent."),
    "would_trigger": (400, -2010, "Stop price would trigger immediately."),
    "would_match": (400, -2010, "Order would immediately match and take."),
    "pair_prices": (400, -2010, "The relationship of the prices for the orders is not correct."),
    "not_permitted": (400, -2010, "This action is disabled on this account."),
}

USDM: Final[dict[str, tuple[int, int, str]]] = {
    **COMMON,
    "overloaded": (
        503,
        -1008,
        "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again.",
    ),
    "quantity_step": (400, -1111, "Precision is over the maximum defined for this asset."),
    "price_tick": (400, -4014, "Price not increased by tick size."),
    "market_quantity": (400, -4005, "Quantity greater than max quantity."),
    "price_band": (400, -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    "too_many_stops": (400, -4045, "Reach max stop order limit."),
    "too_many_orders": (400, -2025, "Reach max open order limit."),
    "halted": (400, -4108, "This contract is pending trading or in settlement. Please try again later."),
    "balance": (400, -2018, "Balance is insufficient."),
    "margin": (400, -2019, "Margin is insufficient."),
    "would_trigger": (400, -2021, "Order would immediately trigger."),
    "reduce_only": (400, -2022, "ReduceOnly Order is rejected."),
    "reduce_only_blocked": (
        400,
        -4118,
        "ReduceOnly Order Failed. Please check your existing position and open orders.",
    ),
    "leverage": (400, -4028, "Leverage {leverage} is not valid"),
    "no_need_margin": (400, -4046, "No need to change margin type."),
    "margin_with_position": (400, -4048, "Margin type cannot be changed if there exists position."),
    "margin_with_orders": (400, -4047, "Margin type cannot be changed if there exists open orders."),
    "no_need_side": (400, -4059, "No need to change position side."),
    "position_side": (400, -4061, "Order's position side does not match user's setting."),
    "side_with_orders": (400, -4067, "Position side cannot be changed if there exists open orders."),
    "side_with_position": (400, -4068, "Position side cannot be changed if there exists position."),
    "duplicate": (400, -4116, "ClientOrderId is duplicated."),
    "algo_elsewhere": (
        400,
        -4120,
        "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    ),
    "no_listen_key": (400, -1125, "This listenKey does not exist."),
    "close_position_twice": (
        400,
        -4130,
        "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    ),
    "notional": (400, -4164, "Order's notional must be no smaller than {least} (unless you choose reduce only)."),
    "would_match": (
        400,
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    ),
}


def answer_of(error: RefusedError, table: dict[str, tuple[int, int, str]]) -> Answer:
    """A refusal as Binance says it.

    Examples
    --------
    >>> answer_of(RefusedError("balance"), SPOT).body
    {'code': -2010, 'msg': 'Account has insufficient balance for requested action.'}
    """
    status, code, text = table.get(error.reason, table["unknown_error"])
    detail: dict[str, Any] = {"least": "5", "seconds": 1, "until": 0, "limit": 6000, "interval": "10 SECOND"}
    body = {"code": code, "msg": text.format_map({**detail, **error.detail}) if "{" in text else text}
    headers = {}
    if status in (418, 429) and error.detail.get("header", True):
        headers["Retry-After"] = str(error.detail.get("seconds", 1))
    return Answer(body=body, status=status, headers=headers)
