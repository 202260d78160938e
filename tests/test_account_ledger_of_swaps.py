"""The ledger of a swap account, at local exchanges: what others do to a position, and what strategies share."""

from __future__ import annotations

import pytest
from account_life import AccountLife
from order_events import MINUTE, closed, opened

import bknb

pytest.importorskip("ccxt")
pytest_plugins = ["exchange_fixtures"]
SYMBOL = "BTC/USDT:USDT"
CLIENTS = {"binance": ("binanceusdm", "BTCUSDT", "usdm"), "okx": ("okx", "BTC-USDT-SWAP", "okx")}


class Venue:
    """A swap account at the local exchange, at a price of 100."""

    def __init__(self, exchange, name, monkeypatch):
        client, self.id, self.market = CLIENTS[name]
        self.exchange = exchange
        exchange.reset()
        exchange.price("BTCUSDT", 100.0)
        config = exchange.ccxt_config(client)
        for field, kind in (("apiKey", "KEY"), ("secret", "SECRET"), ("password", "PASSPHRASE")):
            monkeypatch.setenv(f"BKNB_{name.upper()}_SANDBOX_{kind}", config.pop(field, ""))
        self.broker = bknb.brokers.ccxt(name, market="swap", config={**config, "enableRateLimit": False})

    def command(self, what, **more):
        self.exchange.command(what, symbol=self.id, market=self.market, **more)

    def life(self):
        return AccountLife(self.broker, symbol=SYMBOL)

    async def position(self):
        return sum(each.quantity for each in await self.broker.positions())


@pytest.fixture(params=list(CLIENTS))
def venue(exchange, monkeypatch, request):
    return Venue(exchange, request.param, monkeypatch)


def test_two_strategies_share_a_position_and_each_ends_its_own_part(venue):
    life = venue.life()

    async def play():
        await life.start("sma", "two")
        await life.tell(opened())
        await life.tell(opened("b"), strategy="two")
        assert await venue.position() == pytest.approx(2.0)
        await life.tell(opened("c", position="short"), strategy="two")
        assert "both would be one position" in life.desks["two"].orders[-1].note
        await life.tell(closed(price_close=100.0))
        assert await venue.position() == pytest.approx(1.0)
        await life.minutes(3)
        await life.tell(closed("b", price_close=100.0), strategy="two")
        assert await venue.position() == 0.0
        assert await venue.broker.open_orders(SYMBOL) == []
        assert (life.ledger.manual, life.texts()) == ({}, [])

    life.live(play)


def test_a_position_that_the_exchange_has_liquidated_is_not_closed_again(venue):
    life = venue.life()

    async def play():
        await life.start()
        await life.tell(opened())
        venue.command("liquidate", price=95.0, prefix="autoclose-")
        await life.minutes(3)
        assert life.position() == pytest.approx(0.0)
        assert "the record has" in life.desks["sma"].disagreement
        found = life.desks["sma"].closed_there(("a", MINUTE), before=2**62)
        assert found == (pytest.approx(95.0), "liquidation", False)
        await life.tell(closed(price_close=95.0))
        await life.minutes()
        assert await venue.position() == 0.0
        assert await venue.broker.open_orders(SYMBOL) == []

    life.live(play)
    assert not any("refused" in text for text in life.texts("broker"))
    assert len(life.texts()) == 1
    assert "1 BTC/USDT:USDT of 'a' were liquidated by the exchange at 95" in life.texts()[0]


def test_a_part_that_was_closed_by_hand_is_not_closed_again(venue):
    life = venue.life()

    async def play():
        await life.start("sma", "two")
        await life.tell(opened())
        await life.tell(opened("b"), strategy="two")
        venue.command("trade", side="sell", quantity="1" if venue.market == "usdm" else "100")
        await life.minutes(4)
        assert [life.position(name) for name in ("sma", "two")] == pytest.approx([0.5, 0.5])
        await life.tell(closed(price_close=100.0))
        await life.tell(closed("b", price_close=100.0), strategy="two")
        await life.minutes()
        assert await venue.position() == pytest.approx(0.0)
        assert life.ledger.manual == pytest.approx({SYMBOL: -1.0})

    life.live(play)
