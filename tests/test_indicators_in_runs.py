"""Indicators wherever a strategy is asked: symbols, portfolios, weights, sweeps, workers, moments, models, checks."""

from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE
from test_indicators import MINUTES, START, WALK, source, walk

import bknb
from bknb.engine.registration_checks import make_strategy
from bknb.market.reads_of_context import run_of
from bknb.provenance.strategy_hash import fingerprint

OTHER = walk(4500, seed=2)
TWO = bknb.exchanges.from_frame(
    pd.concat([MINUTES.to_pandas().assign(symbol="X"), OTHER.to_pandas().assign(symbol="Y")])
)
FRAME = (START, START + 30 * MINUTE)


def mean(close: Any) -> Any:
    return bknb.indicators.sma(close, 10)


def seen(get: Any, *, exchange: Any = TWO, frame: Any = FRAME, interval: str = "5m", **options: Any) -> list[Any]:
    """What a function of ``ctx`` says at each question of a run."""
    found: list[Any] = []

    def get_signal(ctx: Any) -> None:
        found.append(get(ctx))

    result = bknb.backtest("X", strategy=get_signal, interval=interval, exchange=exchange, frame=frame, **options)
    assert not result.errors, result.errors
    assert found
    return found


def test_newest_values_of_one_output_and_of_several() -> None:
    fast, bands, own = (
        bknb.indicator("sma", "1m", 10),
        bknb.indicator("bbands", "1m"),
        bknb.indicator(mean, "1m", lookback=9),
    )

    def get(ctx: Any) -> None:
        close = ctx.candles("1m", 40).close
        five = fast(ctx, 5)
        assert five.shape == (5,)
        np.testing.assert_allclose(five, [close[-10 - k : len(close) - k].mean() for k in range(4, -1, -1)], rtol=1e-12)
        assert fast(ctx).tolist() == [five[-1]] == [fast.last(ctx)]
        assert type(fast.last(ctx)) is float
        upper, middle, lower = bands(ctx, 2)
        assert (bands(ctx).upper[-1], bands(ctx).middle[-1], bands(ctx).lower[-1]) == (upper[1], middle[1], lower[1])
        assert bands.last(ctx) == (upper[1], middle[1], lower[1])
        assert bands.last(ctx).lower == lower[1]
        np.testing.assert_allclose(own(ctx), five[-1:], rtol=1e-14)
        assert ctx.indicator("sma", "1m", 10).tolist() == five[-1:].tolist()
        assert ctx.indicator("sma", "1m", 10, n=5).tolist() == five.tolist()
        assert ctx.indicator(mean, "1m", lookback=9).tolist() == own(ctx).tolist()
        five[:] = 0  # it is the strategy's own
        assert fast(ctx)[-1] != 0
        assert five.base is None or five.base.size == 5

    seen(get)


def test_one_that_is_made_anew_at_each_question_has_the_values_of_the_first() -> None:
    def get(ctx: Any) -> tuple[list[float], int]:
        made = bknb.indicator("sma", "1m", 10), bknb.indicator(mean, "1m", lookback=9)
        return [each.last(ctx) for each in made], len({id(each) for each in run_of(ctx).indicators.values()})

    rows = seen(get)
    assert [count for _, count in rows] == [2] * len(rows)
    ten = bknb.indicator("sma", "1m", 10)
    np.testing.assert_allclose([values for values, _ in rows], seen(lambda ctx: [ten.last(ctx)] * 2), rtol=1e-12)


def test_values_of_another_symbol() -> None:
    fast, of_y = bknb.indicator("ema", "1m", 10), bknb.indicator("ema", "1m", 10, symbol="Y")
    asked = seen(lambda ctx: (fast(ctx)[-1], fast(ctx, symbol="Y")[-1], of_y.last(ctx), fast.last(ctx, symbol="Y"),
                              ctx.indicator("ema", "1m", 10, symbol="Y")[-1]))  # fmt: skip
    assert all(len({*rest}) == 1 and first not in rest for first, *rest in asked)


