"""The lifecycle of a signal: idle → scheduled → opened → active → closed / cancelled, decided in one place.

``step(state, input, rules)`` is a pure function. Backtest, live and paper feed it the same inputs; they differ only
in who supplies the minutes and who carries out the commands.

A moment is the boundary between two minutes. What is decided there (an entry, leaving at a deadline or at the end of
the frame) is an order: it is part of the state, and fills in the first minute that can fill it. What a minute did is
known, and told, when that minute has closed.

========== ================ ================================================= ========================================
state      input            becomes                                           events
========== ================ ================================================= ========================================
Flat       Answer           Flat, Asking, Opening; vwap: Waiting, Holding     Rejected / Scheduled / Opened
Flat       Minute           Flat                                              (Idle)
Asking     Verdict          Flat, Holding, Opening; vwap: Waiting             RiskRefused / Scheduled / Opened
Opening    Minute           Opening, Waiting, Holding or Flat                 [Closed] Scheduled / Opened / Cancelled …
Opening    Boundary, Halt   Opening, Holding or Flat                          Cancelled
Opening    DataEnd          Flat                                              [Closed] Cancelled
Waiting    Minute           Waiting, Entering, Holding or Flat                Cancelled / Opened [Closed] / (Active)
Waiting    Boundary         Waiting or Flat                                   Cancelled
Waiting    DataEnd, Halt    Flat                                              Cancelled
Entering   Verdict          Holding or Flat                                   RiskRefused Cancelled / Opened [Closed]
Holding    Answer           Holding, Asking or Opening (while it leaves)      Rejected
Holding    SkippedMinutes   Holding
Holding    Minute           Holding or Flat                                   Milestone … / Closed / (Active)
Holding    Boundary         Holding
Holding    DataEnd          Flat                                              Closed
========== ================ ================================================= ========================================

Everything else raises ``InvalidTransition`` with the story of how it got there, and does not type-check.
Events in parentheses exist only when ``rules.quiet``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias, overload

import msgspec

from ..config import Settings
from ..errors import InvalidTransition
from .execution import Entry, ExecutionModel, Exit, Minute, exit_at_entry
from .formatting import minute_text, stamp_text
from .interval import MINUTE_MS
from .milestones import passed_levels, progress
from .pnl import net_percentage, trade_pnl
from .signal import (
    Active,
    Cancelled,
    CancelReason,
    Closed,
    CloseReason,
    Event,
    Idle,
    Milestone,
    Mode,
    Opened,
    OpenSignal,
    Reason,
    Rejected,
    RiskRefused,
    Scheduled,
    ScheduledSignal,
    Signal,
)
from .tick_grid import on_grid
from .validation import broken_rules, shown

_NEVER: Final = 2**63 - 1


class Rules(NamedTuple):
    """The parameters of a run that the lifecycle depends on.

    Attributes
    ----------
    frame_last
        Last moment of the frame (UTC ms), which ends what is open. ``None`` in live.
    risk
        Name of the risk profile to ask, or ``None``.
    quiet
        Whether minutes in which nothing happens give ``Idle`` and ``Active`` results.
    tick
        The smallest step of prices on this market (quote currency); ``None``: unknown, levels stay as they are.
    interval_ms
        The strategy's interval: a resting entry waits at least as long.
    """

    symbol: str
    strategy: str
    exchange: str
    frame: str | None
    mode: Mode
    model: ExecutionModel
    settings: Settings
    frame_last: int | None = None
    risk: str | None = None
    quiet: bool = False
    tick: float | None = None
    interval_ms: int = MINUTE_MS

    @property
    def awaits_ms(self) -> int:
        """How long a resting entry waits."""
        return max(self.settings.schedule_await_minutes * MINUTE_MS, self.interval_ms)


# --- states -----------------------------------------------------------------------------------------------------


class Flat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing open, nothing scheduled; ``last_id`` is the signal that was opened last."""

    last_id: str | None = None


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """The order that ends a position: why, when it was decided, and from when on it may fill (UTC ms).

    ``price`` is the average price when it was decided.
    """

    reason: CloseReason
    decided_at: int
    not_before: int
    price: float


