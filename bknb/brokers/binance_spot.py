"""Binance spot: its requests, its answers, and what its errors mean."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from ..domain.broker_account import Abilities, Balance, BrokerMarket, Fee, Side, added_up
from ..domain.broker_orders_and_ids import Order, Report, ReportStatus
from ..domain.quantity_step_and_least_amount import EXACT
from .exchange_profile import Answer, GoldenRequest, Request, Trade, Verdict, decimal_text

_STATUSES: Final[Mapping[str, ReportStatus]] = {
    "NEW": "accepted",
    "PENDING_NEW": "accepted",
    "PENDING_CANCEL": "accepted",
    "PARTIALLY_FILLED": "partly_filled",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "cancelled",
    "EXPIRED_IN_MATCH": "cancelled",
    "REJECTED": "rejected",
}
_TYPES: Final = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP_LOSS", "target": "TAKE_PROFIT"}

_REFUSED: Final = frozenset(
    {
        *("-1002", "-1010", "-1013", "-1014", "-1016", "-1020", "-1022", "-1121", "-2008", "-2014", "-2015"),
        *(f"-11{number:02}" for number in range(37)),  # parameters
        "-2010",
        "-2011",
        "-2021",
        "-2022",
        "-2038",
        "-2039",
    }
)
_BANNED_UNTIL: Final = re.compile(r"until (\d{13})")
_TEXT_OF_DUPLICATE: Final = "Duplicate order sent"
_TEXT_OF_REACHED: Final = "would trigger immediately"
_LEAST_WAIT_MS: Final = 60_000  # where a ban does not say how long it is


class BinanceSpot:
    """The profile of Binance spot; see :class:`bknb.brokers.exchange_profile.Profile`."""

    exchange = "binance"
    market = "spot"
    client = "binance"
    abilities = Abilities(
        stop="market", move="replace", locks=True, knows_hours=90 * 24.0, late_seconds=5.0
    )  # fmt: skip
    options: Mapping[str, Any] = {
        "recvWindow": 5000,
        "fetchCurrencies": False,
        "fetchMargins": False,
        "fetchMarkets": {"types": ["spot"]},
    }

    def is_real(self, host: str) -> bool:
        """Whether orders that are sent to a host are worth real money."""
        own = host.endswith((".binance.com", ".binance.us", ".binance.vision"))
        return own and not host.startswith(("demo-", "testnet."))

    def demo(self, client: Any) -> None:
        """Turn a client to demo trading."""
        client.enable_demo_trading(enable=True)

    # --- errors

    def is_error(self, status: int, answer: object) -> bool:
        """Whether an answer is none to what was asked."""
        return status >= 400 or not isinstance(answer, dict | list)

    def error_of(self, status: int, headers: Mapping[str, str], body: str, answer: object) -> Answer:
        """An answer that is an error."""
        code, text = "", ""
        if isinstance(answer, dict):
            answer = _half_of(answer)
            code, text = str(answer.get("code", "")), str(answer.get("msg", ""))
        after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
        return Answer(status, code, text or body[:200], float(after) if after.isdecimal() else None)

    def verdict(self, request: Request, error: Answer) -> Verdict:
        """What an error says of its request; whatever is not known may have been carried out."""
        if error.status in (418, 429) or error.code in ("-1003", "-1015"):
            return "wait"
        if error.code == "-1021":
            return "clock"
        if error.code == "-1008":
            return "busy"
        if error.code == "-2010" and _TEXT_OF_DUPLICATE in error.text:
            return "known"
        if error.code == "-2010" and _TEXT_OF_REACHED in error.text:
            return "reached"
        if error.code == "-2013" or (error.code == "-2011" and request.call == "private_delete_order"):
            return "missing"
        if error.code == "-2026":
            return "forgotten"
        if error.code in _REFUSED and error.status < 500:
            return "refused"
        return "unknown"

    def wait_until(self, error: Answer, now: int) -> int:
        """Up to when (UTC ms) nothing may be asked after an error that says so."""
        banned = _BANNED_UNTIL.search(error.text)
        if banned is not None:
            return int(banned[1])
        return now + (_LEAST_WAIT_MS if error.retry_after is None else math.ceil(error.retry_after * 1000))

    # --- clock and key

    def time(self) -> Request:
        """Ask for the time."""
        return Request("public_get_time", {})

    def time_of(self, answer: Any) -> int:
        """The time of an answer, UTC ms."""
        return int(answer["serverTime"])

    def may_withdraw(self) -> Request:
        """Ask what the key is allowed to do."""
        return Request("sapi_get_account_apirestrictions", {})

    def may_withdraw_of(self, answer: Any) -> bool:
        """Whether the key may withdraw."""
        return bool(answer["enableWithdrawals"])

    # --- markets

    def market_rules(self, symbol: str) -> Request:
        """Ask for the rules of a market."""
        return Request("public_get_exchangeinfo", {"symbol": _id_of(symbol)})

    def market_of(self, symbol: str, answer: Any) -> BrokerMarket:
        """The rules of a market."""
        (found,) = answer["symbols"]
        rules = {rule["filterType"]: rule for rule in found["filters"]}
        lot, market_lot = rules.get("LOT_SIZE", {}), rules.get("MARKET_LOT_SIZE", {})
        value = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL") or {}
        band = rules.get("PERCENT_PRICE_BY_SIDE", {})
        stops = rules.get("MAX_NUM_ALGO_ORDERS", {}).get("maxNumAlgoOrders")
        if "STOP_LOSS" not in found["orderTypes"]:
            stops = 0
        return BrokerMarket(
            symbol=symbol,
            base=found["baseAsset"],
            quote=found["quoteAsset"],
            tick=_number(rules.get("PRICE_FILTER", {}), "tickSize", 0.0),
            step=_number(lot, "stepSize", 0.0),
            market_step=_number(market_lot, "stepSize", 0.0),
            least_quantity=max(_number(lot, "minQty", 0.0), _number(market_lot, "minQty", 0.0)),
            most_quantity=_number(lot, "maxQty", math.inf) or math.inf,
            most_market_quantity=_number(market_lot, "maxQty", math.inf) or math.inf,
            least_value=_number(value, "minNotional", 0.0),
            fee_in="base",
            lowest_trigger=_number(band, "askMultiplierDown", 0.0),
            highest_trigger=_number(band, "bidMultiplierUp", math.inf),
            most_stops=None if stops is None else int(stops),
        )

    # --- orders

    def place(self, order: Order) -> Request:
        """Place an order."""
        params = {
            "symbol": _id_of(order.symbol),
            "side": order.side.upper(),
            "type": _TYPES[order.kind],
            "quantity": decimal_text(order.quantity),
            "newClientOrderId": order.client_id,
            "newOrderRespType": "FULL",
        }
        if order.kind == "limit" and order.price is not None:
            params |= {"price": decimal_text(order.price), "timeInForce": "GTC"}
        if order.trigger is not None:
            params["stopPrice"] = decimal_text(order.trigger)
        return Request("private_post_order", params)

    def move(self, order: Order) -> Request:
        """Have a stop take the place of another: it is placed only where that one was cancelled."""
        more = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": order.replaces}
        return Request("private_post_order_cancelreplace", {**self.place(order).params, **more})

    def cancel(self, client_id: str, symbol: str) -> Request:
        """Cancel an order."""
        return Request("private_delete_order", {"symbol": _id_of(symbol), "origClientOrderId": client_id})

    def ask(self, client_id: str, symbol: str) -> Request:
        """Ask about an order."""
        return Request("private_get_order", {"symbol": _id_of(symbol), "origClientOrderId": client_id})

    def ask_by_broker_id(self, broker_id: str, symbol: str) -> Request:
        """Ask about an order by the exchange's own name for it."""
        return Request("private_get_order", {"symbol": _id_of(symbol), "orderId": broker_id})

    def report_of(self, symbol: str, answer: Any) -> Report:
        """The state of an order; what is filled of it counts more than what its status says."""
        answer = _placed_of(answer)
        ordered, filled = float(answer["origQty"]), float(answer["executedQty"])
        status = _STATUSES[answer["status"]]
        if status == "filled" and filled < ordered * (1 - EXACT):
            status = "cancelled"
        value = float(answer["cummulativeQuoteQty"])
        return Report(
            client_id=str(answer.get("origClientOrderId") or answer["clientOrderId"]),
            symbol=symbol,
            status=status,
            filled_quantity=filled,
            average_price=value / filled if filled else None,
            broker_id=str(answer["orderId"]),
            note="" if status in ("accepted", "partly_filled", "filled") else str(answer["status"]).lower(),
            trigger=float(answer.get("stopPrice") or 0.0) or None,
        )

    def trades_in_placing(self, answer: Any) -> list[Trade]:
        """The trades that the answer to placing an order tells."""
        answer = _placed_of(answer)
        side: Side = "buy" if answer.get("side") == "BUY" else "sell"
        return [
            Trade(
                broker_id=str(answer["orderId"]), side=side, quantity=float(each["qty"]), price=float(each["price"]),
                at=int(answer["transactTime"]), trade_id=str(each["tradeId"]), fees=_fees(each),
            )
            for each in answer.get("fills") or ()
        ]  # fmt: skip

    def open_orders(self, symbol: str) -> Request:
        """Ask for the orders that work, stops among them."""
        return Request("private_get_openorders", {"symbol": _id_of(symbol)})

    def reports_of(self, symbol: str, answer: Any) -> list[Report]:
        """The orders that work."""
        return [self.report_of(symbol, each) for each in answer]

    def trades(self, symbol: str, *, since: int | None, broker_id: str = "") -> Request:
        """Ask for trades, of one order or from a moment on (UTC ms), a thousand at most."""
        params = {"symbol": _id_of(symbol), "limit": "1000"}
        if broker_id:
            params["orderId"] = broker_id
        elif since is not None:
            params["startTime"] = str(since)
        return Request("private_get_mytrades", params)

    def trades_of(self, answer: Any) -> list[Trade]:
        """The trades of an answer."""
        return [
            Trade(
                broker_id=str(each["orderId"]), side="buy" if each["isBuyer"] else "sell", quantity=float(each["qty"]),
                price=float(each["price"]), at=int(each["time"]), trade_id=str(each["id"]), fees=_fees(each),
            )
            for each in answer
        ]  # fmt: skip

    # --- the account

    def balance(self) -> Request:
        """Ask what the account has."""
        return Request("private_get_account", {"omitZeroBalances": "true"})

    def balance_of(self, answer: Any) -> dict[str, Balance]:
        """What the account has."""
        found = {
            each["asset"]: Balance(free=float(each["free"]), locked=float(each["locked"]))
            for each in answer["balances"]
        }
        return {code: balance for code, balance in found.items() if balance.total}

    @property
    def golden(self) -> tuple[GoldenRequest, ...]:
        """Requests as they have to leave."""
        return _GOLDEN


