"""What became of the orders of signals that are over, as a journal of few values in a state store.

See :mod:`bknb.live.growing_list_in_store`. Orders of signals that are not over, and of the last ones that are, are
among the saved orders (:mod:`bknb.live.saved_orders`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from ..domain.broker_orders_and_ids import Order
from ..domain.implementation_shortfall import TradedOrder, traded_orders
from .growing_list_in_store import Journal, Readers


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Traded orders as they are saved."""

    version: int = 1
    traded: tuple[TradedOrder, ...]


def _many(payload: bytes) -> tuple[TradedOrder, ...]:
    return msgspec.json.decode(payload, type=_Saved).traded


class TradedJournal(Journal[TradedOrder]):
    """What became of the orders of one strategy on one symbol whose signals are over, on the disk.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     TradedJournal(store, ("sma", "BTCUSDT")).load()
    []
    """

    kind = "traded"
    readers: ClassVar[Readers[TradedOrder]] = {1: _many}

    def name_of(self, item: TradedOrder) -> str:
        """The client id of the order."""
        return item.client_id

    def encoded(self, items: tuple[TradedOrder, ...]) -> bytes:
        """Traded orders as a value of version 1."""
        return msgspec.json.encode(_Saved(traded=items))


def all_traded(before: Iterable[TradedOrder], signals: Iterable[Sequence[Order]]) -> tuple[TradedOrder, ...]:
    """What became of all orders: of those in the journal, and of those that are known in full, signal by signal."""
    found = {order.client_id: order for order in before}
    for orders in signals:
        found |= {order.client_id: order for order in traded_orders(orders)}
    return tuple(found.values())
