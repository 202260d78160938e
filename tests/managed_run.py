"""A small run whose positions are managed: a ladder, a trailing stop, break-even, moves, parts, and adds if wanted."""

from __future__ import annotations

from typing import Any

from scenarios import MINUTE, ORIGIN, Candle, source

import bknb

FREE: dict[str, Any] = {"percent_fee": 0.0, "percent_slippage": 0.0}
PRICES: dict[int, Candle] = {
    1: (100.0, 100.5, 99.5, 100.0),
    2: (100.0, 102.0, 100.0, 101.5),
    3: (101.5, 104.5, 101.0, 104.0),  # the first target
    4: (104.0, 106.0, 103.9, 105.5),
    5: (105.5, 107.0, 105.2, 106.8),
    6: (106.8, 106.9, 104.0, 104.2),  # the trailing stop
}
QUIET = (104.2,) * 4


def run(
    *,
    adds: bool = False,
    end: int = 30,
    signal: bknb.Signal | None = None,
    manage: Any = None,
    candles: dict[int, Candle] | None = None,
) -> bknb.Result:
    """One long from minute 0 on: half leaves at 104, ``manage`` reduces and moves, the trailing stop ends it."""

    def get_signal(when: Any) -> Any:
        declared = bknb.Signal(
            side="long",
            price_stop_loss=95.0,
            price_take_profit=[(104.0, 0.5)],
            trailing=bknb.Trailing(distance=2.0, after=3.0),
            note="climbs",
        )
        return (signal or declared) if when.timestamp() * 1000 == ORIGIN else None

    def own(when: Any) -> Any:
        minute = (round(when.timestamp() * 1000) - ORIGIN) // MINUTE
        if minute == 2:
            return bknb.Move(price_stop_loss=98.0)
        if minute == 3 and adds:
            return bknb.Add(0.5, note="stronger")
        return bknb.Reduce(0.25, of="first", note="a little") if minute == 5 else None

    candles = PRICES | (candles or {})
    rows = [
        (ORIGIN + k * MINUTE, *candles.get(k, QUIET if k > 6 else (100.0,) * 4), 100.0) for k in range(-60, end + 10)
    ]
    bknb.add_strategy("climber", interval="1m", get_signal=get_signal, manage=manage or own, manage_interval="1m")
    return bknb.backtest(
        "BTCUSDT",
        strategy="climber",
        exchange=source(rows),
        frame=(ORIGIN, ORIGIN + end * MINUTE),
        settings=FREE,
    )
