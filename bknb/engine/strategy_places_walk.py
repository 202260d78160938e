"""The walk over the minutes of a backtest for a strategy with several places: each is fed those that change it.

A place goes from minute to minute as a strategy with one does (:mod:`bknb.engine.minute_walk`). What comes first in any
of them is worked on first: by moment, at one moment what the clock ends, ``manage``, the candle that opens then, and in
one candle by the age of what is there, then by the name of the place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ..domain.lifecycle import Flat, Holding, State
from ..domain.market_clock_protocol import NEVER
from .minute_walk import MinuteWalk
from .strategy_places import PlaceLoop, PlacesLoop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .next_change import NextChange
    from .strategy_loop import StrategyLoop

_ENDS, _MANAGE, _QUESTION, _BAR, _DATA_END = range(5)
Key: TypeAlias = tuple[int, int]
"""A moment (UTC ms), and what is worked on then."""
_NEVER: Final[Key] = NEVER, _DATA_END


class _Change(NamedTuple):
    """What changes a place next: ``before`` is the index of the minute, or of that after ``ends_at`` or ``manages_at``.

    Both are moments, UTC ms; ``None``: it is the minute.
    """

    key: Key
    before: int
    ends_at: int | None
    manages_at: int | None


class PlaceWalk(MinuteWalk):
    """The walk of one place: what changes it next, and that being worked on."""

    _loop: PlaceLoop

    def __init__(self, changes: NextChange, loop: PlaceLoop, **options: Any) -> None:
        super().__init__(changes, loop, **options)
        self._at_once = False  # others are told between its milestones
        self.index = 0  # of the first minute that it was not told
        self._answered_at = -1
        self._nothing_at = 0
        self._found: tuple[State, _Change] | None = None

    def next_change(self) -> _Change | None:
        """What changes it next; ``None``: there is nothing in it."""
        loop, state = self._loop, self._loop.state
        if type(state) is Flat:
            return None
        if loop.answered_at != self._answered_at:
            self._answered_at = loop.answered_at
            self.index, self._found = max(self.index, self.index_at(loop.answered_at)), None
        if self._found is not None and self._found[0] is state and self._liquidation is None:
            return self._found[1]
        found = self._leaves(state) if loop.is_free else self._changes_next(state)
        self._found = state, found
        return found

    def _leaves(self, state: State) -> _Change:
        """The fill of the order that ends what is there."""
        target = self.index if self._every_minute else self._next(state, self.index, self.count)
        moment = self.time_of(target) if target < self.count else self._closes_at(self.count - 1)
        return self._change(target, self._close_due(moment, self._nothing_at), None)

    def _changes_next(self, state: State) -> _Change:
        index, managing = self.index, self._managing
        held = state if isinstance(state, Holding) else None
        due = self._due()
        manage_at = None if managing is None else self._manage_at(managing, index)
        stop = self._stop(due)
        until = stop if manage_at is None else min(stop, self.index_at(manage_at))
        if self._every_minute:
            target = index
        elif managing is not None and held is not None and held.book is None:
            target = min(self._next_event(held, index, stop), max(until, index))
        else:
            target = self._next(state, index, until)
        return self._change(target, *self._first_of(due, manage_at, target))

    def _change(self, index: int, ends_at: int | None, manages_at: int | None) -> _Change:
        if ends_at is not None:
            key = ends_at, _ENDS
        elif manages_at is not None:
            key = manages_at, _MANAGE
        elif index < self.count:
            key = self.time_of(index), _BAR
        else:
            key = self._closes_at(self.count - 1), _DATA_END
        return _Change(key, index, ends_at, manages_at)

    async def has_turn(self, change: _Change) -> bool:
        """Wait for the turn of what changes it, in a portfolio, and return whether it is given."""
        turn = self._turn
        return turn is None or await self._has_turn(turn, change.before, change.ends_at, change.manages_at)

    async def carry_out(self, change: _Change) -> int:
        """Work on what changes it; returns the moment (UTC ms) after which it may be given signals again."""
        loop, state, index = self._loop, self._loop.state, change.before
        if not loop.is_free:
            self._pass(state if isinstance(state, Holding) else None, self.index, index)
        is_leaving = loop.is_free
        self.index, self._found, after = max(index, self.index), None, -1
        if change.ends_at is not None:
            after = change.ends_at - 1
            if is_leaving:
                self._nothing_at = await self._end_close(change.ends_at)
            else:
                await self._end_due(change.ends_at, index)
        elif change.manages_at is not None:
            await self._manage(change.manages_at, self._changes.close_before(index))
            after = change.manages_at - self._loop.rules.model.fills_at_open
        elif index >= self.count:
            await self.end_of_data()
            after = self.time_of(self.count - 1)
        else:
            await loop.take(self.minute(index))
            self.index, after = index + 1, self.time_of(index)
        loop.after = after
        return after

    def told_until(self, when: int) -> None:
        """Tell what is open the extremes of the minutes before a moment (UTC ms), which do not change it else."""
        loop, until = self._loop, self.index_at(when)
        change = self.next_change()
        if change is not None and not loop.is_free and until > self.index:
            until = min(until, change.before)
            self._pass(loop.state if isinstance(loop.state, Holding) else None, self.index, until)
            self.index = max(self.index, until)
            self._found = loop.state, change

    async def take_back(self, reached: int) -> bool:
        """Take back an entry that rests once the run is stopped, from the minute ``reached`` on; whether it was."""
        index = max(self.index, reached)
        if self._loop.is_free or not self._takes_back(self._loop.state, index):
            return False
        await self._take_back(index)
        return True


def places_walk(changes: NextChange, loop: StrategyLoop, options: Mapping[str, Any]) -> PlacesWalk:
    """The walk of a strategy with several places; ``options`` as of :class:`PlacesWalk`."""
    assert isinstance(loop, PlacesLoop)  # it has several  # noqa: S101
    return PlacesWalk(changes, loop, **options)


class PlacesWalk:
    """The walk of a strategy with several places.

    Parameters
    ----------
    changes
        The minutes of the run.
    loop
        The loop that asks the strategy.
    options
        As of :class:`bknb.engine.minute_walk.MinuteWalk`.
    """

    def __init__(
        self,
        changes: NextChange,
        loop: PlacesLoop,
        *,
        leave: Callable[[], bool],
        stopping: Callable[[], bool],
        **options: Any,
    ) -> None:
        self._changes, self._loop, self._leave, self._stopping = changes, loop, leave, stopping
        self._options = {**options, "leave": leave, "stopping": stopping}
        self._turn = options.get("turn")
        self._walks: dict[PlaceLoop, PlaceWalk] = {}
        self._reached = 0  # index of the first minute that was not worked on
        self._quiet: int | None = None  # of the first that was not told as quiet, from the first question on
        self.index_at, self.follow = changes.index_at, changes.follow
        loop.told_until = self._told_until

    @property
    def fills(self) -> NDArray[np.bool_]:
        """Which minutes can fill an order, shape (n,)."""
        return self._changes.fills

    @property
    def watched_averages(self) -> NDArray[np.float64] | None:
        """The average prices of its minutes, shape (n,), where those are watched; ``None``: ranges are."""
        return self._changes.watched_averages

    def _walk_of(self, place: PlaceLoop) -> PlaceWalk:
        walk = self._walks.get(place)
        if walk is None:
            liquidation = getattr(place.places, "liquidation", None)  # of an account, where there is one
            changes = None if liquidation is None else liquidation.changes
            walk = self._walks[place] = PlaceWalk(self._changes, place, liquidation=changes, **self._options)
        return walk

    def _told_until(self, when: int) -> None:
        for place in self._loop.busy:
            self._walk_of(place).told_until(when)

    def asked(self) -> Sequence[StrategyLoop]:
        """The loops in which a question may be under way."""
        return (self._loop, *self._loop.places_by_name.values())

    def lived(self, when: int, answer: object) -> None:
        """Nothing is lived through at once: what is in other places goes on meanwhile."""

    async def up_to(self, when: int) -> bool:
        """Work on what comes before the question at ``when`` (UTC ms); returns whether it may follow."""
        if self._loop.rules.quiet:
            stop = self.index_at(when)
            for index in range(stop if self._quiet is None else self._quiet, stop):
                await self._quiet_minute(index)
            self._quiet = max(self._quiet or 0, stop)
        await self._work((when, _QUESTION), lambda: False)
        self._reached = max(self._reached, self.index_at(when))
        return not self._stopping()

    async def _quiet_minute(self, index: int) -> None:
        """Work on one minute, and tell of it where nothing is in any place."""
        opens = self._changes.time_of(index)
        await self._work((opens, _BAR), lambda: False)
        is_quiet = not self._loop.busy
        await self._work((opens, _DATA_END), lambda: False)
        if is_quiet and not self._leave():
            turn = self._turn
            if turn is None or await turn.bar(opens, self._changes.closes_at(index)):
                await self._loop.take(self._changes.minute(index))

    async def until_free(self, index: int) -> int:
        """Work on what comes from the minute ``index`` on until a place is free.

        Returns the moment (UTC ms) after which the next question may be asked.
        """
        self.follow()
        after = self._changes.time_of(max(index - 1, 0))
        found = await self._work(_NEVER, lambda: self._loop.is_free)
        self._quiet = max(self._quiet or 0, self._reached)
        return max(after, found)

    async def until_flat(self) -> None:
        """Work on what comes until nothing is in any place."""
        await self._work(_NEVER, lambda: False)

    async def _work(self, before: Key, done: Callable[[], bool]) -> int:
        """Work on what comes before a moment until something is done; returns the moment (UTC ms) of the last."""
        loop, after, count = self._loop, -1, 0
        while not (done() or self._leave()):
            count += 1
            if count % 64 == 0:
                await asyncio.sleep(0)  # lets a stop request and the listeners' loop in
            walks = [self._walk_of(place) for place in loop.busy]
            if self._stopping():
                for walk in walks:
                    await walk.take_back(self._reached)
            changes = [(found, walk) for walk in walks if (found := walk.next_change()) is not None]
            if not changes:
                break
            change, walk = min(changes, key=lambda each: each[0].key)  # of equal ones the first
            if change.key >= before:
                break
            if not await walk.has_turn(change):
                continue
            after = await walk.carry_out(change)
            self._reached = max(self._reached, walk.index)
            loop.refresh()
        loop.refresh()
        return after
