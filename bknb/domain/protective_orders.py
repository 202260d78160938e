"""Stops that rest at the broker for what a position holds there, and what sells it where none can rest.

:mod:`bknb.domain.protective_actions` says which action is due about them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from .broker_account import Abilities
from .broker_orders_and_ids import MAX_CLOSES, Order, client_id, left_open, net_filled, order_beside
from .interval import MINUTE_MS
from .quantity_of_partial_closes import by_number, free_to_close, owed, size_of, taken_by_hand
from .quantity_step_and_least_amount import EXACT, is_dust, rounded_down
from .signal_events import ClosedBy
from .trades_of_others import closed_by_of

LEAST_MOVE: Final = 0.0005
"""A stop is moved at the broker where the record's is further away than this part of it: each move is an order."""
MOST_FAILED: Final = 2
"""Stops tried at one level that the broker refuses or ends; then the level is watched here alone."""
UNPROTECTED_MS: Final = 60_000
"""How long a position is watched here alone before it is sold, where it is to be."""
TRIGGERED_MS: Final = 5_000
"""How long a stop that was triggered may take to fill before the rest is sold."""
_HASH_LETTERS: Final = 16  # at the end of a client id, behind the letter of the purpose
_SPARE: Final = 1.01  # a stop is worth this much more than the least value at its trigger


def protective_orders(orders: Sequence[Order]) -> list[Order]:
    """The stops of a position at the broker, and the sales in their place, in turn."""
    return [order for order in orders if order.purpose == "protect"]


def target_orders(orders: Sequence[Order]) -> list[Order]:
    """The targets of a position at the broker, and what sold the rest of one, in turn."""
    return [order for order in orders if order.purpose == "target"]


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


def overlaps(able: Abilities | None) -> bool:
    """Whether two stops may rest for the same, and one beside what sells it: none sells more than there is."""
    return able is not None and able.move == "both"


def is_sale(order: Order) -> bool:
    """Whether an order sells at the market what no stop can rest for."""
    return order.purpose == "protect" and order.trigger is None


def takes_place(orders: Sequence[Order], able: Abilities | None) -> bool:
    """Whether what is due to be sold takes the place of a stop by one request."""
    return able is not None and able.move == "replace" and frees(orders)


def place_for(sale: Order, orders: Sequence[Order]) -> tuple[Order | None, list[Order]]:
    """The stop whose place an order takes that sells, where too little is free; and stops that have to end before."""
    leaves = rounded_down(sale.quantity, max(order.step for order in orders))
    short = leaves - free_to_close([order for order in orders if order.client_id != sale.client_id])
    stops = [stop for stop in protective_orders(orders) if not stop.done]
    resting = sorted(filter(_rests, stops), key=lambda stop: stop.quantity)
    if short <= sale.quantity * EXACT:
        return None, []
    large = [stop for stop in resting if stop.quantity >= short * (1 - EXACT)]
    if large:
        return large[0], []
    kept = resting[-1] if resting else None
    return None, [stop for stop in stops if stop is not kept]


def free_to_sell(orders: Sequence[Order], able: Abilities | None, now: int) -> float:
    """How much of a position may be sold now, in base currency.

    Stops that rest hold it unless they overlap with what sells, or it takes the place of one.
    """
    if not (overlaps(able) or takes_place(orders, able)):
        return free_to_close(orders)
    return free_to_close([replace(each, status="cancelled") if _yields(each, now) else each for each in orders])


def _yields(order: Order, now: int) -> bool:
    """Whether what a stop would sell may be sold beside it: it rests, or it was triggered long ago and has not.

    A target holds nothing before it was triggered, also where nobody knows whether it rests.
    """
    if order.purpose == "target" and order.trigger is not None and order.status in ("accepted", "sent", "unknown"):
        return True
    if order.purpose not in ("protect", "target") or order.trigger is None or not order.working:
        return False
    return (order.status == "accepted" and order.ended_at is None) or is_overdue(order, now)


def is_overdue(stop: Order, now: int) -> bool:
    """Whether a stop was triggered so long ago (now: UTC ms) that what it has not sold is to be sold otherwise."""
    return stop.status == "triggered" and now - stop.since >= TRIGGERED_MS


def unarmed(orders: Sequence[Order], able: Abilities, now: int) -> Order | None:
    """The next order that protects a position: a stop, or where none can rest a sale; ``None``: there is none to make.

    Parameters
    ----------
    orders
        Of one signal, its entry first.
    able
        What the broker can do.
    now
        UTC ms, by the clock here.
    """
    orders = [_without_rest(order) if order.purpose == "target" else order for order in orders]
    entry, stops = orders[0], protective_orders(orders)
    if entry.stop is None or entry.ended_at is not None:
        return None
    if frees(orders) and not (overlaps(able) and not any(map(_rests, stops))):
        return None
    if any(not stop.done and not _rests(stop) and not (overlaps(able) and is_overdue(stop, now)) for stop in stops):
        return None  # what becomes of it decides how much is free
    quantity = rounded_down(free_to_sell(orders, able, now), entry.step)
    if is_to_be_sold(orders, able, now):
        return _sale(orders, quantity)
    level = _level_to_arm(orders)
    if level is None or is_given_up(orders) or _is_armed(orders, able, quantity, level):
        return None
    return _made(orders, quantity, level, stop=True)


