"""OKX: numbers as text, contracts, errors in answers with status 200, stops that are amended; and its spot market."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from ..domain.broker_account import Abilities, Balance, BrokerMarket, Fee, Side, added_up
from ..domain.broker_orders_and_ids import Order, Report, ReportStatus
from ..domain.quantity_step_and_least_amount import EXACT
from ..errors import BrokerError
from .exchange_profile import (
    Answer,
    GoldenRequest,
    ProfileDefaults,
    Request,
    Trade,
    Verdict,
    decimal_text,
    in_base,
    in_contracts,
)
from .okx_errors import error_in, verdict_of
from .okx_golden_requests import golden_of

_STATUSES: Final[Mapping[str, ReportStatus]] = {
    "live": "accepted",
    "partially_filled": "partly_filled",
    "filled": "filled",
    "canceled": "cancelled",
    "mmp_canceled": "cancelled",
}
_STOP_STATUSES: Final[Mapping[str, ReportStatus]] = {
    "live": "accepted",
    "pause": "accepted",
    "partially_effective": "triggered",
    "effective": "triggered",
    "canceled": "cancelled",
    "order_failed": "rejected",  # it was triggered, and what it became was not placed
    "partially_failed": "rejected",
}
_LEAST_WAIT_MS: Final = 2_000  # limits are for two seconds
_BY_EXCHANGE: Final = {
    "full_liquidation": "autoclose-",
    "partial_liquidation": "autoclose-",
    "adl": "adl_autoclose",
    "delivery": "settlement_autoclose-",
}
_LEG: Final = {"stop": "sl", "target": "tp"}


class Okx(ProfileDefaults):
    """What OKX has the same for spot and for swaps; see :class:`bknb.brokers.exchange_profile.Profile`."""

    exchange = "okx"
    market: str
    client = "okx"
    ids = r"[A-Za-z0-9]{1,32}"
    stops_apart = True
    most_trades = 100
    abilities = Abilities(stop="market", move="amend", knows_hours=2.0, late_seconds=30.0)
    options: Mapping[str, Any] = {}
    kind: str
    margin: str

    @property
    def golden(self) -> tuple[GoldenRequest, ...]:
        """Requests as they have to leave."""
        return golden_of(self.kind)

    def real_address(self, client: Any) -> str:
        """The address at which orders of a client are worth real money; empty: there is none."""
        address = str(client.implode_hostname(str(client.urls["api"]["rest"])))
        own = (urlsplit(address).hostname or "").endswith((".okx.com", ".okx.cab", ".okx.us"))
        return address if own and client.headers.get("x-simulated-trading") != "1" else ""

    def demo(self, client: Any, *, own_urls: bool) -> None:  # noqa: ARG002 -- the same address, with another header
        """Turn a client to demo trading, wherever it leads."""
        client.headers = {**client.headers, "x-simulated-trading": "1"}

    # --- errors, clock, key

    def is_error(self, status: int, answer: object) -> bool:
        """Whether an answer is none to what was asked."""
        return status >= 400 or not isinstance(answer, dict) or str(answer.get("code")) != "0"

    def error_of(self, status: int, headers: Mapping[str, str], body: str, answer: object) -> Answer:  # noqa: ARG002 -- of every profile
        """An answer that is an error; of one order that was refused its own code."""
        code, text = error_in(answer)
        return Answer(status, code, text or body[:200])

    def verdict(self, request: Request, error: Answer) -> Verdict:
        """What an error says of its request; whatever is not known may have been carried out."""
        return verdict_of(request, error)

    def wait_until(self, error: Answer, now: int) -> int:  # noqa: ARG002 -- of every profile
        """Up to when (UTC ms) nothing may be asked after an error that says so."""
        return now + _LEAST_WAIT_MS

    def time(self) -> Request:
        """Ask for the time."""
        return Request("public_get_public_time", {})

    def time_of(self, answer: Any) -> int:
        """The time of an answer, UTC ms."""
        return int(answer["data"][0]["ts"])

    def may_withdraw(self) -> Request:
        """Ask what the key is allowed to do."""
        return Request("private_get_account_config", {})

    def may_withdraw_of(self, answer: Any) -> bool:
        """Whether the key may withdraw."""
        return "withdraw" in str(answer["data"][0]["perm"]).split(",")

    # --- markets

    def market_rules(self, symbol: str) -> Request:
        """Ask for the rules of all markets of the kind.

        Raises
        ------
        BrokerError
            With ``refused=True``: it is the name of another kind of market.
        """
        pair, _, settled = symbol.partition(":")
        if settled and self.market == "spot":
            raise BrokerError(f"{symbol} is a swap, and okx spot trades spot, such as {pair}", refused=True)
        if not settled and "/" in symbol and self.market == "swap":
            swap = f"{pair}:{pair.partition('/')[2]}"
            raise BrokerError(f"{symbol} is a spot market, and okx swap trades swaps, such as {swap}", refused=True)
        return Request("public_get_public_instruments", {"instType": self.kind})

    def market_of(self, symbol: str, answer: Any) -> BrokerMarket | None:
        """The rules of a market; ``None``: there is none of that name."""
        found = next((each for each in answer["data"] if self._is_called(each, symbol)), None)
        if found is None:
            return None
        base, quote = str(found["instId"]).split("-")[:2]
        market = BrokerMarket(
            symbol=symbol,
            id=str(found["instId"]),
            base=base,
            quote=quote,
            tick=float(found["tickSz"]),
            contract_size=float(found["ctVal"]) if self.market == "swap" else 1.0,
        )
        return _with_sizes(market, found, swap=self.market == "swap")

    def _is_called(self, instrument: Mapping[str, Any], symbol: str) -> bool:
        pair, _, settled = symbol.upper().replace("/", "").partition(":")
        if self.market == "swap" and (instrument["ctType"] != "linear" or settled not in ("", instrument["settleCcy"])):
            return False
        name = str(instrument["instId"])
        return symbol.upper() == name or pair == "".join(name.split("-")[:2])

    def price(self, market: BrokerMarket) -> Request:
        """Ask for the last price."""
        return Request("public_get_market_ticker", {"instId": market.id})

    def price_of(self, answer: Any) -> float:
        """The last price, in quote currency."""
        return float(answer["data"][0]["last"])

    # --- orders

    def place(self, order: Order, market: BrokerMarket) -> Request:
        """Place an order; in a swap what closes or protects may only reduce, by its quantity."""
        params: dict[str, str | bool] = {
            "instId": market.id,
            "tdMode": self.margin,
            "side": order.side,
            "sz": in_contracts(order.quantity, market),
            "clOrdId": order.client_id,
        }
        if self.market == "swap" and order.reduces_only:
            params["reduceOnly"] = True
        if self.market == "spot" and order.kind != "limit":
            params["tgtCcy"] = "base_ccy"
        if order.trigger is None:
            params |= {"ordType": order.kind}
            if order.kind == "limit" and order.price is not None:
                params["px"] = decimal_text(order.price)
            return Request("private_post_trade_order", params)
        leg = _LEG[order.kind]
        params |= {
            "ordType": "conditional",
            "algoClOrdId": order.client_id,
            f"{leg}TriggerPx": decimal_text(order.trigger),
            f"{leg}TriggerPxType": "last",
            f"{leg}OrdPx": "-1",
        }
        return Request("private_post_trade_order_algo", params)

    def placed(self, market: BrokerMarket, answer: Any) -> tuple[Report, list[Trade]] | None:  # noqa: ARG002 -- of every profile
        """The answer to placing an order does not say what became of it: it has to be asked about."""
        return None

    def move(self, order: Order, market: BrokerMarket) -> Request:
        """Move a stop in place."""
        assert order.trigger is not None  # it is a stop  # noqa: S101
        leg = _LEG[order.kind]
        params = {
            "instId": market.id,
            "algoClOrdId": order.client_id,
            "newSz": in_contracts(order.quantity, market),
            f"new{leg.title()}TriggerPx": decimal_text(order.trigger),
            f"new{leg.title()}TriggerPxType": "last",
            f"new{leg.title()}OrdPx": "-1",
        }
        return Request("private_post_trade_amend_algos", params)

    def cancel(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:
        """Cancel an order."""
        if stop:
            params = {"instId": market.id, "algoClOrdId": client_id}
            return Request("private_post_trade_cancel_algos", params, in_list=True)
        return Request("private_post_trade_cancel_order", {"instId": market.id, "clOrdId": client_id})

    def ask(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:
        """Ask about an order."""
        if stop:
            return Request("private_get_trade_order_algo", {"algoClOrdId": client_id})
        return Request("private_get_trade_order", {"instId": market.id, "clOrdId": client_id})

    def ask_by_broker_id(self, broker_id: str, market: BrokerMarket) -> Request:
        """Ask about an order by the exchange's own name for it."""
        return Request("private_get_trade_order", {"instId": market.id, "ordId": broker_id})

    def report_of(self, market: BrokerMarket, answer: Any) -> Report:
        """The state of an order; what is filled of it counts more than what its status says.

        What a stop became bears the id of that stop.
        """
        (row,) = answer["data"]
        return self._report(market, row)

    def _report(self, market: BrokerMarket, row: Mapping[str, Any]) -> Report:
        if "algoId" in row and "slTriggerPx" in row and "accFillSz" not in row:
            return _report_of_stop(market, row)
        ordered, filled = in_base(row["sz"], market), in_base(row["accFillSz"], market)
        status = _STATUSES[row["state"]]
        if status == "filled" and filled < ordered * (1 - EXACT):
            status = "cancelled"
        return Report(
            client_id=str(row.get("algoClOrdId") or row["clOrdId"]) or _id_by_exchange(row),
            symbol=market.symbol,
            status=status,
            filled_quantity=filled,
            average_price=float(row["avgPx"]) if filled else None,
            broker_id=str(row["ordId"]),
            note="" if status in ("accepted", "partly_filled", "filled") else str(row["state"]),
            fees=added_up((_fee_of(row),)) if filled and row["feeCcy"] else (),
        )

    def open_orders(self, market: BrokerMarket) -> Sequence[Request]:
        """Ask for the orders that work, and for the stops."""
        params = {"instType": self.kind, "instId": market.id}
        return (
            Request("private_get_trade_orders_pending", params),
            Request("private_get_trade_orders_algo_pending", {**params, "ordType": "conditional"}),
            Request("private_get_trade_orders_algo_pending", {**params, "ordType": "oco"}),
        )

    def reports_of(self, market: BrokerMarket, answer: Any) -> list[Report]:
        """The orders that work."""
        return [self._report(market, each) for each in answer["data"]]

    def trades(self, market: BrokerMarket, *, since: int | None, broker_id: str = "") -> Request:
        """Ask for trades, of one order or from a moment on (UTC ms), the newest hundred."""
        params = {"instType": self.kind, "instId": market.id, "limit": str(self.most_trades)}
        if broker_id:
            params["ordId"] = broker_id
        elif since is not None:
            params["begin"] = str(since)
        return Request("private_get_trade_fills_history", params)

    def trades_of(self, market: BrokerMarket, answer: Any) -> list[Trade]:
        """The trades of an answer."""
        return [_trade_of(market, each) for each in answer["data"]]

    def more_trades(self, market: BrokerMarket, asked: Request, *, page: Sequence[Trade], now: int) -> Request | None:  # noqa: ARG002 -- of every profile
        """Ask for the trades before a full page."""
        if len(page) < self.most_trades:
            return None
        return asked._replace(params={**asked.params, "after": page[-1].row})

    # --- the account

    def balance(self) -> Request:
        """Ask what the account has."""
        return Request("private_get_account_balance", {})

    def balance_of(self, answer: Any) -> dict[str, Balance]:
        """What the account has; margin is locked."""
        found = {}
        for each in answer["data"][0]["details"]:
            total = float(each["cashBal"])
            free = min(max(float(each["availBal"] or 0.0), 0.0), max(total, 0.0))
            found[str(each["ccy"])] = Balance(free=free, locked=total - free)
        return {code: balance for code, balance in found.items() if balance.total}

    def account(self) -> Request | None:
        """Ask for the modes of the account."""
        return Request("private_get_account_config", {})

    def unfit(self, answer: Any) -> str:
        """Why nothing can be opened with an account that is set up like that; empty: it can."""
        (found,) = answer["data"]
        level, perm = str(found["acctLv"]), str(found["perm"]).split(",")
        if level in ("3", "4"):
            return "it is in multi-currency or portfolio margin mode: set the account mode to futures (single currency)"
        if self.market == "swap" and level == "1":
            return "it is in spot mode, which has no swaps: set the account mode to futures (single currency)"
        if self.market == "swap" and found["posMode"] != "net_mode":
            return "it is in hedge mode: set the position mode to net (one-way) at the exchange"
        return "" if "trade" in perm else "it may not trade"


