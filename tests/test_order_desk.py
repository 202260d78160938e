"""Orders carried out beside a run: entries and closings, quantities, and what is unsettled."""

from __future__ import annotations

import asyncio

import pytest
from desk_life import ENTRY, Exchange, Life, closing, lives, script
from msgspec.structs import replace
from order_events import MINUTE, cancelled, candle, closed, leaving, opened, ordering, scheduled

from bknb.brokers.paper_broker import PaperBroker
from bknb.errors import BrokerError, UsageError


def test_a_position_is_opened_and_closed():
    life = lives(opened(), closed())
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.received == {ENTRY: 1, closing(): 1}
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert life.told == []
    first, last = life.desk.rows()
    assert (first["side"], first["filled"], first["slippage_percent"]) == ("buy", 2.0, 0.0)
    assert (last["record_price"], last["average_price"]) == (110.0, 110.0)


def test_a_short_is_sold_and_bought_back():
    life = Life()

    async def play():
        await life.receive(opened(position="short"))
        assert life.broker.position("BTCUSDT") == life.desk.position() == -2.0
        await life.receive(closed(position="short"))

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0


def test_a_scheduled_entry_rests_fills_and_is_closed():
    life = Life()

    async def play():
        await life.receive(scheduled())
        assert life.statuses == {ENTRY: "accepted"}
        life.desk.saw(candle(1, 101.0, 99.0, 103.0))
        await life.receive(opened(opened=5), closed(opened=5))

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []


def test_what_was_filled_before_an_order_was_cancelled_is_asked_for():
    class Racing(Exchange):
        async def cancel(self, client_id, symbol):
            self.fill(client_id, 0.5)
            return replace(await super().cancel(client_id, symbol), filled_quantity=0.0, average_price=None)

    life = lives(scheduled(), cancelled(), broker=Racing())
    assert life.broker.orders[closing()].filled_quantity == 0.5
    assert life.broker.position("BTCUSDT") == 0.0


def test_a_cancelled_entry_is_cancelled():
    life = lives(scheduled(), cancelled())
    assert life.statuses == {ENTRY: "cancelled"}
    assert life.broker.orders[ENTRY].status == "cancelled"
    assert life.told == []


@pytest.mark.parametrize("part", [0.5, 2.0])
def test_the_filled_part_of_a_cancelled_entry_is_closed_and_reported(part):
    life = Life()

    async def play():
        await life.receive(scheduled())
        life.broker.fill(ENTRY, part)
        await life.receive(cancelled())

    life.live(play)
    assert life.broker.orders[closing()].filled_quantity == part
    assert life.broker.position("BTCUSDT") == 0.0
    assert [kind for kind, _ in life.told] == ["double_fill"]
    assert "the record never opened it" in life.told[0][1]


def test_a_partly_filled_entry_is_closed_by_exactly_that():
    life = Life()

    async def play():
        await life.receive(scheduled())
        life.broker.fill(ENTRY, 0.5)
        life.desk.follow(opened(opened=5))
        for _ in range(5000):
            assert not await life.desk.settle(0.001)  # it goes on asking
            if life.told:
                break
        assert life.told
        await life.receive(closed(opened=5))

    life.live(play)
    assert life.statuses == {ENTRY: "cancelled", closing(): "filled"}
    assert life.broker.orders[closing()].quantity == 0.5
    assert life.broker.position("BTCUSDT") == 0.0
    texts = [text for _, text in life.told]
    assert any("the record has it open; 0.5 of 2 are filled" in text for text in texts)
    assert any("is cancelled, 0.5 of 2 filled; the record opened it" in text for text in texts)
    assert len(texts) == 2


def test_a_desk_that_closes_carries_out_what_is_due_first():
    life = Life()

    async def play():
        await life.receive(opened())
        life.desk.follow(closed())
        await life.desk.close(5.0)
        assert life.broker.position("BTCUSDT") == 0.0

    life.live(play)


def test_an_entry_over_before_it_was_sent_is_never_sent():
    life = Life()

    async def play():
        life.desk.follow(scheduled())
        life.desk.follow(opened(opened=3))
        life.desk.follow(closed(opened=3))
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.statuses == {ENTRY: "cancelled"}
    assert life.broker.orders == {}
    assert "over before this was sent" in life.told[0][1]


# Wrong use, and others who fail
def test_wrong_use():
    with pytest.raises(UsageError, match="got object"):
        Life(broker=object())
    for quantity in (0, -1.0, float("nan"), float("inf"), True, "2"):
        with pytest.raises(UsageError, match="a quantity is a number above 0"):
            Life(quantity=quantity)
    with pytest.raises(UsageError, match=r"start\(\) first"):
        Life().desk.follow(opened())

    async def twice(life):
        await life.desk.start(when=0)

    life = Life()
    with pytest.raises(UsageError, match="already"):
        life.live(lambda: twice(life))


def test_a_quantity_of_the_users_own():
    life = lives(opened(), quantity=lambda signal: 500.0 / signal.price_open)
    assert life.broker.position("BTCUSDT") == 5.0