def test_a_forming_candle_counts_where_it_is_asked_for() -> None:
    hour = bknb.indicator("sma", "1h", 3)

    def get(ctx: Any) -> bool:
        closed = ctx.candles("1h", 3).close
        with_forming = ctx.candles("1h", 3, forming=True).close[-3:]
        three = hour(ctx, 3, forming=True)
        np.testing.assert_allclose(hour(ctx)[-1], closed.mean(), rtol=1e-14)
        np.testing.assert_allclose(three[-1], with_forming.mean(), rtol=1e-14)
        is_forming = ctx.when.minute != 0
        assert three[1 if is_forming else 2] == hour(ctx)[-1]
        return is_forming

    assert {*seen(get, frame=(START, START + 120 * MINUTE))} == {True, False}


def test_weights_and_the_legs_of_a_portfolio_see_the_values_of_each_symbol() -> None:
    fast = bknb.indicator("ema", "1m", 10)
    alone = {symbol: [float(each) for each in seen(lambda ctx, s=symbol: fast.last(ctx, symbol=s))] for symbol in "XY"}
    asked: list[list[float]] = []
    told: list[str] = []

    @bknb.weights("w", symbols=["X", "Y"], interval="5m")
    def get_weights(ctx: Any) -> None:
        try:
            fast(ctx)
        except bknb.UsageError as error:
            told.append(str(error))
        try:
            ctx.indicator("ema", "1m", 10)
        except bknb.UsageError as error:
            told.append(str(error))
        asked.append([fast.last(ctx, symbol=symbol) for symbol in "XY"])
        assert asked[-1] == [ctx.indicator("ema", "1m", 10, symbol=symbol)[-1] for symbol in "XY"]

    bknb.portfolio(strategies=["w"], exchange=TWO, frame=FRAME, capital=1000.0)
    assert asked == [list(pair) for pair in zip(alone["X"], alone["Y"], strict=True)]
    assert {*told} == {
        "this question is about several symbols, so say of which the indicator is to be: fast(ctx, symbol='ETHUSDT')"
    }
    of_legs: dict[str, list[float]] = {"X": [], "Y": []}
    bknb.add_strategy("leg", interval="5m", get_signal=lambda ctx: of_legs[ctx.symbol].append(fast.last(ctx)))
    bknb.portfolio(strategies=["leg"], symbols=["X", "Y"], exchange=TWO, frame=FRAME)
    assert of_legs == alone


def test_indicators_of_symbols_of_several_exchanges_are_refused_in_weights() -> None:
    fast, told = bknb.indicator("ema", "1m", 10), set()

    @bknb.weights("two", symbols=["X", "Y"], interval="5m")
    def get_weights(ctx: Any) -> None:
        for ask in (lambda: fast(ctx, symbol="Y"), lambda: ctx.indicator("ema", "1m", 10, symbol="Y")):
            with pytest.raises(bknb.UsageError) as caught:
                ask()
            told.add(str(caught.value).splitlines()[0])

    exchanges = {"X": source(MINUTES), "Y": source(OTHER)}
    bknb.portfolio(strategies=["two"], exchange=exchanges, frame=FRAME, capital=1000.0)
    assert len(told) == 1
    assert told.pop().startswith("ctx.indicator reads from one exchange")


def crosses(ctx: Any, length: int = 10) -> Any:
    fast, slow = ctx.indicator("ema", "1m", length)[-1], OWN(ctx)[-1]
    if (ctx.position is None) and fast > slow:
        return bknb.Signal(position="long", target_percent=0.6, stop_percent=0.6, minute_estimated_time=9)
    return None


OWN = bknb.indicator(mean, "1m", lookback=20)


