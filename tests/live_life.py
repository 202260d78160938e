"""A scripted live run that can be killed anywhere; run as a script, it kills itself wherever the disk changes.

``python live_life.py FOLDER WHERE FIRST STEP`` plays the run once undisturbed. Then, for the changes FIRST,
FIRST + STEP, ... of the disk (or the moments before and after each call of the broker): a process is killed there,
another one goes on to the end, and what both left is compared with the undisturbed run. It prints one JSON line with
what was found. A run that has to wait for minutes again after its start decides later than an undisturbed one; where
minutes are missing, it is compared with a backtest that is told its late decisions.

WHERE is ``disk`` or ``broker``, of a short life that has every kind of order; ``late disk``: the clock sleeps through
minutes; ``hole disk`` and ``hole sqlite``: some minutes never come, and the exchange raises and answers nothing for
some.

A change of the disk is a rename, a removal, or the moment at which one of them is made to last; what can happen within
the writing of one file is for the tests of the stores. In SQLite every statement is one.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from scenarios import MINUTE, ORIGIN, source
from worlds import signals, walk

import bknb
from bknb.domain.recovery import SavedResult, SavedSchedule, SavedSignal, SavedUndelivered, kept_result
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.live import undelivered
from bknb.live.ended_journal import EndedJournal
from bknb.live.hole_journal import HoleJournal
from bknb.ports import StateStore
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.brokers import FaultyBroker
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import FaultyDisk

LOADED = (bknb.Live, bknb.add_risk, bknb.brokers.paper)  # once, before anybody is forked


@dataclass(frozen=True)
class Script:
    """The market, the answers and the length of a life."""

    seed: int
    minutes: int
    held_minutes: int  # so long one of the listeners hears nothing

    @property
    def until(self) -> int:
        return ORIGIN + self.minutes * MINUTE

    @property
    def held_until(self) -> int:
        return ORIGIN + self.held_minutes * MINUTE


SHORT = Script(seed=9, minutes=36, held_minutes=27)  # every place of it is tried
LONG = Script(seed=161, minutes=75, held_minutes=55)
ROWS = {script: walk(script.seed) for script in (SHORT, LONG)}
MARKETS = {script: source(rows) for script, rows in ROWS.items()}  # what every child needs, before they are forked
ASLEEP = (ORIGIN + 20 * MINUTE, ORIGIN + 31 * MINUTE)
SETTINGS = {"schedule_await_minutes": 12}
GONE = (14, 15, 33)  # minutes that never come, with holes
RAISES, NOTHING = range(24, 27), range(42, 49)  # when the exchange raises, and answers nothing
WITH_HOLES = {"patience_minutes": 4, "get_candles_retry_count": 1}
KEY = ("life", "BTCUSDT")
JOURNAL, QUANTITY = "exchange.jsonl", 2.0


def one_at_a_time(request: bknb.RiskRequest) -> bool:
    return request.open_position_count == 0


def script_of(where: str) -> Script:
    return SHORT if where in ("disk", "broker") else LONG


def strategy_of(script: Script, **more: Any) -> Any:
    """Random signals whose positions end soon, by the clock and in doubt; every third resting entry is a stop entry."""
    drawn = signals(script.seed)

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        signal = drawn(when, price)
        if signal is None:
            return None
        signal["minute_estimated_time"] = 1 + signal["minute_estimated_time"] % 8
        if "price_open" in signal and when.minute % 3 == 0:
            sign = 1 if signal["position"] == "long" else -1
            level = price * (1 + sign * 0.003)
            signal |= {"entry": "stop", "price_open": level, "price_take_profit": level * (1 + sign * 0.02)}
            signal["price_stop_loss"] = level * (1 - sign * 0.02)
        return signal

    return bknb.add_strategy("life", interval="1m", get_signal=get_signal, risk="one", **more)


class Clock(SimulatedClock):
    """A clock that frees a listener at some time; ``asleep``: it sleeps through minutes, which are decided late.

    With ``kept``, a file, it goes on where the clock of the last process was.
    """

    def __init__(self, *, free: threading.Event, free_at: int, asleep: bool = False, kept: Path | None = None) -> None:
        super().__init__(int(kept.read_text()) if kept is not None and kept.exists() else ORIGIN)
        self.free, self.free_at = free, free_at
        self.asleep = asleep
        self.kept = kept

    async def sleep_until(self, when: int) -> None:
        if self.kept is not None:
            self.kept.write_text(str(max(when, self.now())))
        if when >= self.free_at:
            self.free.set()
        await super().sleep_until(ASLEEP[1] if self.asleep and ASLEEP[0] < when < ASLEEP[1] else when)


CHANGES = ("replace", "unlink", "sync_folder", "statement")


def store_of(folder: Path, where: str, *, disk: FaultyDisk | None = None) -> StateStore:
    return (
        SqliteStore(folder / "state.db", disk=disk)
        if where.endswith("sqlite")
        else FileStore(folder / "state", disk=disk)
    )


def holed(clock: SimulatedClock) -> Any:
    """The market without some minutes, from an exchange that fails for some."""

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        minute = (clock.now() - ORIGIN) // MINUTE
        if minute in RAISES:
            raise ConnectionError("no route")
        if minute in NOTHING:
            return []
        end = min(since + limit * MINUTE, clock.now())
        return [row for row in ROWS[LONG] if since <= row[0] < end and (row[0] - ORIGIN) // MINUTE not in GONE]

    return bknb.add_exchange("holed", get_candles=get_candles, intervals=["1m"])


LOGS = ("received.log", "held.log")
EXPECTED = "expected.log"


def line_of(event: Any) -> str:
    kind = type(event).__name__
    extra = f" {event.side} {event.level}" if kind == "Milestone" else ""
    return f"{kind} {event.when} {event.signal.id} {event.signal.entry}{extra}"


def play(folder: Path, where: str, *, at: int | None = None) -> None:
    """One life of the run; what listeners receive is appended to files that survive the process."""
    log, held_log = (os.open(folder / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY) for name in LOGS)
    script = script_of(where)
    undelivered.BESIDE_STATE = 8  # so that results are moved aside in this short life
    free = threading.Event()

    def receive(event: Any) -> None:
        os.write(log, f"{line_of(event)}\n".encode())

    def receive_held(event: Any) -> None:
        free.wait()
        os.write(held_log, f"{line_of(event)}\n".encode())

    for listener in (receive, receive_held):
        bknb.listen_signal_live(listener, quiet=False)
        bknb.listen_partial_profit(listener)
        bknb.listen_partial_loss(listener)
    bknb.add_risk("one", validations=[one_at_a_time])
    strategy = strategy_of(script)
    late, holes = where.startswith("late"), where.startswith("hole")
    clock = Clock(free=free, free_at=script.held_until, asleep=late, kept=folder / "clock" if holes else None)
    change = at if where.endswith(("disk", "sqlite")) else None
    disk = FaultyDisk(at=change, fault=None if change is None else "kill", only=CHANGES)
    broker = FaultyBroker(bknb.brokers.paper(journal=folder / JOURNAL), at=at if where == "broker" else None)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=holed(clock) if holes else MARKETS[script],
        settings=SETTINGS | (WITH_HOLES if holes else {}),
        clock=clock,
        until=script.until,
        store=store_of(folder, where, disk=disk),
        broker=broker,
        quantity=QUANTITY,
        late_minutes=10_000,
    )
    result = task.result(timeout=60)
    # the clock does not wait for the broker, whose market may be gone when an order arrives
    expected = (
        {"broker", "late", "hole", "silence", "exchange"} if holes else {"broker", "late"} if late else {"broker"}
    )
    assert {error.kind for error in result.errors} <= expected, result.errors
    (folder / "errors.json").write_text(json.dumps(sorted({error.kind for error in result.errors})))
    if holes:
        lines = replayed(dict(result.run_record.records.late))
        (folder / EXPECTED).write_text("".join(f"{line}\n" for line in lines))


def replayed(late: Any) -> list[str]:
    """The lines of a backtest over the minutes that came, which is told what was decided late."""
    lines: list[str] = []

    def receive(event: Any) -> None:
        if event.when < LONG.until:
            lines.append(line_of(event))

    names = ("on_schedule", "on_open", "on_close", "on_cancel", "on_partial_profit", "on_partial_loss")
    callbacks = dict.fromkeys(names, receive)
    strategy = strategy_of(LONG, callbacks=callbacks)
    rows = [row for row in ROWS[LONG] if (row[0] - ORIGIN) // MINUTE not in GONE]
    plan = plan_backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=source(rows),
        frame=(ORIGIN, LONG.until),
        settings=SETTINGS | WITH_HOLES,
        allow_gaps=True,
    )
    asyncio.run(BacktestRun(plan, late=late, silent=True).through())
    return lines


def in_a_process(folder: Path, where: str = "", *, at: int | None = None) -> bool:
    """Play in a forked process; returns whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            play(folder, where, at=at)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0, f"the run failed in {folder}"
    return True


