"""What is asked before something is opened, a place of the risk profile and a size of the account, and the verdict."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .execution_fills import Entry
from .position_book import PositionOrder
from .signal import OpenSignal, ScheduledSignal
from .signal_events import Event


class Verdict(NamedTuple):
    """The decision of the risk profile on the candidate, its note, and how many places were taken.

    ``stopped``: its rules allowed it, and by then the run opened nothing new any more. ``by_account``: it is that of
    the account. ``liquidation``: the price at which the account liquidates what is opened (quote currency).
    """

    allowed: bool
    note: str = ""
    open_positions: int = 0
    stopped: bool = False
    by_account: bool = False
    liquidation: float | None = None


class Reserve(NamedTuple):
    """Command: ask the risk profile for a place, which is taken when it is granted; and the account for a size.

    ``ending`` is the id of a signal that leaves at this moment: its place counts as free. ``add``: how much an open
    position, which has its place, is to be made larger by, and ``size`` how large it is with the adds that wait, both
    in units of its first size; 0 for a new one. Of an add ``order`` is its order. Of an entry order that a candle fills
    ``fill`` is how, and ``again`` says whether the risk profile is asked, too: it rested. ``earlier`` are events of the
    same answer, or of the same candle, before it, which have not been told.
    """

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float
    ending: str | None = None
    add: float = 0.0
    size: float = 0.0
    order: PositionOrder | None = None
    fill: Entry | None = None
    earlier: tuple[Event, ...] = ()
    again: bool = True


class Release(NamedTuple):
    """Command: give the place of this signal back."""

    signal_id: str


Command: TypeAlias = Reserve | Release
