"""Binance spot: its requests and its answers; what its errors mean is in :mod:`bknb.brokers.binance_errors`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..domain.broker_account import Abilities, Balance, BrokerMarket, Side
from ..domain.broker_orders_and_ids import Order, Report, ReportStatus
from ..domain.quantity_step_and_least_amount import EXACT
from ..errors import BrokerError
from .binance_errors import spot_verdict
from .binance_profile import STATUSES, BinanceProfile, fees_of, golden, id_of, number_of, steps_and_limits
from .exchange_profile import Answer, GoldenRequest, Request, Trade, Verdict, decimal_text

_STATUSES: Final[Mapping[str, ReportStatus]] = {
    **STATUSES,
    "PENDING_NEW": "accepted",
    "PENDING_CANCEL": "accepted",
}
_TYPES: Final = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP_LOSS", "target": "TAKE_PROFIT"}

_WHERE_UNFILLED: Final = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelRestrictions": "ONLY_NEW"}


class BinanceSpot(BinanceProfile):
    """The profile of Binance spot; see :class:`bknb.brokers.exchange_profile.Profile`."""

    market = "spot"
    client = "binance"
    addresses = ("private",)
    abilities = Abilities(
        stop="market", move="replace", locks=True, knows_hours=90 * 24.0, late_seconds=5.0
    )  # fmt: skip
    options: Mapping[str, Any] = {
        "recvWindow": 5000,
        "fetchCurrencies": False,
        "fetchMargins": False,
        "fetchMarkets": {"types": ["spot"]},
    }

    def verdict(self, request: Request, error: Answer) -> Verdict:
        """What an error says of its request; whatever is not known may have been carried out."""
        return spot_verdict(request, error)

    def time(self) -> Request:
        """Ask for the time."""
        return Request("public_get_time", {})

    # --- markets

    def market_rules(self, symbol: str) -> Request:
        """Ask for the rules of a market.

        Raises
        ------
        BrokerError
            With ``refused=True``: it is a swap.
        """
        if ":" in symbol:
            spot = symbol.partition(":")[0]
            raise BrokerError(f"{symbol} is a swap, and binance spot trades spot, such as {spot}", refused=True)
        return Request("public_get_exchangeinfo", {"symbol": id_of(symbol)})

    def market_of(self, symbol: str, answer: Any) -> BrokerMarket:
        """The rules of a market."""
        (found,) = answer["symbols"]
        rules = {rule["filterType"]: rule for rule in found["filters"]}
        value = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL") or {}
        band = rules.get("PERCENT_PRICE_BY_SIDE", {})
        stops = rules.get("MAX_NUM_ALGO_ORDERS", {}).get("maxNumAlgoOrders")
        if "STOP_LOSS" not in found["orderTypes"]:
            stops = 0
        return BrokerMarket(
            symbol=symbol,
            id=found["symbol"],
            base=found["baseAsset"],
            quote=found["quoteAsset"],
            **steps_and_limits(rules),
            least_value=number_of(value, "minNotional", 0.0),
            fee_in="base",
            lowest_trigger=number_of(band, "askMultiplierDown", 0.0),
            highest_trigger=number_of(band, "bidMultiplierUp", math.inf),
            most_stops=None if stops is None else int(stops),
        )

    def price(self, market: BrokerMarket) -> Request:
        """Ask for the last price."""
        return Request("public_get_ticker_price", {"symbol": market.id})

    # --- orders

    def place(self, order: Order, market: BrokerMarket) -> Request:
        """Place an order."""
        params = {
            "symbol": market.id,
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

    def move(self, order: Order, market: BrokerMarket) -> Request:
        """Have an order take the place of a stop: placed only where that one was cancelled, all of it unfilled."""
        more = {**_WHERE_UNFILLED, "cancelOrigClientOrderId": order.replaces}
        return Request("private_post_order_cancelreplace", {**self.place(order, market).params, **more})

    def cancel(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:  # noqa: ARG002 -- of every profile
        """Cancel an order."""
        return Request("private_delete_order", {"symbol": market.id, "origClientOrderId": client_id})

    def ask(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:  # noqa: ARG002 -- of every profile
        """Ask about an order."""
        return Request("private_get_order", {"symbol": market.id, "origClientOrderId": client_id})

    def ask_by_broker_id(self, broker_id: str, market: BrokerMarket) -> Request:
        """Ask about an order by the exchange's own name for it."""
        return Request("private_get_order", {"symbol": market.id, "orderId": broker_id})

    def report_of(self, market: BrokerMarket, answer: Any) -> Report:
        """The state of an order; what is filled of it counts more than what its status says."""
        answer = _placed_of(answer)
        ordered, filled = float(answer["origQty"]), float(answer["executedQty"])
        status = _STATUSES[answer["status"]]
        if status == "filled" and filled < ordered * (1 - EXACT):
            status = "cancelled"
        value = float(answer["cummulativeQuoteQty"])
        return Report(
            client_id=str(answer.get("origClientOrderId") or answer["clientOrderId"]),
            symbol=market.symbol,
            status=status,
            filled_quantity=filled,
            average_price=value / filled if filled else None,
            broker_id=str(answer["orderId"]),
            note="" if status in ("accepted", "partly_filled", "filled") else str(answer["status"]).lower(),
            trigger=float(answer.get("stopPrice") or 0.0) or None,
        )

    def placed(self, market: BrokerMarket, answer: Any) -> tuple[Report, list[Trade]] | None:
        """What the answer to placing an order says of it, with its trades."""
        report, answer = self.report_of(market, answer), _placed_of(answer)
        side: Side = "buy" if answer.get("side") == "BUY" else "sell"
        trades = [
            Trade(
                broker_id=str(answer["orderId"]), side=side, quantity=float(each["qty"]), price=float(each["price"]),
                at=int(answer["transactTime"]), trade_id=str(each["tradeId"]), fees=fees_of(each),
            )
            for each in answer.get("fills") or ()
        ]  # fmt: skip
        return report, trades

    def open_orders(self, market: BrokerMarket) -> Sequence[Request]:
        """Ask for the orders that work, stops among them."""
        return (Request("private_get_openorders", {"symbol": market.id}),)

    def reports_of(self, market: BrokerMarket, answer: Any) -> list[Report]:
        """The orders that work."""
        return [self.report_of(market, each) for each in answer]

    def trades(self, market: BrokerMarket, *, since: int | None, broker_id: str = "") -> Request:
        """Ask for trades, of one order or from a moment on (UTC ms), a thousand at most."""
        params = {"symbol": market.id, "limit": "1000"}
        if broker_id:
            params["orderId"] = broker_id
        elif since is not None:
            params["startTime"] = str(since)
        return Request("private_get_mytrades", params)

    def trades_of(self, market: BrokerMarket, answer: Any) -> list[Trade]:  # noqa: ARG002 -- of every profile
        """The trades of an answer."""
        return [
            Trade(
                broker_id=str(each["orderId"]), side="buy" if each["isBuyer"] else "sell", quantity=float(each["qty"]),
                price=float(each["price"]), at=int(each["time"]), trade_id=str(each["id"]), fees=fees_of(each),
            )
            for each in answer
        ]  # fmt: skip

    def more_trades(
        self,
        market: BrokerMarket,
        asked: Request,  # noqa: ARG002 -- of every profile
        *,
        page: Sequence[Trade],
        now: int,  # noqa: ARG002 -- of every profile
    ) -> Request | None:
        """Ask for the trades from a moment on that were not in the last answer; ``None``: there are no more."""
        if len(page) < self.most_trades:
            return None
        return self.trades(market, since=max(trade.at for trade in page))

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


