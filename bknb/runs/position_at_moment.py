"""A position in the middle of a run: its state at a moment, by playing it again from its signal on.

Events do not tell everything that is managed of a position: an add that rests, a memo. So the candles are walked again
with ``manage`` being asked as in the run, up to the moment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec.structs import replace

from ..domain.checked_signal import as_answered
from ..domain.formatting import utc_text
from ..domain.interval import interval_ms, slot_after
from ..domain.lifecycle import Holding, Waiting
from ..domain.manage_answers import PositionAnswer
from ..domain.market_clock_protocol import NEVER
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.schedules import AnyOf, Listed, SessionOpen
from ..domain.signal import OpenSignal, ScheduledSignal, Signal, SignalKey, key_of
from ..domain.signal_events import Event, Reason, Rejected, RiskRefused, Scheduled
from ..engine.backtest import BacktestRun
from ..engine.plan import Plan
from ..engine.questions import has_session_days
from ..engine.registry import Frame, Strategy
from ..events.heard import NOBODY
from ..market.source_hours import bar_grid_of, sessions_of
from ..reports.signal_story import history
from .nested_loop import run_here
from .run_seen_at_moment import have_past

if TYPE_CHECKING:
    from ..engine.records import Records
    from ..market.strategy_context import Context
    from .run_record import RunRecord

Manage: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was there at a moment: the position as ``manage`` sees it, its state, and the last close before it.

    ``diverged`` says where the events came out differently from those of the run; empty where they did not.
    """

    position: HeldPosition
    state: Holding | Waiting
    close: float
    diverged: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManageAsked:
    """The answer of ``manage`` that was asked again.

    Attributes
    ----------
    when_ms : int
        The moment, UTC ms.
    position : HeldPosition
        What it was asked about.
    answer : object
        What the function returned, as it is.
    answers : tuple
        The answers that could be read, in order.
    events : tuple
        What the run would tell of them at once.
    reasons : tuple of Reason
        Why it rejects some, or the risk profile refuses an add; empty where all are taken.
    diverged : str
        Where the position came to be another one than in the run, because ``manage`` answers otherwise now than it did
        then; empty where it did not.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(side="long", price_stop_loss=price * 0.98)
    >>> def manage(position):
    ...     return bknb.Close() if position.minutes >= 600 else None
    >>> _ = bknb.add_strategy("held", interval="1h", get_signal=get_signal, manage=manage)
    >>> result = bknb.backtest("BTCUSDT", strategy="held", exchange="demo", frame="2024-01-01:2024-01-03")
    >>> moment = result.at("2024-01-01 05:00")
    >>> moment.manage().answer is None, moment.manage(lambda position: bknb.Reduce(0.5)).answers
    (True, (Reduce(share=0.5, of='now', note=''),))
    """

    when_ms: int
    position: HeldPosition
    answer: object
    answers: tuple[PositionAnswer, ...]
    events: tuple[Event, ...] = ()
    reasons: tuple[Reason, ...] = ()
    diverged: str = ""

    @property
    def accepted(self) -> bool:
        """Whether there is an answer, and all of it is taken."""
        return bool(self.answers) and not self.reasons

    def __repr__(self) -> str:
        told = ", ".join(map(repr, self.answers)) or ("nothing that can be read" if self.reasons else "nothing")
        lines = [f"{utc_text(self.when_ms)}: manage answers {told}"]
        lines += [f"  {reason.text}" for reason in self.reasons]
        return "\n".join([*lines, *([f"  {self.diverged}"] if self.diverged else [])])


def reasons_of(events: tuple[Event, ...]) -> tuple[Reason, ...]:
    """Why answers are not taken, from the events they led to."""
    found: list[Reason] = []
    for event in events:
        if isinstance(event, Rejected):
            found += event.reasons
        elif isinstance(event, RiskRefused):
            found.append(Reason("risk", f"risk profile {event.risk!r} refuses: {event.note}"))
    return tuple(found)


def held_at(record: RunRecord, signal: OpenSignal | ScheduledSignal, when: int) -> Held | None:
    """The position or the waiting signal at a moment (UTC ms); ``None`` where it was not there any more.

    ``manage`` is asked at every moment before, as in the run, in this thread.
    """
    plan = record.plan
    assert isinstance(plan, Plan)  # a backtest  # noqa: S101
    replay = _Replay(record, plan, signal, when)
    run_here(replay.run.through())
    if replay.seen is None:
        return None
    return dataclasses.replace(
        replay.seen, diverged=_difference(record.records, replay.run.records, key_of(signal), when)
    )


