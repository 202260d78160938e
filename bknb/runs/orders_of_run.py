"""What a run ordered, place by place, and what had become of it at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import Cancelled, Closed, Opened, Scheduled

if TYPE_CHECKING:
    from ..domain.states import Rules
    from ..engine.records import Records

_BY_CLOCK: Final = ("timeout", "frame_end")
_OTHERS_DECIDED: Final = ("liquidation", "risk", "together", "manual", "stopped", "disagreement")
"""Reasons of ends that neither candles nor the strategy come to again."""


def is_known(event: Any, when: int, rules: Rules) -> bool:
    """Whether an event was known at a moment (UTC ms); a candle that opens then has not closed yet.

    What the clock ends is told before that candle, where orders fill at opens; else with it.
    """
    if event.when != when:
        return bool(event.when < when)
    by_clock = isinstance(event, Cancelled) and event.reason in _BY_CLOCK
    return by_clock and (rules.model.fills_at_open or event.signal.entry == "close")


class Order:
    """The signals that a run ordered at one moment for one place, and what became of them.

    Attributes
    ----------
    place : str
        Its name; empty of a strategy with one place.
    scheduled_at : int
        When they were answered, UTC ms.
    signals : list
        Of each the row of its first event, in order.
    moved : list
        The same of those that took the place of one of them, which was moved while others waited.
    has_opened : bool
        Whether one of them was opened.
    ends : list
        The events that ended them.
    rules : Rules
        Those of the run.
    """

    __slots__ = ("ends", "has_opened", "moved", "place", "rules", "scheduled_at", "signals")

    def __init__(
        self, place: str, scheduled_at: int, signals: list[OpenSignal | ScheduledSignal], rules: Rules
    ) -> None:
        self.place, self.scheduled_at, self.signals, self.rules = place, scheduled_at, signals, rules
        self.moved: list[OpenSignal | ScheduledSignal] = []
        self.has_opened = False
        self.ends: list[Closed | Cancelled] = []

    @property
    def still_waits(self) -> bool:
        """Whether nothing of it was opened, and something waits."""
        return not self.has_opened and len(self.ends) < len(self.signals) + len(self.moved)

    def is_there(self, when: int) -> bool:
        """Whether something of it was open or waited at a moment (UTC ms)."""
        ended = sum(is_known(event, when, self.rules) for event in self.ends)
        return self.scheduled_at < when and ended < len(self.signals) + len(self.moved)

    @property
    def was_ended_from_outside(self) -> bool:
        """Whether something of it was ended by what neither candles nor the strategy come to again."""
        reasons = (event.close_reason if isinstance(event, Closed) else event.reason for event in self.ends)
        return any(reason in _OTHERS_DECIDED for reason in reasons)


def orders_before(records: Records, when: int, rules: Rules) -> list[Order]:
    """What a run of ``rules`` ordered before a moment (UTC ms), in order."""
    found: dict[tuple[int, str], Order] = {}
    newest: dict[str, Order] = {}
    by_key: dict[SignalKey, Order] = {}
    for event in records.events:
        if not isinstance(event, Scheduled | Opened | Closed | Cancelled):
            continue
        signal = event.signal
        key = key_of(signal)
        if signal.scheduled_at >= when:
            continue
        order = by_key.get(key)
        if order is None:
            before, place = newest.get(signal.place), (signal.scheduled_at, signal.place)
            if before is not None and before.still_waits and before.scheduled_at < signal.scheduled_at:
                order = before
                order.moved.append(signal)
            else:
                order = found.setdefault(place, Order(signal.place, signal.scheduled_at, [], rules))
                order.signals.append(signal)
            by_key[key] = newest[signal.place] = order
        if isinstance(event, Opened):
            order.has_opened = True
        if isinstance(event, Closed | Cancelled):
            order.ends.append(event)
    return sorted(found.values(), key=lambda order: order.scheduled_at)
