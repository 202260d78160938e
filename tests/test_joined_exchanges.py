"""Several exchanges as one: each symbol is that of its own exchange, in history and live, in money and at brokers."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_account import money_of
from test_live_portfolio import UNTIL, backtest, live, told
from worlds import SETTINGS, drawn_weights, signals, walk

import bknb
from bknb.brokers.joined_brokers import JoinedBroker
from bknb.domain.broker_orders_and_ids import Order, Report
from bknb.errors import BadCandle, UsageError
from bknb.exchanges.candle_bundle import Record, RecordingSource
from bknb.exchanges.joined_exchanges import JoinedSource, JoinedStream
from bknb.live.user_code_in_threads import broker_outside
from bknb.market.candles import Candles
from bknb.market.feed import Feed
from bknb.market.fetch_loop import fetch_now
from bknb.market.pushed_minutes import PushedMinutes
from bknb.market.source_hours import bar_grid_of, sessions_of
from bknb.ports import Broker, CandleSource, PaperMarket
from bknb.runs.weak_source import held, weakened
from bknb.testing.brokers import BrokerContract
from bknb.testing.clocks import SimulatedClock
from bknb.testing.sources import CandleSourceContract

demo = bknb.exchanges.demo
joined = bknb.exchanges.joined
SPOT, PERP = "spot:BTCUSDT", "perp:BTCUSDT"
ROWS = {SPOT: walk(71), PERP: walk(72)}


def parts() -> dict[str, Any]:
    """Two exchanges with other candles of one symbol."""
    return {name.partition(":")[0]: source(rows) for name, rows in ROWS.items()}


def one_table() -> bknb.exchanges.FrameSource:
    """The same candles as one exchange with both symbols."""
    return bknb.exchanges.FrameSource({symbol: Candles.from_rows(rows) for symbol, rows in ROWS.items()})


class TestJoined(CandleSourceContract):
    symbol = PERP

    def source(self) -> CandleSource:
        return joined(spot=demo(), perp=demo())


class TestJoinedBroker(BrokerContract):
    symbol = PERP

    def make_broker(self, folder: Path) -> Broker:
        journals = {each: bknb.brokers.paper(journal=folder / f"{each}.jsonl") for each in ("spot", "perp")}
        return bknb.brokers.joined(**journals)


class TestOneOfJoinedBrokers(BrokerContract):
    symbol = SPOT
    durable = False

    def make_broker(self, folder: Path) -> Broker:
        return bknb.brokers.joined(spot=bknb.brokers.paper()).broker_of_symbol(SPOT)


# --- a portfolio is that over one exchange with both symbols --------------------------------------------------------


def carry(exchange: Any, **options: Any) -> dict[str, Any]:
    """Random weights of both symbols, which read candles and prices of both, on accounts by symbol."""
    drawn = drawn_weights(5, 1.0)

    def get_weights(ctx: Any) -> Any:
        panel = ctx.panel([SPOT, PERP], "1m", 3)
        assert panel.close[-1].tolist() == [float(ctx.get_candles(each, "1m", 1).close[-1]) for each in (SPOT, PERP)]
        assert ctx.price_of(SPOT) != ctx.price_of(PERP)
        rates = ctx.series("rates", 3, symbol=PERP)
        assert set(rates.symbol) <= {PERP}
        return drawn(ctx)

    funding = [(ORIGIN + k * MINUTE, PERP, 0.0004) for k in range(-9, 130, 7)]
    bknb.add_series("rates", pd.DataFrame(funding, columns=["published_at", "symbol", "rate"]))
    bknb.weights("carry", symbols=[SPOT, PERP], interval="5m", get_weights=get_weights, tolerance=1.0, together=True)
    perpetual = bknb.Perpetual(leverage=2, mode="isolated")
    return {
        "strategies": ["carry"],
        "exchange": exchange,
        "settings": SETTINGS,
        "capital": 10_000,
        "account": {SPOT: bknb.Spot(), PERP: perpetual},
        "costs": {PERP: bknb.Costs(funding="rates")},
    } | options


@pytest.mark.slow
def test_a_portfolio_over_joined_exchanges_is_that_over_one_with_both_symbols_and_live_the_same() -> None:
    result = live(carry(joined(**parts())), SimulatedClock(ORIGIN))
    both = [backtest(carry(exchange), result) for exchange in (joined(**parts()), one_table())]
    assert told(result) == told(both[0])
    assert money_of(result, UNTIL) == money_of(both[0], UNTIL) == money_of(both[1], UNTIL)
    assert len(result.fills) > 20
    assert result.run_account.currency == "USDT"
    names = [each.replace(b"spot=frame, perp=frame", b"frame") for each in told(both[0])]
    assert names == told(both[1])


def test_a_portfolio_has_the_card_and_the_candles_of_each() -> None:
    for name in ("one", "two"):
        bknb.add_strategy(name, interval="5m", get_signal=signals(3), strict=False)
    options: dict[str, Any] = {"legs": [(SPOT, "one"), (PERP, "two")], "frame": (ORIGIN, UNTIL), "settings": SETTINGS}
    result = bknb.portfolio(exchange=joined(**parts()), **options)
    bknb.add_exchange("both", get_candles=joined(**parts()))
    again = bknb.portfolio(exchange="both", **options)
    other = bknb.portfolio(exchange=one_table(), **options)
    assert result.trades.drop(columns="leg").equals(other.trades.drop(columns="leg"))
    assert bknb.verify(again.card).same
    found = {series.symbol: series.digest for leg in again.legs.values() for series in leg.run_record.fingerprints()}
    assert set(found) == {SPOT, PERP}
    assert len({*found.values()}) == 2


@pytest.mark.slow
def test_look_ahead_check_and_sweep_take_them() -> None:
    both = joined(**parts())
    options: dict[str, Any] = {"exchange": both, "frame": (ORIGIN, UNTIL), "settings": SETTINGS}

    def get_signal(ctx: Any, price: float, width: float = 1.0) -> Any:
        other = ctx.get_candles(SPOT, "5m", 2).close
        if other[-1] > other[0]:
            return bknb.Signal(position="long", minute_estimated_time=9, price_stop_loss=price * (1 - width / 50))
        return None

    strategy = bknb.add_strategy("other", get_signal=get_signal, interval="5m")
    assert bknb.check_lookahead(strategy, PERP, exchange=both, frame=(ORIGIN, UNTIL), moments=5)
    swept = bknb.sweep(strategy, params={"width": [1.0, 2.0]}, symbol=PERP, **options)
    plain = bknb.sweep(strategy, params={"width": [1.0, 2.0]}, symbol=PERP, **options | {"exchange": one_table()})
    assert swept.table.equals(plain.table)


# --- what each exchange says of its symbols -------------------------------------------------------------------------


def test_hours_bars_warnings_and_formats_are_those_of_the_exchange_of_the_symbol() -> None:
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "09:00-17:00"})

    class Formats(type(demo())):  # type: ignore[misc]
        def format_price(self, symbol: str, price: float) -> str:
            return f"{symbol} {price:.1f}"

        def format_quantity(self, symbol: str, quantity: float) -> str:
            return f"{symbol} {quantity:.2f}"

    both = joined(spot=bknb.exchanges.in_sessions(demo(), hours), perp=Formats())
    assert sessions_of(both, SPOT) == hours
    assert sessions_of(both, PERP) is sessions_of(both) is None
    assert sessions_of(joined(a=bknb.exchanges.in_sessions(demo(), hours)), "a:X") == hours
    assert both.format_price(PERP, 2) == "BTCUSDT 2.0"
    assert both.format_quantity(PERP, 2) == "BTCUSDT 2.00"
    assert both.format_price(SPOT, 2.5) == "2.50"
    half_past = bknb.exchanges.in_sessions(
        lambda *asked: [], bknb.Sessions.weekly("UTC", {"mon-sun": "09:30-17:30"}), from_open=True
    )
    registered = bknb.add_exchange("hours", get_candles=half_past, intervals=["1h"])
    longer = joined(
        spot=bknb.add_exchange("rows", get_candles=lambda *asked: [], intervals=["1h", "4h"]), perp=registered
    )
    assert longer.intervals == ("1h",)
    assert bar_grid_of(longer, SPOT) is None
    assert bar_grid_of(longer, PERP) is not None


def test_warnings_are_told_to_runs_over_the_symbols_of_that_exchange_alone() -> None:
    frame = pd.DataFrame(ROWS[SPOT], columns=["timestamp", "open", "high", "low", "close", "volume"])
    mixed = frame.iloc[[*range(1, 40), 0, *range(40, len(frame))]]
    two = pd.concat([mixed.assign(symbol="A"), frame.assign(symbol="B")])
    both = joined(
        spot=bknb.exchanges.from_frame(two), perp=bknb.exchanges.from_frame(frame), x=bknb.exchanges.from_frame(mixed)
    )
    assert both.symbols == ("spot:A", "spot:B")

    def told_to(symbol: str) -> list[str]:
        found: list[str] = []
        feed = Feed(both, bknb.Settings(), warn=found.append)
        fetch_now(feed.fetch(symbol, "1m", ORIGIN, ORIGIN + 20 * MINUTE))
        return found

    assert ["sorted" in note for note in told_to("spot:A")] == [True]
    assert told_to("spot:B") == told_to(PERP) == []
    assert ["sorted" in note for note in told_to("x:ANY")] == [True]


def test_notes_of_all_are_told_once() -> None:
    class Noting(type(demo())):  # type: ignore[misc]
        def take_notes(self) -> list[str]:
            notes, self.notes = getattr(self, "notes", ["retried"]), []
            return notes

    both = joined(spot=Noting(), perp=demo(), third=Noting())
    assert both.take_notes() == ["retried", "retried"]
    assert both.take_notes() == []


def test_steps_and_least_amounts_are_those_of_registered_exchanges() -> None:
    one = bknb.add_exchange("coins", get_candles=demo(), tick={"BTCUSDT": 0.5}, step=0.01, least_value=5.0)
    bknb.add_exchange("swaps", get_candles=demo(), tick=0.1)
    both = joined(spot=one, perp="swaps")
    for exchange in (bknb.add_exchange("all", get_candles=both), bknb.engine.resolve.resolve_exchange(both)):  # type: ignore[attr-defined]
        assert [exchange.tick_of(each) for each in (SPOT, "spot:ETHUSDT", PERP)] == [0.5, None, 0.1]
        assert exchange.limits_of(SPOT) == one.limits_of("BTCUSDT")
        assert exchange.limits_of(PERP).step == 0.0
        assert dict(exchange.tick) == {SPOT: 0.5}  # type: ignore[arg-type]
    inner = bknb.engine.resolve.resolve_exchange(joined(each=both, third=demo()))  # type: ignore[attr-defined]
    assert [inner.tick_of(f"each:{symbol}") for symbol in (SPOT, "spot:ETHUSDT", PERP)] == [0.5, None, 0.1]
    own = bknb.add_exchange("own", get_candles=both, tick={PERP: 2.0})
    assert [own.tick_of(each) for each in (SPOT, PERP)] == [None, 2.0]
    assert own.limits_of(SPOT).step == 0.01


def test_prices_at_or_below_zero_are_taken_from_an_exchange_that_has_them_and_refused_of_the_others() -> None:
    rows = [[ORIGIN + k * MINUTE, -1.0, 1.0, -2.0, -0.5, 3.0] for k in range(30)]
    frame = pd.DataFrame(rows, columns=["timestamp", "open", "high", "low", "close", "volume"])
    oil = bknb.exchanges.from_frame(frame, negative=True)
    both = joined(
        oil=oil, other=bknb.add_exchange("rows", get_candles=lambda *asked: [tuple(row) for row in rows]).source
    )
    assert both.negative
    assert fetch_now(both.get_candles("oil:CL", "1m", ORIGIN, 5)).close[0] == -0.5
    with pytest.raises(BadCandle, match="every price must be above 0"):
        fetch_now(both.get_candles("other:CL", "1m", ORIGIN, 5))
    with pytest.raises(UsageError, match="prices above zero"):
        bknb.backtest(
            "oil:CL", strategy=lambda ctx: None, exchange=both, frame=(ORIGIN, ORIGIN + 9 * MINUTE), capital=1
        )


def test_candles_in_memory_are_not_kept_by_a_result_and_another_process_gets_them() -> None:
    both = joined(**parts())
    loose = weakened(both)
    assert isinstance(loose, JoinedSource)
    kept = held(loose)
    assert kept == [*both.parts.values()]
    assert fetch_now(loose.get_candles(PERP, "1m", ORIGIN, 3)).close.tolist() == [row[4] for row in ROWS[PERP][60:63]]
    del kept, both
    gc.collect()
    with pytest.raises(bknb.DataError, match="no longer in memory"):
        fetch_now(loose.get_candles(PERP, "1m", ORIGIN, 3))
    endless = joined(spot=demo(), perp=demo())
    assert weakened(endless) is endless
    recorded = RecordingSource(endless, Record(), "both")
    assert weakened(recorded) is held(recorded) is recorded  # what stands in front of it stays there
    there = pickle.loads(pickle.dumps(joined(**parts())))  # noqa: S301
    assert sessions_of(there, SPOT) is None
    assert len(fetch_now(there.get_candles(SPOT, "1m", ORIGIN, 3))) == 3


# --- the stream and the brokers of each -----------------------------------------------------------------------------


class Pushing:
    """A stream that notes what it is told."""

    def __init__(self, at_once: int) -> None:
        self.at_once, self.told, self.minutes = at_once, list[tuple[Any, ...]](), PushedMinutes()

    def __getattr__(self, name: str) -> Any:
        answers = {"pushed": self.minutes, "place": (1, 4), "take_notes": [f"{self.at_once}"]}

        def call(*given: Any) -> Any:
            self.told.append((name, *given))
            return answers.get(name)

        return call

    async def settled(self, *given: Any) -> None:
        self.told.append(("settled", *given))


class Streamed(type(demo())):  # type: ignore[misc]
    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream


def test_minutes_are_pushed_by_the_exchange_of_the_symbol() -> None:
    first, second = Pushing(9), Pushing(4)
    stream = joined(spot=Streamed(first), perp=Streamed(second), third=demo()).stream
    assert isinstance(stream, JoinedStream)
    assert joined(spot=demo()).stream is None
    assert stream.at_once == 4
    stream.follow(PERP)
    assert stream.pushed(PERP) is second.minutes
    assert stream.place(PERP) == (1, 4)
    fetch_now(stream.settled(PERP, 7))
    stream.missed(PERP, 7)
    stream.leave(PERP)
    stream.follow("third:BTCUSDT")
    stream.leave("third:BTCUSDT")
    assert stream.pushed("third:BTCUSDT") is None
    assert second.told == [("follow", "BTCUSDT"), ("pushed", "BTCUSDT"), ("place", "BTCUSDT"),
                           ("settled", "BTCUSDT", 7), ("missed", "BTCUSDT", 7), ("leave", "BTCUSDT")]  # fmt: skip
    assert stream.take_notes() == ["9", "4"]
    assert first.told == [("take_notes",)]


class Real:
    """A broker of one's own, which knows its own symbols."""

    def __init__(self, name: str) -> None:
        self.name, self.orders = name, list[Order]()

    async def place(self, order: Order) -> Report:
        self.orders.append(order)
        return Report(client_id=order.client_id, symbol=order.symbol, status="filled",
                      filled_quantity=order.quantity, average_price=order.record_price)  # fmt: skip

    async def cancel(self, client_id: str, symbol: str) -> Report:
        raise bknb.BrokerError("nothing works", refused=True)

    async def report(self, client_id: str, symbol: str) -> Report | None:
        found = [order for order in self.orders if order.client_id == client_id and order.symbol == symbol]
        return await self.place(found[0]) if found and self.orders.pop() else None

    async def open_orders(self, symbol: str) -> list[Report]:
        return []


