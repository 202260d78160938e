"""A strategy that follows the last hours, as a function and as rows, for the tests of research."""

from __future__ import annotations

import numpy as np

import bknb


def follow(ctx, hours=4):
    closes = ctx.candles("1h", hours).close
    way = 1 if closes[-1] > closes[0] else -1
    return bknb.Signal(
        position="long" if way > 0 else "short",
        price_take_profit=ctx.price * (1 + way * 0.02),
        price_stop_loss=ctx.price * (1 - way * 0.01),
        minute_estimated_time=360,
    )


def in_rows(candles, hours=4):
    closes = candles.close
    before = np.concatenate([np.full(hours - 1, np.nan), closes[: len(closes) - hours + 1]])
    way = np.nan_to_num(np.where(closes > before, 1.0, np.where(closes <= before, -1.0, 0.0)))
    return {
        "position": way,
        "price_take_profit": closes * (1 + way * 0.02),
        "price_stop_loss": closes * (1 - way * 0.01),
        "minute_estimated_time": 360,
    }
