"""Entry ladders: an entry in several parts, each at its price and of its share of the whole.

The part nearest to the market is the entry: the market comes to it before the others, whichever way it goes. Its size
is the unit of the position. The others are orders of the position from its fill on, as adds that rest: they wait until
they fill, until ``valid`` has passed, or until the position ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from .exit_validation import is_finite_number, is_positive
from .position_fills import DUST
from .signal import CheckedSignal
from .signal_events import Reason
from .text import shown

EntryLadder: TypeAlias = tuple[tuple[float | None, float], ...]


def read_entry_ladder(value: object, *, short: bool, stop: bool) -> EntryLadder | Reason:
    """The parts of an entry as a strategy wrote them, the nearest to the market first; or why they are none.

    Examples
    --------
    >>> read_entry_ladder([(98.0, 0.5), (None, 0.25)], short=False, stop=False)
    ((None, 0.25), (98.0, 0.5))
    >>> read_entry_ladder([(98.0, 0.75), (97.0, 0.75)], short=False, stop=False).text
    'the shares of price_open add up to 1.5; at most 1, the whole, can be bought; make them smaller'
    """
    given: Sequence[object] = list(value.items()) if isinstance(value, Mapping) else value  # type: ignore[assignment]
    rungs: list[tuple[float | None, float]] = []
    for pair in given:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            text = "each part of an entry ladder is a pair (price, share), such as (99.0, 0.5) or (None, 0.5)"
            return Reason("entry_ladder", f"{text}, got {shown(pair, 80)}")
        price, share = (each.item() if hasattr(each, "item") else each for each in pair)
        if price is not None and not is_finite_number(price):
            text = "each price of an entry ladder must be a finite number, or None for the market"
            return Reason("entry_ladder", f"{text}, got {shown(price, 80)}")
        if not is_positive(share) or not DUST < share <= 1 + DUST:
            text = f"each share of an entry ladder must be above {DUST:g} and at most 1, a part of the whole"
            return Reason("entry_ladder", f"{text}, got {shown(share, 80)}")
        rungs.append((None if price is None else float(price), float(share)))
    if not rungs:
        return Reason("entry_ladder", "an entry ladder in price_open needs a part; None means an order at the market")
    if sum(price is None for price, _ in rungs) > 1:
        return Reason("entry_ladder", "one part of an entry ladder is at the market, got several; add up their shares")
    total = math.fsum(share for _, share in rungs)
    if total > 1 + DUST:
        text = f"the shares of price_open add up to {total:g}; at most 1, the whole, can be bought"
        return Reason("entry_ladder", f"{text}; make them smaller")
    down = short == stop  # the nearest limit of a long is the highest, its nearest stop order the lowest
    return tuple(sorted(rungs, key=lambda rung: -math.inf if rung[0] is None else (-rung[0] if down else rung[0])))


def ladder_of(order: CheckedSignal) -> EntryLadder:
    """The entry ladder of an order that has not filled, as its signal had it."""
    first = None if order.entry == "market" else order.price_open
    part = 1.0 if order.part is None else order.part
    return ((first, part), *((rung.price, rung.share) for rung in order.rungs))


def average_entry(order: CheckedSignal, first: float) -> float:
    """What all parts of an entry cost on average, where the first costs ``first`` (quote currency)."""
    parts = [(first, 1.0 if order.part is None else order.part), *((rung.price, rung.share) for rung in order.rungs)]
    return math.fsum(price * share for price, share in parts) / math.fsum(share for _, share in parts)
