"""More was closed than was open, or than an order was for: it is told, and nothing is opened until it is put right."""

from __future__ import annotations

from typing import Any

import pytest
from desk_life import ENTRY, Exchange, Life, closing, script
from msgspec.structs import replace
from order_events import MINUTE, closed, managed, opened, part, reduced, taken_back
from test_position_orders import entry, filled, made, name_of
from test_quantities import FOR_EVER, Lying, Silent, pauses

from bknb.brokers.paper_broker import Trouble
from bknb.domain.broker_orders_and_ids import (
    Order,
    Report,
    closed_beyond,
    finished,
    left_by_rounding,
    left_open,
    order_beside,
)
from bknb.domain.broker_orders_of_events import ended
from bknb.domain.broker_reports import report_problem
from bknb.domain.lifecycle import Flat
from bknb.domain.quantity_of_partial_closes import sold_beyond
from bknb.live.unwatched_positions import unwatched

Fills = list[tuple[str, float, float, str]]

ENTERED = ("open", 2.0, 2.0, "filled")

ENDS: dict[str, tuple[Fills, float, float, bool]] = {
    "closed": ([ENTERED, ("close", 2.0, 2.0, "filled")], 0.0, 0.0, True),
    "in parts": ([ENTERED, ("reduce", 0.7, 0.7, "filled"), ("close", 1.3, 1.3, "filled")], 0.0, 0.0, True),
    "with dust": ([ENTERED, ("close", 2.0, 2.0 + 4e-16, "filled")], 0.0, 0.0, True),
    "a step less": ([ENTERED, ("close", 2.0, 1.99, "filled")], 0.01, 0.0, True),
    "a step more": ([ENTERED, ("close", 2.0, 2.01, "filled")], 0.0, 0.01, False),
    "twice, by a lost order that turned up": (
        [ENTERED, ("close", 2.0, 2.0, "filled"), ("close", 2.0, 2.0, "filled")], 0.0, 2.0, False),
    "a quarter twice": ([ENTERED, ("close", 2.0, 0.5, "cancelled"), ("close", 2.0, 2.0, "filled")], 0.0, 0.5, False),
    "a part twice": (
        [ENTERED, ("reduce", 1.0, 1.0, "filled"), ("reduce", 1.0, 1.0, "filled"), ("close", 1.0, 1.0, "filled")],
        0.0, 1.0, False),
    "of an entry that was never filled": ([("open", 2.0, 0.0, "lost"), ("close", 2.0, 2.0, "filled")], 0.0, 2.0, False),
    "a lost one that stays lost": (
        [ENTERED, ("close", 2.0, 0.0, "lost"), ("close", 2.0, 2.0, "filled")], 0.0, 0.0, True),
}  # fmt: skip


def of_fills(fills: Fills) -> list[Order]:
    """The orders of a signal that is over."""
    (_, ordered, done, status), *others = fills
    first = ended(entry(done, quantity=ordered, status=status), 9 * MINUTE, 110.0)
    orders = [first]
    for number, (purpose, ordered, done, status) in enumerate(others, 1):
        order = order_beside(
            first, purpose, quantity=ordered, record_price=110.0, created_at=9 * MINUTE,  # type: ignore[arg-type]
            number=1 if purpose == "reduce" else 0, attempt=number,
        )  # fmt: skip
        orders.append(replace(order, status=status, filled_quantity=done))
    return orders


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_is_finished_when_exactly_what_was_open_was_closed(name: str) -> None:
    fills, left, beyond, over = ENDS[name]
    orders = of_fills(fills)
    assert left_by_rounding(orders) == pytest.approx(left)
    assert closed_beyond(orders) == pytest.approx(beyond)
    assert (left_open(orders), finished(orders)) == (0.0, over)


