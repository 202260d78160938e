"""The law of a shared account: on a martingale of single ticks no size and no sharing of cash earns or loses.

Where legs share cross margin with leverage, each is judged at its worst price, and these need not come at once: that
loses what the account would have had at the close of such a bar, and no more: what is liquidated inside a bar leaves
the maintenance margin, and with those positions held on to the close of the bar nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_runs import SEEN, paths
from quick import each_once
from scenarios import MINUTE
from tick_paths import Path

import bknb

MINUTES = 120
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
Sizing = Callable[[bknb.SizeRequest], float]


def all_that_is_free(request: bknb.SizeRequest) -> float:
    return max(request.free, 0.0) * request.leverage


def more_after_losses(request: bknb.SizeRequest) -> float:
    return request.equity * request.leverage * min(0.1 * 2**request.closed.losses, 1.0)


def more_below_the_start(request: bknb.SizeRequest) -> float:
    return request.equity * request.leverage * (0.9 if request.equity < 1000.0 else 0.2)


def more_where_the_stop_is_far(request: bknb.SizeRequest) -> float:
    """Were an entry sized with a price of its own bar, that bar would be known by how far the stop is from it."""
    far = request.strategy == "leg0" and (request.stop_distance or 0.0) > 40.0
    return request.equity * request.leverage * (0.9 if far else 0.02)


SIZES = [all_that_is_free, more_after_losses, more_below_the_start, more_where_the_stop_is_far]


def answers(side: str, entry: str, every: int, offset: int) -> Callable[[Any], Any]:
    """A signal every so many minutes; its stop is nearer than its target, or farther."""

    def get_signal(ctx: Any) -> Any:
        if ctx.when_ms // MINUTE % every != offset:
            return None
        close, sign = float(ctx.candles("1m", 1).close[-1]), 1 if side == "long" else -1
        near, far = (40, 100) if every % 2 else (100, 40)
        level = close - sign * (4 if entry == "limit" else -4)
        at = {} if entry == "market" else {"price_open": level, "entry": entry}
        return bknb.Signal(
            **at,
            side=side,
            price_stop_loss=close - sign * near,
            price_take_profit=close + sign * far,
            minute_estimated_time=1 if entry == "market" else 9,
        )

    return get_signal


def gain(path: Path, account: Any, sizing: Sizing) -> tuple[float, float]:
    """What three legs on one path made together, without what was forgiven; and that with liquidated ones held on.

    Held on to the close of the bar in which they were liquidated.
    """
    short = "long" if isinstance(account, bknb.Spot) else "short"
    legs = []
    for number, (side, entry) in enumerate([("long", "market"), (short, "limit"), ("long", "stop")]):
        name = f"leg{number}"
        bknb.add_strategy(name, interval="1m", get_signal=answers(side, entry, 3 + number, number))
        legs.append(("BTCUSDT", name))
    result = bknb.portfolio(
        legs=legs, exchange=path.source, frame=path.frame, settings=FREE, capital=1000, account=account, sizing=sizing,
        costs=bknb.Costs(taker=0.0, slippage=0.0), allow_gaps=True,
    )  # fmt: skip
    candles, more = result.leg("BTCUSDT", "leg0").candles, 0.0
    made = result.trades["money"].sum() - result.trades["forgiven"].sum()
    for moment, closed in result.trades[result.trades["close_reason"] == "liquidation"].groupby("closed_at"):
        at = candles.timestamp.searchsorted(moment.value // 1_000_000)
        signed = closed["quantity"] * np.where(closed["position"] == "long", 1, -1)
        more += (signed * (candles.close[at] - closed["price_close"])).sum()
        if account.mode == "cross" and (closed["price_close"] != candles.open[at]).all():  # no gap
            left = result.equity.asof(moment + pd.Timedelta(minutes=1))  # what has to be, but for a tick of each price
            assert left >= (closed["quantity"] * (closed["price_close"] * account.maintenance / 100 - 1)).sum() - 1e-6
    return float(made), float(made + more)


ACCOUNTS = [bknb.Spot(), bknb.Margin(), bknb.Perpetual(20, 0.5, "isolated")]
RULES = [
    *each_once(SIZES, ACCOUNTS),
    (more_after_losses, bknb.Perpetual(100, 0.9)),
]


@pytest.mark.parametrize(("sizing", "account"), RULES, ids=lambda each: getattr(each, "__name__", repr(each)))
@pytest.mark.parametrize("count", [pytest.param(8, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.long)])
def test_no_size_earns_on_a_martingale(account: Any, sizing: Sizing, count: int) -> None:
    made, held_on = np.array([gain(path, account, sizing) for path in paths("gaps", count, MINUTES)]).T
    spread = made.std(ddof=1) / np.sqrt(count)
    assert np.count_nonzero(made) > count / 2
    assert made.mean() < SEEN * spread, made.mean() / spread
    fair = held_on if account.mode == "cross" and account.leverage > 1.0 else made
    assert fair.mean() > -SEEN * fair.std(ddof=1) / np.sqrt(count), fair.mean() / spread
