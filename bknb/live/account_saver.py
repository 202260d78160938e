"""The account of live runs on disk: saved before each turn of a run, so that the two are never out of step.

A turn writes the account first, with the number of the turn and the account from before it, then the state of the run.
Where the process ends in between, the number says which of the two holds. Closed positions in money are in a journal
beside the trades of their run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import msgspec

from ..domain.formatting import utc_text
from ..domain.lifecycle import State, position_of
from ..domain.signal import SignalKey, key_of
from ..domain.text import named_error
from ..engine.position_in_money import PositionInMoney
from ..engine.records import Records
from ..engine.risk_profile_places import RiskPlaces
from ..errors import StateError
from ..ports import StateStore
from .account_changes import AccountChanges, AccountJournal, PortfolioJournal
from .account_marks import SavedMarks
from .candle_stream import CandleStream
from .growing_list_in_store import Journal, Readers
from .live_account import LiveAccount
from .live_leg_account import LiveLegAccount
from .plan import LivePlan
from .saved_account import ACCOUNT_READERS, SavedAccount, SavedMoney, SavedTurn
from .saved_of_all_places import places_saved
from .saved_values import decode_saved, read_state

if TYPE_CHECKING:
    from ..market.newest_series_rows import ReadSeries
    from .live_portfolio_weights import LivePortfolioWeights
    from .run_progress import Reached
    from .values_saved_before_events import StateSaver


class AccountPlace(NamedTuple):
    """Where an account is saved: a kind, a name under it, and the journal of its changes."""

    kind: str
    key: tuple[str, str]
    journal: type[AccountJournal]

    @classmethod
    def of_run(cls, strategy: str, symbol: str) -> AccountPlace:
        """That of a live run."""
        return cls("account", (strategy, symbol), AccountJournal)

    @classmethod
    def of_portfolio(cls, name: str) -> AccountPlace:
        """That of a live portfolio."""
        return cls("portfolio", (name, "account"), PortfolioJournal)


class SavedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A closed position in money, by its signal."""

    key: SignalKey
    position: PositionInMoney


