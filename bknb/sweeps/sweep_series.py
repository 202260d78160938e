"""The point-in-time series of a sweep: tables alone, the same for all its combinations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..engine.registry import registry
from ..engine.resolve import RunSeries
from ..market.answer_notes import ignored
from ..market.candles_beside_rows import CandlesBeside
from ..market.rows_asked import RowsAsked

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.plan import Plan
    from ..market.candle_closes import CandleCloses
    from ..market.window import Window


def tables() -> dict[str, Any]:
    """The registered series without their functions, which may answer otherwise each time."""
    return {name: replace(one, function=None) for name, one in registry.series.items.items()}


def digests(until: int) -> list[str]:
    """Name of each registered series, and hash of its rows that are known at a moment (UTC ms)."""
    found = ((name, one.table) for name, one in registry.series.items.items())
    return [f"{name} {None if table is None else table.known_until(until)[3]}" for name, table in found]


def run_series(plan: Plan) -> RunSeries:
    """What the combinations of a sweep read series through; warnings were shown when the candles were prepared."""
    known = tables() if plan.series is None else plan.series
    return RunSeries(plan.settings, until=plan.frame.last, warn=ignored, tables=known)


def asked_of(
    plan: Plan, closes: CandleCloses, window: Callable[[], Window], published: RunSeries | None = None
) -> RowsAsked:
    """What a ``get_signals`` of a sweep is asked about, over candles that close so."""
    strategy = plan.strategy
    beside = CandlesBeside(window, plan.symbol, strategy.interval, strategy.uses, strategy.lookback)
    return RowsAsked(published or run_series(plan), plan.symbol, closes, beside, set())
