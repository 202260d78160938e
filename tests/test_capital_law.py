"""The law of a shared account: on a martingale of single ticks no size and no sharing of cash earns or loses.

Where legs share cross margin with leverage, each is judged at its worst price: that may lose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from law_runs import paths
from scenarios import MINUTE
from tick_paths import Path

import bknb

SEEN = 4.0  # of t: what breaks the law is beyond it
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


def gain(path: Path, account: Any, sizing: Sizing) -> float:
    """What three legs on one path made together, without what was forgiven."""
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
    return float(result.trades["money"].sum() - result.trades["forgiven"].sum())


ACCOUNTS = [bknb.Spot(), bknb.Margin(), bknb.Perpetual(20, 0.5, "isolated")]
RULES = [
    *((sizing, account) for account in ACCOUNTS for sizing in SIZES),
    (more_after_losses, bknb.Perpetual(100, 0.9)),
]


@pytest.mark.parametrize(("sizing", "account"), RULES, ids=lambda each: getattr(each, "__name__", repr(each)))
@pytest.mark.parametrize("count", [pytest.param(8, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.long)])
def test_no_size_earns_on_a_martingale(account: Any, sizing: Sizing, count: int) -> None:
    made = np.array([gain(path, account, sizing) for path in paths("gaps", count, MINUTES)])
    spread = made.std(ddof=1) / np.sqrt(count)
    assert np.count_nonzero(made) > count / 2
    assert made.mean() < SEEN * spread, made.mean() / spread
    if account.mode == "isolated" or account.leverage == 1.0:  # else a long and a short are at their worst at once
        assert made.mean() > -SEEN * spread, made.mean() / spread
