"""Binance's USD-M perpetuals: stops at a place of their own, and what a triggered one became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket
from ..domain.broker_orders_and_ids import Order, Report, ReportStatus
from ..domain.quantity_step_and_least_amount import EXACT
from ..errors import BrokerError
from .binance_errors import usdm_verdict
from .binance_profile import STATUSES, BinanceProfile, fees_of, golden, id_of, number_of, steps_and_limits
from .exchange_profile import Answer, GoldenRequest, Request, SwapSettings, Trade, Verdict, decimal_text

_STOP_STATUSES: Final[Mapping[str, ReportStatus]] = {
    "NEW": "accepted",
    "TRIGGERING": "triggered",
    "TRIGGERED": "triggered",
    "FINISHED": "cancelled",  # without an order that it became
    "CANCELED": "cancelled",
    "EXPIRED": "cancelled",
    "REJECTED": "rejected",
}
_TYPES: Final = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP_MARKET", "target": "TAKE_PROFIT_MARKET"}
_WEEK_MS: Final = 7 * 86_400_000  # of trades in one answer
_OLDEST_TRADES_MS: Final = 26 * _WEEK_MS


class BinanceUsdm(BinanceProfile):
    """The profile of Binance's USD-M perpetuals; see :class:`bknb.brokers.exchange_profile.SwapProfile`."""

    market = "swap"
    client = "binanceusdm"
    addresses = ("fapiPrivate", "fapiPrivateV3")
    stops_apart = True
    abilities = Abilities(stop="market", move="both", targets=True, knows_hours=72.0, late_seconds=5.0)
    options: Mapping[str, Any] = {
        "recvWindow": 5000,
        "fetchCurrencies": False,
        "fetchMargins": False,
        "fetchMarkets": {"types": ["linear"]},
    }

    def verdict(self, request: Request, error: Answer) -> Verdict:
        """What an error says of its request; whatever is not known may have been carried out."""
        return usdm_verdict(request, error)

    def time(self) -> Request:
        """Ask for the time."""
        return Request("fapipublic_get_time", {})

    # --- markets

    def market_rules(self, symbol: str) -> Request:
        """Ask for the rules of all markets.

        Raises
        ------
        BrokerError
            With ``refused=True``: it is not the name of a perpetual in USDT or USDC.
        """
        if "/" in symbol and ":" not in symbol:
            swap = f"{symbol}:{symbol.partition('/')[2]}"
            text = f"{symbol} is a spot market, and binance swap trades swaps, such as {swap}"
            raise BrokerError(text, refused=True)
        return Request("fapipublic_get_exchangeinfo", {})

    def market_of(self, symbol: str, answer: Any) -> BrokerMarket | None:
        """The rules of a market; ``None``: there is no perpetual of that name."""
        name, settled = id_of(symbol), symbol.partition(":")[2].upper()
        found = next((each for each in answer["symbols"] if each["symbol"] == name), None)
        if found is None or found["contractType"] != "PERPETUAL" or settled not in ("", found["marginAsset"]):
            return None
        rules = {rule["filterType"]: rule for rule in found["filters"]}
        stops = rules.get("MAX_NUM_ALGO_ORDERS", {}).get("limit")
        return BrokerMarket(
            symbol=symbol,
            id=name,
            base=found["baseAsset"],
            quote=found["quoteAsset"],
            **steps_and_limits(rules),
            least_value=number_of(rules.get("MIN_NOTIONAL", {}), "notional", 0.0),
            fee_in="quote",
            margin_modes=("isolated",),
            most_stops=None if stops is None else int(stops),
        )

    def price(self, market: BrokerMarket) -> Request:
        """Ask for the last price."""
        return Request("fapipublic_get_ticker_price", {"symbol": market.id})

    # --- orders

    def place(self, order: Order, market: BrokerMarket) -> Request:
        """Place an order; what closes or protects may only reduce, by its quantity."""
        params = {
            "symbol": market.id,
            "side": order.side.upper(),
            "type": _TYPES[order.kind],
            "quantity": decimal_text(order.quantity),
        }
        if order.kind == "limit" and order.price is not None:
            params |= {"price": decimal_text(order.price), "timeInForce": "GTC"}
        if order.reduces_only:
            params["reduceOnly"] = "true"
        if order.trigger is None:
            params |= {"newClientOrderId": order.client_id, "newOrderRespType": "RESULT"}
            return Request("fapiprivate_post_order", params)
        params |= {
            "algoType": "CONDITIONAL",
            "triggerPrice": decimal_text(order.trigger),
            "workingType": "CONTRACT_PRICE",
            "clientAlgoId": order.client_id,
        }
        return Request("fapiprivate_post_algoorder", params)

    def placed(self, market: BrokerMarket, answer: Any) -> tuple[Report, list[Trade]] | None:
        """What the answer to placing an order says of it."""
        return self.report_of(market, answer), []

    def cancel(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:
        """Cancel an order."""
        if stop:
            return Request("fapiprivate_delete_algoorder", {"symbol": market.id, "clientAlgoId": client_id})
        return Request("fapiprivate_delete_order", {"symbol": market.id, "origClientOrderId": client_id})

    def ask(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:
        """Ask about an order."""
        if stop:
            return Request("fapiprivate_get_algoorder", {"symbol": market.id, "clientAlgoId": client_id})
        return Request("fapiprivate_get_order", {"symbol": market.id, "origClientOrderId": client_id})

    def ask_by_broker_id(self, broker_id: str, market: BrokerMarket) -> Request:
        """Ask about an order by the exchange's own name for it."""
        return Request("fapiprivate_get_order", {"symbol": market.id, "orderId": broker_id})

    def report_of(self, market: BrokerMarket, answer: Any) -> Report:
        """The state of an order; what is filled of it counts more than what its status says.

        Of a stop that was triggered it is told by the order that it became, also where it is finished: that word is the
        same for one that was filled and one that was cancelled.
        """
        if "algoId" in answer:
            return _report_of_stop(market, answer)
        ordered, filled = float(answer["origQty"]), float(answer["executedQty"])
        status = STATUSES[answer["status"]]
        if status == "filled" and filled < ordered * (1 - EXACT):
            status = "cancelled"
        return Report(
            client_id=str(answer["clientOrderId"]),
            symbol=market.symbol,
            status=status,
            filled_quantity=filled,
            average_price=float(answer["avgPrice"]) if filled else None,
            broker_id=str(answer["orderId"]),
            note="" if status in ("accepted", "partly_filled", "filled") else str(answer["status"]).lower(),
        )

    def open_orders(self, market: BrokerMarket) -> Sequence[Request]:
        """Ask for the orders that work, and for the stops."""
        symbol = {"symbol": market.id}
        return Request("fapiprivate_get_openorders", symbol), Request("fapiprivate_get_openalgoorders", symbol)

    def reports_of(self, market: BrokerMarket, answer: Any) -> list[Report]:
        """The orders that work."""
        return [self.report_of(market, each) for each in answer]

    def trades(self, market: BrokerMarket, *, since: int | None, broker_id: str = "") -> Request:
        """Ask for trades, of one order or from a moment on (UTC ms), a thousand of one week at most."""
        params = {"symbol": market.id, "limit": str(self.most_trades)}
        if broker_id:
            params["orderId"] = broker_id
        elif since is not None:
            params["startTime"] = str(since)
        return Request("fapiprivate_get_usertrades", params)

    def trades_of(self, market: BrokerMarket, answer: Any) -> list[Trade]:  # noqa: ARG002 -- of every profile
        """The trades of an answer."""
        return [
            Trade(
                broker_id=str(each["orderId"]), side="buy" if each["side"] == "BUY" else "sell",
                quantity=float(each["qty"]), price=float(each["price"]), at=int(each["time"]),
                trade_id=str(each["id"]), fees=fees_of(each),
            )
            for each in answer
        ]  # fmt: skip

    def more_trades(self, market: BrokerMarket, asked: Request, *, page: Sequence[Trade], now: int) -> Request | None:
        """Ask for the trades behind a full page, else for those of the next week."""
        if len(page) >= self.most_trades:
            return self.trades(market, since=max(trade.at for trade in page))
        next_week = max(int(asked.params["startTime"]), now - _OLDEST_TRADES_MS) + _WEEK_MS
        return self.trades(market, since=next_week) if next_week <= now else None

    def children(self, market: BrokerMarket, since: int) -> Request | None:
        """Ask which stops became which orders."""
        return Request("fapiprivate_get_allalgoorders", {"symbol": market.id, "startTime": str(since), "limit": "1000"})

    def children_of(self, answer: Any) -> dict[str, str]:
        """The client ids of stops by the exchange's name of what they became."""
        return {str(each["actualOrderId"]): str(each["clientAlgoId"]) for each in answer if each.get("actualOrderId")}

    # --- the account

    def balance(self) -> Request:
        """Ask what the account has."""
        return Request("fapiprivatev3_get_account", {})

    def balance_of(self, answer: Any) -> dict[str, Balance]:
        """What the account has, without what open positions would bring; margin is locked."""
        found = {}
        for each in answer["assets"]:
            wallet = float(each["walletBalance"])
            free = min(max(float(each["availableBalance"]), 0.0), max(wallet, 0.0))
            found[str(each["asset"])] = Balance(free=free, locked=wallet - free)
        return {code: balance for code, balance in found.items() if balance.total}

    def account(self) -> Request | None:
        """Ask for the modes of the account."""
        return Request("fapiprivate_get_accountconfig", {})

    def unfit(self, answer: Any) -> str:
        """Why nothing can be opened with an account that is set up like that; empty: it can."""
        if answer["dualSidePosition"]:
            return "it is in hedge mode: set the position mode to one-way at the exchange"
        if answer["multiAssetsMargin"]:
            return "it is in multi-assets mode: set the asset mode to single-asset at the exchange"
        return "" if answer["canTrade"] else "it may not trade"

    def positions(self) -> Request:
        """Ask for all positions."""
        return Request("fapiprivatev3_get_positionrisk", {})

    def positions_of(self, markets: Sequence[BrokerMarket], answer: Any) -> list[AccountPosition]:
        """The positions of an answer; those of markets that nobody asked about have the exchange's names."""
        names = {market.id: market.symbol for market in markets}
        return [
            AccountPosition(
                symbol=names.get(each["symbol"], each["symbol"]),
                quantity=float(each["positionAmt"]),
                average_price=float(each["entryPrice"]) or None,
                liquidation_price=float(each["liquidationPrice"]) or None,
            )
            for each in answer
            if float(each["positionAmt"])
        ]

    def settings(self, market: BrokerMarket) -> Request:
        """Ask how positions in a swap are kept."""
        return Request("fapiprivate_get_symbolconfig", {"symbol": market.id})

    def settings_of(self, market: BrokerMarket, answer: Any) -> SwapSettings:
        """How they are kept."""
        (found,) = (each for each in answer if each["symbol"] == market.id)
        return SwapSettings("isolated" if found["marginType"] == "ISOLATED" else "cross", float(found["leverage"]))

    def set_up(self, market: BrokerMarket, *, found: SwapSettings, leverage: float) -> Sequence[Request]:
        """Have them kept with isolated margin and a leverage."""
        wanted = []
        if found.margin != "isolated":
            params = {"symbol": market.id, "marginType": "ISOLATED"}
            wanted.append(Request("fapiprivate_post_margintype", params))
        if found.leverage != leverage:
            params = {"symbol": market.id, "leverage": decimal_text(leverage)}
            wanted.append(Request("fapiprivate_post_leverage", params))
        return wanted

    def maintenance(self, market: BrokerMarket) -> Request:
        """Ask at which margin a position is liquidated."""
        return Request("fapiprivate_get_leveragebracket", {"symbol": market.id})

    def maintenance_of(self, market: BrokerMarket, quantity: float, price: float, answer: Any) -> float:
        """The maintenance margin of a position (base and quote currency), in percent of its value."""
        (found,) = (each for each in answer if each["symbol"] == market.id)
        brackets = [each for each in found["brackets"] if float(each["notionalFloor"]) <= quantity * price]
        return max(float(each["maintMarginRatio"]) for each in brackets) * 100

    @property
    def golden(self) -> tuple[GoldenRequest, ...]:
        """Requests as they have to leave."""
        return _GOLDEN


def _report_of_stop(market: BrokerMarket, answer: Any) -> Report:
    child = str(answer.get("actualOrderId") or "")
    status: ReportStatus = "triggered" if child else _STOP_STATUSES[answer["algoStatus"]]
    return Report(
        client_id=str(answer["clientAlgoId"]),
        symbol=market.symbol,
        status=status,
        broker_id=str(answer["algoId"]),
        note="" if status in ("accepted", "triggered") else str(answer["algoStatus"]).lower(),
        trigger=float(answer["triggerPrice"]),
        child=child,
    )


_ID: Final = "bksmacroqb3bfoc37f4rwlk4fv5dmg"
_SYMBOL: Final = {"symbol": "BTCUSDT"}
_SIZED: Final = {**_SYMBOL, "side": "SELL", "quantity": "0.019"}
_PLAIN: Final = {**_SIZED, "newClientOrderId": _ID, "newOrderRespType": "RESULT"}
_REDUCED: Final = {**_PLAIN, "type": "MARKET", "reduceOnly": "true"}
_LIMIT: Final = {**_PLAIN, "type": "LIMIT", "price": "71000", "timeInForce": "GTC"}
_CONDITIONAL: Final = {
    **_SIZED, "reduceOnly": "true", "algoType": "CONDITIONAL", "workingType": "CONTRACT_PRICE", "clientAlgoId": _ID,
}  # fmt: skip
_STOP: Final = {**_CONDITIONAL, "type": "STOP_MARKET", "triggerPrice": "58000.1"}
_TARGET: Final = {**_CONDITIONAL, "type": "TAKE_PROFIT_MARKET", "triggerPrice": "71000"}
_ASKED: Final = {**_SYMBOL, "origClientOrderId": _ID}
_ASKED_STOP: Final = {**_SYMBOL, "clientAlgoId": _ID}
_PAGE: Final = {**_SYMBOL, "startTime": "1700000000000", "limit": "1000"}

_GOLDEN: Final = (
    golden("fapipublic_get_ticker_price", "GET", "/fapi/v1/ticker/price", {"symbol": "BTCUSDT"}, signed=False),
    golden("fapiprivate_post_order", "POST", "/fapi/v1/order", {**_PLAIN, "type": "MARKET"}),
    golden("fapiprivate_post_order", "POST", "/fapi/v1/order", _REDUCED),
    golden("fapiprivate_post_order", "POST", "/fapi/v1/order", _LIMIT),
    golden("fapiprivate_post_algoorder", "POST", "/fapi/v1/algoOrder", _STOP),
    golden("fapiprivate_post_algoorder", "POST", "/fapi/v1/algoOrder", _TARGET),
    golden("fapiprivate_delete_order", "DELETE", "/fapi/v1/order", _ASKED),
    golden("fapiprivate_delete_algoorder", "DELETE", "/fapi/v1/algoOrder", _ASKED_STOP),
    golden("fapiprivate_get_order", "GET", "/fapi/v1/order", _ASKED),
    golden("fapiprivate_get_order", "GET", "/fapi/v1/order", {**_SYMBOL, "orderId": "28"}),
    golden("fapiprivate_get_algoorder", "GET", "/fapi/v1/algoOrder", _ASKED_STOP),
    golden("fapiprivate_get_openorders", "GET", "/fapi/v1/openOrders", _SYMBOL),
    golden("fapiprivate_get_openalgoorders", "GET", "/fapi/v1/openAlgoOrders", _SYMBOL),
    golden("fapiprivate_get_allalgoorders", "GET", "/fapi/v1/allAlgoOrders", _PAGE),
    golden("fapiprivate_get_usertrades", "GET", "/fapi/v1/userTrades", _PAGE),
    golden("fapiprivatev3_get_account", "GET", "/fapi/v3/account", {}),
    golden("fapiprivatev3_get_positionrisk", "GET", "/fapi/v3/positionRisk", {}),
    golden("fapiprivate_get_accountconfig", "GET", "/fapi/v1/accountConfig", {}),
    golden("fapiprivate_get_symbolconfig", "GET", "/fapi/v1/symbolConfig", _SYMBOL),
    golden("fapiprivate_get_leveragebracket", "GET", "/fapi/v1/leverageBracket", _SYMBOL),
    golden("fapiprivate_post_leverage", "POST", "/fapi/v1/leverage", {**_SYMBOL, "leverage": "3"}),
    golden("fapiprivate_post_margintype", "POST", "/fapi/v1/marginType", {**_SYMBOL, "marginType": "ISOLATED"}),
    golden("fapipublic_get_time", "GET", "/fapi/v1/time", {}, signed=False),
    golden("fapipublic_get_exchangeinfo", "GET", "/fapi/v1/exchangeInfo", {}, signed=False),
)
