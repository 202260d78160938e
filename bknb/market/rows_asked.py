"""What a ``get_signals`` is asked about while it computes all rows at once."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .candle_closes import CandleCloses
    from .newest_series_rows import ReadSeries


class RowsAsked(NamedTuple):
    """What ``get_signals`` is asked about: a symbol, and when its candles close."""

    published: ReadSeries | None
    symbol: str
    closes: CandleCloses


rows_asked: ContextVar[RowsAsked | None] = ContextVar("bknb_rows_asked", default=None)
