"""Orders carried out beside a run: what goes wrong at the broker, at the disk and in between."""

from __future__ import annotations

import asyncio
import errno
import os

import msgspec
import pytest
from msgspec.structs import replace
from order_events import (
    MINUTE,
    cancelled,
    candle,
    closed,
    holding,
    leaving,
    opened,
    ordering,
    resting,
    scheduled,
)

from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.orders import MAX_CLOSES, client_id
from bknb.domain.signal import Closed, Opened
from bknb.errors import BrokerError, StateError, UsageError
from bknb.live.order_desk import OrderDesk
from bknb.live.order_pauses import LONGEST_PAUSE_SECONDS
from bknb.live.order_store import MAX_FINISHED_SIGNALS, read_orders
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.testing.faults import FaultyDisk

ENTRY = client_id("sma", "BTCUSDT", ("a", MINUTE), "open")


def closing(attempt=1):
    return client_id("sma", "BTCUSDT", ("a", MINUTE), "close", attempt)


class Exchange(PaperBroker):
    """Fills a market order as it comes, at the price of now, as an exchange does."""

    def __init__(self, **more):
        self.now = 101.0
        super().__init__(price_of=lambda symbol: self.now, **more)


class Life:
    """An order desk that can be restarted, with its reports and its waiting times."""

    def __init__(self, *, broker=None, store=None, quantity=2.0, **more):
        self.broker = broker or Exchange()
        self.store = store or MemoryStore()
        self.told: list[tuple[str, str]] = []
        self.slept: list[float] = []
        self.quantity = quantity
        self.more = more
        self.desk = self.made()

    def made(self):
        return OrderDesk(
            broker=self.broker,
            store=self.store,
            strategy="sma",
            symbol="BTCUSDT",
            quantity=self.quantity,
            on_problem=lambda kind, text: self.told.append((kind, text)),
            sleep=self.sleep,
            **self.more,
        )

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def receive(self, *events):
        for event in events:
            if isinstance(event, Opened | Closed):
                self.broker.now = event.signal.price_open if isinstance(event, Opened) else event.price_close
            for each in await self.desk.work_out(None, [event]):
                self.desk.follow(each)
            assert await self.desk.settle(5.0)

    async def become(self, *states):
        for state in states:
            await self.desk.work_out(state, [])
            self.desk.follow_state(state)
            assert await self.desk.settle(5.0)

    async def restart(self, state=None, undelivered=()):
        """End as a crash does, and start again."""
        await self.desk.close(0.0)
        self.desk = self.made()
        await self.desk.start(state, when=50 * MINUTE, undelivered=undelivered)
        assert await self.desk.settle(5.0)

    def live(self, play):
        async def whole():
            with self.store:
                await self.desk.start(when=0)
                await play()
                await self.desk.close(0.0)

        asyncio.run(whole())
        return self

    @property
    def statuses(self):
        return {order.client_id: order.status for order in self.desk.orders}

    @property
    def received(self):
        return {order.client_id: order.received for order in self.broker.orders.values()}


def lives(*events, **more):
    life = Life(**more)
    return life.live(lambda: life.receive(*events))


def script(**calls):
    return Exchange(script={call: [trouble and Trouble(kind=trouble) for trouble in calls[call]] for call in calls})


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
    assert [kind for kind, _ in life.told] == ["broker"]
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


def test_a_desk_that_closes_carries_out_what_is_due_first():
    life = Life()

    async def play():
        await life.receive(opened())
        life.desk.follow(closed())
        await life.desk.close(5.0)
        assert life.broker.position("BTCUSDT") == 0.0

    life.live(play)


def test_a_call_that_never_comes_back_counts_as_unknown():
    class Deaf(Exchange):
        async def place(self, order):
            await super().place(order)
            await asyncio.Event().wait()

    life = lives(opened(), broker=Deaf(), answer_seconds=0.01)
    assert life.statuses == {ENTRY: "filled"}
    assert life.received == {ENTRY: 1}
    assert "TimeoutError" in life.told[0][1]


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


def test_cancelling_that_fails_is_asked_about_and_tried_again():
    life = lives(scheduled(), cancelled(), broker=script(cancel=["lost_request", "lost_reply"]))
    assert life.statuses == {ENTRY: "cancelled"}
    assert life.slept == [1.0]


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


