"""Answers of ``manage`` carried out: judged at their moment, each against what the earlier ones imply, then ordered.

Whatever is wrong with an answer is a reason of one ``Rejected`` event. Then what would open or move something is left
out; ``Close``, ``Reduce`` and ``Cancel`` of the same list are carried out all the same. Sizes are those of
:mod:`bknb.domain.answer_shares`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ..errors import InvalidTransition
from .add_validation import EARLY_SIGNAL, TWO_SIGNALS, add_faults, behind_signal, lonely_signal, note_fault
from .answer_shares import implied_size, orders_of, size_before, sized
from .entry_steps import answered, refusal
from .execution_fills import Exit
from .exit_validation import is_positive
from .fill_run import FillRun
from .lifetimes import closing_order
from .manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from .managed_minute import without_adds
from .market_clock import NEVER
from .moved_levels import moved_book
from .position_book import ClosingOrder, PositionBook, PositionOrder, UnsizedPart, new_book, size_allowed
from .position_fills import DUST
from .position_money import average_price
from .risk import Reserve, Verdict
from .signal import Signal, sign_of
from .signal_events import Event, Reason, Rejected
from .signal_validation import STOPPED, allow
from .states import (
    Answer,
    AskingAdds,
    Flat,
    Holding,
    Leaving,
    Managed,
    Rules,
    Step,
    Waiting,
    earliest_fill,
    labels,
    rejection,
)
from .stop_levels import moved_events, stop_in_force, stop_on_grid
from .story import story
from .text import shown
from .unfilled_entries import cancel


def waiting_managed(state: Waiting, given: Managed, rules: Rules) -> Step:
    """What ``manage`` answered about a resting entry."""
    reasons = [*given.faults]
    cancelled: Cancel | None = None
    signal: Signal | None = None
    for answer in given.answers:
        if isinstance(answer, Cancel):
            if (fault := note_fault(answer.note)) is not None:
                reasons.append(fault)
            if signal is not None:
                reasons.append(behind_signal(answer))
            cancelled = cancelled or (answer if fault is None else Cancel())
        elif isinstance(answer, Signal) and cancelled is not None and signal is None:
            signal = answer
        elif isinstance(answer, Signal):
            reasons.append(lonely_signal("Cancel") if signal is None else TWO_SIGNALS)
        else:
            name = type(answer).__name__
            text = f"{name} needs an open position, and this signal waits for its entry"
            reasons.append(
                Reason("nothing_open", f"{text}; Cancel() takes it back, with a Signal behind it replaces it")
            )
    if signal is not None and not given.entries:
        reasons.append(STOPPED)
    rejected = _rejected(given, reasons, rules)
    if cancelled is None:
        return Step(state, rejected)
    end = cancel(
        state.signal, Flat(last_id=state.last_id), given.when, given.price, given.source, rules, note=cancelled.note
    )
    events = (*rejected, *end.events)
    if signal is None or reasons:
        return Step(end.state, events, end.commands)
    flat, asked = Flat(last_id=state.last_id), Answer(given.when, given.price, signal, given.entry_decided_at)
    return answered(flat, None, asked, rules, earlier=events, freed=state.signal.id)


@dataclass
class _Judged:
    """Answers judged so far, and what they imply.

    ``sizes`` are parts and adds in their order.
    """

    book: PositionBook
    closes: Close | None = None
    at_close: ClosingOrder | None = None
    closed_by: str = "Close()"
    sizes: list[Reduce | Add] = field(default_factory=list)
    cancels: Cancel | None = None
    moved: PositionBook | None = None
    ends: Exit | None = None
    signal: Signal | None = None
    not_taken: int = 0
    reasons: list[Reason] = field(default_factory=list)

    @property
    def size(self) -> float:
        """What is held once everything ordered so far at the market has filled, in units of the first size."""
        return implied_size(size_before(self.book, adds=self.cancels is None), self.sizes)

    def close_later(self, answer: Close, given: Managed, rules: Rules) -> None:
        """Take a ``Close`` for the session's close; one that is known too late for it closes at the market."""
        order = closing_order(self.levels.closing, given, answer.note, rules)
        if isinstance(order, ClosingOrder):
            self.at_close = order
        elif isinstance(order, Reason):
            self.reasons.append(order)
        elif order == "late":
            self.closes = self.closes or answer

    @property
    def levels(self) -> PositionBook:
        """The book with the moves so far."""
        return self.book if self.moved is None else self.moved


