"""Stops that rest at the broker: for all that is held, moved with the record's, taken back before anything is sold."""

from __future__ import annotations

import asyncio

import pytest
from desk_life import ENTRY, Exchange, Life, closing
from msgspec.structs import replace
from order_events import MINUTE, candle, closed, managed, opened, part, reduced

from bknb.brokers import Abilities, BrokerMarket, Trouble
from bknb.domain.broker_orders_and_ids import client_id, closed_beyond
from bknb.domain.protective_orders import protective_orders
from bknb.errors import BrokerError

LOCKS = Abilities(stop="market", move="gap", locks=True, watch="both")
SWAP = Abilities(stop="market", move="both", watch="both")
RULES = BrokerMarket(symbol="", tick=0.1, step=0.001, least_value=5.0)
WITH_FEE = replace(RULES, taker=0.1, fee_in="base")


class Timed(Life):
    """A life with a clock that its pauses move."""

    at = 2 * MINUTE

    def __init__(self, **more):
        super().__init__(now=lambda: self.at, **more)

    async def sleep(self, seconds):
        self.at += int(seconds * 1000)
        await super().sleep(seconds)


def stop(generation=0):
    return client_id("sma", "BTCUSDT", ("a", MINUTE), "protect", generation=generation)


def exchange(kind=Exchange, market="spot", **more):
    able = LOCKS if market == "spot" else SWAP
    return kind(**{"market": market, "abilities": able, "rules": RULES, **more})


def at_rest(life):
    """What rests at the broker to protect: quantity and trigger of each stop."""
    return [
        (each.quantity, each.trigger) for each in life.broker.orders.values() if each.kind == "stop" and each.working
    ]


@pytest.mark.parametrize("market", ["spot", "swap"])
def test_a_stop_rests_for_all_that_is_held_and_goes_before_it_is_sold(market):
    life = Life(broker=exchange(market=market, rules=WITH_FEE if market == "spot" else RULES))

    async def play():
        await life.receive(opened())
        held = 1.998 if market == "spot" else 2.0
        assert at_rest(life) == [(held, 90.0)]
        assert life.desk.disagreement == ""
        await life.receive(closed())

    life.live(play)
    assert life.statuses == {ENTRY: "filled", stop(): "cancelled", closing(): "filled"}
    assert life.broker.position("BTCUSDT") == pytest.approx(0.0, abs=1e-12)
    assert life.told == []
    assert set(life.received.values()) == {1}


def test_without_watch_nothing_rests():
    life = Life(broker=exchange(abilities=replace(LOCKS, watch="here")))
    life.live(lambda: life.receive(opened()))
    assert life.statuses == {ENTRY: "filled"}


def test_a_stop_that_sells_at_the_broker_ends_the_position_there_and_nothing_is_sold_twice():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        life.desk.saw(candle(5, 91.0, 89.0, 92.0))
        assert await life.desk.settle(5.0)
        assert life.statuses == {ENTRY: "filled", stop(): "filled"}
        assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
        assert life.desk.disagreement == ""  # the record has yet to see this minute
        life.desk.saw(candle(6, 91.0))
        assert life.desk.disagreement.startswith(
            "2 BTCUSDT of 'a' were sold by its stop at paper; the record has it open"
        )
        await life.receive(closed(price_close=90.0))
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.statuses == {ENTRY: "filled", stop(): "filled"}
    assert life.told == []


@pytest.mark.parametrize("market", ["spot", "swap"])
def test_a_stop_moves_with_that_of_the_record_where_it_is_worth_an_order(market):
    life = Life(broker=exchange(market=market))

    def moved(level):
        state = managed()
        return replace(state, book=replace(state.book, stop=level))

    async def play():
        await life.receive(opened())
        await life.become(managed(), moved(90.04))
        assert at_rest(life) == [(2.0, 90.0)]
        await life.become(moved(95.0))
        assert at_rest(life) == [(2.0, 95.0)]
        await life.become(moved(None))
        assert at_rest(life) == []
        await life.become(moved(96.0))
        assert at_rest(life) == [(2.0, 96.0)]

    life.live(play)
    assert life.statuses == {ENTRY: "filled", stop(): "cancelled", stop(1): "cancelled", stop(2): "accepted"}
    assert life.told == []


def test_a_part_is_sold_from_what_its_stop_held_and_the_rest_is_protected_again():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        await life.become(managed(part()))
        assert at_rest(life) == [(1.0, 90.0)]
        await life.receive(reduced(), closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []
    assert [each.status for each in protective_orders(life.desk.orders)] == ["cancelled", "cancelled"]


def test_each_partial_fill_is_protected_as_it_comes():
    life = Life(broker=exchange(script=lambda call, about, number: first_half(call, about)))

    def first_half(call, about):
        return Trouble(kind="partly", part=0.5) if (call, about) == ("place", ENTRY) else None

    async def until(rests):
        for _ in range(1000):
            if at_rest(life) == rests:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"{at_rest(life)} rests, not {rests}")

    async def play():
        life.desk.follow(opened())
        await until([(1.0, 90.0)])
        life.broker.fill(ENTRY, price=101.0)
        await until([(1.0, 90.0), (1.0, 90.0)])
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert closed_beyond(life.desk.orders) == 0.0


