"""The places that legs of a live portfolio share in a risk profile: what the clock ended of a silent leg is free."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from ..domain.entry_timeout import ended_in_silence
from ..domain.risk_request_and_verdict import OpenPosition
from ..domain.states import waiting_signals
from ..engine.portfolio_clock import SharedPlaces
from ..engine.risk_profile_places import Place
from .manual_orders_of_places import loops_of

if TYPE_CHECKING:
    from ..engine.registry import Risk
    from ..engine.risk_profile_places import SavePlaces
    from ..engine.strategy_loop import StrategyLoop
    from .plan import LivePlan
    from .portfolio_clock import LivePortfolioClock
    from .run_progress import Reached

Ended: TypeAlias = Callable[[int], set[Place]]
"""The places of what the clock ended of a leg up to a moment (UTC ms), while no bar of it came."""


def ended_of(plan: LivePlan, loop: StrategyLoop, reached: Reached) -> Ended:
    """What the clock has ended of a leg: over history it gave the place back then, live it does with its next bar.

    At a broker an order rests until then.
    """

    def ended(until: int) -> set[Place]:
        rules = loop.rules
        if plan.broker is not None:
            return set()
        over: set[Place] = set()
        for each in loops_of(loop):
            found = ended_in_silence(each.state, each.rules, known=reached.known, before=until + 1)
            entries = [signal.id for signal in waiting_signals(each.state)]  # one place is for all of them
            is_over = all((signal_id, 0) in found for signal_id in entries)
            over |= {(rules.symbol, rules.strategy, signal_id) for signal_id in entries} if is_over else set()
        return over

    return ended


class PlacesOfLegs(SharedPlaces):
    """The places of a risk profile that legs of a live portfolio share.

    Parameters
    ----------
    risk, longest, taken, save
        As of :class:`bknb.engine.portfolio_clock.SharedPlaces`.
    clock
        The clock of the portfolio, which knows what of its legs ended in silence.
    """

    def __init__(
        self,
        risk: Risk,
        clock: LivePortfolioClock,
        *,
        longest: int,
        taken: Iterable[OpenPosition],
        save: SavePlaces | None,
    ) -> None:
        super().__init__(risk, clock, longest=longest, taken=taken, save=save)
        self._ended = clock.ended

    def others(self, free: set[tuple[str, str, str | None]]) -> tuple[OpenPosition, ...]:
        """The places taken, now or at the start of the bar, besides those that count as free."""
        return super().others(free | self._ended_by(self._clock.since))

    @property
    def count(self) -> int:
        """How many are taken."""
        clock = self._clock
        in_bar = clock.since < clock.moment  # what the clock ends as it closes comes behind it
        return len(self.places.keys() - self._ended_by(clock.moment - in_bar))

    def _ended_by(self, moment: int) -> set[Place]:
        return set().union(*(ended(moment) for ended in self._ended.values()))
