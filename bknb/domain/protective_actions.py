"""Which action is due about the stops that rest at the broker for a position.

Where a stop holds what it would sell, nothing that sells is sent beside it: it is taken back first, and its last fill
is read. Where orders only reduce a position, the new stop rests before the old one goes, and so does what sells.

==============  ================================================  ==================================================
at the broker   and                                               due
==============  ================================================  ==================================================
nothing rests   something is held, and the record has a stop      a stop of the next generation for all that is free
a stop rests    more was filled                                   another one for what is new
a stop rests    the stop of the record has moved                  it is moved by one request; where the broker cannot,
                                                                  it is taken back, or goes when the new one rests
a stop rests    a part is to be sold, or the record is over       what sells takes its place by one request; where the
                                                                  broker cannot, it is taken back, then that leaves
on its way      nobody knows whether it arrived                   it is asked about, and nothing is placed beside it
refused         the price is beyond it already                    what it was for is sold at the market
refused         the one it replaced is gone                       the level before, once; then it is sold
it has ended    and nobody here took it back                      one more at this level; then it is watched here, and
                                                                  sold after a minute unless it is to be watched on
triggered       and not filled, or not all of it                  the rest is sold at the market
it was filled   by the market                                     nothing: less is held
a stop rests    some of it was taken by hand                      one for what is left takes its place
==============  ================================================  ==================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from .broker_account import Abilities
from .broker_orders_and_ids import Order, closing_orders, left_open
from .order_actions import Action, CancelOrder, MoveStop, Place, Query, Save, Wait
from .protective_orders import (
    frees,
    has_moved,
    holds_too_much,
    is_given_up,
    is_overdue,
    is_sale,
    is_to_be_sold,
    overlaps,
    place_for,
    protective_orders,
    refused_here,
    replacement,
    taken_back,
    takes_place,
    unarmed,
)


def protective_actions(orders: Sequence[Order], able: Abilities | None, now: int) -> Iterator[Action]:
    """The actions for the stops that rest at the broker, or are to rest there.

    Parameters
    ----------
    orders
        Of one signal, its entry first.
    able
        What the broker can do; ``None``: no stop is to rest.
    now
        UTC ms, by the clock here.
    """
    for order in protective_orders(orders):
        if order.status == "intended":
            yield _unsent(order, orders, able)
        elif order.status in ("sent", "unknown", "triggered"):
            yield Query(order)
            if is_overdue(order, now):
                yield CancelOrder(order)
        elif order.working and is_sale(order):
            yield Query(order)
    if able is not None and orders[0].ended_at is None:
        yield from _unprotected(orders, able, now)
    for order in protective_orders(orders):
        if order.status in ("accepted", "partly_filled") and not is_sale(order):
            yield from _resting(order, orders, able)


def _unprotected(orders: Sequence[Order], able: Abilities, now: int) -> Iterator[Action]:
    """The actions for what of a position no stop rests for."""
    sold = is_to_be_sold(orders, able, now)
    if sold:
        yield from (CancelOrder(order) for order in orders if order.working and not order.reduces_only)
    wanted = unarmed(orders, able, now)
    if wanted is not None:
        yield Save(wanted)
    elif not sold and able.unprotected == "close" and is_given_up(orders) and left_open(orders):
        yield Wait(orders[0])  # it is sold after a while


def _unsent(order: Order, orders: Sequence[Order], able: Abilities | None) -> Action:
    """What is done about an order that protects and never left."""
    blocked = orders[0].ended_at is not None or (frees(orders) and not overlaps(able))
    old = next((each for each in orders if each.client_id == order.replaces), None)
    if able is None or blocked or (old is not None and old.done) or _is_behind(order, orders):
        return Save(replace(taken_back(order), status="cancelled", replaces="", note="it was not needed"))
    return Place(order) if old is None else MoveStop(order)


def _is_behind(stop: Order, orders: Sequence[Order]) -> bool:
    """Whether a stop is not at the level of the record, where the broker has not refused that."""
    moved = not is_sale(stop) and has_moved(stop.record_price, orders[0].stop)
    return moved and (orders[0].stop is None or not refused_here(orders))


def _resting(stop: Order, orders: Sequence[Order], able: Abilities | None) -> Iterator[Action]:
    """The actions for a stop that rests at the broker."""
    if stop.ended_at is not None:
        yield CancelOrder(stop)
    elif able is None or orders[0].stop is None or _is_in_the_way(stop, orders, able):
        yield Save(taken_back(stop))
    elif not overlaps(able) and not frees(orders) and _is_behind(stop, orders):
        if able.move == "amend":
            yield MoveStop(replace(stop, record_price=orders[0].stop, trigger=orders[0].stop))
        else:
            made = replacement(stop, orders) if able.move == "replace" else None
            waits = any(each.replaces == stop.client_id and not each.done for each in orders)
            yield from () if waits else (Save(taken_back(stop) if made is None else made),)


def _is_in_the_way(stop: Order, orders: Sequence[Order], able: Abilities) -> bool:
    """Whether a stop that rests is not to rest any more: another one does, or what it holds is to be sold."""
    if not overlaps(able):
        reached = stop.reached and not has_moved(stop.record_price, orders[0].stop)
        if reached or holds_too_much(orders) or not takes_place(orders, able):
            return reached or holds_too_much(orders) or frees(orders)
        sales = [each for each in orders if each.purpose in ("reduce", "close") and not each.done]
        due = [each for each in sales if each.status == "intended" and each.quantity > 0.0]
        return stop in place_for(due[0], orders)[1] if due else not sales and left_open(orders) == 0.0
    later = protective_orders(orders)
    later = later[later.index(stop) + 1 :]
    if any(each.status == "accepted" and not is_sale(each) and each.ended_at is None for each in later):
        return True
    sells = any(not order.done for order in (*closing_orders(orders), *filter(is_sale, orders)))
    return not sells and left_open(orders) == 0.0
