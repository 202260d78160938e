"""Portfolios as users run them: legs, places they share, tables, stops, faults."""

from __future__ import annotations

import _thread
import asyncio
import gc
import math
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, Candle, line, long, minute, source

import bknb
from bknb.events.listen import drain
from bknb.runs.candle_memory import MEMORY
from bknb.runs.portfolio import plan_portfolio
from bknb.runs.portfolio_task import PortfolioTask

END = 30
FRAME = (ORIGIN, ORIGIN + END * MINUTE)
FLAT: Candle = (100.0, 100.0, 100.0, 100.0)
Answers = Mapping[int, Any]


def market(candles: Mapping[int, Candle] | None = None, *, last: int = END + 10, first: int = -60) -> Any:
    """A flat market with some other minutes, all of which trade."""
    shown = candles or {}
    return source([(ORIGIN + k * MINUTE, *shown.get(k, FLAT), 100.0) for k in range(first, last + 1)])


def minute_of(ctx: Any) -> int:
    return int(ctx.when_ms - ORIGIN) // MINUTE


def strategy_of(name: str, answers: Answers, *, manage: Answers | None = None, risk: str | None = "shared") -> str:
    """Registers a strategy that answers by the minute, and by the symbol where an answer is a mapping of those."""

    def of(found: Any, symbol: str) -> Any:
        return found.get(symbol) if isinstance(found, dict) and "position" not in found else found

    def get_signal(ctx: Any) -> Any:
        return of(answers.get(minute_of(ctx)), ctx.symbol)

    def managed(ctx: Any) -> Any:
        return of((manage or {}).get(minute_of(ctx)), ctx.symbol)

    more: dict[str, Any] = {} if manage is None else {"manage": managed, "manage_interval": "1m"}
    bknb.add_strategy(name, interval="1m", get_signal=get_signal, risk=risk, **more)
    return name


def limit_of(count: int, *, scheduled: bool = True) -> list[bknb.RiskRequest]:
    """Registers a profile of so many places; ``scheduled=False``: what rests takes none. Returns its requests."""
    requests: list[bknb.RiskRequest] = []

    def places(request: bknb.RiskRequest) -> bool:
        requests.append(request)
        return sum(scheduled or not taken.scheduled for taken in request.open_positions) < count

    bknb.add_risk("shared", validations=[places])
    return requests


def play(legs: Sequence[tuple[str, Any]], exchange: Any, **options: Any) -> bknb.PortfolioResult:
    options = {"frame": FRAME, "settings": {"percent_fee": 0.0, "percent_slippage": 0.0}} | options
    return bknb.portfolio(legs=legs, exchange=exchange, **options)


def lines(result: bknb.PortfolioResult) -> list[str]:
    """What was told, refusals with it, each with its symbol in front."""
    return [
        f"{event.symbol} " + (f"refused @{minute(event.when)}" if isinstance(event, bknb.RiskRefused) else line(event))
        for event in result.told
        if not isinstance(event, bknb.Milestone | bknb.Moved)
    ]


# --- the places of a moment -------------------------------------------------------------------------------------------

UP: dict[int, Candle] = {3: (100.0, 103.0, 100.0, 102.0)}  # reaches a target at 102 inside minute 3
DOWN: dict[int, Candle] = {3: (100.0, 100.0, 98.0, 99.0)}  # reaches a limit at 99


def test_questions_of_one_moment_get_places_in_declared_order() -> None:
    limit_of(1)
    both = strategy_of("both", {0: long(110, 90, 3)})
    markets = market()
    assert lines(play([("A", both), ("B", both)], markets))[:3] == ["B refused @m0", "A opened 100 @m0",
                                                                    "A closed time_expired 100 @m3"]  # fmt: skip
    assert lines(play([("B", both), ("A", both)], markets))[0] == "A refused @m0"


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        ((1, 2, 3), "CBA"),
        ((2, 1, 2), "ACB"),  # of equal ones the leg that was given first
        ((None, -5, None), "BAC"),  # one without a score is the last
        ((np.float64(0.5), 1, np.int64(1)), "BCA"),
        ((None, None, None), "ABC"),
    ],
)
def test_signals_of_one_moment_may_go_by_their_score(scores: Any, order: str) -> None:
    """All are asked first; places and cash go by the score then, and a declared order of legs does not matter."""
    told: list[str] = []
    bknb.add_risk("shared", validations=[lambda request: told.append(request.symbol) is None])
    answers = {symbol: long(110, 90, 3) | {"score": score} for symbol, score in zip("ABC", scores, strict=True)}
    one = strategy_of("one", {0: answers})
    legs, options = [(symbol, one) for symbol in "ABC"], {"capital": 1000, "sizing": "percent:70", "account": "spot"}
    result = play(legs, market(), priority="score", **options)
    assert "".join(told) == order[:2]  # the third has no cash
    assert [(trade.leg[-1], trade.cost) for trade in result.trades.sort_values("cost").itertuples()] == [
        (order[1], pytest.approx(300)),
        (order[0], pytest.approx(700)),
    ]
    assert [event.symbol for event in result.refused] == [*order[2]]
    told.clear()
    declared = play(legs, market(), **options)
    assert "".join(told) == "AB"
    assert order != "ABC" or declared.events == result.events


