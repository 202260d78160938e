"""A live run at a local exchange, through the client of ccxt, beside its backtest: what happened there is named."""

from __future__ import annotations

import math

import pytest
from fault_world import OUT, SPOT, USDM, World, each, fault, price
from packages import need_packages

import bknb

need_packages("ccxt")
pytest_plugins = ["exchange_fixtures"]

LONG = bknb.Signal(side="long", price_stop_loss=49_000.0)
HIGHER = {7: (50_000.0, 50_450.0, 49_950.0, 50_400.0), 8: (50_400.0, 50_400.0, 50_000.0, 50_000.0)}
AS_THERE = {"settings": {"percent_slippage": 0.0, "percent_fee": 0.1}}


@pytest.fixture
def life(exchange, monkeypatch):
    def lived(*, venue=SPOT, fee_currency="quote", **given):
        config = exchange.ccxt_config(venue.client)
        for variable, name in venue.keys:
            monkeypatch.setenv(variable, config[name])
        fields = {"signals": {1: LONG}, "answers": OUT, "candles": HIGHER, "options": AS_THERE} | given
        world = World(exchange=exchange, venue=venue, **fields).begin(fee_currency=fee_currency)
        return world.live(execution="pessimistic")

    return lived


def compared(world):
    assert world.failed == []
    found = world.result.against_backtest()
    amounts = [each.amount for each in found.differences]
    assert math.fsum(amounts) == pytest.approx(found.difference, abs=1e-6)
    assert found.unexplained == 0.0, found
    return found


def test_where_the_exchange_fills_as_the_record_says_account_record_and_backtest_are_one(life):
    world = life()
    found = compared(world)
    assert found.agrees, found
    assert found.trades == 1
    assert found.live == pytest.approx(0.01 * 400 - 0.001 * 0.01 * (50_000 + 50_400))
    assert world.result.slippage.money == 0.0
    assert world.result.slippage.fees == {"USDT": pytest.approx(1.004)}


@pytest.mark.parametrize(
    ("causes", "given"),
    [
        ({"fill"}, {"after": {0: fault("slippage", percent="0.2")}}),
        ({"order"}, {"after": {0: fault("refuse", "place", reason="balance")}}),
        ({"dust"}, {"fee_currency": "received"}),
        ({"trigger price"}, {"after": {4: each(price(48_900.0), price(50_000.0))}}),
        ({"fill", "dust"}, {"after": {0: fault("slippage", percent="0.2")}, "fee_currency": "received"}),
    ],
    ids=lambda given: "+".join(sorted(given)) if isinstance(given, set) else "",
)
def test_what_happened_at_the_exchange_is_named(life, causes, given):
    found = compared(life(**given))
    assert {cause for cause in found.causes if abs(found.by_cause[cause]) > 0.002} == causes, found


LADDER = bknb.Signal(side="long", price_stop_loss=49_000.0, price_take_profit=[(50_400.0, 0.5), (50_800.0, 0.5)])
UP = {5: (50_000.0, 50_500.0, 49_950.0, 50_450.0), 6: (50_450.0, 50_900.0, 50_400.0, 50_850.0)}


ALL = bknb.Signal(side="long", price_stop_loss=49_000.0, price_take_profit=50_800.0)


@pytest.mark.parametrize(
    ("signal", "at"), [(LADDER, 5), (LADDER, 6), (ALL, 6)], ids=["a level", "the last level", "the only target"]
)
def test_what_a_target_there_was_filled_at_is_named(life, signal, at):
    slips, fees = {at: fault("slippage", percent="0.2")}, {"settings": {"percent_slippage": 0.0, "percent_fee": 0.05}}
    world = life(venue=USDM, signals={1: signal}, answers={}, candles=UP, at=slips, options=fees)
    found = compared(world)
    assert {cause for cause in found.causes if abs(found.by_cause[cause]) > 0.002} == {"fill"}, found
    (trade,) = world.result.run_record.records.closed
    assert (trade.close_reason, trade.closed_by) == ("take_profit", "exchange")
    assert [each["client_id"][-17] for each in world.trades].count("r") == 0
