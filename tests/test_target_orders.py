"""Targets that rest at the broker beside the stop of a swap: placed, moved, filled there, gone with the position."""

from __future__ import annotations

import pytest
from desk_life import ENTRY, Exchange, Life, closing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from order_events import MINUTE, candle, closed, managed, opened, part, reduced

from bknb.brokers import Abilities, BrokerMarket, Trouble
from bknb.config import Settings
from bknb.domain.broker_orders_and_ids import client_id, closed_beyond
from bknb.domain.declared_exits import Target
from bknb.domain.fills_at_stops_and_gaps import execution_model
from bknb.domain.lifecycle import ClosedThere, Rules, step
from bknb.domain.lifecycle_inputs import FilledTarget, TargetsFilledThere
from bknb.errors import BrokerError

SWAP = Abilities(stop="market", move="both", targets=True, watch="both")
MARKET = BrokerMarket(symbol="", tick=0.1, step=0.001, least_value=5.0)
RULES = Rules("BTCUSDT", "sma", "demo", None, "live", execution_model("touch"), Settings())
LADDER = (Target(105.0, 0.5), Target(110.0))


def exchange(kind=Exchange, **more):
    return kind(**{"market": "swap", "abilities": SWAP, "rules": MARKET, **more})


def target(generation=0):
    return client_id("sma", "BTCUSDT", ("a", MINUTE), "target", generation=generation)


def stop(generation=0):
    return client_id("sma", "BTCUSDT", ("a", MINUTE), "protect", generation=generation)


def state(*orders, targets=LADDER, level=90.0, **more):
    found = managed(*orders, **more)
    return replace(found, book=replace(found.book, targets=tuple(targets), stop=level))


def rests(life, kind="target"):
    """What rests at the broker: quantity and trigger of each target, or each stop."""
    orders = [each for each in life.broker.orders.values() if each.kind == kind and each.working]
    return sorted((each.quantity, each.trigger) for each in orders)


async def pass_by(life, minute, *prices):
    """A minute is traded there, and what the broker has done in it is asked about."""
    life.desk.saw(candle(minute, *prices))
    assert await life.desk.settle(5.0)


def test_a_target_rests_for_each_level_once_the_stop_does_and_all_go_with_the_position():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        assert (rests(life), rests(life, "stop")) == ([], [(2.0, 90.0)])
        await life.become(state())
        assert rests(life) == [(1.0, 105.0), (1.0, 110.0)]
        assert life.desk.disagreement == ""
        await life.receive(closed(price_close=104.0))

    life.live(play)
    assert life.statuses == {
        ENTRY: "filled", stop(): "cancelled", target(): "cancelled", target(1): "cancelled", closing(): "filled",
    }  # fmt: skip
    assert life.broker.position("BTCUSDT") == 0.0
    assert (life.told, set(life.received.values())) == ([], {1})


@pytest.mark.parametrize("able", [replace(SWAP, watch="here"), replace(SWAP, targets=False)], ids=["here", "none"])
def test_targets_are_watched_here_where_the_broker_has_none_or_nothing_rests(able):
    life = Life(broker=exchange(abilities=able))

    async def play():
        await life.receive(opened())
        await life.become(state())

    life.live(play)
    assert rests(life) == []


def test_targets_move_with_those_of_the_record_where_that_is_worth_an_order():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        await life.become(state(), state(targets=(Target(105.02, 0.5), Target(110.0))))
        assert rests(life) == [(1.0, 105.0), (1.0, 110.0)]
        await life.become(state(targets=(Target(106.0, 0.5), Target(110.0))))
        assert rests(life) == [(1.0, 106.0), (1.0, 110.0)]
        await life.become(state(targets=(Target(112.0),)))
        assert rests(life) == [(2.0, 112.0)]
        await life.become(state(targets=()))
        assert (rests(life), rests(life, "stop")) == ([], [(2.0, 90.0)])

    life.live(play)
    assert life.told == []


def test_what_a_target_has_sold_there_is_the_part_of_the_record_and_the_stop_is_for_what_is_left():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        await life.become(state())
        await pass_by(life, 5, 104.0, 103.0, 105.5)
        assert life.broker.position("BTCUSDT") == 1.0
        assert (rests(life), rests(life, "stop")) == ([(1.0, 110.0)], [(1.0, 90.0)])
        key = ("a", MINUTE)
        assert life.desk.targets_filled(key, before=5 * MINUTE) == ()
        assert life.desk.targets_filled(key, before=6 * MINUTE) == (FilledTarget(105.0, 105.0),)
        assert life.desk.disagreement == ""  # the record has yet to see this minute
        await life.receive(reduced(1, 0.5, price=105.0, reason="take_profit"))
        await life.become(state(targets=LADDER[1:]))
        assert life.desk.targets_filled(key, before=2**62) == ()
        assert (rests(life), rests(life, "stop")) == ([(1.0, 110.0)], [(1.0, 90.0)])
        await life.restart(state(targets=LADDER[1:]))
        await pass_by(life, 7, 108.0, 107.0, 111.0)
        assert life.desk.closed_there(key, before=8 * MINUTE) == (110.0, "exchange", True)
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert {each.purpose for each in life.desk.orders} == {"open", "protect", "target"}
    assert rests(life) == rests(life, "stop") == []
    assert (life.told, life.desk.disagreement) == ([], "")


