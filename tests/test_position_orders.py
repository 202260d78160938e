"""Orders of a managed position: parts and adds, how much each is, what goes wrong with one, and after a restart."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from desk_life import Exchange, Life, closing, script
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from order_events import (
    MINUTE,
    added,
    closed,
    holding,
    managed,
    opened,
    ordering,
    part,
    reduced,
    scheduled,
    taken_back,
)

from bknb.domain.broker_orders_and_ids import MAX_CLOSES, Order, client_id, left_open
from bknb.domain.broker_orders_of_events import ended, orders_after, orders_of_state
from bknb.domain.lifecycle import Flat
from bknb.domain.next_order_action import next_action
from bknb.domain.order_actions import CancelOrder, Place, Query, Save
from bknb.domain.quantity_of_partial_closes import free_to_close, size_of
from bknb.domain.sent_orders_reconciled_at_restart import postponed, reconcile
from bknb.live.saved_orders import MAX_FINISHED_SIGNALS, read_orders

KEY = ("a", MINUTE)


def name_of(purpose: str, number: int = 1, attempt: int = 1) -> str:
    return client_id("sma", "BTCUSDT", KEY, purpose, attempt, number)  # type: ignore[arg-type]  # one of its purposes


def entry(filled: float = 2.0, position: str = "long", **more: Any) -> Order:
    (order,) = orders_after(opened(position=position), {}, lambda _signal: 2.0)
    return replace(order, **({"status": "filled", "filled_quantity": filled} | more))


def of_state(state: Any, *mine: Order) -> tuple[Order, ...]:
    return orders_of_state(state, {KEY: mine} if mine else {}, lambda _signal: 2.0)


def after(event: Any, *mine: Order) -> tuple[Order, ...]:
    return orders_after(event, {KEY: mine} if mine else {}, lambda _signal: 2.0)


def made(*orders: Any, position: str = "long", of: Order | None = None) -> list[Order]:
    """The entry, and the orders of these parts and adds."""
    first = of or entry(position=position)
    return [first, *of_state(managed(*orders, position=position), first)]


def filled(order: Order, quantity: float | None = None, **more: Any) -> Order:
    quantity = order.quantity if quantity is None else quantity
    return replace(
        order, quantity=order.quantity or quantity, filled_quantity=quantity, **({"status": "filled"} | more)
    )


# --- from the record ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "buy", "sell"), [("long", "buy", "sell"), ("short", "sell", "buy")])
def test_a_part_and_an_add_are_ordered_at_their_moment(position: str, buy: str, sell: str) -> None:
    decided = (part(1), part(2, 0.25, kind="add"), part(3, 1.0, kind="add", price_open=98.0))
    first, *orders = made(*decided, position=position)
    found = [(order.purpose, order.side, order.kind, order.price, order.share, order.number) for order in orders]
    assert found == [
        ("reduce", sell, "market", None, 0.5, 1), ("add", buy, "market", None, 0.25, 2),
        ("add", buy, "limit", 98.0, 1.0, 3),
    ]  # fmt: skip
    assert {(order.status, order.created_at, order.quantity) for order in orders} == {("intended", 3 * MINUTE, 0.0)}
    assert [order.reduces_only for order in orders] == [True, False, False]
    state = managed(*decided, position=position)
    assert of_state(state, first, *orders) == ()
    assert of_state(state) == ()  # nobody ever carried out orders of it
    assert of_state(state, replace(first, status="rejected", filled_quantity=0.0)) == ()
    assert of_state(state, ended(first, 9, 1.0)) == ()


def test_a_level_of_a_ladder_is_ordered_when_its_candle_has_closed() -> None:
    (order,) = after(reduced(reason="take_profit", price=104.0), entry())
    assert (order.purpose, order.created_at, order.record_price) == ("reduce", 4 * MINUTE, 104.0)
    assert order.opened_at == 3 * MINUTE
    (at_once,) = after(reduced(), entry())  # at the average price of a moment
    assert at_once.created_at == 3 * MINUTE


def test_the_record_learns_price_and_moment_of_a_part_and_an_add() -> None:
    first, sells, buys = made(part(1), part(2, kind="add"))
    (known,) = after(reduced(price=103.0), first, sells, buys)
    assert known == replace(sells, opened_at=3 * MINUTE, record_price=103.0)
    (other,) = after(added(2, price=104.0), first, known, buys)
    assert other == replace(buys, opened_at=3 * MINUTE, record_price=104.0)
    for event in (reduced(price=103.0), added(2, price=104.0), taken_back(2)):
        assert after(event, first, known, other) == ()
    assert after(reduced()) == after(added()) == after(taken_back()) == ()  # it has no orders
    (back,) = after(taken_back(2), first, sells, buys)
    assert back == replace(buys, ended_at=4 * MINUTE)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_part_that_closes_all_has_the_price_of_that_fill(*, leaves: bool) -> None:
    """Without an add it counted on, a part is all that is left: the record closes its position by it."""
    first, *orders = made(part(1, 0.25), part(2, 1.0), part(3, kind="add", price_open=98.0))
    sold = replace(orders[0], opened_at=3 * MINUTE, record_price=102.5)
    again = replace(sold, client_id=name_of("reduce", 1, 2), attempt=2, opened_at=None)
    taken = replace(orders[2], ended_at=4 * MINUTE)
    undo = replace(orders[1], client_id=name_of("reduce", 3), number=3)
    mine = [ended(first, 5 * MINUTE, 104.0) if leaves else first, sold, orders[1], taken, again, undo]
    found = after(closed(ended=5, price_close=104.0), *mine)
    assert found[-1] == replace(orders[1], opened_at=5 * MINUTE, record_price=104.0)
    assert [order.purpose for order in found] == ["reduce"] if leaves else ["open", "reduce"]
    known = {order.client_id: order for order in found}
    mine = [known.get(order.client_id, order) for order in mine]
    assert after(closed(ended=5, price_close=104.0), *mine) == ()


def test_what_is_left_of_a_position_leaves_at_its_moment() -> None:
    first, sold = made(part(1))
    (over,) = of_state(managed(ends=9), first, filled(sold, 1.0))
    assert over.ended_at == 9 * MINUTE
    action = next_action([over, filled(sold, 1.0)])
    assert isinstance(action, Save)
    assert (action.order.purpose, action.order.quantity, action.order.created_at) == ("close", 1.0, 9 * MINUTE)


def test_what_leaves_together_with_a_part_is_one_closing_order() -> None:
    first, *more = made()
    (over,) = of_state(managed(part(1, at=9), ends=9), first, *more)
    assert over.ended_at == 9 * MINUTE
    assert after(reduced(when=9), over) == ()
    action = next_action([over])
    assert isinstance(action, Save)
    assert (action.order.purpose, action.order.quantity) == ("close", 2.0)


# --- how much -----------------------------------------------------------------------------------------------------

ADDED = {"opened_at": 3 * MINUTE}


@pytest.mark.parametrize("position", ["long", "short"])
@pytest.mark.parametrize("held", [2.0, 0.5])
def test_a_part_is_a_share_of_what_is_really_held(held: float, position: str) -> None:
    first, one, two, three = made(part(1, 0.5), part(2, 0.25), part(3, 1.0, kind="add"), of=entry(held, position))
    assert size_of(one, [first, one, two, three]) == held / 2
    one = replace(one, quantity=held / 2)
    assert size_of(two, [first, one, two, three]) == held / 4  # with the part before it under way, or filled
    assert size_of(two, [first, filled(one), two, three]) == held / 4
    assert size_of(three, [first, one, two, three]) == held
    # what the market made of the first part is what is held then
    less = filled(one, held * 0.4)
    assert size_of(two, [first, less, two, three]) == pytest.approx(held * 0.6 * 0.5)


def test_a_part_behind_an_add_is_a_share_of_both() -> None:
    first, add, half = made(part(1, 1.0, kind="add"), part(2, 1.0))
    assert size_of(half, [first, add, half]) is None  # it counts on the add
    assert size_of(half, [first, filled(add, 2.0), half]) == 2.0
    assert size_of(half, [first, filled(add, 1.0, status="cancelled"), half]) == 1.5
    assert size_of(half, [first, replace(add, status="rejected"), half]) == 1.0  # half of what is held
    small = replace(half, share=0.5)  # sold before the add is filled, as at one open
    assert size_of(small, [first, add, small]) == 1.0
    assert size_of(small, [first, replace(add, status="accepted"), small]) == 1.0


def test_a_resting_add_counts_once_the_record_has_it() -> None:
    first, add, half = made(part(1, 1.0, kind="add", price_open=98.0), part(2, 0.5))
    assert size_of(half, [first, add, half]) == 1.0
    early = filled(add, 2.0)
    assert size_of(half, [first, early, half]) == 1.0
    assert size_of(half, [first, replace(early, **ADDED), half]) == 1.0  # 0.5 of 2 of what is 4
    # filled by the record, and not known to be at the broker yet
    late = replace(add, quantity=2.0, status="sent", **ADDED)
    assert size_of(half, [first, late, half]) == 1.0
    assert size_of(replace(half, share=1.0), [first, late, replace(half, share=1.0)]) is None
    everything = replace(half, share=2.0)
    assert size_of(everything, [first, replace(early, **ADDED), everything]) == 4.0
    back = replace(early, ended_at=4)
    assert size_of(half, [first, back, half]) == 1.0


def test_nothing_is_ordered_of_what_is_not_held() -> None:
    for order in made(part(1), part(2, kind="add"), of=entry(0.0, status="unknown"))[1:]:
        action = next_action([entry(0.0, status="rejected"), order])
        assert isinstance(action, Save)
        assert (action.order.status, action.order.note) == ("cancelled", "nothing is held at the broker")


# --- what is next -------------------------------------------------------------------------------------------------


def test_an_order_is_worked_out_saved_and_placed() -> None:
    first, order = made(part(1))
    action = next_action([first, order])
    assert action == Save(replace(order, quantity=1.0))
    assert next_action([first, action.order]) == Place(action.order)


def test_several_orders_of_one_moment_leave_at_that_moment() -> None:
    first, one, two = made(part(1, 0.5), part(2, 1.0, kind="add"))
    under_way = replace(one, quantity=1.0, status="accepted")
    assert next_action([first, under_way, two]) == Save(replace(two, quantity=2.0))
    sent = replace(two, quantity=2.0, status="accepted")
    assert next_action([first, under_way, sent]) == Query(under_way)
    assert next_action([first, filled(one, 1.0), filled(two, 2.0)]) is None


def test_a_resting_add_is_left_alone_until_the_record_has_it() -> None:
    first, add = made(part(1, kind="add", price_open=98.0))
    rests = replace(add, quantity=1.0, status="accepted")
    assert next_action([first, rests]) is None
    assert next_action([first, replace(rests, **ADDED)]) == Query(replace(rests, **ADDED))
    back = replace(rests, ended_at=4)
    assert next_action([first, back]) == CancelOrder(back)
    assert next_action([first, replace(back, status="cancelled")]) is None
    action = next_action([first, replace(add, ended_at=4)])
    assert isinstance(action, Save)
    assert action.order.status == "cancelled"


def test_what_was_filled_of_an_add_that_was_taken_back_is_sold() -> None:
    first, add = made(part(1, kind="add", price_open=98.0))
    back = replace(add, quantity=1.0, status="cancelled", filled_quantity=0.25, ended_at=4 * MINUTE)
    action = next_action([first, back])
    assert isinstance(action, Save)
    undo = action.order
    assert (undo.purpose, undo.side, undo.quantity, undo.number) == ("reduce", "sell", 0.25, 1)
    assert undo.client_id == name_of("reduce")
    assert next_action([first, back, undo]) == Place(undo)
    assert next_action([first, back, filled(undo)]) is None
    assert left_open([first, back, filled(undo)]) == 2.0
    refused = replace(undo, status="rejected")
    again = next_action([first, back, refused])
    assert isinstance(again, Save)
    assert (again.order.attempt, again.order.quantity) == (2, 0.25)


@pytest.mark.parametrize("status", ["rejected", "cancelled", "lost"])
def test_a_part_that_was_not_sold_is_tried_again(status: Any) -> None:
    first, order = made(part(1))
    cut = filled(replace(order, quantity=1.0), 0.25, status=status)
    action = next_action([first, cut])
    assert isinstance(action, Save)
    assert (action.order.quantity, action.order.attempt) == (0.75, 2)
    assert action.order.client_id == name_of("reduce", attempt=2)
    tries = [cut, *(replace(cut, filled_quantity=0.0, attempt=n) for n in range(2, MAX_CLOSES + 1))]
    assert next_action([first, *tries]) is None
    over = ended(first, 9 * MINUTE, 110.0)
    action = next_action([over, *tries])
    assert isinstance(action, Save)
    assert (action.order.purpose, action.order.attempt, action.order.quantity) == ("close", 1, 1.75)


def test_the_first_size_is_what_was_filled_of_the_entry_when_a_part_is_due() -> None:
    (rests,) = orders_after(scheduled(), {}, lambda _signal: 2.0)
    hangs = replace(rests, status="partly_filled", filled_quantity=0.5, opened_at=2 * MINUTE)
    assert next_action([hangs]) == Query(hangs)
    order = made(part(1))[1]
    assert next_action([hangs, order]) == CancelOrder(hangs)
    action = next_action([replace(hangs, status="cancelled"), order])
    assert action == Save(replace(order, quantity=0.25))
    # the same holds for an add
    add = made(part(2, kind="add", price_open=98.0))[1]
    add = replace(add, quantity=1.0, status="partly_filled", filled_quantity=0.25, **ADDED)
    assert next_action([entry(), add]) == Query(add)
    assert next_action([entry(), add, order]) == CancelOrder(add)
    # an order at the market that no candle has filled is waited for
    waits = replace(entry(0.0), status="accepted")
    assert next_action([waits, order]) == Query(waits)


def test_a_position_that_ends_is_sold_before_anything_else_is_settled() -> None:
    first, sells, market, rests = made(part(1), part(2, kind="add"), part(3, kind="add", price_open=98.0))
    over = ended(first, 9 * MINUTE, 110.0)
    orders = [
        over,
        replace(sells, quantity=1.0, status="unknown"),
        replace(market, quantity=1.0, status="accepted"),
        replace(rests, quantity=1.0, status="partly_filled", filled_quantity=0.25),
    ]
    action = next_action(orders)
    assert isinstance(action, Save)
    close = action.order
    assert (close.purpose, close.quantity) == ("close", 1.25)  # the part may have been sold
    assert next_action([*orders, close]) == Place(close)
    sent = replace(close, status="accepted")
    assert next_action([*orders, sent]) == CancelOrder(orders[2])
    orders[2] = replace(orders[2], status="cancelled", filled_quantity=0.5)  # that much came meanwhile
    assert next_action([*orders, sent]) == CancelOrder(orders[3])
    orders[3] = replace(orders[3], status="cancelled")
    action = next_action([*orders, sent])
    assert isinstance(action, Save)
    beside = replace(action.order, status="accepted")
    assert (beside.number, beside.attempt, beside.quantity) == (3, 1, 0.5)  # by an order of its own, at once
    assert next_action([*orders, sent, beside]) == Query(orders[1])
    orders[1] = replace(orders[1], status="lost")
    closed = [filled(sent), filled(beside)]
    action = next_action([*orders, *closed])
    assert isinstance(action, Save)
    assert (action.order.attempt, action.order.quantity) == (2, 1.0)
    assert left_open([*orders, *closed, filled(action.order)]) == 0.0


def test_what_never_left_is_dropped_when_the_position_ends() -> None:
    first, sells, buys = made(part(1), part(2, kind="add"))
    over = ended(first, 9 * MINUTE, 110.0)
    for order in (sells, buys):
        action = next_action([over, order])
        assert isinstance(action, Save)
        assert (action.order.status, action.order.note) == ("cancelled", "the position ended before this was sent")


STATUSES = ("intended", "sent", "unknown", "lost", "accepted", "partly_filled", "filled", "rejected", "cancelled")


@settings(max_examples=30)
@given(st.data())
def test_nobody_sells_more_than_there_is(data: Any) -> None:
    """Whatever is known of a position's orders: what is sold and under way to be sold was bought."""
    shares = st.floats(0.05, 3.0)
    kinds = data.draw(st.lists(st.tuples(st.sampled_from(["reduce", "add", "rests"]), shares), max_size=4))
    orders = made(
        *(part(number, share, kind="reduce" if kind == "reduce" else "add",
               price_open=98.0 if kind == "rests" else None)
          for number, (kind, share) in enumerate(kinds, 1)),
        of=entry(data.draw(st.sampled_from([2.0, 1.3, 0.1]))),
    )  # fmt: skip
    for _ in range(40):
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(orders) - 1))
            if at == 0:
                orders[0] = orders[0] if orders[0].ended_at else ended(orders[0], 9 * MINUTE, 110.0)
            elif orders[at].purpose == "add" and orders[at].opened_at is None:
                field = data.draw(st.sampled_from(["opened_at", "ended_at"]))
                orders[at] = replace(orders[at], **{field: 4 * MINUTE})
        action = next_action(orders)
        if action is None:
            break
        order = action.order
        if not isinstance(action, Save):
            status = data.draw(st.sampled_from(["unknown", "lost", "accepted", "filled", "rejected", "cancelled"]))
            most = order.quantity - order.filled_quantity
            more = {"filled": 1.0, "cancelled": data.draw(st.sampled_from([0.0, 0.5, 1.0]))}.get(status, 0.0) * most
            order = replace(order, status=status, filled_quantity=order.filled_quantity + more)
        where = [known.client_id for known in orders]
        if order.client_id in where:
            orders[where.index(order.client_id)] = order
        else:
            orders.append(order)
        bought = sum(each.filled_quantity for each in orders if not each.reduces_only)
        sold = sum(each.filled_quantity if each.done else each.quantity for each in orders if each.reduces_only)
        assert sold <= bought * (1 + 1e-9), orders
        assert free_to_close(orders) >= 0.0


