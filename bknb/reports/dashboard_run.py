"""The state of one run as the panels show it, rebuilt from its events alone.

A :class:`RunView` takes the events of one run in the order in which they arrive and holds rows and arrays. It knows no
widget, no clock and no engine, so it shows a live run, a backtest and a finished result alike.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..domain.interval import MINUTE_MS
from ..domain.signal_events import (
    Active,
    AddCancelled,
    Added,
    Cancelled,
    Closed,
    Idle,
    Milestone,
    Moved,
    Opened,
    Reduced,
    Rejected,
    RiskRefused,
    Scaled,
    Scheduled,
)
from ..events.listener_failures import ListenerFailure, ListenerOverflow
from ..events.messages import Done, ErrorEvent, Performance, Progress, WalkerStep
from .candles_thinned_for_zoom import PriceLine
from .dashboard_panels import MANAGED, PANELS
from .levels_of_open_signals import Level
from .managed_marks import Stairs
from .pace_of_run import Pace
from .problems_of_run import Problems
from .progress_text import interval_minutes
from .ranking_of_comparison import Ranked, Ranking
from .signals_of_run import SignalsOfRun

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.run_account import Terms

Key: TypeAlias = tuple[str, str, str]
"""Mode, symbol and strategy: together they identify a run at any moment."""

ROWS_HELD: Final = 500
"""Rows in the list of refusals or of milestones; older ones are only counted."""


@dataclass(slots=True)
class Timing:
    """Durations of one kind, in milliseconds."""

    count: int = 0
    total_ms: float = 0.0
    longest_ms: float = 0.0
    last_ms: float = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one duration, in milliseconds."""
        self.count += 1
        self.total_ms += duration_ms
        self.longest_ms = max(self.longest_ms, duration_ms)
        self.last_ms = duration_ms