class Holding(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A position is open.

    ``highest`` and ``lowest`` are the extreme prices it has seen, ``profit_level`` and ``loss_level`` the furthest
    milestones it has passed (0..100). ``leaving`` is its closing order, once it was decided. ``in_doubt``: a candle
    did not say whether the position survived it.
    """

    signal: OpenSignal
    highest: float
    lowest: float
    profit_level: int = 0
    loss_level: int = 0
    leaving: Leaving | None = None
    in_doubt: bool = False


class Asking(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A checked candidate is with the risk profile; ``ending`` is a position that leaves meanwhile."""

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float
    not_before: int
    last_id: str | None = None
    ending: Holding | None = None


class Opening(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An entry order was decided, and no minute that can fill it has closed yet.

    ``not_before`` is the moment (UTC ms) from which on it may fill; ``ending`` a position that leaves meanwhile.
    """

    signal: ScheduledSignal
    not_before: int
    last_id: str | None = None
    ending: Holding | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A limit or stop entry rests."""

    signal: ScheduledSignal
    last_id: str | None = None


class Entering(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The entry was touched in ``minute``; the risk profile is asked again before ``entry`` is made.

    ``earlier`` are events of that minute that are told once it has answered; the place of what they closed is given
    back then, too, when they are saved.
    """

    signal: ScheduledSignal
    minute: Minute
    entry: Entry
    last_id: str | None = None
    earlier: tuple[Closed | Scheduled, ...] = ()


State: TypeAlias = Flat | Asking | Opening | Waiting | Entering | Holding


# --- inputs (besides Minute) ------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """The signal a strategy returned at moment ``when`` (UTC ms); ``price`` is the average price then.

    ``decided_at`` is the time of the clock when it was known, where that was later (live, catching up).
    """

    when: int
    price: float
    signal: Signal
    decided_at: int | None = None


class Boundary(NamedTuple):
    """The moment ``when`` (UTC ms), before its minute: the clock ends what is due. ``price`` is the average then.

    ``decided_at`` is the time of the clock when it was looked at, where that was later (live, catching up).
    """

    when: int
    price: float
    decided_at: int | None = None


class Verdict(NamedTuple):
    """The decision of the risk profile on the candidate, its note, and how many places were taken."""

    allowed: bool
    note: str = ""
    open_positions: int = 0


class SkippedMinutes(NamedTuple):
    """The highest and lowest price (quote currency) of minutes in which the state could not change."""

    highest: float
    lowest: float


class DataEnd(NamedTuple):
    """The candles end with the one at ``t``: its close, and the average price of the window that ends with it."""

    t: int
    price: float
    close: float


HaltReason: TypeAlias = Literal["stopped", "disagreement"]


class Halt(NamedTuple):
    """The run was stopped at moment ``when``, or its account at the broker differs from its record."""

    when: int
    price: float
    reason: HaltReason = "stopped"


Input: TypeAlias = Answer | Boundary | Minute | Verdict | SkippedMinutes | DataEnd | Halt


# --- results ----------------------------------------------------------------------------------------------------


class Reserve(NamedTuple):
    """Command: ask the risk profile for a place, which is taken when it is granted.

    ``ending`` is the id of a signal that leaves at this moment: its place counts as free.
    """

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float
    ending: str | None = None


class Release(NamedTuple):
    """Command: give the place of this signal back."""

    signal_id: str


Command: TypeAlias = Reserve | Release


class Step(NamedTuple):
    """What an input led to: the next state, events in order, commands in order."""

    state: State
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()


@overload
def step(state: Flat, given: Answer | Minute, rules: Rules) -> Step: ...
@overload
def step(state: Asking | Entering, given: Verdict, rules: Rules) -> Step: ...
@overload
def step(state: Opening, given: Boundary | Minute | DataEnd | Halt, rules: Rules) -> Step: ...
@overload
def step(state: Waiting, given: Boundary | Minute | DataEnd | Halt, rules: Rules) -> Step: ...
@overload
def step(state: Holding, given: Answer | SkippedMinutes | Boundary | Minute | DataEnd, rules: Rules) -> Step: ...
def step(state: State, given: Input, rules: Rules) -> Step:
    """The next state in the lifecycle of a signal, with the events and commands on the way.

    Raises
    ------
    InvalidTransition
        For an input this state cannot take; the text tells the story of the signal.

    Examples
    --------
    >>> from bknb.domain.execution import execution_model
    >>> rules = Rules("BTCUSDT", "s", "demo", None, "backtest", execution_model("touch"), Settings())
    >>> signal = Signal(position="long", price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=5)
    >>> opening = step(Flat(), Answer(0, 100.0, signal), rules).state
    >>> step(opening, Minute(0, 101.0, 102.0, 100.5, 101.5, 101.0), rules).events[0].signal.price_open
    101.0
    """
    transition = _TRANSITIONS.get((type(state), type(given)))
    if transition is None:
        raise InvalidTransition(
            f"a signal cannot go from {type(state).__name__} by {type(given).__name__}\n"
            f"expected one of: {', '.join(_takes(type(state))) or 'nothing'}\n"
            f"its story: {story(state, rules)}; then came {given!r}"
        )
    return transition(state, given, rules)  # type: ignore[no-any-return]  # the table holds only transitions


# --- transitions ------------------------------------------------------------------------------------------------


def _where(rules: Rules) -> dict[str, Any]:
    return {
        "symbol": rules.symbol,
        "strategy": rules.strategy,
        "exchange": rules.exchange,
        "frame": rules.frame,
        "mode": rules.mode,
    }


def signal_id(rules: Rules, when: int) -> str:
    """The id of a signal that brought none: strategy, symbol and minute; the same in every run.

    Examples
    --------
    >>> from bknb.domain.execution import execution_model
    >>> signal_id(Rules("BTCUSDT", "sma", "demo", None, "live", execution_model("touch"), Settings()), 0)
    'sma-BTCUSDT-19700101T0000'
    """
    return f"{rules.strategy}-{rules.symbol}-{stamp_text(when)}"


def _flat_answer(state: Flat, given: Answer, rules: Rules) -> Step:
    return _answered(state, None, given, rules)


def _holding_answer(state: Holding, given: Answer, rules: Rules) -> Step:
    if state.leaving is None:
        raise InvalidTransition(f"a strategy is not asked while its position is open\n{story(state, rules)}")
    return _answered(state, state, given, rules)


def _answered(state: Flat | Holding, ending: Holding | None, given: Answer, rules: Rules) -> Step:
    last_id = state.last_id if isinstance(state, Flat) else state.signal.id
    model = rules.model
    signal = on_grid(given.signal, rules.tick)
    reasons = broken_rules(signal, price=given.price, model=model, settings=rules.settings)
    if signal.id is not None and signal.id == last_id:
        reasons.append(Reason("repeated", f"the signal {signal.id!r} was opened already"))
    if reasons:
        return Step(state, (rejection(rules, given.when, given.price, tuple(reasons), signal),))
    row: dict[str, Any] = {
        "id": signal.id or signal_id(rules, given.when),
        "symbol": rules.symbol,
        "strategy": rules.strategy,
        "exchange": rules.exchange,
        "position": signal.position,
        "price_open": float(given.price if signal.price_open is None else signal.price_open),
        "price_take_profit": float(signal.price_take_profit),
        "price_stop_loss": float(signal.price_stop_loss),
        "minute_estimated_time": signal.minute_estimated_time,
        "note": signal.note,
        "scheduled_at": given.when,
        "entry": "market" if signal.price_open is None else signal.entry,
    }
    at_once = not model.fills_at_open and reached(signal, given.price)
    candidate = OpenSignal(pending_at=given.when, **row) if at_once else ScheduledSignal(**row)
    asking = Asking(
        candidate=candidate,
        when=given.when,
        price=given.price,
        not_before=_not_before(given),
        last_id=last_id,
        ending=ending,
    )
    if rules.risk is None:
        return _granted(asking, rules)
    return Step(asking, (), (Reserve(candidate, given.when, given.price, ending.signal.id if ending else None),))


def reached(signal: Signal, price: float) -> bool:
    """Whether an entry order fills at once where the market is at ``price`` (quote currency)."""
    if signal.price_open is None:
        return True
    below = (signal.entry == "limit") == (signal.position == "long")
    return price <= signal.price_open if below else price >= signal.price_open


def _not_before(given: Answer | Boundary) -> int:
    """The earliest moment (UTC ms) at which an order can fill: the clock, when it was more than a minute late."""
    if given.decided_at is None or given.decided_at <= given.when + MINUTE_MS:
        return given.when
    return given.decided_at


def rejection(rules: Rules, when: int, price: float, reasons: tuple[Reason, ...], signal: object) -> Rejected:
    """The event for an answer that was no valid signal, with the reasons."""
    return Rejected(**_where(rules), when=when, price=price, reasons=reasons, signal=shown(signal, 400))


def _flat_minute(state: Flat, given: Minute, rules: Rules) -> Step:
    if not rules.quiet:
        return Step(state)
    return Step(state, (Idle(**_where(rules), when=given.t, price=given.price),))


def _granted(state: Asking, rules: Rules) -> Step:
    candidate = state.candidate
    if isinstance(candidate, OpenSignal):
        opened = Opened(**_where(rules), when=state.when, price=state.price, signal=candidate)
        entry = candidate.price_open
        return Step(Holding(signal=candidate, highest=entry, lowest=entry), (opened,))
    if rules.model.fills_at_open:
        return Step(Opening(signal=candidate, not_before=state.not_before, last_id=state.last_id, ending=state.ending))
    scheduled = Scheduled(**_where(rules), when=state.when, price=state.price, signal=candidate)
    return Step(Waiting(signal=candidate, last_id=state.last_id), (scheduled,))


def _refusal(
    candidate: OpenSignal | ScheduledSignal, when: int, price: float, verdict: Verdict, rules: Rules
) -> RiskRefused:
    return RiskRefused(
        **_where(rules),
        when=when,
        price=price,
        risk=rules.risk or "",
        note=verdict.note,
        signal=candidate,
        open_positions=verdict.open_positions,
    )


def _asking_verdict(state: Asking, given: Verdict, rules: Rules) -> Step:
    if given.allowed:
        return _granted(state, rules)
    refused = _refusal(state.candidate, state.when, state.price, given, rules)
    return Step(state.ending or Flat(last_id=state.last_id), (refused,))


def _cancel(
    signal: ScheduledSignal,
    then: Flat | Holding,
    when: int,
    price: float,
    reason: CancelReason,
    rules: Rules,
    *,
    note: str = "",
) -> Step:
    cancelled = Cancelled(
        **_where(rules), when=when, price=price, signal=signal, reason=reason, closed_at=when, note=note
    )
    release = () if rules.risk is None else (Release(signal.id),)
    return Step(then, (cancelled,), release)


def _flat_after(state: Opening | Waiting | Entering) -> Flat:
    return Flat(last_id=state.last_id)


# --- what the clock ends ------------------------------------------------------------------------------------------


def due(state: State, rules: Rules) -> int:
    """The moment (UTC ms) at which the clock ends something of this state; far in the future when it ends nothing.

    Examples
    --------
    >>> from bknb.domain.execution import execution_model
    >>> due(Flat(), Rules("BTCUSDT", "s", "demo", None, "live", execution_model("touch"), Settings())) > 10**15
    True
    """
    if not rules.model.fills_at_open:
        return _NEVER
    frame_end = _NEVER if rules.frame_last is None else rules.frame_last
    match state:
        case Holding(leaving=None, signal=signal):
            return min(frame_end, signal.pending_at + signal.minute_estimated_time * MINUTE_MS)
        case Opening(signal=signal) | Waiting(signal=signal):
            return min(frame_end, _timeout(signal, rules))
        case _:
            return _NEVER


def _timeout(signal: ScheduledSignal, rules: Rules) -> int:
    if signal.entry == "market":
        return _NEVER
    return signal.scheduled_at + rules.awaits_ms


def _frame_over(when: int, rules: Rules) -> bool:
    return rules.frame_last is not None and when >= rules.frame_last


def _cancelled_by_clock(state: Opening | Waiting, then: Flat | Holding, given: Boundary, rules: Rules) -> Step:
    if _frame_over(given.when, rules):
        return _cancel(state.signal, then, given.when, given.price, rules.model.frame_end_cancel, rules)
    if given.when >= _timeout(state.signal, rules):
        return _cancel(state.signal, then, given.when, given.price, "timeout", rules)
    return Step(state)


def _opening_boundary(state: Opening, given: Boundary, rules: Rules) -> Step:
    return _cancelled_by_clock(state, state.ending or _flat_after(state), given, rules)


def _waiting_boundary(state: Waiting, given: Boundary, rules: Rules) -> Step:
    return _cancelled_by_clock(state, _flat_after(state), given, rules)


def _holding_boundary(state: Holding, given: Boundary, rules: Rules) -> Step:
    if given.when < due(state, rules):
        return Step(state)
    reason: CloseReason = rules.model.frame_end_close if _frame_over(given.when, rules) else "time_expired"
    leaving = Leaving(reason=reason, decided_at=given.when, not_before=_not_before(given), price=given.price)
    return Step(msgspec.structs.replace(state, leaving=leaving))


# --- entries ------------------------------------------------------------------------------------------------------


def _after_frame(t: int, rules: Rules) -> bool:
    return rules.frame_last is not None and t > rules.frame_last


def _quiet(signal: OpenSignal | ScheduledSignal, minute: Minute, rules: Rules) -> tuple[Event, ...]:
    """The result of a minute in which nothing happened, when it is wanted."""
    if not rules.quiet:
        return ()
    active = Active(**_where(rules), when=minute.t, price=minute.price, signal=signal, percent_tp=0.0, percent_sl=0.0)
    return (active,)


def _opening_minute(state: Opening, given: Minute, rules: Rules) -> Step:
    signal, model = state.signal, rules.model
    events: tuple[Any, ...] = ()
    commands: tuple[Command, ...] = ()
    last_id = state.last_id
    if state.ending is not None:  # leaves before the new position enters, at the same open or an earlier one
        left = _holding_minute(state.ending, given, rules)
        if isinstance(left.state, Holding):
            return Step(state, left.events)
        events, commands, last_id = left.events, left.commands, state.ending.signal.id
    if not model.can_fill(given, state.not_before):
        alone = msgspec.structs.replace(state, last_id=last_id, ending=None)
        return Step(alone, events + _quiet(signal, given, rules), commands)
    entry = model.entry(signal, given, first=True)
    if not isinstance(entry, Entry) or entry.rested:
        events += (Scheduled(**_where(rules), when=given.t, price=given.price, signal=signal),)
    if entry is None:
        return Step(Waiting(signal=signal, last_id=last_id), events + _quiet(signal, given, rules), commands)
    if entry == "reject":
        made = _cancel(signal, Flat(last_id=last_id), given.t, given.price, "price_reject", rules)
    elif entry.rested and given.t > signal.scheduled_at:
        made = _touched(signal, given, entry, rules, last_id=last_id, earlier=events)
        if isinstance(made.state, Entering):
            return made
    else:  # risk was asked in this minute already
        made = _entered(signal, given, entry, rules)
    return Step(made.state, events + made.events, commands + made.commands)


def _touched(
    signal: ScheduledSignal,
    minute: Minute,
    entry: Entry,
    rules: Rules,
    *,
    last_id: str | None,
    earlier: tuple[Closed | Scheduled, ...] = (),
) -> Step:
    """A resting entry that fills in a minute, once the risk profile has been asked again."""
    if rules.risk is None:
        return _entered(signal, minute, entry, rules)
    entering = Entering(signal=signal, minute=minute, entry=entry, last_id=last_id, earlier=earlier)
    ending = next(_ids_closed(earlier), None)
    return Step(entering, (), (Reserve(activated(signal, minute.t, entry.price), minute.t, minute.price, ending),))


def _ids_closed(events: tuple[Event, ...]) -> Iterator[str]:
    return (event.signal.id for event in events if isinstance(event, Closed))


def _waiting_minute(state: Waiting, given: Minute, rules: Rules) -> Step:
    signal, model = state.signal, rules.model
    if not model.fills_at_open:
        if _after_frame(given.t, rules):
            return _cancel(signal, _flat_after(state), given.t, given.price, model.frame_end_cancel, rules)
        if given.t >= _timeout(signal, rules):
            return _cancel(signal, _flat_after(state), given.t, given.price, "timeout", rules)
    entry = model.entry(signal, given, first=False) if model.can_fill(given) else None
    if entry is None:
        return Step(state, _quiet(signal, given, rules))
    if entry == "reject":
        return _cancel(signal, _flat_after(state), given.t, given.price, "price_reject", rules)
    return _touched(signal, given, entry, rules, last_id=state.last_id)


def activated(signal: ScheduledSignal, when: int, price: float) -> OpenSignal:
    """The open row of a signal whose entry filled at ``price`` in the minute ``when``."""
    return OpenSignal(**{**msgspec.structs.asdict(signal), "price_open": price}, pending_at=when)


def _entered(order: ScheduledSignal, minute: Minute, entry: Entry, rules: Rules) -> Step:
    """The fill of an entry, and what the rest of its minute does."""
    signal = activated(order, minute.t, entry.price)
    opened = Opened(**_where(rules), when=minute.t, price=minute.price, signal=signal)
    holding = Holding(signal=signal, highest=signal.price_open, lowest=signal.price_open)
    end: Exit | None = None
    if entry.at_open:
        end = exit_at_entry(signal)
        if end is None:
            after = _holding_minute(holding, minute, rules)
            return Step(after.state, (opened, *after.events), after.commands)
    elif entry.stopped:
        # The candle reached entry and stop: the resting order was filled on the way, and stopped out.
        end = Exit("stop_loss", signal.price_stop_loss, ambiguous=True)
    if end is None:
        return Step(_held_after_touch(holding, order, minute, entry, rules), (opened,))
    ending = _close(holding, minute.t, minute.price, end, rules)
    return Step(ending.state, (opened, *ending.events), ending.commands)


def _held_after_touch(holding: Holding, order: ScheduledSignal, minute: Minute, entry: Entry, rules: Rules) -> Holding:
    """The position after a minute in which it filled at its level: of the extremes only one came after the fill."""
    if not rules.model.fills_at_open:
        return holding
    upward = (order.entry == "stop") == (order.position == "long")
    seen = {"highest": max(holding.highest, minute.high)} if upward else {"lowest": min(holding.lowest, minute.low)}
    return msgspec.structs.replace(holding, in_doubt=entry.in_doubt, **seen)


def _entering_verdict(state: Entering, given: Verdict, rules: Rules) -> Step:
    minute, released = state.minute, tuple(Release(signal_id) for signal_id in _ids_closed(state.earlier))
    if given.allowed:
        made = _entered(state.signal, minute, state.entry, rules)
        return Step(made.state, state.earlier + made.events, released + made.commands)
    refused = _refusal(activated(state.signal, minute.t, state.entry.price), minute.t, minute.price, given, rules)
    ending = _cancel(state.signal, _flat_after(state), minute.t, minute.price, "risk", rules, note=given.note)
    return Step(ending.state, (*state.earlier, refused, *ending.events), released + ending.commands)


# --- the position -------------------------------------------------------------------------------------------------


def _close(state: Holding, when: int, price: float, end: Exit, rules: Rules) -> Step:
    signal = state.signal
    slippage, fee = rules.settings.percent_slippage, rules.settings.percent_fee
    entry = signal.price_open
    highest, lowest = max(state.highest, end.price), min(state.lowest, end.price)
    best, worst = (highest, lowest) if signal.position == "long" else (lowest, highest)
    closed = Closed(
        **_where(rules),
        when=when,
        price=price,
        signal=signal,
        close_reason=end.reason,
        closed_at=when,
        price_close=end.price,
        pnl=trade_pnl(signal.position, entry, end.price, slippage=slippage, fee=fee),
        peak_percentage=net_percentage(signal.position, entry, best, slippage, fee),
        trough_percentage=net_percentage(signal.position, entry, worst, slippage, fee),
        ambiguous=end.ambiguous or state.in_doubt,
    )
    release = () if rules.risk is None else (Release(signal.id),)
    return Step(Flat(last_id=signal.id), (closed,), release)


def _holding_skipped(state: Holding, given: SkippedMinutes, _rules: Rules) -> Step:
    seen = msgspec.structs.replace(
        state, highest=max(state.highest, given.highest), lowest=min(state.lowest, given.lowest)
    )
    return Step(seen)


def _holding_minute(state: Holding, given: Minute, rules: Rules) -> Step:
    signal, model = state.signal, rules.model
    if state.leaving is not None:
        if not model.can_fill(given, state.leaving.not_before):
            return Step(state, _quiet(signal, given, rules))
        return _close(state, given.t, given.price, Exit(state.leaving.reason, given.open, ambiguous=False), rules)
    if not model.can_fill(given):
        return Step(state, _quiet(signal, given, rules))
    end: Exit | None
    if not model.fills_at_open and (reason := _ended_by_clock(signal, given.t, rules)) is not None:
        end = Exit(reason, given.price, ambiguous=False)
    else:
        end = model.exit(signal, given)
    if end is not None:
        return _close(state, given.t, given.price, end, rules)
    side, percent = progress(signal, given.price)
    passed = state.profit_level if side == "profit" else state.loss_level
    levels = passed_levels(percent, passed)
    where = _where(rules) if levels or rules.quiet else {}
    events: tuple[Event, ...] = tuple(
        Milestone(**where, when=given.t, price=given.price, side=side, level=level, signal=signal) for level in levels
    )
    if levels:
        passed = levels[-1]
    high, low = model.extremes(given)
    held = msgspec.structs.replace(
        state,
        highest=max(state.highest, high),
        lowest=min(state.lowest, low),
        profit_level=passed if side == "profit" else state.profit_level,
        loss_level=passed if side == "loss" else state.loss_level,
    )
    if rules.quiet:
        tp, sl = (percent, 0.0) if side == "profit" else (0.0, percent)
        active = Active(**where, when=given.t, price=given.price, signal=signal, percent_tp=tp, percent_sl=sl)
        events = (*events, active)
    return Step(held, events)


def _ended_by_clock(signal: OpenSignal, t: int, rules: Rules) -> CloseReason | None:
    """Why a position that is closed at the average price ends in the minute ``t``, if the clock ends it."""
    if _after_frame(t, rules):
        return rules.model.frame_end_close
    if t - signal.pending_at >= signal.minute_estimated_time * MINUTE_MS:
        return "time_expired"
    return None


# --- the end of the data, and a stop --------------------------------------------------------------------------------


def _opening_data_end(state: Opening, given: DataEnd, rules: Rules) -> Step:
    when = max(given.t, state.signal.scheduled_at)
    cancelled = _cancel(state.signal, _flat_after(state), when, given.price, "data_end", rules)
    if state.ending is None:
        return cancelled
    closed = _holding_data_end(state.ending, given, rules)
    return Step(closed.state, closed.events + cancelled.events, closed.commands + cancelled.commands)


def _waiting_data_end(state: Waiting, given: DataEnd, rules: Rules) -> Step:
    return _cancel(state.signal, _flat_after(state), given.t, given.price, "data_end", rules)


def _opening_halt(state: Opening, given: Halt, rules: Rules) -> Step:
    return _cancel(state.signal, state.ending or _flat_after(state), given.when, given.price, given.reason, rules)


def _waiting_halt(state: Waiting, given: Halt, rules: Rules) -> Step:
    return _cancel(state.signal, _flat_after(state), given.when, given.price, given.reason, rules)


def _holding_data_end(state: Holding, given: DataEnd, rules: Rules) -> Step:
    price = given.close if rules.model.fills_at_open else given.price
    return _close(state, given.t, given.price, Exit("data_end", price, ambiguous=False), rules)


_TRANSITIONS: Final[dict[tuple[type, type], Any]] = {
    (Flat, Answer): _flat_answer,
    (Flat, Minute): _flat_minute,
    (Asking, Verdict): _asking_verdict,
    (Opening, Minute): _opening_minute,
    (Opening, Boundary): _opening_boundary,
    (Opening, DataEnd): _opening_data_end,
    (Opening, Halt): _opening_halt,
    (Waiting, Minute): _waiting_minute,
    (Waiting, Boundary): _waiting_boundary,
    (Waiting, DataEnd): _waiting_data_end,
    (Waiting, Halt): _waiting_halt,
    (Entering, Verdict): _entering_verdict,
    (Holding, Answer): _holding_answer,
    (Holding, SkippedMinutes): _holding_skipped,
    (Holding, Boundary): _holding_boundary,
    (Holding, Minute): _holding_minute,
    (Holding, DataEnd): _holding_data_end,
}


def _takes(state: type) -> list[str]:
    return [given.__name__ for source, given in _TRANSITIONS if source is state]


def signals_of(state: State) -> tuple[OpenSignal | ScheduledSignal, ...]:
    """The signals that are open, ordered or scheduled in a state, the oldest first.

    Examples
    --------
    >>> signals_of(Flat())
    ()
    """
    match state:
        case Opening(signal=signal, ending=None) | Waiting(signal=signal) | Holding(signal=signal):
            return (signal,)
        case Opening(signal=signal, ending=ending):
            assert ending is not None  # the case above  # noqa: S101
            return (ending.signal, signal)
        case _:
            return ()


# --- story and invariants ---------------------------------------------------------------------------------------


def story(state: State, rules: Rules) -> str:
    """A sentence on the state and how it came about, for messages.

    Examples
    --------
    >>> from bknb.domain.execution import execution_model
    >>> story(Flat(), Rules("BTCUSDT", "s", "demo", None, "live", execution_model("touch"), Settings()))
    's on BTCUSDT (live, touch): flat, nothing was opened yet'
    """
    who = f"{rules.strategy} on {rules.symbol} ({rules.mode}, {rules.model.name})"
    match state:
        case Flat(last_id=None):
            return f"{who}: flat, nothing was opened yet"
        case Flat(last_id=last_id):
            return f"{who}: flat after {last_id}"
        case Asking(candidate=candidate, when=when):
            return f"{who}: risk was asked about {candidate.id} at {minute_text(when)} UTC"
        case Opening(signal=signal, ending=ending):
            at = f"{minute_text(signal.scheduled_at)} UTC"
            before = "" if ending is None else f"{ending.signal.id} leaves, "
            return f"{who}: {before}{signal.id} was ordered at {at}, no candle has filled it yet"
        case Waiting(signal=signal):
            at = f"{minute_text(signal.scheduled_at)} UTC"
            return f"{who}: {signal.id} scheduled at {at} waits for {signal.price_open:g}"
        case Entering(signal=signal, minute=minute):
            at = f"{minute_text(minute.t)} UTC"
            return f"{who}: {signal.id} was touched at {at}, risk was asked again"
        case Holding(signal=signal, leaving=leaving):
            at = f"{minute_text(signal.pending_at)} UTC"
            opened = f"{who}: {signal.id} {signal.position} opened at {at} for {signal.price_open:g}"
            return opened if leaving is None else f"{opened}, leaves ({leaving.reason})"


def check(state: State) -> list[str]:
    """Broken invariants of a state, empty when all hold; used by tests and after a restart.

    Examples
    --------
    >>> check(Flat())
    []
    """
    match state:
        case Flat():
            return []
        case Asking(candidate=signal) | Holding(signal=signal):
            pass
        case Opening(signal=signal) | Waiting(signal=signal) | Entering(signal=signal):
            pass
    sign = 1 if signal.position == "long" else -1
    found: list[str] = []
    if sign * (signal.price_take_profit - signal.price_open) <= 0:
        found.append("the take profit is on the wrong side of the entry")
    if sign * (signal.price_open - signal.price_stop_loss) <= 0:
        found.append("the stop loss is on the wrong side of the entry")
    if isinstance(signal, OpenSignal) and signal.pending_at < signal.scheduled_at:
        found.append("the position opened before it was scheduled")
    if isinstance(state, Holding):
        if not state.lowest <= signal.price_open <= state.highest:
            found.append("the extreme prices do not contain the entry")
        if any(level % 10 or not 0 <= level <= 100 for level in (state.profit_level, state.loss_level)):
            found.append("a milestone is no multiple of 10 between 0 and 100")
    return found
