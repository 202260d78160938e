"""Answers of ``manage`` judged one after the other: what each changes if it is taken, or why it is refused.

Each part and add of a list is sized by what those before it imply: a ``Reduce`` behind an ``Add`` at the market counts
it as held; a resting add may never fill, so it counts as nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import UNSET

from .exit_validation import is_positive
from .fills_at_stops_and_gaps import Exit
from .lifecycle_inputs import Managed
from .manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from .moved_stops_and_targets import moved_book
from .part_and_add_orders import MovedAdd, add_faults, add_price, implied_size, size_before
from .position_book import ClosingOrder, PositionBook, PositionOrder, order_id
from .position_fills import DUST
from .profit_of_partial_closes import average_price
from .signal import OpenSignal, Signal, sign_of
from .signal_events import Reason
from .signal_validation import STOPPED, allow
from .states import Holding, Rules
from .text import shown, text_fault, without_addresses
from .trailing_and_breakeven_stops import stop_in_force
from .valid_and_until import closing_order


def unknown_order(answer: str, wanted: object, waits: Sequence[str]) -> Reason:
    """No order that waits has an id.

    Examples
    --------
    >>> unknown_order("Cancel", "b", ["a"]).text
    "Cancel: no order that waits has the id 'b'; there is a; position.waiting has each with its id"
    """
    there = "nothing waits; what this answer orders can be moved or cancelled at the next question"
    if waits:
        there = f"there is {', '.join(waits)}; position.waiting has each with its id"
    what = "" if wanted is UNSET else f" has the id {shown(wanted, 80)}"
    return Reason("order_id", f"{answer}: no order that waits{what or ' has a price'}; {there}")


def which_order(waits: Sequence[str]) -> Reason:
    """Of several orders that wait nobody said which is to be moved."""
    text = f"Move(price_open=…) needs the id of one of {', '.join(waits)}"
    return Reason("order_id", f"{text}; position.waiting has them, each with its id")


def note_fault(note: object) -> Reason | None:
    """Why a note cannot be saved; ``None`` when it can."""
    if isinstance(note, str) and text_fault(note, lines=True) is None:
        return None
    return Reason("note", f"note must be text that can be written, got {without_addresses(ascii(note)):.80}")


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

    ``sizes`` are parts and adds in their order; ``gone`` the numbers of adds that are taken back, each with its note,
    and ``moved_adds`` of those the ones whose price is moved.
    """

    book: PositionBook
    closes: Close | None = None
    at_close: ClosingOrder | None = None
    closed_by: str = "Close()"
    sizes: list[Reduce | Add] = field(default_factory=list)
    cancels: Cancel | None = None
    gone: dict[int, str] = field(default_factory=dict)
    moved_adds: set[int] = field(default_factory=set)
    moved: PositionBook | None = None
    ends: Exit | None = None
    signal: Signal | None = None
    not_taken: int = 0
    reasons: list[Reason] = field(default_factory=list)

    @property
    def size(self) -> float:
        """What is held once everything ordered so far at the market has filled, in units of the first size."""
        return implied_size(size_before(self.book, gone=self.gone), self.sizes)

    def adds(self, signal: OpenSignal) -> dict[str, PositionOrder]:
        """The adds that wait and are not taken back, by their ids."""
        adds = (order for order in self.book.orders if order.kind == "add" and order.number not in self.gone)
        return {order_id(signal, order.number): order for order in adds}

    def take_back(self, answer: Cancel, signal: OpenSignal) -> None:
        """Take back all adds that wait, those before it in the list included, or the one of an id."""
        adds, wanted = self.adds(signal), answer.id
        if wanted is None:
            self.cancels = self.cancels or answer
            self.sizes = [one for one in self.sizes if isinstance(one, Reduce) or one.price_open is None]
            self.moved_adds = set()
            self.gone |= {order.number: self.cancels.note for order in adds.values()}
        elif wanted in adds:
            self.gone[adds[wanted].number] = answer.note
        else:
            self.reasons.append(unknown_order("Cancel", wanted, list(adds)))

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
            judged.take_back(answer, state.signal)
        case Signal():
            _judge_signal(judged, answer, given)
        case _ if closed:
            text = f"{type(answer).__name__} behind {judged.closed_by} has nothing to act on"
            reasons.append(Reason("closed", f"{text}; put it before, or leave it out"))
        case Reduce() | Add():
            _judge_size(judged, answer, state, given, rules)
        case Move() if answer.price_open is not UNSET:
            _judge_moved_add(judged, answer, state, given, rules)
        case Move():
            _judge_moved_levels(judged, answer, state, given, rules)


