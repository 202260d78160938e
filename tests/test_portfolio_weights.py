"""Strategies that answer with the weights of several symbols at once, in a portfolio with one account."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from law_runs import paths
from scenarios import MINUTE, ORIGIN, Candle, source
from weight_loop import WeightsHand
from worlds import SEEDS

import bknb
from bknb.events.listen import drain
from bknb.market.candles import Candles

DAY = 86_400_000
END = 30
FRAME = (ORIGIN, ORIGIN + END * MINUTE)
FLAT: Candle = (100.0, 100.0, 100.0, 100.0)
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
COSTS = {"percent_fee": 0.1, "percent_slippage": 0.05}
BY_SYMBOL = {"A": bknb.Spot(), "B": bknb.Perpetual(leverage=2, mode="isolated")}


def market(prices: Mapping[int, float] | None = None, *, silent: Sequence[int] = ()) -> Any:
    """A market that is flat at 100 but for some minutes; some of them trade nothing."""
    shown = prices or {}
    rows = []
    for k in range(-60, END + 11):
        price = shown.get(k, 100.0)
        rows.append((ORIGIN + k * MINUTE, price, price, price, price, 0.0 if k in silent else 100.0))
    return source(rows)


def play(
    answers: Mapping[int, Any], exchange: Any = None, *, symbols: Sequence[str] = ("A", "B"), **options: Any
) -> Any:
    """A portfolio of a strategy whose weights are given by the minute."""

    def get_weights(ctx: Any) -> Any:
        return answers.get(int(ctx.when_ms - ORIGIN) // MINUTE)

    tolerance = options.pop("tolerance", 0.0)
    bknb.weights("rotation", symbols=symbols, interval="1m", get_weights=get_weights, tolerance=tolerance)
    options = {"exchange": exchange or market(), "frame": FRAME, "settings": FREE, "capital": 1_000} | options
    return bknb.portfolio(strategies=["rotation"], **options)


def traded(result: Any) -> list[tuple[int, str, str, float]]:
    """Minute, symbol, kind and quantity of all fills, by minute."""
    found = [
        (int((row.at.value // 10**6 - ORIGIN) // MINUTE), symbol, row.kind, round(row.quantity, 6))
        for (symbol, _), leg in result.legs.items()
        for row in leg.fills.itertuples()
    ]
    return sorted(found, key=lambda row: row[:2])


def reasons(result: Any) -> list[str]:
    return [reason.text for event in result.told if isinstance(event, bknb.Rejected) for reason in event.reasons]


# --- what an answer leads to ----------------------------------------------------------------------------------------


def test_a_mapping_is_complete_and_none_leaves_one_as_it_is() -> None:
    result = play({2: {"A": 0.5, "B": 0.25}, 5: {"A": None, "B": -0.25}, 8: None, 10: {"B": None}, 12: {}})
    assert traded(result) == [
        (2, "A", "entry", 5.0), (2, "B", "entry", 2.5),
        (5, "B", "exit", 2.5), (5, "B", "entry", 2.5),
        (10, "A", "exit", 5.0),
        (12, "B", "exit", 2.5),
    ]  # fmt: skip
    assert result.equity.iloc[-1] == pytest.approx(1_000)


def test_what_becomes_smaller_pays_for_what_becomes_larger() -> None:
    """All of the equity is in A, which is declared after B: B could not be bought first."""
    result = play({2: {"A": 1.0}, 5: {"B": 0.75, "A": 0.25}, 8: {"B": 1.0}}, symbols=["B", "A"])
    assert traded(result) == [
        (2, "A", "entry", 10.0), (5, "A", "reduce", 7.5), (5, "B", "entry", 7.5), (8, "A", "exit", 2.5),
        (8, "B", "add", 2.5), (30, "B", "exit", 10.0),
    ]  # fmt: skip
    assert not result.warnings


@pytest.mark.parametrize(
    ("account", "sold"),
    [
        (bknb.Spot(), 1_000 / 1.01 * 0.99),  # a fee of 1 % is paid of the cash
        (bknb.Margin(), 980.0),  # it is paid beside the margin where one thing is bought: 1000, and 10 at each side
    ],
)
def test_where_less_is_free_all_increases_are_made_smaller_by_one_factor(account: Any, sold: float) -> None:
    settings = {"percent_fee": 1.0, "percent_slippage": 0.0}
    answers = {2: {"A": 1.0}, 5: {"B": 0.5, "C": 0.5}}
    result = play(answers, symbols=["A", "B", "C"], settings=settings, account=account)
    bought = {symbol: quantity for minute, symbol, kind, quantity in traded(result) if (minute, kind) == (5, "entry")}
    assert bought["B"] == bought["C"] == pytest.approx(sold / 1.01 / 200, abs=1e-6)
    assert "all that was to become larger was made smaller by one factor" in result.warnings[0]
    assert not len(result.refused)
    told = result.scaled[-1]
    assert (told.when, told.symbols) == (ORIGIN + 5 * MINUTE, ("B", "C"))
    assert told.free == pytest.approx(sold)
    assert told.part == pytest.approx(told.free / told.wanted)
    assert bought["B"] == pytest.approx(told.part * result.equity.iloc[-27] * 0.5 / 100, abs=0.1)
    assert not any(isinstance(event, bknb.Scaled) for leg in result.legs.values() for event in leg.events)


@pytest.mark.parametrize(
    ("weight", "costs"),
    [(0.5, {"fixed": lambda order: 0.02 * order.quantity}), (-0.5, {"spread": 4.0})],
)
def test_a_symbol_before_its_first_bar_has_no_costs_of_each_unit(weight: float, costs: dict[str, Any]) -> None:
    """No price of it is known, and so not how many units money buys."""
    later = source([(ORIGIN + k * MINUTE, *FLAT, 100.0) for k in range(5, END + 11)])
    result = play(
        {2: {"A": 0.5, "B": weight}}, {"A": market(), "B": later}, costs=bknb.Costs(taker=0.1, slippage=0.0, **costs)
    )
    [first, *_] = traded(result)
    fees = 0.1 + (0.02 if "fixed" in costs else 0.0)  # percent of A
    value = 500.0 / (1 + (fees + 0.1) / 2 / 100)
    assert (first[0], first[1], first[3]) == (2, "A", pytest.approx(value / (102.0 if "spread" in costs else 100.0)))
    assert [row for row in traded(result) if row[:3] == (6, "B", "entry")]


@pytest.mark.parametrize("account", [bknb.Margin(), bknb.Spot()])
def test_a_part_of_the_equity_stays_free(account: Any) -> None:
    run: dict[str, Any] = {"exchange": market(), "frame": FRAME, "settings": FREE, "capital": 1_000, "account": account}
    halves = {"symbols": ["A", "B"], "get_weights": lambda: {"A": 0.5, "B": 0.5}, "cash_buffer_percent": 4}
    bknb.weights("rotation", interval="1d", **halves)
    result = bknb.portfolio(strategies=["rotation"], **run)
    assert [row[3] for row in traded(result)][:2] == pytest.approx([4.8, 4.8])
    assert result.scaled[0].free == pytest.approx(960.0)
    for percent in (-1, 100, "2", True):
        with pytest.raises(bknb.UsageError, match="cash_buffer_percent of strategy 'rotation' must be a percentage"):
            bknb.weights("rotation", interval="1d", **(halves | {"cash_buffer_percent": percent}))


def test_listeners_hear_that_less_was_free() -> None:
    seen: list[Any] = []
    stop = bknb.listen_scaled(seen.append)
    result = play({2: {"A": 0.5, "B": 0.5}}, settings=COSTS)
    assert drain()
    stop()
    assert seen == result.scaled
    assert [(event.symbols, event.strategy) for event in seen] == [(("A", "B"), "rotation")]


@pytest.mark.parametrize("fee", [0.0, 0.1])
def test_what_is_missing_for_adds_is_missing_for_all_of_them(fee: float) -> None:
    """What slippage takes is no equity any more, and no fixed cost gets smaller with an order."""
    halves = {2: {"A": 0.25, "B": 0.25}, 5: {"A": 0.5, "B": 0.5}}
    for account in (bknb.Spot(), bknb.Margin()):
        result = play(halves, settings={"percent_fee": fee, "percent_slippage": 1.0}, account=account)
        added = [row[3] for row in traded(result) if row[0] == 5]
        assert added[0] == added[1] < 1_000 * 0.25 / 100
        assert "made smaller by one factor" in result.warnings[0]
        fixed = bknb.Costs(taker=fee, slippage=1.0, fixed=2.0)
        added = [row[3] for row in traded(play(halves, costs=fixed, account=account)) if row[0] == 5]
        assert added[0] == pytest.approx(added[1], rel=1e-8)


def test_an_add_of_which_nothing_is_paid_is_left_out() -> None:
    """Nothing is free where a short has lost: what is wanted is no mistake of the strategy."""
    exchange = {"A": market(dict.fromkeys(range(5, 60), 160.0)), "B": market()}
    result = play({2: {"A": -0.5, "B": 0.5}, 8: {"A": None, "B": 0.9}}, exchange)
    assert [row for row in traded(result) if row[0] == 8] == []
    assert reasons(result) == []


def test_weights_without_free_cash_make_positions_smaller_and_close_them() -> None:
    exchange = market(dict.fromkeys(range(5, 60), 110.0))
    bknb.weights("rotation", symbols=["A"], interval="1m", get_weights=lambda: {"A": -1.0}, tolerance=1)
    bknb.add_strategy("one", interval="1m", get_weight=lambda: -1.0, tolerance=1)
    run = {"exchange": exchange, "frame": FRAME, "settings": COSTS, "capital": 1_000}
    several = bknb.portfolio(strategies=["rotation"], **run)
    one = bknb.backtest("A", strategy="one", **run)
    assert several.leg("A").fills.drop(columns="signal_id").equals(one.fills.drop(columns="signal_id"))
    assert one.fills.kind.tolist() == ["entry", "reduce", "exit"]
    dear = {"A": market(dict.fromkeys(range(5, 60), 180.0)), "B": market()}
    result = play({0: {"A": -0.6, "B": 0.4}, 7: {"A": None, "B": 0}}, dear, settings=COSTS)
    assert [row[:3] for row in traded(result)][-2:] == [(7, "B", "exit"), (30, "A", "exit")]


def test_a_change_is_measured_at_the_last_closes_of_all() -> None:
    # A doubles: 500 + 500 become 1000 + 500; a half of 1500 is 750
    exchange = {"A": market(dict.fromkeys(range(8, 60), 200.0)), "B": market()}
    result = play({2: {"A": 0.5, "B": 0.5}, 10: {"A": 0.5, "B": 0.5}}, exchange)
    assert [row for row in traded(result) if row[0] == 10] == [(10, "A", "reduce", 1.25), (10, "B", "add", 2.5)]
    near = play({2: {"A": 0.5, "B": 0.5}, 10: {"A": 0.5, "B": 0.5}}, exchange, tolerance=20)
    assert [row for row in traded(near) if row[0] == 10] == []


def test_one_question_for_all_with_what_is_held() -> None:
    seen: list[tuple[int, float, dict[str, float]]] = []

    def get_weights(ctx: Any, part: float = 0.5) -> Any:
        seen.append((int(ctx.when_ms - ORIGIN) // MINUTE, ctx.equity, ctx.weights))
        assert ctx.symbols == ("A", "B")
        assert ctx.price_of("A") == 100.0
        assert ctx.panel(ctx.symbols, "1m", 3).close.shape == (3, 2)
        assert len(bknb.get_candles("B", "1m", 2)) == 2
        return {"A": part, "B": -part / 2}

    bknb.weights("rotation", symbols=["A", "B"], interval="15m", get_weights=get_weights, params={"part": 0.4})
    bknb.portfolio(strategies=["rotation"], exchange=market(), frame=FRAME, settings=FREE, capital=500)
    assert seen == [(0, 500.0, {"A": 0.0, "B": 0.0}), *((k, 500.0, {"A": 0.4, "B": -0.2}) for k in (15,))]


@pytest.mark.parametrize("name", ["symbol", "price", "candles"])
def test_what_is_of_one_symbol_says_what_to_use(name: str) -> None:
    def get_weights(ctx: Any) -> Any:
        value = getattr(ctx, name)
        return value("1m", 3)

    bknb.weights("rotation", symbols=["A", "B"], interval="15m", get_weights=get_weights)
    result = bknb.portfolio(strategies=["rotation"], exchange=market(), frame=FRAME)
    errors = [error.message for leg in result.legs.values() for error in leg.errors]
    assert len(errors) == 1
    assert "several symbols at once" in errors[0]
    assert not traded(result)


def test_a_symbol_that_does_not_trade_now_fills_at_its_own_next_bar() -> None:
    exchange = {"A": market(silent=[2, 3, 4]), "B": market()}
    result = play({2: {"A": 0.5, "B": 0.5}}, exchange)
    assert traded(result)[:2] == [(2, "B", "entry", 5.0), (5, "A", "entry", 5.0)]


def with_a_hole(since: int, until: int) -> Any:
    """A market without candles from one minute up to another."""
    minutes = [k for k in range(-60, END + 11) if not since <= k < until]
    return source([(ORIGIN + k * MINUTE, *FLAT, 100.0) for k in minutes])


@pytest.mark.parametrize("asked", [{"interval": "1m"}, {"at": "00:03 UTC, 00:06 UTC"}])
@pytest.mark.parametrize(
    ("answers", "fills"),
    [
        ({3: {"A": 0.5, "B": 0.2}, 6: {}}, [(3, "A", "entry"), (3, "B", "entry"), (6, "B", "exit"), (9, "A", "exit")]),
        ({6: {"A": 0.5, "B": 0.2}}, [(6, "B", "entry"), (9, "A", "entry"), (30, "A", "exit"), (30, "B", "exit")]),
    ],
)
def test_a_symbol_in_a_hole_is_asked_with_the_others(
    answers: dict[int, Any], fills: list[Any], asked: dict[str, Any]
) -> None:
    for hole, symbols in (("A", ["A", "B"]), ("A", ["B", "A"])):
        exchange = {symbol: with_a_hole(5, 9) if symbol == hole else market() for symbol in symbols}
        bknb.weights(
            "rotation", symbols=symbols, get_weights=lambda ctx: answers.get((ctx.when_ms - ORIGIN) // MINUTE), **asked
        )
        result = bknb.portfolio(
            strategies=["rotation"], exchange=exchange, frame=FRAME, settings=FREE, capital=1_000, allow_gaps=True
        )
        assert [row[:3] for row in traded(result)] == fills


def test_a_longer_bar_that_does_not_come_is_known_to_be_missing_at_its_close() -> None:
    """A's bar of five minutes from 10 on is missing: it is asked at 15, not with B at 12."""
    longer = source([(ORIGIN + k * MINUTE, *FLAT, 100.0) for k in range(-60, 41, 5) if k != 10])
    bknb.weights("rotation", symbols=["A", "B"], at="00:12 UTC", get_weights=lambda ctx: {"A": 0.5, "B": 0.5})
    result = bknb.portfolio(
        strategies=["rotation"], exchange={"A": longer, "B": market()}, base={"A": "5m", "B": "1m"}, frame=FRAME,
        settings=FREE, capital=1_000, allow_gaps=True,
    )  # fmt: skip
    assert [row[:3] for row in traded(result)][:2] == [(12, "B", "entry"), (15, "A", "entry")]
    scheduled = [event.signal.scheduled_at for event in result.told if isinstance(event, bknb.Opened)]
    assert scheduled == [ORIGIN + 12 * MINUTE, ORIGIN + 15 * MINUTE]


