"""An order that an exchange denies is lost only after two minutes, and where neither its list nor its fills have it."""

from __future__ import annotations

import pytest
from desk_life import ENTRY, Exchange, Life, closing
from msgspec.structs import replace
from order_events import MINUTE, candle, closed, managed, opened

from bknb.brokers import Abilities, Trouble
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.interval import DAY_MS as DAY
from bknb.errors import Forgotten

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


class Forgetful(Exchange):
    """An exchange that forgets what is done, at once, and says so or denies that it ever knew it."""

    says_so = True

    async def report(self, client_id, symbol):
        found = await super().report(client_id, symbol)
        if found is None or found.status in ("accepted", "partly_filled"):
            return found
        if self.says_so:
            raise Forgotten("it may have been here")
        return None


HOURS = Abilities(stop="market", late_seconds=5.0, knows_hours=2.0)


@pytest.mark.parametrize("says_so", [True, False], ids=["forgotten", "denied"])
@pytest.mark.parametrize("away", ["nothing", "stop", "cancelled"])
def test_after_days_fills_decide_what_became_of_orders_that_an_exchange_has_forgotten(away, says_so):
    able = replace(HOURS, watch="both")
    life = Life(broker=Forgetful(abilities=able, market="spot"), now=lambda: clock[0])
    clock = [2 * MINUTE]
    stop = client_id("sma", "BTCUSDT", ("a", MINUTE), "protect")

    async def play():
        await life.receive(opened())
        await life.desk.close(0.0)
        life.broker.saw("BTCUSDT", candle(9, 95.0))
        if away == "stop":
            life.broker.fill(stop, price=90.0)
        if away == "cancelled":
            life.broker.orders[stop].cancel()
        life.broker.says_so, clock[0] = says_so, 5 * DAY
        life.desk = life.made()
        await life.desk.start(managed(), when=5 * DAY)
        assert await life.desk.settle(5.0)
        assert life.desk.position() == (0.0 if away == "stop" else 2.0)
        protected = [each.client_id for each in await life.broker.open_orders("BTCUSDT")]
        assert len(protected) == (0 if away == "stop" else 1)
        assert (stop in protected) == (away == "nothing")
        await life.receive(closed(price_close=95.0))
        assert life.broker.position("BTCUSDT") == 0.0

    life.live(play)
    assert not any("nobody knows" in text or "however often" in text for _, text in life.told)


def test_an_entry_that_filled_while_its_process_was_away_for_days_is_known_by_its_fills():
    life = Life(broker=Forgetful(abilities=HOURS, script=first("lost_reply", ENTRY)), now=lambda: clock[0])
    clock = [2 * MINUTE]

    async def play():
        life.broker.says_so = False
        for each in await life.desk.work_out(None, [opened()]):
            life.desk.follow(each)
        await life.desk.close(0.0)
        clock[0], life.desk = 5 * DAY, life.made()
        await life.desk.start(managed(), when=5 * DAY)
        assert await life.desk.settle(5.0)
        assert (life.statuses[ENTRY], life.desk.position()) == ("filled", 2.0)

    life.live(play)
