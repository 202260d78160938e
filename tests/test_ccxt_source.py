"""The real ccxt client against an exchange on this computer that behaves and misbehaves like Binance."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from packages import need_packages

import bknb
from bknb.config import Settings
from bknb.domain.retry_pauses import Patience
from bknb.errors import BadCandle, DataError, UnknownName, UsageError
from bknb.exchanges.ccxt_market_rules import costs_of, rules_of
from bknb.exchanges.ccxt_source import CcxtSource
from bknb.exchanges.dataframe_source import FrameSource
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.history.partition import SeriesName
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.market.feed import Feed
from bknb.market.resample import resample
from bknb.stores.sealed_values import seal, unseal
from bknb.testing.fake_binance import Fault, LocalBinance, Market
from bknb.testing.sources import CandleSourceContract

need_packages("ccxt", "pyarrow")

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
NOW = START + 10 * 86_400_000 + 30_500
SERIES = SeriesName("binance", "BTC/USDT", "1m")


def at(minute: int) -> int:
    return START + minute * MINUTE


def truth(first: int, end: int, symbol: str = "BTCUSDT", interval: str = "1m") -> Candles:
    return asyncio.run(DemoSource().get_candles(symbol, interval, at(first), end - first))


class World:
    """A server, a client whose pauses are written down, and a store."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.now = NOW
        self.ahead_ms = 0  # of this computer's clock
        self.pauses: list[float] = []
        self.resting, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()
        self.folder = folder
        self.server = LocalBinance(server.pop("source", DemoSource()), now=lambda: self.now, **server)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.resting.set()
        await asyncio.to_thread(self.may_go_on.wait, 5)
        self.now += round(seconds * 1000)

    def client(self, **more: Any) -> CcxtSource:
        given: dict[str, Any] = {
            "now": lambda: self.now + self.ahead_ms,
            "config": {**self.server.ccxt_config, "rateLimit": 1},
            "rules_folder": self.folder,
            "seed": 1,
            "sleep": self.sleep,
        }
        return CcxtSource("binance", **{**given, **more})

    def source(self, **more: Any) -> StoredSource:
        return StoredSource(self.client(**more), CandleStore(self.folder), now=lambda: self.now + self.ahead_ms)

    def get(self, source: CcxtSource | StoredSource, first: int, end: int, symbol: str = "BTCUSDT") -> Candles:
        return asyncio.run(source.get_candles(symbol, "1m", at(first), end - first))

    @property
    def pages(self) -> list[tuple[int, int]]:
        """First minute and limit of each page that was asked for."""
        queries = [request.query for request in self.server.asked("klines")]
        return [((int(query["startTime"]) - START) // MINUTE, int(query["limit"])) for query in queries]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


# --- a page --------------------------------------------------------------------------------------------------------


def test_a_page_is_what_the_exchange_has(world: World) -> None:
    client = world.client()
    assert world.get(client, 0, 1000) == truth(0, 1000)
    assert world.get(client, 0, 3000) == truth(0, 1000)  # never more than its own limit
    assert client.page_limit == 1000
    assert client.intervals == ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


@pytest.mark.parametrize("newer", ["envelope", "rules"])
def test_market_rules_of_a_newer_version_stay_as_they_are(world: World, newer: str) -> None:
    world.get(world.client(), 0, 5)
    (path,) = world.folder.rglob("markets.json")
    changed = b'{"format":2,"what":"only the first member is promised"}\n'
    if newer == "rules":
        payload = unseal(path.read_bytes(), "markets", ("binance",))
        changed = seal("markets", ("binance",), payload.replace(b"{", b'{"version":2,', 1))
    path.write_bytes(changed)
    client = world.client()
    assert world.get(client, 0, 5) == world.get(client, 0, 5) == truth(0, 5)
    assert path.read_bytes() == changed
    (note,) = client.take_notes()
    assert "markets.json was written by a newer bknb (format 2; this one reads up to 1)" in note
    assert "it is left as it is, and the rules are fetched" in note


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_damaged_market_rules_are_written_anew(world: World, content: bytes) -> None:
    world.get(world.client(), 0, 5)
    (path,) = world.folder.rglob("markets.json")
    path.write_bytes(content)
    client = world.client()
    assert world.get(client, 0, 5) == truth(0, 5)
    assert client.take_notes() == []
    assert unseal(path.read_bytes(), "markets", ("binance",))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/USDT"])
def test_a_symbol_may_be_written_in_any_way(world: World, symbol: str) -> None:
    assert world.get(world.client(), 0, 5, symbol) == truth(0, 5)
    assert asyncio.run(world.client().canonical(symbol)) == "BTC/USDT"


def test_an_unknown_symbol_or_interval_is_refused_at_once(world: World) -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'BTCUSDT'(.|\n)*binance has 2 markets"):
        world.get(world.client(), 0, 5, "BTCUSD")
    with pytest.raises(UsageError, match="has no 3d candles"):
        asyncio.run(world.client().get_candles("BTCUSDT", "3d", START, 5))
    assert world.pauses == []


def test_an_unknown_exchange_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'binance'"):
        bknb.exchanges.ccxt("binanse")


class TestContract(CandleSourceContract):
    since = START
    world: World

    @pytest.fixture(autouse=True)
    def _made(self, world: World) -> None:
        self.world = world

    def source(self) -> CcxtSource:
        return self.world.client()


class TestStoredContract(TestContract):
    def source(self) -> StoredSource:  # type: ignore[override]
        return self.world.source()


# --- attempts ------------------------------------------------------------------------------------------------------

AGAIN: list[Fault] = ["429", "418", "500", "502 html", "cut off", "not json", "nulls"]


@pytest.mark.parametrize("fault", AGAIN)
def test_what_may_pass_is_asked_again(world: World, fault: Fault) -> None:
    client = world.client()
    world.server.faults.extend([fault, fault])
    assert world.get(client, 0, 10) == truth(0, 10)
    assert len(world.pages) == 3
    notes = client.take_notes()
    assert len(notes) == 2
    assert "attempt 1 of 6 failed" in notes[0]
    assert client.take_notes() == []
    if fault in ("429", "418"):
        assert all(1.0 <= pause < 1.2 for pause in world.pauses)
    else:
        assert 0.375 <= world.pauses[0] <= 0.5
        assert 0.75 <= world.pauses[1] <= 1.0


@pytest.mark.slow
def test_a_slow_answer_is_given_up_and_asked_again(tmp_path: Path) -> None:
    slow = World(tmp_path, slow_s=1.0)
    with slow.server:
        client = slow.client(config={**slow.server.ccxt_config, "timeout": 200})
        slow.server.faults.append("slow")
        assert slow.get(client, 0, 10) == truth(0, 10)
        assert "RequestTimeout" in client.take_notes()[0]


@pytest.mark.slow
def test_pauses_are_the_same_for_the_same_seed_and_end(world: World) -> None:
    told = []
    for _ in (1, 2):
        world.pauses.clear()
        world.server.faults.extend(["500"] * 6)
        with pytest.raises(DataError, match=r"no answer after 6 attempts(.|\n)*OperationFailed"):
            world.get(world.client(seed=7), 0, 10)
        told.append(list(world.pauses))
    assert told[0] == told[1]
    assert len(told[0]) == 5
    assert all(0.75 * longest <= pause <= longest for pause, longest in zip(told[0], (0.5, 1, 2, 4, 8), strict=True))


def test_a_ban_that_is_too_long_ends_at_once(tmp_path: Path) -> None:
    banned = World(tmp_path, retry_after_s=7200)
    with banned.server:
        banned.server.faults.append("418")
        with pytest.raises(DataError, match="asks to wait 7200 s"):
            banned.get(banned.client(), 0, 10)
        assert banned.pauses == []


def test_no_request_is_sent_before_retry_after_has_passed(tmp_path: Path) -> None:
    busy = World(tmp_path, retry_after_s=20)
    with busy.server:
        client = busy.client()
        busy.server.faults.append("429")
        asyncio.run(client.canonical("BTCUSDT"))
        busy.may_go_on.clear()

        async def both() -> None:
            for symbol in ("BTCUSDT", "ETHUSDT"):
                busy.resting.clear()
                asked.append(asyncio.ensure_future(client.get_candles(symbol, "1m", at(0), 10)))
                assert await asyncio.to_thread(busy.resting.wait, 5)
            assert len(busy.pages) == 1
            busy.may_go_on.set()
            await asyncio.gather(*asked)

        asked: list[asyncio.Future[Candles]] = []
        asyncio.run(both())
        assert len(busy.pages) == 3
        assert min(busy.pauses) >= 20


def test_a_refusal_is_not_asked_again(world: World) -> None:
    client = world.client()
    world.get(client, 0, 1)
    world.server.markets.clear()  # delisted meanwhile: 400, -1121
    with pytest.raises(DataError, match=r"refused: BadSymbol(.|\n)*asking again cannot help"):
        world.get(client, 0, 10)
    assert world.pauses == []


# --- the store before it -------------------------------------------------------------------------------------------


def test_history_is_fetched_once_in_the_exchanges_own_pages(world: World) -> None:
    source = world.source()
    assert world.get(source, 0, 2500) == truth(0, 2500)
    assert world.pages == [(0, 1000), (1000, 1000), (2000, 500)]
    assert world.get(source, 0, 2500) == truth(0, 2500)
    assert world.get(world.source(), 100, 2000, "BTC/USDT") == truth(100, 2000)
    assert len(world.pages) == 3
    assert world.get(source, 2000, 2600) == truth(2000, 2600)
    assert world.pages[3:] == [(2500, 100)]
    assert source.take_notes() == []


def test_what_is_stored_needs_no_exchange(world: World) -> None:
    world.get(world.source(), 0, 500)
    asked = len(world.server.requests)
    assert world.get(world.source(), 0, 500) == truth(0, 500)
    assert len(world.server.requests) == asked
    assert world.source().format_price("BTCUSDT", 42.123) == "42.12"
    assert len(world.server.requests) == asked  # the market rules were remembered, too
    shelf = bknb.exchanges.from_store(world.folder)
    assert asyncio.run(shelf.get_candles("BTCUSDT", "1m", at(0), 500)) == truth(0, 500)


@pytest.mark.parametrize("fault", ["truncated", "duplicated", "reordered"])
def test_odd_answers_give_the_same_store(world: World, fault: Fault) -> None:
    world.server.faults.extend([fault, None, fault])
    assert world.get(world.source(), 0, 1500) == truth(0, 1500)
    assert CandleStore(world.folder).read(SERIES) == truth(0, 1500)
    assert CandleStore(world.folder).known(SERIES) == ((at(0), at(1500)),)


def test_an_empty_answer_is_not_taken_for_the_end_of_the_data(world: World) -> None:
    world.server.faults.extend(["empty"])
    assert world.get(world.source(), 0, 2500) == truth(0, 2500)
    assert CandleStore(world.folder).absent(SERIES, at(0), at(2500)) == ()


def test_bad_candles_that_come_twice_are_refused_and_nothing_is_damaged(world: World) -> None:
    source = world.source()
    world.get(source, 0, 1000)
    before = {path: path.read_bytes() for path in world.folder.rglob("*.parquet")}
    world.server.faults.append("bad candle")  # garbled once: asked again
    world.get(source, 1000, 1100)
    world.server.faults.extend(["bad candle", "bad candle"])
    with pytest.raises(BadCandle, match=r"BTC/USDT 1m from 'binance': the candle of 2024-01-01 19:59(.|\n)*high"):
        world.get(source, 1100, 1200)
    store = CandleStore(world.folder)
    assert store.read(SERIES) == truth(0, 1100)
    assert len(before) == 1


def test_an_outage_of_the_exchange_is_absent_and_asked_twice(tmp_path: Path) -> None:
    out = World(tmp_path, absent=[(at(100), at(160)), (at(700), at(2300))])
    with out.server:
        candles = out.get(out.source(), 0, 3000)
        assert len(candles) == 3000 - 60 - 1600
        store = CandleStore(out.folder)
        assert store.absent(SERIES, at(0), at(3000)) == ((at(100), at(160)), (at(700), at(2300)))
        assert store.missing(SERIES, at(0), at(3000)) == ()
        asked = len(out.pages)
        assert out.get(out.source(), 0, 3000) == candles
        assert len(out.pages) == asked


def test_minutes_before_the_listing_are_stored_as_absent(tmp_path: Path) -> None:
    young = World(tmp_path, markets=[Market(base="BTC", listed_at=at(5000))])
    with young.server:
        assert young.get(young.source(), 0, 5100) == truth(5000, 5100)
        assert len(young.pages) <= 4
        store = CandleStore(young.folder)
        assert store.absent(SERIES, at(0), at(5100)) == ((at(0), at(5000)),)


@pytest.mark.slow
def test_after_a_delisting_silence_is_asked_about_again(tmp_path: Path) -> None:
    gone = World(tmp_path, markets=[Market(base="BTC", delisted_at=at(500))])
    with gone.server:
        source = gone.source()
        assert len(gone.get(source, 0, 9000)) == 501
        assert CandleStore(gone.folder).known(SERIES) == ((at(0), at(501)),)
        asked = len(gone.pages)
        assert len(gone.get(source, 0, 9000)) == 501
        # every day of the silence is looked into, what lies farther in its first page than was ever answered, and once
        # more whether nothing is an answer, together with the last candle
        assert 1 <= len(gone.pages) - asked <= 9


# --- live ----------------------------------------------------------------------------------------------------------

LAST = 10 * 1440  # NOW is half a minute into this minute


def test_the_forming_candle_never_comes_and_young_ones_are_not_stored(world: World) -> None:
    source = world.source()
    assert world.get(source, LAST - 10, LAST + 5) == truth(LAST - 10, LAST)
    known = CandleStore(world.folder).known(SERIES)
    assert known == ((at(LAST - 10), at(LAST - 3)),)


@pytest.mark.parametrize("ahead_ms", [-90_000, 0, 90_000])
def test_what_has_closed_is_decided_by_the_exchanges_clock(world: World, ahead_ms: int) -> None:
    world.ahead_ms = ahead_ms
    source = world.source()
    assert world.get(source, LAST - 10, LAST + 5) == truth(LAST - 10, LAST)
    assert source.clock_skew_ms() == ahead_ms


def test_minute_after_minute_only_what_is_new_is_asked(world: World) -> None:
    source = world.source()
    world.get(source, LAST - 500, LAST)
    for minute in range(1, 8):
        world.now = NOW + minute * MINUTE
        before = len(world.pages)
        assert world.get(source, LAST - 500, LAST + minute) == truth(LAST - 500, LAST + minute)
        assert [limit for _, limit in world.pages[before:]] == [4]
    assert CandleStore(world.folder).known(SERIES) == ((at(LAST - 500), at(LAST + 4)),)
    assert source.take_notes() == []


def test_after_an_outage_what_was_missed_is_fetched(world: World) -> None:
    source = world.source(patience=Patience(attempts=2))
    world.get(source, LAST - 20, LAST)
    world.now += 30 * MINUTE
    world.server.faults.extend(["502 html"] * 2)
    with pytest.raises(DataError, match="no answer after 2 attempts"):
        world.get(source, LAST - 20, LAST + 30)
    assert world.get(source, LAST - 20, LAST + 30) == truth(LAST - 20, LAST + 30)


def test_a_correction_of_the_last_minutes_is_reported(world: World) -> None:
    source = world.source()
    first = world.get(source, LAST - 5, LAST)
    world.server.corrections["BTCUSDT", at(LAST - 1)] = float(first.close[-1]) * 1.001
    world.now += MINUTE
    second = world.get(source, LAST - 5, LAST + 1)
    assert second.close[4] == pytest.approx(first.close[-1] * 1.001)
    (note,) = source.take_notes()
    assert "1 candle of the last minutes corrected by the exchange after it was given out" in note
    assert "2024-01-10 23:59" in note
    # The same one or more minutes later, when it has settled: reported when it is stored.
    world.server.corrections["BTCUSDT", at(LAST)] = float(second.close[-1]) * 1.001
    world.now += 10 * MINUTE
    world.get(source, LAST - 5, LAST + 11)
    (note,) = source.take_notes()
    assert "2024-01-11 00:00" in note


def test_a_feed_passes_on_what_the_source_has_to_say(world: World) -> None:
    notes: list[str] = []
    source = world.source()
    feed = Feed(source, Settings(), warn=notes.append, now=lambda: world.now)
    world.server.faults.append("500")
    got = asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(100)))
    assert got == truth(0, 100)
    assert len(notes) == 1
    assert "attempt 1 of 6 failed" in notes[0]


