"""Daily returns of comparisons and sweeps: days on which a market with sessions is closed are none of its days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.domain.interval import DAY_MS
from bknb.kernels import simulate, sweep_figures
from bknb.metrics.daily_returns import daily_returns, of_results


@pytest.fixture(scope="module")
def hours() -> Any:
    """A market that is open for an hour on working days, in January 2024."""
    times = pd.date_range("2024-01-01", "2024-02-01", freq="1min", inclusive="left", tz="UTC")
    times = times[(times.day_of_week < 5) & (times.hour == 9)]
    price = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 2e-3, len(times))))
    rows = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=times)
    return bknb.exchanges.from_frame(rows, sessions=bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-10:00"}))


ABOUT: dict[str, Any] = {"frame": ("2024-01-02 09:10", "2024-01-27 12:00")}


def short_trades(ctx: Any) -> bknb.Signal:
    price = ctx.price
    return bknb.Signal(
        position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.98, minute_estimated_time=20
    )


def short_rows(candles: Any, up: float = 1.02) -> dict[str, Any]:
    return {
        "position": 1,
        "price_take_profit": candles.close * up,
        "price_stop_loss": candles.close * 0.98,
        "minute_estimated_time": 20,
    }


def test_a_comparison_leaves_out_the_days_on_which_the_market_is_closed(hours: Any) -> None:
    result = bknb.backtest("X", strategy=short_trades, interval="15m", exchange=hours, **ABOUT)
    daily = of_results([result, result])
    assert daily.shape == (19, 2)  # 2 to 26 January without Saturdays and Sundays
    assert len(result.returns("1D")) == 19
    assert np.prod(1 + daily[:, 0]) == pytest.approx(result.stats["equity_final"])


def test_a_sweep_leaves_them_out_too(hours: Any) -> None:
    found = bknb.sweep(
        short_rows, params={"up": [1.02, 1.03]}, symbol="X", exchange=hours, interval="15m", metric="total_pnl", **ABOUT
    )
    assert found.returns.shape == (19, 2)
    assert (found.returns.index.day_of_week < 5).all()
    assert np.prod(1 + found.returns[0]) == pytest.approx(found.table.loc[0, "equity_final"])


def test_a_market_that_never_closes_keeps_every_day() -> None:
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-05", "2024-01-09 12:00"))
    assert of_results([result]).shape == (len(result.returns("1D")), 1) == (5, 1)


def test_a_walk_knows_the_sessions_of_its_market(hours: Any) -> None:
    walk = bknb.walk_forward(
        short_trades, [{}], symbol="X", exchange=hours, interval="15m", train="7d", test="7d", metric="n", **ABOUT
    )
    assert len(walk.folds) == 2
    assert walk.account["days_a_year"] == 252
    assert walk.account["positions"] == len(walk.trades) > 0
    assert of_results([walk.folds[0].result]).shape == (6, 1)  # Tuesday morning to Tuesday morning


def test_a_loss_of_more_than_everything_leaves_nothing_and_no_debt() -> None:
    closed, results = [0, 1, 2, DAY_MS], [-150.0, -150.0, 40.0, 10.0]
    ends = np.zeros((4, simulate.WIDTH))
    ends[:, simulate.CLOSED_AT], ends[:, simulate.NET], ends[:, simulate.OF_EQUITY] = closed, results, np.nan
    for daily in (
        daily_returns(closed, results, start=0, end=DAY_MS),
        sweep_figures.daily_plain(ends, 0, 2),
        sweep_figures.daily(ends, 0, 2),
    ):
        assert daily.tolist() == pytest.approx([-1.0, 0.1])