def test_of_all_that_are_asked_at_a_moment_the_highest_scores_are_opened() -> None:
    """Six legs, three places, and answers that are awaited."""
    limit_of(3)
    random = np.random.default_rng(5)
    scores = {(minute, symbol): float(random.integers(5)) for minute in range(30) for symbol in "ABCDEF"}

    async def get_signal(ctx: Any) -> Any:
        await asyncio.sleep(0)
        asked = minute_of(ctx) % 5 == 0
        return long(110, 90, 2) | {"score": scores[minute_of(ctx), ctx.symbol]} if asked else None

    bknb.add_strategy("all", interval="1m", get_signal=get_signal, risk="shared")
    result = play([(symbol, "all") for symbol in "ABCDEF"], market(), priority="score")
    asked: dict[int, dict[bool, list[float]]] = {minute: {True: [], False: []} for minute in range(0, 30, 5)}
    for event in result.told:
        if isinstance(event, bknb.Opened | bknb.RiskRefused):
            minute = (event.when - ORIGIN) // MINUTE
            asked[minute][isinstance(event, bknb.Opened)].append(scores[minute, event.symbol])
    assert all(len(kinds[True]) == 3 and min(kinds[True]) >= max(kinds[False]) for kinds in asked.values())


def test_a_score_that_is_no_number_is_told() -> None:
    one = strategy_of("one", {0: {symbol: long(110, 90, 3) | {"score": math.nan} for symbol in "AB"}}, risk=None)
    result = play([("A", one), ("B", one)], market(), priority="score")
    told = [event.reasons[0].text for event in result.told if isinstance(event, bknb.Rejected)]
    assert told == ["score must be a finite number, got nan"] * 2


def test_a_place_that_an_exit_in_a_bar_frees_is_there_for_the_question_at_its_close() -> None:
    requests = limit_of(1)
    first = strategy_of("first", {0: {"A": long(102, 90, 20)}})
    second = strategy_of("second", {3: {"B": long(110, 90, 2)}, 4: {"B": long(110, 90, 2)}})
    told = lines(play([("A", first), ("B", second)], {"A": market(UP), "B": market()}))
    assert told == ["A opened 100 @m0", "B refused @m3", "A closed take_profit 102 @m3", "B opened 100 @m4",
                    "B closed time_expired 100 @m6"]  # fmt: skip
    assert [len(request.open_positions) for request in requests] == [0, 1, 0]


def test_a_place_is_that_of_a_position_once_its_order_has_filled() -> None:
    """At the market, at a limit that the first bar opens beyond, and at one that waited."""
    requests = limit_of(9)
    late = strategy_of("late", {3: {"D": long(110, 90, 20)}, 6: {"D": long(110, 90, 20)}})
    first = {"A": long(110, 90, 20), "B": long(110, 90, 20, at=101.0), "C": long(110, 90, 20, at=99.9)}
    exchange = {"A": market(), "B": market(), "C": market({5: (100.0, 100.0, 99.8, 100.0)}), "D": market()}
    one = strategy_of("one", {0: first})
    play([*((symbol, one) for symbol in "ABC"), ("D", late)], exchange)
    assert [(place.symbol, place.scheduled, place.price_open) for place in requests[3].open_positions] == [
        ("A", False, 100.0), ("B", False, 100.0), ("C", True, 99.9)
    ]  # fmt: skip
    assert [place.scheduled for place in requests[-1].open_positions][:3] == [False] * 3


@pytest.mark.parametrize("legs", [["A", "B"], ["B", "A"]])
def test_a_place_that_an_exit_in_a_bar_frees_is_not_there_for_an_entry_in_it(legs: list[str]) -> None:
    """A's target is reached in the bar in which B's limit is; in the next bar the place is free."""
    limit_of(1, scheduled=False)
    again = {5: (100.0, 100.0, 98.0, 99.0)}
    one = strategy_of("one", {0: {"A": long(102, 90, 20, at=99.9), "B": long(110, 90, 20, at=99.0)},
                              4: {"B": long(110, 90, 20, at=99.0)}})  # fmt: skip
    falls = {1: (100.0, 100.0, 99.8, 100.0)}
    exchange = {"A": market(falls | UP), "B": market(DOWN | again)}
    told = lines(play([(symbol, one) for symbol in legs], exchange))
    assert told[2:6] == [
        "A opened 99.9 @m1",
        *(["A closed take_profit 102 @m3"] if legs[0] == "A" else []),
        "B refused @m3",
        "B cancelled risk @m3",
        *(["A closed take_profit 102 @m3"] if legs[0] == "B" else []),
    ]
    assert "B opened 99 @m5" in told


