"""The ledger of one account at a broker, for all runs of a store: what was there, whose it is, and what came by hand.

It is asked once a minute, beside the orders, for what the account has; see :mod:`bknb.domain.account_ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ..domain.account_ledger import AccountLedger, added, held_in, opposite
from ..domain.broker_orders_and_ids import Order, net_filled, order_text
from ..domain.formatting import plain_number
from ..domain.quantity_of_partial_closes import free_to_close
from ..domain.quantity_step_and_least_amount import rounded_down
from ..domain.text import named_error
from ..errors import BrokerError, StateError
from ..ports import StateStore
from .account_book import AccountBook, LedgerMember
from .changes_by_hand import ChangesByHand
from .orders_never_saved import OrdersNeverSaved
from .saved_orders import SavedOrders

NOTHING_LEFT: Final = "nothing of it is in the account any more"


class LedgerOfAccount:
    """The ledger of one account, shared by all runs of a store that trade with it.

    Parameters
    ----------
    store
        Where it is saved; acquired by the runs.
    account, nets
        See :class:`bknb.domain.broker_account.Abilities`.
    answer_seconds
        How long an answer of the broker may take.
    """

    def __init__(self, store: StateStore, account: str, *, nets: bool, answer_seconds: float = 30.0) -> None:
        self._book = AccountBook(store, account, nets=nets, answer_seconds=answer_seconds)
        self._never_saved = OrdersNeverSaved(self._book)
        self._by_hand = ChangesByHand(self._book, self._never_saved)
        self._is_due, self._due_at = False, 0  # the end of the last minute that was told of, UTC ms
        self._tight: set[str] = set()  # of which the broker had less than was to be sold

    async def begin(self, member: LedgerMember, *, when: int, adopt: bool) -> None:
        """A run begins, its orders are loaded: note what is there the first time, and look for orders of others.

        Parameters
        ----------
        member
            The run.
        when
            Now, UTC ms.
        adopt
            Whether orders of bknb that were never saved here are taken over.

        Raises
        ------
        StateError
            There are such orders, and they are not to be taken over; or the ledger cannot be read or written.
        """
        self._book.now = max(self._book.now, when)
        self._book.join(member)
        try:
            await self._never_saved.begin(member, adopt=adopt)
            await self._note_baseline(member)
        except StateError:
            self._book.leave(member.saved)
            raise

    def end(self, saved: SavedOrders) -> None:
        """A run has ended; its orders stay."""
        self._book.leave(saved)

    async def _note_baseline(self, member: LedgerMember) -> None:
        """Note what is there at first, less what orders have changed; later where some are on their way."""
        book = self._book
        if book.ledger is not None or book.unsettled():
            return
        found = await book.totals(member)
        if found is None or book.ledger is not None:
            return
        minus = {name: -amount for name, amount in book.changes().items()}
        adopted = self._never_saved.adopted
        book.write(AccountLedger(since=book.now, baseline=added(found[0], minus), adopted=adopted))

    # --- once a minute ------------------------------------------------------------------------------------------

    def is_due(self, when: int) -> None:
        """Have the account looked at, once for all runs: a minute has passed; ``when`` is its end, UTC ms."""
        if when > self._due_at:
            self._is_due, self._due_at = True, when
        self._book.now = max(self._book.now, when)

    async def look(self, address: tuple[str, str]) -> None:
        """Compare the account with the orders, once a minute, whichever run asks; ``address`` is of the one that does.

        Nothing it finds is raised, and no trouble.
        """
        member = self._book.members.get(address)
        if member is None:
            return
        try:
            await self._never_saved.look_again(member)
            if self._is_due:
                self._is_due = False
                await self._note_baseline(member)
                if self._book.ledger is not None:
                    await self._by_hand.look(member)
        except StateError as error:
            member.tell("state", f"the ledger of {member.broker.name} waits until it can be saved: {error}")
        except Exception as error:  # noqa: BLE001 -- whatever an answer looks like, orders are carried out
            text = f"what {member.broker.name} says of its account cannot be compared: {named_error(error)}"
            member.tell("broker", text)

    # --- before an order leaves ---------------------------------------------------------------------------------

    async def allowed(self, order: Order, address: tuple[str, str]) -> Order:
        """An order as far as the account allows it: less where less is there that is ours, or none of it.

        Parameters
        ----------
        order
            Not sent yet.
        address
            Strategy and symbol of its run.

        Raises
        ------
        BrokerError
            ``refused=True``: it is not to be sent, with ``later=True`` not yet.
        StateError
            What is missing could not be saved: nothing is sold before.
        """
        book, name = self._book, held_in(order, nets=self._book.nets)
        if not order.reduces_only:
            self._must_be_on_one_side(order)
            return order
        member = book.members[address]
        others = _of_signal_but(order, member.saved)
        looks = name in self._tight or _was_cancelled_there(others)
        rests = order.purpose == "protect" or order.trigger is not None
        if not (looks or (not rests and self._beside(order, others) > _least(order))):
            return order
        found = await book.totals_between_fills(member)
        if found is None:  # what closes does not wait for what is only more careful
            return order
        self._tight.discard(name)
        total, free = (each.get(name, 0.0) for each in found)
        await self._by_hand.missing(name, total, order)
        others = _of_signal_but(order, member.saved)
        there = (total if order.side == "sell" else -total) - self._beside(order, others)
        if book.nets:
            return self._as_far_as(order, net_filled(others), there)
        old = next((each for each in others if each.client_id == order.replaces), None)
        if old is not None:  # what it holds is free then
            free += old.quantity - old.filled_quantity
            others = [replace(each, status="cancelled") if each is old else each for each in others]
        return self._as_far_as(order, free_to_close(others), min(there, free))

    def _beside(self, order: Order, others: Sequence[Order]) -> float:
        """How much an account has on the side of what an order ends that is not of its signal; ``others`` are."""
        book, name = self._book, held_in(order, nets=self._book.nets)
        there = book.expected().get(name, 0.0)
        return (there if order.side == "sell" else -there) - max(net_filled(others), 0.0)

    def _must_be_on_one_side(self, order: Order) -> None:
        book = self._book
        if book.ledger is None:
            why = f": {book.silent}" if book.silent else ""
            raise BrokerError(f"{order_text(order)}: what the account has is not known yet{why}", refused=True)
        if book.nets:
            others = [orders for _, orders in book.signals(order.symbol) if orders[0].key != order.key]
            why = opposite(order, others, book.ledger.baseline.get(order.symbol, 0.0))
            if why:
                raise BrokerError(f"{order_text(order)}: {why}", refused=True)

    def _as_far_as(self, order: Order, held: float, there: float) -> Order:
        """An order for no more than its signal has held, and than is there; both in base currency."""
        if rounded_down(max(held, 0.0), order.step) <= 0.0:
            return replace(order, quantity=0.0, status="cancelled", note=NOTHING_LEFT)
        quantity = rounded_down(max(min(order.quantity, held, there), 0.0), order.step)
        if quantity >= min(order.quantity, held) - order.step:
            return replace(order, quantity=quantity)
        name = held_in(order, nets=self._book.nets)
        self._tight.add(name)
        if quantity <= 0.0 or quantity < order.least:
            text = f"it is to {order.side} {plain_number(order.quantity)} {name}, and {plain_number(there)} are there"
            raise BrokerError(f"{order_text(order)}: {text}", refused=True, later=True)
        return replace(order, quantity=quantity)

    def was_refused(self, order: Order) -> None:
        """An order that closes was refused: look at what is there before the next one."""
        if order.reduces_only:
            self._tight.add(held_in(order, nets=self._book.nets))
            self._is_due = True

    # --- what is told -------------------------------------------------------------------------------------------

    def problem(self, symbol: str) -> str:
        """Why nothing may be opened on a symbol, as a sentence; empty where nothing speaks against it."""
        if why := self._never_saved.problem(symbol):
            return why
        if self._book.ledger is None:
            return self._book.silent or "what the account has is noted once its orders are settled"
        return ""

    def adopted(self) -> Collection[str]:
        """Client ids of the orders that were never saved here, and that were taken over."""
        return {} if self._book.ledger is None else self._book.ledger.adopted

    @property
    def manual(self) -> Mapping[str, float]:
        """What has come into the account by hand since its baseline, by currency or symbol; below 0: it has gone."""
        ledger = self._book.ledger
        return added({} if ledger is None else ledger.manual, *(saved.taken_by_hand() for saved in self._book.lists))

    @property
    def baseline(self) -> Mapping[str, float]:
        """What was in the account before the first order, by currency or symbol."""
        return {} if self._book.ledger is None else self._book.ledger.baseline


def _of_signal_but(order: Order, saved: SavedOrders) -> list[Order]:
    """The other orders of its signal."""
    return [each for each in saved.signals[order.key] if each.client_id != order.client_id]


def _least(order: Order) -> float:
    return max(order.least, order.quantity * 1e-3)


def _was_cancelled_there(orders: Sequence[Order]) -> bool:
    """Whether the last stop of a position was ended by nobody here: what it held may have been sold by hand."""
    stops = [order for order in orders if order.purpose == "protect"]
    return bool(stops) and stops[-1].status in ("cancelled", "rejected") and stops[-1].ended_at is None