def _without_rest(target: Order) -> Order:
    """A target as if it sold no more: the stop beside it is for all that is held."""
    return target if target.done else replace(target, status="cancelled")


def _rests(stop: Order) -> bool:
    """Whether a stop rests at the broker, and is to."""
    return stop.status == "accepted" and stop.ended_at is None and not is_sale(stop)


def _is_armed(orders: Sequence[Order], able: Abilities, quantity: float, level: float) -> bool:
    """Whether the newest stop is for all that is held, where it rests beside others; else what is free has none."""
    resting = [stop for stop in protective_orders(orders) if _rests(stop)]
    if not overlaps(able) or not resting:
        return False
    newest = resting[-1]
    return abs(newest.quantity - quantity) <= quantity * EXACT and not has_moved(newest.record_price, level)


def _level_to_arm(orders: Sequence[Order]) -> float | None:
    """The level for the next stop: that of the record, or the one before where its replacement was refused."""
    last = next(reversed(protective_orders(orders)), None)
    if last is not None and last.replaces and refused_here(orders):
        return next((stop.record_price for stop in orders if stop.client_id == last.replaces), None)
    return orders[0].stop


def refused_here(orders: Sequence[Order]) -> bool:
    """Whether the broker has refused to move a stop to the level of the record."""
    level = orders[0].stop
    return any(
        stop.replaces and stop.status == "rejected" and not has_moved(stop.record_price, level)
        for stop in protective_orders(orders)
    )


def _made(orders: Sequence[Order], quantity: float, level: float, *, stop: bool, attempt: int = 1) -> Order | None:
    entry, generation = orders[0], len(protective_orders(orders))
    least = entry.least * max(entry.record_price / level, 1.0) * (_SPARE if stop else 1.0)
    if quantity <= 0.0 or is_dust(quantity, entry.step, least):
        return None
    known = entry.created_at if entry.opened_at is None else entry.opened_at + MINUTE_MS
    made = order_beside(entry, "protect", quantity=quantity, record_price=level, created_at=known, attempt=attempt)
    name = client_id(entry.strategy, entry.symbol, entry.key, "protect", generation=generation)
    made = replace(made, client_id=name, generation=generation)
    return replace(made, kind="stop", trigger=level) if stop else made


def _sale(orders: Sequence[Order], quantity: float) -> Order | None:
    level = orders[0].stop
    assert level is not None  # there is a stop to stand for  # noqa: S101
    attempt = 1 + sum(is_sale(order) and order.ended_at is None for order in orders)
    return _made(orders, quantity, level, stop=False, attempt=attempt) if attempt <= MAX_CLOSES else None


def replacement(stop: Order, orders: Sequence[Order]) -> Order | None:
    """The stop that takes the place of one that rests, at the level of the record; ``None``: too little is left."""
    level = orders[0].stop
    assert level is not None  # it has moved there  # noqa: S101
    made = _made(orders, stop.quantity - stop.filled_quantity, level, stop=True)
    return None if made is None else replace(made, replaces=stop.client_id)


def is_to_be_sold(orders: Sequence[Order], able: Abilities, now: int) -> bool:
    """Whether what is held is to be sold at the market: its stop was reached, or none is taken for too long."""
    level = orders[0].stop
    stops = [order for order in protective_orders(orders) if order.status != "intended"]
    if any(is_sale(order) and order.ended_at is None for order in stops):
        return True
    if any(order.reached and not has_moved(order.record_price, level) for order in stops):
        return True
    if any(_ended_midway(order, orders) or is_overdue(order, now) for order in stops):
        return True
    last = stops[-1:]
    if last and has_failed(last[0], orders) and not last[0].replaces and refused_here(orders):
        return has_moved(last[0].record_price, level)  # the level before was refused, too
    if able.unprotected != "close":
        return False
    if is_bare(orders) and now - failed_in_a_row(orders)[0].since >= UNPROTECTED_MS:
        return True
    return bool(last) and now - last[0].since >= UNPROTECTED_MS and is_given_up(orders)


def _ended_midway(stop: Order, orders: Sequence[Order]) -> bool:
    """Whether a stop was triggered and has not sold all it was for."""
    triggered = bool(stop.child) or stop.filled_quantity > 0.0
    return triggered and not is_sale(stop) and has_failed(stop, orders)