def _id_of(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "").upper()


def _placed_of(answer: Any) -> Any:
    """The order in an answer; in that to a replacement, the new one."""
    return answer.get("newOrderResponse") or answer if isinstance(answer, dict) else answer


def _half_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the answer to a replacement that was not carried out, the part that says why; others as they are."""
    told = answer.get("data")
    if not (isinstance(told, dict) and "cancelResult" in told):
        return answer
    part = told.get("newOrderResponse") if told["cancelResult"] == "SUCCESS" else told.get("cancelResponse")
    return part if isinstance(part, dict) else answer


def _number(rule: Mapping[str, Any], name: str, missing: float) -> float:
    return float(rule.get(name, missing))


def _fees(trade: Mapping[str, Any]) -> tuple[Fee, ...]:
    return added_up((Fee(currency=str(trade["commissionAsset"]), amount=float(trade["commission"])),))


_ID: Final = "bksmacroqb3bfoc37f4rwlk4fv5dmg"
_PLACED: Final = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.00199", "newClientOrderId": _ID}
_FULL: Final = {"newOrderRespType": "FULL"}
_ASKED: Final = {"symbol": "BTCUSDT", "origClientOrderId": _ID}
_STOP: Final = {**_PLACED, **_FULL, "type": "STOP_LOSS", "stopPrice": "58000.01"}
_REPLACED: Final = {
    **_STOP,
    "cancelReplaceMode": "STOP_ON_FAILURE",
    "cancelOrigClientOrderId": "bksmacroqb3bfpqx3ykz7ftwzs3zq4",
}
_TARGET: Final = {**_PLACED, **_FULL, "type": "TAKE_PROFIT", "stopPrice": "71000"}
_MARKET: Final = {**_PLACED, **_FULL, "type": "MARKET"}
_LIMIT: Final = {**_PLACED, **_FULL, "type": "LIMIT", "price": "71000", "timeInForce": "GTC"}
_WINDOW: Final = {"recvWindow": "5000"}


def _golden(call: str, method: str, path: str, params: Mapping[str, str]) -> GoldenRequest:
    return GoldenRequest(Request(call, params), method, path, {**params, **_WINDOW})


_GOLDEN: Final = (
    _golden("private_post_order", "POST", "/api/v3/order", _MARKET),
    _golden("private_post_order", "POST", "/api/v3/order", _LIMIT),
    _golden("private_post_order", "POST", "/api/v3/order", _STOP),
    _golden("private_post_order", "POST", "/api/v3/order", _TARGET),
    _golden("private_post_order_cancelreplace", "POST", "/api/v3/order/cancelReplace", _REPLACED),
    _golden("private_delete_order", "DELETE", "/api/v3/order", _ASKED),
    _golden("private_get_order", "GET", "/api/v3/order", _ASKED),
    _golden("private_get_order", "GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": "28"}),
    _golden("private_get_openorders", "GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}),
    _golden("private_get_mytrades", "GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "limit": "1000", "orderId": "28"}),
    _golden("private_get_account", "GET", "/api/v3/account", {"omitZeroBalances": "true"}),
    GoldenRequest(Request("public_get_time", {}), "GET", "/api/v3/time", {}),
    GoldenRequest(
        Request("public_get_exchangeinfo", {"symbol": "BTCUSDT"}), "GET", "/api/v3/exchangeInfo", {"symbol": "BTCUSDT"}
    ),
)