def test_a_place_that_an_order_at_the_open_frees_is_not_there_in_that_bar() -> None:
    """A's deadline at minute 3 fills at the open of the bar in which B's limit is reached."""
    limit_of(1, scheduled=False)
    falls = {1: (100.0, 100.0, 99.8, 100.0)}
    one = strategy_of("one", {0: {"A": long(110, 90, 2, at=99.9), "B": long(110, 90, 20, at=99.0)}})
    told = lines(play([("A", one), ("B", one)], {"A": market(falls), "B": market(DOWN)}))
    assert told[2:] == ["A opened 99.9 @m1", "A closed time_expired 100 @m3", "B refused @m3", "B cancelled risk @m3"]


@pytest.mark.parametrize(("ends", "base"), [((7, 7), "1m"), ((5, 7), "5m")])
def test_all_places_of_the_start_of_a_bar_count_in_it(ends: tuple[int, int], base: str) -> None:
    """A and B leave at targets in the bar in which C's limit is reached: two places were taken when it opened."""
    limit_of(2, scheduled=False)
    falls, up = {1: (100.0, 100.0, 99.8, 100.0)}, (100.0, 103.0, 100.0, 100.0)
    near = long(102, 90, 25, at=99.9)
    one = strategy_of("one", {0: {"A": near, "B": near}})
    bknb.add_strategy("five", interval="5m", risk="shared",
                      get_signal=lambda ctx: long(110, 90, 25, at=99.0) if minute_of(ctx) == 0 else None)  # fmt: skip
    exchange = {"A": market(falls | {ends[0]: up}), "B": market(falls | {ends[1]: up}),
                "C": market({7: (100.0, 100.0, 98.0, 100.0)})}  # fmt: skip
    told = lines(play([("A", one), ("B", one), ("C", "five")], exchange, base={"A": "1m", "B": "1m", "C": base}))
    when = 7 if base == "1m" else 5
    assert told[-4:] == [f"A closed take_profit 102 @m{ends[0]}", f"B closed take_profit 102 @m{ends[1]}",
                         f"C refused @m{when}", f"C cancelled risk @m{when}"]  # fmt: skip


def test_runs_that_are_no_portfolio_have_the_places_of_their_profile_for_themselves() -> None:
    """Together they open one; two backtests at the same time, and strategies that are compared, one each."""
    requests = limit_of(1)
    answers = {1: long(110.0, 90.0)}
    names = [strategy_of("first", answers), strategy_of("second", answers)]
    exchange = {symbol: market() for symbol in "AB"}
    legs = [*zip("AB", names, strict=True)]
    assert [len(leg.trades) for leg in play(legs, exchange).legs.values()] == [1, 0]
    tasks = [bknb.Backtest.background(s, strategy=name, exchange=exchange[s], frame=FRAME) for s, name in legs]
    assert [len(task.result(30).trades) for task in tasks] == [1, 1]
    walked = bknb.walker("A", strategies=names, exchange=exchange["A"], frame=FRAME)
    assert [len(walked[name].trades) for name in names] == [1, 1]
    assert {request.open_position_count for request in requests} == {0, 1}


@pytest.mark.parametrize(("falls", "fills"), [(0, True), (3, False)])
def test_an_entry_that_rests_is_not_asked_about_again_in_the_candle_of_its_question(falls: int, fills: bool) -> None:  # noqa: FBT001
    requests = limit_of(1, scheduled=False)
    one = strategy_of("one", {0: {"B": long(110, 90, 20, at=99.0), "A": long(110, 90, 20)}})
    told = lines(play([("B", one), ("A", one)], {"A": market(), "B": market({falls: DOWN[3]})}))
    assert "A opened 100 @m0" in told
    assert (f"B opened 99 @m{falls}" in told, "B cancelled risk @m3" in told) == (fills, not fills)
    assert len(requests) == 3 - fills


def test_resting_entries_that_one_bar_reaches_get_the_last_place_in_declared_order() -> None:
    limit_of(1, scheduled=False)
    one = strategy_of("one", {0: long(110, 90, 2, at=99.0)})
    told = lines(play([("A", one), ("B", one)], market(DOWN)))
    assert told[2:5] == ["A opened 99 @m3", "B refused @m3", "B cancelled risk @m3"]


def test_what_the_clock_takes_back_at_a_moment_is_free_for_the_questions_of_it() -> None:
    limit_of(1)
    one = strategy_of("one", {0: {"B": long(110, 90, 2, at=90.5)}, 5: {"A": long(110, 90, 2)}})
    told = lines(play([("A", one), ("B", one)], market(), settings={"schedule_await_minutes": 5}))
    assert told == ["B scheduled 90.5 @m0", "B cancelled timeout @m5", "A opened 100 @m5",
                    "A closed time_expired 100 @m7"]  # fmt: skip


