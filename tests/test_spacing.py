"""What bars are is measured: days and hours never pass as minutes, with gaps allowed or not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.config import Settings
from bknb.errors import DataError, GapError
from bknb.exchanges.from_csv_frame_and_parquet import from_frame
from bknb.market.candles import Candles
from bknb.market.candles_repaired_or_refused import CandleRequest
from bknb.market.feed import Feed
from bknb.market.measured_bar_length import length_name, measured
from bknb.market.missing_candles import check_gaps, check_spacing
from bknb.market.sources import FunctionSource

FILES = Path(__file__).parent / "data" / "files"
START = 1_704_067_200_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def times_of(index: pd.DatetimeIndex) -> np.ndarray:
    return index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)


def of(*minutes: int) -> np.ndarray:
    return START + np.array(minutes, dtype=np.int64) * MINUTE


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        (of(0, 1, 2, 3), "1m"),
        (of(0, 1, 5, 6, 90, 91), "1m"),
        (of(0, 3, 5, 6, 9, 11), "1m"),  # minutes without a trade are left out
        (of(0, 2, 4, 5), "1m"),
        (of(0, 5, 10), "5m"),
        (of(0, 5, 10, 20, 30, 35, 45), "5m"),
        (of(0, 7, 14), "7m"),
        (of(3, 2, 2, 1, 0), "1m"),
        (np.arange(50) * HOUR, "1h"),
        (np.append(np.arange(50) * HOUR, 49 * HOUR + MINUTE), "1h"),
        (np.append(np.arange(9) * HOUR, 4 * HOUR + MINUTE), "1h"),
        (np.append(np.arange(40) * 3 % 97 * HOUR, 4 * HOUR + MINUTE), "1h"),
        (np.append(np.arange(50) * MINUTE, 49 * MINUTE + 41_000), "1m"),
        (np.arange(50) * 1000, "1s"),
        (times_of(pd.date_range("2024-01-01", "2024-12-31", freq="B", tz="America/New_York")), "1d"),
        (times_of(pd.date_range("2024-10-26", "2024-10-28", tz="Europe/Berlin")), "1d"),
        (times_of(pd.date_range("2024-10-27", "2024-10-28", tz="Europe/Berlin")), "1d"),
        (times_of(pd.date_range("2024-01-01", "2024-12-31", freq="W", tz="Europe/Berlin")), "1w"),
        (times_of(pd.date_range("2022-01-01", "2024-12-31", freq="MS", tz="Europe/Berlin")), "1M"),
    ],
)
def test_the_length_of_bars_is_measured(times: np.ndarray, interval: str) -> None:
    spacing = measured(times)
    assert spacing is not None
    assert spacing.interval == interval
    assert spacing.equal + spacing.longer + spacing.closer == spacing.count


@pytest.mark.parametrize("count", [2, 3, 50, 9_000])
@pytest.mark.parametrize(
    "step", [1000, 41_000, MINUTE, 7 * MINUTE, HOUR, 23 * HOUR, 24 * HOUR, 25 * HOUR, 168 * HOUR, 30 * 24 * HOUR]
)
def test_even_bars_have_the_length_that_all_distances_show(count: int, step: int) -> None:
    times = 5 * MINUTE + np.arange(count) * step
    assert measured(times) == measured(np.append(times[:1], times))  # one is there twice: all distances are looked at


def test_one_candle_has_no_length() -> None:
    assert measured(of()) is None
    assert measured(of(1)) is None
    assert measured(of(1, 1)) is None


def test_what_does_not_fit_is_counted_and_placed() -> None:
    spacing = measured(np.append(np.arange(50) * HOUR, 49 * HOUR + MINUTE))
    assert spacing is not None
    assert (spacing.equal, spacing.longer, spacing.closer, spacing.first_closer) == (49, 0, 1, 49 * HOUR + MINUTE)
    assert str(spacing) == "1h bars: 49 of 50 distances are 1h, 1 is shorter (first at 1970-01-03 01:01 UTC)"


def test_lengths_have_names() -> None:
    lengths = [MINUTE, 90_000, 2 * HOUR, 5 * HOUR, 3 * DAY, 5 * DAY, 7 * DAY, 30 * DAY, 1000, 1]
    assert [length_name(each) for each in lengths] == ["1m", "90s", "2h", "5h", "3d", "5d", "1w", "1M", "1s", "1 ms"]


# --- what a source answers -------------------------------------------------------------------------------------------


def series(times: np.ndarray) -> Candles:
    ones = np.ones(len(times))
    return Candles.from_columns(timestamp=times, open=ones, high=ones, low=ones, close=ones, volume=ones)


def asked(interval: str = "1m") -> CandleRequest:
    return CandleRequest(exchange="mine", symbol="AAPL", interval=interval, since=0, until=400 * DAY)


BUSINESS_DAYS = times_of(pd.date_range("2020-01-06", periods=60, freq="B", tz="UTC"))


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        (BUSINESS_DAYS, "1d"),
        (np.delete(np.arange(50) * HOUR, 20), "1h"),
        (np.append(np.arange(50) * HOUR, 49 * HOUR + MINUTE), "1h"),
        (np.arange(3) * DAY, "1d"),
        (times_of(pd.date_range("2024-01-01", periods=5, freq="MS", tz="Europe/Berlin")), "1M"),
        (np.arange(20) * 5 * MINUTE, "5m"),
    ],
)
def test_longer_bars_are_no_minutes_with_gaps_allowed_or_not(times: np.ndarray, interval: str) -> None:
    for check in (lambda: check_spacing(times, asked()), lambda: check_gaps(series(times), asked())):
        with pytest.raises(
            DataError, match=f"asked for 1m candles, got candles spaced {interval}\nmeasured: "
        ) as caught:
            check()
        assert not isinstance(caught.value, GapError)
        assert "allow_gaps" not in str(caught.value)
        assert "get_candles" not in str(caught.value)  # they may come from a table


def test_a_few_minutes_that_are_spaced_alike_are_refused_with_what_lets_them_pass() -> None:
    told = r"spaced 2m\n.*\n.*where these are 1m candles with holes: allow_gaps=True, in a magic --allow-gaps"
    with pytest.raises(DataError, match=told):
        check_gaps(series(of(0, 2, 4)), asked())
    check_spacing(of(0, 2, 4), asked())


@pytest.mark.parametrize(
    "times",
    [of(0, 3, 5, 6, 9, 11), of(0, 2, 4), of(0, 60), of(0, 1440), of(*range(100), *range(5000, 5100)), of()],
)
def test_minutes_with_holes_are_minutes(times: np.ndarray) -> None:
    check_spacing(times, asked())


def thin(rng: np.random.Generator, count: int, density: float, step: int = MINUTE) -> np.ndarray:
    """Bars of which only a share is there, as where nobody trades."""
    return START + np.flatnonzero(rng.random(count) < density) * step


def test_a_thin_market_is_one_of_minutes_whatever_share_of_them_has_a_trade() -> None:
    rng = np.random.default_rng(1)
    for density in (0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        for count in (5, 10, 30, 60, 300, 1500, 20_000):
            for _ in range(8):
                times = thin(rng, count, density)
                check_spacing(times, asked())
                spacing = measured(times)
                assert spacing is None or spacing.count < 10 or spacing.interval == "1m"


@pytest.mark.parametrize("bars", [2, 3, 5, 15, 60, 240, 1440, 10_080])
def test_longer_bars_are_found_whatever_share_of_them_is_there(bars: int) -> None:
    rng = np.random.default_rng(bars)
    for density in (0.1, 0.3, 0.5, 0.9, 1.0):
        for stray in (False, True):
            for _ in range(4):
                times = thin(rng, int(60 / density), density, bars * MINUTE)
                if stray:
                    times = np.append(times, times[30] + MINUTE)
                spacing = measured(times)
                assert spacing is not None
                assert spacing.step == bars * MINUTE
                with pytest.raises(DataError, match=f"got candles spaced {spacing.interval}"):
                    check_spacing(times, asked())


def test_a_feed_of_single_candles_finds_in_time_how_far_apart_they_are() -> None:
    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        times = np.arange(-(-since // 300_000), since // 300_000 + limit) * 300_000
        return [(int(time), 1.0, 1.0, 1.0, 1.0, 1.0) for time in times]

    feed = Feed(FunctionSource(get_candles), Settings(), allow_gaps=True)

    async def follow() -> None:
        for minute in range(0, 35, 5):
            since = START + minute * MINUTE
            await feed.fetch("AAPL", "1m", since, since + 5 * MINUTE, continued=minute > 0)

    with pytest.raises(DataError, match="got candles spaced 5m"):
        asyncio.run(follow())


def test_a_series_that_grows_by_single_candles_must_show_it_more_surely() -> None:
    """What comes by chance once in a thousand times would come more often where it is asked at each candle."""

    def follow(*minutes: int) -> None:
        feed = Feed(FunctionSource(lambda *_: []), Settings(), allow_gaps=True)
        for at, minute in enumerate(minutes):
            feed.check_gaps(series(of(minute)), asked(), continued=at > 0)

    with pytest.raises(DataError, match="got candles spaced 2m"):
        check_spacing(of(*range(0, 16, 2)), asked())
    follow(*range(0, 18, 2), 17)
    with pytest.raises(DataError, match="got candles spaced 2m"):
        follow(*range(0, 20, 2))


def test_days_are_days() -> None:
    check_spacing(BUSINESS_DAYS, asked("1d"))
    with pytest.raises(DataError, match="asked for 1h candles, got candles spaced 1d"):
        check_spacing(BUSINESS_DAYS, asked("1h"))


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_a_walk_of_days_makes_no_money_as_minutes(allow_gaps: bool) -> None:  # noqa: FBT001 -- a table's column
    """Days that were taken for minutes with gaps turned 1 into 14.9; days played as days leave 0.04 of it."""
    close = 150 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.02, 60)))
    opened = np.r_[150, close[:-1]]
    days = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.005,
            "low": np.minimum(opened, close) * 0.995,
            "close": close,
            "volume": 1e6,
        },
        index=pd.date_range("2020-01-06", periods=60, freq="B", tz="UTC"),
    )

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> pd.DataFrame:
        return days[days.index >= pd.Timestamp(since, unit="ms", tz="UTC")].iloc[:limit]

    def get_signal(symbol: str, price: float) -> Any:
        return bknb.Signal(position="long", price_take_profit=price * 1.03, price_stop_loss=price * 0.97)

    with pytest.raises(DataError, match="got candles spaced 1d"):
        bknb.backtest(
            "AAPL", strategy=get_signal, exchange=get_candles, frame="2020-01-20:2020-03-20", allow_gaps=allow_gaps
        )


# --- files and frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("hourly_plus_one_stray_minute.csv", "1h"),
        ("hourly_one_hour_missing.csv", "1h"),
        ("daily_business_days.csv", "1d"),
    ],
)
def test_a_file_of_longer_bars_has_their_length(name: str, interval: str) -> None:
    frame = pd.read_csv(FILES / name).rename(columns={"Date": "timestamp"})
    assert from_frame(frame).intervals == (interval,)
