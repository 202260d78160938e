"""What Binance's spot and futures exchanges share: signing, time, prices, candles, and how orders are found."""

from __future__ import annotations

from typing import Any, Final

from .amounts import plain, whole
from .binance_errors import answer_of
from .binance_requests import check_names, check_signature, need, without_signature
from .calls import Answer, Call, Params, Route
from .clock import ExchangeClock
from .keys import Keys
from .ledger import Ledger
from .limits import Limits
from .orders import Order, RefusedError
from .traded_minutes import TradedMinutes

_IDS: Final = (
    *("newClientOrderId", "origClientOrderId", "clientAlgoId", "listClientOrderId", "cancelOrigClientOrderId"),
)


class BinanceFace:
    """One of Binance's exchanges; what is its own comes with ``routes``.

    Attributes
    ----------
    routes : dict
        ``"GET /api/v3/time"`` to the endpoint.
    errors : dict
        Reasons to status, code and text.
    limits : Limits
        How much may be asked.
    """

    name = "binance"
    prefixes: tuple[str, ...] = ()
    errors: dict[str, tuple[int, int, str]]
    trigger = "stopPrice"

    def __init__(
        self, ledger: Ledger, *, keys: Keys, clock: ExchangeClock, minutes: TradedMinutes, limits: Limits
    ) -> None:
        self.ledger = ledger
        self.keys = keys
        self.clock = clock
        self.minutes = minutes
        self.limits = limits
        self.routes: dict[str, Route] = {}

    def of_the_market(self, path: str) -> dict[str, Route]:
        """The endpoints that tell time, prices and candles."""
        return {
            f"GET {path}/ping": Route(operation="time", run=lambda _: {}, signed=False),
            f"GET {path}/time": Route(operation="time", run=self._time, signed=False),
            f"GET {path}/ticker/price": Route(operation="price", run=self._price, signed=False, weight=2),
            f"GET {path}/ticker/24hr": Route(
                operation="price", run=self._day, signed=False, required=("symbol",), weight=2
            ),
            f"GET {path}/klines": Route(operation="candles", run=self._candles, signed=False, weight=2),
        }

    def route(self, call: Call) -> Route | None:
        """The endpoint of a request."""
        return self.routes.get(f"{call.method} {call.path}")

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
        return "stop" if route.operation == "place" and self.trigger in params else route.operation

    def subject(self, params: Params) -> tuple[str, str]:
        """The symbol and the client id that a request names."""
        return params.get("symbol", ""), next((params[name] for name in _IDS if name in params), "")

    def refused(self, error: RefusedError) -> Answer:
        """A refusal in Binance's words."""
        return answer_of(error, self.errors)

    def headers(self) -> dict[str, str]:
        """How much was used."""
        return {
            "x-mbx-used-weight-1m": str(self.limits.used),
            "x-mbx-order-count-10s": str(self.limits.orders_in(self.clock.wall(), 10_000)),
        }

    def about(self) -> dict[str, Any]:
        """What ``exchangeInfo`` tells beside the markets."""
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
        }

    def _time(self, _: Params) -> dict[str, Any]:
        return {"serverTime": self.clock.wall()}

    def _price(self, params: Params) -> Any:
        prices = self.ledger.book.prices
        if "symbol" in params:
            self.ledger.book.market(params["symbol"])
            return {"symbol": params["symbol"], "price": plain(prices.get(params["symbol"]))}
        return [{"symbol": symbol, "price": plain(price)} for symbol, price in prices.items()]

    def _day(self, params: Params) -> dict[str, Any]:
        self.ledger.book.market(params["symbol"])
        last, now = plain(self.ledger.book.last(params["symbol"])), self.clock.now()
        names = ("lastPrice", "bidPrice", "askPrice", "openPrice", "highPrice", "lowPrice", "weightedAvgPrice")
        none = dict.fromkeys(("priceChange", "priceChangePercent", "volume", "quoteVolume"), "0")
        return {"symbol": params["symbol"], **dict.fromkeys(names, last), **none, "closeTime": now, "count": 1}

    def _candles(self, params: Params) -> Any:
        need(params, "symbol", "interval")
        self.ledger.book.market(params["symbol"])
        return self.minutes.klines(params, self.clock.now())

    # --- orders -------------------------------------------------------------------------------------------------

    def find(
        self, params: Params, names: tuple[str, str] = ("orderId", "origClientOrderId"), *, stop: bool | None = None
    ) -> Order:
        """The order that a request names, by the exchange's number or the client's id.

        Raises
        ------
        RefusedError
            When it names none, or one that nobody knows.
        """
        number_name, id_name = names
        if number_name not in params and id_name not in params:
            raise RefusedError("missing", name=id_name)
        asked = whole(params, number_name) if number_name in params else None
        symbol, client_id = params.get("symbol", ""), params.get(id_name, "")
        return self.ledger.find(symbol, number=asked, client_id=client_id, stop=stop)

    def find_to_cancel(self, params: Params, names: tuple[str, str], *, stop: bool | None = None) -> Order:
        """As :meth:`find`; one that nobody knows is one that cannot be cancelled."""
        try:
            return self.find(params, names, stop=stop)
        except RefusedError as refused:
            raise RefusedError("not_open" if refused.reason == "no_order" else refused.reason) from None

    def orders_asked(self, params: Params, *, stop: bool | None = None, first: str = "orderId") -> list[Order]:
        """The page of orders that a request asks for: from a time or a number on, else the newest."""
        since, until = whole(params, "startTime", 0), whole(params, "endTime", 1 << 62)
        number, limit = whole(params, first, 0), whole(params, "limit", 500)
        found = [each for each in self.ledger.known(params["symbol"], stop=stop) if since <= each.created <= until]
        found = [each for each in found if each.number >= number]
        return found[:limit] if since or number else found[-limit:]

    def fills_asked(self, params: Params) -> list[tuple[Any, Order]]:
        """The page of fills that a request asks for, each with its order."""
        book = self.ledger.book
        since, until = whole(params, "startTime", 0), whole(params, "endTime", 1 << 62)
        number, limit, of = whole(params, "fromId", 0), whole(params, "limit", 500), whole(params, "orderId", 0)
        found = [
            (fill, book.orders[fill.order])
            for fill in book.fills
            if fill.symbol == params["symbol"]
            and since <= fill.at <= until
            and fill.number >= number
            and of in (0, fill.order)
            and book.now() >= book.orders[fill.order].hidden_until
        ]
        return found[:limit] if since or number else found[-limit:]
