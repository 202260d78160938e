"""Orders at a broker: which ones the record of a strategy needs, what is known of each, and the next action.

The record (what the candles say a strategy would have done) decides; the broker follows. Each signal has one entry
order and, once it is over, closing orders for exactly what was filled. A decision of a moment is an order of the
record's state, and leaves at that moment; the rest follows from events:

================= =============================================================================
state or event    the orders of its signal
================= =============================================================================
Opening           a market or limit order; a stop entry is watched here until it opens
Holding, leaving  what was filled of the entry is closed
Opened            a market order, unless the entry was ordered already: that one is expected to fill
Cancelled         the entry is cancelled; what was filled of it meanwhile is closed
Closed            the entry is cancelled as far as it is unfilled; what was filled of it is closed
================= =============================================================================

Closing orders are market orders. There are no protective orders at the broker: target, stop and deadline are watched
here, and only while the process runs.

::

    intended ──► sent ──► accepted ──► partly_filled ──► filled
                  │  └──► rejected          └──► cancelled
                  └─────► unknown ──► (whatever the broker reports) or lost

``intended`` is saved before anything else, ``sent`` before the call: an order found ``intended`` provably never left,
one found ``sent`` may have. Everything here is pure; :mod:`bknb.live.order_desk` carries it out.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

from .formatting import plain_number
from .interval import MINUTE_MS
from .lifecycle import Holding, Opening, State
from .rounding import EXACT, is_near, is_rounded
from .signal import Cancelled, Closed, Event, Opened, OpenSignal, Scheduled, ScheduledSignal, labels_of
from .text import readable

Purpose: TypeAlias = Literal["open", "close"]
Side: TypeAlias = Literal["buy", "sell"]
OrderKind: TypeAlias = Literal["market", "limit"]
ReportStatus: TypeAlias = Literal["accepted", "partly_filled", "filled", "rejected", "cancelled"]
OrderStatus: TypeAlias = Literal["intended", "sent", "unknown", "lost"] | ReportStatus
SignalKey: TypeAlias = tuple[str, int]
"""A signal's id and the moment it was decided at: an id of the user's own may come twice."""

MAX_CLOSES: Final = 8
"""Closing orders tried for one signal before a message asks to close by hand."""

MAX_PRICE_FACTOR: Final = 1.5
"""How far an average price may lie above or below all prices known of the market, as a factor."""

_DONE: Final = frozenset({"filled", "rejected", "cancelled", "lost"})
_WORKING: Final = frozenset({"accepted", "partly_filled"})
_REPORTED_DONE: Final = _DONE - {"lost"}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order and what is known of it.

    Attributes
    ----------
    client_id
        The id it has at the broker; see :func:`client_id`.
    signal_id, decided_at
        The signal it belongs to, and when that was decided (UTC ms).
    purpose
        ``"open"`` for the entry, ``"close"`` for what ends it.
    quantity
        In base currency; 0 on an entry that was rejected because its quantity could not be worked out.
    price
        The limit; ``None`` for a market order. In quote currency, like all prices.
    record_price
        The price the record has for this trade.
    created_at
        When it was intended (UTC ms).
    status
        ``"lost"``: it was sent, no answer came, and the broker answered several times that it has no such order.
    filled_quantity, average_price
        What the broker reported last.
    broker_id
        The broker's own name for it.
    opened_at
        When the record opened the signal (UTC ms); a resting entry should be filled by then.
    ended_at, exit_price
        On the entry: when the record ended the signal (UTC ms), and at which price.
    attempt
        Which closing order of the signal this is, counted from 1.
    reported
        On the entry of a signal that is over: whether what the broker did differently has been reported.
    note
        The last trouble with it.
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
    attempt: int = 1
    reported: bool = msgspec.field(default=False, name="said")
    note: str = ""

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
        return self.status in _WORKING

    @property
    def reduces_only(self) -> bool:
        """Whether it may only make a position smaller; a broker that can say so to its exchange should."""
        return self.purpose == "close"


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
    """

    client_id: str
    symbol: str
    status: ReportStatus
    filled_quantity: float = 0.0
    average_price: float | None = None
    broker_id: str = ""
    note: str = ""


# --- names ------------------------------------------------------------------------------------------------------


