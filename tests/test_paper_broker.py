"""Brokers: the contract on the one that ships, and the trouble it can make."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from bknb.brokers.ccxt_and_paper import paper
from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.broker_orders_and_ids import Order
from bknb.domain.fills_at_stops_and_gaps import Minute
from bknb.domain.interval import MINUTE_MS as MINUTE
from bknb.errors import BrokerError, UsageError
from bknb.testing.brokers import BrokerContract


class TestPaperBroker(BrokerContract):
    durable = False

    def make_broker(self, folder):
        return PaperBroker()


class TestPaperBrokerWithAJournal(BrokerContract):
    def make_broker(self, folder):
        return PaperBroker(journal=folder / "journal.jsonl")


def candle(minute, opened, low=None, high=None, *, traded=True):
    low, high = min(opened, low or opened), max(opened, high or opened)
    return Minute(minute * MINUTE, opened, high, low, opened, opened, traded)


class TestPaperBrokerWithPrices(BrokerContract):
    durable = False
    quantity = 0.001
    price = 42_000.0
    symbol = "BTC/USDT"

    def make_broker(self, folder):
        return PaperBroker(price_of=lambda symbol: 42_000.0)


class Forgetful(PaperBroker):
    """Takes the same client id for a new order."""

    async def place(self, order):
        if order.client_id in self.orders:
            self.orders[f"{len(self.orders)}th"] = self.orders.pop(order.client_id)
        return await super().place(order)


class Denying(PaperBroker):
    """Knows no order that is done."""

    async def report(self, client_id, symbol):
        found = await super().report(client_id, symbol)
        return None if found is not None and found.status in ("filled", "cancelled") else found


class OneOfEach(PaperBroker):
    """Tells the orders of a signal apart by what they are for."""

    async def place(self, order):
        known = f"{order.signal_id} {order.purpose}"
        report = await super().place(replace(order, client_id=known))
        self.orders[order.client_id] = replace(self.orders[known], client_id=order.client_id)
        return replace(report, client_id=order.client_id)


class Whole(PaperBroker):
    """Opens and closes positions, and nothing in between."""

    async def place(self, order):
        report = await super().place(order)
        if order.purpose in ("add", "reduce"):
            self.orders[order.client_id].status = "rejected"
        return report


class Impatient(PaperBroker):
    """Fills a limit of a position that is open at the market."""

    async def place(self, order):
        return await super().place(replace(order, kind="market", price=None) if order.purpose == "add" else order)


@pytest.mark.parametrize(
    ("broker", "test"),
    [
        (OneOfEach, "test_a_position_is_added_to_and_reduced"),
        (Whole, "test_a_position_is_added_to_and_reduced"),
        (Whole, "test_an_add_rests_beside_its_position"),
        (Impatient, "test_an_add_rests_beside_its_position"),
        (Forgetful, "test_one_client_id_is_one_order"),
        (Denying, "test_a_market_order_is_filled"),
        (PaperBroker, "test_survives_a_restart"),
        (object, "test_is_a_broker"),
    ],
)
def test_the_contract_rejects_faulty_implementations(tmp_path, broker, test):
    class Tested(BrokerContract):
        def make_broker(self, folder):
            return broker()

    with pytest.raises((AssertionError, AttributeError)):
        getattr(Tested(), test)(tmp_path)


def order(name="bk1", **more):
    known = Order(
        client_id=name, signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo", purpose="open",
        side="buy", kind="market", quantity=2.0, price=None, record_price=100.0, created_at=0,
    )  # fmt: skip
    return replace(known, **more)


def limit(name="bk1", **more):
    return order(name, kind="limit", **{"price": 90.0, **more})


def test_each_trouble():
    broker = paper(
        script={
            "place": [
                Trouble(kind="refuse"),
                Trouble(kind="lost_request"),
                Trouble(kind="lost_reply"),
                Trouble(kind="partly", part=0.25),
                Trouble(kind="partly_cancelled", part=0.25),
                None,
            ],
            "report": [Trouble(kind="lost_reply")],
        }
    )

    async def play():
        with pytest.raises(BrokerError) as refused:
            await broker.place(order("a"))
        assert refused.value.refused
        for name in ("b", "c"):
            with pytest.raises(TimeoutError):
                await broker.place(order(name))
        with pytest.raises(TimeoutError):
            await broker.report("c", "BTCUSDT")
        broker.saw("BTCUSDT", candle(0, 100.0))
        assert await broker.report("a", "BTCUSDT") is None
        assert await broker.report("b", "BTCUSDT") is None
        assert (await broker.report("c", "BTCUSDT")).status == "filled"
        partly = await broker.place(order("d"))
        assert (partly.status, partly.filled_quantity, partly.average_price) == ("partly_filled", 0.5, 100.0)
        assert [report.client_id for report in await broker.open_orders("BTCUSDT")] == ["d"]
        cut = await broker.place(order("e"))
        assert (cut.status, cut.filled_quantity) == ("cancelled", 0.5)
        assert (await broker.place(order("f"))).status == "filled"

    asyncio.run(play())
    assert broker.position("BTCUSDT") == 2.0 + 0.5 + 0.5 + 2.0


def test_a_delay_is_waited_for_with_the_sleep_it_was_given():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    broker = PaperBroker(script={"place": [Trouble(kind="delay", seconds=7.0)]}, sleep=sleep)
    broker.saw("BTCUSDT", candle(0, 100.0))
    assert asyncio.run(broker.place(order())).status == "filled"
    assert slept == [7.0]


def test_trouble_by_chance_is_the_same_from_the_same_seed():
    def outcomes(seed):
        broker = paper(rates={"lost_reply": 0.3, "refuse": 0.3}, seed=seed)

        async def play():
            seen = []
            for number in range(60):
                try:
                    await broker.place(order(str(number)))
                    seen.append("ok")
                except (BrokerError, TimeoutError) as error:
                    seen.append(type(error).__name__)
            return seen

        return asyncio.run(play())

    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)
    assert set(outcomes(1)) == {"ok", "BrokerError", "TimeoutError"}


def test_a_resting_order_is_filled_when_the_market_comes():
    broker = paper()

    async def play():
        await broker.place(limit("buy", price=90.0))
        await broker.place(limit("sell", price=110.0, side="sell"))
        await broker.place(limit("other", symbol="ETHUSDT"))
        broker.saw("BTCUSDT", candle(0, 100.0, 90.0, 110.0))  # reached, and not traded through
        assert len(await broker.open_orders("BTCUSDT")) == 2
        broker.saw("BTCUSDT", candle(1, 100.0, 89.9, 100.0, traded=False))
        assert len(await broker.open_orders("BTCUSDT")) == 2
        broker.saw("BTCUSDT", candle(2, 100.0, 89.9, 100.0))
        report = await broker.report("buy", "BTCUSDT")
        assert (report.status, report.average_price) == ("filled", 90.0)
        broker.fill("sell", 0.5, price=112.0)
        broker.fill("sell", price=110.0)
        report = await broker.report("sell", "BTCUSDT")
        assert (report.status, report.filled_quantity, report.average_price) == ("filled", 2.0, 110.5)
        assert [found.client_id for found in await broker.open_orders("ETHUSDT")] == ["other"]

    asyncio.run(play())
    assert broker.position("BTCUSDT") == 0.0


# Fills by candles, as the execution model ``pessimistic`` has them. Orders are created at minute 5 (long, limit 90).


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("price", "candles", "at"),
    [
        (None, [candle(4, 99.0)], None),  # closed before the decision
        (None, [candle(5, 101.0, 90.0, 110.0)], 101.0),  # at its open, whatever it did then
        (None, [candle(5, 99.0, traded=False), candle(6, 102.0)], 102.0),  # the first with volume
        (90.0, [candle(5, 90.0)], 90.0),  # the first open reaches it
        (90.0, [candle(5, 88.0)], 88.0),  # and fills it there
        (90.0, [candle(5, 95.0, 90.0)], None),  # reached later: it rests
        (90.0, [candle(5, 95.0, 90.0), candle(6, 90.0)], None),  # now it has to be traded through
        (90.0, [candle(5, 95.0), candle(6, 95.0, 89.0)], 90.0),
        (90.0, [candle(5, 95.0, 89.0)], 90.0),
        (90.0, [candle(5, 95.0), candle(6, 85.0, 80.0)], 85.0),  # opens beyond it
        (90.0, [candle(4, 80.0), candle(5, 95.0)], None),
    ],
)
@pytest.mark.parametrize("first", ["order", "candles"])
def test_fills_by_candles(first, price, candles, at, mirrored):
    def flip(value):
        return 200.0 - value if mirrored and value is not None else value

    if mirrored:
        candles = [
            Minute(c.t, flip(c.open), flip(c.low), flip(c.high), flip(c.close), flip(c.price), c.traded)
            for c in candles
        ]
    side = "sell" if mirrored else "buy"
    given = order(kind="market" if price is None else "limit", price=flip(price), side=side, created_at=5 * MINUTE)
    broker = paper()

    def trade():
        for each in candles:
            broker.saw("BTCUSDT", each)

    if first == "candles":  # the order was under way when they closed
        trade()
        if candles[-1].t > 5 * MINUTE:  # so long that it meets the market of then
            at = None
    asyncio.run(broker.place(given))
    if first == "order":
        trade()
    found = broker.orders["bk1"]
    assert (found.status, found.average_price) == (("accepted", None) if at is None else ("filled", flip(at)))


@pytest.mark.parametrize("late", [2, 3, 128])
@pytest.mark.parametrize("price", [None, 110.0], ids=["market", "limit"])
def test_an_order_that_arrives_late_is_not_filled_in_candles_that_opened_before(price, late):
    broker = paper()
    for number in range(5, 5 + late):
        broker.saw("BTCUSDT", candle(number, 100.0, 80.0, 120.0))
    given = order(kind="market" if price is None else "limit", price=price, created_at=5 * MINUTE)
    assert asyncio.run(broker.place(given)).status == "accepted"
    broker.saw("BTCUSDT", candle(5 + late, 105.0))
    found = broker.orders["bk1"]
    assert (found.status, found.average_price, found.created_at) == ("filled", 105.0, (5 + late) * MINUTE)


def test_a_late_limit_meets_the_first_candle_after_it_as_its_first():
    broker = paper()
    for number in range(5, 9):
        broker.saw("BTCUSDT", candle(number, 95.0, 80.0))
    asyncio.run(broker.place(limit(created_at=5 * MINUTE)))
    broker.saw("BTCUSDT", candle(9, 90.0))  # the open of its first candle reaches it; later it must be traded through
    assert (broker.orders["bk1"].status, broker.orders["bk1"].average_price) == ("filled", 90.0)


def test_a_resting_order_knows_after_a_restart_that_it_rests(tmp_path):
    path = tmp_path / "journal.jsonl"
    broker = paper(journal=path)
    asyncio.run(broker.place(limit()))
    broker.saw("BTCUSDT", candle(0, 95.0))
    again = paper(journal=path)
    again.saw("BTCUSDT", candle(1, 90.0))  # the first candle would have filled it at its open
    assert again.orders["bk1"].status == "accepted"
    again.saw("BTCUSDT", candle(2, 90.0, 89.0))
    assert paper(journal=path).orders["bk1"].status == "filled"


def test_a_market_order_that_nobody_filled_is_filled_after_a_restart(tmp_path):
    path = tmp_path / "journal.jsonl"
    asyncio.run(paper(journal=path, script={"place": [Trouble(kind="partly", part=0.25)]}).place(order()))
    again = paper(journal=path)
    again.saw("BTCUSDT", candle(0, 95.0))
    again.saw("BTCUSDT", candle(1, 96.0))
    found = again.orders["bk1"]
    assert (found.status, found.filled_quantity, found.average_price) == ("partly_filled", 0.5, 95.0)


def test_a_candle_costs_the_same_however_many_orders_are_over(tmp_path):
    class Counted(dict):
        def values(self):
            raise AssertionError("all orders were looked at")

    broker = paper(journal=tmp_path / "journal.jsonl")
    asyncio.run(broker.place(order("over")))
    broker.saw("BTCUSDT", candle(0, 95.0))
    asyncio.run(broker.place(limit("rests")))
    for each in (broker, paper(journal=tmp_path / "journal.jsonl")):
        each.orders = Counted(each.orders)
        each.saw("BTCUSDT", candle(1, 95.0))
        each.saw("BTCUSDT", candle(2, 95.0))
        working = asyncio.run(each.open_orders("BTCUSDT"))
        assert [report.client_id for report in working] == ["rests"]


def test_a_limit_the_market_has_passed_is_filled_at_the_market():
    broker = paper(price_of=lambda symbol: 95.0)

    async def play():
        passed = await broker.place(limit("passed", price=96.0))
        assert (passed.status, passed.average_price) == ("filled", 95.0)
        assert (await broker.place(limit("below", price=94.0))).status == "accepted"
        assert (await broker.place(limit("short", price=94.0, side="sell"))).average_price == 95.0

    asyncio.run(play())


@pytest.mark.slow
def test_the_journal_forgets_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    asyncio.run(paper(journal=path).place(order("a")))
    whole = path.read_bytes()
    asyncio.run(paper(journal=path).place(order("b")))
    for cut in range(len(whole), len(path.read_bytes())):
        path.write_bytes(path.read_bytes()[:cut])
        again = paper(journal=path)
        assert list(again.orders) == ["a"]
        asyncio.run(again.place(order("b")))
        assert list(paper(journal=path).orders) == ["a", "b"]


def test_wrong_use():
    with pytest.raises(UsageError, match="no call 'plase'"):
        paper(script={"plase": []})
    with pytest.raises(UsageError, match="not by both"):
        paper(script={}, rates={})
    with pytest.raises(UsageError, match="no order 'x' works here; working: none"):
        paper().fill("x")


@pytest.mark.parametrize("restarted", [False, True])
def test_orders_that_were_done_long_ago_are_forgotten_and_their_fills_are_not(tmp_path, monkeypatch, restarted):
    monkeypatch.setattr("bknb.brokers.paper_broker._MOST_DONE", 10)
    broker = PaperBroker(journal=tmp_path / "orders.jsonl", price_of=lambda symbol: 100.0)

    async def play():
        await broker.place(limit("resting", price=50.0))
        for number in range(100):
            await broker.place(order(f"bk{number}", side="sell" if number % 2 else "buy", quantity=1.0 + number % 2))

    asyncio.run(play())
    known = PaperBroker(journal=tmp_path / "orders.jsonl") if restarted else broker
    assert known.position("BTCUSDT") == -50.0
    assert "resting" in known.orders
    assert len(known.orders) <= 12
    assert asyncio.run(known.report("bk99", "BTCUSDT")).broker_id == "paper-101"
    assert asyncio.run(known.place(order("new"))).broker_id == "paper-102"
