"""Orders of bknb at a broker that were never saved here: of another process, or of a folder that was lost."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from ..domain.account_ledger import FoundOrders, filled_of_adopted, found_text, never_saved, own_purpose
from ..domain.broker_account import Fill
from ..domain.formatting import plain_number
from ..domain.text import named_error
from ..errors import StateError
from .account_book import AccountBook, LedgerMember
from .user_code_in_threads import answered


class OrdersNeverSaved:
    """Looks for such orders, and takes them over where that is asked for.

    Attributes
    ----------
    adopted
        Those taken over before there was a ledger to note them in; see
        :class:`bknb.domain.account_ledger.AccountLedger`.

    Parameters
    ----------
    book
        The account.
    """

    def __init__(self, book: AccountBook) -> None:
        self._book = book
        self.adopted: dict[str, float] = {}
        self._found: dict[str, str] = {}  # by symbol, as sentences
        self._unchecked: set[str] = set()  # symbols of which the broker has not answered yet

    async def begin(self, member: LedgerMember, *, adopt: bool) -> None:
        """Look for them at the start of a run.

        Raises
        ------
        StateError
            There are some, and they are not to be taken over.
        """
        try:
            found = await self._look(member)
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it did not answer
            self._unchecked.add(member.symbol)
            text = f"{member.broker.name} did not list its orders on {member.symbol}: {named_error(error)}"
            member.tell("broker", f"{text}; it is asked again, and nothing is opened before")
            return
        if found.ids and not adopt:
            raise StateError(found_text(found, member.symbol, member.broker.name))
        if found.ids:
            await self._adopt(member, found)

    async def look_again(self, member: LedgerMember) -> None:
        """Look once more where the broker did not answer at the start."""
        if member.symbol not in self._unchecked:
            return
        try:
            found = await self._look(member)
        except Exception:  # noqa: BLE001 -- that it does not answer was told
            return
        self._unchecked.discard(member.symbol)
        self._note(member, found)

    def in_fills(self, member: LedgerMember, fills: Iterable[Fill]) -> bool:
        """Whether trades are of such orders; then nothing more is opened on their symbol."""
        book, symbol = self._book, member.symbol
        found = never_saved([], fills, book.known_ids(symbol), book.base(symbol))
        self._note(member, found)
        return bool(found.ids)

    def problem(self, symbol: str) -> str:
        """Why nothing may be opened on a symbol, as a sentence; empty where nothing speaks against it."""
        if symbol in self._unchecked:
            return f"it is not known yet whether another process trades {symbol} with this account"
        return self._found.get(symbol, "")

    async def _look(self, member: LedgerMember) -> FoundOrders:
        book, symbol, broker = self._book, member.symbol, member.broker
        working = await answered(broker.open_orders(symbol), book.answer_seconds)
        fills = await answered(broker.fills(symbol, book.known_since(symbol)), book.answer_seconds)
        names = [str(report.client_id) for report in working]
        return never_saved(names, fills, book.known_ids(symbol), book.base(symbol))

    def _note(self, member: LedgerMember, found: FoundOrders) -> None:
        if found.ids and member.symbol not in self._found:
            text = found_text(found, member.symbol, member.broker.name)
            self._found[member.symbol] = text.partition("\n")[0]
            member.tell("broker", f"{text}\nnothing new is opened")

    async def _adopt(self, member: LedgerMember, found: FoundOrders) -> None:
        """Count what they have changed to the baseline, and cancel those that would open something."""
        orders, ledger = {**dict.fromkeys(found.working, 0.0), **found.filled}, self._book.ledger
        if ledger is None:
            self.adopted |= orders
        else:
            self._book.write(replace(ledger, adopted={**ledger.adopted, **orders}, adopting=True))
        at = f"on {member.symbol} was taken over"
        for name in found.working:
            text = f"the order {name} {at}, and stays at {member.broker.name}: it ends what counts as yours now"
            if own_purpose(name) in ("open", "add"):
                text = f"the order {name} {at}, and is cancelled"
                try:
                    await answered(member.broker.cancel(name, member.symbol), self._book.answer_seconds)
                except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it may work on
                    text = f"the order {name} {at}, and may work on ({named_error(error)}): cancel it by hand"
            member.tell("manual", text)
        for name, quantity in found.filled.items():
            what = f"{'bought' if quantity > 0 else 'sold'} {plain_number(abs(quantity))}"
            member.tell("manual", f"the order {name} {at}: what it {what} counts as yours from now on")

    def count_adopted(self, fills: Iterable[Fill], symbol: str) -> bool:
        """Count what orders that were taken over have filled since to the baseline; whether there was something."""
        book, ledger = self._book, self._book.ledger
        if ledger is None or not ledger.adopted:
            return False
        new, shift = filled_of_adopted(ledger, fills, symbol, nets=book.nets)
        if shift:
            book.write(new)
        return bool(shift)
