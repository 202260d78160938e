"""Strategies that answer with what is to be held: the fills that lead there, and the equity that comes of them."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, Candle, source
from test_live_parity import JumpingClock
from test_managed_live import told
from weight_loop import drawn_weight, equity_by_hand
from worlds import SEEDS, walk

import bknb
from bknb.domain.signal_events import Moved
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.live.order_quantity import Quantities
from bknb.research.answers_compared_as_trades import as_answer
from bknb.testing.clocks import SimulatedClock

END = 30
FRAME = (ORIGIN, ORIGIN + END * MINUTE)
FLAT: Candle = (100.0, 100.0, 100.0, 100.0)
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
COSTS = {"percent_fee": 0.1, "percent_slippage": 0.05}
CAPITALS = pytest.mark.parametrize("capital", [None, 10_000])


def market(candles: Mapping[int, Candle] | None = None, *, last: int = END + 10) -> Any:
    """A flat market with some other minutes, all of which trade."""
    shown = candles or {}
    return source([(ORIGIN + k * MINUTE, *shown.get(k, FLAT), 100.0) for k in range(-60, last + 1)])


def level(price: float) -> Candle:
    return (price, price, price, price)


def play(answers: Mapping[int, Any], exchange: Any, *, tolerance: float = 0.0, **options: Any) -> Any:
    """A run of a strategy whose weights are given by the minute."""

    def get_weight(ctx: Any) -> Any:
        return answers.get(int(ctx.when_ms - ORIGIN) // MINUTE)

    bknb.add_strategy("w", interval="1m", get_weight=get_weight, tolerance=tolerance)
    options = {"frame": FRAME, "settings": FREE} | options
    return bknb.backtest("BTCUSDT", strategy="w", exchange=exchange, **options)


def fills(result: Any) -> list[tuple[int, str, float]]:
    return [
        (int((row.at.value // 10**6 - ORIGIN) // MINUTE), row.kind, round(row.share, 9))
        for row in result.fills.itertuples()
    ]


# --- what an answer leads to ----------------------------------------------------------------------------------------


@CAPITALS
@pytest.mark.parametrize("side", [1, -1])
def test_what_is_held_follows_the_weight(side: int, capital: float | None) -> None:
    answers = {2: 0.5 * side, 5: 1.0 * side, 8: 0.25 * side, 12: None, 14: 0.0, 20: -0.5 * side, 22: 0.5 * side}
    result = play(answers, market(), capital=capital)
    assert fills(result) == [
        (2, "entry", 1.0), (5, "add", 1.0), (8, "reduce", 1.5), (14, "exit", 0.5),
        (20, "entry", 1.0), (22, "exit", 1.0), (22, "entry", 1.0), (30, "exit", 1.0),
    ]  # fmt: skip
    assert not result.rejected.shape[0]
    assert [event.signal.size for event in result.run_record.records.closed] == [0.5, 0.5, 0.5]


@CAPITALS
def test_a_change_is_measured_at_the_last_close(capital: float | None) -> None:
    # 0.5 of 1 at 100; at 200 it is 1 of 1.5: a weight of 2/3, and half of 1.5 is 0.75: a quarter is sold.
    result = play({2: 0.5, 10: 0.5}, market({k: level(200.0) for k in range(8, 60)}), capital=capital)
    assert fills(result) == [(2, "entry", 1.0), (10, "reduce", 0.25), (30, "exit", 0.75)]
    # of a short at 50 it is 0.25 of 1.25: 0.2, and half of 1.25 is 0.625: one and a half more
    result = play({2: -0.5, 10: -0.5}, market({k: level(50.0) for k in range(8, 60)}), capital=capital)
    assert fills(result) == [(2, "entry", 1.0), (10, "add", 1.5), (30, "exit", 2.5)]


@CAPITALS
def test_up_to_the_tolerance_nothing_is_changed(capital: float | None) -> None:
    answers = {2: 0.5, 4: 0.52, 6: 0.55, 8: 0.5499, 10: 0.0}
    assert fills(play(answers, market(), tolerance=2.5, capital=capital)) == [
        (2, "entry", 1.0), (6, "add", 0.1), (10, "exit", 1.1),
    ]  # fmt: skip
    only_sides = play({2: 0.5, 4: 1.0, 6: -0.1, 8: -1.0}, market(), tolerance=math.inf, capital=capital)
    assert [kind for _, kind, _ in fills(only_sides)] == ["entry", "exit", "entry", "exit"]


@pytest.mark.parametrize("tolerance", [0.0, math.inf])
def test_an_account_that_is_worth_nothing_holds_nothing_more(tolerance: float) -> None:
    prices = {k: level(250.0) for k in range(6, 60)}
    result = play(dict.fromkeys(range(END), -1.0), market(prices), tolerance=tolerance, capital=1_000)
    assert result.equity.iloc[-1] == 0.0
    assert not result.run_record.records.failures


@CAPITALS
def test_what_arithmetic_leaves_is_no_change(capital: float | None) -> None:
    prices = {k: level(100.0 + k / 7) for k in range(61)}
    result = play(dict.fromkeys(range(END), 1.0), market(prices), capital=capital)
    assert [kind for _, kind, _ in fills(result)] == ["entry", "exit"]


def test_adds_of_weights_are_not_counted() -> None:
    answers = {k: 0.1 + 0.02 * k for k in range(END)}
    result = play(answers, market(), settings=FREE | {"max_adds": 0})
    assert [kind for _, kind, _ in fills(result)] == ["entry", *["add"] * (END - 1), "exit"]


@CAPITALS
def test_a_changed_side_is_asked_about_once(capital: float | None) -> None:
    asked: list[int] = []

    def get_weight(ctx: Any) -> float:
        asked.append(ctx.when_ms)
        return (1, -1, 0)[len(asked) // 4 % 3]

    bknb.add_strategy("w", interval="1m", get_weight=get_weight)
    bknb.backtest("BTCUSDT", strategy="w", exchange=market(), frame=FRAME, settings=FREE, capital=capital)
    assert asked == [ORIGIN + k * MINUTE for k in range(END)]


def test_an_order_that_no_candle_fills_is_replaced_by_the_next_answer() -> None:
    silent = [(ORIGIN + k * MINUTE, *FLAT, 0.0 if 5 <= k < 9 else 100.0) for k in range(-60, END + 10)]
    result = play({2: 0.5, 5: 1.0, 7: 0.75}, source(silent))
    assert fills(result) == [(2, "entry", 1.0), (9, "add", 0.5), (30, "exit", 1.5)]
    result = play({2: 0.5, 5: 0.25, 7: 0.5}, source(silent))  # what is ordered to leave counts as gone
    assert fills(result) == [(2, "entry", 1.0), (9, "reduce", 0.5), (9, "add", 0.5), (30, "exit", 1.0)]


@CAPITALS
@pytest.mark.parametrize(
    ("later", "fills_of_it"),
    [
        (0.0, []),
        (-0.5, [(9, "entry", 1.0), (30, "exit", 1.0)]),
        (None, [(9, "entry", 1.0), (30, "exit", 1.0)]),
        (0.25, [(9, "entry", 1.0), (30, "exit", 1.0)]),
    ],
)
def test_an_entry_that_no_candle_fills_is_replaced_by_the_next_answer(
    later: float | None, fills_of_it: list[Any], capital: float | None
) -> None:
    silent = source([(ORIGIN + k * MINUTE, *FLAT, 0.0 if 5 <= k < 9 else 100.0) for k in range(-60, END + 10)])
    result = play({5: 0.5, 7: later}, silent, capital=capital)
    assert fills(result) == fills_of_it
    assert [end.reason for end in result.run_record.records.cancelled] == ([] if later is None else ["strategy"])
    opened = [event.signal for event in result.run_record.records.closed]
    assert [(signal.position, signal.size) for signal in opened] == (
        [("short" if later == -0.5 else "long", 0.5 if later is None else abs(later))] if opened else []
    )
    turned = play({2: 0.5, 5: -0.5, 7: later, 8: 0.0}, silent, capital=capital)  # what leaves leaves
    assert fills(turned) == [(2, "entry", 1.0), (9, "exit", 1.0)]


@pytest.mark.parametrize("weight", [-0.5, -1.0])
def test_without_a_capital_nothing_is_opened_once_all_is_lost(weight: float) -> None:
    result = play(dict.fromkeys(range(END), weight), market({k: level(300.0) for k in range(5, 60)}))
    assert fills(result) == [(0, "entry", 1.0), (6, "exit", 1.0)]
    assert result.equity.iloc[-1] == 0.0
    assert not result.errors


def test_with_a_capital_it_is_not_asked_once_all_is_lost() -> None:
    asked: list[int] = []

    def get_weight(ctx: Any) -> float:
        asked.append((ctx.when_ms - ORIGIN) // MINUTE)
        return -0.5 if asked[-1] < 6 else 0.5

    bknb.add_strategy("w", interval="1m", get_weight=get_weight)
    exchange = market({k: level(300.0) for k in range(5, 60)})
    result = bknb.backtest("A", strategy="w", exchange=exchange, frame=FRAME, settings=FREE, capital=1_000)
    assert asked == [*range(6)]
    assert not result.errors
    assert not len(result.refused)


@pytest.mark.parametrize("reenter", [False, True])
def test_what_was_liquidated_stays_flat(*, reenter: bool) -> None:
    falling = {5: (100.0, 100.0, 50.0, 60.0)} | {k: level(60.0) for k in range(6, 60)}
    answers = dict.fromkeys(range(END), 2.0) | {8: None, 10: 0.0, 14: -0.5, 16: 0.0}
    bknb.add_strategy(
        "w", interval="1m", get_weight=lambda ctx: answers[(ctx.when_ms - ORIGIN) // MINUTE], tolerance=math.inf,
        reenter=reenter,
    )  # fmt: skip
    result = bknb.backtest(
        "A", strategy="w", exchange=market(falling), frame=FRAME, settings=FREE, capital=1_000,
        account=bknb.Margin(leverage=3, mode="isolated"),
    )  # fmt: skip
    found = [(minute, kind) for minute, kind, _ in fills(result)]
    again = [(6, "entry"), (10, "exit")] if reenter else []
    assert found == [
        (0, "entry"), (5, "exit"), *again, (11, "entry"), (14, "exit"), (14, "entry"), (15, "exit"), (15, "entry"),
        (16, "exit"), (17, "entry"), (30, "exit"),
    ]  # fmt: skip


def test_async_weights_and_weights_by_name() -> None:
    async def get_weight(when: Any, symbol: str, part: float = 0.5) -> float:
        return part if when.minute >= 3 else 0

    made = bknb.add_strategy("w", interval="1m", get_weight=get_weight, params={"part": 0.25}, tolerance=math.inf)
    assert made.params == {"part": 0.25}
    result = bknb.backtest("BTCUSDT", strategy="w", exchange=market(), frame=FRAME, settings=FREE)
    assert fills(result) == [(3, "entry", 1.0), (30, "exit", 1.0)]
    assert result.run_record.records.closed[0].signal.size == 0.25
    named = bknb.backtest("BTCUSDT", strategy=get_weight, interval="1m", exchange=market(), frame=FRAME, settings=FREE)
    assert fills(named) == [(3, "entry", 1.0), (30, "exit", 1.0)]

    @bknb.strategy("decorated", interval="1m", tolerance=3)
    def half() -> float:
        return 0.5

    assert bknb.get_strategy("decorated").tolerance == 3.0


# --- weights with levels --------------------------------------------------------------------------------------------


def leveled(
    answers: Mapping[int, Any], prices: Mapping[int, float], **options: Any
) -> list[tuple[int, str, str, float]]:
    """Minute, kind, reason and price of the fills of a run."""
    result = play(answers, market({k: level(price) for k, price in prices.items()}), tolerance=30, **options)
    assert not len(result.rejected), result.rejected.reasons.tolist()
    found = result.fills.itertuples()
    return [(int((row.at.value // 10**6 - ORIGIN) // MINUTE), row.kind, row.reason, row.price) for row in found]


@CAPITALS
def test_a_weight_may_have_levels_and_stays_flat_behind_them(capital: float | None) -> None:
    stopped = bknb.Weight(0.5, price_stop_loss=95.0, note="trend")
    every = dict.fromkeys(range(END), stopped) | {12: 0.0}
    fills = leveled(every, {6: 94.0}, capital=capital)
    assert fills[:3] == [(0, "entry", "", 100.0), (6, "exit", "stop_loss", 94.0), (13, "entry", "", 100.0)]
    short = bknb.Weight(-0.5, price_stop_loss=105.0)
    assert leveled(dict.fromkeys(range(END), short), {6: 106.0}, capital=capital)[1:] == [
        (6, "exit", "stop_loss", 106.0)
    ]
    trailing = bknb.Weight(0.5, trailing=bknb.Trailing(percent=5.0), breakeven=bknb.Breakeven(after=50.0))
    rises = {5: 120.0, 6: 113.0}
    assert leveled(dict.fromkeys(range(END), trailing), rises, capital=capital)[1:] == [
        (6, "exit", "trailing_stop", 113.0)
    ]


@CAPITALS
def test_a_stop_of_a_weight_moves_towards_the_market_only(capital: float | None) -> None:
    stops = {0: 90.0, 3: 95.0, 5: 80.0}
    answers = {k: bknb.Weight(0.5, price_stop_loss=stop) for k, stop in stops.items()}
    result = play(answers, market({8: level(94.0)}), tolerance=30, capital=capital)
    moved = [
        (event.when - ORIGIN) // MINUTE for event in result.run_record.records.positions if isinstance(event, Moved)
    ]
    assert moved == [3]
    assert fills(result)[1:] == [(8, "exit", 1.0)]
    assert result.fills.reason.tolist() == ["", "stop_loss"]
    without = play({0: bknb.Weight(0.5, price_stop_loss=90.0), 3: 0.5}, market({8: level(89.0)}), capital=capital)
    assert fills(without)[1:2] == [(8, "exit", 1.0)]  # a plain number leaves it


@CAPITALS
@pytest.mark.parametrize("side", [1, -1])
def test_a_stop_in_percent_lies_below_what_was_paid_and_moves_with_adds(side: int, capital: float | None) -> None:
    first, second = 100.0 + side * 10.0, 100.0 + side * 21.0
    prices = {k: level(first) for k in range(2, 6)} | {k: level(second) for k in range(6, 12)}
    answers = {k: bknb.Weight(weight * side, stop_percent=2.0) for k, weight in ((2, 0.25), (6, 0.5))}
    result = play(answers, market(prices), capital=capital)
    opened = [event for event in result.run_record.records.events if event.action == "opened"]
    assert opened[0].signal.price_stop_loss == pytest.approx(first * (1 - side * 0.02))
    share = result.fills.share.iloc[1]
    average = (first + share * second) / (1 + share)
    moved = [event.price_stop_loss for event in result.run_record.records.positions if isinstance(event, Moved)]
    assert moved == [pytest.approx(average * (1 - side * 0.02))]
    assert [row[:2] for row in fills(result)] == [(2, "entry"), (6, "add"), (12, "exit")]  # at 100 again
    assert result.fills.reason.iloc[2] == "stop_loss"


@CAPITALS
@pytest.mark.parametrize("side", [1, -1])
def test_a_target_in_percent_lies_beyond_what_was_paid_and_keeps_it_flat_behind(
    side: int, capital: float | None
) -> None:
    second = 100.0 + side * 1.0
    prices = {k: level(second) for k in range(6, 9)} | {k: level(100.0 + side * 3.0) for k in range(9, 14)}
    answers = {k: bknb.Weight(0.25 * (1 + (k >= 6)) * side, target_percent=2.0) for k in range(2, 20)}
    result = play(answers, market(prices), capital=capital, tolerance=20)
    assert [row[:2] for row in fills(result)] == [(2, "entry"), (6, "add"), (9, "exit")]
    assert result.fills.reason.iloc[2] == "take_profit"
    share = result.fills.share.iloc[1]
    average = (100.0 + share * second) / (1 + share)
    moved = [event.targets[0].price for event in result.run_record.records.positions if isinstance(event, Moved)]
    assert moved == [pytest.approx(average * (1 + side * 0.02))]


def test_what_is_wrong_with_a_weight_is_told() -> None:
    for weight, text in (
        (bknb.Weight("half"), "got str: 'half'"),  # type: ignore[arg-type]
        (bknb.Weight(2.0), "weight 2: all of the equity is 1"),
        (bknb.Weight(0.5, price_stop_loss=101.0), "price_stop_loss 101"),
        (bknb.Weight(0.5, price_stop_loss=-1.0), "price_stop_loss must be above 0"),
        (bknb.Weight(0.5, stop_percent=100.0), "stop_percent must be a number above 0, and below 100 for a long"),
        (bknb.Weight(0.5, stop_percent="2"), "stop_percent must be a number above 0"),  # type: ignore[arg-type]
        (bknb.Weight(0.5, price_stop_loss=95.0, stop_percent=2.0), "give one of them"),
        (bknb.Weight(0.5, target_percent=0), "target_percent of a long must be a number above 0, such as"),
        (bknb.Weight(-0.5, target_percent=100), "target_percent of a short must be a number above 0 and below 100"),
        (bknb.Weight(0.5, target_percent=[(2, 0.5)]), "target_percent of a long must be a number"),  # type: ignore[arg-type]
    ):
        result = play({2: weight}, market())
        assert text in result.rejected.reasons[0], result.rejected.reasons[0]
        assert not len(result.fills)
    held = play({2: 0.5, 4: bknb.Weight(0.75, price_stop_loss=math.nan)}, market())
    assert "price_stop_loss" in held.rejected.reasons[0]
    assert fills(held) == [(2, "entry", 1.0), (30, "exit", 1.0)]
    with pytest.raises(TypeError, match="Weight has no stop, did you mean price_stop_loss"):
        bknb.Weight(0.5, stop=95.0)  # type: ignore[call-arg]


# --- what they are equal to -----------------------------------------------------------------------------------------


def sides(seed: int) -> Callable[[int], int]:
    """1, 0 or -1 by the moment (UTC ms), as a rule that keeps its side for a while."""
    return lambda when: int(np.random.default_rng([seed, when // (7 * MINUTE)]).integers(-1, 2))


@pytest.mark.parametrize("capital", [None, 10_000])
@pytest.mark.parametrize("model", ["pessimistic", pytest.param("touch", marks=pytest.mark.slow)])
@settings(max_examples=4)
@given(seed=SEEDS, every=st.sampled_from(["1m", "5m"]))
def test_one_and_minus_one_are_a_strategy_that_turns_round(
    model: str, capital: float | None, seed: int, every: str
) -> None:
    side = sides(seed)

    def signal(wanted: int) -> bknb.Signal | None:
        return bknb.Signal(side="long" if wanted > 0 else "short") if wanted else None

    def manage(ctx: Any, position: Any) -> Any:
        wanted = side(ctx.when_ms)
        if wanted == position.sign:
            return None
        return [bknb.Close(), signal(wanted)] if wanted else bknb.Close()

    options: dict[str, Any] = {"interval": every, "execution": model}
    weights = bknb.add_strategy("s", get_weight=lambda ctx: side(ctx.when_ms), tolerance=math.inf, **options)
    signals = bknb.add_strategy("s", get_signal=lambda ctx: signal(side(ctx.when_ms)), manage=manage, **options)
    exchange = source(walk(seed))
    run: dict[str, Any] = {"exchange": exchange, "frame": (ORIGIN, ORIGIN + 300 * MINUTE), "capital": capital}
    one, other = (bknb.backtest("BTCUSDT", strategy=each, **run) for each in (weights, signals))
    assert one.trades.drop(columns="size", errors="ignore").equals(other.trades)
    assert one.fills.equals(other.fills)
    assert one.equity.equals(other.equity)
    assert dict(one.account) == dict(other.account)


@pytest.mark.parametrize("capital", [None, 10_000])
def test_a_weight_of_one_is_buying_and_holding(capital: float | None) -> None:
    exchange = source(walk(5))
    run: dict[str, Any] = {"exchange": exchange, "frame": (ORIGIN, ORIGIN + 300 * MINUTE), "settings": COSTS}
    bknb.add_strategy("one", interval="15m", get_weight=lambda: 1, tolerance=math.inf)
    result = bknb.backtest("BTCUSDT", strategy="one", capital=capital, **run)
    assert len(result.trades) == 1
    first = result.trades.iloc[0]
    held = (first.price_close * (1 - 0.0005) / (first.price_open * 1.0005) - 1) * 100
    fees = 0.1 * (1 + first.price_close * (1 - 0.0005) / (first.price_open * 1.0005))
    assert result.account["total_return"] == pytest.approx(held - fees, abs=1e-9)


@CAPITALS
def test_with_costs_a_weight_of_one_sells_what_is_beyond_the_equity(capital: float | None) -> None:
    every = dict.fromkeys(range(END), 1.0)
    kinds = {
        tolerance: play(every, market(), tolerance=tolerance, settings=COSTS, capital=capital).fills.kind.tolist()
        for tolerance in (0.0, 1.0, math.inf)
    }
    assert kinds[0.0][:2] == ["entry", "reduce"]
    assert kinds[1.0] == kinds[math.inf] == ["entry", "exit"]


@pytest.mark.slow
@pytest.mark.parametrize("capital", [None, 10_000])
@settings(max_examples=5)
@example(seed=0, tolerance=0.0, slot=1)
@given(seed=SEEDS, tolerance=st.sampled_from([0.0, 0.5, 5.0]), slot=st.sampled_from([1, 5, 30]))
def test_the_equity_is_that_of_a_loop_by_hand(capital: float | None, seed: int, tolerance: float, slot: int) -> None:
    def weight_at(when: int) -> float | None:
        random = np.random.default_rng([seed, when // MINUTE])
        kind = random.integers(0, 8)
        return None if kind == 0 else 0.0 if kind == 1 else float(random.uniform(-0.6, 0.6))

    rows, last = [[*row[:5], 100.0] for row in walk(seed)], 200
    strategy = bknb.add_strategy(
        "w", interval=f"{slot}m", get_weight=lambda ctx: weight_at(ctx.when_ms), tolerance=tolerance
    )
    frame = (ORIGIN, ORIGIN + last * MINUTE)
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=source(rows), frame=frame, settings=COSTS, capital=capital
    )
    moments, worth = equity_by_hand(
        rows, weight_at, start=ORIGIN, end=frame[1], slot=slot * MINUTE, tolerance=tolerance, slippage=0.05, fee=0.1
    )  # fmt: skip
    found = result.equity / (capital or 1.0)
    at = found.index.as_unit("ms").asi8
    shown = found.to_numpy()[np.searchsorted(at, moments)]
    if capital is None:
        assert np.allclose(shown, worth, rtol=0, atol=1e-9)
        assert result.account["total_return"] == pytest.approx((worth[-1] - 1) * 100, abs=1e-7)
    else:  # where the side changes, its entry is sized at the last close, before the close has cost anything
        assert np.allclose(shown, worth, rtol=0.01)


# --- live -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=3)
@example(seed=3, jumping=False)
@given(seed=SEEDS, jumping=st.booleans())
def test_live_equals_a_backtest(seed: int, *, jumping: bool) -> None:
    until = ORIGIN + 150 * MINUTE
    exchange = source(walk(seed))
    drawn = drawn_weight(seed)

    def get_weight(ctx: Any) -> Any:
        weight = drawn(ctx)
        return weight if weight is None or seed % 4 < 2 else bknb.Weight(weight, stop_percent=0.5)

    strategy = bknb.add_strategy("w", interval="1m" if seed % 2 else "5m", get_weight=get_weight, tolerance=seed % 3)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange, until=until, store=bknb.stores.memory(), settings=COSTS,
        clock=JumpingClock(ORIGIN, seed) if jumping else SimulatedClock(ORIGIN),
    )  # fmt: skip
    result = task.result(timeout=120)
    assert {failure.kind for failure in result.errors} <= ({"late"} if jumping else set()), result.errors
    live = result.run_record.records
    plan = plan_backtest("BTCUSDT", frame=(ORIGIN, until), strategy=strategy, exchange=exchange, settings=COSTS)
    for every_minute in (False, True):
        run = BacktestRun(plan, late=dict(live.late), every_minute=every_minute)
        asyncio.run(run.through())
        assert told(live, before=until) == told(run.records, before=until)


@pytest.mark.slow
@pytest.mark.parametrize("places", ["chosen", pytest.param("every", marks=pytest.mark.long)])
def test_killed_at_any_change_of_the_disk_each_change_is_made_once(places: str, folder_in_memory: Path) -> None:
    script = Path(__file__).with_name("managed_life.py")
    call = [sys.executable, script, folder_in_memory, places, "weights"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert len(found["killed"]) >= 7
    assert found["fills"] > 20


# --- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (math.nan, "get_weight returns None, or a finite number such as 0.5, -1 or 0; got float: nan"),
        (np.float64("inf"), "such as 0.5, -1 or 0; got float64: "),
        ([0.5], "got list: [0.5]; give one number, such as the last: values[-1]"),
        (np.array([0.5]), "give one number, such as the last: values[-1]"),
        ("0.5", "got str: '0.5'; write float(…)"),
        (Decimal("0.5"), "got Decimal: Decimal('0.5'); write float(…)"),
        (10**400, "a weight is at most 1e+09: perhaps something was divided by nearly 0"),
        (1e308, "a weight is at most 1e+09"),
        (True, "got bool: True; write 1 or 0"),
        (np.True_, "write 1 or 0"),
        ({"BTCUSDT": 0.5}, "weights of several symbols are answered by a get_weights"),
        (bknb.Signal(side="long"), "got Signal"),
        (1.5, "weight 1.5: all of the equity is 1, and the account has no leverage; give account=bknb.Margin("),
        (-1.001, "weight -1.001: all of the equity is 1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("held", [False, True])
def test_what_is_no_weight_is_told_and_changes_nothing(answer: Any, text: str, *, held: bool) -> None:
    answers: dict[int, Any] = {2: 0.5, 5: answer} if held else {5: answer}
    result = play(answers, market())
    assert [event.reasons[0].code for event in result.run_record.records.rejected] == ["weight"]
    assert text in result.run_record.records.rejected[0].reasons[0].text
    assert fills(result) == ([(2, "entry", 1.0), (30, "exit", 1.0)] if held else [])


def test_what_arithmetic_leaves_above_the_leverage_is_taken() -> None:
    result = play({2: 1.0000000000000002, 4: np.float32(0.5), 6: -1}, market())
    assert [kind for _, kind, _ in fills(result)] == ["entry", "reduce", "exit", "entry", "exit"]


@pytest.mark.parametrize(
    ("account", "weight", "text"),
    [
        (bknb.Spot(), -0.5, "weight -0.5: a spot account has no shorts; give account=bknb.Margin()"),
        (bknb.Margin(leverage=2), 2.5, "the account has a leverage of 2; give account=bknb.Margin(leverage=3)"),
    ],
)
def test_what_the_account_does_not_allow_is_told(account: Any, weight: float, text: str) -> None:
    result = play({2: weight}, market(), capital=1_000, account=account)
    assert text in result.run_record.records.rejected[0].reasons[0].text
    assert not len(result.fills)


def test_leverage_is_used() -> None:
    result = play({2: 1.0, 4: 2.0, 6: 0.5}, market(), capital=1_000, account=bknb.Margin(leverage=3))
    assert result.fills.quantity.tolist() == pytest.approx([10.0, 10.0, 15.0, 5.0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tolerance": -1}, "tolerance of strategy 'w' must be a number of at least 0, got -1"),
        ({"tolerance": math.nan}, "must be a number of at least 0"),
        ({"tolerance": "2"}, "must be a number of at least 0"),
        ({"manage": lambda: None}, "strategy 'w' has get_weight and manage"),
        ({"get_signal": lambda: None}, "strategy 'w' has get_weight and get_signal"),
        ({"execution": "vwap"}, "fills at an average of past prices"),
        ({"reenter": 1}, "reenter of strategy 'w' must be True or False, got 1"),
        ({"interval": None}, "neither interval nor at"),
    ],
)
def test_what_does_not_belong_to_weights_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(bknb.UsageError, match=text):
        bknb.add_strategy("w", **{"interval": "1m", "get_weight": lambda: 0.5} | options)


def test_a_tolerance_needs_weights_and_weights_need_no_sizing() -> None:
    with pytest.raises(bknb.UsageError, match="a reenter and no get_weight"):
        bknb.add_strategy("w", interval="1m", get_signals=lambda candles: None, reenter=True)
    with pytest.raises(bknb.UsageError, match="tolerance is for weights"):
        bknb.add_strategy("w", interval="1m", get_signal=lambda ctx: 0.5, tolerance=1.0)

    def get_signal(ctx: Any) -> None:
        return None

    with pytest.raises(bknb.UsageError, match="tolerance is for weights"):
        bknb.strategy("w", interval="1m", tolerance=1.0)(get_signal)
    with pytest.raises(bknb.UsageError, match="answers with weights, parts of the equity, and sizing= is given"):
        play({}, market(), capital=100, sizing=bknb.Percent(10))


# --- sizes of signals -----------------------------------------------------------------------------------------------


def test_a_signal_may_open_with_a_part_of_what_sizing_gives() -> None:
    def run(**options: Any) -> Any:
        bknb.add_strategy(
            "s", interval="1m", get_signal=lambda: bknb.Signal(side="long", size=0.25, minute_estimated_time=60)
        )
        options = {
            "exchange": market({k: level(200.0) for k in range(5, 60)}),
            "frame": FRAME,
            "settings": FREE,
        } | options
        return bknb.backtest("BTCUSDT", strategy="s", **options)

    assert run().equity.iloc[-1] == pytest.approx(1.25)
    assert run().trades[["pnl_percentage", "size"]].to_numpy().tolist() == [[100.0, 0.25]]
    assert run().stats["equity_final"] == bknb.statistics(run().trades)["equity_final"] == pytest.approx(1.25)
    half = run(capital=1_000, sizing=bknb.Percent(50))
    assert half.fills.quantity.tolist() == pytest.approx([1.25, 1.25])


@pytest.mark.parametrize("size", [0, -0.5, math.nan, "half", True])
def test_a_size_that_is_none_is_told(size: Any) -> None:
    bknb.add_strategy("s", interval="1m", get_signal=lambda: bknb.Signal(side="long", size=size))
    result = bknb.backtest("BTCUSDT", strategy="s", exchange=market(), frame=FRAME)
    reasons = result.run_record.records.rejected[0].reasons
    assert "size must be a finite number above 0" in reasons[0].text


def test_a_broker_is_sent_the_part_of_the_quantity() -> None:
    records = play({2: 0.25}, market()).run_record.records
    assert Quantities(0.5, on_problem=print).of(records.closed[0].signal) == 0.125


def test_a_sweep_of_weights_has_the_accounts_of_its_backtests() -> None:
    def get_weight(ctx: Any, top: float = 1.0) -> float:
        return top * math.sin(ctx.when_ms / MINUTE / 20)

    exchange = source(walk(3))
    run: dict[str, Any] = {"exchange": exchange, "frame": (ORIGIN, ORIGIN + 300 * MINUTE), "settings": COSTS}
    options: dict[str, Any] = {"interval": "5m", "get_weight": get_weight, "tolerance": math.inf}
    sweep = bknb.sweep(bknb.add_strategy("w", **options), params={"top": [0.5, 1.0]}, symbol="BTCUSDT", **run)
    singles = [
        bknb.backtest("BTCUSDT", strategy=bknb.add_strategy("w", params={"top": top}, **options), **run)
        for top in (0.5, 1.0)
    ]
    table = sweep.table.sort_values("top")
    assert table["n"].tolist() == [len(single.trades) for single in singles]
    assert table["avg_pnl"].tolist() == pytest.approx([each.stats["avg_pnl"] for each in singles])
    for name in ("equity_final", "max_drawdown"):  # of positions that open with a part of the equity
        assert table[name].tolist() == pytest.approx([each.stats[name] for each in singles], rel=1e-9)


@pytest.mark.slow
def test_a_weight_that_sees_the_future_is_found() -> None:
    exchange = source(walk(2))
    closes = {int(row[0]): row[4] for row in walk(2)}

    def get_weight(ctx: Any) -> float:
        return 0.75 if closes[ctx.when_ms + 10 * MINUTE] > closes[ctx.when_ms - MINUTE] else 0.25

    bknb.add_strategy("sees", interval="5m", get_weight=get_weight, tolerance=math.inf)
    back = bknb.add_strategy(
        "back", interval="5m", get_weight=lambda ctx: 0.5 if ctx.candles("1m", 1).close > 100 else 1
    )
    run: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": exchange, "frame": (ORIGIN, ORIGIN + 200 * MINUTE)}
    assert bknb.check_lookahead("sees", **run).findings
    quarter, three_quarters = (as_answer(bknb.Signal(side="long", size=size)) for size in (0.25, 0.75))
    assert quarter != three_quarters
    assert not bknb.check_lookahead(back, **run).findings


@pytest.mark.slow
@pytest.mark.parametrize("weights", [(1.0, -1.0), (0.75, 0.25), (1.0, None)])
def test_weights_that_are_right_too_often_are_found(weights: tuple[float, float | None]) -> None:
    """A table of the future that no other experiment can see: the answers themselves."""
    rows = {int(row[0]): row for row in walk(4)}
    up, down = weights

    def get_weight(ctx: Any) -> float | None:
        return up if rows[ctx.when_ms + 4 * MINUTE][4] > rows[ctx.when_ms][1] else down

    bknb.add_strategy("leaks", interval="5m", get_weight=get_weight)
    frame = (ORIGIN, ORIGIN + 290 * MINUTE)
    report = bknb.check_lookahead("leaks", symbol="BTCUSDT", exchange=source([*rows.values()]), frame=frame)
    assert report.accuracy is not None
    assert report.accuracy.entries >= 20
    assert report.accuracy.right > 0.8


def test_weights_need_prices_above_zero() -> None:
    exchange = source([(ORIGIN, 100.0, 100.0, 100.0, 100.0, 1.0)])
    bknb.add_exchange("spreads", get_candles=exchange.get_candles, negative=True)
    bknb.add_strategy("weighs", interval="1m", get_weight=lambda: 0.5)
    bknb.weights("rotation", symbols=["A"], interval="1m", get_weights=lambda: {"A": 0.5})
    run = {"exchange": "spreads", "frame": (ORIGIN, ORIGIN + 10 * MINUTE)}
    with pytest.raises(bknb.UsageError, match="a strategy of weights needs prices above 0, and exchange 'spreads' has"):
        bknb.backtest("A", strategy="weighs", **run)
    with pytest.raises(bknb.UsageError, match="a strategy of weights needs prices above 0"):
        bknb.portfolio(strategies=["rotation"], **run)
