"""The trades of one combination of a sweep as a table, with the columns of ``Result.trades``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..kernels import simulate as kernel
from ..sweeps.evaluate_combination import Evaluator, Outcome
from ..sweeps.prepared_candles import prepare
from .aside import aside

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..engine.plan import Plan

_TRADES: Final = {
    "position": kernel.SIDE,
    "scheduled_at": kernel.SCHEDULED_AT,
    "pending_at": kernel.PENDING_AT,
    "closed_at": kernel.CLOSED_AT,
    "price_open": kernel.OPEN,
    "price_take_profit": kernel.TARGET,
    "price_stop_loss": kernel.STOP,
    "price_close": kernel.CLOSE,
    "close_reason": kernel.REASON,
    "pnl_percentage": kernel.NET,
    "fee_percentage": kernel.FEE,
    "slippage_percentage": kernel.SLIPPAGE,
    "gross_percentage": kernel.GROSS,
    "peak_percentage": kernel.PEAK,
    "trough_percentage": kernel.TROUGH,
    "ambiguous": kernel.AMBIGUOUS,
    "adds": kernel.ADDS,
    "largest_cost": kernel.LARGEST_COST,
}


def trades_of(plan: Plan, params: Mapping[str, Any], outcome: Outcome) -> tuple[pd.DataFrame | None, str]:
    """The trades of a combination, computed again where its outcome has none; ``None`` with why there are none.

    Parameters
    ----------
    plan
        The backtest that the sweep repeats.
    params
        The parameters of the combination.
    outcome
        What it came to.
    """
    columns: dict[str, list[Any]] = {}
    told = getattr(plan.exchange.source, "negative", False) or plan.strategy.places > 1
    if outcome.ends is None or told:
        outcome, columns = aside(lambda: _made_again(plan, params, told=told))
    if outcome.error or outcome.ends is None:
        return None, outcome.error
    return _table(outcome.ends).assign(**columns), ""


def _made_again(plan: Plan, params: Mapping[str, Any], *, told: bool) -> tuple[Outcome, dict[str, list[Any]]]:
    """The combination computed anew; ``told``: with the columns that a table of ends has not."""
    evaluator = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True)
    outcome = evaluator.evaluate(params)
    return outcome, evaluator.columns_of_events(params) if told and not outcome.error else {}


def _table(ends: NDArray[np.float64]) -> pd.DataFrame:
    """The closed positions of a table of ends."""
    import pandas as pd

    from ..reports.time_columns import with_times

    closed = ends[ends[:, kernel.REASON] < kernel.FIRST_CANCEL]
    frame = pd.DataFrame({name: closed[:, at] for name, at in _TRADES.items()})
    with_times(frame, ("scheduled_at", "pending_at", "closed_at"))
    frame["position"] = np.where(closed[:, kernel.SIDE] > 0, "long", "short")
    frame["close_reason"] = [kernel.REASONS[int(code)] for code in closed[:, kernel.REASON]]
    frame["ambiguous"] = closed[:, kernel.AMBIGUOUS] > 0
    frame["adds"] = frame["adds"].astype("int64")
    size = closed[:, kernel.OF_EQUITY]
    return frame if np.isnan(size).all() else frame.assign(size=size)
