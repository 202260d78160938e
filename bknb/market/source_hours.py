"""The trading hours a source of candles tells, without the calendars that only such a source needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sessions import Sessions


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
