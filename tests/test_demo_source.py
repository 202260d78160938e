"""The demo market: the same everywhere, and like a market."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quick import first_quick

from bknb.errors import UsageError
from bknb.market.candles import COLUMNS, Candles
from bknb.market.demo import DemoSource

NEW_YEAR = 1_640_995_200_000  # 2022-01-01 00:00 UTC
MINUTE = 60_000
YEAR = 525_600
FAMILIAR = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")


def minutes(symbol: str, since: int, limit: int) -> Candles:
    return asyncio.run(DemoSource().get_candles(symbol, "1m", since, limit))


@pytest.fixture(scope="module")
def year() -> Candles:
    return minutes("BTCUSDT", NEW_YEAR, YEAR)


def fingerprint(candles: Candles) -> str:
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(getattr(candles, name).astype(">i8" if name == "timestamp" else ">f8").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("BTCUSDT", "9c0daf87fca73e934858362520d73b330f521c964b3d22016c519b37797dbbed"),
        ("DOGEUSDT", "db65a3745680d10e5f330f5a11b8505224f884d61c5b411ab912909637bfc17b"),
    ],
)
def test_every_bit_is_pinned(symbol: str, expected: str) -> None:
    """If this fails on one machine only, arithmetic differs there; if it fails everywhere, the market was changed."""
    assert fingerprint(minutes(symbol, NEW_YEAR - 7 * MINUTE, 40_000)) == expected


def test_a_few_candles_to_look_at() -> None:
    first, second = minutes("BTCUSDT", NEW_YEAR, 2)
    assert first == {
        "timestamp": 1640995200000,
        "open": 46038.63,
        "high": 46061.99,
        "low": 45999.24,
        "close": 46005.72,
        "volume": 14.14676,
    }
    assert second["open"] == first["close"]


@given(
    symbol=st.sampled_from(["BTCUSDT", "XRPUSDT", "whatever"]),
    day=st.integers(min_value=-20_000, max_value=60_000),
    start=st.integers(min_value=0, max_value=1439),
    length=st.integers(min_value=1, max_value=40_000),
    inner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_part_is_the_same_as_in_the_whole(
    symbol: str, day: int, start: int, length: int, inner: tuple[float, float]
) -> None:
    since = (day * 1440 + start) * MINUTE
    whole = minutes(symbol, since, length)
    first, end = sorted(int(share * length) for share in inner)
    assert minutes(symbol, since + first * MINUTE, end - first) == whole[first:end]


@pytest.mark.parametrize("symbol", first_quick([*FAMILIAR, "DOGEUSDT", "A", "unknown/long name:€", ""], kept=2))
def test_every_candle_is_possible(symbol: str) -> None:
    candles = minutes(symbol, NEW_YEAR - 100 * 1440 * MINUTE, 200 * 1440)
    assert (candles.low > 0).all()
    assert (candles.high >= np.maximum(candles.open, candles.close)).all()
    assert (candles.low <= np.minimum(candles.open, candles.close)).all()
    assert (candles.volume > 0).all()
    assert np.isfinite(candles.high).all()
    assert (np.diff(candles.timestamp) == MINUTE).all()
    assert len(np.unique(candles.close)) > 1000


def test_prices_are_multiples_of_the_tick(year: Candles) -> None:
    for name in ("open", "high", "low", "close"):
        column = getattr(year, name)
        assert (np.round(column * 100) / 100 == column).all(), name
    source = DemoSource()
    assert float(source.format_price("BTCUSDT", float(year.close[5]))) == year.close[5]
    assert source.format_price("XRPUSDT", 0.5) == "0.50000"
    assert source.format_quantity("ETHUSDT", 1.5) == "1.5000"


def test_bitcoin_keeps_within_its_bounds_for_ever() -> None:
    for century in range(-2, 10):
        day = century * 36_525
        candles = minutes("BTCUSDT", day * 1440 * MINUTE, 30 * 1440)
        assert candles.low.min() > 19_000
        assert candles.high.max() < 105_000


def test_a_minute_opens_where_the_last_one_closed_mostly(year: Candles) -> None:
    same = year.open[1:] == year.close[:-1]
    assert 0.85 < same.mean() < 0.95
    assert (np.abs(year.open[1:] / year.close[:-1] - 1) < 0.02).all()
    at_midnight = same[1439::1440]
    assert 0.8 < at_midnight.mean() < 0.97  # days join like any two minutes


def autocorrelation(values: np.ndarray, lag: int) -> float:
    values = values - values.mean()
    return float((values[lag:] * values[:-lag]).mean() / values.var())


def returns(candles: Candles) -> np.ndarray:
    return np.diff(np.log(candles.close))


@pytest.mark.parametrize("symbol", first_quick(FAMILIAR, kept=2))
def test_its_returns_have_the_statistics_of_a_market(symbol: str) -> None:
    candles = minutes(symbol, NEW_YEAR, 180 * 1440)
    moves = returns(candles)
    sizes = np.abs(moves)
    assert 0.0004 < moves.std() < 0.0025  # of real bitcoin in 2022: 0.001
    kurtosis = ((moves - moves.mean()) ** 4).mean() / moves.var() ** 2
    assert 6 < kurtosis < 150  # fat tails; real: 26
    assert abs(autocorrelation(moves, 1)) < 0.02  # and yet the next minute cannot be told
    assert autocorrelation(sizes, 1) > autocorrelation(sizes, 60) > autocorrelation(sizes, 240) > 0.05  # clusters
    assert 0.2 < autocorrelation(sizes, 1) < 0.5  # real: 0.33
    assert np.corrcoef(sizes, candles.volume[1:])[0, 1] > 0.4  # real: 0.61
    assert 1.5 < ((candles.high - candles.low) / candles.close).mean() / sizes.mean() < 2.4  # real: 1.83
    daily = np.diff(np.log(candles.close[1439::1440]))
    assert 0.015 < daily.std() < 0.07
    assert np.abs(moves).max() < 0.3


def test_hours_and_weekends_show_in_volume_and_volatility(year: Candles) -> None:
    whole = 364 * 1440
    by_minute = year.volume[:whole].reshape(-1, 1440)
    hours = by_minute.mean(axis=0).reshape(24, 60).mean(axis=1)
    assert int(hours.argmax()) in {13, 14, 15}
    assert int(hours.argmin()) in {3, 4, 5}
    assert hours.max() > 1.8 * hours.min()
    weekday = (np.arange(364) + 5) % 7  # the first of January 2022 was a Saturday
    volumes, sizes = by_minute.mean(axis=1), np.abs(np.diff(np.log(year.close[: whole + 1]))).reshape(-1, 1440).mean(1)
    assert volumes[weekday >= 5].mean() < 0.8 * volumes[weekday < 5].mean()
    assert sizes[weekday >= 5].mean() < 0.9 * sizes[weekday < 5].mean()


def test_there_are_calm_and_wild_trending_and_ranging_stretches(year: Candles) -> None:
    moves = returns(year)[: 52 * 10_080 - 1]
    weeks = np.append(moves, 0.0).reshape(52, 10_080)
    volatility = weeks.std(axis=1)
    assert np.quantile(volatility, 0.9) > 1.5 * np.quantile(volatility, 0.1)
    hourly = weeks.reshape(52, 168, 60).sum(axis=2)
    efficiency = np.abs(hourly.sum(axis=1)) / np.abs(hourly).sum(axis=1)  # how straight the way of a week was
    assert efficiency.max() > 0.15
    assert efficiency.min() < 0.02


def test_symbols_move_together_but_not_as_one() -> None:
    bitcoin = returns(minutes("BTCUSDT", NEW_YEAR, 60 * 1440))
    for symbol in ("ETHUSDT", "SOLUSDT", "DOGEUSDT"):
        other = returns(minutes(symbol, NEW_YEAR, 60 * 1440))
        assert 0.4 < np.corrcoef(bitcoin, other)[0, 1] < 0.9


def test_only_minutes() -> None:
    with pytest.raises(UsageError, match="1m candles, not 15m"):
        asyncio.run(DemoSource().get_candles("BTCUSDT", "15m", NEW_YEAR, 1))
    with pytest.raises(UsageError, match="unknown interval"):
        asyncio.run(DemoSource().get_candles("BTCUSDT", "7m", NEW_YEAR, 1))


def test_it_needs_numpy_alone() -> None:
    code = "import sys, bknb.market.demo; print({'pandas', 'numba', 'pyarrow', 'plotly'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_a_day_does_not_cost_a_year() -> None:
    def cost(limit: int) -> float:
        best = 9.9
        for _ in range(3):
            began = time.perf_counter()
            minutes("BTCUSDT", NEW_YEAR, limit)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(1440) < cost(YEAR) / 10
