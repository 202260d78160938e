"""What a restart takes over of an earlier process: its state, its places and orders, and results nobody has heard."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..domain.interval import interval_ms
from ..domain.lifecycle import Holding, Opening, State, position_of, signals_of, waiting_signals
from ..domain.position_book import new_book, size_allowed
from ..domain.position_fills import Fill
from ..domain.recovery import Kept, Owner, Restored, SavedSetup
from ..domain.risk_request_and_verdict import place_of
from ..domain.signal import OpenSignal
from ..domain.signal_events import Cancelled, Closed
from ..engine.records import Records
from ..engine.registry import registry
from ..engine.risk_profile_places import RiskPlaces
from ..engine.strategy_loop import StrategyLoop
from ..events import messages, subjects
from ..market.bar_slots import bar_before, bar_close, slot_from
from ..ports import StateStore
from .orders_sent_to_broker import OrderDesk
from .plan import LivePlan
from .run_progress import Reached
from .runtime import Runtime
from .saved_before_events import RecordKeeping
from .silent_or_late_market import earlier_holes_text
from .state_saver import StateSaver
from .unwatched_positions import changed_setup, deleted_state, orders_without_a_broker, setup_of
from .user_code_in_threads import risk_outside

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid


class Restart:
    """The start of a run on the state of an earlier one, if there was one.

    Parameters
    ----------
    plan
        The run.
    store
        Where its state is; acquired by the caller.

    Attributes
    ----------
    saver
        Has the state, and saves the next ones.
    """

    def __init__(self, plan: LivePlan, store: StateStore) -> None:
        self._plan = plan
        self._store = store
        self._owner = Owner(
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            symbol=plan.symbol,
            execution=plan.execution,
        )
        self._setup: SavedSetup = setup_of(plan.strategy, plan.settings, plan.base)
        self.saver = StateSaver(store, self._owner, self._setup)

    def take_over(self, records: Records, reached: Reached, *, now: int) -> tuple[Restored, list[str]]:
        """The saved state, and what is not as the last process left it, as sentences; ``now`` is the clock, UTC ms.

        What ended in earlier processes is added to the records, and how far they came to ``reached``.

        Raises
        ------
        StateError
            When the saved state cannot be used; or there is none, and orders that say that something may be open.
        """
        found = self.saver.restore()
        ended, holes = self.saver.ended(), self.saver.holes()
        step, grid = self._plan.base_ms, reached.grid
        records.late = self.saver.late(step, grid)
        notices = self._notices(found, ended)
        for event in ended:
            records.add(event)
        records.held = _held_fills(found.state)
        last_minute = found.last_minute
        before = step if found.setup is None else interval_ms(found.setup.base)
        if last_minute is not None and before != step:  # bars of another length were worked on before
            last_minute = bar_before(last_minute + before, step, grid)
        reached.last_minute = _first_bar(self._begin(now), step, grid) if last_minute is None else last_minute
        reached.is_new = last_minute is None
        reached.last_asked, reached.volume_seen = found.last_asked, found.volume_seen
        reached.so_far = found.moments or None
        reached.done = reached.known
        records.holes.extend(holes)
        if holes:
            base = self._plan.base if found.setup is None else found.setup.base
            records.warn(earlier_holes_text(holes, base, grid if base == self._plan.base else None))
        return found, notices

    def _begin(self, now: int) -> int:
        """When a run of which nothing is saved begins (UTC ms): now, or with the weights that it has a part of."""
        weights = self._plan.strategy.portfolio_weights
        begin: int = now if weights is None else weights.begins(now)
        return begin

    def _notices(self, found: Restored, ended: list[Closed | Cancelled]) -> list[str]:
        store, owner = self._store, self._owner
        gone = deleted_state(store, owner, ended) if found.last_minute is None else ""
        alone = orders_without_a_broker(store, owner) if self._plan.broker is None else ""
        changed = changed_setup(owner, found.setup, self._setup)
        return [notice for notice in (gone, alone, changed, *self.saver.problems) if notice]

    async def take_over_orders(
        self, desk: OrderDesk, found: Restored, loop: StrategyLoop, keeping: RecordKeeping, *, now: int
    ) -> None:
        """Compare saved orders with those at the broker; what never left and is late by now (UTC ms) is one of now.

        Raises
        ------
        StateError
            When saved orders cannot be read, or the state with what is late cannot be saved.
        """
        state = desk.postponed(found.state, now=now)
        if state != found.state and isinstance(state, Holding | Opening):
            late = self.saver.save_postponed(state)
            loop.state = state
            for decision, decided_at in late.items():
                keeping.tell_late(decision, decided_at, "sent")
        await desk.start(state, when=now, undelivered=found.undelivered)

    def tell_again(self, found: Restored, loop: StrategyLoop, *, now: int) -> Coroutine[Any, Any, None]:
        """Tell what was taken over, and the results that listeners have not heard.

        Returns what calls back for those of the last turn of the earlier process, whose callbacks may not have been
        called.
        """
        plan, records = self._plan, loop.records
        if found.last_minute is None:
            return _call_back(loop, [])
        subjects.resumed.emit(
            messages.Resumed(
                symbol=plan.symbol,
                strategy=plan.strategy.name,
                exchange=plan.exchange.name,
                when=now,
                behind_since=bar_close(found.last_minute, plan.base_ms, plan.grid),
                signal=next(iter(signals_of(found.state)), None),
                told_again=len(found.undelivered),
            )
        )
        known = {(type(end), end.signal.id, end.when) for end in records.ends}
        for event in found.undelivered:
            if (type(event), event.signal.id, event.when) not in known:
                records.add(event)
            loop.emit(event)
        return _call_back(loop, [event for event in found.undelivered if event.when >= found.last_minute])


def _first_bar(now: int, step: int, grid: BarGrid | None) -> int:
    """Open time (UTC ms) of the bar before the first that a new run works on, which is the first to open from now on.

    Examples
    --------
    >>> _first_bar(3_600_001, 3_600_000, None), _first_bar(7_200_000, 3_600_000, None)
    (3600000, 3600000)
    """
    return bar_before(slot_from(now, step, grid), step, grid)


async def _call_back(loop: StrategyLoop, events: list[Kept]) -> None:
    for event in events:
        await loop.call_back(event)


def _held_fills(state: State) -> tuple[tuple[Fill, OpenSignal], ...]:
    """The fills of the position of a state; events of this process tell of later ones alone."""
    held = position_of(state)
    if held is None:
        return ()
    book = held.book or new_book(held.signal, highest=held.highest, lowest=held.lowest)
    return tuple((fill, held.signal) for fill in book.fills)


def places_of(plan: LivePlan, runtime: Runtime, make: Callable[..., RiskPlaces]) -> RiskPlaces | None:
    """The places of the risk profile of a strategy; ``None``: it has none. ``make`` is as of :meth:`Runtime.places`."""
    if plan.strategy.risk is None:
        return None
    seconds = plan.settings.max_signal_generation_seconds
    risk = risk_outside(registry.risks.get(plan.strategy.risk), seconds=seconds)
    return runtime.places(risk, plan.store, wait_seconds=seconds, make=make)


def take_places(places: RiskPlaces | None, state: State) -> None:
    """Have the place of what is open or scheduled, also when the saved places were lost.

    Raises
    ------
    StateError
        When a place cannot be saved.
    """
    if places is None:
        return
    held = position_of(state)
    managed = None if held is None else held.book
    competing = waiting_signals(state)[1:]
    for other in competing:  # the first has the place for all of them
        places.release(other.symbol, other.strategy, other.id)
    for signal in signals_of(state):
        if signal in competing:
            continue
        if isinstance(signal, OpenSignal):
            place = place_of(signal, signal.pending_at, size=1.0 if managed is None else size_allowed(managed))
        else:
            place = place_of(signal, signal.scheduled_at)
        if not places.has(place):
            places.take(place)
