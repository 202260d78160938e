"""The look-ahead check over prices at or below zero: leaks are found, honest strategies pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.research.candles_changed_after_moment import moved, perturbed, usual_size

MINUTE = 60_000
COUNT = 3 * 24 * 60
FREE = {
    "percent_fee": 0.0,
    "percent_slippage": 0.0,
    "min_take_profit_distance_percent": 0.0,
    "min_stop_loss_distance_percent": 0.0,
    "max_stop_loss_distance_percent": None,
}


def power() -> pd.DataFrame:
    """Minutes of a price that goes back and forth through zero."""
    rng, close = np.random.default_rng(7), np.zeros(COUNT)
    for at in range(1, COUNT):
        close[at] = 0.998 * close[at - 1] + rng.normal(0.0, 0.05)
    close = close.round(2)
    opened = np.concatenate([close[:1], close[:-1]])
    columns = {"open": opened, "high": np.maximum(opened, close) + 0.01, "low": np.minimum(opened, close) - 0.01}
    index = pd.date_range("2020-04-20", periods=COUNT, freq="min", tz="UTC", name="time")
    return pd.DataFrame({**columns, "close": close, "volume": 1.0 + rng.random(COUNT)}, index)


DATA = power()
TABLE = DATA.copy()
NUMBERS = DATA["close"].to_numpy().copy()
TEXT = "\n".join(f"{close:.2f}" for close in NUMBERS)


def signal(ctx: Any, up: Any) -> bknb.Signal:
    side = 1 if up else -1
    levels: dict[str, Any] = {"price_take_profit": ctx.price + side * 0.5, "price_stop_loss": ctx.price - side * 0.5}
    return bknb.Signal(position="long" if up else "short", minute_estimated_time=120, **levels)


def later(ctx: Any) -> int:
    """The place of the candle of an hour later."""
    return min((ctx.when_ms - int(DATA.index[0].timestamp()) * 1000) // MINUTE + 60, COUNT - 1)


def of_a_table(ctx: Any) -> bknb.Signal:
    return signal(ctx, TABLE["close"].iloc[later(ctx)] > 0)


def of_an_array(ctx: Any) -> bknb.Signal:
    return signal(ctx, NUMBERS[later(ctx)] > 0)


def of_text(ctx: Any) -> bknb.Signal:
    return signal(ctx, float(TEXT.splitlines()[later(ctx)]) > 0)


def level_of_later(ctx: Any) -> bknb.Signal:
    """Of a market 20 lower, in which all levels are below zero."""
    return bknb.Signal(position="long", price_take_profit=[(max(NUMBERS[later(ctx)] - 20, ctx.price + 0.2), 0.5)])


def with_the_trend(ctx: Any) -> bknb.Signal:
    closes = ctx.candles("1h", 2).close
    return signal(ctx, closes[1] > closes[0])


def by_the_sign(ctx: Any) -> bknb.Signal:
    return signal(ctx, ctx.price <= 0)


def rows_of(ahead: int) -> Callable[[Any], dict[str, Any]]:
    def rows(candles: Any) -> dict[str, Any]:
        close = candles.close
        up = np.concatenate([close[ahead:], close[-1:].repeat(ahead)]) <= 0
        levels = {
            "price_take_profit": np.where(up, close + 0.5, close - 0.5),
            "price_stop_loss": np.full(len(close), np.nan),
        }
        return {"position": np.where(up, 1, -1), **levels, "minute_estimated_time": 120}

    return rows


def checked(strategy: Any, *, lower: float = 0.0, **options: Any) -> Any:
    prices = ["open", "high", "low", "close"]
    source = bknb.exchanges.from_frame(DATA.assign(**{name: DATA[name] - lower for name in prices}), negative=True)
    frame = ("2020-04-21", "2020-04-22 12:00")
    return bknb.check_lookahead(strategy, "CL", exchange=source, frame=frame, settings=FREE, moments=12, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "words"),
    [(of_a_table, "TABLE"), (of_an_array, "NUMBERS"), (of_text, "TEXT"), (level_of_later, "NUMBERS")],
)
def test_leaks_over_prices_below_zero_are_found(strategy: Any, words: str) -> None:
    report = checked(strategy, interval="1h", lower=20.0 if strategy is level_of_later else 0.0)
    assert not report.ok
    assert any(words in finding.what for finding in report.findings), report


@pytest.mark.slow
def test_rows_that_leak_over_prices_below_zero_are_found_and_others_pass() -> None:
    for ahead in (0, 1):
        bknb.add_strategy("rows", get_signals=rows_of(ahead), interval="1h", lookback=4)
        report = checked("rows")
        assert (report.ok, report.rows_compared) == (ahead == 0, 12), report


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [with_the_trend, by_the_sign])
def test_honest_strategies_over_prices_below_zero_pass(strategy: Any) -> None:
    for lower in (0.0, 20.0):
        report = checked(strategy, interval="1h", lower=lower)
        assert report.ok, report
        assert (report.signals, report.raised) == (12, 0)
        assert report.accuracy.entries > 10  # levels below zero are those of entries


@pytest.mark.slow
def test_a_manage_that_leaks_over_prices_below_zero_is_found() -> None:
    def honest(ctx: Any) -> Any:
        return bknb.Move(price_stop_loss=ctx.price - 0.8)

    def leaking(ctx: Any) -> Any:
        return bknb.Move(price_stop_loss=min(NUMBERS[later(ctx)], ctx.price) - 0.8)

    for manage, ok in ((honest, True), (leaking, False)):
        bknb.add_strategy(
            "kept", interval="1h", get_signal=lambda ctx: bknb.Signal(position="long", minute_estimated_time=600),
            manage=manage, manage_interval="30m",
        )  # fmt: skip
        report = checked("kept")
        assert (report.ok, report.managed > 0) == (ok, True), report


def test_candles_that_are_changed_are_candles_on_both_sides_of_zero() -> None:
    source = bknb.exchanges.from_frame(DATA, negative=True)
    candles = source._of("CL")
    other = perturbed(candles, 100, seed=1)
    assert (other.block[:, :100] == candles.block[:, :100]).all()
    assert (other.low <= np.minimum(other.open, other.close)).all()
    assert (other.high >= np.maximum(other.open, other.close)).all()
    assert (np.sign(other.close[100:]) != np.sign(candles.close[100:])).mean() > 0.03
    prices = np.array([4.0, 0.0, -4.0])
    assert usual_size(prices) == pytest.approx(8 / 3)
    assert usual_size(prices[:1]) is None
    assert moved(prices, np.full(3, 1.5), None).tolist() == [6.0, 0.0, -6.0]
    assert moved(prices, np.full(3, 1.5), 8.0).tolist() == [8.0, 4.0, 0.0]
