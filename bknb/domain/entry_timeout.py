"""How long an entry order rests: when it is taken back if it has not filled, also while no bar of it comes."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from .interval import MINUTE_MS
from .market_clock_protocol import NEVER
from .signal import ScheduledSignal
from .states import Holding, Rules, State, waiting_signals

RESTING_BARS: Final = 20
"""Over bars longer than a minute an entry rests for so many of them at least."""


def rests_until(when: int, rules: Rules) -> int:
    """The moment (UTC ms) at which an entry that rests from ``when`` on is taken back.

    Over bars longer than a minute that is after twenty of them at the earliest, however far apart they are.
    """
    later = rules.clock().interval_later(when) if rules.by_day and rules.clock is not None else when + rules.interval_ms
    until = max(when + rules.settings.schedule_await_minutes * MINUTE_MS, later)
    if rules.close_of is None:
        return until
    closed = rules.close_of(when, RESTING_BARS)
    return NEVER if closed is None else max(until, closed)


def timeout_of(signal: ScheduledSignal, rules: Rules) -> int:
    """The moment (UTC ms) at which an entry order that has not filled is cancelled; never for one at the market."""
    if signal.entry == "market" or signal.entry == "close":
        return NEVER
    return rests_until(signal.scheduled_at, rules) if signal.waits_until is None else signal.waits_until


def ended_in_silence(state: State, rules: Rules, *, known: int, before: int) -> set[tuple[str, int]]:
    """The orders of a state that rest and that the clock ended before a moment, while no bar came.

    By the id of their signal and their number within its position, 0 for an entry. Over history the clock takes them
    back then, live they are taken back once the next bar has come.

    Parameters
    ----------
    state, rules
        Of a leg.
    known
        Up to when (UTC ms) its bars have come: later ones do not count among the bars that an entry rests.
    before
        The moment, UTC ms.
    """
    if not rules.model.fills_at_open:  # at average prices a bar ends them
        return set()
    ends = {
        (signal.id, number): _end_in_silence(signal, rules, known)
        for signal in waiting_signals(state)
        for number in range(len(signal.rungs) + 1)
    }
    if isinstance(state, Holding) and state.book is not None:
        ends = {
            (state.signal.id, order.number): order.until or NEVER
            if order.rests_from is UNSET
            else _came(order.until or NEVER, order.rests_from, rules, known)
            for order in state.book.orders
        }
    return {key for key, end in ends.items() if end < NEVER and rules.on_bars(end) < before}


def _end_in_silence(signal: ScheduledSignal, rules: Rules, known: int) -> int:
    end = timeout_of(signal, rules)
    return _came(end, signal.scheduled_at, rules, known) if signal.waits_until is None else end


def _came(end: int, since: int, rules: Rules, known: int) -> int:
    """When an order that rests for twenty bars from ``since`` on ended; never where they have not come by ``known``."""
    if rules.close_of is None or end >= NEVER:
        return end
    closed = rules.close_of(since, RESTING_BARS)
    return end if closed is not None and closed <= known else NEVER
