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
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket, Fill
from ..domain.broker_orders_and_ids import Order, Report
from ..domain.fills_at_stops_and_gaps import Minute
from ..errors import BrokerError, UsageError
from ..ports import Broker, BrokerWithAccount, PaperMarket
from .broker_account_contract import BrokerAccountContract
from .faults import end_process
from .stores import check, same

_Answer = TypeVar("_Answer")


class BrokerContract(BrokerAccountContract):
    """Contract tests of a broker; inherit, and override :meth:`make_broker`.

    Those about stops, fills and balances are skipped for a broker without the calls of
    :class:`bknb.ports.BrokerWithAccount`. They trade ``quantity`` of ``symbol`` a few times to and fro, and hold up to
    three times as much: run them on paper or in a sandbox.
    """

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
            there, back = self.there_and_back("market")
            for given in (there, back):
                order = await self.no_more_than_held(broker, given, there)
                placed = await broker.place(order)
                self.let_trade(broker, order)
                same((placed.client_id, placed.symbol), (order.client_id, self.symbol))
                filled = await self.until(broker, order, "filled")
                same(filled.filled_quantity, order.quantity)
                check((filled.average_price or 0.0) > 0.0, "does not say at which price it was filled")
                same(await self.open_names(broker, order), [])
                ended = await broker.cancel(order.client_id, self.symbol)
                same((ended.status, ended.filled_quantity), ("filled", order.quantity))

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
            there, back = self.there_and_back("twice")
            for given in (there, back):
                order = await self.no_more_than_held(broker, given, there)
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
            orders = self.managed("parts")
            for given in orders:
                order = await self.no_more_than_held(broker, given, *orders[:-1])
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
            back = await self.no_more_than_held(broker, back, there)
            await broker.place(back)
            self.let_trade(broker, back)
            same((await self.until(broker, back, "filled")).filled_quantity, back.quantity)

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
            closing = await self.no_more_than_held(broker, back, there)
            await broker.place(closing)
            self.let_trade(broker, closing)
            await self.until(broker, closing, "filled")
            await broker.cancel(resting.client_id, self.symbol)
            await self.until(broker, resting, "cancelled")

        asyncio.run(before(self.make_broker(tmp_path)))
        asyncio.run(after(self.make_broker(tmp_path)))


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


class FaultyAccount(FaultyBroker):
    """The same of a broker that tells its account: these calls have two moments each, too.

    Examples
    --------
    >>> from bknb.brokers.paper_broker import PaperBroker
    >>> broker = FaultyAccount(PaperBroker())
    >>> dict(asyncio.run(broker.balance())), broker.moments
    ({}, ['before balance', 'after balance'])
    """

    _broker: BrokerWithAccount

    def __init__(self, broker: BrokerWithAccount, *, at: int | None = None) -> None:
        super().__init__(broker, at=at)

    async def amend(self, order: Order) -> Report:
        """Move an order."""
        return await self._around(f"amend {order.client_id}", lambda: self._broker.amend(order))

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        """The trades on a symbol."""
        return await self._around(f"fills {symbol}", lambda: self._broker.fills(symbol, since))

    async def balance(self) -> Mapping[str, Balance]:
        """What the account has."""
        return await self._around("balance", self._broker.balance)

    async def positions(self) -> list[AccountPosition]:
        """Its positions."""
        return await self._around("positions", self._broker.positions)

    async def market(self, symbol: str) -> BrokerMarket:
        """The rules of a market."""
        return await self._around(f"market {symbol}", lambda: self._broker.market(symbol))

    def abilities(self) -> Abilities:
        """What it can do."""
        return self._broker.abilities()
