"""What a strategy asks of candles besides a number of the newest: those since a moment, and the forming one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..domain.interval import floor_to, interval_ms
from ..domain.whole_number import whole_number
from ..errors import UsageError
from .candles import Candles
from .series_questions import moment_ms
from .series_tables import span_ms

if TYPE_CHECKING:
    from .window import Window


def asked_candles(
    window: Window, symbol: str, interval: str, when: int, *, limit: Any, since: object, forming: bool
) -> Candles:
    """The closed candles a strategy asks for, and the forming one where it does. See ``Context.candles``."""
    if since is not None:
        begin = _begin(since, when)
        candles = _since(window, symbol, interval, when, begin, limit)
    elif limit is not None:
        begin, candles = 0, window.newest(symbol, interval, limit, when)
    else:
        raise UsageError("say how many candles, such as 20, or since when, such as since=ctx.at('00:00')")
    if not forming:
        return candles
    last = forming_candle(window, symbol, interval, when)
    return Candles.concat([candles, last]) if len(last) and int(last.timestamp[0]) >= begin else candles


def forming_candle(window: Window, symbol: str, interval: str, when: int) -> Candles:
    """The candle of the slot that ``when`` (UTC ms) lies in, of its base bars that have closed by then; or none.

    Once all of them have, it is the closed candle, to the last bit.
    """
    begin = floor_to(when, interval_ms(interval))
    bars = window.since(symbol, window.base, begin, when)
    if not len(bars):
        return bars
    return Candles.from_columns(
        timestamp=[begin],
        open=bars.open[:1],
        high=[bars.high.max()],
        low=[bars.low.min()],
        close=bars.close[-1:],
        volume=bars.volume.cumsum()[-1:],  # added one by one in order of time, as in closed candles
    )


def _begin(since: object, when: int) -> int:
    """The first open time (UTC ms) that counts."""
    span = isinstance(since, (str, timedelta))
    return max(when - span_ms(since, "since") if span else moment_ms(since), 0)


def _since(window: Window, symbol: str, interval: str, when: int, begin: int, limit: object) -> Candles:
    found = window.since(symbol, interval, begin, when)
    if limit is None:
        return found
    most = whole_number("limit", limit, least=1, hint="with since= it says how many candles come back at most")
    return found[-most:]
