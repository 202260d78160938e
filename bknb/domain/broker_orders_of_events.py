"""From the record of a strategy to orders: which ones its states and events lead to.

The record (what the candles say a strategy would have done) decides; the broker follows. Each signal has one entry
order, orders for the parts and adds of its position and, once it is over, closing orders for exactly what is left. A
decision of a moment is an order of the record's state, and leaves at that moment; the rest follows from events:

================= =============================================================================
state or event    the orders of its signal
================= =============================================================================
Opening           a market or limit order, of several each; a stop entry is watched here until it opens
Holding           a part that was decided is a market order, an add a market or limit order; one by a stop order is
                  watched here until it fills
Holding, leaving  what is left is closed; at a session's close, at the open of its last minute
Opened            a market order, unless the entry was ordered already: that one is expected to fill
Reduced, Added    the same: a level of a ladder is ordered once a candle has reached it
AddCancelled      the add is cancelled; what was filled of it meanwhile is closed
Cancelled         the entry is cancelled; what was filled of it meanwhile is closed
Closed            entry and adds are cancelled as far as they are unfilled; what is left is closed
================= =============================================================================

Parts and closing orders are market orders. Target, stop and deadline are watched here, and only while the process runs;
where the broker says so, the stop rests there, too (:mod:`bknb.domain.protective_orders`), and so do targets
(:mod:`bknb.domain.target_orders`): a part that one has sold is not ordered again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from .broker_orders_and_ids import Order, OrderKind, client_id, closing_orders, order_beside
from .declared_exits import Target, targets_of
from .interval import MINUTE_MS
from .lifecycle import Holding, Opening, State, position_of, waiting_signals
from .position_book import PositionOrder
from .protective_orders import has_moved
from .quantity_of_partial_closes import by_number
from .quantity_step_and_least_amount import EXACT
from .signal import OpenSignal, ScheduledSignal, SignalKey, key_of, labels_of, sign_of
from .signal_events import AddCancelled, Added, Cancelled, Closed, Event, Opened, Reduced, Scheduled
from .target_orders import differ, taken_by_record
from .trailing_and_breakeven_stops import stop_in_force

Orders: TypeAlias = Mapping[SignalKey, Sequence[Order]]
"""What is known, by signal: the entry, then the others in turn."""
OrderEvent: TypeAlias = Scheduled | Opened | Cancelled | Closed | Reduced | Added | AddCancelled
ORDER_EVENTS: Final = (Scheduled, Opened, Cancelled, Closed, Reduced, Added, AddCancelled)
"""The events that may lead to orders."""
QuantityOf: TypeAlias = Callable[[OpenSignal | ScheduledSignal], float | str]
"""How much to trade, in base currency, or why that is unknown: then the order is rejected with that note before it
leaves. Asked once for each signal, when there is an order to make."""
KeptOf: TypeAlias = Callable[[OpenSignal], float | None]
"""How much of its entry a position has in the record, in base currency, where that was cut when it filled; ``None``: it
was not."""


def not_cut(signal: OpenSignal) -> None:
    """``None``: an entry is cut where there is an account alone."""


def last_minute(close: int) -> int:
    """When the last minute before a close opens (UTC ms)."""
    return close - MINUTE_MS


def orders_of_state(
    state: State,
    orders: Orders,
    quantity_of: QuantityOf,
    *,
    last_open: Callable[[int], int] = last_minute,
    with_stops: bool = False,
    with_targets: bool = False,
) -> tuple[Order, ...]:
    """The orders that are new or changed because of what a state has decided and no minute has filled yet.

    ``last_open`` says when the last candle before a close opens (UTC ms): an order for that close leaves then. Where
    ``with_stops``, entries are changed as the stop in force moves, and ``with_targets`` as the targets do.
    """
    ending = position_of(state)
    found: list[Order] = []
    if ending is not None and (leaves := _leaves(ending, last_open)) is not None:
        mine, (not_before, price) = orders.get(key_of(ending.signal), ()), leaves
        closing = closing_orders(mine)
        if mine and mine[0].ended_at != not_before and not any_left(closing):
            found.append(ended(mine[0], not_before, price))
            found += [msgspec.structs.replace(order, created_at=not_before) for order in closing]
    elif ending is not None:
        mine = orders.get(key_of(ending.signal), ())
        found += _orders_of_book(ending, mine)
        if with_stops and mine and mine[0].ended_at is None:
            found += _with_levels(mine[0], stop_of(ending), targets_in_force(ending) if with_targets else ())
    if not isinstance(state, Opening) or not (state.close_at is None or state.sent):
        return tuple(found)
    for signal in waiting_signals(state):
        if signal.entry == "stop":
            continue
        entry = _entry(orders, signal)
        kind: OrderKind = "limit" if signal.entry == "limit" else "market"
        leaves_at = state.not_before if state.close_at is None else max(state.not_before, last_open(state.close_at))
        if entry is None:
            quantity = quantity_of(signal)
            found.append(_entry_order(signal, quantity, kind=kind, created_at=leaves_at, opened_at=None))
        elif entry.status == "intended" and entry.created_at != leaves_at:
            found.append(msgspec.structs.replace(entry, created_at=leaves_at))
    return tuple(found)


def stop_of(state: Holding) -> float | None:
    """The stop in force of a position, in quote currency; ``None``: it has none."""
    if state.book is None:
        return state.signal.price_stop_loss
    sign = sign_of(state.signal.position)
    found = stop_in_force(state.book, sign, state.highest if sign > 0 else state.lowest, None)
    return None if found is None else found.price


def targets_in_force(state: Holding) -> tuple[Target, ...]:
    """The targets of a position that it has not reached, the nearest first."""
    if state.book is not None:
        return state.book.targets
    return state.signal.targets or targets_of(state.signal.price_take_profit)


def _with_levels(entry: Order, stop: float | None, targets: tuple[Target, ...]) -> list[Order]:
    """The entry with the levels of the record, where they are others by more than is worth an order."""
    changed = msgspec.structs.replace(
        entry,
        stop=stop if has_moved(stop, entry.stop) else entry.stop,
        targets=targets if differ(targets, entry.targets) else entry.targets,
    )
    return [changed] if changed != entry else []


def _leaves(state: Holding, last_open: Callable[[int], int]) -> tuple[int, float] | None:
    """When the closing order of a position leaves (UTC ms), and the average price at its decision; ``None``: not yet.

    One for the close of a session leaves at the open of its last minute; of a position that was opened in that minute
    it leaves when it has closed, as only then it is known that there is one.
    """
    if state.leaving is not None:
        return state.leaving.not_before, state.leaving.price
    closing = None if state.book is None else state.book.closing
    if closing and closing.sent:
        leaves = last_open(closing.moment)
        leaves = leaves if state.signal.pending_at < leaves else closing.moment
        return max(leaves, closing.not_before), closing.price
    return None


def _orders_of_book(state: Holding, mine: Sequence[Order]) -> list[Order]:
    """The parts and adds of a position that no candle has filled, as far as they are new or changed."""
    if state.book is None or not _is_traded(mine):
        return []
    known = {order.number: order for order in reversed(mine)}
    found: list[Order] = []
    for ordered in state.book.orders:
        if ordered.is_stop:  # it is watched here until it fills
            continue
        order = known.get(ordered.number)
        if order is None:
            found.append(_part_or_add(mine[0], ordered))
        elif order.status == "intended" and order.created_at != ordered.not_before:
            found.append(msgspec.structs.replace(order, created_at=ordered.not_before))
    return found


def _is_traded(mine: Sequence[Order]) -> bool:
    """Whether a position that is not over has, or may have, something at the broker."""
    return bool(mine) and mine[0].ended_at is None and not (mine[0].done and mine[0].filled_quantity == 0.0)


def any_left(orders: Iterable[Order]) -> bool:
    """Whether one of these orders may be on its way to the broker, or there.

    One whose quantity could not be worked out is rejected here, and never leaves; its quantity is 0.
    """
    return any(order.status != "intended" and order.quantity > 0.0 for order in orders)


def orders_after(event: Event, orders: Orders, quantity_of: QuantityOf, kept_of: KeptOf = not_cut) -> tuple[Order, ...]:
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
            if not isinstance(event.signal, OpenSignal) or entry.opened_at is not None:
                return ()
            return (opened(entry, event.signal, kept_of),)
        case Cancelled():
            entry = _entry(orders, event.signal)
            if entry is None or entry.ended_at is not None:
                return ()
            over = ended(entry, _ended_at(event), event.price)
            return (cut(over, 0.0) if event.reason == "risk" else over,)
        case Closed():
            return _after_close(event, orders.get(key_of(event.signal), ()))
        case Reduced() | Added():
            return _after_fill(event, orders.get(key_of(event.signal), ()))
        case AddCancelled():
            add = next((each for each in orders.get(key_of(event.signal), ()) if each.number == event.number), None)
            if add is None or add.ended_at is not None or add.opened_at is not None:
                return ()
            over = msgspec.structs.replace(add, ended_at=event.when)
            return (cut(over, 0.0) if event.reason == "risk" else over,)
        case _:
            return ()


def _after_close(event: Closed, mine: Sequence[Order]) -> tuple[Order, ...]:
    """The orders of a position that was closed, at the price of its last fill.

    A part that the record has not filled before is the one that closed it: without an add it counted on, or decided
    late, it was all that was left.
    """
    if not mine:
        return ()
    entry, price = mine[0], event.price_close
    found: list[Order] = []
    if entry.ended_at is None:
        found.append(ended(entry, _ended_at(event), price))
    elif entry.exit_price != price:
        found.append(msgspec.structs.replace(entry, exit_price=price))
        found += [msgspec.structs.replace(order, record_price=price) for order in closing_orders(mine)]
    for part in by_number(mine):
        if part[0].purpose == "reduce" and part[0].opened_at is None:
            found += [msgspec.structs.replace(order, opened_at=event.closed_at, record_price=price) for order in part]
    return tuple(found)


def _after_fill(event: Reduced | Added, mine: Sequence[Order]) -> tuple[Order, ...]:
    """The orders of a part or an add that the record has filled; one that was not ordered is ordered now."""
    fill = event.fill
    known = [order for order in mine if order.number == fill.number]
    if known:
        filled = [order for order in known if order.opened_at is None]
        return tuple(
            _with_share(msgspec.structs.replace(order, opened_at=fill.at, record_price=fill.price), fill.share)
            for order in filled
        )
    if not _is_traded(mine):
        return ()
    before: tuple[Order, ...] = ()
    if fill.reason == "take_profit" and mine[0].targets:
        entry, resting = taken_by_record(mine, fill.price, fill.share)
        before = (entry,)
        if resting:
            return (entry, *(_taken(each, event) for each in resting))
    by_candle = fill.reason == "take_profit" or isinstance(event, Added)  # known when the candle has closed
    ordered = PositionOrder(
        kind="add" if isinstance(event, Added) else "reduce",
        number=fill.number,
        share=fill.share,
        decided_at=event.when,
        not_before=event.when + MINUTE_MS if by_candle else event.when,
        price=fill.price,
    )
    return (*before, msgspec.structs.replace(_part_or_add(mine[0], ordered), opened_at=fill.at))


def _taken(target: Order, event: Reduced | Added) -> Order:
    """A target that is a part of the record now; what it has not sold is, once it is over."""
    fill, over = event.fill, target.ended_at if target.done else event.when
    return msgspec.structs.replace(
        target, number=fill.number, share=fill.share, opened_at=fill.at, record_price=fill.price, ended_at=over
    )


def _with_share(order: Order, share: float) -> Order:
    """An add that the record has filled with a share; it is cut where that is less than was ordered."""
    if order.purpose != "add" or share >= order.share * (1 - EXACT):
        return order
    order, was = msgspec.structs.replace(order, share=share), order.share
    return cut(order, order.quantity * share / was) if order.quantity else order


def cut(order: Order, kept: float) -> Order:
    """An entry or an add of which the record has less than was ordered, in base currency; it may be at the broker."""
    if order.status == "intended" and kept > 0.0:
        return msgspec.structs.replace(order, quantity=min(kept, order.quantity))
    return msgspec.structs.replace(order, kept=kept) if kept < order.quantity * (1 - EXACT) else order


def opened(entry: Order, signal: OpenSignal, kept_of: KeptOf) -> Order:
    """The entry order of a position that the record has opened."""
    entry = msgspec.structs.replace(entry, opened_at=signal.pending_at, record_price=signal.price_open)
    kept = kept_of(signal)
    return entry if kept is None else cut(entry, kept)


def _part_or_add(entry: Order, ordered: PositionOrder) -> Order:
    """The order of a part or an add; how much it is follows from what is held when it is sent."""
    limit = ordered.price_open
    return order_beside(
        entry,
        ordered.kind,
        quantity=0.0,
        record_price=ordered.price if limit is None else limit,
        created_at=ordered.not_before,
        limit=limit,
        number=ordered.number,
        share=ordered.share,
    )


def _known_at(event: Scheduled | Opened, kind: OrderKind) -> int:
    """When an entry without an order is ordered (UTC ms): a limit at its decision, a stop entry after its minute."""
    if kind == "limit":
        return event.signal.scheduled_at
    return event.when + MINUTE_MS if event.signal.entry == "stop" else event.when


def _ended_at(event: Closed | Cancelled) -> int:
    """When the end of a signal was known (UTC ms): what a minute did, when it had closed."""
    by_clock = isinstance(event, Cancelled) and event.reason not in ("price_reject", "risk", "place_taken")
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
        stop=signal.price_stop_loss,
        status="rejected" if isinstance(quantity, str) else "intended",
        note=quantity if isinstance(quantity, str) else "",
    )
