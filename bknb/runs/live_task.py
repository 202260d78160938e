"""The task of a live run, and its plan."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import Context as Variables
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..config import Settings
from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE, MINUTE_MS, bar_text, candles_text, interval_ms
from ..domain.keyword_arguments import check_options
from ..domain.signal_events import Active, Cancelled, Closed, Event, Idle, Opened, Scheduled
from ..engine.plan import (
    ExchangeLike,
    StrategyLike,
    check_on_base,
    checked_symbol,
    chosen_base,
    chosen_settings,
    on_exchange,
)
from ..engine.registration_checks import as_moment
from ..engine.registry import registry
from ..engine.resolve import resolve_exchange, resolve_strategy
from ..engine.strategy_checks import over_bars_of
from ..errors import UsageError
from ..events import messages, subjects
from ..events.listen import drain
from ..live.broker_account import check_joined_broker
from ..live.ending import LISTENER_SECONDS
from ..live.order_quantity import Quantity
from ..live.plan import LivePlan
from ..live.run import LiveRun
from ..live.runtime import RUNTIME
from ..market.candles import Candles
from ..market.measured_bar_length import check_hours_known
from ..market.runs_refused_for_negative_prices import check_above_zero
from ..market.system_clock import SystemClock
from ..ports import Broker, Clock, StateStore
from ..provenance.strategy_hash import hash_if_readable
from ..stores.default_store import checked, chosen
from .card_of_result import code_of
from .manual_orders import TaskByHand
from .models_of_live_run import fits_beside
from .result import Result
from .run_record import record_of
from .slippage_of_run import slippage_of_run
from .task import LOOK_SECONDS, left_text
from .task_list import TaskList

if TYPE_CHECKING:
    import pandas as pd

    from ..domain.protection_gaps import ProtectionGaps
    from ..domain.schedules import Schedule
    from ..live.account_saver import LegAccountSaver
    from ..live.portfolio_clock import LiveLegTurn
    from ..reports.slippage_report import Slippage


_OF_ACCOUNT: Final = ("capital", "currency", "sizing", "account", "costs")
_INSTEAD: Final = {
    "frame": "it begins now, and ends at until=",
    "benchmark": "live there is none; bknb.portfolio over that time has one",
    "executor": "live everything runs in this process",
}
WALL_CLOCK: Final = SystemClock()
"""One for all: runs with the same clock share their candles."""


class LiveTask(TaskByHand):
    """A live run in the background.

    Attributes
    ----------
    paused : bool
        Whether it asks for no new entries at present.
    now : int
        The moment up to which everything is done, UTC ms.
    """

    kind = "live run"
    mode = "live"
    _slippage: tuple[tuple[int, int, int], Slippage] | None = None  # of which orders and closed positions

    def __init__(self, plan: LivePlan, turn: LiveLegTurn | None = None, money: LegAccountSaver | None = None) -> None:
        super().__init__(plan.symbol, plan.strategy.name)
        if plan.account is not None:
            from .live_money import only_leg  # few runs have a capital

            money = only_leg(plan, plan.account)
        self.plan, self._money = plan, money
        if money is not None and plan.broker is not None:
            plan = replace(plan, quantity=money.account.sent, kept_of=money.account.kept_of)
        self._fits = fits_beside(plan, self._warn_of_models)
        options: Any = {"code": code_of(plan), "turn": turn, "money": money, "fits": self._fits}
        self._run = LiveRun(plan, RUNTIME, on_event=self._emit_result, **options)
        self._run.records.warnings.extend(plan.notes)

    def _warn_of_models(self, text: str) -> None:
        self._run.records.warn(text)

    def _emit_result(self, event: Event) -> None:
        if isinstance(event, Idle | Scheduled | Opened | Active | Closed | Cancelled):
            self._emit(event)

    def _begin(self, variables: Variables) -> None:
        RUNTIME.start(self._run_on_shared_loop(), variables)

    async def _work(self) -> Result:
        try:
            await self._run.run()
        finally:
            if self._fits is not None:
                self._fits.end()
        if self._money is not None and self.plan.account is not None:
            from .live_money import charge_at_end

            charge_at_end(self._money.account.shared, self.plan, stopped=self._run.stopped)
        return self._result_now()

    def _result_now(self) -> Result:
        record = record_of(self._run)
        if self._money is not None:
            from .live_money import with_money

            record = with_money(record, self._money.account, own=self.plan.account is not None)
        return Result(record)

    def _deliver(self) -> None:
        waited = 0.0
        while not drain(timeout=LOOK_SECONDS):
            waited += LOOK_SECONDS
            if waited >= self._run.listener_seconds:
                self._warn(left_text(LISTENER_SECONDS))
                return

    def _announce_done(self) -> None:
        subjects.done_live.emit(messages.Done(**self.plan.labels(), mode="live"))

    def _shared_candles(self) -> object:
        """Return the series of its minutes: runs with the same exchange, settings and clock read one stream."""
        return next(iter(self._run.series().values()), None)

    def _release_candles(self) -> None:
        super()._release_candles()
        self._run.release_candles()

    @property
    def unwatched(self) -> str:
        """What is open and nobody watches since a failure ended the run, as a sentence; empty when nothing."""
        return self._run.unwatched

    @property
    def now(self) -> int:
        """The moment up to which everything is done, UTC ms."""
        return self._run.last

    @property
    def orders(self) -> pd.DataFrame:
        """Orders at the broker and what became of them, one row each; empty without a broker."""
        import pandas as pd

        return pd.DataFrame([] if self._run.orders is None else self._run.orders.rows())

    @property
    def slippage(self) -> Slippage:
        """What the fills at its broker have cost beside the record so far; see ``bknb.Result.slippage``."""
        plan, desk, records = self.plan, self._run.orders, self._run.records
        version = (0 if desk is None else desk.version, len(records.closed), len(records.positions))
        if self._slippage is None or self._slippage[0] != version:
            orders = () if desk is None else desk.traded
            options: Any = {"strategy": plan.strategy.name, "symbol": plan.symbol, "settings": plan.settings}
            self._slippage = version, slippage_of_run(records, orders, **options)
        return self._slippage[1]

    @property
    def manual(self) -> dict[str, float]:
        """What has come into the account at the broker by hand since its first run, by currency; below 0: it has gone.

        Deposits, withdrawals, and what was bought or sold there by hand; at a swap market positions, by symbol. Empty
        without a broker that says which account it is.
        """
        return {} if self._run.orders is None else self._run.orders.manual

    @property
    def protection_gaps(self) -> ProtectionGaps | None:
        """How often, and how long, something was held without a stop at its broker; ``None`` where none rests there."""
        return None if self._run.orders is None else self._run.orders.gaps

    @property
    def candles(self) -> Candles:
        """The base bars; those in memory while it runs (none before the first has closed), then the result's."""
        if self.status == "fulfilled":
            return self.result().candles
        return record_of(self._run).candles.minutes

    @property
    def facts(self) -> dict[str, str]:
        """Facts for a dashboard: its place on disk, whether it asks for entries, and what did not come."""
        entries = "paused" if self.paused else "none, it was stopped" if self._run.stopped else "asked for"
        if self._run.disagreement:
            entries = f"none: {self._run.disagreement}"
        facts = {"State on disk": repr(self.plan.store), "Entries": entries}
        if self.manual:
            facts["Changed by hand"] = ", ".join(f"{amount:+.8g} {name}" for name, amount in self.manual.items())
        if self.unwatched:
            facts["Not watched"] = self.unwatched
        if line := self.slippage.line:
            facts["Slippage"] = line
        holes, silent_since = self._run.records.holes, self._run.silent_since
        if holes:
            count, base = self._run.missing
            bars = "Minutes" if base == MINUTE else candles_text(base)
            facts[f"{bars} that never came"] = f"{count}, the last before {utc_text(holes[-1][1])}"
        if silent_since is not None:
            facts[f"No {bar_text(self.plan.base)} since"] = utc_text(silent_since)
        return facts

    def snapshot(self) -> Result:
        """Return the result up to now."""
        return self.result() if self.status == "fulfilled" else self._result_now()

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new, and end when nothing is open any more.

        ``now`` ends at once: what is open stays as it is in the state on disk, and a later run of the same name goes on
        with it. A run that waits for the end of a position also ends when no candle has come for
        ``settings.patience_minutes``; a warning says so.
        """
        super().stop(now=now)


def check_live_options(call: str, given: Iterable[str], plan: Callable[..., object]) -> None:
    """Check what a call was given beside the parameters of what plans it; ``TypeError`` for what it does not know."""
    if unknown := [name for name in given if name not in _OF_ACCOUNT]:
        check_options(call, unknown, {*signature(plan).parameters, *_OF_ACCOUNT}, _INSTEAD)


def plan_live(
    symbol: str,
    *,
    strategy: StrategyLike,
    exchange: ExchangeLike,
    interval: str | None = None,
    at: Schedule | str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    store: StateStore | None = None,
    clock: Clock | None = None,
    until: object = None,
    late_minutes: int | None = None,
    broker: Broker | None = None,
    quantity: Quantity | None = None,
    base: str | None = None,
    adopt: bool = False,
    **account: Any,
) -> LivePlan:
    """Return the plan of a live run with every name resolved; raises ``UnknownName`` or ``UsageError``.

    ``account`` is ``capital, currency, sizing, account, costs``; the plans of a portfolio have none of it.
    """
    check_live_options("bknb.Live.background", account, plan_live)
    sys.audit("bknb.run", "a live run")
    resolved = resolve_exchange(exchange)
    check_above_zero(resolved.source, resolved.name, "a live run")
    check_hours_known(resolved.source, checked_symbol(symbol), resolved.name, "a live run")
    bars = chosen_base(base, resolved)
    picked = resolve_strategy(strategy, interval=interval, at=at, default=bars)
    model = execution_model(execution or picked.execution).name
    picked = over_bars_of(bars, picked)
    if bars != MINUTE:
        check_on_base(bars, picked, model, resolved.name)
    if picked.risk is not None:
        registry.risks.get(picked.risk)
    if clock is not None and not isinstance(clock, Clock):
        raise UsageError(f"a clock must have now() and sleep_until(when), got {clock!r:.80}")
    if late_minutes is not None and not (type(late_minutes) is int and late_minutes >= 0):
        raise UsageError(f"late_minutes must be a whole number of minutes from 0 on, or None, got {late_minutes!r}")
    in_money = account.get("capital") is not None
    if in_money and quantity is not None:
        raise UsageError("with a capital the sizing says how much is traded: give sizing=, and no quantity")
    if not in_money and (broker is None) != (quantity is None):
        raise UsageError("a broker needs a quantity, and a quantity a broker: give both, or neither")
    if broker is not None:
        check_joined_broker(broker, resolved, checked_symbol(symbol))
    if broker is not None and late_minutes is None:
        late_minutes = interval_ms(bars) // MINUTE_MS  # an order at an old price would not be filled
    plan = LivePlan(
        symbol=checked_symbol(symbol),
        strategy=picked,
        exchange=resolved,
        execution=model,
        settings=on_exchange(chosen_settings(settings), resolved, symbol),
        store=chosen() if store is None else checked(store),
        clock=WALL_CLOCK if clock is None else clock,
        allow_gaps=allow_gaps,
        until=None if until is None else as_moment(until, "until") // MINUTE_MS * MINUTE_MS,
        late_minutes=late_minutes,
        broker=broker,
        quantity=0.0 if quantity is None else quantity,
        base=bars,
        adopt=adopt,
        code=hash_if_readable(picked),
    )
    if all(value is None for value in account.values()):
        return plan
    from .live_money import with_own_account  # few runs have a capital

    return with_own_account(plan, account)


TASKS: Final[TaskList[LiveTask]] = TaskList("live run")


def check_not_running(plan: LivePlan) -> None:
    """Raise ``UsageError`` while a live run of that strategy on that symbol goes on: they would share state."""
    running = TASKS.find(plan.symbol, plan.strategy.name)
    if running is not None and running.status == "pending" and not running.worked:
        symbol, strategy = plan.symbol, plan.strategy.name
        raise UsageError(
            f"a live run of {strategy!r} on {symbol} is going on already\n"
            f"end it first: bknb.Live.stop({symbol!r}, {strategy!r}, now=True).wait() keeps its state for the next one"
        )


def new_task(plan: LivePlan) -> LiveTask:
    """Return a new task; raises ``UsageError`` as :func:`check_not_running`."""
    check_not_running(plan)
    return TASKS.add(LiveTask(plan))
