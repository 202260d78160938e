"""What the profiles of Binance's exchanges have in common: errors, the clock, the key, and the filters of a market."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

from ..domain.broker_account import Fee, added_up
from ..domain.broker_orders_and_ids import ReportStatus
from .binance_errors import banned_until, error_in, retry_after_of
from .exchange_profile import Answer, GoldenRequest, ProfileDefaults, Request

STATUSES: Final[Mapping[str, ReportStatus]] = {
    "NEW": "accepted",
    "PARTIALLY_FILLED": "partly_filled",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "cancelled",
    "EXPIRED_IN_MATCH": "cancelled",
    "REJECTED": "rejected",
}
"""Of orders that are not stops at a place of their own."""


class BinanceProfile(ProfileDefaults):
    """The part of a profile that is the same at all of Binance's exchanges."""

    exchange = "binance"
    ids = r"[.A-Z:/a-z0-9_-]{1,36}"
    most_trades = 1000
    addresses: tuple[str, ...] = ()
    """What ccxt calls the addresses to which orders are sent."""

    def real_address(self, client: Any) -> str:
        """The address at which orders of a client are worth real money; empty: there is none."""
        addresses = [str(client.urls["api"].get(name, "")) for name in self.addresses]
        return next((each for each in addresses if _is_real(urlsplit(each).hostname or "")), "")

    def demo(self, client: Any, *, own_urls: bool) -> None:
        """Turn a client to demo trading; ``own_urls``: the user has said where it is."""
        if not own_urls:
            client.enable_demo_trading(enable=True)

    def is_error(self, status: int, answer: object) -> bool:
        """Whether an answer is none to what was asked."""
        return status >= 400 or not isinstance(answer, dict | list)

    def error_of(self, status: int, headers: Mapping[str, str], body: str, answer: object) -> Answer:
        """An answer that is an error."""
        code, text = error_in(answer)
        return Answer(status, code, text or body[:200], retry_after_of(headers))

    def wait_until(self, error: Answer, now: int) -> int:
        """Up to when (UTC ms) nothing may be asked after an error that says so."""
        return banned_until(error, now)

    def time_of(self, answer: Any) -> int:
        """The time of an answer, UTC ms."""
        return int(answer["serverTime"])

    def price_of(self, answer: Any) -> float:
        """The last price, in quote currency."""
        return float(answer["price"])

    def may_withdraw(self) -> Request:
        """Ask what the key is allowed to do."""
        return Request("sapi_get_account_apirestrictions", {})

    def may_withdraw_of(self, answer: Any) -> bool:
        """Whether the key may withdraw."""
        return bool(answer["enableWithdrawals"])


def _is_real(host: str) -> bool:
    own = host.endswith((".binance.com", ".binance.us", ".binance.vision"))
    return own and not host.startswith(("demo-", "testnet."))


def id_of(symbol: str) -> str:
    """What Binance calls a symbol.

    Examples
    --------
    >>> id_of("BTC/USDT:USDT"), id_of("btcusdt")
    ('BTCUSDT', 'BTCUSDT')
    """
    return symbol.partition(":")[0].replace("/", "").upper()


def number_of(rule: Mapping[str, Any], name: str, missing: float) -> float:
    """A number of a filter."""
    return float(rule.get(name, missing))


class StepsAndLimits(TypedDict):
    """In which steps the price (quote currency) and the quantity of an order go, and how small and large it may be."""

    tick: float
    step: float
    market_step: float
    least_quantity: float
    most_quantity: float
    most_market_quantity: float


def steps_and_limits(filters: Mapping[str, Mapping[str, Any]]) -> StepsAndLimits:
    """Steps and limits of a market, from its filters by type.

    Examples
    --------
    >>> steps_and_limits({"LOT_SIZE": {"stepSize": "0.001", "minQty": "0.002", "maxQty": "9"}})["least_quantity"]
    0.002
    """
    lot, market_lot = filters.get("LOT_SIZE", {}), filters.get("MARKET_LOT_SIZE", {})
    return {
        "tick": number_of(filters.get("PRICE_FILTER", {}), "tickSize", 0.0),
        "step": number_of(lot, "stepSize", 0.0),
        "market_step": number_of(market_lot, "stepSize", 0.0),
        "least_quantity": max(number_of(lot, "minQty", 0.0), number_of(market_lot, "minQty", 0.0)),
        "most_quantity": number_of(lot, "maxQty", math.inf) or math.inf,
        "most_market_quantity": number_of(market_lot, "maxQty", math.inf) or math.inf,
    }


def fees_of(trade: Mapping[str, Any]) -> tuple[Fee, ...]:
    """What a trade cost."""
    return added_up((Fee(currency=str(trade["commissionAsset"]), amount=float(trade["commission"])),))


def golden(call: str, method: str, path: str, params: Mapping[str, str], *, signed: bool = True) -> GoldenRequest:
    """A request, and how it has to leave: signed ones with how long they may be on their way."""
    return GoldenRequest(Request(call, params), method, path, {**params, **({"recvWindow": "5000"} if signed else {})})
