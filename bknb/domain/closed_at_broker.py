"""A position that has ended at the broker, or a part of it: the record follows with the minute in which that is known.

What was sold there is closed at its price.
"""

from __future__ import annotations

from msgspec.structs import replace

from .fills_at_stops_and_gaps import Exit, Minute
from .lifecycle_exits import close_at, holding_minute
from .lifecycle_inputs import ClosedThere, TargetsFilledThere
from .protective_orders import has_moved
from .signal import sign_of
from .signal_events import Closed, ClosedBy, CloseReason, Reduced
from .states import Holding, Rules, Step
from .trailing_and_breakeven_stops import stop_in_force


def holding_closed_there(state: Holding, given: ClosedThere, rules: Rules) -> Step:
    """A position that the broker has closed: it ends at the price of there."""
    reason = "take_profit" if given.by_target else _reason(state, given.closed_by)
    minute, end = given.minute, Exit(reason, given.price, ambiguous=False)
    own = own_end(state, minute, rules)
    ended = close_at(state, minute.t, minute.price, end, rules)
    more = {} if own is None else {"own_reason": own.close_reason, "own_price": own.price_close}
    told = tuple(
        replace(event, closed_by=given.closed_by, **more) if isinstance(event, Closed) else event
        for event in ended.events
    )
    return ended._replace(events=told)


def holding_targets_filled(state: Holding, given: TargetsFilledThere, rules: Rules) -> Step:
    """A position of which targets there have closed parts: its minute goes on with what is left."""
    minute, book = given.minute, state.book
    if book is None:  # its only target closes all of it
        return holding_minute(state, minute, rules)
    from .managed_fills import FillRun

    run = FillRun(state, book, minute.t, minute.price, rules)
    for filled in given.filled:
        target = next((each for each in run.book.targets if not has_moved(each.price, filled.level)), None)
        if target is not None:
            run.take([target], filled.price)
    after = holding_minute(replace(state, book=run.book), minute, rules)
    return after._replace(events=(*run.events, *after.events))


def takes_profit(state: Holding, minute: Minute, rules: Rules) -> bool:
    """Whether a minute takes a part of a position at a target, or all of it."""
    for event in holding_minute(state, minute, rules).events:
        reason = event.fill.reason if isinstance(event, Reduced) else getattr(event, "close_reason", "")
        if reason == "take_profit":
            return True
    return False


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
