"""Days and hours filled up to minutes are found: repeated, standing still, or along a line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.config import Settings
from bknb.exchanges.dataframe_source import FrameSource
from bknb.exchanges.from_csv_frame_and_parquet import from_frame
from bknb.market import stretched_bars
from bknb.market.candles import COLUMNS, Candles
from bknb.market.demo import DemoSource
from bknb.market.feed import Feed
from bknb.market.source_answers import read_answer
from bknb.market.stretched_bars import longer_part, stretched

START = 1_704_067_200_000
MINUTE = 60_000


def bars(freq: str, count: int) -> pd.DataFrame:
    """A random walk in longer bars."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opened = np.r_[100, close[:-1]]
    spread = 1 + np.abs(rng.normal(0, 0.003, count))
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * spread,
            "low": np.minimum(opened, close) / spread,
            "close": close,
            "volume": rng.uniform(1, 9, count),
        },
        index=pd.date_range("2024-01-01", periods=count, freq=freq, tz="UTC", name="timestamp"),
    )


def repeated(freq: str, count: int) -> Candles:
    return read_answer(bars(freq, count).resample("1min").ffill())[0]


def standing(freq: str, count: int) -> Candles:
    """The bar in its first minute, then its close without a trade, as exchanges write minutes without one."""
    filled = bars(freq, count).resample("1min").asfreq()
    close = filled["close"].ffill()
    filled["volume"] = filled["volume"].fillna(0.0)
    return read_answer(filled.apply(lambda column: column.fillna(close)))[0]


def drawn(freq: str, count: int) -> Candles:
    return read_answer(bars(freq, count).resample("1min").interpolate())[0]


@pytest.mark.parametrize("fill", [repeated, standing, drawn])
@pytest.mark.parametrize(("freq", "count", "interval"), [("1h", 12, "1h"), ("1D", 5, "1d"), ("5min", 60, "5m")])
def test_filled_bars_are_found(fill: object, freq: str, count: int, interval: str) -> None:
    found = stretched(fill(freq, count))  # type: ignore[operator]  # one of the three functions above
    assert found is not None
    assert found.interval == interval


@pytest.mark.parametrize("digits", [2, 4])
@pytest.mark.parametrize(("freq", "count", "interval"), [("1h", 12, "1h"), ("1D", 5, "1d"), ("5min", 60, "5m")])
def test_lines_between_bars_are_found_once_their_prices_are_rounded(
    freq: str, count: int, interval: str, digits: int
) -> None:
    found = stretched(read_answer(bars(freq, count).resample("1min").interpolate().round(digits))[0])
    assert found is not None
    assert found.interval == interval


def test_one_line_is_not_drawn_between_bars() -> None:
    line = np.arange(300) / 2 + 100
    prices = dict.fromkeys(("open", "high", "low", "close"), line)
    times = START + np.arange(300) * MINUTE
    assert stretched(Candles.from_columns(timestamp=times, volume=np.ones(300), **prices)) is None


def test_a_market_in_coarse_ticks_is_no_line() -> None:
    rng = np.random.default_rng(2)
    for digits in (0, 1, 2, 3):
        for drift in (0.0, 0.02):
            walk = 100 + np.cumsum(rng.normal(drift, 0.02, 3000))
            prices = np.round(np.abs(walk + rng.uniform(0, 0.03, 3000)) + 1, digits)
            opened, close = np.r_[prices[0], prices[:-1]], prices
            columns = {
                "high": np.maximum(opened, close),
                "low": np.minimum(opened, close),
                "open": opened,
                "close": close,
            }
            times = START + np.arange(3000) * MINUTE
            assert stretched(Candles.from_columns(timestamp=times, volume=np.ones(3000), **columns)) is None


def demo(count: int = 3000) -> Candles:
    return asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", START, count))


def test_minutes_of_a_market_are_not_filled() -> None:
    assert stretched(demo()) is None
    assert stretched(demo(50)) is None
    assert stretched(read_answer(bars("1min", 2000))[0]) is None


def test_a_market_in_which_hardly_anybody_trades_is_not_filled() -> None:
    rng = np.random.default_rng(5)
    frame = bars("1min", 3000)
    frame.loc[rng.random(3000) < 0.9, ["open", "high", "low", "close"]] = np.nan
    close = frame["close"].ffill()
    frame["volume"] = 1.0
    assert stretched(read_answer(frame.apply(lambda column: column.fillna(close)).dropna())[0]) is None