@pytest.mark.slow
def test_live_orders_go_to_the_broker_of_their_exchange_under_its_own_symbols() -> None:
    bknb.add_strategy("drawn", interval="1m", get_signal=signals(4))

    def orders(exchange: Any, broker: Any, brokers: dict[str, Any]) -> list[tuple[Any, ...]]:
        options: dict[str, Any] = {"legs": [(SPOT, "drawn"), (PERP, "drawn")], "exchange": exchange, "broker": broker}
        quantity = {SPOT: 1.0, PERP: 2.0}
        live(options | {"settings": SETTINGS, "quantity": quantity}, SimulatedClock(ORIGIN))
        return [
            (
                symbol.rpartition(":")[2],
                order.symbol.rpartition(":")[2],
                order.client_id,
                order.quantity,
                order.report().average_price,
            )
            for symbol, each in brokers.items()
            for order in each.orders.values()
            if broker is not each or order.symbol == symbol
        ]

    spot, perp, one = (bknb.brokers.paper() for _ in range(3))
    both = orders(joined(**parts()), bknb.brokers.joined(spot=spot, perp=perp), {SPOT: spot, PERP: perp})
    assert both == orders(one_table(), one, {SPOT: one, PERP: one})
    assert {order.symbol for order in (*spot.orders.values(), *perp.orders.values())} == {"BTCUSDT"}
    assert len(spot.orders) > 3
    assert len(perp.orders) > 3


