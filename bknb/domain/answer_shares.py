"""Parts and adds among the answers of one list, each sized by what those before it imply.

A ``Reduce`` behind an ``Add`` at the market counts it as held; a resting add may never fill, so it counts as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from .entry_timeout import rests_until
from .lifecycle_inputs import Managed, earliest_fill
from .manage_answers import Add, Reduce
from .position_book import PositionBook, PositionOrder, UnsizedPart
from .position_fills import DUST
from .signal import sign_of
from .states import Holding, Rules
from .trailing_and_breakeven_stops import stop_on_grid
from .valid_and_until import read_valid


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