def test_what_a_stop_of_a_swap_has_sold_is_not_sold_again_from_what_another_strategy_holds():
    life = Life(broker=exchange(market="swap"))

    async def play():
        await life.receive(opened())
        other = replace(life.desk.orders[0], client_id="bkother", signal_id="other")
        await life.broker.place(other)
        life.broker.fill(stop(), price=89.9)
        await life.receive(closed(price_close=90.0))

    life.live(play)
    assert life.broker.position("BTCUSDT") == 2.0
    assert life.statuses == {ENTRY: "filled", stop(): "filled", closing(): "cancelled"}
    assert life.told == []


def test_a_sale_that_waits_sells_no_coins_of_the_account_once_the_stop_it_was_to_replace_has_sold():
    class Waits(Exchange):
        async def amend(self, order):
            raise BrokerError("429: nothing is asked for 60 s", refused=True, later=True)

    life = Life(broker=exchange(Waits, abilities=REPLACES))

    async def play():
        await life.receive(opened())
        other = replace(life.desk.orders[0], client_id="bkother", signal_id="other")
        await life.broker.place(other)
        life.desk.follow(closed(price_close=90.0))
        for _ in range(200):  # until it was refused, and a pause began
            await asyncio.sleep(0)
        assert (life.statuses[closing()], len(life.told)) == ("intended", 1)
        life.broker.fill(stop(), price=89.9)
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 2.0
    assert life.statuses == {ENTRY: "filled", stop(): "filled", closing(): "cancelled"}


class Refuses(Exchange):
    """Takes no stop, or none but some, by their generation."""

    takes = ()

    async def place(self, order):
        if order.kind == "stop" and order.generation not in self.takes:
            raise BrokerError("-1013 Filter failure: PERCENT_PRICE_BY_SIDE", refused=True)
        return await super().place(order)

    async def amend(self, order):
        if order.generation not in self.takes:
            await super().cancel(order.replaces, order.symbol)
            raise BrokerError("-1013 Filter failure: PERCENT_PRICE_BY_SIDE", refused=True)
        return await super().amend(order)


def test_a_stop_that_is_refused_is_tried_once_more_then_watched_here_and_told():
    life = Life(broker=exchange(Refuses, abilities=replace(LOCKS, unprotected="watch")))

    async def play():
        await life.receive(opened())
        assert life.statuses == {ENTRY: "filled", stop(): "rejected", stop(1): "rejected"}
        assert "does not rest at paper: BrokerError: -1013" in life.desk.disagreement
        await life.receive(closed())
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    (told,) = life.told
    assert "the order to protect 'a'" in told[1]
    assert "was refused" in told[1]


