"""A strategy with several places: one loop asks it, and each place has a loop with a signal of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..domain.competing_entries import read_signals
from ..domain.lifecycle_inputs import Answer, Answers
from ..domain.signal import OpenSignal, Signal
from ..domain.signal_validation import STOPPED, is_list
from ..domain.signals_by_place import SignalsByPlace, signals_by_place
from ..domain.states import Flat, Rules, State, rejection, signals_of
from .closed_trades_position_and_equity import RunOfLoop, position_now
from .strategy_loop import StrategyLoop

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.run_seen_by_strategy import RunSeen
    from .leg_account import LegAccount
    from .verdicts_of_another_run import VerdictsOfAnotherRun


def began(state: State) -> int:
    """When what is oldest in a state was opened, or ordered where it waits (UTC ms); 0 where there is nothing."""
    first = next(iter(signals_of(state)), None)
    if first is None:
        return 0
    return first.pending_at if isinstance(first, OpenSignal) else first.scheduled_at


class PlaceLoop(StrategyLoop):
    """The loop of one place: it is given the signals for it, and ``manage`` is asked about them.

    Attributes
    ----------
    answered_at
        When it was given signals last, UTC ms.
    after
        The moment (UTC ms) after which it may be given some again.
    """

    answered_at = after = -1

    @property
    def is_taken(self) -> bool:
        """Whether something waits or is open in it."""
        return not self.is_free


class PlacesLoop(StrategyLoop):
    """The loop that asks a strategy with several places, and gives each signal to the loop of its place.

    ``state`` is that of the place that is the oldest, of those in which anything is.

    Parameters
    ----------
    make
        Returns the loop of a place that had none, by its name.
    options
        As of :class:`bknb.engine.strategy_loop.StrategyLoop`.

    Attributes
    ----------
    places_by_name
        The loops of places that were ever taken, by name.
    told_until
        Called with a moment (UTC ms) before positions are shown: what is open is told the extremes of candles before.
    """

    has_places = True

    def __init__(self, *, make: Callable[[str], PlaceLoop], **options: Any) -> None:
        super().__init__(**options)
        self._make, self.places_by_name = make, dict[str, PlaceLoop]()
        self.sources.run = _run_of(self)
        self.told_until: Callable[[int], None] = lambda _when: None

    @property
    def busy(self) -> list[PlaceLoop]:
        """The loops of places in which anything is, the oldest first, then by name."""
        found = [each for each in self.places_by_name.values() if type(each.state) is not Flat]
        return sorted(found, key=lambda each: (began(each.state), each.rules.place))

    @property
    def is_free(self) -> bool:
        """Whether the strategy may be asked: a place is free."""
        return sum(each.is_taken for each in self.places_by_name.values()) < self.strategy.places

    def place_of(self, name: str) -> PlaceLoop:
        """The loop of a place; one that was never taken is made."""
        place = self.places_by_name.get(name)
        if place is None:
            place = self.places_by_name[name] = self._make(name)
            place.sources = self.sources  # one memo, and one run that is seen
        return place

    def refresh(self) -> None:
        """Take over the state of the oldest place."""
        self.state = next((each.state for each in self.busy), Flat())

    def by_place(self, signals: Sequence[Signal], when: int) -> SignalsByPlace:
        """Signals of a moment (UTC ms) by the place that each is for, as far as that may have one."""
        taken = {name for name, each in self.places_by_name.items() if each.is_taken or each.after >= when}
        busy = {each.rules.place: each.state for each in self.busy}
        ids = {signal.id for state in busy.values() for signal in signals_of(state)}
        leaving = busy.keys() - taken
        return signals_by_place(signals, taken=taken, leaving=leaving, ids=ids, count=self.strategy.places)

    async def _answered(self, answer: object, when: int, price: float) -> None:
        read = read_signals(answer if is_list(answer) else [answer], negative=self.rules.negative)
        faults = [*read.faults]
        found = self.by_place(read.signals, when)
        self.records.places_taken += found.left_out
        places = found.places
        if self.wait_turn is not None and places:
            await self.wait_turn(when, read.score)
        if places and not self.may_open():
            places = {}
            faults.append(STOPPED)
        told = [(fault, answer) for fault in faults] + [(each.reason, each.signal) for each in found.refused]
        if told:
            await self.deliver(tuple(rejection(self.rules, when, price, (reason,), of) for reason, of in told))
        await self._give(places, when, price)
        self.refresh()

    async def _give(self, places: Mapping[str, tuple[Signal, ...]], when: int, price: float) -> None:
        """Give each place the signals for it, which compete."""
        for name, signals in places.items():
            await self._give_one(name, signals, when, price, self.decided_at(when, "entry"))

    async def _give_one(
        self, name: str, signals: tuple[Signal, ...], when: int, price: float, decided_at: int | None
    ) -> None:
        place = self.place_of(name)
        place.answered_at = place.now = when
        if len(signals) == 1:
            await place.take(Answer(when, price, signals[0], decided_at))
        else:
            await place.take(Answers(when, price, signals, decided_at))


def places_loop(options: Mapping[str, Any]) -> PlacesLoop:
    """The loop of a strategy with several places; ``options`` as of :class:`bknb.engine.strategy_loop.StrategyLoop`."""
    rules: Rules = options["rules"]
    account: LegAccount | VerdictsOfAnotherRun | None = options["places"] if rules.sized else None

    def make(place: str) -> PlaceLoop:
        own: dict[str, Any] = {"rules": rules._replace(place=place)}
        if account is not None:
            part = account.at_place(place)
            own |= {"places": part, "step_with": part.step}
        return PlaceLoop(**{**options, **own})

    return PlacesLoop(make=make, **options)


class RunOfPlaces(RunOfLoop):
    """The run of a strategy with several places as it sees it."""

    _loop: PlacesLoop

    def _positions(self, when: int) -> tuple[HeldPosition, ...]:
        self._loop.told_until(when)
        found = (position_now(each, when) for each in self._loop.busy)
        return tuple(each for each in found if each is not None)


def _run_of(loop: PlacesLoop) -> Callable[[], RunSeen | None]:
    held = ref(loop)

    def seen() -> RunSeen | None:
        return None if (loop := held()) is None else RunOfPlaces(loop)

    return seen
