"""Everything a live run needs, resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ..config import Settings
from ..domain.broker_orders_of_events import KeptOf, not_cut
from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import DAY_MS, MINUTE, MINUTE_MS, interval_ms
from ..engine.registry import Exchange, Strategy
from ..events import messages
from ..market.source_hours import bar_grid_of, sessions_of
from ..market.system_clock import speed_of
from ..ports import Broker, Clock, ClockWithPauses, StateStore
from .order_quantity import Quantity

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..market.shifted_bar_grid import BarGrid


LONGEST_CLOSE_MS: Final = 31 * DAY_MS
"""No market is closed for longer, ms."""


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
    kept_of
        How much of its entry a position has (base currency) where an account cut it when it filled.
    base
        The interval of the candles that fill orders.
    account
        The account, where it has a capital of its own.
    notes
        What there is to say of what was given.
    symbols
        Those of all legs of its strategy, in the order of the alphabet; empty: it has one.
    adopt
        Whether orders of bknb at the broker that were never saved in the store are taken over.
    code
        The hash of its strategy, as far as its source can be read.
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
    kept_of: KeptOf = not_cut
    base: str = MINUTE
    account: AccountPlan | None = None
    notes: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    adopt: bool = False
    code: str = ""

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

    def late_after(self, when: int) -> int:
        """Until when (UTC ms) a decision for a moment is in time: the end of its base bar, a real minute at least.

        For a moment at which the market is closed it is a minute after the market opens, where orders fill at an open.
        """
        grid, sessions = self.grid, sessions_of(self.exchange.source, self.symbol)
        end = when + self.base_ms if grid is None else grid.after(when, self.base_ms)
        if sessions is None or not execution_model(self.execution).fills_at_open:
            return max(end, when + self.real_minute_ms)
        return max(end, sessions.next_open(when, when + LONGEST_CLOSE_MS) + self.real_minute_ms)

    @property
    def keeps_pauses(self) -> bool:
        """Whether its clock goes to the end of each pause beside the run, too."""
        return isinstance(self.clock, ClockWithPauses) and self.clock.keeps_pauses

    @property
    def real_minute_ms(self) -> int:
        """A minute (ms of the clock), on a faster clock a real one."""
        return round(MINUTE_MS * max(1.0, speed_of(self.clock)))
