"""Entry orders at a moment: what the clock takes back, and what fills at the close of a session."""

from __future__ import annotations

import msgspec

from .entry_timeout import timeout_of
from .fills_at_stops_and_gaps import Entry
from .lifecycle_entries import entered
from .lifecycle_exits import holding_boundary
from .lifecycle_inputs import Boundary
from .market_on_close_orders import close_due, missed_at
from .states import Flat, Holding, Opening, Rules, Step, Waiting, frame_over, waiting_signals
from .unfilled_entries import cancel, flat_after, taken_back


def _cancelled_by_clock(state: Opening | Waiting, then: Flat | Holding, given: Boundary, rules: Rules) -> Step:
    signals = waiting_signals(state)
    if frame_over(given.when, rules):
        return taken_back(state, signals, then, given.when, given.price, rules.model.frame_end_cancel, rules)
    over = [signal for signal in signals if given.when >= timeout_of(signal, rules)]
    return taken_back(state, over, then, given.when, given.price, "timeout", rules) if over else Step(state)


def opening_boundary(state: Opening, given: Boundary, rules: Rules) -> Step:
    """What the clock ends of an entry order that no minute has filled, or fills at the close of a session."""
    if state.ending is not None and given.when >= close_due(state.ending, rules):
        left = holding_boundary(state.ending, given, rules)
        if isinstance(left.state, Holding):
            return Step(msgspec.structs.replace(state, ending=left.state), left.events, left.commands)
        alone = msgspec.structs.replace(state, last_id=state.ending.signal.id, ending=None)
        return Step(alone, left.events, left.commands)
    if state.close_at is not None and given.when >= close_due(state, rules):
        return _at_close(state, state.close_at, given, rules)
    return _cancelled_by_clock(state, state.ending or flat_after(state), given, rules)


def waiting_boundary(state: Waiting, given: Boundary, rules: Rules) -> Step:
    """What the clock ends of a resting entry."""
    return _cancelled_by_clock(state, flat_after(state), given, rules)


def _at_close(state: Opening, close_at: int, given: Boundary, rules: Rules) -> Step:
    """An entry order for the close that is due: it leaves for the broker, or fills at the newest candle's close.

    Where no candle of the session could fill it, or it was to leave behind the close, it is over.
    """
    late_at = missed_at(close_at, given, rules, sent=state.sent, late_at=state.late_at)
    if given.when < close_at:
        return Step(msgspec.structs.replace(state, **({"late_at": late_at} if late_at else {"sent": True})))
    newest, then = given.newest, state.ending or flat_after(state)
    if late_at or newest is None or newest.t < state.not_before or not isinstance(then, Flat):
        return cancel(state.signal, then, given.when, given.price, "timeout", rules)
    price = newest.close if rules.model.fills_at_open else newest.price
    end = newest._replace(open=price, high=price, low=price, close=price)  # nothing of the candle comes behind it
    return entered(state.signal, end, Entry(price, at_open=True, rested=False), rules)
