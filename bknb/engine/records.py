"""The records of a run: its events in order, and its failures, counted."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from msgspec import Struct, field

from ..domain.late_orders import Decision
from ..domain.position_fills import Fill
from ..domain.signal import OpenSignal, SignalKey, key_of
from ..domain.signal_events import (
    Active,
    AddCancelled,
    Added,
    Cancelled,
    Closed,
    Event,
    Idle,
    Milestone,
    Moved,
    Opened,
    PositionEvent,
    Reduced,
    Rejected,
    RiskRefused,
    Scaled,
    TickResult,
)
from ..domain.text import error_text, readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..domain.protection_gaps import ProtectionGaps
    from ..domain.risk_request_and_verdict import Verdict
    from ..domain.signal import ScheduledSignal
    from ..market.kept_memo import Turn
    from ..market.model_fit import FittedModel
    from .next_change import MilestonesLater

N = TypeVar("N")
_making = Lock()

_MAX_TEXTS = 500  # a run that goes on for months must not hold ever more of them

FailureKind = Literal[
    "warm-up",
    "model_late",
    "strategy",
    "exchange",
    "callback",
    "timeout",
    "state",
    "broker",
    "double_fill",
    "cut_fill",
    "manual",
    "late",
    "hole",
    "silence",
    "lag",
    "unprotected",
]

ONE_FOR_EACH_TEXT: Final = ("state", "broker", "double_fill", "cut_fill", "manual", "unprotected")
"""Kinds of what is no error of somebody's code, but of the state or of the broker."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that happened at least once, and the run went on.

    Attributes
    ----------
    kind
        ``"warm-up"``: not enough history yet. ``"strategy"``, ``"callback"``: user code raised. ``"exchange"``:
        candles could not be had. ``"timeout"``: a strategy took too long. In live also ``"model_late"``: a model was
        not fitted in time; ``"state"``: something could not be saved; ``"broker"``: an order differs from the record;
        ``"double_fill"``: a broker filled an order that the record had taken back, and it was closed at once;
        ``"cut_fill"``: less than was ordered was free or allowed when an order filled, and the rest was closed at once;
        ``"manual"``: something came into the account at a broker, or left it, by hand;
        ``"late"``: a question waited or was too old, or an order was decided more than a minute after its moment;
        ``"hole"``: minutes never came, and the run went on without them; ``"silence"``: no minute came for so long that
        what is open is not watched; ``"lag"``: something blocked all live runs, or what is open is watched minutes
        later than its candles came; ``"unprotected"``: a position is held without a stop at the exchange.
    message
        The first error's type and text; of those that no error tells, such as ``"late"``, a sentence.
    where
        The line of user code, when there is one.
    count
        How many times it happened at that place.
    first_at, last_at
        Moments (UTC ms) of the first and the last time.
    """

    kind: FailureKind
    message: str
    where: str
    count: int
    first_at: int
    last_at: int


class Records(Struct):
    """The events, warnings and failures of a run; ``ends`` holds its closed and cancelled results.

    ``late`` holds, for each order a live run decided more than a minute after its moment, the time of the clock
    (UTC ms) at which it was decided; the key is that moment (UTC ms) and ``"exit"`` or ``"entry"``, because both may be
    decided for one moment. Those of earlier processes are in it, too. A backtest that is given the same delays has the
    same events.
    """

    events: list[TickResult] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    cancelled: list[Cancelled] = field(default_factory=list)
    ends: list[Closed | Cancelled] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    refused: list[RiskRefused] = field(default_factory=list)
    positions: list[PositionEvent] = field(default_factory=list)  # partial fills, adds and moved levels
    moves_dropped: set[SignalKey] = field(default_factory=set)  # closed positions whose moved levels are not there
    warnings: list[str] = field(default_factory=list)
    late: dict[Decision, int] = field(default_factory=dict)
    holes: list[tuple[int, int]] = field(default_factory=list)  # [first, end) of minutes a live run went on without, ms
    places_taken: int = 0  # signals that were left out as their place was taken, or none was free
    missed: int = 0  # moments of the strategy's schedule at which it could not be asked
    memos: list[tuple[int, Turn, str]] = field(default_factory=list)  # of a backtest; see ``market.kept_memo``
    add_verdicts: dict[tuple[SignalKey, int], Verdict] = field(default_factory=dict)  # of a backtest: adds cut, refused
    models: list[FittedModel] = field(default_factory=list)  # fits of models that the strategy used, in order
    indicators: set[str] = field(default_factory=set)  # names of those whose values the strategy or its models read
    held: tuple[tuple[Fill, OpenSignal], ...] = ()  # fills of what was open when a live run was started again
    gaps: ProtectionGaps | None = None  # times without a stop at the broker, up to the end of a live run
    _failures: dict[tuple[str, str, str], Failure] = field(default_factory=dict)
    _milestones: list[Milestone | MilestonesLater] = field(default_factory=list)
    _made: int = 0  # how many of them are known to be made
    _limit: int | None = None  # of milestones, warnings, rejections, refusals, moved levels; events are never dropped
    _moved: int = 0  # how many of the positions' events are moved levels

    @property
    def milestones(self) -> list[Milestone]:
        """Partial milestones in order; those of positions that are over are made when they are first looked at."""
        known = self._milestones
        if len(known) > self._made:
            with _making:  # a run may add others meanwhile, behind these
                first, end = self._made, len(known)
                made = [(each,) if isinstance(each, Milestone) else each.made() for each in known[first:end]]
                known[first:end] = chain.from_iterable(made)
                self._made = first + sum(map(len, made))
        return known  # type: ignore[return-value]  # all were made

    @milestones.setter
    def milestones(self, known: list[Milestone]) -> None:
        self._milestones, self._made = [*known], 0

    def add_milestones(self, some: Iterable[Milestone | MilestonesLater]) -> None:
        """Add milestones, or what they are made of, in the order of the run."""
        self._milestones.extend(some)

    def __eq__(self, other: object) -> bool:
        """Whether the same happened in both: milestones that nobody has looked at yet are made."""
        if not isinstance(other, Records):
            return NotImplemented
        others = [name for name in self.__struct_fields__ if name not in ("_milestones", "_made")]
        same = all(getattr(self, name) == getattr(other, name) for name in others)
        return same and self.milestones == other.milestones

    __hash__ = None  # type: ignore[assignment]  # as of any list

    @property
    def needs_capital(self) -> bool:
        """Whether there is no account without a capital: of positions in places, and of one that was added to.

        One that is still open counts; one that says its part of the equity may be added to.
        """
        added = any(event.adds and event.signal.size is None for event in self.closed) or bool(self._added())
        return added or self.in_places

    @property
    def in_places(self) -> bool:
        """Whether its positions are in several places."""
        return any(each.signal.place for each in self.closed[:1]) or any(each.place for each in self.open_signals)

    @property
    def opened_below_zero(self) -> bool:
        """Whether a position was opened at or below zero, one that is still open included: it has no percentages."""
        below = any(event.signal.price_open <= 0 for event in self.closed)
        return below or any(signal.price_open <= 0 for signal in self.open_signals)

    @property
    def has_open_adds(self) -> bool:
        """Whether a position that is still open was added to, or is in one of several places."""
        added = self._added() - {key_of(event.signal) for event in self.closed}
        return bool(added) or any(each.place for each in self.open_signals)

    @property
    def open_signals(self) -> tuple[OpenSignal, ...]:
        """The positions that are still open, the oldest first."""
        over = {key_of(event.signal) for event in self.closed}
        opened = (event.signal for event in self.events if isinstance(event, Opened))
        return tuple(signal for signal in opened if key_of(signal) not in over)

    @property
    def position_count(self) -> int:
        """How many positions were opened; one that is still open counts."""
        return len(self.closed) + len(self.open_signals)

    def _added(self) -> set[SignalKey]:
        """Those of them that events and fills before a restart tell of."""
        added = [event.signal for event in self.positions if isinstance(event, Added)]
        added += [signal for fill, signal in self.held if fill.kind == "add"]
        return {key_of(signal) for signal in added if signal.size is None}

    def warn(self, text: str) -> None:
        """Add a warning."""
        self._append(self.warnings, readable(text))

    def _append(self, notes: list[N], note: N) -> None:
        notes.append(note)
        if self._limit is not None and len(notes) > 2 * self._limit:
            del notes[: -self._limit]

    def add(self, event: Event) -> None:
        """Add one event; results of quiet minutes (idle, active), and what is of several legs, are left out."""
        match event:
            case Opened():
                pass
            case Milestone():
                self._append(self._milestones, event)
                return
            case Idle() | Active() | Scaled():
                return
            case Reduced() | Added() | AddCancelled() | Moved():
                self.positions.append(event)
                self._moved += type(event) is Moved
                return
            case Rejected():
                self._append(self.rejected, event)
                return
            case RiskRefused():
                self._append(self.refused, event)
                return
            case Closed():
                self.closed.append(event)
                self.ends.append(event)
                self._forget_moved(event)
            case Cancelled():
                self.cancelled.append(event)
                self.ends.append(event)
            case _:
                pass
        self.events.append(event)

    def _forget_moved(self, closed: Closed) -> None:
        """Drop moved levels of the positions that closed first, each with all of its own, where there are too many.

        Those of the one that has just closed stay.
        """
        if self._limit is None or self._moved <= 2 * self._limit:
            return
        moved = [key_of(event.signal) for event in self.positions if isinstance(event, Moved)]
        gone = set(moved[: -self._limit]) - {key_of(closed.signal)}
        self.moves_dropped |= gone
        self.positions = [
            event for event in self.positions if not (isinstance(event, Moved) and key_of(event.signal) in gone)
        ]
        self._moved = sum(isinstance(event, Moved) for event in self.positions)

    def note_add(self, signal: OpenSignal | ScheduledSignal, number: int, verdict: Verdict) -> None:
        """Note what a backtest was granted of an add when it was ordered, where that is not all of it."""
        if self._limit is None and not (verdict.allowed and verdict.share is None):
            self.add_verdicts[key_of(signal), number] = verdict

    def fail(self, kind: FailureKind, error: BaseException, *, where: str, when: int) -> Failure:
        """Count an error; the same kind of error at the same place is one entry.

        What is no error of somebody's code, but of the state or of the broker, is one entry for each text.
        """
        name, text = type(error).__name__, ""
        key = (kind, name, where)
        if kind in ONE_FOR_EACH_TEXT and not where:
            text = f"{name}: {error_text(error)}"
            by_text = (kind, text, where)
            key = by_text if by_text in self._failures or len(self._failures) < _MAX_TEXTS else key
        if key not in self._failures:  # what user code raises every minute is written out once
            text = text or f"{name}: {error_text(error)}"
        return self._count(key, kind, text, where=where, when=when)

    def note(self, kind: FailureKind, topic: str, text: str, *, when: int) -> Failure:
        """Count what went wrong without an exception; all of a kind and a topic are one entry with the first text."""
        return self._count((kind, topic, ""), kind, text, where="", when=when)

    def _count(self, key: tuple[str, str, str], kind: FailureKind, message: str, *, where: str, when: int) -> Failure:
        known = self._failures.get(key)
        if known is None:
            failure = Failure(kind, message, where, 1, when, when)
        else:
            failure = Failure(kind, known.message, where, known.count + 1, known.first_at, when)
        self._failures[key] = failure
        return failure

    def sort_failures(self) -> None:
        """Put failures in the order of their first time: some were counted later than they happened."""
        self._failures = dict(sorted(self._failures.items(), key=lambda item: item[1].first_at))

    def snapshot(self) -> Records:
        """What there is now; a run that goes on does not change it."""
        copies: dict[str, Any] = {
            name: copy(getattr(self, name)) for name in self.__struct_fields__ if not name.startswith("_")
        }
        known: dict[str, Any] = {"_limit": self._limit, "_made": self._made}  # no more of those that are copied next
        known["_milestones"] = copy(self._milestones)
        return Records(**copies, **known, _failures=dict(self._failures))

    @property
    def failures(self) -> list[Failure]:
        """Everything that went wrong, in the order of its first time."""
        return list(self._failures.values())
