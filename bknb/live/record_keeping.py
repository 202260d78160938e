"""The record of a live run: what it decides, and what it goes on without, is noted and saved before it acts."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS
from ..domain.late_orders import ENTRY_AT_CLOSE, Decision, OldPrice, OrderRole
from ..domain.lifecycle import Holding, Opening, State
from ..domain.run_notes import NotAsked, WhyNotAsked
from ..domain.signal_events import Added, Closed, Event, Opened, Reduced
from ..domain.valid_and_until import counted_again
from ..engine.records import Records
from ..engine.strategy_loop import StrategyLoop
from ..market.bar_slots import bar_close
from .failures_and_retries import Failures
from .plan import LivePlan
from .run_progress import Progress, Reached
from .silent_or_late_market import hole_text
from .values_saved_before_events import StateSaver


class RecordKeeping:
    """Saves the states of a run, and notes late decisions and holes.

    Parameters
    ----------
    plan, reached
        The run, and how far it has come.
    saver
        Writes to the disk.
    records, failures
        Where late orders and holes are noted and told.

    Attributes
    ----------
    records, failures, saver
        As given.
    loop
        The strategy loop of the run; set before anything is saved.
    """

    loop: StrategyLoop

    def __init__(
        self,
        plan: LivePlan,
        saver: StateSaver,
        *,
        reached: Reached,
        records: Records,
        failures: Failures,
    ) -> None:
        self._plan = plan
        self.saver = saver
        self._reached = reached
        self.records = records
        self.failures = failures

    def save(self, state: State, events: tuple[Event, ...], old_price: OldPrice | None = None) -> None:
        """Save a new state with its events; the strategy loop calls it before the state holds.

        What fills at an old price is noted as late, and told.

        Raises
        ------
        StateError
            When it could not be saved; then the state from before still holds.
        """
        old = None if old_price is None or not _has_filled(old_price.decision, events) else old_price
        beside = {} if old is None else {old.decision: self.decided_at(*old.decision)}
        weights = self.loop.strategy.portfolio_weights
        if weights is not None:
            weights.note(events)
        try:
            late = self.saver.save(
                state,
                events,
                self._progress(),
                filled_late=beside,
            )
        except BaseException:
            if self.saver.account is not None:
                self.saver.account.take_back()
            if weights is not None:
                weights.take_back()
            raise
        self.records.late.update(beside)
        if old is not None:
            self._tell_old_price(old, beside[old.decision])
        for decision, decided_at in late.items():
            self.tell_late(decision, decided_at, "decided", hole_end=self._reached.hole_end)

    def save_asked(self, when: int) -> None:
        """Save that the strategy was asked at a moment (UTC ms), where nothing came of it that was saved.

        Raises
        ------
        StateError
            When it could not be saved.
        """
        saved = self.saver.newest
        if saved is None or saved.last_asked != when:
            self._save(self._state())

    def not_asked(self, when: int, why: WhyNotAsked, *, really: bool = True) -> bool:
        """Note that a question due at a moment (UTC ms) was not asked, or not answered; returns ``really``."""
        if really:
            self.saver.recording.note(NotAsked(when=when, why=why))
        return really

    def save_managed(self, when: int) -> None:
        """Save that ``manage`` was asked at a moment (UTC ms), where nothing came of it that was saved.

        Raises
        ------
        StateError
            When it could not be saved.
        """
        saved = self.saver.progress
        if saved is None or saved.last_managed != when:
            self._save(self._state())

    def _save(self, state: State) -> None:
        self.saver.save(state, (), self._progress())

    def _state(self) -> State:
        """What is saved where nothing came of a question."""
        return self.loop.state

    def _progress(self) -> Progress:
        """How far the run has come, with what its strategy keeps."""
        return self._reached.progress(self._last_managed(), self.loop.sources.memo)

    def _last_managed(self) -> int:
        return self.loop.last_managed

    # --- late decisions -----------------------------------------------------------------------------------------

    def decided_at(self, when: int, _order: OrderRole) -> int:
        """The time of the clock (UTC ms) at a decision for the moment ``when`` (UTC ms); in time, it is the moment.

        What the clock ends inside a hole is decided when the hole has been waited for, which is late as a rule.
        """
        now = self._plan.clock.now()
        in_time = now <= when + MINUTE_MS or now <= self._plan.late_after(when)
        return when if in_time else now

    def tell_late(self, decision: Decision, decided_at: int, what: Literal["decided", "sent"], *, hole_end: int = 0
                  ) -> None:  # fmt: skip
        """Count and tell an order that was decided, or is sent after a restart, later than its moment.

        ``hole_end`` is where the last hole ended (UTC ms), if there was one.
        """
        self.records.late[decision] = decided_at
        when, _ = decision
        hole = f": its moment lay in a hole, which ended at {utc_text(hole_end)}" if hole_end > when else ""
        behind = f"{(decided_at - when) // MINUTE_MS} minutes late{hole}"
        order = self.saver.late_order_name(decision)
        end = f"it fills at the first candle from {utc_text(decided_at)} on"
        fills = "it is over" if order == ENTRY_AT_CLOSE else end
        self.failures.note("late", what, f"the {order} of {utc_text(when)} was {what} {behind}; {fills}", when)

    def _tell_old_price(self, old: OldPrice, decided_at: int) -> None:
        when, _ = old.decision
        text = f"the {old.order} of {utc_text(when)} was decided {(decided_at - when) // MINUTE_MS} minutes late"
        note = f"{text}, by hand; it has filled at the average price of then, for no minute had come since"
        self.failures.note("late", "by hand", note, when)

    # --- holes --------------------------------------------------------------------------------------------------

    def go_on_without(self, holes: tuple[tuple[int, int], ...], *, waited_minutes: int) -> None:
        """Note minutes that never came, on disk and in the record, before the minute behind them is worked on.

        ``waited_minutes`` is how long they have been waited for.

        Raises
        ------
        StateError
            When they could not be saved.
        """
        plan, reached = self._plan, self._reached
        reached.hole_end = max([reached.hole_end, *(end for _, end in holes)])
        new = self.saver.save_holes(holes)
        self.records.holes.extend(new)
        self._count_again()
        if not plan.allow_gaps and new:
            text = hole_text(plan.symbol, plan.exchange.name, new, waited_minutes=waited_minutes, base=plan.base,
                             grid=reached.grid)  # fmt: skip
            self.failures.note("hole", "", text, new[0][0], again=False)

    def _count_again(self) -> None:
        """Count bars that never came out of moments that are so many bars away."""
        self.loop.state = counted_again(self.loop.state, self.loop.rules)

    def leave_out(self, minute: int) -> None:
        """Save that the run goes on without a minute (UTC ms) that could not be worked on: its trade is in doubt.

        Raises
        ------
        StateError
            When it could not be saved.
        """
        closes = bar_close(minute, self._plan.base_ms, self._reached.grid)
        self.records.holes.extend(self.saver.save_holes(((minute, closes),)))
        state = counted_again(_in_doubt(self.loop.state), self.loop.rules)
        self._save(state)
        self.loop.state = state


def _has_filled(decision: Decision, events: tuple[Event, ...]) -> bool:
    """Whether an order was filled at the moment of its decision."""
    when, _ = decision
    return any(isinstance(event, Opened | Added | Reduced | Closed) and event.when == when for event in events)


def _in_doubt(state: State) -> State:
    """The state, whose position may not have survived a minute."""
    match state:
        case Holding():
            return msgspec.structs.replace(state, in_doubt=True)
        case Opening(ending=Holding() as ending):
            return msgspec.structs.replace(state, ending=msgspec.structs.replace(ending, in_doubt=True))
        case _:
            return state
