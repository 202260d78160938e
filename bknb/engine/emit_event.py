"""Which listeners get an event of a run."""

from __future__ import annotations

from ..domain.signal import AddCancelled, Added, Event, Milestone, Moved, Reduced, Rejected, RiskRefused
from ..events import subjects


def emit_event(event: Event) -> None:
    """Emit an event on the subjects of its kind."""
    match event:
        case Milestone():
            (subjects.partial_profit if event.side == "profit" else subjects.partial_loss).emit(event)
        case RiskRefused():
            subjects.risk.emit(event)
        case Rejected():
            subjects.validation.emit(event)
        case Reduced() | Added() | AddCancelled() | Moved():
            subjects.position.emit(event)
        case _:
            subjects.emit_result(event)
