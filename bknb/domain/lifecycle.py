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
Flat       Answers          Flat, Asking, Opening; vwap: Waiting, Holding     Rejected / Scheduled / Opened …
Flat       Minute           Flat                                              (Idle)
Flat       Reenter          Flat
Asking     Verdict          Flat, Asking, Holding, Opening; vwap: Waiting     RiskRefused / Scheduled / Opened
Opening    Minute           Opening, Waiting, Entering, Holding or Flat       [Closed] Scheduled / Opened / Cancelled …
Opening    Managed          Opening, or as Flat by Answer (weights)           Rejected / Cancelled …
Opening    Boundary, Halt   Opening, Holding or Flat                          Cancelled
Opening    DataEnd          Flat                                              [Closed] Cancelled
Waiting    Minute           Waiting, Entering, Holding or Flat                Cancelled / Opened [Closed] / (Active)
Waiting    Boundary         Waiting or Flat                                   Cancelled
Waiting    DataEnd, Halt    Flat                                              Cancelled
Waiting    Managed          Waiting, or as Flat by Answer                     Rejected / Cancelled …
Waiting    Activate         Opening; vwap: Holding                            Opened
Entering   Verdict          Holding, Flat, Entering or Waiting                RiskRefused Cancelled / Opened [Closed]
Holding    Answer, Answers  Holding, Asking or Opening (while it leaves)      Rejected
Holding    SkippedMinutes   Holding                                           Milestone …
Holding    Minute           Holding or Flat                                   [Reduced Added Moved] Milestone … / Closed
Holding    Boundary         Holding                                           AddCancelled
Holding    Managed          Holding, AskingAdds, Opening, Asking; vwap: Flat  Rejected / Moved / Reduced / Added …
AskingAdds Verdict          Holding, AskingAdds; vwap: Flat                   RiskRefused / Reduced / Added …
Holding    Planned          Holding
Holding    Halt             Holding                                           AddCancelled
Holding    ClosedThere      Flat                                              Closed
Holding    TargetsFilled…   Holding or Flat                                   Reduced, and as by Minute
Holding    DataEnd          Flat                                              Closed
========== ================ ================================================= ========================================

