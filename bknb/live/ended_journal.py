"""What ended in a live run, as a journal of few values in a state store.

::

    ended/{strategy}/{symbol}/part-000001.json     up to 4 096 trades and cancelled signals
    ended/{strategy}/{symbol}/part-000002.json     the latest ones, up to 64

The last part is replaced at each end. When it is full, its ends move to the part before, until that one is full too:
the number of values grows by one for 4 096 ends. A store replaces a value as a whole; a crash between the two writes of
such a move leaves ends in both parts, and each counts once.

Version 1 saved each end as a value of its own. These values are read, copied to the journal and removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from ..domain.orders import SignalKey, key_of
from ..domain.recovery import SavedEnds
from ..domain.signal import Cancelled, Closed
from ..ports import StateStore
from .saved_values import decode_saved

End: TypeAlias = Closed | Cancelled
_Ends: TypeAlias = dict[SignalKey, End]
KIND: Final = "ended"

_LATEST: Final = 64
_MOST: Final = 4_096
_REMOVED_AT_ONCE: Final = 512  # values of version 1 that one start removes: each removal waits for the disk
_PART: Final = re.compile(r"part-([0-9]{6,})")
_ENDING: Any = Closed | Cancelled  # a union is no type for a type checker


def _one(payload: bytes) -> tuple[End, ...]:
    end: End = msgspec.json.decode(payload, type=_ENDING)
    return (end,)


def _many(payload: bytes) -> tuple[End, ...]:
    return msgspec.json.decode(payload, type=SavedEnds).ends


_READERS: Final[Mapping[int, Callable[[bytes], tuple[End, ...]]]] = {1: _one, 2: _many}
"""Version -> the function that reads a value."""


class EndedJournal:
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

    def __init__(self, store: StateStore, key: tuple[str, str], *, latest: int = _LATEST, most: int = _MOST) -> None:
        self._store = store
        self._key = key
        self._latest = latest
        self._most = most
        self._parts: dict[int, _Ends] = {}
        self._loaded = False

    def load(self) -> list[End]:
        """Everything that ended, in order; values of version 1 become part of the journal.

        Raises
        ------
        StateError
            When a value cannot be read, or a newer bknb wrote it; or when the journal cannot be written.
        """
        self._parts = {}
        singles: _Ends = {}
        keys_of_singles: list[tuple[str, ...]] = []
        for key in self._store.keys(KIND, self._key):
            payload = self._store.read(KIND, key)
            if payload is None:
                continue
            ends = {key_of(end.signal): end for end in decode_saved(_READERS, payload, KIND, key)}
            part = _PART.fullmatch(key[-1])
            if part is not None:
                self._parts[int(part[1])] = ends
            else:
                singles |= ends
                keys_of_singles.append(key)
        self._loaded = True
        self._take_over(singles)
        for key in keys_of_singles[:_REMOVED_AT_ONCE]:
            self._store.delete(KIND, key)
        return self._in_order()

    def without(self, open_signals: set[SignalKey]) -> list[End]:
        """Everything that ended, in order, once the ends of signals that are open have been removed.

        A crash came before the rest of their turn was saved; the run comes to an end of them again.

        Raises
        ------
        StateError
            When the journal could not be written.
        """
        for number, ends in list(self._parts.items()):
            kept = {key: end for key, end in ends.items() if key not in open_signals}
            if len(kept) < len(ends):
                self._save(number, kept)
        return self._in_order()

    def append(self, end: End) -> None:
        """Add an end; it is on the disk when this returns.

        Raises
        ------
        StateError
            When it could not be saved; then the journal is as it was.
        """
        if not self._loaded:
            self.load()
        name = key_of(end.signal)
        if any(ends.get(name) == end for ends in self._parts.values()):
            return
        number = max(self._parts, default=1)
        latest = self._parts.get(number, {})
        if len(latest) >= self._latest:
            number, latest = self._after_move(number, latest), {}
        self._save(number, latest | {name: end})

    def _after_move(self, number: int, latest: _Ends) -> int:
        """The part for the next end, after a full last part moved to the one before or became one that stays."""
        before = max((other for other in self._parts if other < number), default=None)
        if before is None or len(together := self._parts[before] | latest) > self._most:
            return number + 1
        self._save(before, together)
        return number

    def _take_over(self, singles: _Ends) -> None:
        known = self._together()
        fresh = [(name, end) for name, end in singles.items() if name not in known]
        for first in range(0, len(fresh), self._most):
            self._save(max(self._parts, default=0) + 1, dict(fresh[first : first + self._most]))

    def _in_order(self) -> list[End]:
        return sorted(self._together().values(), key=lambda end: end.when)

    def _together(self) -> _Ends:
        return {name: end for number in sorted(self._parts) for name, end in self._parts[number].items()}

    def _save(self, number: int, ends: _Ends) -> None:
        payload = msgspec.json.encode(SavedEnds(ends=tuple(ends.values())))
        self._store.write(KIND, (*self._key, f"part-{number:06d}"), payload)
        self._parts[number] = ends
