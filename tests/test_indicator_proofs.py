"""What an indicator must have shown before it is believed: no later candle, no chance, a look-back that suffices."""

from __future__ import annotations

import copyreg
import random
import re
import traceback
from typing import Any

import numpy as np
import pandas as pd
import pytest
from indicator_functions import HONEST, LOOK_AHEAD
from tblib.pickling_support import pickle_exception
from test_indicators import HOUR, source, walk

import bknb
from bknb.market.indicator_names import NAMED, parameters_of

BARS = source(walk(1000, since=0, step=4 * HOUR))  # few are in a block
FIRST = 520 * 4 * HOUR


def asked(
    given: dict[str, Any], *, exchange: Any = BARS, first: int = FIRST, count: int = 2, **options: Any
) -> dict[str, Any]:
    """What each of some indicators gives at the last of some moments of a run, or the error it raises."""
    found: dict[str, Any] = {}

    def get_signal(ctx: Any) -> None:
        for name, each in given.items():
            if isinstance(found.get(name), Exception):
                continue
            try:
                found[name] = each(ctx)
            except Exception as error:  # noqa: BLE001 -- it is looked at
                found[name] = error

    frame = (first, first + count * 4 * HOUR)
    result = bknb.backtest("X", strategy=get_signal, interval="4h", exchange=exchange, frame=frame, **options)
    assert not result.errors, result.errors
    return found


@pytest.mark.slow
def test_functions_that_look_ahead_are_refused_and_others_are_not() -> None:
    assert len(LOOK_AHEAD) >= 30
    assert len(HONEST) >= 60
    given = {**LOOK_AHEAD, **HONEST}
    found = asked({name: bknb.indicator(f, "4h", lookback=400) for name, f in given.items()})
    refused = {name: each for name, each in found.items() if isinstance(each, Exception)}
    assert set(refused) == set(LOOK_AHEAD), {name: str(refused.get(name)) for name in set(refused) ^ set(LOOK_AHEAD)}
    told = re.compile(r"made of candles that had not closed: at 19\d\d-.* UTC it is \S+( in \w+)?, and \S+ when")
    for name, error in refused.items():
        assert type(error) is bknb.LookaheadError, name
        assert told.search(str(error)), error


