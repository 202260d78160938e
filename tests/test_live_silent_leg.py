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


def buys(answers: dict[str, dict[int, dict[str, Any]]]) -> Any:
    """Answers by symbol and minute: a long, with what differs from one between 10 and 500."""

    def get_signal(when: Any, price: float, symbol: str) -> Any:
        answer = answers[symbol].get((round(when.timestamp()) * 1000 - ORIGIN) // MINUTE)
        known = {"position": "long", "price_take_profit": 500.0, "price_stop_loss": 10.0}
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
    assert result.run_account.end == expected.run_account.end
    return result, expected


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
    assert [(each.value // 10**6 - ORIGIN) // MINUTE for each in ends["closed_at"]] == [70, 60]
