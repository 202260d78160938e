"""The checker finds and names planted look-ahead of many kinds, and passes strategies without it."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import subprocess
import sys
import time
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.market.resample import resample
from bknb.research.lookahead_checks import AsIs, World, check_answers, perturbed

FRAME = ("2024-01-01", "2024-01-21")
DEMO = bknb.exchanges.demo()
START = 1_704_067_200_000
FIRST, LAST = START - 10 * 86_400_000, START + 30 * 86_400_000
HOURS = resample(asyncio.run(DEMO.get_candles("BTCUSDT", "1m", FIRST, 40 * 1440)), "1h", since=FIRST, until=LAST)
TABLE = HOURS.to_pandas()
CLOSES = HOURS.close[HOURS.timestamp >= START].copy()
WEIGHTS = [0.2, 0.3, 0.5]


def check(function, *, interval="1h", **options):
    return bknb.check_lookahead(function, "BTCUSDT", exchange="demo", frame=FRAME, interval=interval, **options)


def trade(price, up):
    side = 1 if up else -1
    return bknb.Signal(
        position="long" if up else "short",
        price_take_profit=price * (1 + side * 0.02),
        price_stop_loss=price * (1 - side * 0.01),
        minute_estimated_time=240,
    )


def rows(closes, position):
    position = np.nan_to_num(np.asarray(position, dtype=float))
    return {
        "position": position,
        "price_take_profit": closes * (1 + 0.02 * position),
        "price_stop_loss": closes * (1 - 0.01 * position),
        "minute_estimated_time": 240,
    }


def series(candles):
    return pd.Series(candles.close.copy())


# -- leaks: get_signals --------------------------------------------------------------------------------------------


def the_next_return(candles):
    closes = series(candles)
    return rows(candles.close, np.sign(closes.pct_change().shift(-1)))


def a_centred_average(candles):
    closes = series(candles)
    return rows(candles.close, np.sign(closes - closes.rolling(9, center=True).mean()))


def the_mean_of_the_whole_sample(candles):
    closes = candles.close
    score = (closes - closes.mean()) / closes.std()
    return rows(closes, np.where(score > 1, -1, np.where(score < -1, 1, 0)))


def the_high_still_to_come(candles):
    ahead = np.maximum.accumulate(candles.high[::-1])[::-1]
    return rows(candles.close, ahead > candles.close * 1.05)


def a_line_through_all_the_data(candles):
    at = np.arange(len(candles))
    slope, level = np.polyfit(at, candles.close, 1)
    return rows(candles.close, np.sign(slope * at + level - candles.close))


def the_day_labelled_by_its_beginning(candles):
    closes = candles.to_pandas()["close"]
    day = closes.resample("1D", label="left", closed="left").last()
    return rows(candles.close, np.sign(day.reindex(closes.index, method="ffill") - closes))


def filled_backwards(candles):
    closes = series(candles)
    pivots = closes.where((closes > closes.shift(1)) & (closes > closes.shift(2))).bfill()
    return rows(candles.close, np.sign(pivots - closes))


def a_table_of_later_rows(candles):
    ahead = TABLE["close"].shift(-3)
    later = ahead.reindex(pd.to_datetime(candles.timestamp, unit="ms", utc=True)).to_numpy()
    return rows(candles.close, np.sign(later - candles.close))


# -- leaks: get_signal ---------------------------------------------------------------------------------------------


def a_global_table(when, price):
    later = TABLE["close"].loc[when:].iloc[:5]
    return trade(price, later.iloc[-1] > price)


def a_closure():
    candles = HOURS

    def get_signal(ctx):
        at = int(np.searchsorted(candles.timestamp, ctx.when_ms))
        return trade(ctx.price, candles.close[at] > ctx.price)

    return get_signal


def a_clock(ctx):
    if dt.datetime.now(dt.UTC).year > 2000:
        return trade(ctx.price, ctx.candles("1h", 2).close[-1] > ctx.price)
    return None


def another_clock(ctx):
    if pd.Timestamp.now().year > 2000:
        return trade(ctx.price, ctx.candles("1h", 2).close[-1] > ctx.price)
    return None


def the_end_of_the_window(ctx):
    closes = ctx._newest.__self__.minutes(ctx.symbol).candles.close
    return trade(ctx.price, closes[-1] > ctx.price)


def only_where_there_is_a_future(ctx):
    candles = ctx._newest.__self__.minutes(ctx.symbol).candles
    later = candles.close[candles.timestamp >= ctx.when_ms]
    return trade(ctx.price, up=not len(later) or round(later[0], 2) == later[0])


def how_long_the_data_will_be(ctx):
    return trade(ctx.price, up=len(ctx._newest.__self__.minutes(ctx.symbol).candles) > 25_000)


tick = time.time


def a_clock_of_another_name(ctx):
    return trade(ctx.price, ctx.candles("1h", 2).close[-1] > ctx.price) if tick() > 0 else None


def chance(ctx):
    return trade(ctx.price, random.random() > 0.5)  # noqa: S311


def chance_of_numpy(ctx):
    return trade(ctx.price, np.random.rand() > 0.5)  # noqa: NPY002


def a_counter():
    asked = []

    def get_signal(ctx):
        asked.append(ctx.when)
        return trade(ctx.price, len(asked) % 3 == 0)

    return get_signal


def a_source(ctx):
    later = asyncio.run(DEMO.get_candles(ctx.symbol, "1m", ctx.when_ms, 30))
    return trade(ctx.price, later.close[-1] > ctx.price)


def numbers_from_the_end(ctx):
    return trade(ctx.price, CLOSES[-1] > ctx.price)


class Model:
    """A model that was given everything."""

    def __init__(self):
        self.table = TABLE

    def get_signal(self, ctx):
        best = self.table["close"].loc[ctx.when : ctx.when + pd.Timedelta(hours=12)].max()
        return trade(ctx.price, best > ctx.price * 1.005)


def as_much_as_there_is(ctx):
    for limit in (3000, 1000, 500, 250, 125, 60, 30):
        try:
            closes = ctx.candles("1h", limit).close
        except bknb.NotEnoughData:
            continue
        return trade(ctx.price, ctx.price > closes.mean())
    return None


LEAKS = [
    (the_next_return, "future", "1 candle ahead"),
    (a_centred_average, "future", "4 candles ahead"),
    (the_mean_of_the_whole_sample, "future", "ahead"),
    (the_high_still_to_come, "future", "ahead"),
    (a_line_through_all_the_data, "future", "ahead"),
    (the_day_labelled_by_its_beginning, "future", "ahead"),
    (filled_backwards, "future", "ahead"),
    (a_table_of_later_rows, "future", "TABLE"),
    (a_global_table, "future", "TABLE"),
    (a_closure(), "future", "candles"),
    (a_clock, "clock", "datetime.now"),
    (another_clock, "clock", "Timestamp.now"),
    (the_end_of_the_window, "future", "candles that had not closed"),
    (how_long_the_data_will_be, "future", "candles that had not closed"),
    (only_where_there_is_a_future, "future", "candles that had not closed"),
    (a_clock_of_another_name, "clock", "time.time (test_check_lookahead.py, line"),
    (chance, "chance", "random numbers"),
    (chance_of_numpy, "chance", "random numbers"),
    (a_counter(), "memory", "keeps between two questions"),
    (a_source, "future", "DEMO"),
    (numbers_from_the_end, "outside", "CLOSES"),
    (Model().get_signal, "future", "self.table"),
    (as_much_as_there_is, "history", "history"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "kind", "what"), LEAKS, ids=[str(n) + each[1] for n, each in enumerate(LEAKS)])
def test_a_planted_leak_is_found_and_named(function, kind, what):
    report = check(function)
    assert not report.ok
    assert report.findings, report
    worst = report.findings[0]
    assert worst.kind == kind, report
    assert what in worst.what, report
    assert worst.when is not None


@pytest.mark.slow
def test_a_file_of_history_is_noticed(tmp_path):
    path = tmp_path / "history.csv"
    TABLE.to_csv(path)

    def get_signal(ctx):
        table = pd.read_csv(path, index_col=0, parse_dates=True)
        return trade(ctx.price, table["close"].loc[ctx.when :].iloc[4] > ctx.price)

    worst = check(get_signal, moments=8, interval="6h").findings[0]
    assert (worst.kind, "history.csv" in worst.what) == ("outside", True)


@pytest.mark.slow
def test_the_signal_the_moment_and_the_candle_are_named():
    finding = check(the_next_return).findings[0]
    assert finding.candle == finding.when  # it opens when the row is acted on
    assert "became nothing" in finding.signal
    ahead = check(a_table_of_later_rows).findings[0]
    assert ahead.candle == ahead.when + 2 * 3_600_000
    peeked = check(a_closure()).findings[0]
    assert peeked.candle == peeked.when


# -- without look-ahead --------------------------------------------------------------------------------------------


def crossing(ctx):
    closes = ctx.candles("1h", 31).close
    return trade(ctx.price, closes[-10:].mean() > closes[-30:].mean())


def crossing_in_rows(candles, fast=10, slow=30):
    closes = series(candles)
    return rows(candles.close, np.sign(closes.rolling(fast).mean() - closes.rolling(slow).mean()))


def exponential(candles):
    closes = series(candles)
    fast, slow = (closes.ewm(span=span, adjust=False).mean() for span in (8, 21))
    crossed = np.sign(fast - slow).diff().fillna(0)
    return rows(candles.close, np.sign(crossed))


def strength(candles):
    moves = series(candles).diff()
    up, down = moves.clip(lower=0).rolling(14).mean(), -moves.clip(upper=0).rolling(14).mean()
    index = 100 - 100 / (1 + up / down)
    return rows(candles.close, np.where(index < 30, 1, np.where(index > 70, -1, 0)))


def breakout(ctx):
    candles = ctx.candles("4h", 20)
    if ctx.price > candles.high[:-1].max():
        return trade(ctx.price, up=True)
    return trade(ctx.price, up=False) if ctx.price < candles.low[:-1].min() else None


def several_intervals(ctx):
    day, hour = ctx.candles("1d", 3).close, bknb.get_candles(ctx.symbol, "1h", 3).close
    return trade(ctx.price, up=True) if day[-1] > day[0] and hour[-1] < hour[0] else None


def by_the_calendar(ctx):
    return trade(ctx.price, up=True) if ctx.when.weekday() < 5 and ctx.when.hour in (8, 14) else None


def a_table_read_honestly(when, price):
    known = TABLE["close"].loc[: when - pd.Timedelta(hours=1)].iloc[-24:]
    return trade(price, price > known.mean())


def finished_days_only(candles):
    closes = candles.to_pandas()["close"]
    day = closes.resample("1D").last().shift(1)
    return rows(candles.close, np.sign(closes - day.reindex(closes.index, method="ffill")))


@lru_cache(maxsize=64)
def _level(price):
    return round(price, -2)


def a_helper_with_a_cache(ctx):
    return trade(ctx.price, ctx.price > _level(ctx.price))


async def waiting_for_something(ctx):
    await asyncio.sleep(0)
    return trade(ctx.price, ctx.candles("1h", 2).close[-1] > WEIGHTS[2] * ctx.candles("1h", 2).close.sum())


class Limit:
    """Waits below the market."""

    def __init__(self, distance):
        self.distance = distance

    def __call__(self, ctx):
        price = ctx.price * (1 - self.distance)
        return bknb.Signal(
            position="long",
            price_open=price,
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.98,
            minute_estimated_time=300,
        )


def chance_with_a_seed_of_its_own(ctx):
    return trade(ctx.price, np.random.default_rng(ctx.when_ms).random() > 0.5)


HONEST = [
    crossing,
    crossing_in_rows,
    exponential,
    strength,
    breakout,
    several_intervals,
    by_the_calendar,
    a_table_read_honestly,
    finished_days_only,
    a_helper_with_a_cache,
    waiting_for_something,
    Limit(0.003),
    chance_with_a_seed_of_its_own,
]


LONG = [crossing_in_rows, exponential, strength, breakout, several_intervals, finished_days_only, waiting_for_something]


@pytest.mark.parametrize(
    "function",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LONG else []) for each in HONEST],
    ids=lambda function: getattr(function, "__name__", "Limit"),
)
def test_a_strategy_without_look_ahead_passes(function):
    report = check(function)
    assert report.ok, report
    assert report.signals > 5
    assert report.to_pandas().empty


# -- the report ----------------------------------------------------------------------------------------------------


def test_a_strategy_that_never_trades_gives_no_verdict():
    report = check(lambda ctx: None)
    assert not report.ok
    assert "nothing to compare" in report.verdict


def test_a_strategy_that_always_raises_is_reported():
    report = check(lambda ctx: 1 / 0)
    assert not report.ok
    assert "ZeroDivisionError" in report.verdict


@pytest.mark.slow
def test_it_can_be_read_in_every_form():
    report = check(the_next_return)
    assert "NOT OK" in repr(report)
    assert report.to_pandas().loc[0, "kind"] == "future"
    assert report.to_pandas()["candle"].dt.tz is not None
    assert report.report().startswith("# Look-ahead check: the_next_return on BTCUSDT")
    assert "<table" in report._repr_html_()
    assert "looks back 31 x 1h of BTCUSDT" in repr(check(crossing))


def test_variables_are_left_as_they_were():
    before = TABLE.copy()
    check(a_global_table)
    assert TABLE is globals()["TABLE"]
    pd.testing.assert_frame_equal(TABLE, before)
    state = random.getstate()
    check(chance_with_a_seed_of_its_own)
    assert random.getstate() == state


def test_a_frame_without_moments_is_refused():
    with pytest.raises(bknb.UsageError, match="longer frame"):
        bknb.check_lookahead(crossing, exchange="demo", frame=("2024-01-01", "2024-01-01 01:00"), interval="1h")


def test_it_works_while_a_loop_is_running():
    async def inside():
        return check(waiting_for_something, moments=4)

    assert asyncio.run(inside()).ok


def test_changed_candles_are_still_candles():
    changed = perturbed(HOURS, 500, seed=3)
    assert changed[:500] == HOURS[:500]
    assert not np.isclose(changed.close[500:], HOURS.close[500:]).any()
    assert (changed.low <= np.minimum(changed.open, changed.close)).all()
    assert (changed.high >= np.maximum(changed.open, changed.close)).all()


def test_a_year_of_changed_minutes_stays_a_market():
    minutes = bknb.Candles.from_columns(
        timestamp=np.arange(525_600) * 60_000,
        **dict.fromkeys(("open", "high", "low", "close", "volume"), np.ones(525_600)),
    )
    for seed in range(5):
        closes = perturbed(minutes, 0, seed=seed).close
        assert 0.05 < closes.min() < closes.max() < 20


def test_no_further_experiment_follows_one_that_shows_look_ahead():
    asked = []

    def ask(when, world):
        asked.append(world)
        return ("long", 1.0, 1.0, 1.0, None) if world is AsIs else ("nothing",)

    (finding,) = check_answers(ask, [60_000], history_ms=[])
    assert finding.kind == "future"
    assert World(until=60_000) not in asked  # the first experiment has shown it


def test_a_process_that_checked_a_strategy_ends_without_output():
    """What is opened while the modules are taken down reaches a hook that still has its names."""
    program = """
import os as early, bknb.research.tracing as tracing
tracing._install()
class Late:
    def __del__(self, path=__file__, opened=open):
        opened(path).close()
early.late = Late()
"""
    command = [sys.executable, "-c", f"__file__ = {__file__!r}\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
