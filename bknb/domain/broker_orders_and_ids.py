"""Orders at a broker, and what is known of each from the reports on it.

Which orders the record of a strategy needs is in :mod:`bknb.domain.broker_orders_of_events`, what is to be done about
them next in :mod:`bknb.domain.next_order_action`, which reports are believed in :mod:`bknb.domain.broker_reports`.

::

    intended ──► sent ──► accepted ──► partly_filled ──► filled
                  │  └──► rejected          └──► cancelled
                  └─────► unknown ──► (whatever the broker reports) or lost

``intended`` is saved before anything else, ``sent`` before the call: an order found ``intended`` provably never left,
one found ``sent`` may have. Everything here is pure; :mod:`bknb.live.orders_sent_to_broker` carries it out.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from .broker_account import Fee, Side, in_currency
from .declared_exits import Target
from .formatting import plain_number
from .quantity_step_and_least_amount import EXACT, is_dust
from .signal import SignalKey

Purpose: TypeAlias = Literal["open", "add", "reduce", "close", "protect", "target", "manual"]
OrderKind: TypeAlias = Literal["market", "limit", "stop", "target"]
ReportStatus: TypeAlias = Literal["accepted", "partly_filled", "triggered", "filled", "rejected", "cancelled"]
OrderStatus: TypeAlias = Literal["intended", "sent", "unknown", "lost"] | ReportStatus

MAX_CLOSES: Final = 8
"""Orders tried to close one signal, or to sell one part of it, before a message asks for a look at the account."""

_DONE: Final = frozenset({"filled", "rejected", "cancelled", "lost"})
WORKING: Final = frozenset({"accepted", "partly_filled", "triggered"})
"""Statuses in which an order may still fill."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order and what is known of it.

    Attributes
    ----------
    client_id
        The id it has at the broker; see :func:`client_id`.
    signal_id, decided_at
        The signal it belongs to, and when that was decided (UTC ms).
    purpose
        ``"open"`` for the entry, ``"close"`` for what ends it; ``"add"`` and ``"reduce"`` in between. ``"protect"`` for
        the stop that rests at the broker, ``"target"`` for a level of profit taking that does, and what sells in the
        place of either; ``"manual"``: taken by hand.
    kind
        ``"stop"`` and ``"target"`` rest until the last price reaches ``trigger``, and are market orders then.
    quantity
        In base currency; 0 on an entry that was rejected because its quantity could not be worked out, and on a part or
        an add that has not been worked out yet.
    price
        The limit; ``None`` where it has none. In quote currency, like all prices.
    trigger, generation
        The price at which a stop or a target becomes a market order, ``None`` for all others; and which order of its
        purpose this is where one takes the place of another, counted from 0.
    base, step, least
        Of its market when it was sent, as far as the broker said so: the currency that is traded, the step of
        quantities, and the least one of an order at its price; both in base currency.
    fees
        What its fills cost, as the broker reported it last.
    stop
        On the entry: the stop of the record; ``None``: there is none.
    targets
        On the entry: the targets of the record that are to rest, too.
    replaces
        The client id of the stop that rests, and whose place it takes by one request; empty: of none.
    reached
        Of a stop: whether it could not rest as the price was beyond it already; what it was for is sold.
    child
        What a stop became when it was triggered, as the broker calls it.
    since, filled_at
        Where stops rest: when its status changed last (UTC ms, by the clock here), and when a stop was filled last.
    record_price
        The price the record has for this trade.
    created_at
        When it was intended (UTC ms).
    status
        ``"lost"``: it was sent, and the broker answered several times that it has no such order.
    filled_quantity, average_price, broker_id
        What the broker reported last, and its own name for it.
    opened_at
        When the record opened the signal (UTC ms), or filled the part or the add; what rests should be filled by then.
    ended_at, exit_price
        On the entry: when the record ended the signal (UTC ms), and at which price. On an add: when it was taken back.
    number, share
        Of a part or an add: its number within the position, and its size in units of the first size; of a target once
        the record has taken it. An order that sells what was filled of an add beyond what the record has of it, or
        while another one was under way, has its number; one that does so of an entry, and what closes all, has 0.
    attempt
        Which order to close the signal, or to sell this part, this is; counted from 1.
    reported
        On the entry of a signal that is over: whether what the broker did differently has been reported. On a part or
        an add: whether the rounding of its fill has been.
    note
        The last trouble with it.
    in_doubt
        How much more than ``quantity`` an order that closes has filled by a report that cannot be right.
    kept
        Of an entry or an add that was cut when it filled, as less than was granted was free or allowed then: how much
        the record has of it, in base currency. The rest of what is filled is closed again.

    Examples
    --------
    >>> order = Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo",
    ...     purpose="protect", side="sell", kind="stop", quantity=0.5, price=None, record_price=99.0, created_at=0,
    ...     trigger=99.0)
    >>> order.reduces_only, order.done
    (True, False)
    """

    client_id: str
    signal_id: str
    decided_at: int
    symbol: str
    strategy: str
    exchange: str
    purpose: Purpose
    side: Side
    kind: OrderKind
    quantity: float
    price: float | None
    record_price: float
    created_at: int
    status: OrderStatus = "intended"
    filled_quantity: float = 0.0
    average_price: float | None = None
    broker_id: str = ""
    opened_at: int | None = None
    ended_at: int | None = None
    exit_price: float | None = None
    number: int = 0
    share: float = 0.0
    attempt: int = 1
    reported: bool = msgspec.field(default=False, name="said")
    note: str = ""
    in_doubt: float = 0.0
    kept: float | None = None
    trigger: float | None = None
    generation: int = 0
    base: str = ""
    step: float = 0.0
    least: float = 0.0
    fees: tuple[Fee, ...] = ()
    stop: float | None = None
    replaces: str = ""
    reached: bool = False
    child: str = ""
    since: int = 0
    filled_at: int | None = None
    targets: tuple[Target, ...] = ()

    @property
    def net_filled(self) -> float:
        """What its fills left in the account, in base currency: less the fees that were paid in what was bought."""
        return self.filled_quantity - (in_currency(self.fees, self.base) if self.base and self.side == "buy" else 0.0)

    @property
    def key(self) -> SignalKey:
        """The signal it belongs to."""
        return self.signal_id, self.decided_at

    @property
    def done(self) -> bool:
        """Whether nothing more will be filled of it."""
        return self.status in _DONE

    @property
    def working(self) -> bool:
        """Whether the broker has it and may fill more of it."""
        return self.status in WORKING

    @property
    def reduces_only(self) -> bool:
        """Whether it may only make a position smaller; a broker that can say so to its exchange should."""
        return self.purpose in ("close", "reduce", "protect", "target", "manual")

    @property
    def has_enough(self) -> bool:
        """Whether as much is filled of an order that was cut as the record has of it."""
        return self.kept is not None and self.filled_quantity >= self.kept


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one order as a broker reports it.

    Attributes
    ----------
    client_id
        The order, as we called it.
    filled_quantity, average_price
        In base and quote currency; the price is ``None`` only where nothing was filled yet. A fill may be rounded to
        the market's step; what else cannot be right is told, and stops new entries.
    broker_id
        The broker's own name for it.
    note
        Why it was rejected or cancelled, in the broker's words.
    fees
        What its fills cost so far; empty where the broker does not say.
    child
        The broker's own name for the order that a stop became when it was triggered. Its fills count as those of the
        stop; the status is ``"triggered"`` until it is known what it has filled.
    trigger
        At which price a stop that works rests, in quote currency; ``None`` where the broker does not say.

    Examples
    --------
    >>> Report(client_id="bk1", symbol="BTCUSDT", status="filled", filled_quantity=0.5, average_price=100.0).note
    ''
    """

    client_id: str
    symbol: str
    status: ReportStatus
    filled_quantity: float = 0.0
    average_price: float | None = None
    broker_id: str = ""
    note: str = ""
    fees: tuple[Fee, ...] = ()
    child: str = ""
    trigger: float | None = None


