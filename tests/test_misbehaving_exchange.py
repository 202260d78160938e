"""What comes from an exchange that misbehaves is right, or is not called complete."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from packages import need_packages
from quick import first_quick, rest_long

import bknb
import bknb.history.partition as partition
from bknb.domain.ranges import Range
from bknb.domain.retry_pauses import Patience
from bknb.exchanges.dataframe_source import FrameSource
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.history.evidence_of_missing_candles import Evidence
from bknb.history.partition import SeriesName, encoded
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.stores.sealed_values import seal
from bknb.testing.fake_binance import Fault, LocalBinance, Market

need_packages("ccxt", "pyarrow")

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
SERIES = SeriesName("binance", "BTC/USDT", "1m")
FAULTS: tuple[Fault, ...] = get_args(Fault)
QUICK = tuple(fault for fault in FAULTS if fault not in ("slow", "other prices"))  # slow is right; prices: see below


def at(minute: int) -> int:
    return START + minute * MINUTE


def truth(first: int, end: int, absent: list[Range]) -> Candles:
    candles = asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", at(first), end - first))
    there = np.ones(len(candles), dtype=bool)
    for low, high in absent:
        there &= (candles.timestamp < low) | (candles.timestamp >= high)
    return candles.take(there)


def exchange(server: LocalBinance, folder: Path, *, attempts: int = 3) -> Any:
    patience = Patience(attempts=attempts, first_pause_ms=0, longest_pause_ms=0)
    config = {**server.ccxt_config, "enableRateLimit": False}
    return bknb.exchanges.ccxt("binance", cache=folder, config=config, patience=patience)


def download(market: Any, first: int, end: int, **more: Any) -> bknb.Downloaded:
    return bknb.download(
        "BTCUSDT", exchange=market, start=at(first), end=at(end), warmup_minutes=0, progress=False, **more
    )


def run(
    server: LocalBinance,
    folder: Path,
    chance: random.Random,
    first: int,
    end: int,
    rate: float,
    faults: tuple[Fault, ...] = QUICK,
) -> bknb.Downloaded:
    """A download that is begun again after each error, over an exchange of whose answers ``rate`` are wrong."""
    market = exchange(server, folder)
    for _ in range(200):
        server.faults.clear()
        server.faults.extend(chance.choice(faults) if chance.random() < rate else None for _ in range(1000))
        try:
            return download(market, first, end)
        except bknb.DataError:
            continue
    raise AssertionError("it never came to an end")


def check(done: bknb.Downloaded, folder: Path, first: int, end: int, absent: list[Range]) -> None:
    right = truth(first, end, absent)
    stored = CandleStore(folder).read(SERIES, at(first), at(end))
    assert stored == right.take(np.isin(right.timestamp, stored.timestamp))
    claimed = set(right.timestamp.tolist()) - set(stored.timestamp.tolist())
    assert not [time for time in claimed if any(low <= time < high for low, high in done.series[0].absent)]
    if done.complete:
        assert stored == right


def world(seed: int, folder: Path, *, minutes: int, rate: float) -> bool:
    """Whether it was complete; where not, it is once the exchange answers as it should, if that proves everything."""
    chance = random.Random(seed)  # noqa: S311
    first = chance.randrange(600)
    end = first + minutes
    places = sorted(chance.sample(range(first, end), 6))
    absent = [(at(low), at(low + chance.choice([1, 1, 7, 60, 300]))) for low in places] if seed % 2 else []
    listed = at(first + chance.randrange(300)) if seed % 3 == 0 else 0
    if listed:
        absent.append((0, listed))
    now = at(end + chance.choice([30, 3000]))
    markets = [Market(base="BTC", listed_at=listed)]
    with LocalBinance(
        DemoSource(), now=lambda: now, markets=markets, absent=absent, retry_after_s=0, max_limit=250
    ) as server:
        server.oldest = max(listed, at(0))
        done = run(server, folder, chance, first, end, rate)
        check(done, folder, first, end, absent)
        if not done.complete:
            server.faults.clear()
            again = download(exchange(server, folder), first, end)
            check(again, folder, first, end, absent)
            if not again.complete:  # nobody could prove more of it
                fresh = download(exchange(server, folder / "new"), first, end)
                assert again.series[0].missing == fresh.series[0].missing != ()
    return done.complete


@pytest.mark.parametrize("seed", [*first_quick(range(6)), *rest_long(range(6, 10), kept=0)])
def test_it_is_right_or_not_called_complete(seed: int, tmp_path: Path) -> None:
    world(seed, tmp_path, minutes=700, rate=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(20, 40), pytest.param(range(40, 220), marks=pytest.mark.long)])
def test_many_worlds_are_right_and_most_are_complete(seeds: range, folder_in_memory: Path) -> None:
    complete = [world(seed, folder_in_memory / str(seed), minutes=1000, rate=0.4) for seed in seeds]
    assert sum(complete) > 0.75 * len(seeds)


def spoilt_world(seed: int, folder: Path) -> int:
    """How many wrong prices were stored; they are those of an answer, and put right when they are asked for again."""
    chance, absent = random.Random(seed), [(at(300), at(307))]  # noqa: S311
    with LocalBinance(DemoSource(), now=lambda: at(4000), absent=absent, retry_after_s=0, max_limit=100) as server:
        server.oldest = at(-2000)
        run(server, folder, chance, 0, 900, 0.5, (*QUICK, *["other prices"] * 2 * len(QUICK)))
        right, stored = truth(0, 900, absent), CandleStore(folder).read(SERIES, at(0), at(900))
        beside = right.take(np.isin(right.timestamp, stored.timestamp))
        assert np.array_equal(stored.timestamp, beside.timestamp)
        wrong = stored.close != beside.close
        np.testing.assert_allclose(stored.close[wrong], beside.close[wrong] * 1.01, rtol=1e-12)
        server.faults.clear()
        done = download(exchange(server, folder), 0, 900, again="all")
    assert done.complete
    check(done, folder, 0, 900, absent)
    revised = [note for note in done.warnings if "revised by the exchange" in note]
    assert len(revised) == wrong.any()
    return int(wrong.sum())


@pytest.mark.slow
def test_wrong_prices_that_are_possible_are_put_right_when_they_are_asked_for_again(folder_in_memory: Path) -> None:
    assert sum(spoilt_world(seed, folder_in_memory / str(seed)) for seed in range(4)) > 100


@pytest.mark.parametrize("days", [pytest.param(56, marks=pytest.mark.slow), pytest.param(366, marks=pytest.mark.long)])
def test_months_of_minutes_are_right(days: int, tmp_path: Path) -> None:
    end, chance = days * 1440, random.Random(1)  # noqa: S311
    absent = [(at(30_000), at(30_090)), (at(75_000), at(77_880))]
    with LocalBinance(DemoSource(), now=lambda: at(end + 5000), absent=absent, retry_after_s=0) as server:
        server.oldest = at(0)
        done = run(server, tmp_path, chance, 0, end, 0.2)
    check(done, tmp_path, 0, end, absent)
    assert done.complete


@pytest.mark.slow
@pytest.mark.parametrize("fault", QUICK)
def test_each_fault_alone_and_then_often(fault: Fault, tmp_path: Path) -> None:
    for name, faults in (("once", [None, fault]), ("often", [fault, fault, None] * 200)):
        with LocalBinance(DemoSource(), now=lambda: at(4000), retry_after_s=0, max_limit=250) as server:
            server.oldest = at(-2000)
            server.faults.extend(faults)  # type: ignore[arg-type]
            folder = tmp_path / name
            try:
                done = download(exchange(server, folder), 0, 1000)
            except bknb.DataError:
                assert name == "often"
                server.faults.clear()
                done = download(exchange(server, folder), 0, 1000)
            check(done, folder, 0, 1000, [])
            assert name == "often" or done.complete


# --- an exchange that ignores the beginning, or remembers little ----------------------------------------------------


def test_a_short_memory_is_walked_as_far_as_it_reaches_and_the_rest_is_told(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: at(7200), memory=720) as server:
        done = download(exchange(server, tmp_path), 0, 7190)
    assert not done.complete
    assert done.series[0].absent == ()
    assert done.series[0].missing == ((at(0), at(7200 - 719)),)
    assert done.series[0].candles == 709
    assert any("out of reach" in note for note in done.warnings)
    assert len(server.asked("klines")) < 12


def test_a_memory_longer_than_a_page_is_known_by_daily_candles(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: at(9000), memory=2500, max_limit=250) as server:
        done = download(exchange(server, tmp_path), 0, 8000)
    assert done.series[0].absent == ()
    assert done.series[0].missing == ((at(0), at(9000 - 2499)),)
    assert any("out of reach" in note for note in done.warnings)


@pytest.mark.slow
def test_two_answers_that_lose_the_same_part_prove_nothing(tmp_path: Path) -> None:
    for fault in ("no beginning", "hole inside"):
        markets = [Market(base="BTC", listed_at=at(400))]
        with LocalBinance(DemoSource(), now=lambda: at(9000), markets=markets, max_limit=250) as server:
            server.faults.extend([fault] * 3)  # type: ignore[list-item]
            done = download(exchange(server, tmp_path / fault), 0, 900)
        check(done, tmp_path / fault, 0, 900, [(0, at(400))])


def test_an_answer_outside_the_range_is_told(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: at(4000)) as server:
        server.oldest = at(-2000)
        server.faults.extend(["oldest", None, "newest"])
        done = download(exchange(server, tmp_path), 0, 3000)
    assert done.complete
    text = "\n".join(done.warnings)
    assert "got 1000 candles, 2023-12-30 14:40 UTC .. 2023-12-31 07:19 UTC: `since` was ignored" in text
    assert "1 answer lacked candles they were asked for" in text


def test_times_in_seconds_are_asked_for_again_and_told(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: at(4000)) as server:
        server.faults.append("seconds")
        done = download(exchange(server, tmp_path), 0, 100)
        assert done.complete
        assert "these look like seconds" in done.warnings[0]
        server.faults.extend(["seconds"] * 3)
        with pytest.raises(bknb.DataError, match="these look like seconds, not milliseconds"):
            download(exchange(server, tmp_path), 200, 300)


def test_a_5xx_is_asked_again_whatever_it_says(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: at(4000)) as server:
        server.faults.extend(["503 refusal", "503 refusal"])
        assert download(exchange(server, tmp_path), 0, 100).complete


def test_an_empty_last_page_is_not_the_end(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: at(9000)) as server:
        server.faults.extend([None, "empty", "empty", "empty"])
        market = exchange(server, tmp_path)
        got = asyncio.run(market.get_candles("BTCUSDT", "1m", at(0), 2500))
    assert len(got) == 2500
    assert CandleStore(tmp_path).absent(SERIES, at(0), at(2500)) == ()


def test_candles_that_are_answered_twice_with_different_values_are_told(tmp_path: Path) -> None:
    """One answer with wrong prices that are possible cannot be told from a right one; two that differ are told."""
    with LocalBinance(DemoSource(), now=lambda: at(4000), absent=[(at(500), at(510))]) as server:
        server.oldest = at(-2000)
        server.faults.extend([None, "other prices"])  # the second question is about the hole, from candles before it
        done = download(exchange(server, tmp_path), 0, 900)
    assert done.complete
    check(done, tmp_path, 0, 900, [(at(500), at(510))])
    (told,) = [note for note in done.warnings if "other values" in note]
    assert "candles were answered with other values than before, the first at 2024-01-01 08:19 UTC" in told


# --- sources that answer by intervals -------------------------------------------------------------------------------


class ByIntervals:
    """A source that answers those candles of the next ``limit`` intervals that there are."""

    name, page_limit, intervals = "mine", 300, ("1m",)

    def __init__(self, candles: Candles) -> None:
        self.frame = FrameSource(candles)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        return await self.frame.get_candles(symbol, interval, since, min(limit, self.page_limit))

    def format_price(self, symbol: str, price: float) -> str:
        return f"{symbol} {price}"

    format_quantity = format_price


@pytest.mark.parametrize("hole", [(500, 501), (500, 790), (500, 1900), (-5, 400), (-5, 1900)])
def test_a_hole_longer_than_a_page_is_found_absent(hole: tuple[int, int], tmp_path: Path) -> None:
    first, end = hole
    absent = [(at(first), at(end))]
    source = StoredSource(
        ByIntervals(truth(-1 if first > 0 else 0, 3000, absent)), CandleStore(tmp_path), now=lambda: at(9000)
    )
    got = asyncio.run(source.get_candles("BTCUSDT", "1m", at(0), 2500))
    assert got == truth(0, 2500, absent)
    series = SeriesName("mine", "BTCUSDT", "1m")
    assert source.store.absent(series, at(0), at(2500)) == ((at(max(first, 0)), at(end)),)


@pytest.mark.parametrize("absent", [[], [(at(500), at(501))]], ids=["complete", "holed"])
def test_of_what_is_stored_behind_a_range_a_month_is_read_where_there_is_a_hole(
    absent: list[Range], tmp_path: Path
) -> None:
    """A hole asks for the first candle behind the range; that one, and no year, is read, outside of the loop."""
    read: list[tuple[int, bool]] = []

    class Noted(CandleStore):
        def read(self, series: SeriesName, since: int | None = None, until: int | None = None) -> Candles:
            if since is not None and until is not None and since >= at(1500):
                read.append((until - since, threading.current_thread() is threading.main_thread()))
            return super().read(series, since, until)

    store, series = Noted(tmp_path), SeriesName("mine", "BTCUSDT", "1m")
    store.put(series, truth(2000, 2010, []), now=at(500_000))
    source = StoredSource(ByIntervals(truth(0, 3000, absent)), store, now=lambda: at(500_000))
    assert asyncio.run(source.get_candles("BTCUSDT", "1m", at(0), 1500)) == truth(0, 1500, absent)
    assert len(read) == len(absent)
    assert all(length <= 31 * 1440 * MINUTE and not on_loop for length, on_loop in read)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.2, 0.6, 0.9])
def test_an_exchange_that_often_answers_nothing_has_shown_nothing_with_it(rate: float, tmp_path: Path) -> None:
    class OftenEmpty(ByIntervals):
        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            answer = await super().get_candles(symbol, interval, since, limit)
            return Candles.empty() if chance.random() < rate else answer

    candles, complete = truth(0, 1500, []), 0
    for seed in range(30):
        chance = random.Random(seed)  # noqa: S311
        source = StoredSource(OftenEmpty(candles), CandleStore(tmp_path / str(seed)), now=lambda: at(1500))
        series = SeriesName("mine", "BTCUSDT", "1m")
        asyncio.run(source.fill(series, "BTCUSDT", at(0), at(1000)))
        assert source.store.absent(series, at(0), at(1000)) == ()
        complete += source.store.missing(series, at(0), at(1000)) == ()
    assert rate == 0.9 or complete > 15


# --- what is proven -------------------------------------------------------------------------------------------------


def moments(*times: int) -> Any:
    return np.array(times, dtype=np.int64)


def test_two_answers_must_agree_about_the_hole() -> None:
    evidence = Evidence(step=10, page=5)
    evidence.answered(0, 10, moments(0, 10, 50, 60))
    evidence.answered(0, 10, moments(0, 10, 50, 60))  # the same question once more is one answer
    evidence.answered(10, 10, moments(10, 60))
    assert evidence.proven_until((20, 50), anchored=True, later=True) == 20
    evidence.answered(10, 10, moments(10, 50, 60))
    assert evidence.proven_until((20, 50), anchored=True, later=True) == 50


def test_the_newest_candles_prove_nothing_about_those_before() -> None:
    evidence = Evidence(step=10, page=3)
    evidence.answered(0, 5, moments(70, 80, 90))
    evidence.answered(-10, 5, moments(70, 80, 90))
    evidence.answered(-10, 2, moments(70, 80))
    assert evidence.proven_until((0, 70), anchored=False, later=True) == 0
    evidence.answered(100, 5, moments(100))
    assert evidence.proven_until((0, 70), anchored=False, later=True) == 70
    assert evidence.proven_until((0, 70), anchored=True, later=True) == 0


def test_empty_answers_count_only_beside_answers_to_questions_for_known_candles() -> None:
    evidence = Evidence(step=10, page=5)
    for since in (0, -10, -20, -30, -40, -50):
        evidence.answered(since, 5, moments())
    hole = (0, 200)
    assert evidence.silent_until(hole, 5) == 0
    for _ in range(6):
        evidence.controlled(held=True)
    assert evidence.silent_until(hole, 5) == 10
    assert evidence.proven_until(hole, anchored=False, later=True) == 0
    evidence.known(moments(-60, 200))
    assert evidence.silent_until(hole, 5) == 10
    evidence.known(moments(-20))  # this one was asked for, and the answer was empty
    assert evidence.silent_until(hole, 5) == 0


def test_empty_answers_do_not_count_where_one_was_empty_that_should_not_have_been() -> None:
    evidence = Evidence(step=10, page=5)
    for since in (0, -10, -20, -30, -40, -50):
        evidence.answered(since, 5, moments())
        evidence.controlled(held=True)
    assert evidence.silent_until((0, 200), 5) == 10
    evidence.controlled(held=False)
    assert evidence.silent_until((0, 200), 5) == 0


def test_empty_answers_do_not_count_where_an_answer_reaches_beyond_its_page() -> None:
    evidence = Evidence(step=10, page=5)
    for since in (0, -10, -20, -30, -40, -50):
        evidence.answered(since, 5, moments())
        evidence.controlled(held=True)
    evidence.answered(300, 5, moments(300, 900))
    assert evidence.silent_until((0, 200), 5) == 0


# --- marks of earlier versions --------------------------------------------------------------------------------------


def first_version(folder: Path, candles: Candles, known: Range) -> None:
    """A file as versions before this one wrote it, whose marks one answer alone had made."""
    place = folder / "binance" / "BTC%2FUSDT" / "1m" / "2024-01.parquet"
    place.parent.mkdir(parents=True)
    written = partition.msgspec.json.encode({"known": (known,), "content": partition.content_hash(candles)})
    label = seal("candles", SERIES.key, written)
    pa, pq = partition.arrow()
    place.write_bytes(encoded(SERIES, candles, (known,)))
    table = pq.read_table(place)
    schema = pa.schema([pa.field(field.name, field.type, nullable=False) for field in table.schema])
    with pq.ParquetWriter(place, schema, store_schema=False) as writer:
        writer.write_table(pa.Table.from_arrays([column.combine_chunks() for column in table.columns], schema=schema))
        writer.add_key_value_metadata({b"bknb.candles": label})


@pytest.mark.parametrize("again", [True, "absent"])
def test_marks_of_one_answer_are_named_and_asked_about_again(again: Any, tmp_path: Path) -> None:
    absent = [(at(300), at(310))]
    marked = [(at(300), at(310)), (at(500), at(700))]
    first_version(tmp_path, truth(0, 1000, marked), (at(0), at(1000)))
    store = CandleStore(tmp_path)
    assert store.absent(SERIES, at(0), at(1000)) == tuple(marked)
    assert store.seen_once(SERIES, at(0), at(1000)) == tuple(marked)
    with LocalBinance(DemoSource(), now=lambda: at(3000), absent=absent) as server:
        market = exchange(server, tmp_path)
        assert download(market, 0, 990).requests in (0, 1)
        told = bknb.audit("BTCUSDT", exchange=market, start=at(0), end=at(1000))
        assert [one.text.count("one answer held no candles") for one in told.findings if one.kind == "absent"] == [1, 1]
        assert 'again="absent"' in str(told)
        done = download(market, 0, 1000, again=again)
        assert done.complete
        assert done.series[0].absent == ((at(300), at(310)),)
        assert any("200 candles came late" in note for note in done.warnings)
        told = bknb.audit("BTCUSDT", exchange=market, start=at(0), end=at(1000))
        assert "one answer held no candles" not in str(told)
        assert "the exchange has no candles" in str(told)
    assert store.seen_once(SERIES, at(0), at(1000)) == ()


@pytest.mark.parametrize("again", first_quick([True, "all", "absent"]))
def test_a_mark_that_is_not_proven_now_is_taken_back(again: Any, tmp_path: Path) -> None:
    marked = [(at(0), at(600))]
    first_version(tmp_path, truth(0, 1000, marked), (at(0), at(1000)))
    with LocalBinance(DemoSource(), now=lambda: at(1005), memory=405) as server:
        done = download(exchange(server, tmp_path), 0, 1000, again=again)
    assert not done.complete
    assert done.series[0].missing == ((at(0), at(600)),)
    assert CandleStore(tmp_path).absent(SERIES, at(0), at(1000)) == ()


def test_again_must_make_sense(tmp_path: Path) -> None:
    with (
        LocalBinance(DemoSource(), now=lambda: at(1000)) as server,
        pytest.raises(bknb.UsageError, match="again must be 'all' "),
    ):
        download(exchange(server, tmp_path), 0, 100, again="holes")