def client_id(strategy: str, symbol: str, key: SignalKey, purpose: Purpose, attempt: int = 1) -> str:
    """The client id of an order: the same whenever it is computed, and unique to the order.

    At most 30 letters and digits (what even narrow exchanges take): ``bk``, the beginning of the strategy's name, five
    characters for strategy and symbol, ``o`` (open) or ``c`` (close), and 80 bits of a hash of everything.

    Examples
    --------
    >>> client_id("sma cross", "BTCUSDT", ("sma cross-BTCUSDT-20240101T0000", 1704067200000), "open")
    'bksmacroqb3bfoc37f4rwlk4fv5dmg'
    """
    parts = (strategy, symbol, key[0], str(key[1]), purpose, str(attempt))
    return f"{own_prefix(strategy, symbol)}{purpose[0]}{_hashed(parts, 10)}"


def own_prefix(strategy: str, symbol: str) -> str:
    """The prefix of the client ids of all orders of one strategy on one symbol."""
    readable = re.sub(r"[^A-Za-z0-9]", "", strategy)[:6]
    return f"bk{readable}{_hashed((strategy, symbol), 5)[:5]}"


def _hashed(parts: Iterable[str], size: int) -> str:
    text = msgspec.json.encode(list(parts))
    return base64.b32encode(hashlib.blake2b(text, digest_size=size).digest()).decode().rstrip("=").lower()


# --- from the record to orders ----------------------------------------------------------------------------------


Orders: TypeAlias = Mapping[SignalKey, Sequence[Order]]
"""What is known, by signal: the entry, then closing orders in turn."""
QuantityOf: TypeAlias = Callable[[OpenSignal | ScheduledSignal], float | str]
"""How much to trade, in base currency, or why that is unknown: then the order is rejected with that note before it
leaves. Asked once for each signal, when there is an order to make."""


def orders_of_state(state: State, orders: Orders, quantity_of: QuantityOf) -> tuple[Order, ...]:
    """The orders that are new or changed because of what a state has decided and no minute has filled yet."""
    ending = state.ending if isinstance(state, Opening) else state if isinstance(state, Holding) else None
    found: list[Order] = []
    if ending is not None and ending.leaving is not None:
        mine, leaving = orders.get(key_of(ending.signal), ()), ending.leaving
        if mine and mine[0].ended_at != leaving.not_before and not any_left(mine[1:]):
            found.append(ended(mine[0], leaving.not_before, leaving.price))
            found += [msgspec.structs.replace(order, created_at=leaving.not_before) for order in mine[1:]]
    if isinstance(state, Opening) and state.signal.entry != "stop":
        entry = _entry(orders, state.signal)
        kind: OrderKind = "market" if state.signal.entry == "market" else "limit"
        if entry is None:
            quantity = quantity_of(state.signal)
            found.append(_entry_order(state.signal, quantity, kind=kind, created_at=state.not_before, opened_at=None))
        elif entry.status == "intended" and entry.created_at != state.not_before:
            found.append(msgspec.structs.replace(entry, created_at=state.not_before))
    return tuple(found)


def any_left(orders: Iterable[Order]) -> bool:
    """Whether one of these orders may be on its way to the broker, or there."""
    return any(order.status != "intended" for order in orders)


def orders_after(event: Event, orders: Orders, quantity_of: QuantityOf) -> tuple[Order, ...]:
    """The orders that are new or changed after an event; none when the event was followed before."""
    match event:
        case Scheduled() if event.signal.entry == "stop":
            return ()
        case Scheduled() | Opened():
            entry = _entry(orders, event.signal)
            opened_at = event.signal.pending_at if isinstance(event.signal, OpenSignal) else None
            if entry is None:
                kind: OrderKind = "limit" if opened_at is None else "market"
                created_at = _known_at(event, kind)
                quantity = quantity_of(event.signal)
                return (_entry_order(event.signal, quantity, kind=kind, created_at=created_at, opened_at=opened_at),)
            if opened_at is None or entry.opened_at is not None:
                return ()
            return (msgspec.structs.replace(entry, opened_at=opened_at, record_price=event.signal.price_open),)
        case Closed() | Cancelled():
            entry = _entry(orders, event.signal)
            price = event.price_close if isinstance(event, Closed) else event.price
            if entry is None:
                return ()
            if entry.ended_at is None:
                return (ended(entry, _ended_at(event), price),)
            if isinstance(event, Cancelled) or entry.exit_price == price:
                return ()
            closing = [msgspec.structs.replace(order, record_price=price) for order in orders[key_of(event.signal)][1:]]
            return (msgspec.structs.replace(entry, exit_price=price), *closing)
        case _:
            return ()


def _known_at(event: Scheduled | Opened, kind: OrderKind) -> int:
    """When an entry without an order is ordered (UTC ms): a limit at its decision, a stop entry after its minute."""
    if kind == "limit":
        return event.signal.scheduled_at
    return event.when + MINUTE_MS if event.signal.entry == "stop" else event.when


