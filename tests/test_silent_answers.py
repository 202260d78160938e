"""A source that answers fewer than it declares, and now and then nothing: with gaps allowed nothing is lost untold."""

from __future__ import annotations

import asyncio
import random
from typing import Any, NamedTuple

import numpy as np
import pytest
from quick import first_quick

from bknb.config import Settings
from bknb.domain.interval import INTERVAL_MS, MINUTE_MS
from bknb.market.candles import Candles
from bknb.market.feed import Feed
from bknb.market.resample import resample
from bknb.market.sessions import Sessions

ORIGIN = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HOURS = Sessions.weekly("UTC", {"mon-sun": "00:00-01:00, 02:00-12:00"})
NOTHING = "it answered nothing where"


class World(NamedTuple):
    """Candles in ranges of minutes, and how their source answers for the minutes up to ``until``."""

    kind: str  # "range": of the next intervals; "newest": the newest of these; "count": the next ones there are
    cap: int  # it answers no more
    parts: tuple[tuple[int, int], ...]
    until: int
    page: int
    page_limit: int | None = None
    intervals: tuple[str, ...] | None = ("1m",)
    silent: frozenset[int] = frozenset()  # the questions, counted from 1, that it answers with nothing
    sessions: Sessions | None = None

    def candles(self) -> Candles:
        times = ORIGIN + np.concatenate([np.arange(first, end) for first, end in self.parts]) * MINUTE_MS
        times = times if self.sessions is None else times[self.sessions.mask(times)]
        one = np.ones(len(times))
        return Candles.from_columns(timestamp=times, open=one, high=one, low=one, close=one, volume=one)

    def expected(self) -> list[int]:
        times = self.candles().timestamp
        return ((times[(times >= ORIGIN) & (times < ORIGIN + self.until * MINUTE_MS)] - ORIGIN) // MINUTE_MS).tolist()


class Capped:
    """The source of a world."""

    name = "capped"

    def __init__(self, world: World) -> None:
        minutes = world.candles()
        self.world, self.page_limit, self.intervals = world, world.page_limit, world.intervals
        if world.sessions is not None:
            self.sessions = world.sessions
        self.asked: list[tuple[str, int, int]] = []
        self.series = {"1m": minutes} | {
            name: resample(minutes, name, allow_gaps=True, since=0, until=2 * ORIGIN) for name in ("1h", "1d")
        }

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        self.asked.append((interval, (since - ORIGIN) // MINUTE_MS, limit))
        candles, kind, most = self.series[interval], self.world.kind, min(limit, self.world.cap)
        end = since + (limit if kind == "newest" else most) * INTERVAL_MS[interval]
        first, last = np.searchsorted(candles.timestamp, [since, end]).tolist()
        first = max(first, last - most) if kind == "newest" else first
        last = first + most if kind == "count" else last
        return Candles.empty() if len(self.asked) in self.world.silent else candles[first:last].copy()

    def format_price(self, symbol: str, price: float) -> str:
        return str(price)

    format_quantity = format_price


def fetched(world: World) -> tuple[list[int], list[str], int]:
    """The minutes that came, what was told, and how often the source was asked."""

    async def sleep(seconds: float) -> None:
        pass

    told: list[str] = []
    source: Any = Capped(world)
    settings = Settings(max_candles_per_request=world.page)
    feed = Feed(source, settings, allow_gaps=True, warn=told.append, sleep=sleep)
    came = asyncio.run(feed.fetch("X", "1m", ORIGIN, ORIGIN + world.until * MINUTE_MS))
    return ((came.timestamp - ORIGIN) // MINUTE_MS).tolist(), told, len(source.asked)


def random_world(seed: int) -> World:
    draw = random.Random(seed)  # noqa: S311 -- worlds, no secrets
    cap = draw.choice([1, 2, 5, 10, 50, 100, draw.randint(1, 1000), draw.randint(20, 300)])
    until = min(draw.choice([300, 1500, 3000]), 100 * cap)
    parts, at = [], draw.choice([0, -60, draw.randint(0, until // 4)])
    while at < until + 100:
        count = draw.choice([draw.randint(1, 20), draw.randint(1, max(2, until // 3)), draw.randint(1, 2 * cap)])
        parts.append((at, at + count))
        at += count + draw.choice([draw.randint(1, 30), draw.randint(1, max(2, until // 6)), draw.randint(1, 5)])
    declared = draw.choice(["larger", "absent", "right", "intervals alone"])
    page = cap if declared == "right" else draw.choice([cap, min(2 * cap, 1000), draw.randint(cap, 1000), 1000])
    intervals = draw.choice([("1m",), ("1m", "1h"), ("1m", "1h", "1d")])
    return World(
        draw.choice(["range", "count", "newest"]),
        cap,
        tuple(parts),
        until,
        page,
        page_limit=page if declared in {"larger", "right"} else None,
        intervals=None if declared == "absent" else intervals,
        silent=frozenset(
            draw.choice([1, 2, draw.randint(1, 8), draw.randint(1, 40)]) for _ in range(draw.choice([1, 3]))
        ),
        sessions=draw.choice([None, None, None, HOURS]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("page_limit", first_quick([100, None]))
def test_a_source_whose_answers_reach_far_and_hold_few_loses_no_page(page_limit: int | None) -> None:
    parts = ((0, 4), (33, 46), (542, 1811), (1812, 2306))
    world = World("count", 50, parts, 2316, page=100, page_limit=page_limit)
    whole, _, questions = fetched(world)
    assert whole == world.expected()
    for silent in range(1, questions + 1):
        came, told, asked = fetched(world._replace(silent=frozenset({silent})))
        assert came == whole or (silent == 1 and NOTHING in told[-1])  # before the first candle data may begin
        assert asked <= questions + 12


def test_a_page_behind_closed_hours_that_is_not_answered_is_asked_for_again() -> None:
    world = World("count", 400, ((0, 720),), 720, page=400, page_limit=400, sessions=HOURS, silent=frozenset({2}))
    assert fetched(world)[0] == world.expected()


def test_an_answer_of_nothing_does_not_show_that_there_is_nothing_before_the_newest() -> None:
    world = World("newest", 50, ((0, 1500),), 1500, page=100, page_limit=100)
    for silent in range(1, 9):
        assert fetched(world._replace(silent=frozenset({silent})))[0] == world.expected()


def test_longer_candles_that_are_not_answered_hide_nothing() -> None:
    world = World("range", 300, ((0, 100), (4400, 4700)), 10_000, 300, 300, ("1m", "1d"))
    whole, told, questions = fetched(world)
    assert whole == world.expected()
    for silent in range(1, questions + 1):
        came, told, asked = fetched(world._replace(silent=frozenset({silent})))
        assert came == whole or (silent == 1 and NOTHING in told[0])
        assert asked <= questions + 30


def test_what_rests_on_answers_of_nothing_is_told_with_its_ranges() -> None:
    world = World("range", 1000, ((0, 2000), (5020, 6000)), 6000, 1000, 1000)
    (told,) = fetched(world)[1]
    assert told == (
        "X 1m from 'capped': it answered nothing where 2000 candles may be: "
        "2024-01-03 01:59 UTC .. 2024-01-04 11:18 UTC (2000)\n"
        "they count as missing, as gaps are allowed; an exchange that is out of order for a moment answers so, too"
    )
    assert fetched(world._replace(parts=((0, 2000), (2500, 6000))))[1] == []  # an answer with candles shows the hole


@pytest.mark.parametrize(
    "seeds", [range(5), pytest.param(range(5, 110), marks=pytest.mark.slow)], ids=lambda seeds: f"{len(seeds)} worlds"
)
def test_with_gaps_allowed_nothing_is_lost_without_a_word(seeds: range) -> None:
    lost_untold = []
    for seed in seeds:
        world = random_world(seed)
        expected = world.expected()
        if not expected:
            continue
        came, told, _ = fetched(world)
        if came != expected and not any(NOTHING in text for text in told):
            lost_untold.append(seed)
    assert lost_untold == []
