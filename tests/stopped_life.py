"""A live run whose process stops itself (SIGSTOP) while a position is open; somebody else has it go on (SIGCONT).

``python stopped_life.py SPEED``: a clock that runs SPEED times as fast as time. The market falls through the stop 20
minutes after the process stopped; three minutes after that never come. One JSON line tells what was heard.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from typing import Any

from scenarios import MINUTE, ORIGIN

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.testing.clocks import AcceleratedClock

FALLS, GONE = 20, range(30, 33)  # minutes after the stop
LONG = {"position": "long", "price_take_profit": 150.0, "price_stop_loss": 98.0, "minute_estimated_time": 1440}


class Market:
    """Candles up to the clock; at the first question after ``opened`` is set the process stops."""

    def __init__(self, clock: AcceleratedClock) -> None:
        self.clock = clock
        self.opened = threading.Event()
        self.stopped_at: int | None = None

    def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        if self.opened.is_set() and self.stopped_at is None:
            self.stopped_at = self.clock.now() // MINUTE * MINUTE
            os.kill(os.getpid(), signal.SIGSTOP)
        end = min(since + limit * MINUTE, self.clock.now() // MINUTE * MINUTE)
        return [self.row(when) for when in range(since, end, MINUTE) if self.after_stop(when) not in GONE]

    def row(self, when: int) -> tuple[float, ...]:
        return when, *[90.0 if self.after_stop(when) >= FALLS else 100.0] * 4, 1.0

    def after_stop(self, when: int) -> int:
        return -1 if self.stopped_at is None else (when - self.stopped_at) // MINUTE


def replayed(result: bknb.Result, exchange: Any) -> list[Any]:
    """The events of a backtest over the same minutes, which is told what was decided late."""
    (decided_at,) = [event.signal.scheduled_at for event in result.events if event.action == "opened"]

    def get_signal(ctx: Any) -> dict[str, Any] | None:
        return LONG if ctx.when_ms == decided_at else None

    strategy = bknb.add_strategy("held", interval="1m", get_signal=get_signal)
    plan = plan_backtest("X", strategy=strategy, exchange=exchange, frame=(result.start, result.end), allow_gaps=True)
    run = BacktestRun(plan, late=dict(result.run_record.records.late))
    asyncio.run(run.through())
    return [[event.action, event.when, event.price] for event in run.records.events]


def main(speed: float) -> None:
    market = Market(AcceleratedClock(ORIGIN, speed=speed))
    ended, hole = threading.Event(), threading.Event()
    on_result = {"opened": market.opened.set, "closed": ended.set}
    kinds: set[str] = set()

    def receive_error(event: Any) -> None:
        kinds.add(event.kind)
        if event.kind == "hole":
            hole.set()

    bknb.listen_signal_live(lambda event: on_result.get(event.action, bool)())
    bknb.listen_error(receive_error)
    exchange = bknb.add_exchange("stopping", get_candles=market.get_candles, intervals=["1m"])
    strategy = bknb.add_strategy("held", interval="1m", get_signal=lambda: LONG if market.stopped_at is None else None)
    task = bknb.Live.background(
        "X", strategy=strategy, exchange=exchange, clock=market.clock, store=bknb.stores.memory()
    )
    ended.wait(60)
    hole.wait(60)
    task.stop()
    result = task.result(60)
    (closed,) = [event for event in result.events if event.action == "closed"]
    found = {
        "closed": [closed.close_reason, closed.price_close, market.after_stop(closed.when)],
        "holes": [[market.after_stop(end) for end in hole] for hole in result.run_record.records.holes],
        "kinds": sorted(kinds),
        "live": [[event.action, event.when, event.price] for event in result.events],
        "backtest": replayed(result, exchange),
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(float(sys.argv[1]))
