"""The orders of one strategy on one symbol, here and on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..domain.orders import Order, SignalKey, finished, named
from ..domain.reconcile import differences
from ..errors import StateError
from ..ports import StateStore

KIND: Final = "order"
KEPT_SIGNALS: Final = 5
"""How many signals that are over keep their orders on the disk, for the table and against hearing an event twice."""


class SavedOrders:
    """Orders by signal: the entry, then closing orders in turn; each a value of kind ``"order"`` in the store.

    Attributes
    ----------
    signals
        All of them.
    over
        The signals of which nothing is left to do.
    """

    def __init__(self, store: StateStore, strategy: str, symbol: str, *, tell: Callable[[str, str], object]) -> None:
        self.signals: dict[SignalKey, list[Order]] = {}
        self.over: set[SignalKey] = set()
        self._store = store
        self._strategy = strategy
        self._symbol = symbol
        self._tell = tell
        self._unsaved: set[str] = set()

    def load(self) -> None:
        """Read what was saved.

        Raises
        ------
        StateError
            When it cannot be read.
        """
        found: list[Order] = []
        for key in self._store.keys(KIND):
            if key[:2] != (self._strategy, self._symbol) or len(key) != 3:
                continue
            payload = self._store.read(KIND, key)
            try:
                found.append(msgspec.json.decode(payload or b"", type=Order))
            except msgspec.DecodeError as error:
                raise StateError(
                    f"a saved order of {self._strategy!r} on {self._symbol} is not one: {error}\n"
                    f"look at your exchange, then delete {'/'.join((KIND, *key))} from the state"
                ) from None
        found.sort(key=lambda order: (order.decided_at, order.signal_id, order.purpose == "close", order.attempt))
        self.signals.clear()
        for order in found:
            if order.purpose == "close" and order.key not in self.signals:
                self._delete(order)  # its entry was forgotten first; a crash came between
            else:
                self.signals.setdefault(order.key, []).append(order)
        self.over = {key for key, orders in self.signals.items() if finished(orders) and _nothing_to_say(orders)}

    def put(self, order: Order, *, quiet: bool = False) -> bool:
        """Keep an order, here and on the disk; ``False``: not on the disk yet, and nothing of its signal may leave."""
        orders = self.signals.setdefault(order.key, [])
        for place, known in enumerate(orders):
            if known.client_id == order.client_id:
                orders[place] = order
                break
        else:
            orders.append(order)
        self.over.discard(order.key)
        self._unsaved.add(order.client_id)
        return self.save(order.key, quiet=quiet)

    def save(self, key: SignalKey, *, quiet: bool = False) -> bool:
        """Write what could not be written before; whether all of a signal is on the disk."""
        for order in self.signals[key]:
            if order.client_id not in self._unsaved:
                continue
            try:
                self._store.write(KIND, self._address(order), msgspec.json.encode(order))
            except StateError as error:
                if not quiet:
                    self._tell("state", f"{named(order)} waits until it can be saved: {error}")
                return False
            self._unsaved.discard(order.client_id)
        return True

    def forget(self, key: SignalKey) -> bool:
        """Remove a signal; its entry first, for without that nothing is ever closed again."""
        for order in self.signals[key]:
            if not self._delete(order):
                return False
        del self.signals[key]
        self.over.discard(key)
        return True

    def tidy(self) -> None:
        """Forget all but the last few signals that are over."""
        over = [key for key, orders in self.signals.items() if finished(orders)]
        for key in over[:-KEPT_SIGNALS]:
            if not self.forget(key):
                return

    def _delete(self, order: Order) -> bool:
        try:
            self._store.delete(KIND, self._address(order))
        except StateError as error:
            self._tell("state", f"{named(order)} is over and could not be removed: {error}")
            return False
        return True

    def _address(self, order: Order) -> tuple[str, str, str]:
        return self._strategy, self._symbol, order.client_id


def _nothing_to_say(orders: list[Order]) -> bool:
    return orders[0].said or not any(differences(orders))
