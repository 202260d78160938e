"""Positions in the middle of a run, by playing them again from their signals on.

Events do not tell everything that is managed of a position: an add that rests, a memo. So the candles are walked again
with ``manage`` being asked as in the run, up to the moment. What the account and the risk profile allowed is in the
records of the run: neither is asked again. Each order of a strategy with several places has a place of its own again;
where ``manage`` looks at other positions, those of before are played again, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from ..domain.checked_signal import as_answered
from ..domain.formatting import utc_text
from ..domain.interval import interval_ms, slot_after
from ..domain.lifecycle import Holding, Waiting
from ..domain.market_clock_protocol import NEVER
from ..domain.position_seen_by_manage import HeldPosition, began_at
from ..domain.schedules import AnyOf, Listed, SessionOpen
from ..domain.signal import OpenSignal, ScheduledSignal, Signal, SignalKey, key_of
from ..domain.signal_events import Scheduled
from ..engine.backtest import BacktestRun
from ..engine.plan import Plan
from ..engine.questions import has_session_days
from ..engine.registry import Frame, Strategy
from ..engine.verdicts_of_another_run import VerdictsOfAnotherRun
from ..events.heard import NOBODY
from ..market.source_hours import bar_grid_of, sessions_of
from ..market.strategy_context import reads_of
from ..reports.signal_story import history
from .nested_loop import run_here
from .orders_of_run import Order, orders_before
from .position_at_moment import Held
from .run_seen_at_moment import have_past, held_weight_at

if TYPE_CHECKING:
    from ..engine.records import Records
    from ..market.strategy_context import Context
    from .run_record import RunRecord

S = TypeVar("S", OpenSignal, ScheduledSignal)


class PlayedAgain(NamedTuple):
    """What was there at a moment: by place what ``manage`` could be asked about, and all positions as entries see them.

    ``after`` is ``None`` where the strategy is not asked for entries at that moment.
    """

    held: dict[str, Held]
    after: tuple[HeldPosition, ...] | None


def played_again(record: RunRecord, when: int) -> PlayedAgain:
    """The positions and the waiting signals at a moment (UTC ms), by place; what was not there any more is left out.

    ``manage`` is asked at every moment before, as in the run, in this thread.
    """
    plan = record.plan
    assert isinstance(plan, Plan)  # a backtest  # noqa: S101
    assert record.rules is not None  # it has them  # noqa: S101
    before = orders_before(record.records, when, record.rules)
    orders = [order for order in before if order.is_there(when)]
    if not orders:
        return PlayedAgain({}, ())
    played = _played(record, plan, orders, when, whole=len(before) == len(orders))
    if played.looked:  # at positions of which those of before are missing
        played = _played(record, plan, before, when)
    records = played.run.records
    held = {
        order.place: dataclasses.replace(
            seen, diverged=_difference(record.records, records, key_of(order.signals[0]), when)
        )
        for order, seen in played.seen.items()
    }
    return PlayedAgain(held, played.after)


def _played(record: RunRecord, plan: Plan, orders: Sequence[Order], when: int, *, whole: bool = True) -> _Again:
    again = _Again(record, plan, orders, when, whole=whole or plan.strategy.places == 1)
    run_here(again.run.through())
    return again


class _Again:
    """A run over the candles of another with orders of it, up to one moment.

    Where these are not the ``whole`` of them it ends once ``manage`` has looked at its positions.
    """

    def __init__(self, record: RunRecord, plan: Plan, orders: Sequence[Order], when: int, *, whole: bool) -> None:
        self._whole = whole
        self._record, self._when, self._own = record, when, plan.strategy
        self._start = plan.frame.start
        self._several = plan.strategy.places > 1
        self._orders = _by_place(orders) if self._several else {"": list(orders)}
        self._given = _given(self._orders, record.records, several=self._several)
        self._slots = _Slots(plan)
        self._asked: dict[Order, int] = {}
        self._seen_by: Any = None  # returns what the strategy sees of the run
        first = min(order.scheduled_at for order in orders)
        at, managed_at, own = plan.strategy.at, plan.strategy.manages_at, plan.strategy
        sessions, base_ms = sessions_of(plan.exchange.source, plan.symbol), interval_ms(plan.base)
        if at is None and has_session_days(own.interval, sessions, base_ms):
            at = SessionOpen()
        if managed_at is None and has_session_days(own.manages_every, sessions, base_ms):
            managed_at = SessionOpen()
        self._has_schedule = managed_at is not None
        self._minutes = record.candles.minutes
        self.seen: dict[Order, Held] = {}
        self.after: tuple[HeldPosition, ...] | None = None
        self.looked = False
        if self._several:  # also at those at which ``manage`` ordered something, whatever the interval is
            at = Listed(tuple(sorted({*self._given, when})))
        elif at is not None:
            at = AnyOf((at, Listed((first,))))
        strategy = Strategy(
            name=plan.strategy.name,
            interval=plan.strategy.interval,
            get_signal=self._ask,
            ask=self._ask,
            tolerance=own.tolerance,
            manage=self._manage,
            ask_manage=self._manage,
            manage_interval=plan.base if managed_at is None else None,
            at=at,
            manage_at=None if managed_at is None else AnyOf((managed_at, Listed((when,)))),
            places=len(self._orders) + 1 if self._several else 1,
        )
        frame = Frame(plan.frame.name, first, plan.frame.last)
        plan, window = replace(plan, strategy=strategy, frame=frame), record.candles.window
        asked = record.money_positions is not None or own.risk is not None
        held = None if record.money is None else partial(held_weight_at, record, record.money)
        verdicts = VerdictsOfAnotherRun(record.records, own.risk, held) if asked else None
        options: Any = {"published": record.published, "seen_from": self._start, "verdicts": verdicts, "asked_as": own}
        self.run = BacktestRun(plan, listeners=NOBODY, window=window, **options)

    def _ask(self, ctx: Context) -> list[Signal] | Signal | None:
        now = ctx.when_ms
        if self._several:
            if now == self._when:
                self.after = self._positions(ctx)
            if now >= self._when:
                self.run.stop(now=True)
                return None
        signals = self._given.get(now)
        if signals is None:
            if not self._several:
                self.run.stop(now=True)  # whatever was there is over
            return None
        return signals if len(signals) > 1 else signals[0]

    def _manage(self, ctx: Context, position: HeldPosition) -> Any:
        now = ctx.when_ms
        if now > self._when:
            self.run.stop(now=True)
            return None
        order = self._order_of(position, now)
        if order is None:
            return None  # what the run itself knows to be over
        if now == self._when:
            self._see(ctx, order, position)
            if not self._several:
                self.run.stop(now=True)
                return None
        elif self._own.ask_manage is None:
            return None
        if self._own.ask_manage is None or not self._is_asked(order, now, position):
            return None
        return self._asked_about(ctx, _moved_to(position, order.place))

    def _asked_about(self, ctx: Context, position: HeldPosition) -> Any:
        def looked() -> tuple[HeldPosition, ...]:
            if not self._whole:
                self.looked = True
                self.run.stop(now=True)
            return self._positions(ctx) if self._several else (position,)

        self._has_seen(ctx)
        have_past(ctx, self._record, about=position, positions=looked)
        assert self._own.ask_manage is not None  # the caller looked  # noqa: S101
        return self._own.ask_manage(ctx, position)

    def _see(self, ctx: Context, order: Order, position: HeldPosition) -> None:
        state = self.run.state_of(position.place)
        if isinstance(state, Holding | Waiting):
            at = int(self._minutes.timestamp.searchsorted(ctx.when_ms)) - 1
            there = _moved_to(position, order.place)
            self.seen[order] = Held(
                position=there,
                state=_state_moved_to(state, order.place),
                close=float(self._minutes.close[max(at, 0)]),
                all=self._positions(ctx) if self._several else (there,),
            )

    def _order_of(self, position: HeldPosition, when: int) -> Order | None:
        """The order that a position is of; ``None`` where the run itself has ended it before a moment (UTC ms)."""
        orders = self._orders[position.place]
        return next((order for order in reversed(orders) if order.scheduled_at < when and order.is_there(when)), None)

    def _has_seen(self, ctx: Context) -> Any:
        if self._seen_by is None:
            self._seen_by = reads_of(ctx)[2].run
        return self._seen_by()

    def _positions(self, ctx: Context) -> tuple[HeldPosition, ...]:
        """All positions at a moment, each in the place that it had in the run."""
        found = []
        for each in self._has_seen(ctx).positions(ctx.when_ms):
            order = self._order_of(each, ctx.when_ms)
            if order is not None:
                found.append(_moved_to(each, order.place))
        return tuple(sorted(found, key=lambda each: (began_at(each), each.place)))

    def _is_asked(self, order: Order, now: int, position: HeldPosition) -> bool:
        """Whether the run asked ``manage`` at a moment: at those of its schedule, or the first of each of its slots."""
        if self._has_schedule:
            return True
        asked = self._slots.is_next(now, began_at(position), self._asked.get(order, -1))
        if asked:
            self._asked[order] = now
        return asked


class _Slots:
    """The moments at which ``manage`` is asked that has no schedule."""

    def __init__(self, plan: Plan) -> None:
        self._start, self._step = plan.frame.start, interval_ms(plan.frame.interval)
        self._slot, self._base = interval_ms(plan.strategy.manages_every), interval_ms(plan.base)
        self._grid = bar_grid_of(plan.exchange.source, plan.symbol)

    def is_next(self, now: int, begun: int, asked: int) -> bool:
        """Whether one begins now about what began, and was asked about last, at other moments (all UTC ms)."""
        grid = self._grid
        if grid is None:
            known, begins = begun + self._base, (now - self._start) % self._step == 0
        else:
            known, begins = grid.after(begun, self._base), grid.floor(now, self._step) == now
        newest = max(asked, known - 1)
        following = slot_after(newest, self._slot) if grid is None else grid.after(newest, self._slot)
        return begins and now >= following


def _by_place(orders: Sequence[Order]) -> dict[str, list[Order]]:
    """Orders by the place that they are given: their own, or where it may be taken still, another one.

    What the account, a risk profile or a hand has ended in the run goes on here.
    """
    found: dict[str, list[Order]] = {}
    for order in orders:
        place = order.place
        while any(before.was_ended_from_outside for before in found.get(place, ())):
            place += "'"
        found.setdefault(place, []).append(order)
    return found


def _given(orders: dict[str, list[Order]], records: Records, *, several: bool) -> dict[int, list[Signal]]:
    """The signals to answer again, by moment (UTC ms)."""
    found: dict[int, list[Signal]] = {}
    for name, each in orders.items():
        for order in each:
            answered = [_as_returned(records, signal) for signal in order.signals]
            found.setdefault(order.scheduled_at, []).extend(
                [replace(signal, place=name) for signal in answered] if several else answered
            )
    return found


def _moved_to(position: HeldPosition, place: str) -> HeldPosition:
    """A position as that of another place."""
    if position.place == place:
        return position
    waiting: Any = tuple(
        _in_place(each, place) if isinstance(each, ScheduledSignal) else each for each in position.waiting
    )
    return replace(position, place=place, waiting=waiting)


def _in_place(signal: S, place: str) -> S:
    return replace(signal, place=place)


def _state_moved_to(state: Holding | Waiting, place: str) -> Holding | Waiting:
    if isinstance(state, Holding):
        return replace(state, signal=_in_place(state.signal, place))
    beside = tuple(_in_place(each, place) for each in state.beside)
    return replace(state, signal=_in_place(state.signal, place), beside=beside)


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
        if event != replace(again, signal=_in_place(again.signal, event.signal.place)):
            return f"asked again, manage answers otherwise than in the run: {_where(min(event.when, again.when))}"
    if len(one) == len(other):
        return ""
    longer = one if len(one) > len(other) else other
    first = longer[min(len(one), len(other))].when
    return f"asked again, manage answers otherwise than in the run: {_where(first)}"


def _where(when: int) -> str:
    return f"the position is another one since {utc_text(when)}"
