"""Figures of the closing prices of trades, of which some are at or below zero."""

from __future__ import annotations

from typing import Any

import pytest

import bknb
from bknb.metrics.reasons import CLOSED_BELOW_ZERO
from bknb.metrics.why_figure_is_missing import why_missing


def rows(closes: list[float], entry: float) -> list[dict[str, Any]]:
    """Longs of an hour each that close at prices; of an entry at or below zero there is no percentage."""
    return [
        {
            "symbol": "CL",
            "pending_at": at * 3_600_000 + 1,
            "closed_at": (at + 1) * 3_600_000,
            "pnl_percentage": None if entry <= 0 else 100.0 * (price - entry) / entry,
            "peak_percentage": None if entry <= 0 else 1.0,
            "points": price - entry,
            "price_close": price,
        }
        for at, price in enumerate(closes)
    ]


@pytest.mark.parametrize("entry", [2.0, -2.0])
def test_closing_prices_at_or_below_zero_have_no_profile(entry: float) -> None:
    """Leaving those prices out makes a step of what lies between their neighbours."""
    closes = [1.0, 1.5, 2.0, -1.0, -3.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    stats = bknb.statistics(rows(closes, entry))
    for key in ("trend", "trend_strength", "trend_confidence", "median_step_size", "buyer_strength", "buyer_pressure"):
        assert stats[key] is None
        assert why_missing(key, stats) == CLOSED_BELOW_ZERO
    assert bknb.statistics(rows([price + 4.0 for price in closes], entry))["trend"] == "bullish"
    few = bknb.statistics(rows(closes[:4], entry))
    assert why_missing("trend", few) == "fewer than 10 closing prices"
