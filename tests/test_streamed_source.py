"""Minutes pushed by an exchange that drops, doubles, reorders and lies are those it answers when it is asked.

The real client of ccxt talks to a server on this computer. A simulated clock says when a minute has come.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from packages import need_packages
from waiting import until

import bknb
from bknb.domain.retry_pauses import Patience
from bknb.errors import DataError
from bknb.exchanges.candle_bundle import BundleSource, RecordingSource
from bknb.exchanges.ccxt_source import CcxtSource
from bknb.exchanges.ccxt_stream import CcxtStream, client_class, wording_of
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.market.candles import Candles
from bknb.market.fetch_loop import fetch_now
from bknb.market.streamed_source import StreamedSource
from bknb.testing.clocks import SimulatedClock
from bknb.testing.fake_binance import LocalBinance, Market
from bknb.testing.fake_binance_stream import LocalBinanceStream, StreamFault

need_packages("ccxt", "pyarrow")

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
FAULTS: tuple[StreamFault, ...] = get_args(StreamFault)
UNSEEN = ("closed early", "other prices", "other close")  # nothing about these updates shows that they are wrong
SEEN = tuple(fault for fault in FAULTS if fault not in UNSEEN)
TWO = ("BTCUSDT", "ETHUSDT")


def at(minute: int) -> int:
    return START + minute * MINUTE


class Prices:
    """A source of minutes that differ for each symbol, at once."""

    name = "prices"
    intervals = ("1m",)
    page_limit = None

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        return self.candles(symbol, since, limit)

    def candles(self, symbol: str, since: int, limit: int) -> Candles:
        first, seed = since // MINUTE, sum(symbol.encode()) % 89
        rows = []
        for minute in range(first, first + limit):
            open_, close = (100.0 + (k * k * 7 + seed * k) % 101 / 64 for k in (minute % 211, (minute + 1) % 211))
            low, high = min(open_, close) - 0.25, max(open_, close) + 0.5
            rows.append((minute * MINUTE, open_, high, low, close, 10.0 + minute % 13 + seed))
        return Candles.from_rows(rows)

    def format_price(self, symbol: str, price: float) -> str:
        return str(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        return str(quantity)


def truth(first: int, end: int, symbol: str = "BTCUSDT") -> Candles:
    return Prices().candles(symbol, at(first), end - first)


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


class MarketClock(SimulatedClock):
    """A clock on whose way the exchange pushes each minute that ends, and closing updates that come late."""

    stream: LocalBinanceStream
    symbols: tuple[str, ...] = ()

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.pushes = True

    async def sleep_until(self, when: int) -> None:
        await asyncio.to_thread(self._go_on, when)

    def _go_on(self, when: int) -> None:
        if self.now() // MINUTE < when // MINUTE and self.symbols and self.pushes:
            self.stream.wait_for(connections=1, symbols=self.symbols)
        while (ends := (self.now() // MINUTE + 1) * MINUTE) <= when:
            self.advance(ends)
            if self.pushes:
                self.stream.push(ends - MINUTE)
        if when % MINUTE:
            self.stream.push_late()
        self.advance(when)


class World:
    """An exchange that answers and pushes, and a source with its stream."""

    def __init__(self, stack: ExitStack, *, symbols: tuple[str, ...] = TWO, at_once: int = 1000, **server: Any) -> None:
        self.clock = MarketClock(at(600))
        self.symbols = symbols
        self.server = stack.enter_context(LocalBinance(Prices(), now=self.clock.now, **server))
        self.stream = self.clock.stream = stack.enter_context(LocalBinanceStream(self.server))
        self.may_pass = threading.Event()
        self.resting = False
        self.source = CcxtSource(
            "binance",
            now=self.clock.now,
            config={**self.stream.ccxt_config, "rateLimit": 1},
            patience=Patience(attempts=2, first_pause_ms=0, longest_pause_ms=0),
            sleep=no_pause,
        )
        self.made = CcxtStream(
            self.source, now=self.clock.now, config={**self.stream.ccxt_config, "rateLimit": 1}, sleep=self.sleep
        )
        self.made.at_once = at_once
        self.source.stream = self.made
        self.streamed = StreamedSource(self.source, self.made, self.clock)
        stack.callback(self.leave)
        self.may_pass.clear()  # until all are followed: they are subscribed together
        for symbol in symbols:
            self.made.follow(symbol)
        self.may_pass.set()
        if symbols:
            self.stream.wait_for(connections=1, symbols=symbols)

    async def sleep(self, _: float) -> None:
        self.resting = not self.may_pass.is_set()
        await asyncio.to_thread(self.may_pass.wait, 10)

    def leave(self) -> None:
        for symbol in self.symbols:
            self.made.leave(symbol)
        self.symbols = ()
        self.stream.wait_for(connections=0)

    def minute(self) -> int:
        """Let a minute pass; returns how many requests there were before."""
        asyncio.run(self.clock.sleep_until(self.clock.now() // MINUTE * MINUTE + MINUTE))
        return len(self.server.asked("klines"))

    def newest(self, symbol: str, *, count: int = 2) -> Candles:
        """The newest minutes as a live run asks for them."""
        since = self.clock.now() // MINUTE * MINUTE - count * MINUTE
        return fetch_now(self.streamed.get_candles(symbol, "1m", since, count))

    def right(self, symbol: str, *, count: int = 2) -> Candles:
        end = (self.clock.now() - START) // MINUTE
        return truth(end - count, end, symbol)

    @property
    def asked(self) -> int:
        return len(self.server.asked("klines"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


# --- the same candles as asked -------------------------------------------------------------------------------------


def faulty(stack: ExitStack, faults: tuple[StreamFault, ...], minutes: tuple[int, ...], **more: Any) -> World:
    """A world with one symbol for each fault, which its updates have in these minutes."""
    markets = [Market(base=f"F{number}") for number in range(len(faults))]
    world = World(stack, symbols=tuple(market.id for market in markets), markets=markets, **more)
    world.stream.faults = {
        (symbol, at(minute)): fault for symbol, fault in zip(world.symbols, faults, strict=True) for minute in minutes
    }
    return world


def wrong_in(world: World, names: tuple[str, ...]) -> list[str]:
    """The names, such as faults, of the symbols that are not given as they are asked for."""
    since = world.clock.now() // MINUTE * MINUTE - 2 * MINUTE

    async def all_of_them() -> list[Candles]:
        return await asyncio.gather(*(world.streamed.get_candles(symbol, "1m", since, 2) for symbol in world.symbols))

    given = zip(world.symbols, names, fetch_now(all_of_them()), strict=True)
    return [name for symbol, name, candles in given if candles != world.right(symbol)]


@pytest.mark.slow
def test_whatever_is_pushed_the_candles_are_those_that_are_asked_for(stack: ExitStack) -> None:
    """Each minute is there within a second of its end."""
    world = faulty(stack, FAULTS, (602, 603, 605))
    for _ in range(7):
        world.minute()
        assert wrong_in(world, FAULTS) == []
        assert world.clock.now() % MINUTE <= 1_000


@pytest.mark.slow
def test_what_can_be_seen_to_be_wrong_is_never_given_unasked(stack: ExitStack) -> None:
    world = faulty(stack, SEEN, (604, 605, 607), at_once=8)
    for _ in range(10):
        world.minute()
        assert wrong_in(world, SEEN) == []
        assert world.clock.now() % MINUTE <= 1_000
    assert world.streamed.given > 40
    assert world.made.take_notes() == []


def test_of_many_symbols_a_few_are_asked_for_in_turn(stack: ExitStack) -> None:
    world = World(stack, at_once=1)
    for _ in range(3):
        world.minute()
        assert [world.newest(symbol) for symbol in TWO] == [world.right(symbol) for symbol in TWO]
    for _ in range(6):
        before = world.minute()
        assert [world.newest(symbol, count=1) for symbol in TWO] == [world.right(symbol, count=1) for symbol in TWO]
        assert world.asked - before == 1
    asked = [int(request.query["limit"]) for request in world.server.asked("klines")[-4:]]
    assert asked == [2, 2, 2, 2]  # with the minute that was given unasked


def test_minutes_of_the_far_future_push_out_none_of_the_present(stack: ExitStack) -> None:
    world = World(stack, at_once=1)
    for _ in range(2):
        world.minute()
        for symbol in TWO:
            world.newest(symbol)
    world.stream.faults = {(symbol, at(minute)): "far future" for symbol in TWO for minute in range(602, 606)}
    for _ in range(4):
        before = world.minute()
        assert [world.newest(symbol) for symbol in TWO] == [world.right(symbol) for symbol in TWO]
        assert world.asked - before == 1


@pytest.mark.slow
def test_a_lie_that_nobody_can_see_is_found_at_the_next_turn_told_once_and_asked_for_from_then_on(
    stack: ExitStack,
) -> None:
    world = World(stack, at_once=1)
    world.stream.faults = {("BTCUSDT", at(minute)): "other close" for minute in range(604, 620)}
    wrong = []
    for minute in range(600, 620):
        world.minute()
        if world.newest("BTCUSDT") != world.right("BTCUSDT"):
            wrong.append(minute)
    assert len(wrong) <= 1
    notes = world.streamed.take_notes()
    assert len(notes) == 1
    assert "BTCUSDT from 'binance': the stream is not what the exchange answers" in notes[0]
    assert "each minute is asked for until sixty in a row agree" in notes[0]
    pushed = world.made.pushed("BTCUSDT")
    assert pushed is not None
    assert pushed.differed >= 15
    counts = world.made.compared, world.made.differed
    world.leave()
    assert (world.made.compared, world.made.differed) == counts
    assert f"{counts[1]} different" in repr(world.made)


def test_an_answer_that_lags_behind_what_was_pushed_is_asked_for_again(stack: ExitStack) -> None:
    world = World(stack)
    world.minute()
    for fault in ("other prices", "truncated"):
        world.minute()
        world.server.faults.append(fault)  # type: ignore[arg-type]
        assert world.newest("BTCUSDT") == world.right("BTCUSDT")
    pushed = world.made.pushed("BTCUSDT")
    assert pushed is not None
    assert pushed.differed == 0


def test_an_exchange_that_answers_no_more_is_told_and_what_it_pushes_is_given(stack: ExitStack) -> None:
    world = World(stack)
    world.minute()
    world.newest("BTCUSDT")
    for _ in range(3):
        world.minute()
        world.server.faults.extend(["500", "500"])
        assert world.newest("BTCUSDT") == world.right("BTCUSDT")
    notes = [note for note in world.streamed.take_notes() if "unconfirmed" in note]
    assert len(notes) == 1
    world.stream.faults = {("BTCUSDT", at(604)): "no close"}
    world.minute()
    world.server.faults.extend(["500", "500"])
    with pytest.raises(DataError):
        world.newest("BTCUSDT")


class Ahead:
    """A clock that runs ahead of another one, in milliseconds."""

    def __init__(self, clock: SimulatedClock, ms: int) -> None:
        self.clock, self.ms = clock, ms

    def now(self) -> int:
        return self.clock.now() + self.ms

    async def sleep_until(self, when: int) -> None:
        await self.clock.sleep_until(when - self.ms)


@pytest.mark.parametrize("streams", [True, False])
def test_a_minute_that_goes_on_at_the_exchange_is_not_there_though_this_computer_is_ahead(
    stack: ExitStack, *, streams: bool
) -> None:
    world = World(stack, symbols=("BTCUSDT",))
    clock = world.source._now = world.made._now = Ahead(world.clock, 3_000).now
    source = StreamedSource(world.source, world.made, Ahead(world.clock, 3_000)) if streams else world.source
    for minute in (601, 602):
        asyncio.run(world.clock.sleep_until(at(minute) - 3_000))
        assert clock() == at(minute)
        assert fetch_now(source.get_candles("BTCUSDT", "1m", at(minute - 2), 2)) == truth(minute - 2, minute - 1)
        asyncio.run(world.clock.sleep_until(at(minute)))
        assert fetch_now(source.get_candles("BTCUSDT", "1m", at(minute - 2), 2)) == truth(minute - 2, minute)
    assert world.made.differed == 0


def test_more_than_is_held_other_intervals_and_other_symbols_are_asked_for(stack: ExitStack) -> None:
    world = World(stack, symbols=("BTCUSDT",))
    for _ in range(3):
        world.minute()
        world.newest("BTCUSDT")
    before = world.asked
    assert world.newest("BTCUSDT", count=100) == world.right("BTCUSDT", count=100)
    assert world.newest("ETHUSDT") == world.right("ETHUSDT")
    hours = fetch_now(world.streamed.get_candles("BTCUSDT", "1h", at(0), 3))
    assert len(hours) == 3
    assert world.asked - before == 3


# --- the connection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["disconnect", "abort"])
def test_a_connection_that_breaks_is_made_again_and_told_once(how: str, stack: ExitStack) -> None:
    world = World(stack, at_once=1)
    for minute in range(8):
        world.minute()
        if minute in (3, 5):
            getattr(world.stream, how)()  # before anybody asked
        for symbol in TWO:
            assert world.newest(symbol) == world.right(symbol)
        world.stream.wait_for(connections=1, symbols=TWO)
    assert world.stream.connected == 3
    notes = world.streamed.take_notes()
    assert len(notes) == 1
    assert notes[0].startswith("the stream of 'binance' broke")


def test_a_server_that_refuses_connections_is_asked(stack: ExitStack) -> None:
    world = World(stack)
    world.minute()
    world.stream.refusing, world.clock.pushes = True, False
    world.stream.disconnect()
    pushed = world.made.pushed("BTCUSDT")
    assert until(lambda: pushed is not None and not pushed.heard)
    for _ in range(3):
        world.minute()
        assert world.newest("BTCUSDT") == world.right("BTCUSDT")
        assert world.clock.now() % MINUTE == 0  # nothing is waited for
    world.stream.refusing, world.clock.pushes = False, True
    world.minute()
    assert world.newest("BTCUSDT") == world.right("BTCUSDT")


def test_a_connection_that_is_silent_is_made_anew(stack: ExitStack) -> None:
    world = World(stack)
    world.minute()
    world.newest("BTCUSDT")
    world.stream.silent = True
    waited = []
    for _ in range(6):
        world.minute()
        assert world.newest("BTCUSDT") == world.right("BTCUSDT")
        waited.append(world.clock.now() % MINUTE)
    assert waited == [700, 700, 700, 0, 0, 0]  # three times, then no more
    assert until(lambda: world.stream.connected == 2)
    world.stream.silent = False
    world.minute()
    assert world.newest("BTCUSDT") == world.right("BTCUSDT")
    assert "no update came for 5 minutes" in world.streamed.take_notes()[0]


def test_symbols_that_are_followed_later_share_the_connection_which_is_closed_after_the_last(stack: ExitStack) -> None:
    world = World(stack, symbols=("BTCUSDT",))
    world.made.follow("ETH/USDT")
    world.made.follow("ETHUSDT")  # the same market
    world.made.follow("BTCUSDT")
    world.stream.wait_for(connections=1, symbols=TWO)
    world.minute()
    assert world.newest("ETH/USDT") == world.newest("ETHUSDT") == world.right("ETHUSDT")
    assert world.stream.subscriptions == [["btcusdt@kline_1m"], ["ethusdt@kline_1m"]]
    for symbol in ("ETH/USDT", "ETHUSDT", "BTCUSDT"):
        world.made.leave(symbol)
    world.minute()
    assert world.newest("BTCUSDT") == world.right("BTCUSDT")
    world.leave()
    world.made.follow("BTCUSDT")
    world.symbols = ("BTCUSDT",)
    world.stream.wait_for(connections=1, symbols=world.symbols)


def test_symbols_that_are_followed_within_a_moment_are_subscribed_with_one_message(stack: ExitStack) -> None:
    markets = [Market(base=name) for name in ("BTC", "A", "B", "C")]
    world = World(stack, symbols=("BTCUSDT",), markets=markets)
    world.may_pass.clear()
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        world.made.follow(symbol)
    assert until(lambda: world.resting)
    world.may_pass.set()
    world.symbols = ("BTCUSDT", "AUSDT", "BUSDT", "CUSDT")
    world.stream.wait_for(connections=1, symbols=world.symbols)
    assert [len(streams) for streams in world.stream.subscriptions] == [1, 3]


def test_a_symbol_that_the_exchange_does_not_have_is_asked_for_and_refused(stack: ExitStack) -> None:
    world = World(stack, symbols=())
    world.made.follow("NOPE")
    world.made.follow("BTCUSDT")
    world.symbols = ("NOPE", "BTCUSDT")
    world.stream.wait_for(connections=1, symbols=("BTCUSDT",))
    with pytest.raises(bknb.BknbError, match="NOPE"):
        world.newest("NOPE")
    world.minute()
    assert world.newest("BTCUSDT") == world.right("BTCUSDT")
    assert world.made.take_notes() == []


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "faults"), [(100, FAULTS), (2, SEEN)], ids=["each is asked for", "in turn"])
def test_in_random_worlds_the_candles_are_those_that_are_asked_for(
    at_once: int, faults: tuple[StreamFault, ...], stack: ExitStack
) -> None:
    """Half of all minutes have a fault, and one connection in eight minutes is lost, before or after it was asked."""
    chance = random.Random(at_once)  # noqa: S311
    markets = [Market(base=f"R{number}") for number in range(8)]
    world = World(stack, symbols=tuple(market.id for market in markets), at_once=at_once, markets=markets)
    for minute in range(600, 640):
        chosen = {symbol: chance.choice(faults) for symbol in world.symbols if chance.random() < 0.5}
        world.stream.faults = {(symbol, at(minute)): fault for symbol, fault in chosen.items()}
        world.stream.silent = chance.random() < 0.1
        world.minute()
        lost = chance.choice([world.stream.disconnect, world.stream.abort]) if chance.random() < 0.125 else None
        if lost is not None and chance.random() < 0.5:
            lost()
            lost = None
        assert wrong_in(world, world.symbols) == []
        if lost is not None:
            lost()
    assert world.stream.connected > 3
    assert world.made.compared > 40


@pytest.mark.slow
def test_two_hundred_symbols_share_one_connection_and_are_the_same_as_asked(stack: ExitStack) -> None:
    names = tuple(f"NAME{number:03}" for number in range(200))
    markets = [Market(base=name) for name in names]
    symbols = tuple(market.id for market in markets)
    world = World(stack, symbols=symbols, at_once=20, markets=markets)
    of_each = tuple(SEEN[place % len(SEEN)] for place in range(200))
    world.stream.faults = {
        (symbol, at(minute)): of_each[place]
        for place, symbol in enumerate(symbols)
        for minute in range(602, 604)
        if place % 7 == 0
    }

    for minute in range(600, 606):
        before = world.minute()
        assert wrong_in(world, of_each) == []
        assert world.clock.now() % MINUTE <= 1_000
        if minute == 601:
            assert world.asked - before == 20
    assert world.stream.connected == 1
    assert [len(streams) for streams in world.stream.subscriptions] == [100, 100]  # Binance ignores longer messages


# --- live runs -----------------------------------------------------------------------------------------------------


def ups_and_downs() -> Any:
    def get_signal(when: Any, price: float) -> Any:
        if when.minute % 3:
            return None
        up = 0.01 if when.minute % 2 else -0.01
        return {
            "position": "long" if up > 0 else "short",
            "price_take_profit": price * (1 + up),
            "price_stop_loss": price * (1 - up),
            "minute_estimated_time": 5,
        }

    return bknb.add_strategy("steps", interval="1m", get_signal=get_signal)


def live(world: World, strategy: Any, end: int, store: Any, *, source: Any = None) -> Any:
    world.clock.symbols = ("BTCUSDT",)
    return bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=source or world.source, clock=world.clock, until=end, store=store
    )


def events(result: bknb.Result, *, before: int) -> list[bytes]:
    """Every event of a run before a moment, without what must differ: mode and frame."""
    told = [event for event in result.run_record.records.events if event.when < before]
    return [msgspec.json.encode(msgspec.structs.replace(event, mode="live", frame=None)) for event in told]


def backtested(world: World, strategy: Any, end: int) -> bknb.Result:
    """The same as a backtest, which asks."""
    result = bknb.backtest("BTCUSDT", strategy=strategy, exchange=world.source, frame=(at(600), end))
    assert len(result.trades) > 5
    return result


@pytest.mark.slow
def test_a_live_run_over_what_is_pushed_equals_a_backtest_and_leaves_nothing_open(
    stack: ExitStack, tmp_path: Path
) -> None:
    world = World(stack, symbols=("ETHUSDT",), at_once=1)
    world.stream.faults = {("BTCUSDT", at(604 + 2 * k)): fault for k, fault in enumerate(SEEN)}
    stored = StoredSource(world.source, CandleStore(tmp_path), now=world.clock.now)
    strategy, end = ups_and_downs(), at(650)
    result = live(world, strategy, end, bknb.stores.memory(), source=stored).result(timeout=60)
    assert world.asked < 42  # of 50 minutes, of which 15 have a fault
    assert events(result, before=end) == events(backtested(world, strategy, end), before=end)
    assert not result.errors
    world.leave()
    assert world.stream.connected == 1
    assert fetch_now(stored.get_candles("BTCUSDT", "1m", at(600), 50)) == truth(600, 650)


@pytest.mark.slow
def test_a_run_that_is_left_and_started_again_goes_on_as_one_that_was_not(stack: ExitStack) -> None:
    world = World(stack, symbols=("ETHUSDT",), at_once=1)
    strategy, store, end = ups_and_downs(), bknb.stores.memory(), at(640)
    live(world, strategy, at(613), store).result(timeout=60)
    world.made.leave("ETHUSDT")
    world.stream.wait_for(connections=0)
    world.made.follow("ETHUSDT")
    result = live(world, strategy, end, store).result(timeout=60)
    assert len(result.trades) > 5
    assert result.trades.equals(backtested(world, strategy, end).trades[: len(result.trades)])


def test_stop_closes_the_connection_and_no_thread_stays(stack: ExitStack) -> None:
    world = World(stack, symbols=())
    before = {thread.name for thread in threading.enumerate()}
    task = live(world, ups_and_downs(), at(10_000_000), bknb.stores.memory())
    world.stream.wait_for(connections=1, symbols=("BTCUSDT",))
    task.stop(now=True)
    task.result(timeout=60)
    world.stream.wait_for(connections=0)
    left = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in left if "stream" in name or "ccxt" in name]


# --- what is streamed ----------------------------------------------------------------------------------------------


def test_an_exchange_that_does_not_say_when_a_minute_closes_is_asked_and_that_is_told() -> None:
    for name, why in (("kraken", "does not say when a minute closes"), ("bitbank", "ccxt has no stream of it")):
        source = CcxtSource(name, now=lambda: START)
        stream = CcxtStream(source, now=lambda: START)
        for symbol in TWO:
            stream.follow(symbol)
        fetch_now(no_pause(0))
        assert stream.pushed("BTCUSDT") is None
        assert [note.endswith(why) for note in stream.take_notes()] == [True]
        for symbol in TWO:
            stream.leave(symbol)


def test_only_live_runs_over_the_exchange_itself_are_streamed(tmp_path: Path) -> None:
    plain = bknb.exchanges.ccxt("binance", cache=None)
    assert plain.stream is None
    for cache in (None, tmp_path):
        source = bknb.exchanges.ccxt("binance", cache=cache, stream=True)
        assert isinstance(source.stream, CcxtStream)
        assert source.stream.at_once == 20
        assert RecordingSource(source, None, "x").stream is None  # type: ignore[arg-type]
        assert BundleSource("x", {}, original=source).stream is None
        assert bknb.exchanges.in_sessions(source, "fx").stream is source.stream  # type: ignore[attr-defined]


BYBIT = {
    "topic": "kline.1.BTCUSDT", "ts": 1, "type": "snapshot",
    "data": [{"start": START, "end": START + 59_999, "interval": "1", "open": "10", "close": "11", "high": "12",
              "low": "9", "volume": "4", "turnover": "40", "confirm": True, "timestamp": START + 60_000}],
}  # fmt: skip
OKX = {
    "arg": {"channel": "candle1m", "instId": "BTC-USDT"},
    "data": [[str(START), "10", "12", "9", "11", "4", "44", "44", "1"]],
}
MESSAGES: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    ("bybit", "BTCUSDT", "wss://stream.bybit.com/v5/public/spot", BYBIT, {"confirm": False}),
    ("okx", "BTC-USDT", "wss://ws.okx.com:8443/ws/v5/business", OKX, {}),
]


@pytest.mark.parametrize(("name", "market", "url", "message", "open_"), MESSAGES, ids=[row[0] for row in MESSAGES])
def test_messages_of_other_exchanges_say_when_a_minute_has_closed(
    name: str, market: str, url: str, message: dict[str, Any], open_: dict[str, Any]
) -> None:
    """Messages as the exchange's documents have them, through ccxt's own class."""
    import ccxt.pro

    class Connection:
        def __init__(self) -> None:
            self.url = url

        def resolve(self, *_: Any) -> None:
            return None

    base = getattr(ccxt.pro, name)
    came: list[tuple[str, list[float], bool]] = []
    wording = wording_of(base)
    assert wording is not None
    client = client_class(base, wording, lambda symbol, row, *, closed: came.append((symbol, list(row), closed)))()
    client.set_markets(
        [client.safe_market_structure(
            {"id": market, "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot", "spot": True}
        )]
    )  # fmt: skip
    client.ohlcvs["BTC/USDT"] = {"1m": client.updates_of("BTC/USDT")}
    client.handle_message(Connection(), message)
    still = {**message, "data": [{**message["data"][0], **open_} if open_ else [*message["data"][0][:8], "0"]]}
    client.handle_message(Connection(), still)
    row = [START, 10.0, 12.0, 9.0, 11.0, 4.0]
    assert came == [("BTC/USDT", row, True), ("BTC/USDT", row, False)]