def left(folder: Path, where: str) -> dict[str, bytes]:
    """Everything on the disk, by kind and key; how often and when something was saved is not compared."""
    found = {}
    with store_of(folder, where) as store:
        found["ended"] = msgspec.json.encode(EndedJournal(store, KEY).load())
        found["holes"] = msgspec.json.encode(HoleJournal(store, KEY).load())
        for kind in ("signal", "schedule", "risk", "late"):
            for key in store.keys(kind):
                payload = store.read(kind, key)
                assert payload is not None
                value = msgspec.json.decode(payload)
                for counted in ("turn", "untold", "heard"):
                    value.pop(counted, None)
                if kind == "signal" and value["signal"] is None and value["opening"] is None:
                    del value["fed"]  # a minute without anything open is saved with the next question
                found[f"{kind} {key}"] = msgspec.json.encode(value)
    return found


def received_lines(folder: Path, log: str = LOGS[0]) -> list[str]:
    return (folder / log).read_text().splitlines() if (folder / log).exists() else []


def kept_lines(folder: Path, where: str) -> set[str]:
    """The results that the disk has as not heard by every listener."""
    results: list[SavedResult] = []
    with store_of(folder, where) as store:
        signal, schedule = store.read("signal", KEY), store.read("schedule", KEY)
        saved = [] if signal is None else [msgspec.json.decode(signal, type=SavedSignal)]
        saved += [] if schedule is None else [msgspec.json.decode(schedule, type=SavedSchedule)]
        if not saved:
            return set()
        newest = max(saved, key=lambda value: value.turn)
        results += newest.undelivered
        for key in store.keys("undelivered", KEY):
            moved = msgspec.json.decode(store.read("undelivered", key) or b"", type=SavedUndelivered)
            results += moved.results[max(newest.heard - moved.first, 0) :]
    return {line_of(kept_result(result)) for result in results}


