"""A position that has ended at the broker: the record closes with the minute in which that is known, at its price."""

from __future__ import annotations

from msgspec.structs import replace

from .fills_at_stops_and_gaps import Exit, Minute
from .lifecycle_exits import close_at, holding_minute
from .lifecycle_inputs import ClosedThere
from .signal import sign_of
from .signal_events import Closed, ClosedBy, CloseReason
from .states import Holding, Rules, Step
from .trailing_and_breakeven_stops import stop_in_force


def holding_closed_there(state: Holding, given: ClosedThere, rules: Rules) -> Step:
    """A position that the broker has closed: it ends at the price of there."""
    minute, end = given.minute, Exit(_reason(state, given.closed_by), given.price, ambiguous=False)
    own = own_end(state, minute, rules)
    ended = close_at(state, minute.t, minute.price, end, rules)
    more = {} if own is None else {"own_reason": own.close_reason, "own_price": own.price_close}
    told = tuple(
        replace(event, closed_by=given.closed_by, **more) if isinstance(event, Closed) else event
        for event in ended.events
    )
    return ended._replace(events=told)


def own_end(state: Holding, minute: Minute, rules: Rules) -> Closed | None:
    """The end of a position by a minute of itself; ``None``: it goes on."""
    events = holding_minute(state, minute, rules).events
    return next((event for event in events if isinstance(event, Closed)), None)


def _reason(state: Holding, closed_by: ClosedBy) -> CloseReason:
    if closed_by == "manual":
        return "manual"
    if closed_by != "exchange":
        return "liquidation"
    if state.book is None:
        return "stop_loss"
    sign = sign_of(state.signal.position)
    found = stop_in_force(state.book, sign, state.highest if sign > 0 else state.lowest, None)
    return "stop_loss" if found is None else found.reason
