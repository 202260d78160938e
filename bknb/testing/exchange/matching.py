"""The matching engine: what a price, or the way of a candle, does to the orders of a book."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from .book import Book
from .faults import Fault
from .orders import ZERO, Order, RefusedError, Status
from .positions import Position

_STEPS: Final = 10_000  # of one move; more are a fault of ours


def to_price(book: Book, symbol: str, price: Decimal) -> None:
    """The market jumps: stops fill at the new price, limits at their own."""
    book.prices[symbol] = price
    for _ in range(_STEPS):
        position = _liquidated(book, symbol, price)
        if position is not None:
            liquidate(book, position, position.liquidation(Decimal(book.market(symbol).maintenance)))
            continue
        order = next((each for each in book.open_orders(symbol) if _reached(book, each, price)), None)
        if order is None:
            return
        _carry_out(book, order, price)
    raise AssertionError(f"orders of {symbol} at {price} never end")


def along(book: Book, symbol: str, price: Decimal) -> None:
    """The market trades through every price on its way: each order meets its level, the nearest first."""
    last = book.last(symbol) or price
    to_price(book, symbol, last)
    for _ in range(_STEPS):
        last = book.last(symbol)
        level = _next_level(book, symbol, last, price)
        if level is None:
            book.prices[symbol] = price
            to_price(book, symbol, price)
            return
        book.prices[symbol] = level
        position = _liquidated(book, symbol, level)
        if position is not None:
            liquidate(book, position, level)
        for order in book.open_orders(symbol):
            if order.is_open and order.level == level and _reached(book, order, price):
                _carry_out(book, order, level)
    raise AssertionError(f"orders of {symbol} on the way to {price} never end")


def candle(book: Book, symbol: str, prices: tuple[Decimal, Decimal, Decimal, Decimal]) -> None:
    """A candle's open is a jump; from there the nearer extreme comes first, then the other one, then the close."""
    open_, high, low, close = prices
    to_price(book, symbol, open_)
    way = [low, high, close] if open_ - low < high - open_ else [high, low, close]
    for price in way:
        along(book, symbol, price)


def at_market(book: Book, order: Order, *, maker: bool = False) -> None:
    """Fill an order at once, as far as the market lets it; what is left expires, or works.

    Raises
    ------
    RefusedError
        When the account cannot pay for it.
    """
    fault = book.faults.take(["partial", "slippage"], symbol=order.symbol, client_id=order.client_id)
    price = book.last(order.symbol)
    if fault is not None and fault.name == "slippage":
        worse = 1 + (Decimal(fault.percent) if order.side == "buy" else -Decimal(fault.percent)) / 100
        price *= worse
    _take(book, order, price, fault, maker=maker)


def _take(book: Book, order: Order, price: Decimal, fault: Fault | None, *, maker: bool) -> None:
    quantity = order.rest
    if fault is not None and fault.name in ("partial", "child_partial"):
        quantity = book.market(order.symbol).down_to_step(order.rest * Decimal(fault.share))
    book.fill(order, quantity, price, maker=maker)
    if order.is_open and not (fault is not None and fault.works):
        book.end(order, "expired")


def _reached(book: Book, order: Order, price: Decimal) -> bool:
    return order.is_open and order.reached(price, through=book.habits.through)


def _liquidated(book: Book, symbol: str, price: Decimal) -> Position | None:
    position = book.positions.get(symbol)
    if position is None or not position.quantity:
        return None
    level = position.liquidation(Decimal(book.market(symbol).maintenance))
    return position if (price <= level if position.quantity > 0 else price >= level) else None


def _next_level(book: Book, symbol: str, last: Decimal, to: Decimal) -> Decimal | None:
    levels = [order.level for order in book.open_orders(symbol) if _reached(book, order, to)]
    known = [level for level in levels if level is not None]
    position = _liquidated(book, symbol, to)
    if position is not None:
        known.append(position.liquidation(Decimal(book.market(symbol).maintenance)))
    if to >= last:
        return min((level for level in known if last <= level <= to), default=None)
    return max((level for level in known if to <= level <= last), default=None)


def _carry_out(book: Book, order: Order, price: Decimal) -> None:
    if order.status == "waiting":
        trigger(book, order)
    else:
        _others_of_pair(book, order)
        try:
            filled = book.fill(order, order.rest, order.price or price, maker=order.price is not None)
        except RefusedError:
            filled = None
        if filled is None or order.is_open:
            book.end(order, "expired")


