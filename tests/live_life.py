"""A scripted live run that can be killed wherever its disk changes; run as a script, it kills itself there.

As a script it reads one line of JSON after the other, each with a folder, a WHERE and whether every place is tried, and
answers each with one line of what was found. It plays the run once undisturbed. Then, for the chosen changes of the
disk (or moments before and after calls of the broker): a process is killed there, another one goes on to the
end, and what both left is compared with the undisturbed run. A run that has to wait for minutes again after its start
decides later than an undisturbed one; where minutes are missing, it is compared with a backtest that is told its late
decisions, and with the minutes that were taken away.

WHERE is ``disk``, ``sqlite`` or ``broker``, of a short life that has every kind of order; ``late disk``: the clock
sleeps through minutes; ``hole disk`` and ``hole sqlite``: some minutes never come, and the exchange raises and answers
nothing for some.

A change of the disk is a value that is written or removed, or the moment at which its new name is made to last; what
can happen within the writing of one file is for the tests of the stores. In ``disk`` a change is chosen when its kind,
the kind of the change before it, and whether anything was told in between are new together; in the others when its kind
is, and of holes and late orders every change, and the one behind it. Of the broker, a call with the one before it; in
``hole sqlite`` holes and late orders alone, as the run is that of ``hole disk``.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from broker_journal import sent_twice
from killed import killed_in_a_child
from noting_disk import Change, NotingDisk, Place, chosen
from scenarios import MINUTE, ORIGIN, source
from worlds import signals, walk

import bknb
from bknb.domain.broker_orders_and_ids import own_prefix
from bknb.domain.recovery import SavedResult, SavedSchedule, SavedSignal, SavedUndelivered, kept_result
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.events.heard import NOBODY
from bknb.live import results_not_heard
from bknb.live.ended_journal import EndedJournal
from bknb.live.hole_journal import Hole, HoleJournal
from bknb.live.late_journal import LateJournal
from bknb.live.saved_orders import read_orders
from bknb.ports import StateStore
from bknb.provenance.source_code_and_hash import read_code
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.brokers import FaultyBroker
from bknb.testing.clocks import SimulatedClock

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


SHORT = Script(seed=9, minutes=36, held_minutes=27)
LONG = Script(seed=161, minutes=75, held_minutes=55)
ROWS = {script: walk(script.seed) for script in (SHORT, LONG)}
MARKETS = {script: source(rows) for script, rows in ROWS.items()}  # what every child needs, before they are forked
ASLEEP = (ORIGIN + 20 * MINUTE, ORIGIN + 31 * MINUTE)
SETTINGS = {"schedule_await_minutes": 12}
GONE = ((14, 16), (33, 34))  # minutes that never come, with holes
HOLES: list[Hole] = [(ORIGIN + first * MINUTE, ORIGIN + end * MINUTE) for first, end in GONE]
RAISES, NOTHING = range(24, 27), range(42, 49)  # when the exchange raises, and answers nothing
WAKES = 3  # minutes until a minute that is due counts as missing
WITH_HOLES = {"patience_minutes": 4, "get_candles_retry_count": 1}
KEY = ("life", "BTCUSDT")
JOURNAL, QUANTITY = "exchange.jsonl", 2.0


def one_at_a_time(request: bknb.RiskRequest) -> bool:
    return request.open_position_count == 0


def script_of(where: str) -> Script:
    return SHORT if where in ("disk", "sqlite", "broker") else LONG


def comes(row: Sequence[float]) -> bool:
    return not any(first <= row[0] < end for first, end in HOLES)


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


for _script in ROWS:
    read_code(strategy_of(_script).get_signal)  # every child would read the source of its strategy anew


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


def store_of(folder: Path, where: str, *, disk: Disk | None = None) -> StateStore:
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
        return [row for row in ROWS[LONG] if since <= row[0] < end and comes(row)]

    return bknb.add_exchange("holed", get_candles=get_candles, intervals=["1m"])


BY: Final[dict[str, Literal["seam", "nothing"]]] = {"disk": "seam", "hole sqlite": "nothing"}
LOGS = ("received.log", "held.log")
EXPECTED = "expected.log"


def line_of(event: Any) -> str:
    kind = type(event).__name__
    extra = f" {event.side} {event.level}" if kind == "Milestone" else ""
    return f"{kind} {event.when} {event.signal.id} {event.signal.entry}{extra}"


def play(folder: Path, where: str, *, at: Place | int | None = None) -> None:
    """One life of the run; what listeners receive is appended to files that survive the process.

    ``at`` is a change of the disk or the number of a moment of the broker, and ends the process.
    """
    log, held_log = (os.open(folder / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY) for name in LOGS)
    script = script_of(where)
    results_not_heard.BESIDE_STATE = 8  # so that results are moved aside in this short life
    free = threading.Event()
    received = [0]

    def receive(event: Any) -> None:
        received[0] += 1
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
    disk = NotingDisk(folder / "state", received=lambda: received[0], at=at if isinstance(at, Place) else None)
    broker = FaultyBroker(bknb.brokers.paper(journal=folder / JOURNAL), at=at if isinstance(at, int) else None)
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
    expected = {"broker", "double_fill"}
    expected |= {"late", "hole", "silence", "exchange"} if holes else {"late"} if late else set()
    assert {error.kind for error in result.errors} <= expected, result.errors
    (folder / "errors.json").write_text(json.dumps(sorted({error.kind for error in result.errors})))
    (folder / "changes.json").write_bytes(msgspec.json.encode(disk.changes))
    (folder / "moments.json").write_text(json.dumps([call_of(moment) for moment in broker.moments]))
    if holes:
        lines = replayed(dict(result.run_record.records.late))
        (folder / EXPECTED).write_text("".join(f"{line}\n" for line in lines))


def call_of(moment: str) -> str:
    """What the broker was called for, without which order it was about."""
    when, call, about = moment.split()
    return f"{when} {call} {about.removeprefix(own_prefix(*KEY))[:1]}"


def replayed(late: Any) -> list[str]:
    """The lines of a backtest over the minutes that came, which is told what was decided late."""
    lines: list[str] = []

    def receive(event: Any) -> None:
        if event.when < LONG.until:
            lines.append(line_of(event))

    names = ("on_schedule", "on_open", "on_close", "on_cancel", "on_partial_profit", "on_partial_loss")
    callbacks = dict.fromkeys(names, receive)
    strategy = strategy_of(LONG, callbacks=callbacks)
    rows = [row for row in ROWS[LONG] if comes(row)]
    plan = plan_backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=source(rows),
        frame=(ORIGIN, LONG.until),
        settings=SETTINGS | WITH_HOLES,
        allow_gaps=True,
    )
    asyncio.run(BacktestRun(plan, late=late, listeners=NOBODY).through())
    return lines


def left(folder: Path, where: str) -> dict[str, bytes]:
    """Everything on the disk, by kind and key; how often and when something was saved is not compared."""
    found = {}
    with store_of(folder, where) as store:
        found["ended"] = msgspec.json.encode(EndedJournal(store, KEY).load())
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


def journal_troubles(folder: Path, where: str) -> list[str]:
    """What the disk has of holes and late orders that no fault explains."""
    with store_of(folder, where) as store:
        holes = HoleJournal(store, KEY).load()
        late = LateJournal(store, KEY)
        late.read([])
    wrong = [] if holes == (HOLES if where.startswith("hole") else []) else [f"the holes are {holes}"]
    faults = excused(where)
    return wrong + [
        f"the {order} of {(when - ORIGIN) // MINUTE} was decided at {(at - ORIGIN) / MINUTE:g}"
        for (when, order), at in late.decisions().items()
        if not any(first <= when < at <= end for first, end in faults)
    ]


def excused(where: str) -> list[tuple[int, int]]:
    """When decisions may be late (UTC ms): from the beginning of a fault until it is over and was waited for twice."""
    if where.startswith("late"):
        return [ASLEEP]
    if not where.startswith("hole"):
        return []
    waits = 2 * WITH_HOLES["patience_minutes"] + WAKES
    return [
        (ORIGIN + first * MINUTE, ORIGIN + (end + waits) * MINUTE)
        for first, end in (*GONE, (RAISES.start, RAISES.stop), (NOTHING.start, NOTHING.stop))
    ]


def state_troubles(folder: Path, where: str, expected: list[str]) -> list[str]:
    """What the disk has of signals beside the lines of a backtest."""
    last = {line.split()[2]: line.split()[0] for line in expected if not line.startswith("Milestone")}
    ended = sorted(name for name, kind in last.items() if kind in ("Closed", "Cancelled"))
    opened, scheduled = ([name for name, kind in last.items() if kind == wanted] for wanted in ("Opened", "Scheduled"))
    with store_of(folder, where) as store:
        signal, schedule = store.read("signal", KEY), store.read("schedule", KEY)
        state = None if signal is None else msgspec.json.decode(signal, type=SavedSignal)
        found = {
            "ended": (sorted(end.signal.id for end in EndedJournal(store, KEY).load()), ended),
            "open": ([] if state is None or state.signal is None else [state.signal.id], opened),
            "scheduled": (
                [] if schedule is None else [msgspec.json.decode(schedule, type=SavedSchedule).signal.id],
                scheduled,
            ),
        }
    return [f"{name} are {here}, not {there}" for name, (here, there) in found.items() if here != there]


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
    wrong = sent_twice(folder / JOURNAL)
    with store_of(folder, where) as store:
        saved = [order for key in store.keys("order") for order in read_orders(store, *key)]
    wrong += [f"{order.client_id} is {order.status}" for order in saved if order.status in ("intended", "sent")]
    at_broker = bknb.brokers.paper(journal=folder / JOURNAL).position("BTCUSDT")
    held = sum(order.filled_quantity * (1 if order.side == "buy" else -1) for order in saved)
    return wrong if held == at_broker else [*wrong, f"{held} are held by what is saved, {at_broker} at the broker"]


def compare(folder: Path, whole: Path, where: str, number: Place | int, kept: set[str]) -> list[str]:
    """What is wrong after the second life, empty when nothing is."""
    wrong = []
    wrong += [f"{number}: {text}" for text in broker_troubles(folder, where) + journal_troubles(folder, where)]
    if where.startswith("hole"):
        told = received_lines(folder, EXPECTED)
        wrong += [f"{number}: {text}" for text in state_troubles(folder, where, told)]
    else:
        here, there = left(folder, where), left(whole, where)
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


def places_of(whole: Path, where: str, *, every: bool) -> Sequence[Place | int]:
    """Where the run is killed, as its undisturbed life says."""
    if where == "broker":
        moments = ["", *json.loads((whole / "moments.json").read_text())]
        calls = list(itertools.pairwise(moments))
        return [number for number, call in enumerate(calls, start=1) if every or call not in calls[: number - 1]]
    changes = msgspec.json.decode((whole / "changes.json").read_bytes(), type=list[Change])
    if every:
        return [change.place for change in changes]
    # Orders are written beside the run, between any two of its changes: that is tried where ``where`` is ``disk``.
    orders = () if where == "disk" else ("write order", "remove order", "sync order")
    return chosen(changes, always=("write hole", "write late"), never=orders, by=BY.get(where, "kind"))


def found_in(folder: Path, where: str, *, every: bool) -> dict[str, Any]:
    """Play the run undisturbed and then killed at each place; what there was, and what is wrong."""
    whole = folder / "whole"
    whole.mkdir()
    assert not killed_in_a_child(lambda: play(whole, where))
    wrong = compare(whole, whole, where, 0, set())
    killed: list[str] = []
    moved = 0
    for number in places_of(whole, where, every=every):
        place = folder / "killed"
        place.mkdir()
        if not killed_in_a_child(lambda: play(place, where, at=number)):  # noqa: B023 -- called at once
            wrong.append(f"{number}: it did not come to this place")
        killed.append(number.change if isinstance(number, Place) else f"call {number}")
        turning = [line for line in received_lines(place) if not line.startswith("Milestone")]
        if turning and not is_on_disk(place, where, turning[-1]):
            wrong.append(f"{number}: {turning[-1]} was told before it was on the disk")
        kept = kept_lines(place, where)
        moved += has_moved(place, where)
        assert not killed_in_a_child(lambda: play(place, where))  # noqa: B023
        wrong += compare(place, whole, where, number, kept)
        shutil.rmtree(place)
    lines = received_lines(whole)
    return {
        "killed": killed,
        "moved": moved,
        "errors": json.loads((whole / "errors.json").read_text()),
        "wrong": wrong,
        "kinds": sorted({line.split()[0] for line in lines}),
        "shapes": sorted(shapes(lines)),
    }


def main() -> None:
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    gc.set_threshold(50_000)  # and few are needed in so short a life
    for line in sys.stdin:
        folder, where, every = json.loads(line)
        print(json.dumps(found_in(Path(folder), where, every=every)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
