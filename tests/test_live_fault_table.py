"""Each fault of an exchange against each promise: told, watched, ended by ``until``, ended by ``stop``, as a backtest.

A long position with its stop at 98 is open when the fault begins at minute 40; from minute 60 on the market is at 90.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from quick import some_quick
from scenarios import MINUTE
from test_holes import asked_once, at, ends, kinds, ranged
from test_live_bad_days import LEVELS, Rows, closed_by, run_live, steps

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.testing.clocks import SimulatedClock

MARKET = steps((-10, 60, 100.0), (60, 400, 90.0))
BEGINS, UNTIL = 40, 150
SETTINGS = {"get_candles_retry_count": 1, "get_candles_timeout_seconds": 1}


class NotingClock(SimulatedClock):
    """A clock that notes at which minute each kind of failure was there first, and calls ``at_minute`` once."""

    def __init__(self, start: int, *, at_minute: tuple[int, Callable[[], None]] | None = None) -> None:
        super().__init__(start)
        self.task: Any = None
        self.told: dict[str, int] = {}
        self._at_minute = at_minute

    async def sleep_until(self, when: int) -> None:
        for failure in [] if self.task is None else self.task.records.failures:
            self.told.setdefault(failure.kind, int(self.now() - at(0)) // MINUTE)
        if self._at_minute is not None and self.now() >= at(self._at_minute[0]):
            self._at_minute, (_, call) = None, self._at_minute
            call()
        await super().sleep_until(when)


@dataclass(frozen=True)
class Fault:
    """What is wrong from minute 40 on, and what a run does about it.

    Attributes
    ----------
    told
        The kinds of failures there must be, and no others; each with the minute it is told in. Minute 41 is due at 42,
        and seen to be missing when the next one comes, at 43.
    gone
        Minutes that never come.
    watched
        Whether the stop that is reached at minute 60 closes the position.
    """

    answer: Callable[[Rows, int], Any]
    told: dict[str, int]
    gone: tuple[int, ...] = ()
    watched: bool = True


def without(*minutes: int) -> Callable[[Rows, int], Any]:
    return lambda rows, now: [row for row in rows if (row[0] - at(0)) / MINUTE not in minutes]


def never(rows: Rows, now: int) -> Any:
    return []


def down(rows: Rows, now: int) -> Any:
    raise ConnectionError("the line is dead")


def garbage(rows: Rows, now: int) -> Any:
    return "<html>503</html>"


def spoiled(rows: Rows, now: int) -> Any:
    return [(row[0], float("nan"), *row[2:]) if row[0] == at(41) else row for row in rows]


def for_half_an_hour(answer: Callable[[Rows, int], Any]) -> Callable[[Rows, int], Any]:
    return lambda rows, now: answer(rows, now) if now < 70 else rows


FAULTS = {
    "one minute never comes": Fault(without(41), {"hole": 53}, gone=(41,)),
    "several minutes never come": Fault(without(41, 42, 44, 47), {"hole": 54}, gone=(41, 42, 44, 47)),
    "a minute comes five minutes late": Fault(lambda rows, now: rows if now > 46 else without(41)(rows, now), {}),
    "one candle cannot be right": Fault(spoiled, {"hole": 53}, gone=(41,)),
    "answers nothing for half an hour": Fault(for_half_an_hour(never), {"silence": 49}),
    "raises for half an hour": Fault(for_half_an_hour(down), {"exchange": 40, "silence": 49}),
    "answers nothing any more": Fault(never, {"silence": 49}, watched=False),
    "raises for ever": Fault(down, {"exchange": 40, "silence": 49}, watched=False),
    "answers something else for ever": Fault(garbage, {"exchange": 40, "silence": 49}, watched=False),
}


def source_of(fault: Fault, clock: SimulatedClock) -> Any:
    good = closed_by(clock, MARKET)

    def get_candles(*asked: Any) -> Any:
        now = int(clock.now() - at(0)) // MINUTE
        return good(*asked) if now < BEGINS else fault.answer(good(*asked), now)

    return get_candles


QUICK = ["raises for half an hour"]


@pytest.mark.parametrize("name", some_quick(FAULTS, QUICK))
def test_it_is_told_watched_and_ends_at_its_time_as_a_backtest_does(name: str) -> None:
    fault, clock = FAULTS[name], NotingClock(at(10))
    clock.task = run_live(source_of(fault, clock), asked_once(20, **LEVELS), clock, until=UNTIL, settings=SETTINGS)
    result = clock.task.result(timeout=20)
    assert clock.now() <= at(UNTIL + 3)
    assert clock.told == fault.told
    assert kinds(result) == set(fault.told)
    assert [end.split()[0] for end in ends(result)] == (["stop_loss"] if fault.watched else [])
    if fault.watched:
        rows = without(*fault.gone)(MARKET, 0)
        exchange = bknb.add_exchange("holed", get_candles=ranged(rows), intervals=["1m"])
        plan = plan_backtest("X", strategy="once", exchange=exchange, frame=(at(10), at(UNTIL)), allow_gaps=True)
        backtest = BacktestRun(plan, late=dict(result.run_record.records.late))
        asyncio.run(backtest.through())
        assert [(event.when, event.price) for event in result.events] == [
            (event.when, event.price) for event in backtest.records.events
        ]


@pytest.mark.parametrize("name", some_quick(FAULTS, QUICK))
def test_it_ends_when_it_is_stopped(name: str) -> None:
    fault, stopped = FAULTS[name], threading.Event()

    def stop() -> None:
        clock.task.stop()
        stopped.set()

    clock = NotingClock(at(10), at_minute=(45, stop))
    clock.task = run_live(source_of(fault, clock), asked_once(20, **LEVELS), clock, until=None, settings=SETTINGS)
    result = clock.task.result(timeout=20)
    assert stopped.is_set()
    assert result.stopped
    # Where no minute comes it has left with its position by the time at which minutes come again.
    assert len(ends(result)) == (fault.watched and "silence" not in fault.told)
    assert clock.now() <= at(80)
