"""What was open or waited in each place of a strategy at a moment, from the events before it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from ..domain.lifecycle import Holding, due
from ..domain.lifecycle_entries import opened_holding
from ..domain.position_book import new_book
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import Cancelled, Closed, Moved, Opened, Scheduled
from ..reports.signal_story import story_of
from .orders_of_run import is_known

if TYPE_CHECKING:
    from ..domain.signal_events import PositionEvent
    from ..engine.records import Records
    from .run_record import RunRecord

State: TypeAlias = Literal["flat", "scheduled", "open", "leaving"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceAtMoment:
    """What was open or waited in one place of a strategy at a moment; one of ``moment.places``.

    Attributes
    ----------
    place : str
        Its name; empty of a strategy with one place.
    state : {"scheduled", "open", "leaving"}
        ``"leaving"``: its deadline had passed, and it closes at the next candle.
    signal : OpenSignal or ScheduledSignal
        The signal that was open, or the first of those that waited.
    beside : tuple of ScheduledSignal
        Others that waited for the same place.
    why : str
        The events of the signal up to that moment.
    """

    place: str
    state: Literal["scheduled", "open", "leaving"]
    signal: OpenSignal | ScheduledSignal
    beside: tuple[ScheduledSignal, ...] = ()
    why: str = ""

    @property
    def began(self) -> int:
        """When it was opened, or ordered where it waits, UTC ms."""
        return self.signal.pending_at if isinstance(self.signal, OpenSignal) else self.signal.scheduled_at

    @property
    def is_taken(self) -> bool:
        """Whether a signal for this place is left out."""
        return self.state != "leaving"


def places_at(record: RunRecord, when: int) -> tuple[PlaceAtMoment, ...]:
    """What was open or waited at a moment (UTC ms), the oldest place first, then by name."""
    there: dict[SignalKey, OpenSignal | ScheduledSignal] = {}
    assert record.rules is not None  # a backtest has them  # noqa: S101
    for event in record.records.events:
        if event.when > when:
            break
        if not is_known(event, when, record.rules):
            continue
        if isinstance(event, Scheduled | Opened):
            there[key_of(event.signal)] = event.signal
        elif isinstance(event, Closed | Cancelled):
            there.pop(key_of(event.signal), None)
    places = sorted(there.values(), key=lambda signal: (signal.place, isinstance(signal, ScheduledSignal)))
    found = [_place_of(record, name, list(signals), when) for name, signals in groupby(places, lambda each: each.place)]
    return tuple(sorted(found, key=lambda each: (each.began, each.place)))


def _place_of(record: RunRecord, name: str, signals: list[OpenSignal | ScheduledSignal], when: int) -> PlaceAtMoment:
    first, *others = signals
    state: Literal["scheduled", "open", "leaving"] = "scheduled"
    if isinstance(first, OpenSignal):
        state = "leaving" if _is_over(record, first, when) else "open"
    beside = tuple(each for each in others if isinstance(each, ScheduledSignal))
    why = "\n".join(story_of(record.records, key_of(first), before=when))
    return PlaceAtMoment(place=name, state=state, signal=first, beside=beside, why=why)


def events_of(records: Records, signal: OpenSignal | ScheduledSignal, when: int) -> list[PositionEvent]:
    """What happened to a position before a moment (UTC ms)."""
    key = key_of(signal)
    return [event for event in records.positions if key_of(event.signal) == key and event.when < when]


def _is_over(record: RunRecord, signal: OpenSignal, when: int) -> bool:
    """Whether the clock has ended a position that no candle has closed yet."""
    rules = record.rules
    assert rules is not None  # a backtest has them  # noqa: S101
    moved = [event for event in events_of(record.records, signal, when) if isinstance(event, Moved)]
    book = opened_holding(signal, rules).book or new_book(signal, highest=0.0, lowest=0.0)
    if moved:
        book = msgspec.structs.replace(book, deadline=moved[-1].deadline, closing=msgspec.UNSET)
    return when >= due(Holding(signal=signal, highest=0.0, lowest=0.0, book=book), rules)
