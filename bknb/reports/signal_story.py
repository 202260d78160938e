"""The events of a signal as lines of text."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import minute_text
from ..domain.signal import Cancelled, Closed, Milestone, Opened, RiskRefused, Scheduled

RANK: Final[dict[type, int]] = {
    RiskRefused: 0,
    Scheduled: 1,
    Opened: 2,
    Milestone: 3,
    Closed: 4,
    Cancelled: 4,
}
"""The order of what happens to a signal within one minute."""


def history(records: Any) -> list[Any]:
    """All events that carry a signal row, in order of time; within a minute by :data:`RANK`.

    Parameters
    ----------
    records : Records
        With ``events`` (without idle minutes), ``milestones`` and ``refused``.
    """
    events = [*records.events, *records.milestones, *records.refused]
    return sorted(events, key=lambda event: (event.when, RANK[type(event)]))


def story(records: Any, signal_id: str, *, before: int | None = None) -> list[str]:
    """The events of one signal as lines; ``before`` leaves out those at or after a moment (UTC ms)."""
    events = [event for event in history(records) if event.signal.id == signal_id]
    return [event_line(event) for event in events if before is None or event.when < before]


def event_line(event: Any) -> str:
    """One event as a line of text."""
    when = minute_text(event.when)
    signal = event.signal
    levels = f"target {signal.price_take_profit:.8g}, stop {signal.price_stop_loss:.8g}"
    match event:
        case Scheduled():
            text = f"scheduled: {signal.position} waits for {signal.price_open:.8g} ({levels})"
        case Opened():
            text = (
                f"opened: {signal.position} at {signal.price_open:.8g} ({levels}, {signal.minute_estimated_time} min)"
            )
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
    note = f" [{signal.note}]" if signal.note and isinstance(event, (Scheduled, Opened)) else ""
    return f"{when} UTC  price {event.price:.8g}  {text}{note}"