def test_an_answer_stands_until_its_symbol_has_a_moment() -> None:
    """None of the later answers undoes it, and the newest that says something counts."""
    longer = source([(ORIGIN + k * 5 * MINUTE, *FLAT, 100.0) for k in range(-20, 12)])
    for answers, quantity in (({3: {"A": 0.5}}, 5.0), ({3: {"A": 0.5}, 5: {"A": 0.25}}, 2.5)):
        bknb.weights(
            "rotation", symbols=["A", "B"], at="00:03 UTC",
            get_weights=lambda ctx, answers=answers: answers.get((ctx.when_ms - ORIGIN) // MINUTE),
        )  # fmt: skip
        result = bknb.portfolio(
            strategies=["rotation"], exchange={"A": longer, "B": market()}, base={"A": "5m", "B": "1m"}, frame=FRAME,
            settings=FREE, capital=1_000,
        )  # fmt: skip
        assert traded(result) == [(5, "A", "entry", quantity), (30, "A", "exit", quantity)]


HALTED = [*range(2, 10)]


@pytest.mark.parametrize(
    ("answers", "fills"),
    [
        ({2: {"A": 0.5, "B": 0.5}, 5: {}}, [(2, "B", "entry", 5.0), (5, "B", "exit", 5.0)]),
        ({2: {"A": 0.5}, 5: {"A": -0.5}}, [(10, "A", "entry", 5.0), (30, "A", "exit", 5.0)]),
        ({2: {"A": 0.5}, 5: {"A": 0.1}}, [(10, "A", "entry", 1.0), (30, "A", "exit", 1.0)]),
        ({2: {"A": 0.5}, 5: {"A": None}}, [(10, "A", "entry", 5.0), (30, "A", "exit", 5.0)]),
        ({2: {"A": 1.0}, 5: {"B": 1.0}}, [(5, "B", "entry", 10.0), (30, "B", "exit", 10.0)]),
        ({1: {"A": 0.5}, 3: {"A": -0.5}, 5: {}}, [(1, "A", "entry", 5.0), (10, "A", "exit", 5.0)]),
        (
            {1: {"A": 0.25}, 3: {"A": 0.5}, 5: {"A": 0.1}},
            [(1, "A", "entry", 2.5), (10, "A", "reduce", 1.5), (30, "A", "exit", 1.0)],
        ),
        (
            {1: {"A": 0.5}, 3: {"A": 0.25}, 5: {}},
            [(1, "A", "entry", 5.0), (10, "A", "reduce", 2.5), (10, "A", "exit", 2.5)],
        ),
    ],
)
def test_what_opens_and_no_bar_has_filled_is_replaced_by_the_next_answer(
    answers: dict[int, Any], fills: list[Any]
) -> None:
    result = play(answers, {"A": market(silent=HALTED), "B": market()})
    assert traded(result) == fills
    assert not len(result.refused)


def test_an_entry_that_waits_is_ordered_anew_only_where_it_changes() -> None:
    """With costs both are smaller than what is wanted, by one factor."""
    halves = {k: {"A": 0.5, "B": 0.5} for k in range(2, 9)}
    result = play(halves, {"A": market(silent=HALTED), "B": market(silent=HALTED)}, settings=COSTS)
    assert not [event for event in result.told if isinstance(event, bknb.Cancelled)]
    assert [row[:3] for row in traded(result)][:2] == [(10, "A", "entry"), (10, "B", "entry")]


def test_without_a_capital_the_account_has_one() -> None:
    result = play({2: {"A": 0.5}}, {"A": market(dict.fromkeys(range(8, 60), 200.0)), "B": market()}, capital=None)
    assert result.equity.iloc[0] == 1.0
    assert result.equity.iloc[-1] == pytest.approx(1.5)


def test_beside_strategies_that_answer_with_signals() -> None:
    bknb.add_strategy("other", interval="1m", get_signal=lambda: None)
    bknb.weights("rotation", symbols=["A"], interval="1m", get_weights=lambda: {"A": 0.5})
    run = {"exchange": market(), "frame": FRAME, "settings": FREE, "capital": 100}
    result = bknb.portfolio(symbols=["B"], strategies=["rotation", "other"], **run)
    assert [*result.legs] == [("A", "rotation"), ("B", "other")]
    assert len(result.leg("A").fills) == 2
    assert any("no sizing was given" in text for text in result.warnings)
    sized = bknb.portfolio(symbols=["B"], strategies=["rotation", "other"], sizing={"other": bknb.Percent(50)}, **run)
    assert len(sized.leg("A").fills) == 2
    assert not sized.warnings


def test_without_a_capital_weights_stand_beside_a_benchmark() -> None:
    exchange = market({k: 100.0 + k for k in range(60)})
    result = play({2: {"A": 1.0}}, exchange, capital=None, benchmark="B")
    assert "Benchmark held            +29.00 %" in str(result.account)


def test_an_account_that_is_worth_nothing_holds_nothing_more() -> None:
    shorts = {k: {"A": -0.5, "B": -0.5} for k in range(END)}
    result = play(shorts, market(dict.fromkeys(range(6, 60), 250.0)), tolerance=math.inf)
    assert result.equity.iloc[-1] == 0.0
    assert not any(leg.run_record.records.failures for leg in result.legs.values())


def test_a_portfolio_that_is_worth_nothing_is_not_asked_any_more() -> None:
    asked: list[int] = []

    def get_weights(ctx: Any) -> Any:
        asked.append((ctx.when_ms - ORIGIN) // MINUTE)
        return {"A": -0.5, "B": 0.5}

    bknb.weights("rotation", symbols=["A", "B"], interval="1m", get_weights=get_weights)
    exchange = {"A": market(dict.fromkeys(range(6, 60), 300.0)), "B": market()}
    result = bknb.portfolio(strategies=["rotation"], exchange=exchange, frame=FRAME, settings=FREE, capital=1_000)
    assert asked == [*range(7)]
    assert result.equity.iloc[-1] == 0.0
    assert not [error for leg in result.legs.values() for error in leg.errors]


@pytest.mark.parametrize("reenter", [False, True])
def test_what_was_liquidated_stays_flat_until_its_weight_was_0_or_on_the_other_side(*, reenter: bool) -> None:
    falling = {5: 50.0} | dict.fromkeys(range(6, 60), 60.0)
    answers = {k: {"A": 2.5, "B": 0.1} for k in range(20)} | {8: {"A": 0.0, "B": 0.1}, 14: {"A": -0.1, "B": 0.1}}

    def get_weights(ctx: Any) -> Any:
        return answers.get((ctx.when_ms - ORIGIN) // MINUTE)

    bknb.weights(
        "rotation", symbols=["A", "B"], interval="1m", get_weights=get_weights, tolerance=math.inf, reenter=reenter
    )
    account = bknb.Margin(leverage=3, mode="isolated")
    exchange = {"A": market(falling), "B": market()}
    result = bknb.portfolio(
        strategies=["rotation"], exchange=exchange, frame=FRAME, settings=FREE, capital=1_000, account=account
    )
    found = [row[:3] for row in traded(result) if row[1] == "A"]
    again = [(6, "A", "entry"), (8, "A", "exit")] if reenter else []
    assert found == [
        (0, "A", "entry"), (5, "A", "exit"), *again, (9, "A", "entry"),
        (14, "A", "exit"), (14, "A", "entry"), (15, "A", "exit"), (15, "A", "entry"), (30, "A", "exit"),
    ]  # fmt: skip


def test_weights_of_several_symbols_may_have_levels() -> None:
    answers = {k: {"A": bknb.Weight(0.5, price_stop_loss=95.0), "B": 0.5} for k in range(END)}
    answers[4] = {"A": bknb.Weight(0.5, price_stop_loss=97.0), "B": 0.5}
    exchange = {"A": market({8: 96.0}), "B": market()}
    result = play(answers, exchange, tolerance=20)
    assert [row[:3] for row in traded(result)] == [
        (0, "A", "entry"), (0, "B", "entry"), (8, "A", "exit"), (30, "B", "exit"),
    ]  # fmt: skip
    assert result.leg("A").fills.reason.tolist() == ["", "stop_loss"]
    halted = {"A": market(silent=HALTED), "B": market()}
    moved = play(
        {2: {"A": bknb.Weight(0.5, price_stop_loss=90.0)}, 4: {"A": bknb.Weight(0.5, price_stop_loss=95.0)}}, halted
    )
    assert [event.reason for event in moved.told if isinstance(event, bknb.Cancelled)] == ["strategy"]
    assert moved.leg("A").run_record.records.closed[0].signal.price_stop_loss == 95.0


def test_weights_of_one_symbol_are_a_get_weight() -> None:
    def weight(ctx: Any) -> float:
        return math.sin(ctx.when_ms / MINUTE / 3)

    exchange = market({k: 100.0 + 5 * math.sin(k) for k in range(60)})
    bknb.weights("rotation", symbols=["A"], interval="3m", get_weights=lambda ctx: {"A": weight(ctx)})
    bknb.add_strategy("one", interval="3m", get_weight=weight)
    run = {"exchange": exchange, "frame": FRAME, "settings": FREE, "capital": 1_000}
    several = bknb.portfolio(strategies=["rotation"], **run)
    one = bknb.backtest("A", strategy="one", **run)
    names = ["at", "side", "kind", "share", "price", "quantity"]
    assert several.leg("A").fills[names].equals(one.fills[names])
    assert len(one.fills) > 10


# --- what it is equal to --------------------------------------------------------------------------------------------


def daily_markets(names: Sequence[str], seed: int, days: int) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Daily candles that open at the close before, a market each, and their closes."""
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(random.normal(0.0004, 0.02, (days, len(names))), axis=0))
    times = ORIGIN - 40 * DAY + np.arange(days) * DAY
    found = {}
    for name, close in zip(names, closes.T, strict=True):
        opened = np.concatenate((close[:1], close[:-1]))
        high, low = np.maximum(opened, close), np.minimum(opened, close)
        rows = np.stack((times, opened, high, low, close, np.ones(days)), axis=1).tolist()
        found[name] = source(rows)
    return found, closes


def monthly_by_hand(closes: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> list[float]:
    """Equal parts of 1 in all columns, made equal again where a day is the first of its month."""
    months = pd.DatetimeIndex(times.astype("datetime64[ms]")).month
    units, equity, found = np.zeros(closes.shape[1]), 1.0, []
    for day in range(1, len(times)):
        if day == 1 or months[day] != months[day - 1]:
            equity = float(units @ closes[day - 1]) if units.any() else equity
            units = equity / closes.shape[1] / closes[day - 1]
        found.append(float(units @ closes[day]))
    return found


BT = {30: 93326.55225160797, 105: 81068.0644049888, 243: 84905.93677704208, 364: 96276.23593055729}
"""What 100,000 are worth at the close of some days of 2024 in bt 1.4.1: ``RunMonthly(run_on_end_of_period=True)``,
``SelectAll``, ``WeighEqually``, ``Rebalance``, without costs and in fractions, over the markets of the next test."""


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["month", None])
def test_equal_weights_monthly_are_those_of_a_loop_by_hand(interval: str | None) -> None:
    """And those of the ``bt`` library, which trades at the close of the last day of a month."""
    names = ["AAA", "BBB", "CCC", "DDD"]
    markets, closes = daily_markets(names, 7, 40 + 366)
    month: list[Any] = [None]

    def get_weights(ctx: Any) -> Any:
        if interval is None and month[0] == ctx.when.month:
            return None
        month[0] = ctx.when.month
        return dict.fromkeys(ctx.symbols, 1 / len(names))

    asked: dict[str, Any] = {"interval": "1d"} if interval is None else {"at": interval}
    bknb.weights("equal", symbols=names, get_weights=get_weights, **asked)
    frame = (ORIGIN, ORIGIN + 365 * DAY)
    result = bknb.portfolio(strategies=["equal"], exchange=markets, frame=frame, settings=FREE, capital=100_000)
    times = ORIGIN + np.arange(-1, 365) * DAY
    wanted = monthly_by_hand(closes[39 : 39 + 366], times)
    at = result.equity.index.as_unit("ms").asi8
    found = result.equity.to_numpy()[np.searchsorted(at, times[1:] + DAY)] / 100_000
    assert np.allclose(found, wanted, rtol=1e-12, atol=0)
    assert [found[day] * 100_000 for day in BT] == pytest.approx([*BT.values()], rel=1e-9)


@settings(max_examples=3)
@given(seed=SEEDS, leverage=st.sampled_from([1, 3]))
@pytest.mark.slow
def test_cash_and_positions_are_the_capital_and_what_was_made(seed: int, leverage: int) -> None:
    names = ["AAA", "BBB", "CCC"]
    markets, _ = daily_markets(names, seed, 160)

    def get_weights(ctx: Any) -> Any:
        random = np.random.default_rng([seed, ctx.when_ms // DAY])
        parts = random.uniform(-1, 1, len(names)) * (random.random(len(names)) < 0.8)
        return dict(zip(names, parts / max(abs(parts).sum(), 1e-9) * leverage * random.random(), strict=True))

    bknb.weights("rotation", symbols=names, interval="1d", get_weights=get_weights, tolerance=1)
    account = bknb.Margin(leverage=leverage, mode="isolated")
    frame = (ORIGIN, ORIGIN + 100 * DAY)
    run = {"exchange": markets, "frame": frame, "settings": COSTS, "account": account}
    result = bknb.portfolio(strategies=["rotation"], capital=1_000, **run)
    money = result.run_account
    assert sum(len(leg.fills) for leg in result.legs.values()) > 100
    assert not [error for leg in result.legs.values() for error in leg.errors]
    for change in money.changes:
        prices = dict.fromkeys(change.ledger.positions, 100.0)
        assert change.ledger.imbalance(prices) == pytest.approx(0.0, abs=1e-9 * 1_000)
    assert result.equity.iloc[-1] == pytest.approx(1_000 + result.trades["money"].sum())


# --- together -------------------------------------------------------------------------------------------------------


def pair(answers: Mapping[int, Any], exchange: Any, *, symbols: Sequence[str] = ("A", "B"), **options: Any) -> Any:
    """A portfolio of a strategy whose legs are held together."""
    asked = {name: options.pop(name) for name in ("risk", "reenter", "together", "interval") if name in options}
    asked = {"interval": "1m", "together": True} | asked
    bknb.weights(
        "pair", symbols=symbols, tolerance=50, **asked,
        get_weights=lambda ctx: answers.get((ctx.when_ms - ORIGIN) // MINUTE),
    )  # fmt: skip
    options = {"exchange": exchange, "frame": FRAME, "settings": FREE, "capital": 1_000} | options
    return bknb.portfolio(strategies=["pair"], **options)


def left(result: Any) -> list[tuple[int, str, str, str]]:
    """Minute, symbol, kind and reason of all fills, by minute."""
    found = [
        (int((row.at.value // 10**6 - ORIGIN) // MINUTE), symbol, row.kind, row.reason)
        for (symbol, _), leg in result.legs.items()
        for row in leg.fills.itertuples()
    ]
    return sorted(found, key=lambda row: row[:2])


BOTH = {"A": bknb.Weight(0.4, price_stop_loss=95.0), "B": -0.4}
OPENED = [(2, "A", "entry", ""), (2, "B", "entry", "")]


@pytest.mark.parametrize("symbols", [["A", "B"], ["B", "A"]])
def test_a_level_that_ends_one_leg_ends_the_others(symbols: list[str]) -> None:
    answers = dict.fromkeys(range(2, END), BOTH) | {12: {}}
    result = pair(answers, {"A": market({8: 94.0}), "B": market()}, symbols=symbols)
    again = [
        (13, "A", "entry", ""),
        (13, "B", "entry", ""),
        (30, "A", "exit", "frame_end"),
        (30, "B", "exit", "frame_end"),
    ]
    assert left(result) == [*OPENED, (8, "A", "exit", "stop_loss"), (9, "B", "exit", "together"), *again]
    alone = pair(answers, {"A": market({8: 94.0}), "B": market()}, symbols=symbols, together=False)
    assert left(alone)[2:4] == [(8, "A", "exit", "stop_loss"), (12, "B", "exit", "strategy")]
    rows = result.groups[["symbols", "trades"]].to_numpy().tolist()
    assert rows == [[2, 2], [2, 2]]
    assert result.groups.money.sum() == pytest.approx(result.equity.iloc[-1] - 1_000)
    assert [when.minute for when in result.groups.opened_at] == [2, 13]
    assert [when.minute for when in result.groups.closed_at] == [9, 30]


def test_a_leg_that_is_to_leave_waits_for_its_own_next_bar() -> None:
    silent = {"A": market({8: 94.0}), "B": market(silent=[9, 10])}
    result = pair({2: BOTH}, silent)
    assert left(result)[2:] == [(8, "A", "exit", "stop_loss"), (11, "B", "exit", "together")]
    both = {"A": market({8: 94.0}), "B": market({8: 106.0})}  # and one that has ended in the same bar has
    each = {"A": BOTH["A"], "B": bknb.Weight(-0.4, price_stop_loss=105.0)}
    assert left(pair({2: each}, both))[2:] == [(8, "A", "exit", "stop_loss"), (8, "B", "exit", "stop_loss")]
    halted = {"A": market({8: 94.0}), "B": market(silent=range(2, 20))}
    waits = pair({1: {"A": BOTH["A"], "B": -0.4}}, {"A": market({8: 94.0}), "B": market(silent=[*range(1, 20)])})
    assert left(waits) == [(1, "A", "entry", ""), (8, "A", "exit", "stop_loss")]  # what waited is taken back
    assert [event.reason for event in waits.told if isinstance(event, bknb.Cancelled)] == ["together"]
    assert not left(pair({3: BOTH}, halted))


@pytest.mark.parametrize("symbols", [["A", "B"], ["B", "A"]])
def test_a_leg_whose_longer_bar_is_under_way_leaves_behind_it(symbols: list[str]) -> None:
    """A's stop is met in minute 7; B's bar of five minutes that opens with its entry is known at 10."""
    longer = source([(ORIGIN + k * MINUTE, *FLAT, 100.0) for k in range(-60, 41, 5)])
    exchange = {"A": market({7: 94.0}), "B": longer}
    result = pair({5: BOTH}, exchange, symbols=symbols, interval="5m", base={"A": "1m", "B": "5m"})
    assert left(result) == [
        (5, "A", "entry", ""), (5, "B", "entry", ""),
        (7, "A", "exit", "stop_loss"), (10, "B", "exit", "together"),
    ]  # fmt: skip


def test_it_ends_them_where_nobody_is_asked_for_long() -> None:
    bknb.weights("pair", symbols=["A", "B"], at="00:02 UTC", together=True, get_weights=lambda: BOTH)
    exchange = {"A": market({8: 94.0}), "B": market()}
    result = bknb.portfolio(strategies=["pair"], exchange=exchange, frame=FRAME, settings=FREE, capital=1_000)
    assert left(result) == [*OPENED, (8, "A", "exit", "stop_loss"), (9, "B", "exit", "together")]


def test_one_for_which_nothing_is_left_at_its_open_ends_the_others() -> None:
    """What A was to pay for does not come: it does not trade where it was to leave."""
    exchange = {"A": market(silent=[6, 7, 8]), "B": market(), "C": market()}
    answers = {2: {"A": 0.9}, 6: {"B": 0.05, "C": 0.85}}
    result = pair(answers, exchange, symbols=["A", "B", "C"], account=bknb.Spot())
    assert left(result) == [
        (2, "A", "entry", ""), (6, "C", "entry", ""), (7, "C", "exit", "together"), (9, "A", "exit", "strategy"),
    ]  # fmt: skip
    assert [(event.symbol, event.reason) for event in result.told if isinstance(event, bknb.Cancelled)] == [
        ("B", "risk")
    ]


def test_where_one_leg_cannot_be_opened_none_is() -> None:
    halted = pair({2: {"A": 0.4}, 4: {"A": 0.1, "B": -0.4}}, {"A": market(), "B": market(silent=[3, 4, 5])})
    assert left(halted) == [(2, "A", "entry", ""), (30, "A", "exit", "frame_end")]
    assert reasons(halted) == ["B does not trade: nothing of what is held together is made larger"]
    reduced = pair({2: {"A": 0.9}, 4: {"A": 0.1, "B": -0.4}}, {"A": market(), "B": market(silent=[3, 4, 5])})
    assert left(reduced)[1] == (4, "A", "reduce", "strategy")

    def only_a(request: Any) -> bool:
        return request.signal.symbol == "A"

    bknb.add_risk("only a", validations=[only_a])
    for symbols in (["A", "B"], ["B", "A"]):
        refused = pair({2: BOTH, 6: {"A": 0.4}}, market(), symbols=symbols, risk="only a")
        assert left(refused) == [(6, "A", "entry", ""), (30, "A", "exit", "frame_end")]
        assert len(refused.refused) == 1
    more = pair({2: {"A": 0.2}, 6: {"A": 0.8, "B": -0.1}}, market(), risk="only a")
    assert left(more) == [(2, "A", "entry", ""), (30, "A", "exit", "frame_end")]


def by_session(*, hours: str = "10:00-10:20", silent: Sequence[int] = ()) -> Any:
    """A market that is open for twenty minutes of each day; in some minutes since ``ORIGIN`` it trades nothing."""
    week = bknb.Sessions.weekly("UTC", {"mon-sun": hours})
    spans = week.open_ranges(ORIGIN - DAY, ORIGIN + 6 * DAY)
    times = [when for first, end in spans for when in range(first, end, MINUTE)]
    rows = [(when, *FLAT, 0.0 if (when - ORIGIN) // MINUTE in silent else 100.0) for when in times]
    return bknb.exchanges.in_sessions(source(rows), week)


def test_at_the_open_of_a_session_symbols_trade_as_at_the_close_before_it() -> None:
    """The moment of a daily answer in a market with sessions: no bar closes then."""
    opens, last = [(day * DAY) // MINUTE + 600 for day in range(5)], DAY // MINUTE + 619
    frame = (ORIGIN, ORIGIN + 5 * DAY)

    def get_weights(ctx: Any) -> Any:
        return {"A": 0.4, "B": -0.4} if (ctx.when_ms - ORIGIN) // DAY in (1, 2) else {}

    def opened(exchange: Any, *, together: bool = True) -> Any:
        weights = {"symbols": ["A", "B"], "at": "session_open", "tolerance": 50, "together": together}
        bknb.weights("pair", **weights, get_weights=get_weights)  # type: ignore[call-overload]
        return bknb.portfolio(strategies=["pair"], exchange=exchange, frame=frame, settings=FREE, capital=1_000)

    traded = [(opens[day], symbol, kind) for day, kind in ((1, "entry"), (3, "exit")) for symbol in "AB"]
    for together in (False, True):
        assert [row[:3] for row in left(opened(by_session(), together=together))] == traded
    halted = opened({"A": by_session(), "B": by_session(silent=[last - DAY // MINUTE])})
    assert next(row[:3] for row in left(halted)) == (opens[2], "A", "entry")
    assert reasons(halted) == ["B does not trade: nothing of what is held together is made larger"]
    closed = opened({"A": by_session(), "B": by_session(hours="12:00-12:20")})
    assert left(closed) == []
    assert {reason.partition(" does")[0] for reason in reasons(closed)} == {"A", "B"}


@pytest.mark.parametrize("asked", [{"at": "session_open"}, {"interval": "1d"}])
@pytest.mark.parametrize(("step", "hours", "count"), [(30, "09:30-11:30", 4), (60, "09:30-12:00", 3)])  # minutes
def test_symbols_of_a_market_with_hours_are_opened_together_at_its_open(
    step: int, hours: str, count: int, asked: dict[str, Any]
) -> None:
    """Their last bars closed on the day before; B was halted in that of Thursday, with which Friday has nothing."""
    sessions = bknb.Sessions.weekly("UTC", {"mon-fri": hours})
    opens = [
        day * DAY + (570 + at * step) * MINUTE for day in (-4, -3, *range(5), *range(7, 12)) for at in range(count)
    ]
    both = [(ORIGIN + opened, *FLAT, 5.0) for opened in opens]
    halted = max(row for row in both if row[0] < ORIGIN + 4 * DAY)
    candles = {name: bknb.Candles.from_rows([row for row in both if name == "A" or row != halted]) for name in "AB"}
    source = bknb.exchanges.FrameSource(candles, sessions=sessions)
    held = {"A": 0.4, "B": -0.4}
    answers: dict[int, Any] = {1: held, 2: {}, 4: held, 7: held, 8: {}}
    bknb.weights("pair", symbols=["A", "B"], together=True, **asked)(
        lambda ctx: answers.get((ctx.when_ms - ORIGIN) // DAY)
    )
    result = bknb.portfolio(
        strategies=["pair"], exchange=source, frame=(ORIGIN, ORIGIN + 10 * DAY), settings=FREE, capital=1_000,
        allow_gaps=True,
    )  # fmt: skip
    kinds = ((1, "entry"), (2, "exit"), (7, "entry"), (8, "exit"))
    expected = [((day * DAY + 570 * MINUTE) // MINUTE, name, kind) for day, kind in kinds for name in "AB"]
    assert sorted(row[:3] for row in left(result)) == expected
    assert reasons(result) == ["B does not trade: nothing of what is held together is made larger"]


def test_together_is_yes_or_no() -> None:
    with pytest.raises(bknb.UsageError, match="together of strategy 'pair' must be True or False, got 1"):
        bknb.weights("pair", symbols=["A"], interval="1d", get_weights=dict, together=1)  # type: ignore[arg-type]


def drawn_answers(random: np.random.Generator, symbols: Sequence[str]) -> dict[int, Any]:
    """What is answered at each minute: nothing, flat, or weights that leave some out."""
    found: dict[int, Any] = {}
    for minute in range(END):
        kind = random.random()
        drawn = {symbol: float(random.uniform(-0.2, 0.2)) for symbol in symbols if random.random() < 0.9}
        zero = {symbol: 0.0 for symbol in drawn if random.random() < 0.1}
        none = {symbol: None for symbol in drawn if random.random() < 0.1}
        found[minute] = None if kind < 0.4 else {} if kind < 0.45 else drawn | zero | none
    return found


@pytest.mark.slow
@settings(max_examples=4)
@example(seed=1, holes=True, tolerance=0.0)
@given(seed=SEEDS, holes=st.booleans(), tolerance=st.sampled_from([0.0, 1.0]))
def test_weights_over_halts_and_holes_are_a_loop_by_hand(seed: int, *, holes: bool, tolerance: float) -> None:
    names = ("A", "B", "C")
    random = np.random.default_rng(seed)
    silent = {name: {k for k in range(2, END) if random.random() < 0.3} for name in names}
    answers, closes, opens = drawn_answers(random, names), {}, {}
    for name in names:
        price = 100.0
        for k in range(-60, END + 11):
            moves = np.exp(random.normal(0.0, 0.02, 2)) if k not in silent[name] else (1.0, 1.0)
            opens[name, k] = price * float(moves[0])
            closes[name, k] = price = opens[name, k] * float(moves[1])
    hand = WeightsHand(names, slippage=0.05, fee=0.1, tolerance=tolerance)
    worth = []
    for k in range(END):
        marks = {name: closes[name, k - 1] for name in names}
        asked = not holes or any(k - 1 not in silent[name] for name in names)  # a bar of one of them has closed
        if asked and answers[k] is not None:
            equity = hand.worth(marks)
            wanted = dict.fromkeys(names, 0.0) | answers[k]
            for name, weight in wanted.items():
                if weight is not None:
                    hand.want(name, weight, equity, marks[name])
        hand.open_at(k, {name: opens[name, k] for name in names if k not in silent[name]})
        worth.append(hand.worth({name: closes[name, k] for name in names}))

    def candles(name: str) -> Any:
        rows = [
            (ORIGIN + k * MINUTE, opens[name, k], max(opens[name, k], closes[name, k]),
             min(opens[name, k], closes[name, k]), closes[name, k], 0.0 if k in silent[name] else 100.0)
            for k in range(-60, END + 11) if not (holes and k in silent[name])
        ]  # fmt: skip
        return source(rows)

    exchange = {name: candles(name) for name in names}
    result = play(answers, exchange, symbols=names, settings=COSTS, tolerance=tolerance, capital=1.0, allow_gaps=holes)
    found = [row[:3] for row in traded(result) if row[0] < END]
    assert sorted(found) == sorted(row[:3] for row in hand.fills)
    bought = {row[:3]: row[3] for row in traded(result)}
    assert all(bought[row[:3]] == pytest.approx(row[3], abs=2e-6) for row in hand.fills)
    at = (result.equity.index.as_unit("ms").asi8 - ORIGIN) // MINUTE
    equity = result.equity.to_numpy()[np.searchsorted(at, np.arange(1, END))]
    assert np.allclose(equity, worth[: END - 1], rtol=0, atol=1e-9)
    assert len(found) > 10


# --- the law --------------------------------------------------------------------------------------------------------

Rule = Callable[[Candles], float]
RULES: dict[str, Rule] = {
    "with the last candle": lambda candles: 1.0 if candles.close[-1] > candles.open[-1] else -1.0,
    "against the trend": lambda candles: float(np.clip((candles.close.mean() - candles.close[-1]) / 20, -1, 1)),
    "more after a loss": lambda candles: 0.25 if candles.close[-1] > candles.close[-3] else 1.0,
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("symbols", "given"),
    [
        (1, {}),
        (2, {}),
        pytest.param(2, {"account": BY_SYMBOL}, marks=pytest.mark.long),
        pytest.param(2, {"base": {"A": "5m", "B": "1m"}}, marks=pytest.mark.long),
    ],
)
def test_no_rule_of_weights_earns_on_a_martingale(rule: str, symbols: int, given: dict[str, Any]) -> None:
    made, interval = RULES[rule], "5m" if "base" in given else "3m"
    gained = []
    markets = [path for kind in ("plain", "gaps", "silent") for path in paths(kind, 4, 150)]
    for one, other in zip(markets, [*markets[1:], markets[0]], strict=True):
        run: dict[str, Any] = {"frame": one.frame, "settings": FREE, "allow_gaps": True}
        if symbols == 1:
            bknb.add_strategy("law", interval="3m", get_weight=lambda ctx: made(ctx.candles("1m", 10)))
            result: Any = bknb.backtest("A", strategy="law", exchange=one.source, capital=1_000, **run)
        else:

            def get_weights(ctx: Any) -> dict[str, float]:
                one, other = (
                    made(ctx.get_candles(symbol, "5m" if "base" in given else "1m", 10)) for symbol in ctx.symbols
                )
                return {"A": max(one, 0.0) / 2, "B": other} if "account" in given else {"A": one / 2, "B": other / 2}

            bknb.weights("law", symbols=["A", "B"], interval=interval, get_weights=get_weights)
            columns = ("open", "high", "low", "close", "volume")
            rows = [
                pd.DataFrame(
                    {"symbol": name, "timestamp": path.times} | {each: getattr(path, each) for each in columns}
                )
                for name, path in (("A", one), ("B", other))
            ]
            exchange = bknb.exchanges.from_frame(pd.concat(rows))
            result = bknb.portfolio(strategies=["law"], exchange=exchange, capital=1_000, **run, **given)
        gained.append(float(result.equity.iloc[-1]) / 1_000 - 1)
    t = np.mean(gained) / (np.std(gained, ddof=1) / math.sqrt(len(gained)))
    assert abs(np.mean(gained)) > 0 or np.std(gained) > 0
    assert t < 4.0


# --- wrong use ------------------------------------------------------------------------------------------------------


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