def test_a_broker_of_the_user_is_called_outside_also_where_it_is_joined() -> None:
    real = Real("mine")
    both = bknb.brokers.joined(spot=real, perp=bknb.brokers.paper())
    outside = [broker_outside(both.broker_of_symbol(each)) for each in (SPOT, PERP, "spot:ETHUSDT")]
    assert [type(each).__name__ for each in outside] == ["_BrokerOutside", "PaperAccountOfSymbol", "_BrokerOutside"]
    assert outside[0]._calls is outside[2]._calls  # type: ignore[union-attr]
    assert isinstance(outside[1], PaperMarket)
    assert not isinstance(both.broker_of_symbol(SPOT), PaperMarket)
    assert isinstance(both, JoinedBroker)


# --- wrong use ------------------------------------------------------------------------------------------------------


def hourly(**more: Any) -> Any:
    times = ORIGIN + np.arange(40) * 60 * MINUTE
    frame = pd.DataFrame({"timestamp": times, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0})
    return bknb.exchanges.from_frame(frame, **more)


def test_what_cannot_be_joined_is_refused_in_words() -> None:
    bknb.add_exchange("heard", get_candles=demo(), callbacks={"on_candle_data": lambda **told: None})
    rows: list[tuple[Mapping[str, Any], str]] = [
        ({}, "joined needs exchanges by name"),
        ({"spot": 3}, "must be a function"),
        ({"spot": "nowhere"}, "nowhere"),
        ({"a b": demo()}, "cannot be the name of a joined exchange"),
        ({"spot": "heard"}, "callbacks"),
        ({"spot": lambda *asked: [], "perp": hourly()}, "spot has 1m; perp has 1h\n"),
    ]
    for given, words in rows:
        with pytest.raises(bknb.BknbError, match=words):
            joined(**given)
    both = joined(spot=demo(), perp=demo())
    for symbol, written in {
        "BTCUSDT": "spot:BTCUSDT",
        "swap:BTCUSDT": "spot:BTCUSDT",
        "BTC/USDT:USDT": "spot:BTC/USDT:USDT",
        "spot:": "spot:BTCUSDT",
        "perp:": "perp:BTCUSDT",
    }.items():
        with pytest.raises(UsageError, match=f"they have 'spot:…' and 'perp:…'\nwrite it so: '{written}'"):
            bknb.backtest(symbol, strategy=lambda ctx: None, exchange=both, frame=(ORIGIN, ORIGIN + MINUTE))
    with pytest.raises(UsageError, match=r"put a store around each, joined\(spot=stored\(…\), perp=stored\(…\)\)"):
        bknb.exchanges.stored(both)
    with pytest.raises(UsageError, match="put a store around each"):
        bknb.download(SPOT, exchange=both, start="2024-01-01", end="2024-01-02")


