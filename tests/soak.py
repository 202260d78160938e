"""Live runs over weeks of simulated minutes with faults at random, compared with undisturbed backtests.

``python tests/soak.py FOLDER [--days 60] [--pairs 20]`` plays lives of one process after the other on the same state:
each ends by a kill at a change of the disk, by a stop, or where it was told to end; the next begins some time later.
Meanwhile the exchange answers nothing, raises, does not answer, has the newest candles late, or one later than those
behind it; some minutes never come; the computer sleeps; the disk is full; the broker refuses, fills in part, and loses
orders and answers; strategies and listeners raise, and listeners are slow. Every second run accepts holes at once, the
others wait for what is missing. The figures are printed as one line of JSON; ``wrong`` holds what differs from
backtests without the minutes that a run says it went on without, and with the delays of orders it says were late.

Two troubles are left out, for a run opens nothing until they are over, so that no undisturbed run is like it: a broker
that does not answer the first question about an order after a start, and one that is in trouble call after call.

Time is simulated and goes on when somebody waits. ``--step`` minutes pass at least with each wait: 1 is the clock of a
run as it is, more makes a long soak shorter, for several minutes are then caught up at once.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import mmap
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scenarios import MINUTE, ORIGIN

import bknb
from bknb.brokers.paper_broker import PaperBroker, Trouble, TroubleKind
from bknb.domain.lateness import Decision
from bknb.domain.orders import own_prefix
from bknb.domain.recovery import Owner
from bknb.domain.signal import Cancelled, Closed
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.live.ended_journal import EndedJournal
from bknb.live.persistence import StateSaver
from bknb.market.candles import Candles
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import end_process

LOADED = (bknb.Live, bknb.backtest)  # once, before anybody is forked
DAY = 1440 * MINUTE
BEFORE = 1440  # minutes before the first moment, for look-backs
SETTINGS = {"schedule_await_minutes": 90, "get_candles_retry_delay_ms": 0, "get_candles_timeout_seconds": 1}
MARKET_TROUBLE = {"raises": 0.01, "answers nothing": 0.01, "never answers": 0.0003}
LATE, LATE_ALONE, LONGEST_DELAY = 1 / 300, 1 / 600, 6  # of all minutes; whole minutes
NEVER_COMES, LONGEST_HOLE = 1 / 2_000, 45
ASLEEP = 1 / 300  # of all waits
BROKER_TROUBLE: dict[TroubleKind, float] = {
    "refuse": 0.02,
    "lost_request": 0.03,
    "lost_reply": 0.03,
    "partly": 0.03,
    "partly_cancelled": 0.03,
}
CALM = 10  # calls: as many as it takes to find out that an order was lost, and to make up for it
PREFIX = len(own_prefix("soak-C00USDT", "C00USDT"))  # of the names of the orders of a run
DISK_TROUBLE = 1 / 200  # of all changes
STRATEGY_RAISES, LISTENER_RAISES, LISTENER_IS_SLOW = 1 / 50, 1 / 20, 1 / 50
QUANTITY = 2.0


def pairs(count: int) -> list[str]:
    return [f"C{number:02d}USDT" for number in range(count)]


@dataclass
class Market:
    """Random walks of minutes, some of which never come."""

    seed: int
    symbols: list[str]
    days: int
    name: str = "soak"
    intervals: tuple[str, ...] = ("1m",)
    page_limit: int = 1_000
    candles: dict[str, Candles] = field(init=False)

    def __post_init__(self) -> None:
        self.candles = {symbol: self._walk(number) for number, symbol in enumerate(self.symbols)}

    def _walk(self, number: int) -> Candles:
        chance = np.random.default_rng([self.seed, number])
        size = BEFORE + self.days * 1440 + 120
        close = 100 * np.exp(np.cumsum(chance.normal(0, 0.0015, size)))
        open_ = np.concatenate([[100.0], close[:-1]]) * (1 + chance.normal(0, 0.0005, size))
        wicks = np.abs(chance.normal(0, 0.001, (2, size)))
        high, low = np.maximum(open_, close) * (1 + wicks[0]), np.minimum(open_, close) * (1 - wicks[1])
        volume = chance.integers(0, 8, size) * 25.0
        there = np.ones(size, dtype=bool)
        for first in np.flatnonzero(chance.random(size) < NEVER_COMES):
            if first > BEFORE:
                there[first : first + chance.integers(1, LONGEST_HOLE)] = False
        times = ORIGIN + (np.arange(size) - BEFORE) * MINUTE
        columns = {"timestamp": times, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
        return Candles.from_columns(**columns).take(there)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        assert interval == "1m"
        known = self.candles[symbol]
        first = int(np.searchsorted(known.timestamp, since))
        return known[first : first + limit]

    def format_price(self, symbol: str, price: float) -> str:
        return f"{price:.4f}"

    format_quantity = format_price


class TroubledMarket:
    """The same market behind a bad line."""

    name, intervals, page_limit = "soak", ("1m",), 1_000

    def __init__(self, market: Market, clock: SoakClock, chance: random.Random, told: dict[str, int]) -> None:
        self._market, self._clock, self._chance, self._told = market, clock, chance, told
        self._delays: dict[str, Any] = {}
        for number, symbol in enumerate(market.symbols):
            drawn = np.random.default_rng([market.seed, 1, number])
            times = market.candles[symbol].timestamp
            late = drawn.random(len(times)) < LATE
            delays = drawn.integers(1, LONGEST_DELAY + 1, len(times))
            in_turn = np.maximum.accumulate(times + (1 + late * delays) * MINUTE)
            alone = drawn.random(len(times)) < LATE_ALONE
            self._delays[symbol] = in_turn + alone * delays * MINUTE  # those behind it do not wait for it

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        drawn = self._chance.random()
        for trouble, rate in MARKET_TROUBLE.items():
            drawn -= rate
            if drawn < 0:
                self._told[trouble] = self._told.get(trouble, 0) + 1
                if trouble == "raises":
                    raise ConnectionError("the line is dead")
                if trouble == "never answers":
                    await asyncio.Event().wait()
                return Candles.empty()
        answer = await self._market.get_candles(symbol, interval, since, limit)
        if not len(answer):
            return answer
        first = int(np.searchsorted(self._market.candles[symbol].timestamp, since))
        visible = self._delays[symbol][first : first + len(answer)]
        return answer.take(visible <= self._clock.now())

    def format_price(self, symbol: str, price: float) -> str:
        return self._market.format_price(symbol, price)

    format_quantity = format_price


class TroubledBroker:
    """The trouble of a broker on paper by chance; the rest of what it fills in part is filled some time later."""

    def __init__(self, journal: Path, chance: random.Random, told: dict[str, int]) -> None:
        self._chance, self._told = chance, told
        self.paper = PaperBroker(journal=journal, script=self._trouble)
        self._calm: dict[str, int] = {}  # calls of a run that go well after one that did not
        self._in_part = {name for name, order in self.paper.orders.items() if order.working}

    def _trouble(self, call: str, about: str, number: int) -> Trouble | None:
        run = about[:PREFIX]
        self._calm[run] = calm = max(self._calm.get(run, 0) - 1, 0)
        if calm or (call == "report" and number == 1):
            return None
        (kind,) = self._chance.choices([*BROKER_TROUBLE, None], [*BROKER_TROUBLE.values(), self._without()])
        if kind is None:
            return None
        self._calm[run] = CALM
        self._told[kind] = self._told.get(kind, 0) + 1
        if call == "place" and kind == "partly":
            self._in_part.add(about)
        return Trouble(kind=kind)

    @staticmethod
    def _without() -> float:
        return 1 - sum(BROKER_TROUBLE.values())

    def fill_the_rest(self) -> None:
        """Time passes: what was filled in part is filled."""
        for name in list(self._in_part):
            order = self.paper.orders.get(name)
            if order is not None and order.status == "partly_filled":
                self.paper.fill(name)
            if order is None or not order.working:
                self._in_part.discard(name)


SYMBOL: ContextVar[str] = ContextVar("SYMBOL")


class SoakClock(SimulatedClock):
    """A clock shared by all runs, on a computer that falls asleep; where it stands is told to the parent process.

    It goes on to the earliest moment that is waited for when every run waits. As a clock that is faster than the world
    it allows for its steps: what is decided within three of them is in time.
    """

    def __init__(self, start: int, *, step: int, chance: random.Random, reached: mmap.mmap) -> None:
        super().__init__(start)
        self.speed = 3.0 * step
        self._step, self._chance, self._reached = step, chance, reached
        self._waits: dict[object, tuple[str, bool, int]] = {}
        self.sleeps = 0
        self.until = 0
        self.alarm = 0
        self.rung = threading.Event()
        self.passes: Callable[[], object] = set  # called whenever time has passed
        self.running: Callable[[], set[str]] = set

    async def sleep_until(self, when: int) -> None:
        task, symbol = asyncio.current_task(), SYMBOL.get()
        assert task is not None
        is_run = task.get_coro().__qualname__ == "SoakClock.sleep_until"  # else its orders wait for the broker
        when = -(-max(when, self.now() + (self._step - 1) * MINUTE) // MINUTE) * MINUTE
        self._waits[task] = symbol, is_run, when
        try:
            while self.now() < when:
                if self._is_next(when):
                    self._go_to(when)
                else:
                    await asyncio.sleep(0.0002)
        finally:
            del self._waits[task]

    def _is_next(self, when: int) -> bool:
        """Whether a moment is the earliest one that is waited for, and every run waits for one."""
        idle = {symbol for symbol, is_run, _ in self._waits.values() if is_run or self.now() >= self.until}
        return when == min(other for _, _, other in self._waits.values()) and self.running() <= idle

    def _go_to(self, when: int) -> None:
        if self._chance.random() < ASLEEP:
            self.sleeps += 1
            when += self._chance.randrange(60, 180) * MINUTE
        self.advance(when)
        self.passes()
        self._reached[:8] = min(self.now(), self.until).to_bytes(8, "big")
        if self.now() >= self.alarm:
            self.rung.set()


class TroubledDisk(Disk):
    """A disk whose changes fail now and then, and of which one ends the process."""

    def __init__(self, chance: random.Random, *, fails_from: Callable[[], bool], kill_at: int | None) -> None:
        self.changes, self.failed = 0, 0
        self._chance, self._fails_from, self._kill_at = chance, fails_from, kill_at

    def _change(self) -> None:
        self.changes += 1
        if self.changes == self._kill_at:
            end_process()
        if self._chance.random() < DISK_TROUBLE and self._fails_from():
            self.failed += 1
            number = self._chance.choice([errno.ENOSPC, errno.EIO])
            raise OSError(number, os.strerror(number))

    def create(self, path: Path) -> int:
        self._change()
        return super().create(path)

    def write(self, handle: int, data: bytes) -> int:
        if self.changes + 1 == self._kill_at:
            super().write(handle, data[: len(data) // 2])
        self._change()
        return super().write(handle, data)

    def sync(self, handle: int) -> None:
        self._change()
        super().sync(handle)

    def replace(self, source: Path, target: Path) -> None:
        self._change()
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._change()
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        self._change()
        super().sync_folder(folder)


def not_on_some_minutes(request: bknb.RiskRequest) -> bool:
    "not in every fifth quarter of an hour"
    return (request.when // (15 * MINUTE)) % 5 != 0


def strategy(seed: int, symbol: str) -> str:
    """A strategy of random signals, and of errors; both depend on its moment and price alone."""

    def get_signal(ctx: Any) -> dict[str, Any] | None:
        chance = random.Random(f"{seed} {symbol} {ctx.when_ms}")  # noqa: S311
        if chance.random() < STRATEGY_RAISES:
            raise ValueError("this strategy has bad moments")
        if chance.random() < 0.6:
            return None
        sign = 1 if chance.random() < 0.5 else -1
        price = ctx.price * (1 - sign * chance.uniform(-0.001, 0.004))
        return {
            "position": "long" if sign > 0 else "short",
            "price_take_profit": price * (1 + sign * chance.uniform(0.01, 0.05)),
            "price_stop_loss": price * (1 - sign * chance.uniform(0.01, 0.05)),
            "minute_estimated_time": chance.randrange(5, 400),
        } | ({"price_open": price} if chance.random() < 0.5 else {})

    name = f"soak-{symbol}"
    bknb.add_strategy(name, interval="15m", get_signal=get_signal, risk="picky", execution=model_of(symbol))
    return name


def waits_for_holes(symbol: str) -> bool:
    return int(symbol[1:3]) % 2 == 1


def model_of(symbol: str) -> str:
    return ("pessimistic", "touch", "vwap")[int(symbol[1:3]) % 3]


@dataclass(frozen=True)
class Soak:
    """One soak: where, how long, and by which chances."""

    folder: Path
    days: int
    pairs: int
    seed: int
    step: int
    life_days: float

    @property
    def end(self) -> int:
        return ORIGIN + self.days * DAY


def live(soak: Soak, market: Market, number: int, start: int, reached: mmap.mmap, told: int) -> None:
    """One life of the process; its figures are written to ``told``, a pipe, when it comes to its end."""
    chance = random.Random(f"{soak.seed} {number}")  # noqa: S311
    clock = SoakClock(start, step=soak.step, chance=random.Random(chance.random()), reached=reached)  # noqa: S311
    length = round(chance.expovariate(1 / soak.life_days) * DAY)
    last = number < 1_000_000 and start + length >= soak.end
    how = "end" if last else chance.choice(["kill", "kill", "stop", "until"])
    kill_at = chance.randrange(50, max(51, round(length / DAY * soak.pairs * 60))) if how == "kill" else None
    disk = TroubledDisk(
        random.Random(chance.random()),  # noqa: S311
        fails_from=lambda: clock.now() > start + 30 * MINUTE,
        kill_at=kill_at,
    )
    troubles: dict[str, int] = {}
    exchange = TroubledMarket(market, clock, random.Random(chance.random()), troubles)  # noqa: S311
    log = os.open(soak.folder / "received.log", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    drawn = random.Random(chance.random())  # noqa: S311

    def receive(event: Any) -> None:
        if isinstance(event, Closed | Cancelled):
            os.write(log, f"{event.signal.id} {event.when}\n".encode())
        if drawn.random() < LISTENER_IS_SLOW:
            time.sleep(0.002)
        if drawn.random() < LISTENER_RAISES:
            raise RuntimeError("this listener has bad moments")

    bknb.listen_signal_live(receive)
    bknb.listen_partial_profit(receive)
    bknb.add_risk("picky", validations=[not_on_some_minutes])
    store = FileStore(soak.folder / "state", disk=disk)
    broker = TroubledBroker(soak.folder / "exchange.jsonl", random.Random(chance.random()), troubles)  # noqa: S311
    clock.passes = broker.fill_the_rest
    until = soak.end if how != "until" else min(soak.end, start + length)
    clock.alarm = start + length if how == "stop" else until + 180 * MINUTE  # an order may wait for ever
    clock.until = until
    tasks: dict[str, Any] = dict.fromkeys(market.symbols)
    clock.running = lambda: {symbol for symbol, task in tasks.items() if task is None or not task.done}
    memory = resident()
    for symbol in market.symbols:
        SYMBOL.set(symbol)
        tasks[symbol] = bknb.Live.background(
            symbol,
            strategy=strategy(soak.seed, symbol),
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
    for task in tasks.values():
        task.stop(now=True)
    results = [task.result(timeout=36_000) for task in tasks.values()]
    stopped = [text for result in results for text in result.warnings if text.startswith("new entries were stopped")]
    kinds: dict[str, int] = {}
    for error in (error for result in results for error in result.errors):
        kinds[error.kind] = kinds.get(error.kind, 0) + error.count
    figures = {
        "how": how,
        "days": (min(clock.now(), until) - start) / DAY,
        "MB at first": memory,
        "MB at last": resident(),
        "threads": threading.active_count(),
        "errors": kinds,
        "entries stopped": stopped,
        "trouble": {**troubles, "disk": disk.failed, "asleep": clock.sleeps},
        "over": until == soak.end and clock.now() >= until,
    }
    os.write(told, json.dumps(figures).encode())


def resident() -> float:
    """The memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


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


