"""The look-ahead check: asks a strategy again after future candles were changed, and compares its answers."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import hashlib
import inspect
import pickle
import queue
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from ..domain.interval import MINUTE_MS, ceil_to, interval_ms
from ..domain.manage_answers import read_answers
from ..domain.orders_from_weights import signed_weight
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.signal import Signal
from ..domain.signal_validation import is_list, read_answer, target_prices
from ..domain.weight_answers import sides_of_weights
from ..domain.whole_number import whole_number
from ..engine.backtest import BacktestRun
from ..engine.backtest_rules import rules_of_backtest
from ..engine.get_signals_candles import RowCandles, row_candles
from ..engine.get_signals_vectorised import signal_rows
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, plan_backtest
from ..engine.questions import has_session_days
from ..engine.records import Records
from ..engine.registry import Exchange, Strategy, ask_model, registry
from ..engine.resolve import RunSeries
from ..errors import NotEnoughData, StrategyError, UsageError
from ..events.heard import NOBODY
from ..market.answer_notes import ignored
from ..market.calendar_candles import LENGTHS_MS
from ..market.calls_in_threads import candles_from
from ..market.candle_closes import closes_of
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series
from ..market.feed import Feed
from ..market.fetch_loop import fetch_now
from ..market.fitted_models import fit_anew
from ..market.kept_memo import memo_before
from ..market.loop_thread import LoopThread
from ..market.point_in_time_series import SYMBOL
from ..market.runs_refused_for_negative_prices import check_above_zero
from ..market.source_hours import bar_grid_of
from ..market.sources import WindowSource
from ..market.strategy_context import Context, RowsAsked, RunSources, current, have_run, memo_of
from ..market.system_clock import SystemClock
from ..market.window import Window
from ..provenance.strategy_hash import running
from ..research.check_threads import Check, belongs
from ..research.data_checks import DataChecks
from ..research.entry_accuracy import Accuracy, measure
from ..research.foresight import suspicion
from ..research.lookahead_checks import (
    NOTHING,
    Answer,
    AsIs,
    Finding,
    LookaheadReport,
    World,
    accuracy_findings,
    answer_text,
    change_text,
    check_answers,
    check_row_history,
    check_rows,
    choose,
    line_with_place,
    perturbed,
    row_answer,
    same,
    sort_findings,
)
from ..research.market_values import MarketValues
from ..research.shifted_clock import SHIFTS, ShiftedClock, waiting_calls
from ..research.tracing import Tracer, clock_calls
from ..research.variables import Variable, caches, emptied, variables
from .run_seen_at_moment import RunAtMoment

if TYPE_CHECKING:
    from ..config import Settings
    from ..domain.schedules import Schedule
    from ..domain.states import Rules
    from ..market.fitted_models import KeptFits, Model
    from ..market.newest_series_rows import ReadSeries
    from ..market.panel import Panel
    from ..market.point_in_time_series import Published

_SCANNED: Final = 2000  # moments at which the strategy is asked once, to find those with a signal
_FEWEST_ROWS: Final = 30  # fewer candles cannot be cut anywhere
_FITS: Final = 8  # moments at which a model is fitted again and again
_OUTSIDE: Final = 12  # moments at which variables are replaced
_CHANGING: Final = "answers that change by themselves prove nothing"
_RUNS: Final = LoopThread("bknb-lookahead-run")  # made once: a sandbox makes no loops any more
_LOOK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 10.0  # for the answer to the question at which the check was interrupted

T = TypeVar("T")


def check_lookahead(
    strategy: StrategyLike,
    symbol: str = "BTCUSDT",
    *,
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    at: Schedule | str | None = None,
    base: str | None = None,
    moments: int = 40,
    seed: int = 0,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
) -> LookaheadReport:
    """Look for data that a strategy uses and could not have had at that moment.

    The strategy is asked at moments of the frame, half of them with a signal, and asked again after the future was cut
    off and after it was changed: an answer that changes leaked. Data in its variables (tables, candles, arrays, lists,
    dictionaries, text), and what pandas, numpy, files, databases and sources hand out while it is asked, gets another
    future as well; statements of its module or notebook that made variables of such data are run again over it. It is
    also asked twice and backwards, with less history and with shifted clocks, and watched for files and the network: a
    clock that is read while no answer depends on it, as for a log, is a remark and no finding. Point-in-time series are
    cut off and changed with the candles, and functions of them asked as of each moment. Rows of a
    ``get_signals`` are compared with those computed from fewer candles. A strategy that manages its positions is asked
    about them in the same ways, at moments at which a run over the frame has something open or waiting. Models that it
    uses are fitted again in the same ways, at up to eight of their moments. Last, the
    accuracy of its entries is held against what simple rules on past prices reach on futures shuffled in blocks.
    Entries that are right more often are a suspicion (``.suspected``): a leak that nothing else could see, or a market
    predictable by something those rules do not know, such as the clock, another symbol, or a level. So is a column of a
    series, or of data with moments, that goes with later moves of the market.

    That nothing was found is no proof: the report says what was looked at and what it cannot see.

    Parameters
    ----------
    strategy
        A registered name, a function, or a strategy; ``get_signal`` or ``get_signals``.
    symbol, exchange, frame, interval, at, base, settings, allow_gaps
        As for ``bknb.backtest``.
    moments
        How many moments to look at closely.
    seed
        Of the choice of moments and of the changed prices.

    Returns
    -------
    LookaheadReport
        It shows itself; ``.ok`` (something was compared, and nothing found or suspected), ``.suspected``,
        ``.findings``, ``.looked_at``, ``.cannot_see``, ``.remarks``, ``.accuracy``, ``.raised`` (at how many of
        ``.asked`` moments it raised), ``.managed`` (at how many moments ``manage`` was looked at),
        ``.to_pandas()``, ``.report()``.

    Raises
    ------
    UsageError
        When ``moments`` is no whole number of at least 2, when the frame holds no moment to ask at, when a strategy
        that is being checked asks for it, or when a check that was interrupted before still waits for an answer.

    Notes
    -----
    The strategy is really called, some hundred times, in a thread of its own, and writes what it writes. ``lru_cache``
    of functions it calls are emptied, before and after. Statements that are run again cannot write files, start
    programs or threads, or reach the network. Of databases they read SQLite alone, through a connection that they name
    themselves and that was made with ``check_same_thread=False``. A compiled library that writes in a function whose
    name does not say so writes again.

    What is handed out with another future is for the threads of the check: that in which it asks, those the strategy
    starts, and those of a pool while they do its work. Other threads, such as those of live runs, read what there is;
    so do threads started before that take questions from a queue, which is said. The strategy's variables, though, hold
    other data while it is asked: one that shares tables or caches with a live strategy is checked in another process.
    One check runs at a time, others wait. An interrupted one ends after the question it is at.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(ctx):
    ...     closes = ctx.candles("1h", 2).close
    ...     if closes[1] > closes[0]:
    ...         return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02,
    ...                            price_stop_loss=ctx.price * 0.99, minute_estimated_time=240)
    >>> bknb.check_lookahead(get_signal, exchange="demo", frame="2024-01-01:2024-01-15", interval="1h").ok
    True
    """
    given = (symbol, strategy, exchange, frame, interval, None, settings)
    plan = plan_backtest(*given, at=at, allow_gaps=allow_gaps, base=base)
    check_above_zero(plan.exchange.source, plan.exchange.name, "the look-ahead check")
    hint = "it says how many moments to look at closely: leave it out for 40"
    moments = whole_number("moments", moments, least=2, hint=hint)
    if belongs():
        raise UsageError(
            f"a strategy must not check itself: {plan.strategy.name} was to be checked by a strategy that is being "
            "checked\ncall bknb.check_lookahead outside of strategies"
        )
    check = Check()

    def work() -> LookaheadReport:
        with check.running():
            return _Check(plan, check, moments=moments, seed=seed).report()

    with running(plan.strategy):
        return _in_thread(work, check)


def _in_thread(work: Callable[[], T], check: Check) -> T:
    """Return what ``work`` returns, from another thread: a notebook's has a loop, and perhaps a tracer.

    When it is interrupted, the check ends after the question it is at, which is waited for.
    """
    results: list[T] = []
    failed: list[BaseException] = []
    done = threading.Event()  # joining a thread that was interrupted before takes it for ended (Python 3.11)

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 -- raised again below
            failed.append(error)
        finally:
            done.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="bknb-lookahead", daemon=True)
    try:
        thread.start()
        while not done.wait(_LOOK_SECONDS):
            pass
    except BaseException:
        check.over = True
        if thread.ident is not None:
            done.wait(_PATIENCE_SECONDS)
        raise
    if failed:
        raise failed[0]
    return results[0]


class _OtherWorld(WindowSource):
    """Candles of a window, with another future or another beginning."""

    def __init__(self, window: Window, world: World) -> None:
        super().__init__(window)
        self._world = world

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """Return the candles of the window, altered."""
        series = await self.window.load(symbol, interval, since)
        candles = self.altered(series, since, limit)
        return candles[: int(np.searchsorted(candles.timestamp, since + limit * series.step))]

    def altered(self, series: Series, since: int, limit: int) -> Candles:
        """Return up to ``limit`` candles of a series from ``since`` on, as they are in this world."""
        world, candles, before = self._world, series.candles, None
        if world.changed_after is not None:
            place = int(np.searchsorted(series.closes, world.changed_after, side="right"))
            candles = perturbed(candles, place, seed=world.seed)
        if world.until is not None:
            closed = int(np.searchsorted(series.closes, world.until, side="right"))
            before = int(candles.timestamp[closed]) if closed < len(candles) else None
        return self.part(candles, max(since, world.since or since), limit, before=before)


class _OtherSeries:
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


class _RecordingSource:
    """A source in a variable of the strategy; records candles that had not closed at the moment of the question."""

    def __init__(self, source: Any, when: int, seen: list[tuple[str, int]]) -> None:
        self._source, self._when, self._seen = source, when, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:
        """Return the answer of the source; later candles are recorded."""
        answer: Any = await candles_from(self._source, symbol, interval, since, limit)
        if isinstance(answer, Candles) and len(answer):
            closes = closes_of(answer.timestamp, interval_ms(interval), bar_grid_of(self._source, symbol))
            late = answer.timestamp[closes > self._when]
            if len(late):
                self._seen.append((symbol, int(late[0])))
        return answer


class _RecordingWindow(Window):
    """A window that records how far back a strategy looked; in a world with less history, one that ``lacks`` some."""

    reach = 0
    looked = ""
    lacks: tuple[Window, int] | None = None  # the whole history, and where less begins (UTC ms)

    def hold(self, symbol: str, candles: Candles, since: int) -> None:
        """Put these base bars into memory."""
        self._series[symbol, self.base] = Series(
            candles, step=self.base_ms, since=since, until=self.horizon, grid=self.grid_of(symbol)
        )

    def newest(self, symbol: str, interval: str, limit: int, when: int, *, wait: bool = True) -> Candles:
        """Return the newest candles, and record how far back they reach."""
        candles = super().newest(symbol, interval, limit, when, wait=wait)
        length = LENGTHS_MS.get(interval) or interval_ms(interval)
        self._record(len(candles) * length, f"{len(candles)} x {interval} of {symbol}")
        return candles

    def since(self, symbol: str, interval: str, since: int, when: int) -> Candles:
        """Return the candles since a moment; too few are told where only the whole history has them all."""
        if self.lacks is not None and since < self.lacks[1]:
            series = self.lacks[0].known(symbol, interval)
            if series is not None and series.start <= since:
                raise NotEnoughData(f"candles of {symbol} from before the history were asked for")
        return super().since(symbol, interval, since, when)

    def panel(self, symbols: Sequence[str], interval: str, limit: int, how: str, when: int) -> Panel:
        """Return the newest rows of several symbols, and record how far back they reach."""
        panel = super().panel(symbols, interval, limit, how, when)
        self._record(when - int(panel.timestamp[0]), f"{limit} x {interval} of {', '.join(symbols)}")
        return panel

    def _record(self, reach: int, looked: str) -> None:
        if reach > self.reach:
            self.reach, self.looked = reach, looked


class _Ran(NamedTuple):
    """A run over the frame: what happened, its rules, and what ``manage`` was asked about, by moment (UTC ms)."""

    records: Records
    rules: Rules
    held: dict[int, HeldPosition]


def _has_no_account() -> float:
    """Raises ``UsageError``: strategies are looked at without a capital."""
    raise UsageError("bknb.check_lookahead asks without a capital, so ctx.equity cannot be looked at")


class _Check:
    """The experiments with one strategy."""

    def __init__(self, plan: Plan, check: Check, *, moments: int, seed: int) -> None:
        self.plan = plan
        self.check = check
        self.strategy: Strategy = plan.strategy
        self.count = moments
        self.seed = seed
        self.slot = interval_ms(plan.strategy.interval)
        self.window = _RecordingWindow(
            Feed(plan.exchange.source, plan.settings, allow_gaps=plan.allow_gaps, now=SystemClock().now),
            horizon=plan.frame.last + 2 * interval_ms(plan.base),
            base=plan.base,
        )
        self._worlds: dict[World, Window] = {AsIs: self.window}
        self._row_candles: RowCandles | None = None
        self.published = RunSeries(plan.settings, until=plan.frame.last, warn=ignored)
        self._series_instead: dict[str, Published] = {}  # what stands for a series while it is looked at
        self._series_as_is = False  # whether series stay as they are in every world
        self._failure = ""
        self._row_signals = 0
        self._rows_chosen = self._rows_compared = 0
        self._held: dict[int, HeldPosition] | None = None  # while manage is asked: about what, by moment
        self._rules, self._nothing = rules_of_backtest(plan, NOBODY), Records()
        self._looked = False  # whether the strategy did at the last question
        self._ran: _Ran | None = None  # a run over the frame, once the strategy has looked at something of its run
        self._fits: KeptFits = OrderedDict()  # of models it uses
        self._fitted: dict[str, set[int]] = {}  # at which moments, by model
        self._model: Model | None = None  # while one is fitted in place of the strategy
        self._model_name = ""
        self._weights: dict[int, float] = {}  # what a strategy of weights answered, by moment
        self._managed_moments = self._managed_answers = 0
        self.looked_at: list[str] = []
        self.unseen: list[str] = []
        self.remarks: list[str] = []

    # --- asking -------------------------------------------------------------------------------------------------

    def _window(self, world: World) -> Window:
        if world not in self._worlds:
            if len(self._worlds) > 4:
                self._worlds = {AsIs: self.window}
            other = _OtherWorld(self.window, world)
            feed = Feed(other, self.plan.settings, allow_gaps=self.plan.allow_gaps)
            made = self._worlds[world] = _RecordingWindow(feed, horizon=self.window.horizon, base=self.plan.base)
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
        return _OtherSeries(self.published, world)

    def _rows_asked(self, world: World = AsIs) -> RowsAsked:
        return self._candles().asked(self._series_in(world), self.plan.symbol)

    def ask(self, when: int, world: World = AsIs) -> Answer:
        """Return the answer at a moment in a world."""
        answer = self._ask(when, world)
        if self._ran is None and self._looked:
            self._ran = self._run()
            self._weights.pop(when, None)
            return self._ask(when, world)
        return answer

    def _ask(self, when: int, world: World) -> Answer:
        self.check.go_on()
        window = self._window(world if (world.until, world.changed_after, world.since) != (None,) * 3 else AsIs)
        sources = RunSources(window, self._series_in(world), self.slot, self.strategy.zone)
        sources.ask_model, sources.kept_fits = ask_model, self._fits
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
                self._fitted.setdefault(fit.name, set()).add(fit.when)
            if inspect.isawaitable(answer):
                answer = asyncio.run(_awaited(answer))
        except NotEnoughData:
            return ("warm-up",)
        except Exception as error:  # noqa: BLE001 -- whatever a strategy raises is an answer to compare
            self._failure = self._failure or line_with_place(error)
            return ("error", type(error).__name__)
        finally:
            self._looked = seen.looked or memo_of(context) is not None
            current.reset(token)
            if states is not None:
                random.setstate(states[0])
                np.random.set_state(states[1])  # noqa: NPY002
        if world == AsIs and self._held is None and self.strategy.weights is not None and isinstance(answer, Signal):
            self._weights.setdefault(when, signed_weight(answer))
        if self._model is not None:
            return self._as_fit(answer)
        return _as_answer(answer) if self._held is None else _as_managed(answer)

    def _seen_by(self, context: Context) -> RunAtMoment:
        """What the strategy sees of a run over the frame at the moment of a context, which has it and its memo then."""
        when, ran, managing = context.when_ms, self._ran, self._held is not None
        held = self._held if self._held is not None else {} if ran is None else ran.held
        rules, records = (self._rules, self._nothing) if ran is None else (ran.rules, ran.records)
        run = RunAtMoment(
            rules, records.closed, managing=managing, position=lambda: held.get(when), equity=_has_no_account
        )
        have_run(context, run, memo_before(records.memos, when, 0 if managing else 1))
        return run

    def _as_fit(self, value: object) -> Answer:
        """What a fit returned: a number, or the digest of anything else."""
        if isinstance(value, int | float):
            return (_MODEL, float(value))
        try:
            content = pickle.dumps(value, protocol=5)
        except Exception as error:  # noqa: BLE001 -- whatever an object of the user's raises
            text = f"whether two fits are the same: what fit returned cannot be pickled ({type(error).__name__})"
            self.unseen.append(f"the model {self._model_name}: {text}")
            return (_MODEL, "")
        return (_MODEL, hashlib.blake2b(content, digest_size=16).hexdigest())

    def _asked(self, context: Context) -> Any:
        """Ask the strategy, a model, or ``manage`` about the position that was held at that moment."""
        if self._model is not None:
            return fit_anew(self._model, context)
        if self._held is None:
            return self.strategy.ask(context)
        assert self.strategy.ask_manage is not None  # something was held for it  # noqa: S101
        return self.strategy.ask_manage(context, self._held[context.when_ms])

    # --- the whole ----------------------------------------------------------------------------------------------

    def report(self) -> LookaheadReport:
        """Run all experiments and return their findings."""
        fetch_now(self.window.load_run(self.plan.symbol, self.plan.frame.start))
        scanned = self._moments()
        answers = {when: self.ask(when) for when in scanned}
        live = [at for at, when in enumerate(scanned) if answers[when][0] in _ORDERS]
        last = max(2, len(scanned) - 1)
        chosen = [scanned[at] for at in choose(live, 0, last, count=self.count, seed=self.seed)]
        errors = sum(answer[0] == "error" for answer in answers.values())
        first_error, raised = self._failure, errors == len(answers)
        findings: list[Finding] = []
        accuracy: Accuracy | None = None
        if not raised:
            findings = self._experiments(chosen, answers)
            accuracy = self._accuracy(answers)
            if not any(finding.kind == "accuracy" for finding in findings):
                findings += accuracy_findings(accuracy)
            if self.strategy.manages:
                findings += self._manage()
            findings += [one for name in sorted(self._fitted) for one in self._fits_of(name)]
        self._look_at_constants()
        return LookaheadReport(
            strategy=self.strategy.name,
            symbol=self.plan.symbol,
            interval=self.strategy.interval,
            asked_at="" if self.strategy.at is None else str(self.strategy.at),
            moments=len(chosen),
            signals=max(sum(answers[when][0] in _ORDERS for when in chosen), self._row_signals),
            looks_back=self.window.looked,
            findings=sort_findings(findings),
            failure=first_error if raised else "",
            asked=len(answers),
            raised=errors,
            first_error=first_error if errors else "",
            rows_chosen=self._rows_chosen,
            rows_compared=self._rows_compared,
            looked_at=tuple(self.looked_at),
            unseen=tuple(dict.fromkeys(self.unseen)),
            remarks=tuple(self.remarks),
            accuracy=accuracy,
            managed=self._managed_moments,
            managed_answers=self._managed_answers,
        )

    def _look_at_constants(self) -> None:
        """Remark that prices are compared with a number, where later splits and dividends have scaled them."""
        describe = getattr(self.plan.exchange.source, "describe", None)
        made = describe(self.plan.symbol) if callable(describe) else ""
        if "the oldest prices are" not in made:
            return  # nothing was adjusted
        from ..provenance.source_text import text_of_code
        from ..research.price_constants import compared_with_constants

        for function in (self.strategy.get_signal, self.strategy.get_signals, self.strategy.manage):
            inner = inspect.unwrap(function) if function is not None else None
            if (code := getattr(inner, "__code__", None)) is None:
                continue
            text, known = text_of_code(code, inspect.getmodule(code)), getattr(inner, "__globals__", {})
            for line, comparison in compared_with_constants(text, known):
                self.remarks.append(
                    f"line {line} of {code.co_name} compares a price with a number, {comparison}; the prices are"
                    f"{made.removeprefix(',')}: what came later has scaled them, and others were seen then"
                )

    def _experiments(self, chosen: Sequence[int], answers: dict[int, Answer]) -> list[Finding]:
        """Everything that is done with one function, at moments that were chosen."""
        findings = [self._named(finding) for finding in (*self._rows(), *self._answers(chosen, answers))]
        self._look_at_series()
        clocks, read = self._watched(chosen)
        if any(finding.kind in ("memory", "chance") for finding in findings):
            self.unseen += [f"whether {name} ({where}) matters: {_CHANGING}" for name, where in clocks.items()]
            self.unseen.append(f"data besides the candles: {_CHANGING}")
        else:
            findings += [*self._clocks(clocks, chosen), *self._data(chosen, answers, read)]
        if not findings:
            findings = [one for name in self.published.readers for one in self._foreseen(name, chosen, answers)]
        self.unseen += [f"what threads started before read for it (through {name})" for name in self._threads()]
        return findings

    def _look_at_series(self) -> None:
        names = [f"the series {name}" for name in self.published.readers]
        self.looked_at += [name for name in names if name not in self.looked_at]
        self.unseen += [
            f"whether the numbers in {name} were published at the times beside them, and not revised since"
            for name in names
        ]

    def _foreseen(self, name: str, chosen: Sequence[int], answers: dict[int, Answer]) -> list[Finding]:
        """A suspicion for a series that goes with later moves, and on which answers depend."""
        table = self.published(name, self.plan.symbol, self.plan.frame.last)
        own = table.take(table.columns[SYMBOL] == self.plan.symbol) if table.has_symbols else table
        columns = {one: column for one, column in own.columns.items() if one not in (SYMBOL, *own.times)}

        def moved(column: str, when: int, since: int) -> bool:
            self._series_instead[name] = table.backwards(column, since)
            try:
                return not same(answers[when], self.ask(when))
            finally:
                del self._series_instead[name]

        minutes = self.window.minutes(self.plan.symbol).candles
        what = f"the series {name}"
        return suspicion(
            what, own.known_at, columns, minutes, self.slot, step=self.window.base_ms, moments=chosen, moved=moved
        )

    def _named(self, finding: Finding) -> Finding:
        """A finding about the future; one that candles alone do not make, with the names of the series it read."""
        when = finding.when
        if finding.kind != "future" or when is None or not self.published.readers:
            return finding
        self._series_as_is = True
        try:
            if self._asks_rows:
                candles, closes = self._candles()[:2]
                count = int(np.searchsorted(closes, when, side="right"))
                parts = (candles.copy(), candles[:count].copy())
                whole, cut = (
                    row_answer(signal_rows(self.strategy, part, asked=self._rows_asked()), count - 1) for part in parts
                )
            else:
                whole, cut = (self.ask(when, world) for world in (AsIs, World(until=when)))
        except StrategyError:  # it raises over fewer candles
            return finding
        finally:
            self._series_as_is = False
        if not same(whole, cut):
            return finding
        names = ", ".join(self.published.readers)
        return dataclasses.replace(
            finding, what=f"rows of the series {names} that were not known yet, or not so", candle=None
        )

    def _manage(self) -> list[Finding]:
        """The same with ``manage``, at moments at which a run over the frame asks it."""
        held = self._run().held
        scanned = sorted(held)[:: max(1, -(-len(held) // _SCANNED))]
        if not scanned:
            self.unseen.append(
                "manage: nothing was open in a run over this frame, so it was never asked; try a longer one"
            )
            return []
        self._held, self._failure = held, ""
        try:
            answers = {when: self.ask(when) for when in scanned}
            live = [at for at, when in enumerate(scanned) if answers[when][0] == _MANAGED]
            chosen = [scanned[at] for at in choose(live, 0, len(scanned), count=self.count, seed=self.seed)]
            raised = sum(answer[0] == "error" for answer in answers.values())
            if raised == len(answers):
                self.unseen.append(f"manage: it raised at every moment, so nothing could be compared: {self._failure}")
                return []
            if raised:
                self.remarks.append(f"manage raised at {raised:,} of {len(answers):,} moments, first {self._failure}")
            self._managed_moments = len(chosen)
            self._managed_answers = sum(answers[when][0] == _MANAGED for when in chosen)
            return [dataclasses.replace(one, what=f"manage: {one.what}") for one in self._experiments(chosen, answers)]
        finally:
            self._held = None

    def _fits_of(self, name: str) -> list[Finding]:
        """The same with a model that the strategy uses, at moments of its schedule."""
        moments = sorted(self._fitted[name])
        chosen = moments[:: -(-len(moments) // _FITS)]
        self._model, self._model_name, self._failure = registry.models.get(name), name, ""
        try:
            answers = {when: self.ask(when) for when in chosen}
            compared = [when for when in chosen if answers[when][0] == _MODEL]
            self.looked_at.append(f"the model {name}, fitted at {len(compared)} of {len(moments)} moments")
            if not compared:
                self.unseen.append(f"the model {name}: no fit could be compared; {self._failure or 'data lacked'}")
                return []
            found = self._experiments(compared, answers)
            return [dataclasses.replace(one, what=f"the model {name}: {one.what}") for one in found]
        finally:
            self._model = None

    def _run(self) -> _Ran:
        """A run over the frame, with what it asks ``manage`` about, by moment (UTC ms)."""
        held: dict[int, HeldPosition] = {}
        ask = self.strategy.ask_manage

        def recorded(context: Context, position: HeldPosition) -> Any:
            if self.check.over:
                run.stop(now=True)
            held[context.when_ms] = position
            assert ask is not None  # else it is not asked  # noqa: S101
            return ask(context, position)

        watched = replace(self.strategy, callbacks={})
        if ask is not None:  # without its get_signals: rows that are looked up would ask manage by themselves
            watched = replace(watched, ask_manage=recorded, get_signals=None)
        run = BacktestRun(replace(self.plan, strategy=watched), listeners=NOBODY, published=self.published)
        asyncio.run_coroutine_threadsafe(run.through(), _RUNS.loop()).result()
        self.check.go_on()
        return _Ran(run.records, run.rules, held)

    def _moments(self) -> list[int]:
        frame = self.plan.frame
        every = self._every_moment()
        if len(every) < 3:
            raise UsageError(
                f"the frame {frame} holds {len(every)} moments of a strategy asked {self.strategy.asked}\n"
                "give a longer frame"
            )
        if self.strategy.get_signals is None:
            return every[:: -(-len(every) // _SCANNED)]
        # a vectorised strategy shows its signals in its rows; only some moments need to be asked
        given, begin = self._candles(), self._begin
        some = every[:: -(-len(every) // (4 * self.count))]
        try:
            found = signal_rows(self.strategy, given.candles.copy(), asked=self._rows_asked())
            rows = begin + np.flatnonzero(found.acts[begin:])
        except StrategyError:
            return some  # it raises again when it is asked
        self._row_signals = min(len(rows), max(self.count // 2, 1))
        step = max(-(-len(rows) // self.count), 1)
        signals = given.closes[rows[::step]].tolist()
        return sorted({*some, *(when for when in signals if when <= frame.last)})

    def _every_moment(self) -> list[int]:
        """All moments of the frame at which the strategy may be asked."""
        frame, at, sessions = self.plan.frame, self.strategy.at, self.window.sessions_of(self.plan.symbol)
        by_day = has_session_days(self.strategy.interval, sessions, self.window.base_ms)
        if at is None and not by_day:
            grid = self.window.grid_of(self.plan.symbol)
            if grid is None:
                return [*range(ceil_to(frame.start, self.slot), frame.last + 1, self.slot)]
            found = [grid.ceil(frame.start, self.slot)]
            while found[-1] <= frame.last:
                found.append(grid.after(found[-1], self.slot))
            return found[:-1]
        from ..engine.scheduled_questions import SESSION_DAY, calendar_of, in_run

        schedule = in_run(SESSION_DAY if at is None else at, self.published, self.plan.symbol, frame.last)
        calendar = calendar_of(sessions, self.window.base_ms)
        return schedule.moments(frame.start, frame.last + 1, calendar)

    def _candles(self) -> RowCandles:
        """Return the candles whose rows a backtest would look up."""
        if self._row_candles is None:
            loading = row_candles(self.window, self.strategy, self.plan.symbol, self.plan.frame.start)
            self._row_candles = asyncio.run_coroutine_threadsafe(loading, _RUNS.loop()).result()
        return self._row_candles

    @property
    def _begin(self) -> int:
        """The place of the first of these candles in the frame."""
        return int(np.searchsorted(self._candles().candles.timestamp, self.plan.frame.start))

    @property
    def _asks_rows(self) -> bool:
        """Whether what is asked is a ``get_signals``."""
        return self.strategy.get_signals is not None and self._held is None

    def _rows(self) -> list[Finding]:
        strategy = self.strategy
        if not self._asks_rows:
            return []
        (candles, closes, *_), begin = self._candles(), self._begin
        if len(candles) < _FEWEST_ROWS:
            self.unseen.append(
                f"its rows over fewer candles: there are {len(candles)}, at least {_FEWEST_ROWS} are needed; "
                "try a longer frame"
            )
            return []
        options: dict[str, Any] = {"closes": closes, "moments": self.count, "seed": self.seed}

        def evaluate(part: Candles) -> Any:
            self.check.go_on()
            return signal_rows(strategy, part, asked=self._rows_asked(self._world_of(part, candles)))

        found, self._rows_chosen, self._rows_compared = check_rows(evaluate, candles.copy(), first=begin, **options)
        if self._rows_compared < self._rows_chosen:
            missing = self._rows_chosen - self._rows_compared
            self.unseen.append(f"its rows at {missing} of {self._rows_chosen} moments: it raised over other candles")
        if found or len(candles) <= strategy.lookback:
            return found
        return check_row_history(evaluate, candles.copy(), lookback=strategy.lookback, **options)

    def _world_of(self, part: Candles, whole: Candles) -> World:
        """The world in which candles were cut off, or changed from one on."""
        if len(part) < len(whole):
            closes = self._candles().by.of(part.timestamp[-1:])
            return World(until=int(closes[0])) if closes is not None and len(closes) else AsIs
        changed = np.flatnonzero((part.block[1:] != whole.block[1:]).any(axis=0))
        return World(changed_after=int(whole.timestamp[changed[0]]), seed=self.seed) if len(changed) else AsIs

    def _answers(self, chosen: Sequence[int], known: dict[int, Answer]) -> list[Finding]:
        if self._asks_rows:
            chosen = chosen[:: max(1, len(chosen) // _OUTSIDE)]
        reach = self.window.reach
        lengths = [max(reach // 2, self.window.base_ms * 10), reach * 2] if reach and not self._asks_rows else []
        return check_answers(self.ask, chosen, history_ms=lengths, known=known)

    def _watched(self, chosen: Sequence[int]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the clocks that were read, and what else was, with their lines."""
        tracer = Tracer()
        empty = caches(self._function())
        for when in chosen:
            for clear in empty:
                clear()  # what is in a cache is not read again
            with tracer.active():
                self.ask(when)
        return tracer.clocks or clock_calls(self._function()), tracer.files

    def _clocks(self, clocks: dict[str, str], chosen: Sequence[int]) -> list[Finding]:
        """Findings about clocks on which answers depend, or that cannot be shifted; the others are remarks."""
        read: set[str] = set()
        moments = chosen[:: max(1, len(chosen) // _OUTSIDE)]
        waits = waiting_calls(self._function()) if clocks else []
        shifts = SHIFTS if clocks and not waits else ()
        before = {when: self.ask(when) for when in moments} if shifts else {}
        for seconds in shifts:
            for when in moments:
                clock = ShiftedClock(seconds)
                with clock.in_place(self._function()), emptied(self._function()):
                    seen = self.ask(when)
                read |= clock.read
                if not same(before[when], seen):
                    what = ", ".join(f"{name} ({where})" for name, where in clocks.items())
                    how = "the clock was shifted"
                    signal = change_text(before[when], seen)
                    return [Finding(kind="clock", what=what, how=how, when=when, signal=signal)]
        found = []
        for name, where in clocks.items():
            if any(name.endswith(one) for one in read):
                self.remarks.append(f"it reads the clock {name} ({where}); shifted, its answers did not change")
            else:
                how = "it was watched while it was asked; this clock cannot be shifted to see whether it matters"
                if waits:  # until a moment that a shifted clock reaches in years
                    how = f"it was watched when it was asked; no clock was shifted: it waits ({', '.join(waits[:3])})"
                found.append(Finding(kind="clock", what=f"{name} ({where})", how=how, when=chosen[0]))
        return found

    def _function(self) -> Callable[..., Any]:
        strategy = self.strategy
        if self._model is not None:
            return self._model.fit
        if self._held is not None and strategy.manage is not None:
            return strategy.manage
        return strategy.get_signal if strategy.get_signals is None else strategy.get_signals

    # --- data besides the candles -------------------------------------------------------------------------------

    def _data(self, chosen: Sequence[int], answers: dict[int, Answer], read: dict[str, str]) -> list[Finding]:
        some, minutes = chosen[:: max(1, len(chosen) // (2 * _OUTSIDE))], self.window.minutes(self.plan.symbol)
        checks = DataChecks(
            self._function(),
            self.ask,
            answers=answers,
            moments=some,
            market=MarketValues(minutes.candles, self.window.base_ms, minutes.closes),
            slot=self.slot,
            end=self.plan.frame.last,
        )
        found = []
        for variable in variables(self._function()):
            value = variable.value
            if isinstance(value, Exchange) or (hasattr(value, "get_candles") and hasattr(value, "intervals")):
                finding = self._source_in(variable, some)
                found += [] if finding is None else [finding]
        named = any("candles of" in finding.what for finding in found)
        more = checks.findings(read)
        self.looked_at += checks.looked_at
        self.unseen += checks.unseen
        return found + [one for one in more if not (named and "candles of" in one.what)]

    def _threads(self) -> list[str]:
        """Names of the threads, and of the queues and loops with which threads are given work, that it reaches."""
        kinds = (threading.Thread, queue.Queue, queue.SimpleQueue, asyncio.AbstractEventLoop)
        return [one.name for one in variables(self._function()) if isinstance(one.value, kinds)]

    def _accuracy(self, answers: dict[int, Answer]) -> Accuracy:
        entries = [
            (when, 1 if answer[0] == "long" else -1, answer[3])
            for when, answer in sorted(answers.items())
            if answer[0] in ("long", "short") and answer[4] is None and answer[3] is not None
        ]
        if self.strategy.weights is not None:  # each is held for a slot, or longer
            minutes = self.slot // MINUTE_MS
            entries = [(when, side, minutes) for when, side in sides_of_weights(self._weights).items()]
        return measure(
            [(when, side) for when, side, _ in entries],
            self.window.minutes(self.plan.symbol).candles,
            slot=self.slot,
            step=self.window.base_ms,
            lifetimes=[int(minutes) for _, _, minutes in entries],
            seed=self.seed,
        )

    def _source_in(self, variable: Variable, moments: Sequence[int]) -> Finding | None:
        value = variable.value
        for when in moments:
            seen: list[tuple[str, int]] = []
            inside = value.source if isinstance(value, Exchange) else value
            recording: Any = _RecordingSource(inside, when, seen)
            if isinstance(value, Exchange):
                recording = Exchange(value.name, recording, value.callbacks)
            with variable.replaced(recording):
                answer = self.ask(when)
            if seen:
                symbol, candle = seen[0]
                return Finding(
                    kind="future",
                    what=f"candles of {symbol} fetched through the variable {variable.name} before they had closed",
                    how=f"{variable.name} was watched while it was asked",
                    when=when,
                    candle=candle,
                    signal=answer_text(answer),
                )
        return None


async def _awaited(answer: Any) -> Any:
    return await answer


def _as_answer(answer: object) -> Answer:
    if answer is None:
        return NOTHING
    if is_list(answer):
        parts = [part for one in answer if one is not None for part in _as_answer(one)]
        return ("list", *parts) if parts else NOTHING
    signal = read_answer(answer)
    if not isinstance(signal, Signal):
        return ("refused", signal.code)
    prices = target_prices(signal)
    levels = (prices[-1] if prices else None, signal.price_stop_loss, signal.minute_estimated_time, signal.price_open)
    plain = (signal.position, *(None if level is None else float(level) for level in levels))
    ladder = signal.price_take_profit if isinstance(signal.price_take_profit, tuple) else ()
    timed = (signal.until, signal.bars, None if signal.valid is UNSET else ("valid", signal.valid))
    declared = (*ladder, signal.trailing, signal.breakeven, *timed, "close" if signal.entry == "close" else None)
    declared += () if signal.size is None else (("size", signal.size),)
    percents = (("stop_percent", signal.stop_percent), ("target_percent", signal.target_percent))
    declared += tuple((name, percent) for name, percent in percents if percent is not None)
    return (*plain, *map(repr, declared)) if any(declared) else plain


_MANAGED: Final = "manage"
_ORDERS: Final = ("long", "short", "list")
_MODEL: Final = "model"
_UNCOMPARED: Final = ("note", "id")


def _as_managed(answer: object) -> Answer:
    """What ``manage`` answered, as names and values one after the other; a note is not compared."""
    if answer is None:
        return NOTHING
    answers, faults, _ = read_answers(answer)
    parts: list[Any] = []
    for one in answers:
        parts.append(type(one).__name__)
        parts += _as_answer(one) if isinstance(one, Signal) else _given(one)
    parts += [fault.code for fault in faults]
    return (_MANAGED, *parts) if parts else NOTHING


def _given(answer: msgspec.Struct) -> list[Any]:
    """Names and values of an answer, where they are not what they are by default."""
    found: list[Any] = []
    for item in msgspec.structs.fields(answer):
        value = getattr(answer, item.name)
        if item.name not in _UNCOMPARED and value != item.default:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            found += [item.name, float(value) if number else repr(value)]
    return found