def test_a_level_that_the_record_takes_first_is_taken_back_and_sold_once():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        await life.become(state())
        await life.receive(reduced(1, 0.5, price=105.0, reason="take_profit"))
        await life.become(state(targets=LADDER[1:]))
        assert life.broker.position("BTCUSDT") == 1.0
        assert (rests(life), rests(life, "stop")) == ([(1.0, 110.0)], [(1.0, 90.0)])
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.statuses[target()] == "cancelled"
    assert sum(each.purpose == "reduce" for each in life.desk.orders) == 1
    assert life.told == []


def test_a_level_that_the_broker_fills_while_the_record_takes_it_is_not_sold_again():
    def fills(call, about):
        if (call, about) == ("cancel", target()):
            life.broker.fill(target(), price=105.1)

    class Filling(Exchange):
        async def cancel(self, name, symbol):
            fills("cancel", name)
            return await super().cancel(name, symbol)

    life = Life(broker=exchange(Filling))

    async def play():
        await life.receive(opened())
        await life.become(state())
        await life.receive(reduced(1, 0.5, price=105.0, reason="take_profit"))
        await life.become(state(targets=LADDER[1:]))

    life.live(play)
    assert life.broker.position("BTCUSDT") == 1.0
    assert life.statuses[target()] == "filled"
    assert not any(each.purpose == "reduce" for each in life.desk.orders)


def test_once_the_stop_has_sold_the_targets_go_and_the_record_closes_by_the_stop():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        await life.become(state())
        await pass_by(life, 5, 91.0, 89.0, 92.0)
        assert (rests(life), life.broker.position("BTCUSDT")) == ([], 0.0)
        assert life.desk.closed_there(("a", MINUTE), before=6 * MINUTE) == (90.0, "exchange", False)
        await life.receive(closed(price_close=90.0))

    life.live(play)
    assert (life.told, life.desk.disagreement) == ([], "")


def test_parts_and_adds_change_what_the_targets_close():
    life = Life(broker=exchange())

    async def play():
        await life.receive(opened())
        await life.become(state())
        await life.become(state(part(1, 0.5)))
        await life.receive(reduced(1, 0.5))
        await life.become(state())
        assert rests(life) == [(1.0, 105.0)]  # all that is left
        await life.become(state(part(2, 1.5, kind="add")))
        assert life.broker.position("BTCUSDT") == 4.0
        assert sum(each for each, _ in rests(life)) <= 4.0

    life.live(play)
    assert life.told == []


class Refuses(Exchange):
    """Takes no target."""

    refused = "target"

    async def place(self, order):
        if order.kind == self.refused:
            raise BrokerError("-4045 Reach max stop order limit", refused=True)
        return await super().place(order)


def test_a_level_that_is_refused_is_watched_here_the_stop_rests_and_it_is_told_once():
    life = Life(broker=exchange(Refuses))

    async def play():
        await life.receive(opened())
        await life.become(state(), state(), state())
        assert (rests(life), rests(life, "stop")) == ([], [(2.0, 90.0)])
        assert life.desk.disagreement == ""
        await life.receive(reduced(1, 0.5, price=105.0, reason="take_profit"))
        assert life.broker.position("BTCUSDT") == 1.0

    life.live(play)
    assert [life.statuses[target(each)] for each in (0, 1)] == ["rejected", "rejected"]
    assert all(count == 1 for name, count in life.received.items() if name != ENTRY)
    assert len(life.told) == 1


def test_targets_make_room_for_a_stop_that_is_refused():
    broker = exchange(Refuses)
    life = Life(broker=broker)
    broker.refused = ""

    async def play():
        await life.receive(opened())
        await life.become(state())
        refusals = iter(["stop"])

        async def place(order, place=Exchange.place):
            if order.kind == "stop" and next(refusals, None):
                raise BrokerError("-4045 Reach max stop order limit", refused=True)
            assert order.kind != "stop" or rests(life) == []
            return await place(broker, order)

        broker.place = place
        await life.become(state(level=95.0))
        assert (rests(life), rests(life, "stop")) == ([(1.0, 105.0), (1.0, 110.0)], [(2.0, 95.0)])

    life.live(play)


