"""Ends of entry orders that have not filled: taken back by the clock, at a stop, by the end of the data."""

from __future__ import annotations

from .lifecycle_exits import holding_data_end
from .lifecycle_inputs import DataEnd, Halt
from .risk_request_and_verdict import Release
from .signal import ScheduledSignal
from .signal_events import Cancelled, CancelReason
from .states import Entering, Flat, Holding, Opening, Rules, Step, Waiting, labels


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


def opening_data_end(state: Opening, given: DataEnd, rules: Rules) -> Step:
    """The end of the data, with an entry order."""
    when = max(given.t, state.signal.scheduled_at)
    cancelled = cancel(state.signal, flat_after(state), when, given.price, "data_end", rules)
    if state.ending is None:
        return cancelled
    closed = holding_data_end(state.ending, given, rules)
    return Step(closed.state, closed.events + cancelled.events, closed.commands + cancelled.commands)


def waiting_data_end(state: Waiting, given: DataEnd, rules: Rules) -> Step:
    """The end of the data, with a resting entry."""
    return cancel(state.signal, flat_after(state), given.t, given.price, "data_end", rules)


def opening_halt(state: Opening, given: Halt, rules: Rules) -> Step:
    """An entry order is taken back before it has left; the position before it still leaves."""
    then = state.ending or flat_after(state)
    return cancel(state.signal, then, given.when, given.price, given.reason, rules, note=given.note)


def waiting_halt(state: Waiting, given: Halt, rules: Rules) -> Step:
    """A resting entry is taken back."""
    return cancel(state.signal, flat_after(state), given.when, given.price, given.reason, rules, note=given.note)
