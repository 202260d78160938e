"""A live run of a strategy with several places catches up: each is worked on in its turn, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.lifecycle import Flat
from .catch_up import CatchUp
from .strategy_places import LivePlaceLoop, LivePlacesLoop

if TYPE_CHECKING:
    from ..engine.strategy_loop import StrategyLoop
    from .plan import LivePlan


class CatchUpOfPlaces(CatchUp):
    """Works on everything that has come as :class:`bknb.live.catch_up.CatchUp`, in each place of a strategy.

    What comes first in any of them is worked on first; at one moment, and in one minute, the place in which something
    is for the longest time, then by name. What a place has saved of a minute is not worked on again.
    """

    def __init__(self, plan: LivePlan, loop: LivePlacesLoop, *others: Any, **options: Any) -> None:
        super().__init__(plan, loop, *others, **options)
        self._places = loop

    async def _take(self, minute: Minute) -> None:
        if not self._places.busy:
            await super()._take(minute)
            return
        self._places.minute = minute.t
        try:
            for place in self._places.live:
                if place.reached < minute.t:
                    await self._take_in(place, minute)
        finally:
            self._places.minute = -1

    async def _take_in(self, place: LivePlaceLoop, minute: Minute) -> None:
        before = place.state
        place.now = minute.t
        place.after = minute.t
        with self._failures.left_out("state", minute.t):
            await place.take(minute)
            return
        if place.state is before:
            place.keeping.leave_out(minute.t)

    def _due_first(self) -> LivePlaceLoop:
        return min(self._places.live, key=lambda place: place.due)  # of equal ones the first

    def _has_ended(self, loop: StrategyLoop, due: int) -> None:
        """A place is free for the questions from then on."""
        assert isinstance(loop, LivePlaceLoop)  # nothing is in the loop that asks  # noqa: S101
        loop.after = due - 1

    async def _manage(self, when: int) -> None:
        at = self._managed_at
        if at is not None and not await self._told(at, when):
            return
        asked = self._places.has_reached(when)  # before a start
        for place in self._places.live:
            if not asked and not isinstance(place.state, Flat):  # it was not changed by hand
                await self._manage_in(place, when)
                place.after = max(place.after, place.last_managed - place.rules.model.fills_at_open)
        if at is not None:
            at.done()