@pytest.mark.slow
def test_sweeps_and_workers_trade_as_one_process_does() -> None:
    calls: list[int] = []

    def counted(close: Any) -> Any:
        calls.append(1)
        return bknb.indicators.sma(close, 20)

    each = bknb.indicator(counted, "1m", lookback=20)
    frame = (START, START + 200 * MINUTE)

    def get_signal(ctx: Any, up: float = 1.0) -> Any:
        if each(ctx)[-1] < ctx.price:
            return bknb.Signal(position="long", target_percent=up, stop_percent=0.6, minute_estimated_time=9)
        return None

    settings = {
        "percent_fee": 0.0,
        "percent_slippage": 0.0,
        "min_take_profit_distance_percent": 0.1,
        "min_stop_loss_distance_percent": 0.1,
    }
    options = {"exchange": TWO, "frame": frame, "settings": settings}
    strategy = bknb.add_strategy("sweeps", interval="1m", get_signal=get_signal)
    bknb.backtest("X", strategy=strategy, **options)
    once = len(calls)
    result = bknb.sweep(strategy, params={"up": [0.8, 1.0, 1.2, 1.4]}, symbol="X", **options)
    assert len(result) == 4
    assert len(calls) - once <= once + 8  # the runs of a sweep have the values in common
    bknb.add_strategy("crosses", interval="1m", get_signal=crosses)
    one = bknb.portfolio(strategies=["crosses"], symbols=["X", "Y"], **options)
    with ThreadPoolExecutor(2) as pool:  # everything is pickled on its way, as to processes
        two = bknb.portfolio(strategies=["crosses"], symbols=["X", "Y"], executor=pool, **options)
    assert len(one.trades) > 5
    assert one.trades.equals(two.trades)


def test_a_moment_of_a_result_has_the_values_of_the_run() -> None:
    fast, bands = bknb.indicator("ema", "1m", 10), bknb.indicator("bbands", "3m")
    found: dict[int, Any] = {}

    def get_signal(ctx: Any) -> None:
        found[ctx.when_ms] = fast(ctx, 3).tolist(), bands.last(ctx)

    result = bknb.backtest("X", strategy=get_signal, interval="5m", exchange=TWO, frame=FRAME)
    for when in reversed(found):
        ctx = result.at(when).context
        assert (fast(ctx, 3).tolist(), bands.last(ctx)) == found[when]


def test_a_fit_of_a_model_notes_the_candles_that_an_indicator_is_made_of() -> None:
    fast = bknb.indicator("sma", "1m", 10)

    @bknb.model("level", every="00:00 UTC")
    def fit(ctx: Any) -> float:
        value: float = fast.last(ctx)
        return value

    other = MINUTES.block.copy()
    day = START // (1440 * MINUTE) * 1440 * MINUTE
    other[1:5, np.searchsorted(MINUTES.timestamp, day - 5 * MINUTE)] *= 1.5
    first, second = (
        {*seen(lambda ctx: ctx.model("level"), exchange=each)} for each in (WALK, source(bknb.Candles(other)))
    )
    assert len(first) == len(second) == 1
    assert first != second


def test_the_hash_of_a_strategy_knows_its_indicators() -> None:
    def hashed(each: Any) -> str:
        def get_signal(ctx: Any) -> None:
            each(ctx)

        return fingerprint(make_strategy("s", get_signal, interval="1h"))

    def other(close: Any) -> Any:
        return bknb.indicators.ema(close, 10)

    made = [
        *(bknb.indicator("sma", "1h", length) for length in (10, 20)),
        *(
            bknb.indicator("sma", "4h", 10),
            bknb.indicator("ema", "1h", 10),
            bknb.indicator("sma", "1h", 10, symbol="Y"),
        ),
        *(bknb.indicator(mean, "1h", lookback=20), bknb.indicator(mean, "1h", lookback=30)),
        bknb.indicator(other, "1h", lookback=20),
    ]
    assert len({hashed(each) for each in made}) == len(made)
    assert hashed(made[0]) == hashed(bknb.indicator("sma", "1h", 10))
    copied = pickle.loads(pickle.dumps(made[5]))  # noqa: S301
    assert hashed(copied) == hashed(made[5])