def test_a_lost_order_that_turns_up_late_stops_entries_until_it_is_put_right() -> None:
    life = Life(broker=script(place=[None, "lost_request"]))

    async def play() -> None:
        await life.receive(opened(), closed())
        lost = next(order for order in life.desk.orders if order.status == "lost")
        await life.broker.place(lost)  # it arrives after all
        assert life.desk.disagreement == ""
        life.told.clear()
        await life.restart(Flat())
        assert life.desk.disagreement == "2 BTCUSDT of 'a' were closed beyond what was open"
        (turned_up, beyond) = [text for _, text in life.told]
        assert turned_up.endswith("was lost and has turned up: filled")
        assert beyond == (
            "2 BTCUSDT of 'a' were closed beyond what was open. Nothing new is opened. Put it right at paper, then "
            "stop this run, delete order/sma/BTCUSDT from its state, store.delete('order', ('sma', 'BTCUSDT')), and "
            "start it again"
        )
        for name in "bcdefg":  # however much else happens, it is told once and not forgotten
            await life.receive(opened(name, at=20), closed(name, at=20, ended=30))
        assert len(life.told) == 2
        assert life.desk.position() == -2.0
        await life.restart(Flat())
        assert life.desk.disagreement == "2 BTCUSDT of 'a' were closed beyond what was open"
        assert any("2 closed beyond what was open" in text for text in unwatched(life.store, []).values())
        await life.desk.close()
        life.store.delete("order", ("sma", "BTCUSDT"))
        await life.restart(Flat())
        assert life.desk.disagreement == ""

    life.live(play)


# purpose, what was filled of the entry, ordered, reported as filled -> believed

REPORTS = [
    ("reduce", 1.0, 0.5, 1.0, False), ("reduce", 3.0, 1.5, 3.0, False), ("reduce", 3.0, 1.5, 2.0, False),
    ("reduce", 3.0, 1.5, 1.0, True), ("reduce", 2.5, 1.25, 1.0, False), ("reduce", 2.0, 1.0, 2.0, False),
    ("reduce", 0.1, 0.05, 0.1, False), ("reduce", 0.0032, 0.0016, 0.002, False),
    ("reduce", 0.0032, 0.0016, 0.001, True),
    ("reduce", 2.0, 1.0, 1.0005, True), ("reduce", 2.0, 1.0, 0.0, False), ("reduce", 2.0, 1.0, 0.5, False),
    ("add", 1.0, 0.5, 1.0, False), ("add", 3.0, 1.5, 2.0, False), ("add", 3.0, 1.5, 1.0, True),
    ("add", 2.5, 1.25, 1.0, False), ("add", 0.0032, 0.0016, 0.002, True), ("add", 0.1, 0.05, 0.1, False),
    ("open", 0.0, 0.05, 0.1, False), ("open", 0.0, 0.0016, 0.002, True), ("open", 0.0, 1.0, 2.0, False),
    ("close", 2.0, 2.0, 4.0, False), ("close", 0.05, 0.05, 0.1, False), ("close", 2.0, 2.0, 1.99, True),
]  # fmt: skip


@pytest.mark.parametrize("status", ["filled", "partly_filled"])
@pytest.mark.parametrize(("purpose", "held", "ordered", "reported", "believed"), REPORTS)
def test_twice_what_was_ordered_is_never_taken_for_rounding(
    purpose: str,
    held: float,
    ordered: float,
    reported: float,
    believed: bool,  # noqa: FBT001
    status: str,
) -> None:
    first = entry(held, quantity=held or ordered)
    order, orders = first, [first]
    if purpose != "open":
        order = order_beside(
            first, purpose, quantity=ordered, record_price=100.0, created_at=9, number=int(purpose != "close"),  # type: ignore[arg-type]
        )  # fmt: skip
        orders.append(order)
    report = Report(
        client_id=order.client_id, symbol="BTCUSDT", status=status, filled_quantity=reported,  # type: ignore[arg-type]
        average_price=100.0 if reported else None,
    )  # fmt: skip
    may_be = believed or (status == "partly_filled" and reported < ordered)
    assert (report_problem(order, report, orders=orders) == "") == may_be


