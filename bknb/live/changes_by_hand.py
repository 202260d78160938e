"""What an account has beside what its ledger says: found once a minute, told, and taken from the positions first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from ..domain.account_ledger import added, exactness, shares_taken, signed_position, taken
from ..domain.broker_account import Fill
from ..domain.broker_orders_and_ids import Order
from ..domain.formatting import plain_number
from ..domain.quantity_step_and_least_amount import EXACT
from ..domain.trades_of_others import filled_by, how_it_went, paid_by, trades_behind
from .account_book import AccountBook, LedgerMember
from .orders_never_saved import OrdersNeverSaved
from .saved_orders import SavedOrders
from .user_code_in_threads import answered


class _Difference(NamedTuple):
    """What differed at the last look, what was expected then, and since when (UTC ms) it is so."""

    difference: float
    expected: float
    since: int


class ChangesByHand:
    """Compares an account with its ledger.

    A difference counts when it is there twice in a row with nothing on its way, and no fill explains it.

    Parameters
    ----------
    book
        The account.
    never_saved
        Looks for orders of others.
    """

    def __init__(self, book: AccountBook, never_saved: OrdersNeverSaved) -> None:
        self._book, self._never_saved = book, never_saved
        self._texts: list[tuple[LedgerMember, str]] = []  # what is to be told, together
        self._paid: dict[str, float] = {}  # by trades that were told: what it changes is not told again
        self._pending: dict[str, _Difference] = {}

    async def look(self, member: LedgerMember) -> None:
        """Compare; ``member`` is the run that asks.

        Raises
        ------
        StateError
            What was found could not be saved; it is found again.
        """
        book = self._book
        found = await book.totals_between_fills(member)
        if found is None:
            return
        for name in book.names():
            await self._compare(name, found[0].get(name, 0.0), book.expected().get(name, 0.0))
        self._tell()
        ledger = book.ledger
        if ledger is not None and ledger.adopting and not self._pending:
            book.write(replace(ledger, adopting=False))

    async def missing(self, name: str, total: float, order: Order) -> None:
        """Take what is missing from the positions before an order ends one: at the second look, with the stops asked.

        Parameters
        ----------
        name, total
            What is traded, and how much of it the account has, as it said just now.
        order
            What is to leave.
        """
        book, exact = self._book, exactness(self._book.orders)
        expected = book.expected().get(name, 0.0)
        difference = total - expected
        is_missing = difference < -exact if order.side == "sell" else difference > exact
        if not is_missing or book.unsettled(but=order.client_id):
            return
        if self._since_when(name, difference, expected, exact) is None:
            self._ask({each.client_id for each in book.orders if each.trigger is not None and each.working})
        elif not any(member.unanswered() for member in book.members.values()):
            await self._take_unless_known(name, difference, expected, exact, but=order.client_id)
            self._tell()

    def _since_when(self, name: str, difference: float, expected: float, exact: float) -> int | None:
        """Since when (UTC ms) it differs so, with as much expected; ``None``: at the last look it did not."""
        before, book = self._pending.get(name), self._book
        is_same = before is not None and abs(before.difference - difference) <= exact >= abs(before.expected - expected)
        since = before.since if before is not None and is_same else book.now
        self._pending[name] = _Difference(difference, expected, since)
        return since if is_same else None

    async def _take_unless_known(
        self, name: str, difference: float, expected: float, exact: float, *, but: str = ""
    ) -> None:
        """Note a difference, unless an order has made it, or one was settled while the broker was asked."""
        book = self._book
        of_others = await self._trades_of_others()
        if of_others is None:
            return
        if book.unsettled(but=but) or abs(book.expected().get(name, 0.0) - expected) > exact:
            return
        self._pending.pop(name, None)
        self._take(name, difference, of_others)

    def _ask(self, client_ids: set[str]) -> None:
        for member in list(self._book.members.values()):
            member.ask(client_ids & set(member.saved.known_ids))

    async def _compare(self, name: str, total: float, expected: float) -> None:
        difference, exact = total - expected, exactness(self._book.orders)
        if abs(difference) <= exact or self._book.unsettled():
            self._pending.pop(name, None)
            return
        since = self._since_when(name, difference, expected, exact)
        if since is not None and since < self._book.now:
            await self._take_unless_known(name, difference, expected, exact)

    async def _trades_of_others(self) -> list[Fill] | None:
        """The trades that no order of bknb has made; ``None``: one, known here or not, may have made a difference."""
        book, found = self._book, list[Fill]()
        for member in book.a_member_for_each_symbol():
            symbol = member.symbol
            try:
                fills = await answered(member.broker.fills(symbol, book.known_since(symbol)), book.answer_seconds)
            except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it did not answer
                book.tell_silent(member, error)
                return None
            if more := self._filled_more(symbol, fills):
                self._ask(more)
                return None
            if self._never_saved.in_fills(member, fills):
                return None
            if self._never_saved.count_adopted(fills, symbol):
                return None
            known = book.known_ids(symbol)
            found += [fill for fill in fills if fill.client_id not in known]
        return found

    def _filled_more(self, symbol: str, fills: Iterable[Fill]) -> set[str]:
        """Client ids of the orders here that have filled more, by the fills, than is known."""
        known = {order.client_id: order.filled_quantity for of in self._book.lists_of(symbol) for order in of.orders}
        by_fills = {name: abs(quantity) for name, quantity in filled_by(fills).items() if name in known}
        return {name for name, quantity in by_fills.items() if quantity > known[name] * (1 + EXACT) + EXACT**2}

    def _take(self, name: str, difference: float, of_others: Iterable[Fill]) -> None:
        """Note a difference: what is missing is taken from the positions, the rest has come or gone by hand."""
        book, exact = self._book, exactness(self._book.orders)
        held = [(saved, orders, signed_position(orders)) for saved, orders in book.signals(name)]
        against = [each for each in held if each[2] * difference < 0.0]
        parts = shares_taken(abs(difference), [abs(position) for _, _, position in against])
        symbol = against[0][1][0].symbol if against else ""
        fills = [fill for fill in of_others if fill.symbol == symbol]
        trades, left = trades_behind(fills, difference, exact, book.base(symbol)), difference
        how, money = how_it_went(trades), paid_by(trades)
        self._paid = added(self._paid, money)
        for (saved, orders, _), part in zip(against, parts, strict=True):
            if part <= 0.0:
                continue
            if not saved.put(taken(orders, part, book.now, trades)):
                return  # not saved; what is left of it is found again
            left += part if difference < 0.0 else -part
            told = -part / abs(difference)  # as a part of all; it is in the order
            self._paid = added(self._paid, {currency: paid * told for currency, paid in money.items()})
            entry, rest = orders[0], plain_number(abs(signed_position(orders)))
            text = f"{plain_number(part)} {entry.symbol} of {entry.signal_id!r} were {how}"
            for member in self._told_of(saved):
                self._texts.append((member, f"{text}; {rest} of it are held now, and no more is sold"))
                member.changed()
        if abs(left) > abs(difference) * EXACT + EXACT:
            self._note(name, left)

    def _told_of(self, saved: SavedOrders) -> list[LedgerMember]:
        members = self._book.members
        return [members[saved.address]] if saved.address in members else self._book.who_is_told("")

    def _note(self, name: str, difference: float) -> None:
        book, ledger = self._book, self._book.ledger
        if ledger is None:
            return
        if ledger.adopting:
            book.write(replace(ledger, baseline=added(ledger.baseline, {name: difference})))
            return
        book.write(replace(ledger, manual=added(ledger.manual, {name: difference})))
        if abs(difference - self._paid.pop(name, 0.0)) <= exactness(book.orders):
            return
        what = "came into" if difference > 0.0 else "left"
        text = f"{plain_number(abs(difference))} {name} {what} the account by hand: no order here has moved them"
        self._texts += [(member, text) for member in book.who_is_told(name)]

    def _tell(self) -> None:
        """Tell what one look has found, each run by one sentence."""
        texts, self._texts = self._texts, []
        for member in dict.fromkeys(member for member, _ in texts):
            member.tell("manual", "; ".join(text for of, text in texts if of is member))
