"""A live run rehearsed at a local exchange: its broker in one call, and a clock that stands still in between."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest
from packages import need_packages
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.testing.clocks import SteppedClock
from bknb.testing.exchange import LocalExchange

need_packages("ccxt")

CALM = (50_000.0, 50_050.0, 49_950.0, 50_000.0)
FALLS = (50_000.0, 50_000.0, 48_900.0, 48_950.0)


@pytest.fixture(scope="module")
def running():
    with LocalExchange(at=ORIGIN) as exchange:
        yield exchange


@pytest.fixture
def exchange(running):
    running.reset()
    running.command("clock", at=ORIGIN)
    return running


@pytest.fixture
def begin(exchange):
    """A run that buys at the end of its first minute, with a stop."""
    store = bknb.stores.memory()

    def begun(candles=(), *, broker=None, start=0, symbol="BTCUSDT", **options):
        rows = [(ORIGIN + k * MINUTE, *dict(candles).get(k, CALM), 1.0) for k in range(-5, 40)]
        clock = SteppedClock(ORIGIN + start * MINUTE)

        @bknb.strategy("rehearsed", interval="1m")
        def get_signal(when):
            if when == datetime.fromtimestamp((ORIGIN + MINUTE) / 1000, UTC):
                return bknb.Signal(side="long", price_stop_loss=49_000.0)
            return None

        task = bknb.Live.background(
            symbol, strategy=get_signal, exchange=source(rows), store=store, clock=clock, quantity=0.01,
            broker=broker or exchange.broker(), **options,
        )  # fmt: skip
        return task, lambda minute: clock.go_to(ORIGIN + minute * MINUTE, task)

    return begun


@pytest.mark.parametrize(
    ("venue", "market", "book", "symbol"),
    [
        ("binance", "spot", "spot", "BTCUSDT"),
        ("okx", "swap", "okx", "BTC/USDT:USDT"),
        pytest.param("binance", "swap", "usdm", "BTCUSDT", marks=pytest.mark.long),
        pytest.param("okx", "spot", "okx", "BTC-USDT", marks=pytest.mark.long),
    ],
)
def test_a_broker_in_one_call_trades_the_minutes_of_its_run(exchange, begin, venue, market, book, symbol):
    task, go_to = begin({6: FALLS}, broker=exchange.broker(venue, market=market), symbol=symbol)
    go_to(2)
    (stop,) = exchange.orders(book, open_only=True).to_dict("records")
    assert (stop["side"], stop["trigger"], stop["status"]) == ("sell", 49_000.0, "waiting")
    assert task.position.average_price == exchange.orders(book)["average"].iloc[0] == 50_000.0
    go_to(7)
    assert len(exchange.orders(book, open_only=True)) == 0
    assert task.position is None
    (trade,) = task.snapshot().trades.to_dict("records")
    assert trade["close_reason"] == "stop_loss"
    task.stop(now=True)
    task.result()


def test_an_order_before_the_first_minute_has_the_price_of_its_record(exchange, begin):
    task, go_to = begin(start=1)
    go_to(1)
    assert exchange.orders()["average"].iloc[0] == 50_000.0
    task.stop(now=True)
    task.result()


def test_what_is_decided_by_hand_has_left_when_it_is_answered(exchange, begin):
    task, go_to = begin()
    go_to(2)
    task.reduce(0.5)
    (stop,) = exchange.orders(open_only=True).to_dict("records")
    assert stop["quantity"] == pytest.approx(0.005, abs=1e-4)
    assert task.protection_gaps.worst_seconds == 0
    task.stop(now=True)
    task.result()


def test_a_pause_takes_as_long_as_it_says(exchange, begin):
    task, go_to = begin()
    exchange.fault("request_lost", on="stop")
    go_to(4)
    assert task.protection_gaps.worst_seconds == 7.0
    task.stop(now=True)
    task.result()


def test_a_run_goes_on_where_the_clock_stands(exchange, begin):
    task, go_to = begin()
    go_to(3)
    task.stop(now=True)
    task.result()
    again, go_to = begin(start=3, broker=pickle_like(exchange))
    go_to(5)
    assert again.position.average_price == 50_000.0
    assert len(exchange.orders(open_only=True)) == 1
    again.stop(now=True)
    again.result()


def pickle_like(exchange):
    """The broker as another process makes it: from its address."""
    made_by = exchange.broker().made_by
    return pickle.loads(pickle.dumps(made_by))()  # noqa: S301


def test_a_minute_is_traded_once(exchange):
    for close, minute in ((50_000, 0), (40_000, 0), (40_000, -1)):
        prices = [50_000, 50_000, close, close]
        exchange.command("minute", symbol="BTCUSDT", opened=ORIGIN + minute * MINUTE, prices=prices)
    spot = exchange.state()["spot"]
    assert (spot["prices"]["BTCUSDT"], spot["now"]) == ("50000", ORIGIN + MINUTE)


def test_a_clock_says_what_is_no_moment_and_who_does_not_come(exchange, begin):
    with pytest.raises(ValueError, match="a moment is a text such as"):
        SteppedClock(None)
    task, _ = begin()
    with pytest.raises(TimeoutError, match="still works on what came before 2"):
        SteppedClock(ORIGIN).go_to(ORIGIN + MINUTE, task, timeout=0.1)
    task.stop(now=True)
    task.result()


def test_it_is_started_and_stopped_over_cells():
    exchange = LocalExchange()
    assert (repr(exchange), exchange.start() is exchange) == ("LocalExchange(not started)", True)
    assert exchange.start().pid == exchange.pid
    exchange.stop()
    exchange.stop()
    assert (exchange.port, exchange.pid) == (0, None)
