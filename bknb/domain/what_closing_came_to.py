"""What came of closing positions at a broker, as sentences for whoever asked for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from .broker_orders_and_ids import Order, left_open
from .formatting import plain_number

_CLOSES: Final = ("close", "protect", "target")


def what_closing_came_to(signals: Iterable[Sequence[Order]], before: Collection[str]) -> str:
    """What was closed at a broker since some orders were there, and what is still held; empty: nothing of either.

    Parameters
    ----------
    signals
        The orders of each signal, its entry first.
    before
        Client ids of the orders that were there.

    Examples
    --------
    >>> entry = Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo",
    ...     purpose="open", side="buy", kind="market", quantity=0.5, price=None, record_price=100.0, created_at=0,
    ...     status="filled", filled_quantity=0.5, average_price=100.0)
    >>> what_closing_came_to([[entry]], [])
    '0.5 BTCUSDT are still held'
    """
    texts = []
    for orders in signals:
        entry, rest = orders[0], left_open(orders)
        new = [order for order in orders if order.client_id not in before and order.purpose in _CLOSES]
        closed = math.fsum(order.filled_quantity for order in new)
        if closed > 0.0:
            paid = math.fsum(order.filled_quantity * (order.average_price or 0.0) for order in new)
            side = "sold" if entry.side == "buy" else "bought back"
            texts.append(f"{side} {plain_number(closed)} {entry.symbol} at {plain_number(paid / closed)}")
        if rest > 0.0:
            why = next((f": {order.note}" for order in reversed(new) if order.note), "")
            texts.append(f"{plain_number(rest)} {entry.symbol} are still held{why}")
    return "; ".join(texts)
