"""The fits of models that a run over history will need, made by an executor before it begins.

At which moments models are fitted is known beforehand. A worker makes each from the candles of the run, with the seed
it has in any process; the run compares what the fit has read with its own candles, and makes one that differs anew.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.interval import interval_ms
from ..engine.plan import open_window
from ..engine.resolve import RunSeries
from ..errors import BknbError, DataError, UsageError
from ..market.answer_notes import ignored
from ..market.fetch_loop import fetch_now
from ..market.fitted_models import (
    KeptFits,
    code_in_run,
    keep,
    kept_fits_of_process,
    kept_key,
    moment_of,
    sessions_of,
)
from ..market.model_fit import FailedFit, Fit, Model, make_fit, symbols_of
from ..market.strategy_context import Context, RunSources
from ..provenance.strategy_hash import models_of
from .packed_plans import PackedPlan, packed_plan, pickled, unpacked_plan
from .run_units import RunsElsewhere

if TYPE_CHECKING:
    from ..engine.backtest import BacktestRun
    from ..engine.plan import Plan
    from ..market.window import Window

_UNITS: Final = 8  # of a model and its symbols; each has moments that follow each other, so that candles are read once
_LOOK_SECONDS: Final = 0.1


class _Unit(NamedTuple):
    """Fits of one model: the number of the leg, the model, a digest of its code, and the moments (UTC ms)."""

    leg: int
    model: Model
    code: str
    moments: tuple[int, ...]


class _Made(NamedTuple):
    """A fit that a worker made, pickled; or why it is to be made in the process of the run."""

    moment: int
    content: bytes
    why: str = ""


async def fit_ahead(
    legs: Sequence[BacktestRun], executor: object, warn: Callable[[str], object], stopping: Callable[[], bool]
) -> None:
    """Have an executor make the fits that the legs of a run will ask for; they are taken when they are asked for.

    Parameters
    ----------
    legs
        That have not begun; one, of a run alone.
    executor
        An ``executor=`` option that is not this process.
    warn
        Called with a sentence where a model cannot be fitted elsewhere: then it is fitted when it is asked for.
    stopping
        Whether the run is to be stopped.
    """
    kept: KeptFits = ChainMap({}, kept_fits_of_process())
    units, symbols = _units_of(legs, kept)
    if not units:
        return
    for leg in legs:
        leg.kept_fits = kept
    try:
        packed = [packed_plan(leg.plan, with_source=True) for leg in legs]
        strategies = [leg.plan.strategy for leg in legs]
        content = pickled((fits_of_unit, (units, packed)), strategies, purpose="fits in workers")
    except UsageError as error:
        warn(f"models were fitted in this process: {error}")
        return
    told: set[str] = set()
    with RunsElsewhere(
        executor, content, len(units), name=lambda at: f"model {units[at].model.name!r}", warn=warn
    ) as runs:
        watch = asyncio.create_task(_stop_with(runs, stopping))
        try:
            async for number, outcome in runs.as_they_come():
                for why in _taken(outcome, kept, symbols[number], units[number]):
                    text = f"the model {units[number].model.name!r} was fitted in this process: {why:.200}"
                    if text not in told:
                        told.add(text)
                        warn(text)
        finally:
            watch.cancel()


async def _stop_with(runs: RunsElsewhere, stopping: Callable[[], bool]) -> None:
    while not stopping():  # noqa: ASYNC110 -- a run has no event for it
        await asyncio.sleep(_LOOK_SECONDS)
    runs.stop()


def _taken(outcome: object, kept: KeptFits, symbols: tuple[str, ...], unit: _Unit) -> list[str]:
    """Keep the fits that a worker made, and return why others were not."""
    if outcome is None:  # it was stopped
        return []
    if isinstance(outcome, Exception):
        return [f"{type(outcome).__name__}: {outcome}"]
    assert isinstance(outcome, list)  # as ``fits_of_unit`` returns it  # noqa: S101
    for made in outcome:
        if made.content:
            fit: Fit = pickle.loads(made.content)  # noqa: S301 -- from a worker of ours
            keep(kept, kept_key(unit.model, unit.code, symbols, made.moment), fit, unit.model)
    return list(dict.fromkeys(made.why for made in outcome if made.why))


def _units_of(legs: Sequence[BacktestRun], kept: KeptFits) -> tuple[list[_Unit], list[tuple[str, ...]]]:
    """The fits that legs will ask for and that nobody has made yet, each once; and the symbols of each unit."""
    units: list[_Unit] = []
    symbols: list[tuple[str, ...]] = []
    known = set(kept)
    for number, leg in enumerate(legs):
        context = _context(leg.plan, open_window(leg.plan, warn=ignored), leg.plan.frame.start, leg.model_codes)
        for model in models_of(leg.plan.strategy).values():
            code, of = code_in_run(model, context), symbols_of(model, context)
            keys = {each: kept_key(model, code, of, each) for each in _moments(model, context, leg.plan)}
            moments = [each for each, key in keys.items() if key not in known]
            known.update(keys.values())
            size = max(1, -(-len(moments) // _UNITS))
            for first in range(0, len(moments), size):
                units.append(_Unit(number, model, code, tuple(moments[first : first + size])))
                symbols.append(of)
    return units, symbols


def _moments(model: Model, context: Context, plan: Plan) -> list[int]:
    """When a model is fitted that is in use within the frame of a plan."""
    sessions = sessions_of(model, context)
    try:
        moment: int | None = moment_of(model, plan.frame.start - model.delay_ms, context)
    except DataError:  # it has none before: whoever asks is told
        return []
    found = []
    while moment is not None and moment + model.delay_ms <= plan.frame.last:
        found.append(moment)
        moment = model.every.next_after(moment, sessions)
    return found


def _context(plan: Plan, window: Window, when: int, codes: dict[str, str]) -> Context:
    """A context of a run of a plan over candles."""
    series = RunSeries(plan.settings, until=plan.frame.last, warn=ignored, tables=plan.series)
    sources = RunSources(window, series, interval_ms(plan.strategy.interval), plan.strategy.zone)
    sources.symbols, sources.model_codes = plan.symbols, codes
    return Context(plan.symbol, when, "backtest", window.newest, window.average_price, sources)


def fits_of_unit(number: int, units: Sequence[_Unit], packed: Sequence[PackedPlan]) -> list[_Made]:
    """The fits of a unit; runs in a worker."""
    leg, model, code, moments = units[number]
    plan = unpacked_plan(packed[leg])
    window = open_window(plan, warn=ignored)
    fetch_now(window.load_run(plan.symbol, plan.frame.start))
    return [_sent(model, code, moment, _context(plan, window, moment, {})) for moment in moments]


def _sent(model: Model, code: str, moment: int, context: Context) -> _Made:
    """A fit, pickled; one that failed is made again where its error is told, and nothing is said of it."""
    import cloudpickle

    try:
        fit = make_fit(model, code, moment, context)
    except BknbError:  # what the candles lack is told where they are asked for
        return _Made(moment, b"")
    if isinstance(fit, FailedFit):
        return _Made(moment, b"")
    try:
        content = bytes(cloudpickle.dumps(fit))
        pickle.loads(content)  # noqa: S301 -- it was pickled a line above
    except Exception as error:  # noqa: BLE001 -- whatever an object of the user's raises
        return _Made(moment, b"", f"what fit returned cannot be sent back ({type(error).__name__}: {error})")
    return _Made(moment, content)
