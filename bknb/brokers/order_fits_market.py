"""Orders that the market would not take, or would take as something else, refused before they leave."""

from __future__ import annotations

import re

from ..domain.broker_account import BrokerMarket
from ..domain.broker_orders_and_ids import Order, order_text
from ..domain.formatting import plain_number
from ..domain.quantity_step_and_least_amount import EXACT, rounded_down, too_large, too_small
from ..domain.tick_grid import round_nearest
from ..errors import BrokerError


def must_not_be_short(order: Order) -> None:
    """Refuse what would sell coins that no order of ours has bought: a spot market has no short positions.

    Raises
    ------
    BrokerError
        With ``refused=True``.
    """
    if order.side == "sell" and not order.reduces_only:
        raise BrokerError(
            f"{order_text(order)}: a spot market has no short positions; coins of the account would go", refused=True
        )


def must_fit(order: Order, market: BrokerMarket, *, ids: str) -> None:
    """Refuse what the market would not take, or would take as something else.

    Parameters
    ----------
    ids
        A regular expression: the ids that an order may be given.

    Raises
    ------
    BrokerError
        With ``refused=True``.
    """
    if re.fullmatch(ids, order.client_id) is None:
        raise BrokerError(f"{order_text(order)}: the exchange takes no such id of an order", refused=True)
    if (order.kind in ("stop", "target")) != (order.trigger is not None):
        raise BrokerError(f"{order_text(order)} is a {order.kind} with the trigger {order.trigger}", refused=True)
    if order.trigger is not None and market.most_stops == 0:
        raise BrokerError(
            f"{order_text(order)}: no stop that sells at the market can rest at this market", refused=True
        )
    limits = market.limits(market=order.kind != "limit", reduces=order.reduces_only)
    if rounded_down(order.quantity, limits.step) < order.quantity * (1 - EXACT):
        step = plain_number(limits.step)
        raise BrokerError(f"{order_text(order)} is no multiple of the step {step} of the market", refused=True)
    level = order.price if order.trigger is None else order.trigger
    small = too_small(order.quantity, order.record_price if level is None else level, limits)
    large = too_large(order.quantity, market.most(market=order.kind != "limit"))
    if small is not None or large:
        raise BrokerError(f"{order_text(order)}: {large if small is None else small.text}", refused=True)
    for price in (order.price, order.trigger):
        if price is not None and market.tick and round_nearest(price, market.tick) != price:
            raise BrokerError(
                f"{order_text(order)}: {plain_number(price)} is no multiple of the tick {plain_number(market.tick)}",
                refused=True,
            )