def _ended_at(event: Closed | Cancelled) -> int:
    """When the end of a signal was known (UTC ms): what a minute did, when it had closed."""
    by_clock = isinstance(event, Cancelled) and event.reason not in ("price_reject", "risk")
    return event.when if by_clock else event.when + MINUTE_MS


def ended(entry: Order, when: int, price: float) -> Order:
    """The entry order with the end of its signal set (UTC ms, quote currency); its fills have to be closed."""
    return msgspec.structs.replace(entry, ended_at=when, exit_price=price)


def key_of(signal: OpenSignal | ScheduledSignal) -> SignalKey:
    """The key of a signal among all of its strategy and symbol: its id and the moment it was decided at (UTC ms)."""
    return signal.id, signal.scheduled_at


def _entry(orders: Mapping[SignalKey, Sequence[Order]], signal: OpenSignal | ScheduledSignal) -> Order | None:
    mine = orders.get(key_of(signal))
    return mine[0] if mine else None


def _entry_order(
    signal: OpenSignal | ScheduledSignal,
    quantity: float | str,
    *,
    kind: OrderKind,
    created_at: int,
    opened_at: int | None,
) -> Order:
    key = key_of(signal)
    return Order(
        client_id=client_id(signal.strategy, signal.symbol, key, "open"),
        signal_id=signal.id,
        decided_at=signal.scheduled_at,
        **labels_of(signal),
        purpose="open",
        side="buy" if signal.position == "long" else "sell",
        kind=kind,
        quantity=0.0 if isinstance(quantity, str) else quantity,
        price=signal.price_open if kind == "limit" else None,
        record_price=signal.price_open,
        created_at=created_at,
        opened_at=opened_at,
        status="rejected" if isinstance(quantity, str) else "intended",
        note=quantity if isinstance(quantity, str) else "",
    )


def _closing_order(entry: Order, quantity: float, attempt: int) -> Order:
    assert entry.ended_at is not None  # only a signal that is over is closed  # noqa: S101
    assert entry.exit_price is not None  # ended() sets both  # noqa: S101
    return Order(
        client_id=client_id(entry.strategy, entry.symbol, entry.key, "close", attempt),
        signal_id=entry.signal_id,
        decided_at=entry.decided_at,
        symbol=entry.symbol,
        strategy=entry.strategy,
        exchange=entry.exchange,
        purpose="close",
        side="sell" if entry.side == "buy" else "buy",
        kind="market",
        quantity=quantity,
        price=None,
        record_price=entry.exit_price,
        created_at=entry.ended_at,
        attempt=attempt,
    )


# --- from orders to actions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OnOrder:
    order: Order


class Place(_OnOrder):
    """Send this order; it provably never left before."""

    __slots__ = ()


class Cancel(_OnOrder):
    """Cancel what is unfilled of this order."""

    __slots__ = ()


class Query(_OnOrder):
    """Query the broker for the state of this order."""

    __slots__ = ()


class Save(_OnOrder):
    """Save this order."""

    __slots__ = ()


Action: TypeAlias = Place | Cancel | Query | Save


def next_action(orders: Sequence[Order]) -> Action | None:
    """The next action for the orders of one signal; ``None``: nothing before the next event.

    Parameters
    ----------
    orders
        Its entry, then its closing orders in turn.
    """
    entry = orders[0]
    if not entry.done:
        return _entry_action(entry)
    if entry.ended_at is None:
        return None
    last = orders[-1] if len(orders) > 1 else None
    if last is not None and not last.done:
        return Place(last) if last.status == "intended" else Query(last)
    rest = left_open(orders)
    attempt = 1 if last is None else last.attempt + 1
    if rest == 0.0 or attempt > MAX_CLOSES:
        return None
    return Save(_closing_order(entry, rest, attempt))


def _entry_action(entry: Order) -> Action | None:
    over = entry.ended_at is not None
    if entry.status == "intended":
        if over:
            note = "the signal was over before this was sent"
            return Save(msgspec.structs.replace(entry, status="cancelled", note=note))
        return Place(entry)
    if not entry.working:
        return Query(entry)
    if over:
        return Cancel(entry)
    return Query(entry) if entry.opened_at is not None else None


def left_open(orders: Sequence[Order]) -> float:
    """How much of a signal's entry is filled and still to be closed, in base currency.

    What rounding to the market's step leaves behind a closing order that was filled is not to be closed: no market
    would take an order for it. See :func:`left_by_rounding`.
    """
    rest, rounded = _not_closed(orders)
    return rest if rest > orders[0].quantity * EXACT + rounded else 0.0


