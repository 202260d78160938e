"""What a source of candles tells of its market's hours, without the calendars that only such a source needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid


def sessions_of(source: object, symbol: str | None = None) -> Sessions | None:
    """Return the trading hours that a source of candles tells; ``None`` for one without: its market never closes.

    Of a source whose symbols trade on days of their own (``symbol_sessions``) those of the symbol.

    Examples
    --------
    >>> sessions_of(object()) is None
    True
    """
    own: Mapping[str | None, Sessions | None] = getattr(source, "symbol_sessions", {})
    return own[symbol] if symbol in own else getattr(source, "sessions", None)


def bar_grid_of(source: object, symbol: str) -> BarGrid | None:
    """Return where the bars of a symbol open that do not open at multiples of their length; ``None``: they do.

    Examples
    --------
    >>> bar_grid_of(object(), "AAPL") is None
    True
    """
    grid_of: Callable[[str], BarGrid | None] | None = getattr(source, "bar_grid", None)
    return None if grid_of is None else grid_of(symbol)
