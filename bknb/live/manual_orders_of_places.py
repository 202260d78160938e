"""Which place of a strategy a decision by hand is for: the one that is named, or the only one it can be for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from ..domain.lifecycle import Flat, Holding, Opening, Waiting, signals_of
from ..domain.manage_answers import Close, Reduce
from ..domain.position_book import PlannedMove
from ..domain.signal import OpenSignal, Signal
from ..engine.strategy_loop import StrategyLoop
from ..errors import StateError, UsageError
from .broker_account import Account
from .manual_instructions import Action, name_of
from .manual_refusals import waiting_adds

if TYPE_CHECKING:
    from ..engine.strategy_places import PlacesLoop

PlannedInLoop: TypeAlias = tuple[StrategyLoop, PlannedMove]
_DECISIONS: Final = ("open", "close", "reduce", "move", "cancel", "activate")


def loops_of(loop: StrategyLoop) -> list[StrategyLoop]:
    """The loops in which something may be open or wait: that of a strategy, or of its places, the oldest first."""
    places = _places_of(loop)
    return [loop] if places is None else [*places.busy]


def planned_moves(loop: StrategyLoop, when: int) -> list[PlannedInLoop]:
    """The moves by hand that are due at a moment (UTC ms) in each place, in their order."""
    return [
        (each, one)
        for each in loops_of(loop)
        if isinstance(each.state, Holding) and each.state.book is not None
        for one in each.state.book.planned
        if one.due <= when
    ]


def loops_to_flatten(loop: StrategyLoop, place: str | None) -> list[StrategyLoop]:
    """The loops of all places, or of the one that is named; raises ``UsageError`` where nothing is there."""
    places = _checked(loop, place)
    return [loop] if places is None else [*places.busy] if place is None else [_named(places, place)]


async def in_each(loops: Sequence[StrategyLoop], decide: Callable[[StrategyLoop], Awaitable[str]]) -> str:
    """What a decision leads to in each loop, as lines; one that cannot be carried out keeps back no other.

    Raises
    ------
    UsageError, StateError
        Where one of them was not carried out: why, and what was carried out in the others.
    """
    done, refused = list[str](), list[UsageError | StateError]()
    for loop in loops:
        try:
            done.append(await decide(loop))
        except (UsageError, StateError) as error:
            refused.append(error)
    texts = [*filter(None, done)]
    if not refused:
        return "\n".join(texts)
    if len(loops) == 1:
        raise refused[0]
    unsaved = any(isinstance(each, StateError) for each in refused)
    told = dict.fromkeys([*map(str, refused), *(f"carried out: {text}" for text in texts)])
    raise (StateError if unsaved else UsageError)("\n".join(told))


def loop_to_act_on(loop: StrategyLoop, action: Action, place: str | None) -> StrategyLoop:
    """The loop in which a decision about what is open or waits is carried out.

    Raises
    ------
    UsageError
        When a place is named and nothing is there, or none is and there are several that it can be for.
    """
    places = _checked(loop, place)
    return loop if places is None else _named(places, place) if place is not None else _to_act_on(places, action)


def loop_to_open_in(loop: StrategyLoop, signal: Signal, place: str | None, when: int) -> StrategyLoop:
    """The loop in which a signal at a moment (UTC ms) is opened: of the place that is named, or of one that is free.

    Raises
    ------
    UsageError
        When that is not free, or no place is.
    """
    places = _checked(loop, place)
    return loop if places is None else _to_open_in(places, signal, place, when)


def _checked(loop: StrategyLoop, place: str | None) -> PlacesLoop | None:
    """The loop, where its strategy has several places."""
    places = _places_of(loop)
    if places is None and place is not None:
        raise UsageError(f"{_who(loop)} has one place, got place={place!r}\nleave place out")
    return places


def decisions_in(loop: StrategyLoop, account: Account) -> tuple[str, ...]:
    """What can be decided by hand now, by name."""
    places = _places_of(loop)
    if places is None:
        return _decisions(loop, account)
    found = {name for each in places.busy for name in _decisions(each, account)}
    return tuple(name for name in _DECISIONS if name in found or (name == "open" and loop.is_free))


def _places_of(loop: StrategyLoop) -> PlacesLoop | None:
    return loop if loop.has_places else None  # type: ignore[return-value]  # that is what it says


def _to_open_in(loop: PlacesLoop, signal: Signal, place: str | None, when: int) -> StrategyLoop:
    """The loop of the place that a signal is for: that of its name, or one that is free."""
    if place is not None and signal.place not in (None, place):
        raise UsageError(f"place={place!r} and Signal(place={signal.place!r}) are two places\nleave one of them out")
    name = signal.place if place is None else place
    found = loop.by_place([msgspec.structs.replace(signal, place=name)], when)
    for refused in found.refused:
        raise UsageError(f"open needs a valid Signal: {refused.reason.text}")
    for free in found.places:
        return loop.place_of(free)
    needs = "a place that is free" if name is None else f"the place {name!r} to be free, or a place left for it"
    raise UsageError(f"open needs {needs}; {_there_is(loop)}\nclose one, or cancel what waits")


def _named(loop: PlacesLoop, place: str) -> StrategyLoop:
    for each in loop.busy:
        if each.rules.place == place:
            return each
    raise UsageError(f"nothing is in the place {place!r}; {_there_is(loop)}")


def _to_act_on(loop: PlacesLoop, decision: Action) -> StrategyLoop:
    """The loop of the place of an order that is named by its id, or of the only one in which there is any to act on."""
    busy, name = loop.busy, name_of(decision)
    order = None if isinstance(decision, Close | Reduce) else decision.id
    if isinstance(order, str):
        for each in busy:
            if any(order == signal.id or order.startswith(f"{signal.id}#") for signal in signals_of(each.state)):
                return each
        raise UsageError(
            f"no order that waits has the id {order!r}; {_there_is(loop)}\ngive one of these ids, or place="
        )
    can = [each for each in busy if name in _decisions(each, None)]
    if len(can) > 1:
        text = f"{name} needs the place it is for; {_there_is(loop)}"
        by_id = "" if isinstance(decision, Close | Reduce) else ", or the order by its id="
        raise UsageError(f"{text}\nname it, such as place={can[0].rules.place!r}{by_id}")
    return can[0] if can else busy[0] if busy else loop


def _decisions(loop: StrategyLoop, account: Account | None) -> tuple[str, ...]:
    """What can be decided by hand about the state of a loop; of an entry that has left for the broker nothing."""
    match loop.state:
        case Holding(leaving=None) as held:
            return ("close", "reduce", "move", "cancel") if waiting_adds(held) else ("close", "reduce", "move")
        case Opening() as opening if account is None or not account.has_left(opening):
            return ("cancel",)
        case Waiting(beside=beside):
            return ("cancel", "move") if beside else ("cancel", "move", "activate")
        case Flat():
            return ("open",)
        case _:
            return ()


def _who(loop: StrategyLoop) -> str:
    return f"{loop.rules.strategy} on {loop.rules.symbol}"


def _there_is(loop: PlacesLoop) -> str:
    """What there is in each place, in words."""
    found = [_in_place(each) for each in loop.busy]
    return f"{_who(loop)} has {', '.join(found) or 'nothing open and nothing that waits'}"


def _in_place(loop: StrategyLoop) -> str:
    """What is open in a place, or waits there with its price, and the ids."""
    signals = signals_of(loop.state)
    if isinstance(signals[0], OpenSignal):
        return f"{signals[0].position} open in {loop.rules.place!r} ({signals[0].id})"
    waits = " and ".join(f"{each.position} waiting at {each.price_open:g} ({each.id})" for each in signals)
    return f"{waits} in {loop.rules.place!r}"