def test_a_source_that_gave_up_is_not_asked_again_by_the_feed(world: World) -> None:
    feed = Feed(world.source(patience=Patience(attempts=2)), Settings(), now=lambda: world.now)
    world.server.faults.extend(["500"] * 20)
    with pytest.raises(DataError, match="no answer after 2 attempts"):
        asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(100)))
    assert len(world.pages) == 2


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "price", "quantity"),
    [("BTCUSDT", "44123.46", "1.23456"), ("ETHUSDT", "44123.46", "1.2345"), ("ETH/USDT", "44123.46", "1.2345")],
)
def test_numbers_follow_the_markets_rules(world: World, symbol: str, price: str, quantity: str) -> None:
    client = world.client()
    assert client.format_price(symbol, 44123.456789) == price
    assert client.format_quantity(symbol, 1.23456789) == quantity


def test_numbers_are_written_as_ccxt_writes_them(world: World) -> None:
    client = world.client()
    world.get(client, 0, 1)
    for value in (0.01, 0.3, 1.005, 1e-2, 12345.678901, 1e6):
        assert client.format_price("BTCUSDT", value) == client._client.price_to_precision("BTC/USDT", value)
        assert client.format_quantity("BTCUSDT", value) == client._client.amount_to_precision("BTC/USDT", value)


