"""What is to be known of an exchange to trade there: the exact requests, how answers are read, what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket, Fee, Side
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
    in_list
        Whether the exchange wants them as the one entry of a list.
    """

    call: str
    params: Mapping[str, str | bool]
    in_list: bool = False


class GoldenRequest(NamedTuple):
    """A request as it has to leave: method, path behind the host, and parameters without time and signature."""

    request: Request
    method: str
    path: str
    params: Mapping[str, str]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade as an exchange tells it.

    ``broker_id`` is the exchange's name of its order, ``row`` that of the line it stands in, where pages are asked for
    by it.
    """

    broker_id: str
    side: Side
    quantity: float
    price: float
    at: int
    trade_id: str
    fees: tuple[Fee, ...] = ()
    row: str = ""


class SwapSettings(NamedTuple):
    """How positions in one swap are kept: ``"isolated"`` or ``"cross"`` margin, and the leverage."""

    margin: str
    leverage: float


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

    @property
    def ids(self) -> str:
        """A regular expression: the ids that an order may be given."""
        ...

    @property
    def stops_apart(self) -> bool:
        """Whether stops are asked about, cancelled and listed at a place of their own."""
        ...

    @property
    def most_trades(self) -> int:
        """How many trades one answer holds at most."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Of the client."""
        ...

    @property
    def golden(self) -> Sequence[GoldenRequest]:
        """Requests as they have to leave."""
        ...

    def real_address(self, client: Any) -> str:
        """The address at which orders of a client are worth real money; empty: there is none."""
        ...

    def demo(self, client: Any, *, own_urls: bool) -> None:
        """Turn a client to demo trading; ``own_urls``: the user has said where it is."""
        ...

    # --- errors, clock, key

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

    # --- markets

    def market_rules(self, symbol: str) -> Request:
        """Ask for the rules of a market.

        Raises
        ------
        BrokerError
            With ``refused=True``: a symbol of that name is none of this profile.
        """
        ...

    def market_of(self, symbol: str, answer: Any) -> BrokerMarket | None:
        """The rules of a market; ``None``: there is none of that name."""
        ...

    def price(self, market: BrokerMarket) -> Request:
        """Ask for the last price."""
        ...

    def price_of(self, answer: Any) -> float:
        """The last price, in quote currency."""
        ...

    # --- orders

    def place(self, order: Order, market: BrokerMarket) -> Request:
        """Place an order."""
        ...

    def placed(self, market: BrokerMarket, answer: Any) -> tuple[Report, list[Trade]] | None:
        """What the answer to placing an order says of it, with its trades; ``None``: it has to be asked about."""
        ...

    def move(self, order: Order, market: BrokerMarket) -> Request:
        """Move a stop by one request, where its abilities say so: in place, or by one that ``order.replaces``."""
        ...

    def cancel(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:
        """Cancel an order."""
        ...

    def ask(self, client_id: str, market: BrokerMarket, *, stop: bool) -> Request:
        """Ask about an order."""
        ...

    def ask_by_broker_id(self, broker_id: str, market: BrokerMarket) -> Request:
        """Ask about an order, which is no stop, by the exchange's own name for it."""
        ...

    def report_of(self, market: BrokerMarket, answer: Any) -> Report:
        """The state of an order; what is filled of it counts more than what its status says.

        Of a triggered stop that is another order now it is ``"triggered"``, with that order as ``child``.
        """
        ...

    def open_orders(self, market: BrokerMarket) -> Sequence[Request]:
        """Ask for the orders that work, stops among them."""
        ...

    def reports_of(self, market: BrokerMarket, answer: Any) -> list[Report]:
        """The orders that work."""
        ...

    def trades(self, market: BrokerMarket, *, since: int | None, broker_id: str = "") -> Request:
        """Ask for trades, of one order or from a moment on (UTC ms)."""
        ...

    def trades_of(self, market: BrokerMarket, answer: Any) -> list[Trade]:
        """The trades of an answer."""
        ...

    def more_trades(self, market: BrokerMarket, asked: Request, *, page: Sequence[Trade], now: int) -> Request | None:
        """Ask for the trades behind those of a request that was answered; ``None``: there are no more."""
        ...

    def children(self, market: BrokerMarket, since: int) -> Request | None:
        """Ask which stops became which orders; ``None``: the orders themselves say so."""
        ...

    def children_of(self, answer: Any) -> dict[str, str]:
        """The client ids of stops by the exchange's name of what they became."""
        ...

    # --- the account

    def balance(self) -> Request:
        """Ask what the account has."""
        ...

    def balance_of(self, answer: Any) -> dict[str, Balance]:
        """What the account has."""
        ...

    def account(self) -> Request | None:
        """Ask how the account is set up, before something is opened; ``None``: nothing has to be known."""
        ...

    def unfit(self, answer: Any) -> str:
        """Why nothing can be opened with an account that is set up like that; empty: it can."""
        ...


class ProfileDefaults:
    """What a profile has whose stops are moved by other orders, and of whose account nothing has to be known."""

    stops_apart = False

    def move(self, order: Order, market: BrokerMarket) -> Request:
        """Nothing is moved by one request.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError

    def children(self, market: BrokerMarket, since: int) -> Request | None:  # noqa: ARG002 -- of every profile
        """The orders themselves say so."""
        return None

    def children_of(self, answer: Any) -> dict[str, str]:  # noqa: ARG002 -- of every profile
        """There are none."""
        return {}

    def account(self) -> Request | None:
        """Nothing has to be known."""
        return None

    def unfit(self, answer: Any) -> str:  # noqa: ARG002 -- of every profile
        """Nothing can be wrong."""
        return ""


class SwapProfile(Profile, Protocol):
    """The same where swaps are traded."""

    def positions(self) -> Request:
        """Ask for all positions."""
        ...

    def positions_of(self, markets: Sequence[BrokerMarket], answer: Any) -> list[AccountPosition]:
        """The positions of an answer; those of markets that nobody asked about have the exchange's names."""
        ...

    def settings(self, market: BrokerMarket) -> Request:
        """Ask how positions in a swap are kept."""
        ...

    def settings_of(self, market: BrokerMarket, answer: Any) -> SwapSettings:
        """How they are kept."""
        ...

    def set_up(self, market: BrokerMarket, *, found: SwapSettings, leverage: float) -> Sequence[Request]:
        """Have them kept with isolated margin and a leverage."""
        ...

    def maintenance(self, market: BrokerMarket) -> Request:
        """Ask at which margin a position is liquidated."""
        ...

    def maintenance_of(self, market: BrokerMarket, quantity: float, price: float, answer: Any) -> float:
        """The maintenance margin of a position (base and quote currency), in percent of its value."""
        ...


def decimal_text(number: float) -> str:
    """A number as an exchange takes it: all of its digits, and no exponent.

    Examples
    --------
    >>> decimal_text(0.00001), decimal_text(58000.01), decimal_text(100.0), decimal_text(1e-10)
    ('0.00001', '58000.01', '100', '0.0000000001')
    """
    return format(Decimal(repr(float(number))).normalize(), "f")


def in_contracts(quantity: float, market: BrokerMarket) -> str:
    """A quantity in base currency as an exchange takes it that counts in contracts.

    Examples
    --------
    >>> in_contracts(0.0123, BrokerMarket(symbol="BTC/USDT:USDT", contract_size=0.01))
    '1.23'
    """
    contracts = Decimal(repr(float(quantity))) / Decimal(repr(float(market.contract_size)))
    return format(contracts.normalize(), "f")


def in_base(contracts: str, market: BrokerMarket) -> float:
    """A number of contracts, as an exchange writes it, in base currency; nothing where nothing is written.

    Examples
    --------
    >>> in_base("1.23", BrokerMarket(symbol="BTC/USDT:USDT", contract_size=0.01)), in_base("", BrokerMarket(symbol="X"))
    (0.0123, 0.0)
    """
    return float(Decimal(contracts or "0") * Decimal(repr(float(market.contract_size))))