def thin(rng: np.random.Generator, count: int, density: float, *, tick: float | None) -> Candles:
    """A market as exchanges write one in which only a share of minutes has a trade: all others stand still."""
    traded = rng.random(count) < density
    close = 100 * np.exp(np.cumsum(np.where(traded, rng.normal(0, 0.001, count), 0)))
    close = close if tick is None else np.round(close / tick) * tick
    opened = np.where(traded, np.r_[close[0], close[:-1]], close)
    return Candles.from_columns(
        timestamp=START + np.arange(count) * MINUTE,
        open=opened,
        high=np.maximum(opened, close),
        low=np.minimum(opened, close),
        close=close,
        volume=np.where(traded, rng.uniform(1, 9, count), 0.0),
    )


def test_a_market_with_few_trades_is_not_filled_whatever_share_of_minutes_has_one() -> None:
    rng = np.random.default_rng(1)
    for density in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35):
        for count in (150, 600, 3000):
            for tick in (None, 0.5):
                for _ in range(5):
                    assert stretched(thin(rng, count, density, tick=tick)) is None


def test_a_market_that_stands_still_is_not_filled() -> None:
    ones = np.ones(3000)
    times = START + np.arange(3000) * MINUTE
    still = Candles.from_columns(timestamp=times, open=ones, high=ones, low=ones, close=ones, volume=ones)
    assert stretched(still) is None


def test_the_first_run_over_filled_bars_is_warned() -> None:
    told: list[str] = []
    feed = Feed(FrameSource(repeated("1h", 24), name="mine"), Settings(), warn=told.append)
    for since in (START, START + 600 * MINUTE):
        asyncio.run(feed.fetch("BTCUSDT", "1m", since, since + 600 * MINUTE))
    (note,) = told
    assert note == (
        "BTCUSDT 1m from 'mine': these 1m candles were filled up from longer bars (1h bars: 8 of 8 distances are 1h): "
        "between them nothing is known, and what is filled or exited there did not happen"
    )


def test_a_result_says_so() -> None:
    def get_signal(price: float) -> None:
        return None

    result = bknb.backtest(
        "BTCUSDT",
        strategy=get_signal,
        exchange=from_frame(repeated("1h", 30)),
        frame=("2024-01-01 12:00", "2024-01-01 23:00"),
    )
    assert [each for each in result.warnings if "filled up from longer bars" in each]


@pytest.mark.parametrize(("length", "count"), [(60, 12), (5, 40), (2, 60), (1440, 6)])
@pytest.mark.parametrize("first", ["longer", "minutes"])
def test_longer_bars_among_minutes_are_told(length: int, count: int, first: str) -> None:
    longer, minutes = np.arange(count) * length, np.arange(3000)
    parts = (longer, minutes + count * length) if first == "longer" else (minutes, longer + 3000)
    source = FrameSource(Candles.from_columns(**columns_at(np.concatenate(parts))), name="mine")
    told: list[str] = []
    feed = Feed(source, Settings(), allow_gaps=True, warn=told.append)
    asyncio.run(feed.fetch("BTCUSDT", "1m", START, START + (3000 + count * length) * MINUTE))
    (note,) = told
    lie = {60: "1h", 5: "5m", 2: "2m", 1440: "1d"}[length]
    in_a_row = count + (first == "longer")  # the first minute lies as far behind the last longer bar
    assert f"{in_a_row:,} candles in a row from" in note
    assert f"on lie {lie} apart, and others 1m" in note


@pytest.mark.parametrize("continued", [False, True])
def test_longer_bars_are_told_in_whichever_answer_they_come(*, continued: bool) -> None:
    minutes = np.concatenate([np.arange(400), 400 + np.arange(120) * 5, np.arange(1000, 1400)])
    told: list[str] = []
    mine = FrameSource(Candles.from_columns(**columns_at(minutes)), name="mine")
    feed = Feed(mine, Settings(), allow_gaps=True, warn=told.append)
    for since, until in ((0, 300), (200, 1200), (400, 1400)):
        span = START + since * MINUTE, START + until * MINUTE
        asyncio.run(feed.fetch("BTCUSDT", "1m", *span, continued=continued and since > 0))
        assert len(told) == (since > 0)
    assert "candles in a row from 2024-01-01 06:40 UTC on lie 5m apart, and others 1m" in told[0]


