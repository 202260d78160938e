"""Strategies that answer with the weights of several symbols at once, in a portfolio with one account."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_runs import paths
from quick import rest_long
from scenarios import MINUTE, ORIGIN, Candle, source
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
    ("answers", "fills", "stale"),
    [
        (
            {3: {"A": 0.5, "B": 0.2}, 6: {}},
            [(3, "A", "entry"), (3, "B", "entry"), (6, "B", "exit"), (9, "A", "exit")],
            4,  # its last close is that of minute 5, its next one that of minute 10
        ),
        ({6: {"A": 0.5, "B": 0.2}}, [(6, "B", "entry"), (9, "A", "entry"), (30, "A", "exit"), (30, "B", "exit")], 0),
    ],
)
def test_a_symbol_in_a_hole_is_asked_with_the_others(
    answers: dict[int, Any], fills: list[Any], stale: int, asked: dict[str, Any]
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
        assert result.stale == {("A", "rotation"): stale, ("B", "rotation"): 0}
        told = "without a bar, and valued at the last close: rotation on A at 4"
        assert [told in text for text in (result.report(), result.tearsheet().html)] == [stale > 0] * 2


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
        assert not any(result.stale.values())  # between closes of its own bars


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


# --- the law --------------------------------------------------------------------------------------------------------

Rule = Callable[[Candles], float]
RULES: dict[str, Rule] = {
    "with the last candle": lambda candles: 1.0 if candles.close[-1] > candles.open[-1] else -1.0,
    "against the trend": lambda candles: float(np.clip((candles.close.mean() - candles.close[-1]) / 20, -1, 1)),
    "more after a loss": lambda candles: 0.25 if candles.close[-1] > candles.close[-3] else 1.0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "symbols", "given"),
    [
        *((rule, 1, {}) for rule in RULES),
        *rest_long(((rule, 2, {}) for rule in RULES), kept=1),
        *rest_long(((rule, 2, {"account": BY_SYMBOL}) for rule in RULES), kept=0),
        *rest_long(((rule, 2, {"base": {"A": "5m", "B": "1m"}}) for rule in RULES), kept=0),
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
