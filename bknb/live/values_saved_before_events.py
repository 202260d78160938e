"""What a live run saves before an event leaves: which values, under which names, written in which order."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ..domain.interval import MINUTE_MS
from ..domain.late_orders import Decision, Lateness, late_order_name, late_orders
from ..domain.lifecycle import (
    Asking,
    AskingAdds,
    Entering,
    Flat,
    Holding,
    Opening,
    State,
    Waiting,
    position_of,
    signals_of,
)
from ..domain.recovery import (
    Kept,
    Owner,
    Restored,
    SavedLate,
    SavedPartial,
    SavedSchedule,
    SavedSetup,
    SavedSignal,
    SavedState,
    line_to_resume,
    restore,
)
from ..domain.signal_events import Cancelled, Closed, Event
from ..errors import StateError
from ..ports import StateStore
from .hole_journal import Hole
from .recording import Recording
from .results_not_heard import Undelivered, kept_of
from .run_progress import Progress, progress_of
from .saved_of_all_places import OfAllPlaces, newest_of, places_saved
from .saved_state import Shared, same_position, saved_partial, saved_schedule, saved_signal
from .saved_values import read_state, read_value

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid
    from .account_saver import LegAccountSaver


class StateSaver:
    """Saves and restores the state of one strategy on one symbol, or that of one of its places.

    Parameters
    ----------
    store
        Where to; acquired by the caller.
    owner
        Whose state it is.
    setup
        What its signals are decided with, from now on.
    place, common
        Which of the places of the strategy it is of, and what they have together; by default the strategy has one.

    Attributes
    ----------
    progress
        How far it had come when its state was saved last; ``None`` when that is not saved.
    of_places
        What saves the states of the places of the strategy, by name; empty where it has one.
    """

    def __init__(
        self,
        store: StateStore,
        owner: Owner,
        setup: SavedSetup | None = None,
        *,
        place: str = "",
        common: OfAllPlaces | None = None,
    ) -> None:
        self.store = store
        self.owner = owner
        self._setup = setup  # of this run
        self._common = OfAllPlaces(store, owner) if common is None else common
        self.progress: Progress | None = None
        self.of_places: dict[str, StateSaver] = {}
        self._key = (owner.strategy, owner.symbol, place) if place else (owner.strategy, owner.symbol)
        self._saved: SavedState = Flat()
        self._decided_with: SavedSetup | None = None  # the newest signal of it
        self._levels_ahead = False  # the disk may have milestones of a turn that was not saved, or that turn itself

    @property
    def undelivered(self) -> Undelivered:
        """The results that listeners have not heard yet; note in it what is emitted."""
        return self._common.undelivered

    @property
    def problems(self) -> list[str]:
        """What could not be read of results, late orders and holes, as sentences; the rest of them was."""
        return self._common.problems

    @property
    def recording(self) -> Recording:
        """What the run has worked on, and notes of it; on the disk before each state."""
        return self._common.recording

    @property
    def account(self) -> LegAccountSaver | None:
        """Saves the account of the run before each turn, where it has one."""
        return self._common.account

    @account.setter
    def account(self, account: LegAccountSaver) -> None:
        self._common.account = account

    @property
    def state(self) -> SavedState:
        """The state that was saved or restored last."""
        return self._saved

    @property
    def states(self) -> list[SavedState]:
        """The saved states of the strategy on the symbol: its own, and those of its places."""
        return [self._saved, *(place.state for place in self.of_places.values())]

    @property
    def setups(self) -> list[SavedSetup]:
        """What the signals that are open or wait were decided with, each once."""
        found = [saver._decided_with for saver in (self, *self.of_places.values())]
        return [setup for at, setup in enumerate(found) if setup is not None and setup not in found[:at]]

    @property
    def newest(self) -> Progress | None:
        """How far the run had come when anything of it was saved last; ``None``: nothing is."""
        return self._common.progress

    def of_place(self, name: str) -> StateSaver:
        """What saves the state of a place of the strategy; made where there is none yet."""
        if name not in self.of_places:
            made = StateSaver(self.store, self.owner, self._setup, place=name, common=self._common)
            self.of_places[name] = made
        return self.of_places[name]

    def has_places(self, count: int) -> None:
        """Say in each state that is saved from now on that the strategy has so many places: others refuse it."""
        self._common.places = count

    # --- restoring ----------------------------------------------------------------------------------------------

    def restore(self) -> Restored:
        """The saved state, once its owner is checked; files that a crash left out of step are brought in order.

        Raises
        ------
        StateError
            When something cannot be read, or belongs to another strategy, exchange or symbol.
        """
        found, names = self._restore_own(), places_saved(self.store, (self.owner.strategy, self.owner.symbol))
        if names:
            found = newest_of(found, [self.of_place(name)._restore_own() for name in names])
        common = self._common
        common.turn, common.heard, common.progress = found.turn, found.heard, progress_of(found)
        common.problems = self.undelivered.load(found)
        return msgspec.structs.replace(found, undelivered=tuple(self.undelivered.events))

    def _restore_own(self) -> Restored:
        """What is saved under the key of this one, once its owner is checked and its files are in order."""
        signal, schedule = read_state(self.store, self._key)
        found = restore(signal, schedule, partial := read_value(self.store, "partial", self._key, SavedPartial))
        for saved in (signal, schedule):
            if saved is not None:
                self._check_owner(saved.owner, busy=not isinstance(found.state, Flat))
        if found.stale_schedule:
            self.store.delete("schedule", self._key)
        if found.partial is not None:
            self._write("partial", found.partial)
        self._saved = found.state
        held = position_of(found.state)
        self._levels_ahead = partial is not None and (held is None or held.signal.id != partial.signal_id)
        self.progress = progress_of(found)
        self._decided_with = found.setup
        return found

    def ended(self) -> list[Closed | Cancelled]:
        """As :meth:`bknb.live.saved_of_all_places.OfAllPlaces.ended_before` of the restored states; raises the same."""
        return self._common.ended_before(self.states)

    def late(self, step: int = MINUTE_MS, grid: BarGrid | None = None) -> dict[Decision, int]:
        """As :meth:`bknb.live.saved_of_all_places.OfAllPlaces.late_before` of the restored states; raises the same."""
        return self._common.late_before(self.states, step, grid)

    def holes(self) -> list[Hole]:
        """The ranges ``[first, end)`` of minutes (UTC ms) that earlier processes of this run went on without.

        Those behind the restored last minute are removed; errors as for :meth:`ended`.
        """
        return self._common.holes_before()

    def _check_owner(self, saved: Owner, *, busy: bool) -> None:
        mine = self.owner if busy else msgspec.structs.replace(self.owner, execution=saved.execution)
        if saved == mine:
            return
        names = [name for name in Owner.__struct_fields__ if getattr(saved, name) != getattr(mine, name)]
        differences = "; ".join(f"{name} {getattr(saved, name)!r} is not {getattr(mine, name)!r}" for name in names)
        raise StateError(
            f"the saved state of {self.owner.strategy!r} on {self.owner.symbol} belongs to another run: {differences}\n"
            f"start it as it was saved: {line_to_resume(saved)}\n"
            "with .stop() behind it nothing new is opened; or give the strategy another name, or choose another store"
        )

    # --- saving -------------------------------------------------------------------------------------------------

    def save(
        self, state: State, events: tuple[Event, ...], progress: Progress, *, filled_late: Lateness | None = None
    ) -> dict[Decision, int]:
        """Save a state and the events that led to it; returns when they are on the disk.

        Returns the orders of the state that were decided late and were not saved before, see :func:`late_orders`;
        ``filled_late`` are such orders that no state holds, as they filled at once.

        Raises
        ------
        StateError
            When it could not be saved; then the state from before still holds.
        """
        if isinstance(state, Asking | AskingAdds | Entering):
            return {}  # nothing was decided yet
        kept = kept_of(events)
        self.recording.note_turn(self._saved, state, events, progress.last_minute)
        self._common.ended.append(*(event for event in kept if isinstance(event, Closed | Cancelled)))
        self.undelivered.forget_heard()
        before = self.progress or Progress(last_minute=0)
        flat = isinstance(state, Flat) and isinstance(self._saved, Flat) and state.stays_flat == self._saved.stays_flat
        quiet = flat and (progress.last_asked, progress.memo) == (before.last_asked, before.memo)
        if quiet and not kept and self.undelivered.heard == self._common.heard:
            return {}  # a restarted run processes this minute once more
        filled, turn = filled_late or {}, self._common.turn + 1
        self._common.late.may_fail(filled)
        try:
            return self._write_state(state, kept, progress, filled)
        except StateError:
            with suppress(StateError):  # what the disk has of this turn holds until the next one is saved
                if filled and all(saved is None or saved.turn < turn for saved in read_state(self.store, self._key)):
                    self._common.late.take_back()
            raise

    def save_heard(self) -> None:
        """Save what listeners have heard since the last save, so that it is not told again.

        Raises
        ------
        StateError
            When it could not be saved.
        """
        self.recording.save_at_end()
        self.undelivered.forget_heard()
        if self.undelivered.heard > self._common.heard and self.newest is not None:
            self._write_state(self._saved, (), self._own(self.newest), {})

    def save_progress(self, progress: Progress) -> None:
        """Save what was saved last once more, and how far the run has come; nothing else changes.

        Raises
        ------
        StateError
            When it could not be saved.
        """
        self._write_state(self._saved, (), self._own(self.newest or progress), {})

    def _own(self, newest: Progress) -> Progress:
        """How far the run has come, with what is its own of that: how far what is here was worked on and managed."""
        own = self.progress
        last_minute = newest.last_minute if own is None or isinstance(self._saved, Flat) else own.last_minute
        last_managed = None if own is None else own.last_managed
        return msgspec.structs.replace(newest, last_minute=last_minute, last_managed=last_managed)

    def save_postponed(self, state: Holding | Opening) -> dict[Decision, int]:
        """Save the restored state once more, with orders that are carried out later; what was undelivered stays so.

        It is the newest turn of all places then: what the strategy keeps is that of the one before it.

        Returns the orders that became late, see :func:`late_orders`.

        Raises
        ------
        StateError
            When it could not be saved; then the state from before still holds.
        """
        own, newest = self.progress, self.newest
        assert own is not None  # something was restored  # noqa: S101
        assert newest is not None  # noqa: S101
        progress = msgspec.structs.replace(self._own(newest), last_asked=own.last_asked)
        late = self._write_state(state, (), progress, {})
        self._common.progress = newest
        return late

    def _write_state(
        self, state: SavedState, kept: tuple[Kept, ...], progress: Progress, filled: Lateness
    ) -> dict[Decision, int]:
        """Write a state and what belongs to it; in memory everything is as before until all of it is on the disk.

        When the last steps fail (the trace beside a new position, the removal of an old schedule), the disk has the
        state of this turn and memory the one before: the run repeats the turn, whose number is then the higher one.
        """
        self.recording.save()
        self.undelivered.make_room()
        late = self._write_late(state, filled)
        self._common.turn += 1
        if self.account is not None:
            self.account.before_turn(self._common.turn)
        shared = self._shared(state, kept, progress)
        written = False
        match state:
            case Waiting():
                self._write("schedule", saved_schedule(state, shared))
            case Flat() | Holding() | Opening():
                written = self._write_levels(position_of(state))
                self._write("signal", saved_signal(state, shared))
                self._mark_open(position_of(state), written=written)
        if isinstance(self._saved, Waiting) and not isinstance(state, Waiting):
            self.store.delete("schedule", self._key)
        if self.account is not None:
            self.account.after_turn()
        self.progress = self._common.progress = progress
        self._saved = state
        self._levels_ahead = self._levels_ahead and not written
        self._decided_with, self._common.heard = shared.setup, self.undelivered.heard
        self.undelivered.add(kept)
        self.undelivered.tidy(self._common.heard)
        with suppress(StateError):  # the next turn does it
            self._common.late.take_back(kept=filled)
        return late

    def save_holes(self, holes: tuple[Hole, ...]) -> tuple[Hole, ...]:
        """Save ranges of minutes the run goes on without; returns those that were not saved before.

        Raises
        ------
        StateError
            When they could not be saved; then none is.
        """
        return self._common.holes.append(*holes)

    def _shared(self, state: SavedState, kept: tuple[Kept, ...], progress: Progress) -> Shared:
        undelivered = self.undelivered
        known = any(not isinstance(state, Flat) and row.id == state.signal.id for row in signals_of(self._saved))
        return Shared(
            owner=self.owner,
            turn=self._common.turn,
            **msgspec.structs.asdict(progress),
            setup=None if isinstance(state, Flat) else self._decided_with if known else self._setup,
            results=undelivered.results + len(kept),
            heard=undelivered.heard,
            undelivered=undelivered.beside_state(kept),
            places=self._common.places,
        )

    def _write(self, kind: str, value: SavedSignal | SavedSchedule | SavedPartial) -> None:
        self.store.write(kind, self._key, msgspec.json.encode(value))

    def late_order_name(self, decision: Decision) -> str:
        """What a late order of the saved state is called in messages."""
        return late_order_name(self._saved, decision)

    def _write_late(self, state: State, filled: Lateness) -> dict[Decision, int]:
        """Save the orders of a state that are late and were not before; a decision made again replaces its time."""
        before = late_orders(self._saved)
        late = {decision: at for decision, at in late_orders(state).items() if before.get(decision) != at}
        every = (late | dict(filled)).items()
        self._common.late.append(*(SavedLate(moment=when, order=role, decided_at=at) for (when, role), at in every))
        return late

    def _write_levels(self, state: Holding | None) -> bool:
        """Save the milestones that a position has passed; returns whether they are others than before."""
        if state is None:
            return False
        before = self._on_disk(state) if self._levels_ahead else same_position(state, self._saved)
        profit, loss = (0, 0) if before is None else (before.profit_level, before.loss_level)
        if (profit, loss) == (state.profit_level, state.loss_level) and not self._levels_ahead:
            return False
        self._levels_ahead = True
        self._write("partial", saved_partial(state, self.owner, self._common.turn, profit, loss))
        return True

    def _mark_open(self, state: Holding | None, *, written: bool) -> None:
        """Leave a trace of a new position beside it: should its file be deleted, the next start notices."""
        if state is not None and not written and same_position(state, self._saved) is None:
            self._write("partial", saved_partial(state, self.owner, self._common.turn, 0, 0))

    def _on_disk(self, state: Holding) -> Holding | None:
        """The position as a restart would find it; a turn that failed at its last steps is on the disk."""
        partial = read_value(self.store, "partial", self._key, SavedPartial)
        return same_position(state, restore(*read_state(self.store, self._key), partial).state)
