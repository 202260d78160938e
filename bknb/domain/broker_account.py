"""What a broker tells of an account beside its orders: fees, fills, balances, positions, market rules, abilities."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

from .quantity_step_and_least_amount import MarketLimits

Side: TypeAlias = Literal["buy", "sell"]
StopKind: TypeAlias = Literal["market", "limit"]
Watch: TypeAlias = Literal["here", "both", "exchange"]
Unprotected: TypeAlias = Literal["close", "watch"]
StopMove: TypeAlias = Literal["amend", "both", "replace", "gap"]


class Fee(msgspec.Struct, frozen=True, kw_only=True):
    """What fills cost in one currency.

    Attributes
    ----------
    currency
        Its code, such as ``"BTC"``.
    amount
        In that currency; below 0 where the exchange pays.

    Examples
    --------
    >>> Fee(currency="BTC", amount=0.000002).amount
    2e-06
    """

    currency: str
    amount: float


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of an order.

    Attributes
    ----------
    client_id
        The order, as we called it; empty where the exchange does not say, as of an order that is not ours.
    quantity, price
        In base and quote currency.
    at
        When it traded (UTC ms).
    trade_id
        The broker's name for it, unique on its symbol.
    fees
        What it cost.
    broker_id
        The broker's own name for the order.

    Examples
    --------
    >>> fill = Fill(client_id="bk1", symbol="BTCUSDT", side="buy", quantity=0.002, price=60000.0, at=0, trade_id="1",
    ...     fees=(Fee(currency="BTC", amount=0.000002),))
    >>> fill.quantity - in_currency(fill.fees, "BTC")
    0.001998
    """

    client_id: str
    symbol: str
    side: Side
    quantity: float
    price: float
    at: int
    trade_id: str
    fees: tuple[Fee, ...] = ()
    broker_id: str = ""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one currency an account has.

    Attributes
    ----------
    free, locked
        In that currency; what is locked is held by orders that work.

    Examples
    --------
    >>> Balance(free=0.5, locked=1.5).total
    2.0
    """

    free: float
    locked: float = 0.0

    @property
    def total(self) -> float:
        """Both together."""
        return self.free + self.locked


class AccountPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position of a swap, or what is held of a coin.

    Attributes
    ----------
    quantity
        In base currency; below 0 when short.
    average_price, liquidation_price
        In quote currency; ``None`` where the broker does not say.

    Examples
    --------
    >>> AccountPosition(symbol="BTC/USDT:USDT", quantity=-0.5, average_price=60000.0).quantity
    -0.5
    """

    symbol: str
    quantity: float
    average_price: float | None = None
    liquidation_price: float | None = None


