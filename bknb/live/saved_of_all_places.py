"""What is saved once for all places of a strategy on a symbol: results, late orders, holes, how far its run came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ..domain.late_orders import Decision
from ..domain.lifecycle import position_of, signals_of
from ..domain.recovery import Owner, Restored, SavedState
from ..domain.signal import key_of
from ..domain.signal_events import Cancelled, Closed
from ..market.bar_slots import bar_close
from ..ports import StateStore
from .ended_journal import EndedJournal
from .hole_journal import Hole, HoleJournal
from .late_journal import LateJournal
from .recording import Recording
from .results_not_heard import Undelivered
from .run_progress import Progress

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid
    from .account_saver import LegAccountSaver


class OfAllPlaces:
    """What the places of one strategy on one symbol have together, of which most have one.

    Parameters
    ----------
    store, owner
        As of :class:`StateSaver`.

    Attributes
    ----------
    turn
        How many turns came before, in all of them.
    heard
        How many results all listeners have heard, as the disk has it.
    progress
        How far the run had come when anything of it was saved last; ``None``: nothing is.
    places
        How many places the strategy has; unset: it has one, and has nothing in others.
    problems, account, undelivered
        As of :class:`StateSaver`.
    recording
        What the run has worked on, and notes of it.
    """

    def __init__(self, store: StateStore, owner: Owner) -> None:
        key = (owner.strategy, owner.symbol)
        self.undelivered = Undelivered(store, *key)
        self.ended, self.late, self.holes = EndedJournal(store, key), LateJournal(store, key), HoleJournal(store, key)
        self.recording = Recording(store, key)
        self.turn = self.heard = 0
        self.progress: Progress | None = None
        self.places: int | msgspec.UnsetType = msgspec.UNSET
        self.problems: list[str] = []
        self.account: LegAccountSaver | None = None

    def ended_before(self, states: Sequence[SavedState]) -> list[Closed | Cancelled]:
        """The closed and cancelled results of earlier processes of this run, in order.

        One whose signal is still open in a restored state is removed: a crash came before the rest of its turn, and the
        run comes to an end of that signal again, perhaps at another moment.

        Raises
        ------
        StateError
            When the place cannot be listed or written; what cannot be read is one of the :attr:`problems`.
        """
        self.ended.read(self.problems)
        return self.ended.without({key_of(signal) for state in states for signal in signals_of(state)})

    def late_before(self, states: Sequence[SavedState], step: int, grid: BarGrid | None) -> dict[Decision, int]:
        """The orders of this run that earlier processes decided late; see :class:`bknb.engine.records.Records`.

        Those that no restored state knows of are removed; bars have ``step`` ms. Errors as for :meth:`ended_before`.
        """
        self.late.read(self.problems)
        if (at := self.progress) is None:
            return self.late.decisions()
        known = bar_close(at.last_minute, step, grid)
        return self.late.without_orphans(states, known=known, last_asked=at.last_asked, filled=self._filled(states))

    def holes_before(self) -> list[Hole]:
        """The ranges of minutes that earlier processes went on without; see :meth:`StateSaver.holes`."""
        self.holes.read(self.problems)
        holes, at = self.holes, self.progress
        return sorted(holes.items()) if at is None else holes.up_to(at.last_minute)

    def _filled(self, states: Sequence[SavedState]) -> set[int]:
        """The moments (UTC ms) of the fills of positions in restored states and of the trades that were read."""
        closed = [each for each in self.ended.items() if isinstance(each, Closed)]
        found = {moment for each in closed for moment in (each.signal.pending_at, each.closed_at)}
        for held in filter(None, map(position_of, states)):
            found |= {held.signal.pending_at} if held.book is None else {fill.at for fill in held.book.fills}
        return found


def places_saved(store: StateStore, under: tuple[str, str]) -> list[str]:
    """The names of the places of a strategy on a symbol of which something is saved beside its own state, sorted.

    Raises
    ------
    StateError
        When the store cannot be listed.
    """
    keys = {key for kind in ("signal", "schedule", "partial") for key in store.keys(kind, under)}
    return sorted(key[2] for key in keys if len(key) == 3)


def newest_of(found: Restored, places: Sequence[Restored]) -> Restored:
    """The restored state of a strategy, with how far its run has come by that and by its places.

    The last turn of all of them is the newest, and has the memo, the schedule and the results that were not heard.
    """
    every = [found, *places]
    newest = max(every, key=lambda each: each.turn)
    return msgspec.structs.replace(
        newest,
        state=found.state,
        last_managed=found.last_managed,
        last_minute=max((each.last_minute for each in every if each.last_minute is not None), default=None),
        last_asked=max((each.last_asked for each in every if each.last_asked is not None), default=None),
        setup=next((each.setup for each in every if each.setup is not None), None),
    )
