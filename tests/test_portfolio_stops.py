"""Portfolios that are stopped while a leg waits for something that the clock has not come to."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, long, source
from test_portfolio import END, FLAT, FRAME, lines, market, minute_of

import bknb
from bknb.runs.portfolio import plan_portfolio


@pytest.mark.parametrize(("now", "told"), [(False, ["B closed time_expired 100 @m12"]), (True, [])])
def test_a_leg_that_waits_for_its_fill_is_not_asked_after_a_stop(now: bool, told: list[str]) -> None:  # noqa: FBT001
    """B leaves from minute 5 on, finds no trade until minute 12, and would be asked at minute 15."""
    asked: list[str] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(f"{ctx.symbol}{minute_of(ctx)}")
        if asked[-1] == "A6":
            task.stop(now=now)
        return long(110, 90, 5) if ctx.symbol == "B" else None

    bknb.add_strategy("each minute", interval="1m", get_signal=get_signal)
    bknb.add_strategy("each quarter", interval="15m", get_signal=get_signal)
    silent = source(
        [(ORIGIN + k * MINUTE, *FLAT, 0.0 if 5 <= k < 12 else 100.0) for k in range(-60, END + 10)]
    )  # fmt: skip
    task = plan_portfolio(
        legs=[("A", "each minute"), ("B", "each quarter")], exchange={"A": market(), "B": silent}, frame=FRAME
    )
    result = task.start().result()
    assert asked[-1] == "A6"
    assert lines(result) == ["B opened 100 @m0", *told]
    assert result.stopped


@pytest.mark.parametrize("legs", [["A", "B"], ["B", "A"]])
def test_what_happened_in_a_bar_that_has_closed_comes_before_a_stop(legs: list[str]) -> None:
    """A's target and B's limit are reached in minute 5; at its close a callback of A stops the portfolio."""

    def get_signal(ctx: Any) -> Any:
        orders = {"A": long(102, 90, 20), "B": long(110, 90, 2, at=99.0)}
        return orders[ctx.symbol] if minute_of(ctx) == 0 else None

    def on_close(_event: bknb.Closed) -> None:
        task.stop()

    bknb.add_strategy("one", interval="1m", get_signal=get_signal, callbacks={"on_close": on_close})
    exchange = {"A": market({5: (100.0, 103.0, 100.0, 100.0)}), "B": market({5: (100.0, 100.0, 98.0, 99.0)})}
    task = plan_portfolio(symbols=legs, strategies=["one"], exchange=exchange, frame=FRAME)
    told = lines(task.start().result())
    assert sorted(told[2:4]) == ["A closed take_profit 102 @m5", "B opened 99 @m5"]
    assert told[4:] == ["B closed time_expired 100 @m7"]


@pytest.mark.parametrize("now", [False, True])
def test_answers_that_a_stop_finds_waiting_for_their_turn_open_nothing(*, now: bool) -> None:
    """C is asked last and stops the portfolio: A and B have answered, and wait for what C says."""

    def get_signal(ctx: Any) -> Any:
        if ctx.symbol == "C":
            task.stop(now=now)
        return long(110, 90, 5) | {"score": 1.0}

    bknb.add_strategy("all", interval="1m", get_signal=get_signal)
    task = plan_portfolio(symbols=["A", "B", "C"], strategies=["all"], exchange=market(), frame=FRAME, priority="score")
    told = task.start().result().told
    assert [type(event).__name__ + event.symbol for event in told] == ["RejectedA", "RejectedB", "RejectedC"]
    assert "the run was stopped" in told[0].reasons[0].text