def plain(end: Any) -> dict[str, Any]:
    """An end without what must differ between live and backtest."""
    return msgspec.to_builtins(msgspec.structs.replace(end, mode="live", frame=None))  # type: ignore[no-any-return]


def undisturbed(
    soak: Soak, market: Market, symbol: str, late: dict[Decision, int], holes: list[tuple[int, int]]
) -> Records:
    """The records of a backtest: orders that were late are late there, too, and the minutes of holes are missing."""
    known = market.candles[symbol]
    there = np.ones(len(known), dtype=bool)
    for first, end in holes:
        there &= (known.timestamp < first) | (known.timestamp >= end)
    market = copy(market)
    market.candles = {symbol: known.take(there)}
    plan = plan_backtest(
        symbol,
        strategy=strategy(soak.seed, symbol),
        exchange=market,
        frame=(ORIGIN, soak.end),
        settings=SETTINGS,
        allow_gaps=True,
    )
    run = BacktestRun(plan, late=late)
    asyncio.run(run.through())
    return run.records


def compare(soak: Soak, market: Market) -> tuple[int, int, list[str]]:
    """How many trades the backtests have, how many orders were late, and what the live runs have otherwise."""
    wrong: list[str] = []
    trades, orders_late, last = (
        0,
        0,
        soak.end - 60 * MINUTE,
    )  # a run waits a minute for its last candles, and they may be late
    bknb.add_risk("picky", validations=[not_on_some_minutes])
    received = set((soak.folder / "received.log").read_text().splitlines())
    with FileStore(soak.folder / "state") as store:
        for symbol in market.symbols:
            owner = Owner(strategy=f"soak-{symbol}", exchange="soak", symbol=symbol, execution=model_of(symbol))
            saved = StateSaver(store, owner)
            late, holes = saved.late(), saved.holes()
            orders_late += len(late)
            records = undisturbed(soak, market, symbol, late, holes)
            expected = [plain(end) for end in records.ends if end.when < last]
            journal = EndedJournal(store, (f"soak-{symbol}", symbol))
            found = [plain(end) for end in journal.load() if end.when < last]
            trades += len(records.closed)
            if found != expected:
                others = [end for end in found if end not in expected]
                missing = [end for end in expected if end not in found]
                wrong.append(f"{symbol}: {len(missing)} missing {missing[:1]}, {len(others)} others {others[:1]}")
            unheard = [end for end in found if f"{end['signal']['id']} {end['when']}" not in received]
            wrong += [f"{symbol}: nobody heard of {len(unheard)}: {unheard[:1]}"] * bool(unheard)
    return trades, orders_late, wrong


