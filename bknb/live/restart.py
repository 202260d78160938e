"""What a restart takes over of an earlier process: its state, its places and orders, and results nobody has heard."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from ..domain.interval import interval_ms
from ..domain.lifecycle import Flat, Holding, Opening, State, position_of, signals_of, waiting_signals
from ..domain.position_book import new_book, size_allowed
from ..domain.position_fills import Fill
from ..domain.recovery import Kept, Owner, Restored, SavedSetup
from ..domain.risk_request_and_verdict import place_of
from ..domain.run_notes import Life
from ..domain.signal import OpenSignal
from ..domain.signal_events import Cancelled, Closed
from ..engine.callback_names import call_callbacks
from ..engine.records import Records
from ..engine.registry import registry
from ..engine.risk_profile_places import RiskPlaces
from ..engine.strategy_loop import StrategyLoop
from ..events import messages, subjects
from ..market.bar_slots import bar_before, bar_close, slot_from
from ..ports import StateStore
from .hole_journal import Hole
from .orders_sent_to_broker import OrderDesk
from .plan import LivePlan
from .run_progress import Reached
from .runtime import Runtime
from .silent_or_late_market import earlier_holes_text
from .unwatched_positions import changed_setup, deleted_places, deleted_state, orders_without_a_broker, setup_of
from .user_code_in_threads import risk_outside
from .values_saved_before_events import StateSaver

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid
    from .live_strategy_loop import LiveLoop


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
        if self.has_places:
            self.saver.has_places(self._plan.strategy.places)
        ended, holes = self.saver.ended(), self.saver.holes()
        step, grid = self._plan.base_ms, reached.grid
        records.late = self.saver.late(step, grid)
        notices = self._notices(found, ended)
        for event in ended:
            records.add(event)
        records.held = tuple(fill for state in self.saver.states for fill in _held_fills(state))
        last_minute = self._minute_to_go_on_from(found, holes, step, grid)
        before = step if found.setup is None else interval_ms(found.setup.base)
        if last_minute is not None and before != step:  # bars of another length were worked on before
            last_minute = bar_before(last_minute + before, step, grid)
        reached.last_minute = _first_bar(self._begin(now), step, grid) if last_minute is None else last_minute
        reached.is_new = last_minute is None
        reached.last_asked, reached.volume_seen = found.last_asked, found.volume_seen
        reached.so_far = found.moments or None
        reached.done = reached.known
        self.saver.recording.note(self._life(reached))
        records.holes.extend(holes)
        if holes:
            base = self._plan.base if found.setup is None else found.setup.base
            records.warn(earlier_holes_text(holes, base, grid if base == self._plan.base else None))
        return found, notices

    def _life(self, reached: Reached) -> Life:
        plan = self._plan
        return Life(
            since=reached.known, code=plan.code, settings=msgspec.json.encode(plan.settings).decode(),
            execution=plan.execution, interval=plan.strategy.interval, parameters=self._setup.parameters,
            new=reached.is_new,
        )  # fmt: skip

    @property
    def has_places(self) -> bool:
        """Whether the strategy has several places, or something in places of a time when it had."""
        busy = any(not isinstance(place.state, Flat) for place in self.saver.of_places.values())
        return busy or self._plan.strategy.places > 1

    def _minute_to_go_on_from(self, found: Restored, holes: list[Hole], step: int, grid: BarGrid | None) -> int | None:
        """When the last bar opened that all places had worked on, UTC ms; ``None``: nothing is saved.

        A place that came to its end behind a hole had the others go on without the bars of that, too.
        """
        last, savers = found.last_minute, (self.saver, *self.saver.of_places.values())
        if last is None:
            return None
        busy = [each.progress for each in savers if each.progress and not isinstance(each.state, Flat)]
        if all(each.last_minute >= last for each in busy):
            return last
        closes = bar_close(last, step, grid)
        return last if any(end == closes for _, end in holes) else bar_before(last, step, grid)

    def _begin(self, now: int) -> int:
        """When a run of which nothing is saved begins (UTC ms): now, or with the weights that it has a part of."""
        weights = self._plan.strategy.portfolio_weights
        begin: int = now if weights is None else weights.begins(now)
        return begin

    def _notices(self, found: Restored, ended: list[Closed | Cancelled]) -> list[str]:
        store, owner = self._store, self._owner
        gone = deleted_state(store, owner, ended) if found.last_minute is None else ""
        alone = orders_without_a_broker(store, owner) if self._plan.broker is None else ""
        changed = [changed_setup(owner, before, self._setup) for before in self.saver.setups]
        without = [name for name, place in self.saver.of_places.items() if place.progress is None]
        lost = deleted_places(store, owner, without, ended)
        return [notice for notice in (gone, lost, alone, *changed, *self.saver.problems) if notice]

    async def take_over_orders(self, desk: OrderDesk, found: Restored, loop: LiveLoop, *, now: int) -> None:
        """Compare saved orders with those at the broker; what never left and is late by now (UTC ms) is one of now.

        Raises
        ------
        StateError
            When saved orders cannot be read, or the state with what is late cannot be saved.
        """
        for each, saved in loop.kept():
            state = desk.postponed(each.state, now=now)
            if state != each.state and isinstance(state, Holding | Opening):
                late = saved.saver.save_postponed(state)
                each.state = state
                for decision, decided_at in late.items():
                    saved.tell_late(decision, decided_at, "sent")
        await desk.start(*(each.state for each, _ in loop.kept()), when=now, undelivered=found.undelivered)

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
                signal=next(iter(signals_of(loop.state)), None),
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
        await call_callbacks(loop, event)


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


def take_places(places: RiskPlaces | None, *states: State) -> None:
    """Have the places of what is open or scheduled, also when the saved ones were lost.

    Raises
    ------
    StateError
        When a place cannot be saved.
    """
    if places is not None:
        for state in states:
            _take_place(places, state)


def _take_place(places: RiskPlaces, state: State) -> None:
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
        elif isinstance(signal, OpenSignal):
            places.opened(signal)
