"""The lifecycle of a signal: idle → scheduled → opened → active → closed / cancelled, decided in one place.

``step(state, input, rules)`` is a pure function. Backtest, live and paper feed it the same inputs; they differ only
in who supplies the minutes and who carries out the commands.

========== ================ ============================================ =====================================
state      input            becomes                                      events
========== ================ ============================================ =====================================
Flat       Answer           Flat, Asking, Waiting or Holding             Rejected / Scheduled / Opened
Flat       Minute           Flat                                         (Idle)
Asking     Verdict          Flat, Waiting or Holding                     RiskRefused / Scheduled / Opened
Waiting    Minute           Waiting, Entering, Holding or Flat           Cancelled / Opened [Closed] / (Active)
Waiting    DataEnd, Halt    Flat                                         Cancelled
Entering   Verdict          Holding or Flat                              RiskRefused Cancelled / Opened [Closed]
Holding    SkippedMinutes   Holding
Holding    Minute           Holding or Flat                              Milestone … / Closed / (Active)
Holding    DataEnd          Flat                                         Closed
========== ================ ============================================ =====================================

Everything else raises ``InvalidTransition`` with the story of how it got there, and does not type-check.
Events in parentheses exist only when ``rules.quiet``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias, overload

import msgspec

from ..config import Settings
from ..errors import InvalidTransition
from .execution import ExecutionModel, Exit, Minute
from .formatting import minute_text, stamp_text
from .interval import MINUTE_MS
from .milestones import passed_levels, progress
from .pnl import net_percentage, trade_pnl
from .signal import (
    Active,
    Cancelled,
    CancelReason,
    Closed,
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
from .validation import broken_rules, shown


class Rules(NamedTuple):
    """The parameters of a run that the lifecycle depends on.

    Attributes
    ----------
    frame_last
        Last moment of the frame (UTC ms); the first later candle ends what is open. ``None`` in live.
    risk
        Name of the risk profile to ask, or ``None``.
    quiet
        Whether minutes in which nothing happens give ``Idle`` and ``Active`` results.
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


# --- states -----------------------------------------------------------------------------------------------------


