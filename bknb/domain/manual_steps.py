"""What is decided by hand: a resting entry that is opened at the market, a move within a minute."""

from __future__ import annotations

import msgspec

from ..errors import InvalidTransition
from .checked_signal import activated
from .lifecycle_entries import opened_holding
from .manual_inputs import Activate, Planned
from .position_book import PlannedMove, new_book
from .signal_events import Opened
from .state_as_text import story
from .states import Holding, Opening, Rules, Step, Waiting, labels, waiting_signals
from .unfilled_entries import cancelled_entries, places_after


def waiting_activated(state: Waiting, given: Activate, rules: Rules) -> Step:
    """A resting entry that is opened at the market, and the end of others beside it.

    Its place at the risk profile is the one that it, or they, have.

    Raises
    ------
    InvalidTransition
        Where several wait and nobody said which of them, or none has that id.
    """
    waits = waiting_signals(state)
    named = waits if given.id is None else [signal for signal in waits if signal.id == given.id]
    if len(named) != 1:
        wanted = "none" if given.id is None else f"none with the id {given.id!r}"
        raise InvalidTransition(f"of the entries that wait {wanted} is opened by hand\n{story(state, rules)}")
    chosen = named[0]
    others = [signal for signal in waits if signal is not chosen]
    taken_back = cancelled_entries(others, given.when, given.price, "manual", rules)
    commands = places_after(taken_back, chosen, rules, holder=state.signal)
    ordered = msgspec.structs.replace(chosen, entry="market")
    if rules.model.fills_at_open:
        opening = Opening(signal=ordered, not_before=given.when, last_id=state.last_id, activated=True)
        return Step(opening, taken_back, commands)
    signal = activated(ordered, given.when, given.price, rules.tick)
    opened = Opened(**labels(rules), when=given.when, price=given.price, signal=signal)
    return Step(opened_holding(signal, rules), (*taken_back, opened), commands)


def holding_planned(state: Holding, given: Planned, rules: Rules) -> Step:
    """A move by hand that waits until the minute that is under way has closed.

    Raises
    ------
    InvalidTransition
        For a position that leaves: its levels matter no more.
    """
    if state.leaving is not None:
        raise InvalidTransition(f"a position that leaves is not moved\n{story(state, rules)}")
    book = state.book or new_book(state.signal, highest=state.highest, lowest=state.lowest)
    planned = (*book.planned, PlannedMove(due=given.due, move=given.move))
    return Step(msgspec.structs.replace(state, book=msgspec.structs.replace(book, planned=planned)))
