"""Closes of several symbols at the times at which all of them have a candle, each from candles of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NotEnoughData

if TYPE_CHECKING:
    from ..market.window import Window


def common_closes(windows: Mapping[str, Window], interval: str, count: int, when: int) -> list[list[float]]:
    """The closes (quote currency) of the ``count`` newest candles that all symbols have: a list for each, in order.

    Parameters
    ----------
    windows
        The candles of each symbol.
    interval
        Of the candles.
    count
        How many.
    when
        The moment at which they have closed, UTC ms.

    Raises
    ------
    NotEnoughData
        When one of them has fewer, or fewer than an eighth of the newest are of the same times.
    """
    for limit in (count, 2 * count, 4 * count, 8 * count):
        found = [window.newest(symbol, interval, limit, when) for symbol, window in windows.items()]
        times = reduce(np.intersect1d, [candles.timestamp for candles in found])[-count:]
        if len(times) == count:
            return [candles.close[np.searchsorted(candles.timestamp, times)].tolist() for candles in found]
    names = " and ".join(windows)
    raise NotEnoughData(f"of the {limit} newest {interval} candles of {names} fewer than {count} are of the same times")