def test_a_position_that_leaves_holds_its_place_until_its_bar_has_closed_but_not_against_its_own_leg() -> None:
    limit_of(1)
    closing = {4: {"A": bknb.Close()}}
    one = strategy_of("one", {0: {"A": long(110, 90, 20)}, 4: {"B": long(110, 90, 2), "A": long(110, 90, 2)},
                              5: {"B": long(110, 90, 2)}}, manage=closing)  # fmt: skip
    told = lines(play([("B", one), ("A", one)], market()))
    assert told == ["A opened 100 @m0", "B refused @m4", "A closed strategy 100 @m4", "A opened 100 @m4",
                    "B refused @m5", "A closed time_expired 100 @m6"]  # fmt: skip


def test_all_strategies_on_all_symbols_are_the_legs_strategy_after_strategy() -> None:
    limit_of(9)
    for name in ("one", "two"):
        strategy_of(name, {})
    result = bknb.portfolio(symbols=["A", "B"], strategies=["one", "two"], exchange=market(), frame=FRAME)
    assert list(result.legs) == [("A", "one"), ("B", "one"), ("A", "two"), ("B", "two")]


# --- stopping, pausing ------------------------------------------------------------------------------------------------


class Acting:
    """A portfolio in which leg A acts on its own task at minute 6, and three others are in the middle of something.

    B has a position until minute 20, C an entry that rests and would be reached at minute 12, D is asked each minute.
    """

    def __init__(self, act: Callable[[PortfolioTask], None]) -> None:
        self.asked: list[str] = []

        def get_signal(ctx: Any) -> Any:
            at = minute_of(ctx)
            self.asked.append(f"{ctx.symbol}{at}")
            if ctx.symbol == "A" and at == 6:
                act(self.task)
            orders = {"B": long(110, 90, 20), "C": long(110, 90, 5, at=95.0)}
            return orders.get(ctx.symbol) if at == 0 else None

        bknb.add_strategy("acts", interval="1m", get_signal=get_signal)
        reached = {12: (100.0, 100.0, 94.0, 100.0)}
        self.task = plan_portfolio(
            symbols=["A", "B", "C", "D"], strategies=["acts"], frame=FRAME,
            exchange={"A": market(), "B": market(), "C": market(reached), "D": market()},
        )  # fmt: skip
        self.result = self.task.start().result()
        self.lines = lines(self.result)


def test_a_stop_watches_what_is_open_and_takes_back_what_rests_where_the_clock_has_come_to() -> None:
    stopped = Acting(lambda task: task.stop())
    assert stopped.lines == ["B opened 100 @m0", "C scheduled 95 @m0", "C cancelled stopped @m6",
                             "B closed time_expired 100 @m20"]  # fmt: skip
    assert stopped.asked[-2:] == ["D5", "A6"]
    assert stopped.result.stopped
    assert {leg.account_terms.end for leg in stopped.result.legs.values()} == {ORIGIN + 21 * MINUTE}
    assert "PARTIAL" in repr(stopped.result)
    assert "this is a partial result" in stopped.result.report()


def test_a_stop_at_once_leaves_all_legs_where_the_clock_has_come_to() -> None:
    left = Acting(lambda task: task.stop(now=True))
    assert left.lines == ["B opened 100 @m0", "C scheduled 95 @m0"]
    assert left.asked[-1] == "A6"
    assert {leg.account_terms.end for leg in left.result.legs.values()} == {ORIGIN + 7 * MINUTE}