# --- carried out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["long", "short"])
def test_parts_and_adds_are_carried_out_and_all_that_was_bought_is_sold(position: str) -> None:
    life, sign = Life(), 1 if position == "long" else -1
    held: list[float] = []

    async def play() -> None:
        def noted() -> None:
            held.append(sign * life.broker.position("BTCUSDT"))
            assert life.desk.position() == life.broker.position("BTCUSDT")

        await life.receive(opened(position=position))
        await life.become(managed(part(1, 0.25), part(2, 0.5, kind="add"), position=position))
        noted()
        await life.receive(reduced(1, 0.25, position=position), added(2, position=position))
        await life.receive(reduced(3, 0.75, when=5, reason="take_profit", position=position))
        noted()
        await life.receive(closed(position=position))
        noted()

    life.live(play)
    assert held == [2.5, 1.0, 0.0]
    assert life.told == []
    assert [row["purpose"] for row in life.desk.rows()] == ["open", "reduce", "add", "reduce", "close"]
    assert set(life.received.values()) == {1}
    assert set(life.statuses.values()) == {"filled"}


def test_a_resting_add_fills_is_taken_back_or_ends_with_its_position() -> None:
    life = Life()
    below = {"price_open": 98.0, "kind": "add"}

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, **below), part(2, **below), part(3, **below)))
        assert [life.statuses[name_of("add", number)] for number in (1, 2, 3)] == ["accepted"] * 3
        life.broker.fill(name_of("add", 1))
        await life.receive(added(1, price=98.0), taken_back(2))
        assert life.statuses[name_of("add", 2)] == "cancelled"
        await life.receive(closed())

    life.live(play)
    assert life.statuses[name_of("add", 3)] == "cancelled"
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.broker.orders[closing()].quantity == 3.0
    assert life.told == []


