"""Live runs on disks that are slow, full or not theirs, and on clocks that are set."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scenarios import MINUTE, ORIGIN, source
from worlds import SETTINGS, signals, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.events import subjects
from bknb.events.listen import drain
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import FaultyDisk

SEED = 36
UNTIL = ORIGIN + 120 * MINUTE


def live(store: Any, clock: SimulatedClock, *, settings: Any = SETTINGS) -> bknb.Result:
    strategy = bknb.add_strategy("kept", interval="1m", get_signal=signals(SEED))
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=source(walk(SEED)), clock=clock, until=UNTIL, store=store,
        settings=settings,
    )  # fmt: skip
    return task.result(timeout=120)


def undisturbed(late: dict[int, int] | None = None) -> list[bytes]:
    strategy = bknb.add_strategy("kept", interval="1m", get_signal=signals(SEED))
    plan = plan_backtest(
        "BTCUSDT", strategy=strategy, exchange=source(walk(SEED)), frame=(ORIGIN, UNTIL), settings=SETTINGS
    )
    run = BacktestRun(plan, late=late)
    asyncio.run(run.through())
    return told(run.records.events)


def told(events: Any) -> list[bytes]:
    return [
        msgspec.json.encode(msgspec.structs.replace(event, mode="live", frame=None))
        for event in events
        if event.when < UNTIL
    ]


# --- disks ----------------------------------------------------------------------------------------------------------


class SlowDisk(Disk):
    """A disk on which a file takes seconds to be safe, during which the clock goes on."""

    def __init__(self, clock: SimulatedClock, seconds: Callable[[int], int]) -> None:
        self.syncs = 0
        self._clock, self._seconds = clock, seconds

    def sync(self, handle: int) -> None:
        super().sync(handle)
        self.syncs += 1
        self._clock.advance(self._clock.now() + self._seconds(self.syncs) * 1000)


def test_a_slow_disk_changes_nothing_while_it_is_faster_than_the_minutes(tmp_path: Path) -> None:
    clock = SimulatedClock(ORIGIN)
    disk = SlowDisk(clock, lambda _: 9)
    result = live(FileStore(tmp_path, disk=disk), clock)
    assert disk.syncs > 50
    assert not result.errors
    assert told(result.events) == undisturbed()


def test_what_a_disk_makes_late_is_told_and_fills_at_the_market_of_then(tmp_path: Path) -> None:
    clock = SimulatedClock(ORIGIN)
    result = live(FileStore(tmp_path, disk=SlowDisk(clock, lambda number: 200 if number % 7 == 0 else 1)), clock)
    late = dict(result.run_record.records.late)
    assert {error.kind for error in result.errors} == {"late"}
    assert told(result.events) == undisturbed(late) != undisturbed()


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_change_delays_the_run_and_nothing_else(folder_in_memory: Path) -> None:
    """Every eighth change, each in a run of its own; the minute is tried again before the next one."""
    expected, at = undisturbed(), 30
    while True:
        disk = FaultyDisk(at=at, fault=OSError(errno.ENOSPC, "No space left on device"))
        result = live(FileStore(folder_in_memory / str(at), disk=disk), SimulatedClock(ORIGIN))
        if len(disk.calls) < at:
            break
        assert told(result.events) == expected
        assert {error.kind for error in result.errors} <= {"state"}
        at += 8
    assert at > 200


def test_a_disk_that_stays_full_for_minutes_is_told_and_then_made_up_for(tmp_path: Path) -> None:
    clock = SimulatedClock(ORIGIN)

    class Full(Disk):
        def write(self, handle: int, data: bytes) -> int:
            if ORIGIN + 90 * MINUTE < clock.now() < ORIGIN + 112 * MINUTE:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(handle, data)

    heard: list[Any] = []
    stop = bknb.listen_signal_live(heard.append, quiet=False)
    result = live(FileStore(tmp_path, disk=Full()), clock)
    assert drain(subjects.signal_live, timeout=10)
    stop()
    assert {"state", "late"} <= {error.kind for error in result.errors} <= {"state", "late", "silence"}
    assert told(result.events) == undisturbed(dict(result.run_record.records.late))
    assert told(heard) == told(result.events)


@pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(os, "setuid"), reason="needs another user")
def test_a_folder_that_an_ordinary_user_may_not_write_is_told(folder_in_memory: Path) -> None:
    folder = folder_in_memory / "state"
    with FileStore(folder) as store:
        store.write("signal", ("another", "BTCUSDT"), b"{}")
    for path in [folder_in_memory, folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            try:
                FileStore(folder).acquire()
            except bknb.StateError as error:
                os.write(there, str(error).encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    for path in [folder_in_memory, folder, *folder.rglob("*")]:
        path.chmod(0o755)
    assert "Permission denied" in text
    assert "must be able to write there" in text


# --- clocks ---------------------------------------------------------------------------------------------------------


class SetClock(SimulatedClock):
    """A clock that somebody sets at a moment, by so many minutes."""

    def __init__(self, at: int, by: int) -> None:
        super().__init__(ORIGIN)
        self._at, self._by, self._set = ORIGIN + at * MINUTE, by * MINUTE, False

    async def sleep_until(self, when: int) -> None:
        await asyncio.sleep(0)
        if when >= self._at and not self._set:
            self._set = True
            self._now = when + self._by
        else:
            self._now = max(self._now, when)


@pytest.mark.parametrize("minutes", [-1, -30, -500])
def test_a_clock_that_is_set_back_changes_nothing(minutes: int, tmp_path: Path) -> None:
    result = live(FileStore(tmp_path), SetClock(60, minutes))
    assert not result.errors
    assert told(result.events) == undisturbed()


def test_a_clock_that_is_set_forward_makes_decisions_late(tmp_path: Path) -> None:
    late = {}
    for at in (15, 30, 45, 60):
        result = live(FileStore(tmp_path / str(at)), SetClock(at, 45))
        assert {error.kind for error in result.errors} <= {"late"}
        assert told(result.events) == undisturbed(dict(result.run_record.records.late))
        late |= dict(result.run_record.records.late)
    assert late


def test_a_run_that_is_started_on_a_clock_before_its_saved_minutes_waits_for_them(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    early = SimulatedClock(ORIGIN)
    strategy = bknb.add_strategy("kept", interval="1m", get_signal=signals(SEED))
    options: dict[str, Any] = {"strategy": strategy, "exchange": source(walk(SEED)), "store": store}
    options["settings"] = SETTINGS
    bknb.Live.background("BTCUSDT", clock=early, until=ORIGIN + 60 * MINUTE, **options).result(60)
    result = live(store, SimulatedClock(ORIGIN + 10 * MINUTE))
    ends = [event.signal.id for event in result.events if event.action in ("closed", "cancelled")]
    assert len(ends) == len(set(ends))
    assert set(told(result.run_record.records.ends)) <= set(undisturbed())
