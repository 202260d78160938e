"""The minutes that a live run went on without, as a journal of few values in a state store.

See :mod:`bknb.live.growing_list_in_store`. Version 1 saved all holes as one value.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from ..domain.recovery import SavedHoles
from .growing_list_in_store import Journal, Readers

Hole: TypeAlias = tuple[int, int]
"""A range ``[first, end)`` of minutes (UTC ms)."""


def _list(payload: bytes) -> tuple[Hole, ...]:
    return msgspec.json.decode(payload, type=tuple[Hole, ...])


def _many(payload: bytes) -> tuple[Hole, ...]:
    return msgspec.json.decode(payload, type=SavedHoles).holes


class HoleJournal(Journal[Hole]):
    """The minutes that one strategy on one symbol went on without, on the disk; a hole is known by its first minute.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     HoleJournal(store, ("sma", "BTCUSDT")).load()
    []
    """

    kind = "hole"
    readers: ClassVar[Readers[Hole]] = {1: _list, 2: _many}

    def name_of(self, item: Hole) -> int:
        """The first minute of a hole, UTC ms."""
        return item[0]

    def encoded(self, items: tuple[Hole, ...]) -> bytes:
        """Holes as a value of version 2."""
        return msgspec.json.encode(SavedHoles(holes=items))

    def up_to(self, last_minute: int) -> list[Hole]:
        """The holes before a run's last minute (UTC ms), in order; others are removed.

        A hole is saved before the minute behind it is worked on. After a crash in between, the exchange may have the
        minutes.

        Raises
        ------
        StateError
            When the journal could not be written.
        """
        self.drop(lambda hole: hole[0] > last_minute)
        return sorted(self.items())
