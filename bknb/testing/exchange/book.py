"""The book of an exchange: its orders, the cash and positions behind them, and what a fill changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from .faults import Faults
from .funds import Funds
from .markets import Market
from .orders import ZERO, Fill, Order, RefusedError, Side, Status
from .positions import Position

_FEE_STEP: Final = Decimal("0.00000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What differs between exchanges.

    Attributes
    ----------
    stops_lock
        Whether a conditional spot order holds the balance while it waits.
    children
        Whether a triggered order is another one where it works.
    forgets_cancelled_ms
        How long an order is known that ended without a fill; ``None``: for ever.
    through
        Whether a limit is filled only by a price beyond it.
    fee_currency
        What fees are paid in: ``"received"``, ``"quote"``, or a currency, as long as there is enough of it.
    """

    stops_lock: bool = True
    children: bool = False
    forgets_cancelled_ms: int | None = None
    through: bool = False
    fee_currency: str = "received"


class Book:
    """Everything an account has at an exchange.

    Attributes
    ----------
    orders, fills
        By their number, and in their order.
    prices
        Last prices by symbol.
    tell : callable
        Called with the name of each event and what it is about.
    """

    def __init__(
        self,
        markets: list[Market],
        balances: dict[str, Decimal],
        *,
        habits: Habits,
        faults: Faults,
        now: Callable[[], int],
        tell: Callable[[str, dict[str, Any]], None] = lambda *_: None,
    ) -> None:
        self.markets = {market.id: market for market in markets}
        self.funds = Funds(balances)
        self.habits = habits
        self.faults = faults
        self.now = now
        self.tell = tell
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self._open: dict[int, Order] = {}
        self._fills_of: defaultdict[int, list[Fill]] = defaultdict(list)
        self.positions: dict[str, Position] = {}
        self.prices: dict[str, Decimal] = {}
        self.hedged = False
        self.multi_assets = False
        self._numbers = 1000

    def next_number(self) -> int:
        """A number nothing else has."""
        self._numbers += 1
        return self._numbers

    def market(self, symbol: str) -> Market:
        """The market of that symbol.

        Raises
        ------
        RefusedError
            When there is none.
        """
        if symbol not in self.markets:
            raise RefusedError("symbol")
        return self.markets[symbol]

    def change_rules(self, symbol: str, **rules: Any) -> None:
        """Change fields of a market from now on."""
        self.markets[symbol] = replace(self.market(symbol), **rules)

    def last(self, symbol: str) -> Decimal:
        """The last price, 0 before there was one."""
        return self.prices.get(symbol, ZERO)

    def position(self, symbol: str) -> Position:
        """What is held of a swap."""
        return self.positions.setdefault(symbol, Position(symbol=symbol))

    def enter(self, order: Order) -> None:
        """Take an order into the book."""
        self.orders[order.number] = self._open[order.number] = order

    def open_orders(self, symbol: str = "") -> list[Order]:
        """Orders that work or wait, oldest first."""
        self._open = {number: order for number, order in self._open.items() if order.is_open}
        return [order for order in self._open.values() if symbol in ("", order.symbol)]

    def fills_of(self, order: Order) -> list[Fill]:
        """The fills of an order, oldest first."""
        return self._fills_of[order.number]

    # --- cash ---------------------------------------------------------------------------------------------------

    def worth(self, order: Order, price: Decimal) -> Decimal:
        """What is unfilled of an order, in quote currency."""
        return order.rest * Decimal(self.market(order.symbol).contract) * price

    def margin_in_use(self, currency: str) -> Decimal:
        """What positions and orders that would enlarge them hold of a settlement currency."""
        used = ZERO
        for position in self.positions.values():
            if self.markets[position.symbol].quote == currency:
                used += position.margin
        for order in self.open_orders():
            market = self.markets[order.symbol]
            if market.swap and market.quote == currency and order.status == "working" and not order.reduce_only:
                used += self.worth(order, order.price or self.last(order.symbol)) / self.position(order.symbol).leverage
        return used

    def available(self, currency: str) -> Decimal:
        """Free cash that no margin needs."""
        return self.funds.free[currency] - self.margin_in_use(currency)

    def reserve(self, order: Order) -> None:
        """Have an order hold what it needs; margin of swaps is counted, not moved.

        Raises
        ------
        RefusedError
            When the account has less.
        """
        market = self.market(order.symbol)
        price = order.price or order.trigger or self.last(order.symbol)
        if market.swap:
            if not order.reduce_only and order.status != "waiting":
                self._check_margin(order, market, price)
            return
        if order.status == "waiting" and not self.habits.stops_lock:
            return
        currency = market.quote if order.side == "buy" else market.base
        amount = self._reserved(order, market, order.rest, price)
        self.funds.lock(currency, amount)
        order.locked_currency, order.locked = currency, amount

    def _reserved(self, order: Order, market: Market, quantity: Decimal, price: Decimal) -> Decimal:
        """What this quantity of a spot order needs of what it pays with."""
        if order.side == "sell":
            return quantity
        fee = Decimal(market.taker) / 100 if self.habits.fee_currency == "quote" else ZERO
        return quantity * (order.price or order.trigger or price) * (1 + fee)

    def _check_margin(self, order: Order, market: Market, price: Decimal) -> None:
        position = self.position(order.symbol)
        enlarges = max(ZERO, order.rest - position.reducible(order.side)) * Decimal(market.contract)
        needed = enlarges * price * (Decimal(1) / position.leverage + Decimal(market.taker) / 100)
        if needed > self.available(market.quote):
            raise RefusedError("margin")

    def release(self, order: Order) -> None:
        """Give back what an order holds."""
        if order.locked:
            self.funds.unlock(order.locked_currency, order.locked)
            order.locked = ZERO

    # --- what happens to an order -------------------------------------------------------------------------------

    def end(self, order: Order, status: Status) -> None:
        """Take an order out of the book."""
        order.status, order.updated = status, self.now()
        self.release(order)
        self.tell("order", {"order": order})

    def fill(self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool) -> Fill | None:
        """Fill an order, in part or whole; ``None`` where a reduce-only one finds nothing to reduce."""
        market = self.market(order.symbol)
        quantity = min(quantity, order.rest)
        size = Decimal(market.contract)
        if order.reduce_only:
            quantity = min(quantity, self.position(order.symbol).reducible(order.side) / size)
        if not quantity:
            return None
        base = quantity * size
        fee, currency = self._fee(market, order.side, base, price, maker=maker)
        profit = ZERO
        if market.swap:
            position = self.position(order.symbol)
            profit = position.take(order.side, base, price)
            position.updated = self.now()
            self.funds.free[market.quote] += profit
        else:
            self._exchange(order, market, quantity, price, fee if currency == market.quote else ZERO)
        self.funds.free[currency] -= fee
        self.funds.fees[currency] += fee
        fill = Fill(
            number=self.next_number(),
            order=order.number,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            fee=fee,
            fee_currency=currency,
            maker=maker,
            at=self.now(),
            profit=profit,
        )
        self.fills.append(fill)
        self._fills_of[order.number].append(fill)
        order.filled += quantity
        order.cost += quantity * price
        order.updated = fill.at
        if not order.rest:
            order.status = "filled"
            self.release(order)
        self.tell("fill", {"order": order, "fill": fill})
        return fill

    def _exchange(self, order: Order, market: Market, quantity: Decimal, price: Decimal, fee: Decimal) -> None:
        """Pay with what the order holds, then with what is free; what comes back is free."""
        cost = quantity * price
        paid, amount = (market.quote, cost) if order.side == "buy" else (market.base, quantity)
        got, received = (market.base, quantity) if order.side == "buy" else (market.quote, cost)
        part = min(order.locked, self._reserved(order, market, quantity, price))
        if amount + (fee if order.side == "buy" else ZERO) > self.funds.free[paid] + part:
            raise RefusedError("balance")
        if part:
            self.funds.unlock(order.locked_currency, part)
            order.locked -= part
        self.funds.free[paid] -= amount
        self.funds.free[got] += received

    def _fee(self, market: Market, side: Side, base: Decimal, price: Decimal, *, maker: bool) -> tuple[Decimal, str]:
        rate = Decimal(market.maker if maker else market.taker) / 100
        cost = base * price
        third = self.habits.fee_currency
        if third not in ("received", "quote"):
            rated = self.prices.get(f"{third}{market.quote}")
            fee = (cost * rate / rated).quantize(_FEE_STEP, ROUND_DOWN) if rated else ZERO
            if rated and fee <= self.funds.free[third]:
                return fee, third
        if side == "buy" and not market.swap and third != "quote":
            return (base * rate).quantize(_FEE_STEP, ROUND_DOWN), market.base
        return (cost * rate).quantize(_FEE_STEP, ROUND_DOWN), market.quote