Everything else raises ``InvalidTransition`` with the story of how it got there, and does not type-check.
Events in parentheses exist only when ``rules.quiet``.
"""

from __future__ import annotations

from typing import Any, Final, overload

from ..errors import InvalidTransition
from .checked_signal import signal_id
from .entry_boundaries import opening_boundary, waiting_boundary
from .fills_at_stops_and_gaps import Minute
from .lifecycle_entries import (
    asking_verdict,
    entering_verdict,
    flat_answer,
    flat_minute,
    holding_answer,
    opening_minute,
    waiting_minute,
)
from .lifecycle_exits import due, holding_boundary, holding_data_end, holding_halt, holding_minute, holding_skipped
from .lifecycle_inputs import (
    Answer,
    Answers,
    Boundary,
    ClosedThere,
    DataEnd,
    Halt,
    HaltReason,
    Input,
    Managed,
    Reenter,
    SkippedMinutes,
    TargetsFilledThere,
)
from .manual_inputs import Activate, Planned
from .risk_request_and_verdict import Command, Release, Reserve, Verdict
from .state_as_text import story
from .states import (
    Asking,
    AskingAdds,
    Entering,
    Flat,
    Holding,
    Leaving,
    Opening,
    Rules,
    State,
    Step,
    Waiting,
    position_of,
    rejection,
    signals_of,
    waiting_signals,
)
from .unfilled_entries import opening_data_end, opening_halt, waiting_data_end, waiting_halt

__all__ = [
    "Activate",
    "Answer",
    "Answers",
    "Asking",
    "AskingAdds",
    "Boundary",
    "ClosedThere",
    "Command",
    "DataEnd",
    "Entering",
    "Flat",
    "Halt",
    "HaltReason",
    "Holding",
    "Input",
    "Leaving",
    "Managed",
    "Opening",
    "Planned",
    "Reenter",
    "Release",
    "Reserve",
    "Rules",
    "SkippedMinutes",
    "State",
    "Step",
    "Verdict",
    "Waiting",
    "due",
    "position_of",
    "rejection",
    "signal_id",
    "signals_of",
    "step",
    "story",
    "waiting_signals",
]


@overload
def step(state: Flat, given: Answer | Answers | Minute | Reenter, rules: Rules) -> Step: ...
@overload
def step(state: Asking | AskingAdds | Entering, given: Verdict, rules: Rules) -> Step: ...
@overload
def step(state: Opening, given: Boundary | Managed | Minute | DataEnd | Halt, rules: Rules) -> Step: ...
@overload
def step(state: Waiting, given: Boundary | Managed | Activate | Minute | DataEnd | Halt, rules: Rules) -> Step: ...
@overload
def step(
    state: Holding,
    given: Answer
    | Answers
    | SkippedMinutes
    | Boundary
    | Managed
    | Planned
    | Minute
    | DataEnd
    | Halt
    | ClosedThere
    | TargetsFilledThere,
    rules: Rules,
) -> Step: ...
def step(state: State, given: Input, rules: Rules) -> Step:
    """The next state in the lifecycle of a signal, with the events and commands on the way.

    Raises
    ------
    InvalidTransition
        For an input this state cannot take; the text tells the story of the signal.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> from bknb.domain.fills_at_stops_and_gaps import execution_model
    >>> from bknb.domain.signal import Signal
    >>> rules = Rules("BTCUSDT", "s", "demo", None, "backtest", execution_model("touch"), Settings())
    >>> signal = Signal(position="long", price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=5)
    >>> opening = step(Flat(), Answer(0, 100.0, signal), rules).state
    >>> step(opening, Minute(0, 101.0, 102.0, 100.5, 101.5, 101.0), rules).events[0].signal.price_open
    101.0
    """
    transition = _TRANSITIONS.get((type(state), type(given)))
    if transition is None:
        raise _impossible(state, given, rules)
    return transition(state, given, rules)  # type: ignore[no-any-return]  # the table holds only transitions


def _impossible(state: State, given: Input, rules: Rules) -> InvalidTransition:
    return InvalidTransition(
        f"a signal cannot go from {type(state).__name__} by {type(given).__name__}\n"
        f"expected one of: {', '.join(_takes(type(state))) or 'nothing'}\n"
        f"its story: {story(state, rules)}; then came {given!r}"
    )


# What only a managed position, or a list of signals, needs is imported when it is first given: most runs never do.
def _adds_verdict(state: AskingAdds, given: Verdict, rules: Rules) -> Step:
    from .manage_answers_carried_out import adds_verdict

    return adds_verdict(state, given, rules)


def _waiting_managed(state: Waiting, given: Managed, rules: Rules) -> Step:
    from .moved_and_cancelled_entries import waiting_managed

    return waiting_managed(state, given, rules)


def _opening_managed(state: Opening, given: Managed, rules: Rules) -> Step:
    if rules.weights is None:
        raise _impossible(state, given, rules)
    from .moved_and_cancelled_entries import waiting_managed

    return waiting_managed(state, given, rules)


def _holding_managed(state: Holding, given: Managed, rules: Rules) -> Step:
    from .manage_answers_carried_out import holding_managed

    return holding_managed(state, given, rules)


def _answers(state: Flat | Holding, given: Answers, rules: Rules) -> Step:
    from .ordered_list_of_signals import answered_with_several

    return answered_with_several(state, given, rules)


def _asking_verdict(state: Asking, given: Verdict, rules: Rules) -> Step:
    if not (state.granted or state.rest):
        return asking_verdict(state, given, rules)
    from .ordered_list_of_signals import competing_answered

    return competing_answered(state, given, rules)


def _opening_minute(state: Opening, given: Minute, rules: Rules) -> Step:
    if not state.beside:
        return opening_minute(state, given, rules)
    from .competing_entries import competing_opens

    return competing_opens(state, given, rules)


def _waiting_minute(state: Waiting, given: Minute, rules: Rules) -> Step:
    if not state.beside:
        return waiting_minute(state, given, rules)
    from .competing_entries import competing_waits

    return competing_waits(state, given, rules)


def _entering_verdict(state: Entering, given: Verdict, rules: Rules) -> Step:
    if state.holder is None:
        return entering_verdict(state, given, rules)
    from .competing_entries import competing_entered

    return competing_entered(state, given, rules)


def _flat_reenter(state: Flat, _given: Reenter, _rules: Rules) -> Step:
    return Step(Flat(last_id=state.last_id))


def _waiting_activated(state: Waiting, given: Activate, rules: Rules) -> Step:
    from .manual_steps import waiting_activated

    return waiting_activated(state, given, rules)


def _holding_planned(state: Holding, given: Planned, rules: Rules) -> Step:
    from .manual_steps import holding_planned

    return holding_planned(state, given, rules)


def _holding_closed_there(state: Holding, given: ClosedThere, rules: Rules) -> Step:
    from .closed_at_broker import holding_closed_there

    return holding_closed_there(state, given, rules)


def _holding_targets_filled(state: Holding, given: TargetsFilledThere, rules: Rules) -> Step:
    from .closed_at_broker import holding_targets_filled

    return holding_targets_filled(state, given, rules)


_TRANSITIONS: Final[dict[tuple[type, type], Any]] = {
    (Flat, Answer): flat_answer,
    (Flat, Answers): _answers,
    (Flat, Minute): flat_minute,
    (Flat, Reenter): _flat_reenter,
    (Asking, Verdict): _asking_verdict,
    (AskingAdds, Verdict): _adds_verdict,
    (Opening, Minute): _opening_minute,
    (Opening, Managed): _opening_managed,
    (Opening, Boundary): opening_boundary,
    (Opening, DataEnd): opening_data_end,
    (Opening, Halt): opening_halt,
    (Waiting, Minute): _waiting_minute,
    (Waiting, Boundary): waiting_boundary,
    (Waiting, DataEnd): waiting_data_end,
    (Waiting, Halt): waiting_halt,
    (Waiting, Managed): _waiting_managed,
    (Waiting, Activate): _waiting_activated,
    (Entering, Verdict): _entering_verdict,
    (Holding, Answer): holding_answer,
    (Holding, Answers): _answers,
    (Holding, SkippedMinutes): holding_skipped,
    (Holding, Boundary): holding_boundary,
    (Holding, Managed): _holding_managed,
    (Holding, Planned): _holding_planned,
    (Holding, Minute): holding_minute,
    (Holding, DataEnd): holding_data_end,
    (Holding, Halt): holding_halt,
    (Holding, ClosedThere): _holding_closed_there,
    (Holding, TargetsFilledThere): _holding_targets_filled,
}


def _takes(state: type) -> list[str]:
    return [given.__name__ for source, given in _TRANSITIONS if source is state]
