"""What the legs of a live portfolio told, in order, as far as a run that goes on for months keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ..domain.signal_events import Cancelled, Closed, Event, Milestone, Moved, Rejected, RiskRefused, Scaled
from ..live.run import MAX_NOTES

_NOTES: Final = (Milestone, Moved, Rejected, RiskRefused, Scaled)


class ToldEvents:
    """The events of all legs: every one that opens, changes or ends a signal, of all others the newest of each kind.

    Parameters
    ----------
    most
        How many of a kind are kept, of each at least; up to twice as many are.

    Examples
    --------
    >>> ToldEvents().all()
    []
    """

    def __init__(self, most: int = MAX_NOTES) -> None:
        self._most = most
        self._events: list[Event] = []
        self._notes: Counter[type[Event]] = Counter()
        self._gone: Counter[type[Event]] = Counter()

    def add(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)
        kind = type(event)
        if kind in _NOTES:
            self._notes[kind] += 1
            if self._notes[kind] > 2 * self._most:
                self._drop(kind)

    def all(self) -> list[Event]:
        """All that are kept, in order."""
        return [*self._events]

    def behind(self, ends: Iterable[Closed | Cancelled]) -> list[Event]:
        """All that are kept, behind what ended in earlier processes, which is among the ends of the legs."""
        known = {_key_of(event) for event in self._events}
        earlier = (end for end in ends if _key_of(end) not in known)
        return [*sorted(earlier, key=lambda end: end.when), *self._events]

    @property
    def left_out(self) -> list[str]:
        """What was dropped of each kind, as sentences."""
        return [
            f"of events {kind.__name__} the newest {self._notes[kind]:,} are kept: {gone:,} before them are in no "
            "table, count or list of this result"
            for kind, gone in self._gone.items()
        ]

    def _drop(self, kind: type[Event]) -> None:
        """Drop the oldest of a kind."""
        gone, kept = self._notes[kind] - self._most, []
        self._gone[kind] += gone
        for event in self._events:
            if type(event) is kind and gone:
                gone -= 1
            else:
                kept.append(event)
        self._events, self._notes[kind] = kept, self._most


def _key_of(event: Event) -> tuple[type[Event], str, str, object, int]:
    signal = getattr(event, "signal", None)
    return type(event), event.symbol, event.strategy, getattr(signal, "id", None), event.when
