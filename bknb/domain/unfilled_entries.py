"""Ends of entry orders that have not filled: taken back by the clock, at a stop, by the end of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .lifecycle_exits import holding_data_end
from .lifecycle_inputs import DataEnd, Halt
from .risk_request_and_verdict import Release
from .signal import OpenSignal, ScheduledSignal, key_of
from .signal_events import Cancelled, CancelReason, Closed, Event
from .states import Entering, Flat, Holding, Opening, Rules, Step, Waiting, labels, waiting_signals


def cancel(
    signal: ScheduledSignal,
    then: Flat | Holding,
    when: int,
    price: float,
    reason: CancelReason,
    rules: Rules,
    *,
    note: str = "",
) -> Step:
    """The end of an entry order that has not filled, and the state that is left."""
    cancelled = Cancelled(
        **labels(rules), when=when, price=price, signal=signal, reason=reason, closed_at=when, note=note
    )
    release = (Release(signal.id),) if rules.asks else ()
    return Step(then, (cancelled,), release)


def flat_after(state: Opening | Waiting | Entering) -> Flat:
    """The state once a waiting signal is gone."""
    return Flat(last_id=state.last_id)


def taken_back(
    state: Opening | Waiting,
    gone: Sequence[ScheduledSignal],
    then: Flat | Holding,
    when: int,
    price: float,
    reason: CancelReason,
    rules: Rules,
    *,
    note: str = "",
) -> Step:
    """The end of some of the entry orders of a state; others beside them wait on, and where there is none, ``then``."""
    if not state.beside:
        return cancel(state.signal, then, when, price, reason, rules, note=note)
    keys = {key_of(signal) for signal in gone}
    left = tuple(signal for signal in waiting_signals(state) if key_of(signal) not in keys)
    events = tuple(
        event for signal in gone for event in cancel(signal, then, when, price, reason, rules, note=note).events
    )
    commands = places_after(events, left[0] if left else None, rules, holder=state.signal)
    after = msgspec.structs.replace(state, signal=left[0], beside=left[1:]) if left else then
    return Step(after, events, commands)


def places_after(
    events: Iterable[Event], heir: OpenSignal | ScheduledSignal | None, rules: Rules, *, holder: ScheduledSignal
) -> tuple[Release, ...]:
    """The places of what ended among events; that of ``holder`` goes to its ``heir``, where there is another one."""
    if not rules.asks:
        return ()
    handed = heir is not None and heir.id != holder.id
    first = (Release(holder.id, heir),) if handed else ()
    ended = [event.signal.id for event in events if isinstance(event, Closed | Cancelled)]
    return (*first, *(Release(signal_id) for signal_id in ended if not (handed and signal_id == holder.id)))


def opening_data_end(state: Opening, given: DataEnd, rules: Rules) -> Step:
    """The end of the data, with an entry order."""
    when = max(given.t, state.signal.scheduled_at)
    cancelled = _all_taken_back(state, flat_after(state), when, given.price, "data_end", rules)
    if state.ending is None:
        return cancelled
    closed = holding_data_end(state.ending, given, rules)
    return Step(closed.state, closed.events + cancelled.events, closed.commands + cancelled.commands)


def waiting_data_end(state: Waiting, given: DataEnd, rules: Rules) -> Step:
    """The end of the data, with a resting entry."""
    return _all_taken_back(state, flat_after(state), given.t, given.price, "data_end", rules)


def opening_halt(state: Opening, given: Halt, rules: Rules) -> Step:
    """An entry order is taken back before it has left; the position before it still leaves."""
    then = state.ending or flat_after(state)
    return _all_taken_back(state, then, given.when, given.price, given.reason, rules, note=given.note)


def waiting_halt(state: Waiting, given: Halt, rules: Rules) -> Step:
    """A resting entry is taken back."""
    return _all_taken_back(state, flat_after(state), given.when, given.price, given.reason, rules, note=given.note)


def _all_taken_back(
    state: Opening | Waiting,
    then: Flat | Holding,
    when: int,
    price: float,
    reason: CancelReason,
    rules: Rules,
    *,
    note: str = "",
) -> Step:
    return taken_back(state, waiting_signals(state), then, when, price, reason, rules, note=note)


def cancelled_entries(
    signals: Iterable[ScheduledSignal], when: int, price: float, reason: CancelReason, rules: Rules, *, note: str = ""
) -> tuple[Cancelled, ...]:
    """The ends of entry orders that have not filled."""
    ends = [cancel(signal, Flat(), when, price, reason, rules, note=note).events[0] for signal in signals]
    return tuple(end for end in ends if isinstance(end, Cancelled))
