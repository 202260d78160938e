"""Entries: from an answer of a strategy to an order, and from an order to its fill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..errors import InvalidTransition
from .checked_signal import activated, checked_signal
from .entry_timeout import timeout_of
from .fills_at_stops_and_gaps import Entry, Exit, Minute, exit_at_entry
from .lifecycle_exits import close_at, holding_minute
from .lifecycle_inputs import Answer, earliest_fill
from .position_book import Lifetime, opened_book
from .risk_request_and_verdict import ALLOWED, Command, Release, Reserve, Verdict
from .signal import OpenSignal, ScheduledSignal, sign_of
from .signal_events import (
    Cancelled,
    Closed,
    Event,
    Idle,
    Opened,
    PositionEvent,
    Rejected,
    RiskRefused,
    Scheduled,
)
from .signal_validation import STOPPED
from .state_as_text import story
from .states import (
    Asking,
    Entering,
    Flat,
    Holding,
    Opening,
    Rules,
    Step,
    Waiting,
    after_frame,
    labels,
    quiet_minute,
    rejection,
)
from .tick_grid import on_grid
from .trailing_and_breakeven_stops import after_progress, costs_of, moved_events
from .unfilled_entries import cancel, flat_after


def flat_answer(state: Flat, given: Answer, rules: Rules) -> Step:
    """The answer of a strategy where nothing is open."""
    return answered(state, None, given, rules)


def holding_answer(state: Holding, given: Answer, rules: Rules) -> Step:
    """The answer of a strategy whose position leaves."""
    if state.leaving is None:
        raise InvalidTransition(f"a strategy is not asked while its position is open\n{story(state, rules)}")
    return answered(state, state, given, rules)


def answered(
    state: Flat | Holding,
    ending: Holding | None,
    given: Answer,
    rules: Rules,
    *,
    earlier: tuple[Event, ...] = (),
    freed: str | None = None,
) -> Step:
    """A signal checked: an order, a question to the risk profile, or a rejection.

    ``earlier`` are events of the same answer, told before what comes of it; ``freed`` is the id of a signal whose place
    counts as free.
    """
    last_id = state.last_id if isinstance(state, Flat) else state.signal.id
    signal = on_grid(given.signal, rules.tick, negative=rules.negative)
    candidate = checked_signal(signal, given.when, given.price, rules, last_id=last_id)
    if isinstance(candidate, tuple):
        rejected = rejection(rules, given.when, given.price, candidate, signal)
        return Step(state, (*earlier, rejected), released_by(earlier, rules))
    return ordered(candidate, state, ending, given, rules, earlier=earlier, freed=freed)


def ordered(
    candidate: OpenSignal | ScheduledSignal,
    state: Flat | Holding,
    ending: Holding | None,
    given: Answer,
    rules: Rules,
    *,
    earlier: tuple[Event, ...] = (),
    freed: str | None = None,
) -> Step:
    """An order of a checked signal, or a question to the risk profile; else as :func:`answered`."""
    last_id = state.last_id if isinstance(state, Flat) else state.signal.id
    asking = Asking(
        candidate=candidate,
        when=given.when,
        price=given.price,
        not_before=earliest_fill(given, rules),
        last_id=last_id,
        ending=ending,
        earlier=earlier,
    )
    if not rules.asks:
        return granted(asking, rules)
    freed = ending.signal.id if ending else freed
    return Step(asking, (), (Reserve(candidate, given.when, given.price, freed, earlier=earlier),))


def released_by(earlier: tuple[Event, ...], rules: Rules) -> tuple[Release, ...]:
    """The places of what ended among events."""
    if not rules.asks:
        return ()
    return tuple(Release(event.signal.id) for event in earlier if isinstance(event, Closed | Cancelled))


def flat_minute(state: Flat, given: Minute, rules: Rules) -> Step:
    """A minute with nothing open."""
    if not rules.quiet:
        return Step(state)
    return Step(state, (Idle(**labels(rules), when=given.t, price=given.price),))


def granted(state: Asking, rules: Rules, liquidation: float | None = None) -> Step:
    """What was allowed is opened or ordered; of a list the others that were allowed are ordered beside it."""
    candidate, earlier, released = state.candidate, state.earlier, released_by(state.earlier, rules)
    if isinstance(candidate, OpenSignal):
        opened = Opened(**labels(rules), when=state.when, price=state.price, signal=candidate)
        return Step(opened_holding(candidate, rules, liquidation), (*earlier, opened), released)
    if rules.model.fills_at_open or candidate.entry == "close":
        opening = Opening(
            signal=candidate,
            not_before=state.not_before,
            last_id=state.last_id,
            ending=state.ending,
            close_at=_session_close(state.not_before, rules) if candidate.entry == "close" else None,
            beside=state.granted,
        )
        return Step(opening, earlier, released)
    told = [
        Scheduled(**labels(rules), when=state.when, price=state.price, signal=signal)
        for signal in (candidate, *state.granted)
        if signal.scheduled_at == state.when  # others wait already
    ]
    waiting = Waiting(signal=candidate, last_id=state.last_id, beside=state.granted)
    return Step(waiting, (*earlier, *told), released)


def _session_close(not_before: int, rules: Rules) -> int:
    from .valid_and_until import session_close  # few signals need it

    return session_close(not_before, rules)


def opened_holding(signal: OpenSignal, rules: Rules, liquidation: float | None = None) -> Holding:
    """A position that was opened just now; when the clock ends it is worked out here.

    ``liquidation`` is the price at which its account liquidates it (quote currency).
    """
    book = None if signal.is_plain and liquidation is None else opened_book(signal, _lifetime(signal, rules))
    if book is not None and signal.rungs:
        from .part_and_add_orders import with_rungs  # few signals have an entry ladder

        book = with_rungs(book, signal, rules)
    if book is not None and liquidation is not None:
        book = msgspec.structs.replace(book, liquidation=liquidation)
    return Holding(signal=signal, highest=signal.price_open, lowest=signal.price_open, book=book)


def _lifetime(signal: OpenSignal, rules: Rules) -> Lifetime | None:
    if not (signal.until or signal.bars or signal.entry == "close"):
        return None
    from .valid_and_until import lifetime_at

    return lifetime_at(signal, rules)


def refusal(
    candidate: OpenSignal | ScheduledSignal, when: int, price: float, verdict: Verdict, rules: Rules
) -> RiskRefused | Rejected:
    """The event for what the risk profile refused, or for what came too late."""
    if verdict.stopped:
        return rejection(rules, when, price, (STOPPED,), candidate)
    return RiskRefused(
        **labels(rules),
        when=when,
        price=price,
        risk="" if verdict.by_account else rules.risk or "",
        note=verdict.note,
        signal=candidate,
        open_positions=verdict.open_positions,
    )


def asking_verdict(state: Asking, given: Verdict, rules: Rules) -> Step:
    """The decision of the risk profile on a new signal."""
    if given.allowed:
        return granted(state, rules, given.liquidation)
    refused = refusal(state.candidate, state.when, state.price, given, rules)
    earlier = state.earlier
    return Step(state.ending or Flat(last_id=state.last_id), (*earlier, refused), released_by(earlier, rules))


def ending_minute(state: Opening, given: Minute, rules: Rules) -> Step:
    """A minute with a position that leaves before the new one enters, at the same open or an earlier one, if any."""
    if (ending := state.ending) is None:
        return Step(state)
    left = holding_minute(ending, given, rules)
    if isinstance(left.state, Holding):  # parts of it that were ordered before may have filled
        return Step(msgspec.structs.replace(state, ending=left.state), left.events)
    alone = msgspec.structs.replace(state, last_id=ending.signal.id, ending=None)
    return Step(alone, left.events, left.commands)


def opening_minute(state: Opening, given: Minute, rules: Rules) -> Step:
    """A minute with an entry order, and perhaps a position that leaves before it."""
    events, commands = tuple[Any, ...](), tuple[Command, ...]()
    if state.ending is not None:
        left = ending_minute(state, given, rules)
        if not isinstance(left.state, Opening) or left.state.ending is not None:
            return left
        state, events, commands = left.state, left.events, left.commands
    signal, model, last_id = state.signal, rules.model, state.last_id
    if signal.entry == "close" or not model.can_fill(given, state.not_before):
        return Step(state, events + quiet_minute(signal, given, rules), commands)
    entry = model.entry(signal, given, first=True)
    if not isinstance(entry, Entry) or entry.rested:
        events += (Scheduled(**labels(rules), when=given.t, price=given.price, signal=signal),)
    if entry is None:
        return Step(Waiting(signal=signal, last_id=last_id), events + quiet_minute(signal, given, rules), commands)
    if entry == "reject":
        made = cancel(signal, Flat(last_id=last_id), given.t, given.price, "price_reject", rules)
    elif rules.sized or (entry.rested and given.t > signal.scheduled_at):
        again = entry.rested and given.t > signal.scheduled_at
        made = _touched(signal, given, entry, rules, last_id=last_id, earlier=events, again=again)
        if isinstance(made.state, Entering):
            return made
    else:  # risk was asked in this minute already
        made = entered(signal, given, entry, rules)
    return Step(made.state, events + made.events, commands + made.commands)


def _touched(
    signal: ScheduledSignal,
    minute: Minute,
    entry: Entry,
    rules: Rules,
    *,
    last_id: str | None,
    earlier: tuple[Closed | Scheduled | PositionEvent, ...] = (),
    again: bool = True,
) -> Step:
    """An entry that fills in a minute, once the account, and where it rested the risk profile, were asked again."""
    if not rules.asks:
        return entered(signal, minute, entry, rules)
    entering = Entering(signal=signal, minute=minute, entry=entry, last_id=last_id, earlier=earlier)
    filled = activated(signal, minute.t, entry.price, rules.tick)
    ending = next(ids_closed(earlier), None)
    asked = Reserve(filled, minute.t, minute.price, ending, fill=entry, earlier=earlier, again=again)
    return Step(entering, (), (asked,))


def ids_closed(events: tuple[Event, ...]) -> Iterator[str]:
    """The signals of what was closed among events."""
    return (event.signal.id for event in events if isinstance(event, Closed))


def waiting_minute(state: Waiting, given: Minute, rules: Rules) -> Step:
    """A minute with a resting entry."""
    signal, model = state.signal, rules.model
    if not model.fills_at_open:
        if after_frame(given.t, rules):
            return cancel(signal, flat_after(state), given.t, given.price, model.frame_end_cancel, rules)
        if given.t >= timeout_of(signal, rules):
            return cancel(signal, flat_after(state), given.t, given.price, "timeout", rules)
    entry = model.entry(signal, given, first=False) if model.can_fill(given) else None
    if entry is None:
        return Step(state, quiet_minute(signal, given, rules))
    if entry == "reject":
        return cancel(signal, flat_after(state), given.t, given.price, "price_reject", rules)
    return _touched(signal, given, entry, rules, last_id=state.last_id)


def entered(order: ScheduledSignal, minute: Minute, entry: Entry, rules: Rules, given: Verdict = ALLOWED) -> Step:
    """The fill of an entry that was allowed, and what the rest of its minute does, to other parts of it as well."""
    rested = order.entry == "limit" and entry.rested and entry.price == order.price_open
    signal = activated(order, minute.t, entry.price, rules.tick)
    if rested:
        signal = msgspec.structs.replace(signal, rested=True)
    told: tuple[Event, ...] = (Opened(**labels(rules), when=minute.t, price=minute.price, signal=signal),)
    liquidation = given.liquidation
    holding = opened_holding(signal, rules, liquidation)
    if given.cuts:
        from .cut_adds import with_cut_adds

        holding, refused = with_cut_adds(holding, given.cuts, minute.t, minute.price, rules)
        told += refused
    if signal.rungs and holding.book is not None:
        from .order_of_fills_in_a_managed_minute import timed_out

        holding, _, over = timed_out(holding, holding.book, minute.t, minute.price, rules)
        told += over
    if entry.at_open and holding.book is not None:
        from .order_of_fills_in_a_managed_minute import managed_minute

        after = managed_minute(holding, holding.book, minute, rules, entered=True)
        return Step(after.state, (*told, *after.events), after.commands)
    end: Exit | None = None
    if entry.at_open:
        end = exit_at_entry(signal)
        if end is None:
            after = holding_minute(holding, minute, rules)
            return Step(after.state, (*told, *after.events), after.commands)
    elif liquidation is not None and _liquidated_in(order, minute, liquidation, rules):
        end = Exit("liquidation", liquidation, ambiguous=True)
    elif signal.rungs and holding.book is not None:
        from .order_of_fills_in_a_managed_minute import rest_of_entry_minute

        held = msgspec.structs.replace(holding, in_doubt=_in_doubt(holding, order, minute, entry, rules))
        after = rest_of_entry_minute(held, holding.book, minute, rules, upward=order.entry == "stop")
        state = after.state
        if entry.stopped and isinstance(state, Holding):  # other parts have moved the stop away before it was reached
            state = msgspec.structs.replace(state, in_doubt=False)
        return Step(state, (*told, *after.events), after.commands)
    elif entry.stopped and signal.price_stop_loss is not None:
        # The candle reached entry and stop: the resting order was filled on the way, and stopped out.
        end = Exit("stop_loss", signal.price_stop_loss, ambiguous=True)
    if end is None:
        touched = _held_after_touch(holding, order, minute, entry, rules)
        began = _begun(touched, minute, rules)
        return Step(began.state, (*told, *began.events))
    ending = close_at(holding, minute.t, minute.price, end, rules)
    return Step(ending.state, (*told, *ending.events), ending.commands)


def _liquidated_in(order: ScheduledSignal, minute: Minute, level: float, rules: Rules) -> bool:
    """Whether a limit that a candle filled at its level is liquidated in that candle, before its stop."""
    if order.entry != "limit":
        return False  # the other extreme lies mostly before the fill of a stop entry
    sign, (high, low) = sign_of(order.position), rules.model.extremes(minute)
    stop = order.price_stop_loss
    return sign * ((low if sign > 0 else high) - level) <= 0 and (stop is None or sign * (level - stop) > 0)


def _begun(holding: Holding, minute: Minute, rules: Rules) -> Step:
    """Declared exits that begin in the minute in which an entry filled at its level."""
    book = holding.book
    if book is None:
        return Step(holding)
    signal, sign = holding.signal, sign_of(holding.signal.position)
    best = holding.highest if sign > 0 else holding.lowest
    book, began = after_progress(signal, book, best, tick=rules.tick, costs=costs_of(rules.settings))
    book = msgspec.structs.replace(book, phase_high=holding.highest, phase_low=holding.lowest)
    events = moved_events(labels(rules), minute.t, minute.price, signal, book, best, began, tick=rules.tick)
    return Step(msgspec.structs.replace(holding, book=book), events)


def _held_after_touch(holding: Holding, order: ScheduledSignal, minute: Minute, entry: Entry, rules: Rules) -> Holding:
    """The position after a minute in which it filled at its level: of the extremes only one came after the fill."""
    if not rules.model.fills_at_open:
        return holding
    upward = (order.entry == "stop") == (order.position == "long")
    seen = {"highest": max(holding.highest, minute.high)} if upward else {"lowest": min(holding.lowest, minute.low)}
    return msgspec.structs.replace(holding, in_doubt=_in_doubt(holding, order, minute, entry, rules), **seen)


def _in_doubt(holding: Holding, order: ScheduledSignal, minute: Minute, entry: Entry, rules: Rules) -> bool:
    """Whether the minute in which an entry filled at its level reached its stop, too, which may have been before."""
    stop, sign = holding.signal.price_stop_loss, sign_of(order.position)
    if entry.in_doubt or order.stop_percent is None or stop is None or not rules.model.fills_at_open:
        return entry.in_doubt
    return sign * ((minute.low if sign > 0 else minute.high) - stop) <= 0  # it was not there before the fill


def entering_verdict(state: Entering, given: Verdict, rules: Rules) -> Step:
    """The decision of the risk profile on a resting entry that was touched."""
    minute, released = state.minute, tuple(Release(signal_id) for signal_id in ids_closed(state.earlier))
    if given.allowed:
        made = entered(state.signal, minute, state.entry, rules, given)
        return Step(made.state, state.earlier + made.events, released + made.commands)
    refused = refusal(
        activated(state.signal, minute.t, state.entry.price, rules.tick), minute.t, minute.price, given, rules
    )
    ending = cancel(state.signal, flat_after(state), minute.t, minute.price, "risk", rules, note=given.note)
    return Step(ending.state, (*state.earlier, refused, *ending.events), released + ending.commands)