def test_a_leak_that_shows_in_a_later_block_is_refused_there() -> None:
    """It looks ahead where a volume is much larger than all before, which comes once."""

    def surge(close: Any, volume: Any) -> Any:
        return np.where(volume > 1e6, close[np.minimum(np.arange(len(close)) + 40, len(close) - 1)], close)

    bars = walk(1000, since=0, step=4 * HOUR)
    columns = {name: getattr(bars, name) for name in ("timestamp", "open", "high", "low", "close")}
    large = np.where(np.arange(1000) // 128 == 6, 1e7, bars.volume)
    exchange = source(bknb.Candles.from_columns(**columns, volume=large))
    each = {"surge": bknb.indicator(surge, "4h", lookback=10)}
    assert isinstance(asked(each, exchange=exchange, count=5)["surge"], np.ndarray)
    error = asked(each, exchange=exchange, count=300)["surge"]
    assert type(error) is bknb.LookaheadError
    assert "made of candles that had not closed: at 1970-0" in str(error)


@pytest.mark.parametrize("event", ["volume", "rise", "fall", "range"])
def test_a_leak_at_one_rare_candle_is_refused_in_its_block(event: str) -> None:
    """It gives the next close where a candle stands out more than all before."""
    size = {"volume": 1e6, "rise": 0.3, "fall": 0.2, "range": 0.5}[event]

    def next_close(candles: Any) -> Any:
        close = candles.close
        moves = np.diff(close, prepend=close[0]) / close
        sizes = {"volume": candles.volume, "rise": moves, "fall": -moves, "range": (candles.high - candles.low) / close}
        return np.where(sizes[event] > size, np.append(close[1:], close[-1]), close)

    block = walk(1000, since=0, step=4 * HOUR).block.copy()
    _, _, high, low, _, volume = block
    if event == "volume":
        volume[700] = 1e7
    elif event == "range":
        high[700], low[700] = high[700] * 2, low[700] / 2
    else:
        block[1:5, 700:] *= 2 if event == "rise" else 0.5
    each = {"next": bknb.indicator(next_close, "4h", lookback=10)}
    error = asked(each, exchange=source(bknb.Candles(block)), count=300)["next"]
    assert type(error) is bknb.LookaheadError
    assert "at 1970-04-27 20:00 UTC" in str(error)


@pytest.mark.parametrize("unit", ["D", "W", "M", "hole"])
def test_a_gap_on_the_candle_before_it_is_refused(unit: str) -> None:
    """The next open stands at the last candle of a day, a week or a month, or before a candle that is missing."""

    def gap(candles: Any) -> Any:
        times = candles.timestamp.view("datetime64[ms]")
        days = times - np.timedelta64(4, "D") if unit == "W" else times
        is_last = np.diff(days.astype("datetime64[D]" if unit == "hole" else f"datetime64[{unit}]").view(np.int64)) != 0
        if unit == "hole":
            is_last = np.diff(candles.timestamp) > 4 * HOUR
        following = np.append(candles.open[1:], candles.close[-1])
        return np.where(np.append(is_last, False), following, candles.close)

    block = np.delete(walk(1000, since=0, step=4 * HOUR).block, [150, 500], axis=1)
    each = {"gap": bknb.indicator(gap, "4h", lookback=30)}
    error = asked(each, exchange=source(bknb.Candles(block)), first=545 * 4 * HOUR, allow_gaps=True)["gap"]
    assert type(error) is bknb.LookaheadError
    assert "made of candles that had not closed" in str(error)


def test_a_leak_at_the_border_of_a_block_is_none_of_the_look_back() -> None:
    def next_hour_begins(candles: Any) -> Any:
        is_border = (candles.timestamp + 4 * HOUR) // (128 * 4 * HOUR) != candles.timestamp // (128 * 4 * HOUR)
        following = np.append(candles.open[1:], candles.close[-1] * 1.01)
        return np.where(is_border, following, candles.close)

    error = asked({"border": bknb.indicator(next_hour_begins, "4h", lookback=30)}, count=300)["border"]
    assert type(error) is bknb.LookaheadError
    assert "made of candles that had not closed" in str(error)


@pytest.mark.parametrize("dask", [False, True], ids=["plain", "Dask was imported"])
def test_a_refusal_is_raised_again_at_each_question(monkeypatch: pytest.MonkeyPatch, *, dask: bool) -> None:
    calls: list[int] = []
    monkeypatch.delitem(copyreg.dispatch_table, bknb.LookaheadError, raising=False)
    if dask:  # whose import has every copy of an error keep its traceback
        monkeypatch.setitem(copyreg.dispatch_table, bknb.LookaheadError, pickle_exception)

    def peeks(close: Any) -> Any:
        calls.append(1)
        return np.roll(close, -1)

    each, depths, counts = bknb.indicator(peeks, "4h", lookback=10), [], []

    def get_signal(ctx: Any) -> None:
        try:
            each(ctx)
        except bknb.LookaheadError as error:
            depths.append(len(traceback.extract_tb(error.__traceback__)))
            counts.append(len(calls))

    bknb.backtest("X", strategy=get_signal, interval="4h", exchange=BARS, frame=(FIRST, FIRST + 40 * HOUR))
    assert len(depths) == 10
    assert max(depths[1:]) == min(depths[1:]) < 12
    assert len({*counts[1:]}) == 1  # the function is not called for it


def test_chance_and_memory_are_refused() -> None:
    calls: list[int] = []

    def counts(close: Any) -> Any:
        calls.append(1)
        return close + len(calls)

    kept: list[Any] = []

    def first_call(close: Any) -> Any:
        kept.append(close.copy())
        return kept[0]

    made_before = walk(1000, seed=9).close
    given = {
        "chance": lambda close: close + np.random.default_rng().normal(size=len(close)),
        "random": lambda close: [value + random.random() for value in close],  # noqa: S311
        "counts": counts,
        "kept": first_call,
        "made before": lambda close: made_before[: len(close)],
    }
    found = asked({name: bknb.indicator(f, "4h", lookback=10) for name, f in given.items()})
    for name, error in found.items():
        assert type(error) is bknb.LookaheadError, name
        again = "gives other values when it is called again" in str(error)
        assert again if name in ("chance", "random", "counts") else "whatever its candles are" in str(error), error


def test_rounding_that_depends_on_later_candles_is_told_once() -> None:
    def rounds(close: Any) -> Any:
        return close * (1 + 3e-16 * int(close[-1] * 1e6) % 3e-15)

    each = bknb.indicator(rounds, "4h", lookback=10)

    def get_signal(ctx: Any) -> None:
        each(ctx)

    result = bknb.backtest("X", strategy=get_signal, interval="4h", exchange=BARS, frame=(FIRST, FIRST + 40 * HOUR))
    (warning,) = [text for text in result.warnings if "bit-stable" in text]
    assert warning.startswith("the indicator rounds of X 4h candles is not bit-stable")


# --- look-back ----------------------------------------------------------------------------------------------------


def test_a_look_back_that_is_too_short_is_refused_with_one_that_suffices() -> None:
    def smooth(close: Any) -> Any:
        return pd.Series(close).ewm(span=60, adjust=False).mean()

    error = asked({"short": bknb.indicator(smooth, "4h", lookback=60)})["short"]
    assert type(error) is bknb.LookbackTooShort
    assert error.suffices is not None
    assert re.search(
        rf"more candles than lookback=60 .*\nabout lookback={error.suffices} suffices$", str(error), re.DOTALL
    )
    assert 400 < error.suffices < 900
    assert isinstance(asked({"long": bknb.indicator(smooth, "4h", lookback=error.suffices)})["long"], np.ndarray)
    later = asked({"short": bknb.indicator(smooth, "4h", lookback=60)}, first=900 * 4 * HOUR)["short"]
    assert str(later).endswith(f"lookback={later.suffices} suffices")
    assert 400 < later.suffices < 900
    short = bknb.indicator("sma", "4h", 200, lookback=150)  # all of its values are NaN
    assert type(asked({"short": short}, first=620 * 4 * HOUR)["short"]) is bknb.LookbackTooShort


@pytest.mark.parametrize("length", [4, 9, 25])
def test_the_look_back_that_is_said_suffices_at_all_later_blocks(length: int) -> None:
    """It is that of the candles among which an average remembers longest, not that of the newest one."""
    given = {
        "ewm": lambda close: pd.Series(close).ewm(span=length).std(),
        "twice": lambda close: pd.Series(close).ewm(span=length).mean().ewm(span=3).mean(),
        "day": lambda c: pd.Series(c.close).groupby(c.timestamp // (24 * length * HOUR)).cummax().to_numpy(),
    }
    short = asked({name: bknb.indicator(f, "4h", lookback=3) for name, f in given.items()})
    assert {type(error) for error in short.values()} == {bknb.LookbackTooShort}
    long = {name: bknb.indicator(f, "4h", lookback=short[name].suffices) for name, f in given.items()}
    found = asked(long, first=200 * 4 * HOUR, count=780)
    assert {type(each) for each in found.values()} == {np.ndarray}, found


def test_a_function_that_remembers_everything_is_refused() -> None:
    def balance(close: Any, volume: Any) -> Any:
        return np.cumsum(np.sign(np.diff(close, prepend=close[0])) * volume)

    error = asked({"obv": bknb.indicator(balance, "4h", lookback=200)})["obv"]
    assert type(error) is bknb.LookbackTooShort
    assert error.suffices is None
    assert "it remembers all candles since a beginning" in str(error)
    with pytest.raises(bknb.UsageError, match="obv adds up all candles since a beginning"):
        bknb.indicator("obv", "1h")


@pytest.mark.parametrize("name", NAMED)
def test_the_look_back_of_every_name_suffices(name: str) -> None:
    """To 1e-9 of the largest value; to 1e-6 where half of the price went in one candle shortly before it."""
    known = NAMED[name]
    calm = walk(1500, since=0, step=4 * HOUR, seed=4)
    few = {"true_range": [()], "bop": [()], "macd": [(), (3, 10, 20)], "bbands": [(), (5, 3)],
           "psar": [(0.02, 0.2, 60)], "supertrend": [(5, 2, 60)], "keltner": [(), (5, 1, 7)], "percentile": [(9, 30)],
           "ppo": [(), (3, 10)], "stoch": [(), (5, 1, 2)], "stochrsi": [(), (7, 5, 2)],
           "ultosc": [(), (2, 3, 5)]}  # fmt: skip
    for given in few.get(name, [(1,), (2,), (7,), (14,)]):
        parameters = parameters_of(name, given)
        before = min(known.lookback(*parameters), 1150)  # that of kama is for markets that stand still
        for newest, crash, most in ((1200, 0, 1e-9), (1450, 0, 1e-9), (1400, 1390 - before, 1e-6)):
            block = calm.block.copy()
            block[1:5, crash:] *= 0.5
            columns = [getattr(bknb.Candles(block[:, : newest + 1]), column) for column in known.columns]
            whole, part = (
                np.atleast_2d(known.formula(*some, *parameters))
                for some in (columns, [c[-before - 1 :] for c in columns])
            )
            error = np.abs(whole[:, -1] - part[:, -1]) / np.maximum(np.nanmax(np.abs(whole), axis=1), 1e-300)
            assert (error <= most).all(), (given, newest, error)


def test_a_name_may_look_back_less_where_that_suffices() -> None:
    given = {"some": bknb.indicator("ema", "4h", 10, lookback=110), "few": bknb.indicator("ema", "4h", 10, lookback=60)}
    found = asked(given)
    assert isinstance(found["some"], np.ndarray)
    assert type(found["few"]) is bknb.LookbackTooShort
