"""Rows of closed trades for the tests of statistics."""

from __future__ import annotations

from typing import Any

import pytest

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01T00:00Z
RATIOS = ("std_dev", "sharpe_ratio", "sortino_ratio", "certainty_ratio", "expectancy", "recovery_factor")
ANNUAL = ("annualized_sharpe_ratio", "expected_yearly_returns", "calmar_ratio")


def grid(
    pnl: list[float], *, days: float | None = None, symbol: str = "BTCUSDT", **columns: list[Any]
) -> list[dict[str, Any]]:
    """One trade after the other, evenly over `days` (default one a day), so that span_days is `days`."""
    step = (len(pnl) if days is None else days) * DAY / max(1, len(pnl))
    return [
        {
            "symbol": symbol,
            "pending_at": START + at * step,
            "close_timestamp": START + (at + 1) * step,
            "pnl_percentage": result,
            **{name: values[at] for name, values in columns.items()},
        }
        for at, result in enumerate(pnl)
    ]


def mixed(*groups: tuple[int, float]) -> list[float]:
    return [result for count, result in groups for _ in range(count)]


def near(value: float | None, **options: Any) -> Any:
    return value if value is None else pytest.approx(value, rel=1e-9, abs=1e-9, **options)


def sample_rows() -> list[dict[str, Any]]:
    pnl = [0.7, -0.4, 0.0, 1.1, -0.2, 0.3, 0.3, -0.9, 0.5, 0.2, 0.4, -0.1]
    return grid(
        pnl,
        days=21,
        price_close=[100.0 + at * 0.5 - (at % 3) for at in range(12)],
        peak_percentage=[max(0.0, result) + 0.1 for result in pnl],
        trough_percentage=[None if at == 4 else min(0.0, result) - 0.2 for at, result in enumerate(pnl)],
    )