class RunView:
    """The state of one run as a dashboard shows it.

    Attributes
    ----------
    symbol, strategy, mode : str
        Which run.
    status : str
        ``pending``, and at the end ``fulfilled``, ``rejected`` or ``stopped``.
    start_ms, end_ms : int or None
        First and last moment, UTC milliseconds, where known.
    processed, total : int
        Moments behind, and all of them; both 0 while unknown.
    signals : SignalsOfRun
        Open and scheduled ones, trades, and what was managed.
    problems : Problems
    ranking : Ranking
        Of a comparison.
    in_money : bool
        Whether the run has a capital, and so an equity in any case.
    worth : tuple of two arrays or None
        Moments (UTC ms) and the account of a run with a capital, as multiples of its start, where trades tell none.
    candles : Candles or None
        Where they are known; a live run without them draws its prices.
    version : dict of str to int
        How often what each panel shows has changed.

    Examples
    --------
    >>> view = RunView("BTCUSDT", "sma", mode="live")
    >>> view.take(Idle(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=60_000,
    ...                 price=100.0))
    >>> view.last_ms, view.last_price
    (60000, 100.0)
    """

    def __init__(
        self,
        symbol: str,
        strategy: str,
        *,
        mode: str = "backtest",
        start_ms: int | None = None,
        end_ms: int | None = None,
        interval: str = "1m",
        title: str = "",
    ) -> None:
        self.symbol, self.strategy, self.mode = symbol, strategy, mode
        self.title = title or f"{strategy} · {symbol}"
        self.status = "pending"
        self.start_ms, self.end_ms = start_ms, end_ms
        self.step_minutes = interval_minutes(interval)
        self.processed = self.total = 0
        self.signals = SignalsOfRun()
        self.refused: deque[RiskRefused] = deque(maxlen=ROWS_HELD)
        self.milestones: deque[Milestone] = deque(maxlen=ROWS_HELD)
        self.in_money = False
        self.worth: tuple[Any, Any] | None = None
        self.problems = Problems(ROWS_HELD)
        self.timings: dict[str, Timing] = {}
        self.counts = {"risk": 0, "milestones": 0, "rejected": 0, "cancelled": 0}
        self.ranking = Ranking()
        self.candles: Any = None
        self.account: Account | None = None
        self.terms: Terms | None = None
        self.last_ms: int | None = None
        self.last_price: float | None = None
        self.state: dict[str, str] = {}
        self.price_ms: array[float] = array("d")
        self.prices: array[float] = array("d")
        self.version: dict[str, int] = dict.fromkeys((*PANELS, MANAGED), 0)
        self._pace = Pace()

    @property
    def key(self) -> Key:
        """Mode, symbol and strategy of the run."""
        return (self.mode, self.symbol, self.strategy)

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.status != "pending"

    def _changed(self, *panels: str) -> None:
        for panel in panels:
            self.version[panel] += 1

    # -- events ------------------------------------------------------------------------------------------------------

    def take(self, event: Any) -> None:
        """Apply one event of this run; kinds no panel shows are ignored."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        elif isinstance(event, Ranked):
            self.set_comparison(event)

    def take_all(self, events: Iterable[Any]) -> None:
        """Apply many events, in order."""
        for event in events:
            self.take(event)

    def _at(self, event: Any) -> None:
        when, price = event.when, event.price
        if self.last_ms is None or when >= self.last_ms:
            self.last_ms, self.last_price = when, price
        if self.mode == "live" and (not self.price_ms or when > self.price_ms[-1]):
            self.price_ms.append(when)
            self.prices.append(price)
            self._changed("price")
            if self.signals.holds_position:
                self._changed("equity", "statistics")
        self._changed("status")

    def _signal(self, event: Any) -> None:
        self._at(event)
        self._changed(*self.signals.take(event))

    def _cancelled(self, event: Cancelled) -> None:
        self._signal(event)
        self.counts["cancelled"] += 1

    def _milestone(self, event: Milestone) -> None:
        self.milestones.append(event)
        self.counts["milestones"] += 1
        self._changed("milestones", *self.signals.pass_milestone(event))

    def _refused(self, event: RiskRefused) -> None:
        self.signals.remember(event)
        self.refused.append(event)
        self.counts["risk"] += 1
        self._changed("risk")

    def _rejected(self, event: Rejected) -> None:
        self.problems.reject(event)
        self.counts["rejected"] += 1
        self._changed("problems")

    def _scaled(self, event: Scaled) -> None:
        self.problems.scale(event)
        self._changed("problems")

    def _error(self, event: Any) -> None:
        self.problems.error(event)
        if event.kind == "run":  # what ended it
            self.status = "rejected"
            self._changed("status")
        self._changed("problems")

    def _listener(self, event: Any) -> None:
        self.problems.listener(event)
        self._changed("problems")

    def failure(self, failure: Any) -> None:
        """Add a failure that a result has counted."""
        self.problems.counted(failure)
        self._changed("problems")

    def failed(self, message: str) -> None:
        """Set the status to ``rejected``, with the error where no event has reported it."""
        self.problems.failed(message, self.last_ms)
        self._changed("problems")
        self.ended("rejected")

    def warn(self, texts: Iterable[str]) -> None:
        """Replace the warnings of the run."""
        self.problems.warn(texts)
        self._changed("problems")

    def _progress(self, event: Any) -> None:
        self.set_progress(event.processed, event.total)
        self._changed("status")

    def _performance(self, event: Any) -> None:
        timing = self.timings.get(event.metric)
        if timing is None:
            timing = self.timings[event.metric] = Timing()
        timing.add(event.duration_ms)
        self._changed("timings")

    def _done(self, _event: Any) -> None:
        if self.status == "pending":
            self.status = "fulfilled"
        self._changed("status", "signals")

    def _step(self, step: Any) -> None:
        self.ranking.add(step)
        self.set_progress(step.tested, step.total)
        self._changed("walker", "status")

    def set_comparison(self, comparison: Ranked) -> None:
        """Replace the ranking by that of a finished comparison."""
        self.ranking.replace(comparison)
        self.set_progress(len(comparison.entries), comparison.total)
        self.warn(comparison.warnings)
        self._changed("walker", "status")

    def set_progress(self, processed: int, total: int) -> None:
        """Set how many slots (of a comparison: strategies) are processed, and how many there are."""
        self.processed, self.total = processed, total

    def set_plan(self, planned: RunView) -> None:
        """Take title, range and interval from the view of a task; events alone do not hold them."""
        self.start_ms, self.end_ms, self.title = planned.start_ms, planned.end_ms, planned.title
        self.step_minutes, self.in_money = planned.step_minutes, planned.in_money

    def set_state(self, facts: Mapping[str, str]) -> None:
        """Replace the facts a live run reports, such as its state on disk."""
        self.state = dict(facts)
        self._changed("status")

    def ended(self, status: str) -> None:
        """Set the final status."""
        self.status = status
        self._changed("status")

    def set_candles(self, candles: Any) -> None:
        """Set the candles, once they are loaded; a live run may set newer ones again."""
        if len(candles) and candles is not self.candles:
            self.candles = candles
            self._changed("price")

    def set_account(self, account: Account) -> None:
        """Set the figures of the account of a finished run, or of a live one as they are now."""
        self.account = account
        self._changed("statistics", "equity")

    def set_worth(self, times: Any, worth: Any) -> None:
        """Set what the account of a run with a capital was worth at moments (UTC ms) up to now, quote currency."""
        self.worth = times, worth / worth[0]
        self._changed("equity", "status")

    def set_held(self, position: HeldPosition) -> None:
        """Set what an open position is now, of which events need not tell all: those of an earlier life are gone."""
        self._changed(*self.signals.set_held(position))

    def set_stairs(self, stairs: Sequence[Stairs]) -> None:
        """Set the stops over time, trailing ones included; positions that are not among them keep what they had."""
        self._changed(*self.signals.set_stairs(stairs))

    def extend_stop(self, level: Level, when: int) -> None:
        """Add the stop of an open position to its stairs, from ``when`` (UTC ms) on, unless they end there already."""
        self._changed(*self.signals.extend_stop(level, when))

    @property
    def stairs(self) -> Sequence[Stairs]:
        """The stops of positions over time; while the run goes on, as far as events tell them."""
        return self.signals.stairs(self.last_ms or 0)

    def set_terms(self, terms: Terms) -> None:
        """Set what the account of the run rests on: how far it came, its costs, whether its market has sessions."""
        self.terms = terms

    # -- queries -----------------------------------------------------------------------------------------------------

    def pace(self, seconds: float) -> tuple[float | None, float | None]:
        """Minutes of history per second, and seconds left; None while they cannot be known.

        Parameters
        ----------
        seconds : float
            The caller's clock; only distances count.
        """
        rate, left = self._pace.measure(self.processed, self.total, seconds=seconds)
        return None if rate is None else rate * self.step_minutes, left

    def why(self, signal_id: str) -> str:
        """The events of the signals with an id, one per line; a sentence when there are none."""
        return self.signals.why(signal_id, self.problems.rejections)

    def series(self) -> Any:
        """The prices to draw: candles, and where a live run has none (any more) the prices of its events."""
        if self.candles is None:
            return PriceLine.of(self.price_ms, self.prices)
        return PriceLine.around(self.candles, self.price_ms, self.prices) if self.price_ms else self.candles

    def span(self) -> tuple[int, int]:
        """First and last moment to draw, UTC milliseconds."""
        times = self.series().timestamp
        first = self.start_ms if self.start_ms is not None else (int(times[0]) if len(times) else 0)
        last = self.end_ms if self.end_ms is not None else (int(times[-1]) if len(times) else first)
        if self.signals.trades.closed_ms:
            last = max(last, int(self.signals.trades.closed_ms[-1]))
        return first, max(last, first + MINUTE_MS)


_HANDLERS: Final[dict[type, Callable[[RunView, Any], None]]] = {
    Idle: RunView._at,
    Active: RunView._signal,
    Scheduled: RunView._signal,
    Opened: RunView._signal,
    Closed: RunView._signal,
    Cancelled: RunView._cancelled,
    Milestone: RunView._milestone,
    Reduced: RunView._signal,
    Added: RunView._signal,
    AddCancelled: RunView._signal,
    Moved: RunView._signal,
    RiskRefused: RunView._refused,
    Rejected: RunView._rejected,
    Scaled: RunView._scaled,
    ErrorEvent: RunView._error,
    ListenerFailure: RunView._listener,
    ListenerOverflow: RunView._listener,
    Progress: RunView._progress,
    Performance: RunView._performance,
    Done: RunView._done,
    WalkerStep: RunView._step,
}
