"""``bknb.testing.reset``: afterwards the process is as if bknb had not been used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import bknb
import bknb.exchanges
import bknb.stores
from bknb import frontend, process
from bknb.events import subjects
from bknb.log import log
from bknb.process import at_reset
from bknb.stores.default_store import chosen
from bknb.testing import reset
from bknb.testing.clocks import AcceleratedClock

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_704_067_200_000
DAY = 24 * 3_600_000
TRAIN, TEST = ({"start": START + n * DAY, "end": START + (n + 1) * DAY} for n in (0, 9))
RUN = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-02")}


class Mute:
    name = "mute"

    async def chat(self, *given: Any, **options: Any) -> Any:
        raise AssertionError("nobody asks it")


class Quiet:
    def debug(self, *values: object) -> None: ...

    info = warning = error = debug


class Shown(frontend.Terminal):
    pass


def nothing(ctx: Any) -> None:
    return None


def optimizer() -> None:
    bknb.add_optimizer("left", sources=["1h"], model=Mute(), range_train=[TRAIN], range_test=TEST, ledger=None)


def measured() -> None:
    bknb.Performance.start()
    bknb.backtest("BTCUSDT", strategy=nothing, interval="1h", **RUN)


def durations() -> list[str]:
    try:
        return [timing.metric for timing in bknb.Performance.get_data("BTCUSDT", "nothing").timings]
    except bknb.UsageError:
        return []


def compared() -> None:
    bknb.walker("BTCUSDT", strategies=[bknb.add_strategy("left", interval="1h", get_signal=nothing)], **RUN)


# what a test leaves behind, and how it is detected
LEFT: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "exchange": (lambda: bknb.add_exchange("left", get_candles=bknb.exchanges.demo()), bknb.list_exchanges),
    "strategy": (lambda: bknb.add_strategy("left", interval="1h", get_signal=nothing), bknb.list_strategies),
    "frame": (lambda: bknb.add_frame("left", start="2024-01-01", end="2024-02-01"), bknb.list_frames),
    "risk": (lambda: bknb.add_risk("left", validations=[nothing]), bknb.list_risks),
    "walker": (lambda: bknb.add_walker("left", strategies=[nothing], **RUN), bknb.list_walkers),
    "sizing": (
        lambda: bknb.add_sizing("left", method="fixed-percentage", risk_percentage=1),
        bknb.list_sizings,
    ),
    "optimizer": (optimizer, bknb.list_optimizers),
    "series": (lambda: bknb.add_series("left", {"published_at": [1_704_067_200]}), bknb.list_series),
    "settings": (lambda: bknb.set_config(percent_fee=0.07), bknb.get_config),
    "store": (lambda: bknb.set_store(bknb.stores.memory()), chosen),
    "logger": (lambda: bknb.set_logger(Quiet()), lambda: log.target),
    "backtest": (lambda: bknb.backtest("BTCUSDT", strategy=nothing, interval="1h", **RUN), bknb.Backtest.list),
    "comparison": (compared, bknb.Walker.list),
    "study": (lambda: (optimizer(), bknb.Optimizer.background("BTCUSDT", "left")), bknb.Optimizer.list),
    "durations": (measured, durations),
    "front end": (lambda: frontend.register(Shown()), lambda: type(frontend.frontend())),
    "listener": (lambda: bknb.listen_signal(print), lambda: [subject.subscribed for subject in subjects.ALL]),
}


@pytest.mark.parametrize("kind", LEFT)
def test_nothing_is_left(kind: str) -> None:
    leave, look = LEFT[kind]
    before = look()
    leave()
    assert look() != before
    reset()
    assert look() == before


@pytest.mark.parametrize("turn", ["one", "another"])
def test_a_test_finds_nothing_of_another(turn: str) -> None:
    assert "left-over" not in bknb.list_frames()
    bknb.add_frame("left-over", start="2024-01-01", end="2024-02-01")


def test_a_live_run_is_stopped_and_its_state_stays() -> None:
    store = bknb.stores.memory()
    clock = AcceleratedClock(START, speed=600)
    task = bknb.Live.background("BTCUSDT", strategy=nothing, exchange="demo", clock=clock, store=store)
    assert task.status == "pending"
    reset()
    assert task.done
    assert bknb.Live.list() == []
    store.acquire()  # nobody has it any more
    store.release()


def test_what_was_registered_last_is_undone_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_resets", [])
    order: list[int] = []
    at_reset(lambda: order.append(1))
    at_reset(lambda: order.append(2))
    process.reset_all()
    assert order == [2, 1]


def test_a_reset_that_fails_does_not_keep_the_others_from_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_resets", [])
    done: list[str] = []

    def broken() -> None:
        done.append("broken")
        raise RuntimeError("no")

    for undo in (lambda: done.append("first"), broken, lambda: done.append("last")):
        at_reset(undo)
    with pytest.raises(RuntimeError, match="no"):
        process.reset_all()
    assert done == ["last", "broken", "first"]
    at_reset(broken)
    with pytest.raises(ExceptionGroup) as caught:
        process.reset_all()
    assert [str(error) for error in caught.value.exceptions] == ["no", "no"]


def test_two_threads_do_not_reset_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_resets", [])
    inside = threading.Semaphore(1)
    entered, go_on = threading.Event(), threading.Event()
    met: list[bool] = []

    def slow() -> None:
        alone = inside.acquire(blocking=False)
        met.append(not alone)
        entered.set()
        go_on.wait(10)
        if alone:
            inside.release()

    at_reset(slow)
    threads = [threading.Thread(target=process.reset_all) for _ in range(2)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    threads[1].join(0.2)  # without a lock it would be inside by now
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert met == [False, False]


def test_a_process_that_has_used_nothing_can_be_reset() -> None:
    reset()
    reset()
