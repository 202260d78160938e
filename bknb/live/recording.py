"""What a live run records beside its state: the candles it has worked on, and notes of what these do not tell.

::

    candle/{strategy}/{symbol}/part-000001.json     up to 1 440 candles
    candle/{strategy}/{symbol}/latest.json          the newest, up to 64
    note/{strategy}/{symbol}/part-000001.json       lives, questions that were not asked, refusals, decisions by hand

It is written before a state that has worked on these candles, and at the end of the run: what is saved of a run is
recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar, Final, TypeAlias

import msgspec

from ..domain.lifecycle import State
from ..domain.run_notes import ByHand, RunNote, decided_by_hand, name_of_note
from ..domain.signal_events import Event
from ..errors import StateError
from ..ports import StateStore
from .growing_list_in_store import Journal, Readers
from .saved_values import decode_saved

Row: TypeAlias = tuple[int, float, float, float, float, float]
"""Open time (UTC ms), open, high, low, close (quote currency), volume."""

LATEST: Final = 64
MOST: Final = 1_440
_KIND: Final = "candle"
_PART: Final = re.compile(r"part-([0-9]{6,})")


class _SavedCandles(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    rows: list[Row]


class _SavedNotes(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    notes: tuple[RunNote, ...]


def _read_rows(payload: bytes) -> list[Row]:
    return msgspec.json.decode(payload, type=_SavedCandles).rows


_READERS: Final[Mapping[int, Callable[[bytes], list[Row]]]] = {1: _read_rows}


def _notes(payload: bytes) -> tuple[RunNote, ...]:
    return msgspec.json.decode(payload, type=_SavedNotes).notes


class NoteJournal(Journal[RunNote]):
    """The notes of one strategy on one symbol, on the disk.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     NoteJournal(store, ("sma", "BTCUSDT")).load()
    []
    """

    kind = "note"
    readers: ClassVar[Readers[RunNote]] = {1: _notes}

    def name_of(self, item: RunNote) -> tuple[str | int, ...]:
        """See :func:`bknb.domain.run_notes.name_of_note`."""
        return name_of_note(item)

    def encoded(self, items: tuple[RunNote, ...]) -> bytes:
        """Notes as a value of version 1."""
        return msgspec.json.encode(_SavedNotes(notes=items))


class RecordedCandles:
    """The candles that one strategy on one symbol has worked on; in memory are the newest parts alone.

    Parameters
    ----------
    store, key
        Where they are saved; strategy and symbol.

    Examples
    --------
    >>> from bknb.stores import MemoryStore
    >>> with MemoryStore() as store:
    ...     candles = RecordedCandles(store, ("sma", "BTCUSDT"))
    ...     candles.add((0, 1.0, 2.0, 0.5, 1.5, 7.0))
    ...     candles.save()
    ...     RecordedCandles(store, ("sma", "BTCUSDT")).load()
    [(0, 1.0, 2.0, 0.5, 1.5, 7.0)]
    """

    def __init__(self, store: StateStore, key: tuple[str, str]) -> None:
        self._store, self._key = store, key
        self._new: list[Row] = []
        self._latest: list[Row] = []
        self._part: list[Row] = []
        self._number = 0  # of the newest part; 0: nothing was read yet

    def add(self, row: Row) -> None:
        """Note a candle; it is on the disk with the next :meth:`save`."""
        self._new.append(row)

    def save(self) -> None:
        """Write what is new.

        Raises
        ------
        StateError
            When it could not be saved; then it is tried again with the next.
        """
        if not self._new:
            return
        if not self._number:
            self._read_newest()
        latest = self._latest + self._new
        if len(latest) > LATEST:
            number, part = (self._number, self._part) if len(self._part) < MOST else (self._number + 1, [])
            part = part + latest
            self._write(f"part-{number:06d}", part)
            self._number, self._part, latest = number, part, []
        self._write("latest", latest)
        self._latest, self._new = latest, []

    def load(self) -> list[Row]:
        """All candles in order, those that are not on the disk yet included.

        Raises
        ------
        StateError
            When they cannot be read.
        """
        names = sorted(key[-1] for key in self._store.keys(_KIND, self._key))
        parts = [name for name in names if name != "latest"]
        rows = [row for name in (*parts, "latest") for row in self._read(name)]
        return sorted({row[0]: row for row in (*rows, *self._new)}.values())

    def forget(self, before: int) -> int:
        """Delete the parts whose candles all opened before a moment (UTC ms), but the newest; how many candles went.

        Raises
        ------
        StateError
            When one cannot be read or deleted.
        """
        names = sorted(key[-1] for key in self._store.keys(_KIND, self._key))
        gone = 0
        for name in [each for each in names if _PART.fullmatch(each)][:-1]:
            rows = self._read(name)
            if rows and rows[-1][0] < before:
                self._store.delete(_KIND, (*self._key, name))
                gone += len(rows)
        return gone

    def _read_newest(self) -> None:
        names = (_PART.fullmatch(key[-1]) for key in self._store.keys(_KIND, self._key))
        number = max((int(name[1]) for name in names if name is not None), default=1)
        try:
            self._part, self._latest = self._read(f"part-{number:06d}"), self._read("latest")
        except StateError:  # it stays as it is, and what comes now is behind it
            self._part, self._latest, number = [], [], number + 1
        self._number = number

    def _read(self, name: str) -> list[Row]:
        key = (*self._key, name)
        payload = self._store.read(_KIND, key)
        return [] if payload is None else decode_saved(_READERS, payload, _KIND, key)

    def _write(self, name: str, rows: list[Row]) -> None:
        self._store.write(_KIND, (*self._key, name), msgspec.json.encode(_SavedCandles(rows=rows)))


class Recording:
    """The candles and the notes of one strategy on one symbol.

    Parameters
    ----------
    store, key
        Where they are saved; strategy and symbol.

    Attributes
    ----------
    candles
        What was worked on.
    """

    def __init__(self, store: StateStore, key: tuple[str, str]) -> None:
        self.candles = RecordedCandles(store, key)
        self._journal, self._place = NoteJournal(store, key), (store, key)
        self._new: list[RunNote] = []

    def note(self, note: RunNote) -> None:
        """Note something; it is on the disk with the next :meth:`save`."""
        self._new.append(note)

    def note_turn(self, before: State, after: State, events: tuple[Event, ...], when: int) -> None:
        """Note the signals about which a turn has decided by hand."""
        for signal_id, decided_at in decided_by_hand(before, after, events):
            self.note(ByHand(when=when, signal_id=signal_id, decided_at=decided_at))

    def save(self) -> None:
        """Write what is new.

        Raises
        ------
        StateError
            When it could not be saved; then it is tried again with the next.
        """
        self.candles.save()
        if self._new:
            new = tuple({name_of_note(note): note for note in self._new}.values())
            self._journal.append(*new)
            self._new = []

    def load(self) -> tuple[list[Row], list[RunNote]]:
        """All candles and notes in order.

        Raises
        ------
        StateError
            When they cannot be read.
        """
        return self.candles.load(), [*NoteJournal(*self._place).load(), *self._new]

    def forget_new(self) -> None:
        """Forget the notes that are not on the disk: nothing is run."""
        self._new = []

    def save_at_end(self) -> None:
        """Write what is new, as far as that can be: the run is over, and tells nothing any more."""
        with suppress(StateError):
            self.save()
