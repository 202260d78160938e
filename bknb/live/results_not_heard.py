"""The results of a live run that listeners have not heard yet: kept on disk, and told again after a crash.

The last of them are saved with the state. What a slow listener leaves behind is moved into values of their own, so that
the state stays small and nothing is dropped.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec

from ..domain.recovery import Kept, Restored, SavedResult, SavedUndelivered, kept_result, saved_result
from ..domain.signal_events import Event
from ..errors import StateError
from ..events import subjects
from ..events.receipt import Receipt
from ..ports import StateStore
from ..stores.format_versions import read_json

KIND: Final = "undelivered"
BESIDE_STATE = 64
"""How many results at most are saved with the state; older ones are moved, as many at a time."""

_READERS: Final[Mapping[int, Callable[[bytes], SavedUndelivered]]] = {
    1: partial(msgspec.json.decode, type=SavedUndelivered)
}


class _Entry:
    __slots__ = ("event", "receipt")

    def __init__(self, event: Kept) -> None:
        self.event = event
        self.receipt: Receipt | None = None  # from the moment it is emitted


class Undelivered:
    """The results that were saved and that not every listener has handled, oldest first and numbered.

    Parameters
    ----------
    store, strategy, symbol
        Where they are kept, and whose they are.

    Attributes
    ----------
    results
        How many results there were so far.
    heard
        How many of them, from the first on, every listener has handled.
    store
        As given.
    """

    def __init__(self, store: StateStore, strategy: str, symbol: str) -> None:
        self.results = self.heard = 0
        self.store = store
        self._address = (strategy, symbol)
        self._entries: dict[int, _Entry] = {}  # by number, in order
        self._emitted = 0  # the number of the first that was not given to the listeners
        self._moved: deque[tuple[int, int]] = deque()  # first number of each moved value, and the number behind it
        self._beside = 0  # the number of the first that is saved with the state
        self._foreign: set[tuple[str, ...]] = set()  # keys of values that no number of this life is in

    # --- after a start ------------------------------------------------------------------------------------------

    def load(self, found: Restored) -> list[str]:
        """Read what an earlier process left; returns what is missing, as sentences. All of it is to be emitted again.

        Raises
        ------
        StateError
            When the place cannot be listed.
        """
        self.results, self.heard = found.results, found.heard
        self._beside = end = found.results - len(found.undelivered)
        numbered: dict[int, Kept] = dict(enumerate(found.undelivered, start=end))
        problems: list[str] = []
        self._moved.clear()
        self._foreign.clear()
        for key in reversed(self.store.keys(KIND, self._address)):
            first, results = int(key[2]), list[Kept]()
            try:
                payload = self.store.read(KIND, key)
            except StateError as error:
                problems.append(_unreadable(key, error))
                payload = None
            try:
                results = [] if payload is None else _decoded(payload, key)
            except StateError as error:  # a newer bknb wrote it: it stays
                problems.append(_unreadable(key, error))
                end = min(end, first)
                continue
            except (ValueError, msgspec.DecodeError) as error:
                problems.append(_unreadable(key, error))
            behind = first + len(results) if results else end
            if first < behind <= end:
                self._moved.appendleft((first, behind))
                numbered |= dict(enumerate(results, start=first))
                end = first
                continue
            # What a crash left of a move is saved with the state as well; anything else is of a run before this one.
            self._foreign.add(key)
            if any(numbered.get(number) != result for number, result in enumerate(results, start=first)):
                problems.append(f"{_name(key)} are those of a state that is gone, so they are not told again")
        wanted = range(found.heard, found.results)
        self._entries = {number: _Entry(numbered[number]) for number in wanted if number in numbered}
        self._emitted = found.heard
        if lost := len(wanted) - len(self._entries):
            problems.append(f"{lost} results that listeners may not have heard are gone from the disk")
        return problems

    @property
    def events(self) -> list[Kept]:
        """All of them, oldest first."""
        return [entry.event for entry in self._entries.values()]

    # --- while the run goes on ----------------------------------------------------------------------------------

    def emitted(self, event: Event) -> None:
        """Note that an event was given to the listeners just now."""
        for number in range(self._emitted, self.results):
            entry = self._entries.get(number)
            if entry is not None and entry.event is event:
                entry.receipt = Receipt(subjects.subjects_of(event))
                self._emitted = number + 1
                return

    def forget_heard(self) -> None:
        """Forget those that every listener has handled."""
        while self.heard < self.results:
            entry = self._entries.get(self.heard)
            if entry is not None and (entry.receipt is None or not entry.receipt.handled):
                return
            self._entries.pop(self.heard, None)
            self.heard += 1

    def make_room(self) -> None:
        """Move the oldest into a value of their own, when there are too many to be saved with the state.

        Raises
        ------
        StateError
            When that cannot be saved; then they are still with the state of before.
        """
        while (waiting := self.results - self._first_beside()) > BESIDE_STATE:
            first = self._first_beside()
            behind = first + min(waiting, BESIDE_STATE)
            saved = SavedUndelivered(first=first, results=self._between(first, behind))
            self.store.write(KIND, self._key(first), msgspec.json.encode(saved))
            self._moved.append((first, behind))
            self._foreign.discard(self._key(first))
            self._beside = behind

    def beside_state(self, events: Iterable[Kept] = ()) -> tuple[SavedResult, ...]:
        """Those that are saved with the state, the new ones last."""
        return (*self._between(self._first_beside(), self.results), *map(saved_result, events))

    def add(self, events: tuple[Kept, ...]) -> None:
        """Take in new results, which are on the disk and are emitted next."""
        for event in events:
            self._entries[self.results] = _Entry(event)
            self.results += 1

    def tidy(self, heard: int) -> None:
        """Remove moved values that were heard, when the state on disk says that the first ``heard`` results were.

        Values of a run before this one are removed as well. One that cannot be removed is tried again the next time:
        the state is saved, so the run goes on.
        """
        with contextlib.suppress(StateError):
            for key in sorted(self._foreign):
                self.store.delete(KIND, key)
                self._foreign.discard(key)
            while self._moved and self._moved[0][1] <= heard:
                self.store.delete(KIND, self._key(self._moved[0][0]))
                self._moved.popleft()

    def _first_beside(self) -> int:
        return max(self.heard, self._beside)

    def _between(self, first: int, behind: int) -> tuple[SavedResult, ...]:
        return tuple(saved_result(self._entries[number].event) for number in range(first, behind))

    def _key(self, first: int) -> tuple[str, ...]:
        return (*self._address, f"{first:012d}")


def kept_of(events: Iterable[Event]) -> tuple[Kept, ...]:
    """The results among events: all but those of quiet minutes, refusals and rejections."""
    return tuple(event for event in events if isinstance(event, Kept))


SUBJECTS: Final = (
    subjects.signal_live,
    subjects.signal,
    subjects.partial_profit,
    subjects.partial_loss,
    subjects.position,
)
"""The subjects on which what is kept here is emitted."""


def _decoded(payload: bytes, key: tuple[str, ...]) -> list[Kept]:
    return [kept_result(result) for result in read_json(_READERS, payload, what=_name(key)).results]


def _unreadable(key: tuple[str, ...], error: Exception) -> str:
    return f"{_name(key)} cannot be read, so they are not told again: {error}"


def _name(key: tuple[str, ...]) -> str:
    return f"the results of {' on '.join(key[:2])} from number {int(key[2])} on that listeners may not have heard"
