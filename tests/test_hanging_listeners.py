"""A listener that hangs holds up the end of a live run for a limited time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from minute_clock import MinuteClock
from scenarios import ORIGIN, source
from waiting import until

import bknb
import bknb.live.ending as ending_module
import bknb.live.run as run_module
import bknb.runs.live_task as live_module

MINUTE = 60_000
ROWS = [[ORIGIN + n * MINUTE, *[100.0] * 4, 5.0] for n in range(-60, 80)]


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """Set once the listener of a run hangs."""
    began, end = threading.Event(), threading.Event()

    def hang(event: Any) -> None:
        began.set()
        end.wait(60)

    quiet = bknb.listen_signal_live(hang)
    yield began
    quiet()
    end.set()


def started() -> Any:
    return bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", get_signal=lambda: None), exchange=source(ROWS),
        clock=MinuteClock(ORIGIN), until=ORIGIN + 5 * MINUTE, store=bknb.stores.memory(),
    )  # fmt: skip


@pytest.mark.slow
def test_a_listener_that_hangs_holds_up_the_end_of_a_run_for_ten_seconds_at_most(
    hung: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ending_module.LISTENER_SECONDS == 10.0
    for module in (ending_module, run_module, live_module):
        monkeypatch.setattr(module, "LISTENER_SECONDS", 0.5)
    task = started()
    assert hung.wait(20)
    assert task.wait(3)
    assert "a listener did not come to an end within 0.5 s" in task.result().warnings[-1]


def test_stop_now_ends_the_wait_for_a_listener_that_hangs(hung: threading.Event) -> None:
    task = started()
    assert hung.wait(20)
    assert until(lambda: task.now >= ORIGIN + 5 * MINUTE, 20)
    task.stop(now=True)
    assert task.wait(4)
    assert task.status == "fulfilled"