@pytest.mark.parametrize("trouble", ["lost_reply", "lost_request"])
def test_a_target_whose_answer_is_lost_is_asked_about_and_the_position_is_closed_whatever_became_of_it(trouble):
    def script(call, about, number):
        return Trouble(kind=trouble) if (call, about) == ("place", target()) else None

    life = Life(broker=exchange(script=script))

    async def play():
        await life.receive(opened())
        await life.become(state(targets=(Target(110.0),)))
        assert rests(life, "stop") == [(2.0, 90.0)]
        await life.receive(closed(price_close=104.0))

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert rests(life) == rests(life, "stop") == []
    assert set(life.received.values()) == {1}


@pytest.mark.parametrize(
    ("minute", "reasons"),
    [
        (candle(5, 104.0), ["take_profit"]),
        (candle(5, 104.0, 103.0, 106.0), ["take_profit"]),  # the candle has it, too: it is taken once
        (candle(5, 104.0, 89.0, 106.0), ["take_profit", "stop_loss"]),
        (candle(5, 104.0, 103.0, 111.0), ["take_profit", "take_profit"]),
    ],
    ids=["there alone", "both", "and the stop", "and the last one"],
)
def test_the_record_takes_what_was_filled_there_and_its_minute_goes_on_with_the_rest(minute, reasons):
    after = step(state(), TargetsFilledThere(minute, (FilledTarget(105.0, 105.2),)), RULES)
    fills = [event.fill if hasattr(event, "fill") else event.fills[-1] for event in after.events if _ends(event)]
    assert [fill.reason for fill in fills] == reasons
    assert (fills[0].price, fills[0].share) == (105.2, 0.5)
    assert sum(fill.share for fill in fills) == (0.5 if len(fills) == 1 else 1.0)


def _ends(event):
    return hasattr(event, "fill") or hasattr(event, "fills")


def test_a_position_that_its_last_target_has_closed_there_takes_profit():
    (event,) = step(managed(), ClosedThere(candle(5, 100.0), 110.3, "exchange", by_target=True), RULES).events
    assert (event.close_reason, event.price_close, event.closed_by) == ("take_profit", 110.3, "exchange")


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "move", "part", "restart"]), st.integers(1, 4)), max_size=6))
def test_whatever_happens_there_no_more_is_closed_than_is_held_and_a_stop_rests_for_all(acts):
    life = Life(broker=exchange())
    shares = (0.2, 0.3, None)
    levels = [105.0, 108.0, 112.0]

    async def play():
        await life.receive(opened())
        left, minute, number, size = list(zip(levels, shares, strict=True)), 5, 1, 1.0
        now = lambda: state(targets=[Target(*each) for each in left])  # noqa: E731
        await life.become(now())
        for act, more in acts:
            minute += 1
            if act == "up":
                await pass_by(life, minute, 101.0, 100.0, 103.0 + 2.0 * more)
                for filled in life.desk.targets_filled(("a", MINUTE), before=(minute + 1) * MINUTE):
                    share = next(each[1] for each in left if each[0] == filled.level)
                    await life.receive(reduced(number, share, price=filled.price, reason="take_profit"))
                    left = [each for each in left if each[0] != filled.level]
                    number, size = number + 1, size - share
                await life.become(now())
            elif act == "move":
                left = [(level + more, share) for level, share in left]
                await life.become(now())
            elif act == "part" and size > 0.3:
                await life.become(replace(now(), book=replace(now().book, orders=(part(number, 0.1),))))
                await life.receive(reduced(number, 0.1))
                number, size = number + 1, size - 0.1
                await life.become(now())
            elif act == "restart":
                await life.restart(now())
            elif act == "down" and more == 1:
                await pass_by(life, minute, 91.0, 89.0, 92.0)
                break
            held = life.broker.position("BTCUSDT")
            assert held == pytest.approx(life.desk.position(), abs=1e-9)
            assert held == pytest.approx(2.0 * size if held else 0.0, abs=0.01)
            assert sum(each for each, _ in rests(life)) <= held + 1e-9
            assert sum(each for each, _ in rests(life, "stop")) == pytest.approx(held)
            if not held:
                break
        await life.receive(closed(price_close=100.0))
        assert life.broker.position("BTCUSDT") == pytest.approx(0.0, abs=1e-9)
        assert rests(life) == rests(life, "stop") == []
        assert not any(closed_beyond(orders) for orders in life.desk._signals.values())

    life.live(play)
