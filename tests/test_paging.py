"""Paging: whatever a source takes ``limit`` for, all of its candles come, holes are holes, and questions are few."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from quick import first_quick

from bknb.config import Settings
from bknb.domain.interval import DAY_MS, INTERVAL_MS, MINUTE_MS
from bknb.errors import DataError, GapError, NotEnoughData
from bknb.market.candles import Candles
from bknb.market.candles_repaired_or_refused import CandleRequest, Page
from bknb.market.feed import Feed
from bknb.market.missing_candles import gaps
from bknb.market.paging import Paging
from bknb.market.resample import resample
from bknb.market.sessions import Sessions, as_sessions

ORIGIN = 1_704_067_200_000  # 2024-01-01 00:00 UTC
LENGTH = 12_000  # minutes asked for
US = as_sessions("us-equities")
LUNCH = Sessions.weekly("Europe/Berlin", {"mon-fri": "09:00-11:30, 12:30-17:00"})


def minutes(*ranges: tuple[int, int]) -> Candles:
    """Flat minutes of the ranges ``[first, end)``, counted from the origin."""
    return Candles.from_rows(
        [(ORIGIN + n * MINUTE_MS, 1.0, 1.0, 1.0, 1.0, 1.0) for a, b in ranges for n in range(a, b)]
    )


class Shelf:
    """A source that answers in one of the ways sources answer.

    ``kind``: ``range``, the candles of the next ``limit`` intervals; ``newest``, the newest of these; ``count``, the
    next ``limit`` candles there are; ``day``, the whole day of ``since``, whatever the limit; ``rest of the day``, of
    that day those from ``since`` on, ``limit`` at most; ``everything``. ``cap``: it answers no more. ``twice``: its
    last candle comes twice. ``file``: a day is so many minutes, as of a source with a file for each hour.
    """

    name = "shelf"

    def __init__(
        self,
        candles: Candles,
        kind: str,
        *,
        intervals: tuple[str, ...] | None,
        page_limit: int | None,
        cap: int | None,
        twice: bool = False,
        file: int = 1440,
    ) -> None:
        self.series = {"1m": candles} | {name: resample(candles, name, allow_gaps=True, since=0, until=ORIGIN * 2)
                                         for name in ("1h", "1d")}  # fmt: skip
        self.kind, self.intervals, self.page_limit, self.cap = kind, intervals, page_limit, cap
        self.twice, self.file_ms = twice, file * MINUTE_MS
        self.asked: list[tuple[str, int, int]] = []

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        self.asked.append((interval, (since - ORIGIN) // MINUTE_MS, limit))
        if self.page_limit is not None:
            assert limit <= self.page_limit
        candles = self.series[interval]
        most = limit if self.cap is None else min(limit, self.cap)
        limit = limit if self.kind == "newest" else most
        end = since + limit * INTERVAL_MS[interval]
        if self.kind == "day":
            since, end = since - since % self.file_ms, since - since % self.file_ms + self.file_ms
        if self.kind == "rest of the day":
            end = min(end, since - since % self.file_ms + self.file_ms)
        first, last = np.searchsorted(candles.timestamp, [since, end]).tolist()
        if self.kind == "everything":
            return candles
        first = max(first, last - most) if self.kind == "newest" else first
        answer = candles[first : first + limit if self.kind == "count" else last].copy()
        return Candles.concat([answer, answer[-1:]]) if self.twice and len(answer) else answer

    def format_price(self, symbol: str, price: float) -> str:
        return str(price)

    format_quantity = format_price


def fetched(source: Any, *, page: int, allow_gaps: bool = True, since: int = 0, until: int = LENGTH) -> Candles:
    feed = Feed(source, Settings(max_candles_per_request=page), allow_gaps=allow_gaps)
    begin, end = ORIGIN + since * MINUTE_MS, ORIGIN + until * MINUTE_MS
    return asyncio.run(feed.fetch("BTCUSDT", "1m", begin, end))


def in_range(candles: Candles, since: int = 0, until: int = LENGTH) -> Candles:
    first, end = np.searchsorted(candles.timestamp, [ORIGIN + since * MINUTE_MS, ORIGIN + until * MINUTE_MS]).tolist()
    return candles[first:end]


SEGMENTS = st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 3000)), min_size=1, max_size=4)  # hole, candles
PAGES = st.one_of(st.sampled_from([1, 7, 100, 300, 1000]), st.integers(50, 1000))


def market(segments: list[tuple[int, int]]) -> Candles:
    at, ranges = -60, []
    for hole, count in segments:
        ranges.append((at + hole, at + hole + count))
        at += hole + count
    return minutes(*ranges)


@given(
    segments=SEGMENTS,
    page=PAGES,
    kind=st.sampled_from(["range", "count", "day", "everything"]),
    declared=st.booleans(),
    intervals=st.sampled_from([None, ("1m",), ("1m", "1h"), ("1m", "1h", "1d")]),
)
def test_all_candles_come_and_every_hole_is_seen(
    segments: list[tuple[int, int]],
    page: int,
    kind: str,
    declared: bool,  # noqa: FBT001 -- drawn by name
    intervals: tuple[str, ...] | None,
) -> None:
    assume(page >= 50 or sum(sum(each) for each in segments) < 700 or kind == "count")
    candles = market(segments)
    until = LENGTH if page >= 50 else 800
    expected = in_range(candles, until=until)
    assume(len(expected))
    assume(kind != "day" or (int(expected.timestamp[0]) - ORIGIN) < 1440 * MINUTE_MS)  # else nothing of the range comes
    assume(kind != "day" or declared or intervals is None)  # other such sources have a test of their own
    source = Shelf(candles, kind, intervals=intervals, page_limit=page if declared else None, cap=None)
    assert fetched(source, page=page, until=until) == expected
    whole = not declared and intervals is not None
    # A source is asked no more often than if there were no hole, and for each part once or twice more.
    assert len(source.asked) <= (0 if whole else until / page) + 6 * (len(segments) + 1)
    source.asked.clear()
    missing = gaps(expected.timestamp, MINUTE_MS)
    if missing:
        with pytest.raises((GapError, DataError)) as caught:
            fetched(source, page=page, allow_gaps=False, until=until)
        if isinstance(caught.value, GapError):
            assert caught.value.ranges == missing
    else:
        assert fetched(source, page=page, allow_gaps=False, until=until) == expected


@pytest.mark.slow
@given(
    first=st.integers(1000, 3000),
    hole=st.integers(0, 6000),
    cap=st.sampled_from([100, 300, 720]),
    begin=st.integers(0, 900),
)
def test_a_source_that_answers_less_than_it_is_asked_for(first: int, hole: int, cap: int, begin: int) -> None:
    candles = minutes((begin, begin + first), (begin + first + hole, LENGTH + 60))
    source = Shelf(candles, "range", intervals=None, page_limit=None, cap=cap)
    assert fetched(source, page=1000) == in_range(candles)
    assert len(source.asked) <= 2 * LENGTH / min(cap, 100) + 10


PARTS = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 100)), max_size=3)  # hole, candles


@pytest.mark.slow
@given(
    cap=st.sampled_from([2, 5, 10, 100]),
    parts=PARTS,
    page=st.sampled_from([200, 1000]),
    kind=st.sampled_from(["range", "count"]),
    declared=st.booleans(),
    intervals=st.sampled_from([None, ("1m",), ("1m", "1d")]),
)
def test_a_source_that_answers_few_whatever_it_is_asked_for_loses_nothing_behind_holes(
    cap: int,
    parts: list[tuple[int, int]],
    page: int,
    kind: str,
    declared: bool,  # noqa: FBT001 -- drawn by name
    intervals: tuple[str, ...] | None,
) -> None:
    # behind a hole it is told that candles may be missed that are few beside it
    candles = market([(60, 2 * cap + 1), *((hole, count + hole // 32) for hole, count in parts)])
    until = 1500
    source = Shelf(candles, kind, intervals=intervals, page_limit=page if declared else None, cap=cap)
    assert fetched(source, page=page, until=until) == in_range(candles, until=until)
    assert len(source.asked) <= until / cap * 1.5 + 60


@pytest.mark.slow
@given(cap=st.sampled_from([1, 3, 10, 100]), parts=PARTS, intervals=st.sampled_from([None, ("1m",)]))
def test_of_a_source_that_answers_few_candles_are_found_wherever_they_begin(
    cap: int, parts: list[tuple[int, int]], intervals: tuple[str, ...] | None
) -> None:
    until = 30 + sum(hole + count + hole // 32 for hole, count in parts)
    candles = market([*((hole, count + hole // 32) for hole, count in parts), (1, 100)])
    source = Shelf(candles, "range", intervals=intervals, page_limit=None, cap=cap)
    assert fetched(source, page=1000, until=until) == in_range(candles, until=until)


@pytest.mark.slow
@given(
    cap=st.sampled_from([1, 5, 100, 200]),
    parts=PARTS,
    page=st.sampled_from([50, 200, 1000]),
    declared=st.booleans(),
    intervals=st.sampled_from([None, ("1m",), ("1m", "1h"), ("1m", "1d")]),
)
def test_a_source_that_answers_the_newest_of_a_range_loses_nothing(
    cap: int,
    parts: list[tuple[int, int]],
    page: int,
    declared: bool,  # noqa: FBT001 -- drawn by name
    intervals: tuple[str, ...] | None,
) -> None:
    candles, until = market([(30, 300), *parts]), 1500
    source = Shelf(candles, "newest", intervals=intervals, page_limit=page if declared else None, cap=cap)
    assert fetched(source, page=page, until=until) == in_range(candles, until=until)
    assert len(source.asked) <= 2 * until / cap + 60


def test_a_source_that_answers_the_newest_of_a_range_is_noticed_once() -> None:
    candles = minutes((0, 700), (900, 1000))
    source = Shelf(candles, "newest", intervals=("1m",), page_limit=500, cap=200)
    assert fetched(source, page=500, until=1000) == candles
    # the page, its first candle with what is before it, the page once more; then two hundred at a time
    assert [each[1:] for each in source.asked[:5]] == [(0, 500), (0, 301), (0, 500), (0, 200), (200, 200)]
    assert len(source.asked) == 10  # (700, 200) twice, as nothing came and a candle begins the page behind it
    whole = Shelf(minutes((20, 500)), "range", intervals=("1m",), page_limit=500, cap=None)
    fetched(whole, page=500, until=500)
    assert [each[1:] for each in whole.asked] == [(0, 500), (0, 21)]  # it begins there: the first answer stands


class Inclusive(Shelf):
    """The candle at the end of a range belongs to it."""

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        return await super().get_candles(symbol, interval, since, limit + 1)


class Hasty(Shelf):
    """The first answer lacks its first candles."""

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        answer = await super().get_candles(symbol, interval, since, limit)
        return answer[20:] if len(self.asked) == 1 else answer


def test_the_newest_of_a_range_with_its_end_are_not_taken_for_those_from_its_begin_on() -> None:
    candles = minutes((0, 700))
    source = Inclusive(candles, "newest", intervals=("1m",), page_limit=None, cap=200)
    assert fetched(source, page=200, until=700) == candles


def test_an_answer_that_goes_on_behind_its_range_has_left_out_nothing_before() -> None:
    source = Shelf(minutes((20, 600)), "count", intervals=("1m",), page_limit=500, cap=None)
    assert fetched(source, page=500, until=500) == minutes((20, 500))
    assert [each[1:] for each in source.asked] == [(0, 500)]


def test_an_answer_that_lacked_candles_once_does_not_stand() -> None:
    source = Hasty(minutes((0, 500)), "range", intervals=("1m",), page_limit=500, cap=None)
    assert fetched(source, page=500, until=500) == minutes((0, 500))


@pytest.mark.parametrize("declared", [True, False])
def test_a_source_that_answers_few_and_has_shown_nothing_is_looked_for_in_every_part(*, declared: bool) -> None:
    candles = minutes((2249, 2425), (2670, 3420))
    source = Shelf(candles, "range", intervals=("1m",), page_limit=3000 if declared else None, cap=10)
    assert fetched(source, page=3000, until=3425) == candles


def test_a_hole_that_a_source_does_not_answer_across_is_asked_for_in_steps_it_answers() -> None:
    candles = minutes((-5, 10), (22, 60))
    source = Shelf(candles, "range", intervals=("1m",), page_limit=None, cap=5)
    assert fetched(source, page=1000, until=60) == in_range(candles, until=60)
    asked = [since for _, since, _ in source.asked]
    assert asked[:7] == [0, 5, 10, 9, 14, 19, 24]  # at 9 with the last candle that came; from 19 on it answers 22
    assert len(asked) == 6 + len(range(24, 60, 5))


def test_what_is_behind_a_hole_shows_how_far_a_source_answers() -> None:
    candles = minutes((0, 3), (20, 300))
    few = Shelf(candles, "range", intervals=("1m",), page_limit=None, cap=8)
    assert fetched(few, page=1000, until=300) == candles
    assert [since for _, since, _ in few.asked][:6] == [0, 3, 297, 3, 292, 286]  # the end, the hole, how far it answers
    whole = Shelf(candles, "range", intervals=("1m",), page_limit=100, cap=None)
    assert fetched(whole, page=1000, until=300) == candles
    assert [since for _, since, _ in whole.asked] == [0, 100, 200]


def test_questions_about_a_long_hole_are_few_where_a_source_answers_few() -> None:
    year = 366 * 1440
    candles = minutes((0, 300), (year - 20_000, year - 10_000))
    source = Shelf(candles, "range", intervals=("1m",), page_limit=1000, cap=100)
    assert fetched(source, page=1000, until=year) == candles
    assert len(source.asked) < 700  # 103 of them for the candles


@given(
    data=st.data(),
    segments=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4),
    page=st.integers(2, 30),
    kind=st.sampled_from(["range", "count"]),
    habit=st.booleans(),
    closed=st.booleans(),
)
def test_one_silent_answer_loses_nothing_behind_what_came_and_no_page_comes_for_ever(
    data: st.DataObject,
    segments: list[tuple[int, int]],
    page: int,
    kind: str,
    habit: bool,  # noqa: FBT001 -- drawn by name
    closed: bool,  # noqa: FBT001 -- drawn by name
) -> None:
    times, until = market(segments).timestamp, 300
    asked = CandleRequest(exchange="mine", symbol="X", interval="1m", since=ORIGIN, until=ORIGIN + until * MINUTE_MS)
    hours = Sessions.weekly("UTC", {"mon-sun": "00:00-01:00, 02:00-12:00"}) if closed else None
    most = data.draw(st.one_of(st.just(page), st.integers(2, page)))  # one alone is answered with no known one
    silent = data.draw(st.integers(0, 20))
    paging = Paging(asked, size=page, may_grow=habit, sessions=hours)
    pages: list[Page] = []
    came: set[int] = set()
    counts, may_be_cut = [0], True  # the last answer was full or as long as any before; a shorter one ends with a hole
    while (question := paging.next()) is not None:
        assert len(pages) < 5 * until
        limit = min(question.limit, most)
        answer = times[times >= question.since]
        answer = answer[:limit] if kind == "count" else answer[answer < question.since + limit * MINUTE_MS]
        if len(pages) == silent and question.known is None:  # with a known candle it would be asked for again
            may_be_cut = habit or counts[-1] >= page or (len(counts) > 2 and counts[-1] >= max(counts))
            answer = answer[:0]
        if question.look:
            paging.looked(answer)
            continue
        pages.append(question)
        fresh = answer[(answer >= paging.missing_since) & (answer < asked.until)]
        fresh = fresh[fresh != question.since] if question.again else fresh
        if not len(fresh):
            paging.empty(answered=len(answer) > 0)
            continue
        goes_on = len(fresh) >= question.limit and fresh[-1] > question.since + question.limit * MINUTE_MS
        if paging.found(int(fresh[0]), int(fresh[-1]), 0 if goes_on else len(fresh)):
            came.update(fresh.tolist())
            counts.append(len(fresh))
    again = most < page or habit  # a part of one that cuts answers is asked for again
    # an empty page behind which another begins with a candle is asked for twice, that one is taken up once more, and
    # again when it was looked for a candle before it
    assert all(pages.count(each) <= 5 + 2 * again for each in pages)
    there = [t for t in times.tolist() if asked.since <= t < asked.until and (hours is None or hours.is_open(t))]
    assert not may_be_cut or [t for t in there if t not in came and t - MINUTE_MS in came] == []


@pytest.mark.parametrize("kind", ["day", "rest of the day"])
@pytest.mark.parametrize(
    ("page", "page_limit"), first_quick([(100, None), (1000, None), (1440, 1440), (12_000, 12_000)])
)
def test_of_a_source_with_a_file_for_each_day_a_hole_over_midnight_hides_nothing(
    kind: str, page: int, page_limit: int | None
) -> None:
    day = 1440
    for hole in ((day + 1320, 2 * day + 5), (2 * day - 1, 2 * day), (day + 960, 4 * day + 570)):
        candles = minutes((-5, hole[0]), (hole[1], 7 * day))
        for intervals in (None, ("1m",)):
            source = Shelf(candles, kind, intervals=intervals, page_limit=page_limit, cap=None)
            assert fetched(source, page=page, since=-5, until=7 * day) == candles
            assert len(source.asked) <= 7 * day / min(page, day) + 25
    hours = [(n * day + 570, n * day + 960) for n in range(7)]
    for intervals in (None, ("1m",)):
        source = Shelf(minutes(*hours), kind, intervals=intervals, page_limit=page_limit, cap=None)
        assert fetched(source, page=page, since=570, until=7 * day) == minutes(*hours)


def borders(file: int) -> st.SearchStrategy[list[tuple[int, int, int]]]:
    """Holes around the ends of files: of which file, how much before its end, how much behind."""
    near = st.one_of(st.sampled_from([0, 1, 2, file // 2, file - 1, file]), st.integers(0, 2 * file))
    return st.lists(st.tuples(st.integers(1, 9), near, near), min_size=1, max_size=4)


@pytest.mark.slow
@given(data=st.data(), file=st.sampled_from([60, 240]), intervals=st.sampled_from([None, ("1m",)]))
def test_of_a_source_with_a_file_for_each_hour_or_few_holes_around_their_ends_hide_nothing(
    data: st.DataObject, file: int, intervals: tuple[str, ...] | None
) -> None:
    until = 10 * file
    there = np.ones(until, bool)
    for number, before, behind in data.draw(borders(file)):
        there[max(number * file - before, 1) : number * file + behind] = False
    page = data.draw(st.sampled_from([30, file // 2, file, 2 * file, 100, 500, 1000]))
    page_limit = page if data.draw(st.booleans()) else None
    candles = minutes(*((int(n), int(n) + 1) for n in np.flatnonzero(there)))
    source = Shelf(candles, "rest of the day", intervals=intervals, page_limit=page_limit, cap=None, file=file)
    assert fetched(source, page=page, until=until) == candles
    assert len(source.asked) <= 3 * until / min(page, file) + 60


def test_of_pages_shorter_than_the_files_of_a_source_few_candles_between_holes_are_found() -> None:
    candles = minutes((0, 958), (964, 967), (989, 1460))  # an hour ends at 960
    source = Shelf(candles, "rest of the day", intervals=None, page_limit=None, cap=None, file=60)
    assert fetched(source, page=30, until=1460) == candles


def test_of_a_source_that_answers_the_newest_of_a_range_a_candle_that_comes_twice_counts_once() -> None:
    candles = minutes((0, 59), (60, 600))
    source = Shelf(candles, "newest", intervals=("1m",), page_limit=1000, cap=240, twice=True)
    assert fetched(source, page=1000, until=400) == in_range(candles, until=400)


def test_questions_about_a_long_hole_are_few() -> None:
    year = 366 * 1440
    candles = minutes((0, 1500), (year - 1500, year - 700))
    function = Shelf(candles, "range", intervals=None, page_limit=None, cap=None)
    assert fetched(function, page=1000, until=year) == candles
    assert len(function.asked) < 25
    market_place = Shelf(candles, "range", intervals=("1m", "1h", "1d"), page_limit=1000, cap=None)
    assert fetched(market_place, page=1000, until=year) == candles
    assert len(market_place.asked) < 15
    only_minutes = Shelf(candles, "range", intervals=("1m",), page_limit=1000, cap=None)
    assert fetched(only_minutes, page=1000, until=year) == candles
    assert len(only_minutes.asked) <= year / 1000 + 3


def test_a_source_that_refuses_long_pages_is_asked_for_short_ones() -> None:
    candles = minutes((0, 600), (5000, 6000))

    class Strict(Shelf):
        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            if limit > 300:
                raise ValueError("limit must be at most 300")
            return await super().get_candles(symbol, interval, since, limit)

    source = Strict(candles, "range", intervals=None, page_limit=None, cap=None)
    assert fetched(source, page=300) == candles


def test_minutes_of_the_running_day_are_found_although_its_candle_is_not_there_yet() -> None:
    candles = minutes((0, 100), (7 * 1440 + 300, 7 * 1440 + 500))

    class Running(Shelf):
        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            answer = await super().get_candles(symbol, interval, since, limit)
            return answer if interval == "1m" else answer.take(answer.timestamp < ORIGIN + 7 * DAY_MS)

    source = Running(candles, "range", intervals=("1m", "1d"), page_limit=300, cap=None)
    assert fetched(source, page=300, until=7 * 1440 + 600) == candles


@given(
    sessions=st.sampled_from([US, LUNCH]),
    day=st.integers(0, 89),
    days=st.integers(1, 8),
    page=st.sampled_from([200, 500, 1000]),
    kind=st.sampled_from(["range", "count"]),
    declared=st.booleans(),
)
def test_closed_time_is_not_asked_for(
    sessions: Sessions,
    day: int,
    days: int,
    page: int,
    kind: str,
    declared: bool,  # noqa: FBT001 -- drawn by name
) -> None:
    since, until = (day + 20) * 1440, (day + 20 + days) * 1440  # over both changes of the clocks in March
    times = ORIGIN + np.arange(since - 1440, until + 1440) * MINUTE_MS
    times = times[sessions.mask(times)]
    candles = Candles.from_rows([(time, 1.0, 1.0, 1.0, 1.0, 1.0) for time in times.tolist()])
    source: Any = Shelf(candles, kind, intervals=None, page_limit=page if declared else None, cap=None)
    source.sessions = sessions
    expected = in_range(candles, since, until)
    try:
        assert fetched(source, page=page, since=since, until=until, allow_gaps=False) == expected
    except NotEnoughData:  # a source that counts shows that its candles begin after the range
        assert not len(expected)
    spans = sessions.open_ranges(ORIGIN + since * MINUTE_MS, ORIGIN + until * MINUTE_MS)
    assert len(source.asked) <= sum(-(-(end - first) // MINUTE_MS // page) for first, end in spans) + len(spans)