def shapes(lines: list[str]) -> set[str]:
    """What kinds of orders a life has."""
    found: set[str] = set()
    scheduled: set[str] = set()
    closed: dict[str, str] = {}
    for line in lines:
        kind, when, signal_id, entry, *_ = line.split()
        if kind == "Scheduled":
            scheduled.add(signal_id)
        if kind == "Closed":
            closed[when] = signal_id
        if kind != "Opened":
            continue
        found.add(f"{entry} that waited" if signal_id in scheduled else f"{entry} at its first open")
        decided = f"{int(when) // MINUTE % 60:02d}"
        if entry == "market" and not signal_id.endswith(decided):
            found.add("ordered before its candle")
        if closed.get(when, signal_id) != signal_id:
            found.add("turned round")
    return found


def is_on_disk(folder: Path, where: str, line: str) -> bool:
    """Whether the result a listener received last equals the state on disk."""
    kind, _, signal_id, *_ = line.split()
    with store_of(folder, where) as store:
        ended = any(end.signal.id == signal_id for end in EndedJournal(store, KEY).load())
        signal, schedule = store.read("signal", KEY), store.read("schedule", KEY)
        row = None if signal is None else msgspec.json.decode(signal, type=SavedSignal).signal
        opened = row is not None and row.id == signal_id
        waits = schedule is not None and msgspec.json.decode(schedule, type=SavedSchedule).signal.id == signal_id
    if kind in ("Closed", "Cancelled"):
        return ended
    return ended or opened or (kind == "Scheduled" and waits)


