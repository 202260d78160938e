"""Steps and least amounts of markets in history: what is bought, closed, refused, and left."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, long
from test_capital import FRAME, FREE, market, notes, play

import bknb

HOLD = long(150, 50, 20)
DEARER = {3: (103.0, 103.0, 103.0, 103.0)}


def on(candles: Any = None, **limits: Any) -> Any:
    return bknb.add_exchange("steps", get_candles=market(candles), **limits)


def fills(result: Any) -> list[tuple[str, float]]:
    return [(row.kind, round(row.quantity, 9)) for row in result.fills.itertuples()]


@pytest.mark.parametrize(
    ("limits", "given", "expected", "refused"),
    [
        ({}, {"sizing": "cash:995"}, [("entry", 9.95), ("exit", 9.95)], None),
        ({"step": 3}, {"sizing": "percent:100"}, [("entry", 99.0), ("exit", 99.0)], None),
        ({"step": {"BTCUSDT": 0.1, "ETHUSDT": 5}}, {"sizing": "cash:995"}, [("entry", 9.9), ("exit", 9.9)], None),
        ({"step": {"ETHUSDT": 5}}, {"sizing": "cash:995"}, [("entry", 9.95), ("exit", 9.95)], None),
        ({"step": 10}, {"sizing": "cash:995"}, [], "less than one step of the market, which is 10"),
        ({"least_value": 500}, {"sizing": "cash:499"}, [], "4.99 is worth 499, the market takes 500 at least"),
        ({"least_quantity": 5}, {"sizing": "units:4"}, [], "too small: 4, the market takes 5 at least"),
        ({"step": 1}, {"sizing": "cash:1000", "at": 3}, [("entry", 9.0), ("exit", 9.0)], None),  # at 103
        ({"least_quantity": 10}, {"sizing": "cash:1000", "at": 3}, [], "too small: 9.70873786, the market takes 10"),
        ({"step": 1}, {"manage": bknb.Reduce(0.25)}, [("entry", 10.0), ("reduce", 2.0), ("exit", 8.0)], None),
        ({"step": 1}, {"manage": bknb.Reduce(0.05)}, [("entry", 10.0), ("reduce", 0.0), ("exit", 10.0)], None),
        ({"least_value": 300}, {"manage": bknb.Reduce(0.8)}, [("entry", 10.0), ("reduce", 10.0), ("exit", 0.0)], None),
        ({"least_value": 300}, {"manage": bknb.Reduce(0.2)}, [("entry", 10.0), ("reduce", 0.0), ("exit", 10.0)], None),
        ({"step": 1}, {"manage": bknb.Add(0.25)}, [("entry", 10.0), ("add", 2.0), ("exit", 12.0)], None),
        ({"least_value": 300}, {"manage": bknb.Add(0.2)}, [("entry", 10.0), ("exit", 10.0)], "2 is worth 200"),
    ],
)  # fmt: skip
def test_what_a_market_takes_is_bought_and_closed(limits: Any, given: Any, expected: Any, refused: str | None) -> None:
    """10 at 100; bar 3 opens at 103 where it is asked for there."""
    asked = given.get("at", 0)
    exchange = on(DEARER if asked else None, **limits)
    manage = {2: given["manage"]} if "manage" in given else None
    result = play({asked: HOLD}, exchange, manage=manage, sizing=given.get("sizing", "units:10"))
    assert fills(result) == expected
    assert [refused in note for note in notes(result)] == [True] if refused else notes(result) == []
    assert result.equity.iloc[-1] == pytest.approx(10_000 + result.trades["money"].sum())
    assert result.run_record.money.end.imbalance({}) == pytest.approx(0.0, abs=1e-9)


def test_legs_have_the_steps_of_their_symbols() -> None:
    bknb.add_strategy("s", interval="1m", get_signal=lambda ctx: HOLD if ctx.when_ms == ORIGIN else None)
    result = bknb.portfolio(
        symbols=["A", "B"], strategies=["s"], exchange=on(step={"A": 3, "B": 0.7}), frame=FRAME, settings=FREE,
        capital=10_000, sizing="percent:20",
    )  # fmt: skip
    bought = result.fills[result.fills["kind"] == "entry"]
    assert bought["quantity"].round(9).tolist() == [18.0, 19.6]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"step": -1}, "step must be a number of at least 0, got -1"),
        ({"least_value": {"A": "5"}}, "least_value of 'A' must be a number of at least 0, got '5'"),
        ({"least_quantity": float("nan")}, "least_quantity must be a number of at least 0, got nan"),
    ],
)
def test_limits_that_cannot_be_are_told(given: Any, says: str) -> None:
    with pytest.raises(bknb.UsageError, match=says):
        on(**given)


def test_a_weight_is_held_in_steps() -> None:
    """0.5055 of 10 000 at 100 is 50.55, held in steps of 2; 0.6 after that is 60, reached by 10; nothing closes all."""
    weights = {0: 0.5055, 5: 0.6, 10: 0.0}
    bknb.add_strategy("w", interval="5m", get_weight=lambda ctx: weights.get((ctx.when_ms - ORIGIN) // MINUTE))
    result = bknb.backtest("BTCUSDT", strategy="w", exchange=on(step=2), frame=FRAME, capital=10_000, settings=FREE)
    assert fills(result) == [("entry", 50.0), ("add", 10.0), ("exit", 60.0)]