# Saving


def saved_in(store):
    return {order.client_id: order.status for order in read_orders(store, "sma", "BTCUSDT")}


def test_every_order_is_saved_before_it_is_sent():
    store = MemoryStore()
    seen = []

    class Watching(Exchange):
        async def place(self, order):
            saved = saved_in(store)
            seen.append((order.client_id, saved[order.client_id]))
            return await super().place(order)

    life = Life(store=store, broker=Watching())

    async def play():
        life.desk.follow(opened())
        assert saved_in(store) == {ENTRY: "intended"}  # when follow() is back, and before anything was sent
        assert seen == []
        await life.receive(closed())

    life.live(play)
    # the position was over before the worker had its turn, so nothing was sent at all
    assert seen == []
    life = lives(opened(), closed(), store=store, broker=Watching())
    assert seen == []  # received twice
    store.sealed.clear()
    lives(opened(), closed(), store=store, broker=Watching())
    assert seen == [(ENTRY, "sent"), (closing(), "sent")]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("bad", range(1, 8))
def test_what_cannot_be_saved_is_saved_again(tmp_path, bad):
    disk = FaultyDisk(at=bad, fault=FULL, only=("replace",))
    life = lives(opened(), closed(), store=FileStore(tmp_path, disk=disk))
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.received == {ENTRY: 1, closing(): 1}
    assert life.broker.position("BTCUSDT") == 0.0
    assert "state" in [kind for kind, _ in life.told]


@pytest.mark.parametrize("bad", range(1, 8))
def test_what_cannot_be_saved_is_not_sent_until_it_can(tmp_path, bad):
    disk = FaultyDisk(at=bad, fault=FULL, only=("replace",), lasting=True)
    life = Life(store=FileStore(tmp_path, disk=disk))

    async def play():
        for event in (opened(), closed()):
            life.desk.follow(event)
            await life.desk.settle(0.02)
        # the order that could not be saved was not sent
        assert len(life.broker.orders) == (bad > 2) + (bad > 6)
        saved = saved_in(life.store)
        assert len(saved) == (bad > 1) + (bad > 5)
        disk.at = None
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert all(number == 1 for number in life.received.values())
    assert sum(kind == "state" for kind, _ in life.told) <= 4  # of hundreds of tries


def test_a_saved_order_that_is_damaged_stops_the_start():
    store = MemoryStore()
    lives(opened(), store=store)

    async def start():
        with store:
            await Life(store=store).desk.start(when=0)

    store.sealed[("order", ("sma", "BTCUSDT"))] = b"{}"
    with pytest.raises(StateError, match="sma/BTCUSDT"):
        asyncio.run(start())
    store.aside.clear()
    with store:
        store.write("order", ("sma", "BTCUSDT"), b'[{"status":"burning"}]')
    with pytest.raises(StateError, match="look at your exchange, then delete order/sma/BTCUSDT"):
        asyncio.run(start())


class Counting(MemoryStore):
    """Counts what is written."""

    writes = 0

    def write(self, kind, key, payload):
        self.writes += 1
        super().write(kind, key, payload)


def test_all_orders_of_one_event_are_saved_by_one_write():
    """A process that ends in between would leave the closing order without the price of the record."""
    life = Life(store=Counting())

    async def play():
        await life.receive(opened())
        await life.become(leaving(ends=9))
        before = life.store.writes
        await life.receive(closed(price_close=111.0))
        assert life.store.writes == before + 1

    life.live(play)
    assert [(order.purpose, order.record_price) for order in life.desk.orders] == [("open", 100.0), ("close", 111.0)]
    assert life.desk.orders[0].exit_price == 111.0


def test_old_orders_are_forgotten_and_recent_ones_not_made_twice():
    life = Life()
    total = MAX_FINISHED_SIGNALS + 5

    async def play():
        for number in range(total):
            await life.receive(
                opened(str(number), at=number * 10), closed(str(number), at=number * 10, ended=number * 10 + 5)
            )
        recent = str(total - 1)
        before = dict(life.received)
        await life.receive(opened(recent, at=(total - 1) * 10), closed(recent, at=(total - 1) * 10))
        await life.restart()
        await life.receive(opened(recent, at=(total - 1) * 10))
        assert life.received == before

    life.live(play)
    with life.store:
        # the oldest goes with the next write
        assert len(saved_in(life.store)) <= 2 * (MAX_FINISHED_SIGNALS + 1)
    assert len(life.broker.orders) == 2 * total
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []


