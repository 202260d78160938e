"""How much is bought or sold for the parts of a position and its adds: shares of what the account really holds.

The record counts in units of the first size. At the broker the first size is what was filled of the entry, and a part
is the same share of what is held there as it is of what the record holds: an account in which less was filled is a
smaller copy of the record, and nobody sells more than there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from .broker_orders_and_ids import MAX_CLOSES, Order, left_open
from .position_fills import DUST
from .quantity_step_and_least_amount import EXACT, NEAR, is_dust


def by_number(orders: Sequence[Order]) -> list[list[Order]]:
    """The orders of parts and adds, those with one number together, in turn.

    Of an entry that was cut come first, under number 0, it and what closes the rest of it.
    """
    found: dict[int, list[Order]] = {}
    is_cut = bool(orders) and orders[0].kept is not None
    for order in orders:
        is_cut_too = is_cut and order.purpose != "target"
        if order.purpose not in ("close", "protect", "manual") and (order.number or is_cut_too):
            found.setdefault(order.number, []).append(order)
    return list(found.values())


def owed(part: Sequence[Order]) -> float:
    """How much of a part is not sold yet, in base currency; of what opens or adds, what :func:`filled_beyond` says."""
    last = part[-1]
    if last.purpose == "reduce" and last.status == "filled":
        return 0.0
    asked = _asked(part)
    rest = asked - _sold(part)
    return rest if rest > asked * EXACT and not is_dust(rest, last.step, last.least) else 0.0


def sold_beyond(part: Sequence[Order]) -> float:
    """How much more of a part was sold than was to be, in base currency, and not by rounding."""
    asked = _asked(part)
    beyond = _sold(part) - asked
    return beyond if beyond > asked * NEAR else 0.0


def _asked(part: Sequence[Order]) -> float:
    """How much of a part is to be sold, in base currency; of what opens or adds, what :func:`filled_beyond` says."""
    first = part[0]
    if first.purpose == "reduce":
        return first.quantity
    if first.purpose == "target":
        return math.fsum(order.quantity for order in part if order.kind == "target")
    return filled_beyond(first) if first.done else 0.0


def filled_beyond(order: Order) -> float:
    """How much more is filled of an entry or an add than the record has of it, in base currency.

    All of one that was taken back, and of one that was cut what is beyond that.
    """
    if order.kept is not None:
        beyond = order.net_filled - order.kept
        return beyond if beyond > order.quantity * EXACT else 0.0
    return order.net_filled if order.ended_at is not None else 0.0


def filled_of(order: Order) -> float:
    """How much an entry or an add has left in the account, and is the record's, in base currency."""
    return order.net_filled if order.kept is None else min(order.net_filled, order.kept)


def _sold(part: Sequence[Order]) -> float:
    return math.fsum(order.filled_quantity for order in part if order.purpose in ("reduce", "target"))


def taken_by_hand(orders: Sequence[Order]) -> float:
    """How much of what a signal held was sold, moved or withdrawn by hand, in base currency."""
    return math.fsum(order.filled_quantity for order in orders if order.purpose == "manual")


def part_given_up(part: Sequence[Order]) -> bool:
    """Whether something of a part is not sold after every order tried."""
    last = part[-1]
    return last.purpose == "reduce" and last.done and last.attempt >= MAX_CLOSES and owed(part) > 0.0


def rounded_part(orders: Sequence[Order]) -> Order | None:
    """A part or an add that was filled, and not by exactly what was asked for: the market rounded it."""
    for order in orders:
        difference, is_close = abs(order.filled_quantity - order.quantity), order.purpose == "close"
        if order.number and not is_close and order.status == "filled" and difference > order.quantity * EXACT:
            return order
    return None


def free_to_close(orders: Sequence[Order]) -> float:
    """How much may be closed at present without ever closing more than is open, in base currency.

    Orders to close something that are under way count as filled, and so does what is in doubt.
    """
    return left_open([_as_filled(order) if order.reduces_only and not order.done else order for order in orders])


def _as_filled(order: Order) -> Order:
    return replace(order, filled_quantity=max(order.quantity, order.filled_quantity) + order.in_doubt)


def size_of(order: Order, orders: Sequence[Order]) -> float | None:
    """How much a part or an add is, in base currency; ``None`` while a part counts on an add that may yet fill."""
    held, size = filled_of(orders[0]), 1.0
    if order.purpose == "add":
        return order.share * held
    held -= taken_by_hand(orders)
    waits, before = False, True
    for part in by_number(orders):
        first = part[0]
        if first.number == order.number:
            before = False
        elif first.purpose == "open":
            continue
        elif first.purpose == "add":
            counts = first.opened_at is not None or (first.kind == "market" and first.ended_at is None)
            if counts and first.done:
                held, size = held + filled_of(first), size + first.share
            elif counts and first.number < order.number:
                waits = True
        elif before:
            sold = math.fsum(each.filled_quantity for each in part)
            held, size = held - sold - (0.0 if part_given_up(part) else owed(part)), size - first.share
    if waits and order.share >= size - DUST:
        return None
    return max(min(order.share / size, 1.0) * held, 0.0) if size > DUST else max(held, 0.0)
