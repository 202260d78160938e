"""What is to be known of an exchange to trade there: the exact requests, how answers are read, what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from ..domain.broker_account import Abilities, Balance, BrokerMarket, Fee, Side
from ..domain.broker_orders_and_ids import Order, Report

Verdict: TypeAlias = Literal["refused", "reached", "known", "missing", "forgotten", "unknown", "wait", "busy", "clock"]
"""What an error says of the request: ``"refused"``: nothing happened, ``"reached"``: nor did it, as the price is beyond
the trigger of a stop already, ``"known"``: an order with that id is there,
``"missing"``: there is no such order, ``"forgotten"``: there may have been one, ``"unknown"``: it may have been carried
out, ``"wait"``: nothing happened, and nothing may be asked for a while, ``"busy"``: nothing happened, and the same may
be asked after a while, ``"clock"``: nothing happened, as the clocks differ."""


class Request(NamedTuple):
    """One request: the method of the client that sends it, and its parameters.

    Attributes
    ----------
    call
        Such as ``"private_post_order"``.
    params
        All of these are in what is sent, or nothing is.
    """

    call: str
    params: Mapping[str, str]


class GoldenRequest(NamedTuple):
    """A request as it has to leave: method, path behind the host, and parameters without time and signature."""

    request: Request
    method: str
    path: str
    params: Mapping[str, str]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade as an exchange tells it; ``broker_id`` is the exchange's name of its order."""

    broker_id: str
    side: Side
    quantity: float
    price: float
    at: int
    trade_id: str
    fees: tuple[Fee, ...] = ()


class Answer(NamedTuple):
    """An answer that is an error.

    Attributes
    ----------
    status
        Of HTTP.
    code, text
        The exchange's own; empty where the answer has none.
    retry_after
        What it says about when to ask again, in seconds; ``None``: nothing.
    """

    status: int
    code: str
    text: str
    retry_after: float | None = None


class Profile(Protocol):
    """An exchange and market whose requests and answers are known."""

    @property
    def exchange(self) -> str:
        """Its name."""
        ...

    @property
    def market(self) -> str:
        """What is traded."""
        ...

    @property
    def client(self) -> str:
        """What ccxt calls it."""
        ...

    @property
    def abilities(self) -> Abilities:
        """What its orders can do."""
        ...

    def is_real(self, host: str) -> bool:
        """Whether orders that are sent to a host are worth real money."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Of the client."""
        ...

    @property
    def golden(self) -> Sequence[GoldenRequest]:
        """Requests as they have to leave."""
        ...

    def demo(self, client: Any) -> None:
        """Turn a client to demo trading."""
        ...

    def is_error(self, status: int, answer: object) -> bool:
        """Whether an answer is none to what was asked."""
        ...

    def error_of(self, status: int, headers: Mapping[str, str], body: str, answer: object) -> Answer:
        """An answer that is an error."""
        ...

    def verdict(self, request: Request, error: Answer) -> Verdict:
        """What an error says of its request; whatever is not known may have been carried out."""
        ...

    def wait_until(self, error: Answer, now: int) -> int:
        """Up to when (UTC ms) nothing may be asked after an error that says so."""
        ...

    def time(self) -> Request:
        """Ask for the time."""
        ...

    def time_of(self, answer: Any) -> int:
        """The time of an answer, UTC ms."""
        ...

    def may_withdraw(self) -> Request:
        """Ask what the key is allowed to do."""
        ...

    def may_withdraw_of(self, answer: Any) -> bool:
        """Whether the key may withdraw."""
        ...

    def market_rules(self, symbol: str) -> Request:
        """Ask for the rules of a market."""
        ...

    def market_of(self, symbol: str, answer: Any) -> BrokerMarket:
        """The rules of a market."""
        ...

    def place(self, order: Order) -> Request:
        """Place an order."""
        ...

    def move(self, order: Order) -> Request:
        """Move a stop by one request, where its abilities say so: in place, or by one that ``order.replaces``."""
        ...

    def cancel(self, client_id: str, symbol: str) -> Request:
        """Cancel an order."""
        ...

    def ask(self, client_id: str, symbol: str) -> Request:
        """Ask about an order."""
        ...

    def ask_by_broker_id(self, broker_id: str, symbol: str) -> Request:
        """Ask about an order by the exchange's own name for it."""
        ...

    def report_of(self, symbol: str, answer: Any) -> Report:
        """The state of an order; what is filled of it counts more than what its status says."""
        ...

    def trades_in_placing(self, answer: Any) -> list[Trade]:
        """The trades that the answer to placing an order tells."""
        ...

    def open_orders(self, symbol: str) -> Request:
        """Ask for the orders that work, stops among them."""
        ...

    def reports_of(self, symbol: str, answer: Any) -> list[Report]:
        """The orders that work."""
        ...

    def trades(self, symbol: str, *, since: int | None, broker_id: str = "") -> Request:
        """Ask for trades, of one order or from a moment on (UTC ms), a thousand at most."""
        ...

    def trades_of(self, answer: Any) -> list[Trade]:
        """The trades of an answer."""
        ...

    def balance(self) -> Request:
        """Ask what the account has."""
        ...

    def balance_of(self, answer: Any) -> dict[str, Balance]:
        """What the account has."""
        ...


def decimal_text(number: float) -> str:
    """A number as an exchange takes it: all of its digits, and no exponent.

    Examples
    --------
    >>> decimal_text(0.00001), decimal_text(58000.01), decimal_text(100.0), decimal_text(1e-10)
    ('0.00001', '58000.01', '100', '0.0000000001')
    """
    return format(Decimal(repr(float(number))).normalize(), "f")
