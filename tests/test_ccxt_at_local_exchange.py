"""The broker of an exchange passes the contract of brokers at a local Binance, with fees in the coin or in BNB."""

from __future__ import annotations

import asyncio
import time

import pytest
from desk_life import Life
from msgspec.structs import replace
from order_events import MINUTE, candle, closed, managed, opened, part

import bknb
from bknb.brokers import Order
from bknb.brokers.exchange_client import ErrorAnswer
from bknb.domain.broker_orders_and_ids import client_id
from bknb.errors import BrokerError
from bknb.testing.brokers import BrokerContract

pytest.importorskip("ccxt")
pytest_plugins = ["exchange_fixtures"]
PRICE = 50_000.0


@pytest.fixture(autouse=True)
def _fresh(exchange, monkeypatch, request):
    """An account with nothing bought, for each test."""
    exchange.reset(fee_currency=getattr(request.instance, "fee_currency", ""))
    exchange.price("BTCUSDT", PRICE)
    config = exchange.ccxt_config(getattr(request.instance, "client", "binance"))
    for field, kind in (("apiKey", "KEY"), ("secret", "SECRET"), ("password", "PASSPHRASE")):
        value = config.pop(field, "")
        for name in ("BINANCE", "OKX"):
            monkeypatch.setenv(f"BKNB_{name}_SANDBOX_{kind}", value)
    if request.instance is not None:
        request.instance.exchange, request.instance.config = exchange, config
    else:
        request.node.config_of_client = config


class AtLocalExchange(BrokerContract):
    quantity = 0.01
    price = PRICE
    fee_currency = ""

    def far_price(self):
        return PRICE / 2  # an exchange takes no price too far away

    def trade_at(self, broker, order, price):
        self.exchange.price("BTCUSDT", price)
        return True

    def test_an_order_is_found_for_as_long_as_its_abilities_say(self, tmp_path):
        """One that was cancelled without a fill is forgotten first, and not before."""
        broker, hours = self.make_broker(tmp_path), self.make_broker(tmp_path).abilities().knows_hours
        resting = self.order("open", "buy", name="forgotten", kind="limit", price=self.far_price())

        async def play():
            await broker.place(resting)
            await broker.cancel(resting.client_id, self.symbol)
            self.exchange.command("clock", advance_ms=int(hours * 3_600_000 * 0.99))
            assert (await broker.report(resting.client_id, self.symbol)).status == "cancelled"
            self.exchange.command("clock", advance_ms=int(hours * 3_600_000 * 0.02))
            found = await broker.report(resting.client_id, self.symbol)
            assert (found is None) == (hours < 90 * 24.0)  # this exchange keeps those of spot for ever

        asyncio.run(play())

    @pytest.mark.parametrize("beyond", [-1_500, 1_500])
    def test_a_request_is_carried_out_for_as_long_as_its_abilities_say(self, tmp_path, beyond):
        """One that has been on its way for longer is refused, and one that has not is not."""
        broker = self.make_broker(tmp_path)
        late = int(broker.abilities().late_seconds * 1000) + beyond
        resting = self.order("open", "buy", name="late", kind="limit", price=self.far_price())

        async def play():
            market = await broker.market(self.symbol)
            client, request = broker._client, broker._profile.place(resting, market)
            client._client.options["timeDifference"] += late
            if beyond < 0:
                await broker._on_fetch_loop(client._raw(request))
                return
            with pytest.raises(ErrorAnswer) as told:
                await broker._on_fetch_loop(client._raw(request))
            assert broker._profile.verdict(request, told.value.answer) == "clock"

        asyncio.run(play())
        sent = [each for face in self.exchange.state().values() for each in face["orders"]]
        assert len(sent) == (1 if beyond < 0 else 0)


class TestBinanceSpot(AtLocalExchange):
    client = "binance"

    def make_broker(self, folder):
        return bknb.brokers.ccxt("binance", config={**self.config, "enableRateLimit": False})


@pytest.mark.slow
class TestBinanceSpotWithFeesInBnb(TestBinanceSpot):
    fee_currency = "BNB"


class TestBinanceUsdm(AtLocalExchange):
    client = "binanceusdm"
    symbol = "BTC/USDT:USDT"

    def make_broker(self, folder):
        return bknb.brokers.ccxt("binance", market="swap", config={**self.config, "enableRateLimit": False})


class TestOkxSpot(AtLocalExchange):
    client = "okx"
    symbol = "BTC/USDT"

    def make_broker(self, folder):
        return bknb.brokers.ccxt("okx", config={**self.config, "enableRateLimit": False})


class TestOkxSwap(AtLocalExchange):
    client = "okx"

    def make_broker(self, folder):
        return bknb.brokers.ccxt("okx", market="swap", config={**self.config, "enableRateLimit": False})