def test_a_position_that_no_stop_is_taken_for_is_sold_after_a_minute():
    life = Timed(broker=exchange(Refuses))

    async def play():
        life.desk.follow(opened())
        while sum(life.slept) < 60.0:
            await asyncio.sleep(0)
            assert life.broker.position("BTCUSDT") in (0.0, 2.0)
            assert stop(2) not in life.statuses
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.statuses == {ENTRY: "filled", stop(): "rejected", stop(1): "rejected", stop(2): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0


@pytest.mark.parametrize("market", ["spot", "swap"])
def test_a_stop_that_trails_and_is_refused_at_each_level_is_sold_after_the_same_minute(market):
    life = Timed(broker=exchange(Refuses, market=market))
    why: set[str] = set()

    async def play():
        life.desk.follow(opened())
        await life.desk.rests()
        began, level, state = life.at, 90.0, managed()
        while life.broker.position("BTCUSDT") and life.at < began + 10 * MINUTE:
            level += 0.1
            life.desk.follow_state(replace(state, book=replace(state.book, stop=level)))
            for _ in range(20):
                await asyncio.sleep(0)
            why.add(life.desk.disagreement)
        assert 60_000 <= life.at - began <= 65_000

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert len([text for text in why if "its stop does not rest at paper" in text]) == 1  # one text, so told once


@pytest.mark.parametrize("market", ["spot", "swap"])
def test_a_stop_that_the_price_has_passed_already_counts_as_reached_and_is_sold_at_the_market(market):
    life = Life(broker=exchange(market=market))

    async def play():
        life.desk.follow(opened())
        life.broker.now = 89.0
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.statuses == {ENTRY: "filled", stop(): "rejected", stop(1): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0
    assert set(life.received.values()) == {1}


REPLACES = Abilities(stop="market", move="replace", locks=True, watch="both")
AMENDS = Abilities(stop="market", move="amend", locks=True, watch="both")


@pytest.mark.parametrize("able", [REPLACES, AMENDS], ids=["replace", "amend"])
def test_a_stop_is_moved_by_one_request_where_the_broker_can(able):
    life = Life(broker=exchange(abilities=able))

    async def play():
        await life.receive(opened())
        await life.become(moved_to(95.0))
        assert at_rest(life) == [(2.0, 95.0)]
        await life.become(moved_to(97.0))
        assert at_rest(life) == [(2.0, 97.0)]
        await life.receive(closed())

    life.live(play)
    after = {stop(): "cancelled", stop(1): "cancelled", stop(2): "cancelled"} if able is REPLACES else {
        stop(): "cancelled"
    }  # fmt: skip
    assert life.statuses == {ENTRY: "filled", **after, closing(): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []


@pytest.mark.parametrize("trouble", ["lost_reply", "lost_request", "refuse"])
@pytest.mark.parametrize("able", [REPLACES, AMENDS], ids=["replace", "amend"])
def test_a_stop_whose_move_fails_is_asked_about_and_protects_all_the_while(able, trouble):
    def script(call, about, number):
        first = (call, number) == ("amend", 1) and about in (stop(), stop(1))
        return Trouble(kind=trouble) if first else None

    life = Life(broker=exchange(abilities=able, script=script))

    async def play():
        await life.receive(opened())
        life.desk.follow_state(moved_to(95.0))
        settled = asyncio.create_task(life.desk.settle(5.0))
        while not settled.done():
            assert [quantity for quantity, _ in at_rest(life)] == [2.0]
            await asyncio.sleep(0)
        assert at_rest(life) == [(2.0, 90.0 if able is REPLACES and trouble == "refuse" else 95.0)]
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert set(life.received.values()) == {1}


@pytest.mark.parametrize("market", ["spot", "swap"])
@pytest.mark.parametrize("able", [REPLACES, AMENDS, SWAP, LOCKS], ids=["replace", "amend", "both", "gap"])
def test_a_stop_that_is_moved_beyond_the_price_is_sold_at_the_market(able, market):
    life = Life(broker=exchange(market=market, abilities=able))

    async def play():
        await life.receive(opened())
        life.broker.now = 94.0
        await life.become(moved_to(95.0))

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert at_rest(life) == []
    assert set(life.received.values()) == {1}
    assert all(order.done for order in life.desk.orders)


def test_where_a_replacement_is_refused_and_the_old_stop_is_gone_that_rests_again():
    life = Life(broker=exchange(Refuses, abilities=REPLACES))
    life.broker.takes = (0, 2, 4)

    async def play():
        await life.receive(opened())
        await life.become(moved_to(95.0))
        assert at_rest(life) == [(2.0, 90.0)]
        assert "its stop does not move to 95" in life.desk.disagreement
        await life.become(moved_to(97.0))
        assert at_rest(life) == [(2.0, 90.0)]
        life.broker.takes = (5,)
        await life.become(moved_to(98.0))
        assert at_rest(life) == [(2.0, 98.0)]
        assert life.desk.disagreement == ""
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0


def test_where_the_old_level_is_refused_too_what_is_held_is_sold():
    life = Life(broker=exchange(Refuses, abilities=REPLACES))
    life.broker.takes = (0,)

    async def play():
        await life.receive(opened())
        await life.become(moved_to(95.0))

    life.live(play)
    assert life.statuses == {
        ENTRY: "filled", stop(): "cancelled", stop(1): "rejected", stop(2): "rejected", stop(3): "filled",
    }  # fmt: skip
    assert life.broker.position("BTCUSDT") == 0.0


class Busy(Exchange):
    """Asks to wait with whatever protects or closes, until ``pauses`` were made."""

    pauses = 0
    life = None

    async def place(self, order):
        if order.reduces_only and len(self.life.slept) < self.pauses:
            raise BrokerError("429: nothing is asked for 60 s", refused=True, later=True)
        return await super().place(order)


@pytest.mark.parametrize("watch", ["both", "here"])
def test_what_protects_or_closes_waits_where_the_exchange_asks_to_wait(watch):
    life = Life(broker=exchange(Busy, abilities=replace(LOCKS, watch=watch)))
    life.broker.life = life

    async def play():
        life.broker.pauses = 20
        await life.receive(opened())
        assert at_rest(life) == ([(2.0, 90.0)] if watch == "both" else [])
        assert life.desk.disagreement == ""
        life.broker.pauses = len(life.slept) + 20
        await life.receive(closed())
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.statuses == {
        ENTRY: "filled", **({stop(): "cancelled"} if watch == "both" else {}), closing(): "filled",
    }  # fmt: skip
    assert sum("waits, it is not sent: BrokerError: 429" in text for _, text in life.told) == len(life.told)
    assert len(life.told) == (2 if watch == "both" else 1)


def test_an_entry_does_not_wait():
    class Refuses(Exchange):
        async def place(self, order):
            raise BrokerError("429: nothing is asked for 60 s", refused=True, later=True)

    life = Life(broker=exchange(Refuses))
    life.live(lambda: life.receive(opened()))
    assert life.statuses == {ENTRY: "rejected"}


def test_a_stop_that_ended_without_our_doing_is_armed_again_once():
    life = Life(broker=exchange(abilities=replace(LOCKS, unprotected="watch")))

    async def play():
        await life.receive(opened())
        for generation in (0, 1):
            life.broker.orders[stop(generation)].cancel("by hand")
            life.desk.saw(candle(3 + generation, 101.0))
            assert await life.desk.settle(5.0)
            assert at_rest(life) == ([(2.0, 90.0)] if generation == 0 else [])
            assert life.desk.is_unprotected == (generation == 1)
        assert "does not rest at paper: by hand; it is watched here alone" in life.desk.disagreement

    life.live(play)


def test_a_position_too_small_for_a_stop_of_its_own_is_not_protected_over_and_over():
    life = Life(broker=exchange(rules=replace(RULES, least_value=199.0)), quantity=2.0)
    life.live(lambda: life.receive(opened()))
    assert life.statuses == {ENTRY: "rejected"}  # 2 are worth 180 at the stop


@pytest.mark.parametrize("trouble", ["lost_reply", "lost_request"])
def test_a_stop_whose_answer_is_lost_is_asked_about_and_nothing_is_placed_beside_it(trouble):
    def script(call, about, number):
        return Trouble(kind=trouble) if (call, about, number) == ("place", stop(), 1) else None

    life = Life(broker=exchange(script=script))

    async def play():
        await life.receive(opened())
        generation = 0 if trouble == "lost_reply" else 1
        assert at_rest(life) == [(2.0, 90.0)]
        assert life.statuses[stop(generation)] == "accepted"
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert set(life.received.values()) == {1}


class Dying(Exchange):
    """Answers nothing any more from its n-th moment on, before or after a call was carried out, until it is revived."""

    def __init__(self, at, **more):
        super().__init__(**more)
        self.left, self.died = at, asyncio.Event()

    async def _moment(self):
        self.left -= 1
        if self.left == 0:
            self.died.set()
            await asyncio.Event().wait()

    async def place(self, order):
        await self._moment()
        report = await super().place(order)
        await self._moment()
        return report

    async def cancel(self, name, symbol):
        await self._moment()
        report = await super().cancel(name, symbol)
        await self._moment()
        return report

    async def amend(self, order):
        await self._moment()
        report = await super().amend(order)
        await self._moment()
        return report

    async def report(self, name, symbol):
        await self._moment()
        report = await super().report(name, symbol)
        await self._moment()
        return report


def moved_to(level):
    state = managed()
    return replace(state, book=replace(state.book, stop=level))


STEPS = (
    (opened(), managed(), 2.0),
    (None, managed(part()), 1.0),
    (reduced(), managed(), 1.0),
    (None, moved_to(95.0), 1.0),
    (None, moved_to(97.0), 1.0),
    (closed(), None, 0.0),
)
"""Event, state behind it, and what is held then."""


@pytest.mark.parametrize("able", [LOCKS, REPLACES, AMENDS, SWAP], ids=["gap", "replace", "amend", "both"])
def test_killed_before_and_after_every_call_what_is_held_is_protected_and_nothing_is_sold_twice(able):
    def life_that_dies(at):
        market = "spot" if able.locks else "swap"
        broker = exchange(lambda **more: Dying(at, **more), market=market, abilities=able)
        life = Life(broker=broker)

        async def step(event, state):
            if event is not None:
                await life.receive(event)
            if state is not None:
                await life.become(state)

        async def play():
            for event, state, held in STEPS:
                work, death = asyncio.create_task(step(event, state)), asyncio.create_task(broker.died.wait())
                await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
                death.cancel()
                if not work.done():
                    work.cancel()
                    await asyncio.wait({work})
                    broker.died.clear()
                    await life.restart(state, undelivered=[] if event is None else [event])
                    if state is not None:
                        await life.become(state)
                else:
                    work.result()
                there = 0.0 if at == 1 else held  # the entry never left, and counts as lost
                assert broker.position("BTCUSDT") == there
                assert sum(quantity for quantity, _ in at_rest(life)) == there

        life.live(play)
        assert closed_beyond(life.desk.orders) == 0.0
        assert set(life.received.values()) <= {1}
        return broker.left > 0

    at = 1
    while not life_that_dies(at):
        at += 1
    assert at > 20
