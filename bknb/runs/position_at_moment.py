"""A position in the middle of a run as ``manage`` saw it, and the answer of ``manage`` that is asked again."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.formatting import utc_text
from ..domain.lifecycle import Holding, Waiting
from ..domain.manage_answers import PositionAnswer
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.signal_events import Event, Reason, Rejected, RiskRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was there at a moment: the position as ``manage`` sees it, its state, and the last close before it.

    ``all`` are the positions of all places as that question to ``manage`` sees them, the oldest first. ``diverged``
    says where the events came out differently from those of the run; empty where they did not.
    """

    position: HeldPosition
    state: Holding | Waiting
    close: float
    all: tuple[HeldPosition, ...]
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
