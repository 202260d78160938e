"""Live runs over weeks of simulated minutes with faults at random, compared with undisturbed backtests.

``python tests/soak.py FOLDER [--days 60] [--pairs 20]`` plays lives of one process after the other on the same state:
each ends by a kill at a change of the disk, by a stop, or where it was told to end; the next begins some time later.
Meanwhile the exchange answers nothing, raises, does not answer, has the newest candles late, or one later than those
behind it; some minutes never come; the computer sleeps; the disk is full; the broker refuses, fills in part, and loses
orders and answers; strategies and listeners raise, and listeners are slow. Every second run accepts holes at once, the
others wait for what is missing. The figures are printed as one line of JSON; ``wrong`` holds what differs from
backtests without the minutes that a run says it went on without, with the delays of orders it says were late, and
without the questions it left out while it said that account and record disagree; and every such minute and delay that
nothing that went wrong explains.

Time is simulated and goes on when somebody waits. ``--step`` minutes pass at least with each wait: 1 is the clock of a
run as it is, more makes a long soak shorter, for several minutes are then caught up at once.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from broker_journal import sent_twice
from scenarios import MINUTE, ORIGIN
from soak_expected import compare, line_of
from soak_world import (
    ASKED,
    AT_THE_END,
    BEFORE,
    DAY,
    EVERY,
    KILLED_WITHIN,
    LATE_ALONE,
    LISTENER_IS_SLOW,
    LISTENER_RAISES,
    MEMORY,
    ORDERS,
    QUANTITY,
    RECEIVED,
    SETTINGS,
    STOPPED,
    SYMBOL,
    Faults,
    Market,
    Soak,
    SoakClock,
    TroubledBroker,
    TroubledDisk,
    TroubledMarket,
    appending,
    not_on_some_minutes,
    pairs,
    strategy,
    waits_for_holes,
)

import bknb
from bknb.domain.signal_events import Cancelled, Closed, Milestone
from bknb.stores.file_store import FileStore

LOADED = (bknb.Live, bknb.backtest)  # once, before anybody is forked


def listener(soak: Soak, chance: random.Random) -> Callable[[Any], None]:
    """A listener that notes what it receives, is slow, and raises."""
    received = appending(soak.folder / RECEIVED)

    def receive(event: Any) -> None:
        if isinstance(event, Closed | Cancelled | Milestone):
            os.write(received, f"{line_of(event)}\n".encode())
        if soak.calm:
            return
        if chance.random() < LISTENER_IS_SLOW:
            time.sleep(0.002)
        if chance.random() < LISTENER_RAISES:
            raise RuntimeError("this listener has bad moments")

    return receive


def live(soak: Soak, market: Market, number: int, start: int, reached: mmap.mmap, told: int) -> None:
    """One life of the process; its figures are written to ``told``, a pipe, when it comes to its end."""
    chance = random.Random(f"{soak.seed} {number}")  # noqa: S311
    calm, faults = soak.calm, Faults(soak.folder)
    clock = SoakClock(
        start,
        step=soak.step,
        chance=random.Random(chance.random()),  # noqa: S311
        reached=reached,
        faults=faults,
        calm=calm,
    )
    length = round(chance.expovariate(1 / soak.life_days) * DAY)
    last = calm or start + length >= soak.end
    how = "end" if last else chance.choice(["kill", "kill", "stop", "until"])
    changes = round(length / DAY * soak.pairs * chance.choice(KILLED_WITHIN))
    kill_at = chance.randrange(50, max(51, changes)) if how == "kill" else None
    disk = TroubledDisk(
        random.Random(chance.random()),  # noqa: S311
        clock,
        faults,
        fails_from=None if calm else start + 30 * MINUTE,
        kill_at=kill_at,
    )
    troubles: dict[str, int] = {}
    exchange = TroubledMarket(market, clock, random.Random(chance.random()), troubles, faults)  # noqa: S311
    asked, stopped = (appending(soak.folder / name) for name in (ASKED, STOPPED))
    receive = listener(soak, random.Random(chance.random()))  # noqa: S311

    def note_question(symbol: str, when: int) -> None:
        os.write(asked, f"{symbol} {when}\n".encode())

    def note_stop(event: Any) -> None:
        if event.kind == "broker" and event.when is not None:  # of single orders it tells no moment
            os.write(stopped, f"{event.symbol} {event.when}\n".encode())

    bknb.listen_error(note_stop)
    bknb.listen_signal_live(receive)
    bknb.listen_partial_profit(receive)
    bknb.listen_partial_loss(receive)
    bknb.add_risk("picky", validations=[not_on_some_minutes])
    store = FileStore(soak.folder / "state", disk=disk)
    broker = TroubledBroker(soak.folder / ORDERS, random.Random(chance.random()), troubles, calm=calm)  # noqa: S311
    memory = DailyMemory(soak.folder / MEMORY, number, clock)
    clock.passes = [broker.fill_the_rest, memory.note]
    until = soak.end if how != "until" else min(soak.end, start + length)
    clock.alarm = start + length if how == "stop" else max(start, until) + DAY  # an order may wait for ever
    clock.until = until
    tasks: dict[str, Any] = dict.fromkeys(market.symbols)
    clock.running = lambda: {symbol for symbol, task in tasks.items() if task is None or not task.done}
    for symbol in market.symbols:
        SYMBOL.set(symbol)
        tasks[symbol] = bknb.Live.background(
            symbol,
            strategy=strategy(soak.seed, symbol, partial(note_question, symbol), calm=calm),
            exchange=exchange,
            settings=SETTINGS,
            clock=clock,
            until=until,
            store=store,
            broker=broker.paper,
            quantity=QUANTITY,
            late_minutes=10**9,
            allow_gaps=not waits_for_holes(symbol),
        )
    while not clock.rung.wait(0.05) and clock.running():
        pass
    going_on = clock.running()
    for task in tasks.values():
        task.stop(now=True)
    results = [task.result(timeout=36_000) for task in tasks.values()]
    kinds: dict[str, int] = {}
    for error in (error for result in results for error in result.errors):
        kinds[error.kind] = kinds.get(error.kind, 0) + error.count
    figures = {
        "how": how,
        "days": max(0.0, (min(clock.now(), until) - start) / DAY),
        "MB at first": memory.first,
        "MB at last": resident(),
        "threads": threading.active_count(),
        "errors": kinds,
        "trouble": {**troubles, "disk": disk.failed, "asleep": clock.sleeps},
        "over": until == soak.end and all(tasks[each].now >= until - AT_THE_END for each in going_on),
    }
    os.write(told, json.dumps(figures).encode())


def resident() -> float:
    """The memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


