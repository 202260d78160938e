"""Answers of ``manage`` judged one after the other: what each changes if it is taken, or why it is refused.

Each part and add of a list is sized by what those before it imply: a ``Reduce`` behind an ``Add`` at the market counts
it as held; a resting add may never fill, so it counts as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from .entry_timeout import rests_until
from .exit_validation import is_finite_number, is_positive
from .fills_at_stops_and_gaps import Exit
from .lifecycle_inputs import Managed, earliest_fill
from .manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from .moved_stops_and_targets import moved_book
from .position_book import ClosingOrder, PositionBook, PositionOrder, UnsizedPart
from .position_fills import DUST
from .profit_of_partial_closes import average_price
from .signal import Signal, sign_of
from .signal_events import Reason
from .signal_validation import STOPPED, allow
from .states import Holding, Rules
from .text import shown, text_fault, without_addresses
from .trailing_and_breakeven_stops import stop_in_force, stop_on_grid
from .valid_and_until import closing_order, read_valid


def size_before(book: PositionBook, *, adds: bool = True) -> float:
    """What is held, in units of the first size, once what was ordered before at the market has filled.

    ``adds``: whether that counts adds, which end with the position and are taken back by ``Cancel``.
    """
    size = book.left
    for order in book.orders:
        if order.kind == "reduce":
            size -= order.share
        elif adds and order.price_open is None:
            size += order.share
    return max(size, 0.0)


def implied_size(size: float, answers: Iterable[Reduce | Add]) -> float:
    """What is held after these answers, in units of the first size; ``size`` before them.

    Examples
    --------
    >>> implied_size(1.0, [Add(1.0), Reduce(0.25), Add(2.0, price_open=95.0)])
    1.5
    """
    for answer in answers:
        if isinstance(answer, Add):
            size += answer.share if answer.price_open is None else 0.0
        else:
            size -= answer.share * size if answer.of == "now" else answer.share
    return size


def orders_of(
    state: Holding, first: int, answers: Iterable[Reduce | Add], given: Managed, rules: Rules
) -> tuple[tuple[UnsizedPart, ...], tuple[PositionOrder, ...]]:
    """The orders of these answers, numbered in their order from ``first`` on: parts to be sized, and adds."""
    parts, adds = list[UnsizedPart](), list[PositionOrder]()
    for number, answer in enumerate(answers, first):
        if isinstance(answer, Reduce):
            order = _order("reduce", number, answer.share, given, rules, note=answer.note)
            parts.append(UnsizedPart(order=order, of_now=answer.of == "now"))
        else:
            adds.append(_add_order(number, answer, given, sign_of(state.signal.position), rules))
    return tuple(parts), tuple(adds)


def sized(book: PositionBook, parts: Iterable[UnsizedPart], adds: Iterable[PositionOrder]) -> tuple[PositionOrder, ...]:
    """Parts with their shares in units of the first size, where only ``adds`` of their list were granted.

    Without an add that it counted on, a part is at most all that is held.
    """
    size, found = size_before(book), list[PositionOrder]()
    market = {add.number: add.share for add in adds if add.price_open is None}
    for part in parts:
        order = part.order
        size += sum(market.pop(number) for number in list(market) if number < order.number)
        share = min(order.share * size if part.of_now else order.share, size)
        if share > DUST:
            found.append(msgspec.structs.replace(order, share=share))
            size -= share
    return tuple(found)


def _order(
    kind: Literal["reduce", "add"], number: int, share: float, given: Managed, rules: Rules, *, note: str
) -> PositionOrder:
    return PositionOrder(
        kind=kind,
        number=number,
        share=float(share),
        decided_at=given.when,
        not_before=earliest_fill(given, rules),
        price=given.price,
        reason=given.source,
        note=note,
    )


def _add_order(number: int, add: Add, given: Managed, sign: int, rules: Rules) -> PositionOrder:
    order = _order("add", number, add.share, given, rules, note=add.note)
    if add.price_open is None:
        return order
    until = read_valid(add.valid, given.when, rules)
    assert not isinstance(until, list)  # add_faults looked  # noqa: S101
    until = rests_until(given.when, rules) if until is None else until
    limit = stop_on_grid(float(add.price_open), sign, rules.tick)
    return msgspec.structs.replace(order, price_open=limit, until=until)


MOST_SHARE: Final = 1e9  # of the first size; sums of a few of these are floats that still have the first size in them


def note_fault(note: object) -> Reason | None:
    """Why a note cannot be saved; ``None`` when it can."""
    if isinstance(note, str) and text_fault(note, lines=True) is None:
        return None
    return Reason("note", f"note must be text that can be written, got {without_addresses(ascii(note)):.80}")


def share_fault(share: object) -> Reason:
    """What is wrong with the size of an add that is none.

    Examples
    --------
    >>> share_fault(0.0).text
    'Add needs a share above 1e-09 and at most 1e+09, in units of the first size, got 0.0'
    """
    text = f"Add needs a share above {DUST:g} and at most {MOST_SHARE:g}, in units of the first size"
    return Reason("add_share", f"{text}, got {shown(share, 60)}")


def add_faults(add: Add, when: int, rules: Rules) -> list[Reason]:
    """Everything that is wrong with the size, the price and the validity of an add, decided at ``when`` (UTC ms)."""
    found: list[Reason] = []
    share: object = add.share
    limit: object = add.price_open
    if not is_positive(share) or not DUST < add.share <= MOST_SHARE:
        found.append(share_fault(share))
    if limit is not None and not (is_finite_number(limit) if rules.negative else is_positive(limit)):
        above = "" if rules.negative else " above 0"
        text = f"price_open of Add must be a finite number{above}, or None for the market"
        found.append(Reason("add_price", f"{text}, got {shown(limit, 60)}"))
    if add.valid is UNSET:
        return found
    if limit is None and add.valid is not None:
        text = f"valid {shown(add.valid, 60)} of Add is how long a limit rests"
        found.append(Reason("add_valid", f"{text}, and price_open is None: give its price, or leave valid out"))
        return found
    read = read_valid(add.valid, when, rules, name="valid of Add")
    if isinstance(read, list):
        found += [Reason("add_valid", fault.text) for fault in read]
    return found


def lonely_signal(end: str) -> Reason:
    """A signal that nothing makes room for; ``end`` is the answer that would."""
    text = f"a Signal from manage stands behind {end}(), such as [bknb.{end}(), bknb.Signal(...)]"
    return Reason("signal_alone", f"{text}: there is one position at a time")


def behind_signal(end: Close | Cancel) -> Reason:
    """A ``Close`` or ``Cancel`` behind the signal it would have to make room for."""
    name = f"{type(end).__name__}()"
    text = f"{name} behind a Signal contradicts it: a Signal opens what {name} would end"
    return Reason("behind_signal", f"{text}; put {name} before the Signal, or leave one of them out")


TWO_SIGNALS: Final = Reason(
    "signal_alone",
    "one Signal stands behind Close() or Cancel(), got another: there is one position at a time; leave one out",
)
EARLY_SIGNAL: Final = Reason(
    "signal_alone",
    "a Signal behind Close(at='close') would open while the position is still there; give it when it has closed",
)


@dataclass
class Judged:
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


def judge(judged: Judged, answer: PositionAnswer, state: Holding, given: Managed, rules: Rules) -> None:
    """Judge one more answer: take it into what is ordered, or add why it is refused to the reasons."""
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


def _judge_signal(judged: Judged, answer: Signal, given: Managed) -> None:
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


def _judge_size(judged: Judged, answer: Reduce | Add, state: Holding, given: Managed, rules: Rules) -> None:
    if isinstance(answer, Reduce):
        _judge_reduce(judged, answer)
    else:
        _judge_add(judged, answer, state, given, rules)


def _judge_reduce(judged: Judged, answer: Reduce) -> None:
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


def _judge_add(judged: Judged, answer: Add, state: Holding, given: Managed, rules: Rules) -> None:
    most = rules.settings.max_adds
    reasons = add_faults(answer, given.when, rules)
    count = judged.book.adds + sum(isinstance(one, Add) for one in judged.sizes)
    if judged.cancels is not None:
        count -= sum(order.kind == "add" for order in judged.book.orders)
    if most is not None and count >= most and rules.weights is None:
        text = f"the position has {count} adds already, max_adds = {most}"
        reasons.append(Reason("add_limit", f"{text}; {allow('max_adds', max(2 * most, 10))}"))
    if not given.entries:
        reasons.append(STOPPED)
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
    if level is not None and level <= 0 and not rules.negative:
        text = f"price_open {answer.price_open:g} of Add lies below the first tick of this market, {rules.tick:g}"
        judged.reasons.append(Reason("add_price", f"{text}; give a price of at least that"))
        return
    if level is not None and stop is not None and sign * (level - stop.price) <= 0:
        text = f"the stop at {stop.price:g} lies at or before price_open {level:g} of Add: it would never fill"
        judged.reasons.append(Reason("add_stop", f"{text}; put it between the market and the stop"))
        return
    judged.sizes.append(answer)
