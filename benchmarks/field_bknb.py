"""The strategy of ``field_case.py`` in bknb: with indicators, with candles, and with rows."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from field_case import FAST, SLOW, SYMBOL, Trade, columns, measure

FRAME = ("2023-01-01", "2024-01-01")
FOREVER = 10**6  # minutes
EXITS: dict[str, Any] = {"target_percent": 2.0, "stop_percent": 1.0, "minute_estimated_time": FOREVER}
SETTINGS: dict[str, Any] = {
    "percent_fee": 0.1, "percent_slippage": 0.0, "max_signal_lifetime_minutes": FOREVER,
}  # fmt: skip


def imports() -> str:
    """Import bknb with what a run needs."""
    import bknb

    _ = bknb.backtest, bknb.Signal, bknb.exchanges
    return bknb.__version__


def load(path: str) -> Any:
    """A source of the candles."""
    import bknb

    return bknb.exchanges.from_frame(bknb.Candles.from_columns(**columns(path)))


def with_indicators() -> dict[str, Any]:
    """Both averages as indicators."""
    import bknb

    fast, slow = bknb.indicator("sma", "15m", FAST), bknb.indicator("sma", "15m", SLOW)

    def get_signal(ctx: Any) -> Any:
        if fast.last(ctx) > slow.last(ctx) and fast(ctx, 2)[0] <= slow(ctx, 2)[0]:
            return bknb.Signal(position="long", **EXITS)
        return None

    return {"get_signal": get_signal}


def with_candles() -> dict[str, Any]:
    """Candles asked for at each question, and four means of them."""
    import bknb

    def get_signal(ctx: Any) -> Any:
        closes = ctx.candles("15m", SLOW + 1).close
        now = closes[-FAST:].mean() > closes[1:].mean()
        if now and not closes[-FAST - 1 : -1].mean() > closes[:-1].mean():
            return bknb.Signal(position="long", **EXITS)
        return None

    return {"get_signal": get_signal}


def with_rows() -> dict[str, Any]:
    """Rows for all candles at once."""

    def get_signals(candles: Any) -> dict[str, Any]:
        means = [_means(candles.close, length) for length in (FAST, SLOW)]
        above = means[0] > means[1]
        position = np.zeros(len(above), dtype=np.int8)
        position[SLOW:] = above[SLOW:] & ~above[SLOW - 1 : -1]
        return {"position": position, **EXITS}

    return {"get_signals": get_signals, "lookback": SLOW + 1}


def _means(close: Any, length: int) -> Any:
    found = np.full(len(close), np.nan)
    found[length - 1 :] = np.lib.stride_tricks.sliding_window_view(close, length).mean(axis=1)
    return found


WAYS = {
    "indicators": with_indicators,
    "candles": with_candles,
    "rows": with_rows,
}


def run(exchange: Any) -> list[Trade]:
    """A backtest with its statistics."""
    import bknb

    strategy: Any = bknb.add_strategy("two averages", interval="15m", **WAYS[sys.argv[3]]())
    result = bknb.backtest(SYMBOL, strategy=strategy, exchange=exchange, frame=FRAME, settings=SETTINGS)
    failed = [one for one in result.errors if one.kind != "warm-up"]
    if failed or result.stats is None:
        raise SystemExit(f"it failed: {failed}")
    names = ["pending_at", "price_open", "closed_at", "price_close"]
    table = result.trades[names]
    return [
        (int(a.timestamp() * 1000), float(b), int(c.timestamp() * 1000), float(d))
        for a, b, c, d in table.itertuples(index=False)
    ]


if __name__ == "__main__":
    measure(imports, load, run)
