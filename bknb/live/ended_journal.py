"""What ended in a live run, as a journal of few values in a state store; see :mod:`bknb.live.journal`.

Version 1 saved each end as a value of its own.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from ..domain.orders import SignalKey, key_of
from ..domain.recovery import SavedEnds
from ..domain.signal import Cancelled, Closed
from ..ports import StateStore
from .journal import LATEST, MOST, Journal, Readers

End: TypeAlias = Closed | Cancelled
KIND: Final = "ended"

_ENDING: Any = Closed | Cancelled  # a union is no type for a type checker


def _one(payload: bytes) -> tuple[End, ...]:
    end: End = msgspec.json.decode(payload, type=_ENDING)
    return (end,)


def _many(payload: bytes) -> tuple[End, ...]:
    return msgspec.json.decode(payload, type=SavedEnds).ends


def _encode(ends: tuple[End, ...]) -> bytes:
    return msgspec.json.encode(SavedEnds(ends=ends))


def _name(end: End) -> SignalKey:
    return key_of(end.signal)


_READERS: Final[Readers[End]] = {1: _one, 2: _many}


class EndedJournal(Journal[End]):
    """The closed and cancelled signals of one strategy on one symbol, on the disk.

    A signal is known by its id and the moment it was decided at. It ends once: an end that is added again, as a run
    does that repeats a minute after a crash, replaces the one from before.

    Parameters
    ----------
    store
        Where they are saved; acquired by the caller.
    key
        Strategy and symbol.
    latest, most
        The numbers of ends that the last part and each other one hold.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     EndedJournal(store, ("sma", "BTCUSDT")).load()
    []
    """

    def __init__(self, store: StateStore, key: tuple[str, str], *, latest: int = LATEST, most: int = MOST) -> None:
        super().__init__(store, KIND, key, readers=_READERS, name=_name, encode=_encode, latest=latest, most=most)

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
