"""Contract tests of what a broker tells of its account, and of stops that rest at it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from ..domain.broker_account import Abilities, Fill, in_currency
from ..domain.broker_orders_and_ids import Order
from ..domain.quantity_step_and_least_amount import rounded_down
from ..errors import BrokerError
from ..ports import BrokerWithAccount
from .broker_contract_orders import BrokerContractOrders
from .stores import check, same


class BrokerAccountContract(BrokerContractOrders):
    """Part of :class:`bknb.testing.brokers.BrokerContract`; skipped for a broker with the calls for orders alone."""

    def test_its_market_and_its_abilities_make_sense(self, tmp_path: Path) -> None:
        """No rule is below 0, the quantity of these tests fits, and the market is the one that was asked about."""

        async def play(broker: BrokerWithAccount) -> None:
            market, able = await broker.market(self.symbol), broker.abilities()
            same(market.symbol, self.symbol)
            check(market.contract_size > 0.0, "has contracts of no size")
            for limits in (market.limits(market=True), market.limits(market=False)):
                same(rounded_down(self.quantity, limits.step), self.quantity)
            check(able.knows_hours > 0.0 <= able.late_seconds, f"has abilities that mean nothing: {able}")

        self._with_account(tmp_path, play)

    def test_fills_and_positions_are_those_of_its_orders(self, tmp_path: Path) -> None:
        """Each trade is told once, with the fees of its report; what is held is what was bought, less fees in it."""

        async def play(broker: BrokerWithAccount) -> None:
            market = await broker.market(self.symbol)
            before = await self._held(broker)
            there = self.order("open", "buy", name="fills")
            report = await self._filled(broker, there)
            fills = await self._fills_of(broker, there)
            same(math.fsum(fill.quantity for fill in fills), report)
            same({fill.side for fill in fills}, {"buy"})
            same(len({fill.trade_id for fill in fills}), len(fills))
            told = (await self.until(broker, there, "filled")).fees
            for fee in told:
                amount = in_currency(tuple(fee for fill in fills for fee in fill.fees), fee.currency)
                check(math.isclose(amount, fee.amount, rel_tol=1e-9), f"has {amount} {fee.currency} of fees of fills")
            bought = report - in_currency(told, market.base)
            check(math.isclose(await self._held(broker) - before, bought, rel_tol=1e-9), "does not hold what it bought")
            await self._close(broker, there)
            check(abs(await self._held(broker) - before) < self.quantity * 0.01, "still holds what was sold")

        self._with_account(tmp_path, play)

    def test_a_stop_rests_until_cancelled(self, tmp_path: Path) -> None:
        """It is listed, found by its id, fills nothing, and is cancelled; then the position can be closed."""

        async def play(broker: BrokerWithAccount) -> None:
            there, stop = await self._protected(broker, "stop")
            working = await self.until(broker, stop, "accepted")
            same((working.filled_quantity, await self.open_names(broker, stop)), (0.0, [stop.client_id]))
            await broker.place(stop)
            same(await self.open_names(broker, stop), [stop.client_id])
            for _ in range(2):
                await broker.cancel(stop.client_id, self.symbol)
                same((await self.until(broker, stop, "cancelled")).filled_quantity, 0.0)
            same(await self.open_names(broker, stop), [])
            await self._close(broker, there)

        self._with_stops(tmp_path, play)

    def test_a_stop_is_moved_as_its_abilities_say(self, tmp_path: Path) -> None:
        """In place, by another, beside the old one, or after it; what cannot be is refused, and changes nothing."""

        async def play(broker: BrokerWithAccount) -> None:
            able = broker.abilities()
            there, stop = await self._protected(broker, "move")
            moved = replace(stop, trigger=await self._on_tick(broker, self.far_stop() * 1.01))
            if able.move == "amend":
                same((await broker.amend(moved)).client_id, stop.client_id)
            else:
                await self._refused(broker.amend(moved))
            same(await self.open_names(broker, stop), [stop.client_id])
            second = self._stop_of(there, replace(stop, trigger=moved.trigger), generation=1)
            instead = replace(second, replaces=stop.client_id)
            if able.move == "replace":
                same((await broker.amend(instead)).client_id, second.client_id)
                same(await self.open_names(broker, second), [second.client_id])
                await self.until(broker, stop, "cancelled")
                stop, second = second, self._stop_of(there, second, generation=2)
            else:
                await self._refused(broker.amend(instead))
            if able.locks:
                await self._refused(broker.place(second))
            else:
                await broker.place(second)
                await self.until(broker, second, "accepted")
                await broker.cancel(second.client_id, self.symbol)
                await self.until(broker, second, "cancelled")
            await broker.cancel(stop.client_id, self.symbol)
            await self.until(broker, stop, "cancelled")
            await self._close(broker, there)

        self._with_stops(tmp_path, play)

    def test_a_stop_beyond_the_market_does_not_rest(self, tmp_path: Path) -> None:
        """It is refused, or fills at once: never does it wait beyond the price it is to protect from."""

        async def play(broker: BrokerWithAccount) -> None:
            there = self.order("open", "buy", name="beyond")
            await self._filled(broker, there)
            beyond = await self._on_tick(broker, self.price * 1.05)
            stop = self.order("protect", "sell", name="beyond", kind="stop", trigger=beyond)
            back = await self.no_more_than_held(broker, self.order("close", "sell", name="beyond"), there)
            stop = replace(stop, quantity=back.quantity)
            try:
                await broker.place(stop)
            except BrokerError as error:
                check(error.refused, "does not say for certain that no stop rests")
                await self._close(broker, there)
                return
            self.let_trade(broker, replace(stop, created_at=stop.created_at + 60_000))
            await self.until(broker, stop, "filled")

        self._with_stops(tmp_path, play)

    def test_a_stop_that_is_reached_sells_what_it_protects(self, tmp_path: Path) -> None:
        """Its report has what was filled, and its fills bear its id; what it became is not another order."""

        async def play(broker: BrokerWithAccount) -> None:
            there, stop = await self._protected(broker, "reached")
            if not self.trade_at(broker, replace(stop, created_at=stop.created_at + 60_000), self.far_stop() * 0.99):
                await broker.cancel(stop.client_id, self.symbol)
                await self.until(broker, stop, "cancelled")
                await self._close(broker, there)
                pytest.skip("the market of this broker cannot be moved by a test")
            filled = await self.until(broker, stop, "filled")
            same(filled.filled_quantity, stop.quantity)
            same(await self.open_names(broker, stop), [])
            fills = await self._fills_of(broker, stop)
            check(math.isclose(math.fsum(each.quantity for each in fills), stop.quantity), "does not tell its fills")

        self._with_stops(tmp_path, play)

    def test_a_target_that_is_reached_sells_its_part_and_the_stop_rests_on(self, tmp_path: Path) -> None:
        """Where targets rest beside a stop: it holds nothing of what that would sell, and sells its own quantity."""

        async def play(broker: BrokerWithAccount) -> None:
            if not broker.abilities().targets:
                pytest.skip("no target rests beside a stop at this broker")
            there, stop = await self._protected(broker, "target")
            level = await self._on_tick(broker, 2 * self.price - self.far_stop())
            half = rounded_down(stop.quantity / 2, (await broker.market(self.symbol)).limits(market=True).step)
            target = self.order("target", "sell", name=there.signal_id, kind="target", trigger=level)
            target = replace(target, quantity=half)
            same((await broker.place(target)).status, "accepted")
            for each in (stop, target):
                same(await self.open_names(broker, each), [each.client_id])
            moved = self.trade_at(broker, replace(target, created_at=stop.created_at + 60_000), level * 1.01)
            back = self.order("close", "sell", name=there.signal_id)
            if moved:
                filled = await self.until(broker, target, "filled")
                back = await self.no_more_than_held(broker, back, there, target)
                same(filled.filled_quantity, half)
                same(await self.open_names(broker, stop), [stop.client_id])
                fills = await self._fills_of(broker, target)
                check(math.isclose(math.fsum(each.quantity for each in fills), half), "does not tell its fills")
            else:
                await broker.cancel(target.client_id, self.symbol)
                await self.until(broker, target, "cancelled")
                back = await self.no_more_than_held(broker, back, there)
            await broker.cancel(stop.client_id, self.symbol)
            await self.until(broker, stop, "cancelled")
            await self._filled(broker, replace(back, created_at=stop.created_at + 120_000))

        self._with_stops(tmp_path, play)

    # --- helpers

    def _with_account(self, folder: Path, play: Callable[[BrokerWithAccount], Awaitable[None]]) -> None:
        broker = self.make_broker(folder)
        if not isinstance(broker, BrokerWithAccount):
            pytest.skip("this broker has the calls for orders alone")

        async def played(broker: BrokerWithAccount) -> None:
            await play(broker)

        asyncio.run(played(broker))

    def _with_stops(self, folder: Path, play: Callable[[BrokerWithAccount], Awaitable[None]]) -> None:
        async def played(broker: BrokerWithAccount) -> None:
            able: Abilities = broker.abilities()
            if able.stop is None:
                pytest.skip("no stop can rest at this broker")
            await play(broker)

        self._with_account(folder, played)

    async def _filled(self, broker: BrokerWithAccount, order: Order) -> float:
        """Place a market order; how much of it was filled, in base currency."""
        await broker.place(order)
        self.let_trade(broker, order)
        return (await self.until(broker, order, "filled")).filled_quantity

    async def _protected(self, broker: BrokerWithAccount, name: str) -> tuple[Order, Order]:
        """A position, and the stop that rests for all of it."""
        there = self.order("open", "buy", name=name)
        await self._filled(broker, there)
        back = await self.no_more_than_held(broker, self.order("close", "sell", name=name), there)
        trigger = await self._on_tick(broker, self.far_stop())
        stop = self._stop_of(there, self.order("protect", "sell", name=name, kind="stop", trigger=trigger))
        stop = replace(stop, quantity=back.quantity)
        await broker.place(stop)
        return there, stop

    def _stop_of(self, there: Order, like: Order, *, generation: int = 0) -> Order:
        made = self.order(
            "protect", "sell", name=there.signal_id, kind="stop", trigger=like.trigger, generation=generation
        )
        return replace(made, quantity=like.quantity)

    async def _close(self, broker: BrokerWithAccount, there: Order) -> None:
        """Sell what a purchase has left."""
        back = self.order("close", "sell", name=there.signal_id)
        await self._filled(broker, await self.no_more_than_held(broker, back, there))

    async def _held(self, broker: BrokerWithAccount) -> float:
        """How much of the symbol is held, in base currency."""
        return math.fsum(each.quantity for each in await broker.positions() if each.symbol == self.symbol)

    async def _fills_of(self, broker: BrokerWithAccount, order: Order) -> list[Fill]:
        return [fill for fill in await broker.fills(self.symbol, self.decided_at) if fill.client_id == order.client_id]

    async def _on_tick(self, broker: BrokerWithAccount, price: float) -> float:
        return rounded_down(price, (await broker.market(self.symbol)).tick)

    async def _refused(self, call: Awaitable[object]) -> None:
        with pytest.raises(BrokerError) as caught:
            await call
        check(caught.value.refused, "does not say for certain that nothing happened")
