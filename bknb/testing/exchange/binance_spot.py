"""Binance's spot exchange: its endpoints over a ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from .amounts import eight
from .binance_answers import cancelled_answer, fill_answer, order_answer, placed_answer, symbol_info
from .binance_errors import SPOT
from .binance_face import BinanceFace
from .binance_requests import need
from .binance_wishes import leg_of, wish_of
from .calls import Answer, Params, Route, words
from .clock import ExchangeClock
from .keys import Keys
from .ledger import Ledger
from .limits import Limits
from .orders import Fill, Order, RefusedError
from .stream_messages import execution_report
from .traded_minutes import TradedMinutes

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
_NAMES: Final = ("orderId", "origClientOrderId")
_LONG_FORM: Final = ("MARKET", "LIMIT")


class BinanceSpot(BinanceFace):
    """The face of ``/api/v3``, and of the one endpoint of ``/sapi/v1`` that tells what a key may do."""

    prefixes = ("/api/v3", "/sapi/v1")
    errors = SPOT

    def __init__(self, ledger: Ledger, *, keys: Keys, clock: ExchangeClock, minutes: TradedMinutes) -> None:
        super().__init__(ledger, keys=keys, clock=clock, minutes=minutes, limits=Limits())
        ask = words("symbol orderId origClientOrderId")
        page = words("symbol orderId startTime endTime limit")
        self.routes = {
            **self.of_the_market("/api/v3"),
            "POST /api/v3/userDataStream": Route(operation="stream", run=_gone, signed=False),
            "GET /api/v3/exchangeInfo": Route(operation="rules", run=self._rules, signed=False, weight=20),
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

    def message(self, order: Order, fill: Fill | None) -> tuple[str, dict[str, Any]]:
        """What the user stream says of an order."""
        return "", execution_report(order, fill, self.clock.now())

    # --- the market ---------------------------------------------------------------------------------------------

    def _rules(self, params: Params) -> dict[str, Any]:
        markets = list(self.ledger.book.markets.values())
        if "symbol" in params:
            markets = [self.ledger.book.market(params["symbol"])]
        return {**self.about(), "symbols": [symbol_info(market) for market in markets]}

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

    def _report(self, params: Params) -> dict[str, Any]:
        need(params, "symbol")
        return order_answer(self.find(params))

    def _cancel(self, params: Params) -> dict[str, Any]:
        return self._cancelled(params)

    def _cancelled(self, params: Params, names: tuple[str, str] = _NAMES) -> dict[str, Any]:
        need(params, "symbol")
        order = self.find_to_cancel(params, names)
        new_id = params.get("newClientOrderId", f"cancel{self.ledger.book.next_number()}")
        if order.pair is None:
            only_new = params.get("cancelRestrictions") == "ONLY_NEW"
            return cancelled_answer(self.ledger.cancel(order, only_new=only_new), new_id)
        self.ledger.cancel(order)
        return self._pair_answer(order.pair, done=True, cancelled=True)

    def _replace(self, params: Params) -> Any:
        need(params, "symbol", "side", "type", "cancelReplaceMode")
        told: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
        rest = {name: value for name, value in params.items() if not name.startswith("cancel")}
        try:
            told["cancelResponse"] = self._cancelled(
                {key: value for key, value in params.items() if key != "newClientOrderId"},
                ("cancelOrderId", "cancelOrigClientOrderId"),
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
        return [order_answer(order) for order in self.orders_asked(params)]

    def _fills(self, params: Params) -> list[dict[str, Any]]:
        return [fill_answer(fill, order) for fill, order in self.fills_asked(params)]

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


def _gone(_: Params) -> None:
    raise RefusedError("gone")


def _half_done(told: dict[str, Any]) -> Answer:
    half = "SUCCESS" in (told["cancelResult"], told["newOrderResult"])
    text = "Order cancel-replace partially failed." if half else "Order cancel-replace failed."
    return Answer(body={"code": -2021 if half else -2022, "msg": text, "data": told}, status=409 if half else 400)
