"""An exchange that ignores ``since`` for a while: nothing that it has is marked absent, and all is there afterwards."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import need_packages

import bknb
from bknb.domain.retry_pauses import Patience
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.history.evidence_of_missing_candles import Evidence
from bknb.history.partition import SeriesName
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.testing.fake_binance import LocalBinance, Market

need_packages("ccxt", "pyarrow")

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
SERIES = SeriesName("mine", "BTCUSDT", "1m")


def at(minute: int) -> int:
    return START + minute * MINUTE


@cache
def everything() -> Candles:
    return asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", at(-1000), 4000))


class Ignoring:
    """A source that ignores ``since`` while ``is_ill``: it answers its ``held`` newest or oldest candles.

    Whoever asks it leaves out what opens before ``since`` (``leaves_out``), and keeps the first or the last ``limit``.
    """

    name = "mine"
    intervals: tuple[str, ...] | None = ("1m",)
    page_limit: int | None

    def __init__(self, first: int, end: int, holes: list[tuple[int, int]], *, page: int) -> None:
        times = np.arange(at(first), at(end), MINUTE)
        for begin, length in holes:
            times = times[(times < at(begin)) | (times >= at(begin + length))]
        self.candles = everything()
        self.times, self.page_limit = times, page
        self.ill: list[bool] = []  # for each question, then again from the first on
        self.asked = 0
        self.held, self.which, self.cut, self.leaves_out, self.jumps = page, "newest", "first", True, True

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        limit, times, asked = min(limit, self.page_limit), self.times, self.asked
        self.asked += 1
        if self.ill and self.ill[asked % len(self.ill)]:
            times = times[-self.held :] if self.which == "newest" else times[: self.held]
            times = times[times >= since] if self.leaves_out else times
            times = times[:limit] if self.cut == "first" else times[-limit:]
        else:
            times = times[times >= since]
            times = times[:limit] if self.jumps else times[times < since + limit * MINUTE]
        return self.candles.take(np.isin(self.candles.timestamp, times))

    def format_price(self, symbol: str, price: float) -> str:
        return f"{symbol} {price}"

    format_quantity = format_price


def filled(source: Ignoring, folder: Path | str, first: int, end: int, *, now: int) -> StoredSource:
    stored = StoredSource(source, CandleStore(folder), now=lambda: at(now))
    asyncio.run(stored.fill(SERIES, "BTCUSDT", at(first), at(end)))
    return stored


def test_the_newest_candles_cut_to_few_are_no_beginning_of_the_data(tmp_path: Path) -> None:
    """The range is shorter than a page and than what is answered: each answer ends before the newest candle."""
    source = Ignoring(-500, 2400, [], page=1000)
    source.held, source.ill = 500, [True]
    stored = filled(source, tmp_path, 500, 951, now=2400)
    assert stored.store.absent(SERIES, at(500), at(951)) == ()
    source.ill = []
    assert len(asyncio.run(stored.get_candles("BTCUSDT", "1m", at(500), 451))) == 451


def test_where_the_data_begins_is_proven_within_as_many_questions(tmp_path: Path) -> None:
    source = Ignoring(700, 2900, [], page=1000)
    stored = filled(source, tmp_path, 500, 951, now=2900)
    assert stored.store.absent(SERIES, at(500), at(951)) == ((at(500), at(700)),)
    assert source.asked <= 4


def test_more_candles_than_a_page_must_have_been_shown() -> None:
    evidence, times = Evidence(step=10, page=5), np.arange(70, 200, 10)
    evidence.answered(0, 3, times[:3])
    evidence.answered(-10, 2, times[:2])
    evidence.answered(100, 5, times[3:5])  # with these it is five: the newest of an exchange that ignores the question
    assert evidence.proven_until((0, 70), anchored=False, later=True) == 0
    evidence.answered(100, 5, times[3:6])
    assert evidence.proven_until((0, 70), anchored=False, later=True) == 70


def test_an_answer_of_more_than_was_asked_for_reaches_as_far_as_it_does() -> None:
    evidence, times = Evidence(step=10, page=5), np.arange(70, 200, 10)
    evidence.answered(0, 5, times)
    evidence.answered(-10, 3, times)
    evidence.answered(200, 5, times[:0])
    assert evidence.proven_until((0, 70), anchored=False, later=True) == 0
    evidence.answered(200, 5, np.array([200]))
    assert evidence.proven_until((0, 70), anchored=False, later=True) == 70


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data())
def test_nothing_it_has_is_absent_and_everything_is_there_when_it_is_well(data: Any) -> None:
    draw = data.draw
    now, page = draw(st.integers(300, 1500)), draw(st.sampled_from([50, 100, 300]))
    holes = draw(st.lists(st.tuples(st.integers(0, now), st.sampled_from([1, 5, 60, 400])), max_size=3))
    source = Ignoring(draw(st.integers(-400, now - 1)), now, holes, page=page)
    source.held = draw(st.integers(5, page))
    source.which, source.cut = draw(st.sampled_from(["newest", "oldest"])), draw(st.sampled_from(["first", "last"]))
    # What begins with the oldest candles and is cut to the question cannot be told from an honest answer.
    source.leaves_out = source.which == "newest" and draw(st.booleans())
    source.jumps = draw(st.booleans())
    source.ill = draw(st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=8))
    until = draw(st.integers(50, now))
    since = draw(st.integers(max(0, until - 600), until - 20))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            stored = filled(source, folder, since, until, now=now)
            for first, end in stored.store.absent(SERIES, at(since), at(until)):
                assert not ((source.times >= first) & (source.times < end)).any()
        source.ill = []
        got = asyncio.run(stored.get_candles("BTCUSDT", "1m", at(since), until - since))
    there = source.times[(source.times >= at(since)) & (source.times < at(until))]
    assert got.timestamp.tolist() == there.tolist()


# --- through ccxt ---------------------------------------------------------------------------------------------------


class MoreThanAsked(LocalBinance):
    """It answers its 1440 newest, or its 720 oldest minutes, whatever it is asked, while ``ill`` says so."""

    ill: str | None = None

    def _rows(self, market: Market, query: dict[str, str]) -> list[list[Any]]:
        if self.ill is None or query["interval"] != "1m":
            return super()._rows(market, query)
        first = self.now() - 1440 * MINUTE if self.ill == "newest" else at(0)
        count = 1440 if self.ill == "newest" else 720
        rows: list[list[Any]] = []
        while len(rows) < count:
            more = {"startTime": str(first + len(rows) * MINUTE), "limit": str(min(500, count - len(rows)))}
            rows += super()._rows(market, {**query, **more})
        return rows


@pytest.mark.slow
@pytest.mark.parametrize("ill", ["newest", "oldest"])
def test_of_what_ccxt_leaves_out_nothing_is_absent(ill: str, tmp_path: Path) -> None:
    """ccxt cuts each answer to what was asked for; it then looks like one that begins late, or ends early."""
    markets = [Market(base="BTC", listed_at=at(0))]
    with MoreThanAsked(DemoSource(), now=lambda: at(4000), markets=markets) as server:
        market = bknb.exchanges.ccxt(
            "binance",
            cache=tmp_path,
            intervals=("1m",),  # longer candles would show that there is more
            config={**server.ccxt_config, "enableRateLimit": False},
            patience=Patience(attempts=1),
        )
        parts = [(3000, 3060), (100, 2900)] if ill == "oldest" else [(2300, 2700)]
        for n, (first, end) in enumerate(parts):
            server.ill = ill if n == len(parts) - 1 else None
            download: dict[str, Any] = {"start": at(first), "end": at(end), "warmup_minutes": 0, "progress": False}
            done = bknb.download("BTCUSDT", exchange=market, **download)
        assert done.series[0].absent == ()
        assert not done.complete
        server.ill = None
        assert bknb.download("BTCUSDT", exchange=market, **download).complete


def test_a_gap_in_what_is_stored_names_how_to_ask_for_it_again(tmp_path: Path) -> None:
    source = Ignoring(0, 2000, [(500, 30)], page=500)
    stored = StoredSource(source, CandleStore(tmp_path), now=lambda: at(2000))
    with pytest.raises(bknb.GapError, match=r'asked for again by bknb\.download\(\.\.\., again="absent"\)'):
        bknb.backtest("BTCUSDT", strategy=lambda: None, exchange=stored, frame=(at(300), at(800)))
    with pytest.raises(bknb.GapError) as told:
        bknb.backtest("BTCUSDT", strategy=lambda: None, exchange=source, frame=(at(300), at(800)))
    assert "again=" not in str(told.value)