class OkxSpot(Okx):
    """The profile of OKX spot."""

    market = "spot"
    kind = "SPOT"
    margin = "cash"


def _with_sizes(market: BrokerMarket, found: Mapping[str, Any], *, swap: bool) -> BrokerMarket:
    step = in_base(found["lotSz"], market)
    return BrokerMarket(
        symbol=market.symbol,
        id=market.id,
        base=market.base,
        quote=market.quote,
        tick=market.tick,
        step=step,
        market_step=step,
        least_quantity=in_base(found["minSz"], market),
        most_quantity=in_base(found["maxLmtSz"], market) or math.inf,
        most_market_quantity=(in_base(found["maxMktSz"], market) or math.inf) if swap else math.inf,
        contract_size=market.contract_size,
        fee_in="quote" if swap else "base",
        margin_modes=("isolated",) if swap else (),
    )


def _report_of_stop(market: BrokerMarket, row: Mapping[str, Any]) -> Report:
    status, child = _STOP_STATUSES[row["state"]], str(row.get("ordId") or "")
    trigger = row["slTriggerPx"] or row["tpTriggerPx"]
    failed = str(row.get("failCode") or "")
    return Report(
        client_id=str(row["algoClOrdId"]),
        symbol=market.symbol,
        status=status,
        broker_id=str(row["algoId"]),
        note="" if status in ("accepted", "triggered") else f"{row['state']} {failed}".strip(),
        child=child if status == "triggered" else "",
        trigger=float(trigger) if trigger else None,
    )


def _trade_of(market: BrokerMarket, row: Mapping[str, Any]) -> Trade:
    side: Side = "buy" if row["side"] == "buy" else "sell"
    return Trade(
        broker_id=str(row["ordId"]), side=side, quantity=in_base(row["fillSz"], market), price=float(row["fillPx"]),
        at=int(row["ts"]), trade_id=str(row["tradeId"]), fees=added_up((_fee_of(row),)), row=str(row["billId"]),
    )  # fmt: skip


def _id_by_exchange(row: Mapping[str, Any]) -> str:
    """An id for an order that has none, as the exchange made it by itself: it says why, as those of Binance do."""
    why = _BY_EXCHANGE.get(str(row.get("category")))
    return "" if why is None else f"{why}{row['ordId']}"


def _fee_of(row: Mapping[str, Any]) -> Fee:
    """What was paid, which is below 0 in OKX's rows."""
    return Fee(currency=str(row["feeCcy"]), amount=-float(row["fee"] or 0.0))