def left_by_rounding(orders: Sequence[Order]) -> float:
    """How much of a signal's entry filled closing orders left open, in base currency; below 0: closed beyond it."""
    rest, rounded = _not_closed(orders)
    exact = orders[0].quantity * EXACT
    return rest if exact < abs(rest) <= exact + rounded else 0.0


def _not_closed(orders: Sequence[Order]) -> tuple[float, float]:
    """What is filled of an entry less what is closed, and how far filled closing orders are from what they ordered."""
    entry, closing = orders[0], orders[1:]
    rest = entry.filled_quantity - math.fsum(order.filled_quantity for order in closing)
    return rest, math.fsum(abs(order.quantity - order.filled_quantity) for order in closing if order.status == "filled")


def given_up(orders: Sequence[Order]) -> bool:
    """Whether a position that is over in the record is still open at the broker after every closing order tried."""
    return orders[-1].done and orders[-1].attempt >= MAX_CLOSES and orders[0].done and left_open(orders) > 0.0


def finished(orders: Sequence[Order]) -> bool:
    """Whether a signal is over and nothing of it is left at the broker."""
    settled = all(order.done for order in orders)
    return settled and orders[0].ended_at is not None and left_open(orders) == 0.0


def after_report(order: Order, report: Report) -> Order:
    """An order updated by a report; fills are never taken back, a final status only when it was ``lost``."""
    filled = max(order.filled_quantity, report.filled_quantity)
    back = order.done and order.status != "lost" and report.status in _WORKING
    return msgspec.structs.replace(
        order,
        status=order.status if back else report.status,
        filled_quantity=filled,
        average_price=report.average_price if report.filled_quantity >= order.filled_quantity else order.average_price,
        broker_id=_as_text(report.broker_id) or order.broker_id,
        note=_as_text(report.note) or order.note,
    )


def _as_text(value: object) -> str:
    """What a broker wrote, as text that can be saved: some name orders with numbers, and write None for nothing."""
    return "" if value is None else readable(str(value))


def report_problem(order: Order, report: object, market: Iterable[float] = ()) -> str:
    """Why a report of an order cannot be right, as a sentence; empty when it can be, rounded to the market's step.

    Parameters
    ----------
    order, report
        The order, and what the broker said of it.
    market
        Prices the market had since it was ordered, as far as they are known. Its average price must lie within
        ``MAX_PRICE_FACTOR`` of these and of the price of the record.
    """
    if not isinstance(report, Report):
        return f"a Report was expected, not {report!r:.80}"
    if report.client_id != order.client_id:
        return f"it is about {report.client_id!r}"
    if report.status not in _WORKING | _REPORTED_DONE:
        return f"no order has the status {report.status!r:.80}"
    filled, price = report.filled_quantity, report.average_price
    may_be = is_rounded if order.purpose == "open" else is_near  # what is closed was filled, on the step of the market
    if not _is_number(filled):
        return f"its filled quantity is {_shown(filled)}, and a finite float was expected"
    if filled < 0.0 or (filled > order.quantity and not may_be(filled, order.quantity)):
        return f"{filled} of {plain_number(order.quantity)} are filled"
    if report.status == "filled" and not may_be(filled, order.quantity):
        whole = filled >= 1.0 and float(filled).is_integer() and abs(order.quantity - filled) < 1.0
        advice = "; where a market trades whole numbers alone, give a whole quantity" if whole else ""
        return f"it is filled, by {plain_number(filled)} of {plain_number(order.quantity)}{advice}"
    if price is None and filled > 0.0:
        return f"{plain_number(filled)} of {plain_number(order.quantity)} are filled, and it has no average price"
    if price is not None and not (_is_number(price) and price > 0.0):
        return f"its average price is {_shown(price)}, and a finite float above 0 was expected"
    known = (order.record_price, *market)
    if price is not None and not min(known) / MAX_PRICE_FACTOR <= price <= max(known) * MAX_PRICE_FACTOR:
        side = "below" if price < min(known) else "above"  # the same text whatever the market does meanwhile
        far = f"more than {MAX_PRICE_FACTOR:g} times {side} every price of the market since it was ordered"
        return f"its average price is {_shown(price)}, {far}; the record has {plain_number(order.record_price)}"
    return ""


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def _shown(value: object) -> str:
    """A value as a message shows it, with its type where that is not a number's."""
    if isinstance(value, int):
        return f"an int of {value.bit_length()} bits" if not _is_number(value) else str(value)
    return str(value) if isinstance(value, float) else f"{value!r:.80} ({type(value).__name__})"


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
    return f"the order to {order.purpose} {order.signal_id!r} ({what}, {order.client_id})"
