"""Parts and adds of a position: what is wrong with an add, how large each is, and their orders; of its entry too."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from .entry_timeout import rests_until
from .exit_validation import is_finite_number, is_positive
from .lifecycle_inputs import Managed, earliest_fill
from .manage_answers import Add, Reduce
from .position_book import PositionBook, PositionOrder, UnsizedPart
from .position_fills import DUST
from .signal import OpenSignal, sign_of
from .signal_events import Reason
from .states import Holding, Rules
from .text import shown
from .trailing_and_breakeven_stops import stop_on_grid, target_on_grid
from .valid_and_until import read_valid

MOST_SHARE: Final = 1e9  # of the first size; sums of a few of these are floats that still have the first size in them


class MovedAdd(Add, frozen=True):
    """An add in place of one that waits, at another price."""

    order: PositionOrder | None = None


def size_before(book: PositionBook, *, gone: Container[int] = ()) -> float:
    """What is held, in units of the first size, once what was ordered before at the market has filled.

    ``gone`` are the numbers of adds that are taken back.
    """
    size = book.left
    for order in book.orders:
        if order.kind == "reduce":
            size -= order.share
        elif order.price_open is None and order.number not in gone:
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
    if add.price_stop_loss is not None:
        stop = stop_on_grid(float(add.price_stop_loss), sign, rules.tick)
        order = msgspec.structs.replace(order, stop=stop)
    if add.price_open is None:
        return order
    if isinstance(add, MovedAdd) and add.order is not None:
        was, until = add.order, add.order.until
        order = msgspec.structs.replace(order, rung=was.rung, rests_from=was.rests_from)
    else:
        read = read_valid(add.valid, given.when, rules)
        assert not isinstance(read, list)  # add_faults looked  # noqa: S101
        until = rests_until(given.when, rules) if read is None else read
        if read is None and rules.learns_bars:
            order = msgspec.structs.replace(order, rests_from=given.when)
    price = add_price(add, sign, rules)
    entry: Literal["stop"] | msgspec.UnsetType = "stop" if add.entry == "stop" else UNSET
    return msgspec.structs.replace(order, price_open=price, until=until, entry=entry)


def add_price(add: Add, sign: int, rules: Rules) -> float | None:
    """The price of an add on the tick grid: a limit away from the market, a stop order too; ``None``: the market."""
    if add.price_open is None:
        return None
    on_grid = target_on_grid if add.entry == "stop" else stop_on_grid
    return on_grid(float(add.price_open), sign, rules.tick)


def with_rungs(book: PositionBook, signal: OpenSignal, rules: Rules) -> PositionBook:
    """The book of a position that was opened just now, with the other parts of its entry as orders."""
    until = rests_until(signal.scheduled_at, rules) if signal.waits_until is None else signal.waits_until
    counts = signal.waits_until is None and rules.learns_bars
    orders = tuple(
        PositionOrder(
            kind="add",
            number=number,
            share=rung.share / (signal.part or 1.0),
            decided_at=signal.pending_at,
            not_before=signal.pending_at,
            price=signal.price_open,
            price_open=rung.price,
            until=until,
            entry="stop" if rung.stop else msgspec.UNSET,
            rung=True,
            rests_from=signal.scheduled_at if counts else UNSET,
        )
        for number, rung in enumerate(signal.rungs, book.number)
    )
    return msgspec.structs.replace(book, orders=(*book.orders, *orders), number=book.number + len(orders))


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
    entry: object = add.entry
    if entry not in ("limit", "stop"):
        found.append(Reason("add_entry", f"entry of Add must be 'limit' or 'stop', got {shown(entry, 60)}"))
    elif entry == "stop" and limit is None:
        text = "entry='stop' of Add needs price_open, the price at which the market has to come first"
        found.append(Reason("add_entry", text))
    stop: object = add.price_stop_loss
    if stop is not None and not (is_finite_number(stop) if rules.negative else is_positive(stop)):
        above = "" if rules.negative else " above 0"
        text = f"price_stop_loss of Add must be a finite number{above}, or None"
        found.append(Reason("add_price", f"{text}, got {shown(stop, 60)}"))
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
