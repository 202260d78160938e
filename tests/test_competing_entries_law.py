"""Two entries of one list on a martingale of single ticks: whichever is said to fill first, nothing earns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from law_runs import SEEN, Sample, over_gaps_and_clusters, positions, ran
from scenarios import MINUTE

import bknb
from bknb.domain import competing_entries
from bknb.kernels import simulate as kernel
from bknb.sweeps.evaluate_combination import ends_of

if TYPE_CHECKING:
    from tick_paths import Path

# ticks from the last close: entry and distance of the stop, of a long; a short the other way
LISTS: dict[str, list[tuple[str, int, int | None]]] = {
    "straddle": [("stop", 6, None), ("-stop", 6, None)],
    "straddle with stops": [("stop", 6, 9), ("-stop", 6, 9)],
    "both limits": [("limit", 6, None), ("-limit", 6, None)],
    "both limits with stops": [("limit", 6, 5), ("-limit", 6, 5)],
    "breakout or pullback": [("stop", 7, 8), ("limit", 7, 8)],
}


def signals(orders: list[tuple[str, int, int | None]], close: float) -> list[bknb.Signal]:
    found = []
    for kind, distance, stop in orders:
        sign, entry = (-1, kind[1:]) if kind.startswith("-") else (1, kind)
        level = close + sign * distance * (1 if entry == "stop" else -1)
        found.append(
            bknb.Signal(
                position="long" if sign > 0 else "short",
                price_open=level,
                entry=entry,  # type: ignore[arg-type]  # one of the two
                price_stop_loss=None if stop is None else level - sign * stop,
                minute_estimated_time=2,
                valid=4,
            )
        )
    return found


def earned(name: str, market: Path) -> Sample:
    closes = {int(t) + MINUTE: float(close) for t, close in zip(market.times, market.close, strict=True)}

    def get_signal(ctx: Any) -> list[bknb.Signal]:
        return signals(LISTS[name], closes[ctx.when_ms])

    run = ran(market, get_signal)
    opened = positions(ends_of(run.records))
    return Sample(opened[:, kernel.NET] * 1e4 / 100)


def t_of(names: list[str], count: int) -> dict[str, Sample]:
    return {name: over_gaps_and_clusters(partial(earned, name), count) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_list_earns(count: int) -> None:
    found = t_of(list(LISTS), count)
    assert all(len(sample) > 200 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_the_choice_of_the_better_one_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    worth = competing_entries._worth
    monkeypatch.setattr(competing_entries, "_worth", lambda *given: -worth(*given))
    found = t_of(["straddle"], 2)
    assert min(sample.t for sample in found.values()) > SEEN, found
