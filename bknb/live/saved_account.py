"""An account of live runs as it is saved: its values, and the versions they have.

Version 1 saved all changes with each account.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.quantity_or_lack_of_cash import SizedOrder
from ..domain.signal import SignalKey
from ..domain.size_request import ClosedTrades
from ..engine.cross_margin import WatchedMargin
from ..engine.leg_liquidation import LiquidationDue
from ..engine.position_in_money import PositionInMoney
from ..engine.shared_account import AccountChange, Freed
from .account_changes import SavedChange, SavedChanges
from .account_marks import SavedMarks

ACCOUNT_VERSION: Final = 2
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
    solvent
        Up to when it is known to have been worth something, UTC ms.
    legs
        In declared order.
    watched
        How far margin that they share was looked at; ``None``: they share none.
    places
        Of strategies with several places what each of those has, by its name in the ledgers; unset: there are none.
    """

    ledger: Ledger
    solvent: int = 0
    legs: tuple[SavedLeg, ...]
    watched: WatchedMargin | None = None
    places: dict[str, SavedLeg] | msgspec.UnsetType = msgspec.UNSET

    @property
    def of_places(self) -> dict[str, SavedLeg]:
        """What places have, by name."""
        return self.places or {}


class SavedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """The account after a turn of a run, which is named by its strategy and symbol.

    Attributes
    ----------
    changes
        Those behind the certain ones of the account.
    instead
        All of them, where they do not follow the certain ones, as of version 1; ``None``: they do.
    """

    leg: tuple[str, str]
    turn: int
    money: SavedMoney
    changes: tuple[SavedChange, ...] = ()
    instead: SavedChanges | None = None


class SavedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account on disk.

    Attributes
    ----------
    capital, legs
        What it began with, and the strategy and symbol of each leg, in declared order.
    money
        As it was after the last turn that is on the disk for certain; ``None``: as it began.
    changes
        What led to that.
    turns
        After turns that may be on the disk.
    marks
        What it was worth; ``None``: that was not saved, or nothing of it is certain yet.
    """

    version: int = ACCOUNT_VERSION
    capital: float
    legs: tuple[tuple[str, str], ...]
    changes: SavedChanges
    money: SavedMoney | None = None
    turns: tuple[SavedTurn, ...] = ()
    marks: SavedMarks | None = None


class _FirstMoney(SavedMoney, frozen=True, kw_only=True):
    """An account of version 1: with the ledger before its newest changes, these, and what they freed."""

    before: Ledger
    changes: tuple[AccountChange, ...] = ()
    freed: tuple[Freed, ...] = ()

    def split(self) -> tuple[SavedMoney, SavedChanges]:
        """The account, and its changes from number 0 on."""
        freed, found, before = [*self.freed], [], self.before
        by_number: dict[int, Freed] = {}
        for number in range(len(self.changes) - 1, -1, -1):
            while freed and freed[-1].since > self.changes[number].since:
                freed.pop()  # of a change that is older than all of them
            if freed and freed[-1].since == self.changes[number].since:
                by_number[number] = freed.pop()
        for number, change in enumerate(self.changes):
            found.append(SavedChange.between(before, change, number, by_number.get(number)))
            before = change.ledger
        money = SavedMoney(**{name: getattr(self, name) for name in SavedMoney.__struct_fields__})
        return money, SavedChanges(before=self.before, newest=tuple(found))


class _FirstTurn(msgspec.Struct, frozen=True, kw_only=True):
    leg: tuple[str, str]
    turn: int
    money: _FirstMoney


class _FirstAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account of version 1."""

    capital: float
    legs: tuple[tuple[str, str], ...]
    money: _FirstMoney | None = None
    turns: tuple[_FirstTurn, ...] = ()
    marks: SavedMarks | None = None


def _first_account(payload: bytes) -> SavedAccount:
    saved, turns = msgspec.json.decode(payload, type=_FirstAccount), list[SavedTurn]()
    for turn in saved.turns:
        money, changes = turn.money.split()
        turns.append(SavedTurn(leg=turn.leg, turn=turn.turn, money=money, instead=changes))
    certain = saved.money or next((turn.money for turn in saved.turns), None)
    if certain is None:
        raise ValueError("there is no account in it")
    money, changes = certain.split()
    return SavedAccount(
        capital=saved.capital,
        legs=saved.legs,
        changes=changes,
        money=None if saved.money is None else money,
        turns=tuple(turns),
        marks=saved.marks,
    )


def _account(payload: bytes) -> SavedAccount:
    return msgspec.json.decode(payload, type=SavedAccount)


ACCOUNT_READERS: Final = {1: _first_account, ACCOUNT_VERSION: _account}
"""Version of a saved account -> the function that reads it."""