class BrokerMarket(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one market of a broker; 0 and ``None`` stand for what it does not limit.

    Attributes
    ----------
    base, quote
        Codes of its currencies; empty where they are not known.
    tick
        Prices are whole multiples of it, in quote currency.
    step, market_step
        Quantities of limit and of market orders are whole multiples of these, in base currency.
    least_quantity, most_quantity, most_market_quantity
        Of one order, in base currency.
    least_value
        The least quantity times price of an order, in quote currency; of a stop at its trigger.
    contract_size
        How much one contract is, in base currency; 1 where quantities are in base currency.
    taker, maker
        Fees in percent; ``None`` where they are not known.
    fee_in
        What a fill of a purchase is paid in: ``"base"``, ``"quote"`` or the code of another currency.
    margin_modes
        Such as ``("isolated",)``; empty on a spot market.
    lowest_trigger, highest_trigger
        How far a trigger may lie from the price, as factors of it.
    most_stops
        How many stops may rest at once.
    id
        What the exchange calls it; empty where it is not known.

    Examples
    --------
    >>> market = BrokerMarket(symbol="BTCUSDT", base="BTC", quote="USDT", tick=0.01, step=0.00001, least_value=5.0)
    >>> market.limits(market=True).least_value
    5.0
    """

    symbol: str
    base: str = ""
    quote: str = ""
    tick: float = 0.0
    step: float = 0.0
    market_step: float = 0.0
    least_quantity: float = 0.0
    most_quantity: float = math.inf
    most_market_quantity: float = math.inf
    least_value: float = 0.0
    contract_size: float = 1.0
    taker: float | None = None
    maker: float | None = None
    fee_in: str = "quote"
    margin_modes: tuple[str, ...] = ()
    lowest_trigger: float = 0.0
    highest_trigger: float = math.inf
    most_stops: int | None = None
    id: str = ""

    def limits(self, *, market: bool, reduces: bool = False) -> MarketLimits:
        """Step and least amounts of a market order, or of one at a limit.

        What only reduces a position in a swap (``reduces``) may be worth as little as it is.
        """
        step = max(self.step, self.market_step) if market else self.step
        value = 0.0 if reduces and self.margin_modes else self.least_value
        return MarketLimits(step=step, least_quantity=self.least_quantity, least_value=value)

    def most(self, *, market: bool) -> float:
        """The largest quantity of a market order, or of one at a limit, in base currency."""
        return min(self.most_quantity, self.most_market_quantity) if market else self.most_quantity


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker can do to protect a position.

    Attributes
    ----------
    stop
        What a stop becomes when it is triggered; ``None``: no stop can rest there.
    move
        How a resting stop is moved: ``"amend"`` in place, ``"both"``: the new one rests before the old one goes, as
        orders that only reduce a position cannot sell more than there is, ``"replace"``: cancelled and placed by one
        request, ``"gap"``: by two.
    locks
        Whether a resting stop holds the balance it would sell, so that no second one can rest.
    pair
        Whether a stop and a target can rest of which one cancels the other.
    targets
        Whether a target can rest beside a stop, as a conditional order that only reduces a position (with ``"both"``).
    attached
        Whether a stop travels with each partial fill of an entry.
    knows_hours
        For how long after its end an order is found by ``report``, in hours; later it raises ``Forgotten``.
    late_seconds
        How long after it was sent a request may still be carried out, in seconds.
    watch
        ``"both"``: the stop of a position rests at the broker, too, and whoever is first ends it. ``"exchange"``: where
        a minute reaches the stop, the broker is waited for, 5 minutes at most. ``"here"``: it is watched by the process
        alone.
    unprotected
        What becomes of a position whose stop the broker does not take: after a minute it is sold (``"close"``), or it
        is watched by the process alone (``"watch"``).
    account
        The account that its orders are of: a text that is the same in every process with that account, and holds
        nothing of its key. Empty: it is not told, and no ledger of it is kept.
    nets
        Whether what is bought and sold on a symbol is one position, long or short, as on a swap; else it is coins.

    Examples
    --------
    >>> Abilities(stop="market", move="amend", locks=True, knows_hours=72.0).pair
    False
    """

    stop: StopKind | None = None
    move: StopMove = "gap"
    locks: bool = False
    pair: bool = False
    targets: bool = False
    attached: bool = False
    knows_hours: float = math.inf
    late_seconds: float = 0.0
    watch: Watch = "here"
    unprotected: Unprotected = "close"
    account: str = ""
    nets: bool = False


def in_currency(fees: tuple[Fee, ...], currency: str) -> float:
    """The sum of fees in one currency.

    Examples
    --------
    >>> in_currency((Fee(currency="BTC", amount=0.001), Fee(currency="BNB", amount=0.2)), "BTC")
    0.001
    """
    return math.fsum(fee.amount for fee in fees if fee.currency == currency)


def added_up(fees: tuple[Fee, ...]) -> tuple[Fee, ...]:
    """One fee for each currency, sorted by it.

    Examples
    --------
    >>> added_up((Fee(currency="USDT", amount=1.0), Fee(currency="BNB", amount=0.5), Fee(currency="USDT", amount=2.0)))
    (Fee(currency='BNB', amount=0.5), Fee(currency='USDT', amount=3.0))
    """
    return tuple(Fee(currency=code, amount=in_currency(fees, code)) for code in sorted({fee.currency for fee in fees}))