# Starting again


def test_a_start_finds_its_own_orders_only():
    store = MemoryStore()
    with store:
        store.write("order", ("rsi", "BTCUSDT"), b"1")
        store.write("order", ("sma", "ETHUSDT"), b"1")
    assert lives(opened(), closed(), store=store).told == []


def test_a_position_is_held_over_a_restart_and_closed_once():
    life = Life()

    async def play():
        await life.receive(opened())
        await life.restart(holding())
        assert life.broker.position("BTCUSDT") == life.desk.position() == 2.0
        await life.receive(opened(), closed())
        await life.restart()
        await life.receive(closed())

    life.live(play)
    assert life.received == {ENTRY: 1, closing(): 1}
    assert life.told == []


def test_a_position_the_record_no_longer_holds_is_closed():
    life = Life()

    async def play():
        await life.receive(opened())
        await life.restart(None)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert "does not hold its signal" in life.told[0][1]


def test_what_was_never_sent_is_decided_again_when_the_record_lost_it():
    life = Life()

    async def play():
        life.desk.follow(opened())
        await life.restart(None)  # the process ended before the worker's turn
        assert life.desk.orders == []
        await life.receive(opened())

    life.live(play)
    assert life.received == {ENTRY: 1}
    assert life.told == []


def test_what_was_never_sent_is_sent_after_a_restart_when_the_record_has_it():
    life = Life()

    async def play():
        life.desk.follow(opened())
        await life.restart(holding())

    life.live(play)
    assert life.received == {ENTRY: 1}


def test_events_saved_but_not_delivered_are_applied_after_a_restart():
    life = Life()

    async def play():
        await life.restart(holding(), undelivered=[opened()])
        assert life.broker.position("BTCUSDT") == 2.0
        await life.restart(None, undelivered=[opened(), closed()])
        await life.restart(None, undelivered=[closed()])

    life.live(play)
    assert life.received == {ENTRY: 1, closing(): 1}
    assert life.desk.orders[1].record_price == 110.0
    assert life.told == []


def test_results_of_signals_whose_orders_were_forgotten_make_no_new_ones():
    life, events = Life(), []
    for number in range(2 * MAX_FINISHED_SIGNALS):
        start = opened(f"s{number}", at=20 * number + 1)
        events += [start, replace(closed(), signal=start.signal, when=start.when + MINUTE)]

    async def play():
        await life.receive(*events)
        before = life.statuses
        await life.restart(undelivered=events)
        assert life.statuses == before

    life.live(play)
    assert life.told == []
    assert set(life.received.values()) == {1}


def test_a_signal_that_is_held_gets_its_order_though_an_earlier_one_of_its_name_is_over():
    life = Life()

    async def play():
        await life.restart(holding("a", at=30), undelivered=[opened(), closed(), opened(at=30)])
        assert [(order.decided_at, order.status) for order in life.desk.orders] == [(30 * MINUTE, "filled")]

    life.live(play)
    assert life.told == []


def test_a_difference_is_reported_once_across_restarts():
    life = Life(broker=script(place=["refuse"]))

    async def play():
        await life.receive(opened(), closed())
        await life.restart()
        assert len(life.told) == 1
        # saved as it is when the process ended just before it was reported
        (refused,) = life.desk.orders
        unsaid = msgspec.structs.replace(refused, reported=False)
        life.store.write("order", ("sma", "BTCUSDT"), msgspec.json.encode([unsaid]))
        await life.restart()
        await life.restart()
        assert len(life.told) == 2

    life.live(play)
    assert life.told[0] == life.told[1]


def test_a_lost_order_that_turns_up_is_found_and_closed():
    life = Life(broker=script(place=["lost_request"]))

    async def play():
        await life.receive(opened(), closed())
        assert life.statuses == {ENTRY: "lost"}
        (lost,) = life.desk.orders
        await life.broker.place(lost)  # it had been on its way all the time
        await life.restart()

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert any("turned up" in text for _, text in life.told)


