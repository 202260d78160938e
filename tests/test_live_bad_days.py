"""Minutes that do not come to a live run: what is waited for, what is told, and that every run ends."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from quick import first_quick, rest_long
from scenarios import MINUTE
from sleeping_clock import SleepingClock
from test_holes import asked_once, at, backtested, both, ends, flat, kinds, ranged
from worlds import MODELS

import bknb
from bknb.domain.signal_events import Closed
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.errors import StateError
from bknb.events.listen import drain
from bknb.live.runtime import RUNTIME
from bknb.market.patience_for_missing_candles import Awaited
from bknb.market.sessions import Sessions
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

Rows = list[tuple[float, ...]]
LEVELS: dict[str, Any] = {"price_take_profit": 150.0, "price_stop_loss": 98.0}


def steps(*ranges: tuple[int, int, float]) -> Rows:
    """Flat minutes at the price of each range."""
    return [row for first, end, price in ranges for row in flat((first, end), price=price)]


def closed_by(clock: SimulatedClock, rows: Rows, *, missing: Callable[[int, int], bool] = lambda minute, now: False
              ) -> Any:  # fmt: skip
    """A source of the minutes that have closed, without those that are ``missing(minute, now)``; both in minutes."""

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Rows:
        now = clock.now()
        there = [row for row in rows if row[0] + MINUTE <= now and not missing(int(row[0] - at(0)) // MINUTE,
                                                                               int(now - at(0)) // MINUTE)]  # fmt: skip
        return ranged(there)(symbol, interval, since, limit)

    return get_candles


class Told:
    """What a listener of errors hears."""

    def __enter__(self) -> list[Any]:
        self.heard: list[Any] = []
        self._quiet = bknb.listen_error(self.heard.append)
        return self.heard

    def __exit__(self, *_: object) -> None:
        drain()
        self._quiet()


def run_live(get_candles: Any, signal: Any, clock: Any, *, until: int | None, interval: str = "1m", **options: Any
             ) -> Any:  # fmt: skip
    exchange = bknb.add_exchange("holed", get_candles=get_candles, intervals=["1m"])
    strategy = bknb.add_strategy("once", interval=interval, get_signal=signal,
                                 execution=options.pop("execution", "pessimistic"))  # fmt: skip
    return bknb.Live.background("X", strategy=strategy, exchange=exchange, clock=clock,
                                until=None if until is None else at(until),
                                **{"store": bknb.stores.memory(), **options})  # fmt: skip


def lived(get_candles: Any, signal: Any, clock: Any, **options: Any) -> bknb.Result:
    task = run_live(get_candles, signal, clock, **options)
    try:
        return task.result(timeout=20)
    finally:
        task.stop(now=True)


def minute_of(when: int) -> float:
    return (when - at(0)) / MINUTE


# --- a minute that never comes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", first_quick(MODELS))
def test_after_the_patience_the_watch_goes_on_as_a_backtest_with_gaps_does(model: str) -> None:
    rows, clock = steps((-10, 50, 100.0), (50, 200, 90.0)), SimulatedClock(at(10))
    source = closed_by(clock, rows, missing=lambda minute, now: minute == 40)
    with Told() as heard:
        result = lived(source, asked_once(20, **LEVELS), clock, until=120, execution=model)
    holed = bknb.add_exchange("holed", get_candles=ranged([row for row in rows if row[0] != at(40)]), intervals=["1m"])
    plan = plan_backtest("X", strategy="once", exchange=holed, frame=(at(10), at(120)), allow_gaps=True)
    again = BacktestRun(plan, late=result.run_record.records.late)
    asyncio.run(again.through())
    assert [event.when for event in result.events] == [event.when for event in again.records.events]
    assert ends(result)[0].startswith("stop_loss 100")
    assert result.run_record.records.holes == [(at(40), at(41))]
    (hole,) = [event for event in heard if event.kind == "hole"]
    assert hole.message.startswith("1 minute of X is missing: 2024-01-01 00:40 UTC\n'holed' did not answer")
    assert kinds(result) <= {"hole", "late"}


def test_a_minute_that_comes_within_the_patience_is_waited_for_and_leaves_no_trace() -> None:
    rows, clock = steps((-10, 40, 100.0), (40, 41, 90.0), (41, 200, 100.0)), SimulatedClock(at(10))
    source = closed_by(clock, rows, missing=lambda minute, now: minute == 40 and now < 48)
    result = lived(source, asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == ["stop_loss 100 90 @40"]
    assert (result.errors, result.run_record.records.holes) == ([], [])


@pytest.mark.parametrize(
    ("comes", "allow_gaps", "first"), [(12, False, (10, 12)), (99, False, (11, 21)), (12, True, (11, 11))]
)
def test_the_first_question_of_a_run_waits_for_the_minute_before_it(
    comes: int,
    allow_gaps: bool,  # noqa: FBT001 -- a table's column
    first: tuple[int, int],
) -> None:
    """``first`` is its moment, and when it is asked; where the minute does not come, a backtest has no such moment."""
    clock, asked = SimulatedClock(at(10)), list[tuple[float, float]]()

    def get_signal(ctx: bknb.Context) -> bknb.Signal | None:
        asked.append((minute_of(ctx.when_ms), minute_of(clock.now()) // 1))
        return bknb.Signal(position="long", **LEVELS, minute_estimated_time=300)

    source = closed_by(clock, steps((-10, 200, 100.0)), missing=lambda minute, now: minute == 9 and now < comes)
    result = lived(source, get_signal, clock, until=40, allow_gaps=allow_gaps)
    assert asked == [first]
    assert len(result.run_record.records.late) == (first[0] < first[1])
    assert result.run_record.records.holes == []


@pytest.mark.slow
@pytest.mark.parametrize("others", [(), (58,)])
def test_a_minute_that_came_while_the_machine_slept_is_asked_for_before_the_watch_goes_on(others: tuple[int, ...]
                                                                                          ) -> None:  # fmt: skip
    rows = steps((-10, 40, 100.0), (40, 41, 90.0), (41, 200, 100.0))
    clock = SleepingClock(at(10), sleeps=at(43), wakes=at(60))
    source = closed_by(clock, rows, missing=lambda minute, now: (minute == 40 and now < 45) or minute in others)
    result = lived(source, asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == ["stop_loss 100 90 @40"]
    assert result.run_record.records.holes == [(at(minute), at(minute + 1)) for minute in others]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("silent_until", "hole", "fault"), [(61, [], "silent"), (61, [], "raises"), (200, [40], "silent")]
)
def test_an_answer_of_nothing_is_no_hole_until_the_patience_is_over_twice(
    silent_until: int, hole: list[int], fault: str
) -> None:
    rows = steps((-10, 40, 100.0), (40, 41, 90.0), (41, 200, 100.0))
    clock = SleepingClock(at(10), sleeps=at(43), wakes=at(60))
    good = closed_by(clock, rows, missing=lambda minute, now: minute == 40 and now < 45)
    times: list[float] = []

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if since == at(39) and clock.now() > at(42):  # the minute before the hole, the hole, and what is behind it
            times.append(minute_of(clock.now()))
            if at(60) <= clock.now() < at(silent_until):
                return raising() if fault == "raises" else []
            return good(symbol, interval, since, limit)
        answer = good(symbol, interval, since, limit)
        return [row for row in answer if row[0] != at(40)]

    result = lived(get_candles, asked_once(20, **LEVELS), clock, until=120, settings={"get_candles_retry_count": 1})
    assert ends(result) == ([] if hole else ["stop_loss 100 90 @40"])
    assert result.run_record.records.holes == [(at(minute), at(minute + 1)) for minute in hole]
    assert max(times) < 64


@pytest.mark.slow
def test_a_hole_without_an_answer_holds_what_is_behind_it_although_a_later_one_is_waited_for() -> None:
    clock, seen, own = SimulatedClock(at(30)), [], []
    rows = flat((-10, 200))
    good = closed_by(clock, rows, missing=lambda minute, now: minute in (40, 48, 60) and (minute != 48 or now < 56))

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if since == at(47) and at(56) <= clock.now() < at(62):
            own.append(minute_of(clock.now()))
        if since == at(39) and clock.now() > at(42.5):  # the hole at 40 alone
            raising()
        return good(symbol, interval, since, limit)

    def get_signal(ctx: Any) -> None:
        seen.append((minute_of(ctx.when_ms), minute_of(clock.now())))

    result = lived(get_candles, get_signal, clock, until=90, settings={"get_candles_retry_count": 1})
    assert next(each for each in seen if each[0] > 40) == (42, 62)  # 20 minutes after the minute behind it closed
    assert result.run_record.records.holes == [(at(minute), at(minute + 1)) for minute in (40, 60)]
    assert own == [56]  # the later hole is asked for on its own
    hole = next(failure for failure in result.errors if failure.kind == "hole")
    assert "did not answer it within 20 minutes" in hole.message


def test_only_what_stays_missing_is_a_hole() -> None:
    rows, clock = flat((-10, 200)), SimulatedClock(at(10))
    source = closed_by(clock, rows, missing=lambda minute, now: minute == 40 or (minute in (41, 60) and now < 45))
    result = lived(source, asked_once(20), clock, until=120)
    assert result.run_record.records.holes == [(at(40), at(41))]


def test_several_holes_are_waited_for_at_the_same_time_and_told_once_with_a_count() -> None:
    asked: list[tuple[float, float]] = []
    clock = SimulatedClock(at(39))
    source = closed_by(clock, flat((-10, 200)), missing=lambda minute, now: minute in (40, 42, 44, 46))

    def get_signal(ctx: Any) -> None:
        asked.append((minute_of(ctx.when_ms), minute_of(clock.now())))

    with Told() as heard:
        result = lived(source, get_signal, clock, until=59)
    assert max(now - when for when, now in asked) <= 12
    assert len(result.run_record.records.holes) == 4
    assert [(failure.kind, failure.count) for failure in result.errors] == [("hole", 4)]
    assert len(heard) == 1


def test_with_gaps_allowed_a_hole_is_not_waited_for_and_is_in_the_record_alone() -> None:
    clock = SimulatedClock(at(10))
    source = closed_by(clock, flat((-10, 200)), missing=lambda minute, now: minute == 40)
    result = lived(source, asked_once(20, minute_estimated_time=20), clock, until=42, allow_gaps=True)
    assert (result.errors, result.run_record.records.holes) == ([], [(at(40), at(41))])


def test_closed_hours_are_no_hole_and_no_silence() -> None:
    hours = Sessions.weekly("UTC", {"mon-sun": "00:00-01:00, 01:15-12:00"})
    clock = SimulatedClock(at(55))
    rows = flat((-10, 60), (75, 300))
    source = bknb.exchanges.in_sessions(closed_by(clock, rows), hours)
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(56, minute_estimated_time=22))
    task = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=at(80),
                                store=bknb.stores.memory())  # fmt: skip
    result = task.result(timeout=20)
    assert ends(result) == ["time_expired 100 100 @78"]
    assert (result.errors, result.run_record.records.holes) == ([], [])


@pytest.mark.slow
def test_a_source_that_answers_longer_candles_is_still_refused() -> None:
    clock = SimulatedClock(at(600))
    result = lived(closed_by(clock, flat((0, 700))[::2]), lambda: None, clock, until=630)
    assert "got candles spaced 2m" in result.errors[0].message


@pytest.mark.slow
@pytest.mark.parametrize("allow_gaps", first_quick([True, False]))
def test_a_market_with_few_trades_is_watched(allow_gaps: bool) -> None:  # noqa: FBT001 -- a table's column
    clock, seen = SimulatedClock(at(4000)), []
    traded = np.random.default_rng(2).random(4100) < 0.1
    rows = [row for row, there in zip(flat((0, 4100)), traded, strict=True) if there]

    def get_signal(ctx: Any) -> None:
        seen.append(len(ctx.get_candles("X", "1m", 20)))

    result = lived(closed_by(clock, rows), get_signal, clock, until=4090, allow_gaps=allow_gaps)
    assert [failure.message for failure in result.errors if "spaced" in failure.message] == []
    assert seen == [20] * 10


def test_a_hole_in_candles_of_another_symbol_is_waited_for_before_a_strategy_sees_what_is_behind_it() -> None:
    clock, seen = SimulatedClock(at(30)), {}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        missing = (lambda minute, now: minute == 40 and now < 43) if symbol == "Y" else (lambda minute, now: False)
        return closed_by(clock, flat((-100, 200)), missing=missing)(symbol, interval, since, limit)

    def get_signal(ctx: Any) -> None:
        seen[minute_of(ctx.when_ms)] = len(ctx.get_candles("Y", "1m", 5)), len(ctx.get_candles("Y", "5m", 2))
        assert minute_of(int(ctx.get_candles("Y", "1m", 5).timestamp[0])) == minute_of(ctx.when_ms) - 5

    result = lived(get_candles, get_signal, clock, until=60)
    assert seen == {float(minute): (5, 2) for minute in range(30, 61)}
    assert {(failure.kind, failure.count) for failure in result.errors} == {("late", 1)}


def test_a_hole_that_was_waited_for_is_never_waited_for_again_however_many_there_are() -> None:
    holes = Awaited(10 * MINUTE)
    times = np.arange(3000) * 2 * MINUTE
    for newest in range(2, 3000):
        now = int(times[newest]) + MINUTE
        holes.first(times[newest - 1 : newest + 1], step=MINUTE, now=now)
        if newest > 300 and newest % 50 == 0:
            assert holes.first(times[newest - 200 : newest - 20], step=MINUTE, now=now) is None
    assert holes.first(times[-3:], step=MINUTE, now=int(times[-1]) + MINUTE) is not None


# --- candles that cannot be right -----------------------------------------------------------------------------------


def spoiled(clock: SimulatedClock, rows: Rows, bad: Callable[[Rows], Rows], *, until: int) -> Any:
    """A source whose answers are spoiled while the clock is before a minute."""
    good = closed_by(clock, rows)

    def get_candles(*asked: Any) -> Rows:
        return bad(good(*asked)) if clock.now() < at(until) else good(*asked)

    return get_candles


def nan_at_40(rows: Rows) -> Rows:
    return [(row[0], float("nan"), *row[2:]) if row[0] == at(40) else row for row in rows]


def twice_at_40(rows: Rows) -> Rows:
    return [copy for row in rows for copy in ((row, (*row[:5], 7.0)) if row[0] == at(40) else (row,))]


@pytest.mark.parametrize("bad", first_quick([nan_at_40, twice_at_40]))
def test_a_bad_candle_is_a_minute_that_has_not_come(bad: Callable[[Rows], Rows]) -> None:
    rows, clock = steps((-10, 50, 100.0), (50, 200, 90.0)), SimulatedClock(at(10))
    result = lived(spoiled(clock, rows, bad, until=1000), asked_once(20, **LEVELS), clock, until=120)
    assert ends(result)[0].startswith("stop_loss 100")
    assert result.run_record.records.holes == [(at(40), at(41))]
    (told,) = result.warnings
    assert told.startswith("left out until it is corrected: X 1m from 'holed': ")


def high_at_40(rows: Rows) -> Rows:
    return [(row[0], *(1e30,) * 4, row[5]) if row[0] == at(40) else row for row in rows]


def high_from_40_to_43(rows: Rows) -> Rows:
    return [(row[0], *(1e30,) * 4, row[5]) if at(40) <= row[0] < at(43) else row for row in rows]


def low_at_40(rows: Rows) -> Rows:
    return [(row[0], *(1e-9,) * 4, row[5]) if row[0] == at(40) else row for row in rows]


@pytest.mark.parametrize("bad", first_quick([high_at_40, high_from_40_to_43, low_at_40]))
def test_a_new_price_that_cannot_be_is_left_out(bad: Callable[[Rows], Rows]) -> None:
    rows, clock = steps((-10, 50, 100.0), (50, 200, 90.0)), SimulatedClock(at(10))
    result = lived(spoiled(clock, rows, bad, until=1000), asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == ["stop_loss 100 90 @50"]
    end = 43 if bad is high_from_40_to_43 else 41
    assert result.run_record.records.holes == [(at(40), at(end))]
    assert all(text.startswith("left out until it is corrected: X 1m from 'holed': ") for text in result.warnings)
    assert len(result.warnings) == end - 40


@pytest.mark.slow
@pytest.mark.parametrize("factor", first_quick([2000.0, 1 / 2000]))
def test_a_price_that_jumps_and_stays_there_is_believed_after_the_patience(factor: float) -> None:
    jumped = 100.0 * factor
    rows, clock = steps((-10, 40, 100.0), (40, 200, jumped)), SimulatedClock(at(10))
    result = lived(closed_by(clock, rows), asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == [f"{'take_profit' if factor > 1 else 'stop_loss'} 100 {jumped:g} @40"]
    assert result.run_record.records.holes == []
    assert clock.now() >= at(120)


@pytest.mark.slow
def test_wrong_prices_at_the_end_of_a_first_answer_are_left_out() -> None:
    rows, clock = steps((-10, 50, 100.0), (50, 200, 90.0)), SimulatedClock(at(10))

    def high_from_5_to_10(rows: Rows) -> Rows:
        return [(row[0], *(1e30,) * 4, row[5]) if at(5) <= row[0] < at(10) else row for row in rows]

    result = lived(spoiled(clock, rows, high_from_5_to_10, until=1000), asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == ["stop_loss 100 90 @50"]
    assert result.run_record.records.holes == []


def test_a_bad_candle_that_is_corrected_is_worked_on() -> None:
    rows, clock = steps((-10, 40, 100.0), (40, 41, 90.0), (41, 200, 100.0)), SimulatedClock(at(10))
    result = lived(spoiled(clock, rows, nan_at_40, until=45), asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == ["stop_loss 100 90 @40"]
    assert result.errors == []


def test_answers_of_bad_candles_alone_are_refused_at_once() -> None:
    clock = SimulatedClock(at(10))
    zeros = spoiled(clock, flat((-10, 200)), lambda rows: [(row[0], *(0.0,) * 5) for row in rows], until=1000)
    with Told() as heard:
        lived(zeros, lambda: None, clock, until=15)
    assert [event.kind for event in heard] == ["exchange"]
    assert "every price must be above 0" in heard[0].message


# --- nothing comes at all -----------------------------------------------------------------------------------------


def raising(*_: object) -> Any:
    raise ConnectionError("the line is dead")


@pytest.mark.parametrize("fault", first_quick(["empty", "raises", "stale"]))
def test_silence_is_told_once_and_the_run_ends_at_its_time(fault: str) -> None:
    clock, rows = SimulatedClock(at(10)), flat((-10, 200))
    good = closed_by(clock, rows, missing=lambda minute, now: minute >= 40)
    answers = {"empty": lambda *asked: [], "raises": raising, "stale": good}

    def get_candles(*asked: Any) -> Any:
        return (good if clock.now() < at(40) else answers[fault])(*asked)

    with Told() as heard:
        result = lived(get_candles, asked_once(20), clock, until=120,
                       settings={"get_candles_retry_count": 1})  # fmt: skip
    (silence,) = [event for event in heard if event.kind == "silence"]
    assert "no minute of X has come from 'holed' since 2024-01-01 00:" in silence.message
    assert "is not watched; the exchange is asked again" in silence.message
    assert len([event for event in heard if event.kind == "exchange"]) == (fault == "raises")
    assert {failure.count > 30 for failure in result.errors if failure.kind == "exchange"} <= {True}
    assert clock.now() <= at(122)
    assert ends(result) == []


def test_what_is_told_of_a_silence_names_the_stop_that_stays_at_the_broker() -> None:
    clock, rows = SimulatedClock(at(10)), flat((-10, 200))
    good = closed_by(clock, rows, missing=lambda minute, now: minute >= 40)
    both = bknb.brokers.Abilities(stop="market", move="amend", watch="both")
    broker = bknb.brokers.paper(market="spot", abilities=both)
    with Told() as heard:
        lived(good, asked_once(20, **LEVELS), clock, until=80, broker=broker, quantity=1.0)
    (silence,) = [event.message for event in heard if event.kind == "silence"]
    level = LEVELS["price_stop_loss"]
    assert silence.endswith(f"\nat paper there rest and stay: sell 1 at {level:g}")
    assert [order.kind for order in broker.orders.values() if order.working] == ["stop"]


@pytest.mark.slow
def test_what_was_missed_is_caught_up_when_the_exchange_answers_again() -> None:
    clock, rows = SimulatedClock(at(10)), steps((-10, 50, 100.0), (50, 200, 90.0))
    good = closed_by(clock, rows)

    def get_candles(*asked: Any) -> Any:
        return [] if at(40) <= clock.now() < at(70) else good(*asked)

    result = lived(get_candles, asked_once(20, **LEVELS), clock, until=120)
    assert ends(result) == ["stop_loss 100 90 @50"]
    assert [failure.kind for failure in result.errors] == ["silence"]
    assert result.warnings == ["no minute came from 2024-01-01 00:39 UTC until 2024-01-01 01:10 UTC"]


def dies(clock: SimulatedClock, good: Any, *, at_minute: int) -> Any:
    def get_candles(*asked: Any) -> Any:
        return (good if clock.now() < at(at_minute) else raising)(*asked)

    return get_candles


def test_an_exchange_that_dies_while_a_hole_is_waited_for_is_silent_and_stop_ends_the_run() -> None:
    clock, reached = SimulatedClock(at(10)), threading.Event()
    good = closed_by(clock, flat((-10, 600)), missing=lambda minute, now: minute == 38)
    dead = dies(clock, good, at_minute=43)

    def get_candles(*asked: Any) -> Any:
        if clock.now() > at(100):
            reached.set()
        return dead(*asked)

    with Told() as heard:
        task = run_live(get_candles, asked_once(20), clock, until=None, settings={"get_candles_retry_count": 1})
        assert reached.wait(20)
        assert task.facts["No minute since"] == "2024-01-01 00:38 UTC"
        task.stop()
        result = task.result(timeout=20)
    assert "the run was stopped and ends with something open" in result.warnings[-1]
    assert [event.kind for event in heard if event.kind == "silence"] == ["silence"] * 2


@pytest.mark.slow
def test_minutes_before_a_hole_are_worked_on_although_the_exchange_fails_when_it_is_asked_for_it_again() -> None:
    clock, rows = SimulatedClock(at(10)), steps((-10, 41, 100.0), (41, 42, 90.0), (42, 200, 100.0))
    good = closed_by(clock, rows, missing=lambda minute, now: minute == 43)

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if since == at(42):  # the minute before the hole
            raising()
        answer = good(symbol, interval, since, limit)
        return [] if at(40) <= clock.now() < at(45) else answer  # so that 40 to 44 come together

    result = lived(get_candles, asked_once(20, **LEVELS), clock, until=49, settings={"get_candles_retry_count": 1})
    assert ends(result) == ["stop_loss 100 90 @41"]
    assert {failure.kind for failure in result.errors} == {"exchange", "hole"}  # which is told at its end


# --- calls that do not come back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", first_quick(["thread", "awaits"]))
def test_a_call_that_hangs_is_given_up_told_and_made_again(how: str) -> None:
    clock, calls, never = SimulatedClock(at(10)), [0], threading.Event()
    good = closed_by(clock, flat((-10, 200)))

    def hangs() -> bool:
        calls[0] += 1
        return calls[0] == 12

    def blocks(*asked: Any) -> Any:
        if hangs():
            never.wait(60)
        return good(*asked)

    async def awaits(*asked: Any) -> Any:
        if hangs():
            await asyncio.Event().wait()
        return good(*asked)

    settings = {"get_candles_timeout_seconds": 1, "get_candles_retry_count": 1}
    with Told() as heard:
        result = lived(blocks if how == "thread" else awaits, asked_once(20, minute_estimated_time=20), clock, until=60,
                       settings=settings)  # fmt: skip
    never.set()
    assert ends(result) == ["time_expired 100 100 @40"]
    assert [failure.kind for failure in result.errors] == ["exchange"]
    assert "TimeoutError: it did not answer within 1 s" in heard[0].message


@pytest.mark.slow
def test_a_callback_that_never_returns_holds_up_the_watch_once() -> None:
    clock, calls = SimulatedClock(at(10)), []

    async def hangs(event: Any) -> None:
        calls.append(event.when)
        await asyncio.Event().wait()

    exchange = bknb.add_exchange("holed", get_candles=closed_by(clock, flat((-10, 200))), intervals=["1m"])
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(20, minute_estimated_time=60),
                                 callbacks={"on_active": hangs})  # fmt: skip
    task = bknb.Live.background("X", strategy=strategy, exchange=exchange, clock=clock, until=at(100),
                                store=bknb.stores.memory(), settings={"max_signal_generation_seconds": 1})  # fmt: skip
    result = task.result(timeout=20)
    assert ends(result) == ["time_expired 100 100 @80"]
    assert kinds(result) == {"callback"}
    assert len(calls) >= 9


@pytest.mark.slow
def test_a_manage_that_never_answers_is_abandoned_for_its_slot_and_the_position_is_watched_on() -> None:
    clock, calls = SimulatedClock(at(10)), []

    async def hangs(when: Any) -> None:
        calls.append(when)
        await asyncio.Event().wait()

    exchange = bknb.add_exchange("holed", get_candles=closed_by(clock, flat((-10, 200))), intervals=["1m"])
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(20, minute_estimated_time=60),
                                 manage=hangs, manage_interval="1h")  # fmt: skip
    task = bknb.Live.background("X", strategy=strategy, exchange=exchange, clock=clock, until=at(100),
                                store=bknb.stores.memory(), settings={"max_signal_generation_seconds": 1})  # fmt: skip
    result = task.result(timeout=20)
    assert ends(result) == ["time_expired 100 100 @80"]
    assert kinds(result) == {"timeout"}
    assert len(calls) == 1


@pytest.mark.slow
def test_a_watch_that_is_behind_its_candles_is_told_once() -> None:
    clock = SimulatedClock(at(10))

    def takes_three_minutes(event: Any) -> None:
        clock.advance(clock.now() + 3 * MINUTE)

    exchange = bknb.add_exchange("holed", get_candles=closed_by(clock, flat((-10, 400))), intervals=["1m"])
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(20, minute_estimated_time=60),
                                 callbacks={"on_active": takes_three_minutes})  # fmt: skip
    with Told() as heard:
        task = bknb.Live.background("X", strategy=strategy, exchange=exchange, clock=clock, until=at(300),
                                    store=bknb.stores.memory())  # fmt: skip
        result = task.result(timeout=20)
    assert [each.split()[0] for each in ends(result)] == ["time_expired"]
    (lag,) = [event for event in heard if event.kind == "lag"]
    assert "the watch of X is 11 minutes behind: its candles are here" in lag.message
    assert {error.kind for error in result.errors} == {"lag", "late"}


@pytest.mark.slow
def test_what_was_missed_is_no_watch_that_is_behind() -> None:
    clock = SimulatedClock(at(10))
    good = closed_by(clock, flat((-10, 200)))

    def get_candles(*asked: Any) -> Any:
        return [] if at(40) <= clock.now() < at(90) else good(*asked)

    assert kinds(lived(get_candles, asked_once(20, minute_estimated_time=150), clock, until=190)) == {"silence"}


@pytest.mark.parametrize("rows", [flat((-10, 7), (8, 200)), flat((8, 200))])
def test_no_candle_is_fetched_on_the_loop_of_the_live_runs(rows: Rows) -> None:
    clock, free = SimulatedClock(at(10)), []

    def get_candles(*asked: Any) -> Any:
        answers = threading.Event()
        RUNTIME.call(answers.set)
        free.append(all(free) and answers.wait(20))
        return closed_by(clock, rows)(*asked)

    lived(get_candles, lambda: None, clock, until=15)
    assert len(free) > 5
    assert all(free)


def test_what_fails_on_the_disk_in_two_ways_is_told_twice() -> None:
    clock = SimulatedClock(at(10))

    class Full(MemoryStore):
        def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
            if at(30) <= clock.now() < at(35):
                raise StateError("no room")
            if at(35) <= clock.now() < at(40):
                raise StateError("no disk")
            super().write(kind, key, payload)

    with Told() as heard:
        result = lived(closed_by(clock, flat((-10, 200))), asked_once(20), clock, until=60, store=Full())
    assert [event.message for event in heard if event.kind == "state"] == ["StateError: no room", "StateError: no disk"]
    assert result.end == at(60)


# --- a restart ----------------------------------------------------------------------------------------------------


def test_minutes_that_are_gone_after_a_restart_are_told_and_kept_in_the_record() -> None:
    store, rows = bknb.stores.memory(), steps((-10, 60, 100.0), (60, 100, 50.0), (100, 400, 100.0))
    clock = SimulatedClock(at(10))
    first = lived(closed_by(clock, rows), asked_once(20, **LEVELS), clock, until=30, store=store)
    assert ends(first) == []
    clock = SimulatedClock(at(200))
    only_newest = closed_by(clock, rows, missing=lambda minute, now: minute < now - 60)
    with Told() as heard:
        task = run_live(only_newest, asked_once(20), clock, until=250, store=store)
        again = task.result(timeout=20)
    (hole,) = [event for event in heard if event.kind == "hole"]
    assert "110 minutes of X are missing: 2024-01-01 00:31 UTC .. 2024-01-01 02:20 UTC" not in hole.message
    assert "minutes of X are missing: 2024-01-01 00:30 UTC .. " in hole.message
    (gone,) = again.run_record.records.holes
    assert gone[0] == at(30)
    assert (
        task.facts["Minutes that never came"]
        == f"{(gone[1] - gone[0]) // MINUTE}, the last before 2024-01-01 02:20 UTC"
    )
    third = lived(only_newest, asked_once(20), SimulatedClock(at(250)), until=251, store=store)
    assert third.run_record.records.holes == [gone]
    assert third.warnings[0].startswith("before this start the run went on without ")
    assert ends(again) == []


def test_minutes_that_the_source_has_after_a_restart_are_worked_on() -> None:
    store, rows = bknb.stores.memory(), steps((-10, 60, 100.0), (60, 100, 50.0), (100, 400, 100.0))
    clock = SimulatedClock(at(10))
    lived(closed_by(clock, rows), asked_once(20, **LEVELS), clock, until=30, store=store)
    clock = SimulatedClock(at(200))
    soon = closed_by(clock, rows, missing=lambda minute, now: now < 205 and minute < now - 60)
    again = lived(soon, asked_once(20), clock, until=250, store=store)
    assert ends(again) == ["stop_loss 100 50 @60"]
    assert (again.errors, again.run_record.records.holes) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_position_that_was_due_in_minutes_that_are_gone_ends_behind_them(model: str) -> None:
    store, rows, clock = bknb.stores.memory(), flat((-10, 400)), SimulatedClock(at(10))
    signal = asked_once(20, minute_estimated_time=30)
    lived(closed_by(clock, rows), signal, clock, until=30, store=store, execution=model)
    clock = SimulatedClock(at(200))
    only_newest = closed_by(clock, rows, missing=lambda minute, now: minute < now - 60)
    again = lived(only_newest, signal, clock, until=250, store=store, execution=model)
    assert [each.split()[0] for each in ends(again)] == ["time_expired"]
    assert "exchange" not in kinds(again)


def test_a_hole_at_the_front_of_one_run_does_not_hold_another_of_the_same_symbol() -> None:
    store, rows, clock = bknb.stores.memory(), flat((-10, 400)), SimulatedClock(at(10))
    lived(closed_by(clock, rows), asked_once(20), clock, until=30, store=store)
    clock, asked = SimulatedClock(at(200)), []
    source = closed_by(clock, rows, missing=lambda minute, now: minute < 150)

    def get_signal(ctx: Any) -> None:
        asked.append(minute_of(clock.now()) - minute_of(ctx.when_ms))

    exchange = bknb.add_exchange("holed", get_candles=source, intervals=["1m"])
    bknb.add_strategy("other", interval="1m", get_signal=get_signal)
    options: dict[str, Any] = {"exchange": exchange, "clock": clock, "until": at(230), "store": store}
    tasks = [bknb.Live.background("X", strategy=name, **options) for name in ("once", "other")]
    results = [task.result(timeout=20) for task in tasks]
    assert [kinds(result) for result in results] == [{"hole"}, set()]
    assert max(asked) < 5  # each of the two moves the clock


# --- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stopped_run_with_a_position_of_which_nothing_comes_ends_and_says_so() -> None:
    clock, store = SimulatedClock(at(10)), bknb.stores.memory()
    reached = threading.Event()

    def get_candles(*asked: Any) -> Any:
        if clock.now() > at(60):
            reached.set()
        return closed_by(clock, flat((-10, 40), (400, 500)))(*asked)

    with Told() as heard:
        task = run_live(get_candles, asked_once(20), clock, until=None, store=store)
        assert reached.wait(20)
        assert task.facts["No minute since"] == "2024-01-01 00:40 UTC"
        task.stop()
        result = task.result(timeout=20)
    assert result.stopped
    assert "the run was stopped and ends with something open" in result.warnings[-1]
    assert [event.kind for event in heard] == ["silence"] * 2
    assert "the next start of the run goes on from there" in heard[-1].message
    clock = SimulatedClock(at(450))
    again = lived(closed_by(clock, flat((-10, 40), (400, 500))), asked_once(20), clock, until=499, store=store,
                  allow_gaps=True)  # fmt: skip
    assert [each.split()[0] for each in ends(again)] == ["time_expired"]


@pytest.mark.parametrize("set_back", [0, 120])
def test_a_stopped_run_waits_for_its_broker_as_long_as_for_a_minute_and_says_what_is_left(set_back: int) -> None:
    """No candle comes behind the one that closes the record, and a broker on paper fills by candles."""
    back = [set_back] if set_back else []
    clock, broker, tasks = SimulatedClock(at(10)), bknb.brokers.paper(), []
    come = closed_by(clock, steps((-10, 40, 100.0), (40, 41, 90.0)))

    def get_candles(*asked: Any) -> Any:
        if tasks and at(30) <= clock.now() < at(31):
            tasks[0].stop()
        if back and clock.now() >= at(45):
            clock._now = at(45 - back.pop())
        return come(*asked)

    tasks.append(run_live(get_candles, asked_once(20, **LEVELS), clock, until=None, broker=broker, quantity=2.0))
    result = tasks[0].result(timeout=20)
    assert [each.split()[0] for each in ends(result)] == ["stop_loss"]
    assert broker.position("X") == 2.0
    waited = at(45 - set_back + 10) if set_back else at(51)
    assert waited <= clock.now() < waited + 2 * MINUTE
    assert "carried out what the record says: the order to close" in result.warnings[-1]
    assert "(sell 2 X, " in result.warnings[-1]


def test_a_waiting_entry_is_cancelled_by_stop_although_the_exchange_is_dead() -> None:
    clock, reached = SimulatedClock(at(10)), threading.Event()

    def get_candles(*asked: Any) -> Any:
        if clock.now() < at(40):
            return closed_by(clock, flat((-10, 40)))(*asked)
        reached.set()
        raise ConnectionError("the line is dead")

    task = run_live(get_candles, asked_once(20, price_open=95.0), clock, until=None,
                    settings={"get_candles_retry_count": 1})  # fmt: skip
    assert reached.wait(20)
    task.stop()
    result = task.result(timeout=20)
    assert result.cancelled["reason"].tolist() == ["stopped"]


# --- parity with holes --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_killed_before_and_behind_a_hole_goes_on_as_one_that_was_not() -> None:
    rows = steps((-10, 45, 100.0), (45, 200, 99.0))
    signal = asked_once(20, minute_estimated_time=40)

    def life(store: Any, first: int, until: int) -> bknb.Result:
        clock = SimulatedClock(at(first))
        source = closed_by(clock, rows, missing=lambda minute, now: minute in (40, 41))
        return lived(source, signal, clock, until=until, store=store)

    whole = life(bknb.stores.memory(), 10, 150)
    for split in (35, 41, 49):
        store = bknb.stores.memory()
        life(store, 10, split)
        again = life(store, split, 150)
        assert ends(again) == ends(whole)
        assert again.run_record.records.holes == [(at(40), at(42))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "ends_at"), rest_long([("pessimistic", (44,)), ("vwap", (43, 44, 46)), ("touch", (44,))], kept=2)
)
def test_a_run_that_begins_again_behind_a_hole_has_the_average_prices_of_one_that_went_on(
    model: str, ends_at: tuple[int, ...]
) -> None:
    seen: dict[int, tuple[float, list[int]]] = {}

    def life(signal: Any, store: Any, first: int, until: int) -> bknb.Result:
        def get_signal(ctx: Any) -> Any:
            seen[round(minute_of(ctx.when_ms))] = (ctx.price, ctx.candles("1m", 5).timestamp.tolist())
            return signal(ctx)

        clock = SimulatedClock(at(first))
        source = closed_by(clock, rows, missing=lambda minute, now: 30 <= minute < 42)
        return lived(source, get_signal, clock, until=until, store=store, execution=model)

    def prices(result: bknb.Result) -> list[tuple[float, float, float]]:
        return [(event.price_close, event.peak_percentage, event.trough_percentage) for event in result.events
                if isinstance(event, Closed)]  # fmt: skip

    for until, signal in itertools.product(ends_at, (asked_once(20, minute_estimated_time=60), asked_once(500))):
        rows = steps((-10, until, 100.0), (until, until + 1, 103.0), (until + 1, 200, 100.0))
        whole, asked = life(signal, bknb.stores.memory(), 10, 150), dict(seen)
        seen.clear()
        store = bknb.stores.memory()
        life(signal, store, 10, until)
        again = life(signal, store, 53, 150)  # the hole was waited for until then
        assert again.run_record.records.holes == whole.run_record.records.holes == [(at(30), at(42))]
        assert prices(again) == prices(whole)
        assert {when: seen.get(when) for when in asked if when > until} == {
            when: asked[when] for when in asked if when > until
        }
        assert kinds(again) == set()
        seen.clear()


@pytest.mark.parametrize("allow_gaps", [True, False])
def test_an_answer_of_nothing_does_not_put_old_candles_into_an_average_price(allow_gaps: bool) -> None:  # noqa: FBT001 -- a table's column
    clock, seen, silent = SimulatedClock(at(43)), [], [True]
    rows = steps((-1440, -390, 50.0), (-390, 200, 100.0))  # the earlier ones fill an answer
    good = closed_by(clock, rows, missing=lambda minute, now: 30 <= minute < 42)

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if at(-500) < since < at(0) and silent:
            silent.pop()
            return []
        return good(symbol, interval, since, limit)[:1_000]

    def get_signal(ctx: Any) -> None:
        seen.append((minute_of(ctx.when_ms), ctx.price))

    result = lived(get_candles, get_signal, clock, until=50, allow_gaps=allow_gaps)
    assert not silent
    assert {price for _, price in seen} == {100.0}
    assert [when for when, _ in seen] == [43.0, 44.0, 45.0, 46.0, 47.0, 48.0, 49.0, 50.0]
    assert kinds(result) <= {"exchange"}


def test_a_run_at_the_beginning_of_a_market_looks_for_candles_before_it_for_a_week_at_most() -> None:
    clock, asked = SimulatedClock(at(3)), []

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Rows:
        asked.append(since)
        return closed_by(clock, flat((0, 200)))(symbol, interval, since, limit)

    def get_signal(ctx: Any) -> None:
        ctx.candles("1m", 20)

    result = lived(get_candles, get_signal, clock, until=60)
    assert at(-8 * 1440) < min(asked) < at(-6 * 1440)
    assert len([since for since in asked if since < at(-10)]) < 8
    assert kinds(result) == {"warm-up"}


def test_a_symbol_listed_a_moment_ago_is_traded_where_a_source_answers_fewer_minutes_than_it_is_asked_for() -> None:
    clock, seen = SimulatedClock(at(3)), []

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Rows:
        return closed_by(clock, flat((0, 200)))(symbol, interval, since, min(limit, 100))

    def get_signal(ctx: Any) -> None:
        seen.append(minute_of(ctx.when_ms))

    result = lived(get_candles, get_signal, clock, until=20, settings={"get_candles_retry_delay_ms": 0})
    assert seen == [*range(3, 21)]
    assert kinds(result) == set()


@pytest.mark.slow
def test_both_of_a_backtest_and_a_live_run_with_gaps_allowed_are_the_same() -> None:
    rows = [row for row in steps((-10, 50, 100.0), (50, 200, 90.0)) if row[0] not in (at(48), at(51))]
    backtest, live = both(rows, asked_once(20, **LEVELS), first=10, last=120)
    assert ends(backtest) == ends(live)


# --- sources that answer few ----------------------------------------------------------------------------------------


def few(clock: SimulatedClock, rows: Rows, cap: int) -> Any:
    """A source that answers ``cap`` minutes from ``since`` on at most, whatever it is asked for."""
    good = closed_by(clock, rows)
    return lambda symbol, interval, since, limit: good(symbol, interval, since, min(limit, cap))


@pytest.mark.parametrize("allow_gaps", first_quick([True, False]))
@pytest.mark.parametrize("cap", first_quick([5, 1, 10]))
def test_what_is_behind_a_hole_is_found_of_a_source_that_answers_few(cap: int, *, allow_gaps: bool) -> None:
    rows, clock = steps((-10, 40, 100.0), (52, 200, 90.0)), SimulatedClock(at(36))
    signal, until = asked_once(37, **LEVELS), 56 if allow_gaps else 68
    result = lived(few(clock, rows, cap), signal, clock, until=until, allow_gaps=allow_gaps)
    assert ends(result) == ["stop_loss 100 90 @52"]
    assert result.run_record.records.holes == [(at(40), at(52))]
    assert kinds(result) == ({"silence"} if allow_gaps else {"silence", "hole"})
    source = few(SimulatedClock(at(200)), rows, cap)
    assert ends(backtested(rows, signal, first=36, last=until, exchange=source)) == ends(result)


@pytest.mark.slow
@pytest.mark.parametrize("split", [45, 56])
def test_a_run_killed_around_a_hole_of_a_source_that_answers_few_goes_on_as_one_that_was_not(split: int) -> None:
    rows = steps((-10, 40, 100.0), (55, 70, 99.0), (80, 200, 90.0))

    def life(store: Any, first: int, until: int) -> bknb.Result:
        clock = SimulatedClock(at(first))
        return lived(few(clock, rows, 5), asked_once(20, **LEVELS), clock, until=until, store=store)

    whole, store = life(bknb.stores.memory(), 10, 120), bknb.stores.memory()
    life(store, 10, split)
    again = life(store, split, 120)
    assert ends(again) == ends(whole) == ["stop_loss 100 90 @80"]
    assert again.run_record.records.holes == whole.run_record.records.holes == [(at(40), at(55)), (at(70), at(80))]
