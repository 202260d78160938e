"""Legs of a portfolio in workers: those that share nothing are units of work, each with all legs that share with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.plan import Plan
from ..engine.portfolio_run import leg_text
from ..engine.runs_in_workers import (
    LegFailed,
    LegsDone,
    Wanted,
    heard_here,
    in_portfolio,
    legs_done,
    tell_legs,
    wanted_of,
)
from ..market.system_clock import stopwatch
from ..sweeps.executors import starting_workers
from ..sweeps.packed_plans import PackedPlan, packed_plan, pickled, unpacked_plan
from ..sweeps.run_units import RunsElsewhere

if TYPE_CHECKING:
    from ..domain.signal_events import Cancelled, Closed
    from ..engine.account_plan import AccountPlan
    from ..engine.portfolio_run import PortfolioRun


def units_of(plans: Sequence[Plan]) -> list[list[int]]:
    """The numbers of the legs of each unit: legs with the same candles or the same risk profile are in one."""
    units: list[list[int]] = []
    shared: list[set[object]] = []
    for number, plan in enumerate(plans):
        keys: set[object] = {(id(plan.exchange.source), plan.symbol, plan.base)}
        keys |= set() if plan.strategy.risk is None else {plan.strategy.risk}
        members = [number]
        for at in reversed([at for at, known in enumerate(shared) if known & keys]):
            members += units.pop(at)
            keys |= shared.pop(at)
        units.append(sorted(members))
        shared.append(keys)
    return sorted(units)


def why_here(plans: Sequence[Plan], account: AccountPlan | None, *, by_score: bool) -> str:
    """Why the legs of a portfolio cannot be in several processes; empty where they can."""
    if account is not None:
        return "its legs share an account"
    if any(plan.strategy.portfolio_weights is not None for plan in plans):
        return "a strategy of it answers for several symbols at once"
    if by_score:
        return "its signals of one moment go by their score"
    if len(units_of(plans)) == 1:
        return "all its legs share their candles or a risk profile"
    return heard_here(plans)


def run_unit(
    number: int, units: Sequence[Sequence[int]], packed: Sequence[Sequence[PackedPlan]], wanted: Wanted
) -> LegsDone:
    """Run the legs of a unit; in a worker."""
    return legs_done([unpacked_plan(each) for each in packed[number]], units[number], wanted)


class LegsInWorkers:
    """The legs of a portfolio while workers run them.

    Parameters
    ----------
    run
        The portfolio.
    executor
        An ``executor=`` option that is not this process.
    """

    def __init__(self, run: PortfolioRun, executor: object) -> None:
        self._run = run
        self._units = units_of(run.plans)
        with starting_workers(executor, len(self._units), __name__, "cloudpickle") as started:
            packed = [[packed_plan(run.plans[leg], with_source=True) for leg in unit] for unit in self._units]
            strategies = [plan.strategy for plan in run.plans]
            given = self._units, packed, wanted_of(run.plans)
            content = pickled((run_unit, given), strategies, purpose="a portfolio in workers")
            self.runs = RunsElsewhere(
                executor, content, len(packed), name=self._name, warn=run.warnings.append, started=started
            )

    def _name(self, unit: int) -> str:
        return ", ".join(leg_text(self._run.plans[leg]) for leg in self._units[unit])

    async def through(self, tell: Callable[[Closed | Cancelled], object]) -> None:
        """Run all legs; then tell what happened to them, in the order of the clock.

        Raises
        ------
        Exception
            What the first of the legs raised that raised anything.
        """
        run, began = self._run, stopwatch()
        loops: dict[int, Any] = {}
        done: list[LegsDone] = []
        errors: list[tuple[Any, BaseException]] = []
        with self.runs:
            async for number, outcome in self.runs.as_they_come():
                legs = self._units[number]
                if isinstance(outcome, LegsDone):
                    done.append(outcome)
                    for leg, each in zip(legs, outcome.legs, strict=True):
                        loops[leg] = run.legs[leg].taken_over(run.window_of(leg), each)
                elif isinstance(outcome, LegFailed):
                    errors.append((in_portfolio(outcome.turn, legs), outcome.error))
                elif isinstance(outcome, Exception):
                    errors.append(((0, 0, 0.0, legs[0], 0), outcome))
        if errors:
            raise min(errors, key=lambda each: each[0])[1]
        await tell_legs(run, done, loops, tell)
        self._leave_out([leg for leg in range(len(run.legs)) if leg not in loops])
        run.seconds = stopwatch() - began

    @property
    def stopping(self) -> str:
        """``""``, or ``"now"`` once it leaves: legs that have not begun have nothing."""
        return "now" if self.runs.stopped else ""

    @property
    def paused(self) -> bool:
        """Whether no further unit of legs is begun at present."""
        return self.runs.paused

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002 -- what workers have begun is ended in any case
        """End the legs that workers run, and begin no other."""
        self.runs.stop()

    def pause(self) -> None:
        """Begin no further unit of legs until ``resume``."""
        self.runs.paused = True

    def resume(self) -> None:
        """Begin the next unit of legs."""
        self.runs.paused = False

    def _leave_out(self, legs: Sequence[int]) -> None:
        for leg in legs:
            self._run.legs[leg].left_out()
        if legs:
            names = ", ".join(leg_text(self._run.plans[leg]) for leg in legs)
            self._run.warnings.append(f"it was stopped before these legs were done, which have nothing: {names}")
