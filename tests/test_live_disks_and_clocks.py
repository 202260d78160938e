"""Live runs on disks that are slow, full or not theirs, and on clocks that are set."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source
from worlds import SETTINGS, signals, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.events import subjects
from bknb.events.listen import drain
from bknb.market.system_clock import SystemClock, speed_of
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import AcceleratedClock, SimulatedClock
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
    return told(undisturbed_records(late).events)


def undisturbed_records(late: dict[int, int] | None = None) -> Records:
    strategy = bknb.add_strategy("kept", interval="1m", get_signal=signals(SEED))
    plan = plan_backtest(
        "BTCUSDT", strategy=strategy, exchange=source(walk(SEED)), frame=(ORIGIN, UNTIL), settings=SETTINGS
    )
    run = BacktestRun(plan, late=late)
    asyncio.run(run.through())
    return run.records


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


@pytest.mark.slow
def test_a_slow_disk_changes_nothing_while_it_is_faster_than_the_minutes(tmp_path: Path) -> None:
    clock = SimulatedClock(ORIGIN)
    disk = SlowDisk(clock, lambda _: 9)
    result = live(FileStore(tmp_path, disk=disk), clock)
    assert disk.syncs > 50
    assert not result.errors
    assert told(result.events) == undisturbed()


@pytest.mark.slow
def test_what_a_disk_makes_late_is_told_and_fills_at_the_market_of_then(tmp_path: Path) -> None:
    clock = SimulatedClock(ORIGIN)
    result = live(FileStore(tmp_path, disk=SlowDisk(clock, lambda number: 200 if number % 13 == 0 else 1)), clock)
    late = dict(result.run_record.records.late)
    assert {error.kind for error in result.errors} == {"late"}
    assert told(result.events) == undisturbed(late) != undisturbed()


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_kind_of_change_delays_the_run_and_nothing_else(folder_in_memory: Path) -> None:
    """Each kind of change in a run of its own; the minute is tried again before the next one."""
    whole = FaultyDisk()
    assert not live(FileStore(folder_in_memory / "whole", disk=whole), SimulatedClock(ORIGIN)).errors
    expected, full = undisturbed(), OSError(errno.ENOSPC, "No space left on device")
    kinds = set()
    for at, kind in changes_of_kinds(whole.calls, folder_in_memory / "whole"):
        disk = FaultyDisk(at=at, fault=full)
        store = FileStore(folder_in_memory / str(at), disk=disk)
        if not kind:  # the folder itself, before the run begins
            with pytest.raises(bknb.StateError, match=r"make room on the disk|choose another root"):
                live(store, SimulatedClock(ORIGIN))
            continue
        result = live(store, SimulatedClock(ORIGIN))
        assert told(result.events) == expected, disk.calls[at - 1]
        assert [error.kind for error in result.errors] == ["state"], disk.calls[at - 1]
        kinds.add(kind)
    assert kinds == {"candle", "ended", "note", "partial", "schedule", "signal"}


def changes_of_kinds(calls: list[str], root: Path) -> list[tuple[int, str]]:
    """The numbers of the changes whose call, and kind of value, are new together, from 1 on; and the kinds."""
    found, seen, kind = [], set(), ""
    for number, call in enumerate(calls, start=1):
        name, _, what = call.partition(" ")
        if root in Path(what).parents:  # else it is about the file that was created last, or a folder above
            kind = Path(what).relative_to(root).parts[0]
        if (name, kind) not in seen:
            found.append((number, kind))
        seen.add((name, kind))
    return found


class Refusing(Disk):
    """A disk that refuses every write between two minutes."""

    def __init__(self, clock: SimulatedClock, first: int, end: int, *, number: int = errno.ENOSPC) -> None:
        self._clock, self._first, self._end = clock, ORIGIN + first * MINUTE, ORIGIN + end * MINUTE
        self._number = number

    def write(self, handle: int, data: bytes) -> int:
        if self._first < self._clock.now() < self._end:
            raise OSError(self._number, os.strerror(self._number))
        return super().write(handle, data)

    def create(self, path: Path) -> int:
        if self._number == errno.EROFS and self._first < self._clock.now() < self._end:
            raise OSError(self._number, os.strerror(self._number))
        return super().create(path)


@pytest.mark.parametrize("number", first_quick([errno.ENOSPC, errno.EROFS]), ids=errno.errorcode.get)
def test_a_disk_that_stays_full_for_minutes_is_told_and_then_made_up_for(tmp_path: Path, number: int) -> None:
    clock = SimulatedClock(ORIGIN)
    disk = Refusing(clock, 90, 112, number=number)
    heard: list[Any] = []
    stop = bknb.listen_signal_live(heard.append, quiet=False)
    result = live(FileStore(tmp_path, disk=disk), clock)
    assert drain(subjects.signal_live, timeout=10)
    stop()
    assert {error.kind for error in result.errors} == {"state", "late"}
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


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_whose_disk_stays_full_for_good_is_told_and_ends(tmp_path: Path, *, stopped: bool) -> None:
    """The position stays as it was saved, and the next start watches it through what was missed."""
    clocks = [SimulatedClock(ORIGIN)]
    rows = [[ORIGIN + n * MINUTE, *[100.0 if n < 60 else 90.0] * 4, 1.0] for n in range(-60, 300)]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[list[float]]:
        now = clocks[-1].now()
        if stopped and ORIGIN + 45 * MINUTE <= now < ORIGIN + 100 * MINUTE:
            task.stop()
        return [row for row in rows if since <= row[0] < min(since + limit * MINUTE, now // MINUTE * MINUTE)]

    def get_signal() -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=150.0, price_stop_loss=98.0, minute_estimated_time=900)

    exchange = bknb.add_exchange("plain", get_candles=get_candles, intervals=["1m"])
    options: dict[str, Any] = {"strategy": bknb.add_strategy("kept", interval="1m", get_signal=get_signal)}
    options["exchange"] = exchange
    store = FileStore(tmp_path, disk=Refusing(clocks[0], 40, 10_000))
    task = bknb.Live.background("X", clock=clocks[0], until=ORIGIN + 120 * MINUTE, store=store, **options)
    result = task.result(timeout=60)
    assert result.stopped == stopped
    assert clocks[0].now() <= ORIGIN + (75 if stopped else 123) * MINUTE
    assert [event.action for event in result.events] == ["opened"]
    assert {error.kind for error in result.errors} == {"state"}
    if stopped:
        assert "no minute of X could be saved since 2024-01-01 00:40 UTC" in result.warnings[-1]
    clocks.append(SimulatedClock(ORIGIN + 200 * MINUTE))
    again = bknb.Live.background(
        "X", clock=clocks[1], until=ORIGIN + 210 * MINUTE, store=FileStore(tmp_path), **options
    )
    end = next(event for event in again.result(60).events if event.action == "closed")
    assert (end.close_reason, end.price_close, end.closed_at) == ("stop_loss", 90.0, ORIGIN + 60 * MINUTE)


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


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [-30, -1, -500])
def test_a_clock_that_is_set_back_changes_nothing(minutes: int, tmp_path: Path) -> None:
    result = live(FileStore(tmp_path), SetClock(60, minutes))
    assert not result.errors
    assert told(result.events) == undisturbed()


@pytest.mark.slow
def test_a_clock_that_is_set_forward_makes_decisions_late(tmp_path: Path) -> None:
    late = {}
    for at in (15, 30, 45, 60):
        result = live(FileStore(tmp_path / str(at)), SetClock(at, 45))
        assert {error.kind for error in result.errors} <= {"late"}
        assert told(result.events) == undisturbed(dict(result.run_record.records.late))
        late |= dict(result.run_record.records.late)
    assert late


SPEED = 3600.0  # an hour passes in a second


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals that stop a process")
def test_a_process_that_is_stopped_for_an_hour_watches_its_position_when_it_goes_on() -> None:
    """It stops itself once its position is open; it goes on when an hour of its clock has passed."""
    script = Path(__file__).with_name("stopped_life.py")
    child = subprocess.Popen([sys.executable, str(script), str(SPEED)], stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        status = 0
        while not status and time.monotonic() < deadline:
            _, status = os.waitpid(child.pid, os.WUNTRACED | os.WNOHANG)
            time.sleep(0.01)
        assert os.WIFSTOPPED(status), "it did not come to the point where it stops"
        time.sleep(3600 / SPEED)  # an hour of its clock
        os.kill(child.pid, signal.SIGCONT)
        out, _ = child.communicate(timeout=120)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    found = json.loads(out)
    assert found["closed"] == ["stop_loss", 90.0, 20]
    assert found["holes"] == [[30, 33]]
    assert "hole" in found["kinds"]
    assert found["live"] == found["backtest"]


@pytest.mark.slow
def test_a_run_that_is_started_on_a_clock_before_its_saved_minutes_waits_for_them(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    early = SimulatedClock(ORIGIN)
    strategy = bknb.add_strategy("kept", interval="1m", get_signal=signals(SEED))
    options: dict[str, Any] = {"strategy": strategy, "exchange": source(walk(SEED)), "store": store}
    options["settings"] = SETTINGS
    bknb.Live.background("BTCUSDT", clock=early, until=ORIGIN + 60 * MINUTE, **options).result(60)
    result = live(store, SimulatedClock(ORIGIN + 10 * MINUTE))
    assert told(result.run_record.records.ends) == told(undisturbed_records().ends)


def test_the_speed_of_a_clock_is_its_own_or_that_of_real_time() -> None:
    assert speed_of(SystemClock()) == speed_of(SimulatedClock(0)) == 1.0
    assert speed_of(AcceleratedClock(0, speed=600)) == 600