def holding_managed(state: Holding, given: Managed, rules: Rules) -> Step:
    """What ``manage`` answered about an open position.

    Raises
    ------
    InvalidTransition
        For one that leaves: it is not asked about any more.
    """
    if state.leaving is not None:
        raise InvalidTransition(f"a position that leaves is not managed\n{story(state, rules)}")
    book = state.book or new_book(state.signal, highest=state.highest, lowest=state.lowest)
    left = tuple(one for one in book.planned if one.due > given.when or one.move not in given.answers)
    if left != book.planned:
        book = msgspec.structs.replace(book, planned=left)
        state = msgspec.structs.replace(state, book=book)
    judged = _Judged(book)
    for answer in given.answers:
        _judge(judged, answer, state, given, rules)
    reasons = [*given.faults, *judged.reasons]
    rejected = _rejected(given, reasons, rules)
    if reasons:
        judged.moved, judged.ends, judged.signal = None, None, None
        judged.sizes = [one for one in judged.sizes if isinstance(one, Reduce)]
        if judged.closes is None and judged.sizes and judged.size <= DUST:  # without its adds nothing would be left
            judged.closes = Close(judged.sizes[-1].note)
        judged.not_taken = 0
    elif judged.not_taken:
        taken = judged.levels
        judged.moved = msgspec.structs.replace(taken, not_taken=taken.not_taken + judged.not_taken)
    if judged.at_close is not None:
        judged.moved = msgspec.structs.replace(judged.levels, closing=judged.at_close)
    return _carried_out(state, judged, given, rules, rejected)


def _rejected(given: Managed, reasons: list[Reason], rules: Rules) -> tuple[Rejected, ...]:
    if not reasons:
        return ()
    text = given.text or ", ".join(shown(answer, 400) for answer in given.answers)[:400]
    return (Rejected(**labels(rules), when=given.when, price=given.price, reasons=tuple(reasons), signal=text),)


def _judge(judged: _Judged, answer: PositionAnswer, state: Holding, given: Managed, rules: Rules) -> None:
    reasons = judged.reasons
    if not isinstance(answer, Move) and (fault := note_fault(answer.note)) is not None:
        reasons.append(fault)
        answer = msgspec.structs.replace(answer, note="")  # what closes is carried out without it
    closed = judged.closes is not None
    if judged.signal is not None and isinstance(answer, Close | Cancel):
        reasons.append(behind_signal(answer))
    match answer:
        case Close(at="close"):
            judged.close_later(answer, given, rules)
        case Close():
            judged.closes = judged.closes or answer
        case Cancel():
            judged.cancels = judged.cancels or answer
            judged.sizes = [one for one in judged.sizes if isinstance(one, Reduce) or one.price_open is None]
        case Signal():
            _judge_signal(judged, answer, given)
        case _ if closed:
            text = f"{type(answer).__name__} behind {judged.closed_by} has nothing to act on"
            reasons.append(Reason("closed", f"{text}; put it before, or leave it out"))
        case Reduce() | Add():
            _judge_size(judged, answer, state, given, rules)
        case Move():
            book, ends, looser, broken = moved_book(
                state, judged.levels, answer, when=given.when, close=given.close, rules=rules
            )
            reasons.extend(broken)
            judged.not_taken += looser
            if not broken:
                judged.moved, judged.ends = book, judged.ends or ends


def _judge_signal(judged: _Judged, answer: Signal, given: Managed) -> None:
    if judged.at_close is not None and judged.closes is None:
        judged.reasons.append(EARLY_SIGNAL)
    elif judged.closes is None:
        judged.reasons.append(lonely_signal("Close"))
    elif judged.signal is not None:
        judged.reasons.append(TWO_SIGNALS)
    elif not given.entries:
        judged.reasons.append(STOPPED)
    else:
        judged.signal = answer


def _judge_size(judged: _Judged, answer: Reduce | Add, state: Holding, given: Managed, rules: Rules) -> None:
    if isinstance(answer, Reduce):
        _judge_reduce(judged, answer)
    else:
        _judge_add(judged, answer, state, given, rules)


