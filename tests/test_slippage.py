"""What fills of an account cost beside the record: sums worked out by hand, by purpose, with fees apart."""

from __future__ import annotations

import pytest
from desk_life import Exchange, Life
from msgspec.structs import replace
from order_events import MINUTE, closed, managed, opened, part, reduced
from scenarios import ORIGIN, source
from worlds import walk

import bknb
from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.config import Settings
from bknb.domain.broker_account import BrokerMarket, Fee
from bknb.domain.implementation_shortfall import FillAgainstRecord, traded_orders
from bknb.engine.records import Records
from bknb.reports.slippage_report import slippage_of
from bknb.runs.slippage_of_run import slippage_of_run
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

KNOWN = {"strategy": "sma", "symbol": "BTCUSDT", "currency": "USDT", "assumed_basis_points": 10.0}


def fill(purpose, side, quantity, price, record_price, *, fees=()):
    return FillAgainstRecord(
        signal_id="a", at=MINUTE, purpose=purpose, side=side, quantity=quantity, price=price,
        record_price=record_price, fees=fees,
    )  # fmt: skip


def test_the_sums_are_those_of_a_table_by_hand():
    found = slippage_of(
        **KNOWN,
        fills=[
            fill("entry", "buy", 2.0, 100.5, 100.0, fees=(Fee(currency="BTC", amount=0.002),)),  # 1.0 dearer
            fill("add", "buy", 1.0, 98.0, 98.0),
            fill("target", "sell", 1.0, 109.0, 110.0, fees=(Fee(currency="USDT", amount=0.1),)),  # 1.0 cheaper
            fill("stop", "sell", 2.0, 89.0, 90.0, fees=(Fee(currency="USDT", amount=0.2),)),  # 2.0 cheaper
            fill("entry", "sell", 1.0, 201.0, 200.0),  # a short that was sold for 1.0 more
            fill("close", "buy", 1.0, 151.0, 150.0),  # and bought back for 1.0 more
        ],
    )
    table = found.table
    assert table.index.tolist() == ["entry", "add", "target", "stop", "close", "all"]
    assert table["fills"].tolist() == [2, 1, 1, 1, 1, 6]
    assert table["value"].tolist() == [400.0, 98.0, 110.0, 180.0, 150.0, 938.0]
    assert table["money"].tolist() == [0.0, 0.0, 1.0, 2.0, 1.0, 4.0]
    assert table["basis_points"].tolist() == pytest.approx(
        [0, 0, 10_000 / 110, 20_000 / 180, 10_000 / 150, 40_000 / 938]
    )
    assert found.fees == {"BTC": 0.002, "USDT": pytest.approx(0.3)}
    assert found.line == "42.6 bp of 6 fills, 4.00 USDT; assumed 10.0 bp"
    assert found.fills["money"].tolist() == [1.0, 0.0, 1.0, 2.0, -1.0, 1.0]


def test_text_and_html_say_the_same_and_escape_names():
    named = {**KNOWN, "strategy": "<b>&", "currency": "<i>"}
    found = slippage_of(**named, fills=[fill("entry", "buy", 2.0, 100.5, 100.0)], unfilled=1, without_record=2)
    assert str(found).splitlines() == [
        "slippage of <b>& on BTCUSDT",
        "  Fills: 1",
        "  Traded: 200.00 <i>",
        "  Slippage: 50.0 bp, 1.00 <i>",
        "  Assumed: 10.0 bp for each fill",
        "  Not filled: 1 orders that the record has filled",
        "  Left out: 2 orders that the record has no price for",
        "  entry     50.0 bp  1.00 <i>, 1 fills",
    ]
    html = found._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<i>" not in html
    nothing = slippage_of(**KNOWN, fills=[])
    assert (nothing.line, nothing.money, nothing.basis_points) == ("", 0.0, None)
    assert nothing.table["basis_points"].isna().tolist() == [True]


class Dear(Exchange):
    """Buys for one more than the record, and sells for one less."""

    async def place(self, order):
        self.now += 1.0 if order.side == "buy" else -1.0
        try:
            return await super().place(order)
        finally:
            self.now -= 1.0 if order.side == "buy" else -1.0


def of_life(life, *events):
    records = Records()
    for event in events:
        records.add(event)
    return slippage_of_run(records, life.desk.traded, strategy="sma", symbol="BTCUSDT", settings=Settings())