def test_an_order_that_works_though_it_is_done_here_is_cancelled_at_the_start():
    life = Life(broker=script(place=["refuse"]))

    async def play():
        await life.receive(scheduled(), cancelled())
        (refused,) = life.desk.orders
        await life.broker.place(refused)  # it had not been refused after all
        await life.restart()

    life.live(play)
    assert life.broker.orders[ENTRY].status == "cancelled"
    assert any("still works at the broker" in text for _, text in life.told)


def test_a_broker_that_is_away_does_not_stop_the_start():
    life = Life(broker=script(open_orders=[None, "lost_request"], report=["lost_request"] * 3))

    async def play():
        await life.receive(scheduled())
        await life.restart(resting())
        assert life.statuses == {ENTRY: "accepted"}
        await life.receive(cancelled())

    life.live(play)
    assert life.broker.orders[ENTRY].status == "cancelled"
    assert len(life.told) == 2


def test_of_signals_whose_orders_are_forgotten_nothing_is_kept():
    """The first ones are lost, which leaves notes beside their orders."""
    life = Life(broker=script(place=["lost_request"] * 3))
    first = [client_id("sma", "BTCUSDT", (name, 20 * number * MINUTE), "open") for number, name in enumerate("abc", 1)]

    async def play():
        for number, name in enumerate("abcdefghijklm", 1):
            at = 20 * number
            await life.receive(opened(name, at=at), closed(name, at=at, ended=at + 5))
            if number == 3:
                assert all(name in repr([vars(life.desk), vars(life.desk._check)]) for name in first)

    life.live(play)
    assert not {order.client_id for order in life.desk.orders} & {*first}
    kept = repr([vars(life.desk), vars(life.desk._check)])
    assert not [name for name in first if name in kept]


# Decisions of a moment


class Candles(Life):
    """A desk with the broker on paper, which fills by candles alone."""

    def __init__(self, **more):
        super().__init__(broker=PaperBroker(**more))


def test_an_order_leaves_at_its_moment_and_its_price_is_told_when_its_minute_has_closed():
    life = Candles()

    async def play():
        await life.become(ordering())
        assert life.statuses == {ENTRY: "accepted"}  # before any candle
        assert (life.desk.orders[0].created_at, life.desk.orders[0].opened_at) == (MINUTE, None)
        life.desk.saw(candle(1, 103.0))
        assert life.statuses == {ENTRY: "accepted"}
        await life.receive(opened(price=103.0))
        await life.become(holding(price=103.0))
        (order,) = life.desk.orders
        assert (order.status, order.average_price, order.record_price) == ("filled", 103.0, 103.0)

    life.live(play)
    assert life.told == []


def test_a_limit_that_its_first_minute_fills():
    life = Candles()

    async def play():
        await life.become(ordering(entry="limit"))
        life.desk.saw(candle(1, 98.0))
        await life.receive(opened(price=98.0))
        await life.receive(closed(price=98.0))
        assert life.slept == []  # nobody asks again and again for what the next candle brings
        life.desk.saw(candle(10, 111.0))
        assert await life.desk.settle(5.0)

    life.live(play)
    entry, close = life.desk.orders
    assert (entry.price, entry.average_price, entry.record_price) == (100.0, 98.0, 98.0)
    assert (close.created_at, close.average_price) == (10 * MINUTE, 111.0)
    assert life.told == []


def test_what_leaves_and_what_follows_it_fill_at_the_same_open():
    life = Candles()

    async def play():
        await life.become(ordering())
        life.desk.saw(candle(1, 100.0))
        await life.receive(opened())
        await life.become(leaving(), ordering("b", at=9, ending=leaving(), position="short"))
        assert life.broker.position("BTCUSDT") == 2.0
        life.desk.saw(candle(9, 108.0))
        assert life.broker.position("BTCUSDT") == -2.0
        await life.receive(closed(price_close=108.0), opened("b", at=9, position="short", price=108.0))

    life.live(play)
    at = {(order.signal_id, order.purpose): (order.average_price, order.record_price) for order in life.desk.orders}
    assert at == {("a", "open"): (100.0, 100.0), ("a", "close"): (108.0, 108.0), ("b", "open"): (108.0, 108.0)}
    assert life.told == []


