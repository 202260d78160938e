"""The orders of a live run that were decided late, as a journal of few values in a state store.

See :mod:`bknb.live.growing_list_in_store`. Version 1 saved each as a value of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

import msgspec

from ..domain.late_orders import Decision, late_orders
from ..domain.lifecycle import State
from ..domain.recovery import SavedLate, SavedLates
from ..ports import StateStore
from .growing_list_in_store import Journal, Readers


def _one(payload: bytes) -> tuple[SavedLate, ...]:
    return (msgspec.json.decode(payload, type=SavedLate),)


def _many(payload: bytes) -> tuple[SavedLate, ...]:
    return msgspec.json.decode(payload, type=SavedLates).late


class LateJournal(Journal[SavedLate]):
    """The late orders of one strategy on one symbol, on the disk, by moment and by what they order.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     LateJournal(store, ("sma", "BTCUSDT")).load()
    []
    """

    kind = "late"
    readers: ClassVar[Readers[SavedLate]] = {1: _one, 2: _many}

    def __init__(self, store: StateStore, key: tuple[str, str]) -> None:
        super().__init__(store, key)
        self._undone: dict[Decision, SavedLate | None] = {}  # what is in doubt, and what was there in its place

    def name_of(self, item: SavedLate) -> Decision:
        """The moment of an order (UTC ms), and what it orders."""
        return item.moment, item.order

    def encoded(self, items: tuple[SavedLate, ...]) -> bytes:
        """Late orders as a value of version 2."""
        return msgspec.json.encode(SavedLates(late=items))

    def without_orphans(
        self, states: Iterable[State], *, known: int, last_asked: int | None, filled: Collection[int]
    ) -> dict[Decision, int]:
        """The late orders that restored states know of; others are removed.

        An order is saved as late before the state that holds it. A crash in between leaves one that was never decided
        for the state on the disk; the run decides again, perhaps in time.

        Parameters
        ----------
        states, last_asked
            As restored; the moment in UTC ms.
        known
            The end of the last minute (UTC ms): what was decided for it may not be filled by a minute yet.
        filled
            The moments (UTC ms) of fills: in ``vwap`` what is decided by hand fills at its moment, in no minute.

        Returns
        -------
        dict
            As :attr:`bknb.engine.records.Records.late`.

        Raises
        ------
        StateError
            When the journal could not be written.
        """
        held = {decision: at for state in states for decision, at in late_orders(state).items()}

        def is_orphan(late: SavedLate) -> bool:
            was_asked = late.order == "entry" and last_asked is not None and late.moment <= last_asked
            return not (self.name_of(late) in held or late.moment < known or late.moment in filled or was_asked)

        self.drop(is_orphan)
        self.append(*(SavedLate(moment=when, order=role, decided_at=at) for (when, role), at in held.items()))
        return self.decisions()

    def may_fail(self, decisions: Collection[Decision]) -> None:
        """Note what is there of orders that are about to be added, and that are filled if their turn is saved."""
        known = {name: late for late in self.items() if (name := self.name_of(late)) in decisions} if decisions else {}
        self._undone = {name: known.get(name) for name in decisions} | self._undone

    def take_back(self, *, kept: Collection[Decision] = ()) -> None:
        """Remove the orders of turns that failed, but for some that were filled after all, and put back what was there.

        Raises
        ------
        StateError
            When the journal could not be written; then the next call does it.
        """
        self._undone = {name: late for name, late in self._undone.items() if name not in kept}
        if self._undone:
            self.drop(lambda late: self.name_of(late) in self._undone)
            self.append(*filter(None, self._undone.values()))
            self._undone = {}

    def decisions(self) -> dict[Decision, int]:
        """What was read and added, as :attr:`bknb.engine.records.Records.late`."""
        return {self.name_of(late): late.decided_at for late in self.items()}
