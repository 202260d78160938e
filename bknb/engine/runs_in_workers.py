"""Runs that another process makes: what it sends back, and what is told of it here, in the order of the clock.

A worker makes a run from its plan, and nobody hears it: callbacks and listeners are in the process that asked. They are
told there afterwards, in the order in which one process would have told them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..domain.signal_events import Cancelled, Closed, Milestone
from ..errors import BknbError
from ..events import messages, subjects
from ..events.heard import NOBODY, KeptForLater
from ..user_code import where_it_failed
from .backtest import BacktestRun
from .callback_names import call_callbacks
from .milestones_in_columns import Columns, columns_of, milestones_of
from .plan import Plan, open_window
from .portfolio_run import PortfolioRun
from .registry import registry
from .run_candles import run_minutes

if TYPE_CHECKING:
    from ..events.heard import Listeners
    from ..market.candles_of_one_symbol import Series
    from ..market.point_in_time_series import Published
    from ..market.window import Window
    from .portfolio_clock import TurnKey
    from .records import Records
    from .strategy_loop import StrategyLoop

_AT_ONCE: TurnKey = (0, 0, 0.0, 0, 0)


class Wanted(NamedTuple):
    """What somebody hears of runs: events at all, failures, how long something took, results of quiet minutes."""

    events: bool
    errors: bool
    timings: bool
    quiet: bool

    def kept_by(self, keep: Callable[[Any], object]) -> Listeners:
        """Listeners of a run that keep it."""
        if not self.events:
            return NOBODY
        return KeptForLater(keep, errors=self.errors, timings=self.timings, quiet=self.quiet)


class Candles(NamedTuple):
    """What a window has loaded."""

    series: dict[tuple[str, str], Series]
    ended: frozenset[str]


class DoneElsewhere(NamedTuple):
    """A run that is over, without its plan and its candles; the milestones of its records are apart."""

    records: Records
    milestones: Columns
    seconds: float
    processed: int
    reached: int
    stopped: bool
    manages: bool
    tables: Mapping[str, Published | None]
    candles: Candles

    def whole(self) -> Records:
        """Its records, with the milestones."""
        self.records.milestones = milestones_of(self.milestones)
        return self.records


Told: TypeAlias = tuple["TurnKey", int, Any, bool]
"""The turn in which something happened, the number of the leg in its portfolio, what it was, and whether it is a result
that the run yields; of a milestone its place among those of the leg. Plain tuples, as there are many: they are pickled
fast."""


class LegsDone(NamedTuple):
    """Legs that are over, and what is to be told of them: in order, with turns of the portfolio that never go back."""

    legs: tuple[DoneElsewhere, ...]
    told: list[Told]


class RunDone(NamedTuple):
    """A run alone that is over, what is to be told of it, what there was to say of its candles, and its figures."""

    run: DoneElsewhere
    told: tuple[Any, ...]
    warnings: tuple[str, ...]
    figures: Any


class FailedElsewhere(Exception):  # noqa: N818 -- it carries the error of a run, with what else there is to say of it
    """What ended a run in a worker."""

    def __init__(self, error: BaseException, *more: Any) -> None:
        super().__init__(error, *more)
        self.error = error


class LegFailed(FailedElsewhere):
    """The error of a leg, and when it had its turn."""

    def __init__(self, error: BaseException, turn: TurnKey) -> None:
        super().__init__(error, turn)
        self.turn = turn


class RunFailed(FailedElsewhere):
    """The error of a run alone, the candles it had loaded by then, and what there was to say of them."""

    def __init__(self, error: BaseException, candles: Candles, warnings: tuple[str, ...]) -> None:
        super().__init__(error, candles, warnings)
        self.candles, self.warnings = candles, warnings


def wanted_of(plans: Sequence[Plan]) -> Wanted:
    """What callbacks and listeners of this process hear of runs by some plans."""
    callbacks = {name for plan in plans for name in plan.strategy.callbacks}
    quiet = subjects.wants_quiet("backtest") or bool({"on_idle", "on_active"} & callbacks)
    events = bool(callbacks) or any(subject.subscribed for subject in subjects.ALL)
    return Wanted(events, subjects.error.subscribed, subjects.performance.subscribed, quiet)


def heard_here(plans: Sequence[Plan]) -> str:
    """Why runs by some plans cannot be in workers: who is asked or told meanwhile; empty where they can."""
    if any(plan.strategy.risk is not None and registry.risks.get(plan.strategy.risk).callbacks for plan in plans):
        return "a risk profile of it has callbacks"
    if any(plan.exchange.callbacks for plan in plans):
        return "its exchange has callbacks"
    return ""


# --- in a worker ----------------------------------------------------------------------------------------------------


def candles_of(window: Window) -> Candles:
    """What a window has loaded, without what is quickly computed again."""
    bare: dict[tuple[str, str], Series] = {}
    for key, series in window.series().items():
        bare[key] = copy(series)
        bare[key].averages = bare[key].files = None
    return Candles(bare, frozenset(window.ended))


def done_elsewhere(run: BacktestRun, candles: Candles) -> DoneElsewhere:
    """What is sent back of a run that is over."""
    tables = {name: reader.table for name, reader in run.published.readers.items()}
    about = (run.seconds, run.processed, run.reached, run.stopped, run.manages)
    records, milestones = run.records, columns_of(run.records.milestones)
    records.milestones = []
    return DoneElsewhere(records, milestones, *about, tables, candles)


def keep_place(error: BaseException) -> None:
    """Have an error say, also in another process, in which line of the user's code it arose."""
    if where := where_it_failed(error):
        with suppress(AttributeError):  # few errors take an attribute
            error.failed_in_worker = where  # type: ignore[attr-defined]  # read by where_it_failed