@pytest.mark.slow
def test_the_look_ahead_check_finds_nothing_in_a_strategy_with_indicators() -> None:
    fast, slow = bknb.indicator("ema", "1h", 5), bknb.indicator(mean, "1h", lookback=9)

    def get_signal(ctx: Any) -> Any:
        if fast(ctx)[-1] > slow(ctx)[-1]:
            return bknb.Signal(position="long", target_percent=2, stop_percent=1, minute_estimated_time=240)
        return None

    report = bknb.check_lookahead(get_signal, exchange="demo", frame="2024-01-01:2024-01-05", interval="1h", moments=8)
    assert report.ok, report
    assert "x 1h of BTCUSDT" in report.looks_back


@pytest.mark.slow
def test_nor_in_one_whose_indicators_have_no_value_where_the_data_begin_later() -> None:
    fast, slow = bknb.indicator("ema", "4h", 20), bknb.indicator("ema", "4h", 50)

    def get_signal(ctx: Any) -> Any:
        side = "long" if fast(ctx)[-1] > slow(ctx)[-1] else "short"
        return bknb.Signal(position=side, target_percent=2, stop_percent=1, minute_estimated_time=240)

    report = bknb.check_lookahead(get_signal, exchange="demo", frame="2024-01-01:2024-01-05", interval="4h", moments=4)
    assert report.ok, report


# --- wrong use ----------------------------------------------------------------------------------------------------


