"""From the orders of a signal to the next action; :mod:`bknb.live.order_desk` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from .order_sizes import free_to_sell, owed, parts_of, size_of
from .orders import MAX_CLOSES, Order, client_id, closing_orders
from .rounding import EXACT


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

    What is unfilled of an entry that the record opened is cancelled before the first part or add: the first size is
    what was filled of it.

    Parameters
    ----------
    orders
        Its entry, then the others in turn.
    """
    entry = orders[0]
    if not entry.done:
        if len(orders) > 1 and _hangs(entry):
            return Cancel(entry)
        return _entry_action(entry)
    return _position_action(orders) if entry.ended_at is None else _closing_action(orders)


def _hangs(order: Order) -> bool:
    """Whether the broker has not filled the whole of what the record has filled, and may never do so."""
    return order.working and order.opened_at is not None and (order.kind == "limit" or order.status == "partly_filled")


def _position_action(orders: Sequence[Order]) -> Action | None:
    """The next action for the parts and adds of a position."""
    waits: Query | None = None
    hanging: Order | None = None
    for order in orders[1:]:
        if order.done:
            continue
        if order.status == "intended":
            if hanging is not None:
                return Cancel(hanging)
            action = _unsent(order, orders)
            if action is not None:
                return action
        elif order.working and order.ended_at is not None:
            return Cancel(order)
        elif order.kind == "market" or not order.working or order.opened_at is not None:
            waits = waits or Query(order)
            hanging = order if _hangs(order) and not order.reduces_only else hanging
    return _rest_of_a_part(orders) or waits


def _unsent(order: Order, orders: Sequence[Order]) -> Action | None:
    """What is done about a part or an add that never left; ``None``: it waits for an add before it."""
    if order.ended_at is not None:
        return Save(msgspec.structs.replace(order, status="cancelled", note="it was taken back before it was sent"))
    if order.quantity > 0.0:
        return Place(order)
    size = size_of(order, orders)
    if size is None:
        return None
    if size <= orders[0].quantity * EXACT:
        return Save(msgspec.structs.replace(order, status="cancelled", note="nothing is held at the broker"))
    return Save(msgspec.structs.replace(order, quantity=size))


def _rest_of_a_part(orders: Sequence[Order]) -> Save | None:
    """Another order for a part that was not sold, or one that sells what was filled of an add that was taken back."""
    for part in parts_of(orders):
        last = part[-1]
        attempt = last.attempt + 1 if last.purpose == "reduce" else 1
        quantity = min(owed(part), free_to_sell(orders)) if last.done and attempt <= MAX_CLOSES else 0.0
        if quantity > 0.0:
            since = last.created_at if last.ended_at is None else last.ended_at
            order = _selling_order(orders[0], "reduce", quantity, attempt, since, last.record_price, number=last.number)
            return Save(msgspec.structs.replace(order, share=last.share))
    return None


def _closing_action(orders: Sequence[Order]) -> Action | None:
    """The next action for a signal that is over: what is held is sold first, then the rest is settled."""
    entry, closing = orders[0], closing_orders(orders)
    for order in orders:
        if order.status == "intended" and order.purpose != "close":
            note = "the position ended before this was sent"
            return Save(msgspec.structs.replace(order, status="cancelled", note=note))
    last = closing[-1] if closing else None
    if last is not None and not last.done:
        if not last.working:
            return Place(last) if last.status == "intended" else Query(last)
    else:
        attempt = 1 if last is None else last.attempt + 1
        quantity = free_to_sell(orders)
        if quantity > 0.0 and attempt <= MAX_CLOSES:
            assert entry.ended_at is not None  # it is over  # noqa: S101
            assert entry.exit_price is not None  # both are set at once  # noqa: S101
            return Save(_selling_order(entry, "close", quantity, attempt, entry.ended_at, entry.exit_price))
    for order in orders:
        if order.working and not order.reduces_only:
            return Cancel(order)
    unsettled = next((order for order in orders if not order.done), None)
    return None if unsettled is None else Query(unsettled)


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


def _selling_order(
    entry: Order,
    purpose: Literal["reduce", "close"],
    quantity: float,
    attempt: int,
    created_at: int,
    record_price: float,
    *,
    number: int = 0,
) -> Order:
    """An order at the market that sells what was bought, or for a short the other way round."""
    return Order(
        client_id=client_id(entry.strategy, entry.symbol, entry.key, purpose, attempt, number),
        signal_id=entry.signal_id,
        decided_at=entry.decided_at,
        symbol=entry.symbol,
        strategy=entry.strategy,
        exchange=entry.exchange,
        purpose=purpose,
        side="sell" if entry.side == "buy" else "buy",
        kind="market",
        quantity=quantity,
        price=None,
        record_price=record_price,
        created_at=created_at,
        number=number,
        attempt=attempt,
    )
