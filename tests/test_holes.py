"""Missing minutes: nothing fills in a hole, nobody is asked in it, the clock goes on, what is behind it is found."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quick import each_once, first_quick, rest_long
from scenarios import MINUTE, ORIGIN, source
from sleeping_clock import SleepingClock
from worlds import MODELS, SEEDS, SETTINGS, signals

import bknb
from bknb.domain.interval import interval_ms
from bknb.domain.signal_events import Cancelled, Closed
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.errors import GapError
from bknb.market.candles import Candles
from bknb.market.resample import resample
from bknb.market.sessions import Sessions, as_sessions
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

DAY = 1440
HOURS = as_sessions("us-equities")
SHORT_HOURS = Sessions.weekly("Europe/Berlin", {"mon-fri": "09:00-09:40", "sun": "12:00-12:20"})


def at(minute: int) -> int:
    return ORIGIN + minute * MINUTE


def flat(*ranges: tuple[int, int], price: float = 100.0) -> list[tuple[float, ...]]:
    return [(at(k), price, price, price, price, 1.0) for first, end in ranges for k in range(first, end)]


def ranged(rows: list[tuple[float, ...]]) -> Any:
    """A function that answers the candles of the next ``limit`` minutes."""
    times = np.array([row[0] for row in rows])

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        first, end = np.searchsorted(times, [since, since + limit * MINUTE]).tolist()
        return rows[first:end]

    return get_candles


def asked_once(minute: int, **levels: float) -> Any:
    """A strategy that answers one long signal, at one moment."""

    def get_signal(ctx: Any) -> bknb.Signal | None:
        if ctx.when_ms != at(minute):
            return None
        given: dict[str, Any] = {"price_take_profit": 150.0, "price_stop_loss": 90.0, "minute_estimated_time": 300}
        return bknb.Signal(position="long", **(given | levels))

    return get_signal


WAITED = 10  # minutes that missing ones are waited for, and after which it is told that none comes


def is_silent(holes: Sequence[tuple[int, int]], *, until: int) -> bool:
    """Whether a hole is so long before the end of a run (UTC ms) that it is told meanwhile."""
    return any(min(end, until) - first >= WAITED * MINUTE for first, end in holes)


class NightClock(SimulatedClock):
    """A clock that passes the middle of long holes at once, for nothing comes there."""

    def __init__(self, start: int, holes: Sequence[tuple[int, int]]) -> None:
        super().__init__(start)
        self._nights = [(first + 2 * WAITED * MINUTE, end - 2 * WAITED * MINUTE) for first, end in holes]

    async def sleep_until(self, when: int) -> None:
        """Advance to ``when`` (UTC ms), or to the end of the night it is in."""
        await super().sleep_until(next((end for first, end in self._nights if first < when < end), when))


def both(
    rows: list[tuple[float, ...]], get_signal: Any, *, first: int, last: int, interval: str = "1m", **options: Any
) -> list[Any]:
    """The results of a backtest, and of a live run over the same minutes, holes allowed."""
    exchange = bknb.add_exchange("holed", get_candles=ranged(rows), intervals=["1m"])
    strategy = bknb.add_strategy("once", interval=interval, get_signal=get_signal)
    made = bknb.backtest("X", strategy=strategy, exchange=exchange, frame=(at(first), at(last)),
                         allow_gaps=True, **options)  # fmt: skip
    return [made, lived_through(strategy, exchange, first=first, last=last, **options)]


def lived_through(
    strategy: Any, exchange: Any, *, first: int, last: int, clock: Any = None, **options: Any
) -> bknb.Result:
    """The result of a live run over recorded minutes, holes allowed."""
    task = bknb.Live.background(
        "X",
        strategy=strategy,
        exchange=exchange,
        clock=clock or SimulatedClock(at(first)),
        until=at(last),
        **{"store": bknb.stores.memory(), "allow_gaps": True, **options},
    )
    try:
        return task.result(timeout=10)
    finally:
        task.stop(now=True)


def line(event: Any) -> str:
    """An ended signal in words: why, at which price, in which minute."""
    minute = (event.closed_at - ORIGIN) / MINUTE
    if isinstance(event, Closed):
        return f"{event.close_reason} {event.signal.price_open:g} {event.price_close:g} @{minute:g}"
    return f"cancelled {event.reason} @{minute:g}"


def ends(result: bknb.Result) -> list[str]:
    return [line(event) for event in result.events if isinstance(event, (Closed, Cancelled))]


def kinds(result: bknb.Result) -> set[str]:
    """What kinds of failures a run had."""
    return {failure.kind for failure in result.errors}


def ends_of(rows: list[tuple[float, ...]], get_signal: Any, *, first: int = 0, last: int, **options: Any) -> list[str]:
    return ends(backtested(rows, get_signal, first=first, last=last, **options))


def backtested(
    rows: list[tuple[float, ...]], get_signal: Any, *, first: int = 0, last: int, **options: Any
) -> bknb.Result:
    options = {"allow_gaps": True, "exchange": ranged(rows), **options}
    return bknb.backtest("X", strategy=get_signal, interval="1m", frame=(at(first), at(last)), **options)


# --- one hole -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_entry_decided_before_a_hole_fills_behind_it() -> None:
    rows = flat((0, 60)) + flat((120, 200), price=104.0)
    signal = asked_once(60, price_take_profit=103.0, price_stop_loss=98.0)
    for result in both(rows, signal, first=10, last=190):
        assert ends(result) == ["take_profit 104 104 @120"]


def test_what_the_clock_ends_in_a_hole_ends_at_its_moment() -> None:
    rows = flat((-10, 60)) + flat((300, 400), price=104.0)
    assert ends_of(rows, asked_once(30, minute_estimated_time=50), last=350) == ["time_expired 100 104 @300"]
    resting = asked_once(30, price_open=95.0, price_take_profit=150.0)
    assert ends_of(rows, resting, last=350, settings={"schedule_await_minutes": 100}) == ["cancelled timeout @130"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hole", "due"),
    [
        *first_quick([((30, 35), 32), ((30, 31), 30), ((25, 90), 40), ((30, 31), 40)]),
        *rest_long([((30, 35), 30), ((25, 90), 30), ((30, 31), 32), ((25, 90), 32), ((30, 35), 40)], kept=0),
        *rest_long(itertools.product([(30, 31), (30, 35), (25, 90)], [31, 34]), kept=0),
        *rest_long(itertools.product([(30, 32), (29, 33)], [30, 31, 32, 34, 40]), kept=0),
    ],
)
def test_what_the_clock_ends_in_a_hole_ends_live_as_in_a_backtest(hole: tuple[int, int], due: int) -> None:
    rows = [(at(k), *(4 * (100 + k / 100,)), 1.0) for k in range(-10, 140) if not hole[0] <= k < hole[1]]
    exchange = bknb.add_exchange("holed", get_candles=ranged(rows), intervals=["1m"])
    for answer in (asked_once(20, minute_estimated_time=due - 20), asked_once(20, price_open=95.0)):
        options: dict[str, Any] = {"settings": {"schedule_await_minutes": due - 20}}
        backtest, lived = both(rows, answer, first=10, last=130, **options)
        late = dict(lived.run_record.records.late)
        told = {"silence"} if hole[1] - hole[0] >= WAITED else set()
        assert kinds(lived) == told | ({"late"} if late else set())
        assert len(ends(lived)) == 1
        if hole[0] < due < hole[1] and ends(lived)[0].startswith("time_expired"):
            assert late == {(at(due), "exit"): at(hole[1] + 1)}  # known when the first candle behind it had closed
        else:
            assert late == {}
            assert ends(lived) == ends(backtest)
        plan = plan_backtest("X", strategy=answer, exchange=exchange, frame=(at(10), at(130)), interval="1m",
                             allow_gaps=True, **options)  # fmt: skip
        again = BacktestRun(plan, late=late)
        asyncio.run(again.through())
        assert ends(lived) == [line(end) for end in again.records.ends]


@pytest.mark.slow
@pytest.mark.parametrize(("waits", "decided"), [(False, 36), (True, 46)])
def test_an_exit_that_was_due_in_a_hole_fills_at_the_market_of_its_decision(*, waits: bool, decided: int) -> None:
    """The candle behind the hole opened before anybody knew: its open cannot be traded any more."""
    clock, broker = SimulatedClock(at(10)), bknb.brokers.paper()
    rows = [(at(k), *(4 * (100 + k / 100,)), 1.0) for k in range(-10, 100) if not 30 <= k < 35]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        return [row for row in rows if since <= row[0] <= clock.now() - MINUTE][:limit]

    exchange = bknb.add_exchange("holed", get_candles=get_candles, intervals=["1m"])
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(20, minute_estimated_time=12))
    result = lived_through(strategy, exchange, first=10, last=90, clock=clock, allow_gaps=not waits, broker=broker,
                           quantity=1.0)  # fmt: skip
    assert ends(result) == [f"time_expired 100.2 {100 + decided / 100:g} @{decided}"]
    assert result.run_record.records.late == {(at(32), "exit"): at(decided)}
    (closing,) = [order for order in broker.orders.values() if order.side == "sell"]
    assert (closing.created_at, closing.average_price) == (at(decided), 100 + decided / 100)


def test_a_machine_that_slept_over_the_end_of_a_hole_decides_late() -> None:
    rows = [(at(k), *(4 * (100 + k / 100,)), 1.0) for k in range(-10, 100) if not 30 <= k < 35]
    exchange = bknb.add_exchange("holed", get_candles=ranged(rows), intervals=["1m"])
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(20, minute_estimated_time=12))
    result = lived_through(
        strategy, exchange, first=10, last=90, clock=SleepingClock(at(10), sleeps=at(30), wakes=at(50))
    )
    assert ends(result) == ["time_expired 100.2 100.5 @50"]
    (failure,) = result.errors
    assert failure.message == (
        "the closing order of 2024-01-01 00:32 UTC was decided 18 minutes late: its moment lay in a hole, which ended "
        "at 2024-01-01 00:35 UTC; it fills at the first candle from 2024-01-01 00:50 UTC on"
    )
    assert failure.kind == "late"


@pytest.mark.slow
@pytest.mark.parametrize(("until", "model"), each_once([130, 100, 101, 102], MODELS))
def test_a_live_run_ends_at_its_time_where_no_candle_comes_any_more(model: str, until: int) -> None:
    store = bknb.stores.memory()
    exchange = bknb.add_exchange("ends", get_candles=ranged(flat((-10, 100))), intervals=["1m"])
    strategy = bknb.add_strategy("once", interval="1m", get_signal=asked_once(20), execution=model)
    clock = SimulatedClock(at(10))
    result = lived_through(strategy, exchange, first=10, last=until, clock=clock, store=store)
    assert clock.now() <= at(until + 1)
    assert (ends(result), kinds(result)) == ([], {"silence"} if until - 100 >= 10 else set())
    ended = f"2024-01-01 {until // 60:02}:{until % 60:02} UTC"
    told = f"the run ended at {ended}; its last candle closed at 2024-01-01 01:40 UTC"
    assert result.warnings == ([told] if until > 100 else [])
    exchange = bknb.add_exchange("ends", get_candles=ranged(flat((-10, 100), (130, 500))), intervals=["1m"])
    again = lived_through(strategy, exchange, first=until, last=350, store=store)
    assert [each.split()[0] for each in ends(again)] == ["time_expired"]


def taken_up(rows: list[tuple[float, ...]], *, missing: tuple[int, int], model: str, waits: bool, last: int = 300
             ) -> tuple[list[bknb.Result], list[int]]:  # fmt: skip
    """Two lives of a run: without some minutes until minute 100, with them from minute 110 on; and when it asked."""
    store, asked = bknb.stores.memory(), []
    once = asked_once(20, minute_estimated_time=70, price_take_profit=110.0)

    def get_signal(ctx: Any) -> bknb.Signal | None:
        asked.append((ctx.when_ms - ORIGIN) // MINUTE)
        signal: bknb.Signal | None = once(ctx)
        return signal

    strategy = bknb.add_strategy("once", interval="1m", get_signal=get_signal, execution=model)
    lives = []
    early = [row for row in rows if not at(missing[0]) <= row[0] < at(missing[1])]
    for known, first, until in ((early, 10, 100), (rows, 110, last)):
        exchange = bknb.add_exchange("late", get_candles=ranged(known), intervals=["1m"])
        lives.append(lived_through(strategy, exchange, first=first, last=until, store=store, allow_gaps=not waits))
    return lives, asked


@pytest.mark.slow
@pytest.mark.parametrize(("waits", "model"), each_once([False, True], MODELS))
def test_a_run_that_ends_before_its_last_candles_came_leaves_them_to_the_next_start(model: str, *, waits: bool) -> None:
    rows = [row if row[0] != at(85) else (at(85), 100.0, 112.0, 100.0, 100.0, 1.0) for row in flat((-10, 400))]
    (first, second), asked = taken_up(rows, missing=(80, 400), model=model, waits=waits)
    assert ends(first) == []
    undisturbed = ends_of(
        rows, asked_once(20, minute_estimated_time=70, price_take_profit=110.0), first=10, last=300, execution=model
    )
    assert [each.split()[0] for each in undisturbed] == ["time_expired" if model == "vwap" else "take_profit"]
    assert [each.split()[:3] for each in ends(second)] == [each.split()[:3] for each in undisturbed]
    assert first.run_record.records.holes == second.run_record.records.holes == []
    assert [minute for minute in asked if 20 < minute < 85] == []
    left, told = "what was due at 2024-01-01 01:30 UTC was not ended", [*first.warnings, *map(str, first.errors)]
    assert sum(left in text for text in told) == (0 if model == "vwap" else 2)  # there a candle ends it, not the clock


@pytest.mark.slow
@pytest.mark.parametrize(
    ("waits", "model"), each_once([False, True], ["pessimistic", "touch"])
)  # no vwap: a candle ends it
def test_what_the_clock_ends_in_a_hole_at_the_end_of_a_run_is_not_undone_by_minutes_that_come_later(
    model: str, *, waits: bool
) -> None:
    rows = [(at(k), 100.0, 100.0 if k != 85 else 112.0, 100.0, 100.0, 1.0) for k in range(-10, 400)]
    (first, second), asked = taken_up(rows, missing=(80, 100), model=model, waits=waits)
    holed = ranged([row for row in rows if not at(80) <= row[0] < at(100)])
    late = dict(second.run_record.records.late)
    assert [*late] == [(at(90), "exit")]
    once = asked_once(20, minute_estimated_time=70, price_take_profit=110.0)
    plan = plan_backtest("X", strategy=once, exchange=holed, frame=(at(10), at(300)), interval="1m", execution=model,
                         allow_gaps=True)  # fmt: skip
    again = BacktestRun(plan, late=late)
    asyncio.run(again.through())
    (decided,) = ((when - ORIGIN) // MINUTE for when in late.values())
    assert ends(second) == [line(end) for end in again.records.ends] == [f"time_expired 100 100 @{decided}"]
    peaks = [
        [event.peak_percentage for event in events if isinstance(event, Closed)]
        for events in (second.events, again.records.events)
    ]
    assert peaks[0] == peaks[1]
    assert first.run_record.records.holes == second.run_record.records.holes == [(at(80), at(100))]
    assert [minute for minute in asked if 20 < minute < 100] == []


class Killed(MemoryStore):
    """Keeps what is on the disk when something leaves: where a kill comes right behind that change."""

    left: MemoryStore | None = None

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        super().write(kind, key, payload)
        if self.left is None and kind == "signal" and b'"reason":"time_expired"' in payload:
            self.left = MemoryStore()
            self.left.sealed = dict(self.sealed)


@pytest.mark.slow
@pytest.mark.parametrize("at_end", [False, True])
def test_minutes_that_come_after_a_kill_do_not_undo_what_was_decided_without_them(*, at_end: bool) -> None:
    hole, until = (80, 100), 100 if at_end else 300
    rows = [(at(k), 100.0, 100.0 if k != 85 else 112.0, 100.0, 100.0, 1.0) for k in range(-10, 400)]
    holed = [row for row in rows if not at(hole[0]) <= row[0] < at(hole[1])]
    once = asked_once(20, minute_estimated_time=70, price_take_profit=110.0)
    strategy = bknb.add_strategy("once", interval="1m", get_signal=once)
    store = Killed()
    exchange = bknb.add_exchange("late", get_candles=ranged(holed), intervals=["1m"])
    lived_through(strategy, exchange, first=10, last=until, store=store)
    assert store.left is not None
    exchange = bknb.add_exchange("late", get_candles=ranged(rows), intervals=["1m"])
    second = lived_through(strategy, exchange, first=110, last=300, store=store.left)
    assert [each.split()[0] for each in ends(second)] == ["time_expired"]
    assert second.run_record.records.holes == [(at(hole[0]), at(hole[1]))]


def test_a_question_that_a_hole_made_impossible_comes_at_the_first_moment_that_allows_it() -> None:
    rows = flat((0, 119), (120, 240))
    asked: list[str] = []

    def get_signal(ctx: Any) -> None:
        asked.append(f"{ctx.when:%H:%M}")

    both(rows, get_signal, first=110, last=190, interval="1h")
    assert asked == ["01:50", "02:01", "03:00"] * 2


@pytest.mark.parametrize("hole", [3, 200, 1500, 40_000])
@pytest.mark.parametrize("interval", ["1m", "5m"])
def test_a_look_back_across_a_hole_counts_candles(hole: int, interval: str) -> None:
    begin = 1000 + hole
    rows = flat((0, 1000), (begin, begin + 300))
    seen: list[list[int]] = []

    def get_signal(ctx: Any) -> None:
        seen.append(((ctx.candles(interval, 100).timestamp - ORIGIN) // MINUTE).tolist())

    exchange = bknb.add_exchange("holed", get_candles=ranged(rows), intervals=["1m"])
    frame = (at(begin + 30), at(begin + 200))
    strategy = bknb.add_strategy("looks", interval="1m", get_signal=get_signal)
    result = bknb.backtest("X", strategy=strategy, exchange=exchange, frame=frame, allow_gaps=True)
    assert result.errors == []
    assert len(seen) == 170
    step = 1 if interval == "1m" else 5
    known = sorted({minute // step * step for first, end in ((0, 1000), (begin, begin + 300))
                    for minute in range(first, end)})  # fmt: skip
    for index, candles in enumerate(seen):
        closed = [open_time for open_time in known if open_time + step <= begin + 30 + index]
        assert candles == closed[-100:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hole", "native"),
    each_once([(50, 55), (50, 56), (50, 57), (48, 63), (50, 66), (50, 1500)], [False, True]),
)
def test_higher_candles_are_counted_across_a_hole_live_as_in_a_backtest(hole: tuple[int, int], *, native: bool) -> None:
    rows = flat((-60, hole[0]), (hole[1], hole[1] + 40))
    seen: list[tuple[int, list[int]]] = []

    def get_signal(ctx: Any) -> None:
        opened = [(ctx.candles(interval, 2).timestamp - ORIGIN) // MINUTE for interval in ("1m", "5m", "15m")]
        seen.append(((ctx.when_ms - ORIGIN) // MINUTE, [int(minute) for each in opened for minute in each]))

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if interval == "1m":
            return ranged(rows)(symbol, interval, since, limit)
        made = resample(Candles.from_rows(rows), interval, allow_gaps=True)
        step = interval_ms(interval)
        chosen = made.take((made.timestamp >= since) & (made.timestamp < since + limit * step))
        return [tuple(candle.values()) for candle in chosen]

    exchange = bknb.add_exchange("holed", get_candles=get_candles, intervals=["1m", "5m", "15m"] if native else ["1m"])
    for interval in ("1m", "5m"):
        strategy = bknb.add_strategy("looks", interval=interval, get_signal=get_signal)
        frame = (at(40), at(hole[1] + 30))
        backtest = bknb.backtest("X", strategy=strategy, exchange=exchange, frame=frame, allow_gaps=True)
        expected, seen[:] = list(seen), []
        clock = NightClock(at(40), [(at(hole[0]), at(hole[1]))])
        lived = lived_through(strategy, exchange, first=40, last=hole[1] + 30, clock=clock)
        assert [each for each in seen if each[0] < hole[1] + 30] == expected
        assert (backtest.errors, len(expected) > 5) == ([], True)
        assert kinds(lived) == ({"silence"} if hole[1] - hole[0] >= WAITED else set())
        seen.clear()


@pytest.mark.parametrize("holed", [False, True])
@pytest.mark.parametrize("late", [20_000, 50_000])
def test_a_candle_that_is_only_late_is_waited_for(late: int, *, holed: bool) -> None:
    clock = SimulatedClock(at(30))
    hours = {"X": flat((-100, 60)), "Y": flat((-100, 0), (10 if holed else 0, 60))}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        arrived = clock.now() - (late if symbol == "Y" else 0)
        rows = [row for row in hours[symbol] if row[0] + MINUTE <= max(arrived, at(20))]
        return ranged(rows)(symbol, interval, since, limit)

    seen: list[int] = []

    def get_signal(ctx: Any) -> None:
        newest = ctx.get_candles("Y", "1m", 50).timestamp[-1]
        seen.append(int(ctx.when_ms - newest))

    exchange = bknb.add_exchange("slow", get_candles=get_candles, intervals=["1m"])
    strategy = bknb.add_strategy("pairs", interval="5m", get_signal=get_signal)
    result = lived_through(strategy, exchange, first=30, last=50, clock=clock)
    assert (seen, result.errors) == ([MINUTE] * 5, [])


def test_a_look_back_to_the_beginning_says_where_the_data_begins() -> None:
    def get_signal(ctx: Any) -> None:
        ctx.candles("1m", 100)

    rows = flat((0, 50), (90, 300))
    result = bknb.backtest(
        "X", strategy=get_signal, interval="1m", exchange=ranged(rows), frame=(at(100), at(200)), allow_gaps=True
    )
    (failure,) = result.errors
    assert failure.count == 40
    assert "only 60 exist: the data of get_candles begins at 2024-01-01 00:00 UTC" in failure.message


def test_rows_computed_at_once_look_back_across_a_hole_as_live_does() -> None:
    seen: list[int] = []

    def get_signals(candles: Any) -> dict[str, Any]:
        seen.append(len(candles))
        nothing = np.zeros(len(candles))
        return {"position": nothing, "price_take_profit": 1.0, "price_stop_loss": 1.0, "minute_estimated_time": 1.0}

    strategy = bknb.add_strategy("rows", interval="1m", get_signals=get_signals, lookback=80)
    rows = flat((0, 1000), (3000, 3100))
    bknb.backtest("X", strategy=strategy, exchange=ranged(rows), frame=(at(3010), at(3050)), allow_gaps=True)
    assert seen[0] >= 80 + 40


@pytest.mark.slow
def test_a_frame_that_begins_in_a_hole_has_a_price_from_its_first_minute_on() -> None:
    rows = flat((0, 50)) + [(at(k), 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(200, 300)]
    prices: list[float] = []

    def get_signal(ctx: Any) -> Any:
        prices.append(ctx.price)
        return asked_once(201, minute_estimated_time=3)(ctx)

    assert ends_of(rows, get_signal, first=100, last=250) == ["time_expired 100 100 @204"]
    assert prices[0] == 100.0
    for result in both(rows, asked_once(201, minute_estimated_time=3), first=100, last=250):
        assert ends(result) == ["time_expired 100 100 @204"]


# --- the end of a frame --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [200, 1500, 9 * DAY])
@pytest.mark.parametrize("model", MODELS)
def test_a_frame_that_ends_in_a_hole_is_the_end_of_the_frame(model: str, behind: int) -> None:
    rows = flat((-10, 60)) + flat((behind, behind + 200), price=104.0)
    found = ends_of(rows, asked_once(30), last=100, execution=model)
    reason = "time_expired" if model == "vwap" else "frame_end"
    price = 100 if model == "vwap" else 104
    if behind == 9 * DAY:  # that far away it is another market
        assert found == ["data_end 100 100 @59"]
    else:
        assert [each.split()[0] for each in found] == [reason]
        assert found == [f"{reason} 100 {found[0].split()[2]} @{behind}"]
        assert model == "vwap" or float(found[0].split()[2]) == price


def test_a_frame_that_ends_where_nothing_trades_leaves_at_the_first_minute_that_does() -> None:
    quiet = [(*row[:5], 0.0) for row in flat((98, 400))]
    rows = flat((-10, 98)) + quiet + flat((400, 420), price=104.0)
    assert ends_of(rows, asked_once(30), last=100, allow_gaps=False) == ["frame_end 100 104 @400"]
    assert ends_of(rows, asked_once(30), last=100, allow_gaps=False, execution="touch") == ["frame_end 100 100 @100"]


def test_data_that_ends_before_the_frame_does_is_the_end_of_the_data() -> None:
    for last in (60, 61, 200):  # at 60 it was leaving already
        result = backtested(flat((-10, 60)), asked_once(30), last=last, allow_gaps=False)
        assert ends(result) == ["data_end 100 100 @59"]
        told = "the data of X on get_candles ended at 2024-01-01 01:00 UTC where a position was open"
        assert result.warnings[-1] == f"{told}; it ended as data_end"
    limit = backtested(flat((-10, 60)), asked_once(30, price_open=95.0), last=200, allow_gaps=False)
    assert ends(limit) == ["cancelled data_end @59"]
    assert "where an entry was waiting; it ended as data_end" in limit.warnings[-1]
    over = backtested(flat((-10, 60)), asked_once(30, minute_estimated_time=5), last=60, allow_gaps=False)
    assert over.warnings == []


def test_a_hole_at_the_end_of_a_frame_is_refused_and_one_behind_it_is_not() -> None:
    rows = flat((-10, 60), (200, 400))
    with pytest.raises(GapError) as caught:
        ends_of(rows, asked_once(30), last=100, allow_gaps=False)
    assert caught.value.ranges == ((at(60), at(200)),)
    assert ends_of(rows, asked_once(30), last=60, allow_gaps=False) == ["frame_end 100 100 @200"]


@pytest.mark.slow
def test_a_frame_that_ends_while_the_market_is_closed_leaves_at_the_opening() -> None:
    times = [time for time in range(at(4 * DAY), at(9 * DAY), MINUTE) if HOURS.is_open(time)]
    rows = [(time, *(4 * (100.0 if time < at(6 * DAY) else 104.0,)), 1.0) for time in times]
    exchange = bknb.exchanges.in_sessions(ranged(rows), "us-equities")
    friday = 4 * DAY + 15 * 60
    result = bknb.backtest(
        "X", strategy=asked_once(friday, minute_estimated_time=1440), interval="1m", exchange=exchange,
        frame=(at(friday - 10), at(4 * DAY + 22 * 60)), allow_gaps=False,
    )  # fmt: skip
    assert ends(result) == [f"frame_end 100 104 @{7 * DAY + 14 * 60 + 30}"]
    result.equity, str(result.statistics)  # what ends long after its frame has a place in every figure
    assert float(result.equity.iloc[-1]) > 1


# --- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["2024-03-09 02:00", "2024-03-10"])
def test_closed_time_longer_than_a_page_ends_nothing(end: str) -> None:
    index = pd.date_range("2024-03-04", "2024-03-10", freq="1min", tz="UTC", inclusive="left")
    times = index.as_unit("ms").asi8
    times = times[HOURS.mask(times)]
    rows = [(int(time), *(4 * (100 + 0.001 * k,)), 1.0) for k, time in enumerate(times.tolist())]
    days = set()

    def get_signal(ctx: Any) -> None:
        days.add(ctx.when.day)

    exchange = bknb.exchanges.in_sessions(ranged(rows), "us-equities")
    result = bknb.backtest(
        "AAPL", strategy=get_signal, interval="15m", exchange=exchange, frame=("2024-03-04 15:00", end)
    )
    assert days == {4, 5, 6, 7, 8}
    assert len(result.candles) == 1920
    assert result.warnings == []


@pytest.mark.parametrize("days", [6, 7, 8])
def test_a_hole_longer_than_a_page_is_not_the_end_of_the_data(days: int) -> None:
    rows = flat((0, 2000), (3020, 6 * DAY))
    options: dict[str, Any] = {"strategy": lambda ctx: None, "interval": "1h", "exchange": ranged(rows)}
    frame = (at(600), at(days * DAY - 2))
    with pytest.raises(GapError) as caught:
        bknb.backtest("X", frame=frame, **options)
    assert caught.value.ranges == ((at(2000), at(3020)),)
    result = bknb.backtest("X", frame=frame, allow_gaps=True, **options)
    assert int(result.candles.timestamp[-1]) >= at(6 * DAY - 2)


# --- random worlds ---------------------------------------------------------------------------------------------------


def told(records: Records | bknb.Result, *, before: int) -> list[bytes]:
    """Everything a run told before a moment, without what must differ: mode and frame."""
    own = records.run_record.records if isinstance(records, bknb.Result) else records
    everything = [*own.events, *own.milestones, *own.rejected, *own.refused]
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in everything if event.when < before]
    return [msgspec.json.encode(event) for event in plain]


def over(records: Records | bknb.Result, *, before: int) -> list[bytes]:
    """What a run told of signals that ended before a moment, without what must differ: mode and frame."""
    ended = [event for event in records.events if isinstance(event, (Closed, Cancelled)) and event.when < before]
    return [msgspec.json.encode(msgspec.structs.replace(event, mode="live", frame=None)) for event in ended]


def random_rows(seed: int, times: list[int]) -> list[tuple[float, ...]]:
    """A random walk with jumps and minutes without volume over these open times."""
    random = np.random.default_rng(seed)
    size = len(times)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.004, size)))
    open_ = np.concatenate([[100.0], close[:-1]]) * (1 + random.normal(0, 0.003, size))
    wicks = np.abs(random.normal(0, 0.003, (2, size)))
    high, low = np.maximum(open_, close) * (1 + wicks[0]), np.minimum(open_, close) * (1 - wicks[1])
    volume = random.integers(0, 4, size) * 25.0
    return list(zip(times, *(column.tolist() for column in (open_, high, low, close, volume)), strict=True))


def played(get_signal: Any, exchange: Any, *, first: int, last: int, model: str, **more: Any) -> BacktestRun:
    plan = plan_backtest(
        "BTCUSDT", strategy=get_signal, exchange=exchange, frame=(first, last), interval="1m", execution=model,
        settings=SETTINGS, allow_gaps=True,
    )  # fmt: skip
    run = BacktestRun(plan, **more)
    asyncio.run(run.through())
    return run


def parity(
    get_signal: Any,
    exchange: Any,
    *,
    first: int,
    last: int,
    model: str,
    holes: Sequence[tuple[int, int]] = (),
    waits: bool = False,
    known: int | None = None,
) -> bknb.Result:
    """Check that live and backtest tell the same, and so does a backtest that looks at every minute.

    ``holes`` are all minutes that never come. ``known`` is where the candles end that come before ``last``: what is
    told from there on is told by the next start.
    """
    store, before = bknb.stores.memory(), last if known is None else known
    strategy = bknb.add_strategy("random", interval="1m", get_signal=get_signal, execution=model)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange, clock=NightClock(first, holes), until=last,
        store=store, allow_gaps=not waits, settings=SETTINGS,
    )  # fmt: skip
    result = task.result(timeout=60)
    lateness = dict(result.run_record.records.late)
    gone = [hole for hole in holes if hole[1] <= last]
    assert result.run_record.records.holes == gone
    for (when, role), decided_at in lateness.items():  # an order waits for the minutes that are missing before it
        assert waits or role == "exit"
        assert any(first <= when < decided_at <= end + (WAITED * waits + 1) * MINUTE for first, end in gone)
    told_of = {"late": bool(lateness), "hole": waits and bool(gone), "silence": is_silent(holes, until=last)}
    assert kinds(result) - {"warm-up"} == {kind for kind, there in told_of.items() if there}
    run = played(strategy, exchange, first=first, last=last, model=model, late=lateness)
    assert told(result, before=before) == told(run.records, before=before)
    stepped = played(strategy, exchange, first=first, last=last, model=model, late=lateness, every_minute=True)
    assert told(run.records, before=2**62) == told(stepped.records, before=2**62)
    if known is not None:
        later = last + 150 * MINUTE
        again = bknb.Live.background(
            "BTCUSDT", strategy=strategy, exchange=exchange, clock=SimulatedClock(last), until=later,
            store=store, allow_gaps=not waits, settings=SETTINGS,
        ).result(timeout=60)  # fmt: skip
        run = played(strategy, exchange, first=first, last=later, model=model, late=dict(again.run_record.records.late))
        assert over(again, before=later) == over(run.records, before=later)
    return result


HOLES = st.lists(st.tuples(st.integers(1, 120), st.sampled_from([1, 2, 4, 5, 6, 29, 31, 90, 1100])), max_size=3)


@pytest.mark.slow
@pytest.mark.parametrize("model", rest_long(["pessimistic", "vwap", "touch"], kept=1))
@settings(max_examples=3)
@example(seed=93302, holes=[], at_start=0, at_end=40, lead=0, waits=False)  # an order times out in the hole at the end
@given(
    seed=SEEDS,
    holes=HOLES,
    at_start=st.sampled_from([0, 0, 3, 40, 1100]),
    at_end=st.sampled_from([0, 0, 3, 40, 1100]),
    lead=st.sampled_from([0, 3, 60]),
    waits=st.booleans(),
)
def test_random_worlds_with_holes(
    model: str, seed: int, holes: list[tuple[int, int]], at_start: int, at_end: int, lead: int, *, waits: bool
) -> None:
    holed(model, seed, holes, at_start=at_start, at_end=at_end, lead=lead, waits=waits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("waits", "model"), rest_long([(True, "vwap"), (False, "pessimistic"), (True, "touch")], kept=2)
)
def test_a_hole_longer_than_two_pages(model: str, *, waits: bool) -> None:
    """How it is fetched, and how long it is waited for, does not depend on the model."""
    holed(model, 7, [(70, 2600)], at_start=0, at_end=3, lead=3, waits=waits)


def holed(
    model: str, seed: int, holes: list[tuple[int, int]], *, at_start: int, at_end: int, lead: int, waits: bool
) -> None:
    """Parity of a live run in a world with holes, each behind so many minutes and so long."""
    minutes, now = list(range(-lead, 0)), at_start
    for before, hole in [*holes, (60, 0)]:
        minutes += range(now, now + before)
        now += before + hole
    last = now + at_end
    minutes += range(last + (at_end and 3), last + 200)
    rows = random_rows(seed, [at(minute) for minute in minutes])
    known = at(now) if at_end else None
    gone = [(at(a + 1), at(b)) for a, b in itertools.pairwise([-1, *(m for m in minutes if m >= 0)]) if b > a + 1]
    parity(signals(seed), ranged(rows), first=ORIGIN, last=at(last), model=model, holes=gone, waits=waits, known=known)


@pytest.mark.parametrize("waits", first_quick([False, True]))
def test_a_world_with_holes(*, waits: bool) -> None:
    minutes = [*range(-3, 30), *range(34, 50), *range(81, 120), *range(123, 300)]
    rows = random_rows(11, [at(minute) for minute in minutes])
    holes = [(at(30), at(34)), (at(50), at(81)), (at(120), at(123))]
    parity(signals(11), ranged(rows), first=ORIGIN, last=at(150), model="touch", holes=holes, waits=waits)


def random_sessions(seed: int, day: str) -> Iterator[tuple[str, str, int, int]]:
    """Worlds of each model that begin up to two days before a change of the clocks, and last over the day behind it.

    Each has prices and signals of its own, by the seed that comes last.
    """
    dice = np.random.default_rng(seed)
    for model in ("pessimistic", "touch", "vwap"):
        before = int(dice.integers(0, 48))
        begin = pd.Timestamp(day) - pd.Timedelta(hours=before)
        yield model, f"{begin:%Y-%m-%d %H:%M}", before + int(dice.integers(48, 72)), int(dice.integers(1 << 31))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "begin", "hours", "seed"),
    first_quick(
        [
            ("pessimistic", "2024-03-31 09:00", 3, 3),
            ("pessimistic", "2024-03-31", 35, 35),
            ("touch", "2024-10-27", 35, 36),
            ("vwap", "2024-03-31", 35, 37),
        ]
    )
    + [
        pytest.param(*world, marks=pytest.mark.long)
        for seed, day in enumerate(("2023-03-26", "2023-10-29", "2024-03-31", "2024-10-27"))
        for world in random_sessions(seed, day)
    ],
)
def test_a_world_with_sessions_over_a_change_of_the_clocks(model: str, begin: str, hours: int, seed: int) -> None:
    first = int(pd.Timestamp(begin, tz="UTC").timestamp()) * 1000
    last = first + hours * 60 * MINUTE
    times = np.arange(first - 10 * DAY * MINUTE, last + 5 * DAY * MINUTE, MINUTE)
    rows = random_rows(seed, times[SHORT_HOURS.mask(times)].tolist())
    exchange = bknb.exchanges.in_sessions(ranged(rows), SHORT_HOURS)
    result = parity(signals(seed), exchange, first=first, last=last, model=model)
    assert (kinds(result), result.run_record.records.late) == (set(), {})
    closed = [event for event in result.events if isinstance(event, Closed)]
    assert closed
    assert all(SHORT_HOURS.is_open(event.signal.pending_at) for event in closed)


@pytest.mark.parametrize(
    ("missing", "answers"), [(1, {}), (5, {4: bknb.Reduce(0.5)}), (5, {4: bknb.Add(0.5, price_open=95.0)})]
)
def test_manage_is_asked_where_a_hole_begins_behind_a_fill_or_an_order(missing: int, answers: dict[int, Any]) -> None:
    rows = [(ORIGIN + k * MINUTE, *(100.0,) * 5) for k in range(-60, 20) if k != missing]
    asked: list[int] = []

    def get_signal(when: Any) -> Any:
        return {"position": "long"} if when.timestamp() * 1000 == ORIGIN else None

    def manage(when: Any) -> Any:
        asked.append(round((when.timestamp() * 1000 - ORIGIN) / MINUTE))
        return answers.get(asked[-1])

    strategy = bknb.add_strategy("holed", interval="1m", get_signal=get_signal, manage=manage)
    frame = (ORIGIN, ORIGIN + 10 * MINUTE)
    bknb.backtest("BTCUSDT", strategy=strategy, exchange=source(rows), frame=frame, allow_gaps=True)
    assert asked == [k for k in range(1, 10) if k - 1 != missing]
