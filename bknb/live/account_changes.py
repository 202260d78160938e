"""The changes of a live account on the disk: the newest ones beside the account, those before them in a journal.

A leg with long bars needs the changes of a whole bar, long after the others have worked on them. Of each change is
saved what is other than before it. Those of turns that are on the disk for certain move to the journal, some at a
time; what no leg needs any more is folded into the ledger that comes before them all::

    portfolio_changes/{name}/account/part-000001.json     up to 64 changes
    portfolio_changes/{name}/account/part-000002.json     up to 64, or as many as one turn made

A change has a number, counted from the first of the account. What the journal holds beyond the numbers that the saved
account names was never confirmed, or is folded: it does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from msgspec.structs import replace

from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.leg_position import LegPosition
from ..engine.shared_account import AccountChange, Freed
from ..errors import StateError
from ..ports import StateStore
from .growing_list_in_store import Journal, Readers

if TYPE_CHECKING:
    from .live_account import LiveAccount

AMOUNTS: Final = ("cash", "realised", "fees", "slippage", "funding", "borrow", "forgiven")
"""The amounts of a ledger that a change can move."""

NEWEST: Final = 16
"""So many move to the journal together."""
PART: Final = 64
"""How many a part of it holds, but the last one and what a single turn made."""


class SavedChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of an account as it is saved.

    Attributes
    ----------
    number, since
        Its number from 0, and the moment (UTC ms) from which on marks show it.
    amounts, positions, reserved
        What the ledger has from then on, where that is other than before; a position that is ``None`` is closed.
    freed
        The money that it freed.
    """

    number: int
    since: int
    amounts: dict[str, float] = {}
    positions: dict[str, LegPosition | None] = {}
    reserved: Mapping[str, float] | None = None
    freed: Freed | None = None

    @classmethod
    def between(cls, before: Ledger, change: AccountChange, number: int, freed: Freed | None) -> SavedChange:
        """What a change made of the ledger before it."""
        after, was = change.ledger, before.positions
        new: dict[str, LegPosition | None] = {leg: None for leg in was if leg not in after.positions}
        return cls(
            number=number,
            since=change.since,
            amounts={name: getattr(after, name) for name in AMOUNTS if getattr(after, name) != getattr(before, name)},
            positions=new | {leg: held for leg, held in after.positions.items() if was.get(leg) != held},
            reserved=after.reserved if after.reserved != before.reserved else None,
            freed=freed,
        )

    def after(self, before: Ledger) -> Ledger:
        """The ledger after this change of the one before it."""
        positions = {leg: held for leg, held in before.positions.items() if self.positions.get(leg, held) is not None}
        positions |= {leg: held for leg, held in self.positions.items() if held is not None}
        reserved = before.reserved if self.reserved is None else self.reserved
        return replace(before, positions=positions, reserved=reserved, **self.amounts)


class SavedChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of an account that nothing takes back any more.

    Attributes
    ----------
    before, first
        The ledger before the first of them, and its number.
    journaled, newest
        The number of the first that is not in the journal, and all from that one on.
    """

    before: Ledger
    first: int = 0
    journaled: int = 0
    newest: tuple[SavedChange, ...] = ()

    @property
    def end(self) -> int:
        """The number behind the last of them."""
        return self.journaled + len(self.newest)

    def folded(self, before: Ledger, first: int) -> SavedChanges:
        """The same without those before a number; ``before`` is the ledger before that one."""
        newest = tuple(change for change in self.newest if change.number >= first)
        return SavedChanges(before=before, first=first, journaled=max(self.journaled, first), newest=newest)


class _SavedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some changes in the journal."""

    version: int = 1
    changes: tuple[SavedChange, ...]


def _changes(payload: bytes) -> tuple[SavedChange, ...]:
    return msgspec.json.decode(payload, type=_SavedPart).changes


class AccountJournal(Journal[SavedChange]):
    """The changes of the account of a live run."""

    kind = "account_changes"
    readers: ClassVar[Readers[SavedChange]] = {1: _changes}

    def __init__(self, store: StateStore, key: tuple[str, str]) -> None:
        super().__init__(store, key, latest=NEWEST, most=PART)

    def name_of(self, item: SavedChange) -> int:
        """The number of a change."""
        return item.number

    def encoded(self, items: tuple[SavedChange, ...]) -> bytes:
        """Changes as a value of version 1."""
        return msgspec.json.encode(_SavedPart(changes=items))


class PortfolioJournal(AccountJournal):
    """The changes of the account of a live portfolio."""

    kind = "portfolio_changes"


class AccountChanges:
    """Saves and restores the changes of a live account.

    Parameters
    ----------
    account
        The account.
    journal
        The journal of its changes, in the store in which it is saved.
    """

    def __init__(self, account: LiveAccount, journal: AccountJournal) -> None:
        self._account, self._journal = account, journal
        self._certain = SavedChanges(before=account.begin)

    def restore(self, saved: SavedChanges, more: tuple[SavedChange, ...]) -> tuple[SavedChanges, list[SavedChange]]:
        """Take up what was saved, and changes behind it that hold, too; returns it with all changes since its ledger.

        Raises
        ------
        StateError
            A change is missing, or cannot be read.
        """
        self._journal.read()
        held = {change.number: change for change in self._journal.items()}
        numbers = range(saved.first, saved.journaled)
        if missing := [number for number in numbers if number not in held]:
            raise StateError(
                f"{len(missing)} of {len(numbers)} changes of the account are missing in {self._journal.place}\n"
                "put back what was moved away, or start it with another name or store"
            )
        self._certain = msgspec.structs.replace(saved, newest=(*saved.newest, *more))
        return self._certain, [*(held[number] for number in numbers), *self._certain.newest]

    def before_turn(self) -> tuple[SavedChanges, tuple[SavedChange, ...]]:
        """What is saved with the account before a turn: the certain ones, and those of turns that may be on the disk.

        Raises
        ------
        StateError
            Some of them could not be moved to the journal.
        """
        account, certain = self._account, self._certain
        first = min(account.first_needed, certain.end)
        if first > certain.first:
            certain = certain.folded(account.ledger_before(first), first)
        if len(certain.newest) >= NEWEST:
            self._journal.append(*certain.newest)
            certain = SavedChanges(before=certain.before, first=certain.first, journaled=certain.end)
        self._certain = certain
        return certain, account.changes_from(certain.end)

    def after_write(self) -> None:
        """What :meth:`before_turn` returned is on the disk: what was folded is removed from the journal."""
        first = self._certain.first
        with suppress(StateError):  # the next turn does it
            self._journal.remove_values(lambda change: change.number < first)

    def after_turn(self, new: tuple[SavedChange, ...]) -> None:
        """The turn with these changes is on the disk."""
        self._certain = msgspec.structs.replace(self._certain, newest=(*self._certain.newest, *new))
