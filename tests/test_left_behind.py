"""What nobody watches is named at the next start, with the line that goes on with it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from minute_clock import MinuteClock
from order_events import scheduled
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.live.results_not_heard import BESIDE_STATE, Undelivered
from bknb.live.unwatched_positions import unwatched
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

ROWS = [[ORIGIN + n * MINUTE, *[100.0 + 0.02 * n] * 4, 5.0] for n in range(-60, 200)]
KEY = ("old", "BTCUSDT")


def patient(price: float, minutes: int = 100, away: float = 0.0) -> dict[str, Any]:
    levels = {"price_take_profit": price * 1.05, "price_stop_loss": price * 0.9, "minute_estimated_time": minutes}
    return {"position": "long", **levels} | ({"price_open": price - away} if away else {})


def waits(price: float) -> dict[str, Any]:
    return patient(price, away=5.0)


def never() -> None:
    return None


def start(
    name: str, store: Any, first: int, until: int, *, fn: Any = patient, interval: str = "5m", clock: Any = None,
    params: Any = None, **options: Any,
) -> Any:  # fmt: skip
    bknb.add_strategy(name, interval=interval, get_signal=fn, **({} if params is None else {"params": params}))
    return bknb.Live.background(
        "BTCUSDT", strategy=name, exchange=source(ROWS), clock=clock or SimulatedClock(ORIGIN + first * MINUTE),
        until=ORIGIN + until * MINUTE, store=store, **options,
    )  # fmt: skip


def run(name: str, store: Any, first: int, until: int, **options: Any) -> bknb.Result:
    return start(name, store, first, until, **options).result(timeout=60)


def told(result: bknb.Result) -> list[str]:
    return [error.message for error in result.errors if error.kind == "state"]


def line_of(text: str) -> str:
    found = re.search(r"bknb\.Live\.background\(.*?, store=store\)", text)
    assert found is not None, text
    return found.group()


def carried_out(line: str, store: Any, first: int, until: int, **names: Any) -> Any:
    """The task of a line as it was told, on the clock and the market of the test."""
    clock = SimulatedClock(ORIGIN + first * MINUTE)
    bknb.add_exchange("frame", get_candles=source(ROWS).get_candles, intervals=["1m"])
    line = line.replace("store=store)", f"store=store, clock=clock, until={ORIGIN + until * MINUTE})")
    return eval(line, {"bknb": bknb, "store": store, "clock": clock} | names)  # noqa: S307 -- what a user would type


# --- a strategy that was renamed --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_position_of_a_renamed_strategy_is_named_with_the_line_that_resumes_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    run("old", store, 0, 30)
    heard: list[Any] = []
    bknb.listen_error(lambda event: heard.append(event.message))
    renamed = run("new", store, 31, 40, fn=never)
    (text,) = told(renamed)
    assert "'old' holds a position on BTCUSDT (long 'old-BTCUSDT-20240101T0000', at 100 since 2024-01-01 00:00" in text
    assert heard == [text]
    assert len(text.splitlines()) == 3
    task = carried_out(line_of(text), store, 41, 150)
    ended = [event for event in task.result(timeout=60).events if event.action == "closed"]
    assert ended[0].close_reason == "time_expired"
    assert told(run("new", store, 151, 160, fn=never)) != []  # what the old one opened after it


@pytest.mark.slow
def test_with_stop_it_is_watched_to_its_end_and_with_the_other_line_forgotten() -> None:
    for way in ("stop", "forget"):
        store = MemoryStore()
        run("old", store, 0, 30)
        (text,) = told(run("new", store, 31, 40, fn=never))
        if way == "stop":
            task = carried_out(line_of(text), store, 41, 199)
            task.stop()
            result = task.result(timeout=60)
            assert [event.action for event in result.events] == ["closed"]
        else:
            with store:
                for line in re.findall(r"store\.delete\(.*?\)\)", text):
                    eval(line, {"store": store})  # noqa: S307 -- what a user would type
        assert told(run("new", store, 180, 190, fn=never)) == []


def test_an_entry_that_waits_is_named_and_what_is_over_is_not() -> None:
    store = MemoryStore()
    run("old", store, 0, 30, fn=waits)
    run("over", store, 0, 30, fn=never)
    (text,) = told(run("new", store, 31, 40, fn=never))
    assert "'old' has an entry on BTCUSDT (long " in text


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    run("old", store, 0, 30)
    path = tmp_path / "signal" / "old" / "BTCUSDT.json"
    path.write_bytes(path.read_bytes()[:-20])
    for first in (31, 41):  # moved aside by the first, and named by the second too
        (text,) = told(run("new", store, first, first + 5, fn=never))
        assert text.startswith("StateError: what 'old' on BTCUSDT left in this store cannot be read: ")
        assert "look at your exchange" in text


@pytest.mark.slow
def test_a_position_with_orders_is_named_with_them_and_resumed_with_its_broker() -> None:
    store, broker = MemoryStore(), PaperBroker()
    with_orders(store, 0, 30, broker).result(timeout=60)
    (text,) = told(run("new", store, 31, 40, fn=never))
    assert "its orders at a broker are not over: buy 2 BTCUSDT for 'old-BTCUSDT-20240101T0000', 2 open" in text
    assert "when nothing is open at the broker, to forget it: " in text
    task = carried_out(
        line_of(text), store, 41, 104, broker=broker, quantity=2.0, clock=MinuteClock(ORIGIN + 41 * MINUTE)
    )
    task.stop()
    assert [event.action for event in task.result(timeout=60).events] == ["closed"]
    assert broker.position("BTCUSDT") == 0.0


def test_the_line_that_forgets_leaves_nothing_that_is_told_later() -> None:
    store = MemoryStore()
    with_orders(store, 0, 30, PaperBroker()).result(timeout=60)
    with store:
        moved = Undelivered(store, *KEY)
        moved.add(tuple(scheduled(at=at) for at in range(1, BESIDE_STATE + 3)))
        moved.make_room()
        text = next(iter(unwatched(store, ()).values()))
        exec(text.partition("to forget it: ")[2], {"store": store})  # noqa: S102 -- what a user would type
        assert [kind for kind in ("signal", "schedule", "order", "partial") if store.read(kind, KEY)] == []
        assert store.keys("undelivered", KEY) == []
        assert unwatched(store, ()) == {}


class Together(SimulatedClock):
    """A clock that moves only when so many runs wait for the next minute, as the clock of a computer seems to."""

    def __init__(self, start: int, runs: int) -> None:
        super().__init__(start)
        self.missing = runs
        self.all_wait = asyncio.Event()

    async def sleep_until(self, when: int) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.all_wait.set()
        await self.all_wait.wait()
        await super().sleep_until(when)


def test_what_another_run_of_the_store_watches_is_not_named() -> None:
    store = MemoryStore()
    for name in ("old", "new", "lost"):
        run(name, store, 0, 30)
    clock = Together(ORIGIN + 61 * MINUTE, runs=2)
    tasks = [start(name, store, 61, 70, clock=clock) for name in ("old", "new")]
    (text,) = [text for task in tasks for text in told(task.result(timeout=60))]  # by one of them
    assert "'lost' holds a position" in text


# --- a state that was deleted -----------------------------------------------------------------------------------


def with_orders(store: Any, first: int, until: int, broker: Any = None, **options: Any) -> Any:
    orders = {} if broker is None else {"broker": broker, "quantity": 2.0}
    return start("old", store, first, until, clock=MinuteClock(ORIGIN + first * MINUTE), **orders, **options)


@pytest.mark.slow
@pytest.mark.parametrize("again_with", first_quick(["its broker", "no broker"]))
def test_a_deleted_state_is_noticed_by_its_orders_and_nothing_is_traded(tmp_path: Path, again_with: str) -> None:
    store, broker = FileStore(tmp_path), PaperBroker()
    with_orders(store, 0, 30, broker).result(timeout=60)
    assert broker.position("BTCUSDT") == 2.0
    path = tmp_path / "signal" / "old" / "BTCUSDT.json"
    kept = path.read_bytes()
    path.unlink()
    for _ in range(2):
        task = with_orders(store, 31, 60, broker if again_with == "its broker" else None)
        with pytest.raises(bknb.StateError, match="the state of 'old' on BTCUSDT is gone") as raised:
            task.result(timeout=60)
        assert "buy 2 BTCUSDT for 'old-BTCUSDT-20240101T0000', 2 open" in str(raised.value)
        assert len(str(raised.value).splitlines()) == 2
        assert broker.position("BTCUSDT") == 2.0
    (elsewhere,) = told(run("new", store, 31, 40, fn=never))
    assert "orders of 'old' on BTCUSDT are in this store, and no run works on them" in elsewhere
    path.write_bytes(kept)  # either put back …
    result = with_orders(store, 61, 104, broker).result(timeout=60)
    assert "closed" in [event.action for event in result.events]


def test_the_orders_of_a_deleted_state_can_be_forgotten(tmp_path: Path) -> None:
    store, broker = FileStore(tmp_path), PaperBroker()
    with_orders(store, 0, 30, broker).result(timeout=60)
    (tmp_path / "signal" / "old" / "BTCUSDT.json").unlink()
    task = with_orders(store, 31, 60, broker)
    with pytest.raises(bknb.StateError) as raised:
        task.result(timeout=60)
    with store:
        for line in re.findall(r"store\.delete\(.*?\)\)", str(raised.value)):
            eval(line, {"store": store})  # noqa: S307 -- what a user would type
    assert told(with_orders(store, 31, 60, PaperBroker()).result(timeout=60)) == []


def at_first(when: Any, price: float) -> dict[str, Any] | None:
    return patient(price) if (when.hour, when.minute) == (0, 0) else None


@pytest.mark.parametrize(
    ("minutes", "beside"),
    [
        (3, "'old-BTCUSDT-20240101T0000' was open, and its end was not saved"),
        (60, "'old-BTCUSDT-20240101T0000' was open, and its end was not saved"),
        (104, "1 of its results were saved"),
    ],
)
def test_a_deleted_state_is_noticed_by_what_was_saved_beside_it(minutes: int, beside: str) -> None:
    store = MemoryStore()
    run("old", store, 0, minutes, fn=at_first)
    with store:
        store.delete("signal", KEY)
    (text,) = told(run("old", store, minutes, minutes + 5, fn=never))
    assert beside in text
    assert told(run("old", store, minutes + 6, minutes + 9, fn=never)) == []  # there is a state again


def test_a_first_start_notices_nothing() -> None:
    assert told(run("old", MemoryStore(), 0, 10)) == []


def test_orders_of_a_run_without_a_broker_are_named() -> None:
    store, broker = MemoryStore(), PaperBroker()
    with_orders(store, 0, 30, broker).result(timeout=60)
    (text,) = told(run("old", store, 31, 40))
    assert "a broker carried out orders of 'old' on BTCUSDT that are not over; this run has none" in text


# --- another set-up ---------------------------------------------------------------------------------------------


def tuned(price: float, away: float = 1.0) -> dict[str, Any]:
    return patient(price)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "interval": ({"interval": "1h"}, "interval was 5m, is 1h"),
    "a parameter": ({"params": {"away": 2.0}}, "parameter away was 1.0, is 2.0"),
    "a setting": ({"settings": {"percent_fee": 0.2}}, "setting percent_fee was 0.1, is 0.2"),
}


@pytest.mark.parametrize("name", first_quick(CHANGES))
@pytest.mark.parametrize("life", first_quick(["open", "waits"]))
def test_a_position_of_another_set_up_is_named_and_watched(name: str, life: str) -> None:
    changes, text = CHANGES[name]
    store, fn = MemoryStore(), tuned if life == "open" else tuned_waits
    before = {"fn": fn, "params": {"away": 1.0}}
    run("old", store, 0, 30, **before)
    for first in (31, 41):  # at every start, until it is over
        (notice,) = told(run("old", store, first, first + 5, **(before | changes)))
        assert text in notice
        assert "interval='5m'" in line_of(notice)
    assert told(run("old", store, 51, 55, **before)) == []
    result = run("old", store, 56, 160, **(before | changes))
    assert [event.action for event in result.events if event.action in ("closed", "cancelled")]
    later = run("old", store, 161, 165, **(before | changes))
    assert [notice for notice in told(later) if text in notice] == []  # what it opened since, it opened as it is now


def tuned_waits(price: float, away: float = 1.0) -> dict[str, Any]:
    return patient(price, away=5.0)


def test_a_setting_of_fetching_is_no_other_set_up() -> None:
    store = MemoryStore()
    run("old", store, 0, 30)
    assert told(run("old", store, 31, 40, settings={"get_candles_retry_count": 7})) == []


def test_another_execution_model_is_refused_with_the_line_that_resumes() -> None:
    store = MemoryStore()
    run("old", store, 0, 30)
    task = start("old", store, 31, 40, execution="vwap")
    with pytest.raises(bknb.StateError, match="execution 'pessimistic' is not 'vwap'") as raised:
        task.result(timeout=60)
    result = carried_out(line_of(str(raised.value)), store, 31, 110).result(timeout=60)
    assert "closed" in [event.action for event in result.events]
