"""How long an entry order rests: when it is taken back if it has not filled."""

from __future__ import annotations

from typing import Final

from .interval import MINUTE_MS
from .market_clock_protocol import NEVER
from .signal import ScheduledSignal
from .states import Rules

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
