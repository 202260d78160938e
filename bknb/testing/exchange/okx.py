"""OKX: spot and perpetuals of one account, contracts, conditional orders beside the plain ones, errors inside 200."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from .amounts import whole
from .calls import Answer, Call, Params, Route
from .clock import ExchangeClock
from .keys import Keys, same
from .ledger import Ledger
from .limits import Limits
from .okx_answers import algo_row, balance_row, fill_row, instrument, kind_of, order_row, position_row
from .okx_errors import order_refused, whole_answer
from .okx_wishes import algo_id_of, algo_wishes, amount, plain_wish
from .orders import Fill, Order, RefusedError
from .traded_minutes import TradedMinutes

_WINDOW_MS: Final = 30_000
_BARS: Final = {"1H": "1h", "2H": "2h", "4H": "4h", "6H": "6h", "12H": "12h", "1Dutc": "1d", "6Hutc": "6h"}
_STATES: Final = {"effective": ("triggered",), "canceled": ("cancelled", "expired"), "order_failed": ("rejected",)}
_BATCH: Final = "orders"


class Okx:
    """The face of ``/api/v5``. Positions are net; in long-short mode every order is refused."""

    name = "okx"
    prefixes = ("/api/v5",)

    def __init__(self, ledger: Ledger, *, keys: Keys, clock: ExchangeClock, minutes: TradedMinutes) -> None:
        self.ledger = ledger
        self.keys = keys
        self.clock = clock
        self.minutes = minutes
        self.limits = Limits(weight=1800, orders=(300, 1_000_000))
        self._routes = {
            f"{method} /api/v5/{path}": Route(operation=operation, run=run, signed=signed, orders=operation == "place")
            for method, path, operation, run, signed in self._table()
        }

    def _table(self) -> list[tuple[str, str, str, Callable[[Params], Any], bool]]:
        return [
            ("GET", "public/time", "time", lambda _: [{"ts": str(self.clock.wall())}], False),
            ("GET", "public/instruments", "rules", self._instruments, False),
            ("GET", "public/position-tiers", "brackets", self._tiers, False),
            ("GET", "market/ticker", "price", self._ticker, False),
            ("GET", "market/candles", "candles", self._candles, False),
            ("GET", "market/history-candles", "candles", self._candles, False),
            ("POST", "trade/order", "place", self._place, True),
            ("POST", "trade/batch-orders", "place", self._place, True),
            ("GET", "trade/order", "report", self._report, True),
            ("POST", "trade/cancel-order", "cancel", self._cancel, True),
            ("POST", "trade/cancel-batch-orders", "cancel", self._cancel, True),
            ("GET", "trade/orders-pending", "open_orders", self._pending, True),
            ("GET", "trade/orders-history", "orders", self._history, True),
            ("GET", "trade/orders-history-archive", "orders", self._history, True),
            ("GET", "trade/fills", "fills", self._fills, True),
            ("GET", "trade/fills-history", "fills", self._fills, True),
            ("POST", "trade/order-algo", "stop", self._place_algo, True),
            ("GET", "trade/order-algo", "report_stop", self._report_algo, True),
            ("POST", "trade/cancel-algos", "cancel_stop", self._cancel_algos, True),
            ("POST", "trade/amend-algos", "amend_stop", self._amend_algo, True),
            ("GET", "trade/orders-algo-pending", "open_stops", self._algos_pending, True),
            ("GET", "trade/orders-algo-history", "stops", self._algos_history, True),
            ("GET", "account/balance", "balance", lambda _: [balance_row(self.ledger.book)], True),
            ("GET", "account/positions", "positions", self._positions, True),
            ("GET", "account/config", "permissions", self._config, True),
            ("GET", "account/leverage-info", "settings", self._leverage_info, True),
            ("POST", "account/set-leverage", "leverage", self._set_leverage, True),
            ("POST", "account/set-position-mode", "set_mode", self._set_mode, True),
            ("GET", "account/trade-fee", "commission", self._trade_fee, True),
        ]

    # --- the face -----------------------------------------------------------------------------------------------

    def route(self, call: Call) -> Route | None:
        """The endpoint of a request; what it answers is put into OKX's envelope."""
        found = self._routes.get(f"{call.method} {call.path}")
        if found is None:
            return None
        run = found.run

        def enveloped(params: Params) -> Any:
            done = run(params)
            return done if isinstance(done, Answer) else {"code": "0", "msg": "", "data": done}

        return Route(operation=found.operation, run=enveloped, signed=found.signed, orders=found.orders)

    def params(self, call: Call) -> dict[str, Any]:
        """The parameters of a request; those of several orders are under one name."""
        if call.method == "GET":
            return call.form()
        try:
            body = json.loads(call.body or "{}")
        except json.JSONDecodeError:
            raise RefusedError("parameter", name="body") from None
        return {_BATCH: body} if isinstance(body, list) else dict(body)

    def admit(self, call: Call, route: Route, params: Params) -> None:  # noqa: ARG002 -- of every face
        """Refuse a request that is not signed as it has to be."""
        if not route.signed:
            return
        given = call.headers
        if not given.get("ok-access-key"):
            raise RefusedError("key_format")
        if given["ok-access-key"] != self.keys.key or self.keys.revoked:
            raise RefusedError("key")
        if given.get("ok-access-passphrase") != self.keys.passphrase:
            raise RefusedError("passphrase")
        stamp = given.get("ok-access-timestamp", "")
        try:
            sent = int(datetime.fromisoformat(stamp).timestamp() * 1000)
        except ValueError:
            raise RefusedError("time_format") from None
        text = stamp + call.method + call.path + (f"?{call.query}" if call.query else "") + call.body
        if not same(given.get("ok-access-sign", ""), self.keys.base64_signature(text)):
            raise RefusedError("signature")
        if abs(self.clock.wall() - sent) > _WINDOW_MS:
            raise RefusedError("clock_behind")
        if route.operation in ("place", "stop") and not self.keys.may_trade:
            raise RefusedError("permission")

    def operation(self, route: Route, params: Params) -> str:  # noqa: ARG002 -- of every face
        """What a request is about."""
        return route.operation

    def subject(self, params: Params) -> tuple[str, str]:
        """The symbol and the client id that a request names; of several orders those of the first."""
        first = params[_BATCH][0] if params.get(_BATCH) else params
        return str(first.get("instId", "")), str(first.get("algoClOrdId") or first.get("clOrdId") or "")

    def refused(self, error: RefusedError) -> Answer:
        """A refusal in OKX's words."""
        return whole_answer(error)

    def headers(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def message(self, order: Order, fill: Fill | None) -> tuple[str, dict[str, Any]]:  # noqa: ARG002 -- of every face
        """The channel of the user stream, and what it says of an order."""
        return ("orders-algo", self._algo(order)) if order.trigger is not None else ("orders", self._row(order))

    # --- the market ---------------------------------------------------------------------------------------------

    def _instruments(self, params: Params) -> list[dict[str, str]]:
        if not params.get("instType"):
            raise RefusedError("missing", name="instType")
        markets = self.ledger.book.markets.values()
        return [instrument(each) for each in markets if kind_of(each) == params["instType"]]

    def _tiers(self, params: Params) -> list[dict[str, str]]:
        if params.get("instType") != "SWAP" or params.get("tdMode") not in ("cross", "isolated"):
            raise RefusedError("parameter", name="tdMode")
        family = params.get("instFamily", "")
        return [
            {
                "instType": "SWAP", "instFamily": family, "uly": family, "instId": "", "tier": "1", "minSz": "0",
                "maxSz": market.most, "mmr": f"{Decimal(market.maintenance) / 100:f}", "imr": "0.01", "maxLever": "100",
            }
            for market in self.ledger.book.markets.values()
            if market.swap and market.id == f"{family}-SWAP"
        ]  # fmt: skip

    def _ticker(self, params: Params) -> list[dict[str, str]]:
        market = self.ledger.book.market(params.get("instId", ""))
        last = f"{self.ledger.book.last(market.id):f}"
        prices = dict.fromkeys(("last", "askPx", "bidPx", "open24h", "high24h", "low24h"), last)
        return [{"instType": kind_of(market), "instId": market.id, **prices, "ts": str(self.clock.now())}]

    def _candles(self, params: Params) -> list[list[str]]:
        market = self.ledger.book.market(params.get("instId", ""))
        bar = params.get("bar", "1m")
        asked = {"symbol": market.base + market.quote, "interval": _BARS.get(bar, bar)}
        asked["limit"] = params.get("limit", "100")
        if "before" in params:
            asked["startTime"] = str(int(params["before"]) + 1)
        if "after" in params:
            asked["endTime"] = str(int(params["after"]) - 1)
        rows = [[str(value) for value in row[:6]] for row in self.minutes.klines(asked, self.clock.now())]
        return [[*row, row[5], row[5], "1"] for row in reversed(rows)]

    # --- plain orders -------------------------------------------------------------------------------------------

    def _each(self, params: Params, do: Callable[[Params], dict[str, str]]) -> Answer:
        """Do something with each order of a request; what is refused stands in its row."""
        rows, refused = [], 0
        asked = params.get(_BATCH, [params])
        for one in asked:
            try:
                rows.append({"sCode": "0", "sMsg": "", **do(one)})
            except RefusedError as error:
                refused += 1
                known = {name: one.get(name, "") for name in ("clOrdId", "algoClOrdId", "algoId")}
                rows.append({"ordId": one.get("ordId", ""), **known, **order_refused(error)})
        code = "0" if not refused else "1" if refused == len(rows) else "2"
        text = {"0": "", "1": "All operations failed", "2": "Bulk operation partially succeeded."}
        return Answer(body={"code": code, "msg": text[code] if _BATCH in params else "", "data": rows})

    def _place(self, params: Params) -> Answer:
        def one(order: Params) -> dict[str, str]:
            placed = self.ledger.place(plain_wish(order, self.ledger))
            at = {"ordId": str(placed.number), "clOrdId": order.get("clOrdId", ""), "tag": order.get("tag", "")}
            return {**at, "ts": str(placed.created), "sMsg": "Order placed"}

        return self._each(params, one)

    def _find(self, params: Params, number: str = "ordId", name: str = "clOrdId", *, stop: bool = False) -> Order:
        if not params.get(number) and not params.get(name):
            raise RefusedError("missing", name=number)
        asked = whole(params, number) if params.get(number) else None
        return self.ledger.find(params.get("instId", ""), number=asked, client_id=params.get(name, ""), stop=stop)

    def _row(self, order: Order) -> dict[str, Any]:
        book = self.ledger.book
        parent = None if order.parent is None else book.orders[order.parent]
        return order_row(order, book.market(order.symbol), book.fills_of(order), parent)

    def _report(self, params: Params) -> list[dict[str, Any]]:
        if not params.get("instId"):
            raise RefusedError("missing", name="instId")
        return [self._row(self._find(params))]

    def _cancel(self, params: Params) -> Answer:
        def one(order: Params) -> dict[str, str]:
            cancelled = self.ledger.cancel(self._find(order))
            at = {"ordId": str(cancelled.number), "clOrdId": cancelled.client_id}
            return {**at, "ts": str(cancelled.updated)}

        return self._each(params, one)

    def _of_kind(self, orders: list[Order], params: Params) -> list[Order]:
        """Those of the asked kind of market and symbol, the newest first, a hundred at most."""
        book = self.ledger.book
        found = [
            order
            for order in reversed(orders)
            if params.get("instType", kind_of(book.market(order.symbol))) == kind_of(book.market(order.symbol))
            and params.get("instId", order.symbol) == order.symbol
            and order.number > int(params.get("before", 0))
            and order.number < int(params.get("after", 1 << 62))
        ]
        return found[: int(params.get("limit", 100))]

    def _pending(self, params: Params) -> list[dict[str, Any]]:
        return [self._row(order) for order in self._of_kind(self.ledger.known(stop=False, is_open=True), params)]

    def _history(self, params: Params) -> list[dict[str, Any]]:
        done = self._of_kind(self.ledger.known(stop=False, is_open=False), params)
        rows = [self._row(order) for order in done]
        return [row for row in rows if params.get("state", row["state"]) == row["state"]]

    def _fills(self, params: Params) -> list[dict[str, str]]:
        book = self.ledger.book
        found = [
            fill_row(fill, book.orders[fill.order], book.market(fill.symbol))
            for fill in reversed(book.fills)
            if params.get("instId", fill.symbol) == fill.symbol
            and params.get("ordId", str(fill.order)) == str(fill.order)
            and int(params.get("begin", 0)) <= fill.at <= int(params.get("end", 1 << 62))
            and book.now() >= book.orders[fill.order].hidden_until
        ]
        rows = [row for row in found if params.get("instType", row["instType"]) == row["instType"]]
        return rows[: int(params.get("limit", 100))]

    # --- conditional orders -------------------------------------------------------------------------------------

    def _place_algo(self, params: Params) -> Answer:
        def one(order: Params) -> dict[str, str]:
            wishes = algo_wishes(order, self.ledger)
            if len(wishes) == 1:
                placed = self.ledger.place(wishes[0])
            else:
                placed = self.ledger.pair((wishes[0], wishes[1]))[1][0]
            client_id = algo_id_of(order)
            at = {"algoId": str(placed.number), "clOrdId": client_id, "algoClOrdId": client_id}
            return {**at, "tag": order.get("tag", "")}

        return self._each(params, one)

    def _legs(self, order: Order) -> list[Order]:
        return [order] if order.pair is None else self.ledger.linked(order.pair)

    def _algo(self, order: Order) -> dict[str, Any]:
        book, legs = self.ledger.book, self._legs(order)
        child = next((book.orders[leg.child] for leg in legs if leg.child is not None), None)
        return algo_row(legs[0], book.market(order.symbol), legs, child)

    def _report_algo(self, params: Params) -> list[dict[str, Any]]:
        return [self._algo(self._find(params, "algoId", "algoClOrdId", stop=True))]

    def _cancel_algos(self, params: Params) -> Answer:
        def one(order: Params) -> dict[str, str]:
            found = self._find(order, "algoId", "algoClOrdId", stop=True)
            cancelled = self.ledger.cancel(next((leg for leg in self._legs(found) if leg.is_open), found))
            return {"algoId": str(found.number), "algoClOrdId": found.client_id, "ts": str(cancelled.updated)}

        return self._each(params, one)

    def _amend_algo(self, params: Params) -> Answer:
        def one(order: Params) -> dict[str, str]:
            try:
                found = self._find(order, "algoId", "algoClOrdId", stop=True)
            except RefusedError as refused:
                raise RefusedError("no_order_to_amend" if refused.reason == "no_order" else refused.reason) from None
            for leg in self._legs(found):
                name = "newTriggerPx" if leg.extra["leg"] == "trigger" else f"new{leg.extra['leg'].title()}TriggerPx"
                self.ledger.amend(leg, trigger=amount(order, name), quantity=amount(order, "newSz"))
            return {"algoId": str(found.number), "algoClOrdId": found.client_id, "reqId": order.get("reqId", "")}

        return self._each(params, one)

    def _algos(self, params: Params, statuses: tuple[str, ...]) -> list[dict[str, Any]]:
        if not params.get("ordType"):
            raise RefusedError("missing", name="ordType")
        kinds = params["ordType"].split(",")
        first = [order for order in self.ledger.known(stop=True) if self._legs(order)[0] is order]
        found = [
            order
            for order in first
            if order.extra["ordType"] in kinds and any(leg.status in statuses for leg in self._legs(order))
        ]
        return [self._algo(order) for order in self._of_kind(found, params)]

    def _algos_pending(self, params: Params) -> list[dict[str, Any]]:
        return self._algos(params, ("waiting",))

    def _algos_history(self, params: Params) -> list[dict[str, Any]]:
        if params.get("algoId"):
            return self._report_algo(params)
        if params.get("state") not in _STATES:
            raise RefusedError("missing", name="state")
        return self._algos(params, _STATES[params["state"]])

    # --- the account --------------------------------------------------------------------------------------------

    def _positions(self, params: Params) -> list[dict[str, str]]:
        book = self.ledger.book
        asked = params.get("instId", "").split(",")
        return [
            position_row(book, symbol)
            for symbol, held in book.positions.items()
            if held.quantity and (asked == [""] or symbol in asked)
        ]

    def _config(self, _: Params) -> list[dict[str, Any]]:
        allowed = ["read_only", *(["trade"] if self.keys.may_trade else [])]
        allowed += ["withdraw"] if self.keys.may_withdraw else []
        mode = "long_short_mode" if self.ledger.book.hedged else "net_mode"
        return [{"uid": "44705892343619584", "acctLv": "2", "posMode": mode, "perm": ",".join(allowed), "ip": ""}]

    def _leverage_info(self, params: Params) -> list[dict[str, str]]:
        held = self.ledger.book.position(self.ledger.book.market(params.get("instId", "")).id)
        mode = params.get("mgnMode", held.margin_type)
        return [{"instId": held.symbol, "mgnMode": mode, "posSide": "net", "lever": str(held.leverage)}]

    def _set_leverage(self, params: Params) -> list[dict[str, str]]:
        book = self.ledger.book
        market, asked = book.market(params.get("instId", "")), Decimal(str(params.get("lever", "0")))
        if not 1 <= asked <= 100:
            raise RefusedError("leverage_range")
        position = book.position(market.id)
        before = position.leverage, position.margin_type
        position.leverage, position.margin_type = int(asked), params.get("mgnMode", "cross")
        if book.available(market.quote) < 0:
            position.leverage, position.margin_type = before
            raise RefusedError("margin", currency=market.quote)
        return [{"instId": market.id, "lever": str(asked), "mgnMode": position.margin_type, "posSide": "net"}]

    def _set_mode(self, params: Params) -> list[dict[str, str]]:
        book = self.ledger.book
        if book.open_orders() or any(held.quantity for held in book.positions.values()):
            raise RefusedError("mode_with_position")
        book.hedged = params.get("posMode") == "long_short_mode"
        return [{"posMode": params.get("posMode", "")}]

    def _trade_fee(self, params: Params) -> list[dict[str, str]]:
        kind = params.get("instType", "SPOT")
        market = next(each for each in self.ledger.book.markets.values() if kind_of(each) == kind)
        maker, taker = (f"{-Decimal(rate) / 100:f}" for rate in (market.maker, market.taker))
        return [{"instType": kind, "level": "Lv1", "maker": maker, "taker": taker}]