def while_it_holds(act: Callable[[], None]) -> None:
    """Acts once the loop has been let in twice: the first time is when the leg that paused reports its progress."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, act)


def test_a_pause_holds_the_clock_of_all_legs_and_changes_nothing() -> None:
    def pause(task: PortfolioTask) -> None:
        task.pause()
        while_it_holds(lambda: resume(task))

    def resume(task: PortfolioTask) -> None:
        paused_at.append(task.paused)
        task.resume()

    paused_at: list[bool] = []
    paused, plain = Acting(pause), Acting(lambda _: None)
    assert paused_at == [True]
    assert (paused.lines, paused.asked) == (plain.lines, plain.asked)
    assert paused.result.warnings == [
        "new entries were paused at 2024-01-01 00:06 UTC and resumed there: no question was left out"
    ]
    assert plain.result.warnings == []


def test_a_paused_portfolio_can_be_stopped() -> None:
    def pause(task: PortfolioTask) -> None:
        task.pause()
        while_it_holds(task.stop)

    stopped = Acting(pause)
    assert stopped.asked[-1] == "A6"
    assert stopped.result.warnings == ["new entries were paused at 2024-01-01 00:06 UTC and stopped there"]


def test_an_interrupt_ends_the_portfolio_with_what_there_is() -> None:
    def get_signal(ctx: Any) -> Any:
        if minute_of(ctx) == 6 and ctx.symbol == "A":
            assert waiting.wait(20.0)
            _thread.interrupt_main()
            assert stopping.wait(20.0)
        return None

    bknb.add_strategy("interrupted", interval="1m", get_signal=get_signal)
    waiting, stopping = threading.Event(), threading.Event()

    class Noted(PortfolioTask):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.set()
            return super().wait(timeout)

        def stop(self, *, now: bool = False) -> None:
            super().stop(now=now)
            stopping.set()

    plans = plan_portfolio(symbols=["A", "B"], strategies=["interrupted"], exchange=market(), frame=FRAME).plans
    result = Noted("interrupted", plans).start().wait_or_stop()
    assert result.stopped
    assert {leg.account_terms.end for leg in result.legs.values()} == {ORIGIN + 7 * MINUTE}


def test_leaving_the_loop_over_its_trades_stops_it() -> None:
    strategy_of("one", {0: long(110, 90, 2), 4: long(110, 90, 2)}, risk=None)

    async def first() -> str:
        async for trade in bknb.Portfolio.run(symbols=["A", "B"], strategies=["one"], exchange=market(), frame=FRAME,
                                              name="left"):  # fmt: skip
            return trade.symbol
        return ""

    assert asyncio.run(first()) == "A"
    assert bknb.Portfolio.get_data("left").name == "left"


# --- legs of any kind -------------------------------------------------------------------------------------------------


def test_legs_over_bars_of_another_length_meet_at_their_boundaries() -> None:
    """B's bar of five minutes is known at its close: what ended in it is free from then on, and it sees its start."""
    limit_of(1)
    by_minute = strategy_of("by minute", {k: {"A": long(110, 90, 2)} for k in (4, 9, 10)})
    bknb.add_strategy("by five", interval="5m", risk="shared",
                      get_signal=lambda ctx: long(102, 90, 30) if minute_of(ctx) == 5 else None)  # fmt: skip
    reached = {7: (100.0, 103.0, 100.0, 100.0)}
    told = lines(play([("A", by_minute), ("B", "by five")], market(reached), base={"A": "1m", "B": "5m"}))
    assert told == [
        "A opened 100 @m4",
        "B refused @m5",
        "A closed time_expired 100 @m6",
        "A opened 100 @m9",
        "A closed time_expired 100 @m11",
    ]
    again = strategy_of("again", {k: {"A": long(110, 90, 2)} for k in (8, 9, 10)})
    told = lines(play([("A", again), ("B", "by five")], market(reached), base={"A": "1m", "B": "5m"}))
    assert told == [
        "A refused @m8",
        "A refused @m9",
        "B opened 100 @m5",
        "B closed take_profit 102 @m5",
        "A opened 100 @m10",
        "A closed time_expired 100 @m12",
    ]


def test_legs_with_other_hours_share_one_clock() -> None:
    """B trades from 00:10 to 00:20: it is asked then alone, and what leaves at 00:25 holds its place until it can."""
    limit_of(1)
    day = 1440
    a, b = long(110, 90, 2), long(110, 90, 10)
    one = strategy_of("one", {0: {"A": a, "B": b}, 14: {"A": a, "B": b}, 15: {"B": b}, 18: {"B": b}, 26: {"A": a},
                              day + 10: {"A": a}, day + 11: {"A": a}})  # fmt: skip
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "00:10-00:20"})
    of_b = [(ORIGIN + k * MINUTE, *FLAT, 1.0) for k in range(-day, 2 * day) if 10 <= k % day < 20]
    exchange = {"A": market(last=day + 60), "B": bknb.exchanges.in_sessions(source(of_b), hours)}
    end = ORIGIN + (day + 30) * MINUTE
    told = lines(play([("A", one), ("B", one)], exchange, frame=(ORIGIN, end)))
    assert told == [
        "A opened 100 @m0",
        "A closed time_expired 100 @m2",
        "A opened 100 @m14",
        "B refused @m15",
        "A closed time_expired 100 @m16",
        "B opened 100 @m18",
        "A refused @m26",
        f"A refused @m{day + 10}",
        f"B closed time_expired 100 @m{day + 10}",
        f"A opened 100 @m{day + 11}",
        f"A closed time_expired 100 @m{day + 13}",
    ]


def test_a_leg_without_its_candles_ends_the_portfolio_before_anything_is_asked() -> None:
    asked: list[str] = []
    bknb.add_strategy("asked", interval="1m", get_signal=lambda ctx: asked.append(ctx.symbol))
    holed = source([(ORIGIN + k * MINUTE, *FLAT, 1.0) for k in range(-60, 41) if not 10 <= k < 15])
    legs = [("A", "asked"), ("B", "asked")]
    with pytest.raises(bknb.GapError) as raised:
        play(legs, {"A": market(), "B": holed})
    assert asked == []
    assert raised.value.__notes__ == ["in the leg asked on B of a portfolio"]
    play(legs, {"A": market(), "B": holed}, allow_gaps=True)
    assert len(asked) > 40


def test_a_leg_whose_data_ends_early_gives_its_place_back_and_the_others_go_on() -> None:
    limit_of(1)
    one = strategy_of("one", {0: {"A": long(110, 90, 25)}, 10: {"B": long(110, 90, 2)}, 11: {"B": long(110, 90, 2)}})
    result = play([("A", one), ("B", one)], {"A": market(last=9), "B": market()})
    assert lines(result) == ["A opened 100 @m0", "B refused @m10", "A closed data_end 100 @m9", "B opened 100 @m11",
                             "B closed time_expired 100 @m13"]  # fmt: skip
    assert any(text.startswith("one on A: the data of A on frame ended at") for text in result.warnings)


