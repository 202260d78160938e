"""Orders that follow the states of a record: they leave at their moment, and late ones are of when they are sent."""

from __future__ import annotations

from desk_life import ENTRY, Life, closing
from order_events import MINUTE, candle, closed, holding, leaving, opened, ordering, resting, scheduled

from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.broker_orders_and_ids import client_id


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
