"""A strategy asked at a moment in a world whose candles and series were changed or cut off after it, or begin later."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import pickle
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from ..domain.interval import interval_ms
from ..domain.orders_from_weights import signed_weight
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.signal import Signal
from ..engine.backtest import BacktestRun
from ..engine.backtest_rules import rules_of_backtest
from ..engine.get_signals_candles import RowCandles, row_candles
from ..engine.plan import Plan
from ..engine.records import Records
from ..engine.registry import Strategy, ask_model, registry
from ..engine.resolve import RunSeries
from ..errors import NotEnoughData, UsageError
from ..events.heard import NOBODY
from ..market.answer_notes import ignored
from ..market.feed import Feed
from ..market.kept_memo import ENTRY, memo_before, turn_of
from ..market.loop_thread import LoopThread
from ..market.model_fit import fit_anew
from ..market.rows_asked import RowsAsked
from ..market.strategy_context import Context, RunSources, current, have_run, memo_of
from ..market.system_clock import SystemClock
from ..market.window import Window
from ..research.answers_compared_as_trades import MODEL, Answer, as_answer, as_managed, line_with_place
from ..research.candles_changed_after_moment import AsIs, CandlesOfWorld, World
from ..research.check_threads import Check
from .history_a_strategy_looked_at import RecordingWindow
from .run_seen_at_moment import RunAtMoment

if TYPE_CHECKING:
    from ..domain.states import Rules
    from ..market.fitted_models import KeptFits
    from ..market.model_fit import Model
    from ..market.newest_series_rows import ReadSeries
    from ..market.point_in_time_series import Published

_RUNS: Final = LoopThread("bknb-lookahead-run")  # made once: a sandbox makes no loops any more


class _SeriesOfWorld:
    """The point-in-time series of a run, with another future; a function is asked as if the moment were the present."""

    def __init__(self, whole: RunSeries, world: World) -> None:
        self._whole, self._world = whole, world
        self._tables: dict[str, Published] = {}

    def __call__(self, name: str, symbol: str, when: int) -> Published:
        """The rows of a series, as they are in this world; see ``RunSeries``."""
        if name not in self._tables:
            self._tables[name] = self._altered(name, symbol, when)
        return self._tables[name]

    def _altered(self, name: str, symbol: str, when: int) -> Published:
        whole, world = self._whole(name, symbol, when), self._world
        if world.changed_after is not None:
            return whole.changed_after(world.changed_after, seed=world.seed)
        assert world.until is not None  # what has another future was changed or cut off  # noqa: S101
        if self._whole.readers[name].source.function is None:
            return whole.until(world.until)
        present = RunSeries(self._whole.settings, until=world.until, warn=self._whole.warn)
        return present(name, symbol, when)


class _Ran(NamedTuple):
    """A run over the frame: what happened, its rules, and what ``manage`` was asked about, by moment (UTC ms).

    ``together`` are all positions of several places as it saw them then, and ``entries`` as questions for entries did.
    """

    records: Records
    rules: Rules
    held: dict[int, HeldPosition]
    together: dict[int, tuple[HeldPosition, ...]]
    entries: dict[int, tuple[HeldPosition, ...]]


def _has_no_account() -> float:
    """Raises ``UsageError``: strategies are looked at without a capital."""
    raise UsageError("bknb.check_lookahead asks without a capital, so ctx.equity cannot be looked at")


class AskedStrategy:
    """A strategy, its ``manage``, or a model it uses, asked at moments in worlds.

    Parameters
    ----------
    plan
        Of a backtest of the strategy.
    check
        The check that asks; one that is over asks no more.
    unseen
        Takes what cannot be judged, in words.

    Attributes
    ----------
    window : RecordingWindow
        The candles as they are.
    published : RunSeries
        The point-in-time series as they are.
    failure : str
        The first exception since it was emptied, with its line.
    fitted : dict
        At which moments models were fitted, by name.
    weights : dict
        What a strategy of weights answered, by moment.
    """

    def __init__(self, plan: Plan, check: Check, unseen: list[str]) -> None:
        self.plan, self.check = plan, check
        self.strategy: Strategy = plan.strategy
        self.slot = interval_ms(plan.strategy.interval)
        self.window = RecordingWindow(
            Feed(plan.exchange.source, plan.settings, allow_gaps=plan.allow_gaps, now=SystemClock().now),
            horizon=plan.frame.last + 2 * interval_ms(plan.base),
            base=plan.base,
            why_base=plan.why_base,
        )
        self.published = RunSeries(plan.settings, until=plan.frame.last, warn=ignored)
        self.failure = ""
        self.fitted: dict[str, set[int]] = {}
        self.weights: dict[int, float] = {}
        self._unseen = unseen
        self._worlds: dict[World, Window] = {AsIs: self.window}
        self._row_candles: RowCandles | None = None
        self._series_instead: dict[str, Published] = {}  # what stands for a series while it is looked at
        self._series_as_is = False  # whether series stay as they are in every world
        self._held: Mapping[int, HeldPosition] | None = None  # while manage is asked: about what, by moment
        self._rules, self._nothing = rules_of_backtest(plan, NOBODY), Records()
        self._looked = False  # whether the strategy did at the last question
        self._together: dict[int, tuple[HeldPosition, ...]] = {}  # what manage saw of several places then
        self._ran: _Ran | None = None  # a run over the frame, once the strategy has looked at something of its run
        self._fits: KeptFits = OrderedDict()  # of models it uses
        self._model: Model | None = None  # while one is fitted in place of the strategy

    # --- what is asked ------------------------------------------------------------------------------------------

    @property
    def asks_rows(self) -> bool:
        """Whether what is asked is a ``get_signals``."""
        return self.strategy.get_signals is not None and self._held is None

    def function(self) -> Callable[..., Any]:
        """The user's function that is asked."""
        strategy = self.strategy
        if self._model is not None:
            return self._model.fit
        if self._held is not None and strategy.manage is not None:
            return strategy.manage
        return strategy.get_signal if strategy.get_signals is None else strategy.get_signals

    @contextmanager
    def asking_manage(self, held: Mapping[int, HeldPosition]) -> Iterator[None]:
        """``manage`` is asked instead, about what is ``held`` by moment (UTC ms)."""
        self._held, self.failure = held, ""
        try:
            yield
        finally:
            self._held = None

    @contextmanager
    def fitting(self, name: str) -> Iterator[None]:
        """The model of that name is fitted instead."""
        self._model, self.failure = registry.models.get(name), ""
        try:
            yield
        finally:
            self._model = None

    @contextmanager
    def reading(self, name: str, table: Published) -> Iterator[None]:
        """The series of that name has the rows of ``table`` instead."""
        self._series_instead[name] = table
        try:
            yield
        finally:
            del self._series_instead[name]

    @contextmanager
    def series_as_they_are(self) -> Iterator[None]:
        """Worlds change no series."""
        self._series_as_is = True
        try:
            yield
        finally:
            self._series_as_is = False

    # --- asking -------------------------------------------------------------------------------------------------

    def candles(self) -> RowCandles:
        """Return the candles whose rows a backtest would look up."""
        if self._row_candles is None:
            loading = row_candles(self.window, self.strategy, self.plan.symbol, self.plan.frame.start)
            self._row_candles = asyncio.run_coroutine_threadsafe(loading, _RUNS.loop()).result()
        return self._row_candles

    @property
    def begin(self) -> int:
        """The place of the first of these candles in the frame."""
        return int(np.searchsorted(self.candles().candles.timestamp, self.plan.frame.start))

    def _window(self, world: World) -> Window:
        if world not in self._worlds:
            if len(self._worlds) > 4:
                self._worlds = {AsIs: self.window}
            other = CandlesOfWorld(self.window, world)
            feed = Feed(other, self.plan.settings, allow_gaps=self.plan.allow_gaps)
            made = self._worlds[world] = RecordingWindow(feed, horizon=self.window.horizon, base=self.plan.base)
            made.is_cut = world.since is not None
            made.lacks = None if world.since is None else (self.window, world.since)
            minutes = self.window.minutes(self.plan.symbol)  # in memory in every run, so in every world
            candles = other.altered(minutes, minutes.since, len(minutes.candles))
            made.hold(self.plan.symbol, candles, max(minutes.since, world.since or 0))
        return self._worlds[world]

    def _series_in(self, world: World) -> ReadSeries:
        if self._series_instead:
            instead = self._series_instead
            return lambda name, symbol, when: instead.get(name) or self.published(name, symbol, when)
        if self._series_as_is or (world.until is None and world.changed_after is None):
            return self.published
        return _SeriesOfWorld(self.published, world)

    def rows_asked(self, world: World = AsIs) -> RowsAsked:
        """Return what a ``get_signals`` may read besides its candles, in a world."""
        window = self._window(world)
        return self.candles().asked(self._series_in(world), self.plan.symbol, lambda: window, self.strategy, set())

    def ask(self, when: int, world: World = AsIs) -> Answer:
        """Return the answer at a moment in a world."""
        answer = self._ask(when, world)
        if self._ran is None and self._looked:
            self._ran = self._run()
            self.weights.pop(when, None)
            return self._ask(when, world)
        return answer

    def _ask(self, when: int, world: World) -> Answer:
        self.check.go_on()
        window = self._window(world if (world.until, world.changed_after, world.since) != (None,) * 3 else AsIs)
        sources = RunSources(window, self._series_in(world), self.slot, self.strategy.zone)
        sources.ask_model, sources.kept_fits = ask_model, self._fits
        sources.symbols = self.plan.symbols
        context = Context(self.plan.symbol, when, "backtest", window.newest, window.average_price, sources)
        seen = self._seen_by(context)
        token = current.set(context)
        # the state of the user's random generators, restored afterwards
        states = (random.getstate(), np.random.get_state()) if world.seed else None  # noqa: NPY002
        try:
            if world.seed:
                random.seed(world.seed)
                np.random.seed(world.seed)  # noqa: NPY002 -- what a strategy without a generator of its own uses
            answer = self._asked(context)
            for fit in sources.fits:
                self.fitted.setdefault(fit.name, set()).add(fit.when)
            if inspect.isawaitable(answer):
                answer = asyncio.run(_awaited(answer))
        except NotEnoughData:
            return ("warm-up",)
        except Exception as error:  # noqa: BLE001 -- whatever a strategy raises is an answer to compare
            self.failure = self.failure or line_with_place(error)
            return ("error", type(error).__name__)
        finally:
            self._looked = seen.looked or memo_of(context) is not None
            current.reset(token)
            if states is not None:
                random.setstate(states[0])
                np.random.set_state(states[1])  # noqa: NPY002
        if world == AsIs and self._held is None and self.strategy.weights is not None and isinstance(answer, Signal):
            self.weights.setdefault(when, signed_weight(answer))
        if self._model is not None:
            return self._as_fit(answer, self._model.name)
        read = as_answer if self._held is None else as_managed
        return read(answer, negative=bool(getattr(self.plan.exchange.source, "negative", False)))

    def _seen_by(self, context: Context) -> RunAtMoment:
        """What the strategy sees of a run over the frame at the moment of a context, which has it and its memo then."""
        when, ran, managing = context.when_ms, self._ran, self._held is not None
        held = self._held if self._held is not None else {} if ran is None else ran.held
        rules, records = (self._rules, self._nothing) if ran is None else (ran.rules, ran.records)
        there = held.get(when)
        all_there: tuple[HeldPosition, ...] = () if there is None else (there,)
        if self.strategy.places > 1:
            all_there = (self._together if managing else {} if ran is None else ran.entries).get(when, ())
        run = RunAtMoment(rules, records.closed, managing=managing, positions=lambda: all_there, equity=_has_no_account)
        turn = turn_of(there) if managing and there is not None else ENTRY
        have_run(context, run, memo_before(records.memos, when, turn))
        return run

    def _as_fit(self, value: object, model: str) -> Answer:
        """What a fit returned: a number, or the digest of anything else."""
        if isinstance(value, int | float):
            return (MODEL, float(value))
        try:
            content = _content_of(value)
        except Exception as error:  # noqa: BLE001 -- whatever an object of the user's raises
            text = f"whether two fits are the same: what fit returned cannot be pickled ({type(error).__name__})"
            self._unseen.append(f"the model {model}: {text}")
            return (MODEL, "")
        return (MODEL, hashlib.blake2b(content, digest_size=16).hexdigest())

    def _asked(self, context: Context) -> Any:
        """Ask the strategy, a model, or ``manage`` about the position that was held at that moment."""
        if self._model is not None:
            return fit_anew(self._model, context)
        if self._held is None:
            return self.strategy.ask(context)
        assert self.strategy.ask_manage is not None  # something was held for it  # noqa: S101
        return self.strategy.ask_manage(context, self._held[context.when_ms])

    # --- a run over the frame -----------------------------------------------------------------------------------

    def held_positions(self) -> dict[int, HeldPosition]:
        """Return what a run over the frame asks ``manage`` about, by moment (UTC ms), of several places the last."""
        ran = self._run()
        self._together = ran.together
        return ran.held

    def _run(self) -> _Ran:
        """A run over the frame, with what it asks ``manage`` about, by moment (UTC ms)."""
        held: dict[int, HeldPosition] = {}
        together: dict[int, tuple[HeldPosition, ...]] = {}
        entries: dict[int, tuple[HeldPosition, ...]] = {}
        ask, several = self.strategy.ask_manage, self.strategy.places > 1

        def asked(context: Context) -> Any:
            entries[context.when_ms] = context.positions
            return self.strategy.ask(context)

        def recorded(context: Context, position: HeldPosition) -> Any:
            if self.check.over:
                run.stop(now=True)
            held[context.when_ms] = position
            if several:
                together[context.when_ms] = context.positions
            assert ask is not None  # else it is not asked  # noqa: S101
            return ask(context, position)

        watched = replace(self.strategy, callbacks={})
        if several and self.strategy.get_signals is None:
            watched = replace(watched, ask=asked)
        if ask is not None:  # without its get_signals: rows that are looked up would ask manage by themselves
            watched = replace(watched, ask_manage=recorded, get_signals=None)
        run = BacktestRun(replace(self.plan, strategy=watched), listeners=NOBODY, published=self.published)
        asyncio.run_coroutine_threadsafe(run.through(), _RUNS.loop()).result()
        self.check.go_on()
        return _Ran(run.records, run.rules, held, together, entries)


async def _awaited(answer: Any) -> Any:
    return await answer


def _content_of(value: object) -> bytes:
    """What was fitted as bytes, functions that ``fit`` has made by their code and what they hold."""
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        import cloudpickle

        content: bytes = cloudpickle.dumps(value, protocol=5)
        if b"_make_skeleton_class" in content:  # of a class that fit has made, another one each time
            raise error
        return content
