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
from collections.abc import Callable, Hashable, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

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


class Journal(Generic[Item]):
    """Things of one kind of one strategy on one symbol, on the disk; each has a name and is there once.

    Parameters
    ----------
    store
        Where they are saved; acquired by the caller.
    kind
        Under which kind.
    key
        Strategy and symbol.
    readers
        Version -> the function that makes things of a value.
    name
        By what a thing is known; one of the same name replaces the one from before.
    encode
        Makes a value of things, in the latest version.
    latest, most
        The numbers of things that the last part and each other one hold.

    Examples
    --------
    >>> import msgspec
    >>> from bknb.stores import MemoryStore
    >>> def read(payload: bytes) -> tuple[int, ...]:
    ...     return msgspec.json.decode(payload, type=tuple[int, ...])
    >>> with MemoryStore() as store:
    ...     for minute in (3, 5, 3):
    ...         journal = Journal(
    ...             store, "seen", ("sma", "BTCUSDT"), readers={1: read}, name=int, encode=msgspec.json.encode
    ...         )
    ...         added = journal.append(minute)
    ...     journal.load()
    [3, 5]
    """

    def __init__(
        self,
        store: StateStore,
        kind: str,
        key: tuple[str, str],
        *,
        readers: Readers[Item],
        name: Callable[[Item], Hashable],
        encode: Callable[[tuple[Item, ...]], bytes],
        latest: int = LATEST,
        most: int = MOST,
    ) -> None:
        self._store = store
        self._kind = kind
        self._key = key
        self._readers = readers
        self._name = name
        self._encode = encode
        self._latest = latest
        self._most = most
        self._parts: dict[int, dict[Hashable, Item]] = {}
        self._first_free = 1  # the number behind every part that could not be read
        self._loaded = False

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
        for key in (self._key, *self._store.keys(self._kind, self._key)):
            part = _PART.fullmatch(key[-1]) if key != self._key else None
            try:
                payload = self._store.read(self._kind, key)
                if payload is None:
                    continue
                items = decode_saved(self._readers, payload, self._kind, key)
            except StateError as error:
                if problems is None:
                    raise
                problems.append(f"{error}\nthe run goes on without it")
                self._first_free = self._first_free if part is None else max(self._first_free, int(part[1]) + 1)
                continue
            named = {self._name(item): item for item in items}
            if part is not None:
                self._parts[int(part[1])] = named
            else:
                singles |= named
                keys_of_singles.append(key)
        self._loaded = True
        self._take_over(singles)
        for key in keys_of_singles[:_REMOVED_AT_ONCE]:
            self._store.delete(self._kind, key)

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

    def append(self, *items: Item) -> tuple[Item, ...]:
        """Add things; they are on the disk when this returns. Returns those that were not there yet as they are.

        Raises
        ------
        StateError
            When they could not be saved; then the journal is as it was.
        """
        if not self._loaded:
            self.read()
        named = {self._name(item): item for item in items}
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
        latest = next((number for number in sorted(self._parts, reverse=True) if name in self._parts[number]), None)
        return latest is not None and self._parts[latest][name] == item

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
        return {name: item for number in sorted(self._parts) for name, item in self._parts[number].items()}

    def _save(self, number: int, items: dict[Hashable, Item]) -> None:
        payload = self._encode(tuple(items.values()))
        self._store.write(self._kind, (*self._key, f"part-{number:06d}"), payload)
        self._parts[number] = items