def test_what_was_left_out_of_closed_hours_is_counted_once_for_all_legs_of_a_symbol() -> None:
    """All legs of a symbol have the same candles in memory, which the first of them loads."""
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-00:10, 00:15-24:00"})
    exchange = bknb.exchanges.in_sessions(market(), hours)
    legs = [("A", strategy_of(name, {}, risk=None)) for name in ("one", "two")]
    [alone] = play(legs[:1], exchange).warnings
    assert alone.endswith("outside the trading sessions: 5 candles, the first at 2024-01-01 00:10 UTC")
    assert play(legs, exchange).warnings == [alone, alone.replace("one on A", "two on A")]


def test_a_strategy_that_raises_is_counted_in_its_leg_and_the_others_go_on() -> None:
    def broken(ctx: Any) -> Any:
        raise ValueError("torn")

    bknb.add_strategy("broken", interval="1m", get_signal=broken)
    one = strategy_of("one", {0: long(110, 90, 2)}, risk=None)
    result = play([("A", "broken"), ("A", one)], market())
    assert [failure.count for failure in result.leg("A", "broken").errors] == [END]
    assert len(result.leg("A", "one").trades) == 1
    assert "broken on A: strategy: ValueError: torn" in repr(result)
    assert result.to_pandas()["failures"].tolist() == [END, 0]


def test_legs_are_asked_moment_by_moment_in_declared_order() -> None:
    asked: list[tuple[int, str, str]] = []

    def asking(name: str, interval: str, answers: Answers) -> str:
        def get_signal(ctx: Any) -> Any:
            asked.append((minute_of(ctx), name, ctx.symbol))
            return answers.get(minute_of(ctx))

        bknb.add_strategy(name, interval=interval, get_signal=get_signal)
        return name

    slow, quick = asking("slow", "5m", {}), asking("quick", "1m", {7: long(110, 90, 3)})
    legs, size = [("A", quick), ("B", slow), ("B", quick), ("A", slow)], 600  # so long that the clock asks itself
    bknb.portfolio(legs=legs, exchange=market(last=size + 10), frame=(ORIGIN, ORIGIN + size * MINUTE))
    assert asked == [  # at 8 and 9 both positions of the quick strategy are open
        (minute, name, symbol)
        for minute in range(size)
        for symbol, name in legs
        if (minute % 5 == 0 if name == "slow" else minute not in (8, 9))
    ]


def test_what_a_leg_raises_at_its_start_ends_the_portfolio() -> None:
    def torn(candles: Any) -> Any:
        raise RuntimeError("torn")

    bknb.add_strategy("torn", interval="1m", get_signals=torn)
    one = strategy_of("one", {0: long(110, 90, 2)}, risk=None)
    with pytest.raises(bknb.StrategyError, match="torn") as raised:
        play([("A", one), ("B", "torn"), ("C", one)], market())
    assert raised.value.__notes__ == ["in the leg torn on B of a portfolio"]
    with pytest.raises(bknb.StrategyError, match="torn"):
        bknb.Portfolio.get_data()


def test_rows_of_vectorised_strategies_are_legs_too() -> None:
    def get_signals(candles: Any) -> Any:
        return {"position": candles.close > 0, "price_take_profit": candles.close * 1.05,
                "price_stop_loss": candles.close * 0.9, "minute_estimated_time": 3}  # fmt: skip

    limit_of(1)
    bknb.add_strategy("rows", interval="1m", get_signals=get_signals, risk="shared")
    told = lines(play([("A", "rows"), ("B", "rows")], market()))
    assert told[:4] == ["B refused @m0", "A opened 100 @m0", "B refused @m1", "B refused @m2"]
    assert "A closed time_expired 100 @m3" in told


def test_candles_that_a_question_makes_anew_are_held_once() -> None:
    """The first question wants earlier minutes than the run began with: those it began with are let go."""
    known: dict[str, weakref.ref[Any]] = {}
    gone: list[bool] = []

    def get_signal(ctx: Any) -> Any:
        window = task.runs[ctx.symbol].window
        if ctx.symbol not in known:
            known[ctx.symbol] = weakref.ref(window.minutes(ctx.symbol).candles.block)
            ctx.candles("1m", 40)
        elif minute_of(ctx) == 6:
            gc.collect()
            gone.append(known[ctx.symbol]() is None)
        return long(110, 90, 3) if minute_of(ctx) == 0 and ctx.symbol == "A" else None

    class Noted(PortfolioTask):
        @property
        def runs(self) -> dict[str, Any]:
            return {leg.plan.symbol: leg for leg in self._run.legs}

    bknb.add_strategy("looks back", interval="1m", get_signal=get_signal)
    plans = plan_portfolio(symbols=["A", "B"], strategies=["looks back"], exchange=market(), frame=FRAME).plans
    task = Noted("looks back", plans)
    assert len(task.start().result().trades) == 1
    assert gone == [True, True]


