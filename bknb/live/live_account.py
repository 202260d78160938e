"""The account of a live run, or of the legs of a live portfolio: it can be taken back, saved, and taken up again.

What it decides is decided by :class:`bknb.engine.shared_account.SharedAccount`, as in a backtest. A change that cannot
be saved has not happened: the account is as it was before. Each leg has its part of it
(:mod:`bknb.live.live_leg_account`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from ..domain.funding_charged_and_fills_booked import Ledger
from ..engine.account_plan import AccountPlan, LegMoney
from ..engine.leg_account import LegAccount
from ..engine.shared_account import AccountChange, Freed, SharedAccount
from .account_before_turn import AccountBefore
from .account_changes import SavedChange, SavedChanges
from .account_marks import WITHOUT_MARKS, AccountMarks
from .live_leg_account import LiveLegAccount
from .saved_account import SavedLeg, SavedMoney
from .stale_marks import StaleMarks

_AT_ONCE: Final = 16  # bars whose marks are kept together


class LiveAccount(SharedAccount):
    """An account whose changes can be taken back, and that can be saved.

    Parameters
    ----------
    plan, longest
        The account, and the length of the longest base bars of its legs, ms.

    Attributes
    ----------
    saved
        As an earlier process saved it; ``None``: it begins anew.
    kept
        What it was worth, as far as that does not change any more.
    """

    legs: list[LiveLegAccount]  # type: ignore[assignment]  # as this class makes them

    def __init__(self, plan: AccountPlan, *, longest: int) -> None:
        super().__init__(plan)
        self.saved: SavedMoney | None = None
        self.kept, self._stale = AccountMarks(), StaleMarks()
        self.longest, self._marked = longest, 0  # how many changes those marks have
        self._first_number = 0  # of its changes
        self._freed_by: dict[int, Freed] = {}  # by the number of the change
        self._mark: AccountBefore | None = None
        if self.cross is not None:
            self.cross.ahead = 0  # what is to come is not known

    def _leg(self, order: int, money: LegMoney) -> LiveLegAccount:
        return LiveLegAccount(self, order, money)

    def _place(self, leg: LegAccount, name: str) -> LiveLegAccount:
        return LiveLegAccount(self, int(leg.name), leg.money, of=self.legs[int(leg.name)], place=name)

    @property
    def all_parts(self) -> list[LiveLegAccount]:
        """What may hold a position: each leg, and the places that were taken."""
        return [part for part in self.holders.values() if isinstance(part, LiveLegAccount)]

    @property
    def charged_until(self) -> int:
        """Up to when all that was due was charged, UTC ms."""
        return self._solvent

    def follow(self, until: int) -> None:
        """Take the bars that have come of all legs, as of :meth:`LiveLegAccount.follow`."""
        for part in self.all_parts:
            part.follow(until)

    def take_up(self, saved: SavedMoney, certain: SavedChanges, changes: Sequence[SavedChange], when: int) -> None:
        """Go on with an account that an earlier process saved, from a moment (UTC ms) on; its marks come before it.

        Without those, what it was worth before that moment is not known. ``changes`` are all behind the first ledger
        of the ``certain`` ones.
        """
        self.saved, self._solvent = saved, saved.solvent
        self._accounts |= saved.ledger.accounts  # one mapping for all ledgers, as places that are taken are added to it
        self.ledger = replace(saved.ledger, accounts=self._accounts)
        if self.kept.after is None and saved.ledger != self.begin:
            first = min([when, *(change.since for change in changes)])
            closes = {str(order): leg.price for order, leg in enumerate(saved.legs) if leg.price is not None}
            self.kept.begin_unknown(first, closes, WITHOUT_MARKS)
        self._first_number = certain.end
        if after := self.kept.after or 0:
            self.changes, self._first_number = (
                [AccountChange(after, replace(certain.before, accounts=self._accounts))],
                certain.first - 1,
            )
            for change in changes:
                self.changes.append(AccountChange(change.since, change.after(self.changes[-1].ledger)))
        self._marked = sum(change.since <= after for change in self.changes)
        self._freed_by = {change.number: change.freed for change in changes if change.freed is not None}
        self._freed = [*self._freed_by.values()]
        if self.cross is not None and saved.watched is not None:
            self.cross.go_on(saved.watched)

    def keep_marks(self) -> None:
        """Keep the marks that nothing changes any more, once there are some."""
        if not all(leg.is_ready for leg in self.legs):
            return
        self._stale.tell(self.legs)
        if len(self.kept.opens) < len(self.legs):
            self._note_first()
        newest, step = max(leg.known for leg in self.legs), min(leg.prices.step for leg in self.legs)
        until, after = min(leg.unchanged_until(newest, step) for leg in self.legs), self.kept.after
        if after is None or until - after < _AT_ONCE * step:
            return
        if until > self._solvent:
            self.charge(until)
        before = self.changes[self._marked - 1].ledger if self._marked else self.begin
        self.kept.keep(before, self.changes[self._marked :], {leg.name: leg.bars() for leg in self.legs}, until)
        self._stale.note(self.legs, until, step)
        while self._marked < len(self.changes) and self.changes[self._marked].since <= (self.kept.after or 0):
            self._marked += 1

    def _note_first(self) -> None:
        """Note when the account begins, and the first open of each leg, once they are known."""
        kept, first = self.kept, {leg.name: leg.begins() for leg in self.legs}
        if kept.after is None and (starts := [start for start, _ in first.values() if start is not None]):
            kept.begin(min(starts), self.plan.capital)
        if not kept.unknown:
            kept.opens |= {name: open_ for name, (_, open_) in first.items() if open_ is not None}

    def freed(self, since: int, opened: int | None, money: float) -> None:
        """As in a backtest; it is saved with the newest change."""
        super().freed(since, opened, money)
        self._freed_by = {
            number: freed for number, freed in self._freed_by.items() if freed.since > since - self.longest
        }
        if money > 0.0:
            self._freed_by[self._first_number + len(self.changes) - 1] = self._freed[-1]

    # --- as a value -------------------------------------------------------------------------------------------------

    @property
    def first_needed(self) -> int:
        """The number of the first change that a bar under way, or a mark that is not kept, may need."""
        newest = max((change.since for change in self.changes[max(self._marked - 1, 0) :]), default=0) - self.longest
        at = len(self.changes)
        while at and self.changes[at - 1].since > newest:
            at -= 1
        return self._first_number + min(at, self._marked)

    def ledger_before(self, number: int) -> Ledger:
        """The ledger before the change with a number."""
        at = number - self._first_number
        return self.changes[at - 1].ledger if at > 0 else self.begin

    def changes_from(self, number: int) -> tuple[SavedChange, ...]:
        """The changes from a number on, as they are saved."""
        before, found = self.ledger_before(number), list[SavedChange]()
        for each, change in enumerate(self.changes[number - self._first_number :], start=number):
            found.append(SavedChange.between(before, change, each, self._freed_by.get(each)))
            before = change.ledger
        return tuple(found)

    def value(self) -> SavedMoney:
        """The account as it is saved, without its changes."""
        return SavedMoney(
            ledger=self.ledger,
            solvent=self._solvent,
            legs=tuple(leg.saved() for leg in self.legs),
            places=self._saved_places() or UNSET,
            watched=None if self.cross is None else self.cross.watched,
        )

    def _saved_places(self) -> dict[str, SavedLeg]:
        """The places as they are saved; of a leg that has not begun as they were."""
        before = {} if self.saved is None else self.saved.of_places
        return before | {part.name: part.saved() for part in self.all_parts if part.leg is not None}

    def note_mark(self) -> None:
        """From here on what is booked can be taken back."""
        legs = [part.mark() if part.is_ready else None for part in self.all_parts]
        watched = None if self.cross is None else self.cross.watched
        counts = len(self.changes), len(self.rows)
        self._mark = AccountBefore(self.ledger, *counts, [*self._freed], self._solvent, watched, legs)

    def take_back(self) -> None:
        """Be as at the last mark."""
        if (mark := self._mark) is None:
            return
        self.ledger, self._solvent = mark.ledger, mark.solvent
        del self.changes[mark.changes :], self.rows[mark.rows :]
        self._freed, after = [*mark.freed], self._first_number + mark.changes
        self._freed_by = {number: freed for number, freed in self._freed_by.items() if number < after}
        if self.cross is not None and mark.watched is not None:
            self.cross.go_on(mark.watched)
        for leg, was in zip(self.all_parts, mark.legs, strict=False):  # a place that was taken since has nothing
            if was is not None:
                leg.take_back(was)
