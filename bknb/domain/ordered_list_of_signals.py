"""Signals of a list ordered beside each other, for one place: each is checked and asked about, and only one fills.

Which one that is says :mod:`bknb.domain.competing_entries`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .checked_signal import as_answered, checked_signal
from .lifecycle_entries import granted, refusal, released_by
from .lifecycle_inputs import Answer, Answers, Managed, earliest_fill
from .risk_request_and_verdict import Release, Reserve, Verdict
from .signal import OpenSignal, ScheduledSignal
from .signal_events import Cancelled, Closed, Event, Reason
from .states import Asking, Flat, Holding, Rules, Step, Waiting, rejection
from .tick_grid import on_grid
from .unfilled_entries import cancelled_entries

AT_THE_MARKET = Reason(
    "list", "a signal of a list needs price_open: an order at the market or the close leaves nothing to the others"
)


def answered_with_several(state: Flat | Holding, given: Answers, rules: Rules) -> Step:
    """The signals of a list, each checked by itself: those that are valid are ordered beside each other.

    The risk profile and the account are asked about one after the other. All of them have one place, and as much money
    as the one that needs most: only one fills.
    """
    ending = state if isinstance(state, Holding) else None
    last_id = state.signal.id if isinstance(state, Holding) else state.last_id
    events: list[Event] = []
    valid: dict[str, OpenSignal | ScheduledSignal] = {}
    for number, answer in enumerate(given.signals, 1):
        signal = on_grid(answer, rules.tick, negative=rules.negative)
        suffix = "" if number == 1 else f"#{number}"
        candidate = checked_signal(signal, given.when, given.price, rules, last_id=last_id, suffix=suffix)
        reasons = candidate if isinstance(candidate, tuple) else ()
        first = signal.price_open[0][0] if isinstance(signal.price_open, tuple) else signal.price_open
        if first is None and len(given.signals) > 1:
            reasons = (*reasons, AT_THE_MARKET)
        if isinstance(candidate, OpenSignal | ScheduledSignal):
            if candidate.id in valid:
                reasons = (*reasons, Reason("repeated", f"two signals of one list have the id {candidate.id!r}"))
            if not reasons:
                valid[candidate.id] = candidate
                continue
        events.append(rejection(rules, given.when, given.price, reasons, signal))
    # at the average price one may fill at once; of several the nearest to it
    at_once = sorted(
        (each for each in valid.values() if isinstance(each, OpenSignal)),
        key=lambda each: abs(each.price_open - given.price),
    )
    later = [each for each in valid.values() if isinstance(each, ScheduledSignal)]
    candidates: tuple[OpenSignal | ScheduledSignal, ...] = (*at_once, *later)
    if not candidates:
        return Step(state, tuple(events))
    asking = Asking(
        candidate=candidates[0],
        when=given.when,
        price=given.price,
        not_before=earliest_fill(given, rules),
        last_id=last_id,
        ending=ending,
        earlier=tuple(events),
        rest=candidates[1:],
    )
    return _ordered(asking, rules)


def ordered_beside(
    waits: tuple[ScheduledSignal, ...],
    candidates: tuple[OpenSignal | ScheduledSignal, ...],
    given: Managed,
    rules: Rules,
    *,
    last_id: str | None,
    earlier: tuple[Event, ...],
) -> Step:
    """Checked signals ordered beside others that wait, for one place.

    ``earlier`` are events of the same answer, with the ends of the orders whose place they take.
    """
    asked = Answer(given.when, given.price, as_answered(candidates[0]), given.entry_decided_at)
    first = sorted(candidates, key=lambda each: isinstance(each, ScheduledSignal))  # what fills at once is first
    return _ordered(
        Asking(
            candidate=first[0],
            when=given.when,
            price=given.price,
            not_before=earliest_fill(asked, rules),
            last_id=last_id,
            earlier=earlier,
            granted=waits,
            rest=tuple(first[1:]),
        ),
        rules,
    )


def _ordered(asking: Asking, rules: Rules) -> Step:
    """What is asked about a list of signals, or what is ordered of them where nobody is asked."""
    if rules.asks:
        return _asked(asking)
    while True:
        step = _allowed(asking, rules)
        if not isinstance(step.state, Asking):
            return step
        asking = step.state


def _asked(state: Asking) -> Step:
    freed = state.ending.signal.id if state.ending else None
    holder = state.granted[0].id if state.granted else None
    asked = Reserve(state.candidate, state.when, state.price, freed, earlier=state.earlier, holder=holder)
    return Step(state, (), (asked,))


def competing_answered(state: Asking, given: Verdict, rules: Rules) -> Step:
    """The decision on one of a list of signals; the next of them is asked about, or those that were allowed ordered."""
    if given.allowed:
        after = _allowed(state, rules, given.liquidation)
    else:
        refused = refusal(state.candidate, state.when, state.price, given, rules)
        after = _next(state, state.granted, (*state.earlier, refused), rules)
    return _asked(after.state) if isinstance(after.state, Asking) else after


def _allowed(state: Asking, rules: Rules, liquidation: float | None = None) -> Step:
    candidate = state.candidate
    if isinstance(candidate, OpenSignal):  # it fills at once
        opened, others = granted(state, rules, liquidation), (*state.granted, *state.rest)
        taken = [event for signal in others for event in _place_taken(signal, state.when, state.price, rules)]
        return Step(opened.state, (*opened.events, *taken), _handed_on((*state.earlier, *taken), candidate, rules))
    return _next(state, (*state.granted, candidate), state.earlier, rules)


def _next(state: Asking, allowed: tuple[ScheduledSignal, ...], earlier: tuple[Event, ...], rules: Rules) -> Step:
    if state.rest:
        following, rest = state.rest[0], state.rest[1:]
        return Step(msgspec.structs.replace(state, candidate=following, rest=rest, granted=allowed, earlier=earlier))
    if not allowed:
        return Step(state.ending or Flat(last_id=state.last_id), earlier, released_by(earlier, rules))
    if all(signal.scheduled_at < state.when for signal in allowed):  # those that wait already
        waits = Waiting(signal=allowed[0], last_id=state.last_id, beside=allowed[1:])
        return Step(waits, earlier, _handed_on(earlier, allowed[0], rules))
    made = granted(msgspec.structs.replace(state, candidate=allowed[0], granted=allowed[1:], earlier=earlier), rules)
    return made._replace(commands=_handed_on(earlier, allowed[0], rules))


def _handed_on(events: Iterable[Event], heir: OpenSignal | ScheduledSignal, rules: Rules) -> tuple[Release, ...]:
    """The place of what ended among events, for the one that goes on: one of them may have had it."""
    ended = [event.signal.id for event in events if isinstance(event, Closed | Cancelled)]
    return tuple(Release(signal_id, heir) for signal_id in ended) if rules.asks else ()


def _place_taken(signal: OpenSignal | ScheduledSignal, when: int, price: float, rules: Rules) -> tuple[Cancelled, ...]:
    scheduled = signal if isinstance(signal, ScheduledSignal) else _unfilled(signal)
    return cancelled_entries([scheduled], when, price, "place_taken", rules)


def _unfilled(signal: OpenSignal) -> ScheduledSignal:
    fields = msgspec.structs.asdict(signal)
    return ScheduledSignal(**{name: fields[name] for name in ScheduledSignal.__struct_fields__})
