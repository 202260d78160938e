"""The signals of one run as its events tell them: open and scheduled ones, trades, and what was managed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..domain.position_fills import Fill
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import (
    Active,
    AddCancelled,
    Added,
    Cancelled,
    Closed,
    Milestone,
    Moved,
    Opened,
    PositionEvent,
    Reduced,
    Rejected,
    Scheduled,
)
from ..metrics.reasons import ADDS, BELOW_ZERO
from .closed_trade_columns import Trades
from .dashboard_panels import MANAGED
from .levels_of_open_signals import Level, target_and_stop_percent
from .managed_marks import NAMES, Stairs, stairs_of_moves
from .signal_story import RANK, event_line, with_rejected

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition

_MONEY: Final = ("equity", "statistics")


class SignalsOfRun:
    """Open and scheduled signals, trades, and what was managed of positions.

    A method that is given an event returns the names of the panels that show something else since.

    Attributes
    ----------
    trades : Trades
    levels : dict of (str, int) to Level
        Open and scheduled signals by id and the moment they were decided at (UTC ms).
    cancelled : list of Cancelled
    managed : list
        Partial fills, adds and moved stops, in order.
    positions_managed : dict of (str, int) to (OpenSignal, float)
        Positions with a ladder or a trailing stop, or of which something was managed, by the same, and when each ended
        (UTC ms); NaN while it is open.
    no_equity : str
        Why the trades alone tell no equity; empty where they do.
    """

    def __init__(self) -> None:
        self.trades = Trades()
        self.levels: dict[SignalKey, Level] = {}
        self.cancelled: list[Cancelled] = []
        self.managed: list[PositionEvent] = []
        self.positions_managed: dict[SignalKey, tuple[OpenSignal, float]] = {}
        self.no_equity = ""
        self._stairs: Sequence[Stairs] | None = None
        self._events: dict[SignalKey, list[Any]] = {}

    def take(self, event: Any) -> Sequence[str]:
        """Apply an event of a signal other than a milestone."""
        if not isinstance(event, Active):  # which is told every minute
            self.remember(event)
        return _HANDLERS[type(event)](self, event)

    def remember(self, event: Any) -> None:
        """Hold an event for :meth:`why`."""
        self._events.setdefault(key_of(event.signal), []).append(event)

    def pass_milestone(self, event: Milestone) -> Sequence[str]:
        """Move an open signal to the price of a milestone."""
        self.remember(event)
        level = self.levels.get(key_of(event.signal))
        if level is None:
            return ()
        level.pass_milestone(event)
        return ("signals",)

    def _active(self, event: Active) -> Sequence[str]:
        level, panels = self.levels.get(key_of(event.signal)), ["signals"]
        if level is None or level.row != event.signal:
            level = self._open(event.signal, (0.0, 0.0), event)
            panels += self._levels_move(event.signal)
        level.percent_tp, level.percent_sl = event.percent_tp, event.percent_sl
        level.price, level.when = event.price, event.when
        return panels

    def _scheduled(self, event: Scheduled) -> Sequence[str]:
        self.levels[key_of(event.signal)] = Level.of(event.signal, (0.0, 0.0), event.price, event.when)
        return ("signals",)

    def _opened(self, event: Opened) -> Sequence[str]:
        self._open(event.signal, target_and_stop_percent(event.signal, event.price), event)
        if event.signal.price_open <= 0:
            self.no_equity = BELOW_ZERO
        return ("signals", *_MONEY, *self._levels_move(event.signal))

    def _open(self, row: OpenSignal | ScheduledSignal, percents: tuple[float, float], event: Opened | Active) -> Level:
        level = self.levels[key_of(row)] = Level.of(row, percents, event.price, event.when)
        for each in self.managed_of(row):  # of another listener, which may be ahead
            level.managed(each)
        if isinstance(row, OpenSignal) and row.place:
            self.no_equity = self.no_equity or ADDS
        return level

    def _levels_move(self, row: OpenSignal | ScheduledSignal) -> Sequence[str]:
        """Note a position whose levels change without a call of ``manage``."""
        if not isinstance(row, OpenSignal) or not (row.targets or row.trailing is not None):
            return ()
        self.positions_managed[key_of(row)] = (row, math.nan)
        return (MANAGED,)

    def _closed(self, event: Closed) -> Sequence[str]:
        key, panels = key_of(event.signal), ["signals", "trades", *_MONEY]
        self.levels.pop(key, None)
        self.trades.add(event)
        if event.pnl.points is not None:
            self.no_equity = BELOW_ZERO
        added = event.adds and event.signal.size is None  # perhaps in an earlier life, of which no event tells
        if added or event.signal.place:
            self.no_equity = self.no_equity or ADDS
        if key in self.positions_managed:
            self.positions_managed[key] = (event.signal, event.closed_at)
            panels.append(MANAGED)
        return panels

    def _cancelled(self, event: Cancelled) -> Sequence[str]:
        self.levels.pop(key_of(event.signal), None)
        self.cancelled.append(event)
        return ("signals",)

    def _managed(self, event: PositionEvent) -> Sequence[str]:
        key = key_of(event.signal)
        if (level := self.levels.get(key)) is not None:
            level.managed(event)
        if isinstance(event, Added) and event.signal.size is None:
            self.no_equity = self.no_equity or ADDS
        self.managed.append(event)
        ends = (
            each.closed_at for each in self._events[key] if isinstance(each, Closed)
        )  # those of a result come first
        self.positions_managed[key] = (event.signal, next(ends, math.nan))
        return ("signals", *_MONEY, MANAGED)

    def set_held(self, position: HeldPosition) -> Sequence[str]:
        """Set what an open position is now, of which events need not tell all: those of an earlier life are gone."""
        level = next((each for each in self.levels.values() if each.is_open and each.row.id == position.id), None)
        if level is None:
            return ()
        known = {fill.number for fill in level.parts}
        missing = tuple(fill for fill in position.fills if fill.kind in NAMES and fill.number not in known)
        now = (position.price_stop_loss, position.targets, position.size, missing)
        if now == (level.stop, level.targets, level.size, level.missing):
            return ()
        level.stop, level.targets, level.size, level.missing = now
        if level.row.size is None and any(fill.kind == "add" for fill in missing):
            self.no_equity = self.no_equity or ADDS
        return ("signals", *_MONEY, MANAGED)

    def set_stairs(self, stairs: Iterable[Stairs]) -> Sequence[str]:
        """Set the stops over time, trailing ones included; positions that are not among them keep what they had."""
        known = {one[0][0]: one for one in (*(self._stairs or ()), *stairs)}
        self._stairs = [known[begin] for begin in sorted(known)]
        return ("signals", MANAGED)

    def extend_stop(self, level: Level, when: int) -> Sequence[str]:
        """Add the stop of an open position to its stairs, from ``when`` (UTC ms) on, unless they end there already."""
        if level.stop is None:
            return ()
        known = next((one for one in self.stairs(when) if one[0][0] == level.since), None)
        if known is None:
            level.stop_from = when
            return ("status", *self.set_stairs([[(level.since, math.nan), (when, level.stop)]]))
        if known[-1][1] != level.stop and known[-1][0] <= when:
            return self.set_stairs([[*known, (when, level.stop)]])
        return ()

    def stairs(self, until: int) -> Sequence[Stairs]:
        """The stops of positions over time; while the run goes on, as far as events tell them until then (UTC ms)."""
        if self._stairs is not None:
            return self._stairs
        moves = [event for event in self.managed if isinstance(event, Moved)]
        if not moves:
            return ()
        ends = {key_of(event.signal): event.closed_at for event in self.trades.events}
        return stairs_of_moves(moves, ends, until)

    @property
    def holds_position(self) -> bool:
        """Whether a position is open."""
        return any(level.is_open for level in self.levels.values())

    def managed_of(self, signal: OpenSignal | ScheduledSignal) -> Iterator[PositionEvent]:
        """What was managed of one position, as far as events tell, in order."""
        return (each for each in self._events.get(key_of(signal), ()) if isinstance(each, PositionEvent))

    @property
    def fills_between(self) -> list[Fill]:
        """The fills between entry and exit, in order of time."""
        ended = [fill for at in self.trades.parted for fill in self.trades.events[at].fills if fill.kind in NAMES]
        held = [fill for level in self.levels.values() for fill in level.fills]
        return [*ended, *sorted(held, key=lambda fill: fill.at)]

    def why(self, signal_id: str, rejections: Sequence[Rejected]) -> str:
        """The events of the signals with an id, one per line; a sentence when there are none."""
        told: list[Any] = []
        for key, events in list(self._events.items()):
            if key[0] == signal_id:
                told += with_rejected(sorted(events, key=lambda e: (e.when, RANK[type(e)])), rejections)
        return "\n".join(map(event_line, told)) or f"no event of a signal {signal_id!r}"


_HANDLERS: Final[dict[type, Callable[[SignalsOfRun, Any], Sequence[str]]]] = {
    Active: SignalsOfRun._active,
    Scheduled: SignalsOfRun._scheduled,
    Opened: SignalsOfRun._opened,
    Closed: SignalsOfRun._closed,
    Cancelled: SignalsOfRun._cancelled,
    Reduced: SignalsOfRun._managed,
    Added: SignalsOfRun._managed,
    AddCancelled: SignalsOfRun._managed,
    Moved: SignalsOfRun._managed,
}
