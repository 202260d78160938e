"""Ledgers kept by hand: every movement of cash, to the cent, and nothing is made or lost at any step."""

from __future__ import annotations

import msgspec
import pytest
from money_ledgers import FIVE, FREE, MINUTE, TAKER, TEN, WORLDS, Played, World

from bknb.domain.costs import Costs
from bknb.domain.cross_liquidation import cross_liquidation
from bknb.domain.funding_charged_and_fills_booked import Ledger
from bknb.domain.spot_margin_and_perpetual import Account, Margin, Perpetual, Spot

CENT = 0.005 + 1e-9


def conserved(ledger: Ledger, prices: dict[str, float]) -> None:
    assert abs(ledger.imbalance(prices)) <= 1e-9 * ledger.capital


@pytest.mark.parametrize("world", WORLDS, ids=[world.name for world in WORLDS])
def test_every_movement_of_cash_is_the_one_written_by_hand(world: World) -> None:
    played = Played(world, conserved)
    found = [(row.at // MINUTE, row.leg, row.kind, row.amount, row.cash) for row in played.rows]
    written = [line.split(maxsplit=5) for line in world.rows.splitlines()]
    assert [row[:3] for row in found] == [(int(row[0]), row[1], row[2]) for row in written]
    for row, words in zip(found, written, strict=True):
        assert row[3:] == pytest.approx([float(words[3]), float(words[4])], abs=CENT), row
    assert played.says == [line.strip() for line in world.says.splitlines()]
    words = world.ends.split()
    marked = played.ledger.mark(played.prices)
    for name, value in zip(words[::2], words[1::2], strict=True):
        seen = getattr(marked, name, None)
        seen = getattr(played.ledger, name) if seen is None else seen
        assert seen == pytest.approx(float(value), abs=CENT), name


def played(account: Account, steps: str, costs: Costs = FREE) -> Played:
    return Played(World("", account, costs, steps, "", ""), conserved)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("0 A long open 5 @ 100\n1 A short open 5 @ 100", "A holds 5: close it before a short is opened"),
        ("0 A short open 5 @ 100\n1 A long open 5 @ 100", "A holds -5: close it before a long is opened"),
        ("0 A long open 5 @ 100\n1 A long close 6 @ 100", "A holds 5: 6 of a long cannot be closed"),
        ("0 A long open 5 @ 100\n1 A short close 5 @ 100", "A holds 5: 5 of a short cannot be closed"),
        ("0 A long close 5 @ 100", "A holds nothing: 5 of a long cannot be closed"),
        ("480 A long open 5 @ 100\n480 A funding 0.1 @ 100", "A was filled at 28800000: funding of 28800000 has to be"),
    ],
)
def test_a_ledger_refuses_what_cannot_be(steps: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        played(FIVE, steps)


def test_averages_are_before_slippage_and_costs_after_it() -> None:
    held = played(Margin(), "0 A short open 3 @ 100\n1 A short open 1 @ 80", Costs(taker=0.0, slippage=1.0))
    position = held.ledger.positions["A"]
    assert position.average == pytest.approx(95.0)
    assert position.cost == pytest.approx(-4 * 95.0 * 0.99)
    assert position.side == "short"


def test_a_ledger_is_the_same_after_it_was_saved() -> None:
    life = played(TEN, "0 A long open 20 @ 100\n1 B short open 3 @ 50\n2 A long reduce 0.5 @ 110", TAKER)
    ledger = life.ledger.reserve("C", 5.0)
    assert msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger) == ledger
    assert [*ledger.positions] == ["A", "B"]  # a part leaves a leg where it was: the order of legs is that of entries


def test_entries_of_a_bar_see_the_cash_of_its_start() -> None:
    """What is sold in a bar pays for nothing bought in it: entries go into both ledgers, exits into one."""
    now = played(Spot(), "0 A long open 8 @ 100")
    start, prices = now.ledger, {"A": 100.0, "B": 10.0}
    now.step(["1", "A", "long", "close", "all", "@", "120"])
    assert (now.ledger.free(prices), start.free(prices)) == (1160.0, 200.0)
    fill = now.fill(now.order(60_000, "B", "long", "entry", 20.0, 10.0, "limit"), "B", "long")
    assert (now.ledger.apply(fill).ledger.free(prices), start.apply(fill).ledger.free(prices)) == (960.0, 0.0)


def test_a_spot_leg_and_a_perpetual_leg_share_the_cash_and_are_liquidated_apart() -> None:
    life = played(Spot(), "")
    life.ledger = Ledger.begin(1000.0, Spot(), {"P": Perpetual(leverage=2)})
    life.step(["0", "S", "long", "open", "5", "@", "100"])
    life.step(["0", "P", "short", "open", "5", "@", "100"])
    marked = life.ledger.mark({"S": 100.0, "P": 100.0})
    assert (marked.equity, marked.free, marked.margin, marked.exposure) == (1000.0, 250.0, 250.0, 1000.0)
    assert life.ledger.mark({"S": 180.0, "P": 180.0}).equity == 1000.0  # one pays for the other
    start = {"S": 180.0, "P": 180.0}
    assert cross_liquidation(life.ledger, start, {"S": 180.0, "P": 198.0}) is None
    found = cross_liquidation(life.ledger, start, {"S": 180.0, "P": 220.0})
    assert found is not None  # 500 + 5 x (100 - p) = 0.5 % of 5 x p: what was bought on spot is no margin
    assert found.prices == {"P": pytest.approx(1000 / 5.025)}


def test_there_are_thirty_and_each_has_a_name_of_its_own() -> None:
    assert len({world.name for world in WORLDS}) == len(WORLDS) >= 30