def test_what_was_filled_of_an_add_that_the_record_took_back_is_sold_and_told() -> None:
    life = Life()

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, kind="add", price_open=98.0)))
        life.broker.fill(name_of("add"), 0.25)
        await life.receive(taken_back(1))
        assert life.broker.position("BTCUSDT") == life.desk.position() == 2.0
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert [text for _, text in life.told] == [
        (
            f"the order to add to 'a' (buy 1 BTCUSDT, {name_of('add')}): 0.25 of 1 filled; the record never added it, "
            "so it is closed again"
        )
    ]


def test_a_refused_add_is_told_and_the_position_is_closed_by_what_is_held() -> None:
    life = Life(broker=script(place=[None, "refuse"]))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, 1.0, kind="add")))
        await life.receive(added(1, 1.0))
        await life.become(managed(part(2, 1.0, at=5)))  # half of what the record holds
        assert life.broker.position("BTCUSDT") == 1.0
        await life.receive(reduced(2, 1.0), closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert [text for _, text in life.told] == [
        f"the order to add to 'a' (buy 2 BTCUSDT, {name_of('add')}) is rejected, 0 of 2 filled; the record waits for "
        "it to fill: BrokerError: the paper broker was told to refuse place " + name_of("add"),
        f"the order to add to 'a' (buy 2 BTCUSDT, {name_of('add')}) is rejected, 0 of 2 filled; the record added it: "
        "BrokerError: the paper broker was told to refuse place " + name_of("add"),
    ]


def test_a_part_that_cannot_be_sold_stops_entries_until_its_position_is_closed() -> None:
    life = Life(broker=script(place=[None, *["refuse"] * MAX_CLOSES]))

    async def play() -> None:
        await life.receive(opened())
        assert life.desk.disagreement == ""
        await life.become(managed(part(1)))
        assert life.desk.disagreement.endswith("could not be carried out; more is held than the record says")
        await life.receive(reduced(), closed())
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.slept == sorted(life.slept)
    assert len(life.slept) == MAX_CLOSES - 1
    assert any(
        "1 are not closed after 8 orders; the end of the position closes them with the rest" in text
        for _, text in life.told
    )


@pytest.mark.parametrize("trouble", ["lost_reply", "lost_request", "partly_cancelled", "refuse"])
@pytest.mark.parametrize("kind", ["reduce", "add"])
def test_trouble_with_a_part_or_an_add(kind: str, trouble: str) -> None:
    life = Life(broker=script(place=[None, trouble]))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, 0.5, kind=kind)))
        await life.receive(reduced() if kind == "reduce" else added())
        bought = {"lost_reply": 1.0, "partly_cancelled": 0.5}.get(trouble, 0.0)
        assert life.broker.position("BTCUSDT") == (1.0 if kind == "reduce" else 2.0 + bought)
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert set(life.received.values()) == {1}
    assert life.told


