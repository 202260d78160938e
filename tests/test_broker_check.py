"""What a start asks a broker, and what is not known before it has answered; a broker that refuses by report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from desk_life import ENTRY, Exchange, Life, closing, script
from msgspec.structs import replace
from order_events import (
    MINUTE,
    added,
    cancelled,
    candle,
    closed,
    holding,
    managed,
    opened,
    part,
    scheduled,
    taken_back,
)
from test_position_orders import entry
from test_quantities import FOR_EVER, Silent, pauses

from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.broker_orders_and_ids import MAX_CLOSES, Order, Report, order_beside, own_prefix
from bknb.domain.broker_orders_of_events import ended, orders_after
from bknb.domain.lifecycle import Flat
from bknb.domain.next_order_action import next_action
from bknb.domain.order_actions import CancelOrder, Query, Save
from bknb.domain.signal_events import Closed, Opened
from bknb.errors import BrokerError, StateError
from bknb.live import broker_asked_at_restart, orders_from_record

UNKNOWN = Report(client_id=f"{own_prefix('sma', 'BTCUSDT')}oaaaa", symbol="BTCUSDT", status="accepted")
AGAIN = "it is asked again, and nothing is opened before"
LEFT = "is rejected for us and still works at the broker; it is being cancelled"


class Unlisted(Exchange):
    """Lists its open orders when it is asked often enough."""

    silent = 0

    async def open_orders(self, symbol: str) -> list[Report]:
        self.silent -= 1
        if self.silent >= 0:
            raise TimeoutError("down")
        return [*await super().open_orders(symbol), UNKNOWN]


class Stubborn(Exchange):
    """Cancels no order for a while, and answers nothing or that it has heard."""

    silent = 0
    acknowledges = False

    async def cancel(self, client_id: str, symbol: str) -> Report:
        if not self.silent:
            return await super().cancel(client_id, symbol)
        if self.acknowledges:
            return Report(client_id=client_id, symbol=symbol, status="accepted")
        raise TimeoutError("down")

    async def report(self, client_id: str, symbol: str) -> Report | None:
        if self.silent and not self.acknowledges:
            raise TimeoutError("down")
        return await super().report(client_id, symbol)


async def begun(life: Life, state: Any = None, **more: Any) -> None:
    """End as a crash does, and start again; nothing is settled then."""
    await life.desk.close(0.0)
    life.desk = life.made()
    await life.desk.start(Flat() if state is None else state, when=50 * MINUTE, **more)


def test_a_lost_order_of_a_signal_that_is_over_stops_entries_until_the_broker_has_answered() -> None:
    broker = Silent(script={"place": [Trouble(kind="lost_request")]})
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(opened(), closed())
        assert life.statuses == {ENTRY: "lost"}
        (lost,) = life.desk.orders
        await life.broker.place(lost)  # it arrives after all
        broker.silent = 3
        await begun(life)
        assert life.desk.disagreement.endswith("the broker has not said yet what became of it")
        assert await life.desk.settle(5.0)
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert life.received == {ENTRY: 1, closing(): 1}


@pytest.mark.parametrize("acknowledges", [False, True])
def test_an_order_done_for_us_that_works_at_the_broker_is_cancelled_until_it_is_settled(*, acknowledges: bool) -> None:
    broker = Stubborn(script={"place": [Trouble(kind="refuse")]})
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(scheduled(), cancelled())
        (refused,) = life.desk.orders
        await broker.place(refused)  # it had not been refused after all
        broker.silent, broker.acknowledges = FOR_EVER, acknowledges
        await begun(life)
        ((_, text),) = life.told[-1:]
        assert text.endswith(LEFT)
        assert life.desk.disagreement.endswith("works at the broker although it was over for us")
        await pauses(life, 5)
        assert life.desk.disagreement != ""
        await begun(life)  # what is to be cancelled is not forgotten by a restart
        assert broker.orders[ENTRY].working
        broker.silent = 0
        assert await life.desk.settle(5.0)
        assert life.desk.disagreement == ""

    life.live(play)
    assert (broker.orders[ENTRY].status, life.statuses) == ("cancelled", {ENTRY: "cancelled"})


class OneSilent(Exchange):
    """Neither cancels one of its orders nor says what became of it."""

    quiet = ""

    async def cancel(self, client_id: str, symbol: str) -> Report:
        if client_id == self.quiet:
            raise TimeoutError("down")
        return await super().cancel(client_id, symbol)

    async def report(self, client_id: str, symbol: str) -> Report | None:
        if client_id == self.quiet:
            raise TimeoutError("down")
        return await super().report(client_id, symbol)


def test_an_add_nobody_knows_the_fate_of_does_not_hold_up_the_close() -> None:
    broker = OneSilent(script={"place": [None, Trouble(kind="refuse")]})
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(2, 0.5, kind="add", price_open=90.0)))
        refused = life.desk.orders[1]
        await broker.place(refused)  # it had not been refused after all
        await life.receive(taken_back(2))
        broker.quiet = refused.client_id
        await begun(life, holding())
        life.desk.follow(closed())
        life.desk.follow_state(Flat())
        await pauses(life, 3)
        assert (life.statuses[closing()], broker.position("BTCUSDT")) == ("filled", 0.0)
        assert refused.client_id in life.desk.disagreement
        broker.quiet = ""
        assert await life.desk.settle(5.0)
        assert (life.desk.disagreement, broker.orders[refused.client_id].status) == ("", "cancelled")

    life.live(play)
    assert life.received[closing()] == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_an_entry_nobody_knows_the_fate_of_does_not_hold_up_the_close(*, restarted: bool) -> None:
    class Stale(OneSilent):
        async def open_orders(self, symbol: str) -> list[Report]:
            return [replace(self.orders[ENTRY].report(), status="partly_filled")]

    broker = Stale(script={"place": [Trouble(kind="partly_cancelled")]})
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(opened())
        broker.quiet = ENTRY
        await begun(life, holding())
        assert life.statuses == {ENTRY: "unknown"}
        life.desk.follow(closed())
        life.desk.follow_state(Flat())
        if restarted:
            await begun(life)
        await pauses(life, 3)
        assert (life.statuses[closing()], broker.position("BTCUSDT")) == ("filled", 0.0)

    life.live(play)
    assert life.received[closing()] == 1


def test_an_entry_that_goes_on_filling_leaves_closing_orders_for_the_end() -> None:
    first = replace(ended(entry(2.0, quantity=2.0), 9 * MINUTE, 110.0), status="partly_filled")
    orders = [first]
    while (action := next_action(orders)) != CancelOrder(first):
        assert isinstance(action, Save)
        orders.append(replace(action.order, status="filled", quantity=0.1, filled_quantity=0.1))
    assert len(orders) - 1 == MAX_CLOSES // 2
    settled = next_action([replace(first, status="filled"), *orders[1:]])
    assert isinstance(settled, Save)
    assert settled.order.attempt == MAX_CLOSES // 2 + 1


def test_an_add_that_goes_on_filling_leaves_closing_orders_for_the_end() -> None:
    first = ended(entry(2.0, quantity=2.0), 9 * MINUTE, 110.0)
    add = order_beside(first, "add", quantity=1.0, record_price=98.0, created_at=9, limit=98.0, number=2)
    orders = [first, replace(add, status="partly_filled", filled_quantity=0.5)]
    while (action := next_action(orders)) != CancelOrder(orders[1]):
        assert isinstance(action, Save)
        orders.append(replace(action.order, status="filled", quantity=0.1, filled_quantity=0.1))
    assert len(orders) - 2 == MAX_CLOSES // 2


@pytest.mark.parametrize("purpose", ["close", "reduce"])
def test_an_order_that_works_although_another_was_made_in_its_place_is_cancelled(purpose: Any) -> None:
    first = entry(2.0, quantity=2.0)
    first = ended(first, 9 * MINUTE, 110.0) if purpose == "close" else first
    more: dict[str, Any] = {"quantity": 1.0, "record_price": 110.0, "created_at": 9 * MINUTE}
    more["number"] = int(purpose == "reduce")
    one = replace(order_beside(first, purpose, **more), status="accepted")
    two = replace(order_beside(first, purpose, attempt=2, **more), status="filled", filled_quantity=1.0)
    assert next_action([first, one, two]) == CancelOrder(one)
    assert next_action([first, one]) == Query(one)


def test_nothing_is_opened_before_the_broker_has_listed_its_open_orders() -> None:
    broker = Unlisted(script={"place": [Trouble(kind="refuse")]})
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(scheduled(), cancelled())
        (refused,) = life.desk.orders
        await broker.place(refused)
        broker.silent = 4
        life.told.clear()
        await begun(life)
        assert life.desk.disagreement == "paper has not listed its open orders on BTCUSDT yet"
        assert [text for _, text in life.told] == [
            f"paper did not list its open orders on BTCUSDT: TimeoutError: down; {AGAIN}"
        ]
        await life.receive(opened("b", at=20))  # what is recorded all the same is carried out meanwhile
        await pauses(life, 3)
        for _ in range(100):
            await asyncio.sleep(0)
        assert await life.desk.settle(5.0)
        assert "that was never saved here" in life.desk.disagreement

    life.live(play)
    assert life.slept[:3] == [1.0, 2.0, 4.0]
    assert broker.orders[ENTRY].status == "cancelled"
    assert [text.partition(" of this strategy")[0] for _, text in life.told[1:]] == [
        f"the order to open 'a' (buy 2 BTCUSDT, {ENTRY}) {LEFT}",
        f"the broker has an order {UNKNOWN.client_id}",
    ]


@pytest.mark.parametrize("silent", [0, 2])
def test_an_open_order_without_a_client_id_is_of_somebody_else(silent: int) -> None:
    class Foreign(Exchange):
        silent = 0

        async def open_orders(self, symbol: str) -> list[Report]:
            self.silent -= 1
            if self.silent >= 0:
                raise TimeoutError("down")
            nameless: Any = None
            return [Report(client_id=nameless, symbol=symbol, status="accepted"), UNKNOWN]

    broker = Foreign()
    broker.silent = silent
    life = Life(broker=broker)

    async def play() -> None:
        for _ in range(30):
            await asyncio.sleep(0)
        assert "that was never saved here" in life.desk.disagreement

    life.live(play)


@pytest.mark.parametrize("silent", [0, 1])
def test_open_orders_that_cannot_be_compared_are_told_and_asked_for_again(silent: int) -> None:
    class Name(str):
        __slots__ = ()

        def startswith(self, *_: Any) -> bool:
            raise ArithmeticError("a fault")

    class Odd(Unlisted):
        odd = 2

        async def open_orders(self, symbol: str) -> list[Report]:
            found = await super().open_orders(symbol)
            self.odd -= 1
            return found if self.odd < 0 else [replace(UNKNOWN, client_id=Name("mine"))]

    broker = Odd()
    broker.silent = silent
    life = Life(broker=broker)

    async def play() -> None:
        for _ in range(60):
            await asyncio.sleep(0)
        assert "that was never saved here" in life.desk.disagreement

    life.live(play)
    assert [text.partition(f" on BTCUSDT: {'ArithmeticError: a fault'}")[2] for _, text in life.told[-3:-1]] == [
        f"; {AGAIN}"
    ] * 2


def test_a_clock_that_cancels_itself_does_not_end_the_asking_for_open_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cancels(Life):
        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            raise asyncio.CancelledError

    monkeypatch.setattr(broker_asked_at_restart, "pause_seconds", lambda _: 0.0)
    broker = Unlisted()
    broker.silent = 2
    life = Cancels(broker=broker)

    async def play() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert "that was never saved here" in life.desk.disagreement

    life.live(play)
    assert life.slept == [0.0, 0.0]


def test_all_questions_of_a_start_take_no_longer_than_one() -> None:
    never = asyncio.Event()

    class Hangs(Exchange):
        hangs = False
        asked = 0

        async def report(self, client_id: str, symbol: str) -> Report | None:
            if self.hangs:
                self.asked += 1
                await never.wait()
            return await super().report(client_id, symbol)

    broker = Hangs()
    life = Life(broker=broker, answer_seconds=0.02)

    async def play() -> None:
        await life.receive(opened())
        adds = [part(number, 0.5, kind="add", price_open=90.0 + number) for number in range(2, 6)]
        await life.become(managed(*adds))
        assert [*life.statuses.values()] == ["filled", *["accepted"] * 4]
        broker.hangs = True
        life.told.clear()
        await begun(life, managed(*adds))
        assert broker.asked == 1
        assert [text.rpartition(": the broker did not say what became of it: ")[2] for _, text in life.told] == [
            *["TimeoutError"] * 4,
            f"paper did not list its open orders on BTCUSDT: TimeoutError; {AGAIN}",
        ]
        assert "has not said yet what became of it" in life.desk.disagreement
        broker.hangs = False
        assert await life.desk.settle(5.0)
        await pauses(life, 1)
        for _ in range(10):
            await asyncio.sleep(0)
        assert life.desk.disagreement == ""

    life.live(play)


class Refuses(Exchange):
    """Answers an order that closes by a report, or by an exception."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.said: dict[str, Report] = {}

    async def place(self, order: Order) -> Report:
        if not order.reduces_only:
            return await super().place(order)
        if self.how == "raises":
            raise BrokerError("no", refused=True)
        at_once = not self.how.endswith("later")
        status: Any = self.how.removesuffix(" later")
        report = Report(client_id=order.client_id, symbol=order.symbol, status=status, note="no")
        self.said[order.client_id] = report
        return report if at_once else replace(report, status="accepted")

    async def report(self, client_id: str, symbol: str) -> Report | None:
        return self.said.get(client_id) or await super().report(client_id, symbol)