def test_each_purpose_of_a_managed_position_has_its_fill_beside_that_of_the_record():
    events = opened(), reduced(1, 0.5, price=102.0, reason="take_profit"), closed(price_close=91.0)
    life = Life(broker=Dear(rules=BrokerMarket(symbol="", base="BTC", quote="USDT", taker=0.1)))

    async def play():
        await life.receive(events[0])
        life.broker.now = 102.0
        await life.become(managed(part()))
        await life.receive(*events[1:])

    life.live(play)
    found = of_life(life, *events)
    assert found.by_purpose.keys() == {"entry", "target"}  # the event closes by its target
    assert [(each.purpose, each.quantity, each.price, each.record_price) for each in found.each] == [
        ("entry", 2.0, 101.0, 100.0), ("target", 1.0, 101.0, 102.0), ("target", 1.0, 90.0, 91.0)
    ]  # fmt: skip
    assert found.money == 4.0
    assert found.fees == {"USDT": pytest.approx(0.001 * (202 + 101 + 90))}


def test_an_order_that_was_refused_is_counted_and_one_of_which_the_record_has_nothing_is_left_out():
    life = Life(broker=Dear(script={"place": [Trouble(kind="refuse")]}))
    found = of_life(life.live(lambda: life.receive(opened())), opened())
    assert (found.total.fills, found.unfilled, found.without_record) == (0, 1, 0)
    life = Life(broker=Dear())
    assert of_life(life.live(lambda: life.receive(opened())), opened()).total.fills == 1
    (entry,) = life.desk.orders
    (without,) = traded_orders([bknb.brokers.Order(**{**_fields(entry), "opened_at": None})])
    assert without.record_price is None


def test_a_stop_whose_place_another_order_took_is_no_stop_that_ended():
    """Where the exchange has cancelled it, nothing was without a stop."""
    life = Life(broker=Dear())
    life.live(lambda: life.receive(opened()))
    (entry,) = life.desk.orders
    stop = replace(entry, client_id="s", purpose="protect", side="sell", kind="stop", trigger=95.0, status="cancelled")
    stop = replace(stop, filled_quantity=0.0, average_price=None)
    sale = replace(stop, client_id="c", purpose="close", kind="market", trigger=None, status="sent", replaces="s")
    assert [each.client_id for each in traded_orders([entry, stop, sale])] == [entry.client_id, "c"]
    assert "s" in [each.client_id for each in traded_orders([entry, stop])]


def _fields(order):
    return {name: getattr(order, name) for name in order.__struct_fields__}


def test_what_was_traded_long_ago_is_on_the_disk_once_and_read_again():
    store = MemoryStore()

    async def play():
        for number in range(9):
            name = f"s{number}"
            await life.receive(
                opened(name, at=10 * number + 1), closed(name, at=10 * number + 1, ended=10 * number + 5)
            )
        assert len(life.desk.orders) < 18  # the orders of the first are forgotten
        before = life.desk.traded
        await life.restart()
        assert life.desk.traded == before

    life = Life(broker=Dear(), store=store)
    life.live(play)
    found = of_life(life, *(closed(f"s{number}", at=10 * number + 1) for number in range(9)))
    assert (found.total.fills, found.money) == (18, 36.0)


def test_a_live_run_has_it_in_its_result_its_task_and_its_facts():
    def get_signal(price):
        return bknb.Signal(
            position="long", price_take_profit=price * 2, price_stop_loss=price / 2, minute_estimated_time=5
        )

    def run(store, since, until):
        task = bknb.Live.background(
            "BTCUSDT", strategy=get_signal, interval="5m", exchange=source(walk(3)), store=store,
            clock=SimulatedClock(ORIGIN + since * MINUTE), until=ORIGIN + until * MINUTE, quantity=0.1,
            broker=broker,
        )  # fmt: skip
        return task, task.result(timeout=60)

    broker = PaperBroker()
    store = bknb.stores.memory()
    _, first = run(store, 0, 62)
    task, result = run(store, 62, 121)
    assert first.slippage.total.fills >= 20
    assert result.slippage.total.fills > first.slippage.total.fills
    assert result.slippage.money == 0.0
    assert task.facts["Slippage"] == result.slippage.line
    assert task.slippage is task.slippage  # worked out once for the same fills
    assert task.slippage.total == result.slippage.total
    assert {"entry", "close"} <= result.slippage.by_purpose.keys()
