"""Times the gaps without a stop at the broker of one strategy on one symbol, and saves how many and how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from ..domain.broker_orders_and_ids import Order
from ..domain.protection_gaps import ProtectionGaps, is_bare
from ..domain.signal import SignalKey
from ..errors import StateError
from ..ports import StateStore
from .saved_values import read_value

KIND: Final = "protection"
TOLD_SECONDS: Final = 5.0
"""Gaps that are longer are told: they are none of the requests that a stop needs."""


class GapsWithoutStop:
    """The gaps of one strategy on one symbol.

    Parameters
    ----------
    store, address
        Where they are saved: the store of the run, and its strategy and symbol.
    on_problem
        Called with ``"unprotected"`` and a sentence about a gap that was long.
    """

    def __init__(self, store: StateStore, address: tuple[str, str], on_problem: Callable[[str, str], object]) -> None:
        self.found = ProtectionGaps()
        self._store, self._address, self._on_problem = store, address, on_problem
        self._since: dict[SignalKey, int] = {}  # UTC ms

    def load(self) -> None:
        """Read those of earlier processes.

        Raises
        ------
        StateError
            When they cannot be read.
        """
        self.found = read_value(self._store, KIND, self._address, ProtectionGaps) or ProtectionGaps()

    def look(self, orders: Sequence[Order], *, since: int, now: int) -> None:
        """Note whether a position has a gap now, which began at ``since`` if it has just begun; all UTC ms."""
        key = orders[0].key
        if is_bare(orders):
            self._since.setdefault(key, since)
        elif (began := self._since.pop(key, None)) is not None:
            self._ended(key, max(now - began, 0) / 1000, closing=orders[0].ended_at is not None)

    def _ended(self, key: SignalKey, seconds: float, *, closing: bool) -> None:
        self.found = self.found.plus(seconds)
        if seconds > TOLD_SECONDS and not closing:
            self._on_problem("unprotected", f"what is held of {key[0]!r} had no stop at the broker for {seconds:.1f} s")
        with suppress(StateError):  # it is saved with the next one
            self._store.write(KIND, self._address, msgspec.json.encode(self.found))