REFUSALS = {
    "raises": ("was refused: BrokerError: no", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]),
    "rejected": ("was refused: no", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]),
    "cancelled": ("was cancelled at the broker: no", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]),
    "rejected later": ("was refused: no", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_however_a_broker_refuses_to_close_it_is_told_and_tried_again_with_growing_pauses(how: str) -> None:
    text, slept = REFUSALS[how]
    life = Life(broker=Refuses(how))
    life.live(lambda: life.receive(opened(), closed()))
    assert sum(order.purpose == "close" for order in life.desk.orders) == MAX_CLOSES
    assert [told.endswith(text) for _, told in life.told] == [True, False]
    assert life.slept == slept


@pytest.mark.parametrize("fails", [False, True])
def test_a_closing_order_that_is_cancelled_here_is_not_told_as_cancelled_at_the_broker(*, fails: bool) -> None:
    life = Life(broker=script(place=[None, "lost_request"], cancel=["lost_reply"] if fails else []))

    async def play() -> None:
        await life.receive(opened(), closed())
        lost = life.desk.orders[1]
        assert (lost.status, life.statuses[closing(2)]) == ("lost", "filled")
        life.broker._price_of = None  # what arrives now waits for a minute
        await life.broker.place(lost)
        life.told.clear()
        await begun(life)
        assert await life.desk.settle(5.0)
        late = life.desk.orders[1]
        assert (late.status, late.note) == ("cancelled", "")

    life.live(play)
    assert "has turned up" in life.told[0][1]
    assert not any("cancelled at the broker" in text for _, text in life.told)


def test_a_closing_order_that_is_filled_by_a_part_each_time_is_not_kept_waiting() -> None:
    life = Life(broker=script(place=[None, *["partly_cancelled"] * 3]))
    life.live(lambda: life.receive(opened(), closed()))
    assert life.slept == [1.0, 1.0, 1.0]
    assert life.broker.position("BTCUSDT") == 0.0
    assert [text.partition(") was ")[2] for _, text in life.told] == [
        "cancelled at the broker, 1 of 2 filled",
        "cancelled at the broker, 0.5 of 1 filled",
        "cancelled at the broker, 0.25 of 0.5 filled",
    ]


# A broker on paper that fails


class Saw(PaperBroker):
    """Raises when it is given a minute."""

    error: BaseException | None = None

    def saw(self, symbol: str, minute: Any) -> None:
        if self.error is not None:
            raise self.error
        super().saw(symbol, minute)


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), asyncio.CancelledError()], ids=repr)
def test_a_broker_that_does_not_take_a_minute_is_told_and_nothing_is_opened_until_it_takes_one(
    error: BaseException,
) -> None:
    life = Life(broker=Saw())

    async def play() -> None:
        await life.receive(opened())
        life.broker.error = error
        life.desk.saw(candle(1, 100.0))
        assert life.desk.disagreement.startswith(f"paper did not take the newest minute: {type(error).__name__}")
        assert life.told == [("broker", life.desk.disagreement)]
        life.broker.error = None
        life.desk.saw(candle(2, 100.0))
        assert await life.desk.settle(5.0)
        assert (life.desk.disagreement, life.statuses) == ("", {ENTRY: "filled"})
        life.broker.error = StateError("the disk is full")
        with pytest.raises(StateError, match="the disk is full"):
            life.desk.saw(candle(3, 100.0))

    life.live(play)


