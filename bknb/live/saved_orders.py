"""The saved orders of one strategy on one symbol, in memory and on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec

from ..domain.account_ledger import added, by_hand_of, changes_of
from ..domain.broker_orders_and_ids import Order, finished, net_filled
from ..domain.implementation_shortfall import TradedOrder, traded_orders
from ..domain.sent_orders_reconciled_at_restart import differences
from ..domain.signal import SignalKey
from ..errors import StateError
from ..ports import StateStore
from .account_with_new_key import KIND as ACCOUNT
from .account_with_new_key import differs_by_key, go_on_as, names_of, read_ledger
from .saved_values import decode_saved
from .traded_journal import TradedJournal, all_traded

KIND: Final = "order"
MAX_FINISHED_SIGNALS: Final = 5
"""How many finished signals keep their orders, for the table and in case an event comes twice."""


_MOST_FORGOTTEN: Final = 100


class SavedOrderList(msgspec.Struct, frozen=True, kw_only=True):
    """The orders of a strategy on a symbol as they are saved.

    Version 1 was the list alone, without parts and adds. Version 3 has stops and targets that rest at the broker; a
    list without any is written as version 2, which older releases read.
    """

    version: int = 2
    orders: list[Order]


class SavedOrdersOfAccount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The same at a broker that says which account it is, with what is left of orders that are not kept any more.

    Attributes
    ----------
    account
        Its name.
    past, by_hand
        What orders that are not kept have changed in the account, and which part of it was taken from their positions
        by hand; see :func:`bknb.domain.account_ledger.changes_of`.
    forgotten
        Their client ids, the newest.
    known_since
        The orders that were made after this (UTC ms) are kept, or among ``forgotten``.
    """

    version: int
    account: str
    orders: list[Order]
    past: dict[str, float] = {}
    by_hand: dict[str, float] = {}
    forgotten: list[str] = []
    known_since: int = 0


def saved_list(orders: list[Order]) -> SavedOrderList:
    """Orders as they are saved, in the oldest version that has all of them."""
    return SavedOrderList(version=3 if any(order.trigger is not None for order in orders) else 2, orders=orders)


def _read_list(payload: bytes) -> list[Order]:
    return msgspec.json.decode(payload, type=SavedOrderList).orders


def _of_no_account(read: Callable[[bytes], list[Order]]) -> Callable[[bytes], SavedOrdersOfAccount]:
    return lambda payload: SavedOrdersOfAccount(version=4, account="", orders=read(payload))


_READERS: Final[Mapping[int, Callable[[bytes], SavedOrdersOfAccount]]] = {
    1: _of_no_account(partial(msgspec.json.decode, type=list[Order])),
    2: _of_no_account(_read_list),
    3: _of_no_account(_read_list),
    4: partial(msgspec.json.decode, type=SavedOrdersOfAccount),
}


def read_orders(store: StateStore, strategy: str, symbol: str) -> list[Order]:
    """The saved orders of a strategy on a symbol.

    Raises
    ------
    StateError
        When they cannot be read, or a newer bknb wrote them.
    """
    return _read(store, strategy, symbol).orders


def _read(store: StateStore, strategy: str, symbol: str) -> SavedOrdersOfAccount:
    payload = store.read(KIND, (strategy, symbol))
    if payload is None:
        return SavedOrdersOfAccount(version=4, account="", orders=[])
    advice = f"look at your exchange, then delete {KIND}/{strategy}/{symbol} from the state"
    return decode_saved(_READERS, payload, KIND, (strategy, symbol), advice=advice)


def by_signal(orders: Iterable[Order]) -> dict[SignalKey, list[Order]]:
    """Orders by signal, in their order."""
    found: dict[SignalKey, list[Order]] = {}
    for order in orders:
        found.setdefault(order.key, []).append(order)
    return found