# --- names ------------------------------------------------------------------------------------------------------


def client_id(
    strategy: str,
    symbol: str,
    key: SignalKey,
    purpose: Purpose,
    attempt: int = 1,
    number: int = 0,
    *,
    generation: int = 0,
) -> str:
    """The client id of an order: the same whenever it is computed, and unique to the order.

    At most 30 letters and digits (what even narrow exchanges take): ``bk``, the beginning of the strategy's name, five
    characters for strategy and symbol, the first letter of the purpose, and 80 bits of a hash of everything.
    ``number`` is that of a part or an add within its position, ``generation`` that of an order in place of another.

    Examples
    --------
    >>> client_id("sma cross", "BTCUSDT", ("sma cross-BTCUSDT-20240101T0000", 1704067200000), "open")
    'bksmacroqb3bfoc37f4rwlk4fv5dmg'
    """
    more = [str(number)] if number else []
    more += [f"generation {generation}"] if generation else []
    parts = (strategy, symbol, key[0], str(key[1]), purpose, str(attempt), *more)
    return f"{own_prefix(strategy, symbol)}{purpose[0]}{_hashed(parts, 10)}"


def own_prefix(strategy: str, symbol: str) -> str:
    """The prefix of the client ids of all orders of one strategy on one symbol."""
    readable = re.sub(r"[^A-Za-z0-9]", "", strategy)[:6]
    return f"bk{readable}{_hashed((strategy, symbol), 5)[:5]}"


def _hashed(parts: Iterable[str], size: int) -> str:
    text = msgspec.json.encode(list(parts))
    return base64.b32encode(hashlib.blake2b(text, digest_size=size).digest()).decode().rstrip("=").lower()


