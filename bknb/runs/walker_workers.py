"""Strategies of a walker in workers, over candles that are loaded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..engine.plan import Plan
from ..engine.runs_in_workers import (
    Candles,
    RunDone,
    RunFailed,
    Wanted,
    heard_here,
    prepared_candles,
    run_done,
    tell_run,
    wanted_of,
)
from ..sweeps.executors import starting_workers
from ..sweeps.packed_plans import PackedPlan, packed_plan, pickled, unpacked_plan
from ..sweeps.run_units import RunsElsewhere
from .result import Result
from .run_record import record_of

if TYPE_CHECKING:
    from ..engine.backtest import BacktestRun
    from ..market.window import Window
    from ..metrics.figure_table import Statistics
    from .measured import Measured

_FOR_FIGURES: Final = ("bknb.metrics.statistics", "bknb.runs.measured")  # what they are made with


class Figures(NamedTuple):
    """What a strategy is ranked by: fields of its record."""

    stats: Statistics
    measured: Measured


def run_strategy(number: int, plans: Sequence[PackedPlan], wanted: Wanted, held: Candles) -> RunDone:
    """Run one strategy of a walker; in a worker."""
    return run_done(unpacked_plan(plans[number]), wanted, held, figures_of)


def figures_of(run: BacktestRun) -> Figures | None:
    """The figures of a run that is over; ``None`` where they cannot be had, which the process that asked finds, too."""
    try:
        result = Result(record_of(run))
        return Figures(result.stats, result.measured)
    except Exception:  # noqa: BLE001 -- raised there, where it becomes the error of this strategy
        return None


async def strategies_in_workers(
    plans: Sequence[Plan], window: Window, executor: object, warn: Callable[[str], object]
) -> RunsElsewhere | None:
    """What runs the strategies of a walker, by their number; its candles are loaded into ``window`` first.

    ``None``: they cannot be in workers.
    """
    if reason := heard_here(plans):
        warn(f"it ran in one process whatever the executor: {reason}")
        return None
    with starting_workers(executor, len(plans), __name__, *_FOR_FIGURES, "cloudpickle") as started:
        held = await prepared_candles(window, plans[0])
        packed = [packed_plan(plan, with_source=True) for plan in plans]
        given = (run_strategy, (packed, wanted_of(plans)))
        content = pickled(given, [plan.strategy for plan in plans], purpose="a comparison in workers")
        return RunsElsewhere(
            executor,
            content,
            len(plans),
            name=lambda at: plans[at].strategy.name,
            warn=warn,
            kept=held,
            started=started,
        )


async def take_over(
    run: BacktestRun, runs: RunsElsewhere, number: int, window: Window, warn: Callable[[str], object]
) -> Figures | None:
    """Take over what a worker ran, tell callbacks and listeners of it, and return its figures; raises its error."""
    try:
        done: RunDone | None = await runs.outcome(number)
    except RunFailed as failed:
        for text in failed.warnings:
            warn(text)
        window.take_over(*failed.candles)
        raise failed.error from None
    if done is None:  # it was stopped before
        run.left_out()
        return None
    for text in done.warnings:
        warn(text)
    await tell_run(run.taken_over(window, done.run), done.told)
    figures: Figures | None = done.figures
    return figures
