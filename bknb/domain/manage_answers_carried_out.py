"""Answers of ``manage`` carried out: judged at their moment, each against what the earlier ones imply, then ordered.

Whatever is wrong with an answer is a reason of one ``Rejected`` event. Then what would open or move something is left
out; ``Close``, ``Reduce`` and ``Cancel`` of the same list are carried out all the same. Sizes are those of
:mod:`bknb.domain.manage_answers_refused`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ..errors import InvalidTransition
from .fills_at_stops_and_gaps import Exit
from .lifecycle_entries import answered, refusal
from .lifecycle_inputs import Answer, Managed, earliest_fill
from .manage_answers import Add, Close, Reduce
from .manage_answers_refused import (
    Judged,
    judge,
)
from .managed_fills import FillRun
from .market_clock_protocol import NEVER
from .order_of_fills_in_a_managed_minute import without_adds
from .part_and_add_orders import orders_of, sized
from .position_book import PositionBook, PositionOrder, UnsizedPart, new_book, size_allowed
from .position_fills import DUST
from .risk_request_and_verdict import Reserve, Verdict
from .signal import sign_of
from .signal_events import Event, Reason, Rejected
from .signal_validation import STOPPED
from .state_as_text import story
from .states import (
    AskingAdds,
    Flat,
    Holding,
    Leaving,
    Rules,
    Step,
    labels,
    rejection,
)
from .text import shown
from .trailing_and_breakeven_stops import moved_events


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
    judged = Judged(book)
    for answer in given.answers:
        judge(judged, answer, state, given, rules)
    reasons = [*given.faults, *judged.reasons]
    rejected = rejected_answers(given, reasons, rules)
    if reasons:
        judged.moved, judged.ends, judged.signal = None, None, None
        judged.gone = {number: note for number, note in judged.gone.items() if number not in judged.moved_adds}
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


def rejected_answers(given: Managed, reasons: list[Reason], rules: Rules) -> tuple[Rejected, ...]:
    """The event for answers of ``manage`` that are wrong, with every reason; none where nothing is."""
    if not reasons:
        return ()
    text = given.text or ", ".join(shown(answer, 400) for answer in given.answers)[:400]
    return (
        Rejected(
            **labels(rules),
            when=given.when,
            price=given.price,
            reasons=tuple(reasons),
            signal=text,
            place=rules.place,
        ),
    )


def _carried_out(state: Holding, judged: Judged, given: Managed, rules: Rules, events: tuple[Event, ...]) -> Step:
    book = judged.levels
    if book is judged.book and state.book is None and not _orders(judged):
        return Step(state, events)
    signal, when, price = state.signal, given.when, given.price
    sign = sign_of(signal.position)
    best = state.highest if sign > 0 else state.lowest
    if judged.moved is not None and _levels_differ(judged.book, judged.moved):
        source: Literal["strategy", "manual"] = "manual" if given.source == "manual" else "strategy"
        events += moved_events(labels(rules), when, price, signal, book, best, (source,), tick=rules.tick)
    held = msgspec.structs.replace(state, book=book)
    for number, note in judged.gone.items():
        gone = [order for order in book.orders if order.number == number]
        held, book, told = without_adds(held, book, gone, when, price, given.source, rules, note=note)
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


def _orders(judged: Judged) -> bool:
    return bool(judged.closes or judged.ends or judged.sizes or judged.cancels or judged.gone)


def _levels_differ(before: PositionBook, after: PositionBook) -> bool:
    exits = ("trailing", "trails", "trail_stop", "breakeven", "breakeven_stop")
    names = ("stop", "stop_reason", "targets", "deadline", "closing", *exits)
    return any(getattr(before, name) != getattr(after, name) for name in names)


def _leaves(
    state: Holding, book: PositionBook, judged: Judged, given: Managed, rules: Rules, events: tuple[Event, ...]
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
    signal, earlier = asking.holding.signal, asking.earlier
    return Reserve(signal, asking.when, asking.price, add=add.share, size=size, order=add, earlier=earlier)


def adds_verdict(state: AskingAdds, given: Verdict, rules: Rules) -> Step:
    """The decision of the risk profile on an add."""
    add, left, granted, earlier = state.adds[0], state.adds[1:], state.granted, state.earlier
    if given.stopped:  # what was allowed before is decided
        wanted = [Add(each.share, price_open=each.price_open) for each in state.adds]
        rejected = rejection(rules, state.when, state.price, (STOPPED,), wanted)
        return _ordered(state.holding, state.parts, granted, state.when, state.price, rules, (*earlier, rejected))
    if given.allowed:
        granted = (*granted, add if given.share is None else msgspec.structs.replace(add, share=given.share))
    else:
        earlier = (*earlier, refusal(state.holding.signal, state.when, state.price, given, rules))
    if left:
        asking = msgspec.structs.replace(state, adds=left, granted=granted, earlier=earlier)
        return Step(asking, (), (_reserve(asking),))
    if given.cuts:
        from .cut_adds import granted_adds, refused_add

        nothing = (cut for cut in given.cuts if cut.share == 0.0)
        signal = state.holding.signal
        earlier += tuple(refused_add(signal, cut, state.when, state.price, rules) for cut in nothing)
        granted = granted_adds(granted, given.cuts)
    return _ordered(state.holding, state.parts, granted, state.when, state.price, rules, earlier)


def _ordered(
    state: Holding, parts: tuple[UnsizedPart, ...], adds: tuple[PositionOrder, ...], when: int, price: float,
    rules: Rules, events: tuple[Event, ...],
) -> Step:  # fmt: skip
    """The position with parts and adds ordered; where orders fill at the average price, those at the market fill."""
    book = state.book
    assert book is not None  # it is managed  # noqa: S101
    orders = (*book.orders, *sized(book, parts, adds), *adds)
    counted = sum(not add.rung for add in adds)
    book = msgspec.structs.replace(book, orders=orders, adds=book.adds + counted)
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
        elif order.price_open is not None and sign * (price - order.price_open) * (-1 if order.is_stop else 1) <= 0:
            run.add(order, order.price_open, rested=False)
    return Step(msgspec.structs.replace(held, book=run.book), events + tuple(run.events))