# --- new ones


def order_beside(
    entry: Order,
    purpose: Literal["add", "reduce", "close", "protect", "target", "manual"],
    *,
    quantity: float,
    record_price: float,
    created_at: int,
    limit: float | None = None,
    number: int = 0,
    share: float = 0.0,
    attempt: int = 1,
) -> Order:
    """Another order of the signal of an entry; what closes is on the other side.

    Parameters
    ----------
    entry, purpose, quantity, record_price, created_at, number, share, attempt
        See :class:`Order`.
    limit
        Its ``price``, in quote currency; ``None``: at the market.
    """
    return Order(
        client_id=client_id(entry.strategy, entry.symbol, entry.key, purpose, attempt, number),
        signal_id=entry.signal_id,
        decided_at=entry.decided_at,
        symbol=entry.symbol,
        strategy=entry.strategy,
        exchange=entry.exchange,
        purpose=purpose,
        side="buy" if (entry.side == "buy") == (purpose == "add") else "sell",
        kind="market" if limit is None else "limit",
        quantity=quantity,
        price=limit,
        record_price=record_price,
        created_at=created_at,
        number=number,
        share=share,
        attempt=attempt,
    )


# --- what is known of the orders of a signal


def net_filled(orders: Sequence[Order]) -> float:
    """What is left of the fills of a signal's entry and adds, in base currency; below 0: more was closed."""
    rest = math.fsum(-order.filled_quantity if order.reduces_only else order.net_filled for order in orders)
    return rest if abs(rest) > _exact(orders) else 0.0


def left_open(orders: Sequence[Order]) -> float:
    """How much of a signal's entry and adds is filled and still to be closed, in base currency.

    What rounding to the market's step leaves behind a closing order that was filled is not to be closed, nor is dust:
    no market would take an order for it. See :func:`left_by_rounding`.
    """
    rest = net_filled(orders)
    step, least = (max((getattr(each, of) for each in orders), default=0.0) for of in ("step", "least"))
    return rest if rest > _exact(orders) + _rounded(orders) and not is_dust(rest, step, least) else 0.0


def left_by_rounding(orders: Sequence[Order]) -> float:
    """How much of entry and adds is open and cannot be closed, in base currency: dust, or left by rounding."""
    rest = net_filled(orders)
    return rest if rest > 0.0 and left_open(orders) == 0.0 else 0.0


def closed_beyond(orders: Sequence[Order]) -> float:
    """How much more was closed than was open, in base currency; such as by an order that was lost and turned up."""
    return max(-net_filled(orders), 0.0)


def _exact(orders: Sequence[Order]) -> float:
    """What adding up the fills of orders may leave, in base currency."""
    return math.fsum(order.quantity for order in orders if not order.reduces_only) * EXACT


def _rounded(orders: Sequence[Order]) -> float:
    """How much less closing orders were filled by than they ordered, in base currency."""
    closing = closing_orders(orders)
    return math.fsum(max(order.quantity - order.filled_quantity, 0.0) for order in closing if order.status == "filled")


def closing_orders(orders: Sequence[Order]) -> list[Order]:
    """The orders that close what is left of a signal that is over, in turn."""
    return [order for order in orders if order.purpose == "close"]


def given_up(orders: Sequence[Order]) -> bool:
    """Whether a position that is over in the record is still open at the broker after every closing order tried."""
    closing = closing_orders(orders)
    tried = all(order.done for order in closing) and any(order.attempt >= MAX_CLOSES for order in closing)
    return tried and orders[0].done and left_open(orders) > 0.0


def finished(orders: Sequence[Order]) -> bool:
    """Whether a signal is over, nothing of it is left at the broker and no more was closed than was open."""
    settled = all(order.done for order in orders) and orders[0].ended_at is not None
    return settled and left_open(orders) == closed_beyond(orders) == 0.0


def is_superseded(order: Order, orders: Sequence[Order]) -> bool:
    """Whether another of the orders of its signal was made in place of one that had failed, as far as was known."""
    return order.reduces_only and any(
        (one.purpose, one.number) == (order.purpose, order.number) and one.attempt > order.attempt for one in orders
    )


def order_text(order: Order) -> str:
    """An order as text, for messages.

    Examples
    --------
    >>> order_text(Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma",
    ...     exchange="demo", purpose="close", side="sell", kind="market", quantity=0.5, price=None, record_price=1.0,
    ...     created_at=0))
    "the order to close 's' (sell 0.5 BTCUSDT, bk1)"
    """
    what = f"{order.side} {plain_number(order.quantity)} {order.symbol}"
    purpose = "add to" if order.purpose == "add" else order.purpose
    return f"the order to {purpose} {order.signal_id!r} ({what}, {order.client_id})"