def test_sources_of_one_name_are_not_kept_in_one_candle_store(tmp_path: Path) -> None:
    a, b = (source(walk(seed)) for seed in (1, 2))
    stored = bknb.exchanges.stored
    with pytest.raises(UsageError, match=r"spot and perp are both stored as '\w+' in .*\ngive perp a folder"):
        joined(spot=stored(a, folder=tmp_path), perp=stored(b, folder=str(tmp_path)))
    joined(spot=stored(a, folder=tmp_path), perp=stored(a, folder=tmp_path))
    joined(spot=stored(a, folder=tmp_path), perp=stored(b, folder=tmp_path / "perp"), other=b)


def test_brokers_and_exchanges_that_do_not_fit_are_refused_in_words() -> None:
    both, single = joined(spot=demo(), perp=demo()), demo()
    rows: list[tuple[Any, Any, str]] = [
        (both, Real("mine"), "exchange 'spot=demo, perp=demo' is several, and broker 'mine' does not know"),
        (both, bknb.brokers.joined(perp=Real("mine")), "have none for 'spot:BTCUSDT': they are for 'perp:…'"),
        (single, bknb.brokers.joined(spot=Real("mine")), "is for joined exchanges, and 'demo' is one exchange"),
    ]
    for exchange, broker, words in rows:
        with pytest.raises(UsageError, match=words):
            bknb.Live.background(
                SPOT, strategy=lambda ctx: None, exchange=exchange, broker=broker, quantity=1.0,
                store=bknb.stores.memory(), clock=SimulatedClock(ORIGIN), until=ORIGIN + MINUTE,
            )  # fmt: skip
    for given in ({}, {"spot": object()}):
        with pytest.raises(UsageError, match=r"joined needs brokers|must be a broker"):
            bknb.brokers.joined(**given)


