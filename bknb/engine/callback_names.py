"""The callbacks of a strategy that an event is given to."""

from __future__ import annotations

from ..domain.signal_events import Event, Milestone, TickResult

_CALLBACK_OF = {
    "Idle": "on_idle",
    "Scheduled": "on_schedule",
    "Opened": "on_open",
    "Active": "on_active",
    "Closed": "on_close",
    "Cancelled": "on_cancel",
    "Rejected": "on_reject",
    "Reduced": "on_reduce",
    "Added": "on_add",
    "Moved": "on_move",
}


def callback_names(event: Event) -> list[str]:
    """The names of the callbacks for an event, in the order in which they are called."""
    if isinstance(event, Milestone):
        return [f"on_partial_{event.side}"]
    names = [name] if (name := _CALLBACK_OF.get(type(event).__name__)) is not None else []
    return [*names, "on_tick"] if isinstance(event, TickResult) else names
