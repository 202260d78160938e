"""What ``manage`` answers about entries that wait, or weights about one that was ordered: cancelled, moved, replaced.

A moved order is cancelled, and another one with the new price takes its place, as exchanges do it: with an id of its
own, checked as a signal is, asked about by risk profile and account, and in force from the moment of the decision on.
It waits no longer than the first would have. In a list of signals it is the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from .checked_signal import as_answered, checked_signal, id_when_moved
from .entry_timeout import timeout_of
from .exit_validation import is_finite_number
from .formatting import plain_number
from .lifecycle_entries import answered, ordered
from .lifecycle_inputs import Answer, Managed
from .manage_answers import Cancel, Move, PositionAnswer
from .manage_answers_carried_out import rejected_answers
from .manage_answers_refused import (
    TWO_SIGNALS,
    behind_signal,
    lonely_signal,
    note_fault,
    unknown_order,
    which_order,
)
from .signal import OpenSignal, ScheduledSignal, Signal, SignalKey, key_of
from .signal_events import Event, Reason
from .signal_validation import STOPPED, read_answer
from .states import Flat, Opening, Rules, Step, Waiting, waiting_signals
from .text import shown
from .tick_grid import on_grid
from .unfilled_entries import cancel, places_after


class _Judged:
    """Answers about entries that wait, judged one after the other."""

    def __init__(self, waits: Sequence[ScheduledSignal], given: Managed, rules: Rules, last_id: str | None) -> None:
        self.waits, self.given, self.rules, self.last_id = waits, given, rules, last_id
        self.cancelled: dict[SignalKey, str] = {}
        self.moved: dict[SignalKey, OpenSignal | ScheduledSignal] = {}
        self.signal: Signal | None = None
        self.reasons = list(given.faults)

    @property
    def left(self) -> list[ScheduledSignal]:
        """What still waits after what was cancelled."""
        return [order for order in self.waits if key_of(order) not in self.cancelled]

    def judge(self, answer: PositionAnswer) -> None:
        """Take one more answer, or note why it is refused."""
        match answer:
            case Cancel():
                self._cancel(answer)
            case Signal():
                self._replace(answer)
            case Move() if answer.price_open is not UNSET:
                self._move(answer)
            case _:
                name = type(answer).__name__
                text = f"{name} needs an open position, and this signal waits for its entry"
                advice = "Cancel() takes it back, with a Signal behind it replaces it, Move(price_open=…) moves it"
                self.reasons.append(Reason("nothing_open", f"{text}; {advice}"))

    def _cancel(self, answer: Cancel) -> None:
        fault = note_fault(answer.note)
        if fault is not None:
            self.reasons.append(fault)
        if self.signal is not None:
            self.reasons.append(behind_signal(answer))
        orders = self.left if answer.id is None else self._named("Cancel", answer.id)
        for order in orders:
            self.cancelled[key_of(order)] = answer.note if fault is None else ""
            self.moved.pop(key_of(order), None)

    def _replace(self, answer: Signal) -> None:
        if self.signal is not None:
            self.reasons.append(TWO_SIGNALS)
        elif not self.cancelled:
            self.reasons.append(lonely_signal("Cancel"))
        elif self.left:
            text = f"a Signal behind Cancel(id=…) has no place: {_names(self.left)} still waits"
            self.reasons.append(Reason("signal_alone", f"{text}; cancel all with Cancel()"))
        else:
            self.signal = answer

    def _named(self, answer: str, wanted: object) -> list[ScheduledSignal]:
        """The order of an id that waits, or none with the reason."""
        found = [order for order in self.left if order.id == wanted]
        if not found:
            self.reasons.append(unknown_order(answer, wanted, [order.id for order in self.left]))
        return found

    def _move(self, answer: Move) -> None:
        if answer.id is UNSET and len(self.left) > 1:
            self.reasons.append(which_order([order.id for order in self.left]))
            return
        orders = self.left if answer.id is UNSET else self._named("Move", answer.id)
        if not self.left:
            self.reasons.append(Reason("closed", "Move behind Cancel() has nothing to act on; leave one of them out"))
        for order in orders:
            if key_of(order) in self.moved:
                self.reasons.append(Reason("moved_twice", f"{order.id} is moved twice; give one Move for each order"))
                return
            made = _moved(order, answer, self.given, self.rules, self.last_id)
            if isinstance(made, tuple):
                self.reasons.extend(made)
            else:
                self.moved[key_of(order)] = made


def _names(orders: Sequence[ScheduledSignal]) -> str:
    return ", ".join(order.id for order in orders)


def _moved(
    order: ScheduledSignal, move: Move, given: Managed, rules: Rules, last_id: str | None
) -> OpenSignal | ScheduledSignal | tuple[Reason, ...]:
    """The order that takes the place of one that is moved, or the reasons why there is none."""
    values = msgspec.structs.asdict(move)
    changes = {name: values[name] for name in _OF_SIGNAL if values[name] is not UNSET}
    if not is_finite_number(changes["price_open"]):
        text = f"price_open of Move must be a finite number, got {shown(changes['price_open'], 60)}"
        return (Reason("finite", f"{text}; Cancel() with a Signal behind it enters otherwise"),)
    for name, other in (("price_stop_loss", "stop_percent"), ("price_take_profit", "target_percent")):
        if name in changes or other in changes:
            changes = {name: None, other: None} | changes
    if any(name in changes for name in _DEADLINES):
        changes = dict.fromkeys(_DEADLINES) | changes
    if order.part is not None:  # its first part is moved
        changes["price_open"] = [(changes["price_open"], order.part), *((one.price, one.share) for one in order.rungs)]
    answer = msgspec.structs.replace(as_answered(order), **changes, id=id_when_moved(order.id))
    signal = read_answer(answer, negative=rules.negative)
    if isinstance(signal, Reason):
        return (signal,)
    signal = on_grid(signal, rules.tick, negative=rules.negative)
    made = checked_signal(signal, given.when, given.price, rules, last_id=last_id)
    if isinstance(made, ScheduledSignal) and (order.waits_until is not None or rules.close_of is None):
        return msgspec.structs.replace(made, waits_until=timeout_of(order, rules))
    return made  # for twenty bars, of which live nobody knows when they close, it waits as a new one


def _moved_to(order: ScheduledSignal, made: OpenSignal | ScheduledSignal) -> str:
    """Where an order was moved to; of an entry ladder its first part, which may be another one of it now."""
    others = [rung.price for rung in order.rungs]
    for price in (made.price_open, *(rung.price for rung in made.rungs)):
        if price not in others:
            return f"moved to {plain_number(price)}"
        others.remove(price)
    return f"moved to {plain_number(made.price_open)}"


_DEADLINES = ("minute_estimated_time", "until", "bars")
_OF_SIGNAL = (
    "price_open", "price_stop_loss", "price_take_profit", "stop_percent", "target_percent", "trailing", "breakeven",
    "memo", *_DEADLINES,
)  # fmt: skip


def waiting_managed(state: Waiting | Opening, given: Managed, rules: Rules) -> Step:
    """What ``manage`` answered about entries that rest, or weights about an entry order that no candle has filled.

    A position that leaves before that order still leaves.
    """
    waits = waiting_signals(state)
    judged = _Judged(waits, given, rules, state.last_id)
    for answer in given.answers:
        judged.judge(answer)
    if (judged.signal is not None or judged.moved) and not given.entries:
        judged.reasons.append(STOPPED)
    events: tuple[Event, ...] = rejected_answers(given, judged.reasons, rules)
    moved = {} if judged.reasons else judged.moved
    if not judged.cancelled and not moved:
        return Step(state, events)
    ending = state.ending if isinstance(state, Opening) else None
    then = ending or Flat(last_id=state.last_id)
    notes = {key_of(order): _moved_to(order, moved[key_of(order)]) for order in waits if key_of(order) in moved}
    notes |= judged.cancelled
    gone = [order for order in waits if key_of(order) in notes]
    left = tuple(order for order in waits if key_of(order) not in notes)
    for order in gone:
        note = notes[key_of(order)]
        events += cancel(order, then, given.when, given.price, given.source, rules, note=note).events
    asked: dict[str, Any] = {"when": given.when, "price": given.price, "decided_at": given.entry_decided_at}
    if judged.signal is not None and not judged.reasons:
        return answered(
            then, ending, Answer(signal=judged.signal, **asked), rules, earlier=events, freed=state.signal.id
        )
    if len(moved) == 1 and not left:
        (made,) = moved.values()
        by = Answer(signal=as_answered(made), **asked)
        return ordered(made, then, ending, by, rules, earlier=events, freed=state.signal.id)
    if moved:
        from .ordered_list_of_signals import ordered_beside

        return ordered_beside(left, tuple(moved.values()), given, rules, last_id=state.last_id, earlier=events)
    after = msgspec.structs.replace(state, signal=left[0], beside=left[1:]) if left else then
    return Step(after, events, places_after(events, left[0] if left else None, rules, holder=state.signal))
