"""The state of a live run in the form in which it is saved; ``values_saved_before_events`` has what is written when."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..domain.lifecycle import Flat, Holding, Opening, Waiting, position_of, signals_of, waiting_signals
from ..domain.position_book import PlannedMove, PositionBook
from ..domain.recovery import (
    NEWEST_STATE_VERSION,
    STATE_VERSION,
    Owner,
    SavedMoments,
    SavedOpening,
    SavedPartial,
    SavedResult,
    SavedSchedule,
    SavedSetup,
    SavedSignal,
    SavedState,
)
from ..domain.signal import CheckedSignal


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that a saved position and a saved schedule have in common; see ``SavedSignal``."""

    owner: Owner
    turn: int
    last_minute: int
    last_asked: int | None
    last_managed: int | None
    volume_seen: bool | None
    moments: SavedMoments | msgspec.UnsetType
    memo: str | msgspec.UnsetType
    setup: SavedSetup | None
    results: int
    heard: int
    undelivered: tuple[SavedResult, ...]
    places: int | msgspec.UnsetType = msgspec.UNSET


def saved_schedule(state: Waiting, shared: Shared) -> SavedSchedule:
    """A state in which an entry waits, as it is saved."""
    return SavedSchedule(
        version=_version(state, shared),
        **msgspec.structs.asdict(shared),
        signal=state.signal,
        last_id=state.last_id,
        beside=state.beside or msgspec.UNSET,
    )


def saved_signal(state: Flat | Holding | Opening, shared: Shared) -> SavedSignal:
    """Any other state, as it is saved."""
    held = position_of(state)
    opening = None
    if isinstance(state, Opening):
        names = ("signal", "not_before", "activated", "close_at", "sent", "late_at", "beside")
        opening = SavedOpening(**{name: getattr(state, name) for name in names})
    book = None if held is None else held.book
    return SavedSignal(
        version=_version(state, shared, book),
        **msgspec.structs.asdict(shared),
        last_id=state.signal.id if isinstance(state, Holding) else state.last_id,
        signal=None if held is None else held.signal,
        highest=0.0 if held is None else held.highest,
        lowest=0.0 if held is None else held.lowest,
        leaving=None if held is None else held.leaving,
        in_doubt=held is not None and held.in_doubt,
        book=book,
        opening=opening,
        stays_flat=(state.stays_flat if isinstance(state, Flat) else None) or msgspec.UNSET,
    )


def _version(state: SavedState, shared: Shared, book: PositionBook | None = None) -> int:
    """The format of a state: the newest only where an older bknb would trade a part of it."""
    waiting = waiting_signals(state)
    signals: Iterable[CheckedSignal] = (*signals_of(state), *waiting)
    moved = book is not None and (book.stop_percent or book.target_percent or any(map(_is_new, book.planned)))
    moved = moved or (book is not None and any(order.is_stop or order.stop or order.rung for order in book.orders))
    declared = any(
        each.stop_percent is not None or each.percent_targets or each.rungs or each.own_size for each in signals
    )
    several = len(waiting) > 1 or shared.places is not msgspec.UNSET
    return NEWEST_STATE_VERSION if shared.memo or moved or declared or several else STATE_VERSION


def _is_new(planned: PlannedMove) -> bool:
    move = planned.move
    return any(each is not msgspec.UNSET for each in (move.stop_percent, move.target_percent, move.price_open))


def saved_partial(state: Holding, owner: Owner, turn: int, profit_before: int, loss_before: int) -> SavedPartial:
    """The milestones that a position has passed, and those (0..100) it had passed before a turn."""
    return SavedPartial(
        owner=owner,
        turn=turn,
        signal_id=state.signal.id,
        profit_level=state.profit_level,
        loss_level=state.loss_level,
        profit_before=profit_before,
        loss_before=loss_before,
    )


def same_position(state: Holding, other: SavedState) -> Holding | None:
    """The position of another state, if it is the same one."""
    held = position_of(other)
    return held if held is not None and held.signal.id == state.signal.id else None