@pytest.fixture
def broker(request, _fresh):
    return bknb.brokers.ccxt("binance", config={**request.node.config_of_client, "enableRateLimit": False})


def order(name, **more):
    now = time.time_ns() // 1_000_000
    known = Order(
        client_id=client_id("sma", "BTCUSDT", (name, 0), "open"), signal_id=name, decided_at=0, symbol="BTCUSDT",
        strategy="sma", exchange="binance", purpose="open", side="buy", kind="market", quantity=0.01, price=None,
        record_price=PRICE, created_at=now,
    )  # fmt: skip
    return replace(known, **more)


@pytest.mark.parametrize("fault", ["reply_lost", "request_lost", "html_502", "html_200", "cut_body", "empty_data"])
def test_an_order_whose_answer_is_lost_is_found_by_its_id_and_is_not_sent_twice(exchange, broker, fault):
    given = order(fault)

    async def play():
        executed = {"executed": True} if fault.startswith("html") else {}
        exchange.fault(fault, on="place", times=1, **executed)
        with pytest.raises(BrokerError) as told:
            await broker.place(given)
        assert not told.value.refused
        return await broker.report(given.client_id, "BTCUSDT"), await broker.place(given)

    found, placed = asyncio.run(play())
    assert placed.status == "filled"
    assert (found is None) == (fault == "request_lost")
    bought = [fill for fill in asyncio.run(broker.fills("BTCUSDT", 0)) if fill.client_id == given.client_id]
    assert sum(fill.quantity for fill in bought) == pytest.approx(0.01)


def test_a_position_is_protected_at_the_exchange_moved_reduced_and_sold_there_once(exchange, broker):
    exchange.reset()
    exchange.price("BTCUSDT", 100.0)
    life = Life(broker=broker, quantity=1.0)

    def moved(level, *orders):
        state = managed(*orders)
        return replace(state, book=replace(state.book, stop=level))

    def stop(generation):
        return client_id("sma", "BTCUSDT", ("a", MINUTE), "protect", generation=generation)

    async def play():
        await life.receive(opened())
        assert [each.client_id for each in await broker.open_orders("BTCUSDT")] == [stop(0)]
        await life.become(moved(92.0))
        assert [each.client_id for each in await broker.open_orders("BTCUSDT")] == [stop(1)]
        await life.become(moved(92.0, part()))
        assert [each.client_id for each in await broker.open_orders("BTCUSDT")] == [stop(2)]
        assert (await broker.balance())["BTC"].locked == pytest.approx(0.4995, abs=1e-5)
        await life.restart(moved(92.0))
        assert [each.client_id for each in await broker.open_orders("BTCUSDT")] == [stop(2)]
        exchange.price("BTCUSDT", 91.0)
        life.desk.saw(candle(9, 91.0))
        assert await life.desk.settle(20.0)
        assert life.statuses[stop(2)] == "filled"
        await life.receive(closed(price_close=92.0))
        assert await broker.open_orders("BTCUSDT") == []
        held = (await broker.balance()).get("BTC")
        assert held is None or held.total < 1e-5

    life.live(play)


def test_a_stop_is_replaced_by_one_request_and_both_halves_that_fail_are_told(exchange, broker):
    exchange.reset()
    exchange.price("BTCUSDT", 100.0)
    life = Life(broker=broker, quantity=1.0)

    def stop(generation):
        return client_id("sma", "BTCUSDT", ("a", MINUTE), "protect", generation=generation)

    def moved(level):
        return replace(managed(), book=replace(managed().book, stop=level))

    async def rests():
        return [(each.client_id, each.trigger) for each in await broker.open_orders("BTCUSDT")]

    async def play():
        await life.receive(opened())
        seen = len(exchange.lines())
        await life.become(moved(92.0))
        asked = [line for line in exchange.lines()[seen:] if line["event"] == "request"]
        moves = [line["operation"] for line in asked if line["operation"] in ("stop", "cancel", "replace")]
        assert moves == ["replace"]
        assert await rests() == [(stop(1), 92.0)]
        exchange.fault("replace_half", reason="price_band", times=1)
        await life.become(moved(93.0))
        assert await rests() == [(stop(3), 92.0)]
        exchange.fault("reply_lost", on="replace", times=1)
        await life.become(moved(94.0))
        assert await rests() == [(stop(4), 94.0)]
        exchange.fault("replace_half", times=1)
        await life.become(moved(95.0))
        assert await rests() == []
        assert life.statuses[stop(6)] == "filled"
        assert life.desk.position() == pytest.approx(0.0, abs=1e-5)
        assert "BTC" not in await broker.balance()

    life.live(play)
