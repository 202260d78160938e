"""Several places on a martingale of single ticks: whatever is open beside what, nothing earns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from law_runs import SEEN, Sample, over_gaps_and_clusters, positions, ran
from scenarios import MINUTE

import bknb
from bknb.engine.strategy_places import PlacesLoop
from bknb.engine.strategy_places_walk import PlaceWalk
from bknb.kernels import simulate as kernel
from bknb.sweeps.evaluate_combination import ends_of

if TYPE_CHECKING:
    from tick_paths import Path

# ticks from the last close: entry, and distances of target and stop, of a long; a short the other way
GRIDS: dict[str, list[tuple[str, int, int, int]]] = {
    "grid": [("limit", distance, 8, 12) for distance in (4, 8, 12)],
    "both sides": [("limit", 6, 9, 9), ("-limit", 6, 9, 9), ("limit", 12, 9, 9), ("-limit", 12, 9, 9)],
    "wide": [("limit", 6, 60, 60), ("-limit", 6, 60, 60), ("limit", 12, 60, 60)],
    "breakouts": [("stop", 5, 12, 6), ("stop", 10, 12, 6), ("-stop", 5, 12, 6), ("-stop", 10, 12, 6)],
}


def grid(orders: list[tuple[str, int, int, int]], close: float) -> list[bknb.Signal]:
    found = []
    for kind, distance, target, stop in orders:
        sign, entry = (-1, kind[1:]) if kind.startswith("-") else (1, kind)
        level = close + sign * distance * (1 if entry == "stop" else -1)
        found.append(
            bknb.Signal(
                position="long" if sign > 0 else "short",
                place=f"{kind} {distance}",
                price_open=level,
                entry=entry,  # type: ignore[arg-type]  # one of the two
                price_take_profit=level + sign * target,
                price_stop_loss=level - sign * stop,
                minute_estimated_time=6,
                valid=4,
            )
        )
    return found


def earned(name: str, market: Path) -> Sample:
    closes = {int(t) + MINUTE: float(close) for t, close in zip(market.times, market.close, strict=True)}

    def get_signal(ctx: Any) -> list[bknb.Signal]:
        return grid(GRIDS[name], closes[ctx.when_ms])

    run = ran(market, get_signal, places=len(GRIDS[name]))
    return Sample(positions(ends_of(run.records))[:, kernel.NET] * 1e4 / 100)


def t_of(names: list[str], count: int) -> dict[str, Sample]:
    return {name: over_gaps_and_clusters(partial(earned, name), count) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_grid_earns(count: int) -> None:
    found = t_of(list(GRIDS), count)
    assert all(len(sample) > 200 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_a_place_that_is_fed_candles_from_before_its_answer_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    give, next_change = PlacesLoop._give, PlaceWalk.next_change

    async def too_early(loop: PlacesLoop, places: Any, when: int, price: float) -> None:
        await give(loop, places, when - MINUTE, price)

    def from_its_answer_on(walk: PlaceWalk) -> Any:
        if walk._loop.answered_at != walk._answered_at:
            walk.index = walk.index_at(walk._loop.answered_at)
        return next_change(walk)

    monkeypatch.setattr(PlacesLoop, "_give", too_early)
    monkeypatch.setattr(PlaceWalk, "next_change", from_its_answer_on)
    found = t_of(["wide"], 2)
    assert min(sample.t for sample in found.values()) > SEEN, found
