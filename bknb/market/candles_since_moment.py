"""What a strategy asks of candles besides a number of the newest: those since a moment, and the forming one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ..domain.interval import floor_to, interval_ms
from ..domain.whole_number import whole_number
from ..errors import UsageError
from .candles import Candles
from .newest_series_rows import moment_ms
from .series_tables import span_ms

if TYPE_CHECKING:
    from .window import Window


def asked_candles(
    window: Window, symbol: str, interval: str, when: int, *, limit: Any, since: object, forming: bool
) -> Candles:
    """The closed candles a strategy asks for, and the forming one where it does. See ``Context.candles``."""
    if type(forming) is not bool:
        raise UsageError(f"forming must be True or False, got {forming!r:.60}")
    if since is not None:
        begin = _begin(since, when)
        candles = _since(window, symbol, interval, when, begin, limit)
    elif limit is not None:
        begin, candles = 0, window.newest(symbol, interval, limit, when)
    else:
        raise UsageError("say how many candles, such as 20, or since when, such as since=ctx.at('00:00')")
    if not forming:
        return candles
    slot = _slot(window, symbol, interval, when)
    if slot is None or slot.opened < begin:
        return candles
    last = _made_since(window, symbol, slot.begin, when)
    return Candles.concat([candles, last]) if len(last) else candles


def forming_candle(window: Window, symbol: str, interval: str, when: int) -> Candles:
    """The candle of the base bars of its slot that have closed at ``when`` (UTC ms); none where none has."""
    slot = _slot(window, symbol, interval, when)
    return Candles.empty() if slot is None else _made_since(window, symbol, slot.begin, when)


class _Slot(NamedTuple):
    """When a slot opens, and its first base bar (UTC ms)."""

    opened: int
    begin: int


def _slot(window: Window, symbol: str, interval: str, when: int) -> _Slot | None:
    """The slot that ``when`` (UTC ms) lies in; ``None`` between two sessions, weeks or months."""
    if not window.is_by_calendar(symbol, interval):
        step, grid = interval_ms(interval), window.grid_of(symbol)
        begin = floor_to(when, step) if grid is None else grid.floor(when, step)
        return _Slot(begin, begin)
    from .calendar_candles import running_part  # few look at them

    part = running_part(window, symbol, interval, when)
    return None if part is None else _Slot(part.opened, part.begin(window.base_ms, window.grid_of(symbol)))


def _made_since(window: Window, symbol: str, begin: int, when: int) -> Candles:
    """The candle of the base bars that opened since ``begin`` and have closed at ``when`` (UTC ms); or none.

    Once all of them have, it is the closed candle, to the last bit.
    """
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