class DailyMemory:
    """Notes the memory of a life at its beginning and on each simulated day: life, day and MB, one line each."""

    def __init__(self, path: Path, life: int, clock: SoakClock) -> None:
        self._log = appending(path)
        self._life, self._clock, self._noted = life, clock, -1
        self.first = resident()

    def note(self) -> None:
        day = (self._clock.now() - ORIGIN) // DAY
        if day > self._noted:
            self._noted = day
            os.write(self._log, f"{self._life} {day} {resident():.1f}\n".encode())


def memory_of(soak: Soak) -> dict[str, Any]:
    """The memory on some days, the highest, and how much it grew a day in the longest life after its second day."""
    lives: dict[int, dict[int, float]] = {}
    for line in (soak.folder / MEMORY).read_text().splitlines():
        life, day, size = line.split()
        lives.setdefault(int(life), {})[int(day)] = float(size)
    sizes = {day: size for days in lives.values() for day, size in days.items()}
    shown = [max(day for day in sizes if day <= share * soak.days) for share in (1 / 6, 1 / 2, 1)]
    longest = max(lives.values(), key=len)
    settled = [(day, size) for day, size in longest.items() if day >= min(longest) + 2]
    grown = None
    if len(settled) > 1:
        (first, before), *_, (last, after) = settled
        grown = round((after - before) / (last - first), 2)
    return {
        "MB on day": {day: sizes[day] for day in shown},
        "MB at most": max(sizes.values()),
        "MB a day": grown,
        "days of that life": len(longest),
    }


