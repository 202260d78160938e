"""What adds fill in the candle in which their position ends, or are found to have filled later, is closed at once."""

from __future__ import annotations

from typing import Any

import pytest
from cut_fill_world import ended_with_adds
from msgspec.structs import replace
from order_events import MINUTE
from scenarios import ORIGIN
from test_cut_fills import Noting, entry, name_of
from test_live_portfolio import backtest, live, told

import bknb
from bknb.domain.broker_orders_and_ids import MAX_CLOSES, finished, given_up, is_superseded
from bknb.domain.next_order_action import due_actions, next_action
from bknb.domain.order_actions import CancelOrder, Query, Save, attempt_of
from bknb.testing.clocks import SimulatedClock


def test_what_an_add_is_found_to_have_filled_while_a_position_is_closed_is_closed_beside_it() -> None:
    """The broker tells of it as the add is cancelled: nobody waits for the order that is under way."""
    first = replace(entry(kept=None), ended_at=5 * MINUTE, exit_price=110.0)
    adds = [
        replace(first, client_id=name_of("add", number), purpose="add", number=number, share=0.5, quantity=1.0,
                status="accepted", filled_quantity=0.0, ended_at=None) for number in (1, 2)
    ]  # fmt: skip
    action = next_action([first, *adds])
    assert isinstance(action, Save)
    close = replace(action.order, status="accepted")
    assert (close.client_id, close.quantity) == (name_of("close"), 2.0)
    assert next_action([first, *adds, close]) == CancelOrder(adds[0])
    adds[0] = replace(adds[0], status="filled", filled_quantity=1.0)
    hangs = CancelOrder(adds[1])
    assert next_action([first, *adds, close]) == hangs
    action = next_action([first, *adds, close], {attempt_of(hangs)})  # in vain
    assert isinstance(action, Save)
    found = [first, *adds, close, replace(action.order, status="accepted")]
    assert (action.order.client_id, action.order.quantity) == (name_of("close", 1), 1.0)
    adds[1] = found[2] = replace(adds[1], status="filled", filled_quantity=1.0)
    action = next_action([first, *adds, close])
    assert isinstance(action, Save)
    assert (action.order.client_id, action.order.quantity) == (name_of("close", 2), 2.0)
    action = next_action(found)
    assert isinstance(action, Save)
    assert (action.order.client_id, action.order.quantity) == (name_of("close", 2), 1.0)
    found.append(replace(action.order, status="accepted"))
    assert [type(each) for each in due_actions(found)] == [Query] * 3
    assert not any(is_superseded(order, found) for order in found)
    done = [replace(order, status="filled", filled_quantity=order.quantity) for order in found]
    assert finished(done)


@pytest.mark.parametrize("kind", ["rejected", "cancelled"])
def test_what_an_order_beside_another_one_did_not_close_is_closed_by_the_next(kind: Any) -> None:
    first = replace(entry(kept=None), ended_at=5 * MINUTE, exit_price=110.0)
    add = replace(first, client_id=name_of("add", 1), purpose="add", number=1, share=0.5, quantity=1.0,
                  filled_quantity=1.0, ended_at=None)  # fmt: skip
    close = replace(first, client_id=name_of("close"), purpose="close", side="sell", ended_at=None, status="accepted",
                    filled_quantity=0.0)  # fmt: skip
    beside = replace(close, client_id=name_of("close", 1), number=1, quantity=1.0, status=kind)
    assert [type(each) for each in due_actions([first, add, close, beside])] == [Query]
    close = replace(close, status="filled", filled_quantity=2.0)
    action = next_action([first, add, close, beside])
    assert isinstance(action, Save)
    assert (action.order.client_id, action.order.quantity) == (name_of("close", attempt=2), 1.0)
    last = replace(action.order, attempt=MAX_CLOSES, status="rejected")
    assert given_up([first, add, close, beside, last])
    assert not given_up([first, add, close, replace(beside, status="accepted"), last])


DOWN, WIDE = (100.0, 100.0, 85.0, 88.0), (100.0, 110.0, 85.0, 88.0)
RESTS = bknb.Add(1.0, price_open=95.0)
ENDS: list[tuple[str, dict[str, Any], dict[int, float]]] = [
    ("limit", {"answers": {2: RESTS}, "candle": DOWN}, {8: 100.0}),
    ("limit behind an open", {"answers": {2: RESTS}, "candle": (80.0, 81.0, 79.0, 80.0)}, {8: 100.0}),
    ("at the market", {"answers": {8: bknb.Add(1.0)}, "candle": (110.0, 110.0, 85.0, 88.0)}, {8: 75.0}),
    ("stop order", {"answers": {2: bknb.Add(1.0, price_open=105.0, entry="stop")}, "candle": WIDE}, {}),
    ("two", {"answers": {2: [bknb.Add(0.4, price_open=95.0), bknb.Add(0.6, price_open=93.0)]}, "candle": DOWN},
     {8: 100.0}),
    ("closed at the next open", {"answers": {2: RESTS, 9: bknb.Close()}, "candle": (100.0, 100.0, 94.0, 94.0)},
     {8: 100.0}),
    ("over at the next open", {"answers": {2: RESTS}, "candle": (100.0, 100.0, 94.0, 94.0), "minutes": 9}, {8: 100.0}),
]  # fmt: skip


@pytest.mark.parametrize("paid", [False, True], ids=["cut", "paid"])
@pytest.mark.parametrize(("name", "world", "more"), ENDS, ids=[name for name, *_ in ENDS])
def test_all_that_an_add_filled_is_closed_at_the_open_behind_the_end_of_its_position(
    name: str, world: dict[str, Any], more: dict[int, float], *, paid: bool
) -> None:
    """Also of one that the account has cut; 50 are held before, and the add of up to 50 fills in minute 8."""
    broker = Noting()
    run = ended_with_adds(**world, paid=paid)
    result = live(run | {"broker": broker}, SimulatedClock(ORIGIN), until=ORIGIN + 14 * MINUTE)
    assert told(result, result.leg("B").run_record.last) == told(backtest(run, result, ORIGIN + 14 * MINUTE))
    (entered, *_, left) = result.leg("B").fills["quantity"]
    assert entered == 50.0
    assert (left == 100.0) == (paid and name not in ("at the market", "stop order"))
    more = more if not paid or not more else {8: 100.0}
    assert broker.held == pytest.approx({k: (50.0 if k < 9 else 0.0) for k in range(14)} | more)
    kinds = [error.kind for error in result.leg("B").errors]
    assert set(kinds) <= {"cut_fill"}
