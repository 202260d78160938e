"""What a live run keeps on disk, and the state it wakes up in after a crash.

A turn of the lifecycle may touch several files. Each carries the number of its turn, and files are written in an order
in which the newest turn tells the truth wherever the process ends in between:

* the milestones before the position they belong to (with the levels from before, should the position not follow),
* the open position before its scheduled signal is removed,
* whatever ended before the position is gone.

So recovery needs no journal: it compares numbers.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .lifecycle import Flat, Holding, State, Waiting
from .risk import OpenPosition
from .signal import Cancelled, Closed, Opened, OpenSignal, Scheduled, ScheduledSignal

Turning: TypeAlias = Scheduled | Opened | Closed | Cancelled
"""The results that change what is open or scheduled."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose state it is."""

    strategy: str
    exchange: str
    symbol: str
    execution: str


class SavedSignal(msgspec.Struct, frozen=True, kw_only=True):
    """The open position of a strategy on a symbol, or that there is none.

    Attributes
    ----------
    owner
        Whose it is.
    turn
        How many turns came before; the highest on disk is the newest.
    fed
        Open time of the last minute that was looked at (UTC ms).
    asked
        Moment of the last question to the strategy (UTC ms), ``None`` before the first.
    last_id
        The signal that was opened last.
    signal
        The open position.
    highest, lowest
        Extreme prices it has seen.
    untold
        Results of this turn; listeners may not have heard them when the process ended.
    """

    owner: Owner
    turn: int
    fed: int
    asked: int | None = None
    last_id: str | None = None
    signal: OpenSignal | None = None
    highest: float = 0.0
    lowest: float = 0.0
    untold: tuple[Turning, ...] = ()


class SavedSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduled signal; fields as in :class:`SavedSignal`."""

    owner: Owner
    turn: int
    fed: int
    signal: ScheduledSignal
    asked: int | None = None
    last_id: str | None = None
    untold: tuple[Turning, ...] = ()


class SavedPartial(msgspec.Struct, frozen=True, kw_only=True):
    """The milestones a position has passed (0..100), and those it had passed before this turn."""

    owner: Owner
    turn: int
    signal_id: str
    profit_level: int
    loss_level: int
    profit_before: int
    loss_before: int


class SavedPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The places taken in a risk profile."""

    risk: str
    positions: tuple[OpenPosition, ...]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a live run wakes up with.

    Attributes
    ----------
    state
        Flat, waiting or holding.
    turn, fed, asked
        As saved; ``fed`` is ``None`` when nothing was saved.
    untold
        Results that listeners may not have heard.
    stale_schedule
        Whether the scheduled signal on disk was overtaken by what came after it, and is to be removed.
    partial
        The milestones as they should be on disk, when what is there ran ahead of its position.
    """

    state: State
    turn: int = 0
    fed: int | None = None
    asked: int | None = None
    untold: tuple[Turning, ...] = ()
    stale_schedule: bool = False
    partial: SavedPartial | None = None


def restore(signal: SavedSignal | None, schedule: SavedSchedule | None, partial: SavedPartial | None) -> Restored:
    """The state that these files tell of; each may be missing.

    Examples
    --------
    >>> restore(None, None, None).state
    Flat(last_id=None)
    """
    if schedule is not None and (signal is None or signal.turn < schedule.turn):
        return Restored(
            state=Waiting(signal=schedule.signal, last_id=schedule.last_id),
            turn=schedule.turn,
            fed=schedule.fed,
            asked=schedule.asked,
            untold=schedule.untold,
        )
    if signal is None:
        return Restored(state=Flat())
    state: State = Flat(last_id=signal.last_id)
    mended: SavedPartial | None = None
    if signal.signal is not None:
        profit, loss = 0, 0
        if partial is not None and partial.signal_id == signal.signal.id:
            profit, loss = partial.profit_level, partial.loss_level
            if partial.turn > signal.turn:  # the position of that turn never reached the disk
                profit, loss = partial.profit_before, partial.loss_before
                mended = msgspec.structs.replace(partial, turn=signal.turn, profit_level=profit, loss_level=loss)
        state = Holding(
            signal=signal.signal,
            highest=signal.highest,
            lowest=signal.lowest,
            profit_level=profit,
            loss_level=loss,
        )
    return Restored(
        state=state,
        turn=signal.turn,
        fed=signal.fed,
        asked=signal.asked,
        untold=signal.untold,
        stale_schedule=schedule is not None,
        partial=mended,
    )
