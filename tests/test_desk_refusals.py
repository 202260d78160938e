"""Orders that a broker refuses, loses, cuts short or does not answer."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from desk_life import ENTRY, Exchange, Life, closing, lives, script
from msgspec.structs import replace
from order_events import cancelled, closed, leaving, opened, scheduled

from bknb.brokers.paper_broker import Trouble
from bknb.domain.broker_orders_and_ids import MAX_CLOSES
from bknb.live.order_pauses import LONGEST_PAUSE_SECONDS


def test_a_refused_entry_is_reported_and_closes_nothing():
    life = lives(opened(), closed(), broker=script(place=["refuse"]))
    assert life.statuses == {ENTRY: "rejected"}
    assert life.broker.orders == {}
    assert len(life.told) == 1
    assert "is rejected, 0 of 2 filled; the record opened it" in life.told[0][1]


def test_a_refused_resting_entry_is_reported_at_once_and_not_replaced():
    life = Life(broker=script(place=["refuse"]))

    async def play():
        await life.receive(scheduled())
        assert "the record waits for it" in life.told[0][1]
        await life.receive(opened(opened=5), closed(opened=5))

    life.live(play)
    assert life.broker.orders == {}


def test_a_lost_reply_is_asked_for_and_nothing_is_sent_twice():
    life = lives(opened(), closed(), broker=script(place=["lost_reply", "lost_reply"], report=["lost_reply"]))
    assert life.received == {ENTRY: 1, closing(): 1}
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.slept == [1.0]
    asked = [text.partition("): ")[2].partition(":")[0].partition(" (")[0] for _, text in life.told]
    unsure, unanswered = "nobody knows whether it arrived", "the broker did not say what became of it"
    assert asked == [unsure, unanswered, unsure]


def test_an_entry_that_never_arrived_is_lost_after_several_answers_and_never_sent_again():
    life = lives(opened(), closed(), broker=script(place=["lost_request"]), max_unknown_answers=4)
    assert life.statuses == {ENTRY: "lost"}
    assert life.broker.orders == {}
    assert life.slept == [1.0, 2.0, 4.0]
    assert "is lost" in life.told[-1][1]


def test_an_order_that_a_broker_finds_seconds_later_is_not_lost():
    class Lagging(Exchange):
        """Has taken an order, and finds it ten seconds later."""

        was_asked = asyncio.Event()

        async def place(self, order):
            return replace(await super().place(order), status="accepted", filled_quantity=0.0, average_price=None)

        async def report(self, client_id, symbol):
            self.was_asked.set()
            late = client_id == closing() and sum(life.slept) < 10.0
            return None if late else await super().report(client_id, symbol)

    life = Life(broker=Lagging())

    async def play():
        await life.receive(opened())
        life.broker.was_asked.clear()
        life.desk.follow_state(leaving())
        await life.broker.was_asked.wait()
        await life.receive(closed())

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}


def test_a_closing_order_that_never_arrived_is_made_up_for_under_another_name():
    life = lives(opened(), closed(), broker=script(place=[None, "lost_request"]))
    assert life.statuses == {ENTRY: "filled", closing(): "lost", closing(2): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.received == {ENTRY: 1, closing(2): 1}


def test_a_closing_order_cut_short_is_made_up_for():
    life = lives(opened(), closed(), broker=script(place=[None, "partly_cancelled"]))
    assert life.statuses == {ENTRY: "filled", closing(): "cancelled", closing(2): "filled"}
    assert life.broker.orders[closing(2)].quantity == 1.0
    assert life.broker.position("BTCUSDT") == 0.0


def test_a_position_that_cannot_be_closed_is_left_to_people():
    life = lives(opened(), closed(), broker=script(place=[None, *["refuse"] * 20]))
    assert sum(order.purpose == "close" for order in life.desk.orders) == MAX_CLOSES
    assert life.desk.position() == 2.0
    assert "2 BTCUSDT of 'a' are open after 8 closing orders: close them by hand" in life.told[-1][1]
    assert life.slept == sorted(life.slept)
    assert len(life.slept) == MAX_CLOSES - 1


def test_an_unreachable_broker_is_asked_with_backoff_and_reported_once():
    class Away(Exchange):
        away = True

        async def report(self, client_id, symbol):
            if self.away:
                raise ConnectionError("no route")
            return await super().report(client_id, symbol)

    broker = Away(script={"place": [Trouble(kind="lost_reply")]})
    life = Life(broker=broker)

    async def play():
        life.desk.follow(opened())
        while len(life.slept) < 10:
            assert not await life.desk.settle(0.001)
        broker.away = False
        await life.receive(closed())

    life.live(play)
    assert life.slept[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert life.broker.position("BTCUSDT") == 0.0
    assert sum("did not say what became" in text for _, text in life.told) == 1


def test_a_slow_broker_does_not_delay_the_run_and_later_events_follow():
    gate = asyncio.Event()

    class Slow(Exchange):
        async def place(self, order):
            await gate.wait()
            return await super().place(order)

    life = Life(broker=Slow())

    async def play():
        life.desk.follow(opened())
        assert not await life.desk.settle(0.01)
        life.desk.follow(closed())  # decided while the entry is still on its way
        assert life.statuses == {ENTRY: "sent"}
        gate.set()
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0


def test_a_call_that_never_comes_back_counts_as_unknown():
    class Deaf(Exchange):
        async def place(self, order):
            await super().place(order)
            await asyncio.Event().wait()

    life = lives(opened(), broker=Deaf(), answer_seconds=0.01)
    assert life.statuses == {ENTRY: "filled"}
    assert life.received == {ENTRY: 1}
    assert "TimeoutError" in life.told[0][1]


def test_cancelling_that_fails_is_asked_about_and_tried_again():
    life = lives(scheduled(), cancelled(), broker=script(cancel=["lost_request", "lost_reply"]))
    assert life.statuses == {ENTRY: "cancelled"}
    assert life.slept == [1.0]


def test_impossible_reports_that_change_are_told_once_and_counted():
    class Drunk(Exchange):
        lies, lied = 0, asyncio.Event()

        async def report(self, client_id, symbol):
            self.lies += 1
            if self.lies == 5:
                self.lied.set()
            return replace(await super().report(client_id, symbol), filled_quantity=90.0 + self.lies % 3)

    life = Life(broker=Drunk(script={"place": [Trouble(kind="lost_reply")]}))

    async def play():
        life.desk.follow(opened())
        await life.broker.lied.wait()

    life.live(play)
    impossible = [text for _, text in life.told if "cannot be right" in text]
    assert len(impossible) >= 3
    assert len(set(impossible)) == 1  # which a run tells once
    assert "91.0 of 2 are filled" in impossible[0]


def test_another_fault_of_a_report_is_told_as_what_it_is_where_one_was_right_between():
    class Drunk(Exchange):
        said, lied = 0, asyncio.Event()

        async def report(self, client_id, symbol):
            self.said += 1
            if self.said == 4:
                self.lied.set()
            filled, price = {1: (0.5, None), 2: (0.5, 101.0)}.get(self.said, (90.0, 101.0))
            report = await super().report(client_id, symbol)
            return replace(report, status="partly_filled", filled_quantity=filled, average_price=price)

    life = Life(broker=Drunk(script={"place": [Trouble(kind="lost_reply")]}))

    async def play():
        life.desk.follow(opened())
        await life.broker.lied.wait()

    life.live(play)
    impossible = [text for _, text in life.told if "cannot be right" in text]
    assert ["it has no average price" in impossible[0], "90.0 of 2 are filled" in impossible[1]] == [True, True]


class Racing(Exchange):
    """Fills a part of a resting order while it is cancelled, says nothing of it, and does not answer once."""

    answer = None

    async def cancel(self, client_id, symbol):
        if self.orders[client_id].working:
            self.fill(client_id, 0.5)
            self.answer = self.first
        return replace(await super().cancel(client_id, symbol), filled_quantity=0.0, average_price=None)

    async def report(self, client_id, symbol):
        answer, self.answer = self.answer, None
        if answer == "nothing":
            raise ConnectionError("reset")
        report = await super().report(client_id, symbol)
        return report if answer is None else replace(report, filled_quantity=90.0)


@pytest.mark.parametrize(
    ("first", "text"),
    [("nothing", "the broker did not say what became of it: ConnectionError: reset"), ("90", "90.0 of")],
)
def test_what_was_filled_before_a_cancel_is_closed_where_the_broker_does_not_say_so_at_once(first, text):
    broker = Racing()
    broker.first = first
    life = lives(scheduled(), cancelled(), broker=broker)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert life.statuses == {ENTRY: "cancelled", closing(): "filled"}
    assert text in life.told[0][1]


def test_an_impossible_report_is_ignored():
    class Confused(Exchange):
        lies = 3

        async def place(self, order):
            return self.lie(await super().place(order))

        async def report(self, client_id, symbol):
            return self.lie(await super().report(client_id, symbol))

        def lie(self, report):
            self.lies -= 1
            return msgspec.structs.replace(report, filled_quantity=99.0) if self.lies >= 0 else report

    life = lives(opened(), broker=Confused())
    assert life.statuses == {ENTRY: "filled"}
    assert life.desk.orders[0].filled_quantity == 2.0
    assert "cannot be right: 99.0 of 2 are filled" in life.told[0][1]