def test_one_fill_that_is_not_whole_shows_that_the_market_trades_parts() -> None:
    first, one, two = made(part(1, 0.25), part(2, 0.5), of=entry(6.0, quantity=6.0))
    whole = [first, filled(one, 2.0), replace(two, quantity=2.5)]
    report = Report(
        client_id=two.client_id, symbol="BTCUSDT", status="filled", filled_quantity=2.0, average_price=100.0
    )
    assert report_problem(whole[2], report, orders=whole) == ""
    assert report_problem(whole[2], report, orders=[first, filled(one, 1.5), whole[2]]) != ""


class Doubles(Exchange):
    """Fills parts and adds twice, or says so."""

    def __init__(self, *, really: bool) -> None:
        super().__init__()
        self.really, self.lies, self.silent, self.forgets = really, True, False, False

    async def place(self, order: Order) -> Any:
        more = replace(order, quantity=2 * order.quantity) if self.really and order.number else order
        return self.said(await super().place(more))

    async def report(self, client_id: str, symbol: str) -> Any:
        if self.silent:
            raise ConnectionError("no route")
        return None if self.forgets else self.said(await super().report(client_id, symbol))

    def said(self, report: Any) -> Any:
        if self.really or not self.lies or report is None or report.client_id != name_of("reduce"):
            return report
        return replace(report, filled_quantity=2 * report.filled_quantity)


@pytest.mark.parametrize(("really", "position"), [(True, "long"), (True, "short"), (False, "long")])
def test_a_part_that_was_filled_twice_is_told_and_nothing_is_closed_beyond(*, really: bool, position: str) -> None:
    life, sign = Life(broker=Doubles(really=really), quantity=3.0), 1 if position == "long" else -1

    async def play() -> None:
        await life.receive(opened(position=position))
        life.desk.follow_state(managed(part(1), position=position))
        await pauses(life, 3)
        ((_, text),) = life.told
        assert "its report cannot be right: 3.0 of 1.5 are filled; what the broker fills of it is not closed" in text
        assert "3.0 of 1.5 are filled" in life.desk.disagreement
        for event in (reduced(position=position), closed(position=position)):
            life.desk.follow(event)
        await pauses(life, 8)
        assert life.desk.disagreement != ""
        assert len(life.told) == 1
        assert sign * life.broker.position("BTCUSDT") == (0.0 if really else 1.5)  # what may be gone is not closed
        if not really:
            life.broker.lies = False
            assert await life.desk.settle(5.0)
            assert life.desk.disagreement == ""
            assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0

    life.live(play)


def test_what_may_be_gone_is_not_closed_though_the_broker_knows_nothing_of_it_any_more() -> None:
    life = Life(broker=Doubles(really=True), quantity=3.0)

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow_state(managed(part(1)))
        await pauses(life, 2)
        life.broker.forgets = True
        await pauses(life, 12)
        life.desk.follow(closed())
        await pauses(life, 18)
        assert life.desk.disagreement != ""
        assert life.broker.position("BTCUSDT") == 0.0

    life.live(play)


def test_what_may_be_gone_is_not_closed_after_a_restart_either() -> None:
    life = Life(broker=Doubles(really=True), quantity=3.0)

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow_state(managed(part(1)))
        await pauses(life, 2)
        await life.desk.close()
        life.broker.silent = True
        life.desk = life.made()
        await life.desk.start(managed(), when=9)
        life.desk.follow(closed())
        await pauses(life, 6)
        assert life.desk.disagreement.endswith("the broker has not said yet what became of it")
        assert life.broker.position("BTCUSDT") == 0.0

    life.live(play)


