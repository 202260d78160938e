"""Targets that rest at the broker beside the stop of a position: one conditional order for each level of the record.

They only reduce the position, so that stop and targets together never close more than there is. A level that cannot
rest is watched here, as all are where a broker has no such orders.

===================  ==========================================  ===================================================
at the broker        and                                         due
===================  ==========================================  ===================================================
a stop rests         for all that is held, nothing is on its way  a target for each level, of the share it closes
a target rests       the record's level has moved, or is gone    it is taken back; the next one follows its end
a target rests       it would close more than its share          it is taken back; the next one follows its end
a target rests       the record has taken the level before       it is taken back, and what it has not sold is sold
a target rests       nothing is held any more                    it is taken back
a target rests       the newest stop was refused                 it is taken back, to make room for the next stop
it was triggered     and not all of it filled                    the rest is sold at the market
refused, or ended    without our doing                           the level is watched here
===================  ==========================================  ===================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from .broker_account import Abilities
from .broker_orders_and_ids import MAX_CLOSES, Order, client_id, left_open, net_filled, order_beside
from .declared_exits import Target
from .interval import MINUTE_MS
from .lifecycle_inputs import FilledTarget
from .order_actions import Action, CancelOrder, Place, Query, Save
from .protection_gaps import is_bare
from .protective_orders import (
    MOST_FAILED,
    has_moved,
    is_sale,
    is_to_be_sold,
    overlaps,
    protective_orders,
    taken_back,
    target_orders,
)
from .quantity_of_partial_closes import size_of
from .quantity_step_and_least_amount import EXACT, is_dust, rounded_down

_BEHIND_ALL = 1_000_000  # above the number of any order of a position


class _Wanted(NamedTuple):
    """A target that is to rest: its level (quote currency), and how much it closes (base currency)."""

    level: float
    quantity: float


def differ(targets: Sequence[Target], known: Sequence[Target]) -> bool:
    """Whether targets are others, or so far from where they were that they are moved at the broker.

    Examples
    --------
    >>> differ((Target(110.0),), (Target(110.01),)), differ((Target(110.0),), (Target(110.0, 0.5),))
    (False, True)
    """
    if len(targets) != len(known):
        return True
    return any(a.share != b.share or has_moved(a.price, b.price) for a, b in zip(targets, known, strict=True))


def makes_room(orders: Sequence[Order]) -> Iterator[Action]:
    """Take targets back where a stop was refused: an exchange takes so many conditional orders and no more."""
    last = next(reversed(protective_orders(orders)), None)
    if last is None or last.status != "rejected" or orders[0].ended_at is not None:
        return
    if not (last.reached or last.child):
        yield from (_taken_back(order) for order in target_orders(orders) if order.status == "accepted")


def target_actions(orders: Sequence[Order], able: Abilities | None, now: int) -> Iterator[Action]:
    """The actions for the targets that rest at the broker, or are to rest there.

    Parameters
    ----------
    orders
        Of one signal, its entry first.
    able
        What the broker can do; ``None``: nothing is to rest.
    now
        UTC ms, by the clock here.
    """
    mine = target_orders(orders)
    goes_on = able is not None and able.targets and overlaps(able) and orders[0].ended_at is None
    wanted = _wanted(orders) if goes_on else []
    may_sell = goes_on and able is not None and not is_to_be_sold(orders, able, now)
    may_rest = may_sell and left_open(orders) > 0.0 and not is_bare(orders) and _is_settled(orders)
    for order in mine:
        if order.status == "intended":
            is_due = may_sell if _sells(order) else may_rest and _is_wanted(order, orders, wanted)
            yield Place(order) if is_due else Save(replace(taken_back(order), status="cancelled", note="not needed"))
        elif order.status in ("sent", "unknown", "triggered", "partly_filled") or (order.working and _sells(order)):
            yield Query(order)
        elif order.working and (order.ended_at is not None or not _is_to_stay(order, orders, wanted)):
            yield _taken_back(order)
    if may_sell:
        yield from map(Save, _sales(orders))
    if may_rest:
        yield from map(Save, _missing(orders, wanted))


def _taken_back(order: Order) -> Action:
    return Save(taken_back(order)) if order.ended_at is None else CancelOrder(order)


def _is_to_stay(order: Order, orders: Sequence[Order], wanted: Sequence[_Wanted]) -> bool:
    """Whether a target that rests is to rest on: while what closes the position is on its way it does."""
    if orders[0].ended_at is not None:
        return left_open(orders) > 0.0
    level = next((each for each in wanted if not has_moved(each.level, order.record_price)), None)
    return level is not None and (not _is_settled(orders) or _is_wanted(order, orders, wanted))


def _is_wanted(order: Order, orders: Sequence[Order], wanted: Sequence[_Wanted]) -> bool:
    """Whether the record has a level where a target is, and with those before it it closes no more than that does."""
    before = target_orders(orders)[: order.generation + 1]
    return any(
        math.fsum(_rest(one) for one in before if not has_moved(each.level, one.record_price))
        <= each.quantity * (1 + EXACT)
        for each in wanted
        if not has_moved(each.level, order.record_price)
    )


def _is_settled(orders: Sequence[Order]) -> bool:
    """Whether nothing but stops, targets and limits that rest is on its way, and the record has what targets sold."""
    for order in orders:
        unseen = order.purpose == "target" and not order.number and order.filled_quantity
        rests = order.kind == "limit" and order.status == "accepted" and order is not orders[0]
        on_its_way = order.purpose not in ("protect", "target") or is_sale(order)
        if unseen or (on_its_way and not order.done and not rests):
            return False
    return True


def _wanted(orders: Sequence[Order]) -> list[_Wanted]:
    """The targets of the record, the nearest first, with how much each closes of what is held."""
    entry, free = orders[0], max(net_filled(orders), 0.0)
    found: list[_Wanted] = []
    parts: list[Order] = []
    for number, target in enumerate(entry.targets, start=_BEHIND_ALL):
        share = 0.0 if target.share is None else target.share
        part = order_beside(
            entry, "reduce", quantity=0.0, record_price=target.price, created_at=0, number=number, share=share
        )
        size = (free if target.share is None else size_of(part, [*orders, *parts])) or 0.0
        sold = math.fsum(order.filled_quantity for order in _at(target.price, orders))
        quantity = rounded_down(max(min(size - sold, free), 0.0), entry.step)
        size = quantity + sold
        parts.append(replace(part, quantity=size, filled_quantity=size, status="filled"))
        free -= quantity
        if quantity > 0.0 and not is_dust(quantity, entry.step, entry.least):
            found.append(_Wanted(target.price, quantity))
    return found


def _sales(orders: Sequence[Order]) -> Iterator[Order]:
    """The next order that sells the rest of a target that was reached."""
    entry, held = orders[0], max(net_filled(orders), 0.0)
    for level in dict.fromkeys(order.record_price for order in target_orders(orders) if not order.number):
        there = _at(level, orders)
        rest, tried = rounded_down(min(_unsold(there), held), entry.step), sum(map(_sells, there))
        if tried < MAX_CLOSES and not is_dust(rest, entry.step, entry.least):
            yield _made(orders, rest, level, kind="market", attempt=tried + 1)
            return


def _missing(orders: Sequence[Order], wanted: Sequence[_Wanted]) -> Iterator[Order]:
    """The next target that is to rest; none while one that goes holds what it would close."""
    entry, left = orders[0], max(net_filled(orders), 0.0) - math.fsum(map(_rest, target_orders(orders)))
    for each in wanted:
        there = _at(each.level, orders)
        if any(order.filled_quantity and order.done for order in there) or _is_given_up(there):
            continue  # the record decides
        quantity = rounded_down(each.quantity - math.fsum(map(_rest, there)), entry.step)
        if quantity <= left * (1 + EXACT) and not is_dust(quantity, entry.step, entry.least):
            yield _made(orders, quantity, each.level, kind="target")
            return


def _is_given_up(there: Sequence[Order]) -> bool:
    """Whether the broker has refused or ended a target of a level without our doing, or it was lost again."""
    failed = [order for order in there if order.done and order.ended_at is None]
    return len(failed) >= MOST_FAILED or any(order.status != "lost" for order in failed)


def _rest(order: Order) -> float:
    """What an order may yet close, in base currency."""
    return 0.0 if order.done else order.quantity - order.filled_quantity


def _unsold(there: Sequence[Order]) -> float:
    """How much of a level that was reached at the broker is not sold, and will not be, in base currency."""
    reached = any(order.filled_quantity or (order.child and order.ended_at is None) for order in there)
    if not reached or not all(order.done for order in there):
        return 0.0
    asked = math.fsum(order.quantity for order in there if order.kind == "target")
    return max(asked - math.fsum(order.filled_quantity for order in there), 0.0)


def _sells(order: Order) -> bool:
    """Whether an order sells at the market what a target has not."""
    return order.trigger is None


def _at(level: float, orders: Sequence[Order]) -> list[Order]:
    """The targets at a level that the record has not taken, and what sold the rest of them."""
    return [order for order in target_orders(orders) if not order.number and not has_moved(level, order.record_price)]


def _made(orders: Sequence[Order], quantity: float, level: float, *, kind: str, attempt: int = 1) -> Order:
    entry, generation = orders[0], len(target_orders(orders))
    known = entry.created_at if entry.opened_at is None else entry.opened_at + MINUTE_MS
    made = order_beside(entry, "target", quantity=quantity, record_price=level, created_at=known, attempt=attempt)
    name = client_id(entry.strategy, entry.symbol, entry.key, "target", generation=generation)
    made = replace(made, client_id=name, generation=generation)
    return replace(made, kind="target", trigger=level) if kind == "target" else made


# --- what the record has of them


def targets_filled(orders: Sequence[Order], before: int) -> tuple[FilledTarget, ...]:
    """The targets that were filled at the broker before a moment (UTC ms), and that the record has not taken."""
    found = []
    for level in sorted({order.record_price for order in target_orders(orders) if not order.number}):
        there = _at(level, orders)
        filled = [order for order in there if order.filled_quantity]
        known = all(order.filled_at is not None and order.filled_at < before for order in filled)
        if not filled or not known or not all(order.done for order in there):
            continue
        tried = sum(map(_sells, there)) >= MAX_CLOSES
        if not (tried or is_dust(_unsold(there), orders[0].step, orders[0].least)):
            continue
        quantity = math.fsum(order.filled_quantity for order in filled)
        paid = math.fsum(order.filled_quantity * (order.average_price or 0.0) for order in filled)
        found.append(FilledTarget(level, paid / quantity))
    return tuple(found if orders[0].side == "buy" else reversed(found))


def taken_by_record(orders: Sequence[Order], price: float, share: float) -> tuple[Order, list[Order]]:
    """The entry without the level that the record has taken, and the orders of that level, as far as they left.

    Parameters
    ----------
    orders
        Of its signal, the entry first.
    price, share
        At which price the record has taken it (quote currency): of there, where the broker has filled it. The share is
        in units of the first size.
    """
    resting = _at_taken_level(orders, price)
    level = resting[0].record_price if resting else None
    targets = orders[0].targets
    gone = next((each for each in targets if level is not None and not has_moved(each.price, level)), None)
    if gone is None:
        gone = next((each for each in targets[:1] if each.share == share), None)
    left = tuple(each for each in targets if each is not gone)
    return replace(orders[0], targets=left), resting


def _at_taken_level(orders: Sequence[Order], price: float) -> list[Order]:
    left = [
        order
        for order in target_orders(orders)
        if not order.number and order.status != "intended" and (order.filled_quantity or not order.done)
    ]
    sign = 1 if orders[0].side == "buy" else -1
    levels = sorted({order.record_price for order in left}, key=lambda level: sign * level)
    filled = (each.level for each in targets_filled(orders, before=2**62) if each.price == price)
    reached = (each for each in levels if sign * each <= sign * price or not has_moved(each, price))
    level = next(filled, next(reached, None))
    return [] if level is None else [order for order in left if not has_moved(level, order.record_price)]
