"""Stops that rest at the broker for what a position holds there: which action is due about them.

Nothing that sells is sent beside a stop that holds the same coins: it is taken back first, and its last fill is read.

==============  ================================================  ==================================================
at the broker   and                                               due
==============  ================================================  ==================================================
nothing rests   something is held, and the record has a stop      a stop of the next generation for all that is free
a stop rests    more was filled                                   another one for what is new
a stop rests    the stop of the record has moved                  it is taken back; then nothing rests
a stop rests    a part is to be sold, or the record is over       it is taken back; then that order leaves
on its way      nobody knows whether it arrived                   it is asked about, and nothing is placed beside it
it has ended    and nobody here took it back                      one more at this level; then it is watched here
it was filled   by the market                                     nothing: less is held
==============  ================================================  ==================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from .broker_orders_and_ids import MAX_CLOSES, Order, client_id, order_beside
from .interval import MINUTE_MS
from .quantity_of_partial_closes import by_number, free_to_close, owed, size_of
from .quantity_step_and_least_amount import is_dust, rounded_down

LEAST_MOVE: Final = 0.0005
"""A stop is moved at the broker where the record's is further away than this part of it: each move is an order."""
MOST_FAILED: Final = 2
"""Stops tried at one level that the broker refuses or ends; then the level is watched here alone."""
_SPARE: Final = 1.01  # a stop is worth this much more than the least value at its trigger


def protective_orders(orders: Sequence[Order]) -> list[Order]:
    """The stops of a position at the broker, in turn."""
    return [order for order in orders if order.purpose == "protect"]


def has_moved(level: float | None, stop: float | None) -> bool:
    """Whether a stop is so far from a level that it is moved there; both in quote currency, ``None``: there is none.

    Examples
    --------
    >>> has_moved(100.0, 100.04), has_moved(100.0, 100.06), has_moved(None, 100.0), has_moved(None, None)
    (False, True, True, False)
    """
    if level is None or stop is None:
        return level is not stop
    return abs(level - stop) > LEAST_MOVE * abs(level)


def unarmed(orders: Sequence[Order]) -> Order | None:
    """The stop that is to rest next at the broker, for what is free; ``None``: there is none to place.

    Parameters
    ----------
    orders
        Of one signal, its entry first.
    """
    entry, stops = orders[0], protective_orders(orders)
    level = entry.stop
    if level is None or entry.ended_at is not None or is_given_up(orders) or frees(orders):
        return None
    if any(not stop.done and (not stop.working or stop.ended_at is not None) for stop in stops):
        return None  # what becomes of it decides how much is free
    quantity = rounded_down(free_to_close(orders), entry.step)
    least = entry.least * max(entry.record_price / level, 1.0) * _SPARE
    if quantity <= 0.0 or is_dust(quantity, entry.step, least):
        return None
    known = entry.created_at if entry.opened_at is None else entry.opened_at + MINUTE_MS
    made = order_beside(entry, "protect", quantity=quantity, record_price=level, created_at=known)
    generation = len(stops)
    name = client_id(entry.strategy, entry.symbol, entry.key, "protect", generation=generation)
    return replace(made, client_id=name, kind="stop", trigger=level, generation=generation)


def is_stale(stop: Order, orders: Sequence[Order]) -> bool:
    """Whether a stop is not to rest any more: its level is another one, or what it holds is to be sold."""
    return has_moved(stop.record_price, orders[0].stop) or frees(orders)


def frees(orders: Sequence[Order]) -> bool:
    """Whether what stops hold is to be sold by another order: the record is over, or a part is due."""
    if orders[0].ended_at is not None:
        return True
    if any(order.purpose == "reduce" and not order.done and not _waits(order, orders) for order in orders):
        return True
    parts = [part[-1] for part in by_number(orders) if part[-1].done and owed(part) > 0.0]
    return any(last.purpose != "reduce" or last.attempt < MAX_CLOSES for last in parts)


def _waits(part: Order, orders: Sequence[Order]) -> bool:
    """Whether a part waits for an add before it: nothing is to be sold yet."""
    unsized = part.status == "intended" and part.quantity == 0.0 and part.ended_at is None
    return unsized and size_of(part, orders) is None


def is_given_up(orders: Sequence[Order]) -> bool:
    """Whether the broker has refused or ended the last stops at the level of the record, without our doing."""
    stops = protective_orders(orders)[-MOST_FAILED:]
    return len(stops) == MOST_FAILED and all(
        stop.done
        and stop.status != "filled"
        and stop.ended_at is None
        and not has_moved(stop.record_price, orders[0].stop)
        for stop in stops
    )


def taken_back(stop: Order) -> Order:
    """A stop that is to be cancelled by us; its end is then none of the broker's."""
    return replace(stop, ended_at=stop.created_at)


def stopped_there(orders: Sequence[Order]) -> float:
    """How much of a position its stops at the broker have sold, in base currency."""
    return sum(stop.filled_quantity for stop in protective_orders(orders))
