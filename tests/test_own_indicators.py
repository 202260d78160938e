"""Functions of one's own as indicators: what they may be made of, what they return, where they are written."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE
from test_indicators import START, WALK, source, walk

import bknb

WHEN = START + 25 * MINUTE  # of the last question
OPTIONS: dict[str, Any] = {"frame": (START, WHEN + MINUTE), "allow_gaps": True}


class Inline(NamedTuple):
    """A function that is given to ``ctx.indicator``."""

    function: Any
    parameter: Any

    def last(self, ctx: Any) -> float:
        value: float = ctx.indicator(self.function, "1m", self.parameter, lookback=0).item(0)
        return value


def answers(given: dict[str, Any], *, exchange: Any = WALK) -> dict[str, Any]:
    """The newest value of each of some indicators at the last question of a run, or the error it raises."""
    found: dict[str, Any] = {}

    def get_signal(ctx: Any) -> None:
        for name, each in given.items():
            try:
                found[name] = each.last(ctx)
            except (bknb.UsageError, bknb.LookaheadError) as error:
                found[name] = str(error)

    result = bknb.backtest("X", strategy=get_signal, interval="5m", exchange=exchange, **OPTIONS)
    assert not result.errors, result.errors
    return found


def test_gaps_between_candles_may_be_what_a_value_is_made_of() -> None:
    minutes = walk(4500)
    has = (minutes.timestamp // MINUTE) % 60 != 7
    gapped = source(bknb.Candles(minutes.block[:, has]))

    def since_gap(timestamp: Any) -> Any:
        begins = np.diff(timestamp, prepend=timestamp[0]) > MINUTE
        return pd.Series(begins).groupby(np.cumsum(begins)).cumcount().where(np.cumsum(begins) > 0)

    found = answers({"since": bknb.indicator(since_gap, "1m", lookback=70)}, exchange=gapped)
    last = int(minutes.timestamp[has & (minutes.timestamp < WHEN)][-1]) // MINUTE
    assert found == {"since": (last - 8) % 60}  # 0 at the first candle behind a gap


def test_what_cannot_be_read_as_values_is_told() -> None:
    def reversed_rows(close: Any) -> Any:
        return pd.Series(close).rolling(3).mean()[::-1]

    def newest_first(candles: Any) -> Any:
        closes = pd.Series(candles.close, index=pd.to_datetime(candles.timestamp, unit="ms"))
        return closes.to_frame("close").sort_index(ascending=False)

    def by_hour(candles: Any) -> Any:
        hours = pd.Series(candles.timestamp // (60 * MINUTE) % 24)
        return pd.Series(candles.close).groupby(hours.to_numpy()).apply(lambda each: each.shift(1))

    def one_of_two(high: Any, low: Any) -> Any:
        return {"up": pd.Series(high), "down": pd.Series(low).sort_values()}

    def waves(close: Any) -> Any:
        return close * 1j

    def by_price(close: Any, volume: Any) -> Any:
        return pd.Series(volume, index=close).rolling(2).sum()

    of = (reversed_rows, newest_first, by_hour, one_of_two, waves, by_price)
    found = answers({f.__name__: bknb.indicator(f, "1m", lookback=3) for f in of})
    assert type(found.pop("by_price")) is float
    assert found.pop("waves").endswith("\ngot an array of complex numbers: take .real or np.abs of it")
    for name, told in found.items():
        assert told.startswith(f"the indicator {name} must return its values in the order of the candles"), told
        assert told.endswith("\nput it in order before, as .sort_index() does"), told


def test_a_parameter_that_cannot_be_given_is_told_at_once() -> None:
    def scaled(close: Any, *, by: float) -> Any:
        return close * by

    with pytest.raises(bknb.UsageError, match=r"scaled takes 'by' by name alone, and an indicator gives none by name"):
        bknb.indicator(scaled, "1m", lookback=0)


def test_a_function_that_is_written_in_a_strategy_is_one_indicator() -> None:
    """It is another object at each question; what it holds of the strategy tells one from another."""
    calls: list[float] = []
    found: list[tuple[list[float], float]] = []

    def get_signal(ctx: Any) -> None:
        def scaled(close: Any, by: float = 2.0) -> Any:
            calls.append(by)
            return helped(close) * by * weights.sum()

        def helped(close: Any) -> Any:
            return close + more

        weights, given = np.array([0.5, 0.5]), []
        for each in (1, 1.5):
            more = each
            given.append(ctx.indicator(scaled, "1m", lookback=0)[-1])
            given.append(ctx.indicator(partial(scaled, by=3.0), "1m", lookback=0)[-1])
        found.append((given, ctx.candles("1m", 1).close[-1]))

    result = bknb.backtest("X", strategy=get_signal, interval="1m", exchange=WALK, **OPTIONS)
    assert not result.errors, result.errors
    for given, close in found:
        assert given == [(close + 1) * 2, (close + 1) * 3, (close + 1.5) * 2, (close + 1.5) * 3]
    assert len(found) > 20
    assert len(calls) < 8 * len(found)  # for the proofs of four indicators, and not for each question


def test_an_indicator_reads_no_context() -> None:
    told = []

    def get_signal(ctx: Any) -> None:
        with pytest.raises(bknb.UsageError) as error:
            ctx.indicator(lambda close: close / ctx.price, "1m", lookback=0)
        told.append(str(error.value))

    result = bknb.backtest("X", strategy=get_signal, interval="5m", exchange=WALK, **OPTIONS)
    assert not result.errors, result.errors
    (text,) = {*told}
    assert text.startswith("the indicator <lambda> reads ctx, so its values would be of the moment of one question")


def test_parameters_of_other_kinds_are_other_parameters() -> None:
    def kind(close: Any, what: Any) -> Any:
        return close * 0 + [bool, int, float].index(type(what))

    of = (1, 1.0, True)
    each = {repr(what): bknb.indicator(kind, "1m", what, lookback=0) for what in of}
    assert answers(each) == {"1": 1, "1.0": 2, "True": 0}
    inline = {repr(what): Inline(kind, what) for what in of}
    assert answers(inline) == {"1": 1, "1.0": 2, "True": 0}
