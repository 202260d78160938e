"""From the orders of a signal to the next action; :mod:`bknb.live.orders_sent_to_broker` carries it out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from .broker_account import Abilities
from .broker_orders_and_ids import MAX_CLOSES, Order, closing_orders, is_superseded, order_beside
from .interval import MINUTE_MS
from .order_actions import Action, Attempt, CancelOrder, MoveStop, Place, Query, Save, attempt_of
from .protective_actions import protective_actions
from .protective_orders import free_to_sell, overlaps, place_for, protective_orders, taken_back, takes_place
from .quantity_of_partial_closes import by_number, owed, size_of
from .quantity_step_and_least_amount import EXACT
from .target_orders import makes_room, target_actions


def next_action(
    orders: Sequence[Order], tried: Collection[Attempt] = (), *, able: Abilities | None = None, now: int = 0
) -> Action | None:
    """The first of :func:`due_actions` that was not tried yet; ``None``: there is none."""
    due = due_actions(orders, able=able, now=now)
    return next((action for action in due if attempt_of(action) not in tried), None)


def due_actions(orders: Sequence[Order], *, able: Abilities | None = None, now: int = 0) -> Iterator[Action]:
    """The actions that are due for the orders of one signal, the most urgent first; none: wait for the next event.

    Each can be carried out although those before it were tried in vain: an order that the broker does not cancel, or
    does not answer about, holds up no other.

    What is unfilled of an entry that the record opened is cancelled before the first part or add: the first size is
    what was filled of it. Of what was cut it is cancelled once enough is filled, and what is too much is closed again.

    Parameters
    ----------
    orders
        Its entry, then the others in turn.
    able
        What the broker can do, where a stop is to rest there; see :mod:`bknb.domain.protective_actions`.
    now
        UTC ms, by the clock here.
    """
    due = _due(orders, able, now)
    yield from _no_more_than_held(orders, able, now, due) if any(map(_rests_there, orders)) else due


def _rests_there(order: Order) -> bool:
    """Whether an order is a stop or a target at the broker, or sells in the place of one."""
    return order.purpose in ("protect", "target")


def _no_more_than_held(
    orders: Sequence[Order], able: Abilities | None, now: int, due: Iterator[Action]
) -> Iterator[Action]:
    """Actions of which none sells more than is held; one that would do so beside a stop asks about that before.

    What a stop has sold since an order was made would be sold again, from what somebody else has in the account.
    """
    for action in due:
        order = action.order
        waits = order.purpose == "target" and order.trigger is not None
        if not (isinstance(action, Place) and order.reduces_only) or waits:
            yield action
            continue
        if overlaps(able):
            asked = orders if order.trigger is None else protective_orders(orders)
            yield from (Query(each) for each in asked if _rests_there(each) and each.working)
        free = free_to_sell([each for each in orders if each.client_id != order.client_id], able, now)
        if order.quantity <= free * (1 + EXACT):
            yield action
        elif free > orders[0].quantity * EXACT:
            yield Save(replace(order, quantity=free))
        else:
            gone = taken_back(order) if order.purpose == "protect" else order
            yield Save(replace(gone, status="cancelled", note="nothing is held at the broker"))


def _due(orders: Sequence[Order], able: Abilities | None, now: int) -> Iterator[Action]:
    entry = orders[0]
    if able is not None or any(map(_rests_there, orders)):
        yield from makes_room(orders)
        yield from protective_actions(orders, able, now)
        yield from target_actions(orders, able, now)
    if not entry.done and entry.ended_at is None:
        beside = any(order.purpose not in ("protect", "target", "manual") for order in orders[1:])
        if (beside or entry.has_enough) and _hangs(entry):
            yield CancelOrder(entry)
        else:
            yield from _entry_actions(entry)
        return
    free, instead = free_to_sell(orders, able, now), takes_place(orders, able)
    if entry.ended_at is None:
        actions = _position_actions(orders, free, beside_stops=overlaps(able) or instead)
    else:
        actions = _closing_actions(orders, free)
    yield from _in_place_of_stops(orders, actions) if instead else actions


def _in_place_of_stops(orders: Sequence[Order], actions: Iterator[Action]) -> Iterator[Action]:
    """Actions of which those that sell take the place of a stop where too little is free, once others are gone."""
    for action in actions:
        if not (isinstance(action, Place) and action.order.reduces_only):
            yield action
            continue
        stop, before = place_for(action.order, orders)
        if before:
            continue
        name = "" if stop is None else stop.client_id
        order = replace(action.order, replaces=name)
        yield MoveStop(order) if name else Place(order)


def _hangs(order: Order) -> bool:
    """Whether the broker has not filled the whole of what the record has filled, and may never do so."""
    return order.working and order.opened_at is not None and (order.kind == "limit" or order.status == "partly_filled")


def _position_actions(orders: Sequence[Order], free: float, *, beside_stops: bool) -> Iterator[Action]:
    """The actions for the parts and adds of a position.

    ``free`` is how much may be closed (base currency); ``beside_stops``: also while stops rest.
    """
    waits: list[Query] = []
    hanging: list[Order] = []
    locked = any(not stop.done and not (beside_stops and stop.working) for stop in protective_orders(orders))
    for order in orders[1:]:
        waits_for_stop = locked and order.purpose == "reduce" and order.status == "intended"
        if order.done or _rests_there(order) or waits_for_stop:
            continue
        if order.status == "intended":
            yield from map(CancelOrder, hanging)
            # of one that the broker does not cancel counts what is filled
            known = [replace(each, status="cancelled") if each in hanging else each for each in orders]
            action = _unsent(order, known, free)
            if action is not None:
                yield action
        elif order.working and (order.ended_at is not None or order.has_enough or is_superseded(order, orders)):
            yield CancelOrder(order)
        elif order.kind == "market" or not order.working or order.opened_at is not None:
            waits.append(Query(order))
            hanging.extend([order] if _hangs(order) and not order.reduces_only else [])
    yield from _rest_of_a_part(orders, free)
    yield from waits


def _unsent(order: Order, orders: Sequence[Order], free: float) -> Action | None:
    """What is done about a part or an add that never left; ``None``: it waits for an add before it."""
    if order.ended_at is not None:
        return Save(replace(order, status="cancelled", note="it was taken back before it was sent"))
    if order.quantity > 0.0:
        return Place(order)
    size = size_of(order, orders)
    if size is None:
        return None
    size = min(size, free) if order.reduces_only else size
    if size <= orders[0].quantity * EXACT:
        return Save(replace(order, status="cancelled", note="nothing is held at the broker"))
    return Save(replace(order, quantity=size))


def _rest_of_a_part(orders: Sequence[Order], free: float) -> Iterator[Save]:
    """Another order for a part that was not sold, or one that sells what was filled and is not the record's."""
    for part in by_number(orders):
        last = part[-1]
        attempt = last.attempt + 1 if last.purpose == "reduce" else 1
        quantity = min(owed(part), free) if last.done and attempt <= MAX_CLOSES else 0.0
        if quantity > 0.0:
            yield Save(
                order_beside(
                    orders[0], "reduce", quantity=quantity, record_price=last.record_price, created_at=_due_since(last),
                    number=last.number, share=last.share, attempt=attempt,
                )
            )  # fmt: skip


