"""What a broker answers to the cancelling of an order, beside what it says of that order: which of the two counts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from desk_life import ENTRY, Exchange, Life, closing
from msgspec.structs import replace
from order_events import cancelled, closed, opened, scheduled

from bknb.domain.broker_orders_and_ids import Order, Report

Said = tuple[str, float] | None  # a status, and how much is filled; None: it knows no such order


class TwoTongued(Exchange):
    """Fills a part of an order when it is cancelled, and says something else of it than it does."""

    def __init__(self, truth: float, cancelling: Said, reports: list[Said], *, about: str = ENTRY) -> None:
        super().__init__()
        self.truth, self.cancelling, self.reports, self.about = truth, cancelling, list(reports), about

    async def cancel(self, client_id: str, symbol: str) -> Report:
        if self.orders[client_id].working and self.truth:
            self.fill(client_id, self.truth)
        return self.told(await super().cancel(client_id, symbol), self.cancelling)

    async def report(self, client_id: str, symbol: str) -> Report | None:
        report = await super().report(client_id, symbol)
        if client_id != self.about or report is None or not self.reports:
            return report
        said = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
        return None if said is None else self.told(report, said)

    def told(self, report: Report, said: Said) -> Report:
        status, filled = said or ("", 0.0)
        return replace(report, status=status, filled_quantity=filled, average_price=101.0 if filled else None)


@pytest.mark.parametrize(
    ("truth", "cancelling", "reports", "sold", "contradicts"),
    [
        (0.3, ("cancelled", 0.3), [("cancelled", 0.3)], 0.3, False),
        (0.3, ("cancelled", 0.7), [("cancelled", 0.3)], 0.3, True),
        (0.3, ("partly_filled", 0.7), [("cancelled", 0.3)], 0.3, True),
        (0.3, ("filled", 2.0), [("cancelled", 0.3)], 0.3, True),
        (0.0, ("cancelled", 0.7), [("cancelled", 0.0)], 0.0, True),
        (2.0, ("cancelled", 0.3), [("filled", 2.0)], 2.0, False),
        (0.7, ("cancelled", 0.0), [("cancelled", 0.7)], 0.7, False),
        # its report is behind: it is asked again until it is settled
        (0.7, ("cancelled", 0.7), [("accepted", 0.0), ("accepted", 0.0), ("cancelled", 0.7)], 0.7, False),
        (0.3, ("cancelled", 0.7), [("accepted", 0.0), ("partly_filled", 0.3), ("cancelled", 0.3)], 0.3, True),
        (0.3, ("cancelled", 0.7), [None, None, ("cancelled", 0.3)], 0.3, False),
        # nobody can know that its report is what is wrong
        (0.7, ("cancelled", 0.7), [("cancelled", 0.3)], 0.3, True),
    ],
)
def test_what_a_broker_says_of_an_order_counts_and_not_how_it_answers_its_cancelling(
    *, truth: float, cancelling: Said, reports: list[Said], sold: float, contradicts: bool
) -> None:
    life = Life(broker=TwoTongued(truth, cancelling, reports))

    async def play() -> None:
        await life.receive(scheduled(), cancelled())

    life.live(play)
    orders: dict[str, Any] = life.broker.orders
    assert (orders[closing()].filled_quantity if closing() in orders else 0.0) == sold
    assert life.broker.position("BTCUSDT") == pytest.approx(truth - sold)
    assert {order.filled_quantity for order in life.desk.orders if order.client_id == ENTRY} == {sold}
    told = [text for _, text in life.told if "to its cancelling" in text]
    assert len(told) == contradicts


@pytest.mark.parametrize(("cancelling", "counts"), [(0.7, 0.7), (0.3, 0.3), (0.0, 0.3)])
def test_of_an_order_that_closes_the_larger_quantity_counts(cancelling: float, counts: float) -> None:
    broker = TwoTongued(0.0, ("cancelled", cancelling), [("cancelled", 0.3)], about=closing())
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(opened(), closed())
        order = next(order for order in life.desk.orders if order.client_id == closing())
        order = replace(order, status="accepted", filled_quantity=0.0, average_price=None)
        life.desk._saved.put(order)
        await life.desk._requests.cancel(order)

    life.live(play)
    assert {order.filled_quantity for order in life.desk.orders if order.client_id == closing()} == {counts}
    assert sum("to its cancelling" in text for _, text in life.told) == (cancelling > 0.3)


class Liar(Exchange):
    """Fills a part of each entry, and answers about it what comes to its mind, for a while."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance, self.lies, self.oversold = chance, chance.randint(0, 6), False

    async def place(self, order: Order) -> Report:
        held = self.position("BTCUSDT")
        report = await super().place(order)
        self.oversold = self.oversold or (order.reduces_only and order.quantity > held + 1e-9)
        return report

    async def cancel(self, client_id: str, symbol: str) -> Report:
        if self.orders[client_id].working and self.chance.random() < 0.7:
            self.fill(client_id, self.chance.choice([0.3, 0.7, 2.0]))
        report = await super().cancel(client_id, symbol)
        if self.chance.random() < 0.5:
            return report
        filled = self.chance.choice([0.0, 0.3, 0.7, 1.1, 2.0])
        status: Any = self.chance.choice(["cancelled", "partly_filled", "accepted", "filled"])
        return replace(report, status=status, filled_quantity=filled, average_price=101.0 if filled else None)

    async def report(self, client_id: str, symbol: str) -> Report | None:
        report = await super().report(client_id, symbol)
        if client_id != ENTRY or report is None or not self.lies:
            return report
        self.lies -= 1  # it is behind, and never ahead
        said = self.chance.choice([report, None, replace(report, status="accepted", filled_quantity=0.0)])
        return said if said is None or said.filled_quantity else replace(said, average_price=None)


@pytest.mark.slow
def test_whatever_a_broker_answers_to_a_cancelling_nothing_is_sold_that_is_not_held_and_nothing_is_left() -> None:
    for seed in range(300):
        broker = Liar(random.Random(seed))  # noqa: S311 -- the same worlds each time
        life = Life(broker=broker)

        async def play(life: Life = life) -> None:
            await life.receive(scheduled(), cancelled())

        life.live(play)
        assert not broker.oversold, seed
        assert broker.position("BTCUSDT") == pytest.approx(0.0) or life.desk.disagreement, seed
