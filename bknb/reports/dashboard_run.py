"""The state of one run as the panels show it, rebuilt from its events alone.

A :class:`RunView` takes the events of one run in the order in which they arrive and holds rows and arrays. It knows no
widget, no clock and no engine, so it shows a live run, a backtest and a finished result alike.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from ..domain.formatting import MISSING
from ..domain.interval import MINUTE_MS
from ..domain.position_fills import Fill
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
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
    PositionEvent,
    Reduced,
    Rejected,
    RiskRefused,
    Scaled,
    Scheduled,
)
from ..events.listener_failures import ListenerFailure, ListenerOverflow
from ..events.messages import Done, ErrorEvent, Performance, Progress, WalkerStep
from ..metrics.account_definitions import BESIDE_TRADES, account_text
from ..metrics.reasons import ADDS, BELOW_ZERO
from ..metrics.trade_definitions import label_of, lower_is_better
from ..metrics.why_figure_is_missing import explained_text
from .candles_thinned_for_zoom import PriceLine
from .closed_trade_columns import Trades
from .dashboard_panels import MANAGED, PANELS
from .levels_of_open_signals import Level, target_and_stop_percent
from .managed_marks import NAMES, Stairs, stairs_of_moves
from .progress_text import interval_minutes
from .signal_story import RANK, event_line, with_rejected

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..metrics.annualised_sharpe_sortino_and_drawdown import Account
    from ..metrics.run_account import Terms

Key: TypeAlias = tuple[str, str, str]
"""Mode, symbol and strategy: together they identify a run at any moment."""

ROWS_HELD: Final = 500
"""Rows in the list of refusals or of milestones; older ones are only counted."""
_RATE_SECONDS: Final = 4.0
"""The rate of a run is measured over this long: steady for the eye, and true again soon after a pause."""


@dataclass(slots=True)
class Trouble:
    """One kind of error or rejection, and how often it occurred."""

    kind: str
    message: str
    where: str
    count: int
    when: int | None

    def add(self, when: int | None, *, at_least: int = 0) -> None:
        """Count one occurrence (UTC ms, if known); the count is ``at_least`` that of the event."""
        self.count = max(self.count + 1, at_least)
        self.when = when


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


def _ranked(each: Any, metric: str) -> dict[str, str]:
    """One row of a ranking: the figure that ranks, then what became of the account."""
    failed = f"{MISSING}: failed"
    keys = dict.fromkeys((metric, "n", "win_rate"))
    texts = {label_of(key): failed if each.error else explained_text(key, each.stats) for key in keys}
    without = ADDS if each.stats.get("total_pnl") is not None else BELOW_ZERO
    texts |= {
        BESIDE_TRADES[key].label: failed if each.error else account_text(key, each.account[key], without)
        for key in ("total_return", "max_drawdown")
    }
    return {"Strategy": each.strategy, **texts, "Failed": each.error}


@runtime_checkable
class Ranked(Protocol):
    """A whole comparison, as a dashboard needs it: ``bknb.Comparison``."""

    metric: str
    entries: Sequence[Any]
    total: int
    warnings: Sequence[str]


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
    trades : Trades
    levels : dict of (str, int) to Level
        Open and scheduled signals by id and the moment they were decided at (UTC ms).
    managed : list
        Partial fills, adds and moved stops, in order.
    positions_managed : dict of (str, int) to (OpenSignal, float)
        Positions with a ladder or a trailing stop, or of which something was managed, by the same, and when each ended
        (UTC ms); NaN while it is open.
    no_equity : str
        Why the trades alone tell no equity; empty where they do.
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
        self.trades = Trades()
        self.levels: dict[SignalKey, Level] = {}
        self.cancelled: list[Cancelled] = []
        self.refused: deque[RiskRefused] = deque(maxlen=ROWS_HELD)
        self.milestones: deque[Milestone] = deque(maxlen=ROWS_HELD)
        self.managed: list[PositionEvent] = []
        self.positions_managed: dict[SignalKey, tuple[OpenSignal, float]] = {}
        self.no_equity = ""
        self.in_money = False
        self.worth: tuple[Any, Any] | None = None
        self._stairs: Sequence[Stairs] | None = None
        self.rejected: dict[str, Trouble] = {}
        self.rejections: deque[Rejected] = deque(maxlen=ROWS_HELD)
        self.troubles: dict[tuple[str, str, str], Trouble] = {}
        self.warnings: list[str] = []
        self.timings: dict[str, Timing] = {}
        self.counts = {"risk": 0, "milestones": 0, "rejected": 0, "cancelled": 0}
        self.ranking: list[dict[str, str]] = []
        self._steps: dict[str, Any] = {}
        self.candles: Any = None
        self.account: Account | None = None
        self.terms: Terms | None = None
        self.last_ms: int | None = None
        self.last_price: float | None = None
        self.state: dict[str, str] = {}
        self.price_ms: array[float] = array("d")
        self.prices: array[float] = array("d")
        self.version: dict[str, int] = dict.fromkeys((*PANELS, MANAGED), 0)
        self._signal_events: dict[SignalKey, list[Any]] = {}
        self._paces: deque[tuple[float, int]] = deque()

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

    @property
    def holds_position(self) -> bool:
        """Whether a position is open."""
        return any(level.is_open for level in self.levels.values())

    def _at(self, event: Any) -> None:
        when, price = event.when, event.price
        if self.last_ms is None or when >= self.last_ms:
            self.last_ms, self.last_price = when, price
        if self.mode == "live" and (not self.price_ms or when > self.price_ms[-1]):
            self.price_ms.append(when)
            self.prices.append(price)
            self._changed("price")
            if self.holds_position:
                self._changed("equity", "statistics")
        self._changed("status")

    def _remember(self, event: Any) -> None:
        self._signal_events.setdefault(key_of(event.signal), []).append(event)

    def _idle(self, event: Idle) -> None:
        self._at(event)

    def _active(self, event: Active) -> None:
        self._at(event)
        level = self.levels.get(key_of(event.signal))
        if level is None or level.row != event.signal:
            level = self._open(event.signal, (0.0, 0.0), event)
        level.percent_tp, level.percent_sl = event.percent_tp, event.percent_sl
        level.price, level.when = event.price, event.when
        self._changed("signals")

    def _scheduled(self, event: Scheduled) -> None:
        self._at(event)
        self._remember(event)
        self.levels[key_of(event.signal)] = Level.of(event.signal, (0.0, 0.0), event.price, event.when)
        self._changed("signals")

    def _opened(self, event: Opened) -> None:
        self._at(event)
        self._remember(event)
        self._open(event.signal, target_and_stop_percent(event.signal, event.price), event)
        if event.signal.price_open <= 0:
            self.no_equity = BELOW_ZERO
        self._changed("signals", "equity", "statistics")

    def _open(self, row: OpenSignal | ScheduledSignal, percents: tuple[float, float], event: Opened | Active) -> Level:
        level = self.levels[key_of(row)] = Level.of(row, percents, event.price, event.when)
        for each in self.managed_of(row):  # of another listener, which may be ahead
            level.managed(each)
        if isinstance(row, OpenSignal) and row.place:
            self.no_equity = self.no_equity or ADDS
        if isinstance(row, OpenSignal) and (row.targets or row.trailing is not None):
            self.positions_managed[key_of(row)] = (row, math.nan)
            self._changed(MANAGED)
        return level

    def _closed(self, event: Closed) -> None:
        self._at(event)
        self._remember(event)
        self.levels.pop(key_of(event.signal), None)
        self.trades.add(event)
        if event.pnl.points is not None:
            self.no_equity = BELOW_ZERO
        added = event.adds and event.signal.size is None  # perhaps in an earlier life, of which no event tells
        if added or event.signal.place:
            self.no_equity = self.no_equity or ADDS
        if key_of(event.signal) in self.positions_managed:
            self.positions_managed[key_of(event.signal)] = (event.signal, event.closed_at)
            self._changed(MANAGED)
        self._changed("signals", "trades", "equity", "statistics")

    def _cancelled(self, event: Cancelled) -> None:
        self._at(event)
        self._remember(event)
        self.levels.pop(key_of(event.signal), None)
        self.cancelled.append(event)
        self.counts["cancelled"] += 1
        self._changed("signals")

    def _milestone(self, event: Milestone) -> None:
        self._remember(event)
        self.milestones.append(event)
        self.counts["milestones"] += 1
        level = self.levels.get(key_of(event.signal))
        if level is not None:
            level.pass_milestone(event)
            self._changed("signals")
        self._changed("milestones")

    def _managed(self, event: PositionEvent) -> None:
        self._at(event)
        self._remember(event)
        level = self.levels.get(key_of(event.signal))
        if level is not None:
            level.managed(event)
        if isinstance(event, Added) and event.signal.size is None:
            self.no_equity = self.no_equity or ADDS
        self.managed.append(event)
        told = self._signal_events[key_of(event.signal)]
        ends = (each.closed_at for each in told if isinstance(each, Closed))  # the events of a result come first
        self.positions_managed[key_of(event.signal)] = (event.signal, next(ends, math.nan))
        self._changed("signals", "equity", "statistics", MANAGED)

    def _refused(self, event: RiskRefused) -> None:
        self._remember(event)
        self.refused.append(event)
        self.counts["risk"] += 1
        self._changed("risk")

    def _rejected(self, event: Rejected) -> None:
        codes = ", ".join(reason.code for reason in event.reasons)
        trouble = self.rejected.get(codes)
        if trouble is None:
            text = "; ".join(reason.text for reason in event.reasons)
            trouble = self.rejected[codes] = Trouble("signal rejected", text, codes, 0, event.when)
        trouble.add(event.when)
        self.rejections.append(event)
        self.counts["rejected"] += 1
        self._changed("problems")

    def _scaled(self, event: Scaled) -> None:
        text = "less was free than its weights take: all that was to become larger was made smaller by one factor"
        trouble = self.troubles.setdefault(("scaled", "", ""), Trouble("scaled", text, "", 0, event.when))
        trouble.add(event.when)
        self._changed("problems")

    def _error(self, event: Any) -> None:
        key = (event.kind, event.message.split(":")[0], event.where)
        trouble = self.troubles.get(key)
        if trouble is None:
            trouble = self.troubles[key] = Trouble(event.kind, event.message, event.where, 0, event.when)
        trouble.add(event.when, at_least=event.count)
        if event.kind == "run":  # what ended it
            self.status = "rejected"
            self._changed("status")
        self._changed("problems")

    def _listener(self, event: Any) -> None:
        key = (event.kind, event.listener, event.subject)
        trouble = self.troubles.get(key)
        if trouble is None:
            where = f"{event.listener!r} listening to {event.subject!r}"
            trouble = self.troubles[key] = Trouble(event.kind, event.message, where, 0, None)
        trouble.add(None, at_least=getattr(event, "count", 1))
        self._changed("problems")

    def failure(self, failure: Any) -> None:
        """Add a failure that a result has counted."""
        key = (failure.kind, failure.message.split(":")[0], failure.where)
        self.troubles[key] = Trouble(failure.kind, failure.message, failure.where, failure.count, failure.last_at)
        self._changed("problems")

    def failed(self, message: str) -> None:
        """Set the status to ``rejected``, with the error where no event has reported it."""
        if not any(trouble.kind == "run" for trouble in self.troubles.values()):
            self.troubles["run", message, ""] = Trouble("run", message, "", 1, self.last_ms)
            self._changed("problems")
        self.ended("rejected")

    def warn(self, texts: Iterable[str]) -> None:
        """Replace the warnings of the run."""
        self.warnings = [str(text) for text in texts]
        self._changed("problems")

    def _progress(self, event: Any) -> None:
        self.set_progress(event.processed, event.total)
        self._changed("status")

    def _performance(self, event: Any) -> None:
        self.timings.setdefault(event.metric, Timing()).add(event.duration_ms)
        self._changed("timings")

    def _done(self, _event: Any) -> None:
        if self.status == "pending":
            self.status = "fulfilled"
        self._changed("status", "signals")

    def _step(self, step: Any) -> None:
        """Add one strategy of a comparison to the ranking: by its figure, those without one last."""
        self._steps[step.strategy] = step
        worse = -1.0 if lower_is_better(step.metric) else 1.0
        order = sorted(self._steps.values(), key=lambda each: (each.value is None, -worse * (each.value or 0.0)))
        self.set_progress(step.tested, step.total)
        self.ranking = [_ranked(each, step.metric) for each in order]
        self._changed("walker", "status")

    def set_comparison(self, comparison: Ranked) -> None:
        """Replace the ranking by that of a finished comparison."""
        self.set_progress(len(comparison.entries), comparison.total)
        self.ranking = [_ranked(entry, comparison.metric) for entry in comparison.entries]
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

    def set_stairs(self, stairs: Sequence[Stairs]) -> None:
        """Set the stops over time, trailing ones included; positions that are not among them keep what they had."""
        known = {one[0][0]: one for one in (*(self._stairs or ()), *stairs)}
        self._stairs = [known[begin] for begin in sorted(known)]
        self._changed("signals", MANAGED)

    def extend_stop(self, level: Level, when: int) -> None:
        """Add the stop of an open position to its stairs, from ``when`` (UTC ms) on, unless they end there already."""
        if level.stop is None:
            return
        begin = level.since
        (known,) = [one for one in self.stairs if one[0][0] == begin] or [()]
        if not known:
            level.stop_from = when
            self._changed("status")
        if not known or (known[-1][1] != level.stop and known[-1][0] <= when):
            self.set_stairs([[*(known or [(begin, math.nan)]), (when, level.stop)]])

    @property
    def stairs(self) -> Sequence[Stairs]:
        """The stops of positions over time; while the run goes on, as far as events tell them."""
        if self._stairs is not None:
            return self._stairs
        moves = [event for event in self.managed if isinstance(event, Moved)]
        if not moves:
            return ()
        ends = {key_of(event.signal): event.closed_at for event in self.trades.events}
        return stairs_of_moves(moves, ends, self.last_ms or 0)

    def set_held(self, position: HeldPosition) -> None:
        """Set what an open position is now, of which events need not tell all: those of an earlier life are gone."""
        level = next((each for each in self.levels.values() if each.is_open and each.row.id == position.id), None)
        if level is None:
            return
        known = {fill.number for fill in level.parts}
        missing = tuple(fill for fill in position.fills if fill.kind in NAMES and fill.number not in known)
        now = (position.price_stop_loss, position.targets, position.size, missing)
        if now != (level.stop, level.targets, level.size, level.missing):
            level.stop, level.targets, level.size, level.missing = now
            if level.row.size is None and any(fill.kind == "add" for fill in missing):
                self.no_equity = self.no_equity or ADDS
            self._changed("signals", "equity", "statistics", MANAGED)

    def managed_of(self, signal: OpenSignal | ScheduledSignal) -> Iterator[PositionEvent]:
        """What was managed of one position, as far as events tell, in order."""
        return (each for each in self._signal_events.get(key_of(signal), ()) if isinstance(each, PositionEvent))

    @property
    def fills_between(self) -> list[Fill]:
        """The fills between entry and exit, in order of time."""
        ended = [fill for at in self.trades.parted for fill in self.trades.events[at].fills if fill.kind in NAMES]
        held = [fill for level in self.levels.values() for fill in level.fills]
        return [*ended, *sorted(held, key=lambda fill: fill.at)]

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
        paces = self._paces
        if not paces or paces[-1][1] != self.processed:
            paces.append((seconds, self.processed))
        while len(paces) > 2 and seconds - paces[0][0] > _RATE_SECONDS:
            paces.popleft()
        began, before = paces[0]
        passed = seconds - began
        if passed <= 0 or self.processed <= before:
            return None, None
        rate = (self.processed - before) / passed
        return rate * self.step_minutes, (self.total - self.processed) / rate if self.total else None

    def why(self, signal_id: str) -> str:
        """The events of the signals with an id, one per line; a sentence when there are none."""
        told: list[Any] = []
        for key, events in list(self._signal_events.items()):
            if key[0] == signal_id:
                told += with_rejected(sorted(events, key=lambda e: (e.when, RANK[type(e)])), self.rejections)
        return "\n".join(map(event_line, told)) or f"no event of a signal {signal_id!r}"

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
        if self.trades.closed_ms:
            last = max(last, int(self.trades.closed_ms[-1]))
        return first, max(last, first + MINUTE_MS)


_HANDLERS: Final[dict[type, Callable[[RunView, Any], None]]] = {
    Idle: RunView._idle,
    Active: RunView._active,
    Scheduled: RunView._scheduled,
    Opened: RunView._opened,
    Closed: RunView._closed,
    Cancelled: RunView._cancelled,
    Milestone: RunView._milestone,
    Reduced: RunView._managed,
    Added: RunView._managed,
    AddCancelled: RunView._managed,
    Moved: RunView._managed,
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
