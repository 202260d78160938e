"""Orders that were decided later than their moment, because the machine slept or a run catches up.

Such an order fills in the first candle that opens at or after the clock time of its decision. An exit and an entry may
be decided for the same moment and at different times, so each is counted on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from .lifecycle import Opening, State, position_of, waiting_signals

OrderRole: TypeAlias = Literal["exit", "entry"]
Decision: TypeAlias = tuple[int, OrderRole]
"""The moment of a decision (UTC ms), and whether it is about a position, its adds included, or opens one."""
Lateness: TypeAlias = Mapping[Decision, int]
"""The time of the clock (UTC ms) at which each late decision was made: its order fills from then on."""


ENTRY_AT_CLOSE: Final = "entry order for the close"
"""What an entry is called that was to leave for a close that is over: nothing fills it."""


class OldPrice(NamedTuple):
    """That an order by hand fills at the average price of a moment long ago, for no minute has come since.

    Attributes
    ----------
    order
        What it is called in messages.
    decision
        That moment (UTC ms), and whether it is about a position or opens one.
    """

    order: str
    decision: Decision


def late_orders(state: State) -> dict[Decision, int]:
    """The orders of a state that were decided late and that no candle has filled yet, the exit first.

    Examples
    --------
    >>> from bknb.domain.lifecycle import Flat
    >>> late_orders(Flat())
    {}
    """
    found: dict[Decision, int] = {}
    ending = position_of(state)
    book = None if ending is None else ending.book
    for order in () if book is None else book.orders:  # of manage: together with a closing order of that moment
        if order.not_before > order.decided_at:
            found[order.decided_at, "exit"] = order.not_before
    if book is not None and book.closing and book.closing.not_before > book.closing.decided_at:
        found[book.closing.decided_at, "exit"] = book.closing.not_before
    if ending is not None and ending.leaving is not None and ending.leaving.not_before > ending.leaving.decided_at:
        found[ending.leaving.decided_at, "exit"] = ending.leaving.not_before
    if book is not None and book.closing and book.closing.late_at and ending is not None and ending.leaving is not None:
        found[book.closing.moment, "exit"] = book.closing.late_at  # else it becomes the order that leaves
    if isinstance(state, Opening) and not state.activated:
        decided_at = max(signal.scheduled_at for signal in waiting_signals(state))  # others beside it may rest already
        if state.not_before > decided_at:
            found[decided_at, "entry"] = state.not_before
    if isinstance(state, Opening) and state.close_at is not None and state.late_at:
        found[state.close_at, "exit"] = state.late_at
    return found


def late_order_name(state: State, decision: Decision) -> str:
    """What a late order of a state is called in messages.

    Examples
    --------
    >>> from bknb.domain.lifecycle import Flat
    >>> late_order_name(Flat(), (60_000, "entry"))
    'entry order'
    """
    when, role = decision
    if role == "entry":
        return "entry order"
    if isinstance(state, Opening) and state.late_at and state.close_at == when:
        return ENTRY_AT_CLOSE
    ending = position_of(state)
    if ending is None or ending.book is None or (ending.leaving is not None and ending.leaving.decided_at == when):
        return "closing order"
    kinds = {order.kind for order in ending.book.orders if order.decided_at == when}
    return f"order to {' and '.join(sorted(kinds, reverse=True))}"
