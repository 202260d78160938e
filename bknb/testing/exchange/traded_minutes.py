"""The minutes that a local exchange has traded, and the candles it answers of them."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any, Final

from ...domain.interval import INTERVAL_MS, WEEK
from ...market.bar_slots import slot_of
from ...market.weekly_bar_grid import week_grid
from .calls import Params
from .orders import RefusedError

_DEFAULT: Final = 500
_MOST: Final = 1000


class TradedMinutes:
    """Minutes by symbol.

    Examples
    --------
    >>> traded = TradedMinutes()
    >>> for k in range(4):
    ...     traded.add("BTCUSDT", k * 60_000, (Decimal(k + 1), Decimal(k + 2), Decimal(k), Decimal(k + 1)), Decimal(1))
    >>> [row[:6] for row in traded.klines({"symbol": "BTCUSDT", "interval": "3m"}, 4 * 60_000)]
    [[0, '1', '4', '0', '3', '3'], [180000, '4', '5', '3', '4', '1']]
    """

    def __init__(self) -> None:
        self._minutes: defaultdict[str, dict[int, tuple[Decimal, ...]]] = defaultdict(dict)

    def add(self, symbol: str, opened: int, prices: tuple[Decimal, Decimal, Decimal, Decimal], volume: Decimal) -> None:
        """Note a minute: when it opened in UTC ms, its open, high, low and close, its volume in base currency."""
        self._minutes[symbol][opened] = (*prices, volume)

    def has(self, symbol: str, opened: int) -> bool:
        """Whether a minute that opened then (UTC ms), or a later one, was traded."""
        return max(self._minutes[symbol], default=opened - 1) >= opened

    def klines(self, params: Params, now: int) -> list[list[Any]]:
        """Candles as Binance answers them: of the asked interval, made of the minutes that are there.

        Raises
        ------
        RefusedError
            When there is no such interval.
        """
        interval = params.get("interval", "")
        if interval not in INTERVAL_MS:
            raise RefusedError("interval")
        step = INTERVAL_MS[interval]
        limit = min(int(params.get("limit", _DEFAULT)), _MOST)
        until = min(int(params.get("endTime", now)), now)
        since = int(params.get("startTime", -1))
        grid = week_grid() if interval == WEEK else None
        bars: dict[int, list[tuple[Decimal, ...]]] = {}
        for opened, minute in sorted(self._minutes[params["symbol"]].items()):
            first = slot_of(opened, step, grid)
            if since <= first <= until:
                bars.setdefault(first, []).append(minute)
        rows = [_row(first, step, minutes) for first, minutes in bars.items()]
        return rows[:limit] if since >= 0 else rows[-limit:]


def _row(first: int, step: int, minutes: list[tuple[Decimal, ...]]) -> list[Any]:
    opens, highs, lows, closes, volumes = zip(*minutes, strict=True)
    volume = sum(volumes, Decimal(0))
    prices = [str(price) for price in (opens[0], max(highs), min(lows), closes[-1], volume)]
    return kline(first, step, prices, str(volume * closes[-1]))


def kline(first: int, step: int, numbers: list[str], quote_volume: str) -> list[Any]:
    """A candle as Binance writes it: when it opens, open to volume, when it closes, and what is not minded.

    Examples
    --------
    >>> kline(0, 60_000, ["1", "2", "1", "2", "5"], "10")[:7]
    [0, '1', '2', '1', '2', '5', 59999]
    """
    return [first, *numbers, first + step - 1, quote_volume, 10, "0", "0", "0"]
