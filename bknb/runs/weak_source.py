"""A source with a weak reference to its candles in memory: a result that is kept does not keep them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ..domain.formatting import plain_number
from ..errors import BknbError, DataError
from ..market.calls_in_threads import candles_from
from ..market.candles import Candles
from ..market.measured_bar_length import base_of
from ..market.source_hours import bar_grid_of, sessions_of
from ..market.sources import SessionSource
from ..ports import CandleSource

if TYPE_CHECKING:
    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid

    _WithParts: TypeAlias = Callable[[CandleSource, Callable[[CandleSource], CandleSource]], CandleSource]


def weakened(source: CandleSource) -> CandleSource:
    """Return a source that does not keep its candles in memory; one that has none there as it is.

    Examples
    --------
    >>> from bknb.exchanges import demo
    >>> weakened(market := demo()) is market
    True
    """
    if isinstance(source, SessionSource):  # made anew: who holds the source in it keeps the candles
        inner = weakened(source.source)
        return source if inner is source.source else SessionSource(inner, source.sessions)
    with_parts: _WithParts | None = getattr(type(source), "with_parts", None)  # not that of a source behind another
    if with_parts is not None:
        return with_parts(source, weakened)
    return _WeakSource(source) if getattr(source, "in_memory", False) else source


def held(source: CandleSource) -> object:
    """Return what is referenced weakly in a source, or the source itself; as long as that is held, it stays.

    Examples
    --------
    >>> from bknb.exchanges import demo
    >>> held(market := demo()) is market
    True
    """
    if isinstance(source, SessionSource):
        return held(source.source)
    if hasattr(type(source), "with_parts"):
        parts: Mapping[str, CandleSource] = getattr(source, "parts", {})
        return [held(part) for part in parts.values()]
    return source.held() if isinstance(source, _WeakSource) else source


class _WeakSource:
    """A source with a weak reference to candles in memory; those of a file are read again when they are gone."""

    def __init__(self, source: CandleSource) -> None:
        self.name = source.name
        self.intervals = source.intervals
        self.page_limit = source.page_limit
        self.sessions = sessions_of(source)
        self.symbol_sessions: Mapping[str, Sessions | None] = getattr(source, "symbol_sessions", {})
        self.base_interval = base_of(source)
        self.negative = bool(getattr(source, "negative", False))
        self._reopen: Callable[[], CandleSource] | None = getattr(source, "reopen", None)
        self._source = weakref.ref(source)

    def bar_grid(self, symbol: str) -> BarGrid | None:
        """Where the bars of a symbol open that do not open at multiples of their length."""
        return bar_grid_of(self.held(), symbol)

    def held(self) -> CandleSource:
        """Return the source, which lives as long as it is held; from its file once it was garbage collected.

        Raises
        ------
        DataError
            When it came from no file, or the file cannot be read any more.
        """
        source = self._source()
        if source is not None:
            return source
        reason = "which is no longer in memory"
        if self._reopen is not None:
            try:
                source = self._reopen()
            except BknbError as error:
                reason = f"which can no longer be read: {str(error).splitlines()[0]}"
            else:
                self._source = weakref.ref(source)
                return source
        raise DataError(
            f"the candles of this run were in {self.name!r}, {reason}\n"
            "run it again; the candles of a result stay in memory as long as you hold the result"
        )

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """Return the candles of the source; raises ``DataError`` as :meth:`held`."""
        return await candles_from(self.held(), symbol, interval, since, limit)

    def format_price(self, symbol: str, price: float) -> str:
        """Return a price as the source writes it."""
        source = self._source()
        return plain_number(price) if source is None else source.format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """Return a quantity as the source writes it."""
        source = self._source()
        return plain_number(quantity) if source is None else source.format_quantity(symbol, quantity)
