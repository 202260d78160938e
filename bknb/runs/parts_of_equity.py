"""The part of the equity that each trade of a run opened with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..domain.signal_events import Closed
    from .result import Result


def parts_of_equity(result: Result, closed: Sequence[Closed]) -> tuple[NDArray[np.float64] | None, str]:
    """The part of the equity that each trade opened with, shape (n,), and in words what was assumed.

    ``None`` where each had all of it, as without a capital; and of a leg of a portfolio, which has no equity of its
    own.
    """
    if "cost" not in result.trades:
        if all(trade.signal.size is None for trade in closed):
            return None, ""
        parts = [1.0 if trade.signal.size is None else trade.signal.size for trade in closed]
        return np.array(parts), "each trade goes with the part of the equity that its signal says"
    if result.run_record.money is None:
        return None, "each trade goes with all of the equity, and not with its part of the portfolio"
    equity, costs = result.equity, result.trades["cost"].to_numpy()
    times = equity.index.as_unit("ms").asi8  # type: ignore[attr-defined]  # its index has moments
    at = np.searchsorted(times, [trade.signal.pending_at for trade in closed], side="right")
    worth = equity.to_numpy()[np.maximum(at - 1, 0)]
    found = np.divide(costs, worth, out=np.zeros(len(closed)), where=worth > 0.0)
    return found, "each trade goes with the part of the equity that it opened with in the run"
