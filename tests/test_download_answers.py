"""Answers that a download must not take for history: other candles, others' questions, none; each call has an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quick import first_quick

import bknb
from bknb.config import Settings
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore

MINUTE = 60_000
T0 = 1_704_067_200_000
END = T0 + 3000 * MINUTE
NOW = END + 10 * 24 * 60 * MINUTE
PATIENT = Settings(get_candles_retry_count=2, get_candles_retry_delay_ms=1, get_candles_timeout_seconds=1)


class Market:
    """A market without holes, whose answer to each question a function may change."""

    name = "mine"
    intervals = ("1m",)
    page_limit = 500

    def __init__(self, answer: Callable[[int, int, int], list[int]]) -> None:
        self.answer = answer
        self.asked = 0

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> bknb.Candles:
        self.asked += 1
        times = [at for at in self.answer(self.asked, since, limit) if T0 <= at < END]
        return bknb.Candles.from_rows([(at, 100.0, 101.0, 99.0, 100.0, 5.0) for at in times])

    def format_price(self, symbol: str, price: float) -> str:
        return str(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        return str(quantity)


def every(step: int, since: int, limit: int) -> list[int]:
    first = -(-since // step) * step
    return [first + k * step for k in range(limit)]


def downloaded(market: Any, folder: Path) -> bknb.exchanges.Downloaded:
    source = StoredSource(market, CandleStore(folder), now=lambda: NOW, settings=PATIENT)
    return bknb.download("AAA", exchange=source, start=T0, end=END, warmup_minutes=0, progress=False)


def test_an_answer_of_longer_candles_is_asked_for_again(tmp_path: Path) -> None:
    market = Market(lambda asked, since, limit: every(5 * MINUTE if asked == 2 else MINUTE, since, limit))
    done = downloaded(market, tmp_path)
    assert (done.series[0].candles, done.series[0].absent) == (3000, ())


def test_a_source_that_answers_longer_candles_is_refused_with_their_length(tmp_path: Path) -> None:
    market = Market(lambda asked, since, limit: every(5 * MINUTE, since, limit))
    with pytest.raises(bknb.BadCandle, match="5 minutes behind the one before it\nthey are 5m candles"):
        downloaded(market, tmp_path)


def test_a_source_that_takes_since_for_the_end_proves_nothing(tmp_path: Path) -> None:
    def before(asked: int, since: int, limit: int) -> list[int]:
        return every(MINUTE, max(T0, since - limit * MINUTE), limit)

    series = downloaded(Market(before), tmp_path).series[0]
    assert series.absent == ()
    assert series.candles + sum(end - first for first, end in series.missing) // MINUTE == 3000


def test_a_source_that_answers_the_newest_of_a_range_is_downloaded_whole(tmp_path: Path) -> None:
    market = Market(lambda asked, since, limit: every(MINUTE, since, limit)[-200:])
    series = downloaded(market, tmp_path).series[0]
    assert (series.candles, series.absent) == (3000, ())
    assert market.asked <= 100


@pytest.mark.slow
def test_what_a_source_that_answers_few_does_not_show_is_not_absent(tmp_path: Path) -> None:
    there = {T0 + minute * MINUTE for minute in (1229, *range(1413, 3000))}  # one minute in a hole of a day

    def few(asked: int, since: int, limit: int) -> list[int]:
        return [at for at in every(MINUTE, since, min(limit, 5)) if at in there]

    series = downloaded(Market(few), tmp_path).series[0]
    assert series.candles >= 1587
    assert not [at for at in there for first, end in series.absent if first <= at < end]


def test_a_call_that_fails_once_is_made_again(tmp_path: Path) -> None:
    def once(asked: int, since: int, limit: int) -> list[int]:
        if asked == 2:
            raise ConnectionError("reset")
        return every(MINUTE, since, limit)

    assert downloaded(Market(once), tmp_path).series[0].candles == 3000


def test_a_source_that_raises_is_no_answer(tmp_path: Path) -> None:
    def never(asked: int, since: int, limit: int) -> list[int]:
        raise ConnectionError("reset \ud800")

    with pytest.raises(bknb.DataError, match=r"no answer for .* after 2 attempts\n.*ConnectionError: reset \\ud800"):
        downloaded(Market(never), tmp_path)


def blocks(symbol: str, interval: str, since: int, limit: int) -> Any:
    time.sleep(30)


async def waits(symbol: str, interval: str, since: int, limit: int) -> Any:
    await asyncio.sleep(30)


@pytest.mark.slow
@pytest.mark.parametrize("get_candles", [blocks, waits])
def test_a_download_from_a_source_that_never_answers_ends(get_candles: Any, tmp_path: Path) -> None:
    bknb.add_exchange("hangs", get_candles=get_candles, intervals=["1m"])
    with pytest.raises(bknb.DataError, match="it did not answer within 1 s"):
        downloaded(bknb.get_exchange("hangs").source, tmp_path)


@pytest.mark.parametrize("symbol", ["\ud800", "a\0b"])
def test_a_symbol_that_cannot_be_written_is_refused_by_name(symbol: str, tmp_path: Path) -> None:
    with pytest.raises(bknb.UsageError, match="cannot be a symbol"):
        bknb.download(symbol, exchange="demo", start=T0, end=END, folder=tmp_path, progress=False)


class OneHigh(Market):
    """A market whose candle of one minute is answered with a price of 1e30, so many times."""

    def __init__(self, minute: int, times: int) -> None:
        super().__init__(lambda asked, since, limit: every(MINUTE, since, limit))
        self.high, self.times = T0 + minute * MINUTE, times

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> bknb.Candles:
        good = await super().get_candles(symbol, interval, since, limit)
        if self.times <= 0 or self.high not in good.timestamp:
            return good
        self.times -= 1
        rows = zip(good.timestamp.tolist(), good.close.tolist(), strict=True)
        prices = [(t, 1e30 if t == self.high else price) for t, price in rows]
        return bknb.Candles.from_rows([(t, p, p, p, p, 5.0) for t, p in prices])


@pytest.mark.parametrize(
    "minute", first_quick([0, 250, 499, 500, 2999], kept=2)
)  # within a page, and where two of them meet
def test_a_price_of_1e30_is_asked_for_again_and_never_stored(tmp_path: Path, minute: int) -> None:
    assert downloaded(OneHigh(minute, 1), tmp_path / "once").series[0].candles == 3000
    with pytest.raises(bknb.BadCandle, match="anomalously high"):
        downloaded(OneHigh(minute, 10), tmp_path / "always")


@pytest.mark.slow
def test_a_frame_that_an_exchange_does_not_answer_is_not_blamed_on_the_frame_alone(tmp_path: Path) -> None:
    newest = Market(lambda asked, since, limit: every(MINUTE, END - limit * MINUTE, limit))
    source = StoredSource(newest, CandleStore(tmp_path), now=lambda: NOW, settings=PATIENT)
    with pytest.raises(bknb.NotEnoughData, match=r"is not known(.|\n)*see that the exchange answers from `since` on"):
        bknb.backtest("AAA", strategy=lambda: None, exchange=source, frame=(T0, T0 + 600 * MINUTE))