class SavedOrders:
    """Orders by signal: the entry, then the others in turn; all of them one value of kind ``"order"`` in the store.

    Parameters
    ----------
    account, nets
        Of the broker, see :class:`bknb.domain.broker_account.Abilities`; with an account it is known what orders that
        are not kept any more have changed there.

    Attributes
    ----------
    signals
        All of them.
    over
        The signals with no action left.
    address
        The strategy and the symbol.
    clock
        The time here (UTC ms), where orders are to say since when they have their status.
    past, by_hand
        See :class:`SavedOrdersOfAccount`.
    known_since
        The orders that were made after this (UTC ms) are among :attr:`known_ids`.
    is_of_account
        Whether what was read was saved with the account.
    version
        Another number after each change of an order.
    """

    def __init__(
        self,
        store: StateStore,
        strategy: str,
        symbol: str,
        *,
        on_problem: Callable[[str, str], object],
        account: str = "",
        nets: bool = False,
    ) -> None:
        self.signals: dict[SignalKey, list[Order]] = {}
        self.over: set[SignalKey] = set()
        self._store = store
        self.address = (strategy, symbol)
        self.clock: Callable[[], int] | None = None
        self._on_problem = on_problem
        self._unsaved = False
        self._traded = TradedJournal(store, self.address)
        self.account, self._nets = account, nets
        self.past: dict[str, float] = {}
        self.by_hand: dict[str, float] = {}
        self.known_since = 0
        self.is_of_account = False
        self.version = 0
        self._forgotten: list[str] = []

    @property
    def orders(self) -> list[Order]:
        """All orders known here: those of the signals that are not over, and of the last ones that are."""
        return [order for orders in self.signals.values() for order in orders]

    @property
    def traded(self) -> tuple[TradedOrder, ...]:
        """What became of all orders that left, also of those of signals that are over for long."""
        return all_traded(self._traded.items(), self.signals.values())

    @property
    def known_ids(self) -> list[str]:
        """Client ids of all orders known here, and of the last ones that are not kept."""
        return [*self._forgotten, *(order.client_id for order in self.orders)]

    def changes(self) -> dict[str, float]:
        """What all of its orders have changed in the account, what was taken by hand among it."""
        return added(self.past, changes_of(self.orders, nets=self._nets))

    def taken_by_hand(self) -> dict[str, float]:
        """What was taken by hand of its positions."""
        return added(self.by_hand, by_hand_of(self.orders, nets=self._nets))

    def position(self) -> float:
        """What the broker reported as filled and not closed again, in base currency; negative when short."""
        every = self.signals.values()
        return math.fsum(net_filled(orders) if orders[0].side == "buy" else -net_filled(orders) for orders in every)

    def put_right(self, broker: str) -> str:
        """What to do about an order that nobody here can put right, at a broker of a name."""
        return (
            f"Nothing new is opened. Put it right at {broker}, then stop this run, delete {KIND}/"
            f"{'/'.join(self.address)} from its state, store.delete({KIND!r}, {self.address!r}), and start it again"
        )

    def load(self, *, adopt: bool = False) -> None:
        """Read what was saved.

        Parameters
        ----------
        adopt
            Whether an account of which all but the key is the same is the one whose orders these are.

        Raises
        ------
        StateError
            When it cannot be read, a newer bknb wrote it, or it has orders of another account that are not over, or are
            to be adopted by one that has a ledger of its own.
        """
        self._traded.read([])  # what cannot be read of it is missing in tables alone
        saved = _read(self._store, *self.address)
        found = by_signal(saved.orders)
        if saved.account and not self._is_mine(saved.account, adopt=adopt):
            self._leave(saved.account, found)
            saved, found = SavedOrdersOfAccount(version=4, account=self.account, orders=[]), {}
        self.is_of_account = bool(saved.account)
        self.signals.clear()
        self.signals.update(found)
        self.past, self.by_hand = dict(saved.past), dict(saved.by_hand)
        self._forgotten, self.known_since = list(saved.forgotten), saved.known_since
        self.over = {key for key, orders in self.signals.items() if finished(orders) and _all_reported(orders)}
        self.version += 1

    def look(self) -> None:
        """Read what was saved, of whatever account it is; nothing is sent.

        Raises
        ------
        StateError
            When it cannot be read, or a newer bknb wrote it.
        """
        self._traded.read([])
        self.signals.update(by_signal(_read(self._store, *self.address).orders))
        self.version += 1

    def _is_mine(self, account: str, *, adopt: bool) -> bool:
        """Whether orders of an account are of the one here: by its name, by one it had, or by one that is adopted."""
        if account == self.account or (self.account and account in names_of(self._store, self.account)):
            return True
        if not (adopt and differs_by_key(account, self.account)):
            return False
        if read_ledger(self._store, self.account) is not None:
            mine = self.account
            raise StateError(
                f"the orders of {'/'.join(self.address)} in this store are of the account {account}; {mine} has a "
                "ledger of its own there, which adopt=True would replace\ngo on with the key of before; or, where "
                f"both are one account, store.delete({ACCOUNT!r}, {(mine,)!r}) and start once more with adopt=True"
            )
        go_on_as(self._store, account, self.account)
        return True

    def _leave(self, account: str, found: Mapping[SignalKey, list[Order]]) -> None:
        """Refuse to go on with orders of another account, unless all of them are over."""
        going_on = [orders[0].signal_id for orders in found.values() if not finished(orders) and _has_left(orders)]
        if going_on:
            strategy, symbol = self.address
            mine = self.account or "another broker"
            is_near = differs_by_key(account, self.account)
            new_key = "; or where it is that account with a new key, start once with adopt=True" if is_near else ""
            raise StateError(
                f"the orders of {strategy!r} on {symbol} in this store are of the account {account}, and this run "
                f"trades with {mine}; not over there: {', '.join(map(repr, going_on))}\n"
                f"go on with the broker they were sent to{new_key}; or choose another store; or, when nothing is open "
                f"there, forget them: store.delete({KIND!r}, {self.address!r})"
            )

    def put(self, *orders: Order, quiet: bool = False) -> bool:
        """Save orders in memory and, by one write, on the disk; ``False``: not there yet, so nothing may be sent."""
        for order in orders:
            mine = self.signals.setdefault(order.key, [])
            for place, known in enumerate(mine):
                if known.client_id == order.client_id:
                    mine[place] = order if known.status == order.status else self._since_now(order)
                    break
            else:
                mine.append(self._since_now(order))
            self.over.discard(order.key)
            self._unsaved = True
            self.version += 1
        return self.save(quiet=quiet)

    def _since_now(self, order: Order) -> Order:
        return order if self.clock is None else msgspec.structs.replace(order, since=self.clock())

    def save(self, *, quiet: bool = False) -> bool:
        """Write orders that are not on the disk yet; returns whether everything is on the disk."""
        if not self._unsaved:
            return True
        try:
            self._store.write(KIND, self.address, msgspec.json.encode(self._to_save()))
        except StateError as error:
            if not quiet:
                self._on_problem(
                    "state", f"the orders of {'/'.join(self.address)} wait until they can be saved: {error}"
                )
            return False
        self._unsaved = False
        return True

    def _to_save(self) -> SavedOrderList | SavedOrdersOfAccount:
        if not self.account:
            return saved_list(self.orders)
        return SavedOrdersOfAccount(
            version=4, account=self.account, orders=self.orders, past=self.past, by_hand=self.by_hand,
            forgotten=self._forgotten, known_since=self.known_since,
        )  # fmt: skip

    def discard(self, key: SignalKey) -> None:
        """Remove the orders of a signal; on the disk with the next order that changes."""
        orders = self.signals.pop(key)
        self.over.discard(key)
        self.version += 1
        if self.account and _has_left(orders):
            self.past = added(self.past, changes_of(orders, nets=self._nets))
            self.by_hand = added(self.by_hand, by_hand_of(orders, nets=self._nets))
            self._forgotten = [*self._forgotten, *(order.client_id for order in orders)][-_MOST_FORGOTTEN:]
            self.known_since = max([self.known_since, *(order.created_at for order in orders)])

    def tidy(self) -> None:
        """Remove the orders of finished signals but the last few, once what became of them is on the disk."""
        over = [key for key, orders in self.signals.items() if finished(orders)][:-MAX_FINISHED_SIGNALS]
        try:
            self._traded.append(*(each for key in over for each in traded_orders(self.signals[key])))
        except StateError as error:
            text = f"what became of the orders of {'/'.join(self.address)} is kept until it can be saved: {error}"
            self._on_problem("state", text)
            return
        for key in over:
            self.discard(key)


def _has_left(orders: list[Order]) -> bool:
    return any(order.status != "intended" for order in orders)


def _all_reported(orders: list[Order]) -> bool:
    return orders[0].reported or not any(differences(orders))
