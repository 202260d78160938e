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
from .states import Holding, Opening, Rules, Step, Waiting, labels


def waiting_activated(state: Waiting, given: Activate, rules: Rules) -> Step:
    """A resting entry that is opened at the market; its place at the risk profile is the one it has.

    Raises
    ------
    InvalidTransition
        Where several wait: nobody said which of them.
    """
    if state.beside:
        raise InvalidTransition(f"of several entries that wait none is opened by hand\n{story(state, rules)}")
    ordered = msgspec.structs.replace(state.signal, entry="market")
    if rules.model.fills_at_open:
        return Step(Opening(signal=ordered, not_before=given.when, last_id=state.last_id, activated=True))
    signal = activated(ordered, given.when, given.price, rules.tick)
    opened = Opened(**labels(rules), when=given.when, price=given.price, signal=signal)
    return Step(opened_holding(signal, rules), (opened,))


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
