"""Evaluating one combination of a sweep on prepared candles: figures and daily returns.

A vectorised strategy without a risk profile goes through a compiled loop, that of signals or that of weights; every
other one through the event engine. All give the same table of ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import MINUTE_MS, WEEK
from ..domain.least_samples import GATES
from ..domain.profit_of_partial_closes import closed_points
from ..domain.text import error_text
from ..domain.tick_grid import tick_numbers
from ..engine.backtest import BacktestRun
from ..engine.get_signals_vectorised import signal_rows
from ..engine.plan import Plan, open_window
from ..engine.registration_checks import with_params
from ..errors import UsageError
from ..events.heard import NOBODY
from ..kernels import simulate as kernel
from ..kernels.declared_exit_loop import Exits
from ..kernels.row_orders_loop import simulate_orders
from ..kernels.sweep_figures import FIGURES, daily, daily_plain, score, score_plain
from ..kernels.weight_loop import WeightRows, orders_wait, simulate_weights
from ..market.answer_notes import ignored
from ..market.source_hours import bar_grid_of
from .kernel_inputs import CLOSE_CODES, fixed, fixed_market, grid_of, is_exact, row_orders, rule_numbers
from .packed_days import frame_days
from .prepared_candles import Prepared, goes_compiled
from .refused_answers import of_events, of_table
from .sweep_series import asked_of, run_series
from .symbol_means import COMPOUNDED, PERCENTAGES, is_at_zero, with_ratios_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..domain.signal_events import Cancelled, Closed
    from ..domain.sweep_trial import Refusals
    from ..engine.get_signals_columns import SignalRows
    from ..engine.records import Records
    from ..engine.registry import Strategy
    from ..market.window import Window
    from .row_lifetimes import Lifetimes, RowLifetimes

_NO_SOURCE: Final = (
    "rows with until or bars need the exchange, which workers have where the rows of the first combination have these "
    "columns\nreturn them in every combination, with NaN where there is none"
)
_NO_CANDLES: Final = (
    "rows that read indicators need the exchange, which workers have where the rows of the first combination read "
    "some\nread them in every combination"
)
_CANCEL_CODES: Final = {text: code for code, text in kernel.REASONS.items() if code >= kernel.FIRST_CANCEL}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one combination on one symbol.

    Attributes
    ----------
    figures : ndarray of float64, shape (len(FIGURES),)
        NaN where not available.
    daily : ndarray of float64, shape (days,)
        Net return of each day of the frame, as a fraction.
    rejected : int
        Answers that broke a rule.
    ends : ndarray or None
        The table of ends, with ``keep_ends``.
    error : str
        Why the combination failed; empty when it did not.
    refusals : tuple
        What was rejected, by rule.
    """

    figures: NDArray[np.float64]
    daily: NDArray[np.float64]
    rejected: int = 0
    ends: NDArray[np.float64] | None = None
    error: str = ""
    refusals: Refusals = ()


class Simulated(NamedTuple):
    """What a compiled loop made of one combination.

    Attributes
    ----------
    ends
        The table of ends.
    refusals
        What was rejected, by rule.
    rows
        What the strategy answered.
    """

    ends: NDArray[np.float64]
    refusals: Refusals
    rows: SignalRows

    @property
    def is_whole(self) -> bool:
        """Whether each position was bought in one fill and left in one."""
        rows = self.rows
        if (self.ends[:, kernel.ADDS] > 0).any():
            return False
        if rows.weight is not None:
            return bool(np.isin(rows.weight[~np.isnan(rows.weight)], (0.0, 1.0)).all())
        return rows.exits is None or all(bool(np.isnan(level).all()) for level in rows.exits.targets)