def broker_troubles(folder: Path, where: str) -> list[str]:
    """What is wrong between the orders as the broker has them and as they are saved."""
    received: dict[str, int] = {}
    for line in (folder / JOURNAL).read_text().splitlines():
        order = json.loads(line)
        received[order["client_id"]] = max(received.get(order["client_id"], 0), order["received"])
    wrong = [f"{name} was sent {times} times" for name, times in received.items() if times != 1]
    with store_of(folder, where) as store:
        saved = [row for key in store.keys("order") for row in json.loads(store.read("order", key) or b"[]")]
    wrong += [f"{row['client_id']} is {row['status']}" for row in saved if row["status"] in ("intended", "sent")]
    at_broker = bknb.brokers.paper(journal=folder / JOURNAL).position("BTCUSDT")
    held = sum(row["filled_quantity"] * (1 if row["side"] == "buy" else -1) for row in saved)
    return wrong if held == at_broker else [*wrong, f"{held} are held by what is saved, {at_broker} at the broker"]


def compare(folder: Path, whole: Path, where: str, number: int, kept: set[str]) -> list[str]:
    """What is wrong after the second life, empty when nothing is."""
    wrong = []
    wrong += [f"{number}: {text}" for text in broker_troubles(folder, where)]
    here = left(folder, where)
    there = here if where.startswith("hole") else left(whole, where)
    wrong += [
        f"{number}: {name} is {here.get(name)!r}, not {there.get(name)!r}"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    ]
    for log in LOGS:
        lines = received_lines(folder, log)
        expected = received_lines(folder, EXPECTED) if where.startswith("hole") else received_lines(whole, log)
        if set(lines) - set(expected):
            wrong.append(f"{number}: invented in {log} {set(lines) - set(expected)}")
        if missing := [line for line in expected if line not in lines]:
            wrong.append(f"{number}: never received in {log} {missing}")
        if repeated := {line for line in lines if lines.count(line) > 1 and line not in kept}:
            wrong.append(f"{number}: received twice in {log} although it was heard {repeated}")
        if often := {line for line in lines if lines.count(line) > 2}:
            wrong.append(f"{number}: received more than twice in {log} {often}")
    with store_of(folder, where) as store:
        wrong += [f"{number}: {key} is left although it was heard" for key in store.keys("undelivered", KEY)]
    return wrong


def has_moved(folder: Path, where: str) -> bool:
    """Whether results were moved aside because they no longer fit beside the state."""
    with store_of(folder, where) as store:
        return bool(store.keys("undelivered", KEY))


def main(folder: Path, where: str, first: int, step: int) -> None:
    whole = folder / "whole"
    whole.mkdir()
    assert in_a_process(whole, where)
    found = shapes(received_lines(whole))
    kinds = {line.split()[0] for line in received_lines(whole)}
    wrong = compare(whole, whole, where, 0, set())
    with store_of(whole, where) as store:
        holes = sum(end - begin for begin, end in HoleJournal(store, KEY).load()) // MINUTE
    errors = json.loads((whole / "errors.json").read_text())
    killed, moved, number = 0, 0, first
    while True:
        place = folder / "killed"
        place.mkdir()
        if in_a_process(place, where, at=number):
            break
        killed += 1
        turning = [line for line in received_lines(place) if not line.startswith("Milestone")]
        if turning and not is_on_disk(place, where, turning[-1]):
            wrong.append(f"{number}: {turning[-1]} was told before it was on the disk")
        kept = kept_lines(place, where)
        moved += has_moved(place, where)
        assert in_a_process(place, where)
        wrong += compare(place, whole, where, number, kept)
        shutil.rmtree(place)
        number += step
    out = {"killed": killed, "moved": moved, "holes": holes, "errors": errors, "wrong": wrong}
    print(json.dumps(out | {"kinds": sorted(kinds), "shapes": sorted(found)}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
