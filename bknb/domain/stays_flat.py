"""The side on which weights open nothing: what ended otherwise than by a weight stays flat for a while."""

from __future__ import annotations

from .signal_events import Closed
from .states import Flat, Holding, Rules, State, StaysFlat


def flat_after_close(closed: Closed, rules: Rules) -> Flat:
    """Nothing is open after a position; see :func:`side_that_stays_flat`."""
    side = None if rules.weights is None else side_that_stays_flat(closed, rules)
    return Flat(last_id=closed.signal.id, stays_flat=side)


def side_that_stays_flat(closed: Closed, rules: Rules) -> StaysFlat | None:
    """The side on which weights open nothing after a position, until one has been 0 or on the other side.

    It is that of a position that was ended by a level, by liquidation or by hand; ``"both"`` where all of the equity
    was lost, which an account knows itself.
    """
    assert rules.weights is not None  # it answers with weights  # noqa: S101
    if not rules.sized and closed.of_equity <= -100.0:
        return "both"
    if closed.close_reason == "strategy" or rules.weights.reenter:
        return None
    return closed.signal.position


def stays_flat_in(state: State) -> StaysFlat | None:
    """The side on which weights open nothing in a state: also that of what leaves, and not because a weight said so."""
    if isinstance(state, Flat):
        return state.stays_flat
    if isinstance(state, Holding) and state.leaving is not None and state.leaving.reason != "strategy":
        return state.signal.position
    return None
