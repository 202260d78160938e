"""Adds and parts of entry ladders that fill in a step, no larger than what is left of the account pays for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ..domain.cut_adds import with_cut_adds
from ..domain.lifecycle import step
from ..domain.lifecycle_inputs import Input
from ..domain.position_book import PositionOrder
from ..domain.position_fills import DUST
from ..domain.quantity_or_lack_of_cash import too_little_left
from ..domain.quantity_step_and_least_amount import EXACT
from ..domain.risk_request_and_verdict import CutAdd, Verdict
from ..domain.signal_events import AddCancelled, Added, Cancelled, Closed, Event, Opened, Reduced
from ..domain.states import AskingAdds, Entering, Holding, Rules, State, Step
from .cost_requests import added_order, was_ordered

if TYPE_CHECKING:
    from .leg_account import LegAccount

_step: Final[Callable[[State, Input, Rules], Step]] = step


def share_paid(add: PositionOrder | None, quantity: float, *, first: float) -> float | None:
    """The share of an add that a quantity is, where the first size is ``first``; ``None``: all that was wanted.

    Quantities in base currency.
    """
    return None if add is None or quantity >= add.share * first * (1 - EXACT) else quantity / first


def with_paid_adds(leg: LegAccount, state: State, given: Input, rules: Rules, result: Step) -> tuple[Step, int]:
    """A step with adds anew, those cut to what is left, or taken back where nothing is.

    Where an entry ladder is opened, its first events are booked, as its entry says what its other parts are shares of;
    returns with the step how many are.
    """
    booked = 0
    if isinstance(state, Entering):
        booked = 1 + next(at for at, event in enumerate(result.events) if isinstance(event, Opened))
        leg.tell(result.events[:booked])
    first = next(event for event in result.events if isinstance(event, Added))
    leg.charge(first.fill.at)
    cuts: dict[int, CutAdd] = {}
    while (cut := _short_add(leg, result.events[booked:])) is not None:
        cuts[cut.number] = cut
        result = step_with_cuts(state, given, rules, cuts.values(), first)
    if isinstance(state, AskingAdds):
        for cut in cuts.values():
            if cut.share == 0.0:  # it never was an order
                leg.waiting.drop((state.holding.signal.id, cut.number))
    return result, booked


def step_with_cuts(state: State, given: Input, rules: Rules, cuts: Iterable[CutAdd], first: Added) -> Step:
    """A step with adds that are cut; ``first`` is the first that fills in the same step without."""
    if isinstance(state, Holding):
        held, told = with_cut_adds(state, cuts, first.when, first.price, rules)
        result = _step(held, given, rules)
        return result._replace(events=(*told, *result.events))
    assert isinstance(given, Verdict)  # about what opens the position, or the last of the adds  # noqa: S101
    return _step(state, given._replace(cuts=tuple(cuts)), rules)


def _short_add(leg: LegAccount, events: Sequence[Event]) -> CutAdd | None:
    """The first add for which less is left than it wants, with the share that is paid for; ``None``: none."""
    shared = leg.shared
    ledger, withheld = shared.ledger, 0.0
    for event in events:
        if isinstance(event, AddCancelled | Cancelled):
            ledger = leg.waiting.after(ledger, (event,), leg.exits)
        elif isinstance(event, Reduced | Closed) and (left := leg.exits.told(ledger, event)) is not None:
            prices, before = shared.prices_at(left.order.at), ledger
            ledger = ledger.apply(left).ledger
            if not (leg.at_once or was_ordered(left.order, leg.state)):
                withheld += max(ledger.free(prices) - before.free(prices), 0.0)
        elif isinstance(event, Added):
            number, order = event.fill.number, added_order(event, leg.state)
            key = event.signal.id, number
            sized = leg.waiting[key]
            ledger = leg.waiting.released(ledger, key)
            free = leg.free_to_fill(order.at, ledger) - withheld
            filled = leg.money.filled(sized, order, free)
            wanted = event.fill.share * leg.first
            if filled.quantity < wanted * (1 - EXACT):
                if filled.quantity > DUST * leg.first:
                    return CutAdd(number, filled.quantity / leg.first)
                refused = leg.refusal(filled.small or too_little_left(order, free, leg.money.account))
                return CutAdd(number, 0.0, refused.note, refused.open_positions)
            order = replace(order, quantity=filled.quantity)
            ledger = ledger.apply(leg.entering(event.signal, order)).ledger
    return None
