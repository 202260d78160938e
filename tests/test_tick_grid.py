"""Levels on the tick grid: away from the market, the same for one signal and for a column of rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.domain.signal_validation import read_answer
from bknb.domain.tick_grid import on_grid
from bknb.engine.get_signals_columns import read_rows

LEVELS = ("price_take_profit", "price_stop_loss", "price_open")


def signal(position: str, **levels: Any) -> bknb.Signal:
    row = {"price_take_profit": 110.0, "price_stop_loss": 90.0, "minute_estimated_time": 5} | levels
    return bknb.Signal(position=position, **row)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("position", "entry", "expected"),
    [
        ("long", "limit", (110.5, 90.0, 100.0)),
        ("long", "stop", (110.5, 90.0, 100.5)),
        ("short", "limit", (90.0, 110.5, 100.5)),
        ("short", "stop", (90.0, 110.5, 100.0)),
    ],
)
def test_levels_move_away_from_the_market(position: str, entry: str, expected: tuple[float, ...]) -> None:
    upper, lower = 110.3, 90.4
    target, stop = (upper, lower) if position == "long" else (lower, upper)
    moved = on_grid(
        signal(position, price_take_profit=target, price_stop_loss=stop, price_open=100.2, entry=entry), 0.5
    )
    assert tuple(getattr(moved, name) for name in LEVELS) == expected


def test_a_whole_number_is_a_level_too() -> None:
    assert on_grid(signal("long", price_take_profit=112, price_stop_loss=88), 5).price_take_profit == 115.0


def test_what_is_no_price_stays() -> None:
    given = signal("long", price_take_profit=float("nan"), price_stop_loss=-1.0, price_open=1e308)
    moved = on_grid(given, 1e-3)
    assert np.isnan(moved.price_take_profit)
    assert (moved.price_stop_loss, moved.price_open) == (-1.0, 1e308)


@given(
    levels=st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.floats(1e-3, 1e6), min_size=1, max_size=6),
    tick=st.floats(1e-12, 1e6) | st.sampled_from([0.01, 0.25, 0.1, 1e-8, 0.3, 5, 1e16, 1 / 3]),
    position=st.sampled_from([1, -1]),
    stop_entry=st.booleans(),
)
@example(levels=[9.1e15, 1e12], tick=0.1, position=1, stop_entry=False)
def test_rows_are_rounded_as_signals_are(levels: list[float], tick: float, position: int, stop_entry: bool) -> None:  # noqa: FBT001
    table = {
        "position": [position] * len(levels),
        "price_take_profit": levels,
        "price_stop_loss": levels,
        "price_open": levels,
        "minute_estimated_time": 5,
        "stop_entry": stop_entry,
    }
    rows = read_rows(table, len(levels), "demo")
    moved = rows.on_grid(tick)
    for row in range(len(levels)):
        asked = read_answer(rows.answer(row))
        assert isinstance(asked, bknb.Signal)
        alone, together = on_grid(asked, tick), read_answer(moved.answer(row))
        for name in LEVELS:
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))


@given(price=st.floats(1.0, 1e6), tick=st.sampled_from([0.01, 0.25, 0.1, 0.3]))
def test_a_level_moves_by_less_than_a_tick_and_stays_there(price: float, tick: float) -> None:
    moved = on_grid(signal("long", price_take_profit=price), tick)
    exact, step = Decimal(repr(moved.price_take_profit)), Decimal(repr(tick))
    assert abs(exact - Decimal(price)) < step * Decimal("1.000001")
    assert abs(exact / step - round(exact / step)) < Decimal("1e-6")
    assert on_grid(moved, tick).price_take_profit == moved.price_take_profit


@given(
    count=st.integers(1, 10**15), tick=st.sampled_from([1e-8, 0.01, 0.05, 0.25, 2.5]), position=st.sampled_from([1, -1])
)
@example(count=7_677_177_748_507, tick=1e-8, position=-1)
def test_a_level_on_the_grid_stays(count: int, tick: float, position: int) -> None:
    price = float(count * Decimal(repr(tick)))
    levels = {name: [price] for name in LEVELS}
    rows = read_rows({"position": [position], "minute_estimated_time": 5, **levels}, 1, "demo")
    asked = read_answer(rows.answer(0))
    assert isinstance(asked, bknb.Signal)
    for moved in (on_grid(asked, tick), read_answer(rows.on_grid(tick).answer(0))):
        assert [getattr(moved, name) for name in LEVELS] == [price] * 3


@pytest.mark.parametrize("noise", [-1e-9, 1e-9])
def test_a_level_nearly_on_the_grid_is_put_on_it(noise: float) -> None:
    moved = on_grid(signal("long", price_open=99.95 + noise, price_take_profit=110.05 + noise), 0.05)
    assert (moved.price_open, moved.price_take_profit) == (99.95, 110.05)


def test_a_run_rounds_before_it_orders() -> None:
    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 99.0 if k == 5 else 100.0, 100.0, 1.0) for k in range(-60, 60)]

    def get_signal(when: Any) -> Any:
        return signal("long", price_open=99.34, price_take_profit=101.1) if when.minute == 0 else None

    def levels(execution: str, tick: float | None = 0.25) -> list[list[float]]:
        result = bknb.backtest(
            "BTCUSDT", strategy=get_signal, exchange=source(rows), frame=(ORIGIN, ORIGIN + 30 * MINUTE), interval="1m",
            settings={"price_tick": tick}, execution=execution,
        )  # fmt: skip
        table: list[list[float]] = result.trades[["price_open", "price_take_profit"]].to_numpy().tolist()
        return table

    assert levels("pessimistic") == levels("touch") == levels("vwap") == [[99.25, 101.25]]
    assert levels("pessimistic", None) == [[99.34, 101.1]]


@pytest.mark.parametrize("tick", [0.5, {"BTCUSDT": 0.5}])
def test_an_exchange_knows_its_tick_and_a_run_may_know_better(tick):
    bknb.add_exchange("gridded", get_candles=bknb.exchanges.demo(), tick=tick)

    def get_signal(price):
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.98,
            minute_estimated_time=60,
        )

    call = {"strategy": get_signal, "interval": "1h", "exchange": "gridded", "frame": ("2024-01-01", "2024-01-02")}
    known = bknb.backtest("BTCUSDT", **call)
    assert known.settings.price_tick == 0.5
    assert (known.trades[["price_take_profit", "price_stop_loss"]] % 0.5 == 0).all(axis=None)
    assert bknb.backtest("BTCUSDT", settings={"price_tick": 5.0}, **call).settings.price_tick == 5.0
    other = bknb.backtest("ETHUSDT", **call).settings.price_tick
    assert other == (None if isinstance(tick, dict) else 0.5)


NO_TICKS = [0, -1.0, float("inf"), float("nan"), "0.1", True, {"BTCUSDT": 0}, 10**400, {"BTCUSDT": 10**400}, 10**5000]


@pytest.mark.parametrize("tick", NO_TICKS, ids=range(len(NO_TICKS)))
def test_a_tick_of_an_exchange_is_a_step_above_0(tick):
    says = (
        r"^tick( of 'BTCUSDT')? must be a finite price step above 0, or None, got .*; give what the market quotes, such"
    )
    with pytest.raises(bknb.UsageError, match=says):
        bknb.add_exchange("gridded", get_candles=bknb.exchanges.demo(), tick=tick)
