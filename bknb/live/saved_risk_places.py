"""The places of risk profiles that are taken, as they are on disk."""

from __future__ import annotations

import msgspec

from ..domain.lifecycle import signals_of
from ..domain.recovery import SavedPlaces, restore
from ..domain.risk_request_and_verdict import OpenPosition
from ..ports import StateStore
from .saved_of_all_places import places_saved
from .saved_values import read_state, read_value


def saved_places(store: StateStore, risk: str) -> list[OpenPosition]:
    """The places of a profile whose signals are open or scheduled on disk; others, left by a crash, are given back.

    Raises
    ------
    StateError
        When the places, or one of their signals, cannot be read.
    """
    saved = read_value(store, "risk", (risk, "positions"), SavedPlaces)
    if saved is None:
        return []
    taken = tuple(place for place in saved.positions if _still_there(store, place))
    if taken != saved.positions:
        save_places(store, risk, taken)
    return list(taken)


def _still_there(store: StateStore, place: OpenPosition) -> bool:
    leg = place.strategy, place.symbol
    return _holds(store, leg, place.signal_id) or any(
        _holds(store, (*leg, name), place.signal_id) for name in places_saved(store, leg)
    )


def _holds(store: StateStore, key: tuple[str, ...], signal_id: str) -> bool:
    """Whether a signal is open or waits in what is saved of a strategy, or of one of its places."""
    signal, schedule = read_state(store, key)
    return any(row.id == signal_id for row in signals_of(restore(signal, schedule, None).state))


def save_places(store: StateStore, risk: str, positions: tuple[OpenPosition, ...]) -> None:
    """Save the places of a profile; on the disk when this returns."""
    store.write("risk", (risk, "positions"), msgspec.json.encode(SavedPlaces(risk=risk, positions=positions)))
