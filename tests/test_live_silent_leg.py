"""Legs of a live portfolio whose market falls silent: they end as in the portfolio over the candles that came."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_account import money_of
from test_live_portfolio import backtest, live, told

import bknb
from bknb.testing.clocks import SimulatedClock

FREE = bknb.Costs(taker=0.0, slippage=0.0)


def rows(*changes: tuple[int, float], silent: range = range(0)) -> list[list[float]]:
    """Minutes at 100, and at another price from each of some minutes on; a silent one is not there."""
    prices = [(-60, 100.0), *changes]
    found = []
    for minute in range(-60, 200):
        price = next(price for since, price in reversed(prices) if since <= minute)
        if minute not in silent:
            found.append([ORIGIN + minute * MINUTE, price, price, price, price, 100.0])
    return found


def buys(answers: dict[str, dict[int, Any]]) -> Any:
    """Answers by symbol and minute: one or several longs, with what differs from one between 10 and 500."""

    def get_signal(when: Any, price: float, symbol: str) -> Any:
        answer = answers[symbol].get((round(when.timestamp()) * 1000 - ORIGIN) // MINUTE)
        known = {"position": "long", "price_take_profit": 500.0, "price_stop_loss": 10.0}
        if isinstance(answer, list):
            return [bknb.Signal(**known | each) for each in answer]
        return None if answer is None else known | answer

    return get_signal


def both(until: int, **options: Any) -> tuple[Any, Any]:
    """Live up to a minute with a patience of five, and over the candles that came."""
    options = {"allow_gaps": True, "capital": 1000, "costs": FREE} | options
    options["settings"] = {"patience_minutes": 5} | options.get("settings", {})
    end = ORIGIN + until * MINUTE
    result = live(options, SimulatedClock(ORIGIN), until=end)
    expected = backtest(options, result, end)
    assert sorted(told(result, end)) == sorted(told(expected, end))  # what ended in silence is told with the next bar
    assert money_of(result, end) == money_of(expected, end)
    return result, expected


def minutes_of(moments: Any) -> list[int]:
    """Timestamps as minutes since the origin."""
    return [(each.value // 10**6 - ORIGIN) // MINUTE for each in moments]


@pytest.mark.slow
def test_a_bar_that_comes_on_time_after_silence_is_worked_on_with_those_of_the_others() -> None:
    """A and B share margin; B is silent from minute 30 to 60, and what both fall by minute 75 uses it up."""
    bknb.add_strategy("fives", interval="5m", get_signal=buys({"A": {5: {}}}))
    bknb.add_strategy("quarters", interval="15m", get_signal=buys({"B": {15: {}}}))
    result, _ = both(
        120,
        legs=[("A", "fives"), ("B", "quarters")],
        base={"A": "5m", "B": "15m"},
        exchange={"A": source(rows((70, 85.0))), "B": source(rows((60, 80.0), silent=range(30, 60)))},
        account=bknb.Margin(10, 0.5),
        sizing="percent:300",
    )
    ends = result.trades[["closed_at", "close_reason"]]
    assert ends["close_reason"].tolist() == ["liquidation"] * 2
    assert minutes_of(ends["closed_at"]) == [70, 60]


@pytest.mark.slow
def test_an_entry_over_longer_bars_outlives_silence_as_over_history() -> None:
    """B is ordered at minute 10, silent to minute 130, and has rested no bar by then; A is bought beside it at 125."""
    bknb.add_strategy("fives", interval="5m", get_signal=buys({"A": {125: {}}, "B": {10: {"price_open": 100.0}}}))
    result, _ = both(
        150,
        legs=[("A", "fives"), ("B", "fives")],
        base={"A": "5m", "B": "5m"},
        exchange={"A": source(rows()), "B": source(rows(silent=range(10, 130)))},
        account=bknb.Margin(2, 0.5),
        sizing="percent:120",
        settings={"schedule_await_minutes": 30},
    )
    assert [held.cost for held in result.run_account.end.positions.values()] == [800.0, 1200.0]


@pytest.mark.slow
def test_an_add_over_longer_bars_outlives_silence_as_over_history() -> None:
    """B is bought at minute 5, and is to be added to at 90 from minute 10 on; nothing comes of it from 15 to 130."""
    add = bknb.Add(1.0, price_open=90.0)
    bknb.add_strategy("adds", interval="5m", manage_interval="5m", get_signal=buys({"B": {5: {}}}),
                      manage=lambda when: add if when.hour == 0 and when.minute == 10 else None)  # fmt: skip
    bknb.add_strategy("fives", interval="5m", get_signal=buys({"A": {125: {}}}))
    result, _ = both(
        150,
        legs=[("A", "fives"), ("B", "adds")],
        base={"A": "5m", "B": "5m"},
        exchange={"A": source(rows()), "B": source(rows(silent=range(15, 130)))},
        account="spot",
        sizing={"A": "percent:80", "B": "percent:40"},
        settings={"schedule_await_minutes": 30},
    )
    assert [held.cost for held in result.run_account.end.positions.values()] == pytest.approx([400.0, 240.0])


ORDERED = {"price_open": 90.0, "price_stop_loss": 80.0, "valid": "13m"}  # 900 at a risk of 100
TWO = [ORDERED, {"price_open": 80.0, "price_stop_loss": 40.0, "valid": "30m"}]  # 200


def world_of(answer: Any) -> dict[str, Any]:
    """A is ordered at minute 1, and no bar of it comes until minute 40; B is opened at minutes 12 and 14."""
    short = {"minute_estimated_time": 1}
    bknb.add_strategy("once", interval="1m", get_signal=buys({"A": {1: answer}, "B": {12: short, 14: short}}))
    return {
        "legs": [("A", "once"), ("B", "once")],
        "exchange": {"A": source(rows(silent=range(1, 40))), "B": source(rows())},
        "account": "spot",
        "sizing": {"A": bknb.size.Risk(10), "B": "percent:95"},
    }


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "bought"), [(ORDERED, [100.0, 950.0]), (TWO, [100.0, 800.0])], ids=["one", "two"])
def test_what_is_reserved_for_an_entry_that_ended_in_silence_is_free(answer: Any, bought: list[float]) -> None:
    result, _ = both(50, **world_of(answer))
    assert result.leg("B").trades["cost"].tolist() == bought


@pytest.mark.slow
def test_what_is_reserved_for_an_order_that_rests_at_a_broker_is_not() -> None:
    options = {"capital": 1000, "costs": FREE, "allow_gaps": True, "settings": {"patience_minutes": 5}}
    options |= {"broker": bknb.brokers.paper(), "late_minutes": 60} | world_of(ORDERED)
    result = live(options, SimulatedClock(ORIGIN), until=ORIGIN + 30 * MINUTE)
    assert result.leg("B").trades["cost"].tolist() == [100.0, 100.0]


def one_place(request: bknb.RiskRequest) -> bool:
    "one at a time"
    return request.open_position_count == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "opened"),
    [
        ({"price_open": 90.0, "valid": "13m"}, [14, 15]),
        ([{"price_open": 90.0, "valid": "13m"}, {"price_open": 80.0, "valid": "14m"}], [15]),
    ],
    ids=["one", "two"],
)
@pytest.mark.parametrize("silent", [range(1, 40), range(2, 40)], ids=["it was ordered", "it rests"])
def test_the_place_of_an_entry_that_ended_in_silence_is_free(answer: Any, opened: list[int], silent: range) -> None:
    """A is ordered at minute 1; B asks at 13, 14 and 15, and at 18 for a short, which the account refuses."""
    bknb.add_risk("single", validations=[one_place])
    long, short = (
        {"minute_estimated_time": 1},
        {"position": "short", "price_take_profit": 1.0, "price_stop_loss": 200.0},
    )
    get_signal = buys({"A": {1: answer}, "B": dict.fromkeys((13, 14, 15), long) | {18: short}})
    bknb.add_strategy("one", interval="1m", get_signal=get_signal, risk="single")
    result, expected = both(
        50,
        legs=[("A", "one"), ("B", "one")],
        exchange={"A": source(rows(silent=silent)), "B": source(rows())},
        account="spot",
        sizing="percent:40",
    )
    refused = [[(each.when, each.open_positions) for each in of.refused] for of in (result, expected)]
    assert refused[0] == refused[1]
    assert [count for _, count in refused[0]] == [1] * (3 - len(opened)) + [0]
    assert minutes_of(result.leg("B").trades["pending_at"]) == opened