def test_while_a_strategy_awaits_no_other_leg_goes() -> None:
    async def slow(ctx: Any) -> Any:
        order.append(f"{ctx.symbol}{minute_of(ctx)}")
        await asyncio.sleep(0)
        order.append(f"{ctx.symbol}{minute_of(ctx)} done")
        return long(110, 90, 2) if minute_of(ctx) == 0 else None

    order: list[str] = []
    bknb.add_strategy("slow", interval="1m", get_signal=slow)
    result = play([("A", "slow"), ("B", "slow")], market())
    assert order[:4] == ["A0", "A0 done", "B0", "B0 done"]
    assert not [pair for pair in pairwise(order) if not pair[0].endswith("done") and not pair[1].endswith("done")]
    assert len(result.leg("A").trades) == len(result.leg("B").trades) == 1


@pytest.mark.slow
def test_a_question_that_takes_too_long_is_left_out_and_the_portfolio_goes_on() -> None:
    async def slow(ctx: Any) -> Any:
        if minute_of(ctx) == 5 and ctx.symbol == "A":
            await asyncio.sleep(60)
        return long(110, 90, 2) if minute_of(ctx) == 6 else None

    bknb.add_strategy("slow", interval="1m", get_signal=slow)
    settings = {"max_signal_generation_seconds": 1, "percent_fee": 0.0, "percent_slippage": 0.0}
    result = play([("A", "slow"), ("B", "slow")], market(), settings=settings)
    assert [failure.kind for failure in result.leg("A").errors] == ["timeout"]
    assert result.leg("B").errors == []
    assert [len(leg.trades) for leg in result.legs.values()] == [1, 1]


def test_callbacks_and_listeners_hear_all_legs_in_the_order_of_the_clock() -> None:
    called: list[tuple[str, str]] = []
    heard: list[tuple[str, str]] = []
    bknb.add_strategy("called", interval="1m", get_signal=lambda ctx: long(110, 90, 2) if minute_of(ctx) == 0 else None,
                      callbacks={"on_open": lambda event: called.append((event.symbol, "opened")),
                                 "on_close": lambda event: called.append((event.symbol, "closed"))})  # fmt: skip
    undo = bknb.listen_signal(lambda event: heard.append((event.symbol, event.action)))
    result = play([("B", "called"), ("A", "called")], market())
    drain(timeout=10.0)
    undo()
    assert called == [("B", "opened"), ("A", "opened"), ("B", "closed"), ("A", "closed")]
    assert [each for each in heard if each[1] in ("opened", "closed")] == called
    assert [(event.symbol, event.action) for event in result.events] == called


# --- what a user has of it --------------------------------------------------------------------------------------------


def some() -> bknb.PortfolioResult:
    limit_of(1)
    one = strategy_of("one", {0: long(110, 90, 2), 3: {"B": long(110, 90, 2)}, 7: {"A": long(110, 90, 2, at=95.0)}})
    return play([("A", one), ("B", one)], market(), name="some")


def test_tables_hold_all_legs_in_order() -> None:
    result = some()
    assert result.trades["leg"].tolist() == ["one on A", "one on B"]
    assert result.trades.drop(columns="leg").iloc[:1].equals(result.leg("A").trades)
    assert result.cancelled["leg"].tolist() == ["one on A"]
    assert [event.symbol for event in result.refused] == ["B"]
    assert result.to_pandas().loc[("B", "one"), ["trades", "refused"]].tolist() == [1, 1]
    assert result.legs["A", "one"] is result.leg("A", "one") is result.leg("A")
    assert (result.start, result.end, result.stopped) == (*FRAME, False)


def test_its_text_and_report_name_the_legs_and_what_was_refused() -> None:
    result = some()
    assert repr(result).splitlines()[0] == "portfolio some, 2 legs, 2024-01-01 00:00 to 2024-01-01 00:30 UTC"
    assert "  one on B: 1 trade, account 0.00 %, 1 refused\n" in repr(result)
    assert "  refused   1 x shared: places refused\n" in repr(result)
    report = bknb.Portfolio.get_report("some")
    assert report == result.report()
    assert "| B | one | 1 |" in report
    assert "## Refused by a risk profile\n\n- 1 x shared: places refused" in report
    assert "one" in result._repr_html_()


def test_earlier_portfolios_are_found_by_name(tmp_path: Path) -> None:
    result = some()
    assert bknb.Portfolio.get_data("some") is result
    assert [task.strategy for task in bknb.Portfolio.list()] == ["some"]
    assert bknb.Portfolio.dump("some", tmp_path).name == "some.md"
    bknb.Portfolio.stop("some")
    with pytest.raises(bknb.UnknownName, match="no portfolio is called 'other'"):
        bknb.Portfolio.get_data("other")
    task = bknb.Portfolio.background(symbols=["A"], strategies=[strategy_of("one", {})], exchange=market(), frame=FRAME)
    assert task.result().name == "portfolio"
    assert (task.symbol, task.progress, task.status) == ("A", 1.0, "fulfilled")
    assert task.trades_so_far == []
    assert task.events_so_far == []
    assert repr(task) == "<portfolio 'portfolio' of 1 leg: fulfilled, 100%>"


