"""Binance's spot exchange: its endpoints over a ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from .binance_answers import cancelled_answer, fill_answer, order_answer, placed_answer, symbol_info
from .binance_errors import SPOT, answer_of
from .binance_requests import check_names, check_signature, eight, need, whole, without_signature
from .binance_wishes import leg_of, wish_of
from .calls import Answer, Call, Params, Route, words
from .clock import ExchangeClock
from .keys import Keys
from .ledger import Ledger
from .limits import Limits
from .orders import Order, RefusedError
from .tape import Tape

_ORDER: Final = words(
    "symbol side type timeInForce quantity quoteOrderQty price newClientOrderId strategyId strategyType stopPrice "
    "trailingDelta icebergQty newOrderRespType selfTradePreventionMode"
)
_REPLACE: Final = _ORDER | words(
    "cancelReplaceMode cancelNewClientOrderId cancelOrigClientOrderId cancelOrderId cancelRestrictions "
    "orderRateLimitExceededMode"
)
_LEG: Final = ("Type", "ClientOrderId", "Price", "StopPrice", "TrailingDelta", "TimeInForce", "IcebergQty")
_PAIR: Final = words("symbol listClientOrderId side quantity newOrderRespType selfTradePreventionMode") | {
    f"{leg}{name}" for leg in ("above", "below") for name in _LEG
}
_LONG_FORM: Final = ("MARKET", "LIMIT")


class BinanceSpot:
    """The face of ``/api/v3``, and of the one endpoint of ``/sapi/v1`` that tells what a key may do."""

    name = "binance"
    prefixes = ("/api/v3", "/sapi/v1")

    def __init__(self, ledger: Ledger, *, keys: Keys, clock: ExchangeClock, tape: Tape) -> None:
        self.ledger = ledger
        self.keys = keys
        self.clock = clock
        self.tape = tape
        self.limits = Limits()
        ask = words("symbol orderId origClientOrderId")
        page = words("symbol orderId startTime endTime limit")
        self._routes = {
            "GET /api/v3/ping": Route(operation="time", run=lambda _: {}, signed=False),
            "GET /api/v3/time": Route(operation="time", run=self._time, signed=False),
            "GET /api/v3/exchangeInfo": Route(operation="rules", run=self._rules, signed=False, weight=20),
            "GET /api/v3/ticker/price": Route(operation="price", run=self._price, signed=False, weight=2),
            "GET /api/v3/klines": Route(operation="candles", run=self._candles, signed=False, weight=2),
            "GET /api/v3/order": Route(operation="report", run=self._report, allowed=ask, weight=4),
            "POST /api/v3/order": Route(operation="place", run=self._place, allowed=_ORDER, orders=True),
            "POST /api/v3/order/test": Route(operation="check", run=self._check, allowed=_ORDER),
            "DELETE /api/v3/order": Route(
                operation="cancel", run=self._cancel, allowed=ask | words("newClientOrderId cancelRestrictions")
            ),
            "POST /api/v3/order/cancelReplace": Route(
                operation="replace", run=self._replace, allowed=_REPLACE, orders=True
            ),
            "POST /api/v3/orderList/oco": Route(operation="pair", run=self._pair, allowed=_PAIR, orders=True),
            "GET /api/v3/orderList": Route(
                operation="report_pair",
                run=self._report_pair,
                allowed=words("orderListId origClientOrderId"),
                weight=4,
            ),
            "DELETE /api/v3/orderList": Route(
                operation="cancel_pair",
                run=self._cancel_pair,
                allowed=words("symbol orderListId listClientOrderId newClientOrderId"),
            ),
            "GET /api/v3/openOrders": Route(operation="open_orders", run=self._open, allowed=words("symbol"), weight=6),
            "DELETE /api/v3/openOrders": Route(
                operation="cancel_all", run=self._cancel_all, allowed=words("symbol"), required=("symbol",)
            ),
            "GET /api/v3/allOrders": Route(
                operation="orders", run=self._orders, allowed=page, required=("symbol",), weight=20
            ),
            "GET /api/v3/myTrades": Route(
                operation="fills", run=self._fills, allowed=page | {"fromId"}, required=("symbol",), weight=20
            ),
            "GET /api/v3/account": Route(
                operation="balance", run=self._balance, allowed=words("omitZeroBalances"), weight=20
            ),
            "GET /api/v3/account/commission": Route(
                operation="commission", run=self._commission, allowed=words("symbol"), weight=20
            ),
            "GET /sapi/v1/account/apiRestrictions": Route(operation="permissions", run=self._permissions),
        }

    # --- the face -----------------------------------------------------------------------------------------------

    def route(self, call: Call) -> Route | None:
        """The endpoint of a request."""
        return self._routes.get(f"{call.method} {call.path}")

    def params(self, call: Call) -> dict[str, Any]:
        """The parameters of a request, without those that sign it."""
        return without_signature(call)

    def admit(self, call: Call, route: Route, params: Params) -> None:
        """Refuse a request that is not signed, that the key may not make, or that has other parameters."""
        if route.signed:
            check_signature(call, self.keys, self.clock)
            if route.orders and not self.keys.may_trade:
                raise RefusedError("key")
        check_names(route, params)

    def operation(self, route: Route, params: Params) -> str:
        """``stop`` for a new conditional order."""
        return "stop" if route.operation == "place" and "stopPrice" in params else route.operation

    def subject(self, params: Params) -> tuple[str, str]:
        """The symbol and the client id that a request names."""
        names = ("newClientOrderId", "origClientOrderId", "listClientOrderId", "cancelOrigClientOrderId")
        return params.get("symbol", ""), next((params[name] for name in names if name in params), "")

    def refused(self, error: RefusedError) -> Answer:
        """A refusal in Binance's words."""
        return answer_of(error, SPOT)

    def headers(self) -> dict[str, str]:
        """How much was used."""
        return {
            "x-mbx-used-weight-1m": str(self.limits.used),
            "x-mbx-order-count-10s": str(self.limits.orders_in(self.clock.wall(), 10_000)),
        }

    # --- the market ---------------------------------------------------------------------------------------------

    def _time(self, _: Params) -> dict[str, Any]:
        return {"serverTime": self.clock.wall()}

    def _rules(self, params: Params) -> dict[str, Any]:
        markets = [market for market in self.ledger.book.markets.values() if not market.swap]
        if "symbol" in params:
            markets = [self.ledger.book.market(params["symbol"])]
        limits = [("REQUEST_WEIGHT", "MINUTE", 1, self.limits.weight)]
        limits += [("ORDERS", "SECOND", 10, self.limits.orders[0]), ("ORDERS", "DAY", 1, self.limits.orders[1])]
        return {
            "timezone": "UTC",
            "serverTime": self.clock.wall(),
            "rateLimits": [
                {"rateLimitType": kind, "interval": unit, "intervalNum": count, "limit": limit}
                for kind, unit, count, limit in limits
            ],
            "exchangeFilters": [],
            "symbols": [symbol_info(market) for market in markets],
        }

    def _price(self, params: Params) -> Any:
        prices = self.ledger.book.prices
        if "symbol" in params:
            self.ledger.book.market(params["symbol"])
            return {"symbol": params["symbol"], "price": eight(prices.get(params["symbol"]))}
        return [{"symbol": symbol, "price": eight(price)} for symbol, price in prices.items()]

    def _candles(self, params: Params) -> Any:
        need(params, "symbol", "interval")
        self.ledger.book.market(params["symbol"])
        return self.tape.klines(params, self.clock.now())

    # --- orders -------------------------------------------------------------------------------------------------

    def _place(self, params: Params) -> dict[str, Any]:
        order = self.ledger.place(wish_of(params, self.ledger))
        return self._placed(order, params)

    def _placed(self, order: Order, params: Params) -> dict[str, Any]:
        form = params.get("newOrderRespType", "FULL" if order.word in _LONG_FORM else "ACK")
        return placed_answer(order, self.ledger.book.fills_of(order), form)

    def _check(self, params: Params) -> dict[str, Any]:
        self.ledger.check(wish_of(params, self.ledger))
        return {}

    def _find(self, params: Params, number_name: str = "orderId", id_name: str = "origClientOrderId") -> Order:
        need(params, "symbol")
        if number_name not in params and id_name not in params:
            raise RefusedError("missing", name=id_name)
        asked = whole(params, number_name) if number_name in params else None
        return self.ledger.find(params["symbol"], number=asked, client_id=params.get(id_name, ""))

    def _report(self, params: Params) -> dict[str, Any]:
        return order_answer(self._find(params))

    def _cancel(self, params: Params) -> dict[str, Any]:
        return self._cancelled(params)

    def _cancelled(self, params: Params, *names: str) -> dict[str, Any]:
        try:
            order = self._find(params, *names)
        except RefusedError as refused:
            raise RefusedError("not_open" if refused.reason == "no_order" else refused.reason) from None
        new_id = params.get("newClientOrderId", f"cancel{self.ledger.book.next_number()}")
        if order.pair is None:
            return cancelled_answer(self.ledger.cancel(order), new_id)
        self.ledger.cancel(order)
        return self._pair_answer(order.pair, done=True, cancelled=True)

    def _replace(self, params: Params) -> Any:
        need(params, "symbol", "side", "type", "cancelReplaceMode")
        told: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
        rest = {name: value for name, value in params.items() if not name.startswith("cancel")}
        try:
            told["cancelResponse"] = self._cancelled(
                {key: value for key, value in params.items() if key != "newClientOrderId"},
                "cancelOrderId",
                "cancelOrigClientOrderId",
            )
        except RefusedError as refused:
            told["cancelResult"], told["cancelResponse"] = "FAILURE", self.refused(refused).body
            if params["cancelReplaceMode"] == "STOP_ON_FAILURE":
                return _half_done(told)
        try:
            half = self.ledger.book.faults.take(["replace_half"], symbol=params["symbol"])
            if half is not None:
                raise RefusedError(half.reason or "would_trigger")
            told["newOrderResponse"] = self._place(rest)
            told["newOrderResult"] = "SUCCESS"
        except RefusedError as refused:
            told["newOrderResult"], told["newOrderResponse"] = "FAILURE", self.refused(refused).body
        return told if told["cancelResult"] == told["newOrderResult"] == "SUCCESS" else _half_done(told)

    def _open(self, params: Params) -> list[dict[str, Any]]:
        return [order_answer(order) for order in self.ledger.known(params.get("symbol", ""), is_open=True)]

    def _cancel_all(self, params: Params) -> list[dict[str, Any]]:
        found = self.ledger.known(params["symbol"], is_open=True)
        if not found:
            raise RefusedError("not_open")
        return [cancelled_answer(self.ledger.cancel(order), order.client_id) for order in found if order.is_open]

    def _orders(self, params: Params) -> list[dict[str, Any]]:
        since, until = whole(params, "startTime", 0), whole(params, "endTime", 1 << 62)
        first, limit = whole(params, "orderId", 0), whole(params, "limit", 500)
        found = [each for each in self.ledger.known(params["symbol"]) if since <= each.created <= until]
        found = [each for each in found if each.number >= first]
        return [order_answer(each) for each in (found[:limit] if since or first else found[-limit:])]

    def _fills(self, params: Params) -> list[dict[str, Any]]:
        book = self.ledger.book
        since, until = whole(params, "startTime", 0), whole(params, "endTime", 1 << 62)
        first, limit = whole(params, "fromId", 0), whole(params, "limit", 500)
        asked = whole(params, "orderId", 0)
        found = [
            fill
            for fill in book.fills
            if fill.symbol == params["symbol"]
            and since <= fill.at <= until
            and fill.number >= first
            and asked in (0, fill.order)
            and book.now() >= book.orders[fill.order].hidden_until
        ]
        rows = found[:limit] if since or first else found[-limit:]
        return [fill_answer(fill, book.orders[fill.order]) for fill in rows]

    # --- pairs --------------------------------------------------------------------------------------------------

    def _pair(self, params: Params) -> dict[str, Any]:
        need(params, "symbol", "side", "quantity", "aboveType", "belowType")
        above, below = (leg_of(params, leg) for leg in ("above", "below"))
        pair, orders = self.ledger.pair((wish_of(above, self.ledger), wish_of(below, self.ledger)))
        for order in orders:
            order.extra["list_id"] = params.get("listClientOrderId", f"list{pair}")
        return self._pair_answer(pair, done=False)

    def _pair_answer(self, pair: int, *, done: bool, cancelled: bool = False) -> dict[str, Any]:
        orders = self.ledger.linked(pair)
        told: dict[str, Any] = {
            "orderListId": pair,
            "contingencyType": "OCO",
            "listStatusType": "ALL_DONE" if done else "EXEC_STARTED",
            "listOrderStatus": "ALL_DONE" if done else "EXECUTING",
            "listClientOrderId": orders[0].extra["list_id"],
            "transactionTime": orders[0].updated,
            "symbol": orders[0].symbol,
            "orders": [
                {"symbol": order.symbol, "orderId": order.number, "clientOrderId": order.client_id} for order in orders
            ],
        }
        if cancelled:
            told["orderReports"] = [cancelled_answer(order, told["listClientOrderId"]) for order in orders]
        else:
            told["orderReports"] = [placed_answer(order, [], "RESULT") for order in orders]
        return told

    def _find_pair(self, params: Params, id_name: str) -> int:
        for order in reversed(self.ledger.book.orders.values()):
            if order.pair is None:
                continue
            if str(order.pair) == str(params.get("orderListId", "")) or (
                id_name in params and order.extra.get("list_id") == params[id_name]
            ):
                return order.pair
        raise RefusedError("no_order")

    def _report_pair(self, params: Params) -> dict[str, Any]:
        pair = self._find_pair(params, "origClientOrderId")
        told = self._pair_answer(pair, done=not any(order.is_open for order in self.ledger.linked(pair)))
        return {name: value for name, value in told.items() if name != "orderReports"}

    def _cancel_pair(self, params: Params) -> dict[str, Any]:
        pair = self._find_pair(params, "listClientOrderId")
        linked = self.ledger.linked(pair)
        self.ledger.cancel(next((order for order in linked if order.is_open), linked[0]))
        return self._pair_answer(pair, done=True, cancelled=True)

    # --- the account --------------------------------------------------------------------------------------------

    def _balance(self, params: Params) -> dict[str, Any]:
        funds = self.ledger.book.funds
        short = params.get("omitZeroBalances") == "true"
        fee = max((market.taker for market in self.ledger.book.markets.values()), default="0.1")
        rate = eight(Decimal(fee) / 100)
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": rate, "taker": rate, "buyer": "0.00000000", "seller": "0.00000000"},
            "canTrade": self.keys.may_trade,
            "canWithdraw": True,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": self.clock.now(),
            "accountType": "SPOT",
            "balances": [
                {"asset": name, "free": eight(funds.free[name]), "locked": eight(funds.locked[name])}
                for name in funds.currencies()
                if funds.total(name) or not short
            ],
            "permissions": ["SPOT"],
            "uid": 354937868,
        }

    def _commission(self, params: Params) -> dict[str, Any]:
        market = self.ledger.book.market(params.get("symbol", ""))
        rates = {"maker": eight(Decimal(market.maker) / 100), "taker": eight(Decimal(market.taker) / 100)}
        none = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}
        return {
            "symbol": market.id,
            "standardCommission": {**none, **rates},
            "taxCommission": none,
            "discount": {
                "enabledForAccount": self.ledger.book.habits.fee_currency == "BNB",
                "enabledForSymbol": True,
                "discountAsset": "BNB",
                "discount": "0.75000000",
            },
        }

    def _permissions(self, _: Params) -> dict[str, Any]:
        return {
            "ipRestrict": True,
            "createTime": 1_700_000_000_000,
            "enableReading": True,
            "enableWithdrawals": self.keys.may_withdraw,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": self.keys.may_trade,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enablePortfolioMarginTrading": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": self.keys.may_trade,
        }


def _half_done(told: dict[str, Any]) -> Answer:
    half = "SUCCESS" in (told["cancelResult"], told["newOrderResult"])
    text = "Order cancel-replace partially failed." if half else "Order cancel-replace failed."
    return Answer(body={"code": -2021 if half else -2022, "msg": text, "data": told}, status=409 if half else 400)