def _judge_reduce(judged: _Judged, answer: Reduce) -> None:
    share: object = answer.share
    of: object = answer.of
    if of not in ("now", "first"):
        judged.reasons.append(Reason("reduce_of", f"of must be 'now' or 'first', got {shown(of, 60)}"))
    elif not is_positive(share):
        text = "Reduce needs a share above 0, such as 0.5 for the half"
        judged.reasons.append(Reason("reduce_share", f"{text}, got {shown(share, 60)}"))
    else:
        size = answer.share * judged.size if of == "now" else answer.share
        if size > judged.size + DUST:
            text = (
                f"Reduce({answer.share:g}, of={of!r}) is more than the {judged.size:g} of the first size that is held"
            )
            judged.reasons.append(Reason("reduce_more", f"{text}; Close() closes all of it"))
        elif size >= judged.size - DUST:
            judged.closes = Close(answer.note)
            judged.closed_by = f"Reduce({answer.share:g}, of={of!r}), which closes all that is held,"
        elif size <= DUST:
            text = f"Reduce needs more than {DUST:g} of the first size, of which {judged.size:g} are held"
            judged.reasons.append(Reason("reduce_share", f"{text}, got share {shown(share, 60)} of={of!r}"))
        else:
            judged.sizes.append(answer)


def _judge_add(judged: _Judged, answer: Add, state: Holding, given: Managed, rules: Rules) -> None:
    most = rules.settings.max_adds
    reasons = add_faults(answer, given.when, rules)
    count = judged.book.adds + sum(isinstance(one, Add) for one in judged.sizes)
    if judged.cancels is not None:
        count -= sum(order.kind == "add" for order in judged.book.orders)
    if count >= most:
        text = f"the position has {count} adds already, max_adds = {most}"
        reasons.append(Reason("add_limit", f"{text}; {allow('max_adds', max(2 * most, 10))}"))
    if not given.entries:
        reasons.append(STOPPED)
    if given.close <= 0:
        text = f"the market is at {given.close:g}, and an add at or below zero has no cost to count in percent of"
        reasons.append(Reason("price", text))
    judged.reasons.extend(reasons)
    if reasons:
        return
    sign = sign_of(state.signal.position)
    if answer.only_better and sign * (average_price(judged.book.fills) - given.close) <= 0:
        judged.not_taken += 1
        return
    best = state.highest if sign > 0 else state.lowest
    stop = stop_in_force(judged.levels, sign, best, rules.tick)
    level = None if answer.price_open is None else stop_on_grid(float(answer.price_open), sign, rules.tick)
    if level is not None and level <= 0:
        text = f"price_open {answer.price_open:g} of Add lies below the first tick of this market, {rules.tick:g}"
        judged.reasons.append(Reason("add_price", f"{text}; give a price of at least that"))
        return
    if level is not None and stop is not None and sign * (level - stop.price) <= 0:
        text = f"the stop at {stop.price:g} lies at or before price_open {level:g} of Add: it would never fill"
        judged.reasons.append(Reason("add_stop", f"{text}; put it between the market and the stop"))
        return
    judged.sizes.append(answer)


def _carried_out(state: Holding, judged: _Judged, given: Managed, rules: Rules, events: tuple[Event, ...]) -> Step:
    book = judged.levels
    if book is judged.book and state.book is None and not _orders(judged):
        return Step(state, events)
    signal, when, price = state.signal, given.when, given.price
    sign = sign_of(signal.position)
    best = state.highest if sign > 0 else state.lowest
    if judged.moved is not None and _levels_differ(judged.book, judged.moved):
        events += moved_events(labels(rules), when, price, signal, book, best, (given.source,), tick=rules.tick)
    held = msgspec.structs.replace(state, book=book)
    if judged.cancels is not None:
        waiting = [order for order in book.orders if order.kind == "add"]
        held, book, told = without_adds(held, book, waiting, when, price, given.source, rules, note=judged.cancels.note)
        events += told
    parts, adds = orders_of(held, book.number, judged.sizes, given, rules)
    book = msgspec.structs.replace(book, number=book.number + len(judged.sizes))
    held = msgspec.structs.replace(held, book=book)
    if judged.closes is not None or judged.ends is not None:
        book = msgspec.structs.replace(book, orders=tuple(order for order in book.orders if order.kind == "reduce"))
        book = msgspec.structs.replace(book, orders=(*book.orders, *sized(book, parts, ())))
        return _leaves(held, book, judged, given, rules, events)
    if adds and rules.asks:
        asking = AskingAdds(holding=held, adds=adds, parts=parts, when=when, price=price, earlier=events)
        return Step(asking, (), (_reserve(asking),))
    return _ordered(held, parts, adds, when, price, rules, events)