def test_no_card_is_made_of_a_leg_that_shared_its_profile() -> None:
    with pytest.raises(bknb.UsageError, match=r"the leg one on A shared the risk profile 'shared' with others"):
        _ = some().leg("A").card
    alone = play([("A", "one")], market())
    assert bknb.verify(alone.leg("A"), exchange=market(), frame=FRAME).same_outcome


@pytest.mark.slow
def test_a_portfolio_whose_candles_were_released_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, "limit", 0)
    limit_of(1)
    bknb.add_strategy("first come", interval="1h", risk="shared",
                      get_signal=lambda price: long(price * 1.02, price * 0.98, 50))  # fmt: skip
    call: dict[str, Any] = {"strategies": ["first come"], "exchange": "demo", "frame": "2024-01-01:2024-01-03"}
    report = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], name="first", **call).report()
    bknb.portfolio(symbols=["SOLUSDT"], name="second", **call)
    again = bknb.Portfolio.get_data("first")
    assert bknb.Portfolio.list()[0].plans[0].symbol == "BTCUSDT"
    assert again.report() == report
    assert len(again.leg("ETHUSDT").candles) == 2 * 1440 + 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "symbols must be a list, at least one, got None"),
    ({"symbols": "A", "strategies": ["one"]}, "symbols must be a list, at least one, got 'A'"),
    ({"symbols": ["A"], "strategies": []}, "strategies must be a list, at least one"),
    ({"symbols": ["A"], "strategies": ["one"], "legs": [("A", "one")]}, "give symbols and strategies, or legs"),
    ({"legs": [("A", "one", 1)]}, "legs must be pairs"),
    ({"legs": "A"}, "legs must be pairs"),
    ({"legs": []}, "legs must be pairs"),
    ({"legs": [("A", "one"), ("A", "one")]}, "two legs are one on A"),
    ({"legs": [("A", "one")], "priority": "size"}, "priority must be 'declared'"),
    ({"legs": [("A", "one")], "name": ""}, "the name of a portfolio must be a non-empty text"),
    ({"legs": [("A", "one")], "exchange": {"B": "demo"}}, "exchange is a mapping by symbol and has no 'A': it has 'B'"),
    ({"legs": [("A", "one")], "exchange": {}}, "exchange is a mapping by symbol and has no 'A': it is empty"),
    ({"legs": [("A", "one")], "base": {"B": "1m"}}, "base is a mapping by symbol and has no 'A'"),
    ({"legs": [(3, "one")]}, "symbol must be a non-empty text"),
    ({"legs": [("A", "nobody")]}, "no strategy is called 'nobody'"),
    ({"legs": [("A", lambda: None), ("A", lambda: 1)]}, "two legs are <lambda> on A"),
]


@pytest.mark.parametrize(("call", "says"), WRONG, ids=range(len(WRONG)))
def test_wrong_use_is_told(call: dict[str, Any], says: str) -> None:
    strategy_of("one", {}, risk=None)
    with pytest.raises(bknb.BknbError) as raised:
        bknb.portfolio(**{"exchange": market(), "frame": FRAME} | call)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({}, "symbols must be a list, at least one, got None"),
        ({"legs": [("A", "one")]}, "exchange"),
        ({"legs": [("A", "one")], "exchange": "demo"}, "frame"),
    ],
)
def test_what_is_missing_for_one_in_the_background_is_told(call: dict[str, Any], says: str) -> None:
    strategy_of("one", {}, risk=None)

    async def followed() -> None:
        async for _ in bknb.Portfolio.run(**call):
            pass

    for begin in (lambda: bknb.Portfolio.background(**call), lambda: asyncio.run(followed())):
        with pytest.raises(bknb.UsageError, match=says) as raised:
            begin()
        assert "plan_portfolio" not in str(raised.value)


def test_one_in_the_background_is_the_one_that_runs_where_all_that_was_asked_is_the_same() -> None:
    gate = threading.Event()

    def waits() -> None:
        assert gate.wait(20)

    bknb.add_strategy("waits", interval="1m", get_signal=waits)
    bknb.add_exchange("own", get_candles=market())
    call: dict[str, Any] = {"legs": [("A", "waits")], "exchange": "own", "frame": FRAME, "capital": 100}
    first = bknb.Portfolio.background(**call)
    assert bknb.Portfolio.background(**call) is first
    others = [bknb.Portfolio.background(**call | more) for more in ({"priority": "score"}, {"benchmark": "equal"})]
    assert len({id(task) for task in (first, *others)}) == 3
    gate.set()
    assert all(task.result(20).name == "portfolio" for task in (first, *others))
