"""A growing list of small things of one live run, as a few values in a state store.

::

    ended/{strategy}/{symbol}/part-000001.json     up to 4 096 of them
    ended/{strategy}/{symbol}/part-000002.json     the latest ones, up to 64

The last part is replaced at each addition. When it is full, what it holds moves to the part before, until that one is
full too: the number of values grows by one for 4 096 things. A store replaces a value as a whole; a crash between the
two writes of such a move leaves things in both parts, and each counts once.

Earlier versions saved each thing as a value of its own, or all of them as one. These values are read, copied to the
journal and removed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from ..errors import StateError
from ..ports import StateStore
from .saved_values import decode_saved

Item = TypeVar("Item")
Readers: TypeAlias = Mapping[int, Callable[[bytes], tuple[Item, ...]]]
"""Version -> the function that reads a value."""

LATEST: Final = 64
"""How many the last part holds."""
MOST: Final = 4_096
"""How many each other part holds."""

_REMOVED_AT_ONCE: Final = 512  # values of earlier versions that one start removes: each removal waits for the disk
_PART: Final = re.compile(r"part-([0-9]{6,})")


class Journal(ABC, Generic[Item]):
    """Things of one kind of one strategy on one symbol, on the disk; each has a name and is there once.

    A class of it names its kind, how values are read and written, and by what a thing is known.

    Parameters
    ----------
    store
        Where they are saved; acquired by the caller.
    key
        Strategy and symbol.
    latest, most
        The numbers of things that the last part and each other one hold.

    Attributes
    ----------
    kind
        Under which kind they are saved.
    readers
        Version of a value -> the function that makes things of it.

    Examples
    --------
    >>> import msgspec
    >>> from bknb.stores import MemoryStore
    >>> class Seen(Journal[int]):
    ...     kind = "seen"
    ...     readers = {1: lambda payload: msgspec.json.decode(payload, type=tuple[int, ...])}
    ...     def name_of(self, item):
    ...         return item
    ...     def encoded(self, items):
    ...         return msgspec.json.encode(items)
    >>> with MemoryStore() as store:
    ...     for minute in (3, 5, 3):
    ...         added = Seen(store, ("sma", "BTCUSDT")).append(minute)
    ...     Seen(store, ("sma", "BTCUSDT")).load()
    [3, 5]
    """

    kind: ClassVar[str]
    readers: ClassVar[Readers[Any]]

    def __init__(self, store: StateStore, key: tuple[str, str], *, latest: int = LATEST, most: int = MOST) -> None:
        self._store = store
        self._key = key
        self._latest = latest
        self._most = most
        self._parts: dict[int, dict[Hashable, Item]] = {}  # by number, ascending
        self._first_free = 1  # the number behind every part that could not be read
        self._loaded = False

    @abstractmethod
    def name_of(self, item: Item) -> Hashable:
        """By what a thing is known; one of the same name replaces the one from before."""

    @abstractmethod
    def encoded(self, items: tuple[Item, ...]) -> bytes:
        """Things as a value of the latest version."""

    def read(self, problems: list[str] | None = None) -> None:
        """Read what is on the disk; values of earlier versions become part of the journal.

        Parameters
        ----------
        problems
            What cannot be read is added here as a sentence, left as it is, and the rest is read; without a list, it is
            an error.

        Raises
        ------
        StateError
            When the place cannot be listed or written, or a value cannot be read and there is no list for it.
        """
        self._parts, self._first_free = {}, 1
        singles: dict[Hashable, Item] = {}
        keys_of_singles: list[tuple[str, ...]] = []
        for key in (self._key, *self._store.keys(self.kind, self._key)):
            part = _PART.fullmatch(key[-1]) if key != self._key else None
            try:
                payload = self._store.read(self.kind, key)
                if payload is None:
                    continue
                items = decode_saved(self.readers, payload, self.kind, key)
            except StateError as error:
                if problems is None:
                    raise
                problems.append(f"{error}\nthe run goes on without it")
                self._first_free = self._first_free if part is None else max(self._first_free, int(part[1]) + 1)
                continue
            named = {self.name_of(item): item for item in items}
            if part is not None:
                self._parts[int(part[1])] = named
            else:
                singles |= named
                keys_of_singles.append(key)
        self._parts = dict(sorted(self._parts.items()))
        self._loaded = True
        self._take_over(singles)
        for key in keys_of_singles[:_REMOVED_AT_ONCE]:
            self._store.delete(self.kind, key)

    @property
    def place(self) -> str:
        """Where it is, as messages name it."""
        return f"{self.kind} of {' on '.join(self._key)}"

    def items(self) -> list[Item]:
        """Everything that was read and added, in that order."""
        return list(self._together().values())

    def load(self) -> list[Item]:
        """Read what is on the disk, see :meth:`read`; returns everything.

        Raises
        ------
        StateError
            When a value cannot be read, or a newer bknb wrote it; or when the journal cannot be written.
        """
        self.read()
        return self.items()

    def drop(self, unwanted: Callable[[Item], bool]) -> None:
        """Remove what is unwanted.

        Raises
        ------
        StateError
            When the journal could not be written.
        """
        for number, items in list(self._parts.items()):
            kept = {name: item for name, item in items.items() if not unwanted(item)}
            if len(kept) < len(items):
                self._save(number, kept)

    def remove_values(self, unwanted: Callable[[Item], bool]) -> None:
        """Remove the values all of whose things are unwanted.

        Raises
        ------
        StateError
            When one could not be removed.
        """
        for number, items in list(self._parts.items()):
            if all(unwanted(item) for item in items.values()):
                self._store.delete(self.kind, (*self._key, f"part-{number:06d}"))
                del self._parts[number]

    def append(self, *items: Item) -> tuple[Item, ...]:
        """Add things; they are on the disk when this returns. Returns those that were not there yet as they are.

        Raises
        ------
        StateError
            When they could not be saved; then the journal is as it was.
        """
        if not items:
            return ()
        if not self._loaded:
            self.read()
        named = {self.name_of(item): item for item in items}
        new = {name: item for name, item in named.items() if not self._holds(name, item)}
        if not new:
            return ()
        number = max((self._first_free, *self._parts))
        latest = self._parts.get(number, {})
        if len(latest) >= self._latest:
            number, latest = self._after_move(number, latest), {}
        self._save(number, latest | new)
        return tuple(new.values())

    def _holds(self, name: Hashable, item: Item) -> bool:
        latest = next((items for items in reversed(self._parts.values()) if name in items), None)
        return latest is not None and latest[name] == item

    def _after_move(self, number: int, latest: dict[Hashable, Item]) -> int:
        """The part for what comes next, after a full last part moved to the one before or became one that stays."""
        before = max((other for other in self._parts if other < number), default=None)
        if before is None or len(together := self._parts[before] | latest) > self._most:
            return number + 1
        self._save(before, together)
        return number

    def _take_over(self, singles: dict[Hashable, Item]) -> None:
        known = self._together()
        fresh = [(name, item) for name, item in singles.items() if name not in known]
        for first in range(0, len(fresh), self._most):
            number = max((self._first_free, *(before + 1 for before in self._parts)))
            self._save(number, dict(fresh[first : first + self._most]))

    def _together(self) -> dict[Hashable, Item]:
        return {name: item for items in self._parts.values() for name, item in items.items()}

    def _save(self, number: int, items: dict[Hashable, Item]) -> None:
        payload = self.encoded(tuple(items.values()))
        self._store.write(self.kind, (*self._key, f"part-{number:06d}"), payload)
        self._parts[number] = items