def orders_sent_twice(soak: Soak) -> list[str]:
    received: dict[str, int] = {}
    for line in (soak.folder / "exchange.jsonl").read_text().splitlines():
        order = json.loads(line)
        received[order["client_id"]] = max(received.get(order["client_id"], 0), order["received"])
    return [f"{name} was sent {times} times" for name, times in received.items() if times != 1]


def soaked(soak: Soak) -> dict[str, Any]:
    """All lives of a soak; its figures."""
    market = Market(soak.seed, pairs(soak.pairs), soak.days)
    reached = mmap.mmap(-1, 8)
    chance = random.Random(soak.seed)  # noqa: S311
    start, lives = ORIGIN, []
    began = time.perf_counter()
    while not lives or not lives[-1]["over"]:
        reached[:8] = start.to_bytes(8, "big")
        lives.append(in_a_process(soak, market, len(lives), start, reached))
        start = int.from_bytes(reached[:8], "big") + chance.randrange(120) * MINUTE
        print(json.dumps(lives[-1]), file=sys.stderr, flush=True)  # noqa: T201
    seconds = time.perf_counter() - began
    trades, orders_late, wrong = compare(soak, market)
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
        "trades": trades,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "carried out late": orders_late,
        "leftovers": [path.name for path in files if ".tmp" in path.name or "corrupt" in path.name],
        "MB at last": max(life.get("MB at last", 0.0) for life in lives),
        "MB that came in a life": max(
            life["MB at last"] - life["MB at first"] for life in lives if "MB at last" in life
        ),
        "errors": errors,
        "entries stopped": [text for life in lives for text in life.get("entries stopped", ())],
        "trouble": trouble,
        "never came": sum(BEFORE + soak.days * 1440 + 120 - len(each) for each in market.candles.values()),
        "wrong": [*wrong, *orders_sent_twice(soak)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step", type=int, default=5, help="minutes that pass at least with each wait")
    parser.add_argument("--life-days", type=float, default=2.0, help="how long a process lives on average")
    given = parser.parse_args()
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    print(json.dumps(soaked(Soak(**vars(given)))))  # noqa: T201


if __name__ == "__main__":
    main()
