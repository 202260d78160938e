"""One combination of sliders: a backtest with its parameters, as its equity and its figures."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec.structs import replace

from ..domain.interval import MINUTE
from ..domain.least_samples import GATES
from ..domain.text import error_text
from ..engine.backtest import BacktestRun
from ..engine.get_signals_vectorised import signal_rows, unsteady_rows
from ..engine.plan import Plan, open_window
from ..engine.registration_checks import with_params
from ..errors import StrategyError
from ..events.heard import NOBODY
from ..kernels import simulate as kernel
from ..market.answer_notes import ignored
from ..market.candle_fingerprint import hash_in
from ..market.source_hours import sessions_of
from ..metrics.marked_positions import positions_from
from ..metrics.run_account import CUT_OFF, Terms, account_of, mark_run
from ..provenance.strategy_hash import running
from ..reports.fewer_points_of_lines import decimate
from ..research.deflated_sharpe import deflated_sharpe_ratio
from ..sweeps.evaluate_combination import Evaluator, Simulated
from ..sweeps.prepared_candles import OverLongerBars, goes_compiled, prepare
from ..sweeps.sweep_series import asked_of
from .measured import marked_equity, measure
from .run_record import record_of
from .tries import count_on, key_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.window import Window
    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.marked_equity import MarkedEquity
    from ..research.tries_ledger import Tries

    Floats = NDArray[np.float64]
    Times = NDArray[np.int64]

POINTS: Final = 800
"""Most points of a line."""
_CUT_OFF_CODES: Final = [
    code for code, text in kernel.REASONS.items() if text in CUT_OFF and code < kernel.FIRST_CANCEL
]


def _no_floats() -> Floats:
    return np.empty(0)


def _no_times() -> Times:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """A backtest at one combination of sliders.

    Attributes
    ----------
    params : dict
        Every parameter that was given to the strategy.
    account : Account or None
        As ``result.account`` of the same backtest; ``None`` where the strategy failed.
    results : ndarray of float64, shape (n,)
        Net results of the trades, in percent.
    time_ms, equity : ndarray, shape (k,)
        At most ``POINTS`` moments (UTC ms) and the equity then, as a multiple of the start; empty without an account.
    drawdown_ms, drawdown : ndarray, shape (m,)
        The same of the distance below the highest equity so far, percent.
    rejected : int
        Answers of the strategy that broke a rule.
    by_events : bool
        Whether the event engine ran it, and no compiled loop.
    error : str
        Why there is nothing of it; empty where there is.
    tries : Tries or None
        How many strategies were tried on these candles by then; ``None`` where that is not counted.
    best_of_worthless : float or None
        The Sharpe ratio of its trades that the best of as many worthless ones would show on average.
    sharpe : float or None
        Its own, per trade.
    """

    params: dict[str, Any]
    account: Account | None = None
    results: Floats = field(default_factory=_no_floats)
    time_ms: Times = field(default_factory=_no_times)
    equity: Floats = field(default_factory=_no_floats)
    drawdown_ms: Times = field(default_factory=_no_times)
    drawdown: Floats = field(default_factory=_no_floats)
    rejected: int = 0
    by_events: bool = False
    error: str = ""
    tries: Tries | None = None
    best_of_worthless: float | None = None
    sharpe: float | None = None


class Looks:
    """Runs one plan with any combination of parameters, over candles that are prepared once.

    Parameters
    ----------
    plan
        The backtest; its strategy's parameters are what a combination does not name.
    warn
        Is told what there is to say about candles, rows and the ledger of tries.

    Attributes
    ----------
    plan
        The same, over longer bars where its own do not cover it.
    """

    def __init__(self, plan: Plan, warn: Callable[[str], object]) -> None:
        self.plan, self._warn = plan, warn
        try:
            self._prepared = asyncio.run(prepare(plan, warn))
        except OverLongerBars as longer:
            self.plan = longer.plan
            self._prepared = asyncio.run(prepare(self.plan, warn))
        market = self._prepared.market
        span = self.plan.frame.start, self.plan.frame.last
        self._data = hash_in(*span, market.times, market.high, market.low)
        self._evaluator: Evaluator | None = None
        if self._is_fast:
            self._evaluator = Evaluator(self.plan, self._prepared)
            self._warn_of_rows()
        self._window: Window | None = None  # of the runs of the event engine

    @property
    def _is_fast(self) -> bool:
        """Whether a compiled loop may run it: rows over minutes, without a risk profile or a ``manage``."""
        return goes_compiled(self.plan.strategy) and self.plan.base == MINUTE

    @property
    def prices(self) -> tuple[Times, Floats]:
        """Moments at which base bars close (UTC ms), and their closing prices."""
        market = self._prepared.market
        return market.times + market.step, market.close

    def _warn_of_rows(self) -> None:
        """Say where rows differ from what a live run would compute."""
        plan, prepared = self.plan, self._prepared
        try:
            asked = asked_of(plan, prepared.candle_closes, prepared.opened)
            rows = signal_rows(plan.strategy, prepared.candles, asked=asked)
            first = prepared.known_at(plan.frame.start)
            warning = unsteady_rows(plan.strategy, rows, prepared.candles, first, asked=asked)
        except Exception:  # noqa: BLE001 -- the look shows it
            return
        if warning is not None:
            self._warn(warning)

    def at(self, params: Mapping[str, Any]) -> Look:
        """The backtest with these parameters over those of the plan, counted in the ledger of tries.

        What the user's function raises is the ``error`` of the look. Blocks; not on a thread that has a running loop.
        """
        plan = replace(self.plan, strategy=with_params(self.plan.strategy, params))
        key = key_of(plan)
        with running(plan.strategy):
            found = self._made(plan, params)
        tries = count_on(plan, [key], self._data, warn=self._warn) if key else None
        return _counted(found, tries)

    def _made(self, plan: Plan, params: Mapping[str, Any]) -> Look:
        try:
            simulated = self._evaluator.simulated(params) if self._evaluator is not None else None
            if simulated is not None and simulated.is_whole:
                return self._of_loop(plan, simulated)
            return self._of_events(plan)
        except ImportError:
            raise
        except Exception as error:  # noqa: BLE001 -- another combination may do
            text = " ".join(error_text(error).split())
            return Look(params=dict(plan.strategy.params), error=f"{type(error).__name__}: {text}"[:300])

    def _of_loop(self, plan: Plan, simulated: Simulated) -> Look:
        ends, market = simulated.ends, self._prepared.market
        closed = ends[ends[:, kernel.REASON] < kernel.FIRST_CANCEL]
        positions = positions_from(
            opened_ms=closed[:, kernel.PENDING_AT].astype(np.int64),
            closed_ms=closed[:, kernel.CLOSED_AT].astype(np.int64),
            side=closed[:, kernel.SIDE],
            price_open=closed[:, kernel.OPEN],
            price_close=closed[:, kernel.CLOSE],
            net=closed[:, kernel.NET],
            fee=closed[:, kernel.FEE],
            slippage=closed[:, kernel.SLIPPAGE],
        )
        sizes = closed[:, kernel.OF_EQUITY]
        if not (every := np.isnan(sizes)).all():
            positions = dataclasses.replace(positions, size=np.where(every, 1.0, sizes))
        settings = plan.settings
        terms = Terms(
            start=plan.frame.start,
            end=plan.frame.last,
            slippage=settings.percent_slippage,
            fee=settings.percent_fee,
            sessions=sessions_of(plan.exchange.source, plan.symbol) is not None,
            bar_ms=market.step,
        )
        marked = mark_run(positions, market.times, market.close, terms)
        cut_off = int(np.isin(closed[:, kernel.REASON], _CUT_OFF_CODES).sum())
        bars = market.times, market.open, market.close
        below = marked.drawdown
        account = account_of(marked, positions, *bars, terms, closed=(), cut_off=cut_off, below=below)
        rejected = sum(count for _, _, count in simulated.refusals)
        lines = _lines(marked, below)
        return _look(plan, account, closed[:, kernel.NET], lines, rejected=rejected)

    def _of_events(self, plan: Plan) -> Look:
        if self._window is None:
            self._window = open_window(plan, warn=ignored)
            if self._prepared.held is not None:
                self._window.take_over(*self._prepared.held)
        run = BacktestRun(
            replace(plan, strategy=replace(plan.strategy, callbacks={})), listeners=NOBODY, window=self._window
        )
        asyncio.run(run.through())
        failures = [failure for failure in run.records.failures if failure.kind != "warm-up"]
        if failures and not run.records.ends:
            raise StrategyError(f"{failures[0].message} ({failures[0].where}, {failures[0].count} times)")
        record = record_of(run)
        account = measure(record).account
        lines: dict[str, Any] = {}
        if "total_return" not in account.reasons:
            marked = marked_equity(record)
            lines = _lines(marked, marked.drawdown)
        results = np.array([event.pnl.pnl_percentage for event in run.records.closed], dtype=np.float64)
        return _look(plan, account, results, lines, rejected=len(run.records.rejected), by_events=True)


def _lines(marked: MarkedEquity, below: Floats) -> dict[str, Any]:
    """The lines of a look; ``below`` is the drawdown."""
    time_ms, equity = decimate(marked.time_ms, marked.equity, POINTS)
    drawdown_ms, drawdown = decimate(marked.path_time_ms, below, POINTS)
    return {"time_ms": time_ms, "equity": equity, "drawdown_ms": drawdown_ms, "drawdown": drawdown}


def _look(plan: Plan, account: Account, results: Floats, lines: dict[str, Any], **more: Any) -> Look:
    return Look(params=dict(plan.strategy.params), account=account, results=results, **lines, **more)


def _counted(look: Look, tries: Tries | None) -> Look:
    """The look with its count, and what the best of so many worthless strategies would show."""
    finite = look.results[np.isfinite(look.results)]
    if look.error or len(finite) < GATES.min_trades:
        return dataclasses.replace(look, tries=tries)
    deflated = deflated_sharpe_ratio(finite, trials=1 if tries is None else tries.count)
    return dataclasses.replace(
        look, tries=tries, best_of_worthless=deflated.expected_maximum, sharpe=deflated.sharpe_ratio
    )
