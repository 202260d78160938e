"""When an order that a broker does not know counts as lost: an exchange may be late to show what it has."""

from __future__ import annotations

from typing import Final

from ..domain.broker_orders_and_ids import Order
from ..domain.interval import MINUTE_MS
from ..ports import Broker, BrokerWithAccount
from .order_pauses import pause_seconds
from .user_code_in_threads import answered

_LEAST_SECONDS: Final = 120.0
"""Over how long a real exchange must have answered again and again that it has no such order."""


def denials_until_lost(broker: Broker, least: int) -> int:
    """How often a broker must deny an order, with growing pauses; at an exchange for two minutes at least.

    Examples
    --------
    >>> from bknb.brokers import Abilities, paper
    >>> denials_until_lost(paper(), 5), denials_until_lost(paper(abilities=Abilities(late_seconds=5.0)), 5)
    (5, 8)
    """
    if not is_exchange(broker):
        return least
    times, waited = 1, 0.0
    while waited < _LEAST_SECONDS:
        waited, times = waited + pause_seconds(times - 1), times + 1
    return max(times, least)


def is_exchange(broker: Broker) -> bool:
    """Whether requests to a broker may be carried out late, as at an exchange."""
    return isinstance(broker, BrokerWithAccount) and broker.abilities().late_seconds > 0.0


async def turns_up(broker: Broker, order: Order, *, answer_seconds: float) -> bool:
    """Whether an order that a broker does not know is among its open orders, or has filled something all the same.

    Raises
    ------
    Exception
        The broker did not answer: nothing is known.
    """
    if not isinstance(broker, BrokerWithAccount) or not is_exchange(broker):
        return False
    working = await answered(broker.open_orders(order.symbol), answer_seconds)
    if any(report.client_id == order.client_id for report in working):
        return True
    since = order.created_at - MINUTE_MS  # the clock here may be ahead
    fills = await answered(broker.fills(order.symbol, since), answer_seconds)
    return any(fill.client_id == order.client_id for fill in fills)
