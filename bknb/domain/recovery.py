"""The saved state of a live run on disk, and the state it is restored to after a crash.

A turn of the lifecycle may touch several files. Each carries the number of its turn, and files are written in an order
in which the newest turn is the valid one wherever the process ends in between, so that recovery needs no journal:

* the milestones before the position they belong to (with the levels from before, should the position not follow),
* the open position before its scheduled signal is removed,
* whatever ended before the position is gone.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from .late_orders import OrderRole
from .lifecycle import Flat, Holding, Leaving, Opening, Waiting
from .position_book import PositionBook
from .risk_request_and_verdict import OpenPosition
from .signal import OpenSignal, ScheduledSignal
from .signal_events import Cancelled, Closed, Milestone, Opened, PositionEvent, Scheduled
from .states import StaysFlat

Kept: TypeAlias = Scheduled | Opened | Closed | Cancelled | Milestone | PositionEvent
"""The results that are kept until the listeners have heard them."""


class SavedMilestone(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="milestone"):
    """A milestone among saved results."""

    milestone: Milestone


SavedResult: TypeAlias = Scheduled | Opened | Closed | Cancelled | PositionEvent | SavedMilestone
"""A result as it is saved."""


def saved_result(event: Kept) -> SavedResult:
    """A result in the form in which it is saved."""
    return SavedMilestone(milestone=event) if isinstance(event, Milestone) else event


def kept_result(saved: SavedResult) -> Kept:
    """A saved result as it was told."""
    return saved.milestone if isinstance(saved, SavedMilestone) else saved


SavedState: TypeAlias = Flat | Opening | Waiting | Holding
"""The states that are saved: nothing is decided yet in the others."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The strategy, exchange, symbol and execution model that saved state belongs to."""

    strategy: str
    exchange: str
    symbol: str
    execution: str


def line_to_resume(owner: Owner, *, with_broker: bool = False, **options: object) -> str:
    """The line that goes on with a saved state; ``with_broker`` where a broker carried out its orders.

    Examples
    --------
    >>> line_to_resume(Owner(strategy="sma", exchange="demo", symbol="BTCUSDT", execution="touch"))
    "bknb.Live.background('BTCUSDT', strategy='sma', exchange='demo', execution='touch', store=store)"
    """
    given = {"strategy": owner.strategy, "exchange": owner.exchange, "execution": owner.execution, **options}
    words = ", ".join(f"{name}={value!r}" for name, value in given.items())
    broker = ", broker=broker, quantity=quantity" if with_broker else ""
    return f"bknb.Live.background({owner.symbol!r}, {words}{broker}, store=store)"


class SavedSetup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an open, ordered or scheduled signal was decided with; parameters and settings as text, by name.

    ``at`` and ``manage_at`` are the schedules by which its strategy was asked; empty: by an interval. ``base`` is the
    interval of the bars that fill its orders.
    """

    interval: str
    risk: str | None
    parameters: dict[str, str]
    settings: dict[str, str]
    at: str = ""
    manage_at: str = ""
    base: str = "1m"
    places: int = 1


STATE_VERSION: Final = 4
"""The format of saved positions and scheduled signals.

1 knew no orders that have not filled yet; 2 kept no milestones and no set-up, and numbered no results; 3 knew no
positions that are managed.
"""
NEWEST_STATE_VERSION: Final = 5
"""That of states which an older bknb would trade a part of.

4 knew no entries that compete for a place, no memo of a strategy, no levels in percent, no moves of orders that
wait, no adds by stop orders or with a stop of their own, no entry ladders, no sizes of signals alone, no places.
"""


class SavedOpening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry order that no minute has filled yet, and the moment (UTC ms) from which on it may fill.

    ``beside`` are others for the same place, also in :class:`SavedSchedule`.
    """

    signal: ScheduledSignal
    not_before: int
    activated: bool = False
    close_at: int | None = None
    sent: bool = False
    late_at: int = 0
    beside: tuple[ScheduledSignal, ...] = ()


