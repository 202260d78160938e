"""Contract suite for brokers, to inherit; and a broker that ends the process at any call.

Examples
--------
A test module for a broker of your own holds::

    class TestMyBroker(BrokerContract):
        symbol = "BTC/USDT"
        quantity = 0.001

        def make_broker(self, folder):
            return MyBroker(sandbox=True)

        def far_price(self):  # a limit to buy at that nobody will sell at
            return 1000.0
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from ..domain.broker_orders_and_ids import Order, OrderKind, Purpose, Report, Side, client_id
from ..domain.fills_at_stops_and_gaps import Minute
from ..errors import BrokerError, UsageError
from ..ports import Broker, PaperMarket
from .faults import end_process
from .stores import check, same

_Answer = TypeVar("_Answer")


class BrokerContract:
    """Contract tests of a broker; inherit, and override :meth:`make_broker`.

    They trade ``quantity`` of ``symbol`` a few times to and fro, and hold up to three times as much: run them on paper
    or in a sandbox.
    """

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

    def let_trade(self, broker: Broker, order: Order) -> None:
        """Called when a market order was placed, before it has to be filled: nothing to do where there is a market.

        A broker on paper, which has none, is told of a candle at :attr:`price`.
        """
        if isinstance(broker, PaperMarket):
            price = self.price
            broker.saw(self.symbol, Minute(order.created_at, price, price, price, price, price))

    def test_is_a_broker(self, tmp_path: Path) -> None:
        """It has the calls of the port, and a name."""
        broker = self.make_broker(tmp_path)
        check(isinstance(broker, Broker), "does not have the calls and the name of Broker")

    def test_an_order_nobody_placed(self, tmp_path: Path) -> None:
        """It is reported as None, which is an answer; cancelling it is refused."""

        async def play(broker: Broker) -> None:
            order = self.order("open", "buy", name="never placed")
            same(await broker.report(order.client_id, self.symbol), None)
            with pytest.raises(BrokerError) as caught:
                await broker.cancel(order.client_id, self.symbol)
            check(caught.value.refused, "does not say for certain that nothing was cancelled")

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_a_market_order_is_filled(self, tmp_path: Path) -> None:
        """Placed, filled, found again, and no longer open; then closed the same way."""

        async def play(broker: Broker) -> None:
            for order in self.there_and_back("market"):
                placed = await broker.place(order)
                self.let_trade(broker, order)
                same((placed.client_id, placed.symbol), (order.client_id, self.symbol))
                filled = await self.until(broker, order, "filled")
                same(filled.filled_quantity, self.quantity)
                check((filled.average_price or 0.0) > 0.0, "does not say at which price it was filled")
                same(await self.open_names(broker, order), [])
                ended = await broker.cancel(order.client_id, self.symbol)
                same((ended.status, ended.filled_quantity), ("filled", self.quantity))

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_a_limit_order_rests_until_cancelled(self, tmp_path: Path) -> None:
        """It is among the open orders, and is found when it no longer is; cancelling twice changes nothing."""

        async def play(broker: Broker) -> None:
            order = self.order("open", "buy", name="resting", kind="limit", price=self.far_price())
            await broker.place(order)
            working = await self.until(broker, order, "accepted")
            same((working.filled_quantity, await self.open_names(broker, order)), (0.0, [order.client_id]))
            for _ in range(2):
                await broker.cancel(order.client_id, self.symbol)
                ended = await self.until(broker, order, "cancelled")
                same((ended.filled_quantity, await self.open_names(broker, order)), (0.0, []))

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_one_client_id_is_one_order(self, tmp_path: Path) -> None:
        """Placed again, working or filled, it is still the first one."""

        async def play(broker: Broker) -> None:
            for order in self.there_and_back("twice"):
                await broker.place(order)
                self.let_trade(broker, order)
                first = await self.until(broker, order, "filled")
                same((await broker.place(order)).broker_id, first.broker_id)
                same(await self.until(broker, order, "filled"), first)
            resting = self.order("open", "buy", name="twice resting", kind="limit", price=self.far_price())
            await broker.place(resting)
            await broker.place(resting)
            same(await self.open_names(broker, resting), [resting.client_id])
            await broker.cancel(resting.client_id, self.symbol)
            await self.until(broker, resting, "cancelled")
            same(await self.open_names(broker, resting), [])

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_a_position_is_added_to_and_reduced(self, tmp_path: Path) -> None:
        """Each order of a position is one of its own, and is filled by exactly its quantity."""

        async def play(broker: Broker) -> None:
            for order in self.managed("parts"):
                await broker.place(order)
                await broker.place(order)
                self.let_trade(broker, order)
                same((await self.until(broker, order, "filled")).filled_quantity, order.quantity)

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_an_add_rests_beside_its_position(self, tmp_path: Path) -> None:
        """A limit of the same signal waits, is listed and cancelled, and the position is closed by what it is."""

        async def play(broker: Broker) -> None:
            there, back = self.there_and_back("beside")
            add = self.order("add", "buy", name="beside", kind="limit", price=self.far_price(), number=1)
            await broker.place(there)
            self.let_trade(broker, there)
            await self.until(broker, there, "filled")
            await broker.place(add)
            same((await self.until(broker, add, "accepted")).filled_quantity, 0.0)
            same(await self.open_names(broker, add), [add.client_id])
            await broker.cancel(add.client_id, self.symbol)
            same((await self.until(broker, add, "cancelled")).filled_quantity, 0.0)
            await broker.place(back)
            self.let_trade(broker, back)
            same((await self.until(broker, back, "filled")).filled_quantity, self.quantity)

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_any_strategy_has_a_name_it_takes(self, tmp_path: Path) -> None:
        """Client ids of strategies with strange names are taken, told apart and found."""

        async def play(broker: Broker) -> None:
            for name in ("日本", "", "x" * 300, "a/b; DROP", "A/B; drop"):
                order = self.order("open", "buy", name=name, kind="limit", price=self.far_price(), strategy=name)
                await broker.place(order)
                same((await self.until(broker, order, "accepted")).client_id, order.client_id)
                await broker.cancel(order.client_id, self.symbol)

        asyncio.run(play(self.make_broker(tmp_path)))

    def test_survives_a_restart(self, tmp_path: Path) -> None:
        """A second broker object finds the orders of the first one, working and done."""
        if not self.durable:
            pytest.skip("this broker's account ends with its object")
        resting = self.order("open", "buy", name="kept resting", kind="limit", price=self.far_price())
        there, back = self.there_and_back("kept")

        async def before(broker: Broker) -> None:
            await broker.place(resting)
            await broker.place(there)
            self.let_trade(broker, there)
            await self.until(broker, there, "filled")

        async def after(broker: Broker) -> None:
            same((await self.until(broker, there, "filled")).filled_quantity, self.quantity)
            same(await self.open_names(broker, resting), [resting.client_id])
            await broker.place(there)
            await broker.place(back)
            self.let_trade(broker, back)
            await self.until(broker, back, "filled")
            await broker.cancel(resting.client_id, self.symbol)
            await self.until(broker, resting, "cancelled")

        asyncio.run(before(self.make_broker(tmp_path)))
        asyncio.run(after(self.make_broker(tmp_path)))

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
    ) -> Order:
        """An order of this symbol and quantity."""
        return Order(
            client_id=client_id(strategy, self.symbol, (name, self.decided_at), purpose, 1, number),
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
        )

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


class FaultyBroker:
    """A broker that ends the process at its n-th moment, as SIGKILL does.

    Every call has two moments: before it is made, and after it was carried out but before it returns.

    Parameters
    ----------
    broker
        The broker that does the work.
    at : int, optional
        Which moment, counted from 1; ``None``: none, the broker only keeps count in ``moments``.

    Examples
    --------
    >>> from bknb.brokers.paper_broker import PaperBroker
    >>> broker = FaultyBroker(PaperBroker())
    >>> asyncio.run(broker.open_orders("BTCUSDT")), broker.moments
    ([], ['before open_orders BTCUSDT', 'after open_orders BTCUSDT'])
    """

    def __init__(self, broker: Broker, *, at: int | None = None) -> None:
        if at is not None and at < 1:
            raise UsageError(f"moments are counted from 1; at = {at} never comes")
        self.name = broker.name
        self.moments: list[str] = []
        self._broker = broker
        self._at = at
        self._numbers = itertools.count(1)

    async def place(self, order: Order) -> Report:
        """Send one order."""
        return await self._around(f"place {order.client_id}", lambda: self._broker.place(order))

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel an order."""
        return await self._around(f"cancel {client_id}", lambda: self._broker.cancel(client_id, symbol))

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The report of an order."""
        return await self._around(f"report {client_id}", lambda: self._broker.report(client_id, symbol))

    async def open_orders(self, symbol: str) -> list[Report]:
        """The open orders of a symbol."""
        return await self._around(f"open_orders {symbol}", lambda: self._broker.open_orders(symbol))

    def saw(self, symbol: str, minute: Minute) -> None:
        """Pass a candle on to a broker on paper; one with a market of its own needs none."""
        if isinstance(self._broker, PaperMarket):
            self._broker.saw(symbol, minute)

    async def _around(self, what: str, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        self._moment(f"before {what}")
        answer = await call()
        self._moment(f"after {what}")
        return answer

    def _moment(self, what: str) -> None:
        self.moments.append(what)
        if next(self._numbers) == self._at:
            end_process()
