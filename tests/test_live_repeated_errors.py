"""What a strategy or a callback of a live run raises again and again is told once, counted, and told again later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from minute_clock import MinuteClock
from quick import first_quick
from scenarios import ORIGIN, source

import bknb
from bknb.testing.clocks import SimulatedClock

MINUTE = 60_000
ROWS = [[ORIGIN + n * MINUTE, *[100.0] * 4, 5.0] for n in range(-60, 80)]


def raises(*args: Any, **kwargs: Any) -> None:
    raise LookupError("no such thing")


def hold(when: Any, price: float) -> dict[str, Any]:
    levels = {"price_take_profit": price * 1.15, "price_stop_loss": price * 0.85, "minute_estimated_time": 100}
    return {"position": "long", **levels}


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        ("strategy", {"get_signal": raises}),
        ("callback", {"get_signal": hold, "callbacks": {"on_active": raises}}),
    ],
)
def test_what_user_code_raises_every_minute_is_told_once_with_its_count(kind: str, strategy: dict[str, Any]) -> None:
    heard: list[Any] = []
    bknb.listen_error(heard.append)
    task = bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", **strategy), exchange=source(ROWS),
        clock=MinuteClock(ORIGIN), until=ORIGIN + 30 * MINUTE, store=bknb.stores.memory(),
    )  # fmt: skip
    (error,) = task.result(timeout=30).errors
    assert error.kind == kind
    assert error.count >= 25
    assert [event.kind for event in heard] == [kind]


def brief(when: Any, price: float) -> dict[str, Any]:
    return hold(when, price) | {"minute_estimated_time": 4}


class Dying:
    """A store that raises something that no program catches, from its n-th write on."""

    def __init__(self, error: BaseException, first: int) -> None:
        self.kept, self.error, self.first, self.writes = bknb.stores.memory(), error, first, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept, name)

    def write(self, *given: Any) -> Any:
        self.writes += 1
        if self.writes >= self.first:
            raise self.error
        return self.kept.write(*given)


class Gone:
    """A clock that raises from some minute on."""

    def __init__(self, error: BaseException) -> None:
        self.kept, self.error = MinuteClock(ORIGIN), error

    def now(self) -> int:
        now = self.kept.now()
        if now >= ORIGIN + 10 * MINUTE:
            raise self.error
        return now

    async def sleep_until(self, when: int) -> None:
        await self.kept.sleep_until(when)


@pytest.mark.parametrize("clock", [None, Gone(OSError("no clock")), Gone(SystemExit(1))])
def test_a_run_that_dies_with_a_position_open_says_so_wherever_failures_are_told(clock: Any) -> None:
    errors: list[Any] = []
    exits: list[Any] = []
    bknb.listen_error(errors.append)
    bknb.listen_exit(exits.append)
    store = bknb.stores.memory() if clock is not None else Dying(SystemExit(1), 12)
    task = bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", get_signal=hold), exchange=source(ROWS),
        clock=clock or MinuteClock(ORIGIN), until=ORIGIN + 30 * MINUTE, store=store,
        broker=bknb.brokers.paper(), quantity=1.0,
    )  # fmt: skip
    assert task.wait(30)
    assert task.status == "rejected"
    (last,) = exits
    assert errors[-1:] == [last]
    assert last.kind == "run"
    left = last.message.split("\n")[-1]
    assert left.startswith("the position of s-BTCUSDT-")
    assert " is not watched any more; what is open at paper stays open: " in left
    assert left.endswith("start the run again, it goes on from its saved state")
    assert task.facts["Not watched"] == left == task.unwatched


def test_a_run_that_dies_with_nothing_open_is_told_as_its_end_alone() -> None:
    errors: list[Any] = []
    exits: list[Any] = []
    bknb.listen_error(errors.append)
    bknb.listen_exit(exits.append)
    task = bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", get_signal=lambda: None), exchange=source(ROWS),
        clock=MinuteClock(ORIGIN), until=ORIGIN + 30 * MINUTE, store=Dying(SystemExit(1), 5),
    )  # fmt: skip
    assert task.wait(30)
    assert [event.message for event in exits] == ["SystemExit: 1"]
    assert errors == []
    assert "Not watched" not in task.facts


class Flaky(Dying):
    """A store that raises for three writes, then goes on."""

    def write(self, *given: Any) -> Any:
        self.writes += 1
        if self.first <= self.writes < self.first + 3:
            raise self.error
        return self.kept.write(*given)


@pytest.mark.parametrize("first", first_quick([3, 8, 14]))
@pytest.mark.parametrize("risk", [None, "loose"])
def test_whatever_a_store_of_the_user_raises_is_a_trouble_of_the_state(first: int, risk: str | None) -> None:
    bknb.add_risk("loose", validations=[lambda request: True])
    task = bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", get_signal=brief, risk=risk), exchange=source(ROWS),
        clock=MinuteClock(ORIGIN), until=ORIGIN + 30 * MINUTE, store=Flaky(ConnectionError("no \ud800 db"), first),
        broker=bknb.brokers.paper(), quantity=1.0,
    )  # fmt: skip
    result = task.result(timeout=30)
    assert {"state"} <= {error.kind for error in result.errors} <= {"state", "late"}
    text = "Flaky.write of the store raised ConnectionError: no \\ud800 db"
    assert any(text in error.message for error in result.errors)
    assert len(result.trades) >= 3


# --- what takes long -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["question", "rule"])
def test_own_work_that_takes_longer_than_the_patience_is_no_silence_of_the_exchange(slow: str) -> None:
    clock, asked = SimulatedClock(ORIGIN), []

    def wait(what: str) -> None:
        if what == slow and not asked:
            asked.append(what)
            asyncio.run(clock.sleep_until(clock.now() + 15 * MINUTE))

    def get_signal(when: Any, price: float) -> dict[str, Any]:
        wait("question")
        return brief(when, price)

    def rule(request: Any) -> bool:
        wait("rule")
        return True

    bknb.add_risk("slow", validations=[rule])
    task = bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", get_signal=get_signal, risk="slow"),
        exchange=source(ROWS), clock=clock, until=ORIGIN + 40 * MINUTE, store=bknb.stores.memory(),
    )  # fmt: skip
    result = task.result(timeout=30)
    assert asked
    assert [error.message for error in result.errors if error.kind == "silence"] == []
    assert not any("no minute" in text for text in result.warnings)
