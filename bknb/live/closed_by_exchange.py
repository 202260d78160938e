"""A minute with a position whose stop and targets rest at the broker: what was closed there by the end of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..domain.closed_at_broker import own_end, takes_profit
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import Holding, Rules
from ..domain.lifecycle_inputs import ClosedThere, TargetsFilledThere
from ..domain.signal import key_of
from .orders_sent_to_broker import OrderDesk

_LOOK_SECONDS: Final = 1.0  # how long a minute that ends a position waits for what the broker says of its stop
WAIT_MS: Final = 5 * MINUTE_MS
"""How long a minute that reaches the stop waits for the broker to sell, where that is to close the record."""
_PAUSE_SECONDS: Final = 2.0
_STOPS: Final = frozenset({"stop_loss", "trailing_stop", "breakeven"})


async def closed_or(
    desk: OrderDesk,
    state: Holding,
    minute: Minute,
    rules: Rules,
    *,
    now: Callable[[], int],
    rest: Callable[[float], Awaitable[object]],
) -> Minute | ClosedThere | TargetsFilledThere:
    """A minute, or that the broker has closed the position, or taken targets, by its end.

    Parameters
    ----------
    desk, state, rules
        The orders of the position, the position, and the rules of its run.
    minute
        It has closed.
    now, rest
        The clock (UTC ms), and how to wait for so many seconds.
    """
    key, ends = key_of(state.signal), rules.bar_end(minute.t)
    own = own_end(state, minute, rules)
    takes = desk.has_targets(key) and takes_profit(state, minute, rules)

    def waits() -> bool:
        by_stop = own is not None and own.close_reason in _STOPS and desk.protects(key)
        return by_stop or (takes and not desk.targets_filled(key, before=now() + 1) and desk.has_targets(key))

    if own is not None or takes:
        await desk.look_again(key, _LOOK_SECONDS)
        waited = now() - ends
        while desk.watch == "exchange" and waited < WAIT_MS and waits():
            await rest(_PAUSE_SECONDS)
            await desk.look_again(key, _LOOK_SECONDS)
            waited = max(waited + round(_PAUSE_SECONDS * 1000), now() - ends)
    reached = own is not None or takes
    before = now() + 1 if reached and desk.watch == "exchange" else ends
    found = desk.closed_there(key, before=before)
    if found is not None:
        return ClosedThere(minute, *found)
    filled = desk.targets_filled(key, before=before)
    return TargetsFilledThere(minute, filled) if filled else minute
