"""Orders, decided purely: from events to orders, from orders to actions, and after a restart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from order_events import (
    MINUTE,
    cancelled,
    closed,
    held,
    holding,
    leaving,
    opened,
    ordering,
    resting,
    scheduled,
    waiting,
)

from bknb.domain.broker_orders_and_ids import (
    MAX_CLOSES,
    Order,
    Report,
    client_id,
    finished,
    left_open,
    own_prefix,
)
from bknb.domain.broker_orders_of_events import ended, orders_after, orders_of_state
from bknb.domain.broker_reports import after_report, report_problem
from bknb.domain.lifecycle import Flat
from bknb.domain.next_order_action import next_action
from bknb.domain.order_actions import CancelOrder, Place, Query, Save
from bknb.domain.sent_orders_reconciled_at_restart import compared_with_open, postponed, reconcile, to_query
from bknb.domain.signal_events import Idle

KEY = ("a", MINUTE)
PREFIX = own_prefix("sma", "BTCUSDT")
STATUSES = (
    *("intended", "sent", "unknown", "lost", "accepted", "partly_filled", "filled", "rejected", "cancelled"),
)  # fmt: skip


def after(event, *orders) -> tuple[Order, ...]:
    return orders_after(event, {orders[0].key: orders} if orders else {}, lambda signal: 2.0)


def orders_by_key(*orders):
    known: dict = {}
    for order in orders:
        known.setdefault(order.key, []).append(order)
    return known


def of_state(state, *orders) -> tuple[Order, ...]:
    return orders_of_state(state, orders_by_key(*orders), lambda signal: 2.0)


def entry(event=None, **more) -> Order:
    (order,) = after(opened() if event is None else event)
    return replace(order, **more)


def closing(of: Order, attempt=1, **more) -> Order:
    over = replace(ended(of, 9 * MINUTE, 110.0), status="filled", filled_quantity=2.0)
    action = next_action([over])
    assert isinstance(action, Save)
    name = client_id("sma", "BTCUSDT", of.key, "close", attempt)
    return replace(action.order, attempt=attempt, client_id=name, **more)


# Names


def test_a_client_id_is_the_same_today_and_tomorrow():
    # Saved orders and orders at an exchange are found by it: it must never come out differently.
    assert client_id("sma", "BTCUSDT", ("sma-BTCUSDT-20240101T0000", 1704067200000), "open") == WRITTEN_DOWN
    assert WRITTEN_DOWN.startswith(own_prefix("sma", "BTCUSDT") + "o")


WRITTEN_DOWN = "bksmapsnfbofbqp24teagpepjus"

TEXT = st.text(max_size=40)


@given(strategy=TEXT, symbol=TEXT, name=TEXT, when=st.integers(0, 2**45), attempt=st.integers(1, 20))
def test_any_client_id_is_short_and_plain(strategy, symbol, name, when, attempt):
    for purpose in ("open", "close", "add", "reduce"):
        for number in (0, 7) if purpose in ("add", "reduce") else (0,):
            found = client_id(strategy, symbol, (name, when), purpose, attempt, number)
            assert re.fullmatch(r"[A-Za-z0-9]{10,32}", found)


PARTS = st.tuples(
    st.sampled_from(["a", "ab", "", "A", "a b"]),
    st.sampled_from(["b", "", "bc"]),
    st.tuples(st.sampled_from(["c", "", "c1", "cd"]), st.integers(0, 12)),
    st.sampled_from(["open", "close", "add", "reduce"]),
    st.integers(1, 12),
    st.integers(0, 12),
)


@given(PARTS, PARTS)
def test_two_orders_never_share_a_client_id(one, other):
    assert (client_id(*one) == client_id(*other)) == (one == other)


# From events to orders


def test_a_scheduled_signal_is_a_resting_limit_order():
    (order,) = after(scheduled(position="short", price=105.0))
    assert (order.purpose, order.side, order.kind, order.price) == ("open", "sell", "limit", 105.0)
    assert (order.quantity, order.status, order.created_at, order.opened_at) == (2.0, "intended", MINUTE, None)


def test_an_opened_signal_is_a_market_order():
    (order,) = after(opened(price=101.0))
    assert (order.side, order.kind, order.price, order.record_price) == ("buy", "market", None, 101.0)
    assert order.opened_at == MINUTE


def test_a_resting_order_is_not_placed_again_when_its_signal_opens():
    resting = entry(scheduled(), status="accepted")
    (order,) = after(opened(opened=5), resting)
    assert order == replace(resting, opened_at=5 * MINUTE)


# What a minute did (a target reached) is known when it has closed; what the clock does is known at that moment.


@pytest.mark.parametrize(
    ("event", "when", "price"),
    [
        (closed(), 10, 110.0),
        (cancelled(), 9, 105.0),
        (replace(cancelled(), reason="price_reject"), 10, 105.0),
        (replace(cancelled(), reason="risk"), 10, 105.0),
        (replace(cancelled(), reason="stopped"), 9, 105.0),
    ],
)
def test_an_end_is_noted_on_the_entry(event, when, price):
    known = entry(status="filled", filled_quantity=2.0)
    (order,) = after(event, known)
    kept = 0.0 if getattr(event, "reason", "") == "risk" else None  # the account, or the rules, refused all of it
    assert order == replace(known, ended_at=when * MINUTE, exit_price=price, kept=kept)
    assert after(event) == ()  # nothing was ever ordered


def test_a_repeated_event_changes_nothing():
    for events in (
        [opened(), closed()],
        [scheduled(), opened(opened=3), closed(opened=3)],
        [scheduled(), cancelled()],
    ):
        known: tuple[Order, ...] = ()
        for number, event in enumerate(events):
            known = after(event, *known)
            assert len(known) == 1
            for again in events[: number + 1]:
                assert after(again, *known) == ()


# From states to orders: what was decided at a moment leaves then, before a minute has filled it


@pytest.mark.parametrize(("kind", "limit"), [("market", None), ("limit", 100.0)])
@pytest.mark.parametrize("late", [False, True])
def test_a_decided_entry_is_ordered_at_its_moment(kind, limit, late):
    state = ordering(entry=kind, not_before=4 if late else None)
    (order,) = of_state(state)
    assert (order.purpose, order.side, order.kind, order.price) == ("open", "buy", kind, limit)
    assert (order.status, order.decided_at, order.created_at) == ("intended", MINUTE, (4 if late else 1) * MINUTE)
    assert (order.opened_at, order.ended_at) == (None, None)
    assert of_state(state, order) == of_state(state, replace(order, status="filled")) == ()


def test_a_stop_entry_is_ordered_when_its_minute_has_closed():
    stop = ordering(entry="stop")
    assert of_state(stop) == after(scheduled(entry="stop")) == of_state(resting(entry="stop")) == ()
    (order,) = after(opened(entry="stop", opened=5))
    assert (order.kind, order.price, order.created_at, order.opened_at) == ("market", None, 6 * MINUTE, 5 * MINUTE)


def test_the_record_learns_the_price_of_an_order_from_its_minute():
    for kind in ("market", "limit"):
        (order,) = of_state(ordering(entry=kind))
        (known,) = after(opened(entry=kind, price=98.0, opened=2), replace(order, status="filled"))
        assert known == replace(order, status="filled", opened_at=2 * MINUTE, record_price=98.0)
    assert known.price == 100.0


def test_a_position_that_leaves_is_closed_at_its_moment():
    known = entry(status="filled", filled_quantity=2.0)
    state = leaving(ends=7, not_before=8)
    (over,) = of_state(state, known)
    assert over == replace(known, ended_at=8 * MINUTE, exit_price=109.0)
    action = next_action([over])
    assert isinstance(action, Save)
    assert (action.order.created_at, action.order.record_price) == (8 * MINUTE, 109.0)
    assert of_state(state, over) == of_state(state, over, action.order) == ()
    # the price of the minute that fills it is told later, and the order is not made again
    sent = replace(action.order, status="accepted")
    new, close = after(closed(price_close=108.0), over, sent)
    assert (new, close) == (replace(over, exit_price=108.0), replace(sent, record_price=108.0))
    assert after(closed(price_close=108.0), new, close) == ()
    assert of_state(state, new, close) == ()


def test_what_leaves_and_what_follows_it_are_two_orders():
    known = entry(status="filled", filled_quantity=2.0)
    over, follows = of_state(ordering("b", at=9, ending=leaving()), known)
    assert (over.ended_at, follows.key, follows.created_at) == (9 * MINUTE, ("b", 9 * MINUTE), 9 * MINUTE)


def test_what_only_waits_or_is_held_orders_nothing():
    for state in (Flat(), resting(), holding()):
        assert of_state(state) == of_state(state, entry(status="filled")) == ()


# A restart that is late: what never left fills at the market of then


NOW = 500 * MINUTE + 7


def late(state, *orders, now=NOW, **more):
    return postponed(state, orders_by_key(*orders), now=now, **more)


@pytest.mark.parametrize("kind", ["market", "limit"])
def test_an_order_that_never_left_is_carried_out_after_a_late_restart(kind):
    state = ordering(entry=kind)
    (order,) = of_state(state)
    expected = replace(state, not_before=NOW)
    for known in ([], [order]):  # the process ended before the order was saved, or after
        assert late(state, *known) == expected
    assert of_state(expected, order) == (replace(order, created_at=NOW),)
    for status in set(STATUSES) - {"intended"}:
        assert late(state, replace(order, status=status)) == state
        assert of_state(state, replace(order, status=status)) == ()
    for soon in (0, 2 * MINUTE):
        assert late(state, order, now=soon) == state
    assert late(state, order, now=2 * MINUTE + 1) == replace(state, not_before=2 * MINUTE + 1)
    for soon, fast in ((4, 3), (61, 60)):  # a clock that runs faster than time: a minute of it is no time at all
        assert late(state, order, now=soon * MINUTE, late_after=lambda when, ms=fast * MINUTE: when + ms) == state
        assert late(state, order, now=soon * MINUTE + 1, late_after=lambda when, ms=fast * MINUTE: when + ms) != state


def test_a_position_whose_closing_order_never_left_leaves_after_a_late_restart():
    known, state = entry(status="filled", filled_quantity=2.0), leaving()
    (over,) = of_state(state, known)
    close = next_action([over]).order
    expected = replace(state, leaving=replace(state.leaving, not_before=NOW))
    for mine in ([known], [over], [over, close]):
        assert late(state, *mine) == expected
    assert of_state(expected, over, close) == (replace(over, ended_at=NOW), replace(close, created_at=NOW))
    assert late(state, over, replace(close, status="sent")) == state
    assert late(state) == state  # nobody ever carried out orders of it
    assert late(state, over, now=10 * MINUTE) == state


def test_both_are_late_together_or_each_alone():
    state = ordering("b", at=9, ending=leaving())
    known = entry(status="filled", filled_quantity=2.0)
    over, follows = of_state(state, known)
    close = next_action([over]).order
    both = late(state, over, close, follows)
    assert (both.not_before, both.ending.leaving.not_before) == (NOW, NOW)
    entering = late(state, over, replace(close, status="accepted"), follows)
    assert entering == replace(state, not_before=NOW)
    ending = late(state, over, close, replace(follows, status="sent"))
    assert ending == replace(both, not_before=9 * MINUTE)


def test_what_is_watched_here_is_not_late():
    for state in (ordering(entry="stop"), resting(), holding(), Flat()):
        assert late(state) == state


def test_an_action_holds_its_order_and_nothing_else():
    assert not any(hasattr(action(entry()), "__dict__") for action in (Place, CancelOrder, Query, Save))


def test_a_quiet_minute_makes_no_order():
    quiet = Idle(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=1.0)
    assert after(quiet, entry()) == ()


def test_an_id_of_the_users_own_may_come_twice():
    first = replace(ended(entry(opened("mine", at=1)), 2, 1.0), status="filled")
    (second,) = after(opened("mine", at=7), first)
    assert second.client_id != first.client_id


# From orders to actions. (status of the entry, opened, over) -> what is next

DEEDS = {
    ("intended", False): Place, ("intended", True): Save,
    ("sent", False): Query, ("sent", True): Query,
    ("unknown", False): Query, ("unknown", True): Query,
    ("accepted", False): Query, ("accepted", True): CancelOrder,
    ("partly_filled", False): Query, ("partly_filled", True): CancelOrder,
    ("filled", False): None, ("filled", True): None,
    ("lost", False): None, ("lost", True): None,
    ("rejected", False): None, ("rejected", True): None,
    ("cancelled", False): None, ("cancelled", True): None,
}  # fmt: skip


@pytest.mark.parametrize(("status", "over"), DEEDS)
def test_what_is_next_for_an_entry(status, over):
    order = entry(status=status)
    action = next_action([ended(order, 9, 1.0) if over else order])
    assert type(action) is (DEEDS[status, over] or type(None))
    assert {status for status, _ in DEEDS} == set(STATUSES)
    if status == "intended" and over:
        assert action.order.status == "cancelled"


def test_a_resting_order_is_left_alone_until_its_signal_opens():
    resting = entry(scheduled(), status="accepted")
    assert next_action([resting]) is None
    assert next_action([replace(resting, opened_at=5)]) == Query(replace(resting, opened_at=5))


@pytest.mark.parametrize("status", ["filled", "cancelled", "rejected", "lost"])
@pytest.mark.parametrize("filled", [0.0, 0.5, 2.0])
def test_exactly_what_was_filled_is_closed(status, filled):
    over = ended(entry(status=status, filled_quantity=filled), 9 * MINUTE, 110.0)
    action = next_action([over])
    if filled == 0.0:
        assert action is None
        assert finished([over])
        return
    order = action.order
    assert (order.purpose, order.side, order.kind, order.quantity) == ("close", "sell", "market", filled)
    assert (order.record_price, order.created_at, order.reduces_only) == (110.0, 9 * MINUTE, True)
    assert next_action([over, order]) == Place(order)
    assert left_open([over, replace(order, status="filled", filled_quantity=filled)]) == 0.0


@pytest.mark.parametrize("status", STATUSES)
def test_what_is_next_for_a_closing_order(status):
    over = ended(entry(status="filled", filled_quantity=2.0), 9, 110.0)
    order = closing(over, status=status, filled_quantity={"filled": 2.0, "partly_filled": 0.5}.get(status, 0.0))
    action = next_action([over, order])
    if status == "intended":
        assert action == Place(order)
    elif status in ("sent", "unknown", "accepted", "partly_filled"):
        assert action == Query(order)
    elif status == "filled":
        assert action is None
        assert finished([over, order])
    else:  # it certainly did not close: another order, under another name
        assert (action.order.attempt, action.order.quantity, action.order.status) == (2, 2.0, "intended")
        assert action.order.client_id != order.client_id


def test_closing_is_given_up_after_so_many_orders():
    over = ended(entry(status="filled", filled_quantity=2.0), 9, 110.0)
    tries = [closing(over, attempt, status="rejected") for attempt in range(1, MAX_CLOSES + 1)]
    assert next_action([over, *tries[:-1]]).order.attempt == MAX_CLOSES
    assert next_action([over, *tries]) is None
    assert not finished([over, *tries])


def test_dust_is_not_closed():
    over = ended(entry(status="filled", filled_quantity=2.0), 9, 110.0)
    parts = [closing(over, attempt, status="cancelled", filled_quantity=2.0 / 3) for attempt in (1, 2, 3)]
    assert left_open([over, *parts]) == 0.0


# Reports


def report(order: Order, status, filled=0.0, **more) -> Report:
    more = {"average_price": order.record_price if filled > 0 else None, **more}
    return Report(client_id=order.client_id, symbol=order.symbol, status=status, filled_quantity=filled, **more)


def test_what_was_filled_stays_filled():
    order = entry(status="partly_filled", filled_quantity=1.5, average_price=100.0)
    late = after_report(order, report(order, "partly_filled", 0.5, average_price=90.0))
    assert (late.filled_quantity, late.average_price) == (1.5, 100.0)
    assert after_report(replace(order, status="cancelled"), report(order, "accepted")).status == "cancelled"
    assert after_report(replace(order, status="lost"), report(order, "accepted")).status == "accepted"
    late = after_report(replace(order, status="cancelled"), report(order, "filled", 2.0))
    assert (late.status, late.filled_quantity) == ("filled", 2.0)


@pytest.mark.parametrize("filled", [float("nan"), float("inf"), -0.1, 2.1])
def test_a_report_that_cannot_be_right(filled):
    order = entry(status="sent")
    assert report_problem(order, report(order, "partly_filled", filled))
    assert report_problem(order, report(order, "filled", 1.0))
    assert report_problem(replace(order, client_id="other"), report(order, "filled", 2.0))
    assert not report_problem(order, report(order, "filled", 2.0))


@pytest.mark.parametrize(
    ("price", "market", "problem"),
    [
        (150.0, (), False), (150.1, (), True), (66.7, (), False), (66.6, (), True), (1e30, (90.0, 110.0), True),
        (165.0, (90.0, 110.0), False), (166.0, (90.0, 110.0), True), (60.0, (90.0, 110.0), False),
        (45.0, (40.0, 110.0), False), (1e-300, (), True),
    ],
)  # fmt: skip
def test_an_average_price_the_market_cannot_have_given(price, market, problem):
    order = entry(status="sent", record_price=100.0)
    said = report_problem(order, report(order, "filled", 2.0, average_price=price), market)
    assert bool(said) == problem


# After a restart. status of the saved entry, what the broker says -> status then; None: forgotten

KNOWN = ("accepted", 0.0)
SAYS = {"nothing": "no answer", "never seen": None, "accepted": KNOWN, "filled": ("filled", 2.0)}
RESTARTS = {
    "intended": {"nothing": "intended", "never seen": "intended", "accepted": "intended", "filled": "intended"},
    "sent": {"nothing": "unknown", "never seen": "unknown", "accepted": "accepted", "filled": "filled"},
    "unknown": {"nothing": "unknown", "never seen": "unknown", "accepted": "accepted", "filled": "filled"},
    "accepted": {"nothing": "accepted", "never seen": "unknown", "accepted": "accepted", "filled": "filled"},
    "partly_filled": {"nothing": "partly_filled", "never seen": "unknown", "accepted": "accepted", "filled": "filled"},
    "lost": {"nothing": "lost", "never seen": "lost", "accepted": "accepted", "filled": "filled"},
    "filled": dict.fromkeys(SAYS, "filled"),
    "rejected": dict.fromkeys(SAYS, "rejected"),
    "cancelled": dict.fromkeys(SAYS, "cancelled"),
}


def answers(order: Order, says: str) -> dict[str, Report | None]:
    reply = SAYS[says]
    if reply == "no answer":
        return {}
    return {order.client_id: None if reply is None else report(order, *reply)}


def restart(*orders, reports=None, holds=(), when=99 * MINUTE):
    return reconcile(orders, reports or {}, held=holds, when=when)


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("status", RESTARTS)
def test_an_order_after_a_restart(status, says):
    order = entry(status=status)
    found = restart(order, reports=answers(order, says), holds=[held()])
    (new,) = found.save or (order,)
    assert new.status == RESTARTS[status][says]
    assert not found.discard
    # and what may have left is never sent again
    assert (type(next_action([new])) is Place) == (status == "intended")
    assert bool(found.problems) == (status == "lost" and new.status != "lost")


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("status", RESTARTS)
def test_an_order_whose_signal_the_record_does_not_hold(status, says):
    order = entry(scheduled(), status=status)
    for holds in ([], [held("b")], [waiting("a", at=7)], [held("b"), waiting("a", at=7)]):
        found = restart(order, reports=answers(order, says), holds=holds)
        if status == "intended":
            assert found.discard == (order,)
            continue
        (new,) = found.save
        assert (new.ended_at, new.exit_price) == (99 * MINUTE, 100.0)
        assert any("does not hold its signal" in problem or "turned up" in problem for problem in found.problems)


def test_a_restart_is_settled_the_second_time():
    for status in RESTARTS:
        for says in SAYS:
            order = entry(status=status)
            first = restart(order, reports=answers(order, says), holds=[held("b")])
            if not first.discard:
                again = restart(*first.save, reports=answers(order, says), holds=[held("b")])
                assert again.save == ()


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (("rejected", 0.0), "was refused: no"),
        (("cancelled", 0.5), "was cancelled at the broker, 0.5 of 2 filled: no"),
        (("filled", 2.0), ""),
    ],
)
def test_a_closing_order_that_was_refused_before_a_start_is_told(said, text):
    over = ended(entry(status="filled", filled_quantity=2.0), 9, 1.0)
    first = closing(over, status="accepted")
    reports = {first.client_id: report(first, *said, note="no")}
    found = restart(over, first, reports=reports)
    assert [problem.partition(") ")[2] for problem in found.problems] == ([text] if text else [])
    assert restart(over, first, closing(over, attempt=2), reports=reports).problems == ()  # it was cancelled here


def test_an_order_that_waits_learns_that_its_signal_is_open():
    order = entry(scheduled(), status="accepted")
    found = restart(order, reports={order.client_id: report(order, "accepted")}, holds=[held(opened=5, price=98.0)])
    assert found.save == (replace(order, opened_at=5 * MINUTE, record_price=98.0),)


def test_the_orders_of_what_leaves_and_of_what_follows_it_are_both_kept():
    leaves, follows = entry(status="filled", filled_quantity=2.0), entry(scheduled("b", at=9), status="intended")
    found = restart(leaves, follows, holds=[held(), waiting("b", at=9)])
    assert (found.save, found.discard, found.problems) == ((), (), ())


def test_only_what_may_have_changed_is_asked_about():
    orders = [entry(opened(status), status=status) for status in STATUSES]
    asked = {order.status for order in to_query(orders)}
    assert asked == {"sent", "unknown", "lost", "accepted", "partly_filled"}


def test_an_order_that_is_done_here_is_cancelled_and_an_unknown_one_reported():
    over = ended(entry(status="cancelled"), 9, 1.0)
    unknown = Report(client_id=f"{PREFIX}oaaaa", symbol="BTCUSDT", status="accepted")
    of_others = Report(client_id="by hand", symbol="BTCUSDT", status="accepted")
    working = [report(over, "accepted"), unknown, of_others]
    found = compared_with_open([over], working, done_before={over.client_id}, prefix=PREFIX)
    assert (found.again, found.save) == ((over,), (replace(over, status="unknown"),))
    assert len(found.problems) == len(found.unknown) == 1
    assert found.problems[0].endswith("is cancelled for us and still works at the broker; it is being cancelled")
    assert unknown.client_id in found.unknown[0]
    # it was done while the broker was asked: the list is older
    assert compared_with_open([over], working[:1], done_before=set(), prefix=PREFIX) == ((), (), (), ())


@pytest.mark.parametrize("status", ["filled", "lost"])
def test_an_order_that_is_filled_or_was_lost_for_us_and_works_at_the_broker_stays_what_it_is(status):
    order = entry(status=status)
    found = compared_with_open([order], [report(order, "accepted")], done_before={order.client_id}, prefix=PREFIX)
    assert (found.again, found.save, len(found.problems)) == ((order,), (), int(status == "filled"))


def test_a_position_without_an_order_is_reported():
    for kind in ("market", "limit", "stop"):
        found = restart(holds=[held(entry=kind)])
        assert found.save == ()
        assert "no order was ever made" in found.problems[0]
    assert restart(holds=[waiting(entry="stop")]).problems == ()  # watched here
    assert "no order was ever made" in restart(holds=[waiting()]).problems[0]


def test_a_closing_order_is_found_again():
    over = ended(entry(status="filled", filled_quantity=2.0), 9, 110.0)
    order = closing(over, status="sent")
    found = restart(over, order, reports={order.client_id: report(order, "filled", 2.0)})
    assert [new.status for new in found.save] == ["filled"]
    assert found.problems == ()