def test_a_call_that_cancels_itself_ends_no_orders_of_others() -> None:
    class Cancelled(Exchange):
        async def place(self, order: Order) -> Report:
            await super().place(order)
            raise asyncio.CancelledError

    life = Life(broker=Cancelled())
    life.live(lambda: life.receive(opened(), closed()))
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert "BrokerError: it was cancelled, and not by who called it" in life.told[0][1]


# What cannot be worked out


def fails_for(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Any], bool]) -> None:
    """Have the orders of some events be impossible to work out."""

    def made(event: Any, *given: Any, **more: Any) -> tuple[Order, ...]:
        if fails(event):
            raise ArithmeticError("a fault")
        return orders_after(event, *given, **more)

    monkeypatch.setattr(orders_from_record, "orders_after", made)


def test_an_event_whose_orders_cannot_be_worked_out_holds_up_no_close(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty: set[str] = {"a"}
    fails_for(monkeypatch, lambda event: isinstance(event, Opened) and event.signal.id in faulty)
    life = Life()

    async def play() -> None:
        await life.receive(opened("b", at=2), opened("a", at=20))
        await life.become(Flat())
        assert life.desk.disagreement == (
            "the orders of BTCUSDT could not be worked out: ArithmeticError: a fault; 2 BTCUSDT are open at the broker"
        )
        assert life.told == [("broker", life.desk.disagreement)]
        await life.receive(closed("b", at=2))
        assert life.broker.position("BTCUSDT") == 0.0
        await life.receive(added(at=20), closed("a", at=20, ended=30))
        await life.become(Flat())
        assert life.desk.disagreement == ""  # it is over, and what was behind it with it
        faulty.clear()
        await life.become(Flat())

    life.live(play)
    assert {order.signal_id for order in life.desk.orders} == {"b"}
    assert life.broker.position("BTCUSDT") == 0.0


def test_a_close_that_cannot_be_worked_out_is_unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_for(monkeypatch, lambda event: isinstance(event, Closed))
    life = Life()

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow(closed())
        await life.become(Flat())
        assert "could not be worked out: ArithmeticError: a fault; 2 BTCUSDT are open" in life.desk.unsettled
        monkeypatch.undo()
        await life.become(Flat())
        assert life.desk.unsettled == ""

    life.live(play)


def test_an_event_whose_orders_cannot_be_worked_out_does_not_stop_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = [True]
    fails_for(monkeypatch, lambda event: isinstance(event, Opened) and faulty[0])
    life = Life()

    async def play() -> None:
        await begun(life, holding(), undelivered=[opened()])
        assert "could not be worked out: ArithmeticError: a fault" in life.desk.disagreement
        faulty[0] = False
        await life.become(holding())
        assert (life.desk.disagreement, life.statuses) == ("", {ENTRY: "filled"})

    life.live(play)