def test_a_stop_entry_is_ordered_when_it_opened():
    life = Candles()

    async def play():
        await life.become(ordering(entry="stop"), resting(entry="stop"))
        await life.receive(scheduled(entry="stop"))
        assert life.desk.orders == []
        await life.receive(opened(entry="stop", opened=5))
        life.desk.saw(candle(5, 100.0))  # the minute that reached it: closed before the order left
        assert life.broker.position("BTCUSDT") == 0.0
        life.desk.saw(candle(6, 101.0))
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.orders[ENTRY].average_price == 101.0


STATES = {
    "ordered": (ordering(), [], {ENTRY: 1}),
    "opened": (holding(), [opened()], {ENTRY: 1}),
    "leaves": (leaving(), [], {ENTRY: 1, closing(): 1}),
    "left": (None, [closed()], {ENTRY: 1, closing(): 1}),
}


def test_a_restart_after_every_state_sends_each_order_once():
    life = Life()

    async def play():
        for state, events, received in STATES.values():
            await life.restart(state, undelivered=events)  # saved, and nobody had followed it yet
            assert life.received == received
            await life.restart(state, undelivered=events)
            assert life.received == received

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []


def test_a_restart_between_two_positions_sends_each_order_once():
    life = Life()
    follows = client_id("sma", "BTCUSDT", ("b", 9 * MINUTE), "open")

    async def play():
        await life.restart(holding(), undelivered=[opened()])
        both = ordering("b", at=9, ending=leaving())
        for _ in range(3):
            await life.restart(both)
            assert life.received == {ENTRY: 1, closing(): 1, follows: 1}
        await life.restart(holding("b", at=9), undelivered=[closed(), opened("b", at=9)])

    life.live(play)
    assert life.received == {ENTRY: 1, closing(): 1, follows: 1}
    assert life.broker.position("BTCUSDT") == 2.0
    assert life.told == []


def test_an_order_that_left_is_not_late_and_one_that_did_not_is():
    life = Life()
    signal = ordering().signal

    async def play():
        life.desk.follow_state(ordering())
        assert not life.desk.has_left(signal)
        assert life.desk.postponed(ordering(), now=50 * MINUTE) == ordering(not_before=50)
        assert await life.desk.settle(5.0)
        assert life.desk.has_left(signal)
        assert life.desk.postponed(ordering(), now=50 * MINUTE) == ordering()

    life.live(play)


def test_an_order_that_is_sent_late_is_one_of_then():
    """A closing order got lost; the next one is sent minutes later, before a run that catches up meets old candles."""
    now = [MINUTE]

    class Timed(Life):
        async def sleep(self, seconds):
            now[0] += round(seconds * 1000)
            await super().sleep(seconds)

    broker = PaperBroker(script={"place": [None, Trouble(kind="lost_request")]})
    life = Timed(broker=broker, max_unknown_answers=8, now=lambda: now[0])

    async def play():
        life.desk.follow(opened())
        assert await life.desk.settle(5.0)
        life.desk.saw(candle(1, 100.0))
        now[0] = 10 * MINUTE
        life.desk.follow(closed())
        assert await life.desk.settle(5.0)
        for minute in (10, 11, 12, 13):
            life.desk.saw(candle(minute, 100.0 + minute))
            assert await life.desk.settle(5.0)

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "lost", closing(2): "filled"}
    assert broker.orders[ENTRY].average_price == 100.0
    assert 12 * MINUTE < broker.orders[closing(2)].created_at < 13 * MINUTE
    assert broker.orders[closing(2)].average_price == 113.0
    assert life.desk.rows()[-1]["created_at"] == broker.orders[closing(2)].created_at


def test_an_order_that_is_sent_within_a_minute_keeps_its_moment():
    life = Life(broker=PaperBroker(), now=lambda: 2 * MINUTE)
    life.live(lambda: life.receive(opened()))
    assert life.broker.orders[ENTRY].created_at == MINUTE


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
