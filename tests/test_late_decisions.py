"""Decisions a live run makes later than their moment: which orders they delay, what is told, and what is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from sleeping_clock import SleepingClock

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.testing.clocks import SimulatedClock

UNTIL = ORIGIN + 40 * MINUTE


def at(minute: int) -> int:
    return ORIGIN + minute * MINUTE


def rows(*, price: float = 100.0, size: int = 80) -> list[list[float]]:
    """Minutes that rise by 0.01 each and stay within 0.01: nothing but the clock ends a position."""
    opens = [price + (k + 10) / 100 for k in range(-10, size)]
    return [
        [at(k), open_, open_ + 0.01, open_, open_ + 0.01, 1.0] for k, open_ in zip(range(-10, size), opens, strict=True)
    ]


def signal(price: float, *, minutes: int, **more: Any) -> dict[str, Any]:
    levels = {"price_take_profit": price * 1.2, "price_stop_loss": price * 0.8}
    return {"position": "long", "minute_estimated_time": minutes, **levels, **more}


def lived(strategy: Any, *, clock: SimulatedClock, store: Any = None, until: int = UNTIL, **options: Any) -> Any:
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=source(rows()), clock=clock, until=until,
        store=bknb.stores.memory() if store is None else store, **options,
    )  # fmt: skip
    return task.result(20)


def played(strategy: Any, late: Any, **options: Any) -> BacktestRun:
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=source(rows()), frame=(ORIGIN, UNTIL), **options)
    run = BacktestRun(plan, late=late)
    asyncio.run(run.through())
    return run


def told(events: Any) -> list[tuple[str, int]]:
    return [(event.action, (event.when - ORIGIN) // MINUTE) for event in events if event.when < UNTIL]


def slow_at(clock: SimulatedClock, minute: int, *, wakes: int) -> Any:
    """Long positions of ten minutes at minute 5 and whenever that is over; the answer of one minute takes long."""

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        moment = round(when.timestamp() * 1000)
        if moment == at(minute):
            clock.advance(at(wakes))
        return signal(price, minutes=10) if moment >= at(5) else None

    return get_signal


def test_an_exit_and_an_entry_of_one_moment_are_late_each_on_its_own() -> None:
    clock = SimulatedClock(ORIGIN)
    strategy = bknb.add_strategy("slow", interval="1m", get_signal=slow_at(clock, 15, wakes=20))
    result = lived(strategy, clock=clock)
    assert told(result.events) == [("opened", 5), ("closed", 15), ("opened", 20), ("closed", 30), ("opened", 30)]
    again = played(strategy, result.run_record.records.late)
    assert told(again.records.events) == told(result.events)


@pytest.mark.parametrize("killed", first_quick([18, 22, 25]))
def test_late_decisions_are_known_and_fill_late_after_a_restart(killed: int) -> None:
    store = bknb.stores.memory()
    strategy = bknb.add_strategy("w", interval="1m", get_signal=slow_at(SimulatedClock(ORIGIN), 0, wakes=0))
    whole = lived(strategy, clock=SleepingClock(ORIGIN, sleeps=at(10), wakes=at(20)))
    lived(strategy, clock=SleepingClock(ORIGIN, sleeps=at(10), wakes=at(20)), store=store, until=at(killed))
    result = lived(strategy, clock=SimulatedClock(at(max(killed, 20))), store=store)
    assert whole.run_record.records.late
    assert result.run_record.records.late == whole.run_record.records.late
    assert told(whole.events) == [("opened", 5), ("closed", 20), ("opened", 20), ("closed", 30), ("opened", 30)]
    ends = [event for event in whole.events if event.action == "closed"]
    assert [(end.when, end.price_close) for end in result.events if end.action == "closed"] == [
        (end.when, end.price_close) for end in ends
    ]
    assert told(played(strategy, result.run_record.records.late).records.events) == told(whole.events)


def test_what_is_told_is_plain_and_counts_orders() -> None:
    strategy = bknb.add_strategy("w", interval="1m", get_signal=slow_at(SimulatedClock(ORIGIN), 0, wakes=0))
    received: list[Any] = []
    with_listener = bknb.listen_error(received.append)
    result = lived(strategy, clock=SleepingClock(ORIGIN, sleeps=at(10), wakes=at(20)))
    with_listener()
    (failure,) = result.errors
    assert (failure.kind, failure.count) == ("late", 2)
    assert failure.message == (
        "the closing order of 2024-01-01 00:15 UTC was decided 5 minutes late; "
        "it fills at the first candle from 2024-01-01 00:20 UTC on"
    )
    assert [event.message for event in received] == [failure.message, failure.message.replace("closing", "entry")]


LATE = {
    "order to add": [bknb.Add(1.0)],
    "order to reduce": [bknb.Reduce(0.5)],
    "order to reduce and add": [bknb.Reduce(0.5), bknb.Add(1.0)],
    "closing order": [bknb.Reduce(0.5), bknb.Close()],
}


@pytest.mark.parametrize("name", LATE)
def test_a_late_order_of_manage_is_told_as_what_it_is(name: str) -> None:
    clock = SimulatedClock(ORIGIN)

    def manage(when: Any) -> Any:
        if round(when.timestamp() * 1000) == at(10):
            clock.advance(at(15))
            return LATE[name]
        return None

    strategy = bknb.add_strategy(
        "w", interval="1m", get_signal=slow_at(clock, 0, wakes=0), manage=manage, manage_interval="5m"
    )
    result = lived(strategy, clock=clock, until=at(16))
    told_late = [failure.message for failure in result.errors if failure.kind == "late"]
    assert told_late[0].startswith(f"the {name} of 2024-01-01 00:10 UTC was decided 5 minutes late; it fills at")


def refused(_: bknb.RiskRequest) -> bool:
    return False


@pytest.mark.parametrize("why", ["no signal", "rejected", "refused", "time-out"])
def test_a_late_decision_that_fills_nothing_is_not_told(why: str) -> None:
    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        minute = round(when.timestamp() * 1000 - ORIGIN) // MINUTE
        if why == "time-out":  # a limit that waits when the machine falls asleep
            return signal(price / 2, minutes=5, price_open=price / 2) if minute == 8 else None
        if not 12 <= minute <= 18 or why == "no signal":
            return None
        return signal(price, minutes=-1 if why == "rejected" else 5)

    bknb.add_risk("none", validations=[refused])
    strategy = bknb.add_strategy("w", interval="1m", get_signal=get_signal, risk="none" if why == "refused" else None)
    settings = {"schedule_await_minutes": 5}
    result = lived(strategy, clock=SleepingClock(ORIGIN, sleeps=at(10), wakes=at(20)), settings=settings)
    assert result.errors == []
    assert not result.run_record.records.late
    if why == "time-out":
        assert told(result.events) == [("scheduled", 8), ("cancelled", 13)]


def test_questions_that_were_too_old_and_late_orders_are_counted_apart() -> None:
    strategy = bknb.add_strategy("w", interval="1m", get_signal=slow_at(SimulatedClock(ORIGIN), 0, wakes=0))
    result = lived(strategy, clock=SleepingClock(ORIGIN, sleeps=at(10), wakes=at(20)), late_minutes=2)
    assert [(failure.kind, failure.count) for failure in result.errors] == [("late", 2), ("late", 3)]
    late = "the closing order of 2024-01-01 00:15 UTC was decided 5 minutes late"
    assert [failure.message for failure in result.errors] == [
        f"{late}; it fills at the first candle from 2024-01-01 00:20 UTC on",
        "the question of 2024-01-01 00:15 UTC was 5 minutes old, more than late_minutes = 2: it was not asked",
    ]


# --- orders at a broker on paper, and holes -------------------------------------------------------------------------


class Fast(SimulatedClock):
    """A clock of which five minutes pass between two looks, ten in a minute of the world."""

    speed = 10

    async def sleep_until(self, when: int) -> None:
        await super().sleep_until(when + 4 * MINUTE)


def test_orders_in_time_are_at_a_broker_on_paper_before_the_candles_that_fill_them() -> None:
    broker = bknb.brokers.paper()
    strategy = bknb.add_strategy("w", interval="1m", get_signal=lambda price: signal(price, minutes=7))
    result = lived(strategy, clock=Fast(ORIGIN), broker=broker, quantity=1.0, late_minutes=10)
    assert result.errors == []
    prices = [event.signal.price_open if event.action == "opened" else event.price_close
              for event in result.events if event.action in ("opened", "closed")]  # fmt: skip
    assert len(prices) > 4
    filled = sorted(broker.orders.values(), key=lambda order: (order.created_at, order.side == "buy"))
    assert [order.average_price for order in filled][: len(prices)] == prices


@pytest.mark.parametrize("patient", [False, True])
def test_an_order_decided_before_a_hole_is_in_time_however_long_the_hole_is_waited_for(*, patient: bool) -> None:
    """It is at the broker at its moment, and nothing fills in a hole: the open behind it is the next price there is."""
    clock, broker = SimulatedClock(ORIGIN), bknb.brokers.paper()

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[list[float]]:
        end = min(since + limit * MINUTE, clock.now())
        return [row for row in rows() if since <= row[0] < end and not at(5) <= row[0] < at(9)]

    exchange = bknb.add_exchange("holed", get_candles=get_candles, intervals=["1m"])

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        return signal(price, minutes=30) if round(when.timestamp() * 1000) == at(5) else None

    strategy = bknb.add_strategy("w", interval="1m", get_signal=get_signal)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange, clock=clock, until=UNTIL, store=bknb.stores.memory(),
        broker=broker, quantity=1.0, allow_gaps=not patient,
    )  # fmt: skip
    result = task.result(20)
    assert told(result.events) == [("opened", 9), ("closed", 39)]
    assert {error.kind for error in result.errors} == ({"hole"} if patient else set())
    assert result.run_record.records.late == {}
    entry = min(broker.orders.values(), key=lambda order: order.created_at)
    assert (entry.created_at, entry.average_price) == (at(5), result.events[0].signal.price_open)
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=(ORIGIN, UNTIL), allow_gaps=True)
    again = BacktestRun(plan)
    asyncio.run(again.through())
    assert told(again.records.events) == told(result.events)
