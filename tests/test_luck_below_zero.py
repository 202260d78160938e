"""The same trades at random moments of a market with prices at or below zero: levels by distance, results in points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bknb
from bknb.domain.pnl import net_points as domain_points
from bknb.domain.profit_of_partial_closes import closed_points
from bknb.kernels.exit_loop import net_points
from bknb.kernels.random_trades import outcomes_plain
from bknb.runs.luck import moments_of
from bknb.runs.trades_as_arrays import market_of, shapes_of

START = 1_704_067_200_000
MINUTE = 60_000
COSTS = {"percent_fee": 0.05, "percent_slippage": 0.02, "min_take_profit_distance_percent": 0.0}
SETTINGS = {
    **COSTS,
    "avg_price_candles_count": 1,
    "min_stop_loss_distance_percent": 0.0,
    "max_stop_loss_distance_percent": None,
}


def spread(*, count: int = 3000, silent: float = 0.0, lower: float = 0.0) -> bknb.Candles:
    """Candles of a price that goes back and forth through zero, on a grid of 0.05; a part of them has no volume."""
    rng, close = np.random.default_rng(3), np.zeros(count)
    for at in range(1, count):
        close[at] = 0.995 * close[at - 1] + rng.normal(0.0, 0.4)
    close = (close / 0.05).round() * 0.05 - lower
    opened = np.concatenate([close[:1], close[:-1]]) + 0.05 * rng.integers(-1, 2, count)
    high, low = np.maximum(opened, close) + 0.15, np.minimum(opened, close) - 0.15
    volume = np.where(rng.random(count) < silent, 0.0, 1.0)
    volume[0] = 1.0
    times = START + np.arange(count) * MINUTE
    return bknb.Candles.from_columns(timestamp=times, open=opened, high=high, low=low, close=close, volume=volume)


def at_random(share: float, **more: Any) -> Any:
    """A strategy without any idea: enters at a part of all moments, with levels by distance."""
    rng = np.random.default_rng(1)

    def get_signal(price: float) -> bknb.Signal | None:
        if rng.random() >= share:
            return None
        side, far = (1 if rng.random() < 0.5 else -1), rng.uniform(3.0, 5.0)
        levels: dict[str, Any] = {
            "price_take_profit": [None, price + side * far][rng.integers(2)],
            "price_stop_loss": [None, price - side * far * 0.7][rng.integers(2)],
            "minute_estimated_time": 45,
        }
        return bknb.Signal(**{"position": "long" if side > 0 else "short", **levels, **more})

    return get_signal


def ran(strategy: Any, candles: bknb.Candles, *, costs: bool = True, **options: Any) -> bknb.Result:
    free = {} if costs else {"percent_fee": 0.0, "percent_slippage": 0.0}
    settings = {**SETTINGS, **free, **options.pop("settings", {})}
    frame = (START + 20 * MINUTE, START + (len(candles) - 100) * MINUTE)
    source = bknb.exchanges.from_frame(candles, negative=True)
    options = {"interval": "1m", "exchange": source, "frame": frame, "settings": settings, **options}
    return bknb.backtest("SPREAD", strategy=strategy, **options)


@pytest.mark.parametrize("execution", ["pessimistic", "touch", "vwap"])
@pytest.mark.parametrize(("silent", "tick"), [(0.0, None), (0.3, 0.13)])
def test_trades_around_zero_have_their_own_results_at_their_own_moments(
    execution: Any, silent: float, tick: float | None
) -> None:
    settings = {"price_tick": tick} if tick else {}
    result = ran(at_random(0.05), spread(silent=silent), execution=execution, settings=settings)
    closed = result.run_record.records.closed
    entries = np.array([trade.signal.price_open for trade in closed])
    assert ((entries > 0).sum() > 5, (entries < 0).sum() > 5) == (True, True)
    assert len({trade.close_reason for trade in closed}) > 2
    minutes, rules = market_of(result)
    starts = minutes.times.searchsorted([trade.signal.scheduled_at for trade in closed])
    which = np.arange(len(closed))
    found = outcomes_plain(minutes, rules, shapes_of(closed, points=True), which[None], starts[None])[0]
    expected = [closed_points(trade, slippage=0.02, fee=0.05) for trade in closed]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert expected == result.trades["points"].tolist()


@pytest.mark.slow
def test_totals_around_zero_are_those_of_the_event_engine_at_the_same_moments() -> None:
    candles = spread(count=900)
    result = ran(at_random(0.05), candles)
    closed = result.run_record.records.closed
    minutes, _ = market_of(result)
    [(which, starts)] = moments_of(result, minutes.times, 4).drawn(2, at_once=2)
    alone = np.empty(which.shape)
    for place in np.ndindex(which.shape):
        signal, when = closed[which[place]].signal, int(minutes.times[starts[place]])
        off = float(candles.open[(when - START) // MINUTE]) - signal.price_open
        shape = {
            "position": signal.position,
            "minute_estimated_time": signal.minute_estimated_time,
            "price_take_profit": None if signal.price_take_profit is None else signal.price_take_profit + off,
            "price_stop_loss": None if signal.price_stop_loss is None else signal.price_stop_loss + off,
        }
        again = ran(lambda ctx: bknb.Signal(**shape) if ctx.when_ms == when else None, candles)  # noqa: B023
        alone[place] = again.trades["points"].iloc[0]
    compared = bknb.luck(result, n=2, seed=4)
    np.testing.assert_allclose(compared.totals, alone.sum(axis=1), rtol=0, atol=1e-9)
    assert compared.total == pytest.approx(result.trades["points"].sum(), abs=1e-9)
    assert compared.in_points


def test_a_market_that_lies_lower_is_as_lucky() -> None:
    """Without costs the totals are the same wherever zero is."""
    higher, lower = (
        bknb.luck(
            ran(at_random(0.03, price_stop_loss=None, price_take_profit=None), spread(lower=each), costs=False), n=50
        )
        for each in (-100.0, 60.0)
    )
    np.testing.assert_allclose(higher.totals, lower.totals, rtol=0, atol=1e-8)
    assert (higher.in_points, higher.share) == (True, lower.share)
    assert higher.total == pytest.approx(lower.total, abs=1e-8)


def test_knowing_the_future_below_zero_is_not_luck() -> None:
    candles = spread(lower=20.0)
    close = candles.close

    def knows(ctx: Any) -> bknb.Signal | None:
        at = (ctx.when_ms - START) // MINUTE
        if at % 60 or at + 40 >= len(close):
            return None
        return bknb.Signal(position="long" if close[at + 40] > close[at] else "short", minute_estimated_time=40)

    compared = bknb.luck(ran(knows, candles), n=200)
    assert compared.share == 0.0
    assert compared.total > 0


def test_it_is_shown_in_points() -> None:
    result = ran(at_random(0.03), spread())
    compared = bknb.luck(result, n=40)
    assert "Sum of the trades" in repr(compared)
    assert repr(compared).count("points") >= 4
    assert "%" not in repr(compared).split("At random moments")[1].split("(90 %")[0]
    assert " points" in compared._repr_html_()
    sized = bknb.luck(ran(at_random(0.03, size=0.5), spread()), n=40)
    assert (sized.total, sized.sizes) == (compared.total, "each trade counts for one unit, whatever its size")


@pytest.mark.parametrize(
    "declared",
    [{"trailing": bknb.Trailing(distance=1.0)}, {"breakeven": bknb.Breakeven(after=5.0)},
     {"position": "long", "price_take_profit": [(90.0, 0.5)], "price_stop_loss": -90.0}],
)  # fmt: skip
def test_ladders_trailing_and_break_even_stops_there_are_refused(declared: dict[str, Any]) -> None:
    result = ran(at_random(0.02, **declared), spread(count=600))
    with pytest.raises(
        bknb.UsageError, match="luck over prices at or below zero knows a target, a stop and a deadline"
    ):
        bknb.luck(result)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("entry", "leaves"), [(20.0, 15.0), (20.0, -37.0), (-20.0, 3.0), (-20.0, -15.0), (0.0, 0.0)])
def test_points_of_the_kernel_are_those_of_the_domain(side: int, entry: float, leaves: float) -> None:
    expected = domain_points([(side, entry), (-side, leaves)], slippage=0.3, fee=0.1)
    assert net_points(side, entry, leaves, 0.3, 0.1) == pytest.approx(expected, abs=1e-12)