def _placed_of(answer: Any) -> Any:
    """The order in an answer; in that to a replacement, the new one."""
    return answer.get("newOrderResponse") or answer if isinstance(answer, dict) else answer


_ID: Final = "bksmacroqb3bfoc37f4rwlk4fv5dmg"
_PLACED: Final = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.00199", "newClientOrderId": _ID}
_FULL: Final = {"newOrderRespType": "FULL"}
_ASKED: Final = {"symbol": "BTCUSDT", "origClientOrderId": _ID}
_STOP: Final = {**_PLACED, **_FULL, "type": "STOP_LOSS", "stopPrice": "58000.01"}
_TARGET: Final = {**_PLACED, **_FULL, "type": "TAKE_PROFIT", "stopPrice": "71000"}
_MARKET: Final = {**_PLACED, **_FULL, "type": "MARKET"}
_INSTEAD: Final = {**_WHERE_UNFILLED, "cancelOrigClientOrderId": "bksmacroqb3bfpqx3ykz7ftwzs3zq4"}
_LIMIT: Final = {**_PLACED, **_FULL, "type": "LIMIT", "price": "71000", "timeInForce": "GTC"}
_GOLDEN: Final = (
    golden("public_get_ticker_price", "GET", "/api/v3/ticker/price", {"symbol": "BTCUSDT"}, signed=False),
    golden("private_post_order", "POST", "/api/v3/order", _MARKET),
    golden("private_post_order", "POST", "/api/v3/order", _LIMIT),
    golden("private_post_order", "POST", "/api/v3/order", _STOP),
    golden("private_post_order", "POST", "/api/v3/order", _TARGET),
    golden("private_post_order_cancelreplace", "POST", "/api/v3/order/cancelReplace", {**_STOP, **_INSTEAD}),
    golden("private_post_order_cancelreplace", "POST", "/api/v3/order/cancelReplace", {**_MARKET, **_INSTEAD}),
    golden("private_delete_order", "DELETE", "/api/v3/order", _ASKED),
    golden("private_get_order", "GET", "/api/v3/order", _ASKED),
    golden("private_get_order", "GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": "28"}),
    golden("private_get_openorders", "GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}),
    golden("private_get_mytrades", "GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "limit": "1000", "orderId": "28"}),
    golden("private_get_account", "GET", "/api/v3/account", {"omitZeroBalances": "true"}),
    golden("public_get_time", "GET", "/api/v3/time", {}, signed=False),
    golden("public_get_exchangeinfo", "GET", "/api/v3/exchangeInfo", {"symbol": "BTCUSDT"}, signed=False),
)
