"""When candles in memory close, looked up without making the closes of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from bknb import Candles
from bknb.market.candles_of_one_symbol import Series
from bknb.market.shifted_bar_grid import BarGrid

HOUR = 3_600_000
OPENS = [hour * HOUR for hour in (9, 10, 11, 33, 34, 36)]


@pytest.mark.parametrize("half", [0, HOUR // 2], ids=["full hours", "from half past, the last one shorter"])
def test_the_place_of_a_moment_is_that_among_all_closes(half: int) -> None:
    times = np.array(OPENS) + half
    grid = BarGrid(times, HOUR, spans=[(9 * HOUR + half, 12 * HOUR), (33 * HOUR + half, 37 * HOUR)]) if half else None
    rows = [(int(at), 1.0, 1.0, 1.0, 1.0, 1.0) for at in times]
    series = Series(Candles.from_rows(rows), step=HOUR, since=0, until=40 * HOUR, grid=grid)
    closes = series.closes
    assert (closes - times != HOUR).any() == bool(half)
    for when in range(0, 40 * HOUR, HOUR // 4):
        for side in ("left", "right"):
            assert series.place_of_close(when, side=side) == np.searchsorted(closes, when, side=side)
    assert series.closes_in(slice(2, 5)).tolist() == closes[2:5].tolist()
