"""The account of live runs as it was before a turn, to be taken back to where that cannot be saved."""

from __future__ import annotations

from typing import NamedTuple

from ..domain.costs import FilledBy
from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.quantity_or_lack_of_cash import FilledQuantity, SizedOrder
from ..domain.signal import SignalKey
from ..domain.size_request import ClosedTrades
from ..domain.states import State
from ..engine.cross_margin import WatchedMargin
from ..engine.leg_liquidation import LiquidationDue
from ..engine.position_in_money import PositionInMoney
from ..engine.shared_account import Freed


class LegBefore(NamedTuple):
    """A leg of an account as it was; ``key`` is the signal of what it holds, or held last."""

    positions: int
    key: SignalKey | None
    held: PositionInMoney
    state: State
    orders: tuple[tuple[str, int, SizedOrder], ...]
    filled: dict[str, tuple[FilledQuantity, FilledBy]]
    first: float
    charged: int
    liquidation: LiquidationDue
    closed: ClosedTrades


class AccountBefore(NamedTuple):
    """An account as it was: its ledger, how many changes and rows it had, and its legs; ``None``: not begun."""

    ledger: Ledger
    changes: int
    rows: int
    freed: list[Freed]
    solvent: int
    watched: WatchedMargin | None
    legs: list[LegBefore | None]