def legs_done(plans: Sequence[Plan], numbers: Sequence[int], wanted: Wanted) -> LegsDone:
    """Run legs, which have these numbers in their portfolio, on a clock of their own.

    Raises
    ------
    LegFailed
        A leg raised what ends its portfolio.
    """
    told: list[Told] = []
    latest = known = _AT_ONCE

    def keep(order: int, what: object, *, ends: bool = False) -> None:
        nonlocal latest, known
        if run.clock.turn_of is not known:
            known = run.clock.turn_of
            latest = max(latest, in_portfolio(known, numbers))
        if type(what) is Milestone:  # the newest of its records
            what = len(run.legs[order].records.milestones) - 1
        told.append((latest, numbers[order], what, ends))

    def tell(result: Closed | Cancelled) -> None:
        keep(run.clock.turn_of[3], result, ends=True)

    always = wanted._replace(events=True)  # they are put in order with those of other legs
    run = PortfolioRun(plans, listeners=lambda order: always.kept_by(partial(keep, order)))
    try:
        asyncio.run(run.through(tell))
    except Exception as error:
        raise LegFailed(error, _turn_of_error(run)) from error
    sent: dict[int, Candles] = {}
    legs = []
    for leg in run.legs:
        assert leg.window is not None  # it has run  # noqa: S101
        candles = sent.setdefault(id(leg.window), candles_of(leg.window))
        legs.append(done_elsewhere(leg, candles))
    return LegsDone(tuple(legs), told)


def _turn_of_error(run: PortfolioRun) -> TurnKey:
    moment, phase, rank, leg, since = run.clock.turn_of
    return moment, phase, rank, leg if run.clock.raised is None else run.clock.raised, since


def run_done(plan: Plan, wanted: Wanted, held: Candles, figures_of: Callable[[BacktestRun], Any]) -> RunDone:
    """Run a backtest alone, over candles that are in memory already, and others.

    What it loads is sent back, and is in memory for the next one in this process, which does not send it again. So is
    what ``figures_of`` returns of the run.

    Raises
    ------
    RunFailed
        It raised.
    """
    told: list[Any] = []
    warnings: list[str] = []
    window = open_window(plan, warn=warnings.append)
    window.take_over(dict(held.series), held.ended)  # another thread may add to them
    run = BacktestRun(plan, window=window, listeners=wanted.kept_by(told.append))
    try:
        asyncio.run(run.through())
    except Exception as error:
        raise RunFailed(error, _fresh(window, held), tuple(warnings)) from error
    figures = figures_of(run)
    return RunDone(done_elsewhere(run, _fresh(window, held)), tuple(told), tuple(warnings), figures)


def _fresh(window: Window, held: Candles) -> Candles:
    found, known = candles_of(window), held.series
    fresh = {key: each for key, each in found.series.items() if key not in known or each.reaches_further(known[key])}
    known.update({key: each for key, each in window.series().items() if key in fresh})
    return found._replace(series=fresh)


# --- in the process that asked --------------------------------------------------------------------------------------


async def prepared_candles(window: Window, plan: Plan) -> Candles:
    """The candles that all runs of a frame need, loaded here once; none where they cannot be had: each run says why."""
    window.gather_closed()
    try:
        await run_minutes(window, plan)
    except BknbError:
        return Candles({}, frozenset())
    window.tell_closed()
    return candles_of(window)


async def tell_run(loop: StrategyLoop, told: Sequence[Any]) -> None:
    """Tell callbacks and listeners what happened to a run, in order."""
    known = len(loop.records.failures)
    for what in told:
        await _tell(loop, what)
    if len(loop.records.failures) > known:  # of callbacks
        loop.records.sort_failures()


async def tell_legs(
    run: PortfolioRun,
    units: Sequence[LegsDone],
    loops: Mapping[int, StrategyLoop],
    tell: Callable[[Closed | Cancelled], object],
) -> None:
    """Tell callbacks and listeners, and ``tell`` of results, what happened to the legs of a portfolio.

    Parameters
    ----------
    run
        The portfolio.
    units
        The legs, in units that shared a clock.
    loops
        Of each leg, by its number.
    tell
        Called with every closed and cancelled result.
    """
    told = sorted(chain.from_iterable(unit.told for unit in units), key=itemgetter(0))  # merges what is sorted already
    heard = wanted_of(run.plans).events
    known = {order: len(loop.records.failures) for order, loop in loops.items()}
    for turn, leg, sent, ends in told:
        what: Any = loops[leg].records.milestones[sent] if type(sent) is int else sent
        if ends:
            tell(what)
        elif heard:
            await _tell(loops[leg], what)
        else:
            run.note(what)
        run.clock.moment = turn[0]
    for order, loop in loops.items():
        if len(loop.records.failures) > known[order]:  # of callbacks
            loop.records.sort_failures()


def in_portfolio(turn: TurnKey, numbers: Sequence[int]) -> TurnKey:
    """The turn of a leg with its number in the portfolio."""
    moment, phase, rank, order, since = turn
    return moment, phase, rank, numbers[order], since


async def _tell(loop: StrategyLoop, what: Any) -> None:
    if isinstance(what, messages.ErrorEvent):
        subjects.error.emit(what)
    elif isinstance(what, messages.Performance):
        subjects.performance.emit(what)
    else:
        if loop.strategy.callbacks:
            await call_callbacks(loop, what)
        loop.emit(what)
