"""Folds of a walk-forward in workers, over candles that are loaded once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from ..engine.plan import Plan, open_window
from ..engine.registry import Exchange
from ..engine.runs_in_workers import Candles, DoneElsewhere, candles_of, done_elsewhere, prepared_candles
from ..market.sources import WindowSource
from ..sweeps.executors import starting_workers
from ..sweeps.packed_plans import PackedPlan, packed_plan, pickled, unpacked_plan
from ..sweeps.run_units import RunsElsewhere
from .walk_forward_fold import Choice, FoldRun

if TYPE_CHECKING:
    from ..engine.backtest import BacktestRun
    from ..market.window import Window
    from ..research.walk_forward_windows import Stretch


class FoldDone(NamedTuple):
    """A fold that is over: what was chosen, the test of it, and what there was to say of both and of the candles."""

    chosen: Choice
    test: DoneElsewhere | None
    warnings: tuple[str, ...]
    about_candles: tuple[str, ...]


def run_fold(
    number: int,
    packed: PackedPlan,
    steps: Sequence[Stretch],
    sets: Sequence[dict[str, Any]],
    metric: str,
    held: Candles,
) -> FoldDone:
    """Work on one fold of a walk; in a worker."""
    warnings: list[str] = []
    about_candles: list[str] = []
    plan = unpacked_plan(packed)
    window = open_window(plan, warn=about_candles.append)
    window.take_over(*held)
    plan = replace(plan, exchange=Exchange(plan.exchange.name, WindowSource(window)))
    folds = FoldRun(plan, sets, metric, warn=warnings.append, stopping=bool)
    chosen = folds.chosen(steps[number])
    assert chosen is not None  # nobody stops it  # noqa: S101
    test = None
    if chosen.best is not None:
        run = folds.test(steps[number], chosen.best)
        asyncio.run(run.through())
        assert run.window is not None  # it has run  # noqa: S101
        test = done_elsewhere(run, candles_of(run.window))
    return FoldDone(chosen, test, tuple(warnings), tuple(about_candles))


async def folds_in_workers(
    plan: Plan,
    window: Window,
    steps: Sequence[Stretch],
    folds: FoldRun,
    executor: object,
    warn: Callable[[str], object],
) -> RunsElsewhere:
    """What works on the folds of a walk, by their number; its candles are loaded into ``window`` first."""
    with starting_workers(executor, len(steps), __name__, "cloudpickle") as started:
        held = await prepared_candles(window, plan)
        given = (packed_plan(plan, with_source=True), steps, folds.sets, folds.metric)
        content = pickled((run_fold, given), [plan.strategy], purpose="a walk-forward in workers")
        return RunsElsewhere(
            executor,
            content,
            len(steps),
            name=lambda at: f"fold {at + 1}",
            warn=warn,
            kept=held,
            started=started,
        )


def taken_over(folds: FoldRun, step: Stretch, done: FoldDone) -> BacktestRun | None:
    """The test of a fold that a worker ran; ``None``: there was none."""
    if done.test is None or done.chosen.best is None:
        return None
    run = folds.test(step, done.chosen.best)
    run.taken_over(open_window(run.plan, warn=run.records.warnings.append), done.test)
    return run