def _judge_moved_levels(judged: Judged, answer: Move, state: Holding, given: Managed, rules: Rules) -> None:
    if answer.id is not UNSET:
        text = f"Move(id={shown(answer.id, 80)}) needs price_open, the new price of that order"
        advice = "levels are those of the whole position: leave id out for them"
        judged.reasons.append(Reason("order_id", f"{text}; {advice}"))
        return
    book, ends, looser, broken = moved_book(
        state, judged.levels, answer, when=given.when, close=given.close, rules=rules
    )
    judged.reasons.extend(broken)
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


def _judge_moved_add(judged: Judged, answer: Move, state: Holding, given: Managed, rules: Rules) -> None:
    """An add that waits, at another price: it is taken back, and another one ordered in its place."""
    adds = {name: order for name, order in judged.adds(state.signal).items() if order.price_open is not None}
    if answer != Move(price_open=answer.price_open, id=answer.id):
        text = "Move(price_open=…) of an add moves its price alone; give levels in a Move of their own"
        judged.reasons.append(Reason("add_move", text))
    elif answer.id is UNSET and len(adds) > 1:
        judged.reasons.append(which_order(list(adds)))
    elif not adds or (answer.id is not UNSET and answer.id not in adds):
        judged.reasons.append(unknown_order("Move", answer.id, list(adds)))
    else:
        order = next(iter(adds.values())) if answer.id is UNSET else adds[answer.id]
        before = len(judged.reasons)
        judged.gone[order.number] = f"moved to {shown(answer.price_open, 40)}"
        judged.moved_adds.add(order.number)
        add = MovedAdd(
            order.share,
            price_open=answer.price_open,  # type: ignore[arg-type]  # add_faults looks
            note=order.note,
            entry="stop" if order.is_stop else "limit",
            price_stop_loss=order.stop if isinstance(order.stop, float) else None,
            order=order,
        )
        _judge_add(judged, add, state, given, rules)
        if len(judged.reasons) > before:
            del judged.gone[order.number]


def _judge_add(judged: Judged, answer: Add, state: Holding, given: Managed, rules: Rules) -> None:
    most = rules.settings.max_adds
    reasons = add_faults(answer, given.when, rules)
    gone = sum(order.number in judged.gone and not order.rung for order in judged.book.orders)
    count = judged.book.adds - gone + sum(isinstance(one, Add) for one in judged.sizes)
    moves_rung = isinstance(answer, MovedAdd) and answer.order is not None and bool(answer.order.rung)
    if most is not None and count >= most and rules.weights is None and not moves_rung:
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
    level = add_price(answer, sign, rules)
    if level is not None and level <= 0 and not rules.negative:
        text = f"price_open {answer.price_open:g} of Add lies below the first tick of this market, {rules.tick:g}"
        judged.reasons.append(Reason("add_price", f"{text}; give a price of at least that"))
        return
    fills = given.close if level is None else level
    if answer.price_stop_loss is not None and sign * (fills - answer.price_stop_loss) <= 0:
        side, where = ("below" if sign > 0 else "above"), "the last close" if level is None else "its price_open"
        text = f"price_stop_loss {answer.price_stop_loss:g} of Add must lie {side} {where} {fills:g}"
        judged.reasons.append(Reason("add_stop_side", text))
        return
    if level is not None and answer.entry != "stop" and stop is not None and sign * (level - stop.price) <= 0:
        text = f"the stop at {stop.price:g} lies at or before price_open {level:g} of Add: it would never fill"
        judged.reasons.append(Reason("add_stop", f"{text}; put it between the market and the stop"))
        return
    judged.sizes.append(answer)