def in_a_process(soak: Soak, market: Market, number: int, start: int, reached: mmap.mmap) -> dict[str, Any]:
    """One life in a forked process: its figures, or that it was killed."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(here)
            live(soak, market, number, start, reached, there)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"how": "kill", "over": False}
    assert os.WEXITSTATUS(status) == 0, f"life {number} failed"
    figures: dict[str, Any] = json.loads(told)
    return figures


def saved_runs(soak: Soak) -> set[str]:
    """The symbols of the runs that have left a state on the disk."""
    with FileStore(soak.folder / "state") as store:
        return {key[1] for kind in ("signal", "schedule") for key in store.keys(kind)}


def soaked(soak: Soak) -> dict[str, Any]:
    """All lives of a soak; its figures."""
    market = Market(soak.seed, pairs(soak.pairs), soak.days, soak.late_alone, soak.calm)
    faults = Faults(soak.folder)
    reached = mmap.mmap(-1, 8)
    chance = random.Random(soak.seed)  # noqa: S311
    start, lives = ORIGIN, []
    begun: dict[str, int] = {}  # a run that a kill met before it saved anything begins with the next life
    began = time.perf_counter()
    while not lives or not lives[-1]["over"]:
        reached[:8] = start.to_bytes(8, "big")
        lives.append(in_a_process(soak, market, len(lives), start, reached))
        begun |= dict.fromkeys(saved_runs(soak) - set(begun), start)
        ended = int.from_bytes(reached[:8], "big")
        start = ended + chance.randrange(120) * MINUTE
        faults.note(EVERY, ended, start)
        print(json.dumps(lives[-1]), file=sys.stderr, flush=True)  # noqa: T201
    seconds = time.perf_counter() - began
    compared = compare(soak, market, begun)
    files = [path for path in (soak.folder / "state").rglob("*") if path.is_file()]
    ways = [life["how"] for life in lives]
    errors: dict[str, int] = {}
    trouble: dict[str, int] = {}
    for life in lives:
        for name, count in life.get("errors", {}).items():
            errors[name] = errors.get(name, 0) + count
        for name, count in life.get("trouble", {}).items():
            trouble[name] = trouble.get(name, 0) + count
    return {
        "seconds": round(seconds),
        "lives": {how: ways.count(how) for how in dict.fromkeys(ways)},
        "trades": compared.trades,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "carried out late": compared.late,
        "milestones": compared.milestones,
        "minutes in holes": compared.gone,
        "cancelled at disagreements": compared.halted,
        "questions left out": compared.left_out,
        "begun by a later life": sum(begin > ORIGIN for begin in begun.values()),
        "leftovers": [path.name for path in files if ".tmp" in path.name or "corrupt" in path.name],
        **memory_of(soak),
        "MB that came in a life": max(
            life["MB at last"] - life["MB at first"] for life in lives if "MB at last" in life
        ),
        "errors": errors,
        "trouble": trouble,
        "never came": sum(BEFORE + soak.days * 1440 + 120 - len(each) for each in market.candles.values()),
        "wrong": [*compared.wrong, *sent_twice(soak.folder / ORDERS)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step", type=int, default=5, help="minutes that pass at least with each wait")
    parser.add_argument("--life-days", type=float, default=2.0, help="how long a process lives on average")
    parser.add_argument(
        "--late-alone",
        type=float,
        default=LATE_ALONE,
        help="the part of candles that come later than those behind them",
    )
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong")
    given = parser.parse_args()
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    print(json.dumps(soaked(Soak(**vars(given)))))  # noqa: T201


if __name__ == "__main__":
    main()
