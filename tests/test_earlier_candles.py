"""A window asked for older candles than it holds: only those are fetched, and all are as if they came at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import ORIGIN, source
from worlds import LENGTH, MODELS, SETTINGS, signals, walk

from bknb.config import Settings
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.errors import BadCandle, DataError, GapError, NotEnoughData
from bknb.market import window
from bknb.market.candles import Candles
from bknb.market.candles_of_one_symbol import Series
from bknb.market.feed import Feed
from bknb.market.fetch_loop import fetch_now
from bknb.market.sessions import Sessions
from bknb.market.window import Window

MINUTE = 60_000
START = 1_641_168_000_000  # 2022-01-03 00:00 UTC, a Monday
HALF_HOURS = Sessions.weekly("UTC", {"mon-fri": "00:20-00:50, 01:40-02:10"})


def at(minute: int) -> int:
    return START + minute * MINUTE


def tape(*minutes: int) -> Candles:
    prices = {n: 100.0 + n % 13 for n in minutes}
    return Candles.from_rows([(at(n), p, p + 2, p - 1, p + 1, 1.0 + n) for n, p in prices.items()])


class Shelf:
    """A source over some minutes that notes what it is asked."""

    def __init__(
        self,
        candles: Candles,
        *,
        page_limit: int | None = None,
        by_count: bool = False,
        few: int | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.name = "shelf"
        self.intervals: tuple[str, ...] | None = ("1m",)
        self.page_limit = page_limit
        self.candles = candles
        self.by_count = by_count
        self.few = few
        self.sessions = sessions
        self.asked: list[tuple[int, int]] = []
        self.silent = 0  # so many of the next questions are answered with nothing

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        self.asked.append(((since - START) // MINUTE, limit))
        if self.silent:
            self.silent -= 1
            return Candles.empty()
        limit = limit if self.few is None else min(limit, self.few)
        first, end = np.searchsorted(self.candles.timestamp, [since, since + limit * MINUTE]).tolist()
        return self.candles[first : first + limit if self.by_count else end]

    def format_price(self, symbol: str, price: float) -> str:
        return str(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        return str(quantity)


class Watch:
    """A window over a source, with its warnings and the calls of its listener."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        until: int,
        allow_gaps: bool = False,
        now: int | None = None,
        listens: bool = True,
        **options: Any,
    ) -> None:
        self.warnings: list[str] = []
        self.came: list[tuple[str, int, int, int]] = []

        async def sleep(_: float) -> None:
            return None

        self.present = now
        feed = Feed(
            shelf,
            Settings(**options),
            allow_gaps=allow_gaps,
            warn=self.warnings.append,
            sleep=sleep,
            now=None if now is None else lambda: at(self.present or 0),
        )
        self.window = Window(feed, horizon=at(until), on_candles=self._note if listens else None)

    def _note(self, symbol: str, interval: str, since: int, count: int, candles: Candles) -> None:
        assert count == len(candles)
        self.came.append((interval, (since - START) // MINUTE, count, (int(candles.timestamp[0]) - START) // MINUTE))

    def load(self, since: int, interval: str = "1m") -> Candles:
        series: Series = fetch_now(self.window.load("BTCUSDT", interval, at(since)))
        return series.candles


def test_only_what_lies_before_is_fetched_together_with_the_first_candle_that_is_here() -> None:
    shelf = Shelf(tape(*range(-50, 200)))
    watch = Watch(shelf, until=100)
    watch.load(30)
    assert watch.load(0) == tape(*range(100))
    assert watch.load(10) == tape(*range(100))
    assert shelf.asked == [(30, 70), (0, 31)]
    assert watch.came == [("1m", 30, 70, 30), ("1m", 0, 30, 0)]
    assert watch.warnings == []


@pytest.mark.parametrize(("interval", "limit"), [("1d", 100_000), ("1w", 4_000), ("1M", 1_000), ("1m", 40_000_000)])
def test_more_candles_than_there_can_be_are_not_looked_for(interval: str, limit: int) -> None:
    shelf = Shelf(tape(*range(200)))
    watch = Watch(shelf, until=100)
    with pytest.raises(NotEnoughData, match="which would begin before 1970\nask for fewer candles"):
        watch.window.newest("BTCUSDT", interval, limit, at(100))
    assert shelf.asked == []


def test_a_look_back_that_is_made_of_many_bars_is_told_before_they_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MANY_BARS", 100)
    few, many = (Watch(Shelf(tape(*range(300))), until=300) for _ in range(2))
    for watch, limit in ((few, 6), (many, 7), (many, 80)):
        with suppress(NotEnoughData):
            watch.window.newest("BTCUSDT", "15m", limit, at(300))
    assert few.warnings == []
    (warning,) = many.warnings
    assert warning.startswith("7 15m candles of BTCUSDT are made of 105 1m candles, which are fetched and kept in")


def test_a_longer_interval_of_the_same_minutes_is_whole_across_where_they_were_joined() -> None:
    shelf = Shelf(tape(*range(200)))
    watch = Watch(shelf, until=100)
    watch.load(47)  # inside the slot of 45
    made = watch.load(30, "15m")
    assert ((made.timestamp - START) // MINUTE).tolist() == [30, 45, 60, 75]
    assert made == Watch(Shelf(tape(*range(200))), until=100).load(30, "15m")
    assert watch.load(0, "15m")[2:] == made
    assert shelf.asked == [(47, 53), (30, 18), (0, 31)]
    assert watch.came[-2:] == [("1m", 0, 30, 0), ("15m", 0, 2, 0)]


def test_where_nothing_is_older_the_candles_and_what_was_made_of_them_stay() -> None:
    window = Window(Feed(Shelf(tape(*range(200))), Settings()), horizon=at(100))
    first = {interval: fetch_now(window.load("X", interval, at(-20))) for interval in ("1m", "15m")}
    averages = first["1m"].average_prices(5)
    for interval, before in first.items():
        series = fetch_now(window.load("X", interval, at(-500)))
        assert series.since == at(-500)
        assert series.candles is before.candles
    assert window.minutes("X").averages is averages
    assert len(fetch_now(window.load("X", "15m", at(-500))).candles) == 6


# --- where all is asked for again --------------------------------------------------------------------------------


def test_candles_that_were_corrected_meanwhile_are_not_joined_with_those_from_before() -> None:
    shelf = Shelf(tape(*range(100)))
    watch = Watch(shelf, until=100)
    watch.load(30)
    block = shelf.candles.block.copy()
    block[1:5] /= 2  # a split since
    shelf.candles = Candles(block)
    assert watch.load(0) == shelf.candles
    assert shelf.asked == [(30, 70), (0, 31), (0, 100)]
    assert watch.came[-1] == ("1m", 0, 100, 0)


def test_an_answer_that_has_to_be_repaired_is_that_of_everything() -> None:
    twice = tape(*range(100))
    twice = twice.take(np.sort(np.append(np.arange(100), [10, 60])))
    shelf = Shelf(twice)
    watch = Watch(shelf, until=100)
    watch.load(70)
    assert watch.load(0) == tape(*range(100))
    assert watch.warnings == [
        "BTCUSDT 1m from 'shelf': dropped duplicates: 2 candles, the first at 2022-01-03 00:10 UTC"
    ]
    watch.load(-10)  # nothing is kept of it from now on
    # the 100 candles are as many as any answer had: whether there are others before them is asked once
    assert shelf.asked == [(70, 30), (0, 71), (0, 100), (-10, 110), (-10, 11)]


def test_of_a_source_that_answers_more_than_it_is_asked_for_the_same_is_told_as_of_one_load() -> None:
    later = Shelf(tape(*range(10, 100)), by_count=True)  # more come for a page that begins before the data
    watch, once = Watch(later, until=90), Watch(Shelf(later.candles, by_count=True), until=90)
    watch.load(30)
    assert watch.load(0) == once.load(0) == tape(*range(10, 90))
    assert later.asked == [(30, 60), (0, 31), (0, 90)]
    told = "ignored outside the asked range: 10 candles, the first at 2022-01-03 01:30 UTC"
    assert watch.warnings == once.warnings == [f"BTCUSDT 1m from 'shelf': {told}"]


@pytest.mark.parametrize(
    ("first", "end", "factor"),
    [(0, 20, 1e-4), (0, 30, 1e-4), (0, 80, 1e-4), (38, 40, 1e4), (39, 40, 1e4), (10, 12, 1e4)],
)
def test_prices_are_compared_as_if_all_came_at_once(first: int, end: int, factor: float) -> None:
    block = tape(*range(100)).block.copy()
    block[1:5, first:end] *= factor  # a level, or candles that are wrong: the part before 40 alone cannot tell
    shelf = Shelf(Candles(block))

    def outcome(*loads: int) -> Any:
        watch = Watch(shelf, until=100, get_candles_min_candles_for_median=10)
        try:
            return [watch.load(since) for since in loads][-1]
        except BadCandle as error:
            return str(error)

    assert outcome(0) == outcome(40, 0)


def test_candles_that_had_not_closed_are_fetched_with_those_before() -> None:
    shelf = Shelf(tape(*range(100)))
    watch = Watch(shelf, until=100, now=60)
    assert watch.load(30) == tape(*range(30, 60))
    watch.present = 80
    assert watch.load(0) == tape(*range(80))


def test_candles_that_were_cut_off_come_again_with_those_before() -> None:
    watch = Watch(Shelf(tape(*range(100))), until=100)
    watch.load(30)
    assert watch.window.end_minutes("BTCUSDT", at(60)).candles == tape(*range(30, 60))
    assert watch.load(0) == tape(*range(100))


def test_nothing_is_no_answer_where_a_candle_is_known() -> None:
    shelf = Shelf(tape(*range(100)))
    watch = Watch(shelf, until=100, get_candles_retry_count=3)
    known = watch.load(30)
    shelf.silent = 2  # what lies before, and then everything
    assert watch.load(0) == tape(*range(100))
    assert "it answered nothing, although the candle of 2022-01-03 00:30 UTC has come before" in watch.warnings[0]
    shelf.silent = 99
    with pytest.raises(DataError, match="although the candle of"):
        watch.load(-10)
    series = watch.window.known("BTCUSDT", "1m")
    assert series is not None
    assert series.candles == tape(*range(100))
    assert len(known) == 70


# --- holes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hole", [29, 30, 25, 10])
def test_a_hole_before_or_at_the_first_candle_that_is_here_is_refused_as_in_one_load(hole: int) -> None:
    minutes = [n for n in range(100) if n != hole]
    with pytest.raises(GapError) as once:
        Watch(Shelf(tape(*minutes)), until=100).load(0)
    watch = Watch(Shelf(tape(*minutes)), until=100)
    known = watch.load(30)
    with pytest.raises(GapError) as joined:
        watch.load(0)
    assert (str(joined.value), joined.value.ranges) == (str(once.value), once.value.ranges)
    series = watch.window.known("BTCUSDT", "1m")
    assert series is not None
    assert series.candles == known


@st.composite
def shelves(draw: st.DrawFn) -> dict[str, Any]:
    """A market with holes or trading sessions, and a habit of its source."""
    minutes = np.ones(240, bool)
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, 239))
        minutes[first : first + draw(st.sampled_from([1, 2, 9, 70]))] = False
    sessions = draw(st.sampled_from([None, HALF_HOURS]))
    if sessions is not None:
        minutes &= sessions.open_minutes(START + np.arange(240) * MINUTE, MINUTE) > 0
    return {
        "candles": tape(*np.flatnonzero(minutes).tolist()),
        "page_limit": draw(st.sampled_from([None, None, 7, 50])),
        "by_count": draw(st.booleans()),
        "few": draw(st.sampled_from([None, None, 5, 40])),
        "sessions": sessions,
    }


questions = st.lists(
    st.tuples(st.sampled_from(["1m", "1m", "5m", "1h"]), st.integers(-20, 200)), min_size=2, max_size=5
)


@pytest.mark.slow
@settings(max_examples=60)
@given(shelves(), questions, st.integers(100, 260))
def test_any_order_of_questions_gives_the_candles_of_one_load_and_asks_for_none_twice(
    shelf: dict[str, Any], asked: list[tuple[str, int]], until: int
) -> None:
    source = Shelf(**shelf)
    watch = Watch(source, until=until, allow_gaps=True, listens=False)
    firsts: Counter[int] = Counter()  # of what was here when older candles were asked for
    begins: set[int] = set()  # of what was here after each question
    for interval, since in asked:
        known = watch.window.known("BTCUSDT", "1m")
        if known is not None and known.since > at(since):
            firsts[(known.start - START) // MINUTE] += 1
        plain = Shelf(shelf["candles"], sessions=shelf["sessions"])
        once = Watch(plain, until=until, allow_gaps=True, listens=False).load(since, interval)
        try:
            found = watch.load(since, interval)
        except NotEnoughData:  # of a range without candles the next ones behind it came
            assert shelf["by_count"]
            assert not len(once)
            continue
        assert found[int(np.searchsorted(found.timestamp, at(since))) :] == once
        if (here := watch.window.known("BTCUSDT", "1m")) is not None and len(here.candles):
            begins.add((here.start - START) // MINUTE)
    if not shelf["by_count"] and shelf["few"] is None and shelf["page_limit"] is None:
        times = Counter(minute for first, count in source.asked for minute in range(first, first + count))
        minutes = ((shelf["candles"].timestamp - START) // MINUTE).tolist()
        # whether others are before the first candle is asked for together with it
        assert all(times[minute] <= 1 + firsts[minute] + (minute in begins) for minute in minutes)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at_minute", [0, 150])
def test_a_run_whose_strategy_asks_for_earlier_candles_has_the_events_of_one_that_does_not(
    model: str, at_minute: int
) -> None:
    """The minutes it walks over are then part of a longer series."""

    def records(ask: Any) -> Any:
        run = BacktestRun(
            plan_backtest(
                "BTCUSDT",
                strategy=make_strategy("asks", ask, interval="1m"),
                exchange=source(walk(3)),
                frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
                execution=model,
                settings=SETTINGS,
            )
        )
        asyncio.run(run.through())
        assert run.window is not None
        return run.records, run.window.minutes("BTCUSDT").start

    def earlier(ctx: Any) -> Any:
        if ctx.when_ms >= ORIGIN + at_minute * MINUTE:
            ctx.candles("1m", 40 + at_minute)
        return signals(3)(ctx.when, ctx.price)

    plain, begins = records(lambda ctx: signals(3)(ctx.when, ctx.price))
    asked, earlier_begin = records(earlier)
    assert earlier_begin < begins
    assert asked == plain
    assert len(plain.closed) > 10


# --- what is asked for is in memory ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing", [range(0), range(20, 23), range(38, 40)], ids=["none", "in the middle", "at the end"]
)
def test_candles_in_memory_are_answered_as_the_way_around_answers_them(missing: range) -> None:
    minutes = [minute for minute in range(40) if minute not in missing]
    watch = Watch(Shelf(tape(*minutes)), until=40, allow_gaps=True)
    watch.load(0)
    for interval, steps in (("1m", range(5, 41)), ("5m", range(10, 41))):
        for moment in steps:
            for limit in (1, 2):
                found = watch.window.newest("BTCUSDT", interval, limit, at(moment))
                assert found == watch.window._newest_slowly("BTCUSDT", interval, limit, at(moment), wait=True)
                if interval == "1m":
                    known = [minute for minute in minutes if minute < moment][-limit:]
                    assert ((found.timestamp - START) // MINUTE).tolist() == known
