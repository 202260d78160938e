"""What a ``get_signals`` is asked about while it computes all rows at once."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .candle_closes import CandleCloses
    from .candles_beside_rows import CandlesBeside
    from .newest_series_rows import ReadSeries


class RowsAsked(NamedTuple):
    """What ``get_signals`` is asked about: a symbol, when its candles close, and what candles there are beside them.

    ``indicators_read`` takes the names of the indicators that it reads.
    """

    published: ReadSeries | None
    symbol: str
    closes: CandleCloses
    beside: CandlesBeside
    indicators_read: set[str]


rows_asked: ContextVar[RowsAsked | None] = ContextVar("bknb_rows_asked", default=None)