def test_a_stop_sells_what_is_held_while_nobody_knows_what_became_of_an_add() -> None:
    class Silent(Exchange):
        silent = True

        async def place(self, order: Order) -> Any:
            report = await super().place(order)
            if order.purpose == "add":
                raise TimeoutError("no answer")
            return report

        async def report(self, client_id: str, symbol: str) -> Any:
            if self.silent:
                raise ConnectionError("no route")
            return await super().report(client_id, symbol)

    life = Life(broker=Silent())

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow_state(managed(part(1, kind="add")))
        assert not await life.desk.settle(0.01)
        life.desk.follow(closed())
        for _ in range(200):
            await asyncio.sleep(0)
        assert life.broker.position("BTCUSDT") == 1.0  # the entry is closed, the add is not known yet
        life.broker.silent = False
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert life.broker.orders[closing()].quantity == 2.0
    assert life.broker.orders[closing(2)].quantity == 1.0


class Step(Exchange):
    """Rounds parts and adds down to a step."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    async def place(self, order: Order) -> Any:
        report = await super().place(order)
        if order.purpose in ("reduce", "add"):
            known = self.orders[order.client_id]
            known.filled_quantity = order.quantity // self.step * self.step
            return replace(report, filled_quantity=known.filled_quantity)
        return report


def test_in_a_market_of_whole_numbers_a_part_is_the_whole_number_below_it() -> None:
    life = Life(broker=Step(1.0), quantity=3.0)

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1)))
        assert life.broker.position("BTCUSDT") == life.desk.position() == 2.0  # 1 of 1.5 was sold
        await life.receive(reduced(), closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert len(life.told) == 1


def test_what_the_market_rounds_is_told_once_and_closed_with_the_rest() -> None:
    life = Life(broker=Step(0.01))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, 1 / 3)))
        await life.receive(reduced(1, 1 / 3))
        await life.become(managed(part(2, 1 / 7, at=5), part(3, 1 / 7, at=5, kind="add")))
        await life.restart(managed(part(2, 1 / 7, at=5), part(3, 1 / 7, at=5, kind="add")))
        await life.receive(reduced(2, 1 / 7), added(3, 1 / 7), closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    (told,) = [text for _, text in life.told]
    assert "0.66 of 0.66666667 filled: the market rounds quantities; what is left over is closed" in told


def test_that_the_market_rounds_is_told_once_although_orders_are_forgotten() -> None:
    life = Life(broker=Step(0.01))

    async def play() -> None:
        for at in range(10, 10 * (MAX_FINISHED_SIGNALS + 4), 10):
            more = {"name": str(at), "at": at}
            await life.receive(opened(**more))
            await life.become(managed(part(1, 1 / 3, at=at), **more))
            await life.receive(reduced(1, 1 / 3, when=at, **more), closed(ended=at + 5, **more))
        assert len(life.desk.orders) == 3 * MAX_FINISHED_SIGNALS

    life.live(play)
    assert len(life.told) == 1


def test_an_add_that_hangs_is_told_and_nothing_is_opened_until_it_is_settled() -> None:
    life = Life()

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, kind="add", price_open=98.0)))
        life.broker.fill(name_of("add"), 0.25)
        life.desk.follow(added(1, price=98.0))
        for _ in range(5000):
            assert not await life.desk.settle(0.001)
            if life.told:
                break
        assert life.desk.disagreement.endswith("is partly_filled, however often the broker is asked")
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert "the order to add to 'a'" in life.told[0][1]
    assert life.told[0][1].endswith("the record has it open; 0.25 of 1 are filled")


def test_a_lost_part_that_turns_up_after_another_was_sold_is_told() -> None:
    life = Life(broker=script(place=[None, "lost_request"]))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1)))
        await life.receive(reduced(), closed())
        lost = next(order for order in life.desk.orders if order.status == "lost")
        await life.broker.place(lost)  # it arrives after all
        await life.restart(Flat())

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == -1.0
    assert any("was lost and has turned up: filled" in text for _, text in life.told)
    assert life.told[-1][1].startswith("1 BTCUSDT of 'a' were closed beyond what was open. Nothing new is opened. ")


# --- after a restart ----------------------------------------------------------------------------------------------

STORY: tuple[tuple[Any, Any], ...] = (
    (None, ordering()),
    (opened(), holding()),
    (None, managed(part(1), part(2, 1.0, kind="add", price_open=98.0))),
    (reduced(), managed(part(2, 1.0, kind="add", price_open=98.0))),
    (None, managed(part(2, 1.0, kind="add", price_open=98.0), part(3, 0.25, at=5, kind="add"))),
    (added(3, 0.25), managed(part(2, 1.0, kind="add", price_open=98.0))),
    (taken_back(2, 1.0), managed()),
    (reduced(4, 0.25, when=7, reason="take_profit"), managed()),
    (None, managed(part(5, 0.1, at=8), ends=8)),
    (closed(ended=9), Flat()),
)


@pytest.mark.parametrize("killed", ["before", "after"])
@pytest.mark.parametrize("at", range(len(STORY)))
def test_a_restart_after_every_state_sends_each_order_once(at: int, killed: str) -> None:
    """``before``: the process ended when the state was saved, and before its orders were."""
    life = Life()

    async def play() -> None:
        for number, (event, state) in enumerate(STORY):
            told = [] if event is None else [event]
            if number == at and killed == "before":
                await life.restart(state, undelivered=told)
            await life.receive(*told)
            await life.become(state)
            if number == at and killed == "after":
                await life.restart(state, undelivered=told)

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert [row["purpose"] for row in life.desk.rows()] == ["open", "reduce", "add", "add", "reduce", "close"]
    assert set(life.received.values()) == {1}
    quantities = {order.client_id: order.quantity for order in life.desk.orders}
    assert quantities[closing()] == 1.0
    assert life.told == []


def test_a_part_that_never_left_is_carried_out_after_a_late_restart() -> None:
    now = 500 * MINUTE + 7
    first, one, two = made(part(1, at=9), part(2, at=9, kind="add"))
    state = managed(part(1, at=9), part(2, at=9, kind="add"))
    late = postponed(state, {KEY: [first, one, two]}, now=now)
    assert [order.not_before for order in late.book.orders] == [now, now]
    assert [order.created_at for order in of_state(late, first, one, two)] == [now, now]
    sent = replace(one, status="sent", quantity=1.0)
    assert postponed(state, {KEY: [first, sent, two]}, now=now) == state  # together, or not
    assert postponed(state, {}, now=now) == state
    assert postponed(state, {KEY: [first, one, two]}, now=10 * MINUTE) == state
    ending = managed(part(1, at=9), ends=9)
    both = postponed(ending, {KEY: [first]}, now=now)
    assert (both.leaving.not_before, both.book.orders[0].not_before) == (now, now)


def test_a_part_is_found_again_and_asked_about() -> None:
    first, one, two = made(part(1), part(2, kind="add", price_open=98.0))
    orders = [first, replace(one, quantity=1.0, status="sent"), replace(two, quantity=1.0, status="accepted")]
    found = reconcile(orders, {one.client_id: None}, held=[holding().signal], when=99 * MINUTE)
    assert [(order.client_id, order.status) for order in found.save] == [(one.client_id, "unknown")]
    assert found.problems == ()


def test_orders_of_version_1_are_read_and_go_on() -> None:
    life = Life()

    async def play() -> None:
        await life.receive(opened())
        rows = json.loads(life.store.read("order", ("sma", "BTCUSDT")) or b"")
        assert rows["version"] == 2
        for row in rows["orders"]:
            assert (row.pop("number"), row.pop("share")) == (0, 0.0)
        life.store.write("order", ("sma", "BTCUSDT"), json.dumps(rows["orders"]).encode())
        await life.restart(managed(part(1)))
        assert life.broker.position("BTCUSDT") == 1.0
        await life.receive(reduced(), closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
    assert life.told == []
    with life.store:
        assert len(read_orders(life.store, "sma", "BTCUSDT")) == 3
