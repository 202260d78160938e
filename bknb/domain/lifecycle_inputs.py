"""What moves the state of a signal on, besides a minute: answers, moments, decisions."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from .fills_at_stops_and_gaps import Minute
from .manage_answers import PositionAnswer
from .manual_inputs import Activate, Planned, Source
from .risk_request_and_verdict import Verdict
from .signal import Signal
from .signal_events import ClosedBy, Reason
from .states import Rules


class Answer(NamedTuple):
    """The signal a strategy returned at moment ``when`` (UTC ms); ``price`` is the average price then.

    ``decided_at`` is the time of the clock when it was known, where that was later (live, catching up).
    """

    when: int
    price: float
    signal: Signal
    decided_at: int | None = None


class Answers(NamedTuple):
    """The signals that a strategy returned in a list at moment ``when`` (UTC ms): the first that fills takes the place.

    Else as :class:`Answer`.
    """

    when: int
    price: float
    signals: tuple[Signal, ...]
    decided_at: int | None = None


class Boundary(NamedTuple):
    """The moment ``when`` (UTC ms), before its minute: the clock ends what is due. ``price`` is the average then.

    ``decided_at`` is the time of the clock when it was looked at, where that was later (live, catching up). ``newest``
    is the newest candle before it that can fill an order, where a session closes for which there is one.
    """

    when: int
    price: float
    decided_at: int | None = None
    newest: Minute | None = None


class FilledTarget(NamedTuple):
    """A target that was filled at the broker: its level, and the average price of its fills, in quote currency."""

    level: float
    price: float


class SkippedMinutes(NamedTuple):
    """The highest and lowest price (quote currency) of minutes in which nothing opens, closes or fills.

    ``milestones`` are the open times (UTC ms) and average prices of those in which a plain position passes one; the
    state does not change in others.
    """

    highest: float
    lowest: float
    milestones: tuple[tuple[int, float], ...] = ()


class DataEnd(NamedTuple):
    """The candles end with the one at ``t``: its close, and the average price of the window that ends with it."""

    t: int
    price: float
    close: float


HaltReason: TypeAlias = Literal["stopped", "disagreement", "manual"]


class Halt(NamedTuple):
    """Take back what waits at ``when`` (UTC ms): at a stop, where account and record differ, or by hand."""

    when: int
    price: float
    reason: HaltReason = "stopped"
    note: str = ""


class Managed(NamedTuple):
    """What ``manage``, or somebody by hand, answered at moment ``when`` (UTC ms) about what is open or waits.

    Attributes
    ----------
    answers
        In order.
    price
        The average price at that moment.
    close
        The last close before it: moved levels are judged against it.
    faults, text
        Why other answers could not be read, and all of them as text.
    decided_at, entry_decided_at
        The time of the clock when it was known, where that was later (live, catching up): for orders on the position,
        and for a signal among the answers.
    entries
        Whether adds and new signals are allowed: not in a run that is stopped.
    source
        Who answered; it is the reason of what comes of it.
    """

    answers: tuple[PositionAnswer, ...]
    price: float
    when: int
    close: float
    faults: tuple[Reason, ...] = ()
    text: str = ""
    decided_at: int | None = None
    entry_decided_at: int | None = None
    entries: bool = True
    source: Source = "strategy"


class Reenter(NamedTuple):
    """A weight at ``when`` (UTC ms) that is 0 or on the other side: what stays flat may be entered again."""

    when: int


class ClosedThere(NamedTuple):
    """All of a position was closed at the broker before the end of a minute, and the record has it open.

    Attributes
    ----------
    minute
        The minute; what it would have done of itself is told beside.
    price
        The average price of what was closed, in quote currency.
    closed_by
        What has closed it.
    by_target
        Whether targets that rested there did, and no stop.
    """

    minute: Minute
    price: float
    closed_by: ClosedBy = "exchange"
    by_target: bool = False


class TargetsFilledThere(NamedTuple):
    """Targets that close parts of a position were filled at the broker before the end of a minute.

    Attributes
    ----------
    minute
        The minute; it goes on behind them.
    filled
        Each target, the nearest first.
    """

    minute: Minute
    filled: tuple[FilledTarget, ...]


Input: TypeAlias = (
    Answer
    | Answers
    | Boundary
    | Managed
    | Planned
    | Activate
    | Minute
    | Verdict
    | SkippedMinutes
    | DataEnd
    | Halt
    | Reenter
    | ClosedThere
    | TargetsFilledThere
)


def earliest_fill(given: Answer | Answers | Boundary | Managed, rules: Rules) -> int:
    """The earliest moment (UTC ms) at which an order can fill: the clock, when it was more than a base bar late."""
    if given.decided_at is None or given.decided_at <= rules.bar_end(given.when):
        return given.when
    return given.decided_at
