"""Outcomes of trades entered after each candle: what the event engine makes of each, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import first_quick

import bknb
from bknb.kernels import random_trades
from bknb.kernels.jit import compiled

START = 1_704_067_200_000
MINUTE = 60_000


def walk(seed: int, count: int, step: int, *, size: float, silent: float = 0.2, holes: bool = True) -> bknb.Candles:
    """Candles of a random walk with steps of ``size``; a part ``silent`` has no volume, with ``holes`` some lack."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, size, count)))
    opened = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, size / 2, count))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, size / 2, count)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, size / 2, count)))
    volume = np.where(rng.random(count) < silent, 0.0, 1.0)
    volume[0] = 1.0
    kept = np.ones(count, dtype=bool)
    if holes:
        kept[30:] = rng.random(count - 30) > 0.1
        kept[count // 2 : count // 2 + 9] = False
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    times = START + np.arange(count) * step
    return bknb.Candles.from_columns(timestamp=times[kept], **{name: given[kept] for name, given in columns.items()})


def traded(
    candles: bknb.Candles, step: int, exits: dict[str, Any], *, first: int, execution: str, interval: str
) -> Any:
    """The closed trades of a run that enters again as soon as it can, from its question number ``first`` on."""
    asked = 0

    def get_signal() -> bknb.Signal | None:
        nonlocal asked
        asked += 1
        return bknb.Signal(**exits) if asked > first else None

    table = candles.to_pandas()
    result = bknb.backtest(
        "BTCUSDT",
        strategy=get_signal,
        interval=interval,
        exchange=bknb.exchanges.from_frame(table, name="walk"),
        frame=(START + 10 * step, int(candles.timestamp[-1]) + step),
        execution=execution,
        allow_gaps=True,
        settings={"min_stop_loss_distance_percent": 0.0, "min_take_profit_distance_percent": 0.0},
    )
    return result.run_record.records.closed


SHAPES: dict[str, dict[str, Any]] = {
    "barriers": {"stop_percent": 0.9, "target_percent": 1.3, "bars": 6},
    "no stop": {"target_percent": 0.8, "bars": 9},
    "no target": {"stop_percent": 0.7, "bars": 4},
    "bars alone": {"bars": 3},
    "levels alone": {"stop_percent": 0.8, "target_percent": 1.1},
    "trailing": {"trailing": bknb.Trailing(percent=0.6), "target_percent": 2.5, "bars": 12},
    "distance": {"trailing": bknb.Trailing(distance=0.7, after=0.3), "stop_percent": 1.0, "bars": 12},
}


@pytest.mark.parametrize(
    ("execution", "interval", "position"),
    first_quick(
        [
            ("pessimistic", "1h", "long"),
            ("touch", "1m", "short"),
            ("pessimistic", "1m", "short"),
            ("touch", "1h", "long"),
            ("vwap", "1m", "long"),
        ],
        kept=1,
    ),
)
def test_each_outcome_is_what_the_event_engine_makes_of_that_trade(
    execution: Any, interval: str, position: Any
) -> None:
    step = MINUTE if interval == "1m" else 60 * MINUTE
    candles = walk(7, 400, step, size=0.004, holes=execution != "vwap")
    compared = 0
    for number, (name, exits) in enumerate(SHAPES.items()):
        found = bknb.outcomes(candles, position=position, execution=execution, **exits)
        trades = traded(
            candles, step, {"position": position, **exits}, first=number, execution=execution, interval=interval
        )
        at = (
            np.searchsorted(candles.timestamp + step, [trade.signal.scheduled_at for trade in trades], side="right") - 1
        )
        for place, trade in zip(at, trades, strict=True):
            if trade.close_reason in ("frame_end", "data_end"):
                continue
            assert found[place] == trade.pnl.pnl_percentage, (name, place, trade.close_reason)
            compared += 1
    assert compared > 150


def test_each_candle_has_the_outcome_of_a_run_with_that_trade_alone() -> None:
    step = 60 * MINUTE
    candles = walk(3, 40, step, size=0.006, silent=0.0, holes=False)
    exits = {"stop_percent": 0.9, "target_percent": 1.3, "bars": 6}
    found = bknb.outcomes(candles, position="long", **exits)
    for place in range(9, 40, 3):
        closed = traded(
            candles, step, {"position": "long", **exits}, first=place - 9, execution="pessimistic", interval="1h"
        )
        ended = closed and closed[0].close_reason not in ("frame_end", "data_end")
        if ended:
            assert candles.timestamp[place] + step == closed[0].signal.scheduled_at
            assert found[place] == closed[0].pnl.pnl_percentage
        else:
            assert np.isnan(found[place])
    assert np.isnan(found[-1])
    assert np.isnan(found).sum() < 7


def test_it_is_known_by_hand() -> None:
    """Entries at the next open, both levels in one candle, the close after bars, and the end of the candles."""
    rows = [
        (0, 100, 100, 100, 100, 1),
        (1, 100, 103, 98.5, 101, 1),  # both levels: the stop, at 99
        (2, 101, 101, 101, 101, 1),
        (3, 104, 104, 104, 104, 1),  # opens beyond the target of 103.02: filled at the open
        (4, 104, 104, 104, 104, 1),
        (5, 104, 104, 104, 104, 1),
    ]
    candles = bknb.Candles.from_rows([(i * 3_600_000, *prices) for i, *prices in rows])
    free = bknb.Costs(taker=0, slippage=0)
    found = bknb.outcomes(candles, position=1, stop_percent=1, target_percent=2, bars=2, costs=free)
    np.testing.assert_allclose(found, [-1.0, (104 / 101 - 1) * 100, 0.0, np.nan, np.nan, np.nan])
    costly = bknb.outcomes(candles, position=-1, bars=1, costs=bknb.Costs(taker=0.1, slippage=0))
    np.testing.assert_allclose(costly[:2], [-1 - 0.1 * 2.01, -(104 / 101 - 1) * 100 - 0.1 * (1 + 104 / 101)])


def test_costs_that_are_whole_numbers_compile_nothing_anew() -> None:
    """A loop is compiled for each type of what it is given, which takes seconds."""
    candles = walk(3, 60, 60 * MINUTE, size=0.004)
    bknb.outcomes(candles, position="long", bars=5, costs=bknb.Costs(taker=0.5, slippage=0.5))
    loop = compiled(random_trades._run, vars(random_trades), random_trades._PIECES)
    before = loop.signatures
    for costs in (bknb.Costs(taker=0, slippage=0), bknb.Costs(taker=1, slippage=0.5)):
        bknb.outcomes(candles, position="long", bars=5, costs=costs)
    assert loop.signatures == before != []


def test_a_later_candle_changes_no_outcome_that_is_known() -> None:
    whole = walk(11, 300, 60 * MINUTE, size=0.004)
    exits: dict[str, Any] = {"stop_percent": 1.0, "target_percent": 1.0, "bars": 24}
    all_known = bknb.outcomes(whole, position="long", **exits)
    before = bknb.outcomes(whole[:150], position="long", **exits)
    known = ~np.isnan(before)
    assert 100 < known.sum() < 150
    assert (before[known] == all_known[:150][known]).all()


def test_the_settings_say_what_costs_do_not(request: pytest.FixtureRequest) -> None:
    candles = walk(5, 60, 60 * MINUTE, size=0.004)
    usual = bknb.get_config()
    request.addfinalizer(lambda: bknb.set_config(percent_fee=usual.percent_fee))
    given = bknb.outcomes(candles, position="long", bars=5, costs=bknb.Costs(taker=0.03))
    bknb.set_config(percent_fee=0.03)
    assert np.array_equal(bknb.outcomes(candles, position="long", bars=5), given, equal_nan=True)


def test_few_candles_have_no_outcome() -> None:
    assert bknb.outcomes(bknb.Candles.empty(), position="long", bars=1).shape == (0,)
    assert np.isnan(bknb.outcomes(walk(1, 1, MINUTE, size=0.01, holes=False), position="long", bars=1)).tolist() == [
        True
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"position": "up", "bars": 1}, "position of outcomes must be 'long' or 'short', or 1 or -1, got 'up'"),
        ({"position": "long"}, "nothing ends these trades, so that none has an outcome"),
        ({"position": "long", "stop_percent": 120}, "stop_percent of a long must be a number above 0 and below 100"),
        ({"position": "long", "target_percent": [(1, 0.5)]}, "outcomes knows one target_percent, got a ladder"),
        ({"position": "long", "bars": 0}, "bars must be"),
        ({"position": "long", "bars": 2.5}, "bars must be"),
        ({"position": "long", "trailing": bknb.Trailing()}, "trailing needs percent or distance, and not both"),
        ({"position": "long", "bars": 1, "costs": bknb.Costs(maker=0.1)}, "outcomes knows taker and slippage of Costs"),
        ({"position": "long", "bars": 1, "costs": bknb.Costs(taker=lambda order: 0.1)}, "as numbers, got taker"),
        ({"position": "long", "bars": 1, "costs": 0.1}, "costs of outcomes must be bknb.Costs"),
        ({"position": "long", "bars": 1, "execution": "exact"}, "exact"),
        (
            {"position": "long", "bars": 1, "execution": "vwap"},
            "execution 'vwap' needs 1m candles, and these are of 1h",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises((bknb.UsageError, bknb.UnknownName)) as refused:
        bknb.outcomes(walk(1, 20, 60 * MINUTE, size=0.01, holes=False), **options)
    assert said in str(refused.value)


def test_averages_need_each_minute() -> None:
    with pytest.raises(bknb.UsageError, match="needs each minute, and some are missing"):
        bknb.outcomes(walk(1, 60, MINUTE, size=0.01), position="long", bars=1, execution="vwap")


def test_other_tables_and_orders_are_refused_in_words() -> None:
    candles = walk(1, 20, MINUTE, size=0.01, holes=False)
    wrong: list[tuple[Any, str]] = [
        (pd.DataFrame({"close": [1.0]}), "outcomes takes candles such as ctx.candles('1h', 2000), got DataFrame"),
        (candles.take(np.arange(20)[::-1]), "in the order of their time"),
        (bknb.Candles.from_rows([(0, 1, 1, -1, 1, 1)]), "need prices above 0; the lowest here is -1"),
    ]
    for given, said in wrong:
        with pytest.raises(bknb.UsageError) as refused:
            bknb.outcomes(given, position="long", bars=1)
        assert said in str(refused.value)
