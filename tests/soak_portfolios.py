"""Live portfolios with a capital over simulated days with faults at random, compared with undisturbed portfolios.

``python tests/soak_portfolios.py FOLDER [--days 3] [--worlds 4] [--seed 1]`` plays worlds of two to four legs, many
with bars of different lengths: each life of the process ends by a kill at a change of the disk or at the end; the next
begins some time later on the same state. Meanwhile the machine sleeps, the disk is full now and then, minutes never
come, and a symbol is silent for hours. The last life compares trades in money and the equity to the last bit with
``bknb.portfolio`` over these minutes, with the delays of orders that the live one told; ``wrong`` holds what differs.
Each world is a line of JSON.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from killed import killed_in_a_child
from scenarios import MINUTE, ORIGIN, source
from test_live_portfolio import backtest
from worlds import signals, walk

import bknb
from bknb.live import account_saver
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import end_process

LOADED = (bknb.Live, bknb.PortfolioResult, bknb.add_risk, account_saver)  # once, before anybody is forked
DAY = 1440
FULL, ASLEEP, GONE = 1 / 400, 1 / 300, 1 / 400
ACCOUNTS: list[dict[str, Any]] = [
    {"account": "spot", "costs": bknb.Costs(taker=0.05), "sizing": "percent:40"},
    {
        "account": bknb.Perpetual(10, 0.5, "isolated"),
        "sizing": "percent:80",
        "costs": bknb.Costs(taker=0.05, funding=[(ORIGIN + k * 480 * MINUTE, 0.0003) for k in range(200)]),
    },
    {"account": bknb.Margin(3, 0.5, "isolated"), "sizing": "risk:1", "costs": bknb.Costs(taker=0.05, borrow_yearly=30)},
]
CROSS: dict[str, Any] = {  # of every fifth world: legs share their margin, and shorts pay interest
    "account": bknb.Margin(50, 1.9),
    "sizing": "percent:1650",
    "costs": bknb.Costs(taker=0.02, borrow_yearly=300),
}


def some_places(request: bknb.RiskRequest) -> bool:
    "at most two"
    return request.open_position_count < 2


def world(seed: int, days: int) -> dict[str, Any]:
    """Legs on random walks with shared places; of some minutes are gone, one symbol is silent for some hours."""
    chance = random.Random(seed)  # noqa: S311
    bknb.add_risk("some places", validations=[some_places])
    exchanges, base, legs, count = {}, {}, [], 2 + seed % 3
    first = chance.randrange(60, 900)
    for at in range(count):
        symbol, drawn = f"S{at}USDT", np.random.default_rng([seed, at])
        rows = [row for row in walk(seed * 10 + at, length=days * DAY) if row[0] < ORIGIN or drawn.random() >= GONE]
        if at == count - 1:
            rows = [row for row in rows if not first <= (row[0] - ORIGIN) // MINUTE < first + 200]
        exchanges[symbol] = source(rows)
        model = ("pessimistic", "touch", "vwap")[seed % 3]
        base[symbol] = "1m" if model == "vwap" else chance.choice(["1m", "5m", "15m"])
        interval = "15m" if base[symbol] == "15m" else "5m"
        legs.append((symbol, bknb.add_strategy(
            f"drawn {at}", interval=interval, get_signal=signals(seed * 10 + at), risk="some places", execution=model
        )))  # fmt: skip
    options = {
        "legs": legs,
        "exchange": exchanges,
        "base": base,
        "allow_gaps": True,
        "capital": 10_000,
        **(ACCOUNTS[seed % 3] if seed % 5 else CROSS),
    }
    options["settings"] = {"schedule_await_minutes": 30}
    return options | ({"priority": "score"} if seed % 2 else {})


class FaultyDisk(Disk):
    """A disk that is full now and then, and of which a change ends the process."""

    def __init__(self, chance: random.Random, kill_at: int | None) -> None:
        self.changes, self.chance, self.kill_at = 0, chance, kill_at

    def replace(self, source: Path, target: Path) -> None:
        self.changes += 1
        if self.changes == self.kill_at:
            end_process()
        if self.changes > 50 and self.chance.random() < FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().replace(source, target)


class SleepyClock(SimulatedClock):
    """A clock on a machine that sleeps; where it stands is in a file."""

    def __init__(self, kept: Path, start: int, chance: random.Random) -> None:
        super().__init__(start)
        self.kept, self.chance = kept, chance

    async def sleep_until(self, when: int) -> None:
        if self.chance.random() < ASLEEP:
            when += self.chance.randrange(10, 180) * MINUTE
        self.kept.write_text(str(max(when, self.now())))
        await super().sleep_until(when)


def life(folder: Path, seed: int, days: int, number: int) -> None:
    """One life; the one that comes to the end writes what differs."""
    chance, kept = random.Random(f"{seed} {number}"), folder / "clock"  # noqa: S311
    start = ORIGIN if not number else int(kept.read_text()) + chance.choice([0, 0, chance.randrange(90)]) * MINUTE
    until = ORIGIN + days * DAY * MINUTE
    kill_at = chance.randrange(10, 2_500) if number < 4 * days else None
    options, clock = world(seed, days), SleepyClock(kept, min(start, until), chance)
    task = bknb.Live.portfolio(
        **options, clock=clock, until=until, late_minutes=10**6,
        store=FileStore(folder / "state", disk=FaultyDisk(random.Random(number), kill_at)),  # noqa: S311
    )  # fmt: skip
    result = task.result(timeout=3_000)
    expected = backtest(options, result, until)
    (folder / "told.json").write_text(json.dumps(compared(result, expected, until)))


def compared(result: Any, expected: Any, until: int) -> dict[str, Any]:
    """What differs between a live portfolio and the one over the same minutes."""
    end = pd.Timestamp(until - 15 * MINUTE, unit="ms", tz="UTC")
    columns = ["leg", "signal_id", "pending_at", "closed_at", "close_reason", "quantity", "cost", "money", "cut"]
    tables = [
        table[table["closed_at"] < end][columns].astype(str).sort_values(["closed_at", "signal_id"]).to_numpy().tolist()
        for table in (result.trades, expected.trades)
    ]
    lines = [each.equity[each.equity.index < end] for each in (result, expected)]
    wrong = []
    if tables[0] != tables[1]:
        others = [row for row in tables[0] if row not in tables[1]]
        wrong.append(f"trades: {others[:2]} in place of {[row for row in tables[1] if row not in tables[0]][:2]}")
    if not lines[0].index.equals(lines[1].index):
        wrong.append(f"moments: {lines[0].index.symmetric_difference(lines[1].index)[:4].astype(str).tolist()}")
    elif (apart := (lines[0] != lines[1]).to_numpy()).any():
        at = int(np.argmax(apart))
        wrong.append(f"equity at {int(apart.sum())} of {len(apart)}, first {lines[0].index[at]}: "
                     f"{lines[0].iloc[at]} in place of {lines[1].iloc[at]}")  # fmt: skip
    errors: dict[str, int] = {}
    for error in (error for leg in result.legs.values() for error in leg.errors):
        errors[error.kind] = errors.get(error.kind, 0) + error.count
        if error.kind not in ("state", "late", "silence", "lag"):
            wrong.append(f"{error.kind}: {error.message}")
    return {"trades": len(tables[0]), "marks": len(lines[0]), "errors": errors, "wrong": wrong}


def soaked(folder: Path, seed: int, days: int) -> dict[str, Any]:
    """All lives of a world; its figures."""
    folder.mkdir(parents=True)
    lives = 1
    while killed_in_a_child(partial(life, folder, seed, days, lives - 1)):
        lives += 1
    told = json.loads((folder / "told.json").read_text())
    shutil.rmtree(folder)
    return {"world": seed, "lives": lives} | told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    found = []
    for seed in range(given.seed, given.seed + given.worlds):
        found.append(soaked(given.folder / str(seed), seed, given.days))
        print(json.dumps(found[-1]), flush=True)  # noqa: T201
    print(json.dumps({"wrong": [each["world"] for each in found if each["wrong"]]}))  # noqa: T201


if __name__ == "__main__":
    main()
