"""The feed: pages, attempts, checks, resampling; over sources that behave and sources that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bknb.config import Settings
from bknb.domain.interval import INTERVAL_MS
from bknb.errors import (
    BadCandle,
    BknbError,
    DataError,
    GapError,
    MissingDependency,
    NotEnoughData,
    UnknownName,
    UsageError,
)
from bknb.exchanges.dataframe_source import FrameSource
from bknb.market.candles import Candles
from bknb.market.candles_repaired_or_refused import CandleRequest, Page
from bknb.market.demo import DemoSource
from bknb.market.feed import Feed
from bknb.market.paging import Paging
from bknb.market.resample import resample_plainly
from bknb.market.sessions import Sessions
from bknb.market.sources import FunctionSource

START = 1_641_038_400_000  # 2022-01-01 12:00 UTC
MINUTE = 60_000


def at(minute: float) -> int:
    return START + int(minute * MINUTE)


def tape(*minutes: int, step: int = 1) -> Candles:
    return Candles.from_rows([(at(n * step), 100.0 + n, 102.0 + n, 99.0 + n, 101.0 + n, 1.0 + n) for n in minutes])


class Shop:
    """A source over a fixed tape that keeps a list of what it was asked."""

    def __init__(
        self,
        candles: Candles,
        *,
        intervals: tuple[str, ...] | None = ("1m",),
        page_limit: int | None = None,
        by_count: bool = False,
        failures: list[BaseException] | None = None,
    ) -> None:
        self.name = "shop"
        self.intervals = intervals
        self.page_limit = page_limit
        self.candles = candles
        self.by_count = by_count
        self.failures = list(failures or [])
        self.asked: list[tuple[str, float, int]] = []

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        self.asked.append((interval, (since - START) / MINUTE, limit))
        if self.failures:
            raise self.failures.pop(0)
        # Exchanges differ: some give the next `limit` candles there are, others those of the next `limit` slots.
        first = int(np.searchsorted(self.candles.timestamp, since))
        if self.by_count:
            return self.candles[first : first + limit]
        end = int(np.searchsorted(self.candles.timestamp, since + limit * INTERVAL_MS[interval]))
        return self.candles[first:end]

    def format_price(self, symbol: str, price: float) -> str:
        return str(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        return str(quantity)


class Watch:
    """A feed with its warnings and its pauses."""

    def __init__(
        self,
        source: Shop | FunctionSource | FrameSource | DemoSource,
        *,
        allow_gaps: bool = False,
        now: int | None = None,
        **settings: int,
    ) -> None:
        self.warnings: list[str] = []
        self.pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        self.feed = Feed(
            source,
            Settings(**settings),
            allow_gaps=allow_gaps,
            warn=self.warnings.append,
            sleep=sleep,
            now=None if now is None else lambda: now,
        )

    def fetch(self, interval: str, since: float, until: float, symbol: str = "BTCUSDT") -> Candles:
        return asyncio.run(self.feed.fetch(symbol, interval, at(since), at(until)))

    def minutes(self, since: float, until: float, interval: str = "1m") -> list[int]:
        return ((self.fetch(interval, since, until).timestamp - START) // MINUTE).tolist()


# --- the range -----------------------------------------------------------------------------------------------------


def test_the_range_is_half_open_and_on_the_grid() -> None:
    watch = Watch(Shop(tape(*range(-5, 20))))
    assert watch.minutes(0, 3) == [0, 1, 2]
    assert watch.minutes(0.5, 2.5) == [1, 2]
    assert watch.minutes(3, 3) == []
    assert watch.minutes(3, 1) == []
    assert watch.warnings == []


def test_data_may_begin_later_and_end_earlier() -> None:
    watch = Watch(Shop(tape(*range(3, 7))))
    assert watch.minutes(0, 20) == [3, 4, 5, 6]
    assert watch.minutes(10, 20) == []
    assert watch.warnings == []


def test_what_has_not_closed_is_neither_asked_for_nor_given() -> None:
    shop = Shop(tape(*range(20)))
    assert Watch(shop, now=at(5.5)).minutes(0, 10) == [0, 1, 2, 3, 4]
    assert shop.asked == [("1m", 0, 5)]
    assert Watch(shop, now=at(5.5)).minutes(6, 10) == []
    assert Watch(shop, now=at(14)).minutes(0, 30, "5m") == [0, 5]


def test_a_source_that_adds_the_forming_candle_is_normal() -> None:
    def with_the_running_one(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        return [(since + i * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(limit + 1)]

    watch = Watch(FunctionSource(with_the_running_one), now=at(5.5))
    assert watch.minutes(0, 10) == [0, 1, 2, 3, 4]
    assert watch.warnings == []


# --- pages ---------------------------------------------------------------------------------------------------------


class Silent(Shop):
    """A shop that answers nothing to some of its questions, counted from 0."""

    def __init__(self, candles: Candles, *, silent: set[int]) -> None:
        super().__init__(candles, page_limit=10)
        self.silent = silent

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        answer = await super().get_candles(symbol, interval, since, limit)
        return Candles.empty() if len(self.asked) - 1 in self.silent else answer


@pytest.mark.parametrize("is_live", [True, False])
def test_a_page_without_an_answer_is_asked_for_once_more_with_the_candle_before(is_live: bool) -> None:  # noqa: FBT001 -- a table's column
    def fetched(shop: Shop) -> list[float]:
        feed = Feed(shop, Settings(get_candles_retry_delay_ms=0), allow_gaps=is_live, leave_out_bad=is_live)
        assert asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(35))) == shop.candles
        return [since for _, since, _ in shop.asked]

    assert fetched(Silent(tape(*range(35)), silent={1})) == [0, 10, 9, 19, 29]
    assert fetched(Silent(tape(*range(35)), silent={1, 2, 3})) == [0, 10, 9, 9, 9, 19, 29]
    assert fetched(Silent(tape(*range(35)), silent={3})) == [0, 10, 20, 30, 29]
    with pytest.raises(DataError, match=r"3 attempts\n.* answered nothing, although the candle of 2022-01-01 12:09"):
        fetched(Silent(tape(*range(35)), silent={1, 2, 3, 4}))


def test_a_live_fetch_gives_what_came_before_a_page_without_an_answer() -> None:
    def fetched(silent: set[int], end: int = 35) -> tuple[int, list[float]]:
        shop = Silent(tape(*range(35)), silent=silent)
        feed = Feed(shop, Settings(get_candles_retry_delay_ms=0), allow_gaps=True, leave_out_bad=True)
        came = asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(end), growing=True))
        return len(came), [since for _, since, _ in shop.asked]

    assert fetched({1, 2, 3, 4}) == (10, [0, 10, 9, 9, 9])
    assert fetched({3}) == (30, [0, 10, 20, 30])  # the newest may not be there yet: nothing is an answer
    assert fetched(set(), end=36) == (35, [0, 10, 20, 30, 35])
    shop = Silent(tape(*range(35)), silent={1, 2, 3, 4})
    shop.page_limit = 1
    feed = Feed(shop, Settings(get_candles_retry_delay_ms=0), allow_gaps=True, leave_out_bad=True)
    with pytest.raises(DataError, match="after 3 attempts"):  # the first candle may be known: that is nothing new
        asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(5), growing=True))
    assert [since for _, since, _ in shop.asked] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("once", [True, False])
def test_what_is_asked_for_again_soon_is_asked_for_once(once: bool) -> None:  # noqa: FBT001 -- a table's column
    shop = Silent(tape(*range(5)), silent={0, 1, 2})
    feed = Feed(shop, Settings(get_candles_retry_delay_ms=0), allow_gaps=True)
    with pytest.raises(DataError, match="although the candle of 2022-01-01 12:00 UTC has come before"):
        asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(5), known=(at(0),), once=once))
    assert len(shop.asked) == (1 if once else 3)


class Few(Silent):
    """A shop that answers the candles of so many minutes at most, and nothing to some questions."""

    def __init__(self, candles: Candles, *, most: int, silent: set[int] | None = None) -> None:
        super().__init__(candles, silent=silent or set())
        self.page_limit, self.most = 100, most

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        answer = await super().get_candles(symbol, interval, since, limit)
        return answer.take(answer.timestamp < since + self.most * MINUTE)


def test_a_known_candle_that_a_source_does_not_answer_from_far_is_asked_for_from_nearer() -> None:
    shop, pauses = Few(tape(*range(50)), most=10), []

    async def fetched(silent: set[int]) -> int:
        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        feed = Feed(shop, Settings(), allow_gaps=True, sleep=sleep)
        assert len(await feed.fetch("BTCUSDT", "1m", at(0), at(8))) == 8
        shop.asked.clear()
        shop.silent = silent
        return len(await feed.fetch("BTCUSDT", "1m", at(-40), at(8), continued=True, known=(at(7),)))

    assert asyncio.run(fetched(set())) == 8
    assert [since for _, since, _ in shop.asked] == [-40, -40, -40, 0, -40, -8, -40, -32, -24, -16, -8, 2]
    assert len(pauses) == 2
    with pytest.raises(DataError, match="answered nothing, although the candle of 2022-01-01 12:07 UTC"):
        asyncio.run(fetched(set(range(3, 6))))


def test_a_source_that_answers_a_known_candle_and_not_another_answers_few() -> None:
    shop, pauses = Few(tape(*range(10), *range(22, 40)), most=5), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    feed = Feed(shop, Settings(), allow_gaps=True, sleep=sleep)
    found = asyncio.run(feed.fetch("BTCUSDT", "1m", at(9), at(23), continued=True, known=(at(9), at(22))))
    assert ((found.timestamp - START) // MINUTE).tolist() == [9, 22]
    assert pauses == []


def test_one_silent_answer_of_a_source_that_answers_few_loses_nothing() -> None:
    for silent in range(20):
        shop = Few(tape(*range(43), *range(50, 60)), most=4, silent={silent})
        feed = Feed(shop, Settings(get_candles_retry_delay_ms=0), allow_gaps=True)
        assert asyncio.run(feed.fetch("BTCUSDT", "1m", at(0), at(60))) == shop.candles


def test_minutes_in_closed_hours_before_an_opening_do_not_keep_the_pages_from_ending() -> None:
    hours = Sessions.weekly("UTC", {"mon-sun": "00:00-13:00, 14:00-23:00"})
    shop = Shop(tape(*range(120), *range(121, 130)))  # the candles of closed hours, but not the first of a session
    shop.page_limit = 120
    asked = CandleRequest(exchange="shop", symbol="BTCUSDT", interval="1m", since=at(0), until=at(130))
    paging = Paging.of(shop, asked, size=120, sessions=hours)
    page = paging.next()
    paging.found(at(0), at(119))
    assert page is not None
    page = paging.next()
    assert page == Page(at(120), 10)
    paging.empty(answered=False)
    assert paging.next() == Page(at(119), 11, known=at(119), again=True)
    paging.empty(answered=True)
    assert paging.next() is None


def test_a_hole_is_seen_by_an_answer_that_holds_the_candle_before() -> None:
    shop = Silent(tape(*range(10), *range(19, 35)), silent={1})  # its last candle is one that the page held
    assert Watch(shop, allow_gaps=True).minutes(0, 35) == [*range(10), *range(19, 35)]
    assert [since for _, since, _ in shop.asked] == [0, 10, 9, 19, 18, 29]  # at 18, for 19 begins a page
    holed = Shop(tape(*range(10), *range(32, 35)), page_limit=10)
    assert Watch(holed, allow_gaps=True).minutes(0, 35) == [*range(10), 32, 33, 34]
    assert [since for _, since, _ in holed.asked] == [0, 10, 9, 19, 29]
    short = Shop(tape(*range(7), *range(25, 35)), page_limit=10)
    assert Watch(short, allow_gaps=True).minutes(0, 35) == [*range(7), *range(25, 35)]
    assert [since for _, since, _ in short.asked] == [0, 7, 17, 27]  # the first answer ended before its page


@pytest.mark.parametrize(
    ("page_limit", "intervals", "expected"),
    [
        (None, ("1m",), [25]),
        (None, None, [10, 10, 5]),  # a function of the user's: nobody knows what it can take
        (7, ("1m",), [7, 7, 7, 4]),
        (500, ("1m",), [10, 10, 5]),
    ],
)
def test_page_sizes(page_limit: int | None, intervals: tuple[str, ...] | None, expected: list[int]) -> None:
    shop = Shop(tape(*range(25)), page_limit=page_limit, intervals=intervals)
    assert Watch(shop, max_candles_per_request=10).minutes(0, 25) == list(range(25))
    assert [limit for _, _, limit in shop.asked] == expected


@given(
    page=st.integers(min_value=1, max_value=40),
    begin=st.integers(min_value=0, max_value=60),
    end=st.integers(min_value=0, max_value=90),
    since=st.integers(min_value=0, max_value=90),
    length=st.integers(min_value=0, max_value=60),
    by_count=st.booleans(),
    interval=st.sampled_from(["1m", "5m"]),
)
def test_any_page_size_gives_the_same_candles(
    page: int,
    begin: int,
    end: int,
    since: int,
    length: int,
    by_count: bool,  # noqa: FBT001 -- drawn by name
    interval: str,
) -> None:
    candles = tape(*range(begin, end))
    whole = Watch(Shop(candles)).fetch(interval, since, since + length)
    watch = Watch(Shop(candles, page_limit=page, by_count=by_count))
    try:
        assert watch.fetch(interval, since, since + length) == whole
    except NotEnoughData:  # a source of the other kind shows that its data begins after the range
        assert by_count
        assert len(whole) == 0
        assert begin >= since + length


def test_the_beginning_is_found_pages_later() -> None:
    shop = Shop(tape(*range(35, 40)), page_limit=10)
    assert Watch(shop).minutes(0, 40) == [35, 36, 37, 38, 39]


def test_the_end_is_found_without_walking_to_the_horizon() -> None:
    shop = Shop(tape(*range(10)), intervals=None)
    assert Watch(shop, max_candles_per_request=10).minutes(0, 10_000) == list(range(10))
    assert [limit for _, _, limit in shop.asked[:6]] == [10, 10, 10, 20, 40, 80]
    assert len(shop.asked) < 25


def test_a_hole_larger_than_a_page_is_a_gap_not_the_end() -> None:
    shop = Shop(tape(*range(10), *range(45, 60)), page_limit=10)
    with pytest.raises(GapError) as caught:
        Watch(shop).minutes(0, 60)
    assert caught.value.ranges == ((at(10), at(45)),)


def test_a_source_that_begins_again_ends_the_fetch() -> None:
    everything = [(at(n), 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(5)]
    calls: list[int] = []

    def always_the_same(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        calls.append(since)
        return everything

    watch = Watch(FunctionSource(always_the_same))
    assert watch.minutes(0, 100) == [0, 1, 2, 3, 4]
    assert len(calls) < 12  # each farther off: it may answer the rest from a file for each day
    (warning,) = watch.warnings
    assert "ignored outside the asked range: 5 candles, the first at 2022-01-01 12:00 UTC" in warning


def test_a_source_may_give_more_than_asked() -> None:
    watch = Watch(FunctionSource(lambda *_: [(at(n), 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(30)]))
    assert watch.minutes(0, 25) == list(range(25))
    (warning,) = watch.warnings
    assert "BTCUSDT 1m from '<lambda>': ignored outside the asked range: 5 candles" in warning


# --- attempts ------------------------------------------------------------------------------------------------------


def test_a_retry_is_noted() -> None:
    shop = Shop(tape(*range(5)), failures=[OSError("line down"), TimeoutError("slow")])
    watch = Watch(shop)
    assert watch.minutes(0, 5) == list(range(5))
    assert watch.pauses == [5.0, 5.0]
    assert [("1 of 3" in warning, "2 of 3" in warning) for warning in watch.warnings] == [
        (True, False),
        (False, True),
    ]
    assert "OSError: line down" in watch.warnings[0]


def test_the_attempts_are_counted_for_each_page() -> None:
    class Flaky(Shop):
        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            fails = [seen for _, seen, _ in self.asked].count((since - START) / MINUTE) < 2
            self.failures = [OSError("again")] if fails else []
            return await super().get_candles(symbol, interval, since, limit)

    shop = Flaky(tape(*range(6)), page_limit=2)
    watch = Watch(shop)
    assert watch.minutes(0, 6) == list(range(6))
    assert len(shop.asked) == 9
    assert len(watch.pauses) == 6


@pytest.mark.parametrize(("count", "attempts"), [(0, 1), (1, 1), (3, 3)])
def test_after_the_last_attempt_it_reports_without_a_pause(count: int, attempts: int) -> None:
    shop = Shop(tape(), failures=[ConnectionError(f"down {n}") for n in range(9)])
    watch = Watch(shop, get_candles_retry_count=count, get_candles_retry_delay_ms=200)
    with pytest.raises(DataError) as caught:
        watch.minutes(0, 5)
    assert len(shop.asked) == attempts
    assert watch.pauses == [0.2] * (attempts - 1)
    text = str(caught.value)
    assert "BTCUSDT 1m from 'shop'" in text
    assert "2022-01-01 12:00 UTC .. 2022-01-01 12:05 UTC" in text
    assert f"after {attempts} attempt" in text
    assert f"ConnectionError: down {attempts - 1}" in text
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize(
    "error",
    [
        UsageError("wrong"),
        UnknownName("symbol", "X", known=[]),
        MissingDependency("pyarrow", purpose="it", extra="parquet"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(error: BaseException) -> None:
    shop = Shop(tape(*range(5)), failures=[error])
    watch = Watch(shop)
    with pytest.raises(type(error) if isinstance(error, BknbError) else BknbError):
        watch.minutes(0, 5)
    assert len(shop.asked) == 1
    assert watch.pauses == []


def test_bad_candles_are_not_fetched_again() -> None:
    shop = Shop(Candles.from_rows([(at(0), 1.0, 1.0, 1.0, -1.0, 1.0)]))
    with pytest.raises(BadCandle):
        Watch(shop).minutes(0, 5)
    assert len(shop.asked) == 1


def test_a_source_that_answers_something_else() -> None:
    class Careless(Shop):
        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            return [(since, 1.0, 1.0, 1.0, 1.0, 1.0)]  # type: ignore[return-value]  # the mistake under test

    with pytest.raises(UsageError, match=r"must answer bknb\.Candles, got list"):
        Watch(Careless(tape())).minutes(0, 5)


# --- checks --------------------------------------------------------------------------------------------------------


def test_gaps_are_refused_unless_allowed() -> None:
    holed = tape(0, 1, 2, 5, 6)
    with pytest.raises(GapError) as caught:
        Watch(Shop(holed)).minutes(0, 10)
    assert caught.value.ranges == ((at(3), at(5)),)
    assert Watch(Shop(holed), allow_gaps=True).minutes(0, 10) == [0, 1, 2, 5, 6]


def test_a_gap_between_two_pages_is_seen() -> None:
    with pytest.raises(GapError) as caught:
        Watch(Shop(tape(*range(5), *range(6, 10)), page_limit=5)).minutes(0, 10)
    assert caught.value.ranges == ((at(5), at(6)),)


def test_repairs_of_all_pages_make_one_warning_each() -> None:
    def untidy(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        rows = [(since + i * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(limit)]
        return [*rows[::-1], rows[0]]

    watch = Watch(FunctionSource(untidy), max_candles_per_request=5)
    assert watch.minutes(0, 20) == list(range(20))
    assert [warning.split(": ", 1)[1] for warning in watch.warnings] == [
        "sorted: 16 candles, the first at 2022-01-01 12:00 UTC",
        "dropped duplicates: 4 candles, the first at 2022-01-01 12:00 UTC",
    ]


def test_what_a_source_repaired_itself_is_passed_on_once() -> None:
    watch = Watch(FrameSource(Candles.concat([tape(0, 1), tape(3), tape(2)]), name="mine"))
    assert watch.minutes(0, 4) == [0, 1, 2, 3]
    assert watch.minutes(0, 4) == [0, 1, 2, 3]
    assert len(watch.warnings) == 1
    assert "mine: sorted" in watch.warnings[0]


def test_candles_of_another_time_are_refused() -> None:
    def since_is_ignored(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        return [(at(n), 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(limit)]

    with pytest.raises(NotEnoughData, match="data begins there, or get_candles ignores `since`"):
        Watch(FunctionSource(since_is_ignored)).minutes(-5000, -4000)
    with pytest.raises(DataError, match="must honour `since`"):
        Watch(FunctionSource(since_is_ignored)).minutes(5000, 5100)


# --- intervals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["5m", "1h", "4h"])
def test_higher_intervals_are_made_from_minutes(interval: str) -> None:
    candles = tape(*range(600))
    shop = Shop(candles)
    made = Watch(shop).fetch(interval, 0, 600)
    assert made == resample_plainly(candles, interval)
    assert {asked for asked, _, _ in shop.asked} == {"1m"}


def test_with_gaps_allowed_a_quiet_last_minute_is_no_unfinished_bucket() -> None:
    shop = Shop(tape(*range(13)))
    assert Watch(shop, allow_gaps=True).minutes(0, 15, "5m") == [0, 5, 10]
    assert Watch(shop).minutes(0, 15, "5m") == [0, 5]


def test_an_interval_the_source_has_is_asked_for() -> None:
    shop = Shop(tape(*range(10), step=5), intervals=("1m", "5m"))
    assert Watch(shop).minutes(0, 50, "5m") == list(range(0, 50, 5))
    assert {asked for asked, _, _ in shop.asked} == {"5m"}


def test_an_interval_that_nothing_there_makes() -> None:
    shop = Shop(tape(*range(6), step=5), intervals=("5m", "1h"))
    assert Watch(shop).minutes(0, 30, "15m") == [0, 15]
    with pytest.raises(UsageError, match="3m candles cannot be made of the 5m bars of 'shop'\nask for 5m 15m 30m"):
        Watch(shop).minutes(0, 30, "3m")


def test_an_unknown_interval() -> None:
    with pytest.raises(UsageError, match="unknown interval '7m'"):
        Watch(Shop(tape())).minutes(0, 50, "7m")


def only_minutes(calls: list[tuple[str, float, int]]) -> Callable[..., list[tuple[float, ...]]]:
    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        calls.append((interval, (since - START) / MINUTE, limit))
        first = (since - START) // MINUTE
        return [(at(n), 100.0 + n, 102.0 + n, 99.0 + n, 101.0 + n, 1.0 + n) for n in range(first, first + limit)]

    return get_candles


@pytest.mark.parametrize("until", [15, 30, 120])
def test_a_function_that_has_only_minutes_is_found_out(until: int) -> None:
    calls: list[tuple[str, float, int]] = []
    watch = Watch(FunctionSource(only_minutes(calls), name="mine"))
    expected = resample_plainly(tape(*range(until)), "15m")
    assert watch.fetch("15m", 0, until) == expected
    assert [interval for interval, _, _ in calls] == ["15m", "1m"]
    assert watch.warnings == ["'mine' answers 15m with 1m candles; bknb resamples them from now on"]
    assert watch.fetch("15m", 0, until) == expected
    assert watch.fetch("1h", 0, 60) == resample_plainly(tape(*range(60)), "1h")
    assert [interval for interval, _, _ in calls] == ["15m", "1m", "1m", "1m"]
    assert len(watch.warnings) == 1


@pytest.mark.parametrize("until", [5, 50])
def test_a_function_that_serves_the_interval_is_used_directly(until: int) -> None:
    calls: list[str] = []

    def native(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        calls.append(interval)
        return [(since + i * INTERVAL_MS[interval], 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(limit)]

    watch = Watch(FunctionSource(native))
    assert watch.minutes(0, until, "5m") == list(range(0, until, 5))
    assert watch.minutes(0, 5, "5m") == [0]
    assert calls == ["5m", "5m"]
    assert watch.warnings == []


def test_candles_wider_than_asked_are_called_so() -> None:
    with pytest.raises(DataError, match="asked for 1m candles, got candles spaced 5m"):
        Watch(FunctionSource(lambda *_: [(at(n), 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(0, 50, 5)])).minutes(0, 50)


# --- kinds of functions --------------------------------------------------------------------------------------------


def test_the_demo_through_the_feed() -> None:
    day = Watch(DemoSource()).fetch("1m", 0, 1440)
    assert len(day) == 1440
    assert Watch(DemoSource()).fetch("1h", 0, 1440) == resample_plainly(day, "1h")


def test_fetches_at_the_same_time_do_not_disturb_each_other() -> None:
    watch = Watch(FunctionSource(only_minutes([])))

    async def both() -> list[Candles]:
        return list(
            await asyncio.gather(
                watch.feed.fetch("A", "15m", at(0), at(60)),
                watch.feed.fetch("B", "1m", at(0), at(60)),
                watch.feed.fetch("C", "15m", at(0), at(60)),
            )
        )

    first, minutes, third = asyncio.run(both())
    assert first == third == resample_plainly(minutes, "15m")


def behind_a_hole(failing: dict[tuple[int, int], int], error: Exception) -> tuple[int, list[str]]:
    """How many of 1 300 minutes with a hole of days came, of a source that fails at some questions so often.

    What is behind the hole is looked for: at minute 4 001, before its pages are asked for.
    """
    there = [*range(300), *range(8_000, 9_000)]
    asked: dict[tuple[int, int], int] = {}

    def get_candles(_symbol: str, _interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        question = (since - START) // MINUTE, limit
        asked[question] = asked.get(question, 0) + 1
        if asked[question] <= failing.get(question, 0):
            raise error
        return [(at(n), 1.0, 1.0, 1.0, 1.0, 1.0) for n in there if question[0] <= n < question[0] + limit]

    told: list[str] = []
    settings = Settings(get_candles_retry_delay_ms=0, max_candles_per_request=1000)
    feed = Feed(FunctionSource(get_candles), settings, allow_gaps=True, warn=told.append)
    found = asyncio.run(feed.fetch("BTCUSDT", "1m", START, at(9_000)))
    assert asked[4_001, 4_000] >= 1
    return len(found), told


@pytest.mark.parametrize(("times", "count"), [(0, 1_300), (1, 1_300), (2, 1_300)])
def test_a_source_that_fails_once_where_it_is_looked_behind_a_hole_is_asked_again(times: int, count: int) -> None:
    found, told = behind_a_hole({(4_001, 4_000): times}, OSError("reset"))
    assert found == count
    attempts = [text for text in told if "attempt" in text]
    assert len(attempts) == times
    [nothing] = [text for text in told if text not in attempts]
    assert "it answered nothing where 6000 candles may be" in nothing


def test_a_source_that_does_not_answer_what_is_behind_a_hole_is_told_once() -> None:
    found, told = behind_a_hole({(4_001, 4_000): 99}, OSError("reset"))
    assert found == 1_300  # page by page
    [lost] = [text for text in told if "no answer for" in text]
    assert lost.splitlines()[1:] == [
        "the last one failed with OSError: reset",
        "the data has a hole there, and it was asked what is behind it: candles may be missing",
    ]


def test_a_candle_that_cannot_be_read_behind_a_hole_is_no_missing_one() -> None:
    with pytest.raises(BadCandle, match="its volume is a word"):
        behind_a_hole({(4_001, 4_000): 99}, BadCandle("its volume is a word"))
