"""The callbacks of a strategy that an event is given to."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from ..domain.signal_events import Event, Milestone, TickResult
from ..market.strategy_context import current

if TYPE_CHECKING:
    from .strategy_loop import StrategyLoop

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


async def call_callbacks(loop: StrategyLoop, event: Event) -> None:
    """Call the callbacks of the strategy of a loop for an event; what they raise is counted."""
    for name in callback_names(event):
        function = loop.strategy.callbacks.get(name)
        if function is None:
            continue
        token = current.set(loop.context(event.when))
        try:
            answer = function(event)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:  # noqa: BLE001 -- a callback never stops a run
            loop.fail("callback", error, event.when)
        finally:
            current.reset(token)
