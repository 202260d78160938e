"""The account at the broker: the orders of a live run there, and whether it is what the record says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import Holding, Input, Opening, Rules, State, waiting_signals
from ..domain.signal_events import Event
from ..engine.records import FailureKind, Records
from ..engine.registry import Exchange
from ..errors import BrokerError, StateError, UsageError
from ..market.bar_slots import slot_of
from ..ports import Broker, PaperMarket, StateStore
from .closed_by_exchange import closed_or
from .failures_and_retries import Failures
from .orders_sent_to_broker import OrderDesk
from .plan import LivePlan
from .run_progress import Reached
from .runtime import Runtime
from .sleeping import Rests
from .user_code_in_threads import broker_outside, quantity_outside

_NAMED: Final[Mapping[str, FailureKind]] = {
    "double_fill": "double_fill",
    "cut_fill": "cut_fill",
    "unprotected": "unprotected",
}


def check_joined_broker(broker: Broker, exchange: Exchange, symbol: str) -> None:
    """Raise ``UsageError`` where joined exchanges have a broker of one alone, or one exchange has joined brokers.

    A broker that fills orders by candles knows no symbols: it may be one for all.
    """
    prefixes: tuple[str, ...] = getattr(exchange.source, "prefixes", ())
    of_symbol = _broker_of_symbol(broker)
    if of_symbol is not None and prefixes:
        of_symbol(symbol)
    elif of_symbol is not None:
        raise UsageError(
            f"broker {broker.name!r} is for joined exchanges, and {exchange.name!r} is one exchange\n"
            "give the broker of that exchange itself"
        )
    elif prefixes and not isinstance(broker, PaperMarket):
        name = getattr(broker, "name", type(broker).__name__)
        raise UsageError(
            f"exchange {exchange.name!r} is several, and broker {name!r} does not know symbols such as {symbol!r}\n"
            f"give a broker for each: bknb.brokers.joined({', '.join(f'{prefix}=…' for prefix in prefixes)})"
        )


def _broker_of_symbol(broker: Broker) -> Callable[[str], Broker] | None:
    """Which of joined brokers a symbol has; ``None`` for a broker of one exchange."""
    found: Callable[[str], Broker] | None = getattr(broker, "broker_of_symbol", None)
    return found


class Account:
    """The orders of a run at its broker; without a broker there are none, and nothing differs.

    Attributes
    ----------
    desk
        The orders, from the start of the run on; ``None`` without a broker.
    disagreement
        Why nothing is opened: where the account is not what the record says; empty when it is. As of the last look.

    Parameters
    ----------
    plan, store, records, failures, reached
        Of the run.
    rests
        The pauses beside it.
    runtime
        Has the ledger of the account that its broker trades with.
    """

    def __init__(
        self,
        plan: LivePlan,
        store: StateStore,
        records: Records,
        failures: Failures,
        reached: Reached,
        rests: Rests,
        runtime: Runtime,
    ) -> None:
        self.desk: OrderDesk | None = None
        self.disagreement = ""
        self._plan, self._rests, self._runtime = plan, rests, runtime
        self._store = store
        self._records = records
        self._failures = failures
        self._stopped_at = 0  # since when the account differs, UTC ms
        self._is_told = False  # a warning said that entries were stopped
        self._reached = reached

    def open(self) -> OrderDesk | None:
        """Open the account, at the start of a run; ``None`` without a broker."""
        plan = self._plan
        if plan.broker is not None:
            of_symbol = _broker_of_symbol(plan.broker)
            broker = broker_outside(plan.broker if of_symbol is None else of_symbol(plan.symbol))
            self.desk = OrderDesk(
                broker=broker,
                store=self._store,
                strategy=plan.strategy.name,
                symbol=plan.symbol,
                quantity=quantity_outside(plan.quantity, seconds=plan.settings.max_signal_generation_seconds),
                on_problem=self._on_problem,
                sleep=self._rests.rest,
                now=plan.clock.now,
                late_after=plan.late_after,
                last_open=lambda close: slot_of(close - 1, plan.base_ms, plan.grid),
                kept_of=plan.kept_of,
                ledger=self._runtime.ledger(plan.store, broker),
                adopt=plan.adopt,
            )
        return self.desk

    async def close(self) -> None:
        """Stop carrying out orders, at the end of a run."""
        if self.desk is not None:
            await self.desk.close()
            self._records.gaps = self.desk.gaps

    async def sent(self) -> None:
        """Wait a moment for what is on its way to a broker that has its minutes from here; a clock may move on then."""
        if self.desk is not None:
            await self.desk.sent()

    def _on_problem(self, kind: str, message: str) -> None:
        if kind == "state":
            self._failures.tell("state", StateError(message), None)
        elif kind == "manual":
            self._failures.note("manual", message, message, self._reached.done)
        else:
            self._failures.tell(_NAMED.get(kind, "broker"), BrokerError(message), None)

    def has_left(self, state: Opening) -> bool:
        """Whether an entry order may be at the broker; without one it leaves when it is decided, as in a backtest."""
        if state.close_at is not None and not state.sent:
            return False
        desk = self.desk
        return desk is None or any(desk.has_left(signal) for signal in waiting_signals(state))

    async def follow(self, state: State, events: tuple[Event, ...], *, place: str = "") -> None:
        """Have the orders carried out that a state, of a place, and its events lead to; call it when they are saved.

        Where that fails, it is told, nothing is opened, and it is tried again with the next state.
        """
        desk = self.desk
        if desk is None:
            return
        for event in await desk.work_out(state, events):
            desk.follow(event)
        desk.follow_state(state, place)

    async def with_broker(self, state: State, given: Input, rules: Rules) -> Input:
        """An input; of a minute by whose end the broker has closed the position, that it has."""
        desk = self.desk
        if desk is None or desk.watch == "here":
            return given
        if not (isinstance(given, Minute) and isinstance(state, Holding) and state.leaving is None):
            return given
        return await closed_or(desk, state, given, rules, now=self._plan.clock.now, rest=self._rests.rest)

    def differs(self) -> str:
        """Why the account is not what the record says, now; empty when it is.

        While it differs nothing is opened, and what is open is watched on.
        """
        return "" if self.desk is None else self.desk.disagreement

    @property
    def asked_again(self) -> bool:
        """Whether the broker was asked once more, since the start, about what it had not answered by then."""
        return self.desk is None or self.desk.asked_again

    def look(self) -> None:
        """Tell where the account begins to differ from the record, or agrees again.

        What was told and comes back within the patience is counted, and told when it has lasted for as long.
        """
        why, done = self.differs(), self._reached.done
        if not why:
            if self._is_told:
                self._records.warn(f"account and record agree; entries are asked for again from {utc_text(done)} on")
            self._is_told = False
        else:
            if not self.disagreement:
                self._stopped_at = done
            kind: FailureKind = "unprotected" if self.desk is not None and self.desk.is_unprotected else "broker"
            is_new = why != self.disagreement and self._failures.note(
                kind, "disagreement", why, done, again=False, same=f"disagreement: {why}"
            )
            lasts = done - self._stopped_at >= self._plan.settings.patience_minutes * MINUTE_MS
            if not self._is_told and (is_new or lasts):
                self._records.warn(f"new entries were stopped at {utc_text(self._stopped_at)}: {why}")
                self._is_told = True
        self.disagreement = why
