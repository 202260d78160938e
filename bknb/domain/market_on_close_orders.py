"""Orders for the close of a session: when they are due, and what fills them.

They fill at the close of the newest candle of the session that can fill an order and opened when they were decided or
later, once the session has closed. Levels of that candle come first. One for the close stands beside what leaves at the
market: where no candle of the session could fill that, the position is out at the close all the same.

In a live run they leave for the close at the open of the last candle. Where the machine slept over that close they did
not: a position then leaves at the market that it woke up to, and an entry is over.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .fills_at_stops_and_gaps import Exit
from .interval import MINUTE_MS
from .lifecycle_inputs import Boundary, earliest_fill
from .market_clock_protocol import NEVER
from .position_book import ClosingOrder, PositionBook
from .states import Holding, Leaving, Opening, Rules, State, Step

HELD_OVER: Final = "held over the close: no candle since its order could fill it"
"""The note of a position that was to be out at the close of its session, and leaves at the next open."""

SLEPT_OVER: Final = "held over the close: nothing ran when its order was to leave"
"""The note of a position that was to be out at a close that a live run slept over."""


def close_due(state: State, rules: Rules) -> int:
    """The moment (UTC ms) at which an order for the close of a session fills; in live, before that, at which it leaves.

    Far in the future where there is none. It leaves at the open of the last candle.
    """
    if isinstance(state, Opening):
        beside = NEVER if state.ending is None else close_due(state.ending, rules)
        if state.close_at is None:
            return beside
        return min(beside, _due(state.close_at, rules, has_left=state.sent or state.late_at > 0))
    if isinstance(state, Holding) and state.book is not None and state.book.closing:
        order = state.book.closing
        return _due(order.moment, rules, has_left=order.sent or order.late_at > 0)
    return NEVER


def _due(moment: int, rules: Rules, *, has_left: bool) -> int:
    if rules.base_ms > MINUTE_MS:
        moment = rules.on_bars(moment)
    return moment if has_left or rules.mode == "backtest" else rules.bar_before(moment)


def missed_at(moment: int, given: Boundary, rules: Rules, *, sent: bool, late_at: int) -> int:
    """The time of the clock (UTC ms) at which an order for the close at ``moment`` was to leave, if it was over then.

    0: it was in time. At average prices an order fills at that of its moment, whenever it was decided.
    """
    known = late_at or given.decided_at or 0
    return known if rules.model.fills_at_open and not sent and known > moment else 0


def close_order_since(state: State) -> int:
    """The earliest open (UTC ms) of a candle whose close may fill an order for the close; far off where there is none.

    Examples
    --------
    >>> from bknb.domain.states import Flat
    >>> close_order_since(Flat()) == NEVER
    True
    """
    if isinstance(state, Opening):
        beside = NEVER if state.ending is None else close_order_since(state.ending)
        return beside if state.close_at is None else min(beside, state.not_before)
    closing = state.book.closing if isinstance(state, Holding) and state.book is not None else None
    return closing.not_before if closing else NEVER


def holding_at_close(state: Holding, book: PositionBook, order: ClosingOrder, given: Boundary, rules: Rules) -> Step:
    """A position whose order for the close is due: it leaves for the broker, or fills at the newest candle's close.

    Where no candle since the order could fill it, what is open leaves at the next one that can.
    """
    late_at = missed_at(order.moment, given, rules, sent=order.sent, late_at=order.late_at)
    if given.when < order.moment:
        left = {"late_at": late_at} if late_at else {"sent": True, "price": given.price}
        left_at = msgspec.structs.replace(order, **left)
        return Step(msgspec.structs.replace(state, book=msgspec.structs.replace(book, closing=left_at)))
    newest = given.newest
    if late_at or newest is None or newest.t < order.not_before:
        leaving = state.leaving or Leaving(
            reason=order.reason, decided_at=given.when, not_before=late_at or earliest_fill(given, rules),
            price=given.price, note=order.note,
        )  # fmt: skip
        why = SLEPT_OVER if late_at else HELD_OVER
        leaving = msgspec.structs.replace(leaving, note="; ".join(filter(None, (leaving.note, why))))
        without = msgspec.structs.replace(book, closing=msgspec.UNSET)
        return Step(msgspec.structs.replace(state, leaving=leaving, book=without))
    from .order_of_fills_in_a_managed_minute import close_managed

    price = newest.close if rules.model.fills_at_open else newest.price
    end = Exit(order.reason, price, ambiguous=False)
    return close_managed(state, book, newest.t, newest.price, end, rules, note=order.note)