class Evaluator:
    """Evaluates combinations of parameters on the prepared candles of one symbol.

    Parameters
    ----------
    plan
        The backtest that the sweep repeats; its strategy's parameters are what a combination does not name.
    prepared
        The candles of its symbol.
    keep_ends
        Whether outcomes carry their tables of ends.
    """

    def __init__(self, plan: Plan, prepared: Prepared, *, keep_ends: bool = False) -> None:
        self.plan = plan
        self.keep_ends = keep_ends
        model = execution_model(plan.execution)
        self.first_day, self.days = frame_days(plan)
        self._rules = rule_numbers(plan)
        self._published = run_series(plan)
        self._grid = grid_of(plan, prepared)
        if len(prepared.days.opens):
            self._rules = self._rules._replace(await_ms=plan.settings.schedule_await_minutes * MINUTE_MS)
        # the same for every combination
        self._asked = asked_of(plan, prepared.candle_closes, _window_of(self), self._published)
        self._row_closes = fixed(prepared.closes)
        by_events = needs_source(plan, prepared)
        self._compiled = _is_compiled(plan) if plan.strategy.tolerance is None else not by_events
        self._exact_grid = is_exact(plan.settings.price_tick, prepared.market)
        self._window: Window | None = None  # shared by all its runs
        market = fixed_market(prepared)
        self.at_zero = prepared.of_points or is_at_zero(market)
        prepared = dataclasses.replace(prepared, market=market)
        self.prepared = prepared
        self._blocks = (
            kernel.MarketBlocks(market, watches_average=model.watches == "average") if self._compiled else None
        )
        if by_events:
            self._window = self._new_window()

    def opened(self) -> Window:
        """The candles for what rows read beside theirs."""
        if self._window is None:
            if self.prepared.window is None and self.plan.exchange.source is None:
                raise UsageError(_NO_CANDLES)
            self._window = self.prepared.window or self._new_window()
        return self._window

    def _new_window(self) -> Window:
        window = open_window(self.plan, warn=ignored)
        if self.prepared.held is not None:
            window.take_over(*self.prepared.held)
        return window

    def evaluate(self, params: Mapping[str, Any]) -> Outcome:
        """Return the outcome of one combination; what the user's function raises becomes its ``error``."""
        try:
            simulated = self.simulated(params)
            if simulated is not None:
                ends, refusals = simulated.ends, simulated.refusals
                figures, returns = score(ends, GATES), daily(ends, self.first_day, self.days)
            else:
                if self.plan.exchange.source is None:
                    raise UsageError(_NO_SOURCE)
                records = self._run_events(with_params(self.plan.strategy, params))
                ends, refusals = ends_of(records), of_events(records.rejected)
                if records.opened_below_zero:
                    figures, returns = score_in_points(ends, records, self.plan), np.zeros(self.days)
                else:
                    figures, returns = score_plain(ends, GATES), daily_plain(ends, self.first_day, self.days)
                    if records.in_places:
                        figures[COMPOUNDED] = np.nan
                    if self.at_zero:  # other combinations may be in points
                        figures = with_ratios_of(score_in_points(ends, records, self.plan), figures)
        except ImportError:
            raise
        except Exception as error:  # noqa: BLE001 -- one bad combination does not end a sweep
            text = " ".join(error_text(error).split())
            return Outcome(
                np.full(len(FIGURES), np.nan), np.zeros(self.days), error=f"{type(error).__name__}: {text}"[:300]
            )
        rejected = sum(count for _, _, count in refusals)
        return Outcome(figures, returns, rejected, ends if self.keep_ends else None, refusals=refusals)

    def simulated(self, params: Mapping[str, Any]) -> Simulated | None:
        """What a compiled loop makes of one combination; ``None`` where it needs the event engine.

        Raises whatever the user's function raises.
        """
        if not self._compiled:
            return None
        given = signal_rows(self.plan.strategy, self.prepared.candles, params, asked=self._asked)
        rows = given.on_grid(self.plan.settings.price_tick)
        lifetimes: Lifetimes | None = None
        if rows.timed is not None:
            if self.plan.exchange.source is None:
                raise UsageError(_NO_SOURCE)
            lifetimes = self._lifetimes.of(rows)
            if lifetimes is None:
                return None
        if not self._exact_grid and (rows.exits is not None or rows.has_orders):
            return None
        ends, table = self._simulate(rows, lifetimes)
        return Simulated(ends, of_table(table, given, self.plan), rows)

    @cached_property
    def _lifetimes(self) -> RowLifetimes:
        from .row_lifetimes import RowLifetimes  # few rows have deadlines by the clock

        return RowLifetimes(self.plan, self.prepared.market)

    def _simulate(
        self, rows: SignalRows, lifetimes: Lifetimes | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assert self._blocks is not None  # compiled  # noqa: S101
        if rows.weight is not None:
            return simulate_weights(
                self.prepared.market, self._blocks, self._grid, self.weight_rows(rows.weight), self._rules
            )
        table, exits = self.table(rows), self.exits(rows)
        if lifetimes is not None:
            exits = (self._without_exits(rows) if exits is None else exits)._replace(
                lasts=fixed(lifetimes.lasts), ends=fixed(lifetimes.ends), closes=fixed(lifetimes.closes)
            )
        given = (self.prepared.market, self._blocks, self._grid, table)
        if not rows.has_orders:
            return kernel.simulate(*given, self._rules, exits)
        if exits is None:
            exits = self._without_exits(rows)
        return simulate_orders(*given, row_orders(rows), self._rules, exits)

    def table(self, rows: SignalRows) -> kernel.Rows:
        """What a strategy answers, with prices on the tick grid, for the compiled loop."""
        columns = (rows.position, rows.price_take_profit, rows.price_stop_loss, rows.minutes, rows.price_open)
        position, target, stop, minutes, level = map(fixed, columns)
        return kernel.Rows(self._row_closes, position, target, stop, minutes, level, fixed(rows.stop_entry))

    def weight_rows(self, weight: NDArray[np.float64]) -> WeightRows:
        """What is to be held, for the compiled loop of weights."""
        assert self.plan.strategy.tolerance is not None  # its rows are weights  # noqa: S101
        wants = ~np.isnan(weight) & (weight != 0)
        return WeightRows(self._row_closes, fixed(weight), fixed(wants), self.plan.strategy.tolerance)

    def exits(self, rows: SignalRows) -> Exits | None:
        """What rows declare besides one target, one stop and a deadline, for the compiled loop."""
        given, tick = rows.exits, self.plan.settings.price_tick
        if given is None:
            return None
        return Exits(
            fixed(given.leave_long),
            fixed(given.leave_short),
            fixed(given.trailing_percent),
            fixed(given.trailing_after),
            fixed(given.breakeven_after),
            tuple(map(fixed, given.targets)),
            tuple(map(fixed, given.shares)),
            *tick_numbers(tick),
        )

    def _without_exits(self, rows: SignalRows) -> Exits:
        tick, unit, scale = tick_numbers(self.plan.settings.price_tick)
        return kernel.no_exits(len(rows))._replace(tick=tick, unit=unit, scale=scale)

    def columns_of_events(self, params: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Of the trades of one combination what a table of ends has not: their points, or their places."""
        records = self._run_events(with_params(self.plan.strategy, params))
        found: dict[str, list[Any]] = {}
        if getattr(self.plan.exchange.source, "negative", False):
            found["points"] = points_of(records, self.plan)
        if records.in_places:
            found["place"] = [event.signal.place for event in records.closed]
        return found

    def _run_events(self, strategy: Strategy) -> Records:
        plan = replace(self.plan, strategy=replace(strategy, callbacks={}))
        run = BacktestRun(plan, listeners=NOBODY, window=self._window, published=self._published)
        asyncio.run(run.through())
        failures = [failure for failure in run.records.failures if failure.kind != "warm-up"]
        if failures and not run.records.ends:
            raise RuntimeError(f"{failures[0].message} ({failures[0].where}, {failures[0].count} times)")
        return run.records


def _window_of(evaluator: Evaluator) -> Callable[[], Window]:
    """What opens the candles of an evaluator; it does not hold it, so that the memory of candles is free at once."""
    held = weakref.ref(evaluator)

    def opened() -> Window:
        found = held()
        assert found is not None  # it is asked while the evaluator works  # noqa: S101
        return found.opened()

    return opened


def needs_source(plan: Plan, prepared: Prepared) -> bool:
    """Whether some combination may go through the event engine, which fetches its candles from the exchange.

    All of them do with weights whose orders may wait over a question.
    """
    if not _is_compiled(plan):
        return True
    if plan.strategy.tolerance is None:
        return not is_exact(plan.settings.price_tick, prepared.market)
    return len(prepared.days.opens) > 0 or orders_wait(prepared.market, grid_of(plan, prepared))


def _is_compiled(plan: Plan) -> bool:
    """Whether the compiled loop can run a plan: bars on the grid of UTC, or weeks, with prices above 0."""
    source = plan.exchange.source
    is_usual = bar_grid_of(source, plan.symbol) is None or plan.base == WEEK  # one moment in each seven days
    return goes_compiled(plan.strategy) and is_usual and not getattr(source, "negative", False)


def ends_of(records: Records) -> NDArray[np.float64]:
    """Return the closed and cancelled results of an event-driven run as a table of ends; ``ROW`` is -1."""
    ends = np.full((len(records.ends), kernel.WIDTH), np.nan)
    for line, event in zip(ends, records.ends, strict=True):
        _fill(line, event)
    return ends


def points_of(records: Records, plan: Plan) -> list[float]:
    """The results of the closed trades of an event-driven run in points, quote currency for each unit."""
    slippage, fee = plan.settings.percent_slippage, plan.settings.percent_fee
    return [closed_points(event, slippage=slippage, fee=fee) for event in records.closed]


def score_in_points(ends: NDArray[np.float64], records: Records, plan: Plan) -> NDArray[np.float64]:
    """The figures of an event-driven run in which a position opened at or below zero: those without a unit alone."""
    scored = ends.copy()
    scored[ends[:, kernel.REASON] < kernel.FIRST_CANCEL, kernel.NET] = points_of(records, plan)
    scored[:, kernel.ADDS], scored[:, kernel.OF_EQUITY] = 1.0, np.nan  # there is no account of them
    figures = score_plain(scored, GATES)
    figures[PERCENTAGES] = np.nan
    return figures


def _fill(line: NDArray[np.float64], event: Closed | Cancelled) -> None:
    signal = event.signal
    line[kernel.ROW] = -1
    line[kernel.SIDE] = 1 if signal.position == "long" else -1
    line[kernel.SCHEDULED_AT], line[kernel.CLOSED_AT] = signal.scheduled_at, event.closed_at
    levels = (signal.price_open, signal.price_take_profit, signal.price_stop_loss)
    line[kernel.OPEN : kernel.STOP + 1] = [np.nan if level is None else level for level in levels]
    line[kernel.AMBIGUOUS] = 0.0
    if event.action == "cancelled":
        line[kernel.CLOSE], line[kernel.REASON] = event.price, _CANCEL_CODES[event.reason]
        return
    pnl = event.pnl
    line[kernel.PENDING_AT] = event.signal.pending_at
    line[kernel.CLOSE], line[kernel.REASON] = event.price_close, CLOSE_CODES[event.close_reason]
    line[kernel.NET : kernel.SLIPPAGE + 1] = (
        pnl.pnl_percentage,
        pnl.gross_percentage,
        pnl.fee_percentage,
        pnl.slippage_percentage,
    )
    line[kernel.PEAK], line[kernel.TROUGH] = event.peak_percentage, event.trough_percentage
    line[kernel.AMBIGUOUS] = float(event.ambiguous)
    line[kernel.LARGEST_COST], line[kernel.ADDS] = event.largest_cost, event.adds
    if signal.size is not None:
        line[kernel.OF_EQUITY] = signal.size
