"""Bars that count from the open of their market, from functions and from a candle store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from bar_loop import Bar
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import need_packages
from quick import first_quick
from test_base_bars import FREE, answer, frame_of, signal_of
from test_half_past_bars import HOUR, MARKETS, MINUTE, Market, bars_of, slot_of

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.exchanges import from_frame, from_store, in_sessions, stored
from bknb.history.candle_store import CandleStore
from bknb.history.partition import SeriesName, encoded
from bknb.market.candles import Candles
from bknb.market.shifted_bar_grid import open_grid

need_packages("pyarrow")

BREAK = Market("Asia/Shanghai", (("09:30", "12:00"), ("12:20", "15:30")), "2024-02-05", {"2024-02-16": "14:00"})
EVERY = {**MARKETS, "a break shorter than a bar": BREAK}
DAY = 24 * HOUR


class Asked(NamedTuple):
    """A source over bars, and the questions it was asked."""

    source: Any
    questions: list[tuple[int, int]]


def asked(bars: Iterable[Bar], market: Market, base: str, *, by_count: bool = True, name: str = "mine") -> Asked:
    """A function with these bars: it answers the next ``limit`` of them, or those of the next ``limit`` intervals."""
    rows, step, questions = [tuple(bar) for bar in bars], INTERVAL_MS[base], list[tuple[int, int]]()

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        assert interval == base
        questions.append((since, limit))
        later = [row for row in rows if row[0] >= since]
        return later[:limit] if by_count else [row for row in later if row[0] < since + limit * step]

    function = in_sessions(get_candles, market.sessions, from_open=True)
    return Asked(bknb.add_exchange(name, get_candles=function, intervals=[base]).source, questions)


def traded(exchange: Any, market: Market, seed: int, base: str, interval: str) -> pd.DataFrame:
    """The trades of a random strategy, which looks at longer candles as well."""
    spans, step = market.spans(28), INTERVAL_MS[base]

    def get_signal(ctx: Any) -> bknb.Signal | None:
        ctx.candles("4h", 2)
        ctx.candles("1d", 1)
        return signal_of(answer(seed, ctx.when_ms, ctx.price, step))

    result = bknb.backtest(
        "X", strategy=get_signal, exchange=exchange, frame=(spans[8][0], spans[-3][1]), settings=FREE, interval=interval
    )
    assert not result.errors
    return result.trades.drop(columns="exchange", errors="ignore")


# --- the grid ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=60)
@given(
    name=st.sampled_from(list(EVERY)),
    step=st.sampled_from([30, 60, 120, 240]),
    moments=st.lists(st.integers(0, 20 * 24 * 60), min_size=1, max_size=6),
)
def test_the_slots_of_a_market_are_those_of_a_plain_construction(name: str, step: int, moments: list[int]) -> None:
    market, length = EVERY[name], step * MINUTE
    spans, grid = market.spans(28), open_grid(EVERY[name].sessions, HOUR)
    times = np.array([spans[1][0] + moment * MINUTE for moment in moments])
    expected = [slot_of(spans, int(when), length) for when in times]
    assert [(grid.floor(int(when), length), grid.after(int(when), length)) for when in times] == expected
    assert list(zip(grid.starts(times, length).tolist(), grid.ends(times, length).tolist(), strict=True)) == expected
    bars = [(t, min(t + length, closes)) for opens, closes in spans for t in range(opens, closes, length)]
    first, end = spans[1][0], spans[-2][1]
    inside = [(opens, closes) for opens, closes in bars if first <= opens < end]
    parts = grid.open_part([(first, end)], length)
    assert sum(last - begin for begin, last in parts) == sum(closes - opens for opens, closes in inside)
    assert grid.closes_between(first, end, length).tolist() == [closes for _, closes in inside]
    when = int(times[0])
    over = [opens for opens, closes in bars if closes <= when]
    if len(over) > 3:
        assert grid.reach_back(when, length, 3, market.sessions) == over[-3]
    hole = [opens for opens, _ in inside[2:5]]
    there = np.array([opens for opens, _ in inside if opens not in hole])
    assert grid.missing(there, length).tolist() == hole


def test_a_grid_that_was_asked_about_years_apart_is_the_same() -> None:
    sessions = MARKETS["new york"].sessions
    far = open_grid(sessions, HOUR)
    moments = [at * DAY + 15 * HOUR for at in (19_800, 16_000, 12_000, 21_900, 19_801)]
    found = [(far.floor(when, HOUR), far.after(when, 4 * HOUR)) for when in moments]
    open_grid.cache_clear()
    assert [(open_grid(sessions, HOUR).floor(when, HOUR), open_grid(sessions, HOUR).after(when, 4 * HOUR))
            for when in reversed(moments)] == found[::-1]  # fmt: skip
    assert far.ceil(2**60, HOUR) >= 2**60  # never


# --- functions and stores ------------------------------------------------------------------------------------------

WORLDS = [
    ("new york", "1h", "2h", True),
    ("a break shorter than a bar", "1h", "1h", False),
    ("spring", "1h", "4h", False),
    ("mumbai", "2h", "2h", True),
    ("two parts", "1h", "1h", False),
    ("spring", "1h", "1h", True),
    ("a break shorter than a bar", "1h", "2h", True),
]


@pytest.mark.parametrize(("name", "base", "interval", "by_count"), first_quick(WORLDS))
def test_a_function_and_its_store_have_the_trades_of_the_table(
    name: str,
    base: str,
    interval: str,
    by_count: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    market = EVERY[name]
    bars, spans = bars_of(market, INTERVAL_MS[base], 3), market.spans(28)
    source, questions = asked(bars, market, base, by_count=by_count)
    expected = traded(from_frame(frame_of(bars), symbol="X", sessions=market.sessions), market, 3, base, interval)
    assert len(expected) > 3
    pd.testing.assert_frame_equal(traded(source, market, 3, base, interval), expected)
    kept = stored(source, folder=tmp_path)
    span: dict[str, Any] = {"exchange": kept, "start": spans[1][0], "end": spans[-2][1]}
    done = bknb.download("X", warmup_minutes=0, progress=False, **span)
    assert done.complete
    assert done.series[0].candles == sum(spans[1][0] <= bar.t < spans[-2][1] for bar in bars)
    assert not done.series[0].absent
    questions.clear()
    pd.testing.assert_frame_equal(traded(kept, market, 3, base, interval), expected)
    inside = [since for since, _ in questions if spans[1][0] <= since < spans[-3][1]]
    assert len(inside) < 2  # a candle that is known, beside what is asked of before the data
    assert bknb.audit("X", **span).sound
    shelf = in_sessions(from_store(tmp_path), market.sessions, from_open=True)
    pd.testing.assert_frame_equal(traded(shelf, market, 3, base, interval), expected)


def of_weeks(market: Market, *, without: Callable[[Bar, Sequence[tuple[int, int]]], bool]) -> list[Bar]:
    spans = market.spans(28)
    return [bar for bar in bars_of(market, HOUR, 5) if not without(bar, spans)]


def test_bars_that_are_not_there_are_marked_as_absent_by_their_own_length(tmp_path: Path) -> None:
    """A hole over the short last bar of a day and the first one of the next is one hole, of one hour and a half."""
    market = MARKETS["new york"]
    spans = market.spans(28)
    gone = {spans[6][0] + 6 * HOUR, spans[7][0], spans[9][0] + 2 * HOUR}
    bars = of_weeks(market, without=lambda bar, _: bar.t in gone)
    source, questions = asked(bars, market, "1h")
    kept = stored(source, folder=tmp_path)
    span: dict[str, Any] = {"exchange": kept, "start": spans[4][0], "end": spans[-4][1]}
    done = bknb.download("X", warmup_minutes=0, progress=False, **span)
    assert done.complete
    holes = [(spans[6][0] + 6 * HOUR, spans[6][1]), (spans[7][0], spans[7][0] + HOUR)]
    holes.append((spans[9][0] + 2 * HOUR, spans[9][0] + 3 * HOUR))
    assert list(done.series[0].absent) == holes
    assert [each.when for each in bknb.audit("X", **span).findings if each.kind == "absent"] == [
        first for first, _ in holes
    ]
    before = len(questions)
    assert bknb.download("X", warmup_minutes=0, progress=False, **span).requests == 0
    assert len(questions) == before
    with pytest.raises(bknb.GapError, match="3 candles are missing"):
        bknb.backtest("X", strategy=lambda: None, exchange=kept, frame=(spans[5][0], spans[-5][1]))
    whole, _ = asked(bars_of(market, HOUR, 5), market, "1h")
    late = bknb.download("X", warmup_minutes=0, progress=False, again="absent", **{**span, "exchange": stored(
        whole, folder=tmp_path)})  # fmt: skip
    assert (late.series[0].added, late.series[0].absent) == (3, ())


class Present:
    """The present of a store."""

    def __init__(self, when: int) -> None:
        self.when = when

    def __call__(self) -> int:
        return self.when


@pytest.mark.parametrize(
    ("minutes", "newest"),
    [(59, None), (60, 0), (150, 1), (389, 5), (390, 6), (395, 6), (24 * 60 + 59, 6)],
)
def test_a_bar_is_there_once_it_has_closed_the_last_one_with_its_session(
    tmp_path: Path, minutes: int, newest: int | None
) -> None:
    from bknb.history.cached_source import StoredSource

    market = MARKETS["new york"]
    spans = market.spans(28)
    source, _ = asked(bars_of(market, HOUR, 5), market, "1h")
    kept = StoredSource(source, CandleStore(tmp_path), now=Present(spans[6][0] + minutes * MINUTE), settle_minutes=3)
    count = 0 if newest is None else newest + 1
    for _ in range(2):  # the second time what is settled comes from the store
        candles = asyncio.run(kept.get_candles("X", "1h", spans[6][0], 24))
        assert candles.timestamp.tolist() == [spans[6][0] + at * HOUR for at in range(count)]
    settled = [spans[6][0] + at * HOUR for at in range(7) if min((at + 1) * 60, 390) <= minutes - 3]
    assert kept.store.read(SeriesName(kept.name, "X", "1h")).timestamp.tolist() == settled


def versions(folder: Path) -> set[int]:
    """The versions of the labels of all partitions."""
    from bknb.history.partition import arrow
    from bknb.stores.sealed_values import unseal

    _, parquet = arrow()
    found = set()
    for path in folder.rglob("*.parquet"):
        series = SeriesName(*path.relative_to(folder).parts[:3])
        label = (parquet.read_metadata(path).metadata or {})[b"bknb.candles"]
        found.add(msgspec.json.decode(unseal(label, "candles", series.key))["version"])
    return found


def test_a_store_does_not_mix_bars_that_count_from_different_moments(tmp_path: Path) -> None:
    market, series = MARKETS["new york"], SeriesName("mine", "X", "1h")
    spans = market.spans(28)
    store, grid = CandleStore(tmp_path), open_grid(MARKETS["new york"].sessions, HOUR)
    halves = Candles.from_rows([tuple(bar) for bar in bars_of(market, HOUR, 5)][:20])
    hours = Candles.from_rows([(t - t % HOUR, 1.0, 1.0, 1.0, 1.0, 1.0) for t in halves.timestamp.tolist()])
    now = spans[-1][1]
    store.put(series, halves, now=now, grid=grid)
    assert versions(tmp_path) == {3}
    other = tmp_path / "other"
    CandleStore(other).put(series, hours, now=now)
    assert versions(other) == {2}
    with pytest.raises(bknb.UsageError, match="keep these in another folder"):
        store.put(series, hours, now=now)
    with pytest.raises(bknb.UsageError, match="keep these in another folder"):
        CandleStore(other).put(series, halves, now=now, grid=grid)
    with pytest.raises(bknb.BadCandle, match="nothing was stored"):
        CandleStore(tmp_path / "third").put(series, hours, now=now, grid=grid)


@pytest.mark.parametrize("from_open", [True, False])
def test_bars_that_come_where_minutes_are_asked_for_are_not_stored(tmp_path: Path, from_open: bool) -> None:  # noqa: FBT001
    """A function in trading hours of which it is not said how long its bars are: nights lie between its hours."""
    market = MARKETS["new york"]
    rows, spans = [tuple(bar) for bar in bars_of(market, HOUR, 5)], market.spans(28)

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        return [row for row in rows if row[0] >= since][:limit]

    source = in_sessions(get_candles, market.sessions, from_open=from_open)
    with pytest.raises(bknb.errors.BadCandle, match="got candles spaced 1h"):
        asyncio.run(stored(source, folder=tmp_path).get_candles("X", "1m", spans[5][0], 600))
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_partition_of_bars_at_multiples_of_their_length_has_the_bytes_it_had() -> None:
    hours = Candles.from_rows([(at * HOUR, 1.0, 2.0, 0.5, 1.5, 3.0) for at in range(5)])
    series = SeriesName("mine", "X", "1h")
    assert b'"version":2' in encoded(series, hours, ((0, 5 * HOUR),))
    assert b"from_open" not in encoded(series, hours, ((0, 5 * HOUR),))


# --- what is refused -----------------------------------------------------------------------------------------------


def test_what_from_open_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    week = MARKETS["new york"].sessions

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        first = -(-since // HOUR) * HOUR
        return [(first + at * HOUR, 1.0, 1.0, 1.0, 1.0, 1.0) for at in range(limit)]

    with pytest.raises(bknb.UsageError, match=r"say so: bknb\.add_exchange\(\.\.\., intervals=\['1h'\]\)"):
        bknb.add_exchange("mine", get_candles=in_sessions(get_candles, week, from_open=True))
    with pytest.raises(bknb.UsageError, match="leave it out: longer candles are made of the minutes"):
        in_sessions(bknb.exchanges.demo(), week, from_open=True)
    kept = stored(bknb.exchanges.demo(), folder=tmp_path)
    with pytest.raises(bknb.UsageError, match=r"put the store around it: bknb\.exchanges\.stored\(in_sessions"):
        in_sessions(kept, week, from_open=True)
    bknb.add_exchange("mine", get_candles=in_sessions(get_candles, week, from_open=True), intervals=["1h"])
    with pytest.raises(
        bknb.BadCandle, match="where bars open at multiples of their length in UTC, leave from_open out"
    ):
        bknb.backtest("X", strategy=lambda: None, exchange="mine", frame=("2024-11-25", "2024-11-27"))


def test_longer_candles_are_made_of_the_bars_and_not_asked_for() -> None:
    market = MARKETS["new york"]
    spans, bars = market.spans(28), bars_of(MARKETS["new york"], HOUR, 5)

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        assert interval == "1h"
        return [tuple(bar) for bar in bars if bar.t >= since][:limit]

    function = in_sessions(get_candles, market.sessions, from_open=True)
    mine = bknb.add_exchange("mine", get_candles=function, intervals=["1h", "4h", "1d"])
    seen: list[list[int]] = []
    bknb.backtest(
        "X",
        strategy=lambda ctx: seen.append(ctx.candles("4h", 2).timestamp.tolist()),
        exchange=mine,
        frame=(spans[6][0], spans[6][1]),
    )
    assert seen[4] == [spans[5][0] + 4 * HOUR, spans[6][0]]