WRONG: tuple[tuple[Any, str], ...] = (
    (lambda: bknb.indicator("smaa", "1h", 5), "no indicator is called 'smaa'; did you mean 'sma'?"),
    (lambda: bknb.indicator("sma", "1h"), r"the indicator sma takes \(length\) behind the interval, got \(\)"),
    (lambda: bknb.indicator("macd", "1h", 1, 2, 3, 4), r"takes \(fast=12, slow=26, signal=9\) behind the interval"),
    (lambda: bknb.indicator("sma", "1h", 2.5), "length of sma must be a whole number of at least 1, got 2.5"),
    (lambda: bknb.indicator("bbands", "1h", 20, -1), "deviations of bbands must be a number above 0, such as 2"),
    (lambda: bknb.indicator("sma", 10, "1h"), "unknown interval 10"),
    (lambda: bknb.indicator("obv", "1h"), r"obv adds up all candles .*\n.*over a window: 'obv_change'$"),
    (lambda: bknb.indicator("ad", "1h"), "over a window: 'cmf'$"),
    (lambda: bknb.indicator("nvi", "1h"), "as a function of your own with lookback=$"),
    (
        lambda: bknb.indicator("percentile", "1h", 20, 120),
        "percent of percentile must be a number from 0 to 100, got 120",
    ),
    (lambda: bknb.indicator("psar", "1h", 0), "step of psar must be a number above 0"),
    (lambda: bknb.indicator("sma", "1h", 5, lookback=-1), "lookback must be a whole number of at least 0"),
    (lambda: bknb.indicator("sma", "1h", 5, lookback=10**9), "lookback must be at most 200,000 candles"),
    (lambda: bknb.indicator("sma", "1h", 5, symbol=""), "symbol must be a non-empty text"),
    (lambda: bknb.indicator(5, "1h"), "an indicator is a name such as 'sma', or a function of candles, got 5"),
    (lambda: bknb.indicator(mean, "1h"), r"decide it: bknb.indicator\(mean, '1h', lookback=200\)"),
    (lambda: bknb.indicator(lambda: 1, "1h", lookback=1), "takes no candles"),
    (lambda: bknb.indicator(lambda close, length: 1, "1h", lookback=1), "takes 'length', and nothing is given for it"),
    (lambda: bknb.indicator(mean, "1h", 5, lookback=1), "takes 0 parameters behind the interval, got 1"),
    (lambda: bknb.indicator("sma", "1h", 5)(3), "an indicator is called with the ctx of a strategy, got 3"),
    (lambda: bknb.indicators.sma([[1.0]], 1), r"takes one row of numbers, shape \(n,\), got the shape \(1, 1\)"),
    (lambda: bknb.indicators.sma([1.0], 0), "the length of an indicator is a whole number of candles, at least 1"),
)


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=[told[:30] for _, told in WRONG])
def test_what_cannot_be_meant_is_told(wrong: Any, told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        wrong()


def test_what_a_question_cannot_mean_is_told() -> None:
    fast = bknb.indicator("sma", "1m", 5)

    def short(close: Any) -> Any:
        return close[:5]

    async def later(close: Any) -> Any:
        return close

    wrong: dict[str, Any] = {
        "n must be a whole number of at least 1, got 0": lambda ctx: fast(ctx, 0),
        "n must be a whole number of at least 1, got 1.5": lambda ctx: fast(ctx, 1.5),
        "symbol must be a non-empty text": lambda ctx: fast(ctx, symbol=5),
        "forming must be True or False": lambda ctx: fast(ctx, forming=1),
        "the indicator short must return a number for each of its": bknb.indicator(short, "1m", lookback=5),
        "got coroutine; it must be a plain function": bknb.indicator(later, "1m", lookback=5),
    }

    def get(ctx: Any) -> None:
        fast(ctx)
        for told, ask in wrong.items():
            with pytest.raises(bknb.UsageError, match=re.escape(told)):
                ask(ctx)

    seen(get, frame=(START, START + 5 * MINUTE))


def test_what_a_function_of_candles_returns_by_name() -> None:
    def table(candles: Any) -> Any:
        return candles.to_pandas()[["open", "close"]]

    def pair(high: Any, low: Any, scale: float) -> Any:
        return high * scale, low * scale

    each, two = bknb.indicator(table, "1m", lookback=1), bknb.indicator(pair, "1m", 2.0, lookback=0)

    def get(ctx: Any) -> None:
        newest = ctx.candles("1m", 1)
        assert (each(ctx).open, each(ctx).close) == (newest.open, newest.close)
        high, low = two(ctx)
        assert (high, low) == (newest.high * 2, newest.low * 2)

    seen(get)


def test_functions_of_ta_lib_are_given_as_they_are() -> None:
    talib = pytest.importorskip("talib")
    wma, bands = bknb.indicator(talib.WMA, "1m", 10, lookback=9), bknb.indicator(talib.BBANDS, "1m", 20, lookback=19)
    named = bknb.indicator("bbands", "1m", 20)

    def get(ctx: Any) -> None:
        close = ctx.candles("1m", 10).close
        assert wma.last(ctx) == pytest.approx((close * np.arange(1, 11)).sum() / 55, rel=1e-12)
        assert bands.last(ctx) == named.last(ctx)

    seen(get)


def test_a_function_sees_its_candles_and_not_the_moment_of_a_question() -> None:
    def looks(close: Any) -> Any:
        bknb.get_when()
        return close

    each = bknb.indicator(looks, "1m", lookback=1)

    def get(ctx: Any) -> None:
        with pytest.raises(bknb.UsageError, match="strateg"):
            each(ctx)

    seen(get)


def test_a_young_symbol_has_nan_until_its_look_back_is_there() -> None:
    calls: list[int] = []

    def counted(close: Any) -> Any:
        calls.append(1)
        return close

    fast, day = bknb.indicator("sma", "1m", 10), bknb.indicator("bbands", "1d", 3)
    begin, none = int(MINUTES.timestamp[0]), bknb.indicator(counted, "1d", lookback=3)

    def get(ctx: Any) -> tuple[int, bool]:
        assert np.isnan(day(ctx, 2).lower).all()
        assert np.isnan(none.last(ctx))
        assert fast(ctx, 30).shape == (30,)
        return (ctx.when_ms - begin) // MINUTE, bool(np.isnan(fast.last(ctx)))

    found = seen(get, exchange=WALK, frame=(begin + 5 * MINUTE, begin + 20 * MINUTE), interval="1m")
    assert found == [(minute, minute < 10) for minute in range(5, 20)]
    assert len(calls) == 1
