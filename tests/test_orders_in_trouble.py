"""An order that a broker does not cancel, or does not answer about, holds up no other order of its position."""

from __future__ import annotations

from typing import Any

from desk_life import Exchange, Life, closing
from order_events import added, closed, managed, opened, part, taken_back
from test_closed_beyond import pauses

from bknb.domain.broker_orders_and_ids import Order
from bknb.errors import BrokerError

ADD = part(2, 0.5, kind="add", price_open=98.0)


class Troubled(Exchange):
    """Cancels nothing where ``cancels`` is not set, and makes trouble with orders of a purpose."""

    def __init__(self, *, cancels: bool = True, silent: str = "", loses: str = "", refuses: str = "") -> None:
        super().__init__()
        self.cancels, self.silent, self.loses, self.refuses = cancels, silent, loses, refuses
        self.purposes: dict[str, str] = {}

    async def place(self, order: Order) -> Any:
        if order.purpose == self.refuses:
            raise BrokerError("not now", refused=True)
        self.purposes[order.client_id] = order.purpose
        report = await super().place(order)
        if order.purpose in (self.silent, self.loses):
            raise TimeoutError("no answer")
        return report

    async def report(self, client_id: str, symbol: str) -> Any:
        if self.purposes[client_id] == self.silent:
            raise TimeoutError("no answer")
        return await super().report(client_id, symbol)

    async def cancel(self, client_id: str, symbol: str) -> Any:
        if not self.cancels:
            raise BrokerError("not now", refused=True)
        return await super().cancel(client_id, symbol)


async def with_an_add_that_rests(life: Life) -> None:
    await life.receive(opened())
    life.broker.now = 101.0
    await life.become(managed(ADD))
    assert [row["status"] for row in life.desk.rows()] == ["filled", "accepted"]


def test_an_add_that_is_not_cancelled_holds_up_no_part() -> None:
    life = Life(broker=Troubled(cancels=False))

    async def play() -> None:
        await with_an_add_that_rests(life)
        life.desk.follow(taken_back(2, 0.5))
        await pauses(life, 3)
        life.desk.follow_state(managed(part(3, 0.5)))
        await pauses(life, 6)
        assert [row["status"] for row in life.desk.rows()] == ["filled", "accepted", "filled"]
        assert life.broker.position("BTCUSDT") == 1.0

    life.live(play)


def test_an_add_that_the_record_has_filled_and_is_not_cancelled_holds_up_no_part() -> None:
    life = Life(broker=Troubled(cancels=False))

    async def play() -> None:
        await with_an_add_that_rests(life)
        life.broker.fill(life.desk.rows()[1]["client_id"], 0.25)
        life.desk.follow(added(2, 0.5, price=98.0))
        life.desk.follow_state(managed(part(3, 1.0)))
        await pauses(life, 6)
        assert [row["status"] for row in life.desk.rows()] == ["filled", "partly_filled", "filled"]
        assert life.broker.position("BTCUSDT") == 0.75  # of 2.25: 1.0 of 1.5 were sold

    life.live(play)


def test_an_add_is_cancelled_while_nobody_answers_about_the_closing_order() -> None:
    life = Life(broker=Troubled(silent="close"))

    async def play() -> None:
        await with_an_add_that_rests(life)
        life.desk.follow(closed())
        await pauses(life, 3)
        assert [row["status"] for row in life.desk.rows()] == ["filled", "cancelled", "unknown"]
        life.broker.silent = ""
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.desk.rows()[-1]["client_id"] == closing()


def test_an_add_is_cancelled_before_the_closing_order_is_tried_again() -> None:
    life = Life(broker=Troubled(refuses="close"))

    async def play() -> None:
        await with_an_add_that_rests(life)
        life.desk.follow(closed())
        await pauses(life, 1)
        assert [row["status"] for row in life.desk.rows()] == ["filled", "cancelled", "rejected"]
        life.broker.refuses = ""
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0


def test_an_order_nobody_answers_about_does_not_keep_the_others_from_being_asked_about() -> None:
    life = Life(broker=Troubled(silent="add", loses="reduce"))

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow_state(managed(part(2, 0.5, kind="add"), part(3, 0.25)))
        await pauses(life, 3)
        assert [row["status"] for row in life.desk.rows()] == ["filled", "unknown", "filled"]

    life.live(play)


def test_each_part_that_is_refused_is_tried_again_after_a_pause() -> None:
    life = Life(broker=Troubled(refuses="reduce"))

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow_state(managed(part(2, 0.25), part(3, 0.25)))
        await pauses(life, 2)
        life.broker.refuses = ""
        assert await life.desk.settle(5.0)

    life.live(play)
    assert life.broker.position("BTCUSDT") == 1.0
    assert max(life.slept) <= 8.0