class SavedMoments(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the schedule by which a strategy is asked has come.

    Attributes
    ----------
    at
        The schedule, as text.
    until
        Its moments up to this one (UTC ms) were looked at.
    pending
        The newest of them, where it may still be asked about (UTC ms).
    managed
        Whether what is open at the pending moment is managed, so that it is not missed.
    missed
        How many were missed.
    """

    at: str
    until: int
    pending: int | None = None
    managed: bool = False
    missed: int = 0


class SavedSignal(msgspec.Struct, frozen=True, kw_only=True):
    """The open position of a strategy on a symbol; ``signal`` is ``None`` when there is none.

    Attributes
    ----------
    owner
        Whose it is.
    turn
        How many turns came before; the highest on disk is the newest.
    last_minute
        Open time of the last minute that was processed (UTC ms).
    last_asked
        Moment of the last question to the strategy (UTC ms), ``None`` before the first.
    last_id
        The signal that was opened last.
    signal
        The open position.
    highest, lowest
        Extreme prices it has seen.
    leaving, in_doubt
        Its closing order; whether a candle left open that it survived.
    book
        What is managed of it; ``None`` for a plain position.
    last_managed
        The last moment at which ``manage`` was asked (UTC ms), ``None`` before the first.
    opening
        The entry order of the next signal.
    volume_seen
        Whether the source has reported a volume so far; ``None`` where version 1 wrote it.
    setup
        What the newest of its signals was decided with; ``None`` where an older version wrote it.
    results, heard
        How many results were told since the first start, and how many of them all listeners have heard.
    undelivered
        The last results, as far as they were not heard; those between ``heard`` and them are in
        :class:`SavedUndelivered`.
    moments
        How far the schedule of the strategy has come; unset where it has none, and where an older release wrote it.
    memo
        What the strategy keeps from question to question, as JSON; unset: nothing.
    stays_flat
        As in :class:`bknb.domain.states.Flat`; unset where weights may open something on each side.
    places
        How many places the strategy has, each with a state of its own beside this one; unset: one.
    """

    version: int = STATE_VERSION

    owner: Owner
    turn: int
    last_minute: int = msgspec.field(name="fed")
    last_asked: int | None = msgspec.field(default=None, name="asked")
    last_id: str | None = None
    signal: OpenSignal | None = None
    highest: float = 0.0
    lowest: float = 0.0
    leaving: Leaving | None = None
    in_doubt: bool = False
    book: PositionBook | None = None
    last_managed: int | None = None
    opening: SavedOpening | None = None
    volume_seen: bool | None = None
    setup: SavedSetup | None = None
    results: int = 0
    heard: int = 0
    undelivered: tuple[SavedResult, ...] = msgspec.field(default=(), name="untold")
    moments: SavedMoments | msgspec.UnsetType = msgspec.UNSET
    memo: str | msgspec.UnsetType = msgspec.UNSET
    stays_flat: StaysFlat | msgspec.UnsetType = msgspec.UNSET
    places: int | msgspec.UnsetType = msgspec.UNSET


class SavedSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduled signal; fields as in :class:`SavedSignal`."""

    version: int = STATE_VERSION
    owner: Owner
    turn: int
    last_minute: int = msgspec.field(name="fed")
    signal: ScheduledSignal
    last_asked: int | None = msgspec.field(default=None, name="asked")
    last_managed: int | None = None
    last_id: str | None = None
    volume_seen: bool | None = None
    setup: SavedSetup | None = None
    results: int = 0
    heard: int = 0
    undelivered: tuple[SavedResult, ...] = msgspec.field(default=(), name="untold")
    moments: SavedMoments | msgspec.UnsetType = msgspec.UNSET
    memo: str | msgspec.UnsetType = msgspec.UNSET
    beside: tuple[ScheduledSignal, ...] | msgspec.UnsetType = msgspec.UNSET
    places: int | msgspec.UnsetType = msgspec.UNSET


class SavedUndelivered(msgspec.Struct, frozen=True, kw_only=True):
    """Results that listeners have not heard and that no longer fit beside the position; numbered from ``first`` on."""

    first: int
    results: tuple[SavedResult, ...]


class SavedPartial(msgspec.Struct, frozen=True, kw_only=True):
    """The milestones a position has passed (0..100), and those it had passed before this turn."""

    owner: Owner
    turn: int
    signal_id: str
    profit_level: int
    loss_level: int
    profit_before: int
    loss_before: int


class SavedLate(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was decided late: of which moment (UTC ms), and what the clock said then (UTC ms)."""

    moment: int
    order: OrderRole
    decided_at: int


class SavedLates(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the late orders of a strategy on a symbol; version 1 was a single :class:`SavedLate`."""

    version: int = 2
    late: tuple[SavedLate, ...]


class SavedHoles(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the ranges ``[first, end)`` of minutes (UTC ms) a run went on without; version 1 was a list of all."""

    version: int = 2
    holes: tuple[tuple[int, int], ...]


class SavedEnds(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the trades and cancelled signals of a strategy on a symbol; version 1 was a single one, as it is."""

    version: int = 2
    ends: tuple[Closed | Cancelled, ...]


class SavedPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The places taken in a risk profile."""

    risk: str
    positions: tuple[OpenPosition, ...]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """The state a live run goes on from.

    Attributes
    ----------
    state
        Flat, opening, waiting or holding.
    turn, last_minute, last_asked, last_managed, volume_seen, setup, moments, memo
        As saved; ``last_minute`` and ``volume_seen`` are ``None`` when nothing was saved.
    results, heard, undelivered
        As saved; ``undelivered`` are results that may not have reached the listeners.
    stale_schedule
        Whether the scheduled signal on disk was overtaken by what came after it, and is to be removed.
    partial
        The milestones as they should be on disk, when what is there ran ahead of its position.
    """

    state: SavedState
    turn: int = 0
    last_minute: int | None = None
    last_asked: int | None = None
    last_managed: int | None = None
    volume_seen: bool | None = None
    setup: SavedSetup | None = None
    results: int = 0
    heard: int = 0
    undelivered: tuple[Kept, ...] = ()
    stale_schedule: bool = False
    partial: SavedPartial | None = None
    moments: SavedMoments | msgspec.UnsetType = msgspec.UNSET
    memo: str | msgspec.UnsetType = msgspec.UNSET


def restore(signal: SavedSignal | None, schedule: SavedSchedule | None, partial: SavedPartial | None) -> Restored:
    """The state that the saved values lead to; each may be missing.

    Examples
    --------
    >>> restore(None, None, None).state
    Flat(last_id=None, stays_flat=None)
    """
    if schedule is not None and (signal is None or signal.turn < schedule.turn):
        waiting = Waiting(signal=schedule.signal, last_id=schedule.last_id, beside=schedule.beside or ())
        return _restored(waiting, schedule)
    if signal is None:
        return Restored(state=Flat())
    holding: Holding | None = None
    mended: SavedPartial | None = None
    if signal.signal is not None:
        profit, loss = 0, 0
        if partial is not None and partial.signal_id == signal.signal.id:
            profit, loss = partial.profit_level, partial.loss_level
            if partial.turn > signal.turn:  # the position of that turn never reached the disk
                profit, loss = partial.profit_before, partial.loss_before
                mended = msgspec.structs.replace(partial, turn=signal.turn, profit_level=profit, loss_level=loss)
        holding = Holding(
            signal=signal.signal,
            highest=signal.highest,
            lowest=signal.lowest,
            profit_level=profit,
            loss_level=loss,
            leaving=signal.leaving,
            in_doubt=signal.in_doubt,
            book=signal.book,
        )
    state: SavedState = holding or Flat(last_id=signal.last_id, stays_flat=signal.stays_flat or None)
    if signal.opening is not None:
        opening = signal.opening
        state = Opening(
            signal=opening.signal,
            not_before=opening.not_before,
            last_id=signal.last_id,
            ending=holding,
            activated=opening.activated,
            close_at=opening.close_at,
            sent=opening.sent,
            late_at=opening.late_at,
            beside=opening.beside,
        )
    return _restored(state, signal, stale_schedule=schedule is not None, partial=mended)


def _restored(
    state: SavedState,
    saved: SavedSignal | SavedSchedule,
    *,
    stale_schedule: bool = False,
    partial: SavedPartial | None = None,
) -> Restored:
    """A state with what was saved beside it."""
    return Restored(
        state=state,
        turn=saved.turn,
        last_minute=saved.last_minute,
        last_asked=saved.last_asked,
        last_managed=saved.last_managed,
        volume_seen=saved.volume_seen,
        setup=saved.setup,
        results=max(saved.results, len(saved.undelivered)),
        heard=saved.heard,
        undelivered=tuple(map(kept_result, saved.undelivered)),
        stale_schedule=stale_schedule,
        partial=partial,
        moments=saved.moments,
        memo=saved.memo,
    )
