"""What is saved of an account at a broker, and of all orders of a store that are of it, added up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

import msgspec

from ..domain.account_ledger import AccountLedger, added, held_in, is_unsettled
from ..domain.broker_orders_and_ids import Order
from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.quote_currency import base_of, of_exchange
from ..domain.text import named_error
from ..errors import StateError
from ..ports import BrokerWithAccount, StateStore
from .account_with_new_key import KIND, read_ledger
from .saved_orders import KIND as ORDER
from .saved_orders import SavedOrders
from .user_code_in_threads import answered

_MOST_READ: Final = 3
_LONGEST_LOOK_BACK_MS: Final = 7 * DAY_MS


class LedgerMember(NamedTuple):
    """A run that trades with an account.

    Attributes
    ----------
    saved
        Its orders.
    broker
        Through which it trades.
    tell
        Called with the kind of a problem and a sentence.
    ask
        Called with the client ids of orders that have filled more than is known: they are to be asked about.
    unanswered
        Client ids of the orders that are to be asked about, and were not answered about yet.
    changed
        Called when something was taken from its positions.
    """

    saved: SavedOrders
    broker: BrokerWithAccount
    tell: Callable[[str, str], object]
    ask: Callable[[Collection[str]], object]
    unanswered: Callable[[], Collection[str]]
    changed: Callable[[], object]

    @property
    def symbol(self) -> str:
        """Which it trades."""
        return self.saved.address[1]


class AccountBook:
    """The ledger of one account as it is saved, and the orders of all strategies in its store.

    Parameters
    ----------
    store
        Where they are; acquired by the runs.
    account, nets
        See :class:`bknb.domain.broker_account.Abilities`.
    answer_seconds
        How long an answer of the broker may take.

    Attributes
    ----------
    ledger
        ``None`` before the baseline was noted.
    members
        The runs that go on, by strategy and symbol.
    silent
        Why it is not known what the account has, as a sentence; empty: it is.
    now
        The newest moment that is known, UTC ms.
    """

    def __init__(self, store: StateStore, account: str, *, nets: bool, answer_seconds: float) -> None:
        self._store, self._account, self.nets = store, account, nets
        self.answer_seconds = answer_seconds
        self.ledger: AccountLedger | None = None
        self.members: dict[tuple[str, str], LedgerMember] = {}
        self.silent = ""
        self.now = 0
        self._others: dict[tuple[str, str], SavedOrders] = {}  # of strategies that no run goes on with

    # --- what is saved ------------------------------------------------------------------------------------------

    def join(self, member: LedgerMember) -> None:
        """A run begins whose orders are loaded.

        Raises
        ------
        StateError
            The ledger cannot be read.
        """
        self._others.pop(member.saved.address, None)
        self.members[member.saved.address] = member
        self.ledger = read_ledger(self._store, self._account) or self.ledger  # it may be one that was adopted
        for key in self._store.keys(ORDER):
            if len(key) == 2 and key not in self.members and key not in self._others:
                self._load(key[0], key[1])

    def _load(self, strategy: str, symbol: str) -> None:
        """Read the orders of a strategy that no run goes on with, where they are of this account."""
        saved = SavedOrders(
            self._store, strategy, symbol, on_problem=self._not_saved, account=self._account, nets=self.nets
        )
        try:
            saved.load()
        except StateError:  # of another account, or damaged: whoever starts it is told so
            return
        if saved.is_of_account:
            self._others[strategy, symbol] = saved

    def _not_saved(self, kind: str, message: str) -> None:
        for member in self.members.values():
            member.tell(kind, message)
            return

    def leave(self, saved: SavedOrders) -> None:
        """A run has ended; its orders stay."""
        if self.members.pop(saved.address, None) is not None:
            self._others[saved.address] = saved

    def write(self, ledger: AccountLedger) -> None:
        """Save the ledger.

        Raises
        ------
        StateError
            It could not be saved, and is as before.
        """
        self._store.write(KIND, (self._account,), msgspec.json.encode(ledger))
        self.ledger = ledger

    # --- added up -----------------------------------------------------------------------------------------------

    @property
    def lists(self) -> list[SavedOrders]:
        """The orders of all strategies."""
        return [*(member.saved for member in self.members.values()), *self._others.values()]

    @property
    def orders(self) -> list[Order]:
        """All orders that are kept."""
        return [order for saved in self.lists for order in saved.orders]

    def changes(self) -> dict[str, float]:
        """What all orders have changed in the account, what was taken by hand of positions among it."""
        return added(*(saved.changes() for saved in self.lists))

    def expected(self) -> dict[str, float]:
        """What the account has by its ledger: its baseline, what has come by hand, and what orders have changed."""
        if self.ledger is None:
            return {}
        return added(self.ledger.baseline, self.ledger.manual, self.changes())

    def names(self) -> list[str]:
        """What the orders here trade and pay with: all that can differ because of them.

        Where the account nets these are the symbols of the runs that go on: a broker names others in its own way.
        """
        if self.nets:
            return list(dict.fromkeys(member.symbol for member in self.members.values()))
        own = [self.base(member.symbol) for member in self.members.values()]
        return list(dict.fromkeys((*(held_in(order, nets=False) for order in self.orders), *own, *self.changes())))

    def signals(self, name: str) -> Iterator[tuple[SavedOrders, list[Order]]]:
        """The signals whose orders trade a currency, or a symbol where it nets, with the list each is in."""
        for saved in self.lists:
            for orders in saved.signals.values():
                if held_in(orders[0], nets=self.nets) == name:
                    yield saved, orders

    def unsettled(self, but: str = "") -> bool:
        """Whether an order may have filled what is not known yet, other than the one with a client id."""
        return any(is_unsettled(order) for order in self.orders if order.client_id != but)

    # --- one symbol ---------------------------------------------------------------------------------------------

    def lists_of(self, symbol: str) -> list[SavedOrders]:
        """The orders of all strategies on a symbol."""
        return [saved for saved in self.lists if saved.address[1] == symbol]

    def base(self, symbol: str) -> str:
        """The currency in which fees make less of what was bought."""
        return "" if self.nets else base_of(of_exchange(symbol))

    def known_ids(self, symbol: str) -> set[str]:
        """Client ids of all orders on a symbol that were made here, or were adopted."""
        known = set() if self.ledger is None else set(self.ledger.adopted)
        return known.union(*(saved.known_ids for saved in self.lists_of(symbol)))

    def known_since(self, symbol: str) -> int:
        """From when on (UTC ms) all orders on a symbol that were made here are among :meth:`known_ids`."""
        lists = self.lists_of(symbol)
        is_new = self.ledger is None and not any(saved.signals for saved in lists)
        back = DAY_MS if is_new else _LONGEST_LOOK_BACK_MS
        begun = 0 if self.ledger is None else self.ledger.since - MINUTE_MS  # clocks differ
        return max(self.now - back, begun, *(saved.known_since for saved in lists), 0)

    def a_member_for_each_symbol(self) -> list[LedgerMember]:
        """A run that goes on for each symbol that is traded."""
        return list({member.symbol: member for member in self.members.values()}.values())

    def who_is_told(self, name: str) -> list[LedgerMember]:
        """A run that trades a currency, or a symbol where it nets, else any; none where no run goes on."""
        members = list(self.members.values())
        mine = [each for each in members if name == (each.symbol if self.nets else self.base(each.symbol))]
        return [*mine, *members][:1]

    # --- the broker ---------------------------------------------------------------------------------------------

    async def totals(self, member: LedgerMember) -> tuple[dict[str, float], dict[str, float]] | None:
        """What the account has, and what of it no order holds, by currency, or by symbol where it nets.

        ``None``: it does not answer, which is told once.
        """
        broker, seconds = member.broker, self.answer_seconds
        total: dict[str, float] = {}
        try:
            if self.nets:
                for each in self.a_member_for_each_symbol():  # then it names positions as the runs do
                    await answered(each.broker.market(each.symbol), seconds)
                for position in await answered(broker.positions(), seconds):
                    total[position.symbol] = total.get(position.symbol, 0.0) + position.quantity
                free = total
            else:
                balance = await answered(broker.balance(), seconds)
                total = {code: each.total for code, each in balance.items()}
                free = {code: each.free for code, each in balance.items()}
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it did not answer
            self.tell_silent(member, error)
            return None
        self.silent = ""
        return total, free

    async def totals_between_fills(self, member: LedgerMember) -> tuple[dict[str, float], dict[str, float]] | None:
        """The same, read anew where an order was reported to have filled meanwhile, and that again and again."""
        for _ in range(_MOST_READ):
            before, found = self.changes(), await self.totals(member)
            if found is None or self.changes() == before:
                return found
        return None

    def tell_silent(self, member: LedgerMember, error: Exception) -> None:
        """Tell once, until it answers, that the broker does not say what the account has."""
        text = f"{member.broker.name} did not say what its account has: {named_error(error)}"
        if not self.silent:
            member.tell("broker", text)
        self.silent = text
