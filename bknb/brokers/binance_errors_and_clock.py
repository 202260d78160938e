"""What Binance's exchanges have in common: how errors are read, the clock, the key, and the filters of a market."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..domain.broker_account import Fee, added_up
from ..domain.broker_orders_and_ids import ReportStatus
from .exchange_profile import Answer, GoldenRequest, ProfileDefaults, Request

_BANNED_UNTIL: Final = re.compile(r"until (\d{13})")
_LEAST_WAIT_MS: Final = 60_000  # where a ban does not say how long it is
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
REFUSED_PARAMETERS: Final = frozenset(
    {*(f"-11{number:02}" for number in range(37)), *("-1010", "-1013", "-1014", "-1016", "-1020", "-1121")}
)
REFUSED_KEYS: Final = frozenset({"-1002", "-1022", "-2008", "-2014"})
BUSY: Final = frozenset({"-1008", "-2015"})
"""Overloaded, and a key that may not trade now: nothing happened, and the same may be asked after a while."""


class BinanceErrorsAndClock(ProfileDefaults):
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
        code, text = "", ""
        if isinstance(answer, dict):
            answer = _half_of(answer)
            code, text = str(answer.get("code", "")), str(answer.get("msg", ""))
        return Answer(status, code, text or body[:200], retry_after_of(headers))

    def wait_until(self, error: Answer, now: int) -> int:
        """Up to when (UTC ms) nothing may be asked after an error that says so."""
        banned = _BANNED_UNTIL.search(error.text)
        if banned is not None:
            return int(banned[1])
        return now + (_LEAST_WAIT_MS if error.retry_after is None else math.ceil(error.retry_after * 1000))

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


def _half_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the answer to a replacement that was not carried out, the part that says why; others as they are."""
    told = answer.get("data")
    if not (isinstance(told, dict) and "cancelResult" in told):
        return answer
    part = told.get("newOrderResponse") if told["cancelResult"] == "SUCCESS" else told.get("cancelResponse")
    return part if isinstance(part, dict) else answer


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """How many seconds the headers of an answer ask to wait; ``None``: they do not say.

    Examples
    --------
    >>> retry_after_of({"Retry-After": " 7 "}), retry_after_of({})
    (7.0, None)
    """
    after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    return float(after) if after.isdecimal() else None


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


def fees_of(trade: Mapping[str, Any]) -> tuple[Fee, ...]:
    """What a trade cost."""
    return added_up((Fee(currency=str(trade["commissionAsset"]), amount=float(trade["commission"])),))


def golden(call: str, method: str, path: str, params: Mapping[str, str], *, signed: bool = True) -> GoldenRequest:
    """A request, and how it has to leave: signed ones with how long they may be on their way."""
    return GoldenRequest(Request(call, params), method, path, {**params, **({"recvWindow": "5000"} if signed else {})})
