"""The events of a signal as lines of text."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import level_text, lifetime_text, minute_text
from ..domain.signal import (
    AddCancelled,
    Added,
    Cancelled,
    Closed,
    Milestone,
    Moved,
    Opened,
    Reduced,
    RiskRefused,
    Scheduled,
)

RANK: Final[dict[type, int]] = {
    RiskRefused: 0,
    Scheduled: 1,
    Opened: 2,
    Moved: 3,
    AddCancelled: 3,
    Added: 3,
    Reduced: 3,
    Milestone: 4,
    Closed: 5,
    Cancelled: 5,
}
"""The order of what happens to a signal within one minute."""


def history(records: Any) -> list[Any]:
    """All events that carry a signal row, in order of time; within a minute by :data:`RANK`.

    Parameters
    ----------
    records : Records
        With ``events`` (without idle minutes), ``positions``, ``milestones`` and ``refused``.
    """
    events = [*records.events, *records.positions, *records.milestones, *records.refused]
    return sorted(events, key=lambda event: (event.when, RANK[type(event)]))


def story(records: Any, signal_id: str, *, before: int | None = None) -> list[str]:
    """The events of one signal as lines; ``before`` leaves out those at or after a moment (UTC ms)."""
    events = [event for event in history(records) if event.signal.id == signal_id]
    return [event_line(event) for event in events if before is None or event.when < before]


def event_line(event: Any) -> str:
    """One event as a line of text."""
    when = minute_text(event.when)
    signal = event.signal
    levels = f"target {level_text(signal.price_take_profit)}, stop {level_text(signal.price_stop_loss)}"
    match event:
        case Scheduled():
            text = f"scheduled: {signal.position} waits for {signal.price_open:.8g} ({levels})"
        case Opened():
            lifetime = lifetime_text(signal.minute_estimated_time)
            text = f"opened: {signal.position} at {signal.price_open:.8g} ({levels}, {lifetime})"
        case Reduced():
            fill = event.fill
            text = f"closed {fill.share:g} of the first size at {fill.price:.8g}: {fill.reason}, {event.size:g} is left"
        case Added():
            fill, average = event.fill, event.average_price
            text = f"added {fill.share:g} at {fill.price:.8g}: {event.size:g} is held at {average:.8g} on average"
        case AddCancelled():
            text = f"an add of {event.share:g} was taken back: {event.reason}"
        case Moved():
            targets = ", ".join(f"{target.price:.8g}" for target in event.targets) or "none"
            text = f"moved ({event.reason}): stop {level_text(event.price_stop_loss)}, targets {targets}"
        case Milestone():
            goal = "target" if event.side == "profit" else "stop"
            text = f"{event.level} % of the way to the {goal}"
        case RiskRefused():
            text = f"risk profile {event.risk!r} refused: {event.note}"
        case Cancelled():
            text = f"cancelled: {event.reason}" + (f" ({event.note})" if event.note else "")
        case _:
            pnl = event.pnl
            doubt = ", the candle allows another reading" if event.ambiguous else ""
            text = (
                f"closed: {event.close_reason} at {event.price_close:.8g}{doubt}; net {pnl.pnl_percentage:+.4f} % = "
                f"gross {pnl.gross_percentage:+.4f} - fees {pnl.fee_percentage:.4f} "
                f"- slippage {pnl.slippage_percentage:.4f}"
            )
    note = _note(event)
    return f"{when} UTC  price {event.price:.8g}  {text}" + (f" [{note}]" if note else "")


def _note(event: Any) -> str:
    """What the strategy, or somebody by hand, said with an event."""
    match event:
        case Scheduled() | Opened():
            return str(event.signal.note)
        case Reduced() | Added():
            return event.fill.note
        case Closed() | AddCancelled():
            return event.note
        case _:
            return ""
