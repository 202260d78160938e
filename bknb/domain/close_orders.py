"""Orders for the close of a session: when they are due, and what fills them.

They fill at the close of the newest candle of the session that can fill an order and opened when they were decided or
later, once the session has closed. Levels of that candle come first. One for the close stands beside what leaves at the
market: where no candle of the session could fill that, the position is out at the close all the same.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .execution_fills import Exit
from .interval import MINUTE_MS
from .market_clock import NEVER
from .position_book import ClosingOrder, PositionBook
from .states import Boundary, Holding, Leaving, Opening, Rules, State, Step, earliest_fill

HELD_OVER: Final = "held over the close: no candle since its order could fill it"
"""The note of a position that was to be out at the close of its session, and leaves at the next open."""


def close_due(state: State, rules: Rules) -> int:
    """The moment (UTC ms) at which an order for the close of a session fills; in live, before that, at which it leaves.

    Far in the future where there is none. It leaves at the open of the last candle.
    """
    if isinstance(state, Opening):
        beside = NEVER if state.ending is None else close_due(state.ending, rules)
        if state.close_at is None:
            return beside
        return min(beside, _due(state.close_at, rules, sent=state.sent))
    if isinstance(state, Holding) and state.book is not None and state.book.closing:
        return _due(state.book.closing.moment, rules, sent=state.book.closing.sent)
    return NEVER


def _due(moment: int, rules: Rules, *, sent: bool) -> int:
    if rules.base_ms > MINUTE_MS:
        moment = rules.on_bars(moment)
    return moment if sent or rules.mode == "backtest" else moment - rules.base_ms


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
    if given.when < order.moment:
        sent = msgspec.structs.replace(order, sent=True, price=given.price)
        return Step(msgspec.structs.replace(state, book=msgspec.structs.replace(book, closing=sent)))
    newest = given.newest
    if newest is None or newest.t < order.not_before:
        leaving = state.leaving or Leaving(
            reason=order.reason, decided_at=given.when, not_before=earliest_fill(given, rules), price=given.price,
            note=order.note,
        )  # fmt: skip
        leaving = msgspec.structs.replace(leaving, note="; ".join(filter(None, (leaving.note, HELD_OVER))))
        without = msgspec.structs.replace(book, closing=msgspec.UNSET)
        return Step(msgspec.structs.replace(state, leaving=leaving, book=without))
    from .managed_minute import close_managed

    price = newest.close if rules.model.fills_at_open else newest.price
    end = Exit(order.reason, price, ambiguous=False)
    return close_managed(state, book, newest.t, newest.price, end, rules, note=order.note)