class _Replay:
    """A run over the candles of another, from one signal on to one moment."""

    def __init__(self, record: RunRecord, plan: Plan, signal: OpenSignal | ScheduledSignal, when: int) -> None:
        self._record, self._signal, self._when = record, _as_returned(record.records, signal), when
        self._scheduled_at, self._own = signal.scheduled_at, plan.strategy
        self._start, self._step = plan.frame.start, interval_ms(plan.frame.interval)
        self._slot, self._asked = interval_ms(plan.strategy.manages_every), -1
        at, managed_at, own = plan.strategy.at, plan.strategy.manages_at, plan.strategy
        sessions = sessions_of(plan.exchange.source, plan.symbol)
        self._base = base_ms = interval_ms(plan.base)
        self._grid = bar_grid_of(plan.exchange.source, plan.symbol)
        if at is None and has_session_days(own.interval, sessions, base_ms):
            at = SessionOpen()
        if managed_at is None and has_session_days(own.manages_every, sessions, base_ms):
            managed_at = SessionOpen()
        self._has_schedule = managed_at is not None
        self._minutes = record.candles.minutes
        self.seen: Held | None = None
        strategy = Strategy(
            name=plan.strategy.name,
            interval=plan.strategy.interval,
            get_signal=self._ask,
            ask=self._ask,
            tolerance=own.tolerance,
            manage=self._manage,
            ask_manage=self._manage,
            manage_interval=plan.base if managed_at is None else None,
            at=None if at is None else AnyOf((at, Listed((self._scheduled_at,)))),
            manage_at=None if managed_at is None else AnyOf((managed_at, Listed((when,)))),
        )
        frame = Frame(plan.frame.name, signal.scheduled_at, plan.frame.last)
        plan, window = replace(plan, strategy=strategy, frame=frame), record.candles.window
        self.run = BacktestRun(plan, listeners=NOBODY, window=window, published=record.published, seen_from=self._start)

    def _ask(self, ctx: Context) -> Signal | None:
        if ctx.when_ms == self._scheduled_at:
            return self._signal
        self.run.stop(now=True)  # whatever was there is over
        return None

    def _manage(self, ctx: Context, position: HeldPosition) -> Any:
        now = ctx.when_ms
        if now >= self._when:
            state = self.run.state
            if now == self._when and isinstance(state, Holding | Waiting):
                at = int(self._minutes.timestamp.searchsorted(now)) - 1
                self.seen = Held(position=position, state=state, close=float(self._minutes.close[max(at, 0)]))
            self.run.stop(now=True)
            return None
        if self._own.ask_manage is None or not self._is_asked(now, position):
            return None
        have_past(ctx, self._record, managing=True, position=lambda: position)
        return self._own.ask_manage(ctx, position)

    def _is_asked(self, now: int, position: HeldPosition) -> bool:
        """Whether the run asked ``manage`` at a moment: at those of its schedule, or the first of each of its slots."""
        if self._has_schedule:
            return True
        opened = position.opened_at
        begun, grid = self._scheduled_at if opened is None else round(opened.timestamp() * 1000), self._grid
        if grid is None:
            known, begins = begun + self._base, (now - self._start) % self._step == 0
        else:
            known, begins = grid.after(begun, self._base), grid.floor(now, self._step) == now
        newest = max(self._asked, known - 1)
        if not begins or now < (slot_after(newest, self._slot) if grid is None else grid.after(newest, self._slot)):
            return False
        self._asked = now
        return True


def _as_returned(records: Records, signal: OpenSignal | ScheduledSignal) -> Signal:
    """The signal as its strategy returned it."""
    orders = (event.signal for event in records.events if isinstance(event, Scheduled))
    order = next((one for one in orders if key_of(one) == key_of(signal)), signal)
    return replace(as_answered(order), valid=_valid(order.waits_until))


def _valid(waits_until: int | None) -> datetime | msgspec.UnsetType | None:
    """How long an order was said to rest, from the moment at which it is taken back (UTC ms)."""
    if waits_until is None:
        return msgspec.UNSET
    return None if waits_until >= NEVER else datetime.fromtimestamp(waits_until / 1000, UTC)


def _difference(recorded: Records, replayed: Records, key: SignalKey, when: int) -> str:
    """Where the events of a signal before a moment (UTC ms) are not those of the run."""
    one, other = (
        [event for event in history(records) if key_of(event.signal) == key and event.when < when]
        for records in (recorded, replayed)
    )
    for event, again in zip(one, other, strict=False):
        if event != again:
            return f"asked again, manage answers otherwise than in the run: {_where(min(event.when, again.when))}"
    if len(one) == len(other):
        return ""
    longer = one if len(one) > len(other) else other
    first = longer[min(len(one), len(other))].when
    return f"asked again, manage answers otherwise than in the run: {_where(first)}"


def _where(when: int) -> str:
    return f"the position is another one since {utc_text(when)}"
