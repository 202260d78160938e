"""Adds that fill in a step, no larger than what is left of the account pays for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ..domain.cut_adds import refused_add, with_smaller_add
from ..domain.lifecycle import step
from ..domain.lifecycle_inputs import Input
from ..domain.position_fills import DUST
from ..domain.quantity_or_lack_of_cash import too_little_left
from ..domain.quantity_step_and_least_amount import EXACT
from ..domain.signal_events import AddCancelled, Added, Closed, Event, Reason, Reduced
from ..domain.states import Holding, Rules, State, Step
from .cost_requests import added_order, was_ordered

if TYPE_CHECKING:
    from .leg_account import LegAccount

_step: Final[Callable[[State, Input, Rules], Step]] = step


def with_paid_adds(leg: LegAccount, state: Holding, given: Input, rules: Rules, result: Step) -> Step:
    """A step anew with adds cut to what is left, or taken back where nothing is."""
    told: tuple[Event, ...] = ()
    leg.charge(next(event.fill.at for event in result.events if isinstance(event, Added)))
    while (short := _short_add(leg, (*told, *result.events))) is not None:
        added, quantity, reason = short
        number, when, price = added.fill.number, added.when, added.price
        if quantity > DUST * leg.first:
            state = with_smaller_add(state, number, quantity / leg.first)
        else:
            state, events = refused_add(state, number, leg.refusal(reason), when, price, rules)
            told += events
        result = _step(state, given, rules)
    return result._replace(events=(*told, *result.events))


def _short_add(leg: LegAccount, events: Sequence[Event]) -> tuple[Added, float, Reason] | None:
    """The first add for which less is left than it wants, and the quantity that is paid for; ``None``: none."""
    shared = leg.shared
    ledger, withheld = shared.ledger, 0.0
    for event in events:
        if isinstance(event, AddCancelled):
            ledger = leg.waiting.released(ledger, (event.signal.id, event.number))
        elif isinstance(event, Reduced | Closed) and (left := leg.exits.told(ledger, event)) is not None:
            prices, before = shared.prices_at(left.order.at), ledger
            ledger = ledger.apply(left).ledger
            if not was_ordered(left.order, leg.state):
                withheld += max(ledger.free(prices) - before.free(prices), 0.0)
        elif isinstance(event, Added):
            key, order = (event.signal.id, event.fill.number), added_order(event, leg.state)
            sized = leg.waiting[key]
            ledger = leg.waiting.released(ledger, key)
            free = shared.free_in_bar(order.at, ledger, leg) - withheld
            filled = leg.money.filled(sized, order, free)
            wanted = event.fill.share * leg.first
            if filled.quantity < wanted * (1 - EXACT):
                return event, filled.quantity, filled.small or too_little_left(order, free, leg.money.account)
            order = replace(order, quantity=filled.quantity)
            ledger = ledger.apply(leg.entering(event.signal, order)).ledger
    return None