def test_the_doctor_looks_at_the_clock_of_each() -> None:
    class Ticking(type(demo())):  # type: ignore[misc]
        def clock_skew_ms(self) -> int:
            return 3_000

    bknb.add_exchange("both", get_candles=joined(spot=demo(), perp=Ticking()))
    clocks = [each for each in bknb.doctor(network=True).findings if each.what.startswith("clock of both")]
    assert [(each.what, each.state) for each in clocks] == [("clock of both (perp)", "bad")]


def test_the_currency_is_that_of_the_symbol_behind_the_name() -> None:
    bknb.add_strategy("one", interval="5m", get_signal=signals(3))
    options: dict[str, Any] = {"frame": (ORIGIN, ORIGIN + 5 * MINUTE), "capital": 100, "strategies": ["one"],
                               "exchange": joined(eur=demo(), perp=demo())}  # fmt: skip
    result = bknb.portfolio(symbols=["eur:BTC/USDT", "perp:BTC/USDT:USDT"], **options)
    assert result.run_account.currency == "USDT"
    with pytest.raises(UsageError, match="eur:BTCUSDT is quoted in USDT, and perp:BTC/USDC:USDC in USDC"):
        bknb.portfolio(symbols=["eur:BTCUSDT", "perp:BTC/USDC:USDC"], **options)