def trigger(book: Book, order: Order) -> None:
    """A conditional order begins to work: as it is, or as another one."""
    _others_of_pair(book, order)
    names = ["child_rejected", "child_cancelled", "child_partial", "child_missing"]
    fault = book.faults.take(names, on="trigger", symbol=order.symbol, client_id=order.client_id)
    if not book.habits.children:
        order.status = "working"
        _begin(book, order, fault, "expired")
        return
    child = _child(book, order)
    book.release(order)
    order.status, order.updated, order.child = "triggered", book.now(), child.number
    book.tell("order", {"order": order})
    if fault is not None and fault.name == "child_missing":
        child.hidden_until = book.now() + int(fault.seconds * 1000)
    _begin(book, child, fault, "rejected")
    if child.status == "rejected":
        order.status = "rejected"
    book.tell("order", {"order": order})


def _begin(book: Book, order: Order, fault: Fault | None, refused: Status) -> None:
    """Have a triggered order work; one that is refused ends so."""
    name = "" if fault is None else fault.name
    if name in ("child_rejected", "child_cancelled"):
        book.end(order, "rejected" if name == "child_rejected" else "cancelled")
        return
    try:
        if order.parent is not None:
            book.reserve(order)
        work(book, order, fault)
    except RefusedError:
        book.end(order, refused)


def _child(book: Book, order: Order) -> Order:
    child = Order(
        number=book.next_number(),
        client_id=order.extra.get("child_id", ""),
        symbol=order.symbol,
        side=order.side,
        kind=order.kind,
        quantity=order.quantity,
        price=order.price,
        word=order.kind.upper(),
        reduce_only=order.reduce_only,
        created=book.now(),
        updated=book.now(),
        parent=order.number,
    )
    book.enter(child)
    return child


def work(book: Book, order: Order, fault: Fault | None = None) -> None:
    """Have an order meet the market: what it can get now, at the last price; a limit rests with what is left.

    Raises
    ------
    RefusedError
        When it can reduce nothing, would trade although it must not, or cannot be paid for.
    """
    last = book.last(order.symbol)
    market = book.market(order.symbol)
    if order.reduce_only and not book.position(order.symbol).reducible(order.side):
        raise RefusedError("reduce_only")
    if order.kind == "market":
        if not last:
            raise RefusedError("no_price")
        if fault is not None:
            _take(book, order, last, fault, maker=False)
        else:
            at_market(book, order)
    elif _reached(book, order, last) and last:
        if order.maker_only:
            raise RefusedError("would_match")
        quantity = order.rest
        partial = book.faults.take(["partial"], symbol=order.symbol, client_id=order.client_id)
        if partial is not None:
            quantity = market.down_to_step(order.rest * Decimal(partial.share))
        book.fill(order, quantity, last, maker=False)
    if order.is_open and order.kind == "limit" and order.time_in_force in ("IOC", "FOK"):
        book.end(order, "expired")


def _others_of_pair(book: Book, order: Order) -> None:
    """One order of a pair goes on, with what the pair holds; the others end."""
    if order.pair is None:
        return
    others = [each for each in book.open_orders(order.symbol) if each.pair == order.pair and each is not order]
    for other in others:
        if other.locked and not order.locked:
            order.locked, order.locked_currency, other.locked = other.locked, other.locked_currency, ZERO
        if book.faults.take(["pair_not_linked"], symbol=order.symbol) is None:
            book.end(other, "expired")


def liquidate(book: Book, position: Position, price: Decimal, *, prefix: str = "autoclose-") -> None:
    """The exchange closes a position: at this price, by an order with an id of its own.

    Parameters
    ----------
    prefix
        How its id begins: ``"autoclose-"`` (liquidated), ``"adl_autoclose"``, ``"settlement_autoclose-"``.
    """
    market = book.market(position.symbol)
    order = Order(
        number=book.next_number(),
        client_id=f"{prefix}{book.now()}",
        symbol=position.symbol,
        side="sell" if position.quantity > 0 else "buy",
        kind="limit",
        quantity=abs(position.quantity) / Decimal(market.contract),
        price=price,
        word="LIQUIDATION" if prefix == "autoclose-" else "LIMIT",
        time_in_force="IOC",
        created=book.now(),
    )
    book.enter(order)
    book.tell("liquidation" if prefix == "autoclose-" else "closed_by_exchange", {"order": order})
    book.fill(order, order.quantity, price, maker=False)