def test_a_lost_part_that_turns_up_while_its_position_is_open_stops_adds_until_its_end() -> None:
    life = Life(broker=script(place=[None, "lost_request"]))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, 0.25)))
        await life.receive(reduced(1, 0.25))
        lost = next(order for order in life.desk.orders if order.status == "lost")
        await life.broker.place(lost)  # it arrives after all
        await life.restart(managed())
        assert life.broker.position("BTCUSDT") == life.desk.position() == 1.0
        assert life.desk.disagreement.endswith("more was closed than was to be; less is held than the record says")
        assert sum("0.5 were closed beyond what was to be" in text for _, text in life.told) == 1
        (_first, *parts) = life.desk.orders
        assert sold_beyond(parts) == 0.5
        await life.receive(closed())
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0


def test_a_lost_order_is_asked_about_once_more_when_its_position_is_over() -> None:
    """A part that was lost turns up while another is sold in its place: that is known at the end without a restart."""
    life = Life(broker=script(place=[None, "lost_request"]))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1)))
        await life.receive(reduced())
        lost = next(order for order in life.desk.orders if order.status == "lost")
        await life.broker.place(lost)
        await life.receive(closed())
        assert life.desk.disagreement == "1 BTCUSDT of 'a' were closed beyond what was open"
        assert life.desk.position() == life.broker.position("BTCUSDT") == -1.0
        assert any("was lost and has turned up: filled" in text for _, text in life.told)

    life.live(play)


def test_a_lost_order_is_asked_about_whenever_another_signal_begins() -> None:
    life = Life(broker=script(place=[None, "lost_request"]))

    async def play() -> None:
        await life.receive(opened(), closed())
        lost = next(order for order in life.desk.orders if order.status == "lost")
        await life.receive(opened("b", at=20), closed("b", at=20, ended=30))
        assert life.desk.disagreement == ""
        await life.broker.place(lost)
        await life.receive(opened("c", at=40))
        assert life.desk.disagreement == "2 BTCUSDT of 'a' were closed beyond what was open"
        assert life.desk.position() == life.broker.position("BTCUSDT") == 0.0  # 2 of 'c', and 2 too few

    life.live(play)


def test_a_broker_that_does_not_answer_about_a_lost_order_stops_entries_until_it_does() -> None:
    life = Life(broker=Silent(script={"place": [None, Trouble(kind="lost_request")]}))

    async def play() -> None:
        await life.receive(opened(), closed())
        life.broker.silent = FOR_EVER
        life.desk.follow(opened("b", at=20))
        await pauses(life, 15)
        assert life.desk.disagreement.endswith(f"{closing()}): the broker does not say what became of it")
        life.broker.silent = 0
        assert await life.desk.settle(5.0)
        assert life.desk.disagreement == ""

    life.live(play)


def test_a_closing_order_filled_beyond_what_it_ordered_stops_entries() -> None:
    def rounded_up(report: Any) -> Any:
        return report and replace(report, filled_quantity=report.filled_quantity * 1.0005)

    life = Life(broker=Lying(rounded_up))

    async def play() -> None:
        await life.receive(opened(), closed())
        assert life.desk.position() == pytest.approx(-0.0010005)
        assert life.desk.disagreement == "0.0010005 BTCUSDT of 'a' were closed beyond what was open"

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert len(life.told) == 1


def test_of_an_add_that_was_taken_back_the_order_that_failed_is_named() -> None:
    life = Life(broker=script(place=[None, None, *["refuse"] * 8]))

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(part(1, kind="add", price_open=98.0)))
        life.broker.fill(name_of("add"), 0.25)
        await life.receive(taken_back(1))
        failed = f"the order to reduce 'a' (sell 0.25 BTCUSDT, {name_of('reduce', attempt=8)})"
        assert life.desk.disagreement == f"{failed} could not be carried out; more is held than the record says"
        text = f"{failed}: 0.25 are not closed after 8 orders; the end of the position closes them with the rest"
        assert text in [text for _, text in life.told]
        await life.receive(closed())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 0.0
