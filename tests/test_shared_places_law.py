"""A place that two legs of a portfolio share, on a martingale of single ticks: what frees it in a bar earns nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from law_runs import SEEN, SETTINGS, Sample, over_gaps_and_clusters
from scenarios import MINUTE, ORIGIN

import bknb
from bknb.engine.portfolio_clock import SharedPlaces
from bknb.engine.risk_profile_places import RiskPlaces
from bknb.exchanges.dataframe_source import FrameSource
from bknb.market.candles import Candles

if TYPE_CHECKING:
    from tick_paths import Path

AWAY = 11  # ticks from the last close, of the level at which one leaves and of that at which the other enters
PAIRS = {"a target above a limit": ("target_percent", 1), "a stop below a limit": ("stop_percent", -1)}


def halting(market: Path) -> FrameSource:
    """Its candles, each behind a minute in which nobody trades: what is ordered before that has rested in the next."""
    columns: dict[str, Any] = {}
    for name in ("open", "high", "low", "close", "volume"):
        quiet = np.zeros_like(market.volume) if name == "volume" else np.append(market.open[:1], market.close[:-1])
        columns[name] = np.ravel(np.column_stack([quiet, getattr(market, name)]))
    times = ORIGIN + 2 * (market.times - ORIGIN)
    return FrameSource(Candles.from_columns(timestamp=np.ravel(np.column_stack([times, times + MINUTE])), **columns))


def register(kind: str) -> None:
    """One leg that enters at every second open, and one that waits on the other side for the place that it leaves.

    Every fifth time the second waits alone.
    """
    level, sign = PAIRS[kind]

    def leaves(ctx: Any) -> bknb.Signal | None:
        turn, minute = divmod(ctx.when_ms // MINUTE, 4)
        if minute != 1 or turn % 5 == 0:
            return None
        return bknb.Signal(side="long", minute_estimated_time=1, **{level: 100 * AWAY / ctx.candles("1m", 1).close[-1]})

    def waits(ctx: Any) -> bknb.Signal | None:
        if ctx.when_ms // MINUTE % 4:
            return None
        at = ctx.candles("1m", 1).close[-1] - sign * AWAY
        side = "long" if sign > 0 else "short"
        return bknb.Signal(side=side, price_open=at, valid=2, minute_estimated_time=1)

    bknb.add_risk("one", validations=lambda request: all(place.scheduled for place in request.open_positions))
    for get_signal in (leaves, waits):
        bknb.add_strategy(get_signal.__name__, interval="1m", get_signal=get_signal, risk="one")


def earned(kind: str, market: Path) -> Sample:
    """What the one that waits makes, in basis points."""
    register(kind)
    trades = bknb.portfolio(
        symbols=["BTCUSDT"], strategies=["leaves", "waits"], exchange=halting(market),
        frame=(ORIGIN, ORIGIN + 2 * market.minutes * MINUTE), settings=SETTINGS, allow_gaps=True,
    ).trades  # fmt: skip
    assert (trades["strategy"] == "leaves").sum() > 0.35 * market.minutes
    return Sample(trades.loc[trades["strategy"] == "waits", "pnl_percentage"].to_numpy() * 100)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_a_place_freed_in_a_bar_earns_nothing(count: int) -> None:
    found = {kind: over_gaps_and_clusters(partial(earned, kind), count) for kind in PAIRS}
    assert all(len(sample) > 30 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_a_place_that_is_free_within_its_bar_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedPlaces, "others", RiskPlaces.others)
    found = over_gaps_and_clusters(partial(earned, "a target above a limit"), 2)
    assert found.t > SEEN, found
