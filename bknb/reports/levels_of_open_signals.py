"""What a dashboard shows of an open or scheduled signal: its levels now, its fills, its way to target and stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..domain.declared_exits import Target, targets_of
from ..domain.position_fills import Fill
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import (
    Added,
    Milestone,
    Moved,
    PositionEvent,
    Reduced,
)

if TYPE_CHECKING:
    pass


@dataclass(slots=True)
class Level:
    """A scheduled or open signal, and its progress to target and stop.

    Attributes
    ----------
    row : ScheduledSignal or OpenSignal
    percent_tp, percent_sl : float
        Part of the way to the target and to the stop, 0 to 100.
    price : float
        The price they were measured at.
    when : int
        UTC milliseconds of the last event about it.
    stop : float or None
        The stop, as it was declared or moved last; a trailing one moves on without an event.
    targets : tuple of Target
        Those that have not filled, the nearest first.
    size : float
        What is held, in units of the first size.
    parts : tuple of Fill
        Parts that were closed and adds.
    missing : tuple of Fill
        Parts and adds of which no event tells.
    trails : bool
        Whether the stop follows the market, as far as events tell.
    stop_from : int or None
        From when on its trailing stop was seen (UTC ms), where the candles from its entry on are not held any more.
    """

    row: OpenSignal | ScheduledSignal
    percent_tp: float
    percent_sl: float
    price: float
    when: int
    stop: float | None
    targets: tuple[Target, ...]
    size: float = 1.0
    parts: tuple[Fill, ...] = ()
    missing: tuple[Fill, ...] = ()
    trails: bool = False
    stop_from: int | None = None

    @staticmethod
    def of(row: OpenSignal | ScheduledSignal, percents: tuple[float, float], price: float, when: int) -> Level:
        """A signal of which nothing was managed yet."""
        trails = row.trailing is not None and row.trailing.after == 0
        targets = row.targets or targets_of(row.price_take_profit)
        return Level(row, *percents, price, when, row.price_stop_loss, targets, trails=trails)

    @property
    def key(self) -> SignalKey:
        """Its id and the moment it was decided at, UTC milliseconds."""
        return key_of(self.row)

    @property
    def is_open(self) -> bool:
        """Whether it is an open position, not a scheduled entry."""
        return isinstance(self.row, OpenSignal)

    @property
    def since(self) -> int:
        """When it was opened, or scheduled while it waits, UTC milliseconds."""
        return self.row.pending_at if isinstance(self.row, OpenSignal) else self.row.scheduled_at

    @property
    def fills(self) -> tuple[Fill, ...]:
        """Parts that were closed and adds, in order of time, those of which no event tells included."""
        known = {fill.number: fill for fill in (*self.missing, *self.parts)}  # an event may tell of one meanwhile
        return tuple(sorted(known.values(), key=lambda fill: fill.at))

    def managed(self, event: PositionEvent) -> None:
        """Apply what happened to an open position."""
        match event:
            case Added() | Reduced():
                self.size, self.parts = event.size, (*self.parts, event.fill)
                if isinstance(event, Reduced) and event.fill.reason == "take_profit":
                    self.targets = self.targets[1:]
            case Moved():
                self.stop, self.targets = event.price_stop_loss, event.targets
                self.trails = event.trailing is not None
            case _:
                return

    def pass_milestone(self, event: Milestone) -> None:
        """Move to the price of a milestone; its percentage has been reached at least."""
        self.percent_tp, self.percent_sl = target_and_stop_percent(self.row, event.price)
        if event.side == "profit":
            self.percent_tp = max(self.percent_tp, float(event.level))
        else:
            self.percent_sl = max(self.percent_sl, float(event.level))
        self.price, self.when = event.price, event.when


def target_and_stop_percent(row: OpenSignal | ScheduledSignal, price: float) -> tuple[float, float]:
    """Part of the way from the entry to the target and to the stop, in percent, 0 to 100; one of them is 0.

    Examples
    --------
    >>> from bknb.domain.signal import OpenSignal
    >>> row = OpenSignal(id="a", symbol="BTCUSDT", strategy="s", exchange="demo", position="long", price_open=100.0,
    ...                  price_take_profit=110.0, price_stop_loss=95.0, minute_estimated_time=60, note="",
    ...                  scheduled_at=0, pending_at=0)
    >>> target_and_stop_percent(row, 105.0), target_and_stop_percent(row, 96.0)
    ((50.0, 0.0), (0.0, 80.0))
    """

    def part(level: float | None) -> float:
        if level is None:
            return 0.0
        span = level - row.price_open
        share = (price - row.price_open) / span * 100 if span else 0.0
        return float(min(max(share, 0.0), 100.0))

    return part(row.price_take_profit), part(row.price_stop_loss)
