"""What an exchange does when it is asked: orders placed, cancelled, replaced, linked, and found again.

No input or output, no clock: the faces of :mod:`bknb.testing.exchange` translate requests to these calls, and what
comes of them to answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from .book import Book
from .filters import check_rules
from .matching import trigger, work
from .orders import ZERO, Kind, Order, RefusedError, Side

MAX_OPEN: Final = 200  # orders of a symbol at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An order as a client asks for it; the fields are those of :class:`~bknb.testing.exchange.orders.Order`."""

    symbol: str
    side: Side
    kind: Kind
    quantity: Decimal
    client_id: str = ""
    price: Decimal | None = None
    trigger: Decimal | None = None
    falls: bool | None = None
    word: str = ""
    time_in_force: str = "GTC"
    maker_only: bool = False
    reduce_only: bool = False
    extra: tuple[tuple[str, str], ...] = ()


class Ledger:
    """An exchange without its network.

    Parameters
    ----------
    book
        Markets, cash, positions and orders.

    Examples
    --------
    >>> from bknb.testing.exchange.book import Book, Habits
    >>> from bknb.testing.exchange.faults import Faults
    >>> from bknb.testing.exchange.markets import Market
    >>> from bknb.testing.exchange.matching import to_price
    >>> cash = {"USDT": Decimal(1000)}
    >>> book = Book([Market(base="BTC")], cash, habits=Habits(), faults=Faults(), now=lambda: 0)
    >>> to_price(book, "BTCUSDT", Decimal(100))
    >>> ledger = Ledger(book)
    >>> order = ledger.place(Wish(symbol="BTCUSDT", side="buy", kind="market", quantity=Decimal(2), client_id="a"))
    >>> order.status, book.funds.free["BTC"]
    ('filled', Decimal('1.99800000'))
    """

    def __init__(self, book: Book) -> None:
        self.book = book

    # --- placing ------------------------------------------------------------------------------------------------

    def place(self, wish: Wish) -> Order:
        """Take an order in, and fill it as far as the market lets it.

        Raises
        ------
        RefusedError
            When nothing has happened.
        """
        order = self._accepted(wish)
        self.book.reserve(order)
        return self._enter(order)

    def check(self, wish: Wish) -> None:
        """Refuse what :meth:`place` would refuse, and do nothing."""
        order = self._accepted(wish)
        self.book.reserve(order)
        self.book.release(order)

    def pair(self, wishes: tuple[Wish, Wish]) -> tuple[int, list[Order]]:
        """Link two orders, of which one is carried out: the first one holds what both need.

        Raises
        ------
        RefusedError
            When nothing has happened.
        """
        orders = [self._accepted(wish) for wish in wishes]
        if orders[0].client_id == orders[1].client_id and orders[0].client_id:
            raise RefusedError("duplicate")
        low, high = sorted(order.level or ZERO for order in orders)
        alike = len({(order.symbol, order.side, order.quantity) for order in orders}) == 1
        if not (alike and 0 < low < self.book.last(orders[0].symbol) < high):
            raise RefusedError("pair_prices")
        number = self.book.next_number()
        dearest = max(orders, key=lambda order: self.book.worth(order, order.price or order.trigger or ZERO))
        self.book.reserve(dearest)
        for order in orders:
            order.pair = number
        return number, [self._enter(order) for order in orders]

    def _accepted(self, wish: Wish) -> Order:
        book = self.book
        market = book.market(wish.symbol)
        last = book.last(wish.symbol)
        number = book.next_number()
        order = Order(
            number=number,
            client_id=wish.client_id or f"auto{number}",
            symbol=wish.symbol,
            side=wish.side,
            kind=wish.kind,
            quantity=wish.quantity,
            price=wish.price,
            trigger=wish.trigger,
            falls=wish.side == "sell" if wish.falls is None else wish.falls,
            word=wish.word,
            time_in_force=wish.time_in_force,
            maker_only=wish.maker_only,
            reduce_only=wish.reduce_only,
            status="working" if wish.trigger is None else "waiting",
            created=book.now(),
            updated=book.now(),
            extra=dict(wish.extra),
        )
        check_rules(order, market, last)
        working = book.open_orders(wish.symbol)
        if wish.trigger is not None:
            if sum(each.trigger is not None for each in working) >= market.stops:
                raise RefusedError("too_many_stops")
            if last and order.reached(last, through=False):
                raise RefusedError("would_trigger")
        elif wish.kind == "market" and not last:
            raise RefusedError("no_price")
        if len(working) >= MAX_OPEN:
            raise RefusedError("too_many_orders")
        self._check_id(order)
        if market.swap:
            self._check_reducing(order, working)
        if order.maker_only and order.kind == "limit" and last and order.reached(last, through=False):
            raise RefusedError("would_match")
        return order

    def _check_id(self, order: Order) -> None:
        twice = any(each.client_id == order.client_id for each in self.book.open_orders())
        if twice and self.book.faults.take(["id_free_again"], symbol=order.symbol) is None:
            raise RefusedError("duplicate")

    def _check_reducing(self, order: Order, working: list[Order]) -> None:
        """A reduce-only order that works at once needs something to reduce that others have not taken yet."""
        if not order.reduce_only or order.trigger is not None:
            return
        size = Decimal(self.book.market(order.symbol).contract)
        held = self.book.position(order.symbol).reducible(order.side) / size
        if not held:
            raise RefusedError("reduce_only")
        others = [each for each in working if each.reduce_only and each.side == order.side and each.trigger is None]
        if others and sum((each.rest for each in others), ZERO) + order.quantity > held:
            raise RefusedError("reduce_only_blocked")

    def _enter(self, order: Order) -> Order:
        book = self.book
        fault = book.faults.take(["not_found"], symbol=order.symbol, client_id=order.client_id)
        if fault is not None:
            order.hidden_until = book.now() + int(fault.seconds * 1000)
        book.enter(order)
        book.tell("order", {"order": order})
        if order.status == "working":
            try:
                work(book, order)
            except RefusedError:
                book.end(order, "rejected")
                del book.orders[order.number]
                raise
        return order

    def amend(self, order: Order, *, trigger: Decimal | None, quantity: Decimal | None) -> None:
        """Change a conditional order where it waits.

        Raises
        ------
        RefusedError
            When it does not wait any more, or the new one would be refused.
        """
        if order.status != "waiting":
            raise RefusedError("not_open")
        changed = replace(order, trigger=trigger or order.trigger, quantity=quantity or order.quantity)
        last = self.book.last(order.symbol)
        check_rules(changed, self.book.market(order.symbol), last)
        if changed.reached(last, through=False):
            raise RefusedError("would_trigger")
        self.book.release(order)
        order.trigger, order.quantity, order.updated = changed.trigger, changed.quantity, self.book.now()
        self.book.reserve(order)
        self.book.tell("order", {"order": order})

    # --- ending -------------------------------------------------------------------------------------------------

    def cancel(self, order: Order, *, only_new: bool = False) -> Order:
        """Cancel what is unfilled of an order, and of the one it is paired with.

        Parameters
        ----------
        order
            Which works.
        only_new
            Whether one of which something was filled, told already or not, stays as it is.

        Raises
        ------
        RefusedError
            When it does not work any more, or is to stay.
        """
        fault = self.book.faults.take(["fill_during_cancel"], symbol=order.symbol, client_id=order.client_id)
        if fault is not None and order.is_open:
            self.fill_by_hand(order, order.rest * Decimal(fault.share))
        if only_new and order.is_open:
            self._must_be_new(order)
        if not order.is_open:
            raise RefusedError("not_open")
        linked = [order] if order.pair is None else self.linked(order.pair)
        for each in linked:
            if each.is_open:
                self.book.end(each, "cancelled")
        late = self.book.faults.take(["fill_after_cancel"], symbol=order.symbol, client_id=order.client_id)
        if late is not None:
            self._fill_cancelled(order, Decimal(late.share))
        return order

    def _must_be_new(self, order: Order) -> None:
        late = self.book.faults.take(["fill_after_cancel"], symbol=order.symbol, client_id=order.client_id)
        if late is not None:  # whoever matches orders knows of it
            self.fill_by_hand(order, order.rest * Decimal(late.share))
        if order.filled:
            raise RefusedError("not_new")

    def _fill_cancelled(self, order: Order, share: Decimal) -> None:
        """It was filled before the cancel came, and that is told only now."""
        order.status = "working"
        self.book.enter(order)
        self.book.reserve(order)
        self.fill_by_hand(order, order.rest * share)
        if order.is_open:
            self.book.end(order, "cancelled")

    def by_hand(self, symbol: str, side: str, quantity: Decimal, price: Decimal | None) -> Wish:
        """An order, at the market where it has no price, as a user sends it from the exchange's own page."""
        if side not in ("buy", "sell"):
            raise RefusedError("side")
        number = self.book.next_number()
        return Wish(
            symbol=symbol,
            side="buy" if side == "buy" else "sell",
            kind="market" if price is None else "limit",
            quantity=quantity,
            price=price,
            client_id=f"web_{number}",
            word="MARKET" if price is None else "LIMIT",
        )

    def fill_by_hand(self, order: Order, quantity: Decimal, price: Decimal | None = None) -> None:
        """Fill a part of an order, wherever the market is."""
        market = self.book.market(order.symbol)
        if order.status == "waiting":
            trigger(self.book, order)
        elif order.is_open and (part := market.down_to_step(min(quantity, order.rest))):
            at = price or order.price or self.book.last(order.symbol)
            self.book.fill(order, part, at, maker=order.kind == "limit")

    # --- finding ------------------------------------------------------------------------------------------------

    def find(self, symbol: str, *, number: int | None = None, client_id: str = "", stop: bool | None = None) -> Order:
        """The order of that number or client id; of several with an id the newest.

        Parameters
        ----------
        symbol
            Its symbol; empty: whatever it is.
        stop
            Whether it has to be conditional, where these are kept apart.

        Raises
        ------
        RefusedError
            When nobody knows it, any more or yet.
        """
        if symbol:
            self.book.market(symbol)
        for order in reversed(self.book.orders.values()):
            same = order.number == number if number is not None else order.client_id == client_id
            fits = symbol in ("", order.symbol) and stop in (None, order.trigger is not None)
            if same and fits and self.is_known(order):
                return order
        raise RefusedError("no_order")

    def is_known(self, order: Order) -> bool:
        """Whether the exchange says anything about an order."""
        now, forgets = self.book.now(), self.book.habits.forgets_cancelled_ms
        if now < order.hidden_until:
            return False
        ended_empty = order.status in ("cancelled", "expired", "rejected") and not order.filled
        return not (ended_empty and forgets is not None and now - order.updated > forgets)

    def linked(self, pair: int) -> list[Order]:
        """The orders of a pair."""
        return [order for order in self.book.orders.values() if order.pair == pair]

    def known(self, symbol: str = "", *, stop: bool | None = None, is_open: bool | None = None) -> list[Order]:
        """Orders the exchange tells about, oldest first."""
        return [
            order
            for order in self.book.orders.values()
            if symbol in ("", order.symbol)
            and stop in (None, order.trigger is not None)
            and is_open in (None, order.is_open)
            and self.is_known(order)
        ]

    # --- what a test looks at -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Cash, positions, orders and fills, as JSON can hold them."""
        book = self.book
        return {
            "now": book.now(),
            "balances": {
                name: {"free": str(book.funds.free[name]), "locked": str(book.funds.locked[name])}
                for name in book.funds.currencies()
            },
            "fees": {name: str(amount) for name, amount in book.funds.fees.items()},
            "positions": {
                symbol: {"quantity": str(held.quantity), "entry": str(held.entry), "leverage": held.leverage}
                for symbol, held in book.positions.items()
                if held.quantity
            },
            "orders": [told_order(order) for order in book.orders.values()],
            "prices": {symbol: str(price) for symbol, price in book.prices.items()},
        }


def told_order(order: Order) -> dict[str, Any]:
    """An order as the journal and the control endpoint tell it."""
    return {
        "number": order.number,
        "client_id": order.client_id,
        "symbol": order.symbol,
        "side": order.side,
        "kind": order.kind,
        "word": order.word,
        "quantity": str(order.quantity),
        "price": None if order.price is None else str(order.price),
        "trigger": None if order.trigger is None else str(order.trigger),
        "reduce_only": order.reduce_only,
        "status": order.status,
        "filled": str(order.filled),
        "average": str(order.average),
        "created": order.created,
        "updated": order.updated,
        "pair": order.pair,
        "child": order.child,
        "parent": order.parent,
    }
