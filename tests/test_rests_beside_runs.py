"""Pauses before an order is tried again pass with the clock of a run: they do not move it past what a run works on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN
from test_capital import END, market
from test_live_portfolio import legs_of, told
from test_live_portfolio_weights import weights_of

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.market_clock_protocol import NEVER
from bknb.live.sleeping import Rests
from bknb.market.system_clock import SystemClock
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import AcceleratedClock, SimulatedClock

UNTIL = 60
LAST = ORIGIN + UNTIL * MINUTE


def test_a_pause_is_over_once_the_clock_is_past_it_and_does_not_move_it() -> None:
    async def scene() -> list[Any]:
        clock, found = SimulatedClock(0), list[Any]()
        rests = Rests(clock)
        pauses = [asyncio.create_task(rests.rest(seconds)) for seconds in (40.0, 90.0)]
        for now in (0, 39_999, 40_000, 600_000):
            clock.advance(now)
            rests.moved()
            for _ in range(5):
                await asyncio.sleep(0)
            found.append((clock.now(), rests.next_end, [pause.done() for pause in pauses]))
        return found

    assert asyncio.run(scene()) == [
        (0, 40_000, [False, False]),
        (39_999, 40_000, [False, False]),
        (40_000, 90_000, [True, False]),
        (600_000, NEVER, [True, True]),
    ]


@pytest.mark.parametrize(("clock", "seconds"), [(SystemClock(), 0.01), (AcceleratedClock(0, speed=6_000), 60.0)])
def test_with_a_clock_that_runs_a_pause_is_over_on_time_whatever_a_run_does(clock: Any, seconds: float) -> None:
    async def scene() -> int:
        began = clock.now()
        async with asyncio.timeout(20.0):
            await Rests(clock).rest(seconds)
        passed: int = clock.now() - began
        return passed

    assert asyncio.run(scene()) >= seconds * 1000 - 5


def hangs(call: str, _: str, __: int) -> bknb.brokers.Trouble | None:
    """Every order is filled by half, and the rest of it never is."""
    return bknb.brokers.Trouble(kind="partly") if call == "place" else None


def signals_of(seed: int) -> dict[str, Any]:
    return legs_of(seed, count=3, model="pessimistic") | {"sizing": "percent:30"}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
@pytest.mark.parametrize("kind", [signals_of, pytest.param(weights_of, marks=pytest.mark.slow)])
@pytest.mark.parametrize("trouble", [{"script": hangs}, {"rates": {"partly": 0.08}}], ids=["always", "by chance"])
def test_a_portfolio_whose_orders_are_filled_in_parts_ends_at_its_until(kind: Any, seed: int, trouble: Any) -> None:
    """Its broker is asked about what hangs again and again, for a minute behind the end; no moment is late."""
    clock, broker = SimulatedClock(ORIGIN), PaperBroker(seed=seed, **trouble)
    task = bknb.Live.portfolio(
        **kind(seed), capital=10_000, broker=broker, clock=clock, until=LAST, store=MemoryStore(), late_minutes=10_000
    )
    result = task.result(timeout=30)
    assert LAST <= clock.now() <= LAST + 2 * MINUTE
    kinds = {error.kind for leg in result.legs.values() for error in leg.errors}
    assert kinds <= {"broker", "cut_fill", "double_fill"}
    late = [leg.run_record.records.late for leg in result.legs.values()]
    assert late == [{}] * len(late)
    assert {order.status for order in broker.orders.values()} >= {"partly_filled"} or "rates" in trouble
    assert len(told(result)) > 3


@pytest.mark.parametrize("stops", [False, True])
def test_a_run_whose_closing_order_hangs_ends_and_says_so(stops: bool) -> None:  # noqa: FBT001
    """At its ``until``; where it was stopped, once its patience has passed."""
    clock, stopped = SimulatedClock(ORIGIN), list[int]()

    def get_signal(when: Any) -> Any:
        if stops and when.minute == 5:
            stopped.append(clock.now())
            task.stop()
        return {"position": "long", "minute_estimated_time": 2} if when.minute == 1 else None

    bknb.add_strategy("once", interval="1m", get_signal=get_signal)
    task: Any = bknb.Live.background(
        "BTCUSDT", strategy="once", exchange=market(), clock=clock, until=ORIGIN + 20 * MINUTE, store=MemoryStore(),
        broker=PaperBroker(script=hangs), quantity=1.0, settings={"patience_minutes": 4},
    )  # fmt: skip
    result = task.result(timeout=30)
    (warning,) = [text for text in result.warnings if "carried out what the record says" in text]
    assert "partly_filled" in warning
    assert len(result.trades) == 1
    end = stopped[0] + 4 * MINUTE if stops else ORIGIN + 20 * MINUTE
    assert end <= clock.now() <= end + 2 * MINUTE
    assert END > 20
