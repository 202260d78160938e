"""Columns of ``get_signals`` that declare exits or leave: what they do, and what is said of others."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from managed import FREE, Heard, told
from scenarios import MINUTE, ORIGIN, Candle, source
from test_live_parity import live
from test_sweep_parity import assert_same, by_kernel
from worlds import MODELS

import bknb
from bknb.domain.signal_events import Reason
from bknb.domain.signal_validation import read_answer
from bknb.engine.get_signals_columns import read_rows
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

NONE = float("nan")
PLAIN: dict[str, Any] = {"price_take_profit": NONE, "price_stop_loss": NONE, "minute_estimated_time": NONE}
LADDER = {"target_1": 102.0, "share_1": 0.5, "target_2": 101.0, "share_2": 0.25, "target_3": NONE, "share_3": 0.25}


def world(
    columns: dict[str, Any], candles: dict[int, Candle], *, side: int = 1, leave: int | None = None, model: str,
    interval: str = "1m", settings: dict[str, Any] | None = None, manage: Any = None,
) -> list[str]:  # fmt: skip
    """What one row, wanted at minute 0, comes to; ``leave`` is the minute whose candle says that it is to be left.

    The compiled loop is held against it.
    """

    def get_signals(given: bknb.Candles) -> dict[str, Any]:
        step = {"1m": 1, "5m": 5}[interval]
        found = {"position": np.where(given.timestamp == ORIGIN - step * MINUTE, side, 0)} | PLAIN | columns
        if leave is not None:
            found["exit_long" if side > 0 else "exit_short"] = given.timestamp == ORIGIN + leave * MINUTE
        return found

    if side < 0:
        candles = {k: (200 - o, 200 - low, 200 - high, 200 - c) for k, (o, high, low, c) in candles.items()}
    rows = [(ORIGIN + k * MINUTE, *candles.get(k, (100.0,) * 4), 100.0) for k in range(-60, 41)]
    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("rows", interval=interval, get_signals=get_signals, lookback=5, manage=manage),
        exchange=source(rows),
        frame=(ORIGIN, ORIGIN + 30 * MINUTE),
        execution=model,
        settings=FREE | (settings or {}),
    )
    run = Heard(plan)
    asyncio.run(run.through())
    assert not run.records.failures, run.records.failures
    assert not run.records.warnings, run.records.warnings
    if manage is None:
        assert_same(run, *by_kernel(plan))
    return [told(event) for event in run.heard if not isinstance(event, bknb.Milestone)]


UP: dict[int, Candle] = {
    3: (100, 103, 100, 103),
    4: (103, 103, 101.5, 101.5),
    **dict.fromkeys(range(5, 41), (101.5,) * 4),
}


@pytest.mark.parametrize("side", [1, -1])
def test_a_trailing_stop(side: int) -> None:
    columns = {"trailing_percent": 1.0}
    assert (
        world(columns, UP, side=side, model="pessimistic")
        == {
            1: ["opened 100 @m0", "closed trailing_stop 101.97 @m4"],
            -1: ["opened 100 @m0", "closed trailing_stop 97.97 @m4"],
        }[side]
    )


def test_a_trailing_stop_that_begins_later() -> None:
    candles: dict[int, Candle] = {2: (100, 100.5, 99, 99), 3: (99, 102, 99, 102), 4: (102, 102, 100, 100)}
    columns = {"trailing_percent": 1.0, "trailing_after": 2.0}
    assert world(columns, candles, model="pessimistic") == [
        "opened 100 @m0", "moved trailing_stop to 100.98 @m3", "closed trailing_stop 100.98 @m4"]  # fmt: skip


def test_break_even_stands_at_the_costs() -> None:
    candles: dict[int, Candle] = {3: (100, 102, 100, 102), 4: (102, 102, 99, 99)}
    settings = {"percent_fee": 0.1, "percent_slippage": 0.0}
    lines = world({"breakeven_after": 1.0}, candles, model="pessimistic", settings=settings)
    at = 100 * 1.001 / 0.999
    assert lines == ["opened 100 @m0", f"moved breakeven to {at:.10g} @m3", f"closed breakeven {at:.10g} @m4"]


@pytest.mark.parametrize("model", ["pessimistic", "touch"])
def test_a_ladder_in_any_order_leaves_the_rest_running(model: str) -> None:
    candles: dict[int, Candle] = {3: (100, 101.5, 100, 101), 4: (101, 102.5, 101, 102)}
    assert world(LADDER, candles, model=model) == [
        "opened 100 @m0",
        "reduced take_profit 0.25 at 101 @m3, 0.75 left",
        "reduced take_profit 0.5 at 102 @m4, 0.25 left",
        "closed frame_end 100 @m30",
    ]


def test_a_result_is_of_the_cost_of_the_first_fill() -> None:
    def get_signals(candles: bknb.Candles, first: float = 101.0) -> dict[str, Any]:
        wanted = {"position": candles.timestamp == ORIGIN - MINUTE}
        return wanted | PLAIN | LADDER | {"target_2": first}

    prices: dict[int, Candle] = {3: (100, 101.5, 100, 101), 4: (101, 102.5, 101, 102)}
    rows = [(ORIGIN + k * MINUTE, *prices.get(k, (100.0,) * 4), 100.0) for k in range(-60, 41)]
    found = bknb.sweep(
        get_signals, params={"first": [101.0]}, symbol="BTCUSDT", exchange=source(rows),
        frame=(ORIGIN, ORIGIN + 30 * MINUTE), interval="1m", settings=FREE, executor="inline", keep_trades=True,
    )  # fmt: skip
    assert found.table["avg_pnl"].tolist() == pytest.approx([0.25 * 1 + 0.5 * 2])


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("model", "ends"), [("pessimistic", "102 @m7"), ("touch", "102 @m7"), ("vwap", "100 @m7")])
def test_a_row_leaves_at_the_market_of_its_moment(model: str, ends: str, side: int) -> None:
    candles: dict[int, Candle] = {7: (102, 102, 102, 102)}
    price, at = ends.split()
    expected = f"closed strategy {price if side > 0 else f'{200 - float(price):g}'} {at}"
    assert world({}, candles, side=side, leave=6, model=model) == ["opened 100 @m0", expected]


def test_a_row_from_before_the_fill_was_known_does_not_leave() -> None:
    assert world({}, {}, leave=-1, model="pessimistic") == [  # its own row
        "rejected position @m0"]  # fmt: skip
    lines = world({"price_open": 99.0}, {2: (100, 100, 98, 98)}, leave=1, model="pessimistic")
    assert lines[-1] == "closed frame_end 100 @m30"


def test_a_row_leaves_once_per_slot() -> None:
    assert world({}, {}, interval="5m", leave=5, model="pessimistic")[-1] == "closed strategy 100 @m10"


def test_manage_is_asked_where_no_row_leaves() -> None:
    asked: list[int] = []

    def manage(position: bknb.HeldPosition) -> Any:
        asked.append(position.minutes)
        return bknb.Reduce(0.5) if position.minutes == 3 else None

    lines = world({}, {}, leave=6, model="pessimistic", manage=manage)
    assert lines == ["opened 100 @m0", "reduced strategy 0.5 at 100 @m3, 0.5 left", "closed strategy 100 @m7"]
    assert asked == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("columns", "manage"), [({}, False), ({"exit_long": False}, True)])
def test_rows_that_have_said_nothing_of_leaving_manage_nothing(*, columns: dict[str, Any], manage: bool) -> None:
    strategy = make_strategy("rows", interval="1m", get_signals=lambda _: {"position": 0} | PLAIN | columns, lookback=5)
    assert strategy.manages  # they may, as far as is known before the first answer
    exchange = source([(ORIGIN + k * MINUTE, *(100.0,) * 4, 100.0) for k in range(-60, 10)])
    result = live(strategy, exchange, start=ORIGIN, until=ORIGIN + 3 * MINUTE)
    assert not result.errors
    assert strategy.manages is manage
    assert "windowed" not in repr(strategy)


def test_manage_is_asked_where_a_hole_begins() -> None:
    """The moment at which a hole begins is one at which a position is managed, minute by minute and in jumps."""
    asked: list[list[int]] = []
    rows = [(ORIGIN + k * MINUTE, *(100.0,) * 4, 100.0) for k in range(-60, 41) if k not in (7, 8)]
    for every_minute in (False, True):
        moments: list[int] = []
        asked.append(moments)

        def manage(when: Any, moments: list[int] = moments) -> None:
            moments.append((round(when.timestamp() * 1000) - ORIGIN) // MINUTE)

        plan = plan_backtest(
            "BTCUSDT",
            strategy=make_strategy(
                "holes", lambda: bknb.Signal(position="long", price_stop_loss=90.0), interval="1m", manage=manage
            ),
            exchange=source(rows),
            frame=(ORIGIN, ORIGIN + 12 * MINUTE),
            allow_gaps=True,
        )
        asyncio.run(Heard(plan, every_minute=every_minute).through())
    assert asked[0] == asked[1] == [1, 2, 3, 4, 5, 6, 7, 10, 11]


# --- what is said ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"trailing_after": 1.0}, "trailing_after and no trailing_percent"),
        ({"target_1": 101.0}, "target_1 and no share_1"),
        ({"share_2": 0.5}, "share_2 and no target_2"),
        ({"exit_long": [0.5, 0.0]}, "exit_long of get_signals must hold True or False, got 0.5"),
        ({"exit_long": [True]}, "one row per candle, 2 rows; exit_long has 1"),
        ({"breakeven_after": ["soon", "later"]}, "breakeven_after of get_signals must hold numbers"),
        ({"exit_lnog": True}, "did you mean 'exit_long'"),
        ({"trailing_percnt": 1.0}, "did you mean 'trailing_percent'"),
        ({"target_4": 1.0, "share_4": 0.1}, "levels target_1 to target_3"),
        ({"exit": True}, "columns have exit_long and exit_short"),
        ({"trailing_distance": 1.0}, "columns have trailing_percent"),
        ({"add_long": True}, "only manage can add, reduce, move, cancel and reverse"),
        ({"reduce": 0.5}, "write manage\\(ctx, position\\) beside get_signals"),
    ],
)
def test_columns_that_cannot_be_meant(columns: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        read_rows({"position": [0, 1], **PLAIN, **columns}, 2, "demo")


def test_a_missing_column_says_what_stands_for_nothing() -> None:
    with pytest.raises(
        UsageError, match="with NaN where there is no target, no stop or no deadline\nmissing: price_ta"
    ):
        read_rows({"position": [0], "price_stop_loss": 1.0, "minute_estimated_time": 1}, 1, "demo")
    with pytest.raises(UsageError, match="\nside is called position here"):
        read_rows({"side": [0], **PLAIN}, 1, "demo")


def test_indicators_are_left_alone() -> None:
    table = pd.DataFrame({"position": [0], **PLAIN, "target": [1.0], "sma": [2.0], "close": [3.0], "share": [1.0]})
    assert read_rows(table, 1, "demo").exits is None


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"exit_long": True}, "opens a long or closes one, got position=1 with exit_long=True; set exit_long to False"),
        ({"position": -1, "exit_short": True}, "got position=-1 with exit_short=True; set exit_short to False where"),
        (LADDER | {"price_take_profit": 103.0}, "or a ladder, got price_take_profit with target_1; set price_take_p"),
        ({"position": 2}, "must be 1 (long), -1 (short) or 0 (nothing), got another number; make it one of these"),
        (LADDER | {"share_1": 0.9}, "the shares of a ladder add up to"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_signal_says_what_to_do(columns: dict[str, Any], text: str) -> None:
    refused = read_answer(read_rows({"position": [1], **PLAIN, **columns}, 1, "demo").answer(0))
    assert isinstance(refused, Reason)
    assert text in refused.text


def test_a_row_that_is_no_signal_says_what_else_it_holds() -> None:
    row = {"position": [1], **PLAIN, "price_stop_loss": 95.0, "minute_estimated_time": 60, "exit_long": True}
    refused = read_rows(row, 1, "demo").answer(0)
    assert isinstance(refused, Reason)
    assert refused.text.endswith("; the row has price_stop_loss=95.0, minute_estimated_time=60.0")


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"exit_long": True}, "position"),
        (LADDER | {"price_take_profit": 103.0}, "position"),
        (LADDER | {"share_1": 0.9}, "ladder"),
        (LADDER | {"share_1": NONE}, "ladder"),
        ({"trailing_percent": 100.0}, "trailing"),
        ({"trailing_percent": 1.0, "trailing_after": -1.0}, "trailing"),
        ({"breakeven_after": 0.0}, "breakeven"),
        (LADDER | {"target_1": 99.0}, "take_profit_side"),
    ],
)
def test_a_row_that_contradicts_itself_is_rejected(columns: dict[str, Any], code: str) -> None:
    lines = world(columns, {}, model="pessimistic")
    assert lines[0].startswith(f"rejected {code}")


def test_a_manage_interval_that_would_miss_rows_is_refused() -> None:
    strategy = make_strategy(
        "slow", interval="15m", get_signals=lambda candles: {"position": 0, **PLAIN, "exit_long": True},
        manage=lambda: None, manage_interval="1h",
    )  # fmt: skip
    with pytest.raises(UsageError, match="manage_interval 1h asks less often\nleave manage_interval out"):
        bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame=("2024-01-01", "2024-01-02"))


@pytest.mark.parametrize("model", MODELS)
def test_rows_without_columns_of_their_own_need_no_target(model: str) -> None:
    assert world({"minute_estimated_time": 5}, {}, model=model) == ["opened 100 @m0", "closed time_expired 100 @m5"]


def test_a_ladder_whose_last_level_is_the_fill_takes_its_part_there() -> None:
    candles: dict[int, Candle] = {0: (102, 102, 101, 102), **dict.fromkeys(range(1, 9), (103.0,) * 4)}
    columns = LADDER | {"share_1": 0.5, "target_2": NONE, "price_stop_loss": 95.0}
    lines = world(columns, candles, model="pessimistic")
    assert lines[:2] == ["opened 102 @m0", "reduced take_profit 0.5 at 102 @m0, 0.5 left"]
