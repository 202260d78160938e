"""What ended in a live run, as a journal of few values in a state store; see :mod:`bknb.live.growing_list_in_store`.

Version 1 saved each end as a value of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import msgspec

from ..domain.recovery import SavedEnds
from ..domain.signal import SignalKey, key_of
from ..domain.signal_events import Cancelled, Closed
from .growing_list_in_store import Journal, Readers

End: TypeAlias = Closed | Cancelled

_ENDING: Any = Closed | Cancelled  # a union is no type for a type checker


def _one(payload: bytes) -> tuple[End, ...]:
    end: End = msgspec.json.decode(payload, type=_ENDING)
    return (end,)


def _many(payload: bytes) -> tuple[End, ...]:
    return msgspec.json.decode(payload, type=SavedEnds).ends


class EndedJournal(Journal[End]):
    """The closed and cancelled signals of one strategy on one symbol, on the disk.

    A signal is known by its id and the moment it was decided at. It ends once: an end that is added again, as a run
    does that repeats a minute after a crash, replaces the one from before.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     EndedJournal(store, ("sma", "BTCUSDT")).load()
    []
    """

    kind = "ended"
    readers: ClassVar[Readers[End]] = {1: _one, 2: _many}

    def name_of(self, item: End) -> SignalKey:
        """The key of the signal that ended."""
        return key_of(item.signal)

    def encoded(self, items: tuple[End, ...]) -> bytes:
        """Ends as a value of version 2."""
        return msgspec.json.encode(SavedEnds(ends=items))

    def items(self) -> list[End]:
        """Everything that ended, in the order of its moments."""
        return sorted(super().items(), key=lambda end: end.when)

    def without(self, open_signals: set[SignalKey]) -> list[End]:
        """Everything that ended, in order, once the ends of signals that are open have been removed.

        A crash came before the rest of their turn was saved; the run comes to an end of them again.

        Raises
        ------
        StateError
            When the journal could not be written.
        """
        self.drop(lambda end: key_of(end.signal) in open_signals)
        return self.items()
