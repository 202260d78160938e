"""The paper broker's account: stops and targets that rest, locked balances, reduce-only, fees in what was bought."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from msgspec.structs import replace

import bknb.brokers
from bknb.brokers import Abilities, BrokerMarket, Order, PaperBroker, paper
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.fills_at_stops_and_gaps import Minute
from bknb.domain.interval import MINUTE_MS as MINUTE
from bknb.errors import BrokerError, StateError, UsageError
from bknb.live.saved_orders import read_orders, saved_list
from bknb.live.user_code_in_threads import broker_outside
from bknb.ports import Broker, BrokerWithAccount, PaperMarket
from bknb.stores import MemoryStore
from bknb.testing.brokers import BrokerContract

FEE_IN_BASE = BrokerMarket(symbol="", step=0.001, taker=0.1, fee_in="base")


class TestSpotThatLocks(BrokerContract):
    def make_broker(self, folder):
        gap = Abilities(stop="market", move="gap", locks=True, knows_hours=72.0, late_seconds=5.0)
        return PaperBroker(journal=folder / "journal", market="spot", abilities=gap, rules=FEE_IN_BASE)


class TestSpotThatAmends(BrokerContract):
    durable = False

    def make_broker(self, folder):
        return PaperBroker(market="spot")


class TestSwap(BrokerContract):
    def make_broker(self, folder):
        rules = BrokerMarket(symbol="", tick=0.1, step=0.5, taker=0.05)
        return PaperBroker(journal=folder / "journal", market="swap", rules=rules)


class FourCalls:
    """A broker that has the calls for orders alone."""

    name = "four calls"

    def __init__(self):
        self._paper = PaperBroker()
        self.place, self.cancel = self._paper.place, self._paper.cancel
        self.report, self.open_orders, self.saw = self._paper.report, self._paper.open_orders, self._paper.saw


class TestFourCalls(BrokerContract):
    durable = False

    def make_broker(self, folder):
        return FourCalls()


class StopsAtTheMarket(PaperBroker):
    """Sells at once where a stop was to rest, as exchanges do that do not know the parameter of the trigger."""

    async def place(self, order):
        return await super().place(replace(order, kind="market", trigger=None))


class NoFees(PaperBroker):
    async def fills(self, symbol, since):
        return [replace(fill, fees=()) for fill in await super().fills(symbol, since)]


class EachFillTwice(PaperBroker):
    async def fills(self, symbol, since):
        return 2 * await super().fills(symbol, since)


class StopsAreHidden(PaperBroker):
    async def open_orders(self, symbol):
        return [each for each in await super().open_orders(symbol) if self.orders[each.client_id].trigger is None]


class AmendsByAnother(PaperBroker):
    async def amend(self, order):
        await self.cancel(order.client_id, order.symbol)
        return await self.place(replace(order, client_id="another"))


class GrossPositions(PaperBroker):
    async def positions(self):
        return [replace(each, quantity=each.quantity * 1.001) for each in await super().positions()]


class WaitsBeyond(PaperBroker):
    """A stop that the price has passed rests."""

    async def place(self, order):
        beyond = order.kind == "stop" and order.trigger > 100.0
        return await super().place(replace(order, trigger=1.0) if beyond else order)


@pytest.mark.parametrize(
    ("broker", "test"),
    [
        (StopsAtTheMarket, "test_a_stop_rests_until_cancelled"),
        (NoFees, "test_fills_and_positions_are_those_of_its_orders"),
        (EachFillTwice, "test_fills_and_positions_are_those_of_its_orders"),
        (GrossPositions, "test_fills_and_positions_are_those_of_its_orders"),
        (StopsAreHidden, "test_a_stop_rests_until_cancelled"),
        (AmendsByAnother, "test_a_stop_is_moved_as_its_abilities_say"),
        (WaitsBeyond, "test_a_stop_beyond_the_market_does_not_rest"),
    ],
)
def test_the_contract_rejects_faulty_accounts(tmp_path, broker, test):
    class Tested(BrokerContract):
        def make_broker(self, folder):
            return broker(rules=FEE_IN_BASE)

    with pytest.raises((AssertionError, BrokerError)):
        getattr(Tested(), test)(tmp_path)


def order(name="bk1", **more):
    known = Order(
        client_id=name, signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo", purpose="open",
        side="buy", kind="market", quantity=2.0, price=None, record_price=100.0, created_at=0,
    )  # fmt: skip
    return replace(known, **more)


def stop(name="stop", **more):
    return order(name, **{"purpose": "protect", "side": "sell", "kind": "stop", "trigger": 90.0, **more})


def candle(minute, opened, low=None, high=None, *, traded=True):
    low, high = min(opened, low or opened), max(opened, high or opened)
    return Minute(minute * MINUTE, opened, high, low, opened, opened, traded)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("kind", "candles", "at"),
    [
        ("stop", [candle(4, 80.0)], None),  # before it was placed
        ("stop", [candle(5, 95.0, 90.1)], None),
        ("stop", [candle(5, 95.0, 90.0)], 90.0),  # reached
        ("stop", [candle(5, 95.0, 80.0, traded=False), candle(6, 88.0, 80.0, 99.0)], 88.0),  # opens beyond it
        ("stop", [candle(5, 85.0, 80.0, 99.0)], 85.0),
        ("target", [candle(5, 80.0, 70.0, 89.9)], None),
        ("target", [candle(5, 80.0, 70.0, 90.0)], None),  # reached, and not traded through
        ("target", [candle(5, 80.0), candle(6, 80.0, 79.0, 91.0)], 90.0),
        ("target", [candle(5, 92.0, 70.0, 99.0)], 92.0),  # opens beyond it
    ],
)
def test_a_stop_fills_at_its_trigger_or_at_an_open_beyond_it_and_a_target_as_a_limit(kind, candles, at, mirrored):
    def flip(value):
        return 200.0 - value if mirrored and value is not None else value

    if mirrored:
        candles = [
            Minute(c.t, flip(c.open), flip(c.low), flip(c.high), flip(c.close), flip(c.price), c.traded)
            for c in candles
        ]
    broker = paper()
    given = stop(kind=kind, side="buy" if mirrored else "sell", trigger=flip(90.0), created_at=5 * MINUTE)
    asyncio.run(broker.place(given))
    for each in candles:
        broker.saw("BTCUSDT", each)
    found = broker.orders["stop"]
    assert (found.status, found.average_price) == (("accepted", None) if at is None else ("filled", flip(at)))


def test_what_protects_on_a_swap_never_does_more_than_close():
    broker = paper(market="swap")

    async def play():
        with pytest.raises(BrokerError, match="there is none") as refused:
            await broker.place(order("close", purpose="close", side="sell"))
        assert refused.value.refused
        await broker.place(order())
        broker.saw("BTCUSDT", candle(0, 100.0))
        await broker.place(stop("first", created_at=MINUTE))
        await broker.place(stop("second", created_at=MINUTE, trigger=91.0, quantity=1.5))
        broker.saw("BTCUSDT", candle(1, 95.0, 80.0))
        assert [(broker.orders[name].status, broker.orders[name].filled_quantity) for name in ("first", "second")] == [
            ("filled", 2.0),
            ("cancelled", 0.0),
        ]
        assert await broker.positions() == []

    asyncio.run(play())


def test_a_stop_on_spot_holds_what_it_would_sell():
    broker = paper(market="spot", rules=FEE_IN_BASE)

    async def play():
        await broker.place(order())
        broker.saw("BTCUSDT", candle(0, 100.0))
        assert (await broker.positions())[0].quantity == pytest.approx(1.998)
        with pytest.raises(BrokerError, match=r"2 BTC are to be sold, and 1\.998 are free"):
            await broker.place(stop(created_at=MINUTE))
        await broker.place(stop(created_at=MINUTE, quantity=1.998))
        balance = await broker.balance()
        assert (balance["BTC"].free, balance["BTC"].locked) == pytest.approx((0.0, 1.998))
        assert balance["USDT"].total == -200.0
        for kind in ("stop", "market"):
            again = stop("again", quantity=0.001, kind=kind, trigger=80.0 if kind == "stop" else None)
            with pytest.raises(BrokerError, match="0 are free"):
                await broker.place(again)
        await broker.cancel("stop", "BTCUSDT")
        await broker.place(order("close", purpose="close", side="sell", quantity=1.998, created_at=MINUTE))
        broker.saw("BTCUSDT", candle(1, 100.0))
        assert (await broker.balance())["USDT"].total == pytest.approx(-200.0 + 199.8 * 0.999)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (order(quantity=0.0015), "no multiple of the step 0.001"),
        (order(quantity=0.001), "too small: 0.001 is worth 0.1"),
        (stop(trigger=None), "kind 'stop' with the trigger None"),
        (order(trigger=90.0), "kind 'market' with the trigger 90"),
        (stop(trigger=100.0), "a stop at 100 would trigger at once"),
        (stop(side="buy", trigger=99.0), "would trigger at once"),
        (stop(kind="target", trigger=99.0), "a target at 99 would trigger at once"),
    ],
)
def test_what_its_rules_do_not_allow_is_refused(given, why):
    rules = BrokerMarket(symbol="", step=0.001, least_value=10.0)
    broker = paper(rules=rules, price_of=lambda symbol: 100.0)
    with pytest.raises(BrokerError, match=why) as refused:
        asyncio.run(broker.place(given))
    assert refused.value.refused
    assert asyncio.run(broker.report(given.client_id, "BTCUSDT")) is None


def test_no_stop_rests_where_none_can():
    broker = paper(abilities=Abilities())
    with pytest.raises(BrokerError, match="no stop can rest here"):
        asyncio.run(broker.place(stop()))
    with pytest.raises(UsageError, match="market= of a paper broker is 'spot', 'swap' or None, got 'margin'"):
        paper(market="margin")


def test_lines_of_a_journal_are_of_the_version_that_older_releases_read_unless_they_would_misread_them(tmp_path):
    path = tmp_path / "journal.jsonl"
    broker = paper(journal=path)
    asyncio.run(broker.place(order()))
    asyncio.run(broker.place(stop()))
    asyncio.run(paper(journal=tmp_path / "base", rules=FEE_IN_BASE).place(order()))
    versions = [json.loads(line)["version"] for line in path.read_text().splitlines()]
    assert versions == [2, 3]
    assert json.loads((tmp_path / "base").read_text())["version"] == 3
    again = paper(journal=path)
    again.saw("BTCUSDT", candle(0, 100.0, 85.0))
    assert [(each.status, each.average_price) for each in again.orders.values()] == [
        ("filled", 100.0),
        ("filled", 90.0),
    ]


OF_VERSION_2 = b"""{"version":2,"orders":[{"client_id":"bk1","signal_id":"s","decided_at":0,"symbol":"BTCUSDT",
"strategy":"sma","exchange":"demo","purpose":"open","side":"buy","kind":"market","quantity":2.0,"price":null,
"record_price":100.0,"created_at":0,"status":"filled","filled_quantity":2.0,"average_price":100.0,"broker_id":"7",
"opened_at":0,"ended_at":null,"exit_price":null,"number":0,"share":0.0,"attempt":1,"said":false,"note":"",
"in_doubt":0.0,"kept":null}]}"""


def test_saved_orders_are_of_version_2_until_a_stop_is_among_them():
    with MemoryStore() as store:
        store.write("order", ("sma", "BTCUSDT"), OF_VERSION_2)
        known = read_orders(store, "sma", "BTCUSDT")
        assert known == [order(status="filled", filled_quantity=2.0, average_price=100.0, broker_id="7", opened_at=0)]
        assert (saved_list(known).version, saved_list([*known, stop()]).version) == (2, 3)
        store.write("order", ("sma", "BTCUSDT"), bknb_json([*known, stop()], version=3))
        assert read_orders(store, "sma", "BTCUSDT") == [*known, stop()]
        store.write("order", ("sma", "BTCUSDT"), bknb_json(known, version=5))
        with pytest.raises(StateError, match="written by a newer bknb"):
            read_orders(store, "sma", "BTCUSDT")


def bknb_json(orders, *, version):
    return msgspec.json.encode(replace(saved_list(orders), version=version))


def test_an_id_has_the_generation_where_there_is_one():
    known = "bksmacroqb3bfoc37f4rwlk4fv5dmg"
    args = ("sma cross", "BTCUSDT", ("sma cross-BTCUSDT-20240101T0000", 1704067200000), "open")
    assert client_id(*args) == client_id(*args, generation=0) == known
    ids = {client_id(*args, generation=generation, number=number) for generation in range(9) for number in range(9)}
    assert len(ids) == 81
    assert all(len(each) <= 30 and each.isalnum() for each in ids)


@pytest.mark.parametrize(
    ("broker", "calls"), [(PaperBroker(), True), (FourCalls(), False)], ids=["with account", "four calls"]
)
def test_joined_brokers_have_an_account_where_the_broker_has(broker, calls):
    joined = bknb.brokers.joined(spot=broker).broker_of_symbol("spot:BTCUSDT")
    assert (isinstance(joined, BrokerWithAccount), isinstance(joined, PaperMarket)) == (calls, True)

    async def play():
        await joined.place(order(symbol="spot:BTCUSDT"))
        joined.saw("spot:BTCUSDT", candle(0, 100.0))
        if calls:
            assert [each.symbol for each in await joined.positions()] == ["spot:BTCUSDT"]
            assert [each.symbol for each in await joined.fills("spot:BTCUSDT", 0)] == ["spot:BTCUSDT"]
            assert (await joined.market("spot:BTCUSDT")).symbol == "spot:BTCUSDT"
            await joined.place(stop(symbol="spot:BTCUSDT", created_at=MINUTE))
            moved = await joined.amend(stop(symbol="spot:BTCUSDT", trigger=80.0))
            assert (moved.symbol, broker.orders["stop"].trigger) == ("spot:BTCUSDT", 80.0)
            assert (await joined.balance())["BTC"].total == 2.0
            assert joined.abilities().stop == "market"

    asyncio.run(play())


@pytest.mark.parametrize("market", [True, False])
@pytest.mark.parametrize("account", [True, False])
def test_a_broker_called_outside_has_the_calls_it_has(market, account):
    made = FourCalls()
    if not market:
        del made.saw
    for call in ("amend", "fills", "balance", "positions", "market", "abilities") if account else ():
        setattr(made, call, getattr(made._paper, call))
    outside = broker_outside(made)
    assert outside is not made
    assert isinstance(outside, Broker)
    assert isinstance(outside, BrokerWithAccount) == account
    assert hasattr(outside, "see") == market

    async def play():
        await outside.place(order())
        if account:
            assert await outside.positions() == []
            assert await outside.fills("BTCUSDT", 0) == []
            assert (await outside.balance())["BTC"].total == 0.0
            assert (await outside.market("BTCUSDT")).base == "BTC"
            await outside.place(stop())
            assert (await outside.amend(stop(trigger=80.0))).status == "accepted"
            assert outside.abilities().move == "amend"

    asyncio.run(play())
