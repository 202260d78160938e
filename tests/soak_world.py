"""The world of a soak: a market, its faults, those of broker, disk and computer, and the strategies that run in it."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import random
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scenarios import MINUTE, ORIGIN

import bknb
from bknb.brokers.paper_broker import PaperBroker, Trouble, TroubleKind
from bknb.market.candles import Candles
from bknb.stores.disk import Disk
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import end_process

DAY, SLOT = 1440 * MINUTE, 15 * MINUTE
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
DISK_TROUBLE = 1 / 200  # of all changes
KILLED_WITHIN = 60, 5_000  # changes of the disk for a pair and a day: soon after the start, or at any time
STRATEGY_RAISES, LISTENER_RAISES, LISTENER_IS_SLOW = 1 / 50, 1 / 20, 1 / 50
QUANTITY = 2.0
ENDS_EARLY = 300 * MINUTE  # the longest sleep, over the end, and then its last candles do not come at once
AT_THE_END = 60 * MINUTE  # a run waits a minute for its last candles, and they may be late


def pairs(count: int) -> list[str]:
    return [f"C{number:02d}USDT" for number in range(count)]


@dataclass
class Market:
    """Random walks of minutes, some of which never come."""

    seed: int
    symbols: list[str]
    days: int
    late_alone: float = LATE_ALONE
    calm: bool = False  # nothing goes wrong
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
            if first > BEFORE and not self.calm:
                there[first : first + chance.integers(1, LONGEST_HOLE)] = False
        times = ORIGIN + (np.arange(size) - BEFORE) * MINUTE
        columns = {"timestamp": times, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
        return Candles.from_columns(**columns).take(there)

    def arrivals(self, number: int) -> Any:
        """When each candle of a symbol can be had (UTC ms): in turn, or later than those behind it."""
        in_turn, alone = self._arrivals(number)
        return in_turn + alone

    def came_alone(self, number: int) -> set[int]:
        """The minutes (UTC ms) of a symbol whose candles come later than those behind them."""
        _, alone = self._arrivals(number)
        return set(self.candles[self.symbols[number]].timestamp[alone > 0].tolist())

    def _arrivals(self, number: int) -> tuple[Any, Any]:
        drawn = np.random.default_rng([self.seed, 1, number])
        times = self.candles[self.symbols[number]].timestamp
        late = (drawn.random(len(times)) < LATE) & (not self.calm)
        delays = drawn.integers(1, LONGEST_DELAY + 1, len(times))
        alone = (drawn.random(len(times)) < self.late_alone) & (times >= ORIGIN) & (not self.calm)
        return np.maximum.accumulate(times + (1 + late * delays) * MINUTE), alone * delays * MINUTE

    def never_came(self, symbol: str) -> set[int]:
        """The minutes (UTC ms) of a symbol that are missing."""
        times = self.candles[symbol].timestamp
        return set(range(int(times[0]), int(times[-1]) + 1, MINUTE)) - set(times.tolist())

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

    def __init__(
        self, market: Market, clock: SoakClock, chance: random.Random, told: dict[str, int], faults: Faults
    ) -> None:
        self._market, self._clock, self._chance, self._told = market, clock, chance, told
        self._faults = faults
        self._delays: dict[str, Any] = {}
        for number, symbol in enumerate(market.symbols):
            self._delays[symbol] = market.arrivals(number)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        drawn = self._chance.random()
        for trouble, rate in MARKET_TROUBLE.items():
            drawn -= rate
            if drawn < 0 and not self._market.calm:
                self._told[trouble] = self._told.get(trouble, 0) + 1
                self._faults.note(symbol, self._clock.now(), self._clock.now())
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

    def __init__(self, journal: Path, chance: random.Random, told: dict[str, int], *, calm: bool) -> None:
        self._chance, self._told = chance, told
        self.paper = PaperBroker(journal=journal, script=None if calm else self._trouble)
        self._in_part = {name for name, order in self.paper.orders.items() if order.working}

    def _trouble(self, call: str, about: str, number: int) -> Trouble | None:
        (kind,) = self._chance.choices([*BROKER_TROUBLE, None], [*BROKER_TROUBLE.values(), self._without()])
        if kind is None:
            return None
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


EVERY = "*"


class Faults:
    """When something went wrong that can make a run late, in a file that survives the process.

    A line has a symbol, or a star for all of them, and the first and the last moment (UTC ms).
    """

    def __init__(self, folder: Path) -> None:
        self._log = appending(folder / FAULTS)

    def note(self, symbol: str, first: int, last: int) -> None:
        os.write(self._log, f"{symbol} {first} {last}\n".encode())


SYMBOL: ContextVar[str] = ContextVar("SYMBOL")


class SoakClock(SimulatedClock):
    """A clock shared by all runs, on a computer that falls asleep; where it stands is told to the parent process.

    It goes on to the earliest moment that is waited for when every run waits. As a clock that is faster than the world
    it allows for its steps: what is decided within three of them is in time.
    """

    def __init__(
        self, start: int, *, step: int, chance: random.Random, reached: mmap.mmap, faults: Faults, calm: bool
    ) -> None:
        super().__init__(start)
        self._faults, self._asleep = faults, 0.0 if calm else ASLEEP
        self.speed = 3.0 * step
        self._step, self._chance, self._reached = step, chance, reached
        self._waits: dict[object, tuple[str, int]] = {}
        self.sleeps = 0
        self.until = 0
        self.alarm = 0
        self.rung = threading.Event()
        self.passes: list[Callable[[], object]] = []  # called whenever time has passed
        self.running: Callable[[], set[str]] = set

    async def sleep_until(self, when: int) -> None:
        task, symbol = asyncio.current_task(), SYMBOL.get()
        assert task is not None
        when = -(-max(when, self.now() + (self._step - 1) * MINUTE) // MINUTE) * MINUTE
        self._waits[task] = symbol, when
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
        idle = {symbol for symbol, _ in self._waits.values()}
        return when == min(other for _, other in self._waits.values()) and self.running() <= idle

    def _go_to(self, when: int) -> None:
        if self._chance.random() < self._asleep:
            self.sleeps += 1
            when += self._chance.randrange(60, 180) * MINUTE
            self._faults.note(EVERY, self.now(), when)
        self.advance(when)
        for function in self.passes:
            function()
        self._reached[:8] = min(self.now(), self.until).to_bytes(8, "big")
        if self.now() >= self.alarm:
            self.rung.set()


class TroubledDisk(Disk):
    """A disk whose changes fail now and then, from a moment on (UTC ms), and of which one ends the process."""

    def __init__(
        self,
        chance: random.Random,
        clock: SoakClock,
        faults: Faults,
        *,
        fails_from: int | None,
        kill_at: int | None,
    ) -> None:
        self.changes, self.failed = 0, 0
        self._chance, self._clock, self._faults = chance, clock, faults
        self._fails_from, self._kill_at = fails_from, kill_at

    def _change(self) -> None:
        self.changes += 1
        if self.changes == self._kill_at:
            end_process()
        may_fail = self._fails_from is not None and self._clock.now() > self._fails_from
        if self._chance.random() < DISK_TROUBLE and may_fail:
            self.failed += 1
            self._faults.note(EVERY, self._clock.now(), self._clock.now())
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


def strategy(seed: int, symbol: str, note: Callable[[int], object] = str, *, calm: bool = False) -> str:
    """A strategy of random signals, and of errors unless it is ``calm``; both depend on its moment and price alone.

    ``note`` is called with every moment (UTC ms) at which it is asked.
    """

    def get_signal(ctx: Any) -> dict[str, Any] | None:
        note(ctx.when_ms)
        chance = random.Random(f"{seed} {symbol} {ctx.when_ms}")  # noqa: S311
        if chance.random() < STRATEGY_RAISES and not calm:
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
    late_alone: float
    calm: bool

    @property
    def end(self) -> int:
        return ORIGIN + self.days * DAY


RECEIVED, ASKED, STOPPED, MEMORY, FAULTS = "received.log", "asked.log", "stopped.log", "memory.log", "faults.log"
ORDERS = "exchange.jsonl"


def appending(path: Path) -> int:
    """A file whose lines survive the kill of the process that writes them."""
    return os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