def test_holes_of_a_market_are_no_longer_bars() -> None:
    rng = np.random.default_rng(4)
    for density in (0.003, 0.02, 0.1, 0.3, 0.5, 0.7, 0.95):
        for count in (300, 3000, 30_000):
            for _ in range(10):
                times = START + np.flatnonzero(rng.random(count) < density) * MINUTE
                assert longer_part(times, MINUTE) is None
    days = np.concatenate([day * 1440 + 570 + np.arange(390) for day in range(60) if day % 7 < 5])
    assert longer_part(START + days * MINUTE, MINUTE) is None  # sessions


def columns_at(minutes: np.ndarray) -> dict[str, np.ndarray]:
    price = 100 + np.sin(minutes * 1.7)
    whole = dict.fromkeys(("open", "high", "low", "close"), price)
    return {"timestamp": START + minutes * MINUTE, **whole, "volume": np.ones(len(minutes))}


def test_an_audit_finds_filled_bars(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    market = bknb.exchanges.stored(FrameSource(repeated("1h", 40), name="mine"), folder=tmp_path)
    span = {"start": "2024-01-01", "end": "2024-01-02"}
    bknb.download("BTCUSDT", exchange=market, progress=False, warmup_minutes=0, **span)
    found = bknb.audit("BTCUSDT", exchange=market, **span).findings
    assert [each.kind for each in found] == ["stretched"]
    assert found[0].text == (
        "2024-01-01 00:00 UTC .. 2024-01-01 23:59 UTC (1,440 minutes); minutes filled in between 1h bars"
    )


def test_an_audit_of_filled_bars_finds_everything_else_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    columns = dict(zip(COLUMNS, Candles.concat([demo(10_080), repeated("1h", 400)]).block.copy(), strict=True))
    columns["volume"][12_000:12_100] = 0.0
    for name in ("open", "high", "low", "close"):
        columns[name][15_000] *= 1.5
    columns["timestamp"] = START + np.arange(len(columns["close"])) * MINUTE
    market = bknb.exchanges.stored(FrameSource(Candles.from_columns(**columns), name="mine"), folder=tmp_path)
    span = {"start": "2024-01-01", "end": "2024-01-23"}
    bknb.download("BTCUSDT", exchange=market, progress=False, warmup_minutes=0, **span)
    kinds = [
        (each.kind, (each.when - START) // MINUTE) for each in bknb.audit("BTCUSDT", exchange=market, **span).findings
    ]
    assert ("stretched", 10_080) in kinds
    assert {("flat", 12_000), ("wild", 15_000), ("wild", 15_001)} <= set(kinds)
    assert [kind for kind, _ in kinds].count("stretched") == 1


def test_prices_that_are_written_with_more_decimals_later_are_not_rounded_to_fewer() -> None:
    rng = np.random.default_rng(5)
    rises = np.where(np.arange(24) % 2 == 0, 10.0, -10.0).repeat(5) / 5
    lines = 1000 + np.concatenate([[0.0], rises.cumsum()[:-1]])
    moves = np.round(1000 + rng.random(60), 2)
    whole = Candles.from_rows([(60_000 * i, *(4 * [price]), 5.0) for i, price in enumerate([*lines, *np.rint(moves)])])
    assert stretched(whole) is not None
    later = Candles.from_rows([(60_000 * i, *(4 * [price]), 5.0) for i, price in enumerate([*lines, *moves])])
    assert stretched(later) is None


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 8, 64])
def test_what_candles_tell_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """Repeated, still and straight candles, wherever a piece begins."""
    monkeypatch.setattr(stretched_bars, "_PIECE", piece)
    rng = np.random.default_rng(7)
    steps = rng.choice([0.0, 1.0, 2.0], size=64, p=[0.5, 0.3, 0.2])
    candles = Candles.from_rows([(60_000 * i, *(4 * [100.0 + price]), 5.0) for i, price in enumerate(np.cumsum(steps))])
    told = stretched_bars._tells(candles, most=64)
    assert told is not None
    assert stretched_bars._tells(candles, most=np.count_nonzero(told) - 1) is None
    assert told.tolist() == stretched_bars._tell(candles).tolist()
    assert 5 < np.count_nonzero(told) < 60
