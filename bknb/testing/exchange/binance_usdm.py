"""Binance's USD-M futures exchange: its endpoints over a ledger, with conditional orders at a place of their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from .amounts import number, whole
from .binance_errors import USDM
from .binance_face import BinanceFace
from .binance_requests import is_true, need, need_not
from .binance_usdm_answers import (
    ALGO_TYPES,
    PLAIN_TYPES,
    account_answer,
    algo_answer,
    contract_info,
    fill_answer,
    order_answer,
    position_answer,
)
from .calls import Params, Route, words
from .clock import ExchangeClock
from .keys import Keys
from .ledger import Ledger, Wish
from .limits import Limits
from .orders import Fill, Order, RefusedError
from .stream_messages import algo_update, order_trade_update
from .traded_minutes import TradedMinutes

_ORDER: Final = words(
    "symbol side positionSide type timeInForce quantity reduceOnly price newClientOrderId stopPrice closePosition "
    "activationPrice callbackRate workingType priceProtect newOrderRespType priceMatch selfTradePreventionMode "
    "goodTillDate"
)
_ALGO: Final = words(
    "algoType symbol side positionSide type timeInForce quantity price triggerPrice workingType priceMatch "
    "closePosition priceProtect reduceOnly activatePrice callbackRate clientAlgoId newOrderRespType "
    "selfTradePreventionMode goodTillDate"
)
_ASK: Final = words("symbol orderId origClientOrderId")
_ASK_ALGO: Final = words("symbol algoId clientAlgoId")
_PAGE: Final = words("symbol startTime endTime limit")
_ALGO_NAMES: Final = ("algoId", "clientAlgoId")
_MOST_LEVERAGE: Final = 125
_DONE: Final = {"code": 200, "msg": "success"}


class BinanceUsdm(BinanceFace):
    """The face of ``/fapi``. Positions are one-way; in hedge mode every order is refused."""

    name = "binanceusdm"
    prefixes = ("/fapi/",)
    errors = USDM
    trigger = "triggerPrice"

    def __init__(self, ledger: Ledger, *, keys: Keys, clock: ExchangeClock, minutes: TradedMinutes) -> None:
        limits = Limits(weight=2400, orders=(300, 1_728_000))
        super().__init__(ledger, keys=keys, clock=clock, minutes=minutes, limits=limits)
        self.listen_key = ""
        self._listen_keys = 0
        place = Route(operation="place", run=self._place, allowed=_ORDER, weight=0, orders=True)
        symbol = words("symbol")
        self.routes = {
            **self.of_the_market("/fapi/v1"),
            "GET /fapi/v1/exchangeInfo": Route(operation="rules", run=self._rules, signed=False),
            "POST /fapi/v1/order": place,
            "POST /fapi/v1/order/test": Route(operation="check", run=self._check, allowed=_ORDER),
            "GET /fapi/v1/order": Route(operation="report", run=self._report, allowed=_ASK),
            "DELETE /fapi/v1/order": Route(operation="cancel", run=self._cancel, allowed=_ASK),
            "GET /fapi/v1/openOrders": Route(operation="open_orders", run=self._open, allowed=symbol),
            "GET /fapi/v1/allOrders": Route(
                operation="orders", run=self._orders, allowed=_PAGE | {"orderId"}, required=("symbol",), weight=5
            ),
            "POST /fapi/v1/algoOrder": Route(
                operation="place", run=self._place_algo, allowed=_ALGO, weight=0, orders=True
            ),
            "GET /fapi/v1/algoOrder": Route(operation="report_stop", run=self._report_algo, allowed=_ASK_ALGO),
            "DELETE /fapi/v1/algoOrder": Route(operation="cancel_stop", run=self._cancel_algo, allowed=_ASK_ALGO),
            "GET /fapi/v1/openAlgoOrders": Route(
                operation="open_stops", run=self._open_algo, allowed=symbol | words("algoType algoId")
            ),
            "GET /fapi/v1/allAlgoOrders": Route(
                operation="stops",
                run=self._all_algo,
                allowed=_PAGE | words("algoId page"),
                required=("symbol",),
                weight=5,
            ),
            "GET /fapi/v1/userTrades": Route(
                operation="fills",
                run=lambda params: [fill_answer(fill) for fill, _ in self.fills_asked(params)],
                allowed=_PAGE | words("orderId fromId"),
                required=("symbol",),
                weight=5,
            ),
            "GET /fapi/v1/income": Route(
                operation="income", run=self._income, allowed=_PAGE | words("incomeType page"), weight=30
            ),
            "GET /fapi/v1/leverageBracket": Route(operation="brackets", run=self._brackets, allowed=symbol),
            "GET /fapi/v1/commissionRate": Route(
                operation="commission", run=self._commission, allowed=symbol, required=("symbol",), weight=20
            ),
            "GET /fapi/v1/symbolConfig": Route(operation="settings", run=self._settings, allowed=symbol, weight=5),
            "POST /fapi/v1/leverage": Route(
                operation="leverage", run=self._leverage, allowed=words("symbol leverage"), required=("symbol",)
            ),
            "POST /fapi/v1/marginType": Route(
                operation="margin_type",
                run=self._margin_type,
                allowed=words("symbol marginType"),
                required=("symbol", "marginType"),
            ),
            "GET /fapi/v1/positionSide/dual": Route(
                operation="mode", run=lambda _: {"dualSidePosition": self.ledger.book.hedged}, weight=30
            ),
            "POST /fapi/v1/positionSide/dual": Route(
                operation="set_mode", run=self._set_mode, required=("dualSidePosition",)
            ),
            "POST /fapi/v1/listenKey": Route(operation="stream", run=self._new_listen_key, signed=False),
            "PUT /fapi/v1/listenKey": Route(operation="stream", run=self._keep_listen_key, signed=False),
            "DELETE /fapi/v1/listenKey": Route(operation="stream", run=self._end_listen_key, signed=False),
            "GET /fapi/v1/accountConfig": Route(operation="mode", run=self._account_config, weight=5),
            "GET /fapi/v1/multiAssetsMargin": Route(
                operation="mode", run=lambda _: {"multiAssetsMargin": self.ledger.book.multi_assets}, weight=30
            ),
            **{
                f"GET /fapi/{version}/account": Route(
                    operation="balance", run=lambda _: account_answer(self.ledger.book), weight=5
                )
                for version in ("v2", "v3")
            },
            **{
                f"GET /fapi/{version}/positionRisk": Route(
                    operation="positions", run=self._positions, allowed=symbol, weight=5
                )
                for version in ("v2", "v3")
            },
        }

    def _rules(self, _: Params) -> dict[str, Any]:
        markets = self.ledger.book.markets.values()
        return {**self.about(), "futuresType": "U_MARGINED", "symbols": [contract_info(each) for each in markets]}

    # --- the user stream ----------------------------------------------------------------------------------------

    def message(self, order: Order, fill: Fill | None) -> tuple[str, dict[str, Any]]:
        """What the user stream says of an order."""
        now, orders = self.clock.now(), self.ledger.book.orders
        if order.trigger is not None:
            return "", algo_update(order, None if order.child is None else orders[order.child], now)
        return "", order_trade_update(order, fill, self._parent(order), now)

    def _new_listen_key(self, _: Params) -> dict[str, str]:
        if not self.listen_key:
            self._listen_keys += 1
            self.listen_key = f"locallistenkey{self._listen_keys}"
        return {"listenKey": self.listen_key}

    def _keep_listen_key(self, _: Params) -> dict[str, str]:
        if not self.listen_key:
            raise RefusedError("no_listen_key")
        return {"listenKey": self.listen_key}

    def _end_listen_key(self, _: Params) -> dict[str, str]:
        self.expire_listen_key()
        return {}

    def expire_listen_key(self) -> None:
        """End the user stream: its key opens nothing any more."""
        self.listen_key = ""

    # --- plain orders -------------------------------------------------------------------------------------------

    def _place(self, params: Params) -> dict[str, Any]:
        return order_answer(self.ledger.place(self._plain(params)), form=params.get("newOrderRespType", "ACK"))

    def _check(self, params: Params) -> dict[str, Any]:
        self.ledger.check(self._plain(params))
        return {}

    def _plain(self, params: Params) -> Wish:
        need(params, "symbol", "side", "type")
        kind = params["type"]
        if kind in ALGO_TYPES or kind == "TRAILING_STOP_MARKET":
            raise RefusedError("algo_elsewhere")
        if kind not in PLAIN_TYPES:
            raise RefusedError("type")
        if kind == "LIMIT":
            need(params, "price", "timeInForce")
        else:
            need_not(params, "price", "timeInForce")
        return self._wish(params, client_id=params.get("newClientOrderId", ""), trigger=None)

    def _wish(self, params: Params, *, client_id: str, trigger: Decimal | None) -> Wish:
        if params["side"] not in ("BUY", "SELL"):
            raise RefusedError("side")
        if self.ledger.book.hedged or params.get("positionSide", "BOTH") != "BOTH":
            raise RefusedError("position_side")
        need(params, "quantity")
        kind = params["type"]
        sells = params["side"] == "SELL"
        price = number(params, "price")
        return Wish(
            symbol=params["symbol"],
            side="sell" if sells else "buy",
            kind="market" if price is None else "limit",
            quantity=number(params, "quantity") or Decimal(0),
            client_id=client_id,
            price=price,
            trigger=trigger,
            falls=sells == kind.startswith("STOP"),
            word=kind,
            time_in_force=params.get("timeInForce", "GTC"),
            maker_only=params.get("timeInForce") == "GTX",
            reduce_only=is_true(params, "reduceOnly"),
        )

    def _parent(self, order: Order) -> Order | None:
        return None if order.parent is None else self.ledger.book.orders[order.parent]

    def _report(self, params: Params) -> dict[str, Any]:
        need(params, "symbol")
        order = self.find(params, stop=False)
        return order_answer(order, self._parent(order))

    def _cancel(self, params: Params) -> dict[str, Any]:
        need(params, "symbol")
        order = self.ledger.cancel(self.find_to_cancel(params, ("orderId", "origClientOrderId"), stop=False))
        return order_answer(order, self._parent(order), form="RESULT")

    def _open(self, params: Params) -> list[dict[str, Any]]:
        found = self.ledger.known(params.get("symbol", ""), stop=False, is_open=True)
        return [order_answer(order, self._parent(order)) for order in found]

    def _orders(self, params: Params) -> list[dict[str, Any]]:
        return [order_answer(order, self._parent(order)) for order in self.orders_asked(params, stop=False)]

    # --- conditional orders -------------------------------------------------------------------------------------

    def _place_algo(self, params: Params) -> dict[str, Any]:
        need(params, "algoType", "symbol", "side", "type", "triggerPrice")
        if params["algoType"] != "CONDITIONAL" or params["type"] not in ALGO_TYPES:
            raise RefusedError("type")
        if params["type"] in ("STOP", "TAKE_PROFIT"):
            need(params, "price")
        else:
            need_not(params, "price")
        if params.get("workingType", "CONTRACT_PRICE") != "CONTRACT_PRICE":
            raise RefusedError("not_here", what="triggers by mark price")
        wish = self._wish(params, client_id=params.get("clientAlgoId", ""), trigger=number(params, "triggerPrice"))
        return self._algo(self.ledger.place(wish))

    def _algo(self, order: Order) -> dict[str, Any]:
        child = None if order.child is None else self.ledger.book.orders[order.child]
        return algo_answer(order, child, self.ledger.book.now())

    def _report_algo(self, params: Params) -> dict[str, Any]:
        return self._algo(self.find(params, _ALGO_NAMES, stop=True))

    def _cancel_algo(self, params: Params) -> dict[str, Any]:
        order = self.ledger.cancel(self.find_to_cancel(params, _ALGO_NAMES, stop=True))
        return {"algoId": order.number, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}

    def _open_algo(self, params: Params) -> list[dict[str, Any]]:
        return [self._algo(order) for order in self.ledger.known(params.get("symbol", ""), stop=True, is_open=True)]

    def _all_algo(self, params: Params) -> list[dict[str, Any]]:
        return [self._algo(order) for order in self.orders_asked(params, stop=True, first="algoId")]

    # --- the account --------------------------------------------------------------------------------------------

    def _positions(self, params: Params) -> list[dict[str, Any]]:
        book = self.ledger.book
        asked = params.get("symbol", "")
        return [
            position_answer(book, symbol)
            for symbol, held in book.positions.items()
            if asked in ("", symbol) and (held.quantity or book.open_orders(symbol))
        ]

    def _income(self, params: Params) -> list[dict[str, Any]]:
        since, until = whole(params, "startTime", 0), whole(params, "endTime", 1 << 62)
        rows = []
        for fill in self.ledger.book.fills:
            if not since <= fill.at <= until or params.get("symbol", fill.symbol) != fill.symbol:
                continue
            for kind, amount in (("REALIZED_PNL", fill.profit), ("COMMISSION", -fill.fee)):
                if amount and params.get("incomeType", kind) == kind:
                    about = {"symbol": fill.symbol, "incomeType": kind, "income": f"{amount:f}"}
                    number_of = {"tranId": fill.number, "tradeId": str(fill.number), "info": "", "time": fill.at}
                    rows.append({**about, "asset": fill.fee_currency, **number_of})
        return rows[-whole(params, "limit", 100) :]

    def _brackets(self, params: Params) -> list[dict[str, Any]]:
        return [
            {
                "symbol": market.id,
                "brackets": [
                    {
                        "bracket": 1,
                        "initialLeverage": _MOST_LEVERAGE,
                        "notionalCap": 1_000_000_000,
                        "notionalFloor": 0,
                        "maintMarginRatio": float(market.maintenance) / 100,
                        "cum": 0.0,
                    }
                ],
            }
            for market in self.ledger.book.markets.values()
            if params.get("symbol", market.id) == market.id
        ]

    def _commission(self, params: Params) -> dict[str, Any]:
        market = self.ledger.book.market(params["symbol"])
        rates = {"makerCommissionRate": market.maker, "takerCommissionRate": market.taker}
        return {"symbol": market.id, **{name: f"{Decimal(rate) / 100:f}" for name, rate in rates.items()}}

    def _account_config(self, _: Params) -> dict[str, Any]:
        allowed = {"canTrade": self.keys.may_trade, "canDeposit": True, "canWithdraw": self.keys.may_withdraw}
        modes = {"dualSidePosition": self.ledger.book.hedged, "multiAssetsMargin": self.ledger.book.multi_assets}
        return {"feeTier": 0, **allowed, **modes, "updateTime": 0, "tradeGroupId": -1}

    def _settings(self, params: Params) -> list[dict[str, Any]]:
        book = self.ledger.book
        return [
            {
                "symbol": symbol,
                "marginType": "ISOLATED" if book.position(symbol).margin_type == "isolated" else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": book.position(symbol).leverage,
                "maxNotionalValue": "1000000",
            }
            for symbol in book.markets
            if params.get("symbol", symbol) == symbol
        ]

    def _leverage(self, params: Params) -> dict[str, Any]:
        book, symbol, asked = self.ledger.book, params["symbol"], whole(params, "leverage")
        book.market(symbol)
        if not 1 <= asked <= _MOST_LEVERAGE:
            raise RefusedError("leverage", leverage=asked)
        position = book.position(symbol)
        before, position.leverage = position.leverage, asked
        if book.available(book.market(symbol).quote) < 0:
            position.leverage = before
            raise RefusedError("margin")
        return {"symbol": symbol, "leverage": asked, "maxNotionalValue": "1000000"}

    def _margin_type(self, params: Params) -> dict[str, Any]:
        book, symbol = self.ledger.book, params["symbol"]
        book.market(symbol)
        asked = {"ISOLATED": "isolated", "CROSSED": "cross"}.get(params["marginType"])
        if asked is None:
            raise RefusedError("missing", name="marginType")
        if book.position(symbol).margin_type == asked:
            raise RefusedError("no_need_margin")
        if book.position(symbol).quantity:
            raise RefusedError("margin_with_position")
        if book.open_orders(symbol):
            raise RefusedError("margin_with_orders")
        book.position(symbol).margin_type = asked
        return dict(_DONE)

    def _set_mode(self, params: Params) -> dict[str, Any]:
        book, asked = self.ledger.book, is_true(params, "dualSidePosition")
        if book.hedged == asked:
            raise RefusedError("no_need_side")
        if book.open_orders():
            raise RefusedError("side_with_orders")
        if any(held.quantity for held in book.positions.values()):
            raise RefusedError("side_with_position")
        book.hedged = asked
        return dict(_DONE)
