"""Exits of an open position: levels, the clock, the end of the data.

What only a managed position needs is imported when there is one.
"""

from __future__ import annotations

import msgspec

from .entry_timeout import timeout_of
from .fills_at_stops_and_gaps import Exit, Minute
from .interval import MINUTE_MS
from .lifecycle_inputs import Boundary, DataEnd, Halt, SkippedMinutes, earliest_fill
from .market_clock_protocol import NEVER
from .market_on_close_orders import close_due, holding_at_close
from .milestones_passed import passed_milestones, survived
from .pnl import net_percentage, trade_pnl
from .position_book import book_timeout
from .risk_request_and_verdict import Release
from .signal import OpenSignal
from .signal_events import Closed, CloseReason, Event
from .states import (
    Holding,
    Leaving,
    Opening,
    Rules,
    State,
    Step,
    Waiting,
    after_frame,
    frame_over,
    labels,
    quiet_minute,
)
from .stays_flat import flat_after_close


def close_at(state: Holding, when: int, price: float, end: Exit, rules: Rules) -> Step:
    """The end of a position at a moment (UTC ms) at which the average price is ``price``."""
    if state.book is None:
        return _close_plain(state, when, price, end, rules)
    from .order_of_fills_in_a_managed_minute import close_managed

    return close_managed(state, state.book, when, price, end, rules)


def _close_plain(state: Holding, when: int, price: float, end: Exit, rules: Rules) -> Step:
    signal = state.signal
    slippage, fee = rules.settings.percent_slippage, rules.settings.percent_fee
    entry = signal.price_open
    highest, lowest = max(state.highest, end.price), min(state.lowest, end.price)
    best, worst = (highest, lowest) if signal.position == "long" else (lowest, highest)
    closed = Closed(
        **labels(rules),
        when=when,
        price=price,
        signal=signal,
        close_reason=end.reason,
        closed_at=when,
        price_close=end.price,
        pnl=trade_pnl(signal.position, entry, end.price, slippage=slippage, fee=fee),
        peak_percentage=net_percentage(signal.position, entry, best, slippage, fee),
        trough_percentage=net_percentage(signal.position, entry, worst, slippage, fee),
        ambiguous=end.ambiguous or state.in_doubt,
    )
    release = (Release(signal.id),) if rules.asks else ()
    return Step(flat_after_close(closed, rules), (closed,), release)


def holding_skipped(state: Holding, given: SkippedMinutes, rules: Rules) -> Step:
    """Minutes in which nothing opened, closed or filled."""
    if state.book is not None:
        from .order_of_fills_in_a_managed_minute import skipped_managed

        return Step(skipped_managed(state, state.book, given))
    state = seen_by(state, given.highest, given.lowest)
    return passed_milestones(state, given.milestones, rules) if given.milestones else Step(state)


def seen_by(state: Holding, highest: float, lowest: float) -> Holding:
    """The state with these prices among those that were reached."""
    if highest > state.highest or lowest < state.lowest:
        return msgspec.structs.replace(state, highest=max(state.highest, highest), lowest=min(state.lowest, lowest))
    return state


def holding_minute(state: Holding, given: Minute, rules: Rules) -> Step:
    """A minute with an open position."""
    if state.leaving is not None and _is_before(rules.bar_end(given.t), state.leaving):
        passed_by = holding_minute(msgspec.structs.replace(state, leaving=None), given, rules)
        if isinstance(passed_by.state, Holding):
            return passed_by._replace(state=msgspec.structs.replace(passed_by.state, leaving=state.leaving))
        return passed_by
    if state.book is not None:
        from .order_of_fills_in_a_managed_minute import managed_minute

        return managed_minute(state, state.book, given, rules)
    signal, model = state.signal, rules.model
    if state.leaving is not None:
        if not model.can_fill(given, state.leaving.not_before):
            return Step(state, quiet_minute(signal, given, rules))
        return _close_plain(state, given.t, given.price, Exit(state.leaving.reason, given.open, ambiguous=False), rules)
    if not model.can_fill(given):
        return Step(state, quiet_minute(signal, given, rules))
    end: Exit | None
    if not model.fills_at_open and (reason := _ended_by_clock(signal, given.t, rules)) is not None:
        end = Exit(reason, given.price, ambiguous=False)
    else:
        end = model.exit(signal, given)
    if end is not None:
        return _close_plain(state, given.t, given.price, end, rules)
    return survived(seen_by(state, *model.extremes(given)), given, rules)