@pytest.mark.parametrize("wrong", [lambda signal: 1 / 0, lambda signal: None, lambda signal: -1.0])
def test_a_failing_quantity_function_is_reported_and_no_order_is_sent(wrong):
    life = lives(opened(), closed(), quantity=wrong)
    assert life.broker.orders == {}
    assert len(life.told) == 1
    assert "'a' is not traded, only watched: its quantity could not be worked out: " in life.told[0][1]
    assert life.statuses == {ENTRY: "rejected"}


def test_a_quantity_that_cannot_be_worked_out_is_asked_for_once_and_its_entry_counts_as_refused():
    asked = []

    def quantity(signal):
        asked.append(signal.id)
        if signal.id == "a":
            raise LookupError("no balance")
        return 2.0

    life = Life(quantity=quantity)

    async def play():
        await life.become(*[ordering()] * 3)
        await life.restart(ordering())
        await life.become(ordering())
        await life.receive(opened())
        await life.become(*[leaving()] * 3)
        await life.receive(closed())
        await life.become(ordering("b", at=9), ordering("b", at=9))  # the next one is asked about as ever

    life.live(play)
    assert asked == ["a", "b"]
    assert [text for _, text in life.told] == [
        "'a' is not traded, only watched: its quantity could not be worked out: LookupError: no balance"
    ]
    refused, sent = life.desk.rows()
    assert (refused["status"], refused["quantity"], refused["note"]) == ("rejected", 0.0, "LookupError: no balance")
    assert [order.quantity for order in life.broker.orders.values()] == [sent["quantity"]] == [2.0]


@pytest.mark.parametrize("told", ["state", "events"])
def test_what_leaves_does_not_wait_for_the_quantity_of_what_follows_it(told):
    asked, freed = asyncio.Event(), asyncio.Event()

    async def quantity(signal):
        if signal.id == "b":
            asked.set()
            await freed.wait()
        return 2.0

    life = Life(quantity=quantity)
    state = ordering("b", at=9, ending=leaving() if told == "state" else None)
    events = [] if told == "state" else [closed()]

    async def turn():
        for event in await life.desk.work_out(state, events):
            life.desk.follow(event)
        life.desk.follow_state(state)

    async def play():
        await life.receive(opened())
        turning = asyncio.create_task(turn())
        await asyncio.wait_for(asked.wait(), 5.0)
        assert await life.desk.settle(5.0)
        assert life.statuses == {ENTRY: "filled", closing(): "filled"}
        freed.set()
        await turning
        assert await life.desk.settle(5.0)

    life.live(play)
    assert [(order.purpose, order.status) for order in life.desk.orders][2:] == [("open", "filled")]
    assert life.told == []


def test_an_entry_whose_quantity_could_not_be_worked_out_has_not_left():
    left = []

    async def play(life):
        await life.become(ordering())
        left.append(life.desk.has_left(ordering().signal))
        left.append(life.desk.postponed(ordering(), now=50 * MINUTE) == ordering())

    for quantity in (lambda signal: 1 / 0, 2.0):
        life = Life(quantity=quantity)
        life.live(lambda: play(life))  # noqa: B023 -- played at once
    assert left == [False, False, True, True]


def test_what_the_record_has_ended_and_the_broker_has_not_is_unsettled_until_a_candle_fills_it():
    life, found = Life(broker=PaperBroker()), []

    async def play():
        for minute, event in ((2, opened()), (5, closed())):
            found.append(life.desk.unsettled)
            await life.receive(event)
            found.append(life.desk.unsettled)
            life.desk.saw(candle(minute + 10, 101.0))
            assert await life.desk.settle(5.0)
        found.append(life.desk.unsettled)
        await life.receive(scheduled("b", at=19))
        found.append(life.desk.unsettled)  # what rests in both does not differ

    life.live(play)
    entry, close = (f"the order to {what} 'a' ({side} 2 BTCUSDT, {id_}) is accepted" for what, side, id_ in
                    (("open", "buy", ENTRY), ("close", "sell", closing())))  # fmt: skip
    assert found == ["", entry, "", close, "", ""]


def test_a_failing_problem_listener_does_not_stop_the_desk():
    life = Life(broker=script(place=["refuse"]))
    life.desk._on_problem = lambda kind, text: 1 / 0
    life.live(lambda: life.receive(opened(), closed(), opened("b", at=20), closed("b", at=20, ended=30)))
    assert len(life.broker.orders) == 2


def test_a_broker_may_raise_anything():
    class Odd(Exchange):
        async def place(self, order):
            await super().place(order)
            raise BrokerError("perhaps")

        async def cancel(self, client_id, symbol):
            raise ZeroDivisionError

        async def open_orders(self, symbol):
            raise KeyError(symbol)

    life = Life(broker=Odd())

    async def play():
        await life.receive(opened(), closed(), scheduled("b", at=20))
        life.desk.follow(cancelled("b", at=20, ended=30))
        assert not await life.desk.settle(0.02)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
