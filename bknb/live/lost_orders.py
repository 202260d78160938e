"""When an order that a broker does not know counts as lost: an exchange may be late to show what it has."""

from __future__ import annotations

import math
from typing import Final

from ..domain.broker_account import Fill, added_up
from ..domain.broker_orders_and_ids import Order, Report
from ..domain.formatting import plain_number
from ..domain.interval import MINUTE_MS
from ..domain.quantity_step_and_least_amount import EXACT
from ..errors import BrokerError, Forgotten
from ..ports import Broker, BrokerWithAccount
from .order_pauses import pause_seconds
from .user_code_in_threads import answered

_HOUR_MS: Final = 60 * MINUTE_MS
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
    return max(_denials_within(_LEAST_SECONDS), least)


def _denials_within(seconds: float) -> int:
    times, waited = 1, 0.0
    while waited < seconds:
        waited, times = waited + pause_seconds(times - 1), times + 1
    return times


def denials_of_stop_until_lost(broker: Broker, least: int) -> int:
    """The same of a stop: another one does no harm where two cannot sell the same, once the first cannot arrive more.

    Examples
    --------
    >>> from bknb.brokers import Abilities, paper
    >>> denials_of_stop_until_lost(paper(abilities=Abilities(late_seconds=5.0, locks=True)), 5)
    4
    """
    if not isinstance(broker, BrokerWithAccount) or not is_exchange(broker):
        return least
    able = broker.abilities()
    if not (able.locks or able.move == "both"):
        return denials_until_lost(broker, least)
    return _denials_within(able.late_seconds)


def is_exchange(broker: Broker) -> bool:
    """Whether requests to a broker may be carried out late, as at an exchange."""
    return isinstance(broker, BrokerWithAccount) and broker.abilities().late_seconds > 0.0


async def report_on(broker: Broker, order: Order, *, answer_seconds: float, now: int) -> Report | None:
    """What a broker says of an order; where it may have forgotten it, what its fills say.

    Parameters
    ----------
    broker, order
        Who is asked, and about what.
    answer_seconds
        How long each answer may take.
    now
        UTC ms: an order that was made long before may have been forgotten.

    Raises
    ------
    Exception
        The broker did not answer: nothing is known.
    """
    try:
        report = await answered(broker.report(order.client_id, order.symbol), answer_seconds)
    except Forgotten:
        if not isinstance(broker, BrokerWithAccount):
            raise
    else:
        if report is not None or not isinstance(broker, BrokerWithAccount):
            return report
        if now - order.created_at <= broker.abilities().knows_hours * _HOUR_MS:
            return None
    return await _by_fills(broker, order, answer_seconds)


async def turns_up(broker: Broker, order: Order, *, answer_seconds: float) -> Report | None:
    """An order that a broker denies, as its open orders or its fills have it all the same; ``None``: they do not.

    Raises
    ------
    Exception
        The broker did not answer, or has filled a part of it: nothing is known.
    """
    if not isinstance(broker, BrokerWithAccount) or not is_exchange(broker):
        return None
    found = await _by_fills(broker, order, answer_seconds)
    if found.status == "cancelled" and found.filled_quantity > 0.0:
        raise BrokerError(f"it denies the order, and has filled {plain_number(found.filled_quantity)} of it")
    return None if found.status == "cancelled" else found


async def _by_fills(broker: BrokerWithAccount, order: Order, answer_seconds: float) -> Report:
    """An order that is not found by its id: it works where it is listed, else it is over with what it has filled."""
    for report in await answered(broker.open_orders(order.symbol), answer_seconds):
        if report.client_id == order.client_id:
            return report
    since = order.created_at - MINUTE_MS  # the clock here may be ahead
    fills = [fill for fill in await answered(broker.fills(order.symbol, since), answer_seconds) if _is_of(fill, order)]
    filled = math.fsum(fill.quantity for fill in fills)
    return Report(
        client_id=order.client_id,
        symbol=order.symbol,
        status="filled" if filled >= order.quantity * (1 - EXACT) else "cancelled",
        filled_quantity=filled,
        average_price=math.fsum(fill.quantity * fill.price for fill in fills) / filled if filled else None,
        note="" if filled else "the exchange has forgotten it, and it has no fills",
        fees=added_up(tuple(fee for fill in fills for fee in fill.fees)),
    )


def _is_of(fill: Fill, order: Order) -> bool:
    return fill.client_id == order.client_id or (bool(fill.broker_id) and fill.broker_id == order.broker_id)
