"""What a live run notes beside its state, to be compared with a backtest: lives, and what the candles do not tell.

Moments are UTC ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from .lifecycle import Opening, State, signals_of
from .signal import SignalKey, key_of
from .signal_events import AddCancelled, Cancelled, Closed, Event, Moved, Opened, Reduced, Scheduled

WhyNotAsked: TypeAlias = Literal["stopped", "disagreement", "late", "warm-up", "strategy", "timeout", "model_late"]


class Life(msgspec.Struct, frozen=True, kw_only=True, tag="life", omit_defaults=True):
    """A start of a run: from when on, with which code and set-up; ``new``: nothing was saved of it before.

    ``code`` is the hash of its strategy, ``settings`` are JSON, ``parameters`` texts by name.
    """

    since: int
    code: str
    settings: str
    execution: str
    interval: str
    parameters: dict[str, str] = {}
    new: bool = False


class NotAsked(msgspec.Struct, frozen=True, kw_only=True, tag="not_asked"):
    """A question that was due and that its strategy was not asked, or did not answer."""

    when: int
    why: WhyNotAsked


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused", omit_defaults=True):
    """A signal that a risk profile or an account refused; ``holders`` had the other places then, by name."""

    when: int
    signal_id: str
    decided_at: int
    risk: str = ""
    note: str = ""
    holders: tuple[str, ...] = ()


class ByHand(msgspec.Struct, frozen=True, kw_only=True, tag="by_hand"):
    """A signal about which somebody decided by hand, or that came of such a decision."""

    when: int
    signal_id: str
    decided_at: int


RunNote: TypeAlias = Life | NotAsked | Refused | ByHand


def name_of_note(note: RunNote) -> tuple[str | int, ...]:
    """By what a note is known: one of the same name takes the place of the one from before.

    Examples
    --------
    >>> name_of_note(NotAsked(when=60_000, why="late"))
    ('not_asked', 60000)
    """
    match note:
        case Life():
            return "life", note.since
        case NotAsked():
            return "not_asked", note.when
        case Refused():
            return "refused", note.when, note.signal_id
        case _:
            return "by_hand", note.signal_id, note.decided_at


_OF_SIGNAL: Final = (Closed, Cancelled, AddCancelled, Moved, Reduced, Opened, Scheduled)


def decided_by_hand(before: State, after: State, events: Sequence[Event]) -> set[SignalKey]:
    """The signals about which a turn has decided by hand, or that came of such a decision."""
    found = {key_of(event.signal) for event in events if isinstance(event, _OF_SIGNAL) and _by_hand(event)}
    if isinstance(after, Opening) and after.activated:
        found |= {key_of(signal) for signal in signals_of(after)}
    if any(isinstance(event, Cancelled) and event.reason == "manual" for event in events):
        known = {key_of(signal) for signal in signals_of(before)}
        found |= {key_of(signal) for signal in signals_of(after)} - known
        found |= {key_of(event.signal) for event in events if isinstance(event, Opened | Scheduled)} - known
    return found


def _by_hand(event: Event) -> bool:
    match event:
        case Closed():
            return event.close_reason == "manual"
        case Cancelled() | AddCancelled() | Moved():
            return event.reason == "manual"
        case Reduced():
            return event.fill.reason == "manual"
        case Opened() | Scheduled():
            return event.signal.id.endswith("-manual")
        case _:
            return False


def lives_of_newest(notes: Iterable[RunNote]) -> list[Life]:
    """The lives since a run had nothing saved, in order."""
    lives = sorted((note for note in notes if isinstance(note, Life)), key=lambda life: life.since)
    first = max((at for at, life in enumerate(lives) if life.new), default=0)
    return lives[first:]
