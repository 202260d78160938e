"""Any source, told when its market is open."""

from __future__ import annotations

from typing import Any

from ..ports import CandleSource
from .candles import Candles
from .sessions import Sessions


class SessionSource:
    """A source with trading sessions declared; see :func:`bknb.exchanges.in_sessions`."""

    def __init__(self, source: CandleSource, sessions: Sessions) -> None:
        self.source = source
        self.sessions = sessions
        self.name = source.name
        self.intervals = source.intervals
        self.page_limit = source.page_limit

    def __repr__(self) -> str:
        return f"SessionSource({self.source!r}, {self.sessions})"

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """What the source answers."""
        return await self.source.get_candles(symbol, interval, since, limit)

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the source writes it."""
        return self.source.format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the source writes it."""
        return self.source.format_quantity(symbol, quantity)

    def __getattr__(self, name: str) -> Any:
        # Notes, warnings, clock and symbols are the source's own, where it has them.
        if name.startswith("__") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)