def test_what_is_below_the_smallest_step_is_no_quantity(world: World) -> None:
    with pytest.raises(UsageError, match="below the smallest step"):
        world.client().format_quantity("BTCUSDT", 1e-9)
    with pytest.raises(UsageError, match="finite"):
        world.client().format_price("BTCUSDT", float("nan"))


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_backtest_on_an_exchange_equals_one_on_the_candles_themselves(world: World) -> None:
    def get_signal(ctx: Any) -> Any:
        closes = ctx.candles("15m", 20).close
        if closes[-1] > closes.mean():
            return bknb.Signal(
                position="long",
                price_take_profit=ctx.price * 1.01,
                price_stop_loss=ctx.price * 0.99,
                minute_estimated_time=120,
            )
        return None

    strategy = bknb.add_strategy("over", interval="15m", get_signal=get_signal)
    frame = ("2024-01-03", "2024-01-04")
    on_exchange = bknb.backtest("BTCUSDT", strategy=strategy, exchange=world.source(), frame=frame)
    on_demo = bknb.backtest("BTCUSDT", strategy=strategy, exchange=DemoSource(), frame=frame)
    columns = ["pending_at", "closed_at", "price_open", "price_close", "close_reason", "pnl_percentage"]
    assert on_exchange.trades[columns].equals(on_demo.trades[columns])
    assert len(on_exchange.trades) > 3


