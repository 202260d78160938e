"""The saved orders of one strategy on one symbol, in memory and on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec

from ..domain.broker_orders_and_ids import Order, finished, net_filled
from ..domain.implementation_shortfall import TradedOrder, traded_orders
from ..domain.sent_orders_reconciled_at_restart import differences
from ..domain.signal import SignalKey
from ..errors import StateError
from ..ports import StateStore
from .saved_values import decode_saved
from .traded_journal import TradedJournal, all_traded

KIND: Final = "order"
MAX_FINISHED_SIGNALS: Final = 5
"""How many finished signals keep their orders, for the table and in case an event comes twice."""


class SavedOrderList(msgspec.Struct, frozen=True, kw_only=True):
    """The orders of a strategy on a symbol as they are saved.

    Version 1 was the list alone, without parts and adds. Version 3 has stops and targets that rest at the broker; a
    list without any is written as version 2, which older releases read.
    """

    version: int = 2
    orders: list[Order]


def saved_list(orders: list[Order]) -> SavedOrderList:
    """Orders as they are saved, in the oldest version that has all of them."""
    return SavedOrderList(version=3 if any(order.trigger is not None for order in orders) else 2, orders=orders)


def _read_list(payload: bytes) -> list[Order]:
    return msgspec.json.decode(payload, type=SavedOrderList).orders


_READERS: Final[Mapping[int, Callable[[bytes], list[Order]]]] = {
    1: partial(msgspec.json.decode, type=list[Order]),
    2: _read_list,
    3: _read_list,
}


def read_orders(store: StateStore, strategy: str, symbol: str) -> list[Order]:
    """The saved orders of a strategy on a symbol.

    Raises
    ------
    StateError
        When they cannot be read, or a newer bknb wrote them.
    """
    payload = store.read(KIND, (strategy, symbol))
    if payload is None:
        return []
    advice = f"look at your exchange, then delete {KIND}/{strategy}/{symbol} from the state"
    return decode_saved(_READERS, payload, KIND, (strategy, symbol), advice=advice)


def by_signal(orders: Iterable[Order]) -> dict[SignalKey, list[Order]]:
    """Orders by signal, in their order."""
    found: dict[SignalKey, list[Order]] = {}
    for order in orders:
        found.setdefault(order.key, []).append(order)
    return found


class SavedOrders:
    """Orders by signal: the entry, then the others in turn; all of them one value of kind ``"order"`` in the store.

    Attributes
    ----------
    signals
        All of them.
    over
        The signals with no action left.
    address
        The strategy and the symbol.
    clock
        The time here (UTC ms), where orders are to say since when they have their status.
    """

    def __init__(
        self, store: StateStore, strategy: str, symbol: str, *, on_problem: Callable[[str, str], object]
    ) -> None:
        self.signals: dict[SignalKey, list[Order]] = {}
        self.over: set[SignalKey] = set()
        self._store = store
        self.address = (strategy, symbol)
        self.clock: Callable[[], int] | None = None
        self._on_problem = on_problem
        self._unsaved = False
        self._traded = TradedJournal(store, self.address)

    @property
    def orders(self) -> list[Order]:
        """All orders known here: those of the signals that are not over, and of the last ones that are."""
        return [order for orders in self.signals.values() for order in orders]

    @property
    def traded(self) -> tuple[TradedOrder, ...]:
        """What became of all orders that left, also of those of signals that are over for long."""
        return all_traded(self._traded.items(), self.signals.values())

    def position(self) -> float:
        """What the broker reported as filled and not closed again, in base currency; negative when short."""
        every = self.signals.values()
        return math.fsum(net_filled(orders) if orders[0].side == "buy" else -net_filled(orders) for orders in every)

    def load(self) -> None:
        """Read what was saved.

        Raises
        ------
        StateError
            When it cannot be read, or a newer bknb wrote it.
        """
        found = by_signal(read_orders(self._store, *self.address))
        self._traded.read([])  # what cannot be read of it is missing in tables alone
        self.signals.clear()
        self.signals.update(found)
        self.over = {key for key, orders in self.signals.items() if finished(orders) and _all_reported(orders)}

    def put(self, *orders: Order, quiet: bool = False) -> bool:
        """Save orders in memory and, by one write, on the disk; ``False``: not there yet, so nothing may be sent."""
        for order in orders:
            mine = self.signals.setdefault(order.key, [])
            for place, known in enumerate(mine):
                if known.client_id == order.client_id:
                    mine[place] = order if known.status == order.status else self._since_now(order)
                    break
            else:
                mine.append(self._since_now(order))
            self.over.discard(order.key)
            self._unsaved = True
        return self.save(quiet=quiet)

    def _since_now(self, order: Order) -> Order:
        return order if self.clock is None else msgspec.structs.replace(order, since=self.clock())

    def save(self, *, quiet: bool = False) -> bool:
        """Write orders that are not on the disk yet; returns whether everything is on the disk."""
        if not self._unsaved:
            return True
        try:
            self._store.write(KIND, self.address, msgspec.json.encode(saved_list(self.orders)))
        except StateError as error:
            if not quiet:
                self._on_problem(
                    "state", f"the orders of {'/'.join(self.address)} wait until they can be saved: {error}"
                )
            return False
        self._unsaved = False
        return True

    def discard(self, key: SignalKey) -> None:
        """Remove the orders of a signal; on the disk with the next order that changes."""
        del self.signals[key]
        self.over.discard(key)

    def tidy(self) -> None:
        """Remove the orders of finished signals but the last few, once what became of them is on the disk."""
        over = [key for key, orders in self.signals.items() if finished(orders)][:-MAX_FINISHED_SIGNALS]
        try:
            self._traded.append(*(each for key in over for each in traded_orders(self.signals[key])))
        except StateError as error:
            text = f"what became of the orders of {'/'.join(self.address)} is kept until it can be saved: {error}"
            self._on_problem("state", text)
            return
        for key in over:
            self.discard(key)


def _all_reported(orders: list[Order]) -> bool:
    return orders[0].reported or not any(differences(orders))
