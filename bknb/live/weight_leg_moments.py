"""The moments of one leg of weights in a live portfolio: in holes of its bars it is asked with the others.

A leg that is held together with others ends what they end before each of its turns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ..domain.market_clock_protocol import NEVER
from ..engine.portfolio_clock import LegTurn
from ..market.bar_slots import slot_from

if TYPE_CHECKING:
    from ..engine.portfolio_clock import AskInTurn
    from ..engine.strategy_loop import StrategyLoop
    from .failures_and_retries import Failures
    from .live_market import LiveMarket
    from .plan import LivePlan


class TurnsTogether(LegTurn):
    """The turns of a leg that is held together with others: what it has to end because of them comes first.

    Parameters
    ----------
    turn
        The turns of the leg.
    loop
        Of the leg.
    end_due
        Ends what is due up to a moment (UTC ms), each in a turn of its own.
    """

    __slots__ = ("_end_due", "_loop", "_turn")

    def __init__(self, turn: LegTurn, loop: StrategyLoop, end_due: Callable[[int], Awaitable[None]]) -> None:
        super().__init__(turn.clock, turn.order)
        self._turn, self._loop, self._end_due = turn, loop, end_due

    async def bar(self, opens: int, closes: int) -> bool:
        """The turn for what happened in a bar; what is due by its open comes first."""
        return await self._after_ends(opens, lambda: self._turn.bar(opens, closes))

    async def ends(self, when: int) -> bool:
        """The turn for what is ended at a moment (UTC ms)."""
        while not await self._turn.ends(when):
            pass
        return True

    async def manage(self, when: int) -> bool:
        """The turn for ``manage`` at a moment (UTC ms)."""
        return await self._after_ends(when, lambda: self._turn.manage(when))

    async def question(self, when: int, ask: AskInTurn | None) -> tuple[bool, int]:
        """The turn for a question at a moment (UTC ms)."""

        async def asked() -> bool:
            is_given, _ = await self._turn.question(when, ask)
            return is_given

        return await self._after_ends(when, asked), when

    async def _after_ends(self, until: int, turn: Callable[[], Awaitable[bool]]) -> bool:
        loop = self._loop
        while True:
            if loop.strategy.portfolio_weights.due(loop.rules.symbol, loop.state) <= until:
                await self._end_due(until)
            if await turn():
                return True


class WeightLegMoments:
    """When a leg is asked beside its own moments, and what it is asked again.

    Parameters
    ----------
    plan, loop, market, failures, turn
        Of the run of the leg, as of :class:`bknb.live.catch_up.CatchUp`.
    end_due
        Ends what is due up to a moment (UTC ms).

    Attributes
    ----------
    turn
        The turns of the leg.
    """

    def __init__(
        self,
        plan: LivePlan,
        loop: StrategyLoop,
        market: LiveMarket,
        failures: Failures,
        turn: LegTurn,
        *,
        end_due: Callable[[int], Awaitable[None]],
    ) -> None:
        self._plan, self._loop, self._market, self._failures = plan, loop, market, failures
        self.turn = TurnsTogether(turn, loop, end_due) if plan.strategy.together else turn
        self._asked_again = 0  # the last moment of it, UTC ms
        self._looked = 0  # up to when (UTC ms) it looked while its market is closed
        by_schedule = plan.strategy.at is not None or loop.rules.by_day  # then any bar is a moment
        plan.strategy.portfolio_weights.may_ask[plan.symbol] = bool if by_schedule else market.may_ask

    async def in_hole(self, known: int, opened: int, alone: Sequence[int]) -> AsyncIterator[int]:
        """The moments behind its last bar, up to the open of its next one (UTC ms), at which it is asked.

        Those at which bars of others closed, each when it is the turn of its moment: they are there by then; and those
        at which it would be asked ``alone``. None before the first bar of the leg has closed, as over history.
        """
        weights, symbol, step = self._plan.strategy.portfolio_weights, self._plan.symbol, self._plan.base_ms
        if known < opened and weights.has_begun(symbol, known):
            since = max(known, self._looked)
            moments = {*weights.closes_of_bars(symbol, since, opened, step), *(when for when in alone if when > since)}
            for when in sorted(moments):
                if when in alone or await self._others_have_bar(when):
                    yield when

    async def _others_have_bar(self, when: int) -> bool:
        """Whether bars of others closed at a moment (UTC ms), once it is the turn of that."""
        await self.turn.ends(when)
        return bool(self._plan.strategy.portfolio_weights.has_bar(self._plan.symbol, when))

    async def while_closed(self, until: int, alone: Sequence[int]) -> AsyncIterator[int]:
        """The moments up to another (UTC ms) at which it is asked while its market is closed; ``alone`` as before.

        They are those at which bars of symbols with other hours close.
        """
        plan, weights = self._plan, self._plan.strategy.portfolio_weights
        while (when := min([self.next_while_closed, *(when for when in alone if when > self._looked)])) <= until:
            if self._market.opens_before(when):
                return  # a bar comes first
            if when in alone or (weights.has_begun(plan.symbol, when) and await self._others_have_bar(when)):
                yield when
            self._looked = when

    @property
    def next_while_closed(self) -> int:
        """The next moment (UTC ms) at which others may be asked while its market is closed; far in the future: none."""
        plan, market = self._plan, self._market
        if plan.strategy.portfolio_weights.other_hours is None or market.sessions is None:
            return NEVER
        when = slot_from(max(market.moment(), self._looked + 1), plan.base_ms, market.grid)
        return NEVER if market.opens_before(when) else when

    async def look(self, when: int) -> None:
        """See whether it is asked at a moment (UTC ms) because others are, where it could not be asked alone."""
        if self._plan.strategy.portfolio_weights.other_hours is not None and not self._market.may_ask(when):
            self._market.others_asked_at = when if await self._others_have_bar(when) else None

    async def ask_again(self, when: int) -> None:
        """Ask about what it holds again at a moment (UTC ms), once all legs have said what becomes smaller."""
        loop, plan = self._loop, self._plan
        if loop.known_at is None or loop.last_managed != when or self._asked_again == when:
            return
        await self.turn.question(when, None)
        if loop.known_at is not None:  # else it was changed by hand
            close = await self._market.close_at(when)
            with self._failures.left_out("strategy", when):
                plan.strategy.portfolio_weights.ask_again(plan.symbol, when)
                await loop.manage(when, close, patient=plan.clock.now() < when + plan.base_ms)
        self._asked_again = when
