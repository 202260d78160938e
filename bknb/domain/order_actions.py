"""What can be done about an order at a broker; :mod:`bknb.live.orders_sent_to_broker` carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .broker_orders_and_ids import Order


@dataclass(frozen=True, slots=True)
class _OnOrder:
    order: Order


class Place(_OnOrder):
    """Send this order; it provably never left before."""

    __slots__ = ()


class MoveStop(_OnOrder):
    """Have the broker move a stop by one request, to the trigger of this one, or have this order take its place."""

    __slots__ = ()


class CancelOrder(_OnOrder):
    """Cancel what is unfilled of this order."""

    __slots__ = ()


class Query(_OnOrder):
    """Query the broker for the state of this order."""

    __slots__ = ()


class Save(_OnOrder):
    """Save this order."""

    __slots__ = ()


class Wait(_OnOrder):
    """Look again after a while: what is due about this order then depends on how long it has been so."""

    __slots__ = ()


Action: TypeAlias = Place | MoveStop | CancelOrder | Query | Save | Wait


Attempt: TypeAlias = tuple[type[Action], str]
"""What was tried: the kind of an action, and the client id of its order."""


def attempt_of(action: Action) -> Attempt:
    """What was tried when an action was carried out."""
    return type(action), action.order.client_id