def _is_before(when: int, leaving: Leaving) -> bool:
    """Whether a moment (UTC ms) lies before a decision by hand to close: until then levels and the deadline hold.

    The minute in which it was decided is not watched. Whatever else closes a position is decided when every minute
    before it has been worked on.
    """
    return leaving.reason == "manual" and when < leaving.decided_at


def _ended_by_clock(signal: OpenSignal, t: int, rules: Rules) -> CloseReason | None:
    """Why a position that is closed at the average price ends in the minute ``t``, if the clock ends it."""
    if after_frame(t, rules):
        return rules.model.frame_end_close
    if t >= _deadline(signal):
        return "time_expired"
    return None


def _deadline(signal: OpenSignal) -> int:
    minutes = signal.minute_estimated_time
    return NEVER if minutes is None else signal.pending_at + minutes * MINUTE_MS


def deadline_of(state: Holding) -> int:
    """The moment (UTC ms) at which a position is to be closed at the market; far in the future where there is none."""
    if state.book is None:
        return _deadline(state.signal)
    return NEVER if state.book.deadline is None else state.book.deadline


def holding_data_end(state: Holding, given: DataEnd, rules: Rules) -> Step:
    """The end of the data, with an open position."""
    price = given.close if rules.model.fills_at_open else given.price
    return close_at(state, given.t, given.price, Exit("data_end", price, ambiguous=False), rules)


def holding_halt(state: Holding, given: Halt, rules: Rules) -> Step:
    """A position whose adds that rest are taken back; it is watched on."""
    book = state.book
    if book is None or state.leaving is not None:
        return Step(state)
    from .order_of_fills_in_a_managed_minute import without_adds

    rest = [order for order, _ in book.resting]
    held, _, events = without_adds(state, book, rest, given.when, given.price, given.reason, rules)
    return Step(held, events)


def due(state: State, rules: Rules) -> int:
    """The moment (UTC ms) at which the clock ends something of this state; far in the future when it ends nothing.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> from bknb.domain.fills_at_stops_and_gaps import execution_model
    >>> from bknb.domain.states import Flat
    >>> due(Flat(), Rules("BTCUSDT", "s", "demo", None, "live", execution_model("touch"), Settings())) > 10**15
    True
    """
    closes = close_due(state, rules)
    if not (rules.model.fills_at_open or isinstance(state, Opening)):
        return closes
    if isinstance(state, Holding):
        if state.leaving is not None:
            deadline = deadline_of(state)
            if rules.frame_last is not None and closes > rules.frame_last:
                closes = NEVER  # the frame was over before
            return min(closes, deadline) if _is_before(deadline, state.leaving) else closes
        moment = min(deadline_of(state), closes)
        if state.book is not None:
            moment = min(moment, book_timeout(state.book))
    elif isinstance(state, Opening | Waiting):
        moment = min(timeout_of(state.signal, rules), closes)
        for signal in state.beside:
            moment = min(moment, timeout_of(signal, rules))
    else:
        return NEVER
    if rules.base_ms > MINUTE_MS:
        moment = rules.on_bars(moment)  # known at the first moment at or after it
    last = rules.frame_last
    return moment if last is None or moment < last else last


def holding_boundary(state: Holding, given: Boundary, rules: Rules) -> Step:
    """What the clock ends of an open position: the position, or adds that rest."""
    if given.when < due(state, rules):
        return Step(state)
    if state.book is not None and state.book.closing and given.when >= close_due(state, rules):
        return holding_at_close(state, state.book, state.book.closing, given, rules)
    over = frame_over(given.when, rules)
    before: tuple[Event, ...] = ()
    ends = over or given.when >= deadline_of(state)
    if not over and state.book is not None and book_timeout(state.book) <= given.when:
        from .order_of_fills_in_a_managed_minute import timed_out

        state, _, before = timed_out(state, state.book, given.when, given.price, rules)
    if not ends:
        return Step(state, before)
    ordered = state.leaving  # by hand: behind any other nothing is due
    if ordered is not None and ordered.not_before <= earliest_fill(given, rules):
        return Step(state, before)  # its order left before this was known
    reason: CloseReason = rules.model.frame_end_close if over else "time_expired"
    leaving = Leaving(reason=reason, decided_at=given.when, not_before=earliest_fill(given, rules), price=given.price)
    return Step(msgspec.structs.replace(state, leaving=leaving), before)