class SavedPositions(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the closed positions of a strategy on a symbol."""

    version: int = 1
    positions: tuple[SavedPosition, ...]


def _positions(payload: bytes) -> tuple[SavedPosition, ...]:
    return msgspec.json.decode(payload, type=SavedPositions).positions


class MoneyJournal(Journal[SavedPosition]):
    """The closed positions of one strategy on one symbol in money, on the disk."""

    kind = "money"
    readers: ClassVar[Readers[SavedPosition]] = {1: _positions}

    def name_of(self, item: SavedPosition) -> SignalKey:
        """The signal of a position."""
        return item.key

    def encoded(self, items: tuple[SavedPosition, ...]) -> bytes:
        """Positions as a value of version 1."""
        return msgspec.json.encode(SavedPositions(positions=items))


class AccountSaver:
    """Saves and restores an account.

    Parameters
    ----------
    account
        The account.
    store, place
        Where it is saved; the store is acquired by the runs.
    legs
        Strategy and symbol of each leg, in declared order.

    Attributes
    ----------
    weights
        The weights of several symbols, whose plans are saved before the account.
    """

    def __init__(
        self, account: LiveAccount, store: StateStore, place: AccountPlace, legs: tuple[tuple[str, str], ...]
    ) -> None:
        self.account, self.store, self.legs = account, store, legs
        self._place = place
        self._changes = AccountChanges(account, place.journal(store, place.key))
        self._money: SavedMoney | None = None
        self._turns: list[SavedTurn] = []
        self._is_restored = False
        self.weights: list[LivePortfolioWeights] = []
        self._savers: list[LegAccountSaver] = []

    def leg(self, order: int) -> LegAccountSaver:
        """What saves the account with the turns of a leg."""
        self._savers.append(saver := LegAccountSaver(self, self.account.legs[order], self.legs[order]))
        return saver

    def restore(self, when: int) -> None:
        """Take up what is saved, once, from a moment (UTC ms) on.

        Raises
        ------
        StateError
            It cannot be read, or is that of another account.
        """
        if self._is_restored:
            return
        kind, key, _ = self._place
        payload = self.store.read(kind, key)
        if payload is not None:
            saved = decode_saved(ACCOUNT_READERS, payload, kind, key)
            self._check(saved)
            on_disk = [turn for turn in saved.turns if self._turn_of(turn.leg) >= turn.turn]
            self._money = on_disk[-1].money if on_disk else saved.money
            if saved.marks is not None:
                self._restore_marks(saved.marks)
            if self._money is not None:
                changes, more = (on_disk[-1].instead, on_disk[-1].changes) if on_disk else (None, ())
                certain, every = self._changes.restore(changes or saved.changes, more)
                self.account.take_up(self._money, certain, every, when)
        for each in self.weights:
            each.restore(when)
        self._is_restored = True

    def _restore_marks(self, saved: SavedMarks) -> None:
        """Take up what the account was worth; where that cannot be read, it is not known, and read again."""
        kind, key, _ = self._place
        try:
            self.account.kept.restore(saved, self.store, f"{kind}_marks", key)
        except StateError as error:
            self.account.kept.begin_unread(saved, f"what the account was worth cannot be read: {error}")

    def _check(self, saved: SavedAccount) -> None:
        mine = self.account.plan.capital, self.legs
        if (saved.capital, saved.legs) != mine:
            names = ", ".join(f"{strategy} on {symbol}" for strategy, symbol in saved.legs)
            raise StateError(
                f"the saved account began with {saved.capital:,.8g} and has the legs {names}\n"
                "start it as it was saved, or choose another name or store"
            )
        money, now = saved.money or (saved.turns[0].money if saved.turns else None), self.account.begin
        of_legs = {} if money is None else {
            name: account for name, account in money.ledger.accounts.items() if name in now.accounts
        }  # fmt: skip
        if money is not None and (money.ledger.account, of_legs) != (now.account, now.accounts):
            was = ", ".join(map(repr, dict.fromkeys((money.ledger.account, *money.ledger.accounts.values()))))
            raise StateError(
                f"the saved account is {was}, and account= is another\n"
                "start it as it was saved, or choose another name or store"
            )

    def _turn_of(self, leg: tuple[str, str]) -> int:
        """The newest turn of a run that is on the disk."""
        keys = [leg, *((*leg, place) for place in places_saved(self.store, leg))]
        states = (saved for key in keys for saved in read_state(self.store, key))
        return max((saved.turn for saved in states if saved is not None), default=0)

    def write(self, leg: tuple[str, str], turn: int) -> None:
        """Save the account as it is after a turn of a run that is saved next; raises ``StateError``."""
        for each in self.weights:
            each.save()
        for saver in self._savers:
            saver.save_left()
        (kind, key, _), account = self._place, self.account
        changes, new = self._changes.before_turn()
        now = SavedTurn(leg=leg, turn=turn, money=account.value(), changes=new)
        value = SavedAccount(
            capital=account.plan.capital,
            legs=self.legs,
            changes=changes,
            money=self._money,
            turns=(*self._turns, now),
            marks=account.kept.save(self.store, f"{kind}_marks", key),
        )
        self.store.write(kind, key, msgspec.json.encode(value))
        self._changes.after_write()
        self._turns.append(now)

    def written(self) -> None:
        """The turn is on the disk."""
        if self._turns:
            self._changes.after_turn(self._turns[-1].changes)
            self._money, self._turns = self._turns[-1].money, []


class LegAccountSaver:
    """Saves an account with the turns of one leg.

    Parameters
    ----------
    saver, account, key
        Of all legs; what this one has of the account; its strategy and symbol.
    """

    def __init__(self, saver: AccountSaver, account: LiveLegAccount, key: tuple[str, str]) -> None:
        self.account = account
        self._saver, self._key = saver, key
        self._journal = MoneyJournal(saver.store, key)
        self._known: set[SignalKey] = set()
        self._new: list[tuple[LiveLegAccount, SignalKey]] = []  # of a turn that is not on the disk yet

    def restore(self, when: int, open_keys: Collection[SignalKey]) -> dict[SignalKey, PositionInMoney]:
        """Take up the saved account from a moment (UTC ms) on; returns what earlier processes closed of this leg.

        Raises
        ------
        StateError
            As of :meth:`AccountSaver.restore`.
        """
        self._saver.restore(when)
        self._journal.read()
        self._journal.drop(lambda item: item.key in open_keys)
        found = {item.key: item.position for item in self._journal.items()}
        self._known = set(found)
        return found

    async def begin(
        self,
        plan: LivePlan,
        stream: CandleStream,
        places: RiskPlaces | None,
        state: State,
        *,
        reached: Reached,
        records: Records,
        saver: StateSaver,
        published: ReadSeries,
    ) -> LiveLegAccount:
        """What the leg has of the account, with its state and what was saved; ``saver`` saves it with its turns.

        What is due since it was saved is charged at the closes of then, which are loaded; funding is read from
        ``published``, where it is a series. Other parameters and errors as of
        :meth:`bknb.live.live_leg_account.LiveLegAccount.begin_live`.
        """
        account, window = self.account, stream.window
        held = [key_of(held.signal) for held in map(position_of, saver.states) if held is not None]
        before = self.restore(plan.clock.now(), held)
        account.begin_live(plan, window, places, state, reached=reached, warn=records.warn, before=before)
        saver.account = self
        if (kept := account.shared.kept).unknown and account.name == "0":
            begins = utc_text(kept.after or 0)
            records.warn(f"{kept.unknown}: equity begins at {begins}, and figures that need all of it are missing")
            kept.tell = records.warn
        await account.read_funding(published, reached.known)
        if (since := account.closes_from) is not None and since < plan.clock.now():
            try:
                await stream.minutes(plan.symbol, since)
            except Exception as error:  # noqa: BLE001 -- whatever an exchange raises; the run asks it again
                records.warn(f"the closes since {utc_text(since)} are not known to the account: {named_error(error)}")
        return account

    def before_turn(self, turn: int) -> None:
        """Save what a turn leads to in money, before it is saved; raises ``StateError``."""
        self._new = [*self._closed()][::-1]
        self._journal.append(*(_saved(key, part.positions[key]) for part, key in self._new))
        self._saver.write(self._key, turn)

    def save_left(self) -> None:
        """Save what was closed in the newest bar anew, where a loss of it was forgiven since; raises ``StateError``."""
        if (left := self.account.left) is not None and left[0] in self._known:
            self._journal.append(_saved(*left))

    def after_turn(self) -> None:
        """The turn is on the disk."""
        self._known.update(key for _, key in self._new)
        self._saver.written()

    def _closed(self) -> Iterator[tuple[LiveLegAccount, SignalKey]]:
        """The positions that were closed since the last turn on the disk, in each place the newest first."""
        for part in self.account.parts:
            open_key = part.open_key
            for key in reversed(part.positions):
                if key in self._known:
                    break
                if key != open_key:
                    yield part, key

    def take_back(self) -> None:
        """What the last turn led to could not be saved: it has not happened."""
        self.account.shared.take_back()


def _saved(key: SignalKey, position: PositionInMoney) -> SavedPosition:
    """A position in money as it is now: what is forgiven of it may come later."""
    return SavedPosition(key=key, position=msgspec.structs.replace(position, fills=[*position.fills]))