def _due_since(order: Order) -> int:
    """When it was known that an order is to be tried again, or that some of what it filled is to be sold, UTC ms."""
    if order.ended_at is not None:
        return order.ended_at
    is_cut = order.kept is not None and order.opened_at is not None
    return order.opened_at + MINUTE_MS if is_cut and order.opened_at is not None else order.created_at


def _closing_actions(orders: Sequence[Order], free: float) -> Iterator[Action]:
    """The actions for a signal that is over: what is held is sold first, then the rest is settled.

    ``free`` is how much may be closed (base currency). An entry or an add that is not settled yet may fill again and
    again: half of the closing orders are kept for what it has filled in the end. What they are found to have filled
    while a closing order is under way is closed beside it, by an order with the number of an add.
    """
    entry, closing = orders[0], closing_orders(orders)
    for order in orders:
        if order.status == "intended" and order.purpose != "close":
            note = f"the {'signal was over' if order is entry else 'position ended'} before this was sent"
            yield Save(replace(order, status="cancelled", note=note))
    for order in closing:
        if not (order.done or order.working):
            yield Place(order) if order.status == "intended" else Query(order)
    last = next((order for order in reversed(closing) if not order.number), None)
    if last is None or last.done:
        attempt = 1 if last is None else last.attempt + 1
        settled = all(order.done for order in orders if not order.reduces_only)
        if free > 0.0 and attempt <= (MAX_CLOSES if settled else MAX_CLOSES // 2):
            yield _closing(entry, free, attempt=attempt)
    for order in orders:
        if order.working and (not order.reduces_only or is_superseded(order, orders)):
            yield CancelOrder(order)
    if last is not None and not last.done and free > 0.0:
        beside = {order.number for order in closing}
        adds = (order.number for order in reversed(orders) if order.purpose == "add" and order.filled_quantity > 0.0)
        number = next((number for number in adds if number not in beside), None)
        if number is not None:
            yield _closing(entry, free, number=number)
    yield from (Query(order) for order in orders if not order.done and order.status != "intended")


def _closing(entry: Order, quantity: float, *, attempt: int = 1, number: int = 0) -> Save:
    assert entry.ended_at is not None  # it is over  # noqa: S101
    assert entry.exit_price is not None  # both are set at once  # noqa: S101
    return Save(
        order_beside(
            entry, "close", quantity=quantity, record_price=entry.exit_price, created_at=entry.ended_at,
            attempt=attempt, number=number,
        )
    )  # fmt: skip


def _entry_actions(entry: Order) -> Iterator[Action]:
    """The action for the entry of a signal that goes on."""
    if entry.status == "intended":
        yield Place(entry)
    elif not entry.working or entry.opened_at is not None:
        yield Query(entry)
