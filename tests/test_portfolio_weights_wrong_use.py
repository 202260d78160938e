"""What weights of several symbols cannot be, and where they cannot run: told once, in words."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from scenarios import MINUTE, ORIGIN
from test_portfolio_weights import BY_SYMBOL, FRAME, FREE, market, play, reasons, traded

import bknb


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        (0.5, ["get_weights returns None, or a mapping from symbols to weights such as", "got float: 0.5"]),
        ({"C": 0.5, "A": math.nan}, ["'C' is no symbol of this strategy; its symbols: A, B", "A: a weight is None"]),
        ({"A": [0.5]}, ["A: a weight is None, or a finite number such as 0.5, -1 or 0; got list: [0.5]"]),
        (
            {"A": 0.75, "B": -0.5},
            ["weights of 1.25 together: all of the equity is 1", "bknb.Margin(leverage=2, mode='isolated')"],
        ),
        ({"A": 1e308, "B": 1e308}, ["A: a weight is None", "a weight is at most 1e+09"]),
        (pd.Series({"A": 0.5}), ["got Series", "write .to_dict() behind it"]),
    ],
)
def test_what_is_no_answer_is_told_once_and_changes_nothing(answer: Any, texts: list[str]) -> None:
    result = play({2: {"A": 0.5}, 5: answer})
    assert len(reasons(result)) == 1
    assert all(text in reasons(result)[0] for text in texts)
    assert traded(result) == [(2, "A", "entry", 5.0), (30, "A", "exit", 5.0)]


def test_spot_has_no_shorts() -> None:
    result = play({2: {"A": -0.5}}, account=bknb.Spot())
    assert "A: weight -0.5: a spot account has no shorts" in reasons(result)[0]


@pytest.mark.parametrize("symbols", [("A", "B"), ("B", "A")])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"A": 0.5, "B": -0.5}, {"A": 5.0, "B": 5.0}),
        ({"A": 0.5, "B": -1.0}, {"A": 5.0, "B": 10.0}),  # 0.5 / 1 and 1 / 2 of the equity: all of it
        ({"B": -2.0}, {"B": 20.0}),
        ({"A": None, "B": -2.0}, {"B": 20.0}),
        ({"A": -0.5, "B": 0.5}, ["A: weight -0.5: a spot account has no shorts"]),
        (
            {"A": 0.5, "B": -1.25},
            [
                "weights of 1.75 together take 1.125 of the equity as margin, and all of it is 1",
                "A 0.5 / 1",
                "B 1.25 / 2",
            ],
        ),
        ({"A": 1.5}, ["take 1.5 of the equity", "is 1: A 1.5 / 1 (weight / leverage of its account); give smaller"]),
    ],
)
def test_a_weight_is_judged_by_the_account_of_its_symbol(symbols: Any, answer: Any, expected: Any) -> None:
    result = play({2: answer}, symbols=symbols, account=BY_SYMBOL)
    bought = {symbol: quantity for minute, symbol, _, quantity in traded(result) if minute == 2}
    if isinstance(expected, dict):
        assert (bought, reasons(result)) == (expected, [])
    else:
        [reason] = reasons(result)
        assert (bought, all(text in reason for text in expected)) == ({}, True)


def test_what_is_raised_is_told_once_and_changes_nothing() -> None:
    def get_weights(ctx: Any) -> Any:
        if ctx.when_ms == ORIGIN + 5 * MINUTE:
            raise ValueError("oh")
        return {"A": 0.5, "B": 0.5}

    bknb.weights("rotation", symbols=["A", "B"], interval="1m", get_weights=get_weights, tolerance=5)
    result = bknb.portfolio(strategies=["rotation"], exchange=market(), frame=FRAME, settings=FREE, capital=100)
    assert [error.count for leg in result.legs.values() for error in leg.errors] == [1]
    assert len(traded(result)) == 4


@pytest.mark.parametrize("symbols", ["A", [], [1], ["A", ""], None])
def test_symbols_are_a_list_of_names(symbols: Any) -> None:
    with pytest.raises(bknb.UsageError, match="must be a list of names, at least one"):
        bknb.weights("rotation", symbols=symbols, interval="1d", get_weights=dict)


def test_what_get_weights_asks_for_is_told_at_once() -> None:
    with pytest.raises(bknb.UsageError, match="asks for 'symbol'\nget_weights may ask for any of ctx, when by name"):
        bknb.weights("rotation", symbols=["A"], interval="1d", get_weights=lambda symbol: {})

    def get_weights(ctx: Any) -> Any:
        return {}

    with pytest.raises(bknb.UsageError, match=r"register it with @bknb\.weights"):
        bknb.strategy("rotation", interval="1d")(get_weights)


def test_where_weights_cannot_run_it_says_what_to_do() -> None:
    with pytest.raises(bknb.UsageError, match="names 'A' twice"):
        bknb.weights("rotation", symbols=["A", "A"], interval="1d", get_weights=dict)
    bknb.weights("rotation", symbols=["A", "B"], interval="1m", get_weights=dict)
    bknb.add_strategy("other", interval="1m", get_signal=lambda: None)
    run: dict[str, Any] = {"exchange": market(), "frame": FRAME}
    asked = r"run it as a portfolio: bknb.portfolio\(strategies=\['rotation'\]"
    for call in (
        lambda: bknb.backtest("A", strategy="rotation", **run),
        lambda: bknb.check_lookahead("rotation", symbol="A", **run),
        lambda: bknb.Live.background("A", strategy="rotation", exchange=market()),
        lambda: bknb.portfolio(legs=[("A", "rotation")], **run),
    ):
        with pytest.raises(bknb.UsageError, match=asked):
            call()
    with pytest.raises(bknb.UsageError, match="leave symbols= out"):
        bknb.portfolio(symbols=["A"], strategies=["rotation"], **run)
    with pytest.raises(bknb.UsageError, match="give symbols= for them"):
        bknb.portfolio(strategies=["rotation", "other"], **run)
    with pytest.raises(bknb.UsageError, match="sizing= is given"):
        bknb.portfolio(strategies=["rotation"], capital=100, sizing=bknb.Percent(10), **run)


def test_without_a_capital_quantities_have_no_steps() -> None:
    bknb.add_exchange("in steps", get_candles=market(), step=0.5, least_value=5.0)
    result = play({2: {"A": 0.5}}, "in steps", capital=None)
    assert traded(result)[0] == (2, "A", "entry", 0.005)
    assert traded(play({2: {"A": 0.58}}, "in steps"))[0] == (2, "A", "entry", 5.5)


def test_what_weights_are_asked_with_can_be_copied() -> None:
    copied: list[Any] = []
    bknb.weights("rotation", symbols=["A"], interval="1m", get_weights=lambda ctx: copied.append(copy.copy(ctx)))
    bknb.portfolio(strategies=["rotation"], exchange=market(), frame=FRAME, settings=FREE, capital=1_000)
    assert copied[0].weights == {"A": 0.0}
    assert copied[0].when_ms == ORIGIN


@pytest.mark.parametrize(
    "read",
    [
        lambda ctx: ctx.price_of("B"),
        lambda ctx: ctx.panel(ctx.symbols, "1m", 2),
        lambda ctx: ctx.get_candles("B", "1m", 2),
    ],
)
def test_candles_of_several_exchanges_are_not_read_in_one_question(read: Callable[[Any], Any]) -> None:
    """They would all be read from the exchange of one leg."""

    def get_weights(ctx: Any) -> Any:
        read(ctx)
        return {"A": 0.5, "B": 0.5}

    bknb.weights("both", symbols=["A", "B"], interval="1m", get_weights=get_weights)
    one, other = market(), market({3: 120.0})
    apart = bknb.portfolio(strategies=["both"], exchange={"A": one, "B": other}, frame=FRAME, settings=FREE)
    errors = [error for leg in apart.legs.values() for error in leg.errors]
    assert errors
    assert all("give one exchange that has all of them" in str(error) for error in errors)
    together = bknb.portfolio(strategies=["both"], exchange={"A": one, "B": one}, frame=FRAME, settings=FREE)
    assert [len(leg.errors) for leg in together.legs.values()] == [0, 0]
