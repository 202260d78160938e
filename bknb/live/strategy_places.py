"""The loops of a live strategy with several places: one asks it, and each place has a loop and a saved state.

What it answers for several places is saved once before the first of them acts, see ``saved_answers_of_places``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..domain.late_orders import OldPrice
from ..domain.lifecycle import Flat, Input, State
from ..domain.market_clock_protocol import NEVER
from ..domain.recovery import Restored
from ..domain.signal import Signal
from ..domain.signal_events import Event
from ..domain.valid_and_until import counted_again
from ..engine.records import FailureKind
from ..engine.strategy_loop import StrategyLoop
from ..engine.strategy_places import PlaceLoop, PlacesLoop, RunOfPlaces
from .live_strategy_loop import LiveLoop
from .on_event_loop import on_loop
from .record_keeping import RecordKeeping
from .run_progress import Progress, Reached
from .saved_answers_of_places import SavedAnswers, read_answers, save_answers, saved_signals

if TYPE_CHECKING:
    from ..engine.call_by_name import ManageQuestion
    from ..market.strategy_context import Context
    from .live_leg_account import LiveLegAccount
    from .plan import LivePlan

_NOTHING = Flat()


class KeepingOfPlaces(RecordKeeping):
    """Saves how far the run of a strategy with several places has come; its states are saved by its places."""

    loop: LivePlacesLoop

    def _state(self) -> State:
        return self.saver.state

    def _count_again(self) -> None:
        for each, _ in self.loop.kept():
            each.state = counted_again(each.state, each.rules)

    def _last_managed(self) -> int:
        ordinary = self.loop.places_by_name.get("")
        return 0 if ordinary is None else ordinary.last_managed


class KeepingOfPlace(RecordKeeping):
    """Saves the states of one place of a strategy."""

    loop: LivePlaceLoop

    def _progress(self) -> Progress:
        found, saved = super()._progress(), self.saver.progress
        if saved is None or self.loop.is_told or isinstance(self.loop.state, Flat):
            return found
        return msgspec.structs.replace(found, last_minute=saved.last_minute)  # changed by hand within a minute


class LivePlaceLoop(PlaceLoop):
    """The loop of one place of a live run, or of what its strategy has open from when it had one place."""

    def __init__(
        self, asks: LivePlacesLoop, keeping: KeepingOfPlace, account: LiveLegAccount | None, **options: Any
    ) -> None:
        step = None if account is None else account.step
        super().__init__(
            save=keeping.save, decided_at=keeping.decided_at, state=keeping.saver.state, step_with=step, **options
        )
        self._asks, self.keeping, self._account = asks, keeping, account
        keeping.loop = self
        saved = keeping.saver.progress
        self.last_managed = (saved and saved.last_managed) or 0
        self.after = self.last_managed - self.rules.model.fills_at_open  # where manage has ended what was here
        if isinstance(self.state, Flat):  # in the minutes that it was told it may have had something
            self.after = max(self.after, self.reached)

    async def take(self, given: Input, *, old_price: OldPrice | None = None) -> None:
        """Feed one input to the lifecycle; of a minute by whose end its broker has closed the position, that it has."""
        given = await self._asks.with_broker(self.state, given, self.rules)
        await super().take(given, old_price=old_price)

    @property
    def due(self) -> int:
        """The moment (UTC ms) at which the clock, or funding, changes something."""
        found = super().due
        return found if self._account is None else min(found, self._account.liquidation.next_change())

    @property
    def is_told(self) -> bool:
        """Whether it was told the minute that is being worked on, or is; so where none is."""
        return self.now >= self._asks.minute

    @property
    def reached(self) -> int:
        """When the last minute opened that it was told (UTC ms), by what is saved; -1: none is."""
        saved = self.keeping.saver.progress
        return -1 if saved is None else saved.last_minute

    @property
    def asked(self) -> int:
        """The moment of the newest question that it knows of (UTC ms), by what is saved; -1: of none."""
        saved = self.keeping.saver.progress
        return -1 if saved is None or saved.last_asked is None else saved.last_asked

    def fail(self, kind: FailureKind, error: BaseException, when: int | None, *, emit: bool = True) -> None:
        """Count a failure as one of its strategy."""
        self._asks.fail(kind, error, self.now if when is None else when, emit=emit)

    def note(self, kind: FailureKind, topic: str, text: str, when: int, *, emit: bool = True) -> None:
        """Count what went wrong as of its strategy."""
        self._asks.note(kind, topic, text, when, emit=emit)

    def emit(self, event: Event) -> None:
        """Give an event to the listeners, as its strategy does."""
        self._asks.emit(event)


class LivePlacesLoop(PlacesLoop, LiveLoop):
    """The loop that asks a live strategy with several places, and gives each signal to the loop of its place.

    ``state`` is that of the oldest place in which anything is; nothing is in the loop itself.

    Parameters
    ----------
    keeping
        Saves how far the run has come.
    plan, options
        As of :class:`bknb.live.live_strategy_loop.LiveLoop`.

    Attributes
    ----------
    minute
        The minute (UTC ms) that is given to one place after the other; -1: none is.
    """

    minute = -1

    def __init__(self, *, plan: LivePlan, keeping: KeepingOfPlaces, **options: Any) -> None:
        self._plan, self._keeping_of_all = plan, keeping
        self._follows: Callable[..., Any] = options["entries"].account.follow
        self._pending: SavedAnswers | None = None  # an answer of which some places may not know
        self._answer: dict[str, tuple[Signal, ...]] = {}  # the parts of it that were not given
        super().__init__(make=self._made, plan=plan, keeping=keeping, **options)
        seen = RunOfPlaces(self, partial(on_loop, asyncio.get_running_loop()))
        self.sources.run = lambda: seen

    def go_on(self, found: Restored, reached: Reached) -> None:
        """Go on from what is saved of the places, and with an answer that some of them did not get.

        Raises
        ------
        StateError
            When something cannot be read, or saved: what a release without places reads is to refuse it.
        """
        super().go_on(found, reached)
        saver, self._reached, self.last_managed = self._keeping_of_all.saver, reached, 0
        for name in ("", *saver.of_places) if saver.state != _NOTHING else saver.of_places:
            self.place_of(name)
        saver.save_progress(reached.progress(0))
        answers = read_answers(saver.store, saver.owner)
        if answers is None or answers.when < max(reached.last_asked or 0, reached.known):  # it went on since
            return
        answer = answers.answer(negative=self.rules.negative)
        self._answer = {name: part for name, part in answer.items() if self._is_missing(name, answers.when)}
        if self._answer:
            self._pending, reached.last_asked = answers, answers.asked_before

    @property
    def state(self) -> State:
        """That of the oldest place in which anything is."""
        busy = self.busy
        return busy[0].state if busy else _NOTHING

    @state.setter
    def state(self, state: State) -> None:
        """Nothing is in the loop itself."""

    @property
    def states(self) -> tuple[State, ...]:
        """Those of the places in which anything is, the oldest first."""
        return tuple(each.state for each in self.busy)

    def loops(self) -> tuple[StrategyLoop, ...]:
        """The loops in which a question may be under way."""
        return (self, *self.places_by_name.values())

    @property
    def live(self) -> list[LivePlaceLoop]:
        """The loops of places in which anything is, the oldest first, then by name."""
        return [each for each in self.busy if isinstance(each, LivePlaceLoop)]

    def kept(self) -> list[tuple[StrategyLoop, RecordKeeping]]:
        """The loops that hold something, or may, and what saves it."""
        places = [each for each in self.places_by_name.values() if isinstance(each, LivePlaceLoop)]
        return [(each, each.keeping) for each in places]

    def _made(self, name: str) -> LivePlaceLoop:
        of_all = self._keeping_of_all
        keeping = KeepingOfPlace(
            self._plan, of_all.saver.of_place(name) if name else of_all.saver, reached=self._reached,
            records=of_all.records, failures=of_all.failures,
        )  # fmt: skip
        rules, account = self.rules._replace(place=name), self._in_money
        if account is not None and name:
            account = cast("LiveLegAccount", account.shared.place(account, name))
            account.go_on_in_place(keeping.saver.state)
            if self._plan.broker is None:
                account.waiting.rules = rules
        return LivePlaceLoop(
            self, keeping, account, rules=rules, strategy=self.strategy, window=self.window,
            records=self.records, places=self.places if account is None else account, listeners=self.listeners,
            follow=partial(self._follows, place=name), may_open=self.may_open,
        )  # fmt: skip

    # --- the clock ----------------------------------------------------------------------------------------------

    @property
    def due(self) -> int:
        """The moment (UTC ms) at which the clock ends something in a place."""
        return min((each.due for each in self.busy), default=NEVER)

    # --- answers ------------------------------------------------------------------------------------------------

    def has_reached(self, minute: int) -> bool:
        """Whether a place has saved a minute (UTC ms): then all were asked at its begin, and the memo knows of it."""
        places = (each for each in self.places_by_name.values() if isinstance(each, LivePlaceLoop))
        return any(each.reached >= minute for each in places)

    def is_free_at(self, when: int) -> bool:
        """Whether the strategy may be asked at a moment (UTC ms): a place is free then."""
        taken = sum(each.is_taken or each.after >= when for each in self.places_by_name.values())
        return taken < self.strategy.places

    def has_answered(self, when: int) -> bool:
        """Whether the strategy has answered at a moment (UTC ms), and some places did not get their part of that."""
        return self._pending is not None and self._pending.when == when

    def _is_missing(self, name: str, when: int) -> bool:
        place = self.places_by_name.get(name)
        return not isinstance(place, LivePlaceLoop) or place.asked < when

    async def ask(
        self, when: int, *, patient: bool = False, about: ManageQuestion | None = None,
        answer: Callable[[], Any] | None = None, context: Context | None = None,
    ) -> None:  # fmt: skip
        """Ask the strategy while a place is free; what it has answered already is given to the places without it."""
        pending = self._pending
        if pending is None or pending.when != when:
            await super().ask(when, patient=patient, about=about, answer=answer, context=context)
            return
        self.now, self.sources.memo = when, pending.memo
        await self._give_pending(pending)

    async def _give(self, places: Mapping[str, tuple[Signal, ...]], when: int, price: float) -> None:
        if len(places) < 2:
            await super()._give(places, when, price)
            return
        before = self._keeping_of_all.saver.newest
        answers = SavedAnswers(
            owner=self._keeping_of_all.saver.owner,
            when=when,
            price=price,
            asked_before=None if before is None else before.last_asked,
            decided_at=self.decided_at(when, "entry"),
            memo=self.sources.memo,
            signals=saved_signals(places, negative=self.rules.negative),
        )
        save_answers(self._keeping_of_all.saver.store, answers)
        self._pending, self._answer = answers, dict(places)
        await self._give_pending(answers)

    async def _give_pending(self, answers: SavedAnswers) -> None:
        """Give each place that did not get it its part of an answer; orders for a broker are of now."""
        now = self._plan.broker is not None
        while self._answer:
            name, signals = next(iter(self._answer.items()))
            decided_at = self.decided_at(answers.when, "entry") if now else answers.decided_at
            await self._give_one(name, signals, answers.when, answers.price, decided_at)
            del self._answer[name]
        self._pending = None
