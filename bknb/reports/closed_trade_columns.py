"""The closed trades of a run as columns that only grow, for pictures and tables."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..domain.signal_events import (
    Closed,
)
from ..metrics.marked_positions import SIDES, whole_exit

if TYPE_CHECKING:
    pass


@dataclass(slots=True)
class Trades:
    """The closed trades as columns that only grow."""

    events: list[Closed] = field(default_factory=list)
    opened_ms: array[float] = field(default_factory=lambda: array("d"))
    closed_ms: array[float] = field(default_factory=lambda: array("d"))
    price_open: array[float] = field(default_factory=lambda: array("d"))
    price_close: array[float] = field(default_factory=lambda: array("d"))
    target: array[float] = field(default_factory=lambda: array("d"))
    stop: array[float] = field(default_factory=lambda: array("d"))
    pnl: array[float] = field(default_factory=lambda: array("d"))
    peak: array[float] = field(default_factory=lambda: array("d"))
    trough: array[float] = field(default_factory=lambda: array("d"))
    side: array[float] = field(default_factory=lambda: array("d"))
    fee: array[float] = field(default_factory=lambda: array("d"))
    slippage: array[float] = field(default_factory=lambda: array("d"))
    whole_exit: array[float] = field(default_factory=lambda: array("d"))
    size: list[float | None] = field(default_factory=list)  # the part of the equity that each opened with
    parted: list[int] = field(default_factory=list)  # places of those that were closed in parts

    def add(self, event: Closed) -> None:
        """Add one closed trade."""
        row = event.signal
        if len(event.fills) > 2:
            self.parted.append(len(self.events))
        self.events.append(event)
        self.opened_ms.append(row.pending_at)
        self.closed_ms.append(event.closed_at)
        self.price_open.append(row.price_open)
        self.price_close.append(event.price_close)
        self.whole_exit.append(whole_exit(event))
        self.target.append(math.nan if row.price_take_profit is None else row.price_take_profit)
        self.stop.append(math.nan if row.price_stop_loss is None else row.price_stop_loss)
        self.pnl.append(event.pnl.pnl_percentage)
        self.peak.append(event.peak_percentage)
        self.trough.append(event.trough_percentage)
        self.side.append(SIDES[row.position])
        self.fee.append(event.pnl.fee_percentage)
        self.slippage.append(event.pnl.slippage_percentage)
        self.size.append(row.size)

    def __len__(self) -> int:
        return len(self.events)
