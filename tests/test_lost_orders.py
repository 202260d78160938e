"""An order that an exchange denies is lost only after two minutes, and where neither its list nor its fills have it."""

from __future__ import annotations

import pytest
from desk_life import ENTRY, Exchange, Life, closing
from order_events import closed, opened

from bknb.brokers import Abilities, Trouble

LATE = Abilities(stop="market", late_seconds=5.0)


def first(trouble, name):
    return lambda call, about, number: Trouble(kind=trouble) if (call, about, number) == ("place", name, 1) else None


@pytest.mark.parametrize(("able", "seconds"), [(Abilities(), 15.0), (LATE, 123.0)], ids=["paper", "exchange"])
def test_an_order_that_never_arrived_is_lost_after_some_time(able, seconds):
    life = Life(broker=Exchange(script=first("lost_request", closing()), abilities=able))
    life.live(lambda: life.receive(opened(), closed()))
    assert life.statuses == {ENTRY: "filled", closing(): "lost", closing(2): "filled"}
    assert sum(life.slept) >= seconds
    assert life.broker.position("BTCUSDT") == 0.0


class Blind(Exchange):
    """Knows nothing of an order when it is asked about it, for a long time; its fills tell it all the same."""

    asked = 0

    async def report(self, client_id, symbol):
        self.asked += client_id == closing()
        return None if client_id == closing() and self.asked < 12 else await super().report(client_id, symbol)


def test_an_order_that_is_denied_and_has_filled_is_not_lost_and_nothing_is_sold_twice():
    life = Life(broker=Blind(script=first("lost_reply", closing()), abilities=LATE))
    life.live(lambda: life.receive(opened(), closed()))
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0


def test_where_its_fills_are_not_told_it_is_not_lost_either():
    class Silent(Blind):
        async def fills(self, symbol, since):
            raise TimeoutError("no answer")

    life = Life(broker=Silent(script=first("lost_reply", closing()), abilities=LATE))
    life.live(lambda: life.receive(opened(), closed()))
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
