"""The price profile: trend, steps and pressure in the closing prices of trades."""

from __future__ import annotations

from math import exp
from typing import Any

from trade_rows import DAY, HOUR, START, grid, near

from bknb.metrics.statistics import statistics


def profile_of(prices: list[float]) -> dict[str, Any]:
    return statistics(grid([0.1] * len(prices), price_close=prices))


def test_a_straight_line_of_logarithms_is_a_certain_trend() -> None:
    up = profile_of([100 * exp(0.02 * day) for day in range(12)])
    assert (up["trend"], up["buyer_pressure"], up["seller_strength"], up["pressure_imbalance"]) == (
        "bullish",
        1.0,
        0.0,
        1.0,
    )
    assert up["trend_strength"] == near(2.0)
    assert up["trend_confidence"] == near(1.0)
    assert up["median_step_size"] == near((exp(0.02) - 1) * 100)
    down = profile_of([100 * exp(-0.02 * day) for day in range(12)])
    assert (down["trend"], down["seller_pressure"], down["pressure_imbalance"]) == ("bearish", 1.0, -1.0)


def test_a_slope_that_is_small_beside_the_steps_is_neutral() -> None:
    # Every step is about 1 % up or down; the line through them climbs 1 % in six days.
    prices = [100 * exp(0.01 * (at // 6) + 0.01 * (at % 2)) for at in range(36)]
    profile = profile_of(prices)
    assert profile["trend_confidence"] > 0.3
    assert profile["trend"] == "neutral"
    assert 0 < profile["trend_strength"] < 0.25 * profile["median_step_size"]


def test_a_zigzag_is_sideways_and_balanced() -> None:
    profile = profile_of([100.0, 110.0] * 5 + [100.0])
    assert (profile["trend"], profile["buyer_pressure"], profile["seller_pressure"]) == ("sideways", 0.5, 0.5)
    rise, fall = 0.1, 10 / 110
    assert profile["buyer_strength"] == near(rise / (rise + fall))
    assert profile["pressure_imbalance"] == near((rise - fall) / (rise + fall))
    assert profile["median_step_size"] == near((rise + fall) / 2 * 100)


def test_a_slope_that_explains_less_than_a_third_is_sideways() -> None:
    profile = profile_of([100 * exp(0.002 * day + 0.03 * (day % 2)) for day in range(12)])
    assert 0.25 < profile["trend_confidence"] < 0.3
    assert profile["trend"] == "sideways"


def test_flat_prices_have_no_pressure_and_no_confidence() -> None:
    # The rounded mean of twelve logarithms of this price is not its logarithm; uneven days would show it.
    rows = grid([0.1] * 12, price_close=[61234.56] * 12)
    moments = [{"pending_at": START, "close_timestamp": START + at**3 * HOUR} for at in range(1, 13)]
    profile = statistics([row | times for row, times in zip(rows, moments, strict=True)])
    assert (profile["median_step_size"], profile["buyer_pressure"], profile["seller_strength"]) == (0.0, None, None)
    assert (profile["trend"], profile["trend_strength"], profile["trend_confidence"]) == ("sideways", 0.0, 0.0)


def test_the_profile_needs_ten_prices_above_zero() -> None:
    prices: list[Any] = [100.0 + at for at in range(12)]
    assert profile_of([*prices[:10], None, 0.0])["trend"] == "bullish"
    assert profile_of([*prices[:9], None, 0.0, -5.0])["trend"] is None
    assert profile_of(prices[:9])["median_step_size"] is None


def test_prices_of_one_moment_have_steps_and_no_trend() -> None:
    rows = [
        row | {"pending_at": START, "close_timestamp": START + DAY}
        for row in grid([0.1] * 10, price_close=[100.0 + at for at in range(10)])
    ]
    stats = statistics(rows)
    assert stats["buyer_pressure"] == 1.0
    assert (stats["trend"], stats["trend_strength"], stats["trend_confidence"]) == (None, None, None)