def _orders(judged: _Judged) -> bool:
    return bool(judged.closes or judged.ends or judged.sizes or judged.cancels)


def _levels_differ(before: PositionBook, after: PositionBook) -> bool:
    exits = ("trailing", "trails", "trail_stop", "breakeven", "breakeven_stop")
    names = ("stop", "stop_reason", "targets", "deadline", "closing", *exits)
    return any(getattr(before, name) != getattr(after, name) for name in names)


def _leaves(
    state: Holding, book: PositionBook, judged: _Judged, given: Managed, rules: Rules, events: tuple[Event, ...]
) -> Step:
    """The closing order, and the signal behind it; the book has no adds any more: they die with the position."""
    reason = given.source if judged.closes is not None or judged.ends is None else judged.ends.reason
    note = judged.closes.note if judged.closes is not None else ""
    leaving = Leaving(
        reason=reason, decided_at=given.when, not_before=earliest_fill(given, rules), price=given.price, note=note
    )
    held = msgspec.structs.replace(state, book=book, leaving=leaving)
    asked = None
    if judged.signal is not None:
        asked = Answer(given.when, given.price, judged.signal, given.entry_decided_at)
    if rules.model.fills_at_open:
        return Step(held, events) if asked is None else answered(held, held, asked, rules, earlier=events)
    run = FillRun(held, book, given.when, given.price, rules)
    run.reduce_orders(given.price, NEVER, adds=False)  # at the average price of the moment, however late
    end = run.close(Exit(reason, given.price, ambiguous=False), note=note)
    if asked is None:
        return Step(end.state, events + end.events, end.commands)
    assert isinstance(end.state, Flat)  # noqa: S101
    return answered(end.state, None, asked, rules, earlier=events + end.events, freed=state.signal.id)


# --- adds -----------------------------------------------------------------------------------------------------------


def _reserve(asking: AskingAdds) -> Reserve:
    book = asking.holding.book
    assert book is not None  # it is managed  # noqa: S101
    size = size_allowed(book) + sum(order.share for order in asking.granted)
    add = asking.adds[0]
    return Reserve(asking.holding.signal, asking.when, asking.price, add=add.share, size=size, order=add)


def adds_verdict(state: AskingAdds, given: Verdict, rules: Rules) -> Step:
    """The decision of the risk profile on an add."""
    add, left, granted, earlier = state.adds[0], state.adds[1:], state.granted, state.earlier
    if given.stopped:  # what was allowed before is decided
        wanted = [Add(each.share, price_open=each.price_open) for each in state.adds]
        rejected = rejection(rules, state.when, state.price, (STOPPED,), wanted)
        return _ordered(state.holding, state.parts, granted, state.when, state.price, rules, (*earlier, rejected))
    if given.allowed:
        granted = (*granted, add)
    else:
        earlier = (*earlier, refusal(state.holding.signal, state.when, state.price, given, rules))
    if left:
        asking = msgspec.structs.replace(state, adds=left, granted=granted, earlier=earlier)
        return Step(asking, (), (_reserve(asking),))
    return _ordered(state.holding, state.parts, granted, state.when, state.price, rules, earlier)


def _ordered(
    state: Holding, parts: tuple[UnsizedPart, ...], adds: tuple[PositionOrder, ...], when: int, price: float,
    rules: Rules, events: tuple[Event, ...],
) -> Step:  # fmt: skip
    """The position with parts and adds ordered; where orders fill at the average price, those at the market fill."""
    book = state.book
    assert book is not None  # it is managed  # noqa: S101
    orders = (*book.orders, *sized(book, parts, adds), *adds)
    book = msgspec.structs.replace(book, orders=orders, adds=book.adds + len(adds))
    held = msgspec.structs.replace(state, book=book)
    if rules.model.fills_at_open:
        return Step(held, events)
    run, sign = FillRun(held, book, when, price, rules), sign_of(state.signal.position)
    end = run.reduce_orders(price, NEVER)
    if end is not None:
        out = run.close(end)
        return Step(out.state, events + out.events, out.commands)
    for order in adds:
        if order.price_open is None and order in run.book.orders:
            run.add(order, price, rested=False)
        elif order.price_open is not None and sign * (price - order.price_open) <= 0:
            run.add(order, order.price_open, rested=False)
    return Step(msgspec.structs.replace(held, book=run.book), events + tuple(run.events))
