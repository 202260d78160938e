"""Weights of several symbols that are held together or not at all: levels, halts, sessions, and a loop by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, source
from test_portfolio_weights import COSTS, DAY, END, FLAT, FRAME, FREE, market, play, reasons, traded
from weight_loop import WeightsHand
from worlds import SEEDS

import bknb


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
