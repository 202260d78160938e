"""A position that its stop at the broker has sold: the record closes at that fill, which is an input with a moment."""

from __future__ import annotations

import pytest
from desk_life import ENTRY, Exchange, Life
from minute_clock import MinuteClock
from order_events import MINUTE as STEP
from order_events import candle, holding, managed, opened
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.brokers import Abilities
from bknb.config import Settings
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.fills_at_stops_and_gaps import execution_model
from bknb.domain.lifecycle import ClosedThere, Rules, step
from bknb.live.closed_by_exchange import WAIT_MS, closed_or
from bknb.testing.clocks import SimulatedClock

RULES = Rules("BTCUSDT", "sma", "demo", None, "live", execution_model("touch"), Settings())
SPOT = Abilities(stop="market", move="replace", locks=True, watch="both")
CALM = (100.0, 100.5, 99.5, 100.0)
END = 16


@pytest.mark.parametrize(
    ("by", "reason"),
    [("exchange", "stop_loss"), ("liquidation", "liquidation"), ("adl", "liquidation"),
     ("settlement", "liquidation"), ("manual", "manual")],
)  # fmt: skip
@pytest.mark.parametrize("state", [holding(), managed()], ids=["plain", "managed"])
@pytest.mark.parametrize(
    ("minute", "own"), [(candle(5, 95.0, 89.0), ("stop_loss", 90.0)), (candle(5, 95.0), (None, None))],
    ids=["reached", "not reached"],
)  # fmt: skip
def test_a_position_ends_at_the_fill_of_there_with_what_the_minute_says_beside_it(by, reason, state, minute, own):
    after = step(state, ClosedThere(minute, 89.5, by), RULES)
    (event,) = after.events
    assert (event.close_reason, event.price_close, event.closed_by) == (reason, 89.5, by)
    assert (event.own_reason, event.own_price) == own
    assert (event.closed_at, event.when) == (minute.t, minute.t)
    assert type(after.state).__name__ == "Flat"
    itself = step(state, candle(5, 95.0, 89.0), RULES)
    assert after.state == itself.state
    assert itself.events[-1].closed_by is None


class Own(bknb.brokers.PaperBroker):
    """Fills its stops as it is told to, by minute, at a price of its own."""

    sells: dict[int, float]

    def saw(self, symbol, minute):
        at = (minute.t - ORIGIN) // MINUTE
        rests = [order for order in self._working(symbol) if order.kind == "stop"]
        kept = [(order, order.status) for order in rests]
        for order, _ in kept:
            order.status = "cancelled"  # of the candles it knows nothing
        super().saw(symbol, minute)
        for order, status in kept:
            order.status = status
            self._may_work[symbol].append(order)
            if at in self.sells:
                order.fill(order.quantity, self.sells[at], minute.t)


def market(candles):
    return source([(ORIGIN + k * MINUTE, *candles.get(k, CALM), 1.0) for k in range(-60, END + 10)])


def lived(candles, sells, *, store=None, broker=None, since=0, until=END):
    name = "life"
    strategy = bknb.add_strategy(
        name, interval="1m",
        get_signal=lambda when: bknb.Signal(side="long", price_take_profit=120.0, price_stop_loss=95.0)
        if when.minute == 2 else None,
    )  # fmt: skip
    broker = broker or Own(market="spot", abilities=SPOT)
    broker.sells = sells
    result = bknb.Live.background(
        "X", strategy=strategy, exchange=market(candles), clock=MinuteClock(ORIGIN + since * MINUTE),
        until=ORIGIN + until * MINUTE, store=store or bknb.stores.memory(), broker=broker, quantity=2.0,
        execution="touch", late_minutes=10_000,
    ).result(timeout=60)  # fmt: skip
    assert not result.errors, result.errors
    assert broker.position("X") == (0.0 if until == END else 2.0)
    return result, broker


REACHED = {6: (100.0, 100.5, 94.0, 95.5)}


@pytest.mark.parametrize(
    ("candles", "sells", "closed"),
    [
        ({}, {6: 95.2}, (7, 95.2, "exchange", None)),  # it is known a minute later
        (REACHED, {6: 94.4}, (6, 94.4, "exchange", "stop_loss")),
        (REACHED, {9: 94.4}, (6, 95.0, None, None)),  # the minute was first: sold by a closing order
    ],
    ids=["there alone", "both", "here first"],
)
def test_who_is_first_closes_the_record(candles, sells, closed):
    result, broker = lived(candles, sells)
    (event,) = result.run_record.records.closed
    at = (event.closed_at - ORIGIN) // MINUTE
    assert (at, event.price_close, event.closed_by, event.own_reason) == closed
    assert sum(order.status == "filled" for order in broker.orders.values()) == 2
    story = result.why(event.signal.id)
    assert ("closed by the broker (exchange" in story) == (closed[2] is not None)


def test_the_fill_of_there_is_replayed_from_what_was_saved():
    result, _ = lived(REACHED, {6: 94.4})
    (event,) = result.run_record.records.closed
    replayed = step(
        holding(), ClosedThere(candle(6, 100.0, 94.0), event.price_close, event.closed_by), RULES
    ).events[0]  # fmt: skip
    assert (replayed.price_close, replayed.closed_by) == (event.price_close, event.closed_by)


def test_what_was_sold_while_nothing_ran_closes_the_record_in_its_minute_after_a_restart():
    store, (_, broker) = bknb.stores.memory(), (None, None)
    _, broker = lived({}, {}, store=store, until=5)
    (stop,) = [order for order in broker.orders.values() if order.working]
    stop.fill(stop.quantity, 94.9, ORIGIN + 7 * MINUTE)
    result, _ = lived({}, {}, store=store, broker=broker, since=11)
    (event,) = result.run_record.records.closed
    assert ((event.closed_at - ORIGIN) // MINUTE, event.price_close, event.closed_by) == (7, 94.9, "exchange")


def stop_id(generation=0):
    return client_id("sma", "BTCUSDT", ("a", STEP), "protect", generation=generation)


@pytest.mark.parametrize("sells_after", [3, None])
def test_with_watch_exchange_the_minute_waits_for_the_exchange_five_minutes_at_most(sells_after):
    broker = Exchange(market="spot", abilities=Abilities(stop="market", move="gap", locks=True, watch="exchange"))
    life, rests = Life(broker=broker), []
    minute, now = candle(5, 91.0, 89.0), SimulatedClock(6 * STEP)
    minute_there = candle(5, 91.0)

    async def rest(seconds):
        rests.append(seconds)
        now.advance(now.now() + int(seconds * 1000))
        if len(rests) == sells_after:
            broker.fill(stop_id(), price=89.7)

    async def play():
        await life.receive(opened())
        life.desk.saw(minute_there)
        given = await closed_or(life.desk, holding(), minute, RULES, now=now.now, rest=rest)
        if sells_after is None:
            assert given == minute
            assert sum(rests) * 1000 == WAIT_MS
        else:
            assert given == ClosedThere(minute, 89.7)
            assert len(rests) == sells_after

    life.live(play)
    assert life.statuses[ENTRY] == "filled"
