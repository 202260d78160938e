"""Everything a live run needs, resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..config import Settings
from ..domain.interval import MINUTE, MINUTE_MS, interval_ms
from ..engine.registry import Exchange, Strategy
from ..events import messages
from ..market.source_hours import bar_grid_of
from ..market.system_clock import speed_of
from ..ports import Broker, Clock, StateStore
from .order_quantity import Quantity

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..market.shifted_bar_grid import BarGrid


class LivePlan(msgspec.Struct, frozen=True):
    """Everything a live run needs, resolved.

    Attributes
    ----------
    until
        The moment (UTC ms) at which the run ends, its state saved; ``None``: never by itself.
    late_minutes
        A question older than this passes unasked; ``None``: what was missed is caught up completely.
    broker, quantity
        Who carries out orders, and how much per signal (base currency, or a function of the signal); ``None``: nobody,
        there is only the record.
    base
        The interval of the candles that fill orders.
    account
        The account, where it has a capital of its own.
    notes
        What there is to say of what was given.
    """

    symbol: str
    strategy: Strategy
    exchange: Exchange
    execution: str
    settings: Settings
    store: StateStore
    clock: Clock
    allow_gaps: bool = False
    until: int | None = None
    late_minutes: int | None = None
    broker: Broker | None = None
    quantity: Quantity = 0.0
    base: str = MINUTE
    account: AccountPlan | None = None
    notes: tuple[str, ...] = ()

    @property
    def base_ms(self) -> int:
        """The length of the candles that fill orders, ms: those that a live run calls minutes."""
        return interval_ms(self.base)

    @property
    def grid(self) -> BarGrid | None:
        """Where these candles open that do not open at multiples of their length; ``None``: they do."""
        return bar_grid_of(self.exchange.source, self.symbol)

    def labels(self) -> messages.RunLabels:
        """Symbol, strategy and exchange by name, as the events of the run carry them; there is no frame."""
        return messages.RunLabels(
            symbol=self.symbol, strategy=self.strategy.name, exchange=self.exchange.name, frame=None
        )

    @property
    def late_after_ms(self) -> int:
        """How long (ms of the clock) after its moment a decision is late: a base bar, and a real minute at least."""
        return max(self.base_ms, self.real_minute_ms)

    @property
    def real_minute_ms(self) -> int:
        """A minute (ms of the clock), on a faster clock a real one."""
        return round(MINUTE_MS * max(1.0, speed_of(self.clock)))
