"""Which candles of a run can fill an order, and with which of them it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..domain.fills_at_stops_and_gaps import ExecutionModel
from ..domain.interval import MINUTE_MS
from ..market.candles import Candles

if TYPE_CHECKING:
    from numpy.typing import NDArray


def look_back_begin(candles: Candles, start: int, count: int, step: int = MINUTE_MS) -> int:
    """Index of the first of the ``count`` candles that have closed at ``start`` (UTC ms), with which a run begins.

    ``step`` is how long each is, ms.
    """
    return max(0, int(np.searchsorted(candles.timestamp, start - step, side="right")) - count)


def minutes_that_fill(candles: Candles, model: ExecutionModel, *, begin: int = 0) -> NDArray[np.bool_]:
    """Which candles can fill an order, shape (n,): those with volume, where the model needs it.

    A source that has not reported any volume so far may not report volumes at all: its candles count. ``begin`` is the
    first candle that the run has seen.

    Examples
    --------
    >>> from bknb.domain.fills_at_stops_and_gaps import execution_model
    >>> rows = [(60_000 * i, 1.0, 1.0, 1.0, 1.0, volume) for i, volume in enumerate((0.0, 2.0, 0.0))]
    >>> minutes_that_fill(Candles.from_rows(rows), execution_model("pessimistic"))
    array([ True,  True, False])
    """
    if not model.needs_volume:
        return np.ones(len(candles), dtype=np.bool_)
    volume = candles.volume
    if len(volume) and volume.min() > 0:
        return np.broadcast_to(np.True_, volume.shape)  # takes no memory
    traded: NDArray[np.bool_] = volume > 0
    seen = traded.copy()
    seen[:begin] = False
    filling: NDArray[np.bool_] = traded | ~np.logical_or.accumulate(seen)
    return filling
