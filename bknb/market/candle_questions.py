"""What a strategy asks of candles besides a number of the newest: those since a moment."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ..domain.whole_number import whole_number
from ..errors import UsageError
from .series_questions import moment_ms
from .series_tables import span_ms

if TYPE_CHECKING:
    from .candles import Candles
    from .window import Window


def candles_since(window: Window, symbol: str, interval: str, when: int, *, limit: object, since: object) -> Candles:
    """The closed candles that opened at a moment or later, ``limit`` of them at most. See ``Context.candles``."""
    if since is None:
        raise UsageError("say how many candles, such as 20, or since when, such as since=ctx.at('00:00')")
    span = isinstance(since, (str, timedelta))
    begin = when - span_ms(since, "since") if span else moment_ms(since)
    found = window.since(symbol, interval, max(begin, 0), when)
    if limit is None:
        return found
    most = whole_number("limit", limit, least=1, hint="with since= it says how many candles come back at most")
    return found[-most:]
