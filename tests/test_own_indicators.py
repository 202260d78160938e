"""Functions of one's own as indicators: what they may be made of, what they return, where they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE
from test_indicators import START, WALK, source, walk

import bknb

WHEN = START + 25 * MINUTE  # of the last question


def answers(given: dict[str, Any], *, exchange: Any = WALK) -> dict[str, Any]:
    """The newest value of each of some indicators at the last question of a run, or the error it raises."""
    found: dict[str, Any] = {}

    def get_signal(ctx: Any) -> None:
        for name, each in given.items():
            try:
                found[name] = each.last(ctx)
            except (bknb.UsageError, bknb.LookaheadError) as error:
                found[name] = str(error)

    result = bknb.backtest(
        "X", strategy=get_signal, interval="5m", exchange=exchange, frame=(START, WHEN + MINUTE), allow_gaps=True
    )
    assert not result.errors, result.errors
    return found


def test_gaps_between_candles_may_be_what_a_value_is_made_of() -> None:
    minutes = walk(4500)
    has = (minutes.timestamp // MINUTE) % 60 != 7
    gapped = source(bknb.Candles(minutes.block[:, has]))

    def since_gap(timestamp: Any) -> Any:
        begins = np.diff(timestamp, prepend=timestamp[0]) > MINUTE
        return pd.Series(begins).groupby(np.cumsum(begins)).cumcount().where(np.cumsum(begins) > 0)

    found = answers({"since": bknb.indicator(since_gap, "1m", lookback=70)}, exchange=gapped)
    last = int(minutes.timestamp[has & (minutes.timestamp < WHEN)][-1]) // MINUTE
    assert found == {"since": (last - 8) % 60}  # 0 at the first candle behind a gap