def frees(orders: Sequence[Order]) -> bool:
    """Whether what stops hold is to be sold by another order: the record is over, or a part is due."""
    if orders[0].ended_at is not None:
        return True
    if any(order.purpose == "reduce" and not order.done and not _waits(order, orders) for order in orders):
        return True
    parts = [part[-1] for part in by_number(orders) if part[-1].done and owed(part) > 0.0]
    return any(last.purpose != "reduce" or last.attempt < MAX_CLOSES for last in parts)


def holds_too_much(orders: Sequence[Order]) -> bool:
    """Whether stops that rest would sell more than there is, as some of it was taken by hand."""
    if not taken_by_hand(orders):
        return False
    resting = math.fsum(stop.quantity - stop.filled_quantity for stop in protective_orders(orders) if _rests(stop))
    return resting > max(net_filled(orders), 0.0) * (1 + EXACT)


def _waits(part: Order, orders: Sequence[Order]) -> bool:
    """Whether a part waits for an add before it: nothing is to be sold yet."""
    unsized = part.status == "intended" and part.quantity == 0.0 and part.ended_at is None
    return unsized and size_of(part, orders) is None


def has_failed(stop: Order, orders: Sequence[Order]) -> bool:
    """Whether the broker has refused or ended a stop without our doing."""
    replaced = any(order.replaces == stop.client_id and order.status != "intended" for order in orders)
    return stop.done and stop.status != "filled" and stop.ended_at is None and not replaced


def is_given_up(orders: Sequence[Order]) -> bool:
    """Whether the broker has refused or ended the last stops at the level of the record, without our doing."""
    stops = protective_orders(orders)[-MOST_FAILED:]
    return len(stops) == MOST_FAILED and all(
        has_failed(stop, orders) and not has_moved(stop.record_price, orders[0].stop) for stop in stops
    )


def failed_in_a_row(orders: Sequence[Order]) -> list[Order]:
    """The newest stops that the broker has refused or ended, at whatever levels, the oldest first.

    One that was ended rested until then, and is the first of them. Those that are not answered yet are left out.
    """
    found: list[Order] = []
    for stop in reversed(protective_orders(orders)):
        if not stop.done and not _rests(stop):
            continue
        if not has_failed(stop, orders):
            break
        found.append(stop)
        if stop.status != "rejected":
            break
    return found[::-1]


def is_bare(orders: Sequence[Order]) -> bool:
    """Whether no stop rests, and the broker has refused the last ones in a row, also where their level moved on."""
    return not any(map(_rests, protective_orders(orders))) and len(failed_in_a_row(orders)) >= MOST_FAILED


def taken_back(stop: Order) -> Order:
    """A stop that is to be cancelled by us; its end is then none of the broker's."""
    return replace(stop, ended_at=stop.created_at)


class Gone(NamedTuple):
    """A position that has gone at the broker: at which average price, who closed it, and whether its targets did."""

    price: float
    closed_by: ClosedBy
    by_target: bool


def closed_there(orders: Sequence[Order], before: int) -> Gone | None:
    """How all that the record has of a position has gone at the broker before a moment (UTC ms).

    ``None``: something of it is held, or some of it went that was not sold there.
    """
    sold = [order for order in orders if _is_unseen(order) and order.filled_quantity]
    if not sold or left_open(orders) or not all(order.done for order in orders):
        return None
    if any(order.filled_at is None or order.filled_at >= before or not order.average_price for order in sold):
        return None
    paid = math.fsum((order.average_price or 0.0) * order.filled_quantity for order in sold)
    others = (closed_by_of(order.child) for order in reversed(sold) if order.purpose == "manual")
    price = paid / math.fsum(order.filled_quantity for order in sold)
    return Gone(price, next(others, "exchange"), all(order.purpose == "target" for order in sold))


def _is_unseen(order: Order) -> bool:
    """Whether what an order sells ends what the record has, which has not taken it for one of its parts."""
    return order.purpose in ("protect", "manual") or (order.purpose == "target" and not order.number)


def sold_there(orders: Sequence[Order]) -> float:
    """How much of a position its stops and targets at the broker have sold that the record has open (base currency)."""
    return sum(order.filled_quantity for order in orders if _is_unseen(order) and order.purpose != "manual")


def may_protect(client_id: str) -> bool:
    """Whether an id looks like that of a stop or a target that rests at the broker; those of others may, too.

    Examples
    --------
    >>> may_protect(client_id("sma", "X", ("s", 0), "protect")), may_protect(client_id("sma", "X", ("s", 0), "open"))
    (True, False)
    """
    return client_id.startswith("bk") and client_id[-_HASH_LETTERS - 1 : -_HASH_LETTERS] in ("p", "t")
