"""Indicators: formulas against TA-Lib, and values that are the same whenever and wherever they are asked for."""

from __future__ import annotations

import hashlib
import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib_errors
from market_rows import rows_of
from scenarios import MINUTE
from test_session_candles import world

import bknb
from bknb.market.indicator_names import NAMED, parameters_of
from bknb.testing.clocks import SimulatedClock

BLOCK = 1024 * MINUTE
START = 1_704_067_200_000 // BLOCK * BLOCK  # a block of minutes begins here


def walk(count: int, *, seed: int = 1, since: int = START - 3000 * MINUTE, step: int = MINUTE) -> bknb.Candles:
    """A random walk with calm and wild hours."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.001, count) * np.repeat(rng.exponential(1.0, count // 60 + 1), 60)[:count]
    close = 20_000 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.0005, count)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.0005, count)))
    times = since + np.arange(count) * step
    return bknb.Candles.from_columns(
        timestamp=times, open=open_, high=high, low=low, close=close, volume=rng.exponential(5.0, count)
    )


MINUTES = walk(4500)


def source(candles: bknb.Candles) -> Any:
    return bknb.exchanges.from_frame(candles.to_pandas(), name="walk")


WALK = source(MINUTES)


# --- formulas -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told_errors() -> dict[str, float]:
    """The largest errors by name, as docs/indicators.md has them."""
    page = (Path(__file__).parent.parent / "docs" / "indicators.md").read_text(encoding="utf-8")
    return {name: float(error) for name, error in re.findall(r"`(\w+)` ([\d.e-]+) \|", page)}


@pytest.mark.parametrize("name", NAMED)
def test_formulas_are_those_of_ta_lib(name: str, told_errors: dict[str, float]) -> None:
    """NaN at the same candles, and no farther away than the page says, but for rounding on another machine."""
    pytest.importorskip("talib")
    error = talib_errors.of_formula(name, MINUTES)
    if error is None:
        assert name in (*talib_errors.NEWER, *BY_PANDAS), name
    else:
        assert error <= 10 * told_errors[name] + 1e-15, (name, error)


BY_PANDAS: dict[str, Any] = {
    "median": lambda c, n: c.close.rolling(n).median(),
    "percentile": lambda c, n: c.close.rolling(n).quantile(0.3),
    "percent_rank": lambda c, n: (c.close.rolling(n + 1).rank(method="max") - 1) / n * 100,
    "rma": lambda c, n: pd.concat([c.close[:n].rolling(n).mean(), c.close[n:]]).ewm(alpha=1 / n, adjust=False).mean(),
    "wma": lambda c, n: c.close.rolling(n).apply(lambda w: (w * np.arange(1, n + 1)).sum() * 2 / n / (n + 1), raw=True),
    "zscore": lambda c, n: (c.close - c.close.rolling(n).mean()) / c.close.rolling(n).std(ddof=0),
    "linreg_slope": lambda c, n: c.close.rolling(n).apply(lambda w: np.polyfit(np.arange(n), w, 1)[0], raw=True),
}


@pytest.mark.parametrize("name", BY_PANDAS)
def test_formulas_are_what_pandas_makes_of_their_windows(name: str) -> None:
    candles, given = MINUTES[:300].to_pandas(), (12, 30.0) if name == "percentile" else (12,)
    theirs = BY_PANDAS[name](candles, 12).to_numpy()
    ours = getattr(bknb.indicators, name)(candles.close, *given)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def test_every_name_is_on_its_page_and_in_the_public_list() -> None:
    page = (Path(__file__).parent.parent / "docs" / "indicators.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`(?: \*)? \| (?:open|high|low|close)", page, re.MULTILINE)
    assert rows == list(NAMED)
    assert sorted(rows) == bknb.indicators.__all__


def test_lines_with_a_memory_are_those_that_began_long_ago() -> None:
    """Where both have turned at one candle since; how often is said in their docstrings."""
    columns = MINUTES.high, MINUTES.low, MINUTES.close
    endless = bknb.indicators.supertrend(*columns, memory=1500).line
    for memory, least in ((400, 1.0), (200, 0.995), (100, 0.95)):
        line = bknb.indicators.supertrend(*columns, memory=memory).line
        assert np.mean(np.isclose(line[1600:], endless[1600:])) >= least


@pytest.mark.parametrize("name", NAMED)
def test_a_value_is_made_of_its_candle_and_earlier_ones(name: str) -> None:
    known = NAMED[name]
    for parameters in talib_errors.LENGTHS.get(name, [(2,), (14,)]):
        whole, part = (
            np.atleast_2d(known.formula(*(getattr(candles, column) for column in known.columns), *parameters))
            for candles in (MINUTES[:400], MINUTES[:300])
        )
        np.testing.assert_array_equal(whole[:, :300], part)


def test_few_candles_give_nan() -> None:
    for name, known in NAMED.items():
        columns = [getattr(MINUTES[:1], column) for column in known.columns]
        given = talib_errors.LENGTHS.get(name, [() if known.defaults else (9,)])[0]
        assert np.isnan(known.formula(*columns, *parameters_of(name, given))).all() or name == "bop"


# --- the same value everywhere ------------------------------------------------------------------------------------


def smooth(close: Any, span: int) -> Any:
    return pd.Series(close).ewm(span=span, adjust=False).mean()


def slopes(close: Any, length: int) -> Any:
    """The slope of a line through each window: a product of matrices, whose rounding depends on their shape."""
    x = np.arange(length) - (length - 1) / 2
    windows = np.lib.stride_tricks.sliding_window_view(close, length)
    return np.concatenate([np.full(length - 1, np.nan), windows @ x / (x @ x)])


def both(candles: bknb.Candles) -> dict[str, Any]:
    middle = (candles.high + candles.low) / 2
    return {"mean": pd.Series(middle).rolling(20).mean(), "spread": pd.Series(middle).rolling(20).std()}


WATCHED = (
    bknb.indicator("ema", "1m", 20),
    bknb.indicator("rsi", "3m"),
    bknb.indicator("macd", "1m"),
    bknb.indicator("bbands", "15m"),
    bknb.indicator("adx", "1m", 10),
    bknb.indicator(smooth, "1m", 30, lookback=700),
    bknb.indicator(slopes, "1m", 60, lookback=59),
    bknb.indicator(both, "1m", lookback=60),
)


def bits(ctx: Any) -> list[bytes]:
    """Some newest values of all indicators, to the last bit; the newest one is asked for alone before the others."""
    return [np.array(each(ctx, n)).tobytes() for n in (1, 60) for each in WATCHED]


def answers(start: int, end: int, *, live: bool = False, **options: Any) -> dict[int, list[bytes]]:
    """What the indicators are at each question of a run."""
    found: dict[int, list[bytes]] = {}

    def get_signal(ctx: Any) -> None:
        found[ctx.when_ms] = bits(ctx)

    if live:
        strategy = bknb.add_strategy("watches", interval="1m", get_signal=get_signal)
        task = bknb.Live.background(
            *("X",), strategy=strategy, exchange=WALK, clock=SimulatedClock(start), until=end, **options
        )
        result = task.result(timeout=60)
    else:
        result = bknb.backtest("X", strategy=get_signal, interval="1m", exchange=WALK, frame=(start, end))
    assert not result.errors, result.errors
    return found


@pytest.mark.slow
def test_values_are_the_same_to_the_last_bit_whenever_a_run_starts() -> None:
    end = START + 1100 * MINUTE  # behind a border of the blocks
    whole = answers(START - 300 * MINUTE, end)
    assert len(whole) == 1400
    for number in range(25):
        start = START + (number * 54 - 280) * MINUTE
        later = answers(start, min(end, start + 15 * MINUTE))
        assert later
        assert all(value == whole[when] for when, value in later.items()), number


@pytest.mark.slow
def test_values_are_the_same_live_and_after_a_restart() -> None:
    begin, border, end = START + 1000 * MINUTE, START + 1024 * MINUTE, START + 1040 * MINUTE
    whole = answers(begin, end)
    store = bknb.stores.memory()
    first = answers(begin, border + 2 * MINUTE, live=True, store=store)
    second = answers(border + 2 * MINUTE, end, live=True, store=store)
    assert len(first) >= 4
    assert len(second) >= 2
    assert len({*first, *second} & {*whole}) >= 39
    assert all(value == whole[when] for when, value in (first | second).items() if when in whole)


@pytest.mark.slow
def test_values_are_the_same_in_another_process() -> None:
    code, path = "import test_indicators as t; print(t.digest())", os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split()[-1] == digest()


def digest() -> str:
    """What indicators are at some moments, in short."""
    found = answers(START + 1020 * MINUTE, START + 1028 * MINUTE)
    return hashlib.blake2b(repr(sorted(found.items())).encode()).hexdigest()


def as_target(value: float, price: float) -> float:
    """A level above the price that has the digits of a value: times a power of two."""
    return float(value) * 2.0 ** math.ceil(math.log2(1.1 * price / value))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["threads", 2, pytest.param(1, marks=pytest.mark.long)])
def test_values_are_the_same_to_the_last_bit_in_the_workers_of_a_sweep(workers: str | int) -> None:
    watched = tuple(each for each in WATCHED if each.what not in (slopes, "macd"))  # these may be below 0

    def get_signal(ctx: Any, which: int = 0) -> Any:
        value = watched[which].last(ctx)
        value = value[0] if isinstance(value, tuple) else value
        if not value > 0:
            return None
        target = as_target(value, ctx.price)
        return bknb.Signal(position="long", price_take_profit=target, stop_percent=2, minute_estimated_time=3)

    strategy = bknb.add_strategy("targets", interval="5m", get_signal=get_signal)
    options: Any = {"exchange": WALK, "frame": (START - 200 * MINUTE, START + 100 * MINUTE)}
    swept: Any = {"params": {"which": [*range(len(watched))]}, "symbol": "X", "keep_trades": True, **options}
    if workers == "threads":  # everything is pickled on its way, as to processes
        with ThreadPoolExecutor(2) as pool:
            sweep = bknb.sweep(strategy, executor=pool, **swept)
    else:
        sweep = bknb.sweep(strategy, executor=workers, **swept)
    assert not len(sweep.errors)
    for which in range(len(watched)):
        alone = bknb.backtest("X", strategy=strategy, params={"which": which}, **options).trades
        assert len(alone) > 30
        assert sweep.trades(which)["price_take_profit"].tolist() == alone["price_take_profit"].tolist()


def test_a_value_of_a_walk_is_as_it_was() -> None:
    """Another release, machine or numpy gives the same to twelve digits."""
    (at,) = answers(START + 5 * MINUTE, START + 6 * MINUTE).values()
    assert np.frombuffer(at[0])[-1] == pytest.approx(21364.34358946981, rel=1e-12)


# --- against candles up to the moment alone -----------------------------------------------------------------------


def reference(candles: bknb.Candles, formula: Any, lookback: int, length: int, rows: int) -> float:
    """The newest value of a block, made of candles up to a moment by hand."""
    first = int(np.searchsorted(candles.timestamp, candles.timestamp[-1] // length * length))
    before = min(lookback, first)
    known = len(candles) - first + before
    if known <= lookback:
        return float("nan")
    close = np.pad(candles.close[-known:], (0, lookback + rows - known), mode="edge")
    return float(formula(close)[known - 1])


def weighted(close: Any) -> Any:
    """A product of matrices over each window of 12."""
    windows = np.lib.stride_tricks.sliding_window_view(close, 12)
    return np.concatenate([np.full(11, np.nan), windows @ np.linspace(0.1, 1.7, 12)])


HOUR, DAY = 60 * MINUTE, 1440 * MINUTE
HOLES = np.delete(np.arange(4500), [*range(2980, 3050), *range(3070, 3081), *range(100, 900)])


def shares() -> Any:
    rows = [row for row in rows_of("XNYS", 2023, 2024) if date(2023, 10, 2) <= row[0] <= date(2024, 3, 8)]
    return bknb.exchanges.from_frame(world(rows, every=15)[0], sessions="us-equities")


# source, interval of questions, frame, and for each interval the length of a block (ms) and the most candles in it
WORLDS: dict[str, tuple[Any, str, tuple[Any, Any], dict[str, tuple[int, int]]]] = {
    "minutes": (lambda: WALK, "1m", (START - 40 * MINUTE, START + 40 * MINUTE),
                {"1m": (BLOCK, 1024), "15m": (15 * BLOCK, 1024), "1h": (60 * BLOCK, 1024)}),
    "a young symbol": (lambda: WALK, "1m", (START - 3000 * MINUTE, START - 2840 * MINUTE),
                       {"1m": (BLOCK, 1024), "5m": (5 * BLOCK, 1024), "1d": (128 * DAY, 128)}),
    "holes": (lambda: source(MINUTES.take(HOLES)), "1m", (START - 60 * MINUTE, START + 130 * MINUTE),
              {"1m": (BLOCK, 1024), "15m": (15 * BLOCK, 1024)}),
    "sessions": (shares, "1h", (datetime(2024, 2, 27, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC)),
                 {"15m": (15 * BLOCK, 1024), "4h": (128 * 4 * HOUR, 256), "1d": (128 * DAY, 256),
                  "1w": (32 * 7 * DAY, 64), "1M": (32 * 28 * DAY, 64)}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("world_name", WORLDS)
def test_a_value_is_made_of_its_block_and_the_look_back_before_it(world_name: str) -> None:
    if world_name == "sessions":
        pytest.importorskip("exchange_calendars")
    make, every, frame, intervals = WORLDS[world_name]
    begin = START - 3000 * MINUTE if every == "1m" else datetime(2023, 10, 1, tzinfo=UTC)
    watched = {each: bknb.indicator(weighted, each, lookback=20) for each in intervals}
    compared, asked = dict.fromkeys(intervals, 0), list[int]()

    def get_signal(ctx: Any) -> None:
        asked.append(ctx.when_ms)
        for interval, (length, rows) in intervals.items():
            candles = ctx.candles(interval, since=begin)
            value = watched[interval](ctx)
            assert value.shape == (1,)
            known = len(candles) > 0
            expected = reference(candles, weighted, 20, length, rows) if known else np.nan
            assert value[-1] == expected or np.isnan([value[-1], expected]).all(), (interval, ctx.when, value, expected)
            if len(asked) % 9 == 3:
                candles = ctx.candles(interval, since=begin, forming=True)
                expected = reference(candles, weighted, 20, length, rows) if len(candles) else np.nan
                value = watched[interval](ctx, forming=True)
                assert value[-1] == expected or np.isnan([value[-1], expected]).all(), (interval, ctx.when)
            value, some = watched[interval](ctx), watched[interval](ctx, 3)
            assert some[-1] == value[-1] or np.isnan(value[-1])
            compared[interval] += not np.isnan(value[-1])

    result = bknb.backtest("X", strategy=get_signal, interval=every, exchange=make(), frame=frame, allow_gaps=True)
    assert not result.errors, result.errors
    assert all(count > 10 for each, count in compared.items() if each not in ("1w", "1M", "1d")), compared
