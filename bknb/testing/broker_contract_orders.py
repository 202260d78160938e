"""What the contract tests of brokers have in common: the account they trade on, and how they make and await orders."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

from msgspec.structs import replace

from ..domain.broker_account import Side, in_currency
from ..domain.broker_orders_and_ids import Order, OrderKind, Purpose, Report, client_id
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.quantity_step_and_least_amount import rounded_down
from ..ports import Broker, BrokerWithAccount, PaperMarket


class BrokerContractOrders:
    """The settings and helpers of :class:`bknb.testing.brokers.BrokerContract`."""

    symbol = "BTCUSDT"
    quantity = 1.0
    price = 100.0
    """Approximate market price, quote currency."""

    durable = True
    """Whether a second broker object made with the same folder meets the orders of the first one."""

    decided_at = 0
    """Part of every client id; an account that remembers older test runs needs a new one each time (UTC ms)."""

    looks = 20
    pause_seconds = 0.0
    """Number of status requests, and the pause between them, until an order is filled or cancelled."""

    def make_broker(self, folder: Path) -> Broker:
        """A broker; the same folder is the same account."""
        raise NotImplementedError

    def far_price(self) -> float:
        """A limit to buy at that is not reached."""
        return self.price / 10

    def far_stop(self) -> float:
        """A stop to sell at that is not reached, and is not too far away for the market."""
        return self.price * 0.9

    def let_trade(self, broker: Broker, order: Order) -> None:
        """Called when a market order was placed, before it has to be filled: nothing to do where there is a market.

        A broker on paper, which has none, is told of a candle at :attr:`price`.
        """
        self.trade_at(broker, order, self.price)

    def trade_at(self, broker: Broker, order: Order, price: float) -> bool:
        """Have the market trade at a price; ``False`` where that cannot be arranged."""
        if not isinstance(broker, PaperMarket):
            return False
        broker.saw(self.symbol, Minute(order.created_at, price, price, price, price, price))
        return True

    def there_and_back(self, name: str) -> tuple[Order, Order]:
        """A market order and the one that undoes it."""
        return self.order("open", "buy", name=name), self.order("close", "sell", name=name)

    def managed(self, name: str) -> list[Order]:
        """The orders of a position that is added to twice, reduced twice and closed."""
        steps: tuple[tuple[Purpose, Side, int], ...] = (
            ("open", "buy", 0), ("add", "buy", 1), ("add", "buy", 2), ("reduce", "sell", 3), ("reduce", "sell", 4),
            ("close", "sell", 0),
        )  # fmt: skip
        return [self.order(purpose, side, name=name, number=number) for purpose, side, number in steps]

    def order(
        self,
        purpose: Purpose,
        side: Side,
        *,
        name: str,
        kind: OrderKind = "market",
        price: float | None = None,
        strategy: str = "contract",
        number: int = 0,
        trigger: float | None = None,
        generation: int = 0,
    ) -> Order:
        """An order of this symbol and quantity."""
        key = (name, self.decided_at)
        return Order(
            client_id=client_id(strategy, self.symbol, key, purpose, 1, number, generation=generation),
            signal_id=name,
            decided_at=self.decided_at,
            symbol=self.symbol,
            strategy=strategy,
            exchange="",
            purpose=purpose,
            side=side,
            kind=kind,
            quantity=self.quantity,
            price=price,
            record_price=self.price,
            created_at=self.decided_at,
            number=number,
            trigger=trigger,
            generation=generation,
        )

    async def no_more_than_held(self, broker: Broker, order: Order, *before: Order) -> Order:
        """An order that closes, by what filled orders have left: fees may have been taken from it. Others stay."""
        if order.purpose != "close" or not isinstance(broker, BrokerWithAccount):
            return order
        market = await broker.market(self.symbol)
        reports = [(each, await self.until(broker, each, "filled")) for each in before]
        held = math.fsum(
            -report.filled_quantity
            if each.reduces_only
            else report.filled_quantity - in_currency(report.fees, market.base)
            for each, report in reports
        )
        return replace(order, quantity=rounded_down(held, market.limits(market=True).step))

    async def until(self, broker: Broker, order: Order, status: str) -> Report:
        """The first report that has a status."""
        found: Report | None = None
        for _ in range(self.looks):
            found = await broker.report(order.client_id, self.symbol)
            if found is not None and found.status == status:
                return found
            await asyncio.sleep(self.pause_seconds)
        raise AssertionError(f"{order.client_id} should come to be {status}, and is {found!r}")

    async def open_names(self, broker: Broker, order: Order) -> list[str]:
        """The client id of an order as often as it is among the open ones."""
        working = await broker.open_orders(self.symbol)
        return [report.client_id for report in working if report.client_id == order.client_id]
