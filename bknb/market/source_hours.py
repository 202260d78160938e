"""What a source of candles tells of its market's hours, without the calendars that only such a source needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.interval import WEEK

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

    Weekly bars of a source that does not say so open on Monday at 00:00 UTC.

    Examples
    --------
    >>> bar_grid_of(object(), "AAPL") is None
    True
    """
    grid_of: Callable[[str], BarGrid | None] | None = getattr(source, "bar_grid", None)
    grid = None if grid_of is None else grid_of(symbol)
    if grid is None and has_weekly_bars(source):
        from .weekly_bar_grid import week_grid  # few sources have weeks

        return week_grid()
    return grid


def has_weekly_bars(source: object) -> bool:
    """Whether the base bars of a source are weeks: what it has besides is made of them.

    Examples
    --------
    >>> has_weekly_bars(object())
    False
    """
    return getattr(source, "base_interval", None) == WEEK or tuple(getattr(source, "intervals", None) or ()) == (WEEK,)
