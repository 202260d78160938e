"""The orders of one strategy on one symbol, here and on the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from ..domain.orders import Order, SignalKey, finished
from ..domain.reconcile import differences
from ..errors import StateError
from ..ports import StateStore
from ..stores.versions import read_json

KIND: Final = "order"
KEPT_SIGNALS: Final = 5
"""How many signals that are over keep their orders, for the table and against hearing an event twice."""


_READERS: Final[Mapping[int, Callable[[bytes], list[Order]]]] = {1: partial(msgspec.json.decode, type=list[Order])}


class SavedOrders:
    """Orders by signal: the entry, then closing orders in turn; all of them one value of kind ``"order"`` in the store.

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
        self._address = (strategy, symbol)
        self._tell = tell
        self._unsaved = False

    def load(self) -> None:
        """Read what was saved.

        Raises
        ------
        StateError
            When it cannot be read, or a newer bknb wrote it.
        """
        payload = self._store.read(KIND, self._address)
        self.signals.clear()
        if payload is None:
            return
        strategy, symbol = self._address
        try:
            found = read_json(_READERS, payload, what=f"the saved orders of {strategy!r} on {symbol}")
        except (ValueError, msgspec.DecodeError) as error:
            raise StateError(
                f"the saved orders of {strategy!r} on {symbol} are none: {error}\n"
                f"look at your exchange, then delete {KIND}/{strategy}/{symbol} from the state"
            ) from None
        for order in found:
            self.signals.setdefault(order.key, []).append(order)
        self.over = {key for key, orders in self.signals.items() if finished(orders) and _nothing_to_say(orders)}

    def put(self, order: Order, *, quiet: bool = False) -> bool:
        """Keep an order, here and on the disk; ``False``: not on the disk yet, and nothing may leave."""
        orders = self.signals.setdefault(order.key, [])
        for place, known in enumerate(orders):
            if known.client_id == order.client_id:
                orders[place] = order
                break
        else:
            orders.append(order)
        self.over.discard(order.key)
        self._unsaved = True
        return self.save(quiet=quiet)

    def save(self, *, quiet: bool = False) -> bool:
        """Write what could not be written before; whether everything is on the disk."""
        if not self._unsaved:
            return True
        everything = [order for orders in self.signals.values() for order in orders]
        try:
            self._store.write(KIND, self._address, msgspec.json.encode(everything))
        except StateError as error:
            if not quiet:
                self._tell("state", f"the orders of {'/'.join(self._address)} wait until they can be saved: {error}")
            return False
        self._unsaved = False
        return True

    def forget(self, key: SignalKey) -> None:
        """Leave a signal out from now on; on the disk with the next order that changes."""
        del self.signals[key]
        self.over.discard(key)

    def tidy(self) -> None:
        """Forget all but the last few signals that are over."""
        over = [key for key, orders in self.signals.items() if finished(orders)]
        for key in over[:-KEPT_SIGNALS]:
            self.forget(key)


def _nothing_to_say(orders: list[Order]) -> bool:
    return orders[0].said or not any(differences(orders))
