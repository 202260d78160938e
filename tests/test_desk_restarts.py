"""What a desk finds at its start: its own orders, those that were never sent, and those that were lost."""

from __future__ import annotations

import msgspec
from desk_life import ENTRY, Life, closing, lives, script
from msgspec.structs import replace
from order_events import MINUTE, cancelled, closed, holding, opened, resting, scheduled

from bknb.domain.broker_orders_and_ids import client_id
from bknb.live.saved_orders import MAX_FINISHED_SIGNALS
from bknb.stores.memory_store import MemoryStore


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


def noted(desk):
    """All that an order desk has in memory."""
    parts = (desk, desk._check, desk._reports, desk._requests, desk._requests.unknown_answers, desk._against_record)
    return repr([vars(part) for part in parts])


def test_of_signals_whose_orders_are_forgotten_nothing_is_kept():
    """The first ones are lost, which leaves notes beside their orders."""
    life = Life(broker=script(place=["lost_request"] * 3))
    first = [client_id("sma", "BTCUSDT", (name, 20 * number * MINUTE), "open") for number, name in enumerate("abc", 1)]

    async def play():
        for number, name in enumerate("abcdefghijklm", 1):
            at = 20 * number
            await life.receive(opened(name, at=at), closed(name, at=at, ended=at + 5))
            if number == 3:
                assert all(name in noted(life.desk) for name in first)

    life.live(play)
    assert not {order.client_id for order in life.desk.orders} & {*first}
    kept = noted(life.desk)
    assert not [name for name in first if name in kept]
