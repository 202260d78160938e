"""The parameters of a backtest for the lifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import interval_ms
from ..domain.states import Rules
from .plan import Plan

if TYPE_CHECKING:
    from ..events.heard import Listeners


def rules_of_backtest(plan: Plan, listeners: Listeners) -> Rules:
    """The parameters of a run by its plan; the clock of its market comes with its candles."""
    return Rules(
        symbol=plan.symbol,
        strategy=plan.strategy.name,
        exchange=plan.exchange.name,
        frame=plan.frame.name,
        mode="backtest",
        model=execution_model(plan.execution),
        settings=plan.settings,
        frame_last=plan.frame.last,
        risk=plan.strategy.risk,
        interval_ms=interval_ms(plan.strategy.interval),
        base_ms=interval_ms(plan.base),
        quiet=listeners.wants_quiet("backtest") or bool({"on_idle", "on_active"} & set(plan.strategy.callbacks)),
        tick=plan.settings.price_tick,
        weights=plan.strategy.weights,
        negative=bool(getattr(plan.exchange.source, "negative", False)),
    )