def test_recorded_candles_come_back_as_they_were(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "synth-0-1m.csv.gz"
    with gzip.open(path, "rt") as lines:
        recorded = Candles.from_rows(np.loadtxt(lines, delimiter=",", skiprows=1))  # type: ignore[arg-type]
    first, last = int(recorded.timestamp[0]), int(recorded.timestamp[-1])
    exchange = World(tmp_path, source=FrameSource(recorded))
    exchange.now = last + 86_400_000
    with exchange.server:
        source = exchange.source(intervals=("1m",))
        got = asyncio.run(source.get_candles("BTCUSDT", "1m", first, (last - first) // MINUTE + 1))
        assert got == recorded
        hours = asyncio.run(Feed(source, Settings()).fetch("BTCUSDT", "1h", first, last + MINUTE))
        assert hours == resample(recorded, "1h")


# --- what fills cost -----------------------------------------------------------------------------------------------


def test_costs_are_the_fees_of_the_market_in_percent(world: World) -> None:
    client = world.client()
    world.get(client, 0, 1)
    market = client._client.markets["BTC/USDT"]
    market.update(taker=0.00075, maker=-0.0001)
    assert (market["taker"], market["maker"]) == (0.00075, -0.0001)
    fresh = world.client()
    assert fresh.costs("BTCUSDT") == fresh.costs("BTC/USDT") == bknb.Costs(taker=0.1, maker=0.1)  # as ccxt has them
    assert costs_of(rules_of(client._client, 0).markets["BTC/USDT"], "BTCUSDT", exchange="binance") == bknb.Costs(
        taker=0.075, maker=-0.01
    )


def test_costs_are_remembered_with_the_rules_and_asked_for_where_they_were_written_without(world: World) -> None:
    assert world.source().costs("BTCUSDT").taker == 0.1
    asked = len(world.server.requests)
    assert world.source().costs("ETHUSDT").maker == 0.1
    assert len(world.server.requests) == asked
    (path,) = world.folder.rglob("markets.json")
    rules = msgspec.json.decode(unseal(path.read_bytes(), "markets", ("binance",)))
    for rule in rules["markets"].values():  # as an earlier release wrote them
        del rule["taker"], rule["maker"]
    path.write_bytes(seal("markets", ("binance",), msgspec.json.encode(rules)))
    client = world.client()
    assert client.format_price("BTCUSDT", 44123.456789) == "44123.46"
    assert len(world.server.requests) == asked
    assert client.costs("BTCUSDT").taker == 0.1
    assert len(world.server.requests) > asked


@pytest.mark.parametrize("fees", [{"taker": None}, {"taker": 2.5, "percentage": False}])
def test_costs_that_are_not_told_in_percent_are_refused_in_words(world: World, fees: dict[str, Any]) -> None:
    client = world.client()
    world.get(client, 0, 1)
    client._client.markets["BTC/USDT"].update(fees)
    client._rules = rules_of(client._client, 0)
    with pytest.raises(UsageError, match=r"'binance' does not say which percentage of its value a fill of BTCUSDT"):
        client.costs("BTCUSDT")
    with pytest.raises(UnknownName, match="did you mean 'BTCUSDT'"):
        client.costs("BTCUSD")
    with pytest.raises(UsageError, match=r"'demo' does not say .* of BTCUSDT costs\ngive what you pay"):
        StoredSource(DemoSource(), CandleStore(world.folder), now=lambda: world.now).costs("BTCUSDT")


def test_a_run_pays_the_costs_of_its_exchange_also_of_joined_ones(world: World) -> None:
    def get_signal(price: float) -> Any:
        return bknb.Signal(side="long", price_take_profit=price * 1.5, minute_estimated_time=5)

    both = bknb.exchanges.joined(spot=world.source(), other=DemoSource())
    result = bknb.backtest(
        "spot:BTCUSDT",
        strategy=bknb.add_strategy("five minutes", interval="15m", get_signal=get_signal),
        exchange=both,
        frame=("2024-01-01 00:30", "2024-01-01 01:30"),
        capital=1000,
        costs=both.costs("spot:BTCUSDT"),
    )
    assert len(result.fills) > 2
    np.testing.assert_allclose(result.fills["fee"], 0.001 * result.fills["cost"])
    with pytest.raises(UsageError, match=r"'demo' does not say"):
        both.costs("other:BTCUSDT")