class Flat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing open, nothing scheduled; ``last_id`` is the signal that was opened last."""

    last_id: str | None = None


class Asking(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A checked candidate is with the risk profile."""

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float
    last_id: str | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A scheduled signal waits for its entry price."""

    signal: ScheduledSignal
    last_id: str | None = None


class Entering(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The entry was touched in ``minute``; the risk profile is asked again."""

    signal: ScheduledSignal
    minute: Minute
    stopped_too: bool
    last_id: str | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A position is open.

    ``highest`` and ``lowest`` are the extreme prices it has seen, ``profit_level`` and ``loss_level`` the furthest
    milestones it has passed (0..100).
    """

    signal: OpenSignal
    highest: float
    lowest: float
    profit_level: int = 0
    loss_level: int = 0


State: TypeAlias = Flat | Asking | Waiting | Entering | Holding


# --- inputs (besides Minute) ------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """The signal a strategy returned at moment ``when`` (UTC ms); ``price`` is the average price then."""

    when: int
    price: float
    signal: Signal


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
    """The candles end with the one at ``t``; ``price`` is the last average price."""

    t: int
    price: float


class Halt(NamedTuple):
    """The run was stopped at moment ``when``."""

    when: int
    price: float


Input: TypeAlias = Answer | Minute | Verdict | SkippedMinutes | DataEnd | Halt


# --- results ----------------------------------------------------------------------------------------------------


class Reserve(NamedTuple):
    """Command: ask the risk profile for a place, which is taken when it is granted."""

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float


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
def step(state: Waiting, given: Minute | DataEnd | Halt, rules: Rules) -> Step: ...
@overload
def step(state: Holding, given: SkippedMinutes | Minute | DataEnd, rules: Rules) -> Step: ...
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
    >>> step(Flat(), Answer(0, 100.0, signal), rules).events[0].signal.price_open
    100.0
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
    signal = given.signal
    reasons = broken_rules(signal, price=given.price, model=rules.model, settings=rules.settings)
    if signal.id is not None and signal.id == state.last_id:
        reasons.append(Reason("repeated", f"the signal {signal.id!r} was opened already"))
    if reasons:
        return Step(state, (rejection(rules, given.when, given.price, tuple(reasons), signal),))
    fill = rules.model.market_fill(signal.position, given.price, signal.price_open)
    row: dict[str, Any] = {
        "id": signal.id or signal_id(rules, given.when),
        "symbol": rules.symbol,
        "strategy": rules.strategy,
        "exchange": rules.exchange,
        "position": signal.position,
        "price_take_profit": float(signal.price_take_profit),
        "price_stop_loss": float(signal.price_stop_loss),
        "minute_estimated_time": signal.minute_estimated_time,
        "note": signal.note,
        "scheduled_at": given.when,
    }
    candidate: OpenSignal | ScheduledSignal
    if fill is None:
        assert signal.price_open is not None  # only a limit can have to wait  # noqa: S101
        candidate = ScheduledSignal(price_open=float(signal.price_open), **row)
    else:
        candidate = OpenSignal(price_open=float(fill), pending_at=given.when, **row)
    asking = Asking(candidate=candidate, when=given.when, price=given.price, last_id=state.last_id)
    if rules.risk is None:
        return _granted(asking, rules)
    return Step(asking, (), (Reserve(candidate, given.when, given.price),))


def rejection(rules: Rules, when: int, price: float, reasons: tuple[Reason, ...], signal: object) -> Rejected:
    """The event for an answer that was no valid signal, with the reasons."""
    return Rejected(**_where(rules), when=when, price=price, reasons=reasons, signal=shown(signal, 400))


def _flat_minute(state: Flat, given: Minute, rules: Rules) -> Step:
    if not rules.quiet:
        return Step(state)
    return Step(state, (Idle(**_where(rules), when=given.t, price=given.price),))


def _granted(state: Asking, rules: Rules) -> Step:
    candidate = state.candidate
    if isinstance(candidate, ScheduledSignal):
        scheduled = Scheduled(**_where(rules), when=state.when, price=state.price, signal=candidate)
        return Step(Waiting(signal=candidate, last_id=state.last_id), (scheduled,))
    opened = Opened(**_where(rules), when=state.when, price=state.price, signal=candidate)
    entry = candidate.price_open
    return Step(Holding(signal=candidate, highest=entry, lowest=entry), (opened,))


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
    return Step(Flat(last_id=state.last_id), (refused,))


def _cancel(
    state: Waiting | Entering, when: int, price: float, reason: CancelReason, rules: Rules, *, note: str = ""
) -> Step:
    cancelled = Cancelled(
        **_where(rules), when=when, price=price, signal=state.signal, reason=reason, closed_at=when, note=note
    )
    release = () if rules.risk is None else (Release(state.signal.id),)
    return Step(Flat(last_id=state.last_id), (cancelled,), release)


def _after_frame(t: int, rules: Rules) -> bool:
    return rules.frame_last is not None and t > rules.frame_last


def _waiting_minute(state: Waiting, given: Minute, rules: Rules) -> Step:
    signal = state.signal
    if _after_frame(given.t, rules):
        return _cancel(state, given.t, given.price, rules.model.frame_end_cancel, rules)
    if given.t - signal.scheduled_at >= rules.settings.schedule_await_minutes * MINUTE_MS:
        return _cancel(state, given.t, given.price, "timeout", rules)
    entry = rules.model.entry(signal, given)
    if entry is None:
        if not rules.quiet:
            return Step(state)
        active = Active(**_where(rules), when=given.t, price=given.price, signal=signal, percent_tp=0.0, percent_sl=0.0)
        return Step(state, (active,))
    if entry == "reject":
        return _cancel(state, given.t, given.price, "price_reject", rules)
    entering = Entering(signal=signal, minute=given, stopped_too=entry == "open_and_stop", last_id=state.last_id)
    if rules.risk is None:
        return _entered(entering, rules)
    return Step(entering, (), (Reserve(activated(signal, given.t), given.t, given.price),))


def activated(signal: ScheduledSignal, when: int) -> OpenSignal:
    """The open row of a scheduled signal whose entry was touched in the minute ``when``."""
    return OpenSignal(**msgspec.structs.asdict(signal), pending_at=when)


def _entered(state: Entering, rules: Rules) -> Step:
    minute = state.minute
    signal = activated(state.signal, minute.t)
    opened = Opened(**_where(rules), when=minute.t, price=minute.price, signal=signal)
    holding = Holding(signal=signal, highest=signal.price_open, lowest=signal.price_open)
    if not state.stopped_too:
        return Step(holding, (opened,))
    # The candle reached entry and stop: the resting order was filled on the way, and stopped out.
    ending = _close(holding, minute.t, minute.price, Exit("stop_loss", signal.price_stop_loss, ambiguous=True), rules)
    return Step(ending.state, (opened, *ending.events), ending.commands)


def _entering_verdict(state: Entering, given: Verdict, rules: Rules) -> Step:
    if given.allowed:
        return _entered(state, rules)
    minute = state.minute
    refused = _refusal(activated(state.signal, minute.t), minute.t, minute.price, given, rules)
    ending = _cancel(state, minute.t, minute.price, "risk", rules, note=given.note)
    return Step(ending.state, (refused, *ending.events), ending.commands)


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
        ambiguous=end.ambiguous,
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
    if _after_frame(given.t, rules):
        return _close(state, given.t, given.price, Exit(model.frame_end_close, given.price, ambiguous=False), rules)
    if given.t - signal.pending_at >= signal.minute_estimated_time * MINUTE_MS:
        return _close(state, given.t, given.price, Exit("time_expired", given.price, ambiguous=False), rules)
    end = model.exit(signal, given)
    if end is not None:
        return _close(state, given.t, given.price, end, rules)
    side, percent = progress(signal, given.price)
    reached = state.profit_level if side == "profit" else state.loss_level
    levels = passed_levels(percent, reached)
    where = _where(rules) if levels or rules.quiet else {}
    events: tuple[Event, ...] = tuple(
        Milestone(**where, when=given.t, price=given.price, side=side, level=level, signal=signal) for level in levels
    )
    if levels:
        reached = levels[-1]
    high, low = model.extremes(given)
    held = Holding(
        signal=signal,
        highest=max(state.highest, high),
        lowest=min(state.lowest, low),
        profit_level=reached if side == "profit" else state.profit_level,
        loss_level=reached if side == "loss" else state.loss_level,
    )
    if rules.quiet:
        tp, sl = (percent, 0.0) if side == "profit" else (0.0, percent)
        active = Active(**where, when=given.t, price=given.price, signal=signal, percent_tp=tp, percent_sl=sl)
        events = (*events, active)
    return Step(held, events)


def _waiting_data_end(state: Waiting, given: DataEnd, rules: Rules) -> Step:
    return _cancel(state, given.t, given.price, "data_end", rules)


def _waiting_halt(state: Waiting, given: Halt, rules: Rules) -> Step:
    return _cancel(state, given.when, given.price, "stopped", rules)


def _holding_data_end(state: Holding, given: DataEnd, rules: Rules) -> Step:
    return _close(state, given.t, given.price, Exit("data_end", given.price, ambiguous=False), rules)


_TRANSITIONS: Final[dict[tuple[type, type], Any]] = {
    (Flat, Answer): _flat_answer,
    (Flat, Minute): _flat_minute,
    (Asking, Verdict): _asking_verdict,
    (Waiting, Minute): _waiting_minute,
    (Waiting, DataEnd): _waiting_data_end,
    (Waiting, Halt): _waiting_halt,
    (Entering, Verdict): _entering_verdict,
    (Holding, SkippedMinutes): _holding_skipped,
    (Holding, Minute): _holding_minute,
    (Holding, DataEnd): _holding_data_end,
}


def _takes(state: type) -> list[str]:
    return [given.__name__ for source, given in _TRANSITIONS if source is state]


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
        case Waiting(signal=signal):
            at = f"{minute_text(signal.scheduled_at)} UTC"
            return f"{who}: {signal.id} scheduled at {at} waits for {signal.price_open:g}"
        case Entering(signal=signal, minute=minute):
            at = f"{minute_text(minute.t)} UTC"
            return f"{who}: {signal.id} was touched at {at}, risk was asked again"
        case Holding(signal=signal):
            at = f"{minute_text(signal.pending_at)} UTC"
            return f"{who}: {signal.id} {signal.position} opened at {at} for {signal.price_open:g}"


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
        case Asking(candidate=signal) | Waiting(signal=signal) | Entering(signal=signal) | Holding(signal=signal):
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
