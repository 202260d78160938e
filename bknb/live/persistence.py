"""A live run's state on disk: which values, under which names, written in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..domain.lateness import Decision, late_orders
from ..domain.lifecycle import Asking, Entering, Flat, Holding, Opening, State, Waiting, signals_of
from ..domain.orders import key_of
from ..domain.recovery import (
    STATE_VERSION,
    Owner,
    Restored,
    SavedLate,
    SavedOpening,
    SavedPartial,
    SavedPlaces,
    SavedSchedule,
    SavedSignal,
    StateChange,
    restore,
)
from ..domain.risk import OpenPosition
from ..domain.signal import Cancelled, Closed, Event, Opened, Scheduled
from ..errors import StateError
from ..ports import StateStore
from ..stores.versions import read_json

F = TypeVar("F")
S = TypeVar("S", SavedSignal, SavedSchedule, SavedPartial, SavedPlaces)
_MAX_UNDELIVERED = 64  # a listener that never comes to an end must not let the file grow
_ENDED = "ended"
_LATE = "late"
_HOLES = "hole"
_ENDING: Any = Closed | Cancelled  # a union is no type for a type checker


class _SavedAt(NamedTuple):
    """Where a run stands: its last minute and question (UTC ms), and whether a volume was reported so far."""

    last_minute: int
    last_asked: int | None
    volume_seen: bool | None


class StateSaver:
    """Saves and restores the state of one strategy on one symbol.

    Parameters
    ----------
    store
        Where to; acquired by the caller.
    owner
        Whose state it is.
    all_delivered
        Whether every emitted result has reached its listeners; until then results stay on disk as undelivered.
    """

    def __init__(self, store: StateStore, owner: Owner, *, all_delivered: Callable[[], bool]) -> None:
        self.store = store
        self.owner = owner
        self._all_delivered = all_delivered
        self.turn = 0
        self.last_minute: int | None = None
        self.last_asked: int | None = None
        self._key = (owner.strategy, owner.symbol)
        self._saved: State = Flat()
        self._undelivered: tuple[StateChange, ...] = ()  # on disk as such

    # --- restoring ----------------------------------------------------------------------------------------------

    def restore(self) -> Restored:
        """The saved state, once its owner is checked; files that a crash left out of step are brought in order.

        Raises
        ------
        StateError
            When something cannot be read, or belongs to another strategy, exchange or symbol.
        """
        signal = self._read("signal", SavedSignal)
        schedule = self._read("schedule", SavedSchedule)
        partial = self._read("partial", SavedPartial)
        found = restore(signal, schedule, partial)
        for saved in (signal, schedule):
            if saved is not None:
                self._check_owner(saved.owner, busy=not isinstance(found.state, Flat))
        if found.stale_schedule:
            self.store.delete("schedule", self._key)
        if found.partial is not None:
            self._write("partial", found.partial)
        self.turn, self.last_minute, self.last_asked = found.turn, found.last_minute, found.last_asked
        self._saved, self._undelivered = found.state, found.undelivered
        return found

    def ended(self) -> list[Closed | Cancelled]:
        """The closed and cancelled results of earlier processes of this run, in order.

        One whose signal is still open on the disk is removed: a crash came before the rest of its turn, and the run
        comes to an end of that signal again, perhaps at another moment.
        """
        open_keys = {key_of(signal) for signal in signals_of(self._saved)}
        found: list[Closed | Cancelled] = []
        for key, event in self._all_of(_ENDED, _ENDING):
            if key_of(event.signal) in open_keys:
                self.store.delete(_ENDED, key)
            else:
                found.append(event)
        return sorted(found, key=lambda event: event.when)

    def late(self) -> dict[Decision, int]:
        """The orders of this run that earlier processes decided late; see :class:`bknb.engine.records.Records`."""
        saved = [late for _, late in self._all_of(_LATE, SavedLate)]
        return {(late.moment, late.order): late.decided_at for late in saved}

    def _all_of(self, kind: str, form: type[F]) -> Iterator[tuple[tuple[str, ...], F]]:
        for key in self.store.keys(kind, self._key):
            payload = self.store.read(kind, key)
            if payload is not None:
                yield key, _decode(payload, form, kind, key)

    def _read(self, kind: str, form: type[S]) -> S | None:
        payload = self.store.read(kind, self._key)
        return None if payload is None else _decode(payload, form, kind, self._key)

    def _check_owner(self, saved: Owner, *, busy: bool) -> None:
        mine = self.owner if busy else msgspec.structs.replace(self.owner, execution=saved.execution)
        if saved == mine:
            return
        names = [name for name in Owner.__struct_fields__ if getattr(saved, name) != getattr(mine, name)]
        differences = "; ".join(f"{name} {getattr(saved, name)!r} is not {getattr(mine, name)!r}" for name in names)
        raise StateError(
            f"the saved state of {self.owner.strategy!r} on {self.owner.symbol} belongs to another run: {differences}\n"
            "start it as it was saved, give the strategy another name, or choose another store"
        )

    # --- saving -------------------------------------------------------------------------------------------------

    def save(
        self,
        state: State,
        events: tuple[Event, ...],
        *,
        last_minute: int,
        last_asked: int | None,
        volume_seen: bool | None,
    ) -> dict[Decision, int]:
        """Save a state and the events that led to it; returns when they are on the disk.

        Returns the orders of the state that were decided late and were not saved before, see :func:`late_orders`.

        Raises
        ------
        StateError
            When it could not be saved; then the state from before still holds.
        """
        if isinstance(state, Asking | Entering):
            return {}  # nothing was decided yet
        undelivered = tuple(event for event in events if isinstance(event, Scheduled | Opened | Closed | Cancelled))
        for event in undelivered:
            if isinstance(event, Closed | Cancelled):
                self._write_ended(event)
        if self._undelivered and not self._all_delivered():
            undelivered = (*self._undelivered, *undelivered)[-_MAX_UNDELIVERED:]
        quiet = isinstance(state, Flat) and isinstance(self._saved, Flat) and last_asked == self.last_asked
        if quiet and undelivered == self._undelivered:
            return {}  # a restarted run processes this minute once more
        late = self._write_late(state)
        self.turn += 1
        moment = _SavedAt(last_minute, last_asked, volume_seen)
        match state:
            case Waiting():
                self._write_schedule(state, undelivered, moment)
            case Flat() | Holding() | Opening():
                self._write_levels(_held(state))
                self._write_signal(state, undelivered, moment)
        if isinstance(self._saved, Waiting) and not isinstance(state, Waiting):
            self.store.delete("schedule", self._key)
        self.last_minute, self.last_asked, self._saved, self._undelivered = last_minute, last_asked, state, undelivered
        return late

    def holes(self) -> list[tuple[int, int]]:
        """The ranges ``[first, end)`` of minutes (UTC ms) that earlier processes of this run went on without."""
        payload = self.store.read(_HOLES, self._key)
        return [] if payload is None else _decode(payload, list[tuple[int, int]], _HOLES, self._key)

    def save_holes(self, holes: list[tuple[int, int]]) -> None:
        """Save the ranges of minutes the run goes on without; raises ``StateError`` when they could not be saved."""
        self.store.write(_HOLES, self._key, msgspec.json.encode(holes))

    def save_postponed(self, state: Holding | Opening, *, volume_seen: bool | None) -> dict[Decision, int]:
        """Save the restored state once more, with orders that are carried out later; what was undelivered stays so.

        Returns the orders that became late, see :func:`late_orders`.

        Raises
        ------
        StateError
            When it could not be saved; then the state from before still holds.
        """
        assert self.last_minute is not None  # something was restored  # noqa: S101
        late = self._write_late(state)
        self.turn += 1
        self._write_signal(state, self._undelivered, _SavedAt(self.last_minute, self.last_asked, volume_seen))
        self._saved = state
        return late

    def _write(self, kind: str, value: SavedSignal | SavedSchedule | SavedPartial) -> None:
        self.store.write(kind, self._key, msgspec.json.encode(value))

    def _write_ended(self, event: Closed | Cancelled) -> None:
        # By moment and id: the same minute played again after a crash writes the same value once more.
        key = (*self._key, f"{event.when:015d}-{event.signal.id}")
        self.store.write(_ENDED, key, msgspec.json.encode(event))

    def _write_late(self, state: State) -> dict[Decision, int]:
        """Save the orders of a state that are late and were not before; a decision made again replaces its time."""
        before = late_orders(self._saved)
        late = {decision: at for decision, at in late_orders(state).items() if before.get(decision) != at}
        for (moment, order), decided_at in late.items():
            saved = SavedLate(moment=moment, order=order, decided_at=decided_at)
            self.store.write(_LATE, (*self._key, f"{moment:015d}-{order}"), msgspec.json.encode(saved))
        return late

    def _write_schedule(self, state: Waiting, undelivered: tuple[StateChange, ...], at: _SavedAt) -> None:
        saved = SavedSchedule(
            owner=self.owner,
            turn=self.turn,
            last_minute=at.last_minute,
            last_asked=at.last_asked,
            signal=state.signal,
            last_id=state.last_id,
            volume_seen=at.volume_seen,
            undelivered=undelivered,
        )
        self._write("schedule", saved)

    def _write_signal(
        self, state: Flat | Holding | Opening, undelivered: tuple[StateChange, ...], at: _SavedAt
    ) -> None:
        held = _held(state)
        opening = SavedOpening(signal=state.signal, not_before=state.not_before) if isinstance(state, Opening) else None
        saved = SavedSignal(
            owner=self.owner,
            turn=self.turn,
            last_minute=at.last_minute,
            last_asked=at.last_asked,
            last_id=state.signal.id if isinstance(state, Holding) else state.last_id,
            signal=None if held is None else held.signal,
            highest=0.0 if held is None else held.highest,
            lowest=0.0 if held is None else held.lowest,
            leaving=None if held is None else held.leaving,
            in_doubt=held is not None and held.in_doubt,
            opening=opening,
            volume_seen=at.volume_seen,
            undelivered=undelivered,
        )
        self._write("signal", saved)

    def _write_levels(self, state: Holding | None) -> None:
        if state is None:
            return
        before = _held(self._saved)
        same = before is not None and before.signal.id == state.signal.id
        profit, loss = (before.profit_level, before.loss_level) if same and before is not None else (0, 0)
        if (profit, loss) == (state.profit_level, state.loss_level):
            return
        saved = SavedPartial(
            owner=self.owner,
            turn=self.turn,
            signal_id=state.signal.id,
            profit_level=state.profit_level,
            loss_level=state.loss_level,
            profit_before=profit,
            loss_before=loss,
        )
        self._write("partial", saved)


def _held(state: State) -> Holding | None:
    """The position of a state, also one that leaves while the next is being opened."""
    match state:
        case Holding():
            return state
        case Opening(ending=ending):
            return ending
        case _:
            return None


# --- places in a risk profile -----------------------------------------------------------------------------------


def saved_places(store: StateStore, risk: str) -> list[OpenPosition]:
    """The places of a profile whose signals are open or scheduled on disk; others, left by a crash, are given back.

    Raises
    ------
    StateError
        When the places, or one of their signals, cannot be read.
    """
    key = (risk, "positions")
    payload = store.read("risk", key)
    if payload is None:
        return []
    saved = _decode(payload, SavedPlaces, "risk", key)
    taken = tuple(place for place in saved.positions if _still_there(store, place))
    if taken != saved.positions:
        save_places(store, risk, taken)
    return list(taken)


def _still_there(store: StateStore, place: OpenPosition) -> bool:
    key = (place.strategy, place.symbol)
    signal, schedule = store.read("signal", key), store.read("schedule", key)
    found = restore(
        None if signal is None else _decode(signal, SavedSignal, "signal", key),
        None if schedule is None else _decode(schedule, SavedSchedule, "schedule", key),
        None,
    )
    return any(row.id == place.signal_id for row in signals_of(found.state))


def save_places(store: StateStore, risk: str, positions: tuple[OpenPosition, ...]) -> None:
    """Save the places of a profile; on the disk when this returns."""
    store.write("risk", (risk, "positions"), msgspec.json.encode(SavedPlaces(risk=risk, positions=positions)))


def _decode(payload: bytes, form: type[F], kind: str, key: tuple[str, ...]) -> F:
    read = partial(msgspec.json.decode, type=form)
    versions = STATE_VERSION if form in (SavedSignal, SavedSchedule) else 1
    readers: Mapping[int, Callable[[bytes], F]] = dict.fromkeys(range(1, versions + 1), read)
    try:
        return read_json(readers, payload, what=f"the saved {kind} of {' on '.join(key)}")
    except (ValueError, msgspec.DecodeError) as error:
        raise StateError(
            f"the saved {kind} of {' on '.join(key)} is not what bknb saves there: {error}\n"
            "it is left as it is; move it away by hand, or choose another store"
        ) from None
