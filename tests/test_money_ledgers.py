"""Ledgers kept by hand: every movement of cash, to the cent, and nothing is made or lost at any step."""

from __future__ import annotations

import pytest
from money_ledgers import MINUTE, WORLDS, Played, World

from bknb.domain.ledger import Ledger

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


def test_there_are_thirty_and_each_has_a_name_of_its_own() -> None:
    assert len({world.name for world in WORLDS}) == len(WORLDS) >= 30
