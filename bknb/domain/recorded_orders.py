"""From the record of a strategy to orders: which ones its states and events lead to.

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
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from .interval import MINUTE_MS
from .lifecycle import Holding, Opening, State
from .orders import Order, OrderKind, SignalKey, client_id, key_of
from .signal import Cancelled, Closed, Event, Opened, OpenSignal, Scheduled, ScheduledSignal, labels_of

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
