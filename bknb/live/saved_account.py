"""An account of live runs as it is saved: its values, and the version they have."""

from __future__ import annotations

from typing import Final

import msgspec

from ..domain.cash_booked_for_fills_and_funding import Ledger
from ..domain.quantity_or_lack_of_cash import SizedOrder
from ..domain.signal import SignalKey
from ..domain.size_request import ClosedTrades
from ..engine.cross_margin import WatchedMargin
from ..engine.leg_liquidation import LiquidationDue
from ..engine.position_in_money import PositionInMoney
from ..engine.shared_account import AccountChange, Freed
from .account_marks import SavedMarks

ACCOUNT_VERSION: Final = 1
"""The format of saved accounts."""


class SavedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """What one leg has of a saved account.

    Attributes
    ----------
    key, held, first
        The signal of its position, that in money, and the quantity of its entry; ``None``: nothing is open.
    orders
        What waits: the id of the signal, the number of the order, and what was granted.
    charged, followed
        How many rows of funding were charged, and up to when (UTC ms) they have moved the price of a liquidation.
    used_up
        The bar in which margin that it shares is used up, by its open time (UTC ms), and the price at which it is
        liquidated in it; ``None``: there is none that it has not worked on.
    left
        The signal of the position that was closed in the newest bar in which positions with shared margin were, and
        that in money: what is missing once all are closed is forgiven to each.
    funded
        The last moment (UTC ms) whose funding was charged.
    newest_funding
        Of a series the moments (UTC ms) of the newest rows up to then that were known.
    closed
        The trades that were closed before.
    price
        The last close that was known, quote currency.
    """

    key: SignalKey | None = None
    held: PositionInMoney | None = None
    first: float = 0.0
    orders: tuple[tuple[str, int, SizedOrder], ...] = ()
    charged: int = 0
    followed: int = 0
    funded: int = 0
    newest_funding: tuple[int, ...] = ()
    closed: ClosedTrades = ClosedTrades()
    price: float | None = None
    used_up: tuple[int, float] | None = None
    left: tuple[SignalKey, PositionInMoney] | None = None

    @property
    def liquidation(self) -> LiquidationDue:
        """What is to come of its liquidation."""
        return LiquidationDue(self.followed, *(self.used_up or ()))


class SavedMoney(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is saved.

    Attributes
    ----------
    ledger
        Now.
    before, changes
        The account before the newest bars, and after each change in them.
    freed
        Money that exits in the newest bars freed.
    solvent
        Up to when it is known to have been worth something, UTC ms.
    legs
        In declared order.
    watched
        How far margin that they share was looked at; ``None``: they share none.
    """

    ledger: Ledger
    before: Ledger
    changes: tuple[AccountChange, ...] = ()
    freed: tuple[Freed, ...] = ()
    solvent: int = 0
    legs: tuple[SavedLeg, ...]
    watched: WatchedMargin | None = None


class SavedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """The account after a turn of a run, which is named by its strategy and symbol."""

    leg: tuple[str, str]
    turn: int
    money: SavedMoney


class SavedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account on disk.

    Attributes
    ----------
    capital, legs
        What it began with, and the strategy and symbol of each leg, in declared order.
    money
        As it was after the last turn that is on the disk for certain; ``None``: as it began.
    turns
        After turns that may be on the disk.
    marks
        What it was worth; ``None``: that was not saved, or nothing of it is certain yet.
    """

    version: int = ACCOUNT_VERSION
    capital: float
    legs: tuple[tuple[str, str], ...]
    money: SavedMoney | None = None
    turns: tuple[SavedTurn, ...] = ()
    marks: SavedMarks | None = None


def read_account(payload: bytes) -> SavedAccount:
    """An account of version 1."""
    return msgspec.json.decode(payload, type=SavedAccount)
